-- What happened to records: who changed which attributes, from what to what. Encrypted attributes are not among them: their
-- cells stand in tables that no audit trigger is on, and the settings refuse their names.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE audit_setting (
    entity text NOT NULL,
    attribute text NOT NULL DEFAULT '',
    is_enabled boolean NOT NULL,
    PRIMARY KEY (entity, attribute)
);
COMMENT ON TABLE audit_setting IS 'Whether an entity''s changes are audited (attribute is empty), and attributes that are left out.';
INSERT INTO audit_setting (entity, is_enabled)
SELECT entity, true FROM cell_table UNION ALL SELECT unnest(ARRAY['systemuser', 'team']), true;

CREATE FUNCTION refuse_encrypted_setting() RETURNS trigger
    LANGUAGE plpgsql SET search_path FROM CURRENT AS $$
BEGIN
    IF NEW.attribute <> '' AND EXISTS (
        SELECT FROM pg_attribute AS a
         WHERE a.attrelid = to_regclass(quote_ident(NEW.entity || '_cell')) AND a.attname = NEW.attribute
           AND a.atttypid = 'bytea'::regtype)
    THEN
        RAISE EXCEPTION 'encrypted attribute %.% cannot be audited', NEW.entity, NEW.attribute USING ERRCODE = 'FS008',
            HINT = 'Who set a password and when is seen from its record''s audit; its value is nobody''s to see.';
    END IF;
    IF NOT EXISTS (SELECT FROM pg_trigger WHERE tgrelid = to_regclass(quote_ident(NEW.entity)) AND tgname = 'audits') THEN
        RAISE EXCEPTION 'changes of % are not audited', NEW.entity USING ERRCODE = 'FS008',
            HINT = 'SELECT DISTINCT entity FROM audit_setting shows what is.';
    END IF;
    RETURN NEW;
END
$$;
CREATE TRIGGER refuses_encrypted BEFORE INSERT OR UPDATE ON audit_setting
    FOR EACH ROW EXECUTE FUNCTION refuse_encrypted_setting();

CREATE TABLE audit (
    auditid uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    createdon timestamptz NOT NULL DEFAULT clock_timestamp(),
    action integer NOT NULL,
    operation integer NOT NULL,
    objectid uuid NOT NULL,
    objecttypecode text NOT NULL,
    userid uuid,
    useridname text,
    attributemask text,
    changedata text,
    transactionid text NOT NULL DEFAULT pg_current_xact_id()::text,
    databaserole text NOT NULL DEFAULT session_user,
    versionnumber bigint NOT NULL DEFAULT nextval('version_number')
);
CREATE INDEX ON audit (objectid, createdon);
CREATE INDEX ON audit (createdon);
COMMENT ON TABLE audit IS 'Changes of records, written by triggers: action and operation 1 create, 2 update, 3 delete.';
COMMENT ON COLUMN audit.userid IS 'Who did it: modifiedby of the record, or who fieldseal.user says is deleting it; NULL for a change past the service.';
COMMENT ON COLUMN audit.databaserole IS 'The role that was connected; another than the service''s is a DBA at work.';
COMMENT ON COLUMN audit.changedata IS '{"changedAttributes":[{"logicalName":…,"oldValue":…,"newValue":…}]}; never an encrypted attribute.';

CREATE FUNCTION audit_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    -- What changes with every write says nothing.
    noise text[] := ARRAY['versionnumber', 'modifiedon', 'modifiedby', 'modifiedbyname', 'organizationid', 'organizationidname',
        TG_ARGV[0]];
    changes jsonb;
    mask text;
BEGIN
    IF NOT EXISTS (SELECT FROM audit_setting WHERE entity = TG_TABLE_NAME AND attribute = '' AND is_enabled) THEN
        RETURN NULL;
    END IF;
    SELECT jsonb_agg(jsonb_build_object('logicalName', k.key, 'oldValue', before -> k.key, 'newValue', after -> k.key) ORDER BY k.key),
           string_agg(k.key, ',' ORDER BY k.key)
      INTO changes, mask
      FROM jsonb_object_keys(coalesce(after, before)) AS k (key)
     WHERE coalesce(before -> k.key, 'null') IS DISTINCT FROM coalesce(after -> k.key, 'null')
       AND k.key <> ALL (noise)
       AND NOT EXISTS (SELECT FROM audit_setting AS s WHERE s.entity = TG_TABLE_NAME AND s.attribute = k.key AND NOT s.is_enabled);
    IF TG_OP = 'UPDATE' AND changes IS NULL THEN
        RETURN NULL;
    END IF;
    INSERT INTO audit (action, operation, objectid, objecttypecode, userid, useridname, attributemask, changedata)
    SELECT o.code, o.code, (coalesce(after, before) ->> TG_ARGV[0])::uuid, TG_TABLE_NAME, w.who,
           (SELECT u.fullname FROM systemuser AS u WHERE u.systemuserid = w.who), mask,
           jsonb_build_object('changedAttributes', coalesce(changes, '[]'))::text
      FROM (SELECT CASE TG_OP WHEN 'INSERT' THEN 1 WHEN 'UPDATE' THEN 2 ELSE 3 END) AS o (code),
           (SELECT CASE WHEN TG_OP = 'DELETE' THEN nullif(current_setting('fieldseal.user', true), '')::uuid
                        WHEN before -> 'modifiedon' IS DISTINCT FROM after -> 'modifiedon' THEN (after ->> 'modifiedby')::uuid END
           ) AS w (who);
    RETURN NULL;
END
$$;

DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT entity, id_column FROM cell_table UNION ALL VALUES ('systemuser', 'systemuserid'), ('team', 'teamid') LOOP
        EXECUTE format('CREATE TRIGGER audits AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION audit_change(%L)',
            t.entity, t.id_column);
    END LOOP;
END
$$;

-- The functions of a key change are what the event triggers let through.
DO $$
DECLARE
    name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['create_generation(integer)', 'finish_generation(integer)', 'announce_change()', 'end_change()',
        'switch_generation(integer, bytea, integer, bytea, text, uuid, uuid)', 'drop_generation(integer)']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET fieldseal.maintenance = ''on''', name);
    END LOOP;
EXCEPTION WHEN insufficient_privilege THEN
    -- Without bootstrap.sql there are no event triggers either.
    NULL;
END
$$;

REVOKE ALL ON FUNCTION refuse_encrypted_setting(), audit_change() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION refuse_encrypted_setting(), audit_change() TO fieldseal_service;
GRANT SELECT ON audit, audit_setting TO fieldseal_service, fieldseal_inspector;
GRANT INSERT, UPDATE, DELETE ON audit_setting TO fieldseal_service;
