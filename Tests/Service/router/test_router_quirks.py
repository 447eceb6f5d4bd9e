"""Servers with unusual responses, and unusual messages: every message becomes a record, or an alert names it."""

import base64
import email.message
import email.policy
import hashlib
import json
import pathlib
import time
import unicodedata

import pytest
from mail import alerts, certificate, profile, queue, subjects, turn
from mail_quirks import IMAPServer, POP3Server
from waiting import until

#: The code of the alert about a message that can't become a record.
UNDELIVERABLE = 18
CORPUS = pathlib.Path(__file__).parents[2] / "Fixtures/mail"


def served(routed, server, **more):
    """A queue whose mailbox receives from this server, and sends nothing."""
    kind = "imap" if isinstance(server, IMAPServer) else "pop3"
    settings = {key: more.pop(key) for key in list(more) if key == "moveundeliveredemails"}
    _, box = queue(routed, routed.mail, profile(routed, routed.mail, kind, incomingportnumber=server.port, **settings), testemailconfigurationscheduled=False, **more)
    routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
    return box


def text(number):
    return f"From: customer@elsewhere.test\r\nTo: support@contoso.test\r\nSubject: message {number}\r\nMessage-ID: <{number}@elsewhere.test>\r\n\r\nThe \"words\" of \\{number}.\r\n".encode()


def removed(routed, box):
    assert routed.request("DELETE", f"mailboxes({box})").status_code == 204


@pytest.mark.parametrize("quirk", ["", "quoted", "lower", "reversed", "origin", "between", "nils"])
def test_every_form_of_an_answer_is_understood(routed, quirk):
    """The grammar of RFC 3501 and RFC 9051 allows literals, quoted strings, names in lower case, and items in any order."""
    server = IMAPServer(certificate(routed), {n: text(n) for n in (1, 2, 3)}, quirk)
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 3, what=lambda: routed.log().decode()[-3000:])
        assert not alerts(routed, box, UNDELIVERABLE)
        [record] = routed.get(f"emails?$filter=_receivingmailboxid_value eq {box} and subject eq 'message 2'&$select=description").json()["value"]
        assert record["description"].strip() == "The \"words\" of \\2."
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("kind, quirk", [(IMAPServer, q) for q in ("missing", "nothing", "nil", "empty", "no", "bad", "bye", "closed")] + [(POP3Server, "no"), (POP3Server, "closed")])
def test_one_message_that_is_not_given_holds_up_no_other(routed, kind, quirk):
    server = kind(certificate(routed), {n: text(n) for n in (1, 2, 3)}, quirk)
    box = served(routed, server)
    name = "UID 2" if kind is IMAPServer else "UIDL unique-2"
    try:
        until(lambda: subjects(routed, box) == ["message 1", "message 3"] and alerts(routed, box, UNDELIVERABLE),
              what=lambda: str(alerts(routed, box, UNDELIVERABLE)) + routed.log().decode()[-3000:])
        [alert] = alerts(routed, box, UNDELIVERABLE)
        assert name in alert["text"] and "support@contoso.test" in alert["text"] and name in alert["errordetails"]
        # A closed connection has its own alert. The turn is not counted as failed.
        assert bool(alerts(routed, box, 12) or alerts(routed, box, 13)) == (quirk in ("bye", "closed"))
        if kind is IMAPServer and quirk not in ("bye", "closed"):
            assert "<2@elsewhere.test>" in alert["errordetails"]
        record = until(lambda: (lambda r: r if r["incomingemailstatus"] else None)(routed.get(f"mailboxes({box})").json()))
        assert record["incomingemailstatus"] == 1 and record["enabledforincomingemail"] and record["transientfailurecount"] in (0, None)
        # In two more turns, new mail is received and the mailbox stays enabled. The router does not try the failed message before it is due.
        server.messages[4] = text(4)
        turn(routed, box)
        before = len([c for c in server.commands if "BODY.PEEK[]" in c or c.startswith("RETR")])
        turn(routed, box)
        assert subjects(routed, box) == ["message 1", "message 3", "message 4"] and len(alerts(routed, box, UNDELIVERABLE)) == 1
        assert len([c for c in server.commands if "BODY.PEEK[]" in c or c.startswith("RETR")]) == before
        # When the message is due and the server returns it, it becomes a record.
        [(attempts, waits)] = routed.sql("SELECT attempts, next_attempt > now() + interval '4 minutes' FROM org_contoso.mailbox_message WHERE mailboxid = %s AND next_attempt IS NOT NULL", [box])
        assert attempts == 1 and waits
        routed.sql("UPDATE org_contoso.mailbox_message SET next_attempt = now() WHERE mailboxid = %s AND next_attempt IS NOT NULL", [box])
        turn(routed, box)
        assert routed.sql("SELECT attempts FROM org_contoso.mailbox_message WHERE mailboxid = %s AND next_attempt > now() + interval '9 minutes'", [box]) == [(2,)]
        server.quirk = ""
        routed.sql("UPDATE org_contoso.mailbox_message SET next_attempt = now() WHERE mailboxid = %s AND next_attempt IS NOT NULL", [box])
        turn(routed, box)
        assert subjects(routed, box) == [f"message {n}" for n in (1, 2, 3, 4)]
        assert routed.sql("SELECT count(*) FROM org_contoso.mailbox_message WHERE mailboxid = %s AND next_attempt IS NOT NULL", [box]) == [(0,)]
        assert routed.get(f"mailboxes({box})").json()["enabledforincomingemail"]
    finally:
        removed(routed, box)
        server.stop()


def test_a_session_of_pop3_that_broke_deletes_in_the_next_turn(routed):
    """A POP3 server deletes nothing if the session breaks. The next turn deletes the messages, and no message becomes two records."""
    server = POP3Server(certificate(routed), {n: text(n) for n in (1, 2, 3)}, "closed", odd=3)
    box = served(routed, server, processanddeleteemails=True)
    try:
        until(lambda: alerts(routed, box, UNDELIVERABLE) and subjects(routed, box) == ["message 1", "message 2"], what=lambda: routed.log().decode()[-3000:])
        turn(routed, box)
        turn(routed, box)
        assert set(server.messages) == {3} and subjects(routed, box) == ["message 1", "message 2"]
    finally:
        removed(routed, box)
        server.stop()


@pytest.mark.parametrize("kind", [IMAPServer, POP3Server])
def test_what_names_no_sender_is_named_in_an_alert(routed, kind):
    nobody = [f"From: <>\r\nSubject: from nobody {n}\r\nMessage-ID: <nobody-{n}@x.test>\r\n\r\nText\r\n".encode() for n in (1, 2)]
    robot = b"From: MAILER-DAEMON (Mail System)\r\nTo: support@contoso.test\r\nSubject: from a robot\r\n\r\nText\r\n"
    server = kind(certificate(routed), {1: nobody[0], 2: nobody[1], 3: robot})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["from a robot"] and len(alerts(routed, box, UNDELIVERABLE)) == 2, what=lambda: routed.log().decode()[-3000:])
        for number, alert in zip((1, 2), sorted(alerts(routed, box, UNDELIVERABLE), key=lambda a: a["text"])):
            name = f"UID {number}" if kind is IMAPServer else f"UIDL unique-{number}"
            assert name in alert["text"] and f"<nobody-{number}@x.test>" in alert["text"] and "who sent it" in alert["errordetails"]
        [record] = routed.get(f"emails?$filter=_receivingmailboxid_value eq {box}&$select=sender,subject").json()["value"]
        assert record["sender"] == "MAILER-DAEMON"
    finally:
        removed(routed, box)
        server.stop()


def test_a_mailbox_of_pop3_costs_what_is_new(routed):
    """The ids of known messages are rows of a table. The router requests only the part of the server's list that can be new."""
    server = POP3Server(certificate(routed), {n: text(n) for n in range(1, 41)})
    box = served(routed, server)
    try:
        until(lambda: len(subjects(routed, box)) == 40, what=lambda: routed.log().decode()[-3000:])
        turn(routed, box)
        [(state, rows)] = routed.sql("SELECT router_state, (SELECT count(*) FROM org_contoso.mailbox_message AS s WHERE s.mailboxid = m.mailboxid) FROM org_contoso.mailbox AS m WHERE mailboxid = %s", [box])
        assert rows == 40 and len(state) < 200 and json.loads(state)["known"]["count"] == 40
        # A message is added at the end. Then another program deletes some messages, so that the numbers of the others change.
        server.commands.clear()
        server.messages[41] = text(41)
        turn(routed, box)
        assert [c for c in server.commands if c.startswith("RETR")] == ["RETR 41"]
        for uid in (3, 7, 20):
            del server.messages[uid]
        server.messages[42] = text(42)
        server.commands.clear()
        turn(routed, box)
        assert [c for c in server.commands if c.startswith("RETR")] == ["RETR 39"] and len(subjects(routed, box)) == 42
        # The router also understands the state of an earlier version, and does not fetch the messages in it again.
        routed.sql("DELETE FROM org_contoso.mailbox_message WHERE mailboxid = %s", [box])
        routed.sql("UPDATE org_contoso.mailbox SET router_state = %s WHERE mailboxid = %s", [json.dumps({"ids": [f"unique-{n}" for n in range(1, 43)]}), box])
        server.commands.clear()
        turn(routed, box)
        assert not [c for c in server.commands if c.startswith("RETR")] and "known" in routed.sql("SELECT router_state FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0][0]
    finally:
        removed(routed, box)
        server.stop()


def test_notes_of_a_router_are_checked(routed):
    """Only the router that holds the lease can note messages. The number and the size of its notes are limited."""
    _, box = queue(routed, routed.mail, profile(routed, routed.mail), testemailconfigurationscheduled=False)
    body = {"MailboxId": box, "HostId": "an impostor", "Seen": ["1"], "SetAside": [{"Uid": "2", "Name": "UID 2", "Reason": "x\0y"}]}
    assert routed.request("POST", "fieldseal.NoteMessages", body, client="admin").status_code == 403
    client = json.loads(routed.run("client", "add", "--org", "contoso", "--role", "Email Router", f"impostor-{time.monotonic_ns()}", "--json").stdout)
    routed.dev["clients"]["impostor"] = client
    assert routed.request("POST", "fieldseal.NoteMessages", body, client="impostor").status_code == 412
    assert routed.request("POST", "fieldseal.KnownMessages", {**body, "Ids": ["1"]}, client="impostor").status_code == 412
    for ids in (["x" * 101], [""], ["a\0b"], [1], "1", ["1"] * 5_001):
        assert routed.request("POST", "fieldseal.KnownMessages", {**body, "Ids": ids}, client="impostor").status_code == 400, ids
    removed(routed, box)


def kept(routed, box):
    """For each Message-ID: the subject, the notifications, the number of recipients, and the files as (name, SHA-256, reason)."""
    return {row[0]: row[1:] for row in routed.sql(
        "SELECT messageid, subject, notifications, description, (SELECT count(*) FROM org_contoso.activityparty AS p WHERE p.activityid = e.activityid AND participationtypemask = 3), "
        "(SELECT json_agg(json_build_array(filename, encode(sha256(decode(body, 'base64')), 'hex'), subject) ORDER BY attachmentnumber) FROM org_contoso.activitymimeattachment WHERE objectid = activityid) "
        "FROM org_contoso.email AS e WHERE receivingmailboxid = %s", [box])}


def test_what_a_record_has_no_room_for_is_kept(routed):
    """A text, a subject or a list of recipients is too large for a record. The record gets the message or its header as a file. If that is also too
    large, the message stays on the server, and an alert names it."""
    head = "From: customer@elsewhere.test\r\nTo: support@contoso.test\r\n"
    line = "words of a long text " * 3 + "\r\n"

    def made(number, header="Subject: s\r\n", body="Text\r\n"):
        return f"{head}{header}Message-ID: <{number}@room.test>\r\n\r\n{body}".encode()
    file = "Content-Type: multipart/mixed; boundary=b\r\n"
    large = base64.encodebytes(b"x" * (6 << 20)).decode().replace("\n", "\r\n")
    messages = {
        # Message 1 is larger than the organization's limit for files. Messages 2 to 4 have too long a subject, or too many recipients.
        1: made(1, body=line * (6 << 20 >> 6) + "the end of it\r\n"), 2: made(2, f"Subject: {'long ' * 200}end\r\n"), 3: made(3, f"Subject: a{chr(0x301) * 1000}\r\n"),
        4: made(4, "Cc: " + ",\r\n ".join(f"person-{n}@elsewhere.test" for n in range(10_050)) + "\r\nSubject: s\r\n"),
        # Message 5 is too large to be stored as a file.
        5: made(5, body=line * (12 << 20 >> 6)),
        6: made(6), 7: made(7, f"Subject: {'x' * 800}\r\n"),
        # Message 8 has a file that is larger than the organization's limit.
        8: made(8, file + "Subject: s\r\n", f"--b\r\n\r\nText\r\n--b\r\nContent-Type: application/pdf; name=a.pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n{large}--b--\r\n"),
    }
    server = POP3Server(certificate(routed), messages)
    box = served(routed, server, processanddeleteemails=True)
    try:
        until(lambda: len(kept(routed, box)) == len(messages) and set(server.messages) == {5, 8}, what=lambda: f"{len(kept(routed, box))} {set(server.messages)} {routed.log().decode()[-3000:]}")
        found = {int(id[1:id.index("@")]): row for id, row in kept(routed, box).items()}
        digests = {n: hashlib.sha256(data).hexdigest() for n, data in messages.items()}
        headers = {n: hashlib.sha256(data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n").hexdigest() for n, data in messages.items()}
        for number, name, digest, why in ((1, "original.eml", digests[1], "text is longer"), (2, "original-header.txt", headers[2], "subject is longer"),
                                          (3, "original-header.txt", headers[3], "subject is longer"), (4, "original-header.txt", headers[4], "recipients")):
            [(filename, content, reason)] = found[number][4]
            assert (filename, content) == (name, digest) and why in reason, (number, filename, reason)
        assert {n: row[1] for n, row in found.items()} == {1: 2, 2: 0, 3: 0, 4: 0, 5: 2, 6: 0, 7: 0, 8: 1}
        assert len(found[1][2]) == 2 << 20 and messages[1].decode().partition("\r\n\r\n")[2].startswith(found[1][2])
        assert len(found[2][0]) == 800 and found[3][0].startswith("a\u0301") and len(found[3][0]) == 800 and found[7][0] == "x" * 800
        assert found[4][3] == 9_998 and all(found[n][4] is None for n in (5, 6, 7))
        [(filename, _, reason)] = found[8][4]
        assert filename == "attachments-left-out.txt" and reason == "Too large and left out: a.pdf."
        [alert] = alerts(routed, box, 21)
        assert "UIDL unique-5" in alert["text"] and "<5@room.test>" in alert["text"] and "not deleted" in alert["text"] and "text is longer" in alert["errordetails"]
        assert not alerts(routed, box, UNDELIVERABLE)
        # The next turn does not look at these messages again.
        server.commands.clear()
        turn(routed, box)
        assert not [c for c in server.commands if c.startswith(("RETR", "DELE"))] and set(server.messages) == {5, 8}
    finally:
        removed(routed, box)
        server.stop()


def test_a_message_is_deleted_only_if_its_record_has_all_of_its_files(routed):
    """This also holds if the organization later allows larger files, and the router looks at the message again."""
    [organization] = routed.get("organizations?$select=maxuploadfilesize").json()["value"]

    def limit(bytes):
        assert routed.request("PATCH", f"organizations({organization['organizationid']})", {"maxuploadfilesize": bytes}).status_code == 204

    messages = {}
    for number in (999, 1_000, 1_001):
        message = email.message.EmailMessage()
        message["From"], message["To"], message["Subject"], message["Message-ID"] = "customer@elsewhere.test", "support@contoso.test", "file", f"<{number}@files.test>"
        message.set_content("Text")
        message.add_attachment(bytes(number), maintype="application", subtype="pdf", filename="a.pdf")
        messages[number] = message.as_bytes(policy=email.policy.SMTP)
    limit(1_000)
    server = IMAPServer(certificate(routed), messages)
    box = served(routed, server, processanddeleteemails=True)
    try:
        for validity in (7, 8):
            server.validity, mark = validity, 0 if validity == 7 else len(server.commands)
            turn(routed, box)
            until(lambda: len(kept(routed, box)) == 3 and any("STORE" in c for c in server.commands[mark:]), what=lambda: f"{server.commands} {routed.log().decode()[-3000:]}")
            stored = [c for c in server.commands[mark:] if "STORE" in c]
            assert stored and all("999" in c or "1000" in c for c in stored) and not any("1001" in c for c in stored), stored
            limit(8_000)
        found = routed.sql("SELECT e.messageid, e.notifications, array_agg(a.filename || ' ' || a.filesize) FROM org_contoso.email AS e JOIN org_contoso.activitymimeattachment AS a ON a.objectid = e.activityid WHERE receivingmailboxid = %s GROUP BY 1, 2 ORDER BY 1", [box])
        assert found == [("<1000@files.test>", 0, ["a.pdf 1000"]), ("<1001@files.test>", 1, [found[1][2][0]]), ("<999@files.test>", 0, ["a.pdf 999"])] and found[1][2][0].startswith("attachments-left-out.txt ")
        assert not alerts(routed, box, UNDELIVERABLE)
    finally:
        limit(organization["maxuploadfilesize"])
        removed(routed, box)
        server.stop()


def test_large_pictures_inside_of_a_text_are_files_beside_it(routed):
    """If a text is too large only because of its pictures, the pictures become files. If it is too large without them, its words are kept without
    layout."""
    picture = base64.b64encode(b"p" * (3 << 20)).decode()
    row = "<tr><td style='color: #123456; font: bold 12px sans-serif'>a row</td></tr>\r\n"
    bodies = {
        "picture": f"<p>Dear team,</p><img alt='A bird' src=\"data:image/png;base64,{picture}\"><p>Please call me back.</p>",
        "rows": f"<table>{row * 35_000}</table><p>Please call me back.</p>",
    }
    messages = {}
    for number, (name, body) in enumerate(bodies.items(), 1):
        message = email.message.EmailMessage()
        message["From"], message["To"], message["Subject"], message["Message-ID"] = "customer@elsewhere.test", "support@contoso.test", name, f"<{name}@large.test>"
        message.set_content(body, subtype="html", cte="base64")
        messages[number] = message.as_bytes(policy=email.policy.SMTP)
    server = IMAPServer(certificate(routed), messages)
    box = served(routed, server)
    try:
        until(lambda: len(kept(routed, box)) == 2, what=lambda: routed.log().decode()[-3000:])
        found = kept(routed, box)
        subject, notifications, text, _, files = found["<picture@large.test>"]
        assert notifications == 0 and text.strip() == "<p>Dear team,</p><img src=\"cid:picture-1@data.invalid\" alt=\"A bird\"><p>Please call me back.</p>"
        assert files == [["picture-1.png", hashlib.sha256(b"p" * (3 << 20)).hexdigest(), None]]
        subject, notifications, text, _, files = found["<rows@large.test>"]
        assert notifications == 2 and len(text) <= 2 << 20 and text.count("a row") == 35_000 and "Please call me back." in text and text.endswith("</div>")
        [(name, _, why)] = files
        assert name == "original.eml" and "text is longer" in why
    finally:
        removed(routed, box)
        server.stop()


def test_people_have_their_names_and_order_and_pictures_their_ids(routed):
    """The record keeps the sender, the recipients in order, and the places of pictures in the text (RFC 2392)."""
    people = [f"person-{number}@elsewhere.test" for number in range(40)]
    message = (
        "From: \"Kunde, Mia\" <mia@elsewhere.test>\r\nTo: Support Team <support@contoso.test>\r\nCc: "
        + ",\r\n ".join(f"=?utf-8?Q?J=C3=B6rg_{number}?= <{address}>" for number, address in enumerate(people)) + ", Mama <Mia@elsewhere.test>, mia@elsewhere.test"
        + "\r\nSubject: names\r\nMessage-ID: <names@elsewhere.test>\r\nContent-Type: multipart/related; boundary=b\r\n\r\n"
        "--b\r\nContent-Type: text/html\r\n\r\n<p>See <img src=\"cid:image001.png@01DC\"></p>\r\n"
        "--b\r\nContent-Type: image/png; name=logo.png\r\nContent-ID: <image001.png@01DC>\r\n\r\nx\r\n--b--\r\n").encode()
    server = IMAPServer(certificate(routed), {1: message})
    box = served(routed, server)
    try:
        until(lambda: subjects(routed, box) == ["names"], what=lambda: routed.log().decode()[-3000:])
        [email] = routed.get(
            f"emails?$filter=_receivingmailboxid_value eq {box}&$select=sender,emailsendername&$expand=email_activity_mime_attachment("
            "$select=filename,attachmentcontentinfo),email_activity_parties($select=addressused,partyidname,participationtypemask)").json()["value"]
        assert (email["sender"], email["emailsendername"]) == ("mia@elsewhere.test", "Kunde, Mia")
        assert [(f["filename"], f["attachmentcontentinfo"]) for f in email["email_activity_mime_attachment"]] == [("logo.png", "image001.png@01DC")]
        parties = [(p["participationtypemask"], p["addressused"], p["partyidname"]) for p in email["email_activity_parties"]]
        assert parties[0] == (1, "mia@elsewhere.test", "Kunde, Mia")
        assert parties[1][:2] == (2, "support@contoso.test")
        # For a queue of the organization, the record has the queue's own name.
        assert parties[1][2] != "Support Team"
        # Every recipient has the name that the message gives them, even if an address occurs twice.
        assert parties[2:] == [*((3, address, f"Jörg {number}") for number, address in enumerate(people)), (3, "Mia@elsewhere.test", "Mama"), (3, "mia@elsewhere.test", "mia@elsewhere.test")]
    finally:
        removed(routed, box)
        server.stop()


def wrapped(number, *inner, type="message/rfc822"):
    parts = b"".join(b"--b\r\nContent-Type: %s; name=m.eml\r\n\r\n%s\r\n" % (type.encode(), part) for part in inner)
    return f"From: rule@contoso.test\r\nTo: forward@contoso.test\r\nSubject: outer {number}\r\nMessage-ID: <outer-{number}@x.test>\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n".encode() + parts + b"--b--\r\n"


def test_a_forward_mailbox_deletes_nothing_that_is_no_record(routed):
    here = {n: text(n) for n in (14, 16)}
    elsewhere = text(15).replace(b"To: support@contoso.test", b"To: list@elsewhere.test")
    plain = {n: text(n).replace(b"To: support@contoso.test\r\n", to) for n, to in ((1, b"To: forward@contoso.test\r\n"), (2, b"To: list@elsewhere.test\r\n"), (3, b""))}
    server = POP3Server(certificate(routed), {
        **plain, 4: wrapped(4, here[14], type="application/octet-stream"), 5: wrapped(5, elsewhere), 6: wrapped(6, here[16], elsewhere)})
    owner = served(routed, POP3Server(certificate(routed), {}))
    box = routed.create("mailboxes", {
        "name": "forward", "emailaddress": "forward@contoso.test", "username": "forward", "password": "pa55", "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2,
        "processanddeleteemails": True,
        "emailrouteraccessapproval": 1, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile(routed, routed.mail, 'pop3', incomingportnumber=server.port)})"})
    routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
    try:
        until(lambda: subjects(routed, box) == ["message 14", "message 16"] and len(alerts(routed, box, UNDELIVERABLE)) == 5, what=lambda: str(alerts(routed, box, UNDELIVERABLE)) + routed.log().decode()[-3000:])
        until(lambda: set(server.messages) == {1, 2, 3, 5, 6}, what=lambda: str(set(server.messages)))
        for alert, number in zip(sorted(alerts(routed, box, UNDELIVERABLE), key=lambda a: a["text"]), (1, 2, 3, 5, 6)):
            assert f"UIDL unique-{number}," in alert["text"] and "addressed to no" in alert["errordetails"]
        turn(routed, box)
        assert set(server.messages) == {1, 2, 3, 5, 6} and subjects(routed, box) == ["message 14", "message 16"]
    finally:
        removed(routed, box)
        removed(routed, owner)
        server.stop()


def test_what_a_filter_or_a_date_refuses_is_not_deleted(routed):
    def listed(number):
        """A message to a mailing list: no recipient of it is known, so only the queue of the mailbox decides."""
        return text(number).replace(b"support@contoso.test", b"list@elsewhere.test")
    server = POP3Server(certificate(routed), {})
    box = served(routed, server, processanddeleteemails=True)
    imap = IMAPServer(certificate(routed), {n: text(n) for n in (1, 2)})
    dated = None
    [(owner,)] = routed.sql("SELECT regardingobjectid FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    try:
        routed.sql("UPDATE org_contoso.queue SET incomingemailfilteringmethod = 1 WHERE queueid = %s", [owner])
        server.messages[1] = listed(1)
        turn(routed, box)
        assert set(server.messages) == {1} and not subjects(routed, box) and not alerts(routed, box, UNDELIVERABLE)
        # An inactive queue receives nothing, and an alert names each message for it.
        routed.sql("UPDATE org_contoso.queue SET statecode = 1, statuscode = 2 WHERE queueid = %s", [owner])
        server.messages[2] = listed(2)
        turn(routed, box)
        assert set(server.messages) == {1, 2} and not subjects(routed, box) and [a for a in alerts(routed, box, UNDELIVERABLE) if "unique-2," in a["text"]]
        routed.sql("UPDATE org_contoso.queue SET statecode = 0, statuscode = 1, incomingemailfilteringmethod = 0 WHERE queueid = %s", [owner])
        server.messages[3] = listed(3)
        turn(routed, box)
        assert set(server.messages) == {1, 2} and subjects(routed, box) == ["message 3"]
        removed(routed, box)
        box = None
        for after, deletes in (("2026-11-25T00:00:00Z", False), ("2026-11-01T00:00:00Z", True)):
            dated = served(routed, imap, processanddeleteemails=True, processemailreceivedafter=after)
            until(lambda: "2" in str(routed.sql("SELECT router_state FROM org_contoso.mailbox WHERE mailboxid = %s AND processedtimes > 0", [dated])))
            assert bool([c for c in imap.commands if "STORE" in c or "EXPUNGE" in c]) == deletes == bool(subjects(routed, dated)), imap.commands
            removed(routed, dated)
            dated = None
    finally:
        for left in (box, dated):
            if left:
                removed(routed, left)
        server.stop()
        imap.stop()


@pytest.mark.parametrize("kind", [IMAPServer, POP3Server])
def test_the_corpus_becomes_records(routed, kind):
    """Each message in Tests/Fixtures/mail goes through a server, the router and the service, and becomes a record."""
    expected = json.loads((CORPUS / "expected.json").read_text())
    names = sorted(expected)
    server = kind(certificate(routed), {n: (CORPUS / f"{name}.eml").read_bytes() for n, name in enumerate(names, 1)})
    box = served(routed, server)
    rows = None

    def records():
        nonlocal rows
        rows = routed.sql(
            "SELECT subject, sender, description, messageid, (SELECT json_agg(filename ORDER BY attachmentnumber) FROM org_contoso.activitymimeattachment AS a WHERE objectid = activityid AND a.subject IS NULL), "
            "(SELECT json_agg(addressused ORDER BY activitypartyid) FROM org_contoso.activityparty AS p WHERE p.activityid = e.activityid AND participationtypemask = 2), "
            "(SELECT addressused FROM org_contoso.activityparty AS p WHERE p.activityid = e.activityid AND participationtypemask = 1), "
            "(SELECT filename FROM org_contoso.activitymimeattachment AS a WHERE objectid = activityid AND a.subject <> ''), "
            "to_char(senton AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"') "
            "FROM org_contoso.email AS e WHERE receivingmailboxid = %s", [box])
        return len(rows) == len(names)
    try:
        until(records, what=lambda: f"{len(rows)} of {len(names)}" + str(alerts(routed, box, UNDELIVERABLE)) + routed.log().decode()[-3000:])
        assert not alerts(routed, box, UNDELIVERABLE)
        for name in names:
            want = expected[name]

            def fits(row):
                # The database has null for an empty text.
                subject, sender, body, id, files, to, party, original, sent = row[0] or "", row[1], row[2], row[3] or "", *row[4:]
                if party != sender or original != want.get("original"):
                    return False
                body = unicodedata.normalize("NFC", body or "")
                if any(key in want and want[key] != value for key, value in (("subject", subject), ("from", sender))):
                    return False
                if want.get("date") not in (None, sent):
                    return False
                if "messageID" in want and want["messageID"] != id or "to" in want and sorted(want["to"]) != sorted(to or []):
                    return False
                if any(words not in body for words in want.get("bodyContains", [])) or any(words in body for words in want.get("bodyLacks", [])):
                    return False
                if "body" in want and body.strip() != want["body"]:
                    return False
                names, files = want.get("attachments"), files or []
                return names is None or len(names) == len(files) and all(a in (None, b) for a, b in zip(names, files))
            assert any(fits(row) for row in rows), (name, want)
    finally:
        removed(routed, box)
        server.stop()
