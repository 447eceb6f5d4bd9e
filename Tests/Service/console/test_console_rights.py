"""Each role and each table: the console shows only forms that the role may send, and each button of a page works."""

import itertools
import os
import re
import signal

import pytest
from test_console_access import Visitor, password, person, text

ROLES = ["Basic User", "Email Administrator", "System Administrator"]
TABLES = {"mailboxes": "mailbox", "emailserverprofiles": "emailserverprofile", "queues": "queue", "usersettingscollection": "usersettings"}
CREATES = {("Email Administrator", table) for table in ("mailboxes", "emailserverprofiles", "queues")} | {("System Administrator", table) for table in ("mailboxes", "emailserverprofiles", "queues")}
READS = {(role, table) for role in ROLES[1:] for table in TABLES} | {("Basic User", "mailboxes"), ("Basic User", "usersettingscollection")}


@pytest.fixture(scope="module")
def visitors(console):
    found = {}
    for role in ROLES:
        name = f"walks as {role}"
        person(console, name, role)
        [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])
        found[role] = (Visitor(console, name, password(name)), user)
    return found


def record(console, table, user):
    """Makes a record that this user may read."""
    if table == "usersettingscollection":
        return user
    id = console.create(table, {"name": "walked"})
    console.sql(f"UPDATE org_contoso.{TABLES[table]} SET ownerid = %s WHERE {TABLES[table]}id = %s", [user, id])
    return id


def has_form(page):
    return 'class="save"' in page.text


@pytest.mark.parametrize("role, table", list(itertools.product(ROLES, TABLES)))
def test_a_form_is_shown_to_who_may_send_it(console, visitors, role, table):
    visitor, user = visitors[role]
    new = visitor.get(f"records/{table}/new")
    if (role, table) in CREATES:
        assert new.status_code == 200 and has_form(new)
    else:
        assert new.status_code == 403 and "Your role does not allow this" in text(new) and "<input type=\"password\"" not in new.text
    list = visitor.get(f"records/{table}")
    assert list.status_code == (200 if (role, table) in READS else 403)
    assert (f"records/{table}/new" in list.text) == ((role, table) in CREATES)
    id = record(console, table, user)
    page = visitor.get(f"records/{table}/{id}")
    if (role, table) not in READS:
        assert page.status_code in (403, 404) and not has_form(page)
        return
    assert page.status_code == 200 and has_form(page)
    version = re.search(r'name="version" value="(\d*)"', page.text)[1]
    assert visitor.send(f"records/{table}/{id}", version=version, loaded=re.search(r'name="loaded" value="([^"]*)"', page.text)[1].replace("&quot;", '"')).status_code == 200
    assert_links_lead_somewhere(visitor, page)


def test_an_owner_is_a_text_for_who_may_not_assign(console, visitors):
    """A Basic User can't assign a mailbox. So the page shows the owner as text and without a field."""
    visitor, user = visitors["Basic User"]
    id = record(console, "mailboxes", user)
    page = visitor.get(f"records/mailboxes/{id}")
    assert 'name="ownerid"' not in page.text and "Owner walks as Basic User" in text(page)
    assert 'name="ownerid"' in visitors["Email Administrator"][0].get(f"records/mailboxes/{id}").text
    # For an Email Administrator, the page says who creates teams.
    queue = record(console, "queues", user)
    said = "A System Administrator creates teams."
    assert said in text(visitors["Email Administrator"][0].get(f"records/queues/{queue}")) and said not in text(visitors["System Administrator"][0].get(f"records/queues/{queue}"))



def assert_links_lead_somewhere(visitor, page):
    main = page.text.split("<main")[1]
    for link in set(re.findall(r'href="/contoso/([^"#]+)"', main)):
        answer = visitor.get(link.replace("&amp;", "&"))
        assert answer.status_code == 200, (link, answer.status_code, text(answer)[:200])


@pytest.mark.parametrize("role", ROLES)
def test_links_and_typed_addresses_of_a_role(visitors, role):
    visitor, _ = visitors[role]
    is_mail = role != "Basic User"
    assert visitor.get("connect").status_code == (200 if is_mail else 403)
    for page in ("overview", "records/mailboxes", "records/emails", "records/usersettingscollection"):
        answer = visitor.get(page)
        if answer.status_code == 200:
            assert_links_lead_somewhere(visitor, answer)
            assert ("/bulk" in answer.text and 'name="do"' in answer.text) <= is_mail


def test_an_overview_says_that_no_router_runs(console, visitors):
    sentence = "No router is running: no mail is fetched or sent"
    assert console.sql("SELECT count(*) > 0 FROM org_contoso.mailbox WHERE statecode = 0") == [(True,)]
    router = console.router_pid()
    os.kill(router, signal.SIGSTOP)
    try:
        console.sql("UPDATE org_contoso.mail_router SET seen_on = now() - interval '1 hour'")
        shown = {role: sentence in text(visitor.get("overview")) for role, (visitor, _) in visitors.items()}
        assert shown == {"Basic User": False, "Email Administrator": True, "System Administrator": True}
        console.sql("UPDATE org_contoso.mail_router SET seen_on = now()")
        assert sentence not in text(visitors["System Administrator"][0].get("overview"))
    finally:
        os.kill(router, signal.SIGCONT)


def test_what_a_person_may_not_read_is_left_out(console, visitors):
    """A Basic User may not read the mailbox's profile and queue, so the pages show neither their names nor their ids."""
    visitor, user = visitors["Basic User"]
    [(profile,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")
    queue = console.create("queues", {"name": "unread desk", "emailaddress": "unread@contoso.example"})
    box = console.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    console.sql("UPDATE org_contoso.mailbox SET ownerid = %s, emailserverprofile = %s WHERE mailboxid = %s", [user, profile, box])
    list = visitor.get("records/mailboxes?q=unread")
    assert f"/records/mailboxes/{box}" in list.text and profile not in list.text and "Server profile" not in text(list)
    assert re.search(r"<dt>Belongs to</dt><dd>(.*?)</dd>", visitor.get(f"records/mailboxes/{box}").text)[1] == "Queue"
    assert profile not in visitor.get("records/mailboxes/export.csv?q=unread").text
    # An Email Administrator may read the profile, and the list names it.
    other, _ = visitors["Email Administrator"]
    assert "Server profile" in text(other.get("records/mailboxes?q=unread"))
