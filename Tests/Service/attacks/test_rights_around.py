"""Rights that a superuser gives by mistake or as a back door, and that lead around the guards: `fieldseal doctor` names each."""

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
        # The control: a role of another program has rights of its own, which lead nowhere here.
        cluster.sql("CREATE ROLE backup LOGIN")
        cluster.sql("GRANT EXECUTE ON FUNCTION pg_switch_wal() TO backup")
        cluster.sql("GRANT SET ON PARAMETER log_statement TO backup")
        cluster.sql("GRANT pg_read_all_data TO backup")
        cluster.sql("CREATE FUNCTION public.harmless() RETURNS integer LANGUAGE sql AS 'SELECT 1'")
        assert doctor(cluster) == []
        yield cluster
        assert doctor(cluster) == []
    finally:
        cluster.remove()


def doctor(cluster):
    return json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]


# (what is done, what undoes it, code, words)
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
    ("GRANT fieldseal_service TO back_door", "REVOKE fieldseal_service FROM back_door", "may-act-as-service", "back_door may act as fieldseal_service"),
    ("GRANT pg_write_all_data TO back_door", "REVOKE pg_write_all_data FROM back_door", "may-act-as-service", "back_door may act as pg_write_all_data"),
]


@pytest.mark.parametrize("statement, undo, code, words", RIGHTS)
def test_a_right_that_leads_around_the_guards_is_named(cluster, statement, undo, code, words):
    with psycopg.connect(cluster.superuser, autocommit=True) as connection:
        connection.execute(statement)
        try:
            found = doctor(cluster)
            assert any(f["code"] == code and words in f["message"] for f in found), found
        finally:
            connection.execute(undo)
