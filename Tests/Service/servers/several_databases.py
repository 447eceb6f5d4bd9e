"""A deployment with three databases, and clients of its organizations."""

import json
import time

import psycopg
import pytest
import requests
import yaml
from cluster import Cluster
from server import Server
from service import PATIENCE


class Deployment:
    """A deployment with the databases `east`, `main` and `west`. `west` is in a second PostgreSQL server. The organization contoso is in `main`."""

    def __init__(self, *own):
        """`own` names the databases that have their own key-encryption key, in the file `kek-NAME`."""
        self.main, self.west = Cluster(), Cluster()
        home = self.main.home
        with psycopg.connect(f"host={home} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE east")
        self.names = {
            "main": f"host={home} dbname=fieldseal", "east": f"host={home} dbname=east", "west": f"host={self.west.home} dbname=other"}
        with psycopg.connect(f"host={self.west.home} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE other")
        settings = {
            "databases": {name: f"{text} user=fieldseal_service" for name, text in self.names.items()},
            "migrationDatabases": {name: f"{text} user=postgres" for name, text in self.names.items()}, "kekFile": f"{home}/kek",
            "metrics": {"port": 0}}
        for name in own:
            self.main.run("kek", "create", f"{home}/kek-{name}", settings=None)
            settings.setdefault("kekFiles", {})[name] = f"{home}/kek-{name}"
        (home / "several.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
        self.run("migrate", "bootstrap")
        self.run("migrate", "up")
        self.run("org", "create", "fabrikam", "--database", "east")
        self.run("org", "create", "tailspin", "--database", "west")

    def run(self, *arguments, **options):
        return self.main.run(*arguments, settings="several", **options)

    def settings(self, name, **changes):
        """Writes settings named `name`: those of `several.yaml` with the changes. The value None removes a setting."""
        home = self.main.home
        all = {**yaml.safe_load((home / "several.yaml").read_text()), **changes}
        (home / f"{name}.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in all.items() if value is not None))
        return name

    def sql(self, database, statement, parameters=None):
        with psycopg.connect(f"{self.names[database]} user=postgres", autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def organizations(self, database):
        return {name for (name,) in self.sql(database, "SELECT name FROM config.organization")}

    def remove(self):
        self.main.remove()
        self.west.remove()


class Caller:
    """A client of one organization. It is added when the object is created."""

    def __init__(self, server, organization, role="System Administrator", settings="several"):
        self.server, self.organization, self.settings = server, organization, settings
        self.session = requests.Session()
        self.session.trust_env, self.session.verify = False, str(server.cluster.home / "server.pem")
        self.client = json.loads(server.cluster.run(
            "client", "add", f"caller-{time.monotonic_ns()}", "--org", organization, "--role", role, "--json",
            settings=settings).stdout)

    def sign_in(self):
        response = self.session.post(
            f"{self.server.base}/{self.organization}/oauth2/v2.0/token", timeout=PATIENCE,
            data={"grant_type": "client_credentials", "client_id": self.client["clientId"],
                  "client_secret": self.client["clientSecret"]})
        if response.status_code == 200:
            self.session.headers["Authorization"] = f"Bearer {response.json()['access_token']}"
        return response

    def request(self, method="GET", path="mailboxes?$select=name", **options):
        return self.session.request(
            method, f"{self.server.base}/{self.organization}/api/data/v9.2/{path}", timeout=PATIENCE, **options)


def readiness(server):
    return requests.get(f"{server.base}/readyz", verify=str(server.cluster.home / "server.pem"), timeout=PATIENCE)


@pytest.fixture(scope="module")
def deployment():
    made = Deployment()
    yield made
    made.remove()


@pytest.fixture(scope="module")
def server(deployment):
    running = Server(deployment.main, settings="several")
    yield running
    running.stop()
