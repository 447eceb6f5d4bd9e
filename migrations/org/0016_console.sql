-- The console's overview counts the mail of the last hours, without reading all of it.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE INDEX email_createdon ON email (createdon);
