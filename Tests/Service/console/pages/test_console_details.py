"""Details of pages: steps that are not done yet, readable names and dates, and the space between parts."""

import re
import types

import pytest
import test_console_pages
from console_browser import press, resize, says
from selenium.webdriver.common.by import By
from test_console_access import Visitor, text

console = test_console_pages.console


def test_receiving_waits_for_the_approval(console):
    box = console.create("mailboxes", {"name": "box of steps", "password": "x", "emailserverprofile@odata.bind": f"/emailserverprofiles({console.ids['profile']})"})
    failed = "UPDATE org_contoso.mailbox SET emailrouteraccessapproval = %s, incomingemailstatus = 2, lastsyncerror = 'The address x@y.test is not approved: an administrator sets emailrouteraccessapproval to 1.' WHERE mailboxid = %s"
    for approval, state in ((0, "open"), (1, "failed")):
        console.sql(failed, [approval, box])
        assert f"Receiving works ({state})" in re.sub(r" +", " ", text(Visitor(console).get(f"records/mailboxes/{box}"))), approval


def test_a_changed_lookup_is_named_once(console):
    box = console.create("mailboxes", {"name": "box of lookups"})
    assert console.request("PATCH", f"mailboxes({box})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({console.ids['profile']})"}).status_code == 204
    page = Visitor(console).get(f"audit?id={box}").text
    assert "Server profile" in page and "(name)" not in page and re.findall(r'<th scope="row">(Server profile[^<]*)', page) == ["Server profile"]


def test_a_received_mail_keeps_the_addresses_own_name(console):
    queue = console.create("queues", {"name": "Records of an address", "emailaddress": "own.name@contoso.test"})
    [(email,)] = console.sql("""
        INSERT INTO org_contoso.email (activityid, subject, description, directioncode, statuscode, statecode, createdon)
        VALUES (gen_random_uuid(), 'own names', '<p>x</p>', false, 4, 1, now()) RETURNING activityid::text""")
    for kind, name, address, record in ((1, "Mia Meyer", "mia@elsewhere.test", None), (2, "Records of an address", "own.name@contoso.test", queue)):
        console.sql("""
            INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, ispartydeleted, donotemail, partyid, partyobjecttypecode, partyidname, addressused)
            VALUES (gen_random_uuid(), %s, %s, false, false, %s, %s, %s, %s)""", [email, kind, record, record and "queue", name, address])
    said = text(Visitor(console).get(f"records/emails/{email}"))
    assert "To own.name@contoso.test" in said and "Mia Meyer <mia@elsewhere.test>" in said and "Records of an address" not in said


def test_clients_are_named_as_such(console):
    listed = re.sub(r"<wbr[^>]*>", "", Visitor(console).get("records/usersettingscollection").text)
    assert ">dev-admin (client)<" in listed and "# dev" not in re.sub(r'aria-label="[^"]*"', "", listed)


@pytest.mark.parametrize("language", ["de", "en", "fr"])
def test_a_date_is_not_divided(console, language):
    page = test_console_pages.visitor(console, language).get(f"{console.pages}/settings/data-encryption").text
    shown = re.findall(r"<time [^>]*>([^<]*)</time>", page)
    assert shown and all(" " not in re.sub(r", .*", "", moment) for moment in shown), shown


def test_a_date_is_not_divided_in_the_readers_zone(console, browser):
    browser.get(f"{console.pages}/settings/data-encryption")
    shown = [time.text for time in browser.find_elements(By.CSS_SELECTOR, "time") if time.get_attribute("data-as") != "ago"]
    raw = browser.execute_script("return [...document.querySelectorAll('time:not([data-as=ago])')].map((time) => time.textContent)")
    assert shown and all(re.search(r"(?<!,) ", moment) is None for moment in raw), raw


# The number of different vertical positions that the selected elements have.
TOPS = "return [...new Set([...document.querySelectorAll(arguments[0])].map((e) => Math.round(e.getBoundingClientRect().top)))].length"
# The distance of each selected element from the one before it, vertical or horizontal.
GAPS = """
const boxes = [...document.querySelectorAll(arguments[0])].filter((e) => e.getClientRects().length).map((e) => e.getBoundingClientRect());
return boxes.slice(1).map((box, i) => Math.max(box.top - boxes[i].bottom, box.left - boxes[i].right));
"""


def test_figures_stand_in_even_rows(console, browser):
    for width, rows in ((360, 4), (768, 2), (1024, 2), (1280, 1), (1440, 1)):
        resize(browser, width)
        browser.get(f"{console.pages}/overview")
        says(browser, "Last 24 hours")
        assert len(browser.find_elements(By.CSS_SELECTOR, ".charts > .card")) == 4
        assert browser.execute_script(TOPS, ".charts > .card") == rows, width
        meters = len(browser.find_elements(By.CSS_SELECTOR, ".meters > li"))
        assert meters == 5 and browser.execute_script(TOPS, ".meters > li") == (1 if width >= 1280 else 5), width


def test_parts_of_boxes_do_not_touch(console, browser):
    for width in (360, 1280):
        resize(browser, width)
        browser.get(f"{console.pages}/records/emails/{console.ids['failed']}")
        for parts in (".warning > *", ".warning .row > *"):
            gaps = browser.execute_script(GAPS, parts)
            assert gaps and min(gaps) >= 6, (width, parts, gaps)
    box = console.create("mailboxes", {"name": "box of gaps", "username": "first", "password": "before"})
    browser.get(f"{console.pages}/records/mailboxes/{box}")
    assert console.request("PATCH", f"mailboxes({box})", {"username": "theirs", "password": "theirs", "emailaddress": "their@contoso.test"}).status_code == 204
    for field in ("username", "password"):
        browser.find_element(By.ID, field).clear()
        browser.find_element(By.ID, field).send_keys("mine")
    press(browser, By.CSS_SELECTOR, ".save .primary")
    heading = browser.find_element(By.ID, "conflict").text
    assert heading == "dev-admin (client) changed this record while you were editing it"
    for width in (360, 1280):
        resize(browser, width)
        gaps = browser.execute_script(GAPS, ".conflict > *:not(.hint)")
        assert len(gaps) == 5 and min(gaps) >= 8, (width, gaps)
        below = browser.execute_script("return [...document.querySelectorAll('.conflict fieldset')].map((e) => e.querySelector('label').getBoundingClientRect().top - e.querySelector('.hint').getBoundingClientRect().bottom)")
        assert len(below) == 2 and abs(below[0] - below[1]) < 1, (width, below)


def test_only_mailboxes_that_work_go_on(console):
    """For a mailbox without approval, or with neither receiving nor sending, the page does not say that routers go on with it."""
    console.run("user", "add", "of-boxes", "--role", "Basic User", stdin="the password of them, seob\n")
    [(person, user)] = console.sql("SELECT user_id::text, systemuser_id::text FROM config.console_user WHERE name = 'of-boxes'")
    owned = {"ownerid@odata.bind": f"/systemusers({user})"}
    boxes = [console.create("mailboxes", {"name": f"owned {number}", "password": "x", **owned}) for number in range(2)]
    admin = Visitor(console)
    change = "UPDATE org_contoso.mailbox SET emailrouteraccessapproval = %s, enabledforincomingemail = %s, enabledforoutgoingemail = false WHERE mailboxid = %s"
    for states, said in (
        ([(0, True), (1, False)], None), ([(1, True), (0, True)], "Routers continue to fetch and send the mail of this mailbox"),
        ([(1, True), (1, True)], "Routers continue to fetch and send the mail of 2 of these mailboxes"),
    ):
        for box, (approval, enabled) in zip(boxes, states, strict=True):
            console.sql(change, [approval, enabled, box])
        page = text(types.SimpleNamespace(text=admin.get(f"access/people/{person}").text))
        assert (said in page) if said else "Routers continue" not in page, (states, page)


def test_settings_of_a_client_are_named_after_the_client(console):
    [(id,)] = console.sql("SELECT systemuserid::text FROM org_contoso.systemuser WHERE fullname = '# dev-router'")
    assert console.request("PATCH", f"usersettingscollection({id})", {"paginglimit": 75}).status_code == 204
    listed = Visitor(console).get(f"audit?id={id}").text
    # The author of a change is shown as “dev-router (client)”. Among the changed values, the stored name “# dev-router” is shown.
    assert "dev-router (client)" in listed and "# dev-router" not in listed.replace("<td># dev-router</td>", "")


def test_words_in_a_mail_s_table_are_not_divided(console, browser):
    row = "".join(f"<td>{cell}</td>" for cell in ("4711-0815-XY", "Quantity", "1,299.00 EUR", "2026-12-04", "Remarks", "Delivery"))
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, description, directioncode, statuscode, statecode, createdon) "
        "VALUES (gen_random_uuid(), 'an order', %s, false, 4, 1, now()) RETURNING activityid::text", [f"<table><tr>{row}</tr></table><p>{'w' * 300}</p>"])
    resize(browser, 390)
    browser.get(f"{console.pages}/records/emails/{id}")
    browser.switch_to.frame(browser.find_element(By.CSS_SELECTOR, "iframe.mail"))
    try:
        lines = "const r = document.createRange(); r.selectNodeContents(arguments[0]); return new Set([...r.getClientRects()].map((x) => Math.round(x.top))).size"
        cells = browser.find_elements(By.TAG_NAME, "td")
        assert [browser.execute_script(lines, cell) for cell in (cells[1], cells[4], cells[5])] == [1, 1, 1]
        # Outside of a table, a word that is too long for the line is divided, so that it can be read without scrolling.
        assert browser.execute_script(lines, browser.find_element(By.TAG_NAME, "p")) > 1
    finally:
        browser.switch_to.default_content()
