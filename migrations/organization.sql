-- The schema of a new organization. These statements make at once what the organization's migrations make one after the other.
-- scripts/organization-schema writes this file, and a test compares the schema with the migrations. Do not change it by hand.
-- The statements run with the organization's schema as search_path, and name no schema. The table migration exists already.
--
-- PostgreSQL looks up a function among all functions of its name in all schemas, which is slow with many organizations. So each
-- function first has a unique name, and gets its own name at the end. The program replaces "new" after the dollar sign with
-- random characters.
--
-- Of the migrations 34694d062e72a692874a6fa311c82fe9ed6b41c9b5139a74426a4f1ed8700ea2

CREATE FUNCTION announce_change$new() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
DECLARE
    t record;
    leaf text;
BEGIN
    -- Whoever wrote a cell before has ended when this is granted; whoever writes one afterwards fires the trigger.
    PERFORM lock_generations();
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        leaf := format('%s_cell_k%s', t.entity, (SELECT e.key_version FROM encryption AS e));
        IF EXISTS (SELECT FROM pg_trigger WHERE tgrelid = leaf::regclass AND tgname = 'notes_change') THEN
            EXECUTE format('ALTER TABLE %I ENABLE TRIGGER notes_change', leaf);
        ELSE
            EXECUTE format('CREATE TRIGGER notes_change AFTER INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION %I()',
                leaf, t.entity || '_notes_change');
        END IF;
        -- A vacuum of the leaf would hold the switch up, and is in vain.
        EXECUTE format('ALTER TABLE %I SET (autovacuum_enabled = false)', leaf);
    END LOOP;
    DELETE FROM cell_change;
END
$$;
CREATE FUNCTION attachment_is_counted$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    UPDATE email SET attachmentcount = (SELECT count(*) FROM activitymimeattachment AS a WHERE a.objectid = email.activityid)
     WHERE activityid IN (NEW.objectid, OLD.objectid);
    RETURN NULL;
END $$;
CREATE FUNCTION audit_change$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
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
           coalesce((SELECT u.fullname FROM systemuser AS u WHERE u.systemuserid = w.who),
               CASE WHEN w.who IS NULL THEN left(nullif(current_setting('fieldseal.actor', true), ''), 200) END), mask,
           jsonb_build_object('changedAttributes', coalesce(changes, '[]'))::text
      FROM (SELECT CASE TG_OP WHEN 'INSERT' THEN 1 WHEN 'UPDATE' THEN 2 ELSE 3 END) AS o (code),
           -- The caller whom the transaction names comes first. Not every entity has modifiedby, and not every change sets it.
           (SELECT coalesce(nullif(current_setting('fieldseal.user', true), '')::uuid,
                       CASE WHEN before -> 'modifiedon' IS DISTINCT FROM after -> 'modifiedon' THEN (after ->> 'modifiedby')::uuid END)
           ) AS w (who);
    RETURN NULL;
END
$$;
CREATE FUNCTION audit_password$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $_$
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
            coalesce((SELECT u.fullname FROM systemuser AS u WHERE u.systemuserid = who),
                CASE WHEN who IS NULL THEN left(nullif(current_setting('fieldseal.actor', true), ''), 200) END), TG_ARGV[i],
            jsonb_build_object('changedAttributes', jsonb_build_array(
                jsonb_build_object('logicalName', TG_ARGV[i], 'operation', change)))::text);
    END LOOP;
    RETURN NULL;
END
$_$;
CREATE FUNCTION chain_events$new(ids bigint[], refused boolean[], previous_hashes bytea[], hashes bytea[], first_id bigint) RETURNS bigint
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    SET enable_seqscan TO 'off'
    AS $$
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
CREATE FUNCTION chain_security_event$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
DECLARE
    newest record;
BEGIN
    SELECT e.security_event_id, e.hash INTO newest FROM security_event AS e ORDER BY e.security_event_id DESC LIMIT 1;
    NEW.security_event_id := coalesce(newest.security_event_id, 0) + 1;
    NEW.previous_hash := newest.hash;
    -- As security_event_hash(NEW).
    NEW.hash := sha256(coalesce(NEW.previous_hash, ''::bytea) || convert_to(jsonb_build_array(
        NEW.security_event_id, (extract(epoch FROM NEW.occurred_on) * 1000000)::bigint, NEW.kind, NEW.outcome, NEW.actor,
        NEW.address, NEW.request_id, NEW.key_version, NEW.fingerprint, NEW.details)::text, 'UTF8'));
    RETURN NEW;
END
$$;
CREATE FUNCTION create_generation$new(version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $_$
DECLARE
    t record;
    leaf text;
    header text := format('\x01%s', lpad(to_hex(version), 8, '0'));
    cell_column text;
BEGIN
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        leaf := format('%s_cell_k%s', t.entity, version);
        EXECUTE format('CREATE TABLE %I (LIKE %I INCLUDING CONSTRAINTS)', leaf, t.entity || '_cell');
        FOR cell_column IN
            SELECT a.attname FROM pg_attribute AS a
             WHERE a.attrelid = (t.entity || '_cell')::regclass AND a.attnum > 0 AND a.atttypid = 'bytea'::regtype
        LOOP
            -- Cells don't compress, and ANALYZE would copy some of them into pg_statistic.
            EXECUTE format(
                'ALTER TABLE %1$I ALTER %2$I SET STORAGE EXTERNAL, ALTER %2$I SET STATISTICS 0, '
                'ADD CONSTRAINT %2$s_has_key_version CHECK (substring(%2$I FROM 1 FOR 5) = %3$L::bytea)',
                leaf, cell_column, header);
        END LOOP;
        EXECUTE format('ALTER TABLE %I ADD CONSTRAINT row_has_key_version CHECK (key_version = %s)', leaf, version);
        -- The load goes to the leaf itself; the right to do so ends with the switch.
        EXECUTE format('GRANT SELECT, INSERT, UPDATE, DELETE ON %I TO fieldseal_service', leaf);
    END LOOP;
    PERFORM place_generation(version);
END
$_$;
CREATE FUNCTION drop_generation$new(version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    SET lock_timeout TO '20ms'
    AS $$
DECLARE
    t record;
    current_version integer := (SELECT e.key_version FROM encryption AS e);
BEGIN
    IF current_version IS NULL OR version >= current_version THEN
        RAISE EXCEPTION 'key version % is not older than %, which is in force', version, current_version USING ERRCODE = 'FS001',
            HINT = 'Encryption cannot be turned off, and a newer generation may be what an older state was restored over.';
    END IF;
    -- A transaction whose snapshot is older than the switch must still find the cells that it sees.
    IF EXISTS (SELECT FROM pg_stat_activity
                WHERE datname = current_database() AND pid <> pg_backend_pid()
                  AND age(backend_xmin) >= (SELECT age(e.xmin) FROM encryption AS e)) THEN
        RETURN false;
    END IF;
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        EXECUTE format('DROP TABLE IF EXISTS %I', format('%s_cell_k%s', t.entity, version));
    END LOOP;
    RETURN true;
END
$$;
CREATE FUNCTION email_keeps_state$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    NEW.statecode := CASE WHEN NEW.statuscode IN (1, 8) THEN 0 WHEN NEW.statuscode = 5 THEN 2 ELSE 1 END;
    RETURN NEW;
END $$;
CREATE FUNCTION emailserverprofile_cell_needs_record$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                PERFORM FROM emailserverprofile WHERE emailserverprofileid = NEW.emailserverprofileid FOR KEY SHARE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'there is no emailserverprofile %', NEW.emailserverprofileid USING ERRCODE = 'foreign_key_violation',
                        HINT = 'A cell belongs to a record. Insert the record first.';
                END IF;
                RETURN NEW;
            END
            $$;
CREATE FUNCTION emailserverprofile_notes_change$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                INSERT INTO cell_change (entity, record_id)
                VALUES ('emailserverprofile', CASE WHEN TG_OP = 'DELETE' THEN OLD.emailserverprofileid ELSE NEW.emailserverprofileid END);
                RETURN NULL;
            END
            $$;
CREATE FUNCTION emailserverprofile_takes_cells_along$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                DELETE FROM emailserverprofile_cell
                 WHERE key_version = (SELECT e.key_version FROM encryption AS e) AND emailserverprofileid = OLD.emailserverprofileid;
                RETURN NULL;
            END
            $$;
CREATE FUNCTION end_change$new() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    SET lock_timeout TO '20ms'
    AS $$
DECLARE
    t record;
    leaf regclass;
BEGIN
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        leaf := to_regclass(quote_ident(t.entity || '_cell_k' || (SELECT e.key_version FROM encryption AS e)));
        CONTINUE WHEN NOT EXISTS (
            SELECT FROM pg_trigger AS tg WHERE tg.tgrelid = leaf AND tg.tgname = 'notes_change' AND tg.tgenabled <> 'D');
        -- Disabled and not dropped: dropping would wait for every reader, and make everybody wait behind it.
        EXECUTE 'ALTER TABLE ' || leaf || ' DISABLE TRIGGER notes_change';
        EXECUTE 'ALTER TABLE ' || leaf || ' RESET (autovacuum_enabled)';
    END LOOP;
    DELETE FROM cell_change;
END
$$;
CREATE FUNCTION finish_generation$new(version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (key_version, %I)', format('%s_cell_k%s', t.entity, version), t.id_column);
    END LOOP;
END
$$;
CREATE FUNCTION fiscal_period_count$new() RETURNS integer
    LANGUAGE sql STABLE
    SET search_path FROM CURRENT
    AS $$
    SELECT CASE fiscalperiodtype WHEN 2000 THEN 1 WHEN 2001 THEN 2 WHEN 2002 THEN 4 WHEN 2003 THEN 12 ELSE 13 END FROM organization LIMIT 1
$$;
CREATE FUNCTION fiscal_ranges$new(kind text, x integer, p integer, y integer) RETURNS TABLE(starts timestamp with time zone, ends timestamp with time zone)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    AS $$
DECLARE
    count integer := fiscal_period_count();
    year integer := extract(year FROM now() AT TIME ZONE 'UTC');
    place integer;
    named integer := y * count + p - 1;
BEGIN
    IF fiscal_start(year * count) > now() THEN
        year := year - 1;
    END IF;
    place := year * count;
    WHILE place + 1 < (year + 1) * count AND fiscal_start(place + 1) <= now() LOOP
        place := place + 1;
    END LOOP;
    IF kind = 'period' THEN
        RETURN QUERY SELECT fiscal_start(n * count + p - 1), fiscal_start(n * count + p) FROM generate_series(1900, 2200) AS n WHERE p <= count;
        RETURN;
    END IF;
    IF kind IN ('period and year', 'until', 'from') AND p > count THEN
        RETURN;
    END IF;
    starts := CASE kind
        WHEN 'year' THEN fiscal_start(y * count)
        WHEN 'relative year' THEN fiscal_start((year + x) * count)
        WHEN 'relative period' THEN fiscal_start(place + x)
        WHEN 'last years' THEN fiscal_start((year - x) * count)
        WHEN 'last periods' THEN fiscal_start(place - x)
        WHEN 'next years' THEN now()
        WHEN 'next periods' THEN now()
        WHEN 'until' THEN '-infinity'
        ELSE fiscal_start(named) END;
    ends := CASE kind
        WHEN 'year' THEN fiscal_start((y + 1) * count)
        WHEN 'relative year' THEN fiscal_start((year + x + 1) * count)
        WHEN 'relative period' THEN fiscal_start(place + x + 1)
        WHEN 'last years' THEN now()
        WHEN 'last periods' THEN now()
        WHEN 'next years' THEN fiscal_start((year + x + 1) * count)
        WHEN 'next periods' THEN fiscal_start(place + x + 1)
        WHEN 'from' THEN 'infinity'
        ELSE fiscal_start(named + 1) END;
    RETURN NEXT;
END
$$;
CREATE FUNCTION fiscal_start$new(place integer) RETURNS timestamp with time zone
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    AS $$
DECLARE
    count integer := fiscal_period_count();
    anchor timestamp := (SELECT fiscalcalendarstart AT TIME ZONE 'UTC' FROM organization LIMIT 1);
    step interval := CASE count WHEN 13 THEN interval '28 days' ELSE make_interval(months => 12 / count) END;
    first timestamp;
BEGIN
    -- Queries count up to 10,000 periods or years away from now.
    place := least(greatest(place, count), 9999 * count);
    first := make_timestamp(place / count, 1, 1, 0, 0, 0)
        + make_interval(months => extract(month FROM anchor)::integer - 1, days => extract(day FROM anchor)::integer - 1);
    RETURN (first + (place % count) * step) AT TIME ZONE 'UTC';
END
$$;
CREATE FUNCTION forget_access$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $_$
BEGIN
    EXECUTE format('DELETE FROM %I.principal_access WHERE entity = %L AND record_id = ($1).%I', TG_TABLE_SCHEMA, TG_TABLE_NAME, TG_ARGV[0])
        USING OLD;
    RETURN NULL;
END $_$;
CREATE FUNCTION forget_destination$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    DELETE FROM mail_destination WHERE entity = TG_TABLE_NAME
       AND record_id = (to_jsonb(OLD) ->> CASE TG_TABLE_NAME
               WHEN 'mailbox' THEN 'mailboxid' WHEN 'queue' THEN 'queueid' WHEN 'usersettings' THEN 'systemuserid'
               ELSE 'emailserverprofileid' END)::uuid;
    RETURN NULL;
END $$;
CREATE FUNCTION forget_mailbox_messages$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    DELETE FROM mailbox_message WHERE mailboxid = OLD.mailboxid;
    RETURN NULL;
END $$;
CREATE FUNCTION forget_mailbox_watch$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
BEGIN
    DELETE FROM mailbox_watch WHERE mailboxid = OLD.mailboxid;
    RETURN NULL;
END $$;
CREATE FUNCTION keep_encryption$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF current_setting('fieldseal.switch', true) IS DISTINCT FROM 'on'
        AND current_setting('fieldseal.maintenance', true) IS DISTINCT FROM 'on' THEN
        RAISE EXCEPTION '% on table "encryption" is refused: without this row no cell opens, also with the key', TG_OP
            USING ERRCODE = 'FS012',
                  HINT = 'A key change writes it. To change it on purpose: SET fieldseal.maintenance = ''on'', '
                      || 'and run fieldseal doctor afterwards.';
    END IF;
    IF TG_OP = 'DELETE' THEN
        RETURN OLD;
    END IF;
    -- Versions only grow. A key change takes the next one that is free.
    IF TG_OP = 'UPDATE' AND NEW.key_version::bigint - OLD.key_version > 1000000 THEN
        RAISE EXCEPTION 'key version % is too far from %, which is in force', NEW.key_version, OLD.key_version USING ERRCODE = 'FS001',
            HINT = 'No version would be left for later keys.';
    END IF;
    RETURN NEW;
END
$$;
CREATE FUNCTION lock_generations$new() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
BEGIN
    LOCK TABLE emailserverprofile_cell, mailbox_cell, queue_cell, usersettings_cell IN SHARE ROW EXCLUSIVE MODE;
END
$$;
CREATE FUNCTION mailbox_cell_needs_record$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                PERFORM FROM mailbox WHERE mailboxid = NEW.mailboxid FOR KEY SHARE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'there is no mailbox %', NEW.mailboxid USING ERRCODE = 'foreign_key_violation',
                        HINT = 'A cell belongs to a record. Insert the record first.';
                END IF;
                RETURN NEW;
            END
            $$;
CREATE FUNCTION mailbox_notes_change$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                INSERT INTO cell_change (entity, record_id)
                VALUES ('mailbox', CASE WHEN TG_OP = 'DELETE' THEN OLD.mailboxid ELSE NEW.mailboxid END);
                RETURN NULL;
            END
            $$;
CREATE FUNCTION mailbox_takes_cells_along$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                DELETE FROM mailbox_cell
                 WHERE key_version = (SELECT e.key_version FROM encryption AS e) AND mailboxid = OLD.mailboxid;
                RETURN NULL;
            END
            $$;
CREATE FUNCTION note_audit$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
BEGIN
    IF to_regclass('config.unsealed_audit') IS NULL THEN
        RETURN NULL;
    END IF;
    -- Once in a transaction is enough.
    PERFORM set_config('fieldseal.audit_noted', pg_current_xact_id()::text, true);
    INSERT INTO config.unsealed_audit (organization_id)
    SELECT e.organization_id FROM encryption AS e
     WHERE NOT EXISTS (SELECT FROM config.unsealed_audit AS u
         WHERE u.organization_id = e.organization_id AND u.noted_on > clock_timestamp() - interval '30 minutes');
    RETURN NULL;
END
$$;
CREATE FUNCTION notify_routers$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    PERFORM pg_catalog.pg_notify('fieldseal_mail_work', TG_TABLE_SCHEMA);
    RETURN NULL;
END $$;
CREATE FUNCTION place_generation$new(version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
DECLARE
    t record;
    a record;
    old regclass;
    leaf text;
    space name;
BEGIN
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        old := to_regclass(quote_ident(format('%s_cell_k%s', t.entity, (SELECT e.key_version FROM encryption AS e))));
        leaf := format('%s_cell_k%s', t.entity, version);
        CONTINUE WHEN old IS NULL OR old = to_regclass(quote_ident(leaf));
        SELECT s.spcname INTO space FROM pg_class AS c JOIN pg_tablespace AS s ON s.oid = c.reltablespace WHERE c.oid = old;
        IF FOUND THEN
            BEGIN
                EXECUTE format('ALTER TABLE %I SET TABLESPACE %I', leaf, space);
            EXCEPTION WHEN insufficient_privilege THEN
                -- A superuser moved the old one to where the owner may not create: a key change does not fail for that.
                NULL;
            END;
        END IF;
        -- The service's and the inspector's come and go with the switch.
        FOR a IN
            SELECT x.privilege_type, r.rolname FROM pg_class AS c, aclexplode(c.relacl) AS x LEFT JOIN pg_roles AS r ON r.oid = x.grantee
             WHERE c.oid = old AND x.grantee <> c.relowner AND x.privilege_type = 'SELECT'
               AND r.rolname IS DISTINCT FROM 'fieldseal_service' AND r.rolname IS DISTINCT FROM 'fieldseal_inspector'
        LOOP
            EXECUTE format('GRANT SELECT ON %I TO %s', leaf, CASE WHEN a.rolname IS NULL THEN 'PUBLIC' ELSE quote_ident(a.rolname) END);
        END LOOP;
    END LOOP;
END
$$;
CREATE FUNCTION queue_cell_needs_record$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                PERFORM FROM queue WHERE queueid = NEW.queueid FOR KEY SHARE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'there is no queue %', NEW.queueid USING ERRCODE = 'foreign_key_violation',
                        HINT = 'A cell belongs to a record. Insert the record first.';
                END IF;
                RETURN NEW;
            END
            $$;
CREATE FUNCTION queue_notes_change$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                INSERT INTO cell_change (entity, record_id)
                VALUES ('queue', CASE WHEN TG_OP = 'DELETE' THEN OLD.queueid ELSE NEW.queueid END);
                RETURN NULL;
            END
            $$;
CREATE FUNCTION queue_takes_cells_along$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                DELETE FROM queue_cell
                 WHERE key_version = (SELECT e.key_version FROM encryption AS e) AND queueid = OLD.queueid;
                RETURN NULL;
            END
            $$;
CREATE FUNCTION refuse_audit_change$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'the audit can be read, nothing else' USING ERRCODE = 'FS013',
        HINT = 'It is evidence. To move old entries to a file: fieldseal events archive --audit.';
END
$$;
CREATE FUNCTION refuse_encrypted_setting$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
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
CREATE FUNCTION refuse_event_change$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    IF TG_OP = 'DELETE' AND current_setting('fieldseal.evidence', true) = 'move' THEN
        RETURN OLD;
    END IF;
    RAISE EXCEPTION 'security events can be inserted and read, nothing else' USING ERRCODE = 'FS007',
        HINT = 'They are evidence. To move old events to a signed file: fieldseal events archive.';
END
$$;
CREATE FUNCTION refuse_new_id$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'the id of a row in % cannot be changed', TG_TABLE_NAME USING ERRCODE = 'FS004',
        HINT = 'A cell is bound to its record''s id and key version. Delete the record and create another.';
END
$$;
CREATE FUNCTION refuse_retired$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'key version % is retired',
        CASE WHEN TG_OP = 'DELETE' THEN OLD.key_version ELSE NEW.key_version END
        USING ERRCODE = 'FS001', HINT = 'Seal the value under the current key version and write it again.';
END
$$;
CREATE FUNCTION refuse_truncate$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path TO 'pg_catalog', 'pg_temp'
    AS $$
BEGIN
    RAISE EXCEPTION 'table % cannot be truncated', TG_TABLE_NAME USING ERRCODE = 'FS003',
        HINT = 'TRUNCATE would leave cells without records or records without cells. Use DELETE on the record table.';
END
$$;
CREATE TABLE security_event (
    security_event_id bigint NOT NULL,
    occurred_on timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    actor text NOT NULL,
    address text,
    request_id text,
    key_version integer,
    fingerprint text,
    details text,
    previous_hash bytea,
    hash bytea NOT NULL,
    CONSTRAINT security_event_outcome_check CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'refused'::text, 'failed'::text]))),
    CONSTRAINT security_event_pkey PRIMARY KEY (security_event_id)
);
CREATE FUNCTION security_event_hash$new(event security_event) RETURNS bytea
    LANGUAGE sql IMMUTABLE
    SET search_path FROM CURRENT
    AS $$
    SELECT sha256(coalesce(event.previous_hash, ''::bytea) || convert_to(jsonb_build_array(
        event.security_event_id, (extract(epoch FROM event.occurred_on) * 1000000)::bigint, event.kind, event.outcome, event.actor,
        event.address, event.request_id, event.key_version, event.fingerprint, event.details)::text, 'UTF8'))
$$;
CREATE FUNCTION subject_key$new(subject text) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $_$
    SELECT pg_catalog.md5(pg_catalog.lower(pg_catalog.btrim(pg_catalog.regexp_replace(pg_catalog.regexp_replace(pg_catalog.regexp_replace(
        $1, 'CRM:[0-9]{4,20}', '', 'g'), '^(\s*[^\s:]{1,12}(\[[0-9]+\])?:)+', ''), '\s+', ' ', 'g'))))
$_$;
CREATE FUNCTION switch_generation$new(version integer, new_salt bytea, new_iterations integer, new_key_check bytea, new_fingerprint text, new_rotation_id uuid, of_organization uuid) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
DECLARE
    t record;
    leaf text;
    old integer := (SELECT e.key_version FROM encryption AS e);
BEGIN
    IF cell.key_version(new_key_check) <> version THEN
        RAISE EXCEPTION 'the key check is not of key version %', version USING ERRCODE = 'FS001';
    END IF;
    IF version <= old THEN
        RAISE EXCEPTION 'key version % is not newer than %, which is in force', version, old USING ERRCODE = 'FS001',
            HINT = 'The key version only grows. A retired key may be known to others; change the key to a new one.';
    END IF;
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        leaf := format('%s_cell_k%s', t.entity, version);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I FROM fieldseal_service', leaf);
        EXECUTE format('GRANT SELECT ON %I TO fieldseal_inspector', leaf);
        EXECUTE format('CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate()', leaf);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES IN (%s)', t.entity || '_cell', leaf, version);
        IF old IS NOT NULL THEN
            -- From here on a write under the old key is refused, also in a transaction whose snapshot is older.
            EXECUTE format('CREATE TRIGGER a_retired BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_retired()',
                format('%s_cell_k%s', t.entity, old));
        END IF;
    END LOOP;
    IF old IS NULL THEN
        INSERT INTO encryption (organization_id, key_version, salt, iterations, key_check, fingerprint, rotation_id)
        VALUES (of_organization, version, new_salt, new_iterations, new_key_check, new_fingerprint, new_rotation_id);
    ELSE
        PERFORM set_config('fieldseal.switch', 'on', true);
        UPDATE encryption
           SET key_version = version, salt = new_salt, iterations = new_iterations, key_check = new_key_check,
               fingerprint = new_fingerprint, rotation_id = new_rotation_id, changed_on = now()
         WHERE organization_id = of_organization;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'this schema does not belong to organization %', of_organization USING ERRCODE = 'FS001';
        END IF;
        PERFORM set_config('fieldseal.switch', 'off', true);
    END IF;
END
$$;
CREATE FUNCTION usersettings_cell_needs_record$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                PERFORM FROM usersettings WHERE systemuserid = NEW.systemuserid FOR KEY SHARE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'there is no usersettings %', NEW.systemuserid USING ERRCODE = 'foreign_key_violation',
                        HINT = 'A cell belongs to a record. Insert the record first.';
                END IF;
                RETURN NEW;
            END
            $$;
CREATE FUNCTION usersettings_notes_change$new() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                INSERT INTO cell_change (entity, record_id)
                VALUES ('usersettings', CASE WHEN TG_OP = 'DELETE' THEN OLD.systemuserid ELSE NEW.systemuserid END);
                RETURN NULL;
            END
            $$;
CREATE FUNCTION usersettings_takes_cells_along$new() RETURNS trigger
    LANGUAGE plpgsql
    SET search_path FROM CURRENT
    AS $$
            BEGIN
                DELETE FROM usersettings_cell
                 WHERE key_version = (SELECT e.key_version FROM encryption AS e) AND systemuserid = OLD.systemuserid;
                RETURN NULL;
            END
            $$;
CREATE FUNCTION verify_security_events$new() RETURNS TABLE(security_event_id bigint, problem text)
    LANGUAGE plpgsql STABLE
    SET search_path FROM CURRENT
    AS $$
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
CREATE SEQUENCE version_number;
CREATE TABLE activitymimeattachment (
    activitymimeattachmentid uuid NOT NULL,
    objectid uuid,
    objecttypecode text,
    attachmentnumber integer,
    body text,
    filename text,
    filesize integer,
    mimetype text,
    subject text,
    isfollowed boolean,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    attachmentcontentinfo text,
    CONSTRAINT activitymimeattachment_pkey PRIMARY KEY (activitymimeattachmentid)
);
CREATE TABLE activityparty (
    activityid uuid,
    activitypartyid uuid NOT NULL,
    addressused text,
    effort numeric(23,10),
    exchangeentryid text,
    participationtypemask integer,
    partyid uuid,
    partyidname text,
    partyobjecttypecode text,
    addressusedemailcolumnnumber integer,
    donotemail boolean,
    donotfax boolean,
    donotphone boolean,
    donotpostalmail boolean,
    ispartydeleted boolean,
    scheduledend timestamp with time zone,
    scheduledstart timestamp with time zone,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    CONSTRAINT activityparty_pkey PRIMARY KEY (activitypartyid)
);
CREATE TABLE audit (
    auditid uuid DEFAULT gen_random_uuid() NOT NULL,
    createdon timestamp with time zone DEFAULT clock_timestamp() NOT NULL,
    action integer NOT NULL,
    operation integer NOT NULL,
    objectid uuid NOT NULL,
    objecttypecode text NOT NULL,
    userid uuid,
    useridname text,
    attributemask text,
    changedata text,
    transactionid text DEFAULT (pg_current_xact_id())::text NOT NULL,
    databaserole text DEFAULT SESSION_USER NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    callinguserid uuid DEFAULT (NULLIF(current_setting('fieldseal.calling_user'::text, true), ''::text))::uuid,
    block bigint,
    CONSTRAINT audit_pkey PRIMARY KEY (auditid)
);
CREATE TABLE audit_block (
    number bigint NOT NULL,
    sealed_on timestamp with time zone NOT NULL,
    entries integer NOT NULL,
    members bytea NOT NULL,
    snapshot text,
    digest bytea NOT NULL,
    CONSTRAINT audit_block_check CHECK ((octet_length(members) = (entries * 48))),
    CONSTRAINT audit_block_digest_check CHECK ((octet_length(digest) = 32)),
    CONSTRAINT audit_block_entries_check CHECK ((entries > 0)),
    CONSTRAINT audit_block_number_check CHECK ((number > 0)),
    CONSTRAINT audit_block_pkey PRIMARY KEY (number)
);
ALTER TABLE ONLY audit_block ALTER COLUMN members SET STORAGE EXTERNAL;
CREATE TABLE audit_setting (
    entity text NOT NULL,
    attribute text DEFAULT ''::text NOT NULL,
    is_enabled boolean NOT NULL,
    CONSTRAINT audit_setting_pkey PRIMARY KEY (entity, attribute)
);
CREATE TABLE businessunit (
    businessunitid uuid NOT NULL,
    name text NOT NULL,
    parentbusinessunitid uuid,
    createdon timestamp with time zone DEFAULT now() NOT NULL,
    modifiedon timestamp with time zone DEFAULT now() NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    isdisabled boolean DEFAULT false NOT NULL,
    description text,
    emailaddress text,
    CONSTRAINT businessunit_pkey PRIMARY KEY (businessunitid)
);
CREATE UNLOGGED TABLE cell_change (
    entity text NOT NULL,
    record_id uuid NOT NULL
);
CREATE VIEW cell_table AS
 SELECT t."position",
    t.entity,
    t.id_column
   FROM ( VALUES (1,'emailserverprofile'::text,'emailserverprofileid'::text), (2,'mailbox'::text,'mailboxid'::text), (3,'queue'::text,'queueid'::text), (4,'usersettings'::text,'systemuserid'::text)) t("position", entity, id_column);
CREATE TABLE email (
    activityadditionalparams text,
    activityid uuid NOT NULL,
    actualdurationminutes integer,
    actualend timestamp with time zone,
    actualstart timestamp with time zone,
    attachmentopencount integer,
    baseconversationindexhash integer,
    category text,
    conversationtrackingid uuid,
    delayedemailsendtime timestamp with time zone,
    deliveryattempts integer,
    deliveryprioritycode integer,
    deliveryreceiptrequested boolean,
    description text,
    directioncode boolean,
    emailreminderexpirytime timestamp with time zone,
    emailremindertext text,
    emailremindertype integer,
    emailsendername text,
    emailtrackingid uuid,
    followemailuserpreference boolean,
    importsequencenumber integer,
    isbilled boolean,
    isworkflowcreated boolean,
    lastonholdtime timestamp with time zone,
    lastopenedtime timestamp with time zone,
    linksclickedcount integer,
    messageid text,
    mimetype text,
    notifications integer,
    opencount integer,
    overriddencreatedon timestamp with time zone,
    ownerid uuid,
    owneridtype text,
    parentactivityid uuid,
    prioritycode integer,
    processid uuid,
    readreceiptrequested boolean,
    regardingobjectid uuid,
    regardingobjecttypecode text,
    reminderactioncardid uuid,
    scheduledend timestamp with time zone,
    scheduledstart timestamp with time zone,
    sender text,
    sendersaccountname text,
    sortdate timestamp with time zone,
    stageid uuid,
    statecode integer,
    statuscode integer,
    subcategory text,
    subject text,
    submittedby text,
    templateid uuid,
    timezoneruleversionnumber integer,
    torecipients text,
    trackingtoken text,
    transactioncurrencyid uuid,
    traversedpath text,
    utcconversiontimezonecode integer,
    attachmentcount integer,
    compressed boolean,
    conversationindex text,
    correlationmethod integer,
    emailreminderstatus integer,
    emailsender uuid,
    emailsenderobjecttypecode text,
    emailsenderyominame text,
    exchangerate numeric(23,10),
    inreplyto text,
    isemailfollowed boolean,
    isemailreminderset boolean,
    isregularactivity boolean,
    isunsafe integer,
    onholdtime integer,
    owneridname text,
    owneridyominame text,
    owningbusinessunit uuid,
    owningteam uuid,
    owninguser uuid,
    parentactivityidname text,
    postponeemailprocessinguntil timestamp with time zone,
    receivingmailboxid uuid,
    receivingmailboxidname text,
    regardingobjectidname text,
    regardingobjectidyominame text,
    replycount integer,
    safedescription text,
    scheduleddurationminutes integer,
    sendermailboxid uuid,
    sendermailboxidname text,
    sendersaccount uuid,
    sendersaccountobjecttypecode text,
    sendersaccountyominame text,
    senton timestamp with time zone,
    transactioncurrencyidname text,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamp with time zone,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamp with time zone,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    is_handed_over boolean DEFAULT false NOT NULL,
    failure text,
    submitter uuid,
    submitter_is_administrator boolean DEFAULT false NOT NULL,
    message_references text,
    submission_tag bytea,
    activitytypecode text DEFAULT 'email'::text,
    CONSTRAINT submission_tag_length CHECK ((octet_length(submission_tag) = 32)),
    CONSTRAINT email_pkey PRIMARY KEY (activityid)
);
CREATE TABLE emailserverprofile (
    emailserverprofileid uuid NOT NULL,
    defaultserverlocation text,
    description text,
    encodingcodepage text,
    entityimage bytea,
    exchangeonlinetenantid text,
    exchangeversion integer,
    incomingauthenticationprotocol integer,
    incomingcredentialretrieval integer,
    incomingportnumber integer,
    incomingserverlocation text,
    incominguseimpersonation boolean,
    incomingusername text,
    incomingusessl boolean,
    lastauthorizationstatus integer,
    lastcrmmessage text,
    lasttestexecutionstatus integer,
    lasttestrequest text,
    lasttestresponse text,
    lastteststarttime timestamp with time zone,
    lasttesttotalexecutiontime bigint,
    lasttestvalidationstatus integer,
    maxconcurrentconnections integer,
    minpollingintervalinminutes integer,
    moveundeliveredemails boolean,
    name text,
    outgoingauthenticationprotocol integer,
    outgoingautograntdelegateaccess boolean,
    outgoingcredentialretrieval integer,
    outgoingportnumber integer,
    outgoingserverlocation text,
    outgoinguseimpersonation boolean,
    outgoingusername text,
    outgoingusessl boolean,
    owneremailaddress text,
    ownerid uuid,
    owneridtype text,
    processemailsreceivedafter timestamp with time zone,
    sendemailalert boolean,
    servertype integer,
    statecode integer,
    statuscode integer,
    timeoutmailboxconnection boolean,
    timeoutmailboxconnectionafteramount integer,
    timezoneruleversionnumber integer,
    useautodiscover boolean,
    usedefaulttenantid boolean,
    usesamesettingsforoutgoingconnections boolean,
    utcconversiontimezonecode integer,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamp with time zone,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    emailservertypename text,
    entityimage_timestamp bigint,
    entityimage_url text,
    entityimageid uuid,
    incomingpartnerapplication uuid,
    incomingpartnerapplicationname text,
    isincomingpasswordset boolean DEFAULT false NOT NULL,
    isoutgoingpasswordset boolean DEFAULT false NOT NULL,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamp with time zone,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    organizationid uuid,
    organizationidname text,
    outgoingpartnerapplication uuid,
    outgoingpartnerapplicationname text,
    owneridname text,
    owneridyominame text,
    owningbusinessunit uuid,
    owningbusinessunitname text,
    owningteam uuid,
    owninguser uuid,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    CONSTRAINT emailserverprofile_pkey PRIMARY KEY (emailserverprofileid)
);
CREATE TABLE emailserverprofile_cell (
    key_version integer NOT NULL,
    emailserverprofileid uuid NOT NULL,
    incomingpassword bytea,
    outgoingpassword bytea,
    CONSTRAINT incomingpassword_is_cell CHECK (cell.is_cell(incomingpassword)),
    CONSTRAINT outgoingpassword_is_cell CHECK (cell.is_cell(outgoingpassword)),
    CONSTRAINT emailserverprofile_cell_pkey PRIMARY KEY (key_version, emailserverprofileid)
)
PARTITION BY LIST (key_version);
CREATE TABLE encryption (
    organization_id uuid NOT NULL,
    key_version integer NOT NULL,
    salt bytea NOT NULL,
    iterations integer NOT NULL,
    key_check bytea NOT NULL,
    fingerprint text NOT NULL,
    changed_on timestamp with time zone DEFAULT now() NOT NULL,
    rotation_id uuid NOT NULL,
    CONSTRAINT encryption_fingerprint_check CHECK ((fingerprint ~ '^[0-9a-f]{16}$'::text)),
    CONSTRAINT encryption_iterations_check CHECK (((iterations >= 1) AND (iterations <= 10000000))),
    CONSTRAINT encryption_key_check_check CHECK (cell.is_cell(key_check)),
    CONSTRAINT encryption_key_version_check CHECK ((key_version > 0)),
    CONSTRAINT encryption_salt_check CHECK ((length(salt) = 32)),
    CONSTRAINT encryption_pkey PRIMARY KEY (organization_id)
);
CREATE TABLE event_archive (
    last_id bigint NOT NULL,
    first_id bigint NOT NULL,
    events bigint NOT NULL,
    head bytea NOT NULL,
    file_digest bytea NOT NULL,
    archived_on timestamp with time zone DEFAULT now() NOT NULL,
    archived_by text NOT NULL,
    CONSTRAINT event_archive_file_digest_check CHECK ((octet_length(file_digest) = 32)),
    CONSTRAINT event_archive_head_check CHECK ((octet_length(head) = 32)),
    CONSTRAINT event_archive_pkey PRIMARY KEY (last_id)
);
CREATE TABLE mail_destination (
    entity text NOT NULL,
    record_id uuid NOT NULL,
    kek_id text NOT NULL,
    tag bytea NOT NULL,
    authorized_on timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mail_destination_entity_check CHECK ((entity = ANY (ARRAY['emailserverprofile'::text, 'mailbox'::text, 'queue'::text, 'usersettings'::text]))),
    CONSTRAINT mail_destination_tag_check CHECK ((length(tag) = 32)),
    CONSTRAINT mail_destination_pkey PRIMARY KEY (entity, record_id)
);
CREATE TABLE mail_router (
    router text NOT NULL,
    started_on timestamp with time zone DEFAULT now() NOT NULL,
    seen_on timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mail_router_router_check CHECK (((length(router) >= 1) AND (length(router) <= 160))),
    CONSTRAINT mail_router_pkey PRIMARY KEY (router)
);
CREATE TABLE mailbox (
    mailboxid uuid NOT NULL,
    actdeliverymethod integer,
    actstatus integer,
    allowemailconnectortousecredentials boolean,
    emailaddress text,
    emailrouteraccessapproval integer,
    emailserverprofile uuid,
    enabledforact boolean,
    enabledforincomingemail boolean,
    enabledforoutgoingemail boolean,
    entityimage bytea,
    ewsurl text,
    exchangecontactsimportstatus integer,
    exchangesyncstatexml text,
    folderhierarchy text,
    incomingemaildeliverymethod integer,
    incomingemailstatus integer,
    isactsyncorgflagset boolean,
    isemailaddressapprovedbyo365admin boolean,
    itemsfailedforlastsync integer,
    itemsprocessedforlastsync integer,
    lastautodiscoveredon timestamp with time zone,
    lastsyncerror text,
    lastsyncerrorcode integer,
    lastsyncerrorcount integer,
    lastsyncerrormachinename text,
    lastsyncerroroccurredon timestamp with time zone,
    mailboxprocessingcontext integer,
    name text,
    officeappsdeploymentscheduled boolean,
    officeappsdeploymentstatus integer,
    orgmarkedasprimaryforexchangesync boolean,
    outgoingemaildeliverymethod integer,
    outgoingemailstatus integer,
    ownerid uuid,
    owneridtype text,
    postponemailboxprocessinguntil timestamp with time zone,
    postponeofficeappsdeploymentuntil timestamp with time zone,
    postponesendinguntil timestamp with time zone,
    postponetestemailconfigurationuntil timestamp with time zone,
    processanddeleteemails boolean,
    processemailreceivedafter timestamp with time zone,
    statecode integer,
    statuscode integer,
    testemailconfigurationretrycount integer,
    testemailconfigurationscheduled boolean,
    testmailboxaccesscompletedon timestamp with time zone,
    timezoneruleversionnumber integer,
    undeliverablefolder text,
    username text,
    utcconversiontimezonecode integer,
    verboseloggingenabled integer,
    averagetotalduration integer,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamp with time zone,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    emailserverprofilename text,
    entityimage_timestamp bigint,
    entityimage_url text,
    entityimageid uuid,
    exchangecontactsimportcompletedon timestamp with time zone,
    forcedunlockcount integer,
    hostid text,
    isexchangecontactsimportscheduled boolean,
    isforwardmailbox boolean,
    ispasswordset boolean DEFAULT false NOT NULL,
    isserviceaccount boolean,
    lastactiveon timestamp with time zone,
    lastduration integer,
    lastmailboxforcedunlockoccurredon timestamp with time zone,
    lastmessageid text,
    lastsuccessfulsynccompletedon timestamp with time zone,
    lastsyncstartedon timestamp with time zone,
    mailboxstatus integer,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamp with time zone,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    noactcount integer,
    noemailcount integer,
    officeappsdeploymentcompleteon timestamp with time zone,
    officeappsdeploymenterror text,
    organizationid uuid,
    organizationidname text,
    owneridname text,
    owneridyominame text,
    owningbusinessunit uuid,
    owningbusinessunitname text,
    owningteam uuid,
    owninguser uuid,
    processedtimes integer,
    processinglastattemptedon timestamp with time zone,
    processingstatecode integer,
    receivingpostponeduntil timestamp with time zone,
    receivingpostponeduntilforact timestamp with time zone,
    regardingobjectid uuid,
    regardingobjectidname text,
    regardingobjecttypecode text,
    transientfailurecount integer,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    router_state text,
    CONSTRAINT mailbox_pkey PRIMARY KEY (mailboxid)
);
CREATE TABLE mailbox_cell (
    key_version integer NOT NULL,
    mailboxid uuid NOT NULL,
    password bytea,
    CONSTRAINT password_is_cell CHECK (cell.is_cell(password)),
    CONSTRAINT mailbox_cell_pkey PRIMARY KEY (key_version, mailboxid)
)
PARTITION BY LIST (key_version);
CREATE TABLE mailbox_message (
    mailboxid uuid NOT NULL,
    uid text NOT NULL,
    attempts integer DEFAULT 0 NOT NULL,
    next_attempt timestamp with time zone,
    reason text,
    message_id text,
    noted_on timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mailbox_message_uid_check CHECK (((length(uid) >= 1) AND (length(uid) <= 100))),
    CONSTRAINT mailbox_message_pkey PRIMARY KEY (mailboxid, uid)
);
CREATE TABLE mailbox_watch (
    mailboxid uuid NOT NULL,
    router text NOT NULL,
    revision text NOT NULL,
    emailserverprofile uuid,
    since timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT mailbox_watch_pkey PRIMARY KEY (mailboxid)
);
CREATE TABLE organization (
    organizationid uuid NOT NULL,
    name text NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    emailcorrelationenabled boolean DEFAULT true,
    enablesmartmatching boolean DEFAULT false,
    maxuploadfilesize integer DEFAULT 5242880,
    modifiedon timestamp with time zone,
    fiscalcalendarstart timestamp with time zone DEFAULT '2000-01-01 00:00:00+00'::timestamp with time zone NOT NULL,
    fiscalperiodtype integer DEFAULT 2002 NOT NULL,
    languagecode integer DEFAULT 1033 NOT NULL,
    localeid integer DEFAULT 1033 NOT NULL,
    CONSTRAINT organization_fiscalperiodtype_check CHECK (((fiscalperiodtype >= 2000) AND (fiscalperiodtype <= 2004))),
    CONSTRAINT organization_maxuploadfilesize_check CHECK (((maxuploadfilesize >= 1) AND (maxuploadfilesize <= 8388608))),
    CONSTRAINT organization_pkey PRIMARY KEY (organizationid)
);
CREATE TABLE principal_access (
    record_id uuid NOT NULL,
    principal_id uuid NOT NULL,
    entity text NOT NULL,
    principal_entity text NOT NULL,
    rights integer NOT NULL,
    CONSTRAINT principal_access_entity_check CHECK ((entity = ANY (ARRAY['emailserverprofile'::text, 'mailbox'::text, 'queue'::text, 'email'::text]))),
    CONSTRAINT principal_access_principal_entity_check CHECK ((principal_entity = ANY (ARRAY['systemuser'::text, 'team'::text]))),
    CONSTRAINT principal_access_rights_check CHECK ((rights <> 0)),
    CONSTRAINT principal_access_pkey PRIMARY KEY (entity, record_id, principal_id)
);
CREATE TABLE quarantined_cell (
    quarantined_cell_id bigint GENERATED ALWAYS AS IDENTITY,
    quarantined_on timestamp with time zone DEFAULT now() NOT NULL,
    rotation_id uuid NOT NULL,
    entity text NOT NULL,
    record_id uuid NOT NULL,
    attribute text NOT NULL,
    key_version integer NOT NULL,
    content bytea NOT NULL,
    CONSTRAINT quarantined_cell_pkey PRIMARY KEY (quarantined_cell_id)
);
ALTER TABLE ONLY quarantined_cell ALTER COLUMN content SET STATISTICS 0;
ALTER TABLE ONLY quarantined_cell ALTER COLUMN content SET STORAGE EXTERNAL;
CREATE TABLE queue (
    queueid uuid NOT NULL,
    businessunitid uuid,
    description text,
    emailaddress text,
    emailrouteraccessapproval integer,
    entityimage bytea,
    ignoreunsolicitedemail boolean,
    importsequencenumber integer,
    incomingemaildeliverymethod integer,
    incomingemailfilteringmethod integer,
    name text,
    outgoingemaildeliverymethod integer,
    overriddencreatedon timestamp with time zone,
    ownerid uuid,
    owneridtype text,
    primaryuserid uuid,
    queueviewtype integer,
    statecode integer,
    statuscode integer,
    transactioncurrencyid uuid,
    allowemailcredentials boolean,
    businessunitidname text,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamp with time zone,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    defaultmailbox uuid,
    defaultmailboxname text,
    emailusername text,
    entityimage_timestamp bigint,
    entityimage_url text,
    entityimageid uuid,
    exchangerate numeric(23,10),
    isemailaddressapprovedbyo365admin boolean,
    isfaxqueue boolean,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamp with time zone,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    organizationid uuid,
    organizationidname text,
    owneridname text,
    owneridyominame text,
    owningbusinessunit uuid,
    owningteam uuid,
    owninguser uuid,
    primaryuseridname text,
    primaryuseridyominame text,
    queuetypecode integer,
    transactioncurrencyidname text,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    isemailpasswordset boolean DEFAULT false NOT NULL,
    numberofitems integer DEFAULT 0,
    numberofmembers integer DEFAULT 0,
    CONSTRAINT queue_pkey PRIMARY KEY (queueid)
);
CREATE TABLE queue_cell (
    key_version integer NOT NULL,
    queueid uuid NOT NULL,
    emailpassword bytea,
    CONSTRAINT emailpassword_is_cell CHECK (cell.is_cell(emailpassword)),
    CONSTRAINT queue_cell_pkey PRIMARY KEY (key_version, queueid)
)
PARTITION BY LIST (key_version);
CREATE TABLE role (
    roleid uuid NOT NULL,
    name text NOT NULL,
    businessunitid uuid NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    ismanaged boolean DEFAULT true NOT NULL,
    parentrootroleid uuid GENERATED ALWAYS AS (roleid) STORED,
    roletemplateid uuid GENERATED ALWAYS AS (
CASE
    WHEN (name = 'System Administrator'::text) THEN '627090ff-40a3-4053-8790-584edc5be201'::uuid
    ELSE NULL::uuid
END) STORED,
    CONSTRAINT role_name_key UNIQUE (name),
    CONSTRAINT role_pkey PRIMARY KEY (roleid)
);
CREATE VIEW sdkmessagefilter AS
 SELECT (md5(concat('sdkmessagefilter ', known.entity, ' ', name.name)))::uuid AS sdkmessagefilterid,
    concat(name.name, ' ', known.entity) AS name,
    (md5(concat('sdkmessage ', name.name)))::uuid AS sdkmessageid,
    name.name AS sdkmessageidname,
    known.entity AS primaryobjecttypecode,
    NULL::text AS secondaryobjecttypecode,
    false AS iscustomprocessingstepallowed,
    true AS isvisible,
    (1)::bigint AS versionnumber
   FROM ( VALUES ('emailserverprofile'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'::text), ('mailbox'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'::text), ('queue'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess'::text), ('usersettings'::text,'Retrieve RetrieveMultiple Update UpdateMultiple'::text), ('systemuser'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Upsert UpsertMultiple RetrieveUserPrivileges RetrieveUserPrivilegeByPrivilegeId RetrieveUserPrivilegeByPrivilegeName RetrieveUserSetOfPrivilegesByNames Associate Disassociate'::text), ('team'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple AddMembersTeam RemoveMembersTeam Associate Disassociate'::text), ('businessunit'::text,'Retrieve RetrieveMultiple'::text), ('organization'::text,'Retrieve RetrieveMultiple Update UpdateMultiple'::text), ('transactioncurrency'::text,'Retrieve RetrieveMultiple'::text), ('role'::text,'Retrieve RetrieveMultiple Associate Disassociate'::text), ('audit'::text,'Retrieve RetrieveMultiple'::text), ('email'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple Assign GrantAccess ModifyAccess RevokeAccess RetrieveSharedPrincipalsAndAccess SendEmail CheckIncomingEmail DeliverIncomingEmail'::text), ('activityparty'::text,'Retrieve RetrieveMultiple'::text), ('activitymimeattachment'::text,'Create CreateMultiple Retrieve RetrieveMultiple Update UpdateMultiple Delete Upsert UpsertMultiple'::text), ('tracelog'::text,'Create CreateMultiple Retrieve RetrieveMultiple Delete'::text), ('sdkmessage'::text,'Retrieve RetrieveMultiple'::text), ('sdkmessagefilter'::text,'Retrieve RetrieveMultiple'::text), ('systemuserroles'::text,'Retrieve RetrieveMultiple'::text), ('teamroles'::text,'Retrieve RetrieveMultiple'::text), ('teammembership'::text,'Retrieve RetrieveMultiple'::text)) known(entity, names),
    LATERAL string_to_table(known.names, ' '::text) name(name);
CREATE VIEW sdkmessage AS
 SELECT DISTINCT f.sdkmessageid,
    f.sdkmessageidname AS name,
    true AS isactive,
    false AS isprivate,
    (1)::bigint AS versionnumber
   FROM ( SELECT sdkmessagefilter.sdkmessageid,
            sdkmessagefilter.sdkmessageidname
           FROM sdkmessagefilter
        UNION ALL
         SELECT (md5(concat('sdkmessage ', name.name)))::uuid AS md5,
            name.name
           FROM string_to_table((('WhoAmI IsDataEncryptionActive RetrieveDataEncryptionKey SetDataEncryptionKey RetrieveVersion RetrieveCurrentOrganization '::text || 'RetrieveTotalRecordCount RetrieveAvailableLanguages RetrieveProvisionedLanguages RetrieveDeprovisionedLanguages '::text) || 'RetrieveInstalledLanguagePacks RetrieveMetadataChanges BulkDelete'::text), ' '::text) name(name)) f;
CREATE TABLE systemuser (
    systemuserid uuid NOT NULL,
    fullname text NOT NULL,
    domainname text NOT NULL,
    internalemailaddress text,
    businessunitid uuid NOT NULL,
    isdisabled boolean DEFAULT false NOT NULL,
    createdon timestamp with time zone DEFAULT now() NOT NULL,
    modifiedon timestamp with time zone DEFAULT now() NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    azureactivedirectoryobjectid uuid,
    firstname text GENERATED ALWAYS AS (
CASE
    WHEN (fullname ~ '\S\s+\S'::text) THEN regexp_replace(fullname, '\s+\S+\s*$'::text, ''::text)
    ELSE NULL::text
END) STORED,
    lastname text GENERATED ALWAYS AS ("substring"(fullname, '(\S+)\s*$'::text)) STORED,
    accessmode integer GENERATED ALWAYS AS (
CASE
    WHEN starts_with(domainname, 'client\'::text) THEN 4
    ELSE 0
END) STORED,
    isintegrationuser boolean GENERATED ALWAYS AS (starts_with(domainname, 'client\'::text)) STORED,
    applicationid uuid,
    title text,
    jobtitle text,
    mobilephone text,
    address1_telephone1 text,
    CONSTRAINT systemuser_pkey PRIMARY KEY (systemuserid)
);
CREATE TABLE systemuserroles (
    systemuserroleid uuid GENERATED ALWAYS AS ((md5((((systemuserid)::text || ' '::text) || (roleid)::text)))::uuid) STORED NOT NULL,
    systemuserid uuid NOT NULL,
    roleid uuid NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    CONSTRAINT systemuserroles_pkey PRIMARY KEY (systemuserid, roleid)
);
CREATE TABLE team (
    teamid uuid NOT NULL,
    name text NOT NULL,
    businessunitid uuid NOT NULL,
    createdon timestamp with time zone DEFAULT now() NOT NULL,
    modifiedon timestamp with time zone DEFAULT now() NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    teamtype integer DEFAULT 0 NOT NULL,
    isdefault boolean DEFAULT false NOT NULL,
    description text,
    emailaddress text,
    administratorid uuid,
    CONSTRAINT team_pkey PRIMARY KEY (teamid)
);
CREATE TABLE teammembership (
    teamid uuid NOT NULL,
    systemuserid uuid NOT NULL,
    teammembershipid uuid GENERATED ALWAYS AS ((md5((((teamid)::text || ' '::text) || (systemuserid)::text)))::uuid) STORED NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    CONSTRAINT teammembership_pkey PRIMARY KEY (teamid, systemuserid)
);
CREATE TABLE teamroles (
    teamroleid uuid GENERATED ALWAYS AS ((md5((((teamid)::text || ' '::text) || (roleid)::text)))::uuid) STORED NOT NULL,
    teamid uuid NOT NULL,
    roleid uuid NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    CONSTRAINT teamroles_pkey PRIMARY KEY (teamid, roleid)
);
CREATE TABLE tracelog (
    canbedeleted boolean,
    collationlevel integer,
    errordetails text,
    errortypedisplay text,
    isunique boolean,
    level integer,
    machinename text,
    parenttracelogid uuid,
    regardingobjectid uuid,
    regardingobjecttypecode text,
    text text,
    timezoneruleversionnumber integer,
    traceactionxml text,
    tracecode integer,
    tracedetailxml text,
    tracelogid uuid NOT NULL,
    traceparameterxml text,
    tracestatus boolean,
    utcconversiontimezonecode integer,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamp with time zone,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamp with time zone,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    organizationid uuid,
    organizationidname text,
    regardingobjectidname text,
    regardingobjectownerid uuid,
    regardingobjectowneridtype text,
    traceparameterhash integer,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    CONSTRAINT tracelog_pkey PRIMARY KEY (tracelogid)
);
CREATE SEQUENCE tracking_number;
CREATE TABLE transactioncurrency (
    transactioncurrencyid uuid NOT NULL,
    currencyname text NOT NULL,
    isocurrencycode text NOT NULL,
    currencysymbol text NOT NULL,
    exchangerate numeric(23,10) DEFAULT 1 NOT NULL,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    currencyprecision integer DEFAULT 2 NOT NULL,
    statecode integer DEFAULT 0 NOT NULL,
    statuscode integer DEFAULT 1 NOT NULL,
    CONSTRAINT transactioncurrency_pkey PRIMARY KEY (transactioncurrencyid)
);
CREATE TABLE unchained_event (
    unchained_event_id bigint GENERATED ALWAYS AS IDENTITY,
    occurred_on timestamp with time zone NOT NULL,
    kind text NOT NULL,
    outcome text NOT NULL,
    actor text NOT NULL,
    address text,
    request_id text,
    details text,
    tag bytea NOT NULL,
    CONSTRAINT unchained_event_occurred_on_check CHECK (((occurred_on >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (occurred_on <= '9999-12-31 00:00:00+00'::timestamp with time zone))),
    CONSTRAINT unchained_event_outcome_check CHECK ((outcome = ANY (ARRAY['succeeded'::text, 'refused'::text, 'failed'::text]))),
    CONSTRAINT unchained_event_tag_check CHECK ((octet_length(tag) = 32)),
    CONSTRAINT unchained_event_pkey PRIMARY KEY (unchained_event_id)
);
CREATE TABLE usersettings (
    systemuserid uuid NOT NULL,
    addressbooksyncinterval integer,
    advancedfindstartupmode integer,
    amdesignator text,
    autocreatecontactonpromote integer,
    businessunitid uuid,
    calendartype integer,
    currencydecimalprecision integer,
    currencyformatcode integer,
    currencysymbol text,
    datavalidationmodeforexporttoexcel integer,
    dateformatcode integer,
    dateformatstring text,
    dateseparator text,
    decimalsymbol text,
    defaultcalendarview integer,
    defaultcountrycode text,
    defaultdashboardid uuid,
    defaultsearchexperience integer,
    entityformmode integer,
    fullnameconventioncode integer,
    getstartedpanecontentenabled boolean,
    helplanguageid integer,
    homepagearea text,
    homepagelayout text,
    homepagesubarea text,
    ignoreunsolicitedemail boolean,
    incomingemailfilteringmethod integer,
    isappsforcrmalertdismissed boolean,
    isautodatacaptureenabled boolean,
    isdefaultcountrycodecheckenabled boolean,
    isduplicatedetectionenabledwhengoingonline boolean,
    isguidedhelpenabled boolean,
    isresourcebookingexchangesyncenabled boolean,
    issendasallowed boolean,
    lastalertsviewedtime timestamp with time zone,
    localeid integer,
    longdateformatcode integer,
    negativecurrencyformatcode integer,
    negativeformatcode integer,
    nexttrackingnumber integer,
    numbergroupformat text,
    numberseparator text,
    offlinesyncinterval integer,
    outlooksyncinterval integer,
    paginglimit integer,
    personalizationsettings text,
    pmdesignator text,
    pricingdecimalprecision integer,
    reportscripterrors integer,
    resourcebookingexchangesyncversion bigint,
    showweeknumber boolean,
    splitviewstate boolean,
    synccontactcompany boolean,
    timeformatcode integer,
    timeformatstring text,
    timeseparator text,
    timezonebias integer,
    timezonecode integer,
    timezonedaylightbias integer,
    timezonedaylightday integer,
    timezonedaylightdayofweek integer,
    timezonedaylighthour integer,
    timezonedaylightminute integer,
    timezonedaylightmonth integer,
    timezonedaylightsecond integer,
    timezonedaylightyear integer,
    timezonestandardbias integer,
    timezonestandardday integer,
    timezonestandarddayofweek integer,
    timezonestandardhour integer,
    timezonestandardminute integer,
    timezonestandardmonth integer,
    timezonestandardsecond integer,
    timezonestandardyear integer,
    trackingtokenid integer,
    transactioncurrencyid uuid,
    uilanguageid integer,
    usecrmformforappointment boolean,
    usecrmformforcontact boolean,
    usecrmformforemail boolean,
    usecrmformfortask boolean,
    useimagestrips boolean,
    userprofile text,
    visualizationpanelayout integer,
    workdaystarttime text,
    workdaystoptime text,
    allowemailcredentials boolean,
    businessunitidname text,
    createdby uuid,
    createdbyname text,
    createdbyyominame text,
    createdon timestamp with time zone,
    createdonbehalfby uuid,
    createdonbehalfbyname text,
    createdonbehalfbyyominame text,
    emailusername text,
    modifiedby uuid,
    modifiedbyname text,
    modifiedbyyominame text,
    modifiedon timestamp with time zone,
    modifiedonbehalfby uuid,
    modifiedonbehalfbyname text,
    modifiedonbehalfbyyominame text,
    transactioncurrencyidname text,
    versionnumber bigint DEFAULT nextval('version_number'::regclass) NOT NULL,
    isemailpasswordset boolean DEFAULT false NOT NULL,
    CONSTRAINT usersettings_pkey PRIMARY KEY (systemuserid)
);
CREATE TABLE usersettings_cell (
    key_version integer NOT NULL,
    systemuserid uuid NOT NULL,
    emailpassword bytea,
    CONSTRAINT emailpassword_is_cell CHECK (cell.is_cell(emailpassword)),
    CONSTRAINT usersettings_cell_pkey PRIMARY KEY (key_version, systemuserid)
)
PARTITION BY LIST (key_version);
INSERT INTO audit_setting VALUES
    ('emailserverprofile', '', true), ('mailbox', '', true), ('queue', '', true), ('usersettings', '', true),
    ('systemuser', '', true), ('team', '', true), ('mailbox', 'hostid', false), ('mailbox', 'processingstatecode', false),
    ('mailbox', 'processinglastattemptedon', false), ('mailbox', 'postponemailboxprocessinguntil', false),
    ('mailbox', 'router_state', false), ('mailbox', 'itemsprocessedforlastsync', false),
    ('mailbox', 'itemsfailedforlastsync', false), ('mailbox', 'lastsyncstartedon', false),
    ('mailbox', 'lastsuccessfulsynccompletedon', false), ('mailbox', 'lastactiveon', false),
    ('mailbox', 'noemailcount', false), ('mailbox', 'processedtimes', false), ('mailbox', 'lastduration', false),
    ('mailbox', 'averagetotalduration', false), ('mailbox', 'transientfailurecount', false);
CREATE INDEX activitymimeattachment_objectid_idx ON activitymimeattachment USING btree (objectid);
CREATE INDEX activityparty_activityid_idx ON activityparty USING btree (activityid);
CREATE INDEX activityparty_lower_idx ON activityparty USING btree (lower(addressused));
CREATE INDEX audit_block_createdon_idx ON audit USING btree (block, createdon);
CREATE INDEX audit_createdon_idx ON audit USING btree (createdon NULLS FIRST);
CREATE INDEX audit_objectid_createdon_idx ON audit USING btree (objectid, createdon);
CREATE INDEX email_createdon ON email USING btree (createdon NULLS FIRST);
CREATE INDEX email_failed ON email USING btree (sendermailboxid) WHERE (statuscode = 8);
CREATE INDEX email_lower_idx ON email USING btree (lower(messageid)) WHERE (messageid IS NOT NULL);
CREATE INDEX email_ownerid_idx ON email USING btree (ownerid);
CREATE INDEX email_parentactivityid ON email USING btree (parentactivityid) WHERE (parentactivityid IS NOT NULL);
CREATE INDEX email_receivingmailboxid_createdon_idx ON email USING btree (receivingmailboxid, createdon);
CREATE INDEX email_sendermailboxid_deliveryprioritycode_createdon_idx ON email USING btree (sendermailboxid, deliveryprioritycode DESC, createdon) WHERE (statuscode = ANY (ARRAY[6, 7]));
CREATE INDEX email_subject_key_createdon_idx ON email USING btree (subject_key$new(subject), createdon);
CREATE INDEX email_trackingtoken_idx ON email USING btree (trackingtoken) WHERE (trackingtoken IS NOT NULL);
CREATE INDEX emailserverprofile_name ON emailserverprofile USING btree (lower(name) NULLS FIRST);
CREATE UNIQUE INDEX encryption_one_row ON encryption USING btree ((true));
CREATE INDEX mailbox_emailaddress ON mailbox USING btree (lower(emailaddress) NULLS FIRST);
CREATE INDEX mailbox_emailserverprofile ON mailbox USING btree (emailserverprofile);
CREATE INDEX mailbox_leased ON mailbox USING btree (emailserverprofile) WHERE (processingstatecode = 1);
CREATE INDEX mailbox_message_mailboxid_next_attempt_idx ON mailbox_message USING btree (mailboxid, next_attempt) WHERE (next_attempt IS NOT NULL);
CREATE INDEX mailbox_name ON mailbox USING btree (lower(name) NULLS FIRST);
CREATE INDEX mailbox_regardingobjectid ON mailbox USING btree (regardingobjectid);
CREATE INDEX mailbox_watch_emailserverprofile_idx ON mailbox_watch USING btree (emailserverprofile);
CREATE INDEX mailbox_watch_router_idx ON mailbox_watch USING btree (router);
CREATE INDEX principal_access_principal_id_idx ON principal_access USING btree (principal_id);
CREATE INDEX queue_lower_idx1 ON queue USING btree (lower(emailaddress));
CREATE INDEX queue_name ON queue USING btree (lower(name) NULLS FIRST);
CREATE INDEX security_event_kind_security_event_id_idx ON security_event USING btree (kind, security_event_id);
CREATE INDEX security_event_occurred_on_idx ON security_event USING btree (occurred_on);
CREATE INDEX systemuser_applicationid_idx ON systemuser USING btree (applicationid) WHERE (applicationid IS NOT NULL);
CREATE INDEX systemuser_lower_idx ON systemuser USING btree (lower(domainname));
CREATE INDEX systemuser_lower_idx1 ON systemuser USING btree (lower(internalemailaddress));
CREATE INDEX systemuserroles_roleid_idx ON systemuserroles USING btree (roleid);
CREATE INDEX teammembership_systemuserid_idx ON teammembership USING btree (systemuserid);
CREATE INDEX teamroles_roleid_idx ON teamroles USING btree (roleid);
CREATE INDEX tracelog_regardingobjectid_createdon_idx ON tracelog USING btree (regardingobjectid, createdon);
ALTER TABLE ONLY activitymimeattachment ADD CONSTRAINT activitymimeattachment_objectid_fkey FOREIGN KEY (objectid) REFERENCES email(activityid) ON DELETE CASCADE;
ALTER TABLE ONLY activityparty ADD CONSTRAINT activityparty_activityid_fkey FOREIGN KEY (activityid) REFERENCES email(activityid) ON DELETE CASCADE;
ALTER TABLE ONLY role ADD CONSTRAINT role_businessunitid_fkey FOREIGN KEY (businessunitid) REFERENCES businessunit(businessunitid);
ALTER TABLE ONLY systemuser ADD CONSTRAINT systemuser_businessunitid_fkey FOREIGN KEY (businessunitid) REFERENCES businessunit(businessunitid);
ALTER TABLE ONLY systemuserroles ADD CONSTRAINT systemuserroles_roleid_fkey FOREIGN KEY (roleid) REFERENCES role(roleid) ON DELETE CASCADE;
ALTER TABLE ONLY systemuserroles ADD CONSTRAINT systemuserroles_systemuserid_fkey FOREIGN KEY (systemuserid) REFERENCES systemuser(systemuserid) ON DELETE CASCADE;
ALTER TABLE ONLY team ADD CONSTRAINT team_businessunitid_fkey FOREIGN KEY (businessunitid) REFERENCES businessunit(businessunitid);
ALTER TABLE ONLY teammembership ADD CONSTRAINT teammembership_systemuserid_fkey FOREIGN KEY (systemuserid) REFERENCES systemuser(systemuserid) ON DELETE CASCADE;
ALTER TABLE ONLY teammembership ADD CONSTRAINT teammembership_teamid_fkey FOREIGN KEY (teamid) REFERENCES team(teamid) ON DELETE CASCADE;
ALTER TABLE ONLY teamroles ADD CONSTRAINT teamroles_roleid_fkey FOREIGN KEY (roleid) REFERENCES role(roleid) ON DELETE CASCADE;
ALTER TABLE ONLY teamroles ADD CONSTRAINT teamroles_teamid_fkey FOREIGN KEY (teamid) REFERENCES team(teamid) ON DELETE CASCADE;
ALTER TABLE security_event ADD CONSTRAINT security_event_occurred_on_check CHECK (((occurred_on >= '2000-01-01 00:00:00+00'::timestamp with time zone) AND (occurred_on <= '9999-12-31 00:00:00+00'::timestamp with time zone))) NOT VALID;
CREATE TRIGGER audits AFTER INSERT OR DELETE OR UPDATE ON emailserverprofile FOR EACH ROW EXECUTE FUNCTION audit_change$new('emailserverprofileid', 'isincomingpasswordset', 'incomingpassword', 'isoutgoingpasswordset', 'outgoingpassword');
CREATE TRIGGER audits AFTER INSERT OR DELETE OR UPDATE ON mailbox FOR EACH ROW EXECUTE FUNCTION audit_change$new('mailboxid', 'ispasswordset', 'password');
CREATE TRIGGER audits AFTER INSERT OR DELETE OR UPDATE ON queue FOR EACH ROW EXECUTE FUNCTION audit_change$new('queueid', 'isemailpasswordset', 'emailpassword');
CREATE TRIGGER audits AFTER INSERT OR DELETE OR UPDATE ON systemuser FOR EACH ROW EXECUTE FUNCTION audit_change$new('systemuserid');
CREATE TRIGGER audits AFTER INSERT OR DELETE OR UPDATE ON team FOR EACH ROW EXECUTE FUNCTION audit_change$new('teamid');
CREATE TRIGGER audits AFTER INSERT OR DELETE OR UPDATE ON usersettings FOR EACH ROW EXECUTE FUNCTION audit_change$new('systemuserid', 'isemailpasswordset', 'emailpassword');
CREATE TRIGGER audits_password AFTER DELETE OR UPDATE ON emailserverprofile_cell FOR EACH ROW EXECUTE FUNCTION audit_password$new('emailserverprofile', 'emailserverprofileid', 'incomingpassword', 'isincomingpasswordset', 'outgoingpassword', 'isoutgoingpasswordset');
CREATE TRIGGER audits_password AFTER DELETE OR UPDATE ON mailbox_cell FOR EACH ROW EXECUTE FUNCTION audit_password$new('mailbox', 'mailboxid', 'password', 'ispasswordset');
CREATE TRIGGER audits_password AFTER DELETE OR UPDATE ON queue_cell FOR EACH ROW EXECUTE FUNCTION audit_password$new('queue', 'queueid', 'emailpassword', 'isemailpasswordset');
CREATE TRIGGER audits_password AFTER DELETE OR UPDATE ON usersettings_cell FOR EACH ROW EXECUTE FUNCTION audit_password$new('usersettings', 'systemuserid', 'emailpassword', 'isemailpasswordset');
CREATE TRIGGER cell_keeps_id BEFORE UPDATE OF key_version, emailserverprofileid ON emailserverprofile_cell FOR EACH ROW WHEN (((old.key_version <> new.key_version) OR (old.emailserverprofileid <> new.emailserverprofileid))) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER cell_keeps_id BEFORE UPDATE OF key_version, mailboxid ON mailbox_cell FOR EACH ROW WHEN (((old.key_version <> new.key_version) OR (old.mailboxid <> new.mailboxid))) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER cell_keeps_id BEFORE UPDATE OF key_version, queueid ON queue_cell FOR EACH ROW WHEN (((old.key_version <> new.key_version) OR (old.queueid <> new.queueid))) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER cell_keeps_id BEFORE UPDATE OF key_version, systemuserid ON usersettings_cell FOR EACH ROW WHEN (((old.key_version <> new.key_version) OR (old.systemuserid <> new.systemuserid))) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER cell_needs_record BEFORE INSERT ON emailserverprofile_cell FOR EACH ROW EXECUTE FUNCTION emailserverprofile_cell_needs_record$new();
CREATE TRIGGER cell_needs_record BEFORE INSERT ON mailbox_cell FOR EACH ROW EXECUTE FUNCTION mailbox_cell_needs_record$new();
CREATE TRIGGER cell_needs_record BEFORE INSERT ON queue_cell FOR EACH ROW EXECUTE FUNCTION queue_cell_needs_record$new();
CREATE TRIGGER cell_needs_record BEFORE INSERT ON usersettings_cell FOR EACH ROW EXECUTE FUNCTION usersettings_cell_needs_record$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON emailserverprofile_cell FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON mailbox_cell FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON queue_cell FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON usersettings_cell FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER chain BEFORE INSERT ON security_event FOR EACH ROW WHEN ((new.hash IS NULL)) EXECUTE FUNCTION chain_security_event$new();
CREATE TRIGGER forgets_access AFTER DELETE ON email FOR EACH ROW EXECUTE FUNCTION forget_access$new('activityid');
CREATE TRIGGER forgets_access AFTER DELETE ON emailserverprofile FOR EACH ROW EXECUTE FUNCTION forget_access$new('emailserverprofileid');
CREATE TRIGGER forgets_access AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_access$new('mailboxid');
CREATE TRIGGER forgets_access AFTER DELETE ON queue FOR EACH ROW EXECUTE FUNCTION forget_access$new('queueid');
CREATE TRIGGER forgets_destination AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_destination$new();
CREATE TRIGGER forgets_destination AFTER DELETE ON queue FOR EACH ROW EXECUTE FUNCTION forget_destination$new();
CREATE TRIGGER forgets_destination AFTER DELETE ON usersettings FOR EACH ROW EXECUTE FUNCTION forget_destination$new();
CREATE TRIGGER forgets_messages AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_mailbox_messages$new();
CREATE TRIGGER forgets_watch AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION forget_mailbox_watch$new();
CREATE TRIGGER is_counted AFTER INSERT OR DELETE ON activitymimeattachment FOR EACH ROW EXECUTE FUNCTION attachment_is_counted$new();
CREATE TRIGGER keep BEFORE UPDATE ON audit FOR EACH ROW WHEN (((NOT (((old.block IS NULL) AND (new.block IS NOT NULL)) OR ((new.block IS NULL) AND (NOT (current_setting('fieldseal.evidence'::text, true) IS DISTINCT FROM 'move blocks'::text))))) OR ((((((((((((((old.auditid IS DISTINCT FROM new.auditid) OR (old.createdon IS DISTINCT FROM new.createdon)) OR (old.action IS DISTINCT FROM new.action)) OR (old.operation IS DISTINCT FROM new.operation)) OR (old.objectid IS DISTINCT FROM new.objectid)) OR (old.objecttypecode IS DISTINCT FROM new.objecttypecode)) OR (old.userid IS DISTINCT FROM new.userid)) OR (old.useridname IS DISTINCT FROM new.useridname)) OR (old.attributemask IS DISTINCT FROM new.attributemask)) OR (old.changedata IS DISTINCT FROM new.changedata)) OR (old.transactionid IS DISTINCT FROM new.transactionid)) OR (old.databaserole IS DISTINCT FROM new.databaserole)) OR (old.versionnumber IS DISTINCT FROM new.versionnumber)) OR (old.callinguserid IS DISTINCT FROM new.callinguserid)))) EXECUTE FUNCTION refuse_audit_change$new();
CREATE TRIGGER keep BEFORE UPDATE ON audit_block FOR EACH ROW EXECUTE FUNCTION refuse_audit_change$new();
CREATE TRIGGER keep BEFORE DELETE OR UPDATE ON encryption FOR EACH ROW EXECUTE FUNCTION keep_encryption$new();
CREATE TRIGGER keep BEFORE DELETE OR UPDATE ON security_event FOR EACH ROW EXECUTE FUNCTION refuse_event_change$new();
CREATE TRIGGER keep BEFORE UPDATE ON unchained_event FOR EACH ROW EXECUTE FUNCTION refuse_event_change$new();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change$new();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON audit_block FOR EACH STATEMENT EXECUTE FUNCTION refuse_audit_change$new();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON encryption FOR EACH STATEMENT EXECUTE FUNCTION keep_encryption$new();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON security_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change$new();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON unchained_event FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change$new();
CREATE TRIGGER keep_deleted BEFORE DELETE ON audit FOR EACH ROW WHEN ((current_setting('fieldseal.evidence'::text, true) IS DISTINCT FROM
        CASE
            WHEN (old.block IS NULL) THEN 'move'::text
            ELSE 'move blocks'::text
        END)) EXECUTE FUNCTION refuse_audit_change$new();
CREATE TRIGGER keep_deleted BEFORE DELETE ON audit_block FOR EACH ROW WHEN ((current_setting('fieldseal.evidence'::text, true) IS DISTINCT FROM 'move blocks'::text)) EXECUTE FUNCTION refuse_audit_change$new();
CREATE TRIGGER keep_deleted BEFORE DELETE ON unchained_event FOR EACH ROW WHEN ((current_setting('fieldseal.evidence'::text, true) IS DISTINCT FROM 'move'::text)) EXECUTE FUNCTION refuse_event_change$new();
CREATE TRIGGER keeps_id BEFORE UPDATE OF emailserverprofileid ON emailserverprofile FOR EACH ROW WHEN ((old.emailserverprofileid <> new.emailserverprofileid)) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER keeps_id BEFORE UPDATE OF mailboxid ON mailbox FOR EACH ROW WHEN ((old.mailboxid <> new.mailboxid)) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER keeps_id BEFORE UPDATE OF queueid ON queue FOR EACH ROW WHEN ((old.queueid <> new.queueid)) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER keeps_id BEFORE UPDATE OF systemuserid ON usersettings FOR EACH ROW WHEN ((old.systemuserid <> new.systemuserid)) EXECUTE FUNCTION refuse_new_id$new();
CREATE TRIGGER keeps_state BEFORE INSERT OR UPDATE OF statuscode, statecode ON email FOR EACH ROW EXECUTE FUNCTION email_keeps_state$new();
CREATE TRIGGER notes AFTER INSERT ON audit FOR EACH STATEMENT WHEN ((current_setting('fieldseal.audit_noted'::text, true) IS DISTINCT FROM (pg_current_xact_id())::text)) EXECUTE FUNCTION note_audit$new();
CREATE TRIGGER refuses_encrypted BEFORE INSERT OR UPDATE ON audit_setting FOR EACH ROW EXECUTE FUNCTION refuse_encrypted_setting$new();
CREATE TRIGGER refuses_truncate BEFORE TRUNCATE ON emailserverprofile FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER refuses_truncate BEFORE TRUNCATE ON mailbox FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER refuses_truncate BEFORE TRUNCATE ON queue FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER refuses_truncate BEFORE TRUNCATE ON usersettings FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER takes_cells_along AFTER DELETE ON emailserverprofile FOR EACH ROW EXECUTE FUNCTION emailserverprofile_takes_cells_along$new();
CREATE TRIGGER takes_cells_along AFTER DELETE ON mailbox FOR EACH ROW EXECUTE FUNCTION mailbox_takes_cells_along$new();
CREATE TRIGGER takes_cells_along AFTER DELETE ON queue FOR EACH ROW EXECUTE FUNCTION queue_takes_cells_along$new();
CREATE TRIGGER takes_cells_along AFTER DELETE ON usersettings FOR EACH ROW EXECUTE FUNCTION usersettings_takes_cells_along$new();
CREATE TRIGGER wakes_routers AFTER UPDATE OF statuscode, delayedemailsendtime, postponeemailprocessinguntil ON email FOR EACH ROW WHEN ((new.statuscode = 6)) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers AFTER UPDATE ON emailserverprofile FOR EACH ROW WHEN ((((new.versionnumber IS DISTINCT FROM old.versionnumber) OR (new.statecode IS DISTINCT FROM old.statecode)) OR (new.maxconcurrentconnections IS DISTINCT FROM old.maxconcurrentconnections))) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers AFTER UPDATE ON mailbox FOR EACH ROW WHEN (((COALESCE(new.emailserverprofile, old.emailserverprofile) IS NOT NULL) AND ((((((((new.versionnumber IS DISTINCT FROM old.versionnumber) OR (new.enabledforincomingemail IS DISTINCT FROM old.enabledforincomingemail)) OR (new.enabledforoutgoingemail IS DISTINCT FROM old.enabledforoutgoingemail)) OR (new.testemailconfigurationscheduled IS DISTINCT FROM old.testemailconfigurationscheduled)) OR (new.emailrouteraccessapproval IS DISTINCT FROM old.emailrouteraccessapproval)) OR (new.statecode IS DISTINCT FROM old.statecode)) OR (new.emailserverprofile IS DISTINCT FROM old.emailserverprofile)) OR (COALESCE(new.postponemailboxprocessinguntil, '-infinity'::timestamp with time zone) < COALESCE(old.postponemailboxprocessinguntil, '-infinity'::timestamp with time zone))))) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers AFTER UPDATE ON queue FOR EACH ROW WHEN (((new.versionnumber IS DISTINCT FROM old.versionnumber) AND (new.defaultmailbox IS NOT NULL))) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers AFTER UPDATE ON usersettings FOR EACH ROW WHEN (((new.versionnumber IS DISTINCT FROM old.versionnumber) AND new.allowemailcredentials)) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers_when_created AFTER INSERT ON email FOR EACH ROW WHEN ((new.statuscode = 6)) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers_when_created AFTER INSERT ON mailbox FOR EACH ROW WHEN (((new.emailserverprofile IS NOT NULL) AND (new.testemailconfigurationscheduled OR new.enabledforincomingemail OR new.enabledforoutgoingemail))) EXECUTE FUNCTION notify_routers$new();
CREATE TRIGGER wakes_routers_when_deleted AFTER DELETE ON mailbox FOR EACH ROW WHEN ((old.emailserverprofile IS NOT NULL)) EXECUTE FUNCTION notify_routers$new();
REVOKE ALL ON FUNCTION announce_change$new(), attachment_is_counted$new(), audit_change$new(), audit_password$new(),
    chain_events$new(ids bigint[], refused boolean[], previous_hashes bytea[], hashes bytea[], first_id bigint),
    chain_security_event$new(), create_generation$new(version integer), drop_generation$new(version integer),
    email_keeps_state$new(), emailserverprofile_cell_needs_record$new(), emailserverprofile_notes_change$new(),
    emailserverprofile_takes_cells_along$new(), end_change$new(), finish_generation$new(version integer),
    fiscal_period_count$new(), fiscal_ranges$new(kind text, x integer, p integer, y integer),
    fiscal_start$new(place integer), forget_access$new(), forget_destination$new(), forget_mailbox_messages$new(),
    forget_mailbox_watch$new(), keep_encryption$new(), lock_generations$new(), mailbox_cell_needs_record$new(),
    mailbox_notes_change$new(), mailbox_takes_cells_along$new(), note_audit$new(), notify_routers$new(),
    place_generation$new(version integer), queue_cell_needs_record$new(), queue_notes_change$new(),
    queue_takes_cells_along$new(), refuse_audit_change$new(), refuse_encrypted_setting$new(), refuse_event_change$new(),
    refuse_new_id$new(), refuse_retired$new(), refuse_truncate$new(), security_event_hash$new(event security_event),
    subject_key$new(subject text),
    switch_generation$new(version integer, new_salt bytea, new_iterations integer, new_key_check bytea, new_fingerprint text, new_rotation_id uuid, of_organization uuid),
    usersettings_cell_needs_record$new(), usersettings_notes_change$new(), usersettings_takes_cells_along$new(),
    verify_security_events$new() FROM PUBLIC;
GRANT ALL ON FUNCTION announce_change$new(),
    chain_events$new(ids bigint[], refused boolean[], previous_hashes bytea[], hashes bytea[], first_id bigint),
    create_generation$new(version integer), drop_generation$new(version integer), end_change$new(),
    finish_generation$new(version integer), fiscal_period_count$new(),
    fiscal_ranges$new(kind text, x integer, p integer, y integer), fiscal_start$new(place integer), lock_generations$new(),
    security_event_hash$new(event security_event), subject_key$new(subject text),
    switch_generation$new(version integer, new_salt bytea, new_iterations integer, new_key_check bytea, new_fingerprint text, new_rotation_id uuid, of_organization uuid),
    verify_security_events$new() TO fieldseal_service;
GRANT SELECT ON TABLE security_event, audit, audit_setting, cell_table, encryption, event_archive, migration, sdkmessagefilter, sdkmessage,
    unchained_event TO fieldseal_service;
GRANT SELECT ON TABLE security_event, audit, audit_block, audit_setting, businessunit, cell_change, cell_table, emailserverprofile,
    emailserverprofile_cell, encryption, event_archive, mail_destination, mail_router, mailbox, mailbox_cell,
    mailbox_message, mailbox_watch, migration, organization, principal_access, quarantined_cell, queue, queue_cell, role,
    sdkmessagefilter, sdkmessage, systemuser, systemuserroles, team, teammembership, teamroles, tracelog,
    transactioncurrency, unchained_event, usersettings, usersettings_cell TO fieldseal_inspector;
GRANT ALL ON FUNCTION security_event_hash$new(event security_event), verify_security_events$new() TO fieldseal_inspector;
GRANT USAGE ON SEQUENCE version_number, quarantined_cell_quarantined_cell_id_seq, tracking_number TO fieldseal_service;
GRANT SELECT, INSERT, DELETE, UPDATE ON TABLE activitymimeattachment, activityparty, businessunit, email, emailserverprofile, emailserverprofile_cell,
    mail_destination, mail_router, mailbox, mailbox_cell, mailbox_message, mailbox_watch, organization, principal_access,
    queue, queue_cell, role, systemuser, team, teammembership, tracelog, transactioncurrency, usersettings,
    usersettings_cell TO fieldseal_service;
GRANT SELECT, INSERT ON TABLE audit_block, quarantined_cell TO fieldseal_service;
GRANT SELECT, DELETE ON TABLE cell_change TO fieldseal_service;
GRANT SELECT, INSERT, DELETE ON TABLE systemuserroles, teamroles TO fieldseal_service;
GRANT INSERT (occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details) ON security_event TO fieldseal_service;
GRANT UPDATE (block) ON audit TO fieldseal_service;
GRANT INSERT (occurred_on, kind, outcome, actor, address, request_id, details, tag) ON unchained_event TO fieldseal_service;
DO $$ BEGIN EXECUTE format('GRANT USAGE ON SCHEMA %I TO fieldseal_service, fieldseal_inspector', current_schema()); END $$;
COMMENT ON FUNCTION announce_change$new() IS 'From its commit on, every write of a cell is noted in cell_change.';
COMMENT ON FUNCTION attachment_is_counted$new() IS 'Trigger: keeps email.attachmentcount equal to the number of attachments.';
COMMENT ON FUNCTION audit_change$new() IS 'Trigger: writes each change of a record to the audit. Encrypted attributes are left out.';
COMMENT ON FUNCTION audit_password$new() IS 'Trigger: writes to the audit that a password was set, replaced or cleared, and by whom. It compares encrypted values and keeps none.';
COMMENT ON FUNCTION chain_events$new(ids bigint[], refused boolean[], previous_hashes bytea[], hashes bytea[], first_id bigint) IS 'Moves events to the end of the chain, under the hashes that the service computed; it drops none.';
COMMENT ON FUNCTION chain_security_event$new() IS 'Trigger: gives a security event the hash of the event before it, and its own.';
COMMENT ON FUNCTION create_generation$new(version integer) IS 'Makes the empty tables of a new key version, which nobody sees yet.';
COMMENT ON FUNCTION drop_generation$new(version integer) IS 'Drops a retired generation with its files. False while some transaction is older than the switch; try again later.';
COMMENT ON FUNCTION email_keeps_state$new() IS 'Trigger: derives the state of an e-mail from its status reason.';
COMMENT ON FUNCTION emailserverprofile_cell_needs_record$new() IS 'Trigger: refuses an encrypted password without its record in emailserverprofile (23503).';
COMMENT ON FUNCTION emailserverprofile_notes_change$new() IS 'Trigger: while a key change runs, notes each write to emailserverprofile_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION emailserverprofile_takes_cells_along$new() IS 'Trigger: deletes a record''s encrypted passwords when the record in emailserverprofile is deleted.';
COMMENT ON FUNCTION end_change$new() IS 'Takes back what announce_change did, after a change that failed or died.';
COMMENT ON FUNCTION finish_generation$new(version integer) IS 'Builds the primary keys of a generation that is loaded.';
COMMENT ON FUNCTION fiscal_period_count$new() IS 'How many periods a fiscal year has.';
COMMENT ON FUNCTION fiscal_ranges$new(kind text, x integer, p integer, y integer) IS 'The ranges of dates, each with its end excluded, that a query''s condition on fiscal years or periods means: x counts years or periods, p is a period''s number and y a year.';
COMMENT ON FUNCTION fiscal_start$new(place integer) IS 'When a fiscal period begins; periods are counted through from year 0 on.';
COMMENT ON FUNCTION forget_access$new() IS 'Trigger: deletes what was shared of a record when the record is deleted.';
COMMENT ON FUNCTION forget_destination$new() IS 'Trigger: deletes the tag over a record''s mail server settings when the record is deleted.';
COMMENT ON FUNCTION forget_mailbox_messages$new() IS 'Trigger: deletes what a router noted about the messages of a mailbox when the mailbox is deleted.';
COMMENT ON FUNCTION forget_mailbox_watch$new() IS 'Trigger: ends a router''s watch over a mailbox when the mailbox is deleted.';
COMMENT ON FUNCTION keep_encryption$new() IS 'Trigger: refuses each change of the table encryption outside of a key change (FS012), and each key version that is not newer (FS001).';
COMMENT ON FUNCTION lock_generations$new() IS 'Makes writers of cells wait until the transaction ends; readers go on.';
COMMENT ON FUNCTION mailbox_cell_needs_record$new() IS 'Trigger: refuses an encrypted password without its record in mailbox (23503).';
COMMENT ON FUNCTION mailbox_notes_change$new() IS 'Trigger: while a key change runs, notes each write to mailbox_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION mailbox_takes_cells_along$new() IS 'Trigger: deletes a record''s encrypted passwords when the record in mailbox is deleted.';
COMMENT ON FUNCTION note_audit$new() IS 'Trigger: notes in config that the audit has new entries, so that a server seals them.';
COMMENT ON FUNCTION notify_routers$new() IS 'Wakes the routers of this organization that wait for work.';
COMMENT ON FUNCTION place_generation$new(version integer) IS 'Puts an empty generation into the tablespaces of the current one, with its rights to read.';
COMMENT ON FUNCTION queue_cell_needs_record$new() IS 'Trigger: refuses an encrypted password without its record in queue (23503).';
COMMENT ON FUNCTION queue_notes_change$new() IS 'Trigger: while a key change runs, notes each write to queue_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION queue_takes_cells_along$new() IS 'Trigger: deletes a record''s encrypted passwords when the record in queue is deleted.';
COMMENT ON FUNCTION refuse_audit_change$new() IS 'Trigger: refuses to change, delete or truncate rows of the audit (FS013).';
COMMENT ON FUNCTION refuse_encrypted_setting$new() IS 'Trigger: refuses audit settings for encrypted attributes (FS008).';
COMMENT ON FUNCTION refuse_event_change$new() IS 'Trigger: refuses to change, delete or truncate security events (FS007).';
COMMENT ON FUNCTION refuse_new_id$new() IS 'Trigger: refuses a new id of a record, or of the row with its encrypted passwords (FS004).';
COMMENT ON FUNCTION refuse_retired$new() IS 'Trigger: refuses each write to encrypted passwords of a former key version (FS001).';
COMMENT ON FUNCTION refuse_truncate$new() IS 'Trigger: refuses TRUNCATE of records and of encrypted passwords (FS003).';
COMMENT ON TABLE security_event IS 'Who set, changed, activated or read a key, or was refused. Inserted and read, nothing else.';
COMMENT ON FUNCTION security_event_hash$new(event security_event) IS 'SHA-256 over the hash of the event before and the event''s own values, as a JSON array in the order of its columns.';
COMMENT ON FUNCTION subject_key$new(subject text) IS 'What two subjects have in common that differ by "Re:", "Fwd:", "AW:", tracking tokens and white space.';
COMMENT ON FUNCTION switch_generation$new(version integer, new_salt bytea, new_iterations integer, new_key_check bytea, new_fingerprint text, new_rotation_id uuid, of_organization uuid) IS 'Attaches a finished generation, retires the one before it, and makes the new key version the current one.';
COMMENT ON FUNCTION usersettings_cell_needs_record$new() IS 'Trigger: refuses an encrypted password without its record in usersettings (23503).';
COMMENT ON FUNCTION usersettings_notes_change$new() IS 'Trigger: while a key change runs, notes each write to usersettings_cell, so that the change encrypts it again.';
COMMENT ON FUNCTION usersettings_takes_cells_along$new() IS 'Trigger: deletes a record''s encrypted passwords when the record in usersettings is deleted.';
COMMENT ON FUNCTION verify_security_events$new() IS 'Where the chain of security events is broken; no row when it is whole.';
COMMENT ON TABLE activitymimeattachment IS 'Attachments of e-mails, in base64.';
COMMENT ON COLUMN activitymimeattachment.attachmentcontentinfo IS 'The Content-ID to which cid: addresses in the e-mail''s HTML refer.';
COMMENT ON TABLE activityparty IS 'Whom an e-mail is from (1) and to (2 To, 3 Cc, 4 Bcc).';
COMMENT ON TABLE audit IS 'Changes of records, written by triggers: action and operation 1 create, 2 update, 3 delete.';
COMMENT ON COLUMN audit.userid IS 'Who did it: whom the transaction names, or modifiedby of the record; NULL for a command, and for a change past the service.';
COMMENT ON COLUMN audit.useridname IS 'The name that the user had. For a command it is cli:NAME. NULL for a change past the service.';
COMMENT ON COLUMN audit.changedata IS '{"changedAttributes":[{"logicalName":…,"oldValue":…,"newValue":…}]}; for a password {"logicalName":…,"operation":"set", "replaced" or "cleared"} and no value.';
COMMENT ON COLUMN audit.databaserole IS 'The role that was connected; another than the service''s is a DBA at work.';
COMMENT ON COLUMN audit.callinguserid IS 'The user that sent the request, where it was in the name of userid; NULL for requests in the user''s own name.';
COMMENT ON COLUMN audit.block IS 'The block of audit_block that seals the entry; NULL for a new one. Set once.';
COMMENT ON TABLE audit_block IS 'The blocks in which servers seal entries of the audit about once a minute. Security events record their digests.';
COMMENT ON COLUMN audit_block.members IS 'For each entry the 16 bytes of its auditid and the SHA-256 of its columns, sorted.';
COMMENT ON COLUMN audit_block.snapshot IS 'The cluster, and the transactions that had ended: all of their entries were sealed by then. NULL where more entries waited.';
COMMENT ON COLUMN audit_block.digest IS 'SHA-256 over the digest of the block before, the JSON array of number, microseconds of sealed_on and snapshot, and the members.';
COMMENT ON TABLE audit_setting IS 'Whether an entity''s changes are audited (attribute is empty), and attributes that are left out. The owner writes it, not the service.';
COMMENT ON TABLE businessunit IS 'Business units. Each organization begins with one.';
COMMENT ON TABLE cell_change IS 'Records whose cells were written since a running key change began, as often as they were.';
COMMENT ON VIEW cell_table IS 'The entities with encrypted attributes, in the order in which their cell tables are locked.';
COMMENT ON TABLE email IS 'E-mails. The id of one that came in is made of its mailbox and its bytes, so that it is there once.';
COMMENT ON COLUMN email.is_handed_over IS 'Whether the mail server was ready for the message''s bytes: from then on nobody knows before it answers.';
COMMENT ON COLUMN email.failure IS 'Why it was not sent, in the mail server''s words.';
COMMENT ON COLUMN email.submitter IS 'The systemuser that called SendEmail.';
COMMENT ON COLUMN email.submitter_is_administrator IS 'Whether the submitter was a System Administrator, who may send as every user and queue.';
COMMENT ON COLUMN email.message_references IS 'The ids of the References field, oldest first, with blanks between them.';
COMMENT ON COLUMN email.submission_tag IS 'Made with the key-encryption key by SendEmail over who submitted the e-mail, its sender, its recipients and its content.';
COMMENT ON TABLE emailserverprofile IS 'E-mail server profiles: mail servers, and how the mailboxes that use them sign in. Passwords are in emailserverprofile_cell.';
COMMENT ON TABLE emailserverprofile_cell IS 'The encrypted passwords of e-mail server profiles, a row for each profile that has some. There is a partition for each key version.';
COMMENT ON TABLE encryption IS 'The current key''s version, and all that its text needs to open the cells: one row, changed by a key change alone.';
COMMENT ON TABLE event_archive IS 'Each file to which old security events were moved. Where the chain begins is attested elsewhere, under a tag of the key-encryption key.';
COMMENT ON COLUMN event_archive.head IS 'The hash of the newest event in the file: previous_hash of the event after it.';
COMMENT ON COLUMN event_archive.file_digest IS 'SHA-256 of the file without its last line.';
COMMENT ON TABLE mail_destination IS 'Tags of the key-encryption key over the settings that decide where credentials go, as which account they sign in, and whose they are. A record whose settings do not fit its tag releases no credential.';
COMMENT ON COLUMN mail_destination.kek_id IS 'The key-encryption key that the tag was made with.';
COMMENT ON COLUMN mail_destination.authorized_on IS 'When the service last accepted a change of these settings.';
COMMENT ON TABLE mail_router IS 'Routers that asked for work lately. One that has not asked for 90 seconds counts as gone.';
COMMENT ON TABLE mailbox IS 'Mailboxes of users and queues: addresses, delivery methods and the state of the last run. Passwords are in mailbox_cell.';
COMMENT ON COLUMN mailbox.router_state IS 'UIDVALIDITY and the highest UID that was looked at, or the UIDLs; JSON.';
COMMENT ON TABLE mailbox_cell IS 'The encrypted passwords of mailboxes, a row for each mailbox that has one. There is a partition for each key version.';
COMMENT ON TABLE mailbox_message IS 'Messages on a mail server, one a row: those of POP3 that were looked at, and those of any server that could not be fetched.';
COMMENT ON COLUMN mailbox_message.uid IS 'UIDVALIDITY:UID of IMAP, or the unique id of POP3.';
COMMENT ON COLUMN mailbox_message.next_attempt IS 'When a message that was set aside is fetched again; null for one that was looked at.';
COMMENT ON TABLE mailbox_watch IS 'Mailboxes on whose mail servers a router waits for new messages (IMAP IDLE). While that router is alive they are not polled.';
COMMENT ON COLUMN mailbox_watch.revision IS 'Settings and credential under which the router signed in.';
COMMENT ON COLUMN mailbox_watch.emailserverprofile IS 'The profile that the connection counts for.';
COMMENT ON TABLE migration IS 'Migrations that were applied to this schema, with the SHA-256 of each. fieldseal migrate writes it. Do not change it.';
COMMENT ON TABLE organization IS 'One row: the settings of this organization, such as its name, its fiscal year and how it tracks e-mails.';
COMMENT ON COLUMN organization.emailcorrelationenabled IS 'Whether In-Reply-To and References tell what an e-mail answers.';
COMMENT ON COLUMN organization.enablesmartmatching IS 'Whether subject and people tell what an e-mail answers, when nothing else does.';
COMMENT ON COLUMN organization.maxuploadfilesize IS 'Bytes of an attachment that is kept.';
COMMENT ON COLUMN organization.fiscalcalendarstart IS 'The first day of a fiscal year; its month and day count.';
COMMENT ON COLUMN organization.fiscalperiodtype IS 'How long a fiscal period is: 2000 a year, 2001 half a year, 2002 a quarter, 2003 a month, 2004 four weeks.';
COMMENT ON TABLE principal_access IS 'Records that were shared, and what may be done with them: 1 read, 2 write, 65536 delete, 262144 share, 524288 assign.';
COMMENT ON TABLE quarantined_cell IS 'Cells that did not open and were left behind by a key change that was told to.';
COMMENT ON TABLE queue IS 'Queues of teams and users, with an e-mail address and a mailbox. Passwords are in queue_cell.';
COMMENT ON COLUMN queue.isemailpasswordset IS 'Whether a password is set; not an attribute of the entity.';
COMMENT ON TABLE queue_cell IS 'The encrypted passwords of queues, a row for each queue that has one. There is a partition for each key version.';
COMMENT ON TABLE role IS 'Security roles. Their names and ids can be read; what each may do is in the program.';
COMMENT ON VIEW sdkmessagefilter IS 'Which entity knows which messages, for clients that ask before they send one.';
COMMENT ON VIEW sdkmessage IS 'The messages that the Web API knows.';
COMMENT ON TABLE systemuser IS 'Users. A client of the API and a person of the console act as one of them.';
COMMENT ON COLUMN systemuser.azureactivedirectoryobjectid IS 'The object id by which CallerObjectId names the user.';
COMMENT ON COLUMN systemuser.applicationid IS 'The id of the API client that acts as this user; NULL for a person.';
COMMENT ON TABLE systemuserroles IS 'Roles that were given to users, beside the role of the client or the person that acts as the user.';
COMMENT ON TABLE team IS 'Teams, which can own records and to which records can be shared.';
COMMENT ON TABLE teammembership IS 'Which users belong to which teams.';
COMMENT ON TABLE teamroles IS 'Roles that were given to teams, and that their members have.';
COMMENT ON TABLE tracelog IS 'Alerts about mailboxes and profiles: what is wrong, and what to do.';
COMMENT ON TABLE transactioncurrency IS 'Currencies, to which users refer.';
COMMENT ON TABLE unchained_event IS 'Security events of the last seconds that are not linked into the chain yet. Inserted and read, nothing else.';
COMMENT ON COLUMN unchained_event.tag IS 'Made with the key-encryption key over the event: one that SQL inserted is recorded as refused.';
COMMENT ON TABLE usersettings IS 'Settings of each user, such as the sign-in to a mail server. Passwords are in usersettings_cell.';
COMMENT ON COLUMN usersettings.isemailpasswordset IS 'Whether a password is set; not an attribute of the entity.';
COMMENT ON TABLE usersettings_cell IS 'The encrypted passwords of users, a row for each user who has one. There is a partition for each key version.';

-- First generation
CREATE TABLE emailserverprofile_cell_k1 (
    key_version integer NOT NULL,
    emailserverprofileid uuid NOT NULL,
    incomingpassword bytea,
    outgoingpassword bytea,
    CONSTRAINT incomingpassword_has_key_version CHECK ((SUBSTRING(incomingpassword FROM 1 FOR 5) = '\x0100000001'::bytea)),
    CONSTRAINT incomingpassword_is_cell CHECK (cell.is_cell(incomingpassword)),
    CONSTRAINT outgoingpassword_has_key_version CHECK ((SUBSTRING(outgoingpassword FROM 1 FOR 5) = '\x0100000001'::bytea)),
    CONSTRAINT outgoingpassword_is_cell CHECK (cell.is_cell(outgoingpassword)),
    CONSTRAINT row_has_key_version CHECK ((key_version = 1)),
    CONSTRAINT emailserverprofile_cell_k1_pkey PRIMARY KEY (key_version, emailserverprofileid)
);
ALTER TABLE ONLY emailserverprofile_cell_k1 ALTER COLUMN incomingpassword SET STATISTICS 0;
ALTER TABLE ONLY emailserverprofile_cell_k1 ALTER COLUMN incomingpassword SET STORAGE EXTERNAL;
ALTER TABLE ONLY emailserverprofile_cell_k1 ALTER COLUMN outgoingpassword SET STATISTICS 0;
ALTER TABLE ONLY emailserverprofile_cell_k1 ALTER COLUMN outgoingpassword SET STORAGE EXTERNAL;
CREATE TABLE mailbox_cell_k1 (
    key_version integer NOT NULL,
    mailboxid uuid NOT NULL,
    password bytea,
    CONSTRAINT password_has_key_version CHECK ((SUBSTRING(password FROM 1 FOR 5) = '\x0100000001'::bytea)),
    CONSTRAINT password_is_cell CHECK (cell.is_cell(password)),
    CONSTRAINT row_has_key_version CHECK ((key_version = 1)),
    CONSTRAINT mailbox_cell_k1_pkey PRIMARY KEY (key_version, mailboxid)
);
ALTER TABLE ONLY mailbox_cell_k1 ALTER COLUMN password SET STATISTICS 0;
ALTER TABLE ONLY mailbox_cell_k1 ALTER COLUMN password SET STORAGE EXTERNAL;
CREATE TABLE queue_cell_k1 (
    key_version integer NOT NULL,
    queueid uuid NOT NULL,
    emailpassword bytea,
    CONSTRAINT emailpassword_has_key_version CHECK ((SUBSTRING(emailpassword FROM 1 FOR 5) = '\x0100000001'::bytea)),
    CONSTRAINT emailpassword_is_cell CHECK (cell.is_cell(emailpassword)),
    CONSTRAINT row_has_key_version CHECK ((key_version = 1)),
    CONSTRAINT queue_cell_k1_pkey PRIMARY KEY (key_version, queueid)
);
ALTER TABLE ONLY queue_cell_k1 ALTER COLUMN emailpassword SET STATISTICS 0;
ALTER TABLE ONLY queue_cell_k1 ALTER COLUMN emailpassword SET STORAGE EXTERNAL;
CREATE TABLE usersettings_cell_k1 (
    key_version integer NOT NULL,
    systemuserid uuid NOT NULL,
    emailpassword bytea,
    CONSTRAINT emailpassword_has_key_version CHECK ((SUBSTRING(emailpassword FROM 1 FOR 5) = '\x0100000001'::bytea)),
    CONSTRAINT emailpassword_is_cell CHECK (cell.is_cell(emailpassword)),
    CONSTRAINT row_has_key_version CHECK ((key_version = 1)),
    CONSTRAINT usersettings_cell_k1_pkey PRIMARY KEY (key_version, systemuserid)
);
ALTER TABLE ONLY usersettings_cell_k1 ALTER COLUMN emailpassword SET STATISTICS 0;
ALTER TABLE ONLY usersettings_cell_k1 ALTER COLUMN emailpassword SET STORAGE EXTERNAL;
ALTER TABLE ONLY emailserverprofile_cell ATTACH PARTITION emailserverprofile_cell_k1 FOR VALUES IN (1);
ALTER TABLE ONLY mailbox_cell ATTACH PARTITION mailbox_cell_k1 FOR VALUES IN (1);
ALTER TABLE ONLY queue_cell ATTACH PARTITION queue_cell_k1 FOR VALUES IN (1);
ALTER TABLE ONLY usersettings_cell ATTACH PARTITION usersettings_cell_k1 FOR VALUES IN (1);
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON emailserverprofile_cell_k1 FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON mailbox_cell_k1 FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON queue_cell_k1 FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON usersettings_cell_k1 FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate$new();
GRANT SELECT ON TABLE emailserverprofile_cell_k1, mailbox_cell_k1, queue_cell_k1, usersettings_cell_k1 TO fieldseal_service;
GRANT SELECT ON TABLE emailserverprofile_cell_k1, mailbox_cell_k1, queue_cell_k1, usersettings_cell_k1 TO fieldseal_inspector;

-- Names
-- With this setting, the event triggers of bootstrap.sql accept the DDL of a key change's functions.
-- Without bootstrap.sql there are no event triggers, and the role may lack the right to set it.
DO $$
BEGIN
    ALTER FUNCTION announce_change$new() SET fieldseal.maintenance = 'on';
    ALTER FUNCTION create_generation$new(integer) SET fieldseal.maintenance = 'on';
    ALTER FUNCTION drop_generation$new(integer) SET fieldseal.maintenance = 'on';
    ALTER FUNCTION end_change$new() SET fieldseal.maintenance = 'on';
    ALTER FUNCTION finish_generation$new(integer) SET fieldseal.maintenance = 'on';
    ALTER FUNCTION switch_generation$new(integer, bytea, integer, bytea, text, uuid, uuid) SET fieldseal.maintenance = 'on';
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END
$$;
ALTER TABLE email_subject_key_createdon_idx RENAME COLUMN subject_key$new TO subject_key;
ALTER FUNCTION announce_change$new() RENAME TO announce_change;
ALTER FUNCTION attachment_is_counted$new() RENAME TO attachment_is_counted;
ALTER FUNCTION audit_change$new() RENAME TO audit_change;
ALTER FUNCTION audit_password$new() RENAME TO audit_password;
ALTER FUNCTION chain_events$new(bigint[], boolean[], bytea[], bytea[], bigint) RENAME TO chain_events;
ALTER FUNCTION chain_security_event$new() RENAME TO chain_security_event;
ALTER FUNCTION create_generation$new(integer) RENAME TO create_generation;
ALTER FUNCTION drop_generation$new(integer) RENAME TO drop_generation;
ALTER FUNCTION email_keeps_state$new() RENAME TO email_keeps_state;
ALTER FUNCTION emailserverprofile_cell_needs_record$new() RENAME TO emailserverprofile_cell_needs_record;
ALTER FUNCTION emailserverprofile_notes_change$new() RENAME TO emailserverprofile_notes_change;
ALTER FUNCTION emailserverprofile_takes_cells_along$new() RENAME TO emailserverprofile_takes_cells_along;
ALTER FUNCTION end_change$new() RENAME TO end_change;
ALTER FUNCTION finish_generation$new(integer) RENAME TO finish_generation;
ALTER FUNCTION fiscal_period_count$new() RENAME TO fiscal_period_count;
ALTER FUNCTION fiscal_ranges$new(text, integer, integer, integer) RENAME TO fiscal_ranges;
ALTER FUNCTION fiscal_start$new(integer) RENAME TO fiscal_start;
ALTER FUNCTION forget_access$new() RENAME TO forget_access;
ALTER FUNCTION forget_destination$new() RENAME TO forget_destination;
ALTER FUNCTION forget_mailbox_messages$new() RENAME TO forget_mailbox_messages;
ALTER FUNCTION forget_mailbox_watch$new() RENAME TO forget_mailbox_watch;
ALTER FUNCTION keep_encryption$new() RENAME TO keep_encryption;
ALTER FUNCTION lock_generations$new() RENAME TO lock_generations;
ALTER FUNCTION mailbox_cell_needs_record$new() RENAME TO mailbox_cell_needs_record;
ALTER FUNCTION mailbox_notes_change$new() RENAME TO mailbox_notes_change;
ALTER FUNCTION mailbox_takes_cells_along$new() RENAME TO mailbox_takes_cells_along;
ALTER FUNCTION note_audit$new() RENAME TO note_audit;
ALTER FUNCTION notify_routers$new() RENAME TO notify_routers;
ALTER FUNCTION place_generation$new(integer) RENAME TO place_generation;
ALTER FUNCTION queue_cell_needs_record$new() RENAME TO queue_cell_needs_record;
ALTER FUNCTION queue_notes_change$new() RENAME TO queue_notes_change;
ALTER FUNCTION queue_takes_cells_along$new() RENAME TO queue_takes_cells_along;
ALTER FUNCTION refuse_audit_change$new() RENAME TO refuse_audit_change;
ALTER FUNCTION refuse_encrypted_setting$new() RENAME TO refuse_encrypted_setting;
ALTER FUNCTION refuse_event_change$new() RENAME TO refuse_event_change;
ALTER FUNCTION refuse_new_id$new() RENAME TO refuse_new_id;
ALTER FUNCTION refuse_retired$new() RENAME TO refuse_retired;
ALTER FUNCTION refuse_truncate$new() RENAME TO refuse_truncate;
ALTER FUNCTION security_event_hash$new(security_event) RENAME TO security_event_hash;
ALTER FUNCTION subject_key$new(text) RENAME TO subject_key;
ALTER FUNCTION switch_generation$new(integer, bytea, integer, bytea, text, uuid, uuid) RENAME TO switch_generation;
ALTER FUNCTION usersettings_cell_needs_record$new() RENAME TO usersettings_cell_needs_record;
ALTER FUNCTION usersettings_notes_change$new() RENAME TO usersettings_notes_change;
ALTER FUNCTION usersettings_takes_cells_along$new() RENAME TO usersettings_takes_cells_along;
ALTER FUNCTION verify_security_events$new() RENAME TO verify_security_events;
