"""The schema of a new organization is created in one step. It equals the schema that all migrations produce, and creating it takes no longer if there
are many organizations."""

import hashlib
import pathlib

import psycopg
import pytest
from cluster import MIGRATIONS, NEWEST, Cluster
from waiting import until

FOLDER = pathlib.Path(__file__).parents[3] / "migrations/org"
#: Queries of all that the catalog says about a schema, by kind of object, without numbers that PostgreSQL assigns. {0} is the schema.
CATALOG = {
    "relations": """
        SELECT c.relname, c.relkind, c.relpersistence, c.relchecks, c.relhasrules, c.relhastriggers, c.relhassubclass, c.relrowsecurity,
               c.relforcerowsecurity, c.relreplident, c.relispartition, c.reloptions, c.relowner::regrole, c.reltablespace,
               pg_get_expr(c.relpartbound, c.oid), obj_description(c.oid, 'pg_class'), {acl},
               CASE WHEN c.relkind = 'v' THEN pg_get_viewdef(c.oid) END, pg_get_partkeydef(c.oid)
          FROM pg_class AS c WHERE c.relnamespace = '{0}'::regnamespace""".replace("{acl}", "(SELECT array_agg(a::text ORDER BY a::text) FROM unnest(c.relacl) AS a)"),
    # Columns are numbered by their order, because migrations leave numbers of dropped columns, which a new table does not have.
    "columns": """
        SELECT c.relname, row_number() OVER (PARTITION BY c.oid ORDER BY a.attnum), a.attname, format_type(a.atttypid, a.atttypmod), a.attnotnull,
               a.attidentity, a.attgenerated, a.attislocal, a.attinhcount, a.attstorage, a.attcompression, a.attstattarget, a.attcollation,
               a.attoptions, pg_get_expr(d.adbin, d.adrelid), col_description(c.oid, a.attnum),
               (SELECT array_agg(x::text ORDER BY x::text) FROM unnest(a.attacl) AS x)
          FROM pg_attribute AS a JOIN pg_class AS c ON c.oid = a.attrelid
          LEFT JOIN pg_attrdef AS d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
         WHERE c.relnamespace = '{0}'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped""",
    "constraints": """
        SELECT c.conrelid::regclass, c.conname, c.contype, c.condeferrable, c.condeferred, c.convalidated, c.conislocal, c.coninhcount,
               c.connoinherit, pg_get_constraintdef(c.oid), c.conindid::regclass, p.conname, obj_description(c.oid, 'pg_constraint')
          FROM pg_constraint AS c LEFT JOIN pg_constraint AS p ON p.oid = c.conparentid WHERE c.connamespace = '{0}'::regnamespace""",
    "indexes": """
        SELECT pg_get_indexdef(i.indexrelid), i.indisunique, i.indisprimary, i.indimmediate, i.indisvalid, i.indisreplident, i.indclass, i.indcollation,
               i.indoption, (SELECT h.inhparent::regclass FROM pg_inherits AS h WHERE h.inhrelid = i.indexrelid)
          FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE c.relnamespace = '{0}'::regnamespace""",
    # Triggers are printed with few parentheses, because equal conditions can have different numbers of parentheses.
    "triggers": """
        SELECT t.tgrelid::regclass, pg_get_triggerdef(t.oid, true), t.tgfoid::regprocedure, t.tgtype, t.tgenabled, t.tgargs, p.tgrelid::regclass
          FROM pg_trigger AS t JOIN pg_class AS c ON c.oid = t.tgrelid LEFT JOIN pg_trigger AS p ON p.oid = t.tgparentid
         WHERE c.relnamespace = '{0}'::regnamespace AND NOT t.tgisinternal""",
    "functions": """
        SELECT pg_get_functiondef(p.oid), p.proowner::regrole, obj_description(p.oid, 'pg_proc'),
               (SELECT array_agg(a::text ORDER BY a::text) FROM unnest(p.proacl) AS a)
          FROM pg_proc AS p WHERE p.pronamespace = '{0}'::regnamespace""",
    "sequences": """
        SELECT c.relname, s.seqtypid::regtype, s.seqstart, s.seqincrement, s.seqmin, s.seqmax, s.seqcache, s.seqcycle
          FROM pg_sequence AS s JOIN pg_class AS c ON c.oid = s.seqrelid WHERE c.relnamespace = '{0}'::regnamespace""",
    "dependencies": """
        WITH own AS (
            SELECT d.classid, d.objid FROM pg_depend AS d WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = '{0}'::regnamespace)
        SELECT pg_describe_object(d.classid, d.objid, d.objsubid), pg_describe_object(d.refclassid, d.refobjid, d.refobjsubid), d.deptype, count(*)
          FROM pg_depend AS d
         WHERE ((d.classid, d.objid) IN (SELECT * FROM own) OR (d.refclassid, d.refobjid) IN (SELECT * FROM own))
           AND NOT EXISTS (SELECT FROM pg_class AS t WHERE d.classid = 'pg_class'::regclass AND t.oid = d.objid AND t.relkind = 't')
         GROUP BY 1, 2, 3""",
    "other objects": """
        SELECT i.type, i.identity, count(*) FROM pg_depend AS d, pg_identify_object(d.classid, d.objid, 0) AS i
         WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = '{0}'::regnamespace
           AND d.classid NOT IN ('pg_class'::regclass, 'pg_proc'::regclass) GROUP BY 1, 2""",
    "schema": "SELECT nspowner::regrole, ARRAY(SELECT a::text FROM unnest(nspacl) AS a ORDER BY 1) FROM pg_namespace WHERE oid = '{0}'::regnamespace",
    "audit settings": "SELECT * FROM {0}.audit_setting",
}


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("autovacuum=off")
    try:
        yield cluster
    finally:
        cluster.remove()


def one_after_the_other(connection, schema):
    """Creates a schema with all migrations in their order, and the first generation of cells."""
    connection.execute("SET ROLE fieldseal_owner")
    connection.execute(f"CREATE SCHEMA {schema}; CREATE TABLE {schema}.migration (LIKE org_contoso.migration INCLUDING DEFAULTS, PRIMARY KEY (name))")
    for name in MIGRATIONS:
        connection.execute(f"SET search_path = {schema}, pg_temp; SET fieldseal.maintenance = 'on'")
        connection.execute((FOLDER / f"{name}.sql").read_text())
    connection.execute("SELECT create_generation(1), finish_generation(1)")
    connection.execute(
        "SELECT switch_generation(1, salt, iterations, key_check, fingerprint, rotation_id, organization_id) FROM org_contoso.encryption")
    connection.execute("RESET ALL; RESET ROLE")


@pytest.mark.parametrize("kind", CATALOG)
def test_a_new_schema_is_what_the_migrations_make(cluster, kind):
    with psycopg.connect(cluster.superuser) as connection:
        if kind == next(iter(CATALOG)):
            one_after_the_other(connection, "org_migrated")

        def rows(schema):
            found = connection.execute(f"SELECT r::text FROM ({CATALOG[kind].format(schema)}) AS r").fetchall()
            return sorted(row.replace(schema, "@") for row, in found)

        wanted, made = rows("org_migrated"), rows("org_contoso")
        assert (wanted or kind == "other objects") and [row for row in wanted if row not in made] == [] and [row for row in made if row not in wanted] == []
        assert len(wanted) == len(made)


def test_the_ledgers_of_a_new_organization_have_every_migration(cluster):
    sums = [(name, hashlib.sha256((FOLDER / f"{name}.sql").read_bytes()).hexdigest()) for name in MIGRATIONS]
    assert cluster.sql("SELECT name, checksum FROM org_contoso.migration ORDER BY name") == sums
    assert cluster.sql(
        "SELECT m.name, checksum FROM config.migration AS m JOIN config.organization USING (organization_id) ORDER BY m.name") == sums
    assert cluster.sql("SELECT schema_version FROM config.organization") == [(NEWEST,)]
    assert f"contoso: {len(MIGRATIONS)} applied, none pending" in cluster.run("migrate", "status").stdout


def test_a_key_change_and_the_doctor_accept_a_new_schema(cluster):
    cluster.run("org", "create", "accepted")
    cluster.run("key", "change", "--org", "accepted")
    cluster.run("verify", "--org", "accepted")
    findings = cluster.run("doctor", "--org", "accepted", check=False).stdout
    assert not any(word in findings for word in ("object-", "fence-", "foreign-")), findings


def test_a_creation_that_is_struck_leaves_nothing(cluster):
    tables = ("organization", "organization_key", "migration", "attested_state")
    count = "SELECT " + ", ".join(f"(SELECT count(*) FROM config.{table})" for table in tables)
    before = cluster.sql(count)
    with psycopg.connect(cluster.superuser) as holder:
        # The command waits here to write the attested state. It has created the schema already.
        holder.execute("LOCK TABLE config.attested_state IN ACCESS EXCLUSIVE MODE")
        process = cluster.popen("org", "create", "struck")
        waiting = "SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%%attested_state%%' AND pid <> pg_backend_pid()"
        until(lambda: cluster.sql(waiting, []))
        cluster.terminate(cluster.sql(waiting, [])[0][0])
    process.communicate()
    assert process.returncode != 0
    assert cluster.sql(count) == before and cluster.sql("SELECT to_regnamespace('org_struck')") == [(None,)]
    assert cluster.sql("SELECT count(*) FROM pg_proc WHERE proname LIKE '%%$%%'", []) == [(0,)]
    # The name can be used again.
    cluster.run("org", "create", "struck")


def test_a_creation_reads_no_functions_of_other_organizations(cluster):
    """PostgreSQL looks up a function by name among the functions of that name in all schemas."""
    reads = "SELECT sum(idx_tup_read)::integer FROM pg_stat_sys_indexes WHERE indexrelname = 'pg_proc_proname_args_nsp_index'"

    def read():
        # PostgreSQL adds a session's counts to the statistics when the session ends.
        others = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
        until(lambda: cluster.sql(others) == [(0,)])
        return cluster.sql(reads)[0][0]

    def creation(name):
        before = read()
        cluster.run("org", "create", name)
        return read() - before

    few = creation("beside-few")
    cluster.sql("""
        DO $$
        DECLARE
            name text;
        BEGIN
            SET LOCAL check_function_bodies = off;
            FOR number IN 1 .. 200 LOOP
                EXECUTE format('CREATE SCHEMA other_%s', number);
                FOR name IN SELECT p.proname FROM pg_proc AS p WHERE p.pronamespace = 'org_contoso'::regnamespace LOOP
                    EXECUTE format('CREATE FUNCTION other_%s.%I() RETURNS integer LANGUAGE sql RETURN 1', number, name);
                END LOOP;
            END LOOP;
        END
        $$""")
    many = creation("beside-many")
    # A function's name that exists in all schemas would make PostgreSQL read at least two hundred more rows.
    assert many < few + 200, (few, many)


def test_no_two_indexes_are_of_the_same(cluster):
    """Two equal indexes would make each write slower."""
    what = "i.indrelid, i.indkey, i.indclass, i.indoption, pg_get_expr(i.indexprs, i.indrelid), pg_get_expr(i.indpred, i.indrelid)"
    same = cluster.sql(
        f"""SELECT array_agg(c.relname) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid
             WHERE c.relnamespace::regnamespace::text !~ '^pg_' GROUP BY {what} HAVING count(*) > 1""")
    assert same == []
