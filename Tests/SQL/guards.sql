-- The statements that the guards refuse. Each statement is tried as superuser, owner, service and inspector, and with two search paths.
-- One of the two search paths begins with an attacker's schema.
BEGIN;
SELECT no_plan();

CREATE SCHEMA hostile;
CREATE FUNCTION hostile.is_cell(bytea) RETURNS boolean LANGUAGE sql AS 'SELECT true';
CREATE FUNCTION hostile.length(bytea) RETURNS integer LANGUAGE sql AS 'SELECT 69';
CREATE TABLE hostile.encryption (key_version integer);
CREATE TABLE hostile.mailbox (mailboxid uuid);
GRANT USAGE, CREATE ON SCHEMA hostile TO PUBLIC;
GRANT SELECT, INSERT, DELETE ON ALL TABLES IN SCHEMA hostile TO PUBLIC;
INSERT INTO hostile.encryption VALUES (99);
INSERT INTO hostile.mailbox VALUES ('00000000-0000-4000-8000-00000000dead');
CREATE TEMPORARY TABLE mailbox (mailboxid uuid);
INSERT INTO mailbox VALUES ('00000000-0000-4000-8000-00000000dead');
GRANT ALL ON mailbox TO PUBLIC;

CREATE TEMPORARY TABLE attempt (statement text, state text, needs_owner boolean);
INSERT INTO attempt VALUES
    -- 1: a cell column accepts only cells
    ($$UPDATE org_contoso.mailbox_cell SET password = 'plaintext'$$, '23514', false),
    ($$UPDATE org_contoso.mailbox_cell SET password = convert_to(encode(password, 'hex'), 'UTF8')$$, '23514', false),
    ($$UPDATE org_contoso.mailbox_cell SET password = substring(password FROM 1 FOR 68)$$, '23514', false),
    -- 2: a table of cells accepts only cells of the current key version
    ($$UPDATE org_contoso.mailbox_cell SET password = '\x0100000063'::bytea || substring(password FROM 6)$$, '23514', false),
    ($$INSERT INTO org_contoso.mailbox_cell SELECT 99, mailboxid, NULL FROM org_contoso.mailbox_cell$$, '23514', false),
    -- 3: a table of cells can't be indexed, changed or dropped, and gets no other partitions, triggers or rules
    ($$CREATE INDEX ON org_contoso.mailbox_cell (password)$$, 'FS002', true),
    ($$CREATE INDEX ON org_contoso.mailbox_cell_k1 (mailboxid) INCLUDE (password)$$, 'FS002', true),
    ($$CREATE INDEX ON org_contoso.mailbox_cell_k1 (length(password))$$, 'FS002', true),
    ($$ALTER TABLE org_contoso.mailbox_cell_k1 ADD UNIQUE (password)$$, 'FS002', true),
    ($$ALTER TABLE org_contoso.mailbox_cell ALTER password TYPE text USING encode(password, 'hex')$$, NULL, true),
    ($$ALTER TABLE org_contoso.mailbox_cell RENAME password TO secret$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell RENAME TO mailbox_old$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell SET SCHEMA hostile$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell DETACH PARTITION org_contoso.mailbox_cell_k1$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell DROP COLUMN password$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell DROP CONSTRAINT password_is_cell$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell_k1 SET UNLOGGED$$, 'FS005', true),
    ($$CREATE TABLE org_contoso.anywhere PARTITION OF org_contoso.mailbox_cell DEFAULT$$, 'FS005', true),
    ($$DROP TABLE org_contoso.mailbox_cell$$, 'FS005', true),
    ($$DROP TABLE org_contoso.mailbox_cell_k1$$, 'FS005', true),
    ($$DROP TABLE org_contoso.mailbox CASCADE$$, 'FS005', true),
    ($$DROP TABLE org_contoso.encryption$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.encryption ADD COLUMN anything text$$, 'FS005', true),
    ($$CREATE STATISTICS org_contoso.s (ndistinct) ON key_version, password FROM org_contoso.mailbox_cell_k1$$, 'FS005', true),
    ($$CREATE RULE r AS ON INSERT TO org_contoso.mailbox_cell DO INSTEAD NOTHING$$, 'FS005', true),
    ($$CREATE TRIGGER t BEFORE INSERT ON org_contoso.mailbox_cell FOR EACH ROW EXECUTE FUNCTION org_contoso.refuse_new_id()$$, 'FS005', true),
    ($$CREATE POLICY p ON org_contoso.mailbox_cell_k1 USING (false)$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox DISABLE TRIGGER takes_cells_along$$, 'FS005', true),
    ($$ALTER TABLE org_contoso.mailbox_cell DISABLE TRIGGER cell_needs_record$$, 'FS005', true),
    ($$DROP TRIGGER takes_cells_along ON org_contoso.mailbox$$, 'FS005', true),
    ($$DROP FUNCTION org_contoso.mailbox_takes_cells_along() CASCADE$$, 'FS005', true),
    ($$CREATE OR REPLACE FUNCTION org_contoso.refuse_retired() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'$$, 'FS005', true),
    ($$CREATE OR REPLACE FUNCTION cell.is_cell(cell bytea) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true$$, 'FS005', true),
    -- 4: encrypted attributes can't be audited
    ($$INSERT INTO org_contoso.audit_setting VALUES ('mailbox', 'password', true)$$, 'FS008', true),
    ($$INSERT INTO org_contoso.audit_setting VALUES ('usersettings', 'emailpassword', false)$$, 'FS008', true),
    -- 5: no cell exists without its record
    ($$INSERT INTO org_contoso.mailbox_cell SELECT key_version, '00000000-0000-4000-8000-00000000dead', password
        FROM org_contoso.mailbox_cell LIMIT 1$$, '23503', false),
    ($$UPDATE org_contoso.mailbox SET mailboxid = gen_random_uuid()$$, 'FS004', false),
    ($$UPDATE org_contoso.mailbox_cell SET mailboxid = gen_random_uuid()$$, 'FS004', false),
    ($$TRUNCATE org_contoso.mailbox CASCADE$$, 'FS003', true),
    ($$TRUNCATE org_contoso.mailbox_cell$$, 'FS003', true),
    ($$TRUNCATE org_contoso.mailbox_cell_k1$$, 'FS003', true),
    -- 6: the current key can't be deleted, and a wrapped key can't be changed
    ($$DELETE FROM config.organization_key$$, 'FS006', true),
    ($$TRUNCATE config.organization_key$$, 'FS006', true),
    ($$UPDATE config.organization_key SET wrapped_data = wrapped_text$$, 'FS006', false),
    -- Only a key change may write the row of the table encryption, with which the key is derived.
    ($$UPDATE org_contoso.encryption SET key_version = 9$$, 'FS012', true),
    ($$DELETE FROM org_contoso.encryption$$, 'FS012', true),
    ($$TRUNCATE org_contoso.encryption$$, 'FS012', true),
    ($$INSERT INTO org_contoso.encryption SELECT gen_random_uuid(), key_version, salt, iterations, key_check, fingerprint, changed_on, rotation_id
        FROM org_contoso.encryption$$, '23505', true),
    ($$SELECT org_contoso.switch_generation(1, salt, iterations, key_check, fingerprint, rotation_id, organization_id) FROM org_contoso.encryption$$, 'FS001', false),
    ($$SELECT org_contoso.switch_generation(2, salt, iterations, key_check, fingerprint, rotation_id, organization_id) FROM org_contoso.encryption$$, 'FS001', false),
    ($$DO $switch$ BEGIN
        PERFORM org_contoso.create_generation(2), org_contoso.finish_generation(2);
        PERFORM org_contoso.switch_generation(
            2, salt, iterations, set_byte(key_check, 4, 2), fingerprint, gen_random_uuid(), gen_random_uuid()) FROM org_contoso.encryption;
       END $switch$ $$, 'FS001', false),
    ($$SELECT org_contoso.drop_generation(2)$$, 'FS001', false),
    -- 7: security events can't be changed or deleted
    ($$UPDATE org_contoso.security_event SET actor = 'nobody'$$, 'FS007', true),
    ($$DELETE FROM org_contoso.security_event$$, 'FS007', true),
    ($$TRUNCATE org_contoso.security_event$$, 'FS007', true),
    ($$ALTER TABLE org_contoso.security_event DISABLE TRIGGER ALL$$, 'FS005', true),
    ($$DROP TABLE org_contoso.security_event CASCADE$$, 'FS005', true);

-- Runs a statement as a role and with a search_path, rolls it back, and returns the SQLSTATE with which it was refused.
CREATE FUNCTION pg_temp.refusal(statement text, as_role name, path text) RETURNS text LANGUAGE plpgsql AS $$
BEGIN
    PERFORM set_config('role', as_role, true), set_config('search_path', path, true);
    EXECUTE statement;
    RAISE EXCEPTION 'nothing refused it' USING ERRCODE = 'ZZ000';
EXCEPTION WHEN OTHERS THEN
    RETURN SQLSTATE;
END
$$;
CREATE TEMPORARY TABLE outcome AS
SELECT a.*, r.name AS role, p.path,
       pg_temp.refusal(a.statement, r.name, p.path) AS got
  FROM attempt AS a, (VALUES ('postgres'::name), ('fieldseal_owner'), ('fieldseal_service'), ('fieldseal_inspector')) AS r (name),
       (VALUES ('pg_catalog'), ('hostile, pg_temp, pg_catalog, org_contoso')) AS p (path);
-- If the role has the right to the statement, the guard refuses it. If the role lacks the right, PostgreSQL refuses it with 42501.
SELECT is(got, coalesce(state, got), format('%s as %s, on %s', statement, role, path)) FROM outcome
 WHERE role IN ('postgres', 'fieldseal_owner') OR role = 'fieldseal_service' AND NOT needs_owner;
SELECT is(got, '42501', format('%s as %s', statement, role)) FROM outcome
 WHERE (role = 'fieldseal_inspector' OR role = 'fieldseal_service' AND needs_owner) AND got NOT IN ('FS005', 'FS002');
SELECT is_empty($$SELECT * FROM outcome WHERE got = 'ZZ000'$$, 'every statement is refused');

-- These statements are not in the list above, because a function that rolls back can't create a publication.
SELECT throws_ok('CREATE PUBLICATION p FOR TABLE org_contoso.mailbox_cell', 'FS005');
SELECT throws_ok('CREATE PUBLICATION p FOR ALL TABLES', 'FS005');
SELECT throws_ok('CREATE PUBLICATION p FOR TABLES IN SCHEMA org_contoso', 'FS005');
SELECT lives_ok('CREATE PUBLICATION p FOR TABLE org_contoso.mailbox', 'records without their cells may be published');
SELECT throws_ok('ALTER PUBLICATION p ADD TABLE org_contoso.queue_cell_k1', 'FS005');

-- Statements that the guards must not refuse.
SELECT lives_ok('CREATE VIEW public.copied AS SELECT * FROM org_contoso.mailbox_cell', 'a view over cells is allowed, because it shows only encrypted values');
SELECT lives_ok('CREATE TABLE public.copy AS SELECT * FROM org_contoso.mailbox_cell', 'a copy of a table of cells is allowed');
SELECT lives_ok('ALTER TABLE public.copy ADD COLUMN note text; DROP TABLE public.copy', 'the copy may be changed and dropped');
SELECT lives_ok('ALTER TABLE org_contoso.mailbox ADD COLUMN x_note text', 'a table of records may get a column');
SELECT lives_ok('CREATE INDEX ON org_contoso.mailbox (username)', 'a table of records may get an index');
SELECT lives_ok('CREATE TABLE public.other (a bytea); ALTER TABLE public.other ADD b int; DROP TABLE public.other', 'a table outside of the program''s schemas may be changed');
SELECT lives_ok('DELETE FROM org_contoso.mailbox', 'records may be deleted');
SELECT is_empty('SELECT FROM org_contoso.mailbox_cell', 'the cells of deleted records are deleted');
SELECT lives_ok($$SET LOCAL fieldseal.maintenance = 'on'; ALTER TABLE org_contoso.mailbox_cell_k1 SET (autovacuum_enabled = false)$$,
    'with fieldseal.maintenance, a table of cells may be changed');

SELECT * FROM finish();
ROLLBACK;
