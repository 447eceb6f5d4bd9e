"""dist/Dockerfile, docker-compose.yml and their scripts: linted, and run as the image's user without a container engine."""

import hashlib
import os
import pathlib
import re
import secrets
import shutil
import subprocess
import sys

import psycopg
import pytest
import requests
import scratch
import template
import yaml
from ports import free_port
from service import PATIENCE, PROGRAM
from waiting import until

SOURCE = pathlib.Path(__file__).parents[3]
COMPOSE = SOURCE / "docker-compose.yml"
DOCKERFILE = SOURCE / "dist/Dockerfile"
#: The user of the image.
UID = 10001


def tool(name, *arguments):
    found = subprocess.run([pathlib.Path(sys.executable).with_name(name), *arguments], capture_output=True, text=True, timeout=PATIENCE, check=False)
    return found.returncode, found.stdout + found.stderr


def test_both_files_are_as_their_formats_have_it(tmp_path):
    assert tool("hadolint", DOCKERFILE) == (0, "")
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", COMPOSE)[0] == 0
    # The control: both tools find errors in these files.
    (tmp_path / "Dockerfile").write_text("FROM debian\nRUN cd /tmp && sudo apt-get install curl\n")
    (tmp_path / "compose.yml").write_text("services: {one: {imge: x}}\n")
    assert tool("hadolint", tmp_path / "Dockerfile")[0] == 1
    assert tool("check-jsonschema", "--builtin-schema", "vendor.compose-spec", tmp_path / "compose.yml")[0] == 1


def test_the_image_has_what_the_scripts_need():
    text = DOCKERFILE.read_text()
    service = text[text.index("AS service"):]
    installed = re.search(r"--no-install-recommends (.*?) \\", service)[1].split()
    assert {"ca-certificates", "curl", "openssl", "postgresql-client"} <= set(installed)
    assert f"USER {UID}:{UID}" in service and f"--uid {UID}" in service and "HEALTHCHECK" in service
    # The image installs every library that the program is linked with. Every Debian image has the last three.
    needed = re.findall(r"NEEDED +(\S+)", subprocess.run(["objdump", "-p", PROGRAM], check=True, capture_output=True, text=True).stdout)
    names = [name for name in needed if not name.startswith(("libswift", "libFoundation", "lib_Foundation", "libdispatch", "libBlocksRuntime"))]
    owners = {line.split(":")[0] for line in subprocess.run(
        ["dpkg", "-S", *(f"*-linux-gnu/{n}" for n in names)], check=False, capture_output=True, text=True).stdout.splitlines()}
    assert "libpq5" in owners and owners <= {*installed, "libc6", "libgcc-s1", "libstdc++6"}
    build = text[:text.index("AS service")]
    assert build.index("COPY Package.swift Package.resolved") < build.index("swift package resolve") < build.index("COPY . .")
    # The image has the licenses of the linked libraries. The script that collects them needs Python.
    assert "scripts/sbom.py .build/release/fieldseal > /out/third-party-licenses.txt" in build and " python3 " in build
    assert "COPY --from=build /out/third-party-licenses.txt /usr/share/doc/fieldseal/" in service
    labels = set(re.findall(r"org\.opencontainers\.image\.([a-z.]+)=", service))
    assert labels == {"title", "description", "version", "revision", "licenses", "base.name"}
    for name in ("prepare", "setup", "health"):
        assert os.access(SOURCE / "dist/container" / name, os.X_OK)
    ignored = (SOURCE / ".dockerignore").read_text().split()
    assert {".git", ".build", ".venv"} <= set(ignored) and "dist" not in ignored


def test_nothing_of_compose_is_left_to_the_operator():
    compose = yaml.safe_load(COMPOSE.read_text())
    services, volumes = compose["services"], set(compose["volumes"])
    for name, service in services.items():
        for mount in service["volumes"]:
            assert mount.split(":")[0] in volumes, (name, mount)
        for needed, condition in service.get("depends_on", {}).items():
            wanted = "service_healthy" if needed == "postgres" else "service_completed_successfully"
            assert condition == {"condition": wanted} and needed in services
        if "entrypoint" in service:
            assert (SOURCE / "dist/container" / pathlib.PurePath(service["entrypoint"][0]).name).is_file()
    # The containers start in this order. The service can't read the superuser's password.
    assert (list(services["fieldseal"]["depends_on"]), list(services["setup"]["depends_on"]), list(services["postgres"]["depends_on"])) == (
        ["setup"], ["postgres"], ["prepare"])
    assert not any("database-settings" in mount for mount in services["fieldseal"]["volumes"])
    assert all(services[n]["cap_drop"] == ["ALL"] and services[n]["read_only"] for n in ("prepare", "setup", "fieldseal"))
    assert "secrets" not in compose and not any("env_file" in s for s in services.values())


class Containers:
    """The folders of the volumes. Runs the steps of docker-compose.yml as plain processes."""

    def __init__(self):
        self.home = scratch.new_folder()
        self.home.chmod(0o755)
        self.settings, self.database = self.home / "settings", self.home / "database-settings"
        self.port, self.database_port = free_port(), free_port()
        (self.home / "bin").mkdir()
        (self.home / "bin/fieldseal").symlink_to(PROGRAM)
        owner = (self.home / "bin").stat() if os.getuid() else __import__("pwd").getpwnam("postgres")
        self.environment = {
            "PATH": f"{self.home}/bin:{os.environ['PATH']}", "SETTINGS_FOLDER": str(self.settings), "DATABASE_FOLDER": str(self.database),
            "DATABASE_HOST": "localhost", "DATABASE_PORT": str(self.database_port), "DATABASE_USER": f"{owner.pw_uid}:{owner.pw_gid}",
            "SERVICE_PORT": str(self.port), "LC_ALL": "C.UTF-8", scratch.VARIABLE: os.environ.get(scratch.VARIABLE, ""),
        }

    def run(self, script, check=True, **environment):
        """Runs a script of the image as the image's user."""
        user = [] if script == "prepare" else ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups"]
        done = subprocess.run(
            [*user, SOURCE / "dist/container" / script], capture_output=True, text=True, timeout=PATIENCE, env={**self.environment, **environment}, check=False)
        assert not check or done.returncode == 0, done.stdout + done.stderr
        return done

    def start_database(self):
        service = yaml.safe_load(COMPOSE.read_text())["services"]["postgres"]
        settings = [word.replace("/etc/fieldseal-database", str(self.database)) for word in service["command"][1:] if word != "-c"]
        arguments = service["environment"]["POSTGRES_INITDB_ARGS"].split()
        template.give_to_postgres(self.home)
        template.initialize(self.home, [*arguments, "--auth-local=scram-sha-256", f"--pwfile={self.database}/superuser-password"])
        settings = " ".join(f"'{s}'" for s in [*settings, "listen_addresses=127.0.0.1"])
        subprocess.run(
            ["bash", "-c", f"source {template.SUPPORT}; resume_postgres {self.home} {settings}"], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env={**os.environ, "PGPORT": str(self.database_port)})
        self.query("CREATE DATABASE fieldseal", "postgres")

    def query(self, statement, database="fieldseal"):
        password = (self.database / "superuser-password").read_text().strip()
        with psycopg.connect(host=str(self.home), port=self.database_port, user="postgres", password=password, dbname=database, autocommit=True) as connection:
            cursor = connection.execute(statement)
            return cursor.fetchall() if cursor.description else None

    def files(self):
        return {p: hashlib.sha256(p.read_bytes()).hexdigest() for folder in (self.settings, self.database) for p in folder.iterdir()}

    def remove(self):
        template.end_postgres(self.home / "data")
        shutil.rmtree(self.home, ignore_errors=True)


@pytest.fixture
def containers():
    containers = Containers()
    try:
        yield containers
    finally:
        containers.remove()


def test_compose_alone_reaches_a_service_that_answers(containers):
    containers.run("prepare")
    containers.start_database()
    said = containers.run("setup")
    first = containers.files()
    secrets_made = [(containers.settings / "administrator-password").read_text().strip(), (containers.database / "superuser-password").read_text().strip()]
    secrets_made += [line.rsplit(":", 1)[1] for line in (containers.settings / "pgpass").read_text().splitlines()] + [(containers.settings / "kek").read_text().strip()]
    assert len(secrets_made) == 5 and all(len(s) > 20 and s not in said.stdout + said.stderr for s in secrets_made)
    for path in first:
        status = path.stat()
        assert status.st_mode & 0o077 == 0 or path.name in ("server.pem", "database.pem"), path
        assert status.st_uid == UID or path.parent == containers.database, path
    # Running `up` again changes no file.
    containers.run("prepare")
    again = containers.run("setup")
    assert containers.files() == first and again.stdout.count("there") >= 4
    log = open(containers.home / "serve.log", "wb")
    process = subprocess.Popen(
        ["setpriv", f"--reuid={UID}", f"--regid={UID}", "--clear-groups", PROGRAM, "serve", "--settings", containers.settings / "fieldseal.yaml"],
        stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=containers.environment)
    try:
        until(lambda: process.poll() is not None or containers.run("health", check=False).returncode == 0)
        assert process.poll() is None, (containers.home / "serve.log").read_text()
        base = f"https://localhost:{containers.port}"
        session = requests.Session()
        session.verify, session.trust_env = str(containers.settings / "server.pem"), False
        page = session.post(
            f"{base}/contoso/sign-in", {"name": "administrator", "password": secrets_made[0]}, headers={"Origin": base}, timeout=PATIENCE)
        assert page.status_code == 200 and "/contoso/" in page.url
        used = containers.query("SELECT DISTINCT usename, s.ssl FROM pg_stat_activity JOIN pg_stat_ssl AS s USING (pid) WHERE client_addr IS NOT NULL")
        assert used == [("fieldseal_service", True)]
    finally:
        process.terminate()
        process.wait(PATIENCE)
        log.close()
    assert containers.run("health", check=False).returncode != 0
    text = (containers.home / "serve.log").read_text()
    assert not any(s in text for s in secrets_made)
    # PostgreSQL accepts no connection without TLS, and none without the right password.
    for options in ("sslmode=disable", "sslmode=require"):
        with pytest.raises(psycopg.OperationalError, match="no pg_hba.conf entry|password"):
            psycopg.connect(f"host=localhost port={containers.database_port} dbname=fieldseal user=postgres {options} password={secrets.token_hex(8)}")


def test_a_preparation_follows_no_link_of_the_services_user(containers):
    containers.run("prepare")
    victim = containers.home / "victim"
    victim.write_text("root's own")
    names = ["fieldseal.yaml", "administrator-password", "server.key", "server.pem"]
    for name in names:
        (containers.settings / name).unlink()
        link = containers.settings / f"{name}.new"
        link.symlink_to(victim)
        os.lchown(link, UID, UID)
    containers.run("prepare")
    status = victim.stat()
    assert (victim.read_text(), status.st_uid, status.st_mode & 0o777) == ("root's own", 0, 0o644)
    assert all((containers.settings / name).stat().st_uid == UID and not (containers.settings / name).is_symlink() for name in names)


def test_a_preparation_that_was_killed_is_finished_by_the_next(containers):
    containers.run("prepare")
    whole = containers.files()
    for path in sorted(whole, key=lambda p: p.name):
        # The state after a kill during the writing of this file: the file is missing, and its temporary file is incomplete.
        kept = path.read_bytes()
        path.unlink()
        path.with_name(f"{path.name}.new").write_bytes(kept[:10])
        containers.run("prepare")
        now = containers.files()
        assert set(now) - {path.with_name(f"{path.name}.new")} >= set(whole) and path.stat().st_size > 0, path
        pair = {path.with_name("server.key"), path.with_name("server.pem"), containers.settings / "database.pem"} if path.stem == "server" else set()
        assert {p for p in whole if now[p] != whole[p]} <= pair | {path}, path
        whole = {p: now[p] for p in whole}
