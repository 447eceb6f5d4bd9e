"""scale/… and move/…: several databases, many organizations, and moving an organization to another database."""

import json
import os
import pathlib
import re
import subprocess
import tempfile
import threading
import time
import types

import psycopg
import requests
from bench import paired, record
from cluster import Cluster
from keychange import load
from server import Server
from service import PATIENCE

FIGURES = ["scale/databases", "scale/organizations", "scale/idle", "move/copy", "move/pause"]
DATABASES = 4
#: The number of organizations with requests, and of all organizations.
BUSY, ALL = 100, int(os.environ.get("FIELDSEAL_BENCH_ORGANIZATIONS", "1000"))
#: The number of cells in the organization that is moved.
CELLS = int(os.environ.get("FIELDSEAL_BENCH_MOVE", "500000"))
CONNECTIONS, SECONDS = 16, 5
#: The seconds between two visits of autovacuum, as docs/scaling.md recommends for many organizations.
NAP_SECONDS = 600
#: Two such intervals, and the time for autovacuum's work.
IDLE_SECONDS = 2 * NAP_SECONDS + 10
#: The number of clients that write to the organization during its move.
WRITERS = 4


class Databases(Cluster):
    """A cluster with several databases of one deployment: main, d1, d2 and so on."""

    def __init__(self, count, **configuration):
        super().__init__(**configuration)
        self.names = {"main": "fieldseal", **{f"d{number}": f"d{number}" for number in range(1, count)}}
        with psycopg.connect(f"host={self.home} user=postgres dbname=postgres", autocommit=True) as connection:
            for name in list(self.names)[1:]:
                connection.execute(f"CREATE DATABASE {name}")
        settings = {
            "databases": {n: f"host={self.home} user=fieldseal_service dbname={d}" for n, d in self.names.items()},
            "migrationDatabases": {n: f"host={self.home} user=postgres dbname={d}" for n, d in self.names.items()},
            "kekFile": f"{self.home}/kek"}
        (self.home / "several.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
        self.several("migrate", "bootstrap")
        self.several("migrate", "up")

    def several(self, *arguments):
        return self.run(*arguments, settings="several")


def token(server, organization, settings):
    """A token for a new client of the organization."""
    client = json.loads(server.cluster.run(
        "client", "add", f"bench-{time.monotonic_ns()}", "--org", organization, "--role", "System Administrator", "--json",
        settings=settings).stdout)
    return requests.post(
        f"{server.base}/{organization}/oauth2/v2.0/token", verify=str(server.cluster.home / "server.pem"), timeout=PATIENCE,
        data={"grant_type": "client_credentials", "client_id": client["clientId"], "client_secret": client["clientSecret"]},
    ).json()["access_token"]


def reads(server, tokens):
    """Requests per second to all of these organizations at the same time, with the same number of connections for each."""
    each = max(1, CONNECTIONS // len(tokens))
    running = [
        subprocess.Popen(
            ["h2load", "--h1", "-c", str(each), "-t", "1", "-D", str(SECONDS), "-H", f"Authorization: Bearer {token}",
             f"{server.base}/{name}/api/data/v9.2/WhoAmI"], stdout=subprocess.PIPE, text=True)
        for name, token in tokens.items()]
    total = 0
    for process in running:
        output = process.communicate()[0]
        good, *bad = map(int, re.search(r"status codes: (\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output).groups())
        assert good > 0 and not any(bad), output
        total += good
    return total / SECONDS


def run_databases():
    cluster = Databases(DATABASES)
    try:
        for number, name in enumerate(cluster.names):
            cluster.several("org", "create", f"spread{number}", "--database", name)
            cluster.several("org", "create", f"together{number}", "--database", "main")
        server = Server(cluster, settings="several")
        sides = [{f"{kind}{n}": token(server, f"{kind}{n}", "several") for n in range(DATABASES)} for kind in ("spread", "together")]
        ours, reference = paired(lambda: reads(server, sides[0]), lambda: reads(server, sides[1]))
        record("scale/databases", ours / reference, ">= 0.95", perSecond=round(ours), oneDatabase=round(reference), databases=DATABASES)
        server.stop()
    finally:
        cluster.remove()


def create(cluster, first, last):
    """Creates the organizations with these numbers, two at a time."""
    todo = list(range(first, last))
    while todo:
        batch, todo = todo[:2], todo[2:]
        for process in [cluster.popen("org", "create", f"bench{number}") for number in batch]:
            assert process.wait() == 0


def processor_seconds(server, cluster):
    """The processor time of the server, and the sum for all processes of PostgreSQL, in seconds."""
    def of(pid):
        fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
        # The fields are the times of the process and of its ended children.
        return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")

    postgres = int((cluster.home / "data/postmaster.pid").read_text().split()[0])
    children = pathlib.Path(f"/proc/{postgres}/task/{postgres}/children").read_text().split()
    return of(server.process.pid), sum(map(of, [postgres, *children]))


def idle(server, cluster):
    """The processor seconds that the server and PostgreSQL use per second without requests."""
    cluster.sql("CHECKPOINT")
    start = processor_seconds(server, cluster)
    time.sleep(IDLE_SECONDS)
    return [(end - begin) / IDLE_SECONDS for begin, end in zip(start, processor_seconds(server, cluster))]


def run_organizations(names):
    cluster = Cluster(f"autovacuum_naptime={NAP_SECONDS}")
    try:
        create(cluster, 0, 10)
        server = Server(cluster)
        if "scale/idle" in names:
            cluster.sql("VACUUM ANALYZE")
            few = idle(server, cluster)
        create(cluster, 10, BUSY)
        tokens = {f"bench{number}": token(server, f"bench{number}", "direct") for number in range(0, BUSY, BUSY // CONNECTIONS or 1)}
        reads(server, tokens)
        hundred = max(reads(server, tokens) for _ in range(3))
        create(cluster, BUSY, ALL)
        cluster.sql("DELETE FROM config.sweep")
        cluster.sql("VACUUM ANALYZE")
        if "scale/organizations" in names:
            many = max(reads(server, tokens) for _ in range(3))
            record("scale/organizations", many / hundred, ">= 0.95", perSecond=round(many), with100=round(hundred), organizations=ALL)
        if "scale/idle" in names:
            many = idle(server, cluster)
            record("scale/idle", sum(many) / sum(few), "<= 1.5", organizations=ALL, **{
                f"{who}{size}": round(seconds * 1e3, 2)
                for size, both in (("", many), ("With10", few)) for who, seconds in zip(("serverMilliseconds", "postgresMilliseconds"), both)})
        server.stop()
    finally:
        cluster.remove()


class Writers:
    """Clients that each create one mailbox after another. Records the times of all acknowledged requests."""

    def __init__(self, server, token):
        self.url, self.token = f"{server.base}/contoso/api/data/v9.2/mailboxes", token
        self.certificate = str(server.cluster.home / "server.pem")
        self.acknowledged, self.is_over = [], threading.Event()
        self.threads = [threading.Thread(target=self.write) for _ in range(WRITERS)]
        for thread in self.threads:
            thread.start()

    def write(self):
        session = requests.Session()
        session.headers["Authorization"] = f"Bearer {self.token}"
        while not self.is_over.is_set():
            answer = session.post(self.url, json={"name": "moved", "password": "pa55"}, verify=self.certificate, timeout=PATIENCE)
            assert answer.status_code in (204, 503), answer.text
            if answer.status_code == 204:
                self.acknowledged.append(time.monotonic())

    def stop(self):
        """Stops the clients. Returns the longest time between two acknowledged requests, in seconds."""
        self.is_over.set()
        for thread in self.threads:
            thread.join()
        moments = sorted(self.acknowledged)
        return max(later - earlier for earlier, later in zip(moments, moments[1:]))


def run_move(names):
    cluster = Databases(2)
    try:
        load(types.SimpleNamespace(dev={"postgres": cluster.superuser}, key=lambda: cluster.run("key", "show").stdout.strip()), CELLS)
        places = {"main": "d1", "d1": "main"}
        where = "main"
        pauses = []

        def moved():
            nonlocal where
            where = places[where]
            start = time.monotonic()
            pauses.append(float(json.loads(cluster.several("org", "move", "contoso", "--to", where, "--json").stdout)["pauseMilliseconds"]))
            return time.monotonic() - start

        def dumped():
            database = cluster.names[where]
            with psycopg.connect(f"host={cluster.home} user=postgres dbname=postgres", autocommit=True) as connection:
                connection.execute("DROP DATABASE IF EXISTS restored")
                connection.execute("CREATE DATABASE restored")
            target = f"host={cluster.home} user=postgres dbname=restored"
            start = time.monotonic()
            with tempfile.TemporaryFile() as errors:
                dump = subprocess.Popen(
                    ["pg_dump", "-Fc", "-Z0", "-n", "org_contoso", "-n", "cell", f"host={cluster.home} user=postgres dbname={database}"],
                    stdout=subprocess.PIPE)
                subprocess.run(["pg_restore", "--no-owner", "-d", target], stdin=dump.stdout, stderr=errors, check=False)
                assert dump.wait() == 0
            return time.monotonic() - start

        if "move/copy" in names:
            ours, reference = paired(moved, dumped, runs=2)
            record("move/copy", ours / reference, "<= 1.5", seconds=round(ours, 2), dumpAndRestore=round(reference, 2),
                   pauseMilliseconds=round(min(pauses)), cells=CELLS)
        if "move/pause" in names:
            if where != "main":
                moved()
            server = Server(cluster, settings="several")
            gaps = []
            for _ in range(2):
                writers = Writers(server, token(server, "contoso", "several"))
                try:
                    moved()
                finally:
                    gaps.append(writers.stop())
            record("move/pause", max(gaps), "<= 1", seconds=round(max(gaps), 3), pauseMilliseconds=round(max(pauses[-2:])),
                   acknowledged=len(writers.acknowledged), cells=CELLS)
            server.stop()
    finally:
        cluster.remove()


def run(names):
    if "scale/databases" in names:
        run_databases()
    if {"scale/organizations", "scale/idle"} & set(names):
        run_organizations(names)
    if {"move/copy", "move/pause"} & set(names):
        run_move(names)
