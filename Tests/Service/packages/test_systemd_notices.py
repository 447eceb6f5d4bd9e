"""The notices of `serve` and of the router to systemd, and what happens if systemd does not read them."""

import json
import os
import shutil
import signal
import socket
import subprocess

from cluster import Cluster
from server import Server
from service import PATIENCE, PROGRAM
from waiting import until


def is_full(name):
    """Whether the socket's queue is full."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
        try:
            sender.sendto(b"X=1", socket.MSG_DONTWAIT, f"\0{name}")
        except BlockingIOError:
            return True
    return False


def test_a_systemd_that_reads_no_notices_does_not_stop_the_service(monkeypatch):
    cluster = Cluster()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            name = f"fieldseal-notices-{os.getpid()}"
            notices.bind(f"\0{name}")
            monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
            monkeypatch.setenv("WATCHDOG_USEC", "20000")
            server = Server(cluster)
            try:
                until(lambda: is_full(name))
                # Sends more requests than the service has threads. Otherwise one thread could be blocked without the test noticing.
                for number in range(20):
                    server.connections.forget()
                    assert server.request("POST", "mailboxes", {"name": f"box {number}"}).status_code == 204
            finally:
                server.stop()
            assert server.process.returncode == 0
    finally:
        cluster.remove()


def test_a_router_says_that_it_is_ready_and_alive(tmp_path):
    cluster = Cluster()
    server = None
    try:
        server = Server(cluster)
        made = json.loads(cluster.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        secret = tmp_path / "secret"
        secret.write_text(made["clientSecret"])
        secret.chmod(0o600)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            name = f"fieldseal-router-{os.getpid()}"
            notices.bind(f"\0{name}")
            notices.settimeout(PATIENCE)
            program = tmp_path / "fieldseal"
            shutil.copyfile(PROGRAM, program)
            program.chmod(0o755)
            router = subprocess.Popen(
                [program, "router", "run", "--org", "contoso", "--service", server.base, "--client-id", made["clientId"], "--secret-file", str(secret),
                 "--ca-file", str(cluster.home / "server.pem")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                env={**os.environ, "NOTIFY_SOCKET": f"@{name}", "WATCHDOG_USEC": "200000"})
            try:
                seen = []
                while seen.count("WATCHDOG=1") < 3:
                    seen.append(notices.recv(100).decode())
                assert seen[0] == "READY=1" and set(seen) == {"READY=1", "WATCHDOG=1"}
                # Replaces the program's file, as an upgrade of the package does.
                program.rename(tmp_path / "former")
                (tmp_path / "former").unlink()
                while "the program was replaced" not in (line := router.stderr.readline()):
                    assert line, "the router ended"
            finally:
                router.send_signal(signal.SIGTERM)
                errors = router.communicate(timeout=PATIENCE)[1]
            assert router.returncode == 0, errors
    finally:
        if server:
            server.stop()
        cluster.remove()


def test_systemd_is_asked_to_wait_for_a_server_that_drains(monkeypatch):
    """The server asks for https.drainSeconds plus a unit's default time, so a shorter TimeoutStopSec does no harm."""
    cluster = Cluster()
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            name = f"fieldseal-draining-{os.getpid()}"
            notices.bind(f"\0{name}")
            notices.settimeout(PATIENCE)
            monkeypatch.setenv("NOTIFY_SOCKET", f"@{name}")
            server = Server(cluster, https={"drainSeconds": 1})
            server.process.send_signal(signal.SIGTERM)
            seen = []
            while not {"STOPPING=1", f"EXTEND_TIMEOUT_USEC={(1 + 90) * 1_000_000}"} <= set(seen):
                seen.append(notices.recv(100).decode())
            assert server.process.wait(PATIENCE) == 0
    finally:
        cluster.remove()
