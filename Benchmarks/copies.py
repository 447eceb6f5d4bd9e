"""Organizations that sleep, made as copies of one: their schema by SQL, and their rows of `config`."""

import concurrent.futures
import re
import subprocess
import uuid

import psycopg
from attested import Attestor

#: Organizations made at a time.
PARALLEL = 3
#: Organizations made by one connection, whose process remembers all of their tables.
BATCH = 50
#: Rows of `config` that an organization which nobody has used has, beside its attested state.
TABLES = ("migration", "organization_key")
#: The rights to functions. PostgreSQL looks a function up among those of that name in all schemas, so GRANT for each takes long.
RIGHTS = """
    WITH rights AS MATERIALIZED (
        SELECT o.proname, o.proacl FROM pg_depend AS e JOIN pg_proc AS o ON o.oid = e.objid
         WHERE e.refclassid = 'pg_namespace'::regclass AND e.refobjid = '{template}'::regnamespace AND e.classid = 'pg_proc'::regclass
    ), made AS MATERIALIZED (
        SELECT d.objid FROM pg_depend AS d
         WHERE d.refclassid = 'pg_namespace'::regclass AND d.refobjid = '{of}'::regnamespace AND d.classid = 'pg_proc'::regclass)
    UPDATE pg_proc AS p SET proacl = r.proacl FROM made AS m, rights AS r WHERE p.oid = m.objid AND r.proname = p.proname"""


def copy_organizations(cluster, template, names):
    """Makes an organization of each name, as `template` is. Their cells' keys are the template's, so none of them has passwords."""
    dump = subprocess.run(
        ["pg_dump", "-n", f"org_{template}", "--inserts", "--no-comments", "--no-owner", cluster.superuser], capture_output=True, text=True,
        check=True).stdout
    # What follows is for psql, for the session, a remark, or a right that is copied afterwards.
    script = re.sub(
        r"^(--.*|SET .*|SELECT pg_catalog\.set_config.*|\\(?:un)?restrict .*|(?:GRANT|REVOKE) .* ON FUNCTION .*|)\n", "", dump, flags=re.M)
    [(id, rotation)] = cluster.sql(f"SELECT organization_id::text, rotation_id::text FROM org_{template}.encryption")
    copies = [(name, uuid.uuid4()) for name in names]

    def make(batch):
        with psycopg.connect(cluster.superuser, autocommit=True) as connection:
            connection.execute(
                "SET session_replication_role = replica; SET check_function_bodies = off; SET client_min_messages = error; "
                "SET synchronous_commit = off; SET allow_system_table_mods = on")
            for name, new in batch:
                # One call, and one transaction.
                connection.execute(
                    f"SET LOCAL ROLE fieldseal_owner; "
                    f"{script.replace(f'org_{template}', schema(name)).replace(id, str(new)).replace(rotation, str(new))}; "
                    f"RESET ROLE; {RIGHTS.format(of=schema(name), template=f'org_{template}')}")
        register(cluster, id, batch)

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for _ in pool.map(make, [copies[first:first + BATCH] for first in range(0, len(copies), BATCH)]):
            pass


def schema(name):
    return f"org_{name.replace('-', '_')}"


def register(cluster, template, copies):
    """Their rows of `config`, each attested state with a tag of its own."""
    attestor = Attestor(cluster)
    columns = "revision, key_version, fingerprint, grants_digest, events, newest_event, head, kek_id"
    with psycopg.connect(cluster.superuser) as connection:
        connection.execute("SET session_replication_role = replica; SET synchronous_commit = off")
        state = connection.execute(f"SELECT {columns} FROM config.attested_state WHERE organization_id = %s", [template]).fetchone()
        for name, id in copies:
            connection.execute(
                "INSERT INTO config.organization (organization_id, name, schema_name, created_by, schema_version) "
                "SELECT %s, %s, %s, 'bench', schema_version FROM config.organization WHERE organization_id = %s",
                [id, name, schema(name), template])
            for table in TABLES:
                connection.execute(
                    f"INSERT INTO config.{table} SELECT (jsonb_populate_record(t, jsonb_build_object('organization_id', %s::text, 'rotation_id', %s::text))).* "
                    f"FROM config.{table} AS t WHERE organization_id = %s", [id, id, template])
            fields = [id.bytes, *(value if isinstance(value, bytes) else str(value).encode() for value in state)]
            connection.execute(
                f"INSERT INTO config.attested_state (organization_id, {columns}, grants, tag) SELECT %s, {columns}, grants, %s "
                "FROM config.attested_state WHERE organization_id = %s", [id, attestor.tag("attested_state", fields), template])
