"""Commands, records, links, SOAP and the console refuse to take away the last System Administrator."""

import concurrent.futures
import json
import uuid

import pytest
import soap
from test_batches import change_set, part
from test_people_and_secrets import Person

ROLES, MEMBERS, TEAM_ROLES = "systemuserroles_association", "teammembership_association", "teamroles_association"
LAST = "last System Administrator"
WORDS = "long words of a person"


@pytest.fixture
def person(server):
    """A function that adds a person, who is removed after the test. Returns the name and the systemuser."""
    names = []

    def add(role="System Administrator"):
        names.append(f"person-{uuid.uuid4().hex[:8]}")
        server.cluster.run("user", "add", names[-1], "--role", role, stdin=f"{WORDS}\n")
        [(user,)] = server.cluster.sql("SELECT systemuser_id FROM config.console_user WHERE name = %s", [names[-1]])
        return names[-1], str(user)

    yield add
    for name in names:
        server.cluster.run("user", "remove", name, "--even-if-last")


@pytest.fixture(scope="module")
def roles(server):
    return {r["name"]: r["roleid"] for r in server.request("GET", "roles?$select=name").json()["value"]}


def is_refused(response):
    assert response.status_code == 400 and LAST in response.text and "first" in response.text, (response.status_code, response.text)


def disable(server, user, value=True):
    return server.request("PATCH", f"systemusers({user})", {"isdisabled": value})


def link(server, path, address):
    response = server.request("POST", f"{path}/$ref", {"@odata.id": address})
    assert response.status_code == 204, response.text


def create(server, collection, body):
    return server.request("POST", collection, body).headers["OData-EntityId"].split("(")[-1].rstrip(")")


def test_a_systemuser_that_is_disabled(server, person):
    _, user = person()
    is_refused(disable(server, user))
    is_refused(server.request("PUT", f"systemusers({user})/isdisabled", {"value": True}))
    change = part("PATCH", f"/contoso/api/data/v9.2/systemusers({user})", {"isdisabled": True}, id=1)
    assert LAST in batch(server, change) and LAST in batch(server, change_set(change))
    assert server.cluster.sql("SELECT isdisabled FROM systemuser WHERE systemuserid = %s", [user]) in ([(False,)], [(None,)])
    # Of two administrators, either can be disabled, but not both.
    _, other = person()
    assert disable(server, user).status_code == 204
    is_refused(disable(server, other))
    assert disable(server, user, False).status_code == 204 and disable(server, other).status_code == 204
    is_refused(disable(server, user))


def batch(server, content):
    return server.connections.session.post(
        f"{server.base}/contoso/api/data/v9.2/$batch", data=f"--b\r\n{content}\r\n--b--\r\n",
        headers={"Content-Type": 'multipart/mixed; boundary="b"'}).text


def test_two_that_are_disabled_at_the_same_moment(server, person):
    (_, one), (_, two) = person(), person()
    with concurrent.futures.ThreadPoolExecutor(2) as threads:
        for _ in range(5):
            codes = sorted(r.status_code for r in threads.map(lambda user: disable(server, user), (one, two)))
            assert codes == [204, 400]
            for user in (one, two):
                assert disable(server, user, False).status_code == 204


def test_soap(server, person, roles):
    _, user = person()
    service = soap.deployment_of(server)
    update = soap.operation("Update", f"<entity>{soap.entity('systemuser', soap.parameter('isdisabled', 'boolean', 'true'), id=user)}</entity>")
    assert LAST in soap.fault(soap.call(service, update))[2]
    _, granted = person("Basic User")
    link(server, f"systemusers({granted})/{ROLES}", f"roles({roles['System Administrator']})")
    assert disable(server, user).status_code == 204
    assert LAST in soap.fault(soap.call(service, disassociate(granted, roles["System Administrator"])))[2]
    assert disable(server, user, False).status_code == 204
    assert soap.call(service, disassociate(granted, roles["System Administrator"])).tag.endswith("DisassociateResponse")


def disassociate(user, role):
    return soap.operation(
        "Disassociate",
        f"<entityName>systemuser</entityName><entityId>{user}</entityId><relationship><x:PrimaryEntityRole i:nil=\"true\"/>"
        f"<x:SchemaName>{ROLES}</x:SchemaName></relationship><relatedEntities><x:EntityReference>{soap.reference('role', role)}"
        "</x:EntityReference></relatedEntities>")


def test_a_role_that_a_record_gave(server, person, roles):
    (name, own), (_, granted) = person(), person("Basic User")
    role = roles["System Administrator"]
    link(server, f"systemusers({granted})/{ROLES}", f"roles({role})")
    # The administrator by a record counts, so the other one can lose the role.
    server.cluster.run("user", "role", name, "Basic User")
    is_refused(server.request("DELETE", f"systemusers({granted})/{ROLES}({role})/$ref"))
    is_refused(server.request("DELETE", f"roles({role})/{ROLES}({granted})/$ref"))
    is_refused(disable(server, granted))
    # A role that SQL wrote grants nothing, so this person does not count as an administrator.
    server.cluster.sql("INSERT INTO systemuserroles (systemuserid, roleid) VALUES (%s, %s)", [own, role])
    is_refused(server.request("DELETE", f"systemusers({granted})/{ROLES}({role})/$ref"))
    server.cluster.sql("DELETE FROM systemuserroles WHERE systemuserid = %s", [own])
    server.cluster.run("user", "role", name, "System Administrator")
    assert server.request("DELETE", f"systemusers({granted})/{ROLES}({role})/$ref").status_code == 204
    assert LAST in server.cluster.run("user", "role", name, "Basic User", check=False).stderr


def test_a_team_that_gave_the_role(server, person, roles):
    (name, _), (_, member) = person(), person("Basic User")
    team = create(server, "teams", {"name": f"administrators {uuid.uuid4().hex[:8]}"})
    link(server, f"teams({team})/{TEAM_ROLES}", f"roles({roles['System Administrator']})")
    link(server, f"teams({team})/{MEMBERS}", f"systemusers({member})")
    server.cluster.run("user", "disable", name)
    is_refused(server.request("DELETE", f"teams({team})/{MEMBERS}({member})/$ref"))
    is_refused(server.request("DELETE", f"teams({team})/{TEAM_ROLES}({roles['System Administrator']})/$ref"))
    is_refused(server.request("DELETE", f"teams({team})"))
    assert server.request("GET", f"teams({team})").status_code == 200
    server.cluster.run("user", "enable", name)
    assert server.request("DELETE", f"teams({team})").status_code == 204


def test_commands_and_the_console(server, person):
    name, user = person()
    for command in (("disable", name), ("remove", name), ("role", name, "Basic User")):
        refused = server.cluster.run("user", *command, check=False)
        assert refused.returncode == 1 and LAST in refused.stderr
    # A person whom only SQL made an administrator does not count.
    raised, _ = person("Basic User")
    server.cluster.sql("UPDATE config.console_user SET role = 'System Administrator' WHERE name = %s", [raised])
    assert LAST in server.cluster.run("user", "disable", name, check=False).stderr
    server.cluster.sql("UPDATE config.console_user SET role = 'Basic User' WHERE name = %s", [raised])
    # A person whose systemuser is disabled does not count.
    other, second = person()
    assert disable(server, second).status_code == 204
    assert LAST in server.cluster.run("user", "disable", name, check=False).stderr
    visitor = Person(server, name, WORDS)
    assert LAST in visitor.post("access/disable-user", id=person_id(server, name)).text
    assert disable(server, second, False).status_code == 204
    server.cluster.run("user", "disable", name)
    assert not Person(server, name, WORDS).is_signed_in and Person(server, other, WORDS).is_signed_in


def person_id(server, name):
    return str(server.cluster.sql("SELECT user_id FROM config.console_user WHERE name = %s", [name])[0][0])


def test_clients_count_where_no_person_administrates(server):
    run = server.cluster.run
    [(own,)] = server.cluster.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [server.client["clientId"]])
    id = server.client["clientId"]
    last = "last client in the role System Administrator"
    for command in (("disable", id), ("remove", id), ("role", id, "Basic User")):
        refused = run("client", *command, check=False)
        assert refused.returncode == 1 and last in refused.stderr
    # A client can't disable itself, so the last client can't be disabled over the Web API.
    response = disable(server, own)
    assert response.status_code == 400 and "itself" in response.text
    spare = json.loads(run("client", "add", "spare", "--role", "System Administrator", "--json").stdout)["clientId"]
    run("client", "role", id, "Basic User")
    assert last in run("client", "disable", spare, check=False).stderr
    run("client", "role", id, "System Administrator")
    run("client", "disable", spare)
    run("client", "remove", spare, "--even-if-last")
    # After a leak, an operator must be able to disable even the last client.
    run("client", "disable", id, "--even-if-last")
    assert server.request("GET", "WhoAmI").status_code == 401
    run("client", "enable", id)
    assert server.request("GET", "WhoAmI").status_code == 200
