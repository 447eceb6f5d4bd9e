"""Where a credential may be sent: only a System Administrator can change the server of a stored password, and SQL can't."""

import concurrent.futures
import pathlib
import threading
import uuid

import psycopg
import pytest
from cluster import Cluster
from mailroom import EVIL, GOOD, Mailroom, refusal
from place import SQL_ROLES
from waiting import until


@pytest.fixture(scope="module")
def room():
    with Mailroom.made() as room:
        yield room


@pytest.fixture(scope="module")
def victim(room):
    """A mailbox with a password of its own, which a router may receive: (profile, queue, mailbox)."""
    profile = room.profile()
    return profile, *room.queue_box(profile)


MOVES = {
    "incomingserverlocation": EVIL, "outgoingserverlocation": EVIL, "defaultserverlocation": EVIL, "incomingportnumber": 9930,
    "outgoingportnumber": 4650, "incomingusessl": False, "outgoingusessl": False, "incomingauthenticationprotocol": 4,
    "outgoingauthenticationprotocol": 4, "incomingcredentialretrieval": 1, "outgoingcredentialretrieval": 1, "servertype": 1,
    "exchangeonlinetenantid": "another", "usesamesettingsforoutgoingconnections": False, "usedefaulttenantid": False, "useautodiscover": True,
    "incominguseimpersonation": True, "outgoinguseimpersonation": True, "outgoingautograntdelegateaccess": True,
}


@pytest.mark.parametrize("attribute, value", MOVES.items())
def test_each_setting_that_decides_where_a_password_goes(room, victim, attribute, value):
    profile, _, box = victim
    error = refusal(room.request("PATCH", f"emailserverprofiles({profile})", {attribute: value}, client="mailadmin"))
    assert error["code"] == "0x80040220" and box in error["message"] and "System Administrator" in error["message"]
    assert room.events("mail server changed", "refused", profile) > 0


@pytest.mark.parametrize("way", ["patch", "put", "delete", "update many", "upsert many", "upsert by name", "change set", "moved and back"])
def test_each_way_to_write(room, victim, way):
    profile, _, box = victim
    path, body = f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}

    def post(name, *targets):
        return room.request("POST", f"emailserverprofiles/Microsoft.Dynamics.CRM.{name}", {"Targets": list(targets)}, client="mailadmin")

    if way == "patch":
        refusal(room.request("PATCH", path, body, client="mailadmin"))
    elif way == "put":
        refusal(room.request("PUT", f"{path}/incomingserverlocation", {"value": EVIL}, client="mailadmin"))
    elif way == "delete":
        refusal(room.request("DELETE", f"{path}/incomingserverlocation", client="mailadmin"))
    elif way == "update many":
        other = room.profile("mailadmin")
        refusal(post("UpdateMultiple", {"emailserverprofileid": other, **body}, {"emailserverprofileid": profile, **body}))
        assert room.get(f"emailserverprofiles({other})").json()["incomingserverlocation"] == GOOD
    elif way == "upsert many":
        refusal(post("UpsertMultiple", {"emailserverprofileid": profile, **body}))
    elif way == "upsert by name":
        name = room.get(path).json()["name"]
        refusal(room.request("PATCH", f"emailserverprofiles(name='{name}')", body, client="mailadmin"))
    elif way == "change set":
        statuses, _ = room.change_set(("PATCH", path, body), ("PATCH", path, {"description": "harmless"}))
        assert 403 in statuses
    else:
        # The change set ends with the server with which it began, so it needs no administrator.
        statuses, text = room.change_set(("PATCH", path, body), ("PATCH", path, {"incomingserverlocation": GOOD}))
        assert statuses == [204, 204], text
    assert room.released(box) == (GOOD, "victim", "victim's secret")


@pytest.mark.parametrize("way", ["bind", "put reference", "post reference", "delete reference", "change set", "service URL"])
def test_a_mailbox_stays_with_its_profile(room, victim, way):
    profile, _, box = victim
    other = room.profile("mailadmin", incomingserverlocation=EVIL, outgoingserverlocation=EVIL)
    bind = {"emailserverprofile@odata.bind": f"/emailserverprofiles({other})"}
    if way == "bind":
        refusal(room.request("PATCH", f"mailboxes({box})", bind, client="mailadmin"))
    elif way == "put reference":
        refusal(room.request("PUT", f"mailboxes({box})/emailserverprofile/$ref", {"@odata.id": f"emailserverprofiles({other})"}, client="mailadmin"))
    elif way == "post reference":
        refusal(room.request("POST", f"emailserverprofiles({other})/emailserverprofile_mailbox/$ref", {"@odata.id": f"mailboxes({box})"}, client="mailadmin"))
    elif way == "delete reference":
        refusal(room.request("DELETE", f"mailboxes({box})/emailserverprofile/$ref", client="mailadmin"))
    elif way == "change set":
        assert 403 in room.change_set(("PATCH", f"mailboxes({box})", {"emailserverprofile@odata.bind": None}), ("PATCH", f"mailboxes({box})", bind))[0]
    else:
        refusal(room.request("PATCH", f"mailboxes({box})", {"ewsurl": f"https://{EVIL}/"}, client="mailadmin"))
    assert room.released(box)[0] == GOOD


@pytest.mark.parametrize("holder", ["queue", "user"])
def test_a_password_of_a_queue_or_a_user_is_behind_its_mailbox(room, holder):
    """The password is released only if the queue or user permits it. If the server changes, the password is not released until it is set again."""
    profile, secret = room.profile(), f"the {holder}'s secret"
    if holder == "queue":
        record, box = room.queue_box(profile, password=None, allowemailconnectortousecredentials=False)
        path = f"queues({record})"
    else:
        box = room.user_box(room.users["user"], profile, password=None, allowemailconnectortousecredentials=False)
        path = f"usersettingscollection({room.users['user']})"
    owner = "mailadmin" if holder == "queue" else "user"
    assert room.request("PATCH", path, {"emailusername": holder, "emailpassword": secret}, client=owner).status_code == 204
    # Without the queue's or user's permission (allowemailcredentials) the password is not released.
    refused = room.release(box)
    assert refused.status_code == 400 and "allows their use" in refused.text and secret not in refused.text
    assert room.request("PATCH", path, {"allowemailcredentials": True}, client="router").status_code == 403
    if holder == "queue":
        assert room.request("PATCH", path, {"allowemailcredentials": True}, client="user").status_code == 403
    else:
        stranger = f"usersettingscollection({room.users['admin']})"
        assert room.request("PATCH", stranger, {"allowemailcredentials": True}, client="user", If_Match="*").status_code == 404
    assert room.request("PATCH", path, {"allowemailcredentials": True}, client=owner).status_code == 204
    assert room.released(box) == room.released(box, "Outgoing") == (GOOD, holder, secret)
    # An Email Administrator can neither change the server of the profile nor bind the mailbox to another profile.
    refusal(room.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}, client="mailadmin"))
    evil = room.profile("mailadmin", incomingserverlocation=EVIL)
    refusal(room.request("PATCH", f"mailboxes({box})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({evil})"}, client="mailadmin"))
    # Even after the permission was withdrawn, the Email Administrator can't change the server.
    assert room.request("PATCH", path, {"allowemailcredentials": False}, client="mailadmin").status_code == 204
    refusal(room.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}, client="mailadmin"))
    statuses, text = room.change_set(
        ("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": "imap.new.example"}), ("PATCH", path, {"emailpassword": "another", "allowemailcredentials": True}))
    assert statuses == [204, 204], text
    assert room.released(box) == ("imap.new.example", holder, "another")


def test_a_password_that_is_not_in_use_is_behind_its_profile_too(room):
    """A profile's password stays with its server even if no mailbox uses it, because a second request could make a mailbox use it."""
    profile = room.profile(incomingcredentialretrieval=1, incomingusername="shared", incomingpassword="the profile's secret")
    _, box = room.queue_box(profile)
    path = f"emailserverprofiles({profile})"
    # A request that changes the server has to set both passwords. Setting one of them is not enough.
    error = refusal(room.request("PATCH", path, {"incomingserverlocation": EVIL, "incomingpassword": "mine"}, client="mailadmin"))
    assert f"password of mailbox {box}" in error["message"]
    assert room.released(box) == (GOOD, "shared", "the profile's secret")
    refusal(room.request("PATCH", path, {"incomingcredentialretrieval": 0}, client="mailadmin"))
    refusal(room.request("PATCH", path, {"incomingcredentialretrieval": 0, "incomingpassword": None}, client="mailadmin"))
    statuses, _ = room.change_set(("PATCH", path, {"incomingserverlocation": EVIL}), ("PATCH", path, {"incomingpassword": "mine"}))
    assert 403 in statuses
    assert room.released(box)[0] == GOOD


@pytest.mark.parametrize("has_mailbox", [True, False])
def test_a_password_of_the_profile_itself_stays_with_its_server(room, has_mailbox):
    profile = room.profile(incomingcredentialretrieval=1, incomingusername="shared", incomingpassword="the profile's secret")
    box = room.queue_box(profile, password=None)[1] if has_mailbox else None
    error = refusal(room.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}, client="mailadmin"))
    assert error["code"] == "0x80040220" and f"emailserverprofile {profile}" in error["message"]
    assert room.get(f"emailserverprofiles({profile})").json()["incomingserverlocation"] == GOOD
    if box:
        assert room.released(box) == (GOOD, "shared", "the profile's secret")
    # If the password is set in the same request, the server can be changed.
    moved = {"incomingserverlocation": "imap.new.example", "incomingpassword": "another secret"}
    assert room.request("PATCH", f"emailserverprofiles({profile})", moved, client="mailadmin").status_code == 204
    if box:
        assert room.released(box) == ("imap.new.example", "shared", "another secret")


@pytest.mark.parametrize("order", [1, -1])
def test_an_email_administrator_moves_a_server_with_all_its_credentials(room, order):
    profile = room.profile("mailadmin")
    boxes = [room.queue_box(profile)[1] for _ in range(2)]
    move = ("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": "imap.new.example", "outgoingserverlocation": "smtp.new.example"})
    anew = [("PATCH", f"mailboxes({box})", {"password": f"new for {box}"}) for box in boxes]
    statuses, text = room.change_set(*[move, anew[0]][::order])
    assert 403 in statuses and boxes[1] in text
    statuses, text = room.change_set(*[move, *anew][::order])
    assert statuses == [204, 204, 204], text
    assert room.released(boxes[0]) == ("imap.new.example", "victim", f"new for {boxes[0]}")
    assert room.released(boxes[1], "Outgoing")[0] == "smtp.new.example"
    assert room.events("mail server changed", "succeeded", profile) == 1


def test_a_system_administrator_moves_a_server(room, victim):
    profile = room.profile()
    _, box = room.queue_box(profile)
    assert room.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": "imap.new.example"}).status_code == 204
    assert room.released(box) == ("imap.new.example", "victim", "victim's secret")
    assert room.events("mail server changed", "succeeded", profile) == 1
    # If no password is stored, an Email Administrator may change the server alone.
    empty = room.profile("mailadmin")
    for body in ({"incomingserverlocation": "imap.new.example"}, {"incomingportnumber": None}, {"outgoingcredentialretrieval": 4}):
        assert room.request("PATCH", f"emailserverprofiles({empty})", body, client="mailadmin").status_code == 204
    for body in ({"description": "still mine"}, {"incomingserverlocation": "imap.new.example"}, {"maxconcurrentconnections": 3}):
        assert room.request("PATCH", f"emailserverprofiles({profile})", body, client="mailadmin").status_code == 204
    assert room.request("PATCH", f"mailboxes({box})", {"password": "another", "username": "x"}, client="mailadmin").status_code == 204
    assert room.released(box) == ("imap.new.example", "x", "another")


def test_a_profile_that_is_deleted_and_made_again_under_its_id(room):
    """The deletion leaves the mailbox without a profile. Only a System Administrator can bind it to the new profile."""
    profile = room.profile()
    _, box = room.queue_box(profile)
    host = room.lease(box)
    assert room.release(box, host=host).status_code == 200
    assert room.request("DELETE", f"emailserverprofiles({profile})", client="mailadmin").status_code == 204
    body = {"emailserverprofileid": profile, "name": "again", "servertype": 4, "incomingserverlocation": EVIL, "incomingcredentialretrieval": 0}
    assert room.request("POST", "emailserverprofiles", body, client="mailadmin").status_code == 204
    assert room.release(box, host=host).status_code == 400
    bind = {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}
    refusal(room.request("PATCH", f"mailboxes({box})", bind, client="mailadmin"))
    refusal(room.request("POST", f"emailserverprofiles({profile})/emailserverprofile_mailbox/$ref", {"@odata.id": f"mailboxes({box})"}, client="mailadmin"))
    statuses, _ = room.change_set(("DELETE", f"emailserverprofiles({profile})", None), ("POST", "emailserverprofiles", body), ("PATCH", f"mailboxes({box})", bind))
    assert 403 in statuses and room.release(box, host=host).status_code == 400


@pytest.mark.parametrize("before", [[], ["profile"], ["box"], ["profile", "box"]])
def test_a_profile_that_one_change_set_deletes_and_makes_again(room, before):
    """The new profile, and the mailbox that is bound to it, need authorization like others. In some cases, earlier parts write the old profile or the mailbox."""
    profile = room.profile()
    stood = room.get(f"emailserverprofiles({profile})").json()
    _, box = room.queue_box(profile)
    path, bind = f"emailserverprofiles({profile})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}
    named = {"profile": ("PATCH", path, {"incomingserverlocation": GOOD}), "box": ("PATCH", f"mailboxes({box})", {"username": "victim"})}
    body = {name: stood[name] for name in ("emailserverprofileid", "name", "servertype", "incomingserverlocation", "incomingcredentialretrieval", "incomingportnumber", "outgoingserverlocation",
                                           "outgoingportnumber", "outgoingcredentialretrieval", "usesamesettingsforoutgoingconnections")}
    again = [*(named[each] for each in before), ("DELETE", path, None), ("POST", "emailserverprofiles", body), ("PATCH", f"mailboxes({box})", bind)]
    assert 403 in room.change_set(*again)[0]
    assert room.released(box)[0] == GOOD
    statuses, text = room.change_set(*again, client="admin")
    assert max(statuses) == 204, text
    assert room.released(box) == (GOOD, "victim", "victim's secret")
    assert not any(profile in line or box in line for line in room.findings("mail-settings-not-authorized"))
    assert room.request("PATCH", path, {"incomingportnumber": 994}).status_code == 204


def test_a_mailbox_that_sql_left_with_a_profile_that_is_gone(room):
    profile = room.profile()
    _, box = room.queue_box(profile)
    room.sql("DELETE FROM org_contoso.emailserverprofile WHERE emailserverprofileid = %s", [profile])
    body = {"emailserverprofileid": profile, "name": "again", "servertype": 4, "incomingserverlocation": EVIL, "incomingcredentialretrieval": 0}
    refusal(room.request("POST", "emailserverprofiles", body, client="mailadmin"))
    refusal(room.request("PATCH", f"emailserverprofiles({profile})", body, client="mailadmin"))
    refusal(room.request("PATCH", f"emailserverprofiles({profile})", body, client="mailadmin", If_None_Match="*"))
    refusal(room.request("POST", "emailserverprofiles/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [body]}, client="mailadmin"))
    refusal(room.request("POST", "emailserverprofiles/Microsoft.Dynamics.CRM.UpsertMultiple", {"Targets": [body]}, client="mailadmin"))
    assert room.request("POST", "emailserverprofiles", {**body, "incomingserverlocation": GOOD}).status_code == 204
    assert room.released(box)[0] == GOOD


def test_a_password_that_is_set_at_the_same_moment(room):
    """The request that changes the server waits for the request that sets the password, and then sees the password."""
    profile = room.profile("mailadmin")
    _, box = room.queue_box(profile, password=None)
    with psycopg.connect(room.dev["postgres"]) as other:
        # The service begins to store a password with this statement.
        other.execute("UPDATE org_contoso.mailbox SET ispasswordset = true WHERE mailboxid = %s", [box])
        answers = []
        mover = threading.Thread(target=lambda: answers.append(room.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}, client="mailadmin")))
        mover.start()
        room.until_one_waits()
        other.commit()
        mover.join(60)
    refusal(answers[0])
    assert room.get(f"emailserverprofiles({profile})").json()["incomingserverlocation"] == GOOD


def test_a_binding_waits_for_a_change_of_its_profile(room):
    """While another transaction has locked a profile, the service does not bind a mailbox with a password to the profile."""
    profile = room.profile("mailadmin")
    with psycopg.connect(room.dev["postgres"]) as other:
        other.execute("SELECT FROM org_contoso.emailserverprofile WHERE emailserverprofileid = %s FOR UPDATE", [profile])
        answers = []
        body = {"name": "bound", "password": "x", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}
        binder = threading.Thread(target=lambda: answers.append(room.request("POST", "mailboxes", body)))
        binder.start()
        room.until_one_waits()
        assert not answers
        other.commit()
        binder.join(60)
    assert answers[0].status_code == 204, answers[0].text


# Changes by SQL


#: The roles with which an attacker runs SQL. As a superuser, the attacker switches triggers off.
ROLES = SQL_ROLES


def attack(room, role, statement, parameters=None):
    room.sql_as(role, statement, parameters, triggers=role != "postgres")


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("statement", [
    "UPDATE emailserverprofile SET incomingserverlocation = 'imap.evil.example' WHERE emailserverprofileid = %(profile)s",
    "UPDATE emailserverprofile SET incomingportnumber = 1 WHERE emailserverprofileid = %(profile)s",
    "UPDATE emailserverprofile SET incomingusessl = false WHERE emailserverprofileid = %(profile)s",
    "UPDATE emailserverprofile SET incomingcredentialretrieval = 1 WHERE emailserverprofileid = %(profile)s",
    "UPDATE emailserverprofile SET usesamesettingsforoutgoingconnections = false WHERE emailserverprofileid = %(profile)s",
    "UPDATE emailserverprofile SET incomingserverlocation = NULL, defaultserverlocation = 'imap.evil.example' WHERE emailserverprofileid = %(profile)s",
    "UPDATE mailbox SET emailserverprofile = %(evil)s WHERE mailboxid = %(box)s",
    "UPDATE mailbox SET regardingobjectid = %(queue)s WHERE mailboxid = %(box)s",
    "UPDATE mailbox SET emailserverprofile = %(evil)s WHERE mailboxid = %(box)s; UPDATE mail_destination AS d SET tag = o.tag FROM mail_destination AS o WHERE d.record_id = %(box)s AND o.record_id = %(other)s",
    "UPDATE emailserverprofile SET incomingserverlocation = 'imap.evil.example' WHERE emailserverprofileid = %(profile)s; UPDATE mail_destination AS d SET tag = o.tag FROM mail_destination AS o WHERE d.record_id = %(profile)s AND o.record_id = %(evil)s",
    "DELETE FROM mail_destination WHERE record_id = %(profile)s; UPDATE emailserverprofile SET incomingserverlocation = 'imap.evil.example' WHERE emailserverprofileid = %(profile)s",
    "DELETE FROM mail_destination WHERE record_id = %(box)s",
    "UPDATE mailbox SET username = 'chief' WHERE mailboxid = %(box)s",
    "UPDATE mailbox SET username = 'chief' WHERE mailboxid = %(box)s; DELETE FROM mail_destination WHERE record_id = %(box)s",
    "UPDATE emailserverprofile SET incomingusername = 'chief' WHERE emailserverprofileid = %(profile)s",
])
def test_sql_does_not_bring_a_password_elsewhere(room, role, statement):
    profile, evil = room.profile(), room.profile("mailadmin", incomingserverlocation=EVIL)
    (_, box), (queue, other) = room.queue_box(profile), room.queue_box(evil, password=None)
    assert room.released(box)[0] == GOOD
    names = {"profile": profile, "evil": evil, "box": box, "queue": queue, "other": other}
    for part in statement.split("; "):
        attack(room, role, part, {k: v for k, v in names.items() if f"%({k})s" in part})
    host = room.lease(box)
    answer = room.release(box, host=host)
    assert answer.status_code == 403 and "changed by SQL" in answer.json()["error"]["message"], answer.text
    assert "victim's secret" not in answer.text
    assert room.events("credential released", "refused", f"{box}: settings not authorized") == 1
    (alert,) = room.alerts(box, 25)
    assert alert["level"] == 3 and "System Administrator" in alert["text"]
    # If the router reports the same problem, no second alert is written, and the mailbox stays enabled.
    report = {"Code": 25, "Text": alert["text"], "Details": "0x80040220", "IsPermanent": False}
    assert room.call("ReportMailbox", MailboxId=box, HostId=host, IncomingIsWell=False, Error=report).status_code == 204
    assert len(room.alerts(box, 25)) == 1 and room.get(f"mailboxes({box})").json()["enabledforincomingemail"]
    assert any(profile in line or box in line for line in room.findings("mail-settings-not-authorized"))
    # The doctor names at most twenty records of a kind, so these are deleted for later tests.
    for record in (f"mailboxes({box})", f"mailboxes({other})", f"emailserverprofiles({profile})", f"emailserverprofiles({evil})"):
        assert room.request("DELETE", record).status_code == 204
    room.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = false, enabledforoutgoingemail = false WHERE mailboxid = ANY (%s::uuid[])", [[box, other]])


TRIGGERS = [
    *(("emailserverprofile", attribute, value) for attribute, value in {
        "servertype": 1, "defaultserverlocation": EVIL, "useautodiscover": True, "exchangeonlinetenantid": "evil", "usedefaulttenantid": False,
        "incomingserverlocation": EVIL, "incomingportnumber": 9930, "incomingusessl": False, "incomingauthenticationprotocol": 4,
        "incomingcredentialretrieval": 1, "incominguseimpersonation": True, "outgoingserverlocation": EVIL, "outgoingportnumber": 4650,
        "outgoingusessl": False, "outgoingauthenticationprotocol": 4, "outgoingcredentialretrieval": 1, "outgoinguseimpersonation": True,
        "outgoingautograntdelegateaccess": True, "usesamesettingsforoutgoingconnections": False, "incomingusername": "chief", "outgoingusername": "chief",
    }.items()),
    *(("mailbox", attribute, value) for attribute, value in {
        "emailserverprofile": str(uuid.uuid4()), "regardingobjectid": str(uuid.uuid4()), "regardingobjecttypecode": "evil", "ewsurl": "https://evil.example",
        "username": "chief"}.items()),
]


@pytest.mark.parametrize("table, column, value", TRIGGERS, ids=[f"{table}.{column}" for table, column, _ in TRIGGERS])
def test_a_trigger_has_no_server_authorized(room, victim, table, column, value):
    """A trigger of the tables' owner changes a setting that an administrator saves. The service refuses to save it, and authorizes nothing."""
    profile, _, box = victim
    record = profile if table == "emailserverprofile" else box
    writes = {
        "emailserverprofile": lambda n, id: {
            "name": f"n {n}", "servertype": 4, "incomingserverlocation": GOOD, "incomingportnumber": 993, "incomingusessl": True,
            "outgoingserverlocation": GOOD, "outgoingportnumber": 465, "outgoingusessl": True, "usesamesettingsforoutgoingconnections": True,
            "incomingusername": f"u{n}"},
        "mailbox": lambda n, id: {"name": f"n {n}", "username": f"u{n}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"},
    }[table]
    collection = {"emailserverprofile": "emailserverprofiles", "mailbox": "mailboxes"}[table]

    def ways():
        new = str(uuid.uuid4())
        yield "create", new, ("POST", collection, {f"{table}id": new, **writes(1, new)})
        yield "upsert", (other := str(uuid.uuid4())), ("PATCH", f"{collection}({other})", writes(2, other))
        yield "update", record, ("PATCH", f"{collection}({record})", writes(uuid.uuid4().hex[:4], record))

    def tags(id):
        return room.sql("SELECT tag FROM org_contoso.mail_destination WHERE record_id = %s", [id])

    literal = psycopg.sql.Literal(value).as_string(None)
    room.sql_as("fieldseal_owner", f"CREATE FUNCTION org_contoso.zz() RETURNS trigger LANGUAGE plpgsql AS $f$ BEGIN NEW.{column} := {literal}; RETURN NEW; END $f$")
    room.sql_as("fieldseal_owner", f"CREATE TRIGGER zz BEFORE INSERT OR UPDATE ON {table} FOR EACH ROW EXECUTE FUNCTION org_contoso.zz()")
    try:
        for way, id, request in ways():
            before = tags(id)
            answer = room.request(*request)
            assert answer.status_code >= 400 and column in answer.json()["error"]["message"], (way, answer.text)
            assert tags(id) == before
    finally:
        room.sql_as("fieldseal_owner", f"DROP TRIGGER zz ON {table}; DROP FUNCTION org_contoso.zz()")
    # The control: without the trigger, each write succeeds and is authorized.
    for way, id, request in ways():
        answer = room.request(*request)
        assert answer.status_code in (200, 201, 204), (way, answer.text)
        assert tags(id)
        if way != "update":
            assert room.request("DELETE", f"{collection}({id})").status_code == 204


def remember(room, name, profile, box):
    """Copies the rows of a profile and of a mailbox with their tags into a schema of the name, as a backup would."""
    room.sql(f"CREATE SCHEMA {name}")
    for table, column, id in (("emailserverprofile", "emailserverprofileid", profile), ("mailbox", "mailboxid", box), ("mail_destination", "record_id", profile)):
        room.sql(f"CREATE TABLE {name}.{table} AS SELECT * FROM org_contoso.{table} WHERE {column} = '{id}'")
    room.sql(f"INSERT INTO {name}.mail_destination SELECT * FROM org_contoso.mail_destination WHERE record_id = '{box}'")
    room.sql(f"GRANT USAGE ON SCHEMA {name} TO PUBLIC; GRANT SELECT ON ALL TABLES IN SCHEMA {name} TO PUBLIC")


def put_back(room, role, name, profile, box):
    """Restores by SQL the rows that `remember` copied."""
    attack(room, role, f"INSERT INTO emailserverprofile SELECT * FROM {name}.emailserverprofile ON CONFLICT DO NOTHING")
    attack(room, role, f"UPDATE emailserverprofile AS p SET incomingserverlocation = k.incomingserverlocation, outgoingserverlocation = k.outgoingserverlocation FROM {name}.emailserverprofile AS k WHERE p.emailserverprofileid = k.emailserverprofileid")
    attack(room, role, f"UPDATE mailbox AS m SET emailserverprofile = k.emailserverprofile FROM {name}.mailbox AS k WHERE m.mailboxid = k.mailboxid")
    attack(room, role, f"INSERT INTO mail_destination SELECT * FROM {name}.mail_destination ON CONFLICT (entity, record_id) DO UPDATE SET tag = excluded.tag")


def is_kept(room, box, profile):
    answer = room.release(box)
    assert answer.status_code == 403 and "changed by SQL" in answer.json()["error"]["message"], answer.text
    assert "victim's secret" not in answer.text
    assert any(profile in line for line in room.findings("mail-settings-not-authorized"))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("way", ["moved", "moved twice", "deleted", "deleted and made again"])
def test_an_older_server_does_not_come_back_with_its_tag(room, role, way):
    """SQL restores servers that were authorized earlier and are no longer. Another company may run them now."""
    profile = room.profile()
    _, box = room.queue_box(profile)
    name = f"kept_{uuid.uuid4().hex[:8]}"
    remember(room, name, profile, box)
    path, moved = f"emailserverprofiles({profile})", {"incomingserverlocation": "imap.new.example", "outgoingserverlocation": "imap.new.example"}
    if way.startswith("moved"):
        assert room.request("PATCH", path, moved).status_code == 204
        if way == "moved twice":
            assert room.request("PATCH", path, {"incomingserverlocation": "imap.third.example"}).status_code == 204
        assert room.released(box)[0] in ("imap.new.example", "imap.third.example")
    else:
        room.enable(box, room.profile(**moved))
        # Earlier tests deleted tags with SQL, so some rows are missing already.
        missing = room.findings("attested-rows-missing")
        assert room.request("DELETE", path).status_code == 204
        if way == "deleted and made again":
            assert room.create("emailserverprofiles", {"emailserverprofileid": profile, "name": "again", "servertype": 4, **moved, "incomingcredentialretrieval": 0}) == profile
        assert room.released(box)[0] == "imap.new.example" and room.findings("attested-rows-missing") == missing
    put_back(room, role, name, profile, box)
    is_kept(room, box, profile)
    if role == "postgres":
        # Attaching the organization again accepts its rows, but authorizes no server.
        room.run("org", "attach", "contoso", "--yes", "--settings", str(room.home / "fieldseal.yaml"))
        is_kept(room, box, profile)
    # A System Administrator confirms the settings by naming all of them.
    stored = room.get(path).json()
    missing = room.request("PATCH", path, {"incomingserverlocation": GOOD}).json()["error"]["message"].split(": ")[-1].rstrip(".").split(", ")
    assert room.request("PATCH", path, {"incomingserverlocation": GOOD, **{n: stored[n] for n in missing}}).status_code == 204
    assert room.released(box)[0] == GOOD
    room.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = false, enabledforoutgoingemail = false WHERE mailboxid = %s", [box])
    room.sql(f"DROP SCHEMA {name} CASCADE")


def test_what_sql_changed_is_not_authorized_by_the_way(room):
    """A write of another attribute, or a new password, does not authorize what SQL changed. A System Administrator has to name all settings."""
    profile = room.profile()
    _, box = room.queue_box(profile)
    room.sql_as("fieldseal_service", "UPDATE emailserverprofile SET outgoingserverlocation = %s WHERE emailserverprofileid = %s", [EVIL, profile])
    path = f"emailserverprofiles({profile})"
    assert room.request("PATCH", path, {"description": "harmless"}).status_code == 204
    assert room.request("PATCH", f"mailboxes({box})", {"password": "again"}).status_code == 204
    refusal(room.request("PATCH", path, {"incomingserverlocation": GOOD}))
    refusal(room.request("PATCH", path, {"incomingportnumber": 994}, client="mailadmin"))
    answer = room.release(box, "Outgoing")
    assert answer.status_code == 403 and "again" not in answer.json()["error"]["message"].split()
    error = refusal(room.request("PATCH", path, {"incomingserverlocation": GOOD, "incomingportnumber": 993}))
    assert "outgoingserverlocation" in error["message"]
    record = room.get(path).json()
    names = error["message"].split(": ")[-1].rstrip(".").split(", ")
    reviewed = {"incomingserverlocation": GOOD, "incomingportnumber": 993, **{n: record[n] for n in names}, "outgoingserverlocation": "smtp.good.example"}
    refusal(room.request("PATCH", path, reviewed, client="mailadmin"))
    assert room.request("PATCH", path, reviewed).status_code == 204
    assert room.released(box, "Outgoing") == ("smtp.good.example", "victim", "again")


def test_a_password_whose_flag_sql_cleared_is_still_there(room):
    profile = room.profile()
    _, box = room.queue_box(profile)
    room.sql_as("fieldseal_service", "UPDATE mailbox SET ispasswordset = false WHERE mailboxid = %s", [box])
    error = refusal(room.request("PATCH", f"emailserverprofiles({profile})", {"incomingserverlocation": EVIL}, client="mailadmin"))
    assert box in error["message"]


def test_what_sql_changed_below_no_password_waits_for_nobodys_password(room):
    """SQL puts a server into a profile without passwords. The Email Administrator's next write does not authorize that server."""
    profile = room.profile("mailadmin")
    room.sql_as("fieldseal_service", "UPDATE emailserverprofile SET incomingserverlocation = %s WHERE emailserverprofileid = %s", [EVIL, profile])
    refusal(room.request("PATCH", f"emailserverprofiles({profile})", {"outgoingportnumber": 587}, client="mailadmin"))
    _, box = room.queue_box(profile)
    assert room.release(box).status_code == 403


def test_an_email_administrator_confirms_no_server_that_sql_wrote(room):
    """An Email Administrator can't confirm the server by naming all settings, because the mailboxes' passwords would be sent to it."""
    profile = room.profile()
    _, box = room.queue_box(profile)
    room.sql_as("fieldseal_service", "UPDATE emailserverprofile SET incomingserverlocation = %s WHERE emailserverprofileid = %s", [EVIL, profile])
    asked = refusal(room.request("PATCH", f"emailserverprofiles({profile})", {"name": "x", "incomingportnumber": 993}, client="mailadmin"))["message"]
    names = {"incomingportnumber", *asked.rstrip(".").rsplit(": ", 1)[1].split(", ")}
    stood = {name: value for name, value in room.get(f"emailserverprofiles({profile})").json().items() if name in names}
    assert stood["incomingserverlocation"] == EVIL
    error = refusal(room.request("PATCH", f"emailserverprofiles({profile})", stood, client="mailadmin"))
    assert box in error["message"] and room.release(box).status_code == 403
    assert room.request("PATCH", f"emailserverprofiles({profile})", {**stood, "incomingserverlocation": GOOD}, client="admin").status_code == 204
    assert room.released(box)[0] == GOOD


def written_whole(room, path, record, entity, way):
    """Writes a record back as it was read. Returns the response, or the status of a part of a change set."""
    if way == "patch":
        return room.request("PATCH", path, record)
    if way == "put":
        return room.request("PUT", path, record)
    if way == "change set":
        statuses, _ = room.change_set(("PATCH", path, record), client="admin")
        return statuses[0]
    name = {"update many": "UpdateMultiple", "upsert many": "UpsertMultiple"}[way]
    target = {"@odata.type": f"Microsoft.Dynamics.CRM.{entity}", **{key: value for key, value in record.items() if "@" not in key}}
    return room.request("POST", f"{path.split('(')[0]}/Microsoft.Dynamics.CRM.{name}", {"Targets": [target]})


@pytest.mark.parametrize("way", ["patch", "put", "update many", "upsert many", "change set"])
def test_a_record_that_is_written_back_confirms_no_server_that_sql_wrote(room, way):
    """A program reads a profile, changes its description and writes the whole record back. That does not show that anybody checked the servers."""
    profile = room.profile(description="before")
    _, box = room.queue_box(profile)
    path = f"emailserverprofiles({profile})"
    room.sql_as("fieldseal_service", "UPDATE emailserverprofile SET incomingserverlocation = %s WHERE emailserverprofileid = %s", [EVIL, profile])
    record = {name: value for name, value in room.get(path).json().items() if not name.startswith("_")}
    answer = written_whole(room, path, {**record, "description": "after"}, "emailserverprofile", way)
    assert getattr(answer, "status_code", answer) == 403
    asked = refusal(room.request("PATCH", path, {**record, "description": "after"}))["message"]
    assert "as it was read" in asked and "incomingserverlocation" in asked and room.release(box).status_code == 403
    # The write succeeds if an administrator names the settings on purpose, and later without them if nothing has to be confirmed.
    named = {name: record[name] for name in asked.rstrip(".").rsplit(": ", 1)[1].split(", ")}
    assert room.request("PATCH", path, {**named, "incomingserverlocation": GOOD}).status_code == 204
    record = {name: value for name, value in room.get(path).json().items() if not name.startswith("_")}
    answer = written_whole(room, path, {**record, "description": "after"}, "emailserverprofile", way)
    assert getattr(answer, "status_code", answer) in (200, 204) and room.released(box)[0] == GOOD


def test_a_queue_and_a_mailbox_that_are_written_back_confirm_no_account_that_sql_wrote(room):
    profile = room.profile(incomingcredentialretrieval=1, outgoingcredentialretrieval=1)
    queue, box = room.queue_box(profile)
    assert room.request("PATCH", f"queues({queue})", {"emailusername": "victim", "emailpassword": "queue's", "allowemailcredentials": True}).status_code == 204
    for path, name, table, key in ((f"queues({queue})", "emailusername", "queue", "queueid"), (f"mailboxes({box})", "username", "mailbox", "mailboxid")):
        room.sql_as("fieldseal_service", f"UPDATE {table} SET {name} = 'chief' WHERE {key} = %s", [path.split("(")[1][:-1]])
        record = {key: value for key, value in room.get(path).json().items() if not key.startswith("_")}
        assert record[name] == "chief"
        for body in (record, {key: value for key, value in record.items() if key in (name, "createdon")}, {name: "chief", "@odata.etag": record["@odata.etag"]}):
            assert "as it was read" in refusal(room.request("PATCH", path, body))["message"]
        bound = {
            "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "regardingobjectid_queue@odata.bind": f"/queues({queue})"} if table == "mailbox" else {}
        assert room.request("PATCH", path, {name: "victim", **bound}).status_code == 204
        assert room.request("PATCH", path, {**record, name: "victim"}).status_code == 204


def test_a_setting_that_sql_made_a_row_of(room):
    """SQL inserts a profile and binds a mailbox to it. The mailbox's password is not released."""
    profile, box = str(uuid.uuid4()), str(uuid.uuid4())
    room.sql_as("fieldseal_service", "INSERT INTO emailserverprofile (emailserverprofileid, name, servertype, incomingserverlocation, statecode) VALUES (%s, 'x', 4, %s, 0)", [profile, EVIL])
    _, victim = room.queue_box(room.profile())
    room.sql_as("fieldseal_service", "UPDATE mailbox SET emailserverprofile = %s WHERE mailboxid = %s", [profile, victim])
    assert room.release(victim).status_code == 403
    assert box not in str(room.findings("mail-settings-not-authorized")) and profile in str(room.findings("mail-settings-not-authorized"))


# What is released


def test_a_refresh_token_is_not_released_itself(room):
    """The profile uses OAuth (protocol 4), but mail.applicationsFile names no application for its server."""
    profile = room.profile(incomingauthenticationprotocol=4, outgoingauthenticationprotocol=3, usesamesettingsforoutgoingconnections=False)
    _, box = room.queue_box(profile, password="a refresh token")
    answer = room.release(box)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "0x8005E222" and "mail.applicationsFile" in answer.text
    assert "a refresh token" not in answer.text
    # For sending, the profile uses a password, which is released.
    assert room.released(box, "Outgoing") == (GOOD, "victim", "a refresh token")


def test_a_flag_without_its_cell_is_an_error_and_not_no_password(room):
    _, box = room.queue_box(room.profile())
    room.sql("DELETE FROM org_contoso.mailbox_cell WHERE mailboxid = %s", [box])
    answer = room.release(box)
    assert answer.status_code == 500 and answer.json()["error"]["code"] == "0x80040216" and "verify" in answer.text
    _, box = room.queue_box(room.profile(), password=None)
    answer = room.release(box)
    assert answer.status_code == 400 and answer.json()["error"]["code"] == "0x8005E222"


def test_a_lease_ends_with_the_approval_and_the_enabling(room):
    _, box = room.queue_box(room.profile())
    on = {"emailrouteraccessapproval": 1, "enabledforincomingemail": True, "enabledforoutgoingemail": True, "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 2, "statecode": 0}
    for off, codes in [({"emailrouteraccessapproval": 3}, {"0x8005E228"}), ({"enabledforincomingemail": False, "enabledforoutgoingemail": False}, {"0x80060882"}),
                       ({"incomingemaildeliverymethod": 0, "outgoingemaildeliverymethod": 0}, {"0x80060882"}), ({"statecode": 1}, {"0x80060882"})]:
        host = room.lease(box)
        assert room.release(box, host=host).status_code == 200
        assert room.request("PATCH", f"mailboxes({box})", off).status_code == 204
        answers = [room.release(box, way, host) for way in ("Incoming", "Outgoing")] + [room.call("TakePendingEmails", MailboxId=box, HostId=host, Limit=1)]
        assert {a.json()["error"]["code"] for a in answers} == codes, off
        delivered = room.call("DeliverIncomingEmails", MailboxId=box, HostId=host, Emails=[])
        assert delivered.json()["error"]["code"] == "0x80060882", off
        # A router may report the end of its turn although the mailbox was disabled.
        assert room.call("ReportMailbox", MailboxId=box, HostId=host).status_code == 204
        assert room.request("PATCH", f"mailboxes({box})", on).status_code == 204
    # Disabling one direction does not disable the other.
    assert room.request("PATCH", f"mailboxes({box})", {"enabledforoutgoingemail": False}).status_code == 204
    host = room.lease(box)
    assert (room.release(box, "Incoming", host).status_code, room.release(box, "Outgoing", host).status_code) == (200, 412)


@pytest.mark.parametrize("message", ["LeaseMailbox", "ReleaseCredential", "TakePendingEmails", "ReportMailbox"])
def test_a_router_that_was_disabled_is_given_nothing_more(room, message):
    """The server keeps a client's rights in memory for its next requests, but notices at once that the client was disabled."""
    made = room.json("client", "add", f"router {uuid.uuid4()}", "--org", "contoso", "--role", "Email Router")
    room.dev["clients"]["second"] = made
    room.tokens.pop("second", None)
    _, box = room.queue_box(room.profile())
    host = room.lease(box)
    body = {"HostId": host, "MailboxId": box, "Direction": "Incoming", "Limit": 5, "Interval": 60}
    wanted = {"LeaseMailbox": ["HostId"], "ReleaseCredential": ["HostId", "MailboxId", "Direction"], "TakePendingEmails": ["HostId", "MailboxId", "Limit"],
              "ReportMailbox": ["HostId", "MailboxId", "Interval"]}
    for _ in range(2):
        assert room.call("ReleaseCredential", client="second", **{name: body[name] for name in wanted["ReleaseCredential"]}).status_code == 200
    room.run("client", "disable", made["clientId"], "--org", "contoso")
    refusal(room.call(message, client="second", **{name: body[name] for name in wanted[message]}), 401)
    assert room.release(box, host=host).status_code == 200


ATTESTED = "WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = 'contoso')"


def standing(run, names, client):
    """Reads the columns of the attested state and of the client's row that decide the client's rights. Locks the attested state's row."""
    return (
        run(f"SELECT {', '.join(names)} FROM config.attested_state {ATTESTED} FOR UPDATE").fetchone(),
        run("SELECT disabled_on, tag FROM config.api_client WHERE client_id = %s", [client]).fetchone())


def put(run, names, client, stand):
    run(f"UPDATE config.attested_state SET ({', '.join(names)}) = ({', '.join(['%s'] * len(names))}) {ATTESTED}", stand[0])
    run("UPDATE config.api_client SET disabled_on = %s, tag = %s WHERE client_id = %s", [*stand[1], client])


def is_waiting(room, what, count=1):
    [(waiting,)] = room.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE %s", [f"%{what}%"])
    return waiting >= count


def disabled_and_put_back(room, client, names, before, has_no_event):
    """Disables a client. Before the server notices, SQL restores the former attested state and the former row, and removes the event."""
    present = []

    def swap():
        with psycopg.connect(room.dev["postgres"]) as sql:
            if has_no_event:
                sql.execute("SET session_replication_role = replica")
            present.append(standing(sql.execute, names, client))
            if has_no_event:
                present.append(sql.execute(
                    "DELETE FROM org_contoso.security_event WHERE security_event_id = (SELECT max(security_event_id) FROM org_contoso.security_event) RETURNING *").fetchone())
            put(sql.execute, names, client, before)

    threads = [threading.Thread(target=lambda: room.run("client", "disable", client, "--org", "contoso")), threading.Thread(target=swap)]
    with psycopg.connect(room.dev["postgres"]) as holder:
        holder.execute(f"SELECT FROM config.attested_state {ATTESTED} FOR UPDATE")
        for count, thread in enumerate(threads, 1):
            thread.start()
            until(lambda count=count: is_waiting(room, "attested_state", count))
    for thread in threads:
        thread.join()
    return present


@pytest.mark.parametrize("has_no_event", [False, True], ids=["by the service", "by the owner, without the event"])
def test_no_moment_of_a_former_state_releases_a_password(room, has_no_event):
    """SQL restores a former state, in which the router is enabled. While a release waits for the mailbox, SQL restores the present one."""
    made = room.json("client", "add", f"router {uuid.uuid4()}", "--org", "contoso", "--role", "Email Router")
    room.dev["clients"]["moment"], client = made, made["clientId"]
    room.tokens.pop("moment", None)
    _, box = room.queue_box(room.profile())
    host = room.lease(box)
    body = {"HostId": host, "MailboxId": box, "Direction": "Incoming"}
    for _ in range(2):
        assert room.call("ReleaseCredential", client="moment", **body).status_code == 200
    names, answers = ["revision", "grants_digest", *(["grants", "tag", "events", "newest_event", "head"] if has_no_event else [])], []
    with psycopg.connect(room.dev["postgres"], autocommit=True) as sql, psycopg.connect(room.dev["postgres"]) as holder:
        holder.execute("SELECT FROM org_contoso.mailbox WHERE mailboxid = %s FOR UPDATE", [box])
        # The export links the events of the releases above into the chain. Otherwise one of them would later take the number of the restored event.
        room.run("events", "export", "--org", "contoso")
        present, *event = disabled_and_put_back(room, client, names, standing(sql.execute, names, client), has_no_event)
        release = threading.Thread(target=lambda: answers.append(room.call("ReleaseCredential", client="moment", **body)))
        release.start()
        # The request waits, or the server has refused it already. A server that has seen the present state does not accept a former one.
        until(lambda: answers or is_waiting(room, "mailbox"))
        for row in event:
            sql.execute("SET session_replication_role = replica")
            sql.execute(f"INSERT INTO org_contoso.security_event OVERRIDING SYSTEM VALUE VALUES ({', '.join(['%s'] * len(row))})", row)
        put(sql.execute, names, client, present)
        holder.rollback()
        release.join()
    assert room.sql("SELECT disabled_on IS NOT NULL FROM config.api_client WHERE client_id = %s", [client]) == [(True,)]
    assert answers[0].status_code in (401, 403) and "Password" not in answers[0].text, answers[0].text
    # The control: the router that has leased the mailbox receives the password.
    assert room.release(box, host=host).status_code == 200


def test_a_profile_that_begins_with_its_name(room):
    """The values that a new profile has by default are authorized, so that an Email Administrator can set further settings."""
    id = room.create("emailserverprofiles", {"name": f"profile {uuid.uuid4()}"}, client="mailadmin")
    for body in ({"incomingserverlocation": GOOD}, {"incomingportnumber": 993}, {"outgoingserverlocation": GOOD}):
        assert room.request("PATCH", f"emailserverprofiles({id})", body, client="mailadmin").status_code == 204


@pytest.mark.parametrize("kind", ["profile", "mailbox", "queue", "settings"])
def test_a_password_stays_with_its_account(room, kind):
    """A password stays with its user name, because some passwords, such as a master user's, open the mailboxes of all user names."""
    profile = room.profile(incomingusername="victim", incomingpassword="p", outgoingusername="victim", outgoingpassword="p")
    queue, box = room.queue_box(profile)
    clients, attribute, password = ["mailadmin"], "emailusername", "emailpassword"
    if kind == "profile":
        path, attribute, password = f"emailserverprofiles({profile})", "incomingusername", "incomingpassword"
    elif kind == "mailbox":
        box = room.user_box(room.users["user"], profile)
        path, attribute, password = f"mailboxes({box})", "username", "password"
        clients.append("user")
    elif kind == "queue":
        path = f"queues({queue})"
    else:
        path = f"usersettingscollection({room.users['user']})"
        clients.append("user")
    assert room.request("PATCH", path, {attribute: "victim", password: "p"}).status_code == 204
    for client in clients:
        for value in ("chief", None):
            error = refusal(room.request("PATCH", path, {attribute: value}, client=client))
            assert error["code"] == "0x80040220" and "account" in error["message"]
        refusal(room.request("PUT", f"{path}/{attribute}", {"value": "chief"}, client=client))
        statuses, _ = room.change_set(("PATCH", path, {attribute: "chief"}), ("PATCH", path, {}), client=client)
        assert 403 in statuses
        # A caller that sets the password as well may set the user name. Writing an equal user name needs no administrator.
        assert room.request("PATCH", path, {attribute: f"own {client}", password: "own"}, client=client).status_code == 204
        assert room.request("PATCH", path, {attribute: f"own {client}"}, client=client).status_code == 204
    assert room.request("PATCH", path, {attribute: "by the administrator"}).status_code == 204
    assert room.events("mail server changed", "succeeded", path.split("(")[1][:-1]) > 0
    if kind == "profile":
        # The two directions have separate passwords: one of them does not permit a change of the other's user name.
        assert room.request("PATCH", path, {"outgoingusername": "own", "outgoingpassword": "own"}, client="mailadmin").status_code == 204
        refusal(room.request("PATCH", path, {"outgoingusername": "chief", "incomingpassword": "own"}, client="mailadmin"))


@pytest.mark.parametrize("role", ROLES)
@pytest.mark.parametrize("holder", ["queue", "user"])
def test_sql_does_not_use_a_password_for_another_account(room, role, holder):
    profile = room.profile()
    if holder == "queue":
        record, box = room.queue_box(profile, password=None, allowemailconnectortousecredentials=False)
        path, table, key = f"queues({record})", "queue", "queueid"
    else:
        record = room.users["user"]
        box = room.user_box(record, profile, password=None, allowemailconnectortousecredentials=False)
        path, table, key = f"usersettingscollection({record})", "usersettings", "systemuserid"
    assert room.request("PATCH", path, {"emailusername": holder, "emailpassword": "secret", "allowemailcredentials": True}).status_code == 204
    assert room.released(box) == (GOOD, holder, "secret")
    for statement in (f"UPDATE {table} SET emailusername = 'chief' WHERE {key} = %(record)s", "DELETE FROM mail_destination WHERE record_id = %(record)s"):
        attack(room, role, statement, {"record": record})
        answer = room.release(box)
        assert answer.status_code == 403 and "changed by SQL" in answer.text and "secret" not in answer.text
        assert any(str(record) in line for line in room.findings("mail-settings-not-authorized"))
    assert room.request("PATCH", path, {"emailusername": holder}).status_code == 204
    assert room.released(box) == (GOOD, holder, "secret")


def test_settings_from_before_the_tags_go_on(tmp_path):
    """`migrate up` authorizes the settings that existed before the migration that introduces the tags."""
    cluster = Cluster()
    try:
        cluster.step_back("contoso", "0007_email_settings")
        profile, box = uuid.uuid4(), uuid.uuid4()
        cluster.sql("INSERT INTO emailserverprofile (emailserverprofileid, name, incomingserverlocation) VALUES (%s, 'old', 'imap.good.example')", [profile])
        cluster.sql("INSERT INTO mailbox (mailboxid, name, emailserverprofile) VALUES (%s, 'old', %s)", [box, profile])
        cluster.sql("INSERT INTO mailbox (mailboxid, name) SELECT gen_random_uuid(), 'without a profile' FROM generate_series(1, 3)")
        cluster.run("migrate", "up")
        assert set(cluster.sql("SELECT entity, record_id FROM mail_destination")) == {("emailserverprofile", profile), ("mailbox", box)}
        assert "mail-settings-not-authorized" not in cluster.run("doctor", check=False).stdout
        cluster.sql("UPDATE mailbox SET ewsurl = 'https://imap.evil.example' WHERE mailboxid = %s", [box])
        assert str(box) in next(line for line in cluster.run("doctor", "--json", check=False).stdout.splitlines() if "mail-settings-not-authorized" in line)
        # Without the key-encryption key, `migrate up` fails and leaves no migration partly applied.
        cluster.step_back("contoso", "0007_email_settings")
        kek = pathlib.Path(cluster.home / "kek")
        kek.rename(cluster.home / "kek.away")
        assert cluster.run("migrate", "up", check=False).returncode
        assert cluster.sql("SELECT to_regclass('mail_destination') IS NULL") == [(True,)]
        (cluster.home / "kek.away").rename(kek)
        cluster.run("migrate", "up")
        assert cluster.sql("SELECT count(*) FROM mail_destination") == [(2,)]
    finally:
        cluster.remove()


def test_user_names_from_before_they_were_bound_go_on():
    """`migrate up` binds the user names of authorized settings, and no other user names."""
    cluster = Cluster()
    try:
        cluster.run("migrate", "up")
        profile, good, bad, queue = (uuid.uuid4() for _ in range(4))
        cluster.sql("INSERT INTO emailserverprofile (emailserverprofileid, name, incomingserverlocation, incomingusername) VALUES (%s, 'old', 'imap.good.example', 'a')", [profile])
        cluster.sql("INSERT INTO mailbox (mailboxid, name, emailserverprofile, username) VALUES (%s, 'good', %s, 'b')", [good, profile])
        cluster.sql("INSERT INTO queue (queueid, name, emailusername) VALUES (%s, 'queue', 'c')", [queue])
        cluster.step_back("contoso", "0007_email_settings")
        cluster.run("migrate", "up")
        cluster.sql("INSERT INTO mailbox (mailboxid, name, emailserverprofile, username) VALUES (%s, 'bad', %s, 'd')", [bad, profile])
        cluster.step_back("contoso", "0019_roles")
        assert {id for (id,) in cluster.sql("SELECT record_id FROM mail_destination")} == {profile, good}
        cluster.run("migrate", "up")
        assert {id for (id,) in cluster.sql("SELECT record_id FROM mail_destination")} == {profile, good, queue}
        findings = [line for line in cluster.run("doctor", "--json", check=False).stdout.splitlines() if "mail-settings-not-authorized" in line]
        assert str(bad) in "".join(findings) and str(good) not in "".join(findings)
    finally:
        cluster.remove()


def test_a_long_change_set_holds_up_nobody_who_signs_in(room):
    """Sign-ins, tokens and releases of passwords lock the attested state, so a change set that deletes a profile must lock it only at its end."""
    profile = room.profile("mailadmin")
    _, box = room.queue_box(room.profile())
    with psycopg.connect(room.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder.execute("SELECT FROM org_contoso.mailbox WHERE mailboxid = %s FOR UPDATE", [box])
        sent = pool.submit(
            room.change_set, ("DELETE", f"emailserverprofiles({profile})", {}), ("PATCH", f"mailboxes({box})", {"name": "renamed meanwhile"}))
        room.until_one_waits()
        assert room.sql("SELECT 1 FROM config.attested_state FOR UPDATE NOWAIT")
        holder.rollback()
        assert sent.result()[0] == [204, 204]
