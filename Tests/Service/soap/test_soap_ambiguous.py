"""Requests that name a caller, a record or a page in two ways. If the two contradict each other, the response is a fault, and nothing is done."""

import uuid
from xml.sax.saxutils import escape

import pytest
import requests
import soap
from lxml import etree
from soap import call, columns, entity, execute, operation, parameter, reference, refused_by
from test_writing import named, tag

BAD, MISFIT, QUERY, WRONG = "0x8005F100", "0x80048D19", "0x80060888", "0x80040203"
WHO = operation("Execute", "<request><x:Parameters/><x:RequestName>WhoAmI</x:RequestName></request>")


@pytest.fixture(scope="module")
def user(service):
    return service.get("WhoAmI", client="user").json()["UserId"]


def caller(name, text, namespace=soap.NAMESPACES["x"]):
    return f'<h:{name} xmlns:h="{namespace}">{text}</h:{name}>'


def test_the_http_headers_name_a_user_in_soap_too(service, user):
    assert execute(service, "WhoAmI", MSCRMCallerID=user)["UserId"].text == user
    identity = str(uuid.uuid4())
    other = service.create("systemusers", {"fullname": "soap caller", "domainname": f"{uuid.uuid4()}@test", "azureactivedirectoryobjectid": identity})
    refused_by(call(service, WHO, CallerObjectId=identity), "0x80040220")  # The user has no role.
    refused_by(call(service, WHO, MSCRMCallerID=other), "0x80040220")
    refused_by(call(service, WHO, CallerObjectId=str(uuid.uuid4())), "0x80072560")
    refused_by(call(service, WHO, MSCRMCallerID=user, client="user"), "0x80040220")
    for headers in ({"MSCRMCallerID": "x"}, {"MSCRMCallerID": f"{user}, {user}"}, {"CallerId": user}, {"MSCRMCallerID": user, "CallerObjectId": identity}):
        refused_by(call(service, WHO, **headers), BAD)
    name = tag()
    fields = entity("email", parameter("subject", "string", name))
    id = execute(service, "Create", parameter("Target", "x:Entity", fields), MSCRMCallerID=user)["id"].text
    assert service.get(f"emails({id})").json()["_createdby_value"] == user


def test_the_envelope_names_one_user(service, user):
    admin = service.get("WhoAmI").json()["UserId"]
    for header in (caller("CallerId", user) + caller("CallerId", admin), caller("CallerObjectId", user), caller("CallerId", user, soap.SERVICES), caller("callerid", user)):
        refused_by(call(service, WHO, header=header), BAD)
    refused_by(call(service, WHO, header=caller("CallerId", user), MSCRMCallerID=user), BAD)
    assert execute(service, "WhoAmI", header=caller("CallerId", user))["UserId"].text == user


@pytest.fixture
def pair(service):
    """The ids of two queues, and a text that both names begin with."""
    name = tag()
    return service.create("queues", {"name": f"{name} a"}), service.create("queues", {"name": f"{name} b"}), name


def key(text):
    return f'<k:KeyValuePairOfstringanyType><p:key>name</p:key><p:value i:type="xs:string">{text}</p:value></k:KeyValuePairOfstringanyType>'


def late(name, *parameters):
    return operation("Execute", f"<request><x:Parameters>{''.join(parameters)}</x:Parameters><x:RequestName>{name}</x:RequestName></request>")


def test_an_id_beside_a_key_is_that_of_the_same_record(service, pair):
    first, _, name = pair
    other = {"id": first, "keys": key(f"{name} b")}
    changed = parameter("Target", "x:Entity", entity("queue", parameter("description", "string", "changed"), **other))
    target = parameter("Target", "x:EntityReference", reference("queue", **other))
    for request in (
            late("Update", changed), late("Upsert", changed), late("Delete", target), late("Retrieve", target, parameter("ColumnSet", "x:ColumnSet", columns("name"))),
            late("Create", changed), late("Assign", target, parameter("Assignee", "x:EntityReference", reference("systemuser", service.get("WhoAmI").json()["UserId"])))):
        assert call(service, request).tag.endswith("}Fault")
    bound = parameter("emailserverprofile", "x:EntityReference", reference("emailserverprofile", service.create("emailserverprofiles", {"name": name}), key("nosuch")))
    refused_by(call(service, late("Create", parameter("Target", "x:Entity", entity("mailbox", parameter("name", "string", name) + bound)))), "0x80040217")
    spare = str(uuid.uuid4())
    refused_by(call(service, late("Upsert", parameter("Target", "x:Entity", entity("queue", id=spare, keys=key(f"{name} b"))))), "0x80040203")
    assert [(q["queueid"], q["description"]) for q in named(service, "queues", name)] == [(first, None), (pair[1], None)]
    # An id and a key of the same record are accepted. A new record gets the id and the key.
    both = entity("queue", parameter("description", "string", "both"), id=first, keys=key(f"{name} a"))
    assert execute(service, "Upsert", parameter("Target", "x:Entity", both))["RecordCreated"].text == "false"
    assert execute(service, "Upsert", parameter("Target", "x:Entity", entity("queue", id=spare, keys=key(f"{name} c"))))["RecordCreated"].text == "true"
    assert [(q["queueid"], q["description"]) for q in named(service, "queues", name)] == [(first, "both"), (pair[1], None), (spare, None)]


def test_a_link_that_the_service_keeps_is_not_made(service, user):
    box = service.create("mailboxes", {"name": tag()})
    related = f'<relatedEntities><x:EntityReference>{reference("mailbox", box)}</x:EntityReference></relatedEntities>'
    relationship = "<relationship><x:PrimaryEntityRole i:nil=\"true\"/><x:SchemaName>lk_mailbox_createdby</x:SchemaName></relationship>"
    for name in ("Associate", "Disassociate"):
        refused_by(call(service, operation(name, f"<entityName>systemuser</entityName><entityId>{user}</entityId>{relationship}{related}")), "0x80060413")


def test_a_request_is_of_its_type(service):
    for type in ("x:Nope", "c:WhoAmI"):
        refused_by(call(service, operation("Execute", f'<request i:type="{type}"><x:Parameters/><x:RequestName>WhoAmI</x:RequestName></request>')), MISFIT)
    assert call(service, operation("Execute", '<request i:type="c:WhoAmIRequest"><x:Parameters/><x:RequestName>WhoAmI</x:RequestName></request>')).tag.endswith("ExecuteResponse")


def test_records_are_of_their_collection(service):
    name = tag()
    targets = "".join(f"<x:Entity>{entity('queue', parameter('name', 'string', f'{name} {n}'))}</x:Entity>" for n in range(2))

    def create(of):
        collection = f"<x:Entities>{targets}</x:Entities><x:EntityName>{of}</x:EntityName>"
        many = f"<request><x:Parameters>{parameter('Targets', 'x:EntityCollection', collection)}</x:Parameters><x:RequestName>CreateMultiple</x:RequestName></request>"
        return call(service, operation("Execute", many))

    assert "EntityName" in refused_by(create("mailbox"), MISFIT) and named(service, "queues", name) == []
    assert create("queue").tag.endswith("ExecuteResponse") and len(named(service, "queues", name)) == 2


def test_words_of_the_web_api_are_in_no_fault(service):
    box = service.create("mailboxes", {"name": tag()})
    owner = parameter("Target", "x:EntityReference", reference("mailbox", box)) + parameter("Assignee", "x:EntityReference", reference("mailbox", box))
    many = f"<request><x:Parameters>{owner}</x:Parameters><x:RequestName>Assign</x:RequestName></request>"
    message = refused_by(call(service, operation("Execute", many)), MISFIT)
    assert "Assignee" in message and "odata" not in message and "/systemusers" not in message
    stamped = entity("mailbox", parameter("createdon", "string", "x") + parameter("name", "string", "b"), id=box)
    refused_by(call(service, operation("Update", f"<entity>{stamped}</entity>")), MISFIT)


def test_a_group_of_a_reference_has_its_name(service):
    name = tag()
    user = service.get("WhoAmI").json()["UserId"]
    for n in range(2):
        service.create("queues", {"name": f"{name} {n}"})
    where = f"<filter><condition attribute='name' operator='begins-with' value='{name}'/></filter>"

    def first(fetch):
        query = f'<query i:type="x:FetchExpression"><x:Query>{escape(fetch)}</x:Query></query>'
        answer = call(service, operation("RetrieveMultiple", query))
        assert answer.tag.endswith("RetrieveMultipleResponse"), etree.tostring(answer)
        [row] = answer[0].find("x:Entities", soap.NAMESPACES)
        return etree.tostring(row).decode()

    fullname = service.get(f"systemusers({user})?$select=fullname").json()["fullname"]
    grouped = f"<fetch aggregate='true'><entity name='queue'><attribute name='ownerid' groupby='true' alias='o'/><attribute name='queueid' aggregate='count' alias='n'/>{where}</entity></fetch>"
    distinct = f"<fetch distinct='true'><entity name='queue'><attribute name='ownerid'/>{where}</entity></fetch>"
    for fetch in (grouped, distinct):
        row = first(fetch)
        assert user in row and "systemuser<" in row and row.count(f">{fullname}<") == 2, row
    parties = "<fetch aggregate='true'><entity name='email'><attribute name='regardingobjectid' groupby='true' alias='r'/><attribute name='activityid' aggregate='count' alias='n'/></entity></fetch>"
    query = f'<query i:type="x:FetchExpression"><x:Query>{escape(parties)}</x:Query></query>'
    assert call(service, operation("RetrieveMultiple", query)).tag.endswith("RetrieveMultipleResponse")


def expression(criteria="", page="", alias="m"):
    link = (f'<x:LinkEntities><x:LinkEntity><x:Columns>{columns("name")}</x:Columns><x:EntityAlias>{alias}</x:EntityAlias><x:JoinOperator>LeftOuter</x:JoinOperator>'
            "<x:LinkFromAttributeName>defaultmailbox</x:LinkFromAttributeName><x:LinkToAttributeName>mailboxid</x:LinkToAttributeName><x:LinkToEntityName>mailbox</x:LinkToEntityName></x:LinkEntity></x:LinkEntities>")
    return operation("RetrieveMultiple", f'<query i:type="x:QueryExpression"><x:ColumnSet>{columns("name")}</x:ColumnSet><x:Criteria>{criteria}</x:Criteria><x:EntityName>queue</x:EntityName>{link}{page}</query>')


def test_a_query_means_one_thing(service):
    for kind in ("In", "NotIn"):
        empty = f"<x:Conditions><x:ConditionExpression><x:AttributeName>name</x:AttributeName><x:Operator>{kind}</x:Operator><x:Values/></x:ConditionExpression></x:Conditions>"
        refused_by(call(service, expression(empty)), QUERY)
    for number, is_page in ((-1, False), (1_000_001, False), (0, True), (1, True)):
        answer = call(service, expression(page=f"<x:PageInfo><x:Count>2</x:Count><x:PageNumber>{number}</x:PageNumber></x:PageInfo>"))
        assert answer.tag.endswith("RetrieveMultipleResponse") == is_page, number
    refused_by(call(service, expression(alias="a b")), QUERY)


def test_metadata_for_many_requests_is_bounded(service):
    filters = '<x:KeyValuePairOfstringanyType><p:key>EntityFilters</p:key><p:value i:type="d:EntityFilters">All</p:value></x:KeyValuePairOfstringanyType>'
    one = f"<x:OrganizationRequest><x:Parameters>{filters}</x:Parameters><x:RequestName>RetrieveAllEntities</x:RequestName></x:OrganizationRequest>"
    many = late(
        "ExecuteMultiple", parameter("Requests", "m:OrganizationRequestCollection", one * 60),
        parameter("Settings", "m:ExecuteMultipleSettings", "<m:ContinueOnError>false</m:ContinueOnError><m:ReturnResponses>true</m:ReturnResponses>"))
    answer = call(service, many)
    items = answer.findall(".//m:ExecuteMultipleResponseItem", soap.NAMESPACES)
    assert 1 < len(items) < 60 and "hold more than 50000 records" in "".join(items[-1].itertext())


def test_metadata_is_of_one_entity_and_one_attribute(service):
    def retrieve(name, *parameters):
        return call(service, late(name, *parameters))

    def id_of(path):
        return service.get(f"{path}?$select=MetadataId").json()["MetadataId"]

    queue, subject = id_of("EntityDefinitions(LogicalName='queue')"), id_of("EntityDefinitions(LogicalName='email')/Attributes(LogicalName='subject')")
    filters = parameter("EntityFilters", "d:EntityFilters", "Entity")
    refused_by(retrieve("RetrieveEntity", filters, parameter("LogicalName", "string", "email"), parameter("MetadataId", "ser:guid", queue)), WRONG)
    for name in ("queue", "Queue", ""):
        answer = retrieve("RetrieveEntity", filters, parameter("LogicalName", "string", name), parameter("MetadataId", "ser:guid", queue))
        assert "queue" in "".join(answer.itertext())
    for owner, attribute in (("queue", "subject"), ("email", "description"), ("queue", "description")):
        refused_by(retrieve("RetrieveAttribute", parameter("EntityLogicalName", "string", owner), parameter("LogicalName", "string", attribute), parameter("MetadataId", "ser:guid", subject)), WRONG)
    assert retrieve("RetrieveAttribute", parameter("EntityLogicalName", "string", "email"), parameter("LogicalName", "string", "subject"), parameter("MetadataId", "ser:guid", subject)).tag.endswith("ExecuteResponse")


def test_an_access_type_is_one_of_three(service):
    for kind in ("Default", "Internet", "Intranet"):
        assert call(service, late("RetrieveCurrentOrganization", parameter("AccessType", "o:EndpointAccessType", kind))).tag.endswith("ExecuteResponse")
    assert "Internet" in refused_by(call(service, late("RetrieveCurrentOrganization", parameter("AccessType", "o:EndpointAccessType", "Nope"))), MISFIT)


def test_the_address_says_which_methods_it_has(service):
    answer = requests.options(soap.address(service), verify=service.dev["caFile"], timeout=120)
    assert answer.status_code == 204 and answer.headers["Allow"] == "GET, HEAD, POST, OPTIONS"
