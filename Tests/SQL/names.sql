-- The names of schemas, roles, tables and functions on which DBAs, backups and other programs rely. Each object has a description,
-- which psql shows with \d+.
BEGIN;
SELECT no_plan();

SELECT has_schema(s) FROM unnest(ARRAY['config', 'cell', 'org_contoso']::name[]) AS s;
SELECT has_role(r) FROM unnest(ARRAY['fieldseal_owner', 'fieldseal_service', 'fieldseal_inspector']::name[]) AS r;
SELECT has_view('config'::name, v::name, v) FROM unnest(ARRAY['encryption_status', 'encrypted_attribute_status', 'key_history']) AS v;
SELECT has_table('org_contoso'::name, t::name, t)
  FROM unnest(ARRAY['mailbox', 'queue', 'emailserverprofile', 'usersettings', 'mailbox_cell', 'queue_cell', 'emailserverprofile_cell',
       'usersettings_cell', 'encryption', 'security_event', 'quarantined_cell', 'audit', 'audit_setting', 'migration']) AS t;
SELECT columns_are('org_contoso', 'encryption',
    ARRAY['organization_id', 'key_version', 'salt', 'iterations', 'key_check', 'fingerprint', 'changed_on', 'rotation_id']);
SELECT has_column('config', 'organization_key', c, c)
  FROM unnest(ARRAY['organization_id', 'key_version', 'wrapped_text', 'wrapped_data', 'kek_id', 'fingerprint', 'rotation_id',
       'created_on', 'created_by', 'retired_on']::name[]) AS c;
SELECT col_type_is('org_contoso', 'mailbox_cell', 'password', 'bytea', 'a password is bytea');
SELECT has_function('cell'::name, f) FROM unnest(ARRAY['format', 'key_version', 'is_cell']::name[]) AS f;
SELECT has_function('org_contoso'::name, 'verify_security_events'::name);

-- Partitions of a table of cells need no description: the table has one, and a partition's name contains the key version.
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%') AND c.relkind IN ('r', 'p', 'v', 'm', 'f') AND NOT c.relispartition
       AND coalesce(obj_description(c.oid, 'pg_class'), '') !~ '^\S.{15,}\.$'
$$, 'every table and view has a description of at least one sentence');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%')
       AND coalesce(obj_description(p.oid, 'pg_proc'), '') !~ '^\S.{15,}\.$'
$$, 'every function has a description of at least one sentence');
SELECT isnt(obj_description(s::regnamespace, 'pg_namespace'), NULL, s || ' has a description') FROM unnest(ARRAY['config', 'cell']) AS s;

-- If a role may create objects in a schema on a function's search_path, it could make the function call the role's own objects.
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%') AND p.prosecdef
       AND NOT EXISTS (SELECT FROM unnest(p.proconfig) AS c WHERE c LIKE 'search_path=%, pg_temp')
$$, 'every function that runs as its owner has a fixed search_path that ends in pg_temp');
SELECT is_empty($$
    SELECT p.oid::regprocedure FROM pg_proc AS p JOIN pg_namespace AS n ON n.oid = p.pronamespace
     WHERE (n.nspname = 'config' OR n.nspname LIKE 'org\_%')
       AND EXISTS (SELECT FROM aclexplode(coalesce(p.proacl, acldefault('f', p.proowner))) AS a WHERE a.grantee = 0)
$$, 'PUBLIC may not call a function of an organization or of config');
-- CHECK constraints and triggers of an organization's schema call only functions of that schema, of `cell` and of pg_catalog.
SELECT is_empty($$
    SELECT f.oid::regprocedure, c.conrelid::regclass FROM pg_constraint AS c
      JOIN pg_depend AS d ON d.classid = 'pg_constraint'::regclass AND d.objid = c.oid AND d.refclassid = 'pg_proc'::regclass
      JOIN pg_proc AS f ON f.oid = d.refobjid
     WHERE c.connamespace = 'org_contoso'::regnamespace
       AND f.pronamespace NOT IN ('org_contoso'::regnamespace, 'cell'::regnamespace, 'pg_catalog'::regnamespace)
$$, 'no CHECK calls a function of another schema');
SELECT is_empty($$
    SELECT t.tgname, t.tgrelid::regclass FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid JOIN pg_proc AS f ON f.oid = t.tgfoid
     WHERE c.relnamespace = 'org_contoso'::regnamespace AND NOT t.tgisinternal AND f.pronamespace <> 'org_contoso'::regnamespace
$$, 'no trigger calls a function of another schema');

SELECT * FROM finish();
ROLLBACK;
