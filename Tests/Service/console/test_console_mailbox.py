"""Connects a mailbox in the browser, from the empty form to the first message, with real Dovecot and Postfix servers."""

import json

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
from console_browser import chromium, main, press, says, sign_in, wait
from mail import Mail, message
from service import Deployment


@pytest.fixture(scope="module")
def place():
    deployment = Deployment()
    mail = None
    try:
        mail = Mail(deployment.home)
        deployment.start()
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        deployment.mail = mail
        yield deployment
    finally:
        if mail:
            mail.stop()
        deployment.remove()


@pytest.fixture(scope="module")
def browser(place):
    driver = chromium(width=400)
    try:
        sign_in(driver, place)
        yield driver
    finally:
        driver.quit()


def fill(driver, place, address, password):
    for field, text in {
        "name": "Support", "emailaddress": address, "username": address.split("@")[0], "password": password, "incomingserver": "localhost",
        "incomingport": place.mail.description["imap"]["port"], "outgoingserver": "localhost", "outgoingport": place.mail.description["smtp"]["port"],
    }.items():
        element = driver.find_element(By.ID, field)
        element.clear()
        element.send_keys(str(text))


def is_sent(driver):
    """Waits until the page says that the e-mail is on its way, or was sent."""
    wait(driver, lambda d: any(said in main(d) for said in ("The e-mail is on its way.", "The e-mail was sent.")))


def test_a_mailbox_is_connected_and_its_first_message_is_read(place, browser):
    place.mail.clear("support@contoso.test")
    place.mail.inject("support@contoso.test", message(subject="The first one", body="It arrived."))
    browser.get(f"{place.pages}/records/mailboxes")
    press(browser, By.LINK_TEXT, "Connect a mailbox")
    press(browser, By.LINK_TEXT, "Another provider")
    fill(browser, place, "support@contoso.test", "not-the-password")
    press(browser, By.XPATH, "//button[text()='Connect and test']")
    # In the sample organization, this address already has a mailbox.
    says(browser, "support@contoso.test already has a mailbox: Support")
    # Pressing the same button again does not confirm: the page asks again.
    press(browser, By.XPATH, "//button[@class='primary' and text()='Connect and test']")
    says(browser, "support@contoso.test already has a mailbox: Support")
    press(browser, By.XPATH, "//button[text()='Connect a second mailbox of support@contoso.test']")
    # The page shows the result of the test without a reload.
    says(browser, "This mailbox does not work", "Receiving works")
    assert "refuses the user name or the password" in main(browser)
    browser.find_element(By.ID, "password").send_keys(place.mail.passwords["support@contoso.test"])
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    # After the refusal, the router does not try this mailbox by itself. So saving a new password starts a test.
    says(browser, "The connection is being tested")
    says(browser, "This mailbox works")
    press(browser, By.LINK_TEXT, "Its e-mails")

    def arrived(driver):
        driver.refresh()
        return driver.find_elements(By.LINK_TEXT, "The first one")

    wait(browser, arrived)
    press(browser, By.LINK_TEXT, "The first one")
    says(browser, "customer@elsewhere.test")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.mail"))
    wait(browser, lambda d: "It arrived." in d.find_element(By.TAG_NAME, "body").text)
    browser.switch_to.default_content()
    # The person replies to the e-mail.
    place.mail.clear("customer@elsewhere.test")
    press(browser, By.LINK_TEXT, "Reply")
    assert browser.find_element(By.NAME, "to").get_attribute("value") == "Customer <customer@elsewhere.test>"
    browser.find_element(By.NAME, "body").send_keys("Thank you.\nIt did.")
    press(browser, By.XPATH, "//button[text()='Send']")
    is_sent(browser)
    answers = wait(browser, lambda _: [m for m in place.mail.messages("customer@elsewhere.test") if "Re: The first one" in str(m["Subject"])])
    assert str(answers[0]["To"]) == "Customer <customer@elsewhere.test>"
    answer = answers[0].get_body(("html",)).get_content()
    assert "Thank you.<br>" in answer and "wrote:" in answer and "It arrived." in answer.split("<blockquote>")[1]


def test_e_mails_are_written_and_forwarded(place, browser, tmp_path):
    """Needs the first test of this file, which connected a mailbox that works."""
    place.mail.clear("customer@elsewhere.test")
    arriving = message(subject="With a file", body="See the file.")
    arriving.add_attachment(b"a,b\r\n1,2\r\n", maintype="application", subtype="octet-stream", filename="list.bin")
    place.mail.inject("support@contoso.test", arriving)
    [(box,)] = place.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE emailaddress = 'support@contoso.test' ORDER BY createdon DESC LIMIT 1")
    wait(browser, lambda _: place.sql("SELECT 1 FROM org_contoso.email WHERE subject = 'With a file'"))
    [(id,)] = place.sql("SELECT activityid::text FROM org_contoso.email WHERE subject = 'With a file'")

    def sent(subject):
        return [m for m in place.mail.messages("customer@elsewhere.test") if subject in str(m["Subject"])]

    browser.get(f"{place.pages}/records/emails/{id}")
    press(browser, By.LINK_TEXT, "Forward")
    assert browser.find_element(By.NAME, "subject").get_attribute("value") == "Fwd: With a file"
    assert browser.find_element(By.NAME, "from").get_attribute("value") == box
    browser.find_element(By.NAME, "to").send_keys("customer@elsewhere.test, no address")
    browser.find_element(By.NAME, "body").send_keys("For <you>.")
    browser.find_element(By.XPATH, "//button[text()='Send']").click()
    to = browser.find_element(By.NAME, "to")
    assert "“no address” is not an e-mail address." in to.get_property("validationMessage")
    to.clear()
    to.send_keys("A Customer <customer@elsewhere.test>")
    press(browser, By.XPATH, "//button[text()='Send']")
    is_sent(browser)
    wait(browser, lambda _: sent("Fwd: With a file"))
    [forwarded] = sent("Fwd: With a file")
    text = forwarded.get_body(("html",)).get_content()
    assert "For &lt;you&gt;." in text and "See the file." in text and "customer@elsewhere.test" in text
    assert [(part.get_filename(), part.get_content()) for part in forwarded.iter_attachments()] == [("list.bin", b"a,b\r\n1,2\r\n")]
    # The person writes a new e-mail, from the list of the mailbox's e-mails.
    browser.get(f"{place.pages}/records/emails?of={box}")
    press(browser, By.LINK_TEXT, "New e-mail")
    browser.find_element(By.NAME, "to").send_keys("customer@elsewhere.test")
    browser.find_element(By.NAME, "cc").send_keys("bob@contoso.test")
    browser.find_element(By.NAME, "subject").send_keys("From nothing")
    browser.find_element(By.NAME, "body").send_keys("Hello.")
    files = {"Größen.csv": "a;ä\n".encode(), "empty.bin": b"", "all bytes.bin": bytes(range(256))}
    for name, content in files.items():
        (tmp_path / name).write_bytes(content)
    browser.find_element(By.NAME, "files").send_keys("\n".join(str(tmp_path / name) for name in files))
    press(browser, By.XPATH, "//button[text()='Send']")
    is_sent(browser)
    wait(browser, lambda _: sent("From nothing"))
    assert "bob@contoso.test" in str(sent("From nothing")[0]["Cc"])
    assert {part.get_filename(): part.get_payload(decode=True) for part in sent("From nothing")[0].iter_attachments()} == files
    # A mailbox that belongs to no queue and no user can't send. No draft remains.
    alone = place.create("mailboxes", {"name": "belongs to nobody"})
    before = place.sql("SELECT count(*) FROM org_contoso.email")
    browser.get(f"{place.pages}/compose?from={alone}")
    browser.find_element(By.NAME, "to").send_keys("customer@elsewhere.test")
    press(browser, By.XPATH, "//button[text()='Send']")
    says(browser, "This mailbox belongs to no queue and no user")
    assert place.sql("SELECT count(*) FROM org_contoso.email") == before


def test_an_answer_goes_where_the_author_wants_it(place, browser):
    """A web form sends from noreply@ for a customer, and names the customer in Reply-To (RFC 5322, section 3.6.2)."""
    place.mail.clear("customer@elsewhere.test")
    arriving = message(subject="From the web form", body="Call me.", sender="noreply@elsewhere.test")
    arriving["Reply-To"] = "A Customer <customer@elsewhere.test>"
    place.mail.inject("support@contoso.test", arriving)
    wait(browser, lambda _: place.sql("SELECT 1 FROM org_contoso.email WHERE subject = 'From the web form'"))
    [(id, kept)] = place.sql("SELECT activityid::text, activityadditionalparams FROM org_contoso.email WHERE subject = 'From the web form'")
    assert json.loads(kept) == {"ReplyTo": ["customer@elsewhere.test"]}
    browser.get(f"{place.pages}/records/emails/{id}")
    says(browser, "noreply@elsewhere.test", "Answers go to")
    press(browser, By.LINK_TEXT, "Reply")
    assert browser.find_element(By.NAME, "to").get_attribute("value") == "customer@elsewhere.test"
    says(browser, "The e-mail asks for answers to customer@elsewhere.test (Reply-To), and came from noreply@elsewhere.test.", "CRM:")
    browser.find_element(By.NAME, "body").send_keys("We do.")
    press(browser, By.XPATH, "//button[text()='Send']")
    is_sent(browser)
    wait(browser, lambda _: [m for m in place.mail.messages("customer@elsewhere.test") if "Re: From the web form" in str(m["Subject"])])
    # For a message without Reply-To, no address for replies is stored.
    [(plain,)] = place.sql("SELECT activityadditionalparams FROM org_contoso.email WHERE subject = 'The first one' AND NOT directioncode")
    assert plain is None


def test_what_is_wrong_is_said_at_its_field_and_nothing_is_lost(place, browser):
    before = place.sql("SELECT (SELECT count(*) FROM org_contoso.queue), (SELECT count(*) FROM org_contoso.emailserverprofile)")
    browser.get(f"{place.pages}/connect?provider=gmail")
    assert browser.find_element(By.ID, "incomingserver").get_attribute("value") == "imap.gmail.com" and "app password" in main(browser)
    browser.get(f"{place.pages}/connect?provider=other")
    fill(browser, place, "sales@contoso.test", "typed-once")
    browser.execute_script("for (const e of document.querySelectorAll('form.fields input')) { e.required = false; e.type = e.type === 'email' ? 'text' : e.type; }")
    browser.find_element(By.ID, "emailaddress").clear()
    browser.find_element(By.ID, "emailaddress").send_keys("no address")
    press(browser, By.XPATH, "//button[text()='Connect and test']")
    says(browser, "Enter an e-mail address", "The password is kept until you connect")
    assert "typed-once" not in browser.page_source and browser.find_element(By.ID, "incomingserver").get_attribute("value") == "localhost"
    assert place.sql("SELECT (SELECT count(*) FROM org_contoso.queue), (SELECT count(*) FROM org_contoso.emailserverprofile)") == before
    browser.find_element(By.ID, "emailaddress").clear()
    browser.find_element(By.ID, "emailaddress").send_keys("sales@contoso.test")
    press(browser, By.XPATH, "//button[text()='Connect and test']")
    says(browser, "sales@contoso.test already has a mailbox")
    press(browser, By.XPATH, "//button[text()='Connect a second mailbox of sales@contoso.test']")
    wait(browser, lambda d: "/records/mailboxes/" in d.current_url)
    id = browser.current_url.split("/")[-1].split("?")[0]
    assert place.opened_cells()[f"mailbox({id}).password"][1] == "typed-once"


def test_an_existing_profile_is_chosen_by_name_and_a_wrong_name_is_refused(place, browser):
    [(profile, name)] = place.sql("SELECT emailserverprofileid::text, name FROM org_contoso.emailserverprofile ORDER BY createdon LIMIT 1")
    id = place.create("mailboxes", {"name": "by hand"})
    browser.get(f"{place.pages}/records/mailboxes/{id}")
    field = browser.find_element(By.ID, "emailserverprofile")
    field.send_keys("no such profile")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "There is nothing named “no such profile”.")
    field = browser.find_element(By.ID, "emailserverprofile")
    field.clear()
    field.send_keys(name)
    Select(browser.find_element(By.ID, "incomingemaildeliverymethod")).select_by_visible_text("By Fieldseal")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Saved.")
    assert place.get(f"mailboxes({id})?$select=_emailserverprofile_value").json()["_emailserverprofile_value"] == profile
