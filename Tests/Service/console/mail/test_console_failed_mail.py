"""E-mails that were not sent: the reason, sending them again, and subjects and names that a sender chose."""

import base64
import re

import pytest
from console_browser import measured, press, resize, says
from selenium.webdriver.common.by import By
from test_console_access import Visitor, password, person, text
from test_console_ended import hidden

TO = "customer@elsewhere.test"


@pytest.fixture(scope="module")
def box(console):
    return console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjecttypecode = 'queue' LIMIT 1")[0][0]


def failed(console, visitor, box, subject, failure, status=8, **form):
    """Sends an e-mail in the console, and sets it to failed in the database. Returns its id."""
    fields = {"csrf": hidden(visitor.get("account"), "csrf"), "from": box, "to": TO, "cc": "copy@elsewhere.test", "body": "typed <text>\nof two lines", "subject": subject, **form}
    answer = visitor.session.post(f"{visitor.pages}/compose", fields, files=[("files", ("a.txt", b"attached", "text/plain"))])
    assert answer.status_code == 200, text(answer)
    id = answer.url.rsplit("/", 1)[1].split("?")[0]
    console.sql("UPDATE org_contoso.email SET statuscode = %s, statecode = 0, failure = %s WHERE activityid = %s", [status, failure, id])
    return id


def test_a_failed_e_mail_says_why_and_is_sent_again(console, box):
    visitor = Visitor(console)
    id = failed(console, visitor, box, "refused once", "550 5.1.1 <gone@elsewhere.test>: no such user")
    page = visitor.get(f"records/emails/{id}")
    assert "This e-mail was not sent to any recipient." in text(page) and "no such user" in text(page) and "Its alerts" in text(page)
    again = visitor.get(f"records/emails/{id}/again")
    for said in (f'name="to" value="{TO}"', 'name="cc" value="copy@elsewhere.test"', ">typed &lt;text&gt;\nof two lines</textarea>", "a.txt"):
        assert said in again.text, said
    # The subject in the form has no tracking token, because the new e-mail gets its own.
    subject = re.search(r'name="subject" value="([^"]*)"', again.text)[1]
    assert subject == "refused once"
    taken = dict.fromkeys(re.findall(r'name="(attachment\.[^"]+)" value="1" checked', again.text), "1")
    form = {"csrf": hidden(again, "csrf"), "once": hidden(again, "once"), "from": box, "to": TO, "cc": "", "subject": subject, **taken}
    body = re.search(r"(?s)<textarea[^>]*>(.*?)</textarea>", again.text)[1].replace("&lt;", "<").replace("&gt;", ">").replace("\n", "\r\n")
    for typed, stored in ((body, "<p>typed &lt;text&gt;<br>\nof two lines</p>"), ("another text", "<p>another text</p>")):
        answer = visitor.session.post(f"{visitor.pages}/records/emails/{id}/again", {**form, "body": typed, "once": typed}, files=[("files", ("", b""))])
        assert answer.status_code == 200 and "done=sent" in answer.url, text(answer)
        sent = answer.url.rsplit("/", 1)[1].split("?")[0]
        assert console.sql("SELECT description FROM org_contoso.email WHERE activityid = %s", [sent]) == [(stored,)]
        assert [base64.b64decode(b) for (b,) in console.sql("SELECT body FROM org_contoso.activitymimeattachment WHERE objectid = %s", [sent])] == [b"attached"]
    assert visitor.get(f"records/emails/{sent}/again").status_code == 400
    assert "not sent to any" not in text(visitor.get(f"records/emails/{sent}"))


@pytest.mark.parametrize(("failure", "status", "said"), [
    ("The mail server took the message for 2 of 3 recipients, and then answered: 452 full. It was not sent to x@elsewhere.test.", 8, "may not have reached all recipients"),
    ("The connection broke while the mail server was taking the message, so it is unknown whether it was sent. Ask a recipient, or search the mail server's log for its Message-ID. Then send it again, or cancel it. (cut)", 8, "may not have reached all recipients"),
    ("451 try later", 6, "could not be sent yet. The router tries again."),
])
def test_what_is_uncertain_is_not_called_lost(console, box, failure, status, said):
    visitor = Visitor(console)
    page = text(visitor.get(f"records/emails/{failed(console, visitor, box, 'uncertain', failure, status)}"))
    assert said in page and "not sent to any" not in page


def test_a_basic_user_learns_why_too(console, box):
    name = "writer of mail"
    person(console, name)
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])
    admin = Visitor(console)
    id = failed(console, admin, box, "of a basic user", "550 refused by policy")
    console.sql("UPDATE org_contoso.email SET ownerid = %s, owninguser = %s, owningteam = NULL, owneridtype = 'systemuser' WHERE activityid = %s", [user, user, id])
    page = Visitor(console, name, password(name)).get(f"records/emails/{id}")
    assert page.status_code == 200 and "refused by policy" in text(page) and "Its alerts" not in text(page)


def test_a_subject_is_read_as_it_is_written(console, box, browser):
    """Long words, and characters that change the direction of text, don't affect the rest of the page."""
    long = "n" * 200 + ".csv"
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, receivingmailboxid, createdon) "
        "VALUES (gen_random_uuid(), %s, false, 4, 1, %s, %s, now()) RETURNING activityid::text", ["first \u202efdp.exe\u2066 last", "\u202eeno emos <x@elsewhere.test>", box])
    console.sql(
        "INSERT INTO org_contoso.activitymimeattachment (activitymimeattachmentid, objectid, objecttypecode, filename, body, filesize) VALUES (gen_random_uuid(), %s, 'email', %s, 'YQ==', 1)", [id, long])
    visitor = Visitor(console)
    for path in (f"records/emails/{id}", "records/emails"):
        page = visitor.get(path).text
        assert "first fdp.exe last" in page and not re.search("[\u202a-\u202e\u2066-\u2069]", page), path
    for width in (360, 1440):
        resize(browser, width)
        browser.get(f"{console.pages}/records/emails/{id}")
        assert measured(browser) == []


def test_an_e_mail_is_sent_again_in_the_browser(console, box, browser):
    id = failed(console, Visitor(console), box, "again in a browser", "550 no such user")
    browser.get(f"{console.pages}/records/emails/{id}")
    press(browser, By.LINK_TEXT, "Send again")
    assert browser.find_element(By.CSS_SELECTOR, "nav [aria-current]").text == "E-mails"
    press(browser, By.XPATH, "//button[text()='Send']")
    says(browser, "again in a browser")
    assert "/again" not in browser.current_url


def test_a_page_that_is_open_says_why_when_sending_fails(console, box, browser):
    id = failed(console, Visitor(console), box, "watched", None, status=6)
    browser.get(f"{console.pages}/records/emails/{id}?done=sent")
    assert "Send again" not in browser.page_source
    browser.execute_script("window.isStillOpen = true")
    console.sql("UPDATE org_contoso.email SET statuscode = 8, failure = '550 refused by policy' WHERE activityid = %s", [id])
    says(browser, "refused by policy")
    assert browser.execute_script("return window.isStillOpen") is True
    press(browser, By.LINK_TEXT, "Send again")
    says(browser, "watched")
    assert browser.current_url.endswith("/again")
