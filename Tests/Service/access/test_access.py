"""Which messages each role may send for own records and records of others, and which rights teams and shares add."""

import uuid

import pytest
from service import refused

ROLES = {"admin": "System Administrator", "mailadmin": "Email Administrator", "basic": "Basic User", "router": "Email Router"}
SETS = {"emailserverprofile": "emailserverprofiles", "mailbox": "mailboxes", "queue": "queues"}
ALL, OWN, NONE = "all", "own", "none"
#            read, create, update, delete, assign, share
PRIVILEGES = {
    ("admin", "emailserverprofile"): (ALL,) * 6, ("admin", "mailbox"): (ALL,) * 6, ("admin", "queue"): (ALL,) * 6,
    ("mailadmin", "emailserverprofile"): (ALL,) * 6, ("mailadmin", "mailbox"): (ALL,) * 6, ("mailadmin", "queue"): (ALL,) * 6,
    ("basic", "emailserverprofile"): (NONE,) * 6, ("basic", "mailbox"): (OWN, NONE, OWN, NONE, NONE, NONE), ("basic", "queue"): (NONE,) * 6,
    ("router", "emailserverprofile"): (ALL, NONE, NONE, NONE, NONE, NONE), ("router", "mailbox"): (ALL, NONE, NONE, NONE, NONE, NONE),
    ("router", "queue"): (ALL, NONE, NONE, NONE, NONE, NONE),
}


@pytest.fixture(scope="module")
def callers(service):
    """A client of each role: {name: (token, systemuserid)}."""
    tokens = {}
    for name, role in ROLES.items():
        made = service.json("client", "add", f"access-{name}-{uuid.uuid4().hex[:6]}", "--org", "contoso", "--role", role)
        token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
        tokens[name] = (token, service.get("WhoAmI", token=token).json()["UserId"])
    return tokens


def owned(service, entity, user):
    return service.create(SETS[entity], {"name": f"access {uuid.uuid4()}", "ownerid@odata.bind": f"/systemusers({user})"})


@pytest.mark.parametrize("ownership", ["own", "foreign"])
@pytest.mark.parametrize("role, entity", PRIVILEGES)
def test_every_message(service, callers, role, entity, ownership):
    token, user = callers[role]
    other = callers["admin" if role != "admin" else "mailadmin"][1]
    read, create, update, delete, assign, share = PRIVILEGES[role, entity]

    def allowed(depth):
        return depth == ALL or depth == OWN and ownership == "own"

    def expect(response, depth, *good):
        # 403 if the role has no such right, or if the caller may read the record. Otherwise the record must look as if it did not exist.
        expected = good if allowed(depth) else (403,) if depth == NONE or allowed(read) else (404,)
        assert response.status_code in expected, (response.status_code, expected, response.text)
        if response.status_code in (403, 404):
            assert response.json()["error"]["code"] in ("0x80040220", "0x80040217")

    collection, id = SETS[entity], owned(service, entity, user if ownership == "own" else other)
    path = f"{collection}({id})"
    expect(service.get(path, token=token), read, 200)
    expect(service.get(f"{path}/name", token=token), read, 200)
    listed = service.get(f"{collection}?$filter={entity}id eq {id}", token=token)
    fetched = service.get(f"{collection}?fetchXml=<fetch><entity name='{entity}'><filter><condition attribute='{entity}id' operator='eq' value='{id}'/></filter></entity></fetch>", token=token)
    for answer in (listed, fetched):
        if read == NONE:
            refused(answer, 403, "0x80040220")
        else:
            assert len(answer.json()["value"]) == (1 if allowed(read) else 0)
    created = service.request("POST", collection, {"name": "x"}, token=token)
    assert created.status_code == (204 if create == ALL else 403)
    expect(service.request("PATCH", path, {"name": "y"}, token=token, If_Match="*"), update, 204)
    expect(service.request("PUT", f"{path}/name", {"value": "z"}, token=token), update, 204)
    expect(service.request("POST", f"{collection}/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{f"{entity}id": id, "name": "m"}]}, token=token), update, 204)
    password = {"emailserverprofile": "incomingpassword", "mailbox": "password", "queue": "emailpassword"}[entity]
    sealed = service.request("PATCH", path, {password: "s"}, token=token, If_Match="*")
    expect(sealed, update, 204)
    given = service.request("PATCH", path, {"ownerid@odata.bind": f"/systemusers({user if ownership == 'own' else other})"}, token=token, If_Match="*")
    if update != NONE and assign == NONE:
        refused(given, 403, "0x80040220")
    else:
        expect(given, assign, 204)
    shared = {"Target": {"@odata.id": path}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({other})"}, "AccessMask": "ReadAccess"}}
    expect(service.request("POST", "GrantAccess", shared, token=token), share, 204)
    expect(service.request("DELETE", path, token=token), delete, 204)


@pytest.mark.parametrize("role", ROLES)
def test_the_three_messages_are_a_system_administrators(service, callers, role):
    """The privileges of the messages about the key are in the list of a System Administrator alone, and the service refuses the messages to others."""
    token, user = callers[role]
    for path in ["IsDataEncryptionActive()", "RetrieveDataEncryptionKey()", "RetrieveDataEncryptionKeyChange()"]:
        response = service.get(path, token=token)
        assert response.status_code == (200 if role == "admin" else 403), (role, path, response.text)
        assert role == "admin" or response.json()["error"]["code"] == "0x80040220"
    listed = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()", token=token).json()["RolePrivileges"]
    assert {p["PrivilegeName"] for p in listed if "encryption" in p["PrivilegeName"].lower()} == (
        {"prvChangeSqlEncryptionKey", "prvRestoreSqlEncryptionKey"} if role == "admin" else set())
    response = service.request("POST", "SetDataEncryptionKey", {"EncryptionKey": "weak", "ChangeEncryptionKey": True}, token=token)
    assert response.json()["error"]["code"] == ("0x80048528" if role == "admin" else "0x80040220")


def test_a_share_gives_what_it_names_and_nothing_else(service, callers):
    token, user = callers["basic"]
    id = owned(service, "mailbox", callers["admin"][1])
    target = {"@odata.id": f"mailboxes({id})"}

    def set_access(message, mask):
        body = {"Target": target, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({user})"}, "AccessMask": mask}}
        assert service.request("POST", message, body).status_code == 204

    def rights():
        told = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'mailboxes({id})'}}")
        return told.json()["AccessRights"]

    refused(service.get(f"mailboxes({id})", token=token), 404, "0x80040217")
    assert rights() == "None"
    set_access("GrantAccess", "ReadAccess")
    assert service.get(f"mailboxes({id})", token=token).status_code == 200 and rights() == "ReadAccess"
    for condition in ("*", service.get(f"mailboxes({id})", token=token).headers["ETag"]):
        told = service.request("PATCH", f"mailboxes({id})", {"name": "x"}, token=token, If_Match=condition)
        refused(told, 403, "0x80040220")
        assert "WriteAccess" in told.json()["error"]["message"]
    set_access("GrantAccess", "WriteAccess")
    assert rights() == "ReadAccess,WriteAccess"
    assert service.request("PATCH", f"mailboxes({id})", {"name": "x"}, token=token, If_Match="*").status_code == 204
    refused(service.request("DELETE", f"mailboxes({id})", token=token), 403, "0x80040220")
    set_access("ModifyAccess", "WriteAccess")
    refused(service.get(f"mailboxes({id})", token=token), 404, "0x80040217")
    assert service.request("POST", "RevokeAccess", {"Target": target, "Revokee": {"@odata.id": f"systemusers({user})"}}).status_code == 204
    refused(service.request("PATCH", f"mailboxes({id})", {"name": "x"}, token=token, If_Match="*"), 404, "0x80040217")
    shares = service.get(f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'mailboxes({id})'}}")
    assert shares.json()["PrincipalAccesses"] == []
    refused(service.request("POST", "GrantAccess", {"Target": target, "PrincipalAccess": {"Principal": {"@odata.id": f"mailboxes({id})"}, "AccessMask": "ReadAccess"}}), 400, "0x80048D19")
    refused(service.request("POST", "GrantAccess", {"Target": target, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({uuid.uuid4()})"}, "AccessMask": "ReadAccess"}}), 404, "0x80040217")


def test_a_share_is_for_the_one_that_it_names(service, callers):
    made = service.json("client", "add", f"access-{uuid.uuid4().hex[:6]}", "--org", "contoso", "--role", "Basic User")
    other, (token, user) = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"], callers["basic"]
    team = service.create("teams", {"name": f"team {uuid.uuid4()}"})
    for principal in (f"systemusers({user})", f"teams({team})"):
        id = owned(service, "mailbox", callers["admin"][1])
        body = {"Target": {"@odata.id": f"mailboxes({id})"}, "PrincipalAccess": {"Principal": {"@odata.id": principal}, "AccessMask": "ReadAccess"}}
        assert service.request("POST", "GrantAccess", body).status_code == 204
        assert service.get(f"mailboxes({id})", token=token).status_code == (200 if "users" in principal else 404)
        refused(service.get(f"mailboxes({id})", token=other), 404, "0x80040217")
        assert service.get(f"mailboxes?$filter=mailboxid eq {id}", token=other).json()["value"] == []


def test_a_share_gives_no_right_that_the_role_does_not_have(service, callers):
    """All rights are shared with a Basic User, whose role can update mailboxes, but not delete or assign them."""
    def rights(role, mask):
        user = callers[role][1]
        id = owned(service, "mailbox", callers["admin"][1])
        body = {"Target": {"@odata.id": f"mailboxes({id})"}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({user})"}, "AccessMask": mask}}
        assert service.request("POST", "GrantAccess", body).status_code == 204
        told = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'mailboxes({id})'}}")
        return id, set(told.json()["AccessRights"].split(","))

    every = "ReadAccess,WriteAccess,DeleteAccess,AssignAccess,ShareAccess"
    id, told = rights("basic", every)
    assert told == {"ReadAccess", "WriteAccess"}
    refused(service.request("DELETE", f"mailboxes({id})", token=callers["basic"][0]), 403, "0x80040220")
    assert rights("mailadmin", every)[1] >= set(every.split(","))


def writes_of_an_email(service, right, email, file, user, token):
    """Requests that need this right to an e-mail, besides the right to read. The last one ends the right or deletes the e-mail."""
    path, bound = f"emails({email})", "emails/Microsoft.Dynamics.CRM."
    owner = {"@odata.id": f"systemusers({user})"}

    def ask(method, path, body=None, **headers):
        return lambda: service.request(method, path, body, token=token, **headers)
    target = {"Targets": [{"activityid": email, "subject": "many"}]}
    access = {"Target": {"@odata.id": path}, "Revokee": {"@odata.id": f"teams({service.team})"}}
    return {
        "WriteAccess": [ask("PATCH", path, {"subject": "x"}), ask("PATCH", path, {"subject": "y"}, If_Match="*"), ask("PUT", f"{path}/subject", {"value": "z"}), ask("DELETE", f"{path}/category"),
                        ask("POST", f"{bound}UpdateMultiple", target), ask("POST", f"{bound}UpsertMultiple", target), ask("PUT", f"{path}/email_activity_parties", {"value": []}),
                        ask("POST", "activitymimeattachments", {"filename": "b.txt", "objectid_email@odata.bind": f"/{path}"}), ask("PATCH", f"activitymimeattachments({file})", {"filename": "c.txt"})],
        "ShareAccess": [ask("GET", f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'{path}'}}"), ask("POST", "RevokeAccess", access)],
        "AssignAccess": [ask("PATCH", path, {"ownerid@odata.bind": f"/systemusers({user})"}), ask("PUT", f"{path}/ownerid/$ref", owner)],
        "DeleteAccess": [ask("DELETE", f"activitymimeattachments({file})"), ask("DELETE", path)],
    }[right]


@pytest.mark.parametrize("by", ["user", "team"])
@pytest.mark.parametrize("right", ["WriteAccess", "ShareAccess", "AssignAccess", "DeleteAccess"])
def test_every_right_needs_the_one_to_read(service, callers, right, by):
    (token, user), admin = callers["basic"], callers["admin"][1]
    service.team = team = service.create("teams", {"name": f"team {uuid.uuid4()}"})
    assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", {"Members": [{"systemuserid": user}]}).status_code == 204
    email = service.create("emails", {"subject": "another's", "category": "c", "ownerid_email@odata.bind": f"/systemusers({admin})"})
    file = service.create("activitymimeattachments", {"filename": "a.txt", "objectid_email@odata.bind": f"/emails({email})"})

    def grant(mask, principal):
        body = {"Target": {"@odata.id": f"emails({email})"}, "PrincipalAccess": {"Principal": {"@odata.id": principal}, "AccessMask": mask}}
        assert service.request("POST", "GrantAccess", body).status_code == 204

    def rights():
        told = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'emails({email})'}}")
        return told.json()["AccessRights"]

    before = service.get(f"emails({email})").headers["ETag"]
    grant(right, f"systemusers({user})")
    assert rights() == "None"
    for ask in writes_of_an_email(service, right, email, file, user, token):
        refused(ask(), 404, "0x80040217")
    refused(service.get(f"emails({email})", token=token), 404, "0x80040217")
    assert service.get(f"emails({email})").headers["ETag"] == before
    # The user gets the right to read by a second share, with the user or with a team.
    grant("ReadAccess", f"systemusers({user})" if by == "user" else f"teams({team})")
    assert set(rights().split(",")) >= {"ReadAccess", right}
    for ask in writes_of_an_email(service, right, email, file, user, token):
        answer = ask()
        assert answer.status_code in (200, 201, 204), (answer.request.url, answer.text)


def test_parameters_that_a_message_does_not_have_are_refused(service, callers):
    """No part of a request is ignored: an unknown member, a second record, or a record that is named twice is refused."""
    user = callers["basic"][1]
    mailbox, queue = owned(service, "mailbox", callers["admin"][1]), owned(service, "queue", callers["admin"][1])
    principal = {"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": user}
    access = {"Principal": principal, "AccessMask": "ReadAccess"}
    for target, given, word in (
        ({"mailboxid": mailbox, "queueid": queue}, access, "more than one"), ({"@odata.id": f"mailboxes({mailbox})", "queueid": queue}, access, "more than one"),
        ({"mailboxid": mailbox, "Foo": 1}, access, "Foo"), ({"mailboxid": mailbox}, {**access, "Foo": 1}, "Foo"),
        ({"mailboxid": mailbox}, {**access, "Principal": {**principal, "Foo": 1}}, "Foo"),
    ):
        said = refused(service.request("POST", "GrantAccess", {"Target": target, "PrincipalAccess": given}), 400, "0x80048D19")
        assert word in said, said
    assert service.get(f"mailboxes({mailbox})", token=callers["basic"][0]).status_code == 404
    assert service.request("POST", "GrantAccess", {"Target": {"mailboxid": mailbox}, "PrincipalAccess": access}).status_code == 204
    assert service.get(f"mailboxes({mailbox})", token=callers["basic"][0]).status_code == 200

    many = "queues/Microsoft.Dynamics.CRM."
    assert "Foo" in refused(service.request("POST", f"{many}CreateMultiple", {"Targets": [{"name": "x"}], "Foo": 1}), 400, "0x80048D19")
    twice = {"Targets": [{"queueid": queue, "name": "one"}, {"queueid": queue.upper(), "name": "two"}]}
    for message in ("UpdateMultiple", "UpsertMultiple"):
        assert queue in refused(service.request("POST", many + message, twice), 400, "0x80048D19")
    assert service.get(f"queues({queue})").json()["name"] not in ("one", "two")
    once = {"Targets": [{"queueid": queue, "name": "one"}]}
    assert service.request("POST", f"{many}UpdateMultiple", once).status_code == 204 and service.get(f"queues({queue})").json()["name"] == "one"


def test_an_email_that_may_be_read_is_not_said_to_be_missing(service, callers):
    token, user = callers["basic"]
    email = service.create("emails", {"subject": "shared", "ownerid@odata.bind": f"/systemusers({callers['admin'][1]})"})
    path, actions = f"emails({email})", f"emails({email})/Microsoft.Dynamics.CRM."
    shared = {"Target": {"@odata.id": path}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({user})"}, "AccessMask": "ReadAccess"}}

    def attempts():
        yield "WriteAccess", service.request("PATCH", path, {"subject": "x"}, token=token)
        yield "DeleteAccess", service.request("DELETE", path, token=token)
        yield "WriteAccess", service.request("POST", f"{actions}SendEmail", {"IssueSend": True}, token=token)
        yield "ShareAccess", service.request("POST", "GrantAccess", shared, token=token)

    for _, answer in attempts():
        refused(answer, 404, "0x80040217")
    assert service.request("POST", "GrantAccess", shared).status_code == 204
    for right, answer in attempts():
        assert right in refused(answer, 403, "0x80040220")
    assert service.get(path).json()["subject"] == "shared"
    again = service.request("POST", "emails", {"activityid": email, "subject": "x"})
    assert "The email with the id" in again.json()["error"]["message"]


def test_shares_go_with_their_record(service, callers):
    id = owned(service, "queue", callers["admin"][1])
    body = {"Target": {"@odata.id": f"queues({id})"}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({callers['basic'][1]})"}, "AccessMask": "ReadAccess"}}
    assert service.request("POST", "GrantAccess", body).status_code == 204
    assert service.request("DELETE", f"queues({id})").status_code == 204
    assert service.sql("SELECT count(*) FROM org_contoso.principal_access WHERE record_id = %s", [id]) == [(0,)]


def test_a_teams_records_are_its_members_own(service, callers):
    token, user = callers["basic"]
    unit = service.get("WhoAmI").json()["BusinessUnitId"]
    team = service.create("teams", {"name": f"team {uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})"})
    id = service.create("mailboxes", {"name": "the team's", "ownerid@odata.bind": f"/teams({team})"})
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": user}]}
    refused(service.get(f"mailboxes({id})", token=token), 404, "0x80040217")
    refused(service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members, token=token), 403, "0x80040220")
    assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members).status_code == 204
    assert service.get(f"mailboxes({id})", token=token).status_code == 200
    assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.RemoveMembersTeam", members).status_code == 204
    refused(service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.RemoveMembersTeam", members), 404, "0x80040217")
    for name in ("AddMembersTeam", "RemoveMembersTeam"):
        refused(service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.{name}", {"Members": []}), 400, "0x80048D19")
    refused(service.get(f"mailboxes({id})", token=token), 404, "0x80040217")


def test_a_client_that_is_disabled_is_refused_at_once(service):
    made = service.json("client", "add", f"gone-{uuid.uuid4().hex[:6]}", "--org", "contoso", "--role", "System Administrator")
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    name = f"disabled {uuid.uuid4()}"
    for _ in range(2):
        assert service.get("mailboxes?$top=1", token=token).status_code == 200
    service.run("client", "disable", made["clientId"], "--org", "contoso")
    refused(service.request("POST", "mailboxes", {"name": name, "password": "x"}, token=token), 401, "0x80048405")
    refused(service.get("mailboxes?$top=1", token=token), 401, "0x80048405")
    refused(service.get("mailboxes?$filter=nonsense is", token=token), 401, "0x80048405")
    assert service.get(f"mailboxes?$filter=name eq '{name}'").json()["value"] == []


def access(service, principal, set_name, id):
    told = service.get(f"{principal}/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'{set_name}({id})'}}")
    assert told.status_code == 200, told.text
    return set(told.json()["AccessRights"].split(",")) - {"None"}


@pytest.mark.parametrize("ownership", ["own", "foreign"])
@pytest.mark.parametrize("role, entity", PRIVILEGES)
def test_what_a_principal_may_do_is_what_its_requests_may(service, callers, role, entity, ownership):
    user = callers[role][1]
    other = callers["admin" if role != "admin" else "mailadmin"][1]
    id = owned(service, entity, user if ownership == "own" else other)
    names = ("Read AppendTo", "Create", "Write Append", "Delete", "Assign", "Share")
    wanted = {
        f"{name}Access" for depth, names in zip(PRIVILEGES[role, entity], names) for name in names.split()
        if depth == ALL or depth == OWN and ownership == "own"}
    assert access(service, f"systemusers({user})", SETS[entity], id) == wanted


def test_rights_to_a_record_that_may_not_be_read_are_not_told(service, callers):
    id = owned(service, "mailbox", callers["admin"][1])
    for user in (callers["basic"][1], callers["admin"][1]):
        path = f"systemusers({user})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'mailboxes({id})'}}"
        assert service.get(path).status_code == 200
        refused(service.get(path, token=callers["basic"][0]), 404, "0x80040217")


def test_what_a_principal_may_do_through_teams_and_without_a_role(service, callers):
    user = callers["basic"][1]
    roles = {r["name"]: r["roleid"] for r in service.get("roles?$select=name").json()["value"]}
    team = service.create("teams", {"name": f"access {uuid.uuid4()}", "teammembership_association@odata.bind": [f"/systemusers({user})"]})
    queue = service.create("queues", {"name": f"access {team}", "ownerid@odata.bind": f"/teams({team})"})
    # Neither the team nor its member has rights to queues. A user without a role has no rights at all.
    assert access(service, f"teams({team})", "queues", queue) == access(service, f"systemusers({user})", "queues", queue) == set()
    nobody = service.create("systemusers", {"fullname": "No role", "domainname": f"none-{uuid.uuid4().hex[:8]}"})
    mailbox = owned(service, "mailbox", nobody)
    assert access(service, f"systemusers({nobody})", "mailboxes", mailbox) == set()
    assert service.request("POST", f"teams({team})/teamroles_association/$ref", {"@odata.id": f"roles({roles['Email Administrator']})"}).status_code == 204
    everything = {f"{n}Access" for n in "Read Write Append AppendTo Create Delete Share Assign".split()}
    assert access(service, f"teams({team})", "queues", queue) == access(service, f"systemusers({user})", "queues", queue) == everything
    assert access(service, f"teams({team})", "mailboxes", mailbox) == everything
    assert service.request("DELETE", f"teams({team})/teammembership_association({user})/$ref").status_code == 204
    assert access(service, f"systemusers({user})", "queues", queue) == set()


LINK = "<link-entity name='mailbox' from='{column}' to='systemuserid' link-type='{kind}' alias='m'>{inner}</link-entity>"
NAME = "<attribute name='name'/>"


def users(link):
    return f"systemusers?fetchXml=<fetch><entity name='systemuser'><attribute name='fullname'/>{link}</entity></fetch>"


@pytest.mark.parametrize("column", ["ownerid", "owninguser", "createdby"])
@pytest.mark.parametrize("kind", ["inner", "outer"])
def test_a_link_gives_what_its_caller_may_read(service, callers, column, kind):
    token, user = callers["basic"]
    own, foreign = (service.get(f"mailboxes({owned(service, 'mailbox', owner)})?$select=name").json()["name"] for owner in (user, callers["admin"][1]))
    answer = service.get(users(LINK.format(column=column, kind=kind, inner=NAME)), token=token)
    assert answer.status_code == 200 and foreign not in answer.text
    assert own in answer.text


@pytest.mark.parametrize("ask", [
    "exists", "in", "any", "systemusers?$select=fullname&$filter=user_mailbox/any(m:m/mailboxid eq {id})",
    "systemusers?$select=fullname&$filter=user_mailbox/any(m:m/name eq '{name}')"])
def test_a_filter_finds_nothing_by_what_its_caller_may_not_read(service, callers, ask):
    token, user = callers["basic"]
    for owner, is_found in ((user, True), (callers["admin"][1], False)):
        id = owned(service, "mailbox", owner)
        if "?" in ask:
            query = ask.format(id=id, name=service.get(f"mailboxes({id})?$select=name").json()["name"])
        else:
            link = LINK.format(column="ownerid", kind=ask, inner=f"<filter><condition attribute='mailboxid' operator='eq' value='{id}'/></filter>")
            query = users(f"<filter>{link}</filter>" if ask == "any" else link)
        answer = service.get(query, token=token)
        assert answer.status_code == 200, (query, answer.text)
        assert (answer.json()["value"] != []) == is_found, query
    assert service.get(query).json()["value"] != []


@pytest.mark.parametrize("role, entity", [key for key, (_, create, *_) in PRIVILEGES.items() if create == NONE])
def test_an_upsert_creates_nothing_without_the_right_to_create(service, callers, role, entity):
    token, _ = callers[role]
    collection, id = SETS[entity], str(uuid.uuid4())
    bulk = {"Targets": [{"@odata.type": f"Microsoft.Dynamics.CRM.{entity}", f"{entity}id": id, "name": "x"}]}
    for method, path, body in (("PATCH", f"{collection}({id})", {"name": "x"}), ("POST", f"{collection}/Microsoft.Dynamics.CRM.UpsertMultiple", bulk)):
        answer = service.request(method, path, body, token=token)
        # If the role can change only its own records, the response says that the record does not exist.
        assert (answer.status_code, answer.json()["error"]["code"]) in [(403, "0x80040220"), (404, "0x80040217")], answer.text
    assert service.get(f"{collection}({id})").status_code == 404
