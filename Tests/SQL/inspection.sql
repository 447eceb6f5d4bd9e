-- The role fieldseal_inspector can read the state of every key, and the cells. Only the service can read a wrapped key or a verifier.
BEGIN;
SELECT no_plan();

SELECT ok(has_table_privilege('fieldseal_inspector', v, 'SELECT'), 'an inspector reads ' || v)
  FROM unnest(ARRAY['config.encryption_status', 'config.encrypted_attribute_status', 'config.key_history', 'config.key_change_progress',
       'org_contoso.mailbox_cell', 'org_contoso.encryption', 'org_contoso.security_event', 'org_contoso.audit']) AS v;
SELECT ok(NOT has_table_privilege('fieldseal_inspector', v, 'SELECT'), 'an inspector does not read ' || v)
  FROM unnest(ARRAY['config.organization_key', 'config.api_client_secret', 'config.signing_key']) AS v;
SELECT is_empty($$
    SELECT c.oid::regclass, p.privilege FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace,
        unnest(ARRAY['INSERT', 'UPDATE', 'DELETE', 'TRUNCATE', 'REFERENCES', 'TRIGGER']) AS p (privilege)
     WHERE (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%') AND c.relkind IN ('r', 'p', 'v')
       AND has_table_privilege('fieldseal_inspector', c.oid, p.privilege)
$$, 'an inspector writes nothing');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%') AND c.relkind IN ('r', 'p', 'v')
       AND EXISTS (SELECT FROM aclexplode(c.relacl) AS a WHERE a.grantee = 0)
$$, 'PUBLIC has no right to a table, view or partition of the program');
SELECT is_empty($$
    SELECT c.oid::regclass FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
     WHERE (n.nspname IN ('config', 'cell') OR n.nspname LIKE 'org\_%') AND c.relkind IN ('r', 'p', 'v')
       AND pg_get_userbyid(c.relowner) <> 'fieldseal_owner'
$$, 'fieldseal_owner owns every table, view and partition of the program');
SELECT ok(NOT rolcanlogin, 'no one can log in as fieldseal_owner') FROM pg_roles WHERE rolname = 'fieldseal_owner';
SELECT is_empty($$
    SELECT a.attrelid::regclass, a.attname FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
     WHERE c.oid IN ('config.encryption_status'::regclass, 'config.key_history'::regclass, 'config.encrypted_attribute_status'::regclass)
       AND a.attnum > 0 AND a.atttypid = 'bytea'::regtype
$$, 'no inspection view shows bytes of a key');

SET LOCAL ROLE fieldseal_inspector;
SELECT is((SELECT state FROM config.encryption_status WHERE organization = 'contoso'), 'active', 'an inspector reads the state of a key');
SELECT is(count(*), 5::bigint, 'five encrypted attributes') FROM config.encrypted_attribute_status WHERE organization = 'contoso';
SELECT is(sum(malformed), 0::numeric, 'no cell is malformed') FROM config.encrypted_attribute_status;
SELECT cmp_ok(sum(cells), '>', 0::numeric, 'the encrypted attributes have cells') FROM config.encrypted_attribute_status;
SELECT isnt_empty('SELECT * FROM config.key_history', 'an inspector reads the versions of the key');
SELECT ok(bool_and(cell.format(password) = 1 AND cell.is_cell(password) AND cell.key_version(password) = 1), 'an inspector reads the header of a cell')
  FROM org_contoso.mailbox_cell;
SELECT is_empty('SELECT * FROM org_contoso.verify_security_events()', 'an inspector can verify the chain of events');
SELECT throws_ok('SELECT wrapped_data FROM config.organization_key', '42501');
SELECT throws_ok('SELECT * FROM config.api_client_secret', '42501');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
