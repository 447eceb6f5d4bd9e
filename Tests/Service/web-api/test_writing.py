"""Writes of several records at once, of links, and of single attributes, alone and in change sets. Also, parts of a request that the service must not
ignore."""

import base64
import threading
import urllib.parse
import uuid
from collections import Counter
from concurrent.futures import ThreadPoolExecutor

import pytest
from service import refused
from test_batches import batch, change_set, multipart, part, statuses

PICTURE = base64.b64decode("iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==")


def tag():
    return f"writing {uuid.uuid4()}"


def named(service, entity_set, name):
    return service.get(f"{entity_set}?$filter=startswith(name,'{name}')&$orderby=name").json()["value"]


def test_related_records_are_created_along(service):
    name = tag()
    body = {
        "name": f"{name} a", "incomingpassword": "first secret",
        "emailserverprofile_mailbox": [{"name": f"{name} b", "password": "second secret"}, {"name": f"{name} c", "ownerid@odata.bind": f"/systemusers({service.get('WhoAmI').json()['UserId']})"}]}
    response = service.request("POST", "emailserverprofiles?$expand=emailserverprofile_mailbox($select=name)", body, Prefer="return=representation")
    assert response.status_code == 201, response.text
    assert sorted(m["name"] for m in response.json()["emailserverprofile_mailbox"]) == [f"{name} b", f"{name} c"]
    assert "secret" not in response.text
    profile, boxes = response.json()["emailserverprofileid"], named(service, "mailboxes", name)
    assert {b["_emailserverprofile_value"] for b in boxes} == {profile} and [b["ispasswordset"] for b in boxes] == [True, False]
    # The record under a single-valued property is created before the record that refers to it.
    box = service.create("mailboxes", {"name": f"{name} d", "emailserverprofile": {"name": f"{name} e", "outgoingpassword": "third secret"}})
    found = service.get(f"mailboxes({box})?$expand=emailserverprofile($select=name,isoutgoingpasswordset)").json()["emailserverprofile"]
    assert (found["name"], found["isoutgoingpasswordset"]) == (f"{name} e", True)


def test_records_are_bound_to_a_new_one(service):
    name = tag()
    first, second = (service.create("mailboxes", {"name": f"{name} {n}"}) for n in range(2))
    profile = service.create("emailserverprofiles", {"name": name, "emailserverprofile_mailbox@odata.bind": [f"/mailboxes({first})", f"{service.api}/mailboxes({second})"]})
    assert {b["_emailserverprofile_value"] for b in named(service, "mailboxes", name)} == {profile}


def test_related_records_are_all_created_or_none(service):
    name = tag()
    bad = [
        {"emailserverprofile_mailbox": [{"name": name}, {"name": name, "nosuch": 1}]}, {"emailserverprofile_mailbox": [{"name": name}, 7]},
        {"emailserverprofile_mailbox": {"name": name}}, {"nosuch": [{"name": name}]}, {"name": {"name": name}}, {"emailserverprofile_mailbox@odata.bind": [f"/mailboxes({uuid.uuid4()})"]},
        {"emailserverprofile_mailbox@odata.bind": ["/queues(1)"]}, {"emailserverprofile_mailbox@odata.bind": f"/mailboxes({uuid.uuid4()})"},
        {"emailserverprofile_mailbox": [{"name": name, "emailserverprofile@odata.bind": f"/emailserverprofiles({uuid.uuid4()})"}]},
        {"emailserverprofile_mailbox": [{"name": name}] * 1_001},
    ]
    for body in bad:
        response = service.request("POST", "emailserverprofiles", {"name": name, **body})
        assert response.status_code in (400, 404), response.text
    deep = {"name": name}
    for _ in range(10):
        deep = {"name": name, "emailserverprofile": {"name": name, "emailserverprofile_mailbox": [deep]}}
    refused(service.request("POST", "mailboxes", deep), 400, "0x80048D19")
    assert named(service, "emailserverprofiles", name) == [] and named(service, "mailboxes", name) == []
    assert service.request("PATCH", f"queues({uuid.uuid4()})", {"name": name, "ownerid": {"fullname": "x"}}).status_code == 400


def test_related_records_need_the_right_to_create_them(service):
    refused(service.request("POST", "emails", {"subject": "x", "ownerid": {"fullname": tag(), "domainname": tag()}}, client="user"), 403, "0x80040220")


def test_a_record_is_created_in_a_collection(service):
    name = tag()
    profile = service.create("emailserverprofiles", {"name": name})
    response = service.request("POST", f"emailserverprofiles({profile})/emailserverprofile_mailbox", {"name": f"{name} 1"})
    assert response.status_code == 204 and response.headers["Location"] == response.headers["OData-EntityId"]
    quoted = urllib.parse.quote(f"name='{name}'")
    assert service.request("POST", f"emailserverprofiles({quoted})/emailserverprofile_mailbox", {"name": f"{name} 2"}, Prefer="return=representation").status_code == 201
    assert [b["_emailserverprofile_value"] for b in named(service, "mailboxes", name)] == [profile, profile]
    refused(service.request("POST", f"emailserverprofiles({uuid.uuid4()})/emailserverprofile_mailbox", {"name": f"{name} 3"}), 404, "0x80040217")
    refused(service.request("POST", f"emailserverprofiles({profile})/emailserverprofile_mailbox", {"name": f"{name} 3", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}), 400, "0x80048D19")
    assert len(named(service, "mailboxes", name)) == 2


def test_change_sets_take_links_and_records_in_collections(service):
    name = tag()
    other = service.create("emailserverprofiles", {"name": f"{name} other"})
    parts = [
        part("POST", "emailserverprofiles", {"name": f"{name} new"}, id=1), part("POST", "$1/emailserverprofile_mailbox", {"name": f"{name} a"}, id=2),
        part("POST", "mailboxes", {"name": f"{name} b"}, id=3), part("PUT", "$3/emailserverprofile/$ref", {"@odata.id": "$1"}, id=4),
        part("POST", "mailboxes", {"name": f"{name} c"}, id=5), part("POST", f"emailserverprofiles({other})/emailserverprofile_mailbox/$ref", {"@odata.id": "$5"}, id=6)]
    broken = part("PUT", "$3/emailserverprofile/$ref", {"@odata.id": f"emailserverprofiles({uuid.uuid4()})"}, id=7)
    assert statuses(multipart(service, change_set(*parts, broken))) == [404]
    assert named(service, "mailboxes", name) == []
    assert statuses(multipart(service, change_set(*parts))) == [204] * 6
    new = next(p["emailserverprofileid"] for p in named(service, "emailserverprofiles", name) if p["name"].endswith("new"))
    boxes = named(service, "mailboxes", name)
    assert [b["_emailserverprofile_value"] for b in boxes] == [new, new, other]
    first, last = boxes[0]["mailboxid"], boxes[2]["mailboxid"]
    clearing = [part("DELETE", f"mailboxes({first})/emailserverprofile/$ref", id=1), part("DELETE", f"emailserverprofiles({other})/emailserverprofile_mailbox({last})/$ref", id=2)]
    assert statuses(multipart(service, change_set(*clearing))) == [204, 204]
    assert [b["_emailserverprofile_value"] for b in named(service, "mailboxes", name)] == [None, new, None]
    assert statuses(multipart(service, change_set(part("POST", "SetDataEncryptionKey", {"EncryptionKey": "x", "ChangeEncryptionKey": True}, id=1)))) == [400]


def test_escaped_keys_name_the_same_record(service):
    name = f"50% of it's (a/b) {uuid.uuid4()}"
    profile = service.create("emailserverprofiles", {"name": name})
    quoted = name.replace("'", "''")
    box = service.create("mailboxes", {"name": tag()})
    for key in (f"name='{quoted}'", urllib.parse.quote(f"name='{quoted}'"), urllib.parse.quote(f"name='{quoted}'", safe="'=")):
        for address in (f"/emailserverprofiles({key})", f"{service.api}/emailserverprofiles({key})"):
            assert service.request("PATCH", f"mailboxes({box})", {"emailserverprofile@odata.bind": None}).status_code == 204
            response = service.request("PATCH", f"mailboxes({box})", {"emailserverprofile@odata.bind": address})
            assert response.status_code == 204, (address, response.text)
            assert service.get(f"mailboxes({box})").json()["_emailserverprofile_value"] == profile
            assert service.request("PUT", f"mailboxes({box})/emailserverprofile/$ref", {"@odata.id": address}).status_code == 204


def test_a_picture_is_set_by_its_octets(service):
    box = service.create("mailboxes", {"name": tag()})
    path = f"mailboxes({box})/entityimage"
    for method in ("PUT", "PATCH"):
        assert service.request(method, path, PICTURE, Content_Type="application/octet-stream").status_code == 204
        assert service.get(f"{path}/$value").content == PICTURE
        assert service.request("DELETE", path).status_code == 204
        assert service.get(f"{path}/$value").status_code == 204
    assert service.request("PUT", path, {"value": base64.b64encode(PICTURE).decode()}).status_code == 204
    assert service.get(path).json()["value"] == base64.b64encode(PICTURE).decode()
    assert service.request("PUT", f"mailboxes({box})/name", b"octets", Content_Type="application/octet-stream").status_code == 415
    assert service.request("PATCH", f"mailboxes({box})/name", {"value": "x"}).status_code == 405


def test_parts_of_a_record_keep_to_its_version(service):
    box = service.create("mailboxes", {"name": tag()})
    old = service.get(f"mailboxes({box})").headers["ETag"]
    assert service.request("PUT", f"mailboxes({box})/name", {"value": "changed"}, If_Match=old).status_code == 204
    for method, path, body in (("PUT", "name", {"value": "lost"}), ("DELETE", "ewsurl", None), ("DELETE", "emailserverprofile/$ref", None)):
        refused(service.request(method, f"mailboxes({box})/{path}", body, If_Match=old), 412, "0x80060882")
    assert service.get(f"mailboxes({box})/name").json()["value"] == "changed"
    refused(service.request("POST", "queues", {"name": tag()}, If_Match=old), 400, "0x8005F100")
    refused(service.get(f"mailboxes({box})", If_Match=old), 412, "0x80060882")


def test_the_key_in_the_address_is_the_key_in_the_body(service):
    name = tag()
    queue = service.create("queues", {"name": name})
    for headers in ({}, {"If_Match": "*"}):
        refused(service.request("PATCH", f"queues(name='{name}')", {"name": f"{name} other"}, **headers), 400, "0x80040203")
    refused(service.request("PATCH", f"queues(name='{tag()}')", {"name": name}), 400, "0x80040203")
    refused(service.request("PATCH", f"queues(name='{tag()}')", {"name": name}, If_None_Match="*"), 400, "0x80040203")
    assert len(named(service, "queues", name)) == 1
    assert service.request("PATCH", f"queues(name='{name}')", {"name": name, "description": "same"}).status_code == 204
    assert service.request("PATCH", f"queues({queue})", {"name": f"{name} renamed"}).status_code == 204


def test_a_write_that_changes_what_is_attested_is_answered_with_its_record(service):
    """Servers of profiles and disabled users are in the attested state. So the write changes the state that its session read at its beginning, and
    must still be able to read the record."""
    whole = {"Prefer": "return=representation"}
    profile = service.create("emailserverprofiles", {"name": f"attested {uuid.uuid4()}"})
    for n in range(2):
        answer = service.request("PATCH", f"emailserverprofiles({profile})?$select=incomingserverlocation&$expand=owninguser($select=fullname)", {"incomingserverlocation": f"mail{n}.contoso.example"}, **whole)
        assert answer.status_code == 200 and answer.headers["Preference-Applied"] == "return=representation", answer.text
        assert answer.json()["incomingserverlocation"] == f"mail{n}.contoso.example" and answer.json()["owninguser"]["fullname"]
        assert answer.headers["ETag"] == answer.json()["@odata.etag"]
    made = service.request("POST", "systemusers", {"fullname": f"Disabled {profile}", "isdisabled": True}, **whole)
    assert made.status_code == 201 and made.json()["isdisabled"] is True, made.text


def test_an_empty_text_is_null(service):
    box = service.create("mailboxes", {"name": tag(), "username": "", "ewsurl": "x"})
    assert service.request("PATCH", f"mailboxes({box})", {"ewsurl": ""}).status_code == 204
    record = service.get(f"mailboxes({box})?$select=username,ewsurl").json()
    assert (record["username"], record["ewsurl"]) == (None, None)
    assert service.get(f"mailboxes?$filter=mailboxid eq {box} and username eq null and ewsurl eq null&$select=name").json()["value"]


@pytest.mark.parametrize("member", ["ownerid@odata.Bind", "ownerid@OData.bind", "ownerid@bind", "@odata.nosuch", "ownerid@odata.bnd", "@removed"])
def test_a_misspelled_annotation_is_not_passed_over(service, member):
    name = tag()
    refused(service.request("POST", "queues", {"name": name, member: "/systemusers(00000000-0000-0000-0000-000000000001)"}), 400, "0x80048D19")
    assert named(service, "queues", name) == []


def test_annotations_that_clients_send_back(service):
    queue = service.create("queues", {"name": tag()})
    record = service.get(f"queues({queue})?$select=name,statecode", Prefer='odata.include-annotations="*"').json()
    record.pop("queueid")
    record.pop("statecode")
    assert service.request("PATCH", f"queues({queue})", {**record, "@odata.type": "#Microsoft.Dynamics.CRM.queue"}).status_code == 204
    refused(service.request("PATCH", f"queues({queue})", {"@odata.type": "#Microsoft.Dynamics.CRM.mailbox", "name": "x"}), 400, "0x80048D19")


def test_bulk_delete_deletes_no_more_than_it_was_asked_to(service):
    name = tag()
    service.create("queues", {"name": name})
    criteria = {"FilterOperator": "And", "Conditions": [{"AttributeName": "name", "Operator": "Equal", "Values": [{"Value": name, "Type": "System.String"}]}]}
    query = {"EntityName": "queue", "Criteria": criteria}
    for more in ({"LinkEntities": [{"LinkToEntityName": "systemuser"}]}, {"TopCount": 1}, {"SubQueryExpression": {}}, {"Nosuch": 1}):
        refused(service.request("POST", "BulkDelete", {"QuerySet": [{**query, **more}]}), 400, "0x80048D19")
    for more in ({"RecurrencePattern": "FREQ=DAILY"}, {"StartDateTime": "2999-01-01T00:00:00Z"}, {"SendEmailNotification": True}, {"RunNow": False}):
        refused(service.request("POST", "BulkDelete", {"QuerySet": [query], **more}), 501, "0x80040219")
    refused(service.request("POST", "BulkDelete", {"QuerySet": [query], "Nosuch": 1}), 400, "0x80048D19")
    either = {**criteria, "FilterOperator": "Xor"}
    refused(service.request("POST", "BulkDelete", {"QuerySet": [{**query, "Criteria": either}]}), 400, "0x80048D19")
    assert len(named(service, "queues", name)) == 1
    body = {"QuerySet": [{**query, "ColumnSet": {"AllColumns": False}, "Orders": [], "LinkEntities": [], "Distinct": False}], "JobName": "x", "RecurrencePattern": "", "SendEmailNotification": False, "ToRecipients": [], "CCRecipients": [], "StartDateTime": "2020-01-01T00:00:00Z"}
    assert service.request("POST", "BulkDelete", body).status_code == 200
    assert named(service, "queues", name) == []


def test_a_failed_batch_has_the_status_of_the_failure(service):
    good, bad = {"id": "1", "method": "GET", "url": "WhoAmI"}, {"id": "2", "method": "GET", "url": f"queues({uuid.uuid4()})"}
    response = batch(service, [good, bad, {**good, "id": "3"}])
    assert response.status_code == 404 and [a["status"] for a in response.json()["responses"]] == [200, 404]
    assert batch(service, [good, bad, {**good, "id": "3"}], Prefer="odata.continue-on-error").status_code == 200
    response = multipart(service, part("GET", "WhoAmI"), part("GET", f"queues({uuid.uuid4()})"))
    assert response.status_code == 404 and statuses(response) == [200, 404]
    lines = [line for line in response.text.split("\r\n") if line.startswith("HTTP/1.1 ")]
    assert lines == ["HTTP/1.1 200 OK", "HTTP/1.1 404 Not Found"]
    response = multipart(service, change_set(part("POST", "queues", {"nosuch": 1}, id=1)))
    assert response.status_code == 400 and "HTTP/1.1 400 Bad Request" in response.text
    assert multipart(service, part("GET", "WhoAmI")).status_code == 200


def test_the_code_in_a_created_records_headers(service):
    response = service.request("POST", "queues", {"name": tag()})
    assert response.headers["Location"] == response.headers["OData-EntityId"]
    assert "Location" not in service.request("PATCH", response.headers["Location"].split("/v9.2/")[1], {"description": "x"}).headers
    upserted = service.request("PATCH", f"queues({uuid.uuid4()})", {"name": tag()})
    assert upserted.headers["Location"] == upserted.headers["OData-EntityId"]
    answer = multipart(service, part("POST", "queues", {"name": tag()})).text
    assert "Location: " in answer


def test_a_tag_that_is_null_means_none(service):
    queue = service.create("queues", {"name": tag()})
    etag = service.get(f"queues({queue})", If_None_Match="null").headers["ETag"]
    assert service.request("PATCH", f"queues({queue})", {"description": "x"}, If_Match=etag, If_None_Match="null").status_code == 204
    assert service.request("POST", "queues", {"name": tag()}, If_None_Match="null").status_code == 204
    etag = service.get(f"queues({queue})").headers["ETag"]
    assert service.request("DELETE", f"queues({queue})", If_Match=etag, If_None_Match="null").status_code == 204


def test_an_unchanged_record_is_not_sent_again(service):
    profile = service.create("emailserverprofiles", {"name": tag()})
    box = service.create("mailboxes", {"name": tag(), "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    path = f"mailboxes({box})?$select=name"
    etag = service.get(path).headers["ETag"]
    for known in (etag, "*", f'W/"1", {etag}', etag.removeprefix("W/")):
        assert service.get(path, If_None_Match=known).status_code == 304, known
    for known in ('W/"1"', "null", '"x"'):
        assert service.get(path, If_None_Match=known).status_code == 200, known
    # A record that $expand includes can change without a change of this ETag, so the response is sent.
    assert service.request("PATCH", f"emailserverprofiles({profile})", {"name": "renamed"}).status_code == 204
    expanded = service.get(f"mailboxes({box})?$expand=emailserverprofile", If_None_Match=etag)
    assert expanded.status_code == 200 and expanded.json()["emailserverprofile"]["name"] == "renamed"
    assert service.get(f"mailboxes({box})", If_None_Match=etag, Prefer='odata.include-annotations="*"').status_code == 200


@pytest.mark.parametrize("path", ["name", "name/$value", "_emailserverprofile_value", "emailserverprofile/$ref"])
def test_a_part_of_an_unchanged_record_is_not_sent_again(service, path):
    profile = service.create("emailserverprofiles", {"name": tag()})
    box = service.create("mailboxes", {"name": tag(), "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    etag = service.get(f"mailboxes({box})").headers["ETag"]
    for known, status in ((etag, 304), ("*", 304), ('W/"1"', 200), ("null", 200)):
        answer = service.get(f"mailboxes({box})/{path}", If_None_Match=known)
        assert answer.status_code == status and (not answer.content) == (status == 304), known
    assert service.get(f"mailboxes({box})/{path}", If_None_Match=etag, Prefer='odata.include-annotations="*"').status_code == 200
    assert service.request("PATCH", f"mailboxes({box})", {"name": tag()}).status_code == 204
    assert service.get(f"mailboxes({box})/{path}", If_None_Match=etag).status_code == 200
    # This attribute can change without a new version of the record, so the response is sent.
    etag = service.get(f"mailboxes({box})").headers["ETag"]
    service.sql("UPDATE org_contoso.mailbox SET noemailcount = 7 WHERE mailboxid = %s", [box])
    for known in (etag, "*"):
        assert service.get(f"mailboxes({box})/noemailcount", If_None_Match=known).json()["value"] == 7
    # If there is no value, the client can't have a copy of one. The response is 204 and not 304.
    assert service.get(f"mailboxes({box})/username", If_None_Match="*").status_code == 204


def test_change_sets_take_messages(service):
    name, user = tag(), service.get("WhoAmI", client="user").json()["UserId"]
    unit = service.get("WhoAmI").json()["BusinessUnitId"]
    team = service.create("teams", {"name": name, "businessunitid@odata.bind": f"/businessunits({unit})"})
    email = service.create("emails", {"subject": name})
    share = {"Target": {"@odata.id": f"emails({email})"}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({user})"}, "AccessMask": "ReadAccess"}}
    join = {"Members": [{"@odata.id": f"systemusers({user})"}]}
    parts = [part("POST", "GrantAccess", share, id=1), part("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", join, id=2),
             part("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.queue", "name": f"{name} {n}"} for n in range(2)]}, id=3)]

    def members():
        return service.sql("SELECT count(*) FROM org_contoso.teammembership WHERE teamid = %s", [team])[0][0]

    failing = part("PATCH", f"queues({uuid.uuid4()})", {"name": "x"}, id=4, headers="If-Match: *\r\n")
    assert statuses(multipart(service, change_set(*parts, failing))) == [404]
    assert service.get(f"emails({email})", client="user").status_code == 404 and members() == 0 and named(service, "queues", name) == []
    response = multipart(service, change_set(*parts))
    assert statuses(response) == [204, 204, 200] and '"Ids":[' in response.text
    assert service.get(f"emails({email})", client="user").status_code == 200 and members() == 1 and len(named(service, "queues", name)) == 2
    revoke = {"Target": share["Target"], "Revokee": {"@odata.id": f"systemusers({user})"}}
    assert statuses(multipart(service, change_set(part("POST", "RevokeAccess", revoke, id=1), part("POST", f"teams({team})/Microsoft.Dynamics.CRM.RemoveMembersTeam", join, id=2)))) == [204, 204]
    assert service.get(f"emails({email})", client="user").status_code == 404 and members() == 0
    assert statuses(multipart(service, change_set(part("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True}, id=1)))) == [400]
    for body, path in (({**share, "Nosuch": 1}, "GrantAccess"), ({**join, "Nosuch": 1}, f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam"), ({"Nosuch": 1}, f"emails({email})/Microsoft.Dynamics.CRM.SendEmail")):
        refused(service.request("POST", path, body), 400, "0x80048D19")


def test_a_change_set_says_which_messages_it_takes(service):
    user = service.get("WhoAmI").json()["UserId"]
    for path in ("emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", "emails/Microsoft.Dynamics.CRM.CheckIncomingEmail", "fieldseal.ApproveRequest", "fieldseal.LeaseMailbox", "BulkDelete",
                 "SetDataEncryptionKey", f"systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges"):
        response = multipart(service, change_set(part("POST", path, {"From": "a@b.test"}, id=1)))
        assert statuses(response) == [400] and "A change set takes" in response.text, path
    for path in ("queues/Microsoft.Dynamics.CRM.DeliverIncomingEmail", "emails/Microsoft.Dynamics.CRM.Nope", "fieldseal.Nope"):
        assert statuses(multipart(service, change_set(part("POST", path, {}, id=1)))) == [404], path


def test_a_change_set_with_an_option_that_is_refused_writes_nothing(service):
    name = tag()
    assert statuses(multipart(service, change_set(part("POST", "queues?$filter=name eq 'x'", {"name": name}, id=1)))) == [400]
    assert named(service, "queues", name) == []


@pytest.mark.parametrize("members", [
    {"description": "a", "Description": "b"}, {"emailpassword": "a", "EmailPassword": "b"},
    {"ownerid@odata.bind": "/systemusers({own})", "OwnerId@odata.bind": "/systemusers({own})"},
    {"ownerid@odata.bind": "/systemusers({own})", "ownerid_systemuser@odata.bind": "/systemusers({own})"},
])
def test_an_attribute_that_is_given_twice_is_refused(service, members):
    queue = service.create("queues", {"name": tag()})
    own = service.get("WhoAmI").json()["UserId"]
    members = {name: value.format(own=own) for name, value in members.items()}
    refused(service.request("PATCH", f"queues({queue})", members), 400, "0x80048D19")
    refused(service.request("POST", "queues", {"name": tag()} | members), 400, "0x80048D19")


def test_the_id_in_the_body_is_the_one_in_the_address(service):
    queue, other = (service.create("queues", {"name": tag()}) for _ in range(2))
    for address in (f"queues({other})", f"{service.api}/queues({other})", f"mailboxes({queue})"):
        refused(service.request("PATCH", f"queues({queue})", {"@odata.id": address, "description": "x"}), 400, "0x80048D19")
    assert service.request("PATCH", f"queues({queue})", {"@odata.id": f"{service.api}/queues({queue})", "description": "x"}).status_code == 204


def test_a_date_is_no_condition_of_a_write(service):
    queue = service.create("queues", {"name": tag()})
    refused(service.request("PATCH", f"queues({queue})", {"description": "x"}, If_Unmodified_Since="Mon, 01 Jan 2001 00:00:00 GMT"), 400, "0x8005F100")


def test_the_body_of_a_link_has_nothing_else(service):
    queue = service.create("queues", {"name": tag()})
    own = service.get("WhoAmI").json()["UserId"]
    refused(service.request("PUT", f"queues({queue})/ownerid/$ref", {"@odata.id": f"systemusers({own})", "x": 1}), 400, "0x80048D19")


@pytest.mark.parametrize("entity_set", ["queues", "mailboxes", "emailserverprofiles"])
def test_a_status_and_its_state_go_together(service, entity_set):
    def states():
        record = service.get(f"{entity_set}({id})?$select=statecode,statuscode").json()
        return record["statecode"], record["statuscode"]
    id = service.create(entity_set, {"name": tag()})
    for body in ({"statecode": 1, "statuscode": 1}, {"statecode": 0, "statuscode": 2}):
        refused(service.request("PATCH", f"{entity_set}({id})", body), 400, "0x80048408")
    assert states() == (0, 1)
    for body, after in (({"statuscode": 2}, (1, 2)), ({"statecode": 0}, (0, 1)), ({"statecode": 1, "statuscode": 2}, (1, 2)), ({"statuscode": 1}, (0, 1))):
        assert service.request("PATCH", f"{entity_set}({id})", body).status_code == 204
        assert states() == after


STATES = {1: 0, 2: 1, 3: 1, 4: 1, 5: 2}


def test_the_status_of_an_email_is_one_of_its_state(service):
    def states():
        record = service.get(f"emails({id})?$select=statecode,statuscode").json()
        return record["statecode"], record["statuscode"]
    id = service.create("emails", {"subject": tag()})
    for status, own in STATES.items():
        for state in (0, 1, 2):
            body, before = {"statecode": state, "statuscode": status}, states()
            answer = service.request("PATCH", f"emails({id})", body)
            if state == own:
                assert answer.status_code == 204 and states() == (state, status), body
            else:
                assert "is not one of the state" in refused(answer, 400, "0x80048408") and states() == before, body
            assert "statecode" in refused(service.request("POST", "emails", {"subject": tag(), **body}), 400, "0x80048D19")
    # If only the state is set, the status becomes the default of that state.
    for state, status in ((2, 5), (0, 1), (1, 2), (0, 1)):
        assert service.request("PATCH", f"emails({id})", {"statecode": state}).status_code == 204 and states() == (state, status)
    many = {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": id, "statecode": 0, "statuscode": 5}]}
    refused(service.request("POST", "emails/Microsoft.Dynamics.CRM.UpdateMultiple", many), 400, "0x80048408")
    assert states() == (0, 1)


def test_creates_of_one_client_that_share_a_transaction_are_each_done_or_refused(service):
    name, taken = tag(), service.create("mailboxes", {"name": "taken"})
    callers, done, shared = 32, 0, []
    start = threading.Barrier(callers)
    token = service.token()

    def create(number):
        """Every fifth create uses the id of an existing record and fails. The others have a password."""
        body = {"name": f"{name} {number}", "mailboxid": taken} if number % 5 == 0 else {"name": f"{name} {number}", "password": f"secret {number}"}
        start.wait()
        return service.request("POST", "mailboxes", body, token=token)

    # Creates share a transaction only if they wait at the same moment, so this is repeated.
    for _ in range(50):
        with ThreadPoolExecutor(callers) as pool:
            for number, answer in enumerate(pool.map(create, range(callers))):
                if number % 5 == 0:
                    refused(answer, 412, "0x80040237")
                else:
                    assert answer.status_code == 204, answer.text
                    done += 1
        rows = service.sql("SELECT mailboxid, xmin::text, ispasswordset FROM org_contoso.mailbox WHERE name LIKE %s", [f"{name} %"])
        assert len(rows) == done and all(is_set for *_, is_set in rows)
        shared = [transaction for transaction, count in Counter(x for _, x, _ in rows).items() if count > 1]
        if shared:
            break
    assert shared, "no two creates shared a transaction"
    events = service.sql("SELECT details FROM org_contoso.security_event WHERE kind = 'password set' UNION ALL SELECT details FROM org_contoso.unchained_event")
    told, opened = Counter(details for (details,) in events), service.opened_cells()
    for id, number in service.sql("SELECT mailboxid, substr(name, %s) FROM org_contoso.mailbox WHERE name LIKE %s", [len(name) + 2, f"{name} %"]):
        address = f"mailbox({id}).password"
        assert told[address] == 1 and opened[address][1] == f"secret {number}"


def test_a_subject_has_800_characters(service):
    subject = "ä" * 800
    email = service.create("emails", {"subject": subject})
    assert service.get(f"emails({email})?$select=subject").json()["subject"] == subject
    refused(service.request("POST", "emails", {"subject": subject + "x"}), 400, "0x80044331")
    length = service.get("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='subject')/Microsoft.Dynamics.CRM.StringAttributeMetadata?$select=MaxLength").json()["MaxLength"]
    assert length == 800
    # A copy of a subject as the name of a lookup's record is cut at 400 characters.
    answer = service.create("emails", {"subject": "answer", "parentactivityid@odata.bind": f"/emails({email})"})
    assert service.get(f"emails({answer})?$select=parentactivityidname").json()["parentactivityidname"] == "ä" * 400
    assert service.get(f"emails?$filter=parentactivityid/subject eq '{subject}'&$select=subject").json()["value"][0]["subject"] == "answer"
