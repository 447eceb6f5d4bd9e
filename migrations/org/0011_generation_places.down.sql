-- Lost: new generations stand in the default tablespace again, and rights that others had to the one before are not carried over.

CREATE OR REPLACE FUNCTION create_generation(version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
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
END
$$;

-- A function that is replaced loses its settings; this one is what the event triggers let through.
DO $$
BEGIN
    ALTER FUNCTION create_generation(integer) SET fieldseal.maintenance = 'on';
EXCEPTION WHEN insufficient_privilege THEN
    -- Without bootstrap.sql there are no event triggers either.
    NULL;
END
$$;

DROP FUNCTION place_generation(integer);
