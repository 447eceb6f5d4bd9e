"""docs/production.md on a machine with systemd: runs every command of its `sh` and `console` blocks, and writes the files that it shows.

The root's /etc/hosts has the page's host names, so the commands run unchanged. The test does what a person would do besides: it provides the
files of sections 1 and 3, changes names and connection strings in the settings where the page says so, and acts as the editor of
`systemctl edit`. apt-get gets no package from a server, because the root has no network.
"""

import re
import shutil

import pytest
import scratch
from booted_root import BootedRoot
from package_root import build
from test_production import PAGE, Database, certificate

FILES = "/root/set-up"
SETTINGS = "/etc/fieldseal/fieldseal.yaml"
#: An editor that copies the page's drop-in into each file that it gets.
EDITOR = f'#!/bin/sh\nfor file; do cp {FILES}/drop-in "$file"; done\n'


@pytest.fixture
def machine(tmp_path):
    root = database = None
    packages = scratch.new_folder()
    try:
        root = BootedRoot({})
        database = Database("db.example.com", 5432, ["nsenter", f"--target={root.first}", "--net"])
        home = root.path(FILES)
        home.mkdir(mode=0o755)
        for file in build(packages).values():
            shutil.copyfile(file, home / file.name)
        certificate(home, "server", "crm.example.com")
        shutil.copyfile(database.home / "database.pem", home / "db-ca.pem")
        (home / "superuser.pgpass").write_text(f"db.example.com:5432:*:postgres:{database.password}\n")
        (home / "ada.password").write_text("a password of ada's own\n")
        (home / "editor").write_text(EDITOR)
        for name, mode in (("superuser.pgpass", 0o600), ("ada.password", 0o400), ("editor", 0o755)):
            (home / name).chmod(mode)
        root.path("/etc/hosts").write_text("127.0.0.1 localhost db.example.com crm.example.com\n")
        # apt-get must ask nothing, because no person answers. It can't reach a server.
        root.path("/etc/apt/apt.conf.d/99test").write_text('APT::Get::Assume-Yes "true";\nAPT::Install-Recommends "false";\nAPT::Sandbox::User "root";\n')
        root.path("/mnt/safe").mkdir(parents=True)
        yield root, database
    finally:
        if database:
            database.remove()
        if root:
            root.remove()
        shutil.rmtree(packages)


def follow(root, text):
    """Runs lines of the page in one shell. The shell has a terminal, which systemctl edit needs."""
    environment = {
        "PATH": "/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8", "TERM": "dumb", "PGPASSFILE": f"{FILES}/superuser.pgpass",
        "SYSTEMD_EDITOR": f"{FILES}/editor", "SYSTEMD_PAGER": "cat", "CURL_CA_BUNDLE": "/etc/fieldseal/server.pem"}
    root.path(f"{FILES}/step").write_text(f"set -ex\ncd {FILES}\n{text}")
    return root.run("script", "--quiet", "--return", "--command", f"bash {FILES}/step", "/dev/null", env=environment).stdout


def change(root, what):
    file = root.path(SETTINGS)
    file.write_text(what(file.read_text()))


def test_every_command_of_the_page_runs_as_it_stands(machine):
    root, database = machine
    said = {}
    for kind, text in re.findall(r"^```(sh|console|ini|yaml)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL):
        if kind == "yaml":
            # The page says: "Take passfile= out of both connection strings, copy the file to the safe, and remove it."
            change(root, lambda settings, text=text: re.sub(r" passfile=[^\s\"']+", "", settings) + text)
            follow(root, "cp /etc/fieldseal/private/pgpass /mnt/safe/\nrm /etc/fieldseal/private/pgpass\nsystemctl restart fieldseal")
            continue
        if kind == "ini":
            continue
        if "config check\nrunuser" in text:
            # From here on, the superuser can't connect any more.
            database.allow(Database.ACCESS)
            database.query("SELECT pg_reload_conf()")
        if "systemctl edit" in text:
            root.path(f"{FILES}/drop-in").write_text(re.search(r"^```ini\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)[1])
        said[text.strip().splitlines()[0].split(" ./")[0]] = follow(root, text)
        if text.startswith("apt-get install"):
            # The page says: "Put the authority of PostgreSQL's certificate into …"
            follow(root, "cp db-ca.pem /etc/fieldseal/db-ca.pem")
    for command, words in (("runuser -u fieldseal -- fieldseal config check", "Nothing is wrong."), ("systemctl enable", '{"status":"ready"}'), ("systemd-run", "databasePasswords.credential: pgpass")):
        [text] = [text for line, text in said.items() if line.startswith(command)]
        assert words in text and "problem:" not in text, text
    assert root.show("fieldseal.service", "ActiveState") == "active" and root.show("fieldseal-doctor.timer", "UnitFileState") == "enabled"
    for unit in ("fieldseal.service", "fieldseal-doctor.service", "fieldseal-retention.service"):
        assert "LoadCredentialEncrypted=pgpass:/etc/fieldseal/pgpass.cred" in root.run("systemctl", "cat", unit).stdout
    # The units get the passwords only from the credential. The doctor's unit, which runs at night, gets them too.
    assert not root.path("/etc/fieldseal/private/pgpass").exists() and "passfile" not in root.path(SETTINGS).read_text()
    root.run("systemctl", "start", "fieldseal-doctor.service")
    assert set(database.query("SELECT DISTINCT usename FROM pg_stat_activity WHERE client_addr IS NOT NULL")) == {("fieldseal_service",)}
