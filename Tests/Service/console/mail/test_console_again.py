"""What happens to a typed e-mail: a failed one that is sent again, an empty one, and one whose page is left."""

import re

import pytest
from console_browser import press, says
from html_forms import form
from selenium.webdriver.common.by import By
from test_console_access import Visitor, password, person, text
from test_console_ended import hidden
from test_console_failed_mail import failed
from waiting import until

TO = "customer@elsewhere.test"


@pytest.fixture(scope="module")
def box(console):
    """A mailbox of a queue."""
    return console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjecttypecode = 'queue' LIMIT 1")[0][0]


def warnings(visitor):
    """How many e-mails the overview says were not sent."""
    said = re.search(r"(\d+) e-mails? of the last 7 days", text(visitor.get("overview")))
    return int(said[1]) if said else 0


def again(visitor, id):
    """Sends a failed e-mail again. Returns the id of the new one."""
    page = visitor.get(f"records/emails/{id}/again")
    answer = visitor.session.post(f"{visitor.pages}/records/emails/{id}/again", {"csrf": hidden(page, "csrf"), **form(page.text, "/again").fields}, files=[("files", ("", b""))])
    assert answer.status_code == 200 and "done=sent" in answer.url, text(answer)
    return answer.url.rsplit("/", 1)[1].split("?")[0]


def test_an_e_mail_that_was_sent_again_says_so_and_is_no_warning_any_more(console, box):
    visitor = Visitor(console)
    failures = "SELECT count(*) FROM org_contoso.email WHERE statuscode = 8 AND createdon > now() - interval '7 days'"
    id = failed(console, visitor, box, "first attempt", "550 no such user")
    [(before,)] = console.sql(failures)
    copy = again(visitor, id)
    page = visitor.get(f"records/emails/{id}")
    assert "This e-mail was sent again" in text(page) and f'href="/contoso/records/emails/{copy}"' in page.text
    assert "not sent to any recipient" not in text(page) and "Send again" not in text(page)
    # Nothing is deleted, and the list that the warning opens does not have it any more.
    assert console.sql(failures) == [(before - 1,)] and "first attempt" in page.text
    assert id not in visitor.get("records/emails?status=8&f.createdon=within-7d").text
    # The overview's figures are up to a minute old.
    until(lambda: warnings(visitor) == before - 1, seconds=90)
    # If the new one fails, that one is the warning.
    console.sql("UPDATE org_contoso.email SET statuscode = 8, statecode = 0, failure = '550 no such user' WHERE activityid = %s", [copy])
    assert console.sql(failures) == [(before,)]
    assert "Failed" in text(visitor.get(f"records/emails/{id}"))
    third = again(visitor, copy)
    # The form of the first one, sent again with the Back button, leads to its own copy.
    assert f"/records/emails/{third}" in visitor.get(f"records/emails/{copy}").text
    console.sql("DELETE FROM org_contoso.email WHERE activityid = %s", [copy])
    assert "was sent again. The new e-mail was deleted" in text(visitor.get(f"records/emails/{id}"))


def test_what_a_client_wrote_in_its_place_is_no_copy(console, box):
    visitor = Visitor(console)
    id = failed(console, visitor, box, "written by a client", "550 no such user")
    for params in ("no JSON", '{"SentAgainAs": "x"}', '{"SentAgainAs": 1}', "[]"):
        console.sql("UPDATE org_contoso.email SET statuscode = 5, statecode = 2, activityadditionalparams = %s WHERE activityid = %s", [params, id])
        page = visitor.get(f"records/emails/{id}")
        assert page.status_code == 200 and "sent again" not in text(page), params
    assert visitor.get(f"records/emails/{id}/again").status_code == 400


def test_a_person_who_may_not_change_the_failed_one_sends_it_again_nevertheless(console, box):
    """Then it stays as it is."""
    name = "sender of others"
    person(console, name, "Email Administrator")
    id = failed(console, Visitor(console), box, "of another", "550 no such user")
    other = Visitor(console, name, password(name))
    page = other.get(f"records/emails/{id}")
    if 'href="/contoso/records/emails/' + id + '/again"' in page.text:
        copy = again(other, id)
        assert copy != id and console.sql("SELECT count(*) FROM org_contoso.email WHERE activityid = %s", [id]) == [(1,)]


# An empty e-mail


def written(visitor, box, **more):
    page = visitor.get(f"compose?from={box}")
    fields = {"csrf": hidden(page, "csrf"), **form(page.text, "/compose").fields, "from": box, "to": TO, **more}
    return visitor.session.post(f"{visitor.pages}/compose", fields, files=[("files", ("", b""))])


def test_an_empty_e_mail_is_asked_about_once(console, box):
    visitor = Visitor(console)
    count = "SELECT count(*) FROM org_contoso.email WHERE coalesce(subject, '') NOT LIKE '%%x' AND directioncode"
    before = console.sql(count)
    asked = written(visitor, box, subject=" ", body="\r\n ", cc="copy@elsewhere.test")
    assert asked.status_code == 409 and "Send an empty e-mail?" in text(asked) and console.sql(count) == before
    # What was typed is there, and the answer has a button of its own.
    fields = form(asked.text, "/compose").fields
    assert (fields["to"], fields["cc"]) == (TO, "copy@elsewhere.test")
    assert re.search(r'<button class="danger" name="empty" value="1">', asked.text)
    done = visitor.session.post(f"{visitor.pages}/compose", {"csrf": hidden(asked, "csrf"), **fields, "empty": "1"}, files=[("files", ("", b""))])
    assert "done=sent" in done.url and console.sql(count) == [(before[0][0] + 1,)]


@pytest.mark.parametrize("typed", [{"subject": "only a subject x"}, {"body": "only a text"}])
def test_a_subject_or_a_text_is_enough(console, box, typed):
    answer = written(Visitor(console), box, **{"subject": "", "body": "", **typed})
    assert "done=sent" in answer.url, text(answer)


def test_an_attachment_is_enough(console, box):
    visitor = Visitor(console)
    page = visitor.get(f"compose?from={box}")
    fields = {"csrf": hidden(page, "csrf"), **form(page.text, "/compose").fields, "from": box, "to": TO, "subject": "", "body": ""}
    answer = visitor.session.post(f"{visitor.pages}/compose", fields, files=[("files", ("a.txt", b"attached", "text/plain"))])
    assert "done=sent" in answer.url, text(answer)


# Leaving the page


#: Whether the page asks the browser for its question before the page is left.
ASKS = "const event = new Event('beforeunload', {cancelable: true}); dispatchEvent(event); return event.defaultPrevented"


def test_a_typed_e_mail_is_not_lost_by_a_reload(console, box, browser):
    browser.get(f"{console.pages}/compose?from={box}")
    assert browser.execute_script(ASKS) is False, "nothing is typed yet"
    browser.find_element(By.NAME, "body").send_keys("typed for a while")
    assert browser.execute_script(ASKS) is True
    # Sending it asks nothing, and neither does the page afterwards.
    browser.find_element(By.NAME, "to").send_keys(TO)
    browser.find_element(By.NAME, "subject").send_keys("not lost")
    press(browser, By.XPATH, "//button[text()='Send']")
    says(browser, "not lost")
    assert browser.execute_script(ASKS) is False
