"""The unix socket for a proxy on the same machine, sockets of systemd, traces of requests, the log of requests, and settings with units of time."""

import fcntl
import http.client
import json
import os
import socket
import stat
import subprocess
import threading

import httpx
import pytest
import requests
from cluster import Cluster
from server import Server
from service import PATIENCE, PROGRAM
from waiting import until


def log(server):
    return [json.loads(line) for line in (server.cluster.home / f"serve-{server.port}.log").read_text().splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def server():
    cluster = Cluster()
    server = None
    try:
        (cluster.home / "direct.yaml").open("a").write(f"socket: {json.dumps({'path': str(cluster.home / 'api.sock')})}\n")
        server = Server(cluster)
        until(lambda: [line for line in log(server) if line.get("scheme") == "unix"], "the socket")
        yield server
    finally:
        if server:
            server.stop()
        cluster.remove()


class UnixConnection(http.client.HTTPConnection):
    def __init__(self, path):
        super().__init__("localhost", timeout=PATIENCE)
        self.path = path

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(PATIENCE)
        self.sock.connect(str(self.path))


def ask(server, path="/contoso/api/data/v9.2/WhoAmI", method="GET", proto=("https",), **headers):
    connection = UnixConnection(server.cluster.home / "api.sock")
    connection.putrequest(method, path, skip_host=True)
    connection.putheader("Host", server.base.removeprefix("https://"))
    for value in proto:
        connection.putheader("X-Forwarded-Proto", value)
    for name, value in headers.items():
        connection.putheader(name.replace("_", "-"), value)
    connection.endheaders()
    response = connection.getresponse()
    return response, response.read()


def is_up(server):
    try:
        return ask(server, "/healthz")[0].status == 200
    except OSError:
        return False


def test_a_proxy_on_the_machine_is_served_through_the_socket(server):
    path = server.cluster.home / "api.sock"
    assert stat.S_ISSOCK(os.stat(path).st_mode) and stat.S_IMODE(os.stat(path).st_mode) == 0o660
    response, body = ask(server, Authorization=f"Bearer {server.token}", X_Forwarded_For="198.51.100.9, 203.0.113.7")
    assert response.status == 200 and json.loads(body)["UserId"]
    # The proxy adds the client's address at the end. A client can forge the addresses before it.
    assert until(lambda: [line for line in log(server) if line.get("address") == "203.0.113.7"], "the client's address")
    assert ask(server, "/contoso/sign-in")[0].status == 200


def test_without_the_proxys_word_nothing_is_served_through_the_socket(server):
    for proto in ((), ("http",), ("https", "https"), ("https, http",)):
        response, body = ask(server, proto=proto)
        assert response.status == 403 and b"0x8004852C" in body
    # The token was sent without encryption, so from then on the service refuses it.
    fresh = server.sign_in().json()["access_token"]
    assert ask(server, proto=(), Authorization=f"Bearer {fresh}")[0].status == 403
    assert ask(server, Authorization=f"Bearer {fresh}")[0].status == 401


def test_a_socket_that_a_dead_server_left_is_replaced(server):
    path = server.cluster.home / "api.sock"
    # A second server does not take over the socket of a running server.
    second = server.cluster.home / "second.yaml"
    second.write_text(server.settings.read_text().replace(f'"port": {server.port}', '"port": 0'))
    refused = server.cluster.run("serve", "--settings", str(second), settings=None, check=False)
    assert refused.returncode == 1 and "another program listens on" in refused.stderr
    assert ask(server, Authorization=f"Bearer {server.token}")[0].status == 200
    server.process.kill()
    server.process.wait(60)
    assert path.exists()
    server.start()
    until(lambda: is_up(server), "the socket")
    server.stop()
    assert not path.exists()
    # The server does not delete a file that is not a socket.
    path.write_text("of another program")
    refused = server.cluster.run("serve", "--settings", str(second), settings=None, check=False)
    assert refused.returncode == 78 and "but not a socket" in refused.stderr and path.read_text() == "of another program"
    path.unlink()
    server.start()
    until(lambda: is_up(server), "the socket")


def activated(server, sockets, settings=None):
    """Starts the service as systemd does, with open sockets by name."""
    redirections = " ".join(f"{3 + index}<&{held.fileno()}" for index, held in enumerate(sockets.values()))
    script = f'export LISTEN_PID=$$ LISTEN_FDS={len(sockets)} LISTEN_FDNAMES={":".join(sockets)}; exec "$0" serve --settings "$1" {redirections}'
    return subprocess.Popen(
        ["bash", "-c", script, PROGRAM, str(settings or server.settings)], stdin=subprocess.DEVNULL, stdout=server.log, stderr=server.log,
        pass_fds=[held.fileno() for held in sockets.values()])


def high(listener):
    """Gives the socket a high descriptor, so that no redirection of the shell replaces it."""
    os.set_inheritable(listener.fileno(), False)
    held = socket.socket(fileno=fcntl.fcntl(listener.fileno(), fcntl.F_DUPFD, 50))
    listener.close()
    return held


def test_sockets_that_systemd_opens_outlive_the_service(server):
    home = server.cluster.home
    https = high(socket.create_server(("127.0.0.1", 0)))
    port = https.getsockname()[1]
    local = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    local.bind(str(home / "given.sock"))
    local.listen(16)
    local = high(local)
    settings = home / "activated.yaml"
    text = "".join(line for line in server.settings.read_text().splitlines(keepends=True) if not line.startswith("socket:"))
    settings.write_text(text.replace(server.base, f"https://localhost:{port}"))

    def ask_it(results):
        results.append(requests.get(f"https://localhost:{port}/healthz", verify=home / "server.pem", timeout=PATIENCE).status_code)

    process = activated(server, {"https": https, "api": local}, settings)
    try:
        results = []
        ask_it(results)
        assert results == [200]
        with httpx.Client(http2=True, verify=str(home / "server.pem"), timeout=PATIENCE, trust_env=False) as client:
            answer = client.get(f"https://localhost:{port}/readyz")
            assert answer.status_code == 200 and answer.http_version == "HTTP/2" and answer.headers["date"].endswith("GMT")
        connection = UnixConnection(home / "given.sock")
        connection.request("GET", "/healthz", headers={"X-Forwarded-Proto": "https"})
        assert connection.getresponse().status == 200
        connection.close()
        process.terminate()
        assert process.wait(PATIENCE) == 0 and (home / "given.sock").exists()
        # While no server runs, clients wait in the socket's queue. The next server answers them.
        threads = [threading.Thread(target=ask_it, args=(results,)) for _ in range(5)]
        for thread in threads:
            thread.start()
        process = activated(server, {"https": https, "api": local}, settings)
        for thread in threads:
            thread.join(PATIENCE)
        assert results == [200] * 6
    finally:
        process.terminate()
        process.wait(PATIENCE)
    # The service does not know the name of this socket.
    process = activated(server, {"smtp": https}, settings)
    assert process.wait(PATIENCE) == 78 and "systemd gave the socket 'smtp'" in (home / f"serve-{server.port}.log").read_text()
    https.close()
    local.close()


TRACE, PARENT = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traced(server, traceparent, path):
    before = len(log(server))
    server.request("GET", path, headers={"traceparent": traceparent} if traceparent else {})
    return until(lambda: [line for line in log(server)[before:] if line.get("path", "").endswith(path.split("?")[0])], "the request's line")[-1]


def test_a_trace_is_logged_with_the_request(server):
    line = traced(server, f"00-{TRACE}-{PARENT}-01", "queues")
    assert (line["trace_id"], line["parent_id"]) == (TRACE, PARENT) and len(line["span_id"]) == 16 and line["span_id"] != PARENT
    # A later version of the header can have more fields. The log of a failed request has the trace, too.
    line = traced(server, f"01-{TRACE}-{PARENT}-01-more", "nothings")
    assert line["trace_id"] == TRACE and line["status"] == 404
    for wrong in (
        None, "", "00", f"00-{TRACE}-{PARENT}", f"00-{TRACE.upper()}-{PARENT}-01", f"00-{'0' * 32}-{PARENT}-01", f"00-{TRACE}-{'0' * 16}-01", f"ff-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-01-more", f"00-{TRACE}x-{PARENT}-01", f"0-{TRACE}-{PARENT}-01",
    ):
        assert "trace_id" not in traced(server, wrong, "teams"), wrong


def test_settings_take_units_and_thin_the_log_out(server, tmp_path):
    check = lambda more: server.cluster.run("config", "check", "--json", "--settings", str(write(more)), settings=None, check=False)  # noqa: E731

    def write(more):
        file = tmp_path / "units.yaml"
        text = "".join(line for line in (server.cluster.home / "direct.yaml").read_text().splitlines(keepends=True) if not line.startswith("socket:"))
        file.write_text(text + f"https: {{certificateFile: {server.cluster.home}/server.pem, privateKeyFile: {server.cluster.home}/server.key}}\n{more}")
        return file

    shown = json.loads(check("limits: {idleSeconds: 5m, headSeconds: 30s, bodySeconds: 45, statementSeconds: 1 h}\nretention: {eventDays: 12w, auditDays: 30d, emailDays: 7}\n").stdout)["settings"]
    assert [shown[f"limits.{key}"] for key in ("idleSeconds", "headSeconds", "bodySeconds", "statementSeconds")] == [300, 30, 45, 3600]
    assert [shown[f"retention.{key}"] for key in ("eventDays", "auditDays", "emailDays")] == [84, 30, 7]
    for wrong in ("limits: {idleSeconds: 5ms}", "limits: {idleSeconds: 5 m m}", "limits: {idleSeconds: 2d}", "limits: {idleSeconds: 1.5m}", "limits: {idleSeconds: -5m}",
                  "limits: {requests: 5m}", "retention: {eventDays: 5h}", "limits: {idleSeconds: 05m}", "log: {requests: some}", "log: {sampling: 0}", "socket: {mode: '0777'}",
                  "socket: {path: relative}", f"socket: {{path: /{'x' * 108}}}"):
        refused = check(wrong + "\n")
        key = wrong.split(":")[0] + "." + wrong.split("{")[1].split(":")[0]
        assert refused.returncode == 1 and f"{key} takes" in refused.stderr, (wrong, refused.stderr)
    sizes = server.cluster.run("doctor", "--replica-lag", "1GiB", "--json", check=False)
    assert json.loads(sizes.stdout)["findings"] is not None
    assert server.cluster.run("doctor", "--replica-lag", "1GB", check=False).returncode == 64


@pytest.mark.parametrize("extent, lines", [("failed", ["nothings"]), ("none", [])])
def test_the_log_has_the_requests_that_the_setting_says(server, extent, lines):
    home = server.cluster.home
    (home / f"{extent}.yaml").write_text((home / "direct.yaml").read_text().replace("api.sock", f"{extent}.sock") + f"log: {{requests: {extent}}}\n")
    second = Server(server.cluster, settings=extent)
    try:
        assert second.request("GET", "WhoAmI").status_code == 200
        assert second.request("GET", "nothings").status_code == 404
    finally:
        second.stop()
    # The log is complete when the server has ended.
    logged = [line["path"].rsplit("/", 1)[-1] for line in log(second) if line["message"] == "request"]
    assert [path for path in logged if path != "readyz"] == lines


def test_the_log_of_requests_is_thinned_out(server):
    home = server.cluster.home
    sampled = home / "sampled.yaml"
    sampled.write_text((home / "direct.yaml").read_text().replace("api.sock", "sampled.sock") + "log: {sampling: 10}\n")
    second = Server(server.cluster, settings="sampled")
    try:
        before = len(log(second))
        for _ in range(40):
            assert second.request("GET", "WhoAmI").status_code == 200
        assert second.request("GET", "nothings").status_code == 404
        lines = until(lambda: [line for line in log(second)[before:] if line.get("path", "").endswith("nothings")] and log(second)[before:])
        asked = [line for line in lines if line["message"] == "request" and line["path"].endswith("WhoAmI")]
        assert len(asked) == 4 and all(line["sampling"] == 10 for line in asked)
    finally:
        second.stop()
