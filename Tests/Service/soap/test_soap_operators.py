"""Every operator and every join of the SDK's enumerations: it returns the rows that FetchXML returns, or is refused by its name."""

import uuid
from urllib.parse import quote
from xml.sax.saxutils import escape, quoteattr

import pytest
from soap import columns, fault, refused_by
from test_soap_queries import ask, boxes, condition, criteria, expression, found, link, order

DAY, WHEN, TEXT, NUMBER, OWNER, UNIT = "createdon", "processemailreceivedafter", "name", "incomingemaildeliverymethod", "ownerid", "owningbusinessunit"

# For each operator: its name in the enumeration ConditionOperator and in FetchXML, and the attribute, the type and the values of a condition.
OPERATORS = [
    ("Equal", "eq", TEXT, "string", ["{p} 3"]), ("NotEqual", "ne", TEXT, "string", ["{p} 3"]), ("GreaterThan", "gt", NUMBER, "int", [0]),
    ("LessThan", "lt", NUMBER, "int", [2]), ("GreaterEqual", "ge", NUMBER, "int", [1]), ("LessEqual", "le", NUMBER, "int", [1]),
    ("Like", "like", TEXT, "string", ["%3"]), ("NotLike", "not-like", TEXT, "string", ["%3"]), ("In", "in", NUMBER, "int", [0, 2]),
    ("NotIn", "not-in", NUMBER, "int", [0, 2]), ("Between", "between", NUMBER, "int", [1, 2]), ("NotBetween", "not-between", NUMBER, "int", [1, 2]),
    ("Null", "null", "emailaddress", None, []), ("NotNull", "not-null", "emailaddress", None, []),
    ("Yesterday", "yesterday", WHEN, None, []), ("Today", "today", DAY, None, []), ("Tomorrow", "tomorrow", WHEN, None, []),
    ("Last7Days", "last-seven-days", WHEN, None, []), ("Next7Days", "next-seven-days", WHEN, None, []),
    ("LastWeek", "last-week", WHEN, None, []), ("ThisWeek", "this-week", DAY, None, []), ("NextWeek", "next-week", WHEN, None, []),
    ("LastMonth", "last-month", WHEN, None, []), ("ThisMonth", "this-month", DAY, None, []), ("NextMonth", "next-month", WHEN, None, []),
    ("LastYear", "last-year", WHEN, None, []), ("ThisYear", "this-year", DAY, None, []), ("NextYear", "next-year", WHEN, None, []),
    ("On", "on", WHEN, "dateTime", ["2025-02-03T00:00:00Z"]), ("NotOn", None, WHEN, "dateTime", ["2025-02-03T00:00:00Z"]),
    ("OnOrBefore", "on-or-before", WHEN, "dateTime", ["2025-02-03T00:00:00Z"]), ("OnOrAfter", "on-or-after", WHEN, "dateTime", ["2025-02-03T00:00:00Z"]),
    *((f"{way}X{unit}", f"{way.lower()}-x-{unit.lower()}", WHEN, "int", [30]) for way in ("Last", "Next") for unit in ("Hours", "Days", "Weeks", "Months", "Years")),
    *((f"OlderThanX{unit}", f"olderthan-x-{unit.lower()}", WHEN, "int", [2]) for unit in ("Minutes", "Hours", "Days", "Weeks", "Months", "Years")),
    ("EqualUserId", "eq-userid", OWNER, None, []), ("NotEqualUserId", "ne-userid", OWNER, None, []),
    ("EqualBusinessId", "eq-businessid", UNIT, None, []), ("NotEqualBusinessId", "ne-businessid", UNIT, None, []),
    ("EqualUserTeams", "eq-userteams", OWNER, None, []), ("EqualUserOrUserTeams", "eq-useroruserteams", OWNER, None, []),
    ("BeginsWith", "begins-with", TEXT, "string", ["{p}"]), ("DoesNotBeginWith", "not-begin-with", TEXT, "string", ["{p}"]),
    ("EndsWith", "ends-with", TEXT, "string", ["3"]), ("DoesNotEndWith", "not-end-with", TEXT, "string", ["3"]),
    *((name, fetch, WHEN, None, []) for name, fetch in (
        ("ThisFiscalYear", "this-fiscal-year"), ("LastFiscalYear", "last-fiscal-year"), ("NextFiscalYear", "next-fiscal-year"),
        ("ThisFiscalPeriod", "this-fiscal-period"), ("LastFiscalPeriod", "last-fiscal-period"), ("NextFiscalPeriod", "next-fiscal-period"))),
    *((f"{way}XFiscal{unit}", f"{way.lower()}-x-fiscal-{unit.lower()}", WHEN, "int", [5]) for way in ("Last", "Next") for unit in ("Years", "Periods")),
    ("InFiscalYear", "in-fiscal-year", WHEN, "int", [2025]), ("InFiscalPeriod", "in-fiscal-period", WHEN, "int", [1]),
    ("InFiscalPeriodAndYear", "in-fiscal-period-and-year", WHEN, "int", [1, 2025]),
    ("InOrBeforeFiscalPeriodAndYear", "in-or-before-fiscal-period-and-year", WHEN, "int", [1, 2025]),
    ("InOrAfterFiscalPeriodAndYear", "in-or-after-fiscal-period-and-year", WHEN, "int", [1, 2025]),
]
# The other operators of the enumeration. No entity of this product has the attributes or the hierarchy of users that they need.
REFUSED = [
    "ChildOf", "Mask", "NotMask", "MasksSelect", "Contains", "DoesNotContain", "EqualUserLanguage", "ContainValues", "DoesNotContainValues",
    "EqualUserOrUserHierarchy", "EqualUserOrUserHierarchyAndTeams", "EqualRoleBusinessId", "Nope", "",
]
# Operators on a hierarchy, here the one of business units.
HIERARCHY = [("Above", "above"), ("AboveOrEqual", "eq-or-above"), ("Under", "under"), ("UnderOrEqual", "eq-or-under"), ("NotUnder", "not-under")]


@pytest.fixture(scope="module")
def prefix(service):
    """Six mailboxes with different delivery methods and dates. One has no date, and every second one has no address."""
    prefix = f"op{uuid.uuid4().hex[:10]}"
    dates = ["2025-02-03T04:05:06Z", "2019-01-02T03:04:05Z", None, "2031-01-02T03:04:05Z", "2026-01-02T00:00:00Z", "2024-12-31T23:59:59Z"]
    profile = service.create("emailserverprofiles", {"name": f"{prefix} profile"})
    for number, date in enumerate(dates):
        body = {"name": f"{prefix} {number}", "incomingemaildeliverymethod": number % 3, "emailaddress": None if number % 2 else f"{prefix}{number}@op.test"}
        if date:
            body[WHEN] = date
        if number < 4:
            body["emailserverprofile@odata.bind"] = f"/emailserverprofiles({profile})"
        service.create("mailboxes", body)
    return prefix


def fetched(service, prefix, filters, links=""):
    """The numbers of the mailboxes that a FetchXML query over the Web API returns."""
    fetch = (f"<fetch><entity name='mailbox'><attribute name='name'/><order attribute='name'/>"
             f"<filter><condition attribute='name' operator='like' value='{prefix} _'/>{filters}</filter>{links}</entity></fetch>")
    answer = service.get(f"mailboxes?fetchXml={quote(fetch, safe='')}")
    assert answer.status_code == 200, answer.text
    return "".join(each["name"][-1] for each in answer.json()["value"])


@pytest.mark.parametrize("name, fetch, attribute, type, given", OPERATORS, ids=[each[0] for each in OPERATORS])
def test_each_operator_gives_the_rows_that_fetchxml_gives(service, prefix, name, fetch, attribute, type, given):
    given = [str(value).replace("{p}", prefix) for value in given]
    own = condition("name", "Like", f"{prefix} _")
    response = ask(service, expression("mailbox", columns("name"), criteria(own, condition(attribute, name, *given, type=type)), orders=order("name")))
    rows = boxes(response)
    if fetch:
        inner = f" value={quoteattr(given[0])}/>" if len(given) == 1 and fetch not in ("in", "not-in") else f">{''.join(f'<value>{escape(v)}</value>' for v in given)}</condition>"
        assert rows == fetched(service, prefix, f"<condition attribute='{attribute}' operator='{fetch}'{inner}")
    else:
        # This operator does not exist in FetchXML. It finds the five mailboxes with a date.
        assert rows == "12345"
    # A condition with too many or too few values is refused by name. The service never ignores it.
    if name not in ("In", "NotIn"):
        wrong = [*given, "1"] if not given or len(given) > 1 else []
        assert name.lower() in refused_by(ask(service, expression("mailbox", columns("name"), criteria(own, condition(attribute, name, *wrong, type=type or "string")))), "0x80060888").lower()


@pytest.mark.parametrize("name", REFUSED)
def test_an_operator_that_is_not_there_is_refused_by_name(service, name):
    for given in ([], ["1"]):
        assert name in refused_by(ask(service, expression("mailbox", columns("name"), criteria(condition("name", name, *given)))), "0x80060888")


@pytest.mark.parametrize("name, fetch", HIERARCHY)
def test_operators_of_a_hierarchy(service, name, fetch):
    unit = service.get("WhoAmI").json()["BusinessUnitId"]
    answer = service.get("businessunits?fetchXml=" + quote(
        f"<fetch><entity name='businessunit'><attribute name='name'/><filter><condition attribute='businessunitid' operator='{fetch}' value='{unit}'/></filter></entity></fetch>"))
    response = ask(service, expression("businessunit", columns("name"), criteria(condition("businessunitid", name, unit))))
    if answer.status_code == 200:
        assert len(found(response)) == len(answer.json()["value"])
    else:
        assert fault(response)[1] == answer.json()["error"]["code"]


def joined(kind, **more):
    return link("emailserverprofile", "emailserverprofile", "emailserverprofileid", "e", kind, **more)


def test_each_join(service, prefix):
    """Each value of the enumeration JoinOperator, in a link of the query and in a link of a filter (AnyAllFilterLinkEntity)."""
    own = condition("name", "Like", f"{prefix} _")
    name, other = criteria(condition("name", "Equal", f"{prefix} profile")), criteria(condition("name", "Equal", "another"))

    def rows(kind, where="", set=""):
        return boxes(ask(service, expression("mailbox", columns("name"), criteria(own), joined(kind, where=where, set=set), order("name"))))

    for kind in ("Inner", "Natural", "MatchFirstRowUsingCrossApply"):
        assert (rows(kind, name, columns("name")), rows(kind, other)) == ("0123", ""), kind
    assert rows("LeftOuter", other, columns("name")) == "012345"
    for kind in ("In", "Exists", "Any"):
        assert (rows(kind, name), rows(kind, other)) == ("0123", ""), kind
    assert (rows("NotAny", name), rows("NotAny", other)) == ("45", "012345")
    # As documented for Dataverse, All finds records with linked records of which none matches, and NotAll does the same as Any.
    assert (rows("All", name), rows("All", other)) == ("", "0123")
    assert (rows("NotAll", name), rows("NotAll", other)) == ("0123", "")
    for kind, expected in (("Any", "0123"), ("NotAny", "45"), ("All", ""), ("NotAll", "0123")):
        either = f"<x:FilterExpression>{criteria(kind='Or')}<x:AnyAllFilterLinkEntity>{inner(joined(kind, where=name))}</x:AnyAllFilterLinkEntity></x:FilterExpression>"
        assert boxes(ask(service, expression("mailbox", columns("name"), criteria(own, filters=either), orders=order("name")))) == expected, kind


def inner(element):
    return element.removeprefix("<x:LinkEntity>").removesuffix("</x:LinkEntity>")


def test_the_first_of_several_linked_records(service, prefix):
    """An inner join returns a row for each linked record. MatchFirstRowUsingCrossApply returns one row."""
    profile = f"{prefix} profile"
    where = criteria(condition("name", "Equal", profile))
    for kind, expected in (("Inner", 4), ("MatchFirstRowUsingCrossApply", 1)):
        back = (f"<x:LinkEntity><x:Columns>{columns('name')}</x:Columns><x:EntityAlias>m</x:EntityAlias><x:JoinOperator>{kind}</x:JoinOperator>"
                "<x:LinkFromAttributeName>emailserverprofileid</x:LinkFromAttributeName><x:LinkToAttributeName>emailserverprofile</x:LinkToAttributeName>"
                "<x:LinkToEntityName>mailbox</x:LinkToEntityName></x:LinkEntity>")
        assert len(found(ask(service, expression("emailserverprofile", columns("name"), where, back)))) == expected


def test_a_join_that_is_none_is_refused_for_that_reason(service):
    """An unknown join is refused by its name, whatever else is in the link, and also inside of a filter or of another link."""
    plain = joined("Sideways")
    for links in (
        plain, joined("Sideways", set=columns("name")), joined("Sideways", set=columns(everything=True)), joined("", set=columns("name")),
        plain.replace("<x:Orders/>", f"<x:Orders>{order('name')}</x:Orders>"), plain.replace("LinkToEntityName>emailserverprofile", "LinkToEntityName>nope"),
        joined("Inner", links=plain), joined("Exists", links=plain),
    ):
        assert "JoinOperator" in refused_by(ask(service, expression("mailbox", columns("name"), links=links)), "0x80040219"), links
    filters = f"<x:FilterExpression>{criteria()}<x:AnyAllFilterLinkEntity>{inner(plain)}</x:AnyAllFilterLinkEntity></x:FilterExpression>"
    assert "Sideways" in refused_by(ask(service, expression("mailbox", columns("name"), criteria(filters=filters))), "0x80040219")
    # Below a link with Exists, an outer join is refused: Exists requires that the linked records exist.
    assert fault(ask(service, expression("mailbox", columns("name"), links=joined("Exists", links=joined("LeftOuter")))))[1] == "0x80060888"


def test_filters_links_and_orders_that_are_none(service):
    for query, word in (
        (expression("mailbox", columns("name"), criteria(condition("name", "NotNull"), kind="Xor")), "FilterOperator"),
        (expression("mailbox", columns("name"), orders=order("name", "Sideways")), "OrderType"),
        (expression("mailbox", columns("name"), links=joined("Inner").replace("LinkFromEntityName>mailbox", "LinkFromEntityName>queue")), "LinkFromEntityName"),
        (expression("mailbox", columns("name"), links=joined("Inner") * 2), "'e'"),
        (expression("mailbox", columns("name"), criteria(condition("name", "Equal", "x", entity="z"))), "'z'"),
        (expression("mailbox", columns("name"), criteria(condition("name", "Equal", "createdon", "x", compares=True))), "CompareColumns"),
        (expression("mailbox", columns("name")).replace("<x:Distinct>", "<x:Novelty>1</x:Novelty><x:Distinct>"), "Novelty"),
    ):
        response = ask(service, query)
        assert word in fault(response)[2], word
