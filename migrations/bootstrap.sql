-- What only a superuser can do, applied once for a database by hand or with `fieldseal migrate bootstrap`:
--
--     psql -v ON_ERROR_STOP=1 -d fieldseal -f migrations/bootstrap.sql
--
-- It makes the three roles, the schema `cell`, and the event triggers that keep cell columns out of indexes and the fences up.
-- Applying it again changes nothing. A managed PostgreSQL without a superuser goes without the event triggers.

SET fieldseal.maintenance = 'on';

DO $$
BEGIN
    IF current_setting('server_encoding') <> 'UTF8' THEN
        RAISE EXCEPTION 'the database''s encoding is %, and Fieldseal needs UTF8', current_setting('server_encoding')
            USING HINT = 'Make the database with ENCODING ''UTF8'' and TEMPLATE template0.';
    END IF;
END
$$;

DO $$
BEGIN
    -- Owns every object, and can't log in. Grant it to the role that migrates, which uses SET ROLE.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fieldseal_owner') THEN
        CREATE ROLE fieldseal_owner NOLOGIN;
    END IF;
    -- What the server connects as. It owns nothing. Give it a password or a certificate: ALTER ROLE ... PASSWORD.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fieldseal_service') THEN
        CREATE ROLE fieldseal_service LOGIN NOINHERIT;
    END IF;
    -- Reads the inspection views and the cells, and neither a wrapped key nor a secret's hash. Grant it to DBAs.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = 'fieldseal_inspector') THEN
        CREATE ROLE fieldseal_inspector NOLOGIN;
    END IF;
    EXECUTE format('GRANT CREATE ON DATABASE %I TO fieldseal_owner', current_database());
    -- The service needs no temporary tables. Types and casts of its own would be a way to have its code run by others.
    EXECUTE format('REVOKE TEMPORARY ON DATABASE %I FROM PUBLIC', current_database());
    EXECUTE format('GRANT TEMPORARY ON DATABASE %I TO fieldseal_owner, fieldseal_inspector', current_database());
    -- An old generation of cells may be dropped only when no snapshot is older than the switch. Seeing other sessions' snapshots
    -- needs this right.
    GRANT pg_read_all_stats TO fieldseal_owner;
    -- The functions of a key change carry this setting, which the event triggers below let through.
    -- Parameters belong to all databases: another one's bootstrap may be granting it at the same time.
    FOR attempt IN 1..20 LOOP
        EXIT WHEN has_parameter_privilege('fieldseal_owner', 'fieldseal.maintenance', 'SET');
        BEGIN
            GRANT SET ON PARAMETER fieldseal.maintenance TO fieldseal_owner;
        EXCEPTION WHEN internal_error OR unique_violation THEN
            PERFORM pg_sleep(0.05);
        END;
    END LOOP;
END
$$;

CREATE SCHEMA IF NOT EXISTS cell AUTHORIZATION fieldseal_owner;
GRANT USAGE ON SCHEMA cell TO PUBLIC;

-- A cell column is a column under a CHECK that calls cell.is_cell; nothing else marks it. An index that depends on one
-- (as a key, in INCLUDE, in an expression or in its predicate) is refused. Only the command's own objects are looked at.
CREATE OR REPLACE FUNCTION cell.refuse_index() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    command record;
    hit record;
BEGIN
    IF current_setting('fieldseal.maintenance', true) = 'on' THEN
        RETURN;
    END IF;
    FOR command IN SELECT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_class'::regclass LOOP
        -- Every condition follows an index of the catalog, from the command's object on: there may be thousands of organizations, and the
        -- check of each cell depends on the one function. The cast keeps the planner from beginning there.
        WITH i AS MATERIALIZED (
            SELECT * FROM pg_index WHERE indexrelid = command.objid
            UNION ALL SELECT * FROM pg_index WHERE indrelid = command.objid
        ), c AS MATERIALIZED (
            SELECT k.conrelid, k.conkey FROM pg_constraint AS k
             WHERE k.conrelid IN (SELECT indrelid FROM i) AND k.contype = 'c'
               AND EXISTS (SELECT FROM pg_depend AS f JOIN pg_proc AS p ON p.oid = f.refobjid
                            WHERE f.classid = 'pg_constraint'::regclass AND f.objid = k.oid AND f.refclassid = 'pg_proc'::regclass
                              AND p.proname::text = 'is_cell' AND p.pronamespace = (SELECT oid FROM pg_namespace WHERE nspname = 'cell'))
        )
        SELECT i.indexrelid::regclass AS index, t.oid::regclass AS "table", a.attname AS "column"
          INTO hit
          FROM i
          JOIN pg_class AS t ON t.oid = i.indrelid
          JOIN c ON c.conrelid = t.oid
          JOIN pg_attribute AS a ON a.attrelid = t.oid AND a.attnum = ANY (c.conkey)
         WHERE (a.attnum = ANY (i.indkey)
                -- Expressions and predicates; those of a constraint's index are the constraint's.
                OR EXISTS (SELECT FROM pg_depend AS d
                            WHERE d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
                              AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid = a.attnum)
                OR EXISTS (SELECT FROM pg_constraint AS k
                             JOIN pg_depend AS d ON d.classid = 'pg_constraint'::regclass AND d.objid = k.oid
                            WHERE k.conrelid = t.oid AND k.conindid = i.indexrelid
                              AND d.refclassid = 'pg_class'::regclass AND d.refobjid = t.oid AND d.refobjsubid = a.attnum))
         LIMIT 1;
        IF FOUND THEN
            RAISE EXCEPTION 'encrypted column %.% cannot be indexed', hit."table", hit."column"
                USING ERRCODE = 'FS002',
                      HINT = 'A cell is different every time it is sealed, so an index over it finds nothing. '
                          || 'After CREATE INDEX CONCURRENTLY, drop the invalid index ' || hit.index::text || ' that is left.';
        END IF;
    END LOOP;
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

-- The fences stop accidents: a command that would take one down, or touch a table of cells, is refused. Key changes and
-- migrations set fieldseal.maintenance, and scripts of pg_dump are known by check_function_bodies. Who means it sets the
-- former too; `fieldseal doctor` finds what was undone.
CREATE OR REPLACE FUNCTION cell.refuse_change() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hit record;
BEGIN
    IF current_setting('fieldseal.maintenance', true) = 'on' OR current_setting('check_function_bodies') = 'off' THEN
        RETURN;
    END IF;
    -- The tables that the command touched, each with what it did there.
    WITH command AS (
        SELECT c.classid, c.objid, c.command_tag FROM pg_event_trigger_ddl_commands() AS c
    ), published AS (
        SELECT p.oid AS publication, r.prrelid AS relation FROM pg_publication AS p JOIN pg_publication_rel AS r ON r.prpubid = p.oid
        UNION ALL
        SELECT p.oid, t.oid FROM pg_publication AS p, pg_class AS t
         WHERE p.puballtables AND t.relkind = 'p' AND t.relname LIKE '%\_cell'
        UNION ALL
        SELECT n.pnpubid, t.oid FROM pg_publication_namespace AS n JOIN pg_class AS t ON t.relnamespace = n.pnnspid
    ), touched AS (
        SELECT command_tag, objid AS relation FROM command WHERE classid = 'pg_class'::regclass
        UNION ALL
        SELECT command_tag, t.tgrelid FROM command JOIN pg_trigger AS t ON t.oid = objid WHERE classid = 'pg_trigger'::regclass
        UNION ALL
        SELECT command_tag, r.ev_class FROM command JOIN pg_rewrite AS r ON r.oid = objid WHERE classid = 'pg_rewrite'::regclass
        UNION ALL
        SELECT command_tag, s.stxrelid FROM command JOIN pg_statistic_ext AS s ON s.oid = objid
         WHERE classid = 'pg_statistic_ext'::regclass
        UNION ALL
        SELECT command_tag, p.polrelid FROM command JOIN pg_policy AS p ON p.oid = objid WHERE classid = 'pg_policy'::regclass
        UNION ALL
        SELECT command_tag, p.relation FROM command JOIN published AS p ON p.publication = objid
         WHERE classid = 'pg_publication'::regclass
        UNION ALL
        SELECT command_tag, p.prrelid FROM command JOIN pg_publication_rel AS p ON p.oid = objid
         WHERE classid = 'pg_publication_rel'::regclass
    )
    SELECT t.oid::regclass AS "table", command_tag, fence.is_cells INTO hit
      FROM touched JOIN pg_class AS t ON t.oid = relation JOIN pg_namespace AS n ON n.oid = t.relnamespace,
           -- A table that was renamed or moved is known by its fence triggers still.
           LATERAL (SELECT n.nspname LIKE 'org\_%' AND (t.relname ~ '_cell(_k[0-9]+)?$' OR t.relname = 'encryption')
                        OR EXISTS (SELECT FROM pg_trigger AS f JOIN pg_proc AS p ON p.oid = f.tgfoid
                             WHERE f.tgrelid = t.oid AND p.proname ~ '_cell_needs_record$') AS is_cells) AS fence
     WHERE t.relpersistence <> 't'
       AND (fence.is_cells
            OR EXISTS (SELECT FROM pg_trigger AS f JOIN pg_proc AS p ON p.oid = f.tgfoid
                         JOIN pg_namespace AS pn ON pn.oid = p.pronamespace
                        WHERE f.tgrelid = t.oid AND NOT f.tgisinternal AND f.tgenabled NOT IN ('O', 'A')
                          AND pn.nspname LIKE 'org\_%'))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% on % is refused: %', hit.command_tag, hit."table",
            CASE WHEN hit.is_cells THEN 'it holds sealed cells, or says how they are sealed' ELSE 'it would switch a fence off' END
            USING ERRCODE = 'FS005',
                  HINT = 'Key changes and migrations do what is needed. Who means it: SET fieldseal.maintenance = ''on'', '
                      || 'and run fieldseal doctor afterwards.';
    END IF;
    SELECT p.oid::regprocedure AS function, command_tag INTO hit
      FROM pg_event_trigger_ddl_commands() AS c JOIN pg_proc AS p ON c.classid = 'pg_proc'::regclass AND p.oid = c.objid
      JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE (n.nspname LIKE 'org\_%' OR n.nspname = 'cell')
       AND (p.prosecdef OR p.proname ~ '^(refuse_|.*_(cell_needs_record|takes_cells_along|notes_change)$)'
            OR EXISTS (SELECT FROM pg_depend AS d WHERE d.refclassid = 'pg_proc'::regclass AND d.refobjid = p.oid
                AND d.classid IN ('pg_trigger'::regclass, 'pg_constraint'::regclass, 'pg_event_trigger'::regclass)))
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% of % is refused: a fence or a key change depends on it', hit.command_tag, hit.function
            USING ERRCODE = 'FS005',
                  HINT = 'Migrations replace it where that is needed. Who means it: SET fieldseal.maintenance = ''on'', '
                      || 'and run fieldseal doctor afterwards.';
    END IF;
END
$$;
COMMENT ON FUNCTION cell.refuse_change() IS
    'Event trigger: refuses what would alter a table of cells or switch a fence off (SQLSTATE FS005).';

CREATE OR REPLACE FUNCTION cell.refuse_drop() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hit record;
BEGIN
    IF current_setting('fieldseal.maintenance', true) = 'on'
        -- A whole organization, or the deployment's own schema, is dropped on purpose. DROP OWNED names none of them.
        OR tg_tag <> 'DROP OWNED' AND EXISTS (SELECT FROM pg_event_trigger_dropped_objects() WHERE object_type = 'schema')
    THEN
        RETURN;
    END IF;
    SELECT d.object_type, d.object_identity INTO hit
      FROM pg_event_trigger_dropped_objects() AS d
     WHERE (d.schema_name LIKE 'org\_%' OR d.schema_name = 'cell') AND NOT d.is_temporary
       AND CASE d.object_type
           WHEN 'table' THEN d.object_name ~ '_cell(_k[0-9]+)?$'
               OR d.object_name IN ('encryption', 'security_event', 'quarantined_cell', 'emailserverprofile', 'mailbox', 'queue',
                   'usersettings')
           WHEN 'table column' THEN d.address_names[2] ~ '_cell(_k[0-9]+)?$'
               OR d.address_names[2] IN ('encryption', 'security_event', 'quarantined_cell')
           WHEN 'table constraint' THEN d.address_names[2] ~ '_cell(_k[0-9]+)?$'
               OR d.address_names[2] = 'encryption'
           WHEN 'trigger' THEN d.address_names[2] ~ '_cell(_k[0-9]+)?$'
               OR d.address_names[3] IN ('takes_cells_along', 'keeps_id', 'refuses_truncate', 'keep', 'keep_all', 'chain',
                   'refuses_encrypted', 'audits')
           WHEN 'function' THEN d.object_name ~
               '^(is_cell|key_version|refuse_.*|.*_generations?|(announce|end)_change|.*_(cell_needs_record|takes_cells_along|notes_change)|chain_security_event|security_event_hash|audit_change)$'
           ELSE false END
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION 'dropping the % % is refused: it holds sealed cells, or is a fence around them',
            hit.object_type, hit.object_identity
            USING ERRCODE = 'FS005',
                  HINT = 'Encryption cannot be turned off. Who means it: SET fieldseal.maintenance = ''on'', '
                      || 'and run fieldseal doctor afterwards.';
    END IF;
END
$$;
COMMENT ON FUNCTION cell.refuse_drop() IS
    'Event trigger: refuses to drop cells, their columns and the fences around them (SQLSTATE FS005).';

-- REASSIGN OWNED knows no event triggers: the doctor names what it did.
CREATE OR REPLACE FUNCTION cell.refuse_owner() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hit record;
BEGIN
    IF current_setting('fieldseal.maintenance', true) = 'on' OR current_setting('check_function_bodies') = 'off' THEN
        RETURN;
    END IF;
    SELECT n.nspname, r.rolname INTO hit FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
     WHERE r.rolname <> 'fieldseal_owner'
       AND (n.nspname IN ('config', 'cell')
            OR n.nspname LIKE 'org\_%' AND EXISTS (SELECT FROM pg_class AS c WHERE c.relnamespace = n.oid AND c.relname = 'encryption'))
       AND n.oid IN (SELECT objid FROM pg_event_trigger_ddl_commands() WHERE classid = 'pg_namespace'::regclass)
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is refused: the schema % would belong to %', tg_tag, hit.nspname, hit.rolname
            USING ERRCODE = 'FS005',
                  HINT = 'Everything in it belongs to fieldseal_owner. Who means it: SET fieldseal.maintenance = ''on'', '
                      || 'and run fieldseal doctor afterwards.';
    END IF;
    IF to_regnamespace('cell') IS NULL THEN
        RAISE EXCEPTION '% is refused: the checks of cells are in the schema cell', tg_tag
            USING ERRCODE = 'FS005', HINT = 'The program finds it by that name.';
    END IF;
END
$$;
COMMENT ON FUNCTION cell.refuse_owner() IS
    'Event trigger: refuses to give the program''s schemas to another role, or cell another name (SQLSTATE FS005).';

-- Both commands would take the guards along before these see it. So the text of the command is read.
CREATE OR REPLACE FUNCTION cell.refuse_removal() RETURNS event_trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
DECLARE
    hit record;
BEGIN
    IF current_setting('fieldseal.maintenance', true) = 'on' OR current_setting('check_function_bodies') = 'off' THEN
        RETURN;
    END IF;
    SELECT n.nspname, r.rolname INTO hit FROM pg_namespace AS n JOIN pg_roles AS r ON r.oid = n.nspowner
     WHERE CASE tg_tag
           WHEN 'DROP OWNED' THEN (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%')
               AND strpos(lower(current_query()), lower(r.rolname)) > 0
           ELSE n.nspname = 'cell' AND current_query() ~* 'drop\s+schema[^;]*\mcell\M' END
     LIMIT 1;
    IF FOUND THEN
        RAISE EXCEPTION '% is refused: it would drop the schema % of %', tg_tag, hit.nspname, hit.rolname
            USING ERRCODE = 'FS005',
                  HINT = 'Encryption cannot be turned off. Who means it: SET fieldseal.maintenance = ''on''.';
    END IF;
END
$$;
COMMENT ON FUNCTION cell.refuse_removal() IS
    'Event trigger: refuses to drop the schema cell, or what the owner has (SQLSTATE FS005).';

DO $$
BEGIN
    -- Event triggers run in the order of their names: an index is refused as an index first.
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'fieldseal_refuse_weakening') THEN
        CREATE EVENT TRIGGER fieldseal_refuse_weakening ON ddl_command_end
            WHEN TAG IN ('ALTER TABLE', 'CREATE TABLE', 'CREATE TRIGGER', 'ALTER TRIGGER', 'CREATE RULE', 'CREATE STATISTICS',
                'CREATE POLICY', 'CREATE PUBLICATION', 'ALTER PUBLICATION', 'CREATE FUNCTION', 'ALTER FUNCTION')
            EXECUTE FUNCTION cell.refuse_change();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'fieldseal_refuse_drop') THEN
        CREATE EVENT TRIGGER fieldseal_refuse_drop ON sql_drop EXECUTE FUNCTION cell.refuse_drop();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'fieldseal_refuse_owner') THEN
        CREATE EVENT TRIGGER fieldseal_refuse_owner ON ddl_command_end WHEN TAG IN ('ALTER SCHEMA')
            EXECUTE FUNCTION cell.refuse_owner();
    END IF;
    IF NOT EXISTS (SELECT FROM pg_catalog.pg_event_trigger WHERE evtname = 'fieldseal_refuse_removal') THEN
        CREATE EVENT TRIGGER fieldseal_refuse_removal ON ddl_command_start WHEN TAG IN ('DROP OWNED', 'DROP SCHEMA')
            EXECUTE FUNCTION cell.refuse_removal();
    END IF;
END
$$;

-- Organizations that are older than the event triggers.
DO $$
DECLARE
    f regprocedure;
BEGIN
    FOR f IN
        SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
         WHERE n.nspname LIKE 'org\_%' AND p.proname IN ('create_generation', 'finish_generation', 'announce_change', 'end_change',
             'switch_generation', 'drop_generation')
           -- Each ALTER reads the functions of that name in all schemas.
           AND NOT coalesce(p.proconfig, '{}') @> ARRAY['fieldseal.maintenance=on']
    LOOP
        EXECUTE format('ALTER FUNCTION %s SET fieldseal.maintenance = ''on''', f);
    END LOOP;
END
$$;

RESET fieldseal.maintenance;
