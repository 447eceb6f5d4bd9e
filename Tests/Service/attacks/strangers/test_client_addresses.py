"""Which address the service takes for the client's: from X-Forwarded-For and X-Forwarded-Proto of trusted proxies only, and from the PROXY protocol."""

import base64
import json
import select
import socket
import ssl
import string
import struct
import subprocess
import time
import urllib.parse

import psycopg
import pytest
import requests
from requests.adapters import HTTPAdapter
from service import PATIENCE, PROGRAM, Deployment, refused

#: The address of the trusted proxy, and an address that is not a trusted proxy.
PROXY, OTHER = "127.0.0.9", "127.0.0.5"


@pytest.fixture(scope="module")
def proxied():
    with Deployment.made(FIELDSEAL_TRUSTED_PROXIES=f"{PROXY},10.0.0.0/8,2001:db8:ffff::/48") as deployment:
        yield deployment


class From(HTTPAdapter):
    """Sends requests from the source address `address`."""

    def __init__(self, address):
        self.address = address
        super().__init__()

    def init_poolmanager(self, *arguments, **options):
        super().init_poolmanager(*arguments, source_address=(self.address, 0), **options)


def session(deployment, source):
    session = requests.Session()
    session.verify, session.trust_env = deployment.dev["caFile"], False
    session.mount("https://", From(source))
    session.mount("http://", From(source))
    return session


def ask_token(deployment, source, forwarded, client=None, secret=None):
    """Requests a token from the source address `source`. Sends each value of X-Forwarded-For in a separate header line. Returns the status."""
    known = deployment.dev["clients"]["admin"]
    body = urllib.parse.urlencode({
        "grant_type": "client_credentials", "client_id": client or known["clientId"], "client_secret": secret or known["clientSecret"]})
    context = ssl.create_default_context(cafile=deployment.dev["caFile"])
    raw = socket.create_connection(
        ("127.0.0.1", int(deployment.base.rsplit(":", 1)[1])), timeout=PATIENCE, source_address=(source, 0))
    with context.wrap_socket(raw, server_hostname="localhost") as connection:
        fields = "".join(f"X-Forwarded-For: {value}\r\n" for value in forwarded)
        connection.sendall(
            f"POST /contoso/oauth2/v2.0/token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{fields}"
            f"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode())
        return int(connection.recv(65536).split()[1])


def newest_address(deployment):
    return deployment.sql(
        "SELECT address FROM org_contoso.security_event WHERE kind = 'signed in' AND address <> '127.0.0.1' ORDER BY security_event_id DESC LIMIT 1")[0][0]


@pytest.mark.parametrize("forwarded, expected", [
    (["203.0.113.7"], "203.0.113.7"),
    # The addresses of proxies are at the right end. A client can only write values to the left of them.
    (["198.51.100.1, 203.0.113.7"], "203.0.113.7"),
    (["198.51.100.1", "203.0.113.7"], "203.0.113.7"),
    (["203.0.113.7,10.1.2.3 , 127.0.0.9"], "203.0.113.7"),
    (["203.0.113.7", "10.1.2.3"], "203.0.113.7"),
    (["10.1.2.3"], "10.1.2.3"),
    (["203.0.113.7:4711"], "203.0.113.7"),
    (["2001:db8::7"], "2001:db8::7"),
    (["[2001:DB8:0:0::7]:443"], "2001:db8::7"),
    (["2001:db8::7, 2001:db8:ffff::1"], "2001:db8::7"),
    (["::ffff:203.0.113.7"], "203.0.113.7"),
    # The search from the right ends at a text that is not an address. The last proxy before it counts as the client.
    (["203.0.113.7, nonsense"], PROXY),
    (["203.0.113.7, "], PROXY),
    (["203.0.113.7, unknown, 10.1.2.3"], "10.1.2.3"),
    (["203.0.113.256"], PROXY),
    (["[2001:db8::7"], PROXY),
    (["203.0.113.7:99999"], PROXY),
    (["203.0.113.7, " + "10.1.2.3, " * 60 + "10.1.2.3"], "10.1.2.3"),
    ([], PROXY),
])
def test_the_address_that_a_trusted_proxy_forwards(proxied, forwarded, expected):
    assert ask_token(proxied, PROXY, forwarded) == 200
    assert newest_address(proxied) == expected


@pytest.mark.parametrize("forwarded", [["203.0.113.7"], ["203.0.113.7, 127.0.0.9"], ["127.0.0.9", "10.1.2.3"]])
def test_what_others_forward_is_not_looked_at(proxied, service, forwarded):
    assert ask_token(proxied, OTHER, forwarded) == 200
    assert newest_address(proxied) == OTHER
    # If the settings name no trusted proxy, the server ignores the header.
    assert ask_token(service, PROXY, forwarded) == 200
    assert newest_address(service) == PROXY


def test_lockouts_go_by_the_forwarded_address(proxied):
    client = proxied.json("client", "add", "behind a proxy", "--role", "Basic User")
    id, secret = client["clientId"], client["clientSecret"]
    for _ in range(10):
        assert ask_token(proxied, PROXY, ["203.0.113.50"], id, "wrong") == 401
    assert ask_token(proxied, PROXY, ["203.0.113.50"], id, secret) == 429
    # From another address behind the proxy, the client can sign in. From the locked address, another client can sign in.
    assert ask_token(proxied, PROXY, ["203.0.113.51"], id, secret) == 200
    assert ask_token(proxied, PROXY, ["203.0.113.50"]) == 200
    # A source that is not a trusted proxy stays locked out, although it writes another address into the header.
    for _ in range(10):
        assert ask_token(proxied, OTHER, [], id, "wrong") == 401
    assert ask_token(proxied, OTHER, ["203.0.113.52"], id, secret) == 429


def test_addresses_of_one_ipv6_network_are_one(proxied):
    client = proxied.json("client", "add", "of a network", "--role", "Basic User")
    id, secret = client["clientId"], client["clientSecret"]
    for number in range(10):
        assert ask_token(proxied, PROXY, [f"2001:db8:1:1::{number + 1}"], id, "wrong") == 401
    assert ask_token(proxied, PROXY, ["2001:db8:1:1:ffff::1"], id, secret) == 429
    assert ask_token(proxied, PROXY, ["2001:db8:1:2::1"], id, secret) == 200


def test_the_log_has_the_address_and_who_asked(proxied):
    answer = session(proxied, PROXY).get(
        f"{proxied.api}/WhoAmI", headers={"Authorization": f"Bearer {proxied.token()}", "X-Forwarded-For": "203.0.113.77"}, timeout=PATIENCE)
    refusal = session(proxied, OTHER).get(f"{proxied.api}/WhoAmI", timeout=PATIENCE)
    lines = [json.loads(line) for line in proxied.log().splitlines() if line.startswith(b"{")]
    named = {line.get("request_id"): line for line in lines}
    line = named[answer.headers["x-ms-service-request-id"]]
    assert line["address"] == "203.0.113.77" and line["actor"].startswith("client:")
    line = named[refusal.headers["x-ms-service-request-id"]]
    assert line["address"] == OTHER and line["actor"] == ""


# The listener without TLS


def plain(deployment, source, path, headers={}, **options):
    return session(deployment, source).request(
        options.pop("method", "GET"), f"{deployment.dev['httpURL']}/contoso/{path}", headers=headers, allow_redirects=False, timeout=PATIENCE, **options)


def test_what_a_trusted_proxy_received_over_tls_is_served(proxied):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "203.0.113.90"}
    known = proxied.dev["clients"]["admin"]
    form = {"grant_type": "client_credentials", "client_id": known["clientId"], "client_secret": known["clientSecret"]}
    answer = plain(proxied, PROXY, "oauth2/v2.0/token", headers, method="POST", data=form)
    assert answer.status_code == 200 and newest_address(proxied) == "203.0.113.90"
    bearer = {"Authorization": f"Bearer {answer.json()['access_token']}"}
    assert plain(proxied, PROXY, "api/data/v9.2/WhoAmI", {**headers, **bearer}).status_code == 200
    assert proxied.get("WhoAmI", token=answer.json()["access_token"]).status_code == 200


@pytest.mark.parametrize("source, proto", [
    (OTHER, "https"), (PROXY, "http"), (PROXY, "https, https"), (PROXY, "https,http"), (PROXY, "HTTPS"), (PROXY, "")])
def test_nothing_else_is_served_without_tls(proxied, source, proto):
    token = proxied.token_response(*proxied.dev["clients"]["user"].values()).json()["access_token"]
    answer = plain(proxied, source, "api/data/v9.2/WhoAmI", {"X-Forwarded-Proto": proto, "Authorization": f"Bearer {token}"})
    refused(answer, 403, "0x8004852C")
    # The token was sent without encryption, so all servers refuse it from now on.
    assert "without encryption" in refused(proxied.get("WhoAmI", token=token), 401, "0x80048405")


@pytest.mark.parametrize("path", ["/", "/readyz", "/api/discovery/v2.0/Instances", "/XRMServices/2011/Discovery.svc/web", "/CONTOSO/api/data/v9.2/WhoAmI", "/nope/x"])
def test_its_token_is_refused_at_every_address(service, path):
    token = service.token_response(*service.dev["clients"]["user"].values()).json()["access_token"]
    address = service.dev["httpURL"] + path
    session(service, OTHER).request("GET", address, headers={"Authorization": f"Bearer {token}"}, allow_redirects=False, timeout=PATIENCE)
    assert "without encryption" in refused(service.get("WhoAmI", token=token), 401, "0x80048405")


def test_a_token_that_was_sent_without_encryption_is_recorded_and_refused(service):
    known = service.dev["clients"]["user"]
    token, other = (service.token_response(known["clientId"], known["clientSecret"]).json()["access_token"] for _ in range(2))
    count = "SELECT count(*) FROM org_contoso.security_event WHERE kind = 'token sent without encryption' AND actor = 'client:' || %s"
    before = service.sql(count, [known["clientId"]])[0][0]
    for _ in range(3):
        refused(plain(service, OTHER, "api/data/v9.2/WhoAmI", {"Authorization": f"Bearer {token}"}), 403, "0x8004852C")
    assert service.sql(count, [known["clientId"]])[0][0] == before + 1
    refused(service.get("WhoAmI", token=token), 401, "0x80048405")
    # The client's other token is still valid. A text that is not a token is not stored.
    rows = service.sql("SELECT count(*) FROM config.exposed_token")
    for nonsense in ("nonsense", token[:-4] + "AAAA", "a.b.c"):
        refused(plain(service, OTHER, "api/data/v9.2/WhoAmI", {"Authorization": f"Bearer {nonsense}"}), 403, "0x8004852C")
    assert service.sql("SELECT count(*) FROM config.exposed_token") == rows
    assert service.get("WhoAmI", token=other).status_code == 200


def other_forms(token):
    """The token with other texts of its signature that are also valid: (r, n - s), and other unused bits at the end of base64url."""
    signed, signature = token.rsplit(".", 1)
    r, s = (int.from_bytes(part, "big") for part in (base64.urlsafe_b64decode(f"{signature}==")[:32], base64.urlsafe_b64decode(f"{signature}==")[32:]))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    mirrored = base64.urlsafe_b64encode(r.to_bytes(32, "big") + (order - s).to_bytes(32, "big")).decode().rstrip("=")
    alphabet = string.ascii_uppercase + string.ascii_lowercase + string.digits + "-_"
    last = alphabet.index(signature[-1])
    return [f"{signed}.{mirrored}"] + [f"{signed}.{signature[:-1]}{alphabet[last + bits]}" for bits in (1, 15)]


def test_an_exposed_token_is_refused_in_every_form_of_its_signature(service):
    known = service.dev["clients"]["user"]
    token, other = (service.token_response(known["clientId"], known["clientSecret"]).json()["access_token"] for _ in range(2))
    # The first form of a token that was not exposed is accepted. Otherwise this test would prove nothing.
    assert service.get("WhoAmI", token=other_forms(other)[0]).status_code == 200
    refused(plain(service, OTHER, "api/data/v9.2/WhoAmI", {"Authorization": f"Bearer {token}"}), 403, "0x8004852C")
    for form in [token, *other_forms(token)]:
        assert "without encryption" in refused(service.get("WhoAmI", token=form), 401, "0x80048405")
    # If one form of a token was exposed, the server refuses the token itself.
    refused(plain(service, OTHER, "api/data/v9.2/WhoAmI", {"Authorization": f"Bearer {other_forms(other)[0]}"}), 403, "0x8004852C")
    assert "without encryption" in refused(service.get("WhoAmI", token=other), 401, "0x80048405")


def test_an_exposed_token_is_refused_after_a_restart_and_the_service_cannot_take_that_back(own_service):
    known = own_service.dev["clients"]["user"]
    token = own_service.token_response(known["clientId"], known["clientSecret"]).json()["access_token"]
    plain(own_service, OTHER, "api/data/v9.2/WhoAmI", {"Authorization": f"Bearer {token}"})
    with psycopg.connect(own_service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET ROLE fieldseal_service")
        for statement in ("DELETE FROM config.exposed_token", "UPDATE config.exposed_token SET expires_on = now()", "TRUNCATE config.exposed_token"):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(statement)
        connection.execute("SELECT config.forget_exposed_tokens()")
    own_service.stop()
    own_service.start()
    refused(own_service.get("WhoAmI", token=token), 401, "0x80048405")


# The PROXY protocol


class Balanced:
    """The service with `https.proxyProtocol`, on the database of a stopped development deployment."""

    def __init__(self):
        self.deployment = Deployment().start()
        self.dev = self.deployment.dev
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.log = open(self.deployment.home / "balanced.log", "ab")
        self.process = subprocess.Popen(
            [PROGRAM, "serve"], stdin=subprocess.DEVNULL, stdout=self.log, stderr=self.log, env={
                **self.deployment.environment, "FIELDSEAL_HTTPS_PORT": str(self.port), "FIELDSEAL_HTTP_PORT": "0", "FIELDSEAL_HTTPS_PROXY_PROTOCOL": "true",
                "FIELDSEAL_TRUSTED_PROXIES": PROXY, "FIELDSEAL_LIMITS_HEAD_SECONDS": "3", "FIELDSEAL_BASE_URL": self.dev["baseURL"],
                "FIELDSEAL_LIMITS_ADDRESS_CONNECTIONS": "16"})
        end = time.monotonic() + PATIENCE
        while True:
            try:
                if self.request(b"PROXY UNKNOWN\r\n").startswith(b"HTTP/1.1 200"):
                    break
            except OSError:
                pass
            assert self.process.poll() is None and time.monotonic() < end, "the service does not start"

    def connect(self, source=PROXY):
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE, source_address=(source, 0))

    def request(self, header, source=PROXY, path="/healthz", head="", body="", method="GET"):
        """Sends a header of the PROXY protocol and then a request over TLS. Returns the response, or an empty one if the server closed the connection."""
        context = ssl.create_default_context(cafile=self.dev["caFile"])
        raw = self.connect(source)
        try:
            raw.sendall(header)
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                connection.sendall(
                    f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n{head}Content-Length: {len(body)}\r\n\r\n{body}".encode())
                return connection.recv(65536)
        except (ssl.SSLError, ConnectionError):
            return b""
        finally:
            raw.close()

    def sign_in(self, header, **options):
        known = self.dev["clients"]["admin"]
        body = urllib.parse.urlencode(
            {"grant_type": "client_credentials", "client_id": known["clientId"], "client_secret": known["clientSecret"]})
        head = "Content-Type: application/x-www-form-urlencoded\r\n" + options.pop("head", "")
        answer = self.request(header, path="/contoso/oauth2/v2.0/token", head=head, body=body, method="POST", **options)
        return newest_address(self.deployment) if answer.startswith(b"HTTP/1.1 200") else None

    def remove(self):
        self.process.terminate()
        self.process.wait(60)
        self.deployment.remove()


@pytest.fixture(scope="module")
def balanced():
    balanced = Balanced()
    try:
        yield balanced
    finally:
        balanced.remove()


def binary(command=1, family=0x11, body=None, version=2):
    if body is None:
        body = socket.inet_aton("203.0.113.20") + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 4711, 443)
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([version << 4 | command, family]) + struct.pack(">H", len(body)) + body


IPV6 = socket.inet_pton(socket.AF_INET6, "2001:db8::20") + socket.inet_pton(socket.AF_INET6, "2001:db8::1") + struct.pack(">HH", 4711, 443)


@pytest.mark.parametrize("header, expected", [
    (b"PROXY TCP4 203.0.113.20 192.0.2.1 4711 443\r\n", "203.0.113.20"),
    (b"PROXY TCP6 2001:db8::20 2001:db8::1 4711 443\r\n", "2001:db8::20"),
    (b"PROXY TCP6 ::ffff:203.0.113.20 ::ffff:192.0.2.1 4711 443\r\n", "203.0.113.20"),
    (b"PROXY UNKNOWN\r\n", PROXY),
    (b"PROXY UNKNOWN 1.2.3.4 5.6.7.8 1 2\r\n", PROXY),
    (binary(), "203.0.113.20"),
    (binary(family=0x21, body=IPV6), "2001:db8::20"),
    # A header with an extension after the addresses, one for a health check (LOCAL), and one of an unknown family.
    (binary(body=binary()[16:] + b"\x04\0\x03abc"), "203.0.113.20"),
    (binary(command=0), PROXY),
    (binary(family=0), PROXY),
])
def test_the_address_that_the_proxy_protocol_tells(balanced, header, expected):
    assert balanced.sign_in(header) == expected


def test_a_header_in_several_parts_and_forwarded_addresses_behind_it(balanced):
    context = ssl.create_default_context(cafile=balanced.dev["caFile"])
    for header in (b"PROXY TCP4 203.0.113.21 192.0.2.1 4711 443\r\n", binary()):
        with balanced.connect() as raw:
            for byte in header:
                raw.sendall(bytes([byte]))
            with context.wrap_socket(raw, server_hostname="localhost") as connection:
                connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert connection.recv(12) == b"HTTP/1.1 200"
    # The client is not a trusted proxy, so the server ignores its X-Forwarded-For.
    assert balanced.sign_in(b"PROXY TCP4 203.0.113.21 192.0.2.1 1 443\r\n", head="X-Forwarded-For: 198.51.100.1\r\n") == "203.0.113.21"
    # The client is a trusted proxy, so the server takes the address from its X-Forwarded-For.
    assert balanced.sign_in(f"PROXY TCP4 {PROXY} 192.0.2.1 1 443\r\n".encode(), head="X-Forwarded-For: 198.51.100.1\r\n") == "198.51.100.1"


@pytest.mark.parametrize("header", [
    b"", b"GET / HTTP/1.1\r\n", b"PROXY\r\n", b"PROXY TCP4 203.0.113.20\r\n", b"PROXY TCP4 203.0.113.20 192.0.2.1 4711 443\n",
    b"PROXY TCP4 2001:db8::20 2001:db8::1 4711 443\r\n", b"PROXY TCP4 203.0.113.999 192.0.2.1 4711 443\r\n", b"PROXY TCP4 203.0.113.20 192.0.2.1 99999 443\r\n",
    b"PROXY TCP4  203.0.113.20 192.0.2.1 4711 443\r\n", b"PROXY TCP4 203.0.113.20 192.0.2.1 4711 443" + b" " * 200 + b"\r\n", b"proxy UNKNOWN\r\n",
    b"PROXY TCP4 203.0.113.20\x00 192.0.2.1 4711 443\r\n", binary(version=1), binary(command=2), binary(family=0x31, body=bytes(216)), binary(body=b"\x01\x02\x03"),
    binary(family=0x21), binary(body=bytes(3_000)),
])
def test_a_malformed_header_closes_the_connection(balanced, header):
    assert balanced.request(header) == b""
    assert balanced.request(b"PROXY UNKNOWN\r\n").startswith(b"HTTP/1.1 200")


def test_a_malformed_header_is_not_waited_on(balanced):
    """The server closes the connection with the malformed header at once. An earlier connection with an incomplete header stays open until its deadline."""
    for header in (b"GET / HTTP/1.1\r\n", binary(version=1)):
        with balanced.connect() as earlier, balanced.connect() as malformed:
            earlier.sendall(b"PROXY TCP4 203.")
            malformed.sendall(header)
            assert malformed.recv(1) == b""
            assert select.select([earlier], [], [], 0)[0] == []


def test_only_trusted_proxies_may_use_the_listener(balanced):
    for header in (b"PROXY UNKNOWN\r\n", b"PROXY TCP4 127.0.0.9 192.0.2.1 1 443\r\n", b""):
        assert balanced.request(header, source=OTHER) == b""


def test_a_header_has_the_deadline_of_the_handshake(balanced):
    for begun in (b"", b"PROXY TCP4 203.", binary()[:20]):
        with balanced.connect() as raw:
            raw.sendall(begun)
            assert raw.recv(1) == b""


def test_the_share_of_an_address_counts_behind_a_balancer(balanced):
    context = ssl.create_default_context(cafile=balanced.dev["caFile"])
    connections = []
    try:
        for _ in range(16):
            raw = balanced.connect()
            raw.sendall(b"PROXY TCP4 203.0.113.30 192.0.2.1 4711 443\r\n")
            connections.append(context.wrap_socket(raw, server_hostname="localhost"))
        assert balanced.request(b"PROXY TCP4 203.0.113.30 192.0.2.1 4711 443\r\n") == b""
        assert balanced.request(b"PROXY TCP4 203.0.113.31 192.0.2.1 4711 443\r\n").startswith(b"HTTP/1.1 200")
    finally:
        for connection in connections:
            connection.close()


def test_settings_that_make_no_sense_are_refused(service):
    for environment, says in [
        ({"FIELDSEAL_TRUSTED_PROXIES": "10.0.0.0/8,nonsense"}, "nonsense"), ({"FIELDSEAL_TRUSTED_PROXIES": "10.0.0.0/33"}, "10.0.0.0/33"),
        ({"FIELDSEAL_HTTPS_PROXY_PROTOCOL": "true"}, "trustedProxies"),
    ]:
        result = service.run("config", "check", check=False, **environment)
        assert result.returncode != 0 and says in result.stderr, result
    shown = service.json("config", "check", FIELDSEAL_TRUSTED_PROXIES="10.0.0.0/8, 2001:db8::/32")["settings"]
    assert shown["trustedProxies"] == ["10.0.0.0/8", "2001:db8::/32"]


@pytest.mark.parametrize("form, words", [("a=1&" * 16_000, "50 parameters"), ("a=" + "%41" * 30_000, "64 KiB"), ("&" * 50, "50 parameters")])
def test_a_form_without_an_account_is_small(service, form, words):
    for path in ("token", "revoke"):
        answer = requests.post(f"{service.base}/contoso/oauth2/v2.0/{path}", data=form, headers={"Content-Type": "application/x-www-form-urlencoded"},
                               verify=service.dev["caFile"], timeout=PATIENCE)
        assert answer.status_code == 400 and answer.json()["error"] == "invalid_request" and words in answer.text, answer.text


def test_counts_that_sql_wrote_below_zero_do_not_lift_the_limit(own_service):
    known = own_service.dev["clients"]["user"]
    assert own_service.token_response(known["clientId"], "wrong").status_code == 401
    own_service.sql("UPDATE config.failed_sign_in SET failures = -1000000")
    assert 429 in [own_service.token_response(known["clientId"], "wrong").status_code for _ in range(13)]
