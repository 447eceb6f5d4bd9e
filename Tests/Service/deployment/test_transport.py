"""TLS, HTTP/1.1 and HTTP/2, limits, health, and the listener without TLS."""

import base64
import json
import socket
import ssl
import subprocess
import time

import httpx
import pytest
import requests

from service import Deployment, refused


@pytest.fixture(scope="module")
def limited():
    """A deployment with short limits, so that the tests need not wait long."""
    deployment = Deployment(
        FIELDSEAL_LIMITS_HEAD_SECONDS="2", FIELDSEAL_LIMITS_BODY_SECONDS="2", FIELDSEAL_LIMITS_IDLE_SECONDS="3")
    try:
        yield deployment.start()
    finally:
        deployment.remove()


def connect(service, version=None):
    context = ssl.create_default_context(cafile=service.dev["caFile"])
    if version:
        context.minimum_version = context.maximum_version = version
    port = int(service.base.rsplit(":", 1)[1])
    raw = socket.create_connection(("localhost", port), timeout=60)
    return context.wrap_socket(raw, server_hostname="localhost")


def exchange(connection, data):
    connection.sendall(data)
    return read_all(connection)


def read_all(connection):
    received = b""
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except (ConnectionResetError, ssl.SSLError):
        pass
    return received


def test_http_2_and_1_1_over_tls_1_2_and_1_3(service):
    context = ssl.create_default_context(cafile=service.dev["caFile"])
    for http2, version in [(True, "HTTP/2"), (False, "HTTP/1.1")]:
        with httpx.Client(http2=http2, verify=context) as client:
            response = client.get(f"{service.api}/WhoAmI", headers={"Authorization": f"Bearer {service.token()}"})
            assert response.status_code == 200 and response.http_version == version
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        with connect(service, version) as connection:
            assert connection.version() == version.name.replace("_", ".").replace("v1", "v1")
    with pytest.raises((ssl.SSLError, ConnectionResetError)):
        connect(service, ssl.TLSVersion.TLSv1_1)


def test_many_streams_on_one_http_2_connection(service):
    output = subprocess.run(
        ["h2load", "-c", "1", "-m", "50", "-n", "500", "-H", f"Authorization: Bearer {service.token()}",
         f"{service.api}/mailboxes?$select=name&$top=3"],
        capture_output=True, text=True, check=True, timeout=120).stdout
    assert "Application protocol: h2" in output and "status codes: 500 2xx" in output, output


def test_a_body_of_two_mebibytes_is_refused_and_the_connection_closed(service):
    body = json.dumps({"name": "x" * (2 << 20)}).encode()
    refused(service.request("POST", "mailboxes", body), 413, "0x8004418A")
    # The body has no declared length, and is too large. The client gets the response, and the connection ends.
    with connect(service) as connection:
        head = (
            f"POST /contoso/api/data/v9.2/mailboxes HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {service.token()}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n").encode()
        connection.sendall(head)
        try:
            for _ in range(64):
                connection.sendall(b"10000\r\n" + b"x" * 65536 + b"\r\n")
        except (BrokenPipeError, ConnectionResetError, ssl.SSLError):
            pass
        answer = read_all(connection)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 413")


def test_an_attachment_of_five_megabytes_is_taken(service):
    body = base64.b64encode(b"x" * 5_000_000).decode()
    email = service.create("emails", {"subject": "large", "email_activity_mime_attachment": [{"filename": "a.bin", "body": body}]})
    alone = service.create("activitymimeattachments", {
        "filename": "b.bin", "body": body, "objectid_email@odata.bind": f"/emails({email})", "objecttypecode": "email"})
    assert service.get(f"activitymimeattachments({alone})?$select=filesize").json()["filesize"] == 5_000_000
    refused(service.request("POST", "emails", b"x" * (17 << 20), Content_Type="application/json"), 413, "0x8004418A")


def test_a_body_of_exactly_one_mebibyte_is_read(service):
    prefix, suffix = b'{"nosuch":"', b'"}'
    body = prefix + b"x" * ((1 << 20) - len(prefix) - len(suffix)) + suffix
    refused(service.request("POST", "mailboxes", body), 400, "0x80048D19")


def test_a_head_that_is_too_large_is_refused_with_431(service):
    with connect(service) as connection:
        answer = exchange(connection, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000 + b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 431")
    with connect(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + b"x" * 60_000 + b"\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_head_that_is_too_large_is_refused_before_its_end(service):
    with connect(service) as connection:
        assert exchange(connection, b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 70_000).startswith(b"HTTP/1.1 431")
    with connect(service) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nX: " + b"x" * 60_000)
        time.sleep(0.5)
        connection.sendall(b"\r\n\r\n")
        assert read_all(connection).startswith(b"HTTP/1.1 200")


def test_a_head_that_never_ends_is_refused_with_408(limited):
    start = time.monotonic()
    with connect(limited) as connection:
        answer = exchange(connection, b"GET / HTTP/1.1\r\nHost: local")
    assert answer.startswith(b"HTTP/1.1 408")
    assert time.monotonic() - start < 20


def test_a_body_that_stops_halfway_is_refused_with_408_and_stores_nothing(limited):
    before = limited.sql("SELECT count(*) FROM org_contoso.mailbox")
    head = (
        "POST /contoso/api/data/v9.2/mailboxes HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Bearer {limited.token()}\r\nContent-Length: 100\r\n\r\n")
    with connect(limited) as connection:
        answer = exchange(connection, head.encode() + b'{"name":"half"')
    assert answer.startswith(b"HTTP/1.1 408")
    # The client closes the connection before its request is complete.
    with connect(limited) as connection:
        connection.sendall(head.encode() + b'{"name":"half"')
    assert limited.get("WhoAmI").status_code == 200
    assert limited.sql("SELECT count(*) FROM org_contoso.mailbox") == before


def test_an_idle_connection_is_closed(limited):
    with connect(limited) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = read_all(connection)
    assert answer.startswith(b"HTTP/1.1 200")


def test_bytes_that_are_no_http_get_a_400(service):
    with connect(service) as connection:
        assert exchange(connection, b"\x00\x01\x02 nonsense\r\n\r\n").startswith(b"HTTP/1.1 400")


def test_an_address_that_is_no_percent_encoding_gets_a_400(service):
    for path in ("mailboxes?$top=1&x=%zz", "mailboxes?$top=%ff", "mail%zzboxes"):
        request = (
            f"GET /contoso/api/data/v9.2/{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
            f"Authorization: Bearer {service.token()}\r\n\r\n")
        with connect(service) as connection:
            answer = exchange(connection, request.encode())
        assert answer.startswith(b"HTTP/1.1 400") and b"0x8005F100" in answer


def test_several_requests_on_one_connection(service):
    request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n"
    with connect(service) as connection:
        answer = exchange(connection, request * 4 + request.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"))
    assert answer.count(b"HTTP/1.1 200") == 5


def test_health_and_readiness(service):
    for path in ("healthz", "readyz"):
        assert requests.get(f"{service.base}/{path}", verify=service.dev["caFile"], timeout=60).status_code == 200
    response = requests.get(f"{service.base}/nosuch", verify=service.dev["caFile"], timeout=60)
    refused(response, 404, "0x8006088A")


def test_the_listener_without_tls_serves_nothing(service):
    http = service.dev["httpURL"]
    for path in ("contoso/api/data/v9.2/mailboxes", "contoso/oauth2/v2.0/authorize", "contoso/discovery/v2.0/keys"):
        refused(requests.get(f"{http}/{path}", timeout=60, allow_redirects=False), 403, "0x8004852C")
        refused(requests.post(f"{http}/{path}", timeout=60, json={}), 403, "0x8004852C")
    for path in ("oauth2/v2.0/token", "oauth2/revoke"):
        answer = requests.post(f"{http}/contoso/{path}", timeout=60, data={"grant_type": "client_credentials"})
        assert answer.status_code == 403 and answer.json()["error"] == "invalid_request" and "HTTPS" in answer.json()["error_description"]
    response = requests.get(f"{http}/contoso", timeout=60, allow_redirects=False)
    assert response.status_code == 308 and response.headers["Location"] == f"{service.base}/contoso"
    response = requests.get(f"{http}//evil.example/%2e%2e/", timeout=60, allow_redirects=False)
    assert response.status_code == 308 and response.headers["Location"] == f"{service.base}/"


def test_every_answer_names_its_request_and_the_log_has_the_name(service):
    response = service.get("mailboxes(nonsense)")
    name = response.headers["x-ms-service-request-id"]
    lines = [json.loads(line) for line in service.log().splitlines() if line.startswith(b"{")]
    [line] = [line for line in lines if line.get("request_id") == name]
    assert line["status"] == 400 and line["path"].endswith("mailboxes(nonsense)") and line["method"] == "GET"
