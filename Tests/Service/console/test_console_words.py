"""The wording of the console: the filter of a list, results of actions, forms, and the note that a copy of the key exists."""

import html
import re

from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import Select
import test_console_pages
from console_browser import confirm, main, measured, press, resize, says, wait
from test_console_tasks import Person, text

console = test_console_pages.console


# Lists


def test_a_list_names_the_record_that_it_belongs_to(console, browser):
    admin, box = Person(console), console.ids["failing"]
    name = console.get(f"mailboxes({box})?$select=name").json()["name"]
    for path, kind, shown in (
            (f"records/emails?of={box}&status=4", "Mailbox", name), (f"records/tracelogs?of={box}", "Mailbox", name),
            (f"records/mailboxes?of={console.ids['profile']}&q=a", "Server profile", "IONOS"), (f"events?record={box}&outcome=succeeded", "Mailbox", name)):
        page = admin.get(path).text
        chip = re.search(r'<a class="chip" href="([^"]*)">(.*?)</a>', page)
        assert chip and f"{kind}: {shown}" in text(chip[2]) and "Remove this filter" in chip[2], (path, page)
        [kept] = re.findall(r"(?:status|q|outcome)=\w+", path) or [""]
        assert box not in chip[1] and console.ids["profile"] not in chip[1] and kept in html.unescape(chip[1])
        # The link in the filter's label removes only that filter.
        assert 'class="chip"' not in admin.get(html.unescape(chip[1]).removeprefix("/contoso/")).text
    for path in ("records/emails", "records/emails?of=00000000-0000-0000-0000-000000000001", "events?record=password", "events"):
        assert 'class="chip"' not in admin.get(path).text
    # Sending the other filters keeps the filter of the record.
    browser.get(f"{console.pages}/events?record={box}")
    Select(browser.find_element(By.NAME, "outcome")).select_by_value("succeeded")
    press(browser, By.CSS_SELECTOR, "form.filters button")
    assert f"Mailbox: {name}" in main(browser) and "outcome=succeeded" in browser.current_url


def top_of_list(driver):
    return driver.execute_script("return document.querySelector('.cards tbody tr').getBoundingClientRect().top + scrollY")


def test_on_a_phone_the_list_begins_on_the_first_screen(console, browser):
    resize(browser, 390, 844)
    for page in ("records/mailboxes", "records/emails"):
        browser.get(f"{console.pages}/{page}")
        closed = top_of_list(browser)
        for field in ("sort", "size", "status"):
            assert not any(element.is_displayed() for element in browser.find_elements(By.NAME, field)), field
        browser.find_element(By.CSS_SELECTOR, ".filters summary").click()
        sort = browser.find_element(By.NAME, "sort")
        assert closed < 560 + 150 * (page == "records/mailboxes"), (page, closed)
        assert sort.is_displayed() and browser.find_element(By.NAME, "size").is_displayed() and measured(browser) == []
        button = browser.find_element(By.CSS_SELECTOR, ".filters button")
        assert button.rect["y"] > sort.rect["y"], "the button is after the fields"
        Select(sort).select_by_index(1)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", button)
        press(browser, By.CSS_SELECTOR, ".filters button")
        assert "sort=-" in browser.current_url
    # A narrow window shows the field of the chosen filter. A wide window shows the fields of all filters.
    browser.get(f"{console.pages}/records/emails?status=4")
    assert browser.find_element(By.NAME, "status").is_displayed()
    resize(browser, 1280)
    assert all(browser.find_element(By.NAME, field).is_displayed() for field in ("sort", "size", "status"))


def test_the_button_that_opens_the_menu_closes_it(console, browser):
    resize(browser, 390, 844)
    browser.get(f"{console.pages}/overview")
    menu = browser.find_element(By.ID, "nav")
    for _ in range(2):
        assert not menu.is_displayed()
        browser.find_element(By.CSS_SELECTOR, ".bar .menu.open").click()
        assert menu.is_displayed() and measured(browser) == []
        assert [link.text for link in browser.find_elements(By.LINK_TEXT, "Close menu") if link.is_displayed()] == ["Close menu"]
        browser.find_element(By.LINK_TEXT, "Close menu").click()
    assert not menu.is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".bar .menu.open").click()
    resize(browser, 1280)
    assert not any(element.is_displayed() for element in browser.find_elements(By.CSS_SELECTOR, ".menu, .close")) and menu.is_displayed()


# Notices about actions


def test_a_notice_is_for_one_view_of_a_page(console, browser):
    chosen = {f"id.{console.ids['mailbox']}": "Ada King"}
    answer = Person(console).send("records/mailboxes/bulk", do="approve", returns="/contoso/records/mailboxes?status=failing", **chosen)
    browser.get(answer.url)
    says(browser, "1 was approved already.")
    wait(browser, lambda d: d.current_url.endswith("/records/mailboxes?status=failing"))
    browser.refresh()
    assert "approved already" not in main(browser)


def test_a_notice_is_shown_while_it_is_true(console, browser):
    admin, box = Person(console), console.ids["failing"]
    assert "The test was started." not in admin.get(f"records/mailboxes/{box}?done=testing").text
    console.sql("UPDATE org_contoso.mailbox SET testemailconfigurationscheduled = true WHERE mailboxid = %s", [box])
    browser.get(f"{console.pages}/records/mailboxes/{box}?done=testing")
    says(browser, "The test was started.")
    console.sql("UPDATE org_contoso.mailbox SET testemailconfigurationscheduled = false WHERE mailboxid = %s", [box])
    wait(browser, lambda d: "The test was started." not in main(d) and not d.find_elements(By.CSS_SELECTOR, "[data-live]"))
    email = console.ids["email"]
    [(before,)] = console.sql("SELECT statuscode FROM org_contoso.email WHERE activityid = %s", [email])
    for status, said in ((6, "The e-mail is on its way."), (7, "The e-mail is on its way."), (3, "The e-mail was sent."), (8, None)):
        console.sql("UPDATE org_contoso.email SET statuscode = %s WHERE activityid = %s", [status, email])
        notice = re.search(r'<p class="notice"[^>]*>([^<]*)', admin.get(f"records/emails/{email}?done=sent").text)
        assert (notice and notice[1]) == said
    # The page updates its notice without a reload.
    console.sql("UPDATE org_contoso.email SET statuscode = 6 WHERE activityid = %s", [email])
    browser.get(f"{console.pages}/records/emails/{email}?done=sent")
    says(browser, "The e-mail is on its way.")
    console.sql("UPDATE org_contoso.email SET statuscode = 3 WHERE activityid = %s", [email])
    says(browser, "The e-mail was sent.")
    wait(browser, lambda d: not d.find_elements(By.CSS_SELECTOR, "[data-live]"))
    console.sql("UPDATE org_contoso.email SET statuscode = %s WHERE activityid = %s", [before, email])


# E-mails


def test_only_html_that_may_load_something_says_that_it_is_blocked(console):
    for body, kind, is_said in (("Hello, plain.", "text/plain", False), ("<p>Hello</p>", "text/html", False), ('<p><img src="https://x.test/p.png"></p>', "text/html", True)):
        email = console.create("emails", {"subject": "blocked or not", "description": body, "mimetype": kind})
        assert ("Pictures and styles from other servers are blocked." in Person(console).get(f"records/emails/{email}").text) is is_said, body



def test_a_name_that_is_the_address_is_shown_once(console):
    admin, email = Person(console), console.ids["email"]
    for name, said in (("Mia@Example.org", "mia@example.org"), ("Mia Kunde", "Mia Kunde <mia@example.org>"), ("", "mia@example.org")):
        console.sql("DELETE FROM org_contoso.activityparty WHERE activityid = %s", [email])
        console.sql("""
            INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyidname)
            VALUES (gen_random_uuid(), %s, 1, 'mia@example.org', %s)""", [email, name])
        parties = re.findall(r"<dt>From</dt><dd>([^<]*)</dd>", admin.get(f"records/emails/{email}").text)
        assert [html.unescape(party) for party in parties] == [said]


def test_a_reply_shows_what_it_answers_and_quotes_it(console, browser):
    path = f"{console.pages}/records/emails/{console.ids['email']}"
    browser.get(f"{path}/reply")
    assert "The e-mail that you answer" in main(browser) and browser.find_element(By.NAME, "quote").is_selected()
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.mail"))
    wait(browser, lambda d: "when my order arrives" in d.find_element(By.TAG_NAME, "body").text)
    browser.switch_to.default_content()
    # After a refusal, the form keeps the choice whether to quote the e-mail.
    browser.find_element(By.NAME, "quote").click()
    to = browser.find_element(By.NAME, "to")
    to.clear()
    to.send_keys(",")
    press(browser, By.XPATH, "//button[text()='Send']")
    says(browser, "Enter at least one recipient.")
    assert not browser.find_element(By.NAME, "quote").is_selected()


def test_the_frame_of_an_e_mail_fits_its_length(console, browser):
    email = console.ids["email"]
    [(before,)] = console.sql("SELECT description FROM org_contoso.email WHERE activityid = %s", [email])
    heights = {}
    for name, body in (("short", "<p>Hello</p>"), ("long", "<p>Hello</p>" * 40), ("picture", "<p><img src='x'></p>")):
        console.sql("UPDATE org_contoso.email SET description = %s WHERE activityid = %s", [body, email])
        browser.get(f"{console.pages}/records/emails/{email}")
        heights[name] = browser.find_element(By.CSS_SELECTOR, "iframe.mail").rect["height"]
    console.sql("UPDATE org_contoso.email SET description = %s WHERE activityid = %s", [before, email])
    assert heights["short"] < 220 < 400 < heights["long"] == heights["picture"]


# Forms


def test_a_second_mailbox_of_an_address_is_connected_after_a_question(console):
    admin, box = Person(console), console.ids["mailbox"]
    values = console.get(f"mailboxes({box})?$select=name,emailaddress").json()
    form = {
        "name": "Another one", "emailaddress": values["emailaddress"].upper(), "password": "typed-once", "provider": "other",
        "incomingserver": "imap.contoso.example", "outgoingserver": "smtp.contoso.example"}
    counts = "SELECT (SELECT count(*) FROM org_contoso.queue), (SELECT count(*) FROM org_contoso.mailbox), (SELECT count(*) FROM org_contoso.emailserverprofile)"
    before = console.sql(counts)
    answer = admin.send("connect", **form)
    assert answer.status_code == 409 and "already has a mailbox" in answer.text and "queue of its own" in answer.text
    assert f'<a href="/contoso/records/mailboxes/{box}">{html.escape(values["name"])}</a>' in answer.text and "typed-once" not in answer.text
    assert console.sql(counts) == before
    # The confirmation is valid only for the address in the question.
    kept = re.search(r'name="password!kept" value="([^"]*)"', answer.text)[1]
    again = form | {"password": "", "password!kept": kept, "second": "another@contoso.example"}
    assert admin.send("connect", **again).status_code == 409
    answer = admin.send("connect", **again | {"second": form["emailaddress"]})
    assert answer.status_code == 200 and "/records/mailboxes/" in answer.url, text(answer.text)
    id = answer.url.split("/")[-1].split("?")[0]
    assert console.opened_cells()[f"mailbox({id}).password"][1] == "typed-once"
    console.sql("UPDATE org_contoso.mailbox SET testemailconfigurationscheduled = false WHERE mailboxid = %s", [id])


def test_a_refused_key_is_asked_for_again_without_a_word_of_leaving_it_empty(console):
    admin = Person(console)
    first = text(admin.get("settings/data-encryption/change").text)
    assert "Your own key (optional)" in first and "Leave it empty" in first and "10 to 100 characters" in first
    for do in ("review", "rehearse"):
        answer = admin.send("settings/data-encryption/change", key="short" if do == "review" else "A-key-to-try-1!", do=do)
        again = text(answer.text)
        assert "required" in re.search(r'<input id="newkey"[^>]*>', answer.text)[0]
        assert "optional" not in again and "Leave it empty" not in again and "10 to 100 characters" in again


def test_a_step_that_the_form_of_the_key_does_not_have_is_refused_by_name(console):
    admin = Person(console)
    versions = console.sql("SELECT key_version FROM org_contoso.encryption")
    answer = admin.send("settings/data-encryption/change", key="A-key-to-try-1!", do="zzz")
    assert answer.status_code == 400 and "The form names no step of a key change" in text(answer.text), text(answer.text)
    assert console.sql("SELECT key_version FROM org_contoso.encryption") == versions


# The copy of the key


def copied(console):
    return console.sql("SELECT copied_on IS NOT NULL FROM config.organization_key WHERE retired_on IS NULL ORDER BY key_version DESC LIMIT 1")[0][0]


def readings(console):
    return console.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'key read' AND outcome = 'succeeded'")[0][0]


def test_a_key_on_the_screen_is_a_copy_when_the_person_says_so(console, browser):
    assert console.set_key("A-key-without-a-copy-1!").status_code in (200, 204)
    assert not copied(console)
    before = readings(console)
    browser.get(f"{console.pages}/settings/data-encryption")
    says(browser, "none yet", "No backup copy is noted yet.")
    press(browser, By.CSS_SELECTOR, "button.show-key")
    confirm(browser, console)
    assert browser.find_element(By.XPATH, "//button[text()='I have kept it']").is_displayed() and not copied(console)
    browser.get(f"{console.pages}/settings/data-encryption")
    press(browser, By.CSS_SELECTOR, "button[name=sheet][value='1']")
    assert not copied(console) and readings(console) == before + 2
    # If the person presses only Done, the page says that no copy is noted. The button for the note is beside Print.
    press(browser, By.LINK_TEXT, "Done")
    says(browser, "No copy of the key is noted, because you have not pressed “I have kept it”.")
    press(browser, By.CSS_SELECTOR, "button[name=sheet][value='1']")
    before += 1
    press(browser, By.CSS_SELECTOR, ".actions button[form=kept]")
    says(browser, "A backup copy of the key is noted.")
    assert copied(console) and readings(console) == before + 2 and "No backup copy" not in main(browser)
    # The security event names the person who confirmed the copy.
    kept = "SELECT actor, outcome, key_version, fingerprint FROM org_contoso.security_event WHERE kind = 'key kept' ORDER BY security_event_id DESC LIMIT 1"
    in_force = console.sql("SELECT key_version, fingerprint FROM org_contoso.encryption")[0]
    assert console.sql(kept) == [("user:admin", "succeeded", *in_force)]
    press(browser, By.CSS_SELECTOR, "button[name=sheet][value='1']")
    assert not browser.find_elements(By.XPATH, "//button[text()='I have kept it']")
    press(browser, By.LINK_TEXT, "Done")
    assert "No copy" not in main(browser)


def test_only_who_has_read_the_key_can_say_that_it_is_kept(console):
    assert console.set_key("Another-key-without-a-copy-2!").status_code in (200, 204)
    admin, other = Person(console), Person(console)
    sheet = admin.send("settings/data-encryption/key", sheet="1").text
    proof = re.search(r'name="proof" value="([^"]*)"', sheet)[1]
    for person, sent in ((admin, ""), (admin, proof[:-4] + "AAAA"), (other, proof)):
        answer = person.send("settings/data-encryption/kept", proof=sent)
        assert answer.status_code == 400 and "This page is too old" in answer.text
    assert not copied(console)
    assert console.set_key("A-third-key-without-a-copy-3!").status_code in (200, 204)
    assert admin.send("settings/data-encryption/kept", proof=proof).status_code == 400 and not copied(console)
    # Downloading the key as a file counts as a copy.
    assert admin.send("settings/data-encryption/key", sheet="file").status_code == 200 and copied(console)
