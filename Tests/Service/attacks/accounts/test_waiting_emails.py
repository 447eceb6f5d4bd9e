"""An e-mail that waits to be sent: users who may write it can cancel it, but can't delete it, and can't change it in the request that cancels it."""

import base64
import json
import re

import mailroom
import pytest

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
