"""Executes the commands of docs/moving.md line by line, and tests what can go wrong during exports and imports."""

import hashlib
import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import threading
import time

import cell_reader
import psycopg
import pytest
import template
from cluster import NEWEST, SUPPORT, Cluster
from service import PROGRAM

ROOT = pathlib.Path(__file__).parents[3]
PAGE = (ROOT / "docs/moving.md").read_text()


@pytest.fixture(scope="module")
def here():
    cluster = Cluster()
    try:
        cluster.values = cluster.fill(60)
        cluster.run("key", "change")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def there():
    """Another deployment with its own key-encryption key and without an organization."""
    cluster = Cluster()
    try:
        cluster.sql("DROP SCHEMA org_contoso CASCADE; DROP SCHEMA config CASCADE")
        cluster.run("migrate", "up")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def exported(here, tmp_path_factory):
    """(File with an export of contoso, text of contoso's key)"""
    file = tmp_path_factory.mktemp("export") / "contoso.fieldseal"
    here.run("org", "export", "contoso", str(file))
    return file, here.run("key", "show").stdout.strip()


def section(title):
    text = PAGE.split(f"\n## {title}")[1].split("\n## ")[0]
    return [line[4:] for line in text.splitlines() if line.startswith("    ")]


def shell(cluster, line, folder, check=True):
    """Runs a line of the page in a shell, with the settings of one deployment."""
    environment = {
        **os.environ, "PATH": f"{folder}/bin:{os.environ['PATH']}", "FIELDSEAL_SETTINGS": f"{cluster.home}/direct.yaml",
        "PGHOST": str(cluster.home), "PGUSER": "postgres", "PGDATABASE": "fieldseal"}
    (folder / "bin").mkdir(exist_ok=True)
    if not (folder / "bin/fieldseal").exists():
        (folder / "bin/fieldseal").symlink_to(PROGRAM)
    result = subprocess.run(["bash", "-ec", line], cwd=folder, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert not check or result.returncode == 0, (line, result.stdout, result.stderr)
    return result


def opened(cluster, key, schema="org_contoso"):
    return {a: s for a, _, s in cell_reader.read_organization(cluster.superuser, schema, key)}


def test_the_page_is_followed(here, there, tmp_path):
    for line in section("1. Take it out"):
        shell(here, line, tmp_path)
    seen, right = [shell(there, line, tmp_path).stdout for line in section("2. Look at it")]
    assert "60" in seen and "version 2" in seen and "The key is the right one." in right
    imported, activated = section("3. Put it in")
    output = shell(there, imported, tmp_path).stdout
    fingerprint = there.sql("SELECT fingerprint FROM encryption")[0][0]
    assert "key required" in output and f"version 2, fingerprint {fingerprint}" in output
    assert there.sql("SELECT count(*) FROM mailbox WHERE enabledforincomingemail OR enabledforoutgoingemail") == [(0,)]
    shell(there, activated, tmp_path)
    for line in section("4. See that it is whole"):
        result = shell(there, line, tmp_path, check=False)
        assert "all of them open" in result.stdout or "does not open" not in result.stdout
    key = (tmp_path / "contoso.key").read_text().strip()
    assert opened(there, key) == here.values
    [clone] = section("A clone beside")
    shell(there, clone, tmp_path)
    ids = dict(there.sql("SELECT name, organization_id FROM config.organization"))
    assert len(set(ids.values())) == 2
    # The clone has a key of its own.
    own = there.run("key", "show", "--org", "contoso-test").stdout.strip()
    assert own != key and opened(there, own, "org_contoso_test") == here.values
    there.run("key", "change", "--org", "contoso-test")
    assert "key organization cloned" not in there.sql("SELECT kind FROM org_contoso_test.security_event")
    assert there.run("events", "verify", "--org", "contoso-test").returncode == 0


def test_a_schema_that_was_restored_by_hand_is_attached(there, exported, tmp_path):
    file, key = exported
    shutil.copy(file, tmp_path / "contoso.fieldseal")
    for line in section("A schema that a DBA restored"):
        shell(there, line, tmp_path)
    there.run("key", "activate", stdin=key)
    assert "all of them open" in there.run("verify").stdout
    # The schema was renamed by hand, so its functions name the old schema until the organization is attached again.
    there.sql("DROP SCHEMA config CASCADE; ALTER SCHEMA org_contoso RENAME TO org_other_name")
    there.run("migrate", "up")
    there.run("org", "attach", "other-name")
    there.run("key", "activate", stdin=key)
    there.run("key", "change")
    assert there.sql("SELECT count(*) FROM org_other_name.mailbox_cell") == [(60,)]


def test_an_import_takes_another_name_also_where_the_first_is_taken(here, there, exported):
    file, key = exported
    there.run("org", "create", "contoso")
    there.run("org", "import", str(file), "--name", "guest-of-contoso", "--key", stdin=key)
    assert opened(there, key, "org_guest_of_contoso") == here.values
    assert there.sql("SELECT count(*) FROM org_contoso.mailbox") == [(0,)]
    # The imported organization's functions read and write only its own tables.
    there.run("key", "change", "--org", "guest-of-contoso")
    assert there.sql("SELECT key_version FROM org_contoso.encryption") == [(1,)]
    there.sql("DELETE FROM org_guest_of_contoso.mailbox")
    assert there.sql("SELECT count(*) FROM org_guest_of_contoso.mailbox_cell") == [(0,)]
    assert there.run("events", "verify", "--org", "guest-of-contoso").returncode == 0


def test_what_is_refused_says_why_and_leaves_nothing(here, there, exported, tmp_path):
    file, key = exported
    size = file.stat().st_size
    cut, changed, foreign = (tmp_path / n for n in ("cut", "changed", "foreign"))
    cut.write_bytes(file.read_bytes()[: size - 40])
    content = bytearray(file.read_bytes())
    content[size // 3] ^= 1
    changed.write_bytes(content)
    foreign.write_bytes(os.urandom(4_000))
    for path in (cut, changed, foreign, tmp_path / "missing"):
        for command in ("inspect", "import"):
            arguments = ["org", command, str(path)]
            result = there.run(*arguments, check=False, **({"settings": None} if command == "inspect" else {}))
            assert result.returncode == 1 and "[0x80040203]" in result.stderr, result
    again = here.run("org", "import", str(file), "--name", "again", check=False)
    assert again.returncode == 1 and "--as-new" in again.stderr
    wrong = there.run("org", "import", str(file), "--as-new", check=False, stdin="Another-key-1!")
    assert wrong.returncode == 1 and "0x8004852B" in wrong.stderr
    assert here.run("org", "export", "contoso", str(file), check=False).returncode != 0
    assert there.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'org%'") == []
    assert not list(tmp_path.glob("*.partial"))


def test_an_import_that_is_killed_leaves_nothing_or_all_of_it(there, exported):
    file, key = exported
    for delay in (0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1.0):
        process = there.popen("org", "import", str(file), start_new_session=True)
        time.sleep(delay)
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        while there.sql("SELECT 1 FROM pg_stat_activity WHERE application_name LIKE 'fieldseal org%'"):
            time.sleep(0.01)
        registered = there.sql("SELECT count(*) FROM config.organization")[0][0]
        assert there.sql("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'org%'") == [(registered,)]
        if registered:
            there.run("key", "activate", stdin=key)
            assert "all of them open" in there.run("verify").stdout
            return


def test_an_export_of_an_older_version_is_migrated(there, tmp_path):
    old = Cluster()
    try:
        values = old.fill(20)
        key = old.run("key", "show").stdout.strip()
        file = tmp_path / "old"
        old.run("org", "export", "contoso", str(tmp_path / "new"))
        manifest = json.loads(old.run("org", "inspect", str(tmp_path / "new"), "--json", settings=None).stdout)
        # Makes an export with a schema as it was after the third migration.
        old.step_back("contoso", "0004_event_chain")
        old.sql(
            "SET fieldseal.maintenance = 'on'; DROP TRIGGER chain ON security_event; DROP FUNCTION verify_security_events, chain_security_event; DROP FUNCTION security_event_hash; "
            "ALTER TABLE security_event DROP COLUMN hash, DROP COLUMN previous_hash; DELETE FROM migration WHERE name > '0003z'")
        subprocess.run(["pg_dump", "-Fc", "--schema=org_contoso", "--schema=cell", "-f", str(file), old.superuser], check=True)
    finally:
        old.remove()
    dump = file.read_bytes()
    del manifest["authentication"]
    manifest |= {"schemaVersion": "0003_access", "dumpLength": len(dump), "dumpSHA256": hashlib.sha256(dump).hexdigest()}
    text = json.dumps(manifest).encode()
    file.write_bytes(dump + text + len(text).to_bytes(8, "big") + b"fieldseal export")
    there.run("org", "import", str(file), "--key", stdin=key)
    assert opened(there, key) == values
    assert there.sql("SELECT schema_version FROM config.organization") == [(NEWEST,)]
    assert there.run("events", "verify").returncode == 0
    newer = file.with_name("newer")
    text = json.dumps(manifest | {"schemaVersion": "0099_newer"}).encode()
    newer.write_bytes(dump + text + len(text).to_bytes(8, "big") + b"fieldseal export")
    refused = there.run("org", "import", str(newer), "--name", "newer", check=False)
    assert refused.returncode == 1 and "0099_newer" in refused.stderr


def test_no_table_goes_under_an_export(own_cluster, tmp_path):
    """A key change drops the old generation although the snapshot of an export may still read it. Exports must succeed all the same."""
    cluster = own_cluster
    cluster.fill(20)
    ended = threading.Event()

    def change():
        while not ended.is_set():
            cluster.run("key", "change")

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for number in range(60):
            cluster.run("org", "export", "contoso", str(tmp_path / f"{number}"))
    finally:
        ended.set()
        thread.join()


def test_exports_and_base_backups_during_key_changes_hold_one_key_version(own_cluster, tmp_path):
    cluster = own_cluster
    values = cluster.fill(3_000)
    keys = {1: cluster.run("key", "show").stdout.strip()}
    ended = threading.Event()

    def change():
        while not ended.is_set():
            version = json.loads(cluster.run("key", "change", "--json").stdout)["keyVersion"]
            keys[version] = cluster.run("key", "show").stdout.strip()

    thread = threading.Thread(target=change)
    thread.start()
    try:
        for number in range(4):
            cluster.run("org", "export", "contoso", str(tmp_path / f"{number}"))
        target = cluster.home / "backup"
        target.mkdir(0o700)
        shutil.chown(target, "postgres")
        subprocess.run(
            ["runuser", "-u", "postgres", "--", "bash", "-c", f"$(ls -d /usr/lib/postgresql/*/bin | tail -1)/pg_basebackup -h {cluster.home} -D {target} -X stream -c fast"],
            check=True, capture_output=True)
    finally:
        ended.set()
        thread.join()
    for number in range(4):
        manifest = json.loads(cluster.run("org", "inspect", str(tmp_path / f"{number}"), "--json", settings=None).stdout)
        name = f"copy{number}"
        cluster.run("org", "import", str(tmp_path / f"{number}"), "--name", name, "--as-new", stdin=keys[manifest["keyVersion"]])
        assert opened(cluster, cluster.run("key", "show", "--org", name).stdout.strip(), f"org_{name}") == values
    # The physical backup is started as a separate cluster. It contains the key under which its cells are sealed.
    folder = cluster.home / "restored"
    folder.mkdir()
    shutil.chown(folder, "postgres")
    shutil.move(target, folder / "data")
    subprocess.run(["bash", "-c", f"source {SUPPORT}; resume_postgres {folder}"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        with psycopg.connect(f"host={folder} user=postgres dbname=fieldseal") as connection:
            [(version, held)] = connection.execute(
                "SELECT e.key_version, k.fingerprint = e.fingerprint FROM org_contoso.encryption AS e JOIN config.organization_key AS k USING (organization_id) "
                "WHERE k.retired_on IS NULL").fetchall()
            assert held and connection.execute("SELECT DISTINCT key_version FROM org_contoso.mailbox_cell WHERE key_version = %s", [version]).fetchall() == [(version,)]
        assert {a: s for a, _, s in cell_reader.read_organization(f"host={folder} user=postgres dbname=fieldseal", "org_contoso", keys[version])} == values
    finally:
        template.end_postgres(folder / "data")


@pytest.fixture
def own_cluster():
    cluster = Cluster("max_wal_senders=4")
    try:
        yield cluster
    finally:
        cluster.remove()


PLAINTEXT = """
    CREATE SCHEMA org_legacy;
    SET search_path = org_legacy;
    CREATE TABLE mailbox (mailboxid uuid PRIMARY KEY, name text, password varchar(200), emailaddress text, custom_note int);
    CREATE TABLE contact (contactid uuid PRIMARY KEY, name text);
    INSERT INTO contact SELECT gen_random_uuid(), 'c' || i FROM generate_series(1, 20) AS i;
    CREATE TABLE email (activityid uuid PRIMARY KEY, subject text, statuscode int);
    INSERT INTO email SELECT gen_random_uuid(), 's' || i, 1 FROM generate_series(1, 20) AS i;
    CREATE TABLE activityparty (activitypartyid uuid PRIMARY KEY, activityid uuid REFERENCES email, addressused text);
    INSERT INTO activityparty SELECT gen_random_uuid(), activityid, subject || '@b.test' FROM email;
    CREATE TABLE queue (queueid uuid PRIMARY KEY, name text, emailpassword text);
    CREATE TABLE emailserverprofile (emailserverprofileid uuid PRIMARY KEY, name text, incomingpassword text, outgoingpassword text);
    CREATE TABLE usersettings (systemuserid uuid PRIMARY KEY, emailpassword text);
    INSERT INTO mailbox SELECT gen_random_uuid(), 'm' || i, CASE WHEN i % 3 > 0 THEN 'plaintext-of-mailbox-' || i % 7 END, 'a@b.test', i
      FROM generate_series(1, 3000) AS i;
    INSERT INTO queue SELECT gen_random_uuid(), 'q' || i, 'plaintext-of-queue-' || i FROM generate_series(1, 30) AS i;
    INSERT INTO emailserverprofile SELECT gen_random_uuid(), 'p' || i, 'plaintext-in-' || i, '' FROM generate_series(1, 30) AS i;
    INSERT INTO usersettings SELECT gen_random_uuid(), 'plaintext-of-user-' || i FROM generate_series(1, 30) AS i;
    CREATE VIEW public.report AS SELECT m.name, c.name AS contact FROM mailbox AS m, contact AS c;
    ANALYZE mailbox;
"""
DISCARDS = ["--discard", "contact", "--discard", "mailbox.custom_note", "--discard", "public.report"]


def plaintext_files(cluster):
    found = subprocess.run(["grep", "-rlaE", "plaintext-(of|in)-", str(cluster.home / "data/base")], capture_output=True, text=True)
    return found.stdout.split()


def test_passwords_in_text_columns_are_sealed_and_none_is_left(own_cluster, tmp_path):
    cluster = own_cluster
    cluster.sql(PLAINTEXT)
    expected = {
        f"{e}({i}).{a}": v
        for e, id, a in [("mailbox", "mailboxid", "password"), ("queue", "queueid", "emailpassword"), ("usersettings", "systemuserid", "emailpassword"),
                         ("emailserverprofile", "emailserverprofileid", "incomingpassword"), ("emailserverprofile", "emailserverprofileid", "outgoingpassword")]
        for i, v in cluster.sql(f"SELECT {id}, {a} FROM org_legacy.{e} WHERE {a} <> ''")}
    assert len(expected) == 2_090
    rehearse, refused, upgrade = section("From plaintext")
    rehearsed = shell(cluster, rehearse, tmp_path, check=False)
    assert rehearsed.returncode == 1 and "Would seal 2090 passwords" in rehearsed.stdout
    for lost in ("the table contact", "the column mailbox.custom_note with 3000 values", "the view public.report"):
        assert f"Would lose: {lost}" in rehearsed.stdout
    result = shell(cluster, refused, tmp_path, check=False)
    assert result.returncode == 1 and all(f"--discard '{n}'" in result.stderr for n in DISCARDS[1::2])
    assert cluster.sql("SELECT count(password) FROM org_legacy.mailbox") == [(2_000,)]
    assert cluster.sql("SELECT count(*) FROM public.report") == [(60_000,)]
    cluster.sql("CHECKPOINT")
    assert plaintext_files(cluster)
    output = shell(cluster, upgrade, tmp_path).stdout
    assert re.search(r"Sealed 2090 passwords of legacy .*\n(?:Lost: .*\n){3}None of \d+ passwords is left in the database's \d+ files", output), output
    assert "WAL segments" in output and "backups" in output
    assert plaintext_files(cluster) == []
    key = cluster.run("key", "show", "--org", "legacy").stdout.strip()
    assert opened(cluster, key, "org_legacy") == expected
    assert cluster.sql("SELECT count(*), count(*) FILTER (WHERE ispasswordset), count(DISTINCT name), min(emailaddress) FROM org_legacy.mailbox") == [
        (3_000, 2_000, 3_000, "a@b.test")]
    assert cluster.sql("SELECT count(*), min(subject) FROM org_legacy.email") == [(20, "s1")]
    assert cluster.sql("SELECT count(DISTINCT activityid) FROM org_legacy.activityparty") == [(20,)]
    assert cluster.run("doctor", "--json", check=False).stdout.count("fence") == 0
    again = cluster.run("org", "upgrade", "legacy", "--from-plaintext", check=False)
    assert again.returncode == 1 and "sealed cells already" in again.stderr


def test_an_upgrade_that_is_killed_changes_nothing(own_cluster):
    cluster = own_cluster
    cluster.sql(PLAINTEXT)
    killed = 0
    for delay in (0.05, 0.1, 0.15, 0.2, 0.25):
        process = cluster.popen("org", "upgrade", "legacy", "--from-plaintext", *DISCARDS)
        time.sleep(delay)
        process.kill()
        process.communicate()
        while cluster.sql("SELECT 1 FROM pg_stat_activity WHERE application_name = 'fieldseal org upgrade'"):
            time.sleep(0.01)
        if cluster.sql("SELECT to_regclass('org_legacy.encryption') IS NOT NULL") == [(True,)]:
            assert "all of them open" in cluster.run("verify", "--org", "legacy").stdout
            break
        killed += 1
        assert cluster.sql("SELECT count(password) FROM org_legacy.mailbox") == [(2_000,)]
        assert cluster.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE '%plaintext'") == []
    assert killed


@pytest.mark.parametrize(
    "statement, words",
    [
        ("", "There is no schema org_legacy"),
        ("CREATE SCHEMA org_legacy", "as text"),
        ("CREATE SCHEMA org_legacy; CREATE TABLE org_legacy.mailbox (mailboxid uuid, password bytea)", "as text"),
    ])
def test_what_is_no_plaintext_is_not_upgraded(here, statement, words):
    if statement:
        here.sql(statement)
    result = here.run("org", "upgrade", "legacy", "--from-plaintext", check=False)
    here.sql("DROP SCHEMA IF EXISTS org_legacy CASCADE")
    assert result.returncode == 1 and words in result.stderr
