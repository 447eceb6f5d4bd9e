"""An attacker can run SQL as the service and has the account of a System Administrator. SQL hides or changes the row that decides whether an approval
is needed, and restores it later."""

import contextlib
import html
import re
import threading
import uuid

import psycopg
import pytest
from test_key_approvals import MESSAGE, administrator, by_their_user, people, roles, team
from test_key_control import WORDS, approve, awaited, caller, controlled, listed, person_id, second, server
from test_people_and_secrets import Person
from waiting import until

__all__ = ["administrator", "by_their_user", "controlled", "people", "roles", "second", "server", "team"]
DELETED, CHANGED = "were deleted by SQL", "was changed by SQL"


def connect(server):
    return psycopg.connect(f"host={server.cluster.home} user=fieldseal_service dbname=fieldseal", autocommit=True)


@contextlib.contextmanager
def hidden(server, table, condition, parameters):
    """Deletes rows by SQL as the service, and restores them afterwards."""
    with connect(server) as sql:
        columns = [name for name, in sql.execute("SELECT attname FROM pg_attribute WHERE attrelid = %s::regclass AND attnum > 0 AND attgenerated = ''", [table])]
        rows = sql.execute(f"DELETE FROM {table} WHERE {condition} RETURNING {', '.join(columns)}", parameters).fetchall()
        assert rows
        try:
            yield
        finally:
            for row in rows:
                sql.execute(f"INSERT INTO {table} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(row))})", row)


@contextlib.contextmanager
def shown_as(server, table, column, value, condition, parameters):
    """Changes one column of a row by SQL, so that its tag does not match, and restores the column afterwards."""
    sql = server.cluster.sql
    [(before,)] = sql(f"SELECT {column} FROM {table} WHERE {condition}", parameters)
    sql(f"UPDATE {table} SET {column} = %s WHERE {condition}", [value, *parameters])
    try:
        yield
    finally:
        sql(f"UPDATE {table} SET {column} = %s WHERE {condition}", [before, *parameters])


def said(answer):
    """The text of a page's main part."""
    return html.unescape(re.sub(r"\s+", " ", re.sub(r"<[^>]*>", " ", answer.text.split("<main")[-1])))


def made_team(server, name):
    return server.create("teams", {"name": f"{name}{uuid.uuid4().hex[:8]}"})


def add_member(server, team, user):
    return server.request("POST", f"teams({team})/teammembership_association/$ref", {"@odata.id": f"systemusers({user})"})


@pytest.fixture
def basic(server):
    """The systemuser of a new client in the role Basic User."""
    made = server.cluster.run("client", "add", name := f"b{uuid.uuid4().hex[:8]}", "--role", "Basic User", "--json")
    assert made.returncode == 0
    [(user,)] = server.cluster.sql("SELECT systemuser_id::text FROM config.api_client WHERE name = %s", [name])
    yield user
    server.cluster.run("client", "remove", name)


def test_no_member_joins_a_team_whose_role_is_hidden(server, team, basic, controlled):
    with hidden(server, "org_contoso.teamroles", "teamid = %s", [team]):
        answer = add_member(server, team, basic)
        assert answer.status_code == 403 and DELETED in answer.text, answer.text
    assert server.cluster.sql("SELECT teamid FROM teammembership WHERE teamid = %s", [team]) == []
    answer = add_member(server, team, basic)
    assert answer.status_code == 403 and "give the role System Administrator" in answer.text
    # A team without that role accepts the member.
    other = made_team(server, "other")
    assert add_member(server, other, basic).status_code == 204
    assert server.request("DELETE", f"teams({other})").status_code == 204


def test_no_member_joins_a_team_whose_role_has_another_name(server, team, basic, controlled):
    with renamed(server):
        answer = add_member(server, team, basic)
        assert answer.status_code == 403 and "give the role System Administrator" in answer.text, answer.text
    assert server.cluster.sql("SELECT teamid FROM teammembership WHERE teamid = %s", [team]) == []


@contextlib.contextmanager
def renamed(server):
    """Renames the record of the role System Administrator by SQL, and restores the name afterwards."""
    [(id,)] = server.cluster.sql("SELECT roleid FROM role WHERE name = 'System Administrator'")
    with shown_as(server, "org_contoso.role", "name", "a role", "roleid = %s", [id]):
        yield


def test_no_user_is_enabled_whose_client_is_shown_with_another_role(server, administrator, people, controlled):
    client, user = administrator
    with shown_as(server, "config.api_client", "role", "Basic User", "systemuser_id = %s", [user]):
        answer = server.request("PATCH", f"systemusers({user})", {"isdisabled": False})
        assert answer.status_code == 403 and CHANGED in answer.text, answer.text
    assert server.cluster.sql("SELECT isdisabled FROM systemuser WHERE systemuserid = %s", [user]) == [(True,)]
    # A person who is not an administrator can be enabled.
    [(other,)] = server.cluster.sql("SELECT systemuser_id FROM config.console_user WHERE name = %s", [people[1]])
    for isdisabled in (True, False):
        assert server.request("PATCH", f"systemusers({other})", {"isdisabled": isdisabled}).status_code == 204


@pytest.mark.parametrize("kind", ["client", "person"])
def test_no_user_is_enabled_whose_disabled_row_is_shown_with_another_role(server, administrator, people, controlled, kind):
    """The service verifies the tag of a disabled row, whichever role the row shows."""
    client, user = administrator
    table, condition, value = ("config.api_client", "systemuser_id = %s", user) if kind == "client" else ("config.console_user", "name = %s", people[0])
    [(user, id, name)] = server.cluster.sql(f"SELECT systemuser_id::text, {'client_id' if kind == 'client' else 'user_id'}::text, name FROM {table} WHERE {condition}", [value])
    if kind == "client":
        server.cluster.run("client", "disable", id)
    else:
        assert server.request("PATCH", f"systemusers({user})", {"isdisabled": True}).status_code == 204
    for column, other in (("role", "Basic User"), ("systemuser_id", str(uuid.uuid4()))):
        with shown_as(server, table, column, other, "name = %s", [name]):
            answer = server.request("PATCH", f"systemusers({user})", {"isdisabled": False})
            assert answer.status_code == 403 and CHANGED in answer.text, answer.text
        assert server.cluster.sql("SELECT isdisabled FROM systemuser WHERE systemuserid = %s", [user]) == [(True,)]
    # When the row is restored, enabling its user needs an approval. The user of a Basic User's disabled row can be enabled.
    assert "give the role System Administrator" in server.request("PATCH", f"systemusers({user})", {"isdisabled": False}).text
    [(other,)] = server.cluster.sql("SELECT systemuser_id FROM config.console_user WHERE name = %s", [people[1]])
    server.cluster.run("user", "disable", people[1])
    for isdisabled in (True, False):
        assert server.request("PATCH", f"systemusers({other})", {"isdisabled": isdisabled}).status_code == 204


@pytest.mark.parametrize("way", ["its link is away", "its role has another name"])
def test_no_way_to_sign_in_is_given_to_one_whose_role_is_hidden(server, by_their_user, controlled, way):
    client, name = by_their_user
    ada, id = Person(server, "ada", WORDS), person_id(server, name)
    before = stands(server, client, name)
    users = "systemuserid IN (SELECT systemuser_id FROM config.api_client WHERE client_id = %s UNION ALL SELECT systemuser_id FROM config.console_user WHERE name = %s)"
    attack, refusal = {
        "its link is away": (hidden(server, "org_contoso.systemuserroles", users, [client, name]), DELETED),
        "its role has another name": (renamed(server), MESSAGE),
    }[way]
    with attack:
        for page, form in [
            ("access/rotate-client", {"id": client}), ("access/enable-user", {"id": id, "name": name}), ("access/reset-user", {"id": id, "name": name, "password": WORDS}),
        ]:
            answer = ada.post(page, **form)
            assert refusal in answer.text, (page, said(answer))
    assert stands(server, client, name) == before


def stands(server, client, name):
    return server.cluster.sql(
        "SELECT (SELECT array_agg(secret_id ORDER BY secret_id) FROM config.api_client_secret WHERE client_id = %s), disabled_on, verifier FROM config.console_user WHERE name = %s",
        [client, name])


def test_no_member_of_a_team_is_enabled_while_the_membership_is_hidden(server, people, team, roles, second):
    disabled, basic = people
    [(user,)] = server.cluster.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [basic])
    assert add_member(server, team, user).status_code == 204
    server.cluster.run("user", "disable", basic)
    server.cluster.run("key", "control", "--approval", "600")
    try:
        ada = Person(server, "ada", WORDS)
        with hidden(server, "org_contoso.teammembership", "teamid = %s", [team]):
            assert DELETED in said(ada.post("access/enable-user", id=person_id(server, basic), name=basic))
        assert MESSAGE in ada.post("access/enable-user", id=person_id(server, basic), name=basic).text
        assert server.cluster.sql("SELECT disabled_on IS NOT NULL FROM config.console_user WHERE name = %s", [basic]) == [(True,)]
        # Once the request is approved, the person is enabled.
        [request] = [r for r in listed(server) if f"enable the System Administrator {basic}" in r["subject"]]
        assert approve(second, request["approvalId"]).status_code == 204
        ada.post("access/enable-user", id=person_id(server, basic), name=basic)
        assert server.cluster.sql("SELECT disabled_on FROM config.console_user WHERE name = %s", [basic]) == [(None,)]
        assert request["approvalId"] not in {r["approvalId"] for r in listed(server)}
    finally:
        off(server, second)


def off(server, second):
    """Switches the approvals off, which itself needs an approval."""
    if server.cluster.run("key", "control", "--approval", "off", "--sign-in", "off", check=False).returncode:
        for request in listed(server):
            if request["requestedBy"].startswith("cli:"):
                assert approve(second, request["approvalId"]).status_code == 204
        server.cluster.run("key", "control", "--approval", "off", "--sign-in", "off")
    for request in listed(server):
        server.cluster.run("approval", "refuse", request["approvalId"])


def test_nothing_lies_between_the_check_and_the_change(server, people, controlled):
    """SQL shows the person as a Basic User, and restores the role while the service waits to lock the list of attested rows."""
    disabled, _ = people
    ada, id = Person(server, "ada", WORDS), person_id(server, disabled)
    answers = []
    with connect(server) as sql:
        [(former,)] = sql.execute("SELECT role FROM config.console_user WHERE user_id = %s", [id]).fetchall()
        sql.execute("UPDATE config.console_user SET role = 'Basic User' WHERE user_id = %s", [id])
        try:
            with sql.transaction():
                sql.execute("SELECT FROM config.attested_state FOR UPDATE")
                request = threading.Thread(target=lambda: answers.append(ada.post("access/enable-user", id=id, name=disabled).text))
                request.start()
                until(lambda: server.cluster.sql("SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%attested_state%%FOR NO KEY UPDATE%%'"))
                with connect(server) as other:
                    other.execute("UPDATE config.console_user SET role = %s WHERE user_id = %s", [former, id])
            request.join()
        finally:
            sql.execute("UPDATE config.console_user SET role = %s WHERE user_id = %s", [former, id])
    assert MESSAGE in answers[0]
    assert server.cluster.sql("SELECT disabled_on IS NOT NULL FROM config.console_user WHERE user_id = %s", [id]) == [(True,)]


def test_approvals_are_not_asked_for_while_rows_are_hidden(server, team, second):
    rule = {"ApprovalSeconds": 600, "SignInSeconds": None}
    with hidden(server, "org_contoso.teamroles", "teamid = %s", [team]):
        answer = server.request("POST", "fieldseal.SetKeyControl", rule)
        assert answer.status_code == 403 and DELETED in answer.text, answer.text
    assert server.request("POST", "fieldseal.SetKeyControl", rule).status_code == 204
    off(server, second)


def test_a_rule_that_sql_changed_is_not_replaced_by_a_weaker_one(server, second):
    server.cluster.run("key", "control", "--approval", "60", "--sign-in", "100")
    try:
        rule = {"ApprovalSeconds": 3600, "SignInSeconds": 300}
        with shown_as(server, "config.key_control", "approval_seconds", 61, "true", []):
            awaited(second("POST", "fieldseal.SetKeyControl", rule))
        awaited(second("POST", "fieldseal.SetKeyControl", rule))
        # A stricter rule needs no approval.
        assert second("POST", "fieldseal.SetKeyControl", {"ApprovalSeconds": 60, "SignInSeconds": 90}).status_code == 204
    finally:
        other = caller(server, server.client)
        off(server, other)


@pytest.mark.parametrize("way", ["message", "command"])
@pytest.mark.parametrize("attack", ["hidden", "changed"])
def test_an_approval_is_taken_back_though_its_row_is_away(server, controlled, second, attack, way):
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert approve(second, id).status_code == 204
    row = ("config.approval", "approval_id = %s", [id])

    def refuse(of):
        if way == "message":
            return second("POST", "fieldseal.RefuseRequest", {"ApprovalId": of}).status_code == 204
        return server.cluster.run("approval", "refuse", of, check=False).returncode == 0

    with connect(server) as sql:
        columns = [name for name, in sql.execute("SELECT attname FROM pg_attribute WHERE attrelid = 'config.approval'::regclass AND attnum > 0 AND attgenerated = ''")]
        [kept] = sql.execute(f"SELECT {', '.join(columns)} FROM {row[0]} WHERE {row[1]}", row[2]).fetchall()
        sql.execute(f"DELETE FROM {row[0]} WHERE {row[1]}" if attack == "hidden" else f"UPDATE {row[0]} SET subject = 'another' WHERE {row[1]}", row[2])
        assert refuse(id)
        sql.execute(f"DELETE FROM {row[0]} WHERE {row[1]}", row[2])
        sql.execute(f"INSERT INTO {row[0]} ({', '.join(columns)}) VALUES ({', '.join(['%s'] * len(kept))})", kept)
    # The approval that SQL restored has no effect, so the key needs another approval.
    other = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert other != id and not refuse(id) and not refuse(str(uuid.uuid4()))
    assert server.cluster.sql("SELECT outcome FROM security_event WHERE kind = 'approval refused' AND details LIKE %s", [f"{id}: its row was %"]) == [("succeeded",)]
    server.cluster.sql(f"DELETE FROM {row[0]} WHERE {row[1]}", row[2])
    # The control: an approval that was not refused afterwards can be used, and one that was refused can't.
    assert approve(second, other).status_code == 204
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
    last = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert approve(second, last).status_code == 204 and refuse(last)
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) != last
