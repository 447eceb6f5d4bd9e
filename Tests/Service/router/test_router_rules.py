"""Rules of receiving and sending: filters, rights, dates, limits, and capabilities of servers."""

import base64
import datetime
import os
import re
import signal
import socket
import subprocess
import threading
import time

import pytest
from mail import Mail, alerts, message, profile, queue
from service import PROGRAM, Deployment
from test_router import Talker, emails, enabled, outgoing
from waiting import until


@pytest.fixture(scope="module")
def ruled():
    """A deployment whose Dovecot accepts passwords only with LOGIN, and whose routers try an e-mail only twice."""
    deployment = Deployment(FIELDSEAL_MAIL_ATTEMPTS="2")
    deployment.home.chmod(0o755)
    try:
        deployment.start()
        deployment.mail = Mail(deployment.home, dovecot="auth_mechanisms = login")
        yield deployment
    finally:
        if hasattr(deployment, "mail"):
            deployment.mail.stop()
        deployment.remove()


@pytest.fixture(scope="module")
def inbox(ruled):
    """A mailbox whose servers use STARTTLS. Returns its address and its id."""
    servers = ruled.mail.description
    address = "user@contoso.test"
    _, box = queue(ruled, ruled.mail, profile(ruled, ruled.mail, incomingportnumber=servers["imap"]["startTLSPort"], outgoingportnumber=servers["smtp"]["startTLSPort"]), address)
    enabled(ruled, box)
    return address, box


def test_starttls_and_login(ruled, inbox):
    address, box = inbox
    ruled.mail.inject(address, message(subject="by STARTTLS", to=address))
    until(lambda: [e for e in emails(ruled, box) if e["subject"] == "by STARTTLS"])
    id = outgoing(ruled, box, ["customer@elsewhere.test"], "out by STARTTLS")
    until(lambda: ruled.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
    assert re.search(r"user=<user>, method=LOGIN, .* TLS", ruled.mail.servers.log())
    [arrived] = until(lambda: [m for m in ruled.mail.messages("customer@elsewhere.test") if m["Subject"] == "out by STARTTLS"])
    assert "ESMTPSA" in str(arrived["Received"]) or "ESMTPSA" in str(arrived.get_all("Received"))


class LateRelay(threading.Thread):
    """Forwards connections to a server. Delays the greeting, or closes the first connections without one."""

    def __init__(self, port, seconds=0.0, hang_up=0):
        super().__init__(daemon=True)
        self.target, self.seconds, self.hang_up = port, seconds, hang_up
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.start()

    def run(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            if self.hang_up:
                self.hang_up -= 1
                client.close()
                continue
            server = socket.create_connection(("127.0.0.1", self.target))
            threading.Thread(target=self.forward, args=(client, server, 0), daemon=True).start()
            threading.Thread(target=self.forward, args=(server, client, self.seconds), daemon=True).start()

    def forward(self, source, target, seconds):
        try:
            while data := source.recv(65_536):
                time.sleep(seconds)
                target.sendall(data)
                seconds = 0
        except OSError:
            pass
        for end in (source, target):
            try:
                end.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass


@pytest.mark.parametrize("tls, relay", [("STARTTLS", {"seconds": 2.5}), ("implicit", {"hang_up": 1})])
def test_a_server_that_is_slow_to_greet_is_understood_at_the_next_turn(ruled, tls, relay):
    """The profile's port does not tell whether to use TLS, so the router tries both. A late or missing greeting makes the first attempt fail."""
    servers = ruled.mail.description
    relay = LateRelay(servers["imap"]["startTLSPort" if tls == "STARTTLS" else "port"], **relay)
    try:
        _, box = queue(ruled, ruled.mail, profile(ruled, ruled.mail, incomingportnumber=relay.port), "bob@contoso.test")
        enabled(ruled, box)
        ruled.mail.inject("bob@contoso.test", message(subject=f"past a slow greeting, {tls}", to="bob@contoso.test"))
        until(lambda: [e for e in emails(ruled, box) if e["subject"] == f"past a slow greeting, {tls}"])
    finally:
        # Deactivates the mailbox, so that no router works on it during later tests.
        ruled.request("PATCH", f"mailboxes({box})", {"statecode": 1, "statuscode": 2})
        relay.listener.close()


def test_no_credentials_where_none_are_asked_for(ruled):
    prof = profile(ruled, ruled.mail, outgoingcredentialretrieval=4, usesamesettingsforoutgoingconnections=False)
    _, box = queue(ruled, ruled.mail, prof, "carol@contoso.test")
    enabled(ruled, box)
    id = outgoing(ruled, box, ["customer@elsewhere.test"], "signed in by nobody")
    until(lambda: ruled.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
    [arrived] = until(lambda: [m for m in ruled.mail.messages("customer@elsewhere.test") if m["Subject"] == "signed in by nobody"])
    assert "ESMTPSA" not in str(arrived.get_all("Received"))


def test_filters_decide_what_becomes_a_record(ruled):
    known = ruled.create("systemusers", {"fullname": "Known", "domainname": f"known {time.monotonic_ns()}", "internalemailaddress": "known@contoso.test",
                                         "businessunitid@odata.bind": f"/businessunits({ruled.get('businessunits').json()['value'][0]['businessunitid']})"})
    boxes = {}
    for method in range(4):
        id = ruled.create("queues", {"name": f"filter {method} {time.monotonic_ns()}", "emailaddress": f"filter{method}@contoso.test", "incomingemailfilteringmethod": method})
        boxes[method] = ruled.get(f"queues({id})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]

    def ask(name, method, sender="stranger@elsewhere.test", to=None, client="admin", **more):
        answer = ruled.request("POST", f"emails/Microsoft.Dynamics.CRM.{name}", {
            "MailboxId": boxes[method], "From": sender, "To": to or f"filter{method}@contoso.test", "Subject": "x", "MessageId": "", "Body": f"{method}", **more}, client=client)
        assert answer.status_code == 200, answer.text
        return answer.json()["ShouldDeliver"], answer.json()["ReasonCode"]

    def check(method, *arguments, **more):
        return ask("CheckIncomingEmail", method, *arguments, **more)

    # Dataverse's reason codes. 6: a recipient accepts all mail. -1: no filter accepts the message. 5: the sender is accepted. 7: the sender is
    # invalid.
    assert [check(m) for m in range(4)] == [(True, 6), (False, -1), (False, -1), (False, -1)]
    # A queue that ignores unsolicited mail accepts only replies, with every filter.
    [queue] = ruled.sql("SELECT regardingobjectid FROM org_contoso.mailbox WHERE mailboxid = %s", [boxes[0]])[0]
    for ignores, expected in ((True, (False, -1)), (False, (True, 6))):
        assert ruled.request("PATCH", f"queues({queue})", {"ignoreunsolicitedemail": ignores}).status_code == 204
        assert check(0) == expected
    # Filter 2 would accept mail of leads, contacts and accounts. This product has none, so it accepts no mail.
    assert [check(m, "Known@Contoso.test") for m in range(4)] == [(True, 6), (False, -1), (False, -1), (True, 5)]
    # A sender may be words without an address, but not an empty or overlong text.
    assert check(0, "Mail Delivery Subsystem") == (True, 6) and [check(0, nothing) for nothing in ("<>", " ", "x" * 201)] == [(False, 7)] * 3
    # Checking a message makes no record. Delivering the same message twice is refused as a duplicate.
    count = ruled.sql("SELECT count(*) FROM org_contoso.email")
    assert check(0) == (True, 6) and ruled.sql("SELECT count(*) FROM org_contoso.email") == count
    assert ask("DeliverIncomingEmail", 0, MessageId="<first@elsewhere.test>") == (True, 6)
    assert ask("DeliverIncomingEmail", 0, MessageId="<first@elsewhere.test>") == (False, 0)
    # Filter 1 accepts only replies. It recognizes them by In-Reply-To, or by the token in the subject.
    assert check(1, InReplyTo="<first@elsewhere.test>") == (True, 5)
    assert check(1, Subject="Re: x CRM:0123456") == (False, 1)
    ruled.sql("UPDATE org_contoso.email SET trackingtoken = 'CRM:0123456' WHERE messageid = '<first@elsewhere.test>'")
    assert check(1, Subject="Re: x CRM:0123456") == (True, 2)
    # For a user's mailbox, the filter in the user's settings decides.
    user_box = ruled.get(f"mailboxes?$filter=_regardingobjectid_value eq {known}").json()["value"][0]["mailboxid"]
    boxes["user"] = user_box
    assert check("user", to="known@contoso.test") == (False, -1)
    assert ruled.request("PATCH", f"usersettingscollection({known})", {"incomingemailfilteringmethod": 0}).status_code == 204
    assert check("user", to="known@contoso.test") == (True, 6)
    assert ruled.request("POST", "emails/Microsoft.Dynamics.CRM.CheckIncomingEmail", {"From": "a@b.test"}, client="user").status_code == 403
    # The verdict reveals whether an e-mail exists. So a router may ask only about a mailbox that it has leased.
    known = {"MailboxId": boxes[1], "From": "a@b.test", "To": "filter1@contoso.test", "Subject": "", "Body": "", "InReplyTo": "<first@elsewhere.test>"}
    for more, status in (({}, 400), ({"HostId": "not the lease"}, 412), ({"MailboxId": None}, 400)):
        assert ruled.request("POST", "emails/Microsoft.Dynamics.CRM.CheckIncomingEmail", {**known, **more}, client="router").status_code == status
    answer = ruled.request("POST", "emails/Microsoft.Dynamics.CRM.CheckIncomingEmail", {"From": "a@b.test", "To": "nobody@contoso.test", "Subject": "", "Body": ""})
    assert answer.json()["ReasonCode"] == 3


def test_nobody_sends_for_others_without_their_leave(ruled):
    unit = ruled.get("businessunits").json()["value"][0]["businessunitid"]
    other = ruled.create("systemusers", {"fullname": "Other", "domainname": f"other {time.monotonic_ns()}", "internalemailaddress": "other@contoso.test", "businessunitid@odata.bind": f"/businessunits({unit})"})
    id = ruled.create("emails", {"subject": "for another", "email_activity_parties": [
        {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({other})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]}, client="user")
    path = f"emails({id})/Microsoft.Dynamics.CRM.SendEmail"
    refused = ruled.request("POST", path, {"IssueSend": True}, client="user")
    assert (refused.status_code, refused.json()["error"]["code"]) == (403, "0x80040220") and "issendasallowed" in refused.text
    assert ruled.request("PATCH", f"usersettingscollection({other})", {"issendasallowed": True}).status_code == 204
    assert ruled.request("POST", path, {"IssueSend": True}, client="user").status_code == 200


def test_parts_and_charsets(ruled, inbox):
    address, box = inbox
    mail = message(subject="Teile: Käse 東京 Привет", to=address, body="plain words")
    mail.add_alternative("<p>formatted <img src='cid:logo'></p>", subtype="html")
    mail.get_payload()[1].add_related(b"\x89PNG inline", "image", "png", cid="<logo>")
    mail.add_attachment("ひらがな", charset="iso-2022-jp", filename="naïve Датei.txt")
    texts = {"koi8-r": "Русский текст", "iso-2022-jp": "日本語", "windows-1252": "„Straße“ – 5 €", "utf-16": "both ends"}
    raw = [f"From: a@b.test\r\nTo: {address}\r\nSubject: in {name}\r\nContent-Type: text/plain; charset={name}\r\nContent-Transfer-Encoding: base64\r\n\r\n".encode() +
           base64.b64encode(text.encode(name)) + b"\r\n" for name, text in texts.items()]
    ruled.mail.drop(address, [mail.as_bytes(), *raw])
    found = until(lambda: f if len(f := {e["subject"]: e for e in emails(ruled, box)}.keys() & {mail["Subject"], *(f"in {n}" for n in texts)}) == 5 else None)
    records = {e["subject"]: e for e in emails(ruled, box)}
    for name, text in texts.items():
        assert text in records[f"in {name}"]["description"], name
    record = records[str(mail["Subject"])]
    assert "formatted" in record["description"] and record["attachmentcount"] == 2 and found
    names = {a["filename"] for a in ruled.get(f"activitymimeattachments?$filter=_objectid_value eq {record['activityid']}&$select=filename,mimetype,filesize").json()["value"]}
    assert "naïve Датei.txt" in names and len(names) == 2


def test_what_came_before_a_date_is_left_alone(ruled, inbox):
    address, box = inbox
    day = datetime.datetime.now(datetime.timezone.utc) - datetime.timedelta(days=1)
    assert ruled.request("PATCH", f"mailboxes({box})", {"processemailreceivedafter": day.strftime("%Y-%m-%dT%H:%M:%SZ")}).status_code == 204
    ruled.mail.drop(address, [message(subject="an old one", to=address).as_bytes()], arrived=day.timestamp() - 3_600)
    ruled.mail.drop(address, [message(subject="a new one", to=address).as_bytes()], arrived=day.timestamp() + 3_600)
    until(lambda: [e for e in emails(ruled, box) if e["subject"] == "a new one"])
    assert not [e for e in emails(ruled, box) if e["subject"] == "an old one"]


def test_all_recipients_or_none(ruled, inbox):
    _, box = inbox
    id = outgoing(ruled, box, ["customer@elsewhere.test", "refuse550@elsewhere.test"], "to both or nobody")
    until(lambda: ruled.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 8)
    [(reason,)] = ruled.sql("SELECT failure FROM org_contoso.email WHERE activityid = %s", [id])
    assert "refuse550@elsewhere.test" in reason and "No such user" in reason
    assert not [m for m in ruled.mail.messages("customer@elsewhere.test") if m["Subject"] == "to both or nobody"]


def test_attempts_end_and_keep_their_message_id(ruled, inbox):
    _, box = inbox
    id = outgoing(ruled, box, ["refuse450@elsewhere.test"], "tried twice")

    def state():
        return ruled.sql("SELECT statuscode, deliveryattempts, messageid, postponeemailprocessinguntil > now() + interval '50 seconds' FROM org_contoso.email WHERE activityid = %s", [id])[0]

    status, attempts, first, waits = until(lambda: s if (s := state())[:2] == (6, 1) else None, what=lambda: str(state()))
    assert waits and first
    ruled.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = NULL WHERE activityid = %s", [id])
    until(lambda: state()[:2] == (8, 2), what=lambda: str(state()))
    assert state()[2] == first
    alert = next(a for a in alerts(ruled, box) if a["tracecode"] == 24)
    assert alert["level"] == 3 and id in alert["errordetails"]
    # A person sends the e-mail again. It keeps its Message-ID.
    assert ruled.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""}).status_code == 200
    until(lambda: state()[:2] == (6, 1))
    assert state()[2] == first


def test_a_heavy_mailbox_starves_nobody_and_logs_hold_no_content(ruled, inbox, tmp_path):
    heavy, heavy_box = inbox
    light = "bob@contoso.test"
    _, light_box = queue(ruled, ruled.mail, profile(ruled, ruled.mail), light)
    enabled(ruled, light_box)
    os.kill(ruled.router_pid(), signal.SIGSTOP)
    with open(tmp_path / "log", "wb") as log:
        ruled.mail.drop(heavy, [message(subject=f"heavy {n}", to=heavy, body="canary-of-the-content").as_bytes() for n in range(60)])
        note = message(subject="light", to=light)
        ruled.mail.drop(light, [note.as_bytes()])
        ruled.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, postponemailboxprocessinguntil = NULL")
        router = subprocess.Popen([PROGRAM, "router", "--interval", "1", "--workers", "1", "--turn-limit", "10", "--verbose"], env=ruled.environment,
                                  stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            until(lambda: len([e for e in emails(ruled, heavy_box) if (e["subject"] or "").startswith("heavy")]) == 60)
            until(lambda: [e for e in emails(ruled, light_box) if e["subject"] == "light"])
        finally:
            router.terminate()
            assert router.wait(30) == 0
            os.kill(ruled.router_pid(), signal.SIGCONT)
    after = ruled.sql("""SELECT count(*) FROM org_contoso.email AS h, org_contoso.email AS l
        WHERE l.subject = 'light' AND h.subject LIKE 'heavy %%' AND h.createdon > l.createdon""")
    assert after[0][0] >= 30
    written = (tmp_path / "log").read_text()
    assert note["Message-ID"] in written.replace("\\/", "/") and light_box in written
    assert "canary-of-the-content" not in written and "heavy 1" not in written
    assert not any(password in written for password in ruled.mail.passwords.values())


def test_a_profile_says_how_many_are_worked_on_at_a_time(ruled):
    silent = Talker([(b"", None)] * 50)
    try:
        prof = profile(ruled, ruled.mail, incomingportnumber=silent.port, maxconcurrentconnections=1, timeoutmailboxconnection=True, timeoutmailboxconnectionafteramount=2_000)
        boxes = [queue(ruled, ruled.mail, prof)[1] for _ in range(3)]
        seen = set()

        def watch():
            seen.add(ruled.sql("SELECT count(*) FROM org_contoso.mailbox WHERE processingstatecode = 1 AND emailserverprofile = %s", [prof])[0][0])
            return all(ruled.sql("SELECT lastsyncerrorcode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(12,)] for box in boxes)

        until(watch)
        assert seen == {0, 1} or seen == {1}
        for box in boxes:
            assert ruled.request("DELETE", f"mailboxes({box})").status_code == 204
    finally:
        silent.stop()


def test_a_profile_says_how_often_a_mailbox_is_looked_at(ruled):
    _, box = queue(ruled, ruled.mail, profile(ruled, ruled.mail, minpollingintervalinminutes=10), "support@contoso.test")
    enabled(ruled, box)
    due = ruled.sql("SELECT postponemailboxprocessinguntil > now() + interval '9 minutes' FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    assert due == [(True,)]
    # Sending does not wait for the next time when mail is fetched.
    id = outgoing(ruled, box, ["customer@elsewhere.test"], "sent in between")
    until(lambda: ruled.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 3)
