"""No page shows an English sentence in another language: the details of events, alerts, reports about mailboxes and e-mails, and findings.

What a mail server said, and a text that the console does not know, are quoted."""

import csv
import html
import io
import pathlib
import re

import pytest
import test_console_pages
from event_details import ALERT_DETAILS, ALERT_TEXTS, EVENTS, ID, REPORTS, SET_ASIDE
from test_console_access import text
from test_console_tasks import Person
from waiting import until

ROOT = pathlib.Path(__file__).parents[4]
MESSAGES = test_console_pages.MESSAGES
LANGUAGES = sorted(set(MESSAGES) - {"en"})
console = test_console_pages.console
#: English words that German and French texts do not have.
ENGLISH = re.compile(r"\b(the|of|and|is|are|by|for|from|with|this|that|has|its|were|been|which|whose|not|was deleted|can't|does|your|it)\b")
#: Quotations: a mail server's words, and texts of other programs.
QUOTES = re.compile("„[^“]*“|«[^»]*»|“[^”]*”")
#: The names of settings, of kinds of events and of commands.
NAMES = re.compile(r"\b(fieldseal( --?[a-z-]+| [a-z]+)*|fieldseal\.\w+( = on)?|[A-Z]{3,}( [A-Z]{2,})+|org [a-z]+|client [a-z-]+|user [a-z]+)\b")


def english(page):
    """The lines of a page that have English words outside of quotations."""
    page = re.sub(r"(?s)<(script|style|iframe|svg|nav|option)\b.*?</\1>|<input[^>]*>", "", page[page.index("<main"):])
    lines = {re.sub(r"\s+", " ", html.unescape(line)).strip() for line in re.split(r"<(?!wbr|b>|/b>)[^>]*>", page)}
    lines = {re.sub("<[^>]*>", "", line).replace(test_console_pages.LONG, "") for line in lines}
    return sorted(line for line in lines if ENGLISH.search(NAMES.sub("", QUOTES.sub("", line))))


def insert_events(console, events):
    """Events as an earlier version wrote them. The chain is not verified by the pages of events."""
    for kind, outcome, details in events:
        console.sql(
            """
            INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
            SELECT min(security_event_id) - 1, now() - interval '300 days', %s, %s, 'user:admin', %s, sha256('a'), sha256('b') FROM org_contoso.security_event""",
            [kind, outcome, details])


@pytest.fixture(scope="module")
def evidence(console):
    """Events, alerts and reports of every kind."""
    box = console.ids["mailbox"]
    insert_events(console, [(kind, outcome, details.replace(ID, box)) for kind, outcome, details in EVENTS])
    for number, (words, details) in enumerate([(words, "") for words in ALERT_TEXTS] + [("It stays in the mailbox.", details) for details in ALERT_DETAILS]):
        console.sql(
            """INSERT INTO org_contoso.tracelog (tracelogid, text, errordetails, level, tracecode, regardingobjectid, regardingobjecttypecode, createdon, modifiedon)
               VALUES (gen_random_uuid(), %s, %s, 3, %s, %s, 'mailbox', now() - interval '40 days', now() - interval '40 days')""",
            [words, details, number, console.ids["failing"]])
    return console


def test_every_kind_of_event_with_details_has_an_example():
    kinds = {kind for kind, _, _ in EVENTS}
    all_kinds = {key.removeprefix("event:") for key in MESSAGES["en"] if key.startswith("event:")}
    # These events have no details.
    without = {"key read", "key kept", "key activated", "key change cancelled", "organization created", "organization suspended", "organization resumed",
               "organization removal begun", "password confirmed", "one-time passwords turned on", "one-time passwords turned off", "recovery codes replaced", "recovery code used",
               "token sent without encryption", "token revoked"}
    assert all_kinds - kinds == without, (all_kinds - kinds) ^ without


def test_every_pattern_of_details_has_an_example():
    known = {f"{kind}/{details}" for kind, _, details in EVENTS} | {f"/{details}" for details in ALERT_DETAILS}
    parts = known | {f"{kind}/{part}" for kind, _, details in EVENTS for part in details.split("; ")}
    inner = "\n".join(parts)
    for key in (key.removeprefix("fact:") for key in MESSAGES["en"] if key.startswith("fact:")):
        pattern = ".+?".join(re.escape(part) for part in re.split(r"\{\d\}", key))
        kind, _, words = key.partition("/")
        within = ".+?".join(re.escape(part) for part in re.split(r"\{\d\}", words))
        assert any(re.fullmatch(pattern, part) for part in parts) or kind in ("", "doubt") and re.search(within, inner), key


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_event_has_an_english_sentence(evidence, language):
    admin, found = Person(evidence, language), []
    for kind in sorted({kind for kind, _, _ in EVENTS}):
        page = admin.get(f"events?kind={kind.replace(' ', '+')}").text
        found += [(kind, line) for line in english(page)]
    assert found == []
    # The columns in words of the export, too. The column of the stored details keeps them.
    rows = list(csv.DictReader(io.StringIO(admin.get("events.csv").content.decode("utf-8-sig"))))
    words = [row["detailsname"].replace(test_console_pages.LONG, "") for row in rows]
    wrong = [text for text in words if ENGLISH.search(NAMES.sub("", QUOTES.sub("", text)))]
    assert wrong == [] and any(row["details"] == EVENTS[0][2].replace(ID, evidence.ids["mailbox"]) for row in rows)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_alert_has_an_english_sentence(evidence, language):
    admin, found, seen = Person(evidence, language), [], 0
    for (id,) in evidence.sql("SELECT tracelogid::text FROM org_contoso.tracelog WHERE createdon < now() - interval '30 days'"):
        found += english(admin.get(f"records/tracelogs/{id}").text)
        seen += 1
    found += english(admin.get("records/tracelogs?size=100").text)
    assert found == [] and seen == len(ALERT_TEXTS) + len(ALERT_DETAILS)


@pytest.mark.parametrize("language", LANGUAGES)
def test_no_page_of_a_mailbox_or_an_e_mail_has_an_english_sentence(evidence, language):
    """With each report of a router and each refusal of the service that such a page can show."""
    admin, found, box = Person(evidence, language), [], evidence.ids["failing"]
    [(email,)] = evidence.sql(
        "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, createdon) "
        "VALUES (gen_random_uuid(), 'x', true, 8, 0, 'a@contoso.test', now()) RETURNING activityid::text")
    before = evidence.sql("SELECT lastsyncerror, incomingemailstatus FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0]
    name = html.escape(evidence.get(f"mailboxes({box})?$select=name").json()["name"])
    try:
        for report in REPORTS:
            evidence.sql("UPDATE org_contoso.mailbox SET lastsyncerror = %s, incomingemailstatus = 2 WHERE mailboxid = %s", [report, box])
            page = admin.get(f"records/mailboxes/{box}").text
            card = page[page.index('id="status"'):page.index("<form", page.index('id="status"'))]
            found += english("<main>" + card.replace(name, ""))
            evidence.sql("UPDATE org_contoso.email SET failure = %s WHERE activityid = %s", [report, email])
            found += english(admin.get(f"records/emails/{email}").text)
        for number, reason in enumerate(SET_ASIDE):
            evidence.sql(
                "INSERT INTO org_contoso.mailbox_message (mailboxid, uid, attempts, reason, next_attempt) VALUES (%s, %s, 1, %s, now() + interval '1 hour')", [box, f"1:{number}", reason])
        page = admin.get(f"records/mailboxes/{box}").text
        assert 'class="aside"' in page
        found += english("<main>" + page[page.index('class="aside"'):page.index("</ul>", page.index('class="aside"'))])
    finally:
        evidence.sql("UPDATE org_contoso.mailbox SET lastsyncerror = %s, incomingemailstatus = %s WHERE mailboxid = %s", [*before, box])
        evidence.sql("DELETE FROM org_contoso.mailbox_message WHERE mailboxid = %s", [box])
        evidence.sql("DELETE FROM org_contoso.email WHERE activityid = %s", [email])
    assert sorted(set(found)) == []


def test_a_mail_servers_own_words_are_quoted(evidence):
    german, id = Person(evidence, "de"), evidence.ids["email"]
    [before] = evidence.sql("SELECT statuscode, directioncode FROM org_contoso.email WHERE activityid = %s", [id])
    evidence.sql("UPDATE org_contoso.email SET statuscode = 8, directioncode = true, failure = '550 5.1.1 no such user' WHERE activityid = %s", [id])
    try:
        assert "Der Mailserver antwortete: „550 5.1.1 no such user“" in text(german.get(f"records/emails/{id}"))
        assert "The mail server answered: “550 5.1.1 no such user”" in text(Person(evidence).get(f"records/emails/{id}"))
    finally:
        evidence.sql("UPDATE org_contoso.email SET statuscode = %s, directioncode = %s, failure = NULL WHERE activityid = %s", [*before, id])


# The doctor's findings on the overview


#: The files whose findings the overview shows, with the functions that other commands alone use left out.
FINDINGS = ("Organizations/Doctor+AttestedState", "Organizations/Doctor+Events", "Organizations/Doctor+Audit", "Organizations/Doctor+KeyControl",
            "Organizations/Doctor+Roles", "Organizations/Doctor+Suspension", "Organizations/MailDestinationFindings", "Organizations/Doctor+Config")


def test_the_findings_of_the_overview_have_translations():
    known = {re.sub(r"\{\d\}", "{}", key.removeprefix("finding:")) for key in MESSAGES["en"] if key.startswith("finding:")}
    missing = []
    for name in FINDINGS:
        source = re.sub(r"(?m)^\s*//.*$", "", (ROOT / f"Sources/Diagnostics/Doctor/{name}.swift").read_text())
        source = re.sub(r'"\s*\+\s*"', "", re.sub(r'(?s)""".*?"""', "", source))
        for literal in re.findall(r'"((?:[^"\\\n]|\\\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)|\\.)*)"', source):
            words = re.sub(r"\\\((?:[^()]|\((?:[^()]|\([^()]*\))*\))*\)", "{}", literal).replace('\\"', '"')
            if len(re.findall(r"[a-z]{2,} ", words)) > 2 and not re.match(r"SELECT|UPDATE|EXISTS|FROM|encode", words) and words not in known:
                missing.append((name, words))
    # A finding with a choice of words in it has a pattern for each choice.
    assert [found for found in missing if "{}" not in found[1]] == [], missing


@pytest.mark.parametrize("language", LANGUAGES)
def test_the_overview_shows_findings_in_the_readers_language(console, language):
    intruder, box = f"intruder-{language}", console.ids["failing"]
    [(before,)] = console.sql("SELECT username FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
    console.sql("INSERT INTO config.api_client SELECT gen_random_uuid(), organization_id, %s, gen_random_uuid(), 'System Administrator', '\\x00', now(), 'x' FROM config.organization", [intruder])
    console.sql("UPDATE org_contoso.mailbox SET username = 'elsewhere' WHERE mailboxid = %s", [box])
    admin = Person(console, language)
    try:
        # Checks of the records may take longer than a page waits.
        page = until(lambda: admin.get("overview").text, holds=lambda page: intruder in page and box in page)
        assert english(page) == []
    finally:
        console.sql("DELETE FROM config.api_client WHERE name = %s", [intruder])
        console.sql("UPDATE org_contoso.mailbox SET username = %s WHERE mailboxid = %s", [before, box])


def test_each_language_has_the_same_values_in_facts_and_findings():
    for language in LANGUAGES:
        for key, words in MESSAGES[language].items():
            if key.startswith(("fact:", "finding:")):
                values = set(re.findall(r"\{(\d)", MESSAGES["en"][key]))
                assert set(re.findall(r"\{(\d)", words)) <= set(re.findall(r"\{(\d)", key)) and set(re.findall(r"\{(\d)", words)) == values, (language, key)
