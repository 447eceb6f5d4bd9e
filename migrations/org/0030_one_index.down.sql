-- Lost: nothing.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE INDEX mailbox_emailserverprofile_idx ON mailbox (emailserverprofile);
