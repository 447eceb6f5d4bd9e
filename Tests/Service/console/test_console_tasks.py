"""Tasks of people in the console: lists and exports, changes of many mailboxes, changes and events, the key on paper, and e-mails."""

import base64
import csv
import datetime
import html
import io
import itertools
import json
import re
import urllib.parse

import pytest
import test_console_pages
from selenium.webdriver.common.by import By
from console_browser import confirm, main, measured, press, resize, wait
from test_console_pages import shown_rows, visitor
from html_forms import answer_of

console = test_console_pages.console


class Person:
    """An administrator without a browser, who sends the forms of pages."""

    def __init__(self, console, language="en"):
        self.pages, self.session = console.pages, visitor(console, language)

    def get(self, path):
        answer = self.session.get(f"{self.pages}/{path}")
        assert answer.status_code == 200, (path, answer.text[:500])
        return answer

    def send(self, path, **form):
        csrf = re.search(r'name="csrf" value="(\w+)"', self.get("account").text)[1]
        return self.session.post(f"{self.pages}/{path}", {"csrf": csrf, **form})


def text(page):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", page)))


def first_column(page):
    return [html.unescape(name) for name in re.findall(r'<td class="first"[^>]*><a href="[^"]*">([^<]*)</a>', page)]


def rows(exported):
    assert exported.headers["Content-Type"].startswith("text/csv")
    return list(csv.reader(io.StringIO(exported.content.decode("utf-8-sig"))))


# Lists


def test_pages_of_a_list_have_each_record_once_and_in_order(console):
    for number in range(60):
        console.create("queues", {"name": f"paged {number:02d}"})
    admin = Person(console)
    seen = []
    for page in range(3):
        shown = admin.get(f"records/queues?q=paged&sort=-name&page={page}").text
        assert shown_rows(shown) == 60 and f'aria-current="page">{page + 1}<' in shown
        assert 'aria-sort="descending"' in shown and ('rel="next"' in shown) == (page < 2) and ('rel="prev"' in shown) == (page > 0)
        seen += first_column(shown)
    assert seen == [f"paged {number:02d}" for number in reversed(range(60))]
    assert len(first_column(admin.get("records/queues?q=paged&size=100").text)) == 60
    assert "51–60 of 60" in admin.get("records/queues?q=paged&size=50&page=1").text


def test_an_export_has_every_record_of_the_list_and_no_formula(console):
    console.sql("INSERT INTO org_contoso.queue (queueid, name, description, ownerid, owneridtype) SELECT gen_random_uuid(), 'exported ' || n, 'x', systemuserid, 'systemuser' FROM generate_series(1, 2300) AS n, (SELECT systemuserid FROM org_contoso.systemuser LIMIT 1) AS u")
    formula = console.create("queues", {"name": "=HYPERLINK(\"https://evil.test\";\"exported x\")"})
    try:
        admin = Person(console)
        head, *exported = rows(admin.get("records/queues/export.csv?q=exported"))
        assert "Name" in head and len(exported) == shown_rows(admin.get("records/queues?q=exported").text) == 2301
        assert len({row[head.index("Id")] for row in exported}) == 2301
        name = next(row[head.index("Name")] for row in exported if row[head.index("Id")] == formula)
        assert name == "'=HYPERLINK(\"https://evil.test\";\"exported x\")"
        assert not [row for row in exported for cell in row if cell[:1] in ("=", "+", "@")]
    finally:
        console.sql("DELETE FROM org_contoso.queue WHERE name LIKE '%%exported%%'")


FORMULAS = ["=1+1", "+1+1", "-1+1|cmd", "@SUM(1)", "=\u0301HYPERLINK(\"http://e\")", "=\u200d1+1", "\u200b=1+1", "\ufeff=1+1", "\uff1d1+1", "\uff0b1+1", "\uff0d1+1", "\uff20SUM(1)"]
TEXTS = ["1=1", "a", "\u00fc=1", "'=1", "\u0301a"]


def test_a_text_that_a_spreadsheet_may_take_for_a_formula_has_an_apostrophe(console):
    made = [console.create("queues", {"name": f"{text} formulas"}) for text in FORMULAS + TEXTS]
    try:
        head, *exported = rows(Person(console).get("records/queues/export.csv?q=formulas"))
        told = {row[head.index("Id")]: row[head.index("Name")].removesuffix(" formulas") for row in exported}
        assert [told[id] for id in made] == [f"'{text}" for text in FORMULAS] + TEXTS
    finally:
        console.sql("DELETE FROM org_contoso.queue WHERE name LIKE '%% formulas'")


def test_many_mailboxes_are_tested_enabled_and_given_a_profile(console):
    admin = Person(console)
    boxes = [console.create("mailboxes", {"name": f"bulk {number}", "password": "x"}) for number in range(3)]
    chosen = {f"id.{box}": "1" for box in boxes[:2]}

    def stored(column):
        return [row[0] for row in console.sql(f"SELECT {column} FROM org_contoso.mailbox WHERE mailboxid = ANY (%s) ORDER BY name", [boxes])]

    def change(**form):
        """Sends the form. If the response is a question, confirms it. Returns the text of the last response."""
        asked = admin.send("records/mailboxes/bulk", returns="/contoso/records/mailboxes?q=bulk", **form)
        name = next((name for name in ("confirmed", "approves") if f'name="{name}"' in asked.text), None)
        if name is None:
            assert asked.status_code == 200 and "q=bulk" in asked.url, asked.text
            return text(asked.text)
        form[name] = answer_of(asked.text, name)
        answer = admin.send("records/mailboxes/bulk", returns="/contoso/records/mailboxes?q=bulk", **form)
        assert answer.status_code == 200 and "q=bulk" in answer.url, answer.text
        return text(answer.text)

    [(name, profile)] = console.sql("SELECT name, emailserverprofileid FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    assert "2 mailboxes were given the server profile." in change(do="profile", profile=name, **chosen)
    assert stored("emailserverprofile") == [profile, profile, None]
    # Only a mailbox with an approved address can be tested. The page asks first whether to approve it.
    asked = text(admin.send("records/mailboxes/bulk", returns="/contoso/records/mailboxes?q=bulk", do="test", **chosen).text)
    assert "Approve 2 addresses, too?" in asked and stored("testemailconfigurationscheduled") == [False, False, False]
    assert "2 tests were started." in change(do="test", **chosen)
    assert stored("emailrouteraccessapproval") == [1, 1, 0]
    assert stored("testemailconfigurationscheduled") == [True, True, False] and stored("incomingemaildeliverymethod")[:2] == [2, 2]
    asked = admin.send("records/mailboxes/bulk", do="disable", returns="/contoso/records/mailboxes", **chosen)
    assert "Disable 2 mailboxes?" in text(asked.text) and stored("statecode") == [0, 0, 0], "the question alone changes nothing"
    change(do="disable", **chosen)
    assert stored("statecode") == [1, 1, 0]
    assert "2 mailboxes were enabled." in change(do="enable", **chosen)
    assert stored("statecode") == [0, 0, 0] and stored("enabledforincomingemail")[:2] == [True, True]
    # The page reports the mailbox that does not exist, and the other mailboxes are changed.
    gone = {"id.00000000-0000-0000-0000-000000000001": "1"}
    said = change(do="disable", **gone, **chosen)
    assert "2 mailboxes were disabled." in said and "1 mailbox was not changed" in said
    assert "2 mailboxes were enabled." in change(do="enable", **chosen)
    # No router works on a mailbox without a profile, so its test would never end.
    last = {f"id.{boxes[2]}": "1"}
    said = change(do="test", **last, **chosen)
    assert "2 were being tested already." in said and "1 mailbox was not changed Choose a server profile first. bulk 2" in said, said
    assert stored("testemailconfigurationscheduled") == [True, True, False]
    alone = admin.send(f"records/mailboxes/{boxes[2]}/do", do="test")
    assert alone.status_code == 400 and "Choose a server profile first." in text(alone.text)
    assert stored("testemailconfigurationscheduled")[2] is False
    assert "for them until you enable them again" in text(asked.text)
    # The list says what is missing, and the same mailboxes stay ticked.
    for form, problem, count in (
            ({"do": "profile", **chosen}, "Choose a server profile first.", 2),
            ({"do": "profile", "profile": "no such profile", **chosen}, "There is nothing named “no such profile”.", 2),
            ({"do": "approve"}, "Select at least one mailbox first.", 0)):
        page = admin.send("records/mailboxes/bulk", returns="/contoso/records/mailboxes?q=bulk", **form).text
        assert problem in text(page) and len(re.findall(r'name="id\.[^>]* checked', page)) == count, form
    assert admin.send("records/mailboxes/bulk", do="purge", **chosen).status_code == 404
    assert stored("emailserverprofile") == [profile, profile, None]


# Records


def test_a_typed_password_outlives_a_conflict(console):
    box = console.create("mailboxes", {"name": "contended box", "username": "first"})
    admin = Person(console)
    page = admin.get(f"records/mailboxes/{box}").text
    form = re.search(r'(?s)<form method="post" action="[^"]*" class="fields"[^>]*>.*?</form>', page)[0]
    hidden = {k: html.unescape(v) for k, v in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)}
    assert console.request("PATCH", f"mailboxes({box})", {"username": "theirs"}).status_code == 204
    conflict = admin.session.post(f"{admin.pages}/records/mailboxes/{box}", {**hidden, "name": "contended box", "username": "mine", "password": "typed into a conflict"})
    said = text(conflict.text)
    assert conflict.status_code in (409, 412) and re.search(r"dev-admin \(client\) changed this record while you were editing it (just now|[^:]* ago|.*\d:\d\d)", said), said
    assert "typed into a conflict" not in conflict.text and "kept until you save" in said
    form = re.search(r'(?s)<form method="post" action="[^"]*" class="fields"[^>]*>.*?</form>', conflict.text)[0]
    hidden = {k: html.unescape(v) for k, v in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form)}
    saved = admin.session.post(f"{admin.pages}/records/mailboxes/{box}", {**hidden, "name": "contended box", "username": "mine", "username!choose": "yours", "password": ""})
    assert saved.status_code == 200 and "Saved." in saved.text
    assert console.opened_cells()[f"mailbox({box}).password"][1] == "typed into a conflict"
    assert console.get(f"mailboxes({box})").json()["username"] == "mine"


def test_a_form_has_what_a_person_sets_and_the_rest_below(console):
    page = Person(console).get(f"records/mailboxes/{console.ids['mailbox']}").text
    above, below = page.split("<summary>All attributes</summary>")
    for name in ("name", "emailaddress", "username", "password", "emailserverprofile"):
        assert re.search(rf'<(?:input|select|textarea)[^>]* name="{name}"', above), name
    # The page shows the router's values as the state of the mailbox. The form has no fields for them.
    for name in ("incomingemailstatus", "lastsyncerror", "itemsfailedforlastsync", "transientfailurecount"):
        assert not re.search(rf'<(?:input|select|textarea)[^>]* name="{name}"', above), name
    assert "Last success" in above.split('class="fields"')[0]
    assert len(re.findall(r'<(?:input|select|textarea)[^>]* name="', below)) > 5


# Events and changes


def test_a_word_finds_events_by_the_names_that_they_show(console):
    queue = console.create("queues", {"name": "Nachtschicht Süd", "emailpassword": "first"})
    box = console.create("mailboxes", {"name": "of somewhere else", "password": "first"})
    admin = Person(console)
    for word in ("Nachtschicht", "nachtschicht SÜD", queue):
        page = admin.get(f"events?record={urllib.parse.quote(word)}").text
        assert f"/records/queues/{queue}" in page and box not in page, word
    assert queue not in admin.get("events?record=Nachtschichten").text
    # The search finds an event by a word of its details.
    assert f"/records/mailboxes/{box}" in admin.get("events?record=mailbox(").text


def test_evidence_is_filtered_by_time_record_and_person(console):
    admin = Person(console)
    box = console.create("mailboxes", {"name": "evident", "password": "first"})
    assert console.request("PATCH", f"mailboxes({box})", {"password": "second", "username": "evident user"}).status_code == 204
    today = datetime.datetime.now(datetime.timezone.utc).date()
    tomorrow, yesterday = (today + datetime.timedelta(days=days) for days in (1, -1))

    def lines(path):
        return re.findall(r'(?s)<li><details><summary class="line">(.*?)</summary>', admin.get(path).text)

    assert [("set" in line, "replaced" in line) for line in lines(f"events?record={box}")] == [(False, True), (True, False)]
    assert len(lines(f"events?record={box}&from={yesterday}&until={tomorrow}")) == 2
    assert lines(f"events?record={box}&from={tomorrow}") == [] and lines(f"events?record={box}&until={yesterday - datetime.timedelta(days=1)}") == []
    assert len(lines(f"events?record={box}&actor=client:dev-admin")) == 2 and lines(f"events?record={box}&actor=user:admin") == []
    changes = lines(f"audit?id={box}")
    assert len(changes) >= 2 and all("evident" in text(line) for line in changes)
    assert len(lines(f"audit?id={box}&operation=1")) == 1 and lines(f"audit?id={box}&from={tomorrow}") == []
    # The search accepts a part of a name, and the page suggests names.
    for name in ("dev-admin", "%23+dev-admin", "EV-ADM"):
        assert len(lines(f"audit?id={box}&person={name}")) == len(changes), name
    assert lines(f"audit?id={box}&person=nobody") == []
    page = admin.get("audit").text
    assert {"admin", "dev-admin"} <= set(re.findall(r'<option value="([^"]*)">', re.search(r'(?s)<datalist id="people">.*?</datalist>', page)[0]))
    assert "E-mails are not recorded here." in text(page)
    # The export has only the rows that the filters select.
    head, *created = rows(admin.get(f"audit.csv?id={box}&operation=1"))
    assert {row[head.index("objectidname")] for row in created} == {"evident"} and {row[head.index("operationname")] for row in created} == {"Created"}
    exported = [json.loads(line) for line in admin.get("events.jsonl").text.splitlines()]
    assert [event["kind"] for event in exported if box in str(event.get("details"))] == ["password set", "password replaced"]


def test_changes_are_exported_as_a_row_for_each_value(console):
    admin = Person(console)
    first, second = (console.create("emailserverprofiles", {"name": name, "servertype": 4}) for name in ("one server", "=two servers"))
    box = console.create("mailboxes", {"name": "exported change", "password": "first"})
    for body in (
        {"name": "=1+1", "emailserverprofile@odata.bind": f"/emailserverprofiles({first})", "processemailreceivedafter": "2026-01-02T03:04:05Z"},
        {"name": "@there", "emailserverprofile@odata.bind": f"/emailserverprofiles({second})", "password": "second", "emailrouteraccessapproval": 1}):
        assert console.request("PATCH", f"mailboxes({box})", body).status_code == 204
    console.sql("UPDATE org_contoso.mailbox SET username = 'by a DBA' WHERE mailboxid = %s", [box])
    head, *exported = rows(admin.get(f"audit.csv?id={box}"))
    assert head == ["createdon", "operation", "operationname", "objectid", "objectidname", "objecttypecode", "objecttypecodename", "useridname",
                    "databaserole", "attribute", "attributename", "oldvalue", "newvalue"]
    assert {tuple(row[3:7]) for row in exported} == {(box, "'@there", "mailbox", "Mailbox")}
    changed = [(row[1], row[2], row[7], *row[9:]) for row in exported if row[1] == "2"]
    assert set(changed) >= {
        ("2", "Changed", "by SQL, as postgres", "username", "User name", "", "by a DBA"),
        ("2", "Changed", "dev-admin (client)", "name", "Name", "'=1+1", "'@there"), ("2", "Changed", "dev-admin (client)", "name", "Name", "exported change", "'=1+1"),
        ("2", "Changed", "dev-admin (client)", "emailserverprofile", "Server profile", "one server", "'=two servers"),
        ("2", "Changed", "dev-admin (client)", "password", "Password", "", "replaced")}, changed
    assert [row[4:] for row in changed if row[3] == "processemailreceivedafter"] == [("Ignore mail before", "", "2026-01-02T03:04:05Z")], changed
    [approved] = [row for row in exported if row[9] == "emailrouteraccessapproval" and row[1] == "2"]
    assert approved[12] == "Approved" and approved[11] not in ("0", ""), approved
    assert ("1", "Created", "set") in {(row[1], row[2], row[12]) for row in exported if row[9] == "password"}
    # The values are in the reader's language. The names of the columns are the same in every language.
    admin.session.headers["Accept-Language"] = "de"
    german = rows(admin.get(f"audit.csv?id={box}&operation=2"))
    assert german[0] == head and {(row[2], row[6]) for row in german[1:]} == {("Geändert", "Postfach")} and "ersetzt" in {row[12] for row in german}
    assert console.request("DELETE", f"mailboxes({box})").status_code == 204


def test_consecutive_releases_are_one_line(console):
    names = {"mailbox": "Ada King", "failing": "Alan Turing"}
    details = [f"Incoming, mailbox {console.ids[box]}, from mailbox, for imap.test:993" for box in ("mailbox", "failing", "mailbox", "mailbox")]
    console.sql("SET session_replication_role = replica")
    for number, detail in enumerate(details):
        console.sql("""
            INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
            SELECT min(security_event_id) - 1, now() - interval '400 days' - %s * interval '1 second', 'credential released', 'succeeded', 'client:dev-router', %s, sha256('a'), sha256('b')
              FROM org_contoso.security_event""", [number, detail])
    page = Person(console).get(f"events?kind=credential+released&until={datetime.date.today() - datetime.timedelta(days=300)}").text
    [line] = re.findall(r'(?s)<li><details>.*?</details></li>', page)
    said = text(line)
    assert "4 times" in said and f"{names['mailbox']} : 3 times" in said.replace("Mailbox ", "") and names["failing"] in said, said


# The key on paper, and on the screen


def test_the_sheet_says_who_printed_it_where_and_when(console, browser):
    browser.get(f"{console.pages}/settings/data-encryption")
    [(version,)] = console.sql("SELECT key_version FROM org_contoso.encryption")
    assert f"Version {version}" in browser.find_element(By.CSS_SELECTOR, ".timeline > li.now").text
    press(browser, By.CSS_SELECTOR, "button[name=sheet][value='1']")
    confirm(browser, console)
    sheet = browser.find_element(By.CSS_SELECTOR, ".sheet").text
    [(organization, fingerprint)] = console.sql("SELECT organizationid::text, fingerprint FROM org_contoso.organization, org_contoso.encryption")
    for said in ("contoso", organization, console.base, fingerprint, console.dev["console"]["username"], str(datetime.datetime.now().year), "Kept by", "Kept where"):
        assert said in sheet, (said, sheet)
    # The printed sheet has no navigation, and its background is white even in the dark color scheme.
    browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print", "features": [{"name": "prefers-color-scheme", "value": "dark"}]})
    try:
        assert not any(element.is_displayed() for element in browser.find_elements(By.CSS_SELECTOR, "nav, header.bar, .noprint"))
        assert browser.find_element(By.CSS_SELECTOR, ".qr").is_displayed()
        # The sheet fits on one page of A4. On Letter paper (sizes here are in inches), the steps may be on a second page.
        for width, height, pages in ((8.27, 11.69, 1), (8.5, 11, 2)):
            pdf = base64.b64decode(browser.execute_cdp_cmd("Page.printToPDF", {"paperWidth": width, "paperHeight": height})["data"])
            assert len(re.findall(rb"/Type\s*/Page\b", pdf)) <= pages, (width, height)
        assert browser.execute_script("return getComputedStyle(document.querySelector('.sheet')).breakInside") == "auto"
        colours = "const of = (e, name) => getComputedStyle(document.querySelector(e))[name]; return [of('body', 'backgroundColor'), of('.sheet', 'backgroundColor'), of('.groups td', 'color')]"
        assert browser.execute_script(colours) == ["rgb(255, 255, 255)", "rgb(255, 255, 255)", "rgb(0, 0, 0)"]
        # The text on a sheet of A4 is 17 cm wide. The key must fit into it.
        resize(browser, 643)
        assert measured(browser) == []
    finally:
        browser.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "", "features": [{"name": "prefers-color-scheme", "value": "light"}]})


def test_the_question_before_a_profile_is_deleted_counts_its_mailboxes(console):
    admin = Person(console)
    profile = console.create("emailserverprofiles", {"name": "in use", "servertype": 3, "incomingserverlocation": "localhost", "outgoingserverlocation": "localhost"})
    path = f"records/emailserverprofiles/{profile}"
    assert "This can't be undone." in text(admin.get(f"{path}/delete").text) and "use it" not in text(admin.get(f"{path}/delete").text)
    box = console.create("mailboxes", {"name": "uses it", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    assert "1 mailbox uses it. No mail is received or sent" in text(admin.get(f"{path}/delete").text)
    german = Person(console, "de")
    assert "1 Postfach verwendet es." in text(german.get(f"{path}/delete").text)
    # If the mailbox has no profile, the page says so and offers no test.
    assert console.request("DELETE", f"emailserverprofiles({profile})").status_code == 204
    page = admin.get(f"records/mailboxes/{box}").text
    assert profile not in text(page) and "Test &amp; enable" not in page


def test_the_key_is_copied_whole_or_not_at_all_and_hidden_after_a_minute(console, browser):
    key = console.key()
    browser.execute_cdp_cmd("Browser.grantPermissions", {"origin": console.base, "permissions": ["clipboardReadWrite", "clipboardSanitizedWrite"]})
    browser.get(f"{console.pages}/settings/data-encryption")
    press(browser, By.CSS_SELECTOR, "button.show-key")
    confirm(browser, console)
    copy = browser.find_element(By.CSS_SELECTOR, "[data-copies]")
    copy.click()
    wait(browser, lambda d: copy.text == "Copied")
    assert browser.execute_async_script("navigator.clipboard.readText().then(arguments[0])") == key
    wait(browser, lambda d: copy.text == "Copy")
    browser.execute_script("navigator.clipboard.writeText = () => Promise.reject(new Error('refused'))")
    copy.click()
    wait(browser, lambda d: copy.text == "Copying failed")
    assert re.search(r"Hidden in \d+ s", main(browser))
    # After a minute, the page does not have the key any more.
    browser.execute_script("const now = Date.now; Date.now = () => now() + 61000")
    wait(browser, lambda d: not d.find_elements(By.CSS_SELECTOR, "output.secret"))
    assert not browser.find_elements(By.CSS_SELECTOR, "[data-copies]") and key not in main(browser)
    press(browser, By.CSS_SELECTOR, "button[data-gone]")
    assert browser.find_element(By.CSS_SELECTOR, "output.secret").text == key


# Times


@pytest.mark.parametrize("zone, offset", [("Asia/Kolkata", datetime.timedelta(hours=5, minutes=30)), ("America/Phoenix", datetime.timedelta(hours=-7))])
def test_times_are_local_with_seconds_and_say_how_long_ago(console, browser, zone, offset):
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    try:
        browser.get(f"{console.pages}/events")
        for time in itertools.islice(browser.find_elements(By.CSS_SELECTOR, ".lines .line time[data-as=moment]"), 5):
            moment = datetime.datetime.fromisoformat(time.get_attribute("datetime").replace("Z", "+00:00")) + offset
            assert f"{moment:%H:%M:%S}" in time.text or f"{moment:%I:%M:%S}".lstrip("0") in time.text, (time.text, moment)
        browser.get(f"{console.pages}/{console.wanted['mailbox-failing']}")
        ago = [time for time in browser.find_elements(By.CSS_SELECTOR, "main time") if "ago" in time.text]
        assert ago and all(re.search(r"\d:\d\d:\d\d", time.get_attribute("title")) for time in ago), "the moment itself is a title"
        assert any("2 hours ago" in time.text for time in ago)
    finally:
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    assert re.search(r"\d\d:\d\d:\d\d UTC", text(Person(console).get("events").text)), "without script the zone is named"


def test_days_of_filters_are_the_readers_and_utc_is_said_without_script(console, browser):
    admin = Person(console)
    box = console.create("mailboxes", {"name": "east of here", "emailaddress": "east@contoso.test"})
    [(mailbox_day,)] = console.sql("SELECT (createdon AT TIME ZONE 'UTC')::date FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    now = datetime.datetime.now(datetime.timezone.utc)
    # A time zone in which the date differs from the date in UTC.
    zone, there = ("Etc/GMT+12", now - datetime.timedelta(hours=12)) if now.hour < 12 else ("Etc/GMT-12", now + datetime.timedelta(hours=12))
    day = there.date()
    assert day != mailbox_day
    for page in (f"audit?id={box}", f"events?kind=passwords&record={box}"):
        shown = admin.get(page).text
        assert "From (UTC)" in text(shown) and "To (UTC)" in text(shown)
    assert "Nothing matches" in text(admin.get(f"audit?id={box}&from={day}&until={day}").text)
    browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": zone})
    try:
        browser.get(f"{console.pages}/audit?id={box}")
        assert "(UTC)" not in main(browser)
        for name in ("from", "until"):
            browser.execute_script(
                "const e = document.querySelector(`[name=${arguments[0]}]`); e.value = arguments[1]; e.dispatchEvent(new Event('change'))", name, str(day))
        press(browser, By.CSS_SELECTOR, "form.filters button")
        assert len(browser.find_elements(By.CSS_SELECTOR, ".lines > li")) == 1 and browser.find_element(By.NAME, "from").get_attribute("value") == str(day)
        assert "(UTC)" not in main(browser)
        # The address contains the times, so it gives the same list without a browser. For an address with only days, the page says that they are in
        # UTC.
        address = browser.current_url.split("/contoso/")[1]
        assert "east of here" in admin.get(address).text
        browser.get(f"{console.pages}/audit?id={box}&from={day}")
        assert "From (UTC)" in main(browser) and "To (UTC)" not in main(browser)
        # The times among the changed values are also in the reader's time zone.
        console.sql("UPDATE org_contoso.mailbox SET lastsuccessfulsynccompletedon = now() WHERE mailboxid = %s", [box])
        browser.get(f"{console.pages}/audit?id={box}")
        assert not browser.execute_script("return [...document.querySelectorAll('.changes td')].some((e) => e.textContent.includes('UTC'))")
        browser.get(f"{console.pages}/settings/data-encryption")
        [due] = browser.find_elements(By.CSS_SELECTOR, ".ends time[data-as=day]")
        moment = datetime.datetime.fromisoformat(due.get_attribute("datetime")) + (there - now)
        assert due.text.startswith(f"{moment.day} "), (due.text, moment)
        press(browser, By.CSS_SELECTOR, "button[name=sheet][value='1']")
        confirm(browser, console)
        assert "GMT" in browser.find_element(By.CSS_SELECTOR, ".sheet").text, "the zone stands on paper"
    finally:
        browser.execute_cdp_cmd("Emulation.setTimezoneOverride", {"timezoneId": ""})
    for page in ("events", "audit", f"audit?id={box}"):
        reversed_days = text(admin.get(f"{page}{'&' if '?' in page else '?'}from=2026-02-01&until=2026-01-01").text)
        assert "“From” is after “To”." in reversed_days, page
    # The service ignores times in the address that do not belong to the given days.
    assert "Nothing matches" in text(admin.get(f"audit?id={box}&from=2020-01-01&fromTime=2020-01-01T10:00:00Z&until=2020-01-02&untilTime=2099-01-01T00:00:00Z").text)


# E-mails


def test_an_e_mail_shows_its_attachments_headers_and_conversation(console):
    first, second = (
        console.create("emails", {"subject": subject, "description": "<p>Hello</p>", "email_activity_parties": [{"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
        for subject in ("About the order", "Re: About the order"))
    console.sql("UPDATE org_contoso.email SET parentactivityid = %s, messageid = '<2@elsewhere.test>', inreplyto = '<1@elsewhere.test>', deliveryattempts = 3 WHERE activityid = %s", [first, second])
    body = "SGVsbG8="
    created = console.request("POST", "activitymimeattachments", {"filename": "größe <1>.txt", "mimetype": "text/plain", "body": body, "objectid_email@odata.bind": f"/emails({second})", "objecttypecode": "email"})
    assert created.status_code == 204, created.text
    admin = Person(console)
    page = admin.get(f"records/emails/{second}").text
    said = text(page)
    assert "customer@elsewhere.test" in said and "größe <1>.txt" in said and "About the order" in said and "<2@elsewhere.test>" in said
    # The technical details of the e-mail's transport. The service does not store the header lines of the message.
    facts = dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", page.partition("<summary>Technical details</summary>")[2]))
    assert {"&lt;2@elsewhere.test&gt;", "&lt;1@elsewhere.test&gt;", "3"} <= set(facts.values()) and all(facts), facts
    link = re.search(r'<a href="/contoso/([^"]+/attachments/[^"]+)"', page)[1]
    file = admin.get(link)
    assert file.content == b"Hello" and file.headers["Content-Disposition"].startswith("attachment;") and file.headers["Content-Type"] not in ("text/html",)
    assert re.search(rf'<a href="[^"]*{first}"', page.split('id="thread"')[1]), "the other e-mail of the conversation"
