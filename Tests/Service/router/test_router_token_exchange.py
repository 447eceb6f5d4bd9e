"""Exchanging a refresh token while the authorization server is slow, or while the service is killed."""

import http.server
import json
import signal
import socket
import ssl
import subprocess
import threading
import types
import urllib.parse

import psycopg
import pytest
from mail import queue
from service import Deployment
from test_router import alerts, problem
from waiting import until

#: A host that does not exist: these tests need no mail server, because they end when the router has its token.
HOST = "mail.invalid"


def https_server(handler, folder):
    """Starts an HTTPS server on a free port, with the certificate in the folder."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "tls.crt", folder / "tls.key")
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


class TokenServer:
    """An authorization server that accepts each refresh token once, and responds only while `answers` is set."""

    #: Shorter than the time for which the service waits, so that the service gets every response.
    SECONDS = 7

    def __init__(self, folder):
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "tls.key", "-out", folder / "tls.crt",
             "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
        self.asked, self.count, self.valid, self.answers = [], 0, "token-0", threading.Event()
        #: The trace headers of each request: the parent, and the state that other systems added.
        self.traces = []
        self.answers.set()
        tokens = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self):
                form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
                tokens.traces.append((self.headers["traceparent"], self.headers["tracestate"]))
                status, body = tokens.exchange(form["refresh_token"][0])
                self.send_response(status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *_):
                pass

        self.server = https_server(Handler, folder)
        self.endpoint = f"https://localhost:{self.server.server_address[1]}/token"

    def exchange(self, token):
        self.asked.append(token)
        if not self.answers.wait(self.SECONDS):
            return 503, b"{}"
        if token != self.valid:
            return 400, b'{"error": "invalid_grant"}'
        self.count += 1
        self.valid = f"token-{self.count}"
        return 200, json.dumps({"access_token": "access", "expires_in": 3600, "refresh_token": self.valid}).encode()


@pytest.fixture(scope="module")
def exchanging(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tokens")
    tokens = TokenServer(folder)
    (folder / "applications.json").write_text(json.dumps([{"servers": [HOST], "tokenEndpoint": tokens.endpoint, "clientId": "reader", "grant": "refresh_token"}]))
    with Deployment.made(FIELDSEAL_MAIL_APPLICATIONS_FILE=str(folder / "applications.json"), FIELDSEAL_MAIL_AUTHORITY_FILE=str(folder / "tls.crt")) as deployment:
        deployment.provider = tokens
        yield deployment
        tokens.server.shutdown()


def mailbox(deployment, secret, enabled=True, **settings):
    """A mailbox with its own profile, which only receives."""
    address = "support@contoso.test"
    profile = deployment.create("emailserverprofiles", {
        "name": secret, "servertype": 4, "incomingserverlocation": HOST, "incomingusessl": True, "incomingcredentialretrieval": 0,
        "incomingauthenticationprotocol": 4, **settings})
    _, box = queue(deployment, types.SimpleNamespace(passwords={address: secret}), profile, address, outgoingemaildeliverymethod=0, testemailconfigurationscheduled=False)
    deployment.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = %s WHERE mailboxid = %s", [enabled, box])
    return box


def again(deployment, box):
    """Makes the mailbox due. Deletes the lease and the claim on the token exchange that an earlier turn left."""
    deployment.sql("DELETE FROM config.token_exchange")
    deployment.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, hostid = NULL, postponemailboxprocessinguntil = NULL, transientfailurecount = 0 WHERE mailboxid = %s", [box])


def test_an_exchange_holds_no_connection_and_no_other_mailbox_up(exchanging):
    tokens = exchanging.provider
    tokens.answers.clear()
    try:
        box = mailbox(exchanging, tokens.valid)
        until(lambda: tokens.asked, what=lambda: exchanging.log().decode()[-3000:])
        [(moment,)] = exchanging.sql("SELECT clock_timestamp()")
        # The authorization server does not respond. Meanwhile, no transaction of the service stays open.
        held = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND xact_start <= %s"
        until(lambda: exchanging.sql(held, [moment]) == [(0,)])
        assert len(tokens.asked) == 1 and tokens.valid == "token-0"
        # Meanwhile, the router works on another mailbox.
        with socket.socket() as nothing:
            nothing.bind(("127.0.0.1", 0))
            other = mailbox(exchanging, "a password", incomingserverlocation="localhost", incomingportnumber=nothing.getsockname()[1], incomingauthenticationprotocol=0)
            problem(exchanging, other, 12)
    finally:
        tokens.answers.set()
    # The service sealed the new refresh token. So after a restart, without anything in memory, it uses that token.
    again(exchanging, box)
    until(lambda: tokens.valid == "token-1", what=lambda: exchanging.log().decode()[-3000:])
    until(lambda: any(HOST in a["text"] for a in alerts(exchanging, box)), what=lambda: exchanging.log().decode()[-3000:])
    exchanging.stop()
    exchanging.start()
    again(exchanging, box)
    until(lambda: "token-1" in tokens.asked, what=lambda: exchanging.log().decode()[-3000:])
    until(lambda: tokens.valid == "token-2")
    assert exchanging.request("DELETE", f"mailboxes({box})").status_code == 204


def test_a_service_that_ends_before_the_answer_loses_no_token(exchanging):
    tokens = exchanging.provider
    tokens.answers.clear()
    before = len(tokens.asked)
    box = mailbox(exchanging, tokens.valid)
    until(lambda: len(tokens.asked) > before, what=lambda: exchanging.log().decode()[-3000:])
    exchanging.stop(signal.SIGKILL)
    # While the service starts, the authorization server refuses the old token. So a request that the killed service sent can't use the token up.
    valid, tokens.valid = tokens.valid, "of nobody"
    tokens.answers.set()
    exchanging.start()
    tokens.valid = valid
    again(exchanging, box)
    until(lambda: tokens.valid != valid, what=lambda: exchanging.log().decode()[-3000:])
    until(lambda: any(HOST in a["text"] for a in alerts(exchanging, box)), what=lambda: exchanging.log().decode()[-3000:])
    assert not [a for a in alerts(exchanging, box) if a["tracecode"] == 15]
    assert exchanging.request("DELETE", f"mailboxes({box})").status_code == 204


def test_a_service_that_ends_before_the_successor_is_saved_says_so(exchanging):
    """The one case without recovery (docs/router.md): the server accepted the token, and the service ended before it stored the new one."""
    tokens = exchanging.provider
    valid = tokens.valid
    box = mailbox(exchanging, valid, enabled=False)
    with psycopg.connect(exchanging.dev["postgres"]) as locker:
        locker.execute("SELECT 1 FROM org_contoso.mailbox_cell WHERE mailboxid = %s FOR UPDATE", [box])
        # Makes the mailbox due for only one turn. A second lease would wait for the locked row.
        exchanging.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true, postponemailboxprocessinguntil = NULL WHERE mailboxid = %s", [box])
        until(lambda: tokens.valid != valid, what=lambda: exchanging.log().decode()[-3000:])
        waits = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND wait_event_type = 'Lock'"
        until(lambda: exchanging.sql(waits)[0][0] >= 1, what=lambda: str(exchanging.sql("SELECT state, wait_event_type, wait_event, query FROM pg_stat_activity WHERE usename = 'fieldseal_service'")))
        exchanging.stop(signal.SIGKILL)
    exchanging.start()
    again(exchanging, box)
    alert = problem(exchanging, box, 15)
    assert "invalid_grant" in alert["text"] and "Set a new refresh token" in alert["text"] and alert["level"] == 3
    # The owner of the mailbox gives consent again, and an administrator sets the new token.
    taken = len(tokens.asked)
    assert exchanging.request("PATCH", f"mailboxes({box})", {"password": tokens.valid, "testemailconfigurationscheduled": True}).status_code == 204
    until(lambda: tokens.asked[taken:] and tokens.asked[-1] == f"token-{tokens.count - 1}", what=lambda: str(tokens.asked) + exchanging.log().decode()[-3000:])
    assert exchanging.request("DELETE", f"mailboxes({box})").status_code == 204
