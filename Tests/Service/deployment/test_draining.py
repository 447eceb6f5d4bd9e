"""A server that stops still answers the requests in progress: over HTTP/1.1 and HTTP/2, on its own socket and on one of systemd."""

import contextlib
import os
import signal
import socket
import ssl
import subprocess
import time

import hpack
import psycopg
import pytest
import requests
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, PingFrame, SettingsFrame, WindowUpdateFrame
from service import PATIENCE, PROGRAM
from waiting import until


@contextlib.contextmanager
def started(server, by_systemd):
    """Starts the server as a child process that the test stops itself."""
    server.stop()
    if by_systemd:
        with socket.create_server(("127.0.0.1", server.port)) as listener:
            os.set_inheritable(listener.fileno(), True)
            script = f'export LISTEN_PID=$$ LISTEN_FDS=1 LISTEN_FDNAMES=https; exec "$0" serve --settings "$1" 3<&{listener.fileno()}'
            process = subprocess.Popen(
                ["bash", "-c", script, PROGRAM, server.settings], stdin=subprocess.DEVNULL, stdout=server.log, stderr=server.log,
                pass_fds=[listener.fileno()])
    else:
        server.start()
        process = server.process
    try:
        yield process
    finally:
        process.kill()
        process.wait()
        server.start()


#: SQL: the number of the service's statements that wait for a lock.
WAITS = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service'"


def is_ready(server):
    try:
        return requests.get(f"{server.base}/readyz", verify=server.cluster.home / "server.pem", timeout=PATIENCE).status_code == 200
    except requests.exceptions.RequestException:
        return False


def has_ended_listening(server):
    try:
        socket.create_connection(("127.0.0.1", server.port), timeout=1).close()
        return False
    except ConnectionRefusedError:
        return True


@pytest.mark.parametrize("by_systemd", [False, True], ids=["its own socket", "a socket of systemd"])
@pytest.mark.parametrize("protocol", ["1.1", "2"])
def test_requests_that_run_are_answered(server, protocol, by_systemd):
    record = server.create("mailboxes", {"name": "before"})
    with started(server, by_systemd) as process, psycopg.connect(server.cluster.superuser) as holder:
        until(lambda: is_ready(server), "the service is not ready")
        holder.execute("SELECT FROM org_contoso.mailbox WHERE mailboxid = %s FOR UPDATE", [record])
        # curl sends all three requests at once. Over HTTP/2 it uses one connection.
        address = f"{server.base}/contoso/api/data/v9.2/mailboxes({record})"
        curl = subprocess.Popen(
            ["curl", "--silent", "--parallel", f"--http{protocol}", "--cacert", server.cluster.home / "server.pem", "--request", "PATCH",
             "--header", f"Authorization: Bearer {server.token}", "--json", '{"name": "after"}', "--write-out", "%{http_code} %{http_version}\n",
             *[address] * 3], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
        try:
            until(lambda: server.cluster.sql(WAITS) == [(3,)], "the requests do not wait")
            process.send_signal(signal.SIGTERM)
            if not by_systemd:
                until(lambda: has_ended_listening(server), "the service still listens")
            holder.rollback()
            assert curl.communicate(timeout=PATIENCE)[0].splitlines() == [f"204 {protocol}"] * 3 and curl.returncode == 0
        finally:
            curl.kill()
            curl.wait()
        assert process.wait(PATIENCE) == 0


class SlowReader:
    """An HTTP/2 client that reads only when the test calls read(). (The library h2 rejects frames after GOAWAY, so this class parses frames
    itself.)"""

    def __init__(self, server):
        context = ssl.create_default_context(cafile=server.cluster.home / "server.pem")
        context.set_alpn_protocols(["h2"])
        raw = socket.socket()
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        raw.settimeout(PATIENCE)
        raw.connect(("127.0.0.1", server.port))
        self.socket = context.wrap_socket(raw, server_hostname="localhost")
        self.server, self.decoder = server, hpack.Decoder()
        self.received, self.status, self.length, self.has_ended, self.goes_away = b"", None, 0, False, False
        self.socket.sendall(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
        self.send(SettingsFrame(0, settings={SettingsFrame.INITIAL_WINDOW_SIZE: 1 << 24}), WindowUpdateFrame(0, window_increment=1 << 24))

    def send(self, *frames):
        self.socket.sendall(b"".join(frame.serialize() for frame in frames))

    def ask(self, path):
        head = {":method": "GET", ":path": path, ":scheme": "https", ":authority": f"localhost:{self.server.port}",
                "authorization": f"Bearer {self.server.token}"}
        self.send(HeadersFrame(1, data=hpack.Encoder().encode(head), flags=["END_HEADERS", "END_STREAM"]))

    def read(self):
        """Reads what has arrived. Returns False at the end of the connection."""
        data = self.socket.recv(4096)
        self.received += data
        while len(self.received) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self.received)[:9])
            if len(self.received) < 9 + length:
                break
            frame.parse_body(memoryview(self.received)[9:9 + length])
            self.received = self.received[9 + length:]
            self.take(frame)
        return bool(data)

    def take(self, frame):
        if isinstance(frame, PingFrame) and "ACK" not in frame.flags:
            self.send(PingFrame(0, opaque_data=frame.opaque_data, flags=["ACK"]))
        elif isinstance(frame, HeadersFrame):
            self.status = dict(self.decoder.decode(frame.data))[":status"]
        elif isinstance(frame, DataFrame):
            self.length += len(frame.data)
        self.goes_away |= isinstance(frame, GoAwayFrame)
        self.has_ended |= frame.stream_id == 1 and "END_STREAM" in frame.flags


def test_a_client_that_reads_slowly_gets_the_whole_answer(server):
    for number in range(400):
        server.create("queues", {"name": f"slow-{number}", "description": "x" * 2000})
    with started(server, False) as process, psycopg.connect(server.cluster.superuser) as holder:
        client = SlowReader(server)
        # The request waits for this lock until the server has sent GOAWAY.
        holder.execute("LOCK TABLE org_contoso.queue")
        client.ask("/contoso/api/data/v9.2/queues?$select=name,description")
        until(lambda: server.cluster.sql(WAITS) == [(1,)], "the request does not wait")
        process.send_signal(signal.SIGTERM)
        until(lambda: client.read() and client.goes_away, "the server does not say that it goes away")
        holder.rollback()
        # Reads slowly for longer than TLS waits for the end of a connection.
        began = time.monotonic()
        while not client.has_ended and client.read():
            if time.monotonic() - began < 8:
                time.sleep(0.1)
        assert (client.status, client.has_ended) == ("200", True) and client.length > 400 * 2000
        client.socket.close()
        assert process.wait(PATIENCE) == 0
