"""docs/production.md, line by line: from packages and a PostgreSQL with TLS to a running service."""

import os
import re
import shutil
import signal
import socket
import subprocess
import time

import psycopg
import pytest
import requests
import scratch
import template
from cluster import Cluster
from package_root import SOURCE, Root, build, notices_until, start
from ports import free_port
from service import PATIENCE, PROGRAM

PAGE_FOLDER = SOURCE / "docs"
PAGE = (PAGE_FOLDER / "production.md").read_text()


def certificate(folder, name, host="localhost"):
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "60", "-subj", f"/CN={host}",
         "-addext", f"subjectAltName=DNS:{host}", "-keyout", folder / f"{name}.key", "-out", folder / f"{name}.pem"], check=True, capture_output=True)


class Database:
    """A PostgreSQL as the page requires it: connections only with TLS, and passwords with SCRAM. allow() sets who can connect."""

    ACCESS = "hostssl fieldseal fieldseal_service,fieldseal_migrator 127.0.0.1/32 scram-sha-256\n"
    SUPERUSER = "hostssl all postgres 127.0.0.1/32 scram-sha-256\n"

    def __init__(self, host="localhost", port=None, inside=()):
        """`inside` is a command that runs another command in a separate network."""
        self.home = scratch.new_folder()
        self.home.chmod(0o755)
        self.port = port or free_port()
        template.give_to_postgres(self.home)
        self.password = template.copy_cluster("development", self.home / "data")
        certificate(self.home, "database", host)
        for file in ("database.key", "database.pem"):
            template.give_to_postgres(self.home / file)
        self.allow(self.ACCESS + self.SUPERUSER)
        settings = ["listen_addresses=127.0.0.1", "ssl=on", f"ssl_cert_file={self.home}/database.pem", f"ssl_key_file={self.home}/database.key"]
        arguments = " ".join(f"'{s}'" for s in settings)
        subprocess.run(
            [*inside, "bash", "-c", f"source {template.SUPPORT}; resume_postgres {self.home} {arguments}"], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PGPORT": str(self.port)})

    def allow(self, lines):
        file = self.home / "data/pg_hba.conf"
        # The test connects through the socket, with the superuser's password.
        file.write_text(f"local all postgres scram-sha-256\n{lines}")

    def query(self, statement):
        with psycopg.connect(host=str(self.home), port=self.port, user="postgres", password=self.password, dbname="fieldseal", autocommit=True) as connection:
            return connection.execute(statement).fetchall()

    def remove(self):
        template.end_postgres(self.home / "data")
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture(scope="module")
def packages():
    folder = scratch.new_folder()
    try:
        yield build(folder, "--only", "fieldseal")
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def machine(packages):
    """A PostgreSQL, and a root with all packages."""
    database, root = Database(), Root()
    try:
        root.install(*packages.values())
        yield database, root
    finally:
        root.remove()
        database.remove()


#: The line of the page with `fieldseal setup`. The page also has these steps as separate commands.
SETUP = re.search(r"^runuser -u fieldseal -- fieldseal setup .*\n", PAGE, re.MULTILINE)[0]


def blocks(by_hand):
    """The commands of each section of the page. With `by_hand`, the separate commands take the place of `setup`."""
    found = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert sum(SETUP in block for block in found) == 1
    if not by_hand:
        return found
    # These separate commands need the variables that the page exports.
    exported = re.search(r"^export .*\n", PAGE, re.MULTILINE)[0]
    steps = "".join(re.findall(r"^```sh by hand\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL))
    return [block.replace(SETUP, exported + steps) for block in found]


def put_what_the_page_takes_for_granted(database, root, folder):
    """Makes the certificates and passwords that the page expects. `folder` also gets the server's certificate."""
    certificate(folder, "server")
    home = root.path("/root/set-up")
    home.mkdir(mode=0o700)
    for name in ("server.pem", "server.key"):
        shutil.copyfile(folder / name, home / name)
    (home / "superuser.pgpass").write_text(f"localhost:{database.port}:*:postgres:{database.password}\n")
    (home / "superuser.pgpass").chmod(0o600)
    (home / "ada.password").write_text("a password of ada's own\n")
    (home / "ada.password").chmod(0o400)
    shutil.copyfile(database.home / "database.pem", root.path("/etc/fieldseal/db-ca.pem"))
    root.run("mkdir", "-p", "/mnt/safe")


def keys_are_where_the_page_says(root):
    assert root.path("/mnt/safe/kek").read_bytes() == root.path("/etc/fieldseal/private/kek").read_bytes()
    assert len(root.path("/mnt/safe/contoso.key").read_text().strip()) > 20
    assert sorted(p.name for p in root.path("/etc/fieldseal/private").iterdir()) == ["kek", "pgpass", "server.key"]
    assert all(p.stat().st_mode & 0o077 == 0 for p in root.path("/etc/fieldseal/private").iterdir())


def used_as_the_page_says(port, authority, id, secret):
    """A program writes a record, and a person signs in. Returns the program's session, and the address of the organization."""
    session = requests.Session()
    session.verify, session.trust_env = str(authority), False
    base = f"https://localhost:{port}/contoso"
    token = session.post(f"{base}/oauth2/v2.0/token", {"grant_type": "client_credentials", "client_id": id, "client_secret": secret}, timeout=PATIENCE)
    session.headers["Authorization"] = f"Bearer {token.json()['access_token']}"
    made = session.post(f"{base}/api/data/v9.2/mailboxes", json={"name": "box", "password": "a-password-1"}, timeout=PATIENCE)
    assert made.status_code == 204, made.text
    page = session.post(f"{base}/sign-in", {"name": "ada", "password": "a password of ada's own"}, headers={"Origin": f"https://localhost:{port}"}, timeout=PATIENCE)
    assert page.status_code == 200 and page.url.endswith("/overview")
    return session, base


def setup_makes_nothing_twice(root, follow):
    """Runs `setup` again, without a superuser. It makes nothing twice, and keeps the passwords."""
    before = root.path("/etc/fieldseal/private/pgpass").read_bytes()
    repeated = "runuser -u fieldseal -- fieldseal setup --org contoso --person ada --client first-app"
    # `setup` reports a missing certificate, and continues.
    follow("mv /etc/fieldseal/server.pem /etc/fieldseal/server.pem.away")
    assert "/etc/fieldseal/server.pem" in follow(repeated).stdout
    follow("mv /etc/fieldseal/server.pem.away /etc/fieldseal/server.pem")
    again = follow(repeated).stdout
    assert "/etc/fieldseal/server.pem" not in again
    assert again.count("there") >= 4 and "client secret" not in again and root.path("/etc/fieldseal/private/pgpass").read_bytes() == before


@pytest.mark.parametrize("by_hand", [False, True], ids=["setup", "by hand"])
def test_the_page_ends_in_a_service_that_answers(machine, tmp_path, by_hand):
    database, root = machine
    port = free_port()
    put_what_the_page_takes_for_granted(database, root, tmp_path)

    def follow(text):
        text = text.replace("db.example.com", "localhost").replace("crm.example.com:8443", f"localhost:{port}")
        environment = {**os.environ, "PGPORT": str(database.port), "PGPASSFILE": "/root/set-up/superuser.pgpass", "LC_ALL": "C.UTF-8"}
        return root.run("bash", "-exc", f"cd /root/set-up\n{text}", env=environment)

    outputs = []
    for block in blocks(by_hand):
        if "config check" in block:
            # From here on, the superuser can't connect any more.
            database.allow(Database.ACCESS)
            database.query("SELECT pg_reload_conf()")
        outputs.append(follow(block).stdout)
        if "examples/fieldseal.yaml" in block:
            # The page says: "change the names in the copy".
            file = root.path("/etc/fieldseal/fieldseal.yaml")
            text = file.read_text().replace("db.example.com", "localhost").replace("crm.example.com:8443", f"localhost:{port}")
            file.write_text(text.replace("port: 8443", f"port: {port}"))
    secrets, check = (next(o for o in outputs if words in o) for words in ("client secret", "Nothing is wrong."))
    assert "problem:" not in check and "note:" not in check, check
    keys_are_where_the_page_says(root)

    id, secret = (re.search(rf"client {what} +(\S+)", secrets)[1] for what in ("id", "secret"))
    name = f"fieldseal-production-{port}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(f"\0{name}")
        process = start(root, "fieldseal.service", f"@{name}", {"PGPORT": str(database.port)})
        try:
            notices_until(process, notices, lambda seen: "READY=1" in seen)
            session, base = used_as_the_page_says(port, tmp_path / "server.pem", id, secret)
            roles_get_other_passwords(database, root, follow, session, base)
            used = database.query(
                "SELECT DISTINCT usename, s.ssl FROM pg_stat_activity JOIN pg_stat_ssl AS s USING (pid) WHERE client_addr IS NOT NULL")
            assert used == [("fieldseal_service", True)], "only the service's role is connected, over TLS"
        finally:
            os.kill(process.pid, signal.SIGTERM)
            errors = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, errors
    roles = dict(database.query("SELECT rolname, rolsuper FROM pg_roles WHERE rolname LIKE 'fieldseal%'"))
    assert roles == {f"fieldseal_{n}": False for n in ("owner", "service", "inspector", "migrator")}
    assert all(v.startswith("SCRAM-SHA-256$") for (v,) in database.query("SELECT rolpassword FROM pg_authid WHERE rolname IN ('fieldseal_service', 'fieldseal_migrator')"))

    if by_hand:
        key_is_replaced_as_the_page_says(database, root, follow)
    else:
        is_restored_as_the_page_says(database, root, follow)

    # The page has a command for each step that `setup` prints.
    printed = re.findall(r"^\S.*  \(fieldseal ([a-z]+ [a-z]+)", secrets, re.MULTILINE)
    assert by_hand or len(printed) == 6
    assert all(re.search(rf"fieldseal {command}\b", "".join(blocks(True))) for command in printed)

    setup_makes_nothing_twice(root, follow)


def roles_get_other_passwords(database, root, follow, session, base):
    """Changes the passwords of the roles as docs/operations.md says, while the service runs. New connections must work."""
    [block] = re.findall(r"^```sh rotate\n(.*?)^```$", (PAGE_FOLDER / "operations.md").read_text(), re.MULTILINE | re.DOTALL)
    passwords = root.path("/etc/fieldseal/private/pgpass")
    before, owner = passwords.read_text(), passwords.stat()
    database.allow(Database.ACCESS + Database.SUPERUSER)
    database.query("SELECT pg_reload_conf()")
    said = follow(re.search(r"^export .*\n", PAGE, re.MULTILINE)[0] + block).stdout
    database.allow(Database.ACCESS)
    database.query("SELECT pg_reload_conf()")
    assert "problem:" not in said
    after = passwords.stat()
    assert (after.st_uid, after.st_gid, after.st_mode) == (owner.st_uid, owner.st_gid, owner.st_mode)
    lines = list(zip(before.splitlines(), passwords.read_text().splitlines(), strict=True))
    assert len(lines) == 2 and all(old.rsplit(":", 1)[0] == new.rsplit(":", 1)[0] and old != new for old, new in lines)
    database.query("SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
    deadline = time.monotonic() + PATIENCE
    while session.post(f"{base}/api/data/v9.2/mailboxes", json={"name": "after"}, timeout=PATIENCE).status_code != 204:
        assert time.monotonic() < deadline, "the service does not connect with the new password"
        time.sleep(0.1)


def key_is_replaced_as_the_page_says(database, root, follow):
    """Follows docs/key-encryption-key.md, section "Replacing it". Starts the service again after each change of the settings."""
    page = (PAGE_FOLDER / "key-encryption-key.md").read_text().split("## Replacing it")[1].split("\n## ")[0]
    found = [(name, re.sub("^   ", "", text, flags=re.MULTILINE)) for name, text in re.findall(r"```(?:sh |yaml )?(\S+)\n(.*?)```", page, re.DOTALL)]
    assert [name for name, _ in found] == ["rotate", "newKek", "console", "rotate", "kekFile", "rotate"], found
    restart = next(text for name, text in found if name == "console")
    assert restart.strip().endswith(" && systemctl restart fieldseal")
    file, outputs = root.path("/etc/fieldseal/fieldseal.yaml"), []
    for name, text in found:
        if name == "rotate":
            outputs.append(follow(text).stdout)
        if name not in {"newKek", "kekFile"}:
            continue
        kept = [line for line in file.read_text().splitlines() if not line.startswith(("newKek:", *(["kekFile:"] if name == "kekFile" else [])))]
        file.write_text("\n".join([*kept, text.strip(), ""]))
        assert "problem:" not in follow(restart.split(" && ")[0]).stdout
        notice = f"fieldseal-replacing-{database.port}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
            notices.bind(f"\0{notice}")
            process = start(root, "fieldseal.service", f"@{notice}", {"PGPORT": str(database.port)})
            try:
                notices_until(process, notices, lambda seen: "READY=1" in seen)
            finally:
                os.kill(process.pid, signal.SIGTERM)
                process.communicate(timeout=PATIENCE)
    new = root.path("/etc/fieldseal/private/kek.new")
    assert new.read_bytes() == root.path("/mnt/safe/kek.new").read_bytes()
    assert "Run fieldseal kek rotate." in outputs[1] and "Everything is under" in outputs[1] and "Retired" in outputs[2], outputs
    # root owns the new file, so the output says how the service's user can get it.
    said = root.run("fieldseal", "kek", "create", "/etc/fieldseal/private/of-root").stdout
    assert "belongs to root" in said and "chown fieldseal: /etc/fieldseal/private/of-root" in said
    root.path("/etc/fieldseal/private/of-root").unlink()


#: The page with the commands for a dump and its restore.
BACKUPS = (PAGE_FOLDER / "backups.md").read_text()


def is_restored_as_the_page_says(database, root, follow):
    """Makes a dump on the service's machine, and restores it on a PostgreSQL without the database and its roles."""
    root.run("mkdir", "-p", "/mnt/backups")
    dump, restore = (BACKUPS.split(f"\n{begin}")[1].split(f"\n{end}")[0] for begin, end in (("## Dumps", "These lines"), ("Restore into", "Neither roles")))
    def commands(text):
        return "cd /mnt/backups\n" + "\n".join(line.strip() for line in text.splitlines() if line.startswith("    "))
    assert "opens it" in follow(commands(dump)).stdout
    with psycopg.connect(host=str(database.home), port=database.port, user="postgres", password=database.password, dbname="postgres", autocommit=True) as connection:
        connection.execute("DROP DATABASE fieldseal WITH (FORCE)")
        for name in ("service", "migrator", "inspector", "owner"):
            # Also revokes the role's right to set fieldseal.maintenance.
            connection.execute(f"DROP OWNED BY fieldseal_{name}")
            connection.execute(f"DROP ROLE fieldseal_{name}")
        connection.execute("CREATE DATABASE fieldseal ENCODING 'UTF8' LC_COLLATE 'C.UTF-8' LC_CTYPE 'C.UTF-8' TEMPLATE template0")
    database.allow(Database.ACCESS + Database.SUPERUSER)
    database.query("SELECT pg_reload_conf()")
    superuser = "install -m 0600 -o fieldseal -g fieldseal superuser.pgpass /etc/fieldseal/private/superuser.pgpass\n"
    exported = re.search(r"^export .*\n", PAGE, re.MULTILINE)[0] + "export PGUSER=postgres\n"
    said = follow(superuser + exported + commands(restore)).stdout
    assert "gave fieldseal_service a password" in said and "made the role fieldseal_migrator" in said and re.search(r"\b1 cells?\b", said), said
    follow("rm /etc/fieldseal/private/superuser.pgpass")
    database.allow(Database.ACCESS)
    database.query("SELECT pg_reload_conf()")
    assert "problem:" not in follow("runuser -u fieldseal -- fieldseal config check").stdout


def test_a_password_on_the_command_line_is_refused():
    for conninfo in ("host=localhost user=postgres password=x", "postgres://postgres:x@localhost/fieldseal"):
        refused = subprocess.run([PROGRAM, "setup", "--superuser", conninfo], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert refused.returncode == 64 and "passfile" in refused.stderr


def test_the_check_names_roles_that_may_too_much_or_too_little():
    cluster = Cluster()
    try:
        def check(**settings):
            lines = (cluster.home / "direct.yaml").read_text()
            file = cluster.home / "checked.yaml"
            file.write_text("".join(line + "\n" for line in lines.splitlines() if line.split(":")[0] not in settings) + "".join(f'{k}: "{v}"\n' for k, v in settings.items()))
            return cluster.run("config", "check", settings="checked", check=False).stdout
        direct = f"host={cluster.home} dbname=fieldseal"
        assert "only bootstrap needs one" in check()
        assert "must not act as fieldseal_owner" in check(migrationDatabase=f"{direct} user=fieldseal_service")
        cluster.sql("CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner")
        assert "migrator" not in check(migrationDatabase=f"{direct} user=fieldseal_migrator").split("problem:", 1)[-1]
        assert "a superuser, whom no guard stops" in check(database=f"{direct} user=postgres")
        cluster.sql("GRANT fieldseal_owner TO fieldseal_service")
        assert "remove guards" in check(migrationDatabase=f"{direct} user=fieldseal_migrator")
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            said = cluster.run(
                "config", "check", settings="checked", check=False, env={**os.environ, "FIELDSEAL_HTTPS_PORT": str(taken.getsockname()[1]), "FIELDSEAL_HTTPS_HOST": "127.0.0.1"}).stdout
            assert f"port {taken.getsockname()[1]} is in use" in said
    finally:
        cluster.remove()
