"""Forms of records: what a mailbox belongs to."""

import re

from html_forms import form
from test_console_access import Visitor, person, text


# What a mailbox belongs to


def belongs(page):
    return re.search(r"<dt>Belongs to</dt><dd>(.*?)</dd>", page)[1]


def test_a_mailbox_says_whom_it_belongs_to_and_leads_there(console):
    admin = Visitor(console)
    queue = console.create("queues", {"name": "Belonging <desk>", "emailaddress": "desk@contoso.example"})
    box = console.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    page = admin.get(f"records/mailboxes/{box}").text
    assert belongs(page) == f'<a href="/contoso/records/queues/{queue}">Queue: Belonging &lt;desk&gt;</a>'
    assert "This is a forward mailbox" not in page
    [(user,)] = console.sql("SELECT systemuserid::text FROM org_contoso.systemuser WHERE fullname = 'admin'")
    console.sql("UPDATE org_contoso.mailbox SET regardingobjectid = %s, regardingobjecttypecode = 'systemuser' WHERE mailboxid = %s", [user, box])
    page = admin.get(f"records/mailboxes/{box}").text
    link = re.search(r'href="/contoso/(records/usersettingscollection/[-0-9a-f]+)"', belongs(page))[1]
    assert admin.get(link).status_code == 200 and "admin" in belongs(page)
    # One of nothing says so, and what to do.
    box = console.create("mailboxes", {"name": "belongs to none", "emailaddress": "none@contoso.example"})
    page = admin.get(f"records/mailboxes/{box}").text
    assert belongs(page) == "no queue and no user"
    assert "To send from its address, connect the address" in page and '<a href="/contoso/connect">Connect a mailbox</a>' in page
    # Who may connect nothing is not led there.
    id = person(console, "belonging-bea")
    [(bea,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE user_id = %s", [id])
    assert console.request("PATCH", f"mailboxes({box})", {"ownerid@odata.bind": f"/systemusers({bea})"}).status_code == 204
    own = Visitor(console, "belonging-bea", "the password of them, aeb-gnignoleb").get(f"records/mailboxes/{box}").text
    assert "This is a forward mailbox" in own and 'href="/contoso/connect"' not in own


def test_a_new_mailbox_belongs_to_a_queue_that_is_made_with_it(console):
    admin = Visitor(console)
    fields = form(admin.get("records/mailboxes/new").text, "records/mailboxes/new").fields
    assert fields["belongs"] == "queue"
    fields |= {"name": "Made together", "emailaddress": "together@contoso.example", "password": "of both", "username": "together"}
    saved = admin.send("records/mailboxes/new", **fields)
    assert "Saved." in saved.text and "Queue: Made together" in belongs(saved.text)
    box = saved.url.rsplit("/", 1)[1].split("?")[0]
    queue = console.get(f"mailboxes({box})?$select=_regardingobjectid_value,username").json()
    assert queue["username"] == "together"
    queue = console.get(f"queues({queue['_regardingobjectid_value']})?$select=name,emailaddress,_defaultmailbox_value").json()
    assert (queue["name"], queue["emailaddress"], queue["_defaultmailbox_value"]) == ("Made together", "together@contoso.example", box)
    assert console.opened_cells()[f"mailbox({box}).password"][1] == "of both"
    # The same form again makes nothing more.
    assert admin.send("records/mailboxes/new", **fields).url.split("?")[0].endswith(box)
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name = 'Made together'") == [(1,)]
    # A refused value leaves no queue, and the choice stays.
    refused = admin.send("records/mailboxes/new", **{**fields, "name": "Made in vain", "password": "x" * 5_000})
    assert refused.status_code == 400 and form(refused.text, "records/mailboxes/new").fields["belongs"] == "queue"
    refused = admin.send("records/mailboxes/new", **{**fields, "name": "Made in vain", "belongs": "none", "password": "x" * 5_000})
    assert form(refused.text, "records/mailboxes/new").fields["belongs"] == "none"
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name = 'Made in vain'") == [(0,)]
    # Of nothing, if a person wants that; and without an address.
    for more in ({"belongs": "none"}, {"emailaddress": ""}):
        saved = admin.send("records/mailboxes/new", **{**fields, "name": f"Alone {more}", **more})
        assert "Saved." in saved.text and belongs(saved.text) == "no queue and no user"
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name LIKE 'Alone%%'") == [(0,)]
