"""Writes that name a record or a value twice. If both contradict each other, the write is refused and changes nothing."""

import base64
import concurrent.futures
import uuid

import pytest
from service import refused
from test_batches import batch, change_set, multipart, part, statuses
from test_writing import PICTURE, named, tag

ALONE = "0x80060413"


@pytest.fixture
def queue(service):
    name = tag()
    return service.create("queues", {"name": name}), name


def test_a_record_that_is_said_not_to_be_there_is_not_deleted(service, queue):
    id, name = queue
    for path in (f"queues({id})", f"queues(name='{name}')"):
        refused(service.request("DELETE", path, If_None_Match="*"), 412, "0x80060882")
    assert statuses(multipart(service, change_set(part("DELETE", f"queues({id})", id=1, headers="If-None-Match: *\r\n")))) == [412]
    assert service.get(f"queues({id})").status_code == 200


def test_the_version_counts_for_every_read_of_a_record(service, queue):
    path = f"queues({queue[0]})"
    tags = service.get(path).headers["ETag"]
    for part_of in ("", "/name", "/name/$value", "/ownerid/$ref"):
        assert service.get(path + part_of, If_Match=tags).status_code == 200
        refused(service.get(path + part_of, If_Match='W/"1"'), 412, "0x80060882")
    for other in ("queues", "queues/$count", "WhoAmI"):
        refused(service.get(other, If_Match=tags), 400, "0x8005F100")


def test_an_address_in_a_create_refers_to_a_record(service):
    name = tag()
    profile = service.create("emailserverprofiles", {"name": f"{name} p"})
    box = service.create("mailboxes", {"name": f"{name} a", "emailserverprofile": {"@odata.id": f"emailserverprofiles({profile})"}})
    assert service.get(f"mailboxes({box})").json()["_emailserverprofile_value"] == profile
    new = service.create("emailserverprofiles", {"name": f"{name} q", "emailserverprofile_mailbox": [{"@odata.id": f"{service.api}/mailboxes({box})"}]})
    assert service.get(f"mailboxes({box})").json()["_emailserverprofile_value"] == new
    for address in ({"@odata.id": f"/emailserverprofiles({profile})", "name": "both"}, {"@odata.id": None}, {"@odata.id": f"/queues({uuid.uuid4()})"}):
        refused(service.request("POST", "mailboxes", {"name": f"{name} b", "emailserverprofile": address}), 400, "0x80048D19")
    refused(service.request("POST", "emailserverprofiles", {"name": f"{name} r", "emailserverprofile_mailbox": [{"@odata.id": f"/mailboxes({box})", "name": "x"}]}), 400, "0x80048D19")
    assert [p["name"] for p in named(service, "emailserverprofiles", name)] == [f"{name} p", f"{name} q"] and len(named(service, "mailboxes", name)) == 1


def test_what_the_service_keeps_by_itself_is_not_written_alone(service):
    name = tag()
    box, me = service.create("mailboxes", {"name": name}), service.get("WhoAmI").json()["UserId"]
    path, links = f"mailboxes({box})", f"systemusers({me})/lk_mailbox_createdby"
    user = {"@odata.id": f"systemusers({me})"}
    for method, address, body in (
            ("PUT", f"{path}/createdon", {"value": "2020-01-01T00:00:00Z"}), ("DELETE", f"{path}/createdon", None), ("PUT", f"{path}/versionnumber", {"value": 1}),
            ("PUT", f"{path}/createdby/$ref", user), ("DELETE", f"{path}/createdby/$ref", None), ("POST", f"{links}/$ref", {"@odata.id": path}),
            ("DELETE", f"{links}({box})/$ref", None), ("POST", links, {"name": f"{name} b"}), ("POST", "mailboxes", {"name": f"{name} b", "createdby": {"fullname": "x", "domainname": "x"}})):
        refused(service.request(method, address, body), 400, ALONE)
    assert statuses(multipart(service, change_set(part("PUT", f"{path}/createdby/$ref", user, id=1)))) == [400]
    assert len(named(service, "mailboxes", name)) == 1
    before = service.get(path).json()["@odata.etag"]
    for body in ({"createdon": "2020-01-01T00:00:00Z"}, {"createdby@odata.bind": f"/systemusers({me})"}, {"mailboxid": box, "versionnumber": 1, "@odata.etag": before}):
        refused(service.request("PATCH", path, body), 400, ALONE)
    refused(service.request("POST", "mailboxes/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{"mailboxid": box, "modifiedon": "2020-01-01T00:00:00Z"}]}), 400, ALONE)
    # A value that the service sets itself must have the right type in a write.
    for body in ({"createdon": "x"}, {"createdon": 5}, {"versionnumber": "x"}, {"createdby@odata.bind": 5}, {"createdby@odata.bind": f"/mailboxes({box})"}):
        refused(service.request("PATCH", path, {**body, "name": f"{name} c"}), 400, "0x80048D19")
    assert service.get(path).json()["@odata.etag"] == before
    # In a write with other values, such a value is ignored.
    assert service.request("PATCH", path, {"createdon": "2020-01-01T00:00:00Z", "name": name}).status_code == 204
    assert service.get(path).json()["createdon"] > "2021"


def test_control_information_is_of_the_record(service, queue):
    id, name = queue
    profile = service.create("emailserverprofiles", {"name": name})
    address, crm = f"/emailserverprofiles({profile})", "#Microsoft.Dynamics.CRM."
    for more in ({"emailserverprofile": {"@odata.id": address, "@odata.type": f"{crm}queue"}}, {"emailserverprofile": {"@odata.id": address, "@odata.type": 5}},
                 {"emailserverprofile@odata.bind": address, "emailserverprofile@odata.id": "x"}, {"@odata.type": f"{crm}queue"}, {"@odata.id": f"queues({id})"}):
        refused(service.request("POST", "mailboxes", {"name": name, **more}), 400, "0x80048D19")
    assert named(service, "mailboxes", name) == []
    for more in ({"@odata.id": 5}, {"@odata.id": "x"}, {"@odata.etag": 5}, {"@odata.context": {}}, {"description@odata.etag": 'W/"1"'}):
        refused(service.request("PATCH", f"queues({id})", {"description": "x", **more}), 400, "0x80048D19")
    assert service.get(f"queues({id})").json()["description"] is None
    service.create("mailboxes", {"name": name, "@odata.type": f"{crm}mailbox", "emailserverprofile": {"@odata.id": address, "@odata.type": f"{crm}emailserverprofile"}})
    assert len(named(service, "mailboxes", name)) == 1


def test_a_key_has_a_value(service, queue):
    for key in ("name=''", "name=null"):
        for method, body in (("PATCH", {"description": tag()}), ("GET", None), ("DELETE", None)):
            refused(service.request(method, f"queues({key})", body), 400, "0x80060888")
        refused(service.request("PATCH", f"queues({key})", {"description": tag()}, If_None_Match="*"), 400, "0x80060888")
    refused(service.request("PATCH", f"mailboxes({uuid.uuid4()})", {"name": "x", "emailserverprofile@odata.bind": "/emailserverprofiles(name='')"}), 400, "0x80060888")


def test_an_id_beside_a_key_is_that_of_the_same_record(service, queue):
    id, name = queue
    other, spare = service.create("queues", {"name": f"{name} other"}), str(uuid.uuid4())
    key, action = f"queues(name='{name}')", "queues/Microsoft.Dynamics.CRM."
    by_key = {"@odata.type": "Microsoft.Dynamics.CRM.queue", "@odata.id": key, "description": "changed"}
    for method, path, body in (
            ("PATCH", key, {"queueid": other, "description": "changed"}), ("PATCH", key, {"queueid": spare, "description": "changed"}),
            ("PATCH", f"queues({other})", {"@odata.id": key, "description": "changed"}), ("PATCH", f"queues({spare})", {"@odata.id": key, "description": "changed"}),
            ("POST", "queues", {"@odata.id": key, "name": f"{name} third"}), ("POST", "queues", {"@odata.id": f"queues({uuid.uuid4()})", "name": f"{name} third"}),
            ("POST", f"{action}CreateMultiple", {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.queue", "@odata.id": f"queues({uuid.uuid4()})", "name": f"{name} third"}]}),
            ("POST", "queues", {"@odata.id": f"queues({id})", "queueid": spare, "name": f"{name} third"}),
            ("POST", f"{action}UpdateMultiple", {"Targets": [{**by_key, "queueid": other}]}), ("POST", f"{action}UpsertMultiple", {"Targets": [{**by_key, "queueid": other}]}),
            ("POST", f"{action}UpdateMultiple", {"Targets": [{**by_key, "@odata.id": f"queues({id})", "queueid": other}]}),
            ("POST", f"{action}UpsertMultiple", {"Targets": [by_key, {**by_key, "@odata.id": f"queues(name='{name.upper()}')"}]})):
        response = service.request(method, path, body)
        assert response.status_code in (400, 404), (method, path, body, response.text)
    assert [(q["queueid"], q["description"]) for q in named(service, "queues", name)] == [(id, None), (other, None)]
    # Two names of one record are accepted. A new record gets both.
    assert service.request("PATCH", key, {"queueid": id, "@odata.id": key, "description": "same"}).status_code == 204
    assert service.request("PATCH", f"queues(queueid={id},name='{name}')", {"description": "both"}).status_code == 204
    assert service.request("PATCH", f"queues(name='{name} new')", {"queueid": spare}).status_code == 204
    assert [(q["queueid"], q["description"]) for q in named(service, "queues", name)] == [(id, "both"), (spare, None), (other, None)]
    refused(service.request("PATCH", key, {"description": "again"}, If_None_Match="*"), 412, "0x80040237")


def test_upserts_of_one_key_at_once_make_one_record(service):
    name = tag()
    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(lambda n: service.request("PATCH", f"queues(name='{name}')", {"description": str(n)}).status_code, range(8)))
    assert answers == [204] * 8 and len(named(service, "queues", name)) == 1


def test_bulk_delete_of_a_page_is_refused(service, queue):
    id, name = queue
    condition = {"AttributeName": "name", "Operator": "Equal", "Values": [{"Value": name, "Type": "System.String"}]}
    query = {"EntityName": "queue", "Criteria": {"FilterOperator": "And", "Conditions": [condition]}}
    for page in ({"Count": 1, "PageNumber": 1}, {"PageNumber": 2}, {"PagingCookie": "x"}, {"Nosuch": 1}, 1):
        assert "PageInfo" in refused(service.request("POST", "BulkDelete", {"QuerySet": [{**query, "PageInfo": page}]}), 400, "0x80048D19")
    for operator in ("In", "NotIn"):
        empty = {"AttributeName": "description", "Operator": operator, "Values": []}
        refused(service.request("POST", "BulkDelete", {"QuerySet": [{**query, "Criteria": {"Conditions": [condition, empty]}}]}), 400, "0x80048D19")
    assert service.get(f"queues({id})").status_code == 200
    for more, code in (
            ({"Orders": [{"AttributeName": "nosuch", "OrderType": "Ascending"}]}, "0x80041103"), ({"ColumnSet": {"Columns": ["nosuch"]}}, "0x80041103"),
            ({"ColumnSet": {"Foo": 1}}, "0x80048D19"), ({"ColumnSet": 1}, "0x80048D19"), ({"Orders": {}}, "0x80048D19"), ({"Orders": [{"Foo": 1}]}, "0x80048D19")):
        refused(service.request("POST", "BulkDelete", {"QuerySet": [{**query, **more}]}), 400, code)
    for value in ({"Value": name, "Type": "System.Int32"}, {"Value": name, "Foo": 1}, {"Type": "System.String"}):
        criteria = {"Conditions": [{"AttributeName": "name", "Operator": "Equal", "Values": [value]}]}
        refused(service.request("POST", "BulkDelete", {"QuerySet": [{**query, "Criteria": criteria}]}), 400, "0x8005F100")
    for more, status in (({"ToRecipients": [{"@odata.id": "systemusers(x)"}]}, 400), ({"ToRecipients": 1}, 501), ({"JobName": 1}, 501), ({"RunNow": "x"}, 501)):
        assert service.request("POST", "BulkDelete", {"QuerySet": [query], **more}).status_code == status, more
    assert service.get(f"queues({id})").status_code == 200
    whole = {"Count": 0, "PageNumber": 0, "PagingCookie": None, "ReturnTotalRecordCount": False}
    harmless = {"ColumnSet": {"AllColumns": False, "Columns": ["name"]}, "Orders": [{"AttributeName": "name", "OrderType": "Ascending"}], "PageInfo": whole}
    assert service.request("POST", "BulkDelete", {"QuerySet": [{**query, **harmless}], "ToRecipients": [], "CCRecipients": None, "JobName": "x"}).status_code == 200
    assert service.get(f"queues({id})").status_code == 404


def test_a_share_names_rights_and_a_record_of_its_type(service, queue):
    id, _ = queue
    user = {"systemuserid": service.get("WhoAmI", client="user").json()["UserId"]}
    target = {"@odata.id": f"queues({id})"}

    def share(message, mask, **target_more):
        access = {"Principal": {**user, "@odata.type": "Microsoft.Dynamics.CRM.systemuser"}, "AccessMask": mask}
        return service.request("POST", message, {"Target": {**target, **target_more}, "PrincipalAccess": access})

    assert share("GrantAccess", "ReadAccess, WriteAccess").status_code == 204
    for mask in ("None", "", " "):
        refused(share("GrantAccess", mask), 400, "0x80040203")
    refused(share("GrantAccess", "ReadAccess", **{"@odata.type": "Microsoft.Dynamics.CRM.mailbox"}), 400, "0x80048D19")
    shares = f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'queues({id})'}}"
    assert [a["AccessMask"] for a in service.get(shares).json()["PrincipalAccesses"]] == ["ReadAccess,WriteAccess"]
    assert share("ModifyAccess", "None").status_code == 204
    assert service.get(shares).json()["PrincipalAccesses"] == []


def test_a_team_that_owns_records_is_not_deleted(service, queue):
    id, name = queue
    team = service.create("teams", {"name": name})
    other = service.create("queues", {"name": f"{name} shared"})
    access = {"Principal": {"teamid": team, "@odata.type": "Microsoft.Dynamics.CRM.team"}, "AccessMask": "ReadAccess"}
    assert service.request("POST", "GrantAccess", {"Target": {"@odata.id": f"queues({other})"}, "PrincipalAccess": access}).status_code == 204
    assert service.request("PATCH", f"queues({id})", {"ownerid@odata.bind": f"/teams({team})"}).status_code == 204
    box = service.create("mailboxes", {"name": name, "ownerid@odata.bind": f"/teams({team})"})
    message = refused(service.request("DELETE", f"teams({team})"), 400, "0x80040203")
    assert "1 queues" in message and "1 mailboxes" in message
    assert statuses(multipart(service, change_set(part("DELETE", f"teams({team})", id=1)))) == [400]
    me = service.get("WhoAmI").json()["UserId"]
    for path in (f"queues({id})", f"mailboxes({box})"):
        assert service.get(path).json()["_ownerid_value"] == team
        assert service.request("PATCH", path, {"ownerid@odata.bind": f"/systemusers({me})"}).status_code == 204
    assert service.request("DELETE", f"teams({team})").status_code == 204
    shares = f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'queues({other})'}}"
    assert service.get(shares).json()["PrincipalAccesses"] == []


def test_a_new_record_has_its_name(service):
    for entity_set in ("mailboxes", "teams"):
        for body in ({}, {"name": ""}, {"name": None}):
            refused(service.request("POST", entity_set, body), 400, "0x80040203")
        refused(service.request("PATCH", f"{entity_set}({uuid.uuid4()})", {}), 400, "0x80040203")


def test_a_picture_is_one(service, queue):
    path = f"queues({queue[0]})"
    assert service.request("PATCH", path, {"entityimage": base64.b64encode(PICTURE).decode()}).status_code == 204
    text = base64.b64encode(b"no picture").decode()
    for response in (service.request("PATCH", path, {"entityimage": text}), service.request("PUT", f"{path}/entityimage", b"AAAA", Content_Type="application/octet-stream")):
        assert "PNG" in refused(response, 400, "0x80040203")
    assert batch(service, [{"id": "1", "method": "PATCH", "url": path, "body": {"entityimage": text}}]).json()["responses"][0]["status"] == 400
    assert service.get(f"{path}/entityimage").json()["value"] == base64.b64encode(PICTURE).decode()


def test_a_part_that_refers_to_a_failed_one_is_told_so(service):
    bad, after = part("POST", "queues", {"nosuch": 1}, id=9), part("GET", "$9")
    text = multipart(service, bad, after, Prefer="odata.continue-on-error").text
    assert "refers to $9, which failed" in text
    inner = multipart(service, part("POST", "$batch", {"requests": []})).text
    assert "A batch can't hold a batch" in inner


def test_an_attachment_is_a_file_of_an_email(service):
    content = base64.b64encode(b"four").decode()
    email = service.create("emails", {"subject": tag(), "email_activity_mime_attachment": [{"filename": "a.txt", "mimetype": "text/plain", "body": content}]})
    path = service.get(f"activitymimeattachments?$filter=_objectid_value eq {email}").json()["value"][0]["activitymimeattachmentid"]
    path = f"activitymimeattachments({path})"
    for body in ("!!", "QUI", "ÄÄ", "QU\r\nJD", "QUJ-"):
        refused(service.request("PATCH", path, {"body": body}), 400, "0x80048D19")
        refused(service.request("PUT", f"{path}/body", {"value": body}), 400, "0x80048D19")
    for wrong in ({"filename": 5}, {"mimetype": 5}, {"Foo": "x"}, {"subject": 1}, {"@odata.type": "#Microsoft.Dynamics.CRM.queue"}):
        refused(service.request("POST", "emails", {"subject": "x", "email_activity_mime_attachment": [{"body": content, **wrong}]}), 400, "0x80048D19")
    refused(service.request("PATCH", f"emails({email})", {"email_activity_parties@fieldseal.participationtypemasks": [2]}), 400, "0x80048D19")
    refused(service.request("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": False, "TrackingToken": 5}), 400, "0x80048D19")
    unnamed = service.create("activitymimeattachments", {"body": content, "objectid@odata.bind": f"/emails({email})"})
    assert service.get(f"activitymimeattachments({unnamed})").json()["filename"] == "attachment"
    assert service.request("PATCH", path, {"body": base64.b64encode(b"longer").decode()}).status_code == 204
    assert service.get(path).json()["filesize"] == 6
    new = {"filename": "b.txt", "body": content}
    refused(service.request("POST", "activitymimeattachments", new), 400, "0x80040203")
    refused(service.request("PATCH", f"activitymimeattachments({uuid.uuid4()})", new), 400, "0x80040203")
    assert service.get(service.request("POST", "activitymimeattachments", {**new, "objectid@odata.bind": f"/emails({email})"}).headers["OData-EntityId"]).json()["filesize"] == 4


def test_what_a_write_is_to_be_answered_with_is_checked_first(service, queue):
    id, name = queue
    for options in ("$select=nope", "$expand=nope", "$expand=ownerid($select=nope)", "$select=name&$expand=defaultmailbox($select=nope)"):
        for headers in ({}, {"Prefer": "return=representation"}):
            for method, path in (("PATCH", f"queues({id})"), ("POST", "queues")):
                response = service.request(method, f"{path}?{options}", {"name": f"{name} x"}, **headers)
                assert response.status_code == 400 and "nope" in response.text, (method, options, response.text)
    assert statuses(multipart(service, change_set(part("POST", "queues?$select=nope", {"name": f"{name} x"}, id=1)))) == [400]
    assert [q["name"] for q in named(service, "queues", name)] == [name]


def test_a_lookup_that_can_refer_to_nothing_here_says_so(service):
    email, queue = service.create("emails", {"subject": "about nothing"}), service.create("queues", {"name": f"q {uuid.uuid4()}"})
    for name in ("regardingobjectid_account_email", "regardingobjectid_account", "regardingobjectid"):
        message = refused(service.request("PATCH", f"emails({email})", {f"{name}@odata.bind": f"/queues({queue})"}), 400, "0x80048D19")
        assert "regardingobjectid can't refer to a record here" in message and "account" in message
