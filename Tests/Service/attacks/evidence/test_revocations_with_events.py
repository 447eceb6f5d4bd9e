"""Each revocation has an event in its transaction. So SQL can't put back the former attested state and rows without a difference."""

import contextlib
import uuid

import psycopg
import pytest
import requests
from psycopg import sql
from service import refused
from test_console_factor import signed_in, turned_on
from test_console_access import password


def events_of(service, kind):
    return service.sql("SELECT actor, details FROM org_contoso.security_event WHERE kind = %s AND outcome = 'succeeded' ORDER BY security_event_id", [kind])


def rows(service, table, condition="true"):
    """The columns that SQL may write, and the rows."""
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        columns = [name for (name,) in connection.execute(
            "SELECT attname::text FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity = ''", [table])]
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        return columns, connection.execute(sql.SQL("SELECT {} FROM {} WHERE {}").format(names, sql.Identifier(*table.split(".")), sql.SQL(condition))).fetchall()


@contextlib.contextmanager
def put_back(service, *tables):
    """Remembers rows, and puts them and the attested state back as the service's own role, when the test calls what it gets. The end restores the state."""
    former = {table: rows(service, table, condition) for table, condition in tables}
    state = rows(service, "config.attested_state", "organization_id = (SELECT organization_id FROM config.organization WHERE name = 'contoso')")
    later = None

    def store(names, row, role):
        with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
            connection.execute("SET fieldseal.maintenance = 'on'; SET ROLE " + role)
            values = {n: v for n, v in zip(names, row) if n not in ("organization_id", "changed_in")}
            sets = sql.SQL(", ").join(sql.SQL("{} = %s").format(sql.Identifier(n)) for n in values)
            connection.execute(
                sql.SQL("UPDATE config.attested_state SET {} WHERE organization_id = %s").format(sets), [*values.values(), row[names.index("organization_id")]])

    def attack():
        nonlocal later
        later = rows(service, "config.attested_state", "organization_id = (SELECT organization_id FROM config.organization WHERE name = 'contoso')")
        store(state[0], state[1][0], "fieldseal_service")
        with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
            connection.execute("SET ROLE fieldseal_service")
            for table, (columns, values) in former.items():
                for row in values:
                    connection.execute(
                        sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(
                            sql.Identifier(*table.split(".")), sql.SQL(", ").join(map(sql.Identifier, columns)), sql.SQL(", ").join([sql.Placeholder()] * len(columns))), row)

    yield attack
    if later:
        store(later[0], later[1][0], "fieldseal_owner")


@pytest.fixture
def place(own_service):
    return own_service


def test_a_deleted_team_does_not_come_back_with_its_roles(place):
    [(user,)] = place.sql("SELECT systemuser_id::text FROM config.api_client WHERE name = 'dev-user'")
    [(role,)] = place.sql("SELECT roleid::text FROM org_contoso.role WHERE name = 'System Administrator'")
    team = place.create("teams", {"name": f"team {uuid.uuid4()}", "teammembership_association@odata.bind": [f"/systemusers({user})"]})
    assert place.request("POST", f"teams({team})/teamroles_association/$ref", {"@odata.id": f"roles({role})"}).status_code == 204
    assert place.get("RetrieveDataEncryptionKey", client="user").status_code == 200
    tables = [(f"org_contoso.{table}", f"teamid = '{team}'") for table in ("team", "teammembership", "teamroles")]
    with put_back(place, *tables) as attack:
        assert place.request("DELETE", f"teams({team})").status_code == 204
        attack()
        # Whether the server has seen the newer state or not: the newest event is not the one of the state.
        assert place.get("RetrieveDataEncryptionKey", client="user").status_code == 403
        assert {f["code"] for f in place.json("doctor", check=False)["findings"]} & {"attested-state", "event-chain-cut", "event-chain-broken"}
        assert place.run("events", "verify", "--org", "contoso", check=False).returncode == 1
    assert [details for _, details in events_of(place, "role taken away")][-1] == f"team {team}, role System Administrator"
    assert [details for _, details in events_of(place, "team member removed")][-1] == f"team {team}, systemuser {user}"


def signs_in(console, name, code):
    """Whether a person's password and a code sign in."""
    answer = requests.post(
        f"{console.pages}/sign-in", {"name": name, "password": password(name), "code": code}, headers={"Origin": console.dev["baseURL"]},
        verify=console.dev["caFile"], allow_redirects=False)
    return answer.status_code == 303


def test_a_recovery_code_that_was_used_is_an_event(console):
    """The event is in the transaction that takes the code: before the event of the sign-in, and also if the code only confirms a person."""
    name = "of a used code"
    visitor = signed_in(console, name)
    _, codes = turned_on(visitor)
    before = len(events_of(console, "recovery code used"))
    assert signs_in(console, name, codes[0])
    kinds = [kind for (kind,) in console.sql(
        "SELECT kind FROM org_contoso.security_event WHERE actor = %s ORDER BY security_event_id DESC LIMIT 2", [f"user:{name}"])]
    assert kinds == ["signed in", "recovery code used"] and len(events_of(console, "recovery code used")) == before + 1
    assert not signs_in(console, name, codes[0])
    assert len(events_of(console, "recovery code used")) == before + 1


def test_the_servers_of_a_profile_are_events(service):
    """Each change of the servers that the attested state covers has an event: of a profile without a password too, and its deletion."""
    profile = service.create("emailserverprofiles", {"name": "p", "incomingserverlocation": "one.test"})
    assert service.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": "two.test"}).status_code == 204
    assert service.request("DELETE", f"emailserverprofiles({profile})").status_code == 204
    refused(service.get(f"emailserverprofiles({profile})"), 404, "0x80040217")
    found = [event for event in events_of(service, "mail server changed") if profile in event[1]]
    assert found == [("client:dev-admin", f"emailserverprofile {profile}"), ("client:dev-admin", f"emailserverprofile {profile}: it was deleted")]
