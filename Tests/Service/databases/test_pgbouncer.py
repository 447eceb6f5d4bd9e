"""PgBouncer (from Debian) between the service and PostgreSQL. In session mode, the service works as without a pooler. It refuses the other modes by name."""

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time

import pytest
from server import Server, serve_settings
from service import PATIENCE


class PgBouncer:
    def __init__(self, cluster, mode):
        self.home = cluster.home / f"pgbouncer-{mode}"
        self.home.mkdir()
        (self.home / "users").write_text('"fieldseal_service" ""\n"postgres" ""\n')
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.home / "pgbouncer.ini").write_text(
            f"[databases]\nfieldseal = host={cluster.home} dbname=fieldseal\n[pgbouncer]\npool_mode = {mode}\nauth_type = trust\nauth_file = {self.home}/users\n"
            f"listen_addr = 127.0.0.1\nlisten_port = {self.port}\nunix_socket_dir =\ndefault_pool_size = 60\nlogfile = {self.home}/log\n")
        user = {}
        if os.getuid() == 0:
            for path in (self.home, *self.home.iterdir()):
                shutil.chown(path, "postgres")
            user = {"user": "postgres", "group": "postgres", "extra_groups": []}
        self.process = subprocess.Popen(
            ["pgbouncer", str(self.home / "pgbouncer.ini")], cwd="/", stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, **user)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                socket.create_connection(("127.0.0.1", self.port), 1).close()
                break
            except OSError:
                assert self.process.poll() is None and time.monotonic() < deadline, "PgBouncer does not start"
                time.sleep(0.05)
        database = json.dumps(f"host=127.0.0.1 port={self.port} user=fieldseal_service dbname=fieldseal sslmode=disable gssencmode=disable")
        text = (cluster.home / "direct.yaml").read_text()
        text = re.sub(r"^database: .*$", lambda _: f"database: {database}", text, flags=re.M)
        self.settings = f"pgbouncer-{mode}"
        (cluster.home / f"{self.settings}.yaml").write_text(text)

    def stop(self):
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(60)


def test_the_service_works_through_pgbouncer_in_session_mode(cluster):
    pooler = PgBouncer(cluster, "session")
    server = Server(cluster, pooler.settings)
    try:
        created = server.request("POST", "mailboxes", {"name": "pooled", "password": "s3cret"})
        assert created.status_code == 204
        assert server.request("GET", "mailboxes?$filter=name eq 'pooled'&$select=ispasswordset").json()["value"][0]["ispasswordset"] is True
        assert server.request("POST", "SetDataEncryptionKey", {
            "EncryptionKey": "Correct-horse-battery-1", "ChangeEncryptionKey": True}).status_code == 204
        cluster.run("key", "change", settings=pooler.settings)
        assert cluster.key_version() == 3
        assert cluster.run("verify", settings=pooler.settings).returncode == 0
        # If a server process behind PgBouncer ends, the service connects again.
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
        deadline = time.monotonic() + PATIENCE
        while server.request("POST", "mailboxes", {"name": "afterwards"}).status_code != 204:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    finally:
        server.stop()
        pooler.stop()
    assert server.process.returncode == 0


@pytest.mark.parametrize("mode", ["transaction", "statement"])
def test_pgbouncer_in_another_mode_is_refused_before_anything_is_done(cluster, mode):
    pooler = PgBouncer(cluster, mode)
    organizations = cluster.sql("SELECT count(*) FROM config.organization")
    try:
        for command in (["serve"], ["key", "status"], ["key", "change"], ["org", "create", "fabrikam"], ["doctor"]):
            settings = serve_settings(cluster, pooler.settings).stem if command == ["serve"] else pooler.settings
            result = cluster.run(*command, settings=settings, check=False)
            assert result.returncode == 1 and "pool_mode" in result.stderr, (command, result.stdout, result.stderr)
    finally:
        pooler.stop()
    assert cluster.sql("SELECT count(*) FROM config.organization") == organizations
