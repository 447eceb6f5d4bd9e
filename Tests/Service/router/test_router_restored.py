"""Servers that assign unique ids again after they were restored, and messages whose date only the server knows."""

import base64
import hashlib
import json

import pytest
from mail import alerts, certificate, profile, queue, subjects, turn
from mail_quirks import IMAPServer, POP3Server
from test_router_quirks import removed, served, text
from waiting import until


def test_a_pop3_server_that_gives_unique_ids_again_loses_no_message(routed):
    server = POP3Server(certificate(routed), {n: text(n) for n in (1, 2, 3)})
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 3, what=lambda: routed.log().decode()[-3000:])
        turn(routed, box)
        # The server is restored from an old backup, and two new messages get the unique ids of lost ones. No turn ran in between.
        server.messages = {1: text(1), 2: text(22), 3: text(33)}
        turn(routed, box)
        until(lambda: subjects(routed, box) == ["message 1", "message 2", "message 22", "message 3", "message 33"])
        # The server is restored again, and this time a turn runs before the new message arrives.
        server.messages = {1: text(1)}
        turn(routed, box)
        server.messages = {1: text(1), 2: text(222), 3: text(33)}
        turn(routed, box)
        until(lambda: "message 222" in subjects(routed, box))
        # The router does not fetch known messages again.
        server.commands.clear()
        turn(routed, box)
        assert "UIDL" in server.commands and not [c for c in server.commands if c.startswith("RETR")]
        assert len(subjects(routed, box)) == 6
    finally:
        removed(routed, box)
        server.stop()


def test_what_an_earlier_version_knew_of_a_pop3_mailbox_is_known(routed):
    """An earlier version stored unique ids without sizes. The router still knows these messages."""
    server = POP3Server(certificate(routed), {n: text(n) for n in (1, 2, 3)})
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 3, what=lambda: routed.log().decode()[-3000:])
        turn(routed, box)
        digest = base64.b64encode(hashlib.sha256(b"unique-1\nunique-2").digest()).decode()
        for known in ({"known": {"count": 2, "digest": digest}}, {}):
            routed.sql("UPDATE org_contoso.mailbox_message SET uid = split_part(uid, ' ', 1) WHERE mailboxid = %s", [box])
            routed.sql("UPDATE org_contoso.mailbox SET router_state = %s WHERE mailboxid = %s", [json.dumps(known), box])
            server.commands.clear()
            turn(routed, box)
            assert "UIDL" in server.commands and not [c for c in server.commands if c.startswith("RETR")], known
            assert state(routed, box)["known"]["count"] == 3
            routed.sql("DELETE FROM org_contoso.mailbox_message WHERE mailboxid = %s AND uid LIKE '%% %%'", [box])
    finally:
        removed(routed, box)
        server.stop()


def test_a_server_that_is_no_host_waits_for_its_correction(routed):
    server = IMAPServer(certificate(routed), {1: text(1)})
    wrong = profile(routed, routed.mail, incomingserverlocation=None, defaultserverlocation="https://mail.test/EWS", incomingportnumber=server.port)
    _, box = queue(routed, routed.mail, wrong, testemailconfigurationscheduled=False)
    try:
        routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
        [alert] = until(lambda: alerts(routed, box, 12), what=lambda: routed.log().decode()[-3000:])
        assert "not the name or the address of a host" in alert["text"]
        assert routed.sql("SELECT enabledforincomingemail, lastsyncerrorcode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(True, 12)]
        # Corrects only the profile. No person enables or tests the mailbox.
        assert routed.request("PATCH", f"emailserverprofiles({wrong})", {"incomingserverlocation": "localhost"}).status_code == 204
        until(lambda: subjects(routed, box) == ["message 1"], what=lambda: routed.log().decode()[-3000:])
    finally:
        removed(routed, box)
        server.stop()


class DatedServer(IMAPServer):
    """A server that returns the delivery time of each message, if a client asks for it."""

    def fetch(self, say, uids, tag):
        for uid in uids:
            data = self.messages[uid]
            say(b"* %d FETCH (UID %d INTERNALDATE \"24-Nov-2026 10:00:00 +0100\" BODY[] {%d}\r\n%s)\r\n" % (uid, uid, len(data), data))
        return False


def state(routed, box):
    [(text_,)] = routed.sql("SELECT router_state FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    return json.loads(text_)


def test_a_server_that_is_restored_from_a_backup_loses_no_message(routed):
    server = IMAPServer(certificate(routed), {n: text(n) for n in (1, 2, 3)})
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 3, what=lambda: routed.log().decode()[-3000:])
        turn(routed, box)
        assert state(routed, box) == {"uid": 3, "validity": 7} and not alerts(routed, box, 19)
        # The server is restored from an old backup. The next message gets the UID of a lost message.
        server.messages = {1: text(1)}
        turn(routed, box)
        [alert] = alerts(routed, box, 19)
        assert "the next one is 2, and the router is past UID 3" in alert["text"]
        assert state(routed, box)["uid"] == 1
        server.messages[2] = text(22)
        turn(routed, box)
        until(lambda: subjects(routed, box) == ["message 1", "message 2", "message 22", "message 3"])
        # A further turn makes no second alert.
        turn(routed, box)
        assert len(alerts(routed, box, 19)) == 1 and state(routed, box)["uid"] == 2
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("uid", [4294967290, 4294967295, 4294967296, 1 << 70, -1])
def test_sql_does_not_have_mail_passed_over(routed, uid):
    server = IMAPServer(certificate(routed), {1: text(1)})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["message 1"], what=lambda: routed.log().decode()[-3000:])
        turn(routed, box)
        routed.sql("UPDATE org_contoso.mailbox SET router_state = %s WHERE mailboxid = %s", [json.dumps({"validity": 7, "uid": uid}), box])
        server.messages[2] = text(2)
        turn(routed, box)
        assert subjects(routed, box) == ["message 1", "message 2"] and state(routed, box) == {"uid": 2, "validity": 7}
    finally:
        removed(routed, box)
        server.stop()


def test_the_date_of_delivery_is_that_of_a_message_without_a_readable_one(routed):
    dates = {1: "", 2: "Date: yesterday\r\n", 3: "Date: Thu, 26 Nov 99999999999 10:00:00 +0000\r\n", 4: "Date: 2026-11-26T10:00:00Z\r\n",
             5: "Date: Wed, 25 Nov 2026 10:00:00 +0000\r\n"}
    messages = {n: date.encode() + text(n) for n, date in dates.items()}
    server = DatedServer(certificate(routed), messages)
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 5, what=lambda: routed.log().decode()[-3000:])
        found = routed.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select=subject,senton&$orderby=subject").json()["value"]
        delivered = "2026-11-24T09:00:00Z"
        assert [e["senton"] for e in found] == [delivered, delivered, delivered, "2026-11-26T10:00:00Z", "2026-11-25T10:00:00Z"]
    finally:
        removed(routed, box)
        server.stop()


def test_whom_an_answer_goes_to_is_kept(routed):
    """A web form sent the message. The record names the form's address as the sender, so the header with Reply-To is kept as a file."""
    message = text(1).replace(b"From: customer@elsewhere.test", b"From: noreply@shop.test\r\nReply-To: Real Customer <real@elsewhere.test>")
    server = POP3Server(certificate(routed), {1: message, 2: text(2)})
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 2, what=lambda: routed.log().decode()[-3000:])
        found = routed.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select=subject,sender&$orderby=subject"
                           "&$expand=email_activity_mime_attachment($select=filename,subject)").json()["value"]
        [kept] = found[0]["email_activity_mime_attachment"]
        assert found[0]["sender"] == "noreply@shop.test" and kept["filename"] == "original-header.txt"
        assert "Reply-To also names real@elsewhere.test" in kept["subject"]
        assert found[1]["email_activity_mime_attachment"] == []
    finally:
        removed(routed, box)
        server.stop()


def test_a_lease_of_the_future_withholds_no_mail(routed):
    """SQL writes a lease or a running router with a time in the far future. Routers still work on the mailbox."""
    server = IMAPServer(certificate(routed), {1: text(1)})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["message 1"], what=lambda: routed.log().decode()[-3000:])
        for number, moment in ((2, "infinity"), (3, "2999-01-01")):
            server.messages[number] = text(number)
            routed.sql("UPDATE org_contoso.mailbox SET processingstatecode = 1, processinglastattemptedon = %s, hostid = 'vm/1/AA' WHERE mailboxid = %s", [moment, box])
            turn(routed, box)
            assert f"message {number}" in subjects(routed, box)
        routed.sql("INSERT INTO org_contoso.mail_router (router, started_on, seen_on) VALUES ('vm/9/evil', now(), 'infinity')")
        assert "vm/9/evil" not in routed.run("router", "status", "--org", "contoso").stdout
        # A due time that no router would write is reported as a problem of the mailbox.
        assert "later than any setting allows" not in routed.run("router", "status", "--org", "contoso").stdout
        routed.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = 'infinity' WHERE mailboxid = %s", [box])
        assert "later than any setting allows" in routed.run("router", "status", "--org", "contoso").stdout
    finally:
        routed.sql("DELETE FROM org_contoso.mail_router WHERE router = 'vm/9/evil'")
        removed(routed, box)
        server.stop()
