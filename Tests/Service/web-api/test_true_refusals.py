"""Errors give the true reason: for addresses without a resource, for invalid ids and values, and for what is not supported."""

import json
import uuid
from urllib.parse import quote

import pytest
from service import refused

EMPTY = "00000000-0000-0000-0000-000000000000"
MISSING = "00000000-0000-4000-8000-000000000001"


@pytest.mark.parametrize("path", [
    "accounts", "accounts?$select=name", f"accounts({MISSING})?$select=name", "contacts?$filter=x eq 1", "activitypointers?$select=subject", "Queues?$top=1",
    "nosuch?$foo=1", "queues/Microsoft.Dynamics.CRM.mailbox?$top=1", "fieldseal.Nope?$top=1", f"queues({MISSING})/Microsoft.Dynamics.CRM.Nope()?$select=name"])
def test_an_address_that_names_nothing_is_not_found(service, path):
    for method, body in (("GET", None), ("POST", {"name": "x"}), ("PATCH", {"name": "x"}), ("DELETE", None)):
        for headers in ({}, {"If_Match": "*"}):
            refused(service.request(method, path, body, **headers), 404, "0x8006088A")
    answer = service.request("POST", "$batch", {"requests": [
        {"id": "1", "method": "GET", "url": path},
        {"id": "2", "method": "POST", "atomicityGroup": "g", "url": path, "body": {}, "headers": {"content-type": "application/json"}}]}, Prefer="odata.continue-on-error", Content_Type="application/json")
    assert [(one["status"], one["body"]["error"]["code"]) for one in answer.json()["responses"]] == [(404, "0x8006088A")] * 2


@pytest.mark.parametrize("path, named", [
    ("accounts/$count", "accounts"), ("accounts/$count?$filter=x", "accounts"), (f"accounts({MISSING})/name", "accounts"), (f"accounts({MISSING})/name/$value", "accounts"), ("accounts/a/b", "accounts"),
    ("queues/nosuch/$count", "nosuch"), (f"queues({MISSING})/nosuch/$value", "nosuch"), (f"queues({MISSING})/name/nosuch", "nosuch"), ("queues/$count/nosuch", "nosuch"), ("WhoAmI/nosuch", "nosuch"),
    ("queues/Microsoft.Dynamics.CRM.Nope/more", "Nope"), (f"queues({MISSING})/Microsoft.Dynamics.CRM.Nope()/more", "Nope"), ("NoFunction()/more", "NoFunction"),
    ("EntityDefinitions/nosuch/more", "nosuch"), ("EntityDefinitions(LogicalName='email')/nosuch/more", "nosuch"), ("EntityDefinitions(LogicalName='email')/Attributes/nosuch/more", "nosuch"),
    ("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='subject')/nosuch/more", "nosuch"), ("EntityDefinitions(LogicalName='email')/Keys/nosuch/more", "nosuch"),
    ("RelationshipDefinitions/nosuch/more", "nosuch"), ("EntityDefinitions(LogicalName='email')/$count", "$count"),
    ("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='statecode')/Microsoft.Dynamics.CRM.StateAttributeMetadata/OptionSet/$count", "$count")])
def test_the_first_segment_that_names_nothing_is_named(service, path, named):
    assert f"'{named}'" in refused(service.get(path), 404, "0x8006088A")


@pytest.mark.parametrize("path, named", [
    ("EntityDefinitions(LogicalName='email')/DisplayName", "DisplayName"), ("EntityDefinitions(LogicalName='email')/DisplayName/UserLocalizedLabel", "DisplayName"),
    ("EntityDefinitions(LogicalName='email')/SchemaName/$value", "SchemaName"), ("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='subject')/MaxLength", "MaxLength"),
    ("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='subject')/Microsoft.Dynamics.CRM.StringAttributeMetadata/MaxLength/$value", "MaxLength"),
    ("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='statecode')/Microsoft.Dynamics.CRM.StateAttributeMetadata/OptionSet/Options", "Options"),
    ("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='statecode')/Microsoft.Dynamics.CRM.StateAttributeMetadata/OptionSet/Options/$count", "Options"),
    ("RelationshipDefinitions(SchemaName='email_activity_parties')/SchemaName", "SchemaName")])
def test_a_member_of_metadata_is_said_to_have_no_address(service, path, named):
    message = refused(service.get(path), 404, "0x8006088A")
    assert f"{named} is a member of this metadata" in message and f"$select={named}" in message


@pytest.mark.parametrize("path", [
    "EntityDefinitions", "EntityDefinitions(LogicalName='email')/Attributes", "EntityDefinitions(LogicalName='email')/Attributes/Microsoft.Dynamics.CRM.PicklistAttributeMetadata", "GlobalOptionSetDefinitions",
    "EntityDefinitions(LogicalName='queue')/Keys", "EntityDefinitions(LogicalName='queue')/ManyToOneRelationships", "RelationshipDefinitions", "RelationshipDefinitions/Microsoft.Dynamics.CRM.ManyToManyRelationshipMetadata"])
def test_metadata_are_counted(service, path):
    values = service.get(path).json()["value"]
    answer = service.get(f"{path}/$count")
    assert (answer.status_code, answer.text) == (200, str(len(values))) and answer.headers["Content-Type"].startswith("text/plain")
    for option in ("$select=MetadataId", "$expand=Attributes", "$count=true"):
        refused(service.get(f"{path}/$count?{option}"), 400, "0x80060888")
    if values:
        name = "SchemaName" if "LogicalName" not in values[0] else "LogicalName"
        assert service.get(f"{path}/$count?$filter={name} eq '{values[0][name]}'").text == "1"


def test_a_cast_to_the_own_type_changes_nothing(service):
    cast, name = "Microsoft.Dynamics.CRM.queue", f"cast {uuid.uuid4()}"
    id = service.create("queues", {"name": name})
    assert service.get(f"queues/{cast}?$select=name&$filter=name eq '{name}'").json()["value"] == service.get(f"queues?$select=name&$filter=name eq '{name}'").json()["value"] != []
    assert service.get(f"queues/{cast}/$count?$filter=name eq '{name}'").text == "1"
    for path in (f"queues({id})/{cast}", f"queues/{cast}({id})"):
        assert service.get(path).json()["name"] == service.get(f"{path}/name").json()["value"] == name


def test_what_is_there_refuses_its_options(service):
    refused(service.get("WhoAmI?$select=UserId"), 400, "0x80060888")
    refused(service.get("queues?$foo=1"), 400, "0x80060888")
    before = service.log().count(b"request failed")
    refused(service.request("POST", "CreateEntities", {}), 501, "0x80040219")
    refused(service.request("POST", "businessunits/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.businessunit", "businessunitid": str(uuid.uuid4()), "name": "x"}]}), 501, "0x80040219")
    # The log has no error for these requests, because the operator has nothing to correct.
    assert service.log().count(b"request failed") == before


# Ids


def test_the_empty_id_is_none(service):
    made = [service.create("mailboxes", {"name": "zero", "mailboxid": EMPTY}) for _ in range(2)]
    assert EMPTY not in made and made[0] != made[1]
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.queue", "name": f"zero {uuid.uuid4()}", "queueid": EMPTY} for _ in range(2)]
    answer = service.request("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert answer.status_code == 200 and EMPTY not in answer.json()["Ids"] and len(set(answer.json()["Ids"])) == 2, answer.text
    profile = {"name": f"zero {uuid.uuid4()}", "emailserverprofileid": EMPTY, "emailserverprofile_mailbox": [{"name": "inner", "mailboxid": EMPTY}]}
    id = service.create("emailserverprofiles", profile)
    [inner] = service.get(f"emailserverprofiles({id})/emailserverprofile_mailbox?$select=mailboxid").json()["value"]
    assert EMPTY not in (id, inner["mailboxid"])
    email = service.create("emails", {"subject": "x", "activityid": EMPTY, "email_activity_mime_attachment": [{"body": "aGk=", "activitymimeattachmentid": EMPTY}]})
    [file] = service.get(f"activitymimeattachments?$filter=_objectid_value eq {email}").json()["value"]
    assert EMPTY not in (email, file["activitymimeattachmentid"])
    answer = service.request("POST", "$batch", {"requests": [
        {"id": str(number), "atomicityGroup": "g", "method": "POST", "url": "queues", "body": {"name": f"zero {uuid.uuid4()}", "queueid": EMPTY}, "headers": {"content-type": "application/json"}}
        for number in range(2)]}, Content_Type="application/json")
    assert [one["status"] for one in answer.json()["responses"]] == [204, 204] and EMPTY not in answer.text
    # If the address has a key, an empty id in the body is ignored.
    assert service.request("PATCH", f"mailboxes({made[0]})", {"name": "changed", "mailboxid": EMPTY}).status_code == 204


def test_no_record_is_created_under_the_empty_id(service):
    for headers in ({}, {"If_None_Match": "*"}):
        for key in (EMPTY, f"queueid={EMPTY}", f"name='zero',queueid={EMPTY}"):
            assert EMPTY in refused(service.request("PATCH", f"queues({key})", {"name": "zero"}, **headers), 400, "0x80040203")
    refused(service.request("POST", "queues/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.queue", "queueid": EMPTY, "name": "x"}]}), 400, "0x80048D19")
    refused(service.get(f"queues({EMPTY})"), 404, "0x80040217")
    refused(service.request("DELETE", f"queues({EMPTY})"), 404, "0x80040217")


# Values


@pytest.mark.parametrize("value", ["2024-02-30T00:00:00Z", "/Date(1700000000000)/", "2024-01-01T00:00:00+0530", "tomorrow"])
def test_a_text_that_is_no_date(service, value):
    message = refused(service.request("POST", "emails", {"subject": "x", "scheduledend": value}), 400, "0x80048D19")
    assert message.startswith("scheduledend takes a date and time") and "not a string" not in message and "this text is not valid" in message


def test_a_text_that_is_no_id_and_no_picture(service):
    for name, value in (("queueid", "x"), ("queueid", "{" + str(uuid.uuid4()) + "}"), ("entityimage", "?")):
        message = refused(service.request("POST", "queues", {"name": "x", name: value}), 400, "0x80048D19")
        assert message.startswith(f"{name} takes") and message.endswith("and this text is not valid."), message
    assert "not a number" in refused(service.request("POST", "queues", {"name": "x", "queueid": 1}), 400, "0x80048D19")


def test_dates_past_the_last_year_are_refused(service):
    for value in ("9999-12-31T23:59:59-01:00", "9999-12-31T20:00:00-14:00"):
        assert "9999-12-31" in refused(service.request("POST", "emails", {"subject": "x", "scheduledend": value}), 400, "0x80040203")
    for value in ("9999-12-31T23:59:59Z", "9999-12-31T23:59:59+01:00"):
        id = service.create("emails", {"subject": "x", "scheduledend": value})
        assert service.get(f"emails({id})?$select=scheduledend").json()["scheduledend"].startswith("9999-12-31T2")


def test_a_type_that_contradicts_its_attribute(service):
    for name, value, type in (("name", "x", "#Int32"), ("name", "x", "#Edm.Guid"), ("incomingemaildeliverymethod", 0, "#String"), ("numberofitems", 0, "#DateTimeOffset")):
        refused(service.request("POST", "queues", {"name": "x", name: value, f"{name}@odata.type": type}), 400, "0x80048D19")
    service.create("queues", {"name": f"x {uuid.uuid4()}", "name@odata.type": "#String", "incomingemaildeliverymethod": 0, "incomingemaildeliverymethod@odata.type": "#Int32"})
    service.create("emails", {"subject": "x", "subject@odata.type": "#Edm.String", "scheduledend": "2026-01-01T00:00:00Z", "scheduledend@odata.type": "#DateTimeOffset"})


def test_an_address_with_more_before_it(service):
    user = service.get("WhoAmI").json()["UserId"]
    for address in (f"foo/bar/systemusers({user})", f"/foo/systemusers({user})", f"//systemusers({user})"):
        assert service.request("POST", "queues", {"name": f"x {uuid.uuid4()}", "primaryuserid@odata.bind": address}).status_code == 400, address
    for address in (f"systemusers({user})", f"/systemusers({user})", f"{service.api}/systemusers({user})", f"/contoso/api/data/v9.2/systemusers({user})"):
        assert service.request("POST", "queues", {"name": f"x {uuid.uuid4()}", "primaryuserid@odata.bind": address}).status_code == 204, address


def test_stale_versions_in_targets(service):
    id = service.create("queues", {"name": f"x {uuid.uuid4()}"})
    first = service.get(f"queues({id})").json()["@odata.etag"]

    def change(message, tag, name):
        target = {"@odata.type": "Microsoft.Dynamics.CRM.queue", "@odata.etag": tag, "queueid": id, "name": name}
        return service.request("POST", f"queues/Microsoft.Dynamics.CRM.{message}", {"Targets": [target]})

    assert change("UpdateMultiple", first, f"y {id}").status_code == 204
    for message in ("UpdateMultiple", "UpsertMultiple"):
        refused(change(message, first, "z"), 412, "0x80060882")
        refused(change(message, "nonsense", "z"), 400, "0x80048D19")
    current = service.get(f"queues({id})").json()["@odata.etag"]
    assert change("UpsertMultiple", current, f"w {id}").status_code == 200


# Queries


def test_an_alias_stands_for_a_list(service):
    one, two = (f"alias {uuid.uuid4()}" for _ in range(2))
    for name in (one, two):
        service.create("queues", {"name": name})
    for value in (f"['{one}','{two}']", f"('{one}','{two}')"):
        found = service.get(f"queues?$filter=name in @p&$select=name&$orderby=name&@p={quote(value)}").json()["value"]
        assert sorted(row["name"] for row in found) == sorted([one, two])
    refused(service.get("queues?$filter=name in @p&@p='x'"), 400, "0x80060888")
    refused(service.get("queues?$filter=name in @p"), 400, "0x80060888")
    assert "alias" in refused(service.get(f"queues(name=@k)?@k='{one}'"), 400, "0x8005F100")
    for key in ("", "=", ",", "@k"):
        refused(service.get(f"queues({key})?@k='{one}'"), 400, "0x8005F100")


def test_all_columns_of_distinct_rows(service):
    profile = service.create("emailserverprofiles", {"name": f"distinct {uuid.uuid4()}"})
    boxes = {service.create("mailboxes", {"name": "same", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}) for _ in range(2)}
    condition = f'<filter><condition attribute="emailserverprofile" operator="eq" value="{profile}"/></filter>'
    for inner in (f'<all-attributes/>{condition}', f'<all-attributes/>{condition}<link-entity name="emailserverprofile" from="emailserverprofileid" to="emailserverprofile"/>'):
        query = f'<fetch distinct="true"><entity name="mailbox">{inner}</entity></fetch>'
        answer = service.get(f"mailboxes?fetchXml={quote(query)}")
        assert answer.status_code == 200 and {row["mailboxid"] for row in answer.json()["value"]} == boxes, answer.text
        assert len(answer.json()["value"]) == 2 and all(row["name"] == "same" for row in answer.json()["value"])
    linked = '<link-entity name="mailbox" from="emailserverprofile" to="emailserverprofileid"/>'
    query = f'<fetch distinct="true"><entity name="emailserverprofile"><all-attributes/><filter><condition attribute="emailserverprofileid" operator="eq" value="{profile}"/></filter>{linked}</entity></fetch>'
    assert [row["emailserverprofileid"] for row in service.get(f"emailserverprofiles?fetchXml={quote(query)}").json()["value"]] == [profile]
    first = '<fetch distinct="true" top="1"><entity name="mailbox"><all-attributes/></entity></fetch>'
    assert len(service.get(f"mailboxes?fetchXml={quote(first)}").json()["value"]) == 1


# Metadata


def test_members_that_metadata_of_a_kind_do_not_have(service):
    queue = "EntityDefinitions(LogicalName='queue')"
    for path in (f"{queue}/Attributes(LogicalName='name')?$expand=OptionSet", f"{queue}/Attributes(LogicalName='name')?$select=OptionSet", f"{queue}?$select=Attributes",
                 f"{queue}?$select=LogicalName,Keys", f"{queue}?$select=OptionSet", f"{queue}/Attributes?$select=OptionSet"):
        refused(service.get(path), 400, "0x80060888")
    for path in (f"{queue}?$select=LogicalName,Attributes&$expand=Attributes($select=LogicalName)", f"{queue}/Attributes(LogicalName='statecode')?$expand=OptionSet", f"{queue}/Attributes?$expand=OptionSet&$select=LogicalName"):
        assert service.get(path).status_code == 200, path


@pytest.mark.parametrize("name", ["Attributes", "Keys", "OneToManyRelationships"])
def test_a_condition_on_other_metadata(service, name):
    query = {"Criteria": {"Conditions": [{"PropertyName": name, "ConditionOperator": "Equals", "Value": "x"}]}, "Properties": {"PropertyNames": ["LogicalName"]}}
    refused(service.get(f"RetrieveMetadataChanges(Query=@p)?@p={quote(json.dumps(query))}"), 400, "0x8005F100")


PARTS = ["Attributes", "Keys", "OneToManyRelationships", "ManyToOneRelationships", "ManyToManyRelationships"]


def test_properties_of_a_query_of_changes_name_its_parts(service):
    def parts(properties, **more):
        mine = {"Conditions": [{"PropertyName": "LogicalName", "ConditionOperator": "Equals", "Value": "queue"}]}
        query = {"Criteria": mine, **({"Properties": properties} if properties else {}), **more}
        [found] = service.get(f"RetrieveMetadataChanges(Query=@p)?@p={quote(json.dumps(query))}").json()["EntityMetadata"]
        assert "HasChanged" in found and "MetadataId" in found
        return [name for name in PARTS if name in found], found

    assert parts({"PropertyNames": ["LogicalName"]})[0] == []
    assert set(parts({"PropertyNames": ["LogicalName"]})[1]) == {"@odata.type", "LogicalName", "MetadataId", "HasChanged"}
    assert parts({"PropertyNames": ["LogicalName", "Attributes"]})[0] == ["Attributes"]
    assert parts({"PropertyNames": PARTS})[0] == parts({"AllProperties": True})[0] == PARTS
    assert parts({"PropertyNames": ["LogicalName"]}, KeyQuery={"Properties": {"AllProperties": True}})[0] == ["Keys"]
    assert parts({"PropertyNames": ["LogicalName"]}, RelationshipQuery={"Properties": {"AllProperties": True}})[0] == PARTS[2:]
    only = {"Criteria": {"Conditions": [{"PropertyName": "LogicalName", "ConditionOperator": "Equals", "Value": "name"}]}, "Properties": {"PropertyNames": ["LogicalName"]}}
    _, found = parts({"PropertyNames": ["LogicalName"]}, AttributeQuery=only)
    assert [attribute["LogicalName"] for attribute in found["Attributes"]] == ["name"]
    assert parts(None)[0] == ["Attributes"]


# Batches


def test_bodies_of_a_json_batch_are_of_their_type(service):
    id = service.create("queues", {"name": f"x {uuid.uuid4()}"})
    answer = service.request("POST", "$batch", {"requests": [
        {"id": "1", "method": "GET", "url": "queues/$count"}, {"id": "2", "method": "GET", "url": f"queues({id})/name/$value"}, {"id": "3", "method": "GET", "url": f"queues({id})?$select=name"}]}, Content_Type="application/json")
    count, name, record = answer.json()["responses"]
    assert count["headers"]["content-type"].startswith("text/plain") and isinstance(count["body"], str) and int(count["body"]) > 0
    assert isinstance(name["body"], str) and record["body"]["name"] == name["body"]


# Values


@pytest.mark.parametrize("offset, taken", [("+14:00", True), ("-14:00", True), ("+13:59", True), ("+14:01", False), ("+15:00", False), ("-18:30", False), ("+23:59", False)])
def test_no_zone_is_farther_than_14_hours(service, offset, taken):
    value = f"2024-01-10T00:00:00{offset}"
    answer = service.request("POST", "emails", {"subject": "x", "scheduledend": value})
    if taken:
        assert answer.status_code == 204
    else:
        assert "scheduledend takes a date" in refused(answer, 400, "0x80048D19")
    refused(service.get(f"emails?$filter=createdon lt {quote(value)}"), 400, "0x80060888") if not taken else None


@pytest.mark.parametrize("value", ["5.0", "1e2", "99999999999999999999999"])
def test_how_a_whole_number_is_written(service, value):
    for attribute in ("actualdurationminutes", "prioritycode"):
        answer = service.request("POST", "emails", f'{{"subject":"x","{attribute}":{value}}}'.encode(), Content_Type="application/json")
        message = refused(answer, 400, "0x80048D19")
        assert attribute in message and "without a decimal point or an exponent" in message


@pytest.mark.parametrize("set, key", [("queues", "queueid"), ("teams", "teamid"), ("teams", "ownerid")])
def test_a_target_with_the_empty_id(service, set, key):
    for message in ("UpdateMultiple", "UpsertMultiple"):
        body = {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM." + set[:-1], key: EMPTY, "name": "x"}]}
        assert "the empty id" in refused(service.request("POST", f"{set}/Microsoft.Dynamics.CRM.{message}", body), 400, "0x80048D19")


@pytest.mark.parametrize("message", ["UpdateMultiple", "UpsertMultiple"])
def test_a_record_is_one_target_by_whichever_key(service, message):
    name, type = f"twice {uuid.uuid4()}", "Microsoft.Dynamics.CRM.queue"
    id = service.create("queues", {"name": name, "description": "before"})
    targets = [{"@odata.type": type, "@odata.id": f"queues(name='{name}')", "description": "one"}, {"@odata.type": type, "queueid": id, "description": "two"}]
    for order in (targets, targets[::-1]):
        assert id in refused(service.request("POST", f"queues/Microsoft.Dynamics.CRM.{message}", {"Targets": order}), 400, "0x80048D19")
    assert service.get(f"queues({id})?$select=description").json()["description"] == "before"
    # In a change set, two parts may write the same record.
    answer = service.request("POST", "$batch", {"requests": [
        {"id": str(number), "atomicityGroup": "g", "method": "POST", "url": f"queues/Microsoft.Dynamics.CRM.{message}", "body": {"Targets": [target]}, "headers": {"content-type": "application/json"}}
        for number, target in enumerate(targets)]}, Content_Type="application/json")
    assert {one["status"] for one in answer.json()["responses"]} <= {200, 204} and service.get(f"queues({id})").json()["description"] == "two"


@pytest.mark.parametrize("condition, value", [("name in @p", "'x'"), ("name in @p", "['x'"), ("name eq @p", "'x' or true"), ("name eq @p", "name")])
def test_what_is_wrong_in_the_value_of_an_alias_is_said_to_be_there(service, condition, value):
    message = refused(service.get(f"queues?$filter={condition}&@p={quote(value)}"), 400, "0x80060888")
    assert "the parameter alias '@p'" in message


def test_the_business_unit_of_a_users_settings_is_there(service):
    me = service.get("WhoAmI").json()
    path = f"usersettingscollection({me['UserId']})"
    for method, at, body in (("PATCH", path, {"businessunitid": MISSING}), ("PUT", f"{path}/businessunitid", {"value": MISSING})):
        assert "businessunitid" in refused(service.request(method, at, body), 404, "0x80040217")
    assert service.request("PATCH", path, {"businessunitid": me["BusinessUnitId"]}).status_code == 204


def test_no_properties_of_metadata_are_asked_for(service):
    def changes(**query):
        query = {"Criteria": {"Conditions": [{"PropertyName": "LogicalName", "ConditionOperator": "Equals", "Value": "queue"}]}, **query}
        [entity] = service.get(f"RetrieveMetadataChanges(Query=@p)?@p={quote(json.dumps(query))}").json()["EntityMetadata"]
        return entity
    none = changes(Properties={"AllProperties": False, "PropertyNames": []}, AttributeQuery={"Properties": {"AllProperties": False, "PropertyNames": []}})
    assert set(none) <= {"@odata.type", "MetadataId", "HasChanged", "Attributes"} and all(set(one) <= {"@odata.type", "MetadataId"} for one in none["Attributes"]) and none["Attributes"]
    assert set(changes(Properties={"AllProperties": False})) <= {"@odata.type", "MetadataId", "HasChanged"}
    assert "DisplayName" in changes(Properties={"AllProperties": True}) and "DisplayName" in changes()
