"""The figures of the overview and of the key's page, compared with the database. Also, what needs attention, and empty lists."""

import html
import itertools
import json
import os
import pathlib
import re
import signal
import types

import pytest
from selenium.webdriver.common.by import By
from console_browser import press, says, sign_in
from test_console_access import Visitor, password, person, text
from test_console_pages import shown_rows
from waiting import until

ROOT = pathlib.Path(__file__).parents[4]
MESSAGES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "Sources/CConsole/Messages").glob("*.json")}
#: The number of hours in a chart, the width of an hour, and the width of the chart.
HOURS, STEP, WIDTH = 24, 10, 240
DAY = 86_400


@pytest.fixture(scope="module")
def place(console):
    """Mail, releases and refused sign-ins, one hour and twenty hours old. Written before any page counts them."""
    router = console.router_pid()
    os.kill(router, signal.SIGSTOP)
    console.sql("DELETE FROM org_contoso.email")
    for hours, (received, sent) in {1: (3, 1), 20: (2, 4)}.items():
        for number in range(received + sent):
            console.sql("""
                INSERT INTO org_contoso.email (activityid, directioncode, statuscode, statecode, createdon)
                VALUES (gen_random_uuid(), %s, %s, 1, date_trunc('hour', now()) - %s * interval '1 hour' + interval '1 minute')""", [number >= received, 3 if number >= received else 4, hours])
    for number, (hours, kind, outcome) in enumerate([(1, "credential released", "succeeded")] * 2 + [(20, "credential released", "succeeded"), (20, "signed in", "refused")]
                                                    + [(1, "credential released", "refused"), (1, "signed in", "succeeded")]):
        console.sql("""
            INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, previous_hash, hash) OVERRIDING SYSTEM VALUE
            SELECT min(security_event_id) - 1, date_trunc('hour', now()) - %s * interval '1 hour' + interval '1 minute', %s, %s, 'client:figures', sha256('a'), sha256('b')
              FROM org_contoso.security_event""", [hours, kind, outcome])
    for set, values in (("mailboxes", {"password": "1"}), ("mailboxes", {"password": "2"}), ("queues", {"emailpassword": "3"}),
                        ("emailserverprofiles", {"incomingpassword": "4", "outgoingpassword": "5"}), ("emailserverprofiles", {"outgoingpassword": "6"})):
        console.create(set, {"name": "figured", **values})
    for days in (8, 6, 0):
        console.sql("INSERT INTO org_contoso.email (activityid, directioncode, statuscode, statecode, createdon) "
                    "VALUES (gen_random_uuid(), true, 8, 0, now() - %s * interval '1 day')", [days])
    yield console
    os.kill(router, signal.SIGCONT)


def card(page, title):
    """Reads a chart: its number, its bars as (position, height) by color, its text alternative, and its legend."""
    content = re.search(rf'(?s)<section class="card[^"]*">\s*<header><h3>{title}</h3></header>(.*?)</section>', page)[1]
    bars = {}
    for style, x, height in re.findall(r'<rect class="(\w+)" x="([\d.]+)" y="[\d.]+" width="8" height="([\d.]+)"', content):
        bars.setdefault(style, {})[round((float(x) - 1) / STEP)] = float(height)
    legend = dict(re.findall(r'<li class="\w+">([^<]*) <b>([\d,]+)</b>', content))
    return int(re.search(r'<p class="big"><a[^>]*>([\d,]+)</a>', content)[1]), bars, html.unescape(re.search(r'aria-label="([^"]*)"', content)[1]), legend


def hourly(console, table, moment, condition):
    """The number of rows in each hour of the last day."""
    return dict(console.sql(f"""
        SELECT {HOURS - 1} - (extract(epoch FROM date_trunc('hour', now()) - date_trunc('hour', {moment})) / 3600)::integer, count(*)::integer
          FROM org_contoso.{table} WHERE {condition} AND {moment} >= date_trunc('hour', now()) - interval '{HOURS - 1} hours' GROUP BY 1"""))


def same_shape(bars, counts):
    """Checks that each bar is at its hour, and that the heights are proportional to the counts."""
    assert bars.keys() == counts.keys(), (bars, counts)
    unit = max(bars.values()) / max(counts.values())
    assert all(abs(bars[hour] - unit * counts[hour]) < 0.2 for hour in counts), (bars, counts)


def test_the_charts_have_the_figures_of_the_database(place):
    page = Visitor(place).get("overview").text
    received, sent = (hourly(place, "email", "createdon", f"directioncode = {way} AND statuscode IN (3, 4)") for way in ("false", "true"))
    assert sum(received.values()) == 5 and sum(sent.values()) == 5 and received[HOURS - 2] == 3 and sent[HOURS - 21] == 4
    total, bars, alternative, legend = card(page, "Mail")
    assert total == 10 and legend == {"Received": "5", "Sent": "5"} and alternative == "Mail. Last 24 hours: Received 5, Sent 5"
    # The bars of received and of sent mail have the same scale.
    largest = max(received.get(hour, 0) + sent.get(hour, 0) for hour in range(HOURS))
    for style, counts in (("a", received), ("b", sent)):
        assert bars[style].keys() == counts.keys() and all(abs(bars[style][hour] - 52 * counts[hour] / largest) < 0.2 for hour in counts), (style, bars, counts)
    for title, kind, outcome, name in (("Released passwords", "credential released", "succeeded", "Handed over"), ("Refused sign-ins", "signed in", "refused", "Refused")):
        counts = hourly(place, "security_event", "occurred_on", f"kind = '{kind}' AND outcome = '{outcome}'")
        total, bars, alternative, _ = card(page, title)
        assert total == sum(counts.values()) and alternative == f"{title}. Last 24 hours: {name} {total}"
        same_shape(bars["a"], counts)
    counted = [sum(hourly(place, "security_event", "occurred_on", f"kind = '{kind}' AND outcome = '{outcome}'").values())
               for kind, outcome in (("credential released", "succeeded"), ("signed in", "refused"))]
    assert counted == [3, 1], "the two differ, so that one is not taken for the other"


def test_the_sealed_values_are_those_of_the_tables(place):
    cells = {
        "Mailbox: Password": ("mailbox_cell", "password"), "Queue: Password": ("queue_cell", "emailpassword"),
        "Server profile: Password for receiving": ("emailserverprofile_cell", "incomingpassword"),
        "Server profile: Password for sending": ("emailserverprofile_cell", "outgoingpassword"), "User settings: Password": ("usersettings_cell", "emailpassword")}
    stored = {name: place.sql(f"SELECT count({column}) FROM org_contoso.{table}")[0][0] for name, (table, column) in cells.items()}
    page = Visitor(place).get("overview").text
    part = re.search(r'(?s)<section class="card" aria-labelledby="sealed">.*?</section>', page)[0]
    shown = {html.unescape(name): int(count.replace(",", "")) for name, count in re.findall(r'<a href="[^"]*">([^<]*)</a> <b class="numbers">([\d,]+)</b>', part)}
    assert sorted(shown.values()) == sorted(stored.values()) and len(shown) == 5, (shown, stored)
    for name, count in shown.items():
        entity = name.split(":")[0]
        assert count in [number for known, number in stored.items() if known.split(":")[0] == entity], (shown, stored)
    assert int(re.search(r'<span class="quiet">([\d,]+)</span>', part)[1]) == sum(stored.values()) >= 6


# The key


def aged(place, days):
    place.sql(f"SET fieldseal.maintenance = 'on'; UPDATE org_contoso.encryption SET changed_on = now() - interval '{days} days' - interval '1 minute'")


def test_the_state_of_the_key_is_one_sentence_with_its_age(place):
    admin = Visitor(place)
    version = place.sql("SELECT key_version FROM org_contoso.encryption")[0][0]
    states = {
        0: (f"Passwords are encrypted under key version {version}, which was set less than a day ago.", "good", "good"),
        100: (f"Passwords are encrypted under key version {version}, which is 100 days old.", "good", "good"),
        400: (f"Key version {version} is 400 days old. Change it now.", "due", "warn")}
    try:
        for days, (sentence, state, style) in states.items():
            aged(place, days)
            due = place.sql("SELECT to_char(changed_on + interval '365 days', 'FMDD Mon YYYY') FROM org_contoso.encryption")[0][0]
            for path, part in (("settings/data-encryption", r'(?s)<section class="card state (\w+)".*?</section>'), ("overview", r'(?s)<section class="card()" aria-labelledby="key">.*?</section>')):
                found = re.search(part, admin.get(path).text)
                content = found[0]
                assert sentence in text(types.SimpleNamespace(text=content)) and found[1] in ("", state), (days, content)
                assert f'class="badge {style}"' in content
                assert due in text(types.SimpleNamespace(text=content)), (due, content)
                [(color, width)] = re.findall(r'<rect class="(good|warn)" x="0" y="0" width="([\d.]+)"', content)
                assert color == style and abs(float(width) - min(1, max(3 / WIDTH, days / 365)) * WIDTH) < 1, (days, width)
        # A key that is 400 days old needs attention: the overview shows the text and the button for that.
        page = admin.get("overview").text
        assert MESSAGES["en"]["key-overdue"] in page and MESSAGES["en"]["do:key-overdue"] in page
        assert re.search(r'<a class="button small" href="/contoso/settings/data-encryption/change">Change the key</a>', page)
    finally:
        aged(place, 0)


def test_a_required_key_says_which_one(place):
    key, version = place.key(), place.sql("SELECT key_version FROM org_contoso.encryption")[0][0]
    place.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
    admin = Visitor(place)
    sentence = f"Enter the key of version {version}. Until then passwords can't be set or used."
    page = admin.get("settings/data-encryption").text
    assert f'<h2 id="state">{html.escape(sentence)}</h2>'.replace("&#x27;", "'") in page.replace("&#39;", "'") and 'class="card state required"' in page
    assert sentence in text(admin.get("overview"))
    assert "encryption is active" in text(admin.send("settings/data-encryption/activate", key=key)).lower()


def test_the_timeline_has_every_version_with_who_and_what(place):
    place.set_key("The-first-of-two-keys-1!")
    place.set_key("The-other-of-two-keys-2!")
    current, fingerprint = place.sql("SELECT key_version, fingerprint FROM org_contoso.encryption")[0]
    page = Visitor(place).get("settings/data-encryption").text
    steps = re.findall(r'(?s)<li( class="now")?>(.*?)</li>', re.search(r'(?s)<ol class="timeline">(.*?)</ol>', page)[1])
    said = [text(types.SimpleNamespace(text=step)) for _, step in steps]
    assert [re.search(r"Version (\d+)", step)[1] for step in said] == [str(number) for number in range(current, current - len(said), -1)] and len(said) >= 3
    assert [now != "" for now, _ in steps] == [True] + [False] * (len(steps) - 1)
    assert "current" in said[0] and all("retired" in step or "purged" in step for step in said[1:])
    assert fingerprint in said[0] and len({re.search(r"[0-9a-f]{16}", step)[0] for step in said}) == len(said)
    values = place.sql("SELECT (SELECT count(password) FROM org_contoso.mailbox_cell) + (SELECT count(emailpassword) FROM org_contoso.queue_cell) + (SELECT count(incomingpassword) "
                       "+ count(outgoingpassword) FROM org_contoso.emailserverprofile_cell) + (SELECT count(emailpassword) FROM org_contoso.usersettings_cell)")[0][0]
    assert f"{values} values" in said[0] and "admin (client)" in said[0] and " s " in said[0], said[0]


def test_a_test_run_has_the_figures_and_names_what_does_not_open(place):
    admin = Visitor(place)
    counted = sum(place.sql(f"SELECT count({column}) FROM org_contoso.{table}")[0][0] for table, column in (
        ("mailbox_cell", "password"), ("queue_cell", "emailpassword"), ("emailserverprofile_cell", "incomingpassword"),
        ("emailserverprofile_cell", "outgoingpassword"), ("usersettings_cell", "emailpassword")))

    def run():
        page = admin.send("settings/data-encryption/change", do="rehearse").text
        part = re.search(r'(?s)<section class="card" aria-labelledby="figures">.*?</section>', page)[0]
        part = html.unescape(part)
        return part, dict(re.findall(r"<dt>([^<]*)</dt><dd>([^<]*)</dd>", part))

    part, figures = run()
    assert figures[MESSAGES["en"]["cells"]] == str(counted) and re.fullmatch(r"[\d.]+ s", figures[MESSAGES["en"]["duration"]]), figures
    assert re.fullmatch(r"(less than )?[\d.]+ s", figures[MESSAGES["en"]["pause"]]) and re.fullmatch(r"[\d.,]+ ([km]?B|MB|bytes)", figures[MESSAGES["en"]["walWritten"]]), figures
    assert "can't be decrypted" not in part
    [(box, cell)] = place.sql("SELECT mailboxid::text, password FROM org_contoso.mailbox_cell WHERE password IS NOT NULL LIMIT 1")
    broken = bytes(cell)[:-1] + bytes([bytes(cell)[-1] ^ 1])
    place.sql("SET session_replication_role = replica; UPDATE org_contoso.mailbox_cell SET password = %s WHERE mailboxid = %s" % ("'\\x" + broken.hex() + "'", "'" + box + "'"))
    try:
        part, figures = run()
        assert "1 value can&#39;t be decrypted" in part.replace("'", "&#39;") and box in part, part
    finally:
        place.sql("SET session_replication_role = replica; UPDATE org_contoso.mailbox_cell SET password = %s WHERE mailboxid = %s" % ("'\\x" + bytes(cell).hex() + "'", "'" + box + "'"))


# What needs attention


def remedies():
    """For each finding that can be solved in the console: the page, and the key of the button's text."""
    source = (ROOT / "Sources/Console/Overview/Remedy.swift").read_text()
    named = {name: (path, button) for name, path, button in re.findall(r'static let (\w+) = Remedy\("([^"]*)", "([^"]*)"\)', source)}
    table = re.search(r"(?s)static let pages: .*?\]\n", source)[0]
    found = {code: (path, button) for code, path, button in re.findall(r'"([\w-]+)": Remedy\("([^"]*)", "([^"]*)"\)', table)}
    return found | {code: named[name] for code, name in re.findall(r'"([\w-]+)": (\w+)\b(?!\()', table)}


def findings():
    """The codes of the findings that a page can show. Each of them has a text among the messages."""
    return {key for key in MESSAGES["en"] if re.fullmatch(r"[a-z]+(-[a-z]+)+", key) and key not in ("page-back",)}


def test_each_finding_has_words_for_what_to_do_here_and_a_button_that_leads_there(place):
    known, admin = remedies(), Visitor(place)
    assert len(known) > 30 and known.keys() <= findings(), known.keys() - findings()
    for code, (path, button) in known.items():
        for language, messages in MESSAGES.items():
            assert f"do:{code}" in messages and button in messages, (language, code)
            assert "fieldseal " not in messages[f"do:{code}"], "no command is needed for what is solved here"
    for path in {path for path, _ in known.values()}:
        assert admin.get(path).status_code == 200, path
    # Only the operator of the server can solve the other findings, and the text of each says so.
    others = findings() - known.keys()
    assert {code for code in others if f"do:{code}" in MESSAGES["en"]} == set(), "words without a button"


def attention(page):
    """What the overview says needs attention: for each title, what to do, the button's text, and its address."""
    return {html.unescape(title): (html.unescape(what), html.unescape(button), html.unescape(href)) for title, what, href, button in re.findall(
        r'(?s)<strong>([^<]*)</strong></p><p class="hint">([^<]*)</p>.*?<a class="button small" href="([^"]*)">([^<]*)</a></li>', page)}


def test_findings_are_shown_with_their_buttons(place):
    admin, english = Visitor(place), MESSAGES["en"]
    profile = place.create("emailserverprofiles", {"name": "changed past it", "incomingserverlocation": "imap.contoso.example", "incomingpassword": "x"})
    place.sql("UPDATE org_contoso.emailserverprofile SET incomingserverlocation = 'elsewhere.test' WHERE emailserverprofileid = %s", [profile])
    place.sql("SET fieldseal.maintenance = 'on'; ALTER TABLE org_contoso.queue DISABLE TRIGGER keeps_id")
    try:
        until(lambda: english["mail-settings-not-authorized"] in html.unescape(admin.get("overview").text), seconds=60)
        found = attention(admin.get("overview").text)
        assert found[english["mail-settings-not-authorized"]] == (english["do:mail-settings-not-authorized"], "Review profiles", "/contoso/records/emailserverprofiles")
        what, button, href = found[english["fence-disabled"]]
        assert (what, button) == (english["askOperator"], "Write to the operator")
        assert href.startswith("mailto:?subject=Fieldseal%2C%20contoso%3A%20A%20guard") and "keeps%5Fid" in href
    finally:
        place.sql("ALTER TABLE org_contoso.queue ENABLE TRIGGER keeps_id")
        place.request("DELETE", f"emailserverprofiles({profile})")


def test_e_mails_that_were_not_sent_need_attention(place):
    admin = Visitor(place)
    what, button, href = attention(admin.get("overview").text)["2 e-mails of the last 7 days were not sent"]
    assert what == MESSAGES["en"]["do:failedMail"] and button == "Show them"
    assert shown_rows(admin.get(href.removeprefix("/contoso/")).text) == 2

def test_solved_alerts_are_not_counted(place):
    box = place.create("mailboxes", {"name": "alerted", "emailrouteraccessapproval": 1})
    alert = """INSERT INTO org_contoso.tracelog (tracelogid, level, tracecode, text, regardingobjectid, regardingobjecttypecode, createdon, modifiedon)
               VALUES (gen_random_uuid(), %s, %s, 'counted', %s, 'mailbox', now() - interval '1 minute', now() - interval '1 minute')"""
    place.sql("DELETE FROM org_contoso.tracelog")
    for level, code in ((3, 10), (2, 12), (2, 18)):
        place.sql(alert, [level, code, box])
    names = (f"alerted {number}" for number in itertools.count())

    def counted():
        # The service caches the figures for each person, so each count needs a new person.
        name = next(names)
        person(place, name, "Email Administrator")
        visitor = Visitor(place, name, password(name))
        number, _, _, legend = card(visitor.get("overview").text, "Alerts")
        return number, legend, visitor.get("records/tracelogs").text.count(">Solved<")

    assert counted() == (3, {"Errors": "1", "Warnings": "2"}, 0)
    # Two alerts end when the mailbox works again. The third is about a message that was set aside, and stays.
    place.sql("UPDATE org_contoso.mailbox SET incomingemailstatus = 1, lastsuccessfulsynccompletedon = now() WHERE mailboxid = %s", [box])
    assert counted() == (1, {"Errors": "0", "Warnings": "1"}, 2)
    for state in ("outgoingemailstatus = 2", "testemailconfigurationscheduled = true", "lastsyncerror = 'away'", "statecode = 1"):
        place.sql(f"UPDATE org_contoso.mailbox SET {state} WHERE mailboxid = %s", [box])
        assert counted()[::2] == (3, 0), state
        place.sql("UPDATE org_contoso.mailbox SET outgoingemailstatus = 0, testemailconfigurationscheduled = false, lastsyncerror = NULL, statecode = 0 WHERE mailboxid = %s", [box])
    assert counted()[0] == 1


# Lists without records


def test_an_empty_list_says_what_to_do(place, chrome):
    place.run("org", "create", "empty")
    for name, role in (("ada", "System Administrator"), ("bea", "Basic User")):
        place.run("user", "add", name, "--role", role, "--org", "empty", stdin="a long phrase of theirs\n")
    here = types.SimpleNamespace(dev=place.dev, pages=f"{place.base}/empty")
    ada, bea = (Visitor(here, name, "a long phrase of theirs") for name in ("ada", "bea"))
    sets = {"mailboxes": "mailbox", "emailserverprofiles": "emailserverprofile", "queues": "queue", "emails": "email", "tracelogs": "tracelog"}
    for set, entity in sets.items():
        page = ada.get(f"records/{set}").text
        content = re.search(r'(?s)<div class="empty">(.*?)</div>', page)[1]
        assert MESSAGES["en"][f"empty:{entity}"] in html.unescape(content), set
        assert ('href="/empty/connect"' in content) == (entity == "mailbox"), (set, content)
        # If a filter finds nothing, the page says so, and does not say that there are no records.
        assert "Nothing matches these filters." in ada.get(f"records/{set}?q=nothing").text
    page = ada.get("overview").text
    assert MESSAGES["en"]["noMailboxes"] in page and '<a class="button primary" href="/empty/connect">Connect a mailbox</a>' in page
    for path in ("records/mailboxes", "overview"):
        page = html.unescape(bea.get(path).text)
        assert MESSAGES["en"]["noMailboxOfYours"] in page and "/empty/connect" not in page and "No mailbox yet." not in page, path
    # The button of the empty list leads to the form.
    chrome.delete_all_cookies()
    sign_in(chrome, here, then="records/mailboxes", person={"username": "ada", "password": "a long phrase of theirs"})
    press(chrome, By.CSS_SELECTOR, ".empty a.button.primary")
    says(chrome, "Who hosts the mailbox?")
