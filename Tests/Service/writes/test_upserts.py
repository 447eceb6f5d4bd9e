"""Upserts of callers whose rights reach their own records: a new record is created, and another's stays as it is."""

import json
import re
import uuid

import pytest
from service import Deployment, refused


@pytest.fixture(scope="module")
def service():
    deployment = Deployment()
    try:
        yield deployment.start()
    finally:
        deployment.remove()


def by_patch(service, id, body):
    return service.request("PATCH", f"emails({id})", body, client="user").status_code


def by_put(service, id, body):
    return service.request("PUT", f"emails({id})", body, client="user").status_code


def by_message(service, id, body):
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": id, **body}]
    return service.request("POST", "emails/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": targets}, client="user").status_code


def by_change_set(service, id, body):
    lines = [
        "--b", "Content-Type: multipart/mixed; boundary=c", "", "--c", "Content-Type: application/http", "Content-ID: 1", "",
        f"PATCH /contoso/api/data/v9.2/emails({id}) HTTP/1.1", "Content-Type: application/json", "", json.dumps(body), "--c--", "--b--", ""]
    answer = service.request("POST", "$batch", "\r\n".join(lines).encode(), client="user", Content_Type="multipart/mixed; boundary=b")
    return int(re.search(r"HTTP/1\.1 (\d+)", answer.text)[1])


WAYS = {"patch": by_patch, "put": by_put, "many": by_message, "change set": by_change_set}


def subject(service, id, client="user"):
    response = service.get(f"emails({id})?$select=subject", client=client)
    return response.json()["subject"] if response.status_code == 200 else None


@pytest.mark.parametrize("way", WAYS)
def test_a_new_record_is_created_for_the_caller(service, way):
    id = str(uuid.uuid4())
    assert WAYS[way](service, id, {"subject": "new"}) in (200, 201, 204)
    assert subject(service, id) == "new"
    # Again, it is an update.
    assert WAYS[way](service, id, {"subject": "changed"}) in (200, 204)
    assert subject(service, id) == "changed"
    [(owner,)] = service.sql("SELECT ownerid::text FROM org_contoso.email WHERE activityid = %s", [id])
    assert owner == service.get("WhoAmI", client="user").json()["UserId"]


@pytest.mark.parametrize("way", WAYS)
def test_a_record_of_another_stays_as_it_is(service, way):
    id = service.create("emails", {"subject": "of another"})
    assert WAYS[way](service, id, {"subject": "taken"}) == 404
    assert subject(service, id) is None and subject(service, id, "admin") == "of another"


def test_an_update_creates_nothing(service):
    id = str(uuid.uuid4())
    refused(service.request("PATCH", f"emails({id})", {"subject": "x"}, client="user", If_Match="*"), 404, "0x80040217")
    assert subject(service, id, "admin") is None


def test_an_upsert_needs_the_right_to_create(service):
    """Without it, an id that exists and one that does not have the same answer."""
    for names, body in (("queues", {"name": "x"}), ("mailboxes", {"name": "x"}), ("emailserverprofiles", {"name": "x"})):
        id, other = str(uuid.uuid4()), service.create(names, {"name": "of another"})
        answers = [service.request("PATCH", f"{names}({key})", body, client="user") for key in (id, other)]
        assert answers[0].status_code == answers[1].status_code in (403, 404), answers[0].text
        assert answers[0].text.replace(id, "ID") == answers[1].text.replace(other, "ID")
        assert service.get(f"{names}({id})").status_code == 404 and service.get(f"{names}({other})").json()["name"] == "of another"
    id = str(uuid.uuid4())
    # A status that nobody writes is none of a new e-mail.
    assert service.request("PATCH", f"emails({id})", {"subject": "x", "statuscode": 3}, client="user").status_code == 403
    assert subject(service, id, "admin") is None
