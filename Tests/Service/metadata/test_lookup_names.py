"""The response has the name of each referenced record, as an annotation of the lookup. Rows are sorted by that name."""

import urllib.parse
import uuid

import pytest
import soap

ANNOTATED = {"Prefer": 'odata.include-annotations="*"'}
FORMATTED = "@OData.Community.Display.V1.FormattedValue"
#: As in Dataverse, these lookups have no name. The name is at ownerid.
WITHOUT = {"owninguser", "owningteam"}


@pytest.fixture(scope="module")
def definitions(service):
    """For each entity with a collection: its definition, and its lookups with the entities that they refer to."""
    found = {}
    for entity in service.get("EntityDefinitions?$select=LogicalName,EntitySetName,PrimaryIdAttribute,PrimaryNameAttribute").json()["value"]:
        name = entity["LogicalName"]
        lookups = service.get(f"EntityDefinitions(LogicalName='{name}')/Attributes/Microsoft.Dynamics.CRM.LookupAttributeMetadata?$select=LogicalName,Targets").json()["value"]
        found[name] = (entity, {lookup["LogicalName"]: lookup["Targets"] for lookup in lookups})
    return found


@pytest.fixture(scope="module")
def records(service, definitions):
    """Records with values in many lookups."""
    admin = service.get("WhoAmI").json()["UserId"]
    name = f"named {uuid.uuid4().hex[:8]}"
    team = service.create("teams", {"name": name, "administratorid@odata.bind": f"/systemusers({admin})"})
    service.create("queues", {"name": name, "ownerid@odata.bind": f"/teams({team})", "emailaddress": f"{uuid.uuid4().hex}@contoso.test"})
    profile = service.create("emailserverprofiles", {"name": name})
    service.create("mailboxes", {"name": name, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    service.create("emails", {
        "subject": name, "email_activity_parties": [{"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({admin})"}],
        "email_activity_mime_attachment": [{"filename": "a.txt", "body": "YQ=="}]})
    # A change in the name of another user gives values to modifiedonbehalfby and to the audit.
    assert service.request("PATCH", f"queues({service.get('queues?$top=1').json()['value'][0]['queueid']})", {"description": "x"}, MSCRMCallerID=admin).status_code == 204


def named_targets(definitions, targets):
    return [target for target in targets if target in definitions and definitions[target][0]["PrimaryNameAttribute"]]


def name_of(service, definitions, targets, id):
    """The name of the referenced record, read from that record."""
    for target in named_targets(definitions, targets):
        entity = definitions[target][0]
        answer = service.get(f"{entity['EntitySetName']}({id})?$select={entity['PrimaryNameAttribute']}")
        if answer.status_code == 200:
            return answer.json()[entity["PrimaryNameAttribute"]]
    return None


def test_every_lookup_that_is_set_has_a_name(service, definitions, records):
    seen, missing = set(), set()
    for name, (entity, lookups) in definitions.items():
        path = f"{entity['EntitySetName']}?$top=200"
        if entity["EntitySetName"] == "audits":
            path += "&$orderby=createdon desc"
        answer = service.get(path, **ANNOTATED)
        if answer.status_code != 200:
            continue
        for record in answer.json()["value"]:
            for lookup, targets in lookups.items():
                value = record.get(f"_{lookup}_value")
                if value is None or lookup in WITHOUT or (name, lookup) in seen or not named_targets(definitions, targets):
                    continue
                if f"_{lookup}_value{FORMATTED}" in record:
                    seen.add((name, lookup))
                elif name_of(service, definitions, targets, value):
                    missing.add((name, lookup))
    assert not missing - seen
    assert {("systemuser", "businessunitid"), ("team", "businessunitid"), ("team", "administratorid"), ("role", "businessunitid"), ("queue", "owningbusinessunit"),
            ("email", "owningbusinessunit"), ("activityparty", "activityid"), ("activitymimeattachment", "objectid"), ("audit", "callinguserid")} <= seen


def fetch(inner, attributes=""):
    return f"teams?fetchXml={urllib.parse.quote(f'<fetch {attributes}><entity name={chr(39)}team{chr(39)}>{inner}</entity></fetch>')}"


@pytest.fixture(scope="module")
def teams(service):
    """Teams whose administrators have one order by name, and another by id."""
    prefix, made = f"named {uuid.uuid4().hex[:8]}", []
    for number, name in enumerate(("Zed", "amy", "Bob")):
        user = service.create("systemusers", {"fullname": f"{name} {prefix}", "domainname": f"CONTOSO\\{uuid.uuid4()}"})
        service.create("teams", {"name": f"{prefix} {number}", "administratorid@odata.bind": f"/systemusers({user})"})
        made.append(f"{name} {prefix}")
    return prefix, [made[1], made[2], made[0]]


def test_lookups_are_sorted_by_the_name(service, teams):
    prefix, expected = teams
    own = f"_administratorid_value{FORMATTED}"
    path = f"teams?$filter=startswith(name,'{prefix}')&$select=name,_administratorid_value&$orderby=_administratorid_value"

    def names(path, name=own, **headers):
        return [row[name] for row in service.get(path, **{**ANNOTATED, **headers}).json()["value"]]

    assert names(path) == expected
    assert names(f"{path} desc") == expected[::-1]
    condition = f"<filter><condition attribute='name' operator='begins-with' value='{prefix}'/></filter>"
    attribute = "<attribute name='administratorid'/>"
    assert names(fetch(f"{attribute}<order attribute='administratorid'/>{condition}")) == expected
    renamed = f"<attribute name='administratorid' alias='a'/><order alias='a'/>{condition}"
    assert names(fetch(renamed), f"a{FORMATTED}") == expected
    assert names(fetch(f"{attribute}<order attribute='administratorid'/>{condition}", "distinct='true'")) == expected
    grouped = f"<attribute name='administratorid' alias='a' groupby='true'/><attribute name='teamid' alias='n' aggregate='count'/><order alias='a'/>{condition}"
    assert names(fetch(grouped, "aggregate='true'"), f"a{FORMATTED}") == expected
    linked = f"<link-entity name='systemuser' from='systemuserid' to='administratorid' alias='u'><attribute name='businessunitid'/></link-entity>{condition}"
    assert len(names(fetch(linked), f"u.businessunitid{FORMATTED}")) == 3
    applied = f"teams?$apply=filter(startswith(name,'{prefix}'))/groupby((_administratorid_value),aggregate($count as n))&$orderby=_administratorid_value"
    assert names(applied) == expected
    # The names are also right from page to page, and in expanded collections.
    pages = []
    while path:
        page = service.get(path, Prefer='odata.maxpagesize=1,odata.include-annotations="*"').json()
        pages += [row[own] for row in page["value"]]
        path = page.get("@odata.nextLink", "").removeprefix(f"{service.api}/") or None
    assert pages == expected
    (user,) = service.get(f"systemusers?$filter=fullname eq '{expected[0]}'&$select=fullname&$expand=businessunitid($select=name)", **ANNOTATED).json()["value"]
    unit = service.get(f"businessunits({user['businessunitid']['businessunitid']})?$select=name&$expand=business_unit_system_users($select=fullname,_businessunitid_value;$top=1)", **ANNOTATED).json()
    assert unit["business_unit_system_users"][0][f"_businessunitid_value{FORMATTED}"] == unit["name"]


def test_one_record_has_the_names_and_nothing_else(service, teams):
    prefix, _ = teams
    (team,) = service.get(f"teams?$filter=name eq '{prefix} 0'").json()["value"]
    plain, annotated = service.get(f"teams({team['teamid']})").json(), service.get(f"teams({team['teamid']})", **ANNOTATED).json()
    assert {name for name in annotated if "@" not in name} == {name for name in plain if "@" not in name}
    assert annotated[f"_administratorid_value{FORMATTED}"] == f"Zed {prefix}"
    assert service.get(f"teams({team['teamid']})?$select=_administratorid_value", **ANNOTATED).json()[f"_administratorid_value{FORMATTED}"] == f"Zed {prefix}"


def test_soap_has_the_names(service, teams):
    prefix, expected = teams
    query = ('<query i:type="b:FetchExpression" xmlns:b="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><b:Query>'
             f"&lt;fetch&gt;&lt;entity name='team'&gt;&lt;attribute name='administratorid'/&gt;&lt;order attribute='administratorid'/&gt;&lt;filter&gt;"
             f"&lt;condition attribute='name' operator='begins-with' value='{prefix}'/&gt;&lt;/filter&gt;&lt;/entity&gt;&lt;/fetch&gt;</b:Query></query>")
    answer = soap.call(service, f'<RetrieveMultiple xmlns="{soap.SERVICES}">{query}</RetrieveMultiple>')
    names = [element.text for element in answer.iter() if element.tag.endswith("}Name") and element.text]
    assert [name for name in names if name in expected] == expected
