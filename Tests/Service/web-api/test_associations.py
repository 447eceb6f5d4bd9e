"""Many-to-many relationships: roles of users and teams, and members of teams. They are read and changed in each language and form of request, and
decide what callers may do."""

import uuid

import pytest
import soap
from service import refused
from test_batches import change_set, multipart, part

ROLES, TEAMS, TEAM_ROLES = "systemuserroles_association", "teammembership_association", "teamroles_association"


@pytest.fixture(scope="module")
def roles(service):
    return {r["name"]: r["roleid"] for r in service.get("roles?$select=name").json()["value"]}


def client_of(service, role):
    """Adds a client. Returns (token, systemuserid)."""
    made = service.json("client", "add", f"link-{uuid.uuid4().hex[:8]}", "--org", "contoso", "--role", role)
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    return token, service.get("WhoAmI", token=token).json()["UserId"]


@pytest.fixture
def person(service):
    return client_of(service, "Basic User")


@pytest.fixture
def team(service):
    return service.create("teams", {"name": f"link {uuid.uuid4().hex[:8]}"})


def link(service, path, address, **options):
    return service.request("POST", f"{path}/$ref", {"@odata.id": address}, **options)


def names(service, path, **options):
    response = service.get(path, **options)
    assert response.status_code == 200, response.text
    return sorted(r["name"] for r in response.json()["value"])


# What a caller may do


def test_roles_of_a_user_add_up(service, roles, person):
    token, user = person
    profile = service.create("emailserverprofiles", {"name": f"linked {user}"})
    assert service.get(f"emailserverprofiles({profile})", token=token).status_code == 403
    assert names(service, f"systemusers({user})/{ROLES}") == ["Basic User"]
    assert link(service, f"systemusers({user})/{ROLES}", f"roles({roles['Email Administrator']})").status_code == 204
    assert names(service, f"systemusers({user})/{ROLES}") == ["Basic User", "Email Administrator"]
    # The new role applies to the next request with the same token. The client's own role still applies too.
    assert service.get(f"emailserverprofiles({profile})", token=token).status_code == 200
    email = service.create("emails", {"subject": "a Basic User's"}, token=token)
    assert service.get(f"emails({email})", token=token).status_code == 200
    privileges = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()", token=token).json()["RolePrivileges"]
    assert {"prvReadEmailServerProfile", "prvCreateActivity"} <= {p["PrivilegeName"] for p in privileges}
    assert service.request("DELETE", f"systemusers({user})/{ROLES}({roles['Email Administrator']})/$ref").status_code == 204
    assert service.get(f"emailserverprofiles({profile})", token=token).status_code == 403
    assert service.get(f"emails({email})", token=token).status_code == 200
    kinds = [(k, d) for k, d in service.sql("SELECT kind, details FROM org_contoso.security_event WHERE kind LIKE 'role %%' AND details LIKE %s ORDER BY 1", [f"%{user}%"])]
    assert kinds == [("role given", f"systemuser {user}, role Email Administrator"), ("role taken away", f"systemuser {user}, role Email Administrator")]


def test_roles_of_a_team_are_its_members(service, roles, person, team):
    token, user = person
    queue = service.create("queues", {"name": f"linked {user}"})
    assert link(service, f"teams({team})/{TEAM_ROLES}", f"roles({roles['Email Administrator']})").status_code == 204
    assert service.get(f"queues({queue})", token=token).status_code == 403
    assert link(service, f"teams({team})/{TEAMS}", f"systemusers({user})").status_code == 204
    assert service.get(f"queues({queue})", token=token).status_code == 200
    # The role of a team is not listed among the user's own roles.
    assert names(service, f"systemusers({user})/{ROLES}") == ["Basic User"]
    assert service.request("DELETE", f"teams({team})/{TEAMS}?$id=systemusers({user})").status_code in (404, 405)
    assert service.request("DELETE", f"teams({team})/{TEAMS}/$ref?$id=systemusers({user})").status_code == 204
    assert service.get(f"queues({queue})", token=token).status_code == 403
    # AddMembersTeam adds a member too. When the team is deleted, its former members have no rights by it.
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": user}]}
    assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members).status_code == 204
    assert service.get(f"queues({queue})", token=token).status_code == 200
    assert service.request("DELETE", f"teams({team})").status_code == 204
    assert service.get(f"queues({queue})", token=token).status_code == 403


def test_an_attribute_is_written_as_far_as_one_role_allows(service, roles, person):
    """An Email Administrator may write most attributes of all user settings. A Basic User may write one more attribute, only of their own settings. A
    user with both roles may not write that attribute for others."""
    token, user = person
    other = client_of(service, "Email Administrator")[1]
    assert link(service, f"systemusers({user})/{ROLES}", f"roles({roles['Email Administrator']})").status_code == 204
    assert service.request("PATCH", f"usersettingscollection({other})", {"emailusername": "x"}, token=token).status_code == 204
    assert service.request("PATCH", f"usersettingscollection({user})", {"issendasallowed": True}, token=token).status_code == 204
    refused(service.request("PATCH", f"usersettingscollection({other})", {"issendasallowed": True, "emailusername": "y"}, token=token), 404, "0x80040217")
    assert service.get(f"usersettingscollection({other})?$select=emailusername").json()["emailusername"] == "x"


def test_an_administrator_s_role_is_one(service, roles, person):
    token, user = person
    refused(service.get("RetrieveDataEncryptionKey()", token=token), 403, "0x80040220")
    assert link(service, f"systemusers({user})/{ROLES}", f"roles({roles['System Administrator']})").status_code == 204
    assert service.get("RetrieveDataEncryptionKey()", token=token).status_code == 200
    assert service.get("WhoAmI", token=token, MSCRMCallerID=user).status_code == 200
    assert service.request("DELETE", f"systemusers({user})/{ROLES}({roles['System Administrator']})/$ref").status_code == 204
    refused(service.get("RetrieveDataEncryptionKey()", token=token), 403, "0x80040220")


def test_a_user_that_no_client_acts_as_is_impersonated_with_its_roles(service, roles):
    user = service.create("systemusers", {"fullname": "Only roles", "domainname": f"only-{uuid.uuid4().hex[:8]}"})
    refused(service.get("WhoAmI", MSCRMCallerID=user), 403, "0x80040220")
    assert link(service, f"systemusers({user})/{ROLES}", f"roles({roles['Basic User']})").status_code == 204
    assert service.get("WhoAmI", MSCRMCallerID=user).json()["UserId"] == user
    refused(service.get("queues", MSCRMCallerID=user), 403, "0x80040220")


@pytest.mark.parametrize("role", ["Email Administrator", "Basic User", "Email Router"])
def test_only_administrators_change_roles_and_teams(service, roles, team, role):
    token, me = client_of(service, role)
    for path, address in ((f"systemusers({me})/{ROLES}", f"roles({roles['System Administrator']})"), (f"teams({team})/{TEAMS}", f"systemusers({me})"),
                          (f"teams({team})/{TEAM_ROLES}", f"roles({roles['Email Administrator']})"), (f"roles({roles['System Administrator']})/{ROLES}", f"systemusers({me})")):
        before = service.get(f"{path}/$count").text
        refused(link(service, path, address, token=token), 403, "0x80040220")
        # An administrator who acts for the user needs the user's rights for this.
        refused(link(service, path, address, MSCRMCallerID=me), 403, "0x80040220")
        assert service.get(f"{path}/$count").text == before
    # Each role may read these links.
    assert service.get(f"systemusers({me})/{ROLES}", token=token).status_code == 200


def test_a_role_that_releases_passwords_is_not_given(service, roles, team):
    me = service.get("WhoAmI").json()["UserId"]
    for path in (f"systemusers({me})/{ROLES}", f"teams({team})/{TEAM_ROLES}"):
        refused(link(service, path, f"roles({roles['Email Router']})"), 400, "0x80040203")
    refused(service.request("POST", "fieldseal.LeaseMailbox", {"HostId": "x"}), 403, "0x80040220")


def test_links_that_are_not_there(service, roles, person, team):
    _, user = person
    refused(service.request("DELETE", f"systemusers({user})/{ROLES}({roles['Email Administrator']})/$ref"), 404, "0x80040217")
    # The role that a client has as a client can't be removed as a link of its systemuser.
    answer = service.request("DELETE", f"systemusers({user})/{ROLES}({roles['Basic User']})/$ref")
    refused(answer, 400, "0x80040203")
    assert "client or a person" in answer.json()["error"]["message"]
    assert link(service, f"teams({team})/{TEAMS}", f"systemusers({uuid.uuid4()})").status_code == 404
    assert link(service, f"teams({uuid.uuid4()})/{TEAMS}", f"systemusers({user})").status_code == 404
    assert link(service, f"teams({team})/{TEAMS}", f"roles({roles['Basic User']})").status_code == 400
    assert service.request("POST", f"teams({team})/{TEAMS}", {"fullname": "new"}).status_code == 405
    # Creating a link twice succeeds, and there is one link.
    for _ in range(2):
        assert link(service, f"teams({team})/{TEAMS}", f"systemusers({user})").status_code == 204
    assert service.get(f"teams({team})/{TEAMS}/$count").text == "1"


# Reading links


@pytest.fixture(scope="module")
def linked(service, roles):
    """A team with two members and a role: (team, {name: systemuserid})."""
    team = service.create("teams", {"name": f"read {uuid.uuid4().hex[:8]}"})
    users = {n: service.create("systemusers", {"fullname": f"Reader {n}", "domainname": f"{n}-{uuid.uuid4().hex[:8]}"}) for n in ("one", "two")}
    for user in users.values():
        assert link(service, f"teams({team})/{TEAMS}", f"systemusers({user})").status_code == 204
    assert link(service, f"systemusers({users['one']})/{ROLES}", f"roles({roles['Basic User']})").status_code == 204
    assert link(service, f"teams({team})/{TEAM_ROLES}", f"roles({roles['Basic User']})").status_code == 204
    return team, users


def test_navigation(service, linked, roles):
    team, users = linked
    answer = service.get(f"teams({team})/{TEAMS}?$select=fullname&$orderby=fullname&$count=true").json()
    assert [u["fullname"] for u in answer["value"]] == ["Reader one", "Reader two"] and answer["@odata.count"] == 2
    assert answer["@odata.context"].endswith("#systemusers(fullname)")
    page = service.get(f"teams({team})/{TEAMS}?$select=fullname&$orderby=fullname", Prefer="odata.maxpagesize=1").json()
    following = service.get(page["@odata.nextLink"], Prefer="odata.maxpagesize=1").json()
    assert [p["value"][0]["fullname"] for p in (page, following)] == ["Reader one", "Reader two"]
    addresses = service.get(f"teams({team})/{TEAMS}/$ref").json()
    assert {a["@odata.id"] for a in addresses["value"]} == {f"{service.api}/systemusers({u})" for u in users.values()}
    assert service.get(f"teams({team})/{TEAMS}/$count?$filter=fullname eq 'Reader two'").text == "1"
    assert service.get(f"roles({roles['Basic User']})/{ROLES}/$count?$filter=systemuserid eq {users['one']}").text == "1"
    assert service.get(f"teams({team})/{TEAMS}?fetchXml=<fetch/>").status_code == 400
    assert service.request("OPTIONS", f"teams({team})/{TEAMS}/$ref").headers["Allow"] == "GET, HEAD, POST, DELETE, OPTIONS"
    assert service.get(f"teams({uuid.uuid4()})/{TEAMS}").status_code == 404


def test_expand(service, linked):
    team, users = linked
    answer = service.get(f"teams?$filter=teamid eq {team}&$select=name&$expand={TEAMS}($select=fullname;$orderby=fullname desc;$expand={ROLES}($select=name)),{TEAM_ROLES}($select=name)").json()
    (record,) = answer["value"]
    assert [u["fullname"] for u in record[TEAMS]] == ["Reader two", "Reader one"]
    assert [[r["name"] for r in u[ROLES]] for u in record[TEAMS]] == [[], ["Basic User"]]
    assert [r["name"] for r in record[TEAM_ROLES]] == ["Basic User"]
    assert set(record[TEAMS][0]) == {"@odata.etag", "fullname", "systemuserid", "ownerid", ROLES}
    one = service.get(f"teams({team})?$select=name&$expand={TEAMS}($filter=fullname eq 'Reader one';$select=fullname)").json()
    assert [u["fullname"] for u in one[TEAMS]] == ["Reader one"]
    top = service.get(f"teams({team})?$select=name&$expand={TEAMS}($top=1;$orderby=fullname;$select=fullname)").json()
    assert [u["fullname"] for u in top[TEAMS]] == ["Reader one"]
    references = service.get(f"teams({team})?$select=name&$expand={TEAMS}/$ref").json()
    assert len(references[TEAMS]) == 2 and set(references[TEAMS][0]) == {"@odata.id"}
    assert service.get(f"teams({team})?$expand={TEAMS}($select=nosuch)").status_code == 400


def test_any_and_all(service, linked, roles):
    team, users = linked

    def teams(condition):
        answer = service.get(f"teams?$select=name&$filter=teamid eq {team} and {condition}")
        assert answer.status_code == 200, answer.text
        return len(answer.json()["value"])

    assert teams(f"{TEAMS}/any()") == 1
    assert teams(f"{TEAMS}/any(u:u/fullname eq 'Reader one')") == 1
    assert teams(f"{TEAMS}/any(u:u/fullname eq 'Nobody')") == 0
    assert teams(f"{TEAMS}/all(u:startswith(u/fullname,'Reader'))") == 1
    assert teams(f"{TEAMS}/all(u:u/fullname eq 'Reader one')") == 0
    assert teams(f"not {TEAM_ROLES}/any(r:r/name eq 'Basic User')") == 0
    found = service.get(f"systemusers?$select=fullname&$filter={ROLES}/any(r:r/roleid eq {roles['Basic User']}) and contains(fullname,'Reader') and systemuserid eq {users['one']}").json()
    assert [u["fullname"] for u in found["value"]] == ["Reader one"]


def test_fetchxml_sql_and_the_links_themselves(service, linked):
    team, users = linked
    fetch = (f"<fetch><entity name='systemuser'><attribute name='fullname'/><order attribute='fullname'/>"
             f"<link-entity name='teammembership' from='systemuserid' to='systemuserid' intersect='true' visible='false'>"
             f"<link-entity name='team' from='teamid' to='teamid' alias='t'><attribute name='name'/><filter><condition attribute='teamid' operator='eq' value='{team}'/></filter></link-entity>"
             f"</link-entity></entity></fetch>")
    answer = service.get(f"systemusers?fetchXml={fetch}")
    assert [u["fullname"] for u in answer.json()["value"]] == ["Reader one", "Reader two"], answer.text
    sql = f"SELECT u.fullname, r.name FROM systemuser AS u JOIN systemuserroles AS s ON s.systemuserid = u.systemuserid JOIN role AS r ON r.roleid = s.roleid WHERE u.systemuserid = '{users['one']}'"
    assert [(r["fullname"], r["name"]) for r in service.get(f"systemusers?sql={sql}").json()["value"]] == [("Reader one", "Basic User")]
    rows = service.get(f"teammemberships?$filter=teamid eq {team}").json()["value"]
    assert {r["systemuserid"] for r in rows} == set(users.values())
    assert service.get(f"teammemberships({rows[0]['teammembershipid']})").json()["teamid"] == team
    # The role that a client has as a client is listed as a link, and the link can be read by its id.
    me = service.get("WhoAmI").json()["UserId"]
    (own,) = service.get(f"systemuserrolescollection?$filter=systemuserid eq {me}").json()["value"]
    assert service.get(f"systemuserrolescollection({own['systemuserroleid']})").json()["roleid"] == own["roleid"]
    assert service.request("POST", "systemuserrolescollection", {"systemuserid": me, "roleid": own["roleid"]}).status_code in (405, 501)
    assert service.request("DELETE", f"systemuserrolescollection({own['systemuserroleid']})").status_code in (405, 501)


# Other forms of requests


def test_change_sets_and_nested_creates(service, roles):
    user = service.create("systemusers", {"fullname": "Set", "domainname": f"set-{uuid.uuid4().hex[:8]}"})
    name = f"set {uuid.uuid4().hex[:8]}"
    made = service.create("teams", {"name": name, f"{TEAMS}@odata.bind": [f"/systemusers({user})"]})
    assert service.get(f"teams({made})/{TEAMS}/$count").text == "1"
    assert service.request("POST", "teams", {"name": name, f"{TEAMS}@odata.bind": [f"/roles({roles['Basic User']})"]}).status_code == 400
    assert service.request("POST", "teams", {"name": name, TEAMS: [{"fullname": "x"}]}).status_code == 400
    parts = [part("POST", f"teams({made})/{TEAM_ROLES}/$ref", {"@odata.id": f"{service.api}/roles({roles['Basic User']})"}, id=1),
             part("DELETE", f"teams({made})/{TEAMS}({user})/$ref", id=2)]
    response = multipart(service, change_set(*parts))
    assert response.status_code == 200, response.text
    assert service.get(f"teams({made})/{TEAM_ROLES}/$count").text == "1" and service.get(f"teams({made})/{TEAMS}/$count").text == "0"
    # If one part of a change set fails, none of its links is changed.
    parts = [part("POST", f"teams({made})/{TEAMS}/$ref", {"@odata.id": f"systemusers({user})"}, id=1),
             part("DELETE", f"teams({made})/{TEAM_ROLES}({roles['Email Administrator']})/$ref", id=2)]
    assert multipart(service, change_set(*parts)).status_code == 404
    assert service.get(f"teams({made})/{TEAMS}/$count").text == "0"


@pytest.mark.parametrize("form", ["operation", "message"])
def test_soap(service, roles, person, team, form):
    token, user = person

    def send(name, target, relationship, *related):
        def reference(entity, id):
            return f"<x:Id>{id}</x:Id><x:LogicalName>{entity}</x:LogicalName><x:Name xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'/>"

        others = "".join(f"<x:EntityReference>{reference(*r)}</x:EntityReference>" for r in related)
        relation = f"<x:PrimaryEntityRole xmlns:i='http://www.w3.org/2001/XMLSchema-instance' i:nil='true'/><x:SchemaName>{relationship}</x:SchemaName>"
        if form == "operation":
            return soap.call(service, f'<{name} xmlns="{soap.SERVICES}" {soap.DECLARATIONS}><entityName>{target[0]}</entityName><entityId>{target[1]}</entityId>'
                                      f"<relationship>{relation}</relationship><relatedEntities>{others}</relatedEntities></{name}>")
        parameters = "".join(
            f"<x:KeyValuePairOfstringanyType><p:key>{key}</p:key><p:value i:type='x:{type}'>{value}</p:value></x:KeyValuePairOfstringanyType>"
            for key, type, value in (("Target", "EntityReference", reference(*target)), ("Relationship", "Relationship", relation),
                                     ("RelatedEntities", "EntityReferenceCollection", others)))
        return soap.execute(service, name, parameters)

    send("Associate", ("systemuser", user), ROLES, ("role", roles["Email Administrator"]))
    send("Associate", ("team", team), TEAMS, ("systemuser", user))
    assert service.get("queues", token=token).status_code == 200
    assert service.get(f"teams({team})/{TEAMS}/$count").text == "1"
    send("Disassociate", ("role", roles["Email Administrator"]), ROLES, ("systemuser", user))
    send("Disassociate", ("systemuser", user), TEAMS, ("team", team))
    assert service.get("queues", token=token).status_code == 403
    assert service.get(f"teams({team})/{TEAMS}/$count").text == "0"


def test_metadata(service):
    answer = service.get("RelationshipDefinitions/Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata").json()["value"]
    assert {r["SchemaName"]: (r["Entity1LogicalName"], r["Entity2LogicalName"], r["IntersectEntityName"]) for r in answer} == {
        ROLES: ("systemuser", "role", "systemuserroles"), TEAMS: ("team", "systemuser", "teammembership"), TEAM_ROLES: ("team", "role", "teamroles")}
    user = service.get("EntityDefinitions(LogicalName='systemuser')?$select=LogicalName&$expand=ManyToManyRelationships($select=SchemaName)").json()
    assert {r["SchemaName"] for r in user["ManyToManyRelationships"]} == {ROLES, TEAMS}
    one = service.get(f"RelationshipDefinitions(SchemaName='{ROLES}')").json()
    assert one["@odata.type"] == "#Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata" and one["Entity1IntersectAttribute"] == "systemuserid"
    assert service.get(f"EntityDefinitions(LogicalName='team')/ManyToManyRelationships(SchemaName='{TEAM_ROLES}')?$select=SchemaName").json()["SchemaName"] == TEAM_ROLES
    for name in ("systemuserroles", "teamroles", "teammembership"):
        entity = service.get(f"EntityDefinitions(LogicalName='{name}')?$select=IsIntersect,OwnershipType").json()
        assert (entity["IsIntersect"], entity["OwnershipType"]) == (True, "None")


# Teams as owners


def test_a_team_owns_queues_and_emails(service, person, team):
    token, user = person
    queue = service.create("queues", {"name": f"owned {team}", "emailaddress": f"{team}@contoso.test", "ownerid@odata.bind": f"/teams({team})"})
    email = service.create("emails", {"subject": "a team's", "ownerid@odata.bind": f"/teams({team})"})
    assert service.get(f"emails({email})", token=token).status_code == 404
    refused(service.request("POST", "emails", {"subject": "no member", "ownerid@odata.bind": f"/teams({team})"}, token=token), 403, "0x80040220")
    assert link(service, f"teams({team})/{TEAMS}", f"systemusers({user})").status_code == 204
    # A member may read and write the team's records, and create records that the team owns, such as an e-mail from the team's queue.
    assert service.request("PATCH", f"emails({email})", {"subject": "a member's"}, token=token).status_code == 204
    sender = {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue})"}
    made = service.create("emails", {"subject": "for the team", "ownerid@odata.bind": f"/teams({team})", "email_activity_parties": [sender]}, token=token)
    record = service.get(f"emails({made})?$expand=ownerid&$select=subject,_ownerid_value,_owningteam_value,_owninguser_value", token=token).json()
    assert record["_ownerid_value"] == team == record["_owningteam_value"] and record["_owninguser_value"] is None
    assert record["ownerid"]["teamid"] == team
    assert [q["queueid"] for q in service.get(f"queues?$select=name&$filter=_owningteam_value eq {team}").json()["value"]] == [queue]
    assert service.request("DELETE", f"teams({team})/{TEAMS}({user})/$ref").status_code == 204
    assert service.get(f"emails({made})", token=token).status_code == 404


def test_a_member_of_a_collection_is_addressed_as_a_link(service, roles, person, team):
    """The error names the missing right, and does not advise a form of request that the client has used."""
    token, user = person
    queue = service.create("queues", {"name": f"member {user}"})
    for path in ("queues", f"queues({queue})"):
        assert "may not read records of queue" in refused(service.get(path, token=token), 403, "0x80040220")
    profile = service.create("emailserverprofiles", {"name": f"member {user}"})
    box = service.create("mailboxes", {"name": f"member {user}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    assert link(service, f"teams({team})/{TEAMS}", f"systemusers({user})").status_code == 204
    for path, record in ((f"teams({team})/{TEAMS}({user})", "systemusers(ID)"), (f"emailserverprofiles({profile})/emailserverprofile_mailbox({box})", "mailboxes(ID)")):
        for answer in (service.get(path), service.get(f"{path}?$select=name"), service.get(f"{path}/$count"), service.request("DELETE", path)):
            assert record in refused(answer, 404, "0x8006088A")
        assert service.request("OPTIONS", path, token="").status_code == 404
        assert service.request("OPTIONS", f"{path}/$ref", token="").headers["Allow"] == "DELETE, OPTIONS"
        for method, body in (("GET", None), ("POST", {"@odata.id": f"systemusers({user})"}), ("PUT", {"@odata.id": f"systemusers({user})"})):
            answer = service.request(method, f"{path}/$ref", body)
            assert (answer.status_code, answer.headers["Allow"]) == (405, "DELETE"), (method, answer.text)
        assert service.request("DELETE", f"{path}/$ref").status_code == 204
    function = "Microsoft.Dynamics.CRM.RetrievePrincipalAccess"
    target = f"(Target=@t)?@t={{'@odata.id':'mailboxes({box})'}}"
    refused(service.get(f"mailboxes({box})/{function}{target}"), 404, "0x8006088A")
    refused(service.request("POST", f"systemusers({user})/Microsoft.Dynamics.CRM.AddMembersTeam", {"Members": []}), 404, "0x8006088A")
    answer = service.request("POST", f"systemusers({user})/{function}", {})
    assert (answer.status_code, answer.headers["Allow"]) == (405, "GET")
    assert service.get(f"systemusers({user})/{function}{target}").status_code == 200
