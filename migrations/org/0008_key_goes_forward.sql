-- The key version only grows, the row that makes the key work can't be changed by accident, and security events are numbered
-- without gaps.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE FUNCTION keep_encryption() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
    RETURN NEW;
END
$$;
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON encryption FOR EACH ROW EXECUTE FUNCTION keep_encryption();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON encryption FOR EACH STATEMENT EXECUTE FUNCTION keep_encryption();
REVOKE ALL ON FUNCTION keep_encryption() FROM PUBLIC;
GRANT EXECUTE ON FUNCTION keep_encryption() TO fieldseal_service;

CREATE OR REPLACE FUNCTION switch_generation(
    version integer, new_salt bytea, new_iterations integer, new_key_check bytea, new_fingerprint text, new_rotation_id uuid,
    of_organization uuid
) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
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

CREATE OR REPLACE FUNCTION drop_generation(version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '20ms' AS $$
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

-- Replacing a function takes its settings away.
DO $$
BEGIN
    ALTER FUNCTION switch_generation(integer, bytea, integer, bytea, text, uuid, uuid) SET fieldseal.maintenance = 'on';
    ALTER FUNCTION drop_generation(integer) SET fieldseal.maintenance = 'on';
EXCEPTION WHEN insufficient_privilege THEN
    -- Without bootstrap.sql there are no event triggers either.
    NULL;
END
$$;

-- The number of an event is that of the one before it and one; events that are there keep theirs.
ALTER TABLE security_event ALTER security_event_id DROP IDENTITY;
CREATE OR REPLACE FUNCTION chain_security_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    newest record;
BEGIN
    -- One at a time, until it is committed: the order of the numbers is the order of the chain.
    PERFORM pg_advisory_xact_lock((1179862358::bigint << 32) + TG_RELID::bigint);
    SELECT e.security_event_id, e.hash INTO newest FROM security_event AS e ORDER BY e.security_event_id DESC LIMIT 1;
    NEW.security_event_id := coalesce(newest.security_event_id, 0) + 1;
    NEW.previous_hash := newest.hash;
    NEW.hash := security_event_hash(NEW);
    RETURN NEW;
END
$$;
