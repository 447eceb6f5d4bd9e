-- The encrypted attributes: sealed cells, in one narrow table beside each entity's, partitioned by key version. A key change
-- writes a new partition (a generation) beside the live one and switches to it; see docs/key-change.md.
-- Runs with the organization's schema as search_path; no schema is named here.

CREATE TABLE encryption (
    organization_id uuid PRIMARY KEY,
    key_version integer NOT NULL CHECK (key_version > 0),
    salt bytea NOT NULL CHECK (length(salt) = 32),
    iterations integer NOT NULL CHECK (iterations BETWEEN 1 AND 10000000),
    key_check bytea NOT NULL CHECK (cell.is_cell(key_check)),
    fingerprint text NOT NULL CHECK (fingerprint ~ '^[0-9a-f]{16}$'),
    changed_on timestamptz NOT NULL DEFAULT now(),
    rotation_id uuid NOT NULL
);
CREATE UNIQUE INDEX encryption_one_row ON encryption ((true));
COMMENT ON TABLE encryption IS 'The current key''s version, and all that its text needs to open the cells: one row, changed by a key change alone.';

CREATE TABLE emailserverprofile_cell (
    key_version integer NOT NULL,
    emailserverprofileid uuid NOT NULL,
    incomingpassword bytea,
    outgoingpassword bytea,
    CONSTRAINT incomingpassword_is_cell CHECK (cell.is_cell(incomingpassword)),
    CONSTRAINT outgoingpassword_is_cell CHECK (cell.is_cell(outgoingpassword)),
    PRIMARY KEY (key_version, emailserverprofileid)
) PARTITION BY LIST (key_version);

CREATE TABLE mailbox_cell (
    key_version integer NOT NULL,
    mailboxid uuid NOT NULL,
    password bytea,
    CONSTRAINT password_is_cell CHECK (cell.is_cell(password)),
    PRIMARY KEY (key_version, mailboxid)
) PARTITION BY LIST (key_version);

CREATE TABLE queue_cell (
    key_version integer NOT NULL,
    queueid uuid NOT NULL,
    emailpassword bytea,
    CONSTRAINT emailpassword_is_cell CHECK (cell.is_cell(emailpassword)),
    PRIMARY KEY (key_version, queueid)
) PARTITION BY LIST (key_version);

CREATE TABLE usersettings_cell (
    key_version integer NOT NULL,
    systemuserid uuid NOT NULL,
    emailpassword bytea,
    CONSTRAINT emailpassword_is_cell CHECK (cell.is_cell(emailpassword)),
    PRIMARY KEY (key_version, systemuserid)
) PARTITION BY LIST (key_version);

-- What is written while a key change copies, to be copied again. Unlogged: a change does not outlive PostgreSQL either.
CREATE UNLOGGED TABLE cell_change (
    entity text NOT NULL,
    record_id uuid NOT NULL
);
COMMENT ON TABLE cell_change IS 'Records whose cells were written since a running key change began, as often as they were.';

-- Cells that a change with --skip-unreadable left out, as they were.
CREATE TABLE quarantined_cell (
    quarantined_cell_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    quarantined_on timestamptz NOT NULL DEFAULT now(),
    rotation_id uuid NOT NULL,
    entity text NOT NULL,
    record_id uuid NOT NULL,
    attribute text NOT NULL,
    key_version integer NOT NULL,
    content bytea NOT NULL
);
ALTER TABLE quarantined_cell ALTER content SET STORAGE EXTERNAL, ALTER content SET STATISTICS 0;
COMMENT ON TABLE quarantined_cell IS 'Cells that did not open and were left behind by a key change that was told to.';

-- The cell tables in the one order in which they are locked: entity, its id's column.
CREATE VIEW cell_table AS
SELECT * FROM (VALUES
    (1, 'emailserverprofile', 'emailserverprofileid'),
    (2, 'mailbox', 'mailboxid'),
    (3, 'queue', 'queueid'),
    (4, 'usersettings', 'systemuserid')
) AS t (position, entity, id_column);
COMMENT ON VIEW cell_table IS 'The entities with encrypted attributes, in the order in which their cell tables are locked.';

-- Fences -------------------------------------------------------------------------------------------------------------

CREATE FUNCTION refuse_truncate() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'table % cannot be truncated', TG_TABLE_NAME USING ERRCODE = 'FS003',
        HINT = 'TRUNCATE would leave cells without records or records without cells. Use DELETE on the record table.';
END
$$;

CREATE FUNCTION refuse_new_id() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'the id of a row in % cannot be changed', TG_TABLE_NAME USING ERRCODE = 'FS004',
        HINT = 'A cell is bound to its record''s id and key version. Delete the record and create another.';
END
$$;

CREATE FUNCTION refuse_retired() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'key version % is retired',
        CASE WHEN TG_OP = 'DELETE' THEN OLD.key_version ELSE NEW.key_version END
        USING ERRCODE = 'FS001', HINT = 'Seal the value under the current key version and write it again.';
END
$$;

CREATE FUNCTION refuse_event_change() RETURNS trigger
    LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$
BEGIN
    RAISE EXCEPTION 'security events can be inserted and read, nothing else' USING ERRCODE = 'FS007',
        HINT = 'They are the record of who read and changed keys.';
END
$$;

-- For each entity: a cell needs its record (and keeps it from being deleted meanwhile); a record takes its cells along.
-- These are triggers and not a foreign key, which would lock every record while a generation is loaded and validate all
-- of it again when it is attached.
DO $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT * FROM cell_table LOOP
        EXECUTE format($sql$
            CREATE FUNCTION %1$s_cell_needs_record() RETURNS trigger
                LANGUAGE plpgsql SET search_path FROM CURRENT AS $body$
            BEGIN
                PERFORM FROM %1$I WHERE %2$I = NEW.%2$I FOR KEY SHARE;
                IF NOT FOUND THEN
                    RAISE EXCEPTION 'there is no %1$s %%', NEW.%2$I USING ERRCODE = 'foreign_key_violation',
                        HINT = 'A cell belongs to a record. Insert the record first.';
                END IF;
                RETURN NEW;
            END
            $body$;
            CREATE FUNCTION %1$s_takes_cells_along() RETURNS trigger
                LANGUAGE plpgsql SET search_path FROM CURRENT AS $body$
            BEGIN
                DELETE FROM %1$s_cell
                 WHERE key_version = (SELECT e.key_version FROM encryption AS e) AND %2$I = OLD.%2$I;
                RETURN NULL;
            END
            $body$;
            CREATE FUNCTION %1$s_notes_change() RETURNS trigger
                LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $body$
            BEGIN
                INSERT INTO cell_change (entity, record_id)
                VALUES ('%1$s', CASE WHEN TG_OP = 'DELETE' THEN OLD.%2$I ELSE NEW.%2$I END);
                RETURN NULL;
            END
            $body$;
            CREATE TRIGGER cell_needs_record BEFORE INSERT ON %1$s_cell
                FOR EACH ROW EXECUTE FUNCTION %1$s_cell_needs_record();
            CREATE TRIGGER cell_keeps_id BEFORE UPDATE OF key_version, %2$I ON %1$s_cell
                FOR EACH ROW WHEN (OLD.key_version <> NEW.key_version OR OLD.%2$I <> NEW.%2$I)
                EXECUTE FUNCTION refuse_new_id();
            CREATE TRIGGER cell_refuses_truncate BEFORE TRUNCATE ON %1$s_cell
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
            CREATE TRIGGER takes_cells_along AFTER DELETE ON %1$I
                FOR EACH ROW EXECUTE FUNCTION %1$s_takes_cells_along();
            CREATE TRIGGER keeps_id BEFORE UPDATE OF %2$I ON %1$I
                FOR EACH ROW WHEN (OLD.%2$I <> NEW.%2$I) EXECUTE FUNCTION refuse_new_id();
            CREATE TRIGGER refuses_truncate BEFORE TRUNCATE ON %1$I
                FOR EACH STATEMENT EXECUTE FUNCTION refuse_truncate();
        $sql$, t.entity, t.id_column);
    END LOOP;
END
$$;

-- Generations --------------------------------------------------------------------------------------------------------
-- The service owns nothing: these functions make, finish, switch and drop generations for it, and nothing else.

CREATE FUNCTION create_generation(version integer) RETURNS void
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
COMMENT ON FUNCTION create_generation(integer) IS 'Makes the empty tables of a new key version, which nobody sees yet.';

CREATE FUNCTION finish_generation(version integer) RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
DECLARE
    t record;
BEGIN
    FOR t IN SELECT * FROM cell_table ORDER BY position LOOP
        EXECUTE format('ALTER TABLE %I ADD PRIMARY KEY (key_version, %I)', format('%s_cell_k%s', t.entity, version), t.id_column);
    END LOOP;
END
$$;
COMMENT ON FUNCTION finish_generation(integer) IS 'Builds the primary keys of a generation that is loaded.';

CREATE FUNCTION lock_generations() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
BEGIN
    LOCK TABLE emailserverprofile_cell, mailbox_cell, queue_cell, usersettings_cell IN SHARE ROW EXCLUSIVE MODE;
END
$$;
COMMENT ON FUNCTION lock_generations() IS 'Makes writers of cells wait until the transaction ends; readers go on.';

CREATE FUNCTION announce_change() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT AS $$
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
COMMENT ON FUNCTION announce_change() IS 'From its commit on, every write of a cell is noted in cell_change.';

CREATE FUNCTION end_change() RETURNS void
    LANGUAGE plpgsql SECURITY DEFINER SET search_path FROM CURRENT SET lock_timeout = '20ms' AS $$
DECLARE
    leaf regclass;
BEGIN
    FOR leaf IN
        SELECT tg.tgrelid FROM pg_trigger AS tg JOIN pg_class AS c ON c.oid = tg.tgrelid
         WHERE c.relnamespace = current_schema()::regnamespace AND tg.tgname = 'notes_change' AND tg.tgenabled <> 'D'
           AND c.relname LIKE '%\_k' || (SELECT e.key_version FROM encryption AS e)
    LOOP
        -- Disabled and not dropped: dropping would wait for every reader, and make everybody wait behind it.
        EXECUTE format('ALTER TABLE %s DISABLE TRIGGER notes_change', leaf);
        EXECUTE format('ALTER TABLE %s RESET (autovacuum_enabled)', leaf);
    END LOOP;
    DELETE FROM cell_change;
END
$$;
COMMENT ON FUNCTION end_change() IS 'Takes back what announce_change did, after a change that failed or died.';

CREATE FUNCTION switch_generation(
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
COMMENT ON FUNCTION switch_generation(integer, bytea, integer, bytea, text, uuid, uuid) IS
    'Attaches a finished generation, retires the one before it, and makes the new key version the current one.';

CREATE FUNCTION drop_generation(version integer) RETURNS boolean
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
COMMENT ON FUNCTION drop_generation(integer) IS
    'Drops a retired generation with its files. False while some transaction is older than the switch; try again later.';

-- Security events ----------------------------------------------------------------------------------------------------

CREATE TABLE security_event (
    security_event_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    occurred_on timestamptz NOT NULL DEFAULT clock_timestamp(),
    kind text NOT NULL,
    outcome text NOT NULL CHECK (outcome IN ('succeeded', 'refused', 'failed')),
    actor text NOT NULL,
    address text,
    request_id text,
    key_version integer,
    fingerprint text,
    details text
);
COMMENT ON TABLE security_event IS 'Who set, changed, activated or read a key, or was refused. Inserted and read, nothing else.';
CREATE TRIGGER keep BEFORE UPDATE OR DELETE ON security_event
    FOR EACH ROW EXECUTE FUNCTION refuse_event_change();
CREATE TRIGGER keep_all BEFORE TRUNCATE ON security_event
    FOR EACH STATEMENT EXECUTE FUNCTION refuse_event_change();

-- Rights -------------------------------------------------------------------------------------------------------------

DO $$
DECLARE
    name text := current_schema();
    signature regprocedure;
BEGIN
    EXECUTE format('GRANT USAGE ON SCHEMA %I TO fieldseal_service, fieldseal_inspector', name);
    EXECUTE format('GRANT SELECT ON ALL TABLES IN SCHEMA %I TO fieldseal_service, fieldseal_inspector', name);
    EXECUTE format('GRANT USAGE ON ALL SEQUENCES IN SCHEMA %I TO fieldseal_service', name);
    EXECUTE format('REVOKE ALL ON ALL FUNCTIONS IN SCHEMA %I FROM PUBLIC', name);
    FOR signature IN
        SELECT p.oid::regprocedure FROM pg_proc AS p WHERE p.pronamespace = name::regnamespace
    LOOP
        EXECUTE format('GRANT EXECUTE ON FUNCTION %s TO fieldseal_service', signature);
    END LOOP;
END
$$;
GRANT INSERT, UPDATE, DELETE ON organization, businessunit, transactioncurrency, systemuser, team, role,
    emailserverprofile, mailbox, queue, usersettings TO fieldseal_service;
GRANT INSERT, UPDATE, DELETE ON emailserverprofile_cell, mailbox_cell, queue_cell, usersettings_cell TO fieldseal_service;
GRANT INSERT ON security_event, quarantined_cell TO fieldseal_service;
GRANT DELETE ON cell_change TO fieldseal_service;
