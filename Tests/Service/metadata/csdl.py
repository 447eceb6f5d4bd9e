"""The shape of CSDL XML: which elements and attributes a $metadata document may have, and what their values look like (OData CSDL XML
Representation 4.01, sections 3 to 14, without dynamic expressions)."""

import re

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
EDMX = "{http://docs.oasis-open.org/odata/ns/edmx}"
PRIMITIVES = ("Binary", "Boolean", "Byte", "Date", "DateTimeOffset", "Decimal", "Double", "Duration", "Guid", "Int16", "Int32", "Int64", "SByte", "Single", "Stream", "String", "TimeOfDay")
INTEGERS = ("Edm.Byte", "Edm.Int16", "Edm.Int32", "Edm.Int64", "Edm.SByte")

# Regular expressions for values.
NAME = r"[^\W\d]\w{0,127}"
QUALIFIED = rf"{NAME}(\.{NAME})+"
TYPE = rf"{QUALIFIED}|Collection\({QUALIFIED}\)"
OWN = r"(?!Edm\.)" + QUALIFIED
NAVIGATION = rf"{OWN}|Collection\({OWN}\)|Edm\.EntityType|Collection\(Edm\.EntityType\)"
PATH = rf"{NAME}([./]{NAME})*"
BOOLEAN = "true|false|1|0"
NUMBER = r"\d+"
TEXT = "(?s).*"
FACETS = {"MaxLength?": rf"{NUMBER}|max", "Precision?": NUMBER, "Scale?": rf"{NUMBER}|variable|floating", "SRID?": rf"{NUMBER}|variable", "Unicode?": BOOLEAN}
CONSTANTS = {"Bool?": BOOLEAN, "String?": TEXT, "Int?": r"[+-]?\d+", "EnumMember?": rf"{PATH}( {PATH})*", "Guid?": r"[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"}
DERIVABLE = {"Name": NAME, "BaseType?": QUALIFIED, "Abstract?": BOOLEAN, "OpenType?": BOOLEAN}

# For each element: patterns for its attributes, and the number of each child ("?" at most once, "1" once, "+" at least once, "*" any number).
SHAPES = {
    "edmx:Edmx": ({"Version": r"4\.0|4\.01"}, {"edmx:Reference": "*", "edmx:DataServices": "1"}),
    "edmx:Reference": ({"Uri": r"\S+"}, {"edmx:Include": "*", "edmx:IncludeAnnotations": "*", "Annotation": "*"}),
    "edmx:Include": ({"Namespace": PATH, "Alias?": NAME}, {"Annotation": "*"}),
    "edmx:DataServices": ({}, {"Schema": "+"}),
    "Schema": ({"Namespace": PATH, "Alias?": NAME}, dict.fromkeys(
        ("ComplexType", "EntityType", "TypeDefinition", "EnumType", "Action", "Function", "Term", "Annotations", "Annotation"), "*") | {"EntityContainer": "?"}),
    "EntityType": (DERIVABLE | {"HasStream?": BOOLEAN}, {"Key": "?", "Property": "*", "NavigationProperty": "*", "Annotation": "*"}),
    "ComplexType": (DERIVABLE, {"Property": "*", "NavigationProperty": "*", "Annotation": "*"}),
    "Key": ({}, {"PropertyRef": "+"}),
    "PropertyRef": ({"Name": PATH, "Alias?": NAME}, {}),
    "Property": ({"Name": NAME, "Type": TYPE, "Nullable?": BOOLEAN, "DefaultValue?": TEXT} | FACETS, {"Annotation": "*"}),
    "NavigationProperty": ({"Name": NAME, "Type": NAVIGATION, "Nullable?": BOOLEAN, "Partner?": PATH, "ContainsTarget?": BOOLEAN},
                           {"ReferentialConstraint": "*", "OnDelete": "?", "Annotation": "*"}),
    "ReferentialConstraint": ({"Property": PATH, "ReferencedProperty": PATH}, {"Annotation": "*"}),
    "OnDelete": ({"Action": "Cascade|None|SetDefault|SetNull"}, {"Annotation": "*"}),
    "EnumType": ({"Name": NAME, "IsFlags?": BOOLEAN, "UnderlyingType?": "|".join(map(re.escape, INTEGERS))}, {"Member": "+", "Annotation": "*"}),
    "Member": ({"Name": NAME, "Value?": r"-?\d+"}, {"Annotation": "*"}),
    "Action": ({"Name": NAME, "IsBound?": BOOLEAN, "EntitySetPath?": PATH}, {"Parameter": "*", "ReturnType": "?", "Annotation": "*"}),
    "Function": ({"Name": NAME, "IsBound?": BOOLEAN, "IsComposable?": BOOLEAN, "EntitySetPath?": PATH}, {"Parameter": "*", "ReturnType": "1", "Annotation": "*"}),
    "Parameter": ({"Name": NAME, "Type": TYPE, "Nullable?": BOOLEAN} | FACETS, {"Annotation": "*"}),
    "ReturnType": ({"Type": TYPE, "Nullable?": BOOLEAN} | FACETS, {"Annotation": "*"}),
    "Annotations": ({"Target": r"\S+", "Qualifier?": NAME}, {"Annotation": "+"}),
    "Annotation": ({"Term": QUALIFIED, "Qualifier?": NAME} | CONSTANTS, {"Annotation": "*"}),
    "EntityContainer": ({"Name": NAME, "Extends?": QUALIFIED}, dict.fromkeys(("EntitySet", "Singleton", "ActionImport", "FunctionImport", "Annotation"), "*")),
    "EntitySet": ({"Name": NAME, "EntityType": OWN, "IncludeInServiceDocument?": BOOLEAN}, {"NavigationPropertyBinding": "*", "Annotation": "*"}),
    "Singleton": ({"Name": NAME, "Type": OWN, "Nullable?": BOOLEAN}, {"NavigationPropertyBinding": "*", "Annotation": "*"}),
    "NavigationPropertyBinding": ({"Path": PATH, "Target": PATH}, {"Annotation": "*"}),
    "ActionImport": ({"Name": NAME, "Action": QUALIFIED, "EntitySet?": PATH}, {"Annotation": "*"}),
    "FunctionImport": ({"Name": NAME, "Function": QUALIFIED, "EntitySet?": PATH, "IncludeInServiceDocument?": BOOLEAN}, {"Annotation": "*"}),
}


def named(tag):
    """The name of an element with the prefix that SHAPES uses."""
    return tag.replace(EDMX, "edmx:").replace(EDM, "")


def faults(element):
    """A text for each error in the element and in its descendants."""
    name = named(element.tag)
    if name not in SHAPES:
        return [f"{name} is no element"]
    attributes, children = SHAPES[name]
    where = f"{name} {element.get('Name') or ''}".strip()
    found = [f"{where} lacks {a}" for a in attributes if not a.endswith("?") and a not in element.attrib]
    for attribute, value in element.attrib.items():
        pattern = attributes.get(attribute) or attributes.get(f"{attribute}?")
        if pattern is None:
            found.append(f"{where} has no attribute {attribute}")
        elif not re.fullmatch(pattern, value):
            found.append(f"{where}: {attribute} is not {value!r}")
    counts = {}
    for child in element:
        kind = named(child.tag)
        counts[kind] = counts.get(kind, 0) + 1
        if kind not in children:
            found.append(f"{where} has no element {kind}")
    for kind, often in children.items():
        count = counts.get(kind, 0)
        if (often in "1+" and not count) or (often in "1?" and count > 1):
            found.append(f"{where} has {count} of {kind}")
    if (element.text or "").strip() or any((child.tail or "").strip() for child in element):
        found.append(f"{where} has text")
    return found + [fault for child in element for fault in faults(child)]
