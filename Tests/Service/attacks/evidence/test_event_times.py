"""Events of an earlier version may have times outside of the years 1 to 9999. Pages and exports show such events."""

import datetime
import json

import pytest
from place import Place, name

TIMES = ["290000-12-31", "10000-01-01", "9999-12-31 23:59:59", "0400-01-01", "4000-01-01 BC"]


@pytest.fixture(scope="module")
def place():
    with Place.made() as place:
        place.run("key", "show")
        yield place


def test_pages_show_events_of_any_time(place):
    place.add_user(person := name("reader"))
    place.sql("ALTER TABLE org_contoso.security_event DROP CONSTRAINT security_event_occurred_on_check")
    kinds = ["client disabled", "user changed", "user reset", "key read", "key changed", "signed in", "credential released"]
    for time in TIMES:
        for kind in kinds:
            place.sql_as(
                "fieldseal_service",
                f"INSERT INTO org_contoso.security_event (occurred_on, kind, outcome, actor, details) VALUES ('{time}', %s, 'succeeded', %s, %s)",
                [kind, f"user:{person}", f"{person}: invitation withdrawn"])
    place.run("org", "attach", "contoso", "--yes")
    visitor, process = place.visit(person), place.server.process
    assert visitor.is_in
    for page in ("overview", "events", "events?kind=signIns", "audit", "retention", "access", f"access/user?id={place.person_id(person)}", "settings/data-encryption", "account"):
        answer = visitor.page(page)
        assert answer.status_code in (200, 404), (page, answer.status_code)
    assert process.poll() is None
    lines = [json.loads(line) for line in place.run("events", "export", "--org", "contoso").stdout.splitlines()]
    shown = {line["occurredOn"][:4] for line in lines if line.get("actor") == f"user:{person}"}
    assert {"9999", "0400", "0001"} <= shown and all(len(line["occurredOn"]) == 20 for line in lines if "occurredOn" in line)
    assert place.run("events", "verify").returncode == 0
    # The control: a new event has the present time.
    place.run("key", "show")
    newest = json.loads(place.run("events", "export", "--org", "contoso").stdout.splitlines()[-2])
    assert newest["id"] > lines[-2]["id"] and newest["kind"] == "key read"
    assert abs(datetime.datetime.fromisoformat(newest["occurredOn"]) - datetime.datetime.now(datetime.UTC)) < datetime.timedelta(hours=1)
