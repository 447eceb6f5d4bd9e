"""Access in the console: removing people, ending sessions, secrets of clients, sign-in rules, and views that a person keeps."""

import datetime
import html
import json
import pathlib
import re

import pytest
import requests
from attested import Attestor
from html_forms import form as form_of, forms, subject
from one_time import one_time_password
from service import Deployment


class Visitor:
    """A person without a browser, who sends the forms that pages have."""

    def __init__(self, console, name=None, password=None):
        person = console.dev["console"]
        self.pages, self.session = console.pages, requests.Session()
        self.session.verify, self.session.trust_env = console.dev["caFile"], False
        self.session.headers.update({"Origin": console.dev["baseURL"], "Accept-Language": "en", "Accept": "text/html"})
        self.answer = self.session.post(f"{self.pages}/sign-in", {"name": name or person["username"], "password": password or person["password"]})

    def get(self, path):
        return self.session.get(f"{self.pages}/{path}")

    def send(self, path, **form):
        csrf = re.search(r'name="csrf" value="(\w+)"', self.get("account").text)[1]
        return self.session.post(f"{self.pages}/{path}", {"csrf": csrf, **form})


def person(console, name, role="Basic User"):
    """Adds a person, and returns their id."""
    console.run("user", "add", name, "--role", role, stdin=f"the password of them, {name[::-1]}\n")
    return console.sql("SELECT user_id::text FROM config.console_user WHERE name = %s", [name])[0][0]


def password(name):
    return f"the password of them, {name[::-1]}"


def text(answer):
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", answer.text)))


def fields_of_question(answer):
    """The fields that the page of a question sends when it is confirmed."""
    form = re.search(r'(?s)<form method="post" action="/contoso/access/[^"]+" class="card prose">.*?</form>', answer.text)[0]
    return {name: html.unescape(value) for name, value in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', form) if name != "csrf"}


def details(console, kind):
    return [row[0] for row in console.sql("SELECT details FROM org_contoso.security_event WHERE kind = %s ORDER BY security_event_id DESC", [kind])]


# Removal


def test_a_person_is_removed_after_a_question_that_names_them(console):
    id = person(console, "mallory")
    admin, mallory = Visitor(console), Visitor(console, "mallory", password("mallory"))
    question = admin.get(f"access/people/{id}/remove")
    assert "Remove mallory?" in question.text and "can't be undone" in text(question) and f'href="/contoso/access/people/{id}"' in question.text
    assert console.sql("SELECT count(*) FROM config.console_user WHERE name = 'mallory'") == [(1,)], "the question alone removes nothing"
    answer = admin.send("access/remove-user", id=id)
    assert answer.url.endswith("/access?done=remove-user") and "The person was removed." in answer.text and "mallory" not in text(answer)
    assert mallory.get("overview").url.split("?")[0].endswith("/sign-in")
    assert Visitor(console, "mallory", password("mallory")).answer.status_code == 403
    assert details(console, "user removed") == ["mallory"]
    assert admin.send("access/remove-user", id=id).status_code == 404 and admin.get(f"access/people/{id}/remove").status_code == 404
    # The name can be used for a new person. The events still show the name of the removed person.
    assert person(console, "mallory") != id


def test_the_last_administrator_is_not_removed(console):
    [(id,)] = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'admin'")
    admin = Visitor(console)
    assert "your own account" in admin.get(f"access/people/{id}/remove").text
    answer = admin.send("access/remove-user", id=id)
    assert answer.status_code == 400 and "last System Administrator" in text(answer) and "<h1>admin</h1>" in answer.text
    assert admin.get("overview").url.endswith("/overview")


def test_a_client_is_removed(console):
    added = console.json("client", "add", "leaving", "--role", "Basic User")
    id, secret = added["clientId"], added["clientSecret"]
    assert console.token_response(id, secret).status_code == 200
    admin = Visitor(console)
    assert "Remove leaving?" in admin.get(f"access/clients/{id}/remove").text
    answer = admin.send("access/remove-client", id=id)
    assert "The client was removed." in answer.text and id not in answer.text
    assert console.token_response(id, secret).status_code == 401
    assert admin.get(f"access/clients/{id}").status_code == 404 and details(console, "client removed") == ["leaving"]


def test_only_administrators_end_access(console):
    id = person(console, "curious", "Email Administrator")
    curious = Visitor(console, "curious", password("curious"))
    [(admin,)] = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'admin'")
    for path in ("access", f"access/people/{id}", f"access/people/{admin}/remove", "access/rules", "retention"):
        assert curious.get(path).status_code == 403, path
    for path, form in (("access/remove-user", {"id": admin}), ("access/end-user-session", {"id": admin, "session": "0" * 32}), ("access/rules", {"role.Basic User": "1"})):
        assert curious.send(path, **form).status_code == 403, path
    assert console.sql("SELECT count(*) FROM config.console_user WHERE name = 'admin' AND disabled_on IS NULL") == [(1,)]


# Roles, and the records that belong to a person


def test_a_change_of_role_is_asked_and_says_what_it_means(console):
    id = person(console, "changing", "System Administrator")
    admin = Visitor(console)
    role = lambda: console.sql("SELECT role FROM config.console_user WHERE user_id = %s", [id])[0][0]  # noqa: E731
    asked = admin.send("access/role-user", id=id, role="Basic User")
    said = text(asked)
    assert "Give changing another role?" in said and "changing is System Administrator now, and becomes Basic User at once." in said
    assert "Loses: all mailboxes, server profiles, queues and alerts; the encryption key" in said and "Gains" not in said
    assert "Open sessions continue with the new role." in said
    assert "sets the earlier role on this person's page" in said and role() == "System Administrator", "the question alone changes nothing"
    done = admin.send("access/role-user", **fields_of_question(asked))
    assert "changing is Basic User now. Before: System Administrator." in text(done) and role() == "Basic User"
    asked = admin.send("access/role-user", id=id, role="Email Administrator")
    assert "Gains: all mailboxes, server profiles, queues and alerts." in text(asked)
    # Email Administrators can't read any e-mails.
    assert "Loses: reading and sending e-mails." in text(asked)
    # If the chosen role is the present one, nothing changes, and the page does not ask.
    assert "Give changing" not in admin.send("access/role-user", id=id, role="Basic User").text
    own = person(console, "changing-self", "System Administrator")
    oneself = Visitor(console, "changing-self", password("changing-self"))
    assert "This is your own role." in text(oneself.send("access/role-user", id=own, role="Basic User"))
    added = console.json("client", "add", "changing client", "--role", "Basic User")
    asked = admin.send("access/role-client", id=added["clientId"], role="Email Router")
    assert "Gains: passwords of mailboxes" in text(asked) and "on this client's page" in text(asked)
    assert "changing client is Email Router now. Before: Basic User." in text(admin.send("access/role-client", **fields_of_question(asked)))


def test_what_a_person_has_without_passwords_says_nothing_of_them(console):
    id = person(console, "owning-carl", "Email Administrator")
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'owning-carl'")
    queue = console.create("queues", {"name": "queue of carl"})
    assert console.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/systemusers({user})"}).status_code == 204
    said = text(Visitor(console).get(f"access/people/{id}"))
    assert "1 queue." in said and "with a stored password" not in said, said


def test_what_a_person_who_leaves_has_is_named_and_handed_over(console):
    id, heir = person(console, "leaving-ada", "System Administrator"), person(console, "staying-bob", "Email Administrator")
    users = dict(console.sql("SELECT name, systemuser_id::text FROM config.console_user WHERE name IN ('leaving-ada', 'staying-bob')"))
    admin, ada = Visitor(console), Visitor(console, "leaving-ada", password("leaving-ada"))
    page = text(admin.get(f"access/people/{id}"))
    assert "No mailbox, queue or server profile, and no stored password." in page and "was not shown to this person" in page
    boxes = [console.create("mailboxes", {"name": f"of ada {i}", **({"password": "p"} if i else {})}) for i in range(2)]
    console.sql("UPDATE org_contoso.mailbox SET emailrouteraccessapproval = 1 WHERE mailboxid = ANY (%s::uuid[])", [boxes])
    queue = console.create("queues", {"name": "queue of ada", "emailpassword": "q"})
    for set, record in [("mailboxes", box) for box in boxes] + [("queues", queue)]:
        assert console.request("PATCH", f"{set}({record})", {"ownerid@odata.bind": f"/systemusers({users['leaving-ada']})"}).status_code == 204
    assert console.request("PATCH", f"usersettingscollection({users['leaving-ada']})", {"emailpassword": "of her own"}).status_code == 204
    assert "settings/data-encryption/key" in ada.get("settings/data-encryption").text
    assert ada.send("settings/data-encryption/key").status_code == 200
    for path in (f"access/people/{id}", f"access/people/{id}/disable", f"access/people/{id}/remove"):
        page = admin.get(path)
        said = text(page)
        assert "2 mailboxes (1 with a stored password)." in said and "1 queue (1 with a stored password)." in said, path
        assert "Routers continue to fetch and send the mail" in said and "Their own settings have a stored password." in said and "has seen the key that is in use" in said, (path, said[-1500:])
        assert f'href="/contoso/records/mailboxes?owner={users["leaving-ada"]}"' in page.text and "/settings/data-encryption/change" in page.text
    listed = admin.get(f"records/mailboxes?owner={users['leaving-ada']}")
    assert "of ada 0" in listed.text and "of ada 1" in listed.text and "User: leaving-ada" in text(listed) and len(re.findall('class="first"', listed.text)) == 2
    assert "owner=" in re.search(r'href="([^"]*export.csv[^"]*)"', listed.text)[1]
    asked = admin.send("access/hand-over-user", id=id, to=heir)
    assert "Hand over what belongs to leaving-ada to staying-bob?" in text(asked) and "no way back in one step" in text(asked) and "2 mailboxes" in text(asked)
    done = admin.send("access/hand-over-user", **fields_of_question(asked))
    assert "3 records were handed over." in text(done) and "2 mailboxes" not in text(done)
    assert console.sql("SELECT DISTINCT ownerid::text FROM org_contoso.mailbox WHERE name LIKE 'of ada %%'") == [(users["staying-bob"],)]
    assert admin.send("access/hand-over-user", id=id, to="").status_code == 404
    # After a key change, the page says that the present key was not shown to this person.
    console.set_key("Another-key-after-ada-9!")
    assert "was not shown to this person" in text(admin.get(f"access/people/{id}"))


# Sessions of others


def test_one_session_of_a_person_is_ended(console):
    id = person(console, "twice")
    one, other = Visitor(console, "twice", password("twice")), Visitor(console, "twice", password("twice"))
    admin = Visitor(console)
    page = admin.get(f"access/people/{id}").text
    sessions = re.findall(r'name="session" value="(\w+)"', page)
    assert len(sessions) == 2 and "127.0.0.1" in page or "::1" in page
    # The session that was used last is listed first.
    other.get("overview")
    newest = re.findall(r'name="session" value="(\w+)"', admin.get(f"access/people/{id}").text)[0]
    asked = admin.send("access/end-user-session", id=id, session=newest)
    assert "End the session of twice from " in text(asked) and "twice can sign in again" in text(asked)
    answer = admin.send("access/end-user-session", **fields_of_question(asked))
    assert "A session of twice was ended." in answer.text and len(re.findall(r'name="session" value="(\w+)"', answer.text)) == 1
    assert other.get("overview").url.split("?")[0].endswith("/sign-in") and one.get("overview").url.endswith("/overview")
    again = admin.send("access/end-user-session", id=id, session=newest)
    assert again.status_code == 404 and "This session has ended already." in again.text
    assert details(console, "user changed")[0] == "twice: a session ended"
    assert "twice: a session ended" in text(admin.get("events?kind=user+changed"))
    german = admin.session.get(f"{console.pages}/events?kind=user+changed", headers={"Accept-Language": "de"})
    assert "twice: eine Sitzung beendet" in text(german)


# Links with which a person chooses a password


def test_the_link_that_waits_is_shown_replaced_and_withdrawn(console):
    id = person(console, "invited-ida")
    person(console, "email-eve", "Email Administrator")
    admin, email_admin = Visitor(console), Visitor(console, "email-eve", password("email-eve"))

    def invite():
        return re.search(r"token=([\w-]+)", admin.send("access/invite-user", id=id).text)[1]

    def status(token):
        return admin.get(f"invitation?token={token}").status_code

    assert "has not been used yet" not in text(admin.get(f"access/people/{id}"))
    first = invite()
    page = admin.get(f"access/people/{id}")
    assert "A link to choose a password has not been used yet. Created by admin Valid until" in text(page)
    [(end,)] = console.sql("SELECT invited_until FROM config.console_user WHERE user_id = %s", [id])
    assert f'datetime="{end.astimezone(datetime.timezone.utc):%Y-%m-%dT%H:%M:%S}' in page.text
    assert 6.9 < (end - datetime.datetime.now(datetime.timezone.utc)).total_seconds() / 86400 < 7.1 and status(first) == 200
    second = invite()
    assert (status(first), status(second)) == (404, 200)
    assert "was used already, was withdrawn or replaced, or has expired" in text(admin.get(f"invitation?token={first}"))
    # Only a System Administrator can see and withdraw a link.
    assert email_admin.get(f"access/people/{id}").status_code == 403
    assert email_admin.send("access/withdraw-invitation", id=id, confirmed="1").status_code == 403 and status(second) == 200
    held = console.sql("SELECT invitation, invited_by, invited_until FROM config.console_user WHERE user_id = %s", [id])[0]
    asked = admin.send("access/withdraw-invitation", id=id)
    assert "Withdraw the link for invited-ida?" in text(asked) and status(second) == 200, "it is asked first"
    done = admin.send("access/withdraw-invitation", **fields_of_question(asked))
    assert "The link for invited-ida was withdrawn." in text(done) and "has not been used yet" not in text(done) and status(second) == 404
    assert "invited, link withdrawn" in text(done) and "invited, link withdrawn" in text(admin.get("access?q=invited-ida"))
    assert details(console, "user changed")[0] == "invited-ida: invitation withdrawn" and "invited-ida: invitation withdrawn" in text(admin.get("events?kind=user+changed"))
    # If SQL restores a withdrawn link, the link is still not valid.
    console.sql("UPDATE config.console_user SET invitation = %s, invited_by = %s, invited_until = %s WHERE user_id = %s", [*held, id])
    assert status(second) == 404 and "has not been used yet" not in text(admin.get(f"access/people/{id}"))


def test_the_state_of_a_person_says_whether_they_have_signed_in(console):
    admin = Visitor(console)
    id = person(console, "state-stella")

    def state():
        return re.search(r'<span class="badge[^"]*">([^<]*)</span>', admin.get(f"access/people/{id}").text)[1]

    assert state() == "not signed in yet"
    admin.send("access/invite-user", id=id)
    assert state() == "invited"
    admin.send("access/withdraw-invitation", **fields_of_question(admin.send("access/withdraw-invitation", id=id)))
    assert state() == "invited, link withdrawn"
    admin.send("access/invite-user", id=id)
    assert state() == "invited"
    Visitor(console, "state-stella", password("state-stella"))
    assert state() == "active"
    admin.send("access/withdraw-invitation", **fields_of_question(admin.send("access/withdraw-invitation", id=id)))
    admin.send("access/end-user-sessions", **fields_of_question(admin.send("access/end-user-sessions", id=id)))
    assert state() == "active"


def test_people_who_were_here_before_the_first_sign_in_are_not_active():
    with Deployment.made() as deployment:
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        person(deployment, "early-ella"), person(deployment, "chief-chloe", "System Administrator")
        chloe = Visitor(deployment, "chief-chloe", password("chief-chloe"))
        states = re.findall(r'<span class="badge[^"]*">([^<]*)</span>', chloe.get("access?q=early-ella").text)
        assert "not signed in yet" in states and "active" not in states, states
        assert "active" in re.findall(r'<span class="badge[^"]*">([^<]*)</span>', chloe.get("access?q=chief-chloe").text)


@pytest.mark.parametrize("ends", ["used", "reset", "disabled", "promoted", "over"])
def test_a_link_ends_and_is_no_longer_shown(console, ends):
    id, admin = person(console, f"invited-{ends}"), Visitor(console)
    token = re.search(r"token=([\w-]+)", admin.send("access/invite-user", id=id).text)[1]
    assert "has not been used yet" in text(admin.get(f"access/people/{id}"))
    if ends == "used":
        csrf = re.search(r'name="csrf" value="(\w+)"', admin.get(f"invitation?token={token}").text)
        chosen = "a password that they chose"
        answer = admin.session.post(f"{admin.pages}/invitation", {"token": token, "password": chosen, "again": chosen, **({"csrf": csrf[1]} if csrf else {})})
        assert answer.status_code == 200
    elif ends == "reset":
        assert admin.send("access/reset-user", id=id, password="another password of theirs").status_code == 200
    elif ends == "disabled":
        assert admin.send("access/disable-user", id=id).status_code == 200 and admin.send("access/enable-user", id=id).status_code == 200
    elif ends == "promoted":
        # The link must end: otherwise the person who made it could sign in as the new administrator.
        assert admin.send("access/role-user", id=id, role="System Administrator", confirmed=subject("role-user", id, "Basic User", "System Administrator")).status_code == 200
    else:
        # SQL moves the end into the past. A later end would differ from the attested state, so the link would not be valid either.
        console.sql("UPDATE config.console_user SET invited_until = now() - interval '1 second' WHERE user_id = %s", [id])
    assert admin.get(f"invitation?token={token}").status_code == 404
    assert "has not been used yet" not in text(admin.get(f"access/people/{id}"))


def test_the_same_role_again_is_no_change(console):
    id = person(console, "steady")
    client = console.json("client", "add", "steady client", "--role", "Basic User")["clientId"]
    admin = Visitor(console)
    before = console.sql("SELECT max(security_event_id) FROM org_contoso.security_event")
    for action, id in (("role-user", id), ("role-client", client)):
        answer = admin.send(f"access/{action}", id=id, role="Basic User")
        assert answer.url.endswith("?done=nothingChanged") and "Nothing changed." in text(answer), text(answer)
    assert console.sql("SELECT max(security_event_id) FROM org_contoso.security_event") == before


# Secrets of clients


def test_a_disabled_person_is_not_invited(console):
    id, admin = person(console, "invited-no-more"), Visitor(console)
    assert admin.send("access/disable-user", id=id).status_code == 200
    refused = admin.send("access/invite-user", id=id)
    assert refused.status_code == 400 and "Enable the person first" in text(refused) and "token=" not in refused.text
    assert console.sql("SELECT invitation FROM config.console_user WHERE user_id = %s", [id]) == [(None,)]
    assert admin.send("access/enable-user", id=id).status_code == 200
    assert "token=" in admin.send("access/invite-user", id=id).text


def test_secrets_expire_and_are_ended_one_by_one(console):
    admin = Visitor(console)
    answer = admin.send("access/add-client", name="rotating", role="Basic User", expires="90")
    first, [(id,)] = re.search(r'class="secret">([^<]+)<', answer.text)[1], console.sql("SELECT client_id::text FROM config.api_client WHERE name = 'rotating'")
    assert console.sql("SELECT round(extract(epoch FROM expires_on - now()) / 86400) FROM config.api_client_secret WHERE client_id = %s", [id]) == [(90,)]
    # A client's only secret can't be ended.
    assert 'name="secret"' not in answer.text
    [(only,)] = console.sql("SELECT secret_id::text FROM config.api_client_secret WHERE client_id = %s", [id])
    refused = admin.send("access/end-secret-client", **fields_of_question(admin.send("access/end-secret-client", id=id, secret=only)))
    assert refused.status_code == 400 and "only secret" in text(refused) and console.token_response(id, first).status_code == 200
    # Both secrets are valid for the chosen time. Before that time ends, a person can end the former secret.
    answer = admin.send("access/rotate-client", id=id, overlap="168", expires="")
    second = re.search(r'class="secret">([^<]+)<', answer.text)[1]
    assert [console.token_response(id, secret).status_code for secret in (first, second)] == [200, 200]
    assert console.sql("SELECT round(extract(epoch FROM min(expires_on) - now()) / 3600) FROM config.api_client_secret WHERE client_id = %s", [id]) == [(168,)]
    assert "never" in text(admin.get(f"access/clients/{id}"))
    asked = admin.send("access/end-secret-client", id=id, secret=only)
    assert "End this secret of rotating?" in text(asked) and console.token_response(id, first).status_code == 200, "it is asked first"
    answer = admin.send("access/end-secret-client", **fields_of_question(asked))
    assert "A secret of rotating was ended." in answer.text
    assert [console.token_response(id, secret).status_code for secret in (first, second)] == [401, 200]
    assert admin.send("access/end-secret-client", id=id, secret=only).status_code == 404
    # After a leak, the former secret can end at the moment when the new one is created.
    asked = admin.send("access/rotate-client", id=id, overlap="0", expires="30")
    assert "End the former secret of rotating at once?" in text(asked) and console.token_response(id, second).status_code == 200, "it is asked first"
    answer = admin.send("access/rotate-client", **fields_of_question(asked))
    third = re.search(r'class="secret">([^<]+)<', answer.text)[1]
    assert [console.token_response(id, secret).status_code for secret in (second, third)] == [401, 200]
    for wrong in ({"overlap": "5"}, {"overlap": "0", "expires": "1"}, {"overlap": "x"}):
        assert admin.send("access/rotate-client", id=id, **wrong).status_code == 400, wrong
    assert console.token_response(id, third).status_code == 200
    # A client has at most two valid secrets. The console asks before a new secret ends one that is still valid.
    fourth = re.search(r'class="secret">([^<]+)<', admin.send("access/rotate-client", id=id, overlap="24", expires="").text)[1]
    asked = admin.send("access/rotate-client", id=id, overlap="72", expires="")
    assert "End the former secret of rotating at once?" in text(asked) and "there can be no third" in text(asked), text(asked)
    assert [console.token_response(id, secret).status_code for secret in (third, fourth)] == [200, 200]
    fifth = re.search(r'class="secret">([^<]+)<', admin.send("access/rotate-client", **fields_of_question(asked)).text)[1]
    assert [console.token_response(id, secret).status_code for secret in (third, fourth, fifth)] == [401, 200, 200]
    assert not [k for k in console.json("doctor", check=False)["findings"] if "not-made-here" in k["code"] or "missing" in k["code"]]


# Sign-in rules


def test_two_step_sign_in_is_required_and_no_longer_after_a_question(console):
    person(console, "plain")
    admin = Visitor(console)
    page = admin.get("access/rules")
    assert "has not turned it on yet" in text(page) or "have not turned it on yet" in text(page)
    assert "10 characters or more" in page.text and "30 minutes without use" in page.text and "12 hours" in page.text
    assert "were saved" in admin.send("access/rules", **{"role.Basic User": "1"}).text
    plain = Visitor(console, "plain", password("plain"))
    assert plain.get("overview").url.endswith("/account") and "Your role needs two-step sign-in." in plain.get("overview").text
    assert details(console, "one-time passwords required") == ["Basic User"]
    # A stricter rule is saved without a question. A less strict rule is saved only after a question.
    question = admin.send("access/rules")
    assert "Allow sign-in with a password alone?" in question.text and "Basic User" in question.text
    assert plain.get("overview").url.endswith("/account")
    assert "were saved" in admin.send("access/rules", **fields_of_question(question)).text
    assert plain.get("overview").url.endswith("/overview")
    assert details(console, "one-time passwords required") == ["no role", "Basic User"]
    admin.send("access/rules")
    assert len(details(console, "one-time passwords required")) == 2


def test_of_two_people_who_save_the_rules_neither_undoes_the_other(console):
    person(console, "ruler", "System Administrator")
    admin, ruler = Visitor(console), Visitor(console, "ruler", password("ruler"))
    admin.send("access/rules", **{"role.Email Administrator": "1"})

    def required(page):
        return re.findall(r'name="role.([^"]+)" value="1" checked', page.text)

    def opened(visitor):
        return form_of(visitor.get("access/rules").text, "/access/rules").fields

    # One page removes a requirement. Saving an older page, which still shows it, does not set the requirement again.
    mine, theirs = opened(admin), opened(ruler)
    assert mine.pop("role.Email Administrator") == theirs.pop("role.Email Administrator") == "1"
    asked = ruler.send("access/rules", **theirs)
    assert "Allow sign-in with a password alone?" in asked.text
    assert "were saved" in ruler.send("access/rules", **fields_of_question(asked)).text
    told = admin.send("access/rules", **mine, **{"role.Email Administrator": "1", "role.Basic User": "1"})
    assert told.status_code == 409 and "ruler changed these rules after you opened this page" in text(told)
    assert "Email Administrator: required → not required" in text(told) and required(told) == ["Basic User"]
    assert details(console, "one-time passwords required")[0] == "no role", "nothing is saved yet"
    assert "were saved" in admin.send("access/rules", **form_of(told.text, "/access/rules").fields).text
    assert required(admin.get("access/rules")) == ["Basic User"]
    # Of the boxes that differ, the page asks only about those that this person changed.
    mine, theirs = opened(admin), opened(ruler)
    ruler.send("access/rules", **theirs, **{"role.Email Administrator": "1"})
    told = admin.send("access/rules", **mine, **{"role.System Administrator": "1"})
    assert "Allow sign-in" not in told.text and "Email Administrator: not required → required" in text(told)
    assert required(told) == ["System Administrator", "Email Administrator", "Basic User"]
    fields = {name: value for name, value in form_of(told.text, "/access/rules").fields.items() if name != "role.System Administrator"}
    before = len(details(console, "one-time passwords required"))
    assert "Nothing changed." in admin.send("access/rules", **fields).text
    assert len(details(console, "one-time passwords required")) == before
    admin.send("access/rules", **fields_of_question(admin.send("access/rules")))


# Retention


def test_retention_says_what_is_kept_and_since_when(console):
    console.create("queues", {"name": "kept"})
    page = text(Visitor(console).get("retention"))
    assert re.search(r"Security events without limit stays in the database (just now|\d+ minutes? ago)", page), page
    assert re.search(r"Changes without limit stays in the database (just now|\d+ minutes? ago)", page) and "Nothing was moved or deleted yet." in page


# Views


def views(page):
    return re.findall(r'<li><a href="([^"]+)"[^>]*>([^<]+)</a> <form method="post" action="/contoso/views/remove">', page.text)


def test_a_view_is_kept_under_a_name_used_and_removed(console):
    for name in ("a view of mine", "another box"):
        console.create("queues", {"name": name})
    admin = Visitor(console)
    assert "/views/keep" not in admin.get("records/queues").text, "a list as it is needs no view"
    filtered = admin.get("records/queues?q=view+of&sort=-name&size=50&page=0&done=saved")
    form = dict(re.findall(r'name="(list|query)" value="([^"]*)"', filtered.text))
    assert form["list"] == "queues" and "page" not in form["query"] and "done" not in form["query"]
    kept = admin.send("views/keep", name="Mine & yours", **{k: html.unescape(v) for k, v in form.items()})
    assert "The view is kept under Views." in kept.text and "a view of mine" in kept.text and "another box" not in kept.text
    [(link, name)] = views(admin.get("records/queues"))
    assert name == "Mine &amp; yours"
    shown = admin.session.get(f"{console.base}{html.unescape(link)}")
    assert "a view of mine" in shown.text and "another box" not in shown.text and f'<a href="{link}" aria-current="true">' in shown.text
    # If another filter is saved under the name of a view, the page asks before it replaces the view. Other people do not see the view.
    asked = admin.send("views/keep", list="queues", name="mine & YOURS", query="q=another")
    assert "Replace your view “Mine & yours”?" in text(asked) and views(admin.get("records/queues")) == [(link, "Mine &amp; yours")]
    again = admin.send("views/keep", name="Mine & yours", **{k: html.unescape(v) for k, v in form.items()})
    assert "The view is kept under Views." in again.text
    [question] = [found for found in forms(asked.text) if found.action.endswith("/views/keep")]
    assert "The view is kept under Views." in admin.send("views/keep", **question.fields).text
    [(link, name)] = views(admin.get("records/queues"))
    assert name == "mine &amp; YOURS" and link.endswith("?q=another")
    person(console, "viewer", "System Administrator")
    viewer = Visitor(console, "viewer", password("viewer"))
    assert views(viewer.get("records/queues")) == [] == views(admin.get("records/mailboxes"))
    [id] = re.findall(r'name="id" value="([^"]+)"', re.search(r'(?s)class="own">.*?</ul>', admin.get("records/queues").text)[0])
    viewer.send("views/remove", list="queues", id=id)
    assert len(views(admin.get("records/queues"))) == 1, "another person's view stays"
    assert "The view was removed." in admin.send("views/remove", list="queues", id=id).text and views(admin.get("records/queues")) == []
    # The filters of the pages "Events" and "Changes" can be saved as views too.
    for list in ("events", "audit"):
        query = "kind=signed%20in" if list == "events" else "table=queue"
        assert "The view is kept" in admin.send("views/keep", list=list, name="of evidence", query=query).text
        [(link, _)] = views(admin.get(list))
        assert admin.session.get(f"{console.base}{html.unescape(link)}").status_code == 200


def test_a_view_is_refused_that_no_list_has(console):
    admin = Visitor(console)
    for form, status in (
        ({"list": "queues", "name": "", "query": "q=x"}, 400), ({"list": "queues", "name": "x" * 101, "query": "q=x"}, 400),
        ({"list": "nothing", "name": "x", "query": "q=x"}, 404), ({"list": "../overview", "name": "x", "query": "q=x"}, 404),
        ({"list": "queues", "name": "x", "query": ""}, 404), ({"list": "queues", "name": "x", "query": "q=x\"><script>"}, 404),
        ({"list": "queues", "name": "x", "query": "q=" + "x" * 2_000}, 400),
    ):
        assert admin.send("views/keep", **form).status_code == status, form
    assert console.sql("SELECT count(*) FROM config.console_view WHERE list = 'queues'") == [(0,)]
    for number in range(50):
        assert admin.send("views/keep", list="queues", name=f"view {number}", query="q=x").status_code == 200
    full = admin.send("views/keep", list="queues", name="one more", query="q=x")
    assert full.status_code == 400 and "50 views of this list already" in text(full)
    assert "Replace your view “view 7”?" in text(admin.send("views/keep", list="queues", name="VIEW 7", query="q=y"))
    assert "The view is kept" in admin.send("views/keep", list="queues", name="VIEW 7", query="q=y", confirmed="1").text
    # Removing a person also removes the person's views.
    id = person(console, "shortlived", "System Administrator")
    Visitor(console, "shortlived", password("shortlived")).send("views/keep", list="queues", name="x", query="q=x")
    admin.send("access/remove-user", id=id)
    assert console.sql("SELECT count(*) FROM config.console_view WHERE user_id = %s", [id]) == [(0,)]
    # SQL wrote HTML into the view. The page shows the view only as a link to a list.
    console.sql("UPDATE config.console_view SET query = %s, name = '<b>x</b>' WHERE name = 'view 1'", ['"><script>alert(1)</script>'])
    page = admin.get("records/queues").text
    assert "<script>alert" not in page and "&lt;b&gt;x&lt;/b&gt;" in page


# Approvals


SUBJECTS = [
    "show the key of version 3, fingerprint 00", "show the retired key of version 2", "show the retired key of version 2, fingerprint 00",
    "activate the key of version 3", "change the key of version 3 to a generated one", "change the key of version 3 to a given one",
    "change the key of version 3 to a given one, and lose the passwords that do not open",
    "change the key of version 3 to a generated one, and lose the passwords that do not open",
    "ask for less before the key is used: no approval, any sign-in", "add the client c as System Administrator",
    "add the client c as System Administrator, with the key of SHA-256 00",
    "add the public key with the SHA-256 00 to the client c (System Administrator)", "enable the client c (System Administrator)",
    "give the client c the role System Administrator", "give another secret to the client c (System Administrator)",
    "give the person p the role System Administrator", "enable the System Administrator p", "invite the System Administrator p",
    "add the person p as System Administrator", "reset the password of the System Administrator p",
]


def test_what_is_to_be_approved_is_said_in_each_language():
    """Each description of an operation in the sources is in the list above, and has a text in every language."""
    root = pathlib.Path(__file__).parents[3]
    sources = "".join(path.read_text() for folder in ("KeyManagement", "Authentication", "Tenancy") for path in (root / "Sources" / folder).rglob("*.swift"))
    calls = re.findall(r"require(?:Access)?Control\(\s*(?:of: \.\w+,|to: \w+,)?\s*\"([^\"\\]*)", sources)
    assert len(calls) > 12
    for beginning in calls:
        assert any(subject.startswith(beginning) for subject in SUBJECTS), beginning
    for path in (root / "Sources/CConsole/Messages").glob("*.json"):
        language, messages = path.stem, json.loads(path.read_text())
        patterns = [re.escape(key.removeprefix("subject:")) for key in messages if key.startswith("subject:")]
        patterns = [re.sub(r"\\\{\d\\\}", ".+", pattern) for pattern in patterns]
        for said in SUBJECTS:
            assert any(re.fullmatch(pattern, said) for pattern in patterns), (language, said)


def test_a_request_for_approval_is_in_the_reader_s_language(console):
    console.run("key", "control", "--approval", "1h", "--org", "contoso")
    try:
        german = Visitor(console)
        german.session.headers["Accept-Language"] = "de"
        answer = german.send("settings/data-encryption/key", password=console.dev["console"]["password"])
        said = text(answer)
        assert answer.status_code == 403 and "Eine zweite Person muss das freigeben" in said, said
        assert "Schlüssel von Version" in said and "show the key" not in said and re.search(r"offen", said) and not re.search(r"\d\dT\d\d:", said), said
        page = text(german.get("settings/approvals"))
        assert "Schlüssel von Version" in page and "show the key" not in page
    finally:
        console.run("key", "control", "--approval", "off", "--org", "contoso", check=False)
        for _ in range(2):
            for request in console.get("fieldseal.RetrieveApprovals()").json()["value"]:
                console.request("POST", "fieldseal.ApproveRequest", {"ApprovalId": request["ApprovalId"]})
            console.run("key", "control", "--approval", "off", "--org", "contoso", check=False)
    assert console.get("fieldseal.RetrieveKeyControl()").json()["ApprovalSeconds"] is None
    for request in console.get("fieldseal.RetrieveApprovals()").json()["value"]:
        console.request("POST", "fieldseal.RefuseRequest", {"ApprovalId": request["ApprovalId"]})


def test_the_one_time_password_is_asked_for_again_where_it_is_on(console):
    """With two-step sign-in, the page also asks for a code before it shows a key."""
    name = "of two steps"
    person(console, name, "System Administrator")
    visitor = Visitor(console, name, password(name))
    offered = visitor.send("account/offer").text
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    confirmed = visitor.send("account/confirm", sealed=sealed, code=one_time_password(secret, -1))
    codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", confirmed.text)
    assert len(codes) == 10

    def asked(path, **form):
        Attestor(console).age_sessions(fresh="1 hour")
        answer = visitor.send(path, **form)
        assert answer.status_code == 403 and 'name="code"' in answer.text and "one-time password" in text(answer), text(answer)
        return re.search(r'name="kept" value="([\w-]+)"', answer.text)[1]

    for form in ({}, {"sheet": "1"}):
        kept = asked("settings/data-encryption/key", **form)
        for code in ("", "000000"):
            refused = visitor.send("fresh", kept=kept, password=password(name), code=code)
            assert refused.status_code == 403 and 'name="code"' in refused.text
        kept = re.search(r'name="kept" value="([\w-]+)"', refused.text)[1]
        assert visitor.send("fresh", kept=kept, password=password(name), code=codes.pop()).status_code == 200
    # Without two-step sign-in, the form asks for no code.
    admin = Visitor(console)
    Attestor(console).age_sessions(fresh="1 hour")
    assert 'name="code"' not in admin.send("settings/data-encryption/key").text
