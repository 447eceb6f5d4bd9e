-- What an organization decides about its e-mail: how answers are found, and how large attachments may be.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE organization ADD COLUMN emailcorrelationenabled boolean DEFAULT true, ADD COLUMN enablesmartmatching boolean DEFAULT false,
    ADD COLUMN maxuploadfilesize integer DEFAULT 5242880 CHECK (maxuploadfilesize BETWEEN 1 AND 8388608), ADD COLUMN modifiedon timestamptz;
COMMENT ON COLUMN organization.emailcorrelationenabled IS 'Whether In-Reply-To and References tell what an e-mail answers.';
COMMENT ON COLUMN organization.enablesmartmatching IS 'Whether subject and people tell what an e-mail answers, when nothing else does.';
COMMENT ON COLUMN organization.maxuploadfilesize IS 'Bytes of an attachment that is kept.';

CREATE FUNCTION subject_key(subject text) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS $$
    SELECT pg_catalog.md5(pg_catalog.lower(pg_catalog.btrim(pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(
        $1, 'CRM:[0-9]{4,20}', '', 'g'), '^(\s*[^\s:]{1,12}(\[[0-9]+\])?:)+', ''), '\s+', ' ', 'g'))))
$$;
COMMENT ON FUNCTION subject_key IS 'What two subjects have in common that differ by "Re:", "Fwd:", "AW:", tracking tokens and white space.';
REVOKE ALL ON FUNCTION subject_key FROM PUBLIC;
GRANT EXECUTE ON FUNCTION subject_key TO fieldseal_service;
CREATE INDEX ON email (subject_key(subject), createdon);
