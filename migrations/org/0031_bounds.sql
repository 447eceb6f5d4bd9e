-- SQL as the service can't write an event of a time that has no date, nor a key version that leaves no room for another one.
-- Runs with the organization's schema as search_path; no schema is named here.

-- NOT VALID: rows that are there stay as they are, because their hashes cover their times.
ALTER TABLE security_event ADD CONSTRAINT security_event_occurred_on_check
    CHECK (occurred_on BETWEEN '2000-01-01 00:00:00+00' AND '9999-12-31 00:00:00+00') NOT VALID;

CREATE OR REPLACE FUNCTION keep_encryption() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
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
