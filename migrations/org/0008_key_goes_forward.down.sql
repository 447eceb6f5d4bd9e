-- Lost: nothing but the protection; the key version may go back again, and the numbers of security events have gaps again.
-- Runs with the organization's schema as search_path; no schema is named here.

DROP TRIGGER keep ON encryption;
DROP TRIGGER keep_all ON encryption;
DROP FUNCTION keep_encryption();
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
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        leaf := format('%s_cell_k%s', t.entity, version);
        EXECUTE format('REVOKE INSERT, UPDATE, DELETE ON %I FROM fieldseal_service', leaf);
        EXECUTE format('GRANT SELECT ON %I TO fieldseal_inspector', leaf);
        EXECUTE format('CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON %I FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate()', leaf);
        EXECUTE format('ALTER TABLE %I ATTACH PARTITION %I FOR VALUES IN (%s)', t.entity || '_cell', leaf, version);
        IF old IS NOT NULL THEN
            -- From here on, whoever still writes under the old key is refused, whatever his snapshot shows him.
            EXECUTE format('CREATE TRIGGER a_retired BEFORE INSERT OR UPDATE OR DELETE ON %I FOR EACH ROW EXECUTE FUNCTION refuse_retired()',
                format('%s_cell_k%s', t.entity, old));
        END IF;
    END LOOP;
    IF old IS NULL THEN
        INSERT INTO encryption (organization_id, key_version, salt, iterations, key_check, fingerprint, rotation_id)
        VALUES (of_organization, version, new_salt, new_iterations, new_key_check, new_fingerprint, new_rotation_id);
    ELSE
        UPDATE encryption
           SET key_version = version, salt = new_salt, iterations = new_iterations, key_check = new_key_check,
               fingerprint = new_fingerprint, rotation_id = new_rotation_id, changed_on = now()
         WHERE organization_id = of_organization;
        IF NOT FOUND THEN
            RAISE EXCEPTION 'this schema does not belong to organization %', of_organization USING ERRCODE = 'FS001';
        END IF;
    END IF;
END
$$;
CREATE OR REPLACE FUNCTION drop_generation(version integer) RETURNS boolean
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '20ms' AS $$
DECLARE
    t record;
BEGIN
    IF version = (SELECT e.key_version FROM encryption AS e) THEN
        RAISE EXCEPTION 'key version % is the current one', version USING ERRCODE = 'FS001',
            HINT = 'Encryption cannot be turned off.';
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
DO $$
BEGIN
    ALTER FUNCTION switch_generation(integer, bytea, integer, bytea, text, uuid, uuid) SET fieldseal.maintenance = 'on';
    ALTER FUNCTION drop_generation(integer) SET fieldseal.maintenance = 'on';
EXCEPTION WHEN insufficient_privilege THEN
    NULL;
END
$$;
ALTER TABLE security_event ALTER security_event_id ADD GENERATED ALWAYS AS IDENTITY;
SELECT setval(pg_get_serial_sequence('security_event', 'security_event_id'), coalesce(max(security_event_id), 0) + 1, false)
  FROM security_event;
GRANT USAGE ON SEQUENCE security_event_security_event_id_seq TO fieldseal_service;
CREATE OR REPLACE FUNCTION chain_security_event() RETURNS trigger
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    -- One at a time, until it is committed: the order of the ids is the order of the chain.
    PERFORM pg_advisory_xact_lock((1179862358::bigint << 32) + TG_RELID::bigint);
    NEW.security_event_id := nextval(pg_get_serial_sequence('security_event', 'security_event_id'));
    NEW.previous_hash := (SELECT e.hash FROM security_event AS e ORDER BY e.security_event_id DESC LIMIT 1);
    NEW.hash := security_event_hash(NEW);
    RETURN NEW;
END
$$;
