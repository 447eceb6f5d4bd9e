"""A program with the SDK sends e-mails and servers back as it retrieved them, and changes single members of parties."""

import uuid

import mailroom
import pytest
from lxml import etree
from mailroom import EVIL, GOOD
from soap import call, columns, entity, execute, fault, operation, parameter, reference, refused_by

room = mailroom.room
ALL = columns(everything=True)


def retrieved(room, name, id, client, column_set=ALL):
    """The content of a retrieved record, as XML."""
    answer = call(room, operation("Retrieve", f"<entityName>{name}</entityName><id>{id}</id><columnSet>{column_set}</columnSet>"), client=client)
    assert etree.QName(answer).localname == "RetrieveResponse", fault(answer)
    return "".join(etree.tostring(child, encoding="unicode") for child in answer[0])


def update(room, content, client="admin"):
    return call(room, operation("Update", f"<entity>{content}</entity>"), client=client)


def is_done(answer):
    assert etree.QName(answer).localname == "UpdateResponse", fault(answer)


@pytest.mark.parametrize("client", ["admin", "user"])
def test_an_email_is_updated_as_it_was_retrieved_in_each_status(room, client):
    id = room.drafted(room.person)
    is_done(update(room, retrieved(room, "email", id, client), client))
    assert room.send(id).status_code == 200
    waiting = retrieved(room, "email", id, client)
    is_done(update(room, waiting, client))
    changed = waiting.replace(">mail ", ">changed ", 1)
    assert changed != waiting
    refused_by(update(room, changed, client), "0x8004022E")
    refused_by(update(room, waiting.replace("customer@elsewhere.test", "thief@elsewhere.test"), client), "0x8004022E" if client == "admin" else "0x80040220")
    assert id in [each["EmailId"] for each in room.take(room.box)]
    is_done(update(room, retrieved(room, "email", id, client), client))
    room.sql("UPDATE org_contoso.email SET statuscode = 3 WHERE activityid = %s", [id])
    sent = retrieved(room, "email", id, client)
    is_done(update(room, sent, client))
    parties = f"<x:Entity>{entity('activityparty', parameter('addressused', 'string', 'other@elsewhere.test'))}</x:Entity>"
    refused_by(update(room, entity("email", parameter("to", "x:EntityCollection", f"<x:Entities>{parties}</x:Entities>"), id=id), client), "0x8004022E")


@pytest.mark.parametrize("sender", ["customer@elsewhere.test", "Mail Delivery Subsystem"])
def test_a_received_email_is_updated_as_it_was_retrieved(room, sender):
    body = {"MailboxId": room.box, "From": sender, "To": "user@contoso.test; other@elsewhere.test", "Subject": "in", "Body": f"{uuid.uuid4()}"}
    room.sql("UPDATE org_contoso.usersettings SET incomingemailfilteringmethod = 0")
    answer = room.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", body)
    assert answer.status_code == 200 and answer.json()["ShouldDeliver"], answer.text
    for client in ("admin", "user"):
        is_done(update(room, retrieved(room, "email", answer.json()["EmailId"], client), client))


def test_a_server_that_sql_wrote_is_not_confirmed_by_a_record_as_it_was_retrieved(room):
    profile = room.profile()
    _, box = room.queue_box(profile)
    room.sql_as("fieldseal_service", "UPDATE emailserverprofile SET incomingserverlocation = %s WHERE emailserverprofileid = %s", [EVIL, profile])
    asked = room.request("PATCH", f"emailserverprofiles({profile})", {"outgoingportnumber": 465}).json()["error"]["message"]
    names = ["outgoingportnumber", *asked.rstrip(".").rsplit(": ", 1)[1].split(", ")]
    for column_set in (ALL, columns(*names)):
        assert "as it was read" in refused_by(update(room, retrieved(room, "emailserverprofile", profile, "admin", column_set)), "0x80040220")
    assert room.release(box).status_code == 403
    stood = room.get(f"emailserverprofiles({profile})?$select={','.join(names)}").json()
    assert room.request("PATCH", f"emailserverprofiles({profile})", {name: stood[name] for name in names} | {"incomingserverlocation": GOOD}).status_code == 204
    assert room.released(box)[0] == GOOD


OTHER = "5ea1ed00-0000-4000-8000-0000000000ab"


@pytest.mark.parametrize("member, wrong", [
    (("donotemail", "boolean", "true"), True), (("donotemail", "string", "zzz"), True), (("donotfax", "boolean", "true"), True), (("ispartydeleted", "boolean", "true"), True), (("effort", "string", "zzz"), True),
    (("effort", "decimal", "1.5"), True), (("participationtypemask", "x:OptionSetValue", "<x:Value>99</x:Value>"), True), (("participationtypemask", "x:OptionSetValue", "<x:Value>1</x:Value>"), True),
    (("participationtypemask", "string", "2"), True), (("partyidname", "int", "1"), True), (("exchangeentryid", "string", "x"), True), (("scheduledstart", "dateTime", "2026-01-01T00:00:00Z"), True),
    (("scheduledend", "dateTime", "2026-01-01T00:00:00Z"), True), (("activityid", "x:EntityReference", reference("email", OTHER)), True), (("activityid", "string", OTHER), True), (("activitypartyid", "string", "x"), True),
    (("addressusedemailcolumnnumber", "int", "1"), True), (("partyobjecttypecode", "string", "queue"), True), (("versionnumber", "string", "x"), True),
    (("donotemail", "boolean", "false"), False), (("ispartydeleted", "boolean", "false"), False), (("effort", None, None), False), (("participationtypemask", "x:OptionSetValue", "<x:Value>2</x:Value>"), False),
    (("partyidname", "string", "a@b.test"), False), (("partyidname", "string", "another"), False), (("activitypartyid", "ser:guid", OTHER), False), (("versionnumber", "long", "7"), False), (("scheduledstart", None, None), False), (("partyid", None, None), False),
])
def test_what_a_party_has_by_itself_is_compared(room, member, wrong):
    """A client may send computed members back unchanged. A different value is refused, because the service would ignore it."""
    party = entity("activityparty", parameter("addressused", "string", "a@b.test") + parameter(*member))
    id = room.create("emails", {"subject": "parties"})
    content = entity("email", parameter("to", "x:EntityCollection", f"<x:Entities><x:Entity>{party}</x:Entity></x:Entities>"), id=id)
    answer = update(room, content)
    if wrong:
        assert member[0] in refused_by(answer, "0x80048D19")
    else:
        is_done(answer)
    assert room.sql("SELECT count(*) FROM org_contoso.activityparty WHERE activityid = %s AND participationtypemask = 2", [id]) == [(0 if wrong else 1,)]


def test_a_party_of_a_record_has_its_name_and_entity(room):
    id = room.create("emails", {"subject": "parties"})
    known = reference("systemuser", room.person).replace('<x:Name i:nil="true"/>', "<x:Name>Ann</x:Name>")
    for more, wrong in ((parameter("partyidname", "string", "Ann"), None), (parameter("partyidname", "string", "Bob"), "partyidname"), (parameter("partyobjecttypecode", "string", "systemuser"), None),
                        (parameter("partyobjecttypecode", "string", "queue"), "partyobjecttypecode"), (parameter("activityid", "x:EntityReference", reference("activitypointer", id)), None)):
        party = entity("activityparty", parameter("partyid", "x:EntityReference", known) + more)
        answer = update(room, entity("email", parameter("to", "x:EntityCollection", f"<x:Entities><x:Entity>{party}</x:Entity></x:Entities>"), id=id))
        assert wrong in refused_by(answer, "0x80048D19") if wrong else is_done(answer) is None


def people(room, id):
    return room.sql("SELECT participationtypemask, addressused, partyidname FROM org_contoso.activityparty WHERE activityid = %s ORDER BY activitypartyid", [id])


@pytest.mark.parametrize("column_set", [ALL, columns("to", "cc", "subject")])
def test_names_of_recipients_stay_where_they_are_written_back(room, column_set):
    parties = [{"participationtypemask": 2, "addressused": "anna@b.test", "partyidname": "Anna <A> & B"}, {"participationtypemask": 2, "addressused": "bare@b.test"},
               {"participationtypemask": 2, "partyid_systemuser@odata.bind": f"/systemusers({room.person})"}, {"participationtypemask": 3, "addressused": "carl@b.test", "partyidname": "Carl"}]
    id = room.create("emails", {"subject": "names", "email_activity_parties": parties})
    before = people(room, id)
    assert [name for _, _, name in before if name in ("Anna <A> & B", "bare@b.test", "Carl")] == ["Anna <A> & B", "bare@b.test", "Carl"]
    content = retrieved(room, "email", id, "admin", column_set)
    # Two of the four recipients have a name that is neither their address nor the name of a record. Only these have partyidname.
    assert content.count(">partyidname<") == 2
    is_done(update(room, content))
    assert people(room, id) == before
    # The client adds a recipient with a name.
    more = f"<x:Entity>{entity('activityparty', parameter('addressused', 'string', 'new@b.test') + parameter('partyidname', 'string', 'New'))}</x:Entity>"
    to = "".join(etree.tostring(each, encoding="unicode") for each in etree.fromstring(f"<r>{content}</r>").xpath("//*[*[local-name()='key'][.='to']]//*[local-name()='Entities']/*"))
    lists = parameter("to", "x:EntityCollection", f"<x:Entities>{to}{more}</x:Entities>")
    is_done(update(room, entity("email", lists, id=id)))
    assert sorted(people(room, id)) == sorted([*before, (2, "new@b.test", "New")])


@pytest.mark.parametrize("wrong, code", [("N" * 401, "0x80044331"), ("a\u202eb", "0x80048D19"), ("a&#x2028;b", "0x80048D19")])
def test_a_name_of_a_recipient_has_the_rule_of_the_web_api(room, wrong, code):
    id = room.create("emails", {"subject": "names"})

    def party(list, *more):
        content = parameter("addressused", "string", "a@b.test") + "".join(parameter("partyidname", "string", name) for name in more)
        return update(room, entity("email", parameter(list, "x:EntityCollection", f"<x:Entities><x:Entity>{entity('activityparty', content)}</x:Entity></x:Entities>"), id=id))
    assert "partyidname" in refused_by(party("to", wrong), code)
    assert "partyidname" in refused_by(party("from", "Boss"), "0x80048D19")
    is_done(party("to", "Anna"))
    assert people(room, id) == [(2, "a@b.test", "Anna")]


def test_the_names_of_a_received_email_are_written_back(room):
    body = {"MailboxId": room.box, "From": "Customer <customer@elsewhere.test>", "To": "user@contoso.test; Other One <other@elsewhere.test>", "Cc": "third@elsewhere.test",
            "Subject": "named", "Body": f"{uuid.uuid4()}"}
    room.sql("UPDATE org_contoso.usersettings SET incomingemailfilteringmethod = 0")
    id = room.request("POST", "emails/Microsoft.Dynamics.CRM.DeliverIncomingEmail", body).json()["EmailId"]
    before = people(room, id)
    assert (1, "customer@elsewhere.test", "Customer") in before and (2, "other@elsewhere.test", "Other One") in before
    for client in ("admin", "user"):
        content = retrieved(room, "email", id, client)
        assert content.count(">partyidname<") == 2
        is_done(update(room, content, client))
        refused_by(update(room, content.replace(">Other One<", ">Another<"), client), "0x8004022E")
    # For a draft, an administrator may send the sender's name back, but not another name.
    assert room.request("PATCH", f"emails({id})", {"statuscode": 1, "directioncode": True}).status_code == 204
    content = retrieved(room, "email", id, "admin")
    is_done(update(room, content))
    assert people(room, id) == before
    assert "partyidname" in refused_by(update(room, content.replace(">Customer<", ">Boss<").replace(">Customer<", ">Boss<")), "0x80048D19")


def option(number):
    return f"<x:Value>{number}</x:Value>"


def test_a_status_of_an_email_is_one_of_its_state(room):
    id = room.create("emails", {"subject": "states"})

    def both(state, status):
        return entity("email", parameter("statecode", "x:OptionSetValue", option(state)) + parameter("statuscode", "x:OptionSetValue", option(status)), id=id)

    def set_state(state, status):
        return (parameter("EntityMoniker", "x:EntityReference", reference("email", id)) + parameter("State", "x:OptionSetValue", option(state)) + parameter("Status", "x:OptionSetValue", option(status)))
    refused_by(update(room, both(0, 5)), "0x80048408")
    refused_by(call(room, operation("Execute", f'<request><x:Parameters>{set_state(0, 5)}</x:Parameters><x:RequestId i:nil="true"/><x:RequestName>SetState</x:RequestName></request>')), "0x80048408")
    assert room.status(id) == 1
    is_done(update(room, both(2, 5)))
    execute(room, "SetState", set_state(0, 1))
    assert room.status(id) == 1
    execute(room, "SetState", set_state(2, -1))
    assert room.status(id) == 5
