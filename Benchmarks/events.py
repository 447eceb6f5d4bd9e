"""events/…: verifying a chain of a million security events, and the overview of an organization with that many events."""

import time

import requests
from bench import paired, record
from service import Deployment

FIGURES = ["events/verify", "events/overview"]
EVENTS = 1_000_000

# Computes the chain as the service does, in one statement. For the measurement, only the hashes of the events matter.
FILL = """DO $$
DECLARE
    event org_contoso.security_event;
    number bigint;
BEGIN
    LOCK TABLE org_contoso.security_event IN EXCLUSIVE MODE;
    SELECT * INTO event FROM org_contoso.security_event ORDER BY security_event_id DESC LIMIT 1;
    number := event.security_event_id;
    FOR i IN 1 .. {events} LOOP
        event := (number + i, clock_timestamp(), 'credential released', 'succeeded', 'client:router', '192.0.2.1', gen_random_uuid()::text, 1, NULL,
            'Incoming, mailbox 01a20cae-4075-7b56-a73f-c784dcc6f9eb, from mailbox, for imap.example.com:993', event.hash, NULL);
        event.hash := org_contoso.security_event_hash(event);
        INSERT INTO org_contoso.security_event VALUES (event.*);
    END LOOP;
END $$"""


def fill(service, events):
    """Inserts events with SQL. Attaching the organization accepts them."""
    service.sql(FILL.format(events=events))
    service.sql("VACUUM ANALYZE org_contoso.security_event")
    service.run("org", "attach", "contoso", "--yes")


def verify(service):
    """The events that the command verifies per second, including the start of the program."""
    start = time.monotonic()
    answer = service.json("events", "verify", "--org", "contoso")
    assert answer["verified"] > EVENTS and not answer["problems"], answer
    return answer["verified"] / (time.monotonic() - start)


def hashed(service):
    """The events for which PostgreSQL computes the hash per second, without comparing it."""
    start = time.monotonic()
    service.sql("SELECT count(org_contoso.security_event_hash(e)) FROM org_contoso.security_event AS e")
    return EVENTS / (time.monotonic() - start)


def overview(service):
    """The milliseconds of the console's overview, and of a page that needs the database only for the session."""
    session = requests.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    session.headers["Origin"] = service.base
    pages = f"{service.base}/contoso"
    known = service.dev["console"]
    session.post(f"{pages}/sign-in", {"name": known["username"], "password": known["password"]})

    def milliseconds(page):
        start = time.monotonic()
        answer = session.get(f"{pages}/{page}")
        assert answer.status_code == 200 and ("Released passwords" in answer.text or "handed to the mail router" in answer.text), answer.text
        return (time.monotonic() - start) * 1000

    return paired(lambda: milliseconds("overview"), lambda: milliseconds("events?kind=credential+released"), runs=9)[0]


def run(names):
    service = Deployment()
    try:
        service.start()
        fill(service, EVENTS)
        if "events/verify" in names:
            ours, reference = paired(lambda: verify(service), lambda: hashed(service))
            record("events/verify", ours / 100_000, ">= 1", eventsPerSecond=round(ours), hashedPerSecond=round(reference), events=EVENTS)
        if "events/overview" in names:
            ours = overview(service)
            record("events/overview", ours / 100, "<= 1", milliseconds=round(ours, 1), events=EVENTS)
    finally:
        service.remove()
