-- mailbox_emailserverprofile is the same index; each write of a mailbox kept both.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP INDEX mailbox_emailserverprofile_idx;
