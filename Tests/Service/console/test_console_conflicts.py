"""Two people edit a record, or a person types and then presses another button: no input is lost without a notice."""

import html
import re

import pytest
from console_browser import main, press, says
from selenium.webdriver.common.by import By
from html_forms import attributes_of, form as browser_form
from selenium.webdriver.common.keys import Keys
from test_console_access import Visitor, password, person, text

#: Each encrypted attribute: the collection of its records, its name, and the values of a new record.
SECRETS = [
    ("mailboxes", "password", {"name": "box of two", "username": "first"}),
    ("emailserverprofiles", "incomingpassword", {"name": "profile of two"}),
    ("emailserverprofiles", "outgoingpassword", {"name": "profile of two"}),
    ("queues", "emailpassword", {"name": "queue of two"}),
    ("usersettingscollection", "emailpassword", None),
]
TABLES = {"mailboxes": "mailbox", "emailserverprofiles": "emailserverprofile", "queues": "queue", "usersettingscollection": "usersettings"}


def record(console, entity_set, values):
    if values is None:
        return console.sql("SELECT systemuserid::text FROM org_contoso.usersettings ORDER BY systemuserid LIMIT 1")[0][0]
    return console.create(entity_set, values)


def form(answer):
    """The fields of a record's form as the page shows them, without boxes that are not ticked."""
    part = re.search(r'(?s)<form method="post" action="[^"]*" class="fields" id="record">.*?</form>', answer.text)[0]
    fields = {name: html.unescape(value) for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', part)}
    for name, value in re.findall(r'<input id="[^"]+" name="([^"]+)" value="([^"]*)"', part):
        fields[name] = html.unescape(value)
    for name in re.findall(r'<input type="checkbox" id="([^"]+)" name="[^"]+" value="true" checked', part):
        fields[name] = "true"
    return fields


def contested(answer):
    """The attributes and values between which the page about a conflict asks the person to choose."""
    return re.findall(r'<input type="radio" name="([^"]+)!choose" value="(\w+)"', answer.text)


def stored(console, entity_set, id, attribute):
    cell = console.opened_cells().get(f"{TABLES[entity_set]}({id}).{attribute}")
    return cell and cell[1]


@pytest.mark.parametrize(("entity_set", "attribute", "values"), SECRETS, ids=[f"{s}.{a}" for s, a, _ in SECRETS])
def test_a_password_that_two_people_set_is_asked_for(console, entity_set, attribute, values):
    id, admin = record(console, entity_set, values), Visitor(console)
    path = f"records/{entity_set}/{id}"
    console.request("PATCH", f"{entity_set}({id})", {attribute: "set before"})

    def conflict(theirs, **mine):
        """Another person saves the record after this person opened the form. Returns the response to this person's form."""
        before = form(admin.get(path))
        assert console.request("PATCH", f"{entity_set}({id})", {attribute: theirs}).status_code == 204
        answer = admin.session.post(f"{admin.pages}/{path}", {**before, attribute: "", **mine})
        assert answer.status_code == 409, text(answer)
        return answer

    asked = conflict("theirs of two", **{attribute: "mine of two"})
    assert contested(asked) == [(attribute, "theirs"), (attribute, "yours")]
    assert "different fields" not in text(asked) and "The value that is stored now" in text(asked)
    assert "mine of two" not in asked.text and "theirs of two" not in asked.text
    # At first no value is chosen, and a form without a choice changes nothing.
    assert not re.search(rf'name="{attribute}!choose"[^>]* checked', asked.text) and "required" in re.search(rf'<input type="radio" name="{attribute}!choose"[^>]*>', asked.text)[0]
    for choice, now in ((None, "theirs of two"), ("theirs", "theirs of two"), ("yours", "mine of two")):
        asked = conflict("theirs of two", **{attribute: "mine of two"}) if choice else asked
        fields = {**form(asked), attribute: "", **({f"{attribute}!choose": choice} if choice else {})}
        assert admin.session.post(f"{admin.pages}/{path}", fields).status_code == 200
        assert stored(console, entity_set, id, attribute) == now, choice
    # The page asks before this person deletes a value that the other person set. If only the other person set the value, the page reports it and
    # does not ask.
    asked = conflict("theirs again", **{f"{attribute}!clear": "1", "confirmed": f"clear: {attribute}"})
    assert contested(asked) == [(attribute, "theirs"), (attribute, "yours")]
    told = conflict("theirs alone", **({"name": "renamed by me"} if values else {"emailusername": "renamed by me"}))
    assert contested(told) == [] and "New value" in text(told)


def test_a_form_with_a_mistake_is_compared_as_well(console):
    """After the mistake is corrected, the page still compares: the other person's values are not overwritten."""
    id, admin = record(console, "mailboxes", {"name": "box of mistakes", "username": "first", "password": "set before"}), Visitor(console)
    path = f"records/mailboxes/{id}"
    before = form(admin.get(path))
    assert console.request("PATCH", f"mailboxes({id})", {"username": "theirs", "password": "theirs"}).status_code == 204
    mistaken = admin.session.post(f"{admin.pages}/{path}", {**before, "password": "mine", "emailaddress": "no address"})
    assert mistaken.status_code == 400
    asked = admin.session.post(f"{admin.pages}/{path}", {**form(mistaken), "password": "", "emailaddress": ""})
    assert asked.status_code == 409 and contested(asked) == [("password", "theirs"), ("password", "yours")] and "first → theirs" in text(asked)
    assert admin.session.post(f"{admin.pages}/{path}", {**form(asked), "password": "", "password!choose": "theirs"}).status_code == 200
    assert stored(console, "mailboxes", id, "password") == "theirs" and console.get(f"mailboxes({id})").json()["username"] == "theirs"


def test_what_the_router_and_the_service_write_is_no_persons_change(console):
    """The page reports values that another person changed, but not values that the router or the service wrote."""
    id, admin = record(console, "mailboxes", {"name": "box of a router", "username": "first"}), Visitor(console)
    path = f"records/mailboxes/{id}"
    before = form(admin.get(path))
    assert console.request("PATCH", f"mailboxes({id})", {"username": "theirs"}).status_code == 204
    # Writes values that a router reports, and values that the service derives from them.
    console.sql(
        """UPDATE org_contoso.mailbox SET incomingemailstatus = 2, outgoingemailstatus = 2, mailboxstatus = 2, enabledforincomingemail = false, enabledforoutgoingemail = false,
                  lastsyncerror = 'refused', lastsyncerrorcode = 10, lastsyncerrorcount = 3, lastsyncerrormachinename = 'vm/1/A', itemsprocessedforlastsync = 1,
                  itemsfailedforlastsync = 1, testemailconfigurationscheduled = true, emailrouteraccessapproval = 3 WHERE mailboxid = %s""", [id])
    told = admin.session.post(f"{admin.pages}/{path}", {**before, "name": "renamed", "password": ""})
    assert told.status_code == 409 and contested(told) == []
    box = re.search(r'(?s)class="warning conflict".*?</section>', told.text)[0]
    assert re.findall(r"<li>([^<]*?) <del>([^<]*)</del>", box) == [("User name:", "first")], box
    # Saving this form keeps the values of the router and the service.
    assert admin.session.post(f"{admin.pages}/{path}", {**form(told), "password": ""}).status_code == 200
    stands = "SELECT username, name, incomingemailstatus, lastsyncerrorcode, itemsprocessedforlastsync FROM org_contoso.mailbox WHERE mailboxid = %s"
    assert console.sql(stands, [id]) == [("theirs", "renamed", 2, 10, 1)]


def test_a_key_change_is_no_change_of_a_password(console):
    id, admin = record(console, "mailboxes", {"name": "box of a key", "username": "first", "password": "stays"}), Visitor(console)
    before = form(admin.get(f"records/mailboxes/{id}"))
    assert console.set_key("Another-key-of-two-1!").status_code in (200, 204)
    assert console.request("PATCH", f"mailboxes({id})", {"username": "theirs"}).status_code == 204
    told = admin.session.post(f"{admin.pages}/records/mailboxes/{id}", {**before, "name": "renamed", "password": ""})
    assert told.status_code == 409 and contested(told) == [] and "Password" not in re.search(r'(?s)class="warning conflict".*?</section>', told.text)[0]


# Other buttons


def test_an_action_saves_what_was_typed_first(console):
    """The button sends the whole form, so this works without JavaScript."""
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")
    id = console.create("mailboxes", {"name": "acting box", "password": "old", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    admin = Visitor(console)
    page = admin.get(f"records/mailboxes/{id}")
    for action in ("test", "approve", "disable", "enable"):
        page = admin.get(f"records/mailboxes/{id}")
        buttons = re.findall(r'<button[^>]*form="record"[^>]*name="do" value="(\w+)"', page.text)
        if action not in buttons:
            continue
        fields = {**form(page), "username": f"typed before {action}", "password": f"typed for {action}", "do": action}
        answer = admin.session.post(f"{admin.pages}/records/mailboxes/{id}/do", fields)
        assert answer.status_code == 200, text(answer)
        assert stored(console, "mailboxes", id, "password") == f"typed for {action}" and console.get(f"mailboxes({id})").json()["username"] == f"typed before {action}"
        console.sql("UPDATE org_contoso.mailbox SET testemailconfigurationscheduled = false WHERE mailboxid = %s", [id])
    # If the form can't be saved, the service does not do the action either.
    page = admin.get(f"records/mailboxes/{id}")
    refused = admin.session.post(f"{admin.pages}/records/mailboxes/{id}/do", {**form(page), "emailaddress": "no address", "password": "kept", "do": "test"})
    assert refused.status_code == 400 and "kept until you save" in text(refused)
    assert console.sql("SELECT testemailconfigurationscheduled FROM org_contoso.mailbox WHERE mailboxid = %s", [id]) == [(False,)]
    # If the form has no changes, the action does not save the record, and there is no conflict with another person's change.
    before = form(admin.get(f"records/mailboxes/{id}"))
    assert console.request("PATCH", f"mailboxes({id})", {"username": "theirs"}).status_code == 204
    assert admin.session.post(f"{admin.pages}/records/mailboxes/{id}/do", {**before, "password": "", "do": "approve"}).status_code == 200


def state(console, id):
    return console.sql("SELECT statecode, testemailconfigurationscheduled, emailrouteraccessapproval = 1 FROM org_contoso.mailbox WHERE mailboxid = %s", [id])[0]


def test_an_action_that_had_to_wait_is_named_and_can_be_done(console):
    """After a mistake, a conflict or a question about a password, the page names the action that was not done yet, and offers it."""
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")
    id = console.create("mailboxes", {"name": "waiting box", "emailaddress": "waiting@contoso.example", "password": "old", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    admin, path = Visitor(console), f"records/mailboxes/{id}"

    def send(page, button, **typed):
        """Presses a button of the page: sends its form, with the address and the value of the button."""
        [tag] = re.findall(rf"<button([^>]*)>{re.escape(html.escape(button, quote=False))}<", page.text)
        address = attributes_of(tag).get("formaction")
        sent = dict(re.findall(r'name="([^"]+)" value="([^"]*)"', tag))
        hidden = {"approves": "1"} if 'name="approves" value="1"' in page.text else {}
        return admin.session.post(f"{console.base}{address}" if address else f"{admin.pages}/{path}", {**form(page), **hidden, **sent, "password": "", **typed})

    # The form has a mistake.
    told = send(admin.get(path), "Disable", emailaddress="nonsense")
    assert told.status_code == 400 and "“Disable” was not done yet" in text(told)
    asked = send(told, "Save, then “Disable”", emailaddress="corrected@contoso.example")
    assert "Disable waiting box?" in text(asked) and console.get(f"mailboxes({id})").json()["emailaddress"] == "corrected@contoso.example"
    # Another person changed the record.
    before = admin.get(path)
    assert console.request("PATCH", f"mailboxes({id})", {"username": "theirs"}).status_code == 204
    told = send(before, "Approve, test &amp; enable".replace("&amp;", "&"), name="waiting and renamed")
    assert told.status_code == 409 and "“Approve, test & enable” was not done yet" in text(told)
    assert state(console, id) == (0, False, False)
    done = send(told, "Save, then “Approve, test & enable”")
    assert done.url.endswith("?done=testing#status-title"), text(done)
    assert state(console, id) == (0, True, True) and console.get(f"mailboxes({id})").json()["name"] == "waiting and renamed"
    # The button "Save" saves, and does not do the action.
    before = admin.get(path)
    assert console.request("PATCH", f"mailboxes({id})", {"username": "theirs again"}).status_code == 204
    told = send(before, "Disable", name="renamed again")
    assert send(told, "Save").url.endswith("?done=saved") and state(console, id)[0] == 0
    # Confirming the deletion of the password does not confirm the action.
    told = send(admin.get(path), "Disable", **{"password!clear": "1"})
    assert "Delete what is stored for “Password”" in text(told) and "“Disable” was not done yet" in text(told)
    asked = send(told, "Delete and save", **{"password!clear": "1"})
    assert "Disable renamed again?" in text(asked) and stored(console, "mailboxes", id, "password") is None and state(console, id)[0] == 0


def test_what_was_typed_for_a_deleted_record_is_kept(console):
    id, admin = console.create("mailboxes", {"name": "deleted box", "username": "first"}), Visitor(console)
    before = form(admin.get(f"records/mailboxes/{id}"))
    assert console.request("DELETE", f"mailboxes({id})").status_code == 204
    told = admin.session.post(f"{admin.pages}/records/mailboxes/{id}", {**before, "username": "typed for long", "password": "typed too"})
    assert told.status_code == 409 and "Another person deleted this record while you were editing it." in text(told)
    assert 'value="typed for long"' in told.text and "kept until you save" in text(told) and "typed too" not in told.text
    made = admin.session.post(f"{admin.pages}/records/mailboxes/new", {**form(told), "password": "", "belongs": "none"})
    assert "Saved." in made.text, text(made)
    new = re.search(r"records/mailboxes/([-0-9a-f]{36})", made.url)[1]
    assert new != id and stored(console, "mailboxes", new, "password") == "typed too" and console.get(f"mailboxes({new})").json()["username"] == "typed for long"
    # A person who can't see a record gets the same page, whether it exists or not. The page still has what they typed.
    person(console, "reader of few")
    few = Visitor(console, "reader of few", password("reader of few"))
    other = console.create("mailboxes", {"name": "of another"})
    for unseen in (id, other):
        told = few.send(f"records/mailboxes/{unseen}", **{name: value for name, value in before.items() if name != "csrf"} | {"username": "typed as well"})
        assert told.status_code == 409 and "or it is no longer yours" in text(told) and "typed as well" in told.text
        assert '<button class="primary">Save<' not in told.text


def test_a_save_without_a_change_writes_nothing(console):
    admin = Visitor(console)
    for entity_set, values in (("mailboxes", {"name": "left as it is", "username": "first", "password": "stays"}), ("emailserverprofiles", {"name": "left as it is"}),
                               ("queues", {"name": "left as it is"}), ("usersettingscollection", None)):
        id = record(console, entity_set, values)
        if values is None:
            assert console.request("PATCH", f"{entity_set}({id})", {"emailusername": "set by the service"}).status_code == 204
        path, table = f"records/{entity_set}/{id}", TABLES[entity_set]
        key = "systemuserid" if values is None else f"{table}id"
        stands = f"SELECT to_jsonb(r) FROM org_contoso.{table} AS r WHERE {key} = %s"
        before = console.sql(stands, [id])
        answer = admin.send(path, **browser_form(admin.get(path).text, f"/{id}").fields)
        assert answer.url.endswith("?done=nothingChanged") and "Nothing changed." in text(answer), (entity_set, text(answer))
        assert console.sql(stands, [id]) == before


@pytest.fixture
def planted(console):
    """Makes a profile and a mailbox, and changes both with SQL. The third value is a function that lists which of them the doctor reports."""
    profile = console.create("emailserverprofiles", {"name": "planted servers", "incomingserverlocation": "in.contoso.example", "incomingportnumber": 993})
    box = console.create("mailboxes", {"name": "planted box", "username": "first", "password": "a password", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    console.sql("UPDATE org_contoso.emailserverprofile SET incomingserverlocation = 'other.contoso.example' WHERE emailserverprofileid = %s", [profile])
    console.sql("UPDATE org_contoso.mailbox SET username = 'other' WHERE mailboxid = %s", [box])

    def named():
        found = [finding for finding in console.json("doctor", check=False)["findings"] if finding["code"] == "mail-settings-not-authorized"]
        return [id for id in (profile, box) if id in str(found)]

    assert named() == [profile, box]
    return profile, box, named


def test_a_save_confirms_servers_that_sql_wrote_after_a_question(console, planted):
    """An administrator saves the form, as the doctor advises. The question shows which servers and accounts this confirms."""
    profile, box, named = planted
    admin = Visitor(console)
    for path, shown in ((f"records/emailserverprofiles/{profile}", "other.contoso.example"), (f"records/mailboxes/{box}", "other")):
        end = path.split("records")[1]
        asked = admin.send(path, **browser_form(admin.get(path).text, end).fields)
        assert "Are these the right servers and accounts?" in text(asked) and shown in text(asked), path
        fields = browser_form(asked.text, end).fields
        # A confirmation of other settings is not valid here.
        assert "Are these the right servers" in text(admin.send(path, **fields | {"confirmed": "settings: others"}))
        assert len(named()) > 0
        answer = html.unescape(re.search(r'name="confirmed" value="([^"]*)"', asked.text)[1])
        assert "Saved." in admin.send(path, **fields | {"confirmed": answer}).text, path
    assert named() == []


def test_the_question_before_a_mailbox_is_confirmed_names_the_servers_of_its_holders_password(console):
    """The question names the default server only for a direction that has no server."""
    admin = Visitor(console)
    queue, other = (console.create("queues", {"name": f"{name} of the servers", "emailaddress": f"{name}-of-servers@contoso.example"}) for name in ("first", "other"))
    box = console.request("GET", f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    console.sql("UPDATE org_contoso.mailbox SET regardingobjectid = %s WHERE mailboxid = %s", [other, box])

    def asked():
        page = admin.get(f"records/mailboxes/{box}").text
        return text(admin.send(f"records/mailboxes/{box}", **browser_form(page, f"/{box}").fields))

    assert f"No server is set yet. Once there is one, a password that is stored for Queue: other of the servers ({other}) may go there." in asked()
    servers = {"incomingserverlocation": "in.contoso.example", "outgoingserverlocation": "out.contoso.example", "defaultserverlocation": "default.contoso.example"}
    profile = console.create("emailserverprofiles", {"name": "servers of the question", **servers})
    console.sql("UPDATE org_contoso.mailbox SET emailserverprofile = %s WHERE mailboxid = %s", [profile, box])
    for changed, named in (({}, "in.contoso.example, out.contoso.example"), ({"outgoingserverlocation": None}, "in.contoso.example, default.contoso.example"),
                           ({"incomingserverlocation": None}, "default.contoso.example")):
        assert not changed or console.request("PATCH", f"emailserverprofiles({profile})", changed).status_code == 204
        question = asked()
        assert f"A password that is stored for Queue: other of the servers ({other}) may then go to {named}." in question, question
        refused = console.request("PATCH", f"mailboxes({box})", {"username": "asked over the API"}).json()["error"]["message"]
        assert f"the queue {other}, whose stored credential may go to {named}" in refused, refused


def test_the_question_names_whose_password_goes_where(console, planted):
    profile, box, named = planted
    queues = [console.create("queues", {"name": f"queue {name} of the question"}) for name in ("one", "two")]

    def give(queue):
        console.sql("UPDATE org_contoso.mailbox SET regardingobjectid = %s, regardingobjecttypecode = 'queue' WHERE mailboxid = %s", [queue, box])

    admin, path = Visitor(console), f"records/mailboxes/{box}"

    def asked(**fields):
        answer = admin.send(path, **fields)
        return answer, browser_form(answer.text, f"/{box}").fields if "Are these the right" in text(answer) else {}

    give(queues[0])
    answer, fields = asked(**browser_form(admin.get(path).text, f"/{box}").fields)
    assert f"queue one of the question ({queues[0]})" in text(answer) and "may then go to other.contoso.example" in text(answer)
    answer = html.unescape(re.search(r'name="confirmed" value="([^"]*)"', answer.text)[1])
    # SQL changes the mailbox between the question and the confirmation, so the page asks again.
    give(queues[1])
    again, fields = asked(**fields | {"confirmed": answer})
    assert f"queue two of the question ({queues[1]})" in text(again) and box in named()
    answer = html.unescape(re.search(r'name="confirmed" value="([^"]*)"', again.text)[1])
    assert "Saved." in admin.send(path, **fields | {"confirmed": answer}).text
    assert box not in named()


def test_nothing_else_confirms_servers_that_sql_wrote(console, planted):
    """Neither the buttons beside the form nor an Email Administrator's save confirms servers that SQL wrote."""
    profile, box, named = planted
    person(console, "planted-mail", "Email Administrator")
    admin, other = Visitor(console), Visitor(console, "planted-mail", password("planted-mail"))
    path = f"records/mailboxes/{box}"
    question = admin.send(f"{path}/do", **browser_form(admin.get(path).text, f"/{box}").fields | {"do": "disable"})
    assert "Are these the right" not in text(question) and named() == [profile, box]
    for path, changed in ((f"records/emailserverprofiles/{profile}", "name"), (f"records/mailboxes/{box}", "name")):
        fields = browser_form(other.get(path).text, path.split("records")[1]).fields
        assert other.send(path, **fields).url.endswith("?done=nothingChanged")
        assert "Saved." in text(other.send(path, **fields | {changed: "another name"}))
    assert named() == [profile, box]
    (released,) = console.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'credential released' AND details LIKE %s", [f"%{box}%"])[0]
    assert released == 0


def test_the_enter_key_saves_and_acts_not(console, browser):
    id = console.create("mailboxes", {"name": "entered box"})
    browser.get(f"{console.pages}/records/mailboxes/{id}")
    field = browser.find_element(By.ID, "username")
    field.send_keys("typed")
    field.send_keys(Keys.ENTER)
    says(browser, "Saved.")
    assert console.sql("SELECT username, emailrouteraccessapproval = 1, statecode FROM org_contoso.mailbox WHERE mailboxid = %s", [id]) == [("typed", False, 0)]


def test_a_typed_password_is_there_for_the_test(console, browser):
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")
    id = console.create("mailboxes", {"name": "tested box", "password": "old", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    browser.get(f"{console.pages}/records/mailboxes/{id}")
    assert "Changes in the form below are saved first." in main(browser)
    browser.find_element(By.ID, "password").send_keys("the right one")
    press(browser, By.CSS_SELECTOR, "button[value=test]")
    assert stored(console, "mailboxes", id, "password") == "the right one"


def test_other_buttons_of_a_page_warn_of_what_was_typed(console, browser):
    queue = console.create("queues", {"name": "queue of buttons"})
    browser.get(f"{console.pages}/records/queues/{queue}")
    browser.find_element(By.ID, "description").send_keys("typed and not saved")
    browser.find_element(By.LINK_TEXT, "Delete").click()
    says(browser, "is not saved")
    assert "/delete" not in browser.current_url
    press(browser, By.LINK_TEXT, "Delete")
    assert "/delete" in browser.current_url
    # On a page with several forms, another button does not send its form while a choice in the first form is not saved.
    id = person(console, "buttoned")
    browser.get(f"{console.pages}/access/people/{id}")
    browser.find_element(By.CSS_SELECTOR, "form[action$=role-user] input[type=radio]:not(:checked)").click()
    browser.find_element(By.CSS_SELECTOR, "form[action$=invite-user] button").click()
    says(browser, "is not saved")
    assert browser.find_element(By.CSS_SELECTOR, "[data-note=unsaved]").get_attribute("role") == "alert"
    press(browser, By.CSS_SELECTOR, "form[action$=role-user] button")
