"""Upserts by callers who can change only their own records: a new record is created, and another user's record stays unchanged."""

import json
import re
import uuid

import pytest
from service import Deployment, refused


@pytest.fixture(scope="module")
def service():
    with Deployment.made() as deployment:
        yield deployment


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
    """Without the right to create, the response is the same for an existing id and for an unknown id."""
    for names, body in (("queues", {"name": "x"}), ("mailboxes", {"name": "x"}), ("emailserverprofiles", {"name": "x"})):
        id, other = str(uuid.uuid4()), service.create(names, {"name": "of another"})
        answers = [service.request("PATCH", f"{names}({key})", body, client="user") for key in (id, other)]
        assert answers[0].status_code == answers[1].status_code in (403, 404), answers[0].text
        assert answers[0].text.replace(id, "ID") == answers[1].text.replace(other, "ID")
        assert service.get(f"{names}({id})").status_code == 404 and service.get(f"{names}({other})").json()["name"] == "of another"
    id = str(uuid.uuid4())
    # No caller may set this status, so no e-mail is created with it.
    assert service.request("PATCH", f"emails({id})", {"subject": "x", "statuscode": 3}, client="user").status_code == 403
    assert subject(service, id, "admin") is None


# Attributes that a create accepts and an update refuses


def new_values(service):
    """For each case: an entity set, its primary key, values for creating and updating, and values that only a create accepts."""
    parent = service.create("emails", {"subject": "parent"})
    unit = service.get("businessunits?$select=businessunitid").json()["value"][0]["businessunitid"]
    return [
        ("queues", "queueid", {"name": f"q {uuid.uuid4()}"}, {"importsequencenumber": 3}),
        ("queues", "queueid", {"name": f"q {uuid.uuid4()}"}, {"overriddencreatedon": "2020-01-02T03:04:05Z"}),
        ("emails", "activityid", {"subject": "e"}, {"importsequencenumber": 5}),
        ("emails", "activityid", {"subject": "e"}, {"parentactivityid@odata.bind": f"/emails({parent})"}),
        ("teams", "teamid", {"name": f"t {uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})"}, {"teamtype": 0}),
    ]


def upsert_one(service, entity_set, key, id, body):
    return service.request("PATCH", f"{entity_set}({id})", body)


def upsert_many(service, entity_set, key, id, body):
    types = {"queues": "queue", "mailboxes": "mailbox", "emailserverprofiles": "emailserverprofile", "emails": "email", "teams": "team"}
    target = {"@odata.type": f"Microsoft.Dynamics.CRM.{types[entity_set]}", key: id, **body}
    return service.request("POST", f"{entity_set}/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": [target]})


@pytest.mark.parametrize("upsert", [upsert_one, upsert_many])
def test_an_upsert_that_creates_takes_what_a_create_takes(service, upsert):
    parent = service.create("emails", {"subject": "another parent"})
    others = {"importsequencenumber": [{"importsequencenumber": 4}], "overriddencreatedon": [{"overriddencreatedon": "2020-01-02T03:04:05Z"}],
              "parentactivityid": [{"parentactivityid@odata.bind": f"/emails({parent})"}], "teamtype": []}
    for entity_set, key, body, only in new_values(service):
        id = str(uuid.uuid4())
        answer = upsert(service, entity_set, key, id, {**body, **only})
        assert answer.status_code in (200, 204), (entity_set, only, answer.text)
        # The second upsert is an update with the same values. It is refused only for overriddencreatedon, whose stored value is another date.
        name = next(iter(only)).removesuffix("@odata.bind")
        again = upsert(service, entity_set, key, id, {**body, **only})
        assert name == "overriddencreatedon" or again.status_code in (200, 204), again.text
        for value in others[name]:
            message = refused(upsert(service, entity_set, key, id, {**body, **value}), 400, "0x80060413")
            assert message == f"{name} can't be updated."
        [made] = service.get(f"{entity_set}?$filter={key} eq {id}").json()["value"]
        assert name == "overriddencreatedon" or made.get(name, made.get(f"_{name}_value")) is not None
        # With If-Match, the request can't create a record.
        refused(service.request("PATCH", f"{entity_set}({uuid.uuid4()})", {**body, **only}, If_Match="*"), 404, "0x80040217")
        assert service.request("PATCH", f"{entity_set}({uuid.uuid4()})", {**body, "name" if "name" in body else "subject": str(uuid.uuid4()), **only}, If_None_Match="*").status_code == 204


def test_an_alternate_key_finds_what_to_refuse(service):
    name = f"key {uuid.uuid4()}"
    assert service.request("PATCH", f"queues(name='{name}')", {"importsequencenumber": 3}).status_code == 204
    refused(service.request("PATCH", f"queues(name='{name}')", {"importsequencenumber": 4}), 400, "0x80060413")
    [queue] = service.get(f"queues?$filter=name eq '{name}'&$select=importsequencenumber").json()["value"]
    assert queue["importsequencenumber"] == 3


def test_create_only_values_tell_no_more_of_the_records_of_others(service):
    """A caller who can create records gets the response that they would get without these values."""
    id = service.create("emails", {"subject": "of another"})
    parent = service.create("emails", {"subject": "own"}, client="user")
    body = {"subject": "x", "parentactivityid@odata.bind": f"/emails({parent})"}
    refused(service.request("PATCH", f"emails({id})", body, client="user"), 404, "0x80040217")
    new = str(uuid.uuid4())
    assert service.request("PATCH", f"emails({new})", body, client="user").status_code == 204
    assert service.request("PATCH", f"emails({new})", body, client="user").status_code == 204
    another = {**body, "parentactivityid@odata.bind": f"/emails({new})"}
    refused(service.request("PATCH", f"emails({new})", another, client="user"), 400, "0x80060413")
    # A caller who can't create records can't find out whether the record exists.
    other = service.create("queues", {"name": "of another"})
    answers = [service.request("PATCH", f"queues({key})", {"importsequencenumber": 1}, client="user") for key in (str(uuid.uuid4()), other)]
    assert answers[0].status_code == answers[1].status_code == 403


def test_change_sets_and_puts_create_with_them(service):
    for method in ("PATCH", "PUT"):
        id = str(uuid.uuid4())
        lines = [
            "--b", "Content-Type: multipart/mixed; boundary=c", "", "--c", "Content-Type: application/http", "Content-ID: 1", "",
            f"{method} /contoso/api/data/v9.2/queues({id}) HTTP/1.1", "Content-Type: application/json", "",
            json.dumps({"name": f"set {id}", "importsequencenumber": 6}), "--c--", "--b--", ""]
        answer = service.request("POST", "$batch", "\r\n".join(lines).encode(), Content_Type="multipart/mixed; boundary=b")
        assert "HTTP/1.1 204" in answer.text, answer.text
        assert service.get(f"queues({id})?$select=importsequencenumber").json()["importsequencenumber"] == 6
