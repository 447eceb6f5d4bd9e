"""The service's database role can write only what the service writes. `fieldseal doctor` reports changes around the program's schemas: roles,
settings, rights, publications, children of tables, and PostgreSQL's own functions."""

import json

import psycopg
import pytest
from cluster import Cluster
from waiting import until


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("fsync=on", "wal_level=logical")
    try:
        cluster.run("key", "show")
        assert doctor(cluster) == []
        yield cluster
        # If a test did not undo its change, the doctor reports it here.
        assert doctor(cluster) == []
    finally:
        cluster.remove()


def doctor(cluster):
    return json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]


def as_service(cluster, statement):
    with psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal", autocommit=True) as connection:
        connection.execute(statement)


@pytest.mark.parametrize("statement", [
    # The name and the schema of an organization, which decide from which schema a request is served.
    "UPDATE config.organization SET name = 'other', schema_name = 'org_other'",
    "INSERT INTO config.organization (organization_id, name, schema_name, created_by) VALUES (gen_random_uuid(), 'x', 'org_x', 'x')",
    "DELETE FROM config.organization",
    # Who created a key, when and how.
    "UPDATE config.organization_key SET created_by = 'cli:nobody'",
    "UPDATE config.organization_key SET created_on = now() - interval '300 days'",
    "UPDATE config.organization_key SET origin = 'chosen', rotation_id = gen_random_uuid()",
    "UPDATE config.organization_key SET fingerprint = '0000000000000000'",
    "DELETE FROM config.organization_key",
    # Which attributes the audit records.
    "UPDATE org_contoso.audit_setting SET is_enabled = false",
    "DELETE FROM org_contoso.audit_setting",
    "INSERT INTO org_contoso.audit_setting VALUES ('mailbox', 'username', false)",
    # The list of the rows that grant access. Without it, `org attach --trust-tags` would accept revoked rows with a valid tag.
    "DELETE FROM config.attested_state",
    "TRUNCATE config.attested_state",
    "INSERT INTO config.attested_state SELECT * FROM config.attested_state",
    # Which key-encryption keys are retired.
    "UPDATE config.replaced_kek SET retired_on = NULL",
    "DELETE FROM config.replaced_kek",
    "INSERT INTO config.replaced_kek SELECT * FROM config.replaced_kek",
    # Which migrations were applied, and which organizations were moved.
    "DELETE FROM config.migration",
    "INSERT INTO config.migration SELECT * FROM config.migration",
    "UPDATE config.compatible_migration SET name = name",
    "DELETE FROM config.organization_move",
    "INSERT INTO config.organization_move SELECT * FROM config.organization_move",
    # Which assertions were used, which tokens are refused, and where archives of events end.
    "DELETE FROM config.used_assertion",
    "DELETE FROM config.exposed_token",
    "UPDATE config.exposed_token SET token_hash = sha256('x')",
    "UPDATE config.event_archive SET events = 0",
    "DELETE FROM config.event_archive",
])
def test_the_service_role_may_not(cluster, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_service(cluster, statement)


def test_the_service_does_what_it_may(cluster):
    """The control: as the service's role, keys are changed, shown and purged, and changes of records are audited."""
    cluster.run("key", "change")
    cluster.run("key", "show")
    cluster.run("key", "purge", "1", "--yes")
    assert cluster.sql("SELECT key_version, retired_on IS NULL, copied_on IS NOT NULL, purged_on IS NULL FROM config.organization_key ORDER BY 1") == [
        (1, False, True, False), (2, True, True, True)]
    as_service(cluster, "INSERT INTO org_contoso.team (teamid, name, businessunitid) SELECT gen_random_uuid(), 'by SQL', businessunitid FROM org_contoso.businessunit LIMIT 1")
    assert cluster.sql("SELECT count(*) FROM audit WHERE objecttypecode = 'team' AND databaserole = 'fieldseal_service'") == [(1,)]


@pytest.mark.parametrize("role", ["fieldseal_service", "fieldseal_inspector"])
def test_no_role_makes_triggers_of_the_owner_s_functions(cluster, role):
    """A role that could use the owner's functions as triggers on its own table could run its own code as the owner."""
    functions = cluster.sql(
        "SELECT format('%I.%I()', pronamespace::regnamespace, proname) FROM pg_proc "
        "WHERE prorettype = 'trigger'::regtype AND pronamespace IN ('config'::regnamespace, 'org_contoso'::regnamespace)")
    assert len(functions) > 30
    cluster.sql(f"CREATE SCHEMA spare AUTHORIZATION {role}")
    try:
        with psycopg.connect(cluster.superuser, autocommit=True) as connection:
            connection.execute(f"SET ROLE {role}; CREATE TABLE spare.own (id uuid)")
            for function, in functions:
                with pytest.raises(psycopg.errors.InsufficientPrivilege):
                    connection.execute(f"CREATE TRIGGER own AFTER INSERT ON spare.own FOR EACH ROW EXECUTE FUNCTION {function}")
    finally:
        cluster.sql("DROP SCHEMA spare CASCADE")


@pytest.mark.parametrize("statement", [
    "CREATE TEMPORARY TABLE own (id uuid)", "CREATE TYPE pg_temp.own AS ENUM ('x')", "CREATE FUNCTION pg_temp.own() RETURNS integer LANGUAGE sql RETURN 1",
])
def test_the_service_makes_no_temporary_objects(cluster, statement):
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        as_service(cluster, statement)


# (SQL that changes something, SQL that undoes the change, code, words of the message)
AROUND = [
    ("GRANT TEMPORARY ON DATABASE fieldseal TO PUBLIC", "REVOKE TEMPORARY ON DATABASE fieldseal FROM PUBLIC", "foreign-grant", "temporary tables"),
    ("ALTER ROLE fieldseal_service SET default_transaction_read_only = on", "ALTER ROLE fieldseal_service RESET default_transaction_read_only", "role-setting", "default_transaction_read_only"),
    ("ALTER ROLE fieldseal_service SET default_tablespace = 'pg_global'", "ALTER ROLE fieldseal_service RESET default_tablespace", "role-setting", "default_tablespace"),
    ("ALTER ROLE fieldseal_service SET default_table_access_method = 'heap'", "ALTER ROLE fieldseal_service RESET ALL", "role-setting", "default_table_access_method"),
    ("ALTER ROLE fieldseal_service SET \"FIELDSEAL.switch\" = 'on'", "ALTER ROLE fieldseal_service RESET ALL", "guard-setting", "fieldseal_service"),
    ("ALTER DATABASE fieldseal SET fieldseal.maintenance = 'on'", "ALTER DATABASE fieldseal RESET fieldseal.maintenance", "guard-setting", "fieldseal.maintenance"),
    ("ALTER DATABASE fieldseal SET fieldseal.evidence = 'move'", "ALTER DATABASE fieldseal RESET fieldseal.evidence", "guard-setting", "fieldseal.evidence"),
    ("ALTER ROLE fieldseal_service SET fieldseal.switch = 'on'", "ALTER ROLE fieldseal_service RESET fieldseal.switch", "guard-setting", "fieldseal_service"),
    ("ALTER ROLE ALL SET fieldseal.rewrap = 'on'", "ALTER ROLE ALL RESET fieldseal.rewrap", "guard-setting", "fieldseal.rewrap"),
    ("ALTER ROLE fieldseal_service CREATEROLE", "ALTER ROLE fieldseal_service NOCREATEROLE", "role-attributes", "CREATEROLE"),
    ("ALTER ROLE fieldseal_service REPLICATION", "ALTER ROLE fieldseal_service NOREPLICATION", "role-attributes", "REPLICATION"),
    ("ALTER ROLE fieldseal_owner LOGIN", "ALTER ROLE fieldseal_owner NOLOGIN", "role-attributes", "fieldseal_owner"),
    ("ALTER ROLE fieldseal_inspector BYPASSRLS", "ALTER ROLE fieldseal_inspector NOBYPASSRLS", "role-attributes", "BYPASSRLS"),
    ("GRANT pg_write_all_data TO fieldseal_inspector", "REVOKE pg_write_all_data FROM fieldseal_inspector", "role-membership", "pg_write_all_data"),
    ("GRANT pg_read_server_files TO fieldseal_service", "REVOKE pg_read_server_files FROM fieldseal_service", "role-membership", "pg_read_server_files"),
    ("CREATE ROLE back_door LOGIN IN ROLE fieldseal_owner", "DROP ROLE back_door", "may-act-as-owner", "back_door"),
    ("GRANT CREATE ON DATABASE fieldseal TO fieldseal_service", "REVOKE CREATE ON DATABASE fieldseal FROM fieldseal_service", "foreign-grant", "CREATE on the database"),
    ("GRANT CREATE ON SCHEMA public TO PUBLIC", "REVOKE CREATE ON SCHEMA public FROM PUBLIC", "foreign-grant", "CREATE on the schema public"),
    ("CREATE PUBLICATION leak FOR TABLE org_contoso.security_event", "DROP PUBLICATION leak", "published-tables", "leak sends 1 tables"),
    ("SET fieldseal.maintenance = 'on'; CREATE PUBLICATION leak FOR ALL TABLES", "DROP PUBLICATION leak", "published-tables", "with cells or wrapped keys"),
    ("CREATE OR REPLACE FUNCTION pg_catalog.sha256(bytea) RETURNS bytea LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE RETURN $1",
     "CREATE OR REPLACE FUNCTION pg_catalog.sha256(bytea) RETURNS bytea LANGUAGE internal IMMUTABLE STRICT PARALLEL SAFE AS 'sha256_bytea'", "system-object-changed", "sha256(bytea)"),
    ("CREATE FUNCTION pg_catalog.lower(uuid) RETURNS text LANGUAGE sql AS $$ SELECT 'x' $$", "DROP FUNCTION pg_catalog.lower(uuid)", "system-object-changed", "uuid)"),
    ("CREATE FUNCTION public.number(uuid) RETURNS integer LANGUAGE sql AS $$ SELECT 1 $$; CREATE CAST (uuid AS integer) WITH FUNCTION public.number(uuid) AS IMPLICIT",
     "DROP CAST (uuid AS integer); DROP FUNCTION public.number(uuid)", "system-object-changed", "uuid"),
    ("CREATE TABLE public.child () INHERITS (org_contoso.principal_access)", "DROP TABLE public.child", "foreign-object", "principal_access"),
    ("CREATE TABLE public.child () INHERITS (config.attested_state)", "DROP TABLE public.child", "foreign-object", "attested_state"),
    ("UPDATE org_contoso.audit_setting SET is_enabled = false WHERE entity = 'mailbox' AND attribute = ''",
     "UPDATE org_contoso.audit_setting SET is_enabled = true WHERE entity = 'mailbox' AND attribute = ''", "not-audited", "mailbox"),
    ("INSERT INTO org_contoso.audit_setting VALUES ('queue', 'emailusername', false)", "DELETE FROM org_contoso.audit_setting WHERE attribute = 'emailusername'", "not-audited", "queue.emailusername"),
]


@pytest.mark.parametrize("statement, undo, code, words", AROUND)
def test_what_is_changed_around_the_schemas_is_named(cluster, statement, undo, code, words):
    def run(statements):
        with psycopg.connect(cluster.superuser, autocommit=True) as connection:
            for each in statements.split("; "):
                connection.execute(each)

    run(statement)
    try:
        found = doctor(cluster)
        assert any(f["code"] == code and words in f["message"] for f in found), found
    finally:
        run(undo)


def test_the_advice_undoes_a_setting_for_one_database(cluster):
    as_service(cluster, "ALTER ROLE fieldseal_service IN DATABASE fieldseal SET temp_tablespaces = 'pg_default'")
    [finding] = [f for f in doctor(cluster) if f["code"] == "role-setting"]
    statement = finding["advice"].split(",")[0]
    assert statement == "ALTER ROLE fieldseal_service IN DATABASE fieldseal RESET temp_tablespaces"
    as_service(cluster, statement)
    assert doctor(cluster) == []


def test_a_server_wide_setting_is_named(cluster):
    configuration = cluster.home / "data" / "postgresql.conf"
    before = configuration.read_text()
    configuration.write_text(f"{before}\nfieldseal.maintenance = 'on'\n")
    cluster.sql("SELECT pg_reload_conf()")
    try:
        until(lambda: cluster.sql("SELECT current_setting('fieldseal.maintenance', true)") == [("on",)])
        assert any(f["code"] == "guard-setting" and "the server" in f["message"] for f in doctor(cluster)), doctor(cluster)
    finally:
        configuration.write_text(before)
        cluster.sql("SELECT pg_reload_conf()")
    until(lambda: cluster.sql("SELECT coalesce(current_setting('fieldseal.maintenance', true), '')") == [("",)])


@pytest.mark.parametrize("change", ["salt = sha256('x')", "iterations = 1", "key_check = set_byte(key_check, 40, get_byte(key_check, 40) # 1)"])
def test_a_recovery_that_would_fail_is_named_before_it_is_needed(cluster, change):
    """The key's text opens cells only together with the salt, the iterations and the key check that the table `encryption` stores."""
    [before] = cluster.sql("SELECT salt, iterations, key_check FROM encryption")
    maintenance = "SET fieldseal.maintenance = 'on'; "
    cluster.sql(f"{maintenance}UPDATE encryption SET {change}")
    try:
        found = doctor(cluster)
        assert any(f["code"] == "key-derivation-changed" and f["severity"] == "error" for f in found), found
        assert cluster.run("key", "show", check=False).returncode != 0
        shown = cluster.run("org", "attach", "contoso", check=False)
        assert "are not the attested ones" in shown.stdout + shown.stderr
    finally:
        with psycopg.connect(cluster.superuser, autocommit=True) as connection:
            connection.execute("SET fieldseal.maintenance = 'on'")
            connection.execute("UPDATE org_contoso.encryption SET salt = %s, iterations = %s, key_check = %s", before)
    assert doctor(cluster) == [] and cluster.run("key", "show").returncode == 0


@pytest.mark.parametrize("table", ["config.attested_state", "org_contoso.mailbox"])
def test_an_open_transaction_holds_up_no_doctor(cluster, table):
    # This finding comes from a part of the examination that does not read the locked table.
    cluster.sql("ALTER ROLE fieldseal_service VALID UNTIL 'tomorrow'")
    try:
        with psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal application_name=intruder") as other:
            other.execute(f"LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
            found = doctor(cluster)
            held = [f for f in found if f["code"] == "not-checked"]
            name = table.removeprefix("org_contoso.")
            assert held and all(f"process {other.info.backend_pid} (fieldseal_service, intruder, idle in transaction) holds a lock on" in f["message"] and name in f["message"] for f in held), found
            assert all(f"pg_terminate_backend({other.info.backend_pid})" in f["advice"] for f in held)
            # The doctor still examines the other parts.
            assert "role-password-expires" in [f["code"] for f in found]
    finally:
        cluster.sql("ALTER ROLE fieldseal_service VALID UNTIL 'infinity'")
    # The control: this lock does not block readers.
    with psycopg.connect(f"host={cluster.home} user=fieldseal_service dbname=fieldseal") as other:
        other.execute(f"LOCK TABLE {table} IN SHARE ROW EXCLUSIVE MODE")
        assert doctor(cluster) == []


@pytest.mark.parametrize("change", ["DELETE FROM config.key_control", "UPDATE config.key_control SET approval_seconds = 604800, sign_in_seconds = NULL"])
def test_a_rule_of_the_key_that_sql_takes_away_is_no_less_strict(change):
    cluster = Cluster()
    try:
        cluster.run("key", "show")
        for name in ("first", "second"):
            cluster.run("client", "add", name, "--role", "System Administrator", "--org", "contoso")
        cluster.run("key", "control", "--approval", "60", "--sign-in", "10", "--org", "contoso")
        strictest = {"approvalSeconds": 60, "signInSeconds": 10}
        assert json.loads(cluster.run("key", "control", "--org", "contoso", "--json").stdout) == strictest
        as_service(cluster, change)
        assert "key-control-changed" in [f["code"] for f in doctor(cluster)]
        assert json.loads(cluster.run("key", "control", "--org", "contoso", "--json").stdout) == strictest
    finally:
        cluster.remove()
