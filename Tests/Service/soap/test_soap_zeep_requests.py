"""The service's WSDL: zeep can send every request, and real requests and responses are valid under the schemas."""

import pathlib
import uuid

import pytest
import requests
import zeep
from lxml import etree
from soap import FIXTURES, NAMESPACES, address, call, operation, send
from test_soap_requests import OPERATIONS, REQUESTS, World
from test_soap_zeep import M, X, Values, attributes, client, make, results, session  # noqa: F401

C, K, D, A, SER, XS = (NAMESPACES[prefix] for prefix in ("c", "k", "d", "a", "ser", "xs"))


class Program:
    """A program that uses zeep."""

    def __init__(self, service, client, make):  # noqa: F811
        self.service, self.client, self.make = service, client, make

    def execute(self, name, /, early=None, **parameters):
        request = self.make.request(name, **parameters)
        if early:
            request = self.make.make(f"{name}Request", early, Parameters=self.make.pairs(**parameters), RequestName=name)
        return results(self.client.service.Execute(request=request))

    def reference(self, entity, id=None, **keys):
        given = {"LogicalName": entity, "Id": id}
        if keys:
            given["KeyAttributes"] = self.make.pairs(**keys)
        return self.make.any(X, "EntityReference", given)

    def entity(self, name, /, id=None, **attributes):
        return zeep.xsd.AnyObject(self.make.type(X, "Entity"), self.make.entity(name, id, **attributes))

    def collection(self, *entities):
        return self.make.any(X, "EntityCollection", {"Entities": {"Entity": [each.value for each in entities]}})

    def option(self, number):
        return self.make.any(X, "OptionSetValue", {"Value": number})

    def guid(self, id):
        return self.make.any(SER, "guid", id)

    def flag(self, value):
        return zeep.xsd.AnyObject(zeep.xsd.Boolean(), value)

    def code(self, refusal):
        detail = refusal.value.detail[0]
        return f"0x{int(detail.findtext('x:ErrorCode', namespaces=NAMESPACES)) & 0xFFFFFFFF:08X}"


@pytest.fixture(scope="module")
def program(service, client, make):  # noqa: F811
    return Program(service, client, make)


@pytest.fixture
def name():
    return f"zeep{uuid.uuid4().hex[:12]}"


def test_each_write(service, program, make, name):  # noqa: F811
    p = program
    profile = service.create("emailserverprofiles", {"name": name})
    created = p.execute("Create", X, Target=p.entity("mailbox", name=make.string(name), emailserverprofile=p.reference("emailserverprofile", name=make.string(name))))["id"]
    box = service.get(f"mailboxes({created})").json()
    assert box["_emailserverprofile_value"] == profile
    p.execute("Update", X, Target=p.entity("mailbox", created, name=make.string(f"{name} 2"), emailserverprofile=None))
    assert service.get(f"mailboxes({created})").json()["_emailserverprofile_value"] is None
    upserted = p.execute("Upsert", X, Target=p.entity("queue", str(uuid.uuid4()), name=make.string(name)))
    assert upserted["RecordCreated"] is True and upserted["Target"].LogicalName == "queue"
    again = p.execute("Upsert", Target=p.entity("queue", upserted["Target"].Id, description=make.string("x")))
    assert again["RecordCreated"] is False and again["Target"].Id == upserted["Target"].Id
    ids = p.execute("CreateMultiple", Targets=p.collection(*(p.entity("queue", name=make.string(f"{name} {n}")) for n in range(3))))["Ids"]
    assert len(ids.guid) == 3
    p.execute("UpdateMultiple", Targets=p.collection(*(p.entity("queue", id, description=make.string("many")) for id in ids.guid)))
    assert {service.get(f"queues({id})").json()["description"] for id in ids.guid} == {"many"}
    both = p.execute("UpsertMultiple", Targets=p.collection(p.entity("queue", ids.guid[0], description=make.string("one")), p.entity("queue", str(uuid.uuid4()), name=make.string(f"{name} new"))))
    assert [results(each)["RecordCreated"] for each in both["Results"].UpsertResponse] == [False, True]
    p.execute("Delete", X, Target=p.reference("queue", ids.guid[0]))
    with pytest.raises(zeep.exceptions.Fault) as refusal:
        p.execute("Retrieve", X, Target=p.reference("queue", ids.guid[0]), ColumnSet=make.any(X, "ColumnSet", {"AllColumns": True}))
    assert p.code(refusal) == "0x80040217"


def test_links_owners_shares_teams_and_states(service, program, make, client, name):  # noqa: F811
    p = program
    profile, box = service.create("emailserverprofiles", {"name": name}), service.create("mailboxes", {"name": name})
    made = service.json("client", "add", name, "--org", "contoso", "--role", "Basic User")
    other = service.get("WhoAmI", token=service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]).json()["UserId"]

    def linked():
        return service.get(f"mailboxes({box})").json()["_emailserverprofile_value"]

    link = {"relationship": {"SchemaName": "emailserverprofile_mailbox"}, "relatedEntities": {"EntityReference": [{"LogicalName": "mailbox", "Id": box}]}}
    client.service.Associate(entityName="emailserverprofile", entityId=profile, **link)
    assert linked() == profile
    client.service.Disassociate(entityName="emailserverprofile", entityId=profile, **link)
    assert linked() is None
    parameters = {
        "Target": p.reference("emailserverprofile", profile), "Relationship": make.any(X, "Relationship", link["relationship"]),
        "RelatedEntities": make.any(X, "EntityReferenceCollection", link["relatedEntities"])}
    p.execute("Associate", X, **parameters)
    assert linked() == profile
    p.execute("Disassociate", X, **parameters)
    assert linked() is None

    target = {"Target": p.reference("mailbox", box)}
    access = make.any(C, "PrincipalAccess", {"AccessMask": "ReadAccess WriteAccess", "Principal": {"LogicalName": "systemuser", "Id": other}})
    p.execute("GrantAccess", C, **target, PrincipalAccess=access)
    assert p.execute("RetrievePrincipalAccess", C, **target, Principal=p.reference("systemuser", other))["AccessRights"] == "ReadAccess WriteAccess"
    shares = p.execute("RetrieveSharedPrincipalsAndAccess", C, **target)["PrincipalAccesses"].PrincipalAccess
    assert [(each.AccessMask, each.Principal.Id) for each in shares] == [("ReadAccess WriteAccess", other)]
    p.execute("ModifyAccess", C, **target, PrincipalAccess=make.any(C, "PrincipalAccess", {"AccessMask": "ReadAccess", "Principal": {"LogicalName": "systemuser", "Id": other}}))
    p.execute("RevokeAccess", C, **target, Revokee=p.reference("systemuser", other))
    assert p.execute("RetrievePrincipalAccess", C, **target, Principal=p.reference("systemuser", other))["AccessRights"] == "None"
    team = service.create("teams", {"name": name})
    members = {"TeamId": p.guid(team), "MemberIds": make.any(A, "ArrayOfguid", {"guid": [other]})}
    p.execute("AddMembersTeam", C, **members)
    assert len(service.get(f"teams({team})/teammembership_association").json()["value"]) == 1
    p.execute("RemoveMembersTeam", C, **members)
    assert service.get(f"teams({team})/teammembership_association").json()["value"] == []
    p.execute("SetState", C, EntityMoniker=p.reference("mailbox", box), State=p.option(1), Status=p.option(2))
    assert service.get(f"mailboxes({box})").json()["statecode"] == 1
    p.execute("Assign", C, **target, Assignee=p.reference("systemuser", other))
    assert service.get(f"mailboxes({box})").json()["_ownerid_value"] == other


def test_an_email_is_made_read_and_sent(service, program, make, name):  # noqa: F811
    p = program
    queue = service.create("queues", {"name": name, "emailaddress": f"{name}@zeep.test"})

    def parties(*given):
        return p.collection(*(p.entity("activityparty", **each) for each in given))

    created = p.execute(
        "Create", X, Target=p.entity("email", subject=make.string(name), **{"from": parties({"partyid": p.reference("queue", queue)}), "to": parties({"addressused": make.string("to@zeep.test")})}))["id"]
    record = p.execute("Retrieve", X, Target=p.reference("email", created), ColumnSet=make.any(X, "ColumnSet", {"AllColumns": False, "Columns": {"string": ["subject", "from", "to"]}}))["Entity"]
    found = attributes(record)
    assert attributes(found["from"].Entities.Entity[0])["partyid"].Id == queue and attributes(found["to"].Entities.Entity[0])["addressused"] == "to@zeep.test"
    assert p.execute("SendEmail", C, EmailId=p.guid(created), IssueSend=p.flag(True), TrackingToken=make.string(""))["Subject"].startswith(name)
    assert service.get(f"emails({created})?$select=statuscode").json()["statuscode"] == 6


def test_transactions_and_their_faults(service, program, make, name):  # noqa: F811
    p = program

    def transaction(*requests):
        return p.execute("ExecuteTransaction", X, Requests=make.any(M, "OrganizationRequestCollection", {"OrganizationRequest": list(requests)}), ReturnResponses=p.flag(True))

    first = make.request("Create", Target=p.entity("queue", name=make.string(name)))
    done = transaction(first, make.request("Create", Target=p.entity("queue", name=make.string(f"{name} 2"))))
    assert [each.ResponseName for each in done["Responses"].OrganizationResponse] == ["Create", "Create"]
    with pytest.raises(zeep.exceptions.Fault) as refusal:
        transaction(make.request("Create", Target=p.entity("queue", name=make.string(f"{name} 3"))), make.request("Delete", Target=p.reference("queue", str(uuid.uuid4()))))
    assert p.code(refusal) == "0x80040217" and refusal.value.detail[0].findtext("k:FaultedRequestIndex", namespaces=NAMESPACES) == "1"
    assert service.get(f"queues?$filter=name eq '{name} 3'").json()["value"] == []


def test_surroundings_and_metadata(service, program, make):  # noqa: F811
    p = program
    assert p.execute("RetrieveVersion", C)["Version"] == "9.1.0.0"
    detail = p.execute("RetrieveCurrentOrganization", C)["Detail"]
    assert detail.UniqueName == "contoso" and detail.OrganizationId == service.get("WhoAmI").json()["OrganizationId"]
    everything = p.execute("RetrieveAllEntities", X, EntityFilters=make.any(D, "EntityFilters", "Entity"), RetrieveAsIfPublished=p.flag(False))["EntityMetadata"]
    assert len(everything.EntityMetadata) == len(service.get("EntityDefinitions?$select=LogicalName").json()["value"])
    for attribute, member in (("password", "MaxLength"), ("ownerid", "Targets"), ("statecode", "OptionSet"), ("isforwardmailbox", "OptionSet"), ("createdon", "DateTimeBehavior")):
        found = p.execute("RetrieveAttribute", X, EntityLogicalName=make.string("mailbox"), LogicalName=make.string(attribute))["AttributeMetadata"]
        assert found.LogicalName == attribute and found[member], attribute


def test_the_keys_messages_with_early_bound_classes(own_service):
    service = own_service
    session = requests.Session()  # noqa: F811
    session.trust_env, session.verify = False, service.dev["caFile"]
    session.headers["Authorization"] = f"Bearer {service.token()}"
    client = zeep.Client(f"{address(service)}?wsdl", transport=zeep.transports.Transport(session=session))  # noqa: F811
    make = Values(client)  # noqa: F811
    p = Program(service, client, make)
    key = f"Zeep-correct-horse-{uuid.uuid4().hex[:8]}"
    assert p.execute("SetDataEncryptionKey", X, EncryptionKey=make.string(key), ChangeEncryptionKey=p.flag(True)) == {}
    assert p.execute("RetrieveDataEncryptionKey", X)["EncryptionKey"] == key == service.key()
    assert p.execute("IsDataEncryptionActive", X)["IsActive"] is True
    with pytest.raises(zeep.exceptions.Fault) as refusal:
        p.execute("SetDataEncryptionKey", X, EncryptionKey=make.string(key), ChangeEncryptionKey=p.flag(False))
    assert p.code(refusal) == "0x80048525"


def test_queries_with_links_and_columns(service, program, make, client, name):  # noqa: F811
    profile = service.create("emailserverprofiles", {"name": name})
    box = service.create("mailboxes", {"name": name, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    only = {"AllColumns": False, "Columns": {"string": ["name"]}}
    condition = make.make("ConditionExpression", AttributeName="name", Operator="Equal", Values={"anyType": [make.string(name)]})
    link = make.make(
        "LinkEntity", Columns=only, EntityAlias="p", JoinOperator="Inner", LinkCriteria={"FilterOperator": "And", "Conditions": {"ConditionExpression": [condition]}},
        LinkFromAttributeName="emailserverprofile", LinkFromEntityName="mailbox", LinkToAttributeName="emailserverprofileid", LinkToEntityName="emailserverprofile")
    page = client.service.RetrieveMultiple(query=make.make("QueryExpression", EntityName="mailbox", ColumnSet=only, LinkEntities={"LinkEntity": [link]}, TopCount=5, Distinct=False))
    (found,) = page.Entities.Entity
    assert found.Id == box and attributes(found)["p.name"].Value == name and attributes(found)["p.name"].EntityLogicalName == "emailserverprofile"
    by_attribute = make.make("QueryByAttribute", EntityName="mailbox", ColumnSet=only, Attributes={"string": ["name"]}, Values={"anyType": [make.string(name)]})
    assert [each.Id for each in client.service.RetrieveMultiple(query=by_attribute).Entities.Entity] == [box]
    count = {"AllColumns": False, "AttributeExpressions": {"XrmAttributeExpression": [{"AggregateType": "Count", "Alias": "n", "AttributeName": "mailboxid", "DateTimeGrouping": "None", "HasGroupBy": False}]}}
    query = make.make("QueryExpression", EntityName="mailbox", ColumnSet=count, Criteria={"FilterOperator": "And", "Conditions": {"ConditionExpression": [condition]}})
    assert attributes(client.service.RetrieveMultiple(query=query).Entities.Entity[0])["n"].Value == 1


# The schemas in the WSDL


@pytest.fixture(scope="module")
def schema(service, tmp_path_factory):
    """Writes each schema of the WSDL into a file, and loads them together."""
    folder = tmp_path_factory.mktemp("schemas")
    wsdl = etree.fromstring(send_get(f"{address(service)}?wsdl", service))
    parts = wsdl.findall("{http://schemas.xmlsoap.org/wsdl/}types/xs:schema", NAMESPACES)
    files = {part.get("targetNamespace"): folder / f"{number}.xsd" for number, part in enumerate(parts)}
    for part in parts:
        for reference in part.findall("xs:import", NAMESPACES):
            reference.set("schemaLocation", files[reference.get("namespace")].name)
        files[part.get("targetNamespace")].write_bytes(etree.tostring(part))
    # A document may name a type of any namespace, so all schemas are imported.
    every = "".join(f'<xs:import namespace="{namespace}" schemaLocation="{file.name}"/>' for namespace, file in files.items())
    (folder / "all.xsd").write_text(f'<xs:schema xmlns:xs="{XS}">{every}</xs:schema>')
    return etree.XMLSchema(etree.parse(str(folder / "all.xsd")))


def send_get(url, service):
    return requests.get(url, verify=service.dev["caFile"], timeout=120).content


@pytest.mark.parametrize("kind", [*(f"execute-{each}" for each in REQUESTS if "DataEncryptionKey" not in each), *(f"operation-{each}" for each in OPERATIONS)])
def test_responses_are_valid_by_the_served_schemas(service, schema, kind):
    """The requests of the SDK's classes are valid, too. Left out are metadata queries, and members that this product does not have."""
    body = World(service).body(kind)
    root = etree.fromstring(send(service, body).content)
    (element,) = root[-1]
    assert element.tag.endswith("Response")
    valid(schema, element)
    if "MetadataChanges" not in kind:
        (request,) = etree.fromstring(body.encode())[-1]
        valid(schema, request)


def valid(schema, element):
    # The prefix of a type may be declared in an outer element, so this copies the element with its declarations.
    document = etree.fromstring(etree.tostring(element))
    assert schema.validate(document), [f"{error.line}: {error.message}" for error in schema.error_log][:5] + [etree.tostring(document, pretty_print=True).decode()[:1500]]


def test_faults_are_valid_by_the_served_schemas(service, schema):
    gone = operation("Delete", f"<entityName>mailbox</entityName><id>{uuid.uuid4()}</id>")
    detail = call(service, gone).find(".//x:OrganizationServiceFault", NAMESPACES)
    valid(schema, detail)


def test_the_fixtures_are_all_tried():
    assert {path.stem for path in pathlib.Path(FIXTURES / "requests").glob("*.xml")} == {f"execute-{each}" for each in REQUESTS} | {f"operation-{each}" for each in OPERATIONS} | {"discovery"}
