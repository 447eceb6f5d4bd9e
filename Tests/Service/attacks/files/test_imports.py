"""An export file may come from an attacker. An import reads only its rows, executes nothing from it, and leaves nothing behind if it is refused."""

import hashlib
import json
import os
import stat
import subprocess

import cell_reader
import psycopg
import pytest
from cluster import Cluster
from service import PATIENCE, PROGRAM
from waiting import until

MARK = b"fieldseal export"


@pytest.fixture(scope="module")
def here():
    cluster = Cluster("fsync=on")
    try:
        cluster.values = cluster.fill(20)
        cluster.sql(
            "INSERT INTO email (activityid, subject, statuscode) VALUES (gen_random_uuid(), 'kept', 1); "
            "INSERT INTO activityparty (activitypartyid, activityid, addressused) SELECT gen_random_uuid(), activityid, 'a@b.test' FROM email")
        cluster.key = cluster.run("key", "show").stdout.strip()
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def deployment():
    cluster = Cluster("fsync=on")
    try:
        forget(cluster, "contoso")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def there(deployment):
    """The deployment into which the tests import. It has no organizations before and after each test."""
    yield deployment
    for (name,) in deployment.sql("SELECT name FROM config.organization"):
        forget(deployment, name)
    assert schemas(deployment) == []


def forget(cluster, name):
    """Deletes an organization by SQL: its schema, and its rows in `config`."""
    tables = cluster.sql(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'config' AND column_name = 'organization_id' "
        "AND table_name IN (SELECT relname FROM pg_class WHERE relkind = 'r') ORDER BY table_name = 'organization'")
    statements = [f"DELETE FROM config.{t} WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = '{name}')" for (t,) in tables]
    cluster.sql("SET session_replication_role = replica; " + "; ".join(statements) + f"; DROP SCHEMA IF EXISTS org_{name.replace('-', '_')} CASCADE")


def schemas(cluster):
    return [s for (s,) in cluster.sql("SELECT nspname FROM pg_namespace WHERE nspname LIKE 'org%'")]


def export(cluster, path, name="contoso", **options):
    path.unlink(missing_ok=True)
    cluster.run("org", "export", name, str(path), **options)
    return path


def parts(path):
    """The (dump, manifest) of an export file."""
    content = path.read_bytes()
    size = int.from_bytes(content[-24:-16], "big")
    return content[: -24 - size], json.loads(content[-24 - size : -24])


def write(path, dump, manifest):
    """Writes an export file as an attacker without the key can: the length and the digest match, the tag does not."""
    manifest = {**manifest, "dumpLength": len(dump), "dumpSHA256": hashlib.sha256(dump).hexdigest()}
    text = json.dumps(manifest).encode()
    path.write_bytes(dump + text + len(text).to_bytes(8, "big") + MARK)
    return path


def dumped(cluster, *arguments, schema="org_contoso"):
    """The bytes of an uncompressed dump that pg_dump makes."""
    return subprocess.run(
        ["pg_dump", "-Fc", "--compress=0", f"--schema={schema}", *arguments, cluster.superuser], check=True, capture_output=True).stdout


def refused(there, path, *arguments, words="", stdin=""):
    result = there.run("org", "import", str(path), *arguments, check=False, stdin=stdin)
    assert result.returncode == 1 and words in result.stderr, result
    assert schemas(there) == [] and there.sql("SELECT count(*) FROM config.organization") == [(0,)]
    return result.stderr


def opened(cluster, key, schema="org_contoso"):
    return {a: s for a, _, s in cell_reader.read_organization(cluster.superuser, schema, key)}


def schema_findings(cluster):
    findings = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
    return [f for f in findings if f["code"].startswith(("fence", "object", "foreign", "not-checked", "schema-"))]


# Nothing is executed


def test_what_stands_beside_the_rows_is_not_executed(here, there, tmp_path):
    marker = tmp_path / "owned"
    marker_sql = str(marker).replace("'", "")
    hostile = f"""
        SET fieldseal.maintenance = 'on';
        CREATE FUNCTION evil() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$ BEGIN CREATE TABLE public.owned (); RETURN NEW; END $$;
        CREATE FUNCTION evil_check(text) RETURNS boolean LANGUAGE sql AS $$ SELECT true $$;
        CREATE TRIGGER evil BEFORE INSERT ON mailbox FOR EACH ROW EXECUTE FUNCTION evil();
        CREATE TRIGGER evil AFTER INSERT ON team FOR EACH STATEMENT EXECUTE FUNCTION evil();
        CREATE FUNCTION "x
\\! touch {marker_sql}
-- "() RETURNS int LANGUAGE sql AS 'SELECT 1';
        COMMENT ON TABLE team IS E'x\\n\\\\! touch {marker_sql}\\n';
        CREATE INDEX evil ON queue (evil_check(name)) WHERE evil_check(name);
        CREATE RULE evil AS ON INSERT TO role DO ALSO SELECT 1;
        CREATE VIEW evil_view AS SELECT * FROM mailbox_cell;
        ALTER TABLE queue ENABLE ROW LEVEL SECURITY;
        CREATE POLICY evil ON queue USING (evil_check(name));
        GRANT ALL ON mailbox_cell, encryption TO PUBLIC;
        ALTER TABLE mailbox DISABLE TRIGGER audits;
        ALTER TABLE queue ALTER description SET DEFAULT 'evil';
        ALTER FUNCTION audit_change() RESET search_path;
    """
    cluster = Cluster()
    try:
        values = cluster.fill(10)
        key = cluster.run("key", "show").stdout.strip()
        cluster.sql(hostile)
        file = export(cluster, tmp_path / "hostile")
    finally:
        cluster.remove()
    output = there.run("org", "import", str(file), "--key", stdin=key).stdout
    assert "authentic" in output
    assert not marker.exists() and there.sql("SELECT to_regclass('public.owned')") == [(None,)]
    for catalog, column in [("pg_proc", "proname"), ("pg_trigger", "tgname"), ("pg_class", "relname"), ("pg_rewrite", "rulename"), ("pg_policy", "polname")]:
        assert there.sql(f"SELECT {column} FROM {catalog} WHERE {column} ~ 'evil|touch'") == []
    # The import created the schema with its migrations, so all guards exist. The rows are those of the file.
    assert schema_findings(there) == []
    assert opened(there, key) == values
    with pytest.raises(Exception, match="cannot be truncated"):
        there.sql("TRUNCATE org_contoso.mailbox_cell")
    before = there.sql("SELECT count(*) FROM org_contoso.audit")[0][0]
    there.sql("UPDATE org_contoso.mailbox SET name = 'audited' WHERE mailboxid = (SELECT mailboxid FROM org_contoso.mailbox LIMIT 1)")
    assert there.sql("SELECT count(*) FROM org_contoso.audit") == [(before + 1,)]


@pytest.mark.parametrize("statement", [
    "COPY org_contoso.team FROM PROGRAM 'touch {marker}';", "DROP SCHEMA config CASCADE;", "\\! touch {marker}",
    "COPY config.organization (organization_id) FROM stdin;", "CREATE TABLE public.owned ();"])
def test_a_dump_that_names_another_statement_than_copy_is_refused(here, there, tmp_path, statement):
    marker = tmp_path / "owned"
    file = export(here, tmp_path / "file")
    dump = dumped(here)
    start = dump.index(b"COPY org_contoso.tracelog (")
    length = dump.index(b"FROM stdin;\n", start) + len(b"FROM stdin;\n") - start
    new = statement.format(marker=marker).encode()
    changed = dump[:start] + (new + b"\n" * (length - len(new)))[:length] + dump[start + length :]
    assert len(changed) == len(dump)
    refused(there, write(tmp_path / "changed", changed, parts(file)[1]), words="was refused")
    assert not marker.exists() and there.sql("SELECT to_regclass('public.owned')") == [(None,)]


# Rows that the program does not know, or that are missing


def test_tables_and_columns_that_are_not_known_are_refused_by_name(there, tmp_path):
    cluster = Cluster()
    try:
        values = cluster.fill(10)
        key = cluster.run("key", "show").stdout.strip()
        cluster.sql(
            "CREATE TABLE report (id int, note text); INSERT INTO report VALUES (1, 'x'); ALTER TABLE mailbox ADD COLUMN custom text; "
            "UPDATE mailbox SET custom = E'a\\tb\\\\.c', name = 'tab\there'; CREATE SEQUENCE mine; "
            "ALTER TABLE report OWNER TO fieldseal_owner; ALTER SEQUENCE mine OWNER TO fieldseal_owner")
        file = export(cluster, tmp_path / "file")
    finally:
        cluster.remove()
    first = refused(there, file, "--discard", "mine", "--discard", "report", words="mailbox.custom")
    assert "--discard mailbox.custom" in first
    refused(there, file, "--discard", "mailbox.custom", "--discard", "mine", words="--discard report")
    refused(there, file, "--discard", "mailbox.custom", "--discard", "report", words="--discard mine")
    there.run(
        "org", "import", str(file), "--discard", "mailbox.custom", "--discard", "report", "--discard", "mine", "--key", stdin=key)
    assert opened(there, key) == values
    assert there.sql("SELECT DISTINCT name FROM org_contoso.mailbox") == [("tab\there",)]


def test_a_file_of_another_organization_or_deployment_is_refused(here, there, tmp_path):
    file = export(here, tmp_path / "file")
    _, manifest = parts(file)
    here.run("org", "create", "second")
    other = parts(export(here, tmp_path / "other", "second"))[0]
    refused(there, write(tmp_path / "a", other, manifest), words="lacks the table encryption")
    cluster = Cluster()
    try:
        cluster.fill(20)
        twin = parts(export(cluster, tmp_path / "twin"))[0]
    finally:
        cluster.remove()
    refused(there, write(tmp_path / "b", twin, manifest), words="does not match its manifest")
    here.sql("DROP SCHEMA org_second CASCADE")
    forget(here, "second")


def test_a_file_that_was_cut_off_is_refused(here, there, tmp_path):
    dump, manifest = parts(export(here, tmp_path / "file"))
    for length in (0, 5, 2_000, len(dump) // 2, len(dump) * 3 // 4, len(dump) - 200, len(dump) - 20):
        refused(there, write(tmp_path / "cut", dump[:length], manifest))
    for length in (10, 30, 400):
        path = tmp_path / "short"
        path.write_bytes((tmp_path / "file").read_bytes()[:-length])
        refused(there, path)


def test_a_file_that_was_damaged_is_refused(here, there, tmp_path):
    """One row of the dump was changed, so its content differs from what the manifest says."""
    _, manifest = parts(export(here, tmp_path / "file"))
    content = write(tmp_path / "whole", dumped(here), manifest).read_bytes()
    assert content.count(b"\tfilled\t") > 0
    (tmp_path / "damaged").write_bytes(content.replace(b"\tfilled\t", b"\tfailed\t", 1))
    refused(there, tmp_path / "damaged", words="was damaged")


UNCHECKED = "ALTER TABLE mailbox_cell DROP CONSTRAINT password_is_cell; ALTER TABLE mailbox_cell_k1 DROP CONSTRAINT IF EXISTS password_is_cell, DROP CONSTRAINT password_has_key_version; "


@pytest.mark.parametrize(
    "change, words",
    [
        ("DELETE FROM mailbox WHERE name = 'filled'", "have no record"),
        ("DELETE FROM mailbox_cell", "its manifest says 20"),
        ("DELETE FROM encryption", "does not match its manifest"),
        ("UPDATE encryption SET key_version = 9", "does not match its manifest"),
        ("UPDATE encryption SET iterations = 1", "does not match its manifest"),
        ("UPDATE encryption SET organization_id = gen_random_uuid()", "does not match its manifest"),
        ("UPDATE encryption SET fingerprint = repeat('0', 16)", "does not match its manifest"),
        ("UPDATE encryption SET key_check = set_byte(key_check, 20, (get_byte(key_check, 20) + 1) % 256)", "does not match its manifest"),
        ("UPDATE organization SET organizationid = gen_random_uuid()", "a row of another organization"),
        (UNCHECKED + "UPDATE mailbox_cell SET password = 'x'", "mailbox_cell_k1"),
        (UNCHECKED + "UPDATE mailbox_cell SET password = set_byte(password, 4, 3)", "mailbox_cell_k1"),
        ("ALTER TABLE mailbox_cell DETACH PARTITION mailbox_cell_k1; ALTER TABLE mailbox_cell_k1 DROP CONSTRAINT row_has_key_version; "
         "UPDATE mailbox_cell_k1 SET key_version = 3", "mailbox_cell_k1"),
        ("ALTER TABLE mailbox_cell_k1 RENAME TO mailbox_cell_k7", "its manifest says 20"),
        ("UPDATE activityparty SET activityid = gen_random_uuid()", "activityparty"),
        ("INSERT INTO audit_setting VALUES ('mailbox', 'password', true)", "audit_setting"),
        ("SELECT setval('version_number', 9223372036854775807)", "version_number"),
    ])
def test_rows_that_do_not_fit_are_refused(here, there, tmp_path, change, words):
    """An attacker changes one row, makes a dump of it, and writes a file without the key."""
    _, manifest = parts(export(here, tmp_path / "file"))
    here.sql("CREATE DATABASE copy TEMPLATE fieldseal")
    copy = here.superuser.replace("dbname=fieldseal", "dbname=copy")
    try:
        with psycopg.connect(copy, autocommit=True) as connection:
            connection.execute("SET search_path = org_contoso; SET session_replication_role = replica; SET fieldseal.maintenance = 'on'")
            connection.execute(change)
        dump = subprocess.run(["pg_dump", "-Fc", "--schema=org_contoso", copy], check=True, capture_output=True).stdout
    finally:
        here.sql("DROP DATABASE copy WITH (FORCE)")
    refused(there, write(tmp_path / "changed", dump, manifest), words=words)


def test_a_manifest_with_impossible_numbers_is_refused(here, there, tmp_path):
    dump, manifest = parts(export(here, tmp_path / "file"))
    for change, words in (({"cells": {"mailbox.password": 21}}, ""), ({"schemaVersion": "0099_newer"}, "which this program does not know"), ({"keyCheck": ""}, "")):
        refused(there, write(tmp_path / "changed", dump, {**manifest, **change}), words=words)
    for name in ("x; DROP", "Upper", ""):
        refused(there, tmp_path / "file", "--name", name, words="not an organization's name")
    # The import refuses these manifests before it reads rows or derives a key.
    for change in ({"keyVersion": 2**31}, {"keyVersion": 0}, {"keyVersion": 2**31 - 1}, {"iterations": 10**9}, {"iterations": 0}, {"salt": "AAAA"},
                   {"schema": "config"}, {"organization": "x; DROP"}, {"organization": "x; DROP", "schema": "org_x; DROP"}, {"cells": [1]}, {"format": f"{manifest['format']}0"}):
        changed = write(tmp_path / "changed", dump, {**manifest, **change})
        for key in ([], ["--key"]):
            refused(there, changed, *key, words="is not an export of Fieldseal", stdin=here.key)


def test_a_file_that_is_changed_while_it_is_read_is_refused(here, there, tmp_path):
    """The digest of the file matched, but another program writes to the file while the import reads its rows."""
    file = tmp_path / "file"
    export(here, file)
    for is_changed in (True, False):
        with psycopg.connect(there.superuser) as holder:
            # The import waits here, at the registration of the organization.
            holder.execute("LOCK TABLE config.organization IN SHARE MODE")
            process = there.popen("org", "import", str(file))
            until(lambda: there.sql("SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'config.organization'::regclass") == [(1,)])
            if is_changed:
                os.utime(file)
        said = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == is_changed and ("was changed while it was read" in said) == is_changed, said
        assert schemas(there) == ([] if is_changed else ["org_contoso"])
    forget(there, "contoso")


# Authenticity


def test_a_file_that_was_changed_is_refused_where_the_key_is_given(here, there, tmp_path):
    dump, manifest = parts(export(here, tmp_path / "file"))
    assert manifest["authentication"]
    # The attacker changes a mail server, and writes a file whose length and digest match.
    here.sql("UPDATE emailserverprofile SET incomingserverlocation = 'imap.evil.test'")
    moved = dumped(here)
    here.sql("UPDATE emailserverprofile SET incomingserverlocation = NULL")
    changed = write(tmp_path / "changed", moved, manifest)
    refused(there, changed, "--key", words="was changed since it was exported", stdin=here.key)
    refused(there, changed, "--as-new", "--name", "clone", words="was changed since it was exported", stdin=here.key)
    assert "changed since" in there.run("org", "inspect", str(changed), "--key", stdin=here.key, settings=None, check=False).stderr
    for change in ({"exportedOn": "2020-01-01T00:00:00Z"}, {"productVersion": "9"}, {"authentication": "AAAA"}, {"note": "more"}):
        refused(there, write(tmp_path / "changed", dump, {**manifest, **change}), "--key", words="was changed since", stdin=here.key)
    # Without the key, the import can't check the tag. The command says so.
    output = there.run("org", "import", str(changed)).stdout
    assert "authenticity was not checked" in output
    assert not json.loads(there.run("org", "inspect", str(changed), "--json", settings=None).stdout).get("isAuthentic")
    forget(there, "contoso")
    # The attacker removed the tag. An import with the key succeeds, and says that the file could have been changed.
    stripped = write(tmp_path / "stripped", moved, {k: v for k, v in manifest.items() if k != "authentication"})
    for arguments in (["--key"], ["--as-new", "--name", "clone"]):
        for file in (stripped, tmp_path / "file"):
            refused(there, file, *arguments, words="does not open the export's cells", stdin="Another-key-1234567\n")
    output = there.run("org", "import", str(stripped), "--key", stdin=here.key).stdout
    assert "could have been changed" in output
    assert "authenticity not checked" in there.sql("SELECT details FROM org_contoso.security_event WHERE kind = 'organization imported'")[0][0]
    forget(there, "contoso")
    # The control: the file as it was exported.
    inspected = there.run("org", "inspect", str(tmp_path / "file"), "--key", stdin=here.key, settings=None).stdout
    assert "It is authentic" in inspected
    imported = json.loads(there.run("org", "import", str(tmp_path / "file"), "--key", "--json", stdin=here.key).stdout)
    assert imported["isAuthentic"] and imported["state"] == "active"
    assert opened(there, here.key) == here.values
    assert there.sql("SELECT subject FROM org_contoso.email") == [("kept",)] and there.sql("SELECT addressused FROM org_contoso.activityparty") == [("a@b.test",)]


# Clones


def test_a_clone_has_a_key_of_its_own_wherever_the_original_is(here, there, tmp_path):
    file = export(here, tmp_path / "file")
    for cluster in (there, here):
        result = cluster.run("org", "import", str(file), "--name", "clone", "--as-new", stdin=here.key)
        assert "new generated key" in result.stdout and "key show --org clone" in result.stdout
        own = cluster.run("key", "show", "--org", "clone").stdout.strip()
        assert own != here.key
        assert opened(cluster, own, "org_clone") == here.values
        with pytest.raises(Exception):
            assert opened(cluster, here.key, "org_clone") == here.values
        assert cluster.sql("SELECT origin, copied_on IS NULL FROM config.organization_key JOIN config.organization USING (organization_id) WHERE name = 'clone'")[0][0] == "generated"
        # The clone's functions refer to its own schema only.
        settings = cluster.sql("SELECT DISTINCT c FROM pg_proc, unnest(proconfig) AS c WHERE pronamespace = 'org_clone'::regnamespace AND c LIKE '%%org_%%'")
        assert settings == [('search_path=org_clone, pg_temp',)]
        ids = cluster.sql("SELECT DISTINCT organizationid FROM org_clone.organization UNION SELECT organization_id FROM org_clone.encryption")
        assert len(ids) == 1 and str(ids[0][0]) != parts(file)[1]["organizationId"]
        cluster.run("key", "change", "--org", "clone")
        assert "all of them open" in cluster.run("verify", "--org", "clone").stdout
        assert schema_findings(cluster) == []
    assert here.run("verify", "--org", "contoso").returncode == 0
    here.sql("DROP SCHEMA org_clone CASCADE")
    forget(here, "clone")


def test_a_clone_with_a_cell_that_was_moved_is_refused(here, there, tmp_path):
    a, b = [i for (i,) in here.sql("SELECT mailboxid FROM mailbox_cell LIMIT 2")]
    swap = "UPDATE mailbox_cell AS c SET password = d.password FROM mailbox_cell AS d WHERE c.mailboxid = %s AND d.mailboxid = %s"
    saved = here.sql("SELECT password FROM mailbox_cell WHERE mailboxid = %s", [a])[0][0]
    here.sql(swap, [a, b])
    try:
        file = export(here, tmp_path / "file")
    finally:
        here.sql("UPDATE mailbox_cell SET password = %s WHERE mailboxid = %s", [saved, a])
    refused(there, file, "--as-new", "--name", "clone", words=str(a), stdin=here.key)


# The response to a commit is lost


@pytest.mark.parametrize("action, is_there", [("cut after", True), ("cut before", False)])
def test_an_import_whose_commit_has_no_answer_is_looked_up(here, there, tmp_path, action, is_there):
    file = export(here, tmp_path / "file")
    proxied = f"host=127.0.0.1 port={there.proxy.port} user=postgres dbname=fieldseal sslmode=disable gssencmode=disable"
    settings = (there.home / "direct.yaml").read_text().replace(json.dumps(there.superuser), json.dumps(proxied))
    (there.home / "through.yaml").write_text(settings)
    there.proxy.reset(lambda number, sql: action if sql.strip() == "COMMIT" else None)
    result = there.run("org", "import", str(file), check=False, settings="through")
    assert there.proxy.struck, there.proxy.statements[-5:]
    there.proxy.reset()
    registered = there.sql("SELECT count(*) FROM config.organization")[0][0] == 1
    assert registered == is_there and (result.returncode == 0) == is_there, result
    # A registered organization has its schema. An organization that is not registered has none.
    assert schemas(there) == (["org_contoso"] if registered else [])
    if registered:
        there.run("key", "activate", stdin=here.key)
        assert "all of them open" in there.run("verify").stdout


# Files


def test_an_export_is_its_owners_alone(here, tmp_path):
    file = tmp_path / "file"
    settings = str(here.home / "direct.yaml")

    def run(*arguments):
        return subprocess.run(["bash", "-c", 'umask 0; exec "$0" "$@"', PROGRAM, "org", "export", "contoso", *map(str, arguments), "--settings", settings], capture_output=True, text=True)

    assert run(file).returncode == 0
    assert stat.S_IMODE(file.stat().st_mode) == 0o600 and not list(tmp_path.glob("*.partial"))
    before = file.read_bytes()
    assert run(file).returncode != 0 and file.read_bytes() == before
    assert run(file, "--force").returncode == 0 and file.read_bytes() != before and stat.S_IMODE(file.stat().st_mode) == 0o600
    # An attacker made a symbolic link with the name of the partial file. The export does not write through it.
    victim = tmp_path / "victim"
    victim.write_text("kept")
    (tmp_path / "linked.partial").symlink_to(victim)
    assert run(tmp_path / "linked").returncode == 1 and victim.read_text() == "kept"
    (tmp_path / "linked.partial").unlink()
    (tmp_path / "linked").symlink_to(victim)
    assert run(tmp_path / "linked").returncode != 0 and victim.read_text() == "kept"
    # An export writes to no file with a second name, to no pipe, and to no file of another user.
    (tmp_path / "shared.partial").hardlink_to(victim)
    os.mkfifo(tmp_path / "piped.partial")
    (tmp_path / "theirs.partial").write_text("kept")
    if os.geteuid() == 0:
        os.chown(tmp_path / "theirs.partial", 65534, 65534)
    for name in ["shared", "piped"] + ["theirs"] * (os.geteuid() == 0):
        refused = run(tmp_path / name)
        assert refused.returncode == 1 and "has its name" in refused.stderr, refused
    assert victim.read_text() == "kept" and stat.S_IMODE(victim.stat().st_mode) != 0o600
    # An export that was killed left a partial file. The next export overwrites it from its beginning.
    (tmp_path / "again.partial").write_bytes(b"x" * 10_000_000)
    assert run(tmp_path / "again").returncode == 0 and (tmp_path / "again").stat().st_size < 1_000_000
    os.mkfifo(tmp_path / "pipe")
    assert here.run("org", "inspect", str(tmp_path / "pipe"), settings=None, check=False).returncode == 1
