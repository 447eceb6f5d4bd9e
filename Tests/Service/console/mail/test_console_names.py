"""A reply keeps the names of the e-mail's sender and recipients. The help of a queue says which mail stays on the mail server."""

import re

import pytest
from html_forms import form
from test_console_access import Visitor, text

PEOPLE = {
    "ada@elsewhere.test": ("Ada Kunde", "Ada Kunde <ada@elsewhere.test>"),
    "bo@elsewhere.test": ('Müller, "Bo" & Söhne', '"Müller, \\"Bo\\" & Söhne" <bo@elsewhere.test>'),
    "chief@elsewhere.test": ("boss@contoso.example", "chief@elsewhere.test"),
    "dee@elsewhere.test": ("", "dee@elsewhere.test"),
}


@pytest.fixture
def received(console):
    """An e-mail from the first of PEOPLE to a queue and to the other PEOPLE."""
    address = "answers@contoso.example"
    queue = console.create("queues", {"name": "Answers", "emailaddress": address})
    [(box, profile)] = console.sql(
        "SELECT mailboxid::text, (SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1) FROM org_contoso.mailbox WHERE regardingobjectid = %s", [queue])
    settings = {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "emailrouteraccessapproval": 1}
    assert console.request("PATCH", f"mailboxes({box})", settings).status_code == 204
    [(id,)] = console.sql(
        "INSERT INTO org_contoso.email (activityid, subject, description, mimetype, directioncode, statuscode, statecode, sender, receivingmailboxid) "
        "VALUES (gen_random_uuid(), 'with names', '<p>x</p>', 'text/html', false, 4, 1, 'ada@elsewhere.test', %s) RETURNING activityid::text", [box])
    for number, (other, (name, _)) in enumerate(PEOPLE.items()):
        console.sql(
            "INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyidname) "
            "VALUES (%s, %s, %s, %s, %s)", [f"0000000{number}-0000-4000-8000-000000000000", id, 2 if number else 1, other, name or other])
    console.sql(
        "INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyid, partyobjecttypecode, partyidname) "
        "VALUES (gen_random_uuid(), %s, 2, %s, %s, 'queue', 'a queue')", [id, address, queue])
    return id


def parties(console, id, kind=2):
    return dict(console.sql(
        "SELECT addressused, partyidname FROM org_contoso.activityparty WHERE activityid = %s AND participationtypemask = %s", [id, kind]))


def test_a_reply_keeps_the_names_of_its_people(console, received):
    visitor = Visitor(console)
    alone = form(visitor.get(f"records/emails/{received}/reply").text, "/reply").fields
    assert alone["to"] == "Ada Kunde <ada@elsewhere.test>"
    page = visitor.get(f"records/emails/{received}/reply-all").text
    everyone = form(page, "/reply-all").fields
    assert everyone["to"] == ", ".join(shown for _, shown in PEOPLE.values())
    sent = visitor.send(f"records/emails/{received}/reply-all", **everyone | {"subject": "again", "body": "typed"})
    assert sent.status_code == 200 and "/records/emails/" in sent.url, text(sent)
    id = re.search(r"/records/emails/([0-9a-f-]{36})", sent.url)[1]
    assert parties(console, id) == {
        "ada@elsewhere.test": "Ada Kunde", "bo@elsewhere.test": 'Müller, "Bo" & Söhne', "chief@elsewhere.test": "chief@elsewhere.test", "dee@elsewhere.test": "dee@elsewhere.test"}
    # The person changed the recipient and typed another name. The e-mail has the typed name.
    answer = visitor.send(f"records/emails/{received}/reply", **alone | {"to": "Someone Else <else@elsewhere.test>", "subject": "again", "body": "typed"})
    id = re.search(r"/records/emails/([0-9a-f-]{36})", answer.url)[1]
    assert parties(console, id) == {"else@elsewhere.test": "Someone Else"}


def test_a_party_that_is_an_address_takes_a_name(console):
    party = {"participationtypemask": 2, "addressused": "ada@elsewhere.test"}
    id = console.create("emails", {"subject": "named", "email_activity_parties": [party | {"partyidname": "Ada Kunde"}]})
    assert parties(console, id) == {"ada@elsewhere.test": "Ada Kunde"}
    user = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'admin'")[0][0]
    for wrong in (party | {"partyidname": "Ada\r\nBcc: x@y.test"}, party | {"partyidname": "x" * 401}, {"participationtypemask": 1, "addressused": "a@b.test", "partyidname": "Boss"},
                  {"participationtypemask": 2, "partyid_systemuser@odata.bind": f"/systemusers({user})", "partyidname": "Another"}):
        assert console.request("POST", "emails", {"subject": "refused", "email_activity_parties": [wrong]}).status_code == 400, wrong
    without = console.create("emails", {"subject": "unnamed", "email_activity_parties": [party]})
    assert parties(console, without) == {"ada@elsewhere.test": "ada@elsewhere.test"}


@pytest.mark.parametrize("language, said", [("en", "“All mail” leaves none out."), ("de", "„Alle Mail“ nimmt alles an."), ("fr", "« Tout le courrier » accepte tout.")])
def test_the_help_of_a_queue_is_true_for_each_choice(console, language, said):
    visitor = Visitor(console)
    visitor.session.headers["Accept-Language"] = language
    page = visitor.get("records/queues/new")
    option = {"en": "All mail", "de": "Alle Mail", "fr": "Tout le courrier"}[language]
    assert said in text(page) and option in text(page) and option in said
