"""The console in a real Chromium: signing in, the encryption page, records, and what an attacker would try."""

import base64
import concurrent.futures
import hmac
import html
import json
import pathlib
import re
import time

import axe_core_python
import psycopg
import pytest
import requests
from selenium import webdriver
from selenium.common.exceptions import TimeoutException, WebDriverException
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support import expected_conditions
from selenium.webdriver.support.ui import Select, WebDriverWait
from attested import Attestor
from service import Deployment

AXE = (pathlib.Path(axe_core_python.__file__).parent / "axe.min.js").read_text()
SCREENSHOTS = pathlib.Path(__file__).parents[2] / ".fieldseal/screenshots"


@pytest.fixture(scope="module")
def console():
    deployment = Deployment()
    try:
        deployment.start()
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        yield deployment
    finally:
        deployment.remove()


def chromium(*arguments, script=True, scheme=None, width=1280):
    options = webdriver.ChromeOptions()
    # The certificate is the development authority's, which this browser does not know.
    for argument in ("--headless=new", "--no-sandbox", "--ignore-certificate-errors", "--disable-dev-shm-usage", f"--window-size={width},900", "--lang=en", *arguments):
        options.add_argument(argument)
    if not script:
        options.add_experimental_option("prefs", {"profile.managed_default_content_settings.javascript": 2})
    service = webdriver.ChromeService("/usr/bin/chromedriver")
    driver = webdriver.Chrome(options=options, service=service)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [{"name": "prefers-color-scheme", "value": scheme or "light"}]})
    driver.implicitly_wait(3)
    return driver


@pytest.fixture
def browser(console):
    driver = chromium()
    try:
        sign_in(driver, console)
        yield driver
    finally:
        driver.quit()


def sign_in(driver, console, then=""):
    driver.get(f"{console.pages}/{then or 'overview'}")
    driver.find_element(By.NAME, "name").send_keys(console.dev["console"]["username"])
    driver.find_element(By.NAME, "password").send_keys(console.dev["console"]["password"])
    press(driver, By.CSS_SELECTOR, "main button")
    wait(driver, lambda d: "/sign-in" not in d.current_url)


def wait(driver, condition):
    return WebDriverWait(driver, 30, ignored_exceptions=[WebDriverException]).until(condition)


def press(driver, how, what):
    """Presses a button that sends a form, and waits for the page that answers: what is asked for before it came would call it off."""
    before = driver.find_element(By.TAG_NAME, "html")
    driver.find_element(how, what).click()
    wait(driver, expected_conditions.staleness_of(before))


def main(driver):
    return driver.find_element(By.TAG_NAME, "main").text


def says(driver, *texts):
    """Waits until the page says all of it."""
    try:
        wait(driver, lambda d: all(text in main(d) for text in texts))
    except TimeoutException:
        raise AssertionError(f"{texts} is not in:\n{main(driver)}") from None


def confirm(driver, console):
    """Types the password again where a page asks for it."""
    if driver.find_elements(By.CSS_SELECTOR, "form[action$='/fresh']"):
        driver.find_element(By.NAME, "password").send_keys(console.dev["console"]["password"])
        press(driver, By.CSS_SELECTOR, "main button")


def visitor(console):
    """A person without a browser: (session, CSRF token)."""
    session = requests.Session()
    session.verify, session.trust_env = console.dev["caFile"], False
    session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en"})
    answer = session.post(f"{console.pages}/sign-in", {"name": console.dev["console"]["username"], "password": console.dev["console"]["password"]})
    return session, re.search(r'name="csrf" value="(\w+)"', answer.text)[1]


# What an administrator does


def test_a_password_is_set_and_never_seen_again(console, browser):
    browser.get(f"{console.pages}/records/mailboxes/new")
    browser.find_element(By.ID, "name").send_keys("Made in the console")
    browser.find_element(By.ID, "password").send_keys("pässword-from-the-console")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Saved.")
    press(browser, By.LINK_TEXT, "Made in the console")
    says(browser, "A value is set. Nobody can read it.")
    assert "pässword-from-the-console" not in html.unescape(browser.page_source)
    id = browser.current_url.rsplit("/", 1)[1]
    assert console.opened_cells()[f"mailbox({id}).password"][1] == "pässword-from-the-console"
    browser.find_element(By.NAME, "password!clear").click()
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    browser.get(f"{console.pages}/records/mailboxes/{id}")
    says(browser, "No value is set.")
    browser.find_element(By.CSS_SELECTOR, "details summary").click()
    press(browser, By.CSS_SELECTOR, "details button.danger")
    says(browser, "Deleted.")


def test_a_change_is_seen_while_it_runs_and_the_key_is_copied_out(console, browser):
    browser.get(f"{console.pages}/settings/data-encryption")
    key = browser.find_element(By.NAME, "key")
    key.send_keys("weak")
    wait(browser, lambda d: "too weak" in d.find_element(By.ID, "strength").text)
    key.clear()
    key.send_keys("A-key-of-the-console-1!")
    wait(browser, lambda d: "can be taken" in d.find_element(By.ID, "strength").text)
    seen = []
    [(mailbox,)] = console.sql("SELECT mailboxid FROM org_contoso.mailbox_cell LIMIT 1")
    with psycopg.connect(console.dev["postgres"]) as idle:
        # Somebody's open transaction makes the change wait, so that it is seen.
        idle.execute("UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s", [mailbox])
        browser.find_element(By.CSS_SELECTOR, "button[value=change]").click()
        wait(browser, lambda d: seen.append(d.find_element(By.CSS_SELECTOR, ".working span").text) or "announcing" in seen[-1])
        idle.rollback()
    wait(browser, lambda d: "done=changedDone" in d.current_url)
    says(browser, "The key was changed.")
    press(browser, By.XPATH, "//button[text()='Show the key']")
    confirm(browser, console)
    assert browser.find_element(By.CSS_SELECTOR, "output.secret").text == "A-key-of-the-console-1!"
    assert console.key() == "A-key-of-the-console-1!"
    browser.get(f"{console.pages}/settings/data-encryption")
    assert "A-key-of-the-console-1!" not in browser.page_source
    press(browser, By.XPATH, "//button[text()='Recovery sheet']")
    wait(browser, lambda d: "A-ke" in main(d))
    sheet = main(browser)
    assert "exclamation mark" in sheet and console.sql("SELECT fingerprint FROM org_contoso.encryption")[0][0] in sheet
    session, csrf = visitor(console)
    file = session.post(f"{console.pages}/settings/data-encryption/key", {"csrf": csrf, "sheet": "file"})
    assert file.headers["Content-Disposition"].startswith('attachment; filename="contoso-key-') and file.headers["Cache-Control"] == "no-store"
    assert "A-ke" in file.text and "exclamation mark" in file.text and "http" not in file.text, "the file needs nothing else"
    browser.get(f"{console.pages}/settings/data-encryption")
    browser.find_element(By.CSS_SELECTOR, "button[value=rehearse]").click()
    says(browser, "Nothing was changed.")


def test_a_lost_key_is_activated_by_what_the_page_says():
    deployment = Deployment()
    try:
        deployment.start()
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        deployment.set_key("Lost-and-found-'1'-key")
        deployment.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
        driver = chromium()
        try:
            sign_in(driver, deployment)
            says(driver, "encryption key is required")
            press(driver, By.CSS_SELECTOR, ".findings a")
            says(driver, "Key required", deployment.sql("SELECT fingerprint FROM org_contoso.encryption")[0][0])
            field = driver.find_element(By.NAME, "key")
            field.send_keys("Another-key-1!")
            press(driver, By.CSS_SELECTOR, "form[action$=activate] button")
            says(driver, "does not open")
            # As a word processor sends it.
            driver.find_element(By.NAME, "key").send_keys("  Lost\u2013and\u2013found\u2013\u20181\u2019\u2013\nkey ")
            press(driver, By.CSS_SELECTOR, "form[action$=activate] button")
            says(driver, "encryption is active")
            assert deployment.is_active()
            # The whole of config, with everybody's sign-in (docs/console.md).
            deployment.sql("SET fieldseal.maintenance = 'on'; DROP SCHEMA config CASCADE")
            deployment.run("migrate", "up")
            deployment.run("org", "attach", "contoso")
            deployment.dev["console"] = {"username": "ada", "password": "ada's own password"}
            deployment.run("user", "add", "ada", "--role", "System Administrator", stdin="ada's own password\n")
            sign_in(driver, deployment)
            press(driver, By.CSS_SELECTOR, ".findings a")
            driver.find_element(By.NAME, "key").send_keys("Lost-and-found-'1'-key")
            press(driver, By.CSS_SELECTOR, "form[action$=activate] button")
            says(driver, "encryption is active")
            assert deployment.sql("SELECT count(*) FROM config.organization_key") == [(1,)]
        finally:
            driver.quit()
    finally:
        deployment.remove()


def test_who_saves_over_somebody_else_s_change_is_shown_it(console, browser):
    id = console.create("queues", {"name": "contended", "description": "first"})
    browser.get(f"{console.pages}/records/queues/{id}")
    assert console.request("PATCH", f"queues({id})", {"description": "theirs"}).status_code == 204
    name = browser.find_element(By.ID, "name")
    name.clear()
    name.send_keys("mine")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Somebody else changed this record")
    assert "theirs" in browser.find_element(By.CSS_SELECTOR, ".problem").text
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Saved.")
    assert console.sql("SELECT name FROM org_contoso.queue WHERE queueid = %s", [id]) == [("mine",)]


def test_the_audit_shows_who_changed_what(console, browser):
    id = console.create("queues", {"name": "audited", "emailpassword": "never-in-the-audit"})
    assert console.request("PATCH", f"queues({id})", {"name": "renamed", "emailpassword": "nor-this"}).status_code == 204
    console.sql("UPDATE org_contoso.queue SET description = 'by a DBA' WHERE queueid = %s", [id])
    browser.get(f"{console.pages}/audit?id={id}")
    rows = [row.text for row in browser.find_elements(By.CSS_SELECTOR, "tbody tr")]
    assert len(rows) == 4 and "postgres" in rows[0] and "by a DBA" in rows[0]
    assert "Email Password: replaced" in rows[1] and "dev-admin" in rows[1] and "audited → renamed" in rows[2] and "dev-admin" in rows[2]
    assert "Create" in rows[3] and "Email Password: set" in rows[3]
    assert "never-in-the-audit" not in browser.page_source and "nor-this" not in browser.page_source
    Select(browser.find_element(By.NAME, "table")).select_by_value("mailbox")
    press(browser, By.CSS_SELECTOR, "main form button")
    says(browser, "There is nothing here.")


def test_people_and_clients_are_added_and_disabled(console, browser):
    browser.get(f"{console.pages}/access")
    for summary in browser.find_elements(By.CSS_SELECTOR, "summary"):
        summary.click()
    form = browser.find_element(By.CSS_SELECTOR, "form[action$=add-user]")
    form.find_element(By.NAME, "name").send_keys("Grace")
    form.find_element(By.NAME, "password").send_keys("grace's own password")
    Select(form.find_element(By.NAME, "role")).select_by_visible_text("Basic User")
    form.find_element(By.TAG_NAME, "button").click()
    says(browser, "Grace")
    other, _ = requests.Session(), None
    answer = other.post(f"{console.pages}/sign-in", {"name": "grace", "password": "grace's own password"}, verify=console.dev["caFile"], headers={"Origin": console.dev["baseURL"]})
    assert "Data Encryption" not in answer.text and answer.url.endswith("/overview")
    assert other.get(f"{console.pages}/settings/data-encryption", verify=console.dev["caFile"]).status_code == 403
    press(browser, By.CSS_SELECTOR, "button[aria-label='Disable Grace']")
    wait(browser, lambda d: not d.find_elements(By.CSS_SELECTOR, "button[aria-label='Disable Grace']"))
    assert other.get(f"{console.pages}/overview", verify=console.dev["caFile"]).url.split("?")[0].endswith("/sign-in")


def one_time_password(secret, step=0):
    """RFC 6238, by the clock."""
    digest = hmac.new(base64.b32decode(secret), (int(time.time()) // 30 + step).to_bytes(8, "big"), "sha1").digest()
    offset = digest[19] & 15
    return f"{(int.from_bytes(digest[offset:offset + 4], 'big') & 0x7FFFFFFF) % 1_000_000:06}"


def test_one_time_passwords_are_turned_on_taken_once_and_done_without(console):
    console.run("user", "add", "hedy", "--role", "Basic User", "--org", "contoso", stdin="hedy's own password\n")

    def attempt(code, password="hedy's own password"):
        session = requests.Session()
        session.verify, session.trust_env = console.dev["caFile"], False
        session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en"})
        answer = session.post(f"{console.pages}/sign-in", {"name": "hedy", "password": password, "code": code})
        return session, answer

    session, answer = attempt("")
    csrf = re.search(r'name="csrf" value="(\w+)"', answer.text)[1]
    offered = session.post(f"{console.pages}/account/offer", {"csrf": csrf}).text
    secret, sealed = re.search(r'class="secret">([A-Z2-7]{32})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    wrong = session.post(f"{console.pages}/account/confirm", {"csrf": csrf, "sealed": sealed, "code": "000000"})
    assert wrong.status_code == 400 and attempt("")[1].status_code == 200
    # The step before this one, so that this one and the next are left to sign in with.
    codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", session.post(f"{console.pages}/account/confirm", {"csrf": csrf, "sealed": sealed, "code": one_time_password(secret, -1)}).text)
    assert len(codes) == 10
    assert attempt("")[1].status_code == 403
    code = one_time_password(secret)
    assert attempt(code, "another password")[1].status_code == 403
    assert attempt(code)[1].status_code == 200
    assert attempt(code)[1].status_code == 403, "a code is taken once"
    assert attempt(codes[0].lower())[1].status_code == 200 and attempt(codes[0])[1].status_code == 403
    assert secret not in json.dumps(console.sql("SELECT encode(totp, 'escape') FROM config.console_user"))
    # Who takes it away in the database locks the person out, and lets nobody in.
    [(totp,)] = console.sql("SELECT totp FROM config.console_user WHERE name = 'hedy'")
    console.sql("UPDATE config.console_user SET totp = NULL WHERE name = 'hedy'")
    assert attempt("")[1].status_code == 403
    console.sql("UPDATE config.console_user SET totp = %s WHERE name = 'hedy'", [totp])
    console.run("user", "reset", "hedy", "--org", "contoso", stdin="a new password of hers\n")
    session, answer = attempt("", "a new password of hers")
    assert answer.status_code == 200


def test_the_overview_says_what_the_doctor_finds(console):
    session, _ = visitor(console)
    assert "A fence of the database is switched off." not in session.get(f"{console.pages}/overview").text
    console.sql("SET fieldseal.maintenance = 'on'; ALTER TABLE org_contoso.queue DISABLE TRIGGER keeps_id")
    try:
        assert "A fence of the database is switched off." in session.get(f"{console.pages}/overview").text
        german = session.get(f"{console.pages}/overview", headers={"Accept-Language": "de"}).text
        assert "Ein Zaun der Datenbank ist abgeschaltet." in german and "org_contoso.queue.keeps_id" in german
    finally:
        console.sql("ALTER TABLE org_contoso.queue ENABLE TRIGGER keeps_id")


def test_e_mails_and_alerts_are_shown(console):
    id = console.create("emails", {"subject": "<b>shown</b>", "email_activity_parties": [{"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
    session, csrf = visitor(console)
    assert "&lt;b&gt;shown&lt;/b&gt;" in session.get(f"{console.pages}/records/emails?q=shown").text
    page = session.get(f"{console.pages}/records/emails/{id}").text
    assert "customer@elsewhere.test" in page and "Draft" in page and "<b>" not in page
    assert session.post(f"{console.pages}/records/emails/{id}", {"csrf": csrf, "subject": "x"}).status_code == 404
    assert session.get(f"{console.pages}/records/emails/new", headers={"Accept": "text/html"}).status_code == 404
    assert session.get(f"{console.pages}/records/tracelogs").status_code == 200
    assert console.request("DELETE", f"emails({id})").status_code == 204


def test_it_speaks_german(console):
    session, _ = visitor(console)
    page = session.get(f"{console.pages}/overview", headers={"Accept-Language": "fr;q=0.9, de-CH;q=0.8, en;q=0.1"}).text
    assert '<html lang="de">' in page and "Was zu tun ist" in page


# How it can be used


def test_it_is_whole_without_script(console):
    driver = chromium(script=False)
    try:
        sign_in(driver, console, "settings/data-encryption")
        version = console.sql("SELECT key_version FROM org_contoso.encryption")[0][0]
        driver.find_element(By.CSS_SELECTOR, "button[value=change]").click()
        says(driver, "The key was changed.")
        assert console.sql("SELECT key_version FROM org_contoso.encryption")[0][0] == version + 1
    finally:
        driver.quit()


def test_it_is_worked_by_the_keyboard_alone(console):
    driver = chromium()
    try:
        driver.get(f"{console.pages}/settings/data-encryption")
        driver.switch_to.active_element.send_keys(console.dev["console"]["username"], Keys.TAB)
        driver.switch_to.active_element.send_keys(console.dev["console"]["password"], Keys.ENTER)
        wait(driver, lambda d: "Data Encryption" in d.title)
        first = None
        for _ in range(40):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            element = driver.switch_to.active_element
            first = first or element.text
            outline = driver.execute_script("return getComputedStyle(arguments[0]).outlineStyle", element)
            assert outline != "none", element.get_attribute("outerHTML")
            if element.get_attribute("value") == "rehearse":
                element.send_keys(Keys.ENTER)
                break
        assert first == "Skip to the content"
        says(driver, "Nothing was changed.")
    finally:
        driver.quit()


def test_at_200_percent_nothing_is_lost(console, browser):
    """Zoomed as by the browser's own menu (WCAG 2.2, 1.4.4): everything is there, and nothing sticks out to the side."""
    id = console.create("mailboxes", {"name": "zoomed " * 10, "password": "x"})
    browser.set_window_size(1280, 900)
    for page in ["overview", "settings/data-encryption", "records/mailboxes", f"records/mailboxes/{id}", "audit", "access", "account"]:
        browser.get(f"{console.pages}/{page}")
        plain = main(browser)
        # A window of half as many CSS pixels, each twice as large, is what zooming makes of it.
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 640, "height": 450, "deviceScaleFactor": 2, "mobile": False})
        assert browser.execute_script("return [innerWidth, devicePixelRatio]") == [640, 2]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 640, page
        assert main(browser).split() == plain.split(), page
        for element in browser.find_elements(By.CSS_SELECTOR, "main button, main input:not([type=hidden]), main a"):
            box = element.rect
            inside = browser.execute_script("return !!arguments[0].closest('.scroll')", element)
            assert inside or box["x"] >= 0 and box["x"] + box["width"] <= 640, (page, element.get_attribute("outerHTML"))
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    console.request("DELETE", f"mailboxes({id})")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 320])
def test_nothing_is_found_by_an_accessibility_check(console, scheme, width):
    id = console.create("mailboxes", {"name": "A name that is as long as names may be, and has no end in sight " * 2 + "x" * 60, "password": "x"})
    driver = chromium(scheme=scheme)
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    try:
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": width, "height": 900, "deviceScaleFactor": 1, "mobile": False})
        driver.get(f"{console.pages}/sign-in")
        pages = ["sign-in", "overview", "settings/data-encryption", "records/mailboxes", f"records/mailboxes/{id}", "records/queues?q=nothing-like-this", "records/emails", "records/tracelogs", "audit", "access", "account", "nothing-here"]
        for page in pages:
            if page == "overview":
                sign_in(driver, console)
            driver.get(f"{console.pages}/{page}")
            assert driver.execute_script("return matchMedia('(prefers-color-scheme: dark)').matches") == (scheme == "dark")
            driver.execute_script(AXE)
            found = driver.execute_async_script("const done = arguments[arguments.length - 1]; axe.run(document, {resultTypes: ['violations']}).then(done)")
            assert [(v["id"], [n["html"][:120] for n in v["nodes"][:3]]) for v in found["violations"]] == [], page
            # Nothing sticks out to the side.
            assert driver.execute_script("return document.documentElement.scrollWidth") <= width, page
            driver.save_screenshot(str(SCREENSHOTS / f"{re.sub('[^a-z]+', '-', page.split('?')[0].replace(id, 'one'))}-{scheme}-{width}.png"))
    finally:
        driver.quit()
        assert console.request("DELETE", f"mailboxes({id})").status_code == 204


# What an attacker tries


def test_what_is_stored_is_never_markup(console):
    payload = "<script>document.title='taken'</script><img src=x onerror=\"document.title='taken'\">{{{t.name}}}"
    ids = [
        ("mailboxes", console.create("mailboxes", {"name": payload, "emailaddress": "\"><script>1</script>", "username": payload})),
        ("queues", console.create("queues", {"name": payload, "description": payload})),
        ("emailserverprofiles", console.create("emailserverprofiles", {"name": payload, "description": "</textarea><script>document.title='taken'</script>"})),
    ]
    driver = chromium()
    try:
        sign_in(driver, console)
        driver.implicitly_wait(0)
        for set, id in ids:
            for page in (f"records/{set}", f"records/{set}/{id}", f"records/{set}?q={payload}"):
                driver.get(f"{console.pages}/{page}")
                assert "taken" not in driver.title.replace(payload, ""), page
                assert not driver.find_elements(By.CSS_SELECTOR, "main script, main img")
    finally:
        driver.quit()
        for set, id in ids:
            console.request("DELETE", f"{set}({id})")


def test_forms_are_taken_from_the_console_s_own_pages_alone(console):
    session, csrf = visitor(console)
    change = f"{console.pages}/settings/data-encryption/change"
    version = console.sql("SELECT key_version FROM org_contoso.encryption")
    for data, headers in [
        ({"do": "change"}, {}), ({"do": "change", "csrf": "x"}, {}), ({"do": "change", "csrf": csrf}, {"Origin": "https://evil.test"}),
        ({"do": "change", "csrf": csrf}, {"Origin": "null"}), ({"do": "change", "csrf": csrf}, {"Origin": None}),
    ]:
        assert session.post(change, data, headers=headers, allow_redirects=False).status_code == 403, (data, headers)
    foreign = requests.post(f"{console.pages}/sign-in", {"name": "admin", "password": "x"}, verify=console.dev["caFile"], headers={"Origin": "https://evil.test"})
    assert foreign.status_code == 403 and "Set-Cookie" not in foreign.headers
    assert console.sql("SELECT key_version FROM org_contoso.encryption") == version
    # Another person's token, and one of an earlier session, are as good as none.
    _, other = visitor(console)
    assert other != csrf and session.post(change, {"do": "change", "csrf": other}, allow_redirects=False).status_code == 403


def test_sessions_are_new_at_each_sign_in_hashed_and_end(console):
    session = requests.Session()
    session.verify, session.trust_env = console.dev["caFile"], False
    session.headers["Origin"] = console.dev["baseURL"]
    session.cookies.set("__Host-fieldseal", "fixed-by-an-attacker", domain="localhost.local", path="/", secure=True)
    answer = session.post(f"{console.pages}/sign-in", {"name": "admin", "password": console.dev["console"]["password"]}, allow_redirects=False)
    cookie = answer.headers["Set-Cookie"]
    token = re.match(r"__Host-fieldseal=([\w-]{43});", cookie)[1]
    assert token != "fixed-by-an-attacker" and all(p in cookie for p in ("Path=/", "Secure", "HttpOnly", "SameSite=Strict")) and "Domain" not in cookie

    def page(token, path="overview", **headers):
        return requests.get(f"{console.pages}/{path}", verify=console.dev["caFile"], allow_redirects=False, headers={"Cookie": f"__Host-fieldseal={token}", **headers})

    first = page(token)
    csrf = re.search(r'name="csrf" value="(\w+)"', first.text)[1]
    assert first.status_code == 200
    assert console.sql("SELECT count(*) FROM config.console_session WHERE encode(token_hash, 'escape') LIKE %s", [f"%{token}%"]) == [(0,)]

    def post(token, path, **data):
        return requests.post(f"{console.pages}/{path}", data, verify=console.dev["caFile"], allow_redirects=False,
                             headers={"Cookie": f"__Host-fieldseal={token}", "Origin": console.dev["baseURL"]})

    # A key is shown only a short while after the password was typed; typing it again gives another session id.
    Attestor(console).age_sessions(fresh="10 minutes")
    asked = post(token, "settings/data-encryption/key", csrf=csrf)
    assert asked.status_code == 403 and 'action="/contoso/fresh"' in asked.text
    assert post(token, "fresh", csrf=csrf, password="wrong").status_code == 403
    fresh = post(token, "fresh", csrf=csrf, password=console.dev["console"]["password"])
    new = re.match(r"__Host-fieldseal=([\w-]{43});", fresh.headers["Set-Cookie"])[1]
    assert new != token and page(token).status_code == 303 and page(new).status_code == 200
    # The Web API knows no cookie, and another organization no session of this one.
    assert requests.get(f"{console.api}/mailboxes", verify=console.dev["caFile"], headers={"Cookie": f"__Host-fieldseal={new}"}).status_code == 401
    console.run("org", "create", "elsewhere")
    assert requests.get(f"{console.dev['baseURL']}/elsewhere/overview", verify=console.dev["caFile"], allow_redirects=False,
                        headers={"Cookie": f"__Host-fieldseal={new}"}).headers["Location"].startswith("/elsewhere/sign-in")
    # Idle for half an hour, or half a day old.
    console.sql("UPDATE config.console_session SET used_on = now() - interval '31 minutes'")
    assert page(new).status_code == 303
    session, csrf = visitor(console)
    Attestor(console).age_sessions(created="13 hours")
    assert session.get(f"{console.pages}/overview").url.split("?")[0].endswith("/sign-in")
    # Everywhere means everywhere.
    one, csrf = visitor(console)
    two, _ = visitor(console)
    one.post(f"{console.pages}/sign-out", {"csrf": csrf, "everywhere": "1"})
    assert all(s.get(f"{console.pages}/overview").url.split("?")[0].endswith("/sign-in") for s in (one, two))


def test_headers_redirects_and_hosts(console):
    session, _ = visitor(console)
    answer = session.get(f"{console.pages}/overview")
    policy = answer.headers["Content-Security-Policy"]
    assert "default-src 'none'" in policy and "unsafe" not in policy and "frame-ancestors 'none'" in policy
    assert answer.headers["Cache-Control"] == "no-store" and answer.headers["X-Content-Type-Options"] == "nosniff"
    assert "max-age" in answer.headers["Strict-Transport-Security"] and answer.headers["Referrer-Policy"] == "same-origin"
    assert re.search(r"<(script|style)>|\son\w+=|style=", answer.text) is None
    for then in ("//evil.test", "https://evil.test", "/\\evil.test", "..//evil.test", "%2f%2fevil.test"):
        where = session.post(f"{console.pages}/sign-in", {"name": "admin", "password": console.dev["console"]["password"], "then": then}, allow_redirects=False).headers["Location"]
        assert where.startswith("/contoso/"), (then, where)
    rebound = session.get(f"{console.pages}/overview", headers={"Host": "evil.test"})
    assert rebound.status_code == 421 and "csrf" not in rebound.text
    plain = requests.get(f"{console.dev['httpURL']}/contoso/settings/data-encryption", allow_redirects=False)
    assert plain.status_code == 308 and plain.headers["Location"].startswith(console.dev["baseURL"])
    assert f'<a href="{console.pages}/settings/data-encryption">' in plain.text
    assert session.get(f"{console.dev['baseURL']}/nobody/overview").status_code == 404


def test_a_row_that_a_dba_wrote_lets_nobody_in(console):
    console.sql("UPDATE config.console_user SET verifier = (SELECT verifier FROM config.console_user WHERE name = 'admin'), salt = (SELECT salt FROM config.console_user WHERE name = 'admin') WHERE name <> 'admin'")
    console.sql(
        "INSERT INTO config.console_user (user_id, organization_id, name, systemuser_id, role, salt, verifier, tag, created_by) "
        "SELECT gen_random_uuid(), organization_id, 'intruder', systemuser_id, role, salt, verifier, tag, 'dba' FROM config.console_user WHERE name = 'admin'")
    try:
        answer = requests.post(f"{console.pages}/sign-in", {"name": "intruder", "password": console.dev["console"]["password"]}, verify=console.dev["caFile"],
                               headers={"Origin": console.dev["baseURL"], "Accept-Language": "en"})
        assert answer.status_code == 403 and "one-time password is wrong" in answer.text
        assert "intruder" in json.dumps(json.loads(console.run("doctor", "--json", check=False).stdout))
    finally:
        console.sql("DELETE FROM config.console_user WHERE name = 'intruder'")


def test_sign_in_is_locked_after_ten_failures_for_that_name_alone(console):
    session = requests.Session()
    session.verify, session.trust_env = console.dev["caFile"], False
    session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en"})
    took = []
    codes = []
    # Unknown names share counts.
    console.sql("DELETE FROM config.failed_sign_in")
    for _ in range(11):
        began = time.monotonic()
        codes.append(session.post(f"{console.pages}/sign-in", {"name": "nobody", "password": "x"}).status_code)
        took.append(time.monotonic() - began)
    assert codes == [403] * 10 + [429]
    # Each failure makes the next attempt wait longer.
    assert all(seconds >= wait for seconds, wait in zip(took[3:10], [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2])), took
    # Many at once are no more than one at a time.
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        at_once = list(pool.map(lambda _: requests.post(
            f"{console.pages}/sign-in", {"name": "anybody", "password": "x"}, verify=console.dev["caFile"], headers={"Origin": console.dev["baseURL"]}).status_code, range(60)))
    assert set(at_once) == {403, 429} and at_once.count(403) <= 10
    assert visitor(console)[1]
