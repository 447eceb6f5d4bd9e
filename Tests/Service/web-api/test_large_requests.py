"""The memory for large request bodies is limited for each client and for all clients. A request beyond the limit is refused with Retry-After."""

import re
import select
import socket
import ssl
import time
import urllib.parse

import pytest
from service import PATIENCE, Deployment
from soap import address

MIB = 1 << 20
LARGE = 16 * MIB
CHANGES = "Content-Type: multipart/mixed; boundary=b"
SOAP = "Content-Type: text/xml; charset=utf-8"


@pytest.fixture(scope="module")
def deployment():
    """A deployment of this module's own, because large requests would use up what other tests need."""
    with Deployment.made(FIELDSEAL_LIMITS_BODY_SECONDS="3600") as deployment:
        yield deployment


class Upload:
    """A request whose head is sent at once. The test sends the body later."""

    def __init__(self, service, url, header, framing, client="admin"):
        parts = urllib.parse.urlsplit(url)
        context = ssl.create_default_context(cafile=service.dev["caFile"])
        self.socket = context.wrap_socket(
            socket.create_connection((parts.hostname, parts.port), timeout=120), server_hostname=parts.hostname)
        self.send(
            f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nAuthorization: Bearer {service.token(client)}\r\n{header}\r\n"
            f"Expect: 100-continue\r\n{framing}\r\n\r\n".encode())

    def send(self, data):
        self.socket.sendall(data)

    def head(self):
        """Reads the head of the next response. Returns it in lower case."""
        received = b""
        while b"\r\n\r\n" not in received:
            data = self.socket.recv(1)
            assert data, received
            received += data
        return received.decode().lower()

    def close(self):
        self.socket.close()


def batch(service, client="admin", framing=f"Content-Length: {LARGE}"):
    return Upload(service, f"{service.api}/$batch", CHANGES, framing, client)


def held(upload):
    """Whether the service responds with 100 Continue. It does so before it checks the limits."""
    return upload.head().startswith("http/1.1 100")


def status(upload):
    return int(re.match(r"http/1.1 (\d+)", upload.head())[1])


def answered(uploads):
    """The first of the uploads that gets a response, although no body was sent."""
    while True:
        for upload in uploads:
            if upload.socket.pending() or select.select([upload.socket], [], [], 0.05)[0]:
                return upload


def filled(service):
    """Uploads that use all memory that one client may use, and the head of the response to one more upload."""
    uploads = [batch(service) for _ in range(4)]
    assert all(map(held, uploads))
    refused = answered(uploads)
    head = refused.head()
    refused.close()
    return [upload for upload in uploads if upload is not refused], head


def completed(upload):
    """Sends the body of an accepted upload. Returns the status of the response."""
    upload.send(b"-" * LARGE)
    code = status(upload)
    upload.close()
    return code


def test_large_bodies_are_bounded_in_sum(deployment):
    uploads, head = filled(deployment)
    assert head.startswith("http/1.1 503") and "retry-after: 2" in head
    # The client's small requests are served, and so are large requests of other clients.
    assert deployment.get("WhoAmI").status_code == 200
    other = batch(deployment, "router")
    assert held(other) and completed(other) == 400
    # Requests over SOAP count against the same limit.
    soap = Upload(deployment, address(deployment), SOAP, f"Content-Length: {LARGE}")
    assert held(soap)
    head = soap.head()
    assert head.startswith("http/1.1 500") and "retry-after: 2" in head
    soap.close()
    # The accepted uploads get their responses. After that, their memory is free for another one.
    assert [completed(upload) for upload in uploads] == [400, 400, 400]
    again = batch(deployment)
    assert held(again) and completed(again) == 400


def test_large_bodies_of_all_clients_are_bounded_in_sum(deployment):
    """Each client uses less than its own limit. Together they exceed the limit of all clients."""
    uploads = [batch(deployment, client) for client in ("admin", "router", "user") for _ in range(3)]
    assert all(map(held, uploads))
    refused = answered(uploads)
    head = refused.head()
    refused.close()
    assert head.startswith("http/1.1 503") and "retry-after: 2" in head
    assert deployment.get("WhoAmI").status_code == 200
    assert {completed(upload) for upload in uploads if upload is not refused} == {400}
    again = batch(deployment, "user")
    assert held(again) and completed(again) == 400


def test_a_body_without_a_length_is_counted_as_it_arrives(deployment):
    def send():
        upload = batch(deployment, framing="Transfer-Encoding: chunked")
        assert held(upload)
        for _ in range(2):
            upload.send(f"{MIB:x}\r\n".encode() + b"-" * MIB + b"\r\n")
        upload.send(b"0\r\n\r\n")
        head = upload.head()
        upload.close()
        return head

    uploads, _ = filled(deployment)
    head = send()
    assert head.startswith("http/1.1 503") and "retry-after: 2" in head
    # When the clients disconnect, the memory of their uploads becomes free.
    for upload in uploads:
        upload.close()
    deadline = time.monotonic() + PATIENCE
    while (head := send()).startswith("http/1.1 503"):
        assert time.monotonic() < deadline
    assert head.startswith("http/1.1 400")
