"""Runs the program under OpenSSL's FIPS provider: what docs/monitoring.md says about FIPS mode, one line for each statement.

    fips.py CONFIGURATION

CONFIGURATION is a file for OPENSSL_CONF that activates the provider and asks for approved algorithms alone. `make fips` builds the
provider and writes that file. The service, the router and the commands run with it. PostgreSQL and the mail servers do not.
"""

import html
import json
import os
import pathlib
import subprocess
import sys

ROOT = pathlib.Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "Tests" / name) for name in ("Service/servers", "Service/support", "Reader", "Support")]

import requests  # noqa: E402
import scratch  # noqa: E402
from cluster import Cluster  # noqa: E402
from mail import Mail, message, profile, queue, subjects  # noqa: E402
from server import Server  # noqa: E402
from service import PATIENCE, PROGRAM  # noqa: E402
from waiting import until  # noqa: E402

PASSWORD = "a password of a person under test"
REFUSED = "This server can't check the password: it was set before FIPS mode was switched on. Ask an administrator to reset it."


def holds(fact, **values):
    """Says that a statement of the page was seen."""
    print(f"  {fact}", *(f"{name}={value}" for name, value in values.items()), flush=True)


def has_provider(pid):
    """Whether a process has the FIPS provider in its memory."""
    return "/fips.so" in pathlib.Path(f"/proc/{pid}/maps").read_text()


def sign_in(server, name):
    session = requests.Session()
    session.verify, session.trust_env = str(server.cluster.home / "server.pem"), False
    session.headers.update({"Origin": server.base, "Accept-Language": "en"})
    return session.post(f"{server.base}/contoso/sign-in", {"name": name, "password": PASSWORD}, timeout=PATIENCE)


def add_person(cluster, name, **options):
    return cluster.run("user", "add", name, "--role", "System Administrator", "--org", "contoso", stdin=f"{PASSWORD}\n", **options)


def check_mode(cluster):
    md5 = subprocess.run(["openssl", "md5"], input=b"", capture_output=True)
    assert md5.returncode, "MD5 works: this is no FIPS mode"
    said = json.loads(cluster.run("doctor", "--json", check=False).stdout)
    algorithms = said["cryptography"]["algorithms"]
    assert said["cryptography"]["fips"] is True, said
    assert algorithms.pop("scrypt") is None and set(algorithms.values()) == {"fips"}, said
    holds("the doctor says that the FIPS provider is active, and has these algorithms: " + ", ".join(algorithms))
    assert "password-derivation-missing" in {finding["code"] for finding in said["findings"]}, said
    refused = add_person(cluster, "another", check=False)
    assert refused.returncode and "Set passwords.derivation to pbkdf2" in refused.stderr, refused
    holds("scrypt is missing: the doctor says so, and a new person is refused with what to set")


def check_people(cluster, server):
    add_person(cluster, "approved")
    assert sign_in(server, "approved").url.endswith("/overview")
    holds("a password by PBKDF2 signs in")
    answer = sign_in(server, "earlier")
    assert answer.status_code == 403 and REFUSED in html.unescape(answer.text), answer.text
    cluster.run("user", "reset", "earlier", "--org", "contoso", stdin=f"{PASSWORD}\n")
    assert sign_in(server, "earlier").status_code == 200
    holds("a password by scrypt is refused in words, and is verified after a reset")


def check_cells(cluster, server):
    assert has_provider(server.process.pid)
    assert list(cluster.opened_cells().values()) == ["sealed before FIPS mode"]
    server.create("mailboxes", {"name": "sealed", "password": "sealed in FIPS mode"})
    opened = cluster.opened_cells()
    assert sorted(opened.values()) == ["sealed before FIPS mode", "sealed in FIPS mode"], opened
    holds("cells are sealed, and another program opens them; those from before open too")
    version = cluster.key_version()
    answer = server.request("POST", "SetDataEncryptionKey", {"EncryptionKey": "A-new-organization-key-of-2026!", "ChangeEncryptionKey": True})
    assert answer.status_code == 204, answer.text
    assert cluster.key_version() == version + 1 and cluster.opened_cells() == opened
    cluster.run("verify")
    holds("the key is changed: every cell opens under the new one, and `fieldseal verify` finds nothing")


def check_kek(cluster, server):
    file = cluster.home / "direct.yaml"
    settings = file.read_text()
    cluster.run("kek", "create", str(cluster.home / "kek.new"), settings=None)
    server.stop()
    file.write_text(f"{settings}newKek: {json.dumps({'file': str(cluster.home / 'kek.new')})}\n")
    assert json.loads(cluster.run("kek", "rotate", "--json").stdout)["done"]
    file.write_text(settings.replace(f"{cluster.home}/kek", f"{cluster.home}/kek.new"))
    cluster.run("kek", "retire")
    cluster.run("verify")
    holds("the key-encryption key is replaced, and the former one is retired")
    said = json.loads(cluster.run("doctor", "--json", check=False).stdout)
    assert not [finding for finding in said["findings"] if finding["severity"] == "error"], said
    holds("the doctor finds no error: all tags are right")


def check_service(configuration):
    cluster = Cluster("fsync=on")
    try:
        add_person(cluster, "earlier")
        server = Server(cluster)
        server.create("mailboxes", {"name": "sealed", "password": "sealed before FIPS mode"})
        server.stop()
        os.environ["OPENSSL_CONF"] = configuration
        check_mode(cluster)
        file = cluster.home / "direct.yaml"
        file.write_text(f"{file.read_text()}passwords: {{derivation: pbkdf2}}\n")
        server = Server(cluster)
        try:
            check_people(cluster, server)
            check_cells(cluster, server)
            check_router(cluster, server)
            check_kek(cluster, server)
        finally:
            server.stop()
    finally:
        os.environ.pop("OPENSSL_CONF", None)
        cluster.remove()


def check_router(cluster, server):
    mail = router = None
    try:
        mail = Mail(cluster.home)
        made = json.loads(cluster.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        secret = cluster.home / "router-secret"
        secret.touch(0o600)
        secret.write_text(made["clientSecret"])
        router = subprocess.Popen([
            PROGRAM, "router", "run", "--org", "contoso", "--service", server.base, "--client-id", made["clientId"], "--secret-file", secret,
            "--ca-file", cluster.home / "server.pem", "--mail-ca-file", mail.description["caFile"]], stdout=server.log, stderr=server.log)
        for kind, address in zip(("imap", "pop3"), sorted(mail.passwords)):
            _, box = queue(server, mail, profile(server, mail, kind), address)
            mail.inject(address, message(f"by {kind}", to=address))
            until(lambda box=box: subjects(server, box), seconds=60, what=lambda: pathlib.Path(server.log.name).read_text()[-3000:])
            assert subjects(server, box) == [f"by {kind}"]
        assert has_provider(router.pid)
        holds("the router tests mailboxes by IMAP, POP3 and SMTP, over TLS by this libcrypto, and fetches e-mails")
    finally:
        if router:
            router.terminate()
            router.wait(60)
        if mail:
            mail.stop()


def main():
    configuration = str(pathlib.Path(sys.argv[1]).resolve(strict=True))
    folder = os.environ[scratch.VARIABLE] = str(scratch.make())
    try:
        scratch.adopt()
        check_service(configuration)
    finally:
        scratch.remove(folder)
    print("All of it holds.")


if __name__ == "__main__":
    main()
