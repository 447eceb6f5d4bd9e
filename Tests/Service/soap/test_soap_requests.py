"""Every request of Execute, in each form in which clients send it, and every operation: both versions of SOAP do the same."""

import re
import string
import uuid
from functools import cached_property
from xml.sax.saxutils import escape

import pytest
from lxml import etree
from service import Deployment
from soap import (
    FIXTURES, NAMESPACES, VERSIONS, address, call, columns, entity, execute, fault, names, opened, operation, outline, outlines, parameter,
    reference, refused_by, request, results, send, type_of, values,
)

REQUESTS = sorted(path.stem.removeprefix("execute-") for path in (FIXTURES / "requests").glob("execute-*.xml"))
OPERATIONS = sorted(path.stem.removeprefix("operation-") for path in (FIXTURES / "requests").glob("operation-*.xml"))
TYPE = re.compile(r'(<request [^>]*?) i:type="([^"]+)"')


def early(body):
    """The request with the type of its class, as the SDK sends it (early bound)."""
    return body


def late(body):
    """The request without a type, so that only RequestName identifies it (late bound)."""
    return TYPE.sub(r"\1", body, count=1)


def bare(body):
    """The request with the type OrganizationRequest, as the SDK sends a request that a program composed."""
    return TYPE.sub(r'\1 i:type="a:OrganizationRequest"', body, count=1)


def unnamed(body):
    """The request without RequestName, so that only its type identifies it."""
    return re.sub(r"\s*<a:RequestName>\w+</a:RequestName>(?=\s*</request>)", "", body) if TYPE.search(body) else body


class World:
    """The records that the fixtures refer to. Each is created when a test first uses it."""

    def __init__(self, service):
        self.service = service
        self.name = f"sdk{uuid.uuid4().hex[:12]}"
        self.key = f"Sdk-correct-horse-<&>-{uuid.uuid4().hex[:8]}"

    @cached_property
    def me(self):
        return self.service.get("WhoAmI").json()["UserId"]

    @cached_property
    def profile(self):
        return self.service.create("emailserverprofiles", {"name": f"{self.name} profile"})

    @cached_property
    def mailbox(self):
        return self.service.create("mailboxes", {"name": self.name})

    @cached_property
    def other(self):
        return self.service.create("systemusers", {"fullname": self.name, "domainname": f"{self.name}@sdk.test"})

    @cached_property
    def team(self):
        return self.service.create("teams", {"name": f"{self.name} team"})

    def record(self):
        return self.service.get(f"mailboxes({self.mailbox})")

    def link(self):
        self.service.request("PATCH", f"mailboxes({self.mailbox})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({self.profile})"})

    def members(self):
        return [each["systemuserid"] for each in self.service.get(f"teams({self.team})/teammembership_association?$select=systemuserid").json()["value"]]

    def body(self, kind):
        """The fixture of this kind, completed so that the request succeeds."""
        base = kind.split("-", 1)[1]
        match base:
            case "Disassociate":
                self.link()
            case "RemoveMembersTeam":
                ask(self.service, request("execute-AddMembersTeam", first=self.team, third=self.other))
            case "Retrieve-by-key":
                self.service.create("queues", {"name": self.name})
        text = (FIXTURES / "requests" / f"{kind}.xml").read_text()
        given = {"name": self.name, "cookie": "", "key": escape(self.key)}
        for placeholder, value in (("first", self.first), ("second", lambda base: self.profile), ("third", self.third),
                                   ("version", lambda base: self.version())):
            if f"${placeholder}" in text:
                given[placeholder] = value(base)
        text = string.Template(text).substitute(given)
        if kind == "execute-Update":
            text = text.replace('<a:RowVersion i:nil="true"/>', f"<a:RowVersion>{self.version()}</a:RowVersion>")
        if kind.startswith("execute-SetDataEncryptionKey"):
            # Activating an active organization is refused, so both fixtures change the key instead.
            text = text.replace(">false</", ">true</")
        if kind == "operation-Update":
            text = text.replace(">name<", ">emailaddress<")
        return text

    def version(self):
        return self.record().json()["@odata.etag"][3:-1]

    def first(self, base):
        match base:
            case "AddMembersTeam" | "RemoveMembersTeam":
                return self.team
            case "SendEmail":
                return self.draft()
            case "UpsertMultiple" | "SetDataEncryptionKey-late-bound":
                return str(uuid.uuid4())
        return self.mailbox

    def third(self, base):
        match base:
            case "Create-email":
                return self.me
            case "ModifyAccess":
                return self.team
        return self.other

    def draft(self):
        queue = self.service.create("queues", {"name": f"{self.name} {uuid.uuid4().hex[:6]}", "emailaddress": f"{uuid.uuid4().hex}@queue.test"})
        return self.service.create("emails", {"subject": self.name, "email_activity_parties": [
            {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue})"}, {"participationtypemask": 2, "addressused": "to@sdk.test"}]})


def ask(service, body, version="1.1"):
    prefix, _, type = VERSIONS[version]
    body = body.replace(NAMESPACES["s"], NAMESPACES[prefix])
    return opened(send(service, body, url=address(service, version), Content_Type=type), version)


def shape(element):
    """The outline of a response, without the nils and formatted values that depend on the record."""
    return names(outline(element))


@pytest.fixture(scope="module")
def deployment():
    """A deployment of its own, because the tests change the key."""
    with Deployment.made() as deployment:
        yield deployment


@pytest.mark.parametrize("kind", REQUESTS)
def test_each_request_in_each_form(deployment, kind):
    shapes = []
    for form, version in ((early, "1.1"), (late, "1.1"), (bare, "1.1"), (unnamed, "1.1"), (early, "1.2"), (late, "1.2")):
        world = World(deployment)
        body = world.body(f"execute-{kind}")
        name = re.search(r"<a:RequestName>(\w+)</a:RequestName>\s*</request>", body)[1]
        response = ask(deployment, form(body), version)
        assert etree.QName(response).localname == "ExecuteResponse", (form, version, etree.tostring(response).decode()[:1500])
        assert response[0].findtext("x:ResponseName", namespaces=NAMESPACES) == name
        done(deployment, world, kind, results(response))
        shapes.append(shape(response))
    # This query returns the first of all mailboxes. These are other mailboxes each time, so the outlines can differ.
    assert kind == "RetrieveMultiple-fetch" or all(each == shapes[0] for each in shapes)


def done(service, world, kind, found):
    """Checks that the request had its effect."""
    match kind:
        case "Create":
            assert service.get(f"mailboxes({found['id'].text})").json()["ispasswordset"] is True
        case "Update":
            assert world.record().json()["name"] == "Support team"
        case "Delete" | "ExecuteTransaction":
            assert world.record().status_code == 404
        case "Associate":
            assert world.record().json()["_emailserverprofile_value"] == world.profile
        case "Disassociate":
            assert world.record().json()["_emailserverprofile_value"] is None
        case "Assign":
            assert world.record().json()["_ownerid_value"] == world.other
        case "SetState":
            assert world.record().json()["statecode"] == 1
        case "SetDataEncryptionKey" | "SetDataEncryptionKey-late-bound":
            assert service.key() == world.key
        case "AddMembersTeam":
            assert world.members() == [world.other]
        case "RemoveMembersTeam":
            assert world.members() == []
        case "WhoAmI":
            assert found["UserId"].text == world.me
        case "IsDataEncryptionActive":
            assert found["IsActive"].text == "true"
        case "RetrieveDataEncryptionKey":
            assert found["EncryptionKey"].text == service.key()


@pytest.mark.parametrize("version", ["1.1", "1.2"])
@pytest.mark.parametrize("kind", OPERATIONS)
def test_each_operation_in_each_version(service, kind, version):
    world = World(service)
    if kind == "RetrieveMultiple":
        world.link()
        service.request("PATCH", f"mailboxes({world.mailbox})", {"emailaddress": f"help@{world.name}.test"})
    response = ask(service, world.body(f"operation-{kind}"), version)
    assert etree.QName(response).localname == f"{kind}Response", etree.tostring(response).decode()[:1500]
    match kind:
        case "Create":
            assert service.get(f"mailboxes({response[0].text})").json()["name"] == world.name
        case "Retrieve":
            assert values(response[0])["name"] == ("xs:string", world.name)
        case "Update":
            assert world.record().json()["emailaddress"] is None
        case "Delete":
            assert world.record().status_code == 404
        case "Associate":
            assert world.record().json()["_emailserverprofile_value"] == world.profile
        case "Disassociate":
            assert world.record().json()["_emailserverprofile_value"] is None
        case "RetrieveMultiple":
            assert [type_of(each) for each in response[0]][:1] == [None] and response[0].findtext("x:EntityName", namespaces=NAMESPACES) == "mailbox"


@pytest.mark.parametrize("version, kind", [("1.1", "fault"), ("1.2", "fault")])
def test_a_fault_in_each_version(service, version, kind):
    """The detail of a fault has the same elements in both versions."""
    gone = operation("Delete", f"<entityName>mailbox</entityName><id>{uuid.uuid4()}</id>")
    element = call(service, gone, version)
    wanted = outlines()[kind]
    start = next(index for index, line in enumerate(wanted) if line.strip().endswith("OrganizationServiceFault"))
    depth = len(wanted[start]) - len(wanted[start].lstrip())
    assert outline(element.find(".//x:OrganizationServiceFault", NAMESPACES)) == [line[depth:] for line in wanted[start:]]
    code, number, message = fault(element)
    assert (code, number) == ({"1.1": "s:Client", "1.2": "s:Sender"}[version], "0x80040217") and message
    detail = element.find(".//x:OrganizationServiceFault", NAMESPACES)
    assert int(detail.findtext("x:ErrorCode", namespaces=NAMESPACES)) == 0x80040217 - (1 << 32)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", detail.findtext("x:Timestamp", namespaces=NAMESPACES))
    if version == "1.2":
        assert [etree.QName(child).localname for child in element] == ["Code", "Reason", "Detail"]
    else:
        assert [child.tag for child in element] == ["faultcode", "faultstring", "detail"]


# Keys and versions


def key(text, name="name", type="string"):
    return f'<k:KeyValuePairOfstringanyType><p:key>{name}</p:key><p:value i:type="xs:{type}">{text}</p:value></k:KeyValuePairOfstringanyType>'


def test_alternate_keys(service):
    name = f"sdk{uuid.uuid4().hex[:12]}"
    one = {"keys": key(name)}

    def target(attributes=""):
        return parameter("Target", "x:Entity", entity("queue", attributes, **one))

    def named():
        return parameter("Target", "x:EntityReference", reference("queue", **one))

    made = execute(service, "Create", target(parameter("description", "string", "1")))["id"].text
    assert service.get(f"queues({made})").json()["name"] == name
    found = execute(service, "Retrieve", named() + parameter("ColumnSet", "x:ColumnSet", columns("description")))["Entity"]
    assert values(found)["description"] == ("xs:string", "1") and found.findtext("x:Id", namespaces=NAMESPACES) == made
    execute(service, "Update", target(parameter("description", "string", "2")))
    assert execute(service, "Upsert", target(parameter("description", "string", "3")))["RecordCreated"].text == "false"
    assert service.get(f"queues({made})").json()["description"] == "3"
    # A key can identify the record that a lookup refers to, and the record that a request is about.
    box = service.create("mailboxes", {"name": name})
    profile = service.create("emailserverprofiles", {"name": name})
    by_key = parameter("emailserverprofile", "x:EntityReference", reference("emailserverprofile", keys=key(name)))
    execute(service, "Update", parameter("Target", "x:Entity", entity("mailbox", by_key, id=box)))
    assert service.get(f"mailboxes({box})").json()["_emailserverprofile_value"] == profile
    other = service.create("systemusers", {"fullname": name, "domainname": f"{name}@sdk.test"})
    execute(service, "Assign", named() + parameter("Assignee", "x:EntityReference", reference("systemuser", other)))
    assert service.get(f"queues({made})").json()["_ownerid_value"] == other
    # A key can also identify a shared record, and the user with whom it is shared.
    person = reference("systemuser", keys=key(f"{name}@sdk.test", "domainname"))
    access = parameter("PrincipalAccess", "c:PrincipalAccess", f"<c:AccessMask>WriteAccess</c:AccessMask><c:Principal>{person}</c:Principal>")
    execute(service, "GrantAccess", named() + access)
    assert etree.tostring(execute(service, "RetrieveSharedPrincipalsAndAccess", named())["PrincipalAccesses"]).count(other.encode()) == 1
    execute(service, "RetrievePrincipalAccess", named() + parameter("Principal", "x:EntityReference", person))
    execute(service, "RevokeAccess", named() + parameter("Revokee", "x:EntityReference", person))
    assert other.encode() not in etree.tostring(execute(service, "RetrieveSharedPrincipalsAndAccess", named())["PrincipalAccesses"])
    state = parameter("State", "x:OptionSetValue", "<x:Value>1</x:Value>") + parameter("Status", "x:OptionSetValue", "<x:Value>-1</x:Value>")
    execute(service, "SetState", parameter("EntityMoniker", "x:EntityReference", reference("queue", **one)) + state)
    assert service.get(f"queues({made})").json()["statecode"] == 1
    for wrong, word in ((key(name, "nosuch"), "nosuch"), (key(name, "name='x',queueid"), "name='x',queueid"), (key(name, "description"), "alternate key"), (key("", "name"), "empty")):
        refused = call(service, operation("Execute", f'<request><x:Parameters>{parameter("Target", "x:EntityReference", reference("queue", keys=wrong))}</x:Parameters><x:RequestName>Delete</x:RequestName></request>'))
        assert word in refused_by(refused, "0x80060888")
    # A value that contradicts the key is refused. The message must fit SOAP, so it does not mention a body.
    message = fault(call(service, operation("Update", f'<entity>{entity("queue", parameter("name", "string", "other"), **one)}</entity>')))[2]
    assert message.startswith("The key names a record by name") and "body" not in message
    execute(service, "Delete", named())
    assert service.get(f"queues({made})").status_code == 404


def test_concurrency(service):
    name = f"sdk{uuid.uuid4().hex[:12]}"
    id = service.create("queues", {"name": name})

    def version():
        return service.get(f"queues({id})").json()["@odata.etag"][3:-1]

    def update(behavior, row, **record):
        extra = parameter("ConcurrencyBehavior", "k:ConcurrencyBehavior", behavior) if behavior else ""
        fields = entity("queue", parameter("description", "string", uuid.uuid4().hex), version=row, **(record or {"id": id}))
        return call(service, operation("Execute", f'<request><x:Parameters>{parameter("Target", "x:Entity", fields)}{extra}</x:Parameters><x:RequestName>Update</x:RequestName></request>'))

    stale = version()
    for behavior, row, record in ((None, "1", {}), ("Default", "1", {}), ("AlwaysOverwrite", "1", {}), ("IfRowVersionMatches", None, {})):
        row = row or version()
        assert update(behavior, row, **record).tag.endswith("ExecuteResponse"), behavior
    assert update("IfRowVersionMatches", version(), keys=key(name)).tag.endswith("ExecuteResponse")
    refused_by(update("IfRowVersionMatches", stale), "0x80060882")
    assert "RowVersion" in refused_by(update("IfRowVersionMatches", "abc"), "0x80048D19")
    assert "IfRowVersionMatches" in refused_by(update("Sometimes", stale), "0x80048D19")
    # A retrieved record has the row version that an update compares.
    read = call(service, operation("Retrieve", f"<entityName>queue</entityName><id>{id}</id><columnSet>{columns('name')}</columnSet>"))[0]
    assert read.findtext("x:RowVersion", namespaces=NAMESPACES) == version()
    # If one of several records was changed meanwhile, the whole request is refused.
    other = service.create("queues", {"name": f"{name} 2"})
    fields = "".join(
        f'<x:Entity>{entity("queue", parameter("description", "string", "many"), id=each, version=row)}</x:Entity>'
        for each, row in ((other, service.get(f"queues({other})").json()["@odata.etag"][3:-1]), (id, stale)))
    many = parameter("Targets", "x:EntityCollection", f"<x:Entities>{fields}</x:Entities>") + parameter("ConcurrencyBehavior", "k:ConcurrencyBehavior", "IfRowVersionMatches")
    refused_by(call(service, operation("Execute", f"<request><x:Parameters>{many}</x:Parameters><x:RequestName>UpdateMultiple</x:RequestName></request>")), "0x80060882")
    assert service.get(f"queues({other})").json()["description"] is None

    def delete(row):
        content = parameter("Target", "x:EntityReference", reference("queue", id, version=row)) + parameter("ConcurrencyBehavior", "k:ConcurrencyBehavior", "IfRowVersionMatches")
        return call(service, operation("Execute", f"<request><x:Parameters>{content}</x:Parameters><x:RequestName>Delete</x:RequestName></request>"))

    refused_by(delete(stale), "0x80060882")
    assert delete(version()).tag.endswith("ExecuteResponse")


def within(service, container, *requests, type=""):
    """The response to a request that contains others, by their names. Each has the class `type` of the SDK."""
    inner = "".join(f"<m:OrganizationRequest{type}><x:Parameters/><x:RequestName>{escape(each)}</x:RequestName></m:OrganizationRequest>" for each in requests)
    settings = parameter("Settings", "m:ExecuteMultipleSettings", "<m:ContinueOnError>true</m:ContinueOnError><m:ReturnResponses>true</m:ReturnResponses>")
    content = parameter("Requests", "m:OrganizationRequestCollection", inner) + (settings if container == "ExecuteMultiple" else "")
    return call(service, operation("Execute", f"<request><x:Parameters>{content}</x:Parameters><x:RequestName>{container}</x:RequestName></request>"))


def test_the_name_of_any_other_request_is_in_its_fault(service):
    """The fault also names the request if it has a class, if Dataverse has such a request, and if another request contains it."""
    for name in ("RetrieveUserPrivileges", "BulkDelete", "PublishXml", "Merge", "x" * 5_000, "Créer", "<&>"):
        for type in ("", f' i:type="c:{name}Request"') if name.isascii() and name.isalpha() and len(name) < 100 else ("",):
            element = call(service, operation("Execute", f"<request{type}><x:Parameters/><x:RequestName>{escape(name)}</x:RequestName></request>"))
            assert name[:100] in refused_by(element, "0x80040219")
            assert name[:100] in refused_by(within(service, "ExecuteTransaction", name, type=type), "0x80040219")
            found = results(within(service, "ExecuteMultiple", name, type=type))
            [item] = found["Responses"]
            assert found["IsFaulted"].text == "true" and int(item.findtext("m:Fault/x:ErrorCode", namespaces=NAMESPACES)) & 0xFFFFFFFF == 0x80040219
            assert name[:100] in item.findtext("m:Fault/x:Message", namespaces=NAMESPACES)
    assert "no RequestName" in refused_by(call(service, operation("Execute", "<request><x:Parameters/></request>")), "0x80048D19")


def test_ownerid_of_a_team_is_its_id(service):
    name, id, other = f"sdk{uuid.uuid4().hex[:12]}", str(uuid.uuid4()), str(uuid.uuid4())

    def target(own, **more):
        return parameter("Target", "x:Entity", entity("team", parameter("ownerid", "ser:guid", own) + parameter("name", "string", name), **more))
    assert execute(service, "Create", target(id))["id"].text == id
    execute(service, "Update", target(id, id=id))
    execute(service, "Update", target(id))
    for more in ({"id": id}, {"id": other}):
        refused = call(service, operation("Execute", f'<request><x:Parameters>{target(other if more["id"] == id else id, **more)}</x:Parameters><x:RequestName>Update</x:RequestName></request>'))
        assert "two different ids" in refused_by(refused, "0x80048D19")
