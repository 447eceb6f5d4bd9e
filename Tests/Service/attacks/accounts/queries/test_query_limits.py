"""How many joins, how much time and how many connections one query and one client may use, and what happens when a client disconnects."""

import concurrent.futures
import socket
import ssl
import urllib.parse

import h2.connection
import h2.errors
import h2.events
import psycopg
import pytest
from service import PATIENCE, Deployment, refused
from waiting import until

USERS = 2_000


def filled(**environment):
    deployment = Deployment(**environment).start()
    deployment.sql(
        "INSERT INTO org_contoso.systemuser (systemuserid, fullname, domainname, businessunitid) "
        "SELECT gen_random_uuid(), 'user ' || n, 'filled\\' || n, (SELECT businessunitid FROM org_contoso.businessunit LIMIT 1) "
        "FROM generate_series(1, %s) AS n", [USERS])
    deployment.sql("ANALYZE org_contoso.systemuser")
    return deployment


@pytest.fixture(scope="module")
def hurried():
    """A deployment whose statements are limited to one second."""
    deployment = filled(FIELDSEAL_LIMITS_STATEMENT_SECONDS="1")
    try:
        yield deployment
    finally:
        deployment.remove()


@pytest.fixture(scope="module")
def patient():
    """A deployment with four connections, of which one client may use two."""
    deployment = filled(FIELDSEAL_CONNECTIONS="4", FIELDSEAL_LIMITS_STATEMENT_SECONDS="300")
    try:
        yield deployment
    finally:
        deployment.remove()


def links(depth, link="systemuser", start="businessunitid", end="businessunitid"):
    xml = f'<attribute name="{link}id" alias="n" aggregate="count" />'
    for number in range(depth):
        xml = f'<link-entity name="{link}" from="{start}" to="{end}" alias="l{depth - number}">{xml}</link-entity>'
    return f'<fetch aggregate="true"><entity name="systemuser">{xml}</entity></fetch>'


def fetch(xml):
    return f"systemusers?fetchXml={urllib.parse.quote(xml)}"


def sql(joins, condition=""):
    text = "SELECT count(*) AS n FROM systemuser AS t0"
    for number in range(1, joins + 1):
        text += f" JOIN systemuser AS t{number} ON t{number - 1}.businessunitid = t{number}.businessunitid"
    return f"systemusers?sql={urllib.parse.quote(text + condition)}"


#: Queries within the limits on joins. PostgreSQL must count as many rows as the cube of the number of users.
HEAVY = {"fetch": fetch(links(2)), "sql": sql(2)}

FANNED = '<fetch aggregate="true"><entity name="businessunit"><attribute name="businessunitid" alias="n" aggregate="count" />' + "".join(
    f'<link-entity name="systemuser" from="businessunitid" to="businessunitid" alias="l{n}" />' for n in range(5)) + "</entity></fetch>"
MAILBOXES = "emailserverprofile/emailserverprofile_mailbox/any(m:m/name ne 'x')"
EXPANDED = "emailserverprofile"
for _ in range(3):
    EXPANDED = f"owninguser,owningbusinessunit,modifiedby,createdby,emailserverprofile($expand=emailserverprofile_mailbox($expand={EXPANDED}))"


@pytest.mark.parametrize("path, says", [
    pytest.param(fetch(links(14)), "joins", id="nested links without a key"),
    pytest.param(fetch(links(3)), "neither attribute", id="three links without a key"),
    pytest.param(f"businessunits?fetchXml={urllib.parse.quote(FANNED)}", "several records", id="five collections of one record"),
    pytest.param(sql(3), "neither attribute", id="joins in SQL"),
    pytest.param("mailboxes?$filter=" + urllib.parse.quote(" and ".join([MAILBOXES] * 16)), "16 tables", id="sixteen subqueries"),
    pytest.param("mailboxes?$expand=" + urllib.parse.quote(EXPANDED), "$expand", id="expansions of expansions"),
])
def test_what_would_multiply_rows_is_refused_before_it_runs(service, path, says):
    assert says in refused(service.get(path), 400, "0x80060888")


def test_ordinary_links_are_answered(service):
    to_one = "".join(f'<link-entity name="systemuser" from="systemuserid" to="ownerid" alias="o{n}" link-type="outer" />' for n in range(8))
    xml = f'<fetch top="1"><entity name="mailbox"><attribute name="name" />{to_one}</entity></fetch>'
    assert service.get(f"mailboxes?fetchXml={urllib.parse.quote(xml)}").status_code == 200
    assert service.get(fetch(links(1))).status_code == 200
    assert service.get(sql(1)).status_code == 200
    assert service.get("mailboxes?$filter=" + urllib.parse.quote(" and ".join([MAILBOXES] * 3))).status_code == 200
    assert service.get("mailboxes?$top=1&$expand=owninguser,owningbusinessunit,emailserverprofile($expand=emailserverprofile_mailbox)").status_code == 200


@pytest.mark.parametrize("language", HEAVY)
def test_a_query_that_takes_too_long_is_ended_and_says_so(hurried, language):
    assert "longer" in refused(hurried.get(HEAVY[language], client="user"), 400, "0x80044151")
    assert running(hurried) == 0
    # In a batch, only the part with the query is refused.
    body = "\r\n".join([
        "--b", "Content-Type: application/http", "", f"GET /contoso/api/data/v9.2/{HEAVY[language]} HTTP/1.1", "", "",
        "--b", "Content-Type: application/http", "", "GET /contoso/api/data/v9.2/WhoAmI HTTP/1.1", "", "", "--b--", ""]).encode()
    answer = hurried.request("POST", "$batch", body, Content_Type="multipart/mixed; boundary=b", Prefer="odata.continue-on-error")
    assert "0x80044151" in answer.text and "UserId" in answer.text


def test_a_write_that_waits_too_long_is_ended_and_changes_nothing(hurried):
    id = hurried.create("mailboxes", {"name": "kept"})
    with psycopg.connect(hurried.dev["postgres"]) as holder:
        holder.execute("UPDATE org_contoso.mailbox SET name = 'held' WHERE mailboxid = %s", [id])
        response = hurried.request("PATCH", f"mailboxes({id})", {"name": "lost"})
        assert "Nothing was changed" in refused(response, 503, "0x80044151") and response.headers["Retry-After"]
        holder.rollback()
    assert hurried.get(f"mailboxes({id})").json()["name"] == "kept"


@pytest.mark.parametrize("method, slow, quick", [
    pytest.param("GET", "ALTER TABLE org_contoso.mailbox ENABLE ROW LEVEL SECURITY; CREATE POLICY slow ON org_contoso.mailbox USING (pg_sleep(4)::text = '')",
                 "DROP POLICY slow ON org_contoso.mailbox; ALTER TABLE org_contoso.mailbox DISABLE ROW LEVEL SECURITY", id="read"),
    pytest.param("POST", "CREATE FUNCTION public.slow() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(4); RETURN NEW; END'; "
                 "CREATE TRIGGER slow BEFORE INSERT ON org_contoso.mailbox FOR EACH ROW EXECUTE FUNCTION public.slow()",
                 "DROP FUNCTION public.slow CASCADE", id="create"),
])
def test_what_several_requests_share_a_connection_for_is_ended_too(hurried, method, slow, quick):
    """Requests for single records share a few connections. The time limit applies to their statements too."""
    name = f"made by {method}"
    id = hurried.create("mailboxes", {"name": name})
    request = ("GET", f"mailboxes({id})") if method == "GET" else ("POST", "mailboxes", {"name": name})
    hurried.sql(slow)
    try:
        for _ in range(2):
            answer = hurried.request(*request)
            assert answer.status_code in (400, 503) and answer.json()["error"]["code"] == "0x80044151", answer.text
        assert running(hurried) == 0
    finally:
        hurried.sql(quick)
    assert hurried.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = %s", [name]) == [(1,)]
    assert hurried.request(*request).status_code in (200, 204)


def test_long_work_has_no_such_limit(hurried):
    """A key change waits for a writer for longer than the time limit of a request's statements, and then succeeds."""
    id = hurried.create("mailboxes", {"name": "kept", "password": "before the change"})
    with psycopg.connect(hurried.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder.execute("UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s", [id])
        change = pool.submit(hurried.set_key, "A-key-that-takes-its-time-1")
        with pytest.raises(concurrent.futures.TimeoutError):
            change.result(timeout=3)
        holder.rollback()
        assert change.result().status_code == 204
    assert hurried.key() == "A-key-that-takes-its-time-1"


def running(deployment):
    """The number of statements of the service that count users at this moment."""
    return deployment.sql(
        "SELECT count(*) FROM pg_stat_activity WHERE state = 'active' AND usename = 'fieldseal_service' AND query LIKE '%count(%systemuser%'")[0][0]


def open_request(deployment, path, client="user"):
    """Sends a request, and returns its open connection."""
    context = ssl.create_default_context(cafile=deployment.dev["caFile"])
    raw = socket.create_connection(("localhost", int(deployment.base.rsplit(":", 1)[1])), timeout=PATIENCE)
    connection = context.wrap_socket(raw, server_hostname="localhost")
    connection.sendall(
        f"GET /contoso/api/data/v9.2/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {deployment.token(client)}\r\n\r\n".encode())
    return connection


@pytest.mark.parametrize("language", HEAVY)
def test_a_client_that_hangs_up_takes_its_query_along(patient, language):
    connection = open_request(patient, HEAVY[language])
    until(lambda: running(patient) == 1)
    connection.close()
    until(lambda: running(patient) == 0)


def test_a_stream_of_http_2_that_is_reset_takes_its_query_along(patient):
    context = ssl.create_default_context(cafile=patient.dev["caFile"])
    context.set_alpn_protocols(["h2"])
    raw = socket.create_connection(("localhost", int(patient.base.rsplit(":", 1)[1])), timeout=PATIENCE)
    client = h2.connection.H2Connection()

    def get(path):
        stream = client.get_next_available_stream_id()
        client.send_headers(stream, [
            (":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", f"/contoso/api/data/v9.2/{path}"),
            ("authorization", f"Bearer {patient.token('user')}")], end_stream=True)
        connection.sendall(client.data_to_send())
        return stream

    with context.wrap_socket(raw, server_hostname="localhost") as connection:
        client.initiate_connection()
        stream = get(HEAVY["fetch"])
        until(lambda: running(patient) == 1)
        client.reset_stream(stream, h2.errors.ErrorCodes.CANCEL)
        connection.sendall(client.data_to_send())
        until(lambda: running(patient) == 0)
        # The HTTP/2 connection remains usable.
        stream = get("WhoAmI")
        events = []
        while not any(isinstance(event, h2.events.ResponseReceived) for event in events):
            events += client.receive_data(connection.recv(65536))
            connection.sendall(client.data_to_send())
        assert next(dict(e.headers) for e in events if isinstance(e, h2.events.ResponseReceived))[b":status"] == b"200"


def test_twenty_heavy_queries_of_one_client_leave_the_others_served(patient):
    me = patient.get("WhoAmI", client="user").json()["UserId"]
    email = patient.create("emails", {"subject": "of the client"}, client="user")
    # The service keeps what it knows of the client after a lookup.
    assert patient.get(f"systemusers({me})?$select=fullname", client="user").status_code == 200
    connections = [open_request(patient, HEAVY["fetch"]) for _ in range(20)]
    try:
        until(lambda: running(patient) == 2)
        # Lookups of records that everyone with the client's role may read use no connection of the client's, so they are answered.
        for _ in range(5):
            assert patient.get(f"systemusers({me})?$select=fullname", client="user").status_code == 200
        # Other clients can read, write and sign in while the 20 queries run or wait.
        for client in ("admin", "router"):
            patient.tokens.pop(client, None)
            assert patient.get("WhoAmI", client=client).status_code == 200
        patient.create("mailboxes", {"name": "written meanwhile"})
        for _ in range(5):
            assert patient.get("mailboxes?$top=3&$count=true").status_code == 200
        assert running(patient) == 2
        # The client itself is told to wait, also for a single record that only some users may read.
        for path in ("mailboxes?$top=1&$count=true", f"emails({email})?$select=subject"):
            answer = patient.get(path, client="user")
            refused(answer, 429, "0x80072326")
            assert int(answer.headers["Retry-After"]) > 0
    finally:
        for connection in connections:
            connection.close()
    until(lambda: running(patient) == 0)
    for path in ("mailboxes?$top=1&$count=true", f"emails({email})?$select=subject"):
        assert patient.get(path, client="user").status_code == 200


def test_more_requests_at_a_time_than_one_client_may_have():
    deployment = Deployment(FIELDSEAL_LIMITS_REQUESTS="40").start()
    try:
        # One client may have a quarter of the 40 requests, but at least 16. So 8 of its 24 requests are refused.
        with psycopg.connect(deployment.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(24) as pool:
            deployment.token(), deployment.token("user")
            holder.execute("LOCK TABLE org_contoso.queue IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(deployment.get, "queues?$top=1") for _ in range(24)]
            for _, future in zip(range(8), concurrent.futures.as_completed(asked, timeout=PATIENCE)):
                refused(future.result(), 429, "0x80072326")
            assert deployment.get("WhoAmI", client="user").status_code == 200
            holder.rollback()
            assert sorted(future.result().status_code for future in asked) == [200] * 16 + [429] * 8
    finally:
        deployment.remove()


def in_batch(service, url, client="user"):
    body = f"--b\r\nContent-Type: application/http\r\n\r\nGET {url} HTTP/1.1\r\n\r\n\r\n--b--\r\n"
    response = service.request("POST", "$batch", body.encode(), client=client, Content_Type="multipart/mixed; boundary=b")
    return int(response.text.split("HTTP/1.1 ")[1].split()[0]) if "HTTP/1.1 " in response.text else response.status_code


def elements(part, count):
    xml = '<fetch><entity name="systemuser">' + part * count + "</entity></fetch>"
    return f"systemusers?fetchXml={urllib.parse.quote(xml, safe='<>/=')}"


CONDITION = '<filter><condition attribute="fullname" operator="eq" value="a"/></filter>'
VALUES = '<filter><condition attribute="fullname" operator="in">' + "<value>a</value>" * 2_000 + "</condition></filter>"
LINK = '<link-entity name="businessunit" from="businessunitid" to="businessunitid" link-type="exists"/>'


@pytest.mark.parametrize("url, status", {
    "steps": ("systemusers?$apply=" + "/".join(["filter(true)"] * 1_500), 400),
    "steps with conditions": ("systemusers?$apply=" + "/".join(["filter(fullname eq 'a')"] * 1_500), 400),
    "few steps": ("systemusers?$apply=" + "/".join(["filter(fullname eq 'a')"] * 400), 200),
    "filters": (elements(CONDITION, 600), 400),
    "empty filters": (elements("<filter/>", 1_900), 200),
    "many values of FetchXML": (elements(VALUES, 1), 200),
    "values of FetchXML": (elements(VALUES.replace("<value>", "<value>a</value><value>", 1), 1), 400),
    "elements": (elements("<filter/>", 4_000), 400),
    "links": (elements(LINK, 600), 400),
    "columns": ("systemusers?sql=SELECT " + ",".join(f"fullname AS a{n}" for n in range(2_500)) + " FROM systemuser", 400),
    "aggregates": ("systemusers?$apply=aggregate(" + ",".join(f"$count as n{n}" for n in range(2_500)) + ")", 400),
    "conditions": ("systemusers?sql=SELECT fullname FROM systemuser WHERE " + " OR ".join(["fullname='a'"] * 2_000), 400),
    "groups": ("systemusers?$apply=groupby((" + ",".join(["fullname"] * 200) + "))", 400),
    "orders": ("systemusers?sql=SELECT fullname FROM systemuser ORDER BY " + ",".join(["fullname"] * 200), 400),
    "values": ("systemusers?$filter=fullname in (" + ",".join(["'a'"] * 2_001) + ")", 400),
    "many values": ("systemusers?$filter=fullname in (" + ",".join(["'a'"] * 2_000) + ")", 200),
    "values of SQL": ("systemusers?sql=SELECT fullname FROM systemuser WHERE fullname IN (" + ",".join(["'a'"] * 2_001) + ")", 400),
    "values of a function": ("systemusers?$filter=Microsoft.Dynamics.CRM.In(PropertyName='fullname',PropertyValues=[" + ",".join(["'a'"] * 2_001) + "])", 400),
    "a long URL": ("systemusers?$filter=fullname eq '" + "a" * (64 << 10) + "'", 400),
}.values())
def test_the_size_of_a_query_is_bounded_in_each_language(service, url, status):
    assert in_batch(service, url) == status
    assert service.get("WhoAmI", client="user").status_code == 200


def test_a_query_of_the_sdk_is_bounded_too(service):
    filters = "".join(
        "<a:FilterExpression><a:Conditions><a:ConditionExpression><a:AttributeName>fullname</a:AttributeName><a:Operator>Null</a:Operator>"
        "</a:ConditionExpression></a:Conditions></a:FilterExpression>" for _ in range(600))
    query = (
        '<RetrieveMultiple xmlns="http://schemas.microsoft.com/xrm/2011/Contracts/Services"><query i:type="a:QueryExpression" '
        'xmlns:a="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><a:Criteria><a:Filters>'
        f"{filters}</a:Filters></a:Criteria><a:EntityName>systemuser</a:EntityName></query></RetrieveMultiple>")
    envelope = f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{query}</s:Body></s:Envelope>'
    response = service.request(
        "POST", f"{service.base}/contoso/XRMServices/2011/Organization.svc/web", envelope.encode(), client="user", Content_Type="text/xml",
        SOAPAction="http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/RetrieveMultiple")
    assert response.status_code == 500 and "conditions" in response.text
