"""The audit names the caller of each change of every audited entity, however the change was made."""

import uuid

import pytest
from test_batches import batch, change_set, multipart, part, statuses
from test_impersonation import user_of

#: The attributes that a new record of each audited entity needs. Settings of a user are created with the user.
NEW = {
    "emailserverprofile": lambda: {"name": f"audited {uuid.uuid4()}"},
    "mailbox": lambda: {"name": f"audited {uuid.uuid4()}"},
    "queue": lambda: {"name": f"audited {uuid.uuid4()}"},
    "systemuser": lambda: {"fullname": f"audited {uuid.uuid4()}", "domainname": f"CONTOSO\\{uuid.uuid4()}"},
    "team": lambda: {"name": f"audited {uuid.uuid4()}"},
}
#: For each audited entity, an attribute that updates change.
CHANGED = {"emailserverprofile": "name", "mailbox": "name", "queue": "name", "systemuser": "title", "team": "name", "usersettings": "homepagearea"}
UNDELETABLE = {"systemuser", "usersettings"}


def audits(service, record):
    fields = "operation,_userid_value,_callinguserid_value,useridname,databaserole,objecttypecode"
    rows = service.get(f"audits?$filter=objectid eq {record}&$orderby=createdon&$select={fields}").json()["value"]
    return [(row["objecttypecode"], row["operation"], row["_userid_value"], row["_callinguserid_value"]) for row in rows]


@pytest.fixture(scope="module")
def entities(service):
    """The entity sets of the audited entities, by logical name."""
    definitions = service.get("EntityDefinitions?$select=LogicalName,EntitySetName,IsAuditEnabled").json()["value"]
    audited = {d["LogicalName"]: d["EntitySetName"] for d in definitions if d["IsAuditEnabled"]["Value"]}
    assert set(audited) == set(NEW) | {"usersettings"}
    return audited


@pytest.fixture(scope="module")
def deputy(service):
    """A second System Administrator."""
    client = service.json("client", "add", f"deputy {uuid.uuid4().hex[:8]}", "--role", "System Administrator", "--org", "contoso")
    return str(service.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [client["clientId"]])[0][0])


def written(service, entities, name, headers):
    """Creates, changes and deletes a record. Returns its id, and the operations that the audit should have."""
    if name == "usersettings":
        record, operations = service.create("systemusers", NEW["systemuser"](), **headers), [1, 2]
    else:
        record, operations = service.create(entities[name], NEW[name](), **headers), [1, 2]
    address = f"{entities[name]}({record})"
    assert service.request("PATCH", address, {CHANGED[name]: "changed"}, **headers).status_code == 204
    if name not in UNDELETABLE:
        assert service.request("DELETE", address, **headers).status_code == 204
        operations.append(3)
    return record, operations


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_every_change_names_its_caller(service, entities, deputy, name):
    admin = user_of(service, "admin")
    for headers, who, sender in (({}, admin, None), ({"MSCRMCallerID": deputy}, deputy, admin)):
        record, operations = written(service, entities, name, headers)
        assert [row for row in audits(service, record) if row[0] == name] == [(name, operation, who, sender) for operation in operations], headers


def test_a_disabled_user_names_who_disabled_it(service):
    admin = user_of(service, "admin")
    user = service.create("systemusers", NEW["systemuser"]())
    for value in (True, False):
        assert service.request("PATCH", f"systemusers({user})", {"isdisabled": value}).status_code == 204
    assert audits(service, user)[1:] == [("usersettings", 1, admin, None), ("systemuser", 2, admin, None), ("systemuser", 2, admin, None)]


def test_what_is_made_along_with_a_record_has_its_maker(service, deputy):
    admin = user_of(service, "admin")
    for headers, who, sender in (({}, admin, None), ({"MSCRMCallerID": deputy}, deputy, admin)):
        address = f"{uuid.uuid4().hex}@contoso.test"
        user = service.create("systemusers", {**NEW["systemuser"](), "internalemailaddress": address}, **headers)
        settings = service.get(f"usersettingscollection({user})?$select=_createdby_value,_modifiedby_value,_createdonbehalfby_value").json()
        assert (settings["_createdby_value"], settings["_modifiedby_value"], settings["_createdonbehalfby_value"]) == (who, who, sender)
        (mailbox,) = service.get(f"mailboxes?$filter=emailaddress eq '{address}'&$select=_createdby_value,_modifiedby_value,_ownerid_value").json()["value"]
        assert (mailbox["_createdby_value"], mailbox["_modifiedby_value"], mailbox["_ownerid_value"]) == (who, who, user)
        assert audits(service, mailbox["mailboxid"]) == [("mailbox", 1, who, sender)]
        # Creating a queue also creates its mailbox, and then links the queue to it. So the audit has a creation and an update.
        queue = service.create("queues", {**NEW["queue"](), "emailaddress": f"queue-{address}"}, **headers)
        assert audits(service, queue) == [("queue", 1, who, sender), ("queue", 2, who, sender)]


def test_cleared_lookups_name_who_deleted(service, deputy):
    admin = user_of(service, "admin")
    profile = service.create("emailserverprofiles", NEW["emailserverprofile"]())
    mailbox = service.create("mailboxes", {**NEW["mailbox"](), "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    assert service.request("DELETE", f"emailserverprofiles({profile})", MSCRMCallerID=deputy).status_code == 204
    assert audits(service, mailbox) == [("mailbox", 1, admin, None), ("mailbox", 2, deputy, admin)]


@pytest.mark.parametrize("name", ["team", "systemuser"])
def test_many_at_once(service, entities, deputy, name):
    """Change sets, bulk messages and upserts also name the caller."""
    admin, collection = user_of(service, "admin"), entities[name]
    ids = [str(uuid.uuid4()) for _ in range(6)]
    # Each part of a change set can have its own caller.
    parts = [part("POST", collection, {**NEW[name](), f"{name}id": ids[0]}, id=1),
             part("POST", collection, {**NEW[name](), f"{name}id": ids[1]}, id=2, headers=f"MSCRMCallerID: {deputy}\r\n"),
             part("PATCH", f"{collection}({ids[0]})", {CHANGED[name]: "changed in the set"}, id=3)]
    assert statuses(multipart(service, change_set(*parts))) == [204, 204, 204]
    answers = batch(service, [{"id": "1", "method": "PATCH", "url": f"{collection}({ids[2]})", "headers": {"Content-Type": "application/json"}, "body": NEW[name]()}])
    assert answers.json()["responses"][0]["status"] == 204
    type_name = f"Microsoft.Dynamics.CRM.{name}"
    for message, values in (("CreateMultiple", [{f"{name}id": ids[3]}]), ("UpsertMultiple", [{f"{name}id": ids[4]}, {f"{name}id": ids[5]}])):
        targets = [{"@odata.type": type_name, **NEW[name](), **value} for value in values]
        assert service.request("POST", f"{collection}/Microsoft.Dynamics.CRM.{message}", {"Targets": targets}, MSCRMCallerID=deputy).status_code < 300, message
    targets = [{"@odata.type": type_name, f"{name}id": id, CHANGED[name]: "changed"} for id in ids[3:]]
    assert service.request("POST", f"{collection}/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": targets}).status_code == 204
    seen = [[row[1:] for row in audits(service, id) if row[0] == name] for id in ids]
    own, other = (1, admin, None), (1, deputy, admin)
    changed = (2, admin, None)
    assert seen == [[own, changed], [other], [own], [other, changed], [other, changed], [other, changed]]


@pytest.mark.parametrize("name", sorted(CHANGED))
def test_each_change_of_one_change_set_names_its_caller(service, entities, deputy, name):
    """One change set changes the record several times, at the same time. The audit still names the caller of each change."""
    admin, collection = user_of(service, "admin"), entities[name]
    own, delegated = {"Content-Type": "application/json"}, {"Content-Type": "application/json", "MSCRMCallerID": deputy}
    record = service.create("systemusers" if name == "usersettings" else collection, NEW.get(name, NEW["systemuser"])())
    steps = [("PATCH", own, admin, None), ("PATCH", own, admin, None), ("PATCH", delegated, deputy, admin), ("PATCH", own, admin, None)]
    if name not in UNDELETABLE:
        steps.append(("DELETE", delegated, deputy, admin))
    requests = [
        {"id": str(n), "atomicityGroup": "g", "method": method, "url": f"{collection}({record})", "headers": headers, "body": {CHANGED[name]: f"change {n}"}}
        for n, (method, headers, _, _) in enumerate(steps)]
    for request in requests:
        if request["method"] == "DELETE":
            del request["body"]
    answers = batch(service, requests).json()["responses"]
    assert [answer["status"] for answer in answers] == [204] * len(steps), answers
    expected = [(2 if method == "PATCH" else 3, who, sender) for method, _, who, sender in steps]
    assert [row[1:] for row in audits(service, record) if row[0] == name][-len(steps):] == expected


def test_commands_are_named(service):
    """A command is not a user of the organization. The audit has the name of the operator."""
    name = f"audited {uuid.uuid4().hex[:8]}"
    client = service.json("client", "add", name, "--role", "Basic User", "--org", "contoso")
    (user,) = service.sql("SELECT systemuser_id::text FROM config.api_client WHERE client_id = %s", [client["clientId"]])[0]
    service.run("client", "remove", name, "--org", "contoso")
    service.run("user", "add", name, "--role", "Basic User", "--org", "contoso", stdin="the words of an audited person\n")
    (person,) = service.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])[0]
    service.run("user", "remove", name, "--org", "contoso")
    (actor,) = service.sql("SELECT actor FROM org_contoso.security_event WHERE kind = 'user removed' AND details = %s", [name])[0]
    assert actor.startswith("cli:")
    for id in (user, person):
        rows = service.sql("SELECT objecttypecode, operation, userid, useridname FROM org_contoso.audit WHERE objectid = %s ORDER BY createdon", [id])
        assert [tuple(row) for row in rows] == [("systemuser", 1, None, actor), ("usersettings", 1, None, actor), ("systemuser", 2, None, actor)]
        assert service.sql("SELECT createdby, modifiedby FROM org_contoso.usersettings WHERE systemuserid = %s", [id]) == [(None, None)]


def test_the_console_is_named(service, deputy):
    """For a change in the console, the audit names the person as a user."""
    name = f"audited {uuid.uuid4().hex[:8]}"
    service.run("user", "add", name, "--role", "Basic User", "--org", "contoso", stdin="the words of an audited person\n")
    (person,) = service.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])[0]
    team = service.create("teams", NEW["team"](), MSCRMCallerID=deputy)
    body = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": person}]}
    assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", body).status_code == 204
    assert service.request("PATCH", f"systemusers({person})", {"title": "a"}, MSCRMCallerID=deputy).status_code == 204
    assert audits(service, person)[-1] == ("systemuser", 2, deputy, user_of(service, "admin"))


def test_changes_past_the_service_have_no_user(service):
    team = service.create("teams", NEW["team"]())
    service.sql("UPDATE org_contoso.team SET name = name || ' by SQL' WHERE teamid = %s", [team])
    (row,) = service.sql("SELECT userid, useridname, databaserole FROM org_contoso.audit WHERE objectid = %s AND operation = 2", [team])
    assert row[:2] == (None, None) and row[2] != "fieldseal_service"
    assert audits(service, team)[-1] == ("team", 2, None, None)
