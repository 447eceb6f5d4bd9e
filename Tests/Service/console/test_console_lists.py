"""Lists of the console: results of changing many mailboxes, pages after the last one, exports, counts, and alignment."""

import csv
import datetime
import html
import io
import re
import uuid

import pytest
import test_console_pages
from selenium.webdriver.common.by import By
from console_browser import chromium, main, press, resize, says, sign_in
from test_console_access import Visitor, password, person
from test_console_ended import hidden
from test_console_pages import MESSAGES, shown_rows
from test_console_tasks import Person, text
from html_forms import answer_of

console = test_console_pages.console


def ticked(page):
    return sorted(re.findall(r'<input type="checkbox" name="id\.([-0-9a-f]+)"[^>]* checked', page))


def chosen(boxes, name="x"):
    return {f"id.{box}": f"{name} {number}" for number, box in enumerate(boxes)}


def stored(console, column, boxes):
    return [row[0] for row in console.sql(f"SELECT {column} FROM org_contoso.mailbox WHERE mailboxid = ANY (%s) ORDER BY name", [boxes])]


# Many mailboxes at once


def test_each_mailbox_that_was_not_changed_is_named_with_its_reason_and_stays_ticked(console):
    admin = Person(console)
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    bind = {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "emailrouteraccessapproval": 1}
    good = [console.create("mailboxes", {"name": f"told good {number}", **bind}) for number in range(2)]
    bare = console.create("mailboxes", {"name": "told <bare>", "emailrouteraccessapproval": 1})
    off = console.create("mailboxes", {"name": "told off", **bind})
    assert console.request("PATCH", f"mailboxes({off})", {"statecode": 1, "statuscode": 2}).status_code == 204
    gone = console.create("mailboxes", {"name": "told gone"})
    assert console.request("DELETE", f"mailboxes({gone})").status_code == 204
    form = {**chosen([*good, bare, off]), f"id.{gone}": "told gone"}
    answer = admin.send("records/mailboxes/bulk", do="test", returns="/contoso/records/mailboxes?q=told", **form)
    assert answer.status_code == 200 and answer.url.startswith(f"{admin.pages}/records/mailboxes?q=told&result="), answer.url
    for page in (answer.text, admin.session.get(answer.url).text):
        said = text(page)
        assert "2 tests were started." in said and "3 mailboxes were not changed" in said
        assert "Choose a server profile first. told <bare>" in said and "A disabled mailbox can't be tested. Enable it first. told off" in said
        assert "Deleted meanwhile. told gone" in said
        assert ticked(page) == sorted([bare, off])
    # No link or form of the page passes the notice on.
    assert "result=" not in "".join(re.findall(r'(?:href|value)="([^"]*)"', answer.text))
    # The notice is in the reader's language. Another person who opens its address does not see it.
    german = Person(console, "de").send("records/mailboxes/bulk", do="test", returns="/contoso/records/mailboxes?q=told", **form)
    assert "2 wurden schon getestet." in text(german.text) and "Ein deaktiviertes Postfach lässt sich nicht testen. Aktivieren Sie es zuerst. told off" in text(german.text)
    grace = test_console_pages.person(console, "grace", "a password of theirs")
    assert "told gone" not in text(grace.get(answer.url).text)


def test_what_was_so_already_is_not_counted_as_changed(console):
    admin = Person(console)
    boxes = [console.create("mailboxes", {"name": f"same {number}", "emailrouteraccessapproval": int(number == 0)}) for number in range(3)]

    def answered(**form):
        return admin.send("records/mailboxes/bulk", returns="/contoso/records/mailboxes?q=same", **form, **chosen(boxes)).text

    def said(**form):
        return text(answered(**form))

    before = console.sql("SELECT versionnumber FROM org_contoso.mailbox WHERE mailboxid = %s", [boxes[0]])
    # Approving asks first, and names only the addresses that are not approved yet.
    asked = answered(do="approve")
    assert "Approve 2 addresses?" in text(asked) and "same 1" in text(asked) and "<li>same 0" not in asked, text(asked)
    assert stored(console, "emailrouteraccessapproval", boxes) == [1, 0, 0]
    assert "2 addresses were approved. 1 was approved already." in said(do="approve", confirmed=answer_of(asked))
    assert console.sql("SELECT versionnumber FROM org_contoso.mailbox WHERE mailboxid = %s", [boxes[0]]) == before
    assert "3 were approved already." in said(do="approve")
    asked = said(do="disable")
    assert "Disable 3 mailboxes?" in asked and all(f"same {number}" in asked for number in range(3)), asked
    confirmed = answer_of(answered(do="disable"))
    assert "3 mailboxes were disabled." in said(do="disable", confirmed=confirmed) and "3 were disabled already." in said(do="disable", confirmed=confirmed)


def test_twenty_are_seen_and_the_rest_opens_below_them(console):
    admin = Person(console)
    boxes = [console.create("mailboxes", {"name": f"crowd {number:02d} {'x' * 120}", "emailrouteraccessapproval": 1}) for number in range(60)]
    form = {f"id.{box}": f"crowd {number:02d} {'x' * 120}" for number, box in enumerate(boxes)}
    answer = admin.send("records/mailboxes/bulk", do="test", returns="/contoso/records/mailboxes?q=crowd&page=1", **form)
    [lines] = re.findall(r'(?s)<section class="problem".*?</section>', answer.text)
    assert "60 mailboxes were not changed" in text(lines) and lines.count("<li>") == 60 and lines.count("Choose a server profile first.") == 1
    seen, rest = lines.split("<details><summary>and 40 more</summary>")
    assert seen.count("<li>") == 20 and all(f">crowd {number:02d} x" in lines for number in range(60)), rest
    # The question before a change also names the mailboxes, and folds up the rest.
    asked = admin.send("records/mailboxes/bulk", do="disable", returns="/contoso/records/mailboxes?q=crowd", **form).text
    seen, rest = asked.split("<details><summary>and 50 more</summary>")
    assert seen.count("<li>crowd") == 10 and rest.count("<li>crowd") == 50
    # Mailboxes that were not changed stay ticked, including those on another page of the list.
    assert ticked(answer.text) == sorted(boxes) and "Still selected, not on this page:" in text(answer.text)
    assert len(answer.url) < 8_000, len(answer.url)
    again = {f"id.{box}": "x" for box in ticked(answer.text)}
    assert "60 addresses" not in text(admin.send("records/mailboxes/bulk", do="approve", returns="/contoso/records/mailboxes?q=crowd", **again).text)


def test_equal_reasons_are_one_group_and_each_group_is_named(console):
    person(console, "dora", "Email Administrator")
    visitor = Visitor(console, "dora", password("dora"))
    profile = f"grouped {uuid.uuid4()}"
    console.create("emailserverprofiles", {"name": profile, "incomingserverlocation": "imap.grouped.test"})
    boxes = [console.create("mailboxes", {"name": f"grouped {number:02d}", "password": "x", "username": "u"}) for number in range(24)]
    gone = console.create("mailboxes", {"name": "grouped gone"})
    assert console.request("DELETE", f"mailboxes({gone})").status_code == 204
    form = {f"id.{box}": f"grouped {number:02d}" for number, box in enumerate(boxes)} | {f"id.{gone}": "grouped zz"}
    csrf = hidden(visitor.get("account"), "csrf")
    form |= {"csrf": csrf, "do": "profile", "profile": profile, "returns": "/contoso/records/mailboxes?q=grouped"}
    asked = visitor.session.post(f"{console.pages}/records/mailboxes/bulk", form)
    answer = visitor.session.post(f"{console.pages}/records/mailboxes/bulk", form | {"confirmed": answer_of(asked.text)})
    [lines] = re.findall(r'(?s)<section class="problem".*?</section>', answer.text)
    said = text(lines)
    assert "25 mailboxes were not changed" in said and said.count("stored password") == 1 and "and 4 more" in said, said
    assert all(f"grouped {number:02d}" in said for number in range(24))
    assert "Deleted meanwhile. grouped zz" in said and not [box for box in boxes if box in said], said
    assert ticked(answer.text) == sorted(boxes)


def test_a_test_approves_no_address_without_a_word(console, browser):
    admin = Person(console)
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    bind = {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}
    closed = [console.create("mailboxes", {"name": f"asked {number}", "emailaddress": f"asked{number}@contoso.example", **bind}) for number in range(2)]
    approved = console.create("mailboxes", {"name": "asked approved", "emailrouteraccessapproval": 1, **bind})
    boxes = [*closed, approved]

    def answered(**form):
        return admin.send("records/mailboxes/bulk", do="test", returns="/contoso/records/mailboxes?q=asked", **form, **chosen(boxes)).text

    def send(**form):
        return text(answered(**form))

    asked, former = send(), answer_of(answered(), "approves")
    assert "Approve 2 addresses, too?" in asked and "asked0@contoso.example" in asked and "asked1@contoso.example" in asked
    assert "Approve, test & enable" in asked and "Test & enable only the other one" in asked
    assert stored(console, "testemailconfigurationscheduled", boxes) == [False] * 3
    without = send(approves="0")
    assert "1 test was started." in without and "2 mailboxes were not changed" in without and "Only approved addresses can be tested." in without
    assert stored(console, "emailrouteraccessapproval", boxes) == [0, 0, 1]
    # On the page of a mailbox that is not approved, the button says that it also approves.
    browser.get(f"{console.pages}/records/mailboxes/{closed[0]}")
    assert not browser.find_elements(By.XPATH, "//button[text()='Test & enable']")
    press(browser, By.XPATH, "//button[text()='Approve, test & enable']")
    says(browser, "The test was started.")
    assert stored(console, "emailrouteraccessapproval", boxes) == [1, 0, 1]
    # If the form does not name the address to approve, the page asks.
    alone = admin.send(f"records/mailboxes/{closed[1]}/do", do="test")
    assert "Approve asked1@contoso.example, too?" in text(alone.text) and stored(console, "emailrouteraccessapproval", boxes)[1] == 0
    # If the confirmation is for another list of addresses, the page asks again.
    assert "Approve 1 address, too?" in send(approves=former) and stored(console, "emailrouteraccessapproval", boxes)[1] == 0
    assert "2 tests" not in send(approves=answer_of(answered(), "approves")) and stored(console, "emailrouteraccessapproval", boxes) == [1, 1, 1]
    browser.get(f"{console.pages}/records/mailboxes/{approved}")
    assert not browser.find_elements(By.XPATH, "//button[text()='Approve, test & enable']")


def test_enter_in_the_field_of_the_server_profile_assigns_it_and_approves_nothing(console, browser):
    box = console.create("mailboxes", {"name": "entered box"})
    browser.get(f"{console.pages}/records/mailboxes?q=entered+box")
    browser.find_element(By.CSS_SELECTOR, "tbody input[name^='id.']").click()
    browser.find_element(By.CSS_SELECTOR, ".bulk-box summary").click()
    browser.find_element(By.CSS_SELECTOR, ".bulk [name=profile]").send_keys("IONOS\n")
    says(browser, "Give 1 mailbox the server profile “IONOS”?")
    assert stored(console, "emailrouteraccessapproval", [box]) == [0]
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "1 mailbox was given the server profile.")


def test_the_number_of_ticked_rows_is_said(console, browser):
    browser.get(f"{console.pages}/records/mailboxes?size=25")
    badge = browser.find_element(By.CSS_SELECTOR, "[data-chosen]")
    assert not badge.is_displayed()
    for box in browser.find_elements(By.CSS_SELECTOR, "tbody input[name^='id.']")[:2]:
        box.click()
    assert badge.text == "2 selected"
    browser.find_element(By.CSS_SELECTOR, "thead [data-all]").click()
    assert badge.text == "25 selected"
    browser.find_element(By.CSS_SELECTOR, "thead [data-all]").click()
    assert not badge.is_displayed()
    browser.find_element(By.CSS_SELECTOR, ".bulk-box summary").click()
    press(browser, By.CSS_SELECTOR, "button[value=approve]")
    says(browser, "Select at least one mailbox first.")
    assert "/records/mailboxes?size=25" in browser.current_url
    # After a reload, the page still shows which mailbox was not changed.
    bare = console.create("mailboxes", {"name": "alone and bare", "emailrouteraccessapproval": 1})
    browser.get(f"{console.pages}/records/mailboxes?q=alone+and+bare")
    browser.find_element(By.CSS_SELECTOR, "tbody input[name^='id.']").click()
    browser.find_element(By.CSS_SELECTOR, ".bulk-box summary").click()
    press(browser, By.CSS_SELECTOR, "button[value=test]")
    says(browser, "1 mailbox was not changed", "Choose a server profile first.\nalone and bare")
    browser.refresh()
    says(browser, "1 mailbox was not changed")
    assert browser.find_element(By.NAME, f"id.{bare}").is_selected() and browser.find_element(By.CSS_SELECTOR, "[data-chosen]").text == "1 selected"


def test_all_rows_are_chosen_and_changed_on_a_phone(console):
    driver = chromium()
    try:
        resize(driver, 390, 760)
        sign_in(driver, console)
        for number in range(25):
            console.create("mailboxes", {"name": f"thumb {number:02d}"})
        driver.get(f"{console.pages}/records/mailboxes?q=thumb&size=25")
        every = driver.find_element(By.CSS_SELECTOR, ".bulk-bar [data-all]")
        assert every.is_displayed() and driver.find_element(By.CSS_SELECTOR, "thead").size["height"] <= 1
        every.click()
        assert driver.find_element(By.CSS_SELECTOR, "[data-chosen]").text == "25 selected"
        boxes = driver.execute_script("return [...document.querySelectorAll('td.pick label')].map((e) => { const r = e.getBoundingClientRect(); return [r.width, r.height]; })")
        assert len(boxes) == 25 and all(width >= 44 and height >= 44 for width, height in boxes), boxes
        # The boxes of the rows are in line with the box for all rows, at the right edge.
        rights = "return [...document.querySelectorAll('td.pick input, .bulk-bar [data-all]')].map((e) => Math.round(e.getBoundingClientRect().right))"
        right, edge = set(driver.execute_script(rights)), driver.execute_script("return document.querySelector('form.card').getBoundingClientRect().right")
        assert len(right) == 1 and edge - right.pop() <= 22
        # At the end of the list, the bar with the actions is still visible.
        driver.execute_script("window.scrollTo(0, document.body.scrollHeight)")
        head = driver.find_element(By.CSS_SELECTOR, ".bulk-box summary")
        top, bar = driver.execute_script("return [arguments[0].getBoundingClientRect().top, document.querySelector('header.bar').getBoundingClientRect().bottom]", head)
        assert bar <= top < 400, (bar, top)
        head.click()
        assert driver.find_element(By.CSS_SELECTOR, "button[value=disable]").is_displayed()
        press(driver, By.CSS_SELECTOR, "button[value=disable]")
        says(driver, "Disable 25 mailboxes?")
    finally:
        driver.quit()


# Pages, counts and exports


def test_a_page_past_the_end_is_the_last_one(console):
    for number in range(30):
        console.create("queues", {"name": f"ending {number:02d}"})
    admin = Person(console)
    for path, end, rows in (("q=ending&page=40", "q=ending&page=1", 5), ("q=ending&size=50&page=1", "q=ending&size=50", 30), ("q=no+such+queue&page=3", "q=no%20such%20queue", 0)):
        answer = admin.get(f"records/queues?{path}")
        assert answer.url.endswith(f"/records/queues?{end}"), answer.url
        assert len(re.findall(r'<td class="first"', answer.text)) == rows
    assert shown_rows(admin.get("records/queues?q=ending&page=9&done=deleted").text) == 30
    assert "Deleted." in admin.get("records/queues?q=ending&page=9&done=deleted").text
    queue = console.create("queues", {"name": "changed once"})
    answer = admin.get(f"audit?id={queue}&page=7")
    assert "page=" not in answer.url and 'class="line"' in answer.text


def test_the_mailboxes_of_all_states_add_up_to_their_number(console):
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    bind = {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}
    states = {
        "disabled": "statecode = 1, statuscode = 2", "testing": "testemailconfigurationscheduled = true", "failing": "outgoingemailstatus = 2",
        "unapproved": "emailrouteraccessapproval = 0", "working": "incomingemailstatus = 1", "untested": "incomingemailstatus = 0"}
    boxes = {state: console.create("mailboxes", {"name": f"state {state}", "emailrouteraccessapproval": 1, **bind}) for state in states}
    boxes["bare"] = console.create("mailboxes", {"name": "state bare"})
    for state, values in states.items():
        console.sql(f"UPDATE org_contoso.mailbox SET {values} WHERE mailboxid = %s", [boxes[state]])
    admin = Person(console)
    page = admin.get("overview").text
    [card] = re.findall(r'(?s)<section class="card" aria-labelledby="boxes">.*?</section>', page)
    [total] = re.findall(r'<span class="quiet">(\d+) mailboxes</span>', card)
    counts = {state: int(count) for state, count in re.findall(r'\?status=(\w+)">[^<]*</a> <b>(\d+)</b>', card)}
    assert set(counts) == set(states) and sum(counts.values()) == int(total), (counts, total)
    for state, count in counts.items():
        shown = admin.get(f"records/mailboxes?status={state}&size=100").text
        assert shown_rows(shown) == count and boxes[state] in shown, state
        assert MESSAGES["en"][f"mailboxState:{state}"] in shown
    # A mailbox without a server profile is not counted as waiting for approval.
    assert f"{counts['unapproved']} mailbox" in text(page) and "no approved address" in text(page)
    assert boxes["bare"] in admin.get("records/mailboxes?status=untested&size=100").text


def exported(admin, path):
    # The file begins with a byte order mark, because Excel recognizes UTF-8 by it.
    content = admin.get(path).content
    assert content.startswith(b"\xef\xbb\xbf"), path
    lines = csv.DictReader(io.StringIO(content.decode("utf-8-sig")))
    return lines.fieldnames, list(lines)


def test_an_export_has_what_the_list_shows_first(console):
    admin = Person(console)
    names, rows = exported(admin, "records/mailboxes/export.csv?q=Alan+Turing")
    assert names == ["Name", "E-mail address", "Status", "Server profile", "Last success", "Id", "Server profile (id)"]
    [row] = rows
    [(profile, name)] = console.sql("SELECT p.emailserverprofileid::text, p.name FROM org_contoso.mailbox JOIN org_contoso.emailserverprofile AS p ON p.emailserverprofileid = emailserverprofile WHERE mailboxid = %s", [row["Id"]])
    assert (row["Status"], row["Server profile"], row["Server profile (id)"]) == ("Failing", name, profile)
    names, rows = exported(admin, "records/queues/export.csv")
    assert names == ["Name", "E-mail address", "Owner", "Changed", "Id", "Owner (id)"] and all(row["Owner"] for row in rows)
    names, rows = exported(admin, "records/usersettingscollection/export.csv")
    assert names[0] == "User" and any(row["User"] for row in rows) and all(uuid.UUID(row["Id"]) for row in rows)
    names, rows = exported(admin, "records/emails/export.csv?status=4")
    assert {row["Status"] for row in rows} == {"Received"} and {row["Status (number)"] for row in rows} == {"4"}
    names, rows = exported(admin, "records/tracelogs/export.csv")
    assert names[:3] == ["What happened", "Level", "About"] and rows[0]["Level"] == "Error" and rows[0]["About"] == "Alan Turing"


@pytest.mark.parametrize("language", sorted(MESSAGES))
@pytest.mark.parametrize("set", ["mailboxes", "emailserverprofiles", "queues", "usersettingscollection", "emails", "tracelogs"])
def test_the_headings_of_an_export_are_those_of_the_list(console, language, set):
    visitor = Person(console, language)
    heads = re.search(r"(?s)<thead>.*?</thead>", visitor.get(f"records/{set}").text)[0]
    shown = [html.unescape(re.sub("<[^>]*>", "", cell)) for cell in re.findall(r'(?s)<th scope="col"[^>]*>(.*?)</th>', heads)]
    names, _ = exported(visitor, f"records/{set}/export.csv")
    assert names[:len(shown)] == shown and len(dict.fromkeys(names)) == len(names) > len(shown)
    assert not [name for name in names if re.fullmatch("[a-z]{6,}", name)], names


def test_a_next_attempt_that_has_passed_is_not_shown(console):
    box, admin = console.ids["failing"], Person(console)
    label = MESSAGES["en"]["attribute:postponemailboxprocessinguntil"]
    console.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = now() + interval '1 hour' WHERE mailboxid = %s", [box])
    assert f"<dt>{label}</dt>" in admin.get(f"records/mailboxes/{box}").text
    console.sql("UPDATE org_contoso.mailbox SET postponemailboxprocessinguntil = now() - interval '1 hour' WHERE mailboxid = %s", [box])
    assert f"<dt>{label}</dt>" not in admin.get(f"records/mailboxes/{box}").text


# Events and changes


def record_events(console, *events):
    """Inserts security events with old times, the newest first."""
    for number, (kind, outcome, actor, details) in enumerate(events):
        console.sql("""
            INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, address, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
            SELECT min(security_event_id) - 1, now() - interval '800 days' - %s * interval '1 second', %s, %s, %s, '::ffff:10.0.0.' || %s, %s, sha256('a'), sha256('b')
              FROM org_contoso.security_event""", [number, kind, outcome, actor, str(number), details])


def test_equal_events_are_one_line_and_refusals_have_their_reason(console):
    box = console.ids["mailbox"]
    record_events(
        console, *[("signed in", "succeeded", "client:dev-router", None)] * 5, ("signed in", "refused", "client:dev-router", None),
        ("key message refused", "refused", "client:crm", "see: privilegeDenied"),
        ("credential released", "refused", "client:dev-router", f"Incoming, mailbox {box}: 0x8005E228"),
        ("credential released", "refused", "client:dev-router", f"Incoming, mailbox {box}: settings not authorized"),
        ("credential released", "refused", "client:dev-router", f"Outgoing, mailbox {box}: The profile names no server of its outgoing mail."),
        ("mail server changed", "refused", "client:crm", f"mailbox {box}: 1 credentials"))
    until = datetime.date.today() - datetime.timedelta(days=700)
    page = Person(console).get(f"events?until={until}").text
    lines = [text(line) for line in re.findall(r'(?s)<li><details>.*?</details></li>', page)]
    assert len(lines) == 7, lines
    # A line for several events lists each of them, with its time and address.
    assert "Sign-in 5 times" in lines[0] and all(f"10.0.0.{number}, " in lines[0] for number in range(5))
    assert "refused" in lines[1] and "times" not in lines[1]
    assert "looking at the state: the role does not allow it" in lines[2]
    assert "Ada King" in lines[3] and "or the address is not approved" in lines[3]
    assert "mail servers were changed directly in the database" in lines[4]
    assert "The server profile names no server for outgoing mail." in lines[5]
    assert "1 stored password would be sent to another server" in lines[6]
    french = text(Person(console, "fr").get(f"events?until={until}").text)
    assert "consultation de l’état : le rôle ne le permet pas" in french and "5 fois" in french


def test_changes_are_in_the_reader_s_language(console):
    box = console.create("mailboxes", {"name": "in words", "password": "x"})
    console.sql("UPDATE org_contoso.mailbox SET lastsyncerrorcount = 3, lastsyncerrormachinename = 'a', lastsyncerroroccurredon = now() WHERE mailboxid = %s", [box])
    for language, words in (("de", ["Fehler bisher", "Router des letzten Fehlers", "Zeit des letzten Fehlers"]), ("fr", ["Erreurs à ce jour", "Mot de passe : défini"])):
        page = text(Person(console, language).get(f"audit?id={box}").text)
        assert all(word in page for word in words) and "Last Sync" not in page, page


def test_a_deleted_record_keeps_its_name_in_changes(console):
    box = console.create("mailboxes", {"name": "named to the end"})
    assert console.request("DELETE", f"mailboxes({box})").status_code == 204
    page = Person(console).get(f"audit?id={box}").text
    rows = re.findall(r'(?s)<summary class="line">.*?</summary>', page)
    assert len(rows) >= 2 and all("named to the end" in row and box not in row for row in rows), rows


def test_a_refused_release_has_one_reason_in_the_reader_s_language(console):
    """The page of the mailbox shows the reason once, in the reader's language."""
    reason = "The profile takes credentials by user or queue, and neither the mailbox nor its user or queue allows their use."
    box = console.create("mailboxes", {"name": "without a tick"})
    console.sql(
        "UPDATE org_contoso.mailbox SET lastsyncerror = %s, incomingemailstatus = 2, outgoingemailstatus = 2, enabledforincomingemail = false, "
        "enabledforoutgoingemail = false, postponemailboxprocessinguntil = now() + interval '1 minute' WHERE mailboxid = %s", [reason, box])
    for language, tick in (("en", "Tick “Use this mailbox's own user name and password”"), ("de", "Setzen Sie auf seiner Seite das Häkchen"), ("fr", "Sur sa page, cochez")):
        shown = Person(console, language).get(f"records/mailboxes/{box}").text
        [status] = re.findall(r'(?s)<section class="card" id="status".*?</section>', shown)
        assert text(status).count(tick) == 1 and "neither the mailbox" not in status, status
        assert f"<dt>{MESSAGES[language]['attribute:postponemailboxprocessinguntil']}</dt>" not in status, status


# Alignment and sizes


def tops(driver, selector):
    return {round(top, 1) for top in driver.execute_script("return [...document.querySelectorAll(arguments[0])].map((e) => e.getBoundingClientRect().top)", selector)}


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_heads_and_charts_stand_in_one_line(console, language):
    driver = chromium(language=language)
    try:
        sign_in(driver, console)
        resize(driver, 1440)
        driver.get(f"{console.pages}/records/mailboxes")
        assert len(driver.find_elements(By.CSS_SELECTOR, "thead th :is(a, span:not(.unseen))")) == 5
        assert len(tops(driver, "thead th :is(a, span:not(.unseen))")) == 1
        lefts = "return [...document.querySelectorAll('.pick input')].map((e) => e.getBoundingClientRect().left)"
        assert len({round(left, 1) for left in driver.execute_script(lefts)}) == 1
        # The label and its field in the bar of actions are on one line.
        driver.find_element(By.CSS_SELECTOR, ".bulk-box summary").click()
        assert driver.find_element(By.CSS_SELECTOR, ".bulk label.whole").size["height"] < 50
        driver.get(f"{console.pages}/overview")
        assert len(driver.find_elements(By.CSS_SELECTOR, ".charts > .card")) == 4
        assert len(tops(driver, ".charts > .card .chart")) == 1 and len(tops(driver, ".charts > .card .big")) == 1
        bottoms = "return [...document.querySelectorAll('.charts .chart')].map((e) => e.getBoundingClientRect().bottom)"
        assert len({round(bottom, 1) for bottom in driver.execute_script(bottoms)}) == 1
        # The overview names the period of its figures only once.
        assert main(driver).count(MESSAGES[language]["lastDay"]) == 1
    finally:
        driver.quit()


def test_retention_says_what_stays_and_what_happened_last(console):
    for language in MESSAGES:
        page = Person(console, language).get("retention").text
        assert all(text(cell).strip() for cell in re.findall(r"(?s)<td[^>]*>(.*?)</td>", page)), page
        assert MESSAGES[language]["lastArchived"] in page
    assert "stays in the database" in Person(console).get("retention").text


def test_a_mailbox_that_nobody_approved_waits_for_that_whatever_happened_before(console):
    """Without approval, the router does not work on the mailbox. So earlier reports of mail servers do not decide its state."""
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    id = console.create("mailboxes", {"name": "refused before", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    console.sql("UPDATE org_contoso.mailbox SET incomingemailstatus = 2, outgoingemailstatus = 2, emailrouteraccessapproval = 0 WHERE mailboxid = %s", [id])
    admin = Person(console)
    assert id in admin.get("records/mailboxes?status=unapproved&size=100").text and id not in admin.get("records/mailboxes?status=failing&size=100").text
    assert MESSAGES["en"]["mailboxSentence:unapproved"] in text(admin.get(f"records/mailboxes/{id}").text)
    console.sql("UPDATE org_contoso.mailbox SET emailrouteraccessapproval = 1 WHERE mailboxid = %s", [id])
    assert id in admin.get("records/mailboxes?status=failing&size=100").text


def test_states_have_numbers_of_all_mailboxes_only(console):
    admin = Person(console)
    numbers = r'<ul class="tabs">.*?</ul>'
    assert 'class="numbers"' in re.search(numbers, admin.get("records/mailboxes").text, re.S)[0]
    assert 'class="numbers"' in re.search(numbers, admin.get("records/mailboxes?status=failing").text, re.S)[0]
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    for narrowed in ("q=Alan", f"of={profile}", "f.ispasswordset=true"):
        page = admin.get(f"records/mailboxes?{narrowed}").text
        assert "Never tested" in page and 'class="numbers"' not in re.search(numbers, page, re.S)[0], narrowed


def test_a_reference_to_a_deleted_record_says_so_and_hinders_nothing(console):
    profile = console.create("emailserverprofiles", {"name": "profile to be gone"})
    box = console.create("mailboxes", {"name": "box left behind", "username": "first", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    console.sql("SET session_replication_role = replica; DELETE FROM org_contoso.emailserverprofile WHERE emailserverprofileid = '%s'" % profile)
    console.sql("UPDATE org_contoso.mailbox SET emailserverprofile = '%s' WHERE mailboxid = '%s'" % (profile, box))
    admin = Person(console)
    assert profile not in text(admin.get("records/mailboxes?q=left+behind").text) and "(deleted)" in admin.get("records/mailboxes?q=left+behind").text
    page = admin.get(f"records/mailboxes/{box}").text
    assert 'name="emailserverprofile" value="(deleted)"' in page
    form = re.search(r'(?s)<form method="post" action="[^"]*" class="fields" id="record">.*?</form>', page)[0]
    hidden = {k: html.unescape(v) for k, v in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)}
    saved = admin.session.post(f"{admin.pages}/records/mailboxes/{box}", {**hidden, "emailserverprofile": "(deleted)", "username": "second"})
    assert saved.status_code == 200 and "Saved." in saved.text, text(saved.text)
    assert console.get(f"mailboxes({box})").json()["username"] == "second"
    # After the person removed the reference, the deleted profile is not stored any more.
    page = saved.text
    hidden["version"] = re.search(r'name="version" value="(\d+)"', page)[1]
    assert admin.session.post(f"{admin.pages}/records/mailboxes/{box}", {**hidden, "emailserverprofile": ""}).status_code == 200
    assert console.sql("SELECT emailserverprofile FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(None,)]


def test_an_alert_is_gone_once_the_mailbox_works(console):
    box = console.ids["failing"]
    [before] = console.sql("SELECT incomingemailstatus, outgoingemailstatus, lastsuccessfulsynccompletedon, emailrouteraccessapproval FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    admin = Person(console)
    console.sql("INSERT INTO org_contoso.tracelog (tracelogid, regardingobjectid, regardingobjecttypecode, level, text, createdon, modifiedon) VALUES (gen_random_uuid(), %s, 'mailbox', 3, 'An alert of before.', now() + interval '1 second', now() + interval '1 second')", [box])
    assert "An alert of before." in admin.get(f"records/mailboxes/{box}").text
    works = "UPDATE org_contoso.mailbox SET incomingemailstatus = 1, outgoingemailstatus = 1, emailrouteraccessapproval = 1, lastsuccessfulsynccompletedon = now() + %s::interval WHERE mailboxid = %s"
    console.sql(works, ["2 seconds", box])
    page = admin.get(f"records/mailboxes/{box}").text
    assert MESSAGES["en"]["mailboxSentence:working"] in text(page) and "An alert of before." not in page
    # An alert that is newer than the success is shown.
    console.sql(works, ["-1 minute", box])
    assert "An alert of before." in admin.get(f"records/mailboxes/{box}").text
    console.sql("UPDATE org_contoso.mailbox SET incomingemailstatus = %s, outgoingemailstatus = %s, lastsuccessfulsynccompletedon = %s, emailrouteraccessapproval = %s WHERE mailboxid = %s", [*before, box])


def test_a_mailbox_leads_to_its_server_profile_and_says_whose_password_it_uses(console):
    [(box, profile)] = console.sql("SELECT mailboxid::text, emailserverprofile::text FROM org_contoso.mailbox WHERE mailboxid = %s", [console.ids["failing"]])
    admin = Person(console)
    assert re.search(rf'<a href="/contoso/records/emailserverprofiles/{profile}">', re.search(r'(?s)<ol class="steps">.*?</ol>', admin.get(f"records/mailboxes/{box}").text)[0])
    id = console.create("mailboxes", {"name": "unused password", "password": "x", "allowemailconnectortousecredentials": False})
    assert "It is not used" in admin.get(f"records/mailboxes/{id}").text
    assert console.request("PATCH", f"mailboxes({id})", {"allowemailconnectortousecredentials": True}).status_code == 204
    assert "It is not used" not in admin.get(f"records/mailboxes/{id}").text
