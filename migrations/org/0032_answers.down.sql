-- Lost: nothing.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP INDEX email_parentactivityid;
