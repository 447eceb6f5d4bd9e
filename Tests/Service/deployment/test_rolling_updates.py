"""Updates while clients work: restarting servers in turn, a database that is newer than a server, and rehearsing migrations."""

import json
import os
import pathlib
import re
import subprocess
import threading

import psycopg
import pytest
import requests
from cluster import MIGRATIONS, NEWEST
from service import PATIENCE, PROGRAM
from test_several_servers import behind_a_balancer
from waiting import until

CONFIG = sorted(p.stem for p in (pathlib.Path(__file__).parents[3] / "migrations/config").glob("*.sql") if not p.stem.endswith(".down"))
NEXT = "9999_next"
#: The program to update from. By default it is this program. Removes the variable, because the program refuses unknown variables.
OLDER = os.environ.pop("FIELDSEAL_OLDER", PROGRAM)


@pytest.fixture(scope="module")
def place():
    with behind_a_balancer(2) as made:
        yield made


class Load:
    """Clients that write and read until the block ends."""

    def __init__(self, client, name):
        self.client, self.name, self.answers, self.ended = client, name, [], threading.Event()
        self.threads = [threading.Thread(target=self.work, args=(number,)) for number in range(3)]

    def work(self, number):
        count = 0
        while not self.ended.is_set():
            count += 1
            name = f"{self.name}-{number}-{count}"
            self.answers.append(self.client.request("POST", "mailboxes", {"name": name, "password": name}))
            self.answers.append(self.client.request("GET", "mailboxes?$top=3&$select=name"))

    def go_on(self):
        """Waits until the service has answered 20 more requests."""
        mark = len(self.answers)
        until(lambda: len(self.answers) > mark + 20)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.ended.set()
        for thread in self.threads:
            thread.join(PATIENCE)

    @property
    def statuses(self):
        return {answer.status_code for answer in self.answers}

    def kept(self, cluster):
        """Whether there are as many records as acknowledged writes."""
        written = sum(answer.status_code == 204 for answer in self.answers)
        return cluster.sql("SELECT count(*) FROM mailbox WHERE name LIKE %s", [f"{self.name}-%"]) == [(written,)]


def ready(server):
    return requests.get(f"{server.base}/readyz", verify=server.cluster.home / "server.pem", timeout=PATIENCE)


def as_next_version(cluster, isCompatible):
    """Changes the database as the next version would, with a migration that this program does not know."""
    # PostgreSQL runs several statements of one text as one transaction, like a migration.
    statement = f"INSERT INTO config.migration (scope, name, checksum, milliseconds) VALUES ('config', '{NEXT}', 'x', 0)"
    cluster.sql(statement + (f"; INSERT INTO config.compatible_migration VALUES ('{NEXT}')" if isCompatible else ""))


def back(cluster):
    cluster.sql(f"DELETE FROM config.migration WHERE name = '{NEXT}'; DELETE FROM config.compatible_migration WHERE name = '{NEXT}'")


def each_ready(servers, status):
    for server in servers:
        until(lambda server=server: ready(server), holds=lambda r: r.status_code == status)


def test_an_update_in_turn_fails_no_request(place):
    """First the database is migrated, while earlier servers work. Then each server is restarted."""
    cluster, servers, client = place
    try:
        with Load(client, "rolling") as load:
            load.go_on()
            as_next_version(cluster, isCompatible=True)
            load.go_on()
            for server in servers:
                server.stop()
                server.start()
                until(lambda: client.balancer.count() == len(servers))
                load.go_on()
        assert load.statuses == {200, 204} and load.kept(cluster)
        assert [ready(server).status_code for server in servers] == [200, 200]
        # The earlier version's commands refuse to change such a database.
        refused = cluster.run("migrate", "up", check=False)
        assert refused.returncode == 1 and NEXT in refused.stdout + refused.stderr
    finally:
        back(cluster)


def applied(cluster):
    return {(scope, name) for scope, name in cluster.sql("SELECT scope, name FROM config.migration")}


def test_an_update_from_an_older_program_fails_what_the_page_says():
    """The program in FIELDSEAL_OLDER makes the deployment. While clients work, this program migrates it and replaces the older servers in turn."""
    with behind_a_balancer(2, program=OLDER) as (cluster, servers, client):
        before = applied(cluster)
        key = cluster.run("key", "show").stdout
        with Load(client, "from-older") as load:
            load.go_on()
            assert load.statuses == {200, 204}
            cluster.program = PROGRAM
            cluster.run("migrate", "up")
            migrations = applied(cluster) - before
            compatible = {name for name, in cluster.sql("SELECT name FROM config.compatible_migration")}
            # The expected refusals follow docs/operations.md, section Updates.
            ofOrganizations = {name for scope, name in migrations if scope != "config"}
            isAway = any(scope == "config" and name not in compatible for scope, name in migrations)
            load.go_on()
            assert ready(servers[-1]).status_code == (503 if isAway else 200)
            for number, server in enumerate(servers, 1):
                server.stop()
                server.program = PROGRAM
                server.start()
                until(lambda number=number: client.balancer.count() == (number if isAway else len(servers)))
                load.go_on()
            updated = len(load.answers)
            load.go_on()
            assert json.loads(cluster.run("key", "change", "--json").stdout)["keyVersion"] == 2
            load.go_on()
        assert {answer.status_code for answer in load.answers[updated:]} == {200, 204}
        assert load.statuses <= {200, 204} | ({403} if ofOrganizations else set()) | ({503} if isAway else set()), load.statuses
        assert all(a.json()["error"]["code"] == "0x8004A104" for a in load.answers if a.status_code == 403)
        assert load.kept(cluster)
        # This program can verify everything that the older program wrote.
        assert cluster.run("verify").returncode == 0 and cluster.run("migrate", "verify").returncode == 0
        assert cluster.run("key", "show").stdout != key and len(cluster.opened_cells()) == len([a for a in load.answers if a.status_code == 204])
        found = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
        # The tests' PostgreSQL does not flush to disk, which the doctor reports.
        assert {f["code"] for f in found if f["severity"] == "error"} == {"not-durable"}, found


def test_a_newer_database_that_does_not_say_so_takes_older_servers_out(place):
    cluster, servers, client = place
    try:
        with Load(client, "abrupt") as load:
            load.go_on()
            as_next_version(cluster, isCompatible=False)
            each_ready(servers, 503)
            assert "migrations are pending" in ready(servers[0]).text or "version" in ready(servers[0]).text
            back(cluster)
            each_ready(servers, 200)
            until(lambda: client.balancer.count() == len(servers))
            load.go_on()
        # The service did nothing for a refused request, so a client can send it again.
        assert load.statuses <= {200, 204, 503} and load.kept(cluster)
    finally:
        back(cluster)


def test_a_server_of_the_next_version_waits_for_the_migration(place):
    cluster, servers, client = place
    cluster.run("migrate", "down", "config", stdin=f"{CONFIG[-1]}\n")
    try:
        assert cluster.run("verify", check=False).returncode == 0, "commands go on"
        each_ready(servers, 503)
        refused = subprocess.run([servers[0].program, "serve", "--settings", servers[0].settings], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert refused.returncode == 1 and "fieldseal migrate up" in refused.stderr
    finally:
        cluster.run("migrate", "up")
    each_ready(servers, 200)
    until(lambda: client.request("GET", "WhoAmI"), holds=lambda r: r.status_code == 200)


def test_an_organization_is_refused_by_name_until_it_is_migrated(place):
    """A server refuses organizations of another schema version, and serves the others. No write is lost."""
    cluster, servers, client = place
    cluster.run("org", "create", "fabrikam")
    with Load(client, "older") as load:
        load.go_on()
        cluster.run("migrate", "down", "contoso", stdin=f"{NEWEST}\n")
        until(lambda: load.answers[-1].status_code == 403)
        key = cluster.run("key", "status", "--org", "fabrikam")
        assert key.returncode == 0 and [ready(server).status_code for server in servers] == [200, 200]
        cluster.run("migrate", "up")
        until(lambda: load.answers[-1].status_code in (200, 204))
        load.go_on()
    refusals = [answer for answer in load.answers if answer.status_code not in (200, 204)]
    assert refusals and all(a.status_code == 403 and a.json()["error"]["code"] == "0x8004A104" for a in refusals) and load.kept(cluster)


# The rehearsal


def schema(cluster):
    """All definitions of the database, and the applied migrations."""
    dump = subprocess.run(["pg_dump", "-h", cluster.home, "-U", "postgres", "--schema-only", "fieldseal"], check=True, capture_output=True, text=True, timeout=PATIENCE).stdout
    # Newer versions of pg_dump write a random key into each dump.
    lines = [line for line in dump.splitlines() if not line.startswith(("\\restrict", "\\unrestrict"))]
    return lines, cluster.sql("SELECT scope, organization_id, name FROM config.migration ORDER BY 1, 2, 3")


def test_a_rehearsal_says_what_migrations_take_and_changes_nothing(place):
    cluster, servers, client = place
    assert "contoso: nothing to do" in cluster.run("migrate", "up", "--rehearse").stdout
    cluster.step_back("contoso", MIGRATIONS[-4])
    cluster.run("migrate", "down", "config", stdin=f"{CONFIG[-1]}\n")
    before = schema(cluster)
    said = {line["target"]: line for line in map(json.loads, cluster.run("migrate", "up", "--rehearse", "--json").stdout.splitlines())}
    assert schema(cluster) == before
    assert [step["name"] for step in said["config"]["rehearsed"]] == CONFIG[-1:]
    assert [step["name"] for step in said["contoso"]["rehearsed"]] == MIGRATIONS[-3:] and said["contoso"]["error"] is None
    assert all(step["milliseconds"] >= 0 for line in said.values() for step in line["rehearsed"])
    text = cluster.run("migrate", "up", "--rehearse", "--org", "contoso").stdout
    assert MIGRATIONS[-1] in text and text.endswith("Everything was rolled back.\n") and schema(cluster) == before
    cluster.run("migrate", "up")
    assert schema(cluster)[1] != before[1]
    assert cluster.run("migrate", "verify").returncode == 0


def test_a_rehearsal_names_locks_and_waits_for_none(place):
    cluster, servers, client = place
    # Goes back before the newest migration that alters a table. Going back further would need all servers to stop.
    folder = pathlib.Path(__file__).parents[3] / "migrations/org"
    altering = [(name, found[1]) for name in MIGRATIONS if (found := re.search(r"^ALTER TABLE (\w+)", (folder / f"{name}.sql").read_text(), re.MULTILINE))]
    locking, table = altering[-1]
    cluster.step_back("contoso", MIGRATIONS[MIGRATIONS.index(locking) - 1])
    try:
        said = [json.loads(line) for line in cluster.run("migrate", "up", "--rehearse", "--org", "contoso", "--json").stdout.splitlines()]
        locks = [lock for line in said for step in line["rehearsed"] for lock in step["locks"]]
        assert {"table": f"org_contoso.{table}", "mode": "AccessExclusiveLock"} in locks, locks
        # If another transaction holds a lock, the rehearsal ends and names the migration.
        with psycopg.connect(cluster.superuser) as connection:
            connection.execute(f"LOCK TABLE org_contoso.{table} IN ACCESS SHARE MODE")
            result = cluster.run("migrate", "up", "--rehearse", "--org", "contoso", check=False)
            connection.rollback()
        assert result.returncode == 1 and locking in result.stdout and "lock timeout" in result.stdout, result
    finally:
        cluster.run("migrate", "up")
