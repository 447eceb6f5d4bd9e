"""Each form either is harmless, for a given reason, or asks first. The question names the subject, and says what can be undone."""

import pathlib
import re

import pytest
import test_console_pages
from attested import Attestor
from console_browser import chromium, confirm, main, press, sign_in, wait
from html_forms import form, forms
from selenium.webdriver.common.by import By
from test_console_access import Visitor, text
from test_console_tasks import Person

ROOT = pathlib.Path(__file__).parents[4]
console = test_console_pages.console

#: Forms that do not ask, and why that is harmless.
HARMLESS = {
    "sign-in": "gives a session, and takes nothing",
    "sign-in/kept": "is the question itself: it shows what waits",
    "fresh": "is a question itself: it takes the password",
    "invitation": "sets the first password, or another one, of the person who has the link",
    "sign-out": "the person signs in again",
    "account/waits": "goes on with what waits",
    "account/drop": "throws away what was typed and not saved, as its button says",
    "account/offer": "shows a secret, and turns nothing on",
    "account/confirm": "takes a code of the secret; two-step sign-in can be turned off again",
    "account/end": "takes a code of the authenticator; two-step sign-in can be turned on again",
    "account/codes": "takes a code of the authenticator",
    "account/password": "takes the present password, and the new one twice",
    "settings/data-encryption/strength": "judges what is typed",
    "settings/data-encryption/key": "shows the key, after the password was typed",
    "settings/data-encryption/key?sheet=1": "shows the key, after the password was typed",
    "settings/data-encryption/key?sheet=file": "shows the key, after the password was typed",
    "settings/data-encryption/kept": "says that there is a copy",
    "settings/data-encryption/change?do=rehearse": "is a test run, and changes nothing",
    "settings/data-encryption/change?do=review": "leads to the question",
    "settings/data-encryption/cancel": "leaves the former key in use; a change starts again",
    "settings/data-encryption/activate": "takes the right key only, and opens what was closed",
    "settings/approvals/approve": "is the answer to another person's question, which its row names; it takes the password",
    "settings/approvals/refuse": "the other person can ask again",
    "records/:set/:id/reply-all": "sends what was typed, and is one e-mail however often it is sent",
    "access/add-user": "adds a person, who can be removed",
    "access/team?do=add": "adds a member, who can be removed",
    "access/team?do=make": "makes a team, and the form has the owner to choose again",
    "access/enable-user": "gives access back that can be ended again",
    "access/mailbox-user": "makes a mailbox, which can be deleted on its page",
    "access/invite-user": "shows a link; the former password holds until it is used",
    "access/add-client": "adds a client, which can be removed",
    "access/enable-client": "gives access back that can be ended again",
    "access/user-without-sign-in?do=enable": "the user can be disabled again",
    "access/rotate-client": "the former secret is accepted for as long as the form says; that it ends at once is asked",
    "access/rules": "requires more; that less is required is asked",
    "connect": "adds a mailbox, which can be deleted",
    "views/keep": "stores a name for the address of a list",
    "views/remove": "the view is there again as soon as it is kept again",
    "records/:set/bulk": "does nothing without a button",
    "records/:set/bulk?do=test": "a test changes no mail; that it approves addresses is asked",
    "records/:set/bulk?do=enable": "a mailbox can be disabled again",
    "records/:set/:id": "can be typed again, and *Changes* has the former values; that a password is deleted is asked",
    "records/:set/:id/do?do=test": "a test changes no mail",
    "records/:set/:id/do?do=enable": "a mailbox can be disabled again",
    "records/:set/:id/reply": "sends the e-mail that its page shows, to whom it names",
    "records/:set/:id/again": "sends the e-mail that its page shows, to whom it names",
    "records/:set/:id/forward": "sends the e-mail that its page shows, to whom it names",
    "compose": "sends the e-mail that its page shows, to whom it names",
}
#: Forms that ask: the page, the values chosen on it, and texts of the question. If the page is None, the form is only on the page of the question.
ASKS = {
    "sign-out?everywhere=1": ("account", {}, ("Sign out admin everywhere?", "You can sign in again")),
    "account/end-session": ("account", {}, ("End the session of admin from ", "can sign in again")),
    "access/end-user-sessions": ("person", {}, ("End all sessions of grace?", "can sign in again")),
    "access/end-user-session": ("person", {}, ("End the session of grace from ", "can sign in again")),
    "access/withdraw-invitation": ("person-invited", {}, ("Withdraw the link for katherine?", "You can create a new link")),
    "access/role-user": ("person", {"role": "System Administrator"}, ("Give grace another role?", "sets the earlier role")),
    "access/hand-over-user": ("person", {"to": "{admin}"}, ("Hand over what belongs to grace to admin?", "There is no way back in one step", "1 queue")),
    "access/reset-user": (None, "access/people/{grace}/reset", ("Reset the password of grace?", "The former password does not come back")),
    "access/disable-user": (None, "access/people/{grace}/disable", ("Disable grace?", "you can enable the person again")),
    "access/remove-user": (None, "access/people/{grace}/remove", ("Remove grace?", "can't be undone")),
    "access/team?do=remove": ("queue-team", {}, ("Remove grace from the team Front desk?", "adds members again")),
    "access/user-without-sign-in?do=disable": ("colleague", {}, ("Disable Anna Leaves?", "you can enable the user again")),
    "access/user-without-sign-in?do=hand-over": ("colleague", {"to": "{admin}"}, ("Hand over what belongs to Anna Leaves to admin?", "There is no way back in one step", "1 queue")),
    "access/role-client": ("client", {"role": "Basic User"}, ("Give dev-admin another role?", "sets the earlier role")),
    "access/disable-client": (None, "access/clients/{client}/disable", ("Disable dev-admin?", "enable it again")),
    "access/remove-client": (None, "access/clients/{client}/remove", ("Remove dev-admin?", "can't be undone")),
    "access/end-secret-client": ("client", {}, ("End this secret of dev-admin?", "at once")),
    "settings/data-encryption/change?do=change": (None, None, ()),
    "settings/data-encryption/gone": (None, None, ()),
    "records/:set/bulk?do=disable": ("mailboxes", {"id.{box}": "Ada King"}, ("Disable 1 mailbox?", "until you enable it again", "Ada King")),
    "records/:set/bulk?do=approve": ("mailboxes", {"id.{unapproved}": "x"}, ("Approve 1 address?", "routers get the stored passwords")),
    "records/:set/bulk?do=profile": (
        "mailboxes", {"id.{box}": "Ada King", "profile": "Own servers"},
        ("Give 1 mailbox the server profile “Own servers”?", "The former profiles are not remembered", "Ada King")),
    "records/:set/:id/delete": (None, "records/mailboxes/{box}/delete", ("Delete Mailbox “Ada King”?", "can't be undone")),
    "records/:set/:id/do?do=approve": ("mailbox-long", {}, ("Approve ", "for the mailbox", "routers get the stored passwords")),
    "records/:set/:id/do?do=disable": ("mailbox", {}, ("Disable Ada King?", "until you enable it again", "password stays stored")),
}
#: Forms that ask only if a dangerous value is chosen.
CHOICES = [
    ("client", "access/rotate-client", ("", ""), {"overlap": "0"}, ("at once",)),
    ("mailbox", "records/:set/:id", ("", ""), {"password!clear": "1"}, ("Delete what is stored for “Password” of “Ada King”?", "can't be brought back")),
    ("profile", "records/:set/:id", ("", ""), {"incomingpassword!clear": "1", "outgoingpassword!clear": "1"}, ("“IONOS”", "can't be brought back")),
    ("unapproved", "records/:set/bulk", ("do", "test"), {"id.{unapproved}": "x"}, ("Approve ", "too?")),
    ("sign-in-rules", "access/rules", ("", ""), {"role.System Administrator": None, "role.Email Administrator": None, "role.Basic User": None}, ("Allow sign-in with a password alone?",)),
]


@pytest.fixture(scope="module")
def ids(console):
    """Makes a person with a queue and a session, a client with two secrets, and a second session of the administrator. Returns the ids."""
    Visitor(console), Visitor(console, "grace", "a password of theirs")
    [(grace, user)] = console.sql("SELECT user_id::text, systemuser_id::text FROM config.console_user WHERE name = 'grace'")
    queue = console.create("queues", {"name": "of grace", "emailpassword": "q"})
    assert console.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/systemusers({user})"}).status_code == 204
    assert console.request("PATCH", f"emailserverprofiles({console.ids['profile']})", {"incomingpassword": "in", "outgoingpassword": "out"}).status_code == 204
    colleague = console.create("systemusers", {"fullname": "Anna Leaves", "domainname": "CONTOSO\\anna"})
    console.create("queues", {"name": "of Anna", "ownerid@odata.bind": f"/systemusers({colleague})"})
    console.wanted["colleague"] = f"records/usersettingscollection/{colleague}"
    [(admin,)] = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'admin'")
    client = console.wanted["client"].rsplit("/", 1)[1]
    [(unapproved,)] = console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE emailrouteraccessapproval <> 1 AND emailserverprofile IS NOT NULL LIMIT 1")
    Person(console).send("access/rotate-client", id=client, overlap="24")
    return {"grace": grace, "admin": admin, "client": client, "box": console.ids["mailbox"], "unapproved": unapproved}


def routes():
    """The route of every form, read from the sources."""
    source = (ROOT / "Sources/Console/Console+Routes.swift").read_text()
    listed = (ROOT / "Sources/Console/Access/AccessPages.swift").read_text()
    actions = {
        "access": re.findall(r'"([\w-]+)"', re.search(r"(?s)accessActions = \[(.*?)\]", listed)[1]),
        "account": re.findall(r'"([\w-]+)"', re.search(r'for action in \[([^\]]*)\] \{\s*post\(router, "account', source)[1]),
        "settings/approvals": ["approve", "refuse"]}
    source = source.replace("\\(path)", "settings/data-encryption").replace("\\(Self.approvalsPath)", "settings/approvals")
    for path in re.findall(r'(?:\bpost\(router, |open\(router, \.post, )"([^"]*)"', source):
        place, _, action = path.rpartition("/")
        yield from (f"{place}/{name}" for name in actions[place]) if action == "\\(action)" else [path]
    yield from test_console_pages.composing_routes()


def route(action):
    """The route that matches the address of a form."""
    path = re.split("[?#]", action.removeprefix("/contoso/"))[0]
    for pattern in sorted(set(routes()), key=lambda pattern: pattern.count(":")):
        if re.fullmatch(re.sub(r":\w+", "[^/]+", pattern), path):
            return pattern
    raise AssertionError(f"no route takes {action}")


def key(form, button):
    name, value = button
    known = name and f"{route(form.action)}?{name}={value}"
    return known if name in ("do", "sheet", "everywhere") else route(form.action)


def is_question(form, page):
    return "card prose" in form.attributes and re.search(">Cancel</(a|button)>", form.content)


def test_each_route_that_takes_a_form_is_harmless_or_asks():
    known = {entry.split("?")[0] for entry in (*HARMLESS, *ASKS)}
    found = set(routes())
    assert len(found) > 45 and found == known, found ^ known
    assert not HARMLESS.keys() & ASKS.keys()


def test_each_button_of_each_page_is_harmless_or_asks(console, ids):
    admin, seen = Person(console), set()
    for name, path in {**console.wanted, "unapproved": "records/mailboxes?status=unapproved"}.items():
        page = admin.session.get(f"{console.pages}/{path}").text
        for found in forms(page):
            for button in found.buttons:
                if not (button[0] in ("confirmed", "approves") or is_question(found, page)):
                    assert key(found, button) in HARMLESS or ASKS[key(found, button)][0], (name, key(found, button))
                seen.add(key(found, button))
    # Forms that no page of this list has: their pages are responses to forms, or need a state that these tests don't have.
    rare = {
        "sign-in", "sign-in/kept", "fresh", "account/waits", "account/drop", "account/confirm", "account/end", "account/codes", "settings/data-encryption/strength", "settings/data-encryption/kept",
        "settings/data-encryption/change?do=change", "settings/data-encryption/gone", "settings/data-encryption/cancel", "settings/data-encryption/activate", "settings/approvals/approve",
        "settings/approvals/refuse", "access/enable-user", "access/enable-client", "access/user-without-sign-in?do=enable", "views/remove", "records/:set/:id/do?do=enable",
        "records/:set/bulk", "records/:set/:id/reply-all"}
    assert seen | rare == HARMLESS.keys() | ASKS.keys(), (HARMLESS.keys() | ASKS.keys()) ^ (seen | rare)


def state(console):
    """Digests of the rows that a question must not change."""
    tables = ["config.console_user", "config.api_client", "config.api_client_secret", "org_contoso.mailbox", "org_contoso.mailbox_cell", "org_contoso.queue",
              "org_contoso.emailserverprofile_cell", "org_contoso.emailserverprofile"]
    return [console.sql(f"SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM {table} AS t")[0] for table in tables] + console.sql("SELECT count(*) FROM config.console_session")


def filled(value, ids):
    for name, id in ids.items():
        value = value.replace(f"{{{name}}}", id)
    return value


def asked(console, ids, path, action, button, chosen, **wanted):
    """Opens a page and sends one of its forms with the given values. Returns the response, and the state before it."""
    admin = Person(console)
    [page] = [found for found in forms(admin.get(path).text) if route(found.action) == action and button in found.buttons and wanted.items() <= found.fields.items()][:1]
    fields = page.fields | {filled(name, ids): value and filled(value, ids) for name, value in chosen.items()} | ({button[0]: button[1]} if button[0] else {})
    before = state(console)
    answer = admin.send(page.action.removeprefix("/contoso/"), **{name: value for name, value in fields.items() if value is not None})
    assert answer.status_code == 200, answer.text[:2000]
    return answer.text, before


def check(console, page, before, says):
    said = text(type("Answer", (), {"text": page}))
    assert all(words in said for words in says), (says, said)
    assert state(console) == before, "the question alone changes nothing"
    assert re.search(r'<button class="(danger|primary)"', page) and re.search(">Cancel</(a|button)>", page)


@pytest.mark.parametrize("name", [name for name, (page, _, _) in ASKS.items() if page])
def test_a_question_names_its_object_and_the_way_back(console, ids, name):
    page, chosen, says = ASKS[name]
    action, _, button = name.partition("?")
    answer, before = asked(console, ids, console.wanted[page], action, tuple(button.split("=")) if button else ("", ""), chosen)
    assert any("card prose" in found.attributes and found.fields.get("confirmed") or any(name == "confirmed" for name, _ in found.buttons) for found in forms(answer)), answer
    check(console, answer, before, says)


@pytest.mark.parametrize("name", [name for name, (page, path, _) in ASKS.items() if not page and path])
def test_a_page_of_a_question_names_its_object_and_the_way_back(console, ids, name):
    _, path, says = ASKS[name]
    admin = Person(console)
    before, page = state(console), admin.get(filled(path, ids)).text
    assert route(form(page, name.split("/")[-1]).action) == name
    check(console, page, before, says)


def test_dangerous_choices_are_asked(console, ids):
    admin = Person(console)
    # Sets a requirement, so that the form can remove it.
    assert "were saved" in admin.send("access/rules", **{"role.Email Administrator": "1"}).text
    wanted = {**console.wanted, "unapproved": "records/mailboxes?status=unapproved"}
    for page, action, button, chosen, says in CHOICES:
        answer, before = asked(console, ids, wanted[page], action, button, chosen)
        check(console, answer, before, says)


def test_a_password_is_deleted_after_the_question_with_what_else_was_typed(console, ids):
    answer, _ = asked(console, ids, f"records/mailboxes/{ids['box']}", "records/:set/:id", ("", ""), {"password!clear": "1", "username": "typed along"})
    again = form(answer, f"records/mailboxes/{ids['box']}", username="typed along")
    admin = Person(console)
    saved = admin.send(f"records/mailboxes/{ids['box']}", **again.fields, confirmed="clear: password")
    assert "Saved." in saved.text and f"mailbox({ids['box']}).password" not in console.opened_cells()
    assert console.get(f"mailboxes({ids['box']})?$select=username").json()["username"] == "typed along"


def test_a_password_is_reset_on_the_page_that_asks(console, ids):
    admin, her = Person(console), Visitor(console, "katherine", "a password of theirs")
    [(id,)] = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'katherine'")
    question = form(admin.get(f"access/people/{id}/reset").text, "access/reset-user")
    refused = admin.send("access/reset-user", **{**question.fields, "password": "short"})
    assert refused.status_code == 400 and "Reset the password of katherine?" in refused.text and 'class="problem"' in refused.text
    assert her.get("overview").url.endswith("/overview")
    done = admin.send("access/reset-user", **{**question.fields, "password": "quite another phrase"})
    assert "The password of katherine was reset." in done.text and her.get("overview").url.split("?")[0].endswith("/sign-in")


def pressed(admin, question, action):
    """Confirms the question on a page. Returns the next page."""
    [found] = [found for found in forms(question.text) if found.action.endswith(action) and "card prose" in found.attributes]
    button = next((button for button in found.buttons if button[0]), None)
    return admin.send(action, **found.fields | ({button[0]: button[1]} if button else {}))


def test_an_answer_confirms_what_the_question_named(console):
    """If the subject changes between the question and the confirmation, the page asks again."""
    admin = Person(console)
    for name in ("leaver", "heiress"):
        console.run("user", "add", name, "--role", "Basic User", stdin="a password of theirs\n")
    ids = dict(console.sql("SELECT name, user_id::text FROM config.console_user WHERE name IN ('leaver', 'heiress')"))
    users = dict(console.sql("SELECT name, systemuser_id::text FROM config.console_user WHERE name IN ('leaver', 'heiress')"))

    def owned():
        return console.sql("SELECT count(*) FROM org_contoso.mailbox WHERE ownerid = %s", [users["leaver"]])[0][0]

    def mailbox(name, **values):
        return console.create("mailboxes", {"name": name, "ownerid@odata.bind": f"/systemusers({users['leaver']})", **values})

    # Meanwhile, the person gets a second mailbox.
    mailbox("first of the leaver")
    asked = admin.send("access/hand-over-user", id=ids["leaver"], to=ids["heiress"])
    second = mailbox("second of the leaver")
    for sent in ({"confirmed": "1"}, form_of_question(asked, "access/hand-over-user")):
        again = admin.send("access/hand-over-user", **{"id": ids["leaver"], "to": ids["heiress"]} | sent)
        assert "2 mailboxes" in text(again) and owned() == 2, text(again)
    assert "handed over" in text(pressed(admin, again, "access/hand-over-user")) and owned() == 0
    # Meanwhile, the person gets another role.
    asked = admin.send("access/role-user", id=ids["leaver"], role="System Administrator")
    console.run("user", "role", "leaver", "Email Administrator")
    again = pressed(admin, asked, "access/role-user")
    assert "Email Administrator" in text(again) and console.sql("SELECT role FROM config.console_user WHERE name = 'leaver'") == [("Email Administrator",)]
    # Meanwhile, the person gets another link.
    admin.send("access/invite-user", id=ids["leaver"])
    asked = admin.send("access/withdraw-invitation", id=ids["leaver"])
    admin.send("access/invite-user", id=ids["leaver"])
    assert "Withdraw the link" in text(pressed(admin, asked, "access/withdraw-invitation"))
    assert console.sql("SELECT invitation IS NOT NULL FROM config.console_user WHERE name = 'leaver'") == [(True,)]
    # Meanwhile, the mailbox gets another address, and later another name.
    chosen = {"returns": "/contoso/records/mailboxes", f"id.{second}": "second of the leaver"}
    asked = admin.send("records/mailboxes/bulk", **chosen, do="disable")
    assert console.request("PATCH", f"mailboxes({second})", {"emailaddress": "renamed@contoso.example"}).status_code == 204
    again = pressed(admin, asked, "records/mailboxes/bulk")
    assert "renamed@contoso.example" in text(again) and console.sql("SELECT statecode FROM org_contoso.mailbox WHERE mailboxid = %s", [second]) == [(0,)]
    assert "1 mailbox was disabled." in text(pressed(admin, again, "records/mailboxes/bulk"))
    asked = admin.send(f"records/mailboxes/{second}/do", do="enable")
    asked = admin.send(f"records/mailboxes/{second}/do", do="disable")
    assert console.request("PATCH", f"mailboxes({second})", {"name": "quite another"}).status_code == 204
    assert "Disable quite another?" in text(pressed(admin, asked, f"records/mailboxes/{second}/do"))
    # The confirmation approves only the address that the question named.
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'IONOS'")
    assert console.request("PATCH", f"mailboxes({second})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}).status_code == 204
    asked = admin.send(f"records/mailboxes/{second}/do", do="test")
    assert console.request("PATCH", f"mailboxes({second})", {"emailaddress": "swapped@contoso.example"}).status_code == 204
    again = pressed(admin, asked, f"records/mailboxes/{second}/do")
    assert "Approve swapped@contoso.example, too?" in text(again)
    assert console.sql("SELECT emailrouteraccessapproval FROM org_contoso.mailbox WHERE mailboxid = %s", [second]) == [(0,)]


def form_of_question(question, action):
    return next(found.fields for found in forms(question.text) if found.action.endswith(action))


# Going back, reloading and cancelling


def test_a_question_has_an_address_of_its_own(console):
    """The page of a question can be reloaded and visited again without sending a form. Only its person can open it, and opening it changes
    nothing."""
    admin, other = Person(console), Visitor(console, "katherine", "quite another phrase")
    box = console.create("mailboxes", {"name": "led to"})
    asked = admin.send(f"records/mailboxes/{box}/do", do="disable")
    [sent] = asked.history
    assert sent.status_code == 303 and "Disable led to?" in text(asked)
    again = admin.session.get(asked.url)
    assert "Disable led to?" in text(again) and not again.history
    assert console.sql("SELECT statecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(0,)]
    assert "Disable led to?" not in text(other.session.get(asked.url))
    # If the address of the question's page is changed, the page does not show the question.
    for url in (asked.url.replace("/do?", "/delete?"), asked.url[:-3] + "AAA"):
        assert "Disable led to?" not in text(admin.session.get(url)), url
    assert "was disabled" in text(pressed(admin, again, f"records/mailboxes/{box}/do")) or console.sql("SELECT statecode FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(1,)]


@pytest.mark.parametrize("script", [True, False])
def test_back_leads_to_a_page_wherever_a_form_was_answered(console, script):
    box = console.create("mailboxes", {"name": "way back"})
    driver = chromium(script=script)

    def went_back(*then):
        """Follows the link or presses the button, and goes back. Returns the text of the page."""
        press(driver, *then)
        driver.back()
        wait(driver, lambda d: d.find_elements(By.CSS_SELECTOR, "body[data-locale]"))
        return main(driver)

    try:
        sign_in(driver, console)
        elsewhere = (By.CSS_SELECTOR, "nav a[href$='/shortcuts'], .who a[href$='/shortcuts']")
        # Going back leads to the question.
        driver.get(f"{console.pages}/records/mailboxes/{box}")
        press(driver, By.CSS_SELECTOR, "button[value=disable]")
        assert "Disable way back?" in went_back(*elsewhere)
        press(driver, By.CSS_SELECTOR, "main button.danger")
        driver.back()
        wait(driver, lambda d: "Disable way back?" in main(d))
        # Going back leads to the page that asks for the password.
        Attestor(console).age_sessions(fresh="10 minutes")
        driver.get(f"{console.pages}/settings/data-encryption")
        press(driver, By.CSS_SELECTOR, "form[action$='/key'] button:not([name])")
        assert "password" in went_back(*elsewhere).lower()
        if not script:
            return
        # Going back does not lead to the page with the key. The page says that the browser does not keep it.
        confirm(driver, console)
        assert "Keep it away from this server" in main(driver)
        assert "The browser does not keep that page" in went_back(By.LINK_TEXT, "Done")
        # Going back also works after an error in a form, a step of the key change, and a refused sign-in.
        driver.get(f"{console.pages}/records/mailboxes/{box}")
        address = driver.find_element(By.ID, "emailaddress")
        address.send_keys("nonsense")
        driver.execute_script("arguments[0].form.noValidate = true", address)
        press(driver, By.CSS_SELECTOR, ".save button.primary")
        assert "way back" in went_back(*elsewhere)
        driver.get(f"{console.pages}/settings/data-encryption/change")
        press(driver, By.CSS_SELECTOR, "button[value=review]")
        assert "Change the key" in went_back(*elsewhere)
        press(driver, By.CSS_SELECTOR, "form[action$='/sign-out'] button")
        for name, secret in (("admin", "wrong"), ("admin", console.dev["console"]["password"])):
            for field, value in (("name", name), ("password", secret)):
                element = driver.find_element(By.NAME, field)
                element.clear()
                element.send_keys(value)
            press(driver, By.CSS_SELECTOR, "main button")
        driver.back()
        wait(driver, lambda d: d.find_elements(By.CSS_SELECTOR, "body[data-locale]"))
    finally:
        driver.quit()


def test_cancel_leads_back_to_what_was_typed_and_to_no_secret(console):
    visitor = Visitor(console)
    typed = {
        "access/add-user": ("access/people/new", {"name": "typed person", "role": "Email Administrator", "how": "password", "password": "a typed secret"}),
        "access/add-client": ("access/clients/new", {"name": "typed client", "role": "Email Router", "expires": "90"}),
        "access/rules": ("access/rules", {"loaded": "", "role.Basic User": "1"})}
    people = console.sql("SELECT count(*) FROM config.console_user")
    for action, (page, fields) in typed.items():
        Attestor(console).age_sessions(fresh="10 minutes")
        asked = form(visitor.send(action, **fields).text, "/fresh")
        assert ("cancel", "1") in asked.buttons, action
        # After a wrong password, the page still has the Cancel button.
        asked = form(visitor.send("fresh", **asked.fields | {"password": "wrong"}).text, "/fresh")
        back = visitor.send("fresh", **asked.fields | {"password": "", "cancel": "1"})
        assert back.status_code == 200 and f'data-answer="/contoso/{page}"' in back.text, back.text
        shown = form(back.text, f"/{action}").fields
        assert {**fields, "password": ""}.items() >= {name: shown[name] for name in fields if name in shown}.items() and "a typed secret" not in back.text, shown
        assert ("type it again" in text(back)) == ("password" in fields)
    assert console.sql("SELECT count(*) FROM config.console_user") == people
    # If nothing was typed, *Cancel* is a link and no button of the form.
    Attestor(console).age_sessions(fresh="10 minutes")
    assert form(visitor.send("settings/data-encryption/key").text, "/fresh").buttons == [("", "")]
