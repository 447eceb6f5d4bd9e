-- Lost: nothing. Lists of many records are slower.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP INDEX audit_createdon_idx;
CREATE INDEX audit_createdon_idx ON audit (createdon);
DROP INDEX email_createdon;
CREATE INDEX email_createdon ON email (createdon);
DROP INDEX mailbox_name, mailbox_emailaddress, queue_name, emailserverprofile_name;
CREATE INDEX mailbox_lower_idx ON mailbox (lower(name));
CREATE INDEX mailbox_lower_idx1 ON mailbox (lower(emailaddress));
CREATE INDEX queue_lower_idx ON queue (lower(name));
CREATE INDEX emailserverprofile_lower_idx ON emailserverprofile (lower(name));
