"""Input that the service refuses with a specific error. Each e-mail, record or command has one such input, and is accepted without it."""

import base64
import json
import uuid

import mailroom
import pytest
from mailroom import refusal
from place import PASSWORD

room = mailroom.room


# E-mails


def sender(room):
    return {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({room.person})"}


TO = {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}


def email(parties, **more):
    return {"subject": f"mail {uuid.uuid4()}", "email_activity_parties": parties, **more}


@pytest.mark.parametrize("wrong", [
    "no list", {"addressused": "x@elsewhere.test"}, {"participationtypemask": 5, "addressused": "x@elsewhere.test"}, {"participationtypemask": 2},
    {"participationtypemask": 2, "addressused": None}, {"participationtypemask": 2, "addressused": "x@elsewhere.test, y@elsewhere.test"},
    {"participationtypemask": 2, "addressused": "x@elsewhere.test\r\nBcc: y@elsewhere.test"},
    {"participationtypemask": 2, "partyid_mailbox@odata.bind": "/mailboxes({box})"}, {"participationtypemask": 2, "partyid_team@odata.bind": "/teams({box})"},
    {"participationtypemask": 1, "addressused": "ceo@contoso.test"}], ids=lambda wrong: json.dumps(wrong)[:60])
def test_a_party_that_is_none(room, wrong):
    if isinstance(wrong, dict):
        wrong = {name: value.format(box=room.box) if isinstance(value, str) else value for name, value in wrong.items()}
    refusal(room.request("POST", "emails", email(wrong if isinstance(wrong, str) else [sender(room), TO, wrong]), client="user"), 400)
    assert room.request("POST", "emails", email([sender(room), TO]), client="user").status_code == 204


def test_a_list_of_parties_has_an_end(room):
    many = [{"participationtypemask": 4, "addressused": f"{number}@x.test"} for number in range(10_000)]
    refusal(room.request("POST", "emails", email([sender(room), *many]), client="user"), 400)
    assert room.request("POST", "emails", email([sender(room), *many[:20]]), client="user").status_code == 204


def test_an_attachment_is_base64_and_is_created_with_its_e_mail(room):
    refusal(room.request("POST", "emails", email([TO], email_activity_mime_attachment=[{"filename": "x", "body": "no base64!"}]), client="user"), 400)
    attached = {"email_activity_mime_attachment": [{"filename": "x", "body": base64.b64encode(b"x").decode()}]}
    created = room.request("POST", "emails", email([TO], **attached), client="user")
    assert created.status_code == 204
    id = created.headers["OData-EntityId"][-37:-1]
    refusal(room.request("PATCH", f"emails({id})", attached, client="user"), 400)
    assert room.request("PATCH", f"emails({id})", {"subject": "another"}, client="user").status_code == 204


def sending(room, body, then=None):
    """Creates an e-mail, and returns the response to sending it. `then` is an SQL text that changes the e-mail before."""
    created = room.request("POST", "emails", body)
    assert created.status_code == 204, created.text
    id = created.headers["OData-EntityId"][-37:-1]
    if then:
        room.sql(then, {"email": id, "box": room.box})
    return room.send(id, client="admin")


def test_what_can_not_be_sent(room):
    nameless = room.create("systemusers", {"fullname": "Nameless", "domainname": f"nameless {uuid.uuid4()}"})
    homeless = room.create("systemusers", {"fullname": "Homeless", "domainname": f"homeless {uuid.uuid4()}", "internalemailaddress": "homeless@contoso.test"})
    room.sql("UPDATE org_contoso.mailbox SET statecode = 1 WHERE regardingobjectid = %s", [homeless])

    def by(user):
        return {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({user})"}

    unread = {"participationtypemask": 3, "partyid_systemuser@odata.bind": f"/systemusers({nameless})"}
    assert "no mailbox" in refusal(sending(room, email([by(homeless), TO])), 400)["message"]
    for body, then in [
        (email([TO]), None), (email([sender(room)]), None), (email([sender(room), TO, unread]), None), (email([by(nameless), TO]), None),
        (email([sender(room), TO], directioncode=False), None), (email([sender(room), TO]), "UPDATE org_contoso.email SET directioncode = NULL WHERE activityid = %(email)s"),
        (email([sender(room), TO]), "UPDATE org_contoso.email SET statuscode = 7 WHERE activityid = %(email)s"),
        (email([sender(room), TO]), "INSERT INTO org_contoso.activityparty (activitypartyid, activityid, participationtypemask, partyid, partyobjecttypecode, addressused) "
         "SELECT gen_random_uuid(), activityid, 1, partyid, partyobjecttypecode, addressused FROM org_contoso.activityparty WHERE activityid = %(email)s AND participationtypemask = 1"),
    ]:
        refusal(sending(room, body, then), 400)
    # The mailbox's address is missing, or is not exactly one address.
    for address in (None, "no address", "a@contoso.test, b@contoso.test"):
        room.sql("UPDATE org_contoso.mailbox SET emailaddress = %s WHERE mailboxid = %s", [address, room.box])
        refusal(sending(room, email([sender(room), TO])), 400)
    room.sql("UPDATE org_contoso.mailbox SET emailaddress = 'user@contoso.test' WHERE mailboxid = %s", [room.box])
    for address in ("no address", "user@contoso.test\r\nBcc: x@elsewhere.test"):
        room.sql("UPDATE org_contoso.systemuser SET internalemailaddress = %s WHERE systemuserid = %s", [address, room.person])
        refusal(sending(room, email([sender(room), TO])), 400)
    room.sql("UPDATE org_contoso.systemuser SET internalemailaddress = 'user@contoso.test' WHERE systemuserid = %s", [room.person])
    assert sending(room, email([sender(room), TO])).status_code == 200


# Other records


def test_values_that_an_attribute_does_not_take(room):
    id = room.profile()
    for body in ({"emailserverprofileid": str(uuid.uuid4()), "name": "x"}, {"servertype": 77}, {"servertype": 4, "incomingportnumber": 70_000},
                 {"processemailsreceivedafter": "1752-12-31T23:59:59Z"}, {"name": "x" * 1_000}, {"name": "x\0y"}, {"incomingportnumber": "993"}):
        refusal(room.request("PATCH", f"emailserverprofiles({id})", body), 400)
    for body in ({"emailserverprofileid": id, "name": "x"}, {"incomingportnumber": 994}, {"processemailsreceivedafter": "1753-01-01T00:00:00Z"}):
        assert room.request("PATCH", f"emailserverprofiles({id})", body).status_code == 204, body


@pytest.mark.parametrize("location", ["imap.good.example/path", "imap.good.example@imap.evil.example", "imap good", "imap.good.example\n", "imap.göod.example"])
def test_a_server_s_name_is_nothing_but_a_name(room, location):
    """The router puts the server's name into a URL. A character that no host name has, such as / or @, could lead to another server."""
    profile = room.profile()
    for attribute in ("incomingserverlocation", "outgoingserverlocation"):
        refusal(room.request("PATCH", f"emailserverprofiles({profile})", {attribute: location}), 400)
    _, box = room.queue_box(profile)
    assert room.release(box).status_code == 200
    # SQL writes such a name. The password is not released.
    room.sql("UPDATE org_contoso.emailserverprofile SET incomingserverlocation = %s WHERE emailserverprofileid = %s", [location, profile])
    refusal(room.release(box), 400, 403, 404, 409, 412)


def test_only_administrators_of_the_system_change_teams_and_act_as_routers(room):
    team = room.create("teams", {"name": f"team {uuid.uuid4()}"})
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": room.person}]}
    for client in ("user", "mailadmin", "router"):
        refusal(room.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members, client=client))
    assert room.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members).status_code == 204
    _, box = room.queue_box(room.profile())
    host = room.lease(box)
    for client in ("user", "mailadmin", "admin"):
        for name, body in (("ReleaseCredential", {"MailboxId": box, "Direction": "Incoming"}), ("TakePendingEmails", {"MailboxId": box, "Limit": 5}),
                           ("ReportMailbox", {"MailboxId": box, "Interval": 60})):
            refusal(room.request("POST", f"fieldseal.{name}", {"HostId": host, **body}, client=client))
    assert room.release(box, host=host).status_code == 200


# Commands


ROLE, CLIENT = ["--role", "Basic User"], ["--client-id", "x"]


@pytest.mark.parametrize("arguments, typed, why", [
    (["user", "add", "router", "--role", "Email Router"], PASSWORD, "Email Router"), (["user", "add", "n" * 101, *ROLE], PASSWORD, "1 to 100 characters"),
    (["user", "add", "", *ROLE], PASSWORD, "1 to 100 characters"), (["user", "add", "short", *ROLE], "x" * 9, "at least 10 characters"),
    (["user", "add", "long", *ROLE], "x" * 1_001, "at most 1,000 bytes"), (["client", "add", "", *ROLE], "", "1 to 100 characters"),
    (["client", "add", "n" * 101, *ROLE], "", "1 to 100 characters"),
    (["issuer", "add", "Mail", "--issuer", "https://mail.example", *CLIENT, "--claim", "email"], "secret", "a claim of sub"),
    (["issuer", "add", "Query", "--issuer", "https://query.example/?x", *CLIENT], "secret", "https URL without query"),
    (["issuer", "add", "Plain", "--issuer", "http://plain.example", *CLIENT], "secret", "https URL"),
], ids=lambda value: " ".join(value)[:40] if isinstance(value, list) else "")
def test_a_command_that_would_add_what_is_none(place, arguments, typed, why):
    before = place.sql("SELECT (SELECT count(*) FROM config.console_user), (SELECT count(*) FROM config.api_client), (SELECT count(*) FROM config.oidc_issuer)")
    answer = place.run(*arguments, "--org", "contoso", stdin=f"{typed}\n", check=False)
    assert answer.returncode in (1, 64) and why in answer.stderr, answer
    assert place.sql("SELECT (SELECT count(*) FROM config.console_user), (SELECT count(*) FROM config.api_client), (SELECT count(*) FROM config.oidc_issuer)") == before


def test_what_commands_do_add(place):
    place.run("user", "add", "n" * 100, "--role", "Basic User", "--org", "contoso", stdin="xq7-Kolibri\n")
    place.run("client", "add", "n" * 100, "--role", "Basic User", "--org", "contoso")
    place.run("issuer", "add", "Good", "--issuer", "https://good.example", "--client-id", "x", "--claim", "oid", "--org", "contoso", stdin="secret\n")
    place.run("issuer", "link", "Good", "ada", "--user", "n" * 100, "--org", "contoso")
    place.run("issuer", "link", "Good", "bob", "--client", "n" * 100, "--org", "contoso")
    for who, why in (([], "to a person or to a client"), (["--user", "n" * 100, "--client", "n" * 100], "to a person or to a client"),
                     (["--user", "nobody"], "nobody"), (["--client", "nobody"], "nobody")):
        answer = place.run("issuer", "link", "Good", "eve", *who, "--org", "contoso", check=False)
        assert answer.returncode in (1, 64) and why in answer.stderr, answer
    assert place.sql("SELECT count(*) FROM config.oidc_link") == [(2,)]


def test_an_id_goes_before_a_name(place):
    first = place.add_client("first")
    second = place.add_client(first["clientId"])
    place.run("client", "disable", first["clientId"], "--org", "contoso")
    assert place.token(first).status_code == 401 and place.token(second).status_code == 200
    place.run("client", "disable", second["clientId"], "--org", "contoso")
    assert place.token(second).status_code == 401
