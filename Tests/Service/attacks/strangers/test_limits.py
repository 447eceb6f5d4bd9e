"""Limits before authentication: on connections, handshakes, HTTP/2 without requests, and readiness checks. Files on a file system that hangs block no
other request."""

import concurrent.futures
import os
import select
import socket
import ssl
import struct
import time

import httpx
import psycopg
import pytest
import requests
from service import PATIENCE, Deployment

#: In the deployment of these tests: the most connections of one address, and of all addresses together.
SHARE, CONNECTIONS = 16, 60


@pytest.fixture(scope="module")
def small():
    deployment = Deployment(
        FIELDSEAL_LIMITS_HEAD_SECONDS="3", FIELDSEAL_LIMITS_IDLE_SECONDS="3", FIELDSEAL_LIMITS_CONNECTIONS=str(CONNECTIONS),
        FIELDSEAL_LIMITS_ADDRESS_CONNECTIONS=str(SHARE))
    try:
        yield deployment.start()
    finally:
        deployment.remove()


def port(deployment):
    return int(deployment.base.rsplit(":", 1)[1])


def connect(deployment, source="127.0.0.2"):
    return socket.create_connection(("127.0.0.1", port(deployment)), timeout=PATIENCE, source_address=(source, 0))


def tls(deployment, source="127.0.0.2", protocols=()):
    context = ssl.create_default_context(cafile=deployment.dev["caFile"])
    if protocols:
        context.set_alpn_protocols(list(protocols))
    return context.wrap_socket(connect(deployment, source), server_hostname="localhost")


def is_closed(connection):
    """Whether the server has closed the connection. The function does not wait for that."""
    if not select.select([connection], [], [], 0)[0]:
        return False
    try:
        return connection.recv(65536) == b""
    except ConnectionResetError:
        return True


def until_closed(connections, seconds=PATIENCE):
    """Waits until the server has closed all of the connections. Returns the seconds that this took."""
    begin, waiting = time.monotonic(), list(connections)
    while waiting:
        left = begin + seconds - time.monotonic()
        assert left > 0, f"{len(waiting)} connections are still open after {seconds} s"
        select.select(waiting, [], [], left)
        waiting = [c for c in waiting if not is_closed(c)]
    return time.monotonic() - begin


def close(connections):
    for connection in connections:
        connection.close()


def healthy(deployment, timeout=20):
    return requests.get(f"{deployment.base}/healthz", verify=deployment.dev["caFile"], timeout=timeout).status_code == 200


@pytest.mark.alone
def test_a_thousand_silent_connections_of_one_address_leave_others_served(small):
    connections = []
    try:
        for number in range(1_000):
            connections.append(connect(small))
            if number % 250 == 0:
                assert healthy(small)
        # The server closes connections beyond the limit of one address at once, and the others at the deadline of the handshake.
        until_closed(connections)
        assert healthy(small)
    finally:
        close(connections)
    # After the connections are closed, the server accepts new ones from this address.
    deadline = time.monotonic() + PATIENCE
    while not served(small):
        assert time.monotonic() < deadline, "the address is refused although its connections are closed"


def served(deployment):
    """Whether the server accepts a connection from the address of the closed connections and responds."""
    try:
        with tls(deployment) as connection:
            connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
            return connection.recv(12) == b"HTTP/1.1 200"
    except (ssl.SSLError, ConnectionError):
        return False


def test_an_address_has_its_share_and_keeps_what_is_served(small):
    begun = tls(small, "127.0.0.3")
    others = [tls(small, "127.0.0.3") for _ in range(SHARE - 1)]
    try:
        with pytest.raises((ssl.SSLError, ConnectionError)):
            tls(small, "127.0.0.3")
        # The control: another address gets a connection, and a connection that was open before still works.
        with tls(small, "127.0.0.4") as other:
            for connection in (other, begun):
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(12) == b"HTTP/1.1 200"
    finally:
        close([begun, *others])


@pytest.mark.alone
def test_all_connections_taken_by_many_addresses_come_back_by_themselves(small):
    connections = []
    try:
        for number in range(CONNECTIONS // SHARE + 1):
            connections += [connect(small, f"127.0.1.{number + 1}") for _ in range(SHARE)]
        # All connections are in use. A new one waits until the deadline closes earlier ones.
        assert healthy(small, timeout=60)
    finally:
        close(connections)


CLIENT_HELLO_BEGUN = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03"


@pytest.mark.parametrize("attack", ["half", "trickled", "no TLS"])
def test_a_handshake_that_does_not_end_is_closed(small, attack):
    with connect(small) as connection:
        begin = time.monotonic()
        if attack == "no TLS":
            connection.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        elif attack == "half":
            connection.sendall(CLIENT_HELLO_BEGUN)
        else:
            hello = CLIENT_HELLO_BEGUN + bytes(500)
            # With one byte every 0.2 seconds, the handshake would take more than a minute.
            for byte in hello:
                try:
                    connection.sendall(bytes([byte]))
                except ConnectionError:
                    break
                if select.select([connection], [], [], 0.2)[0]:
                    break
        until_closed([connection])
        assert time.monotonic() - begin < 25


def test_a_handshake_in_two_parts_within_the_deadline_is_served(small):
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = ssl.create_default_context(cafile=small.dev["caFile"]).wrap_bio(incoming, outgoing, server_hostname="localhost")
    with connect(small) as connection:
        with pytest.raises(ssl.SSLWantReadError):
            client.do_handshake()
        hello = outgoing.read()
        connection.sendall(hello[:20])
        assert not select.select([connection], [], [], 0.5)[0]
        connection.sendall(hello[20:])
        while True:
            try:
                client.do_handshake()
                break
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))
        client.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        connection.sendall(outgoing.read())
        answer = b""
        while b"200" not in answer:
            incoming.write(connection.recv(65536))
            try:
                answer += client.read(65536)
            except ssl.SSLWantReadError:
                continue


def frame(kind, flags=0, stream=0, payload=b""):
    return struct.pack(">I", len(payload))[1:] + bytes([kind, flags]) + struct.pack(">I", stream) + payload


PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + frame(4)


@pytest.mark.parametrize("attack", ["silent", "pings", "headers without an end"])
def test_http_2_without_a_request_holds_no_connection(small, attack):
    with tls(small, protocols=["h2"]) as connection:
        assert connection.selected_alpn_protocol() == "h2"
        connection.sendall(PREFACE)
        if attack == "headers without an end":
            connection.sendall(frame(1, stream=1, payload=b"\x82"))
        begin = time.monotonic()
        connection.settimeout(1)
        while time.monotonic() - begin < 40:
            try:
                if attack == "pings":
                    connection.sendall(frame(6, payload=bytes(8)))
                # The test reads frames of the server, but acknowledges none.
                if connection.recv(65536) == b"":
                    return
            except TimeoutError:
                continue
            except (ConnectionError, ssl.SSLError):
                return
    raise AssertionError("the connection is still open")


def errors_told(data):
    """The error codes of the GOAWAY frames in the bytes that a server sent."""
    codes = []
    while len(data) >= 9:
        length, kind = int.from_bytes(data[:3], "big"), data[3]
        if kind == 7:
            codes.append(int.from_bytes(data[13:17], "big"))
        data = data[9 + length:]
    return [code for code in codes if code]


@pytest.mark.parametrize("attack", ["pings", "settings", "resets"])
def test_floods_of_frames_end_their_connection_alone(small, attack):
    received = b""
    with tls(small, protocols=["h2"]) as connection:
        connection.sendall(PREFACE)
        head = b"\x82\x84\x87\x41\x09localhost"
        try:
            for number in range(5_000):
                stream = 2 * number + 1
                connection.sendall({
                    "pings": frame(6, payload=bytes(8)) * 10, "settings": frame(4) * 10,
                    "resets": frame(1, 5, stream, head) + frame(3, 0, stream, b"\0\0\0\x08")}[attack])
                while select.select([connection], [], [], 0)[0]:
                    chunk = connection.recv(65536)
                    if chunk == b"":
                        raise ConnectionError
                    received += chunk
            while chunk := connection.recv(65536):
                received += chunk
        except (ConnectionError, ssl.SSLError):
            # The server closed the connection before the test had sent all frames, or sent an error.
            assert number < 4_999 or errors_told(received)
        else:
            assert errors_told(received)
    assert healthy(small)


def test_an_http_2_connection_with_pauses_is_served(small):
    context = ssl.create_default_context(cafile=small.dev["caFile"])
    with httpx.Client(http2=True, verify=context) as client:
        for _ in range(2):
            response = client.get(f"{small.base}/healthz")
            assert response.status_code == 200 and response.http_version == "HTTP/2"


def test_a_response_that_is_not_read_is_given_up(small):
    small.sql(
        "INSERT INTO org_contoso.email (activityid, subject, description) SELECT gen_random_uuid(), 'unread', repeat('x', 8000) "
        "FROM generate_series(1, 4000)")
    raw = socket.socket()
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    raw.bind(("127.0.0.5", 0))
    raw.connect(("127.0.0.1", port(small)))
    raw_port = raw.getsockname()[1]
    context = ssl.create_default_context(cafile=small.dev["caFile"])
    path = "/contoso/api/data/v9.2/emails?$select=description&$filter=subject%20eq%20'unread'"
    try:
        with context.wrap_socket(raw, server_hostname="localhost") as connection:
            connection.sendall(
                f"GET {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {small.token()}\r\n\r\n".encode())
            until_given_up(port(small), raw_port)
        # The control: a client that reads gets the whole response.
        response = requests.get(
            small.base + path, headers={"Authorization": f"Bearer {small.token()}"}, verify=small.dev["caFile"], timeout=PATIENCE)
        assert response.status_code == 200 and len(response.json()["value"]) == 4_000
    finally:
        small.sql("DELETE FROM org_contoso.email WHERE subject = 'unread'")


def until_given_up(server, client, seconds=PATIENCE):
    """Waits until the server has closed its side of a connection whose client does not read."""
    end = time.monotonic() + seconds
    ends = (f":{server:04X}", f":{client:04X}")
    while time.monotonic() < end:
        rows = [line.split() for name in ("tcp", "tcp6") for line in open(f"/proc/net/{name}").readlines()[1:]]
        # 01 is the state ESTABLISHED.
        if not any(row[1].endswith(ends[0]) and row[2].endswith(ends[1]) and row[3] == "01" for row in rows):
            return
        select.select([], [], [], 0.1)
    raise AssertionError("the connection is still open")


def test_readiness_is_checked_once_for_all_who_ask(small):
    def ask(_):
        return requests.get(f"{small.base}/readyz", verify=small.dev["caFile"], timeout=30).status_code

    with psycopg.connect(small.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(6) as pool:
        holder.execute("LOCK TABLE config.migration IN ACCESS EXCLUSIVE MODE")
        asked = [pool.submit(ask, number) for number in range(6)]
        waiting = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%config.migration%' AND pid <> pg_backend_pid()"
        while small.sql(waiting)[0][0] == 0:
            assert not all(future.done() for future in asked)
        # All readiness checks share one statement. A health check starts no further statement.
        assert small.sql(waiting) == [(1,)]
        assert healthy(small) and small.sql(waiting) == [(1,)]
        holder.rollback()
        assert {future.result() for future in asked} == {200}


@pytest.mark.alone
def test_a_copy_of_the_key_encryption_key_on_a_file_system_that_hangs():
    deployment = Deployment()
    pipe = deployment.home / "copy"
    os.mkfifo(pipe, 0o600)
    deployment.environment["FIELDSEAL_KEK_COPY_FILE"] = str(pipe)
    try:
        deployment.start()
        pages, session = f"{deployment.base}/contoso", requests.Session()
        session.verify, session.trust_env = deployment.dev["caFile"], False
        person = deployment.dev["console"]
        answer = session.post(
            f"{pages}/sign-in", {"name": person["username"], "password": person["password"]},
            headers={"Origin": deployment.base}, allow_redirects=False, timeout=PATIENCE)
        assert answer.status_code == 303
        with concurrent.futures.ThreadPoolExecutor(8) as pool:
            views = [pool.submit(session.get, f"{pages}/overview", timeout=PATIENCE) for _ in range(8)]
            # If an event loop waited for the file, the server would serve no request.
            for _ in range(20):
                assert healthy(deployment)
            assert {view.result().status_code for view in views} == {200}
            assert all(str(pipe) in view.result().text for view in views)
    finally:
        deployment.remove()
