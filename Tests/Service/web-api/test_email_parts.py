"""Parties and attachments in the request that creates or changes their e-mail: which values are accepted, and the errors for others."""

import base64
import uuid

import pytest
from service import refused
from test_batches import batch, change_set, multipart, part, statuses

FILE = {"filename": "a.txt", "mimetype": "text/plain", "body": base64.b64encode(b"hi").decode()}
#: The attributes of an attachment that a client can set, with other values than the defaults.
FULL = FILE | {"subject": "about it", "objecttypecode": "email", "attachmentnumber": 7, "attachmentcontentinfo": "<1@x>", "isfollowed": True}


def attachments(service, email):
    return service.get(f"activitymimeattachments?$filter=_objectid_value eq {email}&$orderby=attachmentnumber").json()["value"]


@pytest.fixture(scope="module")
def queue(service):
    return service.create("queues", {"name": f"parties {uuid.uuid4()}"})


def test_a_file_takes_with_its_email_what_it_takes_alone(service):
    own = str(uuid.uuid4())
    email = service.create("emails", {"subject": "x", "email_activity_mime_attachment": [FULL | {"activitymimeattachmentid": own}, {"body": ""}, {}, FILE | {"@odata.type": "Microsoft.Dynamics.CRM.activitymimeattachment"}]})
    service.create("activitymimeattachments", FULL | {"objectid_email@odata.bind": f"/emails({email})", "attachmentnumber": 8})
    *rest, first, alone = attachments(service, email)
    assert first["activitymimeattachmentid"] == own and {name: first[name] for name in FULL} == FULL and first["filesize"] == 2
    same = set(first) - {"@odata.etag", "activitymimeattachmentid", "attachmentnumber", "versionnumber"}
    assert {name: first[name] for name in same} == {name: alone[name] for name in same}
    assert [(a["filename"], a["attachmentnumber"], a["body"], a["objecttypecode"], a["isfollowed"]) for a in rest] == [
        ("attachment", 2, None, "email", False), ("attachment", 3, None, "email", False), ("a.txt", 4, FILE["body"], "email", False)]


@pytest.mark.parametrize("member, code", [
    ({"nosuch": 1}, "0x80048D19"), ({"filesize": 3}, "0x80048D19"), ({"body": "no base64!"}, "0x80048D19"), ({"mimetype": "none"}, "0x80040203"), ({"filename": "x" * 256}, "0x80044331"),
    ({"subject": "x" * 2001}, "0x80044331"), ({"attachmentnumber": "1"}, "0x80048D19"), ({"filename": 1}, "0x80048D19"), ({"nosuch@odata.type": "#Int32"}, "0x80048D19"),
    ({"objectid_email@odata.bind": "/emails(00000000-0000-0000-0000-000000000001)"}, "0x80048D19"),
])
def test_what_a_file_does_not_take_is_named(service, member, code):
    response = service.request("POST", "emails", {"subject": "x", "email_activity_mime_attachment": [FILE | member]})
    refused(response, 400, code)
    name = next(iter(member)).split("@")[0].split("_")[0]
    assert name in response.json()["error"]["message"]


@pytest.mark.parametrize("member", [
    {"nosuch": 1}, {"donotemail": True}, {"effort": 1.5}, {"participationtypemask": 99}, {"participationtypemask": "2"}, {"addressused": "no address"}, {"addressused": 1}, {"activitypartyid": str(uuid.uuid4())},
    {"partyidbogus@odata.bind": "/queues({queue})"}, {"partyid_systemuser@odata.bind": "/queues({queue})"}, {"partyid@odata.bind": "/queues({queue})"}, {"partyid_queue@odata.bind": 1},
    {"partyid_queue@odata.bind": "/systemusers({queue})"}, {"activityid_email@odata.bind": "/emails({queue})"}, {"_partyid_value": "{queue}"},
])
def test_what_a_party_does_not_take_is_named(service, queue, member):
    party = {"participationtypemask": 2, "addressused": "a@b.test"} | {name: value.replace("{queue}", queue) if isinstance(value, str) else value for name, value in member.items()}
    name = next(iter(member)).split("@")[0]
    for response in (service.request("POST", "emails", {"subject": "x", "email_activity_parties": [party]}), service.request("PUT", f"emails({service.create('emails', {})})/email_activity_parties", {"value": [party]})):
        refused(response, 400, "0x80048D19")
        assert name in response.json()["error"]["message"]


def test_a_file_is_attached_by_the_activity(service):
    email = service.create("emails", {"subject": "x"})
    for bind in ({"objectid_activitypointer@odata.bind": f"/activitypointers({email})"}, {"objectid_activitypointer@odata.bind": f"/emails({email})"}, {"objectid_email@odata.bind": f"/activitypointers({email})"},
                 {"objectid@odata.bind": f"{service.api}/activitypointers({email})"}):
        service.create("activitymimeattachments", FILE | bind)
    assert len(attachments(service, email)) == 4
    assert service.request("POST", f"emails({email})/email_activity_mime_attachment", FULL).status_code == 204
    refused(service.request("POST", "activitymimeattachments", FILE | {"objectid_activitypointer@odata.bind": f"/activitypointers({uuid.uuid4()})"}), 404, "0x80040217")
    refused(service.request("POST", "activitymimeattachments", FILE | {"objectid_template@odata.bind": f"/emails({email})"}), 400, "0x80048D19")


def parties(service, email):
    rows = service.get(f"emails({email})/email_activity_parties?$select=participationtypemask,addressused,_partyid_value").json()["value"]
    return sorted((row["participationtypemask"], row["addressused"] or row["_partyid_value"]) for row in rows)


def test_the_parties_of_a_draft_are_put(service, queue):
    me = service.get("WhoAmI").json()["UserId"]
    email = service.create("emails", {"subject": "x", "email_activity_parties": [{"participationtypemask": 2, "addressused": "old@b.test"}]})
    path = f"emails({email})/email_activity_parties"
    sent = {"value": [{"participationtypemask": 1, "partyid_queue@odata.bind": f"queues({queue})"}, {"participationtypemask": 2, "addressused": "new@b.test"}]}
    assert service.request("PUT", path, sent).status_code == 204
    assert parties(service, email) == [(1, queue), (2, "new@b.test")]
    assert service.request("PUT", path, {"@odata.context": f"{service.api}/$metadata#activityparties", "value": [{"participationtypemask": 3, "partyid_systemuser@odata.bind": f"{service.api}/systemusers({me})"}]}).status_code == 204
    assert [mask for mask, _ in parties(service, email)] == [3]
    assert statuses(multipart(service, change_set(part("PUT", path, sent, id=1)))) == [204] and len(parties(service, email)) == 2
    assert batch(service, [{"id": "1", "method": "PUT", "url": path, "headers": {"content-type": "application/json"}, "body": {"value": []}}]).json()["responses"][0]["status"] == 204
    assert parties(service, email) == []
    for wrong in ({}, {"value": None}, {"value": {}}, {"value": [], "more": 1}, {"email_activity_parties": []}, {"value": [1]}):
        refused(service.request("PUT", path, wrong), 400, "0x80048D19")
    refused(service.request("PUT", f"emails({uuid.uuid4()})/email_activity_parties", sent), 404, "0x80040217")
    refused(service.request("PUT", f"{path}?$top=1", sent), 400, "0x80060888")
    for method in ("PATCH", "DELETE", "POST"):
        response = service.request(method, path, sent)
        assert response.status_code == 405 and response.headers["Allow"] == "GET, PUT", response.text
    assert service.request("OPTIONS", path).headers["Allow"] == "GET, HEAD, PUT, OPTIONS"
    assert service.request("PUT", f"emails({email})/email_activity_mime_attachment", {"value": []}).headers["Allow"] == "GET, POST"
    assert service.request("OPTIONS", f"systemusers({me})/lk_audit_userid").headers["Allow"] == "GET, HEAD, OPTIONS"


def test_the_parties_of_an_email_that_was_received_stay(service):
    email = service.create("emails", {"subject": "x", "directioncode": False, "email_activity_parties": [{"participationtypemask": 2, "addressused": "old@b.test"}]})
    refused(service.request("PUT", f"emails({email})/email_activity_parties", {"value": []}), 400, "0x8004022E")
    assert parties(service, email) == [(2, "old@b.test")]


def test_parties_are_named_by_alternate_keys(service):
    tag = uuid.uuid4().hex
    user = service.create("systemusers", {"fullname": "A party", "domainname": f"{tag}@x.test", "internalemailaddress": f"{tag}@x.test"})
    queue, twin = service.create("queues", {"name": f"party {tag}"}), [service.create("queues", {"name": f"twin {tag}"}) for _ in range(2)]
    parties = [{"participationtypemask": 2, "partyid_systemuser@odata.bind": f"/systemusers(domainname='{tag}@x.test')"},
               {"participationtypemask": 3, "partyid_queue@odata.bind": f"queues(name='PARTY%20{tag}')"}]

    def named(email):
        return sorted(row["_partyid_value"] for row in service.get(f"emails({email})?$expand=email_activity_parties").json()["email_activity_parties"])
    created = service.create("emails", {"subject": "x", "email_activity_parties": parties})
    changed, replaced, many = (service.create("emails", {"subject": "x"}) for _ in range(3))
    assert service.request("PATCH", f"emails({changed})", {"email_activity_parties": parties}).status_code == 204
    assert service.request("PUT", f"emails({replaced})/email_activity_parties", {"value": parties}).status_code == 204
    assert service.request("POST", "emails/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{"activityid": many, "email_activity_parties": parties}]}).status_code == 204
    for email in (created, changed, replaced, many):
        assert named(email) == sorted([user, queue])
    # A party can be a queue that an earlier part of the change set creates.
    new = f"made {tag}"
    item = {"subject": tag, "email_activity_parties": [{"participationtypemask": 2, "partyid_queue@odata.bind": f"/queues(name='{new}')"}]}
    assert statuses(multipart(service, change_set(part("POST", "queues", {"name": new}, id=1), part("POST", "emails", item, id=2)))) == [204, 204]

    def ask(property, address, **options):
        return service.request("POST", "emails", {"subject": "x", "email_activity_parties": [{"participationtypemask": 2, f"{property}@odata.bind": address}]}, **options)
    refused(ask("partyid_queue", f"/queues(name='none {tag}')"), 404, "0x80040217")
    refused(ask("partyid_queue", f"/queues(name='twin {tag}')"), 412, "0x80060892")
    refused(ask("partyid_queue", "/queues(nosuch='x')"), 400, "0x80060888")
    # A queue that the caller may not read gives the error for a queue that does not exist.
    refused(ask("partyid_queue", f"/queues({queue})", client="user"), 404, "0x80040217")
    refused(ask("partyid_queue", f"/queues(name='party {tag}')", client="user"), 404, "0x80040217")
    assert ask("partyid_systemuser", f"/systemusers(domainname='{tag}@x.test')", client="user").status_code == 204 and twin


@pytest.mark.parametrize("client", ["admin", "user"])
@pytest.mark.parametrize("kind", ["systemuser", "queue"])
def test_a_party_is_a_record_that_is_there(service, kind, client):
    """A party that refers to no record would have no address, so the e-mail would not reach it."""
    before = service.sql("SELECT count(*) FROM org_contoso.email")
    draft = service.create("emails", {"subject": "x", "email_activity_parties": [{"participationtypemask": 2, "addressused": "a@b.test"}]}, client=client)
    for mask in (1, 2, 4):
        parties = [{"participationtypemask": mask, f"partyid_{kind}@odata.bind": f"/{kind}s({uuid.uuid4()})"}]
        for method, url, body in (("POST", "emails", {"subject": "x", "email_activity_parties": parties}), ("PATCH", f"emails({draft})", {"email_activity_parties": parties}),
                                  ("PUT", f"emails({draft})/email_activity_parties", {"value": parties}), ("PATCH", f"emails({uuid.uuid4()})", {"email_activity_parties": parties})):
            assert "partyid" in refused(service.request(method, url, body, client=client), 404, "0x80040217"), (method, url)
    assert service.sql("SELECT count(*) FROM org_contoso.email") == [(before[0][0] + 1,)]
    assert service.sql("SELECT addressused FROM org_contoso.activityparty WHERE activityid = %s", [draft]) == [("a@b.test",)]


def test_a_party_whose_record_was_deleted_stays_where_it_is(service):
    gone = service.create("queues", {"name": f"gone {uuid.uuid4()}"})
    party = {"participationtypemask": 2, "partyid_queue@odata.bind": f"/queues({gone})"}
    email = service.create("emails", {"subject": "x", "email_activity_parties": [party]})
    assert service.request("DELETE", f"queues({gone})").status_code == 204
    copy = {"participationtypemask": 3, "addressused": "a@b.test"}
    assert service.request("PATCH", f"emails({email})", {"email_activity_parties": [party, copy]}).status_code == 204
    refused(service.request("PATCH", f"emails({email})", {"email_activity_parties": [party, party | {"participationtypemask": 3}]}), 404, "0x80040217")
    refused(service.request("POST", "emails", {"subject": "x", "email_activity_parties": [party]}), 404, "0x80040217")


def test_words_are_a_sender_that_an_email_has_already(service):
    body = {"From": "Mail Delivery Subsystem", "To": "postmaster@contoso.test", "Subject": "returned", "Body": f"{uuid.uuid4()}"}
    queue = service.create("queues", {"name": f"returned {uuid.uuid4()}", "emailaddress": f"{uuid.uuid4().hex}@contoso.test", "incomingemailfilteringmethod": 0})
    box = service.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    email = service.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", body | {"MailboxId": box}).json()["EmailId"]
    sender, reader = {"participationtypemask": 1, "addressused": "Mail Delivery Subsystem"}, {"participationtypemask": 2, "addressused": "postmaster@contoso.test"}
    assert service.request("PATCH", f"emails({email})", {"email_activity_parties": [sender, reader]}).status_code == 204
    # The received e-mail can't be changed. The error is the one for a sender that is an address.
    for parties in ([sender | {"addressused": "Another"}, reader], [sender, reader | {"addressused": "other@contoso.test"}]):
        refused(service.request("PATCH", f"emails({email})", {"email_activity_parties": parties}), 400, "0x8004022E")
    for parties in ([sender | {"participationtypemask": 3}, reader],):
        refused(service.request("PATCH", f"emails({email})", {"email_activity_parties": parties}), 400, "0x80048D19")
    refused(service.request("POST", "emails", {"subject": "x", "email_activity_parties": [sender]}), 400, "0x80048D19")
    refused(service.request("PATCH", f"emails({service.create('emails', {})})", {"email_activity_parties": [sender]}), 400, "0x80048D19")
    # When the e-mail is a draft, it accepts its present parties, and no other party without an address.
    assert service.request("PATCH", f"emails({email})", {"statuscode": 1, "statecode": 0, "directioncode": True}).status_code == 204
    assert service.request("PATCH", f"emails({email})", {"email_activity_parties": [sender, reader]}).status_code == 204
    assert service.get(f"emails({email})?$select=sender").json()["sender"] == "Mail Delivery Subsystem"
    refused(service.request("PATCH", f"emails({email})", {"email_activity_parties": [sender | {"addressused": "Another"}, reader]}), 400, "0x80048D19")


@pytest.mark.parametrize("address", ["a\u202e@b.test", "a\u200b@b.test", "a@b\u2066.test"])
def test_an_address_reads_as_what_it_is(service, address):
    party = {"participationtypemask": 2, "addressused": address}
    assert "addressused" in refused(service.request("POST", "emails", {"subject": "x", "email_activity_parties": [party]}), 400, "0x80048D19")
    draft = service.create("emails", {"subject": "x", "email_activity_parties": [party | {"addressused": "a@b.test"}]})
    assert "addressused" in refused(service.request("PATCH", f"emails({draft})", {"email_activity_parties": [party]}), 400, "0x80048D19")
    # An address that is stored already is accepted unchanged.
    service.sql("UPDATE org_contoso.activityparty SET addressused = %s WHERE activityid = %s", [address, draft])
    assert service.request("PATCH", f"emails({draft})", {"email_activity_parties": [party]}).status_code == 204


def test_a_name_of_a_party_has_a_length_and_reads_as_what_it_is(service):
    """The length of a name is counted in UTF-16 units, as for all texts."""
    party = {"participationtypemask": 2, "addressused": "a@b.test"}

    def ways(name):
        named = {"email_activity_parties": [party | {"partyidname": name}]}
        draft = service.create("emails", {"subject": "x", "email_activity_parties": [party | {"partyidname": "Anna"}]})
        return draft, [service.request("POST", "emails", {"subject": "x", **named}), service.request("PATCH", f"emails({draft})", named),
                       service.request("PUT", f"emails({draft})/email_activity_parties", {"value": named["email_activity_parties"]})]

    def stored(email):
        return service.sql("SELECT partyidname FROM org_contoso.activityparty WHERE activityid = %s", [email])
    for name in ("N" * 401, "a" + "\u0301" * 400, "\U0001F600" * 201):
        draft, answers = ways(name)
        assert all("partyidname takes at most 400 characters" in refused(answer, 400, "0x80044331") for answer in answers)
        assert stored(draft) == [("Anna",)]
    for name in ("a\u2028b", "a\u2029b", "a\u202eb", "\u2066a", "a\nb", "a\x00b", "a\x85b"):
        draft, answers = ways(name)
        assert all("partyidname" in refused(answer, 400, "0x80048D19") for answer in answers)
        assert stored(draft) == [("Anna",)]
    for name in ("N" * 400, "a" + "\u0301" * 399, "\U0001F600" * 200, "\U0001F468\u200d\U0001F469"):
        draft, answers = ways(name)
        assert [answer.status_code for answer in answers] == [204] * 3 and stored(draft) == [(name,)]
    # If a name has no visible character, the address is stored as the name.
    for name in ("", " ", "\u200b", "\u00a0\u2060"):
        draft, answers = ways(name)
        assert [answer.status_code for answer in answers] == [204] * 3 and stored(draft) == [("a@b.test",)]
    # A name that is stored already is accepted, as long as the party does not change.
    draft, _ = ways("Anna")
    for name, code in (("a\u202eb", "0x80048D19"), ("N" * 401, "0x80044331")):
        service.sql("UPDATE org_contoso.activityparty SET partyidname = %s WHERE activityid = %s", [name, draft])
        kept = party | {"partyidname": name}
        assert service.request("PATCH", f"emails({draft})", {"email_activity_parties": [kept]}).status_code == 204 and stored(draft) == [(name,)]
        refused(service.request("PATCH", f"emails({draft})", {"email_activity_parties": [kept | {"addressused": "c@b.test"}]}), 400, code)
        refused(service.request("PATCH", f"emails({draft})", {"email_activity_parties": [kept | {"participationtypemask": 3}]}), 400, code)


@pytest.mark.parametrize("address", ["x", "a@b.test;c@b.test", "a@b.test\r\nBcc: c@b.test", "A <a@b.test>"])
@pytest.mark.parametrize("issue", [True, False])
def test_a_recipient_that_is_a_record_has_an_address(service, address, issue):
    def queue(address):
        return service.create("queues", {"name": f"address {uuid.uuid4()}", "emailaddress": address})
    sender = queue(f"{uuid.uuid4().hex}@contoso.test")

    def send(kind, *recipients):
        parties = [{"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({sender})"}, {"participationtypemask": 2, "addressused": "a@b.test"}]
        parties += [{"participationtypemask": kind, "partyid_queue@odata.bind": f"/queues({id})"} for id in recipients]
        email = service.create("emails", {"subject": "x", "email_activity_parties": parties})
        return email, service.request("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": issue})
    good = queue(f"{uuid.uuid4().hex}@contoso.test")
    for kind in (2, 3, 4):
        email, answer = send(kind, good, queue(address))
        assert "A recipient of the e-mail is a systemuser or a queue" in refused(answer, 400, "0x80040203")
        assert service.get(f"emails({email})?$select=statuscode").json()["statuscode"] == 1
    email, answer = send(4, good)
    assert answer.status_code == 200, answer.text
