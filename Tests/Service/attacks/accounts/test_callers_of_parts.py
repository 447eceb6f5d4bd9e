"""Change sets whose parts have different callers. A part that changes where a password is sent needs the rights of its own caller."""

import uuid

import pytest
from mailroom import EVIL, GOOD, Mailroom
from test_batches import batch, change_set, multipart, part


@pytest.fixture(scope="module")
def room():
    with Mailroom.made() as room:
        second = room.json("client", "add", "second", "--org", "contoso", "--role", "System Administrator")
        room.dev["clients"]["second"] = second
        room.users["second"] = room.get("WhoAmI", client="second").json()["UserId"]
        yield room


@pytest.fixture
def victim(room):
    """A profile with a mailbox whose password is released: (profile, mailbox)."""
    profile = room.profile()
    return profile, room.queue_box(profile)[1]


def in_json(room, *parts, **headers):
    """Sends a change set of (method, address, body, caller). Returns the highest status of its parts, and the response's text."""
    answer = batch(room, [
        {"id": str(number), "atomicityGroup": "g", "method": method, "url": url, "body": body,
         "headers": {"Content-Type": "application/json", **({"MSCRMCallerID": room.users[caller]} if caller else {})}}
        for number, (method, url, body, caller) in enumerate(parts)], **headers)
    return max(each["status"] for each in answer.json()["responses"]), answer.text


def in_multipart(room, *parts, **headers):
    content = [part(method, url, body, id=str(number + 1), headers=f"MSCRMCallerID: {room.users[caller]}\r\n" if caller else "")
               for number, (method, url, body, caller) in enumerate(parts)]
    answer = multipart(room, change_set(*content), **headers)
    return max(int(line.split()[1]) for line in answer.text.split("\r\n") if line.startswith("HTTP/1.1 ")), answer.text


FORMS = [in_json, in_multipart]


def moves(profile, mailbox, other):
    return {
        "update": ("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}),
        "attribute": ("PUT", f"emailserverprofiles({profile})/incomingserverlocation", {"value": EVIL}),
        "many": ("POST", "emailserverprofiles/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [
            {"@odata.type": "Microsoft.Dynamics.CRM.emailserverprofile", "emailserverprofileid": profile, "incomingserverlocation": EVIL}]}),
        "link": ("PUT", f"mailboxes({mailbox})/emailserverprofile/$ref", {"@odata.id": f"emailserverprofiles({other})"}),
    }


@pytest.mark.parametrize("send", FORMS)
@pytest.mark.parametrize("way", ["update", "attribute", "many", "link"])
def test_a_part_has_the_rights_of_its_own_user(room, victim, send, way):
    profile, mailbox = victim
    request = moves(profile, mailbox, room.profile(incomingserverlocation=EVIL))[way]
    status, text = send(room, (*request, "mailadmin"))
    assert status == 403 and mailbox in text and "System Administrator" in text, text
    # A part in an administrator's name, here a change of the description, gives the other part no rights.
    status, text = send(room, ("PATCH", f"emailserverprofiles({profile})", {"description": "x"}, None), (*request, "mailadmin"))
    assert status == 403, text
    assert room.released(mailbox)[0] == GOOD
    [(actor,)] = room.sql("SELECT DISTINCT actor FROM org_contoso.security_event WHERE kind = 'mail server changed' AND outcome = 'refused' AND details LIKE %s", [f"%{mailbox if way == 'link' else profile}%"])
    assert actor == f"client:dev-admin as systemuser:{room.users['mailadmin']}"
    # The control: a System Administrator's part succeeds, although the Email Administrator is the caller of the whole request.
    status, text = send(room, (*request, "second"), MSCRMCallerID=room.users["mailadmin"])
    assert status < 300, text
    assert room.released(mailbox)[0] == EVIL
    [(actor,)] = room.sql("SELECT actor FROM org_contoso.security_event WHERE kind = 'mail server changed' AND outcome = 'succeeded' AND details LIKE %s", [f"%{mailbox if way == 'link' else profile}%"])
    assert actor == f"client:dev-admin as systemuser:{room.users['second']}"


@pytest.mark.parametrize("send", FORMS)
def test_a_change_of_several_is_allowed_if_each_may_make_it(room, victim, send):
    profile, mailbox = victim
    address = f"emailserverprofiles({profile})"
    server, port = {"incomingserverlocation": EVIL}, {"incomingportnumber": 9930}
    for parts in (((server, None), (port, "mailadmin")), ((server, "mailadmin"), (port, None)), ((server, "mailadmin"), (server, None)), ((server, None), (server, "mailadmin"))):
        status, text = send(room, *(("PATCH", address, body, caller) for body, caller in parts))
        assert status == 403, (parts, text)
    # A part of the Email Administrator that changes no server does not prevent the change set.
    status, text = send(room, ("PATCH", address, server, None), ("PATCH", address, {"description": "y", "incomingportnumber": 993}, "mailadmin"), ("PATCH", address, {"outgoingserverlocation": EVIL}, "second"))
    assert status == 204, text
    assert room.released(mailbox)[0] == EVIL
    actors = {actor for (actor,) in room.sql("SELECT actor FROM org_contoso.security_event WHERE kind = 'mail server changed' AND outcome = 'succeeded' AND details LIKE %s", [f"%{profile}%"])}
    assert actors == {"client:dev-admin", f"client:dev-admin as systemuser:{room.users['second']}"}
    # If the change set also sets all passwords again, it needs no System Administrator.
    status, text = send(room, ("PATCH", address, {"incomingserverlocation": GOOD}, "mailadmin"), ("PATCH", f"mailboxes({mailbox})", {"password": "anew"}, "mailadmin"))
    assert status == 204, text
    assert room.released(mailbox) == (GOOD, "victim", "anew")


@pytest.mark.parametrize("send", FORMS)
def test_a_users_part_keeps_the_account_of_their_mailbox(room, send):
    mailbox = room.user_box(room.users["user"], room.profile(), f"own{uuid.uuid4().hex[:8]}@contoso.test")
    status, text = send(room, ("PATCH", f"mailboxes({mailbox})", {"username": "chief"}, "user"))
    assert status == 403 and "the account that they sign in to" in text, text
    status, text = send(room, ("PATCH", f"mailboxes({mailbox})", {"username": "chief", "password": "the chief's"}, "user"))
    assert status == 204, text
    assert room.released(mailbox)[1:] == ("chief", "the chief's")


@pytest.mark.parametrize("send", FORMS)
def test_a_part_confirms_no_server_that_sql_wrote(room, victim, send):
    profile, mailbox = victim
    room.sql_as("fieldseal_service", "UPDATE emailserverprofile SET incomingserverlocation = %s WHERE emailserverprofileid = %s", [EVIL, profile])
    address = f"emailserverprofiles({profile})"
    asked = room.request("PATCH", address, {"outgoingportnumber": 465}).json()["error"]["message"]
    names = {"outgoingportnumber", *asked.rstrip(".").rsplit(": ", 1)[1].split(", ")}
    stood = {name: value for name, value in room.get(address).json().items() if name in names}
    status, text = send(room, ("PATCH", address, stood, "mailadmin"))
    assert status == 403 and mailbox in text, text
    half = dict(list(stood.items())[::2])
    rest = {name: value for name, value in stood.items() if name not in half}
    assert send(room, ("PATCH", address, half, None), ("PATCH", address, rest, "mailadmin"))[0] == 403
    assert room.release(mailbox).status_code == 403
    status, text = send(room, ("PATCH", address, half, None), ("PATCH", address, {**rest, "incomingserverlocation": GOOD}, "second"))
    assert status == 204, text
    assert room.released(mailbox)[0] == GOOD
