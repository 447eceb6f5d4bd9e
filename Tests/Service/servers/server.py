"""`fieldseal serve` with a cluster, and requests of a client that is a System Administrator."""

import contextlib
import json
import os
import re
import socket
import subprocess
import time

import requests
from cluster import Cluster
from connections import Connections
from service import PATIENCE, PROGRAM, SEALING


def make_certificate(home, *addresses):
    """Creates a certificate for localhost and further IP addresses, in files of the folder `home`."""
    names = ",".join(["DNS:localhost", *(f"IP:{address}" for address in addresses)])
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2",
         "-subj", "/CN=localhost", "-addext", f"subjectAltName={names}", "-keyout", home / "server.key",
         "-out", home / "server.pem"], check=True, capture_output=True)


def serve_settings(cluster, settings, port=8443, https=None, base_url=None):
    """Writes settings for `serve`: the settings of commands, a listener and a base URL. Creates a certificate if the cluster has none. Returns the file."""
    home = cluster.home
    if not (home / "server.pem").exists():
        make_certificate(home)
    listener = {"host": "127.0.0.1", "port": port, "certificateFile": str(home / "server.pem"), "privateKeyFile": str(home / "server.key"), **(https or {})}
    file = home / f"serve-{port}.yaml"
    file.write_text(f"{(home / f'{settings}.yaml').read_text()}https: {json.dumps(listener)}\nbaseURL: {base_url or f'https://localhost:{port}'}\n")
    return file


class Server:
    def __init__(self, cluster, settings="direct", program=PROGRAM, ready=200, after=None, https=None, base_url=None, machine=None, sealing=SEALING):
        """Starts a server, and returns when `/readyz` responds with the status `ready`. With `after`, it replaces that server and uses its token.
        `https` has further settings of the listener. `base_url` is the address for clients, if it differs. `machine` is a machine of a test's
        network. `sealing` is the number of seconds between two sealings of the audit."""
        self.sealing = sealing
        self.cluster, self.program, self.ready, self.machine = cluster, program, ready, machine
        home = cluster.home
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            # A token is valid only for the address of its server, so a replacement uses the former port.
            self.port = after.port if after else probe.getsockname()[1]
        self.base = f"https://{machine.host if machine else 'localhost'}:{self.port}"
        if machine:
            https, base_url = {"host": machine.host, **(https or {})}, base_url or self.base
        self.settings = serve_settings(cluster, settings, self.port, https, base_url)
        self.log = open(home / f"serve-{self.port}.log", "ab")
        self.client = after.client if after else json.loads(cluster.run(
            "client", "add", f"test-{self.port}", "--org", "contoso", "--role", "System Administrator", "--json").stdout)
        self.connections = Connections(home / "server.pem", lambda: {"Authorization": f"Bearer {self.token}"})
        self.token = after.token if after else None
        self.start()

    def start(self):
        command = [self.program, "serve", "--settings", str(self.settings)]
        # An earlier version of the program does not know this setting.
        environment = {**os.environ, **({"FIELDSEAL_EVENTS_SEAL_SECONDS": self.sealing} if self.program == PROGRAM else {})}
        self.process = subprocess.Popen(
            self.machine.enter(command) if self.machine else command, stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env=environment)
        deadline = time.monotonic() + PATIENCE
        while True:
            try:
                if requests.get(f"{self.base}/readyz", verify=self.cluster.home / "server.pem", timeout=5).status_code == self.ready:
                    break
            except requests.exceptions.RequestException:
                pass
            assert self.process.poll() is None and time.monotonic() < deadline, "the service does not start"
            time.sleep(0.05)
        if not self.token:
            self.token = self.sign_in().json()["access_token"]

    def sign_in(self):
        """Requests a token. Returns the response."""
        return requests.post(
            f"{self.base}/contoso/oauth2/v2.0/token", verify=self.cluster.home / "server.pem", timeout=PATIENCE,
            data={"grant_type": "client_credentials", "client_id": self.client["clientId"],
                  "client_secret": self.client["clientSecret"]})

    def stop(self):
        self.process.terminate()
        self.process.wait(60)

    def request(self, method, path, body=None, headers={}, attempts=None):
        """Sends a request and returns the response. With `attempts`, returns None if the service or its database can't be reached."""
        try:
            response = self.connections.session.request(
                method, f"{self.base}/contoso/api/data/v9.2/{path}", json=body, headers=headers, timeout=PATIENCE)
        except requests.exceptions.RequestException:
            if attempts is None:
                raise
            return None
        return None if attempts and response.status_code == 503 else response

    def get(self, path):
        return self.request("GET", path)

    def create(self, entity_set, body):
        """Creates a record and returns its id."""
        response = self.request("POST", entity_set, body)
        assert response.status_code == 204, response.text
        return re.search(r"\(([0-9a-f-]{36})\)$", response.headers["OData-EntityId"])[1]


@contextlib.contextmanager
def running(**configuration):
    """A running service with its own PostgreSQL and the `configuration` of the program. Both end with the block."""
    cluster = Cluster(**configuration)
    server = None
    try:
        server = Server(cluster)
        yield server
    finally:
        if server:
            server.stop()
        cluster.remove()
