"""The access token of a router ends during a delivery. No message is lost, set aside, doubled, or reported as undeliverable."""

import re
import socket
import ssl
import subprocess
import threading
import uuid

import pytest
import requests
from mail import Mail, alerts, certificate, profile, queue, subjects, turn
from mail_quirks import IMAPServer
from service import PATIENCE, PROGRAM, Deployment
from test_router_idle import end_companion
from test_router_quirks import removed, text
from waiting import until

#: More messages than the first request of a turn delivers, and fewer than the first two requests deliver.
COUNT = 60
#: When the server returns this message, the router has sent its first request and not its second.
LAST = 40


class ServiceProxy(threading.Thread):
    """Forwards the requests of a router to the service. Records the tokens in the requests, and counts refusals."""

    def __init__(self, deployment):
        super().__init__(daemon=True)
        self.tokens, self.refusals = [], 0
        self.service = ("localhost", int(deployment.base.rpartition(":")[2]))
        self.inner = ssl.create_default_context(cafile=deployment.dev["caFile"])
        self.outer = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.outer.load_cert_chain(certificate(deployment).with_suffix(".pem"), certificate(deployment).with_suffix(".key"))
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"https://localhost:{self.listener.getsockname()[1]}"
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=[connection], daemon=True).start()

    def serve(self, connection):
        try:
            with self.outer.wrap_socket(connection, server_side=True) as client, \
                    self.inner.wrap_socket(socket.create_connection(self.service), server_hostname="localhost") as service:
                back = threading.Thread(target=self.copy, args=[service, client, self.see_answer], daemon=True)
                back.start()
                self.copy(client, service, self.see_request)
                back.join()
        except OSError:
            pass

    @staticmethod
    def copy(source, target, see):
        try:
            while data := source.recv(1 << 16):
                see(data)
                target.sendall(data)
            target.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def see_request(self, data):
        if found := re.search(rb"(?i)\r\nauthorization: bearer ([^\r]+)\r", data):
            token = found[1].decode()
            self.tokens += [token] if token not in self.tokens else []

    def see_answer(self, data):
        self.refusals += len(re.findall(rb"^HTTP/1\.1 40[01] ", data))

    def stop(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()


class PausingServer(IMAPServer):
    """Calls `pause` once, before it returns the message after `LAST`."""

    def __init__(self, *arguments, pause):
        self.pause = pause
        super().__init__(*arguments)

    def fetch(self, say, uids, tag):
        for uid in uids:
            if uid > LAST and self.pause:
                pause, self.pause = self.pause, None
                pause()
            if super().fetch(say, [uid], tag):
                return True
        return False


class Router:
    """A router with its own client, beside the deployment's router."""

    def __init__(self, deployment, service, made):
        secret = deployment.home / f"secret-{uuid.uuid4().hex}"
        secret.touch(0o600)
        secret.write_text(made["clientSecret"])
        self.process = subprocess.Popen(
            [PROGRAM, "router", "--service", service, "--org", "contoso", "--client-id", made["clientId"], "--secret-file", str(secret),
             "--ca-file", deployment.mail.description["caFile"], "--mail-ca-file", deployment.mail.description["caFile"], "--interval", "1", "--workers", "1"],
            env=deployment.environment, stdin=subprocess.DEVNULL, stdout=deployment.output, stderr=deployment.output)

    def stop(self):
        if self.process.poll() is None:
            self.process.terminate()
            self.process.wait(PATIENCE)


@pytest.fixture(scope="module")
def quiet():
    """A deployment whose own router is stopped."""
    deployment = Deployment()
    deployment.home.chmod(0o755)
    try:
        deployment.start()
        end_companion(deployment)
        deployment.mail = Mail(deployment.home)
        yield deployment
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()


def new_client(deployment):
    return deployment.json("client", "add", f"router-{uuid.uuid4().hex[:8]}", "--org", "contoso", "--role", "Email Router")


def revoke(deployment, token, made):
    answer = requests.post(f"{deployment.base}/contoso/oauth2/v2.0/revoke", timeout=PATIENCE, verify=deployment.dev["caFile"],
                           data={"token": token, "client_id": made["clientId"], "client_secret": made["clientSecret"]})
    assert answer.status_code == 200, answer.text


def let_go(deployment, box):
    """Ends the lease of a router that can't report any more, instead of waiting until the lease ends."""
    deployment.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, hostid = NULL, postponemailboxprocessinguntil = NULL WHERE mailboxid = %s", [box])


@pytest.mark.parametrize("how", ["revoked", "disabled", "replaced", "removed"])
def test_a_token_that_ends_amid_a_delivery_loses_no_message(quiet, how):
    log, mark = quiet.log, len(quiet.log())
    proxy, made, ended = ServiceProxy(quiet), new_client(quiet), threading.Event()
    known = {"box": None, "made": made}

    def end():
        until(lambda: len(subjects(quiet, known["box"])) >= 25, what=lambda: log().decode()[-3000:])
        if how == "disabled":
            quiet.run("client", "disable", made["clientId"])
        elif how == "removed":
            quiet.run("client", "remove", made["clientId"])
        else:
            if how == "replaced":
                known["made"] = {**made, "clientSecret": quiet.json("client", "rotate", made["clientId"], "--overlap", "0")["clientSecret"]}
            revoke(quiet, proxy.tokens[-1], known["made"])
        ended.set()

    server = PausingServer(certificate(quiet), {n: text(n) for n in range(1, COUNT + 1)}, pause=end)
    _, box = queue(quiet, quiet.mail, profile(quiet, quiet.mail, "imap", incomingportnumber=server.port), testemailconfigurationscheduled=False)
    known["box"] = box
    quiet.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
    router = Router(quiet, proxy.address, made)
    try:
        until(ended.is_set, what=lambda: log().decode()[-3000:])
        if how != "revoked":
            # The service refuses a request with the former token. Then it refuses the router's request for a new token.
            until(lambda: proxy.refusals >= (2 if how == "replaced" else 3), what=lambda: log().decode()[-3000:])
            until(lambda: b"client id or secret is not accepted" in log()[mark:], what=lambda: log().decode()[-3000:])
            if how != "disabled":
                router.stop()
            let_go(quiet, box)
            if how == "disabled":
                quiet.run("client", "enable", made["clientId"])
            else:
                router = Router(quiet, proxy.address, known["made"] if how == "replaced" else new_client(quiet))
        until(lambda: len(subjects(quiet, box)) >= COUNT, what=lambda: log().decode()[-3000:])
        assert len(proxy.tokens) >= 2
        turn(quiet, box)
        assert subjects(quiet, box) == sorted(f"message {n}" for n in range(1, COUNT + 1))
        assert not alerts(quiet, box)
        assert quiet.sql("SELECT count(*) FROM org_contoso.mailbox_message WHERE mailboxid = %s AND next_attempt IS NOT NULL", [box]) == [(0,)]
        record = quiet.get(f"mailboxes({box})").json()
        assert record["enabledforincomingemail"] and record["incomingemailstatus"] == 1 and record["transientfailurecount"] in (0, None)
    finally:
        router.stop()
        removed(quiet, box)
        server.stop()
        proxy.stop()
