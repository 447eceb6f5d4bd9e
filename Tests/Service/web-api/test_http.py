"""HTTP features that clients and browsers use: HEAD, OPTIONS, Expect, Accept, compression, and requests from pages of other origins."""

import gzip
import http.server
import json
import socket
import ssl
import threading
import urllib.parse
import uuid

import pytest
from service import Deployment, refused
from test_console import chromium as start_browser

API_PATH = "/contoso/api/data/v9.2"
ORIGIN = "https://app.example.com"


@pytest.fixture(scope="module")
def browsers(page_server):
    """A deployment that allows requests from pages of two origins."""
    with Deployment.made(FIELDSEAL_ALLOWED_ORIGINS=f"{ORIGIN}, {page_server.origin}") as deployment:
        yield deployment


class PageServer:
    """A web server on localhost with one page."""

    def __init__(self):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                self.send_response(200)
                self.send_header("Content-Type", "text/html; charset=utf-8")
                self.end_headers()
                self.wfile.write(server.page.encode())

            def log_message(self, *arguments):
                pass

        self.page = ""
        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.origin = f"http://localhost:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()


@pytest.fixture(scope="module")
def page_server():
    server = PageServer()
    try:
        yield server
    finally:
        server.server.shutdown()


@pytest.fixture
def chromium():
    driver = start_browser()
    try:
        yield driver
    finally:
        driver.quit()


def raw(service, request, wait_for=b"\r\n\r\n"):
    """Sends bytes over a new TLS connection. Returns the connection, and the response up to the bytes `wait_for`."""
    url = urllib.parse.urlsplit(service.base)
    context = ssl.create_default_context(cafile=service.dev["caFile"])
    connection = context.wrap_socket(socket.create_connection((url.hostname, url.port), timeout=60), server_hostname=url.hostname)
    connection.sendall(request)
    received = b""
    while wait_for not in received:
        data = connection.recv(65_536)
        if not data:
            break
        received += data
    return connection, received


def test_head_is_get_without_its_body(service):
    queue = service.create("queues", {"name": f"head {uuid.uuid4()}"})
    for path in (f"queues({queue})", "queues?$top=1", "WhoAmI", "$metadata", "", "EntityDefinitions", f"queues({queue})/name", f"queues({queue})/name/$value"):
        got, headed = service.get(path, Accept_Encoding="identity"), service.request("HEAD", path, Accept_Encoding="identity")
        assert (headed.status_code, headed.content) == (200, b""), path
        for header in ("Content-Type", "Content-Length", "ETag", "OData-Version"):
            assert headed.headers.get(header) == got.headers.get(header), (path, header)
    assert service.request("HEAD", f"queues({uuid.uuid4()})").status_code == 404
    assert service.request("HEAD", "queues", token="").status_code == 401


@pytest.mark.parametrize(
    "path, methods",
    [
        ("", "GET HEAD OPTIONS"), ("$metadata", "GET HEAD OPTIONS"), ("$batch", "POST OPTIONS"), ("queues", "GET HEAD POST OPTIONS"), ("roles", "GET HEAD OPTIONS"),
        ("queues(00000000-0000-0000-0000-000000000001)", "GET HEAD PATCH PUT DELETE OPTIONS"), ("usersettingscollection(00000000-0000-0000-0000-000000000001)", "GET HEAD PATCH PUT OPTIONS"),
        ("queues(00000000-0000-0000-0000-000000000001)/name", "GET HEAD PUT DELETE OPTIONS"), ("queues/$count", "GET HEAD OPTIONS"),
        ("emailserverprofiles(00000000-0000-0000-0000-000000000001)/emailserverprofile_mailbox", "GET HEAD POST OPTIONS"),
        ("mailboxes(00000000-0000-0000-0000-000000000001)/emailserverprofile/$ref", "GET HEAD PUT DELETE OPTIONS"),
    ],
)
def test_options_says_what_an_address_takes(service, path, methods):
    for token in ("", None):
        response = service.request("OPTIONS", path, token=token)
        assert (response.status_code, response.headers["Allow"].split(", ")) == (204, methods.split())
    assert service.request("OPTIONS", "nosuch/path", token="").status_code == 404


def test_other_methods_and_codings_are_refused_by_name(service):
    for path, allowed in (("queues", "GET, POST"), ("WhoAmI", "GET"), ("$metadata", "GET")):
        for method in ("TRACE", "PROPFIND"):
            response = service.request(method, path)
            refused(response, 405, response.json()["error"]["code"])
            assert response.headers["Allow"].startswith(allowed), (path, response.headers["Allow"])
        assert service.request("TRACE", path, token="").status_code == 401
    body = json.dumps({"name": f"coded {uuid.uuid4()}"}).encode()
    for coding, status in ((b"gzip, chunked", b"501"), (b"chunked", b"204")):
        head = (f"POST {API_PATH}/queues HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.token()}\r\nContent-Type: application/json\r\n").encode()
        connection, received = raw(service, head + b"Transfer-Encoding: " + coding + b"\r\n\r\n" + f"{len(body):x}".encode() + b"\r\n" + body + b"\r\n0\r\n\r\n")
        connection.close()
        assert received.startswith(b"HTTP/1.1 " + status), received


def test_a_client_that_waits_before_its_body_is_told_to_send_it(service):
    body = json.dumps({"name": f"expect {uuid.uuid4()}"}).encode()
    head = (f"POST {API_PATH}/queues HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.token()}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\nExpect: 100-continue\r\n\r\n").encode()
    connection, received = raw(service, head)
    assert received == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.sendall(body)
    answer = connection.recv(65_536)
    assert answer.startswith(b"HTTP/1.1 204"), answer
    # The connection remains usable.
    connection.sendall(head)
    assert connection.recv(65_536) == b"HTTP/1.1 100 Continue\r\n\r\n"
    connection.close()
    _, received = raw(service, head.replace(b"100-continue", b"something-else"))
    assert received.startswith(b"HTTP/1.1 417")
    _, received = raw(service, head.replace(f"Content-Length: {len(body)}".encode(), b"Content-Length: 99999999"))
    assert received.startswith(b"HTTP/1.1 413")


def test_only_emails_and_attachments_are_larger_than_a_mebibyte(service):
    text, id = "x" * (1 << 20), uuid.uuid4()
    email = service.create("emails", {"subject": "large", "description": text})
    for path in ("emails", f"emails({email})", f"emails%28{email}%29"):
        method = "POST" if path == "emails" else "PATCH"
        assert service.request(method, path, {"subject": "large", "description": text}).status_code == 204, path
    for method, path in (("POST", "emailserverprofiles"), ("PATCH", f"emailserverprofiles({id})"), ("PUT", f"emailserverprofiles({id})/description"), ("POST", "queues"), ("POST", "mailboxes")):
        refused(service.request(method, path, {"name": "large", "description": text}), 413, "0x8004418A")


def test_the_form_of_a_response_is_what_is_accepted(service):
    queue = service.create("queues", {"name": f"accept {uuid.uuid4()}"})
    for path in ("queues?$top=1&$count=true", f"queues({queue})", "WhoAmI", "EntityDefinitions?$select=LogicalName"):
        none = service.get(path, Accept="application/json;odata.metadata=none")
        assert none.status_code == 200 and "odata.metadata=none" in none.headers["Content-Type"]
        minimal = service.get(path).json()
        names = [n for n in minimal if n not in ("@odata.context", "@odata.etag")]
        assert list(none.json()) == names and "etag" not in none.text, path
        for accept in ("application/xml", "text/html, image/png", "application/json;odata.metadata=full", "application/json;q=0"):
            refused(service.get(path, Accept=accept), 406, "0x8005F100")
        for accept in ("text/html,application/xhtml+xml,*/*;q=0.8", "application/json;odata.metadata=full, application/json;q=0.5", "application/*", "application/json; charset=utf-8", ""):
            assert service.get(path, Accept=accept).status_code == 200, accept
    refused(service.get("queues?$format=application/json;odata.metadata=full"), 406, "0x8005F100")
    refused(service.get("queues?$format=xml"), 406, "0x8005F100")
    assert "etag" not in service.get("queues?$top=1&$format=application/json;odata.metadata=none").text
    # A write whose response the client would not accept is refused before anything is written.
    name = f"not acceptable {uuid.uuid4()}"
    refused(service.request("POST", "queues", {"name": name}, Accept="text/xml"), 406, "0x8005F100")
    for type in ("text/xml", "application/x-www-form-urlencoded", "application/json; charset=utf-16", "application/json;IEEE754Compatible=true", "application/octet-stream"):
        refused(service.request("POST", "queues", {"name": name}, Content_Type=type), 415, "0x8005F100")
    assert service.get(f"queues?$filter=name eq '{name}'").json()["value"] == []
    for type in ("application/json", "application/json; charset=UTF-8", "application/json;odata.metadata=minimal"):
        assert service.request("POST", "queues", {"name": name}, Content_Type=type).status_code == 204
    # Clients also ask for JSON at these addresses. The service accepts that, although the response is a text.
    for path in ("queues/$count", f"queues({queue})/name/$value"):
        assert service.get(path, Accept="application/json").status_code == 200
    refused(service.get("$openapi", Accept="application/xml"), 406, "0x8005F100")
    assert service.get("$openapi", Accept="application/json").status_code == 200
    # $metadata is available only as XML.
    for accept in ("application/json", "text/html, image/png", "application/xml;q=0", "application/xml; charset=utf-16"):
        refused(service.get("$metadata", Accept=accept), 406, "0x8005F100")
    for accept in ("application/xml", "application/json, application/xml;q=0.1", "text/html,application/xhtml+xml,*/*;q=0.8", "application/*", "application/xml; charset=utf-8", ""):
        assert service.get("$metadata", Accept=accept).headers["Content-Type"].startswith("application/xml"), accept


def answered(service, encoding, path, body=None, type="application/json"):
    """Sends a request. Returns (head in lower case, bytes of the body as they were transferred)."""
    method = "GET" if body is None else "POST"
    head = (f"{method} {API_PATH}/{path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.token()}\r\nAccept-Encoding: {encoding}\r\nConnection: close\r\n"
            + ("" if body is None else f"Content-Type: {type}\r\nContent-Length: {len(body)}\r\n") + "\r\n")
    connection, received = raw(service, head.encode() + (body or b""), b"\0\0never\0\0")
    connection.close()
    head, body = received.split(b"\r\n\r\n", 1)
    return head.decode().lower(), body


@pytest.fixture(scope="module")
def long_list(service):
    """Creates 200 queues. Returns the path of their list, whose response is long enough for compression."""
    service.request("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [
        {"@odata.type": "Microsoft.Dynamics.CRM.queue", "name": f"compressed {n}", "description": "x" * 500} for n in range(200)]})
    return "queues?$filter=startswith(name,%27compressed%27)&$orderby=name"


def test_large_responses_are_compressed(service, long_list):
    head, body = answered(service, "gzip", long_list)
    assert "content-encoding: gzip" in head and "vary: accept-encoding" in head
    whole_head, whole = answered(service, "identity", long_list)
    assert "content-encoding" not in whole_head and "vary: accept-encoding" in whole_head
    assert gzip.decompress(body) == whole and len(body) < len(whole) / 4
    for encoding in ("gzip;q=0", "br", "identity;q=1, *;q=0"):
        assert "content-encoding" not in answered(service, encoding, long_list)[0]
    assert "content-encoding: gzip" in answered(service, "br, gzip", "$metadata")[0]
    for path in ("WhoAmI", "queues?$top=1"):
        assert "content-encoding" not in answered(service, "gzip", path)[0], path


def test_what_may_hold_a_secret_is_not_compressed(service, long_list):
    """The length of a compressed response can reveal a secret in it. So responses of messages and batches are never compressed."""
    key = service.key()
    assert "content-encoding" not in answered(service, "gzip", "RetrieveDataEncryptionKey")[0]
    # The key is between two lists in a batch. Each list alone would be compressed.
    paths = [long_list, "RetrieveDataEncryptionKey", long_list]
    requests = json.dumps({"requests": [{"id": str(n), "method": "GET", "url": path} for n, path in enumerate(paths)]}).encode()
    parts = "".join(f"--b\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\n\r\nGET {path} HTTP/1.1\r\n\r\n\r\n" for path in paths)
    for body, type in ((requests, "application/json"), (f"{parts}--b--\r\n".encode(), "multipart/mixed; boundary=b")):
        head, answer = answered(service, "gzip", "$batch", body, type)
        assert " 200 " in head.split("\r\n")[0] and "content-encoding" not in head, head
        assert key.encode() in answer and answer.count(b"compressed 1") > 200 and len(answer) > 200_000
    # Responses of messages that are longer than the limit for compression.
    query = urllib.parse.quote(json.dumps({"Criteria": {"FilterOperator": "And", "Conditions": []}}))
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.queue", "name": f"not compressed {n}"} for n in range(250)]
    for path, body in ((f"RetrieveMetadataChanges(Query=@p)?@p={query}", None), ("queues/Microsoft.Dynamics.CRM.CreateMultiple", json.dumps({"Targets": targets}).encode())):
        head, answer = answered(service, "gzip", path, body)
        assert " 200 " in head.split("\r\n")[0] and "content-encoding" not in head, head
        assert len(answer) > 8 << 10, (path, len(answer))
    assert "content-encoding: gzip" in answered(service, "gzip", long_list)[0]


def test_other_origins_are_off_by_default(service):
    for method in ("GET", "OPTIONS"):
        response = service.request(method, "queues", Origin=ORIGIN, Access_Control_Request_Method="GET")
        assert not [h for h in response.headers if h.lower().startswith("access-control")], response.headers


def test_pages_of_configured_origins_may_use_the_api(browsers):
    preflight = browsers.request("OPTIONS", "queues", token="", Origin=ORIGIN, Access_Control_Request_Method="PATCH", Access_Control_Request_Headers="authorization,if-match")
    assert preflight.status_code == 204 and preflight.headers["Access-Control-Allow-Origin"] == ORIGIN
    assert "PATCH" in preflight.headers["Access-Control-Allow-Methods"] and "If-Match" in preflight.headers["Access-Control-Allow-Headers"]
    response = browsers.get("queues", Origin=ORIGIN)
    assert response.headers["Access-Control-Allow-Origin"] == ORIGIN and "OData-EntityId" in response.headers["Access-Control-Expose-Headers"]
    assert "Origin" in response.headers["Vary"]
    # The page can also read an error response.
    assert browsers.get("queues", token="", Origin=ORIGIN).headers["Access-Control-Allow-Origin"] == ORIGIN
    for other in ("https://evil.example", "null", f"{ORIGIN}.evil.example", "http://app.example.com", f"{ORIGIN}:8443"):
        for method in ("GET", "OPTIONS"):
            response = browsers.request(method, "queues", Origin=other, Access_Control_Request_Method="GET")
            assert "Access-Control-Allow-Origin" not in response.headers, other
    # The console uses a cookie. No response allows a page of another origin to send the cookie.
    for url in (f"{browsers.base}/contoso/", f"{browsers.base}/contoso/sign-in", f"{browsers.base}/healthz"):
        for method in ("GET", "OPTIONS"):
            response = browsers.request(method, url, token="", Origin=ORIGIN, Access_Control_Request_Method="POST")
            assert not [h for h in response.headers if h.lower().startswith("access-control")], url
    assert "Access-Control-Allow-Credentials" not in browsers.get("queues", Origin=ORIGIN).headers


@pytest.mark.parametrize("value", ["*", "null", "https://a.example/path", "http://a.example", "a.example", "https://*.example", "https://a.example:443"])
def test_what_is_no_origin_is_refused(service, value):
    result = service.run("config", "check", check=False, FIELDSEAL_ALLOWED_ORIGINS=value)
    assert result.returncode != 0 and "allowedOrigins" in result.stderr + result.stdout, result.stdout


PAGE = """<!DOCTYPE html><title>page</title><script>
async function run(base, id, secret) {
    const form = new URLSearchParams({grant_type: "client_credentials", client_id: id, client_secret: secret});
    const token = (await (await fetch(base + "/contoso/oauth2/v2.0/token", {method: "POST", body: form})).json()).access_token;
    const api = base + "/contoso/api/data/v9.2/";
    const headers = {"Authorization": "Bearer " + token, "Content-Type": "application/json", "OData-Version": "4.0"};
    const created = await fetch(api + "queues", {method: "POST", headers, body: JSON.stringify({name: "from a browser", emailpassword: "of a browser"})});
    const address = created.headers.get("OData-EntityId");
    const read = await fetch(address, {headers: {...headers, "If-None-Match": "null"}});
    const record = await read.json();
    const changed = await fetch(address, {method: "PATCH", headers: {...headers, "If-Match": read.headers.get("ETag")}, body: JSON.stringify({description: "changed"})});
    const gone = await fetch(address, {method: "DELETE", headers});
    return [created.status, read.status, record.name, record.emailpassword, changed.status, gone.status].join(" ");
}
</script>"""


def open_page(driver, page_server, deployment):
    page_server.page = PAGE
    driver.get(f"{page_server.origin}/")
    client = deployment.dev["clients"]["admin"]
    driver.set_script_timeout(60)
    return driver.execute_async_script(
        "const done = arguments[arguments.length - 1]; run(arguments[0], arguments[1], arguments[2]).then(done, error => done('failed: ' + error))",
        deployment.base, client["clientId"], client["clientSecret"])


def test_a_page_of_another_origin_signs_in_reads_and_writes(browsers, service, page_server, chromium):
    assert open_page(chromium, page_server, browsers) == "204 200 from a browser  204 204"
    # Without configured origins, the browser does not let the page read the response.
    assert open_page(chromium, page_server, service).startswith("failed: ")


def test_every_way_to_write_an_address_is_answered_alike(service):
    """The service finds most paths without a search among its routes, and other paths with one. Both ways give equal responses."""
    plain = service.get("queues?$select=name&$top=1")
    assert plain.status_code == 200
    for path in ("contoso//api/data/v9.2/queues", "contoso/api//data/v9.2/queues", "contoso/api/data//v9.2/queues", "contoso/api/data/v9.2//queues"):
        response = service.get(f"{service.base}/{path}?$select=name&$top=1")
        assert (response.status_code, response.json()) == (200, plain.json()), path
        refusal = service.get(f"{service.base}/{path}", token="none")
        assert refusal.status_code == 401 and "authorization_uri=" in refusal.headers["WWW-Authenticate"]
    refusal = service.get("queues", token="none")
    assert refusal.status_code == 401 and "authorization_uri=" in refusal.headers["WWW-Authenticate"]
    for version in ("v9.0", "v9.1", "v9.2.21051.00140", "v9.0.1", "v9.1.0.0.0"):
        assert service.get(f"{service.base}/contoso/api/data/{version}/queues?$select=name&$top=1").json()["value"] == plain.json()["value"]
    for version in ("v9.3", "v9.2.", "v9", "V9.2x", "v9.2%20", "v9.2x", "v9.21", "v9.2.x", "v9.2..1", "v9.2.1.", "v9.3.1", "v9.2.1x", "v9.2." + "1" * 80):
        assert service.get(f"{service.base}/contoso/api/data/{version}/queues").status_code == 404, version
    assert service.get(f"{service.base}/contoso/api/data/v9.2").json()["value"] == service.get(f"{service.base}/contoso/api/data/v9.2/").json()["value"]
    head = service.request("HEAD", "queues?$select=name&$top=1")
    assert head.status_code == 200 and not head.content and head.headers["Content-Length"] == str(len(plain.content))


def test_an_address_with_a_full_version_is_kept(service):
    full = f"{service.base}/contoso/api/data/v9.2.21051.00140"
    created = service.request("POST", f"{full}/queues", {"name": "full version"})
    assert created.status_code == 204 and created.headers["OData-EntityId"].startswith(f"{full}/queues(")
    queue = created.headers["OData-EntityId"]
    page = service.get(f"{full}/queues?$select=name", Prefer="odata.maxpagesize=1").json()
    assert page["@odata.context"].startswith(f"{full}/$metadata#") and page["@odata.nextLink"].startswith(f"{full}/queues?")
    assert service.get(page["@odata.nextLink"]).status_code == 200
    # In a body, an address with a full version is recognized as one of this organization.
    me = service.get(f"{full}/WhoAmI").json()["UserId"]
    assert service.request("PATCH", queue, {"ownerid@odata.bind": f"{full}/systemusers({me})"}).status_code == 204
    sent = [{"id": "1", "method": "GET", "url": f"{queue}?$select=name"}, {"id": "2", "method": "GET", "url": "/contoso/api/data/v9.1.5/queues?$top=1&$select=name"}]
    answers = service.request("POST", f"{full}/$batch", {"requests": sent}, Content_Type="application/json").json()["responses"]
    assert [a["status"] for a in answers] == [200, 200]
    endpoints = service.get(f"{full}/RetrieveCurrentOrganization(AccessType='Default')").json()["Detail"]["Endpoints"]
    assert endpoints["Values"] == [f"{service.base}/contoso/", f"{service.base}/contoso/XRMServices/2011/Organization.svc"]
    assert service.request("OPTIONS", f"{full}/queues").headers["Allow"] == service.request("OPTIONS", "queues").headers["Allow"]
