"""What the response to a write says if the connection to PostgreSQL breaks, or PostgreSQL rolls the transaction back."""

import json
import re
import threading
import uuid

import pytest
from cluster import Cluster
from server import Server
from waiting import until

UNKNOWN = "0x80044150"


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(keys={"patienceSeconds": 3})
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def server(cluster):
    """A server whose connections to PostgreSQL go through the proxy."""
    server = Server(cluster, "proxied")
    try:
        yield server
    finally:
        server.stop()


def struck(server, action, part, method, path, body=None, headers={}, within='"mailbox"'):
    """Sends a request, and makes the proxy interrupt the statement that contains `part`. For COMMIT, the transaction must also have a statement with
    `within`."""
    proxy = server.cluster.proxy
    # The text of BEGIN contains "READ COMMITTED", so COMMIT is compared as a whole statement.
    if part == "COMMIT":
        proxy.reset(lambda _, sql: action if sql == part else None, within=within)
    else:
        proxy.reset(lambda _, sql: action if part in sql else None)
    response = server.request(method, path, body, headers)
    assert proxy.struck, proxy.statements
    proxy.reset()
    return response


def named(cluster, name):
    return [id for (id,) in cluster.sql("SELECT mailboxid::text FROM mailbox WHERE name = %s", [name])]


def created(server, name=None, **values):
    id = str(uuid.uuid4())
    response = server.request("POST", "mailboxes", {"mailboxid": id, "name": name or id, **values})
    assert response.status_code == 204, response.text
    return id


def is_told_to_try_again(response):
    assert response.status_code == 503, response.text
    assert int(response.headers["Retry-After"]) > 0
    assert response.json()["error"]["code"] == "0x80040216"


def is_unknown(response):
    assert response.status_code == 500, response.text
    assert response.json()["error"]["code"] == UNKNOWN
    # With Retry-After, a client would repeat the request automatically, and could write twice.
    assert "Retry-After" not in response.headers
    assert "Nothing was changed" not in response.text and "not known" in response.text


@pytest.mark.parametrize("action", ["lose answer", "cut sent", "cut after"])
@pytest.mark.parametrize("has_id", [False, True], ids=["id of the server", "id of the client"])
@pytest.mark.parametrize("warm", [False, True], ids=["first request", "shared connection"])
def test_a_create_whose_answer_is_lost_is_looked_up(cluster, server, action, has_id, warm):
    if warm:
        created(server)
    name = str(uuid.uuid4())
    body = {"name": name, "password": "s3cret", **({"mailboxid": name} if has_id else {})}
    response = struck(server, action, 'INSERT INTO "org_contoso"."mailbox"', "POST", "mailboxes", body)
    found = named(cluster, name)
    if response.status_code == 204:
        assert found == [re.search(r"\(([0-9a-f-]{36})\)$", response.headers["OData-EntityId"]).group(1)]
        assert cluster.opened_cells()[f"mailbox({found[0]}).password"] == "s3cret"
        version = response.headers["ETag"]
        changed = server.request("PATCH", f"mailboxes({found[0]})", {"name": name}, {"If-Match": version})
        assert changed.status_code == 204, changed.text
    else:
        # PostgreSQL received only a part of the message.
        assert action != "lose answer"
        is_told_to_try_again(response)
        assert found == []


def test_a_create_that_never_arrived_is_told_to_try_again(cluster, server):
    name = str(uuid.uuid4())
    response = struck(server, "cut before", 'INSERT INTO "org_contoso"."mailbox"', "POST", "mailboxes", {"name": name})
    is_told_to_try_again(response)
    assert named(cluster, name) == []
    assert server.request("POST", "mailboxes", {"name": name}).status_code == 204
    assert len(named(cluster, name)) == 1


def test_a_create_of_an_id_that_was_there_before_is_not_taken_for_done(cluster, server):
    """The id belongs to a record that another client created an hour ago. Finding the record must not count as this request's success."""
    id = created(server, "of an hour ago")
    cluster.sql("UPDATE mailbox SET createdon = createdon - interval '1 hour' WHERE mailboxid = %s", [id])
    response = struck(
        server, "terminate before", 'INSERT INTO "org_contoso"."mailbox"', "POST", "mailboxes", {"mailboxid": id, "name": "new"})
    is_told_to_try_again(response)
    assert cluster.sql("SELECT name FROM mailbox WHERE mailboxid = %s", [id]) == [("of an hour ago",)]


def test_a_commit_that_comes_after_the_connection_was_lost_is_waited_for(cluster, server):
    import psycopg

    created(server)
    name, answers = str(uuid.uuid4()), []
    with psycopg.connect(cluster.superuser) as blocker:
        blocker.execute("LOCK TABLE org_contoso.mailbox IN SHARE MODE")
        # The statement waits for a lock for more than 20 ms, so it leaves the shared connection and runs on its own connection.
        body = {"name": name, "ownerid@odata.bind": f"/systemusers({server.request('GET', 'WhoAmI()').json()['UserId']})"}
        thread = threading.Thread(
            target=lambda: answers.append(struck(
                server, "cut sent", 'INSERT INTO "org_contoso"."mailbox"', "POST", "mailboxes", body)))
        thread.start()
        waits = "SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE 'INSERT INTO %mailbox%'"
        until(lambda: cluster.sql(waits) or not thread.is_alive())
        looks = "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%AS process WHERE process.pid%' AND pid <> pg_backend_pid()"
        until(lambda: cluster.sql(looks) or not thread.is_alive())
        blocker.rollback()
    thread.join()
    assert answers[0].status_code == 204, answers[0].text
    assert len(named(cluster, name)) == 1


def test_an_update_whose_answer_is_lost_is_of_an_unknown_outcome_and_says_so(cluster, server):
    id = created(server)
    is_unknown(struck(server, "lose answer", 'UPDATE "org_contoso"."mailbox"', "PATCH", f"mailboxes({id})", {"name": "changed"}))
    assert cluster.sql("SELECT name FROM mailbox WHERE mailboxid = %s", [id]) == [("changed",)]


def test_an_update_that_never_arrived_is_told_to_try_again(cluster, server):
    id = created(server)
    cluster.sql("UPDATE mailbox SET modifiedon = modifiedon - interval '1 hour' WHERE mailboxid = %s", [id])
    etag = server.request("GET", f"mailboxes({id})?$select=name").headers["ETag"]
    for headers in ({}, {"If-Match": etag}):
        is_told_to_try_again(
            struck(server, "cut before", 'UPDATE "org_contoso"."mailbox"', "PATCH", f"mailboxes({id})", {"name": "changed"}, headers))
    assert cluster.sql("SELECT name FROM mailbox WHERE mailboxid = %s", [id]) == [(id,)]


def test_a_delete_whose_answer_is_lost_is_looked_up(cluster, server):
    id = created(server)
    # Deleting a mailbox also clears lookups to it, so the delete is a transaction. It is done only if its COMMIT was received.
    response = struck(server, "lose answer", "COMMIT", "DELETE", f"mailboxes({id})", within='DELETE FROM "org_contoso"."mailbox"')
    assert response.status_code == 204, response.text
    other = created(server)
    is_told_to_try_again(struck(server, "lose answer", 'DELETE FROM "org_contoso"."mailbox"', "DELETE", f"mailboxes({other})"))
    is_told_to_try_again(struck(server, "cut before", 'DELETE FROM "org_contoso"."mailbox"', "DELETE", f"mailboxes({other})"))
    assert cluster.sql("SELECT mailboxid::text FROM mailbox WHERE mailboxid IN (%s, %s)", [id, other]) == [(other,)]


@pytest.mark.parametrize("action", ["lose answer", "cut before"])
def test_many_creates_whose_commit_is_lost(cluster, server, action):
    name = str(uuid.uuid4())
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "name": name, "password": "p"} for _ in range(3)]
    response = struck(server, action, "COMMIT", "POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    if action == "lose answer":
        assert response.status_code == 200, response.text
        assert sorted(response.json()["Ids"]) == sorted(named(cluster, name)) != []
    else:
        is_told_to_try_again(response)
        assert named(cluster, name) == []


@pytest.mark.parametrize("action", ["lose answer", "cut before"])
def test_many_updates_whose_commit_is_lost_are_told_by_their_versions(cluster, server, action):
    ids = [created(server) for _ in range(3)]
    cluster.sql("UPDATE mailbox SET modifiedon = modifiedon - interval '1 hour' WHERE mailboxid::text = ANY(%s)", [ids])
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "mailboxid": id, "name": "many"} for id in ids]
    response = struck(server, action, "COMMIT", "POST", "mailboxes/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": targets})
    changed = cluster.sql("SELECT count(*) FROM mailbox WHERE name = 'many' AND mailboxid::text = ANY(%s)", [ids])[0][0]
    if action == "lose answer":
        assert response.status_code == 204 and changed == 3, response.text
    else:
        assert changed == 0 and response.status_code in (500, 503), response.text
        assert "Nothing was changed" not in response.text or response.status_code == 503


def test_a_change_set_whose_commit_is_lost(cluster, server):
    name = str(uuid.uuid4())
    body = {"requests": [
        {"id": str(n), "atomicityGroup": "g", "method": "POST", "url": "mailboxes", "body": {"name": name},
         "headers": {"Content-Type": "application/json"}} for n in range(2)]}
    response = struck(server, "lose answer", "COMMIT", "POST", "$batch", body)
    answers = response.json()["responses"]
    assert [answer["status"] for answer in answers] == [204, 204], answers
    assert len(named(cluster, name)) == 2


def test_a_record_is_not_said_to_be_missing_when_reading_it_back_fails(cluster, server):
    name = str(uuid.uuid4())
    created(server)
    response = struck(
        server, "cut before", " FROM \"org_contoso\".\"mailbox\" AS", "POST", "mailboxes",
        {"name": name}, {"Prefer": "return=representation"})
    assert response.status_code in (201, 204), response.text
    assert re.search(r"\(([0-9a-f-]{36})\)$", response.headers["OData-EntityId"]).group(1) == named(cluster, name)[0]
    assert len(named(cluster, name)) == 1


def test_other_writes_are_of_an_unknown_outcome_too(cluster, server):
    """The outcome is also unknown if the response is lost when a record is shared, or in a transaction of a command."""
    id = created(server)
    [(user,)] = cluster.sql("SELECT systemuserid::text FROM systemuser LIMIT 1")
    is_unknown(struck(
        server, "lose answer", "COMMIT", "POST", "GrantAccess",
        {"Target": {"mailboxid": id, "@odata.type": "Microsoft.Dynamics.CRM.mailbox"},
         "PrincipalAccess": {"Principal": {"systemuserid": user, "@odata.type": "Microsoft.Dynamics.CRM.systemuser"},
                             "AccessMask": "ReadAccess"}}, within='"principal_access"'))
    cluster.proxy.reset(lambda _, sql: "lose answer" if sql == "COMMIT" else None, within="config.api_client")
    result = cluster.run("client", "add", "twin", "--org", "contoso", "--role", "Basic User", settings="proxied", check=False)
    cluster.proxy.reset()
    assert result.returncode == 1 and "not known" in result.stderr and "Check before" in result.stderr, result.stderr
    assert "twin" in cluster.run("client", "list", "--org", "contoso").stdout


@pytest.mark.parametrize("state", ["40001", "40P01"])
@pytest.mark.parametrize("warm", [False, True], ids=["first request", "shared connection"])
def test_what_postgresql_took_back_is_done_again(cluster, server, state, warm):
    if warm:
        created(server)
        created(server)
    name = str(uuid.uuid4())
    response = struck(server, f"fail {state}", 'INSERT INTO "org_contoso"."mailbox"', "POST", "mailboxes", {"name": name})
    assert response.status_code == 204, response.text
    assert len(named(cluster, name)) == 1


def test_a_conflict_that_lasts_is_told_to_try_again(cluster, server):
    cluster.sql(
        "CREATE FUNCTION public.conflict() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN IF NEW.name = 'conflict' THEN RAISE EXCEPTION 'no' USING ERRCODE = '40001'; END IF; RETURN NEW; END $$")
    cluster.sql("CREATE TRIGGER conflict BEFORE INSERT ON mailbox FOR EACH ROW EXECUTE FUNCTION public.conflict()")
    try:
        is_told_to_try_again(server.request("POST", "mailboxes", {"name": "conflict"}))
        targets = [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "name": name} for name in ("fine", "conflict")]
        is_told_to_try_again(
            server.request("POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets}))
        assert named(cluster, "fine") == []
        assert server.request("POST", "mailboxes", {"name": "fine"}).status_code == 204
    finally:
        cluster.sql("DROP TRIGGER conflict ON mailbox")


def test_updates_of_the_same_records_in_opposite_orders_all_end(cluster, server):
    ids = [created(server) for _ in range(40)]
    statuses = []

    def update(order):
        for _ in range(3):
            targets = [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "mailboxid": id, "name": "n"} for id in order]
            response = server.request("POST", "mailboxes/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": targets})
            statuses.append((response.status_code, response.headers.get("Retry-After")))

    threads = [threading.Thread(target=update, args=(ids if n % 2 else ids[::-1],)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(statuses) == 12
    assert all(status == 204 or status == 503 and retry for status, retry in statuses), statuses
    assert sum(status == 204 for status, _ in statuses) >= 8, statuses


# Key changes


def events(cluster, kind):
    return cluster.sql("SELECT outcome, details FROM security_event WHERE kind = %s ORDER BY security_event_id", [kind])


@pytest.mark.parametrize("action, statement", [
    ("fail 53100", "finish_generation"), ("terminate before", "finish_generation"), ("fail 53100", "announce_change"),
    ("cut before", "COMMIT"),
])
def test_every_failed_change_of_the_key_is_recorded(cluster, server, action, statement):
    before, version = events(cluster, "key changed"), cluster.key_version()
    def strike(_, sql):
        return action if sql == statement or statement != "COMMIT" and statement in sql else None

    result = cluster.change_through_proxy(strike)
    assert result.returncode == 1 and cluster.key_version() == version, result.stderr
    new = events(cluster, "key changed")[len(before):]
    assert [outcome for outcome, _ in new] == ["failed"] and new[0][1], new
    assert cluster.leftovers() == []


def test_a_change_that_was_killed_is_recorded_by_the_next_sweep(cluster):
    before = len(events(cluster, "key changed"))
    result = cluster.change_through_proxy(lambda _, sql: "kill before" if "finish_generation" in sql else None)
    assert result.returncode == -9
    assert json.loads(cluster.run("key", "change", "--json").stdout)["keyVersion"] > 1
    new = events(cluster, "key changed")[before:]
    assert [outcome for outcome, _ in new] == ["failed", "succeeded"], new
    assert "without reporting a result" in new[0][1]


def test_a_rehearsal_is_recorded_however_it_ends(cluster):
    before = len(events(cluster, "key change rehearsed"))
    changes = len(events(cluster, "key changed"))
    cluster.run("key", "rehearse")
    cluster.proxy.reset(lambda _, sql: "terminate before" if "finish_generation" in sql else None)
    failed = cluster.run("key", "rehearse", settings="proxied", check=False)
    cluster.proxy.reset()
    assert failed.returncode == 1
    new = events(cluster, "key change rehearsed")[before:]
    assert [outcome for outcome, _ in new] == ["succeeded", "failed"], new
    assert len(events(cluster, "key changed")) == changes


def test_cells_go_to_quarantine_in_few_statements_and_before_writers_wait(cluster):
    values = cluster.fill(400)
    cluster.sql("UPDATE mailbox SET ispasswordset = true WHERE mailboxid IN (SELECT mailboxid FROM mailbox_cell)")
    cluster.sql("UPDATE mailbox_cell SET password = set_byte(password, 30, get_byte(password, 30) # 1) WHERE password IS NOT NULL")
    damaged = cluster.sql("SELECT count(*) FROM mailbox_cell WHERE password IS NOT NULL")[0][0]
    assert damaged >= 400
    cluster.proxy.reset()
    result = cluster.run("key", "change", "--skip-unreadable", stdin="quarantine\n", settings="proxied")
    assert result.stdout.count("moved to quarantine") == damaged
    moves = [n for n, sql in enumerate(cluster.proxy.statements) if 'INSERT INTO "org_contoso"."quarantined_cell"' in sql]
    locks = [n for n, sql in enumerate(cluster.proxy.statements) if "lock_generations" in sql]
    # The statement that moves cells is sent once to prepare it and once to execute it.
    assert 0 < len(moves) <= 4 and max(moves) < min(locks), (moves, locks)
    assert cluster.sql("SELECT count(*) FROM quarantined_cell") == [(damaged,)]
    assert cluster.sql("SELECT count(*) FROM mailbox WHERE ispasswordset") == [(0,)]
    assert values and cluster.run("verify").returncode == 0
