"""migrate/… and import/…: migrating 1,000 organizations, and importing an organization from a file."""

import glob
import hashlib
import pathlib
import subprocess
import tempfile
import time
import uuid

import psycopg
from bench import ROOT, paired, record
from keychange import CELLS, load
from service import Deployment

FIGURES = ["migrate/thousand", "import/restore"]
ORGANIZATIONS = 1_000
MIGRATIONS = {pathlib.Path(f).stem: pathlib.Path(f).read_text() for f in sorted(glob.glob(f"{ROOT}/migrations/org/*.sql")) if not f.endswith(".down.sql")}
# The migration that is measured, and the SQL that undoes it.
LAST = list(MIGRATIONS)[-1]
DOWN = pathlib.Path(f"{ROOT}/migrations/org/{LAST}.down.sql").read_text()


def schemas():
    return [f"org_bench_{number}" for number in range(ORGANIZATIONS)]


def prepare(service):
    """Makes 1,000 organizations that lack only the last migration."""
    earlier = [(name, sql) for name, sql in MIGRATIONS.items() if name != LAST]
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET fieldseal.maintenance = 'on'; SET ROLE fieldseal_owner; SET synchronous_commit = off")
        for schema in schemas():
            id = uuid.uuid4()
            connection.execute(
                f"BEGIN; CREATE SCHEMA {schema}; SET LOCAL search_path = {schema}, pg_temp; "
                "CREATE TABLE migration (name text PRIMARY KEY, checksum text NOT NULL, milliseconds bigint NOT NULL, "
                "applied_on timestamptz NOT NULL DEFAULT now(), applied_by text NOT NULL DEFAULT session_user);"
                + "".join(sql for _, sql in earlier) + "; COMMIT")
            connection.execute(
                "INSERT INTO config.organization (organization_id, name, schema_name, created_by, schema_version) VALUES (%s, %s, %s, 'bench', %s)",
                [id, schema.removeprefix("org_").replace("_", "-"), schema, earlier[-1][0]])
            for name, sql in earlier:
                row = [name, hashlib.sha256(sql.encode()).hexdigest()]
                connection.execute(f"INSERT INTO {schema}.migration (name, checksum, milliseconds) VALUES (%s, %s, 0)", row)
                connection.execute(
                    "INSERT INTO config.migration (scope, organization_id, name, checksum, milliseconds) VALUES ('org', %s, %s, %s, 0)", [id, *row])


def undo(service):
    """Undoes the last migration in all organizations."""
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET fieldseal.maintenance = 'on'; SET synchronous_commit = off; SET client_min_messages = error")
        for schema in schemas():
            connection.execute(f"SET search_path = {schema}, pg_temp; {DOWN}; DELETE FROM {schema}.migration WHERE name = '{LAST}'")
        connection.execute(f"DELETE FROM config.migration WHERE name = '{LAST}' AND organization_id IN (SELECT organization_id FROM config.organization WHERE created_by = 'bench')")


def up(service):
    """The seconds of `migrate up`."""
    start = time.monotonic()
    output = service.run("migrate", "up").stdout
    seconds = time.monotonic() - start
    assert output.count(LAST) == ORGANIZATIONS, output[-500:]
    undo(service)
    return seconds


def loop(service):
    """The seconds of running psql with the migration once for each organization."""
    file = f"{ROOT}/migrations/org/{LAST}.sql"
    lines = "".join(
        f"PGOPTIONS='-c search_path={schema},pg_temp -c fieldseal.maintenance=on' psql -X -q -1 -v ON_ERROR_STOP=1 -f {file} \"$1\" || exit 1\n"
        for schema in schemas())
    start = time.monotonic()
    subprocess.run(["bash", "-s", service.dev["postgres"]], input=lines, text=True, check=True, capture_output=True)
    seconds = time.monotonic() - start
    undo(service)
    return seconds


def run_migrate():
    service = Deployment()
    try:
        service.start()
        prepare(service)
        start = time.monotonic()
        status = service.run("migrate", "status").stdout
        seconds = time.monotonic() - start
        assert status.count("pending") >= ORGANIZATIONS
        ours, reference = paired(lambda: up(service), lambda: loop(service), runs=1)
        record("migrate/thousand", ours / reference, "<= 0.33", seconds=round(ours, 1), psql=round(reference, 1), statusSeconds=round(seconds, 2))
    finally:
        service.remove()


def run_import():
    service = Deployment()
    try:
        service.start()
        load(service, CELLS)
        with tempfile.TemporaryDirectory() as folder:
            file = f"{folder}/contoso.fieldseal"
            service.run("org", "export", "contoso", file)
            service.sql("DROP SCHEMA org_contoso CASCADE; DROP SCHEMA config CASCADE")
            service.run("migrate", "up")

            def cells():
                count = sum(service.sql(f"SELECT count({c}) FROM org_contoso.{t}_cell")[0][0] for t, c in (
                    ("emailserverprofile", "incomingpassword"), ("emailserverprofile", "outgoingpassword"), ("mailbox", "password"),
                    ("queue", "emailpassword"), ("usersettings", "emailpassword")))
                assert count >= CELLS
                service.sql("DROP SCHEMA org_contoso CASCADE")

            def imported():
                start = time.monotonic()
                service.run("org", "import", file)
                seconds = time.monotonic() - start
                cells()
                service.sql("SET session_replication_role = replica; DELETE FROM config.attested_state; DELETE FROM config.migration WHERE scope = 'org'; DELETE FROM config.organization")
                return seconds

            def restored():
                service.sql("CREATE SCHEMA org_contoso AUTHORIZATION fieldseal_owner")
                start = time.monotonic()
                subprocess.run(
                    ["pg_restore", "--no-owner", "--role=fieldseal_owner", "--schema=org_contoso", "-d", service.dev["postgres"], file], check=True)
                seconds = time.monotonic() - start
                cells()
                return seconds

            ours, reference = paired(imported, restored)
            record("import/restore", ours / reference, "<= 1.2", seconds=round(ours, 2), pgRestore=round(reference, 2), cells=CELLS)
    finally:
        service.remove()


def run(names):
    if "migrate/thousand" in names:
        run_migrate()
    if "import/restore" in names:
        run_import()
