"""The page of an e-mail: a notice if something was cut, text that can't be read completely, and the way from an alert to its e-mail."""

import re
import unicodedata

import pytest
from console_browser import press, resize, wait
from html_forms import form
from selenium.webdriver.common.by import By
from test_console_access import Visitor, password, person, text
from test_console_ended import hidden

BASE64 = "iVBORw0KGgo" * 200_000


@pytest.fixture(scope="module")
def box(console):
    return console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjecttypecode = 'queue' LIMIT 1")[0][0]


def received(console, box, body, notifications=0, subject="received", mimetype="text/html"):
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, receivingmailboxid, createdon, description, mimetype, notifications) "
        "VALUES (gen_random_uuid(), %s, false, 4, 1, 'customer@elsewhere.test', %s, now(), %s, %s, %s) RETURNING activityid::text", [subject, box, body, mimetype, notifications])
    return id


def replied(console, visitor, id, box, **form):
    page = visitor.get(f"records/emails/{id}/reply")
    fields = {"csrf": hidden(page, "csrf"), "once": hidden(page, "once"), "from": box, "to": "customer@elsewhere.test", "subject": "Re", "body": "Our answer.", **form}
    answer = visitor.session.post(f"{visitor.pages}/records/emails/{id}/reply", fields, files=[("files", ("", b""))])
    assert answer.status_code == 200 and "done=sent" in answer.url, text(answer)
    sent = answer.url.rsplit("/", 1)[1].split("?")[0]
    return console.sql("SELECT description FROM org_contoso.email WHERE activityid = %s", [sent])[0][0]


def test_an_e_mail_that_was_cut_says_so_and_is_answered_without_its_last_tag(console, box):
    visitor = Visitor(console)
    id = received(console, box, f'<p>Dear team,</p><img src="data:image/png;base64,{BASE64}', notifications=2)
    page = text(visitor.get(f"records/emails/{id}"))
    assert "too large to be shown whole" in page and "is in the mailbox at the mail server" in page
    for shape in ("", "?as=text"):
        shown = visitor.get(f"records/emails/{id}/body{shape}").text
        assert "Dear team," in shown and "iVBOR" not in shown
    answer = replied(console, visitor, id, box, quote="1")
    assert "Dear team," in answer and "iVBOR" not in answer and len(answer) < 1_000
    file = """INSERT INTO org_contoso.activitymimeattachment (activitymimeattachmentid, objectid, objecttypecode, filename, body, filesize, subject)
              VALUES (gen_random_uuid(), %s, 'email', 'original.eml', 'YQ==', 1, %s)"""
    # Only the router's own file has a note. A file of the sender with the same name has none.
    for note, is_original in ((None, False), ("The text is too long.", True)):
        console.sql(file, [id, note])
        page = text(visitor.get(f"records/emails/{id}"))
        assert ("is attached as original.eml" in page, "at the mail server" in page) == (is_original, not is_original)


def test_an_e_mail_without_some_files_says_so(console, box):
    visitor = Visitor(console)
    page = text(visitor.get(f"records/emails/{received(console, box, '<p>a <b', notifications=1)}"))
    assert "large pictures or attachments are left out" in page
    whole = received(console, box, "<p>cut <off")
    assert 'id="cut"' not in visitor.get(f"records/emails/{whole}").text
    # The text ends within a tag, but nothing was cut. The page shows it all, without a notice.
    assert "off" in visitor.get(f"records/emails/{whole}/body").text


@pytest.mark.parametrize("html", [
    "<p style='color:#fff'>Call me back.</p>", "<style>*{display:none}</style><p>Call me back.</p>", "<div style='position:absolute;left:-9999px'>Call me back.</div>",
])
def test_an_e_mail_that_can_not_be_read_is_shown_as_text(console, box, browser, html):
    id = received(console, box, html)
    resize(browser, 390)
    browser.get(f"{console.pages}/records/emails/{id}")

    def body():
        browser.switch_to.frame(wait(browser, lambda d: d.find_element(By.CSS_SELECTOR, "iframe.mail")))
        return wait(browser, lambda d: d.find_elements(By.TAG_NAME, "div"))[0]
    press(browser, By.LINK_TEXT, "Show as text")
    words = body()
    wait(browser, lambda _: words.text == "Call me back.")
    assert words.rect["x"] >= 0 and words.value_of_css_property("color") != "rgba(255, 255, 255, 1)"
    browser.switch_to.default_content()
    press(browser, By.LINK_TEXT, "Show with its layout")
    assert browser.find_element(By.LINK_TEXT, "Show as text")
    plain = received(console, box, "only words", mimetype="text/plain")
    assert 'id="shape"' not in Visitor(console).get(f"records/emails/{plain}").text


def test_an_answer_has_an_empty_line_before_what_it_quotes(console, box):
    visitor = Visitor(console)
    id = received(console, box, "<p>The question.</p>")
    answer = replied(console, visitor, id, box, quote="1")
    sent = console.sql("SELECT activityid::text FROM org_contoso.email WHERE description = %s", [answer])[0][0]
    shown = visitor.get(f"records/emails/{sent}/body?as=text").text
    assert re.search(r"Our answer\.\n\n[^\n]+ wrote:\n&gt; The question\.", shown), shown[-300:]


def test_an_alert_leads_to_its_e_mail(console, box):
    visitor = Visitor(console)
    id = received(console, box, "<p>a</p>")

    def alert(details):
        [(alert,)] = console.sql(
            "INSERT INTO org_contoso.tracelog (tracelogid, level, text, errordetails, regardingobjectid, regardingobjecttypecode, createdon, modifiedon) "
            "VALUES (gen_random_uuid(), 3, 'The e-mail \"x\" was not sent. 550 no', %s, %s, 'mailbox', now(), now()) RETURNING tracelogid::text", [details, box])
        return visitor.get(f"records/tracelogs/{alert}").text
    link = f'<a class="button" href="/contoso/records/emails/{id}">Open the e-mail</a>'
    assert link in alert(f"e-mail {id}, attempt 1") and link in alert(f"e-mail {id}")
    for details in (id, "e-mail 11111111-2222-4333-8444-555555555555, attempt 1", "3 e-mails", ""):
        assert "Open the e-mail" not in alert(details), details


def test_an_alert_whose_mailbox_works_again_is_solved(console, box):
    """An alert about a state disappears when the state ends. An alert about a message or an e-mail stays."""
    visitor = Visitor(console)

    def alert(code, age):
        return console.sql(
            """INSERT INTO org_contoso.tracelog (tracelogid, level, tracecode, text, regardingobjectid, regardingobjecttypecode, createdon, modifiedon)
               VALUES (gen_random_uuid(), 3, %s, %s, %s, 'mailbox', now() - %s::interval, now() - %s::interval) RETURNING tracelogid::text""",
            [code, f"alert {code} of {age}", box, age, age])[0][0]

    def badges():
        page = visitor.get(f"records/tracelogs?of={box}&q=alert+&size=100").text
        rows = re.findall(r"(?s)<tr>.*?</tr>", page)
        told = {name: re.search(r'class="badge[^"]*">([^<]*)<', row)[1] for row in rows for name in re.findall(r">(?:<wbr[^>]*>)?(alert \d+ of [\w ]+?)<", row)}
        return {name: told[name] for name in sorted(told)}

    ids = {(code, age): alert(code, age) for code in (10, 12, 18) for age in ("1 hour", "1 second")}
    works = "UPDATE org_contoso.mailbox SET statecode = 0, testemailconfigurationscheduled = false, emailrouteraccessapproval = 1, incomingemailstatus = {}, outgoingemailstatus = 1, lastsyncerror = {}, lastsuccessfulsynccompletedon = now() - interval '1 minute' WHERE mailboxid = %s"
    console.sql(works.format(1, "NULL"), [box])
    assert badges() == {f"alert {code} of {age}": "Solved" if code != 18 and age == "1 hour" else "Error" for code, age in ids}
    page = text(visitor.get(f"records/tracelogs/{ids[10, '1 hour']}"))
    assert "Solved" in page and "The mailbox has worked since then." in page
    assert "Solved" not in text(visitor.get(f"records/tracelogs/{ids[18, '1 hour']}"))
    console.sql(works.format(2, "'again'"), [box])
    assert set(badges().values()) == {"Error"}


def test_the_size_of_an_attachment_is_told_as_it_is(console, box):
    visitor = Visitor(console)
    id = received(console, box, "<p>a</p>")
    for size, told in ((1, "1 byte"), (25, "25 bytes"), (2_600, "3 kB"), (1_500_000, "1.5 MB")):
        console.sql("DELETE FROM org_contoso.activitymimeattachment WHERE objectid = %s", [id])
        console.sql("INSERT INTO org_contoso.activitymimeattachment (activitymimeattachmentid, objectid, objecttypecode, filename, filesize) "
                    "VALUES (gen_random_uuid(), %s, 'email', 'a.txt', %s)", [id, size])
        assert f"a.txt {told}" in text(visitor.get(f"records/emails/{id}")), told


def test_the_view_of_sent_e_mails_has_only_those(console, box):
    visitor = Visitor(console)
    for status in (3, 6, 8):
        console.sql("INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, sendermailboxid, createdon) "
                    "VALUES (gen_random_uuid(), %s, true, %s, 1, 'support@contoso.test', %s, now())", [f"out with {status}", status, box])
    page = visitor.get("records/emails")
    view = re.search(r'<a href="([^"]+)"[^>]*>Sent in the last 24 hours', page.text)[1].replace("&amp;", "&").removeprefix("/contoso/")
    shown = visitor.get(view).text
    assert "out with 3" in shown and "out with 6" not in shown and "out with 8" not in shown
    assert '<option value="true">Outgoing</option>' in page.text
    [link] = re.findall(r'href="(/contoso/records/emails\?[^"]*within-24h[^"]*)"', visitor.get("overview").text)
    assert link == "/contoso/records/emails?f.createdon=within-24h"


# Answers


def test_an_answer_to_all_goes_to_the_others_and_not_to_the_own_mailbox(console, box):
    visitor, own = Visitor(console), console.sql("SELECT emailaddress FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0][0]
    id, alone = received(console, box, "<p>to all</p>", subject="to all"), received(console, box, "<p>to one</p>", subject="to one")
    for email, kind, address in ((id, 2, own.upper()), (id, 2, "second@elsewhere.test"), (id, 3, "boss@elsewhere.test"), (id, 3, "customer@elsewhere.test"), (alone, 2, own)):
        console.sql("INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused) VALUES (gen_random_uuid(), %s, %s, %s)", [email, kind, address])
    assert "Reply to all" in visitor.get(f"records/emails/{id}").text and "Reply to all" not in visitor.get(f"records/emails/{alone}").text
    fields = form(visitor.get(f"records/emails/{id}/reply-all").text, "/reply-all").fields
    assert (fields["to"], fields["cc"], fields["subject"], fields["quote"]) == ("customer@elsewhere.test, second@elsewhere.test", "boss@elsewhere.test", "Re: to all", "1")
    one = form(visitor.get(f"records/emails/{id}/reply").text, "/reply").fields
    assert (one["to"], one["cc"]) == ("customer@elsewhere.test", "")
    csrf = hidden(visitor.get("account"), "csrf")
    answer = visitor.session.post(f"{visitor.pages}/records/emails/{id}/reply-all", fields | {"csrf": csrf, "from": box, "body": "Our answer."}, files=[("files", ("", b""))])
    assert "done=sent" in answer.url, text(answer)
    sent = answer.url.rsplit("/", 1)[1].split("?")[0]
    assert console.sql("SELECT parentactivityid::text FROM org_contoso.email WHERE activityid = %s", [sent]) == [(id,)]
    assert console.sql("SELECT participationtypemask, addressused FROM org_contoso.activityparty WHERE activityid = %s AND participationtypemask IN (2, 3) ORDER BY 1, 2", [sent]) == [
        (2, "customer@elsewhere.test"), (2, "second@elsewhere.test"), (3, "boss@elsewhere.test")]


def test_an_answer_to_all_does_not_go_to_the_holder_of_the_own_mailbox(console):
    """The queue and its mailbox have different addresses. A reply to all goes to neither of them, but to every other recipient."""
    visitor = Visitor(console)
    queue = console.create("queues", {"name": "Orders", "emailaddress": "orders@contoso.example"})
    box = console.request("GET", f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    assert console.request("PATCH", f"mailboxes({box})", {"emailaddress": "orders-in@contoso.example"}).status_code == 204
    id, alone, large = (received(console, box, f"<p>{name}</p>", subject=name) for name in ("to the queue", "to the queue alone", "to very many"))
    party = "INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyid, partyobjecttypecode) VALUES (gen_random_uuid(), %s, 2, %s, %s, %s)"
    for email, address, record in (
            (id, "Orders@contoso.example", None), (id, "orders-in@contoso.example", None), (id, "second@elsewhere.test", None),
            # A former address of the queue. The recipient's row refers to the queue.
            (id, "earlier-orders@contoso.example", queue), (alone, "orders@contoso.example", None)):
        console.sql(party, [email, address, record, record and "queue"])
    assert form(visitor.get(f"records/emails/{id}/reply-all").text, "/reply-all").fields["to"] == "customer@elsewhere.test, second@elsewhere.test"
    assert "Reply to all" not in visitor.get(f"records/emails/{alone}").text
    # A reply to all also works with 6,000 recipients.
    console.sql("INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused) "
                "SELECT gen_random_uuid(), %s, 2, 'r' || n || '@elsewhere.test' FROM generate_series(1, 6000) AS n", [large])
    answer = form(visitor.get(f"records/emails/{large}/reply-all").text, "/reply-all").fields["to"].split(", ")
    assert len(answer) == 6001 and {"customer@elsewhere.test", "r1@elsewhere.test", "r6000@elsewhere.test"} <= set(answer)


def test_the_view_of_unanswered_e_mails_has_those_alone_that_nobody_answers(console, box):
    visitor = Visitor(console)
    ids = {name: received(console, box, "<p>a</p>", subject=f"{name} of the view") for name in ("open", "replied", "failed", "forwarded")}
    for name, status in (("replied", 3), ("failed", 8)):
        console.sql("INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sendermailboxid, parentactivityid, createdon) "
                    "VALUES (gen_random_uuid(), 'answer of the view', true, %s, 1, %s, %s, now())", [status, box, ids[name]])
    page = visitor.get("records/emails")
    view = re.search(r'<a href="/contoso/([^"]+)"[^>]*>Not answered', page.text)[1]
    shown = visitor.get(f"{view}&q=of+the+view")
    assert [name for name in (*ids, "answer") if f"{name} of the view" in shown.text] == ["open", "failed", "forwarded"]
    # Searching in the view, and exporting it, keep the view's filter.
    assert 'name="answer" value="none"' in shown.text
    exported = visitor.get(f"{view}&q=of+the+view".replace("emails?", "emails/export.csv?")).text
    assert "open of the view" in exported and "replied of the view" not in exported


# Conversations and lists


def answers(console, box, subject, parent=None, owner=None):
    id = received(console, box, "<p>of a thread</p>", subject=subject)
    console.sql("UPDATE org_contoso.email SET parentactivityid = %s WHERE activityid = %s", [parent, id])
    if owner:
        console.sql("UPDATE org_contoso.email SET ownerid = %s, owninguser = %s, owningteam = NULL, owneridtype = 'systemuser' WHERE activityid = %s", [owner, owner, id])
    return id


def thread(visitor, id):
    page = visitor.get(f"records/emails/{id}")
    part = re.search(r'(?s)<section class="card" aria-labelledby="thread">.*?</section>', page.text)[0]
    return [text_of for _, text_of in re.findall(r"<li><(a [^>]*|b [^>]*)>([^<]*)<", part)], " ".join(re.sub("<[^>]*>", " ", part).split())


def test_a_conversation_has_all_its_e_mails(console, box):
    name = "reader of a thread"
    person(console, name)
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])
    first = answers(console, box, "1 question", owner=user)
    second = answers(console, box, "2 answer", first)
    third = answers(console, box, "3 question", second, owner=user)
    fourth, other = answers(console, box, "4 answer", third), answers(console, box, "5 other branch", first)
    admin, reader = Visitor(console), Visitor(console, name, password(name))
    subjects = ["1 question", "2 answer", "3 question", "4 answer", "5 other branch"]
    for id in (first, second, third, fourth, other):
        assert thread(admin, id)[0] == subjects, id
    shown, said = thread(reader, third)
    assert shown == ["1 question", "3 question"] and "no other message" not in said
    # This text does not depend on whether other e-mails exist. So a reader can't learn that another user answered.
    only = "Only e-mails that you may see are shown, and at most 200."
    unanswered = answers(console, box, "6 question", owner=user)
    assert said.endswith(only) and thread(reader, unanswered) == ([], f"Conversation {only}")
    alone = answers(console, box, "alone")
    assert thread(admin, alone) == ([], "Conversation There is no other message of this conversation.")
    # The list also ends if e-mails refer to each other in a circle. A long list is cut.
    console.sql("UPDATE org_contoso.email SET parentactivityid = %s WHERE activityid = %s", [fourth, first])
    assert sorted(thread(admin, third)[0]) == subjects
    console.sql("INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, parentactivityid, createdon) "
                "SELECT gen_random_uuid(), 'of many ' || n, false, 4, 1, %s, now() FROM generate_series(1, 250) AS n", [alone])
    shown, said = thread(admin, alone)
    assert len(shown) == 200 and "The conversation is longer: 200 of its e-mails are looked at." in said


def test_the_list_of_e_mails_names_and_finds_senders(console, box):
    visitor, id = Visitor(console), received(console, box, "<p>named</p>", subject="of a named sender")
    console.sql("UPDATE org_contoso.email SET emailsendername = 'J\u00f6rg \u00c5ngstr\u00f6m' WHERE activityid = %s", [id])
    page = visitor.get("records/emails?q=named+sender")
    assert "J\u00f6rg \u00c5ngstr\u00f6m customer@elsewhere.test" in " ".join(re.sub("<[^>]*>", " ", re.sub("<wbr[^>]*>", "", page.text)).split()) and 'placeholder="Subject, sender, recipient"' in page.text
    # A keyboard may send an accented letter as two characters. The search finds the name in both forms.
    for typed in ("\u00e5ngstr\u00f6m", unicodedata.normalize("NFD", "\u00e5ngstr\u00f6m")):
        assert "of a named sender" in visitor.session.get(f"{visitor.pages}/records/emails", params={"q": typed}).text, typed
    assert "of a named sender" not in visitor.get("records/emails?q=nowhere-to-be-found").text


def test_an_answer_to_an_e_mail_without_a_subject_has_no_empty_one(console, box):
    visitor, id = Visitor(console), received(console, box, "<p>nothing</p>", subject="")
    assert form(visitor.get(f"records/emails/{id}/reply").text, "/reply").fields["subject"] == "Re:"
    assert form(visitor.get(f"records/emails/{id}/forward").text, "/forward").fields["subject"] == "Fwd:"
