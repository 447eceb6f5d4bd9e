"""Where a person chooses a record, records with equal names can be told apart. Connecting another mailbox with the same servers uses the same profile."""

import re

import pytest
import test_console_pages
from test_console_tasks import Person, text
from html_forms import answer_of

console = test_console_pages.console


@pytest.fixture(scope="module")
def twins(console):
    """Four profiles with the same name: two with different servers, and two that differ only by their ids."""
    hosts = ("imap.one.test", "imap.two.test", "imap.three.test", "imap.three.test")
    return [console.create("emailserverprofiles", {"name": "Twin · mail", "servertype": 4, "incomingserverlocation": host}) for host in hosts]


@pytest.fixture
def box(console):
    return console.create("mailboxes", {"name": "of a twin"})


def offered(page, list):
    return re.findall(r'<option value="([^"]*)"', re.search(rf'(?s)<datalist id="{list}">(.*?)</datalist>', page)[1])


def assigned(console, box):
    return console.sql("SELECT emailserverprofile::text FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0][0]


def test_profiles_of_one_name_are_offered_apart_and_each_is_taken(console, twins, box):
    admin = Person(console)
    names = [name for name in offered(admin.get("records/mailboxes?size=25").text, "bulk-profiles") if name.startswith("Twin")]
    assert len(names) == len(set(names)) == 4, names
    assert [host for host in ("one", "two", "three") if sum(f"imap.{host}.test" in name for name in names)] == ["one", "two", "three"]
    assert sum(any(id in name for id in twins) for name in names) == 2, "an id only where nothing else tells them apart"
    taken = set()
    for name in names:
        form = {"returns": "/contoso/records/mailboxes", "do": "profile", "profile": name, f"id.{box}": "1"}
        asked = admin.send("records/mailboxes/bulk", **form)
        said = text(admin.send("records/mailboxes/bulk", **form, confirmed=answer_of(asked.text)).text)
        assert "1 mailbox was given the server profile." in said, said
        taken.add(assigned(console, box))
    assert taken == set(twins)
    # The form of a mailbox, and the suggestions during typing, show the same distinct names.
    page = admin.get(f"records/mailboxes/{box}").text
    value = re.search(r'name="emailserverprofile" value="([^"]*)"', page)[1]
    assert value in names and [name for name in offered(page, "emailserverprofile-offers") if name.startswith("Twin")] == names
    assert admin.get("lookup/emailserverprofile?q=Twin").json()["names"] == names
    first = next(name for name in names if "imap.one.test" in name)
    hidden = dict(re.findall(r'<input type="hidden" name="((?!csrf)[^"]+)" value="([^"]*)"', page))
    hidden["loaded"] = hidden["loaded"].replace("&quot;", '"')
    assert admin.send(f"records/mailboxes/{box}", **hidden, name="of a twin", emailserverprofile=first).status_code == 200
    assert assigned(console, box) == twins[0]


def test_a_name_of_several_is_refused_with_what_tells_them_apart(console, twins, box):
    said = text(Person(console).send("records/mailboxes/bulk", returns="/contoso/records/mailboxes", do="profile", profile="Twin · mail", **{f"id.{box}": "1"}).text)
    assert "Several have the name “Twin · mail”. Enter one of these instead:" in said and "imap.one.test" in said and assigned(console, box) is None
    german = text(Person(console, "de").send("records/mailboxes/bulk", returns="/contoso/records/mailboxes", do="profile", profile="Twin · mail", **{f"id.{box}": "1"}).text)
    assert "Mehrere heißen „Twin · mail“." in german


def test_the_same_servers_are_one_profile_and_others_have_their_own_name(console):
    admin = Person(console)

    def connect(address, **form):
        answer = admin.send(
            "connect", provider="other", once=address, name=address, emailaddress=address, password="x", incomingserver="imap.again.test",
            **{"outgoingserver": "smtp.again.test", "protocol": "imap", **form})
        assert answer.status_code == 200 and "/records/mailboxes/" in answer.url, text(answer.text)
        return assigned(console, re.search(r"mailboxes/([\w-]+)", answer.url)[1])

    first = connect("first@again.test")
    assert connect("second@again.test") == first
    other = connect("third@again.test", incomingport="1993")
    assert connect("fourth@again.test", incomingport="1993") == other != first
    names = console.sql("SELECT name FROM org_contoso.emailserverprofile WHERE incomingserverlocation = 'imap.again.test' ORDER BY createdon")
    assert names == [("imap.again.test",), ("imap.again.test 2",)]


def test_events_are_filtered_by_groups_of_kinds(console):
    admin = Person(console)
    box = console.create("mailboxes", {"name": "grouped password", "password": "first"})
    assert console.request("PATCH", f"mailboxes({box})", {"password": "second"}).status_code == 204
    assert console.request("PATCH", f"mailboxes({box})", {"password": None}).status_code == 204
    page = admin.get(f"events?kind=passwords&record={box}").text
    said = [text(line) for line in re.findall(r'(?s)<li><details><summary class="line">(.*?)</summary>', page)]
    assert ["Password " + kind in line for kind, line in zip(("cleared", "replaced", "set"), said, strict=True)] == [True] * 3, said
    assert '<option value="passwords" selected>Password changes</option>' in page
    assert '<li><details>' not in admin.get(f"events?kind=keys&record={box}").text
    for language, groups in (("en", "Groups of kinds"), ("de", "Gruppen von Arten"), ("fr", "Groupes de types")):
        assert f'<optgroup label="{groups}">' in Person(console, language).get("events?kind=people").text


def test_changes_of_users_and_teams_are_filtered(console):
    admin = Person(console)
    console.create("teams", {"name": "a team of changes"})
    page = admin.get("audit?table=team").text
    assert "a team of changes" in page and "<option value=\"team\" selected>Teams</option>" in page
    users = admin.get("audit?table=systemuser").text
    assert '<option value="systemuser" selected>Users</option>' in users and "a team of changes" not in users and "User " in text(users)
