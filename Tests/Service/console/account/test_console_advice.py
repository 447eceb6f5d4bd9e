"""What the console tells each role to do: what a person may do, or whom to ask. Also, from which mailboxes a person can send."""

import re

import pytest
from test_console_access import Visitor, password, person, text

LANGUAGES = {
    "en": ("Second person", "no approved address", "Addresses of mailboxes are not approved here"),
    "de": ("Zweite Person", "keine freigegebene Adresse", "Adressen von Postfächern werden nicht hier freigegeben"),
    "fr": ("Deuxième personne", "pas d’adresse approuvée", "Les adresses des boîtes ne s’approuvent pas ici"),
}


@pytest.fixture(scope="module")
def una(console):
    """A Basic User who owns a mailbox without approval."""
    person(console, "advised-una")
    user = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'advised-una'")[0][0]
    profile = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile LIMIT 1")[0][0]
    assert console.request("PATCH", f"systemusers({user})", {"internalemailaddress": "una@contoso.example"}).status_code == 204
    box = console.create("mailboxes", {
        "name": "Box of Una", "emailaddress": "una@contoso.example", "ownerid@odata.bind": f"/systemusers({user})",
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    console.sql("UPDATE org_contoso.mailbox SET regardingobjectid = %s, regardingobjecttypecode = 'systemuser' WHERE mailboxid = %s", [user, box])
    return Visitor(console, "advised-una", password("advised-una")), user, box


@pytest.mark.parametrize("language", sorted(LANGUAGES))
def test_addresses_and_the_key_are_approved_by_different_names(console, una, language):
    admin = Visitor(console)
    admin.session.headers["Accept-Language"] = language
    second, unapproved, elsewhere = LANGUAGES[language]
    overview, page = text(admin.get("overview")), admin.get("settings/approvals")
    assert second in overview and unapproved in overview
    assert re.search(r"<h1[^>]*>([^<]*)<", page.text)[1] == second and elsewhere in text(page)
    link = re.search(r'href="/contoso/(records/mailboxes\?status=unapproved)"', page.text)[1]
    assert "Box of Una" in admin.get(link).text


def test_advice_is_for_those_who_can_follow_it(console, una):
    hers, admins = text(una[0].get("overview")), text(Visitor(console).get("overview"))
    assert "1 mailbox with a server profile has no approved address" in hers and "Ask an Email Administrator to approve yours" in hers
    assert "Approve the addresses" not in hers and "Approve the addresses" in admins and "Ask an Email Administrator to approve" not in admins


def chosen(page):
    return re.findall(r'<option value="([0-9a-f-]{36})"', re.search(r'(?s)<select id="from".*?</select>', page)[0])


def test_a_new_e_mail_offers_only_mailboxes_that_the_person_may_send_from(console, una):
    visitor, user, box = una
    # Una's mailbox is not approved, so it can't send yet. The page says so before she writes an e-mail.
    page = visitor.get("compose")
    assert chosen(page.text) == [box] and "None of these mailboxes sends at the moment" in text(page)
    console.sql("UPDATE org_contoso.mailbox SET emailrouteraccessapproval = 1 WHERE mailboxid = %s", [box])
    page = visitor.get("compose")
    assert chosen(page.text) == [box] and "at the moment" not in text(page)
    # Una can see the mailbox of another user's queue, but can't send from it.
    queue = console.create("queues", {"name": "Queue of others", "emailaddress": "others@contoso.example"})
    others = console.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    profile = console.sql("SELECT emailserverprofile::text FROM org_contoso.mailbox WHERE mailboxid = %s", [box])[0][0]
    assert console.request("PATCH", f"mailboxes({others})", {
        "ownerid@odata.bind": f"/systemusers({user})", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "emailrouteraccessapproval": 1}).status_code == 204
    assert "Queue of others" in visitor.get("records/mailboxes").text
    assert chosen(visitor.get("compose").text) == [box]
    asked = visitor.get(f"compose?from={others}")
    assert chosen(asked.text) == [box] and "You may not send from the mailbox" in text(asked)
    assert "Queue of others" not in visitor.get("lookup/mailbox?for=sending&q=of").text and "Box of Una" in visitor.get("lookup/mailbox?for=sending&q=of").text
    # A System Administrator may send from all mailboxes.
    assert {box, others} <= set(chosen(Visitor(console).get(f"compose?from={others}").text))
    # A user without a mailbox is told before writing why they can't send.
    assert console.request("PATCH", f"mailboxes({box})", {"ownerid@odata.bind": f"/systemusers({console.sql('SELECT ownerid::text FROM org_contoso.queue WHERE queueid = %s', [queue])[0][0]})"}).status_code == 204
    none = visitor.get("compose")
    assert none.status_code == 409 and "may send from none of them" in text(none) and "An Email Administrator can make you the owner" in text(none)
