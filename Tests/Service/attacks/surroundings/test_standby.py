"""The service with a primary and a standby: the settings name the standby first, or only the standby, and the standby is promoted."""

import json
import re
import signal

import requests
import standby as standbys
from server import Server
from service import PATIENCE
from standby import hosts_settings as settings
from waiting import until


cluster, standby = standbys.cluster, standbys.standby


def ready(server):
    response = requests.get(f"{server.base}/readyz", verify=server.cluster.home / "server.pem", timeout=PATIENCE)
    return response.status_code, response.text


def writes(server, name):
    """Whether a create succeeds. If it does not, the response must be an error that says when to try again."""
    response = server.request("POST", "mailboxes", {"name": name, "password": "s3cret"})
    if response.status_code == 204:
        return True
    assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0, response.text
    return False


def log(server):
    return [json.loads(line) for line in (server.cluster.home / f"serve-{server.port}.log").read_text().splitlines() if line.startswith("{")]


def sweeps(standby):
    """The errors that a standby's PostgreSQL reported to the sweeper, which searches for organizations to sweep in `config.sweep`."""
    text = (standby.home / "postgres.log").read_text()
    return re.findall(r"ERROR:  ([^\n]*)\n[^\n]*STATEMENT:  WITH due AS MATERIALIZED \(\n[^\n]*config\.sweep\n", text)


def test_a_standby_named_first_is_passed_over_and_a_failover_is_survived(cluster, standby):
    server = Server(cluster, settings(cluster, "both", [standby.home, cluster.home]))
    try:
        assert ready(server)[0] == 200 and writes(server, "before")
        # The server runs, although the first host in its settings is a standby.
        assert server.process.poll() is None
        cluster.sql("SELECT pg_switch_wal()")
        import psycopg

        with psycopg.connect(standby.superuser, autocommit=True) as connection:
            until(lambda: connection.execute("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'before'").fetchone() == (1,))
        cluster.stop(signal.SIGQUIT)
        # The primary has stopped and the standby is read-only, so records can be read but not written.
        until(lambda: ready(server)[0] == 503)
        until(lambda: server.request("GET", "mailboxes?$select=name").status_code == 200)
        assert not writes(server, "between")
        standby.promote()
        until(lambda: ready(server)[0] == 200)
        until(lambda: writes(server, "after"))
        names = [row["name"] for row in server.request("GET", "mailboxes?$select=name").json()["value"]]
        assert "before" in names and "after" in names and "between" not in names
        assert server.process.poll() is None
    finally:
        server.stop()
    assert server.process.returncode == 0


def test_a_standby_alone_serves_reads_and_takes_writes_once_it_is_promoted(cluster, standby):
    primary = Server(cluster)
    assert writes(primary, "of the primary")
    primary.stop()
    server = Server(cluster, settings(cluster, "alone", [standby.home]), ready=503, after=primary)
    try:
        status, text = ready(server)
        assert status == 503 and "read-only" in text
        until(lambda: "of the primary" in server.request("GET", "mailboxes?$select=name").text)
        for _ in range(3):
            assert not writes(server, "refused")
        assert server.sign_in().status_code in (200, 503)
        # The sweeper runs every 15 seconds. It fails at its first statement, because a standby is read-only, and the server runs on.
        until(lambda: len(sweeps(standby)) >= 2)
        assert set(sweeps(standby)) == {"cannot execute UPDATE in a read-only transaction"}
        assert [line["error"] for line in log(server) if line["message"] == "remains of key changes not swept"] == [f"{sweeps(standby)[0]} [25006]"]
        # A standby has no contents of unlogged tables. Nothing has read one.
        assert "unlogged" not in (standby.home / "postgres.log").read_text()
        assert server.process.poll() is None and server.request("GET", "mailboxes?$top=1").status_code == 200
        standby.promote()
        until(lambda: ready(server)[0] == 200)
        until(lambda: writes(server, "taken"))
        assert server.sign_in().status_code == 200
    finally:
        server.stop()
    assert server.process.returncode == 0


def test_commands_on_a_standby_end_with_one_message(cluster, standby):
    name = settings(cluster, "alone", [standby.home])
    # A command that only reads succeeds.
    assert json.loads(cluster.run("key", "status", "--json", settings=name).stdout)["state"] == "active"
    for command in (["key", "change"], ["client", "add", "x", "--role", "Basic User"], ["key", "rehearse"], ["key", "show"]):
        result = cluster.run(*command, settings=name, check=False)
        assert result.returncode == 1, (command, result.stdout, result.stderr)
        assert re.search("read-only|recovery", result.stderr), (command, result.stderr)
    assert cluster.key_version() == 1
