"""SQL as the service's role can't prevent unnoticed that security events are sent to a receiver: the doctor reports unsent events."""

import json

import psycopg
import pytest
import scratch
from cluster import Cluster
from server import Server
from waiting import until


@pytest.fixture(scope="module")
def shipped():
    folder = scratch.new_folder()
    cluster = Cluster(events={"file": str(folder / "events.jsonl")})
    server = None
    try:
        server = Server(cluster)
        server.file = folder / "events.jsonl"
        yield server
    finally:
        if server:
            server.stop()
        cluster.remove()


def as_service(server, statement):
    with psycopg.connect(f"host={server.cluster.home} user=fieldseal_service dbname=fieldseal", autocommit=True) as connection:
        connection.execute(statement)


def numbers(server):
    lines = server.file.read_text().splitlines() if server.file.exists() else []
    return [event["id"] for event in map(json.loads, lines) if event["organization"] == "contoso"]


def recorded(server):
    return [id for (id,) in server.cluster.sql("SELECT security_event_id FROM security_event ORDER BY 1")]


def all_are_sent(server):
    return sorted(set(numbers(server))) == recorded(server)


@pytest.mark.parametrize("statement", [
    "UPDATE config.event_shipper SET server_id = gen_random_uuid(), renew_by = 'infinity'",
    "UPDATE config.event_shipper SET server_id = gen_random_uuid(), renew_by = now() + interval '1 year'",
    "UPDATE config.event_shipment SET last_event = 9223372036854775807",
    "UPDATE config.event_shipment SET last_event = last_event + 1000",
])
def test_sql_does_not_stop_the_sending(shipped, statement):
    until(lambda: all_are_sent(shipped), "all events")
    as_service(shipped, statement)
    assert shipped.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
    until(lambda: all_are_sent(shipped), "the event after the attack")
    until(lambda: shipped.cluster.sql("SELECT s.last_event = a.newest_event FROM config.event_shipment AS s JOIN config.attested_state AS a USING (organization_id)") == [(True,)],
          "the position")


def test_what_is_not_sent_is_said(shipped):
    """The receiver can't be reached. The doctor reports the oldest unsent event when it is an hour old."""
    def findings():
        found = json.loads(shipped.cluster.run("doctor", "--json", check=False).stdout)["findings"]
        return [f for f in found if f["code"] == "events-not-sent"]

    until(lambda: all_are_sent(shipped), "all events")
    assert findings() == []
    shipped.stop()
    shipped.cluster.run("key", "show")
    # The unsent event is new, so the doctor does not report it yet.
    assert findings() == []
    with psycopg.connect(shipped.cluster.superuser, autocommit=True) as connection:
        connection.execute("SET session_replication_role = replica")
        connection.execute("UPDATE org_contoso.security_event SET occurred_on = occurred_on - interval '1 hour' WHERE security_event_id > (SELECT last_event FROM config.event_shipment)")
    [finding] = findings()
    assert finding["subject"] == "contoso" and finding["message"].startswith("1 security events were not sent")
