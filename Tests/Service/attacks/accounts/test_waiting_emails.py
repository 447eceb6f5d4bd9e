"""An e-mail that waits to be sent: its writers cancel it, and neither delete it nor change it along with that."""

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
    assert response.status_code == 400 and "Cancel it" in response.text and "0x8004022e" in response.text.lower(), response.text
    status, text = in_change_set(room, "DELETE", f"emails({waiting})")
    assert status == 400 and "Cancel it" in text
    assert stored(room, waiting) == [(6, False)]
    # Cancelled, it is.
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
    """The control."""
    assert room.request("PATCH", f"emails({waiting})", body, client="user").status_code == 204
    assert stored(room, waiting) == [(5, False)]
    assert room.request("PATCH", f"emails({waiting})", {"statuscode": 1, "subject": "changed"}, client="user").status_code == 204
    assert stored(room, waiting) == [(1, True)]


def test_a_system_administrator_deletes_it(room, waiting):
    """The control."""
    assert room.request("DELETE", f"emails({waiting})").status_code == 204
