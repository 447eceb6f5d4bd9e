"""The console in a real Chromium: signing in, the encryption page, records, and what an attacker would try."""

import collections
import concurrent.futures
import contextlib
import html
import json
import re
import threading
import time
import urllib.parse

import psycopg
import requests
from one_time import one_time_password
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.support.ui import Select
from attested import Attestor
from console_browser import chromium, click, confirm, main, press, says, sign_in, wait
from service import Deployment
from html_forms import subject

def visitor(console):
    """A signed-in person without a browser. Returns the session and the CSRF token."""
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
    says(browser, "Saved.", "Made in the console", "Stored, encrypted")
    assert "pässword-from-the-console" not in html.unescape(browser.page_source)
    id = urllib.parse.urlsplit(browser.current_url).path.rsplit("/", 1)[1]
    assert console.opened_cells()[f"mailbox({id}).password"][1] == "pässword-from-the-console"
    click(browser, By.NAME, "password!clear")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Delete what is stored for “Password” of “Made in the console”?", "It can't be brought back.")
    press(browser, By.CSS_SELECTOR, "form.fields button.danger")
    says(browser, "Saved.", "Not set")
    # The console asks before it deletes a record, and the question names the record.
    press(browser, By.LINK_TEXT, "Delete")
    says(browser, "Delete Mailbox “Made in the console”?")
    press(browser, By.LINK_TEXT, "Cancel")
    press(browser, By.LINK_TEXT, "Delete")
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "Deleted.")
    assert console.get(f"mailboxes({id})").status_code == 404


def test_a_change_is_seen_while_it_runs_and_the_key_is_copied_out(console, browser):
    console.create("mailboxes", {"name": "changes", "password": "x"})
    browser.get(f"{console.pages}/settings/data-encryption")
    press(browser, By.PARTIAL_LINK_TEXT, "Change the key")
    key = browser.find_element(By.NAME, "key")
    for text, said, level in (("weak", "too weak", 0), ("passwort-1", "common word “passwort”", 2), ("A-key-of-the-console-1!", "meets the rules.", 4)):
        key.clear()
        key.send_keys(text)
        wait(browser, lambda d: said in d.find_element(By.ID, "strength").text)
        assert float(browser.find_element(By.ID, "meter").get_attribute("value")) == level, text
    press(browser, By.CSS_SELECTOR, "button[value=rehearse]")
    says(browser, "Test run: nothing was changed", "Saving would wait", "A change would succeed")
    for name in ("key", "again"):
        browser.find_element(By.NAME, name).send_keys("A-key-of-the-console-1!")
    press(browser, By.CSS_SELECTOR, "button[value=review]")
    says(browser, "Confirm", "The new key is the one that you typed.")
    assert "A-key-of-the-console-1!" not in browser.page_source
    seen = []
    [(mailbox,)] = console.sql("SELECT mailboxid FROM org_contoso.mailbox_cell LIMIT 1")
    with psycopg.connect(console.dev["postgres"]) as idle:
        # An open transaction delays the key change, so that its progress is visible.
        idle.execute("UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s", [mailbox])
        browser.find_element(By.CSS_SELECTOR, "button[value=change]").click()
        wait(browser, lambda d: seen.append(d.find_element(By.CSS_SELECTOR, ".working [role=status]").text) or "Waiting for open transactions" in seen[-1])
        idle.rollback()
    says(browser, "The key was changed.")
    press(browser, By.CSS_SELECTOR, "button.show-key")
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
    assert "A-ke" in file.text and "exclamation mark" in file.text and 'src="' not in file.text and "@import" not in file.text, "the file needs nothing else"


def test_a_change_can_be_cancelled_from_the_page(console, browser):
    console.create("mailboxes", {"name": "cancelled", "password": "x"})
    version = console.sql("SELECT key_version FROM org_contoso.encryption")
    browser.get(f"{console.pages}/settings/data-encryption/change")
    press(browser, By.CSS_SELECTOR, "button[value=review]")
    says(browser, "generated, with 160 random bits")
    [(mailbox,)] = console.sql("SELECT mailboxid FROM org_contoso.mailbox_cell WHERE password IS NOT NULL LIMIT 1")
    with psycopg.connect(console.dev["postgres"]) as idle:
        idle.execute("UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s", [mailbox])
        browser.find_element(By.CSS_SELECTOR, "button[value=change]").click()
        wait(browser, lambda d: d.find_element(By.CSS_SELECTOR, ".working [role=status]").text)
        browser.find_element(By.CSS_SELECTOR, ".working button").click()
        says(browser, "was cancelled by")
        idle.rollback()
    assert console.sql("SELECT key_version FROM org_contoso.encryption") == version


def test_a_lost_key_is_activated_by_what_the_page_says():
    with Deployment.made() as deployment:
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        deployment.set_key("Lost-and-found-'1'-key")
        deployment.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
        driver = chromium()
        try:
            sign_in(driver, deployment)
            says(driver, "encryption key is required")
            press(driver, By.CSS_SELECTOR, ".findings a[href*='data-encryption']")
            says(driver, "Key required", deployment.sql("SELECT fingerprint FROM org_contoso.encryption")[0][0])
            field = driver.find_element(By.NAME, "key")
            field.send_keys("Another-key-1!")
            press(driver, By.CSS_SELECTOR, "form[action$=activate] button")
            says(driver, "does not open")
            # After the refusal, the field still has the typed text, so that the person can correct it.
            assert driver.find_element(By.NAME, "key").get_attribute("value") == "Another-key-1!"
            driver.find_element(By.NAME, "key").clear()
            # The same key, as a word processor would change it: with other dashes and quotation marks, spaces, and a line break.
            driver.find_element(By.NAME, "key").send_keys("  Lost\u2013and\u2013found\u2013\u20181\u2019\u2013\nkey ")
            press(driver, By.CSS_SELECTOR, "form[action$=activate] button")
            says(driver, "encryption is active")
            assert deployment.is_active()
            # Drops the schema config with all sign-ins, as in the procedure of docs/console.md.
            deployment.sql("SET fieldseal.maintenance = 'on'; DROP SCHEMA config CASCADE")
            deployment.run("migrate", "up")
            deployment.run("org", "attach", "contoso")
            deployment.dev["console"] = {"username": "ada", "password": "ada's own password"}
            deployment.run("user", "add", "ada", "--role", "System Administrator", stdin="ada's own password\n")
            sign_in(driver, deployment)
            press(driver, By.CSS_SELECTOR, ".findings a[href*='data-encryption']")
            driver.find_element(By.NAME, "key").send_keys("Lost-and-found-'1'-key")
            press(driver, By.CSS_SELECTOR, "form[action$=activate] button")
            says(driver, "encryption is active")
            assert deployment.sql("SELECT count(*) FROM config.organization_key") == [(1,)]
        finally:
            driver.quit()


def test_a_conflict_compares_three_ways(console, browser):
    id = console.create("queues", {"name": "contended", "description": "first", "emailaddress": "q@contoso.test"})
    browser.get(f"{console.pages}/records/queues/{id}")
    # Another user changes the description and the name. This person, in the form, changes the name and the address.
    assert console.request("PATCH", f"queues({id})", {"description": "theirs", "name": "their name"}).status_code == 204
    for field, text in (("name", "my name"), ("emailaddress", "mine@contoso.test")):
        element = browser.find_element(By.ID, field)
        element.clear()
        element.send_keys(text)
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    conflict = browser.find_element(By.CSS_SELECTOR, ".conflict").text
    assert "dev-admin (client) changed this record" in conflict and "Description: first → theirs" in conflict
    assert "their name" in conflict and "my name" in conflict and "mine@contoso.test" not in conflict
    assert browser.find_element(By.ID, "description").get_attribute("value") == "theirs"
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Saved.")
    row = "SELECT name, description, emailaddress FROM org_contoso.queue WHERE queueid = %s"
    assert console.sql(row, [id]) == [("my name", "theirs", "mine@contoso.test")]
    # The page lets this person choose the other user's value.
    assert console.request("PATCH", f"queues({id})", {"name": "their second"}).status_code == 204
    browser.execute_script("document.getElementById('name').value = 'my second'")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    browser.find_element(By.CSS_SELECTOR, "input[name='name!choose'][value=theirs]").click()
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    # The chosen value is the record's present value, so nothing is saved.
    says(browser, "Nothing changed.")
    assert console.sql(row, [id]) == [("their second", "theirs", "mine@contoso.test")]


@contextlib.contextmanager
def cut_waiting(console):
    """While the block runs, closes each connection of the service that waits for a lock."""
    done = threading.Event()

    def cut():
        with psycopg.connect(console.dev["postgres"], autocommit=True) as connection:
            while not done.wait(0.05):
                connection.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service'")

    with concurrent.futures.ThreadPoolExecutor() as pool:
        cutting = pool.submit(cut)
        try:
            yield
        finally:
            done.set()
        cutting.result()


def test_a_form_comes_back_whole_when_the_database_is_lost(console, browser):
    id = console.create("mailboxes", {"name": "before the loss"})
    browser.get(f"{console.pages}/records/mailboxes/{id}")
    name = browser.find_element(By.ID, "name")
    name.clear()
    name.send_keys("typed before the loss")
    browser.find_element(By.ID, "password").send_keys("typed-before-the-loss")
    with psycopg.connect(console.dev["postgres"]) as holder:
        # Saving waits for this transaction. A thread ends each waiting connection, because the driver itself waits for the page.
        holder.execute("SELECT FROM org_contoso.mailbox WHERE mailboxid = %s FOR UPDATE", [id])
        with cut_waiting(console):
            press(browser, By.CSS_SELECTOR, "form.fields button.primary")
            says(browser, "The database can't be reached at the moment.")
        holder.rollback()
    assert browser.find_element(By.ID, "name").get_attribute("value") == "typed before the loss"
    assert "The new value is kept until you save" in main(browser) and "typed-before-the-loss" not in browser.page_source
    assert console.get(f"mailboxes({id})").json()["name"] == "before the loss"
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")
    says(browser, "Saved.", "typed before the loss", "Stored, encrypted")
    assert console.opened_cells()[f"mailbox({id}).password"][1] == "typed-before-the-loss"
    assert console.request("DELETE", f"mailboxes({id})").status_code == 204


def test_the_audit_shows_who_changed_what(console, browser):
    id = console.create("queues", {"name": "audited", "emailpassword": "never-in-the-audit"})
    assert console.request("PATCH", f"queues({id})", {"name": "renamed", "emailpassword": "nor-this", "queueviewtype": 1}).status_code == 204
    console.sql("UPDATE org_contoso.queue SET description = 'by a DBA' WHERE queueid = %s", [id])
    browser.get(f"{console.pages}/records/queues/{id}")
    press(browser, By.LINK_TEXT, "History")
    says(browser, "Changes of renamed")
    lines = browser.find_elements(By.CSS_SELECTOR, ".lines > li")
    for line in lines:
        line.find_element(By.TAG_NAME, "summary").click()
    rows = [line.text for line in lines]
    assert len(rows) == 4 and "by SQL, as postgres" in rows[0] and "by a DBA" in rows[0]
    assert "Password: replaced" in rows[1] and "dev-admin" in rows[1]
    assert "audited → renamed" in rows[2] and "Everyone → Members only" in rows[2] and "dev-admin" in rows[2]
    assert "Created" in rows[3] and "Password: set" in rows[3]
    assert "never-in-the-audit" not in browser.page_source and "nor-this" not in browser.page_source
    Select(browser.find_element(By.NAME, "table")).select_by_value("mailbox")
    press(browser, By.CSS_SELECTOR, "form.filters button")
    says(browser, "Nothing matches these filters.")
    exported = visitor(console)[0].get(f"{console.pages}/audit.csv?id={id}")
    assert exported.headers["Content-Type"].startswith("text/csv") and "nor-this" not in exported.text
    assert '"audited","renamed"' in exported.text and '"replaced"' in exported.text


def caller(console, name, password):
    """A person without a browser, whose sign-in may fail."""
    session = requests.Session()
    session.verify, session.trust_env = console.dev["caFile"], False
    session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en"})
    return session, session.post(f"{console.pages}/sign-in", {"name": name, "password": password})


def test_a_person_is_invited_given_a_role_and_disabled(console, browser):
    browser.get(f"{console.pages}/access")
    press(browser, By.LINK_TEXT, "Add a person")
    browser.find_element(By.NAME, "name").send_keys("Grace")
    # The role with the fewest rights is selected at first, and the form does not require a password.
    assert browser.find_element(By.CSS_SELECTOR, "input[name=role]:checked").get_attribute("value") == "Basic User"
    press(browser, By.CSS_SELECTOR, "form[action$=add-user] button.primary")
    link = browser.find_element(By.CSS_SELECTOR, "output.secret").text
    page = browser.current_url
    guest = requests.Session()
    guest.verify, guest.trust_env = console.dev["caFile"], False
    guest.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en"})
    token = link.split("token=")[1]
    assert "Grace" in guest.get(link).text and guest.get(link + "x").status_code == 404
    form = {"token": token, "password": "grace's own password", "again": "grace's own password"}
    address = f"{console.pages}/invitation"
    assert guest.post(address, {**form, "again": "another"}).status_code == 400 and guest.post(address, {**form, "password": "short", "again": "short"}).status_code == 400
    accepted = guest.post(address, form).text
    assert "Your password is set" in accepted and '<input name="name" value="Grace"' in accepted
    assert guest.get(link).status_code == 404 and guest.post(address, {**form, "password": "somebody else's", "again": "somebody else's"}).status_code == 404, "it works once"
    other, answer = caller(console, "grace", "grace's own password")
    assert "Data Encryption" not in answer.text and answer.url.endswith("/overview")
    assert other.get(f"{console.pages}/settings/data-encryption").status_code == 403
    [(id,)] = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'Grace'")
    browser.get(f"{console.pages}/access/people/{id}")
    browser.find_element(By.CSS_SELECTOR, "input[name=role][value='System Administrator']").click()
    press(browser, By.XPATH, "//button[text()='Change role']")
    says(browser, "Give Grace another role?", "Grace is Basic User now, and becomes System Administrator at once.")
    assert other.get(f"{console.pages}/settings/data-encryption").status_code == 403, "the question alone changes nothing"
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "Grace is System Administrator now. Before: Basic User.")
    assert other.get(f"{console.pages}/settings/data-encryption").status_code == 200
    press(browser, By.PARTIAL_LINK_TEXT, "Disable")
    says(browser, "Disable Grace?")
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "Grace was disabled and signed out.")
    assert other.get(f"{console.pages}/overview").url.split("?")[0].endswith("/sign-in") and caller(console, "grace", "grace's own password")[1].status_code == 403
    press(browser, By.XPATH, "//main//button[text()='Enable']")
    says(browser, "Grace was enabled.")
    assert caller(console, "grace", "grace's own password")[1].status_code == 200
    assert page and not [k for k in console.json("doctor", check=False)["findings"] if "not-made-here" in k["code"]]


def test_the_last_administrator_stays(console):
    session, csrf = visitor(console)
    for other in console.sql("SELECT name FROM config.console_user WHERE role = 'System Administrator' AND name <> 'admin' AND disabled_on IS NULL"):
        console.run("user", "disable", other[0])
    [(id,)] = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'admin'")
    for action, more in (("disable-user", {}), ("role-user", {"role": "Basic User", "confirmed": subject("role-user", id, "System Administrator", "Basic User")})):
        answer = session.post(f"{console.pages}/access/{action}", {"csrf": csrf, "id": id, **more})
        assert answer.status_code == 400 and "last System Administrator" in answer.text
    assert visitor(console)[1]


def test_a_client_gets_another_secret_and_is_disabled(console, browser):
    browser.get(f"{console.pages}/access/clients/new")
    browser.find_element(By.NAME, "name").send_keys("importer")
    press(browser, By.CSS_SELECTOR, "form[action$=add-client] button.primary")
    first = browser.find_element(By.CSS_SELECTOR, "output.secret").text
    [(id,)] = console.sql("SELECT client_id::text FROM config.api_client WHERE name = 'importer'")
    assert console.token_response(id, first).status_code == 200
    press(browser, By.XPATH, "//button[text()='Create another secret']")
    second = browser.find_element(By.CSS_SELECTOR, "output.secret").text
    assert second != first and console.token_response(id, first).status_code == 200 and console.token_response(id, second).status_code == 200
    # A client can have two valid secrets. A third secret ends the first, after a question.
    press(browser, By.XPATH, "//button[text()='Create another secret']")
    assert console.token_response(id, first).status_code == 200
    press(browser, By.CSS_SELECTOR, "form[action$=rotate-client] button.danger")
    assert console.token_response(id, first).status_code == 401, "two at a time"
    assert console.token_response(id, second).status_code == 200
    press(browser, By.PARTIAL_LINK_TEXT, "Disable")
    press(browser, By.CSS_SELECTOR, "button.danger")
    says(browser, "importer was disabled.")
    assert console.token_response(id, second).status_code in (400, 401, 403)
    press(browser, By.XPATH, "//main//button[text()='Enable']")
    says(browser, "importer was enabled.")
    assert console.token_response(id, second).status_code == 200


def test_a_person_changes_their_own_password_and_ends_sessions(console):
    console.run("user", "add", "joan", "--role", "Basic User", stdin="joan's own password\n")
    one, answer = caller(console, "joan", "joan's own password")
    two, _ = caller(console, "joan", "joan's own password")
    csrf = re.search(r'name="csrf" value="(\w+)"', answer.text)[1]
    page = one.get(f"{console.pages}/account").text
    others = re.findall(r'name="id" value="([0-9a-f]{64})"', page)
    assert len(others) == 1 and "this session" in page
    one.post(f"{console.pages}/account/end-session", {"csrf": csrf, "id": others[0], "confirmed": subject("account/end-session", others[0])})
    assert two.get(f"{console.pages}/account").url.split("?")[0].endswith("/sign-in") and one.get(f"{console.pages}/account").url.endswith("/account")
    two, _ = caller(console, "joan", "joan's own password")
    form = {"csrf": csrf, "old": "joan's own password", "new": "another password of joan", "again": "another password of joan"}
    for wrong, status in (({"old": "x"}, 403), ({"again": "x"}, 400), ({"new": "short", "again": "short"}, 400)):
        assert one.post(f"{console.pages}/account/password", {**form, **wrong}).status_code == status
    assert "Your password was changed." in one.post(f"{console.pages}/account/password", form).text
    assert two.get(f"{console.pages}/account").url.split("?")[0].endswith("/sign-in"), "other sessions end"
    assert caller(console, "joan", "joan's own password")[1].status_code == 403 and caller(console, "joan", "another password of joan")[1].status_code == 200


def test_a_form_goes_on_after_the_password_was_typed_again(console):
    session, csrf = visitor(console)
    Attestor(console).age_sessions(fresh="10 minutes")
    asked = session.post(f"{console.pages}/access/add-client", {"csrf": csrf, "name": "after a pause", "role": "Basic User"})
    assert asked.status_code == 403 and console.sql("SELECT count(*) FROM config.api_client WHERE name = 'after a pause'") == [(0,)]
    kept = re.search(r'name="kept" value="([\w-]+)"', asked.text)[1]
    assert "after a pause" not in asked.text
    wrong = session.post(f"{console.pages}/fresh", {"csrf": csrf, "kept": kept, "password": "wrong"})
    assert wrong.status_code == 403 and kept in wrong.text
    done = session.post(f"{console.pages}/fresh", {"csrf": csrf, "kept": kept, "password": console.dev["console"]["password"]})
    assert done.status_code == 200 and "Only this page shows it" in done.text
    assert console.sql("SELECT count(*) FROM config.api_client WHERE name = 'after a pause'") == [(1,)]
    # The service does not accept a form that was sealed for another person, or that was changed.
    console.run("user", "add", "mallory", "--role", "System Administrator", stdin="mallory's password\n")
    stranger, answer = caller(console, "mallory", "mallory's password")
    other = re.search(r'name="csrf" value="(\w+)"', answer.text)[1]
    for form in (kept, kept[:-2] + "AA"):
        assert stranger.post(f"{console.pages}/fresh", {"csrf": other, "kept": form, "password": "mallory's password"}).url.endswith("/overview")
        other = re.search(r'name="csrf" value="(\w+)"', stranger.get(f"{console.pages}/overview").text)[1]
    assert console.sql("SELECT count(*) FROM config.api_client WHERE name = 'after a pause'") == [(1,)]
    console.run("user", "disable", "mallory")


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
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    wrong = session.post(f"{console.pages}/account/confirm", {"csrf": csrf, "sealed": sealed, "code": "000000"})
    assert wrong.status_code == 400 and attempt("")[1].status_code == 200
    # Uses the code of the previous time step, so that the codes of this step and the next remain for signing in.
    codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", session.post(f"{console.pages}/account/confirm", {"csrf": csrf, "sealed": sealed, "code": one_time_password(secret, -1)}).text)
    assert len(codes) == 10
    assert attempt("")[1].status_code == 403
    code = one_time_password(secret)
    assert attempt(code, "another password")[1].status_code == 403
    assert attempt(code)[1].status_code == 200
    assert attempt(code)[1].status_code == 403, "a code is taken once"
    assert attempt(codes[0].lower())[1].status_code == 200 and attempt(codes[0])[1].status_code == 403
    assert secret.replace(" ", "") not in json.dumps(console.sql("SELECT encode(totp, 'escape') FROM config.console_user"))
    # If SQL removes the second factor of a person, that person can't sign in any more.
    [(totp,)] = console.sql("SELECT totp FROM config.console_user WHERE name = 'hedy'")
    console.sql("UPDATE config.console_user SET totp = NULL WHERE name = 'hedy'")
    assert attempt("")[1].status_code == 403
    console.sql("UPDATE config.console_user SET totp = %s WHERE name = 'hedy'", [totp])
    console.run("user", "reset", "hedy", "--org", "contoso", stdin="a new password of hers\n")
    session, answer = attempt("", "a new password of hers")
    assert answer.status_code == 200


def test_the_overview_says_what_the_doctor_finds(console):
    session, _ = visitor(console)
    assert "A guard of the database is switched off." not in session.get(f"{console.pages}/overview").text
    console.sql("SET fieldseal.maintenance = 'on'; ALTER TABLE org_contoso.queue DISABLE TRIGGER keeps_id")
    try:
        assert "A guard of the database is switched off." in session.get(f"{console.pages}/overview").text
        german = session.get(f"{console.pages}/overview", headers={"Accept-Language": "de"}).text
        assert "Eine Schutzregel der Datenbank ist abgeschaltet." in german and "org_contoso.queue.keeps_id" in german
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
    page = session.get(f"{console.pages}/overview", headers={"Accept-Language": "it;q=0.9, de-CH;q=0.8, en;q=0.1"}).text
    assert '<html lang="de">' in page and "Handlungsbedarf" in page


# Without JavaScript, on a phone, with the keyboard and zoomed


def test_it_is_whole_without_script(console):
    driver = chromium(script=False)
    try:
        sign_in(driver, console, "settings/data-encryption/change")
        version = console.sql("SELECT key_version FROM org_contoso.encryption")[0][0]
        press(driver, By.CSS_SELECTOR, "button[value=review]")
        press(driver, By.CSS_SELECTOR, "button[value=change]")
        says(driver, "The key was changed.")
        assert console.sql("SELECT key_version FROM org_contoso.encryption")[0][0] == version + 1
        # The menu on a phone opens, and its links work.
        driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 360, "height": 740, "deviceScaleFactor": 1, "mobile": False})
        assert not driver.find_element(By.ID, "nav").is_displayed()
        driver.find_element(By.LINK_TEXT, "Menu").click()
        press(driver, By.LINK_TEXT, "Queues")
        assert driver.current_url.endswith("/records/queues")
    finally:
        driver.quit()


def test_it_is_worked_by_the_keyboard_alone(console):
    driver = chromium()
    try:
        driver.get(f"{console.pages}/settings/data-encryption/change")
        driver.switch_to.active_element.send_keys(console.dev["console"]["username"], Keys.TAB)
        driver.switch_to.active_element.send_keys(console.dev["console"]["password"], Keys.ENTER)
        wait(driver, lambda d: "Change the key" in d.title)
        first = None
        for _ in range(60):
            driver.switch_to.active_element.send_keys(Keys.TAB)
            element = driver.switch_to.active_element
            first = first or element.text
            outline = driver.execute_script("return getComputedStyle(arguments[0]).outlineStyle", element)
            assert outline != "none", element.get_attribute("outerHTML")
            if element.get_attribute("value") == "rehearse":
                element.send_keys(Keys.ENTER)
                break
        assert first == "Skip to the content"
        says(driver, "Test run: nothing was changed")
    finally:
        driver.quit()


def words(browser):
    """The words of a page. In a narrow window, each value of a list has its column's name beside it."""
    heads = browser.execute_script("return [...document.querySelectorAll('main thead')].map(head => head.innerText).join(' ')")
    return collections.Counter(main(browser).split()) - collections.Counter(heads.split())


def test_at_200_percent_nothing_is_lost(console, browser):
    """Zooms to 200 percent, as the browser's menu does (WCAG 2.2, 1.4.4). Every word is visible, and nothing is wider than the window."""
    id = console.create("mailboxes", {"name": "zoomed " * 10, "password": "x"})
    browser.set_window_size(1280, 900)
    for page in ["overview", "settings/data-encryption", "settings/data-encryption/change", "records/mailboxes", f"records/mailboxes/{id}", "events", "audit", "access", "account", "connect"]:
        browser.get(f"{console.pages}/{page}")
        plain = words(browser)
        # Zooming to 200 percent makes the window half as many CSS pixels wide, and each CSS pixel twice as large.
        browser.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", {"width": 640, "height": 450, "deviceScaleFactor": 2, "mobile": False})
        assert browser.execute_script("return [innerWidth, devicePixelRatio]") == [640, 2]
        assert browser.execute_script("return document.documentElement.scrollWidth") <= 640, page
        # In a narrow window, a row of a list has two lines and another order, but the same words.
        assert words(browser) == plain, page
        for element in browser.find_elements(By.CSS_SELECTOR, "main button, main input:not([type=hidden]), main a"):
            box = element.rect
            inside = browser.execute_script("return !!arguments[0].closest('.scroll')", element)
            assert inside or box["x"] >= 0 and box["x"] + box["width"] <= 640, (page, element.get_attribute("outerHTML"))
        browser.execute_cdp_cmd("Emulation.clearDeviceMetricsOverride", {})
    console.request("DELETE", f"mailboxes({id})")


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
    # The CSRF token of another person, or of an earlier session, is refused like a missing token.
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
        answer = requests.post(f"{console.pages}/{path}", data, verify=console.dev["caFile"], allow_redirects=False,
                               headers={"Cookie": f"__Host-fieldseal={token}", "Origin": console.dev["baseURL"]})
        # The response to a form that asks redirects to the address of the question.
        asked = answer.headers.get("Location", "")
        return page(token, asked.removeprefix("/contoso/")) if "?asked=" in asked else answer

    # The key is shown only within minutes after the password was entered. Entering the password again makes a new session id.
    Attestor(console).age_sessions(fresh="10 minutes")
    asked = post(token, "settings/data-encryption/key", csrf=csrf)
    assert asked.status_code == 403 and 'action="/contoso/fresh"' in asked.text
    assert post(token, "fresh", csrf=csrf, password="wrong").status_code == 403
    fresh = post(token, "fresh", csrf=csrf, password=console.dev["console"]["password"])
    new = re.match(r"__Host-fieldseal=([\w-]{43});", fresh.headers["Set-Cookie"])[1]
    assert new != token and page(token).status_code == 303 and page(new).status_code == 200
    # The Web API does not accept the console's cookie. Another organization does not accept a session of this one.
    assert requests.get(f"{console.api}/mailboxes", verify=console.dev["caFile"], headers={"Cookie": f"__Host-fieldseal={new}"}).status_code == 401
    console.run("org", "create", "elsewhere")
    assert requests.get(f"{console.dev['baseURL']}/elsewhere/overview", verify=console.dev["caFile"], allow_redirects=False,
                        headers={"Cookie": f"__Host-fieldseal={new}"}).headers["Location"].startswith("/elsewhere/sign-in")
    # A session stays valid if its last use is two seconds in the future: another request of the same browser can be processed earlier.
    console.sql("UPDATE config.console_session SET used_on = now() + interval '2 seconds'")
    assert page(new).status_code == 200
    # A session ends after half an hour without use, and after half a day.
    console.sql("UPDATE config.console_session SET used_on = now() - interval '31 minutes'")
    assert page(new).status_code == 303
    session, csrf = visitor(console)
    Attestor(console).age_sessions(created="13 hours")
    assert session.get(f"{console.pages}/overview").url.split("?")[0].endswith("/sign-in")
    # "Sign out everywhere" ends all sessions of the person.
    one, csrf = visitor(console)
    two, _ = visitor(console)
    one.post(f"{console.pages}/sign-out", {"csrf": csrf, "everywhere": "1", "confirmed": subject("sign-out", "admin")})
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
    console.sql("DELETE FROM config.failed_sign_in")
    for _ in range(11):
        began = time.monotonic()
        codes.append(session.post(f"{console.pages}/sign-in", {"name": "nobody", "password": "x"}).status_code)
        took.append(time.monotonic() - began)
    assert codes == [403] * 10 + [429]
    # Each failed attempt makes the next one take longer.
    assert all(seconds >= wait for seconds, wait in zip(took[3:10], [0.1, 0.2, 0.4, 0.8, 1.6, 2, 2])), took
    # Attempts that are sent at the same time count in the same way as attempts one after another.
    console.sql("DELETE FROM config.failed_sign_in")
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        at_once = list(pool.map(lambda _: requests.post(
            f"{console.pages}/sign-in", {"name": "anybody", "password": "x"}, verify=console.dev["caFile"], headers={"Origin": console.dev["baseURL"]}).status_code, range(60)))
    assert set(at_once) == {403, 429} and at_once.count(403) <= 10
    assert visitor(console)[1]
