"""Uses each encrypted attribute in every kind of SOAP request. It can be written, but not read, compared, sorted or grouped by."""

import re
import uuid
from xml.sax.saxutils import escape

import pytest
from lxml import etree
from soap import NAMESPACES, call, columns, entity, execute, operation, parameter, reference, refused_by, values
from test_soap_queries import ENCRYPTED, ask, condition, criteria, expression, fetch, found, link, order

SETS = {"emailserverprofile": "emailserverprofiles", "mailbox": "mailboxes", "queue": "queues", "usersettings": "usersettingscollection"}
FLAGS = {("emailserverprofile", "incomingpassword"): "isincomingpasswordset", ("emailserverprofile", "outgoingpassword"): "isoutgoingpasswordset",
         ("mailbox", "password"): "ispasswordset", ("queue", "emailpassword"): "isemailpasswordset", ("usersettings", "emailpassword"): "isemailpasswordset"}


def execute_one(service, name, content):
    return call(service, operation("Execute", f"<request><x:Parameters>{content}</x:Parameters><x:RequestName>{name}</x:RequestName></request>"))


def key(name, text):
    return f'<k:KeyValuePairOfstringanyType><p:key>{name}</p:key><p:value i:type="xs:string">{text}</p:value></k:KeyValuePairOfstringanyType>'


@pytest.mark.parametrize("name, attribute", ENCRYPTED)
def test_it_is_written_by_each_request_and_read_by_none(service, name, attribute):
    canary = f"canary-{uuid.uuid4().hex}"

    def record(id, text, **fields):
        inner = "".join(parameter(field, "string", value) for field, value in fields.items())
        return entity(name, inner + parameter(attribute, "string", text), id=id)

    def is_set():
        key = "systemuserid" if name == "usersettings" else f"{name}id"
        return service.sql(f"SELECT {flag} FROM org_contoso.{name} WHERE {key} = %s", [id])[0][0]

    flag = FLAGS[name, attribute]
    if name == "usersettings":
        # Settings of a user are created with the user, and have the user's id.
        id = service.create("systemusers", {"fullname": "encrypted", "domainname": f"{uuid.uuid4().hex}@soap.test"})
        refused = call(service, operation("Create", f"<entity>{record(str(uuid.uuid4()), canary)}</entity>"))
        assert refused.tag.endswith("}Fault")
    else:
        id = call(service, operation("Create", f"<entity>{record(str(uuid.uuid4()), f'{canary}1', name='encrypted')}</entity>"))[0].text
        assert is_set() is True
    assert call(service, operation("Update", f"<entity>{entity(name, parameter(attribute, None, None), id=id)}</entity>")).tag.endswith("UpdateResponse")
    assert is_set() is False
    targets = f"<x:Entities><x:Entity>{record(id, f'{canary}4')}</x:Entity></x:Entities>"
    writes = [
        ("Update", parameter("Target", "x:Entity", record(id, f"{canary}2"))), ("UpdateMultiple", parameter("Targets", "x:EntityCollection", targets)),
        ("ExecuteTransaction", parameter("Requests", "m:OrganizationRequestCollection", f'<m:OrganizationRequest><x:Parameters>{parameter("Target", "x:Entity", record(id, f"{canary}5"))}</x:Parameters><x:RequestName>Update</x:RequestName></m:OrganizationRequest>')),
    ]
    if name != "usersettings":
        writes += [("Upsert", parameter("Target", "x:Entity", record(id, f"{canary}3"))), ("UpsertMultiple", parameter("Targets", "x:EntityCollection", targets))]
    for request, content in writes:
        service.request("PATCH", f"{SETS[name]}({id})", {attribute: None})
        assert execute_one(service, request, content).tag.endswith("ExecuteResponse"), request
        assert is_set() is True, request
    # Reads the record in every way: all columns, the column itself, each kind of query, and a column of a linked record.
    every, one = columns(everything=True), columns(attribute)
    itself = condition(f"{name if name != 'usersettings' else 'systemuser'}id", "Equal", id, type="string")
    reads = [
        call(service, operation("Retrieve", f"<entityName>{name}</entityName><id>{id}</id><columnSet>{set}</columnSet>")) for set in (every, one)
    ] + [
        ask(service, expression(name, set, criteria(itself), distinct=distinct)) for set in (every, one) for distinct in (False, True) if not distinct or set == one
    ] + [
        fetch(service, f"<fetch><entity name='{name}'><all-attributes/></entity></fetch>"), fetch(service, f"<fetch><entity name='{name}'><attribute name='{attribute}' alias='a'/></entity></fetch>"),
        execute_one(service, "Retrieve", parameter("Target", "x:EntityReference", reference(name, id)) + parameter("ColumnSet", "x:ColumnSet", every)),
    ]
    for read in reads:
        text = etree.tostring(read).decode()
        assert canary not in text and not re.search(rf">{attribute}<", text), text[:1500]
    assert canary.encode() not in service.log()
    # The last value that was written is in a cell of the database.
    assert any(value.startswith(canary) for _, value in service.opened_cells().values() if isinstance(value, str))


@pytest.mark.parametrize("name, attribute", ENCRYPTED)
def test_nothing_compares_sorts_or_groups_by_it(service, name, attribute):
    id = "systemuserid" if name == "usersettings" else f"{name}id"
    by_attribute = (f'<query i:type="x:QueryByAttribute"><x:Attributes><a:string>{attribute}</a:string></x:Attributes><x:ColumnSet>{columns()}</x:ColumnSet>'
                    f'<x:EntityName>{name}</x:EntityName>{{}}<x:Values>{{}}</x:Values></query>')
    aggregate = ("<x:AllColumns>false</x:AllColumns><x:AttributeExpressions><x:XrmAttributeExpression><x:AggregateType>{}</x:AggregateType><x:Alias>a</x:Alias>"
                 f"<x:AttributeName>{attribute}</x:AttributeName><x:DateTimeGrouping>None</x:DateTimeGrouping><x:HasGroupBy>{{}}</x:HasGroupBy></x:XrmAttributeExpression></x:AttributeExpressions><x:Columns/>")
    below = link(name, "ownerid", id, "l", where=criteria(condition(attribute, "NotNull")))
    queries = [expression(name, columns(), criteria(condition(attribute, operator, *given))) for operator, given in (
        ("Equal", ["c"]), ("NotEqual", ["c"]), ("Like", ["c%"]), ("In", ["c", "d"]), ("Between", ["a", "z"]), ("Null", []), ("NotNull", []), ("BeginsWith", ["c"]), ("GreaterThan", ["c"]))]
    queries += [
        # The attribute is compared with another attribute, or is in a nested filter. It is also in a link (criteria, orders, join columns), and in a
        # link of a filter.
        expression(name, columns(), criteria(condition("createdon", "Equal", attribute, compares=True))),
        expression(name, columns(), criteria(filters=f"<x:FilterExpression>{criteria(condition(attribute, 'Null'), kind='Or')}</x:FilterExpression>")),
        expression("mailbox", columns(), links=below), expression("mailbox", columns(), links=below.replace("Inner", "NotAny")),
        expression("mailbox", columns(), links=below.replace("Inner", "Exists")),
        expression("mailbox", columns(), links=link(name, "ownerid", id, "l").replace("<x:Orders/>", f"<x:Orders>{order(attribute)}</x:Orders>")),
        expression("mailbox", columns(), links=link(name, "name", attribute, "l")), expression(name, columns(), links=link("mailbox", attribute, "name", "l").replace(">mailbox</x:LinkFrom", f">{name}</x:LinkFrom")),
        expression("mailbox", columns(), criteria(condition(attribute, "Null", entity="l")), links=link(name, "ownerid", id, "l")),
        expression(name, columns(), orders=order(attribute)), expression(name, columns(), orders=order(attribute, "Descending")),
        *(expression(name, aggregate.format(kind, "false")) for kind in ("Count", "CountColumn", "Sum", "Avg", "Min", "Max")), expression(name, aggregate.format("None", "true")),
        by_attribute.format("", '<a:anyType i:type="xs:string">canary</a:anyType>'), by_attribute.format("", '<a:anyType i:nil="true"/>'),
        f'<query i:type="x:QueryByAttribute"><x:ColumnSet>{columns()}</x:ColumnSet><x:EntityName>{name}</x:EntityName><x:Orders>{order(attribute)}</x:Orders></query>',
    ]
    for query in queries:
        response = ask(service, query)
        assert response.tag.endswith("}Fault"), (query, etree.tostring(response).decode()[:800])
        text = "".join(response.itertext())
        assert attribute in text and "canary" not in text, (query, text)
    for text in (
        f"<fetch><entity name='{name}'><order attribute='{attribute}'/></entity></fetch>",
        f"<fetch aggregate='true'><entity name='{name}'><attribute name='{attribute}' groupby='true' alias='a'/></entity></fetch>",
        f"<fetch aggregate='true'><entity name='{name}'><attribute name='{attribute}' aggregate='max' alias='a'/></entity></fetch>",
        f"<fetch><entity name='mailbox'><link-entity name='{name}' from='{attribute}' to='name'/></entity></fetch>",
        f"<fetch><entity name='{name}'><filter><condition attribute='createdon' operator='eq' valueof='{attribute}'/></filter></entity></fetch>",
    ):
        assert attribute in refused_by(fetch(service, text), "0x80060888")


@pytest.mark.parametrize("name, attribute", ENCRYPTED)
def test_it_is_no_key(service, name, attribute):
    canary = f"canary-{uuid.uuid4().hex}"
    by_key = key(attribute, canary)
    target = parameter("Target", "x:EntityReference", reference(name, keys=by_key))
    record = parameter("Target", "x:Entity", entity(name, parameter("transactioncurrencyid", None, None), keys=by_key))
    for request, content in (
        ("Retrieve", target + parameter("ColumnSet", "x:ColumnSet", columns(everything=True))), ("Update", record), ("Upsert", record), ("Create", record), ("Delete", target),
        ("Assign", target + parameter("Assignee", "x:EntityReference", reference("systemuser", str(uuid.uuid4())))),
        ("Update", parameter("Target", "x:Entity", entity("mailbox", parameter("emailserverprofile", "x:EntityReference", reference(name, keys=by_key)), id=str(uuid.uuid4())))),
    ):
        response = execute_one(service, request, content)
        assert response.tag.endswith("}Fault") and canary not in "".join(response.itertext()), (request, etree.tostring(response).decode()[:800])
    assert canary.encode() not in service.log()


def test_a_paging_cookie_tells_and_takes_nothing_of_it(service):
    """A paging cookie contains the values of the sort keys, which can't be encrypted attributes. A forged cookie is refused, in the terms of SOAP."""
    name = f"cookie{uuid.uuid4().hex[:8]}"
    for number in range(4):
        service.create("mailboxes", {"name": f"{name} {number}", "password": f"canary{name}{number}"})
    where = criteria(condition("name", "BeginsWith", name))

    def page(number, cookie="", orders=order("name")):
        info = f"<x:Count>2</x:Count><x:PageNumber>{number}</x:PageNumber><x:PagingCookie>{escape(cookie)}</x:PagingCookie>"
        return ask(service, expression("mailbox", columns("name", "password"), where, orders=orders, page=info))

    first = page(1)
    cookie = first[0].findtext("x:PagingCookie", namespaces=NAMESPACES)
    assert cookie and "canary" not in etree.tostring(first).decode()
    assert [values(each)["name"][1][-1] for each in found(page(2, cookie))] == ["2", "3"]
    for forged in ("<cookie/>", "x", "<cookie page='1' token='!!'/>", "<cookie page='1' token='e30'/>", "<!DOCTYPE x []><cookie/>", cookie[:-5], "<cookie page='1'><a/></cookie>"):
        message = refused_by(page(2, forged), "0x80060888")
        assert "cookie" in message and not re.search(r"nextLink|skiptoken|FetchXML", message), message
    # A cookie does not fit a query with another order.
    message = refused_by(page(2, cookie, order("createdon") + order("name")), "0x80060888")
    assert "cookie" in message and "odata" not in message
    refused_by(page(2, cookie, order("password")), "0x80060888")
    assert execute(service, "WhoAmI")
