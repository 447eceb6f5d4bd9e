-- Lost: who changed users and teams from now on. What the audit has stays.
-- Runs with the organization's schema as search_path; no schema is named here.

-- Arguments: the id's column, then pairs of an encrypted attribute's flag and its name.
CREATE OR REPLACE FUNCTION audit_change() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    before jsonb := CASE WHEN TG_OP <> 'INSERT' THEN to_jsonb(OLD) END;
    after jsonb := CASE WHEN TG_OP <> 'DELETE' THEN to_jsonb(NEW) END;
    -- What changes with every write says nothing.
    noise text[] := ARRAY['versionnumber', 'modifiedon', 'modifiedby', 'modifiedbyname', 'organizationid', 'organizationidname',
        TG_ARGV[0]];
    changes jsonb;
    mask text;
    was_set boolean;
    is_set boolean;
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
    -- A password that was replaced leaves its flag as it is: audit_password sees it.
    FOR i IN 1 .. TG_NARGS - 1 BY 2 LOOP
        was_set := coalesce((before ->> TG_ARGV[i])::boolean, false);
        is_set := coalesce((after ->> TG_ARGV[i])::boolean, false);
        IF was_set <> is_set THEN
            changes := coalesce(changes, '[]') || jsonb_build_object('logicalName', TG_ARGV[i + 1],
                'operation', CASE WHEN is_set THEN 'set' ELSE 'cleared' END);
            mask := concat_ws(',', mask, TG_ARGV[i + 1]);
        END IF;
    END LOOP;
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

-- Which password was replaced, and which was set or cleared past its record. Arguments: the entity, the id's column, then pairs of
-- an encrypted attribute and its flag. It compares cells and keeps none.
CREATE OR REPLACE FUNCTION audit_password() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    before jsonb := to_jsonb(OLD);
    after jsonb := CASE WHEN TG_OP = 'UPDATE' THEN to_jsonb(NEW) ELSE '{}' END;
    entry jsonb;
    is_written boolean;
    who uuid;
    change text;
BEGIN
    IF NOT EXISTS (SELECT FROM audit_setting WHERE entity = TG_ARGV[0] AND attribute = '' AND is_enabled) THEN
        RETURN NULL;
    END IF;
    EXECUTE format('SELECT to_jsonb(r), r.xmin = pg_current_xact_id()::xid FROM %I AS r WHERE %I = $1', TG_ARGV[0], TG_ARGV[1])
       INTO entry, is_written USING (before ->> TG_ARGV[1])::uuid;
    IF entry IS NULL THEN
        -- The record was deleted and took its cells along: its own entry says so.
        RETURN NULL;
    END IF;
    who := coalesce(nullif(current_setting('fieldseal.user', true), '')::uuid,
        CASE WHEN is_written AND (entry ->> 'modifiedon')::timestamptz = now() THEN (entry ->> 'modifiedby')::uuid END);
    FOR i IN 2 .. TG_NARGS - 1 BY 2 LOOP
        change := CASE
            WHEN before ->> TG_ARGV[i] IS NOT DISTINCT FROM after ->> TG_ARGV[i] THEN NULL
            WHEN before ->> TG_ARGV[i] IS NULL THEN 'set'
            WHEN after ->> TG_ARGV[i] IS NULL THEN 'cleared'
            ELSE 'replaced' END;
        -- A flag that changed along is in the record's own entry.
        CONTINUE WHEN change IS NULL OR change <> 'replaced' AND is_written
            AND coalesce((entry ->> TG_ARGV[i + 1])::boolean, false) = (change = 'set');
        INSERT INTO audit (action, operation, objectid, objecttypecode, userid, useridname, attributemask, changedata)
        VALUES (2, 2, (before ->> TG_ARGV[1])::uuid, TG_ARGV[0], who,
            (SELECT u.fullname FROM systemuser AS u WHERE u.systemuserid = who), TG_ARGV[i],
            jsonb_build_object('changedAttributes', jsonb_build_array(
                jsonb_build_object('logicalName', TG_ARGV[i], 'operation', change)))::text);
    END LOOP;
    RETURN NULL;
END
$$;
COMMENT ON COLUMN audit.userid IS 'Who did it: modifiedby of the record, or who fieldseal.user says is deleting it; NULL for a change past the service.';
COMMENT ON COLUMN audit.useridname IS NULL;

ALTER TABLE email DROP COLUMN activitytypecode, ADD COLUMN activitytypecode text;
ALTER TABLE queue DROP COLUMN numberofitems, DROP COLUMN numberofmembers,
    ADD COLUMN numberofitems integer, ADD COLUMN numberofmembers integer;
