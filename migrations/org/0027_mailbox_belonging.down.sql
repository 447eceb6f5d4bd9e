-- Lost: what binds mailboxes without a profile and without a user name to their queues and users.
-- Runs with the organization's schema as search_path; no schema is named here.

DELETE FROM mail_destination AS d USING mailbox AS m
 WHERE d.entity = 'mailbox' AND d.record_id = m.mailboxid AND m.emailserverprofile IS NULL AND m.username IS NULL;
COMMENT ON TABLE mail_destination IS 'Tags of the key-encryption key over the settings that decide where credentials go, and as which account they sign in. A record whose settings do not fit its tag releases no credential.';
