"""A standby becomes the primary. Acknowledged writes are kept, and the service continues without an operator."""

import json
import re
import signal
import threading
import time

import pytest
from cluster import Cluster
from server import Server
from service import PATIENCE
from standby import Standby, hosts_settings, send_to_all
from waiting import until
from writers import PROMISE, Writers, is_refusal, is_unknown, names

@pytest.fixture
def pair():
    """A primary and its standby. Each commit of the service waits for the standby."""
    cluster = Cluster("synchronous_standby_names=*", "synchronous_commit=local")
    standby = None
    try:
        standby = Standby(cluster)
        until(lambda: cluster.sql("SELECT sync_state FROM pg_stat_replication WHERE state = 'streaming'") == [("sync",)])
        cluster.sql("ALTER ROLE fieldseal_service SET synchronous_commit = 'on'")
        hosts_settings(cluster, "both", [cluster.home, standby.home])
        yield cluster, standby
    finally:
        try:
            send_to_all(cluster.home / "data", signal.SIGCONT)
        except FileNotFoundError:
            pass
        if standby:
            standby.stop()
        cluster.remove()


@pytest.mark.parametrize("how", ["kill", "pause", "switch over"])
def test_writes_survive_a_failover(pair, how):
    cluster, standby = pair
    server = Server(cluster, "both")
    writers = Writers(server)
    try:
        until(lambda: len(writers.saved) > 50)
        change = cluster.popen("key", "change", settings="both")
        until(lambda: cluster.sql("SELECT count(*) FROM config.key_change") == [(1,)] or change.poll() is not None)
        if how == "switch over":
            cluster.stop(signal.SIGINT)
        else:
            send_to_all(cluster.home / "data", signal.SIGKILL if how == "kill" else signal.SIGSTOP)
        standby.promote()
        promoted = time.monotonic()
        until(lambda: len(writers.saved_since(promoted)) > 20)
        assert min(writers.saved_since(promoted)) - promoted < PROMISE
        change.communicate(timeout=PATIENCE)
        if how == "pause":
            # The former primary runs again and still accepts writes. The service sends it none, and uses no session with it.
            send_to_all(cluster.home / "data", signal.SIGCONT)
            mark = len(writers.saved)
            until(lambda: len(writers.saved) > mark + 50)
        writers.stop()
        assert writers.failures == [] and server.process.poll() is None
        there = names(standby)
        assert len(there) == len(set(there))
        assert {name for name, _ in writers.saved} <= set(there) and set(writers.refused).isdisjoint(there)
        assert cluster.run("verify", settings="both").returncode == 0
        assert json.loads(cluster.run("key", "status", "--json", settings="both").stdout)["keyVersion"] in (1, 2)
        if how == "pause":
            # A write that began before the promotion may be on both servers: the standby had received it before the former primary was paused.
            last = set(there) - set(names(cluster))
            assert {name for name, _ in writers.saved if writers.began[name] > promoted} <= last
    finally:
        writers.stopped.set()
        server.stop()
    assert server.process.returncode == 0


def test_a_former_primary_answers_no_write_also_when_it_is_the_only_one_there(pair):
    cluster, standby = pair
    server = Server(cluster, "both")
    try:
        assert server.request("POST", "mailboxes", {"name": "before"}).status_code == 204
        send_to_all(cluster.home / "data", signal.SIGSTOP)
        standby.promote()
        until(lambda: server.request("POST", "mailboxes", {"name": "on the new one"}).status_code == 204)
        send_to_all(cluster.home / "data", signal.SIGCONT)
        standby.stop(signal.SIGQUIT)
        # With these settings, the former primary would commit writes without its standby.
        cluster.sql("ALTER SYSTEM SET synchronous_standby_names = ''")
        cluster.sql("SELECT pg_reload_conf()")
        cluster.sql("ALTER ROLE fieldseal_service RESET synchronous_commit")
        for _ in range(5):
            response = server.request("POST", "mailboxes", {"name": "lost"})
            assert response.status_code == 503 and int(response.headers["Retry-After"]) > 0, response.text
            assert server.request("GET", "mailboxes?$top=1").status_code == 503
        assert cluster.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'lost'") == [(0,)]
    finally:
        server.stop()


@pytest.mark.parametrize("seconds", [0, 3])
def test_a_commit_whose_answer_never_came_is_looked_up_on_the_new_primary(pair, seconds):
    """The primary commits, and the standby receives the commit. The primary is killed before it responds. The standby shows the commit only after it
    has replayed it."""
    cluster, standby = pair
    server = Server(cluster, "both")
    results = {}

    def write(name):
        results[name] = server.request("POST", "mailboxes", {"name": name, "password": "s3cret"})

    try:
        assert server.request("POST", "mailboxes", {"name": "first", "password": "s3cret"}).status_code == 204
        # The standby stores commits, but does not replay them. So the primary's session waits for the confirmation.
        standby.sql("SELECT pg_wal_replay_pause()")
        cluster.sql("ALTER ROLE fieldseal_service SET synchronous_commit = 'remote_apply'")
        cluster.sql("SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
        thread = threading.Thread(target=write, args=("in doubt",))
        thread.start()
        waiting = "SELECT count(*) > 0 FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND wait_event = 'SyncRep'"
        until(lambda: cluster.sql(waiting) == [(True,)])
        until(lambda: cluster.sql("SELECT flush_lsn >= pg_current_wal_lsn() FROM pg_stat_replication") == [(True,)])
        send_to_all(cluster.home / "data", signal.SIGKILL)
        time.sleep(seconds)
        standby.sql("SELECT pg_wal_replay_resume()")
        standby.promote()
        thread.join(PATIENCE)
        there = standby.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'in doubt'")
        response = results["in doubt"]
        if response.status_code == 204:
            assert there == [(1,)]
        elif response.status_code == 503:
            assert there == [(0,)]
        else:
            assert (response.status_code, response.json()["error"]["code"]) == (500, "0x80044150")
        until(lambda: server.request("POST", "mailboxes", {"name": "after"}).status_code == 204)
    finally:
        server.stop()


def test_a_commit_that_only_the_primary_has_is_not_acknowledged(pair):
    """SQL ends the session that waits for the standby. Its commit is then visible on the primary, but a failover would lose it."""
    cluster, standby = pair
    server = Server(cluster, "both")
    results = []
    waiting = "FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND wait_event = 'SyncRep'"
    there = "SELECT count(*) FROM org_contoso.mailbox WHERE name = 'in doubt'"
    try:
        assert server.request("POST", "mailboxes", {"name": "first"}).status_code == 204
        send_to_all(standby.home / "data", signal.SIGSTOP)
        thread = threading.Thread(target=lambda: results.append(server.request("POST", "mailboxes", {"name": "in doubt"})))
        thread.start()
        until(lambda: cluster.sql(f"SELECT count(*) > 0 {waiting}") == [(True,)])
        cluster.sql(f"SELECT pg_terminate_backend(pid) {waiting}")
        until(lambda: cluster.sql(there) == [(1,)])
        thread.join(2)
        assert results == []
        send_to_all(standby.home / "data", signal.SIGCONT)
        thread.join(PATIENCE)
        assert results[0].status_code == 204
        until(lambda: standby.sql(there) == [(1,)])
    finally:
        send_to_all(standby.home / "data", signal.SIGCONT)
        server.stop()


def test_a_former_primary_behind_a_load_balancer_gets_no_request(pair):
    """The settings name a load balancer, which sends connections to the former primary for a while."""
    cluster, standby = pair
    database = f"host=127.0.0.1 port={cluster.proxy.port} user=fieldseal_service dbname=fieldseal sslmode=disable gssencmode=disable"
    text = re.sub(r"^database: .*$", f'database: "{database} target_session_attrs=read-write"', (cluster.home / "direct.yaml").read_text(), flags=re.M)
    (cluster.home / "balanced.yaml").write_text(text)
    former, new = cluster.proxy.target, f"{standby.home}/.s.PGSQL.5432"
    server = Server(cluster, "balanced")
    try:
        assert server.request("POST", "mailboxes", {"name": "before"}).status_code == 204
        # Connections to the paused server stay open until the service finds the new primary.
        send_to_all(cluster.home / "data", signal.SIGSTOP)
        standby.promote()
        cluster.proxy.target = new
        promoted = time.monotonic()
        until(lambda: server.request("POST", "mailboxes", {"name": "on the new one"}).status_code == 204)
        assert time.monotonic() - promoted < PROMISE
        cluster.proxy.target = former
        send_to_all(cluster.home / "data", signal.SIGCONT)
        standby.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
        until(lambda: server.request("GET", "mailboxes?$top=1").status_code == 503)
        for _ in range(5):
            # This request may be the one in which a connection breaks. Then its outcome is unknown.
            response = server.request("POST", "mailboxes", {"name": "lost"})
            assert is_refusal(response) or is_unknown(response), response.text
            assert server.request("GET", "mailboxes?$top=1").status_code == 503
        cluster.proxy.target = new
        until(lambda: server.request("POST", "mailboxes", {"name": "again"}).status_code == 204)
        there = {name for (name,) in standby.sql("SELECT name FROM org_contoso.mailbox")}
        assert {"before", "on the new one", "again"} <= there and "lost" not in there
        assert cluster.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'lost'") == [(0,)]
    finally:
        server.stop()


def test_without_synchronous_replication_the_last_moments_are_lost_and_the_service_notices():
    cluster = Cluster()
    standby = server = None
    try:
        standby = Standby(cluster)
        hosts_settings(cluster, "both", [cluster.home, standby.home])
        server = Server(cluster, "both")
        assert server.request("POST", "mailboxes", {"name": "kept"}).status_code == 204
        until(lambda: standby.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'kept'") == [(1,)])
        standby.sql("ALTER SYSTEM SET primary_conninfo = ''")
        standby.sql("SELECT pg_reload_conf()")
        until(lambda: cluster.sql("SELECT count(*) FROM pg_stat_replication") == [(0,)])
        # The standby does not get these writes, which the primary acknowledges.
        assert server.request("POST", "mailboxes", {"name": "lost"}).status_code == 204
        key = {"EncryptionKey": "Correct-horse-battery-9", "ChangeEncryptionKey": True}
        assert server.request("POST", "SetDataEncryptionKey", key).status_code == 204
        # This request makes the server read and remember the state after the key change.
        assert server.request("POST", "mailboxes", {"name": "lost with the new key", "password": "s3cret"}).status_code == 204
        send_to_all(cluster.home / "data", signal.SIGKILL)
        standby.promote()
        # The new primary has an older state than the server remembers. So the server refuses the organization, instead of using the older key.
        until(lambda: server.request("POST", "mailboxes", {"name": "after", "password": "s3cret"}).status_code == 403)
        answer = server.request("GET", "mailboxes?$top=1")
        assert answer.status_code == 403 and "was restored, a replica that lagged behind" in answer.text and "org attach" in answer.text, answer.text
        there = {name for (name,) in standby.sql("SELECT name FROM org_contoso.mailbox")}
        assert "kept" in there and "lost" not in there and "after" not in there
        place = f"migrationDatabase: host={standby.home} user=postgres dbname=fieldseal\n"
        text = re.sub(r"^migrationDatabase: .*\n", place, (cluster.home / "both.yaml").read_text(), flags=re.M)
        (cluster.home / "both.yaml").write_text(text)
        cluster.run("org", "attach", "contoso", "--yes", settings="both")
        until(lambda: server.request("POST", "mailboxes", {"name": "after", "password": "s3cret"}).status_code == 204)
        assert cluster.run("verify", settings="both").returncode == 0
    finally:
        if server:
            server.stop()
        if standby:
            standby.stop()
        cluster.remove()
