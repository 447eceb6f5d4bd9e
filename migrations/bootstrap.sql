-- What only a superuser can do, applied once for a database by hand or with `fieldseal migrate bootstrap`:
--
--     psql -v ON_ERROR_STOP=1 -d fieldseal -f migrations/bootstrap.sql
--
-- It makes the three roles, the schema `cell`, and the event trigger that keeps cell columns out of indexes. Applying it
-- again changes nothing. A managed PostgreSQL without a superuser goes without the event trigger.

DO $$
BEGIN
    -- Owns every object; nobody logs in as it. Grant it to the role that migrates, which uses SET ROLE.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fieldseal_owner') THEN
        CREATE ROLE fieldseal_owner NOLOGIN;
    END IF;
    -- What the server connects as. It owns nothing. Give it a password or a certificate: ALTER ROLE … PASSWORD.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fieldseal_service') THEN
        CREATE ROLE fieldseal_service LOGIN NOINHERIT;
    END IF;
    -- Reads the inspection views and the cells, and neither a wrapped key nor a secret's hash. Grant it to DBAs.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fieldseal_inspector') THEN
        CREATE ROLE fieldseal_inspector NOLOGIN;
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO fieldseal_owner', current_database());
    -- An old generation of cells may be dropped only when nobody's snapshot is older than the switch: that needs to be seen.
    GRANT pg_read_all_stats TO fieldseal_owner;
END
$$;

CREATE SCHEMA IF NOT EXISTS cell AUTHORIZATION fieldseal_owner;
GRANT USAGE ON SCHEMA cell TO PUBLIC;

-- A cell column is a column under a CHECK that calls cell.is_cell; nothing else marks it. An index that depends on one
-- (as a key, in INCLUDE, in an expression or in its predicate) is refused. Only the command's own objects are looked at.
CREATE OR REPLACE FUNCTION cell.refuse_index() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hit record;
BEGIN
    SELECT i.indexrelid::regclass AS index, t.oid::regclass AS "table", a.attname AS "column", i.indisvalid AS valid
      INTO hit
      FROM pg_event_trigger_ddl_commands() AS command
      JOIN pg_index AS i ON command.classid = 'pg_class'::regclass AND command.objid IN (i.indexrelid, i.indrelid)
      JOIN pg_class AS t ON t.oid = i.indrelid
      JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum > 0
      JOIN pg_constraint AS c ON c.conrelid = t.oid AND c.contype = 'c' AND a.attnum = ANY (c.conkey)
      JOIN pg_depend AS f ON f.classid = 'pg_constraint'::regclass AND f.objid = c.oid
                         AND f.refclassid = 'pg_proc'::regclass
      JOIN pg_proc AS p ON p.oid = f.refobjid AND p.proname = 'is_cell'
                       AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'cell')
     WHERE a.attnum = ANY (i.indkey)
        -- Expressions and predicates; those of a constraint's index are the constraint's.
        OR EXISTS (SELECT FROM pg_depend AS d
                    WHERE (d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                           OR d.classid = 'pg_constraint'::regclass
                              AND d.objid IN (SELECT k.oid FROM pg_constraint AS k WHERE k.conindid = i.indexrelid))
                      AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid = a.attnum)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'encrypted column %.% cannot be indexed', hit."table", hit."column"
            USING ERRCODE = 'FS002',
                  HINT = 'A cell is different every time it is sealed, so an index over it finds nothing. '
                      || 'After CREATE INDEX CONCURRENTLY, drop the invalid index ' || hit.index::text || ' that is left.';
    END IF;
END
$$;
COMMENT ON FUNCTION cell.refuse_index() IS
    'Event trigger: refuses an index over a column that holds cells (SQLSTATE FS002).';

DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'fieldseal_refuse_index') THEN
        CREATE EVENT TRIGGER fieldseal_refuse_index ON ddl_command_end
            WHEN TAG IN ('CREATE INDEX', 'ALTER TABLE', 'CREATE TABLE')
            EXECUTE FUNCTION cell.refuse_index();
    END IF;
END
$$;
