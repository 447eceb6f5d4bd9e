"""Which e-mail an incoming mail answers: only one that the mailbox's owner may read. A sender learns nothing about other e-mails, and does not
receive their answers."""

import base64
import hashlib
import re
import uuid

import pytest
from mailroom import Mailroom


class Correspondents(Mailroom):
    """The Basic Users `user` and `other` each own a mailbox. Neither may read the other's e-mails."""

    def start(self):
        super().start()
        made = self.json("client", "add", "other", "--org", "contoso", "--role", "Basic User")
        self.dev["clients"]["other"] = made
        self.users["other"] = self.get("WhoAmI", client="other").json()["UserId"]
        self.addresses = {name: f"{name}@contoso.test" for name in ("user", "other")}
        self.boxes = {name: self.user_box(self.users[name], self.profile(), self.addresses[name]) for name in ("user", "other")}
        return self

    def sent(self, client, subject, **more):
        """Submits an e-mail of a user. Returns (id, tracking token, Message-ID)."""
        id = self.drafted(self.users[client], client=client, subject=subject, **more)
        response = self.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True}, client=client)
        assert response.status_code == 200, response.text
        messageID = f"<{id}@contoso.test>"
        self.sql("UPDATE org_contoso.email SET messageid = %s WHERE activityid = %s", [messageID, id])
        return id, re.search(r"CRM:\d+", response.json()["Subject"]).group(), messageID

    def deliver(self, client, subject, **more):
        """Delivers a mail from outside to a user's mailbox. Returns the e-mail's record, or None if the mailbox did not accept the mail."""
        name = uuid.uuid4().hex
        email = {"MessageId": f"<{name}@elsewhere.test>", "Subject": subject, "From": "customer@elsewhere.test", "To": [self.addresses[client]], "Body": name,
                 "Digest": base64.b64encode(hashlib.sha256(name.encode()).digest()).decode(), **more}
        answer = self.call("DeliverIncomingEmails", MailboxId=self.boxes[client], HostId=self.lease(self.boxes[client]), Emails=[email])
        assert answer.status_code == 200, answer.text
        verdict = answer.json()["value"][0]
        if not verdict["ShouldDeliver"]:
            return None
        return self.get(f"emails({verdict['EmailId']})?$select=_parentactivityid_value,parentactivityidname,correlationmethod,_regardingobjectid_value").json()

    def filter(self, client, method):
        assert self.request("PATCH", f"usersettingscollection({self.users[client]})", {"incomingemailfilteringmethod": method}).status_code == 204

    def counted(self, id):
        return self.sql("SELECT replycount, versionnumber FROM org_contoso.email WHERE activityid = %s", [id])


@pytest.fixture(scope="module")
def room():
    with Correspondents.made() as room:
        yield room


@pytest.fixture(params=["token", "header", "references", "subject"])
def way(request, room):
    """The way in which a mail names the e-mail that it answers, as a function. The function returns (subject, further fields of the mail)."""
    subjects = request.param == "subject"
    room.sql("UPDATE org_contoso.organization SET enablesmartmatching = %s", [subjects])

    def named(subject, token, messageID):
        return {"token": (f"AW: x {token}", {}), "header": ("AW: x", {"InReplyTo": [messageID]}), "references": ("x", {"InReplyTo": [messageID], "References": [messageID]}),
                "subject": (f"AW: {subject}", {})}[request.param]

    yield named
    room.sql("UPDATE org_contoso.organization SET enablesmartmatching = false")


def test_an_answer_tells_nothing_of_what_its_mailbox_may_not_read(room, way):
    for client in ("user", "other"):
        room.filter(client, 0)
    subject = f"CONFIDENTIAL merger {uuid.uuid4().hex}"
    secret, token, messageID = room.sent("other", subject)
    # The user's address becomes a copy recipient of the secret e-mail, so that the mail's subject and addresses match it.
    room.sql("INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyidname, ispartydeleted, donotemail) "
             "VALUES (gen_random_uuid(), %s, 3, %s, 'x', false, false)", [secret, room.addresses["user"]])
    title, more = way(subject, token, messageID)
    before = room.counted(secret)
    # The mail does not count as an answer, so the mailbox rejects it while it accepts only answers.
    room.filter("user", 1)
    assert room.deliver("user", title, **more) is None
    room.filter("user", 0)
    record = room.deliver("user", title, **more)
    assert record["_parentactivityid_value"] is None and record["parentactivityidname"] is None and record["correlationmethod"] in (0, None), record
    assert room.counted(secret) == before
    # In the mailbox from which the secret e-mail was sent, the same mail counts as an answer.
    answered = room.deliver("other", title, **more)
    assert answered["_parentactivityid_value"] == secret and answered["parentactivityidname"].startswith(subject[:20])
    assert room.counted(secret)[0][0] == 1
    room.filter("other", 1)
    assert room.deliver("other", title, **more)["_parentactivityid_value"] in (secret, answered["activityid"])


def test_an_answer_is_tied_to_what_the_owner_of_its_mailbox_may_read(room, way):
    """The mailbox's owner may read the e-mail in three ways: by a share, as a member of the team that owns it, and as an administrator."""
    for client in ("user", "other"):
        room.filter(client, 0)

    def answer(change, client="user"):
        subject = f"offer {uuid.uuid4().hex}"
        id, token, messageID = room.sent("other", subject)
        room.sql("INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, addressused, partyidname, ispartydeleted, donotemail) "
                 "VALUES (gen_random_uuid(), %s, 3, %s, 'x', false, false)", [id, room.addresses[client]])
        change(id)
        title, more = way(subject, token, messageID)
        return room.deliver(client, title, **more)["_parentactivityid_value"] == id

    def share(id):
        principal = {"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": room.users["user"]}
        body = {"Target": {"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": id}, "PrincipalAccess": {"Principal": principal, "AccessMask": "ReadAccess"}}
        assert room.request("POST", "GrantAccess", body, client="other").status_code == 204

    def give(id):
        unit = room.get("businessunits").json()["value"][0]["businessunitid"]
        team = room.create("teams", {"name": f"team {uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})"})
        assert room.request("POST", f"teams({team})/teammembership_association/$ref", {"@odata.id": f"{room.api}/systemusers({room.users['user']})"}).status_code == 204
        room.sql("UPDATE org_contoso.email SET ownerid = %s, owneridtype = 'team' WHERE activityid = %s", [team, id])

    assert answer(share) and answer(give) and not answer(lambda id: None)
    role = room.get("roles?$filter=name eq 'System Administrator'").json()["value"][0]["roleid"]
    link = f"systemusers({room.users['user']})/systemuserroles_association"
    assert room.request("POST", f"{link}/$ref", {"@odata.id": f"{room.api}/roles({role})"}).status_code == 204
    try:
        assert answer(lambda id: None)
    finally:
        assert room.request("DELETE", f"{link}({role})/$ref").status_code == 204
    assert not answer(lambda id: None)


def test_nobody_draws_answers_to_an_email_of_their_own(room):
    """A user puts the token of another user's e-mail into a draft, sends the draft, and shares it with the other user. Answers still go to the other
    user's e-mail."""
    for client in ("user", "other"):
        room.filter(client, 0)
    offer, token, _ = room.sent("other", "offer")
    # An answer repeats the token, so the next answer may be tied to the earlier answer.
    thread = {offer}

    def answered():
        record = room.deliver("other", f"AW: offer {token}")
        assert record["_parentactivityid_value"] in thread
        thread.add(record["activityid"])

    draft = room.drafted(room.users["user"], client="user", subject="attacker's draft", trackingtoken=token)
    answered()
    assert room.request("POST", f"emails({draft})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True}, client="user").status_code == 200
    answered()
    principal = {"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": room.users["other"]}
    body = {"Target": {"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": draft}, "PrincipalAccess": {"Principal": principal, "AccessMask": "ReadAccess"}}
    assert room.request("POST", "GrantAccess", body, client="user").status_code == 204
    answered()
    # The draft gets no answer, even if it is newer than every other e-mail with the token.
    room.sql("UPDATE org_contoso.email SET createdon = now() + interval '1 minute' WHERE activityid = %s", [draft])
    answered()
    assert room.sql("SELECT replycount FROM org_contoso.email WHERE activityid = %s", [draft]) == [(None,)]


def test_a_draft_has_no_answers(room):
    room.filter("user", 0)
    draft = room.drafted(room.users["user"], client="user", subject="not sent", trackingtoken="CRM:7654321")
    assert room.deliver("user", "AW: not sent CRM:7654321")["_parentactivityid_value"] is None
    assert room.sql("SELECT replycount FROM org_contoso.email WHERE activityid = %s", [draft]) == [(None,)]


def test_tokens_are_no_numbers_in_a_row(room):
    tokens = [room.sent("user", f"mail {n}")[1] for n in range(8)]
    numbers, marks = [int(token[4:11]) for token in tokens], {token[11:] for token in tokens}
    assert numbers == list(range(numbers[0], numbers[0] + 8)) and {len(mark) for mark in marks} == {6} and len(marks) > 4


def test_a_draft_tells_no_mailbox_that_its_writer_may_not_send_from(room):
    columns = "emails({})?$select=_sendermailboxid_value,sendermailboxidname&$expand=sendermailboxid($select=name)"
    foreign = room.drafted(room.users["other"], client="user")
    assert {**room.get(columns.format(foreign), client="user").json(), "@odata.etag": 0, "@odata.context": 0} == {
        "@odata.context": 0, "@odata.etag": 0, "_sendermailboxid_value": None, "sendermailboxidname": None, "sendermailboxid": None, "activityid": foreign}
    error = room.send(foreign).json()["error"]["message"]
    assert "may not send as this sender" in error
    own = room.drafted(room.users["user"], client="user")
    read = room.get(columns.format(own), client="user").json()
    assert read["_sendermailboxid_value"] == room.boxes["user"] and read["sendermailboxidname"] == read["sendermailboxid"]["name"] == room.addresses["user"]
    # Once the writer may send as the mailbox's owner, the router receives the e-mail for the owner's mailbox.
    assert room.request("PATCH", f"usersettingscollection({room.users['other']})", {"issendasallowed": True}).status_code == 204
    try:
        assert room.send(foreign).status_code == 200
        assert room.sql("SELECT sendermailboxid::text FROM org_contoso.email WHERE activityid = %s", [foreign]) == [(room.boxes["other"],)]
        assert foreign in {email["EmailId"] for email in room.take(room.boxes["other"])}
    finally:
        assert room.request("PATCH", f"usersettingscollection({room.users['other']})", {"issendasallowed": False}).status_code == 204
