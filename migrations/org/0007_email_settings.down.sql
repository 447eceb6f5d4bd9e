-- Lost: the settings of e-mail, which are the defaults again.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP INDEX email_subject_key_createdon_idx;
DROP FUNCTION subject_key(text);
ALTER TABLE organization DROP COLUMN emailcorrelationenabled, DROP COLUMN enablesmartmatching, DROP COLUMN maxuploadfilesize, DROP COLUMN modifiedon;
