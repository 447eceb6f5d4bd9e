"""An e-mail that waits to be sent: users who may write it can cancel it, but can't delete it, and can't change it in the request that cancels it.
It fails if its submitter may not send it any more when its time comes."""

import base64
import json
import re
import uuid

import mailroom
import pytest
from mailroom import refusal
from test_mail_and_rights import failed

room = mailroom.room


@pytest.fixture
def waiting(room):
    id = room.drafted(room.person)
    assert room.send(id).status_code == 200
    return id


def stored(room, id):
    return room.sql("SELECT statuscode, subject = 'changed' FROM org_contoso.email WHERE activityid = %s", [id])


def in_change_set(room, method, path, body=None):
    lines = [
        "--b", "Content-Type: multipart/mixed; boundary=c", "", "--c", "Content-Type: application/http", "Content-ID: 1", "",
        f"{method} /contoso/api/data/v9.2/{path} HTTP/1.1", "Content-Type: application/json", "", json.dumps(body) if body else "", "--c--", "--b--", ""]
    answer = room.request("POST", "$batch", "\r\n".join(lines).encode(), client="user", Content_Type="multipart/mixed; boundary=b")
    return int(re.search(r"HTTP/1\.1 (\d+)", answer.text)[1]), answer.text


DELETIONS = {
    "by itself": lambda room, id: room.request("DELETE", f"emails({id})", client="user"),
    "with its version": lambda room, id: room.request("DELETE", f"emails({id})", client="user", If_Match="*"),
}


@pytest.mark.parametrize("way", DELETIONS)
def test_it_is_not_deleted(room, waiting, way):
    response = DELETIONS[way](room, waiting)
    assert response.status_code == 400 and "Cancel the e-mail" in response.text and "0x8004022e" in response.text.lower(), response.text
    status, text = in_change_set(room, "DELETE", f"emails({waiting})")
    assert status == 400 and "Cancel the e-mail" in text
    assert stored(room, waiting) == [(6, False)]
    # A canceled e-mail can be deleted.
    assert room.request("PATCH", f"emails({waiting})", {"statuscode": 5}, client="user").status_code == 204
    assert room.request("DELETE", f"emails({waiting})", client="user").status_code == 204
    assert stored(room, waiting) == []


@pytest.mark.parametrize("body", [
    {"statuscode": 5, "subject": "changed"}, {"statecode": 2, "subject": "changed"}, {"statecode": 2, "statuscode": 5, "description": "changed"},
    {"statuscode": 5, "regardingobjectid_queue@odata.bind": None}, {"statuscode": 5, "email_activity_parties": []},
])
def test_cancelling_changes_nothing_else(room, waiting, body):
    assert room.request("PATCH", f"emails({waiting})", body, client="user").status_code in (400, 403)
    assert in_change_set(room, "PATCH", f"emails({waiting})", body)[0] in (400, 403)
    assert stored(room, waiting) == [(6, False)]
    assert waiting in [m["EmailId"] for m in room.take(room.box)]


@pytest.mark.parametrize("body", [{"statuscode": 5}, {"statecode": 2}, {"statecode": 2, "statuscode": 5}])
def test_its_writers_cancel_it(room, waiting, body):
    """The control: a user who may write the e-mail can cancel it, and then change it."""
    assert room.request("PATCH", f"emails({waiting})", body, client="user").status_code == 204
    assert stored(room, waiting) == [(5, False)]
    assert room.request("PATCH", f"emails({waiting})", {"statuscode": 1, "subject": "changed"}, client="user").status_code == 204
    assert stored(room, waiting) == [(1, True)]


def files(room, id):
    return room.sql("SELECT activitymimeattachmentid::text, filename FROM org_contoso.activitymimeattachment WHERE objectid = %s", [id])


@pytest.mark.parametrize("state", ["Pending Send", "Sending"])
def test_a_system_administrator_changes_nothing_of_it_either(room, state):
    """Until an e-mail is sent, an administrator can change neither it nor its attachments."""
    body = base64.b64encode(b"right").decode()
    id = room.drafted(room.person, description="text", email_activity_mime_attachment=[{"filename": "a.txt", "body": body}])
    assert room.send(id).status_code == 200
    [(file, _)] = files(room, id)
    if state == "Sending":
        assert id in [each["EmailId"] for each in room.take(room.box)]
    address, attachment = f"emails({id})", f"activitymimeattachments({file})"
    new = {"filename": "b.txt", "body": body}
    for method, path, content in (
            ("PATCH", address, {"subject": "changed"}), ("PATCH", address, {"description": "changed", "statuscode": 5}), ("PUT", f"{address}/description", {"value": "changed"}),
            ("DELETE", f"{address}/description", None), ("PATCH", address, {"ownerid@odata.bind": f"/systemusers({room.users['admin']})"}),
            ("PATCH", address, {"email_activity_parties": []}), ("PUT", f"{address}/email_activity_parties", {"value": []}),
            ("PATCH", attachment, {"filename": "changed"}), ("PUT", f"{attachment}/body", {"value": body}), ("DELETE", attachment, None),
            ("POST", "activitymimeattachments", {**new, "objectid_email@odata.bind": f"/{address}"}), ("POST", f"{address}/email_activity_mime_attachment", new),
            ("POST", "emails/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": id, "subject": "changed"}]})):
        answer = room.request(method, path, content)
        assert answer.status_code == 400 and answer.json()["error"]["code"] == "0x8004022E", (method, path, answer.text)
    assert files(room, id) == [(file, "a.txt")] and room.status(id) == {"Pending Send": 6, "Sending": 7}[state]
    if state == "Pending Send":
        assert id in [each["EmailId"] for each in room.take(room.box)]
    room.sql("UPDATE org_contoso.email SET statuscode = 3 WHERE activityid = %s", [id])


def test_a_change_set_that_sends_it_changes_nothing_after_that(room):
    id = room.drafted(room.person)
    send, change = ("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True}), ("PATCH", f"emails({id})", {"description": "changed"})
    statuses, text = room.change_set(send, change, client="admin")
    assert statuses == [400] and "0x8004022E" in text and room.status(id) == 1
    statuses, text = room.change_set(change, send, client="admin")
    assert statuses == [204, 200] and id in [each["EmailId"] for each in room.take(room.box)], text
    room.sql("UPDATE org_contoso.email SET statuscode = 3 WHERE activityid = %s", [id])


@pytest.mark.parametrize("client", ["admin", "user"])
def test_it_is_written_back_as_it_was_read(room, client):
    """An update that writes the values that an e-mail has succeeds and changes nothing, also for an e-mail that was sent."""
    id = room.drafted(room.person, client="user")

    def back(**more):
        record = {name: value for name, value in room.get(f"emails({id})", client=client).json().items() if not name.startswith("_")}
        parties = room.get(f"activityparties?$filter=_activityid_value eq {id}&$orderby=activitypartyid", client=client).json()["value"]
        record["email_activity_parties"] = [
            {"participationtypemask": each["participationtypemask"],
             **({"partyid_systemuser@odata.bind": f"/systemusers({each['_partyid_value']})"} if each["_partyid_value"] else {"addressused": each["addressused"]})}
            for each in parties if each["participationtypemask"] < 5]
        return room.request("PATCH", f"emails({id})", {**record, **more}, client=client)

    assert back().status_code == 204
    assert room.send(id).status_code == 200
    version = room.sql("SELECT versionnumber FROM org_contoso.email WHERE activityid = %s", [id])
    assert back().status_code == 204, back().text
    assert room.sql("SELECT versionnumber FROM org_contoso.email WHERE activityid = %s", [id]) == version
    for more in ({"subject": "changed"}, {"statuscode": 7}, {"email_activity_parties": []}):
        assert back(**more).status_code in (400, 403)
    assert "Cancel the e-mail first" in back(subject="changed").json()["error"]["message"]
    assert id in [each["EmailId"] for each in room.take(room.box)]
    # The router has taken the e-mail, so it can't be canceled any more.
    assert "Wait until the router is done" in back(subject="changed").json()["error"]["message"] and room.request("PATCH", f"emails({id})", {"statuscode": 5}, client=client).status_code == 403
    room.sql("UPDATE org_contoso.email SET statuscode = 3 WHERE activityid = %s", [id])
    assert back().status_code == 204, back().text
    assert back(category="x").status_code == 204
    assert back(email_activity_parties=[{"participationtypemask": 2, "addressused": "other@elsewhere.test"}]).json()["error"]["code"] == "0x8004022E"
    if client == "user":
        assert back(torecipients="other").json()["error"]["code"] == back(statuscode=4).json()["error"]["code"] == "0x80040220"


def test_a_system_administrator_deletes_it(room, waiting):
    """The control: unlike other users, a System Administrator can delete it."""
    assert room.request("DELETE", f"emails({waiting})").status_code == 204


# Submitters who lost their rights while the e-mail waited


def client_of(room, role):
    """Adds a client. Returns (its name, its systemuser)."""
    name = f"client-{uuid.uuid4().hex[:8]}"
    room.dev["clients"][name] = room.json("client", "add", name, "--org", "contoso", "--role", role)
    return name, room.get("WhoAmI", client=name).json()["UserId"]


def write(room, path, **body):
    response = room.request("PATCH", path, body)
    assert response.status_code == 204, response.text


def queue_of(room, owner, kind="systemuser", **more):
    """Creates a queue with a mailbox for an owner. Returns (queue, mailbox)."""
    queue, box = room.queue_box(room.profile(), **more)
    write(room, f"queues({queue})", **{"ownerid@odata.bind": f"/{kind}s({owner})"})
    return queue, box


def colleague(room, allows):
    """Creates a user with a mailbox, as whom others may send if `allows` is true. Returns (user, mailbox, address)."""
    address = f"{uuid.uuid4().hex[:8]}@contoso.test"
    user = room.create("systemusers", {"fullname": "Colleague", "domainname": address})
    box = room.user_box(user, room.profile(), address)
    write(room, f"usersettingscollection({user})", issendasallowed=allows)
    return user, box, address


def team_of(room, *members):
    team = room.create("teams", {"name": f"team {uuid.uuid4()}"})
    for user in members:
        join(room, team, user)
    return team


def join(room, team, user, message="AddMembersTeam"):
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": user}]}
    assert room.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.{message}", members).status_code == 204


def put_off(room, sender, client):
    """Submits an e-mail that waits for a time far ahead."""
    id = room.drafted(sender, client=client, delayedemailsendtime="2099-01-01T00:00:00Z")
    assert room.send(id, client=client).status_code == 200
    return id


def come_due(room, *ids):
    """Sets the time of the e-mails to the present. Their tag does not cover that time."""
    room.sql("UPDATE org_contoso.email SET delayedemailsendtime = now() WHERE activityid = ANY (%s::uuid[])", [list(ids)])


def taken(room, box):
    return [each["EmailId"] for each in room.take(box)]


@pytest.mark.parametrize("kind", ["queue", "queue of a team", "another user"])
def test_it_is_not_sent_for_a_submitter_who_was_disabled(room, kind):
    name, user = client_of(room, "Basic User")
    if kind == "another user":
        sender, box, _ = colleague(room, allows=True)
    elif kind == "queue":
        sender, box = queue_of(room, user)
    else:
        sender, box = queue_of(room, team_of(room, user), "team")
    id, again = put_off(room, sender, name), put_off(room, sender, name)
    assert taken(room, box) == []
    write(room, f"systemusers({user})", isdisabled=True)
    come_due(room, id)
    failed(room, id, box, "was disabled")
    # Another user, who may send as the sender, may send it.
    assert room.send(id, client="admin").status_code == 200
    assert id in taken(room, box) and room.status(again) == 6
    # The control: the e-mail of a user who is enabled when its time comes is sent.
    write(room, f"systemusers({user})", isdisabled=False)
    come_due(room, again)
    assert again in taken(room, box)


@pytest.mark.parametrize("command", [("disable",), ("role", "Email Router"), ("role", "Email Administrator")], ids=" ".join)
def test_it_is_not_sent_for_a_client_that_may_not_send_any_more(room, command):
    name, user = client_of(room, "Basic User")
    queue, box = queue_of(room, user)
    id, again = put_off(room, queue, name), put_off(room, queue, name)
    room.run("client", command[0], name, *command[1:])
    come_due(room, id)
    failed(room, id, box, "may not send e-mails any more")
    # The control: a client that may send when the e-mail's time comes.
    room.run("client", "role", name, "Basic User") if command[1:] else room.run("client", "enable", name)
    come_due(room, again)
    assert again in taken(room, box)


@pytest.mark.parametrize("kind", ["queue", "user"])
def test_it_is_not_sent_for_a_submitter_who_lost_the_role_that_allowed_it(room, kind):
    name, user = client_of(room, "System Administrator")
    sender, box = colleague(room, allows=False)[:2] if kind == "user" else room.queue_box(room.profile())
    own, own_box = queue_of(room, user)
    id, mine, kept = put_off(room, sender, name), put_off(room, own, name), put_off(room, sender, name)
    room.run("client", "role", name, "Basic User")
    come_due(room, id, mine)
    failed(room, id, box, "may not send as its sender")
    # The controls: a Basic User may send from an own queue, and a System Administrator as every sender.
    assert mine in taken(room, own_box)
    room.run("client", "role", name, "System Administrator")
    come_due(room, kept)
    assert kept in taken(room, box)


def test_a_role_of_a_team_allows_it_until_the_team_is_left(room):
    name, user = client_of(room, "Basic User")
    team = team_of(room, user)
    [role] = room.get("roles?$filter=name eq 'System Administrator'&$select=roleid").json()["value"]
    assert room.request("POST", f"teams({team})/teamroles_association/$ref", {"@odata.id": f"roles({role['roleid']})"}).status_code == 204
    sender, box = room.queue_box(room.profile())
    id, late = put_off(room, sender, name), put_off(room, sender, name)
    come_due(room, id)
    assert id in taken(room, box)
    join(room, team, user, "RemoveMembersTeam")
    come_due(room, late)
    failed(room, late, box, "may not send as its sender")


# Queues with the address of a user


@pytest.mark.parametrize("owner", ["user", "team"])
def test_a_queue_with_the_address_of_a_user_sends_only_for_who_may_send_as_the_user(room, owner):
    chief, _, address = colleague(room, allows=False)
    bind = f"/systemusers({room.person})" if owner == "user" else f"/teams({team_of(room, room.person)})"
    queue = room.create("queues", {"name": "Chief", "emailaddress": address.upper(), "ownerid@odata.bind": bind}, client="mailadmin")
    box = room.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    room.enable(box, room.profile())
    id = room.drafted(queue)
    assert "issendasallowed" in refusal(room.send(id))["message"]
    refusal(room.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": False}, client="user"))
    assert room.status(id) == 1 and taken(room, box) == []
    # While the chief lets others send as the chief, the e-mail is sent.
    write(room, f"usersettingscollection({chief})", issendasallowed=True)
    late = put_off(room, queue, "user")
    assert room.send(id).status_code == 200 and id in taken(room, box)
    write(room, f"usersettingscollection({chief})", issendasallowed=False)
    come_due(room, late)
    failed(room, late, box, "issendasallowed")
    # A System Administrator may send as every queue.
    assert room.send(late, client="admin").status_code == 200 and late in taken(room, box)


#: Spellings of one mailbox: quoted, with the root of the domain, and with characters that are not seen.
SPELLINGS = ['"{local}"@{domain}', "{local}@{domain}.", "{local}@{domain}\u200b", "{local}@{wide}", "{local}@\u00ad{domain}"]


@pytest.mark.parametrize("spelling", SPELLINGS, ids=range(len(SPELLINGS)))
@pytest.mark.parametrize("whose", ["a user", "a queue"])
def test_a_queue_with_another_spelling_of_an_address(room, whose, spelling):
    address = colleague(room, allows=False)[2] if whose == "a user" else f"{uuid.uuid4().hex[:8]}@contoso.test"
    if whose == "a queue":
        room.create("queues", {"name": "Support", "emailaddress": address})
    local, domain = address.split("@")
    spelled = spelling.format(local=local, domain=domain, wide=domain.replace(".", "\uff0e"))
    answer = room.request(
        "POST", "queues", {"name": "Other", "emailaddress": spelled, "ownerid@odata.bind": f"/systemusers({room.person})"}, client="mailadmin")
    assert answer.status_code == 204, answer.text
    queue = answer.headers["OData-EntityId"][-37:-1]
    box = room.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    # For some spellings, the service makes no mailbox.
    if box:
        room.enable(box, room.profile())
    id = room.drafted(queue)
    assert room.send(id).status_code in (400, 403) and room.status(id) == 1


def test_a_queue_with_the_address_of_an_older_queue(room):
    older, older_box = queue_of(room, room.person)
    [(address,)] = room.sql("SELECT emailaddress FROM org_contoso.queue WHERE queueid = %s", [older])
    _, other = client_of(room, "Basic User")
    write(room, f"queues({older})", **{"ownerid@odata.bind": f"/systemusers({other})"})
    queue = room.create("queues", {"name": "Newer", "emailaddress": address, "ownerid@odata.bind": f"/systemusers({room.person})"}, client="mailadmin")
    box = room.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    room.enable(box, room.profile())
    id = room.drafted(queue)
    refusal(room.send(id))
    # The control: the owner of the older queue may send as both.
    write(room, f"queues({older})", **{"ownerid@odata.bind": f"/systemusers({room.person})"})
    assert room.send(id).status_code == 200 and id in taken(room, box)


def test_a_queue_whose_address_a_user_gets_later(room):
    queue, box = queue_of(room, room.person)
    before, late = room.drafted(queue), put_off(room, queue, "user")
    # The controls: the queue has an address of its own, and then the address of its owner.
    assert room.send(before).status_code == 200 and before in taken(room, box)
    own, own_box = queue_of(room, room.person, address="user@contoso.test")
    mine = room.drafted(own)
    assert room.send(mine).status_code == 200 and mine in taken(room, own_box)
    chief = room.create("systemusers", {"fullname": "Chief", "domainname": f"{uuid.uuid4()}"})
    [(address,)] = room.sql("SELECT emailaddress FROM org_contoso.queue WHERE queueid = %s", [queue])
    write(room, f"systemusers({chief})", internalemailaddress=address)
    come_due(room, late)
    failed(room, late, box, "may not send as its sender")
    refusal(room.send(late))
    write(room, f"systemusers({chief})", internalemailaddress=f"{uuid.uuid4().hex[:8]}@contoso.test")
    assert room.send(late).status_code == 200 and late in taken(room, box)
