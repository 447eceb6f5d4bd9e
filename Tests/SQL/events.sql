-- The chain of security events: verify_security_events() names the place of a changed, deleted, moved or forged event.
BEGIN;
SELECT no_plan();
SET LOCAL search_path = org_contoso, public;
SET LOCAL fieldseal.maintenance = 'on';
ALTER TABLE security_event DISABLE TRIGGER keep;

INSERT INTO security_event (kind, outcome, actor) SELECT 'key read', 'succeeded', 'tap:' || i FROM generate_series(1, 6) AS i;
CREATE TEMPORARY TABLE number AS SELECT security_event_id AS id, row_number() OVER (ORDER BY security_event_id) AS n FROM security_event WHERE actor LIKE 'tap:%';
SELECT is_empty('SELECT * FROM verify_security_events()', 'an unchanged chain verifies');

CREATE FUNCTION pg_temp.broken(statement text) RETURNS SETOF bigint LANGUAGE plpgsql AS $$
DECLARE
    found bigint[];
BEGIN
    BEGIN
        EXECUTE statement;
        SELECT array_agg(DISTINCT n ORDER BY n) INTO found FROM org_contoso.verify_security_events() AS v JOIN number ON id = v.security_event_id;
        RAISE EXCEPTION USING ERRCODE = 'ZZ000';
    EXCEPTION WHEN SQLSTATE 'ZZ000' THEN
        NULL;
    END;
    RETURN QUERY SELECT unnest(found);
END
$$;
SELECT set_eq($$SELECT pg_temp.broken('UPDATE security_event SET actor = ''x'' WHERE security_event_id = (SELECT id FROM number WHERE n = 3)')$$,
    ARRAY[3], 'a changed event is reported');
SELECT set_eq(format($$SELECT pg_temp.broken('UPDATE security_event SET %s WHERE security_event_id = (SELECT id FROM number WHERE n = 3)')$$, c),
    ARRAY[3], c)
  FROM unnest(ARRAY['outcome = ''''refused''''', 'occurred_on = occurred_on + interval ''''1 microsecond''''', 'address = ''''::1''''',
       'key_version = 9', 'fingerprint = ''''0''''', 'details = ''''''''', 'kind = ''''x''''', 'request_id = ''''x''''']) AS c;
SELECT set_eq($$SELECT pg_temp.broken('DELETE FROM security_event WHERE security_event_id = (SELECT id FROM number WHERE n = 3)')$$,
    ARRAY[4], 'a deleted event is reported at the event after it');
SELECT set_eq($$SELECT pg_temp.broken('UPDATE security_event AS e SET (actor, previous_hash, hash) = (SELECT f.actor, f.previous_hash, f.hash
    FROM security_event AS f WHERE f.security_event_id = (SELECT id FROM number WHERE n = CASE m.n WHEN 3 THEN 4 ELSE 3 END))
    FROM number AS m WHERE m.id = e.security_event_id AND m.n IN (3, 4)')$$, ARRAY[3, 4, 5], 'two events that changed places are reported');
SELECT set_eq($$SELECT pg_temp.broken('UPDATE security_event SET (actor, hash) = (SELECT ''x'', sha256(''x'')) WHERE security_event_id = (SELECT id FROM number WHERE n = 3)')$$,
    ARRAY[3, 4], 'an event with a forged hash is reported');
SELECT is_empty($$SELECT pg_temp.broken('DELETE FROM security_event WHERE security_event_id = (SELECT id FROM number WHERE n = 6)')$$,
    'deleting the newest event breaks no link: only the attested state in config shows it');

SET LOCAL ROLE fieldseal_service;
SELECT throws_ok($$INSERT INTO org_contoso.security_event (kind, outcome, actor, hash, previous_hash) VALUES ('x', 'failed', 'tap:7', 'forged', 'forged')$$,
    '42501', NULL, 'the service can''t insert a hash');
SELECT throws_ok($$INSERT INTO org_contoso.security_event (security_event_id, kind, outcome, actor) OVERRIDING SYSTEM VALUE VALUES (9, 'x', 'failed', 'tap:7')$$,
    '42501', NULL, 'the service can''t choose the number of an event');
SELECT lives_ok($$INSERT INTO org_contoso.security_event (kind, outcome, actor) VALUES ('x', 'failed', 'tap:7')$$, 'the service can insert an event without a hash and a number');
SELECT throws_ok($$INSERT INTO org_contoso.unchained_event (unchained_event_id, occurred_on, kind, outcome, actor, tag) OVERRIDING SYSTEM VALUE VALUES (1, now(), 'x', 'failed', 'tap:7', sha256('x'))$$,
    '42501', NULL, 'the service can''t choose the number of a pending event');
SELECT lives_ok($$INSERT INTO org_contoso.unchained_event (occurred_on, kind, outcome, actor, tag) VALUES (now(), 'x', 'failed', 'tap:7', sha256('x'))$$, 'the service can insert a pending event');
SELECT throws_ok('DELETE FROM org_contoso.unchained_event', '42501', NULL, 'the service can''t delete a pending event');
RESET ROLE;
SELECT throws_ok(statement, 'FS007', NULL, statement) FROM unnest(ARRAY['DELETE FROM unchained_event', 'UPDATE unchained_event SET actor = ''x''',
    'TRUNCATE unchained_event', 'TRUNCATE security_event']) AS statement;
SELECT is_empty('SELECT * FROM verify_security_events()', 'the chain still verifies after the service has inserted events');

SELECT * FROM finish();
ROLLBACK;
