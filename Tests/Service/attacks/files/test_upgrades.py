"""An upgrade of a schema with plaintext passwords keeps what it copies, and loses only what --discard names."""

import concurrent.futures
import json

import psycopg
import pytest
from cluster import Cluster
from waiting import until

BASE = """
    CREATE SCHEMA org_legacy;
    SET search_path = org_legacy;
    CREATE TABLE mailbox (mailboxid uuid PRIMARY KEY, name text, password text);
    INSERT INTO mailbox SELECT gen_random_uuid(), 'm' || i, 'secret ' || i FROM generate_series(1, 10) AS i;
    CREATE TABLE systemuser (systemuserid uuid PRIMARY KEY, fullname text, domainname text, businessunitid uuid);
    CREATE TABLE businessunit (businessunitid uuid PRIMARY KEY, name text);
    INSERT INTO businessunit VALUES (gen_random_uuid(), 'unit');
    INSERT INTO systemuser SELECT gen_random_uuid(), 'Ada', 'ada', businessunitid FROM businessunit;
"""


@pytest.fixture(scope="module")
def deployment():
    cluster = Cluster("fsync=on")
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def legacy(deployment):
    """A deployment with a schema that keeps passwords in plaintext. The database is restored after each test."""
    other = deployment.superuser.replace("dbname=fieldseal", "dbname=postgres")

    def administer(*statements):
        with psycopg.connect(other, autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    administer("CREATE DATABASE whole TEMPLATE fieldseal")
    try:
        deployment.sql(BASE)
        yield deployment
    finally:
        administer("DROP DATABASE fieldseal WITH (FORCE)", "ALTER DATABASE whole RENAME TO fieldseal", "GRANT CREATE ON DATABASE fieldseal TO fieldseal_owner")


def upgrade(cluster, *arguments, check=False):
    return cluster.run("org", "upgrade", "legacy", "--from-plaintext", *arguments, check=check)


def test_what_is_known_is_taken_over(legacy):
    result = upgrade(legacy, "--json", check=True)
    assert json.loads(result.stdout)["losses"] == [] and json.loads(result.stdout)["cells"] == 10
    assert legacy.sql("SELECT fullname FROM org_legacy.systemuser") == [("Ada",)]
    # Each user gets user settings, as users that are created later do.
    assert legacy.sql("SELECT count(*) FROM org_legacy.systemuser JOIN org_legacy.usersettings USING (systemuserid, businessunitid)") == [(1,)]
    assert "all of them open" in legacy.run("verify", "--org", "legacy").stdout
    assert [f for f in json.loads(legacy.run("doctor", "--json", check=False).stdout)["findings"] if f["code"] != "key-never-copied"] == []


@pytest.mark.parametrize(
    "statement, name",
    [
        ("CREATE TABLE org_legacy.contact (id int)", "contact"),
        ("CREATE TABLE org_legacy.\"Odd name\" (id int)", '"Odd name"'),
        ("CREATE VIEW org_legacy.report AS SELECT name FROM org_legacy.mailbox", "report"),
        ("CREATE MATERIALIZED VIEW public.counts AS SELECT count(*) FROM org_legacy.mailbox", "public.counts"),
        ("CREATE VIEW public.a AS SELECT name FROM org_legacy.mailbox", "public.a"),
        ("CREATE FUNCTION org_legacy.f(int) RETURNS int LANGUAGE sql AS 'SELECT 1'", "f(integer)"),
        ("CREATE FUNCTION public.g() RETURNS SETOF org_legacy.mailbox LANGUAGE sql AS 'SELECT * FROM org_legacy.mailbox'", "public.g()"),
        ("CREATE TYPE org_legacy.mood AS ENUM ('a')", "mood"),
        ("CREATE SEQUENCE org_legacy.numbers", "numbers"),
        ("CREATE TABLE public.note (mailboxid uuid CONSTRAINT about REFERENCES org_legacy.mailbox)", "about on public.note"),
        ("CREATE SEQUENCE org_legacy.numbers; CREATE TABLE public.t (id int DEFAULT nextval('org_legacy.numbers'))", "numbers"),
        ("ALTER TABLE org_legacy.mailbox ADD custom_note text; UPDATE org_legacy.mailbox SET custom_note = 'x' WHERE name = 'm3'", "mailbox.custom_note"),
        ("CREATE FUNCTION public.h() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; "
         "CREATE TRIGGER notes AFTER INSERT ON org_legacy.mailbox FOR EACH ROW EXECUTE FUNCTION public.h()", "notes on mailbox"),
        ("CREATE POLICY hides ON org_legacy.mailbox USING (true)", "hides on mailbox"),
        ("CREATE TABLE public.unit (id uuid PRIMARY KEY); ALTER TABLE org_legacy.mailbox ADD unit uuid CONSTRAINT inside REFERENCES public.unit", "inside on mailbox"),
        ("CREATE PUBLICATION feed FOR TABLE org_legacy.mailbox", "mailbox in publication feed"),
        ("CREATE TABLE org_legacy.security_event (id int)", "security_event"),
    ])
def test_what_would_be_lost_is_named_and_refused(legacy, statement, name):
    legacy.sql(statement)
    before = legacy.sql("SELECT string_agg(m::text, ',' ORDER BY name) FROM org_legacy.mailbox AS m")
    rehearsed = upgrade(legacy, "--rehearse", "--json")
    names = [loss["name"] for loss in json.loads(rehearsed.stdout)["losses"]]
    assert rehearsed.returncode == 1 and name in names
    refused = upgrade(legacy)
    assert refused.returncode == 1 and f"--discard '{name}'" in refused.stderr and "Nothing was changed" in refused.stderr
    assert legacy.sql("SELECT string_agg(m::text, ',' ORDER BY name) FROM org_legacy.mailbox AS m") == before
    # --discard with another name does not permit the loss.
    assert upgrade(legacy, "--discard", "something else").returncode == 1
    done = upgrade(legacy, "--json", *(a for n in names for a in ("--discard", n)))
    assert done.returncode == 0, done.stderr
    assert "all of them open" in legacy.run("verify", "--org", "legacy").stdout
    assert legacy.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%%plaintext'") == []


def test_only_what_is_named_goes(legacy):
    legacy.sql("CREATE VIEW public.a AS SELECT name FROM org_legacy.mailbox; CREATE VIEW public.b AS SELECT * FROM public.a; CREATE TABLE public.kept (id int); "
               "CREATE VIEW public.c AS SELECT * FROM public.kept")
    refused = upgrade(legacy, "--discard", "public.a")
    assert refused.returncode == 1 and "public.b" in refused.stderr and "public.c" not in refused.stderr
    assert upgrade(legacy, "--discard", "public.a", "--discard", "public.b").returncode == 0
    assert legacy.sql("SELECT count(*) FROM public.c") == [(0,)]


@pytest.mark.parametrize(
    "statement, words",
    [
        ("UPDATE org_legacy.mailbox SET password = repeat('x', 201) WHERE name = 'm1'", "more than 200 characters"),
        ("UPDATE org_legacy.mailbox SET password = repeat(U&'\\+01F600', 101) WHERE name = 'm1'", "more than 200 characters"),
        ("UPDATE org_legacy.systemuser SET businessunitid = gen_random_uuid()", "not there"),
        ("ALTER TABLE org_legacy.mailbox ADD mailboxstatus numeric DEFAULT 1.5", "rounded"),
        ("ALTER TABLE org_legacy.mailbox ADD statecode text DEFAULT 'open'", "does not fit"),
        ("UPDATE org_legacy.systemuser SET fullname = NULL", "does not fit"),
    ])
def test_what_can_not_be_taken_over_as_it_is_is_refused(legacy, statement, words):
    legacy.sql(statement)
    result = upgrade(legacy)
    assert result.returncode == 1 and words in result.stderr, result
    assert legacy.sql("SELECT count(password) FROM org_legacy.mailbox") == [(10,)]
    assert legacy.sql("SELECT count(*) FROM config.organization WHERE name = 'legacy'") == [(0,)]


def test_a_password_of_the_greatest_length_is_sealed(legacy):
    legacy.sql("UPDATE org_legacy.mailbox SET password = repeat('x', 200) WHERE name = 'm1'")
    assert upgrade(legacy).returncode == 0


def test_flags_of_the_old_table_are_no_cells(legacy):
    legacy.sql("ALTER TABLE org_legacy.mailbox ADD ispasswordset boolean DEFAULT true; UPDATE org_legacy.mailbox SET password = NULL WHERE name = 'm1'; "
               "CREATE TABLE org_legacy.queue (queueid uuid PRIMARY KEY, name text, isemailpasswordset boolean); INSERT INTO org_legacy.queue VALUES (gen_random_uuid(), 'q', true)")
    assert upgrade(legacy, check=True)
    assert legacy.sql("SELECT count(*) FROM org_legacy.mailbox WHERE ispasswordset") == [(9,)]
    assert legacy.sql("SELECT isemailpasswordset FROM org_legacy.queue") == [(False,)]


WAITING = "SELECT count(*) FROM pg_stat_activity WHERE application_name = %s AND wait_event_type = 'Lock'"
#: What writers of the old table execute while the upgrade waits for its lock or has it, and the error that each gets from the upgraded schema.
WRITES = {
    "INSERT INTO org_legacy.mailbox (mailboxid, name) VALUES (gen_random_uuid(), 'later')": None,
    "UPDATE org_legacy.mailbox SET name = 'renamed' WHERE name = 'm1'": None,
    "DELETE FROM org_legacy.mailbox WHERE name = 'm2'": None,
    "INSERT INTO org_legacy.mailbox (mailboxid, name, password) VALUES (gen_random_uuid(), 'plain', 'in plaintext')": psycopg.errors.UndefinedColumn,
    "UPDATE org_legacy.mailbox SET password = 'in plaintext' WHERE name = 'm3'": psycopg.errors.UndefinedColumn,
}


@pytest.mark.parametrize("is_rehearsal", [False, True], ids=["upgrade", "rehearsal"])
def test_nobody_writes_a_row_that_is_lost(legacy, is_rehearsal):
    """A writer has inserted a row, and commits while the upgrade waits for the writer. The upgraded schema contains the row. Other writers wait for the
    upgrade, and then write to the new table, which has no passwords. After a rehearsal they write to the old table."""
    def write(statement):
        with psycopg.connect(legacy.superuser, application_name="late writer", autocommit=True) as connection:
            return connection.execute(statement).rowcount

    with concurrent.futures.ThreadPoolExecutor(1 + len(WRITES)) as pool:
        with psycopg.connect(legacy.superuser) as writer:
            writer.execute("INSERT INTO org_legacy.mailbox VALUES (gen_random_uuid(), 'late', 'secret of late')")
            upgraded = pool.submit(upgrade, legacy, *(["--rehearse"] if is_rehearsal else []))
            until(lambda: upgraded.done() or legacy.sql(WAITING, ["fieldseal org upgrade"]) == [(1,)])
            writes = {statement: pool.submit(write, statement) for statement in WRITES}
            until(lambda: legacy.sql(WAITING, ["late writer"]) == [(len(WRITES),)])
            writer.commit()
        assert upgraded.result().returncode == 0
        for statement, error in WRITES.items():
            found = writes[statement].exception()
            assert found is None if error is None or is_rehearsal else isinstance(found, error), (statement, found)
            assert found or writes[statement].result() == 1, statement
    names = {name for name, in legacy.sql("SELECT name FROM org_legacy.mailbox")}
    assert names == {"late", "later", "renamed", *(f"m{n}" for n in range(3, 11)), *(["plain"] if is_rehearsal else [])}
    if not is_rehearsal:
        assert "10 cells" in legacy.run("verify", "--org", "legacy").stdout
