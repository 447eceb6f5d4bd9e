"""The database has an older state of an organization than a server remembers. The server refuses it, and tells the operator why."""

import json
import shutil
import socket
import subprocess

import pytest
import requests
from cluster import Cluster
from server import Server
from service import PATIENCE
from waiting import until


@pytest.fixture(scope="module")
def place():
    """A cluster, a server, and the port of the server's metrics."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    cluster = Cluster(metrics={"port": port})
    server = None
    try:
        server = Server(cluster)
        yield cluster, server, port
    finally:
        if server:
            server.stop()
        cluster.remove()


def logged(server, *messages):
    lines = [json.loads(line) for line in (server.cluster.home / f"serve-{server.port}.log").read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["message"] in messages]


def figures(port):
    lines = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text.splitlines()
    return {line.rsplit(" ", 1)[0]: float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith("fieldseal_organization") and "_refused" in line.split("{")[0]}


def findings(cluster):
    return {f["code"]: f for f in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]}


def test_an_organization_that_was_put_back_is_told_of(place):
    cluster, server, port = place
    assert figures(port) == {"fieldseal_organizations_refused": 0} and "refused-by-server" not in findings(cluster)
    cluster.stop()
    subprocess.run(["cp", "-a", cluster.home / "data", cluster.home / "before"], check=True)
    cluster.start()
    until(lambda: [a for a in [server.request("GET", "mailboxes", attempts=1)] if a is not None], "the service has no database")
    cluster.run("client", "add", "late", "--org", "contoso", "--role", "Basic User")
    server.create("mailboxes", {"name": "late"})
    # Replaces the database with its former copy.
    cluster.stop()
    shutil.rmtree(cluster.home / "data")
    (cluster.home / "before").rename(cluster.home / "data")
    cluster.start()
    [answer] = until(lambda: [a for a in [server.request("GET", "mailboxes", attempts=1)] if a is not None], "the service has no database")
    assert answer.status_code == 403 and "older than revision" in answer.text
    for _ in range(3):
        assert server.get("mailboxes").status_code == 403
    [line] = until(lambda: logged(server, "organization refused"), "the log does not say that the organization is refused")
    assert (line["level"], line["organization"]) == ("error", "contoso") and "older than revision" in line["error"]
    assert figures(port) == {"fieldseal_organizations_refused": 1, 'fieldseal_organization_refused{organization="contoso"}': 1}
    # The doctor reports the refusal as soon as the server renews its row in config.server.
    finding = until(lambda: findings(cluster).get("refused-by-server"), "the doctor does not know")
    assert finding["severity"] == "error" and finding["subject"] == "contoso" and "older than revision" in finding["message"]
    # The operator accepts the older state, and the doctor's finding ends at once.
    cluster.run("org", "attach", "contoso", "--yes")
    assert "refused-by-server" not in findings(cluster)
    until(lambda: server.get("mailboxes").status_code == 200, "the organization is still refused")
    # The service writes the log after the response, so the test waits.
    until(lambda: logged(server, "organization served again"), "the log does not say that the refusal ended")
    assert [line["message"] for line in logged(server, "organization refused", "organization served again")] == ["organization refused", "organization served again"]
    assert figures(port) == {"fieldseal_organizations_refused": 0}


def test_regular_work_that_fails_is_logged_once(place):
    cluster, server, _ = place
    cluster.sql("CREATE SEQUENCE public.renewals; GRANT USAGE ON SEQUENCE public.renewals TO fieldseal_service")
    cluster.sql(
        "CREATE FUNCTION public.no_renewal() RETURNS trigger LANGUAGE plpgsql AS "
        "$$BEGIN PERFORM nextval('public.renewals'); RAISE EXCEPTION 'no renewal'; END$$")
    cluster.sql("CREATE TRIGGER a BEFORE INSERT ON config.server FOR EACH ROW EXECUTE FUNCTION public.no_renewal()")
    cluster.sql("REVOKE UPDATE ON config.sweep FROM fieldseal_service")
    try:
        [swept] = until(lambda: logged(server, "the sweep of remains of key changes failed"), "the log does not say that nothing is swept")
        assert swept["level"] == "warning" and "permission denied" in swept["error"], swept
        until(lambda: cluster.sql("SELECT last_value FROM public.renewals")[0][0] >= 3, "the server does not try again")
        [renewed] = logged(server, "this server could not announce itself to other servers")
        assert renewed["level"] == "warning" and "no renewal" in renewed["error"], renewed
    finally:
        cluster.sql("DROP TRIGGER a ON config.server; DROP FUNCTION public.no_renewal(); DROP SEQUENCE public.renewals; GRANT UPDATE ON config.sweep TO fieldseal_service")
    assert len(logged(server, "the sweep of remains of key changes failed")) == 1
