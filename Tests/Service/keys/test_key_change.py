"""A key change is killed, disconnected or delayed at each of its statements. The organization has one complete key afterwards."""

import concurrent.futures
import getpass
import json
import re
import shutil
import signal
import subprocess
import threading
import time

import cell_reader
import psycopg
import pytest
import torture

from cluster import Cluster
from proxy import ACTIONS, FAILURES
from sample import drawn
from server import Server
from service import PATIENCE

#: For each kind of interruption, at how many statements it is tried, unless the run tries every statement.
SAMPLE = 8


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster(keys={"patienceSeconds": 3})
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def own_cluster():
    cluster = Cluster(keys={"patienceSeconds": 3})
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def patient_cluster():
    """A cluster whose key changes wait longer for a lock than by default, so that tests have time to act on a busy machine."""
    cluster = Cluster(keys={"patienceSeconds": 60})
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def filled(cluster):
    """The cluster with 60 cells, and their values: (cluster, {address: value})."""
    return cluster, cluster.fill(60)


@pytest.fixture(scope="module")
def statements(filled):
    """The statements that one key change sends."""
    cluster, _ = filled
    result = cluster.change_through_proxy(None)
    assert result.returncode == 0, result.stderr
    recorded = list(cluster.proxy.statements)
    for part in ["pg_try_advisory_xact_lock", "announce_change", "COPY", "finish_generation", "switch_generation", "COMMIT", "drop_generation"]:
        assert any(part in sql for sql in recorded), part
    return recorded


def is_sound(cluster, before, values, result):
    """Checks that all cells are under the former or under the new key, and that the command reported the right outcome. Returns the key version."""
    version = cluster.key_version()
    assert version in (before, before + 1)
    if result.returncode == 0:
        assert json.loads(result.stdout)["keyVersion"] == version == before + 1
    elif "Nothing was changed" in result.stderr or "not changed" in result.stderr:
        assert version == before
    assert cluster.opened_cells() == values
    assert cluster.run("verify").returncode == 0
    return version


def is_swept(cluster):
    """Checks that the next key change removes all that an interrupted one left."""
    before = cluster.key_version()
    assert json.loads(cluster.run("key", "change", "--json").stdout)["keyVersion"] == before + 1
    assert cluster.leftovers() == []


@pytest.mark.parametrize("action", ACTIONS)
def test_struck_at_each_of_its_statements_a_change_leaves_one_key_or_the_other(filled, statements, action):
    cluster, values = filled
    struck, targets = 0, drawn(range(len(statements)), SAMPLE, action)
    for target in targets:
        before = cluster.key_version()
        result = cluster.change_through_proxy(lambda number, _: action if number == target else None)
        if cluster.proxy.struck:
            struck += 1
            assert not action.startswith("kill") or result.returncode == -9
        is_sound(cluster, before, values, result)
    # Key changes differ a little in the number of their statements, so a few targets may not be reached.
    assert len(targets) - struck < max(2, len(targets) / 10)
    is_swept(cluster)


@pytest.mark.parametrize("action", FAILURES)
def test_a_failure_at_any_of_its_statements_leaves_one_key_or_the_other(filled, statements, action):
    cluster, values = filled
    struck, targets = 0, drawn(range(len(statements)), SAMPLE, action)
    for target in targets:
        before = cluster.key_version()
        prepares = []

        def strike(number, sql):
            # PostgreSQL must prepare the original statement. The proxy replaces the message that executes it.
            prepares.append(sql)
            return action if number >= target and (prepares.count(sql) > 1 or not sql.startswith(("SELECT", "INSERT"))) else None

        result = cluster.change_through_proxy(strike)
        struck += bool(cluster.proxy.struck)
        is_sound(cluster, before, values, result)
    assert struck > len(targets) // 2
    is_swept(cluster)


@pytest.mark.parametrize("action", ["cut before", "cut after", "terminate before", "terminate after", "kill after"])
def test_struck_at_its_commit_a_change_tells_the_truth(filled, statements, action):
    cluster, values = filled
    target = max(number for number, sql in enumerate(statements) if "config.organization_key (" in sql)
    before = cluster.key_version()
    seen = []

    def strike(number, sql):
        seen.append(sql)
        return action if sql == "COMMIT" and any("switch_generation" in s for s in seen) else None

    result = cluster.change_through_proxy(strike)
    assert cluster.proxy.struck, (target, seen)
    version = is_sound(cluster, before, values, result)
    if action == "cut after":
        # The change was committed, but the command lost the response. It looks the outcome up by the change's id.
        assert (result.returncode, version) == (0, before + 1), result.stderr
    if action in ("cut before", "terminate before"):
        assert (result.returncode, version) == (1, before), result.stdout
    is_swept(cluster)


def test_postgresql_stopped_at_once_during_a_change(own_cluster):
    cluster = own_cluster
    values = cluster.fill(3_000)
    for delay in (0.0, 0.05, 0.15):
        before = cluster.key_version()
        process = cluster.popen("key", "change", "--json")
        deadline = time.monotonic() + PATIENCE
        while not cluster.sql("SELECT 1 FROM config.key_change") and process.poll() is None and time.monotonic() < deadline:
            time.sleep(0.005)
        time.sleep(delay)
        cluster.stop(signal.SIGQUIT)
        threading.Timer(0.3, cluster.start).start()
        output, errors = process.communicate("", timeout=PATIENCE)
        while cluster.run("key", "status", check=False).returncode:
            time.sleep(0.1)
        is_sound(cluster, before, values, subprocess.CompletedProcess([], process.returncode, output, errors))
    is_swept(cluster)


@pytest.mark.parametrize("setting", ["lock_timeout", "statement_timeout", "idle_in_transaction_session_timeout"])
def test_a_timeout_of_the_role_ends_a_change_before_it_began_or_not_at_all(filled, setting):
    cluster, values = filled
    for milliseconds in (1, 3, 10, 30):
        cluster.sql(f"ALTER ROLE fieldseal_service SET {setting} = '{milliseconds}ms'")
        before = cluster.key_version()
        result = cluster.run("key", "change", "--json", check=False)
        cluster.sql(f"ALTER ROLE fieldseal_service RESET {setting}")
        is_sound(cluster, before, values, result)
    is_swept(cluster)


def test_a_transaction_that_holds_the_switch_up_is_named_and_nobody_else_waits(own_cluster):
    cluster = own_cluster
    values = cluster.fill(20)
    id = cluster.sql("SELECT mailboxid FROM mailbox_cell LIMIT 1")[0][0]
    other = cluster.sql("SELECT mailboxid FROM mailbox_cell WHERE mailboxid <> %s LIMIT 1", [id])[0][0]
    touch = "UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s AND key_version = 1"
    with psycopg.connect(cluster.superuser, application_name="a forgotten session") as idle:
        idle.execute(touch, [id])
        process = cluster.popen("key", "change")
        longest = 0.0
        while process.poll() is None:
            start = time.monotonic()
            cluster.sql(touch, [other])
            longest = max(longest, time.monotonic() - start)
        output, errors = process.communicate("")
        assert process.returncode == 1
        # PostgreSQL hides from the service when a transaction of another login began.
        assert f"process {idle.info.backend_pid} (postgres, a forgotten session) holds a lock" in errors
        # A lock request makes writers wait for at most one attempt, which takes less than a second for all four tables.
        assert longest < 1
        assert cluster.key_version() == 1 and cluster.opened_cells() == values
    is_swept(cluster)


def test_a_dump_that_reads_the_old_generation_holds_nothing_up(own_cluster):
    cluster = own_cluster
    values = cluster.fill(20)
    with psycopg.connect(cluster.superuser) as dump:
        dump.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        first = dump.execute("SELECT count(*) FROM org_contoso.mailbox_cell").fetchall()
        assert cluster.run("key", "change").returncode == 0
        assert cluster.key_version() == 2 and cluster.opened_cells() == values
        # In its snapshot, the dump still sees all cells under version 1.
        assert dump.execute("SELECT count(*) FROM org_contoso.mailbox_cell").fetchall() == first
        assert dump.execute("SELECT DISTINCT key_version FROM org_contoso.mailbox_cell").fetchall() == [(1,)]
    is_swept(cluster)


@pytest.mark.parametrize("is_reused", [True, False], ids=["another's", "the change's own"])
def test_a_cancellation_does_not_hit_a_process_that_has_the_number_now(own_cluster, is_reused):
    """The row of a key change that died names a process number, which another session of the service has now."""
    cluster = own_cluster
    with psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal", autocommit=True) as session:
        pid = session.execute("SELECT pg_backend_pid()").fetchone()[0]
        started = "backend_start - interval '1 minute'" if is_reused else "clock_timestamp()"
        cluster.sql(
            "INSERT INTO config.key_change (organization_id, rotation_id, backend, started_on, started_by, phase) "
            f"SELECT o.organization_id, gen_random_uuid(), a.pid, {started}, 'cli:test', 'copying' FROM config.organization AS o, pg_stat_activity AS a WHERE a.pid = %s", [pid])
        with concurrent.futures.ThreadPoolExecutor(1) as pool:
            statement = pool.submit(session.execute, "SELECT pg_sleep(600)")
            deadline = time.monotonic() + PATIENCE
            while not cluster.sql("SELECT 1 FROM pg_stat_activity WHERE pid = %s AND wait_event = 'PgSleep'", [pid]):
                assert time.monotonic() < deadline
                time.sleep(0.01)
            cluster.run("key", "cancel")
            if is_reused:
                assert cluster.sql("SELECT state FROM pg_stat_activity WHERE pid = %s", [pid]) == [("active",)] and not statement.done()
                cluster.sql("SELECT pg_cancel_backend(%s)", [pid])
            with pytest.raises(psycopg.errors.QueryCanceled):
                statement.result(PATIENCE)
    # The cancellation is recorded, whether or not it ended a session. The actor is the person who cancelled, not the one who began the key change.
    assert cancellations(cluster) == [(f"cli:{getpass.getuser()}", "succeeded")]


def cancellations(cluster):
    return cluster.sql("SELECT actor, outcome FROM security_event WHERE kind = 'key change cancelled'")


def test_a_change_is_cancelled_by_an_administrator_and_by_a_dba(patient_cluster):
    cluster = patient_cluster
    values = cluster.fill(20)
    id = cluster.sql("SELECT mailboxid FROM mailbox_cell LIMIT 1")[0][0]
    for dba in (False, True):
        with psycopg.connect(cluster.superuser) as idle:
            idle.execute("UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s", [id])
            process = cluster.popen("key", "change")
            while not cluster.sql("SELECT 1 FROM config.key_change"):
                time.sleep(0.01)
            if dba:
                while process.poll() is None:
                    cluster.sql("SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'fieldseal key change%'")
                    time.sleep(0.01)
            else:
                assert cluster.run("key", "cancel").returncode == 0
            _, errors = process.communicate("", timeout=PATIENCE)
            assert process.returncode == 1 and "cancelled by" in errors and ("cli:" in errors or dba), errors
            idle.rollback()
        assert cluster.key_version() == 1 and cluster.opened_cells() == values
    assert cluster.run("key", "cancel", check=False).returncode == 1
    assert cancellations(cluster) == [(f"cli:{getpass.getuser()}", "succeeded")]
    is_swept(cluster)


def test_a_rehearsal_changes_nothing_and_names_every_cell_that_does_not_open(own_cluster):
    cluster = own_cluster
    values = cluster.fill(20)
    found = json.loads(cluster.run("key", "rehearse", "--json").stdout)
    assert found["cells"] == len(values) and found["walBytes"] > 0 and found["unreadable"] == []
    (one,), (other,) = cluster.sql("SELECT mailboxid FROM mailbox_cell LIMIT 2")
    cluster.sql("UPDATE mailbox_cell SET password = set_byte(password, 30, get_byte(password, 30) # 1) WHERE mailboxid = %s", [one])
    cluster.sql("UPDATE mailbox_cell SET password = (SELECT password FROM mailbox_cell WHERE mailboxid = %s) WHERE mailboxid = %s", [one, other])
    result = cluster.run("key", "rehearse", "--json", check=False)
    assert result.returncode == 1
    unreadable = json.loads(result.stdout)["unreadable"]
    assert sorted(unreadable) == sorted(f"mailbox({id}).password: damaged, or moved here from another place" for id in (one, other))
    assert cluster.key_version() == 1 and cluster.leftovers() == []


def test_unreadable_cells_stop_a_change_or_are_moved_to_quarantine_on_demand(own_cluster):
    cluster = own_cluster
    values = cluster.fill(20)
    [(id,)] = cluster.sql("SELECT mailboxid FROM mailbox_cell LIMIT 1")
    cluster.sql("UPDATE mailbox SET ispasswordset = true")
    cluster.sql("UPDATE mailbox_cell SET password = set_byte(password, 30, get_byte(password, 30) # 1) WHERE mailboxid = %s", [id])
    [(damaged,)] = cluster.sql("SELECT password FROM mailbox_cell WHERE mailboxid = %s", [id])
    refused = cluster.run("key", "change", check=False)
    assert refused.returncode == 1 and f"mailbox({id}).password" in refused.stderr and cluster.key_version() == 1
    untyped = cluster.run("key", "change", "--skip-unreadable", stdin="yes\n", check=False)
    assert untyped.returncode != 0 and cluster.key_version() == 1
    done = cluster.run("key", "change", "--skip-unreadable", stdin="quarantine\n")
    assert f"mailbox({id}).password: damaged, or moved here from another place: moved to quarantine" in done.stdout
    assert cluster.sql("SELECT entity, record_id, attribute, key_version, content FROM quarantined_cell") == [
        ("mailbox", id, "password", 1, damaged)]
    assert cluster.sql("SELECT count(*) FROM mailbox WHERE NOT ispasswordset") == [(1,)]
    del values[f"mailbox({id}).password"]
    assert cluster.opened_cells() == values and cluster.run("verify").returncode == 0


def test_a_retired_key_is_purged_and_the_one_in_force_is_not(own_cluster):
    cluster = own_cluster
    cluster.run("key", "change")
    current = cluster.run("key", "purge", "2", "--yes", check=False)
    assert current.returncode == 1 and "0x80048526" in current.stderr
    asked = cluster.run("key", "purge", "1", check=False)
    assert asked.returncode != 0 and re.search(r"from \S+Z to \S+Z", asked.stderr)
    assert "Backups taken between" in cluster.run("key", "purge", "1", "--yes").stdout
    assert cluster.sql("SELECT key_version, wrapped_text IS NULL, wrapped_data IS NULL FROM config.organization_key ORDER BY 1") == [
        (1, True, True), (2, False, False)]
    assert cluster.run("key", "purge", "1", "--yes", check=False).returncode == 1
    history = json.loads(cluster.run("key", "history", "--json").stdout)
    assert [(h["keyVersion"], h["purgedOn"] is None) for h in history] == [(2, True), (1, False)]
    with pytest.raises(psycopg.Error, match="cannot be updated"):
        cluster.sql("UPDATE config.organization_key SET wrapped_text = NULL, wrapped_data = NULL WHERE key_version = 2")


def test_two_organizations_change_at_the_same_time(own_cluster):
    cluster = own_cluster
    values = cluster.fill(2_000)
    cluster.run("org", "create", "fabrikam")
    both = [cluster.popen("key", "change", "--org", name) for name in ("contoso", "fabrikam")]
    for process in both:
        assert process.communicate("")[1].count("Error") == 0 and process.returncode == 0
    assert cluster.key_version() == 2
    assert cluster.sql("SELECT key_version FROM org_fabrikam.encryption") == [(2,)]
    key = cluster.run("key", "show", "--org", "contoso").stdout.strip()
    assert {a: s for a, _, s in cell_reader.read_organization(cluster.superuser, "org_contoso", key)} == values


def test_values_of_one_and_ten_thousand_bytes_and_users_without_passwords(own_cluster):
    cluster = own_cluster
    values = cluster.fill(40, value=lambda id: "x" if id.int % 2 else "y" * 10_000)
    cluster.sql(
        "INSERT INTO usersettings (systemuserid, businessunitid) SELECT gen_random_uuid(), (SELECT businessunitid FROM businessunit LIMIT 1) "
        "FROM generate_series(1, 100000)")
    summary = json.loads(cluster.run("key", "change", "--json").stdout)
    assert summary["cells"] == len(values) and cluster.opened_cells() == values


def test_a_disk_that_is_full_ends_a_change_and_nothing_else(own_cluster):
    """The new generation is in a tablespace on a separate file system of 2 MB."""
    cluster = own_cluster
    values = cluster.fill(20_000)
    small = cluster.home / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=2m,mode=0777", "tmpfs", str(small)], check=True)
    try:
        (small / "t").mkdir(0o700)
        shutil.chown(small / "t", "postgres")
        cluster.sql(f"CREATE TABLESPACE small LOCATION '{small}/t'")
        cluster.sql("GRANT CREATE ON TABLESPACE small TO PUBLIC")
        cluster.sql("ALTER DATABASE fieldseal SET default_tablespace = 'small'")
        result = cluster.run("key", "change", check=False)
        assert result.returncode == 1 and "space" in result.stderr, result.stderr
        assert cluster.key_version() == 1 and cluster.opened_cells() == values
        cluster.sql("ALTER DATABASE fieldseal RESET default_tablespace")
        is_swept(cluster)
        cluster.sql("DROP TABLESPACE small")
    finally:
        subprocess.run(["umount", str(small)], check=True)


def test_a_sample_of_the_torture():
    """Runs 60 rounds. `make torture` runs 2,000."""
    assert torture.main(["--cases", "60", "--seed", "4"]) == 0


def test_a_server_that_slept_through_a_change_seals_again_when_it_wakes(own_cluster):
    cluster = own_cluster
    server, other = Server(cluster), Server(cluster)
    try:
        id = re.search(r"\(([0-9a-f-]{36})\)", server.request("POST", "mailboxes", {"name": "m", "password": "first"}).headers["OData-EntityId"])[1]
        server.process.send_signal(signal.SIGSTOP)
        for number in range(2):
            key = {"EncryptionKey": f"While-it-slept-{number}", "ChangeEncryptionKey": True}
            assert other.request("POST", "SetDataEncryptionKey", key).status_code == 204
        server.process.send_signal(signal.SIGCONT)
        assert server.request("PATCH", f"mailboxes({id})", {"password": "second"}).status_code == 204
        assert server.request("GET", "RetrieveDataEncryptionKey()").json()["EncryptionKey"] == "While-it-slept-1"
        assert cluster.opened_cells() == {f"mailbox({id}).password": "second"}
    finally:
        server.process.send_signal(signal.SIGCONT)
        server.stop()
        other.stop()


def test_the_progress_of_a_change_is_seen_in_sql_and_through_any_server(own_cluster):
    cluster = own_cluster
    cluster.fill(20)
    server = Server(cluster)
    try:
        assert server.request("GET", "RetrieveDataEncryptionKeyChange()").json()["IsRunning"] is False
        with psycopg.connect(cluster.superuser) as idle:
            idle.execute("UPDATE org_contoso.mailbox_cell SET password = password")
            process = cluster.popen("key", "change")
            while not (progress := server.request("GET", "RetrieveDataEncryptionKeyChange()").json())["IsRunning"]:
                assert process.poll() is None
            assert progress["Phase"] == "announcing" and progress["StartedBy"].startswith("cli:")
            while not cluster.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'fieldseal key change contoso%'"):
                assert process.poll() is None
            assert cluster.sql("SELECT organization, phase, is_alive FROM config.key_change_progress") == [("contoso", "announcing", True)]
            busy = server.request("POST", "SetDataEncryptionKey", {"EncryptionKey": "Another-one-1", "ChangeEncryptionKey": True})
            assert busy.status_code == 429 and busy.json()["error"]["code"] == "0x8004852A" and int(busy.headers["Retry-After"]) > 0
        _, errors = process.communicate("", timeout=PATIENCE)
        assert process.returncode == 0
        # Without a terminal, the command prints one line for each phase.
        assert [line.split(":")[0] for line in errors.splitlines()] == ["announcing", "copying", "indexing", "catching up", "switching"]
    finally:
        server.stop()


@pytest.mark.parametrize("level", ["READ COMMITTED", "REPEATABLE READ", "SERIALIZABLE"])
def test_transactions_older_than_the_switch_write_and_delete_nothing_under_the_old_key(own_cluster, level):
    cluster = own_cluster
    values = cluster.fill(20)
    (one,), (two,), (three,) = cluster.sql("SELECT mailboxid FROM mailbox_cell ORDER BY 1 LIMIT 3")
    cell = "(SELECT password FROM mailbox_cell WHERE key_version = 1 AND mailboxid = %s)"
    attempts = [
        (f"UPDATE mailbox_cell SET password = {cell} WHERE key_version = 1 AND mailboxid = %s", [one, one]),
        (f"INSERT INTO mailbox_cell SELECT 1, %s, {cell} ON CONFLICT (key_version, mailboxid) DO UPDATE SET password = excluded.password", [two, two]),
        ("DELETE FROM mailbox WHERE mailboxid = %s", [three]),
    ]
    sessions = []
    for _ in attempts:
        connection = psycopg.connect(cluster.superuser)
        connection.execute("SET search_path = org_contoso, public")
        connection.commit()
        connection.execute(f"SET TRANSACTION ISOLATION LEVEL {level}")
        # The transaction has a snapshot, but no lock on a table of cells, so the key change does not wait for it.
        connection.execute("SELECT count(*) FROM mailbox")
        sessions.append(connection)
    assert cluster.run("key", "change").returncode == 0
    for connection, (statement, parameters) in zip(sessions, attempts):
        if level == "READ COMMITTED" and statement.startswith("DELETE"):
            # In READ COMMITTED, the statement sees the new key version, and deletes the cell there.
            connection.execute(statement, parameters)
            connection.commit()
            del values[f"mailbox({three}).password"]
        elif level == "READ COMMITTED" and statement.startswith("UPDATE"):
            # The service drops the old generation at once, because no snapshot needs it. So the statement finds no row.
            assert connection.execute(statement, parameters).rowcount == 0
        else:
            with pytest.raises(psycopg.Error) as refusal:
                connection.execute(statement, parameters)
            assert refusal.value.sqlstate in ("FS001", "40001", "23514"), refusal.value
        connection.close()
    assert cluster.opened_cells() == values
    assert cluster.sql("SELECT count(*) FROM mailbox_cell AS c LEFT JOIN mailbox AS m USING (mailboxid) WHERE m.mailboxid IS NULL") == [(0,)]
    is_swept(cluster)


def test_an_organization_is_attached_while_another_changes_its_key(own_cluster):
    values = own_cluster.fill(30)
    other = Cluster()
    try:
        other.run("org", "create", "restored")
        dump = subprocess.run(["pg_dump", "--schema=org_restored", other.superuser], capture_output=True, check=True).stdout
    finally:
        other.remove()
    subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", own_cluster.superuser], input=dump, check=True, capture_output=True)
    attached = []

    def strike(number, sql):
        if "COPY" in sql and not attached:
            attached.append(own_cluster.run("org", "attach", "restored", check=False))

    before = own_cluster.key_version()
    result = own_cluster.change_through_proxy(strike)
    assert (result.returncode, attached[0].returncode) == (0, 0), (result.stderr, attached[0].stderr)
    key = own_cluster.run("key", "show", "--org", "contoso").stdout.strip()
    assert own_cluster.key_version() == before + 1
    assert {a: s for a, _, s in cell_reader.read_organization(own_cluster.superuser, "org_contoso", key)} == values
    assert own_cluster.sql("SELECT count(*) FROM config.organization") == [(2,)]


def test_after_a_change_one_write_learns_of_it_and_the_next_ones_know(own_cluster):
    server = Server(own_cluster)
    try:
        for n in range(2):
            assert server.request("POST", "mailboxes", {"name": "m", "password": "p"}).status_code == 204
        own_cluster.run("key", "change")

        def refused():
            log = (own_cluster.home / "postgres.log").read_text()
            return len(re.findall(r"ERROR:.*(session is stale|is retired|no partition of relation|_has_key_version)", log))

        before = refused()
        for n in range(10):
            assert server.request("POST", "mailboxes", {"name": "m", "password": f"p{n}"}).status_code == 204
        # At most one write was refused by PostgreSQL: none if the server had read the organizations' state after the key change.
        assert refused() - before <= 1
    finally:
        server.stop()
