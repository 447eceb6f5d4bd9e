"""Messages that can't become complete records don't delay others. Each is moved at most once, is named in an alert, and is not deleted."""

import json
import re
import time
import uuid

import pytest
from mail import certificate, message, profile, queue, subjects, turn
from mail_quirks import IMAPServer, POP3Server
from waiting import until

NOBODY = b"From: <>\r\nSubject: from nobody\r\nMessage-ID: <lost-%d@x.test>\r\n\r\nbounced\r\n"


def served(routed, server, moves=False, **more):
    """A queue whose mailbox receives from this server, and sends nothing."""
    kind = "pop3" if isinstance(server, POP3Server) else "imap"
    port = {"incomingportnumber": server.port} if server else {}
    _, box = queue(routed, routed.mail, profile(routed, routed.mail, kind, moveundeliveredemails=moves, **port), testemailconfigurationscheduled=False, **more)
    enable(routed, box)
    return box


def enable(routed, box):
    routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])


def text(number, subject="message", extra=b""):
    return b"From: customer@elsewhere.test\r\nTo: support@contoso.test\r\nSubject: %s %d\r\n%bMessage-ID: <%d@elsewhere.test>\r\n\r\nWords of %d.\r\n" % (
        subject.encode(), number, extra, number, number)


def alerts(routed, box, code=18):
    return [text for text, in routed.sql("SELECT text FROM org_contoso.tracelog WHERE regardingobjectid = %s AND tracecode = %s ORDER BY createdon", [box, code])]


def is_well(routed, box):
    return routed.sql("SELECT enabledforincomingemail AND incomingemailstatus = 1 FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(True,)]


def removed(routed, box):
    assert routed.request("DELETE", f"mailboxes({box})").status_code == 204


def next_uid(routed, address):
    imap = routed.mail.box(address)
    try:
        return int(re.search(rb"UIDNEXT (\d+)", imap.status("INBOX", "(UIDNEXT)")[1][0])[1])
    finally:
        imap.logout()


class AliasServer(IMAPServer):
    """An IMAP server on which every folder name leads to the inbox."""

    def answer(self, say, tag, command, verb):
        if verb.startswith(b"STATUS"):
            say(b"* STATUS %s (UIDNEXT %d UIDVALIDITY %d)\r\n" % (command.split()[1], max(self.messages, default=0) + 1, self.validity))
        return super().answer(say, tag, command, verb)


class RefusingServer(IMAPServer):
    """An IMAP server that refuses to mark messages as deleted."""

    def answer(self, say, tag, command, verb):
        if verb.startswith(b"UID STORE"):
            say(tag + b" NO [NOPERM] this account deletes nothing\r\n")
            return False
        return super().answer(say, tag, command, verb)


@pytest.mark.parametrize("folder", ["INBOX", "inbox", " Inbox "])
def test_the_inbox_is_not_the_folder_of_what_is_undeliverable(routed, folder):
    address = "carol@contoso.test"
    routed.mail.clear(address)
    _, box = queue(routed, routed.mail, profile(routed, routed.mail, moveundeliveredemails=True), address, testemailconfigurationscheduled=False)
    response = routed.request("PATCH", f"mailboxes({box})", {"undeliverablefolder": folder})
    assert response.status_code == 400 and "undeliverablefolder" in response.text and "inbox" in response.text
    # SQL writes the name, as an earlier version could. Waits for the end of a turn that has not read it.
    routed.sql("UPDATE org_contoso.mailbox SET undeliverablefolder = %s WHERE mailboxid = %s", [folder, box])
    until(lambda: routed.sql("SELECT coalesce(processingstatecode, 0) FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)])
    try:
        routed.mail.drop(address, [NOBODY % 1])
        before = next_uid(routed, address)
        enable(routed, box)
        until(lambda: len(alerts(routed, box)) == 2, what=lambda: routed.log().decode()[-3000:])
        assert "the folder is the inbox itself" in alerts(routed, box)[1]
        turn(routed, box)
        assert next_uid(routed, address) == before and len(alerts(routed, box)) == 2 and is_well(routed, box)
    finally:
        removed(routed, box)
        routed.mail.clear(address)


def test_a_folder_that_is_the_inbox_under_another_name_takes_nothing(routed):
    server = AliasServer(certificate(routed), {1: NOBODY % 1, 2: text(2)})
    box = served(routed, server, moves=True, undeliverablefolder="Mail/All")
    try:
        until(lambda: subjects(routed, box) == ["message 2"] and len(alerts(routed, box)) == 2, what=lambda: routed.log().decode()[-3000:])
        assert "under another name" in alerts(routed, box)[1] and not [c for c in server.commands if "COPY" in c or "STORE" in c]
    finally:
        removed(routed, box)
        server.stop()


def test_a_folder_that_cannot_be_made_disables_no_mailbox(routed):
    address = "carol@contoso.test"
    routed.mail.clear(address)
    _, box = queue(routed, routed.mail, profile(routed, routed.mail, moveundeliveredemails=True), address, undeliverablefolder="a/b/c", testemailconfigurationscheduled=False)
    try:
        routed.mail.drop(address, [NOBODY % 2, message(subject="from somebody", to=address).as_bytes()])
        before = next_uid(routed, address)
        enable(routed, box)
        until(lambda: subjects(routed, box) == ["from somebody"] and len(alerts(routed, box)) == 2, what=lambda: routed.log().decode()[-3000:])
        assert "a/b/c" in alerts(routed, box)[1] and f"UID {before - 2}" in alerts(routed, box)[1] and "undeliverablefolder" in alerts(routed, box)[1]
        turn(routed, box)
        assert is_well(routed, box) and len(alerts(routed, box)) == 2
        # The name of the folder has letters outside of ASCII, and the router encodes it for IMAP.
        assert routed.request("PATCH", f"mailboxes({box})", {"undeliverablefolder": "Größe & Co"}).status_code == 204
        routed.mail.drop(address, [NOBODY % 3])
        imap = routed.mail.box(address)
        until(lambda: imap.select('"Gr&APYA3w-e &- Co"')[0] == "OK" and imap.search(None, "ALL")[1][0], what=lambda: routed.log().decode()[-3000:])
        imap.delete('"Gr&APYA3w-e &- Co"')
        imap.logout()
    finally:
        removed(routed, box)
        routed.mail.clear(address)


def test_a_server_that_deletes_nothing_holds_nothing_up(routed):
    server = RefusingServer(certificate(routed), {1: text(1), 2: text(2)})
    box = served(routed, server, processanddeleteemails=True)
    try:
        until(lambda: subjects(routed, box) == ["message 1", "message 2"] and alerts(routed, box), what=lambda: routed.log().decode()[-3000:])
        assert "UID 1" in alerts(routed, box)[0] and "[NOPERM]" in alerts(routed, box)[0]
        server.messages[3] = text(3)
        turn(routed, box)
        assert is_well(routed, box) and subjects(routed, box) == ["message 1", "message 2", "message 3"]
        assert len([c for c in server.commands if "BODY.PEEK[]" in c]) == 2
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("kind", [IMAPServer, POP3Server])
def test_each_of_many_undeliverable_messages_is_named(routed, kind):
    count = 1_150
    server = kind(certificate(routed), {n: NOBODY % n for n in range(1, count + 1)})
    box = served(routed, server)
    try:
        until(lambda: len(alerts(routed, box)) >= count, what=lambda: f"{len(alerts(routed, box))} {routed.log().decode()[-2000:]}")
        assert {int(re.search(r"<lost-(\d+)@", text)[1]) for text in alerts(routed, box)} == set(range(1, count + 1))
    finally:
        removed(routed, box)
        server.stop()


def test_a_report_with_too_many_alerts_is_refused(routed):
    client = json.loads(routed.run("client", "add", "--org", "contoso", "--role", "Email Router", f"reporter-{time.monotonic_ns()}", "--json").stdout)
    routed.dev["clients"]["reporter"] = client
    for count, status in ((1_001, 400), (1_000, 412)):
        body = {"MailboxId": str(uuid.uuid4()), "HostId": "test", "Alerts": [{"Text": "x"}] * count}
        response = routed.request("POST", "fieldseal.ReportMailbox", body, client="reporter")
        assert response.status_code == status and ("Alerts" in response.text) == (status == 400), response.text


def outer(number, *parts, subtype=b"mixed"):
    header = b"From: rule@contoso.test\r\nTo: forward@contoso.test\r\nSubject: outer %d\r\nMessage-ID: <outer-%d@x.test>\r\nContent-Type: multipart/%b; boundary=b\r\n\r\n" % (number, number, subtype)
    return header + b"".join(b"--b\r\n%b\r\n" % part for part in parts) + b"--b--\r\n"


def test_what_a_forwarder_wrote_is_not_deleted(routed):
    def inner(number):
        return b"Content-Type: message/rfc822\r\n\r\n" + text(number)
    words, blank = b"Content-Type: text/plain\r\n\r\nIMPORTANT WORDS", b"Content-Type: text/html\r\n\r\n<html><body><p>&nbsp;</p></body></html>"
    file = b"Content-Type: application/pdf; name=invoice.pdf\r\nContent-Disposition: attachment\r\n\r\n%PDF"
    status = b"Content-Type: message/delivery-status\r\n\r\nStatus: 5.0.0\r\n"
    report = b"Content-Type: multipart/report; boundary=r\r\n\r\n--r\r\n" + words + b"\r\n--r\r\n" + inner(6) + b"\r\n--r--\r\n"
    server = POP3Server(certificate(routed), {
        1: outer(1, words, inner(1)), 2: outer(2, inner(2), file), 3: outer(3, blank, inner(3)), 4: outer(4, inner(4)),
        5: outer(5, words, status, inner(5), subtype=b"report; report-type=delivery-status"), 6: outer(6, report, inner(7))})
    owner = served(routed, POP3Server(certificate(routed), {}))
    box = routed.create("mailboxes", {
        "name": "forward", "emailaddress": "forward@contoso.test", "username": "forward", "password": "pa55", "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2,
        "emailrouteraccessapproval": 1, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile(routed, routed.mail, 'pop3', incomingportnumber=server.port)})"})
    assert routed.request("PATCH", f"mailboxes({box})", {"processanddeleteemails": True}).status_code == 204
    enable(routed, box)
    try:
        until(lambda: set(server.messages) == {1, 2, 5, 6}, what=lambda: f"{set(server.messages)} {routed.log().decode()[-3000:]}")
        # The message inside of a bounce does not become a record.
        assert subjects(routed, box) == [f"message {n}" for n in (1, 2, 3, 4, 7)]
        until(lambda: [a for a in alerts(routed, box) if "UIDL unique-5," in a], "the alert, which comes with the report of the turn")
        turn(routed, box)
        assert set(server.messages) == {1, 2, 5, 6}
    finally:
        removed(routed, box)
        removed(routed, owner)
        server.stop()


def test_messages_before_a_date_are_left_alone_with_pop3(routed):
    old = b"Received: from a by b; Wed, 01 Jan 2020 10:00:00 +0000\r\nDate: Thu, 26 Nov 2026 10:00:00 +0000\r\n"
    late = b"Received: from a by b; Thu, 26 Nov 2026 10:00:00 +0000\r\nDate: Wed, 01 Jan 2020 10:00:00 +0000\r\n"
    server = POP3Server(certificate(routed), {
        1: old + text(1), 2: late + text(2), 3: text(3, extra=b"Date: Wed, 01 Jan 2020 10:00:00 +0000\r\n"), 4: text(4)})
    box = served(routed, server, processemailreceivedafter="2026-11-01T00:00:00Z", processanddeleteemails=True)
    try:
        until(lambda: set(server.messages) == {1, 3}, what=lambda: f"{set(server.messages)} {routed.log().decode()[-3000:]}")
        assert subjects(routed, box) == ["message 2", "message 4"]
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("type", [
    b'message/external-body; access-type=URL; URL="http://x.test/WORDA"', b"message/partial; id=abc; number=1; total=2"])
def test_a_part_that_stands_for_another_is_kept_with_what_it_says(routed, type):
    data = outer(1, b"Content-Type: text/plain\r\n\r\nSee there.", b"Content-Type: " + type + b"\r\n\r\nContent-Type: text/plain\r\n\r\n")
    server = IMAPServer(certificate(routed), {1: data.replace(b"forward@", b"support@")})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["outer 1"], what=lambda: routed.log().decode()[-3000:])
        [kept] = routed.sql("SELECT a.body FROM org_contoso.activitymimeattachment AS a JOIN org_contoso.email AS e ON e.activityid = a.objectid WHERE e.receivingmailboxid = %s AND a.filename = 'original.eml'", [box])
        assert kept
    finally:
        removed(routed, box)
        server.stop()
