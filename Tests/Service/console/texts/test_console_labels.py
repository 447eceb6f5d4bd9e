"""Labels of fields: no form has two fields with the same label, and all of them are in the reader's language."""

import html
import re

import pytest
import test_console_pages
from test_console_tasks import Person

MESSAGES = test_console_pages.MESSAGES
console = test_console_pages.console
#: Forms with fields that people fill in.
PAGES = ("connect?provider=other", "compose", "access/people/new", "access/clients/new", "records/mailboxes/new", "records/queues/new", "records/emailserverprofiles/new",
         "settings/data-encryption/change", "account", "events", "audit", "records/mailboxes", "records/emails", "records/tracelogs", "records/emailserverprofiles")


def labels(page):
    """The labels of each form."""
    for part in re.findall(r"(?s)<form\b.*?</form>", page):
        found = []
        for label in re.findall(r"(?s)<label\b[^>]*>(.*?)</label>", part):
            label = re.sub(r"(?s)<(select|textarea|datalist)\b.*?</\1>|<span class=\"(?:zone|unseen)\".*?</span>|<input[^>]*>", "", label)
            found.append(re.sub(r"\s+", " ", html.unescape(re.sub("<[^>]*>", "", label))).strip())
        yield [label for label in found if label]


@pytest.mark.parametrize("language", sorted(MESSAGES))
def test_no_form_has_two_fields_of_one_label(console, language):
    admin = Person(console, language)
    paths = PAGES + tuple(f"records/{entity_set}/{console.ids[name]}" for entity_set, name in (("mailboxes", "mailbox"), ("queues", "queue"), ("emailserverprofiles", "profile")))
    for path in paths:
        for found in labels(admin.get(path).text):
            # Each row of a list has a box with the name of its record, and so do values to delete.
            twice = {label for label in found if found.count(label) > 1} - {MESSAGES[language]["clear"]}
            assert not twice, (path, twice)


def test_the_ports_of_a_profile_differ(console):
    for language in MESSAGES:
        page = Person(console, language).get(f"records/emailserverprofiles/{console.ids['profile']}").text
        shown = [re.search(rf'<label for="{name}"[^>]*>([^<]*)', page)[1] for name in ("incomingportnumber", "outgoingportnumber")]
        assert shown[0] != shown[1] and all("Port" in label for label in shown), shown


@pytest.mark.parametrize("language", sorted(set(MESSAGES) - {"en"}))
def test_all_attributes_have_labels_in_the_readers_language(console, language):
    """With the name of the Web API beside each."""
    page = Person(console, language).get(f"records/emailserverprofiles/{console.ids['profile']}").text
    raw = page.partition(f"<summary>{html.escape(MESSAGES[language]['allAttributes'], quote=False)}</summary>")[2].partition("</details>")[0]
    found = re.findall(r'(?s)<label for="(\w+)"[^>]*>(.*?) <code class="quiet">(\w+)</code></label>', raw)
    assert len(found) > 5
    for name, label, shown in found:
        known = MESSAGES[language].get(f"attribute:emailserverprofile.{name}") or MESSAGES[language][f"attribute:{name}"]
        assert name == shown and html.unescape(label).strip() == known, name


# Choices that make sense


def test_a_time_that_each_record_has_can_not_be_never(console):
    admin = Person(console)
    for path, name in (("emails", "createdon"), ("tracelogs", "createdon"), ("tracelogs", "modifiedon"), ("queues", "modifiedon")):
        page = admin.get(f"records/{path}").text
        field = re.search(rf'(?s)<select name="f\.{name}">.*?</select>', page)[0]
        assert 'value="-"' not in field and 'value="within-24h"' in field, (path, name)
        assert admin.session.get(f"{admin.pages}/records/{path}?f.{name}=-").status_code == 400
    assert 'value="-"' in re.search(r'(?s)<select name="f\.lastsuccessfulsynccompletedon">.*?</select>', admin.get("records/mailboxes").text)[0]


def test_the_panel_of_many_mailboxes_stays_open_with_its_message(console):
    answer = Person(console).send("records/mailboxes/bulk", do="enable", returns="/contoso/records/mailboxes")
    assert "Select at least one mailbox first." in answer.text and '<details class="bulk-box" open>' in answer.text


def test_numbers_say_what_empty_means(console):
    page = Person(console).get("records/emailserverprofiles/new").text
    for name in ("incomingportnumber", "outgoingportnumber", "maxconcurrentconnections", "minpollingintervalinminutes", "timeoutmailboxconnectionafteramount"):
        field = re.search(rf'<input id="{name}"[^>]*>', page)[0]
        assert re.search(r'placeholder="\d+"', field) and re.search(rf'id="{name}-help">Empty: ', page), name


def test_a_person_without_a_name_is_told_what_to_type(console):
    answer = Person(console).send("access/add-user", name=" ", role="Basic User", how="invite")
    assert answer.status_code == 400 and "Type the user name of the person" in answer.text
