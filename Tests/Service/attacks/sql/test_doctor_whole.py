"""`fieldseal doctor` reports each changed definition in the database. Damage in one organization does not hide damage in another."""

import json
import shutil

import psycopg
import pytest
from cluster import Cluster


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("fsync=on")
    try:
        cluster.fill(10)
        cluster.run("key", "show")
        cluster.run("org", "create", "second")
        cluster.run("key", "show", "--org", "second")
        yield cluster
    finally:
        cluster.remove()


def doctor(cluster, *arguments, **options):
    result = cluster.run("doctor", "--json", *arguments, check=False, **options)
    findings = json.loads(result.stdout)["findings"]
    worst = max((["notice", "warning", "error"].index(f["severity"]) for f in findings), default=0)
    assert result.returncode == worst, result
    # These tests write records with SQL, so their mail settings are never authorized.
    return [finding for finding in findings if finding["code"] != "mail-settings-not-authorized"]


def maintain(cluster, statement):
    cluster.sql(f"SET fieldseal.maintenance = 'on'; {statement}")


def test_what_the_migrations_made_is_silent(cluster):
    assert doctor(cluster) == []
    # The doctor knows the tables of a later key version, and the functions for recovery.
    cluster.run("key", "change", "--org", "contoso")
    cluster.run("migrate", "recovery")
    cluster.run("key", "show", "--org", "contoso")
    assert doctor(cluster) == []


# (SQL that changes a definition, code, words of the message, SQL that undoes the change)
TRIGGERS = [
    ("mailbox", "takes_cells_along"), ("mailbox_cell", "cell_needs_record"), ("queue", "keeps_id"), ("usersettings", "refuses_truncate"),
    ("security_event", "keep"), ("security_event", "keep_all"), ("security_event", "chain"), ("audit_setting", "refuses_encrypted"), ("team", "audits"),
    ("email", "keeps_state"),
]


@pytest.mark.parametrize("table, trigger", TRIGGERS)
@pytest.mark.parametrize("how", ["DISABLE", "ENABLE REPLICA", "DROP"])
def test_a_fence_that_is_taken_down_is_named(cluster, table, trigger, how):
    [(definition,)] = cluster.sql(
        "SELECT pg_get_triggerdef(oid) FROM pg_trigger WHERE tgrelid = %s::regclass AND tgname = %s", [f"org_contoso.{table}", trigger])
    if how == "DROP":
        maintain(cluster, f"DROP TRIGGER {trigger} ON {table}")
    else:
        maintain(cluster, f"ALTER TABLE {table} {how} TRIGGER {trigger}")
    found = [f for f in doctor(cluster) if f["code"] == ("fence-missing" if how == "DROP" else "fence-disabled")]
    assert found and all(f["subject"] == "contoso" and f["severity"] == "error" for f in found)
    assert any(f"{table}.{trigger}" in f["message"] for f in found), found
    maintain(cluster, definition if how == "DROP" else f"ALTER TABLE {table} ENABLE TRIGGER {trigger}")
    assert doctor(cluster) == []


#: Hides a function from the doctor: a superuser deletes the rows of pg_depend that connect the function with its schema.
HIDES = "DELETE FROM pg_depend WHERE classid = 'pg_proc'::regclass AND refclassid = 'pg_namespace'::regclass AND objid IN (SELECT oid FROM pg_proc WHERE proname = 'refuse_change')"



def journal(timing, body="BEGIN RETURN NULL; END", table="audit", name=None):
    """SQL that creates a trigger `notes_move`, which calls a function in a schema with the name of the journal of a move."""
    name = f"'{name}'" if name else "'moving_' || replace(organization_id::text, '-', '')"
    return f"""
        DO $do$ DECLARE journal text := (SELECT {name} FROM config.organization WHERE name = 'contoso');
        BEGIN
            EXECUTE format('CREATE SCHEMA %I AUTHORIZATION fieldseal_owner', journal);
            EXECUTE format('CREATE FUNCTION %I.audit() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS %L', journal, '{body}');
            EXECUTE format('CREATE TRIGGER notes_move {timing} ON {table} FOR EACH ROW EXECUTE FUNCTION %I.audit()', journal);
            ALTER TABLE {table} ENABLE ALWAYS TRIGGER notes_move;
        END $do$"""


#: A trigger with the name and the function of a key change's trigger.
NOTES = "CREATE TRIGGER notes_change {} ON mailbox_cell_k{{k}} FOR EACH ROW {} EXECUTE FUNCTION mailbox_notes_change()"
ANY_WRITE = "AFTER INSERT OR UPDATE OR DELETE"

CHANGES = [
    # Triggers with the names of the triggers that a move or a key change makes
    (journal("BEFORE INSERT"), "foreign-object", "the trigger audit.notes_move of org_contoso is not the program's"),
    (journal("BEFORE INSERT"), "foreign-object", "the function audit() of moving_"),
    (journal(ANY_WRITE), "foreign-object", "audit.notes_move"),
    (journal("BEFORE INSERT", name="moving_" + 32 * "0"), "foreign-object", "audit.notes_move"),
    (journal("BEFORE INSERT", name="moving_" + 32 * "0"), "move-journal-left", "no organization of this database has its id"),
    (journal("BEFORE INSERT", table="config.organization_key"), "foreign-object", "organization_key.notes_move"),
    (NOTES.format("BEFORE INSERT OR UPDATE OR DELETE", ""), "foreign-object", "the trigger mailbox_cell_k{k}.notes_change of org_contoso is not the program's"),
    (NOTES.format(ANY_WRITE, "WHEN (random() < 0)"), "foreign-object", "mailbox_cell_k{k}.notes_change"),
    (NOTES.format(ANY_WRITE, "") + "; ALTER TABLE mailbox_cell_k{k} ENABLE ALWAYS TRIGGER notes_change", "foreign-object", "mailbox_cell_k{k}.notes_change"),
    (NOTES.format(ANY_WRITE, "").replace("mailbox_notes", "queue_notes"), "foreign-object", "mailbox_cell_k{k}.notes_change"),
    (NOTES.format(ANY_WRITE, "").replace("mailbox_cell_k{k}", "mailbox"), "foreign-object", "mailbox.notes_change"),
    # Relations with names like those of cell tables of another key version
    ("CREATE VIEW z_cell_k99 AS SELECT * FROM config.organization_key; GRANT SELECT ON z_cell_k99 TO PUBLIC", "foreign-object", "view z_cell_k99"),
    ("CREATE VIEW z_cell_k99 AS SELECT * FROM config.organization_key; GRANT SELECT ON z_cell_k99 TO PUBLIC", "foreign-view", "PUBLIC may read the view org_contoso.z_cell_k99"),
    ("CREATE VIEW mailbox_cell_k99 AS SELECT * FROM config.organization_key", "foreign-object", "view mailbox_cell_k99"),
    ("CREATE TABLE z_cell_k99 AS SELECT * FROM config.organization_key", "foreign-object", "table z_cell_k99"),
    ("CREATE TABLE mailbox_cell_k099 AS SELECT * FROM mailbox_cell", "foreign-object", "table mailbox_cell_k099"),
    ("CREATE TABLE mailbox_cell_k4000000000 AS SELECT * FROM mailbox_cell", "foreign-object", "table mailbox_cell_k4000000000"),
    ("CREATE SEQUENCE mailbox_cell_k99", "foreign-object", "sequence mailbox_cell_k99"),
    ("CREATE TABLE config.mailbox_cell_k99 AS SELECT * FROM config.organization_key", "foreign-object", "table mailbox_cell_k99 of config"),
    ("CREATE TABLE mailbox_cell_k99 AS SELECT * FROM config.organization_key", "foreign-object", "column mailbox_cell_k99.wrapped_text"),
    ("SELECT create_generation(99); GRANT SELECT ON mailbox_cell_k99 TO PUBLIC", "foreign-grant", "SELECT on mailbox_cell_k99 to PUBLIC"),
    ("SELECT create_generation(99); CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$; "
     "CREATE TRIGGER copies BEFORE INSERT ON queue_cell_k99 FOR EACH ROW EXECUTE FUNCTION evil()", "foreign-object", "queue_cell_k99.copies"),
    ("SELECT create_generation(99); ALTER TABLE queue_cell_k99 OWNER TO postgres", "object-changed", "table queue_cell_k99"),
    ("CREATE OR REPLACE FUNCTION refuse_truncate() RETURNS trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN RETURN NULL; END $$",
     "object-changed", "refuse_truncate"),
    ("ALTER FUNCTION switch_generation SECURITY INVOKER", "object-changed", "switch_generation"),
    ("ALTER FUNCTION drop_generation SET search_path = public, org_contoso", "object-changed", "drop_generation"),
    ("ALTER FUNCTION audit_change() OWNER TO postgres", "object-changed", "audit_change"),
    ("CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NEW; END $$; CREATE TRIGGER copies AFTER INSERT ON mailbox FOR EACH ROW EXECUTE FUNCTION evil()",
     "foreign-object", "mailbox.copies"),
    ("CREATE FUNCTION lower(uuid) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$", "foreign-object", "lower(uuid)"),
    ("ALTER TABLE mailbox_cell DROP CONSTRAINT password_is_cell", "object-missing", "mailbox_cell.password_is_cell"),
    ("ALTER TABLE queue_cell_k{k} DROP CONSTRAINT emailpassword_has_key_version", "object-missing", "emailpassword_has_key_version"),
    ("ALTER TABLE teammembership DROP CONSTRAINT teammembership_teamid_fkey", "object-missing", "teammembership_teamid_fkey"),
    ("ALTER TABLE teammembership DISABLE TRIGGER ALL", "fence-disabled", "teammembership"),
    ("ALTER TABLE security_event DROP CONSTRAINT security_event_outcome_check, ADD CONSTRAINT security_event_outcome_check CHECK (true)", "object-changed", "security_event_outcome_check"),
    ("DROP INDEX encryption_one_row", "object-missing", "encryption_one_row"),
    ("GRANT UPDATE ON encryption TO fieldseal_service", "foreign-grant", "UPDATE on encryption to fieldseal_service"),
    ("GRANT EXECUTE ON FUNCTION chain_security_event() TO PUBLIC", "foreign-grant", "chain_security_event() to PUBLIC"),
    ("GRANT UPDATE (hash) ON security_event TO fieldseal_service", "foreign-grant", "security_event.hash"),
    ("GRANT CREATE ON SCHEMA org_contoso TO fieldseal_service", "foreign-grant", "CREATE on the schema"),
    ("REVOKE INSERT ON security_event FROM fieldseal_service", "object-missing", "INSERT on security_event"),
    ("ALTER TABLE mailbox ENABLE ROW LEVEL SECURITY", "object-changed", "table mailbox"),
    ("CREATE POLICY hides ON mailbox USING (false)", "foreign-object", "mailbox.hides"),
    ("CREATE RULE hides AS ON DELETE TO team DO INSTEAD NOTHING", "foreign-object", "team.hides"),
    ("ALTER TABLE encryption OWNER TO fieldseal_service", "object-changed", "table encryption"),
    ("ALTER TABLE email ADD COLUMN extra text", "foreign-object", "email.extra"),
    ("ALTER TABLE mailbox ALTER ispasswordset DROP NOT NULL", "object-changed", "mailbox.ispasswordset"),
    ("ALTER TABLE mailbox ALTER ispasswordset SET DEFAULT true", "object-changed", "mailbox.ispasswordset"),
    ("ALTER TABLE mailbox_cell_k{k} ALTER password SET STATISTICS 100", "object-changed", "mailbox_cell_k"),
    ("CREATE VIEW reads AS SELECT * FROM mailbox_cell", "foreign-object", "view reads"),
    ("CREATE OR REPLACE VIEW cell_table AS SELECT * FROM (VALUES (1, 'mailbox', 'mailboxid')) AS t (position, entity, id_column)", "object-changed", "cell_table"),
    ("CREATE TYPE kind AS ENUM ('a')", "foreign-object", "kind"),
    ("CREATE TABLE mailbox_copy AS SELECT * FROM mailbox", "foreign-object", "table mailbox_copy"),
    ("DROP TABLE quarantined_cell", "object-missing", "table quarantined_cell"),
    ("ALTER TABLE config.organization_key DISABLE TRIGGER keep", "fence-disabled", "organization_key.keep"),
    ("ALTER TABLE config.organization_key ENABLE REPLICA TRIGGER keep_all", "fence-disabled", "organization_key.keep_all"),
    ("CREATE OR REPLACE FUNCTION config.keep_organization_key() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN RETURN NULL; END $$", "object-changed", "keep_organization_key"),
    ("GRANT DELETE ON config.migration TO fieldseal_service", "foreign-grant", "DELETE on migration"),
    ("ALTER TABLE config.api_client DROP CONSTRAINT api_client_role_check", "object-missing", "api_client_role_check"),
    ("CREATE FUNCTION config.evil() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", "foreign-object", "evil()"),
    ("CREATE OR REPLACE FUNCTION cell.is_cell(cell bytea) RETURNS boolean LANGUAGE sql IMMUTABLE PARALLEL SAFE RETURN true", "object-changed", "is_cell"),
    ("CREATE OR REPLACE FUNCTION cell.refuse_drop() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN END $$", "object-changed", "refuse_drop"),
    ("CREATE FUNCTION cell.evil() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$", "foreign-object", "evil"),
    (f"CREATE OR REPLACE FUNCTION cell.refuse_change() RETURNS event_trigger LANGUAGE plpgsql SET search_path = pg_catalog, pg_temp AS $$ BEGIN END $$; {HIDES}",
     "object-changed", "refuse_change"),
    (f"CREATE FUNCTION config.refuse_change() RETURNS int LANGUAGE sql AS $$ SELECT 1 $$; {HIDES}", "object-hidden", "config.refuse_change()"),
    ("CREATE FUNCTION lower(uuid) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$; DELETE FROM pg_depend WHERE classid = 'pg_proc'::regclass AND objid = 'org_contoso.lower(uuid)'::regprocedure",
     "object-hidden", "lower(uuid)"),
    ("DELETE FROM pg_depend WHERE classid = 'pg_class'::regclass AND objid = 'org_contoso.mailbox_cell_k{k}'::regclass AND refclassid = 'pg_namespace'::regclass",
     "object-hidden", "mailbox_cell_k"),
    ("ALTER EVENT TRIGGER fieldseal_refuse_drop ENABLE REPLICA", "no-event-trigger", "fieldseal_refuse_drop"),
    ("DROP EVENT TRIGGER fieldseal_refuse_index; CREATE EVENT TRIGGER fieldseal_refuse_index ON ddl_command_end WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION cell.refuse_index()",
     "object-changed", "fieldseal_refuse_index"),
    ("CREATE FUNCTION public.watches() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN END $$; CREATE EVENT TRIGGER watches ON sql_drop EXECUTE FUNCTION public.watches()",
     "foreign-event-trigger", "watches"),
]


def codes(cluster):
    return {finding["code"] for finding in doctor(cluster)}


def test_tables_and_triggers_of_key_changes_are_not_foreign(broken):
    """The control: tables and triggers of a key change that waits, that was interrupted, or whose former tables are still needed."""
    cluster, _ = broken
    cluster.sql("SELECT create_generation(9)")
    assert codes(cluster) == {"later-generation"}
    cluster.sql("SELECT finish_generation(9)")
    assert codes(cluster) == {"later-generation"}
    maintain(cluster, "DROP TABLE mailbox_cell_k9, queue_cell_k9, emailserverprofile_cell_k9, usersettings_cell_k9")
    cluster.sql("SELECT announce_change()")
    assert codes(cluster) == set()
    cluster.sql("SELECT end_change()")
    assert codes(cluster) == set()
    former = cluster.key_version()
    with psycopg.connect(cluster.superuser) as reader:
        reader.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        reader.execute("SELECT count(*) FROM org_contoso.team")
        cluster.run("key", "change")
        found = codes(cluster)
        assert "old-generation" in found and found <= {"old-generation", "key-never-copied", "lock-held"}, doctor(cluster)
        # A change of such a table is still reported.
        maintain(cluster, f"GRANT SELECT ON mailbox_cell_k{former} TO PUBLIC")
        assert any(f"SELECT on mailbox_cell_k{former} to PUBLIC" in f["message"] for f in doctor(cluster))
    cluster.run("key", "change")
    cluster.run("key", "show")
    assert doctor(cluster) == []


def test_a_lock_of_the_service_s_login_is_no_move(broken):
    cluster, _ = broken
    [(schema,)] = cluster.sql("SELECT 'moving_' || replace(organization_id::text, '-', '') FROM config.organization WHERE name = 'contoso'")
    cluster.sql(f"CREATE SCHEMA {schema}")
    try:
        assert codes(cluster) == {"move-journal-left"}
        with psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal") as other:
            other.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [schema])
            [found] = [f for f in doctor(cluster) if f["code"].startswith("move-")]
            assert found["code"] == "move-journal-left" and "a session of fieldseal_service holds the lock" in found["message"]
    finally:
        cluster.sql(f"DROP SCHEMA {schema}")


@pytest.fixture(scope="module")
def broken():
    """One cluster for all changes. Its database is restored after each change."""
    cluster = Cluster("fsync=on")
    try:
        cluster.fill(10)
        cluster.run("key", "show")
        assert doctor(cluster) == []
        with_no_one = cluster.superuser.replace("dbname=fieldseal", "dbname=postgres")
        yield cluster, with_no_one
    finally:
        cluster.remove()


@pytest.mark.parametrize("statement, code, words", CHANGES)
def test_what_is_changed_is_named(broken, statement, code, words):
    cluster, other = broken

    def administer(*statements):
        with psycopg.connect(other, autocommit=True) as connection:
            for each in statements:
                connection.execute(each)

    administer("CREATE DATABASE whole TEMPLATE fieldseal")
    try:
        version = str(cluster.key_version())
        maintain(cluster, statement.replace("{k}", version))
        found = [f for f in doctor(cluster) if f["code"] == code]
        assert any(words.replace("{k}", version) in f["message"] for f in found), doctor(cluster)
    finally:
        # A copy of a database does not have the rights that `migrate bootstrap` gave.
        administer(
            "DROP DATABASE fieldseal WITH (FORCE)", "ALTER DATABASE whole RENAME TO fieldseal",
            "GRANT CREATE, TEMPORARY ON DATABASE fieldseal TO fieldseal_owner", "REVOKE TEMPORARY ON DATABASE fieldseal FROM PUBLIC")
    assert doctor(cluster) == []


def test_one_organization_hides_no_other(cluster):
    cluster.run("org", "create", "third")
    cluster.run("key", "show", "--org", "third")
    cluster.sql("DROP SCHEMA org_second CASCADE")
    maintain(cluster, "ALTER TABLE org_third.mailbox DISABLE TRIGGER audits")
    found = doctor(cluster)
    assert [(f["subject"], f["code"]) for f in found if f["severity"] == "error"].count(("second", "schema-missing")) == 1
    assert any((f["subject"], f["code"]) == ("third", "fence-disabled") for f in found)
    verified = cluster.run("verify", "--json", check=False)
    lines = {line["organization"]: line for line in map(json.loads, verified.stdout.splitlines())}
    assert verified.returncode == 1 and set(lines) == {"contoso", "second", "third"}
    assert "error" in lines["second"] and lines["third"]["bad"] == [] and lines["contoso"]["cells"] == 14
    events = cluster.run("events", "verify", "--json", check=False)
    problems = {line["organization"]: line["problems"] for line in map(json.loads, events.stdout.splitlines())}
    assert events.returncode == 1 and problems["contoso"] == problems["third"] == [] and problems["second"]
    status = [json.loads(line) for line in cluster.run("migrate", "status", "--json").stdout.splitlines()]
    assert {s["target"]: bool(s["problem"]) for s in status} == {"config": False, "contoso": False, "second": True, "third": False}
    checked = cluster.run("migrate", "verify", "--json", check=False)
    assert checked.returncode == 1 and ["second" in p for p in json.loads(checked.stdout)["problems"]] == [True]
    cluster.sql("SET session_replication_role = replica; SET fieldseal.maintenance = 'on'; DELETE FROM org_third.encryption")
    found = doctor(cluster)
    assert ("third", "encryption-missing") in [(f["subject"], f["code"]) for f in found]
    cluster.sql("SET session_replication_role = replica; SET fieldseal.maintenance = 'on'; DROP TABLE org_contoso.quarantined_cell CASCADE")
    assert any(f["subject"] == "contoso" and "quarantined_cell" in f["message"] for f in doctor(cluster, "--deep"))


def test_another_key_encryption_key_is_the_one_finding(broken):
    cluster, _ = broken
    (cluster.home / "other").unlink(missing_ok=True)
    cluster.run("kek", "create", str(cluster.home / "other"), settings=None)
    (cluster.home / "other.yaml").write_text((cluster.home / "direct.yaml").read_text().replace(f"{cluster.home}/kek", f"{cluster.home}/other"))
    result = cluster.run("doctor", "--json", check=False, settings="other")
    assert result.returncode == 2 and not result.stderr, result
    assert [f["code"] for f in json.loads(result.stdout)["findings"]] == ["wrong-key-encryption-key"]
    assert doctor(cluster) == []


def test_a_database_that_is_away_is_said_as_such(broken):
    cluster, _ = broken
    text = (cluster.home / "direct.yaml").read_text().replace(f"host={cluster.home}", f"host={cluster.home}/nowhere")
    (cluster.home / "away.yaml").write_text(text)
    result = cluster.run("doctor", "--json", check=False, settings="away")
    assert result.returncode == 3 and [f["code"] for f in json.loads(result.stdout)["findings"]] == ["database-unreachable"]
    for command in (["verify"], ["events", "verify"], ["migrate", "status"], ["migrate", "verify"], ["migrate", "up"]):
        result = cluster.run(*command, "--json", check=False, settings="away")
        assert result.returncode == 3 and "can't be reached" in json.loads(result.stdout)["error"], (command, result)


def test_what_a_dba_gave_and_placed_is_kept_by_a_new_generation(cluster):
    folder = cluster.home / "space"
    folder.mkdir()
    shutil.chown(folder, "postgres")
    cluster.sql(f"CREATE TABLESPACE elsewhere LOCATION '{folder}'")
    cluster.sql("GRANT CREATE ON TABLESPACE elsewhere TO fieldseal_owner; CREATE ROLE monitor")
    old = cluster.key_version()
    maintain(cluster, f"ALTER TABLE mailbox_cell_k{old} SET TABLESPACE elsewhere; GRANT SELECT ON mailbox_cell_k{old} TO monitor")
    cluster.run("key", "change", "--org", "contoso")
    new = cluster.key_version()
    assert new > old
    assert cluster.sql(f"SELECT spcname FROM pg_class AS c JOIN pg_tablespace AS t ON t.oid = c.reltablespace WHERE c.oid = 'mailbox_cell_k{new}'::regclass") == [("elsewhere",)]
    assert cluster.sql(f"SELECT has_table_privilege('monitor', 'mailbox_cell_k{new}', 'SELECT'), has_table_privilege('monitor', 'queue_cell_k{new}', 'SELECT')") == [(True, False)]
