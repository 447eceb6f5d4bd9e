"""A colleague's own mailbox: with the invitation, or later on their page."""

import re

from test_console_access import Visitor, password, person, text


def own(console, name):
    """The mailboxes of a person: id, name and address; and the address of their user."""
    return console.sql(
        """SELECT m.mailboxid::text, m.name, m.emailaddress, u.internalemailaddress, m.ownerid = u.systemuserid
             FROM config.console_user AS c JOIN org_contoso.systemuser AS u ON u.systemuserid = c.systemuser_id
             JOIN org_contoso.mailbox AS m ON m.regardingobjectid = u.systemuserid AND m.regardingobjecttypecode = 'systemuser' WHERE c.name = %s""", [name])


def add(visitor, name, **more):
    return visitor.send("access/add-user", name=name, role="Basic User", how="invite", **more)


def test_a_person_is_invited_with_a_mailbox(console):
    admin = Visitor(console)
    page = admin.get("access/people/new").text
    assert re.search(r'<input id="address" type="email" name="address" value="" [^>]*aria-describedby="address-hint">', page)
    done = add(admin, "own-mia", address=" own-mia@contoso.example ")
    assert done.status_code == 200 and "/invitation?token=" in done.text, text(done)
    [(box, name, address, user, is_owner)] = own(console, "own-mia")
    assert (name, address, user, is_owner) == ("own-mia", "own-mia@contoso.example", "own-mia@contoso.example", True)
    assert f'<a href="/contoso/records/mailboxes/{box}">own-mia &lt;own-mia@contoso.example&gt;</a>' in done.text
    # The mailbox belongs to the user, so the person sends from it.
    assert "own-mia" in text(admin.get(f"records/mailboxes/{box}"))
    [(systemuser,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'own-mia'")
    assert f"/contoso/records/mailboxes/{box}" in admin.get(f"records/usersettingscollection/{systemuser}").text
    # The service made it, as a mailbox that belongs to the user.
    assert box not in console.run("doctor", "--org", "contoso", check=False).stdout


def test_a_person_without_one_gets_one_later(console):
    id, admin = person(console, "own-ben"), Visitor(console)
    page = admin.get(f"access/people/{id}")
    assert "This person has no mailbox of their own." in text(page) and 'action="/contoso/access/mailbox-user"' in page.text
    wrong = admin.send("access/mailbox-user", id=id, address="no address")
    assert wrong.status_code == 400 and "Enter an e-mail address" in text(wrong) and 'value="no address"' in wrong.text and own(console, "own-ben") == []
    done = admin.send("access/mailbox-user", id=id, address="own-ben@contoso.example")
    assert "The mailbox of own-ben was created." in text(done) and 'action="/contoso/access/mailbox-user"' not in done.text
    [(box, *_)] = own(console, "own-ben")
    assert f"/contoso/records/mailboxes/{box}" in done.text
    # There is one for each person.
    again = admin.send("access/mailbox-user", id=id, address="own-ben-2@contoso.example")
    assert again.status_code == 412 and "has a mailbox already" in text(again) and len(own(console, "own-ben")) == 1


def test_the_address_of_another_is_refused_by_name(console):
    queue = console.create("queues", {"name": "Own desk", "emailaddress": "own-desk@contoso.example"})
    admin = Visitor(console)
    refused = add(admin, "own-cleo", address="OWN-desk@contoso.example")
    assert refused.status_code == 412 and "already the address of Queue: Own desk" in text(refused), text(refused)
    assert 'value="OWN-desk@contoso.example"' in refused.text and 'value="own-cleo"' in refused.text
    assert console.sql("SELECT count(*) FROM config.console_user WHERE name = 'own-cleo'") == [(0,)] and queue


def test_a_user_who_has_a_mailbox_keeps_it(console):
    user = console.create("systemusers", {"fullname": "Own Dora", "domainname": "CONTOSO\\owndora", "internalemailaddress": "own-dora@contoso.example"})
    admin = Visitor(console)
    refused = add(admin, "own-dora", existing=user, address="own-dora-2@contoso.example")
    assert refused.status_code == 400 and "This user has a mailbox already" in text(refused)
    done = add(admin, "own-dora", existing=user, address="")
    assert "own-dora@contoso.example" in done.text and len(own(console, "own-dora")) == 1


def test_only_system_administrators_give_one(console):
    id = person(console, "own-eve")
    for name, role in (("own-fay", "Email Administrator"), ("own-gus", "Basic User")):
        person(console, name, role)
        other = Visitor(console, name, password(name))
        assert other.send("access/mailbox-user", id=id, address="own-eve@contoso.example").status_code == 403
    assert own(console, "own-eve") == []
