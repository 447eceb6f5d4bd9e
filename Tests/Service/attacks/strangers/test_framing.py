"""The server refuses a request that can be read in two ways. A proxy in front of the server might read it in the other way."""

import re
import socket
import ssl

import h2.config
import h2.connection
import h2.events
import pytest
from service import Deployment


@pytest.fixture(scope="module")
def service():
    with Deployment.made() as deployment:
        yield deployment


def statuses(service, data, wait=20):
    """Sends data on one connection. Returns the status of each response and the received text, which ends with "NOT CLOSED" if the server kept the
    connection open."""
    host, port = service.base.removeprefix("https://").split(":")
    context = ssl.create_default_context(cafile=service.dev["caFile"])
    with context.wrap_socket(socket.create_connection((host, int(port)), timeout=wait), server_hostname="localhost") as connection:
        connection.sendall(data.encode("latin1"))
        received = b""
        try:
            while part := connection.recv(65_536):
                received += part
        except (TimeoutError, ConnectionResetError):
            received += b"\nNOT CLOSED"
        return [int(s) for s in re.findall(rb"HTTP/1\.1 (\d{3})", received)], received.decode("latin1")


def head(service, method="POST", path="emails", *fields, host=True):
    lines = [f"{method} /contoso/api/data/v9.2/{path} HTTP/1.1", f"Authorization: Bearer {service.token('user')}", *fields]
    if host:
        lines.insert(1, f"Host: {service.base.removeprefix('https://')}")
    return "\r\n".join(lines) + "\r\n\r\n"


@pytest.mark.parametrize("fields, body", [
    (["Transfer-Encoding: chunked"], "-5\r\nabcde\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], "5 \r\nabcde\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], "5\r\nabcdefgh\r\n0\r\n\r\n"),
    (["Transfer-Encoding: chunked"], "0x5\r\nabcde\r\n0\r\n\r\n"),
    (["Transfer-Encoding: xchunked"], "0\r\n\r\n"),
    (["Transfer-Encoding: chunked, identity"], "0\r\n\r\n"),
    (["Content-Length: 5", "Transfer-Encoding: chunked"], "0\r\n\r\n"),
    (["Content-Length: 5", "Content-Length: 6"], "abcdef"),
    (["Content-Length: +5"], "abcde"),
    (["Content-Length: 5 5"], "abcde"),
])
def test_a_body_with_a_doubtful_end_is_refused_and_nothing_after_it_is_answered(service, fields, body):
    before = service.log()
    behind = head(service, "GET", "WhoAmI")
    codes, received = statuses(service, head(service, "POST", "emails", "Content-Type: application/json", *fields) + body + behind)
    assert codes == [400] and "UserId" not in received and "NOT CLOSED" not in received, received
    # A malformed request is not logged as an error of the server.
    assert b"request failed" not in service.log()[len(before):]


@pytest.mark.parametrize("fields", [["Host: evil.example"], ["HOST: evil.example:8443"], ["Host: evil.example", "Host: other.example"], ["Host:"], ["Host: SAME"]])
def test_a_request_for_two_hosts_is_refused(service, fields):
    fields = [field.replace("SAME", service.base.removeprefix("https://")) for field in fields]
    codes, received = statuses(service, head(service, "GET", "WhoAmI", *fields))
    assert codes == [400] and "UserId" not in received and "NOT CLOSED" not in received


def targeted(service, target, method="GET"):
    """Sends a request with another target than a path. Returns the statuses and the text of the responses."""
    text = head(service, method, "WhoAmI", "Connection: close")
    return statuses(service, text.replace(f"{method} /contoso/api/data/v9.2/WhoAmI ", f"{method} {target} "))


@pytest.mark.parametrize("target", [
    "https://evil.example/contoso/api/data/v9.2/WhoAmI", "HTTPS://evil.example/contoso/api/data/v9.2/WhoAmI", "http://evil.example/contoso/api/data/v9.2/WhoAmI",
    "https://evil.example#@SAME/contoso/api/data/v9.2/WhoAmI", "https://SAME@evil.example/contoso/api/data/v9.2/WhoAmI", "https://x@SAME/contoso/api/data/v9.2/WhoAmI",
    "https:///contoso/api/data/v9.2/WhoAmI", "ftp://SAME/contoso/api/data/v9.2/WhoAmI", "contoso/api/data/v9.2/WhoAmI", "*", "SAME",
])
def test_the_target_of_a_request_is_on_its_host(service, target):
    codes, received = targeted(service, target.replace("SAME", service.base.removeprefix("https://")))
    assert codes == [400] and "UserId" not in received and "NOT CLOSED" not in received, received


def test_a_target_with_the_host_itself_is_answered(service):
    """The control: a target with the server's own host is accepted, as clients of a proxy send it (RFC 9112 section 3.2.2)."""
    for scheme in ("https", "HTTPS"):
        codes, received = targeted(service, f"{scheme}://{service.base.removeprefix('https://')}/contoso/api/data/v9.2/WhoAmI")
        assert codes == [200] and "UserId" in received, received


@pytest.mark.parametrize("path, authority, hosts", [
    ("https://evil.example/contoso/api/data/v9.2/WhoAmI", True, []), ("https://SAME/contoso/api/data/v9.2/WhoAmI", True, []),
    ("contoso/api/data/v9.2/WhoAmI", True, []), ("*", True, []), ("/contoso/api/data/v9.2/WhoAmI", False, []),
    ("/contoso/api/data/v9.2/WhoAmI", True, ["evil.example"]), ("/contoso/api/data/v9.2/WhoAmI", True, ["SAME", "evil.example"]),
])
def test_the_path_of_http_2_is_a_path_of_its_authority(service, path, authority, hosts):
    def ask(path, has_authority, hosts=()):
        context = ssl.create_default_context(cafile=service.dev["caFile"])
        context.set_alpn_protocols(["h2"])
        same = service.base.removeprefix("https://")
        host, port = same.split(":")
        client = h2.connection.H2Connection(h2.config.H2Configuration(validate_outbound_headers=False, normalize_outbound_headers=False))
        with context.wrap_socket(socket.create_connection((host, int(port)), timeout=20), server_hostname="localhost") as connection:
            client.initiate_connection()
            fields = [(":method", "GET"), (":scheme", "https"), (":path", path.replace("SAME", same))]
            fields += [(":authority", same)] if has_authority else []
            fields += [("host", name.replace("SAME", same)) for name in hosts]
            client.send_headers(1, [*fields, ("authorization", f"Bearer {service.token('user')}")], end_stream=True)
            connection.sendall(client.data_to_send())
            status, body = None, b""
            while part := connection.recv(65_536):
                for event in client.receive_data(part):
                    if isinstance(event, h2.events.ResponseReceived):
                        status = int(dict(event.headers)[b":status"])
                    elif isinstance(event, h2.events.DataReceived):
                        body += event.data
                    elif isinstance(event, (h2.events.StreamEnded, h2.events.StreamReset, h2.events.ConnectionTerminated)):
                        return status, body
                connection.sendall(client.data_to_send())
            return status, body

    status, body = ask(path, authority, hosts)
    assert status in (400, None) and b"UserId" not in body
    # The control: the server's own host is accepted.
    for same in ([], ["SAME"]):
        status, body = ask("/contoso/api/data/v9.2/WhoAmI", True, same)
        assert status == 200 and b"UserId" in body


def test_a_request_without_a_host_is_refused(service):
    """HTTP/1.1 requires the header Host. HTTP/1.0, which some health checks use, does not require it."""
    text = head(service, "GET", "WhoAmI", "Connection: close", host=False)
    codes, received = statuses(service, text)
    assert codes == [400] and "UserId" not in received and "NOT CLOSED" not in received
    codes, received = statuses(service, text.replace("HTTP/1.1", "HTTP/1.0"))
    assert codes == [200] and "UserId" in received, received


def test_well_framed_requests_are_answered(service):
    """The control: three requests on one connection, each with another way to mark the end of its body."""
    text = '{"subject": "x"}'
    first = head(service, "POST", "emails", "Content-Type: application/json", f"Content-Length: {len(text)}") + text
    second = head(service, "POST", "emails", "Content-Type: application/json", "Transfer-Encoding: chunked") + f"{len(text):x};ext=1\r\n{text}\r\n0\r\n\r\n"
    last = head(service, "GET", "WhoAmI", "Connection: close")
    codes, received = statuses(service, first + second + last)
    assert codes == [204, 204, 200] and "UserId" in received


@pytest.mark.parametrize("body", ["-5\r\nabcde\r\n0\r\n\r\n", "0x5\r\nabcde\r\n0\r\n\r\n", "5\r\nabcdefgh\r\n0\r\n\r\n"])
def test_a_form_with_a_doubtful_end_is_refused_too(service, body):
    before = service.log()
    host = service.base.removeprefix("https://")
    lines = ["POST /contoso/sign-in HTTP/1.1", f"Host: {host}", f"Origin: {service.base}", "Content-Type: application/x-www-form-urlencoded"]
    codes, received = statuses(service, "\r\n".join([*lines, "Transfer-Encoding: chunked"]) + "\r\n\r\n" + body + head(service, "GET", "WhoAmI"))
    assert codes == [400] and "UserId" not in received and "NOT CLOSED" not in received, received
    assert b"page failed" not in service.log()[len(before):]
    # The control: the response to a complete form is a page.
    text = "name=x&password=y"
    codes, received = statuses(service, "\r\n".join([*lines, f"Content-Length: {len(text)}", "Connection: close"]) + "\r\n\r\n" + text)
    assert len(codes) == 1 and codes[0] in (401, 403, 200, 303) and "text/html" in received, received
