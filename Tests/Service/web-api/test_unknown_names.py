"""Names that an entity does not have, in writes and queries. They are refused with the true reason, and not taken for another name."""

import uuid

import pytest
from service import refused
from test_batches import change_set, multipart, part, statuses


def tag():
    return f"names {uuid.uuid4()}"


@pytest.fixture(scope="module")
def ids(service):
    queue = service.create("queues", {"name": tag()})
    return {"me": service.get("WhoAmI").json()["UserId"], "queue": queue, "profile": service.create("emailserverprofiles", {"name": tag()}), "team": service.create("teams", {"name": tag()})}


@pytest.mark.parametrize("path, member, address", [
    ("emails", "ownerid_bogus@odata.bind", "/systemusers({me})"), ("queues", "ownerid_team@odata.bind", "/systemusers({me})"), ("queues", "ownerid_systemuser@odata.bind", "/systemusers({me})"),
    ("mailboxes", "emailserverprofile_x@odata.bind", "/emailserverprofiles({profile})"), ("queues", "primaryuserid_team@odata.bind", "/systemusers({me})"),
    ("queues", "primaryuserid@odata.bind", "/teams({team})"), ("tracelogs", "regardingobjectid_mailbox@odata.bind", "/emailserverprofiles({profile})"),
    ("tracelogs", "regardingobjectid@odata.bind", "/emailserverprofiles({profile})"), ("emails", "regardingobjectid_bogus@odata.bind", None), ("queues", "_ownerid_value@odata.bind", "/systemusers({me})"),
    ("queues", "nosuch@odata.type", "#Int32"), ("queues", "nosuch@OData.Community.Display.V1.FormattedValue", "x"), ("queues", "nosuch@custom.note", "x"), ("queues", "nosuch@odata.navigationLink", "x"),
])
def test_a_name_that_no_property_has_is_refused(service, ids, path, member, address):
    body = {member: address and address.format(**ids)} | ({"tracecode": 1} if path == "tracelogs" else {"subject": "x"} if path == "emails" else {"name": tag()})
    refused(service.request("POST", path, body), 400, "0x80048D19")
    if path == "queues":
        refused(service.request("PATCH", f"queues({ids['queue']})", body), 400, "0x80048D19")
        assert statuses(multipart(service, change_set(part("POST", path, body, id=1)))) == [400]


def test_annotations_of_properties_are_sent_back(service, ids):
    record = service.get(f"queues({ids['queue']})?$select=name,statuscode,description&$expand=ownerid($select=ownerid)", Prefer='odata.include-annotations="*"').json()
    body = {name: value for name, value in record.items() if "@" in name or name in ("name", "statuscode")} | {"description": "changed"}
    assert any(name.startswith("statuscode@") for name in body)
    assert service.request("PATCH", f"queues({ids['queue']})", body).status_code == 204
    whole = service.get(f"queues({ids['queue']})?$select=_ownerid_value,_primaryuserid_value", Prefer='odata.include-annotations="*"').json()
    kept = {name: value for name, value in whole.items() if "@" in name}
    assert any(name.startswith("_ownerid_value@") for name in kept)
    assert service.request("PATCH", f"queues({ids['queue']})", kept | {"description": "again"}).status_code == 204


@pytest.mark.parametrize("path, body, words", [
    ("emailserverprofiles({profile})", {"emailserverprofile_mailbox@odata.bind": ["/mailboxes(00000000-0000-0000-0000-000000000001)"]}, "is a collection, which a new record takes"),
    ("emailserverprofiles({profile})", {"emailserverprofile_mailbox": [{"name": "x"}]}, "is a collection, which a new record takes"),
    ("teams({team})", {"teammembership_association@odata.bind": ["/systemusers(00000000-0000-0000-0000-000000000001)"]}, "POST to teams(ID)/teammembership_association/$ref"),
    ("emails", {"subject": "x", "email_activity_parties": [{"participationtypemask": 1, "partyid_queue@odata.bind": "/emails(00000000-0000-0000-0000-000000000001)"}]}, "the address of a queue"),
    ("emails", {"subject": "x", "@odata.id": "/queues(00000000-0000-0000-0000-000000000001)"}, "the address of an email"),
    ("mailboxes", {"name": "x", "emailserverprofile@odata.bind": "/emailserverprofiles(00000000-0000-0000-0000-000000000001)"}, "refers to an emailserverprofile that does not exist"),
    ("queues({queue})", {"_ownerid_value": "{me}"}, "Write ownerid@odata.bind"), ("queues({queue})", {"ownerid": "{me}"}, "write ownerid@odata.bind"),
    ("queues({queue})", {"primaryuserid": {"fullname": "x"}}, "write primaryuserid@odata.bind"), ("queues({queue})", {"nosuch": 1}, "queue has no attribute 'nosuch'"),
    ("emails", {"to": []}, "email_activity_parties"), ("emails", {"ownerid_email": "x"}, "ownerid_email@odata.bind"), ("emails", {"_ownerid_value": "{me}"}, "Write ownerid_email@odata.bind"),
    ("tracelogs", {"tracecode": 1, "regardingobjectid@odata.bind": "/mailboxes(00000000-0000-0000-0000-000000000001)"}, "regardingobjectid_emailserverprofile@odata.bind or regardingobjectid_mailbox@odata.bind"),
])
def test_a_refusal_says_what_is_true(service, ids, path, body, words):
    body = {name: value.format(**ids) if isinstance(value, str) else value for name, value in body.items()}
    response = service.request("PATCH" if "(" in path else "POST", path.format(**ids), body)
    refused(response, *((404, "0x80040217") if "does not exist" in words else (400, "0x80048D19")))
    assert words in response.json()["error"]["message"]


def test_members_are_added_where_the_refusal_says(service, ids):
    user = {"@odata.id": f"{service.api}/systemusers({ids['me']})"}
    assert service.request("POST", f"teams({ids['team']})/teammembership_association", user).status_code == 405
    assert service.request("POST", f"teams({ids['team']})/teammembership_association/$ref", user).status_code == 204


@pytest.mark.parametrize("expand", ["ownerid/$ref($filter=name eq 'x')", "ownerid/$count", "ownerid/$ref/x", "ownerid/name($select=name)"])
def test_what_stands_behind_an_expanded_property_is_refused_for_what_it_is(service, expand):
    message = refused(service.get(f"queues?$expand={expand}"), 400, "0x80060888")
    assert "parentheses, or with /$ref" in message and "no matching" not in message
    assert "no matching parentheses" in refused(service.get("queues?$expand=ownerid($select=ownerid)x"), 400, "0x80060888")


def test_a_count_in_a_path_is_refused_for_what_it_is(service):
    for query in ("$filter=emailserverprofile_mailbox/$count gt 2", "$orderby=emailserverprofile_mailbox/$count", "$filter=emailserverprofile_mailbox/name eq 'x'"):
        response = service.get(f"emailserverprofiles?{query}")
        refused(response, 400, "0x80060888")
        assert "emailserverprofile_mailbox of emailserverprofile is a collection" in response.json()["error"]["message"]
    response = service.get("teams?$filter=teammembership_association/$count gt 2")
    assert "teammembership_association of team is a collection" in response.json()["error"]["message"]


def test_a_lookup_is_cleared_by_its_navigation_property(service, ids):
    queue = service.create("queues", {"name": tag(), "primaryuserid@odata.bind": f"/systemusers({ids['me']})"})
    for member in ("primaryuserid", "primaryuserid@odata.bind"):
        assert service.request("PATCH", f"queues({queue})", {"primaryuserid@odata.bind": f"/systemusers({ids['me']})"}).status_code == 204
        assert service.request("PATCH", f"queues({queue})", {member: None}).status_code == 204
        assert service.get(f"queues({queue})?$select=_primaryuserid_value").json()["_primaryuserid_value"] is None


def test_a_link_of_a_change_set_is_taken_off_by_its_content_id(service):
    name = tag()
    profile, box = service.create("emailserverprofiles", {"name": name}), service.create("mailboxes", {"name": name})
    assert service.request("POST", f"emailserverprofiles({profile})/emailserverprofile_mailbox/$ref", {"@odata.id": f"mailboxes({box})"}).status_code == 204
    parts = (part("PATCH", f"emailserverprofiles({profile})", {"description": "a"}, id=1), part("PATCH", f"mailboxes({box})", {"username": "b"}, id=2),
             part("DELETE", "$1/emailserverprofile_mailbox/$ref?$id=$2", id=3))
    assert statuses(multipart(service, change_set(*parts))) == [204, 204, 204]
    assert service.get(f"mailboxes({box})?$select=_emailserverprofile_value").json()["_emailserverprofile_value"] is None
    team, me = service.create("teams", {"name": name}), service.get("WhoAmI").json()["UserId"]
    assert service.request("POST", f"teams({team})/teammembership_association/$ref", {"@odata.id": f"systemusers({me})"}).status_code == 204
    parts = (part("PATCH", f"teams({team})", {"description": "a"}, id=1), part("PATCH", f"systemusers({me})", {"title": "b"}, id=2), part("DELETE", "$1/teammembership_association/$ref?$id=$2", id=3))
    assert statuses(multipart(service, change_set(*parts))) == [204, 204, 204]
    assert service.get(f"teams({team})/teammembership_association?$select=ownerid").json()["value"] == []
