"""The Organization service: the requests of Dataverse's SDK work, and the responses have the form that the SDK's classes read."""

import pathlib
import re
import uuid
from xml.sax.saxutils import escape

import pytest
import requests
from lxml import etree
from soap import (
    EMPTY, NAMESPACES, XPATH, address, call, columns, entity, execute, fault, formatted, names, operation, outline, outlines, parameter,
    reference, refused_by, request, results, send, opened, type_of, values,
)

OUTLINES = outlines()


@pytest.fixture(scope="module")
def me(service):
    return service.get("WhoAmI").json()


@pytest.fixture
def name():
    return f"soap{uuid.uuid4().hex[:12]}"


def fixture(service, kind, /, **values):
    return opened(send(service, request(kind, **values)))


def same(element, kind, keep_nils=True):
    """Compares the outline of an element with the outline of a recorded response."""
    own, wanted = outline(element), OUTLINES[kind]
    assert (own if keep_nils else names(own)) == (wanted if keep_nils else names(wanted))


# The three messages for the key, and the connection around them


@pytest.mark.parametrize("kind", ["IsDataEncryptionActive", "IsDataEncryptionActive-late-bound"])
def test_is_data_encryption_active(service, kind):
    response = fixture(service, f"execute-{kind}")
    same(response, "response-IsDataEncryptionActive")
    assert results(response)["IsActive"].text == str(service.is_active()).lower()


def test_the_key_is_set_and_read(own_service):
    service = own_service
    key = "Soap-correct-horse-<&>-7"
    response = opened(send(service, request("execute-SetDataEncryptionKey", key=escape(key))))
    same(response, "response-SetDataEncryptionKey")
    response = opened(send(service, request("execute-RetrieveDataEncryptionKey")))
    same(response, "response-RetrieveDataEncryptionKey")
    assert results(response)["EncryptionKey"].text == key == service.key()
    # Activating an active organization is refused with the same code as over the Web API.
    late = opened(send(service, request("execute-SetDataEncryptionKey-late-bound", key=escape(key), first=str(uuid.uuid4()))))
    code = service.set_key(key, change=False).json()["error"]["code"]
    assert fault(late)[1] == code == "0x80048525"
    weak = call(service, operation("Execute", f'<request><x:Parameters>{parameter("EncryptionKey", "string", "feeble")}{parameter("ChangeEncryptionKey", "boolean", "true")}</x:Parameters><x:RequestName>SetDataEncryptionKey</x:RequestName></request>'))
    assert "feeble" not in refused_by(weak, "0x80048528")


def test_who_am_i_version_and_organization(service, me):
    response = fixture(service, "execute-WhoAmI")
    same(response, "response-WhoAmI")
    assert {key: value.text for key, value in results(response).items()} == {
        key: me[key] for key in ("UserId", "BusinessUnitId", "OrganizationId")}
    response = fixture(service, "execute-RetrieveVersion")
    same(response, "response-RetrieveVersion")
    response = fixture(service, "execute-RetrieveCurrentOrganization")
    same(response, "response-RetrieveCurrentOrganization")
    detail = results(response)["Detail"]
    assert detail.findtext("o:UniqueName", namespaces=NAMESPACES) == "contoso"
    assert f"{service.base}/contoso/XRMServices/2011/Organization.svc" in [e.text for e in detail.iter(f"{{{NAMESPACES['p']}}}value")]


# Records


def test_an_operation_creates_reads_updates_and_deletes(service, name):
    profile = service.create("emailserverprofiles", {"name": f"{name} profile"})
    response = fixture(service, "operation-Create", name=name, second=profile)
    same(response, "result-Create")
    id = response[0].text
    record = service.get(f"mailboxes({id})").json()
    assert record["name"] == name and record["_emailserverprofile_value"] == profile
    assert record["processemailreceivedafter"] == "2026-03-04T05:06:07Z" and record["incomingemaildeliverymethod"] == 2
    assert record["ispasswordset"] is True and record["password"] is None

    response = fixture(service, "operation-Retrieve", first=id)
    entity = response[0]
    attributes = values(entity)
    assert attributes == {"name": ("xs:string", name), "mailboxid": ("ser:guid", id)}
    assert entity.findtext("x:Id", namespaces=NAMESPACES) == id and entity.findtext("x:LogicalName", namespaces=NAMESPACES) == "mailbox"
    assert f'W/"{entity.findtext("x:RowVersion", namespaces=NAMESPACES)}"' == record["@odata.etag"]

    # As over the Web API, a null name is refused. A null address is accepted.
    refused_by(fixture(service, "operation-Update", first=id), service.request("PATCH", f"mailboxes({id})", {"name": None}).json()["error"]["code"])
    service.request("PATCH", f"mailboxes({id})", {"emailaddress": "soap@contoso.test"})
    response = opened(send(service, request("operation-Update", first=id).replace(">name<", ">emailaddress<")))
    assert outline(response) == ["UpdateResponse"]
    assert service.get(f"mailboxes({id})?$select=emailaddress").json()["emailaddress"] is None
    response = fixture(service, "operation-Delete", first=id)
    assert outline(response) == ["DeleteResponse"]
    missing = fixture(service, "operation-Retrieve", first=id)
    same(missing, "fault")
    refused_by(missing, "0x80040217")


def test_each_kind_of_value_is_read_as_its_class_reads_it(service, name, me):
    profile = service.create("emailserverprofiles", {"name": f"{name} <&> profile", "outgoingportnumber": 1587})
    id = service.create("mailboxes", {
        "name": name, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})", "incomingemaildeliverymethod": 2,
        "processemailreceivedafter": "2026-03-04T15:06:07Z", "password": "canary"})
    response = fixture(service, "execute-Retrieve", first=id)
    found = results(response)["Entity"]
    attributes = values(found)
    wanted = {}
    lines = OUTLINES["response-Retrieve"]
    for index, line in enumerate(lines):
        match = re.match(r"( +)p:value type=(\S+)", line)
        if match:
            inner = []
            for following in lines[index + 1:]:
                if len(following) - len(following.lstrip()) <= len(match.group(1)):
                    break
                inner.append(following[len(match.group(1)):])
            wanted[match.group(2)] = inner
    for key, (type, value) in attributes.items():
        assert type in wanted, (key, type)
        element = found.xpath(f"x:Attributes/*[p:key='{key}']/p:value", namespaces=XPATH)[0]
        assert names(outline(element)[1:]) == names(wanted[type]), key
    assert {"xs:string", "ser:guid", "xs:dateTime", "xs:boolean", "xs:int", "xs:long", "x:OptionSetValue", "x:EntityReference"} <= {t for t, _ in attributes.values()}
    link = attributes["emailserverprofile"][1]
    assert [e.text for e in link] == [profile, None, "emailserverprofile", f"{name} <&> profile", None]
    owner = attributes["ownerid"][1]
    assert owner.findtext("x:LogicalName", namespaces=NAMESPACES) == "systemuser" and owner.findtext("x:Id", namespaces=NAMESPACES) == me["UserId"]
    assert "password" not in attributes and "emailaddress" not in attributes and b"canary" not in etree.tostring(response)
    shown = formatted(found)
    assert shown["processemailreceivedafter"] == "3/4/2026 3:06 PM" and shown["emailserverprofile"] == f"{name} <&> profile"
    assert shown["isforwardmailbox"] == "Yes" and shown["statecode"] == "Active"
    order = ["Attributes", "EntityState", "FormattedValues", "Id", "KeyAttributes", "LogicalName", "RelatedEntities", "RowVersion"]
    assert [etree.QName(child).localname for child in found] == order


def test_execute_creates_updates_and_deletes(service, name):
    profile = service.create("emailserverprofiles", {"name": f"{name} profile"})
    response = fixture(service, "execute-Create", name=name, second=profile)
    same(response, "response-Create")
    id = results(response)["id"].text
    version = service.get(f"mailboxes({id})").json()["@odata.etag"][3:-1]
    # The fixture requires a matching version, but gives none.
    refused_by(fixture(service, "execute-Update", first=id), "0x80060883")
    body = request("execute-Update", first=id).replace('<a:RowVersion i:nil="true"/>', f"<a:RowVersion>{version}</a:RowVersion>")
    same(opened(send(service, body)), "response-Update")
    refused_by(opened(send(service, body)), "0x80060882")
    assert service.get(f"mailboxes({id})").json()["name"] == "Support team"
    refused_by(fixture(service, "execute-Delete", first=id, version=version), "0x80060882")
    now = service.get(f"mailboxes({id})").json()["@odata.etag"][3:-1]
    same(fixture(service, "execute-Delete", first=id, version=now), "response-Delete")
    assert service.get(f"mailboxes({id})").status_code == 404


def test_upsert_and_retrieve_by_an_alternate_key(service, name):
    created = fixture(service, "execute-Upsert", name=name)
    same(created, "response-Upsert")
    assert results(created)["RecordCreated"].text == "true"
    id = results(created)["Target"].findtext("x:Id", namespaces=NAMESPACES)
    again = fixture(service, "execute-Upsert", name=name)
    assert results(again)["RecordCreated"].text == "false"
    assert results(again)["Target"].findtext("x:Id", namespaces=NAMESPACES) == id
    assert service.get(f"emailserverprofiles({id})").json()["name"] == name
    queue = service.create("queues", {"name": f"{name}'s"})
    found = fixture(service, "execute-Retrieve-by-key", name=f"{name}'s")
    assert results(found)["Entity"].findtext("x:Id", namespaces=NAMESPACES) == queue
    refused_by(fixture(service, "execute-Retrieve-by-key", name=f"no {name}"), "0x80060891")


def test_many_records_at_once(service, name):
    profile = service.create("emailserverprofiles", {"name": f"{name} profile"})
    response = fixture(service, "execute-CreateMultiple", name=name, second=profile)
    assert names(outline(response))[:7] == OUTLINES["response-CreateMultiple"][:7]
    ids = [element.text for element in results(response)["Ids"]]
    assert len(ids) == 1
    response = fixture(service, "execute-UpdateMultiple", first=ids[0])
    assert results(response) == {}
    assert service.get(f"mailboxes({ids[0]})").json()["name"] == "changed"
    other = str(uuid.uuid4())
    response = fixture(service, "execute-UpsertMultiple", first=other)
    upserted = results(response)["Results"]
    assert type_of(upserted) == "x:ArrayOfUpsertResponse"
    assert [e.text for e in upserted.iter(f"{{{NAMESPACES['p']}}}key")] == ["RecordCreated", "Target"]
    assert service.get(f"mailboxes({other})").json()["name"] == "changed"
    # If one of the records can't be updated, none is.
    two = entity("mailbox", parameter("name", "string", "kept"), id=other) + "</x:Entity><x:Entity>" + entity("mailbox", id=str(uuid.uuid4()))
    refused_by(
        call(service, operation("Execute", f'<request><x:Parameters>{parameter("Targets", "x:EntityCollection", f"<x:Entities><x:Entity>{two}</x:Entity></x:Entities>")}</x:Parameters><x:RequestName>UpdateMultiple</x:RequestName></request>')),
        "0x80040217")
    assert service.get(f"mailboxes({other})").json()["name"] == "changed"


def test_associate_and_disassociate(service, name):
    profile = service.create("emailserverprofiles", {"name": f"{name} profile"})
    mailbox = service.create("mailboxes", {"name": name})

    def linked():
        return service.get(f"mailboxes({mailbox})").json()["_emailserverprofile_value"]

    assert outline(fixture(service, "operation-Associate", second=profile, first=mailbox)) == ["AssociateResponse"]
    assert linked() == profile
    assert outline(fixture(service, "operation-Disassociate", second=profile, first=mailbox)) == ["DisassociateResponse"]
    assert linked() is None
    refused_by(fixture(service, "operation-Disassociate", second=profile, first=mailbox), "0x80040217")
    same(fixture(service, "execute-Associate", second=profile, first=mailbox), "response-Associate")
    assert linked() == profile
    same(fixture(service, "execute-Disassociate", second=profile, first=mailbox), "response-Disassociate")
    assert linked() is None
    unknown = request("operation-Associate", second=profile, first=mailbox).replace("emailserverprofile_mailbox", "no_such_relationship")
    assert "no_such_relationship" in refused_by(opened(send(service, unknown)), "0x80048D19")


# Owners, shares and teams


def test_assign_set_state_and_share(service, name, me):
    made = service.json("client", "add", f"{name}-other", "--org", "contoso", "--role", "Basic User")
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    other = service.get("WhoAmI", token=token).json()["UserId"]
    mailbox = service.create("mailboxes", {"name": name})
    same(fixture(service, "execute-Assign", first=mailbox, third=other), "response-Assign")
    assert service.get(f"mailboxes({mailbox})").json()["_ownerid_value"] == other
    same(fixture(service, "execute-Assign", first=mailbox, third=me["UserId"]), "response-Assign")
    same(fixture(service, "execute-SetState", first=mailbox), "response-SetState")
    record = service.get(f"mailboxes({mailbox})").json()
    assert (record["statecode"], record["statuscode"]) == (1, 2)

    same(fixture(service, "execute-GrantAccess", first=mailbox, third=other), "response-GrantAccess")
    response = fixture(service, "execute-RetrievePrincipalAccess", first=mailbox, third=other)
    same(response, "response-RetrievePrincipalAccess")
    assert results(response)["AccessRights"].text == "ReadAccess WriteAccess"
    response = fixture(service, "execute-RetrieveSharedPrincipalsAndAccess", first=mailbox)
    same(response, "response-RetrieveSharedPrincipalsAndAccess")
    same(fixture(service, "execute-RevokeAccess", first=mailbox, third=other), "response-RevokeAccess")
    response = fixture(service, "execute-RetrievePrincipalAccess", first=mailbox, third=other)
    assert results(response)["AccessRights"].text == "None"

    team = service.create("teams", {"name": f"{name} team"})
    same(fixture(service, "execute-ModifyAccess", first=mailbox, third=team), "response-ModifyAccess")
    same(fixture(service, "execute-AddMembersTeam", first=team, third=other), "response-AddMembersTeam")
    assert service.get(f"mailboxes({mailbox})", token=token).status_code == 200
    same(fixture(service, "execute-RemoveMembersTeam", first=team, third=other), "response-RemoveMembersTeam")
    assert service.get(f"mailboxes({mailbox})", token=token).status_code == 404


# E-mail


def test_an_email_with_its_parties(service, name, me):
    response = fixture(service, "execute-Create-email", third=me["UserId"])
    same(response, "response-Create")
    id = results(response)["id"].text

    def parties():
        found = values(call(service, operation("Retrieve", f"<entityName>email</entityName><id>{id}</id><columnSet>{columns('subject', 'from', 'to', 'cc')}</columnSet>"))[0])
        lists = {}
        for key in ("from", "to", "cc", "bcc"):
            for party in found.get(key, (None, []))[1]:
                if etree.QName(party).localname == "Entities":
                    lists[key] = [values(each) for each in party]
        return lists

    lists = parties()
    assert list(lists) == ["to"] and lists["to"][0]["partyid"][1].findtext("x:Id", namespaces=NAMESPACES) == me["UserId"]

    def update(key, *members):
        collection = "".join(f"<x:Entity>{entity('activityparty', member)}</x:Entity>" for member in members)
        attribute = parameter(key, "x:EntityCollection", f"<x:Entities>{collection}</x:Entities>")
        return call(service, operation("Update", f"<entity>{entity('email', attribute, id=id)}</entity>"))

    # The update replaces the list of recipients that it contains. The other lists stay.
    assert outline(update("cc", parameter("addressused", "string", "one@cc.test"), parameter("addressused", "string", "two@cc.test"))) == ["UpdateResponse"]
    lists = parties()
    assert sorted(lists) == ["cc", "to"] and len(lists["cc"]) == 2 and len(lists["to"]) == 1
    update("to")
    assert sorted(parties()) == ["cc"]
    sender = service.create("queues", {"name": f"{name} queue", "emailaddress": f"{name}@queue.test"})
    update("from", parameter("partyid", "x:EntityReference", reference("queue", sender)))
    assert parties()["from"][0]["partyid"][1].findtext("x:LogicalName", namespaces=NAMESPACES) == "queue"
    response = fixture(service, "execute-SendEmail", first=id)
    same(response, "response-SendEmail")
    assert results(response)["Subject"].text.startswith("Welcome")
    assert service.get(f"emails({id})?$select=statuscode").json()["statuscode"] == 6
    # The list of parties has the members that Dataverse's response has.
    record = call(service, operation("Retrieve", f"<entityName>email</entityName><id>{id}</id><columnSet>{columns('from')}</columnSet>"))[0]
    own = outline(record.xpath("x:Attributes/*[p:key='from']/p:value", namespaces=XPATH)[0])
    assert own[0] == "p:value type=x:EntityCollection" and [line.strip().split(":")[1].split(" ")[0] for line in own if line.startswith("  ") is False][1:] == [
        "Entities", "EntityName", "MinActiveRowVersion", "MoreRecords", "PagingCookie", "TotalRecordCount", "TotalRecordCountLimitExceeded"]


# Several requests in one


def test_execute_multiple(service, name):
    profile = service.create("emailserverprofiles", {"name": f"{name} profile"})
    response = fixture(service, "execute-ExecuteMultiple", name=name, second=profile)
    found = results(response)
    assert list(found) == ["IsFaulted", "Responses"] and found["IsFaulted"].text == "false"
    items = list(found["Responses"])
    assert [item.findtext("m:RequestIndex", namespaces=NAMESPACES) for item in items] == ["0", "1"]
    assert [type_of(item.find("m:Response", NAMESPACES)) for item in items] == ["x:CreateResponse", "x:IsDataEncryptionActiveResponse"]

    def many(settings, *requests):
        inner = "".join(f"<m:OrganizationRequest>{each}</m:OrganizationRequest>" for each in requests)
        return execute(service, "ExecuteMultiple", parameter("Requests", "m:OrganizationRequestCollection", inner) + parameter("Settings", "m:ExecuteMultipleSettings", settings))

    good = "<x:Parameters/><x:RequestName>WhoAmI</x:RequestName>"
    bad = "<x:Parameters/><x:RequestName>NoSuchRequest</x:RequestName>"
    gone = f'<x:Parameters>{parameter("Target", "x:EntityReference", reference("mailbox", str(uuid.uuid4())))}</x:Parameters><x:RequestName>Delete</x:RequestName>'
    found = many("<m:ContinueOnError>true</m:ContinueOnError><m:ReturnResponses>true</m:ReturnResponses>", good, bad, gone, good)
    items = list(found["Responses"])
    assert found["IsFaulted"].text == "true" and len(items) == 4
    wanted = OUTLINES["response-ExecuteMultiple"]
    start = next(index for index, line in enumerate(wanted) if line.strip() == "m:Fault")
    depth = len(wanted[start]) - len(wanted[start].lstrip())
    assert outline(items[2].find("m:Fault", NAMESPACES)) == [line[depth:] for line in wanted[start:start + 12]]
    assert [int(item.findtext("m:Fault/x:ErrorCode", default="0", namespaces=NAMESPACES)) & 0xFFFFFFFF for item in items] == [0, 0x80040219, 0x80040217, 0]
    assert "NoSuchRequest" in items[1].findtext("m:Fault/x:Message", namespaces=NAMESPACES)
    # Without ContinueOnError and ReturnResponses, the response has only the first error.
    found = many("<m:ContinueOnError>false</m:ContinueOnError><m:ReturnResponses>false</m:ReturnResponses>", good, bad, good)
    assert [item.findtext("m:RequestIndex", namespaces=NAMESPACES) for item in found["Responses"]] == ["1"]


def test_execute_transaction(service, name):
    first, second = (service.create("mailboxes", {"name": name}) for _ in range(2))
    response = fixture(service, "execute-ExecuteTransaction", first=first)
    inner = results(response)["Responses"]
    assert type_of(inner) == "k:OrganizationResponseCollection" and outline(inner[0]) == [
        "k:OrganizationResponse type=x:DeleteResponse", " x:ResponseName", " x:Results"]

    def transaction(*requests):
        inner = "".join(f"<m:OrganizationRequest>{each}</m:OrganizationRequest>" for each in requests)
        content = parameter("Requests", "m:OrganizationRequestCollection", inner) + parameter("ReturnResponses", "boolean", "true")
        return call(service, operation("Execute", f"<request><x:Parameters>{content}</x:Parameters><x:RequestName>ExecuteTransaction</x:RequestName></request>"))

    def delete(id):
        return f'<x:Parameters>{parameter("Target", "x:EntityReference", reference("mailbox", id))}</x:Parameters><x:RequestName>Delete</x:RequestName>'

    refused = transaction(delete(second), delete(first))
    refused_by(refused, "0x80040217")
    detail = refused.find(".//x:OrganizationServiceFault", NAMESPACES)
    assert type_of(detail) == "k:ExecuteTransactionFault" and detail.findtext("k:FaultedRequestIndex", namespaces=NAMESPACES) == "1"
    assert service.get(f"mailboxes({second})").status_code == 200
    refused = transaction(delete(second), "<x:Parameters/><x:RequestName>WhoAmI</x:RequestName>")
    assert "WhoAmI" in refused_by(refused, "0x80040219")
    assert service.get(f"mailboxes({second})").status_code == 200


# Refusals


@pytest.mark.parametrize("version", ["1.1", "1.2"])
def test_both_versions_of_soap(service, version):
    action = f"{NAMESPACES['']}/IOrganizationService/Execute"
    header = (
        f'<w:Action xmlns:w="{NAMESPACES["wsa"]}" s:mustUnderstand="1">{action}</w:Action><w:MessageID xmlns:w="{NAMESPACES["wsa"]}">urn:uuid:7</w:MessageID>'
        f'<w:To xmlns:w="{NAMESPACES["wsa"]}" s:mustUnderstand="1">{address(service, version)}</w:To>'
        f'<w:ReplyTo xmlns:w="{NAMESPACES["wsa"]}"><w:Address>{NAMESPACES["wsa"]}/anonymous</w:Address></w:ReplyTo>')
    response = call(service, operation("Execute", "<request><x:Parameters/><x:RequestName>WhoAmI</x:RequestName></request>"), version, header)
    assert set(results(response)) == {"UserId", "BusinessUnitId", "OrganizationId"}
    headers = response.getroottree().getroot()[0]
    assert headers.findtext("wsa:Action", namespaces=NAMESPACES) == f"{action}Response" and headers.findtext("wsa:RelatesTo", namespaces=NAMESPACES) == "urn:uuid:7"
    refused = call(service, operation("Execute", "<request><x:Parameters/><x:RequestName>Nothing</x:RequestName></request>"), version, header)
    assert "Nothing" in refused_by(refused, "0x80040219")
    assert fault(refused)[0] == ("s:Client" if version == "1.1" else "s:Sender")
    assert refused.getroottree().getroot()[0].findtext("wsa:Action", namespaces=NAMESPACES) == f"{action}OrganizationServiceFaultFault"


def test_headers(service):
    body = operation("Execute", "<request><x:Parameters/><x:RequestName>WhoAmI</x:RequestName></request>")
    known = f'<x:SdkClientVersion xmlns:x="{NAMESPACES["x"]}">9.2.0.0</x:SdkClientVersion><x:LanguageCodeOverride xmlns:x="{NAMESPACES["x"]}" s:mustUnderstand="1">1031</x:LanguageCodeOverride><o xmlns="urn:other">x</o>'
    assert results(call(service, body, header=known))
    for version in ("1.1", "1.2"):
        code, number, message = fault(call(service, body, version, header='<o:Security xmlns:o="urn:other" s:mustUnderstand="1"/>'))
        assert code == "s:MustUnderstand" and number is None and "Security" in message
    for action in ('"http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/Create"', "urn:other/Delete"):
        envelope = f'<s:Envelope xmlns:s="{NAMESPACES["s"]}"><s:Body>{body}</s:Body></s:Envelope>'
        refused_by(opened(send(service, envelope, SOAPAction=action)), "0x8005F100")
    right = '"http://schemas.microsoft.com/xrm/2011/Contracts/Services/IOrganizationService/Execute"'
    assert opened(send(service, envelope, SOAPAction=right)).tag.endswith("ExecuteResponse")


def test_without_a_token(service):
    for response in (
        send(service, request("execute-WhoAmI"), token=""), send(service, request("execute-WhoAmI"), token="x.y.z"),
        requests.get(f"{address(service)}?SdkClientVersion=9.0", verify=service.dev["caFile"], timeout=30),
    ):
        assert response.status_code == 401
        challenge = response.headers["WWW-Authenticate"]
        assert challenge.startswith("Bearer authorization_uri=") and "resource_id=" in challenge
        refused_by(etree.fromstring(response.content)[0][0], "0x80048405")


def test_over_plain_http(service):
    url = f"{service.dev['httpURL']}/contoso/XRMServices/2011/Organization.svc/web"
    for response in (send(service, request("execute-WhoAmI"), token="x", url=url), requests.get(url, timeout=30, allow_redirects=False)):
        assert response.status_code == 500
        refused_by(etree.fromstring(response.content)[0][0], "0x8004852C")


@pytest.mark.parametrize("content, names", [
    ("<request><x:Parameters/><x:RequestName>BulkDetectDuplicates</x:RequestName></request>", "BulkDetectDuplicates"),
    (f'<request><x:Parameters>{parameter("Extra", "string", "x")}</x:Parameters><x:RequestName>WhoAmI</x:RequestName></request>', "Extra"),
    (f'<request><x:Parameters>{parameter("Target", "x:EntityReference", reference("account", str(uuid.uuid4())))}</x:Parameters><x:RequestName>Delete</x:RequestName></request>', "account"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox", parameter("nosuchattribute", "string", "x")))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "nosuchattribute"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox", parameter("exchangerate", "x:Money", "<x:Value>1</x:Value>")))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "exchangerate"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox", parameter("name", "int", "12x")))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "name"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox", parameter("emailserverprofile", "string", "x")))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "EntityReference"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox", parameter("password", "int", "42")))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "password"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox").replace("<x:RelatedEntities/>", "<x:RelatedEntities><p:x/></x:RelatedEntities>"))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "RelatedEntities"),
    (f'<request><x:Parameters>{parameter("Target", "x:Entity", entity("mailbox").replace("<x:RelatedEntities/>", "<x:Novelty>1</x:Novelty>"))}</x:Parameters><x:RequestName>Create</x:RequestName></request>', "Novelty"),
])
def test_what_is_not_known_is_refused_by_name(service, content, names):
    element = call(service, operation("Execute", content))
    assert names in fault(element)[2]


def test_the_operations_of_others(service):
    refused_by(call(service, operation("Frobnicate", "")), "0x80040219")
    answered = call(service, '<Execute xmlns="urn:other"/>')
    refused_by(answered, "0x8005F100")
    assert EMPTY not in fault(answered)[2]


def test_the_responses_of_execute_multiple_hold_a_bounded_number_of_records(service):
    rows = len(service.get("sdkmessagefilters?$select=sdkmessagefilterid").json()["value"])
    allowed = 50_000 // rows
    query = "<fetch><entity name='sdkmessagefilter'><attribute name='sdkmessagefilterid'/></entity></fetch>"
    one = (f'<m:OrganizationRequest><x:Parameters>{parameter("Query", "x:FetchExpression", f"<x:Query>{escape(query)}</x:Query>")}</x:Parameters>'
           "<x:RequestName>RetrieveMultiple</x:RequestName></m:OrganizationRequest>")
    settings = "<m:ContinueOnError>true</m:ContinueOnError><m:ReturnResponses>{}</m:ReturnResponses>"

    def many(count, returns):
        return execute(service, "ExecuteMultiple", parameter("Requests", "m:OrganizationRequestCollection", one * count) + parameter("Settings", "m:ExecuteMultipleSettings", settings.format(returns)))

    found = many(allowed + 2, "true")
    faults = [item.findtext("m:Fault/x:Message", namespaces=NAMESPACES) for item in found["Responses"]]
    assert found["IsFaulted"].text == "true" and faults[:allowed] == [None] * allowed
    assert len(faults) == allowed + 2 and all("50000 records" in text for text in faults[allowed:])
    # If the client wants no responses, the service keeps no records for them, so the limit does not apply.
    assert many(allowed + 2, "false")["IsFaulted"].text == "false"


def test_the_discovery_service_understands_the_sdks_request(service):
    for path in ("XRMServices/2011/Discovery.svc/web", "contoso/XRMServices/2011/Discovery.svc/web"):
        answer = opened(send(service, request("discovery"), url=f"{service.base}/{path}"))
        same(answer, "discovery-response")
        assert answer.findtext(".//v:UniqueName", namespaces=NAMESPACES) == "contoso"
    assert send(service, request("discovery"), url=f"{service.base}/{path}", token="").status_code == 401


def peak(service):
    """The most memory that the service has used since the last call, and what it uses now, in bytes."""
    process = pathlib.Path(f"/proc/{service.process.pid}")
    status = process.joinpath("status").read_text()
    process.joinpath("clear_refs").write_text("5")
    return [int(re.search(rf"{name}:\s+(\d+) kB", status)[1]) << 10 for name in ("VmHWM", "VmRSS")]


def test_a_request_of_1000_records_takes_bounded_memory(own_service):
    """A request of nearly 16 MiB takes less memory than 12 times its length, and further requests take no more."""
    service = own_service
    targets = f'<x:Entity>{entity("email", parameter("description", "string", "x" * 15_000))}</x:Entity>' * 1_000
    assert 14 << 20 < len(targets) < 16 << 20
    collection = f'<x:Entities>{targets}</x:Entities><x:EntityName>email</x:EntityName><x:MoreRecords>false</x:MoreRecords>'

    def create():
        assert len(execute(service, "CreateMultiple", parameter("Targets", "x:EntityCollection", collection))["Ids"]) == 1_000
        return peak(service)[0]

    create()
    _, before = peak(service)
    peaks = [create() for _ in range(3)]
    assert max(peaks) - before < 12 * len(targets), (before, peaks)
