"""A superuser grants rights with which a role can bypass the guards, by mistake or for an attack. `fieldseal doctor` reports each."""

import json

import psycopg
import pytest
from cluster import Cluster


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("fsync=on")
    try:
        cluster.run("key", "show")
        cluster.sql("CREATE ROLE back_door LOGIN")
        # The control: another program's role with rights that do not bypass the guards. The doctor does not report it.
        cluster.sql("CREATE ROLE backup LOGIN")
        cluster.sql("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO backup")
        cluster.sql("GRANT SET ON PARAMETER log_statement TO backup")
        cluster.sql("GRANT pg_monitor, pg_signal_backend TO backup")
        cluster.sql("CREATE EXTENSION IF NOT EXISTS pgcrypto SCHEMA public")
        cluster.sql("CREATE FUNCTION public.harmless() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        assert doctor(cluster) == []
        yield cluster
        assert doctor(cluster) == []
    finally:
        cluster.remove()


def doctor(cluster, *options):
    return json.loads(cluster.run("doctor", "--json", *options, check=False).stdout)["findings"]


# (SQL that grants the right, SQL that revokes it, code, words of the message)
RIGHTS = [
    ("GRANT SET ON PARAMETER session_replication_role TO fieldseal_service", "REVOKE SET ON PARAMETER session_replication_role FROM fieldseal_service",
     "guard-setting", "fieldseal_service has the right SET on the setting session_replication_role"),
    ("GRANT SET ON PARAMETER session_replication_role TO back_door", "REVOKE SET ON PARAMETER session_replication_role FROM back_door", "guard-setting", "back_door"),
    ("GRANT SET ON PARAMETER fieldseal.maintenance TO PUBLIC", "REVOKE SET ON PARAMETER fieldseal.maintenance FROM PUBLIC", "guard-setting", "PUBLIC"),
    ("GRANT ALTER SYSTEM ON PARAMETER log_statement TO fieldseal_service", "REVOKE ALTER SYSTEM ON PARAMETER log_statement FROM fieldseal_service",
     "guard-setting", "ALTER SYSTEM on the setting log_statement"),
    ("GRANT EXECUTE ON FUNCTION pg_read_file(text) TO fieldseal_service", "REVOKE EXECUTE ON FUNCTION pg_read_file(text) FROM fieldseal_service",
     "foreign-grant", "EXECUTE on the function pg_read_file(text) is granted to fieldseal_service"),
    ("GRANT EXECUTE ON FUNCTION lo_import(text) TO PUBLIC", "REVOKE EXECUTE ON FUNCTION lo_import(text) FROM PUBLIC", "foreign-grant", "lo_import(text) is granted to PUBLIC"),
    ("GRANT SELECT (rolpassword) ON pg_authid TO fieldseal_service", "REVOKE SELECT (rolpassword) ON pg_authid FROM fieldseal_service",
     "foreign-grant", "the column rolpassword of pg_authid"),
    ("GRANT SELECT ON pg_shadow TO PUBLIC", "REVOKE SELECT ON pg_shadow FROM PUBLIC", "foreign-grant", "the table pg_shadow"),
    ("GRANT UPDATE ON pg_trigger TO fieldseal_service", "REVOKE UPDATE ON pg_trigger FROM fieldseal_service", "foreign-grant", "UPDATE on the table pg_trigger"),
    ("GRANT CREATE ON SCHEMA pg_catalog TO fieldseal_inspector", "REVOKE CREATE ON SCHEMA pg_catalog FROM fieldseal_inspector", "foreign-grant", "the schema pg_catalog"),
    ("CREATE FUNCTION public.evil(q text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE q; END'", "DROP FUNCTION public.evil(text)",
     "definer-function", "evil(text)"),
    # Functions that belong to an extension
    ("CREATE FUNCTION public.evil(q text) RETURNS void LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN EXECUTE q; END'; ALTER EXTENSION pgcrypto ADD FUNCTION public.evil(text)",
     "ALTER EXTENSION pgcrypto DROP FUNCTION public.evil(text); DROP FUNCTION public.evil(text)", "definer-function", "evil(text)"),
    ("ALTER FUNCTION public.gen_salt(text) SECURITY DEFINER", "ALTER FUNCTION public.gen_salt(text) SECURITY INVOKER", "definer-function", "gen_salt(text)"),
    ("CREATE EXTENSION pg_trgm; ALTER FUNCTION public.show_limit() SECURITY DEFINER", "DROP EXTENSION pg_trgm", "definer-function",
     "show_limit(), which runs with the rights of postgres (SECURITY DEFINER) and belongs to the extension pg_trgm"),
    ("CREATE FUNCTION pg_catalog.lower(uuid) RETURNS text LANGUAGE sql AS 'SELECT 1::text'; ALTER EXTENSION pgcrypto ADD FUNCTION pg_catalog.lower(uuid)",
     "ALTER EXTENSION pgcrypto DROP FUNCTION pg_catalog.lower(uuid); DROP FUNCTION pg_catalog.lower(uuid)", "system-object-changed", "lower(pg_catalog.uuid)"),
    ("CREATE OR REPLACE FUNCTION public.hmac(bytea, bytea, text) RETURNS bytea LANGUAGE sql AS 'SELECT $1'", "DROP EXTENSION pgcrypto; CREATE EXTENSION pgcrypto",
     "recovery-function-changed", "hmac(bytea,bytea,text)"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner GRANT SELECT ON TABLES TO PUBLIC", "ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner REVOKE SELECT ON TABLES FROM PUBLIC",
     "default-grant", "PUBLIC gets SELECT on each of the new tables of fieldseal_owner"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner IN SCHEMA org_contoso GRANT ALL ON SEQUENCES TO back_door",
     "ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner IN SCHEMA org_contoso REVOKE ALL ON SEQUENCES FROM back_door", "default-grant", "in the schema org_contoso"),
    ("ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC", "ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner GRANT EXECUTE ON FUNCTIONS TO PUBLIC",
     "default-grant", "PUBLIC does not get EXECUTE"),
    # The control: a view with its reader's own rights, and a view that no other role may read. Only the third view is reported.
    ("CREATE SCHEMA evil AUTHORIZATION fieldseal_owner; CREATE VIEW evil.own WITH (security_invoker = true) AS SELECT wrapped_text FROM config.organization_key; "
     "CREATE VIEW evil.kept AS SELECT wrapped_text FROM config.organization_key; GRANT SELECT ON evil.own TO PUBLIC; "
     "CREATE VIEW evil.leak AS SELECT wrapped_text FROM config.organization_key; GRANT SELECT ON evil.leak TO PUBLIC", "DROP SCHEMA evil CASCADE",
     "foreign-view", "PUBLIC may read the view evil.leak, and through it config.organization_key"),
    ("CREATE SCHEMA evil; CREATE MATERIALIZED VIEW evil.leak AS SELECT * FROM config.console_user; GRANT SELECT ON evil.leak TO back_door", "DROP SCHEMA evil CASCADE",
     "foreign-view", "back_door may read the view evil.leak, and through it config.console_user"),
    ("ALTER ROLE fieldseal_service BYPASSRLS", "ALTER ROLE fieldseal_service NOBYPASSRLS", "role-attributes", "BYPASSRLS"),
    ("GRANT fieldseal_service TO back_door", "REVOKE fieldseal_service FROM back_door", "may-act-as-service", "back_door may act as fieldseal_service"),
    ("GRANT pg_write_all_data TO back_door", "REVOKE pg_write_all_data FROM back_door", "may-act-as-service", "back_door may act as pg_write_all_data"),
    ("GRANT pg_read_all_data TO back_door", "REVOKE pg_read_all_data FROM back_door", "may-read-keys", "back_door may act as pg_read_all_data"),
    ("GRANT pg_read_server_files TO back_door", "REVOKE pg_read_server_files FROM back_door", "may-read-keys", "back_door may act as pg_read_server_files"),
    ("ALTER ROLE back_door REPLICATION", "ALTER ROLE back_door NOREPLICATION", "may-read-keys", "back_door has the attribute REPLICATION"),
    ("GRANT pg_write_server_files TO back_door", "REVOKE pg_write_server_files FROM back_door", "may-act-as-owner", "back_door may act as pg_write_server_files"),
    ("GRANT pg_execute_server_program TO back_door", "REVOKE pg_execute_server_program FROM back_door", "may-act-as-owner", "pg_execute_server_program"),
    ("CREATE ROLE wheel SUPERUSER; GRANT wheel TO back_door", "DROP ROLE wheel", "may-act-as-owner", "back_door may act as wheel, a superuser"),
]


@pytest.mark.parametrize("statement, undo, code, words", RIGHTS)
def test_a_right_that_leads_around_the_guards_is_named(cluster, statement, undo, code, words):
    with psycopg.connect(cluster.superuser, autocommit=True) as connection:
        connection.execute(statement)
        try:
            found = doctor(cluster)
            assert any(f["code"] == code and words in f["message"] for f in found), found
            # The doctor reports nothing else, except findings that follow from the same change.
            assert {f["code"] for f in found} <= {code, "definer-function", "recovery-function-changed", "foreign-object"}, found
        finally:
            connection.execute(undo)


@pytest.mark.parametrize("statement, undo, role", [
    ("ALTER ROLE back_door CREATEROLE", "ALTER ROLE back_door NOCREATEROLE", "back_door"),
    ("CREATE ROLE wheel CREATEROLE; GRANT wheel TO back_door", "DROP ROLE wheel", "wheel"),
])
def test_a_login_that_may_grant_itself_the_owner_is_named(cluster, statement, undo, role):
    """Up to PostgreSQL 15, CREATEROLE lets a login grant itself any role. Later versions ask for ADMIN OPTION."""
    cluster.sql(statement)
    try:
        can_grant = cluster.sql("SELECT current_setting('server_version_num')::integer < 160000") == [(True,)]
        found = doctor(cluster)
        assert [(f["code"], f["severity"]) for f in found] == ([("may-act-as-owner", "notice")] if can_grant else [])
        assert all(f"{role}" in f["message"] and "CREATEROLE" in f["message"] and f'"{role}" NOCREATEROLE' in f["advice"] for f in found), found
    finally:
        cluster.sql(undo)


def test_what_default_privileges_opened_is_named_and_nothing_else(cluster):
    cluster.sql("ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner GRANT SELECT ON TABLES TO PUBLIC")
    try:
        cluster.run("key", "change")
        cluster.run("org", "create", "opened")
        reading = f"SELECT on mailbox_cell_k{cluster.key_version()} to PUBLIC"
        # Without this option, the doctor shows at most 20 findings of a code. The new organization alone has more.
        found = doctor(cluster, "--limit", "1000")
        assert any(f["code"] == "foreign-grant" and reading in f["message"] for f in found), found
        assert {f["code"] for f in found} <= {"default-grant", "foreign-grant", "object-changed", "key-never-copied"}, found
        assert any(f["code"] == "foreign-grant" and f["subject"] == "opened" for f in found)
        assert [f["code"] for f in found if f["subject"] == "deployment"] == ["default-grant"], found
    finally:
        cluster.sql("ALTER DEFAULT PRIVILEGES FOR ROLE fieldseal_owner REVOKE SELECT ON TABLES FROM PUBLIC")
        cluster.run("org", "remove", "opened", "--without-export", stdin="opened\n")
        cluster.sql("SET fieldseal.maintenance = 'on'; REVOKE SELECT ON ALL TABLES IN SCHEMA org_contoso FROM PUBLIC")
        cluster.run("key", "show")


def test_schemas_of_another_owner_are_named_and_the_rest_is_examined(cluster):
    cluster.sql("CREATE ROLE dba; ALTER ROLE fieldseal_inspector CREATEDB; REASSIGN OWNED BY fieldseal_owner TO dba")
    try:
        found = doctor(cluster)
        owners = {f["message"].split()[2] for f in found if f["code"] == "owner-changed" and f["severity"] == "error"}
        assert owners >= {"config", "cell", "org_contoso"} and all("belongs to dba" in f["message"] for f in found if f["code"] == "owner-changed")
        assert any(f["code"] == "role-attributes" for f in found), found
        assert cluster.run("doctor", "--json", check=False).returncode == 2
    finally:
        cluster.sql("REASSIGN OWNED BY dba TO fieldseal_owner; ALTER ROLE fieldseal_inspector NOCREATEDB; DROP ROLE dba")


@pytest.mark.parametrize("statement", [
    "DROP OWNED BY fieldseal_owner CASCADE", "DROP SCHEMA cell CASCADE", "ALTER SCHEMA cell RENAME TO other", "ALTER SCHEMA cell OWNER TO back_door",
    "ALTER SCHEMA config OWNER TO back_door", "ALTER SCHEMA org_contoso OWNER TO back_door",
])
def test_the_schemas_are_kept_from_a_dbas_accident(cluster, statement):
    with pytest.raises(psycopg.errors.DatabaseError) as refused:
        cluster.sql(statement)
    assert refused.value.sqlstate == "FS005"


def test_other_schemas_are_changed_and_dropped(cluster):
    """The control: schemas of other programs are not protected."""
    cluster.sql("CREATE SCHEMA cells; ALTER SCHEMA cells OWNER TO back_door; DROP OWNED BY back_door; CREATE SCHEMA cells; DROP SCHEMA cells")
