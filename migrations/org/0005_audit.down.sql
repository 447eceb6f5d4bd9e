-- Lost: the audit of record changes, and its settings.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP TRIGGER audits ON mailbox;
DROP TRIGGER audits ON emailserverprofile;
DROP TRIGGER audits ON queue;
DROP TRIGGER audits ON usersettings;
DROP TRIGGER audits ON systemuser;
DROP TRIGGER audits ON team;
DROP TABLE audit, audit_setting;
DROP FUNCTION audit_change(), refuse_encrypted_setting();
