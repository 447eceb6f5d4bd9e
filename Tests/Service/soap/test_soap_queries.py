"""Queries over SOAP: each of the three forms returns what a query of the Web API returns, and none of them reads a secret."""

import uuid
from xml.sax.saxutils import escape

import pytest
from lxml import etree
from soap import (
    EMPTY, NAMESPACES, XPATH, call, columns, fault, formatted, names, opened, operation, outline, outlines, refused_by, request, results,
    send, type_of, values,
)

ENCRYPTED = [
    ("emailserverprofile", "incomingpassword"), ("emailserverprofile", "outgoingpassword"), ("mailbox", "password"), ("queue", "emailpassword"),
    ("usersettings", "emailpassword"),
]
# The password of this file's records. No other test uses this text.
SECRET = f"secret{uuid.uuid4().hex}"


@pytest.fixture(scope="module")
def records(service):
    """A profile, and six mailboxes whose names end in a number. Every second mailbox has an address."""
    prefix = f"s{uuid.uuid4().hex[:10]}"
    profile = service.create("emailserverprofiles", {"name": f"{prefix} Profile", "incomingpassword": SECRET})
    ids = [
        service.create("mailboxes", {
            "name": f"{prefix} Box {n}", "emailaddress": None if n % 2 else f"{n}@{prefix}.test", "password": SECRET,
            "incomingemaildeliverymethod": n % 3, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
        for n in range(6)]
    return {"prefix": prefix, "profile": profile, "ids": ids}


def condition(attribute, operator, *values, type="string", entity=None, compares=False):
    inner = "".join(f'<a:anyType i:type="xs:{type}">{escape(str(value))}</a:anyType>' for value in values)
    name = f"<x:EntityName>{entity}</x:EntityName>" if entity else '<x:EntityName i:nil="true"/>'
    return (
        f"<x:ConditionExpression><x:AttributeName>{attribute}</x:AttributeName><x:CompareColumns>{str(compares).lower()}</x:CompareColumns>"
        f"<x:Operator>{operator}</x:Operator><x:Values>{inner}</x:Values>{name}</x:ConditionExpression>")


def criteria(*conditions, kind="And", filters=""):
    inner = "".join(conditions)
    return f"<x:Conditions>{inner}</x:Conditions><x:FilterOperator>{kind}</x:FilterOperator><x:Filters>{filters}</x:Filters>"


def order(attribute, type="Ascending", alias=None):
    return f'<x:OrderExpression><x:Alias i:nil="true"/><x:AttributeName>{attribute}</x:AttributeName><x:EntityName i:nil="true"/><x:OrderType>{type}</x:OrderType></x:OrderExpression>'


def expression(entity, set, where="", links="", orders="", page="", distinct=False, top=None):
    paging = f"<x:PageInfo>{page}</x:PageInfo>" if page else '<x:PageInfo i:nil="true"/>'
    limit = f"<x:TopCount>{top}</x:TopCount>" if top else '<x:TopCount i:nil="true"/>'
    return (
        f'<query i:type="x:QueryExpression"><x:ColumnSet>{set}</x:ColumnSet><x:Criteria>{where}</x:Criteria><x:Distinct>{str(distinct).lower()}</x:Distinct>'
        f"<x:EntityName>{entity}</x:EntityName><x:LinkEntities>{links}</x:LinkEntities><x:Orders>{orders}</x:Orders>{paging}<x:NoLock>true</x:NoLock>{limit}</query>")


def link(to, from_attribute, to_attribute, alias, kind="Inner", set="", where="", links=""):
    return (
        f"<x:LinkEntity><x:Columns>{set}</x:Columns><x:EntityAlias>{alias}</x:EntityAlias><x:JoinOperator>{kind}</x:JoinOperator><x:LinkCriteria>{where}</x:LinkCriteria>"
        f"<x:LinkEntities>{links}</x:LinkEntities><x:LinkFromAttributeName>{from_attribute}</x:LinkFromAttributeName><x:LinkFromEntityName>mailbox</x:LinkFromEntityName>"
        f"<x:LinkToAttributeName>{to_attribute}</x:LinkToAttributeName><x:LinkToEntityName>{to}</x:LinkToEntityName><x:Orders/></x:LinkEntity>")


def ask(service, query, **options):
    return call(service, operation("RetrieveMultiple", query), **options)


def found(response):
    assert etree.QName(response).localname == "RetrieveMultipleResponse", etree.tostring(response).decode()[:2000]
    return list(response[0].find("x:Entities", NAMESPACES))


def boxes(response):
    return "".join(values(entity)["name"][1][-1] for entity in found(response))


def page_of(response):
    return {etree.QName(child).localname: child.text for child in response[0] if etree.QName(child).localname != "Entities"}


@pytest.mark.parametrize("where, expected", [
    (condition("name", "Equal", "{p} BOX 3"), "3"), (condition("name", "NotEqual", "{p} Box 3"), "01245"),
    (condition("name", "Like", "{p}%4"), "4"), (condition("name", "NotLike", "%4"), "01235"),
    (condition("name", "BeginsWith", "{p} Box"), "012345"), (condition("name", "EndsWith", " 5"), "5"), (condition("name", "DoesNotEndWith", " 5"), "01234"),
    (condition("name", "DoesNotBeginWith", "{p}"), ""), (condition("name", "GreaterThan", "{p} Box 3"), "45"), (condition("name", "LessEqual", "{p} Box 1"), "01"),
    (condition("emailaddress", "Null"), "135"), (condition("emailaddress", "NotNull"), "024"),
    (condition("incomingemaildeliverymethod", "In", 0, 2, type="int"), "0235"), (condition("incomingemaildeliverymethod", "NotIn", 0, 2, type="int"), "14"),
    (condition("incomingemaildeliverymethod", "Between", 1, 2, type="int"), "1245"), (condition("createdon", "LastXDays", 7, type="int"), "012345"),
    (condition("createdon", "OnOrBefore", "2020-01-01T00:00:00Z", type="dateTime"), ""), (condition("createdon", "Today"), "012345"),
    (condition("createdon", "OlderThanXMonths", 1, type="int"), ""), (condition("ownerid", "EqualUserId"), "012345"), (condition("ownerid", "NotEqualUserId"), ""),
    (condition("ispasswordset", "Equal", "true", type="boolean"), "012345"), (condition("createdon", "LessEqual", "modifiedon", compares=True), "012345"),
])
def test_operators(service, records, where, expected):
    where = where.replace("{p}", records["prefix"])
    own = condition("name", "BeginsWith", f"{records['prefix']} Box")
    assert boxes(ask(service, expression("mailbox", columns("name"), criteria(own, where), orders=order("name")))) == expected


def test_nested_filters_and_links(service, records):
    p = records["prefix"]
    either = f"<x:FilterExpression>{criteria(condition('name', 'EndsWith', '1'), condition('emailaddress', 'Equal', f'4@{p}.test'), kind='Or')}</x:FilterExpression>"
    query = expression(
        "mailbox", columns("name", "password"), criteria(condition("name", "BeginsWith", p), filters=either),
        link("emailserverprofile", "emailserverprofile", "emailserverprofileid", "p", "LeftOuter", columns("name", "statecode", "incomingpassword", "ownerid")),
        order("name", "Descending"))
    response = ask(service, query)
    assert boxes(response) == "41"
    attributes = values(found(response)[0])
    assert attributes["p.name"][0] == "x:AliasedValue" and "p.incomingpassword" not in attributes and "password" not in attributes
    aliased = {etree.QName(child).localname: child for child in attributes["p.name"][1]}
    assert aliased["EntityLogicalName"].text == "emailserverprofile" and aliased["Value"].text == f"{p} Profile"
    kinds = {key: type_of(value[1].find("x:Value", NAMESPACES)) for key, value in attributes.items() if key.startswith("p.")}
    assert kinds == {"p.name": "xs:string", "p.statecode": "x:OptionSetValue", "p.ownerid": "x:EntityReference"}
    assert formatted(found(response)[0])["p.statecode"] == "Active"
    # A condition names a link by its alias. Other links must exist, or must not exist.
    named = criteria(condition("name", "BeginsWith", p), condition("name", "Equal", f"{p} profile", entity="p"))
    assert boxes(ask(service, expression("mailbox", columns("name"), named, link("emailserverprofile", "emailserverprofile", "emailserverprofileid", "p"), order("name")))) == "012345"
    for kind, expected in (("Exists", "012345"), ("In", "012345"), ("NotAny", "")):
        exists = link("emailserverprofile", "emailserverprofile", "emailserverprofileid", "e", kind, where=criteria(condition("name", "BeginsWith", p)))
        assert boxes(ask(service, expression("mailbox", columns("name"), criteria(condition("name", "BeginsWith", p)), exists, order("name")))) == expected


def test_pages_counts_and_top(service, records):
    p = records["prefix"]
    where = criteria(condition("name", "BeginsWith", f"{p} Box"))

    def page(number, cookie=""):
        return ask(service, expression("mailbox", columns("name"), where, orders=order("name"), page=(
            f"<x:Count>2</x:Count><x:PageNumber>{number}</x:PageNumber><x:PagingCookie>{escape(cookie)}</x:PagingCookie><x:ReturnTotalRecordCount>true</x:ReturnTotalRecordCount>")))

    cookie, seen, first = "", "", ""
    for number in (1, 2, 3):
        response = page(number, cookie)
        info = page_of(response)
        assert info["TotalRecordCount"] == "6" and info["TotalRecordCountLimitExceeded"] == "false" and info["EntityName"] == "mailbox"
        assert info["MoreRecords"] == str(number < 3).lower() and (info["PagingCookie"] is None) == (number == 3)
        seen += boxes(response)
        cookie = info["PagingCookie"] or ""
        first = first or cookie
    assert seen == "012345"
    for where_, orders, number in ((where, order("name", "Descending"), 2), (criteria(condition("name", "BeginsWith", p)), order("name"), 2), (where, order("name"), 3), (where, order("name"), 1)):
        info = f"<x:Count>2</x:Count><x:PageNumber>{number}</x:PageNumber><x:PagingCookie>{escape(first)}</x:PagingCookie>"
        message = refused_by(ask(service, expression("mailbox", columns("name"), where_, orders=orders, page=info)), "0x80060888")
        assert ("another query" in message) == (number == 2) and "paging cookie" in message, message
    # Without a cookie, the service returns the page with the requested number.
    assert boxes(page(2)) == "23"
    refused_by(page(2, '<cookie page="1"/>'), "0x80060888")
    response = ask(service, expression("mailbox", columns("name"), where, orders=order("name"), top=3))
    assert boxes(response) == "012" and page_of(response)["MoreRecords"] == "false" and page_of(response)["TotalRecordCount"] == "-1"


def test_the_fixtures_queries(service, records):
    p = records["prefix"]
    # The fixture has the cookie of another service, which is refused. Without the cookie, the query succeeds.
    body = request("operation-RetrieveMultiple", name=p, cookie="&lt;cookie page=&quot;1&quot;/&gt;")
    refused_by(opened(send(service, body)), "0x80060888")
    for kind in ("operation-RetrieveMultiple", "execute-RetrieveMultiple"):
        body = request(kind, name=p, cookie="").replace("<a:PageNumber>2<", "<a:PageNumber>1<")
        response = opened(send(service, body))
        assert response.tag.endswith("Response") and SECRET.encode() not in etree.tostring(response)
    response = opened(send(service, request("execute-RetrieveMultiple-fetch")))
    page = results(response)["EntityCollection"]
    assert len(page.find("x:Entities", NAMESPACES)) == 5
    assert names(outline(page))[-6:] == names(outlines()["response-RetrieveMultiple"])[-6:] or [line.strip() for line in names(outline(page))[-6:]] == [line.strip() for line in names(outlines()["response-RetrieveMultiple"])[-6:]]
    queue = service.create("queues", {"name": p})
    response = opened(send(service, request("execute-RetrieveMultiple-by-attribute", name=p)))
    entities = results(response)["EntityCollection"].find("x:Entities", NAMESPACES)
    assert [entity.findtext("x:Id", namespaces=NAMESPACES) for entity in entities] == [queue]
    assert values(entities[0]) == {"queueid": ("ser:guid", queue)}


def fetch(service, text):
    return ask(service, f'<query i:type="x:FetchExpression"><x:Query>{escape(text)}</x:Query></query>')


def test_fetch_with_aggregates_links_and_pages(service, records):
    p = records["prefix"]
    condition = f"<filter><condition attribute='name' operator='like' value='{p} Box%'/></filter>"
    response = fetch(service, f"<fetch aggregate='true'><entity name='mailbox'><attribute name='incomingemaildeliverymethod' groupby='true' alias='g'/><attribute name='mailboxid' aggregate='count' alias='n'/><order alias='g'/>{condition}</entity></fetch>")
    entities = found(response)
    same = names(outlines()["result-RetrieveMultiple-aggregate"])
    own = names(outline(response[0].find("x:Entities", NAMESPACES)[0]))
    start = same.index("   x:Entity")
    assert [line for line in own if "FormattedValue" not in line and "KeyValuePairOfstringstring" not in line][:18] == [line[3:] for line in same[start:start + 18]]
    assert [entity.xpath("x:Attributes/*[p:key='n']/p:value/x:Value/text()", namespaces=XPATH)[0] for entity in entities] == ["2", "2", "2"]
    assert entities[0].findtext("x:Id", namespaces=NAMESPACES) == EMPTY
    first = fetch(service, f"<fetch count='4' page='1' returntotalrecordcount='true'><entity name='mailbox'><attribute name='name'/><order attribute='name'/>{condition}</entity></fetch>")
    assert boxes(first) == "0123" and page_of(first)["TotalRecordCount"] == "6"
    cookie = escape(page_of(first)["PagingCookie"], {'"': "&quot;"})
    second = fetch(service, f'<fetch count="4" page="2" paging-cookie="{cookie}"><entity name="mailbox"><attribute name="name"/><order attribute="name"/>{condition}</entity></fetch>')
    assert boxes(second) == "45" and page_of(second)["MoreRecords"] == "false"
    response = fetch(service, f"<fetch><entity name='mailbox'><attribute name='name' alias='called'/>{condition}<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' alias='e'><attribute name='name'/></link-entity></entity></fetch>")
    assert {"called", "e.name"} <= set(values(found(response)[0]))


@pytest.mark.parametrize("entity, attribute", ENCRYPTED)
def test_an_encrypted_attribute_is_refused_and_never_given(service, records, entity, attribute):
    for query in (
        expression(entity, columns(), criteria(condition(attribute, "Equal", SECRET))),
        expression(entity, columns(), criteria(condition(attribute, "NotNull"))),
        expression(entity, columns(), criteria(condition("createdon", "Equal", attribute, compares=True)).replace("createdon", attribute)),
        expression(entity, columns(), orders=order(attribute)),
        expression("mailbox", columns(), links=link(entity, "name", attribute, "l")),
        expression("mailbox", columns(), links=link(entity, "ownerid", "ownerid", "l", where=criteria(condition(attribute, "Like", "%")))),
        f'<query i:type="x:QueryByAttribute"><x:Attributes><a:string>{attribute}</a:string></x:Attributes><x:ColumnSet>{columns()}</x:ColumnSet><x:EntityName>{entity}</x:EntityName><x:Values><a:anyType i:type="xs:string">{SECRET}</a:anyType></x:Values></query>',
    ):
        if entity == "usersettings" and "ownerid" in query:
            continue
        message = refused_by(ask(service, query), "0x80060888")
        assert attribute in message and SECRET not in message
    refused_by(fetch(service, f"<fetch><entity name='{entity}'><filter><condition attribute='{attribute}' operator='like' value='c%'/></filter></entity></fetch>"), "0x80060888")
    for set in (columns(attribute), columns(everything=True)):
        response = ask(service, expression(entity, set))
        assert found(response) and all(attribute not in values(each) for each in found(response)) and SECRET.encode() not in etree.tostring(response)


@pytest.mark.parametrize("query, code", [
    (expression("mailbox", columns("nosuch")), "0x80041103"), (expression("nosuch", columns()), "0x80060888"),
    (expression("mailbox", columns(), criteria(condition("nosuch", "Null"))), "0x80041103"),
    (expression("mailbox", columns(), criteria(condition("name", "InFiscalYear", 3, type="int"))), "0x80060888"),
    (expression("mailbox", columns(), criteria(condition("name", "Equal"))), "0x80060888"),
    (expression("mailbox", columns(), criteria(condition("createdon", "Equal", "x", entity="nosuch"))), "0x80060888"),
    (expression("mailbox", columns(), links=link("mailbox", "name", "name", "m", "Sideways")), "0x80040219"),
    ('<query i:type="x:Novelty"/>', "0x80060888"), ("<query/>", "0x80060888"),
    ('<query i:type="x:FetchExpression"><x:Query>&lt;fetch</x:Query></query>', "0x80060888"),
])
def test_a_query_that_does_not_fit(service, query, code):
    refused_by(ask(service, query), code)


def test_filters_as_deep_as_they_may_be(service):
    inner = criteria(condition("name", "NotNull"))
    for _ in range(30):
        inner = criteria(filters=f"<x:FilterExpression>{inner}</x:FilterExpression>")
    refused_by(ask(service, expression("mailbox", columns(), inner)), "0x80060888")
    assert fault(ask(service, expression("mailbox", columns(), criteria(*[condition("name", "NotNull")] * 501))))[1] == "0x80060888"
