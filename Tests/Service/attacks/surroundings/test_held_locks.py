"""A database session holds locks for a long time. Commands end with an error, and the doctor names the session."""

import concurrent.futures
import json

import psycopg
import pytest
from cluster import Cluster
from waiting import until


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("max_prepared_transactions=2")
    cluster.run("client", "add", "worker", "--role", "Basic User", "--org", "contoso")
    yield cluster
    cluster.remove()


def held(cluster):
    found = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
    return [f for f in found if f["code"] in ("lock-held", "transaction-prepared")]


def intruder(cluster, database="fieldseal"):
    return psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname={database} application_name=intruder")


@pytest.mark.parametrize("lock, name", [
    ("SELECT FROM config.attested_state FOR UPDATE", "config.attested_state"),
    ("SELECT pg_advisory_xact_lock(1)", "an advisory lock"),
    ("SELECT FROM org_contoso.mailbox FOR UPDATE", "mailbox"),
    ("LOCK TABLE org_contoso.mailbox IN SHARE ROW EXCLUSIVE MODE", "mailbox"),
])
def test_the_doctor_names_who_holds_a_lock(cluster, lock, name):
    with intruder(cluster) as other:
        other.execute(lock)
        until(lambda: held(cluster))
        [found] = held(cluster)
        assert f"process {other.info.backend_pid} (fieldseal_service, intruder, idle in transaction) holds a lock on" in found["message"], found
        assert name in found["message"] and f"pg_terminate_backend({other.info.backend_pid})" in found["advice"], found
    # The control: after the transaction has ended, the doctor names no session.
    assert held(cluster) == []


def test_a_reader_of_long_standing_is_not_named(cluster):
    with intruder(cluster) as reader, intruder(cluster) as writer:
        reader.execute("SELECT FROM config.attested_state")
        writer.execute("SELECT FROM config.attested_state FOR UPDATE")
        until(lambda: held(cluster))
        assert [f for f in held(cluster) if f"process {reader.info.backend_pid} " in f["message"]] == []


def test_the_doctor_names_a_prepared_transaction(cluster):
    with psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal", autocommit=True) as other:
        other.execute("BEGIN; SELECT FROM config.attested_state FOR UPDATE; PREPARE TRANSACTION 'it''s held'")
        try:
            until(lambda: held(cluster))
            [found] = held(cluster)
            assert found["code"] == "transaction-prepared" and "it's held of the login fieldseal_service" in found["message"], found
            assert "ROLLBACK PREPARED 'it''s held'" in found["advice"], found
        finally:
            other.execute("ROLLBACK PREPARED 'it''s held'")
    assert held(cluster) == []


def test_locks_of_another_database_are_not_named(cluster):
    cluster.sql("CREATE DATABASE neighbour")
    superuser = f"host={cluster.home} user=postgres dbname=neighbour"
    with psycopg.connect(superuser, autocommit=True) as other:
        other.execute("CREATE SCHEMA config; CREATE TABLE config.attested_state (a int); INSERT INTO config.attested_state VALUES (1)")
        other.execute("GRANT ALL ON SCHEMA config TO fieldseal_service; GRANT ALL ON config.attested_state TO fieldseal_service")
        other.execute("BEGIN; SELECT pg_advisory_xact_lock(2); PREPARE TRANSACTION 'next door'")
        with concurrent.futures.ThreadPoolExecutor(1) as pool, intruder(cluster, "neighbour") as waiter, intruder(cluster, "neighbour") as holder:
            holder.execute("SELECT pg_advisory_xact_lock(1); LOCK TABLE config.attested_state")
            waiting = pool.submit(waiter.execute, "SELECT FROM config.attested_state FOR UPDATE")
            until(lambda: cluster.sql("SELECT 1 FROM pg_stat_activity WHERE datname = 'neighbour' AND xact_start < now() - interval '11 seconds'"))
            assert held(cluster) == []
            holder.rollback()
            waiting.result()
        other.execute("ROLLBACK PREPARED 'next door'")
    cluster.sql("DROP DATABASE neighbour")


def test_a_command_names_the_session_that_it_waits_for(cluster):
    """Not another one that has held locks for a longer time."""
    with concurrent.futures.ThreadPoolExecutor(1) as pool, intruder(cluster) as second, intruder(cluster) as first, intruder(cluster) as longer:
        longer.execute("LOCK TABLE org_contoso.queue IN ROW EXCLUSIVE MODE")
        first.execute("SELECT FROM config.attested_state FOR UPDATE")
        # The command waits for a session that itself waits for the first one.
        waiting = pool.submit(second.execute, "SELECT FROM config.attested_state FOR UPDATE")
        ended = cluster.run("org", "suspend", "contoso", check=False)
        assert ended.returncode == 1 and f"process {first.info.backend_pid} (fieldseal_service, intruder" in ended.stderr, ended
        assert f"pg_terminate_backend({first.info.backend_pid})" in ended.stderr and str(longer.info.backend_pid) not in ended.stderr, ended
        first.rollback()
        waiting.result()


def test_a_reader_that_holds_up_a_removal_is_named(cluster):
    """`DROP SCHEMA` waits for every transaction that has read one of its tables."""
    cluster.run("org", "create", "leaving")
    with concurrent.futures.ThreadPoolExecutor(1) as pool, intruder(cluster) as reader:
        reader.execute("SELECT FROM org_leaving.queue")
        removal = pool.submit(cluster.run, "org", "remove", "leaving", "--without-export", "--yes", check=False)
        words = f"process {reader.info.backend_pid} (fieldseal_service, intruder, idle in transaction) holds a lock on "
        until(lambda: [f for f in held(cluster) if words in f["message"]])
        [found] = [f for f in held(cluster) if words in f["message"]]
        assert "org_leaving." in found["message"] and f"pg_terminate_backend({reader.info.backend_pid})" in found["advice"], found
        ended = removal.result()
        assert ended.returncode == 1 and "leaving was not removed" in ended.stderr and words in ended.stderr, ended
    # The control: the transaction has ended.
    cluster.run("org", "remove", "leaving", "--without-export", "--yes")


@pytest.mark.parametrize("command", [("client", "disable", "worker", "--org", "contoso"), ("org", "suspend", "contoso")])
def test_a_command_ends_and_names_who_holds_the_lock(cluster, command):
    with intruder(cluster) as other:
        other.execute("SELECT FROM config.attested_state FOR UPDATE")
        ended = cluster.run(*command, check=False)
        assert ended.returncode == 1, ended
        assert "its transaction was rolled back: for 10 seconds" in ended.stderr, ended
        assert f"process {other.info.backend_pid} (fieldseal_service, intruder, idle in transaction) holds a lock on config.attested_state" in ended.stderr, ended
    # The control: after the transaction has ended, the command succeeds.
    cluster.run(*command)
    cluster.run(*({"client": ("client", "enable", "worker", "--org", "contoso"), "org": ("org", "resume", "contoso")}[command[0]]))
