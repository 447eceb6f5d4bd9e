-- Passwords leave a trace, old events can be archived, the audit can't be rewritten, and a long chain is verified quickly.
-- Runs with the organization's schema as search_path; no schema is named here.

-- Events of writes ----------------------------------------------------------------------------------------------------
-- A write of a password inserts its event here, in its own transaction and without a lock. Within seconds the service moves the
-- event to security_event, where it is linked into the chain.

CREATE TABLE unchained_event (
    unchained_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_on timestamptz NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'refused', 'failed')),
    actor text NOT NULL,
    address text,
    request_id text,
    details text,
    tag bytea NOT NULL CHECK (octet_length(tag) = 32)
);
COMMENT ON TABLE unchained_event IS 'Security events of the last seconds that are not linked into the chain yet. Inserted and read, nothing else.';
COMMENT ON COLUMN unchained_event.tag IS 'Made with the key-encryption key over the event: one that SQL inserted is recorded as refused.';

-- Moving evidence is a transaction that says so: it links new events, or it archives old ones.
CREATE OR REPLACE FUNCTION refuse_event_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('fieldseal.evidence', true) = 'move' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'security events can be inserted and read, nothing else' USING ERRCODE = 'FS007',
        HINT = 'They are evidence. To move old events to a signed file: fieldseal events archive.';
END
$$;
CREATE TRIGGER keep BEFORE UPDATE ON unchained_event
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change();
-- Each event is deleted once, when it is linked: the condition costs less than a call of the function.
CREATE TRIGGER keep_deleted BEFORE DELETE ON unchained_event
    FOR EACH ROW WHEN (current_setting('fieldseal.evidence', true) IS DISTINCT FROM 'move') EXECUTE FUNCTION refuse_event_change();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON unchained_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();

CREATE FUNCTION chain_events(ids bigint[], refused boolean[], previous_hashes bytea[], hashes bytea[], first_id bigint) RETURNS bigint
    -- A batch has up to 2,000 events, and no plan may read a table once for each of them.
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET enable_seqscan = off AS $$
DECLARE
    moved bigint;
BEGIN
    PERFORM set_config('fieldseal.evidence', 'move', true);
    WITH taken AS (
        DELETE FROM unchained_event AS u
         USING unnest(ids, refused, previous_hashes, hashes) WITH ORDINALITY AS c (id, refused, previous_hash, hash, place)
         WHERE u.unchained_event_id = c.id
        RETURNING u.*, c.refused AS is_refused, c.previous_hash, c.hash, c.place
    )
    INSERT INTO security_event
        (security_event_id, occurred_on, kind, outcome, actor, address, request_id, details, previous_hash, hash)
    OVERRIDING SYSTEM VALUE
    SELECT first_id + t.place - 1, t.occurred_on, CASE WHEN t.is_refused THEN 'event refused' ELSE t.kind END,
           CASE WHEN t.is_refused THEN 'refused' ELSE t.outcome END, CASE WHEN t.is_refused THEN 'unknown' ELSE t.actor END,
           CASE WHEN NOT t.is_refused THEN t.address END, CASE WHEN NOT t.is_refused THEN t.request_id END,
           CASE WHEN t.is_refused THEN concat(t.kind, ', ', t.outcome, ', by ', t.actor, ': ', t.details) ELSE t.details END,
           t.previous_hash, t.hash
      FROM taken AS t;
    GET DIAGNOSTICS moved = ROW_COUNT;
    PERFORM set_config('fieldseal.evidence', '', true);
    RETURN moved;
END
$$;
COMMENT ON FUNCTION chain_events(bigint[], boolean[], bytea[], bytea[], bigint) IS
    'Moves events to the end of the chain, under the hashes that the service computed; it drops none.';

-- The hash of an event is computed here, unless chain_events brings it: no other role may insert one.
DROP TRIGGER chain ON security_event;
CREATE TRIGGER chain BEFORE INSERT ON security_event
    FOR EACH ROW WHEN (NEW.hash IS NULL) EXECUTE FUNCTION chain_security_event();
REVOKE INSERT ON security_event FROM fieldseal_service;
GRANT INSERT (occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details) ON security_event
    TO fieldseal_service;

CREATE INDEX ON security_event (kind, security_event_id);
CREATE INDEX ON security_event (occurred_on);

CREATE TABLE event_archive (
    last_id bigint PRIMARY KEY,
    first_id bigint NOT NULL,
    events bigint NOT NULL,
    head bytea NOT NULL CHECK (octet_length(head) = 32),
    file_digest bytea NOT NULL CHECK (octet_length(file_digest) = 32),
    archived_on timestamptz NOT NULL DEFAULT now(),
    archived_by text NOT NULL
);
COMMENT ON TABLE event_archive IS
    'Each file to which old security events were moved. Where the chain begins is attested elsewhere, under a tag of the key-encryption key.';
COMMENT ON COLUMN event_archive.head IS 'The hash of the newest event in the file: previous_hash of the event after it.';
COMMENT ON COLUMN event_archive.file_digest IS 'SHA-256 of the file without its last line.';

-- Set-based: each event beside the one before it. The first event's predecessor may be in an archive.
CREATE OR REPLACE FUNCTION verify_security_events() RETURNS TABLE (security_event_id bigint, problem text)
    LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
    beginning bytea := (SELECT a.head FROM event_archive AS a ORDER BY a.last_id DESC LIMIT 1);
BEGIN
    RETURN QUERY
    SELECT c.id, p.problem
      FROM (SELECT e.security_event_id AS id, e.previous_hash, e.hash, security_event_hash(e) AS computed,
                   lag(e.hash, 1, beginning) OVER (ORDER BY e.security_event_id) AS before
              FROM security_event AS e) AS c
     CROSS JOIN LATERAL (VALUES
            (c.previous_hash IS DISTINCT FROM c.before, 'an event before this one was taken out, put in or moved'),
            (c.hash <> c.computed, 'this event was changed')) AS p (is_found, problem)
     WHERE p.is_found
     ORDER BY c.id;
END
$$;

-- The audit --------------------------------------------------------------------------------------------------------------

CREATE FUNCTION refuse_audit_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('fieldseal.evidence', true) = 'move' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'the audit can be read, nothing else' USING ERRCODE = 'FS013',
        HINT = 'It is evidence. To move old entries to a file: fieldseal events archive --audit.';
END
$$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION refuse_audit_change();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change();

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
CREATE FUNCTION audit_password() RETURNS trigger
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
COMMENT ON COLUMN audit.changedata IS
    '{"changedAttributes":[{"logicalName":…,"oldValue":…,"newValue":…}]}; for a password {"logicalName":…,"operation":"set", "replaced" or "cleared"} and no value.';

DO $$
DECLARE
    t record;
BEGIN
    FOR t IN
        SELECT c.entity, c.id_column, string_agg(quote_literal(f.flag) || ', ' || quote_literal(f.attribute), ', ') AS flags,
               string_agg(quote_literal(f.attribute) || ', ' || quote_literal(f.flag), ', ') AS attributes
          FROM cell_table AS c JOIN (VALUES
               ('emailserverprofile', 'incomingpassword', 'isincomingpasswordset'),
               ('emailserverprofile', 'outgoingpassword', 'isoutgoingpasswordset'),
               ('mailbox', 'password', 'ispasswordset'), ('queue', 'emailpassword', 'isemailpasswordset'),
               ('usersettings', 'emailpassword', 'isemailpasswordset')) AS f (entity, attribute, flag) USING (entity)
         GROUP BY c.entity, c.id_column
    LOOP
        EXECUTE format('CREATE OR REPLACE TRIGGER audits AFTER INSERT OR UPDATE OR DELETE ON %I '
            'FOR EACH ROW EXECUTE FUNCTION audit_change(%L, %s)', t.entity, t.id_column, t.flags);
        EXECUTE format('CREATE TRIGGER audits_password AFTER UPDATE OR DELETE ON %I '
            'FOR EACH ROW EXECUTE FUNCTION audit_password(%L, %L, %s)', t.entity || '_cell', t.entity, t.id_column, t.attributes);
    END LOOP;
END
$$;

-- Rights -------------------------------------------------------------------------------------------------------------

REVOKE ALL ON FUNCTION chain_events(bigint[], boolean[], bytea[], bytea[], bigint), refuse_audit_change(), audit_password() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION chain_events(bigint[], boolean[], bytea[], bytea[], bigint), refuse_audit_change(), audit_password()
    TO fieldseal_service;
GRANT SELECT ON unchained_event, event_archive TO fieldseal_service, fieldseal_inspector;
GRANT INSERT (occurred_on, kind, outcome, actor, address, request_id, details, tag) ON unchained_event TO fieldseal_service;
