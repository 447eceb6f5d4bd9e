-- Lost: the events and the audit of passwords that are written from now on, and the guards of the audit. Events that wait to be
-- linked, and where the chain begins after old events were archived, are not lost: this is refused while there are any.
-- Runs with the organization's schema as search_path; no schema is named here.

DO $$
BEGIN
    IF EXISTS (SELECT FROM unchained_event) THEN
        RAISE EXCEPTION 'security events wait to be linked into the chain' USING ERRCODE = 'FS007',
            HINT = 'fieldseal events export links them. Stop the service first, and run this again.';
    END IF;
    IF EXISTS (SELECT FROM event_archive) THEN
        RAISE EXCEPTION 'old security events were archived' USING ERRCODE = 'FS007',
            HINT = 'Without the table event_archive, verify_security_events() finds their beginning cut off.';
    END IF;
END
$$;
DROP TABLE unchained_event, event_archive;
DROP FUNCTION chain_events(bigint[], boolean[], bytea[], bytea[], bigint);
DROP INDEX security_event_kind_security_event_id_idx, security_event_occurred_on_idx;
DROP TRIGGER chain ON security_event;
CREATE TRIGGER chain BEFORE INSERT ON security_event FOR EACH ROW EXECUTE FUNCTION chain_security_event();
REVOKE INSERT (occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details) ON security_event
    FROM fieldseal_service;
GRANT INSERT ON security_event TO fieldseal_service;
CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'security events can be inserted and read, nothing else' USING ERRCODE = 'FS007',
        HINT = 'They are the record of who read and changed keys.';
END
$$;
CREATE OR REPLACE FUNCTION verify_security_events() RETURNS TABLE (security_event_id bigint, problem text)
    LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    event security_event;
    previous bytea;
BEGIN
    FOR event IN SELECT * FROM security_event AS e ORDER BY e.security_event_id LOOP
        security_event_id := event.security_event_id;
        IF event.previous_hash IS DISTINCT FROM previous THEN
            problem := 'an event before this one was taken out, put in or moved';
            RETURN NEXT;
        END IF;
        IF event.hash <> security_event_hash(event) THEN
            problem := 'this event was changed';
            RETURN NEXT;
        END IF;
        previous := event.hash;
    END LOOP;
END
$$;
DROP TRIGGER keep ON audit;
DROP TRIGGER keep_all ON audit;
DROP FUNCTION refuse_audit_change();
DROP TRIGGER audits_password ON emailserverprofile_cell;
DROP TRIGGER audits_password ON mailbox_cell;
DROP TRIGGER audits_password ON queue_cell;
DROP TRIGGER audits_password ON usersettings_cell;
DROP FUNCTION audit_password();
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
COMMENT ON COLUMN audit.changedata IS '{"changedAttributes":[{"logicalName":…,"oldValue":…,"newValue":…}]}; never an encrypted attribute.';
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT entity, id_column FROM cell_table LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER audits AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION audit_change(%L)',
            t.entity, t.id_column);
    END LOOP;
END
$$;
