"""router/…: receiving and sending e-mails, compared with Debian's isync and Postfix's smtp-source."""

import base64
import hashlib
import json
import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import psycopg
from bench import paired, record
from mail import Mail, message, profile, queue
from mail_quirks import POP3Server
from service import PROGRAM, Deployment
from waiting import until

FIGURES = ["router/ingest", "router/send", "router/memory", "router/large", "router/idle"]
INCOMING = int(os.environ.get("FIELDSEAL_BENCH_INCOMING", "5000"))
OUTGOING = int(os.environ.get("FIELDSEAL_BENCH_OUTGOING", "1000"))
# The number of sessions that smtp-source uses at a time. For a mailbox, the router uses one.
SESSIONS = 1


def set_mailbox(service, box, **columns):
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        assignments = ", ".join(f"{name} = {value}" for name, value in columns.items())
        connection.execute(f"UPDATE org_contoso.mailbox SET {assignments} WHERE mailboxid = %s", [box])


def fill(service, address):
    """Puts `INCOMING` messages of 4 KiB into the mailbox on the server."""
    text = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr.\r\n" * 64
    service.mail.drop(address, [message(subject=f"number {n}", to=address, body=text).as_bytes() for n in range(INCOMING)])


def ingest(service, box):
    """The seconds until the router has made a record of every message."""
    service.sql("TRUNCATE org_contoso.email CASCADE")
    set_mailbox(service, box, router_state="NULL")
    start = time.monotonic()
    set_mailbox(service, box, enabledforincomingemail="true", postponemailboxprocessinguntil="NULL")
    until(lambda: service.sql("SELECT count(*) FROM org_contoso.email") == [(INCOMING,)], seconds=600)
    seconds = time.monotonic() - start
    set_mailbox(service, box, enabledforincomingemail="false")
    until(lambda: service.sql("SELECT processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)])
    return seconds


def mbsync(service, address):
    """The seconds in which isync copies the same messages into a folder."""
    folder = pathlib.Path(tempfile.mkdtemp(dir=service.home))
    imap = service.mail.description["imap"]
    (folder / "rc").write_text(f"""
IMAPAccount a
Host localhost
Port {imap['port']}
User {address.split('@')[0]}
Pass {service.mail.passwords[address]}
SSLType IMAPS
CertificateFile {service.mail.description['caFile']}
AuthMechs PLAIN

IMAPStore far
Account a

MaildirStore near
Inbox {folder}/inbox

Channel c
Far :far:
Near :near:
Patterns INBOX
Create Near
Sync Pull
SyncState *
""")
    start = time.monotonic()
    subprocess.run(["mbsync", "-c", folder / "rc", "c"], check=True, capture_output=True, stdin=subprocess.DEVNULL)
    seconds = time.monotonic() - start
    assert sum(len(list((folder / "inbox" / part).iterdir())) for part in ("new", "cur")) == INCOMING
    shutil.rmtree(folder)
    return seconds


def send(service, box, q):
    """The seconds until the router has sent every e-mail."""
    service.sql("TRUNCATE org_contoso.email CASCADE")
    targets = [{"subject": f"number {n}", "description": "x" * 2_000, "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]}
        for n in range(OUTGOING)]
    response = service.request("POST", "emails/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert response.status_code == 200, response.text
    for (email,) in service.sql("SELECT activityid FROM org_contoso.email"):
        response = service.request("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""})
        assert response.status_code == 200, response.text
    # The e-mails wait. The measurement begins when they become due.
    service.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = now() + interval '1 day'")
    set_mailbox(service, box, enabledforoutgoingemail="true")
    start = time.monotonic()
    service.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = NULL")
    until(lambda: service.sql("SELECT count(*) FROM org_contoso.email WHERE statuscode = 3") == [(OUTGOING,)], seconds=600)
    seconds = time.monotonic() - start
    set_mailbox(service, box, enabledforoutgoingemail="false")
    until(lambda: service.sql("SELECT processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)])
    return seconds


def smtp_source(service):
    """The seconds in which Postfix's smtp-source sends as many messages, without signing in and without TLS."""
    start = time.monotonic()
    subprocess.run(["/usr/sbin/smtp-source", "-s", str(SESSIONS), "-m", str(OUTGOING), "-l", "2600", "-f", "support@contoso.test", "-t", "customer@elsewhere.test",
                    f"127.0.0.1:{service.mail.description['inject']['port']}"], check=True, capture_output=True)
    return time.monotonic() - start


def peak(service, box, address, size):
    """The maximum memory of a new router in MiB, for one message with an attachment of `size` bytes."""
    service.sql("TRUNCATE org_contoso.email CASCADE")
    service.mail.clear(address)
    note = message(subject="heavy", to=address)
    note.add_attachment(os.urandom(size), maintype="application", subtype="octet-stream", filename="a.bin")
    # The deployment's router is stopped, so this router gets the mailbox.
    router = subprocess.Popen(["/usr/bin/env", PROGRAM, "router", "--interval", "1", "--workers", "1"], env=service.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        service.mail.drop(address, [note.as_bytes()])
        set_mailbox(service, box, router_state="NULL", enabledforincomingemail="true", postponemailboxprocessinguntil="NULL")
        until(lambda: service.sql("SELECT count(*) FROM org_contoso.email") == [(1,)], seconds=120)
        status = pathlib.Path(f"/proc/{router.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1_024
    finally:
        set_mailbox(service, box, enabledforincomingemail="false")
        router.terminate()
        router.wait(30)


class ListedPOP3Server(POP3Server):
    """A POP3 server that computes its lists only once, so that the time of the router is measured."""

    def __init__(self, certificate, messages):
        self.lists = {
            b"LIST": b"".join(b"%d %d\r\n" % (n, len(m)) for n, m in enumerate(messages, 1)),
            b"UIDL": b"".join(b"%d %s\r\n" % (n, self.name(n)) for n in range(1, len(messages) + 1))}
        self.texts = messages
        super().__init__(certificate, {})

    def talk(self, stream, lines):
        stream.sendall(b"+OK ready\r\n")
        for line in lines:
            word, _, rest = line.strip().partition(b" ")
            if word == b"CAPA":
                stream.sendall(b"+OK\r\nUSER\r\nUIDL\r\nSASL PLAIN\r\n.\r\n")
            elif word in self.lists:
                stream.sendall(b"+OK\r\n" + self.lists[word] + b".\r\n")
            elif word == b"RETR":
                stream.sendall(b"+OK\r\n" + self.texts[int(rest) - 1] + b".\r\n")
            elif word == b"AUTH" and not rest.partition(b" ")[2]:
                stream.sendall(b"+ \r\n")
            else:
                stream.sendall(b"+OK\r\n")
            if word == b"QUIT":
                return


def large(service, count, new=10):
    """A function that measures one turn of a POP3 mailbox in milliseconds, and the server. Of the `count` messages, the last `new` ones are new."""
    texts = [f"From: customer@elsewhere.test\r\nTo: support@contoso.test\r\nSubject: {n} of {count}\r\n\r\nText\r\n".encode() for n in range(count)]
    server = ListedPOP3Server(service.mail.servers.folder / "server", texts)
    # For each known message, the id that the router stores: the server's id and the size.
    known = [b"%s %d" % (server.name(n), len(texts[n - 1])) for n in range(1, count - new + 1)]
    digest = base64.b64encode(hashlib.sha256(b"\n".join(known)).digest()).decode()
    state = json.dumps({"known": {"count": len(known), "digest": digest}})
    box = service.create("mailboxes", {
        "name": f"{count} messages", "emailaddress": "support@contoso.test", "username": "bob", "password": "p", "allowemailconnectortousecredentials": True,
        "incomingemaildeliverymethod": 0, "outgoingemaildeliverymethod": 0, "emailrouteraccessapproval": 1,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile(service, service.mail, 'pop3', incomingportnumber=server.port)})"})
    # No turn may begin before the mailbox's state is set.
    set_mailbox(service, box, enabledforincomingemail="false", incomingemaildeliverymethod="2")

    def measure():
        # Waits until no turn is running. While receiving is disabled, none begins.
        set_mailbox(service, box, enabledforincomingemail="false")
        until(lambda: service.sql("SELECT coalesce(processingstatecode, 0) FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)])
        service.sql("DELETE FROM org_contoso.email WHERE receivingmailboxid = %s", [box])
        service.sql("DELETE FROM org_contoso.mailbox_message WHERE mailboxid = %s", [box])
        service.sql("UPDATE org_contoso.mailbox SET router_state = %s, postponemailboxprocessinguntil = NULL, enabledforincomingemail = true WHERE mailboxid = %s", [state, box])
        done = """SELECT lastduration FROM org_contoso.mailbox AS m WHERE mailboxid = %s AND processingstatecode = 0
                     AND (SELECT count(*) FROM org_contoso.email WHERE receivingmailboxid = m.mailboxid) = %s"""
        [(milliseconds,)] = until(lambda: service.sql(done, [box, new]), seconds=60)
        return milliseconds

    return measure, server


MAILBOXES = 100
IDLE_SECONDS = int(os.environ.get("FIELDSEAL_BENCH_IDLE_SECONDS", "180"))


def requests_while_idle(service):
    """The number of requests that a router without work sends in `IDLE_SECONDS` seconds."""
    # Stops the deployment's router, whose polling interval is shorter than the default.
    os.kill(service.router_pid(), 15)
    until(lambda: b"router stopped" in service.log())
    service.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = false, enabledforoutgoingemail = false")
    prof = profile(service, service.mail)
    addresses = [address for address in service.mail.passwords if address.endswith("@contoso.test")]
    for number in range(MAILBOXES):
        address = addresses[number % len(addresses)]
        service.create("mailboxes", {
            "name": f"idle {number}", "emailaddress": address, "username": address.split("@")[0], "password": service.mail.passwords[address],
            "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2, "emailrouteraccessapproval": 1,
            "emailserverprofile@odata.bind": f"/emailserverprofiles({prof})"})
    router = subprocess.Popen([PROGRAM, "router"], env=service.environment, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        until(lambda: service.sql("SELECT count(*) FROM org_contoso.mailbox_watch") == [(MAILBOXES,)], seconds=120)
        until(lambda: service.sql("SELECT count(*) FROM org_contoso.mailbox WHERE processingstatecode = 1") == [(0,)])
        mark = len(service.log())
        time.sleep(IDLE_SECONDS)
        lines = [line for line in service.log()[mark:].splitlines() if b'"request"' in line and (b"fieldseal." in line or b"/token" in line)]
        return len(lines)
    finally:
        router.terminate()
        router.wait(30)


def run(names):
    service = Deployment()
    service.home.chmod(0o755)
    try:
        service.start()
        # Postfix discards the e-mails, so the measurement does not include their delivery.
        service.mail = Mail(service.home, postfix="transport_maps = inline:{{elsewhere.test=discard:}}")
        address = "support@contoso.test"
        q, box = queue(service, service.mail, profile(service, service.mail), address)
        # Waits for the end of the mailbox's test, whose report would overwrite the state that is set here.
        until(lambda: service.sql("SELECT incomingemailstatus, outgoingemailstatus, processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(1, 1, 0)])
        set_mailbox(service, box, enabledforincomingemail="false", enabledforoutgoingemail="false")
        if "router/send" in names:
            ours, theirs = paired(lambda: send(service, box, q), lambda: smtp_source(service))
            record("router/send", ours / theirs, "<= 2.5", seconds=round(ours, 2), smtpSource=round(theirs, 2), emails=OUTGOING)
        if "router/ingest" in names:
            fill(service, address)
            ours, theirs = paired(lambda: ingest(service, box), lambda: mbsync(service, address))
            record("router/ingest", ours / theirs, "<= 1", seconds=round(ours, 2), mbsync=round(theirs, 2), messages=INCOMING)
        if "router/memory" in names:
            os.kill(service.router_pid(), 19)
            try:
                heavy, light = paired(lambda: peak(service, box, address, 20 << 20), lambda: peak(service, box, address, 2_048))
            finally:
                os.kill(service.router_pid(), 18)
            record("router/memory", heavy / light, "<= 3", heavyMiB=round(heavy, 1), lightMiB=round(light, 1))
        if "router/large" in names:
            (many, first), (few, second) = large(service, 50_000), large(service, 100)
            ours, theirs = paired(many, few)
            record("router/large", ours / theirs, "<= 3", milliseconds=ours, ofHundred=theirs)
            first.stop()
            second.stop()
        if "router/idle" in names:
            count = requests_while_idle(service)
            record("router/idle", count * 60 / IDLE_SECONDS, "<= 5", requests=count, seconds=IDLE_SECONDS, mailboxes=MAILBOXES)
    finally:
        if hasattr(service, "mail"):
            service.mail.stop()
        service.remove()
