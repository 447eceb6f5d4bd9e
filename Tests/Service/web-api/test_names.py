"""Each name in Dataverse's documentation is supported, refused with an error that names it, or listed in docs/web-api.md as having no effect."""

import json
import pathlib
import re
import urllib.parse
import uuid
import xml.sax.saxutils

import pytest

ROOT = pathlib.Path(__file__).parents[3]
NAMES = json.loads((ROOT / "Tests/Fixtures/dataverse_names.json").read_text())
MESSAGES = json.loads((ROOT / "Tests/Fixtures/dataverse_messages.json").read_text())
PAGE = (ROOT / "docs/web-api.md").read_text()


@pytest.fixture(scope="module")
def prefix(service):
    tag = f"names{uuid.uuid4().hex[:8]}"
    for n in range(4):
        service.create("queues", {"name": f"{tag} {n}"})
    return tag


def check(response, treatment, name, plain=None):
    """Checks that a response agrees with a name's treatment: "refused", "harmless" (equal to the response `plain`) or "honoured"."""
    if treatment == "refused":
        assert 400 <= response.status_code < 502, (name, response.status_code, response.text)
        assert response.json()["error"]["message"], name
        return
    assert response.status_code == 200, (name, response.text)
    if treatment == "harmless":
        assert plain is None or response.json()["value"] == plain.json()["value"], name
        assert f"`{name}`" in PAGE, f"{name} is not listed as changing nothing"


def fetch(service, text, **headers):
    collection = "businessunits" if "<entity name='businessunit'" in text else "queues"
    return service.get(f"{collection}?fetchXml=" + urllib.parse.quote(text), **headers)


def query(prefix, element=None, attribute=None, value=None):
    """A FetchXML query with every element. The element named `element` gets one more attribute."""
    def extra(name):
        return f" {attribute}={xml.sax.saxutils.quoteattr(value)}" if name == element else ""

    link = "" if element == "link-entity" and attribute == "link-type" else " link-type='inner'"
    link += "" if element == "link-entity" and attribute == "alias" else " alias='u'"
    return (
        f"<fetch{extra('fetch')}><entity name='queue'{extra('entity')}><attribute name='name'{extra('attribute')}/><order attribute='name'{extra('order')}/>"
        f"<filter{extra('filter')}><condition attribute='name' operator='like' value='{prefix}%'{extra('condition')}/>"
        f"<condition attribute='name' operator='in'><value{extra('value')}>{prefix} 1</value><value>{prefix} 2</value></condition></filter>"
        f"<link-entity name='systemuser' from='systemuserid' to='owninguser'{link}{extra('link-entity')}/></entity></fetch>")


def test_attributes_of_fetchxml(service, prefix):
    plain = fetch(service, query(prefix))
    assert [r["name"][-1] for r in plain.json()["value"]] == ["1", "2"]
    for element, attributes in NAMES["fetchxml attributes"].items():
        for attribute, (value, treatment) in attributes.items():
            response = fetch(service, query(prefix, element, attribute, value))
            check(response, treatment, attribute, plain)
            if treatment == "refused":
                assert attribute in response.json()["error"]["message"], (attribute, response.text)
    for element in ("fetch", "entity", "attribute", "order", "filter", "condition", "value", "link-entity"):
        response = fetch(service, query(prefix, element, "nosuch", "1"))
        check(response, "refused", element)
        assert "nosuch" in response.json()["error"]["message"]


@pytest.mark.parametrize("text", [
    "<fetch><entity name='queue'><nosuch/></entity></fetch>", "<fetch><nosuch/><entity name='queue'/></fetch>", "<fetch><entity name='queue'/><entity name='queue'/></fetch>",
    "<fetch><entity name='queue'>text</entity></fetch>", "<fetch><entity name='queue'><attribute name='name'><value>1</value></attribute></entity></fetch>",
    "<fetch><entity name='queue'><filter><value>1</value></filter></entity></fetch>", "<fetch distinct='yes'><entity name='queue'/></fetch>",
    "<fetch mapping='internal'><entity name='queue'/></fetch>", "<fetch top='1' page='2'><entity name='queue'/></fetch>",
    "<fetch><entity name='queue'><filter type='xor'/></entity></fetch>", "<!DOCTYPE fetch><fetch><entity name='queue'/></fetch>",
    "<!DOCTYPE x [<!ENTITY a 'b'>]><fetch><entity name='queue'/></fetch>", "<fetch useraworderby='false'><entity name='queue'/></fetch>",
])
def test_what_is_no_fetchxml_is_refused(service, text):
    check(fetch(service, text), "refused", text)


def test_booleans_of_fetchxml_are_those_of_xml_schema(service, prefix):
    condition = f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter>"

    def names(flag):
        rows = fetch(service, f"<fetch returntotalrecordcount='{flag}'><entity name='queue'><attribute name='name'/><order attribute='name' descending='{flag}'/>{condition}</entity></fetch>").json()
        return "".join(r["name"][-1] for r in rows["value"]), rows.get("@Microsoft.Dynamics.CRM.totalrecordcount")

    def counts(flag):
        distinct = fetch(service, f"<fetch distinct='{flag}'><entity name='queue'><attribute name='statecode'/>{condition}</entity></fetch>").json()["value"]
        return len(distinct)

    for flag in ("true", "1", "True", " true "):
        assert names(flag) == ("3210", 4) and counts(flag) == 1, flag
        total = fetch(service, f"<fetch aggregate='{flag}'><entity name='queue'><attribute name='queueid' aggregate='count' alias='n'/>{condition}</entity></fetch>")
        assert total.json()["value"] == [{"n": 4}], flag
    for flag in ("false", "0"):
        assert names(flag) == ("0123", None) and counts(flag) == 4, flag
    either = f"<filter type='OR'><condition attribute='name' operator='eq' value='{prefix} 0'/><condition attribute='name' operator='eq' value='{prefix} 1'/></filter>"
    assert len(fetch(service, f"<fetch><entity name='queue'><attribute name='name'/>{either}</entity></fetch>").json()["value"]) == 2


@pytest.mark.parametrize("head", [
    "<?xml version='1.0' encoding='utf-16'?>", '<?xml version="1.0" encoding="UTF-8"?>\n', "\ufeff", "\ufeff<?xml version='1.0' encoding='us-ascii'?>", "<!-- a comment with <!DOCTYPE x> -->"])
def test_an_xml_declaration_and_comments_make_no_difference(service, prefix, head):
    rows = fetch(service, head + f"<fetch><!-- here too --><entity name='queue'><attribute name='name'/><filter><condition attribute='name' operator='eq'>"
                 f"<value><![CDATA[{prefix} 2]]></value></condition></filter></entity></fetch>").json()["value"]
    assert [r["name"] for r in rows] == [f"{prefix} 2"]


def test_link_types_of_fetchxml(service):
    for kind, treatment in NAMES["fetchxml link types"].items():
        check(fetch(service, f"<fetch top='1'><entity name='queue'><link-entity name='systemuser' from='systemuserid' to='owninguser' link-type='{kind}'/></entity></fetch>"), treatment, kind)


def test_elements_of_fetchxml(service):
    for name, (text, treatment) in NAMES["fetchxml elements"].items():
        response = fetch(service, text)
        check(response, treatment, name)
        assert f"<{name.split(' ')[0]}" in text
        if treatment == "refused":
            # If the name replaces <fetch> or <entity>, the error says which element is expected instead.
            assert any(word in response.json()["error"]["message"] for word in (name, "begin with <fetch><entity")), response.text
    # Attributes that the queries above always have. Each is left out once, and the response must agree with its treatment.
    whole = query("x", "nothing")
    for element, attributes in NAMES["fetchxml queries without an attribute"].items():
        for attribute, treatment in attributes.items():
            less = re.sub(rf"(<{element} [^>]*?){attribute}='[^']*' ?", r"\1", whole)
            assert less != whole
            check(fetch(service, less), treatment, (element, attribute))


def test_operators_of_fetchxml(service):
    def condition(attribute, operator, values):
        entity, attribute = attribute.split(".") if "." in attribute else ("queue", attribute)
        inner = "".join(f"<value>{v}</value>" for v in values)
        return f"<fetch top='1'><entity name='{entity}'><filter><condition attribute='{attribute}' operator='{operator}'>{inner}</condition></filter></entity></fetch>"

    for attribute, operators in NAMES["fetchxml operators"].items():
        for operator, values in operators.items():
            check(fetch(service, condition(attribute, operator, values)), "honoured", operator)
            if len(values) != 2 or operator.startswith(("between", "not-between")) or "fiscal" in operator:
                check(fetch(service, condition(attribute, operator, [*values, "1"])), "refused" if operator not in ("in", "not-in") else "honoured", operator)
    for attribute, operators in NAMES["fetchxml operators refused"].items():
        for operator in operators:
            check(fetch(service, condition(attribute, operator, ["00000000-0000-0000-0000-000000000001"])), "refused", operator)


def test_query_options(service, prefix):
    plain = service.get("queues")
    for name, (value, treatment) in NAMES["query options"].items():
        response = service.get(f"queues?{name}={urllib.parse.quote(value)}")
        check(response, treatment, name, plain)
        if treatment == "refused":
            assert name in response.json()["error"]["message"], response.text


def test_options_stand_where_they_are_honoured(service, prefix):
    (record,) = service.get(f"queues?$filter=name eq '{prefix} 0'").json()["value"]
    one = f"queues({record['queueid']})"
    for path in (one, f"{one}/owninguser"):
        for option in ("$filter=name ne null", "$orderby=name", "$top=1", "$skip=1", "$count=true", "$apply=aggregate($count as n)", "fetchXml=<fetch/>", "sql=x", "$skiptoken=x"):
            check(service.get(f"{path}?{option}"), "refused", option)
    for option in ("$select=name", "$top=1", "$orderby=name", "$expand=owninguser", "$apply=aggregate($count as n)", "fetchXml=<fetch/>"):
        check(service.get(f"queues/$count?{option}"), "refused", option)
    for path in ("WhoAmI", "IsDataEncryptionActive()", f"{one}/name", "$openapi"):
        check(service.get(f"{path}?$select=name"), "refused", path)
        check(service.get(f"{path}?foo=1"), "refused", path)
    check(service.get("WhoAmI(Foo=1)"), "refused", "WhoAmI")
    check(service.request("DELETE", f"{one}?$filter=name eq 'x'"), "refused", "DELETE")
    check(service.request("POST", "queues?$filter=name eq 'x'", {"name": "x"}), "refused", "POST")
    assert service.get(one).status_code == 200
    fetched = urllib.parse.quote("<fetch><entity name='queue'><attribute name='name'/></entity></fetch>")
    for option in ("$filter=name eq 'x'", "$select=name", "$top=1", "$orderby=name", "$count=true", "$expand=owninguser", "$apply=aggregate($count as n)", "sql=SELECT name FROM queue"):
        check(service.get(f"queues?fetchXml={fetched}&{option}"), "refused", option)
        if not option.startswith("sql"):
            check(service.get(f"queues?sql=SELECT name FROM queue&{option}"), "refused", option)
    for option in ("$filter=name eq 'x'", "$select=name", "$expand=owninguser"):
        check(service.get(f"queues?$apply=groupby((statecode))&{option}"), "refused", option)
    assert service.get("queues?$apply=groupby((statecode),aggregate($count as n))&$orderby=n&$top=1&$count=true").status_code == 200


def test_filter_expressions(service):
    for expression in NAMES["filter expressions refused"]:
        check(service.get("queues?$filter=" + urllib.parse.quote(expression)), "refused", expression)
    for expression in NAMES["filter expressions"]:
        check(service.get("queues?$top=1&$filter=" + urllib.parse.quote(expression)), "honoured", expression)
    for expression in NAMES["apply"]:
        check(service.get("queues?$apply=" + urllib.parse.quote(expression)), "honoured", expression)
    for expression in NAMES["apply refused"]:
        check(service.get("queues?$apply=" + urllib.parse.quote(expression)), "refused", expression)
    for attribute, functions in NAMES["query functions"].items():
        collection, property = ("businessunits", attribute.split(".")[1]) if "." in attribute else ("queues", attribute)
        for name, arguments in functions.items():
            text = f"Microsoft.Dynamics.CRM.{name}(PropertyName='{property}'{',' + arguments if arguments else ''})"
            check(service.get(f"{collection}?$top=1&$filter=" + urllib.parse.quote(text)), "honoured", name)
            check(service.get(f"{collection}?$top=1&$filter=" + urllib.parse.quote(text[:-1] + ",NoSuchParameter=1)")), "refused", name)
    for name, arguments in NAMES["query functions refused"].items():
        text = f"Microsoft.Dynamics.CRM.{name}(PropertyName='name'{',' + arguments if arguments else ''})"
        check(service.get("queues?$filter=" + urllib.parse.quote(text)), "refused", name)


def test_headers(service):
    plain = service.get("queues")
    for name, values in NAMES["headers"].items():
        for value, treatment in values.items():
            response = service.get("queues", **{name: value})
            check(response, treatment, name, plain)
            if treatment == "refused" and name != "Accept":
                assert name.lower() in response.json()["error"]["message"].lower(), response.text


def test_preferences(service):
    plain = service.get("queues")
    for preference, treatment in NAMES["preferences"].items():
        name = preference.split("=")[0].split(";")[0]
        response = service.get("queues", Prefer=preference)
        check(response, treatment, name.removeprefix("odata."), plain)
        if treatment == "refused":
            assert name in response.json()["error"]["message"], response.text
    # RFC 7240 requires that unknown preferences are ignored.
    check(service.get("queues", Prefer="some-preference=1"), "honoured", "some-preference")


def test_options_of_metadata(service):
    """Query options of a list of metadata, of a single piece of metadata, and of $metadata."""
    for path in ("EntityDefinitions", "EntityDefinitions(LogicalName='queue')", "EntityDefinitions(LogicalName='queue')/Attributes", "EntityDefinitions(LogicalName='queue')/Keys",
                 "EntityDefinitions(LogicalName='queue')/Attributes(LogicalName='statuscode')/Microsoft.Dynamics.CRM.StatusAttributeMetadata?$expand=OptionSet", "RelationshipDefinitions",
                 "GlobalOptionSetDefinitions"):
        plain, mark = service.get(path), "&" if "?" in path else "?"
        for name, (value, treatment) in NAMES["metadata options"].items():
            response = service.get(f"{path}{mark}{name}={value}")
            check(response, treatment, name)
            if treatment == "harmless":
                assert response.json() == plain.json(), (path, name)
            else:
                assert name in response.json()["error"]["message"], response.text
    plain = service.get("$metadata")
    for name, (value, treatment) in NAMES["document options"].items():
        response = service.get(f"$metadata?{name}={value}")
        check(response, treatment, name)
        if treatment == "harmless":
            assert (response.content, response.headers["Content-Type"]) == (plain.content, plain.headers["Content-Type"])
        else:
            assert name in response.json()["error"]["message"], response.text


def harmless(group):
    return {name for name, (_, treatment) in NAMES[group].items() if treatment == "harmless"}


def test_the_page_lists_what_changes_nothing(service):
    """The table in docs/web-api.md names exactly those names that these tests treat as harmless."""
    section = PAGE.split("### What changes nothing")[1].split("\n### ")[0].split("\n## ")[0]
    rows = {cells[0].strip(): set(re.findall("`([^`]+)`", cells[1])) for cells in (line.strip("| ").split(" | ", 1) for line in section.splitlines() if line.startswith("| ") and "---" not in line) if len(cells) > 1}
    attributes = {element: {name for name, (_, treatment) in given.items() if treatment == "harmless"} for element, given in NAMES["fetchxml attributes"].items()}
    sent = {
        "attributes of `<fetch>`": attributes.pop("fetch"), "attributes of other elements": set().union(*attributes.values()),
        "query options": {*harmless("query options"), *harmless("metadata options"), *harmless("document options"), "$metadata"},
        "headers": {name for name, values in NAMES["headers"].items() if "harmless" in values.values()},
        "attributes beside others in a body": {*NAMES["attributes that the service keeps"], "PATCH"},
        "preferences": {name.split("=")[0].removeprefix("odata.") for name, treatment in NAMES["preferences"].items() if treatment == "harmless"},
    }
    assert rows == sent


def kept_value(service, attribute):
    """A member of a body for an attribute that the service sets itself. Its value differs from that of the record."""
    name, kind = attribute["LogicalName"], attribute["AttributeType"]
    if kind == "Lookup":
        (target,) = attribute["Targets"]
        collection = service.get(f"EntityDefinitions(LogicalName='{target}')?$select=EntitySetName,PrimaryIdAttribute").json()
        if target in ("systemuser", "team"):
            other = service.create(collection["EntitySetName"], {"fullname" if target == "systemuser" else "name": f"kept {uuid.uuid4()}"})
        else:
            other = service.get(collection["EntitySetName"]).json()["value"][0][collection["PrimaryIdAttribute"]]
        return {f"{name}@odata.bind": f"/{collection['EntitySetName']}({other})"}
    return {name: {"DateTime": "2001-01-31T12:00:00Z", "BigInt": 1, "EntityName": "team"}[kind]}


def test_what_the_service_keeps_changes_nothing_beside_others(service):
    entities = {"mailboxes": "mailbox", "emailserverprofiles": "emailserverprofile", "queues": "queue", "teams": "team", "systemusers": "systemuser"}
    definitions = {
        collection: {a["LogicalName"]: a for path in ("", "/Microsoft.Dynamics.CRM.LookupAttributeMetadata")
                     for a in service.get(f"EntityDefinitions(LogicalName='{entity}')/Attributes{path}").json()["value"]}
        for collection, entity in entities.items()}
    own = {"modifiedon", "versionnumber", "@odata.etag", "createdon", "name", "description", "fullname", "firstname"}
    for name in NAMES["attributes that the service keeps"]:
        collection = next(c for c, attributes in definitions.items() if name in attributes)
        value = kept_value(service, definitions[collection][name])
        title = "fullname" if collection == "systemusers" else "name"
        plain, given = (service.request("POST", collection, {title: f"kept {n}", **body}, Prefer="return=representation").json() for n, body in enumerate(({}, value)))
        key = next(n for n in plain if n == f"{entities[collection]}id")
        same = {n for n in plain if n not in own and n != key and not n.startswith("address") and n != "ownerid"}
        assert f"_{name}_value" in same or name in same or name in own and name in plain
        # The two records may be created in different seconds. So a time that equals createdon is compared as the word createdon.
        given_values, plain_values = ({n: "createdon" if record[n] == record["createdon"] else record[n] for n in same} for record in (given, plain))
        assert given_values == plain_values, (collection, name)
        assert given["createdon"] > "2020" and given["versionnumber"] > plain["versionnumber"], name
        path = f"{collection}({given[key]})"
        changed = service.request("PATCH", path, {title: "kept 2", **value}, Prefer="return=representation").json()
        assert changed[title] == "kept 2" and {n: changed[n] for n in same} == {n: given[n] for n in same}, (collection, name)
        assert changed["createdon"] == given["createdon"] and changed["versionnumber"] > given["versionnumber"] and changed["modifiedon"] > "2020", name
        # A request with only this value is refused, because it would change nothing.
        response = service.request("PATCH", path, value)
        assert (response.status_code, response.json()["error"]["code"]) == (400, "0x80060413"), (name, response.text)


def test_constructs_of_sql(service):
    for text in NAMES["sql refused"]:
        check(service.get("queues?sql=" + urllib.parse.quote(text)), "refused", text)


def test_messages_that_are_not_there(service):
    """Each message is refused with its name or the reason: as a function, as an action, and bound to a record or a collection."""
    (queue,) = service.get("queues?$select=queueid&$top=1").json()["value"]
    for name in NAMES["messages refused"]:
        bound = [f"queues({queue['queueid']})/Microsoft.Dynamics.CRM.{name}", f"queues/Microsoft.Dynamics.CRM.{name}"]
        for method, path in (("GET", f"{name}()"), ("POST", name), ("POST", bound[0]), ("POST", bound[1])):
            response = service.request(method, path, {} if method == "POST" else None)
            assert response.status_code in (404, 405, 501), (method, path, response.text)
            message = response.json()["error"]["message"]
            assert name in message or "are fixed here" in message, (method, path, response.text)


def test_each_documented_function_and_action_is_honoured_or_refused_by_name(service):
    """The functions and actions of Dataverse's reference. Each supported one is declared in $metadata, and only one other is."""
    documented = {**{name: "GET" for name in MESSAGES["functions"]}, **{name: "POST" for name in MESSAGES["actions"]}}
    honoured = set(MESSAGES["honoured"])
    schema = re.search(r'<Schema Namespace="Microsoft.Dynamics.CRM".*?</Schema>', service.get("$metadata").text, re.DOTALL)[0]
    declared = set(re.findall(r'<(?:Function|Action) Name="(\w+)"', schema))
    assert declared - honoured == {"RetrieveDataEncryptionKeyChange"} and honoured <= declared  # An addition (docs/web-api.md).
    assert honoured < set(documented) and not honoured & set(NAMES["messages refused"])
    queue = service.create("queues", {"name": f"messages {uuid.uuid4()}"})
    for name in sorted(honoured - {"SetDataEncryptionKey"}):
        answers = [service.request(method, path, {} if method == "POST" else None) for method in ("GET", "POST")
                   for path in (name, *(f"{bound}/Microsoft.Dynamics.CRM.{name}" for bound in ("queues", f"systemusers({uuid.uuid4()})", f"teams({uuid.uuid4()})", "emails", f"emails({uuid.uuid4()})")))]
        assert any(a.status_code in (200, 400) or a.status_code == 404 and a.json()["error"]["code"] == "0x80040217" for a in answers), (name, [a.text for a in answers])
    for name in sorted(set(documented) - honoured):
        method = documented[name]
        body, end = ({}, "") if method == "POST" else (None, "()")
        for path in (name + end, f"queues({queue})/Microsoft.Dynamics.CRM.{name}{end}", f"queues/Microsoft.Dynamics.CRM.{name}{end}"):
            response = service.request(method, path, body)
            error = response.json()["error"]
            fixed = (response.status_code, error["code"]) in ((405, "0x8005F100"), (501, "0x80040219")) and "are fixed here" in error["message"]
            assert fixed or (response.status_code, error["code"]) == (404, "0x8006088A") and name in error["message"], (method, path, response.text)


def names(response):
    assert response.status_code == 200, response.text
    return [r["name"][-1] for r in response.json()["value"]]


@pytest.mark.parametrize("empty", ["<filter/>", "<filter type='or'/>", "<filter type='or'><filter/><filter type='or'/></filter>"])
def test_a_filter_without_conditions_changes_nothing(service, prefix, empty):
    mine = f"<condition attribute='name' operator='like' value='{prefix}%'/>"
    one = f"<condition attribute='name' operator='eq' value='{prefix} 1'/>"
    start = "<fetch><entity name='queue'><attribute name='name'/><order attribute='name'/>"
    for filters, expected in ((f"<filter>{mine}</filter>{empty}", "0123"), (f"<filter>{mine}{empty}</filter>", "0123"), (f"<filter type='or'>{one}{empty}</filter>", "1")):
        assert "".join(names(fetch(service, f"{start}{filters}</entity></fetch>"))) == expected, filters
    link = f"<link-entity name='systemuser' from='systemuserid' to='owninguser' link-type='exists'>{empty}</link-entity>"
    assert "".join(names(fetch(service, f"{start}<filter>{mine}</filter>{link}</entity></fetch>"))) == "0123"
    outer = f"<link-entity name='systemuser' from='systemuserid' to='owninguser'>{empty}</link-entity>"
    assert "".join(names(fetch(service, f"{start}<filter>{mine}</filter>{outer}</entity></fetch>"))) == "0123"


@pytest.mark.parametrize("content", [
    "<attribute name='name'/>", "<attribute name='name' alias='n'/>", "<attribute name='name' groupby='true'/>", "<all-attributes/>", "", "<no-attrs/>",
    "<attribute name='name' aggregate='count'/>", "<attribute name='name' aggregate='count' alias='n'/><attribute name='emailaddress' alias='e'/>",
])
def test_an_aggregate_query_gives_no_records(service, content):
    check(fetch(service, f"<fetch aggregate='true'><entity name='queue'>{content}</entity></fetch>"), "refused", content)


@pytest.mark.parametrize("alias", ["", "a b", "a.b", "a-b", "ä", "a'b", "@odata.etag"])
def test_an_alias_is_an_identifier(service, prefix, alias):
    quoted = xml.sax.saxutils.quoteattr(alias)
    for content in (f"<attribute name='name' alias={quoted}/>", f"<link-entity name='systemuser' from='systemuserid' to='owninguser' alias={quoted}/>",
                    f"<link-entity name='systemuser' from='systemuserid' to='owninguser' link-type='exists' alias={quoted}/>"):
        response = fetch(service, f"<fetch><entity name='queue'>{content}</entity></fetch>")
        check(response, "refused", alias)
        assert "alias" in response.json()["error"]["message"]
    assert "A_1" in fetch(service, "<fetch top='1'><entity name='queue'><attribute name='name' alias='A_1'/></entity></fetch>").json()["value"][0]


def test_a_count_of_0_is_no_count(service, prefix):
    condition = f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter>"
    assert len(names(fetch(service, f"<fetch count='0'><entity name='queue'><attribute name='name'/>{condition}</entity></fetch>"))) == 4
    assert len(names(fetch(service, f"<fetch count='1'><entity name='queue'><attribute name='name'/>{condition}</entity></fetch>"))) == 1


def test_the_first_of_two_preferences_counts(service):
    def created(preference):
        return service.request("POST", "queues", {"name": "twice"}, Prefer=preference).status_code

    assert created("return=representation, return=minimal") == 201 and created("return=minimal, return=representation") == 204
    page = service.get("queues?$select=name", Prefer="odata.maxpagesize=1, maxpagesize=3").json()
    assert len(page["value"]) == 1


def test_a_format_is_read_however_it_is_encoded(service):
    for option in ("$format=xml", "$%66ormat=xml", "%24format=xml", "$format=%78ml", "$format=atom", "$format="):
        for path in ("queues", "WhoAmI", f"queues({uuid.uuid4()})"):
            response = service.get(f"{path}?{option}")
            assert response.status_code in (400, 406), (path, option, response.text)
    assert service.get("queues?$top=1&$format=json").status_code == service.get("queues?$top=1&$%66ormat=application/json").status_code == 200
