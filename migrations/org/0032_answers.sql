-- Leads from an e-mail to its answers: the console shows whole conversations.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE INDEX email_parentactivityid ON email (parentactivityid) WHERE parentactivityid IS NOT NULL;
