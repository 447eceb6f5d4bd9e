"""Many organizations in one deployment, servers and schemas of different versions, the audit, and the output of commands."""

import datetime
import json
import os
import pathlib
import pty
import re
import shlex
import shutil
import subprocess
import time

import jsonschema
import psycopg
import pytest
import template
from cluster import MIGRATIONS, NEWEST, SUPPORT, Cluster
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from server import Server
from service import PATIENCE, PROGRAM

SCHEMAS = json.loads((pathlib.Path(__file__).parents[3] / "docs/command-output.json").read_text())


def test_one_organization_that_can_not_be_migrated_leaves_the_others_done(cluster):
    for number in range(6):
        cluster.run("org", "create", f"scale-{number}")
    # Takes the organizations back to the version before e-mails. In one of them, a table prevents the migration.
    for number in range(6):
        cluster.step_back(f"scale-{number}", "0005_audit")
    cluster.sql("CREATE TABLE org_scale_3.email (in_the_way text)")
    status = {s["target"]: s for s in map(json.loads, cluster.run("migrate", "status", "--json", check=False).stdout.splitlines())}
    assert [status[f"scale-{n}"]["pending"] for n in range(6)] == [MIGRATIONS[MIGRATIONS.index("0006_email"):]] * 6
    server = Server(cluster)
    try:
        # The server serves contoso. For another organization, a command says what to do.
        assert server.request("GET", "mailboxes").status_code == 200
        key = cluster.run("key", "status", "--org", "scale-1", check=False)
        assert key.returncode == 1 and "0x8004A104" in key.stderr and "migrate up --org scale-1" in key.stderr
        result = cluster.run("migrate", "up", check=False)
        assert result.returncode == 1 and "scale-3" in result.stderr + result.stdout and "email" in result.stderr + result.stdout
        versions = dict(cluster.sql("SELECT name, schema_version FROM config.organization"))
        assert [n for n, v in versions.items() if v != NEWEST] == ["scale-3"]
        cluster.sql("SET fieldseal.maintenance = 'on'; DROP TABLE org_scale_3.email")
        assert cluster.run("migrate", "up").stdout.count(NEWEST) == 1
        assert NEWEST not in cluster.run("migrate", "up").stdout
        # The server refuses an organization that a newer program migrated.
        cluster.sql("UPDATE config.organization SET schema_version = '0099_newer' WHERE name = 'contoso'")
        refused = server.request("GET", "mailboxes")
        assert (refused.status_code, refused.json()["error"]["code"]) == (403, "0x8004A104") and "newer server" in refused.text
        cluster.sql("UPDATE config.organization SET schema_version = %s WHERE name = 'contoso'", [NEWEST])
        assert server.request("GET", "mailboxes").status_code == 200
    finally:
        server.stop()


def test_data_survives_each_migration(own_cluster):
    """Takes an organization with records and cells back to the first migrations, and migrates it to the newest version."""
    cluster = own_cluster
    values = cluster.fill(20)
    cluster.step_back("contoso", "0005_audit")
    dry = cluster.run("migrate", "down", "contoso", "--dry-run").stdout
    assert "DROP TABLE audit" in dry and cluster.sql("SELECT count(*) > 0 FROM audit") == [(True,)]
    assert cluster.run("migrate", "down", "contoso", stdin="no\n", check=False).returncode != 0
    assert cluster.sql("SELECT count(*) > 0 FROM audit") == [(True,)]
    asked = cluster.run("migrate", "down", "contoso", stdin="0005_audit\n")
    assert "audit of record changes" in asked.stderr
    assert cluster.sql("SELECT schema_version FROM config.organization") == [("0004_event_chain",)]
    # No command undoes a migration with evidence. Only a superuser can, with SQL.
    refused = cluster.run("migrate", "down", "contoso", stdin="0004_event_chain\n", check=False)
    assert refused.returncode == 1 and "no way back from 0004_event_chain" in refused.stderr
    assert cluster.run("migrate", "down", "nobody", check=False).returncode == 1
    config = (pathlib.Path(__file__).parents[3] / "migrations/config").glob("*.sql")
    for name in sorted((p.stem for p in config if p.stem > "0010" and not p.stem.endswith(".down")), reverse=True):
        cluster.run("migrate", "down", "config", stdin=f"{name}\n")
    refused = cluster.run("migrate", "down", "config", stdin="0009_attested_state\n", check=False)
    assert refused.returncode == 1 and "no way back from 0009_attested_state" in refused.stderr
    cluster.sql(
        "DROP TABLE config.attested_state; ALTER TABLE config.console_session DROP COLUMN tag; ALTER TABLE config.console_recovery_code DROP COLUMN tag; "
        "CREATE TABLE config.event_chain (organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE, length bigint NOT NULL, "
        "head bytea NOT NULL, tag bytea NOT NULL); ALTER TABLE config.event_chain OWNER TO fieldseal_owner; "
        "DELETE FROM config.migration WHERE name = '0009_attested_state'")
    for name in ("0008_issuers", "0007_console"):
        cluster.run("migrate", "down", "config", stdin=f"{name}\n")
    assert cluster.sql("SELECT to_regclass('config.console_user')") == [(None,)]
    cluster.sql(
        "SET fieldseal.maintenance = 'on'; "
        "DROP TRIGGER chain ON security_event; DROP FUNCTION verify_security_events, chain_security_event; DROP FUNCTION security_event_hash; "
        "ALTER TABLE security_event DROP COLUMN hash, DROP COLUMN previous_hash; "
        "DELETE FROM migration WHERE name > '0003_access'; DELETE FROM config.migration WHERE scope = 'org' AND name > '0003_access'")
    cluster.run("migrate", "up")
    assert cluster.opened_cells() == values
    cluster.run("key", "change")
    assert cluster.opened_cells() == values
    assert cluster.run("events", "verify").returncode == 0
    # The program changes nothing in a database that a newer program migrated.
    cluster.sql("INSERT INTO config.migration (scope, organization_id, name, checksum, milliseconds) SELECT 'org', organization_id, '0099_newer', 'x', 0 FROM config.organization")
    newer = cluster.run("migrate", "up", check=False)
    assert newer.returncode == 1 and "0099_newer" in newer.stderr + newer.stdout


@pytest.fixture
def own_cluster():
    cluster = Cluster()
    try:
        yield cluster
    finally:
        cluster.remove()


def test_the_audit_is_read_as_the_original_s(service):
    id = service.create("mailboxes", {"name": "audited", "password": "never-in-the-audit"})
    assert service.request("PATCH", f"mailboxes({id})", {"name": "renamed", "password": "nor-this"}).status_code == 204
    assert service.request("DELETE", f"mailboxes({id})").status_code == 204
    answer = service.request("GET", f"audits?$filter=objectid eq {id}&$orderby=createdon&$expand=userid($select=fullname)")
    events = answer.json()["value"]
    assert [e["operation"] for e in events] == [1, 2, 2, 3]
    me = service.request("GET", "WhoAmI").json()["UserId"]
    assert {e["_userid_value"] for e in events} == {me} and all(e["userid"]["fullname"] for e in events)
    assert {e["databaserole"] for e in events} == {"fieldseal_service"}
    changes = [json.loads(e["changedata"])["changedAttributes"] for e in events]
    assert {"logicalName": "password", "operation": "set"} in changes[0]
    assert changes[1] == [{"logicalName": "name", "oldValue": "audited", "newValue": "renamed"}]
    assert changes[2] == [{"logicalName": "password", "operation": "replaced"}]
    assert {"logicalName": "password", "operation": "cleared"} in changes[3]
    assert "never-in-the-audit" not in answer.text and "nor-this" not in answer.text
    assert service.request("PATCH", f"audits({events[0]['auditid']})", {"operation": 2}).status_code == 405
    assert service.request("DELETE", f"audits({events[0]['auditid']})").status_code == 405
    assert service.request("GET", "audits", client="user").status_code == 403


@pytest.mark.parametrize("command", [["key", "change"], ["verify"]])
def test_a_terminal_is_shown_a_bar(own_cluster, command):
    own_cluster.fill(2_000)
    # The bar's total is an estimate from PostgreSQL's statistics.
    own_cluster.sql("ANALYZE")
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [PROGRAM, *command, "--settings", str(own_cluster.home / "direct.yaml")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=theirs)
    os.close(theirs)
    shown = b""
    try:
        while part := os.read(ours, 4_096):
            shown += part
    except OSError:
        # Reading ends with this error when no process has the terminal open any more.
        pass
    os.close(ours)
    assert process.wait(60) == 0
    assert re.search(rb"\r\x1b\[K\[#*\.*\] \d+ %", shown) and b"cells" in shown, shown


def test_security_events_are_exported(service):
    service.key()
    *lines, end = [json.loads(line) for line in service.run("events", "export", "--org", "contoso").stdout.splitlines()]
    assert end["attested"]["newest"] == lines[-1]["id"] and end["attested"]["head"] == lines[-1]["hash"]
    assert [e["id"] for e in lines] == sorted(e["id"] for e in lines)
    assert {"organization created", "client added", "signed in", "key read"} <= {e["kind"] for e in lines}
    last = lines[-2]["id"]
    later = service.run("events", "export", "--org", "contoso", "--after", str(last)).stdout.splitlines()
    assert [json.loads(line)["id"] for line in later[:-1]] == [lines[-1]["id"]]
    assert service.run("events", "verify", "--org", "contoso").stdout.strip().endswith("is whole.")


def test_security_events_are_sent_to_syslog(service, tmp_path):
    """Debian's rsyslog receives the events. It runs in a mount namespace with its own /dev/log."""
    service.key()
    expected = [json.loads(line) for line in service.run("events", "export", "--org", "contoso").stdout.splitlines()[:-1]]
    (tmp_path / "rsyslog.conf").write_text(
        f'module(load="imuxsock" SysSock.Name="{tmp_path}/log" SysSock.RateLimit.Interval="0")\n'
        f'template(name="line" type="string" string="%syslogfacility-text%.%syslogseverity-text% %msg%\\n")\n'
        f'global(maxMessageSize="64k")\naction(type="omfile" file="{tmp_path}/received" template="line")\n')
    apart = subprocess.run(["unshare", "--mount", "true"], check=False).returncode == 0
    namespace = (
        f"mkdir {tmp_path}/dev; mount -t tmpfs none {tmp_path}/dev; "
        f"for d in null urandom; do touch {tmp_path}/dev/$d; mount --bind /dev/$d {tmp_path}/dev/$d; done; "
        # The files of the tests can be in /dev/shm, so the new /dev needs it.
        f"mkdir {tmp_path}/dev/shm; mount --bind /dev/shm {tmp_path}/dev/shm; mount --rbind {tmp_path}/dev /dev; ") if apart else ""
    script = (
        f"{namespace} rsyslogd -n -f {tmp_path}/rsyslog.conf -i {tmp_path}/pid >{tmp_path}/output 2>&1 & syslog=$!; "
        f"while ! [ -S {tmp_path}/log ]; do sleep 0.05; done; ln -s {tmp_path}/log /dev/log; "
        f"{PROGRAM} events export --org contoso --syslog --json; rm /dev/log; kill $syslog; wait $syslog")
    sent = subprocess.run(
        [*(["unshare", "--mount"] if apart else []), "bash", "-c", script], env=service.environment, capture_output=True, text=True, timeout=PATIENCE,
        stdin=subprocess.DEVNULL)
    lines = [line for line in (tmp_path / "received").read_text().splitlines() if "fieldseal: {" in line or "{\"" in line]
    received = [json.loads(line[line.index("{"):]) for line in lines]
    assert received[:len(expected)] == expected and json.loads(sent.stdout)["sent"] == len(received) - 1, sent.stderr
    assert received[-1]["attested"]["newest"] == received[-2]["id"]
    assert {line.split(" ")[0] for line in lines} <= {"authpriv.notice", "authpriv.warning"}


def test_a_replica_that_lags_is_told(own_cluster):
    """A standby whose replay is paused, while the primary continues."""
    cluster, standby = own_cluster, own_cluster.home / "standby"
    cluster.run("key", "show")
    standby.mkdir()
    target = standby / "data"
    target.mkdir(0o700)
    for folder in (standby, target):
        shutil.chown(folder, "postgres")
    subprocess.run(
        ["runuser", "-u", "postgres", "--", "bash", "-c",
         f"$(ls -d /usr/lib/postgresql/*/bin | tail -1)/pg_basebackup -d 'host={cluster.home} application_name=second' -D {target} -X stream -c fast -R"],
        check=True, capture_output=True)
    subprocess.run(["bash", "-c", f"source {SUPPORT}; resume_postgres {standby}"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def lagging():
        findings = json.loads(cluster.run("doctor", "--json", "--replica-lag", "1", check=False).stdout)["findings"]
        return [f for f in findings if f["code"] == "replica-lags"]

    try:
        deadline = time.monotonic() + PATIENCE
        while cluster.sql("SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming' AND replay_lsn = pg_current_wal_lsn()") != [(1,)]:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        assert lagging() == []
        with psycopg.connect(f"host={standby} user=postgres dbname=fieldseal", autocommit=True) as replica:
            replica.execute("SELECT pg_wal_replay_pause()")
            cluster.sql("CREATE TABLE public.filler AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
            [finding] = lagging()
            assert finding["subject"] == "second" and "MiB behind" in finding["message"]
            replica.execute("SELECT pg_wal_replay_resume()")
            while lagging():
                assert time.monotonic() < deadline + PATIENCE
                time.sleep(0.2)
        # PostgreSQL keeps WAL without limit for a replication slot that nothing reads.
        cluster.sql("SELECT pg_create_physical_replication_slot('forgotten', true)")
        cluster.sql("CREATE TABLE public.more AS SELECT repeat('x', 1000) FROM generate_series(1, 5000)")
        while [f["subject"] for f in lagging()] != ["slot forgotten"]:
            # The standby must store the WAL first.
            assert time.monotonic() < deadline + PATIENCE, lagging()
            time.sleep(0.2)
    finally:
        template.end_postgres(target)


def test_every_command_prints_json_by_its_schema(own_cluster, tmp_path):
    cluster = own_cluster
    cluster.fill(10)
    cluster.sql("CREATE SCHEMA org_third; CREATE TABLE org_third.mailbox (mailboxid uuid PRIMARY KEY, password text); "
                "INSERT INTO org_third.mailbox SELECT gen_random_uuid(), 'in plaintext' || n FROM generate_series(1, 3) AS n")
    cluster.sql("UPDATE mailbox SET enabledforincomingemail = true, statecode = 0 WHERE mailboxid = (SELECT mailboxid FROM mailbox LIMIT 1)")
    key = cluster.run("key", "show").stdout.strip()
    public, keyed = tmp_path / "public.pem", None
    public.write_bytes(ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    seen = set()
    for command, schema in SCHEMAS["commands"].items():
        now = datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        arguments = [now if a == "NOW" else a for a in shlex.split(command)]
        arguments = [a.replace("FILE", str(tmp_path / "x")).replace("PUBLICKEY", str(public)) for a in arguments]
        arguments = [keyed or a if a == "KEYID" else a for a in arguments]
        settings = None if command.startswith(("org inspect", "backup check")) else "direct"
        result = cluster.run(*arguments, "--json", check=False, settings=settings, stdin="renamed\n" if command.startswith("org remove") else f"{key}\n")
        # The exit codes of these three commands depend on their findings. For example, the settings have no certificate.
        assert result.returncode == 0 or command.startswith(("doctor", "config check", "backup check")), (command, result)
        assert result.stdout, (command, result)
        for line in result.stdout.splitlines():
            jsonschema.validate(json.loads(line), {**schema, "$defs": SCHEMAS["$defs"]})
        if command.startswith("client add-key"):
            keyed = json.loads(result.stdout)["keyId"]
        seen.add(command.split()[0])
    assert seen >= {"org", "key", "migrate", "client", "verify", "doctor", "events", "config", "issuer", "router"}
