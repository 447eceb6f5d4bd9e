"""Programs deliver e-mails with DeliverIncomingEmail. Nothing of an e-mail is left out without a note."""

import base64
import contextlib
import hashlib
import json
import time
import uuid

import pytest
from lxml import etree
from service import refused

ADDRESS = "desk@incoming.test"
COLUMNS = "subject,description,mimetype,senton,prioritycode,sender,torecipients,messageid,inreplyto,submittedby,attachmentcount,_parentactivityid_value"


@pytest.fixture(scope="module")
def box(service):
    id = service.create("queues", {"name": f"incoming {uuid.uuid4()}", "emailaddress": ADDRESS, "incomingemailfilteringmethod": 0})
    return service.get(f"queues({id})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]


def deliver(service, box, **members):
    body = {"MailboxId": box, "From": "customer@elsewhere.test", "To": ADDRESS, "Subject": "s", "Body": f"{time.monotonic_ns()}", "MessageId": "", **members}
    return service.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", {n: v for n, v in body.items() if v is not ...})


def record(service, box, **members):
    answer = deliver(service, box, **members)
    assert answer.status_code == 200 and answer.json()["ShouldDeliver"], answer.text
    return service.get(f"emails({answer.json()['EmailId']})?$select={COLUMNS}&$expand=email_activity_mime_attachment($select=filename,mimetype),"
                       "email_activity_parties($select=addressused,participationtypemask)").json()


def parties(service, email):
    """The parties of an e-mail, in their order: (kind, name)."""
    return service.sql("SELECT participationtypemask, partyidname FROM org_contoso.activityparty WHERE activityid = %s ORDER BY activitypartyid", [email["activityid"]])


@contextlib.contextmanager
def limited(service, bytes):
    """While the block runs, the organization accepts only files of at most this number of bytes."""
    organization = service.get("organizations?$select=maxuploadfilesize").json()["value"][0]
    path = f"organizations({organization['organizationid']})"
    assert service.request("PATCH", path, {"maxuploadfilesize": bytes}).status_code == 204
    try:
        yield
    finally:
        assert service.request("PATCH", path, {"maxuploadfilesize": organization["maxuploadfilesize"]}).status_code == 204


@pytest.mark.parametrize("text", ["jane@x.test;", "Jane Doe <jane@x.test>;", '"Doe, Jane" <jane@x.test>', "Team: jane@x.test;"])
def test_one_sender_is_an_address_however_the_list_ends(service, box, text):
    assert record(service, box, From=text)["sender"] == "jane@x.test"


@pytest.mark.parametrize("name, values", [
    ("Attachments", [{"FileName": "a"}, "x", [5], [{"Body": "QUJD", "Foo": "1"}], [{"Body": "QUJD", "FileName": 5}], [{"FileName": "a"}], [{"Body": "QUI"}],
                     [{"Body": "QUJD", "body": "QUJD"}], [{"Body": "QUJD", "FileName": None, "filename": "a"}], [{"Body": "QUJD", "Note": "n"}], [{"Body": "QUJD", "ContentId": "c"}]]),
    ("Body", [5, []]), ("Subject", [5]), ("MessageId", [5]), ("From", [["a@b.test"], None, ..., "a@b.test; c@d.test", "A <a@b.test>, c@d.test"]), ("To", [5, ["a@b.test", 5], {"a": 1}]), ("Cc", [[None]]), ("Bcc", [True]),
    ("InReplyTo", [5, [5]]), ("References", [5, [{}]]), ("ReceivedOn", ["yesterday", "2026-02-30T00:00:00Z", "01/11/2026", 5, "1752-12-31T23:59:59Z", "9999-12-31T23:59:59-01:00"]), ("Importance", ["urgent", 3, -1, True]),
    ("BodyType", ["html", "text/rtf", 5]), ("OmittedAttachments", ["1", 1]), ("BodyIsCut", [True]), ("Names", [{}]), ("SubmittedBy", [5]), ("Digest", ["x", 5]), ("MailboxId", ["x", 5]),
    ("To", ["a", ["a"], f"{ADDRESS}; b", "Team: a@x.test", f"{ADDRESS}; Team:", "Team: b;", "A: B: a@x.test;"]), ("Cc", [["not an address"]]), ("Bcc", ["x y"]), ("HostId", [5, "", ["a"]]),
    ("ReplyTo", ["a", "a\u202e@b.test", ["a@b.test", "a\u200b@b.test"], "a@b\u2066.test"]),
    ("From", ["A <a@x.test> B <b@x.test>", "<a@x.test><b@x.test>", "A\u202e <a@x.test>", "Mail\u202e Daemon", "a\u200b@x.test"]), ("ReplyTo", ["A <a@x.test> B <b@x.test>", "A\u202e <a@x.test>"]),
    ("To", [f"A <a@x.test> B <{ADDRESS}>", '27" TVs <tv@x.test>; 32" TVs <b@x.test>', "a@x.test <b@x.test>", "a\u202e@x.test", "A\u2066 <a@x.test>"]), ("Cc", ["A\u202e <a@x.test>", "a\u200b@x.test"]), ("Bcc", ["<a@x.test><b@x.test>"]),
    ("MessageId", ["<a@x.test> <b@x.test>", "Your <a@x.test>", "<a b@x.test>", "two words", "<>", "a@x.test, b@x.test"]),
    ("Foo", [1]), ("subject", ["lower case"]), ("ExtraProperties", [{}, "x"]), ("ValidateBeforeCreate", [False, "true", 1])])
def test_a_member_that_is_not_what_it_takes_is_refused_by_name(service, box, name, values):
    for value in values:
        count = service.sql("SELECT count(*) FROM org_contoso.email")
        assert name in refused(deliver(service, box, **{name: value}), 400, "0x80048D19"), value
        assert service.sql("SELECT count(*) FROM org_contoso.email") == count


@pytest.mark.parametrize("given, mimetype", [
    ("Text/HTML", "text/html"), ("text/html; charset=utf-8", "text/html"), ("TEXT/PLAIN;format=flowed", "text/plain"), (None, "text/plain"), ("", "text/plain")])
def test_the_type_of_the_text_is_understood(service, box, given, mimetype):
    assert record(service, box, BodyType=given)["mimetype"] == mimetype


@pytest.mark.parametrize("given, code", [("high", 2), ("LOW", 0), ("Normal", 1), (2, 2), ("0", 0), (None, 1)])
def test_the_importance_is_understood(service, box, given, code):
    assert record(service, box, Importance=given)["prioritycode"] == code


@pytest.mark.parametrize("given, addresses", [
    (f'"Doe; John" <{ADDRESS}>', [ADDRESS]), (f"Doe, John <{ADDRESS}>", [ADDRESS]), (f"a@x.test; Jane <{ADDRESS}>, b@x.test", ["a@x.test", ADDRESS, "b@x.test"]),
    ([ADDRESS, "c@x.test"], [ADDRESS, "c@x.test"]), ("undisclosed-recipients:;", []), (["undisclosed-recipients:;", ADDRESS], [ADDRESS]), (f"Team: a@x.test, {ADDRESS}; c@x.test", ["a@x.test", ADDRESS, "c@x.test"]),
    (f"c@x.test, Team: {ADDRESS};", ["c@x.test", ADDRESS]), (f'"Ann \\"Annie\\\\\\" A" <{ADDRESS}>; Ben <ben@x.test>', [ADDRESS, "ben@x.test"]), (f'27" TVs <tv@x.test>; {ADDRESS}; Ben <ben@x.test>', ["tv@x.test", ADDRESS, "ben@x.test"]),
    (f'Ann "Annie\\" A" <ann@x.test>; Ben <{ADDRESS}>', ["ann@x.test", ADDRESS])])
def test_recipients_may_have_names(service, box, given, addresses):
    parties = record(service, box, To=given)["email_activity_parties"]
    assert sorted(p["addressused"] for p in parties if p["participationtypemask"] == 2) == sorted(addresses)


def test_the_sender_may_have_a_name_and_an_account(service, box):
    email = record(service, box, From='"Customer, A." <customer@elsewhere.test>', SubmittedBy="agent@elsewhere.test")
    assert (email["sender"], email["submittedby"]) == ("customer@elsewhere.test", "agent@elsewhere.test")


def test_the_names_beside_addresses_are_those_of_the_parties(service, box):
    email = record(service, box, From='"Customer, \\"A.\\"" <Customer@elsewhere.test>', To=f"{ADDRESS}; Jane  Doe <jane@x.test>", Cc=["c@x.test", "Team: Cy <cy@x.test>;"])
    names = {address: name for address, name in service.sql("SELECT addressused, partyidname FROM org_contoso.activityparty WHERE activityid = %s", [email["activityid"]]) if address != ADDRESS}
    assert names == {"Customer@elsewhere.test": 'Customer, "A."', "jane@x.test": "Jane Doe", "c@x.test": "c@x.test", "cy@x.test": "Cy"}


def test_each_place_of_an_address_has_its_own_name(service, box):
    email = record(service, box, From="Alice <a@x.test>", To=f"Bob <a@x.test>; B <A@x.test>; {ADDRESS}", Cc="a@x.test", Bcc=["Cy <a@x.test>"])
    found = [(kind, name) for kind, name in parties(service, email) if name and not name.startswith("incoming")]
    assert found == [(1, "Alice"), (2, "Bob"), (2, "B"), (3, "a@x.test"), (4, "Cy")]


@pytest.mark.parametrize("words", ["\u200b", "\u2060\u200b", " \u00ad ", ""])
def test_words_that_nobody_sees_are_no_sender(service, box, words):
    answer = deliver(service, box, From=words)
    assert answer.status_code == 200 and (answer.json()["ShouldDeliver"], answer.json()["ReasonCode"]) == (False, 7), answer.text
    assert record(service, box, From="Mail\u00adDaemon")["sender"] == "Mail\u00adDaemon"


@pytest.mark.parametrize("name", ['" "', "\t", "\u200b"])
def test_of_a_name_that_nobody_sees_the_address_stands(service, box, name):
    email = record(service, box, From=f"{name} <a@x.test>", To=f"{name} <{ADDRESS}>; {name} <b@x.test>")
    assert service.sql("SELECT emailsendername FROM org_contoso.email WHERE activityid = %s", [email["activityid"]]) == [("a@x.test",)]
    assert service.sql("SELECT partyidname FROM org_contoso.activityparty WHERE activityid = %s AND addressused = 'b@x.test'", [email["activityid"]]) == [("b@x.test",)]


@pytest.mark.parametrize("name, limit, value", [
    ("Subject", 800, "s" * 801), ("SubmittedBy", 250, "a" * 251), ("MessageId", 320, f"<{'a' * 320}@x.test>"), ("InReplyTo", 320, f"{'a' * 320}@x.test"), ("References", 320, [f"<{'a' * 320}@x.test>"]),
    ("From", 400, f"{'n' * 401} <a@x.test>"), ("To", 400, f'{ADDRESS}; "{"n" * 401}" <a@x.test>'), ("ReplyTo", 20, [f"a{n}@x.test" for n in range(21)]), ("FileName", 255, [{"FileName": "f" * 256, "Body": ""}]),
    ("mimetype", 256, [{"mimetype": f"text/{'p' * 252}", "Body": ""}]), ("Subject", 2_000, [{"Subject": "s" * 2_001, "Body": ""}]), ("AttachmentContentInfo", 300, [{"AttachmentContentInfo": "c" * 301, "Body": ""}])])
def test_what_a_record_would_cut_is_refused(service, box, name, limit, value):
    member = "Attachments" if isinstance(value, list) and isinstance(value[0], dict) else name
    message = refused(deliver(service, box, **{member: value}), 400, "0x80044331")
    assert name in message and f"at most {limit:,}".replace(",", "") in message
    refused(service.request("POST", "emails/Microsoft.Dynamics.CRM.CheckIncomingEmail", {"MailboxId": box, "From": "a@x.test", "To": ADDRESS, member: value}), 400, "0x80044331")


@pytest.mark.parametrize("name, value", [
    ("Subject", "a\0b"), ("Body", "a\0b"), ("SubmittedBy", "a\0b"), ("MessageId", "<a\0b@x.test>"), ("InReplyTo", "<a\0b@x.test>"), ("References", ["<a@x.test>", "<a\0b@x.test>"]), ("From", "a\0b <a@x.test>"),
    ("To", f"a\0b <{ADDRESS}>"), ("Cc", ["a\0b <a@x.test>"]), ("ReplyTo", "a\0b <a@x.test>"), ("FileName", "a\0b"), ("MimeType", "text/plain\0"), ("subject", "a\0b"), ("AttachmentContentInfo", "a\0b")])
def test_a_character_that_no_record_has_is_refused_as_in_every_write(service, box, name, value):
    isOfFile = name in ("FileName", "MimeType", "subject", "AttachmentContentInfo")
    members = {"Attachments": [{"Body": "QUJD", name: value}]} if isOfFile else {name: value}
    assert refused(deliver(service, box, **members), 400, "0x80040203") == f"{name} can't hold the character U+0000."
    alone = service.request("POST", "emails", {"email_activity_mime_attachment": [{"body": "QUJD", name.lower(): value}]} if isOfFile else {"subject": "a\0b"})
    assert "U+0000" in refused(alone, 400, "0x80040203")


def test_a_file_has_its_exact_size_up_to_the_limit_of_the_organization(service, box):
    with limited(service, 1_000):
        sizes = [0, 1, 2, 3, 4, 998, 999, 1_000]
        email = record(service, box, Attachments=[{"FileName": f"{n}.bin", "Body": base64.b64encode(b"x" * n).decode()} for n in sizes])
        found = service.sql("SELECT filename, filesize, length(decode(coalesce(body, ''), 'base64')) FROM org_contoso.activitymimeattachment WHERE objectid = %s ORDER BY attachmentnumber", [email["activityid"]])
        assert found == [(f"{n}.bin", n, n) for n in sizes]
        for size in (1_001, 1_002, 1_003):
            members = {"MailboxId": box, "From": "a@x.test", "To": ADDRESS, "Attachments": [{"FileName": "small.bin", "Body": "QUJD"}, {"FileName": "large.bin", "Body": base64.b64encode(b"x" * size).decode()}]}
            for message in ("Check", "Deliver"):
                count = service.sql("SELECT count(*) FROM org_contoso.email")
                words = refused(service.request("POST", f"emails/Microsoft.Dynamics.CRM.{message}IncomingEmail", members), 400, "0x80044331")
                assert "Attachments" in words and "'large.bin'" in words and "maxuploadfilesize" in words and "1000" in words and str(size) in words
                assert service.sql("SELECT count(*) FROM org_contoso.email") == count


def test_a_file_that_became_too_large_does_not_change_what_is_known_of_its_e_mail(service, box):
    members = {"Body": "the same", "Subject": f"{uuid.uuid4()}", "Attachments": [{"FileName": "a.bin", "Body": base64.b64encode(b"x" * 1_000).decode()}]}
    first = record(service, box, **members)
    with limited(service, 999):
        again = deliver(service, box, **members).json()
    assert (again["ShouldDeliver"], again["ReasonCode"], again["EmailId"]) == (False, 0, first["activityid"])


def test_a_text_is_kept_whole_as_that_of_a_draft_is(service, box):
    text = "x" * (11 << 20) + "end"
    email = record(service, box, Body=text)["activityid"]
    draft = service.create("emails", {"description": text})
    for id in (email, draft):
        assert service.sql("SELECT length(description), right(description, 3) FROM org_contoso.email WHERE activityid = %s", [id]) == [(len(text), "end")]


@pytest.mark.parametrize("type", ["text", "x/y; a=b\r\nX: y", "text/plain; a", "a/b/c", "\u00e9/x"])
def test_the_type_of_a_file_is_one_as_in_a_file_that_is_created_alone(service, box, type):
    file = {"filename": "a", "mimetype": type, "body": "QUJD"}
    alone = {**file, "objectid_email@odata.bind": f"/emails({service.create('emails', {})})"}
    assert refused(deliver(service, box, Attachments=[file]), 400, "0x80040203") == refused(service.request("POST", "activitymimeattachments", alone), 400, "0x80040203")
    assert service.request("POST", "activitymimeattachments", {**alone, "mimetype": "text/plain; charset=utf-8"}).status_code == 204
    assert record(service, box, Attachments=[{**file, "mimetype": "text/plain; charset=utf-8"}])["email_activity_mime_attachment"][0]["mimetype"] == "text/plain; charset=utf-8"


def test_what_fits_is_kept_whole(service, box):
    id = f"<{'a' * 311}@x.test>"
    email = record(service, box, Subject="s" * 800, SubmittedBy="a" * 250, MessageId=id, InReplyTo=id, From=f"{'n' * 400} <a@x.test>", ReplyTo=[f"a{n}@x.test" for n in range(20)],
                   Attachments=[{"FileName": "f" * 255, "Body": ""}])
    assert (len(email["subject"]), len(email["submittedby"]), email["messageid"], email["inreplyto"]) == (800, 250, id, id)
    [(sender, replies)] = service.sql("SELECT emailsendername, activityadditionalparams FROM org_contoso.email WHERE activityid = %s", [email["activityid"]])
    assert len(sender) == 400 and len(json.loads(replies)["ReplyTo"]) == 20 and len(email["email_activity_mime_attachment"][0]["filename"]) == 255


def test_recipients_are_shown_up_to_the_last_that_fits(service, box):
    """torecipients of a delivered e-mail and of a draft ends before the first recipient that would make it longer than 500 characters."""
    addresses = [ADDRESS] + [f"customer{n:03}@elsewhere.test" for n in range(40)]
    email = record(service, box, To=addresses)
    parties = [{"participationtypemask": 2, "addressused": address} for address in addresses]
    draft = service.get(f"emails({service.create('emails', {'email_activity_parties': parties})})?$select=torecipients").json()
    for shown in (email["torecipients"], draft["torecipients"]):
        shown = shown.split(";")
        assert shown == addresses[:len(shown)] and 475 < len(";".join(shown)) <= 500
    assert len(email["email_activity_parties"]) == 42


def test_no_shown_recipient_is_cut_at_a_semicolon_of_its_own(service, box):
    addresses = [ADDRESS] + [f'"semi;colon;{n:03};end"@elsewhere.test' for n in range(40)]
    draft = service.create("emails", {"email_activity_parties": [{"participationtypemask": 2, "addressused": address} for address in addresses]})
    shown = service.get(f"emails({draft})?$select=torecipients").json()["torecipients"]
    assert shown == record(service, box, To=addresses)["torecipients"]
    assert shown in [";".join(addresses[:n]) for n in range(40)] and 460 < len(shown) <= 500
    few = service.create("emails", {"email_activity_parties": [{"participationtypemask": 2, "addressused": address} for address in addresses[:3]]})
    assert service.get(f"emails({few})?$select=torecipients").json()["torecipients"] == ";".join(addresses[:3])


def test_recipients_are_shown_in_their_order_wherever_their_rows_are(service):
    """PostgreSQL writes a changed row to any free place, so the first recipient can be the last row of the table."""
    names = [f"person{n}@elsewhere.test" for n in range(3)]
    draft = service.create("emails", {"email_activity_parties": [{"participationtypemask": 2, "addressused": name} for name in names]})
    for name in ("moved@elsewhere.test", names[0]):
        service.sql("UPDATE org_contoso.activityparty SET addressused = %s WHERE activityid = %s AND addressused = ANY (%s)", [name, draft, [names[0], "moved@elsewhere.test"]])
    sender = {"participationtypemask": 1, "addressused": "nobody@elsewhere.test"}
    assert service.request("PATCH", f"emails({draft})", {"email_activity_parties": [sender], "email_activity_parties@fieldseal.participationtypemasks": [1]}).status_code == 204
    assert service.get(f"emails({draft})?$select=torecipients").json()["torecipients"].split(";") == names


def test_empty_texts_of_a_file_are_none(service, box):
    """A file of a delivered e-mail gets the same values as a file that is created alone."""
    empty = {"filename": "", "mimetype": "", "body": "", "subject": "", "attachmentcontentinfo": ""}
    answer = deliver(service, box, Attachments=[empty]).json()
    alone = service.create("activitymimeattachments", {**empty, "objectid@odata.bind": f"/emails({service.create('emails', {})})"})
    none = deliver(service, box, Attachments=[{"body": ""}]).json()
    assert service.sql("SELECT filename, mimetype FROM org_contoso.activitymimeattachment WHERE objectid = %s", [none["EmailId"]]) == [("attachment", None)]
    names = ",".join(empty)
    found = [service.sql(f"SELECT {names} FROM org_contoso.activitymimeattachment WHERE {where} = %s", [id]) for where, id in (("objectid", answer["EmailId"]), ("activitymimeattachmentid", alone))]
    assert found[0] == found[1] == [("attachment", None, None, None, None)]


@pytest.mark.parametrize("type, status", [("queue", 400), ("#Microsoft.Dynamics.CRM.email", 400), (5, 400), ("#Microsoft.Dynamics.CRM.activitymimeattachment", 200), ("Microsoft.Dynamics.CRM.IncomingAttachment", 200)])
def test_a_file_is_no_other_record(service, box, type, status):
    answer = deliver(service, box, Attachments=[{"@odata.type": type, "FileName": "a", "Body": ""}])
    assert answer.status_code == status, answer.text
    assert status == 200 or "activitymimeattachment" in refused(answer, 400, "0x80048D19")


@pytest.mark.parametrize("host", ["@elsewhere.test", ""])
@pytest.mark.parametrize("form", ["%s", " <%s> \r\n", "<%s>", "<%s", "%s>", "%s;"])
def test_the_id_of_a_message_is_read_as_its_answers_are(service, box, form, host):
    id = f"{uuid.uuid4()}{host}"
    parent = record(service, box, MessageId=form % id)
    assert parent["messageid"] == f"<{id}>"
    answer = record(service, box, InReplyTo=form % id)
    assert (answer["_parentactivityid_value"], answer["inreplyto"]) == (parent["activityid"], f"<{id}>")


@pytest.mark.parametrize("form", ['"foo" <%s>', "Your message of Friday <%s>", "Message from jane@x.test of Friday <%s> (Jane)", "<%s", "<<%s>>", "(no id) <%s>"])
def test_what_an_answer_shows_is_the_id_that_was_read(service, box, form):
    id = f"{uuid.uuid4()}@elsewhere.test"
    parent = record(service, box, MessageId=f"<{id}>")["activityid"]
    answer = record(service, box, InReplyTo=form % id)
    assert (answer["_parentactivityid_value"], answer["inreplyto"]) == (parent, f"<{id}>")
    assert record(service, box, InReplyTo="Your message of Friday")["inreplyto"] is None


def test_attachments_may_be_written_as_attributes(service, box):
    files = [{"filename": "a.txt", "mimetype": "text/plain", "body": "QUJD"}, {"@odata.type": "Microsoft.Dynamics.CRM.activitymimeattachment", "FileName": "b.bin", "Body": ""}]
    email = record(service, box, Attachments=files)
    assert sorted(f["filename"] for f in email["email_activity_mime_attachment"]) == ["a.txt", "b.bin"]


def test_what_the_original_takes_is_taken(service, box):
    file = {"@odata.type": "Microsoft.Dynamics.CRM.activitymimeattachment", "filename": "a.txt", "mimetype": "text/plain", "body": "QUJD", "subject": "the plan", "attachmentcontentinfo": "plan@x.test"}
    answer = deliver(service, box, ValidateBeforeCreate=True, ExtraProperties=None, Attachments=[file])
    assert answer.status_code == 200 and answer.json()["ShouldDeliver"], answer.text
    [found] = service.get(f"activitymimeattachments?$filter=_objectid_value eq {answer.json()['EmailId']}&$select=subject,attachmentcontentinfo").json()["value"]
    assert (found["subject"], found["attachmentcontentinfo"]) == ("the plan", "plan@x.test")


def test_a_refusal_names_what_the_metadata_has(service, box):
    """The refusal lists parameters that $metadata declares. So it lists none that only routers may use."""
    message = refused(deliver(service, box, Foo=1), 400, "0x80048D19")
    document = etree.fromstring(service.get("$metadata").content)
    names = {each.get("Name") for action in document.iter("{*}Action") if action.get("Name") == "DeliverIncomingEmail" for each in action.iter("{*}Parameter")}
    listed = set(message.rstrip(".").rpartition("but ")[2].split(", "))
    assert listed <= names and {"MessageId", "Attachments", "Body"} <= listed


def test_a_lease_that_is_named_must_hold(service, box):
    """A System Administrator needs no lease. But if the request names one, the lease must exist."""
    refused(deliver(service, box, HostId="no router"), 412, "0x80060882")
    assert deliver(service, box).status_code == deliver(service, box, HostId=None).status_code == 200


def test_messages_that_differ_in_their_files_are_two(service, box):
    same = {"Subject": f"Scan {uuid.uuid4()}", "Body": "Scan attached", "ReceivedOn": "2026-11-20T10:00:00Z"}
    first, second, again = (deliver(service, box, **same, Attachments=[{"FileName": n, "MimeType": "application/pdf", "Body": b}]).json()
                            for n, b in (("scan1.pdf", "QUFB"), ("scan2.pdf", "QkJC"), ("scan2.pdf", "QkJC")))
    assert first["ShouldDeliver"] and second["ShouldDeliver"] and (again["ShouldDeliver"], again["ReasonCode"]) == (False, 0)


@pytest.mark.parametrize("other", [
    {"Bcc": "x@y.test", "Cc": None}, {"To": [ADDRESS, "x@y.test"], "Cc": None}, {"Cc": "Name <x@y.test>"}, {"ReplyTo": "r@x.test"}, {"InReplyTo": "<q@x.test>"}, {"References": "<q@x.test>"}, {"Importance": "High"},
    {"BodyType": "text/html"}, {"SubmittedBy": "s"}, {"Attachments": [{"Body": "QUJD", "AttachmentContentInfo": "c"}]}, {"Attachments": [{"Body": "QUJD", "Subject": "s"}]}, {"Attachments": [{"Body": "QUJD", "MimeType": "text/plain"}]}])
def test_messages_that_differ_in_any_member_are_two(service, box, other):
    same = {"Subject": f"{uuid.uuid4()}", "Body": "the same", "Cc": "x@y.test", "ReceivedOn": "2026-11-20T10:00:00Z", "Attachments": [{"Body": "QUJD"}]}
    first, second, again = (deliver(service, box, **each).json() for each in (same, {**same, **other}, {**same, **other}))
    assert first["ShouldDeliver"] and second["ShouldDeliver"] and (again["ReasonCode"], again["EmailId"]) == (0, second["EmailId"])


@pytest.mark.parametrize("id, former", [("<m1@x.test>", "<m1@x.test>"), ("", ""), ("abc", "abc"), ("m2@x.test", "<m2@x.test>")])
def test_what_a_version_before_delivered_is_known(service, box, id, former):
    """Earlier versions computed a record's id from fewer members. The service must find these records."""
    subject, time = f"{uuid.uuid4()}", "2026-11-20T10:00:00Z"
    words = [former, "a@x.test", subject, time, "the same", ADDRESS, "b@x.test", "c@x.test", "a.bin", "application/octet-stream", "QUJD"]
    digest = hashlib.sha256("".join(f"{len(word)} {word}" for word in words).encode()).digest()
    organization = uuid.UUID(service.get("organizations?$select=organizationid").json()["value"][0]["organizationid"])
    hashed = bytearray(hashlib.sha256(b"fieldseal incoming e-mail" + organization.bytes + uuid.UUID(box).bytes + digest).digest()[:16])
    hashed[6], hashed[8] = hashed[6] & 0x0F | 0x80, hashed[8] & 0x3F | 0x80
    known = service.create("emails", {"activityid": str(uuid.UUID(bytes=bytes(hashed))), "subject": subject})
    members = {"MessageId": id, "From": "A <a@x.test>", "Subject": subject, "ReceivedOn": time, "Body": "the same", "Cc": "b@x.test", "Bcc": "c@x.test", "Attachments": [{"FileName": "a.bin", "Body": "QUJD"}]}
    answer = deliver(service, box, **members).json()
    assert (answer["ShouldDeliver"], answer["ReasonCode"], answer["EmailId"]) == (False, 0, known)
    assert record(service, box, **{**members, "Body": "another"})


@pytest.mark.parametrize("answer", [
    {"InReplyTo": "<%s>"}, {"InReplyTo": "<other@x.test> <%s>"}, {"InReplyTo": "%s"}, {"References": "<other@x.test> <%s>"}, {"References": ["<other@x.test>", "<%s>"]},
    {"References": "<%s>\r\n\t<later@x.test>", "InReplyTo": "<unknown@x.test>"}])
def test_answers_are_found_by_the_ids_of_both_fields(service, box, answer):
    id = f"{uuid.uuid4()}@elsewhere.test"
    parent = record(service, box, MessageId=f"<{id}>")["activityid"]

    def filled(value):
        return [filled(v) for v in value] if isinstance(value, list) else value.replace("%s", id)

    assert record(service, box, **{n: filled(v) for n, v in answer.items()})["_parentactivityid_value"] == parent


@pytest.mark.parametrize("name", ["References", "InReplyTo"])
def test_the_ids_of_a_message_are_bounded(service, box, name):
    """The number of ids is limited. Comparing each id with all others took minutes for a few hundred KiB."""
    members = {name: " ".join(f"<{number}@x.test>" for number in range(10_000))}
    assert record(service, box, **members)["activityid"]
    answer = deliver(service, box, **{name: members[name] + " <more@x.test>"})
    assert answer.status_code == 400 and f"{name} is missing or invalid. It must be at most 10000 Message-IDs" in answer.text, answer.text


def test_who_may_not_deliver_is_told_so_before_the_e_mail_is_read(service):
    made = service.json("client", "add", f"reader{uuid.uuid4().hex[:8]}", "--org", "contoso", "--role", "Basic User")
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    for message in ("CheckIncomingEmail", "DeliverIncomingEmail"):
        answer = service.request("POST", f"emails/Microsoft.Dynamics.CRM.{message}", {"From": 5}, token=token)
        assert answer.status_code == 403, answer.text
