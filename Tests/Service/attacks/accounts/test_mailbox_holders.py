"""SQL makes a mailbox use the credential of another queue or user. An administrator's update confirms that only if it names the queue or user."""

import uuid

import pytest
from mailroom import GOOD, Mailroom, refusal


@pytest.fixture(scope="module")
def room():
    room = Mailroom()
    try:
        yield room.start()
    finally:
        room.remove()


@pytest.fixture
def profile(room):
    """A profile whose mailboxes use the credential of their queue or user."""
    return room.profile()


def with_password(room, profile, name):
    """Creates a queue with its own password, and the queue's mailbox. Returns (queue, mailbox)."""
    queue, box = room.queue_box(profile, allowemailconnectortousecredentials=False)
    assert room.request("PATCH", f"queues({queue})", {"emailusername": name, "emailpassword": f"{name}'s secret", "allowemailcredentials": True}).status_code == 204
    return queue, box


@pytest.fixture
def chief(room, profile):
    return with_password(room, profile, "chief")[0]


def give(room, box, holder, kind="queue"):
    room.sql_as("fieldseal_service", "UPDATE mailbox SET regardingobjectid = %s, regardingobjecttypecode = %s WHERE mailboxid = %s", [holder, kind, box])


def settings(profile, name="victim"):
    return {"username": name, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}


def of_queue(queue):
    return {"regardingobjectid_queue@odata.bind": f"/queues({queue})"}


def test_a_save_names_whose_credential_is_released_and_where(room, profile, chief):
    queue, box = with_password(room, profile, "own")
    path = f"mailboxes({box})"
    assert room.released(box) == (GOOD, "own", "own's secret")
    give(room, box, chief)
    for body in (settings(profile), {"name": f"box {uuid.uuid4()}", **settings(profile)}):
        asked = refusal(room.request("PATCH", path, body))["message"]
        assert f"queue {chief}" in asked and GOOD in asked and "regardingobjectid" in asked, asked
    assert room.release(box).status_code == 403
    # An update with the record as it was read names no queue. An update that names the former queue does not confirm the present one.
    record = {name: value for name, value in room.get(path).json().items() if not name.startswith("_") and value is not None}
    assert f"queue {chief}" in refusal(room.request("PATCH", path, record))["message"]
    assert "can't be updated" in room.request("PATCH", path, {**settings(profile), **of_queue(queue)}).text
    assert room.release(box).status_code == 403
    # When SQL restores the former queue, the former password is released again.
    give(room, box, queue)
    assert room.released(box) == (GOOD, "own", "own's secret")
    # An administrator's update that names the other queue confirms it.
    give(room, box, chief)
    assert room.request("PATCH", path, {**settings(profile), **of_queue(chief)}).status_code == 204
    assert room.released(box) == (GOOD, "chief", "chief's secret")


def test_a_mailbox_without_a_server_is_bound_to_its_queue_too(room, profile, chief):
    address = f"q{uuid.uuid4().hex[:8]}@contoso.test"
    queue = room.create("queues", {"name": address, "emailaddress": address})
    box = room.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    give(room, box, chief)
    assert any(box in line for line in room.findings("mail-settings-not-authorized"))
    asked = refusal(room.request("PATCH", f"mailboxes({box})", settings(profile)))["message"]
    assert f"queue {chief}" in asked and GOOD in asked
    give(room, box, queue)
    assert not any(box in line for line in room.findings("mail-settings-not-authorized"))
    assert room.request("PATCH", f"mailboxes({box})", settings(profile)).status_code == 204


def test_a_mailbox_of_no_one_becomes_no_user_s(room, profile):
    """A user's settings have a password. SQL makes a mailbox without a holder the mailbox of that user."""
    user = room.users["mailadmin"]
    assert room.request("PATCH", f"usersettingscollection({user})", {"emailusername": "chief", "emailpassword": "chief's secret"}).status_code == 204
    box = room.create("mailboxes", {"name": "box of no one", "emailaddress": f"b{uuid.uuid4().hex[:8]}@contoso.test"})
    give(room, box, user, "systemuser")
    asked = refusal(room.request("PATCH", f"mailboxes({box})", settings(profile)))["message"]
    assert f"systemuser {user}" in asked and GOOD in asked
    # Naming a queue with the id of the user does not confirm the user.
    assert room.request("PATCH", f"mailboxes({box})", {**settings(profile), **of_queue(user)}).status_code == 403
    assert room.request("PATCH", f"mailboxes({box})", {**settings(profile), "regardingobjectid@odata.bind": f"/systemusers({user})"}).status_code == 204


def test_what_sql_wrote_is_confirmed_without_another_change(room):
    """The mailbox has no setting but its queue. An update that only names the queue confirms it."""
    address = f"q{uuid.uuid4().hex[:8]}@contoso.test"
    queue = room.create("queues", {"name": address, "emailaddress": address})
    box = room.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    room.sql_as("fieldseal_service", "DELETE FROM mail_destination WHERE record_id = %s", [box])
    assert any(box in line for line in room.findings("mail-settings-not-authorized"))
    assert room.request("PATCH", f"mailboxes({box})", of_queue(queue)).status_code == 204
    assert not any(box in line for line in room.findings("mail-settings-not-authorized"))
