"""A client can write a record back as it read it: to the same record, and to a new record in another organization."""

import datetime
import uuid

import pytest
import requests
from service import PATIENCE, refused

SETS = {
    "emailserverprofile": "emailserverprofiles", "mailbox": "mailboxes", "queue": "queues", "systemuser": "systemusers", "team": "teams",
    "usersettings": "usersettingscollection", "email": "emails", "activitymimeattachment": "activitymimeattachments",
}
#: Attributes that the service sets with each write.
MOVING = {"modifiedon", "versionnumber", "modifiedbyname", "modifiedonbehalfbyname"}


@pytest.fixture(scope="module")
def metadata(service):
    """For each entity, its attributes by name."""
    found = {}
    for entity in SETS:
        fields = "LogicalName,AttributeType,IsValidForCreate,IsValidForUpdate,IsValidForRead"
        attributes = service.get(f"EntityDefinitions(LogicalName='{entity}')/Attributes?$select={fields}").json()["value"]
        found[entity] = {attribute["LogicalName"]: attribute for attribute in attributes}
    return found


@pytest.fixture(scope="module")
def records(service):
    """The id of a record of each entity."""
    name = f"round trip {uuid.uuid4().hex[:8]}"
    user = service.create("systemusers", {"fullname": name, "domainname": f"CONTOSO\\{name}", "title": "T"})
    email = service.create("emails", {"subject": name, "description": "<p>x</p>", "deliveryprioritycode": 2})
    return {
        "emailserverprofile": service.create("emailserverprofiles", {"name": name, "incomingserverlocation": "mail.contoso.test", "incomingportnumber": 993}),
        "mailbox": service.create("mailboxes", {"name": name, "emailaddress": f"{uuid.uuid4().hex}@contoso.test"}),
        "queue": service.create("queues", {"name": name, "description": "d", "importsequencenumber": 7, "overriddencreatedon": "2001-02-03T04:05:06Z"}),
        "systemuser": user, "usersettings": user, "team": service.create("teams", {"name": name, "description": "d"}),
        "email": email,
        "activitymimeattachment": service.create("activitymimeattachments", {"filename": "a.txt", "body": "YQ==", "objectid_email@odata.bind": f"/emails({email})"}),
    }


def read(service, entity, id):
    """The values of a record, without annotations and without the ids of lookups."""
    record = service.get(f"{SETS[entity]}({id})").json()
    return {name: value for name, value in record.items() if "@" not in name and not name.startswith("_")}


def test_writing_back_leaves_no_trace_in_the_audit(service):
    """Dates have whole seconds when they are created and when they are written, so writing them back changes nothing."""
    mailbox = service.create("mailboxes", {"name": f"traceless {uuid.uuid4()}"})
    assert patch(service, "mailbox", mailbox, read(service, "mailbox", mailbox)).status_code == 204
    assert service.sql("SELECT operation FROM org_contoso.audit WHERE objectid = %s", [mailbox]) == [(1,)]


def settled(record):
    return {name: value for name, value in record.items() if name not in MOVING}


def patch(service, entity, id, body):
    return service.request("PATCH", f"{SETS[entity]}({id})", body)


@pytest.mark.parametrize("entity", sorted(SETS))
def test_what_an_update_takes_is_written_back(service, metadata, records, entity):
    before = read(service, entity, records[entity])
    body = {name: value for name, value in before.items() if metadata[entity][name]["IsValidForUpdate"]}
    assert body
    answer = patch(service, entity, records[entity], body)
    assert answer.status_code == 204, answer.text
    assert settled(read(service, entity, records[entity])) == settled(before)


@pytest.mark.parametrize("entity", sorted(SETS))
def test_the_whole_record_is_written_back(service, records, entity):
    before = read(service, entity, records[entity])
    for send in (patch, lambda *arguments: service.request("PATCH", f"{SETS[entity]}({records[entity]})", before, If_Match="*")):
        answer = send(service, entity, records[entity], before)
        assert answer.status_code == 204, answer.text
    assert settled(read(service, entity, records[entity])) == settled(before)


def other(value, kind):
    """Another value of the same type. None if this test has no other value of that type."""
    if kind in ("String", "Memo", "EntityName"):
        return f"{value or ''}x"
    if kind in ("Integer", "BigInt"):
        return (value or 0) + 1
    if kind == "Boolean":
        return not value
    if kind == "DateTime":
        return datetime.datetime(2002, 3, 4).isoformat() + "Z"
    return None


@pytest.mark.parametrize("entity", sorted(SETS))
def test_another_value_of_what_no_update_writes_is_refused_by_name(service, metadata, records, entity):
    before, asked = read(service, entity, records[entity]), 0
    writable = next(name for name in ("description", "title", "homepagearea", "filename", "name") if name in before)
    kept = {"createdon", "modifiedon", "versionnumber", "organizationid", "owneridtype"}
    for name, value in before.items():
        attribute = metadata[entity][name]
        changed = other(value, attribute["AttributeType"])
        if attribute["IsValidForUpdate"] or name in kept or changed is None:
            continue
        answer = patch(service, entity, records[entity], {writable: before[writable], name: changed})
        assert refused(answer, 400, "0x80060413") == f"{name} can't be updated."
        # A request with only this attribute is refused too, even if the value is the present one.
        assert refused(patch(service, entity, records[entity], {name: value}), 400, "0x80060413") == f"{name} can't be updated."
        asked += 1
    assert asked or entity in ("usersettings",)
    assert settled(read(service, entity, records[entity])) == settled(before)


def test_no_way_to_what_the_caller_may_not_read(service):
    """A caller who may not read a record can't find out its values by trying."""
    profile = service.create("emailserverprofiles", {"name": f"hidden {uuid.uuid4()}"})
    for value in (None, "x"):
        refused(service.request("PATCH", f"emailserverprofiles({profile})", {"name": "y", "createdbyname": value}, client="user"), 403, "0x80040220")
    mailbox = service.create("mailboxes", {"name": f"hidden {uuid.uuid4()}"})
    answers = {service.request("PATCH", f"mailboxes({mailbox})", {"username": "y", "createdbyname": value}, client="user").text for value in (None, "# dev-admin", "x")}
    assert len(answers) == 1


def test_no_way_to_which_ids_exist(service):
    """The service compares attributes that can't be updated only if the caller may read the record. So the response does not reveal whether the id exists."""
    mailbox = service.create("mailboxes", {"name": f"hidden {uuid.uuid4()}"})
    for more in ({}, {"createdbyname": "y"}, {"ispasswordset": True}, {"ispasswordset": None, "createdon": "2026-01-01T00:00:00Z"}):
        answers = [service.request("PATCH", f"mailboxes({id})", {"name": "x", **more}, client="user") for id in (mailbox, uuid.uuid4())]
        assert [answer.status_code for answer in answers] == [404, 404], [answer.text for answer in answers]


def test_flags_of_passwords_are_compared_and_passwords_never(service):
    mailbox = service.create("mailboxes", {"name": f"flag {uuid.uuid4()}", "password": "a password"})
    assert service.request("PATCH", f"mailboxes({mailbox})", {"username": "u", "ispasswordset": True}).status_code == 204
    refused(service.request("PATCH", f"mailboxes({mailbox})", {"username": "u", "ispasswordset": False}), 400, "0x80060413")
    assert service.get(f"mailboxes({mailbox})?$select=ispasswordset").json()["ispasswordset"] is True


PASSWORDS = {"emailserverprofile": ["incomingpassword", "outgoingpassword"], "mailbox": ["password"], "queue": ["emailpassword"], "usersettings": ["emailpassword"]}


#: The primary key of each entity.
KEYS = {"emailserverprofile": "emailserverprofileid", "mailbox": "mailboxid", "queue": "queueid", "usersettings": "systemuserid"}


def by_patch(service, entity, record):
    return patch(service, entity, record[KEYS[entity]], record)


def by_multiple(service, entity, record, message="UpdateMultiple"):
    target = {"@odata.type": f"Microsoft.Dynamics.CRM.{entity}", **record}
    return service.request("POST", f"{SETS[entity]}/Microsoft.Dynamics.CRM.{message}", {"Targets": [target]})


def by_upserts(service, entity, record):
    return by_multiple(service, entity, record, "UpsertMultiple")


@pytest.mark.parametrize("write", [by_patch, by_multiple, by_upserts])
@pytest.mark.parametrize("entity", sorted(PASSWORDS))
def test_a_record_that_is_written_back_keeps_its_passwords(service, records, entity, write):
    id = records[entity]
    secrets = {name: f"the {name} of {entity}" for name in PASSWORDS[entity]}

    def stored():
        cells = service.opened_cells()
        return {name: cells.get(f"{entity}({id}).{name}", (0, None))[1] for name in secrets}

    assert patch(service, entity, id, secrets).status_code == 204 and stored() == secrets
    whole = read(service, entity, id)
    assert {whole[name] for name in secrets} == {None}
    writable = next(name for name in ("description", "homepagearea", "username", "name") if name in whole)
    for record in (whole, {**whole, writable: "changed"}):
        assert write(service, entity, record).status_code < 300
        assert stored() == secrets
    # In a written-back record, an empty text clears the password. Without values that only a read returns, null clears it, too.
    assert write(service, entity, {**whole, **{name: "" for name in secrets}}).status_code < 300
    assert set(stored().values()) == {None}
    assert patch(service, entity, id, secrets).status_code == 204
    assert patch(service, entity, id, {writable: "changed again", **{name: None for name in secrets}}).status_code == 204
    assert set(stored().values()) == {None}
    # A request with only null clears the password. Beside a value that only a read returns, null is refused.
    assert patch(service, entity, id, secrets).status_code == 204
    annotation = {f"{writable}@OData.Community.Display.V1.FormattedValue": "x"}
    for more in ({"createdon": whole.get("createdon", whole.get("modifiedon"))}, {"versionnumber": 1}, annotation, {"@odata.etag": 'W/"1"'}, {"@odata.context": "x"}):
        message = refused(patch(service, entity, id, {**more, **{name: None for name in secrets}}), 400, "0x80060413")
        assert min(secrets) in message and stored() == secrets
        assert patch(service, entity, id, {**more, **{name: "" for name in secrets}}).status_code == 204 and set(stored().values()) == {None}
        assert patch(service, entity, id, secrets).status_code == 204
    assert patch(service, entity, id, {name: None for name in secrets}).status_code == 204
    assert set(stored().values()) == {None}


@pytest.mark.parametrize("entity", ["mailbox", "emailserverprofile"])
def test_a_flag_that_says_that_there_is_a_password_keeps_it(service, records, entity):
    address, names = f"{SETS[entity]}({records[entity]})", PASSWORDS[entity]
    assert service.request("PATCH", address, {name: "a password" for name in names}).status_code == 204
    for fields in ([f"is{name}set" for name in names], [f"is{name}set" for name in names] + ["createdon"]):
        body = service.get(f"{address}?$select={','.join([*names, *fields])}").json()
        assert {body[f"is{name}set"] for name in names} == {True}
        for sent in (body, {name: value for name, value in body.items() if "@" not in name}):
            refused(service.request("PATCH", address, sent), 400, "0x80060413")
    assert all(service.get(address).json()[f"is{name}set"] for name in names)


@pytest.mark.parametrize("entity", ["mailbox", "queue"])
def test_annotations_of_a_read_say_that_null_is_no_password(service, records, entity):
    id, attribute = records[entity], PASSWORDS[entity][0]
    address = f"{SETS[entity]}({id})"
    assert patch(service, entity, id, {attribute: "a password"}).status_code == 204
    body = service.get(f"{address}?$select=name,{attribute}").json()
    assert body["@odata.etag"] and body[attribute] is None
    assert service.request("PATCH", address, {**body, "name": "annotated"}).status_code == 204
    assert service.opened_cells()[f"{entity}({id}).{attribute}"][1] == "a password"


def test_an_attribute_is_written_back_as_it_was_read(service, records):
    for entity, name in (("queue", "name"), ("mailbox", "emailaddress"), ("emailserverprofile", "incomingportnumber"), ("email", "description")):
        address = f"{SETS[entity]}({records[entity]})/{name}"
        body = service.get(address).json()
        assert set(body) == {"@odata.context", "value"}
        for sent in (body, {**body, "@odata.type": "#Edm.String"}):
            assert service.request("PUT", address, sent).status_code == 204
        assert service.get(address).json() == body
        for sent in ({**body, "other": 1}, {"@odata.context": body["@odata.context"]}, {**body, "@odata.id": "x"}):
            refused(service.request("PUT", address, sent), 400, "0x80048D19")
    # A read returns null for a password. Writing that response back is refused, and keeps the password.
    address = f"mailboxes({records['mailbox']})/password"
    assert service.request("PUT", address, {"value": "a password"}).status_code == 204
    refused(service.request("PUT", address, {"@odata.context": "x", "value": None}), 400, "0x80060413")
    assert service.opened_cells()[f"mailbox({records['mailbox']}).password"][1] == "a password"
    assert service.request("PUT", address, {"value": None}).status_code == 204
    assert service.opened_cells().get(f"mailbox({records['mailbox']}).password", (0, None))[1] is None


@pytest.fixture(scope="module")
def elsewhere(service):
    """A function that sends a request to another organization."""
    name = f"trip{uuid.uuid4().hex[:8]}"
    service.run("org", "create", name)
    client = service.json("client", "add", "mover", "--role", "System Administrator", "--org", name)
    form = {"grant_type": "client_credentials", "client_id": client["clientId"], "client_secret": client["clientSecret"]}
    answer = requests.post(f"{service.base}/{name}/oauth2/v2.0/token", data=form, verify=service.dev["caFile"], timeout=PATIENCE)
    token = answer.json()["access_token"]

    def send(method, path, body=None, **headers):
        return service.request(method, f"{service.base}/{name}/api/data/v9.2/{path}", body, token=token, **headers)

    yield send
    # Other tests run commands without --org, which need a single organization. So this organization is removed.
    service.run("org", "remove", name, "--without-export", stdin=f"{name}\n")


def test_records_are_made_in_another_organization(service, metadata, records, elsewhere):
    made = {}
    for entity in ("systemuser", "emailserverprofile", "mailbox", "queue", "team", "email", "activitymimeattachment"):
        record = read(service, entity, records[entity])
        body = {name: value for name, value in record.items() if metadata[entity][name]["IsValidForCreate"] and value is not None}
        if entity == "activitymimeattachment":
            body["objectid_email@odata.bind"] = f"/emails({records['email']})"
        answer = elsewhere("POST", SETS[entity], body)
        assert answer.status_code == 204, (entity, answer.text)
        made[entity] = (record, body)
    for entity, (record, body) in made.items():
        there = elsewhere("GET", f"{SETS[entity]}({records[entity]})").json()
        same = set(body) & set(there) - MOVING - {"createdon", "overriddencreatedon"}
        assert same and {name: there[name] for name in same} == {name: record[name] for name in same}, entity
    # Settings of a user are created with the user, so they are updated.
    settings = read(service, "usersettings", records["usersettings"])
    body = {name: value for name, value in settings.items() if metadata["usersettings"][name]["IsValidForUpdate"] and name != "businessunitid"}
    answer = elsewhere("PATCH", f"usersettingscollection({records['usersettings']})", body)
    assert answer.status_code == 204, answer.text
    there = elsewhere("GET", f"usersettingscollection({records['usersettings']})").json()
    assert {name: there[name] for name in body} == body


def test_empty_settings_stay_empty_and_names_do_not(service, records):
    for name in ("amdesignator", "pmdesignator", "currencysymbol", "dateseparator", "decimalsymbol", "numberseparator"):
        address = f"usersettingscollection({records['usersettings']})"
        for value in ("x", "", "x", ""):
            assert service.request("PATCH", address, {name: value}).status_code == 204, name
            assert service.get(f"{address}?$select={name}").json()[name] == value
        assert service.request("PUT", f"{address}/{name}", {"value": ""}).status_code == 204
        refused(service.request("PATCH", address, {name: None}), 400, "0x80040203")
    for entity, name in (("mailbox", "name"), ("team", "name"), ("systemuser", "fullname")):
        refused(patch(service, entity, records[entity], {name: ""}), 400, "0x80040203")


def test_an_email_says_that_it_is_one(service, records):
    address = f"emails({records['email']})?$select=activitytypecode"
    record = service.get(address, Prefer='odata.include-annotations="*"').json()
    assert record["activitytypecode"] == "email"
    assert record["activitytypecode@OData.Community.Display.V1.FormattedValue"] == "Email"
    assert service.get("emails/$count?$filter=activitytypecode eq null").text.strip("\ufeff") == "0"
    assert int(service.get("emails/$count?$filter=activitytypecode eq 'email'").text.strip("\ufeff")) > 0
