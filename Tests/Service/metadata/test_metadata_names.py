"""For each member in Dataverse's reference of metadata: the service returns it, $select accepts it, and conditions compare it by its type."""

import json
import pathlib
import re
import urllib.parse

import pytest
from service import refused

MEMBERS = json.loads((pathlib.Path(__file__).parents[2] / "Fixtures/dataverse_metadata.json").read_text())
BAD_QUERY, BAD_REQUEST = "0x80060888", "0x8005F100"


def values(response, below=None):
    """The definitions in a response. With `below`, the values of this member of each definition."""
    assert response.status_code == 200, response.text
    answer = response.json()
    found = answer["value"] if isinstance(answer.get("value"), list) else [answer]
    if below:
        found = [part for value in found for part in (value[below] if isinstance(value[below], list) else [value[below]])]
    assert found, response.text
    return found


@pytest.mark.parametrize("type", MEMBERS)
def test_every_documented_member_is_given(service, type):
    path, names, below = MEMBERS[type]["path"], MEMBERS[type]["members"], MEMBERS[type].get("below")
    for value in values(service.get(path), below):
        missing = [name for name in names if name not in value]
        assert not missing, (value.get("LogicalName") or value.get("SchemaName"), missing)
    if below:
        return
    for name in names:
        for value in values(service.get(f"{path}?$select={name}")):
            assert name in value, name
            assert set(value) <= {name, "MetadataId", "@odata.type", "@odata.context"}, (name, value)


QUEUE = "EntityDefinitions(LogicalName='queue')"


@pytest.mark.parametrize("path", [
    f"{QUEUE}?$filter=LogicalName eq 'queue'", f"{QUEUE}?$count=true", f"{QUEUE}/Attributes(LogicalName='name')?$filter=IsLogical eq false",
    f"{QUEUE}/Attributes?$filter=AttributeType eq Microsoft.Dynamics.CRM.AttributeTypeCode'Nope'",
    f"{QUEUE}/Attributes?$filter=AttributeType eq Microsoft.Dynamics.CRM.OwnershipTypes'UserOwned'", f"{QUEUE}/Attributes?$filter=MaxLength eq '100'",
    f"{QUEUE}/Attributes?$filter=IsPrimaryId eq 'true'", f"{QUEUE}/Attributes?$filter=RequiredLevel/Nope eq 'None'", f"{QUEUE}/Attributes?$filter=not (IsLogical eq 0)",
    "EntityDefinitions?$filter=ObjectTypeCode eq '2020'", "EntityDefinitions?$filter=ObjectTypeCode in ('2020')", "EntityDefinitions?$filter=DisplayName/Nope eq 'Queue'",
    "EntityDefinitions?$filter=CanCreateCharts/Value eq 'false'", "EntityDefinitions?$filter=Nope/Value eq null", "EntityDefinitions?$expand=Attributes($filter=IsLogical eq 1)",
    "EntityDefinitions?$expand=Keys($filter=Nope eq 1)", "EntityDefinitions(LogicalName='mailbox')/Keys?$filter=Nope eq 1", "EntityDefinitions(LogicalName='mailbox')/Keys?$select=Nope",
    "RelationshipDefinitions?$filter=RelationshipType eq Microsoft.Dynamics.CRM.RelationshipType'Nope'", "GlobalOptionSetDefinitions?$filter=Nope eq 1", "GlobalOptionSetDefinitions?$select=Nope",
])
def test_what_can_never_hold_is_refused(service, path):
    refused(service.get(path), 400, BAD_QUERY)


def test_conditions_that_can_hold_are_answered(service):
    for path in (f"{QUEUE}/Attributes?$filter=AttributeType eq Microsoft.Dynamics.CRM.AttributeTypeCode'String' and MaxLength eq 200", f"{QUEUE}/Attributes?$filter=IsPrimaryId eq true",
                 f"{QUEUE}/Attributes?$filter=AttributeType eq 'Lookup'", "EntityDefinitions?$filter=ObjectTypeCode eq 2020", "EntityDefinitions?$filter=CanCreateCharts/Value eq false",
                 "EntityDefinitions?$filter=Description/UserLocalizedLabel eq null", "EntityDefinitions?$filter=DisplayName/UserLocalizedLabel/Label eq 'Queue'"):
        assert values(service.get(path)), path
    for path in ("EntityDefinitions(LogicalName='mailbox')/Keys?$filter=IsManaged eq true&$select=SchemaName", "GlobalOptionSetDefinitions?$filter=Name eq 'x'&$select=Name"):
        assert service.get(path).json()["value"] == []


def changes(service, query, more=""):
    return service.get(f"RetrieveMetadataChanges(Query=@p{more})?@p={urllib.parse.quote(json.dumps(query))}")


def test_queries_of_changes_name_members_that_are_there(service):
    def criteria(name):
        return {"FilterOperator": "And", "Conditions": [{"PropertyName": name, "ConditionOperator": "Equals", "Value": {"Type": "System.String", "Value": "queue"}}]}

    mine = criteria("LogicalName")
    nested = {"FilterOperator": "Or", "Filters": [criteria("Nope")]}
    for query in ({"Criteria": criteria("Nope")}, {"Criteria": nested}, {"Criteria": mine, "Properties": {"AllProperties": False, "PropertyNames": ["Nope"]}},
                  {"Criteria": mine, "AttributeQuery": {"Criteria": criteria("Nope")}}, {"Criteria": mine, "AttributeQuery": {"Properties": {"PropertyNames": ["Nope"]}}},
                  {"Criteria": mine, "RelationshipQuery": {"Criteria": criteria("Nope")}}, {"Criteria": mine, "KeyQuery": {"Properties": {"PropertyNames": ["Nope"]}}}):
        refused(changes(service, query), 400, BAD_REQUEST)
    refused(changes(service, {"Criteria": mine}, ",DeletedMetadataFilters='Nope'"), 400, BAD_REQUEST)
    query = {"Criteria": mine, "Properties": {"AllProperties": False, "PropertyNames": ["SchemaName"]},
             "AttributeQuery": {"Criteria": criteria("EntityLogicalName"), "Properties": {"AllProperties": False, "PropertyNames": ["MaxLength"]}}}
    for more in ("", ",DeletedMetadataFilters='Default'", ",DeletedMetadataFilters='Entity,Attribute'"):
        found = changes(service, query, more).json()["EntityMetadata"]
        assert [e["SchemaName"] for e in found] == ["Queue"] and any("MaxLength" in a for a in found[0]["Attributes"])


def test_deletions_do_what_their_relationship_says(service):
    found = service.get("RelationshipDefinitions/Microsoft.Dynamics.CRM.OneToManyRelationshipMetadata?$select=SchemaName,CascadeConfiguration").json()["value"]
    said = {r["SchemaName"]: r["CascadeConfiguration"]["Delete"] for r in found}
    email = service.create("emails", {"subject": "deleted", "email_activity_mime_attachment": [{"filename": "a.txt", "mimetype": "text/plain", "body": "eA=="}]})
    assert service.request("DELETE", f"emails({email})").status_code == 204
    assert service.get(f"activitymimeattachments?$filter=_objectid_value eq {email}").json()["value"] == []
    assert {name for name, how in said.items() if how == "Cascade"} == {"email_activity_parties", "email_activity_mime_attachment"}
    team = service.create("teams", {"name": "deleted"})
    queue = service.create("queues", {"name": f"owned by {team}", "ownerid@odata.bind": f"/teams({team})"})
    refused(service.request("DELETE", f"teams({team})"), 400, "0x80040203")
    assert service.request("DELETE", f"queues({queue})").status_code == service.request("DELETE", f"teams({team})").status_code == 204
    assert {name for name, how in said.items() if how == "Restrict"} == {f"{end}_{name}{to}" for name in ("email", "emailserverprofile", "mailbox", "queue") for end, to in (("owner", "_team"), ("team", ""))}
    # Deleting the profile makes the lookup of its mailbox null.
    profile = service.create("emailserverprofiles", {"name": f"deleted {team}"})
    mailbox = service.create("mailboxes", {"name": f"of {profile}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    assert service.request("DELETE", f"emailserverprofiles({profile})").status_code == 204
    record = service.get(f"mailboxes({mailbox})?$select=_emailserverprofile_value&$expand=emailserverprofile($select=name)").json()
    assert (record["_emailserverprofile_value"], record["emailserverprofile"]) == (None, None)
    assert {name for name, how in said.items() if how == "RemoveLink"} == {"emailserverprofile_mailbox", "queue_defaultmailbox_mailbox", "mailbox_email_ReceivingMailboxId"}
    # Deleting a parent e-mail leaves its id in the child's lookup.
    parent = service.create("emails", {"subject": "parent"})
    child = service.create("emails", {"subject": "child", "parentactivityid@odata.bind": f"/emails({parent})"})
    assert service.request("DELETE", f"emails({parent})").status_code == 204
    assert service.get(f"emails({child})").json()["_parentactivityid_value"] == parent
    assert said["email_email_parentactivityid"] == "NoCascade"


def test_the_documentation_lists_the_attributes_of_small_entities(service):
    text = (pathlib.Path(__file__).parents[3] / "docs/web-api.md").read_text()
    table = text.partition("### Entities with few attributes")[2].partition("\n#")[0]
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", table, re.M))
    assert set(rows) == {"systemuser", "team", "businessunit", "role", "organization"}
    for entity, said in rows.items():
        found = service.get(f"EntityDefinitions(LogicalName='{entity}')/Attributes?$select=LogicalName").json()["value"]
        assert set(re.findall(r"`(\w+)`", said)) == {attribute["LogicalName"] for attribute in found}, entity
