"""A form that could not be saved waits. Each page offers it until it is sent, thrown away or too old."""

import re

import pytest
from html_forms import form, forms
from one_time import one_time_password
from test_console_access import Visitor, password, person, text
from test_console_ended import description, hidden, older, unseen

STILL = "What you typed before was not saved yet."


@pytest.fixture
def queue(console):
    return console.sql("SELECT queueid::text FROM org_contoso.queue LIMIT 1")[0][0]


@pytest.fixture
def rule(console):
    """A function that makes two-step sign-in required for System Administrators."""
    def need():
        console.run("user", "require-second-factor", "--role", "System Administrator", "--org", "contoso")
    yield need
    console.run("user", "require-second-factor", "--org", "contoso")


def post(visitor, path, **fields):
    return visitor.session.post(f"{visitor.pages}/{path}", fields)


def typed(visitor, queue, words, **more):
    """The fields of a queue's form, with a description that a person typed."""
    page = visitor.get(f"records/queues/{queue}")
    return {**unseen(page), "csrf": hidden(page, "csrf"), "description": words, **more}


def two_steps(visitor, account):
    """Turns two-step sign-in on, from a page that requires it."""
    offered = post(visitor, "account/offer", csrf=hidden(account, "csrf"), waits=hidden(account, "waits"))
    secret = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered.text)[1]
    return post(visitor, "account/confirm", csrf=hidden(offered, "csrf"), waits=hidden(offered, "waits"), sealed=hidden(offered, "sealed"),
                code=one_time_password(secret))


def offers(page):
    return [found for found in forms(page.text) if found.action.endswith("/sign-in/kept")]


def test_a_form_before_two_step_sign_in_is_offered_on_each_page_until_it_is_used(console, queue, rule):
    person(console, "kept-step", "System Administrator")
    visitor = Visitor(console, "kept-step", password("kept-step"))
    fields = typed(visitor, queue, "typed before two steps")
    rule()
    account = post(visitor, f"records/queues/{queue}", **fields)
    assert account.status_code == 403 and "Your role needs two-step sign-in, and it is still off." in text(account)
    assert "password alone is enough" not in text(account)
    again = visitor.get("account")
    assert hidden(again, "waits") == hidden(account, "waits"), "a reload does not lose it"
    codes = two_steps(visitor, account)
    assert len(re.findall(r"<li><code>", codes.text)) == 10
    for path in ("overview", "account", f"records/queues/{queue}", "records/mailboxes", "access", "no-such-page"):
        page = visitor.get(path)
        assert len(offers(page)) == 1 and STILL in text(page), path
    assert "password alone is enough" not in text(visitor.get("account"))
    [offer] = offers(visitor.get("events"))
    offered = post(visitor, "sign-in/kept", **offer.fields)
    assert "your role began to need two-step sign-in" in text(offered) and "session had ended" not in text(offered)
    # The form is still offered after it was only looked at.
    assert offers(visitor.get("overview"))
    [send] = [found for found in forms(offered.text) if found.action.endswith(f"/records/queues/{queue}")]
    done = post(visitor, f"records/queues/{queue}", csrf=hidden(offered, "csrf"), **send.fields)
    assert done.status_code == 200 and description(console, queue) == "typed before two steps"
    assert not offers(done) and not offers(visitor.get("overview"))


def test_a_form_is_thrown_away_where_it_is_offered(console, queue):
    person(console, "kept-drop", "System Administrator")
    visitor = Visitor(console, "kept-drop", password("kept-drop"))
    for number in range(2):
        fields = typed(visitor, queue, f"dropped {number}")
        console.run("user", "end-sessions", "kept-drop", "--org", "contoso")
        asked = post(visitor, f"records/queues/{queue}", **fields)
        offered = post(visitor, "sign-in", name="kept-drop", password=password("kept-drop"), kept=hidden(asked, "kept"), then=f"records/queues/{queue}")
        assert "Your session had ended" in text(offered)
        page = visitor.get("overview")
        assert len(offers(page)) == 1
        # The form can be thrown away on any page, and on the page that shows it.
        source, found = (page, offers(page)[0]) if number == 0 else (offered, forms(offered.text)[0])
        assert '/account/drop"' in found.content
        gone = post(visitor, "account/drop", csrf=hidden(source, "csrf"), **found.fields)
        assert gone.status_code == 200 and not offers(gone) and not offers(visitor.get("overview"))
        assert gone.url.endswith("/overview" if number == 0 else f"/records/queues/{queue}"), gone.url
        assert not description(console, queue) or "dropped" not in description(console, queue)


def test_an_offer_is_its_persons_alone_and_ends_with_its_half_hour(console, queue):
    admin = console.dev["console"]
    person(console, "kept-other", "System Administrator")
    visitor, other = Visitor(console), Visitor(console, "kept-other", password("kept-other"))
    fields = typed(visitor, queue, "nobody else's")
    visitor.send("sign-out")
    asked = post(visitor, f"records/queues/{queue}", **fields)
    kept = hidden(asked, "kept")
    # Another person who opens the waiting form does not get it.
    post(other, "sign-in/kept", kept=kept)
    assert not offers(other.get("overview"))
    post(visitor, "sign-in", name=admin["username"], password=admin["password"], kept=older(console, kept, seconds=1_900))
    assert not offers(visitor.get("overview")), "it is too old"
    post(visitor, "sign-in/kept", kept=kept)
    assert offers(visitor.get("overview")) and not offers(other.get("overview"))
    # A page that shows a key, or asks for the password, offers no waiting form.
    sheet = visitor.send("settings/data-encryption/key", sheet="1")
    assert not offers(sheet)
    post(visitor, "account/drop", csrf=hidden(visitor.get("account"), "csrf"), kept=kept)
    assert not offers(visitor.get("overview"))


@pytest.mark.parametrize("to, words", [("Basic User", "typed as before"), ("Email Administrator", "typed as an administrator")])
def test_a_form_waits_when_the_role_changed_meanwhile(console, queue, to, words):
    name = "kept-role-" + to.split()[0].lower()
    id = person(console, name, "System Administrator")
    admin, visitor, own = Visitor(console), Visitor(console, name, password(name)), "a password of their own"
    post(visitor, "account/password", csrf=hidden(visitor.get("account"), "csrf"), old=password(name), new=own, again=own)
    page = visitor.get("access/people/new")
    fields = {**form(page.text, "/access/add-user").fields, "csrf": hidden(page, "csrf"), "name": f"colleague of {name}", "how": "invite"}
    queue_form = typed(visitor, queue, words)

    def change(role):
        asked = admin.send("access/role-user", id=id, role=role)
        admin.send("access/role-user", **form(asked.text, "/access/role-user").fields)

    change(to)
    refused = post(visitor, "access/add-user", **fields)
    assert refused.status_code == 403 and "Nothing was saved" in text(refused) and "your role may have changed" in text(refused)
    assert len(offers(refused)) == 1 and len(offers(visitor.get("overview"))) == 1
    assert f"colleague of {name}" not in refused.text, "the form waits sealed"
    if to == "Basic User":
        refused = post(visitor, f"records/queues/{queue}", **queue_form)
        assert refused.status_code == 403 and len(offers(refused)) == 2, text(refused)
        assert description(console, queue) != words
    # The role with more rights ends the session. The forms still wait for the person.
    change("System Administrator")
    post(visitor, "sign-in", name=name, password=own)
    for offer in offers(visitor.get("overview")):
        offered = post(visitor, "sign-in/kept", **offer.fields)
        assert "Your rights did not allow this when you sent it" in text(offered)
        [send] = [found for found in forms(offered.text) if found.fields.get("kept")]
        done = visitor.session.post(f"{console.base}{send.action}", {"csrf": hidden(offered, "csrf"), **send.fields})
        assert done.status_code == 200, text(done)
    assert not offers(visitor.get("overview"))
    assert console.sql("SELECT count(*) FROM config.console_user WHERE name = %s", [f"colleague of {name}"]) == [(1,)]
    if to == "Basic User":
        assert description(console, queue) == words
