"""What a page says is true for its reader: who can help, who changed a record, and what a button does."""

import re

from html_forms import form
from test_console_access import Visitor, password, person, text
from test_console_ended import Late, hidden, unseen


def test_a_forward_mailbox_tells_whom_to_ask(console):
    id = person(console, "told-bea")
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE user_id = %s", [id])
    box = console.create("mailboxes", {"name": "told forward", "ownerid@odata.bind": f"/systemusers({user})"})
    told, admin = text(Visitor(console, "told-bea", password("told-bea")).get(f"records/mailboxes/{box}")), text(Visitor(console).get(f"records/mailboxes/{box}"))
    assert "ask an Email Administrator to connect it" in told and "delete this mailbox" not in told
    assert "connect the address, and then delete this mailbox. Connect a mailbox" in admin and "ask an Email" not in admin


def test_the_question_before_disabling_leads_to_handing_over(console):
    id = person(console, "told-leaver", "Email Administrator")
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE user_id = %s", [id])
    box = console.create("mailboxes", {"name": "told going on", "ownerid@odata.bind": f"/systemusers({user})", "emailrouteraccessapproval": 1})
    assert console.request("PATCH", f"mailboxes({box})", {"enabledforincomingemail": True}).status_code == 204
    admin = Visitor(console)
    for question in ("disable", "remove"):
        asked = admin.get(f"access/people/{id}/{question}")
        assert "Disable the mailbox or hand it over. Hand over" in text(asked) and f'<a href="/contoso/access/people/{id}#belongings">Hand over</a>' in asked.text
    assert 'id="belongings"' in admin.get(f"access/people/{id}").text


def test_a_password_that_makes_a_mailbox_sign_in_by_itself_says_so(console):
    admin, said = Visitor(console), "The mailbox signs in with its own user name and password from now on."
    box = console.create("mailboxes", {"name": "told own"})
    path = f"records/mailboxes/{box}"
    for own, isSaid in (("true", True), ("true", False), ("false", False)):
        fields = form(admin.get(path).text, f"/{box}").fields
        answer = admin.send(path, **fields | {"password": "typed", "allowemailconnectortousecredentials": own})
        assert answer.status_code == 200 and (said in text(answer)) == isSaid, (own, text(answer))


def test_the_own_link_does_not_speak_of_another_person(console):
    id, admin = person(console, "told-ida"), Visitor(console)
    token = re.search(r"token=([\w-]+)", admin.send("access/invite-user", id=id).text)[1]
    page = text(admin.get(f"invitation?token={token}"))
    assert "Your user name: told-ida" in page and "You set the password for" not in page


def test_the_button_of_a_form_that_waited_says_what_it_does(console):
    admin = console.dev["console"]
    queue = console.create("queues", {"name": "told waiting"})
    forms = {f"records/queues/{queue}": "Save what I typed", "access/rules": "Save what I typed", "compose": "Send what I typed", "connect": "Go on with what I typed"}
    for path, button in forms.items():
        visitor = Visitor(console)
        page = visitor.get(path)
        late = Late(console, visitor, admin["username"])
        late.send(path, **(unseen(page) if path.startswith("records") else {}), description="typed")
        offered = late.sign_in(admin["username"], admin["password"])
        assert f'autofocus>{button}<' in offered.text and "Go on with what you typed now" in text(offered), (path, text(offered))
        assert hidden(offered, "kept")


def test_a_change_of_ones_own_is_told_as_one(console):
    admin = Visitor(console)
    queue = console.create("queues", {"name": "told twice", "description": "first"})
    path = f"records/queues/{queue}"
    first, second = (form(admin.get(path).text, f"/{queue}").fields for _ in range(2))
    assert "Saved." in text(admin.send(path, **first | {"description": "of one tab"}))
    told = admin.send(path, **second | {"description": "of another tab"})
    assert told.status_code == 409 and "You changed this record in another tab or on another device" in text(told) and "admin changed" not in text(told)
    # The page of the sign-in rules also says that the reader made the other change.
    loaded = form(admin.get("access/rules").text, "/access/rules").fields
    ticked = {"role.Basic User": "1"}
    assert "were saved" in admin.send("access/rules", **loaded | ticked).text
    told = admin.send("access/rules", **loaded | {"role.Email Administrator": "1"})
    assert told.status_code == 409 and "You changed these rules in another tab or on another device" in text(told), text(told)
    asked = form(admin.send("access/rules", **{name: value for name, value in loaded.items()} | {"loaded": "Basic User"}).text, "/access/rules")
    assert "were saved" in admin.send("access/rules", **asked.fields).text


def test_what_a_new_e_mail_needs_is_marked_and_long_subjects_are_not_cut(console):
    admin = Visitor(console)
    page = admin.get("compose").text
    assert {'<label for="from" class="needed">', '<label for="to" class="needed">'} <= set(re.findall(r"<label[^>]*needed[^>]*>", page))
    subject = re.search(r'<input name="subject"[^>]*>', page)[0]
    assert "maxlength" not in subject
    [(box,)] = console.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE regardingobjecttypecode = 'queue' LIMIT 1")
    fields = {"csrf": hidden(admin.get("account"), "csrf"), "once": "told", "from": box, "to": "customer@elsewhere.test", "cc": "", "body": "text"}

    def sent(length):
        return admin.session.post(f"{admin.pages}/compose", fields | {"subject": "s" * length}, files=[("files", ("", b""))])

    assert sent(700).status_code == 200 and console.sql("SELECT count(*) FROM org_contoso.email WHERE starts_with(subject, %s)", ["s" * 700]) == [(1,)]
    refused = sent(801)
    assert refused.status_code == 400 and "s" * 801 in refused.text and "800" in text(refused), text(refused)


def test_an_event_about_an_account_is_not_called_one_of_a_server(console):
    assert "Mail server or account changed" in text(Visitor(console).get("events"))
