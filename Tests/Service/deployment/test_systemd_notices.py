"""What `serve` tells systemd, and what happens when systemd does not listen."""

import os
import socket

from cluster import Cluster
from server import Server
from standby import wait_for


def is_full(name):
    """Whether the socket takes no more notices."""
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
                wait_for(lambda: is_full(name))
                # More requests than there are threads, each over a connection that may be on another one.
                for number in range(20):
                    server.local.session = None
                    assert server.request("POST", "mailboxes", {"name": f"box {number}"}).status_code == 204
            finally:
                server.stop()
            assert server.process.returncode == 0
    finally:
        cluster.remove()
