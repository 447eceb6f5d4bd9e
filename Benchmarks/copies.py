"""Makes unused organizations as copies of one organization: their schemas with SQL, and their rows in `config`."""

import concurrent.futures
import pathlib
import re
import subprocess
import uuid

import psycopg
from attested import Attestor
from cluster import MIGRATIONS

#: The number of threads that make organizations.
PARALLEL = 3
#: The number of organizations that one connection makes. A connection's process keeps the definitions of their tables in memory.
BATCH = 50
#: The tables of `config` in which an unused organization has rows. The attested state is not among them.
TABLES = ("migration", "organization_key")
ROOT = pathlib.Path(__file__).resolve().parents[1]
LEDGER = """
    CREATE TABLE migration (name text NOT NULL, checksum text NOT NULL, milliseconds bigint NOT NULL,
        applied_on timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT session_user, PRIMARY KEY (name));"""


def statements(cluster, template):
    """The statements that make the template's schema, with `$new` at the end of temporary names, and the statements that fill the schema."""
    applied = [name for name, in cluster.sql(f"SELECT name FROM org_{template}.migration")]
    made = LEDGER + (ROOT / "migrations/organization.sql").read_text()
    for name in reversed([name for name in MIGRATIONS if name not in applied]):
        made += (ROOT / f"migrations/org/{name}.down.sql").read_text()
    dump = subprocess.run(
        ["pg_dump", "--data-only", "-n", f"org_{template}", "--inserts", cluster.superuser], capture_output=True, text=True, check=True).stdout
    rows = re.findall(rf"^INSERT INTO org_{template}\.(?!audit_setting ).*;$|^SELECT pg_catalog\.setval.*;$", dump, re.M)
    return made, "\n".join(rows)


def copy_organizations(cluster, template, names):
    """Makes a copy of the organization `template` for each name. The copies have the template's keys, so they can't have passwords."""
    made, rows = statements(cluster, template)
    [(id, rotation)] = cluster.sql(f"SELECT organization_id::text, rotation_id::text FROM org_{template}.encryption")
    copies = [(name, uuid.uuid4()) for name in names]

    def make(batch):
        with psycopg.connect(cluster.superuser, autocommit=True) as connection:
            connection.execute("SET check_function_bodies = off; SET client_min_messages = error; SET synchronous_commit = off")
            for name, new in batch:
                own = rows.replace(f"org_{template}", schema(name)).replace(id, str(new)).replace(rotation, str(new))
                # One request, so all statements are one transaction.
                connection.execute(
                    f"SET LOCAL ROLE fieldseal_owner; CREATE SCHEMA {schema(name)}; SET LOCAL search_path = {schema(name)}, pg_temp; "
                    f"SET LOCAL fieldseal.maintenance = 'on'; {made.replace('$new', f'${new.hex}')}; "
                    f"RESET ROLE; SET LOCAL session_replication_role = replica; {own}")
        register(cluster, id, batch)

    with concurrent.futures.ThreadPoolExecutor(PARALLEL) as pool:
        for _ in pool.map(make, [copies[first:first + BATCH] for first in range(0, len(copies), BATCH)]):
            pass


def schema(name):
    return f"org_{name.replace('-', '_')}"


def register(cluster, template, copies):
    """Inserts the rows of these organizations in `config`. Computes a tag for each attested state."""
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
