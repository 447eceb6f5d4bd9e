"""A database session holds locks for a long time. Commands end with an error, and the doctor names the session."""

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


def intruder(cluster):
    return psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal application_name=intruder")


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
