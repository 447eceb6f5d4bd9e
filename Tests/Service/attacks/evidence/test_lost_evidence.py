"""A superuser switches triggers off and deletes an event before the service links it into the chain. The server that wrote it, and the doctor, notice
the loss."""

import json

import psycopg
import pytest
from pending_events import unlinked
from service import Deployment
from waiting import until

SECRET = "hunter2-of-the-lost-evidence"


@pytest.fixture(scope="module")
def service():
    with Deployment.made() as deployment:
        deployment.key()
        yield deployment


def events(service, kind):
    """The details of the events of one kind. The export first links all pending events into the chain."""
    lines = [json.loads(line) for line in service.run("events", "export", "--org", "contoso").stdout.splitlines()]
    return [line["details"] for line in lines if line.get("kind") == kind]


def findings(service, code):
    return [f["message"] for f in json.loads(service.run("doctor", "--json", check=False).stdout)["findings"] if f["code"] == code]


def quietly(service, *statements):
    """Runs SQL as a superuser without triggers: no guard rejects it, no rows cascade, and the audit has no entry."""
    with psycopg.connect(service.dev["postgres"]) as connection:
        connection.execute("SET session_replication_role = replica; SET search_path = org_contoso, config, public")
        for statement in statements:
            connection.execute(statement)


def archive(service, file, *arguments):
    [(now,)] = service.sql("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    service.run("events", "archive", "--org", "contoso", "--before", now, "--to", str(file), *arguments)


# Before an event is linked --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("attack", [
    "DELETE FROM unchained_event", "TRUNCATE unchained_event", "UPDATE unchained_event SET kind = 'password cleared'",
    "UPDATE unchained_event SET actor = 'client:innocent'", "UPDATE unchained_event SET occurred_on = occurred_on - interval '1 day'",
])
def test_an_event_that_is_taken_away_before_it_is_linked_is_missed(service, attack):
    before = events(service, "event lost")
    set_before = service.create("mailboxes", {"name": "had one", "password": "before"})
    assert len(events(service, "password set")) > 0
    refused = service.create("mailboxes", {"name": "refused"})
    with unlinked(service):
        new = service.create("mailboxes", {"name": "new", "password": SECRET})
        assert service.request("PATCH", f"mailboxes({set_before})", {"password": SECRET}).status_code == 204
        # Requests that set no password write no event, so none is missed.
        assert service.request("PATCH", f"mailboxes({refused})", {"password": "x"}, If_Match='W/"1"').status_code == 412
        assert service.request("PATCH", f"mailboxes({refused})", {"password": None}).status_code == 204
        quietly(service, attack)
    lost = until(lambda: (found := events(service, "event lost"))[len(before) + 1:] and found, what=lambda: events(service, "event lost"))[len(before):]
    assert sorted(text.rpartition(": ")[2] for text in lost) == sorted(f"mailbox({id}).password" for id in (new, set_before))
    assert all(text.startswith("password set or replaced, by client:dev-admin at ") for text in lost) and SECRET not in "".join(lost)
    assert "disappeared before they were linked" in findings(service, "events-lost")[0]
    assert json.loads(service.run("events", "verify", "--org", "contoso", "--json").stdout)["problems"] == []


def test_events_that_another_process_links_or_that_are_archived_are_not_missed(own_service, tmp_path):
    own_service.key()
    # The control: the server misses the event that SQL deletes here, so it compares its events during the whole test.
    with unlinked(own_service):
        gone = own_service.create("mailboxes", {"name": "gone", "password": SECRET})
        quietly(own_service, "DELETE FROM unchained_event")
    until(lambda: events(own_service, "event lost"))
    ids = []
    for number in range(20):
        ids.append(own_service.create("mailboxes", {"name": "linked elsewhere", "password": SECRET}))
        # Either this command or the server links the event.
        assert f"mailbox({ids[-1]}).password" in events(own_service, "password set")
        if number == 10:
            archive(own_service, tmp_path / "events.jsonl")
            # The archive also contains the event that reports the deleted one.
            assert f"mailbox({gone}).password" in (tmp_path / "events.jsonl").read_text()
            ids.clear()
    assert events(own_service, "event lost") == []


# Records with passwords ---------------------------------------------------------------------------------------------------------


def test_passwords_that_a_superuser_removes_without_a_trace_are_missed(own_service, tmp_path):
    service = own_service
    service.key()
    made = {name: service.create("mailboxes", {"name": name, "password": SECRET}) for name in ("deleted", "cleared", "by a DBA", "cell by a DBA", "taken", "kept")}
    queue = service.create("queues", {"name": "queue", "emailpassword": SECRET})
    user = service.get("WhoAmI").json()["UserId"]
    assert service.request("PATCH", f"usersettingscollection({user})", {"emailpassword": SECRET}).status_code == 204
    # The controls: deletions through the Web API or by a DBA with triggers have entries in the audit.
    assert service.request("DELETE", f"mailboxes({made['deleted']})").status_code == 204
    assert service.request("PATCH", f"mailboxes({made['cleared']})", {"password": None}).status_code == 204
    service.sql("DELETE FROM org_contoso.mailbox WHERE mailboxid = %s", [made["by a DBA"]])
    service.sql("DELETE FROM org_contoso.mailbox_cell WHERE mailboxid = %s", [made["cell by a DBA"]])
    service.sql("UPDATE org_contoso.mailbox SET ispasswordset = false WHERE mailboxid = %s", [made["cell by a DBA"]])
    assert {f"mailbox({id}).password" for id in made.values()} <= set(events(service, "password set")) and findings(service, "passwords-lost") == []
    # The clone of an organization has its own events, audit and cells. The doctor misses no passwords there.
    file = tmp_path / "contoso.fieldseal"
    service.run("org", "export", "contoso", str(file))
    service.run("org", "import", str(file), "--as-new", "--name", "copy", stdin=service.run("key", "show", "--org", "contoso").stdout)
    assert findings(service, "passwords-lost") == []
    quietly(
        service, f"DELETE FROM mailbox_cell WHERE mailboxid = '{made['taken']}'", f"DELETE FROM mailbox WHERE mailboxid = '{made['taken']}'")
    [message] = findings(service, "passwords-lost")
    assert message.startswith("a password is gone") and f"such as mailbox({made['taken']}).password." in message
    quietly(
        service, f"DELETE FROM queue_cell WHERE queueid = '{queue}'", f"UPDATE queue SET isemailpasswordset = false WHERE queueid = '{queue}'",
        f"DELETE FROM usersettings_cell WHERE systemuserid = '{user}'", f"UPDATE usersettings SET isemailpasswordset = false WHERE systemuserid = '{user}'")
    assert findings(service, "passwords-lost")[0].startswith("3 passwords are gone")
    # The doctor can't read archived entries of the audit, so it does not check passwords from their time.
    archive(service, tmp_path / "audit.jsonl", "--audit")
    assert findings(service, "passwords-lost") == []
