-- A new generation of cells stands where the one before it stands, and who was given rights to that one has them to it too.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE FUNCTION place_generation(version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
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
COMMENT ON FUNCTION place_generation(integer) IS 'Puts an empty generation into the tablespaces of the current one, with its rights to read.';
REVOKE ALL ON FUNCTION place_generation(integer) FROM PUBLIC;

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
    PERFORM place_generation(version);
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
