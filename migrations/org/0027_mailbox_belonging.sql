-- The queue or the user of a mailbox is bound to it as its servers are, also while it names neither a profile nor a user name.
-- Runs with the organization's schema as search_path; no schema is named here. The program binds the queues and users that are there.

COMMENT ON TABLE mail_destination IS 'Tags of the key-encryption key over the settings that decide where credentials go, as which account they sign in, and whose they are. A record whose settings do not fit its tag releases no credential.';
