"""EntityDefinitions and related addresses return the requested metadata, and refuse unknown metadata by name."""

import json

import pytest
from service import refused

CRM = "Microsoft.Dynamics.CRM"


def value(service, path):
    response = service.get(path)
    assert response.status_code == 200, response.text
    return response.json()


def listed(service, path):
    return value(service, path)["value"]


# Option sets


def test_states_and_statuses_name_each_other(service):
    states = value(service, f"EntityDefinitions(LogicalName='email')/Attributes(LogicalName='statecode')/{CRM}.StateAttributeMetadata/OptionSet")
    assert [(o["Value"], o["DefaultStatus"], o["InvariantName"]) for o in states["Options"]] == [(0, 1, "Open"), (1, 2, "Completed"), (2, 5, "Canceled")]
    statuses = value(service, f"EntityDefinitions(LogicalName='email')/Attributes(LogicalName='statuscode')/{CRM}.StatusAttributeMetadata?$expand=OptionSet($select=Options)")
    state_of = {o["Value"]: o["State"] for o in statuses["OptionSet"]["Options"]}
    assert set(statuses["OptionSet"]) == {"Options", "MetadataId"}
    assert all(state_of[o["DefaultStatus"]] == o["Value"] for o in states["Options"])
    # A record has a status of the state that the metadata names.
    email = service.create("emails", {"subject": "metadata"})
    record = value(service, f"emails({email})?$select=statecode,statuscode")
    assert state_of[record["statuscode"]] == record["statecode"]


def test_option_sets_by_every_path(service):
    base = "EntityDefinitions(LogicalName='queue')/Attributes"
    one = f"{base}(LogicalName='queueviewtype')/{CRM}.PicklistAttributeMetadata"
    assert [o["Label"]["UserLocalizedLabel"]["Label"] for o in value(service, f"{one}/OptionSet?$select=Options")["Options"]] == ["Public", "Private"]
    assert value(service, f"{one}/OptionSet/{CRM}.OptionSetMetadata")["OptionSetType"] == "Picklist"
    assert service.get(f"{one}/GlobalOptionSet").status_code == 204
    expanded = value(service, f"{one}?$select=LogicalName&$expand=OptionSet($select=Options),GlobalOptionSet($select=Options)")
    assert expanded["GlobalOptionSet"] is None and len(expanded["OptionSet"]["Options"]) == 2
    for attribute in listed(service, f"{base}/{CRM}.PicklistAttributeMetadata?$select=LogicalName&$expand=OptionSet($select=Options)"):
        assert set(attribute) == {"@odata.type", "MetadataId", "LogicalName", "OptionSet"} and attribute["OptionSet"]["Options"]
    truth = value(service, f"{base}(LogicalName='isfaxqueue')/{CRM}.BooleanAttributeMetadata/OptionSet")
    assert (truth["TrueOption"]["Value"], truth["FalseOption"]["Value"]) == (1, 0)
    refused(service.get(f"{base}(LogicalName='name')/{CRM}.PicklistAttributeMetadata"), 404, "0x8006088A")
    refused(service.get(f"{base}(LogicalName='name')/OptionSet"), 404, "0x8006088A")
    refused(service.get(f"{one}/OptionSet?$select=Nosuch"), 400, "0x80060888")
    refused(service.get(f"{one}?$expand=OptionSet($select=Nosuch)"), 400, "0x80060888")
    refused(service.get(f"{one}?$expand=OptionSet($filter=Name eq 'x')"), 400, "0x80060888")


def test_no_choice_is_global(service):
    for path in ("GlobalOptionSetDefinitions", f"GlobalOptionSetDefinitions/{CRM}.OptionSetMetadata", f"GlobalOptionSetDefinitions/{CRM}.BooleanOptionSetMetadata?$select=Name"):
        assert listed(service, path) == []
    refused(service.get("GlobalOptionSetDefinitions(Name='queue_queueviewtype')"), 404, "0x80040217")
    refused(service.get(f"GlobalOptionSetDefinitions(Name='x')/{CRM}.OptionSetMetadata"), 404, "0x80040217")
    refused(service.get(f"GlobalOptionSetDefinitions/{CRM}.NosuchMetadata"), 404, "0x8006088A")


@pytest.mark.parametrize("type", ["BigInt", "Boolean", "DateTime", "Decimal", "Double", "EntityName", "Enum", "File", "Image", "Integer", "Lookup", "ManagedProperty",
                                  "Memo", "Money", "MultiSelectPicklist", "Picklist", "State", "Status", "String", "UniqueIdentifier"])
def test_casts_of_attributes(service, type):
    every = listed(service, "EntityDefinitions(LogicalName='email')/Attributes?$select=LogicalName")
    found = listed(service, f"EntityDefinitions(LogicalName='email')/Attributes/{CRM}.{type}AttributeMetadata?$select=LogicalName")
    wanted = {"Picklist", "State", "Status", "EntityName"} if type == "Enum" else {type}
    assert found == [a for a in every if a["@odata.type"].removeprefix(f"#{CRM}.").removesuffix("AttributeMetadata") in wanted]
    for attribute in found[:1]:
        one = f"EntityDefinitions(LogicalName='email')/Attributes(LogicalName='{attribute['LogicalName']}')/{CRM}.{type}AttributeMetadata"
        assert value(service, one)["LogicalName"] == attribute["LogicalName"]


# Query options


@pytest.mark.parametrize("condition, holds", [
    ("IsIntersect eq true", lambda e: e["IsIntersect"]),
    (f"OwnershipType eq {CRM}.OwnershipTypes'UserOwned'", lambda e: e["OwnershipType"] == "UserOwned"),
    (f"OwnershipType in ({CRM}.OwnershipTypes'None','UserOwned')", lambda e: e["OwnershipType"] in ("None", "UserOwned")),
    (f"not (OwnershipType ne {CRM}.OwnershipTypes'None')", lambda e: e["OwnershipType"] == "None"),
    ("CanCreateAttributes/Value eq false and LogicalName in ('queue','email')", lambda e: e["LogicalName"] in ("queue", "email")),
    ("ObjectTypeCode eq 2020", lambda e: e["LogicalName"] == "queue"),
])
def test_filters(service, condition, holds):
    every = listed(service, "EntityDefinitions")
    assert [e["LogicalName"] for e in listed(service, f"EntityDefinitions?$filter={condition}")] == [e["LogicalName"] for e in every if holds(e)]
    assert value(service, f"EntityDefinitions?$count=true&$select=LogicalName&$filter={condition}")["@odata.count"] == sum(map(holds, every))


def test_expanded_parts_are_filtered_selected_and_expanded(service):
    (queue,) = listed(
        service, "EntityDefinitions?$select=LogicalName&$filter=LogicalName eq 'queue'&$expand=Attributes($select=LogicalName;$filter=AttributeType eq "
        f"{CRM}.AttributeTypeCode'Picklist';$expand=OptionSet),Keys($select=LogicalName),ManyToOneRelationships($select=SchemaName;$filter=ReferencedEntity eq 'team')")
    assert all(a["OptionSet"]["Options"] for a in queue["Attributes"]) and {"queueviewtype"} < {a["LogicalName"] for a in queue["Attributes"]}
    assert [set(k) for k in queue["Keys"]] == [{"LogicalName", "MetadataId"}]
    assert {r["SchemaName"] for r in queue["ManyToOneRelationships"]} == {"team_queue", "owner_queue_team"}
    key = queue["Keys"][0]["LogicalName"]
    assert value(service, f"EntityDefinitions(LogicalName='queue')/Keys(LogicalName='{key}')")["KeyAttributes"] == ["name"]


@pytest.mark.parametrize("path", [
    "EntityDefinitions?$expand=OptionSet", "EntityDefinitions?$expand=Nosuch", "EntityDefinitions(LogicalName='queue')/Attributes?$expand=Keys",
    "EntityDefinitions?$expand=Attributes($orderby=LogicalName)", "EntityDefinitions?$expand=Attributes($top=1)", "EntityDefinitions?$expand=Attributes/$ref",
    "EntityDefinitions?$expand=Attributes($select=Nosuch)", "EntityDefinitions?$expand=Attributes($filter=Nosuch eq 1)", "EntityDefinitions?$select=Nosuch",
    "EntityDefinitions?$filter=LogicalName gt 'a'", "EntityDefinitions?$filter=LogicalName eq 'none' and LogicalName gt 'a'",
    "EntityDefinitions?$expand=Attributes($filter=LogicalName eq 'none' and startswith(LogicalName,'a'))", "EntityDefinitions?$orderby=LogicalName", "EntityDefinitions?$top=1", "EntityDefinitions?$count=maybe",
])
def test_what_is_not_honoured_is_refused(service, path):
    refused(service.get(path), 400, "0x80060888")


def test_numbers_are_compared_by_their_value(service):
    of_decimals = f"EntityDefinitions(LogicalName='queue')/Attributes/{CRM}.DecimalAttributeMetadata?$select=LogicalName&$filter="
    for condition, found in [("MinValue eq 0.0000000001", ["exchangerate"]), ("MinValue eq 1e-10", ["exchangerate"]), ("MinValue in (1,0.00000000010)", ["exchangerate"]),
                             ("MinValue eq 0.0000000002", []), ("MinValue ne 0.0000000001", [])]:
        assert [a["LogicalName"] for a in value(service, of_decimals + condition)["value"]] == found, condition


# RetrieveMetadataChanges


def changes(service, query, **more):
    parameters = "".join(f",{name}=@{name}" for name in more)
    aliases = "".join(f"&@{name}={text}" for name, text in more.items())
    return service.get(f"RetrieveMetadataChanges(Query=@p{parameters})?@p={json.dumps(query)}{aliases}")


def test_metadata_changes(service):
    query = {
        "Criteria": {"FilterOperator": "And", "Conditions": [{"PropertyName": "LogicalName", "ConditionOperator": "In", "Value": {"Type": "System.String[]", "Value": ["team", "role"]}}]},
        "Properties": {"AllProperties": False, "PropertyNames": ["SchemaName"]},
        "AttributeQuery": {"Criteria": {"FilterOperator": "And", "Conditions": [{"PropertyName": "LogicalName", "ConditionOperator": "Equals", "Value": {"Type": "System.String", "Value": "name"}}]}},
        "RelationshipQuery": {"Criteria": {"FilterOperator": "And", "Conditions": [{"PropertyName": "RelationshipType", "ConditionOperator": "Equals", "Value": {"Value": "ManyToManyRelationship"}}]},
                              "Properties": {"AllProperties": False, "PropertyNames": ["SchemaName"]}},
        "KeyQuery": {}, "LabelQuery": {"FilterLanguages": [1033]}}
    response = changes(service, query)
    assert response.status_code == 200, response.text
    found = {e["SchemaName"]: e for e in response.json()["EntityMetadata"]}
    assert set(found) == {"Team", "Role"} and found["Team"]["Keys"] == []
    assert [a["LogicalName"] for a in found["Team"]["Attributes"]] == ["name"]
    assert {r["SchemaName"] for r in found["Team"]["ManyToManyRelationships"]} == {"teammembership_association", "teamroles_association"}
    assert found["Team"]["OneToManyRelationships"] == []
    # With the stamp of this version, no metadata has changed. The stamp of another version is refused, as in Dataverse when a stamp is too old.
    stamp = response.json()["ServerVersionStamp"]
    again = changes(service, query, ClientVersionStamp=f"'{stamp}'").json()
    assert again["EntityMetadata"] == [] and again["ServerVersionStamp"] == stamp
    assert len(changes(service, query, ClientVersionStamp="null").json()["EntityMetadata"]) == 2
    for other in ("1234", stamp[:-1] + ("0" if stamp[-1] != "0" else "1"), f"{stamp}!{stamp}", ""):
        refused(changes(service, query, ClientVersionStamp=f"'{other}'"), 400, "0x80044352")
    # Nothing is ever deleted, so no filter of deletions finds any. An unknown filter is refused.
    for given in ({}, {"ClientVersionStamp": f"'{stamp}'"}):
        for filter in ("All", "Attribute", "Default", "Entity", "Label", "OptionSet", "Relationship", "Entity,Attribute"):
            response = changes(service, query, DeletedMetadataFilters=f"'{filter}'", **given)
            assert response.status_code == 200 and response.json()["DeletedMetadata"] is None, response.text
    refused(changes(service, query, DeletedMetadataFilters="'Nosuch'"), 400, "0x8005F100")
    for bad in (changes(service, {**query, "Nosuch": 1}), changes(service, query, Nosuch="1"), service.get("RetrieveMetadataChanges()"), service.get("RetrieveMetadataChanges(Query=1)")):
        refused(bad, 400, "0x8005F100")
