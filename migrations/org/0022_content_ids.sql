-- The HTML of an e-mail refers to its pictures by their Content-ID (RFC 2392). Without it nobody can tell which attachment is meant.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE activitymimeattachment ADD COLUMN attachmentcontentinfo text;
COMMENT ON COLUMN activitymimeattachment.attachmentcontentinfo IS 'The Content-ID to which cid: addresses in the e-mail''s HTML refer.';
