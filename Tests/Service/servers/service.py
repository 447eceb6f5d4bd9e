"""Runs `fieldseal dev` in a new folder, and sends requests to it as clients do."""

import contextlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import time

import psycopg

#: Seconds between two sealings of the audit. It is long, so that tests that count events see none about sealings.
SEALING = "86400"
PROGRAM = os.environ.get("FIELDSEAL", str(pathlib.Path(__file__).parents[3] / ".build/debug/fieldseal"))
sys.path[:0] = [str(pathlib.Path(__file__).parents[2] / name) for name in ("Reader", "Support", ".")]

import scratch  # noqa: E402
import template  # noqa: E402
from connections import Connections  # noqa: E402
from scratch import PATIENCE  # noqa: E402


class Deployment:
    """A development deployment. With `bare`, `fieldseal dev` begins with an empty folder. Otherwise the deployment gets a copy of the PostgreSQL
    cluster that the test run created."""

    def __init__(self, bare=False, **environment):
        self.home = scratch.new_folder()
        self.home.chmod(0o711)
        self.environment = {
            **os.environ, "FIELDSEAL_HOME": str(self.home), "FIELDSEAL_HTTPS_PORT": "0", "FIELDSEAL_HTTP_PORT": "0",
            "FIELDSEAL_EVENTS_SEAL_SECONDS": SEALING, **environment,
        }
        self.process = None
        self.tokens = {}
        if not bare and scratch.VARIABLE in os.environ:
            (self.home / "postgres-password").touch(0o600)
            (self.home / "postgres-password").write_text(template.copy_cluster("development", self.home / "pg"))
            self.run("kek", "create", str(self.home / "kek"))

    # Running

    @classmethod
    @contextlib.contextmanager
    def made(cls, **environment):
        """A deployment that runs until the block ends."""
        deployment = cls(**environment)
        try:
            deployment.start()
            yield deployment
        finally:
            deployment.remove()

    def start(self):
        """Starts `fieldseal dev`, and returns when the service is ready."""
        self.output = open(self.home / "service.log", "ab")
        deadline = time.monotonic() + PATIENCE
        while said := self.started(deadline):
            # Another program may have used the service's port in the meantime.
            if not re.search(r"port \d+ is taken", said) or time.monotonic() > deadline:
                raise AssertionError(f"the service does not start:\n{said}")
            time.sleep(1)
        self.dev = json.loads((self.home / "dev.json").read_text())
        self.tokens = {}
        self.connections = Connections(self.dev["caFile"])
        return self

    def started(self, deadline):
        """Starts the process and waits until it is ready. Returns None, or its output if it ended or was not ready in time."""
        mark = len(self.log())
        self.process = subprocess.Popen(
            [PROGRAM, "dev"], stdin=subprocess.DEVNULL, stdout=self.output, stderr=self.output, env=self.environment
        )
        while b"Ctrl-C stops it." not in self.log()[mark:]:
            if self.process.poll() is not None or time.monotonic() > deadline:
                return self.log()[mark:].decode() or "nothing"
            time.sleep(0.05)
        return None

    def log(self):
        return (self.home / "service.log").read_bytes()

    def stop(self, how=signal.SIGTERM):
        if self.process and self.process.poll() is None:
            self.process.send_signal(how)
            self.process.wait(60)
        self.process = None

    def remove(self):
        self.stop()
        self.stop_postgres(signal.SIGQUIT)
        shutil.rmtree(self.home, ignore_errors=True)

    def router_pid(self):
        """The process id of the router that runs as a child process of the service."""
        for task in pathlib.Path(f"/proc/{self.process.pid}/task").iterdir():
            for child in (task / "children").read_text().split():
                if b"router" in pathlib.Path(f"/proc/{child}/cmdline").read_bytes().split(b"\0"):
                    return int(child)
        raise AssertionError("no router runs beside the service")

    def postgres_pid(self):
        return template.postmaster(self.home / "pg")

    def stop_postgres(self, how=signal.SIGINT):
        template.end_postgres(self.home / "pg", how)

    # The command line

    def run(self, *arguments, stdin="", check=True, program=PROGRAM, **environment):
        result = subprocess.run(
            [program, *arguments], input=stdin, capture_output=True, text=True, timeout=PATIENCE,
            env={**self.environment, **environment},
        )
        if check and result.returncode:
            raise AssertionError(f"{arguments}: {result.stderr or result.stdout}")
        return result

    def json(self, *arguments, **options):
        return json.loads(self.run(*arguments, "--json", **options).stdout)

    # SQL

    def sql(self, statement, parameters=None):
        with psycopg.connect(self.dev["postgres"], autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    # HTTPS

    @property
    def base(self):
        return self.dev["baseURL"]

    @property
    def api(self):
        return f"{self.base}/{self.dev['organization']}/api/data/v9.2"

    def token_response(self, client_id, secret, **form):
        return self.connections.session.post(
            f"{self.base}/{self.dev['organization']}/oauth2/v2.0/token",
            data={"grant_type": "client_credentials", "client_id": client_id, "client_secret": secret, **form}, timeout=PATIENCE,
        )

    def token(self, client="admin"):
        if client not in self.tokens:
            known = self.dev["clients"][client]
            response = self.token_response(known["clientId"], known["clientSecret"])
            assert response.status_code == 200, response.text
            self.tokens[client] = response.json()["access_token"]
        return self.tokens[client]

    def request(self, method, path, body=None, client="admin", token=None, timeout=PATIENCE, **headers):
        headers = {name.replace("_", "-"): value for name, value in headers.items()}
        if token != "":
            headers["Authorization"] = f"Bearer {token or self.token(client)}"
        data = body if isinstance(body, (bytes, type(None))) else json.dumps(body).encode()
        url = path if path.startswith("http") else f"{self.api}/{path}"
        return self.connections.session.request(method, url, data=data, headers=headers, timeout=timeout)

    def get(self, path, **options):
        return self.request("GET", path, **options)

    def create(self, entity_set, body, **options):
        """Creates a record and returns its id."""
        response = self.request("POST", entity_set, body, **options)
        assert response.status_code == 204, response.text
        return re.search(r"\(([0-9a-f-]{36})\)$", response.headers["OData-EntityId"]).group(1)

    def set_key(self, key, change=True, **options):
        return self.request("POST", "SetDataEncryptionKey", {"EncryptionKey": key, "ChangeEncryptionKey": change}, **options)

    def key(self):
        answer = self.get("RetrieveDataEncryptionKey")
        assert answer.status_code == 200, answer.text
        return answer.json()["EncryptionKey"]

    def is_active(self):
        return self.get("IsDataEncryptionActive").json()["IsActive"]

    def opened_cells(self, key=None):
        """All cells, opened by the tests' own reader: {address: (key version, value)}."""
        import cell_reader

        key = key or self.key()
        return {a: (v, s) for a, v, s in cell_reader.read_organization(self.dev["postgres"], "org_contoso", key)}


def refused(response, status, code):
    """Checks the status, the code and the form of an error response. Returns its message."""
    assert response.status_code == status, response.text
    error = response.json()["error"]
    assert error["code"] == code, error
    assert error["message"], error
    return error["message"]
