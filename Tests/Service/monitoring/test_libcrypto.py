"""The program with a libcrypto that has no scrypt, whose FIPS provider is active, or that computes wrong results.

A library that is loaded with LD_PRELOAD (support/libcrypto_shim.c) replaces single functions of libcrypto. The machine's own libcrypto
computes everything else. So these tests show which functions the program calls, and what it does and says for each result. They don't
show that the algorithms run under a FIPS provider, or which algorithms a FIPS provider refuses.
"""

import html
import json
import pathlib
import re
import subprocess

import pytest
import requests
from cluster import Cluster
from server import Server, serve_settings
from service import PATIENCE

SHIM = pathlib.Path(__file__).parents[1] / "support/libcrypto_shim.c"
PAGE = pathlib.Path(__file__).parents[3] / "docs/monitoring.md"
PASSWORDS = {"scrypt": "the password of scrypt", "pbkdf2": "the password of pbkdf2"}
WORDS = "This server can't check the password: it was set before FIPS mode was switched on. Ask an administrator to reset it."


@pytest.fixture(scope="module")
def shim(tmp_path_factory):
    library = tmp_path_factory.mktemp("libcrypto") / "shim.so"
    subprocess.run(["cc", "-Wall", "-Werror", "-shared", "-fPIC", "-o", library, SHIM], check=True)
    return library


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        for derivation in PASSWORDS:
            derive_with(cluster, derivation)
            add(cluster, derivation)
        yield cluster
    finally:
        cluster.remove()


def derive_with(cluster, derivation):
    """Sets the algorithm for new passwords."""
    file = cluster.home / "direct.yaml"
    lines = [line for line in file.read_text().splitlines() if not line.startswith("passwords:")]
    file.write_text("\n".join([*lines, f"passwords: {{derivation: {derivation}}}"]) + "\n")


def add(cluster, name, **options):
    return cluster.run(
        "user", "add", name, "--role", "System Administrator", "--org", "contoso", stdin=f"{PASSWORDS.get(name, 'the password of another')}\n", **options)


@pytest.fixture
def answering(shim, monkeypatch):
    """A function that makes libcrypto give other results, in every program that the test starts afterwards."""
    def answer(*words):
        monkeypatch.setenv("LD_PRELOAD", str(shim))
        monkeypatch.setenv("FIELDSEAL_TEST_LIBCRYPTO", " ".join(words))
    return answer


def sign_in(server, name):
    session = requests.Session()
    session.verify, session.trust_env = str(server.cluster.home / "server.pem"), False
    session.headers.update({"Origin": server.base, "Accept-Language": "en"})
    return session.post(f"{server.base}/contoso/sign-in", {"name": name, "password": PASSWORDS[name]}, timeout=PATIENCE)


def doctor(cluster):
    ended = cluster.run("doctor", "--json", check=False)
    said = json.loads(ended.stdout)
    return ended.returncode, {f["code"]: f for f in said["findings"]}, said["cryptography"]


def test_without_scrypt_people_are_told_and_pbkdf2_works(cluster, answering):
    derive_with(cluster, "scrypt")
    answering("no-scrypt")
    # For a new password, the command says which setting to change, and adds no person.
    refused = add(cluster, "another", check=False)
    assert refused.returncode and "Set passwords.derivation to pbkdf2" in refused.stderr, refused
    assert cluster.sql("SELECT count(*) FROM config.console_user WHERE name = 'another'") == [(0,)]
    code, findings, cryptography = doctor(cluster)
    assert code == 2 and findings["password-derivation-missing"]["severity"] == "error"
    assert cryptography["algorithms"]["scrypt"] is None and cryptography["algorithms"]["PBKDF2"] == "default"

    derive_with(cluster, "pbkdf2")
    assert add(cluster, "another").returncode == 0
    code, findings, cryptography = doctor(cluster)
    assert "password-derivation-missing" not in findings and cryptography["newPasswords"] == "pbkdf2"
    server = Server(cluster)
    try:
        answer = sign_in(server, "scrypt")
        assert answer.status_code == 403 and WORDS in html.unescape(answer.text), answer.text
        assert sign_in(server, "pbkdf2").url.endswith("/overview")
        # An operator resets the password, as the page advises.
        cluster.run("user", "reset", "scrypt", "--org", "contoso", stdin=f"{PASSWORDS['scrypt']}\n")
        assert sign_in(server, "scrypt").status_code == 200
    finally:
        server.stop()
    assert "are refused with a message that says so. Reset them: `fieldseal user reset`" in PAGE.read_text()


@pytest.mark.parametrize("words, active", [(("fips-loaded", "fips-asked-for"), True), (("fips-loaded",), False), (("fips-asked-for",), False), ((), False)],
                         ids=["both", "loaded", "asked for", "neither"])
def test_the_doctor_says_whether_the_fips_provider_is_active(cluster, answering, words, active):
    """The FIPS provider is active only if it is loaded and every algorithm must come from it."""
    answering(*words)
    assert doctor(cluster)[2]["fips"] is active
    line = cluster.run("doctor", check=False).stdout.splitlines()[-1]
    assert ("the FIPS provider is active" in line) is active and ("the FIPS provider is not active" in line) is not active


@pytest.mark.parametrize("word, algorithm", [
    ("wrong-aes", "AES-256-CBC with HMAC-SHA-512"), ("wrong-pbkdf2", "PBKDF2-HMAC-SHA-512"), ("wrong-sha", "SHA-256"), ("wrong-random", "the random generator")])
def test_a_libcrypto_that_computes_wrong_ends_the_start(cluster, answering, word, algorithm):
    settings = serve_settings(cluster, "direct").stem
    answering(word)
    ended = cluster.run("serve", settings=settings, check=False)
    assert ended.returncode == 1 and re.search(rf"\b{algorithm}\b", ended.stderr), ended
    code, findings, _ = doctor(cluster)
    assert code == 2 and findings["crypto-self-test"]["severity"] == "error" and algorithm in json.dumps(findings["crypto-self-test"]), findings
