"""A test of a mailbox is answered by a turn that began after it was asked for, and by no earlier one."""

import uuid

import pytest
import test_console_pages
from console_browser import main, says, wait
from selenium.webdriver.common.by import By
from test_console_access import Visitor, text

# The router of this deployment is stopped: the test is the router.
console = test_console_pages.console
FAILURE = "imap.old.test:993 refuses the user name or the password of the mailbox stale@contoso.test. Set the password again."


@pytest.fixture
def box(console):
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")
    id = console.create("mailboxes", {
        "name": f"stale {uuid.uuid4()}", "emailaddress": f"stale-{uuid.uuid4()}@contoso.test", "username": "stale", "password": "first", "emailrouteraccessapproval": 1,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "allowemailconnectortousecredentials": True})
    yield id
    console.sql("UPDATE org_contoso.mailbox SET testemailconfigurationscheduled = false, statecode = 1 WHERE mailboxid = %s", [id])


def lease(console, box):
    """Leases the mailbox, as a router does."""
    host = f"router {uuid.uuid4()}"
    while True:
        answer = console.request("POST", "fieldseal.LeaseMailbox", {"HostId": host}, client="router")
        assert answer.status_code == 200, (answer.status_code, answer.text)
        if answer.json()["MailboxId"] == box:
            return host
        report(console, answer.json()["MailboxId"], host, interval=86_400)


def report(console, box, host, failure=None, interval=300):
    body = {"MailboxId": box, "HostId": host, "Interval": interval, "Tests": True, "IncomingIsWell": failure is None, "OutgoingIsWell": failure is None}
    if failure:
        body["Error"] = {"Code": 1, "Text": failure, "Details": "details", "IsPermanent": True}
    answer = console.request("POST", "fieldseal.ReportMailbox", body, client="router")
    assert answer.status_code in (200, 204), answer.text


def asked(visitor, box):
    done = visitor.send(f"records/mailboxes/{box}/do", do="test")
    assert "done=testing" in done.url, text(done)
    return done.url.rsplit("/contoso/", 1)[1]


def test_a_result_from_before_the_test_is_not_its_answer(console, box, browser):
    visitor = Visitor(console)
    asked(visitor, box)
    early = lease(console, box)
    # The person corrects the mailbox and tests it again, while the router still works with what was there before.
    assert console.request("PATCH", f"mailboxes({box})", {"password": "second"}).status_code == 204
    browser.get(f"{console.pages}/{asked(visitor, box)}")
    report(console, box, early, FAILURE)
    page = visitor.get(f"records/mailboxes/{box}")
    assert "data-live" in page.text and "refuses the user name" not in text(page), text(page)
    assert "Set the password again" not in main(browser)
    assert console.sql("SELECT testemailconfigurationscheduled FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(True,)]
    # The page renews itself until the answer to this test comes.
    report(console, box, lease(console, box))
    wait(browser, lambda d: not d.find_elements(By.CSS_SELECTOR, "[data-live]"))
    says(browser, "Working")
    assert "Set the password again" not in main(browser)


def test_a_result_of_the_test_itself_is_its_answer(console, box):
    visitor = Visitor(console)
    asked(visitor, box)
    report(console, box, lease(console, box), FAILURE)
    page = visitor.get(f"records/mailboxes/{box}")
    assert "data-live" not in page.text and "refuses the user name" in text(page)


def test_the_page_says_if_no_router_answers(console, box):
    visitor = Visitor(console)
    asked(visitor, box)
    console.sql("DELETE FROM org_contoso.mail_router")
    page = visitor.get(f"records/mailboxes/{box}")
    assert "data-live" in page.text and "No router is running" in text(page), text(page)
