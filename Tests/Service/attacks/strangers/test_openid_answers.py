"""Responses of an OpenID provider to a sign-in at the console. The service refuses an id token for another sign-in, another program or another time."""

import base64
import html
import http.server
import json
import re
import ssl
import subprocess
import threading
import time

import pytest
import requests
from attested import Attestor
from joserfc import jwt
from joserfc.jwk import RSAKey
from service import PATIENCE, Deployment


class Issuer:
    """An OpenID provider over TLS. For each code, it returns the id token that the test set last."""

    def __init__(self, folder):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "tls.key", "-out",
             folder / "tls.crt", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True)
        self.authority = str(folder / "tls.crt")
        self.key = RSAKey.generate_key(2048, parameters={"kid": "only", "use": "sig", "alg": "RS256"})
        self.id_token, issuer = "", self

        class Handler(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def answer(self):
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                body = json.dumps(issuer.answers().get(self.path.split("?")[0], {})).encode()
                self.send_response(200)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_GET = do_POST = answer

            def log_message(self, *arguments):
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self.server.socket = context.wrap_socket(self.server.socket, server_side=True)
        self.url = self.calls_itself = f"https://localhost:{self.server.server_address[1]}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def answers(self):
        return {
            "/.well-known/openid-configuration": {
                "issuer": self.calls_itself, "authorization_endpoint": f"{self.url}/authorize", "token_endpoint": f"{self.url}/token",
                "jwks_uri": f"{self.url}/keys"},
            "/keys": {"keys": [self.key.as_dict(private=False)]},
            "/token": {"access_token": "x", "token_type": "Bearer", "id_token": self.id_token},
        }

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def sign(self, key=None, **claims):
        now = int(time.time())
        payload = {"iss": self.url, "sub": "ada", "aud": "fieldseal", "iat": now, "exp": now + 300, "auth_time": now, **claims}
        self.id_token = jwt.encode({"alg": "RS256", "kid": "only"}, {k: v for k, v in payload.items() if v is not None}, key or self.key)


@pytest.fixture(scope="module")
def issuer(tmp_path_factory):
    issuer = Issuer(tmp_path_factory.mktemp("issuer"))
    yield issuer
    issuer.close()


@pytest.fixture(scope="module")
def trusting(issuer):
    with Deployment.made(FIELDSEAL_ISSUERS_AUTHORITY_FILE=issuer.authority) as deployment:
        deployment.pages = f"{deployment.base}/contoso"
        deployment.run("issuer", "add", "Elsewhere", "--issuer", issuer.url, "--client-id", "fieldseal", stdin="a secret\n")
        deployment.run("issuer", "link", "Elsewhere", "ada", "--user", "admin")
        yield deployment


class Attempt:
    """A sign-in that one browser has begun at the console. Each attempt is a new browser."""

    def __init__(self, deployment, fresh=False):
        self.pages, self.session = deployment.pages, requests.Session()
        self.session.verify, self.session.trust_env = deployment.dev["caFile"], False
        self.session.headers.update({"Accept-Language": "en"})
        page = self.session.get(f"{self.pages}/sign-in", timeout=PATIENCE).text
        link = re.search(r'href="(/contoso/sign-in/with/[^"]+)">[^<]*Elsewhere', page)[1].replace("&amp;", "&")
        self.begun = self.session.get(f"{deployment.base}{link}{'&fresh=1' if fresh else ''}", allow_redirects=False, timeout=PATIENCE)
        self.asked = dict(re.findall(r"[?&]([^=]+)=([^&]*)", self.begun.headers.get("Location", "")))

    @property
    def cookie(self):
        return re.search(r"__Host-fieldseal-attempt=([^;]+)", self.begun.headers["Set-Cookie"])[1]

    def finish(self, state=None, cookie=None):
        """Sends the browser from the provider back to the console. Returns the response and the secret of the new session, or None."""
        answer = requests.get(
            f"{self.pages}/sign-in/back", {"state": state or self.asked["state"], "code": "x"}, verify=self.session.verify, timeout=PATIENCE,
            allow_redirects=False, headers={"Cookie": f"__Host-fieldseal-attempt={cookie or self.cookie}", "Accept-Language": "en"})
        secret = re.search(r"__Host-fieldseal=([\w-]{43});", answer.headers.get("Set-Cookie", ""))
        return answer, secret and secret[1]


def test_an_id_token_is_for_one_sign_in_and_one_program(trusting, issuer):
    stranger = RSAKey.generate_key(2048, parameters={"kid": "only"})
    now = int(time.time())
    another = Attempt(trusting).asked["nonce"]
    good = [{}, {"aud": ["fieldseal"]}, {"aud": ["fieldseal", "another"], "azp": "fieldseal"}]
    bad = [
        {"nonce": another}, {"nonce": None}, {"nonce": ""},
        {"aud": ["fieldseal", "another"]}, {"aud": ["fieldseal", "another"], "azp": "another"}, {"aud": "another"}, {"aud": []},
        {"iss": "https://evil.test"}, {"exp": now - 120}, {"nbf": now + 300}, {"sub": "stranger"}, {"sub": None}, {"key": stranger},
    ]
    for claims in good + bad:
        attempt = Attempt(trusting)
        issuer.sign(**{"nonce": attempt.asked["nonce"], **claims})
        answer, secret = attempt.finish()
        assert (answer.status_code, secret is not None) == ((200, True) if claims in good else (403, False)), (claims, answer.text)


def test_an_attempt_is_good_for_ten_minutes(trusting, issuer):
    """The cookie of an older attempt, computed as the service would have computed it."""
    attestor = Attestor(trusting)
    [(organization,)] = trusting.sql("SELECT organization_id FROM config.organization WHERE name = 'contoso'")

    def derived(label, cookie):
        return base64.urlsafe_b64encode(attestor.tag(f"oidc {label}", [cookie.encode(), organization.bytes])).rstrip(b"=").decode()

    for age, status in ((0, 200), (500, 200), (700, 403), (86_400, 403)):
        attempt = Attempt(trusting)
        token, id, begun, rest = attempt.cookie.split(".", 3)
        cookie = f"{token}.{id}.{int(begun) - age}.{rest}"
        issuer.sign(nonce=derived("nonce", cookie))
        answer, secret = attempt.finish(derived("state", cookie), cookie)
        assert (answer.status_code, secret is not None) == (status, status == 200), (age, answer.text)


def test_a_person_proves_herself_anew_where_that_is_asked_for(trusting, issuer):
    now = int(time.time())
    for fresh, moment, status in ((True, now, 200), (True, now - 3_600, 403), (True, None, 403), (False, now - 3_600, 200), (False, None, 200)):
        attempt = Attempt(trusting, fresh)
        assert ("prompt" in attempt.asked) == fresh
        issuer.sign(nonce=attempt.asked["nonce"], auth_time=moment)
        answer, secret = attempt.finish()
        assert answer.status_code == status, (fresh, moment, answer.text)
        if not secret or fresh:
            continue
        # The person signed in at the provider long ago, so they have to sign in there again before the key is shown.
        headers = {"Cookie": f"__Host-fieldseal={secret}", "Origin": trusting.base, "Accept-Language": "en"}
        page = requests.get(f"{trusting.pages}/settings/data-encryption", headers=headers, verify=trusting.dev["caFile"], timeout=PATIENCE)
        csrf = re.search(r'name="csrf" value="(\w+)"', page.text)[1]
        asked = requests.post(
            f"{trusting.pages}/settings/data-encryption/key", {"csrf": csrf}, headers=headers, verify=trusting.dev["caFile"], timeout=PATIENCE,
            allow_redirects=False)
        assert asked.status_code == 303
        key = requests.get(f"{trusting.base}{asked.headers['Location']}", headers=headers, verify=trusting.dev["caFile"], timeout=PATIENCE)
        assert "Confirm it's you" in html.unescape(key.text), key.text
        assert trusting.key() not in key.text


def test_an_issuer_that_says_it_is_another_is_not_believed(issuer, tmp_path):
    deployment = Deployment(FIELDSEAL_ISSUERS_AUTHORITY_FILE=issuer.authority)
    try:
        deployment.start()
        deployment.pages = f"{deployment.base}/contoso"
        deployment.run("issuer", "add", "Elsewhere", "--issuer", issuer.url, "--client-id", "fieldseal", stdin="a secret\n")
        issuer.calls_itself = "https://another.test"
        refused = Attempt(deployment)
        assert refused.begun.status_code >= 500 and "Location" not in refused.begun.headers and "another.test" in refused.begun.text
    finally:
        issuer.calls_itself = issuer.url
        deployment.remove()
