"""How programs get a token: with their libraries, or with an assertion instead of a secret. Also, revoking a token."""

import base64
import datetime
import hashlib
import json
import time
import urllib.parse
import uuid

import jwt
import msal
import psycopg
import pytest
import requests
from authlib.integrations.requests_client import OAuth2Session
from authlib.oauth2.rfc7523 import PrivateKeyJWT
from azure.identity import CertificateCredential, ClientSecretCredential
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

from service import refused

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
RSA = rsa.generate_private_key(public_exponent=65537, key_size=2048)
CURVE = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture(autouse=True)
def authorities(service, monkeypatch):
    """Makes the libraries trust the service. These variables have priority over a session's own CA file, so they name it too."""
    for name in ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"):
        monkeypatch.setenv(name, service.dev["caFile"])


def authority(service):
    return f"{service.base}/contoso"


def whoami(service, token):
    response = service.get("WhoAmI", token=token)
    assert response.status_code == 200, response.text
    return response.json()["UserId"]


def pem(key):
    return key.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()


def private_pem(key):
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()).decode()


def certificate(key, days=2):
    now = datetime.datetime.now(datetime.timezone.utc)
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "client")])
    return x509.CertificateBuilder(
        issuer_name=name, subject_name=name, public_key=key.public_key(), serial_number=x509.random_serial_number(),
        not_valid_before=now - datetime.timedelta(days=10), not_valid_after=now + datetime.timedelta(days=days),
    ).sign(key, hashes.SHA256())


def post(service, path, form, **options):
    return requests.post(f"{authority(service)}/{path}", data=form, verify=service.dev["caFile"], timeout=30, **options)


@pytest.fixture(scope="module")
def assertor(service, tmp_path_factory):
    """A client that has keys and no secret."""
    folder = tmp_path_factory.mktemp("keys")
    (folder / "rsa.pem").write_text(pem(RSA))
    (folder / "curve.pem").write_text(pem(CURVE))
    name = f"assertor {uuid.uuid4()}"
    made = service.json("client", "add", name, "--role", "Basic User", "--public-key", str(folder / "rsa.pem"))
    assert set(made) == {"clientId", "role", "key", "fingerprint"} and made["key"] == "RSA 2048"
    added = service.json("client", "add-key", name, str(folder / "curve.pem"))
    assert added["key"] == "P-256"
    return made["clientId"]


def claims(service, client, **changed):
    now = int(time.time())
    known = {
        "iss": client, "sub": client, "aud": f"{authority(service)}/oauth2/v2.0/token", "jti": str(uuid.uuid4()), "iat": now,
        "exp": now + 300, **changed,
    }
    return {name: value for name, value in known.items() if value is not None}


def assertion(service, client, key=RSA, alg="RS256", headers=None, **changed):
    return jwt.encode(claims(service, client, **changed), key, algorithm=alg, headers=headers)


def sign_in(service, token, path="oauth2/v2.0/token", **form):
    return post(service, path, {
        "grant_type": "client_credentials", "client_assertion_type": ASSERTION, "client_assertion": token, **form})


# Libraries


def test_msal_gets_a_token_with_a_secret(service):
    known = service.dev["clients"]["admin"]
    for options in ({"authority": authority(service), "instance_discovery": False}, {"oidc_authority": f"{authority(service)}/v2.0"},
                    {"oidc_authority": authority(service)}):
        app = msal.ConfidentialClientApplication(
            known["clientId"], client_credential=known["clientSecret"], verify=service.dev["caFile"], **options)
        # If the resource ends with a slash, the scope has two slashes.
        for scope in (f"{authority(service)}/.default", f"{authority(service)}//.default"):
            answer = app.acquire_token_for_client([scope])
            assert whoami(service, answer["access_token"]), answer
        answer = app.acquire_token_for_client(["https://elsewhere.example/.default"])
        assert answer["error"] == "invalid_scope"


def test_msal_gets_a_token_with_a_certificate(service, assertor):
    own = certificate(RSA)
    thumbprint = own.fingerprint(hashes.SHA1()).hex()
    for credential in (
        {"private_key": private_pem(RSA), "thumbprint": thumbprint},
        {"private_key": private_pem(RSA), "public_certificate": own.public_bytes(serialization.Encoding.PEM).decode()},
    ):
        app = msal.ConfidentialClientApplication(
            assertor, client_credential=credential, authority=authority(service), instance_discovery=False,
            verify=service.dev["caFile"])
        answer = app.acquire_token_for_client([f"{authority(service)}/.default"])
        assert whoami(service, answer["access_token"]), answer


def test_azure_identity_gets_a_token(service, assertor, tmp_path):
    known = service.dev["clients"]["admin"]
    options = {"authority": service.base, "disable_instance_discovery": True, "connection_verify": service.dev["caFile"]}
    secret = ClientSecretCredential("contoso", known["clientId"], known["clientSecret"], **options)
    token = secret.get_token(f"{authority(service)}/.default")
    assert whoami(service, token.token) and 3_000 < token.expires_on - time.time() <= 3_600
    file = tmp_path / "client.pem"
    file.write_bytes(private_pem(RSA).encode() + certificate(RSA).public_bytes(serialization.Encoding.PEM))
    token = CertificateCredential("contoso", assertor, str(file), **options).get_token(f"{authority(service)}/.default")
    assert whoami(service, token.token)


def test_authlib_gets_a_token_by_what_the_service_says_of_itself(service, assertor):
    known = service.dev["clients"]["admin"]
    for document in ("v2.0/.well-known/openid-configuration", ".well-known/openid-configuration", ".well-known/oauth-authorization-server"):
        found = requests.get(f"{authority(service)}/{document}", verify=service.dev["caFile"], timeout=10).json()
        for method in ("client_secret_basic", "client_secret_post"):
            session = OAuth2Session(known["clientId"], known["clientSecret"], token_endpoint_auth_method=method)
            session.verify = service.dev["caFile"]
            token = session.fetch_token(found["token_endpoint"], grant_type="client_credentials")
            assert whoami(service, token["access_token"])
            assert session.revoke_token(found["revocation_endpoint"], token=token["access_token"]).status_code == 200
            refused(service.get("WhoAmI", token=token["access_token"]), 401, "0x80048405")
        session = OAuth2Session(assertor, private_pem(RSA), token_endpoint_auth_method="private_key_jwt")
        session.verify = service.dev["caFile"]
        session.register_client_auth_method(PrivateKeyJWT(found["token_endpoint"]))
        token = session.fetch_token(found["token_endpoint"], grant_type="client_credentials")
        assert whoami(service, token["access_token"])


# The discovery documents


def test_discovery_documents_have_what_libraries_require(service):
    for path, root in (("v2.0/", "oauth2/v2.0"), ("", "oauth2")):
        found = requests.get(
            f"{authority(service)}/{path}.well-known/openid-configuration", verify=service.dev["caFile"], timeout=10).json()
        # MSAL.js accepts the document only with these four members.
        assert found["issuer"] == f"{authority(service)}/v2.0"
        assert found["authorization_endpoint"] == f"{authority(service)}/{root}/authorize"
        assert found["token_endpoint"] == f"{authority(service)}/{root}/token"
        assert requests.get(found["jwks_uri"], verify=service.dev["caFile"], timeout=10).json()["keys"]
        assert "private_key_jwt" in found["token_endpoint_auth_methods_supported"]
        # This service has no sign-in for browsers at the endpoint, and says so.
        answer = requests.get(found["authorization_endpoint"], verify=service.dev["caFile"], timeout=10)
        assert answer.status_code == 400 and answer.json()["error"] == "unsupported_response_type"
        assert "client_credentials" in answer.json()["error_description"]
    assert requests.get(
        f"{service.base}/nosuch/v2.0/.well-known/openid-configuration", verify=service.dev["caFile"], timeout=10).status_code == 404


def test_a_request_without_a_token_is_told_where_to_get_one(service):
    challenge = f"Bearer authorization_uri={authority(service)}/oauth2/authorize, resource_id={authority(service)}/"
    for path in ("", "WhoAmI", "mailboxes", "$batch"):
        answer = service.get(path, token="")
        refused(answer, 401, "0x80048405")
        assert answer.headers["WWW-Authenticate"] == challenge
    assert service.get("WhoAmI", token="nonsense").headers["WWW-Authenticate"] == challenge
    assert "WWW-Authenticate" not in service.get("WhoAmI").headers
    # Parses the header as the client library of Dataverse does.
    values = dict(part.strip().split("=", 1) for part in challenge.removeprefix("Bearer ").split(","))
    known = service.dev["clients"]["admin"]
    app = msal.ConfidentialClientApplication(
        known["clientId"], client_credential=known["clientSecret"], instance_discovery=False, verify=service.dev["caFile"],
        authority=values["authorization_uri"].replace("/oauth2/authorize", ""))
    assert whoami(service, app.acquire_token_for_client([f"{values['resource_id']}.default"])["access_token"])
    # The token endpoint itself asks for Basic authentication.
    assert post(service, "oauth2/v2.0/token", {"grant_type": "client_credentials"}).headers["WWW-Authenticate"].startswith("Basic")


@pytest.mark.parametrize("path, version", [("oauth2/v2.0/token", "2.0"), ("oauth2/token", "1.0")])
def test_scope_and_resource(service, path, version):
    known = service.dev["clients"]["admin"]

    def ask(**form):
        return post(service, path, {
            "grant_type": "client_credentials", "client_id": known["clientId"], "client_secret": known["clientSecret"], **form})

    base = authority(service)
    for form in ({}, {"resource": base}, {"resource": f"{base}/"}, {"resource": service.base}, {"scope": f"{base}/.default"},
                 {"scope": f"{base}//.default"}, {"scope": f"{service.base}/.default"}, {"scope": f"{service.base}//.default"}):
        answer = ask(**form)
        assert answer.status_code == 200, (form, answer.text)
        assert whoami(service, answer.json()["access_token"])
    assert answer.json()["expires_in"] == 3600
    for form in ({"resource": "https://elsewhere.example"}, {"resource": f"{service.base}/fabrikam"}, {"resource": ""},
                 {"resource": f"{base}/api"}, {"resource": base.replace("https", "http")}):
        answer = ask(**form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_target"), form
    for scope in ("openid", f"{base}/user_impersonation", f"{base}/.default openid", f"{service.base}/fabrikam/.default", "", ".default",
                  f"{base}.default", f"{base}/.default/"):
        answer = ask(scope=scope)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_scope"), scope
    payload = json.loads(base64.urlsafe_b64decode(ask().json()["access_token"].split(".")[1] + "=="))
    assert payload["ver"] == version and payload["aud"] == base
    # The times in the token are whole seconds.
    assert all(type(payload[name]) is int for name in ("iat", "nbf", "exp"))
    older = ask(resource=f"{base}/").json()
    if version == "1.0":
        assert abs(int(older["expires_on"]) - time.time() - 3600) < 60 and older["resource"] == f"{base}/"
    # A parameter that occurs twice is ambiguous, so it is refused.
    twice = f"grant_type=client_credentials&client_id={known['clientId']}&client_id={known['clientId']}&client_secret=x"
    answer = post(service, path, twice, headers={"Content-Type": "application/x-www-form-urlencoded"})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_other_grants_are_refused_by_name(service):
    known = service.dev["clients"]["admin"]
    for grant in ("password", "refresh_token", "authorization_code", "urn:ietf:params:oauth:grant-type:device_code"):
        answer = service.token_response(known["clientId"], known["clientSecret"], grant_type=grant)
        assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")
        assert "client_credentials" in answer.json()["error_description"]


# Assertions


def test_an_assertion_by_each_algorithm(service, assertor):
    for alg in ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"):
        answer = sign_in(service, assertion(service, assertor, RSA, alg))
        assert answer.status_code == 200 and whoami(service, answer.json()["access_token"]), (alg, answer.text)
    for aud in (f"{authority(service)}/oauth2/token", f"{authority(service)}/v2.0", authority(service), [f"{authority(service)}/oauth2/v2.0/token"]):
        answer = sign_in(service, assertion(service, assertor, CURVE, "ES256", aud=aud), path="oauth2/token")
        assert answer.status_code == 200, answer.text
    # The request also has the client's id, and its times have fractions of seconds, as MSAL writes them.
    now = time.time()
    answer = sign_in(service, assertion(service, assertor, exp=now + 600.5, iat=now, nbf=now - 0.5), client_id=assertor.upper())
    assert answer.status_code == 200, answer.text


def test_an_assertion_is_taken_once(service, assertor):
    once = assertion(service, assertor)
    assert sign_in(service, once).status_code == 200
    again = sign_in(service, once)
    assert again.status_code == 401 and "was used before" in again.json()["error_description"]
    # A client can't use the same jti again, even with other claims. Two clients can use the same jti.
    jti = str(uuid.uuid4())
    assert sign_in(service, assertion(service, assertor, jti=jti)).status_code == 200
    assert sign_in(service, assertion(service, assertor, CURVE, "ES256", jti=jti, exp=int(time.time()) + 200)).status_code == 401
    # An assertion that was refused does not use up its jti. So a stranger can't block a client's assertion.
    mine = str(uuid.uuid4())
    assert sign_in(service, assertion(service, assertor, ec.generate_private_key(ec.SECP256R1()), "ES256", jti=mine)).status_code == 401
    assert sign_in(service, assertion(service, assertor, jti=mine)).status_code == 200


def test_assertions_that_prove_nothing(service, assertor):
    now = int(time.time())
    stranger = rsa.generate_private_key(public_exponent=65537, key_size=2048)
    good = assertion(service, assertor)
    header, payload, signature = good.split(".")

    def written(**fields):
        return base64.urlsafe_b64encode(json.dumps(fields).encode()).decode().rstrip("=")

    bad = {
        "malformed": ["x", "a.b.c", "a.b", f"{header}.{payload}.", f"{header}.{payload}", good + ".x", "." * 20_000, "é.é.é"],
        "is signed with an algorithm that is not accepted": [
            f"{written(alg='none')}.{payload}.{signature}", f"{written(alg='None')}.{payload}.{signature}",
            f"{written(typ='JWT')}.{payload}.{signature}",
            jwt.encode(claims(service, assertor), hashlib.sha256(pem(RSA).encode()).hexdigest(), algorithm="HS256")],
        # A token that is longer than any client's is refused without being parsed.
        "must be a signed JWT": [assertion(service, assertor, more="x" * 20_000)],
        "crit": [assertion(service, assertor, headers={"crit": ["x"], "x": 1})],
        "iss and as sub": [assertion(service, assertor, sub=str(uuid.uuid4())), assertion(service, assertor, iss=None),
                           assertion(service, assertor, sub=None)],
        "another audience": [
            assertion(service, assertor, aud=aud) for aud in (
                None, "https://elsewhere.example", f"{service.base}/fabrikam/oauth2/v2.0/token", f"{authority(service)}/api",
                [f"{authority(service)}/oauth2/v2.0/token", "https://elsewhere.example"], [])],
        "lacks exp": [assertion(service, assertor, exp=None)],
        "expired": [assertion(service, assertor, exp=now - 120)],
        "seconds from now": [assertion(service, assertor, exp=now + 7_200), assertion(service, assertor, exp=2 ** 62)],
        "no number": [assertion(service, assertor, exp="tomorrow"), assertion(service, assertor, nbf=[1])],
        "not valid yet": [assertion(service, assertor, nbf=now + 300), assertion(service, assertor, iat=now + 300)],
        "jti": [assertion(service, assertor, jti=None), assertion(service, assertor, jti="")],
        "unknown or disabled": [
            assertion(service, assertor, stranger), assertion(service, assertor, ec.generate_private_key(ec.SECP256R1()), "ES256"),
            assertion(service, assertor, ec.generate_private_key(ec.SECP384R1()), "ES384"), f"{header}.{payload}.{signature[:-6]}AAAAAA",
            f"{written(alg='PS256')}.{payload}.{signature}", f"{written(alg='ES256')}.{payload}.{signature}",
            assertion(service, str(uuid.uuid4())), assertion(service, service.dev["clients"]["admin"]["clientId"]),
            assertion(service, "nonsense")],
    }
    for word, tokens in bad.items():
        service.sql("DELETE FROM config.failed_sign_in")
        for token in tokens:
            answer = sign_in(service, token.encode() if isinstance(token, str) else token)
            assert answer.status_code == 401, (word, token, answer.text)
            assert answer.json()["error"] == "invalid_client" and word in answer.json()["error_description"], (word, answer.text)
    service.sql("DELETE FROM config.failed_sign_in")
    for form in ({"client_secret": "x"}, {"client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:saml2-bearer"}):
        answer = sign_in(service, assertion(service, assertor), **form)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    answer = sign_in(service, assertion(service, assertor), client_id=str(uuid.uuid4()))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert sign_in(service, good).status_code == 200


def test_a_key_of_a_certificate_ends_with_it(service, tmp_path):
    """A public key without a certificate does not expire."""
    short, other = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    made = service.json("client", "add", f"short {uuid.uuid4()}", "--role", "Basic User")
    ending = certificate(short, days=12 / 86_400)
    for index, text in enumerate((ending.public_bytes(serialization.Encoding.PEM).decode(), pem(other))):
        (tmp_path / f"{index}.pem").write_text(text)
        service.json("client", "add-key", made["clientId"], str(tmp_path / f"{index}.pem"))
    assert sign_in(service, assertion(service, made["clientId"], short, "ES256")).status_code == 200
    time.sleep(max(0, ending.not_valid_after_utc.timestamp() - time.time()) + 0.5)
    assert sign_in(service, assertion(service, made["clientId"], short, "ES256")).status_code == 401
    assert sign_in(service, assertion(service, made["clientId"], other, "ES256")).status_code == 200


def test_keys_of_clients_are_added_listed_and_removed(service, tmp_path):
    name = f"keyed {uuid.uuid4()}"
    made = service.json("client", "add", name, "--role", "Basic User")

    def file(text):
        path = tmp_path / f"{uuid.uuid4()}.pem"
        path.write_text(text)
        return str(path)

    def listed():
        return next(c for c in service.json("client", "list") if c["name"] == name)["keys"]

    small = rsa.generate_private_key(public_exponent=65537, key_size=1024)
    old = certificate(RSA, days=-1).public_bytes(serialization.Encoding.PEM).decode()
    for text, word in ((private_pem(RSA), "private key"), ("nothing", "no public key"), (pem(small), "2048"),
                       (pem(ec.generate_private_key(ec.SECP256K1())), "P-256"), (old, "expired"), ("", "no public key")):
        result = service.run("client", "add-key", name, file(text), check=False)
        assert result.returncode == 1 and word in result.stderr, (word, result.stderr)
    assert service.run("client", "add-key", "nobody", file(pem(RSA)), check=False).returncode == 1
    assert service.run("client", "add-key", name, str(tmp_path / "missing"), check=False).returncode == 1
    assert listed() == []
    key = ec.generate_private_key(ec.SECP521R1())
    own = certificate(key).public_bytes(serialization.Encoding.PEM).decode()
    added = service.json("client", "add-key", name, file(own))
    (entry,) = listed()
    assert entry["keyId"] == added["keyId"] and entry["key"] == "P-521" and entry["honoured"] and entry["expiresOn"]
    assert "already" in service.run("client", "add-key", name, file(pem(key)), check=False).stderr
    # The client can use the key and the secret.
    assert sign_in(service, assertion(service, made["clientId"], key, "ES512")).status_code == 200
    assert service.token_response(made["clientId"], made["clientSecret"]).status_code == 200
    assert service.run("client", "remove-key", name, str(uuid.uuid4()), check=False).returncode == 1
    service.run("client", "remove-key", name, added["keyId"])
    assert listed() == [] and sign_in(service, assertion(service, made["clientId"], key, "ES512")).status_code == 401
    events = service.sql(
        "SELECT kind FROM org_contoso.security_event WHERE kind LIKE 'client key%%' AND details LIKE %s ORDER BY security_event_id",
        [f"{name}%"])
    assert events == [("client key added",), ("client key removed",)]
    assert added["fingerprint"] in service.sql(
        "SELECT details FROM org_contoso.security_event WHERE kind = 'client key added' AND details LIKE %s", [f"{name}%"])[0][0]
    for number in range(10):
        service.run("client", "add-key", name, file(pem(ec.generate_private_key(ec.SECP256R1()))))
    assert "10 keys at most" in service.run("client", "add-key", name, file(pem(RSA)), check=False).stderr
    # Disabling a client disables its keys.
    last = ec.generate_private_key(ec.SECP256R1())
    other = service.json("client", "add", f"{name} 2", "--role", "Basic User", "--public-key", file(pem(last)))["clientId"]
    assert sign_in(service, assertion(service, other, last, "ES256")).status_code == 200
    service.run("client", "disable", other)
    assert sign_in(service, assertion(service, other, last, "ES256")).status_code == 401


def test_a_key_that_sql_adds_or_changes_or_puts_back_proves_nothing(service, tmp_path):
    file = tmp_path / "key.pem"
    mine, theirs = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    file.write_text(pem(mine))
    client = service.json("client", "add", f"sql {uuid.uuid4()}", "--role", "System Administrator", "--public-key", str(file))["clientId"]
    victim = service.json("client", "add", f"victim {uuid.uuid4()}", "--role", "System Administrator")["clientId"]
    assert sign_in(service, assertion(service, client, mine, "ES256")).status_code == 200
    der = theirs.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    (id,) = service.sql("SELECT key_id FROM config.api_client_key WHERE client_id = %s", [client])[0]
    service.sql(
        """INSERT INTO config.api_client_key (key_id, client_id, public_key, tag, created_by)
           SELECT gen_random_uuid(), %s, %s, tag, created_by FROM config.api_client_key WHERE key_id = %s""", [victim, der, id])
    assert sign_in(service, assertion(service, victim, theirs, "ES256")).status_code == 401
    # SQL moves a key to another client.
    service.sql("UPDATE config.api_client_key SET client_id = %s WHERE key_id = %s", [victim, id])
    assert sign_in(service, assertion(service, victim, mine, "ES256")).status_code == 401
    service.sql("UPDATE config.api_client_key SET client_id = %s WHERE key_id = %s", [client, id])
    assert sign_in(service, assertion(service, client, mine, "ES256")).status_code == 200
    service.sql("UPDATE config.api_client_key SET expires_on = now() + interval '1 day' WHERE key_id = %s", [id])
    assert sign_in(service, assertion(service, client, mine, "ES256")).status_code == 401
    assert "client-key-not-made-here" in service.run("doctor", "--json", check=False).stdout
    service.sql("UPDATE config.api_client_key SET expires_on = NULL WHERE key_id = %s", [id])
    # SQL restores a removed key with its former tag.
    columns = "key_id, client_id, public_key, expires_on, tag, created_on, created_by"
    row = service.sql(f"SELECT {columns} FROM config.api_client_key WHERE key_id = %s", [id])[0]
    service.run("client", "remove-key", client, str(id))
    service.sql(f"INSERT INTO config.api_client_key ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
    assert sign_in(service, assertion(service, client, mine, "ES256")).status_code == 401
    assert not [k for c in service.json("client", "list") if c["clientId"] == client for k in c["keys"] if k["honoured"]]
    # SQL deletes the row before the key is removed, and restores it afterwards.
    service.sql("DELETE FROM config.api_client_key WHERE key_id = %s", [id])
    service.run("client", "add-key", client, str(file))
    row = service.sql(f"DELETE FROM config.api_client_key WHERE client_id = %s AND key_id <> %s RETURNING {columns}", [client, id])[0]
    service.run("client", "remove-key", client, str(row[0]))
    service.sql(f"INSERT INTO config.api_client_key ({columns}) VALUES (%s, %s, %s, %s, %s, %s, %s)", row)
    assert sign_in(service, assertion(service, client, mine, "ES256")).status_code == 401
    service.sql("DELETE FROM config.api_client_key WHERE client_id IN (%s, %s)", [client, victim])


def test_the_service_can_not_forget_an_assertion_that_is_still_good(service, assertor):
    once = assertion(service, assertor)
    assert sign_in(service, once).status_code == 200
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET ROLE fieldseal_service")
        for statement in ("DELETE FROM config.used_assertion", "UPDATE config.used_assertion SET expires_on = now()",
                          "TRUNCATE config.used_assertion", "UPDATE config.api_client_key SET expires_on = NULL"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        connection.execute("SELECT config.forget_used_assertions()")
    assert sign_in(service, once).status_code == 401


# Revoking a token


def test_a_token_that_was_revoked_is_refused(service):
    known, other = service.dev["clients"]["admin"], service.dev["clients"]["user"]

    def fresh(client):
        return service.token_response(client["clientId"], client["clientSecret"]).json()["access_token"]

    def revoke(client, **form):
        return post(service, "oauth2/v2.0/revoke", {"client_id": client["clientId"], "client_secret": client["clientSecret"], **form})

    token, kept = fresh(known), fresh(known)
    assert whoami(service, token)
    answer = revoke(other, token=token)
    assert (answer.status_code, answer.json()["error"]) == (400, "unauthorized_client")
    answer = revoke({**known, "clientSecret": "wrong"}, token=token)
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")
    assert whoami(service, token)
    for _ in range(2):
        assert revoke(known, token=token, token_type_hint="refresh_token").status_code == 200
        message = refused(service.get("WhoAmI", token=token), 401, "0x80048405")
        assert "revoked" in message
    # Changes the token's signature into the other valid one (ECDSA accepts both s and n - s). The token is still revoked.
    head, tail = token.rsplit(".", 1)
    raw = base64.urlsafe_b64decode(tail + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    twin = raw[:32] + (order - int.from_bytes(raw[32:], "big")).to_bytes(32, "big")
    refused(service.get("WhoAmI", token=f"{head}.{base64.urlsafe_b64encode(twin).decode().rstrip('=')}"), 401, "0x80048405")
    assert whoami(service, kept)
    # Revoking an unknown token succeeds. A request without a token fails.
    assert revoke(known, token="nonsense").status_code == 200
    assert revoke(known).json()["error"] == "invalid_request"
    assert service.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'token revoked' AND actor = %s",
                       [f"client:{known['clientId']}"])[0][0] >= 1
    # The service accepts every percent-encoding of a parameter.
    assert post(service, "oauth2/revoke", urllib.parse.urlencode(
        {"client_id": known["clientId"], "client_secret": known["clientSecret"], "token": kept}),
        headers={"Content-Type": "application/x-www-form-urlencoded"}).status_code == 200
    refused(service.get("WhoAmI", token=kept), 401, "0x80048405")
