"""Delivering e-mails together takes one request and few statements. The records must equal those of single deliveries."""

import base64
import hashlib

import pytest
from service import Deployment, refused

ADDRESS = "support@contoso.test"


@pytest.fixture(scope="module")
def receiving():
    with Deployment.made() as deployment:
        yield deployment


@pytest.fixture
def box(receiving):
    """The mailbox of a queue that accepts all e-mails."""
    receiving.sql("TRUNCATE org_contoso.email CASCADE")
    queue = receiving.create("queues", {"name": "Support", "emailaddress": ADDRESS, "incomingemailfilteringmethod": 0})
    yield receiving.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    assert receiving.request("DELETE", f"queues({queue})").status_code == 204


def incoming(name, **more):
    return {"MessageId": f"<{name}@elsewhere.test>", "Subject": name, "From": "customer@elsewhere.test", "To": [ADDRESS], "Body": f"body of {name}",
            "Digest": base64.b64encode(hashlib.sha256(name.encode()).digest()).decode(), **more}


def deliver(receiving, box, emails):
    answer = receiving.request("POST", "fieldseal.DeliverIncomingEmails", {"MailboxId": box, "HostId": "here", "Emails": emails})
    assert answer.status_code == 200, answer.text
    return answer.json()["value"]


def records(receiving, columns):
    return {row[0]: row[1:] for row in receiving.sql(f"SELECT subject, {columns} FROM org_contoso.email")}


def test_answers_within_a_batch_find_what_they_answer(receiving, box):
    emails = [incoming("first"), incoming("other"), incoming("second", InReplyTo=["<first@elsewhere.test>"], References=["<first@elsewhere.test>"]),
              incoming("third", InReplyTo=["<FIRST@elsewhere.test>"]), incoming("marked CRM:0012345"), incoming("AW: marked CRM:0012345", InReplyTo=["<unknown@elsewhere.test>"])]
    verdicts = deliver(receiving, box, emails)
    assert [v["ShouldDeliver"] for v in verdicts] == [True] * 6
    ids = [v["EmailId"] for v in verdicts]
    found = records(receiving, "activityid::text, parentactivityid::text, parentactivityidname, correlationmethod, replycount, message_references")
    assert found["first"] == (ids[0], None, None, 0, 2, None) and found["other"] == (ids[1], None, None, 0, None, None)
    assert found["second"] == (ids[2], ids[0], "first", 3, None, "<first@elsewhere.test>") and found["third"][:4] == (ids[3], ids[0], "first", 3)
    assert found["AW: marked CRM:0012345"][1:4] == (ids[4], "marked CRM:0012345", 4)


def test_an_answer_gives_the_answered_email_a_new_tag(receiving, box):
    """The number of replies is a part of the e-mail's record. So a reply gives the record a new ETag."""
    def read(id, **headers):
        return receiving.get(f"emails({id})?$select=subject,replycount", **headers)

    asked, other = (verdict["EmailId"] for verdict in deliver(receiving, box, [incoming("asked"), incoming("not answered")]))
    before = {id: read(id).headers["ETag"] for id in (asked, other)}
    assert read(asked, If_None_Match=before[asked]).status_code == 304
    # A reply in another batch, two replies in one batch, and a reply to an e-mail of the same batch.
    answers = [incoming("answer 1", InReplyTo=["<asked@elsewhere.test>"]), incoming("answer 2", InReplyTo=["<asked@elsewhere.test>"]),
               incoming("answer 3", InReplyTo=["<answer 1@elsewhere.test>"])]
    for count, batch in ((1, answers[:1]), (3, answers[1:] + [incoming("answer 4", InReplyTo=["<asked@elsewhere.test>"])])):
        deliver(receiving, box, batch)
        now = read(asked, If_None_Match=before[asked])
        assert now.status_code == 200 and now.json()["replycount"] == count and now.json()["@odata.etag"] == now.headers["ETag"] != before[asked]
        old, before[asked] = before[asked], now.headers["ETag"]
        stale = receiving.request("PATCH", f"emails({asked})", {"category": "x"}, If_Match=old)
        assert stale.status_code == 412, stale.text
    assert read(other).headers["ETag"] == before[other]


def test_each_record_has_its_own_values(receiving, box):
    """Each record has its own people, dates, attachments and notes. A value that its e-mail lacks stays empty."""
    user = receiving.create("systemusers", {"fullname": "Ann", "domainname": "CONTOSO\\ann-of-batches", "internalemailaddress": "ann@Bücher.test"})
    file = {"FileName": "a.txt", "MimeType": "text/plain", "Body": base64.b64encode(b"four").decode()}
    emails = [incoming("plain"), incoming("dated", ReceivedOn="2026-01-02T03:04:05Z", Importance="High", BodyType="text/html", Cc=["second@elsewhere.test"]),
              incoming("from a user", From="ANN@xn--bcher-kva.test"), incoming("with files", Attachments=[file, {**file, "FileName": "b.txt"}], OmittedAttachments=1),
              incoming("cut", BodyIsCut=True), incoming("from a name", From="MAILER-DAEMON")]
    deliver(receiving, box, emails)
    found = records(receiving, "description, senton::text, prioritycode, mimetype, notifications, sender, emailsender::text, emailsendername, torecipients, attachmentcount, statuscode, directioncode")
    common = ("customer@elsewhere.test", None, "customer@elsewhere.test", ADDRESS)
    assert found["plain"] == ("body of plain", None, 1, "text/plain", 0, *common, 0, 4, False)
    assert found["dated"][1:4] == ("2026-01-02 03:04:05+00", 2, "text/html") and found["dated"][5:9] == common
    assert found["from a user"][5:8] == ("ANN@xn--bcher-kva.test", user, "Ann")
    assert found["with files"][4] == 1 and found["with files"][9] == 2 and found["cut"][4] == 2
    assert found["from a name"][5:8] == ("MAILER-DAEMON", None, "MAILER-DAEMON")
    parties = receiving.sql("""SELECT e.subject, p.participationtypemask, p.addressused, p.partyobjecttypecode FROM org_contoso.email AS e
        JOIN org_contoso.activityparty AS p USING (activityid) WHERE e.subject IN ('dated', 'from a user', 'from a name') ORDER BY 1, 2, 3""")
    assert parties == [("dated", 1, "customer@elsewhere.test", None), ("dated", 2, ADDRESS, "queue"), ("dated", 3, "second@elsewhere.test", None),
                       ("from a name", 1, "MAILER-DAEMON", None), ("from a name", 2, ADDRESS, "queue"), ("from a user", 1, "ANN@xn--bcher-kva.test", "systemuser"), ("from a user", 2, ADDRESS, "queue")]
    files = receiving.sql("SELECT filename, attachmentnumber, filesize, convert_from(decode(body, 'base64'), 'UTF8') FROM org_contoso.activitymimeattachment ORDER BY 2")
    assert files == [("a.txt", 1, 4, "four"), ("b.txt", 2, 4, "four")]


def test_a_router_names_people_by_their_places(receiving, box):
    """Routers of earlier versions name people by the position of their address."""
    people = {"From": "a@x.test", "To": [ADDRESS, "a@x.test", "A@x.test"], "Cc": ["c@x.test"]}
    deliver(receiving, box, [incoming("places", **people, FromName="Alice", ToNames=[None, "Bob", "B"], CcNames=["Cy"]), incoming("addresses", **people, Names={"a@x.test": "Alice", "c@x.test": "Cy"}), incoming("none", **people)])
    found = receiving.sql("""SELECT e.subject, array_agg(p.partyidname ORDER BY p.activitypartyid) FROM org_contoso.email AS e JOIN org_contoso.activityparty AS p USING (activityid)
        WHERE p.partyid IS NULL GROUP BY 1""")
    assert dict(found) == {"places": ["Alice", "Bob", "B", "Cy"], "addresses": ["Alice", "Alice", "Alice", "Cy"], "none": ["a@x.test", "a@x.test", "A@x.test", "c@x.test"]}
    for wrong in ({"ToNames": ["Bob"]}, {"ToNames": "Bob"}, {"CcNames": [5]}, {"FromName": 5}, {"CcNames": ["Cy", None]}):
        body = {"MailboxId": box, "HostId": "here", "Emails": [incoming("wrong", **people, **wrong)]}
        assert next(iter(wrong)) in refused(receiving.request("POST", "fieldseal.DeliverIncomingEmails", body), 400, "0x80048D19")


def test_what_is_there_or_comes_twice_is_made_once(receiving, box):
    file = {"FileName": "a.txt", "MimeType": "text/plain", "Body": base64.b64encode(b"four").decode()}
    emails = [incoming("one", Attachments=[file]), incoming("two"), incoming("one", Attachments=[file]), incoming("nobody", To=["stranger@elsewhere.test"]), incoming("bad", From="\n")]
    first = deliver(receiving, box, emails)
    assert [(v["ShouldDeliver"], v["ReasonCode"]) for v in first] == [(True, 6), (True, 6), (False, 0), (True, 6), (False, 7)]
    second = deliver(receiving, box, [*emails[:2], incoming("three")])
    assert [(v["ShouldDeliver"], v["ReasonCode"]) for v in second] == [(False, 0), (False, 0), (True, 6)]
    assert [v.get("EmailId") for v in second[:2]] == [v["EmailId"] for v in first[:2]] and first[4].get("EmailId") is None
    assert receiving.sql("SELECT count(*) FROM org_contoso.activitymimeattachment") == [(1,)]
    assert receiving.sql("SELECT count(*) FROM org_contoso.email") == [(4,)]


def test_a_router_learns_which_records_lack_something(receiving, box):
    """The router deletes a message only if its record is complete. So the response says for each message whether something is missing in its record.
    This also holds for a message that was delivered before."""
    [organization] = receiving.get("organizations?$select=maxuploadfilesize").json()["value"]

    def limit(bytes):
        assert receiving.request("PATCH", f"organizations({organization['organizationid']})", {"maxuploadfilesize": bytes}).status_code == 204

    def file(size, **more):
        return {"FileName": f"{size}.bin", "MimeType": "application/pdf", "Body": base64.b64encode(b"x" * size).decode(), **more}

    original = {**file(2_000, Note="The text is cut."), "FileName": "original.eml", "MimeType": "message/rfc822"}
    emails = [incoming("fits", Attachments=[file(999), file(1_000)]), incoming("large", Attachments=[file(1), file(1_001), file(1_002)]), incoming("original", Attachments=[original, file(1_001)]),
              incoming("forwarded", Attachments=[{**original, "Note": None}]), incoming("left out", OmittedAttachments=1), incoming("cut", BodyIsCut=True), incoming("cut and kept", BodyIsCut=True, Attachments=[original])]
    expected = [False, True, False, True, True, True, False]
    try:
        limit(1_000)
        for names in (emails, [*emails, *emails]):
            assert [v["IsIncomplete"] for v in deliver(receiving, box, names)] == [*expected, *expected][:len(names)]
        limit(8_000)
        again = deliver(receiving, box, emails)
        assert [(v["ShouldDeliver"], v["IsIncomplete"]) for v in again] == [(False, is_incomplete) for is_incomplete in expected]
        # Delivers the seven e-mails twice in one batch. With other digests, the service takes them as new e-mails.
        both = [{**email, "Digest": base64.b64encode(hashlib.sha256(email["Digest"].encode()).digest()).decode()} for email in emails]
        limit(1_000)
        assert [v["IsIncomplete"] for v in deliver(receiving, box, [*both, *both])] == [*expected, *expected]
    finally:
        limit(organization["maxuploadfilesize"])
    found = records(receiving, "notifications")
    assert found == {"fits": (0,), "large": (1,), "original": (1,), "forwarded": (1,), "left out": (1,), "cut": (2,), "cut and kept": (2,)}
    files = receiving.sql("""SELECT a.filename, a.filesize, a.subject, convert_from(decode(a.body, 'base64'), 'UTF8') FROM org_contoso.activitymimeattachment AS a
        WHERE a.objectid = %s ORDER BY a.attachmentnumber""", [again[1]["EmailId"]])
    text = "Attachments that are too large for the record, and are left in the mailbox:\r\n\r\n1001.bin, 1001 bytes, application/pdf\r\n1002.bin, 1002 bytes, application/pdf\r\n"
    assert files == [("1.bin", 1, None, "x"), ("attachments-left-out.txt", len(text), "Too large and left out: 1001.bin, 1002.bin.", text)]
    assert receiving.sql("SELECT array_agg(filename ORDER BY attachmentnumber) FROM org_contoso.activitymimeattachment WHERE objectid = %s", [again[2]["EmailId"]]) == [(["original.eml"],)]


def test_limits_of_a_batch(receiving, box):
    assert len(deliver(receiving, box, [incoming(f"number {n}") for n in range(100)])) == 100
    assert deliver(receiving, box, []) == []
    body = {"MailboxId": box, "HostId": "here", "Emails": [incoming(f"number {n}") for n in range(101)]}
    assert receiving.request("POST", "fieldseal.DeliverIncomingEmails", body).status_code == 400
    # If one e-mail of the batch is invalid, no record is made.
    body["Emails"] = [incoming("good"), {**incoming("bad"), "Digest": "x"}]
    assert receiving.request("POST", "fieldseal.DeliverIncomingEmails", body).status_code == 400
    assert receiving.sql("SELECT count(*) FROM org_contoso.email WHERE subject = 'good'") == [(0,)]


def test_there_is_no_delivery_to_a_mailbox_that_is_not_there(receiving, box):
    missing = "8ce8eabe-6d1c-4b03-828a-c03c76553b18"
    body = {"MailboxId": missing, "HostId": "here", "Emails": [incoming("nowhere")]}
    assert refused(receiving.request("POST", "fieldseal.DeliverIncomingEmails", body), 404, "0x80040217") == "There is no such mailbox."
    one = {"MailboxId": missing, "MessageId": "<nowhere@elsewhere.test>", "Subject": "nowhere", "From": "customer@elsewhere.test", "To": ADDRESS, "Body": "b", "ReceivedOn": "2026-01-31T12:00:00Z"}
    for name in ("CheckIncomingEmail", "DeliverIncomingEmail"):
        answer = receiving.request("POST", f"emails/Microsoft.Dynamics.CRM.{name}", one)
        assert answer.status_code == 404, (name, answer.text)
    assert records(receiving, "subject") == {}


def test_no_delivery_in_the_name_of_another_user(receiving, box):
    client = receiving.json("client", "add", "deputy", "--role", "System Administrator", "--org", "contoso")
    ((deputy,),) = receiving.sql("SELECT systemuser_id::text FROM config.api_client WHERE client_id = %s", [client["clientId"]])
    body = {"MailboxId": box, "HostId": "here", "Emails": [incoming("for another")]}
    answer = receiving.request("POST", "fieldseal.DeliverIncomingEmails", body, MSCRMCallerID=deputy)
    assert answer.status_code == 403 and "in the name of another user" in answer.text and records(receiving, "subject") == {}
