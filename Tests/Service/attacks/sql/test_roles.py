"""What SQL without the key-encryption key can't do with roles of users and teams: give a role, restore a revoked one, or exchange roles by renaming them."""

import uuid

import pytest

ROLES, TEAMS, TEAM_ROLES = "systemuserroles_association", "teammembership_association", "teamroles_association"


@pytest.fixture(scope="module")
def place(place):
    place.run("key", "show")
    return place


class Client:
    def __init__(self, place):
        self.place, self.token = place, place.token(place.add_client(f"roles-{uuid.uuid4().hex[:8]}", "Basic User")).json()["access_token"]
        self.user = place.get("WhoAmI", self.token).json()["UserId"]

    def administers(self, server=None):
        return self.place.get("emailserverprofiles", self.token, server).status_code == 200


@pytest.fixture
def client(place):
    return Client(place)


def admin(place, method, path, body=None):
    answer = place.get(path, place.server.token, method=method, json=body)
    assert answer.status_code in (200, 204), answer.text
    return answer


def role_id(place, name="Email Administrator"):
    [(id,)] = place.sql("SELECT roleid::text FROM org_contoso.role WHERE name = %s", [name])
    return id


def link(place, path, address):
    admin(place, "POST", f"{path}/$ref", {"@odata.id": address})


def made(place, name):
    answer = place.get("teams", place.server.token, method="POST", json={"name": name})
    return answer.headers["OData-EntityId"][-37:-1]


def test_a_role_that_sql_inserts_is_none(place, role, client):
    # Once the organization has given a role, the service verifies links between users and roles.
    link(place, f"systemusers({Client(place).user})/{ROLES}", f"roles({role_id(place)})")
    place.sql_as(role, "INSERT INTO org_contoso.systemuserroles (systemuserid, roleid) VALUES (%s, %s)", [client.user, role_id(place)])
    try:
        place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL gave a role"))
        assert client.user in place.doctor()["role-not-given-here"]
        # When an administrator gives the same role through the service, the user has it.
        link(place, f"systemusers({client.user})/{ROLES}", f"roles({role_id(place)})")
        assert client.administers()
    finally:
        place.sql("DELETE FROM org_contoso.systemuserroles WHERE systemuserid = %s", [client.user])


def test_a_role_that_was_taken_away_is_not_put_back(place, role, client):
    path = f"systemusers({client.user})/{ROLES}"
    link(place, path, f"roles({role_id(place)})")
    assert client.administers()
    admin(place, "DELETE", f"{path}({role_id(place)})/$ref")
    assert not client.administers()
    place.sql_as(role, "INSERT INTO org_contoso.systemuserroles (systemuserid, roleid) VALUES (%s, %s)", [client.user, role_id(place)])
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL put a role back"))
    # SQL hides the row while an administrator takes the role away, and restores it. The user does not have the role.
    link(place, path, f"roles({role_id(place)})")
    place.sql("DELETE FROM org_contoso.systemuserroles WHERE systemuserid = %s", [client.user])
    admin(place, "DELETE", f"{path}({role_id(place)})/$ref")
    place.sql_as(role, "INSERT INTO org_contoso.systemuserroles (systemuserid, roleid) VALUES (%s, %s)", [client.user, role_id(place)])
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL put a role back"))
    place.sql("DELETE FROM org_contoso.systemuserroles WHERE systemuserid = %s", [client.user])


def test_members_and_roles_of_teams_that_sql_writes_are_none(place, role, client):
    team, other = made(place, f"powerful {uuid.uuid4().hex[:8]}"), made(place, f"weak {uuid.uuid4().hex[:8]}")
    link(place, f"teams({team})/{TEAM_ROLES}", f"roles({role_id(place)})")
    place.sql_as(role, "INSERT INTO org_contoso.teammembership (teamid, systemuserid) VALUES (%s, %s)", [team, client.user])
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL made a member"))
    assert team in place.doctor()["role-not-given-here"]
    # The service added the member to the team, but SQL gave the team the role.
    link(place, f"teams({other})/{TEAMS}", f"systemusers({client.user})")
    place.sql_as(role, "INSERT INTO org_contoso.teamroles (teamid, roleid) VALUES (%s, %s)", [other, role_id(place)])
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL gave a team a role"))
    # The team's rights to records do not include the rights of that role.
    profile = admin(place, "POST", "emailserverprofiles", {"name": "theirs"}).headers["OData-EntityId"][-37:-1]

    def rights(of):
        path = f"teams({of})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'emailserverprofiles({profile})'}}"
        return admin(place, "GET", path).json()["AccessRights"]

    assert rights(other) == "None" and "WriteAccess" in rights(team)
    # The control: the service added the member and gave the team its role.
    link(place, f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    assert client.administers()
    # An administrator deletes the team, and SQL restores the team, its member and its role. They grant nothing.
    rows = [place.sql(f"SELECT {columns} FROM org_contoso.{table} WHERE teamid = %s", [team])[0] for table, columns in (
        ("team", "teamid, name, businessunitid"), ("teammembership", "teamid, systemuserid"), ("teamroles", "teamid, roleid"))]
    admin(place, "DELETE", f"teams({team})")
    assert not client.administers()
    for (table, columns), row in zip((("team", "teamid, name, businessunitid"), ("teammembership", "teamid, systemuserid"), ("teamroles", "teamid, roleid")), rows):
        place.sql_as(role, f"INSERT INTO org_contoso.{table} ({columns}) VALUES ({', '.join(['%s'] * len(row))})", row)
    place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL put a team back"))
    place.sql("DELETE FROM org_contoso.team WHERE teamid = ANY (%s::uuid[])", [[team, other]])


def test_a_team_that_is_made_again_has_neither_its_members_nor_its_roles(place, client):
    """An administrator creates a team with the id of a deleted one, and gives it a role or a member. SQL restores the other half, which grants nothing."""
    team, label = made(place, f"again {uuid.uuid4().hex[:8]}"), f"again {uuid.uuid4().hex[:8]}"
    of_role, of_member = (f"teams({team})/{TEAM_ROLES}", f"roles({role_id(place)})"), (f"teams({team})/{TEAMS}", f"systemusers({client.user})")
    link(place, *of_role)
    link(place, *of_member)
    assert client.administers()
    for given, statement, values in (
            (of_role, "INSERT INTO org_contoso.teammembership (teamid, systemuserid) VALUES (%s, %s)", [team, client.user]),
            (of_member, "INSERT INTO org_contoso.teamroles (teamid, roleid) VALUES (%s, %s)", [team, role_id(place)])):
        admin(place, "DELETE", f"teams({team})")
        admin(place, "POST", "teams", {"teamid": team, "name": label})
        link(place, *given)
        place.sql(statement, values)
        place.everywhere(lambda server: not client.administers(server) or pytest.fail("SQL put half of a team back"))
    # The control: the service gives the team both its member and its role.
    link(place, *of_role)
    assert client.administers()
    admin(place, "DELETE", f"teams({team})")


def test_a_role_that_sql_renames_is_not_given(place, role, client):
    basic, administrator = role_id(place, "Basic User"), role_id(place, "System Administrator")
    link(place, f"systemusers({Client(place).user})/{ROLES}", f"roles({basic})")
    link(place, f"systemusers({client.user})/{ROLES}", f"roles({basic})")

    def swap(one, other, by):
        for id, name in ((basic, "x"), (administrator, one), (basic, other)):
            place.sql_as(by, "UPDATE org_contoso.role SET name = %s WHERE roleid = %s", [name, id])

    swap("Basic User", "System Administrator", "postgres" if role == "fieldseal_service" else role)
    try:
        # SQL has exchanged the names of the two roles. Neither is given, and the client gets no administrator's rights.
        assert place.get("RetrieveDataEncryptionKey()", client.token).status_code == 403
        answer = place.get(f"systemusers({client.user})/{ROLES}/$ref", place.server.token, method="POST", json={"@odata.id": f"roles({basic})"})
        assert answer.status_code == 403 and "changed by SQL" in answer.text
        assert place.get("RetrieveDataEncryptionKey()", client.token).status_code == 403
        assert "role-record-changed" in place.doctor()
    finally:
        swap("System Administrator", "Basic User", "postgres")
    assert place.get("mailboxes", client.token).status_code == 200


def test_a_person_has_the_roles_of_their_user(place):
    """The control: a role that the user gets adds pages to the console, until the role is taken away."""
    name = f"person-{uuid.uuid4().hex[:8]}"
    place.add_user(name, "Basic User")
    visitor = place.visit(name)
    [(user,)] = place.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])
    assert "records/emailserverprofiles" not in visitor.page().text
    link(place, f"systemusers({user})/{ROLES}", f"roles({role_id(place)})")
    assert visitor.page("records/emailserverprofiles").status_code == 200 and "records/emailserverprofiles" in visitor.page().text
    assert visitor.page("access").status_code != 200
    admin(place, "DELETE", f"systemusers({user})/{ROLES}({role_id(place)})/$ref")
    assert "records/emailserverprofiles" not in visitor.page().text


def test_attaching_again_keeps_what_the_service_gave_and_nothing_else(place):
    given, forged = Client(place), Client(place)
    link(place, f"systemusers({given.user})/{ROLES}", f"roles({role_id(place)})")
    place.sql("INSERT INTO org_contoso.systemuserroles (systemuserid, roleid) VALUES (%s, %s)", [forged.user, role_id(place)])
    said = place.run("org", "attach", "contoso", "--yes")
    assert given.administers() and not forged.administers(), said.stdout
    place.sql("DELETE FROM org_contoso.systemuserroles WHERE systemuserid = %s", [forged.user])


def test_roles_that_sql_deletes_are_named_and_put_back(own_place):
    place = own_place
    client = Client(place)
    assert "roles-missing" not in place.doctor()
    place.sql_as("fieldseal_service", "DELETE FROM org_contoso.role WHERE name = 'Email Router'")
    assert "lacks Email Router:" in place.doctor()["roles-missing"]
    place.sql_as("fieldseal_service", "DELETE FROM org_contoso.role")
    assert all(name in place.doctor()["roles-missing"] for name in ("System Administrator", "Email Administrator", "Email Router", "Basic User"))
    said = place.run("org", "attach", "contoso", "--yes").stdout
    assert "SQL deleted or renamed the roles" in said and "Nothing differs" not in said
    assert not {"roles-missing", "role-record-changed", "attested-rows-missing"} & place.doctor().keys()
    # The restored roles can be given. Attaching again finds no difference.
    link(place, f"systemusers({client.user})/{ROLES}", f"roles({role_id(place)})")
    assert client.administers()
    assert "Nothing differs" in place.run("org", "attach", "contoso", "--yes").stdout
