"""docs/backups.md: checks and restores dumps of the whole database, and recovers the database to moments around a key change."""

import json
import os
import pathlib
import re
import shutil
import subprocess
import types

import cell_reader
import psycopg
import pytest
import scratch
import template
from cluster import Cluster
from ports import free_port
from server import Server
from service import PATIENCE
from template import SUPPORT

PAGE = (pathlib.Path(__file__).parents[3] / "docs/backups.md").read_text()


@pytest.fixture(scope="module")
def cluster():
    archive = scratch.new_folder()
    template.give_to_postgres(archive)
    cluster = Cluster("archive_mode=on", f"archive_command=cp %p {archive}/%f", "wal_level=replica", "max_wal_senders=4")
    cluster.archive = archive
    cluster.values = cluster.fill(30)
    cluster.sql("CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner")
    # This client and its secret must work after the restore.
    cluster.client = json.loads(cluster.run("client", "add", "before", "--org", "contoso", "--role", "System Administrator", "--json").stdout)
    try:
        yield cluster
    finally:
        cluster.remove()
        shutil.rmtree(archive, ignore_errors=True)


@pytest.fixture(scope="module")
def dump(cluster):
    """Makes a dump with the command of docs/backups.md."""
    command = as_anyone(re.search(r"^    (runuser .* pg_dump -Fc .*) > fieldseal.dump$", PAGE, re.MULTILINE)[1])
    command = command.replace("host=db.example.com", f"host={cluster.home}")
    file = cluster.home / "fieldseal.dump"
    with file.open("wb") as output:
        subprocess.run(["bash", "-c", command], check=True, stdout=output, timeout=PATIENCE)
    return file


def check(cluster, *arguments):
    result = cluster.run("backup", "check", *map(str, arguments), "--json", settings=None, check=False)
    return result.returncode, json.loads(result.stdout) if result.stdout else result.stderr


def test_a_dump_says_what_opens_it(cluster, dump, tmp_path):
    code, said = check(cluster, dump, "--kek-file", cluster.home / "kek")
    [(fingerprint,)] = cluster.sql("SELECT fingerprint FROM encryption")
    [(kek,)] = cluster.sql("SELECT DISTINCT kek_id FROM config.organization_key")
    assert code == 0 and said == {"problems": [], "organizations": [{
        "organization": "contoso", "schema": "org_contoso", "keyVersion": cluster.key_version(), "fingerprint": fingerprint, "kekId": kek, "opened": True}]}
    assert check(cluster, dump)[1]["organizations"][0]["opened"] is None
    # The check uses the KEK of another deployment.
    cluster.run("kek", "create", str(tmp_path / "kek"), settings=None)
    code, said = check(cluster, dump, "--kek-file", tmp_path / "kek")
    assert code == 1 and kek in said["problems"][0] and said["organizations"][0]["opened"] is False
    assert "contains everything that a restore needs" in cluster.run("backup", "check", str(dump), settings=None).stdout


def test_a_dump_that_is_damaged_or_lacks_a_part_is_named(cluster, dump, tmp_path):
    cut = tmp_path / "cut.dump"
    cut.write_bytes(dump.read_bytes()[:-20_000])
    code, said = check(cluster, cut)
    assert code == 1 and "pg_restore" in said
    broken = bytearray(dump.read_bytes())
    middle = len(broken) // 2
    broken[middle:middle + 4_000] = bytes(4_000)
    cut.write_bytes(broken)
    assert check(cluster, cut)[0] == 1

    def dumped(*arguments):
        file = tmp_path / "part"
        shutil.rmtree(file, ignore_errors=True)
        file.unlink(missing_ok=True) if file.is_file() else None
        subprocess.run(["pg_dump", "-h", str(cluster.home), "-U", "postgres", "-f", str(file), *arguments, "fieldseal"], check=True, timeout=PATIENCE)
        return check(cluster, file)

    code, said = dumped("-Fc", "-n", "org_contoso", "-n", "cell")
    assert code == 1 and "organization key is needed" in said["problems"][0]
    code, said = dumped("-Fc", "-n", "config", "-n", "cell")
    assert code == 1 and "lacks its schema org_contoso" in said["problems"][0]
    code, said = dumped("-Fc", "-n", "config", "-n", "org_contoso")
    assert code == 1 and "schema cell" in said["problems"][0]
    assert dumped("-Fd")[0] == 0 and dumped("-Ft")[0] == 0
    code, said = dumped("-Fp")
    assert code == 1 and "text format" in said
    assert check(cluster, tmp_path / "none")[0] == 1


@pytest.fixture
def bare():
    """A PostgreSQL with an empty database, and without Fieldseal's roles."""
    folder = scratch.new_folder()
    folder.chmod(0o755)
    subprocess.run(
        ["bash", "-c", f"source {SUPPORT}; start_postgres {folder}"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with psycopg.connect(f"host={folder} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE fieldseal")
    yield folder
    template.end_postgres(folder / "data")
    shutil.rmtree(folder, ignore_errors=True)


def as_anyone(command):
    """A command of the page, without the user and the options for TLS and passwords, which the tests' cluster does not need."""
    return re.sub(r" (sslmode|sslrootcert|passfile)=[^ \"]+", "", command.removeprefix("runuser -u fieldseal -- "))


#: Findings about every cluster of these tests: fsync is off, and SQL made the server profiles.
USUAL = {"not-durable", "mail-settings-not-authorized"}


def errors(result):
    return [f for f in json.loads(result.stdout)["findings"] if f["severity"] == "error" and f["code"] not in USUAL]


def test_a_dump_is_restored_as_the_page_says(cluster, dump, bare):
    text = PAGE.split("Restore into an empty database")[1].split("Neither roles")[0]
    commands = [as_anyone(line.strip()) for line in text.splitlines() if line.startswith("    ")]
    assert [c.split()[0] for c in commands] == ["psql", "pg_restore", "fieldseal", "fieldseal", "fieldseal"]
    (cluster.home / "restored.yaml").write_text((cluster.home / "direct.yaml").read_text().replace(f"host={cluster.home}", f"host={bare}"))
    environment = {**os.environ, "PGHOST": str(bare), "PGUSER": "postgres"}
    # The dump names only one role, fieldseal_owner, which owns everything in it.
    for command in commands:
        words = command.split()
        if words[:2] == ["fieldseal", "doctor"]:
            assert errors(cluster.run("doctor", "--json", settings="restored", check=False)) == []
        elif words[:2] == ["fieldseal", "setup"]:
            # Runs only the part of `setup` that a cluster without passwords needs. (test_production.py runs `setup`.)
            cluster.run("migrate", "bootstrap", settings="restored")
        elif words[0] == "fieldseal":
            cluster.run(*words[1:], settings="restored")
        else:
            done = subprocess.run(
                ["bash", "-c", command.replace("fieldseal.dump", str(dump))], capture_output=True, text=True, timeout=PATIENCE, check=False, env=environment)
            assert done.returncode == 0, done.stderr
    assert f"{len(cluster.values)} cells" in cluster.run("verify", settings="restored").stdout
    is_served(cluster, bare)


def is_served(cluster, folder):
    """Runs a server on the restored database: the former client signs in, reads records, and sets and changes passwords."""
    before = types.SimpleNamespace(port=free_port(), client=cluster.client, token=None)
    server = Server(cluster, settings="restored", after=before)
    try:
        assert server.get("WhoAmI").json()["OrganizationId"]
        assert len(server.get("mailboxes?$select=mailboxid").json()["value"]) == 30
        attribute, old = next((name, value) for name, value in cluster.values.items() if name.startswith("mailbox("))
        record = attribute.split(".")[0].replace("mailbox", "mailboxes", 1)
        assert server.request("PATCH", record, {"password": "set after the restore"}).status_code == 204
        made = server.create("mailboxes", {"name": "made after the restore", "password": "another"})
    finally:
        server.stop()
    key = cluster.run("key", "show", "--org", "contoso", settings="restored").stdout.strip()
    opened = {a: s for a, _, s in cell_reader.read_organization(f"host={folder} user=postgres dbname=fieldseal", "org_contoso", key)}
    expected = cluster.values | {attribute: "set after the restore", f"mailbox({made}).password": "another"}
    assert opened == expected and old != opened[attribute]


def recovered(cluster, base, point):
    """Recovers the base backup to a restore point, and starts PostgreSQL. Returns its folder."""
    folder = scratch.new_folder()
    folder.chmod(0o755)
    template.give_to_postgres(folder)
    subprocess.run(["cp", "-a", base, folder / "data"], check=True)
    (folder / "data/recovery.signal").touch()
    template.give_to_postgres(folder / "data/recovery.signal")
    settings = ["fsync=off", f"restore_command=cp {cluster.archive}/%f %p", f"recovery_target_name={point}", "recovery_target_action=promote", "archive_mode=off"]
    arguments = " ".join(f"'{s}'" for s in settings)
    subprocess.run(
        ["bash", "-c", f"source {SUPPORT}; resume_postgres {folder} {arguments}"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    with psycopg.connect(f"host={folder} user=postgres dbname=fieldseal", autocommit=True) as connection:
        while connection.execute("SELECT pg_is_in_recovery()").fetchone()[0]:
            connection.execute("SELECT pg_sleep(0.05)")
    return folder


def test_recovery_to_a_moment_before_during_and_after_a_key_change(cluster):
    base = cluster.archive / "base"
    user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
    subprocess.run(
        [*user, "pg_basebackup", "-h", str(cluster.home), "-U", "postgres", "-D", base, "-X", "none", "-c", "fast"], check=True, capture_output=True,
        timeout=PATIENCE)
    before, named = cluster.key_version(), []
    cluster.sql("SELECT pg_create_restore_point('before')")

    def name(_, sql):
        # The new generation of cells is written, and the switch is not committed yet.
        if "switch_generation" in sql and not named:
            named.append(sql)
            cluster.sql("SELECT pg_create_restore_point('during')")

    assert cluster.change_through_proxy(name).returncode == 0 and named
    cluster.sql("SELECT pg_create_restore_point('after')")
    cluster.sql("SELECT pg_switch_wal()")
    [(last,)] = cluster.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
    cluster.sql("CREATE TABLE public.filler (x integer); SELECT pg_switch_wal()")
    with psycopg.connect(cluster.superuser, autocommit=True) as connection:
        while not (cluster.archive / last).exists():
            connection.execute("SELECT pg_sleep(0.05)")
    for point, version in (("before", before), ("during", before), ("after", before + 1)):
        folder = recovered(cluster, base, point)
        try:
            settings = (cluster.home / "direct.yaml").read_text().replace(f"host={cluster.home}", f"host={folder}")
            (cluster.home / "moment.yaml").write_text(settings)

            def run(*arguments, **options):
                return cluster.run(*arguments, settings="moment", **options)

            status = json.loads(run("key", "status", "--json").stdout)
            assert (status["state"], status["keyVersion"]) == ("active", version), point
            assert f"{len(cluster.values)} cells under key version {version}, all of them open" in run("verify").stdout
            run("events", "verify")
            assert errors(run("doctor", "--json", check=False)) == [], point
            # After the recovery, the key can be changed.
            run("key", "change")
            assert "all of them open" in run("verify").stdout
        finally:
            template.end_postgres(folder / "data")
            shutil.rmtree(folder, ignore_errors=True)
