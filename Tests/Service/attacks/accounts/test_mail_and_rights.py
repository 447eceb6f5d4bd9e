"""Mail is sent only with the rights of its sender. No caller extends its own rights by statuses, senders, owners, approvals, shares or lookups."""

import base64
import threading
import time
import uuid

import psycopg
import pytest
from mailroom import Mailroom, refusal
from service import PATIENCE


@pytest.fixture(scope="module")
def room():
    """A deployment in which the Basic User `user` and the systemuser `ceo` each have a mailbox."""
    with Mailroom.made() as room:
        room.person = room.users["user"]
        room.box = room.user_box(room.person, room.profile(), "user@contoso.test")
        unit = room.get("businessunits").json()["value"][0]["businessunitid"]
        room.ceo = room.create("systemusers", {"fullname": "CEO", "domainname": "ceo", "internalemailaddress": "ceo@contoso.test", "businessunitid@odata.bind": f"/businessunits({unit})"})
        room.ceo_box = room.get(f"mailboxes?$filter=_regardingobjectid_value eq {room.ceo}").json()["value"][0]["mailboxid"]
        room.enable(room.ceo_box, room.profile())
        made = room.json("client", "add", "other", "--org", "contoso", "--role", "Basic User")
        room.dev["clients"]["other"] = made
        room.users["other"] = room.get("WhoAmI", client="other").json()["UserId"]
        yield room


STATUSES = {2: "Completed", 3: "Sent", 4: "Received", 6: "Pending Send", 7: "Sending", 8: "Failed"}


@pytest.mark.parametrize("way", ["create", "create many", "upsert", "upsert many", "change set", "patch", "put", "update many", "batch patch", "with parties", "from canceled"])
def test_nobody_writes_a_status_that_is_the_services(room, way):
    """A user writes an e-mail whose sender is the CEO, with a status that only the service sets: about to be sent, sent or received."""
    sender = {"email_activity_parties": [{"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({room.ceo})"}, {"participationtypemask": 2, "addressused": "x@elsewhere.test"}]}
    draft = room.drafted(room.ceo)
    bound = "emails/Microsoft.Dynamics.CRM."
    for status in STATUSES:
        body, id = {"subject": "forged", "statuscode": status, **sender}, str(uuid.uuid4())
        if way == "create":
            refusal(room.request("POST", "emails", body, client="user"))
        elif way == "create many":
            refusal(room.request("POST", f"{bound}CreateMultiple", {"Targets": [body]}, client="user"))
        elif way == "upsert":
            refusal(room.request("PATCH", f"emails({id})", body, client="user"))
            refusal(room.request("PATCH", f"emails({id})", body, client="user", If_None_Match="*"))
        elif way == "upsert many":
            refusal(room.request("POST", f"{bound}UpsertMultiple", {"Targets": [{"activityid": id, **body}]}, client="user"))
        elif way == "change set":
            assert 403 in room.change_set(("POST", "emails", body), client="user")[0]
        elif way == "patch":
            refusal(room.request("PATCH", f"emails({draft})", {"statuscode": status}, client="user"))
            refusal(room.request("PATCH", f"emails({draft})", {"statecode": 0 if status == 8 else 1, "statuscode": status}, client="user"))
        elif way == "put":
            refusal(room.request("PUT", f"emails({draft})/statuscode", {"value": status}, client="user"))
        elif way == "update many":
            refusal(room.request("POST", f"{bound}UpdateMultiple", {"Targets": [{"activityid": draft, "statuscode": status}]}, client="user"))
        elif way == "batch patch":
            assert 403 in room.change_set(("PATCH", f"emails({draft})", {"statuscode": 5}), ("PATCH", f"emails({draft})", {"statuscode": status}), client="user")[0]
        elif way == "with parties":
            refusal(room.request("PATCH", f"emails({draft})", {"statuscode": status, **sender}, client="user"))
        else:
            assert room.request("PATCH", f"emails({draft})", {"statuscode": 5}, client="user").status_code == 204
            refusal(room.request("PATCH", f"emails({draft})", {"statuscode": status}, client="user"))
            assert room.request("PATCH", f"emails({draft})", {"statuscode": 1}, client="user").status_code == 204
        assert room.sql("SELECT count(*) FROM org_contoso.email WHERE activityid = %s", [id]) == [(0,)]
    assert room.status(draft) == 1 and room.sql("SELECT count(*) FROM org_contoso.email WHERE subject = 'forged'") == [(0,)]
    # The user can set neither the state alone nor null as the status or state.
    refusal(room.request("PATCH", f"emails({draft})", {"statecode": 1}, client="user"))
    for nothing in ({"statuscode": None}, {"statecode": None}):
        assert room.request("PATCH", f"emails({draft})", nothing, client="user").status_code == 400
    assert room.request("DELETE", f"emails({draft})/statuscode", client="user").status_code == 400
    assert room.request("POST", "emails", {"statuscode": None}, client="user").status_code == 400
    assert room.take(room.ceo_box) == []


def test_statuses_that_are_a_writers(room):
    id = room.drafted(room.person)
    for body, status in [({"statuscode": 5}, 5), ({"statuscode": 1}, 1), ({"statecode": 2}, 5), ({"statecode": 0}, 1), ({"statuscode": 1, "subject": "again"}, 1)]:
        assert room.request("PATCH", f"emails({id})", body, client="user").status_code == 204, body
        assert room.status(id) == status
    assert room.request("POST", "emails", {"subject": "x", "statuscode": 1, "directioncode": True}, client="user").status_code == 204
    # Only a System Administrator may record e-mails that were sent or received elsewhere. To send an e-mail, an administrator has to use SendEmail too.
    for status in (2, 3, 4, 5):
        history = room.create("emails", {"subject": "history", "statuscode": status, "directioncode": status != 4})
        assert room.status(history) == status
        assert room.request("PATCH", f"emails({history})", {"statuscode": 1}).status_code == 204
        assert room.request("PATCH", f"emails({history})", {"statuscode": status}).status_code == 204
    for status in (6, 7, 8):
        refusal(room.request("POST", "emails", {"subject": "x", "statuscode": status}))
        refusal(room.request("PATCH", f"emails({history})", {"statuscode": status}))


def test_an_e_mail_that_waits_or_was_sent_or_canceled_is_not_sent_again(room):
    id = submitted(room)
    for status in ("waits", "is taken", "is sent"):
        if status == "is taken":
            assert id in [m["EmailId"] for m in room.take(room.box)]
        elif status == "is sent":
            end(room)
        before = room.status(id)
        refusal(room.send(id), 400)
        assert room.status(id) == before, status
    assert before == 3 and id not in [m["EmailId"] for m in room.take(room.box)]
    canceled = room.drafted(room.person)
    assert room.request("PATCH", f"emails({canceled})", {"statuscode": 5}, client="user").status_code == 204
    refusal(room.send(canceled), 400)
    # The control: a canceled e-mail can be sent after it became a draft again, and a failed one can be sent again.
    assert room.request("PATCH", f"emails({canceled})", {"statuscode": 1}, client="user").status_code == 204
    assert room.send(canceled).status_code == 200 and room.status(canceled) == 6
    room.sql("UPDATE org_contoso.email SET statuscode = 8 WHERE activityid = %s", [canceled])
    assert room.send(canceled).status_code == 200
    end(room)


def test_planted_e_mails(room):
    """A user tries to create incoming e-mails, and e-mails with values that only the service writes."""
    refusal(room.request("POST", "emails", {"subject": "planted", "directioncode": False}, client="user"))
    draft = room.drafted(room.person)
    refusal(room.request("PATCH", f"emails({draft})", {"directioncode": False}, client="user"))
    refusal(room.request("PUT", f"emails({draft})/directioncode", {"value": False}, client="user"))
    assert room.request("DELETE", f"emails({draft})/directioncode", client="user").status_code == 400
    for attribute, value in [("sender", "ceo@contoso.test"), ("torecipients", "x"), ("submittedby", "the CEO"), ("messageid", "<x@y>"), ("deliveryattempts", 1), ("sendersaccountname", "x"), ("emailsendername", "CEO")]:
        refusal(room.request("POST", "emails", {"subject": "planted", attribute: value}, client="user"))
    refusal(room.request("PATCH", f"emails({draft})", {"sender": "ceo@contoso.test"}, client="user"))
    # A received e-mail can't become an outgoing one.
    history = room.create("emails", {"subject": "received", "statuscode": 4, "directioncode": False, "ownerid@odata.bind": f"/systemusers({room.person})"})
    for body in ({"statuscode": 1}, {"directioncode": True}, {"statuscode": 5}):
        refusal(room.request("PATCH", f"emails({history})", body, client="user"))
    assert room.request("PATCH", f"emails({history})", {"category": "mine"}, client="user").status_code == 204
    assert room.send(history).status_code == 400


@pytest.mark.parametrize("way", ["create", "create many", "upsert", "upsert many", "change set"])
def test_the_owner_of_a_new_record(room, way):
    owner, id = {"ownerid@odata.bind": f"/systemusers({room.ceo})"}, str(uuid.uuid4())
    body, bound = {"activityid": id, "subject": "theirs", **owner}, "emails/Microsoft.Dynamics.CRM."
    if way == "create":
        refusal(room.request("POST", "emails", body, client="user"))
    elif way == "create many":
        refusal(room.request("POST", f"{bound}CreateMultiple", {"Targets": [body]}, client="user"))
    elif way == "upsert":
        refusal(room.request("PATCH", f"emails({id})", body, client="user"))
        refusal(room.request("PATCH", f"emails({id})", body, client="user", If_None_Match="*"))
    elif way == "upsert many":
        refusal(room.request("POST", f"{bound}UpsertMultiple", {"Targets": [body]}, client="user"))
    else:
        assert 403 in room.change_set(("POST", "emails", {"subject": "mine"}), ("POST", "emails", body), client="user")[0]
    assert room.sql("SELECT count(*) FROM org_contoso.email WHERE activityid = %s", [id]) == [(0,)]
    # A user may create e-mails for themselves and for their teams. An administrator may create them for others.
    assert room.request("POST", "emails", {"subject": "mine", "ownerid@odata.bind": f"/systemusers({room.person})"}, client="user").status_code == 204
    unit = room.get("WhoAmI").json()["BusinessUnitId"]
    team = room.create("teams", {"name": f"team {uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})"})
    theirs = {"subject": "the team's", "ownerid@odata.bind": f"/teams({team})"}
    refusal(room.request("POST", "emails", theirs, client="user"))
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": room.person}]}
    assert room.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members).status_code == 204
    assert room.request("POST", "emails", theirs, client="user").status_code == 204
    assert room.request("POST", "emails", {"subject": "for the CEO", **owner}).status_code == 204
    assert room.request("POST", "mailboxes", {"name": "for the CEO", **owner}, client="mailadmin").status_code == 204


# Who may send as which sender


def test_a_user_sends_their_own_mail(room):
    id = room.drafted(room.person)
    assert room.send(id).status_code == 200
    (mail,) = [m for m in room.take(room.box) if m["EmailId"] == id]
    assert [p["Address"] for p in mail["From"]] == ["user@contoso.test"]
    assert room.status(id) == 7


def test_the_address_of_a_sender_is_its_own(room):
    party = {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({room.person})"}
    to = {"participationtypemask": 2, "addressused": "x@elsewhere.test"}
    two = [party, {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({room.ceo})"}, to]
    draft = room.drafted(room.person)
    for parties in ([{**party, "addressused": "ceo@contoso.test"}, to], two, two[::-1]):
        for method, path in (("POST", "emails"), ("PATCH", f"emails({draft})")):
            assert room.request(method, path, {"email_activity_parties": parties}, client="user").status_code == 400, parties
    # An e-mail can't be sent from an address without a user, or from an address that SQL wrote.
    nobody = room.create("emails", {"email_activity_parties": [{"participationtypemask": 1, "addressused": "ceo@contoso.test"}, to]}, client="user")
    assert room.send(nobody).status_code == 400
    assert room.send(draft).status_code == 200
    room.sql_as("fieldseal_service", "UPDATE activityparty SET addressused = 'ceo@contoso.test' WHERE activityid = %s AND participationtypemask = 1", [draft])
    assert draft not in [m["EmailId"] for m in room.take(room.box)] and room.status(draft) == 8
    # When the e-mail is sent again, it has the user's own address as its sender.
    assert room.send(draft).status_code == 200
    assert [m["From"][0]["Address"] for m in room.take(room.box) if m["EmailId"] == draft] == ["user@contoso.test"]


def failed(room, id, box, what):
    """Asserts that an e-mail failed when a router asked for it, and that the record, an event and an alert give the reason."""
    assert id not in [m["EmailId"] for m in room.take(box)]
    (reason,) = room.sql("SELECT failure FROM org_contoso.email WHERE activityid = %s", [id])[0]
    assert room.status(id) == 8 and what in reason
    assert room.events("e-mail not handed over", "refused", id) == 1
    assert any(id in alert["errordetails"] for alert in room.alerts(box, 26))


def test_sending_as_another_user(room):
    id = room.drafted(room.ceo)
    error = refusal(room.send(id))
    assert "issendasallowed" in error["message"] and room.status(id) == 1
    refusal(room.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": False}, client="user"))
    # While the CEO's settings permit that others send as the CEO, the e-mail is sent.
    assert room.request("PATCH", f"usersettingscollection({room.ceo})", {"issendasallowed": True}).status_code == 204
    kept = room.drafted(room.ceo)
    assert room.send(id).status_code == 200 and room.send(kept).status_code == 200
    assert id in [m["EmailId"] for m in room.take(room.ceo_box)]
    room.sql("UPDATE org_contoso.email SET statuscode = 6 WHERE activityid = %s", [kept])
    assert room.request("PATCH", f"usersettingscollection({room.ceo})", {"issendasallowed": False}).status_code == 204
    failed(room, kept, room.ceo_box, "issendasallowed")
    # Neither an Email Administrator nor a Basic User may set this permission for the CEO.
    refusal(room.request("PATCH", f"usersettingscollection({room.ceo})", {"issendasallowed": True}, client="mailadmin"))
    answer = room.request("PATCH", f"usersettingscollection({room.ceo})", {"issendasallowed": True}, client="user", If_Match="*")
    assert answer.status_code == 404
    # A System Administrator may send as any user.
    own = room.drafted(room.ceo, client="admin")
    assert room.send(own, client="admin").status_code == 200 and own in [m["EmailId"] for m in room.take(room.ceo_box)]


def test_a_status_that_sql_wrote_sends_nothing(room):
    id = room.drafted(room.ceo)
    room.sql_as("fieldseal_service", "UPDATE email SET statuscode = 6, sendermailboxid = %s WHERE activityid = %s", [room.ceo_box, id])
    failed(room, id, room.ceo_box, "issendasallowed")
    mine = room.drafted(room.person)
    room.sql_as("fieldseal_service", "UPDATE email SET statuscode = 6, sendermailboxid = %s, submitter = %s WHERE activityid = %s", [room.ceo_box, room.person, mine])
    failed(room, mine, room.ceo_box, "not its sender's")


def submitted(room, **more):
    """Sends an e-mail of the user, which then waits for a router. Returns its id."""
    id = room.drafted(room.person, email_activity_mime_attachment=[{"filename": "a.txt", "mimetype": "text/plain", "body": base64.b64encode(b"right").decode()}], **more)
    assert room.send(id).status_code == 200
    return id


def end(room):
    """Marks the e-mails of the user's mailbox as sent. Otherwise they would wait for the next lease in a later test."""
    room.sql("UPDATE org_contoso.email SET statuscode = 3 WHERE sendermailboxid = %s AND statuscode IN (6, 7)", [room.box])


CHANGES = [
    # SQL sets a draft to Pending Send, with a submitter who may send as its sender.
    "UPDATE email SET statuscode = 6, submitter = s.partyid FROM activityparty AS s WHERE s.activityid = email.activityid AND s.participationtypemask = 1 AND email.activityid = %(draft)s",
    "UPDATE email SET statuscode = 6, submitter_is_administrator = true WHERE activityid = %(draft)s",
    # SQL gives a draft the tag of an e-mail that was submitted.
    "UPDATE email SET statuscode = 6, submitter = o.submitter, submission_tag = o.submission_tag FROM email AS o WHERE o.activityid = %(mine)s AND email.activityid = %(draft)s",
    # SQL changes an e-mail that waits to be sent.
    "UPDATE email SET subject = 'pay now' WHERE activityid = %(mine)s",
    "UPDATE email SET description = 'pay now' WHERE activityid = %(mine)s",
    "UPDATE email SET mimetype = 'text/html' WHERE activityid = %(mine)s",
    "UPDATE email SET submitter_is_administrator = true WHERE activityid = %(mine)s",
    "UPDATE email SET submission_tag = NULL WHERE activityid = %(mine)s",
    "UPDATE activityparty SET addressused = 'thief@elsewhere.test' WHERE activityid = %(mine)s AND participationtypemask = 2",
    "UPDATE activityparty SET partyidname = 'CEO' WHERE activityid = %(mine)s AND participationtypemask = 1",
    "INSERT INTO activityparty (activitypartyid, activityid, participationtypemask, addressused) SELECT gen_random_uuid(), %(mine)s, 4, 'thief@elsewhere.test'",
    "DELETE FROM activitymimeattachment WHERE objectid = %(mine)s",
    "UPDATE activitymimeattachment SET body = 'd3Jvbmc=' WHERE objectid = %(mine)s",
    "UPDATE activitymimeattachment SET filename = 'a.exe' WHERE objectid = %(mine)s",
    "INSERT INTO activitymimeattachment (activitymimeattachmentid, objectid, objecttypecode, body, filename) SELECT gen_random_uuid(), %(mine)s, 'email', 'eA==', 'b'",
]


@pytest.mark.parametrize("role, change", [(["fieldseal_service", "fieldseal_owner", "postgres"][i % 3], change) for i, change in enumerate(CHANGES)])
def test_sql_has_no_e_mail_sent_and_changes_none_that_waits(room, role, change):
    mine, draft, other = submitted(room), room.drafted(room.person), submitted(room)
    room.sql_as(role, change, {"mine": mine, "draft": draft})
    taken = room.take(room.box)
    changed = draft if "draft" in change else mine
    # The router receives the unchanged e-mails, but not the one that SQL changed.
    assert {m["EmailId"] for m in taken} & {mine, draft, other} == {mine, other} - {changed}
    [(status, failure, attempts)] = room.sql("SELECT statuscode, failure, deliveryattempts FROM org_contoso.email WHERE activityid = %s", [changed])
    assert status == 8 and "Send it again" in failure and attempts == 0
    assert room.alerts(room.box, 26) and room.events("e-mail not handed over", "refused", changed) == 1
    # The user sends the e-mail again with its present content.
    assert room.send(changed).status_code == 200 and changed in [m["EmailId"] for m in room.take(room.box)]
    end(room)


@pytest.mark.parametrize("change", [
    "UPDATE email SET directioncode = false WHERE activityid = %(mine)s",
    "INSERT INTO activityparty (activitypartyid, activityid, participationtypemask, addressused) SELECT gen_random_uuid(), %(mine)s, 1, 'ceo@contoso.test'",
    "DELETE FROM activityparty WHERE activityid = %(mine)s AND participationtypemask = 1",
])
def test_what_sql_makes_no_e_mail_of_one_sender_is_not_handed_over(room, change):
    mine, other = submitted(room), submitted(room)
    room.sql_as("fieldseal_service", change, {"mine": mine})
    failed(room, mine, room.box, "not outgoing")
    assert room.status(other) == 7
    end(room)


MEANWHILE = [
    "UPDATE activityparty SET addressused = 'mallory@evil.test' WHERE activityid = %(mine)s AND participationtypemask = 2",
    "UPDATE activityparty SET addressused = 'ceo@contoso.test', partyidname = 'The CEO' WHERE activityid = %(mine)s AND participationtypemask = 1",
    "UPDATE activitymimeattachment SET filename = 'list.exe', body = 'RVZJTA==' WHERE objectid = %(mine)s",
    "UPDATE activitymimeattachment SET attachmentcontentinfo = 'other@evil.test' WHERE objectid = %(mine)s",
]


def until_contents_are_read(room):
    """Waits until a transaction that has locked the table of attachments, or asks for that lock, waits for a lock."""
    deadline = time.monotonic() + PATIENCE
    while room.sql(
            "SELECT count(*) FROM pg_stat_activity AS a JOIN pg_locks AS l USING (pid) "
            "WHERE a.wait_event_type = 'Lock' AND l.relation = 'org_contoso.activitymimeattachment'::regclass") == [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.02)


def taking(room, lock, changes, mine):
    """SQL makes changes while the service waits for a lock. Returns the e-mails that the router then receives, by their ids."""
    host, taken = room.lease(room.box), []
    with psycopg.connect(room.dev["postgres"]) as holder:
        holder.execute("SET search_path = org_contoso, public")
        holder.execute(lock)
        thread = threading.Thread(target=lambda: taken.append(room.take(room.box, host)))
        thread.start()
        until_contents_are_read(room)
        for change in changes:
            if lock.startswith("LOCK"):
                holder.execute(change, {"mine": mine})
            else:
                room.sql_as("fieldseal_service", change, {"mine": mine})
    thread.join()
    return {m["EmailId"]: m for m in taken[0]}


def unchanged(message):
    parties = [(p["Name"], p["Address"]) for p in message["From"] + message["To"]]
    files = [(a["FileName"], base64.b64decode(a["Body"]), a.get("ContentId")) for a in message["Attachments"]]
    return parties[-1][1] == "customer@elsewhere.test" and parties[0][1] == "user@contoso.test" and parties[0][0] != "The CEO" and files == [("a.txt", b"right", None)]


def test_sql_changes_no_e_mail_while_it_is_handed_over(room):
    """SQL can't change an e-mail between its verification and its release to the router.

    SQL adds a copy of a submitted e-mail. The service verifies the original and refuses the copy. To record the refusal, the service waits
    for a lock that the test holds. Meanwhile SQL changes the original, and the router still gets what was submitted."""
    for changes in ([], *([change] for change in MEANWHILE), MEANWHILE):
        mine = submitted(room)
        copy = room.sql("SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'org_contoso' AND table_name = 'email' AND column_name <> 'activityid' AND is_generated = 'NEVER'")
        names = ", ".join(f'"{n}"' for (n,) in copy)
        room.sql_as("fieldseal_service", f"INSERT INTO email (activityid, {names}) SELECT gen_random_uuid(), {names} FROM email WHERE activityid = %(mine)s", {"mine": mine})
        given = taking(room, "SELECT FROM config.attested_state FOR UPDATE", changes, mine)
        assert set(given) == {mine} and unchanged(given[mine]), (changes, given)
        end(room)


def test_sql_changes_no_attachment_between_two_reads(room):
    """The service reads the attachments after it has locked the e-mail's row. If they do not match the tag, the e-mail fails."""
    mine = submitted(room)
    given = taking(room, "LOCK TABLE activitymimeattachment IN ACCESS EXCLUSIVE MODE", [MEANWHILE[2]], mine)
    assert mine not in given and room.status(mine) == 8
    end(room)
    mine = submitted(room)
    given = taking(room, "LOCK TABLE activitymimeattachment IN ACCESS EXCLUSIVE MODE", [], mine)
    assert unchanged(given[mine])
    end(room)


def test_contents_of_every_kind_fit_the_tag_that_they_were_given(room):
    """PostgreSQL computes the digest when an e-mail is submitted, and the service computes it when a router takes the e-mail. Both must agree."""
    texts = ["", "quote \" and \\ and / back", "line\nend\r\n\ttab \b \f \x01 \x1f \x7f", "Ünïcödé \u2028 \U0001f600 \u202e", "x" * 200]
    for text in texts:
        mine = room.drafted(room.person, email_activity_mime_attachment=[
            {"filename": "a.txt", "mimetype": "text/plain", "body": base64.b64encode(text.encode()).decode()},
            {"filename": "b.txt", "mimetype": "text/plain", "body": ""}], description=text)
        room.sql("UPDATE org_contoso.activitymimeattachment SET attachmentcontentinfo = 'pic@x' WHERE objectid = %s AND filename = 'a.txt'", [mine])
        room.sql("UPDATE org_contoso.email SET subject = %s WHERE activityid = %s", [text[:150], mine])
        room.sql("UPDATE org_contoso.activityparty SET partyidname = %s WHERE activityid = %s AND participationtypemask = 2", [text[:150], mine])
        room.sql("UPDATE org_contoso.activitymimeattachment SET filename = %s WHERE objectid = %s AND filename = 'b.txt'", [text[:100], mine])
        assert room.send(mine).status_code == 200
        assert mine in [m["EmailId"] for m in room.take(room.box)], text
        end(room)
    room.sql("UPDATE org_contoso.email SET statuscode = 1, statecode = 0 WHERE activityid = %s", [mine])
    assert room.send(mine).status_code == 200
    room.sql_as("fieldseal_service", "UPDATE activitymimeattachment SET attachmentcontentinfo = 'y@x' WHERE attachmentcontentinfo = 'pic@x' AND objectid = %s", [mine])
    failed(room, mine, room.box, "as it was submitted")
    end(room)


def test_what_was_not_issued_is_not_sent_by_sql(room):
    """SQL sets the status of an e-mail that was recorded as sent by other means. It has no tag, so it is not sent."""
    id = room.drafted(room.person)
    assert room.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": False, "TrackingToken": ""}, client="user").status_code == 200
    room.sql_as("fieldseal_service", "UPDATE email SET statuscode = 6 WHERE activityid = %s", [id])
    failed(room, id, room.box, "as it was submitted")


def test_what_the_router_and_the_service_write_keeps_an_e_mail_submitted(room):
    """The control: a router that reports a temporary failure receives the e-mail again at its next turn."""
    id = submitted(room, description="x" * 100_000)
    host = room.lease(room.box)
    assert id in [m["EmailId"] for m in room.take(room.box, host)]
    report = room.call("ReportEmails", MailboxId=room.box, HostId=host, Reports=[{"EmailId": id, "Outcome": "Temporary", "Reason": "later", "Code": 20}])
    assert report.status_code in (200, 204), report.text
    room.sql("UPDATE org_contoso.email SET postponeemailprocessinguntil = NULL WHERE activityid = %s", [id])
    assert id in [m["EmailId"] for m in room.take(room.box)]
    # The router has not reported the e-mail. At the next lease, it waits to be sent again.
    assert id in [m["EmailId"] for m in room.take(room.box)]
    end(room)


def test_sending_as_a_queue(room):
    queue, box = room.queue_box(room.profile())
    # A user who may not read a queue can't find out that it exists, and can't name it as a sender or recipient.
    there, nowhere = room.draft(queue), room.request("POST", "emails", {"email_activity_parties": [{"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({uuid.uuid4()})"}]}, client="user")
    assert there.status_code == nowhere.status_code == 404 and there.json()["error"]["message"] == nowhere.json()["error"]["message"]
    draft = room.drafted(room.person)
    party = {"email_activity_parties": [{"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue})"}]}
    assert room.request("PATCH", f"emails({draft})", party, client="user").status_code == 404
    # An administrator wrote an e-mail from the queue and shared it with the user. The user may not send it.
    theirs = room.drafted(queue, client="admin")
    share(room, "emails", theirs, room.person, "ReadAccess,WriteAccess")
    refusal(room.send(theirs))
    # A member of the team that owns the queue may send from it, until they leave the team.
    unit = room.get("WhoAmI").json()["BusinessUnitId"]
    team = room.create("teams", {"name": f"team {uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})"})
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": room.person}]}
    assert room.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members).status_code == 204
    assert room.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/teams({team})"}).status_code == 204
    sent, kept = room.drafted(queue), room.drafted(queue)
    assert room.send(sent).status_code == 200
    assert sent in [m["EmailId"] for m in room.take(box)]
    assert room.send(kept).status_code == 200
    assert room.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.RemoveMembersTeam", members).status_code == 204
    failed(room, kept, box, "queue's owner")
    # The owner of a queue may send from it.
    assert room.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/systemusers({room.person})"}).status_code == 204
    mine = room.drafted(queue)
    assert room.send(mine).status_code == 200 and mine in [m["EmailId"] for m in room.take(box)]


@pytest.mark.parametrize("kind, off, on, what", [("systemuser", {"isdisabled": True}, {"isdisabled": False}, "disabled user"), ("queue", {"statecode": 1, "statuscode": 2}, {"statecode": 0, "statuscode": 1}, "inactive queue")])
def test_nothing_is_sent_as_who_is_not_active(room, kind, off, on, what):
    if kind == "queue":
        sender, box = room.queue_box(room.profile())
    else:
        unit = room.get("WhoAmI").json()["BusinessUnitId"]
        name = f"{uuid.uuid4().hex}@contoso.test"
        sender = room.create("systemusers", {"fullname": "Leaver", "domainname": name, "businessunitid@odata.bind": f"/businessunits({unit})"})
        box = room.user_box(sender, room.profile(), name)
    waiting, draft, elsewhere = (room.drafted(sender, client="admin") for _ in range(3))
    assert room.send(waiting, client="admin").status_code == 200
    assert room.request("PATCH", f"{kind}s({sender})", off).status_code == 204
    assert what in refusal(room.send(draft, client="admin"), 400)["message"]
    failed(room, waiting, box, what)
    assert what in refusal(room.send(waiting, client="admin"), 400)["message"]
    # An e-mail that was sent by other means can be recorded although its sender is not active.
    assert room.request("POST", f"emails({elsewhere})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": False}).status_code == 200
    assert room.request("PATCH", f"{kind}s({sender})", on).status_code == 204
    assert room.send(waiting, client="admin").status_code == 200
    assert waiting in [m["EmailId"] for m in room.take(box)]


def test_a_tracking_token_is_one_that_an_answer_finds(room):
    def send(id, **token):
        return room.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, **token}, client="user")

    def again(id):
        room.sql("UPDATE org_contoso.email SET statuscode = 8 WHERE activityid = %s", [id])

    id = room.drafted(room.person, subject="Offer")
    for token in ("CRM:123", "crm:12345", "CRM:" + "1" * 21, "Ticket-5", " CRM:12345", "CRM:12345 ", "CRM:1234x", "x" * 51):
        assert "TrackingToken" in refusal(send(id, TrackingToken=token), 400)["message"], token
    # A new token replaces the former one, and an empty token removes it. A request without a token keeps it.
    for token, subject in (({"TrackingToken": "CRM:1234"}, "Offer CRM:1234"), ({}, "Offer CRM:1234"), ({"TrackingToken": "CRM:1234"}, "Offer CRM:1234"), ({"TrackingToken": "CRM:" + "9" * 20}, "Offer CRM:" + "9" * 20),
                           ({"TrackingToken": ""}, "Offer"), ({"TrackingToken": "CRM:5678"}, "Offer CRM:5678")):
        answer = send(id, **token)
        assert answer.status_code == 200 and answer.json()["Subject"] == subject, (token, answer.text)
        assert room.sql("SELECT subject, trackingtoken FROM org_contoso.email WHERE activityid = %s", [id]) == [(subject, subject.removeprefix("Offer").strip() or None)]
        again(id)


def sent(room, id, **token):
    answer = room.request("POST", f"emails({id})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True, **token}, client="user")
    assert answer.status_code == 200, answer.text
    return answer.json()["Subject"], room.get(f"emails({id})?$select=trackingtoken").json()["trackingtoken"]


def test_the_token_that_an_email_keeps_stands_in_its_subject(room):
    """An e-mail is sent with its token in the subject, even if the subject was changed, or if a user wrote the token."""
    id = room.drafted(room.person, subject="Offer")
    subject, token = sent(room, id)
    assert subject == f"Offer {token}"
    room.sql("UPDATE org_contoso.email SET statuscode = 8 WHERE activityid = %s", [id])
    assert room.request("PATCH", f"emails({id})", {"subject": "Renamed"}).status_code == 204
    assert sent(room, id) == (f"Renamed {token}", token)
    for written in ("CRM:0055555", "foo"):
        subject, token = sent(room, room.drafted(room.person, subject="Offer", trackingtoken=written))
        assert subject == f"Offer {token}" and (token == written) == written.startswith("CRM:")
    assert sent(room, room.drafted(room.person, subject=None, trackingtoken="CRM:0055556"))[0] == "CRM:0055556"


def test_a_reply_has_one_token_and_its_answer_is_tied_to_it(room):
    _, token = sent(room, room.drafted(room.person, subject="Problem"))
    reply = room.drafted(room.person, subject=f"Re: Problem {token} CRM:0001111")
    subject, newest = sent(room, reply)
    assert subject == f"Re: Problem {newest}" and newest != token
    # The customer's earlier answers have the token too, and are newer. An answer is tied to the e-mail that was sent.
    for words in (f"AW: {subject}", f"AW: AW: {subject}", f"{token} and {subject}"):
        body = {"MailboxId": room.box, "MessageId": f"<{uuid.uuid4()}@elsewhere.test>", "From": "customer@elsewhere.test", "To": "user@contoso.test", "Subject": words, "Body": ""}
        answer = room.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", body)
        assert answer.status_code == 200, answer.text
        assert room.get(f"emails({answer.json()['EmailId']})?$select=_parentactivityid_value").json()["_parentactivityid_value"] == reply, words


def test_a_subject_without_room_for_the_token_is_refused(room):
    id = room.drafted(room.person, subject="x" * 799)
    path = f"emails({id})/Microsoft.Dynamics.CRM.SendEmail"
    answer = room.request("POST", path, {"IssueSend": True, "TrackingToken": "CRM:1234"}, client="user")
    assert "takes 791 characters" in refusal(answer, 400)["message"] and answer.json()["error"]["code"] == "0x80044331"
    assert room.request("POST", path, {"IssueSend": True, "TrackingToken": ""}, client="user").json()["Subject"] == "x" * 799
    id = room.drafted(room.person, subject="x" * 791)
    assert sent(room, id, TrackingToken="CRM:1234")[0] == "x" * 791 + " CRM:1234"


def test_an_address_that_changed_since(room):
    queue, box = room.queue_box(room.profile())
    id = room.drafted(queue, client="admin")
    assert room.send(id, client="admin").status_code == 200
    assert room.request("PATCH", f"queues({queue})", {"emailaddress": "another@contoso.test"}).status_code == 204
    failed(room, id, box, "sender's address")
    # The addresses of the mailbox and of the queue may differ, but the mailbox must have one.
    assert room.request("PATCH", f"mailboxes({box})", {"emailaddress": None}).status_code == 204
    assert "emailaddress" in room.send(id, client="admin").text
    assert room.request("PATCH", f"mailboxes({box})", {"emailaddress": "box@contoso.test"}).status_code == 204
    assert room.send(id, client="admin").status_code == 200
    (mail,) = room.take(box)
    assert mail["From"][0]["Address"] == "another@contoso.test"


def test_what_was_submitted_goes_out_as_it_is(room):
    """After the sender has sent an e-mail, users who may write it can't change it. The sender can cancel it."""
    body = {"email_activity_mime_attachment": [{"filename": "a.txt", "body": base64.b64encode(b"a").decode()}]}
    id = room.drafted(room.person, **body)
    (attachment,) = room.get(f"activitymimeattachments?$filter=_objectid_value eq {id}", client="user").json()["value"]
    path = f"activitymimeattachments({attachment['activitymimeattachmentid']})"
    share(room, "emails", id, room.users["other"], "ReadAccess,WriteAccess", client="user")
    assert room.request("PATCH", f"emails({id})", {"subject": "edited"}, client="other").status_code == 204
    refusal(room.send(id, client="other"))
    assert room.send(id).status_code == 200
    for client in ("other", "user"):
        for change in ({"subject": "pay now"}, {"description": "x"}, {"delayedemailsendtime": "2026-01-01T00:00:00Z"}, {"statuscode": 1}):
            refusal(room.request("PATCH", f"emails({id})", change, client=client), 400, 403)
        refusal(room.request("PATCH", f"emails({id})", {"email_activity_parties": []}, client=client), 400, 403)
        refusal(room.request("PUT", f"emails({id})/subject", {"value": "pay now"}, client=client), 400)
        refusal(room.request("PATCH", path, {"body": base64.b64encode(b"b").decode()}, client=client, If_Match="*"), 400)
        refusal(room.request("DELETE", path, client=client), *((400,) if client == "user" else (403, 404)))
    assert room.request("PATCH", f"emails({id})", {"statuscode": 5}, client="user").status_code == 204
    assert id not in [m["EmailId"] for m in room.take(room.box)]
    assert room.request("PATCH", f"emails({id})", {"statuscode": 1, "subject": "changed"}, client="user").status_code == 204
    assert room.request("PATCH", path, {"filename": "b.txt"}, client="user", If_Match="*").status_code == 204
    assert room.send(id).status_code == 200
    assert [m["Subject"] for m in room.take(room.box) if m["EmailId"] == id] == ["changed"]


# Approval, enabling, and the rights of routers


ADMINISTRATORS = {
    "emailrouteraccessapproval": 1, "isemailaddressapprovedbyo365admin": True, "testemailconfigurationscheduled": True, "enabledforincomingemail": True,
    "enabledforoutgoingemail": True, "enabledforact": True, "incomingemailstatus": 1, "outgoingemailstatus": 1, "actstatus": 1, "emailaddress": "ceo@contoso.test",
    "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2, "statecode": 0, "statuscode": 1, "ewsurl": "https://evil.example", "processanddeleteemails": True,
    "processemailreceivedafter": "2020-01-01T00:00:00Z", "postponemailboxprocessinguntil": "2020-01-01T00:00:00Z", "testmailboxaccesscompletedon": "2020-01-01T00:00:00Z",
    "undeliverablefolder": "x", "lastsyncerror": "x", "testemailconfigurationretrycount": 0,
}


@pytest.mark.parametrize("attribute, value", ADMINISTRATORS.items())
def test_a_user_does_not_approve_or_enable_a_mailbox(room, attribute, value):
    path = f"mailboxes({room.box})"
    refusal(room.request("PATCH", path, {attribute: value}, client="user", If_Match="*"))
    refusal(room.request("PUT", f"{path}/{attribute}", {"value": value}, client="user"))
    refusal(room.request("PATCH", path, {"username": "x", attribute: value}, client="user"))
    refusal(room.request("POST", "mailboxes/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [{"mailboxid": room.box, attribute: value}]}, client="user"))
    refusal(room.request("POST", "mailboxes/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": [{"mailboxid": room.box, attribute: value}]}, client="user"))
    assert 403 in room.change_set(("PATCH", path, {attribute: value}), client="user")[0]
    # A router may write records only through its own messages, and has no right to update a mailbox.
    refusal(room.request("PATCH", path, {attribute: value}, client="router", If_Match="*"))


def test_what_of_a_mailbox_is_its_users(room):
    body = {"name": "mine", "username": "user", "password": "my own", "allowemailconnectortousecredentials": True}
    assert room.request("PATCH", f"mailboxes({room.box})", body, client="user").status_code == 204
    assert room.released(room.box)[1:] == ("user", "my own")
    assert room.request("PATCH", f"mailboxes({room.box})", {"emailrouteraccessapproval": 1, "enabledforact": False}, client="mailadmin").status_code == 204


def test_a_router_changes_nothing_but_by_its_messages(room):
    profile = room.profile()
    for path, body in [(f"mailboxes({room.box})", {"name": "x"}), (f"emailserverprofiles({profile})", {"description": "x"}), (f"emailserverprofiles({profile})", {"incomingserverlocation": "x"}),
                       (f"queues({room.queue_box()[0]})", {"name": "x"}), (f"systemusers({room.ceo})", {"fullname": "x"}), (f"usersettingscollection({room.ceo})", {"issendasallowed": True})]:
        refusal(room.request("PATCH", path, body, client="router", If_Match="*"))
    refusal(room.request("POST", "emails", {"subject": "x"}, client="router"))
    refusal(room.request("POST", "tracelogs", {"text": "x"}, client="router"))
    host = room.lease(room.box)
    assert room.call("ReportMailbox", MailboxId=room.box, HostId=host, IncomingIsWell=True).status_code == 204


# Sharing and lookups


def share(room, collection, id, user, mask, client="admin", name="GrantAccess", expected=204):
    body = {"Target": {"@odata.id": f"{collection}({id})"}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({user})"}, "AccessMask": mask}}
    response = room.request("POST", name, body, client=client)
    assert response.status_code == expected, response.text
    return response


def test_an_e_mail_is_sent_by_those_who_may_write_it(room):
    """The user is the e-mail's sender, but not its owner. The user may send it once it is shared with the right to write."""
    id = room.drafted(room.person, client="admin")
    assert room.send(id).status_code == 404 and room.status(id) == 1
    share(room, "emails", id, room.person, "ReadAccess")
    refusal(room.send(id))
    assert room.status(id) == 1
    share(room, "emails", id, room.person, "ReadAccess,WriteAccess")
    assert room.send(id).status_code == 200
    assert id in [m["EmailId"] for m in room.take(room.box)]


def test_sharing_gives_no_right_that_the_sharer_lacks(room):
    id = room.drafted(room.person)
    me, third = room.users["other"], room.users["mailadmin"]
    # For a user who may share an e-mail, but not read it, the e-mail does not exist.
    share(room, "emails", id, me, "ShareAccess", client="user")
    assert refusal(share(room, "emails", id, third, "ShareAccess", client="other", expected=404), 404)["code"] == "0x80040217"
    assert room.get(f"emails({id})", client="other").status_code == 404
    share(room, "emails", id, me, "ReadAccess", client="user")
    for name in ("GrantAccess", "ModifyAccess"):
        for user in (me, third):
            for mask in ("WriteAccess", "DeleteAccess", "AssignAccess", "ShareAccess,WriteAccess", "AppendAccess", "CreateAccess"):
                error = refusal(share(room, "emails", id, user, mask, client="other", name=name, expected=403))
                assert error["code"] == "0x80040220"
    # A user can share only rights that they have through a share or as the owner.
    share(room, "emails", id, third, "ReadAccess", client="other")
    share(room, "emails", id, third, "ReadAccess,WriteAccess", client="other", expected=403)
    share(room, "emails", id, me, "WriteAccess,DeleteAccess,AssignAccess", client="user")
    share(room, "emails", id, third, "ReadAccess,WriteAccess", client="other", name="ModifyAccess")
    # A user without the right to share can share nothing. An Email Administrator has this right to mailboxes by role.
    share(room, "emails", id, me, "ReadAccess,WriteAccess", client="user", name="ModifyAccess")
    share(room, "emails", id, third, "ReadAccess", client="other", expected=403)
    share(room, "mailboxes", room.box, me, "ReadAccess,WriteAccess", client="mailadmin")


def test_a_share_of_one_record_is_none_of_another_with_its_id(room):
    """Clients may choose ids. A user creates an e-mail with the id of another user's mailbox. Sharing the e-mail gives no right to the mailbox."""
    _, box = room.queue_box()
    assert room.request("POST", "emails", {"activityid": box, "subject": "the same id"}, client="user").status_code == 204
    share(room, "emails", box, room.person, "ReadAccess,WriteAccess,DeleteAccess,ShareAccess,AssignAccess", client="user")
    assert room.get(f"mailboxes({box})", client="user").status_code == 404
    refusal(room.request("PATCH", f"mailboxes({box})", {"password": "mine"}, client="user", If_Match="*"), 404)
    # The share of a record is deleted with the record. Deleting the e-mail leaves the mailbox's share.
    share(room, "mailboxes", box, room.person, "ReadAccess")
    assert room.get(f"mailboxes({box})", client="user").status_code == 200
    assert room.request("DELETE", f"emails({box})", client="user").status_code == 204
    assert room.get(f"mailboxes({box})", client="user").status_code == 200
    assert room.sql("SELECT entity, rights FROM org_contoso.principal_access WHERE record_id = %s", [box]) == [("mailbox", 1)]


@pytest.mark.parametrize("way", ["patch", "with more", "reference", "update many", "upsert many", "change set"])
def test_giving_a_record_away_is_a_right_of_its_own(room, way):
    id = room.drafted(room.person)
    me = room.users["other"]
    share(room, "emails", id, me, "ReadAccess,WriteAccess", client="user")
    owner, path, bound = {"ownerid@odata.bind": f"/systemusers({me})"}, f"emails({id})", "emails/Microsoft.Dynamics.CRM."

    def give(client="other"):
        if way == "patch":
            return room.request("PATCH", path, owner, client=client).status_code
        if way == "with more":
            return room.request("PATCH", path, {"subject": "mine", **owner}, client=client).status_code
        if way == "reference":
            return room.request("PUT", f"{path}/ownerid/$ref", {"@odata.id": f"systemusers({me})"}, client=client).status_code
        if way == "update many":
            return room.request("POST", f"{bound}UpdateMultiple", {"Targets": [{"activityid": id, **owner}]}, client=client).status_code
        if way == "upsert many":
            return room.request("POST", f"{bound}UpsertMultiple", {"Targets": [{"activityid": id, **owner}]}, client=client).status_code
        return room.change_set(("PATCH", path, {"subject": "x"}), ("PATCH", path, owner), client=client)[0][-1]

    assert give() == 403
    assert room.sql("SELECT ownerid::text, owninguser::text FROM org_contoso.email WHERE activityid = %s", [id]) == [(room.person, room.person)]
    share(room, "emails", id, me, "AssignAccess", client="user")
    assert give() in (200, 204)
    assert room.sql("SELECT ownerid::text FROM org_contoso.email WHERE activityid = %s", [id]) == [(me,)]


def test_a_lookup_tells_no_more_than_a_read(room):
    """Binding a lookup to a record that the caller may not read gives the error for a record that does not exist."""
    theirs = room.create("emails", {"subject": "the CEO's", "ownerid@odata.bind": f"/systemusers({room.ceo})"})
    mine = room.drafted(room.person)
    for id in (theirs, str(uuid.uuid4())):
        error = refusal(room.request("POST", "emails", {"subject": "x", "parentactivityid@odata.bind": f"/emails({id})"}, client="user"), 404)
        assert error["message"] == "parentactivityid refers to an email that does not exist."
    assert room.request("POST", "emails", {"subject": "x", "parentactivityid@odata.bind": f"/emails({mine})"}, client="user").status_code == 204
    # A user can't find out which profiles exist by binding their own mailbox to ids and names of profiles.
    profile = room.profile(name="guess me")
    answers = {room.request("PATCH", f"mailboxes({room.box})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({key})"}, client="user").text
               for key in (profile, uuid.uuid4(), "name='guess me'", "name='not there'")}
    assert len(answers) == 1
    assert refusal(room.request("PUT", f"mailboxes({room.box})/emailserverprofile/$ref", {"@odata.id": f"emailserverprofiles({profile})"}, client="user"))
