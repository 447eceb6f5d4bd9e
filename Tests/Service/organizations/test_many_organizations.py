"""Many organizations, few of them in use. The cost of background work, migrations and the doctor depends only on those in use."""

import json
import re
import signal

import psycopg
import pytest
from cluster import MIGRATIONS, NEWEST, Cluster
from server import Server
from waiting import until

ASLEEP = [f"asleep-{number}" for number in range(6)]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("log_statement=all", "autovacuum=off")
    try:
        for name in ASLEEP:
            cluster.run("org", "create", name)
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def server(cluster):
    server = Server(cluster)
    yield server
    server.stop()


def log(cluster, mark=0):
    return (cluster.home / "postgres.log").read_bytes()[mark:].decode()


def set_password(server, name):
    assert server.request("POST", "mailboxes", {"name": name, "password": "s3cret"}).status_code == 204


def marked(cluster):
    return {name for (name,) in cluster.sql("SELECT name FROM config.sweep JOIN config.organization USING (organization_id)")}


def test_what_runs_regularly_looks_at_organizations_in_which_something_happened(cluster, server):
    set_password(server, "awake")
    # The second server runs until it has swept once and has looked for changes several times.
    cluster.sql("UPDATE config.sweep SET swept_on = '-infinity'")
    mark = len(log(cluster).encode())
    second = Server(cluster)
    try:
        until(lambda: cluster.sql("SELECT bool_and(swept_on > '-infinity') FROM config.sweep") == [(True,)])
        until(lambda: log(cluster, mark).count("pg_visible_in_snapshot") > 4)
    finally:
        second.stop()
    assert marked(cluster) == {"contoso"}
    statements = log(cluster, mark)
    assert 'FROM "org_contoso"' in statements or '"org_contoso".' in statements
    assert "asleep" not in statements


def test_events_of_a_server_that_was_killed_are_linked_by_another(cluster, server):
    first = Server(cluster)
    before = cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'password set'")[0][0]
    # While this transaction locks the attested state, no server can link the events into the chain.
    with psycopg.connect(cluster.superuser) as holder:
        holder.execute("SELECT FROM config.attested_state FOR UPDATE")
        for number in range(3):
            set_password(first, f"killed-{number}")
        first.process.send_signal(signal.SIGKILL)
        first.process.wait()
        assert cluster.sql("SELECT count(*) FROM unchained_event") == [(3,)] and "contoso" in marked(cluster)
    until(lambda: cluster.sql("SELECT count(*) FROM unchained_event") == [(0,)])
    assert cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'password set'") == [(before + 3,)]


def test_a_mark_goes_when_nothing_is_left_and_not_before(cluster, server):
    set_password(server, "marks")
    with psycopg.connect(cluster.superuser) as reader:
        reader.execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT FROM config.organization")
        cluster.run("key", "change", "--org", "contoso")
        assert cluster.leftovers()
        cluster.sql("UPDATE config.sweep SET keep_until = '-infinity', swept_on = '-infinity'")
        until(lambda: cluster.sql("SELECT swept_on > '-infinity' FROM config.sweep") == [(True,)])
        # A snapshot still reads the old cells, so the organization stays marked, and a later sweep drops them.
        assert cluster.leftovers() and marked(cluster) == {"contoso"}
    cluster.sql("UPDATE config.sweep SET keep_until = '-infinity', swept_on = '-infinity'")
    until(lambda: marked(cluster) == set())
    assert cluster.leftovers() == []


def test_a_migration_that_was_killed_goes_on_where_it_was(cluster):
    before = MIGRATIONS[-3]
    for name in ASLEEP:
        cluster.step_back(name, before)
    with psycopg.connect(cluster.superuser) as holder:
        holder.execute("LOCK TABLE org_asleep_5.systemuser, org_asleep_5.email, org_asleep_5.migration IN ACCESS EXCLUSIVE MODE")
        process = cluster.popen("migrate", "up", "--parallel", "2")
        done = "SELECT array_agg(name ORDER BY name) FROM config.organization WHERE schema_version = %s"
        until(lambda: cluster.sql(done, [NEWEST])[0][0] == ["asleep-0", "asleep-1", "asleep-2", "asleep-3", "asleep-4", "contoso"])
        # The command prints finished organizations before it has finished all of them.
        assert "asleep-" in process.stdout.readline() + process.stdout.readline()
        process.kill()
        process.communicate()
    result = cluster.run("migrate", "up").stdout
    assert result.count(NEWEST) == 1 and "6 organizations: nothing to do" in result and "asleep-0" not in result
    ledgers = cluster.sql("SELECT count(*), count(DISTINCT (organization_id, name)) FROM config.migration WHERE scope = 'org'")
    assert ledgers == [(7 * len(MIGRATIONS),) * 2]


def test_a_migration_that_fails_in_one_organization_goes_on_in_the_others(cluster):
    for name in ASLEEP:
        cluster.step_back(name, MIGRATIONS[-2])
    # The migration fails in this organization: it revokes rights on a function, which only the function's owner can do.
    give = "SET fieldseal.maintenance = 'on'; ALTER FUNCTION org_asleep_2.refuse_truncate() OWNER TO {}"
    cluster.sql(give.format("postgres"))
    here = "FROM pg_stat_activity WHERE application_name LIKE 'fieldseal%%' AND usename = 'postgres'"
    with psycopg.connect(cluster.superuser) as holder:
        holder.execute("LOCK TABLE org_asleep_0.migration, org_asleep_1.migration, org_asleep_3.migration IN ACCESS EXCLUSIVE MODE")
        process = cluster.popen("migrate", "up", "--parallel", "3")
        until(lambda: cluster.sql(f"SELECT count(*) {here} AND wait_event_type = 'Lock'", []) == [(3,)])
        assert cluster.sql(f"SELECT count(*) {here}", []) == [(3,)]
    output, errors = process.communicate()
    assert process.returncode == 1 and output.count(NEWEST) == len(ASLEEP) and "refuse_truncate" in output, output + errors
    cluster.sql(give.format("fieldseal_owner"))
    again = cluster.run("migrate", "up").stdout
    assert f"asleep-2: {NEWEST}" in again and again.count(NEWEST) == 1, again


def test_config_check_says_once_what_many_organizations_have(cluster):
    for name in ASLEEP:
        cluster.step_back(name, MIGRATIONS[-2])
    try:
        checked = cluster.run("config", "check", check=False).stdout
        assert checked.count(NEWEST) == 1 and re.search(r"asleep-\d and 5 more", checked), checked
    finally:
        cluster.run("migrate", "up")


def test_a_number_of_connections_out_of_range_is_refused_by_name(cluster):
    for number in ("0", "101"):
        result = cluster.run("migrate", "up", "--parallel", number, check=False)
        assert result.returncode == 64 and "--parallel" in result.stderr


def test_the_doctor_shows_some_findings_of_each_kind_and_counts_the_others(cluster):
    def doctor(*arguments):
        return cluster.run("doctor", *arguments, check=False)

    report = json.loads(doctor("--json", "--limit", "2").stdout)
    never = [f for f in report["findings"] if f["code"] == "key-never-copied"]
    [total] = [t for t in report["totals"] if t["code"] == "key-never-copied"]
    assert len(never) == 2 and report["organizations"] == 7
    assert total["severity"] == "warning" and total["count"] >= 6 and total["omitted"] == total["count"] - 2
    text = doctor("--limit", "2").stdout
    assert re.search(rf"{total['omitted']} more of key-never-copied, {total['count']} in all", text)
    one = json.loads(doctor("--json", "--org", "asleep-3").stdout)
    assert one["organizations"] == 1 and {f["subject"] for f in one["findings"]} <= {"asleep-3", "deployment"}
    assert "key-never-copied" in {f["code"] for f in one["findings"] if f["subject"] == "asleep-3"}
    unknown = doctor("--org", "nowhere")
    assert unknown.returncode == 1 and "nowhere" in unknown.stderr


def test_names_of_many_organizations_are_not_all_listed(cluster):
    cluster.sql(
        "INSERT INTO config.organization (organization_id, name, schema_name, created_by) "
        "SELECT gen_random_uuid(), 'made-' || n, 'org_made_' || n, 'test' FROM generate_series(1, 30) AS n")
    try:
        result = cluster.run("key", "status", check=False)
        assert result.returncode == 64 and "and 17 more" in result.stderr
    finally:
        cluster.sql("DELETE FROM config.organization WHERE name LIKE 'made-%%'", [])
