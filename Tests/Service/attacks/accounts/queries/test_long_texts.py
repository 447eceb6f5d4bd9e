"""The cost of one row: queries that compare a text of many megabytes. PostgreSQL can't interrupt one comparison."""

import base64
import concurrent.futures
import os
import re
import signal
import time
import urllib.parse

import psycopg
import pytest
from place import Place
from service import PATIENCE, Deployment, refused
from test_query_limits import open_request
from waiting import until

LENGTH = 12_000_000
#: How many comparisons of long texts one query may have.
USES = 10
LIMIT = 5


@pytest.fixture(scope="module")
def hurried():
    """A deployment that limits statements to five seconds. The Basic User owns an e-mail with a text of 12 MB."""
    with Deployment.made(FIELDSEAL_LIMITS_STATEMENT_SECONDS=str(LIMIT)) as deployment:
        deployment.long = deployment.create("emails", {"subject": "long", "description": "a" * LENGTH}, client="user")
        yield deployment


def contains(count, name="description"):
    return [f"contains({name},'q{n}')" for n in range(count)]


def odata(**options):
    return "emails?" + "&".join(f"${name}={urllib.parse.quote(value)}" for name, value in options.items())


def fetch(inner, start="<fetch>"):
    return "emails?fetchXml=" + urllib.parse.quote(f'{start}<entity name="email">{inner}</entity></fetch>')


def sql(text):
    return "emails?sql=" + urllib.parse.quote(text)


def likes(count, attributes="attribute=\"description\""):
    return "".join(f'<condition {attributes} operator="like" value="%q{n}%"/>' for n in range(count))


def link(count, kind='alias="l"'):
    return f'<link-entity name="email" from="activityid" to="activityid" {kind}><filter type="or">{likes(count)}</filter></link-entity>'


#: Queries with n comparisons of long texts, in each form that a query can have.
QUERIES = {
    "conditions": lambda n: odata(select="subject", filter=" or ".join(contains(n))),
    "not": lambda n: odata(select="subject", filter=" and ".join(f"not {c}" for c in contains(n))),
    "comparisons": lambda n: odata(select="subject", filter=" or ".join(f"description eq 'q{k}'" for k in range(n))),
    "in": lambda n: odata(select="subject", filter=" or ".join(f"description in ('q{k}','r')" for k in range(n))),
    "two attributes": lambda n: odata(select="subject", filter=" or ".join(contains(n // 2) + contains(n - n // 2, "safedescription"))),
    "a lookup": lambda n: odata(select="subject", filter=" or ".join(contains(n, "parentactivityid/description"))),
    "attributes with each other": lambda n: odata(select="subject", filter=" or ".join(["description eq safedescription"] * (n // 2) + contains(n % 2))),
    "FetchXML": lambda n: fetch(f'<attribute name="subject"/><filter type="or">{likes(n)}</filter>'),
    "a link": lambda n: fetch(f'<attribute name="subject"/><filter type="or">{likes(n - n // 2)}</filter>{link(n // 2)}'),
    "a subquery": lambda n: fetch('<attribute name="subject"/><filter>' + link(n, 'link-type="any"') + "</filter>"),
    "SQL": lambda n: sql("SELECT subject FROM email WHERE " + " OR ".join(f"description LIKE '%q{k}%'" for k in range(n))),
    "aggregates": lambda n: sql("SELECT " + ",".join(f"MAX(description) AS a{k}" for k in range((n + 1) // 2)) + " FROM email"),
    "orders": lambda n: odata(select="subject", orderby=",".join(["description"] * min(n // 3, 10)), filter=" or ".join(contains(n % 3 + 1))),
}


@pytest.mark.parametrize("kind", QUERIES)
def test_a_query_uses_long_texts_a_bounded_number_of_times(hurried, kind):
    for count in (USES + 1, 40, 90):
        begin = time.monotonic()
        said = refused(hurried.get(QUERIES[kind](count), client="user"), 400, "0x80060888")
        assert "long texts" in said and time.monotonic() - begin < LIMIT, said


@pytest.mark.parametrize("kind", QUERIES)
def test_some_uses_are_answered(hurried, kind):
    """The control: queries with three comparisons succeed."""
    response = hurried.get(QUERIES[kind](3), client="user")
    assert response.status_code == 200, response.text


def test_texts_that_are_not_long_have_the_bound_of_all_conditions(hurried):
    assert hurried.get(odata(select="subject", filter=" or ".join(contains(300, "subject"))), client="user").status_code == 200


def by_soap(service, attribute, patterns):
    conditions = "".join(
        f"<a:ConditionExpression><a:AttributeName>{attribute}</a:AttributeName><a:Operator>Like</a:Operator><a:Values "
        'xmlns:b="http://schemas.microsoft.com/2003/10/Serialization/Arrays"><b:anyType i:type="x:string" '
        f'xmlns:x="http://www.w3.org/2001/XMLSchema">{pattern}</b:anyType></a:Values></a:ConditionExpression>' for pattern in patterns)
    query = (
        '<RetrieveMultiple xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><query i:type="a:QueryExpression" '
        'xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a:ColumnSet>'
        '<a:AllColumns>false</a:AllColumns></a:ColumnSet><a:Criteria><a:Conditions>'
        f"{conditions}</a:Conditions><a:FilterOperator>Or</a:FilterOperator></a:Criteria><a:EntityName>email</a:EntityName></query></RetrieveMultiple>")
    envelope = f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{query}</s:Body></s:Envelope>'
    return service.request(
        "POST", f"{service.base}/contoso/XRMServices/2011/Organization.svc/web", envelope.encode(), client="user", Content_Type="text/xml",
        SOAPAction="http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/RetrieveMultiple")


def test_a_query_of_the_sdk_uses_them_as_often(hurried):
    assert "long texts" in by_soap(hurried, "description", [f"%q{n}%" for n in range(USES + 1)]).text
    response = by_soap(hurried, "description", [f"%q{n}%" for n in range(3)])
    assert response.status_code == 200, response.text


@pytest.mark.parametrize("text", ["a" * 900 + "b", "b" + "a" * 900, "%" + "a" * 400 + "%" + "a" * 400 + "b", "_" * 400 + "b", "[ab]" * 40 + "c"])
@pytest.mark.parametrize("count", [1, 4])
def test_a_pattern_does_not_multiply_the_length_of_a_text(hurried, text, count):
    condition = " or ".join(f"contains(description,'{text}{'c' * n}')" for n in range(count))
    begin = time.monotonic()
    response = hurried.get(odata(select="subject", filter=condition), client="user")
    assert time.monotonic() - begin < LIMIT + 3
    if response.status_code == 200:
        assert response.json()["value"] == []
    else:
        refused(response, 400, "0x80044151")
    until(lambda: running(hurried) == 0, seconds=3)


#: Ten patterns that take PostgreSQL long for a text that begins with the words "12.5 million", and no time for other texts.
COSTLY = ["[^þð]" * 110 + "q" * n for n in range(1, USES + 1)]


def costly(attribute="description"):
    return " or ".join(f"contains({attribute},'12.5 million%{pattern}')" for pattern in COSTLY)


def costly_conditions(attributes=""):
    return '<filter type="or">' + "".join(
        f'<condition {attributes} attribute="description" operator="like" value="%12.5 million%{pattern}%"/>' for pattern in COSTLY) + "</filter>"


def subject(text):
    return f'<attribute name="subject"/><filter><condition attribute="subject" operator="eq" value="{text}"/>'


LINK = '<link-entity name="email" from="activityid" to="parentactivityid" alias="l">'
KEPT = {
    "a filter": odata(select="subject", filter=f"subject eq 'kept' and ({costly()})"),
    "FetchXML": fetch(f"{subject('kept')}{costly_conditions()}</filter>"),
    "a link": fetch(f"{subject('mine')}</filter>{LINK}{costly_conditions()}</link-entity>"),
    "a condition on a link": fetch(subject("mine") + costly_conditions('entityname="l"') + f"</filter>{LINK}</link-entity>"),
    "a lookup": odata(select="subject", filter=f"subject eq 'mine' and ({costly('parentactivityid/description')})"),
    "SQL": sql("SELECT subject FROM email WHERE subject = 'kept' AND ("
               + " OR ".join(f"description LIKE '%12.5 million%{pattern}%'" for pattern in COSTLY) + ")"),
    "files": "activitymimeattachments?$select=filename&$filter=" + urllib.parse.quote(
        "filename eq 'kept.txt' and (" + " or ".join(f"startswith(body,'MTIuNSBt%{pattern}')" for pattern in COSTLY) + ")"),
}


@pytest.fixture(scope="module")
def kept(hurried):
    """An e-mail and its file, which the Basic User may not read, and an e-mail of the Basic User that answers it."""
    text = "12.5 million " + "for the deal. " * 20_000
    id = hurried.create("emails", {"subject": "kept", "description": text})
    file = {"filename": "kept.txt", "body": base64.b64encode(text.encode()).decode(), "objectid_email@odata.bind": f"/emails({id})"}
    hurried.create("activitymimeattachments", file)
    mine = hurried.create("emails", {"subject": "mine"}, client="user")
    hurried.sql("UPDATE org_contoso.email SET parentactivityid = %s WHERE activityid = %s", [id, mine])
    return hurried


#: Comparisons of long texts, for which PostgreSQL reads the whole text and converts it to lower case.
COMPARED = ["description eq 'x'", "description ne 'x'", "description gt 'x'", "description in ('x','y')"]


@pytest.mark.parametrize("condition", COMPARED)
def test_no_comparison_reads_long_texts_that_the_caller_may_not_read(kept, condition):
    """The statement that PostgreSQL receives compares the text only for rows that the caller may read."""
    waiting = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service' AND query LIKE '%%description%%'"
    with psycopg.connect(kept.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder.execute("LOCK TABLE org_contoso.email IN ACCESS EXCLUSIVE MODE")
        asked = pool.submit(kept.get, odata(select="subject", filter=condition), client="user")
        until(lambda: asked.done() or kept.sql(waiting))
        [(query,)] = kept.sql(waiting) or pytest.fail(asked.result().text)
        holder.rollback()
        assert asked.result().status_code == 200
    before = re.split(r'lower\(t0\."?description', query)[0]
    assert before != query and "CASE WHEN" in before and "END" not in before, query


def later_page(service):
    for description in ("a", "b"):
        service.create("emails", {"subject": "paged", "description": description}, client="user")
    first = service.get(odata(select="subject", orderby="description", filter="subject eq 'paged'"), client="user", prefer="odata.maxpagesize=1")
    return first.json()["@odata.nextLink"].split("/v9.2/")[1]


FIRST_ONLY = fetch(
    f'{subject("mine")}</filter><link-entity name="email" from="description" to="description" link-type="matchfirstrowusingcrossapply">'
    '<filter><condition attribute="subject" operator="eq" value="kept"/></filter></link-entity>')


@pytest.mark.parametrize("path", [lambda _: FIRST_ONLY, later_page], ids=["a link of one row", "a later page"])
def test_neither_links_nor_pages_read_long_texts_that_the_caller_may_not_read(kept, path):
    """In the statement, each comparison of a text is inside a CASE whose condition is that the caller may read the row."""
    path = path(kept)
    waiting = "SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service' AND query LIKE '%%description%%'"
    with psycopg.connect(kept.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder.execute("LOCK TABLE org_contoso.email IN ACCESS EXCLUSIVE MODE")
        asked = pool.submit(kept.get, path, client="user", prefer="odata.maxpagesize=1")
        until(lambda: asked.done() or kept.sql(waiting))
        [(query,)] = kept.sql(waiting) or pytest.fail(asked.result().text)
        holder.rollback()
        assert asked.result().status_code == 200
    compared = [query[:match.start()] for match in re.finditer(r'lower\(t\d+\."?description"?\) (?:END )?[=<>]', query)]
    assert compared and all(before.count("CASE WHEN") > before.count(" END") for before in compared), query


@pytest.mark.parametrize("kind", KEPT)
def test_no_query_takes_time_for_texts_that_the_caller_may_not_read(kept, kind):
    """For an administrator, who may read the text, the query exceeds the time limit. For the Basic User it succeeds, so PostgreSQL did not compare the text."""
    refused(kept.get(KEPT[kind]), 400, "0x80044151")
    response = kept.get(KEPT[kind], client="user")
    assert response.status_code == 200 and response.json()["value"] == [], response.text


def test_what_a_pattern_finds_in_a_long_text(hurried):
    text = "Preis: 5 % (netto)\nzweite Zeile \\ [x] {y} Ärger"
    id = hurried.create("emails", {"subject": "patterns", "description": text}, client="user")
    for pattern, finds in {
        "contains(description,'5 [%]')": True, "contains(description,'5 [%]n')": False, "startswith(description,'preis')": True,
        "startswith(description,'reis')": False, "endswith(description,'ÄRGER')": True, "endswith(description,'zeile')": False,
        "contains(description,'netto)%ZWEITE')": True, "contains(description,'[[]x] {y}')": True, "contains(description,'\\ [[]x')": True,
        "contains(description,'zw_ite')": True, "contains(description,'zw_eite')": False, "contains(description,'.*')": False,
        "contains(description,'[a-f]ette')": False, "contains(description,'[m-o]etto')": True, "not contains(description,'netto')": False,
    }.items():
        path = odata(select="subject", filter=f"activityid eq {id} and {pattern}")
        assert [r["subject"] for r in hurried.get(path, client="user").json()["value"]] == ["patterns"] * finds, pattern


def test_patterns_are_bounded(hurried):
    for pattern in ("a" * 1_001, "%" * 5_000):
        assert "1000 characters" in refused(
            hurried.get(odata(select="subject", filter=f"contains(description,'{pattern}')"), client="user"), 400, "0x80060888")
    assert "64 KiB" in by_soap(hurried, "subject", ["a" * 4_000] * 20).text
    assert by_soap(hurried, "subject", ["a" * 4_000] * 10).status_code == 200


def test_a_row_has_a_bounded_number_of_long_texts(hurried):
    columns = ",".join(f"description AS a{n}" for n in range(USES + 1))
    assert "long texts" in refused(hurried.get(sql(f"SELECT {columns} FROM email"), client="user"), 400, "0x80060888")
    assert hurried.get("emails?$top=1", client="user").status_code == 200


def running(deployment):
    """The number of statements that read e-mails for requests at this moment."""
    return deployment.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'fieldseal_service' AND query LIKE 'SELECT t0%email%'")[0][0]


def test_a_client_that_hangs_up_takes_its_query_along(hurried):
    condition = " or ".join(f"contains(description,'{'_' * 50}q{n}')" for n in range(USES))
    for _ in range(3):
        connection = open_request(hurried, odata(select="subject", filter=condition))
        until(lambda: running(hurried) == 1)
        connection.close()
        until(lambda: running(hurried) == 0, seconds=3)


def test_a_server_whose_connections_are_in_use_says_so():
    with Deployment.made(FIELDSEAL_CONNECTIONS="4", FIELDSEAL_LIMITS_STATEMENT_SECONDS="300") as deployment:
        for client in ("admin", "user", "router"):
            deployment.token(client)
        with psycopg.connect(deployment.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(8) as pool:
            # The lock blocks only the requests below: neither the router nor the service's background work reads currencies.
            holder.execute("LOCK TABLE org_contoso.transactioncurrency IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(deployment.get, "transactioncurrencies?$top=1&$count=true", client=client) for client in ("admin", "user") for _ in range(2)]
            waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service'"
            until(lambda: deployment.sql(waiting) == [(4,)])
            answer = deployment.get("mailboxes?$top=1&$count=true", client="router")
            said = refused(answer, 503, "0x80040216")
            assert "in use" in said and "reached" not in said and int(answer.headers["Retry-After"]) > 0
            holder.rollback()
            assert [future.result().status_code for future in asked] == [200] * 4
        assert deployment.get("mailboxes?$top=1&$count=true", client="router").status_code == 200


def test_a_server_ends_although_a_statement_does_not():
    """A backend that is stopped by a signal reacts neither to a cancel request nor to a time limit."""
    place = Place()
    stopped = None
    try:
        place.server.stop()
        place.server.settings.write_text(place.server.settings.read_text() + "limits: {statementSeconds: 2}\n")
        place.server.start()
        with psycopg.connect(place.superuser) as holder, concurrent.futures.ThreadPoolExecutor(1) as pool:
            holder.execute("LOCK TABLE org_contoso.queue IN ACCESS EXCLUSIVE MODE")
            asked = pool.submit(place.server.request, "GET", "queues?$top=1&$count=true")
            waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service'"
            until(lambda: place.sql(waiting))
            [(stopped,)] = place.sql(waiting)
            os.kill(stopped, signal.SIGSTOP)
            begin = time.monotonic()
            place.server.process.terminate()
            place.server.process.wait(PATIENCE)
            assert time.monotonic() - begin < 20
            try:
                assert asked.result().status_code == 503
            except OSError:
                pass
            holder.rollback()
    finally:
        if stopped:
            os.kill(stopped, signal.SIGCONT)
        place.remove()
