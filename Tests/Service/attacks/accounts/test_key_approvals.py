"""The organization requires a second System Administrator's approval for its key. Without one, no caller can use the key or become that administrator."""

import json
import struct
import uuid

import pytest
from attested import EPOCH, Attestor
from test_key_control import AWAITED, WORDS, approve, awaited, controlled, listed, person_id, second, server
from test_people_and_secrets import Person
from html_forms import subject

__all__ = ["controlled", "second", "server"]
MESSAGE = "A second System Administrator has to approve this first"


@pytest.fixture
def roles(server):
    """The ids of the roles, by name. They are read before the key needs approvals."""
    return {r["name"]: r["roleid"] for r in server.request("GET", "roles?$select=name").json()["value"]}


@pytest.fixture
def key(server):
    """The key's text. It is read before the key needs approvals."""
    return server.cluster.run("key", "show").stdout.strip()


@pytest.fixture
def administrator(server):
    """A disabled client in the role System Administrator, and the systemuser of another disabled client."""
    run = server.cluster.run
    clients = [json.loads(run("client", "add", f"admin-{uuid.uuid4().hex[:8]}", "--role", "System Administrator", "--json").stdout) for _ in range(2)]
    run("client", "disable", clients[0]["clientId"])
    [(user,)] = server.cluster.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [clients[1]["clientId"]])
    assert server.request("PATCH", f"systemusers({user})", {"isdisabled": True}).status_code == 204
    yield clients[0], user
    for client in clients:
        run("client", "remove", client["clientId"])


@pytest.fixture
def people(server):
    """A person in the role System Administrator who is disabled, and one in the role Basic User."""
    names = [f"p{uuid.uuid4().hex[:8]}" for _ in range(2)]
    for name, role in zip(names, ("System Administrator", "Basic User")):
        server.cluster.run("user", "add", name, "--role", role, stdin=f"{WORDS}\n")
    server.cluster.run("user", "disable", names[0])
    yield names
    for name in names:
        server.cluster.run("user", "remove", name)


@pytest.fixture
def team(server, roles):
    """A team with the role System Administrator and without members."""
    id = server.request("POST", "teams", {"name": f"t{uuid.uuid4().hex[:8]}"}).headers["OData-EntityId"].split("(")[-1].rstrip(")")
    assert server.request("POST", f"teams({id})/teamroles_association/$ref", {"@odata.id": f"roles({roles['System Administrator']})"}).status_code == 204
    yield id
    assert server.request("DELETE", f"teams({id})").status_code == 204


def test_each_way_to_another_administrator_awaits_an_approval(server, administrator, people, team, controlled):
    client, user = administrator
    ada = Person(server, "ada", WORDS)
    disabled, basic = people
    for page, form in [
        ("access/enable-client", {"id": client["clientId"]}),
        ("access/enable-user", {"id": person_id(server, disabled), "name": disabled}),
        ("access/role-user", {"id": person_id(server, basic), "name": basic, "role": "System Administrator", "confirmed": subject("role-user", person_id(server, basic), "Basic User", "System Administrator")}),
    ]:
        answer = ada.post(page, **form)
        assert MESSAGE in answer.text, (page, answer.status_code, answer.text[-2000:])
    sql = server.cluster.sql
    assert sql("SELECT disabled_on IS NOT NULL FROM config.api_client WHERE client_id = %s", [client["clientId"]]) == [(True,)]
    assert sql("SELECT disabled_on IS NOT NULL, role FROM config.console_user WHERE name = %s", [disabled]) == [(True, "System Administrator")]
    assert sql("SELECT role FROM config.console_user WHERE name = %s", [basic]) == [("Basic User",)]
    # These requests write records, which can't wait for an approval. They are refused.
    for answer in (
        server.request("PATCH", f"systemusers({user})", {"isdisabled": False}),
        server.request("POST", f"teams({team})/teammembership_association/$ref", {"@odata.id": f"systemusers({user})"}),
    ):
        assert answer.status_code == 403 and "give the role System Administrator" in answer.text, answer.text
    # A change that gives no power needs no approval.
    ada.post("access/role-user", id=person_id(server, basic), name=basic, role="Email Administrator", confirmed=subject("role-user", person_id(server, basic), "Basic User", "Email Administrator"))
    assert sql("SELECT role FROM config.console_user WHERE name = %s", [basic]) == [("Email Administrator",)]


@pytest.fixture
def by_their_user(server, roles):
    """A client and a disabled person, both in the role Basic User, whose systemusers have the role System Administrator."""
    run, sql, name = server.cluster.run, server.cluster.sql, f"u{uuid.uuid4().hex[:8]}"
    client = json.loads(run("client", "add", name, "--role", "Basic User", "--json").stdout)["clientId"]
    run("user", "add", name, "--role", "Basic User", stdin=f"{WORDS}\n")
    links = []
    for (user,) in sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s UNION ALL SELECT systemuser_id FROM config.console_user WHERE name = %s", [client, name]):
        links.append(f"systemusers({user})/systemuserroles_association")
        assert server.request("POST", f"{links[-1]}/$ref", {"@odata.id": f"roles({roles['System Administrator']})"}).status_code == 204
    run("user", "disable", name)
    yield client, name
    for link in links:
        assert server.request("DELETE", f"{link}({roles['System Administrator']})/$ref").status_code == 204
    run("client", "remove", client)
    run("user", "remove", name)


def test_who_is_an_administrator_by_their_user_awaits_an_approval_too(server, by_their_user, people, controlled):
    client, name = by_their_user
    ada = Person(server, "ada", WORDS)

    def state():
        return server.cluster.sql(
            "SELECT (SELECT array_agg(secret_id ORDER BY secret_id) FROM config.api_client_secret WHERE client_id = %s), disabled_on, verifier FROM config.console_user WHERE name = %s",
            [client, name])
    before = state()
    id = person_id(server, name)
    for page, form in [
        ("access/rotate-client", {"id": client}), ("access/enable-user", {"id": id, "name": name}), ("access/reset-user", {"id": id, "name": name, "password": WORDS}),
    ]:
        assert MESSAGE in ada.post(page, **form).text, page
    assert state() == before
    # Enabling a person in a lesser role needs no approval.
    basic = people[1]
    server.cluster.run("user", "disable", basic)
    ada.post("access/enable-user", id=person_id(server, basic), name=basic)
    assert server.cluster.sql("SELECT disabled_on FROM config.console_user WHERE name = %s", [basic]) == [(None,)]


def test_a_retired_key_is_shown_for_an_approval_too(server, controlled, second):
    run = server.cluster.run
    retired = server.cluster.key_version()
    refused = run("key", "change", check=False)
    assert refused.returncode == 1
    assert approve(second, next(r["approvalId"] for r in listed(server) if "generated" in r["subject"])).status_code == 204
    run("key", "change")
    shown = run("key", "show", "--version", str(retired), check=False)
    assert shown.returncode == 1 and MESSAGE in shown.stderr and not shown.stdout.strip()
    assert approve(second, next(r["approvalId"] for r in listed(server) if "retired" in r["subject"])).status_code == 204
    assert run("key", "show", "--version", str(retired)).stdout.strip()


def test_a_key_is_activated_for_an_approval(server, key, controlled, second):
    server.cluster.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
    activation = {"EncryptionKey": key, "ChangeEncryptionKey": False}
    assert server.request("GET", "IsDataEncryptionActive()").json()["IsActive"] is False
    id = awaited(server.request("POST", "SetDataEncryptionKey", activation))
    assert server.request("GET", "IsDataEncryptionActive()").json()["IsActive"] is False
    assert approve(second, id).status_code == 204
    assert server.request("POST", "SetDataEncryptionKey", activation).status_code == 204
    assert server.request("GET", "IsDataEncryptionActive()").json()["IsActive"] is True
    # SQL deleted a row of a key. Until `org attach` accepts that, the service makes no one a System Administrator.
    server.cluster.run("org", "attach", "contoso", "--yes")


def test_an_attachment_takes_no_rule_that_sql_wrote(server, controlled):
    run, sql = server.cluster.run, server.cluster.sql
    for rule in ("approval_seconds = NULL, sign_in_seconds = 3600", "approval_seconds = NULL", "approval_seconds = 604800"):
        sql(f"UPDATE config.key_control SET {rule}")
        run("org", "attach", "contoso", "--yes")
        # The strictest rule applies: a use of the key needs an approval and a recent sign-in.
        server.token = server.sign_in().json()["access_token"]
        awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
        assert "key-control-changed" in {f["code"] for f in json.loads(run("doctor", "--json", check=False).stdout)["findings"]}, rule
        sql("UPDATE config.key_control SET approval_seconds = 600, sign_in_seconds = NULL")
    assert json.loads(run("key", "control", "--json").stdout)["approvalSeconds"] == 600


def test_open_requests_of_one_caller_are_few(server, controlled, second):
    change = {"ChangeEncryptionKey": True}
    for number in range(20):
        awaited(server.request("POST", "SetDataEncryptionKey", {**change, "EncryptionKey": f"One-of-many-keys-{number}"}))
    more = server.request("POST", "SetDataEncryptionKey", {**change, "EncryptionKey": "One-of-many-keys-20"})
    assert more.status_code == 429 and more.json()["error"]["code"] != AWAITED
    assert len(listed(server)) == 20
    # The limit of open requests counts for each caller. A refused request does not count.
    awaited(second("GET", "RetrieveDataEncryptionKey()"))
    server.cluster.run("approval", "refuse", listed(server)[0]["approvalId"])
    awaited(server.request("POST", "SetDataEncryptionKey", {**change, "EncryptionKey": "One-of-many-keys-20"}))


def end(server, id):
    """Makes a request for approval expire: moves its times into the past, and signs the changed row."""
    sql = server.cluster.sql
    attestor = Attestor(server.cluster)
    sql("UPDATE config.approval SET created_on = created_on - interval '1 day', expires_on = expires_on - interval '1 day' WHERE approval_id = %s", [id])

    def moment(column):
        return f"(extract(epoch FROM {column} - {EPOCH}) * 1000000)::bigint"

    def optional(value):
        return b"\0" if value is None else b"\1" + value

    [(approval, organization, operation, subject, digest, requester, requester_id, address, created, expires, approver, approver_id)] = sql(
        f"""SELECT approval_id, organization_id, operation, subject, digest, requester, requester_id, address, {moment('created_on')}, {moment('expires_on')},
                   approver, approver_id FROM config.approval WHERE approval_id = %s""", [id])
    tag = attestor.tag("attested approval", [
        approval.bytes, organization.bytes, operation.encode(), subject.encode(), bytes(digest), requester.encode(),
        optional(requester_id and requester_id.bytes), optional(address and address.encode()), b"\1" + struct.pack(">q", created),
        b"\1" + struct.pack(">q", expires), optional(approver and approver.encode()), optional(approver_id and approver_id.bytes)])
    sql("UPDATE config.approval SET tag = %s WHERE approval_id = %s", [tag, id])
    grants = attestor.grants()
    name = attestor.name("approval", [approval.bytes])
    assert name in grants
    grants[name] = tag[:16]
    attestor.sign(grants)


def test_a_request_that_expired_is_none(server, controlled, second):
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    end(server, id)
    late = approve(second, id)
    assert late.status_code == 404 and "expired" in late.text
    # A request that was approved expires too if nobody uses it in time.
    new = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert new != id and approve(second, new).status_code == 204
    end(server, new)
    third = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert third not in (id, new) and [r["approvalId"] for r in listed(server)] == [third]
