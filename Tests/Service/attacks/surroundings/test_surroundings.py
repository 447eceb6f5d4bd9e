"""What surrounds the service: files with secrets, the connection to the database, and settings of the database."""

import json
import os
import shutil
import subprocess

import psycopg
import pytest
from cluster import Cluster


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("fsync=on")
    try:
        cluster.run("key", "show")
        yield cluster
    finally:
        cluster.remove()


def settings(cluster, name, **changes):
    lines = dict(line.split(": ", 1) for line in (cluster.home / "direct.yaml").read_text().splitlines())
    nested = {}
    for key, value in changes.items():
        outer, _, inner = key.partition(".")
        nested[outer] = nested.get(outer, {}) | {inner: value} if inner else value
    lines |= {key: json.dumps(value) for key, value in nested.items()}
    (cluster.home / f"{name}.yaml").write_text("".join(f"{k}: {v}\n" for k, v in lines.items()))
    return name


def codes(cluster, name):
    result = cluster.run("doctor", "--json", check=False, settings=name)
    return {f["code"]: f for f in json.loads(result.stdout)["findings"]}


# The key-encryption key


@pytest.fixture
def kek(cluster):
    """A copy of the key-encryption key's file, which a test may change."""
    path = cluster.home / "spoilt"
    shutil.copy(cluster.home / "kek", path)
    path.chmod(0o400)
    yield path
    path.unlink()


def test_a_key_encryption_key_of_another_user_is_refused(cluster, kek):
    name = settings(cluster, "spoilt", kekFile=str(kek))
    assert cluster.run("org", "list", settings=name).returncode == 0
    shutil.chown(kek, "postgres")
    result = cluster.run("org", "list", settings=name, check=False)
    assert result.returncode == 1 and "could replace it" in result.stderr


@pytest.mark.parametrize("mode", [0o404, 0o440, 0o604, 0o640, 0o620, 0o602])
def test_a_key_encryption_key_that_others_reach_is_refused(cluster, kek, mode):
    kek.chmod(mode)
    result = cluster.run("org", "list", settings=settings(cluster, "spoilt", kekFile=str(kek)), check=False)
    assert result.returncode == 1 and "chmod 0400" in result.stderr


def test_a_key_encryption_key_behind_a_link_is_judged_by_its_file(cluster, kek):
    link = cluster.home / "link"
    link.symlink_to(kek)
    name = settings(cluster, "spoilt", kekFile=str(link))
    try:
        assert cluster.run("org", "list", settings=name).returncode == 0
        kek.chmod(0o644)
        assert cluster.run("org", "list", settings=name, check=False).returncode == 1
    finally:
        link.unlink()


def test_a_pipe_or_a_folder_is_no_key_encryption_key(cluster, kek):
    name = settings(cluster, "spoilt", kekFile=str(kek))
    kek.unlink()
    os.mkfifo(kek, 0o400)
    result = cluster.run("org", "list", settings=name, check=False)
    assert result.returncode == 1 and "regular file" in result.stderr


@pytest.mark.parametrize("text", ["", "AAAA", "A" * 86 + "=", "A" * 88, "A" * 85 + "B==", "*" * 86 + "==", "A" * 86 + "==" + "A" * 4, "x" * 300])
def test_what_is_not_64_bytes_in_base64_is_refused(cluster, kek, text):
    kek.unlink()
    kek.write_text(text)
    kek.chmod(0o400)
    result = cluster.run("org", "list", settings=settings(cluster, "spoilt", kekFile=str(kek)), check=False)
    assert result.returncode == 1 and "64 bytes in base64" in result.stderr


def test_a_new_key_encryption_key_overwrites_nothing(cluster, tmp_path):
    path = tmp_path / "kek"
    cluster.run("kek", "create", str(path), settings=None, preexec_fn=lambda: os.umask(0))
    assert oct(path.stat().st_mode & 0o777) == "0o400"
    before = path.read_bytes()
    assert cluster.run("kek", "create", str(path), settings=None, check=False).returncode == 1 and path.read_bytes() == before
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere")
    assert cluster.run("kek", "create", str(tmp_path / "link"), settings=None, check=False).returncode == 1
    assert not (tmp_path / "elsewhere").exists()


def test_a_key_is_written_for_its_reader_alone(cluster, tmp_path):
    file = tmp_path / "key"

    def show(*arguments):
        return cluster.run("key", "show", "--file", str(file), *arguments, check=False, preexec_fn=lambda: os.umask(0))

    assert show().returncode == 0 and oct(file.stat().st_mode & 0o777) == "0o600"
    key = file.read_text()
    assert key.strip() == cluster.run("key", "show").stdout.strip() and key not in show("--force").stdout
    file.write_text("kept")
    assert show().returncode != 0 and file.read_text() == "kept"
    assert show("--force").returncode == 0 and file.read_text() == key
    file.unlink()
    file.symlink_to(tmp_path / "elsewhere")
    assert show().returncode != 0 and not (tmp_path / "elsewhere").exists()
    file.unlink()
    assert show("--version", "7").returncode == 1 and not file.exists()


# Other files with secrets


def test_files_with_secrets_that_others_read_are_named(cluster, tmp_path):
    key, secret, applications = (tmp_path / n for n in ("tls.key", "secret", "applications.json"))
    key.write_text("x")
    secret.write_text("x")
    applications.write_text(json.dumps([{"servers": ["a.test"], "tokenEndpoint": "https://a.test/t", "clientId": "x", "grant": "client_credentials", "clientSecretFile": str(secret)}]))
    name = settings(cluster, "secrets", **{"https.privateKeyFile": str(key), "mail.applicationsFile": str(applications)})
    for path in (key, secret, applications):
        path.chmod(0o640)
    assert codes(cluster, name) == {}
    for path in (key, secret, applications):
        path.chmod(0o644)
        found = codes(cluster, name)
        assert str(path) in found["secret-file-exposed"]["message"] and "read it" in found["secret-file-exposed"]["message"]
        path.chmod(0o660)
        finding = codes(cluster, name)["secret-file-exposed"]
        # The file belongs to the user who runs the doctor, so the advice removes all rights of others.
        assert "replace it" in finding["message"] and finding["advice"] == f"chmod 0400 {path}"
        path.chmod(0o600)


def test_settings_with_a_password_that_others_read_are_named(cluster):
    name = settings(cluster, "password", database=f"host={cluster.home} user=fieldseal_service dbname=fieldseal password=x")
    (cluster.home / f"{name}.yaml").chmod(0o644)
    assert "password of the database" in codes(cluster, name)["secret-file-exposed"]["message"]
    (cluster.home / f"{name}.yaml").chmod(0o600)
    assert codes(cluster, name) == {}


# The connection to the database


@pytest.mark.parametrize("mode, isNamed", [("require", True), ("verify-ca", True), ("prefer", True), (None, True), ("verify-full", False)])
def test_a_connection_that_checks_no_certificate_is_named(cluster, mode, isNamed):
    # The first host does not respond, and the second one is the socket's folder. The finding depends on the connection string, not on the connection.
    text = f"host=192.0.2.1,{cluster.home} user=postgres dbname=fieldseal connect_timeout=2" + (f" sslmode={mode}" if mode else "")
    assert ("database-not-verified" in codes(cluster, settings(cluster, "remote", migrationDatabase=text))) == isNamed


# The database


@pytest.fixture(scope="module")
def other_databases(cluster):
    other = cluster.superuser.replace("dbname=fieldseal", "dbname=postgres")
    with psycopg.connect(other, autocommit=True) as connection:
        for name, options in [("latin", "ENCODING 'LATIN1' LOCALE 'C'"), ("ascii", "ENCODING 'SQL_ASCII' LOCALE 'C'"), ("plain", "ENCODING 'UTF8' LOCALE 'C'")]:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0 {options}")


@pytest.mark.parametrize("name, encoding", [("latin", "LATIN1"), ("ascii", "SQL_ASCII")])
def test_another_encoding_than_utf8_is_refused(cluster, other_databases, name, encoding):
    there = settings(cluster, name, database=f"host={cluster.home} user=postgres dbname={name}", migrationDatabase=f"host={cluster.home} user=postgres dbname={name}")
    result = cluster.run("migrate", "bootstrap", settings=there, check=False)
    assert result.returncode == 1 and f"encoding is {encoding}, and Fieldseal needs UTF8" in result.stderr
    with psycopg.connect(f"host={cluster.home} user=postgres dbname={name}") as connection:
        assert connection.execute("SELECT to_regnamespace('cell')").fetchone() == (None,)
    # Running the script with psql fails with the same message.
    script = subprocess.run(["psql", "-q", "-v", "ON_ERROR_STOP=1", f"host={cluster.home} user=postgres dbname={name}", "-f", "migrations/bootstrap.sql"],
                            capture_output=True, text=True, env={**os.environ, "PGCLIENTENCODING": "UTF8"}, cwd=os.path.dirname(__file__) + "/../../../..")
    assert script.returncode != 0 and "needs UTF8" in script.stderr


def test_a_locale_without_case_is_said(cluster, other_databases):
    there = settings(cluster, "plain", database=f"host={cluster.home} user=fieldseal_service dbname=plain", migrationDatabase=f"host={cluster.home} user=postgres dbname=plain")
    assert "LC_CTYPE" in cluster.run("migrate", "bootstrap", settings=there).stdout
    cluster.run("migrate", "up", settings=there)
    assert codes(cluster, there)["locale-without-case"]["advice"]
    assert "locale-without-case" not in codes(cluster, "direct")


def test_an_owner_that_sees_no_snapshots_is_named(cluster):
    cluster.sql("REVOKE pg_read_all_stats FROM fieldseal_owner")
    try:
        assert "GRANT pg_read_all_stats" in codes(cluster, "direct")["owner-sees-no-snapshots"]["advice"]
    finally:
        cluster.sql("GRANT pg_read_all_stats TO fieldseal_owner")
    assert codes(cluster, "direct") == {}
