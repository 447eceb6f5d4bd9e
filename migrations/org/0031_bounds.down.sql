-- Lost: nothing.
-- Runs with the organization's schema as search_path; no schema is named here.

ALTER TABLE security_event DROP CONSTRAINT security_event_occurred_on_check;

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
    RETURN NEW;
END
$$;
