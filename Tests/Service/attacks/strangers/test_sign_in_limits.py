"""How much of the processors, connections, rows and locks sign-ins by strangers may use. Also, OpenID providers and mail authorization servers that
do not respond."""

import base64
import concurrent.futures
import contextlib
import json
import pathlib
import re
import socket
import ssl
import statistics
import subprocess
import threading
import time
import uuid

import pytest
import requests
from service import PATIENCE, Deployment
from test_client_addresses import PROXY, ask_token, session
from waiting import until


@pytest.fixture(scope="module")
def signed():
    """A deployment with four database connections and a trusted proxy, through which a test can send from many addresses."""
    with Deployment.made(FIELDSEAL_CONNECTIONS="4", FIELDSEAL_TRUSTED_PROXIES=PROXY) as deployment:
        yield deployment


def sign_in(deployment, name, password, address, timeout=PATIENCE):
    return session(deployment, PROXY).post(
        f"{deployment.base}/contoso/sign-in", {"name": name, "password": password}, timeout=timeout, allow_redirects=False,
        headers={"Origin": deployment.base, "X-Forwarded-For": address}).status_code


def rows(deployment, condition="true"):
    return deployment.sql(f"SELECT count(*) FROM config.failed_sign_in WHERE {condition}")[0][0]


@pytest.mark.alone
def test_a_flood_of_sign_ins_leaves_the_api_served(signed):
    signed.token()
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        # Each address may have few attempts at a time, so the attempts come from forty addresses.
        asked = [pool.submit(sign_in, signed, uuid.uuid4().hex, "x", f"203.0.113.{n}") for n in range(40)]
        until(lambda: any(future.done() for future in asked))
        served = 0
        while not all(future.done() for future in asked):
            assert signed.get("mailboxes?$top=3&$count=true").status_code == 200
            served += 1
        codes = [future.result() for future in asked]
    # More than ten other requests succeeded during the attempts, so they did not wait for them.
    assert served > 10 and set(codes) <= {403, 429} and 403 in codes, (served, codes)
    # The control: a person can sign in.
    person = signed.dev["console"]
    assert sign_in(signed, person["username"], person["password"], "203.0.113.99") == 303


def test_one_address_has_few_sign_ins_at_a_time(signed):
    with concurrent.futures.ThreadPoolExecutor(40) as pool:
        asked = [pool.submit(sign_in, signed, uuid.uuid4().hex, "x", "198.51.100.7") for _ in range(40)]
        # While the attempts wait, a person at another address can sign in.
        person = signed.dev["console"]
        assert sign_in(signed, person["username"], person["password"], "198.51.100.8") == 303
        assert [future.result() for future in asked].count(429) >= 20


def test_made_up_ids_and_names_leave_few_rows(signed):
    # Rows of earlier tests are deleted in the background, and the router signs in. So the test counts only new rows of this network.
    network, [(begun,)] = "192.0.2.33", signed.sql("SELECT now()::text")
    codes = {ask_token(signed, PROXY, [network], str(uuid.uuid4()), "x") for _ in range(60)}
    assert codes == {401} and rows(signed, f"first_on >= '{begun}' AND address = '{network}'") == 61
    for _ in range(25):
        sign_in(signed, uuid.uuid4().hex, "x", network)
    # Each id and each name has a count of its own, and each network has a hundred failures at most.
    assert rows(signed, f"address = '{network}'") == 86
    # After a hundred failures, the network as a whole is locked. Other networks are not.
    while ask_token(signed, PROXY, [network], str(uuid.uuid4()), "x") == 401:
        pass
    assert ask_token(signed, PROXY, [network]) == 429
    assert signed.sql("SELECT failures FROM config.failed_sign_in WHERE account = '*' AND address = %s", [network])[0][0] == 100
    assert ask_token(signed, PROXY, ["192.0.2.34"]) == 200


def test_old_failures_are_swept(signed):
    ask_token(signed, PROXY, ["192.0.2.40"], str(uuid.uuid4()), "x")
    signed.sql("UPDATE config.failed_sign_in SET last_on = now() - interval '16 minutes'")
    until(lambda: rows(signed) == 0)
    ask_token(signed, PROXY, ["192.0.2.40"], str(uuid.uuid4()), "x")
    assert rows(signed) == 1


def test_failures_are_answered_ever_later(signed):
    """After three failures, the response to the next one takes 0.1 s longer. The delay doubles with each further failure."""
    signed.sql("DELETE FROM config.failed_sign_in")
    known, begun = signed.dev["clients"]["user"], time.monotonic()
    assert {ask_token(signed, PROXY, ["192.0.2.60"], known["clientId"], "wrong") for _ in range(7)} == {401}
    assert time.monotonic() - begun > 0.1 + 0.2 + 0.4 + 0.8
    # A right secret is accepted without the pause.
    assert ask_token(signed, PROXY, ["192.0.2.60"], known["clientId"], known["clientSecret"]) == 200


def test_more_failures_than_the_table_may_have_leave_it_the_newest(signed):
    signed.sql("DELETE FROM config.failed_sign_in")
    signed.sql("INSERT INTO config.failed_sign_in (account, address, failures, first_on, last_on) "
               "SELECT 'client:' || n, '192.0.2.41', 1, now(), now() - n * interval '1 millisecond' FROM generate_series(1, 50200) AS n "
               "UNION ALL SELECT 'code:1', '*', 10, now(), now() - interval '10 minutes'")
    until(lambda: rows(signed) <= 50_002)
    # A count of wrong one-time passwords is kept, so that failures of other names can't remove it.
    assert rows(signed, "account = 'code:1'") == 1
    assert rows(signed, "account IN ('client:1', 'client:49000')") == 2 and rows(signed, "account = 'client:50200'") == 0
    signed.sql("DELETE FROM config.failed_sign_in")


def test_names_that_are_there_and_names_that_are_not_are_locked_alike(signed):
    answers = {}
    for name, address in [(signed.dev["console"]["username"], "192.0.2.50"), ("no-such-name", "192.0.2.51")]:
        signed.sql("DELETE FROM config.failed_sign_in")
        answers[name] = [sign_in(signed, name, "wrong", address) for _ in range(11)]
    assert set(map(tuple, answers.values())) == {(403,) * 10 + (429,)}
    # Only for a person who exists, a refused sign-in is recorded. So invented names fill no table of events.
    events = "SELECT count(*) FROM org_contoso.security_event WHERE outcome = 'refused' AND address = %s"
    assert signed.sql(events, ["192.0.2.50"]) == [(10,)] and signed.sql(events, ["192.0.2.51"]) == [(0,)]


def test_ids_of_clients_that_are_there_and_others_are_locked_alike(signed):
    disabled, enabled = (signed.json("client", "add", f"locked {n}", "--role", "Basic User") for n in range(2))
    signed.run("client", "disable", disabled["clientId"])
    answers = []
    for number, (id, secret) in enumerate([
            (enabled["clientId"], "wrong"), (disabled["clientId"], "wrong"), (disabled["clientId"], disabled["clientSecret"]), (str(uuid.uuid4()), "wrong")]):
        signed.sql("DELETE FROM config.failed_sign_in WHERE address NOT LIKE '127.%%'")
        visitor = session(signed, PROXY)
        found = [visitor.post(
            f"{signed.base}/contoso/oauth2/v2.0/token", form_of(id, secret), timeout=PATIENCE, headers={"X-Forwarded-For": f"192.0.2.{80 + number}"}) for _ in range(12)]
        assert {answer.status_code for answer in found[:10]} == {401} and {answer.status_code for answer in found[10:]} == {429}
        answers.append([sorted((answer.json() | {"Retry-After": "Retry-After" in answer.headers}).items()) for answer in (found[0], found[11])])
    assert all(answer == answers[0] for answer in answers), answers
    # Only the refusals of the enabled client are events, so strangers can't fill the events with ids that they invent.
    [(count,)] = signed.sql("SELECT count(*) FROM org_contoso.security_event WHERE outcome = 'refused' AND address LIKE '192.0.2.8_'")
    assert count == 10


def form_of(name, secret):
    return {"grant_type": "client_credentials", "client_id": name, "client_secret": secret}


@pytest.mark.alone
@pytest.mark.parametrize("way", ["person", "client"])
def test_a_refusal_takes_as_long_for_names_that_are_there_as_for_others(signed, way):
    """Compares the medians of alternating tries. For an unknown name no password has to be checked; without extra work, a refusal would be much faster."""
    visitor = session(signed, PROXY)
    visitor.headers["Origin"] = signed.base
    address = "sign-in" if way == "person" else "oauth2/v2.0/token"
    if way == "person":
        names, tries, factor = {"known": signed.dev["console"]["username"], "unknown": None}, 16, 3 / 2
    else:
        # The secret of a client is hashed once, so a refusal takes milliseconds, and each statement counts.
        names = {kind: signed.json("client", "add", f"timed {kind}", "--role", "Basic User")["clientId"] for kind in ("known", "disabled")} | {"unknown": None}
        signed.run("client", "disable", names["disabled"])
        tries, factor = 120, 5 / 4
    times = {kind: [] for kind in names}
    for number in range(tries):
        for kind, seconds in times.items():
            name = names[kind] or str(uuid.uuid4())
            body = {"name": name, "password": "wrong"} if way == "person" else form_of(name, "wrong")
            signed.sql("DELETE FROM config.failed_sign_in")
            begun = time.monotonic()
            answer = visitor.post(
                f"{signed.base}/contoso/{address}", body, timeout=PATIENCE, allow_redirects=False, headers={"X-Forwarded-For": f"203.0.113.{number}"})
            seconds.append(time.monotonic() - begun)
            assert answer.status_code == (403 if way == "person" else 401), answer.text
    # The first try of each kind is left out, because it made the connection or filled caches.
    medians = {kind: statistics.median(seconds[1:]) for kind, seconds in times.items()}
    assert max(medians.values()) < factor * min(medians.values()), medians


def test_attempts_from_everywhere_lock_nobody_out(signed):
    signed.sql("DELETE FROM config.failed_sign_in")
    person = signed.dev["console"]
    for network in range(6):
        for _ in range(4):
            assert sign_in(signed, person["username"], "wrong", f"198.18.{network}.1") == 403
    [(slow,)] = signed.sql("SELECT failures FROM config.failed_sign_in WHERE address = '*'")
    assert slow == 24
    assert sign_in(signed, person["username"], person["password"], "198.18.99.1") == 303
    # The successful sign-in does not delete the count of all networks.
    assert signed.sql("SELECT failures FROM config.failed_sign_in WHERE address = '*'") == [(24,)]


def test_many_attempts_at_once_are_no_more_than_the_limit(signed):
    signed.sql("DELETE FROM config.failed_sign_in")
    client = signed.json("client", "add", "at once", "--role", "Basic User")
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        codes = list(pool.map(
            lambda _: ask_token(signed, PROXY, ["192.0.2.60"], client["clientId"], "wrong"), range(40)))
    assert codes.count(401) <= 10 and set(codes) <= {401, 429}
    assert ask_token(signed, PROXY, ["192.0.2.61"], client["clientId"], client["clientSecret"]) == 200


def test_sign_in_leaves_no_lock_behind(signed):
    person = signed.dev["console"]
    sign_in(signed, person["username"], "wrong", "192.0.2.70")
    assert signed.sql("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'") == [(0,)]


def test_typing_the_password_again_and_resetting_it_hold_no_connection(signed):
    """Twelve attempts run at the same time with four connections. Other requests still get a connection."""
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        page = session(signed, PROXY)
        headers = {"Origin": signed.base}
        person = signed.dev["console"]
        page.post(f"{signed.base}/contoso/sign-in", {"name": person["username"], "password": person["password"]}, headers=headers, timeout=PATIENCE)
        csrf = re.search(r'name="csrf" value="([^"]+)"', page.get(f"{signed.base}/contoso/settings/data-encryption", timeout=PATIENCE).text).group(1)
        asked = [pool.submit(
            page.post, f"{signed.base}/contoso/fresh", {"csrf": csrf, "password": "wrong"}, headers=headers, timeout=PATIENCE) for _ in range(12)]
        while not all(future.done() for future in asked):
            assert signed.get("mailboxes?$top=3&$count=true").status_code == 200
    assert {future.result().status_code for future in asked} <= {403, 429}


# OpenID providers


class Silent:
    """Accepts connections and never responds. Keeps the list of the connections."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.port = self.listener.getsockname()[1]
        self.connections = []
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                self.connections.append(self.listener.accept()[0])
            except OSError:
                return

    def close(self):
        self.listener.close()
        for connection in self.connections:
            connection.close()


def claimed(issuer):
    def part(value):
        return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")

    return f"{part({'alg': 'RS256', 'kid': uuid.uuid4().hex})}.{part({'iss': issuer, 'exp': int(time.time()) + 300, 'n': uuid.uuid4().hex})}.AAAA"


def threads(deployment):
    return len(list(pathlib.Path(f"/proc/{deployment.process.pid}/task").iterdir()))


def test_a_provider_that_is_away_is_asked_once_and_remembered(signed):
    silent = Silent()
    try:
        issuer = f"https://localhost:{silent.port}"
        signed.run("issuer", "add", "away", "--issuer", issuer, "--client-id", "fieldseal", stdin="a secret\n")
        signed.token()
        before = threads(signed)
        with concurrent.futures.ThreadPoolExecutor(100) as pool:
            asked = [pool.submit(signed.get, "WhoAmI", token=claimed(issuer)) for _ in range(200)]
            until(lambda: silent.connections)
            # Other requests succeed meanwhile, and the server does not start a thread for each waiting request.
            assert signed.get("WhoAmI").status_code == 200 and threads(signed) < before + 20
            answers = [future.result() for future in asked]
        assert {answer.status_code for answer in answers} == {503}
        # A few requests wait for the provider, and the server refuses all others at once.
        assert any("many requests wait for it" in answer.text for answer in answers)
        assert all(int(answer.headers["Retry-After"]) > 0 for answer in answers)
        assert len(silent.connections) <= 6
        # After the provider did not respond, the server does not ask it again at once.
        asked = len(silent.connections)
        assert {signed.get("WhoAmI", token=claimed(issuer)).status_code for _ in range(5)} == {503} and len(silent.connections) == asked
        # For an issuer that is not registered, the server opens no connection.
        other = Silent()
        try:
            assert {signed.get("WhoAmI", token=claimed(f"https://localhost:{other.port}")).status_code for _ in range(20)} == {401}
            assert not other.connections
        finally:
            other.close()
    finally:
        signed.run("issuer", "remove", "away", check=False)
        silent.close()


# Authorization servers of mail


class Authority:
    """A token endpoint that keeps a list of its requests, and responds only while `go` is set."""

    def __init__(self, folder):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "tls.key", "-out",
             folder / "tls.crt", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.context, self.asked, self.go = context, [], threading.Event()
        threading.Thread(target=self.accept, daemon=True).start()

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.answer, args=(connection,), daemon=True).start()

    def answer(self, raw):
        with self.context.wrap_socket(raw, server_side=True) as connection:
            data = b""
            while b"refresh_token=" not in data:
                data += connection.recv(65536)
            refresh = data.rsplit(b"refresh_token=", 1)[1].split(b"&")[0].decode()
            self.asked.append(refresh)
            self.go.wait(60)
            body = json.dumps({"access_token": f"access {refresh}", "expires_in": 3600, "refresh_token": f"{refresh}-next"}).encode()
            with contextlib.suppress(OSError):
                connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body) + body)


@pytest.fixture(scope="module")
def mailing(tmp_path_factory):
    folder = tmp_path_factory.mktemp("authority")
    authority = Authority(folder)
    (folder / "applications.json").write_text(json.dumps([{
        "servers": ["mail.test"], "tokenEndpoint": f"https://localhost:{authority.port}/token", "clientId": "reader", "grant": "refresh_token"}]))
    deployment = Deployment(
        FIELDSEAL_CONNECTIONS="4", FIELDSEAL_LIMITS_CLIENT_CONNECTIONS="4", FIELDSEAL_MAIL_APPLICATIONS_FILE=str(folder / "applications.json"),
        FIELDSEAL_MAIL_AUTHORITY_FILE=str(folder / "tls.crt"))
    try:
        deployment.start()
        deployment.authority = authority
        deployment.profile = deployment.create("emailserverprofiles", {
            "name": "by token", "incomingserverlocation": "mail.test", "incomingcredentialretrieval": 0, "incomingauthenticationprotocol": 4, "servertype": 1})
        yield deployment
    finally:
        authority.go.set()
        deployment.remove()


def mailbox(deployment, name):
    box = deployment.create("mailboxes", {
        "name": name, "username": name, "password": f"refresh-{name}", "allowemailconnectortousecredentials": True, "emailrouteraccessapproval": 1,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({deployment.profile})"})
    lease(deployment, box)
    return box


def lease(deployment, box):
    deployment.sql(
        "UPDATE org_contoso.mailbox SET emailrouteraccessapproval = 1, hostid = 'here', processingstatecode = 1, processinglastattemptedon = now() "
        "WHERE mailboxid = %s", [box])


def credential(deployment, box):
    return deployment.request(
        "POST", "fieldseal.ReleaseCredential", {"MailboxId": box, "Direction": "Incoming", "HostId": "here"}, client="router")


def test_a_slow_authorization_server_holds_no_connections(mailing):
    authority = mailing.authority
    authority.go.clear()
    boxes = [mailbox(mailing, f"box{number}") for number in range(6)]
    mailing.token("router")
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        # There are two requests for each mailbox, and one exchange serves both.
        asked = [pool.submit(credential, mailing, box) for box in boxes * 2]
        until(lambda: len(authority.asked) == 6)
        for _ in range(10):
            assert mailing.get("mailboxes?$top=3&$count=true").status_code == 200
        assert mailing.sql("SELECT count(*) FROM config.token_exchange") == [(6,)]
        assert mailing.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND state LIKE 'idle in%'") == [(0,)]
        authority.go.set()
        answers = [future.result() for future in asked]
    assert {answer.status_code for answer in answers} == {200}, [answer.text for answer in answers]
    assert len(authority.asked) == 6
    # The new refresh tokens are stored in cells, and the claims of the exchanges are deleted.
    opened = mailing.opened_cells()
    assert {opened[f"mailbox({box}).password"][1] for box in boxes} == {f"refresh-box{n}-next" for n in range(6)}
    assert mailing.sql("SELECT count(*) FROM config.token_exchange") == [(0,)]


def claim(deployment, box, seconds):
    deployment.sql(
        "INSERT INTO config.token_exchange SELECT organization_id, 'mailbox', %s, 'password', gen_random_uuid(), now() + %s * interval '1 second' "
        "FROM config.organization", [box, seconds])


def test_a_claim_of_another_server_is_waited_for_and_ends_with_its_server(mailing):
    mailing.authority.go.set()
    dead, alive = mailbox(mailing, "dead"), mailbox(mailing, "alive")
    before = len(mailing.authority.asked)
    claim(mailing, dead, -1)
    assert credential(mailing, dead).status_code == 200
    claim(mailing, alive, 80)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(credential, mailing, alive)
        until(lambda: len(mailing.authority.asked) == before + 1)
        with pytest.raises(concurrent.futures.TimeoutError):
            asked.result(timeout=1)
        # Deletes the claim, as the other server does at the end of its exchange.
        mailing.sql("DELETE FROM config.token_exchange")
        assert asked.result().status_code == 200
    assert len(mailing.authority.asked) == before + 2


def test_a_server_that_dies_in_an_exchange_loses_nothing(mailing):
    authority = mailing.authority
    authority.go.clear()
    box = mailbox(mailing, "killed")
    before = len(authority.asked)
    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        asked = pool.submit(credential, mailing, box)
        until(lambda: len(authority.asked) == before + 1)
        mailing.stop(9)
        with pytest.raises(requests.exceptions.RequestException):
            asked.result()
    authority.go.set()
    mailing.start()
    lease(mailing, box)
    # The claim of the killed server ends only when it expires.
    mailing.sql("UPDATE config.token_exchange SET expires_on = now()")
    assert credential(mailing, box).status_code == 200
    assert mailing.opened_cells()[f"mailbox({box}).password"][1] == "refresh-killed-next"
