"""The service uses PostgreSQL through a pooler in session mode and in transaction mode."""

import contextlib
import json
import re
import socket
import struct
import threading

import psycopg
from server import serve_settings


class Pooler:
    """A small pooler that gives clients its own keys for cancel requests, as PgBouncer does. In transaction mode, all clients share one server
    session, and each uses it for one transaction at a time."""

    def __init__(self, cluster, mode):
        self.path, self.mode = f"{cluster.home}/.s.PGSQL.5432", mode
        self.lock, self.shared, self.count = threading.Lock(), None, 0
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self):
        self.listener.close()

    def _accept(self):
        with contextlib.suppress(OSError):
            while True:
                client, _ = self.listener.accept()
                threading.Thread(target=self._guard, args=(client,), daemon=True).start()

    def _guard(self, client):
        with contextlib.suppress(OSError, EOFError):
            self._serve(client)
        client.close()

    @staticmethod
    def _read(end, count):
        data = b""
        while len(data) < count:
            part = end.recv(count - len(data))
            if not part:
                raise EOFError
            data += part
        return data

    def _message(self, end):
        head = self._read(end, 5)
        return head[:1], head + self._read(end, struct.unpack(">I", head[1:])[0] - 4)

    def _server(self):
        server = socket.socket(socket.AF_UNIX)
        server.connect(self.path)
        parameters = b"user\0fieldseal_service\0database\0fieldseal\0\0"
        server.sendall(struct.pack(">II", len(parameters) + 8, 196608) + parameters)
        greeting = []
        while True:
            kind, message = self._message(server)
            if kind == b"S":
                greeting.append(message)
            if kind == b"Z":
                return server, b"".join(greeting)

    def _serve(self, client):
        length = struct.unpack(">I", self._read(client, 4))[0]
        self._read(client, length - 4)
        with self.lock:
            self.count += 1
            if self.mode == "transaction":
                self.shared = self.shared or self._server()
                server, greeting = self.shared
            else:
                server, greeting = self._server()
        key = b"K" + struct.pack(">III", 12, 0x7F000000 + self.count, 1)
        client.sendall(b"R" + struct.pack(">II", 8, 0) + greeting + key + b"Z" + struct.pack(">I", 5) + b"I")
        if self.mode == "session":
            threading.Thread(target=self._pump, args=(server, client), daemon=True).start()
            return self._pump(client, server)
        while True:
            kind, message = self._message(client)
            if kind == b"X":
                return
            with self.lock:
                while True:
                    server.sendall(message)
                    # PostgreSQL responds after a Sync or a simple query. Other messages are only collected until then.
                    if kind in b"SQ":
                        status = self._answer(server, client)
                        if status == b"I":
                            break
                    kind, message = self._message(client)

    @staticmethod
    def _pump(source, target):
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def _answer(self, server, client):
        while True:
            kind, message = self._message(server)
            client.sendall(message)
            if kind == b"Z":
                return message[5:6]


def through(cluster, pooler):
    database = json.dumps(f"host=127.0.0.1 port={pooler.port} user=fieldseal_service dbname=fieldseal sslmode=disable gssencmode=disable")
    text = re.sub(r"^database: .*$", lambda _: f"database: {database}", (cluster.home / "direct.yaml").read_text(), flags=re.M)
    (cluster.home / f"{pooler.mode}.yaml").write_text(text)
    return pooler.mode


def test_a_pooler_in_transaction_mode_is_refused_before_anything_is_done(cluster):
    pooler = Pooler(cluster, "transaction")
    try:
        name = through(cluster, pooler)
        for command in (["key", "status"], ["doctor"], ["client", "list"], ["verify"], ["serve"], ["org", "create", "fabrikam"]):
            settings = serve_settings(cluster, name).stem if command == ["serve"] else name
            result = cluster.run(*command, settings=settings, check=False)
            assert result.returncode == 1 and "pool_mode" in result.stderr, (command, result.stdout, result.stderr)
        checked = cluster.run("config", "check", settings=name, check=False)
        assert "pool_mode" in checked.stdout + checked.stderr
    finally:
        pooler.close()
    assert cluster.sql("SELECT count(*) FROM config.organization") == [(1,)]


def test_a_pooler_in_session_mode_is_as_good_as_none(cluster):
    pooler = Pooler(cluster, "session")
    try:
        name = through(cluster, pooler)
        assert json.loads(cluster.run("key", "status", "--json", settings=name).stdout)["state"] == "active"
        cluster.run("key", "change", settings=name)
        assert cluster.run("verify", settings=name).returncode == 0
    finally:
        pooler.close()
    with psycopg.connect(cluster.superuser) as connection:
        assert connection.execute("SELECT key_version FROM org_contoso.encryption").fetchone() == (2,)
