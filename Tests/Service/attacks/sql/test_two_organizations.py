"""A running server remembers the state of each organization by its id, even if SQL exchanges the names of two organizations."""

import pytest
from place import name
from waiting import until


@pytest.fixture(scope="module")
def place(place):
    place.run("org", "create", "other")
    return place


def swap_names(place):
    """Exchanges the names and schemas of the organizations `contoso` and `other`."""
    place.sql(
        """
        BEGIN; SET LOCAL fieldseal.maintenance = 'on';
        ALTER SCHEMA org_contoso RENAME TO org_aside; ALTER SCHEMA org_other RENAME TO org_contoso; ALTER SCHEMA org_aside RENAME TO org_other;
        UPDATE config.organization SET name = 'aside', schema_name = 'org_aside' WHERE name = 'contoso';
        UPDATE config.organization SET name = 'contoso', schema_name = 'org_contoso' WHERE name = 'other';
        UPDATE config.organization SET name = 'other', schema_name = 'org_other' WHERE name = 'aside';
        COMMIT
        """)


def a_stranger_visits(place):
    """A request without an account makes the server read the state of the organization that is now named contoso."""
    with place.server_session() as session:
        answer = session.get(f"{place.server.base}/contoso/overview", headers={"Cookie": f"__Host-fieldseal={'A' * 43}"}, allow_redirects=False)
        assert answer.status_code == 303 and "sign-in" in answer.headers["Location"]
        answer = session.post(f"{place.server.base}/contoso/oauth2/v2.0/token", data={
            "grant_type": "client_credentials", "client_id": "00000000-0000-4000-8000-000000000001", "client_secret": "x"})
        assert answer.status_code == 401


def is_refused(place):
    """Whether the server refuses the organization. The request makes the server read the attested state anew."""
    answer = place.get("RetrieveDataEncryptionKey()", place.server.token)
    return answer.status_code == 403 and "contoso is refused" in answer.text


def take_back(place, events):
    """Deletes the events after the id `events`, as the owner of the database can."""
    place.sql("SET fieldseal.evidence = 'move'; DELETE FROM org_contoso.security_event WHERE security_event_id > %s" % events)


def put_events_back(place, rows):
    names = ", ".join(n for (n,) in place.sql("SELECT attname FROM pg_attribute WHERE attrelid = 'org_contoso.security_event'::regclass AND attnum > 0 ORDER BY attnum"))
    for row in rows:
        place.sql(f"INSERT INTO org_contoso.security_event ({names}) OVERRIDING SYSTEM VALUE VALUES ({', '.join(['%s'] * len(row))})", list(row))


def await_look(place):
    """Waits until the server has read the attested states again, as it does once a second."""
    [(now,)] = place.sql("SELECT clock_timestamp()")
    looks = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND query LIKE '%%pg_visible_in_snapshot(a.changed_in%%' AND state = 'idle' AND query_start > %s"
    until(lambda: place.sql(looks, [now]) != [(0,)])


@pytest.mark.parametrize("revocation", ["client", "event"])
def test_an_older_state_is_not_laundered_through_another_name(place, revocation):
    client = place.add_client(f"leaver-{revocation}")
    token = place.token(client).json()["access_token"]
    assert place.get("RetrieveDataEncryptionKey()", token).status_code == 200
    assert place.get("WhoAmI", place.server.token).status_code == 200
    [(events,)] = place.sql("SELECT max(security_event_id) FROM org_contoso.security_event")
    with place.put_back("attested_state") as restore_state, place.put_back("api_client") as restore_clients:
        if revocation == "client":
            place.run("client", "disable", f"leaver-{revocation}", "--org", "contoso")
            assert place.get("WhoAmI", token).status_code == 401
        else:
            # The event that SQL deletes later records that the key was read.
            assert place.get("RetrieveDataEncryptionKey()", token).status_code == 200
            assert place.get("RetrieveDataEncryptionKey()", place.server.token).status_code == 200

        def restore():
            take_back(place, events)
            restore_state()
            restore_clients()

        with place.put_back("attested_state") as newest_state, place.put_back("api_client") as newest_clients:
            held = place.sql("SELECT * FROM org_contoso.security_event WHERE security_event_id > %s", [events])
            restore()
            assert is_refused(place)
            swap_names(place)
            a_stranger_visits(place)
            swap_names(place)
            assert is_refused(place)
            assert place.get("RetrieveDataEncryptionKey()", token).status_code == 403
            # The server reads the state of `other` while it has the name contoso. It must not take that for a state of contoso.
            restore()
            assert place.token(client).status_code != 200
            # When SQL restores the events and the newest state, the server accepts the organization.
            put_events_back(place, held)
            newest_state()
            newest_clients()
    assert place.get("WhoAmI", place.server.token).status_code == 200
    assert place.get("WhoAmI", token).status_code == (401 if revocation == "client" else 200)
    assert place.run("events", "verify").returncode == 0


def test_what_was_recorded_a_second_ago_is_not_taken_back(place):
    """The server reads attested states once a second, also without requests. So it knows an event that a command recorded a second ago."""
    assert place.get("WhoAmI", place.server.token).status_code == 200
    [(events,)] = place.sql("SELECT max(security_event_id) FROM org_contoso.security_event")
    with place.put_back("attested_state") as restore:
        assert place.get("RetrieveDataEncryptionKey()", place.server.token).status_code == 200
        await_look(place)
        with place.put_back("attested_state") as newest:
            held = place.sql("SELECT * FROM org_contoso.security_event WHERE security_event_id > %s", [events])
            take_back(place, events)
            restore()
            assert is_refused(place)
            put_events_back(place, held)
            newest()
    assert place.get("RetrieveDataEncryptionKey()", place.server.token).status_code == 200


def test_a_restore_that_is_accepted_is_served(place):
    """The control: after `org attach` accepts an older state, the running server accepts that state."""
    [(events,)] = place.sql("SELECT max(security_event_id) FROM org_contoso.security_event")
    with place.put_back("attested_state") as restore:
        place.add_client("late")
        assert place.get("WhoAmI", place.server.token).status_code == 200
        take_back(place, events)
        restore()
    assert is_refused(place)
    place.run("org", "attach", "contoso", "--yes")
    assert place.get("WhoAmI", place.server.token).status_code == 200


def length(place):
    return place.sql("SELECT revision, events FROM config.attested_state JOIN config.organization USING (organization_id) WHERE name = 'contoso'")[0]


@pytest.mark.parametrize("looked", [False, True])
@pytest.mark.parametrize("is_higher", [False, True])
def test_another_history_is_refused(place, is_higher, looked):
    """SQL restores an older state, and commands record other events after it. The revision becomes equal to the one that the server has seen, or
    higher, with fewer events."""
    [(events,)] = place.sql("SELECT max(security_event_id) FROM org_contoso.security_event")
    with place.put_back("attested_state") as restore:
        place.add_client(name("of-one-history"))
        for _ in range(3 * is_higher):
            place.run("key", "show", "--org", "contoso")
        await_look(place)
        assert place.get("WhoAmI", place.server.token).status_code == 200
        seen = length(place)
        held = place.sql("SELECT * FROM org_contoso.security_event WHERE security_event_id > %s", [events])
        with place.put_back("attested_state") as newest:
            take_back(place, events)
            restore()
            others = [place.add_client(name("of-another-history")) for _ in range(1 + is_higher)]
            now = length(place)
            assert now == seen if not is_higher else now[0] > seen[0] and now[1] < seen[1], (seen, now)
            if looked:
                await_look(place)
            assert is_refused(place)
            assert {place.token(other).status_code for other in others} == {403}
            # When SQL restores the state that the server has seen, the server accepts the organization.
            take_back(place, events)
            put_events_back(place, held)
            newest()
    assert place.get("WhoAmI", place.server.token).status_code == 200 and place.token(others[0]).status_code == 401
    assert place.run("events", "verify").returncode == 0
