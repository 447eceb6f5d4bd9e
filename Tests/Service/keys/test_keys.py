"""The three messages about the key, tested with each row of the table of their conditions."""

import concurrent.futures
import json
import signal
import threading
import time
import uuid

import cell_reader
import psycopg
import pytest
import requests

from cluster import seal
from service import PATIENCE, refused

KEY = "Correct-horse-battery-1"


def test_the_three_messages(own_service):
    service = own_service
    assert service.get("IsDataEncryptionActive()").json()["IsActive"] is True
    first = service.get("RetrieveDataEncryptionKey()")
    assert first.headers["Cache-Control"] == "no-store"
    generated = first.json()["EncryptionKey"]
    before = service.opened_cells(generated)
    assert {address.split("(")[0] + address.split(")")[1] for address in before} == {
        "emailserverprofile.incomingpassword", "emailserverprofile.outgoingpassword", "mailbox.password", "queue.emailpassword",
        "usersettings.emailpassword",
    }
    tables = "SELECT count(*) FROM pg_class WHERE relname ~ '_cell_k1$'"
    assert service.sql(tables) == [(4,)]
    assert service.set_key(KEY).status_code == 204
    assert service.key() == KEY
    # All cells of the five attributes have their former values under the new key. The tables of the former key version are dropped.
    after = service.opened_cells(KEY)
    assert {a: s for a, (_, s) in after.items()} == {a: s for a, (_, s) in before.items()}
    assert {v for v, _ in before.values()} == {1} and {v for v, _ in after.values()} == {2}
    with pytest.raises(cell_reader.DoesNotOpen):
        service.opened_cells(generated)
    assert service.sql(tables) == [(0,)]
    events = service.sql("SELECT kind, outcome, actor, address IS NOT NULL FROM org_contoso.security_event ORDER BY 1 DESC")
    assert ("key read", "succeeded", "client:dev-admin", True) in events
    assert ("key changed", "succeeded", "client:dev-admin", True) in events
    history = service.json("key", "history")
    assert [(h["keyVersion"], h["origin"], h["retiredOn"] is None) for h in history] == [(2, "chosen", True), (1, "generated", False)]
    assert history[0]["cells"] == len(after) and history[0]["createdBy"] == "client:dev-admin"
    assert service.sql("SELECT state, key_version, origin FROM config.encryption_status") == [("active", 2, "chosen")]


@pytest.mark.parametrize(
    "key, part",
    [
        ("", "empty"), ("Short-1", "fewer than 10"), ("x" * 99 + "-1", "more than 100"), ("No-numeral-here", "no numeral"),
        ("123456789-0", "no letter"), ("NoSymbol12345", "no symbol"), ("White space-1", "white space"), ("Tab\there-12345", "white space"),
    ],
)
def test_a_weak_key_is_refused_with_the_part_that_is_weak(service, key, part):
    message = refused(service.set_key(key), 400, "0x80048528")
    assert part in message and (not key or key not in message)


def test_activation_of_an_active_organization_is_refused_also_with_the_right_key(service):
    refused(service.set_key(service.key(), change=False), 400, "0x80048525")
    refused(service.set_key("Another-key-1", change=False), 400, "0x80048525")


@pytest.mark.parametrize(
    "body",
    [
        {}, {"EncryptionKey": KEY}, {"ChangeEncryptionKey": True}, {"EncryptionKey": 5, "ChangeEncryptionKey": True},
        {"EncryptionKey": KEY, "ChangeEncryptionKey": "true"}, {"EncryptionKey": KEY, "ChangeEncryptionKey": True, "Extra": 1}, [],
    ],
)
def test_a_malformed_call_is_refused(service, body):
    message = refused(service.request("POST", "SetDataEncryptionKey", body), 400, "0x80048D19")
    assert KEY not in message


@pytest.mark.parametrize("client", ["user", "router"])
def test_only_a_system_administrator_may(service, client):
    refused(service.get("IsDataEncryptionActive", client=client), 403, "0x80040220")
    refused(service.get("RetrieveDataEncryptionKey", client=client), 403, "0x80040220")
    refused(service.set_key(KEY, client=client), 403, "0x80040220")


def test_not_over_plain_http(service):
    for method, path in [("GET", "IsDataEncryptionActive()"), ("GET", "RetrieveDataEncryptionKey()"), ("POST", "SetDataEncryptionKey")]:
        response = requests.request(
            method, f"{service.dev['httpURL']}/contoso/api/data/v9.2/{path}", json={}, timeout=PATIENCE, allow_redirects=False,
            headers={"Authorization": "Bearer x"})
        refused(response, 403, "0x8004852C")


def test_activation_after_config_was_lost(own_service):
    service = own_service
    key = service.key()
    before = service.opened_cells(key)
    mailbox = next(a for a in before if a.startswith("mailbox"))[8:44]
    service.sql("DROP SCHEMA config CASCADE")
    # Without the schema `config`, the service refuses each request and changes nothing.
    assert service.get(f"mailboxes({mailbox})").status_code in (401, 403, 404, 500, 503)
    service.stop()
    service.start()
    assert service.run("org", "attach", "contoso").stdout.startswith("Attached contoso. Encryption: key required.")
    # The clients were in `config`, so the test adds a new one.
    client = service.json("client", "add", "after", "--role", "System Administrator", "--org", "contoso")
    service.dev["clients"]["admin"] = {"clientId": client["clientId"], "clientSecret": client["clientSecret"]}
    assert service.is_active() is False
    status = service.json("key", "status")
    assert status["state"] == "key required" and status["keyVersion"] == 1
    assert service.get(f"mailboxes({mailbox})").json()["ispasswordset"] is True
    assert service.request("PATCH", f"mailboxes({mailbox})", {"name": "plain"}).status_code == 204
    refused(service.request("PATCH", f"mailboxes({mailbox})", {"password": "x"}), 409, "0x8004852E")
    refused(service.request("PATCH", f"mailboxes({mailbox})", {"password": None}), 409, "0x8004852E")
    refused(service.request("POST", "mailboxes", {"name": "box", "password": "x"}), 409, "0x8004852E")
    refused(service.get("RetrieveDataEncryptionKey"), 409, "0x8004852E")
    refused(service.set_key(KEY, change=True), 400, "0x80048527")
    message = refused(service.set_key("Wrong-key-12345", change=False), 400, "0x8004852B")
    assert status["fingerprint"] in message and "Wrong-key" not in message
    assert service.set_key(key, change=False).status_code == 204
    assert service.is_active() is True
    assert service.opened_cells() == before
    assert service.request("PATCH", f"mailboxes({mailbox})", {"password": "x"}).status_code == 204
    assert service.set_key(KEY).status_code == 204
    assert service.run("verify").returncode == 0


def test_eight_changes_at_once_and_what_they_leave(own_service):
    service = own_service
    service.token()
    values = {a: s for a, (_, s) in service.opened_cells().items()}
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        keys = [f"Key-number-{n}" for n in range(8)]
        responses = list(pool.map(service.set_key, keys))
    happened = [key for key, response in zip(keys, responses) if response.status_code == 204]
    assert happened
    for response in responses:
        if response.status_code != 204:
            refused(response, 429, "0x8004852A")
            assert int(response.headers["Retry-After"]) > 0
    assert service.key() in happened
    cells = service.opened_cells()
    assert {a: s for a, (_, s) in cells.items()} == values
    assert {v for v, _ in cells.values()} == {1 + len(happened)}


def test_writers_through_five_changes_lose_no_acknowledged_write(own_service):
    service = own_service
    service.token()
    ids = [service.create("mailboxes", {"name": "w", "password": "start"}) for _ in range(8)]
    stop, last, failures = threading.Event(), {}, []

    def write(number):
        session = requests.Session()
        # Without this, `requests` would prefer CA files that environment variables name.
        session.trust_env, session.verify = False, service.dev["caFile"]
        session.headers["Authorization"] = f"Bearer {service.token()}"
        count = 0
        while not stop.is_set():
            count += 1
            id, value = ids[number * 2 + count % 2], f"writer {number} value {count}"
            response = session.patch(f"{service.api}/mailboxes({id})", json={"password": value}, headers={"If-Match": "*"})
            if response.status_code == 204:
                last[id] = value
            else:
                failures.append(response.text)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for number in range(5):
        assert service.set_key(f"Change-number-{number}").status_code == 204
    stop.set()
    for thread in threads:
        thread.join()
    assert failures == [] and len(last) == 8
    cells = service.opened_cells()
    assert {id: cells[f"mailbox({id}).password"][1] for id in ids} == last
    assert {v for v, _ in cells.values()} == {6}


def test_a_client_that_hangs_up_does_not_stop_a_change(own_service):
    service = own_service
    service.token()
    fill(service, 20_000)
    with pytest.raises(requests.exceptions.Timeout):
        service.set_key(KEY, timeout=(5, 0.05))
    deadline = time.monotonic() + PATIENCE
    while service.json("key", "status")["keyVersion"] != 2:
        assert time.monotonic() < deadline
        time.sleep(0.2)
    assert service.key() == KEY
    assert service.run("verify").returncode == 0


@pytest.mark.parametrize("delay", [0.02, 0.15, 0.3, 0.5, 0.8])
def test_a_kill_during_a_change_leaves_the_old_key_or_the_new_one(own_service, delay):
    service = own_service
    old = service.key()
    fill(service, 30_000)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(attempt(lambda: service.set_key(KEY).status_code)))
    thread.start()
    time.sleep(delay)
    service.stop(signal.SIGKILL)
    thread.join()
    service.start()
    key = service.key()
    assert key in (old, KEY)
    if outcome == [204]:
        assert key == KEY
    report = service.json("verify")
    assert report["bad"] == [] and report["cells"] > 30_000
    # The start of the service dropped the tables of the killed change: each of the four tables of cells has one generation.
    assert service.sql("SELECT count(*) FROM pg_class WHERE relname ~ '_cell_k[0-9]+$' AND relkind = 'r'") == [(4,)]
    assert service.set_key("And-again-12345").status_code == 204
    assert service.run("verify").returncode == 0


def test_postgres_stopped_at_once_during_a_change(own_service):
    service = own_service
    old = service.key()
    fill(service, 30_000)
    outcome = []
    thread = threading.Thread(target=lambda: outcome.append(attempt(lambda: service.set_key(KEY).status_code)))
    thread.start()
    time.sleep(0.3)
    service.stop_postgres(signal.SIGQUIT)
    thread.join()
    service.stop()
    service.start()
    assert service.key() in (old, KEY)
    if outcome == [204]:
        assert service.key() == KEY
    assert service.run("verify").returncode == 0


def test_a_damaged_cell_is_named_and_everything_else_works(own_service):
    service = own_service
    rows = service.sql("SELECT mailboxid::text FROM org_contoso.mailbox_cell ORDER BY 1")
    flipped, cut, moved, source = [id for (id,) in rows[:4]]
    update = "UPDATE org_contoso.mailbox_cell SET password = {} WHERE mailboxid = %s"
    service.sql(update.format("set_byte(password, 40, get_byte(password, 40) # 128)"), [flipped])
    service.sql(update.format("substring(password FROM 1 FOR length(password) - 16) || decode(repeat('00', 16), 'hex')"), [cut])
    service.sql(
        update.format("(SELECT password FROM org_contoso.mailbox_cell WHERE mailboxid = %s)"), [source, moved])
    for id in (flipped, cut, moved):
        record = service.get(f"mailboxes({id})").json()
        assert record["password"] is None and record["ispasswordset"] is True
    result = service.run("verify", "--json", check=False)
    assert result.returncode == 1
    bad = {cell["address"] for cell in json.loads(result.stdout)["bad"]}
    assert bad == {f"mailbox({id}).password" for id in (flipped, cut, moved)}
    message = refused(service.set_key(KEY), 500, "0x80048524")
    assert "mailbox(" in message
    # Setting the password again replaces the damaged cell.
    for id in (flipped, cut, moved):
        assert service.request("PATCH", f"mailboxes({id})", {"password": "new"}).status_code == 204
    assert service.set_key(KEY).status_code == 204


def fill(service, count):
    """Adds cells that are sealed for their own place. Copies of other cells would not open."""
    with psycopg.connect(service.dev["postgres"]) as connection:
        organization, version, salt, iterations = connection.execute(
            "SELECT organization_id, key_version, salt, iterations FROM org_contoso.encryption").fetchone()
        key = cell_reader.derive_data_key(service.key(), bytes(salt), iterations)
        ids = [uuid.uuid4() for _ in range(count)]
        with connection.cursor().copy("COPY org_contoso.mailbox (mailboxid, name, ispasswordset) FROM STDIN") as copy:
            for id in ids:
                copy.write_row((id, "filled", True))
        with connection.cursor().copy("COPY org_contoso.mailbox_cell FROM STDIN") as copy:
            for id in ids:
                copy.write_row((version, id, seal(key, version, organization, id, "mailbox.password", str(id))))


def attempt(call):
    try:
        return call()
    except requests.exceptions.RequestException:
        return None
