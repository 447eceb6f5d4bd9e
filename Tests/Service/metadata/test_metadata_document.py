"""Checks $metadata against rules of OData's CSDL that no XML schema can express, and for members that clients need."""

import re
import xml.etree.ElementTree as ET

import pytest

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
EDMX = "{http://docs.oasis-open.org/odata/ns/edmx}"
PRIMITIVES = {"Edm.String", "Edm.Guid", "Edm.Int32", "Edm.Int64", "Edm.Boolean", "Edm.Decimal", "Edm.DateTimeOffset", "Edm.Binary"}


@pytest.fixture(scope="module")
def document(service):
    response = service.get("$metadata")
    assert response.status_code == 200
    return ET.fromstring(response.content)


@pytest.fixture(scope="module")
def schemas(document):
    return document.find(f"{EDMX}DataServices").findall(f"{EDM}Schema")


@pytest.fixture(scope="module")
def types(schemas):
    """Every type by its qualified name, under the namespace and under the alias."""
    found = {}
    for schema in schemas:
        for child in schema:
            if child.tag in (f"{EDM}EntityType", f"{EDM}ComplexType", f"{EDM}EnumType"):
                for prefix in filter(None, (schema.get("Namespace"), schema.get("Alias"))):
                    found[f"{prefix}.{child.get('Name')}"] = child
    return found


def bare(name):
    return re.sub(r"^Collection\((.*)\)$", r"\1", name)


def members(type, kind, types):
    """The members of this kind that a type and its base types have."""
    base = types.get(type.get("BaseType"))
    return (members(base, kind, types) if base is not None else []) + type.findall(f"{EDM}{kind}")


def descends(type, ancestor, types):
    while type is not None:
        if type is ancestor:
            return True
        type = types.get(type.get("BaseType"))
    return False


def test_nothing_is_declared_twice(schemas, types):
    for schema in schemas:
        names = [child.get("Name") for child in schema if child.tag not in (f"{EDM}Function", f"{EDM}Action", f"{EDM}EntityContainer")]
        assert len(names) == len(set(names))
        operations = [
            (child.tag, child.get("Name"), child.find(f"{EDM}Parameter").get("Type") if child.get("IsBound") == "true" else None)
            for child in schema if child.tag in (f"{EDM}Function", f"{EDM}Action")]
        assert len(operations) == len(set(operations))
        assert not {name for _, name, _ in operations} & set(names), "an operation and a type have one name"
        for container in schema.findall(f"{EDM}EntityContainer"):
            names = [child.get("Name") for child in container]
            assert len(names) == len(set(names))
    for type in types.values():
        names = [p.get("Name") for kind in ("Property", "NavigationProperty") for p in members(type, kind, types)]
        assert len(names) == len(set(names)), type.get("Name")


def test_every_name_is_a_simple_identifier(schemas):
    for schema in schemas:
        for element in schema.iter():
            if element.get("Name"):
                assert re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]{0,127}", element.get("Name")), element.get("Name")


def test_every_type_is_declared_and_every_decimal_has_digits(schemas, types):
    for schema in schemas:
        for element in schema.iter():
            for attribute in ("Type", "BaseType", "EntityType"):
                name = element.get(attribute)
                if name:
                    assert bare(name) in types or name in PRIMITIVES or bare(name) in PRIMITIVES, name
            if element.get("Type") == "Edm.Decimal":
                assert element.get("Scale") == "variable", element.attrib
            assert element.get("DefaultValue") is None


def test_keys_partners_and_constraints(types):
    for type in {id(t): t for t in types.values() if t.tag == f"{EDM}EntityType"}.values():
        keys = [ref.get("Name") for ref in type.findall(f"{EDM}Key/{EDM}PropertyRef")]
        # A type has exactly one key, which it or its base type declares.
        declared = [key for key in members(type, "Key", types)]
        assert len(declared) == 1 or not declared and type.get("Abstract") == "true", type.get("Name")
        properties = {p.get("Name"): p for p in members(type, "Property", types)}
        assert all(properties[key].get("Nullable") == "false" for key in keys)
        for navigation in type.findall(f"{EDM}NavigationProperty"):
            target = types[bare(navigation.get("Type"))]
            if navigation.get("Partner"):
                (partner,) = [n for n in members(target, "NavigationProperty", types) if n.get("Name") == navigation.get("Partner")]
                assert descends(type, types[bare(partner.get("Type"))], types), (type.get("Name"), navigation.get("Name"))
                if partner.get("Partner"):
                    assert partner.get("Partner") == navigation.get("Name")
            for constraint in navigation.findall(f"{EDM}ReferentialConstraint"):
                theirs = {p.get("Name"): p for p in members(target, "Property", types)}
                assert properties[constraint.get("Property")].get("Type") == theirs[constraint.get("ReferencedProperty")].get("Type")


def test_bindings_lead_to_sets_of_their_types(schemas, types):
    container = schemas[0].find(f"{EDM}EntityContainer")
    sets = {s.get("Name"): types[s.get("EntityType")] for s in container.findall(f"{EDM}EntitySet")}
    for entity_set in container.findall(f"{EDM}EntitySet"):
        paths = [b.get("Path") for b in entity_set.findall(f"{EDM}NavigationPropertyBinding")]
        assert len(paths) == len(set(paths)), entity_set.get("Name")
        for binding in entity_set.findall(f"{EDM}NavigationPropertyBinding"):
            name, _, cast = binding.get("Path").partition("/")
            (navigation,) = [
                n for n in members(sets[entity_set.get("Name")], "NavigationProperty", types) if n.get("Name") == name]
            declared = types[bare(navigation.get("Type"))]
            assert descends(types[cast] if cast else sets[binding.get("Target")], declared, types)
            assert descends(sets[binding.get("Target")], types[cast] if cast else declared, types)


def test_vocabularies_are_included(document, schemas):
    included = {include.get("Namespace") for include in document.iter(f"{EDMX}Include")}
    for schema in schemas:
        for annotation in schema.iter(f"{EDM}Annotation"):
            assert annotation.get("Term").rpartition(".")[0] in included


def test_every_message_is_declared_and_every_declared_one_is_there(service, schemas):
    declared = {child.get("Name") for schema in schemas for child in schema if child.tag in (f"{EDM}Function", f"{EDM}Action")}
    documented = {row["name"] for row in service.get("sdkmessages?$select=name").json()["value"]}
    # These messages have the addresses of records, so $metadata has no operation for them.
    crud = {"Create", "Retrieve", "RetrieveMultiple", "Update", "Delete", "Upsert", "Assign", "Associate", "Disassociate"}
    assert documented - crud <= declared
    imports = {(child.tag, child.get("Name")) for child in schemas[0].find(f"{EDM}EntityContainer") if "Import" in child.tag}
    for tag, name in imports:
        answer = service.request("GET" if "Function" in tag else "POST", name, None if "Function" in tag else {})
        assert answer.status_code in (200, 400), (name, answer.text)
        wrong = service.request("POST" if "Function" in tag else "GET", name, {} if "Function" in tag else None)
        assert wrong.status_code == 405, name
    routers = {child.get("Name") for child in schemas[1] if child.tag == f"{EDM}Action"}
    for_routers = {"WaitForWork", "LeaseMailbox", "ReportMailbox", "ReleaseCredential", "TakePendingEmails", "ReportEmails", "KnownMessages", "NoteMessages", "DeliverIncomingEmails"}
    assert routers >= for_routers
    for child in schemas[1]:
        if child.tag == f"{EDM}Action":
            # A System Administrator can deliver e-mails, and can't send the other requests of a router.
            expected = 403 if child.get("Name") in for_routers - {"DeliverIncomingEmails"} else 400
            assert service.request("POST", f"fieldseal.{child.get('Name')}", {}).status_code == expected


def test_members_that_clients_index(service):
    entity = service.get("EntityDefinitions(LogicalName='queue')").json()
    for name in ("CanChangeTrackingBeEnabled", "CanCreateAttributes", "IsMappable", "IsRenameable"):
        assert entity[name] == {"Value": False, "CanBeChanged": False, "ManagedPropertyLogicalName": name.lower()}
    assert entity["ChangeTrackingEnabled"] is False and entity["ObjectTypeCode"] == 2020 and entity["TableType"] == "Standard"
    assert entity["HasChanged"] is None and entity["IsStateModel"] is True
    privileges = {p["PrivilegeType"]: p for p in entity["Privileges"]}
    assert set(privileges) == {"Create", "Read", "Write", "Delete", "Assign", "Share"}
    assert privileges["Read"]["Name"] == "prvReadQueue" and privileges["Read"]["CanBeGlobal"]
    user = service.get("WhoAmI").json()["UserId"]
    mine = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()").json()["RolePrivileges"]
    assert privileges["Read"]["PrivilegeId"] in {p["PrivilegeId"] for p in mine}
    attributes = service.get("EntityDefinitions(LogicalName='queue')/Attributes").json()["value"]
    assert [a["ColumnNumber"] for a in attributes] == list(range(1, len(attributes) + 1))
    secret = next(a for a in attributes if a["LogicalName"] == "emailpassword")
    assert secret["IsRetrievable"] is False and secret["IsSortableEnabled"]["Value"] is False
    for every in attributes:
        for name in ("HasChanged", "IsValidODataAttribute", "IsValidForForm", "SourceType", "IntroducedVersion", "IsGlobalFilterEnabled"):
            assert name in every
    # No member occurs twice: some parsers use the first one, and others the last one.
    for path in ("EntityDefinitions(LogicalName='queue')", "EntityDefinitions(LogicalName='queue')/Attributes"):
        service.get(path).json(object_pairs_hook=unique)


def unique(pairs):
    names = [name for name, _ in pairs]
    assert len(names) == len(set(names)), names
    return dict(pairs)
