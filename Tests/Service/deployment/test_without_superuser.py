"""Runs every command that uses the database with the two login roles of production: the service's role, and a role that can act as the owner."""

import datetime
import json
import subprocess

import psycopg
import pytest
from cluster import MIGRATIONS, Cluster
from test_command_line import HELP

#: The commands that this file does not run, and why.
ELSEWHERE = {
    "migrate bootstrap": "needs a superuser", "migrate recovery": "needs a superuser", "setup": "needs a superuser", "dev": "needs a superuser",
    "serve": "test_database_passwords.py", "router run": "a client of the service", "router status": "a client of the service",
    "kek create": "without a database", "kek seal": "without a database", "org inspect": "without a database", "backup check": "without a database",
    "config reference": "without a database"}
ADMINISTRATOR = "System Administrator"
PLAINTEXT = """
    CREATE SCHEMA org_legacy AUTHORIZATION fieldseal_owner; SET ROLE fieldseal_owner; SET search_path = org_legacy;
    CREATE TABLE mailbox (mailboxid uuid PRIMARY KEY, name text, password text);
    INSERT INTO mailbox VALUES (gen_random_uuid(), 'a mailbox', 'a password')"""


class Operator:
    """Runs commands with settings that name no superuser, and notes which commands ran."""

    def __init__(self, cluster):
        self.cluster, self.ran = cluster, set()
        with psycopg.connect(f"host={cluster.home} user=postgres dbname=postgres", autocommit=True) as connection:
            connection.execute("CREATE DATABASE east")
        self.connect("superuser", "postgres")
        cluster.run("migrate", "bootstrap", "--database", "east", settings="superuser")
        cluster.sql("CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner")
        self.connect("operator", "fieldseal_migrator")

    def connect(self, name, migrator, **changes):
        places = {"main": "fieldseal", "east": "east"}
        of = {user: {place: f"host={self.cluster.home} user={user} dbname={database}" for place, database in places.items()} for user in ("fieldseal_service", migrator)}
        lines = {"databases": of["fieldseal_service"], "migrationDatabases": of[migrator], "kekFile": f"{self.cluster.home}/kek", **changes}
        (self.cluster.home / f"{name}.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items() if v is not None))

    def __call__(self, text, *more, stdin="", fails=False):
        """Runs a command of one or two words, with further arguments."""
        words = text.split()
        path = " ".join(words[:2] if tuple(words[:2]) in HELP else words[:1])
        assert tuple(path.split()) in HELP, path
        self.ran.add(path)
        done = self.cluster.run(*words, *map(str, more), settings="operator", stdin=stdin, check=False)
        said = done.stdout + done.stderr
        assert (done.returncode != 0) is fails, f"{text}: {said}"
        assert "permission denied" not in said and "must be owner" not in said, f"{text}: {said}"
        return done.stdout


@pytest.fixture(scope="module")
def operator():
    cluster = Cluster()
    try:
        yield Operator(cluster)
    finally:
        cluster.remove()


def organizations(run, home):
    run("migrate up --database east")
    run("org create fabrikam --database main")
    for command in ("list", "show fabrikam", "suspend fabrikam", "resume fabrikam", "rename fabrikam tailspin"):
        run(f"org {command}")
    run("org move tailspin --to east")
    run("org export contoso", home / "contoso.export")
    key = run("key show --org contoso")
    run("org import", home / "contoso.export", "--as-new", "--name", "copy", "--database", "main", stdin=key)
    run("org remove copy --without-export", stdin="copy\n")
    tailspin = run("key show --org tailspin")
    run("org remove tailspin --export", home / "tailspin.export", stdin="tailspin\n")
    run("org import", home / "tailspin.export", "--database", "east")
    run("key activate --org tailspin", stdin=tailspin)
    run("org attach contoso --yes")
    run.cluster.sql(PLAINTEXT)
    run("org upgrade legacy --from-plaintext --database main")


def keys(run, home):
    for command in ("status", "history", "rehearse", "change", "purge 1 --yes", "control --sign-in 5m"):
        run(f"key {command} --org contoso")
    run("key cancel --org contoso", fails=True)
    run("kek status")
    run.cluster.run("kek", "create", str(home / "kek.new"), settings=None)
    run.connect("operator", "fieldseal_migrator", newKek={"file": f"{home}/kek.new"})
    for database in ("main", "east"):
        run(f"kek rotate --database {database}")
    run.connect("operator", "fieldseal_migrator", kekFile=f"{home}/kek.new")
    for database in ("main", "east"):
        run(f"kek retire --database {database}")


def access(run, home):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "60", "-subj", "/CN=app", "-keyout", home / "app.key",
         "-out", home / "app.pem"], check=True, capture_output=True)
    for name in ("first", "second"):
        run(f"client add {name} --org contoso --role", ADMINISTRATOR)
        run(f"user add {name} --org contoso --role", ADMINISTRATOR, stdin=f"the password of {name}\n")
    run("client role second --org contoso", "Email Administrator")
    run("client remove-key second --org contoso", json.loads(run("client add-certificate second --org contoso --json", home / "app.pem"))["keyId"])
    run("client add-key second --org contoso", home / "app.pem")
    for command in ("rotate", "disable", "enable", "remove"):
        run(f"client {command} second --org contoso")
    run("user role second --org contoso", "Email Administrator")
    run("user reset second --org contoso", stdin="another password of second\n")
    run("user require-second-factor --org contoso --role", ADMINISTRATOR)
    run("issuer add entra --org contoso --issuer https://login.example.com/v2.0 --client-id an-id", stdin="a secret of the provider\n")
    run("issuer link entra second@example.com --user second --org contoso")
    for command in ("client list", "issuer list", "issuer remove entra", "user list", "user end-sessions second", "user disable second", "user enable second", "user remove second", "approval list"):
        run(f"{command} --org contoso")
    for command in ("approve", "refuse"):
        run(f"approval {command} 7c4a8d09-0000-4000-8000-000000000001 --org contoso", fails=True)


def evidence(run, home):
    run("events export --org contoso")
    run("events seal")
    run("events verify")
    now = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
    run("events archive --org contoso --to", home / "events.archive", "--before", now)
    run("retention")
    for command in ("migrate status", "migrate verify", "verify", "doctor", "config check"):
        run.ran.add(command)
        said = run.cluster.run(*command.split(), "--json", settings="operator", check=False)
        # The doctor and the config check report findings about this cluster, so their exit codes can differ from 0.
        assert said.returncode in ((0, 1, 2) if command in ("doctor", "config check") else (0,)) and "permission denied" not in said.stdout + said.stderr, said
    run("migrate down contoso", stdin=f"{MIGRATIONS[-1]}\n")
    run("migrate up")


def test_every_command_does_without_a_superuser(operator):
    home = operator.cluster.home
    for part in (organizations, keys, access, evidence):
        part(operator, home)
    leaves = {" ".join(path) for path, command in HELP.items() if not command.get("subcommands")}
    assert leaves - operator.ran == set(ELSEWHERE)
    # The owner's role owns everything that these commands made.
    for database in ("fieldseal", "east"):
        with psycopg.connect(f"host={home} user=postgres dbname={database}") as connection:
            owners = connection.execute(
                "SELECT DISTINCT relowner::regrole::text FROM pg_class JOIN pg_namespace AS n ON n.oid = relnamespace WHERE nspname ~ '^(org_|config$|cell$)'").fetchall()
        assert owners == [("fieldseal_owner",)]
