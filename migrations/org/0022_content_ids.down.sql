-- Lost: the Content-IDs of attachments.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE activitymimeattachment DROP COLUMN attachmentcontentinfo;
