-- Lists are sorted with records without a value first, and the other way around when they are descending. Only an index in that
-- order spares sorting all records for each page.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP INDEX audit_createdon_idx;
CREATE INDEX audit_createdon_idx ON audit (createdon NULLS FIRST);
DROP INDEX email_createdon;
CREATE INDEX email_createdon ON email (createdon NULLS FIRST);
DROP INDEX mailbox_lower_idx, mailbox_lower_idx1, queue_lower_idx, emailserverprofile_lower_idx;
CREATE INDEX mailbox_name ON mailbox (lower(name) NULLS FIRST);
CREATE INDEX mailbox_emailaddress ON mailbox (lower(emailaddress) NULLS FIRST);
CREATE INDEX queue_name ON queue (lower(name) NULLS FIRST);
CREATE INDEX emailserverprofile_name ON emailserverprofile (lower(name) NULLS FIRST);
