"""Checks $metadata against the shape of CSDL XML, and against rules of Microsoft's validator of models (codes of EdmErrorCode in
Microsoft.OData.Edm). Each rule is also tried on a document that breaks it."""

import copy
import re
import xml.etree.ElementTree as ET

import csdl
import pytest
from csdl import EDM, EDMX, INTEGERS

#: The largest value of each numeric type.
LARGEST = {"Edm.Byte": 2**8 - 1, "Edm.SByte": 2**7 - 1, "Edm.Int16": 2**15 - 1, "Edm.Int32": 2**31 - 1, "Edm.Int64": 2**63 - 1}
KEYS = {"Edm.Boolean", "Edm.Byte", "Edm.Date", "Edm.DateTimeOffset", "Edm.Decimal", "Edm.Duration", "Edm.Guid", "Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.SByte", "Edm.String", "Edm.TimeOfDay"}
FACETS = {"MaxLength": {"Edm.Binary", "Edm.Stream", "Edm.String"}, "Unicode": {"Edm.String"}, "Scale": {"Edm.Decimal"},
          "Precision": {"Edm.DateTimeOffset", "Edm.Decimal", "Edm.Duration", "Edm.TimeOfDay"}}


def bare(name):
    return re.sub(r"^Collection\((.*)\)$", r"\1", name)


class Model:
    def __init__(self, root):
        self.schemas = root.find(f"{EDMX}DataServices").findall(f"{EDM}Schema")
        self.container = next(c for s in self.schemas for c in s.findall(f"{EDM}EntityContainer"))
        self.types, self.operations = {}, {}
        for schema in self.schemas:
            prefixes = [p for p in (schema.get("Namespace"), schema.get("Alias")) if p]
            for child in schema:
                kept = self.operations if csdl.named(child.tag) in ("Action", "Function") else self.types
                for prefix in prefixes:
                    kept.setdefault(f"{prefix}.{child.get('Name')}", []).append(child)

    def type(self, name):
        return (self.types.get(bare(name)) or [None])[0]

    def kind(self, name):
        """The tag of the element that declares a type, or "Primitive"."""
        if bare(name).startswith("Edm."):
            return "Primitive" if bare(name)[4:] in csdl.PRIMITIVES else None
        declared = self.type(name)
        return None if declared is None else csdl.named(declared.tag)

    def bases(self, type):
        """The base types of a type. None if they form a cycle."""
        found = []
        while type is not None and type.get("BaseType"):
            type = self.type(type.get("BaseType"))
            if type is None or type in found:
                return None
            found.append(type)
        return found

    def all(self, *names):
        return [e for s in self.schemas for name in names for e in s.iter(f"{EDM}{name}")]


def structure(model):
    """Base types, names and keys: BadCyclicEntity, AlreadyDefined, InvalidKey, EntityKeyMustBeScalar and others."""
    for type in model.all("EntityType", "ComplexType"):
        bases = model.bases(type)
        if bases is None or any(base.tag != type.tag for base in bases):
            yield "BadCyclicEntity", type.get("Name")
        if type.get("Abstract") == "true" and bases and any(base.get("Abstract") != "true" for base in bases):
            yield "AbstractEntityBelowConcrete", type.get("Name")
        above = bases or []
        if type.find(f"{EDM}Key") is not None and any(base.find(f"{EDM}Key") is not None for base in above):
            yield "InvalidKey", type.get("Name")
        members = [p for t in [type, *above] for p in (*t.findall(f"{EDM}Property"), *t.findall(f"{EDM}NavigationProperty"))]
        if len({p.get("Name") for p in members}) != len(members):
            yield "AlreadyDefined", type.get("Name")
        properties = {p.get("Name"): p for p in members}
        names = [ref.get("Name") for ref in type.findall(f"{EDM}Key/{EDM}PropertyRef")]
        if len(names) != len(set(names)):
            yield "DuplicatePropertySpecifiedInEntityKey", type.get("Name")
        for name in names:
            own = properties.get(name)
            if own is None or own.get("Type") not in KEYS:
                yield "EntityKeyMustBeScalar", name
            elif own.get("Nullable") != "false":
                yield "InvalidKey", f"{name} may be null"


def types_of_properties(model):
    """BadUnresolvedType, and the kinds of types that are allowed at each place."""
    for element in model.all("Property"):
        if model.kind(element.get("Type")) not in ("Primitive", "ComplexType", "EnumType", "TypeDefinition"):
            yield "InvalidPropertyType", element.get("Name")
    for element in model.all("NavigationProperty"):
        if model.kind(element.get("Type")) != "EntityType":
            yield "BadUnresolvedType", element.get("Name")
        if element.get("Type").startswith("Collection(") and element.get("Nullable") is not None:
            yield "NavigationPropertyOfCollectionTypeMustNotBeNullable", element.get("Name")
    for element in model.all("Parameter", "ReturnType"):
        if model.kind(element.get("Type")) is None:
            yield "BadUnresolvedType", element.get("Type")


def facets(model):
    """InvalidMaxLength, ScaleOutOfRange, PrecisionOutOfRange, and facets of other types."""
    for element in model.all("Property", "Parameter", "ReturnType", "TypeDefinition"):
        type = bare(element.get("Type"))
        for facet, takes in FACETS.items():
            if element.get(facet) is not None and type not in takes:
                yield "UnexpectedFacet", (element.get("Name"), facet)
        length, scale, precision = (element.get(name, "") for name in ("MaxLength", "Scale", "Precision"))
        if length.isdigit() and not 0 < int(length) < 2**31:
            yield "InvalidMaxLength", element.get("Name")
        if scale.isdigit() and precision.isdigit() and int(scale) > int(precision):
            yield "ScaleOutOfRange", element.get("Name")


def enumerations(model):
    """EnumMemberValueOutOfRange, DuplicateEnumMember, and enumerations in which only some members have values."""
    for type in model.all("EnumType"):
        members, underlying = type.findall(f"{EDM}Member"), type.get("UnderlyingType", "Edm.Int32")
        if len({m.get("Name") for m in members}) != len(members):
            yield "AlreadyDefined", type.get("Name")
        values = [m.get("Value") for m in members]
        if None in values and set(values) != {None}:
            yield "InvalidValue", type.get("Name")
        if underlying not in INTEGERS or any(v is not None and not -LARGEST[underlying] - 1 <= int(v) <= LARGEST[underlying] for v in values):
            yield "EnumMemberValueOutOfRange", type.get("Name")
        if type.get("IsFlags") == "true" and None in values:
            yield "InvalidValue", type.get("Name")


def navigation(model):
    """Partners and constraints of navigation properties (BadNavigationProperty): TypeMismatchRelationshipConstraint,
    InvalidPropertyInRelationshipConstraint."""
    for type in model.all("EntityType", "ComplexType"):
        properties = {p.get("Name"): p for t in [type, *(model.bases(type) or [])] for p in t.findall(f"{EDM}Property")}
        for own in type.findall(f"{EDM}NavigationProperty"):
            target = model.type(own.get("Type"))
            constraints = own.findall(f"{EDM}ReferentialConstraint")
            if constraints and own.get("Type").startswith("Collection("):
                yield "InvalidMultiplicityOfPrincipalEnd", own.get("Name")
            if len({c.get("Property") for c in constraints}) != len(constraints):
                yield "DuplicateDependentProperty", own.get("Name")
            if target is None:
                continue
            line = [target, *(model.bases(target) or [])]
            keys = [ref.get("Name") for t in line for ref in t.findall(f"{EDM}Key/{EDM}PropertyRef")]
            if constraints and sorted(c.get("ReferencedProperty") for c in constraints) != sorted(keys):
                yield "InvalidPropertyInRelationshipConstraint", own.get("Name")
            theirs = {p.get("Name"): p for t in line for p in t.findall(f"{EDM}Property")}
            for constraint in constraints:
                mine, other = properties.get(constraint.get("Property")), theirs.get(constraint.get("ReferencedProperty"))
                if mine is None or other is None or mine.get("Type") != other.get("Type"):
                    yield "TypeMismatchRelationshipConstraint", own.get("Name")
                elif own.get("Nullable") == "false" and mine.get("Nullable") != "false":
                    yield "InvalidMultiplicityOfPrincipalEnd", own.get("Name")


def operations(model):
    """BoundOperationMustHaveParameters, DuplicateFunctions, DuplicateActions, UnboundFunctionOverloadHasIncorrectReturnType and imports."""
    for declared in {id(v): v for v in model.operations.values()}.values():
        first, names = declared[0], [[p.get("Name") for p in o.findall(f"{EDM}Parameter")] for o in declared]
        if any(len(own) != len(set(own)) for own in names):
            yield "AlreadyDefined", first.get("Name")
        if any(o.get("IsBound") == "true" and not own for o, own in zip(declared, names)):
            yield "BoundOperationMustHaveParameters", first.get("Name")
        for o in declared:
            bound = o.find(f"{EDM}Parameter") if o.get("IsBound") == "true" else None
            if bound is not None and model.kind(bound.get("Type")) not in ("EntityType", "ComplexType"):
                yield "BadBindingParameter", first.get("Name")
            if o.get("EntitySetPath") and o.get("IsBound") != "true":
                yield "OperationCannotHaveEntitySetPathWithUnBoundOperation", first.get("Name")
        signatures = [(o.tag, o.get("IsBound"), tuple((p.get("Name") if o.get("IsBound") != "true" or n else "", p.get("Type")) for n, p in enumerate(o.findall(f"{EDM}Parameter")))) for o in declared]
        if len(signatures) != len(set(signatures)) or len({o.tag for o in declared}) > 1:
            yield "DuplicateFunctions", first.get("Name")
    for kind in ("Action", "Function"):
        for element in model.container.findall(f"{EDM}{kind}Import"):
            found = model.operations.get(element.get(kind), [])
            if not any(csdl.named(o.tag) == kind and o.get("IsBound") != "true" for o in found):
                yield f"{kind}ImportWithBadOperation", element.get("Name")


def containers(model):
    """DuplicateEntityContainerMemberName, EntitySetTypeMustBeEntityType, NavigationPropertyMappingMustPointToValidTarget."""
    members = [m.get("Name") for m in model.container if m.get("Name")]
    if len(members) != len(set(members)):
        yield "DuplicateEntityContainerMemberName", members
    sets = {s.get("Name"): s for s in model.container.findall(f"{EDM}EntitySet")}
    for entity_set in sets.values():
        type = model.type(entity_set.get("EntityType"))
        if type is None or csdl.named(type.tag) != "EntityType":
            yield "EntitySetTypeMustBeEntityType", entity_set.get("Name")
            continue
        chain = [type, *(model.bases(type) or [])]
        if not any(t.find(f"{EDM}Key") is not None for t in chain):
            yield "EntitySetTypeHasNoKeys", entity_set.get("Name")
        paths = [b.get("Path") for b in entity_set.findall(f"{EDM}NavigationPropertyBinding")]
        if len(paths) != len(set(paths)):
            yield "DuplicateNavigationPropertyMapping", entity_set.get("Name")
        known = {n.get("Name") for t in chain for n in t.findall(f"{EDM}NavigationProperty")}
        for binding in entity_set.findall(f"{EDM}NavigationPropertyBinding"):
            if binding.get("Target") not in sets or binding.get("Path").split("/")[0] not in known:
                yield "UnresolvedNavigationPropertyBindingPath", binding.get("Path")


def annotations(model):
    """DuplicateAnnotation: each element has a term at most once, without a qualifier."""
    for schema in model.schemas:
        for element in schema.iter():
            terms = [(a.get("Term"), a.get("Qualifier")) for a in element.findall(f"{EDM}Annotation")]
            if len(terms) != len(set(terms)):
                yield "DuplicateAnnotation", element.get("Name")


RULES = [structure, types_of_properties, facets, enumerations, navigation, operations, containers, annotations]


def violations(root):
    # The rules can be checked only on a document with the right shape.
    return csdl.faults(root) or [found for rule in RULES for found in rule(Model(root))]


@pytest.fixture(scope="module")
def root(service):
    return ET.fromstring(service.get("$metadata").content)


def test_the_document_has_the_shape_of_csdl(root):
    assert csdl.faults(root) == []


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_model_keeps_the_rules(root, rule):
    assert list(rule(Model(root))) == []


#: For each broken document: the element to change, and the change. None removes an attribute. Elements are added or repeated.
BROKEN = {
    "no version": ("edmx:Edmx", {"Version": "3.0"}), "unknown attribute": ("Property", {"Nosuch": "1"}), "a name with a dot": ("Property", {"Name": "a.b"}),
    "a boolean that is none": ("Property", {"Nullable": "no"}), "no type": ("Property", {"Type": None}), "an unknown type": ("Property", {"Type": "mscrm.nosuch"}),
    "an unknown primitive": ("Property", {"Type": "Edm.Text"}), "an entity as a property": ("Property", {"Type": "mscrm.queue"}), "a length of a number": ("Property[@Type='Edm.Int32']", {"MaxLength": "5"}),
    "a scale in capitals": ("Property[@Type='Edm.Decimal']", {"Scale": "Variable"}), "a length of 0": ("Property[@Type='Edm.String']", {"MaxLength": "0"}), "a key that may be null": ("Property[@Name='queueid']", {"Nullable": None}),
    "a key that is missing": ("PropertyRef", {"Name": "nosuch"}), "a circle": ("EntityType[@Name='crmbaseentity']", {"BaseType": "mscrm.queue"}),
    "no set of that type": ("EntitySet", {"EntityType": "mscrm.nosuch"}), "an abstract set": ("EntitySet", {"EntityType": "mscrm.crmbaseentity"}),
    "a binding to nothing": ("NavigationPropertyBinding", {"Target": "nosuch"}), "a constraint on another property": ("ReferentialConstraint", {"Property": "nosuch"}),
    "a constraint on no key": ("ReferentialConstraint", {"ReferencedProperty": "createdon"}), "an import of nothing": ("FunctionImport", {"Function": "mscrm.nosuch"}),
    "an import of an action": ("FunctionImport", {"Function": "mscrm.GrantAccess"}), "a value that is too large": ("Member", {"Value": "2147483648"}), "a member without a value": ("Member", {"Value": None}),
    "a property twice": ("Property", "twice"), "a function twice": ("Function", "twice"), "a set twice": ("EntitySet", "twice"), "a binding twice": ("NavigationPropertyBinding", "twice"),
    "a member twice": ("Member", "twice"), "a parameter twice": ("Parameter", "twice"), "an annotation twice": ("Annotation", "twice"), "two keys": ("Key", "twice"),
    "no return type": ("ReturnType", "away"), "no property of a key": ("PropertyRef", "away"), "text": ("EntitySet", "text"), "nullable collections": ("NavigationProperty[@Partner='ownerid']", {"Nullable": "true"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_document_that_breaks_a_rule_is_found(root, name):
    path, change = BROKEN[name]
    broken = copy.deepcopy(root)
    tag = f"{EDMX}{path[5:]}" if path.startswith("edmx:") else f"{EDM}{path}"
    element = broken if broken.tag == tag else broken.find(f".//{tag}")
    parent = next((p for p in broken.iter() if element in list(p)), None)
    if change == "twice":
        parent.append(copy.deepcopy(element))
    elif change == "away":
        parent.remove(element)
    elif change == "text":
        element.text = "text"
    else:
        for attribute, value in change.items():
            element.attrib.pop(attribute, None)
            if value is not None:
                element.set(attribute, value)
    assert violations(broken), name
