"""router/…: messages that come in and go out, beside what Debian's isync and Postfix's smtp-source take for the same."""

import os
import pathlib
import shutil
import subprocess
import tempfile
import time

import psycopg
from bench import paired, record
from mail import Mail, message, profile, queue, until
from service import PROGRAM, Deployment

FIGURES = ["router/ingest", "router/send", "router/memory"]
INCOMING = int(os.environ.get("FIELDSEAL_BENCH_INCOMING", "5000"))
OUTGOING = int(os.environ.get("FIELDSEAL_BENCH_OUTGOING", "1000"))
# smtp-source's sessions at a time; a mailbox has one.
SESSIONS = 1


def set_mailbox(service, box, **columns):
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        assignments = ", ".join(f"{name} = {value}" for name, value in columns.items())
        connection.execute(f"UPDATE org_contoso.mailbox SET {assignments} WHERE mailboxid = %s", [box])


def fill(service, address):
    """Messages of 4 KiB in a mailbox."""
    text = "Lorem ipsum dolor sit amet, consetetur sadipscing elitr.\r\n" * 64
    service.mail.drop(address, [message(subject=f"number {n}", to=address, body=text).as_bytes() for n in range(INCOMING)])


def ingest(service, box):
    """Seconds until every message is a record."""
    service.sql("TRUNCATE org_contoso.email CASCADE")
    set_mailbox(service, box, router_state="NULL")
    start = time.monotonic()
    set_mailbox(service, box, enabledforincomingemail="true", postponemailboxprocessinguntil="NULL")
    until(lambda: service.sql("SELECT count(*) FROM org_contoso.email") == [(INCOMING,)], 600)
    seconds = time.monotonic() - start
    set_mailbox(service, box, enabledforincomingemail="false")
    until(lambda: service.sql("SELECT processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)])
    return seconds


def mbsync(service, address):
    """Seconds of copying the same messages into a folder."""
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
    """Seconds until every record left."""
    service.sql("TRUNCATE org_contoso.email CASCADE")
    targets = [{"subject": f"number {n}", "description": "x" * 2_000, "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]}
        for n in range(OUTGOING)]
    response = service.request("POST", "emails/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert response.status_code == 200, response.text
    for (email,) in service.sql("SELECT activityid FROM org_contoso.email"):
        response = service.request("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""})
        assert response.status_code == 200, response.text
    # They wait until the mailbox sends; what is measured begins when they are due.
    service.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = now() + interval '1 day'")
    set_mailbox(service, box, enabledforoutgoingemail="true")
    start = time.monotonic()
    service.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = NULL")
    until(lambda: service.sql("SELECT count(*) FROM org_contoso.email WHERE statuscode = 3") == [(OUTGOING,)], 600)
    seconds = time.monotonic() - start
    set_mailbox(service, box, enabledforoutgoingemail="false")
    until(lambda: service.sql("SELECT processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)])
    return seconds


def smtp_source(service):
    """Seconds of Postfix's own generator, which signs in nowhere and encrypts nothing."""
    start = time.monotonic()
    subprocess.run(["/usr/sbin/smtp-source", "-s", str(SESSIONS), "-m", str(OUTGOING), "-l", "2600", "-f", "support@contoso.test", "-t", "customer@elsewhere.test",
                    f"127.0.0.1:{service.mail.description['inject']['port']}"], check=True, capture_output=True)
    return time.monotonic() - start


def peak(service, box, address, size):
    """MiB that a router of its own takes at most for one message with an attachment of so many bytes."""
    service.sql("TRUNCATE org_contoso.email CASCADE")
    service.mail.clear(address)
    note = message(subject="heavy", to=address)
    note.add_attachment(os.urandom(size), maintype="application", subtype="octet-stream", filename="a.bin")
    # The router beside the service is put to sleep, so that this one has the mailbox.
    router = subprocess.Popen(["/usr/bin/env", PROGRAM, "router", "--interval", "1", "--workers", "1"], env=service.environment, stdin=subprocess.DEVNULL,
                              stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        service.mail.drop(address, [note.as_bytes()])
        set_mailbox(service, box, router_state="NULL", enabledforincomingemail="true", postponemailboxprocessinguntil="NULL")
        until(lambda: service.sql("SELECT count(*) FROM org_contoso.email") == [(1,)], 120)
        status = pathlib.Path(f"/proc/{router.pid}/status").read_text()
        return int(status.split("VmHWM:")[1].split()[0]) / 1_024
    finally:
        set_mailbox(service, box, enabledforincomingemail="false")
        router.terminate()
        router.wait(30)


def run(names):
    service = Deployment()
    service.home.chmod(0o755)
    try:
        service.start()
        # What Postfix does with e-mails after it took them is no part of either side.
        service.mail = Mail(service.home, postfix="transport_maps = inline:{{elsewhere.test=discard:}}")
        address = "support@contoso.test"
        q, box = queue(service, service.mail, profile(service, service.mail), address)
        # A turn that tests the mailbox would write its own state over what is set here.
        until(lambda: service.sql("SELECT incomingemailstatus, outgoingemailstatus, processingstatecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(1, 1, 0)])
        set_mailbox(service, box, enabledforincomingemail="false", enabledforoutgoingemail="false")
        if "router/send" in names:
            ours, theirs = paired(lambda: send(service, box, q), lambda: smtp_source(service))
            record("router/send", ours / theirs, "<= 3", seconds=round(ours, 2), smtpSource=round(theirs, 2), emails=OUTGOING)
        if "router/ingest" in names:
            fill(service, address)
            ours, theirs = paired(lambda: ingest(service, box), lambda: mbsync(service, address))
            record("router/ingest", ours / theirs, "<= 3", seconds=round(ours, 2), mbsync=round(theirs, 2), messages=INCOMING)
        if "router/memory" in names:
            os.kill(service.router_pid(), 19)
            try:
                heavy, light = paired(lambda: peak(service, box, address, 20 << 20), lambda: peak(service, box, address, 2_048))
            finally:
                os.kill(service.router_pid(), 18)
            record("router/memory", heavy / light, "<= 4", heavyMiB=round(heavy, 1), lightMiB=round(light, 1))
    finally:
        if hasattr(service, "mail"):
            service.mail.stop()
        service.remove()
