"""Deriving people's passwords: new passwords use scrypt or PBKDF2. Each password is verified with the algorithm of its row."""

import hashlib
import hmac
import json
import pathlib

import psycopg
import pytest
import requests
from cluster import Cluster
from server import Server
from service import PATIENCE
from test_kek import identify

PASSWORDS = {"old": "the password of old", "new": "the password of new"}
ITERATIONS = 600_000
MIGRATIONS = pathlib.Path(__file__).parents[3] / "migrations/config"


def set_derivation(path, derivation):
    lines = [line for line in path.read_text().splitlines() if not line.startswith("passwords:")]
    path.write_text("\n".join(lines + [f"passwords: {{derivation: {derivation}}}"]) + "\n")


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        add(cluster, "old")
        set_derivation(cluster.home / "direct.yaml", "pbkdf2")
        add(cluster, "new")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def server(cluster):
    server = Server(cluster)
    try:
        yield server
    finally:
        server.stop()


def add(cluster, name):
    cluster.run("user", "add", name, "--role", "System Administrator", "--org", "contoso", stdin=f"{PASSWORDS[name]}\n")


def sign_in(server, name, password=None):
    session = requests.Session()
    session.verify, session.trust_env = str(server.cluster.home / "server.pem"), False
    session.headers["Origin"] = server.base
    return session.post(f"{server.base}/contoso/sign-in", {"name": name, "password": password or PASSWORDS[name]}, timeout=PATIENCE)


def row(cluster, name):
    [(salt, verifier)] = cluster.sql("SELECT salt, verifier FROM config.console_user WHERE name = %s", [name])
    return bytes(salt), bytes(verifier)


def tagged(cluster, salt, derived):
    """The verifier as docs/cell-format.md defines it: a tag under the KEK, over the salt and the derived key."""
    subkey = hmac.new(identify(cluster.home / "kek")[0], b"fieldseal tag console_password", "sha512").digest()
    message = b"".join(len(field).to_bytes(8, "big") + field for field in (salt, derived))
    return hmac.new(subkey, message, "sha512").digest()[:32]


def test_each_row_says_how_its_password_is_derived(cluster, server):
    old, new = row(cluster, "old"), row(cluster, "new")
    assert len(old[0]) == 16 and len(new[0]) == 21 and new[0][:5] == b"\x01" + ITERATIONS.to_bytes(4, "big")
    # Python's implementation gives the same verifier.
    assert tagged(cluster, old[0], hashlib.scrypt(PASSWORDS["old"].encode(), salt=old[0], n=1 << 15, r=8, p=3, maxmem=64 << 20, dklen=32)) == old[1]
    assert tagged(cluster, new[0], hashlib.pbkdf2_hmac("sha512", PASSWORDS["new"].encode(), new[0], ITERATIONS, 32)) == new[1]
    for name in PASSWORDS:
        assert sign_in(server, name).url.endswith("/overview")
        assert sign_in(server, name, "not the password").status_code == 403
    assert sign_in(server, "nobody", "not the password").status_code == 403


def test_a_reset_derives_by_the_setting_of_its_time(cluster, server):
    PASSWORDS["old"] = "another password of old"
    cluster.run("user", "reset", "old", "--org", "contoso", stdin=f"{PASSWORDS['old']}\n")
    assert len(row(cluster, "old")[0]) == 21
    assert sign_in(server, "old").status_code == 200
    set_derivation(cluster.home / "direct.yaml", "scrypt")
    try:
        cluster.run("user", "reset", "old", "--org", "contoso", stdin=f"{PASSWORDS['old']}\n")
    finally:
        set_derivation(cluster.home / "direct.yaml", "pbkdf2")
    assert len(row(cluster, "old")[0]) == 16
    assert sign_in(server, "old").status_code == 200


def test_sql_makes_no_derivation_cheaper(cluster, server):
    salt, verifier = row(cluster, "new")
    weak = b"\x01" + (1).to_bytes(4, "big") + salt[5:]
    derived = hashlib.pbkdf2_hmac("sha512", b"guessed", weak, 1, 32)
    for salt_, verifier_ in ((weak, tagged(cluster, weak, derived)), (b"\x01" + (2**32 - 1).to_bytes(4, "big") + salt[5:], verifier)):
        cluster.sql("UPDATE config.console_user SET salt = %s, verifier = %s WHERE name = 'new'", [salt_, verifier_])
        for password in ("guessed", PASSWORDS["new"]):
            assert sign_in(server, "new", password).status_code == 403, "the row is not the service's"
    with pytest.raises(psycopg.errors.CheckViolation):
        cluster.sql("UPDATE config.console_user SET salt = '\\x00' WHERE name = 'new'")
    cluster.sql("UPDATE config.console_user SET salt = %s, verifier = %s WHERE name = 'new'", [salt, verifier])
    assert sign_in(server, "new").status_code == 200


def test_the_doctor_says_how_new_passwords_are_derived(cluster):
    found = json.loads(cluster.run("doctor", "--json", check=False).stdout)["cryptography"]
    assert found["newPasswords"] == "pbkdf2" and found["algorithms"]["PBKDF2"] == "default"
    assert "new passwords of people are derived with pbkdf2" in cluster.run("doctor", check=False).stdout
    (cluster.home / "other.yaml").write_text((cluster.home / "direct.yaml").read_text().replace("derivation: pbkdf2", "derivation: bcrypt"))
    refused = cluster.run("verify", settings="other", check=False)
    assert refused.returncode == 1 and "passwords.derivation takes one of scrypt, pbkdf2, not bcrypt" in refused.stderr


def test_a_rotation_carries_such_a_password_over(cluster, server):
    """Runs late in this file, because it replaces the KEK of the cluster."""
    files = [cluster.home / "direct.yaml", server.settings]
    cluster.run("kek", "create", str(cluster.home / "kek.new"), settings=None)
    for file in files:
        file.write_text(f"{file.read_text()}newKek: {{file: {cluster.home}/kek.new}}\n")
    server.stop()
    server.start()
    assert json.loads(cluster.run("kek", "rotate", "--json").stdout)["done"]
    for file in files:
        lines = [line for line in file.read_text().splitlines() if not line.startswith(("kekFile", "newKek"))]
        file.write_text("\n".join([*lines, f"kekFile: {cluster.home}/kek.new"]) + "\n")
    server.stop()
    server.start()
    # The first sign-in after the change of the KEK computes the verifier again, and the second uses it.
    for _ in range(2):
        assert sign_in(server, "new").status_code == 200 and sign_in(server, "new", "not the password").status_code == 403


def test_there_is_a_way_back_once_no_password_needs_it(cluster):
    [down] = MIGRATIONS.glob("*_password_derivation.down.sql")
    [up] = (file for file in MIGRATIONS.glob("*_password_derivation.sql"))
    with psycopg.connect(cluster.superuser) as connection:
        with pytest.raises(psycopg.errors.RaiseException, match="passwords of people were derived with PBKDF2"), connection.transaction():
            connection.execute(down.read_text())
        connection.execute("DELETE FROM config.console_user WHERE octet_length(salt) = 21")
        connection.execute(down.read_text())
        connection.execute(up.read_text())
        connection.rollback()
