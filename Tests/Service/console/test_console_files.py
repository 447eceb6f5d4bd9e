"""Files of new e-mails and replies: sent, too large, invalid, or sent after the session has ended."""

import base64
import contextlib
import html
import re
import socket
import ssl
import urllib.parse
from concurrent.futures import ThreadPoolExecutor

import pytest
from console_browser import press
from selenium.webdriver.common.by import By
from test_console_access import Visitor, person, password, text
from test_console_ended import hidden, unseen
from waiting import until

TO = "customer@elsewhere.test"


@pytest.fixture(scope="module")
def box(console):
    return console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjecttypecode = 'queue' LIMIT 1")[0][0]


def compose(visitor, box, files, path="compose", csrf=None, **form):
    """Sends a new e-mail like a browser: first the fields, then the files."""
    csrf = csrf or hidden(visitor.get("account"), "csrf")
    fields = {"csrf": csrf, "from": box, "to": TO, "cc": "", "body": "typed text", **form}
    return visitor.session.post(f"{visitor.pages}/{path}", fields, files=[("files", file) for file in files])


def attached(console, subject):
    """The files of the e-mail whose subject begins with this text. The service appends a token to each subject."""
    rows = console.sql(
        "SELECT a.filename, a.mimetype, a.body FROM org_contoso.activitymimeattachment AS a JOIN org_contoso.email AS e ON e.activityid = a.objectid "
        "WHERE starts_with(e.subject, %s) ORDER BY a.filename", [subject])
    return [(name, type, base64.b64decode(body or "")) for name, type, body in rows]


def sent(console, subject):
    return console.sql("SELECT count(*) FROM org_contoso.email WHERE starts_with(subject, %s)", [subject])[0][0]


def test_files_of_an_e_mail_arrive_as_they_are(console, box):
    files = [("b\"b.txt", b"--x\r\n\r\n--x--\r\n", "text/plain"), ("ä 1.bin", bytes(range(256)) * 5_000, "application/octet-stream"), ("empty", b"", "not a type")]
    answer = compose(Visitor(console), box, files, subject="with files")
    assert answer.status_code == 200 and "/records/emails/" in answer.url, text(answer)
    stored = attached(console, "with files")
    types = {"not a type": None}
    assert {name: (content, type) for name, type, content in stored} == {name: (content, types.get(type, type)) for name, content, type in files}
    # If no file is chosen, a browser sends one empty part.
    plain = compose(Visitor(console), box, [("", b"", "application/octet-stream")], subject="without files")
    assert plain.status_code == 200 and attached(console, "without files") == [] and sent(console, "without files") == 1


def test_an_answer_has_files(console, box):
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, receivingmailboxid) "
        "VALUES (gen_random_uuid(), 'asked', false, 4, 1, %s, %s) RETURNING activityid::text", [TO, box])
    visitor = Visitor(console)
    assert 'type="file"' in visitor.get(f"records/emails/{id}/reply").text
    answer = compose(visitor, box, [("a.txt", b"answer", "text/plain")], f"records/emails/{id}/reply", subject="Re: asked")
    assert answer.status_code == 200 and attached(console, "Re: asked") == [("a.txt", "text/plain", b"answer")]


@pytest.mark.parametrize("name, shown", [("Müller, Mia", "Müller, Mia &lt;mia@elsewhere.test&gt;"), ("Mia@Elsewhere.test", "mia@elsewhere.test"), (None, "mia@elsewhere.test")])
def test_an_answer_names_the_customer_as_received(console, box, name, shown):
    subject = f"asked by {name}"
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, description, directioncode, statuscode, statecode, sender, receivingmailboxid) "
        "VALUES (gen_random_uuid(), %s, 'Where is it?', false, 4, 1, 'mia@elsewhere.test', %s) RETURNING activityid::text", [subject, box])
    for kind, address, known in ((1, "mia@elsewhere.test", name), (2, "help@contoso.test", "The <Team>")):
        console.sql("""
            INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyidname)
            VALUES (gen_random_uuid(), %s, %s, %s, %s)""", [id, kind, address, known])
    visitor = Visitor(console)
    for path, form in (("reply", {"quote": "1"}), ("forward", {})):
        answer = compose(visitor, box, [("", b"", "application/octet-stream")], f"records/emails/{id}/{path}", subject=f"{path} {subject}", **form)
        assert answer.status_code == 200 and sent(console, f"{path} {subject}") == 1, text(answer)
    [(answered,), (forwarded,)] = console.sql("SELECT description FROM org_contoso.email WHERE subject LIKE %s ORDER BY subject DESC", [f"%_ {subject}%"])
    assert f", {shown} wrote:</div>\n<blockquote>Where is it?</blockquote>" in answered, answered
    assert f"<b>From:</b> {shown}<br>" in forwarded and "<b>To:</b> The &lt;Team&gt; &lt;help@contoso.test&gt;<br>" in forwarded, forwarded


@pytest.mark.parametrize("sizes", [[13_000_000, 13_000_000], [30_000_000], [60_000_000]])
def test_too_much_is_said_in_words_and_the_text_stays(console, box, sizes):
    files = [(f"large {i}.bin", b"x" * size, "application/octet-stream") for i, size in enumerate(sizes)]
    answer = compose(Visitor(console), box, files, subject="too large", cc="cc@elsewhere.test")
    assert answer.status_code in (400, 413) and "25 MB" in text(answer) and "large 0.bin" in text(answer)
    assert 'value="too large"' in answer.text and ">typed text<" in answer.text and f'value="{TO}"' in answer.text
    assert f'<option value="{box}" selected>' in answer.text and sent(console, "too large") == 0


def test_files_are_to_be_chosen_again_after_a_mistake(console, box):
    answer = compose(Visitor(console), box, [("kept.txt", b"x", "text/plain")], subject="mistaken", to="no address")
    assert answer.status_code == 400 and "Choose the files again: kept.txt." in text(answer) and ">typed text<" in answer.text


def test_text_waits_for_a_sign_in_and_files_are_named(console, box):
    admin = console.dev["console"]
    visitor = Visitor(console)
    csrf = hidden(visitor.get("account"), "csrf")
    visitor.send("sign-out")
    asked = compose(visitor, box, [("of mine.txt", b"secret of a file", "text/plain")], csrf=csrf, subject="after the end")
    kept = hidden(asked, "kept")
    assert asked.status_code == 403 and kept and "typed text" not in asked.text
    offered = visitor.session.post(f"{console.pages}/sign-in", {"name": admin["username"], "password": admin["password"], "kept": kept})
    back = visitor.session.post(f"{console.pages}/compose", unseen(offered) | {"csrf": hidden(offered, "csrf")})
    assert back.status_code == 413 and "of mine.txt" in text(back) and ">typed text<" in back.text and sent(console, "after the end") == 0
    again = compose(visitor, box, [("of mine.txt", b"secret of a file", "text/plain")], subject="after the end")
    assert again.status_code == 200 and attached(console, "after the end") == [("of mine.txt", "text/plain", b"secret of a file")]


def test_what_was_sent_with_its_files_is_not_sent_again_by_going_back(console, box):
    """The earlier pages still say that files are missing. Sending their forms again leads to the e-mail that was sent."""
    admin, visitor, file = console.dev["console"], Visitor(console), ("label.csv", b"a,b", "text/csv")
    page = visitor.get("compose")
    once, csrf = hidden(page, "once"), hidden(page, "csrf")
    visitor.send("sign-out")
    asked = compose(visitor, box, [file], csrf=csrf, once=once, subject="went back")
    offered = visitor.session.post(f"{console.pages}/sign-in", {"name": admin["username"], "password": admin["password"], "kept": hidden(asked, "kept")})

    def resume():
        return visitor.session.post(f"{console.pages}/compose", unseen(offered) | {"csrf": hidden(offered, "csrf")})
    lost = resume()
    fields = {k: v for k, v in compose_form(lost).items() if k != "csrf"} | {"subject": "went back"}
    assert lost.status_code == 413 and fields["once"] == once and fields["files.missing"] == "label.csv"
    first = compose(visitor, box, [file], **fields)
    assert "done=sent" in first.url and sent(console, "went back") == 1
    # The person goes back to the page that asks for the files, and to the form, and sends each again.
    assert resume().url == first.url and compose(visitor, box, [], **fields).url == first.url and compose(visitor, box, [file], **fields).url == first.url
    assert sent(console, "went back") == 1 and attached(console, "went back") == [("label.csv", "text/csv", b"a,b")]
    # Sending the form with another file, or without files, makes another e-mail.
    other = compose(visitor, box, [("label.csv", b"c,d", "text/csv")], **fields)
    assert "done=sent" in other.url and other.url != first.url and sent(console, "went back") == 2
    without = compose(visitor, box, [], **fields | {"files.without": "1"})
    assert "done=sent" in without.url and without.url not in (first.url, other.url) and sent(console, "went back") == 3


@pytest.mark.parametrize("body", [b"", b"--x", b"--x\r\n", b"--x\r\nContent-Disposition: form-data\r\n\r\nv\r\n--x--", b"--x\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\nv", b"--x\r\nContent-Disposition: form-data; name=\"to\"\r\n\r\n\xff\r\n--x--"])
def test_a_form_that_can_t_be_read_is_refused(console, body):
    visitor = Visitor(console)
    answer = visitor.session.post(f"{console.pages}/compose", body, headers={"Content-Type": "multipart/form-data; boundary=x"})
    assert answer.status_code in (400, 403) and re.search("Nothing was saved|was not sent by a page", text(answer))


def test_a_person_without_a_mailbox_is_told_so(console):
    person(console, "boxless")
    visitor = Visitor(console, "boxless", password("boxless"))
    page = visitor.get("compose")
    assert page.status_code == 409 and "You have no mailbox yet" in text(page) and "<textarea" not in page.text
    emails = visitor.get("records/emails")
    assert "You have no mailbox yet" in text(emails) and "New e-mail" not in emails.text
    assert "An Email Administrator assigns you one." in text(visitor.get("overview"))
    # If there are few mailboxes, the form shows them all in a select field.
    assert '<select id="from"' in Visitor(console).get("compose").text


def test_a_form_that_is_sent_twice_is_done_once(console, box):
    visitor = Visitor(console)
    page = visitor.get("compose")
    form = {"csrf": hidden(page, "csrf"), "once": hidden(page, "once"), "from": box, "to": TO, "cc": "", "body": "typed text", "subject": "once only"}

    def send(path=None, **changed):
        return visitor.session.post(f"{visitor.pages}/{path or 'compose'}", {**form, **changed}, files=[("files", ("a.txt", b"a", "text/plain"))] if path is None else None)

    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: send(), range(2))) + [send()]
    assert len({answer.url for answer in answers}) == 1 and sent(console, "once only") == 1, [text(answer) for answer in answers]
    # If the form is changed before it is sent again, it makes another e-mail. So does a newly opened form.
    assert send(to="other@elsewhere.test").url not in {answer.url for answer in answers}
    assert send(once=hidden(visitor.get("compose"), "once")).status_code == 200 and sent(console, "once only") == 3

    page = visitor.get("records/queues/new")
    form = {"csrf": hidden(page, "csrf"), "once": hidden(page, "once"), "name": "made once"}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: send("records/queues/new"), range(2)))
    assert len({answer.url for answer in answers}) == 1 and "/records/queues/" in answers[0].url, [text(answer) for answer in answers]
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name = 'made once'") == [(1,)]

    page = visitor.get("connect?provider=other")
    form = {
        "csrf": hidden(page, "csrf"), "once": hidden(page, "once"), "provider": "other", "oauth": "", "name": "connected once", "emailaddress": "once@contoso.test",
        "username": "", "password": "typed secret", "incomingserver": "mail.once.test", "incomingport": "", "outgoingserver": "mail.once.test", "outgoingport": "", "protocol": "imap"}
    with ThreadPoolExecutor(2) as pool:
        answers = list(pool.map(lambda _: send("connect"), range(2))) + [send("connect")]
    assert len({answer.url for answer in answers}) == 1 and "/records/mailboxes/" in answers[0].url, [text(answer) for answer in answers]
    for table, column in (("queue", "name = 'connected once'"), ("mailbox", "emailaddress = 'once@contoso.test'"), ("emailserverprofile", "incomingserverlocation = 'mail.once.test'")):
        assert console.sql(f"SELECT count(*) FROM org_contoso.{table} WHERE {column}") == [(1,)], table


def test_from_offers_what_can_send_and_takes_an_address(console):
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")
    boxes = {}
    for name in ("first", "second"):
        queue = console.create("queues", {"name": f"Help desk {name}", "emailaddress": f"{name}@desk.test"})
        [(box,)] = console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjectid = %s", [queue])
        settings = {"name": "Help desk", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "emailrouteraccessapproval": 1}
        assert console.request("PATCH", f"mailboxes({box})", settings).status_code == 204
        boxes[name] = box
    bare = console.create("mailboxes", {"name": "Help desk of nobody"})
    visitor = Visitor(console)
    page = visitor.get("compose")
    for name, box in boxes.items():
        assert f'value="{box}">Help desk &lt;{name}@desk.test&gt;</option>' in page.text, page.text
    assert bare not in page.text
    # An address can choose a mailbox that can't send. The form shows it, and sending says what it lacks.
    assert bare in visitor.get(f"compose?from={bare}").text
    names = visitor.get("lookup/mailbox?for=sending&q=desk.test").json()["names"]
    assert sorted(names) == ["Help desk <first@desk.test>", "Help desk <second@desk.test>"]
    for number, typed in enumerate(("second@desk.test", "Help desk <second@desk.test>")):
        answer = compose(visitor, typed, [("", b"", "application/octet-stream")], subject=f"typed {number}")
        assert answer.status_code == 200 and sent(console, f"typed {number}") == 1, text(answer)
        assert console.sql("SELECT sendermailboxid::text FROM org_contoso.email WHERE starts_with(subject, %s)", [f"typed {number}"]) == [(boxes["second"],)]
    answer = compose(visitor, "Help desk", [("", b"", "application/octet-stream")], subject="which")
    assert answer.status_code == 400 and "Several have the name “Help desk”. Enter one of these instead: Help desk <first@desk.test>; Help desk <second@desk.test>" in text(answer)


def compose_form(page):
    return {name: html.unescape(value) for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text)}


def test_lost_files_are_asked_for_until_they_are_there_or_done_without(console, box):
    """The page asks for the files again each time, although it first reports another mistake."""
    visitor = Visitor(console)
    files = [("label.csv", b"a,b", "text/csv"), ("terms.txt", b"t", "text/plain")]
    page = compose(visitor, box, files, subject="lost files", to="no address")
    assert page.status_code == 400
    for _ in range(2):
        page = compose(visitor, box, [("", b"", "application/octet-stream")], **{**compose_form(page), "subject": "lost files", "to": "still none"})
        assert page.status_code == 400 and "Choose the files again: label.csv, terms.txt." in text(page)
    sending = {"subject": "lost files", **{k: v for k, v in compose_form(page).items() if k != "csrf"}}
    missing = compose(visitor, box, [], **sending)
    assert missing.status_code == 400 and "files are missing" in text(missing) and sent(console, "lost files") == 0
    # One of the files is chosen, and the page still asks for the other file.
    missing = compose(visitor, box, files[:1], **sending)
    assert missing.status_code == 400 and sent(console, "lost files") == 0
    assert compose(visitor, box, files, **sending).status_code == 200
    assert {name for name, _, _ in attached(console, "lost files")} == {"label.csv", "terms.txt"}
    without = compose(visitor, box, [], **{**sending, "subject": "done without", "files.without": "1"})
    assert without.status_code == 200 and sent(console, "done without") == 1 and attached(console, "done without") == []


@pytest.mark.parametrize(("typed", "addresses"), [
    ('"Carla, C." <customer@elsewhere.test>', ["customer@elsewhere.test"]),
    ('"A; \\"B\\", C" <a@elsewhere.test>; b@elsewhere.test\nC <c@elsewhere.test>', ["a@elsewhere.test", "b@elsewhere.test", "c@elsewhere.test"]),
    ("a@elsewhere.test, , b@elsewhere.test,", ["a@elsewhere.test", "b@elsewhere.test"]),
])
def test_names_with_commas_are_one_recipient(console, box, typed, addresses):
    subject = f"to {' and '.join(addresses)} in {len(typed)} characters"
    assert compose(Visitor(console), box, [], subject=subject, to=typed).status_code == 200
    found = console.sql(
        "SELECT p.addressused FROM org_contoso.activityparty AS p JOIN org_contoso.email AS e USING (activityid) "
        "WHERE starts_with(e.subject, %s) AND p.participationtypemask = 2 ORDER BY 1", [subject])
    assert [address for (address,) in found] == addresses


def test_an_address_is_checked_before_files_are_sent(console, box, browser, tmp_path):
    file = tmp_path / "label.csv"
    file.write_bytes(b"a,b")
    browser.get(f"{console.pages}/compose?from={box}")
    to = browser.find_element(By.NAME, "to")
    for name, value in {"to": '"Carla, C." <c@elsewhere.test>, abc', "subject": "checked first", "files": str(file)}.items():
        browser.find_element(By.NAME, name).send_keys(value)
    browser.find_element(By.XPATH, "//button[text()='Send']").click()
    assert "“abc” is not an e-mail address" in to.get_property("validationMessage")
    to.clear()
    to.send_keys('"Carla, C." <c@elsewhere.test>')
    press(browser, By.XPATH, "//button[text()='Send']")
    assert "/records/emails/" in browser.current_url and attached(console, "checked first") == [("label.csv", "text/csv", b"a,b")]


def test_attachments_keep_the_order_of_the_sender(console, box):
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, receivingmailboxid) "
        "VALUES (gen_random_uuid(), 'in order', false, 4, 1, %s, %s) RETURNING activityid::text", [TO, box])
    for number in (3, 1, 2):
        console.sql("""
            INSERT INTO org_contoso.activitymimeattachment (activitymimeattachmentid, objectid, objecttypecode, filename, attachmentnumber, body, filesize)
            VALUES (overlay(gen_random_uuid()::text placing %s from 1 for 1)::uuid, %s, 'email', %s, %s, 'YQ==', 1)""", [str(9 - number), id, f"part {number}.txt", number])
    visitor = Visitor(console)
    page = visitor.get(f"records/emails/{id}")
    [card] = re.findall(r'(?s)<section class="card" aria-labelledby="attached">.*?</section>', page.text)
    assert re.findall(r">(part \d\.txt)<", card) == ["part 1.txt", "part 2.txt", "part 3.txt"] and text(page).count("Attachments") == 1
    offered = visitor.get(f"records/emails/{id}/forward").text
    fields = re.findall(r'name="(attachment\.[-0-9a-f]+)" value="1" checked> (part \d)', offered)
    assert [name for _, name in fields] == ["part 1", "part 2", "part 3"]
    # The person leaves out one of the three files.
    taken = {name: "1" for name, part in reversed(fields) if part != "part 2"}
    assert compose(visitor, box, [("last.txt", b"x", "text/plain")], f"records/emails/{id}/forward", subject="Fwd: in order", **taken).status_code == 200
    order = console.sql(
        "SELECT a.filename FROM org_contoso.activitymimeattachment AS a JOIN org_contoso.email AS e ON e.activityid = a.objectid "
        "WHERE starts_with(e.subject, 'Fwd: in order') ORDER BY attachmentnumber")
    assert order == [("part 1.txt",), ("part 3.txt",), ("last.txt",)]
    # The page of an e-mail without attachments does not mention attachments.
    [(bare,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender) VALUES (gen_random_uuid(), 'bare', false, 4, 1, %s) RETURNING activityid::text", [TO])
    assert "Attachments" not in text(visitor.get(f"records/emails/{bare}"))


# Forms that do not arrive as a whole


@contextlib.contextmanager
def under_way(console, visitor, *sizes):
    """While the block runs, forms of a person are under way. Of each, so many bytes are sent, and no more."""
    address = urllib.parse.urlsplit(console.base)
    head = "\r\n".join([
        "POST /contoso/compose HTTP/1.1", f"Host: {address.netloc}", f"Origin: {console.base}", "Content-Type: multipart/form-data; boundary=x", "Content-Length: 90000000",
        f"Cookie: {'; '.join(f'{name}={value}' for name, value in visitor.session.cookies.items())}", "", ""])
    start = b'--x\r\nContent-Disposition: form-data; name="files"; filename="slow.bin"\r\nContent-Type: application/octet-stream\r\n\r\n'
    with contextlib.ExitStack() as stack:
        for size in sizes:
            plain = socket.create_connection((address.hostname, address.port), timeout=60)
            # The sender's buffer is small, so that most of the bytes have reached the server when they are sent.
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 65_536)
            connection = stack.enter_context(ssl.create_default_context(cafile=console.dev["caFile"]).wrap_socket(plain, server_hostname=address.hostname))
            connection.sendall(head.encode() + (start + b"x" * max(0, size - len(start)))[:size])
        yield


def files_of(megabytes):
    return [(f"large {n}.bin", b"x" * 1_000_000, "application/octet-stream") for n in range(megabytes)]


@pytest.mark.parametrize("size", [0, 3_000_000])
def test_forms_that_do_not_arrive_keep_out_no_files_of_others(console, box, size):
    name = f"slow sender of {size}"
    person(console, name)
    with under_way(console, Visitor(console, name, password(name)), *[size] * 8):
        answer = compose(Visitor(console), box, [("label.csv", b"a,b", "text/csv")], subject=f"beside {size} bytes")
        assert answer.status_code == 200 and attached(console, f"beside {size} bytes") == [("label.csv", "text/csv", b"a,b")], text(answer)


def test_files_of_one_person_have_25_mb_together(console, box):
    person(console, "another sender", "System Administrator")
    visitor, other, files = Visitor(console), Visitor(console, "another sender", password("another sender")), files_of(8)
    # The server keeps 25 MB of this form, and reads the rest.
    with under_way(console, Visitor(console), 60_000_000):
        lost = compose(visitor, box, files, subject="too much at once")
        assert lost.status_code == 413 and "these files did not arrive: large 0.bin" in text(lost) and "too many files at the moment" in text(lost), text(lost)
        assert 'value="too much at once"' in lost.text and ">typed text<" in lost.text and sent(console, "too much at once") == 0
        # The files of another person arrive.
        assert compose(other, box, files, subject="of another person").status_code == 200 and len(attached(console, "of another person")) == 8
    # When the server notices that the first form has ended, the next one has room.
    until(lambda: compose(visitor, box, files, subject="after the first").status_code == 200)
    assert len(attached(console, "after the first")) == 8


def test_texts_are_kept_when_there_is_no_room_at_all(console, box):
    visitor, fields = Visitor(console), {"subject": "no room at all", "cc": "cc@elsewhere.test"}
    # Together, the server keeps all but 144 of the 25,524,288 bytes that it keeps for one person.
    with under_way(console, Visitor(console), 60_000_000, 262_000):
        lost = until(lambda: compose(visitor, box, [("label.csv", b"a,b", "text/csv")], **fields), holds=lambda answer: answer.status_code != 200, seconds=20)
        assert lost.status_code == 413 and "did not arrive: label.csv" in text(lost), text(lost)
        assert 'value="no room at all"' in lost.text and ">typed text<" in lost.text and 'value="cc@elsewhere.test"' in lost.text
        # A form without files needs no room.
        page = compose(visitor, box, [("", b"", "application/octet-stream")], **fields | {"subject": "no file, no room"})
        assert page.status_code == 200 and sent(console, "no file, no room") == 1, text(page)
    until(lambda: compose(visitor, box, [("label.csv", b"a,b", "text/csv")], **fields | {"subject": "room again"}).status_code == 200)
    assert attached(console, "room again") == [("label.csv", "text/csv", b"a,b")]
