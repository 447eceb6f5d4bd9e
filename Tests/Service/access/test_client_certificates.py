"""Clients that authenticate with a certificate in the TLS handshake (RFC 8705), and tokens that are bound to it."""

import datetime
import json
import pathlib
import shutil
import signal
import ssl
import subprocess
import time
import uuid

import httpx
import jwt
import pytest
import requests
from cluster import Cluster
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from server import Server
from service import PATIENCE
from waiting import until


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


def self_signed(folder, name, days=2, key=None):
    """Makes a self-signed certificate and its key, as files. Returns both paths."""
    certificate, private = folder / f"{name}.pem", folder / f"{key or name}.key"
    if not key:
        openssl("genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", private)
    openssl("req", "-x509", "-new", "-key", private, "-days", days, "-subj", f"/CN={name}", "-out", certificate)
    return str(certificate), str(private)


def issue(folder, name, authority):
    """Makes a certificate that the authority signs, and its key, as files. Returns both paths."""
    private, request, certificate = (folder / f"{name}.{end}" for end in ("key", "csr", "pem"))
    openssl("req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", private, "-subj", f"/CN={name}", "-out", request)
    openssl("x509", "-req", "-in", request, "-CA", authority[0], "-CAkey", authority[1], "-CAcreateserial", "-days", "2", "-out", certificate)
    return str(certificate), str(private)


def started(https):
    cluster = Cluster()
    try:
        return Server(cluster, https=https)
    except BaseException:
        cluster.remove()
        raise


@pytest.fixture(scope="module")
def server():
    server = started({"clientCertificates": "optional"})
    yield server
    server.stop()
    server.cluster.remove()


def token(server, id, certificate=None, **form):
    return requests.post(
        f"{server.base}/contoso/oauth2/v2.0/token", {"grant_type": "client_credentials", "client_id": id, **form},
        verify=server.cluster.home / "server.pem", cert=certificate, timeout=PATIENCE)


def who_am_i(server, bearer, certificate=None):
    return requests.get(
        f"{server.base}/contoso/api/data/v9.2/WhoAmI", headers={"Authorization": f"Bearer {bearer}"}, verify=server.cluster.home / "server.pem",
        cert=certificate, timeout=PATIENCE)


def add(server, certificate, *options):
    name = f"shown-{uuid.uuid4().hex[:8]}"
    made = json.loads(server.cluster.run("client", "add", name, "--role", "Basic User", "--certificate", certificate[0], *options, "--json").stdout)
    return name, made["clientId"]


def test_a_registered_certificate_proves_its_client_alone(server, tmp_path):
    own, other = self_signed(tmp_path, "own"), self_signed(tmp_path, "other")
    name, id = add(server, own)
    granted = token(server, id, own)
    assert granted.status_code == 200
    bearer = granted.json()["access_token"]
    # Without --bind-tokens, the token is valid on any connection.
    assert "cnf" not in jwt.decode(bearer, options={"verify_signature": False})
    assert who_am_i(server, bearer).status_code == 200
    for refused in (token(server, id), token(server, id, other), token(server, server.client["clientId"], own), token(server, id, other, client_secret="wrong")):
        assert refused.status_code == 401 and refused.json()["error"] == "invalid_client"
    # A client with a secret can sign in on a connection with any certificate.
    assert token(server, server.client["clientId"], other, client_secret=server.client["clientSecret"]).status_code == 200
    # Another certificate with the same key is not registered, so it is refused.
    again = self_signed(tmp_path, "again", key="own")
    assert token(server, id, again).status_code == 401
    added = json.loads(server.cluster.run("client", "add-certificate", name, again[0], "--json").stdout)
    assert token(server, id, again).status_code == 200 and token(server, id, own).status_code == 200
    server.cluster.run("client", "remove-key", name, added["keyId"])
    assert token(server, id, again).status_code == 401 and token(server, id, own).status_code == 200
    assert server.cluster.run("client", "add-certificate", name, own[0], check=False).returncode == 1
    [entry] = [c for c in json.loads(server.cluster.run("client", "list", "--json").stdout) if c["name"] == name]
    fingerprint = subprocess.run(["openssl", "x509", "-in", own[0], "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True).stdout
    assert [k["certificate"] for k in entry["keys"]] == [fingerprint.split("=")[1].strip().replace(":", "").lower()]


def test_a_registered_certificate_proves_nothing_after_its_end(server, tmp_path):
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.timezone.utc)
    subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "short")])
    ending = x509.CertificateBuilder(
        subject, subject, key.public_key(), x509.random_serial_number(), now - datetime.timedelta(days=1), now + datetime.timedelta(seconds=12)).sign(key, hashes.SHA256())
    files = tmp_path / "short.pem", tmp_path / "short.key"
    files[0].write_bytes(ending.public_bytes(serialization.Encoding.PEM))
    files[1].write_bytes(key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    short, lasting = tuple(map(str, files)), self_signed(tmp_path, "lasting")
    name, id = add(server, short)
    server.cluster.run("client", "add-certificate", name, lasting[0])
    assert token(server, id, short).status_code == 200
    time.sleep(max(0, ending.not_valid_after_utc.timestamp() - time.time()) + 0.5)
    ended = token(server, id, short)
    assert ended.status_code == 401 and ended.json()["error"] == "invalid_client"
    assert token(server, id, lasting).status_code == 200


def test_a_certificate_is_good_for_the_handshake_alone(server, tmp_path):
    """A key is accepted only for the method for which it was registered, so this certificate's key can't sign assertions."""
    own = self_signed(tmp_path, "handshake")
    _, id = add(server, own)
    now = int(time.time())
    assertion = jwt.encode(
        {"iss": id, "sub": id, "aud": f"{server.base}/contoso/oauth2/v2.0/token", "jti": uuid.uuid4().hex, "iat": now, "exp": now + 300},
        pathlib.Path(own[1]).read_text(), algorithm="ES256")
    form = {"client_assertion": assertion, "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"}
    refused = token(server, id, **form)
    assert refused.status_code == 401 and refused.json()["error"] == "invalid_client"
    assert token(server, id, own).status_code == 200


def test_a_token_is_bound_to_the_certificate(server, tmp_path):
    own, other = self_signed(tmp_path, "bound"), self_signed(tmp_path, "unbound")
    name, id = add(server, own, "--bind-tokens")
    bearer = token(server, id, own).json()["access_token"]
    assert set(jwt.decode(bearer, options={"verify_signature": False})["cnf"]) == {"x5t#S256"}
    for _ in range(2):
        assert who_am_i(server, bearer, own).status_code == 200
        for certificate in (None, other):
            refused = who_am_i(server, bearer, certificate)
            assert refused.status_code == 401 and "bound to a client certificate" in refused.text
    # Over HTTP/2, the token is bound in the same way.
    context = ssl.create_default_context(cafile=str(server.cluster.home / "server.pem"))
    context.load_cert_chain(*own)
    with httpx.Client(http2=True, verify=context, timeout=PATIENCE, trust_env=False) as client:
        answer = client.get(f"{server.base}/contoso/api/data/v9.2/WhoAmI", headers={"Authorization": f"Bearer {bearer}"})
        assert answer.status_code == 200 and answer.http_version == "HTTP/2"
    with httpx.Client(http2=True, verify=str(server.cluster.home / "server.pem"), timeout=PATIENCE, trust_env=False) as client:
        assert client.get(f"{server.base}/contoso/api/data/v9.2/WhoAmI", headers={"Authorization": f"Bearer {bearer}"}).status_code == 401
    server.cluster.run("client", "disable", name)
    assert who_am_i(server, bearer, own).status_code == 401


def test_sql_registers_no_certificate(server, tmp_path):
    own, other = self_signed(tmp_path, "attested"), self_signed(tmp_path, "inserted")
    name, id = add(server, own, "--bind-tokens")
    digest = bytes.fromhex(subprocess.run(["openssl", "x509", "-in", other[0], "-noout", "-fingerprint", "-sha256"], capture_output=True, text=True).stdout.split("=")[1].strip().replace(":", ""))
    sql = server.cluster.sql
    [(kept,)] = sql("SELECT certificate_hash FROM config.api_client_key WHERE client_id = %s", [id])
    sql("UPDATE config.api_client_key SET certificate_hash = %s WHERE client_id = %s", [digest, id])
    assert token(server, id, other).status_code == 401 and token(server, id, own).status_code == 401
    sql("UPDATE config.api_client_key SET certificate_hash = %s, binds_tokens = false WHERE client_id = %s", [kept, id])
    assert token(server, id, own).status_code == 401
    sql("UPDATE config.api_client_key SET certificate_hash = NULL, binds_tokens = true WHERE client_id = %s", [id])
    assert token(server, id, own).status_code == 401
    sql("UPDATE config.api_client_key SET certificate_hash = %s WHERE client_id = %s", [kept, id])
    assert token(server, id, own).status_code == 200


def test_what_is_no_certificate_is_refused(server, tmp_path):
    (certificate, private) = self_signed(tmp_path, "whole")
    public = tmp_path / "public.pem"
    openssl("pkey", "-in", private, "-pubout", "-out", public)
    expired = tmp_path / "expired.pem"
    key = serialization.load_pem_private_key(pathlib.Path(private).read_bytes(), None)
    name, day = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "expired")]), datetime.timedelta(days=1)
    now = datetime.datetime.now(datetime.UTC)
    past = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    past = past.not_valid_before(now - 2 * day).not_valid_after(now - day).sign(key, hashes.SHA256())
    expired.write_bytes(past.public_bytes(serialization.Encoding.PEM))
    for file, words in ((public, "public key"), (private, "private key"), (expired, "expired"), (tmp_path / "missing", "can't be read")):
        refused = server.cluster.run("client", "add", "no-certificate", "--role", "Basic User", "--certificate", str(file), check=False)
        assert refused.returncode == 1 and words in refused.stderr, refused.stderr
    for wrong in (("--bind-tokens",), ("--certificate", certificate, "--public-key", str(public)), ("--certificate", certificate, "--expires", "5")):
        assert server.cluster.run("client", "add", "no-certificate", "--role", "Basic User", *wrong, check=False).returncode == 64
    document = requests.get(f"{server.base}/contoso/v2.0/.well-known/openid-configuration", verify=server.cluster.home / "server.pem", timeout=PATIENCE).json()
    assert "self_signed_tls_client_auth" in document["token_endpoint_auth_methods_supported"] and document["tls_client_certificate_bound_access_tokens"] is True


def test_certificates_of_an_authority(tmp_path):
    authority = self_signed(tmp_path, "authority")
    server = started({"clientCertificates": "optional", "clientAuthorityFile": authority[0]})
    try:
        issued = issue(tmp_path, "issued", authority)
        _, id = add(server, issued, "--bind-tokens")
        bearer = token(server, id, issued).json()["access_token"]
        assert who_am_i(server, bearer, issued).status_code == 200 and who_am_i(server, bearer).status_code == 401
        # A certificate that the authority issued and no client has registered proves nothing: not which client it is, nor that a token is its own.
        unregistered = issue(tmp_path, "unregistered", authority)
        for client in (id, server.client["clientId"]):
            refused = token(server, client, unregistered)
            assert refused.status_code == 401 and refused.json()["error"] == "invalid_client"
        assert who_am_i(server, bearer, unregistered).status_code == 401
        # A certificate that the authority did not issue gets no connection. Without a certificate, the client gets no token.
        stranger = self_signed(tmp_path, "stranger")
        with pytest.raises(requests.exceptions.ConnectionError):
            token(server, id, stranger)
        assert token(server, id).status_code == 401
        document = requests.get(f"{server.base}/contoso/v2.0/.well-known/openid-configuration", verify=server.cluster.home / "server.pem", timeout=PATIENCE).json()
        assert "tls_client_auth" in document["token_endpoint_auth_methods_supported"]
    finally:
        server.stop()
        server.cluster.remove()


def test_the_authorities_are_read_again_and_no_connection_is_dropped(tmp_path):
    first, second = self_signed(tmp_path, "first"), self_signed(tmp_path, "second")
    trusted = tmp_path / "trusted.pem"
    shutil.copy(first[0], trusted)
    server = started({"clientCertificates": "optional", "clientAuthorityFile": str(trusted)})
    try:
        former, later = issue(tmp_path, "former", first), issue(tmp_path, "later", second)
        clients = {pair: add(server, pair)[1] for pair in (former, later)}

        def is_taken(pair):
            try:
                return token(server, clients[pair], pair).status_code == 200
            except requests.exceptions.ConnectionError:
                return False

        def log():
            return (server.cluster.home / f"serve-{server.port}.log").read_text()

        assert is_taken(former) and not is_taken(later)
        with requests.Session() as kept:
            kept.verify, kept.cert, kept.trust_env = str(server.cluster.home / "server.pem"), former, False
            form = {"grant_type": "client_credentials", "client_id": clients[former]}
            assert kept.post(f"{server.base}/contoso/oauth2/v2.0/token", form, timeout=PATIENCE).status_code == 200
            # First both authorities, then the second one alone, as when an authority is replaced.
            trusted.write_text(pathlib.Path(first[0]).read_text() + pathlib.Path(second[0]).read_text())
            until(lambda: is_taken(later))
            assert is_taken(former)
            shutil.copy(second[0], trusted)
            server.process.send_signal(signal.SIGHUP)
            until(lambda: not is_taken(former))
            assert is_taken(later)
            assert kept.post(f"{server.base}/contoso/oauth2/v2.0/token", form, timeout=PATIENCE).status_code == 200, "the connection from before goes on"
        # If the file has no certificate, the service keeps the authorities that it has, and logs an error.
        trusted.write_text("no certificate")
        until(lambda: f"{trusted} holds no certificate" in log().replace("\\/", "/"))
        assert is_taken(later) and not is_taken(former)
    finally:
        server.stop()
        server.cluster.remove()


def test_without_the_setting_no_certificate_counts(tmp_path):
    server = started({})
    try:
        own = self_signed(tmp_path, "ignored")
        _, id = add(server, own)
        assert token(server, id, own).status_code == 401
        for settings, words in (
            ({"clientAuthorityFile": own[0]}, "https.clientCertificates"), ({"clientCertificates": "maybe"}, "off, optional"),
            ({"ocsp": "x"}, "https.ocsp"), ({"crl": "x"}, "https.crl")):
            text = server.settings.read_text()
            file = tmp_path / "wrong.yaml"
            line = next(line for line in text.splitlines() if line.startswith("https: "))
            file.write_text(text.replace(line, "https: " + json.dumps({**json.loads(line[7:]), **settings})))
            refused = server.cluster.run("config", "check", "--settings", str(file), settings=None, check=False)
            assert refused.returncode == 1 and words in refused.stderr, refused.stderr
    finally:
        server.stop()
        server.cluster.remove()
