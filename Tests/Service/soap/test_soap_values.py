"""Values of each type in requests and responses. A value that does not fit is refused in the terms of SOAP. Names that only the Web API has are
refused."""

import base64
import struct
import uuid
import zlib

import pytest
from lxml import etree
from soap import NAMESPACES, call, columns, entity, fault, formatted, operation, parameter, reference, refused_by, values


# An id that no record has.
NOBODY = "5ea1ed00-0000-4000-8000-0000000000ff"


def picture():
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    pixel = zlib.compress(b"\0\xff\0\0")
    return base64.b64encode(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", 1, 1, 8, 2, 0, 0, 0)) + chunk(b"IDAT", pixel) + chunk(b"IEND", b"")).decode()


def pair(key, declaration, text):
    return f"<x:KeyValuePairOfstringanyType><p:key>{key}</p:key><p:value {declaration}>{text}</p:value></x:KeyValuePairOfstringanyType>"


def written(service, name, *attributes, id=None):
    """Creates a record, or updates the record with this id. Returns the id or the response."""
    fields = "".join(parameter(*attribute) for attribute in attributes)
    if id:
        return call(service, operation("Update", f"<entity>{entity(name, fields, id=id)}</entity>"))
    response = call(service, operation("Create", f"<entity>{entity(name, fields)}</entity>"))
    return response if response.tag.endswith("}Fault") else response[0].text


def read(service, name, id, *names):
    return call(service, operation("Retrieve", f"<entityName>{name}</entityName><id>{id}</id><columnSet>{columns(*names)}</columnSet>"))[0]


# For each value: the entity and attribute, its type and text in a request and in the response, and its value over the Web API.
VALUES = [
    ("queue", "description", "string", "a &lt;b&gt; &amp; c", "xs:string", "a <b> & c", "a <b> & c"),
    ("queue", "description", "string", " spaces \n and lines ", "xs:string", " spaces \n and lines ", " spaces \n and lines "),
    ("queue", "description", "string", "", None, None, None),
    ("emailserverprofile", "outgoingportnumber", "int", "1587", "xs:int", "1587", 1587),
    ("emailserverprofile", "outgoingportnumber", "long", " 1587 ", "xs:int", "1587", 1587),
    ("emailserverprofile", "outgoingportnumber", "short", "587", "xs:int", "587", 587),
    ("emailserverprofile", "outgoingusessl", "boolean", "true", "xs:boolean", "true", True),
    ("emailserverprofile", "outgoingusessl", "boolean", "0", "xs:boolean", "false", False),
    # A whole number may have any numeric type.
    ("emailserverprofile", "outgoingportnumber", "decimal", "+1587", "xs:int", "1587", 1587),
    ("emailserverprofile", "outgoingportnumber", "double", "1587", "xs:int", "1587", 1587),
    ("emailserverprofile", "lasttesttotalexecutiontime", "long", "5000000000", "xs:long", "5000000000", 5000000000),
    ("mailbox", "processemailreceivedafter", "dateTime", "2026-03-04T05:06:07Z", "xs:dateTime", "2026-03-04T05:06:07Z", "2026-03-04T05:06:07Z"),
    # A time without a zone is in UTC. A time in another zone is converted. Fractions of a second are dropped.
    ("mailbox", "processemailreceivedafter", "dateTime", "2026-03-04T05:06:07", "xs:dateTime", "2026-03-04T05:06:07Z", "2026-03-04T05:06:07Z"),
    ("mailbox", "processemailreceivedafter", "dateTime", "2026-03-04T05:06:07.9990000+02:00", "xs:dateTime", "2026-03-04T03:06:07Z", "2026-03-04T03:06:07Z"),
    ("mailbox", "processemailreceivedafter", "dateTime", "2026-03-04", "xs:dateTime", "2026-03-04T00:00:00Z", "2026-03-04T00:00:00Z"),
    ("email", "processid", "ser:guid", "5EA1ED00-0000-4000-8000-0000000000AB", "ser:guid", "5ea1ed00-0000-4000-8000-0000000000ab", "5ea1ed00-0000-4000-8000-0000000000ab"),
    ("email", "processid", "ser:guid", "{5ea1ed00-0000-4000-8000-0000000000ab}", "ser:guid", "5ea1ed00-0000-4000-8000-0000000000ab", "5ea1ed00-0000-4000-8000-0000000000ab"),
    ("emailserverprofile", "entityimage", "base64Binary", picture(), "xs:base64Binary", picture(), picture()),
    ("mailbox", "incomingemaildeliverymethod", "x:OptionSetValue", "<x:Value>2</x:Value>", "x:OptionSetValue", "2", 2),
]


@pytest.mark.parametrize("name, attribute, type, text, back, own, web", VALUES)
def test_a_value_is_written_and_comes_back(service, name, attribute, type, text, back, own, web):
    label = "subject" if name == "email" else "name"
    id = written(service, name, (label, "string", f"value {uuid.uuid4().hex[:8]}"), (attribute, type, text))
    assert isinstance(id, str), fault(id)
    found = values(read(service, name, id, attribute)).get(attribute)
    if back == "x:OptionSetValue":
        assert (found[0], found[1].findtext("x:Value", namespaces=NAMESPACES)) == (back, own)
    else:
        assert found == ((back, own) if back else None)
    collection = {"queue": "queues", "email": "emails", "mailbox": "mailboxes", "emailserverprofile": "emailserverprofiles"}[name]
    assert service.get(f"{collection}({id})?$select={attribute}").json()[attribute] == web


#: How clients write null. The SDK writes the first form, and other serializers also write the value's type.
NULLS = {
    "nil": '<p:value i:nil="true"/>', "nil of a type": '<p:value i:nil="true" i:type="xs:string"/>', "nil as 1": '<p:value i:nil="1"></p:value>',
}
ATTRIBUTES = {(name, attribute): (type, text) for name, attribute, type, text, *_ in VALUES if text and attribute not in ("outgoingusessl", "incomingemaildeliverymethod")}


@pytest.mark.parametrize("form", NULLS)
@pytest.mark.parametrize("name, attribute", ATTRIBUTES)
def test_null_clears_an_attribute_in_each_form(service, name, attribute, form):
    label = "subject" if name == "email" else "name"
    id = written(service, name, (label, "string", f"value {uuid.uuid4().hex[:8]}"), (attribute, *ATTRIBUTES[name, attribute]))
    assert attribute in values(read(service, name, id, attribute))
    null = f"<x:KeyValuePairOfstringanyType><p:key>{attribute}</p:key>{NULLS[form]}</x:KeyValuePairOfstringanyType>"
    response = call(service, operation("Update", f"<entity>{entity(name, null, id=id)}</entity>"))
    assert response.tag.endswith("UpdateResponse"), fault(response)
    assert attribute not in values(read(service, name, id, attribute))


@pytest.mark.parametrize("value, word", [("", "a key and a value"), ("<p:value/>", "has no i:type"), ('<p:value i:nil="maybe"/>', "nil")])
def test_a_value_that_is_missing_is_not_null(service, value, word):
    """An empty text is null, and a value that the client left out is an error."""
    text = f"value {uuid.uuid4().hex[:8]}"
    id = written(service, "queue", ("name", "string", text), ("description", "string", text))
    pair = f"<x:KeyValuePairOfstringanyType><p:key>description</p:key>{value}</x:KeyValuePairOfstringanyType>"
    response = call(service, operation("Update", f"<entity>{entity('queue', pair, id=id)}</entity>"))
    assert word in fault(response)[2], fault(response)
    assert values(read(service, "queue", id, "description"))["description"] == ("xs:string", text)
    assert written(service, "queue", ("description", "string", ""), id=id).tag.endswith("UpdateResponse")
    assert "description" not in values(read(service, "queue", id, "description"))


def test_a_reference_has_its_name_and_is_taken_back_as_it_is(service):
    label = f"value {uuid.uuid4().hex[:8]} <&>"
    profile = service.create("emailserverprofiles", {"name": label})
    box = written(service, "mailbox", ("name", "string", "value"), ("emailserverprofile", "x:EntityReference", reference("emailserverprofile", profile)))
    found = read(service, "mailbox", box, "emailserverprofile", "ownerid", "versionnumber", "statecode", "createdon")
    link = values(found)["emailserverprofile"][1]
    assert [child.text for child in link] == [profile, None, "emailserverprofile", label, None]
    assert values(found)["ownerid"][1].findtext("x:LogicalName", namespaces=NAMESPACES) == "systemuser"
    kind, number = values(found)["versionnumber"]
    assert kind == "xs:long" and number == found.findtext("x:RowVersion", namespaces=NAMESPACES)
    shown = formatted(found)
    assert shown["emailserverprofile"] == label and shown["statecode"] == "Active" and shown["createdon"].endswith("M") and "versionnumber" not in shown
    # The client sends the value back as it was read, with Name, FormattedValues and attributes.
    name = label.replace("&", "&amp;").replace("<", "&lt;")
    back = reference("emailserverprofile", profile).replace('<x:Name i:nil="true"/>', f"<x:Name>{name}</x:Name>")
    sent = entity("mailbox", parameter("emailserverprofile", "x:EntityReference", back) + parameter("createdon", "dateTime", values(found)["createdon"][1]), id=box).replace(
        "<x:FormattedValues/>", f"<x:FormattedValues><x:KeyValuePairOfstringstring><p:key>emailserverprofile</p:key><p:value>{name}</p:value></x:KeyValuePairOfstringstring></x:FormattedValues>")
    assert call(service, operation("Update", f"<entity>{sent}</entity>")).tag.endswith("UpdateResponse")
    # A reference with the empty id is refused. Null clears the lookup.
    assert written(service, "mailbox", ("emailserverprofile", "x:EntityReference", reference("emailserverprofile")), id=box).tag.endswith("}Fault")
    assert written(service, "mailbox", ("emailserverprofile", None, None), id=box).tag.endswith("UpdateResponse")
    assert "emailserverprofile" not in values(read(service, "mailbox", box, "emailserverprofile"))


def test_an_id_is_a_guid_or_its_text(service):
    for type in ("ser:guid", "string", "xs:string"):
        id = str(uuid.uuid4())
        assert written(service, "queue", ("name", "string", f"value {id[:8]}"), ("queueid", type, id)) == id
        assert values(read(service, "queue", id, "queueid")) == {"queueid": ("ser:guid", id)}


OPTION, MONEY = "<x:Value>1</x:Value>", "<x:Value>1.0</x:Value>"


@pytest.mark.parametrize("name, attribute, type, text, word", [
    ("mailbox", "name", "int", "1", "a string"), ("mailbox", "name", "x:OptionSetValue", OPTION, "a string"), ("mailbox", "name", "x:EntityReference", reference("queue", NOBODY), "a string"),
    ("mailbox", "incomingemaildeliverymethod", "string", "2", "an OptionSetValue"), ("mailbox", "incomingemaildeliverymethod", "boolean", "true", "an OptionSetValue"),
    ("mailbox", "incomingemaildeliverymethod", "x:OptionSetValue", "<x:Value>99</x:Value>", "takes one of"), ("mailbox", "incomingemaildeliverymethod", "x:OptionSetValue", "", "Value"),
    ("mailbox", "incomingemaildeliverymethod", "x:OptionSetValueCollection", "", "OptionSetValueCollection"),
    ("mailbox", "processemailreceivedafter", "int", "1", "a dateTime"), ("mailbox", "processemailreceivedafter", "dateTime", "2026-13-01T00:00:00", "dateTime"),
    ("mailbox", "processemailreceivedafter", "dateTime", "1700-01-01T00:00:00Z", "1753"), ("mailbox", "emailserverprofile", "ser:guid", NOBODY, "an EntityReference"),
    ("mailbox", "emailserverprofile", "x:EntityReference", reference("queue", NOBODY), "emailserverprofile refers to a record of emailserverprofile"),
    ("mailbox", "ownerid", "x:EntityReference", reference("queue", NOBODY), "systemuser or team"),
    ("mailbox", "emailserverprofile", "x:Entity", entity("emailserverprofile"), "an EntityReference"), ("mailbox", "emailserverprofile", "x:EntityCollection", "<x:Entities/>", "an EntityReference"),
    ("emailserverprofile", "outgoingportnumber", "string", "587", "an int"), ("emailserverprofile", "outgoingportnumber", "decimal", "1.5", "an int"),
    ("emailserverprofile", "outgoingportnumber", "int", "3000000000", "int"), ("emailserverprofile", "outgoingportnumber", "int", "-1", "outgoingportnumber"),
    ("emailserverprofile", "outgoingusessl", "string", "true", "a boolean"), ("emailserverprofile", "outgoingusessl", "boolean", "yes", "boolean"),
    ("emailserverprofile", "entityimage", "base64Binary", "!", "base64Binary"), ("emailserverprofile", "entityimage", "int", "1", "base64Binary"),
    ("emailserverprofile", "entityimage", "base64Binary", "AAAA", "entityimage"),
    ("email", "exchangerate", "string", "1", "a decimal"), ("email", "exchangerate", "x:Money", MONEY, "Money"), ("email", "exchangerate", "double", "NaN", "double"), ("email", "exchangerate", "double", "INF", "double"),
    ("email", "exchangerate", "decimal", "1.25", "exchangerate can't be set"), ("emailserverprofile", "outgoingportnumber", "double", "1.5E3", "an int"),
    ("email", "processid", "int", "1", "a guid"), ("email", "processid", "ser:guid", "x", "guid"),
    ("email", "to", "string", "a@b.test", "EntityCollection"), ("email", "to", "x:EntityCollection", f"<x:Entities><x:Entity>{entity('queue')}</x:Entity></x:Entities>", "activityparty"),
    ("mailbox", "name", "x:AliasedValue", "", "AliasedValue"), ("mailbox", "name", "x:BooleanManagedProperty", "", "BooleanManagedProperty"), ("mailbox", "name", "d:Nope", "", "name"), ("mailbox", "name", "xs:hexBinary", "00", "hexBinary"),
    ("mailbox", "name", "a:ArrayOfstring", "<a:string>x</a:string>", "a string"), ("mailbox", "password", "base64Binary", "!", "password"), ("mailbox", "password", "x:OptionSetValue", OPTION, "a string"),
])
def test_a_value_that_does_not_fit_is_refused_in_the_words_of_the_contracts(service, name, attribute, type, text, word):
    label = "subject" if name == "email" else "name"
    named = () if attribute == label else ((label, "string", "value"),)
    response = written(service, name, *named, (attribute, type, text))
    assert not isinstance(response, str), (attribute, type)
    message = fault(response)[2]
    assert word in message and not any(each in message for each in ("odata", "JSON", "$", "annotation", "navigation property", "body")), message


# Names that only the Web API has are not attributes


@pytest.mark.parametrize("key, type, text", [
    ("emailserverprofile@odata.bind", "string", "/emailserverprofiles(5ea1ed00-0000-4000-8000-0000000000ab)"), ("@odata.id", "string", "mailboxes(5ea1ed00-0000-4000-8000-0000000000ab)"),
    ("@odata.type", "string", "Microsoft.Dynamics.CRM.queue"), ("@odata.etag", "string", "x"), ("name@Foo.bar", "string", "x"), ("@Foo.bar", "int", "1"), ("_emailserverprofile_value", "ser:guid", NOBODY),
    ("emailserverprofile_mailbox", None, None), ("ownerid_systemuser@odata.bind", None, None), ("", "string", "x"), ("name ", "string", "x"), ("emailserverprofileid", None, None),
])
def test_names_of_the_web_api_are_no_attributes(service, key, type, text):
    name = f"value {uuid.uuid4().hex[:8]}"
    for message in ("Create", "Upsert"):
        target = parameter("Target", "x:Entity", entity("mailbox", parameter("name", "string", name) + parameter(key, type, text)))
        response = call(service, operation("Execute", f"<request><x:Parameters>{target}</x:Parameters><x:RequestName>{message}</x:RequestName></request>"))
        assert f"mailbox has no attribute '{key.lower()}'" in refused_by(response, "0x80048D19")
    assert service.get(f"mailboxes?$filter=name eq '{name}'").json()["value"] == []


@pytest.mark.parametrize("key", ["email_activity_parties", "email_activity_parties@fieldseal.participationtypemasks", "email_activity_mime_attachment", "partyid"])
def test_parts_of_an_email_are_no_attributes(service, key):
    response = written(service, "email", ("subject", "string", "value"), (key, None, None))
    assert f"email has no attribute '{key}'" in refused_by(response, "0x80048D19")


def party(*members):
    return f"<x:Entity>{entity('activityparty', ''.join(parameter(*member) for member in members))}</x:Entity>"


@pytest.mark.parametrize("list, parties, word", [
    ("to", party(("addressused", "string", "no address")), "one e-mail address"), ("to", party(("addressused", "string", "a@b.test, c@d.test")), "one e-mail address"), ("cc", party(), "neither partyid"),
    ("cc", party(("effort", "int", "1")), "effort of a party"), ("bcc", party(("partyid", "x:EntityReference", reference("team", NOBODY))), "systemuser or a queue"),
    ("bcc", party(("partyid", "string", "x")), "EntityReference"), ("to", party(("nope", "string", "x")), "'nope'"), ("from", party(("addressused", "string", "a@b.test")) * 2, "one sender"),
    ("from", party(("partyid@odata.bind", "string", "/queues(1)")), "partyid@odata.bind"), ("to", party(("addressused", "int", "1")), "addressused"),
])
def test_parties_that_are_none(service, list, parties, word):
    response = written(service, "email", ("subject", "string", "value"), (list, "x:EntityCollection", f"<x:Entities>{parties}</x:Entities>"))
    message = fault(response)[2]
    assert word in message and "bind" not in message.replace(word, ""), message


def test_every_list_of_parties(service):
    me = service.get("WhoAmI").json()["UserId"]
    queue = service.create("queues", {"name": f"value {uuid.uuid4().hex[:8]}", "emailaddress": f"{uuid.uuid4().hex}@queue.test"})
    lists = {"from": party(("partyid", "x:EntityReference", reference("queue", queue))), "to": party(("partyid", "x:EntityReference", reference("systemuser", me))),
             "cc": party(("addressused", "string", "one@cc.test")) + party(("addressused", "string", "two@cc.test")), "bcc": party(("addressused", "string", "one@bcc.test"))}
    id = written(service, "email", ("subject", "string", "value"), *((name, "x:EntityCollection", f"<x:Entities>{each}</x:Entities>") for name, each in lists.items()))
    for names in (tuple(lists), ("cc",)):
        found = values(read(service, "email", id, *names))
        for name in names:
            kind, collection = found[name]
            members = [values(each) for each in collection.find("x:Entities", NAMESPACES)]
            assert kind == "x:EntityCollection" and len(members) == lists[name].count("<x:Entity>"), name
            assert all(each["participationtypemask"][0] == "x:OptionSetValue" and each["participationtypemask"][1].findtext("x:Value", namespaces=NAMESPACES) == str(1 + tuple(lists).index(name)) for each in members)
        assert ("to" in found) == ("to" in names)
    # With all columns, the record also has its lists of parties.
    everything = values(call(service, operation("Retrieve", f"<entityName>email</entityName><id>{id}</id><columnSet>{columns(everything=True)}</columnSet>"))[0])
    assert set(lists) <= set(everything)


def test_an_attachment_without_its_email(service):
    response = written(service, "activitymimeattachment", ("filename", "string", "a.txt"), ("body", "string", "YQ=="))
    assert "objectid of an attachment is required: a reference to its e-mail" in fault(response)[2]


def test_a_decimal_comes_back(service):
    currency = service.get("transactioncurrencies?$select=exchangerate").json()["value"][0]
    found = values(read(service, "transactioncurrency", currency["transactioncurrencyid"], "exchangerate"))["exchangerate"]
    assert found[0] == "xs:decimal" and float(found[1]) == float(currency["exchangerate"])


@pytest.mark.parametrize("name", ["emailserverprofile", "mailbox", "queue", "team", "systemuser", "email"])
def test_a_record_is_updated_as_it_was_retrieved(service, name):
    """The client sends every attribute of the record back, which changes nothing else. The parties of an e-mail refer to it as an activity."""
    label = f"retrieved {uuid.uuid4()}"
    user = service.get("WhoAmI").json()["UserId"]
    profile = service.create("emailserverprofiles", {"name": f"of {label}"})
    collection, content = {
        "emailserverprofile": ("emailserverprofiles", {"name": label, "incomingpassword": "of incoming", "entityimage": picture()}),
        "mailbox": ("mailboxes", {"name": label, "password": "of the mailbox", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}),
        "queue": ("queues", {"name": label, "description": " spaces \n <b> "}),
        "team": ("teams", {"name": label}), "systemuser": ("systemusers", {"fullname": label, "domainname": f"CONTOSO\\{label}"}),
        "email": ("emails", {"subject": label, "email_activity_parties": [
            {"participationtypemask": 2, "addressused": "customer@elsewhere.test"},
            {"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({user})"}]}),
    }[name]
    record = service.create(collection, content)

    def stored():
        """The record over the Web API, without when it was changed. Its parties and its passwords."""
        response = service.get(f"{collection}({record})")
        assert response.status_code == 200, response.text
        columns = {key: value for key, value in response.json().items() if key not in ("@odata.etag", "modifiedon", "versionnumber")}
        parties = service.get(f"activityparties?$filter=_activityid_value eq {record}&$orderby=participationtypemask,addressused").json()["value"]
        passwords = {address: value for address, value in service.opened_cells().items() if record in address}
        return columns, [(party["participationtypemask"], party["addressused"], party["_partyid_value"]) for party in parties], passwords

    kept = stored()
    retrieved = call(service, operation("Retrieve", f"<entityName>{name}</entityName><id>{record}</id><columnSet>{columns(everything=True)}</columnSet>"))[0]
    content = "".join(etree.tostring(child, encoding="unicode") for child in retrieved)
    answer = call(service, operation("Update", f"<entity>{content}</entity>"))
    assert etree.QName(answer).localname == "UpdateResponse", fault(answer)
    assert stored() == kept
    if name == "email":
        parties = service.get(f"activityparties?$filter=_activityid_value eq {record}&$orderby=participationtypemask", Prefer='odata.include-annotations="*"').json()["value"]
        assert [(party["participationtypemask"], party["addressused"]) for party in parties if party["participationtypemask"] < 3][1:] == [(2, "customer@elsewhere.test")]
        for party in parties:
            assert party["_activityid_value"] == record and party["_activityid_value@Microsoft.Dynamics.CRM.lookuplogicalname"] == "email"


def test_a_reference_to_an_activity_is_one_to_an_email(service):
    email = service.create("emails", {"subject": f"activity {uuid.uuid4()}"})
    for name in ("email", "activitypointer", "ActivityPointer"):
        pair = parameter("objectid", "x:EntityReference", reference(name, email)) + parameter("filename", "string", "a.txt") + parameter("body", "string", "YQ==")
        answer = call(service, operation("Create", f"<entity>{entity('activitymimeattachment', pair)}</entity>"))
        assert etree.QName(answer).localname == "CreateResponse", fault(answer)
    assert service.get(f"activitymimeattachments/$count?$filter=_objectid_value eq {email}").text.strip("\ufeff") == "3"
