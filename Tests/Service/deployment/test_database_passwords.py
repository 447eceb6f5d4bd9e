"""The passwords of the database roles come from a credential of systemd (databasePasswords.credential)."""

import json
import os
import pathlib

import pytest
from cluster import Cluster
from database_passwords import ROLES, asked_for_passwords, connections, password_file, write_settings
from server import Server
from waiting import until

STATUS = ["key", "status", "--org", "contoso"]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        with asked_for_passwords(cluster):
            yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def credential(tmp_path):
    """The credential as systemd passes it. An access control list lets the unit's user read it, and its mask shows as permissions of the group."""
    file = tmp_path / "credentials/pgpass"
    file.parent.mkdir()
    file.write_text(password_file())
    file.chmod(0o440)
    return file


def run(cluster, credential, *arguments, settings="passwords", **options):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PG") and name != "CREDENTIALS_DIRECTORY"}
    if credential:
        environment["CREDENTIALS_DIRECTORY"] = str(credential.parent)
    return cluster.run(*arguments, settings=settings, env=environment, **options)


def is_silent(text):
    """Whether the text contains none of the passwords."""
    return not any(password in text for password in ROLES.values())


def test_every_command_finds_its_password_there(cluster, credential, tmp_path):
    write_settings(cluster, "passwords")
    # PostgreSQL requires passwords, so the command fails without the setting.
    write_settings(cluster, "without", databasePasswords=None)
    refused = run(cluster, credential, *STATUS, settings="without", check=False)
    assert refused.returncode and "no password supplied" in refused.stdout + refused.stderr
    export = tmp_path / "contoso.export"
    for command in (STATUS, ["migrate", "status"], ["migrate", "up"], ["migrate", "verify"], ["verify"], ["doctor"],
                    ["org", "create", "fabrikam"], ["key", "change", "--org", "contoso"], ["org", "list"],
                    # This command runs pg_dump, which needs the password too.
                    ["org", "export", "contoso", str(export)]):
        done = run(cluster, credential, *command, check=False)
        said = done.stdout + done.stderr
        # The doctor reports warnings about this deployment, so its exit code is not 0.
        assert done.returncode == 0 or command == ["doctor"] and "no password" not in said, (command, said)
        assert is_silent(said), command
    assert export.exists()


def test_the_connection_for_migrations_may_have_a_password_file_of_its_own(cluster, credential, tmp_path):
    """This is needed for `migrate bootstrap`, whose superuser is not a role in the settings."""
    own = tmp_path / "pgpass"
    own.write_text(password_file())
    own.chmod(0o600)
    credential.chmod(0o640)
    credential.write_text(f"*:*:*:fieldseal_service:{ROLES['fieldseal_service']}\n")
    credential.chmod(0o440)
    migrator = connections(cluster.home)["migrationDatabase"]
    write_settings(cluster, "mixed", migrationDatabase=f"{migrator} passfile={own}")
    assert run(cluster, credential, "migrate", "up", settings="mixed").returncode == 0
    assert run(cluster, credential, *STATUS, settings="mixed").returncode == 0


def test_a_server_finds_its_password_there_and_shows_it_nowhere(cluster, credential, monkeypatch):
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", str(credential.parent))
    # Server() runs commands with these settings.
    write_settings(cluster, "direct")
    server = Server(cluster, settings=write_settings(cluster, "passwords"))
    try:
        assert server.request("POST", "mailboxes", {"name": "kept", "password": "a password"}).status_code == 204
        # The service keeps the passwords, so new connections work after the credential is deleted.
        credential.unlink()
        cluster.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
        # The first request may use a lost connection, and fail.
        until(lambda: server.request("GET", "mailboxes?$select=name").status_code == 200)
        process = pathlib.Path(f"/proc/{server.process.pid}")
        assert is_silent((process / "cmdline").read_text() + (process / "environ").read_text())
    finally:
        server.stop()
    assert is_silent((cluster.home / f"serve-{server.port}.log").read_text())


def test_the_check_shows_the_name_and_no_password(cluster, credential):
    write_settings(cluster, "passwords")
    said = run(cluster, credential, "config", "check", "--json", check=False)
    assert is_silent(said.stdout + said.stderr)
    shown = json.loads(said.stdout)
    assert shown["settings"]["databasePasswords.credential"] == "pgpass"
    assert not any("could not be queried" in note for note in shown["notes"]) and not any("password" in problem for problem in shown["problems"])


def mode(bits):
    return lambda file: file.chmod(bits)


def text(words):
    def write(file):
        file.chmod(0o640)
        file.write_text(words)
        file.chmod(0o440)
    return write


def folder(file):
    file.unlink()
    file.mkdir()


REFUSALS = {
    "missing": (lambda file: file.unlink(), {}, "can't be read: No such file or directory"),
    "others read it": (mode(0o444), {}, "others may read"),
    "the group writes it": (mode(0o460), {}, "others may read"),
    "another user's": (lambda file: os.chown(file, 65_534, 65_534), {}, "belongs to the user with the id 65534"),
    "a folder": (folder, {}, "is not a regular file"),
    "no such line": (text(f"*:*:fieldseal:fieldseal_service:{ROLES['fieldseal_service']}\n"), {}, "has no password for fieldseal_migrator"),
    "empty": (text("# nothing\n"), {}, "has no password for fieldseal_service"),
    "no password file": (text("s3cret\n"), {}, "line 1 of"),
    "too long": (text("#" * 70_000), {}, "too long"),
    "a path": (mode(0o440), {"credential": "../pgpass"}, "is not a credential's name"),
    "hidden": (mode(0o440), {"credential": ".pgpass"}, "is not a credential's name"),
    "beside a passfile": (mode(0o440), {"more": " passfile=/etc/fieldseal/private/pgpass"}, "has passfile too"),
    "beside a password": (mode(0o440), {"more": " password=s3cret"}, "has password too"),
}


@pytest.mark.parametrize("name", REFUSALS)
@pytest.mark.parametrize("command", [["config", "check"], STATUS], ids=" ".join)
def test_what_is_wrong_with_it_is_named(cluster, credential, name, command):
    spoil, changes, words = REFUSALS[name]
    more = changes.get("more")
    write_settings(cluster, "refused", changes.get("credential", "pgpass"), **(connections(cluster.home, more) if more else {}))
    assert run(cluster, credential, *STATUS, settings=write_settings(cluster, "passwords")).returncode == 0
    spoil(credential)
    refused = run(cluster, credential, *command, settings="refused", check=False)
    said = refused.stdout + refused.stderr
    assert refused.returncode and "databasePasswords.credential: " in said and words in said and is_silent(said) and "s3cret" not in said, said


def test_a_program_without_credentials_says_how_to_get_them(cluster):
    write_settings(cluster, "passwords")
    refused = run(cluster, None, "config", "check", check=False)
    assert refused.returncode and "systemd passed no credentials" in refused.stderr and "systemd-run" in refused.stderr
