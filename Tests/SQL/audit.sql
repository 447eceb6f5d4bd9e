-- The audit: which changes of records it records, that it never holds an encrypted value, and how its entries are protected.
BEGIN;
SELECT no_plan();
SET LOCAL search_path = org_contoso, public;

SELECT throws_ok(statement, 'FS013', NULL, statement) FROM unnest(ARRAY['DELETE FROM audit', 'UPDATE audit SET useridname = ''x''', 'TRUNCATE audit']) AS statement;
SET LOCAL fieldseal.evidence = 'move';
SELECT throws_ok('UPDATE audit SET useridname = ''x''', 'FS013', NULL, 'archiving may delete entries and may not change them');
DELETE FROM audit;
SET LOCAL fieldseal.evidence = '';
INSERT INTO systemuser (systemuserid, fullname, domainname, businessunitid)
SELECT '00000000-0000-4000-8000-00000000000a', 'Ada', 'ada', businessunitid FROM businessunit LIMIT 1;
INSERT INTO mailbox (mailboxid, name, modifiedby, modifiedon)
VALUES ('00000000-0000-4000-8000-000000000001', 'old name', '00000000-0000-4000-8000-00000000000a', now());
UPDATE mailbox SET name = 'new name', modifiedon = now() + interval '1 second', modifiedby = '00000000-0000-4000-8000-00000000000a'
 WHERE mailboxid = '00000000-0000-4000-8000-000000000001';
UPDATE mailbox SET versionnumber = nextval('version_number') WHERE mailboxid = '00000000-0000-4000-8000-000000000001';
UPDATE mailbox SET username = 'by a DBA' WHERE mailboxid = '00000000-0000-4000-8000-000000000001';
UPDATE mailbox SET ispasswordset = true WHERE mailboxid = '00000000-0000-4000-8000-000000000001';
INSERT INTO mailbox_cell SELECT 1, '00000000-0000-4000-8000-000000000001', password FROM mailbox_cell LIMIT 1;
UPDATE mailbox_cell SET password = NULL WHERE mailboxid = '00000000-0000-4000-8000-000000000001';
SELECT set_config('fieldseal.user', '00000000-0000-4000-8000-00000000000a', true);
DELETE FROM mailbox WHERE mailboxid = '00000000-0000-4000-8000-000000000001';

SELECT results_eq(
    $$SELECT operation, useridname FROM audit WHERE objectid = '00000000-0000-4000-8000-000000000001' ORDER BY createdon$$,
    $$VALUES (1, 'Ada'), (2, 'Ada'), (2, NULL), (2, NULL), (2, NULL), (3, 'Ada')$$,
    'one entry each for the creation, a change, three changes by SQL and the deletion; none for an update that changes only versionnumber');
SELECT is((SELECT changedata::jsonb FROM audit WHERE attributemask = 'name' AND operation = 2),
    '{"changedAttributes": [{"logicalName": "name", "oldValue": "old name", "newValue": "new name"}]}', 'an entry has the old and the new value');
SELECT is((SELECT databaserole FROM audit WHERE attributemask = 'username'), session_user::text, 'an entry has the database role that made the change');
SELECT is_empty($$SELECT * FROM audit WHERE changedata ~ 'x0100' OR objecttypecode LIKE '%cell'$$, 'no entry has a cell');
SELECT results_eq(
    $$SELECT changedata::jsonb FROM audit WHERE attributemask = 'password'$$,
    $$VALUES ('{"changedAttributes": [{"logicalName": "password", "operation": "cleared"}]}'::jsonb)$$,
    'a password that SQL cleared has an entry without a value');
SELECT is_empty($$
    SELECT t.tgrelid::regclass FROM pg_trigger AS t JOIN pg_proc AS f ON f.oid = t.tgfoid
     WHERE f.proname = 'audit_change' AND t.tgrelid::regclass::text LIKE '%\_cell%'
$$, 'no audit trigger on a table of cells');

INSERT INTO audit_setting VALUES ('mailbox', 'username', false);
INSERT INTO mailbox (mailboxid, name) VALUES ('00000000-0000-4000-8000-000000000002', 'a');
UPDATE mailbox SET username = 'left out' WHERE mailboxid = '00000000-0000-4000-8000-000000000002';
SELECT is(count(*), 1::bigint, 'a change of an attribute whose audit is off has no entry') FROM audit WHERE objectid = '00000000-0000-4000-8000-000000000002';
UPDATE audit_setting SET is_enabled = false WHERE entity = 'mailbox' AND attribute = '';
DELETE FROM mailbox WHERE mailboxid = '00000000-0000-4000-8000-000000000002';
SELECT is(count(*), 1::bigint, 'a change of an entity whose audit is off has no entry') FROM audit WHERE objectid = '00000000-0000-4000-8000-000000000002';
SELECT throws_ok($$INSERT INTO audit_setting VALUES ('encryption', '', true)$$, 'FS008');

-- Sealing: the service may assign a block to an entry and insert blocks. No role may change a sealed entry or a block afterwards.
SELECT isnt((SELECT count(*) FROM config.unsealed_audit AS u JOIN encryption AS e USING (organization_id)), 0::bigint, 'the audit trigger notes the organization of a new entry');
SELECT throws_ok($$UPDATE audit SET block = 1, useridname = 'x' WHERE block IS NULL$$, 'FS013', NULL, 'only the block of an unsealed entry may be set');
SET LOCAL ROLE fieldseal_service;
SELECT lives_ok('UPDATE org_contoso.audit SET block = 1 WHERE block IS NULL');
INSERT INTO org_contoso.audit_block VALUES (1, now(), 1, decode(repeat('00', 48), 'hex'), NULL, sha256(''));
RESET ROLE;
SELECT throws_ok(statement, 'FS013', NULL, statement) FROM unnest(ARRAY['UPDATE audit SET block = 2', 'UPDATE audit SET block = NULL',
    'UPDATE audit_block SET number = 2', 'DELETE FROM audit_block', 'TRUNCATE audit_block']) AS statement;
SET LOCAL fieldseal.evidence = 'move';
SELECT throws_ok('DELETE FROM audit', 'FS013', NULL, 'a program version without blocks can''t delete a sealed entry');
SET LOCAL fieldseal.evidence = 'move blocks';
SELECT lives_ok('DELETE FROM audit');
SELECT lives_ok('DELETE FROM audit_block');
SET LOCAL fieldseal.evidence = '';

SET LOCAL ROLE fieldseal_service;
SELECT throws_ok($$INSERT INTO org_contoso.audit (action, operation, objectid, objecttypecode) VALUES (1, 1, gen_random_uuid(), 'mailbox')$$, '42501');
SELECT throws_ok('DELETE FROM org_contoso.audit', '42501');
RESET ROLE;

SELECT * FROM finish();
ROLLBACK;
