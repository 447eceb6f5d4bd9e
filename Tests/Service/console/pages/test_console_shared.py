"""A queue that a team owns, the export of filtered security events, and entering the password again without a new sign-in."""

import csv
import datetime
import html
import io
import json
import re

import test_console_pages
from attested import Attestor
from html_forms import answer_of, form as form_of
from one_time import one_time_password
from test_console_access import Visitor, password, person, text

console = test_console_pages.console


def team(visitor, queue, **form):
    return visitor.send("access/team", **{"set": "queues", "record": queue, **form})


def members(console, queue):
    return {name for name, in console.sql(
        "SELECT u.fullname FROM org_contoso.queue AS q JOIN org_contoso.teammembership AS m ON m.teamid = q.ownerid "
        "JOIN org_contoso.systemuser AS u USING (systemuserid) WHERE q.queueid = %s", [queue])}


def test_a_queue_is_shared_with_a_team(console):
    person(console, "shared-mia"), person(console, "shared-noa", "Email Administrator")
    admin, mia = Visitor(console), Visitor(console, "shared-mia", password("shared-mia"))
    queue = console.create("queues", {"name": "Shared queue", "emailaddress": "shared-queue@contoso.test"})
    page = text(admin.get(f"records/queues/{queue}"))
    assert "Its owner alone uses this queue" in page and "Create a team for it" in page and "Members only" not in page.split("All attributes")[0]
    assert "The team was created" in text(team(admin, queue, do="make", name="Front desk"))
    assert members(console, queue) == {"# dev-admin"}
    [(box,)] = console.sql("SELECT defaultmailbox::text FROM org_contoso.queue WHERE queueid = %s", [queue])
    assert "shared-queue@contoso.test" not in mia.get("records/mailboxes").text
    answer = team(admin, queue, do="add", member="shared-mia")
    assert "The member was added." in text(answer) and "Shared with a team: Front desk" in text(answer) and "shared-mia" in text(answer)
    assert members(console, queue) == {"# dev-admin", "shared-mia"}
    # A member of the team sees the mailbox of the queue.
    assert "shared-queue@contoso.test" in re.sub(r"<wbr[^>]*>", "", mia.get("records/mailboxes").text)
    assert "Shared with a team: Front desk" in text(admin.get(f"records/mailboxes/{box}"))
    wrong = team(admin, queue, do="add", member="nobody of this name")
    assert wrong.status_code == 400 and "nobody of this name" in text(wrong) and members(console, queue) == {"# dev-admin", "shared-mia"}
    # An Email Administrator sees the members of the team, but can't change them.
    noa = Visitor(console, "shared-noa", password("shared-noa"))
    seen = noa.get(f"records/queues/{queue}").text
    assert "shared-mia" in seen and "/access/team" not in seen
    for visitor in (noa, mia):
        assert team(visitor, queue, do="add", member="shared-noa").status_code == 403
    [(id,)] = console.sql("SELECT systemuserid::text FROM org_contoso.systemuser WHERE fullname = 'shared-mia'")
    asked = team(admin, queue, do="remove", member=id)
    assert "Remove shared-mia from the team Front desk?" in asked.text and "shared-mia" in members(console, queue)
    assert "The member was removed." in text(team(admin, queue, do="remove", member=id, confirmed=answer_of(asked.text))) and members(console, queue) == {"# dev-admin"}
    assert "shared-queue@contoso.test" not in re.sub(r"<wbr[^>]*>", "", mia.get("records/mailboxes").text)


# Security events


def table(answer):
    assert answer.content.startswith(b"\xef\xbb\xbf") and answer.headers["Content-Type"].startswith("text/csv")
    return list(csv.DictReader(io.StringIO(answer.content.decode("utf-8-sig"))))


def test_exports_of_events_follow_the_filters(console):
    admin, box = Visitor(console), console.create("mailboxes", {"name": "Exporté événement", "password": "first"})
    assert console.request("PATCH", f"mailboxes({box})", {"password": "second"}).status_code == 204
    page = admin.get(f"events?kind=passwords&record={box}").text
    links = {name: html.unescape(re.search(rf'href="/contoso/(events\.{name}[^"]*)"', page)[1]) for name in ("csv", "jsonl")}
    kinds = ["password replaced", "password set"]
    assert [json.loads(line)["kind"] for line in admin.get(links["jsonl"]).text.splitlines()] == kinds
    found = table(admin.get(links["csv"]))
    assert [row["kind"] for row in found] == kinds and {(row["recordid"], row["recordname"], row["actor"], row["outcome"]) for row in found} == {
        (box, "Exporté événement", "client:dev-admin", "succeeded")}
    admin.session.headers["Accept-Language"] = "de"
    german = table(admin.get(links["csv"]))
    assert german[0].keys() == found[0].keys() and german[0]["kindname"] != found[0]["kindname"]
    assert len(table(admin.get(f"events.csv?actor=client:dev-admin&record={box}&kind=password+set"))) == 1
    tomorrow = datetime.datetime.now(datetime.UTC).date() + datetime.timedelta(days=2)
    for export in ("csv", "jsonl"):
        assert "password" not in admin.get(f"events.{export}?from={tomorrow}").text
        assert admin.get(f"events.{export}?nothing=1").status_code == 400
    # Without a filter, the export has the whole event chain, and its last line is the attested end of the chain.
    *events, end = map(json.loads, admin.get("events.jsonl").text.splitlines())
    assert "attested" in end and events[0]["kind"] == "organization created"
    everything = table(admin.get("events.csv"))
    assert len(everything) >= len(events) and int(everything[0]["number"]) > int(everything[-1]["number"])


def test_long_exports_have_each_event_once(console):
    console.sql("""
        INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
        SELECT m.n - s, now() - interval '400 days' - s * interval '1 second', 'user changed', 'succeeded', 'client:long', 'long ' || s || '.', sha256('a'), sha256('b')
          FROM generate_series(1, 2500) AS s, (SELECT min(security_event_id) AS n FROM org_contoso.security_event) AS m""")
    try:
        for query in ("kind=user+changed&record=long", "actor=client:long", "kind=people&actor=client:long"):
            details = [row["details"] for row in table(Visitor(console).get(f"events.csv?{query}"))]
            assert details == [f"long {number}." for number in range(1, 2501)], query
    finally:
        console.sql("SET session_replication_role = replica; DELETE FROM org_contoso.security_event WHERE actor = 'client:long'")


# Entering the password again


def test_a_confirmation_is_no_sign_in(console):
    person(console, "confirming", "System Administrator")
    id = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'confirming'")[0][0]
    visitor = Visitor(console, "confirming", password("confirming"))
    began = console.sql("SELECT created_on FROM config.console_session WHERE user_id = %s", [id])

    def events(kind):
        return console.sql("SELECT outcome FROM org_contoso.security_event WHERE kind = %s AND actor = 'user:confirming' ORDER BY security_event_id", [kind])
    asked = ask(console, visitor)
    wrong = visitor.send("fresh", **{**asked, "password": "not the password"})
    assert wrong.status_code == 403 and "The password is wrong." in text(wrong) and "user name" not in text(wrong)
    assert "<h1>" in visitor.send("fresh", **{**asked, "password": password("confirming")}).text
    assert events("signed in") == [("succeeded",)] and events("password confirmed") == [("refused",), ("succeeded",)]
    assert console.sql("SELECT created_on FROM config.console_session WHERE user_id = %s", [id]) == began
    assert "Confirmed with the password" in text(Visitor(console).get("events?actor=user:confirming"))
    # With two-step sign-in, the error names both the password and the one-time password.
    offered = visitor.send("account/offer").text
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    visitor.send("account/confirm", sealed=sealed, code=one_time_password(secret))
    wrong = visitor.send("fresh", **{**ask(console, visitor), "password": password("confirming"), "code": "000000"})
    assert "The password or the one-time password is wrong." in text(wrong)
    # A person can set another password only with the present one.
    answer = visitor.send("account/password", old="not the password", new="another one of many words", again="another one of many words")
    assert "The current password is wrong." in text(answer) and events("password confirmed")[-1] == ("refused",)


def ask(console, visitor):
    """Opens the page that asks for the password again, in a session that is old enough to need it. Returns the fields of its form."""
    Attestor(console).age_sessions("0", "10 minutes")
    page = visitor.send("access/rules")
    return form_of(page.text, "/contoso/fresh").fields
