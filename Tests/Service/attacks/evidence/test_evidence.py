"""Each write of a password leaves an event. No event can be removed, changed, forged or replayed unnoticed, not even by the owner of the database."""

import concurrent.futures
import contextlib
import hashlib
import json
import re
import signal
import subprocess
import uuid

import psycopg
import pytest
import requests
from cluster import Cluster
from pending_events import unlinked
from service import PROGRAM, Deployment

SECRET = "hunter2-of-the-evidence-tests"


@pytest.fixture(scope="module")
def evidence():
    """A deployment whose evidence these tests attack. Each test restores what it changed."""
    with Deployment.made() as deployment:
        deployment.key()
        yield deployment


def exported(service, after=0):
    """Exports the security events, which first links all pending events into the chain. Returns the events after the id `after`."""
    lines = [json.loads(line) for line in service.run("events", "export", "--org", "contoso", "--after", str(after)).stdout.splitlines()]
    assert "attested" in lines[-1]
    return lines[:-1]


def newest(service):
    return exported(service)[-1]["id"]


def passwords(service, after):
    """The (kind of event, address of the password, actor) of the events about passwords after the id `after`."""
    return [(e["kind"], e["details"], e["actor"]) for e in exported(service, after) if e["kind"].startswith("password")]


def problems(service, *arguments):
    result = service.run("events", "verify", "--org", "contoso", "--json", *arguments, check=False)
    found = json.loads(result.stdout)["problems"]
    assert result.returncode == (1 if found else 0), result.stderr
    return found


def codes(service, *arguments):
    return {f["code"] for f in json.loads(service.run("doctor", "--json", *arguments, check=False).stdout)["findings"]}


def as_role(service, role, statement, parameters=None):
    """Runs a statement as a role of the database. Returns its rows."""
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute(f"SET ROLE {role}")
        cursor = connection.execute(statement, parameters)
        return cursor.fetchall() if cursor.description else None


# Each write of a password has an event ------------------------------------------------------------------------------------

ATTRIBUTES = [
    ("mailboxes", "mailbox", "password"), ("queues", "queue", "emailpassword"), ("emailserverprofiles", "emailserverprofile", "incomingpassword"),
    ("emailserverprofiles", "emailserverprofile", "outgoingpassword"),
]


@pytest.mark.parametrize("entity_set, entity, attribute", ATTRIBUTES)
def test_setting_replacing_and_clearing_are_events_of_their_own(evidence, entity_set, entity, attribute):
    mark = newest(evidence)
    id = evidence.create(entity_set, {"name": "traced", attribute: SECRET})
    for value in ("another", None, None):
        assert evidence.request("PATCH", f"{entity_set}({id})", {attribute: value}).status_code == 204
    assert evidence.request("PATCH", f"{entity_set}({id})", {"name": "no password"}).status_code == 204
    assert evidence.request("PUT", f"{entity_set}({id})/{attribute}", {"value": SECRET}).status_code == 204
    assert evidence.request("DELETE", f"{entity_set}({id})/{attribute}").status_code == 204
    what = f"{entity}({id}).{attribute}"
    assert passwords(evidence, mark) == [(f"password {kind}", what, "client:dev-admin") for kind in ("set", "replaced", "cleared", "set", "cleared")]
    events = [e for e in exported(evidence, mark) if e["details"] == what]
    assert all(e["address"] and e["requestId"] and e["outcome"] == "succeeded" for e in events)
    assert SECRET not in json.dumps(exported(evidence, mark)) and problems(evidence) == []


def test_the_password_of_user_settings(evidence):
    mark = newest(evidence)
    user = evidence.get("WhoAmI").json()["UserId"]
    for value in (SECRET, "another", None):
        assert evidence.request("PATCH", f"usersettingscollection({user})", {"emailpassword": value}).status_code == 204
    assert [k for k, d, _ in passwords(evidence, mark) if d == f"usersettings({user}).emailpassword"] == ["password set", "password replaced", "password cleared"]


def test_every_way_to_write(evidence):
    mark = newest(evidence)
    ids = [str(uuid.uuid4()) for _ in range(6)]
    # The first upsert creates the record, and the second one updates it.
    for name in ("first", "second"):
        assert evidence.request("PATCH", f"mailboxes({ids[0]})", {"name": name, "password": SECRET}).status_code in (201, 204)
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "mailboxid": id, "name": "bulk", "password": SECRET} for id in ids[1:3]]
    assert evidence.request("POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets}).status_code == 200
    assert evidence.request("POST", "mailboxes/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": targets}).status_code in (200, 204)
    # A change set of a batch.
    boundary = "b"
    parts = "".join(
        f"--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: {n}\r\n\r\nPATCH {evidence.api}/mailboxes({id}) HTTP/1.1\r\n"
        f"Content-Type: application/json\r\n\r\n{json.dumps({'name': 'batch', 'password': SECRET})}\r\n" for n, id in enumerate(ids[3:5], 1))
    body = f"--{boundary}\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n{parts}--c--\r\n--{boundary}--\r\n"
    response = evidence.request("POST", "$batch", body.encode(), Content_Type=f"multipart/mixed;boundary={boundary}")
    assert response.status_code == 200 and response.text.count(" 204 ") == 2, response.text
    expected = [(f"password {kind}", f"mailbox({id}).password") for kind, id in (
        ("set", ids[0]), ("replaced", ids[0]), ("set", ids[1]), ("set", ids[2]), ("replaced", ids[1]), ("replaced", ids[2]), ("set", ids[3]), ("set", ids[4]))]
    assert [(k, d) for k, d, _ in passwords(evidence, mark)] == expected


def visitor(service):
    """Signs a System Administrator in to the console. Returns the browser's session."""
    session = requests.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    session.headers["Origin"] = service.dev["baseURL"]
    pages = f"{service.dev['baseURL']}/contoso"
    known = service.dev["console"]
    answer = session.post(f"{pages}/sign-in", {"name": known["username"], "password": known["password"]})
    assert answer.status_code == 200, answer.text
    return session, pages


def test_a_password_that_is_typed_into_the_console(evidence):
    id = evidence.create("mailboxes", {"name": "console", "password": "before"})
    mark = newest(evidence)
    session, pages = visitor(evidence)
    form = session.get(f"{pages}/records/mailboxes/{id}").text
    fields = {name: "" for name in re.findall(r'<input type="password" name="([^"]+)"', form)}
    hidden = dict(re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form))
    answer = session.post(f"{pages}/records/mailboxes/{id}", {**hidden, "name": "console", "password": SECRET}, allow_redirects=False)
    assert answer.status_code == 303, (fields, answer.text)
    assert passwords(evidence, mark) == [("password replaced", f"mailbox({id}).password", f"user:{evidence.dev['console']['username']}")]
    page = session.get(f"{pages}/events", params={"kind": "password replaced"}).text
    assert f"mailbox({id}).password" in page and "password set" not in re.sub(r"(?s)<select.*?</select>", "", page)
    audit = session.get(f"{pages}/audit", params={"table": "mailbox", "id": id}).text
    assert "Password: replaced" in re.sub(r"\s+", " ", audit) and SECRET not in audit


def test_a_write_that_is_refused_or_rolled_back_leaves_no_trace(evidence):
    id = evidence.create("mailboxes", {"name": "kept", "password": SECRET})
    mark = newest(evidence)
    assert evidence.request("PATCH", f"mailboxes({id})", {"password": "x"}, If_Match='W/"1"').status_code == 412
    assert evidence.request("POST", "mailboxes", {"mailboxid": id, "name": "twice", "password": "x"}).status_code == 412
    assert evidence.request("PATCH", f"mailboxes({uuid.uuid4()})", {"password": "x"}, If_Match="*").status_code == 404
    targets = [{"mailboxid": str(uuid.uuid4()), "name": "new", "password": "x"}, {"mailboxid": id, "name": "twice", "password": "x"}]
    assert evidence.request("POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets}).status_code == 412
    assert passwords(evidence, mark) == []


def test_of_many_writers_at_once_one_sets_and_the_others_replace(evidence):
    id = evidence.create("mailboxes", {"name": "contended"})
    mark = newest(evidence)
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: evidence.request("PATCH", f"mailboxes({id})", {"password": f"p{n}"}).status_code, range(16)))
    assert answers == [204] * 16
    assert sorted(k for k, _, _ in passwords(evidence, mark)) == ["password replaced"] * 15 + ["password set"]


def test_who_changed_a_password_and_when_is_answered_in_sql(evidence):
    id = evidence.create("mailboxes", {"name": "audited", "password": SECRET})
    for value in ("another", None):
        assert evidence.request("PATCH", f"mailboxes({id})", {"password": value}).status_code == 204
    # A change by SQL has no person, so its entry in the audit names only the database role.
    other = evidence.create("mailboxes", {"name": "other", "password": SECRET})
    evidence.sql("UPDATE org_contoso.mailbox_cell SET password = NULL WHERE mailboxid = %s", [other])
    third, fourth, fifth = (evidence.create("mailboxes", {"name": name, "password": SECRET}) for name in ("third", "fourth", "fifth"))
    evidence.sql("DELETE FROM org_contoso.mailbox_cell WHERE mailboxid = %s", [third])

    def changes(record):
        rows = evidence.sql("SELECT useridname, databaserole, changedata FROM org_contoso.audit WHERE objectid = %s ORDER BY createdon", [record])
        return [(name, role, c["operation"]) for name, role, data in rows for c in json.loads(data)["changedAttributes"] if c["logicalName"] == "password"]

    assert changes(id) == [("# dev-admin", "fieldseal_service", operation) for operation in ("set", "replaced", "cleared")]
    superuser = evidence.sql("SELECT session_user::text")[0][0]
    for record in (other, third):
        assert changes(record) == [("# dev-admin", "fieldseal_service", "set"), (None, superuser, "cleared")]
    # The role of the entry is the one that signed in to the database, and no other that the session took on.
    evidence.sql("SET ROLE fieldseal_owner; UPDATE org_contoso.mailbox_cell SET password = NULL WHERE mailboxid = %s".replace("%s", f"'{fourth}'"))
    evidence.sql(f"SET SESSION AUTHORIZATION fieldseal_service; UPDATE org_contoso.mailbox_cell SET password = NULL WHERE mailboxid = '{fifth}'")
    assert changes(fourth)[1:] == [(None, superuser, "cleared")] and changes(fifth)[1:] == [(None, "fieldseal_service", "cleared")]
    # The password is in no entry of the audit.
    assert evidence.sql("SELECT count(*) FROM org_contoso.audit WHERE changedata LIKE %s", [f"%{SECRET}%"])[0][0] == 0


@pytest.mark.parametrize("entity_set, entity, attribute", ATTRIBUTES)
def test_a_password_that_is_deleted_with_its_record(evidence, entity_set, entity, attribute):
    """The audit's entry about the deletion says that there was a password, and who deleted it. There is no event of the password."""
    ids = {has_password: evidence.create(entity_set, {"name": "deleted", **({attribute: SECRET} if has_password else {})}) for has_password in (True, False)}
    mark = newest(evidence)
    for has_password, id in ids.items():
        assert evidence.request("DELETE", f"{entity_set}({id})").status_code == 204
        [(name, role, data)] = evidence.sql("SELECT useridname, databaserole, changedata FROM org_contoso.audit WHERE objectid = %s AND operation = 3", [id])
        [flag] = [c for c in json.loads(data)["changedAttributes"] if c["logicalName"] == f"is{attribute}set"]
        assert (name, role) == ("# dev-admin", "fieldseal_service")
        assert (flag["oldValue"], flag["newValue"]) == (has_password, None) and SECRET not in data
    assert passwords(evidence, mark) == [] and "passwords-lost" not in codes(evidence)


def test_a_killed_server_leaves_the_trace(own_service):
    own_service.key()
    mark = newest(own_service)
    with psycopg.connect(own_service.dev["postgres"]) as lock:
        # While this transaction locks the attested state, the service links no event into the chain.
        lock.execute("SELECT FROM config.attested_state FOR UPDATE")
        id = own_service.create("mailboxes", {"name": "killed", "password": SECRET})
        own_service.stop(signal.SIGKILL)
    assert own_service.sql("SELECT kind FROM org_contoso.unchained_event") == [("password set",)]
    assert passwords(own_service, mark) == [("password set", f"mailbox({id}).password", "client:dev-admin")]
    assert own_service.sql("SELECT kind FROM org_contoso.unchained_event") == [] and problems(own_service) == []


# Events that are not linked yet ---------------------------------------------------------------------------------------

INSERT = "INSERT INTO org_contoso.unchained_event (occurred_on, kind, outcome, actor, address, request_id, details, tag) "
COPIED = "occurred_on, kind, outcome, actor, address, request_id, details, tag"


def refusals(service, after):
    return [(e["actor"], e["outcome"], e["details"]) for e in exported(service, after) if e["kind"] == "event refused"]


@pytest.mark.parametrize("role", ["fieldseal_service", "fieldseal_owner"])
def test_a_forged_pending_event_is_recorded_as_refused(evidence, role):
    mark = newest(evidence)
    as_role(evidence, role, INSERT + "VALUES (now(), 'password replaced', 'succeeded', 'client:innocent', '192.0.2.1', 'r', 'mailbox(x).password', sha256('x'))")
    assert passwords(evidence, mark) == [] and problems(evidence) == []
    assert refusals(evidence, mark) == [("unknown", "refused", "password replaced, succeeded, by client:innocent: mailbox(x).password")]
    assert "events-refused" in codes(evidence)


@pytest.mark.parametrize("forgery", [
    "occurred_on + interval '1 microsecond', kind, outcome, actor, address, request_id, details, tag",
    "occurred_on, 'password cleared', outcome, actor, address, request_id, details, tag",
    "occurred_on, kind, outcome, 'client:innocent', address, request_id, details, tag",
    "occurred_on, kind, outcome, actor, '192.0.2.1', request_id, details, tag",
    "occurred_on, kind, outcome, actor, address, NULL, details, tag",
    "occurred_on, kind, outcome, actor, address, request_id, 'mailbox(x).password', tag",
    COPIED,
])
def test_a_pending_event_that_was_altered_or_copied_while_it_waited(evidence, forgery):
    mark = newest(evidence)
    with unlinked(evidence):
        id = evidence.create("mailboxes", {"name": "waits", "password": SECRET})
        as_role(evidence, "fieldseal_service", f"{INSERT} SELECT {forgery} FROM org_contoso.unchained_event")
    assert passwords(evidence, mark) == [("password set", f"mailbox({id}).password", "client:dev-admin")]
    assert len(refusals(evidence, mark)) == 1 and problems(evidence) == []


def test_a_pending_event_that_comes_again_after_it_was_linked(evidence):
    mark = newest(evidence)
    with unlinked(evidence):
        evidence.create("mailboxes", {"name": "replayed", "password": SECRET})
        saved = evidence.sql(f"SELECT {COPIED} FROM org_contoso.unchained_event")[0]
    assert len(passwords(evidence, mark)) == 1
    as_role(evidence, "fieldseal_service", INSERT + "VALUES (%s, %s, %s, %s, %s, %s, %s, %s)", saved)
    assert len(passwords(evidence, mark)) == 1 and len(refusals(evidence, mark)) == 1 and problems(evidence) == []


def test_nobody_takes_a_pending_event_away(evidence):
    mark = newest(evidence)
    with unlinked(evidence):
        evidence.create("mailboxes", {"name": "stays", "password": SECRET})
        for statement in ("DELETE FROM org_contoso.unchained_event", "UPDATE org_contoso.unchained_event SET actor = 'x'", "TRUNCATE org_contoso.unchained_event"):
            with pytest.raises(psycopg.Error) as error:
                as_role(evidence, "fieldseal_service", statement)
            assert error.value.sqlstate == "42501"
            with pytest.raises(psycopg.Error) as error:
                evidence.sql(statement)
            assert error.value.sqlstate == "FS007"
    assert len(passwords(evidence, mark)) == 1


# The chain ----------------------------------------------------------------------------------------------------------------

RECORDED = ["org_contoso.security_event", "config.attested_state", "config.event_archive", "config.event_checkpoint"]


@contextlib.contextmanager
def tampered(service, *statements, role=None):
    """Attacks the events with SQL, and restores them at the end. Events that the service recorded in the meantime are kept."""
    exported(service)
    # The service locks the attested state before it writes an event. So the saved rows belong to one moment, as do the restored rows.
    lock = "LOCK TABLE config.attested_state IN EXCLUSIVE MODE"
    kept = "; ".join(f"DROP TABLE IF EXISTS public.kept_{n}; CREATE TABLE public.kept_{n} AS TABLE {t}" for n, t in enumerate(RECORDED))
    service.sql(f"BEGIN; {lock}; {kept}; COMMIT")
    functions = service.sql(
        "SELECT pg_get_functiondef(p.oid) FROM pg_proc AS p WHERE pronamespace = 'org_contoso'::regnamespace "
        "AND proname IN ('security_event_hash', 'verify_security_events', 'chain_events', 'chain_security_event')")
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET fieldseal.maintenance = 'on'")
        if role:
            connection.execute(f"SET ROLE {role}")
        else:
            connection.execute("SET session_replication_role = replica; SET search_path = org_contoso, public")
        for statement in statements:
            connection.execute(statement)
    try:
        yield
    finally:
        with psycopg.connect(service.dev["postgres"]) as connection:
            connection.execute("SET fieldseal.maintenance = 'on'")
            connection.execute("SET session_replication_role = replica")
            connection.execute(lock)
            for (definition,) in functions:
                connection.execute(definition)
            end = "(SELECT max(security_event_id) FROM public.kept_0)"
            # If the service recorded events in the meantime, the attested state has a newer tag and is kept with these events.
            later = connection.execute("SELECT count(*) FROM config.attested_state AS a JOIN public.kept_1 AS k USING (organization_id) WHERE a.tag <> k.tag").fetchone()[0]
            connection.execute(f"DELETE FROM org_contoso.security_event WHERE security_event_id <= {end}" if later else "DELETE FROM org_contoso.security_event")
            connection.execute("INSERT INTO org_contoso.security_event SELECT * FROM public.kept_0")
            for n, table in enumerate(RECORDED[1:] if not later else RECORDED[2:], 1 if not later else 2):
                connection.execute(f"DELETE FROM {table}")
                connection.execute(f"INSERT INTO {table} SELECT * FROM public.kept_{n}")


NTH = "(SELECT security_event_id FROM security_event ORDER BY security_event_id OFFSET 2 LIMIT 1)"
RECHAIN = """DO $$ DECLARE e security_event; before bytea; BEGIN
    FOR e IN SELECT * FROM security_event ORDER BY security_event_id LOOP
        IF before IS NOT NULL THEN e.previous_hash := before; END IF;
        before := security_event_hash(e);
        UPDATE security_event SET previous_hash = e.previous_hash, hash = before WHERE security_event_id = e.security_event_id;
    END LOOP; END $$"""
SILENT = [
    "CREATE OR REPLACE FUNCTION org_contoso.security_event_hash(event org_contoso.security_event) RETURNS bytea LANGUAGE sql AS 'SELECT event.hash'",
    "CREATE OR REPLACE FUNCTION org_contoso.verify_security_events() RETURNS TABLE (security_event_id bigint, problem text) LANGUAGE sql AS 'SELECT 1, NULL WHERE false'",
]
CHANGED = f"UPDATE security_event SET actor = 'client:innocent' WHERE security_event_id = {NTH}"


@pytest.mark.parametrize("statements", [
    ["DELETE FROM security_event WHERE security_event_id = (SELECT max(security_event_id) FROM security_event)"],
    ["DELETE FROM security_event WHERE security_event_id > " + NTH],
    ["DELETE FROM security_event"],
    ["DELETE FROM security_event WHERE security_event_id = (SELECT min(security_event_id) FROM security_event)"],
    ["DELETE FROM security_event WHERE security_event_id < " + NTH, f"UPDATE security_event SET previous_hash = NULL WHERE security_event_id = {NTH}", RECHAIN],
    [f"DELETE FROM security_event WHERE security_event_id = {NTH}"],
    [f"DELETE FROM security_event WHERE security_event_id = {NTH}", RECHAIN],
    [CHANGED],
    [CHANGED, RECHAIN],
    [CHANGED, *SILENT],
    [f"UPDATE security_event SET occurred_on = occurred_on - interval '1 day' WHERE security_event_id = {NTH}", *SILENT],
    ["INSERT INTO security_event SELECT max(security_event_id) + 1, now(), 'key read', 'succeeded', 'client:innocent', NULL, NULL, 1, NULL, NULL, NULL, sha256('x') FROM security_event"],
    ["DELETE FROM security_event WHERE security_event_id = (SELECT max(security_event_id) FROM security_event)",
     "UPDATE config.attested_state SET events = events - 1, newest_event = newest_event - 1, head = (SELECT hash FROM security_event ORDER BY security_event_id DESC LIMIT 1)"],
    ["INSERT INTO security_event SELECT n, now(), 'key read', 'succeeded', 'client:innocent', NULL, NULL, 1, NULL, NULL, NULL, sha256('x') FROM unnest(ARRAY[0, -7]) AS n"],
    ["DELETE FROM security_event WHERE security_event_id > " + NTH, "DELETE FROM config.attested_state"],
    ["DELETE FROM security_event WHERE security_event_id <= " + NTH,
     "INSERT INTO config.event_archive SELECT a.organization_id, 3, e.security_event_id - 1, e.previous_hash, now(), a.kek_id, sha256('x') "
     "FROM config.attested_state AS a, (SELECT * FROM security_event ORDER BY security_event_id LIMIT 1) AS e"],
], ids=["newest cut", "tail cut", "all cut", "oldest cut", "head cut and chained anew", "one cut", "one cut and chained anew", "changed", "changed and chained anew",
        "changed and the functions replaced", "backdated and the functions replaced", "inserted", "inserted before the first", "tail cut with its length", "tail cut with the attested state",
        "head cut and said to be archived"])
def test_the_owner_changes_the_chain(evidence, statements):
    evidence.key()
    with tampered(evidence, *statements):
        assert problems(evidence) != []
        # Reading the key does not repair the chain: the service refuses the request, or links its event to the changed event.
        evidence.get("RetrieveDataEncryptionKey")
        assert problems(evidence) != [] and codes(evidence) & {"event-chain-broken", "event-chain-cut"}
    assert evidence.get("RetrieveDataEncryptionKey").status_code == 200 and problems(evidence) == []


@pytest.mark.parametrize("statements", [
    ["INSERT INTO org_contoso.security_event (kind, outcome, actor) VALUES ('key read', 'succeeded', 'client:innocent')"],
    ["INSERT INTO org_contoso.security_event (kind, outcome, actor) VALUES ('key read', 'succeeded', 'client:innocent')",
     "UPDATE config.attested_state SET events = events + 1, newest_event = newest_event + 1, head = (SELECT hash FROM org_contoso.security_event ORDER BY security_event_id DESC LIMIT 1)"],
    [INSERT + "VALUES (now(), 'password set', 'succeeded', 'client:innocent', NULL, NULL, 'x', sha256('x'))",
     "SELECT org_contoso.chain_events(ARRAY(SELECT unchained_event_id FROM org_contoso.unchained_event), '{f}', "
     "ARRAY(SELECT hash FROM org_contoso.security_event ORDER BY security_event_id DESC LIMIT 1), ARRAY[sha256('x')], (SELECT max(security_event_id) + 1 FROM org_contoso.security_event))"],
], ids=["inserted", "inserted with the length", "linked by chain_events"])
def test_the_service_role_forges_an_event(evidence, statements):
    with tampered(evidence, *statements, role="fieldseal_service"):
        assert problems(evidence) != []
        evidence.get("RetrieveDataEncryptionKey")
        assert problems(evidence) != [] and codes(evidence) & {"event-chain-broken", "event-chain-cut"}
    assert problems(evidence) == []


def test_a_function_that_loses_pending_events_is_noticed(own_service):
    own_service.key()
    mark = newest(own_service)
    own_service.sql(
        "SET fieldseal.maintenance = 'on'; "
        "CREATE OR REPLACE FUNCTION org_contoso.chain_events(ids bigint[], refused boolean[], previous_hashes bytea[], hashes bytea[], first_id bigint) RETURNS bigint "
        "LANGUAGE sql SECURITY DEFINER AS $$ SELECT set_config('fieldseal.evidence', 'move', true); DELETE FROM org_contoso.unchained_event; SELECT cardinality(ids)::bigint $$")
    own_service.create("mailboxes", {"name": "lost", "password": SECRET})
    assert passwords(own_service, mark) == [] and problems(own_service) != []
    assert codes(own_service) & {"event-chain-broken", "event-chain-cut"}


@pytest.mark.parametrize("function", [
    # The trigger stores a false hash, changes the event, or does not store it.
    "CREATE OR REPLACE FUNCTION org_contoso.chain_security_event() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
    "NEW.security_event_id := (SELECT max(security_event_id) + 1 FROM org_contoso.security_event); NEW.hash := sha256('x'); RETURN NEW; END $$",
    "CREATE OR REPLACE FUNCTION org_contoso.innocent() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.actor := 'client:innocent'; RETURN NEW; END $$; "
    "CREATE TRIGGER a_first BEFORE INSERT ON org_contoso.security_event FOR EACH ROW EXECUTE FUNCTION org_contoso.innocent()",
    "CREATE OR REPLACE FUNCTION org_contoso.nothing() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
    "CREATE TRIGGER a_first BEFORE INSERT ON org_contoso.security_event FOR EACH ROW EXECUTE FUNCTION org_contoso.nothing()",
], ids=["hash replaced", "actor replaced", "swallowed"])
def test_an_event_that_the_database_would_change_is_not_attested(evidence, function):
    evidence.key()
    count = len(exported(evidence))
    with tampered(evidence):
        evidence.sql(f"SET fieldseal.maintenance = 'on'; {function}")
        try:
            # The service refuses an action whose event can't be recorded.
            answer = evidence.get("RetrieveDataEncryptionKey")
            assert answer.status_code == 403 and "EncryptionKey" not in answer.json(), answer.text
        finally:
            evidence.sql("SET fieldseal.maintenance = 'on'; DROP TRIGGER IF EXISTS a_first ON org_contoso.security_event")
    assert problems(evidence) == [] and len(exported(evidence)) == count
    assert evidence.get("RetrieveDataEncryptionKey").status_code == 200 and problems(evidence) == []


# Checkpoints ----------------------------------------------------------------------------------------------------------------


def test_a_checkpoint_that_was_moved(evidence):
    evidence.key()
    assert problems(evidence) == [] and problems(evidence, "--from-checkpoint") == []
    behind = f"DELETE FROM security_event WHERE security_event_id = {NTH}"
    assert evidence.sql("SELECT count(*) FROM config.event_checkpoint") == [(1,)]
    # From a genuine checkpoint, the verification reads only later events. A verification of all events finds the missing one.
    with tampered(evidence, behind):
        assert problems(evidence, "--from-checkpoint") == [] and problems(evidence) != [] and codes(evidence) & {"event-chain-broken"}
    # The verification ignores a checkpoint that SQL wrote, and reports it.
    evidence.key()
    for moved in ("last_id = last_id + 1", "head = sha256('x')", "last_id = (SELECT max(security_event_id) FROM security_event), head = (SELECT hash FROM security_event ORDER BY security_event_id DESC LIMIT 1)"):
        with tampered(evidence, behind, f"UPDATE config.event_checkpoint SET {moved}"):
            assert any("checkpoint" in p for p in problems(evidence, "--from-checkpoint"))
    # Without a checkpoint, the verification reads all events.
    with tampered(evidence, behind, "DELETE FROM config.event_checkpoint"):
        assert problems(evidence, "--from-checkpoint") != []
    # SQL changed the event that the checkpoint names, after later events were recorded.
    assert problems(evidence) == []
    evidence.key()
    with tampered(evidence, "UPDATE security_event SET hash = sha256('x') WHERE security_event_id = (SELECT last_id FROM config.event_checkpoint)"):
        assert any("was verified before" in p for p in problems(evidence, "--from-checkpoint"))
    assert problems(evidence, "--from-checkpoint") == []


# Archives ---------------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def archived():
    """A deployment whose events are moved to archives."""
    with Deployment.made() as deployment:
        deployment.key()
        yield deployment


def archive(service, file, *arguments, before=None, **options):
    if before is None:
        before = service.sql("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")[0][0]
    return service.run("events", "archive", "--org", "contoso", "--before", before, "--to", str(file), *arguments, **options)


def verified_without_fieldseal(path):
    """Verifies an archive's chain in Python, only with what docs/operations.md says. Returns (first previous hash, last hash)."""
    lines = path.read_bytes().splitlines(keepends=True)
    assert json.loads(lines[-1])["sha256"] == hashlib.sha256(b"".join(lines[:-1])).hexdigest()
    header, events = json.loads(lines[0]), [json.loads(line) for line in lines[1:-1]]
    hash = bytes.fromhex(header["previousHash"] or "")
    for e in events:
        values = [e[name] for name in ("id", "microseconds", "kind", "outcome", "actor", "address", "requestId", "keyVersion", "fingerprint", "details")]
        hash = hashlib.sha256(hash + json.dumps(values, ensure_ascii=False).encode()).digest()
        assert hash.hex() == e["hash"], e
    assert [header["count"], header["first"], header["last"], header["hash"]] == [len(events), events[0]["id"], events[-1]["id"], hash.hex()]
    return header["previousHash"], hash.hex()


def test_old_events_are_moved_to_files_and_the_chain_goes_on(archived, tmp_path):
    archived.create("mailboxes", {"name": 'quote " back \\ slash ü 🔑', "password": SECRET})
    archived.run("client", "add", 'quote " \\ \u00fc \U0001f511', "--role", "Basic User", "--org", "contoso")
    before = exported(archived)
    first, second = tmp_path / "first.jsonl", tmp_path / "second.jsonl"
    archive(archived, first)
    assert first.stat().st_mode & 0o777 == 0o600 and not (tmp_path / "first.jsonl.partial").exists()
    left = exported(archived)
    assert len(left) == 2 and left[-1]["kind"] == "events archived" and str(len(before) - 1) in left[-1]["details"]
    assert problems(archived) == [] and archived.sql("SELECT * FROM org_contoso.verify_security_events()") == []
    # The server goes on recording. The second archive begins where the first one ends.
    for _ in range(3):
        archived.key()
    archive(archived, second)
    assert problems(archived, "--archive", str(first), str(second)) == [] and "event-chain-cut" not in codes(archived, "--deep")
    beginning, middle = verified_without_fieldseal(first)
    assert beginning is None and verified_without_fieldseal(second)[0] == middle
    assert [json.loads(line) for line in first.read_text().splitlines()[1:-1]] == before[:-1]

    # One of the two archives is missing, or one is named twice.
    assert any("missing" in p for p in problems(archived, "--archive", str(second)))
    assert any("missing" in p for p in problems(archived, "--archive", str(first)))
    assert problems(archived, "--archive", str(first), str(first), str(second)) != []

    # One archive was changed, and has the former digest or a new one.
    lines = second.read_bytes().splitlines(keepends=True)
    altered = tmp_path / "altered.jsonl"
    at = next(number for number, line in enumerate(lines) if b"succeeded" in line)
    for change in (lambda: lines[at].replace(b"succeeded", b"refused"), lambda: b"", lambda: lines[at] * 2):
        body = b"".join(lines[:at]) + change() + b"".join(lines[at + 1:-1])
        for seal in (lines[-1], json.dumps({**json.loads(lines[-1]), "sha256": hashlib.sha256(body).hexdigest()}).encode() + b"\n"):
            altered.write_bytes(body + seal)
            assert any("altered" in p for p in problems(archived, "--archive", str(first), str(altered))), (change, seal)
    for body in (b"", b"{}\n", b"".join(lines[:-1]), b"".join(lines)[:-20], b"\xff\x00\n" * 3):
        altered.write_bytes(body)
        assert any("altered" in p for p in problems(archived, "--archive", str(first), str(altered)))

    # SQL restores an archived event, or changes the row that says where the chain begins.
    columns = "security_event_id, occurred_on, kind, outcome, actor, address, request_id, key_version, fingerprint, details, previous_hash, hash"
    last = json.loads(lines[-2])
    put_back = (f"INSERT INTO security_event ({columns}) SELECT {last['id']}, to_timestamp({last['microseconds']} / 1e6), '{last['kind']}', '{last['outcome']}', "
                f"'{last['actor']}', NULL, NULL, NULL, NULL, NULL, '\\x{json.loads(lines[-3])['hash']}', '\\x{last['hash']}'")
    for attack in (put_back, "DELETE FROM config.event_archive", "UPDATE config.event_archive SET last_id = last_id - 1", "UPDATE config.event_archive SET events = events + 1",
                   "UPDATE config.event_archive SET head = sha256('x')"):
        with tampered(archived, attack):
            assert problems(archived) != [], attack
            archived.get("RetrieveDataEncryptionKey")
            assert problems(archived) != [] and codes(archived) & {"event-chain-broken", "event-chain-cut"}, attack
    assert problems(archived, "--archive", str(first), str(second)) == []


def test_an_older_beginning_is_not_accepted(archived, tmp_path):
    """SQL restores the row, with its genuine tag, that said before the last archive where the chain begins."""
    archived.key()
    archive(archived, tmp_path / "one.jsonl")
    archived.sql("DROP TABLE IF EXISTS public.old_beginning; CREATE TABLE public.old_beginning AS TABLE config.event_archive")
    archived.key()
    archive(archived, tmp_path / "two.jsonl")
    with tampered(archived, "DELETE FROM config.event_archive", "INSERT INTO config.event_archive SELECT * FROM public.old_beginning"):
        assert problems(archived) != []
    assert problems(archived) == []


def test_a_beginning_that_sql_wrote_hides_no_event(archived, tmp_path):
    """SQL deletes the first events, and changes the row that says where the chain begins, so that both agree."""
    for _ in range(3):
        archived.key()
    archive(archived, tmp_path / "one.jsonl")
    for _ in range(5):
        archived.key()
    assert problems(archived) == []
    with tampered(
        archived,
        "UPDATE config.event_archive AS a SET events = a.events + 2, last_id = e.security_event_id, head = e.hash, last_occurred_on = e.occurred_on "
        "FROM (SELECT * FROM security_event ORDER BY security_event_id OFFSET 1 LIMIT 1) AS e",
        "DELETE FROM security_event WHERE security_event_id <= (SELECT last_id FROM config.event_archive)",
    ):
        assert any("config.event_archive" in problem for problem in problems(archived)), problems(archived)
    assert problems(archived) == []


def test_what_archiving_refuses(archived, tmp_path):
    there = tmp_path / "there"
    there.write_text("precious")
    count = len(exported(archived))
    for arguments, message in [
        ((there,), "exists"), ((tmp_path / "none", "--audit"), None), ((tmp_path / "no" / "folder",), "can't be written"),
    ]:
        if message:
            result = archive(archived, *arguments, check=False)
            assert result.returncode and message in result.stderr, result.stderr
    result = archive(archived, tmp_path / "x", before="yesterday", check=False)
    assert result.returncode and "is not a date" in result.stderr
    result = archive(archived, tmp_path / "x", before="2001-01-01", check=False)
    assert result.returncode and "no security events before" in result.stderr
    assert there.read_text() == "precious" and list(tmp_path.iterdir()) == [there] and len(exported(archived)) == count
    # Neither the service's role nor the owner can remove events. For the owner, a trigger prevents it.
    for table in ("security_event", "audit"):
        for role, state in (("fieldseal_service", "42501"), ("fieldseal_owner", "FS007" if table == "security_event" else "FS013")):
            for statement in (f"DELETE FROM org_contoso.{table}", f"TRUNCATE org_contoso.{table}", f"SET fieldseal.evidence = 'move'; UPDATE org_contoso.{table} SET databaserole = 'x'"):
                if table == "security_event":
                    statement = statement.replace("databaserole", "actor")
                with pytest.raises(psycopg.Error) as error:
                    as_role(archived, role, statement)
                assert error.value.sqlstate == state, statement
    # A broken chain is not archived.
    archived.key()
    archived.key()
    with tampered(archived, "UPDATE security_event SET actor = 'x' WHERE security_event_id = (SELECT min(security_event_id) FROM security_event)"):
        result = archive(archived, tmp_path / "x", check=False)
        assert result.returncode and "broken at" in result.stderr and not (tmp_path / "x").exists()
    assert problems(archived) == []


def test_a_crash_between_the_file_and_the_database(archived, tmp_path):
    for _ in range(3):
        archived.key()
    before = exported(archived)
    file = tmp_path / "archive.jsonl"
    at = archived.sql("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")[0][0]
    with psycopg.connect(archived.dev["postgres"]) as lock:
        # The archiving waits here with the statement that deletes the events. By then the file is complete.
        lock.execute("SELECT FROM org_contoso.security_event ORDER BY security_event_id LIMIT 1 FOR UPDATE")
        process = subprocess.Popen(
            [PROGRAM, "events", "archive", "--org", "contoso", "--before", at, "--to", str(file)], env=archived.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        while not archived.sql("SELECT pid FROM pg_stat_activity WHERE query LIKE 'DELETE FROM%%security_event%%' AND wait_event_type = 'Lock'"):
            assert process.poll() is None, process.stderr.read()
        assert file.exists()
        process.send_signal(signal.SIGKILL)
        process.wait()
        archived.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE query LIKE 'DELETE FROM%%security_event%%' AND wait_event_type = 'Lock'")
    assert exported(archived) == before and problems(archived) == []
    # The events are still in the database, so the same command replaces the file.
    archive(archived, file, before=at)
    assert problems(archived) == [] and verified_without_fieldseal(file)
    # Now the file has the only copy of the events, so the command does not replace it.
    assert "exists" in archive(archived, file, before=at, check=False).stderr


def test_the_audit_is_moved_to_a_file(archived, tmp_path):
    id = archived.create("mailboxes", {"name": "old", "password": SECRET})
    file = tmp_path / "audit.jsonl"
    count = archived.sql("SELECT count(*) FROM org_contoso.audit")[0][0]
    archive(archived, file, "--audit")
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert lines[0]["content"] == "audit" and lines[0]["count"] == count == len(lines) - 2
    assert id in {line["objectid"] for line in lines[1:-1]} and archived.sql("SELECT count(*) FROM org_contoso.audit") == [(0,)]
    event = exported(archived)[-1]
    assert event["kind"] == "events archived" and lines[-1]["sha256"] in event["details"] and problems(archived) == []
    assert "no entries before" in archive(archived, tmp_path / "none", "--audit", check=False).stderr


# Exports ----------------------------------------------------------------------------------------------------------------------


def test_an_export_shows_later_that_an_older_state_was_restored(tmp_path):
    cluster = Cluster()
    try:
        cluster.run("key", "show")
        for n, table in enumerate(RECORDED[:2]):
            cluster.sql(f"CREATE TABLE public.older_{n} AS TABLE {table}")
        cluster.run("key", "show")
        shipped = tmp_path / "shipped.jsonl"
        shipped.write_text(cluster.run("events", "export").stdout)
        assert set(json.loads(shipped.read_text().splitlines()[-1])["attested"]) >= {"revision", "events", "newest", "head", "tag"}
        cluster.run("key", "show")
        assert cluster.run("events", "verify", "--against", str(shipped)).returncode == 0
        # While no server runs, SQL restores the former events and attested state with their genuine tags.
        for n, table in enumerate(RECORDED[:2]):
            cluster.sql(f"SET session_replication_role = replica; DELETE FROM {table}; INSERT INTO {table} SELECT * FROM public.older_{n}")
        assert cluster.run("events", "verify").returncode == 0
        found = cluster.run("events", "verify", "--against", str(shipped), check=False)
        assert found.returncode == 1 and "older state was restored" in found.stdout
        # The restored chain now has as many events as the export. The difference is still found.
        for _ in range(3):
            cluster.run("key", "show")
        assert "older state was restored" in cluster.run("events", "verify", "--against", str(shipped), check=False).stdout
        # Files that are not exports are refused.
        for line in ("{}", '{"attested": {}}', "not json"):
            shipped.write_text(line + "\n")
            refused = cluster.run("events", "verify", "--against", str(shipped), check=False)
            assert refused.returncode and "whole" not in refused.stdout and refused.stderr
    finally:
        cluster.remove()


def test_the_console_exports_and_pages_through_events(evidence):
    session, pages = visitor(evidence)
    lines = [json.loads(line) for line in session.get(f"{pages}/events.jsonl").text.splitlines()]
    assert lines[:-1] == exported(evidence)[:len(lines) - 1] and "attested" in lines[-1]
    assert requests.get(f"{pages}/events.jsonl", verify=evidence.dev["caFile"], allow_redirects=False).status_code == 303
    first = session.get(f"{pages}/events", params={"before": "3"}).text
    assert first.count('<summary class="line">') == 2


@pytest.mark.parametrize("lie, mend", [
    ("ALTER TABLE org_contoso.security_event ALTER occurred_on SET DEFAULT '2001-01-01'",
     "ALTER TABLE org_contoso.security_event ALTER occurred_on SET DEFAULT clock_timestamp()"),
    ("ALTER TABLE org_contoso.security_event ALTER occurred_on SET DEFAULT clock_timestamp() + interval '1 hour'",
     "ALTER TABLE org_contoso.security_event ALTER occurred_on SET DEFAULT clock_timestamp()"),
    ("CREATE FUNCTION public.before() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN NEW.occurred_on := '2001-01-01'; RETURN NEW; END $$; "
     "CREATE TRIGGER a_lie BEFORE INSERT ON org_contoso.security_event FOR EACH ROW EXECUTE FUNCTION public.before()",
     "DROP TRIGGER a_lie ON org_contoso.security_event; DROP FUNCTION public.before()"),
])
def test_the_database_does_not_say_when_an_event_was(evidence, lie, mend):
    """The owner of the database replaces the functions that tell the time. The service records no event, and the doctor reports the replacement."""
    before = newest(evidence)
    evidence.sql(f"SET fieldseal.maintenance = 'on'; {lie}")
    try:
        answer = evidence.get("RetrieveDataEncryptionKey()")
        assert answer.status_code == 403 and "was replaced" in answer.text
        assert codes(evidence) & {"object-changed", "foreign-object"}
    finally:
        evidence.sql(f"SET fieldseal.maintenance = 'on'; {mend}")
    assert evidence.get("RetrieveDataEncryptionKey()").status_code == 200
    after = [e for e in exported(evidence) if e["id"] > before]
    assert after and all(e["occurredOn"] > "2026" for e in after) and problems(evidence) == []
