"""A queue and its mailbox: from which address mail is sent, and where its delivery is set."""

import re

import pytest
from html_forms import forms
from test_console_access import Visitor, text


@pytest.fixture
def queue(console):
    """A function that makes a queue with an address, and returns the ids of the queue and its mailbox."""
    made = []

    def make(name, address):
        id = console.create("queues", {"name": name, "emailaddress": address})
        made.append(id)
        [(box,)] = console.sql("SELECT defaultmailbox::text FROM org_contoso.queue WHERE queueid = %s", [id])
        return id, box
    yield make
    for id in made:
        console.sql("DELETE FROM org_contoso.mailbox WHERE regardingobjectid = %s", [id])
        console.sql("DELETE FROM org_contoso.queue WHERE queueid = %s", [id])


def saved(visitor, path, **typed):
    [form] = [form for form in forms(visitor.get(path).text) if form.action == f"/contoso/{path}"]
    return visitor.send(path, **{**form.fields, **typed})


def test_an_address_that_another_queue_has_is_asked_about(console, queue):
    visitor = Visitor(console)
    id, box = queue("First line", "first@contoso.test")
    other, _ = queue("Second line", "second@contoso.test")
    asked = saved(visitor, f"records/queues/{id}", emailaddress="Second@contoso.test")
    assert "Second@contoso.test is already the address of Queue: Second line." in text(asked) and "name=\"confirmed\"" in asked.text
    assert console.sql("SELECT emailaddress FROM org_contoso.queue WHERE queueid = %s", [id]) == [("first@contoso.test",)]
    # The confirmation is valid only for exactly the address in the form.
    for other in ("1", "address: Second@contoso.test", "address: first@contoso.test"):
        assert "is already the address of" in text(saved(visitor, f"records/queues/{id}", emailaddress="second@contoso.test", confirmed=other)), other
    answer = saved(visitor, f"records/queues/{id}", emailaddress="second@contoso.test", confirmed="address: second@contoso.test")
    assert "Saved." in text(answer)
    assert console.sql("SELECT emailaddress FROM org_contoso.queue WHERE queueid = %s", [id]) == [("second@contoso.test",)]
    # The mailbox keeps its address, and its page says that mail goes out under the queue's address.
    assert "Mail goes out as second@contoso.test" in text(visitor.get(f"records/mailboxes/{box}"))
    # The page does not ask if the address is the one of the queue's own mailbox, or is not changed.
    assert "Saved." in text(saved(visitor, f"records/queues/{id}", emailaddress="first@contoso.test"))
    assert "Mail goes out as" not in text(visitor.get(f"records/mailboxes/{box}"))
    assert "Saved." in text(saved(visitor, f"records/queues/{id}", description="changed"))
    assert "is already the address of Queue: Second line." in text(saved(visitor, "records/queues/new", name="Third line", emailaddress="second@contoso.test"))


def test_an_address_of_a_mailbox_is_asked_about_along_with_a_password(console, queue):
    visitor = Visitor(console)
    id, _ = queue("With a password", "with-password@contoso.test")
    assert console.request("PATCH", f"queues({id})", {"emailpassword": "a password"}).status_code == 204
    box = console.create("mailboxes", {"name": "Alone", "emailaddress": "alone@contoso.test"})
    asked = saved(visitor, f"records/queues/{id}", **{"emailaddress": "alone@contoso.test", "emailpassword!clear": "1"})
    assert "alone@contoso.test is already the address of Mailbox: Alone." in text(asked) and "can't be brought back" in text(asked)
    answer = saved(visitor, f"records/queues/{id}", **{"emailaddress": "alone@contoso.test", "emailpassword!clear": "1", "confirmed": "clear: emailpassword; address: alone@contoso.test"})
    assert "Saved." in text(answer)
    console.sql("DELETE FROM org_contoso.mailbox WHERE mailboxid = %s", [box])


def test_a_queue_leads_to_the_mailbox_that_decides_about_its_mail(console, queue):
    visitor = Visitor(console)
    id, box = queue("Receiving", "receiving@contoso.test")
    page = visitor.get(f"records/queues/{id}")
    assert f'href="/contoso/records/mailboxes/{box}"' in page.text and "Its mailbox" in text(page)
    shown = page.text.split("<details")[0] if "<details" in page.text else page.text
    assert 'name="incomingemaildeliverymethod"' not in shown and 'name="outgoingemaildeliverymethod"' not in shown
    assert "is set on the page of its mailbox" in text(page)
    assert not re.search(r'name="f\.incomingemaildeliverymethod"', visitor.get("records/queues").text)
