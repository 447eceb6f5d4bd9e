"""The e-mail router with real Dovecot and Postfix servers: messages become records, and e-mails are sent."""

import datetime
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import ssl
import subprocess
import threading
import time
from random import Random

import pytest
import requests
import scratch
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from mail import MailServers, alerts, message, profile, queue
from mail_quirks import IdlingServer
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from service import PROGRAM, refused
from waiting import until


def enabled(deployment, box):
    """Waits until the router has tested and enabled the mailbox."""
    def look():
        record = deployment.get(f"mailboxes({box})?$select=incomingemailstatus,outgoingemailstatus,enabledforincomingemail,enabledforoutgoingemail,lastsyncerror").json()
        isWell = record["incomingemailstatus"] == record["outgoingemailstatus"] == 1
        return record if isWell and record["enabledforincomingemail"] and record["enabledforoutgoingemail"] else None
    until(look, what=lambda: f"{alerts(deployment, box)} {deployment.get(f'mailboxes({box})').text} {deployment.mail.servers.log()[-4000:]}")


def emails(deployment, box, select="subject,description,messageid,statuscode,correlationmethod,attachmentcount,notifications"):
    return deployment.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select={select}&$orderby=createdon&$expand=email_activity_parties").json()["value"]


@pytest.mark.parametrize("kind", ["imap", "pop3"])
def test_a_message_becomes_a_record_and_a_record_is_sent(routed, kind):
    address = {"imap": "support@contoso.test", "pop3": "carol@contoso.test"}[kind]
    q, box = queue(routed, routed.mail, profile(routed, routed.mail, kind), address)
    enabled(routed, box)
    note = message(subject=f"Grüße über {kind}", to=address, body="Ein Päckchen kam nicht an.\n")
    note.add_attachment(b"\x00\x01picture", maintype="image", subtype="png", filename="bild.png")
    routed.mail.inject(address, note)
    [record] = until(lambda: emails(routed, box), what=lambda: routed.log().decode()[-3000:])
    assert record["subject"] == f"Grüße über {kind}" and record["statuscode"] == 4 and "Päckchen" in record["description"]
    assert record["messageid"] == note["Message-ID"] and record["attachmentcount"] == 1
    assert {(p["participationtypemask"], p["addressused"]) for p in record["email_activity_parties"]} == {(1, "customer@elsewhere.test"), (2, address)}
    # The router sends a reply with the mailbox's password. The customer's answer to it is linked to the reply.
    id = routed.create("emails", {"subject": "Wo ist es?", "description": "<p>Wir schauen nach.</p>", "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
    sent = routed.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True})
    assert sent.status_code == 200, sent.text
    until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3, what=lambda: routed.get(f"emails({id})").text + routed.log().decode()[-3000:])
    [arrived] = until(lambda: [m for m in routed.mail.messages("customer@elsewhere.test") if m["Subject"] == sent.json()["Subject"]])
    assert arrived["From"].endswith(f"<{address}>") and "CRM:" in arrived["Subject"]
    assert [(part.get_content_type(), "Wir schauen nach." in part.get_content()) for part in arrived.iter_parts()] == [("text/plain", True), ("text/html", True)]
    reply = message(subject=f"Re: {arrived['Subject']}", to=address, body="Danke!", In_Reply_To=arrived["Message-ID"])
    routed.mail.inject(address, reply)
    answered = until(lambda: [r for r in emails(routed, box, "subject,_parentactivityid_value,correlationmethod") if (r["subject"] or "").startswith("Re:")])
    assert answered[0]["_parentactivityid_value"] == id and answered[0]["correlationmethod"] == 3
    events = routed.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'credential released' AND outcome = 'succeeded' AND details LIKE %s", [f"%{box}%"])
    assert events[0][0] >= 3
    assert routed.mail.passwords[address].encode() not in routed.log()


def test_the_example_of_the_page(routed):
    """Runs the commands of docs/router.md after the first commands of the README, with this test's folders and program."""
    root = pathlib.Path(__file__).parents[3]
    functions = re.search(r"```sh\n(dev\(\).*?)```", (root / "README.md").read_text(), re.S)[1]
    example = "\n".join(line[4:] for line in re.search(r"## To try it\n(.*?)\n## ", (root / "docs/router.md").read_text(), re.S)[1].splitlines()
                        if line.startswith("    ") and "make mail" not in line)
    script = f"{functions}\n{example}\necho $box\n".replace(".fieldseal/", f"{routed.home}/").replace("fieldseal router", f"{PROGRAM} router")
    result = subprocess.run(["bash", "-euc", script], env=routed.environment, capture_output=True, text=True, timeout=60, stdin=subprocess.DEVNULL)
    assert result.returncode == 0 and "error" not in result.stdout, result
    box = result.stdout.split()[-1]
    enabled(routed, box)
    subject = f"by the page {time.monotonic_ns()}"
    routed.mail.inject("alice@contoso.test", message(subject=subject, to="alice@contoso.test"))
    until(lambda: [e for e in emails(routed, box) if e["subject"] == subject])
    status = [json.loads(line) for line in routed.run("router", "status", "--org", "contoso", "--json").stdout.splitlines()]
    assert next(s for s in status if s["mailboxId"] == box)["receives"] is True
    # A forward mailbox receives messages of other people as attachments. The attached message becomes the record.
    forward = routed.create("mailboxes", {
        "name": "forward", "emailaddress": "bob@contoso.test", "username": "bob", "password": routed.mail.passwords["bob@contoso.test"],
        "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2, "emailrouteraccessapproval": 1, "testemailconfigurationscheduled": True,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile(routed, routed.mail)})"})
    inner = message(subject=f"inner {subject}", to="alice@contoso.test")
    outer = message(subject="outer", sender="rule@contoso.test", to="bob@contoso.test")
    outer.add_attachment(inner)
    routed.mail.inject("bob@contoso.test", outer)
    [record] = until(lambda: emails(routed, forward), what=lambda: routed.log().decode()[-2000:])
    assert record["subject"] == f"inner {subject}" and record["messageid"] == inner["Message-ID"]
    assert routed.request("DELETE", f"mailboxes({forward})").status_code == 204
    routed.mail.clear("bob@contoso.test")
    # Deletes the mailbox, because later tests deliver to this address themselves.
    assert routed.request("DELETE", f"mailboxes({box})").status_code == 204
    routed.mail.clear("alice@contoso.test")


def test_the_mail_servers_leave_nothing_behind():
    home = scratch.new_folder()
    home.chmod(0o755)
    try:
        servers = MailServers(home).start()
        ports = list(servers.ports.values())
        servers.stop()
        for port in ports:
            with pytest.raises(OSError):
                socket.create_connection(("127.0.0.1", port), 1)
        assert [p for p in pathlib.Path("/proc").glob("[0-9]*/environ") if str(home).encode() in readable(p)] == []
    finally:
        shutil.rmtree(home, ignore_errors=True)


@pytest.mark.parametrize("when", ["while they start", "once they run"])
def test_make_mail_ends_with_its_process_group(when):
    """The process group gets the signal, and make forwards it. So the script that starts the servers receives it twice."""
    home = scratch.new_folder()
    home.chmod(0o755)
    root = pathlib.Path(__file__).parents[3]
    makefile = home / "Makefile"
    makefile.write_text(f"mail:\n\t@exec {root}/scripts/mail {home}\n")
    try:
        with open(home / "out", "wb") as output:
            make = subprocess.Popen(["make", "-f", makefile, "mail"], stdin=subprocess.DEVNULL, stdout=output, stderr=output, start_new_session=True)
        if when == "once they run":
            until(lambda: (home / "mail.json").exists() and b"Ctrl-C" in (home / "out").read_bytes(), what=lambda: (home / "out").read_text())
        else:
            until(lambda: (home / "mail/postfix/master.cf").exists(), what=lambda: (home / "out").read_text())
        os.killpg(make.pid, signal.SIGTERM)
        make.wait(60)
        until(lambda: not [p for p in pathlib.Path("/proc").glob("[0-9]*/environ") if str(home).encode() in readable(p) + readable(p.parent / "cmdline")],
              what=lambda: str([readable(p.parent / "cmdline") for p in pathlib.Path("/proc").glob("[0-9]*/environ") if str(home).encode() in readable(p)]))
    finally:
        shutil.rmtree(home, ignore_errors=True)


def readable(path):
    try:
        return path.read_bytes()
    except OSError:
        return b""


# Alerts say what is wrong, and what to do


def problem(deployment, box, code):
    """Waits until the newest alert about a mailbox has this code. Returns the alert."""
    return until(lambda: next((a for a in alerts(deployment, box) if a["tracecode"] == code), None),
                 what=lambda: str([(a["tracecode"], a["text"]) for a in alerts(deployment, box)]) + deployment.log().decode()[-2000:])


class Talker(threading.Thread):
    """A server that sends what the test's script says, and records what it receives."""

    def __init__(self, script, tls=None):
        super().__init__(daemon=True)
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.script, self.tls, self.heard, self.open = script, tls, b"", []
        self.start()

    def run(self):
        while True:
            try:
                connection, _ = self.listener.accept()
                self.open.append(connection)
                threading.Thread(target=self.talk, args=[connection], daemon=True).start()
            except OSError:
                return

    def talk(self, connection):
        try:
            if self.tls:
                connection = self.tls.wrap_socket(connection, server_side=True)
            connection.settimeout(20)
            for greeting, answer in self.script:
                if greeting:
                    connection.sendall(greeting)
                data = connection.recv(65_536)
                self.heard += data
                if answer:
                    connection.sendall(answer(data))
            connection.close()
        except (OSError, ssl.SSLError):
            pass

    def stop(self):
        self.listener.close()
        for connection in self.open:
            connection.close()


def tagged(data):
    return data.split(b" ")[0]


@pytest.mark.parametrize("tested, other", [("incoming", "outgoing"), ("outgoing", "incoming")])
def test_a_test_signs_in_for_directions_with_a_delivery_method_only(routed, tested, other):
    """The other direction has no delivery method, and its server does not exist. The router does not connect to it."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        _, box = queue(routed, routed.mail, profile(routed, routed.mail, **{f"{other}portnumber": probe.getsockname()[1]}), **{f"{other}emaildeliverymethod": 0})
        done = until(lambda: next((r for r in [routed.get(f"mailboxes({box})").json()] if r["testmailboxaccesscompletedon"]), None))
    assert done[f"{tested}emailstatus"] == 1 and done[f"enabledfor{tested}email"] and done[f"{other}emailstatus"] is None
    assert alerts(routed, box) == []
    # The numbers in the router's log line are JSON numbers.
    line = json.loads(until(lambda: next((line for line in routed.log().decode().splitlines() if '"mailbox processed"' in line and box in line), None)))
    figures = {name: line[name] for name in ("fetched", "delivered", "refused", "sent", "failed", "seconds")}
    assert all(isinstance(value, (int, float)) for value in figures.values()) and figures["seconds"] == round(figures["seconds"], 3), figures


def test_a_wrong_password_disables_the_mailbox_and_says_so(routed):
    _, box = queue(routed, routed.mail, profile(routed, routed.mail), password="not-the-password-1")
    alert = problem(routed, box, 10)
    assert alert["level"] == 3 and "Set the password again." in alert["text"] and "disabled" in alert["text"]
    record = routed.get(f"mailboxes({box})").json()
    assert record["incomingemailstatus"] == 2 and record["lastsyncerrorcode"] == 10 and record["transientfailurecount"] == 0
    assert not record["enabledforincomingemail"] and not record["testemailconfigurationscheduled"]
    assert b"not-the-password-1" not in routed.log()
    # After a person sets the right password and starts a test, the mailbox works.
    assert routed.request("PATCH", f"mailboxes({box})", {"password": routed.mail.passwords["support@contoso.test"], "testemailconfigurationscheduled": True}).status_code == 204
    enabled(routed, box)


def test_addresses_have_to_be_approved_and_credentials_allowed(routed):
    _, box = queue(routed, routed.mail, profile(routed, routed.mail), emailrouteraccessapproval=2)
    assert "approved" in problem(routed, box, 14)["text"]
    _, box = queue(routed, routed.mail, profile(routed, routed.mail), allowemailconnectortousecredentials=False)
    assert "neither the mailbox nor its user or queue allows" in problem(routed, box, 15)["text"]
    # The security event gives the same reason.
    details = routed.sql("SELECT details FROM org_contoso.security_event WHERE kind = 'credential released' AND outcome = 'refused' AND details LIKE %s", [f"%{box}%"])
    assert details and all("neither the mailbox nor its user or queue allows" in text for (text,) in details)
    _, box = queue(routed, routed.mail, profile(routed, routed.mail, incomingusessl=False))
    assert "without TLS" in problem(routed, box, 15)["text"]
    # The password of the profile is used, although the mailbox has none.
    prof = profile(routed, routed.mail, incomingcredentialretrieval=1, incomingusername="bob", incomingpassword=routed.mail.passwords["bob@contoso.test"])
    _, box = queue(routed, routed.mail, prof, "bob@contoso.test", password=None, allowemailconnectortousecredentials=False)
    enabled(routed, box)


@pytest.mark.parametrize("holder", ["queue", "user"])
def test_credentials_of_a_queue_and_of_a_user(routed, holder):
    """The mailbox has no password. The router gets the password of the queue or user, if their settings allow it."""
    address = "bob@contoso.test"
    prof = profile(routed, routed.mail)
    if holder == "queue":
        record, box = queue(routed, routed.mail, prof, address, password=None, allowemailconnectortousecredentials=False, testemailconfigurationscheduled=False)
        path = f"queues({record})"
    else:
        unit = routed.get("businessunits").json()["value"][0]["businessunitid"]
        record = routed.create("systemusers", {"fullname": "Bob", "domainname": f"bob {time.monotonic_ns()}", "internalemailaddress": address, "businessunitid@odata.bind": f"/businessunits({unit})"})
        [(box,)] = routed.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjectid = %s", [record])
        body = {"emailserverprofile@odata.bind": f"/emailserverprofiles({prof})", "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2, "emailrouteraccessapproval": 1}
        assert routed.request("PATCH", f"mailboxes({box})", body).status_code == 204
        path = f"usersettingscollection({record})"
        assert routed.request("PATCH", path, {"incomingemailfilteringmethod": 0}).status_code == 204
    sealed = {"emailusername": "bob", "emailpassword": routed.mail.passwords[address], "allowemailcredentials": True}
    assert routed.request("PATCH", path, sealed).status_code == 204
    assert routed.request("PATCH", f"mailboxes({box})", {"testemailconfigurationscheduled": True}).status_code == 204
    enabled(routed, box)
    subject = f"by the {holder}'s password"
    routed.mail.inject(address, message(subject=subject, to=address))
    until(lambda: [e for e in emails(routed, box) if e["subject"] == subject], what=lambda: routed.log().decode()[-3000:])
    assert routed.request("DELETE", f"mailboxes({box})").status_code == 204
    routed.mail.clear(address)


def test_no_password_goes_to_a_server_that_does_not_prove_itself(routed, tmp_path):
    subprocess.run(["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", tmp_path / "key", "-out", tmp_path / "crt",
                    "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"], check=True, capture_output=True)
    foreign = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    foreign.load_cert_chain(tmp_path / "crt", tmp_path / "key")
    capability = (b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN] ready\r\n", lambda d: b"* CAPABILITY IMAP4rev1 AUTH=PLAIN\r\n" + tagged(d) + b" OK\r\n")
    refuse = (b"", lambda d: tagged(d) + b" BAD\r\n")
    certificate = Talker([capability, refuse, refuse], tls=foreign)
    past = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    past.load_cert_chain(*expired(routed.mail.servers.folder, tmp_path))
    old = Talker([capability, refuse, refuse], tls=past)
    stripped = Talker([capability, refuse, refuse, refuse])
    try:
        for talker, what in [(certificate, "not trusted"), (old, "not trusted"), (stripped, "does not offer TLS")]:
            _, box = queue(routed, routed.mail, profile(routed, routed.mail, incomingportnumber=talker.port), password="never-leaves-1")
            alert = problem(routed, box, 11)
            assert what in alert["text"] and alert["level"] == 3
            assert b"never-leaves-1" not in talker.heard and b"AUTHENTICATE" not in talker.heard.upper() and b"LOGIN" not in talker.heard.upper()
    finally:
        for talker in (certificate, old, stripped):
            talker.stop()


def expired(authority, folder):
    """A certificate of the authority of the mail servers, which expired yesterday. Returns the files of the certificate and the key."""
    issuer = x509.load_pem_x509_certificate((authority / "ca.pem").read_bytes())
    signer = serialization.load_pem_private_key((authority / "ca.key").read_bytes(), None)
    key = ec.generate_private_key(ec.SECP256R1())
    now = datetime.datetime.now(datetime.timezone.utc)
    certificate = (
        x509.CertificateBuilder().subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])).issuer_name(issuer.subject)
        .public_key(key.public_key()).serial_number(x509.random_serial_number()).not_valid_before(now - datetime.timedelta(days=9))
        .not_valid_after(now - datetime.timedelta(days=1)).add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), False)
        .sign(signer, hashes.SHA256()))
    (folder / "old.crt").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    (folder / "old.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return folder / "old.crt", folder / "old.key"


def test_servers_that_fail_hold_nobody_up(routed):
    silent = Talker([(b"", None)] * 50)
    gone = socket.create_server(("127.0.0.1", 0))
    port = gone.getsockname()[1]
    gone.close()
    try:
        _, healthy = queue(routed, routed.mail, profile(routed, routed.mail), "bob@contoso.test")
        enabled(routed, healthy)
        boxes = [queue(routed, routed.mail, profile(routed, routed.mail, incomingportnumber=p, timeoutmailboxconnection=True, timeoutmailboxconnectionafteramount=2000))[1]
                 for p in (silent.port, port)]
        routed.mail.inject("bob@contoso.test", message(subject="past the broken ones", to="bob@contoso.test"))
        until(lambda: [e for e in emails(routed, healthy) if e["subject"] == "past the broken ones"])
        for box in boxes:
            alert = problem(routed, box, 12)
            assert alert["level"] == 2 and "tries again" in alert["text"]
            record = routed.get(f"mailboxes({box})").json()
            assert record["transientfailurecount"] >= 1 and record["statecode"] == 0
    finally:
        silent.stop()


def imap_answers(*after_login):
    """A script for a server: the responses at the beginning of an IMAP session, and then the given ones."""
    hello = (b"* OK [CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR] ready\r\n", lambda d: b"* CAPABILITY IMAP4rev1 AUTH=PLAIN SASL-IR\r\n" + tagged(d) + b" OK\r\n")
    login = (b"", lambda d: tagged(d) + b" OK signed in\r\n")
    examine = (b"", lambda d: b"* 1 EXISTS\r\n* OK [UIDVALIDITY 7] x\r\n* OK [UIDNEXT 2] x\r\n" + tagged(d) + b" OK\r\n")
    return [hello, login, examine, *after_login]


def test_what_a_server_may_send_is_bounded(routed):
    """A server sends a literal of 100 MB, half a message, or a line without an end. Each costs the router little memory and time."""
    trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trusted.load_cert_chain(routed.mail.servers.folder / "server.pem", routed.mail.servers.folder / "server.key")
    listed = (b"", lambda d: b"* 1 FETCH (UID 1 RFC822.SIZE 100)\r\n" + tagged(d) + b" OK\r\n")
    scripts = {
        "larger than the router accepts": imap_answers(listed, (b"", lambda d: b"* 1 FETCH (UID 1 BODY[] {104857600}\r\n" + b"x" * 65_536)),
        "closed the connection": imap_answers(listed, (b"", lambda d: b"* 1 FETCH (UID 1 BODY[] {1000}\r\nSubject: half")),
        "more data than the limit allows": imap_answers((b"", lambda d: b"* " + b"y" * (1 << 20))),
    }
    router = routed.router_pid()
    before = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{router}/status").read_text())[1])
    talkers = [Talker(script, tls=trusted) for script in scripts.values()]
    try:
        boxes = [queue(routed, routed.mail, profile(routed, routed.mail, incomingportnumber=t.port), testemailconfigurationscheduled=False)[1] for t in talkers]
        for box, words in zip(boxes, scripts):
            routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
            alert = problem(routed, box, 12 if "closed" in words else 13)
            assert words in alert["errordetails"] and alert["level"] == 2, alert
            assert routed.request("DELETE", f"mailboxes({box})").status_code == 204
    finally:
        for talker in talkers:
            talker.stop()
    after = int(re.search(r"VmHWM:\s+(\d+)", pathlib.Path(f"/proc/{router}/status").read_text())[1])
    assert after - before < 64 << 10, (before, after)


# Exactly one record for a message


@pytest.fixture(scope="module")
def inbox(routed):
    """A mailbox that accepts every message. Returns its address and its id."""
    address = "user@contoso.test"
    _, box = queue(routed, routed.mail, profile(routed, routed.mail), address)
    enabled(routed, box)
    return address, box


def test_message_ids_are_nobody_s_identity(routed, inbox):
    address, box = inbox
    same = "<same@elsewhere.test>"
    subjects = ["one", "two, under the same id", "without an id", "with a hostile id"]
    ids = [same, same, None, "<'; DROP TABLE email; --\u0000\">"]
    raw = []
    for subject, id in zip(subjects, ids):
        text = f"From: customer@elsewhere.test\r\nTo: {address}\r\nSubject: {subject}\r\n" + (f"Message-ID: {id}\r\n" if id else "") + "\r\nText\r\n"
        raw.append(text.encode())
    routed.mail.drop(address, raw)
    until(lambda: set(subjects) <= {e["subject"] for e in emails(routed, box)})
    # The server numbers its messages anew. The router looks at all of them again, and makes no second record of a message.
    before = sorted(e["activityid"] for e in emails(routed, box))
    routed.mail.change_validity(address)
    state = routed.sql("SELECT router_state FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    routed.mail.drop(address, [raw[0].replace(b"one", b"after the change")])
    until(lambda: [e for e in emails(routed, box) if e["subject"] == "after the change"])
    until(lambda: routed.sql("SELECT router_state FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) != state)
    assert [e for e in before if e not in {e["activityid"] for e in emails(routed, box)}] == []
    assert len(emails(routed, box)) == len(before) + 1


def broken_messages(count, seed=20261124):
    """Messages with a few random changes, which break some of them."""
    random = Random(seed)
    base = [
        message(body="Grüße " * 50).as_bytes(), b"\r\n\r\n", b"no header at all", b"From: x@y.test\r\n" + b"X: " + b"y" * 200_000 + b"\r\n\r\n",
        b"From: a@b.test\r\nContent-Type: text/plain; charset=\"nonsense-8\"\r\n\r\n\xff\xfe\x00text",
        b"From: a@b.test\r\nContent-Type: multipart/mixed; boundary=\"\"\r\n\r\n--\r\n\r\nx\r\n----\r\n",
        b"From: a@b.test\r\nContent-Transfer-Encoding: base64\r\n\r\n!!!!not base64====\r\n",
        b"From: =?utf-8?B?////?= <a@b.test>\r\nSubject: =?iso-8859-99?Q?=FF=\r\n\r\n\r\n",
        b"From: undisclosed:;\r\nTo: " + b",".join(b"u%d@elsewhere.test" % n for n in range(500)) + b"\r\nSubject: many people\r\n\r\nx\r\n",
        b"From: a@b.test\r\nDate: Fri, 99 Foo 99999 99:99:99 +9999\r\nMessage-ID: " + b"<" * 500 + b"\r\n\r\nx\r\n",
    ]
    note = message()
    note.add_attachment(b"%PDF-" + bytes(range(256)), maintype="application", subtype="pdf", filename="a.pdf")
    base.append(note.as_bytes())
    result = list(base)
    while len(result) < count:
        data = bytearray(random.choice(base))
        for _ in range(random.randint(1, 8)):
            at = random.randrange(len(data) + 1)
            match random.randrange(4):
                case 0: data[at:at] = random.randbytes(random.randint(1, 20))
                case 1: del data[at:at + random.randint(1, 50)]
                case 2: data[at:at + 1] = random.choice([b"\r", b"\n", b"\0", b"\x80", b":", b"=", b"\"", b"--"])
                case 3: data[at:at] = data[max(0, at - 40):at]
        result.append(bytes(data))
    return result


def test_what_is_broken_holds_up_nothing(routed, inbox):
    address, box = inbox
    nested = b"From: bomb@elsewhere.test\r\nSubject: nested\r\n" + b"".join(
        b"Content-Type: multipart/mixed; boundary=\"b%d\"\r\n\r\n--b%d\r\n" % (n, n) for n in range(20_000)) + b"\r\nthe end\r\n"
    people = b"From: a@b.test\r\nTo: " + b",".join(b"u%d@elsewhere.test" % n for n in range(10_000)) + b"\r\nSubject: ten thousand\r\n\r\nx\r\n"
    corpus = broken_messages(250)
    routed.mail.drop(address, [nested, people, *corpus, message(subject="after all of them", to=address).as_bytes()])

    def subjects():
        # Does not read the recipients, because these messages have thousands of them.
        return [e["subject"] for e in routed.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select=subject").json()["value"]]
    until(lambda: "after all of them" in subjects(), what=lambda: routed.log().decode()[-3000:])
    found = subjects()
    assert "nested" in found and "ten thousand" in found and "many people" in found
    # At least half of the messages with a sender have become records.
    with_sender = [e for e in corpus if e.startswith(b"From: a@b.test\r\n")]
    assert routed.sql("SELECT count(*) >= %s FROM org_contoso.email WHERE receivingmailboxid = %s", [len(with_sender) // 2, box]) == [(True,)]
    assert routed.get(f"mailboxes({box})?$select=statecode,lastsyncerrorcode").json()["lastsyncerrorcode"] is None
    # Deletes the recipients, because later tests list the e-mails of this mailbox with their recipients.
    routed.sql("DELETE FROM org_contoso.activityparty WHERE participationtypemask = 2 AND activityid IN (SELECT activityid FROM org_contoso.email WHERE receivingmailboxid = %s AND subject <> 'after all of them')", [box])


def test_an_own_message_that_comes_back_is_none(routed, inbox):
    address, box = inbox
    id = outgoing(routed, box, [address], "to myself")
    until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
    routed.mail.inject(address, message(subject="an automatic answer", to=address, Auto_Submitted="auto-replied"))
    routed.mail.drop(address, [b"From: <>\r\nSubject: from nobody\r\n\r\nbounced\r\n"])
    # An automatic message becomes a record, and the router does not answer it.
    until(lambda: [e for e in emails(routed, box) if e["subject"] == "an automatic answer"])
    assert not [e for e in emails(routed, box) if e["subject"] in ("to myself", "from nobody")]
    assert routed.sql("SELECT count(*) FROM org_contoso.email WHERE sendermailboxid = %s AND statuscode IN (6, 7)", [box]) == [(0,)]


def test_what_cannot_be_a_record_is_moved_or_stays(routed):
    """Messages without a sender, and messages that are too large, are never deleted. If the profile says so, the router moves them into a folder."""
    address = "carol@contoso.test"
    routed.mail.clear(address)
    nobody, good = b"From: <>\r\nSubject: from nobody\r\n\r\nbounced\r\n", message(subject="from somebody", to=address).as_bytes()
    for moves, kind in [(True, "imap"), (False, "imap"), (True, "pop3")]:
        _, box = queue(routed, routed.mail, profile(routed, routed.mail, kind, moveundeliveredemails=moves), address, processanddeleteemails=True)
        enabled(routed, box)
        routed.mail.drop(address, [nobody, good])
        until(lambda: [e for e in emails(routed, box) if e["subject"] == "from somebody"], what=lambda: routed.log().decode()[-3000:])
        imap = routed.mail.box(address)

        def subjects(folder):
            imap.select(folder)
            numbers = imap.search(None, "ALL")[1][0].split()
            return [re.search(rb"Subject: ([^\r]*)", imap.fetch(n, "(BODY.PEEK[HEADER])")[1][0][1])[1] for n in numbers]

        stays = not (moves and kind == "imap")
        until(lambda: subjects("INBOX") == ([b"from nobody"] if stays else []), what=lambda: str(subjects("INBOX")))
        if not stays:
            assert subjects("Undeliverable") == [b"from nobody"]
        imap.logout()
        assert routed.request("DELETE", f"mailboxes({box})").status_code == 204
        routed.mail.clear(address)


def test_answers_are_found_by_subject_and_people_where_that_is_on(routed, inbox):
    address, box = inbox
    [organization] = routed.get("organizations").json()["value"]
    assert organization["enablesmartmatching"] is False and organization["maxuploadfilesize"] == 5_242_880
    path = f"organizations({organization['organizationid']})"
    id = outgoing(routed, box, ["customer@elsewhere.test"], "The lamp that was ordered")

    def verdict(subject, sender="customer@elsewhere.test", **more):
        answer = routed.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", {
            "MailboxId": box, "From": sender, "To": address, "Subject": subject, "Body": f"x{time.monotonic_ns()}", "MessageId": "", **more})
        assert answer.status_code == 200, answer.text
        record = routed.get(f"emails({answer.json()['EmailId']})?$select=correlationmethod,_parentactivityid_value").json()
        return record["correlationmethod"], record["_parentactivityid_value"]

    assert verdict("Re: The lamp that was ordered") == (0, None)
    try:
        assert routed.request("PATCH", path, {"enablesmartmatching": True}).status_code == 204
        assert verdict("AW: RE[2]:  the lamp that was ordered CRM:00") == (0, None), "not the same words"
        assert verdict("AW: RE[2]:  the lamp  that was ordered")[0] == 6
        assert verdict("The lamp that was ordered", "stranger@elsewhere.test") == (0, None), "one person of both is not enough"
        assert verdict("Another lamp") == (0, None) and verdict("") == (0, None)
        sent = routed.get(f"emails({id})?$select=messageid").json()
        until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
        sent = routed.get(f"emails({id})?$select=messageid").json()
        assert verdict("A new subject", InReplyTo=sent["messageid"]) == (3, id)
        assert routed.request("PATCH", path, {"emailcorrelationenabled": False, "enablesmartmatching": False}).status_code == 204
        assert verdict("A new subject again", InReplyTo=sent["messageid"]) == (0, None)
        # Attachments of at most the organization's limit are stored. If one is larger, the delivery is refused.
        attachment = [{"FileName": "a.bin", "MimeType": "application/octet-stream", "Body": "QUFB" * 100}]
        for limit, kept in [(300, 1), (299, 0)]:
            assert routed.request("PATCH", path, {"maxuploadfilesize": limit}).status_code == 204
            answer = routed.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", {
                "MailboxId": box, "From": "customer@elsewhere.test", "To": address, "Subject": f"limit {limit}", "Body": "", "MessageId": "", "Attachments": attachment})
            if kept:
                record = routed.get(f"emails({answer.json()['EmailId']})?$select=attachmentcount,notifications").json()
                assert (record["attachmentcount"], record["notifications"]) == (1, 0)
            else:
                assert "maxuploadfilesize" in refused(answer, 400, "0x80044331")
        for bad in (0, 8_388_609, None, "1"):
            assert routed.request("PATCH", path, {"maxuploadfilesize": bad}).status_code == 400, bad
    finally:
        assert routed.request("PATCH", path, {"emailcorrelationenabled": True, "enablesmartmatching": False, "maxuploadfilesize": 5_242_880}).status_code == 204
    assert routed.request("PATCH", path, {"enablesmartmatching": True}, client="user").status_code == 403


def test_recipients_are_changed_by_update_while_an_email_is_a_draft(routed, inbox):
    address, box = inbox
    [(queue_id,)] = routed.sql("SELECT regardingobjectid FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    sender = {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue_id})"}
    id = routed.create("emails", {"subject": "to somebody else", "email_activity_parties": [sender, {"participationtypemask": 2, "addressused": "first@elsewhere.test"}]})

    def parties():
        record = routed.get(f"emails({id})?$select=torecipients&$expand=email_activity_parties").json()
        return record["torecipients"], {(p["participationtypemask"], p["addressused"]) for p in record["email_activity_parties"]}

    changed = {"subject": "to the right one", "email_activity_parties": [sender, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}, {"participationtypemask": 3, "addressused": "bob@contoso.test"}]}
    assert routed.request("PATCH", f"emails({id})", changed).status_code == 204
    assert parties() == ("customer@elsewhere.test", {(1, address), (2, "customer@elsewhere.test"), (3, "bob@contoso.test")})
    # A refused change leaves the recipients and the subject as they were.
    before = parties()
    for body in ({"email_activity_parties": [{"participationtypemask": 9}]}, {"email_activity_parties": "x"},
                 {"subject": "half", "email_activity_mime_attachment": [{"filename": "x", "body": "QUFB"}]}):
        assert routed.request("PATCH", f"emails({id})", body).status_code == 400, body
    assert parties() == before and routed.get(f"emails({id})?$select=subject").json()["subject"] == "to the right one"
    assert routed.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""}).status_code == 200
    refused = routed.request("PATCH", f"emails({id})", {"email_activity_parties": []})
    assert refused.status_code == 400 and "draft" in refused.json()["error"]["message"]
    until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
    assert parties() == before


def are_open_and_documented(address):
    """A strict parser of OpenMetrics accepts the metrics. They include those of every program, and docs/router.md names those of the router."""
    answer = requests.get(address, headers={"Accept": "application/openmetrics-text; version=1.0.0"}, timeout=60)
    assert answer.headers["Content-Type"].startswith("application/openmetrics-text; version=1.0.0")
    families = {family.name: family for family in openmetrics(answer.text)}
    assert {"fieldseal_build", "process_start_time_seconds", "process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"} <= set(families)
    assert families["fieldseal_build"].samples[0].labels["version"] and families["process_start_time_seconds"].samples[0].value > 1e9
    page = (pathlib.Path(__file__).parents[3] / "docs/router.md").read_text()
    own = {sample.name for name, family in families.items() if name.startswith("fieldseal_router_") for sample in family.samples}
    assert len(own) > 5 and [name for name in own if name.removeprefix("fieldseal_router_") not in page] == []


def test_metrics_count_what_a_router_did(routed, inbox):
    address, box = inbox
    os.kill(routed.router_pid(), signal.SIGSTOP)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    router = subprocess.Popen([PROGRAM, "router", "--interval", "1", "--metrics", f"127.0.0.1:{port}"], env=routed.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=routed.output)

    def metrics():
        try:
            answer = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=60)
        except requests.exceptions.ConnectionError:
            return {}
        assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
        return {m[1]: float(m[2]) for m in re.finditer(r"^([a-z_]+(?:\{[^}]*\})?) (\S+)$", answer.text, re.M)}

    try:
        # The stopped router still holds its leases. Ends them at once, so that the new router gets the mailboxes.
        routed.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, postponemailboxprocessinguntil = NULL")
        routed.mail.drop(address, [message(subject="counted", to=address).as_bytes(), b"From: <>\r\n\r\nx\r\n"])
        id = outgoing(routed, box, ["customer@elsewhere.test"], "counted too")
        refused = outgoing(routed, box, ["refuse550@elsewhere.test"], "refused and counted")
        until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
        until(lambda: routed.get(f"emails({refused})?$select=statuscode").json()["statuscode"] == 8)
        until(lambda: metrics().get("fieldseal_router_messages_delivered_total", 0) >= 1 and metrics().get("fieldseal_router_emails_sent_total", 0) >= 1)
        seen = until(lambda: m if (m := metrics()).get('fieldseal_router_emails_failed_total{outcome="permanent"}') == 1 else None)
        assert seen['fieldseal_router_messages_refused_total{reason="bad sender"}'] == 1 and seen["fieldseal_router_messages_fetched_total"] >= 2
        assert f'fieldseal_router_mailbox_lag_seconds{{mailbox="{box}"}}' in seen and seen["fieldseal_router_turns_total"] >= 1
        assert "counted" not in str(seen)
        are_open_and_documented(f"http://127.0.0.1:{port}/metrics")
    finally:
        router.terminate()
        assert router.wait(30) == 0
        os.kill(routed.router_pid(), signal.SIGCONT)
    bad = routed.run("router", "--metrics", "nowhere", check=False)
    assert bad.returncode and "--metrics takes an address" in bad.stderr


def test_later_and_more_urgent(routed, inbox):
    address, box = inbox
    later = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=8)).isoformat().replace("+00:00", "Z")
    held = outgoing(routed, box, ["customer@elsewhere.test"], "later", delayedemailsendtime=later)
    # The e-mails become due at the same moment, so that one turn sends all of them.
    ids = {name: routed.create("emails", {"subject": name, "deliveryprioritycode": code, "delayedemailsendtime": "2099-01-01T00:00:00Z", "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({routed.sql('SELECT regardingobjectid FROM org_contoso.mailbox WHERE mailboxid = %s', [box])[0][0]})"},
        {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]}) for name, code in [("low", 0), ("normal", 1), ("high", 2)]}
    for id in ids.values():
        assert routed.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""}).status_code == 200
    routed.sql("UPDATE org_contoso.email SET delayedemailsendtime = NULL WHERE activityid = ANY (%s::uuid[])", [list(ids.values())])
    until(lambda: routed.sql("SELECT count(*) FROM org_contoso.email WHERE activityid = ANY (%s::uuid[]) AND statuscode = 3", [list(ids.values())]) == [(3,)])
    order = [name for (name,) in routed.sql("SELECT subject FROM org_contoso.email WHERE activityid = ANY (%s::uuid[]) ORDER BY senton", [list(ids.values())])]
    assert order == ["high", "normal", "low"]
    until(lambda: routed.get(f"emails({held})?$select=statuscode").json()["statuscode"] == 3)
    [(waited,)] = routed.sql("SELECT senton >= delayedemailsendtime FROM org_contoso.email WHERE activityid = %s", [held])
    assert waited


def test_the_service_away_for_a_while(routed, inbox):
    address, box = inbox
    router = subprocess.Popen([PROGRAM, "router", "--interval", "1"], env=routed.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=routed.output)
    try:
        id = outgoing(routed, box, ["customer@elsewhere.test"], "before it went away")
        routed.stop(signal.SIGKILL)
        routed.mail.drop(address, [message(subject=f"while it was away {n}", to=address).as_bytes() for n in range(5)])
        time.sleep(int(os.environ.get("FIELDSEAL_ROUTER_AWAY", "20")))
        routed.start()
        until(lambda: len([e for e in emails(routed, box) if (e["subject"] or "").startswith("while it was away")]) == 5)
        until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] in (3, 8))
        assert len([m for m in routed.mail.messages("customer@elsewhere.test") if m["Subject"] == "before it went away"]) <= 1
    finally:
        router.terminate()
        router.wait(30)


# Refusals


@pytest.mark.parametrize("code, status, alert", [(421, 6, 12), (450, 6, 20), (452, 6, 22), (550, 8, 20), (552, 8, 21), (554, 8, 20)])
def test_refusals_of_the_mail_server(routed, inbox, code, status, alert):
    address, box = inbox
    id = outgoing(routed, box, [f"refuse{code}@elsewhere.test", "customer@elsewhere.test"], f"refused with {code}")
    def look():
        record = routed.get(f"emails({id})?$select=statuscode,deliveryattempts,postponeemailprocessinguntil").json()
        return record if record["statuscode"] == status and record["deliveryattempts"] == 1 else None
    record = until(look, what=lambda: routed.get(f"emails({id})").text)
    [(failure,)] = routed.sql("SELECT failure FROM org_contoso.email WHERE activityid = %s", [id])
    if alert:
        # The reason contains the code, even if the server closes the connection after its response.
        assert str(code) in failure and any(a["tracecode"] == alert and id in a["errordetails"] for a in alerts(routed, box))
    if status == 6:
        assert record["postponeemailprocessinguntil"]
        routed.request("PATCH", f"emails({id})", {"statuscode": 5})
    # The server refused one recipient, so the other recipient gets no message: sending it again would deliver it twice.
    assert not [m for m in routed.mail.messages("customer@elsewhere.test") if f"refused with {code}" in m["Subject"]]


def outgoing(deployment, box, recipients, subject, body="Text", **more):
    [(queue_id,)] = deployment.sql("SELECT regardingobjectid FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    id = deployment.create("emails", {"subject": subject, "description": body, **more, "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue_id})"}, *[{"participationtypemask": 2, "addressused": r} for r in recipients]]})
    response = deployment.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""})
    assert response.status_code == 200, response.text
    return id


def test_nothing_of_a_record_becomes_a_header(routed, inbox):
    address, box = inbox
    id = outgoing(routed, box, ["customer@elsewhere.test"], "injected\r\nBcc: alice@contoso.test\r\n\r\nnew body", "\r\n.\r\nQUIT\r\n.hidden line\r\n")
    until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
    [arrived] = until(lambda: [m for m in routed.mail.messages("customer@elsewhere.test") if "injected" in m["Subject"]])
    assert arrived["Bcc"] is None and "new body" in arrived["Subject"]
    assert [line for line in arrived.get_content().splitlines() if line] == [".", "QUIT", ".hidden line"]
    for address in ("a@b>\r\nRCPT TO:<eve@elsewhere.test", "a b@c.test", "<a@b.test>", "a@b@c", "@", ""):
        answer = routed.request("POST", "emails", {"subject": "x", "email_activity_parties": [{"participationtypemask": 2, "addressused": address}]})
        assert answer.status_code == 400, address


# Crashes, keys and rights


def test_without_the_key_a_mailbox_is_reported_once(routed, inbox):
    """While a mailbox stays without a key, no turn writes the mailbox, its audit, its alerts or its security events again."""
    address, box = inbox

    def written():
        return routed.sql("""
            SELECT (SELECT xmin::text FROM org_contoso.mailbox WHERE mailboxid = %(box)s), (SELECT count(*) FROM org_contoso.audit WHERE objectid = %(box)s),
                   (SELECT string_agg(xmin::text, ',') FROM org_contoso.tracelog WHERE regardingobjectid = %(box)s),
                   (SELECT count(*) FROM org_contoso.security_event WHERE details LIKE '%%' || %(box)s || '%%')""", {"box": box})[0]

    assert routed.set_key("A-key-that-is-required-1!").status_code == 204
    # Stops the router, which would otherwise send the e-mail before the key is removed.
    router = routed.router_pid()
    os.kill(router, signal.SIGSTOP)
    try:
        id = outgoing(routed, box, ["customer@elsewhere.test"], "waits for the key")
        others = [queue(routed, routed.mail, profile(routed, routed.mail), testemailconfigurationscheduled=False)[1] for _ in range(3)]
        routed.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
    finally:
        os.kill(router, signal.SIGCONT)
    try:
        problem(routed, box, 16)
        until(lambda: routed.sql("SELECT hostid IS NULL AND lastsyncerrorcode = 16 FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(True,)])
        routed.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = now() - interval '1 hour' WHERE mailboxid = %s", [box])
        before = written()
        # When the router has reported on the other mailboxes, it has also had a turn for this one, which became due before them.
        for other in others:
            routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [other])
            problem(routed, other, 16)
            routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = false WHERE mailboxid = %s", [other])
        assert written() == before
        # The router does the test and reports its failure.
        assert routed.request("PATCH", f"mailboxes({box})", {"testemailconfigurationscheduled": True}).status_code == 204
        until(lambda: not routed.get(f"mailboxes({box})").json()["testemailconfigurationscheduled"])
        # No e-mail waits in this mailbox. Without the key, its test reports that sending fails too.
        quiet = others[0]
        tested = routed.request("PATCH", f"mailboxes({quiet})", {"testemailconfigurationscheduled": True, "enabledforincomingemail": True})
        assert tested.status_code == 204
        until(lambda: routed.sql("""
            SELECT outgoingemailstatus, lastsyncerrorcode, testemailconfigurationscheduled FROM org_contoso.mailbox WHERE mailboxid = %s""",
            [quiet]) == [(2, 16, False)])
    finally:
        assert routed.set_key("A-key-that-is-required-1!", change=False).status_code == 204
    # With the key, the router goes on without any action of a person.
    until(lambda: routed.get(f"emails({id})").json()["statuscode"] == 3, what=lambda: routed.log().decode()[-3000:])
    until(lambda: routed.sql("SELECT lastsyncerrorcode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(None,)])
    # The router has received mail, so the key is there. It has sent nothing, so the state of sending is unknown.
    until(lambda: routed.sql("""
        SELECT incomingemailstatus, outgoingemailstatus, lastsyncerrorcode, mailboxstatus FROM org_contoso.mailbox WHERE mailboxid = %s""",
        [quiet]) == [(1, 0, None, 1)])


def test_a_key_change_and_a_lost_key(routed, inbox):
    address, box = inbox
    assert routed.set_key("A-key-for-the-router-1!").status_code == 204
    routed.mail.inject(address, message(subject="after a key change", to=address))
    until(lambda: [e for e in emails(routed, box) if e["subject"] == "after a key change"])
    held = routed.sql("SELECT * FROM config.organization_key WHERE retired_on IS NULL")
    routed.sql("CREATE TABLE public.held AS SELECT * FROM config.organization_key; SET session_replication_role = replica; DELETE FROM config.organization_key")
    try:
        alert = problem(routed, box, 16)
        assert alert["level"] == 2
        routed.mail.inject(address, message(subject="while the key was lost", to=address))
        assert routed.set_key("A-key-for-the-router-1!", change=False).status_code == 204
        until(lambda: [e for e in emails(routed, box) if e["subject"] == "while the key was lost"])
        assert routed.get(f"mailboxes({box})").json()["enabledforincomingemail"], "nobody had to enable it again"
    finally:
        routed.sql("DROP TABLE public.held")
    assert held


def test_credentials_are_released_to_a_lease_holder_alone(routed, inbox):
    _, box = inbox
    for client in ("admin", "user"):
        answer = routed.request("POST", "fieldseal.ReleaseCredential", {"MailboxId": box, "Direction": "Incoming", "HostId": "x"}, client=client)
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "0x80040220")
    answer = routed.request("POST", "fieldseal.ReleaseCredential", {"MailboxId": box, "Direction": "Incoming", "HostId": "another router"}, client="router")
    assert answer.status_code == 412 and routed.mail.passwords["user@contoso.test"] not in answer.text
    assert routed.sql("SELECT count(*) > 2 FROM org_contoso.security_event WHERE kind = 'credential released' AND outcome = 'refused'") == [(True,)]
    for path in ("fieldseal.LeaseMailbox", "fieldseal.TakePendingEmails", "fieldseal.ReportMailbox", "fieldseal.ReportEmails"):
        answer = routed.request("POST", path, {"HostId": "x", "MailboxId": box, "EmailId": box, "Reports": [{"EmailId": box, "Outcome": "Sent"}], "Limit": 1}, client="admin")
        assert answer.status_code == 403, path
    # An Email Administrator who may edit a profile can't make the router send its password to another host.
    prof = profile(routed, routed.mail, incomingcredentialretrieval=1, incomingusername="x", incomingpassword="kept-here-1")
    editor = routed.json("client", "add", "editor", "--role", "Email Administrator", "--org", "contoso")
    token = routed.token_response(editor["clientId"], editor["clientSecret"]).json()["access_token"]
    moved = routed.request("PATCH", f"emailserverprofiles({prof})", {"incomingserverlocation": "evil.test"}, token=token)
    assert (moved.status_code, moved.json()["error"]["code"]) == (403, "0x80040220")
    for attribute, value in [("incomingauthenticationprotocol", 4), ("exchangeonlinetenantid", "another")]:
        assert routed.request("PATCH", f"emailserverprofiles({prof})", {attribute: value}, token=token).status_code == 403, attribute
    assert routed.request("PATCH", f"emailserverprofiles({prof})", {"description": "still mine"}, token=token).status_code == 204
    assert routed.request("PATCH", f"emailserverprofiles({prof})", {"incomingserverlocation": "new.test", "incomingpassword": "another-1"}, token=token).status_code == 204
    assert routed.request("PATCH", f"emailserverprofiles({prof})", {"incomingserverlocation": "admin.test"}).status_code == 204
    counts = dict(routed.sql("SELECT outcome, count(*) FROM org_contoso.security_event WHERE kind = 'mail server changed' AND details LIKE %s GROUP BY 1", [f"%{prof}%"]))
    assert counts == {"refused": 3, "succeeded": 2}


def test_kills_of_routers_and_the_service_lose_and_double_nothing(routed):
    """While messages are received and sent, the test kills routers and the service again and again."""
    kill_everything(routed, kills=int(os.environ.get("FIELDSEAL_ROUTER_KILLS", "25")), seed=int(os.environ.get("FIELDSEAL_ROUTER_SEED", "20261124")))


def numbered(name, number):
    return f"From: customer@elsewhere.test\r\nTo: carol@contoso.test\r\nSubject: {name} {number}\r\nMessage-ID: <{name}.{number}@elsewhere.test>\r\n\r\nText\r\n".encode()


def polled_and_watched(deployment, mail):
    """Makes a mailbox that is polled, and a mailbox whose server announces messages and does not return one of them. Also returns that server."""
    _, polled = queue(deployment, mail, profile(deployment, mail, "pop3"), "carol@contoso.test", outgoingemaildeliverymethod=0)
    server = IdlingServer(mail.servers.folder / "server", {1: numbered("odd", 0)})
    server.quirk, server.odd = "no", 1
    watched = deployment.create("mailboxes", {
        "name": "watched", "emailaddress": "watched@contoso.test", "username": "watched", "password": "a-password-1", "allowemailconnectortousecredentials": True,
        "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 0, "emailrouteraccessapproval": 1,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile(deployment, mail, incomingportnumber=server.port)})"})
    return polled, watched, server


def all_arrives(deployment, server, boxes, kills, received):
    """Waits until the routers have received and sent all messages of the test."""
    box, polled, watched = boxes
    # Makes the leases older: the lease of a killed router ends only after two minutes.
    deployment.sql("UPDATE org_contoso.mailbox SET processinglastattemptedon = processinglastattemptedon - interval '3 minutes' WHERE mailboxid = ANY (%s::uuid[])", [list(boxes)])
    for other, name in [(polled, "polled"), (watched, "watched")]:
        until(lambda: deployment.sql("SELECT count(*) FROM org_contoso.email WHERE receivingmailboxid = %s", [other])[0][0] >= kills,
              what=lambda: f"{name}: " + str(deployment.sql("SELECT subject FROM org_contoso.email WHERE receivingmailboxid = %s", [other])) + deployment.log().decode()[-3000:])
    # The router sets the message aside that the server does not return. There is exactly one note of it.
    assert deployment.sql("SELECT uid, message_id FROM org_contoso.mailbox_message WHERE mailboxid = %s", [watched]) == [("7:1", "<odd.0@elsewhere.test>")]
    # Exactly one running router watches the mailbox.
    until(lambda: len(set(server.idling)) == 1 and deployment.sql("SELECT count(*) FROM org_contoso.mailbox_watch JOIN org_contoso.mail_router USING (router) WHERE mailboxid = %s AND seen_on > now() - interval '90 seconds'", [watched]) == [(1,)],
          what=lambda: str(server.idling) + deployment.log().decode()[-3000:])
    until(lambda: deployment.sql("SELECT count(*) FROM org_contoso.email WHERE receivingmailboxid = %s", [box])[0][0] >= received,
          what=lambda: deployment.log().decode()[-3000:])
    until(lambda: deployment.sql("SELECT count(*) FROM org_contoso.email WHERE sendermailboxid = %s AND statuscode IN (6, 7)", [box]) == [(0,)],
          what=lambda: str(deployment.sql("SELECT statuscode, deliveryattempts, is_handed_over, postponeemailprocessinguntil, failure FROM org_contoso.email WHERE sendermailboxid = %s AND statuscode IN (6, 7)", [box])))


def nothing_is_lost_or_doubled(deployment, box, kills, received):
    subjects = deployment.sql("SELECT subject, count(*) FROM org_contoso.email WHERE receivingmailboxid = %s GROUP BY 1", [box])
    assert dict(subjects) == {f"in {n}": 1 for n in range(received)}
    states = dict(deployment.sql("SELECT subject, statuscode FROM org_contoso.email WHERE sendermailboxid = %s AND subject LIKE 'out %%'", [box]))
    # Postfix accepts a message before it delivers it, so the test waits.
    until(lambda: {s for s, state in states.items() if state == 3} <= {m["Subject"] for m in deployment.mail.messages("customer@elsewhere.test")},
          what=lambda: str({s for s, state in states.items() if state == 3} - {m["Subject"] for m in deployment.mail.messages("customer@elsewhere.test")}))
    arrived = [m["Subject"] for m in deployment.mail.messages("customer@elsewhere.test")]
    counts = {subject: arrived.count(subject) for subject in states}
    # An e-mail with the state Sent arrived once. If a router was killed before it read the server's response, the e-mail is Failed and may have
    # arrived.
    assert all(counts[s] == 1 for s, state in states.items() if state == 3), {s: (counts[s], states[s]) for s in states if counts[s] != 1}
    assert all(counts[s] <= 1 for s in states)
    unknown = [s for s, state in states.items() if state == 8]
    reasons = deployment.sql("SELECT DISTINCT failure LIKE 'The connection broke while%%' FROM org_contoso.email WHERE sendermailboxid = %s AND statuscode = 8", [box])
    # A killed router leaves at most 16 e-mails in doubt, because one request announces at most 16.
    assert reasons in ([], [(True,)]) and len(unknown) <= 16 * kills


def kill_everything(deployment, kills, seed):
    random, mail, address = Random(seed), deployment.mail, "alice@contoso.test"
    _, box = queue(deployment, mail, profile(deployment, mail), address)
    enabled(deployment, box)
    mail.clear("customer@elsewhere.test")
    mail.clear("carol@contoso.test")
    polled, watched, server = polled_and_watched(deployment, mail)
    routers = []

    def another():
        routers.append(subprocess.Popen([PROGRAM, "router", "--interval", "1", "--workers", "2"], env=deployment.environment, stdin=subprocess.DEVNULL,
                                        stdout=subprocess.DEVNULL, stderr=deployment.output))

    for _ in range(2):
        another()
    sent, received = {}, 0
    try:
        for number in range(kills):
            mail.drop(address, [message(subject=f"in {received + n}", to=address).as_bytes() for n in range(3)])
            received += 3
            mail.drop("carol@contoso.test", [numbered("polled", number)])
            server.deliver(number + 2, numbered("watched", number))
            try:
                for n in range(2):
                    subject = f"out {number}.{n}"
                    sent[outgoing(deployment, box, ["customer@elsewhere.test"], subject)] = subject
            except (requests.exceptions.RequestException, AssertionError):
                pass
            time.sleep(random.uniform(0, 1.2))
            if number % 5 == 4:
                deployment.process.kill()
                deployment.process.wait()
                deployment.start()
            else:
                victim = routers.pop(random.randrange(len(routers)))
                victim.kill()
                victim.wait()
                another()
        all_arrives(deployment, server, (box, polled, watched), kills, received)
    finally:
        for router in routers:
            router.kill()
            router.wait()
        server.stop()
    for other, name in [(polled, "polled"), (watched, "watched")]:
        assert dict(deployment.sql("SELECT subject, count(*) FROM org_contoso.email WHERE receivingmailboxid = %s GROUP BY 1", [other])) == {f"{name} {n}": 1 for n in range(kills)}
        assert deployment.request("DELETE", f"mailboxes({other})").status_code == 204
    nothing_is_lost_or_doubled(deployment, box, kills, received)
