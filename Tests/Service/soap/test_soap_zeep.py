"""A client that is generated from the service's WSDL: zeep reads the WSDL with its schemas, and sends the requests of a usual program."""

import uuid

import pytest
import requests
import zeep
from lxml import etree
from soap import NAMESPACES, address

XS, SER, X, M, P = (NAMESPACES[prefix] for prefix in ("xs", "ser", "x", "m", "p"))


@pytest.fixture(scope="module")
def session(service):
    session = requests.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    session.headers["Authorization"] = f"Bearer {service.token()}"
    return session


@pytest.fixture(scope="module")
def client(service, session):
    return zeep.Client(f"{address(service)}?wsdl", transport=zeep.transports.Transport(session=session))


class Values:
    """Makes values of the types in the WSDL."""

    def __init__(self, client):
        self.client = client

    def type(self, namespace, name):
        return self.client.get_type(f"{{{namespace}}}{name}")

    def make(self, name, /, namespace=X, **members):
        return self.type(namespace, name)(**members)

    def any(self, namespace, name, value):
        return zeep.xsd.AnyObject(self.type(namespace, name), value)

    def string(self, text):
        return zeep.xsd.AnyObject(zeep.xsd.String(), text)

    def pairs(self, **values):
        return {"KeyValuePairOfstringanyType": [{"key": key, "value": value} for key, value in values.items()]}

    def entity(self, name, /, id=None, **attributes):
        return self.make("Entity", Attributes=self.pairs(**attributes), LogicalName=name, Id=id)

    def request(self, name, /, **parameters):
        return self.make("OrganizationRequest", Parameters=self.pairs(**parameters), RequestName=name)


@pytest.fixture(scope="module")
def make(client):
    return Values(client)


def results(response):
    return {pair.key: pair.value for pair in response.Results.KeyValuePairOfstringanyType} if response.Results else {}


def attributes(entity):
    return {pair.key: pair.value for pair in entity.Attributes.KeyValuePairOfstringanyType}


def test_records(service, client, make):
    name = f"zeep{uuid.uuid4().hex}"
    id = client.service.Create(entity=make.entity(
        "mailbox", name=make.string(name), password=make.string("s3cret"), incomingemaildeliverymethod=make.any(X, "OptionSetValue", {"Value": 2})))
    assert service.get(f"mailboxes({id})").json()["ispasswordset"] is True
    columns = make.make("ColumnSet", AllColumns=True)
    record = client.service.Retrieve(entityName="mailbox", id=id, columnSet=columns)
    found = attributes(record)
    assert record.Id == id and found["name"] == name and "password" not in found and found["mailboxid"] == id
    assert found["incomingemaildeliverymethod"].Value == 2 and found["ownerid"].LogicalName == "systemuser" and found["isforwardmailbox"] is True
    client.service.Update(entity=make.entity("mailbox", id, name=make.string(f"{name} 2")))
    assert service.get(f"mailboxes({id})?$select=name").json()["name"] == f"{name} 2"
    client.service.Delete(entityName="mailbox", id=id)
    with pytest.raises(zeep.exceptions.Fault) as refusal:
        client.service.Retrieve(entityName="mailbox", id=id, columnSet=columns)
    detail = client.get_element(f"{{{X}}}OrganizationServiceFault").parse(refusal.value.detail[0], client.wsdl.types)
    assert detail.ErrorCode & 0xFFFFFFFF == 0x80040217 and detail.Message == refusal.value.message


def test_queries(service, client, make):
    name = f"zeep{uuid.uuid4().hex}"
    for number in range(3):
        service.create("mailboxes", {"name": f"{name} {number}"})
    condition = make.make("ConditionExpression", AttributeName="name", Operator="BeginsWith", Values={"anyType": [make.string(name)]})
    query = make.make(
        "QueryExpression", EntityName="mailbox", ColumnSet=make.make("ColumnSet", AllColumns=False, Columns={"string": ["name"]}),
        Criteria=make.make("FilterExpression", FilterOperator="And", Conditions={"ConditionExpression": [condition]}),
        Orders={"OrderExpression": [make.make("OrderExpression", AttributeName="name", OrderType="Descending")]},
        PageInfo=make.make("PagingInfo", Count=2, PageNumber=1, ReturnTotalRecordCount=True))
    page = client.service.RetrieveMultiple(query=query)
    assert [attributes(each)["name"] for each in page.Entities.Entity] == [f"{name} 2", f"{name} 1"]
    assert page.MoreRecords is True and page.TotalRecordCount == 3 and page.PagingCookie
    query.PageInfo.PageNumber, query.PageInfo.PagingCookie = 2, page.PagingCookie
    page = client.service.RetrieveMultiple(query=query)
    assert [attributes(each)["name"] for each in page.Entities.Entity] == [f"{name} 0"] and page.MoreRecords is False
    fetch = make.make("FetchExpression", Query=f"<fetch aggregate='true'><entity name='mailbox'><attribute name='mailboxid' aggregate='count' alias='n'/><filter><condition attribute='name' operator='like' value='{name}%'/></filter></entity></fetch>")
    page = client.service.RetrieveMultiple(query=fetch)
    assert attributes(page.Entities.Entity[0])["n"].Value == 3


def test_messages(service, client, make):
    who = results(client.service.Execute(request=make.request("WhoAmI")))
    assert who["UserId"] == service.get("WhoAmI").json()["UserId"]
    early = make.make("IsDataEncryptionActiveRequest", Parameters=make.pairs(), RequestName="IsDataEncryptionActive")
    assert results(client.service.Execute(request=early))["IsActive"] is service.is_active()
    assert results(client.service.Execute(request=make.request("RetrieveDataEncryptionKey")))["EncryptionKey"] == service.key()
    weak = make.request("SetDataEncryptionKey", EncryptionKey=make.string("feeble"), ChangeEncryptionKey=zeep.xsd.AnyObject(zeep.xsd.Boolean(), True))
    with pytest.raises(zeep.exceptions.Fault) as refusal:
        client.service.Execute(request=weak)
    assert refusal.value.code == "s:Client" and "feeble" not in refusal.value.message
    requests = {"OrganizationRequest": [make.request("WhoAmI"), make.request("NoSuchRequest")]}
    settings = {"ContinueOnError": True, "ReturnResponses": True}
    many = make.request(
        "ExecuteMultiple", Requests=make.any(M, "OrganizationRequestCollection", requests), Settings=make.any(M, "ExecuteMultipleSettings", settings))
    found = results(client.service.Execute(request=many))
    items = found["Responses"].ExecuteMultipleResponseItem
    assert found["IsFaulted"] is True and results(items[0].Response)["UserId"] == who["UserId"]
    assert items[1].Fault.ErrorCode & 0xFFFFFFFF == 0x80040219 and items[1].Response.ResponseName is None


def test_metadata(client, make):
    wanted = make.request("RetrieveEntity", LogicalName=make.string("mailbox"), EntityFilters=make.any(NAMESPACES["d"], "EntityFilters", "All"))
    entity = results(client.service.Execute(request=wanted))["EntityMetadata"]
    assert entity.LogicalName == "mailbox" and entity.ObjectTypeCode == 9606 and entity.PrimaryIdAttribute == "mailboxid"
    found = {each.LogicalName: each for each in entity.Attributes.AttributeMetadata}
    assert found["password"].MaxLength and found["statecode"].OptionSet.Options.OptionMetadata[0].Value == 0
    assert found["ownerid"].Targets.string == ["systemuser", "team"] and found["name"].DisplayName.UserLocalizedLabel.Label == "Name"


def test_soap_1_2_and_an_address_of_its_own(service, session):
    client = zeep.Client(
        f"{address(service, '1.2')}?wsdl", transport=zeep.transports.Transport(session=session), port_name="SOAP12", service_name="OrganizationService",
        plugins=[zeep.wsa.WsAddressingPlugin()])
    who = client.service.Execute(request=Values(client).request("WhoAmI"))
    assert who.body.ExecuteResult.ResponseName == "WhoAmI" if hasattr(who, "body") else who.ResponseName == "WhoAmI"


def test_the_discovery_service(service, session):
    url = f"{service.base}/XRMServices/2011/Discovery.svc"
    client = zeep.Client(f"{url}?wsdl", transport=zeep.transports.Transport(session=session))
    found = client.service.Execute(request=client.get_type(f"{{{NAMESPACES['v']}}}RetrieveOrganizationsRequest")())
    # zeep returns the only member of a response in place of the response.
    details = found.OrganizationDetail
    assert [each.UniqueName for each in details] == ["contoso"]
    endpoints = {pair.key: pair.value for pair in details[0].Endpoints.KeyValuePairOfEndpointTypestringztYlk6OT}
    assert endpoints["OrganizationService"] == address(service, "1.2")
    instances = service.get(f"{service.base}/api/discovery/v2.0/Instances?$select=UniqueName,ApiUrl").json()["value"]
    assert instances == [{"UniqueName": "contoso", "ApiUrl": f"{service.base}/contoso"}]
    assert service.get(f"{service.base}/api/discovery/v2.0/Instances", token="x.y.z").status_code == 401
    assert etree.fromstring(session.get(f"{url}?wsdl").content).tag.endswith("definitions")
