"""Every page of the console as the browser draws it: at each width, in both color schemes, in every language, and with 100,000 records."""

import datetime
import html
import json
import os
import pathlib
import re
import signal
import sys
import time

import pytest
import core_errors
import requests
import qrcode
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from console_browser import chromium, confirm, main, measured, press, resize, says, sign_in, violations, wait
from many_records import PAGES, fill
from service import Deployment

ROOT = pathlib.Path(__file__).parents[3]
sys.path.insert(0, str(ROOT / "Tests"))
from screenshots import pages, populate  # noqa: E402
from waiting import until  # noqa: E402

MESSAGES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "Sources/CConsole/Messages").glob("*.json")}
LONG = "A name that is as long as names may be, and has no end in sight " * 2 + "x" * 60


@pytest.fixture(scope="module")
def console():
    with Deployment.made() as deployment:
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        # The sample mail servers do not exist, so the router's reports would change the pages. Stops the router.
        router = deployment.router_pid()
        os.kill(router, signal.SIGSTOP)
        deployment.ids = populate(deployment)
        deployment.ids["long"] = deployment.create("mailboxes", {"name": LONG, "password": "x", "emailaddress": "a-rather-long-address-of-a-person@a-rather-long-domain.contoso.example"})
        deployment.wanted = {**pages(deployment, deployment.ids), "mailbox-long": f"records/mailboxes/{deployment.ids['long']}"}
        yield deployment
        os.kill(router, signal.SIGCONT)


def visitor(console, language="en"):
    session = requests.Session()
    session.verify, session.trust_env = console.dev["caFile"], False
    session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": language, "Accept": "text/html"})
    person = console.dev["console"]
    answer = session.post(f"{console.pages}/sign-in", {"name": person["username"], "password": person["password"]})
    assert answer.status_code == 200, answer.text
    return session


def person(console, name, password):
    session = requests.Session()
    session.verify, session.trust_env = console.dev["caFile"], False
    session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en", "Accept": "text/html"})
    answer = session.post(f"{console.pages}/sign-in", {"name": name, "password": password})
    assert answer.status_code == 200, answer.text
    return session


def test_every_page_fits_at_every_width_and_in_both_schemes(console, browser):
    """No element is wider than the page, no word is divided, click targets are large enough, and axe reports no violation."""
    found = []
    for name, path in {"sign-in": "sign-in?invited=1", **console.wanted}.items():
        for scheme in ("light", "dark"):
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            resize(browser, 1280)
            browser.get(f"{console.pages}/{path}")
            found += [(name, scheme, problem) for problem in violations(browser)]
            for width in (320, 360, 640, 768, 1280, 1920) if scheme == "light" else ():
                resize(browser, width)
                found += [(name, width, problem) for problem in measured(browser)]
            if scheme == "light":
                resize(browser, 360)
                found += [(name, "phone", problem) for problem in violations(browser)]
    assert found == []


def test_opened_views_have_headings_in_order(console, browser):
    for path in ("records/mailboxes", "events"):
        browser.get(f"{console.pages}/{path}")
        browser.execute_script("for (const details of document.querySelectorAll('details')) details.open = true")
        assert violations(browser) == [], path


# Finds fields and buttons of a list's filters that are badly placed or sized, for example two days in different rows.
FILTERS = """
const form = document.querySelector("form.filters"), box = (e) => e.getBoundingClientRect(), row = (a, b) => Math.abs(box(a).bottom - box(b).bottom) < 2;
const fields = [...form.querySelectorAll(":is(input, select):not([type=hidden])")].filter((e) => e.getClientRects().length);
const button = form.querySelector("button"), days = fields.filter((e) => e.type === "date"), found = [];
const isWide = box(button).width > box(form).width - 2;
if (!fields.some((e) => row(e, button)) && !(innerWidth < 600 && isWide)) found.push("the button is alone");
if (isWide && innerWidth >= 600) found.push("the button is as wide as the form");
if (days.length && !row(...days)) found.push("the days are apart");
const clear = form.querySelector("a.button");
if (clear && innerWidth >= 600 && !row(clear, button)) found.push("the link is apart from the button");
for (const e of fields) if (box(e).width < 80 || box(e).width > 400 && e.type !== "search" && innerWidth >= 600 && !e.closest(".more")) found.push(["width", e.name, box(e).width]);
return found;
"""


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_filters_are_in_even_rows(console, language):
    found = []
    driver = chromium(language=language)
    try:
        sign_in(driver, console)
        for path in ("events", "events?outcome=succeeded", f"events?record={console.ids['mailbox']}", "audit", "audit?operation=1", "records/mailboxes", "records/emails",
                     "records/emails?status=4", "records/emails?f.directioncode=false", "records/queues?q=s", "access", "access?q=a"):
            driver.get(f"{console.pages}/{path}")
            for width in (360, 640, 768, 1024, 1280, 1440, 1920):
                resize(driver, width)
                found += [(path, width, problem) for problem in driver.execute_script(FILTERS)]
    finally:
        driver.quit()
    assert found == []


# The height of all elements that stay in place during scrolling, as a fraction of the window's height.
STAYING = """
return [...document.querySelectorAll("body *")].filter((e) => ["sticky", "fixed"].includes(getComputedStyle(e).position) && e.getClientRects().length)
    .reduce((sum, e) => sum + e.getBoundingClientRect().height, 0) / innerHeight;
"""


def test_a_short_window_is_left_to_the_page(console, browser):
    """At 200 percent, a window of 1440 by 900 has 720 by 450 CSS pixels. Fixed bars cover at most a fifth of its height."""
    for name in ("mailbox", "mailbox-new", "mailboxes", "person", "compose", "connect"):
        browser.get(f"{console.pages}/{console.wanted[name]}")
        resize(browser, 720, 450)
        assert browser.execute_script(STAYING) <= 0.2, name
        resize(browser, 1440, 900)
        # In a window of usual height, the buttons of a form stay visible.
        places = browser.execute_script("return [...document.querySelectorAll('.save')].map((e) => getComputedStyle(e).position)")
        assert set(places) <= {"sticky"} and bool(places) == (name not in ("mailboxes", "person", "compose")), (name, places)
    resize(browser, 1280)


#: Addresses that are not pages: downloads, responses to the script, documents in a frame, and the redirect to a provider.
NO_PAGES = {
    "events.jsonl", "events.csv", "audit.csv", "records/:set/export.csv", "settings/data-encryption/progress", "lookup/:entity", "records/:set/:id/body",
    "records/:set/:id/attachments/:attachment", "sign-in/with/:issuer", "sign-in/back"}


def composing_routes():
    """The paths of the pages on which an e-mail is written: one for each case of the enumeration Composing."""
    assert "router, composing.path" in (ROOT / "Sources/Console/Console+Routes.swift").read_text()
    source = (ROOT / "Sources/Console/Mail/Emails/EmailComposing.swift").read_text()
    [cases] = re.findall(r"enum Composing: String, CaseIterable \{\n(.*?)\n\n", source, re.S)
    for case in re.findall(r'case \w+ = "([\w-]+)"|\b(\w+)(?=[,\n])', cases):
        name = case[0] or case[1]
        yield "compose" if name == "new" else f"records/:set/:id/{name}"


def routes():
    """The path of every page of the console, read from the sources."""
    source = (ROOT / "Sources/Console/Console+Routes.swift").read_text()
    for path, rest in re.findall(r'\b(?:get\(\s*router|open\(router, \.get), (?:"([^"]*)"|path)(?:, |\) )(.*)', source.replace("Self.approvalsPath", '"settings/approvals"')):
        path = (path or "settings/data-encryption").replace("\\(path)", "settings/data-encryption")
        # A route that only redirects is not a page.
        if rest.startswith("{ .redirect("):
            continue
        for ending in ("disable", "remove") if "\\(ending)" in path else ("",):
            yield path.replace("\\(ending)", ending)
    yield from composing_routes()


def test_every_page_is_among_those_that_are_measured(console):
    """Each page must be in the list of `screenshots.py`, because the other tests draw only those."""
    measured = [path.split("?")[0] for path in ("sign-in", *console.wanted.values())]
    found = set(routes())
    assert len(found) > 35 and NO_PAGES < found and not any("\\(" in path for path in found), sorted(found)
    for path in found - NO_PAGES:
        # A path parameter stands for any text.
        pattern = re.compile(re.sub(r":\w+", "[^/]+", path))
        assert any(pattern.fullmatch(shown) for shown in measured), path
    # The list has at least one page of each collection.
    sets = {path.split("/")[1] for path in measured if path.startswith("records/")}
    assert sets == {"mailboxes", "emailserverprofiles", "queues", "usersettingscollection", "emails", "tracelogs"}


def answers_of_forms(console):
    """Pages that are the response to a form: the page with the form, the elements to click or fill in, and the button."""
    people, clients = console.wanted["person"], console.wanted["client"]
    return {
        "two-step sign-in": ("account", None, "form[action$=offer] button"), "an invitation": (people, None, "form[action$=invite-user] button"),
        "another role": (people, ("input[name=role][value='System Administrator']",), "form[action$=role-user] button"),
        "a secret": (clients, None, "form[action$=rotate-client] button"),
        "a secret at once": (clients, ("select[name=overlap] option[value='0']",), "form[action$=rotate-client] button"),
        "disabling many": ("records/mailboxes", ("input[name^='id.']", ".bulk-box summary"), "button[value=disable]"),
        "testing what is not approved": ("records/mailboxes?status=unapproved", ("input[name^='id.']", ".bulk-box summary"), "button[value=test]"),
        "what was not changed": ("records/mailboxes?q=a-rather-long", ("input[name^='id.']", ".bulk-box summary"), "button[value=test]"),
        "a wrong value": (console.wanted["queue"], ("#emailaddress",), "form.fields button.primary"),
        "a password that differs": (console.wanted["invitation"], ("input[name=password]", "input[name=again]"), "main button"),
        "a question about sign-in": ("access/rules", ("input[name='role.Email Administrator']",), "main button.primary"),
    }


def test_pages_that_answer_forms_fit_too(console, browser):
    found = []
    for name, (path, chosen, button) in answers_of_forms(console).items():
        for scheme in ("light", "dark"):
            browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme}]})
            resize(browser, 1280)
            browser.get(f"{console.pages}/{path}")
            if name == "a question about sign-in":
                # The page asks only if a requirement is removed, so this sets the requirement first.
                if not browser.find_element(By.CSS_SELECTOR, chosen[0]).is_selected():
                    browser.find_element(By.CSS_SELECTOR, chosen[0]).click()
                    press(browser, By.CSS_SELECTOR, button)
                    confirm(browser, console)
            for selector in chosen or ():
                element = browser.find_element(By.CSS_SELECTOR, selector)
                if element.tag_name == "input" and element.get_attribute("type") not in ("checkbox", "radio"):
                    element.clear()
                    element.send_keys(f"no value of {selector[-9:]} for this")
                else:
                    element.click()
            press(browser, By.CSS_SELECTOR, button)
            confirm(browser, console)
            found += [(name, scheme, problem) for problem in violations(browser)]
            for width in (320, 360, 768, 1280, 1920) if scheme == "light" else ():
                resize(browser, width)
                found += [(name, width, problem) for problem in measured(browser)]
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "were saved")
    assert found == []


@pytest.mark.parametrize("language", sorted(set(MESSAGES) - {"en"}))
def test_no_word_is_broken_in_another_language(console, language):
    """Words of other languages can be longer than English words. A line may divide them only where a hyphen is allowed."""
    driver, found = chromium(language=language), []
    try:
        sign_in(driver, console)
        for name, path in {"sign-in": "sign-in?invited=1", **console.wanted}.items():
            driver.get(f"{console.pages}/{path}")
            assert driver.find_element(By.TAG_NAME, "html").get_attribute("lang") == language
            for width in (320, 360, 768, 1280):
                resize(driver, width)
                found += [(name, width, problem) for problem in measured(driver)]
    finally:
        driver.quit()
    assert found == []


def test_the_sheet_and_the_key_fit_too(console, browser):
    for button in ("button[name=sheet][value='1']", "button.show-key"):
        browser.get(f"{console.pages}/settings/data-encryption")
        press(browser, By.CSS_SELECTOR, button)
        confirm(browser, console)
        assert violations(browser) == []
        for width in (320, 768, 1280):
            resize(browser, width)
            assert measured(browser) == [], (button, width)
        resize(browser, 1280)


def modules(text, mask):
    """The modules of the QR code that another encoder makes of this text."""
    code = qrcode.QRCode(error_correction=qrcode.constants.ERROR_CORRECT_M, border=0, mask_pattern=mask)
    code.add_data(qrcode.util.QRData(text.encode(), mode=qrcode.util.MODE_8BIT_BYTE))
    code.make()
    return code.get_matrix()


def test_the_sheet_carries_a_code_and_checks_that_find_a_typing_error(console, browser):
    """The QR code must equal the one of another encoder. The console must accept a generated key in each form in which a person may type it."""
    browser.get(f"{console.pages}/settings/data-encryption/change")
    press(browser, By.CSS_SELECTOR, "button[value=review]")
    press(browser, By.CSS_SELECTOR, "button[value=change]")
    says(browser, "The key was changed.")
    key = console.key()
    press(browser, By.CSS_SELECTOR, "button[name=sheet][value='1']")
    confirm(browser, console)
    rows = [row.text.split() for row in browser.find_elements(By.CSS_SELECTOR, ".groups tbody tr")]
    assert "".join("".join(row[1:5]) for row in rows) == key
    checks = [row[-1] for row in rows]
    drawn = set(re.findall(r"M(\d+) (\d+)h1", browser.find_element(By.CSS_SELECTOR, ".qr path").get_attribute("d")))
    assert any(drawn == {(str(x + 4), str(y + 4)) for y, row in enumerate(modules(key, mask)) for x, dark in enumerate(row) if dark} for mask in range(8))
    wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
    # A person may type the key with line numbers, with check characters, with both or in lower case. Two of the texts have a mistake.
    halves = [" ".join(row[1:5]) for row in rows]
    lines = [f"{number}  {half}  Check {check}" for number, (half, check) in enumerate(zip(halves, checks), 1)]
    typed = [(wrong, False), (lines[0] + "\n" + lines[1].replace(halves[1], wrong.split("-", 4)[4]), False), (key.replace("-", " ").lower(), True)]
    typed += [("\n".join(lines), True), ("\n".join(lines).lower(), True)]
    typed += [("\n".join(f"{half} {check}" for half, check in zip(halves, checks)), True), ("\n".join(f"{n}. {half}" for n, half in enumerate(halves, 1)), True)]
    for text, is_right in typed:
        console.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
        browser.get(f"{console.pages}/settings/data-encryption")
        browser.find_element(By.NAME, "key").send_keys(text)
        press(browser, By.CSS_SELECTOR, "form[action$=activate] button")
        confirm(browser, console)
        if is_right:
            says(browser, "encryption is active")
        else:
            said = main(browser)
            assert "does not open the organization's passwords" in said
            if "Check" in text:
                # With the check characters, the page says which line has the mistake.
                assert "Line 2 has a mistake" in said and "Line 1" not in said and "line 1: " not in said
            else:
                assert f"line 1: {checks[0]}" in said and f"line 2: {checks[1]}" not in said and "line 2: " in said
    assert console.key() == key


def test_forms_and_events_name_what_they_show(console, browser):
    browser.get(f"{console.pages}/{console.wanted['mailbox']}")
    assert browser.find_element(By.NAME, "emailserverprofile").get_attribute("value") == "IONOS"
    assert "Ada King" in main(browser) and console.ids["mailbox"] not in main(browser)
    browser.get(f"{console.pages}/events")
    Select(browser.find_element(By.NAME, "kind")).select_by_value("password replaced")
    press(browser, By.CSS_SELECTOR, "form.filters button")
    says(browser, "Password replaced", "Mailbox Ada King", "dev-admin (client)")
    # A triangle before the line shows that it can be unfolded.
    marker = "return getComputedStyle(document.querySelector('.lines summary > span'), '::before').content"
    assert browser.execute_script(marker) == '"▸"'
    browser.find_element(By.CSS_SELECTOR, ".lines summary").click()
    assert browser.execute_script(marker) == '"▾"'
    press(browser, By.LINK_TEXT, "Open Ada King")
    assert browser.current_url.endswith(console.ids["mailbox"])
    browser.get(f"{console.pages}/events?actor=cli:root&kind=user+disabled")
    says(browser, "Person disabled", "alan")
    # The list can be filtered by state, and shows the number of records.
    browser.get(f"{console.pages}/overview")
    press(browser, By.LINK_TEXT, "Failing")
    says(browser, "Alan Turing", "1–1 of 1")
    press(browser, By.LINK_TEXT, "Alan Turing")
    says(browser, "This mailbox does not work", "Set the password again")


def shown_rows(page):
    """The number of records that the list says it has."""
    found = re.search(r'<div class="pages"><span class="quiet">[^<]* of ([\d,]+)</span>', page)
    return int(found[1].replace(",", "")) if found else 0


def test_lists_are_filtered_by_column_and_have_views(console):
    session = visitor(console)

    def listed(path):
        answer = session.get(f"{console.pages}/records/{path}")
        assert answer.status_code == 200, (path, answer.text)
        return shown_rows(answer.text)

    def stored(table, condition):
        return console.sql(f"SELECT count(*) FROM org_contoso.{table} WHERE {condition}")[0][0]

    # Each view leads to its list, and the list marks the view that is open.
    for set in ("mailboxes", "emailserverprofiles", "queues", "usersettingscollection", "emails", "tracelogs"):
        page = session.get(f"{console.pages}/records/{set}").text
        links = re.findall(r'<a href="/contoso/(records/[^"]+)">', re.search(r'(?s)<details class="views">.*?</details>', page)[0])
        assert len(links) >= 2, set
        for link in links:
            view = session.get(f"{console.pages}/{html.unescape(link)}")
            assert view.status_code == 200 and f'<a href="/contoso/{link}" aria-current="true">' in view.text, link
    for path, table, condition in [
        ("mailboxes?f.emailserverprofile=IONO", "mailbox", "emailserverprofile IN (SELECT emailserverprofileid FROM org_contoso.emailserverprofile WHERE name = 'IONOS')"),
        ("mailboxes?f.emailserverprofile=-", "mailbox", "emailserverprofile IS NULL"),
        ("mailboxes?f.ispasswordset=false", "mailbox", "ispasswordset IS NOT TRUE"),
        ("mailboxes?f.lastsuccessfulsynccompletedon=within-1h&f.incomingemailstatus=1", "mailbox", "lastsuccessfulsynccompletedon > now() - interval '1 hour' AND incomingemailstatus = 1"),
        ("mailboxes?f.lastsuccessfulsynccompletedon=-", "mailbox", "lastsuccessfulsynccompletedon IS NULL"),
        ("emails?f.directioncode=false&f.sender=mia@", "email", "directioncode IS NOT TRUE AND sender LIKE '%mia@%'"),
        ("emails?f.createdon=older-24h", "email", "createdon < now() - interval '24 hours'"),
        ("emails?status=3&f.directioncode=true", "email", "statuscode = 3 AND directioncode"),
        ("queues?f.emailaddress=sales", "queue", "emailaddress LIKE '%sales%'"),
    ]:
        assert listed(path) == stored(table, condition), path
    assert listed("emails?f.createdon=within-24h") > 0 and listed("mailboxes?f.emailserverprofile=IONO") > 0
    # The search also covers columns that the list does not show.
    assert console.request("PATCH", f"mailboxes({console.ids['mailbox']})", {"username": "only-in-the-user-name"}).status_code == 204
    assert listed("mailboxes?q=in-the-user") == 1
    # The list refuses an unknown filter or value by its name.
    for wrong in ("f.nothing=1", "f.incomingemailstatus=77", "f.createdon=within-a-while", "f.password=x"):
        answer = session.get(f"{console.pages}/records/mailboxes?{wrong}")
        assert answer.status_code == 400 and html.escape(wrong) in answer.text, wrong
    # The export has the same rows as the list.
    exported = session.get(f"{console.pages}/records/mailboxes/export.csv?f.emailserverprofile=IONO").text.strip().split("\r\n")
    assert len(exported) == 1 + listed("mailboxes?f.emailserverprofile=IONO")


def test_lists_are_worked_by_the_keyboard(console, browser):
    def type(*keys):
        browser.switch_to.active_element.send_keys(*keys)

    browser.get(f"{console.pages}/overview")
    type("gm")
    wait(browser, lambda d: d.current_url.endswith("/records/mailboxes"))
    type("/")
    assert browser.switch_to.active_element.get_attribute("name") == "q"
    type("gq?n/")
    assert browser.switch_to.active_element.get_attribute("value") == "gq?n/" and browser.current_url.endswith("/records/mailboxes")
    browser.get(f"{console.pages}/records/mailboxes")
    rows = browser.find_elements(By.CSS_SELECTOR, "td.first a")
    for keys, row in (("j", 0), ("j", 1), ("j", 2), ("k", 1)):
        type(keys)
        assert browser.switch_to.active_element == rows[row]
    type("x")
    assert [box.is_selected() for box in browser.find_elements(By.CSS_SELECTOR, "input[name^='id.']")][:3] == [False, True, False]
    name = rows[1].text
    type(Keys.ENTER)
    wait(browser, lambda d: d.find_element(By.TAG_NAME, "h1").text == name)
    browser.get(f"{console.pages}/records/emails")
    type("l")
    wait(browser, lambda d: "page=1" in d.current_url)
    type("h")
    wait(browser, lambda d: "page=0" in d.current_url)
    type("?")
    says(browser, "Keyboard shortcuts", "Go to the search field", "Mailboxes")
    # A person who is hindered by shortcuts with single keys can turn them off (WCAG 2.2, 2.1.4).
    browser.find_element(By.CSS_SELECTOR, "[data-shortcuts] input").click()
    browser.get(f"{console.pages}/overview")
    type("gm?/")
    assert browser.current_url.endswith("/overview")
    browser.execute_script("localStorage.clear()")


def test_lists_are_whole_without_script(console):
    driver = chromium(script=False)
    try:
        sign_in(driver, console, "records/mailboxes")
        driver.find_element(By.CSS_SELECTOR, ".more summary").click()
        driver.find_element(By.NAME, "f.emailserverprofile").send_keys("IONOS")
        press(driver, By.CSS_SELECTOR, "form.filters button")
        assert shown_rows(driver.page_source) == shown_rows(visitor(console).get(f"{console.pages}/records/mailboxes?f.emailserverprofile=IONOS").text) > 0
        driver.find_element(By.CSS_SELECTOR, ".views summary").click()
        press(driver, By.LINK_TEXT, "Without a server profile")
        assert driver.find_element(By.CSS_SELECTOR, ".views [aria-current]").get_attribute("textContent") == "Without a server profile"
        driver.get(f"{console.pages}/shortcuts")
        says(driver, "Shortcuts need JavaScript")
    finally:
        driver.quit()


def test_the_overview_shows_each_role_what_it_may_know(console):
    def overview(name):
        return person(console, name, "a password of theirs").get(f"{console.pages}/overview").text

    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'katherine'")
    console.sql("""
        INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, createdon, ownerid, owneridtype)
        SELECT gen_random_uuid(), 'hers', false, 4, 1, now(), %s, 'systemuser' FROM generate_series(1, 3)""", [user])
    everything, grace, katherine = visitor(console).get(f"{console.pages}/overview").text, overview("grace"), overview("katherine")
    alerts, mail = "<header><h3>Alerts</h3>", "<header><h3>Mail</h3>"
    for hidden in ("<h3>Released passwords</h3>", "<h3>Refused sign-ins</h3>", 'id="sealed"', 'id="recent"', 'id="key"'):
        assert hidden in everything and hidden not in grace and hidden not in katherine, hidden
    assert alerts in everything and alerts in grace and alerts not in katherine and "Failing" in grace
    assert mail in everything and mail not in grace and mail in katherine
    # The figures count only the e-mails that the reader of the page may read.
    assert "Last 24 hours: Received 3, Sent 0" in katherine and "Received 3, Sent 0" not in everything


def test_a_mailbox_says_what_the_router_knows(console):
    box = console.ids["failing"]
    console.sql("INSERT INTO org_contoso.mail_router (router) VALUES ('of the test') ON CONFLICT (router) DO UPDATE SET seen_on = now()")
    console.sql("INSERT INTO org_contoso.mailbox_watch (mailboxid, router, revision) VALUES (%s, 'of the test', '')", [box])
    console.sql("""
        INSERT INTO org_contoso.mailbox_message (mailboxid, uid, attempts, next_attempt, reason, message_id)
        VALUES (%s, '1:7', 3, now() + interval '40 minutes', 'NO [SERVERBUG] Internal error', '<broken@elsewhere.test>'), (%s, '1:8', 0, NULL, NULL, NULL)""", [box, box])
    console.sql("""
        INSERT INTO org_contoso.email (activityid, directioncode, statuscode, statecode, createdon, sendermailboxid, postponeemailprocessinguntil)
        VALUES (gen_random_uuid(), true, 6, 0, now(), %s, now() + interval '20 minutes'), (gen_random_uuid(), true, 8, 0, now(), %s, NULL)""", [box, box])
    page = visitor(console).get(f"{console.pages}/records/mailboxes/{box}").text
    text = re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))
    for said in ("The router has been waiting at the mail server since", "1 e-mail waits to be sent.", "1 e-mail was not sent.", "1 message was set aside",
                 "<broken@elsewhere.test>", "3 attempts, next attempt in 39 minutes", "NO [SERVERBUG] Internal error", "Next attempt to send: in 19 minutes"):
        assert said in text, (said, text)
    assert "No router is running" not in text
    session = visitor(console)
    assert shown_rows(session.get(f"{console.pages}/records/emails?of={box}&status=6").text) == 1
    console.sql("DELETE FROM org_contoso.mailbox_watch WHERE mailboxid = %s", [box])
    console.sql("UPDATE org_contoso.mail_router SET seen_on = now() - interval '10 minutes'")
    assert "No router is running" in session.get(f"{console.pages}/records/mailboxes/{box}").text


def test_many_mailboxes_are_changed_at_once(console, browser):
    browser.get(f"{console.pages}/records/mailboxes?status=unapproved")
    browser.find_element(By.CSS_SELECTOR, "thead [data-all]").click()
    browser.find_element(By.CSS_SELECTOR, ".bulk-box summary").click()
    count = len(browser.find_elements(By.CSS_SELECTOR, "input[name^='id.']:checked"))
    press(browser, By.CSS_SELECTOR, "button[value=approve]")
    says(browser, f"Approve {count} addresses?")
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, f"{count} addresses were approved.")
    assert console.sql("SELECT count(*) FROM org_contoso.mailbox WHERE emailserverprofile IS NOT NULL AND emailrouteraccessapproval <> 1") == [(0,)]
    browser.get(f"{console.pages}/records/mailboxes?q=Ada+King")
    browser.find_element(By.CSS_SELECTOR, "input[name^='id.']").click()
    browser.find_element(By.CSS_SELECTOR, ".bulk-box summary").click()
    press(browser, By.CSS_SELECTOR, "button[value=disable]")
    says(browser, "Disable 1 mailbox?")
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "1 mailbox was disabled.", "Disabled")
    assert console.get(f"mailboxes({console.ids['mailbox']})").json()["statecode"] == 1
    assert console.request("PATCH", f"mailboxes({console.ids['mailbox']})", {"statecode": 0, "statuscode": 1}).status_code == 204


def test_an_e_mail_is_read_without_running_anything_of_it(console, browser):
    payload = "<p>Hello</p><script>parent.document.title='taken';document.title='taken'</script><img src='https://evil.test/x.png'><form action='/contoso/sign-out' method='post'><button>x</button></form>"
    console.sql("UPDATE org_contoso.email SET description = %s WHERE activityid = %s", [payload, console.ids["email"]])
    browser.get(f"{console.pages}/{console.wanted['email']}")
    frame = browser.find_element(By.CSS_SELECTOR, "iframe.mail")
    browser.switch_to.frame(frame)
    wait(browser, lambda d: "Hello" in d.find_element(By.TAG_NAME, "body").text)
    browser.switch_to.default_content()
    assert "taken" not in browser.title
    answer = visitor(console).get(f"{console.pages}/{console.wanted['email']}/body")
    policy = answer.headers["Content-Security-Policy"]
    assert "sandbox" in policy and "default-src 'none'" in policy and "script" not in policy and "form-action 'none'" in policy and "frame-ancestors 'self'" in policy


def test_the_job_is_done_on_a_phone(console, browser):
    """On a phone, an administrator finds out who changed a password, changes the key, prints the recovery sheet and disables a colleague."""
    resize(browser, 360, 640)
    for days, person in ((6, "of-last-week"), (20, "of-long-ago")):
        console.sql("""
            INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
            SELECT min(security_event_id) - 1, now() - %s * interval '1 day', 'password replaced', 'succeeded', 'user:' || %s, 'mailbox ' || %s, sha256('a'), sha256('b')
              FROM org_contoso.security_event""", [days, person, console.ids["failing"]])
    console.run("user", "add", "leaver", "--role", "Email Administrator", stdin="the password of one who left\n")

    def tap(how, what):
        element = browser.find_element(how, what)
        browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", element)
        press(browser, how, what)

    def go(page):
        browser.execute_script("window.scrollTo(0, 0)")
        browser.find_element(By.LINK_TEXT, "Menu").click()
        tap(By.LINK_TEXT, page)

    go("Security events")
    Select(browser.find_element(By.NAME, "kind")).select_by_value("password replaced")
    tap(By.CSS_SELECTOR, "form.filters button")
    says(browser, "Password replaced", "dev-admin (client)", "of-last-week", "of-long-ago")
    # Filters the changes: from seven days ago until two days ago.
    for name, days in (("from", 7), ("until", 2)):
        field = browser.find_element(By.NAME, name)
        day = (datetime.date.today() - datetime.timedelta(days=days)).isoformat()
        browser.execute_script("arguments[0].value = arguments[1]; arguments[0].dispatchEvent(new Event('change', {bubbles: true}))", field, day)
    tap(By.CSS_SELECTOR, "form.filters button")
    says(browser, "of-last-week", "Alan Turing")
    assert len(browser.find_elements(By.CSS_SELECTOR, ".lines > li")) == 1 and "of-long-ago" not in main(browser) and "dev-admin" not in main(browser).partition("Alan Turing")[2]
    go("Data Encryption")
    tap(By.PARTIAL_LINK_TEXT, "Change the key")
    tap(By.CSS_SELECTOR, "button[value=review]")
    tap(By.CSS_SELECTOR, "button[value=change]")
    says(browser, "The key was changed. Print the new recovery sheet now.")
    tap(By.CSS_SELECTOR, "button[name=sheet][value='1']")
    confirm(browser, console)
    says(browser, "This key opens the passwords of one organization.")
    assert browser.find_element(By.CSS_SELECTOR, "[data-prints]").is_displayed()
    go("Access")
    tap(By.LINK_TEXT, "leaver")
    tap(By.PARTIAL_LINK_TEXT, "Disable")
    says(browser, "Disable leaver?")
    tap(By.CSS_SELECTOR, "button.danger")
    says(browser, "leaver was disabled and signed out.")
    go("Access")
    tap(By.LINK_TEXT, "leaver")
    tap(By.PARTIAL_LINK_TEXT, "Remove")
    says(browser, "Remove leaver?")
    tap(By.CSS_SELECTOR, "button.danger")
    says(browser, "The person was removed.")


def test_addresses_that_are_no_pages_say_so_as_pages(console):
    session = visitor(console)
    for path in ("settings/data-encryption/key", "access/add-user", "account/offer", "records", "settings"):
        assert session.get(f"{console.pages}/{path}").status_code == 200, path
    for address in (f"{console.pages}/nothing-here", f"{console.base}/nosuchorg/", f"{console.pages}/records/nothing", f"{console.pages}/records/mailboxes/{console.ids['queue']}"):
        answer = session.get(address)
        assert answer.status_code == 404 and "<h1>Page not found</h1>" in answer.text, (address, answer.text[:300])
    assert "Which organization?" in session.get(f"{console.base}/").text
    assert session.get(f"{console.base}/?organization=Contoso", allow_redirects=False).headers["Location"] == "/contoso/sign-in"
    assert session.get(f"{console.base}/?organization=nobody").status_code == 404
    assert session.get(f"{console.base}/favicon.ico").headers["Content-Type"] == "image/svg+xml"


# Languages


def texts_of_templates():
    """Texts in templates that come from no message file."""
    for path in (ROOT / "Sources/CConsole/Templates").glob("*.mustache"):
        text = re.sub(r"(?s)\{\{.*?\}\}", " ", path.read_text())
        text = re.sub(r"(?s)<style>.*?</style>", "", text)
        for attribute in re.findall(r'(?:aria-label|placeholder|title|alt)="([^"]*)"', text):
            yield path.name, attribute
        yield path.name, re.sub(r"(?s)<[^>]*>", " ", text)


def test_no_text_is_outside_of_the_message_files():
    names = {"Fieldseal", "IMAP", "POP"}
    found = [(name, word) for name, text in texts_of_templates() for word in re.findall(r"[^\W\d_]{2,}", text) if word not in names]
    assert [entry for entry in found if not entry[1].isdigit()] == []


def values(text):
    """The names of the values that are inserted into a text. A name may have a form, such as {1:record}."""
    return sorted(re.findall(r"\{(\w+)(?::\w+)?\}", text))


def test_every_language_has_every_text():
    english = MESSAGES["en"]
    for language, messages in MESSAGES.items():
        assert set(messages) == set(english), language
        for key, text in messages.items():
            assert values(text) == values(english[key]) or key.startswith("format:"), (language, key)
            assert text.strip() and text == text.strip() or key in ("format:group", "format:colon"), (language, key)


def test_each_error_that_a_page_can_show_has_words_in_each_language(console):
    for name, message in core_errors.on_pages():
        for language, texts in MESSAGES.items():
            assert f"error:{message}" in texts, (name, language, message)
    session = visitor(console, "de")
    csrf = re.search(r'name="csrf" value="(\w+)"', session.get(f"{console.pages}/overview").text)[1]

    def said(path, **form):
        answer = session.post(f"{console.pages}/{path}", {"csrf": csrf, **form})
        assert answer.status_code >= 400, answer.text
        return html.unescape(answer.text)

    assert "Es gibt schon eine Person namens grace." in said("access/add-user", name="grace", role="Basic User", how="password", password="long enough for it")
    assert "Name nimmt höchstens 200 Zeichen an; dieser Wert hat 201." in said("records/queues/new", name="x" * 201)
    assert "Diese Liste kennt den Filter f.password=x nicht." in html.unescape(session.get(f"{console.pages}/records/queues?f.password=x").text)


def test_each_report_of_a_mailbox_has_words_in_each_language(console):
    found = set()
    for name, message in core_errors.reports():
        found.add(f"report:{message}")
        for language, texts in MESSAGES.items():
            assert f"report:{message}" in texts, (name, language, message)
    assert found
    box = console.create("mailboxes", {"name": "reported"})
    for report, german, french in (
            ("imap.x.test:993 refuses the user name or the password of the mailbox a@x.test. Set the password again. The mailbox is disabled until it is tested and enabled again.",
             "imap.x.test:993 weist den Benutzernamen oder das Passwort ab (Postfach a@x.test). Setzen Sie das Passwort neu. Das Postfach bleibt deaktiviert, bis es erneut getestet und aktiviert wird.",
             "imap.x.test:993 refuse le nom d’utilisateur ou le mot de passe (boîte a@x.test)."),
            ("An e-mail could not be sent yet, and will be tried again. smtp.x.test:587 can't be reached for sending, or does not answer. The router tries again.",
             "Eine E-Mail konnte noch nicht gesendet werden und wird wieder versucht. smtp.x.test:587 ist nicht erreichbar oder antwortet nicht (Senden).",
             "Un e-mail n’a pas encore pu être envoyé et sera réessayé. smtp.x.test:587 est injoignable ou ne répond pas (envoi)."),
            ("Messages of a@x.test could not be moved to the folder Bad, and stay in the inbox: UID 5, UID 7. Set another folder in undeliverablefolder, or let the account write to it. The server says: NO. Really not.",
             "Nachrichten im Postfach a@x.test konnten nicht in den Ordner Bad verschoben werden und bleiben im Posteingang: UID 5, UID 7. Geben Sie in undeliverablefolder einen anderen Ordner an",
             "Le serveur dit : « NO. Really not. »")):
        console.sql("UPDATE org_contoso.mailbox SET incomingemailstatus = 2, lastsyncerror = %s WHERE mailboxid = %s", [report, box])
        for language, said in (("en", report), ("de", german), ("fr", french)):
            page = html.unescape(visitor(console, language).get(f"{console.pages}/records/mailboxes/{box}").text)
            assert said in page, (language, re.findall(r'class="hint">([^<]*)', page))


def test_pages_of_a_language_show_no_other(console):
    """A page in another language contains no English message, unless the message is the same in that language."""
    for language in sorted(set(MESSAGES) - {"en"}):
        messages = MESSAGES[language]
        same = {text for key, text in MESSAGES["en"].items() if messages[key] == text} | set(messages.values())
        english = {text for text in MESSAGES["en"].values() if text not in same and "{" not in text and len(text) > 3}
        session = visitor(console, language)
        for name, path in console.wanted.items():
            page = session.get(f"{console.pages}/{path}").text
            assert f'<html lang="{language}">' in page
            page = re.sub(r'(?s)<(\w+)[^>]*lang="en"[^>]*>.*?</\1>', "", page)
            shown = {line.strip() for line in re.split(r"<[^>]*>", page) if line.strip()}
            assert shown & english == set(), (language, name)


def test_dates_and_numbers_are_those_of_the_language(console):
    for language, day, number in (("en", r"\d{1,2}\xa0(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\xa020\d\d", "1–25 of "), ("de", r"\d{1,2}\.\xa0\S+\xa020\d\d", "1–25 von ")):
        session = visitor(console, language)
        assert re.search(day, session.get(f"{console.pages}/settings/data-encryption").text)
        assert number in session.get(f"{console.pages}/records/emails").text


# Size


def test_pages_stay_fast_with_many_records(console):
    """With 100,000 mailboxes, 100,000 e-mails, 1,000,000 events and 1,000,000 changes, the slowest list takes less than 300 ms on an idle machine."""
    fill(console)
    session = visitor(console)
    slow = {}
    for path in PAGES:
        times = []
        for _ in range(4):
            start = time.monotonic()
            answer = session.get(f"{console.pages}/{path}")
            times.append(time.monotonic() - start)
            assert answer.status_code == 200, (path, answer.text[:500])
        slow[path] = round(min(times) * 1000)
    print(slow)
    # The limit is higher here, because this is a debug build and other tests run at the same time.
    assert max(slow.values()) < 1_500, slow
    # A search that finds nothing continues on the next pages, back to the oldest event and the oldest change.
    for path in ("events?actor=user:nobody", "audit?person=nobody"):
        pages, address = 0, f"{console.pages}/{path}"
        while address:
            page = session.get(address).text
            assert "Nothing matches these filters." in page
            older = re.search(r'<a href="([^"]+)" rel="next">', page)
            pages, address = pages + 1, older and f"{console.base}{html.unescape(older[1])}"
        assert pages == 6, (path, pages)
    # SQL inserted all these mailboxes. The service checks them in the background, and then the overview reports them.
    until(lambda: "Mail servers were changed directly in the database." in session.get(f"{console.pages}/overview").text)
