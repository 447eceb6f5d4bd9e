"""Connecting a mailbox, and other forms with a wrong value: the page names the wrong field, shows it, and gives it the focus."""

import concurrent.futures
import html
import re
import uuid

import pytest
from console_browser import chromium, main, measured, press, resize, sign_in
from html_forms import form
from selenium.webdriver.common.by import By
from test_console_access import Visitor, text
from waiting import until

SERVERS = {"incomingserver": "imap.contoso.example", "outgoingserver": "smtp.contoso.example", "incomingport": "993", "outgoingport": "587"}
MAILBOX = {"name": "Desk", "emailaddress": "desk-of-connect@contoso.example", "username": "", "password": "typed-once", "provider": "other", **SERVERS}
COUNTS = "SELECT (SELECT count(*) FROM org_contoso.queue), (SELECT count(*) FROM org_contoso.mailbox)"


@pytest.fixture(scope="module")
def taken(console):
    """An address that belongs to a mailbox already."""
    console.create("mailboxes", {"name": "There already", "emailaddress": "taken@contoso.example"})
    return "taken@contoso.example"


@pytest.mark.parametrize(("typed", "field", "label", "said"), [
    ({"incomingport": "abc"}, "incomingport", "Port for incoming mail", "number from 1 to 65,535"),
    ({"outgoingport": "0"}, "outgoingport", "Port for outgoing mail", "number from 1 to 65,535"),
    ({"provider": "existing", "profile": "no such profile"}, "profile", "Server profile", "There is nothing named “no such profile”."),
    ({"emailaddress": "nothing"}, "emailaddress", "E-mail address", "e-mail address"),
    ({"incomingserver": "imap://x"}, "incomingserver", "Server for incoming mail", "the name or the address of a host"),
])
def test_what_is_wrong_is_named_marked_and_has_the_focus(console, taken, typed, field, label, said):
    before = console.sql(COUNTS)
    # Although the address has a mailbox already, the page first reports the wrong field.
    answer = Visitor(console).send("connect", **MAILBOX | {"emailaddress": taken} | typed)
    assert answer.status_code == 400 and console.sql(COUNTS) == before
    [line] = re.findall(r'(?s)<section class="problem".*?<li>(.*?)</li>', answer.text)
    assert line.startswith(f'<a href="#{field}">{label}</a>') and said in html.unescape(line), line
    tag = re.search(rf'<input id="{field}"[^>]*>', answer.text)[0]
    assert f'aria-invalid="true" aria-describedby="{field}-error" autofocus' in tag and answer.text.count("autofocus") == 1


def test_an_answered_question_is_not_asked_again_after_an_error(console, taken):
    admin = Visitor(console)
    asked = admin.send("connect", **MAILBOX | {"emailaddress": taken})
    assert asked.status_code == 409 and f'name="second" value="{taken}"' in asked.text
    wrong = admin.send("connect", **MAILBOX | {"emailaddress": taken, "second": taken, "outgoingport": "x"})
    again = form(wrong.text, "/connect").fields
    assert wrong.status_code == 400 and again["second"] == taken
    # The confirmation is not valid for another address.
    console.create("mailboxes", {"name": "Another", "emailaddress": "other-taken@contoso.example"})
    other = admin.send("connect", **again | {"outgoingport": "", "emailaddress": "other-taken@contoso.example"})
    assert other.status_code == 409 and 'name="second" value="other-taken@contoso.example"' in other.text
    before = console.sql(COUNTS)[0]
    assert "/records/mailboxes/" in admin.send("connect", **again | {"outgoingport": ""}).url
    assert console.sql(COUNTS)[0] == (before[0] + 1, before[1] + 1)


def test_an_address_whose_mailbox_was_deleted_is_asked_about(console):
    """The queue of the deleted mailbox still exists, and connecting the address would make a second queue. So the page asks."""
    admin, address = Visitor(console), "again@contoso.example"
    queue = console.create("queues", {"name": "Connected before", "emailaddress": address})
    assert "has no mailbox" not in text(admin.get(f"records/queues/{queue}"))
    [(box,)] = console.sql("SELECT defaultmailbox::text FROM org_contoso.queue WHERE queueid = %s", [queue])
    assert console.request("DELETE", f"mailboxes({box})").status_code == 204
    page = admin.get(f"records/queues/{queue}")
    assert "This queue has no mailbox" in text(page) and 'href="/contoso/connect"' in page.text.split("<main")[1]
    before = console.sql(COUNTS)[0]
    asked = admin.send("connect", **MAILBOX | {"emailaddress": address})
    assert asked.status_code == 409 and f"{address} already has a queue, without a mailbox: Connected before" in text(asked) and console.sql(COUNTS)[0] == before
    assert f'href="/contoso/records/queues/{queue}"' in asked.text
    assert "/records/mailboxes/" in admin.send("connect", **form(asked.text, "/connect").fields | {"second": address}).url
    assert console.sql(COUNTS)[0] == (before[0] + 1, before[1] + 1)


def test_an_application_that_is_missing_is_said_before_a_secret_is_asked_for(console):
    admin = Visitor(console)
    page = admin.get("connect?provider=exchange-online")
    said = "No application is registered here for outlook.office365.com yet"
    assert said in text(page) and page.text.index(said) < page.text.index('name="password"')
    assert "No application is registered" not in text(admin.get("connect?provider=gmail"))


@pytest.mark.parametrize("belongs", ["queue", "none"])
def test_a_new_mailbox_asks_about_an_address_that_is_taken(console, taken, belongs):
    admin = Visitor(console)
    fields = form(admin.get("records/mailboxes/new").text, "/mailboxes/new").fields | {"name": "Second", "emailaddress": taken, "belongs": belongs}
    before = console.sql(COUNTS)
    asked = admin.send("records/mailboxes/new", **fields)
    assert f"{taken} is already the address of" in text(asked) and "fetch the same messages" in text(asked) and console.sql(COUNTS) == before
    # Sending the form without the confirmation makes the page ask again.
    assert "is already the address of" in text(admin.send("records/mailboxes/new", **form(asked.text, "/mailboxes/new").fields))
    assert console.sql(COUNTS) == before
    made = admin.send("records/mailboxes/new", **form(asked.text, "/mailboxes/new").fields, confirmed=f"address: {taken}")
    assert "Saved." in text(made) and console.sql(COUNTS) != before
    # An existing mailbox can be saved with its own address. If its address is changed to one that another mailbox has, the page asks.
    path = made.url.split("/contoso/")[1].split("?")[0]
    own = form(admin.get(path).text, path).fields
    assert "Saved." in text(admin.send(path, **own | {"username": "another"}))
    own = form(admin.get(path).text, path).fields
    free = admin.send(path, **own | {"emailaddress": f"free-{belongs}@contoso.example"})
    assert "Saved." in text(free), text(free)
    own = form(admin.get(path).text, path).fields
    assert "is already the address of" in text(admin.send(path, **own | {"emailaddress": taken}))


@pytest.mark.parametrize("path, typed", [
    ("records/mailboxes/new", {"belongs": "queue", "password": "typed"}), ("records/mailboxes/new", {"belongs": "none"}), ("records/queues/new", {}), ("connect?provider=other", MAILBOX)])
@pytest.mark.parametrize("at_once", [False, True])
def test_a_form_that_is_sent_twice_leads_to_what_it_made(console, path, typed, at_once):
    """A double click or a reload sends the form twice. The second request leads to the mailbox or queue that the first one made."""
    admin = Visitor(console)
    address = f"twice-{uuid.uuid4().hex[:8]}@contoso.example"
    action = path.split("?")[0]
    fields = form(admin.get(path).text, f"/{action}").fields | typed | {"name": "Twice", "emailaddress": address}
    csrf, before = re.search(r'name="csrf" value="(\w+)"', admin.get("account").text)[1], console.sql(COUNTS)[0]

    def send(_):
        return admin.session.post(f"{admin.pages}/{action}", fields | {"csrf": csrf})

    with concurrent.futures.ThreadPoolExecutor(2) as together:
        answers = list((together.map if at_once else map)(send, range(2)))
    assert [answer.status_code for answer in answers] == [200, 200] and len({answer.url.split("?")[0] for answer in answers}) == 1, [text(answer) for answer in answers]
    assert "Connect a second mailbox" not in answers[1].text and "is already the address of" not in answers[1].text and "/new" not in answers[1].url
    queues, mailboxes = console.sql(COUNTS)[0]
    assert (queues - before[0], mailboxes - before[1]) == ((0, 1) if typed.get("belongs") == "none" else (1, 1))


SEEN = """
const box = arguments[0].getBoundingClientRect(), middle = [box.left + box.width / 2, Math.min(box.top + 10, box.bottom)];
const top = document.elementFromPoint(...middle);
return box.top >= 0 && box.top < innerHeight && (arguments[0] === top || arguments[0].contains(top));
"""


@pytest.mark.parametrize("script", [True, False])
def test_the_answer_to_a_refused_form_is_in_view_on_a_phone(console, taken, script):
    driver = chromium(script=script)
    try:
        sign_in(driver, console)
        resize(driver, 360, 640)

        def sent(typed, selector):
            driver.get(f"{console.pages}/connect?provider=other")
            for name, value in (MAILBOX | {"provider": "", "username": "x"} | typed).items():
                for element in driver.find_elements(By.ID, name):
                    element.clear()
                    element.send_keys(value)
            press(driver, By.CSS_SELECTOR, ".save button.primary")
            return driver.find_element(By.CSS_SELECTOR, selector)

        # The page itself must focus the element and scroll to it: without JavaScript, the driver can't scroll.
        question = sent({"emailaddress": taken}, "section.warning")
        assert driver.switch_to.active_element == question
        assert "Connect a second mailbox of taken@contoso.example" in question.text and question.location["y"] < 600
        field = sent({"incomingport": "abc"}, "#incomingport")
        assert driver.switch_to.active_element == field
        if script:
            assert driver.execute_script(SEEN, field)
    finally:
        driver.quit()


def test_refused_forms_fit_a_phone_in_each_language(console, taken):
    found = []
    for language in ("en", "de", "fr"):
        driver = chromium(language=language)
        try:
            sign_in(driver, console)
            queue = console.create("queues", {"name": "Fits", "emailaddress": "fits@contoso.example", "emailpassword": "x"})
            forms = {
                "connect": ("connect?provider=other", MAILBOX | {"incomingport": "abc"}, ".save button.primary"),
                "second": ("connect?provider=other", MAILBOX | {"emailaddress": taken}, ".save button.primary"),
                "queue": (f"records/queues/{queue}", {"emailaddress": "nothing", "emailpassword": "typed"}, ".save button.primary"),
                "question": (f"records/queues/{queue}", {"emailaddress": taken, "emailpassword": "typed"}, ".save button.primary"),
                "mailbox": ("records/mailboxes/new", {"name": "x", "emailaddress": "nothing", "password": "typed"}, ".save button.primary"),
            }
            for name, (path, typed, button) in forms.items():
                resize(driver, 1280)
                driver.get(f"{console.pages}/{path}")
                for field, value in typed.items():
                    for element in driver.find_elements(By.ID, field):
                        element.clear()
                        element.send_keys(value)
                press(driver, By.CSS_SELECTOR, button)
                assert driver.find_elements(By.CSS_SELECTOR, "[autofocus]"), (name, main(driver))
                for width in (320, 360, 768, 1280):
                    resize(driver, width)
                    found += [(language, name, width, problem) for problem in measured(driver)]
        finally:
            driver.quit()
    assert found == [], "\n".join(map(str, found[:20]))


def test_another_provider_keeps_what_was_typed_about_the_mailbox(console):
    for script in (True, False):
        address = f"kept-{'with' if script else 'without'}-script@contoso.example"
        driver = chromium(script=script)
        try:
            sign_in(driver, console, "connect?provider=other")
            for name, value in {"name": "Kept desk", "emailaddress": address, "password": "typed before", "incomingserver": "imap.typed.example"}.items():
                driver.find_element(By.NAME, name).send_keys(value)
            press(driver, By.XPATH, "//button[text()='Gmail (Google Workspace)']")
            shown = {name: driver.find_element(By.NAME, name).get_attribute("value") for name in ("name", "emailaddress", "incomingserver", "password", "provider")}
            assert shown == {"name": "Kept desk", "emailaddress": address, "incomingserver": "imap.gmail.com", "password": "", "provider": "gmail"}
            assert "The password is kept until you connect" in main(driver) and "typed before" not in driver.page_source
            assert driver.find_element(By.CSS_SELECTOR, ".tabs [aria-current]").text == "Gmail (Google Workspace)"
            # Exchange Online needs an OAuth token, so the typed password is not passed on.
            press(driver, By.XPATH, "//button[text()='Exchange Online (Microsoft 365)']")
            assert driver.find_element(By.NAME, "emailaddress").get_attribute("value") == address
            assert "The password is kept" not in main(driver)
            # The Enter key presses Connect, and not the button of a provider.
            press(driver, By.XPATH, "//button[text()='Gmail (Google Workspace)']")
            before = console.sql(COUNTS)
            driver.find_element(By.NAME, "password").send_keys("typed\n")
            until(lambda: "/records/mailboxes/" in driver.current_url, seconds=30, what=lambda: main(driver))
            assert console.sql(COUNTS) == [(before[0][0] + 1, before[0][1] + 1)]
        finally:
            driver.quit()


def test_the_usual_port_follows_the_type_of_the_server(console):
    driver = chromium()
    try:
        sign_in(driver, console, "connect?provider=other")
        for path, type, choices in (("connect?provider=other", "protocol", ("imap", "pop3")), ("records/emailserverprofiles/new", "servertype", ("4", "1"))):
            driver.get(f"{console.pages}/{path}")
            port = driver.find_element(By.CSS_SELECTOR, "[name^=incomingport]")
            assert port.get_attribute("placeholder") == "993"
            for choice, number in zip(reversed(choices), ("995", "993")):
                driver.find_element(By.CSS_SELECTOR, f"select[name={type}] option[value='{choice}']").click()
                assert port.get_attribute("placeholder") == number
    finally:
        driver.quit()
    # Without JavaScript, the service shows the port of the chosen protocol.
    again = Visitor(console).send("connect", **MAILBOX | {"protocol": "pop3", "incomingport": "", "emailaddress": "nothing"})
    assert 'name="incomingport" value="" inputmode="numeric" placeholder="995"' in again.text
