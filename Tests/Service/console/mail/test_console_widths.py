"""If a list has enough room, each address, id and state is on one line."""

import pytest
import test_console_pages
from console_browser import chromium, resize, sign_in

console = test_console_pages.console
ADDRESSES = ("support1@contoso.example", "customers@elsewhere.test", "w.brandenburger@kundendienst.example")
# Finds addresses, ids and badges that need more than one line. An address may continue on the next line only after its @. An address of at most 24
# letters in its own column may not be divided.
DIVIDED = r"""
const found = [];
let wholes = 0;
for (const scroll of document.querySelectorAll(".scroll:has(> .cards)")) {
    if (scroll.scrollWidth > scroll.clientWidth + 1) found.push(`${scroll.scrollWidth - scroll.clientWidth} pixels are out of sight`);
    for (const badge of scroll.querySelectorAll("td .badge:not(.long)")) {
        if (badge.getBoundingClientRect().height > 1.7 * parseFloat(getComputedStyle(badge).fontSize) + 4) found.push(`badge: ${badge.textContent}`);
    }
    for (const cell of scroll.querySelectorAll("tbody td")) {
        const whole = ["From", "E-mail address", "Von", "E-Mail-Adresse", "De", "Adresse e-mail"].includes(cell.dataset.label);
        wholes += whole && cell.textContent.length <= 24;
        const texts = document.createTreeWalker(cell, NodeFilter.SHOW_TEXT), letters = [];
        for (let text = texts.nextNode(); text; text = texts.nextNode()) for (let i = 0; i < text.data.length; i++) letters.push([text, i, text.data[i]]);
        for (const word of letters.map((l) => l[2]).join("").matchAll(/[\w.-]+@[\w.-]+\w|[0-9a-f]{8}-[0-9a-f-]{27}/g)) {
            const tops = letters.slice(word.index, word.index + word[0].length).map(([text, i]) => {
                const range = document.createRange();
                range.setStart(text, i); range.setEnd(text, i + 1);
                return Math.round(range.getBoundingClientRect().top);
            });
            const ends = tops.flatMap((top, i) => i && Math.abs(top - tops[i - 1]) > 4 ? [word[0].slice(0, i)] : []);
            // The sample has a mailbox whose address no list has room for.
            if (!word[0].startsWith("a-rather-long") && ends.some((end) => word[0].length <= 24 && whole || !end.endsWith("@"))) found.push(`${word[0]} ends a line at ${ends}`);
        }
    }
}
return [found, wholes];
"""


@pytest.fixture(scope="module")
def filled(console):
    """Mailboxes and e-mails with addresses of usual length in the columns that show addresses."""
    profile = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")[0][0]
    for number, address in enumerate(ADDRESSES):
        box = console.create("mailboxes", {"name": address, "emailaddress": address, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
        console.sql("UPDATE org_contoso.mailbox SET lastsuccessfulsynccompletedon = now() - interval '13 minutes' WHERE mailboxid = %s", [box])
        console.sql(
            "INSERT INTO org_contoso.email (activityid, subject, directioncode, statuscode, statecode, sender, torecipients, createdon) "
            "VALUES (gen_random_uuid(), %s, true, 6, 1, %s, %s, now())", [f"Question {number}", ADDRESSES[number % 2], ";".join(ADDRESSES[:2])])
    console.run("client", "add", "nightly import", "--role", "Email Router")
    return console


@pytest.mark.parametrize("language", ["en", "de", "fr"])
def test_no_list_divides_an_address_where_it_has_room(filled, language):
    driver, found = chromium(language=language), []
    try:
        sign_in(driver, filled)
        for path in ("records/mailboxes", "records/emails", "records/queues", "access"):
            driver.get(f"{filled.pages}/{path}")
            for width in (1280, 1440):
                resize(driver, width)
                problems, wholes = driver.execute_script(DIVIDED)
                found += [(path, width, problem) for problem in problems]
                assert wholes or path == "access", (path, "no column of addresses was found")
    finally:
        driver.quit()
    assert found == [], "\n".join(map(str, found))
