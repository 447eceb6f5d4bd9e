"""Owners, which are users or teams: each path and $expand finds records of both. Also, the attributes that users and teams have in common as principals."""

import json
import urllib.parse
import uuid

import pytest
from service import refused

USER, TEAM = "#Microsoft.Dynamics.CRM.systemuser", "#Microsoft.Dynamics.CRM.team"


class Owned:
    def __init__(self, service):
        self.service, self.tag = service, f"owned {uuid.uuid4()}"
        self.me = service.get("WhoAmI").json()["UserId"]
        self.team = service.create("teams", {"name": self.tag, "description": "of a team"})
        for set in ("queues", "mailboxes", "emailserverprofiles"):
            for of, owner in (("user", f"/systemusers({self.me})"), ("team", f"/teams({self.team})")):
                service.create(set, {"name": f"{self.tag} {of}", "ownerid@odata.bind": owner})
        for of, owner in (("user", f"/systemusers({self.me})"), ("team", f"/teams({self.team})")):
            service.create("emails", {"subject": f"{self.tag} {of}", "ownerid_email@odata.bind": owner})

    def rows(self, set, query):
        name = "subject" if set == "emails" else "name"
        response = self.service.get(f"{set}?$select={name}&$filter=startswith({name},'{self.tag}'){query}&$orderby={name}")
        assert response.status_code == 200, response.text
        return {row[name].removeprefix(self.tag).strip(): row for row in response.json()["value"]}


@pytest.fixture(scope="module")
def owned(service):
    return Owned(service)


#: (Entity set, navigation property to the owner, to an owner that is a user, to an owner that is a team)
SETS = [(set, "ownerid", "owninguser", "owningteam") for set in ("queues", "mailboxes", "emailserverprofiles")] + [("emails", "ownerid_email", "owninguser_email", "owningteam_email")]


@pytest.mark.parametrize("set, owner, user, team", SETS)
def test_a_path_through_an_owner_is_refused_or_reaches_both(service, owned, set, owner, user, team):
    name = "subject" if set == "emails" else "name"
    for query in (f"$filter={owner}/createdon ge 2020-01-01T00:00:00Z", f"$filter=not ({owner}/createdon ge 2020-01-01T00:00:00Z)", f"$filter={owner}/businessunitid/name eq 'contoso'",
                  f"$filter={owner}/_businessunitid_value ne null", f"$filter=contains({owner}/fullname,'a')", f"$filter={owner}/name eq 'x'", f"$orderby={owner}/createdon",
                  f"$apply=groupby(({owner}/businessunitid/name),aggregate($count as n))", f"$apply=aggregate({owner}/createdon with max as m)",
                  f"$filter={owner}/teammembership_association/any()", f"$filter={owner}/systemuserid ne null"):
        response = service.get(f"{set}?{query}")
        refused(response, 400, "0x80060888")
        assert f"{user}/…" in response.json()["error"]["message"] and f"{team}/…" in response.json()["error"]["message"], query
    assert "team" in owned.rows(set, f" and {owner}/ownerid eq {owned.team}") and "user" in owned.rows(set, f" and {owner}/ownerid eq {owned.me}")
    assert set_of(owned.rows(set, f" and {owner}/ownerid ne null")) == {"user", "team"}
    assert set_of(owned.rows(set, f" and ({user}/createdon ge 2020-01-01T00:00:00Z or {team}/createdon ge 2020-01-01T00:00:00Z)")) == {"user", "team"}
    groups = service.get(f"{set}?$apply=filter(startswith({name},'{owned.tag}'))/groupby(({owner}/ownerid),aggregate($count as n))").json()["value"]
    assert sorted(group["principal_ownerid"] for group in groups) == sorted([owned.me, owned.team])


def set_of(rows):
    return {*rows}


@pytest.mark.parametrize("options, both", [
    ("$select=createdon", True), ("$select=createdon;$filter=createdon ge 2020-01-01T00:00:00Z", True), ("$select=ownerid", True), ("$filter=createdon lt 2020-01-01T00:00:00Z", False),
    ("$expand=businessunitid($select=name)", True), ("$filter=businessunitid/name ne null", True), ("$expand=teammembership_association($select=ownerid)", True),
])
@pytest.mark.parametrize("set, owner", [(set, owner) for set, owner, _, _ in SETS])
def test_the_options_of_an_owner_are_for_users_and_teams(owned, set, owner, options, both):
    rows = owned.rows(set, f"&$expand={owner}({options})")
    assert {of: row[owner] and row[owner]["@odata.type"] for of, row in rows.items()} == {"user": USER if both else None, "team": TEAM if both else None}
    if both:
        assert (rows["user"][owner]["systemuserid"], rows["team"][owner]["teamid"]) == (owned.me, owned.team)


def test_an_owner_has_what_its_own_entity_has(service, owned):
    rows = owned.rows("queues", "&$expand=ownerid($select=fullname,name,description;$expand=teamroles_association($select=name),systemuserroles_association($select=name))")
    assert rows["user"]["ownerid"]["fullname"] and "name" not in rows["user"]["ownerid"] and rows["user"]["ownerid"]["systemuserroles_association"]
    assert (rows["team"]["ownerid"]["name"], rows["team"]["ownerid"]["description"]) == (owned.tag, "of a team") and rows["team"]["ownerid"]["teamroles_association"] == []
    for wrong in ("$select=nosuch", "$expand=nosuch", "$filter=fullname ne null", "$filter=name ne null"):
        refused(service.get(f"queues?$expand=ownerid({wrong})"), 400, "0x80060888")


def test_principals_have_one_id(service, owned):
    # The response has the keys that the metadata declare, whichever attributes are selected.
    for path in (f"systemusers?$filter=systemuserid eq {owned.me}&$select=fullname", f"teams?$filter=teamid eq {owned.team}&$select=name"):
        [row] = service.get(path).json()["value"]
        assert row["ownerid"] == row.get("systemuserid", row.get("teamid")) in (owned.me, owned.team)
    assert service.get(f"systemusers({owned.me})?$select=fullname").json()["ownerid"] == owned.me
    rows = owned.rows("queues", "&$expand=createdby($select=fullname),ownerid($select=name)")
    assert all(row["createdby"]["ownerid"] == row["createdby"]["systemuserid"] for row in rows.values())
    assert rows["team"]["ownerid"]["ownerid"] == owned.team and rows["user"]["ownerid"]["ownerid"] == owned.me
    for selected in ("name", "fullname,name", "_businessunitid_value"):
        context = service.get(f"mailboxes?$select=name&$expand=ownerid($select={selected})").json()["@odata.context"]
        assert context.endswith(f"#mailboxes(name,ownerid({selected}))"), context
    user = service.get(f"systemusers(ownerid={owned.me})?$select=ownerid,fullname").json()
    assert (user["ownerid"], user["systemuserid"]) == (owned.me, owned.me)
    assert service.get(f"teams(ownerid={owned.team})").json()["ownerid"] == owned.team
    assert service.get(f"teams({owned.team})/ownerid").json()["value"] == owned.team
    assert [row["ownerid"] for row in service.get(f"teams?$filter=ownerid eq {owned.team}&$select=ownerid").json()["value"]] == [owned.team]
    assert service.get(f"queues?$select=name&$filter=owningteam/ownerid eq {owned.team}").json()["value"]
    fetch = f"<fetch><entity name='systemuser'><attribute name='ownerid'/><filter><condition attribute='ownerid' operator='eq' value='{owned.me}'/></filter></entity></fetch>"
    assert service.get(f"systemusers?fetchXml={fetch}").json()["value"][0]["ownerid"] == owned.me
    assert service.get(f"systemusers?sql=SELECT ownerid FROM systemuser WHERE ownerid = '{owned.me}'").json()["value"] == [{"ownerid": owned.me}]
    assert service.request("PATCH", f"teams(ownerid={owned.team})", {"description": "of a team"}).status_code == 204


@pytest.mark.parametrize("set, key, name", [("systemusers", "systemuserid", "fullname"), ("teams", "teamid", "name")])
def test_ownerid_of_a_principal_is_written_as_its_id_is(service, owned, set, key, name):
    first, other, third = (str(uuid.uuid4()) for _ in range(3))
    type = "Microsoft.Dynamics.CRM." + set.removesuffix("s")
    assert service.create(set, {name: f"{owned.tag} {first}", "ownerid": first}) == first
    # A record can be written back as it was read.
    record = service.get(f"{set}({first})?$select={name}").json()
    assert service.request("PATCH", f"{set}({first})", record | {name: "changed"}).status_code == 204
    assert service.get(f"{set}({first})").json()[name] == "changed"
    assert service.request("PATCH", f"{set}(ownerid={first})", {"ownerid": first.upper(), key: first, name: "again"}).status_code == 204
    for body in ({"ownerid": other}, {key: other}, {key: first, "ownerid": other, name: "x"}):
        for method in ("PATCH", "PUT"):
            response = service.request(method, f"{set}({first})", body)
            assert response.status_code == 400 and response.json()["error"]["code"] in ("0x80060413", "0x80048D19"), response.text
    refused(service.request("POST", set, {name: "two", key: first, "ownerid": other}), 400, "0x80048D19")
    refused(service.request("PATCH", f"{set}({first})", {"ownerid": None}), 400, "0x80040203")
    # An empty id is ignored in ownerid, as in the record's own id.
    assert service.request("PATCH", f"{set}({first})", {"ownerid": str(uuid.UUID(int=0)), name: "empty"}).status_code == 204
    for message, id, status in (("CreateMultiple", other, 200), ("UpdateMultiple", other, 204), ("UpsertMultiple", other, 200), ("UpsertMultiple", third, 200)):
        body = {"Targets": [{"@odata.type": type, "ownerid": id, name: f"{owned.tag} {message}"}]}
        assert service.request("POST", f"{set}/Microsoft.Dynamics.CRM.{message}", body).status_code == status, message
        assert service.get(f"{set}({id})").json()[name] == f"{owned.tag} {message}"
    twice = {"Targets": [{"@odata.type": type, "ownerid": other, name: "x"}, {"@odata.type": type, key: other, name: "y"}]}
    refused(service.request("POST", f"{set}/Microsoft.Dynamics.CRM.UpdateMultiple", twice), 400, "0x80048D19")
    part = {"name": f"{owned.tag} of a new one", "primaryuserid": {"fullname": "inner", "ownerid": str(uuid.uuid4())}}
    made = service.create("queues", part)
    assert service.get(f"queues({made})").json()["_primaryuserid_value"] == part["primaryuserid"]["ownerid"]


def test_messages_take_principals_by_their_key(service, owned):
    queue = service.create("queues", {"name": f"{owned.tag} shared"})

    def shares():
        target = f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'queues({queue})'}}"
        return service.get(target).json()["PrincipalAccesses"]
    for type, id in (("team", owned.team), ("systemuser", service.get("systemusers?$select=systemuserid&$filter=systemuserid ne " + owned.me + "&$top=1").json()["value"][0]["systemuserid"])):
        principal = {"@odata.type": f"Microsoft.Dynamics.CRM.{type}", "ownerid": id}
        body = {"Target": {"@odata.id": f"queues({queue})"}, "PrincipalAccess": {"Principal": principal, "AccessMask": "ReadAccess"}}
        assert service.request("POST", "GrantAccess", body).status_code == 204
        (share,) = shares()
        assert share["Principal"]["@odata.type"] == f"#Microsoft.Dynamics.CRM.{type}" and share["Principal"]["ownerid"] == id
        # The principal that the service returned is accepted in a request.
        assert service.request("POST", "RevokeAccess", {"Target": {"@odata.id": f"queues({queue})"}, "Revokee": share["Principal"]}).status_code == 204
        assert shares() == []
    for wrong in ({"ownerid": owned.team}, {"@odata.type": "Microsoft.Dynamics.CRM.queue", "ownerid": owned.team}, {"@odata.id": f"teams({owned.team})", "ownerid": owned.me}):
        refused(service.request("POST", "RevokeAccess", {"Target": {"@odata.id": f"queues({queue})"}, "Revokee": wrong}), 400, "0x80048D19")


def test_messages_take_alternate_keys(service, owned):
    name, domain = f"{owned.tag} by its name", f"{uuid.uuid4().hex}@x.test"
    queue, user = service.create("queues", {"name": name}), service.create("systemusers", {"fullname": "by a key", "domainname": domain})
    team = service.create("teams", {"name": f"{owned.tag} members"})
    target, principal = {"@odata.id": f"queues(name='{name}')"}, {"@odata.id": f"/systemusers(domainname='{domain}')"}
    access = {"Target": target, "PrincipalAccess": {"Principal": principal, "AccessMask": "ReadAccess"}}
    assert service.request("POST", "GrantAccess", access).status_code == 204
    given = "(Target=@t)?@t=" + urllib.parse.quote(json.dumps(target))
    assert [share["Principal"]["ownerid"] for share in service.get("RetrieveSharedPrincipalsAndAccess" + given).json()["PrincipalAccesses"]] == [user]
    assert service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess{given}").status_code == 200
    assert service.request("POST", "RevokeAccess", {"Target": {**target, "queueid": queue}, "Revokee": {**principal, "systemuserid": user}}).status_code == 204
    assert service.get("RetrieveSharedPrincipalsAndAccess" + given).json()["PrincipalAccesses"] == []
    for message in ("AddMembersTeam", "RemoveMembersTeam"):
        assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.{message}", {"Members": [principal]}).status_code == 204
    refused(service.request("POST", "RevokeAccess", {"Target": target, "Revokee": {"@odata.id": "systemusers(domainname='none@x.test')"}}), 404, "0x80060891")
    refused(service.request("POST", "RevokeAccess", {"Target": {"@odata.id": f"queues(name='{name} none')"}, "Revokee": principal}), 404, "0x80060891")
    refused(service.request("POST", "RevokeAccess", {"Target": {**target, "queueid": str(uuid.uuid4())}, "Revokee": principal}), 400, "0x80048D19")
    assert "systemusers(ID)" in refused(service.request("POST", "RevokeAccess", {"Target": target, "Revokee": {"@odata.id": "systemusers"}}), 400, "0x80048D19")
