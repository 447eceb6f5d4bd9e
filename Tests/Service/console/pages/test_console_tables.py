"""Lists with long values, in windows of every width: no word is divided, and the state and the time are visible."""

import re

import pytest
import test_console_pages
from console_browser import chromium, resize, sign_in

#: Widths of tablets in both orientations, and of small screens.
WIDTHS = (640, 700, 768, 900, 1024, 1180, 1280, 1440)
LISTS = (
    "records/mailboxes", "records/emails", "records/emailserverprofiles", "records/queues", "records/usersettingscollection", "records/tracelogs",
    "access", "account", "retention", "settings/approvals")
LONG = {
    "mailboxes": {"name": "Kundendienstpostfach Süddeutschland", "emailaddress": "wilhelmine.brandenburger-schmidt@kundendienst.contoso.example"},
    "queues": {"name": "Rechnungsprüfung Landesniederlassung", "emailaddress": "rechnungspruefung@landesniederlassung.contoso.example"},
    "emailserverprofiles": {
        "name": "Hauptverwaltungsserver Süd", "servertype": 4, "incomingserverlocation": "eingang.mail-verwaltung.contoso.example", "incomingportnumber": 993,
        "outgoingserverlocation": "ausgang.mail-verwaltung.contoso.example", "outgoingportnumber": 587, "incomingcredentialretrieval": 0, "outgoingcredentialretrieval": 0},
}
#: Finds texts that the rows of a list hide or divide.
TABLES = """
const found = [];
for (const scroll of document.querySelectorAll(".scroll:has(> .cards)")) {
    const room = scroll.getBoundingClientRect();
    if (scroll.scrollWidth > scroll.clientWidth + 1) found.push(`${scroll.scrollWidth - scroll.clientWidth} pixels are out of sight`);
    for (const cell of scroll.querySelectorAll("tbody td")) {
        const box = cell.getBoundingClientRect();
        if (!box.width) continue;
        if (box.right > room.right + 1 || box.left < room.left - 1 || room.right > innerWidth) found.push(`out of sight: ${cell.outerHTML.slice(0, 120)}`);
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
        for (let text = texts.nextNode(); text; text = texts.nextNode()) {
            if (text.parentElement.closest("code, .unseen")) continue;
            for (const word of text.data.matchAll(/[\\p{L}\\p{N}]{2,}/gu)) {
                if (word[0].length > 20) continue;
                const range = document.createRange();
                // Behind a soft hyphen a word begins with what is drawn of the hyphen, at the end of the line before.
                range.setStart(text, word.index + (text.data[word.index - 1] === "\u00ad" ? 1 : 0)); range.setEnd(text, word.index + word[0].length);
                const tops = [...range.getClientRects()].filter((r) => r.width > 0).map((r) => r.top);
                if (Math.max(...tops) - Math.min(...tops) > 8) found.push(`${word[0]} is broken: ${cell.dataset.label}`);
                if (range.getBoundingClientRect().right > box.right + 1) found.push(`${word[0]} is wider than ${cell.dataset.label}`);
            }
        }
    }
}
return [document.querySelectorAll(".cards tbody tr").length, found];
"""
#: Finds words in the facts of a record that are divided at the end of a line.
FACTS = """
const found = [];
for (const cell of document.querySelectorAll("main dd, main dt")) {
    const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT);
    for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        for (const word of text.data.matchAll(/[\\p{L}]{2,}/gu)) {
            if (word[0].length > 20) continue;
            const range = document.createRange();
            range.setStart(text, word.index); range.setEnd(text, word.index + word[0].length);
            const tops = [...range.getClientRects()].filter((r) => r.width > 0).map((r) => r.top);
            if (Math.max(...tops) - Math.min(...tops) > 8) found.push(`${word[0]} is broken`);
        }
    }
}
return found;
"""
#: Whether the wanted columns of each row are visible.
WANTED = """
return [...document.querySelectorAll(".cards tbody tr")].every((row) => {
    const first = row.querySelector("td.first").getBoundingClientRect();
    return first.width >= 190 && [...row.querySelectorAll("td.mark, td.when")].every((e) => e.getBoundingClientRect().right <= innerWidth);
});
"""
console = test_console_pages.console


@pytest.fixture(scope="module")
def filled(console):
    """Records with long names, addresses and subjects, and an e-mail with several recipients."""
    made = {entity_set: console.create(entity_set, values) for entity_set, values in LONG.items()}
    console.sql(
        "UPDATE org_contoso.mailbox SET lastsuccessfulsynccompletedon = now() - interval '13 minutes', emailserverprofile = %s WHERE mailboxid = %s",
        [made["emailserverprofiles"], made["mailboxes"]])
    for subject, sender, to, status in [
        ("Auftragsbestätigung für Ihre Sammelbestellung CRM:0000014", "support@contoso.test", "customer@elsewhere.test;nobody@contoso.test", 3),
        ("Refused one CRM:0000015", "wilhelmine.brandenburger-schmidt@kundendienst.contoso.example", ";".join(f"empfaenger{i}@landesniederlassung.example" for i in range(7)), 8),
        ("x" * 300, "customer@elsewhere.test", "support@contoso.test", 4),
    ]:
        console.sql(
            """INSERT INTO org_contoso.email (activityid, subject, description, directioncode, statuscode, statecode, sender, torecipients, createdon)
               VALUES (gen_random_uuid(), %s, '<p>x</p>', true, %s, 1, %s, %s, now())""", [subject, status, sender, to])
    console.run("user", "add", "wilhelmine.brandenburger-schmidt", "--role", "Email Administrator", stdin="a password of hers\n")
    return console


@pytest.mark.parametrize("language", sorted(test_console_pages.MESSAGES))
def test_no_list_hides_or_breaks_what_it_has(filled, language):
    driver, found = chromium(language=language), []
    try:
        sign_in(driver, filled)
        for path in LISTS:
            driver.get(f"{filled.pages}/{path}")
            for width in WIDTHS:
                resize(driver, width)
                rows, problems = driver.execute_script(TABLES)
                assert rows or path == "settings/approvals", path
                found += [(path, width, problem) for problem in sorted(set(problems))]
                if path.startswith("records/") and not driver.execute_script(WANTED):
                    found.append((path, width, "the name has no room, or the state is out of sight"))
    finally:
        driver.quit()
    assert found == [], "\n".join(map(str, found))


@pytest.mark.parametrize("language", sorted(test_console_pages.MESSAGES))
def test_no_fact_of_a_mailbox_breaks_a_word(filled, language):
    queue = filled.create("queues", {"name": "Support", "emailaddress": f"facts-{language}@contoso.example"})
    box = filled.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    filled.sql(
        """UPDATE org_contoso.mailbox SET lastsuccessfulsynccompletedon = now(), processinglastattemptedon = now(), testmailboxaccesscompletedon = now(),
           itemsprocessedforlastsync = 3, transientfailurecount = 2 WHERE mailboxid = %s""", [box])
    driver, found = chromium(language=language), []
    try:
        sign_in(driver, filled)
        driver.get(f"{filled.pages}/records/mailboxes/{box}")
        for width in (360, 390, *WIDTHS):
            resize(driver, width)
            found += [(width, problem) for problem in driver.execute_script(FACTS)]
    finally:
        driver.quit()
    assert found == [], "\n".join(map(str, found))


def test_a_list_names_the_first_recipients(filled):
    session = test_console_pages.visitor(filled)
    page = session.get(f"{filled.pages}/records/emails?q=Refused+one").text
    page = re.sub(r"<wbr[^>]*>", "", page)
    [to] = re.findall(r'data-label="To">([^<]*)<', page)
    assert to == "empfaenger0@landesniederlassung.example, empfaenger1@landesniederlassung.example +5"
    lines = session.get(f"{filled.pages}/records/emails/export.csv?q=Auftragsbest").text.splitlines()
    assert '"customer@elsewhere.test, nobody@contoso.test"' in lines[1]
