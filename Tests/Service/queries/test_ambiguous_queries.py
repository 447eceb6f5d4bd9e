"""Queries with two possible meanings, or with a condition that no record can satisfy, are refused in each language. So are queries of metadata."""

import base64
import json
import threading
import time
import urllib.parse
import uuid
import xml.sax.saxutils

import pytest
from service import PATIENCE, refused
from test_batches import batch

MISFIT, BAD = "0x80060888", "0x8005F100"
CRM = "Microsoft.Dynamics.CRM."


def encoded(**options):
    return "&".join(f"{name}={urllib.parse.quote(text)}" for name, text in options.items())


def fetch(columns="<attribute name='name'/>", inner="", more=""):
    return "queues?" + encoded(fetchXml=f"<fetch {more}><entity name='queue'>{columns}{inner}</entity></fetch>")


def condition(operator, values=""):
    return fetch(inner=f"<filter><condition attribute='name' operator='{operator}'>{values}</condition></filter>")


@pytest.mark.parametrize("path", [
    f"queues?$filter={CRM}In(PropertyName='name',PropertyValues=[])", f"queues?$filter={CRM}NotIn(PropertyName='name',PropertyValues=[])",
    condition("in"), condition("not-in"),
    f"queues?$filter={CRM}Today(PropertyName='createdon',PropertyName='modifiedon')", f"queues?$filter={CRM}In(PropertyName='name',PropertyValues=['a'],PropertyValues=['b'])",
    "businessunits?$filter=business_unit_mailbox/any(m:name eq 'contoso')", "businessunits?$filter=business_unit_mailbox/any(m:m/name eq name)",
    f"businessunits?$filter=business_unit_mailbox/any(m:{CRM}Today(PropertyName='createdon'))",
    "queues?$filter=name eq @p&@p=@q&@q='x'", f"queues?$filter={CRM}In(PropertyName='name',PropertyValues=@p)&@p=[@q]&@q='x'",
    "mailboxes?$expand=emailserverprofile($top=0)", "mailboxes?$expand=emailserverprofile($orderby=name)",
    "queues?$apply=aggregate($count as 1n)", "queues?$apply=aggregate($count as @odata.etag)", "queues?$apply=aggregate(queuetypecode with max as a-b)",
    "queues?" + encoded(sql="SELECT name FROM queue q JOIN mailbox m ON q.defaultmailbox = m.mailboxid"),
    "queues?" + encoded(sql="SELECT q.name FROM queue q JOIN mailbox m ON q.defaultmailbox = m.mailboxid WHERE name = 'a'"),
    "queues?" + encoded(sql="SELECT q.name FROM queue q JOIN mailbox m ON q.defaultmailbox = m.mailboxid ORDER BY ewsurl"),
    "queues?" + encoded(sql="SELECT TOP 2 name FROM queue ORDER BY name OFFSET 1 ROWS FETCH NEXT 5 ROWS ONLY"),
    "queues?" + encoded(sql="SELECT TOP 2 PERCENT name FROM queue"), "queues?" + encoded(sql="SELECT name AS [@odata.etag] FROM queue"),
    "queues?" + encoded(sql="SELECT name [a b] FROM queue"), "queues?" + encoded(sql="SELECT name AS a, description AS A FROM queue"),
    fetch("<attribute name='name' alias='queueid'/>"), fetch("<attribute name='name' groupby='true' aggregate='count' alias='x'/>", more="aggregate='true'"),
    fetch(inner="<link-entity name='systemuser' from='systemuserid' to='ownerid'><attribute name='fullname' alias='queueid'/></link-entity>"),
])
def test_what_may_mean_two_things_is_refused(service, path):
    refused(service.get(path), 400, MISFIT)


def test_what_means_one_thing_is_answered(service):
    for path in (
            f"queues?$filter={CRM}NotIn(PropertyName='name',PropertyValues=['nosuch'])", "businessunits?$filter=business_unit_mailbox/any(m:m/name ne null)",
            "businessunits?$filter=name ne 'x'",
            "queues?$apply=aggregate($count as gesamtgröße)", "queues?" + encoded(sql="SELECT q.name AS queueid FROM queue q JOIN mailbox m ON q.defaultmailbox = m.mailboxid ORDER BY queueid"),
            "queues?" + encoded(sql="SELECT queuetypecode, q.name FROM queue q LEFT JOIN systemuser s ON q.ownerid = s.systemuserid WHERE numberofitems IS NULL"),
            fetch("<attribute name='queueid' alias='id'/>")):
        response = service.get(path)
        assert response.status_code == 200, (path, response.text)


# Metadata


def changes(service, criteria, **more):
    query = {"Criteria": criteria, "Properties": {"PropertyNames": ["LogicalName"]}, **more}
    return service.get("RetrieveMetadataChanges(Query=@p)?" + encoded(**{"@p": json.dumps(query)}))


def holds(name, operator, value):
    return {"Conditions": [{"PropertyName": name, "ConditionOperator": operator, "Value": value}]}


def of_type(type, value):
    return {"Type": type, "Value": value}


def test_values_of_conditions_are_read_by_their_type(service):
    def found(*arguments):
        response = changes(service, *arguments)
        assert response.status_code == 200, response.text
        return {e["LogicalName"] for e in response.json()["EntityMetadata"]}

    queue = {"queue"}
    assert found(holds("ObjectTypeCode", "Equals", of_type("System.Int32", "2020"))) == found(holds("ObjectTypeCode", "Equals", 2020)) == queue
    assert queue < found(holds("ObjectTypeCode", "LessThan", of_type("System.Int32", "2021"))) != found(holds("ObjectTypeCode", "GreaterThan", of_type("System.Int32", 2021)))
    assert found(holds("IsActivity", "Equals", of_type("System.Boolean", "True"))) == found(holds("IsActivity", "Equals", True)) >= {"email"}
    assert found(holds("LogicalName", "In", of_type("System.String[]", "['queue','nosuch']"))) == queue
    either = holds("LogicalName", "Equals", of_type("System.String", "queue"))["Conditions"] + holds("LogicalName", "Equals", "email")["Conditions"]
    for word in ("Or", "OR", "Microsoft.Dynamics.CRM.LogicalOperator'Or'"):
        assert found({"FilterOperator": word, "Conditions": either}) == {"queue", "email"}
    assert found({"FilterOperator": "And", "Conditions": either}) == found({"Conditions": either}) == set()


@pytest.mark.parametrize("criteria", [
    holds("ObjectTypeCode", "Equals", of_type("System.Int32", "x")), holds("ObjectTypeCode", "Equals", "2020"), holds("LogicalName", "Equals", of_type("System.Int32", "5")),
    holds("IsActivity", "Equals", of_type("System.Boolean", "nope")), holds("LogicalName", "GreaterThan", "t"), holds("ObjectTypeCode", "LessThan", "x"), holds("LogicalName", "NotIn", []),
    holds("LogicalName", "In", "queue"), holds("LogicalName", "Nope", "queue"), holds("LogicalName", "Equals", {"Value": "queue", "Nope": 1}), {"FilterOperator": "Xor"}, {"FilterOperator": 1},
    {"Conditions": 1}, {"Filters": {}}, "x", {"Foo": 1}, {"Filters": [{"Foo": 1}]}, {"Conditions": [{"PropertyName": "LogicalName", "ConditionOperator": "Equals"}]},
    {"Conditions": [{**holds("LogicalName", "Equals", "queue")["Conditions"][0], "Foo": 1}]}, holds("LogicalName", "Equals", {"Type": "System.String"}),
    holds("MetadataId", "Equals", of_type("System.Guid", "x")), holds("DisplayName", "Equals", of_type("System.String", "Queue")), holds("DisplayName", "In", ["Queue"]),
])
def test_conditions_that_cannot_hold_are_refused(service, criteria):
    refused(changes(service, criteria), 400, BAD)


def test_members_that_metadata_has_not_are_refused(service):
    refused(changes(service, holds("OwnershipType", "Equals", "Nope")), 400, MISFIT)
    refused(changes(service, {}, LabelQuery={"FilterLanguages": [1033], "Foo": 1}), 400, BAD)
    for more in ({"KeyQuery": {"Foo": 1}}, {"AttributeQuery": 1}, {"RelationshipQuery": {"Criteria": {"Foo": 1}}}, {"Properties": {"PropertyNames": [], "Foo": 1}}):
        refused(changes(service, {}, **more), 400, BAD)
    root = f"{service.base}/api/discovery/v2.0/Instances"
    for query in ("$filter=Nope eq 1", "$select=ApiUrl,Nope", "$filter=UniqueName eq 1", "$expand=x", "$filter=State eq 0&$filter=State eq 1"):
        refused(service.get(f"{root}?{query}"), 400, MISFIT)
    assert service.get(f"{root}?$filter=UniqueName eq 'contoso'&$select=ApiUrl").json()["value"][0]["ApiUrl"]


def test_options_that_stand_twice_are_refused(service):
    for path in (
            "EntityDefinitions?$filter=LogicalName eq 'queue'&$filter=LogicalName eq 'email'", "EntityDefinitions(LogicalName='queue')?$select=LogicalName&$select=SchemaName",
            "RetrieveTotalRecordCount(EntityNames=@p)?@p=[\"queue\"]&@p=[\"mailbox\"]", "RetrieveMetadataChanges(Query=@p)?@p={}&@p={}"):
        refused(service.get(path), 400, MISFIT)
    found = service.get("EntityDefinitions?$filter=LogicalName eq @p&@p='queue'&$select=LogicalName").json()["value"]
    assert [e["LogicalName"] for e in found] == ["queue"]


def test_metadata_holds_no_other_request_up(service):
    text = " or ".join(["LogicalName eq 'a'"] * 300)
    heavy = [f"EntityDefinitions?$select=LogicalName&$expand=Attributes($filter={text})", "EntityDefinitions?$expand=Attributes", "RetrieveMetadataChanges(Query=@p)?@p={}"]
    requests = [{"id": str(n), "method": "GET", "url": heavy[n % 3]} for n in range(9)]
    statuses = []
    thread = threading.Thread(target=lambda: statuses.extend(a["status"] for a in batch(service, requests, client="user", Accept="application/json").json()["responses"]))
    service.token("user")
    thread.start()
    answered, deadline = 0, time.monotonic() + PATIENCE
    while thread.is_alive():
        assert service.get("WhoAmI").status_code == 200 and time.monotonic() < deadline
        answered += 1
    thread.join()
    assert statuses == [200] * 9
    # Each part of the batch takes long. The requests were served in the meantime, so the batch does not block other requests.
    assert answered > len(requests)


# Annotations


def test_a_lookup_names_the_entity_that_it_refers_to(service):
    name = f"annotated {time.time_ns()}"
    team = service.create("teams", {"name": name})
    queue = service.create("queues", {"name": name, "emailaddress": f"{time.time_ns()}@contoso.test"})
    box = service.get(f"queues({queue})").json()["_defaultmailbox_value"]
    assert service.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/teams({team})"}).status_code == 204
    lookup, formatted, entity = "_ownerid_value", "OData.Community.Display.V1.FormattedValue", "Microsoft.Dynamics.CRM.lookuplogicalname"

    def first(path):
        response = service.get(path, Prefer='odata.include-annotations="*"')
        assert response.status_code == 200, response.text
        return response.json()["value"][0]

    def owner(record, column=lookup):
        return record[column], record.get(f"{column}@{entity}"), record.get(f"{column}@{formatted}")

    by_id = f"<filter><condition attribute='queueid' operator='eq' value='{queue}'/></filter>"
    assert owner(first(f"queues?$filter=queueid eq {queue}&$select={lookup}")) == (team, "team", name)
    found = first(f"mailboxes?$filter=mailboxid eq {box}&$select=name&$expand=mailbox_queue_defaultmailbox($select={lookup})")
    assert owner(found["mailbox_queue_defaultmailbox"][0]) == (team, "team", name)
    found = first(f"queues?$filter=queueid eq {queue}&$select=name&$expand=defaultmailbox($select=name;$expand=mailbox_queue_defaultmailbox)")
    assert owner(found["defaultmailbox"]["mailbox_queue_defaultmailbox"][0])[:2] == (team, "team")
    assert owner(first(fetch("<attribute name='ownerid' alias='o'/>", by_id)), "o") == (team, "team", name)
    linked = f"<attribute name='name'/><link-entity name='queue' from='defaultmailbox' to='mailboxid' alias='q'><attribute name='ownerid'/>{by_id}</link-entity>"
    assert owner(first("mailboxes?" + encoded(fetchXml=f"<fetch><entity name='mailbox'>{linked}</entity></fetch>")), "q.ownerid") == (team, "team", name)
    # Rows that are not records (distinct rows and groups) have these annotations too.
    assert owner(first(fetch("<attribute name='ownerid'/>", by_id, "distinct='true'"))) == (team, "team", name)
    assert owner(first(fetch("<attribute name='ownerid' groupby='true' alias='o'/>", by_id, "aggregate='true'")), "o") == (team, "team", name)
    assert owner(first("queues?" + encoded(**{"$apply": f"filter(queueid eq {queue})/groupby(({lookup}),aggregate($count as n))"}))) == (team, "team", name)
    sql = f"SELECT q.ownerid AS o FROM queue q JOIN mailbox m ON q.defaultmailbox = m.mailboxid WHERE q.queueid = '{queue}'"
    for text in (sql, sql.replace("SELECT", "SELECT DISTINCT")):
        assert owner(first("queues?" + encoded(sql=text)), "o") == (team, "team", name)
    names = service.get(fetch("<attribute name='ownerid'/>", by_id, "distinct='true'")).json()["value"]
    assert names == [{lookup: team}], names
    assert service.request("DELETE", f"queues({queue})").status_code == 204
    assert service.request("DELETE", f"teams({team})").status_code == 204


def test_parties_of_an_email_are_not_accounts(service):
    me = service.get("WhoAmI").json()["UserId"]
    party = {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({me})"}
    email = service.create("emails", {"subject": "parties", "email_activity_parties": [party]})
    for path in (f"emails({email})?$select=_emailsender_value&$expand=email_activity_parties($select=_partyid_value)", f"activityparties?$filter=_activityid_value eq {email}&$select=_partyid_value"):
        text = service.get(path, Prefer='odata.include-annotations="*"').text
        assert "account" not in text and '"systemuser"' in text, text


def test_large_bodies_hold_no_other_request_up(service):
    text = " or ".join(["fullname eq 'a'"] * 3_000)
    requests = [{"id": str(n), "method": "GET", "url": f"systemusers?$filter={text}"} for n in range(40)]
    statuses = []
    thread = threading.Thread(target=lambda: statuses.extend(a["status"] for a in batch(service, requests, client="user", Prefer="odata.continue-on-error").json()["responses"]))
    service.token("user")
    thread.start()
    answered, deadline = 0, time.monotonic() + PATIENCE
    while thread.is_alive():
        assert service.get("WhoAmI").status_code == 200 and time.monotonic() < deadline
        answered += 1
    thread.join()
    assert statuses == [400] * 40 and answered > 10


# Pages


def next_page(service, path):
    """Requests the first page, with one record. Returns the address of the next page and its paging token."""
    link = service.get(path, Prefer="odata.maxpagesize=1").json()["@odata.nextLink"]
    return link, urllib.parse.parse_qs(urllib.parse.urlparse(link).query)["$skiptoken"][0]


def test_a_page_of_another_query_is_refused(service):
    name = f"page {uuid.uuid4().hex[:8]}"
    for n in range(3):
        service.create("queues", {"name": f"{name} {n}"})
        service.create("mailboxes", {"name": f"{name} {n}"})
    where = f"$filter=startswith(name,'{name}')"
    query = f"queues?$select=name&{where}&$orderby=name"
    link, token = next_page(service, query)
    assert [q["name"] for q in service.get(link).json()["value"]] == [f"{name} 1", f"{name} 2"]
    # A paging token is valid for a query with other columns, because columns do not change which records a page has.
    assert len(service.get(f"queues?$select=name,queueid&{where}&$orderby=name&$skiptoken={token}").json()["value"]) == 2
    statement = "queues?" + encoded(sql=f"SELECT name FROM queue WHERE name LIKE '{name}%' ORDER BY name")
    of_sql, _ = next_page(service, statement)
    assert len(service.get(of_sql).json()["value"]) == 2
    for path in (f"mailboxes?$select=name&{where}&$orderby=name", f"queues?$select=name&{where}&$orderby=name desc", "queues?$select=name&$filter=startswith(name,'page')&$orderby=name",
                 f"queues?$select=name&{where}", statement):
        assert "another query" in refused(service.get(f"{path}&$skiptoken={token}"), 400, MISFIT)
    # A paging token of an earlier version does not name its query. It is accepted.
    mark, *rest = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
    earlier = base64.urlsafe_b64encode(json.dumps(rest).encode()).decode().rstrip("=")
    assert isinstance(mark, str) and len(service.get(f"{query}&$skiptoken={earlier}").json()["value"]) == 2


def page_of(service, text):
    """The names on a page of a FetchXML query, and the paging cookie for the next page, or None."""
    answer = service.get("queues?" + encoded(fetchXml=text), Prefer='odata.include-annotations="*"')
    assert answer.status_code == 200, answer.text
    said = answer.json().get("@Microsoft.Dynamics.CRM.fetchxmlpagingcookie")
    cookie = said and urllib.parse.unquote(urllib.parse.unquote(said.split('pagingcookie="')[1].split('"')[0]))
    return [row["name"] for row in answer.json()["value"]], cookie


def test_a_paging_cookie_is_of_one_query_and_one_page(service):
    name = f"cookie {uuid.uuid4().hex[:8]}"
    for n in range(5):
        service.create("queues", {"name": f"{name} {n}"})

    def text(paging, order="attribute='name'", entity="queue", like=f"{name}%", more=""):
        return (f"<fetch {paging} {more}><entity name='{entity}'><attribute name='name'/><filter><condition attribute='name' operator='like' value='{like}'/></filter>"
                f"<order {order}/></entity></fetch>")

    def with_cookie(cookie, page):
        return f"count='2' {page} paging-cookie={xml.sax.saxutils.quoteattr(cookie)}"

    found, cookie = page_of(service, text("count='2'"))
    assert found == [f"{name} 0", f"{name} 1"] and cookie.startswith('<cookie page="1" ')
    second, third = page_of(service, text(with_cookie(cookie, "page='2'")))
    assert second == [f"{name} 2", f"{name} 3"] and third.startswith('<cookie page="2" ')
    assert page_of(service, text(with_cookie(third, "page='3'"))) == ([f"{name} 4"], None)
    # The cookie is accepted if attributes have another order and if there is white space between elements.
    spaced = text(with_cookie(cookie, "page='2'")).replace("attribute='name' operator='like'", "operator='like' attribute='name'").replace("><", ">\n  <")
    assert page_of(service, spaced)[0] == second
    for other in ({"order": "attribute='description'"}, {"order": "attribute='name' descending='true'"}, {"like": "%"}, {"entity": "mailbox"}, {"more": "distinct='true'"}):
        path = f"{'mailboxes' if 'entity' in other else 'queues'}?" + encoded(fetchXml=text(with_cookie(cookie, "page='2'"), **other))
        assert "another query" in refused(service.get(path), 400, MISFIT), other
    for page in ("page='5'", "page='1'", ""):
        assert "is of page 1" in refused(service.get("queues?" + encoded(fetchXml=text(with_cookie(cookie, page)))), 400, MISFIT)
    # Without a cookie, the service counts pages, with the page size that the client prefers.
    answer = service.get("queues?" + encoded(fetchXml=text("page='2'")), Prefer="odata.maxpagesize=2")
    assert [row["name"] for row in answer.json()["value"]] == second
