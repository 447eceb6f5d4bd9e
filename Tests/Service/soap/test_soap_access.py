"""What each role may do over SOAP: for each role and message, the result must be the one of the Web API."""

import re
import uuid

import pytest
from soap import NAMESPACES, call, columns, entity, execute, fault, operation, opened, parameter, reference, refused_by, request, send

ROLES = {"admin": "System Administrator", "mailadmin": "Email Administrator", "basic": "Basic User", "router": "Email Router"}
SETS = {"emailserverprofile": ("emailserverprofiles", "incomingpassword"), "mailbox": ("mailboxes", "password"), "queue": ("queues", "emailpassword")}


@pytest.fixture(scope="module")
def callers(service):
    """A client of each role: {name: (token, systemuserid)}."""
    tokens = {}
    for name, role in ROLES.items():
        made = service.json("client", "add", f"soap-{name}-{uuid.uuid4().hex[:6]}", "--org", "contoso", "--role", role)
        token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
        tokens[name] = (token, service.get("WhoAmI", token=token).json()["UserId"])
    return tokens


def code(element):
    """The error code of a fault, or None for a response."""
    return fault(element)[1] if element.tag.endswith("Fault") else None


@pytest.mark.parametrize("name", SETS)
@pytest.mark.parametrize("role", ROLES)
def test_the_same_refusals_as_the_web_api(service, callers, role, name):
    token, user = callers[role]
    collection, password = SETS[name]
    other = callers["admin" if role != "admin" else "mailadmin"][1]

    def web(response):
        return None if response.status_code < 300 else response.json()["error"]["code"]

    def soap(name, content):
        return code(call(service, operation(name, content), token=token))

    def target(id):
        return parameter("Target", "x:EntityReference", reference(name, id))

    for owner in (user, other):
        def fresh():
            return service.create(collection, {"name": f"soap {uuid.uuid4()}", "ownerid@odata.bind": f"/systemusers({owner})"})

        id = fresh()
        path = f"{collection}({id})"
        assert soap("Retrieve", f"<entityName>{name}</entityName><id>{id}</id><columnSet>{columns('name')}</columnSet>") == web(service.get(f"{path}?$select=name", token=token))
        query = f'<query i:type="x:QueryByAttribute"><x:Attributes><a:string>{name}id</a:string></x:Attributes><x:ColumnSet>{columns("name")}</x:ColumnSet><x:EntityName>{name}</x:EntityName><x:Values><a:anyType i:type="ser:guid">{id}</a:anyType></x:Values></query>'
        listed = call(service, operation("RetrieveMultiple", query), token=token)
        answer = service.get(f"{collection}?$filter={name}id eq {id}", token=token)
        assert code(listed) == web(answer)
        if answer.status_code == 200:
            assert len(listed[0][0]) == len(answer.json()["value"])
        for attribute in ("name", password):
            changed = soap("Update", f"<entity>{entity(name, parameter(attribute, 'string', 'y'), id=id)}</entity>")
            assert changed == web(service.request("PATCH", path, {attribute: "y"}, token=token, If_Match="*"))
        share = {"Target": {"@odata.id": path}, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({other})"}, "AccessMask": "ReadAccess"}}
        access = f"<c:AccessMask>ReadAccess</c:AccessMask><c:Principal>{reference('systemuser', other)}</c:Principal>"
        granted = code(call(service, operation("Execute", f"<request><x:Parameters>{target(id)}{parameter('PrincipalAccess', 'c:PrincipalAccess', access)}</x:Parameters><x:RequestName>GrantAccess</x:RequestName></request>"), token=token))
        assert granted == web(service.request("POST", "GrantAccess", share, token=token))
        assign = f"<request><x:Parameters>{target(id)}{parameter('Assignee', 'x:EntityReference', reference('systemuser', user))}</x:Parameters><x:RequestName>Assign</x:RequestName></request>"
        assigned = code(call(service, operation("Execute", assign), token=token))
        assert assigned == web(service.request("PATCH", path, {"ownerid@odata.bind": f"/systemusers({user})"}, token=token, If_Match="*"))
        first, second = fresh(), fresh()
        assert soap("Delete", f"<entityName>{name}</entityName><id>{first}</id>") == web(service.request("DELETE", f"{collection}({second})", token=token))
    assert soap("Create", f"<entity>{entity(name, parameter('name', 'string', 'x'))}</entity>") == web(service.request("POST", collection, {"name": "x"}, token=token))


@pytest.mark.parametrize("role", ROLES)
def test_the_three_messages_are_a_system_administrators(service, callers, role):
    token = callers[role][0]
    for kind in ("IsDataEncryptionActive", "RetrieveDataEncryptionKey"):
        assert code(opened(send(service, request(f"execute-{kind}"), token=token))) == (None if role == "admin" else "0x80040220")
    weak = parameter("EncryptionKey", "string", "weak") + parameter("ChangeEncryptionKey", "boolean", "true")
    content = f"<request><x:Parameters>{weak}</x:Parameters><x:RequestName>SetDataEncryptionKey</x:RequestName></request>"
    refused_by(call(service, operation("Execute", content), token=token), "0x80048528" if role == "admin" else "0x80040220")
    # The same request, as a part of ExecuteMultiple.
    inner = f"<m:OrganizationRequest>{content[len('<request>'):-len('</request>')]}</m:OrganizationRequest>"
    settings = "<m:ContinueOnError>true</m:ContinueOnError><m:ReturnResponses>true</m:ReturnResponses>"
    found = execute(service, "ExecuteMultiple", parameter("Requests", "m:OrganizationRequestCollection", inner) + parameter("Settings", "m:ExecuteMultipleSettings", settings), token=token)
    number = int(found["Responses"][0][0].findtext("{*}ErrorCode")) & 0xFFFFFFFF
    assert f"0x{number:08X}" == ("0x80048528" if role == "admin" else "0x80040220")


def collection(*records):
    return parameter("Targets", "x:EntityCollection", f"<x:Entities>{''.join(f'<x:Entity>{each}</x:Entity>' for each in records)}</x:Entities>")


def reference_to(name, entity, id):
    return parameter(name, "x:EntityReference", reference(entity, id))


MANY = "Microsoft.Dynamics.CRM"


def messages(me, other, team, email):
    """For each other message: its name, its parameters for a record, and the request of the Web API that does the same."""
    def target(id, **extra):
        return {"Target": {"@odata.id": f"mailboxes({id})"}, **extra}

    access = f"<c:AccessMask>ReadAccess</c:AccessMask><c:Principal>{reference('systemuser', other)}</c:Principal>"
    granted = {"PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({other})"}, "AccessMask": "ReadAccess"}}
    option = "x:OptionSetValue"
    yield "WhoAmI", lambda id: "", lambda id: ("GET", "WhoAmI", None)
    yield "RetrieveVersion", lambda id: "", lambda id: ("GET", "RetrieveVersion", None)
    yield "Retrieve", lambda id: reference_to("Target", "mailbox", id) + parameter("ColumnSet", "x:ColumnSet", columns("name")), lambda id: ("GET", f"mailboxes({id})?$select=name", None)
    yield "Create", lambda id: parameter("Target", "x:Entity", entity("mailbox", parameter("name", "string", "x"))), lambda id: ("POST", "mailboxes", {"name": "x"})
    yield "Update", lambda id: parameter("Target", "x:Entity", entity("mailbox", parameter("name", "string", "x"), id=id)), lambda id: ("PATCH", f"mailboxes({id})", {"name": "x"})
    yield "Upsert", lambda id: parameter("Target", "x:Entity", entity("mailbox", parameter("name", "string", "x"), id=id)), lambda id: ("PATCH", f"mailboxes({id})", {"name": "x"})
    yield "Delete", lambda id: reference_to("Target", "mailbox", id), lambda id: ("DELETE", f"mailboxes({id})", None)
    yield "CreateMultiple", lambda id: collection(entity("mailbox", parameter("name", "string", "x"))), lambda id: ("POST", f"mailboxes/{MANY}.CreateMultiple", {"Targets": [{"@odata.type": f"{MANY}.mailbox", "name": "x"}]})
    for name in ("UpdateMultiple", "UpsertMultiple"):
        yield name, lambda id: collection(entity("mailbox", parameter("name", "string", "x"), id=id)), lambda id, name=name: ("POST", f"mailboxes/{MANY}.{name}", {"Targets": [{"@odata.type": f"{MANY}.mailbox", "mailboxid": id, "name": "x"}]})
    yield "SetState", lambda id: reference_to("EntityMoniker", "mailbox", id) + parameter("State", option, "<x:Value>1</x:Value>") + parameter("Status", option, "<x:Value>2</x:Value>"), lambda id: ("PATCH", f"mailboxes({id})", {"statecode": 1, "statuscode": 2})
    yield "GrantAccess", lambda id: reference_to("Target", "mailbox", id) + parameter("PrincipalAccess", "c:PrincipalAccess", access), lambda id: ("POST", "GrantAccess", target(id, **granted))
    yield "ModifyAccess", lambda id: reference_to("Target", "mailbox", id) + parameter("PrincipalAccess", "c:PrincipalAccess", access), lambda id: ("POST", "ModifyAccess", target(id, **granted))
    yield "RevokeAccess", lambda id: reference_to("Target", "mailbox", id) + reference_to("Revokee", "systemuser", other), lambda id: ("POST", "RevokeAccess", target(id, Revokee={"@odata.id": f"systemusers({other})"}))
    yield "RetrievePrincipalAccess", lambda id: reference_to("Target", "mailbox", id) + reference_to("Principal", "systemuser", other), lambda id: ("GET", f"systemusers({other})/{MANY}.RetrievePrincipalAccess(Target=@t)?@t={{'@odata.id':'mailboxes({id})'}}", None)
    yield "RetrieveSharedPrincipalsAndAccess", lambda id: reference_to("Target", "mailbox", id), lambda id: ("GET", f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'mailboxes({id})'}}", None)
    for name in ("AddMembersTeam", "RemoveMembersTeam"):
        yield name, lambda id: parameter("TeamId", "ser:guid", team) + parameter("MemberIds", "a:ArrayOfguid", f"<a:guid>{me}</a:guid>"), lambda id, name=name: ("POST", f"teams({team})/{MANY}.{name}", {"Members": [{"@odata.type": f"{MANY}.systemuser", "systemuserid": me}]})
    yield "SendEmail", lambda id: parameter("EmailId", "ser:guid", email()) + parameter("IssueSend", "boolean", "true"), lambda id: ("POST", f"emails({email()})/{MANY}.SendEmail", {"IssueSend": True, "TrackingToken": ""})


@pytest.mark.parametrize("role", ROLES)
def test_each_message_of_each_role(service, callers, role):
    token, me = callers[role]
    other = callers["admin" if role != "admin" else "mailadmin"][1]
    team = service.create("teams", {"name": f"soap {uuid.uuid4()}"})
    profile = service.create("emailserverprofiles", {"name": f"soap {uuid.uuid4()}", "ownerid@odata.bind": f"/systemusers({me})"})
    queue = service.create("queues", {"name": f"soap {uuid.uuid4()}", "emailaddress": f"{uuid.uuid4().hex}@soap.test", "ownerid@odata.bind": f"/systemusers({other})"})

    def email():
        return service.create("emails", {"subject": "soap", "ownerid@odata.bind": f"/systemusers({other})", "email_activity_parties": [
            {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue})"}, {"participationtypemask": 2, "addressused": "to@soap.test"}]})

    def web(method, path, body):
        answer = service.request(method, path, body, token=token)
        return None if answer.status_code < 300 else answer.json()["error"]["code"]

    def soap(name, parameters):
        return code(call(service, operation("Execute", f"<request><x:Parameters>{parameters}</x:Parameters><x:RequestName>{name}</x:RequestName></request>"), token=token))

    for owner in (me, other):
        def fresh():
            return service.create("mailboxes", {"name": f"soap {uuid.uuid4()}", "ownerid@odata.bind": f"/systemusers({owner})"})

        for name, parameters, asked in messages(me, other, team, email):
            first = soap(name, parameters(fresh()))
            if name == "RemoveMembersTeam":  # Only a member can be removed, so the user joins the team first.
                joined = service.request("POST", f"teams({team})/{MANY}.AddMembersTeam", {"Members": [{"systemuserid": me}]})
                assert joined.status_code == 204, joined.text
            answers = first, web(*asked(fresh()))
            assert answers[0] == answers[1], (name, owner == me, answers)
        # Linking two records writes a lookup, so it needs the same rights. A request in a transaction needs the same rights as alone.
        for links, change in ((True, {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}), (False, {"emailserverprofile": None})):
            one, two = fresh(), fresh()
            if not links:
                for id in (one, two):
                    assert service.request("PATCH", f"mailboxes({id})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}).status_code == 204
            related = f"<x:EntityReference>{reference('mailbox', one)}</x:EntityReference>"
            relationship = "<x:PrimaryEntityRole i:nil='true'/><x:SchemaName>emailserverprofile_mailbox</x:SchemaName>"
            parameters = reference_to("Target", "emailserverprofile", profile) + parameter("Relationship", "x:Relationship", relationship) + parameter("RelatedEntities", "x:EntityReferenceCollection", related)
            assert soap("Associate" if links else "Disassociate", parameters) == web("PATCH", f"mailboxes({two})", change), (links, owner == me)
        for change in ("name", "password"):
            one, two = fresh(), fresh()
            inner = f"<m:OrganizationRequest><x:Parameters>{parameter('Target', 'x:Entity', entity('mailbox', parameter(change, 'string', 'y'), id=one))}</x:Parameters><x:RequestName>Update</x:RequestName></m:OrganizationRequest>"
            assert soap("ExecuteTransaction", parameter("Requests", "m:OrganizationRequestCollection", inner)) == web("PATCH", f"mailboxes({two})", {change: "y"}), (change, owner == me)
    for name, parameters in (
        ("RetrieveCurrentOrganization", ""), ("RetrieveEntity", parameter("LogicalName", "string", "mailbox") + parameter("EntityFilters", "d:EntityFilters", "Entity")),
        ("RetrieveAttribute", parameter("EntityLogicalName", "string", "mailbox") + parameter("LogicalName", "string", "name")),
    ):
        assert soap(name, parameters) == web("GET", "EntityDefinitions(LogicalName='mailbox')?$select=LogicalName", None), name


@pytest.mark.parametrize("role", ROLES)
def test_discovery_is_each_roles(service, callers, role):
    """Each role finds its organization over both versions of SOAP and over OData, and learns whether it is a System Administrator."""
    token = callers[role][0]
    space = NAMESPACES["v"]
    for type, envelope in (("text/xml", NAMESPACES["s"]), ("application/soap+xml", NAMESPACES["s12"])):
        for kind, inner in (("RetrieveOrganizationsRequest", ""), ("RetrieveOrganizationRequest", "<v:UniqueName>contoso</v:UniqueName>")):
            body = (f'<e:Envelope xmlns:e="{envelope}"><e:Body><Execute xmlns="{space}" xmlns:v="{space}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
                    f'<request i:type="v:{kind}"><v:AccessType>Default</v:AccessType><v:Release>Current</v:Release>{inner}</request></Execute></e:Body></e:Envelope>')
            for path in ("XRMServices/2011/Discovery.svc", "contoso/XRMServices/2011/Discovery.svc"):
                answer = send(service, body, token=token, url=f"{service.base}/{path}", Content_Type=type)
                assert answer.status_code == 200, answer.text
                assert re.findall(r"UniqueName>(\w+)<", answer.text) == ["contoso"] and f"{service.base}/contoso/XRMServices/2011/Organization.svc" in answer.text
            other = send(service, body.replace(">contoso<", ">fabrikam<"), token=token, url=f"{service.base}/XRMServices/2011/Discovery.svc", Content_Type=type)
            assert (other.status_code, "DiscoveryServiceFault" in other.text) == ((500, True) if inner else (200, False)), other.text
    found = service.get(f"{service.base}/api/discovery/v2.0/Instances", token=token).json()["value"]
    assert [(each["UniqueName"], each["IsUserSysAdmin"]) for each in found] == [("contoso", role == "admin")]


def test_a_client_that_may_not_act_is_told_nothing_else(service):
    made = service.json("client", "add", f"soap-{uuid.uuid4().hex[:6]}", "--org", "contoso", "--role", "Basic User")
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    service.run("client", "disable", made["clientId"], "--org", "contoso")
    for content in ("<request><x:RequestName>Nothing</x:RequestName></request>", "<request><x:RequestName>WhoAmI</x:RequestName></request>"):
        response = send(
            service, f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{operation("Execute", content)}</s:Body></s:Envelope>', token=token)
        assert response.status_code == 401
