"""Metadata over SOAP has every member of the SDK's classes, in their order, with the values of the Web API."""

import pytest
from lxml import etree
from soap import NAMESPACES, call, execute, names, opened, operation, outline, outlines, parameter, refused_by, request, results, send, type_of

OUTLINES = outlines()
# For each kind of attribute: the entity and the name of an attribute of that kind.
KINDS = {
    "bigint": ("mailbox", "versionnumber"), "boolean": ("mailbox", "isforwardmailbox"), "datetime": ("mailbox", "createdon"), "decimal": ("email", "exchangerate"),
    "entityname": ("mailbox", "owneridtype"), "integer": ("mailbox", "noemailcount"), "lookup-owner": ("mailbox", "ownerid"), "lookup": ("mailbox", "emailserverprofile"),
    "memo": ("mailbox", "folderhierarchy"), "picklist": ("mailbox", "incomingemaildeliverymethod"), "state": ("mailbox", "statecode"), "status": ("mailbox", "statuscode"),
    "string": ("mailbox", "name"), "uniqueidentifier": ("mailbox", "mailboxid"), "image": ("emailserverprofile", "entityimage"),
}


def members(lines, name="p:value"):
    """The names of the direct children of an element, read from its outline."""
    start = next(index for index, line in enumerate(lines) if line.strip().split(" ")[0] == name)
    depth = len(lines[start]) - len(lines[start].lstrip())
    found = []
    for line in lines[start + 1:]:
        at = len(line) - len(line.lstrip())
        if at <= depth:
            break
        if at == depth + 1:
            found.append(line.strip().split(" ")[0])
    return found


def attribute(service, entity, name):
    return execute(service, "RetrieveAttribute", parameter("EntityLogicalName", "string", entity) + parameter("LogicalName", "string", name))["AttributeMetadata"]


@pytest.mark.parametrize("kind", KINDS)
def test_attributes_of_each_kind(service, kind):
    entity, name = KINDS[kind]
    metadata = attribute(service, entity, name)
    wanted = names(OUTLINES[f"response-RetrieveAttribute-{kind}"])
    own = names(outline(metadata))
    assert own[0].strip() == next(line.strip() for line in wanted if line.strip().startswith("p:value type"))
    assert members(own) == members(wanted)
    for nested in ("d:OptionSet", "d:RequiredLevel", "d:DisplayName", "d:AttributeTypeName", "d:Targets", "d:DateTimeBehavior"):
        if any(line.strip() == nested for line in wanted) and members(wanted, nested):
            assert members(own, nested) == members(wanted, nested), nested
    for nested in ("d:OptionMetadata", "d:FalseOption", "x:LocalizedLabel"):
        if any(line.strip().split(" ")[0] == nested for line in wanted):
            assert members(own, nested) == members(wanted, nested), nested
    web = service.get(f"EntityDefinitions(LogicalName='{entity}')/Attributes(LogicalName='{name}')").json()
    for member in ("MetadataId", "SchemaName", "AttributeType", "LogicalName", "EntityLogicalName"):
        assert metadata.findtext(f"d:{member}", namespaces=NAMESPACES) == web[member]


def test_the_fixtures_attribute(service):
    response = opened(send(service, request("execute-RetrieveAttribute")))
    metadata = results(response)["AttributeMetadata"]
    assert metadata.findtext("d:LogicalName", namespaces=NAMESPACES) == "password" and metadata.findtext("d:IsValidForRead", namespaces=NAMESPACES) == "false"
    assert metadata.findtext("d:MaxLength", namespaces=NAMESPACES) == str(service.get("EntityDefinitions(LogicalName='mailbox')/Attributes(LogicalName='password')").json()["MaxLength"])
    refused_by(call(service, operation("Execute", f'<request><x:Parameters>{parameter("EntityLogicalName", "string", "mailbox")}{parameter("LogicalName", "string", "nosuch")}</x:Parameters><x:RequestName>RetrieveAttribute</x:RequestName></request>')), "0x80041103")


def entity(service, name, filters):
    return execute(service, "RetrieveEntity", parameter("EntityFilters", "d:EntityFilters", filters) + parameter("LogicalName", "string", name))["EntityMetadata"]


def test_an_entity_has_the_parts_that_are_asked_for(service):
    parts = {"Attributes": "d:Attributes", "Privileges": "d:Privileges", "Relationships": "d:OneToManyRelationships"}
    for filters in ("Entity", *parts, "Attributes Relationships", "All"):
        given = {name for name, path in parts.items() if len(entity(service, "queue", filters).find(path, NAMESPACES))}
        assert given == (set(parts) if filters == "All" else set(filters.split()) - {"Entity"}), filters
    web = {p["Name"]: p for p in service.get("EntityDefinitions(LogicalName='email')?$select=Privileges").json()["Privileges"]}
    for privilege in entity(service, "email", "Privileges").find("d:Privileges", NAMESPACES):
        own = web[privilege.findtext("d:Name", namespaces=NAMESPACES)]
        assert {name: privilege.findtext(f"d:{name}", namespaces=NAMESPACES) for name in ("PrivilegeId", "PrivilegeType", "CanBeBasic")} == {
            **{name: own[name] for name in ("PrivilegeId", "PrivilegeType")}, "CanBeBasic": str(own["CanBeBasic"]).lower()}


def test_an_entity_with_everything(service):
    wanted = OUTLINES["response-RetrieveEntity-all"]
    metadata = entity(service, "mailbox", "All")
    own = names(outline(metadata))
    assert members(own) == members(names(wanted)) and type_of(metadata) == "d:EntityMetadata"
    for nested in ("d:OneToManyRelationshipMetadata", "d:CascadeConfiguration", "d:SecurityPrivilegeMetadata"):
        assert members(own, nested) == members(names(wanted), nested), nested
    assert members(names(outline(entity(service, "queue", "Attributes"))), "d71:EntityKeyMetadata") == members(names(wanted), "d71:EntityKeyMetadata")
    assert members(names(outline(entity(service, "team", "Relationships"))), "d:ManyToManyRelationshipMetadata") == members(names(wanted), "d:ManyToManyRelationshipMetadata")
    attributes = [each.findtext("d:LogicalName", namespaces=NAMESPACES) for each in metadata.find("d:Attributes", NAMESPACES)]
    web = service.get("EntityDefinitions(LogicalName='mailbox')/Attributes?$select=LogicalName").json()["value"]
    assert attributes == [each["LogicalName"] for each in web]
    plain = entity(service, "mailbox", "Entity")
    assert plain.find("d:Attributes", NAMESPACES).get("{http://www.w3.org/2001/XMLSchema-instance}nil") == "true"
    response = opened(send(service, request("execute-RetrieveEntity")))
    assert len(results(response)["EntityMetadata"].find("d:Attributes", NAMESPACES)) == len(attributes)


def test_all_entities(service):
    response = opened(send(service, request("execute-RetrieveAllEntities")))
    found = results(response)
    assert list(found) == ["EntityMetadata", "Timestamp"] and type_of(found["EntityMetadata"]) == "d:ArrayOfEntityMetadata"
    logical = [each.findtext("d:LogicalName", namespaces=NAMESPACES) for each in found["EntityMetadata"]]
    assert logical == [each["LogicalName"] for each in service.get("EntityDefinitions?$select=LogicalName").json()["value"]]
    codes = [each.findtext("d:ObjectTypeCode", namespaces=NAMESPACES) for each in found["EntityMetadata"]]
    assert len(set(codes)) == len(codes)


def test_changes(service):
    response = opened(send(service, request("execute-RetrieveMetadataChanges")))
    found = results(response)
    assert type_of(found["EntityMetadata"]) == "x:EntityMetadataCollection"
    wanted = names(OUTLINES["response-RetrieveMetadataChanges"])
    assert members(names(outline(found["EntityMetadata"])), "x:EntityMetadata") == members(wanted, "x:EntityMetadata")
    (mailbox,) = found["EntityMetadata"]
    (attribute,) = mailbox.find("d:Attributes", NAMESPACES)
    filled = {etree.QName(child).localname for child in attribute if child.get("{http://www.w3.org/2001/XMLSchema-instance}nil") != "true"}
    assert filled == {"MetadataId", "LogicalName", "SchemaName", "MaxLength"}
