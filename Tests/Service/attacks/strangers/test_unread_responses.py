"""Clients that do not read their responses: over HTTP/2 with a window of zero, and over HTTP/1.1 with a small buffer."""

import contextlib
import json
import select
import socket
import ssl
import time

import h2.config
import h2.connection
import h2.events
import h2.settings
import pytest
from service import PATIENCE, Deployment, refused

LENGTH = 4_000_000
#: How many bytes of unread responses one client, or one network without a client, may have.
CLIENT_LIMIT = 64 << 20
#: The most by which the server's memory may grow in a test, in bytes. While a response is made and sent, it is in memory more than once.
GROWTH = 3 * CLIENT_LIMIT
#: The address of a trusted proxy.
PROXY = "127.0.0.8"
WSDL = "/contoso/XRMServices/2011/Organization.svc?wsdl"


@pytest.fixture(scope="module")
def service():
    with Deployment.made(FIELDSEAL_TRUSTED_PROXIES=PROXY) as deployment:
        deployment.email = deployment.create("emails", {"subject": "long", "description": "x" * LENGTH}, client="user")
        deployment.long = f"/contoso/api/data/v9.2/emails({deployment.email})?$select=description"
        yield deployment


def memory(service):
    [line] = [line for line in open(f"/proc/{service.process.pid}/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


class Client:
    """An HTTP/2 connection that reads no body of a response before `open` is called for its stream."""

    def __init__(self, service, source="127.0.0.1"):
        context = ssl.create_default_context(cafile=service.dev["caFile"])
        context.set_alpn_protocols(["h2"])
        raw = socket.create_connection(("127.0.0.1", int(service.base.rsplit(":", 1)[1])), timeout=PATIENCE, source_address=(source, 0))
        self.connection = context.wrap_socket(raw, server_hostname="localhost")
        self.connection.settimeout(0.2)
        self.authority = service.base.removeprefix("https://")
        self.h2 = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True, header_encoding="utf-8"))
        self.h2.initiate_connection()
        self.h2.update_settings({h2.settings.SettingCodes.INITIAL_WINDOW_SIZE: 0})
        self.answers, self.bodies, self.ended = {}, {}, set()
        self.flush()

    def flush(self):
        self.connection.sendall(self.h2.data_to_send())

    def get(self, path, token=None, method="GET", body=b"", **headers):
        stream = self.h2.get_next_available_stream_id()
        fields = [(":method", method), (":path", path), (":scheme", "https"), (":authority", self.authority)]
        fields += [("authorization", f"Bearer {token}")] if token else []
        fields += [(name.replace("_", "-"), value) for name, value in headers.items()]
        self.h2.send_headers(stream, fields, end_stream=not body)
        if body:
            self.h2.send_data(stream, body, end_stream=True)
        self.flush()
        return stream

    def receive(self, seconds=0.2):
        if not select.select([self.connection], [], [], seconds)[0] and not self.connection.pending():
            return
        with contextlib.suppress(TimeoutError, ssl.SSLWantReadError):
            for event in self.h2.receive_data(self.connection.recv(1 << 20)):
                if isinstance(event, h2.events.ResponseReceived):
                    self.answers[event.stream_id] = dict(event.headers)
                elif isinstance(event, h2.events.DataReceived):
                    self.bodies[event.stream_id] = self.bodies.get(event.stream_id, b"") + event.data
                    self.h2.acknowledge_received_data(event.flow_controlled_length, event.stream_id)
                elif isinstance(event, h2.events.StreamEnded):
                    self.ended.add(event.stream_id)
            self.flush()

    def answered(self, streams):
        """Waits until each of the streams has a response. Returns the statuses."""
        end = time.monotonic() + PATIENCE
        while not all(stream in self.answers for stream in streams):
            assert time.monotonic() < end, "not all were answered"
            self.receive()
        return [int(self.answers[stream][":status"]) for stream in streams]

    def open(self, stream):
        """Reads the body of a response that was left unread."""
        self.h2.increment_flow_control_window(1 << 24, stream)
        self.h2.increment_flow_control_window(1 << 24)
        self.flush()
        end = time.monotonic() + PATIENCE
        while stream not in self.ended:
            assert time.monotonic() < end, "the response does not end"
            self.receive()
        return self.bodies[stream]


@contextlib.contextmanager
def clients(service, count, source="127.0.0.1"):
    opened = []
    try:
        opened += [Client(service, source) for _ in range(count)]
        yield opened
    finally:
        for client in opened:
            client.connection.close()


def unread(service, path, connections, streams, token=None):
    """Sends requests without reading the bodies of the responses. Returns by how many bytes the server's memory grew, and the responses' headers."""
    before = memory(service)
    with clients(service, connections) as opened:
        heads = []
        for client in opened:
            asked = [client.get(path, token) for _ in range(streams)]
            client.answered(asked)
            heads += [client.answers[stream] for stream in asked]
        return memory(service) - before, heads


def settled(service, path, token):
    """Waits until the server no longer counts the closed connections. Returns the response to a request that then succeeds."""
    end = time.monotonic() + PATIENCE
    while (response := service.get(service.base + path, token=token)).status_code != 200:
        assert time.monotonic() < end, response.text
    return response


def test_a_stranger_does_not_fill_the_memory(service):
    grown, heads = unread(service, WSDL, 10, 99)
    statuses = [head[":status"] for head in heads]
    assert grown < GROWTH and set(statuses) == {"200", "429"}, (grown, set(statuses))
    assert statuses.count("200") * 80_000 < CLIENT_LIMIT
    assert all(int(head["retry-after"]) > 0 for head in heads if head[":status"] == "429")
    settled(service, WSDL, "")


@pytest.mark.parametrize("path", ["/assets/console.js", "/contoso/sign-in", "/XRMServices/2011/Discovery.svc?wsdl", "/contoso/v2.0/.well-known/openid-configuration"])
def test_documents_without_an_account_are_counted_for_their_network(service, path):
    with clients(service, 3) as opened:
        statuses = []
        for client in opened:
            statuses += client.answered([client.get(path) for _ in range(60)])
        assert statuses.count(429) >= 180 - 125 and statuses.count(200) > 0, statuses
        # At the same time, a client in another network gets its response.
        with clients(service, 1, "127.0.0.9") as [other]:
            assert other.answered([other.get(path)]) == [200]
    settled(service, path, "")


def test_a_client_does_not_fill_the_memory(service):
    token = service.token("user")
    before = memory(service)
    with clients(service, 4) as opened:
        statuses = []
        for client in opened:
            statuses += client.answered([client.get(service.long, token) for _ in range(40)])
        grown = memory(service) - before
        assert grown < GROWTH and set(statuses) == {200, 429}, (grown, statuses)
        assert 10 <= statuses.count(200) <= CLIENT_LIMIT // LENGTH
        # The client gets no further response of that size, over the Web API or SOAP. Other clients get theirs.
        refused(service.get(service.base + service.long, client="user"), 429, "0x80072326")
        assert service.get("emails?$select=subject", client="admin").status_code == 200
        fault = retrieved_by_soap(service, "user")
        assert fault.status_code in (429, 500, 503) and int(fault.headers["Retry-After"]) > 0, fault.text[:300]
    settled(service, service.long, token)


def retrieved_by_soap(service, client):
    contracts = "http://schemas.microsoft.com/xrm/2011/Contracts"
    body = (
        f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body><Retrieve xmlns="{contracts}/Services">'
        f'<entityName>email</entityName><id>{service.email}</id><columnSet xmlns:a="{contracts}"><a:AllColumns>true</a:AllColumns></columnSet>'
        "</Retrieve></s:Body></s:Envelope>")
    return service.request(
        "POST", f"{service.base}/contoso/XRMServices/2011/Organization.svc/web", body.encode(), client=client, Content_Type="text/xml",
        SOAPAction=f"{contracts}/Services/IOrganizationService/Retrieve")


def test_what_was_changed_is_answered_although_responses_wait(service):
    """If there is no room for a record in the response to a write, the response has no record. The write itself is never reported as refused."""
    token = service.token("user")
    with clients(service, 1) as [client]:
        asked = [client.get(service.long, token) for _ in range(15)]
        assert client.answered(asked) == [200] * 15
        body = json.dumps({"subject": "changed"}).encode()
        asked = [
            client.get(f"/contoso/api/data/v9.2/emails({service.email})", token, "PATCH", body, content_type="application/json",
                       prefer="return=representation") for _ in range(60)]
        statuses = client.answered(asked)
        # Each write that was begun is done. The response contains the record only if there is room.
        assert set(statuses) <= {200, 204, 429} and statuses.count(200) <= 2, statuses
        assert client.answered([client.get(service.long, token)]) == [429]
    settled(service, service.long, token)
    assert service.get(f"emails({service.email})?$select=subject", client="user").json()["subject"] == "changed"


def test_the_reads_of_a_batch_are_counted_as_they_are_made(service):
    token = service.token("user")
    part = f"--b\r\nContent-Type: application/http\r\n\r\nGET {service.long} HTTP/1.1\r\n\r\n\r\n"
    body = (part * 8 + "--b--\r\n").encode()
    headers = {"content_type": "multipart/mixed; boundary=b", "prefer": "odata.continue-on-error"}
    before = memory(service)
    with clients(service, 5) as opened:
        asked = [client.get("/contoso/api/data/v9.2/$batch", token, "POST", body, **headers) for client in opened]
        statuses = [client.answered([stream])[0] for client, stream in zip(opened, asked)]
        assert memory(service) - before < 2 * GROWTH
        assert set(statuses) <= {200, 429}, statuses
        answers = [client.open(stream).decode() for client, stream in zip(opened, asked)]
        whole = sum(answer.count("HTTP/1.1 200") for answer in answers)
        assert 8 <= whole <= CLIENT_LIMIT // LENGTH and any("HTTP/1.1 429" in answer or "0x80072326" in answer for answer in answers)
    settled(service, service.long, token)


def connected(address, source="127.0.0.1"):
    """A connection with a small buffer to the port of an address."""
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.settimeout(PATIENCE)
    raw.bind((source, 0))
    raw.connect(("127.0.0.1", int(address.rsplit(":", 1)[1])))
    return raw


def request(service, **headers):
    headers = {"Host": service.base.removeprefix("https://"), "Authorization": f"Bearer {service.token('user')}", **headers}
    return "\r\n".join([f"GET {service.long} HTTP/1.1", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items()), "", ""]).encode()


def statuses_of(connections, content, ending=None):
    """Sends a request on each connection, and reads nothing but the status of the response. Then calls `ending` with the connection."""
    statuses = []
    for connection in connections:
        connection.sendall(content)
        statuses.append(int(connection.recv(12).split()[1]))
        if ending:
            ending(connection)
    return statuses


def received(connection):
    """Reads a connection until a whole response was read or the server ends the connection. Returns the number of bytes."""
    count = 0
    while count < LENGTH and (part := connection.recv(65_536)):
        count += len(part)
    return count


def end_sending(connection):
    """Closes the sending side of a connection over TCP. Responses can still be read, also with TLS."""
    socket.socket.shutdown(connection, socket.SHUT_WR)


def test_http_1_is_counted_alike(service):
    context = ssl.create_default_context(cafile=service.dev["caFile"])
    content, before = request(service), memory(service)
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(context.wrap_socket(connected(service.base), server_hostname="localhost")) for _ in range(40)]
        statuses = statuses_of(opened, content)
        assert set(statuses) == {200, 429} and statuses.count(200) <= CLIENT_LIMIT // LENGTH + 2, statuses
        assert memory(service) - before < GROWTH
        # The control: a slow reader gets the whole response.
        assert received(opened[0]) >= LENGTH
    settled(service, service.long, service.token("user"))


@pytest.mark.parametrize("place", ["with TLS", "behind a proxy"])
def test_a_client_that_has_closed_its_sending_side_leaves_no_response_in_memory(service, place):
    """The service ends such a connection and drops the rest of the response, so the client's further requests get theirs."""
    context, before, token = ssl.create_default_context(cafile=service.dev["caFile"]), memory(service), service.token("user")
    forwarded = {"X_Forwarded_Proto": "https", "X_Forwarded_For": "192.0.2.7"} if place == "behind a proxy" else {}
    with contextlib.ExitStack() as stack:
        opened = [connected(service.dev["httpURL"] if forwarded else service.base, PROXY if forwarded else "127.0.0.1") for _ in range(24)]
        opened = [stack.enter_context(raw if forwarded else context.wrap_socket(raw, server_hostname="localhost")) for raw in opened]

        def end(connection):
            end_sending(connection)
            settled(service, service.long, token)

        assert statuses_of(opened, request(service, **forwarded), end) == [200] * 24
        assert memory(service) - before < GROWTH
        # The client gets what the operating system had already buffered, and then the end of the connection.
        assert [0 < received(connection) < LENGTH for connection in opened] == [True] * 24


def test_a_slow_reader_gets_its_responses(service):
    """The control: a client that reads its responses late gets all of them."""
    token = service.token("user")
    with clients(service, 1) as [client]:
        asked = [client.get(service.long, token) for _ in range(10)]
        assert client.answered(asked) == [200] * 10
        for stream in asked:
            assert len(json.loads(client.open(stream))["description"]) == LENGTH
        # Responses that were read no longer count.
        asked = [client.get(service.long, token) for _ in range(10)]
        assert client.answered(asked) == [200] * 10
    settled(service, service.long, token)


def test_a_reader_at_a_usual_pace_is_never_refused(service):
    """The control: 60 large responses in a row, each read at once."""
    for _ in range(60):
        assert service.get(service.base + service.long, client="user").status_code == 200
        assert service.get(service.base + WSDL, token="").status_code == 200
