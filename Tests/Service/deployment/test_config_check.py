"""`config check` reads everything that `serve` reads, and reports settings with which the service would not start or not work."""

import contextlib
import json
import os
import re
import shutil
import socket
import threading
import uuid

import pytest
from cluster import Cluster
from server import Server, serve_settings


@pytest.fixture(scope="module")
def cluster():
    made = Cluster()
    try:
        serve_settings(made, "direct", 0)
        (made.home / "words").write_text("of another program\n")
        yield made
    finally:
        made.remove()


@pytest.fixture
def settings(cluster):
    """A function that writes settings with which the service starts, with the given changes. Returns the file."""
    def write(https=None, **more):
        listener = {"host": "127.0.0.1", "port": 0, "certificateFile": f"{cluster.home}/server.pem", "privateKeyFile": f"{cluster.home}/server.key", **(https or {})}
        file = cluster.home / f"checked-{uuid.uuid4()}.yaml"
        lines = {"https": listener, **more}
        file.write_text((cluster.home / "direct.yaml").read_text() + "".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items()))
        return file
    return write


@pytest.fixture
def check(cluster, settings):
    def run(**more):
        result = cluster.run("config", "check", "--json", "--settings", str(settings(**more)), settings=None, check=False)
        said = json.loads(result.stdout)
        assert result.returncode == (1 if said["problems"] else 0), result
        return said
    return run


@pytest.mark.parametrize("name", ["database", "migrationDatabase"])
@pytest.mark.parametrize("mode, is_named", [("disable", True), ("require", True), ("verify-ca", True), (None, True), ("verify-full", False)])
def test_a_connection_to_the_database_that_checks_no_certificate_is_named(cluster, tmp_path, name, mode, is_named):
    user = "fieldseal_service" if name == "database" else "postgres"
    # The connection string allows a network connection, which counts even though the check connects over the socket.
    text = f"host=192.0.2.1,{cluster.home} user={user} dbname=fieldseal connect_timeout=2" + (f" sslmode={mode}" if mode else "")
    lines = [line for line in (cluster.home / "direct.yaml").read_text().splitlines() if not line.startswith(f"{name}:")]
    file = tmp_path / "remote.yaml"
    file.write_text("\n".join([*lines, f"{name}: {json.dumps(text)}"]) + "\n")
    said = json.loads(cluster.run("config", "check", "--json", "--settings", str(file), settings=None, check=False).stdout)
    told = [note for note in said["notes"] if note.startswith(f"{name} is reached over a network") and "verify-full" in note]
    assert len(told) == is_named, said


def test_good_settings_are_no_problem(cluster, check, tmp_path):
    pem = str(cluster.home / "server.pem")
    (tmp_path / "applications").write_text("[]")
    said = check(
        http={"host": "127.0.0.1", "port": 0}, metrics={"port": 0}, socket={"path": f"{tmp_path}/api.sock"}, hosts={"crm.test": "contoso"},
        mail={"applicationsFile": f"{tmp_path}/applications", "authorityFile": pem}, issuers={"authorityFile": pem},
        events={"file": f"{tmp_path}/events.jsonl"}, retention={"eventDays": 30, "folder": str(tmp_path)}, trustedProxies=["192.0.2.0/24"])
    assert said["problems"] == [] and not [n for n in said["notes"] if "trustedProxies" in n or "newKek" in n]
    # The check creates none of these files.
    assert sorted(p.name for p in tmp_path.iterdir()) == ["applications"]


@pytest.mark.parametrize("more, words", [
    ({"https": {"port": 18443}, "metrics": {"port": 18443}}, "https.port and metrics.port are both port 18443"),
    ({"https": {"port": 18443}, "http": {"port": 18443}}, "https.port and http.port are both port 18443"),
    ({"https": {"host": "192.0.2.1"}}, "can't listen on 192.0.2.1, port 0: Cannot assign requested address; correct https.port, or https.host"),
    ({"metrics": {"host": "192.0.2.1", "port": 0}}, "can't listen on 192.0.2.1, port 0: Cannot assign requested address; correct metrics.port, or metrics.host"),
    ({"socket": {"path": "/nonexistent/d/s"}}, "the socket /nonexistent/d/s can't be made: No such file or directory"),
    ({"socket": {"path": "HOME/words"}}, "HOME/words is a file, but not a socket"),
    ({"mail": {"applicationsFile": "HOME/words"}}, "HOME/words is not a JSON array"),
    ({"mail": {"applicationsFile": "HOME/none"}}, "HOME/none can't be read"),
])
def test_what_ends_the_service_at_its_start_is_a_problem(cluster, settings, check, more, words):
    more = json.loads(json.dumps(more).replace("HOME", str(cluster.home)))
    words = words.replace("HOME", str(cluster.home))
    assert any(words in problem for problem in check(**more)["problems"]), words
    ended = cluster.run("serve", "--settings", str(settings(**more)), settings=None, check=False)
    # An address can become free, so systemd must try again. With any other error, systemd must not restart the service.
    assert ended.returncode == (1 if "can't listen" in words else 78) and words in ended.stderr, ended
    [line] = [json.loads(line) for line in ended.stderr.splitlines() if "the service ends" in line]
    assert line["level"] == "critical" and words in line["error"]


@pytest.mark.parametrize("more, words", [
    ({"issuers": {"authorityFile": "HOME/words"}}, "issuers.authorityFile: HOME/words holds no certificate"),
    ({"mail": {"authorityFile": "HOME/none"}}, "mail.authorityFile: HOME/none can't be read: No such file"),
    ({"events": {"file": "/nonexistent/x"}}, "events.file: there is no folder /nonexistent"),
    ({"events": {"file": "HOME"}}, "events.file: HOME is a folder"),
    ({"retention": {"eventDays": 30}}, "retention.folder is not set"),
    ({"retention": {"auditDays": 30, "folder": "/nonexistent"}}, "retention.folder: there is no folder /nonexistent"),
    ({"retention": {"eventDays": 30, "folder": "HOME/words"}}, "retention.folder: HOME/words is not a folder"),
    ({"hosts": {"crm.test": "nope"}}, "hosts: crm.test is for nope, and there is no such organization; there are: contoso"),
])
def test_what_does_not_work_later_is_a_problem(cluster, settings, check, more, words):
    more = json.loads(json.dumps(more).replace("HOME", str(cluster.home)))
    words = words.replace("HOME", str(cluster.home))
    assert any(words in problem for problem in check(**more)["problems"]), words
    if "retention" in more:
        refused = cluster.run("retention", "--settings", str(settings(**more)), settings=None, check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused


def checked(cluster, name, **connections):
    """Runs `config check` and the doctor with these connection strings. Returns the check's exit code and output, and the doctor's findings."""
    lines = {"database": f"host={cluster.home} user=fieldseal_service dbname=fieldseal", "migrationDatabase": cluster.superuser, **connections}
    given = (cluster.home / "serve-0.yaml").read_text().splitlines(keepends=True)
    text = "".join(line for line in given if line.split(":")[0] not in {*lines, "baseURL"})
    (cluster.home / f"{name}.yaml").write_text(text + "".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items()))
    result = cluster.run("config", "check", "--json", settings=name, check=False)
    doctor = json.loads(cluster.run("doctor", "--json", settings=name, check=False).stdout)["findings"]
    return result.returncode, json.loads(result.stdout), doctor


@pytest.fixture
def guarded(cluster):
    """PostgreSQL asks the role "guarded" for a password."""
    access = cluster.home / "data/pg_hba.conf"
    former = access.read_text()
    try:
        cluster.sql("DROP ROLE IF EXISTS guarded; CREATE ROLE guarded LOGIN PASSWORD 'right'")
        access.write_text(f"local all guarded scram-sha-256\n{former}")
        cluster.sql("SELECT pg_reload_conf()")
        yield
    finally:
        access.write_text(former)
        cluster.sql("SELECT pg_reload_conf()")


@pytest.mark.parametrize("name, more, words", [
    ("database", "user=guarded password=wrong", "password authentication failed"), ("database", "dbname=nix", 'database "nix" does not exist'),
    ("migrationDatabase", "dbname=nix", 'database "nix" does not exist'), ("migrationDatabase", "user=guarded", "no password supplied"),
    ("database", "host=localhost port=PORT sslmode=verify-full sslrootcert=/nope.pem", "SSL"),
    ("migrationDatabase", "host=localhost port=PORT sslmode=require", "SSL"),
])
def test_a_database_that_refuses_is_a_problem(cluster, guarded, name, more, words):
    base = {"database": f"host={cluster.home} user=fieldseal_service dbname=fieldseal", "migrationDatabase": cluster.superuser}[name]
    # This listener refuses TLS.
    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=without_tls, args=(listener,), daemon=True).start()
        code, said, doctor = checked(cluster, "refused", **{name: f"{base} {more.replace('PORT', str(listener.getsockname()[1]))}"})
    assert code == 1 and any("the database refuses the connection" in p and re.search(words, p) for p in said["problems"]), (said["problems"], said["notes"])
    assert all(ord(letter) >= 32 for line in said["problems"] for letter in line)
    if name == "database" and "password" in more:
        # The doctor reports this connection, although its other connection works.
        assert any("password authentication failed" in f["message"] for f in doctor), doctor


def without_tls(listener):
    """Answers like a PostgreSQL without TLS."""
    with contextlib.suppress(OSError):
        while True:
            connection, _ = listener.accept()
            connection.recv(8)
            connection.sendall(b"N")
            connection.close()


@pytest.mark.parametrize("name", ["database", "migrationDatabase"])
def test_a_database_that_is_away_has_a_code_of_its_own(cluster, name):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
        code, said, doctor = checked(cluster, "away", **{name: f"host=127.0.0.1 port={port} user=fieldseal_service dbname=fieldseal sslmode=disable"})
    assert code == 3 and said["problems"] == [] and any("the database could not be queried" in note for note in said["notes"]), said


def test_what_may_be_meant_is_a_note(cluster, check):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        said = check(metrics={"port": port}, newKek={"file": str(cluster.home / "kek")}, trustedProxies=["10.0.0.0/8", "0.0.0.0/0", "::/0"])
    assert said["problems"] == [], said
    for words in (f"metrics.port: port {port} is in use", "newKek is the present key-encryption key", "trustedProxies has 0.0.0.0/0", "trustedProxies has ::/0"):
        assert any(words in note for note in said["notes"]), (words, said)
    assert not any("10.0.0.0" in note for note in said["notes"])


@pytest.mark.parametrize("more, words", [
    ({"baseURL": "https://crm.example.com:18443", "https": {"port": 18443}}, "the certificate HOME/server.pem is for localhost, and not for crm.example.com"),
    ({"baseURL": "https://localhost", "https": {"port": 18443}}, "baseURL has the port 443, and https.port is 18443"),
    ({"connections": 500}, "the service may open 510 connections, and PostgreSQL has"),
    ({"limits": {"clientConnections": 40}}, "limits.clientConnections is 40, more than connections (16)"),
    ({"kekCopyFile": "/nonexistent/kek"}, "kekCopyFile: there is no file /nonexistent/kek"),
])
def test_what_is_seldom_meant_is_noted(cluster, check, more, words):
    assert any(words.replace("HOME", str(cluster.home)) in note for note in check(**more)["notes"])
    assert not any(words.replace("HOME", str(cluster.home)) in note for note in check()["notes"])


def test_files_that_others_may_write_or_that_libpq_does_not_read_are_noted(cluster, settings, tmp_path):
    passwords = tmp_path / "pgpass"
    passwords.write_text("*:*:*:*:x\n")
    for mode, words in ((0o640, "libpq ignores a file that other users may read: chmod 0600"), (0o600, None)):
        passwords.chmod(mode)
        file = settings()
        file.write_text(file.read_text().replace("user=fieldseal_service", f"user=fieldseal_service passfile={passwords}"))
        file.chmod(0o666)
        notes = json.loads(cluster.run("config", "check", "--json", "--settings", str(file), settings=None, check=False).stdout)["notes"]
        assert any(f"the settings {file} have the mode 666" in note for note in notes)
        assert any(words in note for note in notes) if words else not any(str(passwords) in note for note in notes), notes
    passwords.unlink()
    notes = json.loads(cluster.run("config", "check", "--json", "--settings", str(file), settings=None, check=False).stdout)["notes"]
    assert any(f"the password file {passwords} can't be read: No such file" in note for note in notes)


def test_the_service_logs_what_will_not_work(cluster):
    (cluster.home / "late.yaml").write_text(
        (cluster.home / "direct.yaml").read_text() + f"issuers: {{authorityFile: {cluster.home}/words}}\nevents: {{file: /nonexistent/x}}\n")
    server = Server(cluster, settings="late")
    try:
        lines = [json.loads(line) for line in (cluster.home / f"serve-{server.port}.log").read_text().splitlines() if line.startswith("{")]
        said = [line["error"] for line in lines if line["message"] == "setting can't be used"]
        assert [reason.split(":")[0] for reason in said] == ["issuers.authorityFile", "events.file"]
    finally:
        server.stop()


@pytest.mark.parametrize("right, of, place", [
    ("USAGE", "SCHEMA config", "the schema config"), ("USAGE", "SCHEMA org_contoso", "the schema org_contoso"),
    ("SELECT", "config.signing_key", "config.signing_key"), ("SELECT", "config.organization", "config.organization"),
    ("INSERT", "config.server", "config.server"), ("SELECT", "org_contoso.mailbox", "org_contoso.mailbox"),
    ("INSERT", "org_contoso.mailbox", "org_contoso.mailbox"),
])
def test_each_right_that_the_service_lacks_is_a_problem(cluster, check, right, of, place):
    migrator = f"host={cluster.home} dbname=fieldseal user=fieldseal_migrator"
    cluster.sql("DO $$ BEGIN CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    # The check can compare the rights both as a superuser and as the role for migrations.
    before = check()
    assert not before["problems"], before
    cluster.sql(f"REVOKE {right} ON {of} FROM fieldseal_service")
    try:
        problems = check()["problems"]
        assert any(p.startswith(f"the service's role lacks {right} on {place}: as the owner: GRANT {right} ON") for p in problems), problems
        grant = next(p for p in problems if f"lacks {right} on {place}" in p).split("as the owner: ")[1]
        _, said, _ = checked(cluster, "rights", migrationDatabase=migrator)
        assert problems == said["problems"]
    finally:
        cluster.sql(f"GRANT {right} ON {of} TO fieldseal_service")
    cluster.sql(f"REVOKE {right} ON {of} FROM fieldseal_service")
    cluster.sql(grant)
    assert not check()["problems"], grant


def test_rights_of_the_service_that_are_missing_are_no_missing_migration(cluster, settings):
    cluster.sql("REVOKE USAGE ON SCHEMA config FROM fieldseal_service")
    try:
        ended = cluster.run("serve", "--settings", str(settings()), settings=None, check=False)
    finally:
        cluster.sql("GRANT USAGE ON SCHEMA config TO fieldseal_service")
    assert ended.returncode == 1 and "permission denied for schema config" in ended.stderr and "migrate up" not in ended.stderr, ended.stderr


def test_no_advice_gives_the_rights_of_the_owner_to_the_service(cluster):
    service = f"host={cluster.home} user=fieldseal_service dbname=fieldseal"
    cluster.sql("DO $$ BEGIN CREATE ROLE fieldseal_migrator LOGIN IN ROLE fieldseal_owner; EXCEPTION WHEN duplicate_object THEN NULL; END $$")
    _, said, doctor = checked(cluster, "one-role", migrationDatabase=service)
    up = cluster.run("migrate", "up", settings="one-role", check=False)
    texts = [*said["problems"], *said["notes"], *(f"{f['message']} {f['advice']}" for f in doctor), up.stderr + up.stdout]
    assert not any("GRANT fieldseal_owner TO fieldseal_service" in text for text in texts), texts
    assert any("set migrationDatabase to the role that migrates" in text for text in said["problems"]) and "set migrationDatabase" in texts[-1], texts
    _, said, doctor = checked(cluster, "swapped", database=service.replace("_service", "_migrator"), migrationDatabase=service.replace("_service", "_migrator"))
    texts = [*said["problems"], *(f["advice"] for f in doctor if f["severity"] == "error")]
    assert not any("REVOKE fieldseal_owner FROM fieldseal_migrator" in text for text in texts), texts
    assert any("set database to the service's role, fieldseal_service" in text for text in said["problems"]), said


def test_root_is_told_to_run_a_command_as_the_user_of_the_key(cluster):
    key = cluster.home / "kek"
    owner = key.stat()
    shutil.chown(key, "nobody")
    try:
        refused = cluster.run("doctor", check=False)
    finally:
        os.chown(key, owner.st_uid, owner.st_gid)
    assert "runuser -u nobody -- fieldseal" in refused.stderr and "chown" not in refused.stderr, refused


def test_good_settings_end_in_words(cluster, settings):
    said = cluster.run("config", "check", "--settings", str(settings(kek={})), settings=None, check=False).stdout
    assert "kek.credential: none" in said and not re.search(r": $", said, re.MULTILINE), said
    notes = [line for line in said.splitlines() if line.startswith(("note:", "problem:"))]
    assert notes or said.rstrip().endswith("Nothing is wrong.")


def test_copies_limits_and_modes_that_may_not_be_meant_are_noted(cluster, check):
    copy, key = cluster.home / "kek-copy", cluster.home / "server.key"
    shutil.copyfile(cluster.home / "kek", copy)
    mode = key.stat().st_mode
    key.chmod(0o644)
    try:
        notes = check(kekCopyFile=str(copy), limits={"connections": 20, "addressConnections": 30})["notes"]
    finally:
        key.chmod(mode)
        copy.unlink()
    for words in (f"kekCopyFile: {copy} is on the file system of the key itself", "limits.addressConnections is 30, more than limits.connections (20)",
                  f"{key} has the mode 644"):
        assert any(words in note for note in notes), (words, notes)


@pytest.mark.parametrize("answers", [False, True], ids=["refused", "no TLS"])
def test_a_receiver_of_events_that_can_not_be_reached_is_noted(cluster, check, answers):
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        if answers:
            threading.Thread(target=without_tls, args=(listener,), daemon=True).start()
        else:
            listener.close()
        notes = check(events={"syslog": f"127.0.0.1:{port}"})["notes"]
    assert any(note.startswith(f"events.syslog: 127.0.0.1:{port} ") for note in notes), notes


@pytest.mark.parametrize("days, severity", [(3, "error"), (20, "warning"), (90, None)])
def test_a_role_whose_password_expires_is_named(cluster, check, days, severity):
    cluster.sql(f"DO $$ BEGIN EXECUTE format('ALTER ROLE fieldseal_service VALID UNTIL %L', now() + interval '{days} days'); END $$")
    try:
        said = check()
        findings = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
    finally:
        cluster.sql("ALTER ROLE fieldseal_service VALID UNTIL 'infinity'")
    assert [f["severity"] for f in findings if f["code"] == "role-password-expires"] == ([severity] if severity else [])
    told = [line for line in said["problems" if severity == "error" else "notes"] if "the password of the role fieldseal_service is valid until" in line]
    assert len(told) == bool(severity)
