"""HAProxy as a load balancer for several servers."""

import contextlib
import socket
import subprocess

import requests
from service import PATIENCE
from waiting import until


class Balancer:
    """HAProxy, with TLS for clients and for its connections to the servers."""

    def __init__(self, cluster):
        self.home = cluster.home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.base = f"https://localhost:{self.port}"
        self.process = None

    def start(self, servers):
        (self.home / "balancer.pem").write_text((self.home / "server.pem").read_text() + (self.home / "server.key").read_text())
        # A health check may take `inter` to connect. On a busy machine, a handshake can take more than some hundred milliseconds.
        lines = "\n".join(
            f"  server s{n} 127.0.0.1:{server.port} ssl verify required ca-file {self.home}/server.pem sni str(localhost) check inter 2s fastinter 300ms downinter 300ms fall 1 rise 1"
            for n, server in enumerate(servers))
        (self.home / "haproxy.cfg").write_text(
            "global\n  maxconn 1000\ndefaults\n  mode http\n  timeout connect 10s\n  timeout client 5m\n  timeout server 5m\n"
            "  timeout queue 5m\n  timeout check 1m\n  option redispatch 1\n  retries 20\n  option forwardfor\n"
            f"frontend all\n  bind 127.0.0.1:{self.port} ssl crt {self.home}/balancer.pem\n  stats uri /balancer\n  default_backend servers\n"
            f"backend servers\n  balance roundrobin\n  http-reuse never\n  option httpchk GET /readyz\n{lines}\n")
        self.process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(self.home / "haproxy.cfg")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL)
        until(self.is_there)

    def is_there(self):
        assert self.process.poll() is None, "HAProxy does not start"
        with contextlib.suppress(OSError):
            socket.create_connection(("127.0.0.1", self.port), 1).close()
            return True
        return False

    def count(self):
        """The number of servers to which HAProxy sends requests now."""
        rows = requests.get(f"{self.base}/balancer;csv", verify=str(self.home / "server.pem"), timeout=PATIENCE).text.splitlines()
        return sum(row.startswith("servers,s") and ",UP," in row for row in rows)

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(60)
