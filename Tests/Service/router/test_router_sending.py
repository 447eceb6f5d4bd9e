"""Sending e-mails: addresses in the protocol, limits of recipients, late responses, and the effect of the mimetype."""

import email
import email.policy
import os
import signal
import subprocess

import pytest
from mail import certificate, profile, queue
from mail_quirks import IMAPServer, SMTPServer
from service import PATIENCE, PROGRAM
from test_router import alerts
from waiting import until


@pytest.fixture
def sender(routed):
    """A function that makes a queue whose mailbox sends through the given server. Returns (queue, mailbox)."""
    servers, boxes = [], []

    def make(server, **more):
        servers.append(server)
        q, box = queue(routed, routed.mail, profile(routed, routed.mail, outgoingportnumber=server.port, **more), testemailconfigurationscheduled=False)
        routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = true WHERE mailboxid = %s", [box])
        boxes.append(box)
        return q, box
    yield make
    for box in boxes:
        routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = false WHERE mailboxid = %s", [box])
    for server in servers:
        server.answer.set()
        server.stop()


def draft(routed, q, recipients, subject="s", body="<p>b</p>", **more):
    return routed.create("emails", {"subject": subject, "description": body, **more, "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({q})"}, *[{"participationtypemask": 2, "addressused": a} for a in recipients]]})


def send(routed, id, status=200):
    answer = routed.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, "TrackingToken": ""})
    assert answer.status_code == status, answer.text
    return answer


def state(routed, id, wanted):
    until(lambda: routed.get(f"emails({id})?$select=statuscode").json()["statuscode"] == wanted,
          what=lambda: str(routed.sql("SELECT statuscode, failure FROM org_contoso.email WHERE activityid = %s", [id])) + routed.log().decode()[-3000:])
    return routed.sql("SELECT failure FROM org_contoso.email WHERE activityid = %s", [id])[0][0]


def arrived(server, number=0):
    return email.message_from_bytes(server.taken[number][2], policy=email.policy.default)


@pytest.mark.parametrize("more", [{}, {"extensions": ("AUTH PLAIN LOGIN",)}, {"extensions": ("PIPELINING", "AUTH PLAIN LOGIN", "LIMITS RCPTMAX=100 MAILMAX=5")},
                                  {"words": b"452 too busy"}, {"words": b"552 5.5.3 Too many recipients"}])
def test_more_recipients_than_one_transaction_takes(routed, sender, more):
    server = SMTPServer(certificate(routed), most=100, **more)
    q, _ = sender(server)
    people = [f"person-{n}@elsewhere.test" for n in range(250)]
    id = draft(routed, q, people)
    send(routed, id)
    state(routed, id, 3)
    assert [len(taken[1]) for taken in server.taken] == [100, 100, 50] and sorted(sum((t[1] for t in server.taken), [])) == sorted(people)
    assert len({t[2] for t in server.taken}) == 1


def test_a_recipient_that_is_refused_behind_the_limit_has_nothing_sent(routed, sender):
    """The message goes to all recipients or to none, even if the server's limit would require several transactions."""
    server = SMTPServer(certificate(routed), most=10, refuses=b"person-17@")
    q, _ = sender(server)
    id = draft(routed, q, [f"person-{n}@elsewhere.test" for n in range(25)])
    send(routed, id)
    assert "person-17@elsewhere.test" in state(routed, id, 8) and not server.taken


@pytest.mark.parametrize("refusal, status", [
    (b"550-5.1.1 The recipient is not here.\r\n550-5.1.1 Ask the postmaster,\r\n550 5.1.1 who knows.", 8),
    (b"450-4.2.1 The mailbox is busy.\r\n450 4.2.1 Come back", 6), (b"451", 6), (b"571", 8)])
def test_a_refusal_in_several_lines_or_without_words_is_told(routed, sender, refusal, status):
    server = SMTPServer(certificate(routed), refuses=b"person-2@")
    server.refusal = refusal
    q, _ = sender(server)
    id = draft(routed, q, [f"person-{n}@elsewhere.test" for n in (1, 2, 3)])
    send(routed, id)
    said = "SELECT failure FROM org_contoso.email WHERE activityid = %s AND statuscode = %s AND failure <> ''"
    [(failure,)] = until(lambda: routed.sql(said, [id, status]), what=lambda: routed.log().decode()[-3000:])
    # The stored failure has all lines of the response, and no recipient got the message.
    assert "person-2@elsewhere.test" in failure and refusal[:3].decode() in failure and not server.taken
    assert all(line[4:].decode().strip() in failure for line in refusal.split(b"\r\n"))


def test_an_answer_that_comes_late_is_waited_for(routed, sender):
    """The server responds later than the mailbox's timeout. The router waits, as RFC 5321 section 4.5.3.2.6 requires, and the e-mail is Sent."""
    server = SMTPServer(certificate(routed), delay=6)
    q, _ = sender(server, timeoutmailboxconnection=True, timeoutmailboxconnectionafteramount=2000)
    id = draft(routed, q, ["a@elsewhere.test"])
    send(routed, id)
    assert state(routed, id, 3) is None and len(server.taken) == 1


def test_a_server_that_hangs_up_at_one_email_sends_the_others(routed, sender):
    server = SMTPServer(certificate(routed), hangs_up_at=b"RCPT TO:<bad@")
    q, box = sender(server)
    ids = [draft(routed, q, [f"{who}@elsewhere.test"], deliveryprioritycode=2 if who == "bad" else 1) for who in ("bad", "good", "better")]
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = false WHERE mailboxid = %s", [box])
    for id in ids:
        send(routed, id)
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = true WHERE mailboxid = %s", [box])
    for id in ids[1:]:
        state(routed, id, 3)
    # The e-mail has this status even before the first attempt. So the test waits until the failure is stored.
    until(lambda: routed.sql("SELECT 1 FROM org_contoso.email WHERE activityid = %s AND statuscode = 6 AND failure <> ''", [ids[0]]), what=lambda: routed.log().decode()[-3000:])
    assert sorted(t[1][0] for t in server.taken) == ["better@elsewhere.test", "good@elsewhere.test"]


def test_the_most_urgent_goes_first_and_of_these_the_oldest(routed, sender):
    server = SMTPServer(certificate(routed))
    q, box = sender(server)
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = false WHERE mailboxid = %s", [box])
    urgencies = [0, 1, 2, 1, 2, 0, 0, 1, 2, 1]
    ids = [draft(routed, q, [f"{number}@elsewhere.test"], deliveryprioritycode=urgency) for number, urgency in enumerate(urgencies)]
    # Sends in reverse order, because PostgreSQL moves an updated row to the end of the table.
    for id in reversed(ids):
        send(routed, id)
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = true WHERE mailboxid = %s", [box])
    for id in ids:
        state(routed, id, 3)
    wanted = sorted(range(len(ids)), key=lambda number: (-urgencies[number], number))
    assert [taken[1][0] for taken in server.taken] == [f"{number}@elsewhere.test" for number in wanted]


def test_domains_go_out_in_ascii(routed, sender):
    server = SMTPServer(certificate(routed))
    q, _ = sender(server)
    id = draft(routed, q, ["info@bücher.test", "kunde@xn--bcher-kva.test", '"a b"@elsewhere.test', "a..b@elsewhere.test"])
    send(routed, id)
    state(routed, id, 3)
    assert sorted(server.taken[0][1]) == ['"a b"@elsewhere.test', "a..b@elsewhere.test", "info@xn--bcher-kva.test", "kunde@xn--bcher-kva.test"]
    assert "SMTPUTF8" not in server.taken[0][0] and all(byte < 0x80 for byte in server.taken[0][2])


@pytest.mark.parametrize("knows", [True, False])
def test_a_local_part_in_utf8_needs_a_server_that_takes_it(routed, sender, knows):
    server = SMTPServer(certificate(routed), extensions=("8BITMIME", *(["SMTPUTF8"] if knows else []), "AUTH PLAIN LOGIN"))
    q, _ = sender(server)
    id = draft(routed, q, ["jürgen@bücher.test"])
    send(routed, id)
    if knows:
        state(routed, id, 3)
        assert server.taken[0][1] == ["jürgen@xn--bcher-kva.test"] and server.taken[0][0].endswith("SMTPUTF8")
    else:
        assert "SMTPUTF8" in state(routed, id, 8) and not server.taken


def test_a_message_that_is_larger_than_the_server_takes_is_not_offered(routed, sender):
    server = SMTPServer(certificate(routed), extensions=("SIZE 3000", "8BITMIME", "AUTH PLAIN LOGIN"))
    q, box = sender(server)
    large, small = (draft(routed, q, ["a@elsewhere.test"], subject, body) for subject, body in (("large", "<p>Größe</p>" * 500), ("small", "<p>Größe</p>")))
    for id in (large, small):
        send(routed, id)
    failure = state(routed, large, 8)
    assert "552" in failure and "3000" in failure
    [alert] = [a for a in alerts(routed, box) if a["tracecode"] == 21 and large in a["errordetails"]]
    # Email Administrators can read alerts, but no e-mails. So the alert does not contain the subject.
    assert alert["text"].startswith("An e-mail was not sent. ") and "large" not in alert["text"]
    state(routed, small, 3)
    [(command, recipients, data)] = server.taken
    assert recipients == ["a@elsewhere.test"] and arrived(server)["Subject"] == "small"
    # The router declares the size. It sends no byte above 0x7F, even if the server offers 8BITMIME.
    assert f"SIZE={len(data)}" in command and "BODY=" not in command and all(byte < 0x80 for byte in data)


def test_a_server_that_hangs_up_with_the_last_byte_leaves_the_outcome_unknown(routed, sender):
    server = SMTPServer(certificate(routed))
    server.hangs_up_after_data = True
    q, box = sender(server)
    id = draft(routed, q, ["a@elsewhere.test"])
    send(routed, id)
    assert "unknown" in state(routed, id, 8)
    until(lambda: [a for a in alerts(routed, box) if a["tracecode"] == 23 and id in a["errordetails"]], what=lambda: str(alerts(routed, box)))
    # The router does not send this e-mail again by itself, and sends other e-mails.
    server.hangs_up_after_data = False
    second = draft(routed, q, ["b@elsewhere.test"])
    send(routed, second)
    routed.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = NULL, transientfailurecount = 0 WHERE mailboxid = %s", [box])
    state(routed, second, 3)
    assert [taken[1] for taken in server.taken] == [["a@elsewhere.test"], ["b@elsewhere.test"]]
    assert routed.get(f"emails({id})").json()["statuscode"] == 8
    # A person sends the e-mail again. It has the same Message-ID.
    send(routed, id)
    state(routed, id, 3)
    assert arrived(server, 0)["Message-ID"] == arrived(server, 2)["Message-ID"]


@pytest.mark.parametrize("mimetype, body, kind", [
    ("text/plain", "On Monday Bob <bob@elsewhere.test> wrote:\n> <p>", "plain"), ("text/html", "no tag", "html"),
    ("text/html; charset=utf-8", "a < b", "html"), (None, "On Monday Bob <bob@elsewhere.test> wrote:\n> hello", "plain"), (None, "<p>b</p>", "html"),
    (None, "a<BR/>b", "html"), (None, "see <a\nhref='x'>", "html"), (None, "</H1>", "html"), (None, "a < b and b > c", "plain"),
    (None, "<params> <b", "plain"), (None, "<b c<d>", "plain"), (None, "<a@x.test> <p/q>", "plain")])
def test_the_mimetype_decides(routed, sender, mimetype, body, kind):
    server = SMTPServer(certificate(routed))
    q, _ = sender(server)
    id = draft(routed, q, ["a@elsewhere.test"], body=body, **({"mimetype": mimetype} if mimetype else {}))
    send(routed, id)
    state(routed, id, 3)
    message = arrived(server)
    # An HTML message also has a plain text before the HTML, for programs that can't show HTML (RFC 2046, section 5.1.4).
    parts = list(message.iter_parts()) if kind == "html" and message.is_multipart() else [message]
    assert parts[-1].get_content_type() == f"text/{kind}" and parts[-1].get_content().replace("\r\n", "\n").strip() == body
    words = {"<p>b</p>": "b", "a<BR/>b": "a\nb", "see <a\nhref='x'>": "see", "</H1>": ""}.get(body, body)
    if kind == "html" and words:
        assert message.get_content_type() == "multipart/alternative" and [part.get_content_type() for part in parts] == ["text/plain", "text/html"]
        assert parts[0].get_content().replace("\r\n", "\n").strip() == words
    else:
        assert not message.is_multipart()


def test_files_are_beside_both_texts(routed, sender):
    server = SMTPServer(certificate(routed))
    q, _ = sender(server)
    id = draft(routed, q, ["a@elsewhere.test"], body="<p>See <b>it</b></p>", mimetype="text/html", email_activity_mime_attachment=[{"filename": "a.bin", "body": "eA=="}])
    send(routed, id)
    state(routed, id, 3)
    message = arrived(server)
    texts, file = message.iter_parts()
    assert message.get_content_type() == "multipart/mixed" and texts.get_content_type() == "multipart/alternative" and file.get_filename() == "a.bin"
    assert [(part.get_content_type(), part.get_content().strip()) for part in texts.iter_parts()] == [("text/plain", "See it"), ("text/html", "<p>See <b>it</b></p>")]


def test_a_direction_without_a_method_is_not_tested(routed):
    """The router does not connect to the outgoing server, and asks for no password for it."""
    server = SMTPServer(certificate(routed))
    box = None

    def tested():
        record = routed.get(f"mailboxes({box})").json()
        return None if record["testemailconfigurationscheduled"] else record
    try:
        _, box = queue(routed, routed.mail, profile(routed, routed.mail, outgoingportnumber=server.port), outgoingemaildeliverymethod=0)
        record = until(tested, what=lambda: routed.log().decode()[-3000:])
        assert record["testmailboxaccesscompletedon"] and record["incomingemailstatus"] == 1 and record["enabledforincomingemail"]
        assert not record["outgoingemailstatus"] and server.connections == 0
        assert not routed.get(f"tracelogs?$filter=_regardingobjectid_value eq {box}").json()["value"]
        # After the direction gets a delivery method, the test includes it.
        assert routed.request("PATCH", f"mailboxes({box})", {"outgoingemaildeliverymethod": 2, "testemailconfigurationscheduled": True}).status_code == 204
        record = until(tested, what=lambda: routed.log().decode()[-3000:])
        assert record["outgoingemailstatus"] == 1 and record["enabledforoutgoingemail"] and server.connections > 0
    finally:
        if box:
            assert routed.request("DELETE", f"mailboxes({box})").status_code == 204
        server.answer.set()
        server.stop()


FILES = [
    ("text/calendar; method=REQUEST", "text/calendar", {"method": "REQUEST"}), ("text/html; charset=x", "text/html", {"charset": "x"}),
    ('TEXT/Plain;charset="a b";format=flowed;', "text/plain", {"charset": "a b", "format": "flowed"}), ("application/vnd.a+b_c", "application/vnd.a+b_c", {}),
    ('application/pdf; name="other.pdf"', "application/pdf", {}), ("message/rfc822", "application/octet-stream", {}), ("multipart/mixed; boundary=x", "application/octet-stream", {}),
    (None, "application/octet-stream", {}), ("", "application/octet-stream", {}),
]


def test_the_type_of_a_file_leaves_with_its_parameters(routed, sender):
    server = SMTPServer(certificate(routed))
    q, _ = sender(server)
    id = draft(routed, q, ["a@elsewhere.test"], email_activity_mime_attachment=[
        {"filename": f"{n}.bin", "mimetype": type, "body": "eA=="} for n, (type, _, _) in enumerate(FILES)])
    send(routed, id)
    state(routed, id, 3)
    files = list(arrived(server).iter_attachments())
    assert [(f.get_content_type(), f.get_filename()) for f in files] == [(type, f"{n}.bin") for n, (_, type, _) in enumerate(FILES)]
    for file, (_, _, parameters) in zip(files, FILES):
        assert {k: v for k, v in file["Content-Type"].params.items() if k != "name"} == parameters and file["Content-Type"].params["name"] == file.get_filename()


@pytest.mark.parametrize("type", ["pdf", "text/", "/html", "text/html charset=x", "text/html; charset", "text/html; charset=", "text/html; a=1; A=2", 'text/html; a="x', "a/b\r\nBcc: x@y.test",
                                  "a/b; c=d\nX: y", "ä/b", "a/b; c=ü", "text/html, text/plain", "a/b; c=d e", "x" * 201 + "/y", "a/b;" + " " * 300 + "c=d"])
def test_what_is_no_media_type_is_refused(routed, sender, type):
    q, _ = sender(SMTPServer(certificate(routed)))
    id = draft(routed, q, ["a@elsewhere.test"], email_activity_mime_attachment=[{"filename": "a", "mimetype": "text/plain", "body": "eA=="}])
    before = routed.sql("SELECT count(*) FROM org_contoso.email")
    [file] = routed.get(f"activitymimeattachments?$filter=_objectid_value eq {id}").json()["value"]
    for method, path, body in (
        ("POST", "emails", {"subject": "s", "email_activity_mime_attachment": [{"filename": "a", "mimetype": type, "body": "eA=="}]}),
        ("PATCH", f"activitymimeattachments({file['activitymimeattachmentid']})", {"mimetype": type}), ("PATCH", f"emails({id})", {"mimetype": type}),
    ):
        answer = routed.request(method, path, body)
        assert answer.status_code == 400 and "mimetype takes" in answer.text, (method, path, answer.text)
    assert routed.sql("SELECT count(*) FROM org_contoso.email") == before
    assert routed.request("PATCH", f"activitymimeattachments({file['activitymimeattachmentid']})", {"mimetype": "text/calendar; method=REPLY"}).status_code == 204


def test_a_sender_without_an_address_is_refused_at_once(routed, sender):
    """The e-mail is refused when it is sent, so it does not wait for the sender to get an address."""
    server = SMTPServer(certificate(routed))
    q, box = sender(server)
    id = draft(routed, q, ["a@elsewhere.test"])
    for nothing in (None, "", "no address"):
        routed.sql("UPDATE org_contoso.mailbox SET emailaddress = %s WHERE mailboxid = %s", [nothing, box])
        assert "emailaddress" in send(routed, id, 400).text
    # E-mails that already waited are sent, even if the mailbox has lost its address.
    routed.sql("UPDATE org_contoso.mailbox SET emailaddress = 'support@contoso.test', enabledforoutgoingemail = false WHERE mailboxid = %s", [box])
    send(routed, id)
    routed.sql("UPDATE org_contoso.mailbox SET emailaddress = NULL, enabledforoutgoingemail = true WHERE mailboxid = %s", [box])
    state(routed, id, 3)
    assert arrived(server)["Message-ID"]


def test_references_grow_with_the_conversation(routed, sender):
    """References names the message that is answered, and all messages before it (RFC 5322, section 3.6.4)."""
    server = SMTPServer(certificate(routed))
    q, box = sender(server)
    inbox = IMAPServer(certificate(routed), {1: b"From: c@elsewhere.test\r\nTo: support@contoso.test\r\nSubject: three\r\nMessage-ID: <c@x.test>\r\nReferences: <a@x.test>\r\n <b@x.test>\r\n\r\nText\r\n"})
    try:
        _, incoming = queue(routed, routed.mail, profile(routed, routed.mail, incomingportnumber=inbox.port), testemailconfigurationscheduled=False)
        routed.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [incoming])
        [parent] = until(lambda: routed.get(f"emails?$filter=_receivingmailboxid_value eq {incoming}").json()["value"])
        first = draft(routed, q, ["c@elsewhere.test"], **{"parentactivityid@odata.bind": f"/emails({parent['activityid']})"})
        send(routed, first)
        state(routed, first, 3)
        message = arrived(server)
        assert message["References"].split() == ["<a@x.test>", "<b@x.test>", "<c@x.test>"] and message["In-Reply-To"] == "<c@x.test>"
        second = draft(routed, q, ["c@elsewhere.test"], **{"parentactivityid@odata.bind": f"/emails({first})"})
        send(routed, second)
        state(routed, second, 3)
        assert arrived(server, 1)["References"].split() == ["<a@x.test>", "<b@x.test>", "<c@x.test>", message["Message-ID"]]
        assert routed.request("DELETE", f"mailboxes({incoming})").status_code == 204
    finally:
        inbox.stop()


# The largest number of e-mails that one request announces (`SendingProgress.handOverLimit`).
ANNOUNCED = 16


def waiting(routed, q, box, count, **more):
    """Makes e-mails and disables sending, so that they wait. Returns their ids in the order in which they will be sent."""
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = false WHERE mailboxid = %s", [box])
    ids = [draft(routed, q, [f"{number}@elsewhere.test"], **more) for number in range(count)]
    for id in ids:
        send(routed, id)
    return ids


def enable(routed, box):
    routed.sql("UPDATE org_contoso.mailbox SET enabledforoutgoingemail = true WHERE mailboxid = %s", [box])


def states(routed, box):
    return dict(routed.sql("SELECT activityid::text, statuscode FROM org_contoso.email WHERE sendermailboxid = %s", [box]))


def test_many_emails_are_announced_and_reported_together(routed, sender):
    """For 60 e-mails, the router uses one connection to the server and at most 15 reports to the service."""
    server = SMTPServer(certificate(routed))
    q, box = sender(server)
    ids = waiting(routed, q, box, 60)
    mark = len(routed.log())
    enable(routed, box)
    for id in ids:
        state(routed, id, 3)
    assert [taken[1][0] for taken in server.taken] == [f"{number}@elsewhere.test" for number in range(60)]
    requests = [line for line in routed.log()[mark:].splitlines() if b"fieldseal.ReportEmails" in line]
    assert len(requests) <= 15, len(requests)
    assert sum(command.startswith("EHLO") for command in server.commands) <= 2, server.commands


@pytest.mark.parametrize("prompt", [0, 5, 40])
def test_a_router_that_dies_leaves_few_fates_unknown_and_names_them(routed, sender, prompt):
    """A router is killed. E-mails that it had reported as being sent become Failed, and one alert names them. The next router sends the others.
    None is sent twice."""
    server = SMTPServer(certificate(routed), delay=10 * PATIENCE)
    server.prompt = prompt
    q, box = sender(server)
    os.kill(routed.router_pid(), signal.SIGSTOP)
    try:
        ids = waiting(routed, q, box, 45)
        enable(routed, box)
        routed.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, hostid = NULL WHERE mailboxid = %s", [box])
        router = subprocess.Popen([PROGRAM, "router", "--interval", "1", "--workers", "1"], env=routed.environment, stdin=subprocess.DEVNULL,
                                  stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            until(lambda: len(server.taken) == prompt + 1, what=lambda: str(len(server.taken)))
        finally:
            router.kill()
            router.wait()
        announced = {id for (id,) in routed.sql("SELECT activityid::text FROM org_contoso.email WHERE sendermailboxid = %s AND statuscode = 7 AND is_handed_over", [box])}
        assert 1 <= len(announced) <= ANNOUNCED and ids[prompt] in announced
        server.delay = 0
        server.answer.set()
        routed.sql("UPDATE org_contoso.mailbox SET processinglastattemptedon = processinglastattemptedon - interval '3 minutes' WHERE mailboxid = %s", [box])
    finally:
        os.kill(routed.router_pid(), signal.SIGCONT)
    until(lambda: set(states(routed, box).values()) <= {3, 8}, what=lambda: str(states(routed, box)))
    failed = {id for id, status in states(routed, box).items() if status == 8}
    # Some of these e-mails were accepted by the server, but the router could not report it.
    assert announced == failed
    recipients = [taken[1][0] for taken in server.taken]
    assert len(recipients) == len(set(recipients)), recipients
    assert {f"{number}@elsewhere.test" for number, id in enumerate(ids) if id not in failed} <= set(recipients)
    [(text, about)] = routed.sql("SELECT text, regardingobjectidname FROM org_contoso.tracelog WHERE regardingobjectid = %s AND tracecode = 23", [box])
    assert [(about,)] == routed.sql("SELECT name FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    assert all(id in text for id in failed)


def test_a_report_whose_answer_was_lost_is_taken_again(routed, sender):
    """A router that gets no response repeats its report, and the service accepts it again. The service refuses a different outcome for the same
    e-mail."""
    server = SMTPServer(certificate(routed))
    q, box = sender(server)
    os.kill(routed.router_pid(), signal.SIGSTOP)
    try:
        [sent, refused] = waiting(routed, q, box, 2)
        enable(routed, box)
        routed.sql("UPDATE org_contoso.mailbox SET processingstatecode = 0, hostid = NULL WHERE mailboxid = %s", [box])
        lease = until(lambda: (answer := routed.request("POST", "fieldseal.LeaseMailbox", {"HostId": "here"}, client="router")).status_code == 200 and answer)
        assert lease.json()["MailboxId"] == box
        ask = {"MailboxId": box, "HostId": "here"}
        taken = routed.request("POST", "fieldseal.TakePendingEmails", {**ask, "Limit": 10}, client="router").json()["value"]
        assert [email["EmailId"] for email in taken] == [sent, refused] and taken[0]["To"] == [{"Name": "0@elsewhere.test", "Address": "0@elsewhere.test"}]

        def report(id, outcome):
            return routed.request("POST", "fieldseal.ReportEmails", {**ask, "Reports": [{"EmailId": id, "Outcome": outcome, "Reason": "why", "Code": 20}]}, client="router").status_code

        for id, outcome in [(sent, "HandingOver"), (sent, "Sent"), (sent, "Sent"), (refused, "Temporary"), (refused, "Temporary")]:
            assert report(id, outcome) == 204, (id, outcome)
        for id, outcome in [(sent, "Temporary"), (sent, "HandingOver"), (refused, "Sent"), (refused, "HandingOver")]:
            assert report(id, outcome) == 412, (id, outcome)
        assert report(sent, "Lost") == 400
        assert states(routed, box) == {sent: 3, refused: 6}
        assert routed.sql("SELECT deliveryattempts FROM org_contoso.email WHERE activityid = %s", [refused]) == [(1,)]
        assert routed.request("POST", "fieldseal.ReportMailbox", {**ask, "Interval": 1}, client="router").status_code == 204
    finally:
        os.kill(routed.router_pid(), signal.SIGCONT)
