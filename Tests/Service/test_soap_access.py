"""Who may do what over SOAP: each role and each message is answered as the Web API answers it."""

import uuid

import pytest
from soap import call, columns, entity, execute, fault, operation, opened, parameter, reference, refused_by, request, send

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
    """The number of a fault; none for an answer."""
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
    # The same within a request for many.
    inner = f"<m:OrganizationRequest>{content[len('<request>'):-len('</request>')]}</m:OrganizationRequest>"
    settings = "<m:ContinueOnError>true</m:ContinueOnError><m:ReturnResponses>true</m:ReturnResponses>"
    found = execute(service, "ExecuteMultiple", parameter("Requests", "m:OrganizationRequestCollection", inner) + parameter("Settings", "m:ExecuteMultipleSettings", settings), token=token)
    number = int(found["Responses"][0][0].findtext("{*}ErrorCode")) & 0xFFFFFFFF
    assert f"0x{number:08X}" == ("0x80048528" if role == "admin" else "0x80040220")


def test_a_client_that_may_not_act_is_told_nothing_else(service):
    made = service.json("client", "add", f"soap-{uuid.uuid4().hex[:6]}", "--org", "contoso", "--role", "Basic User")
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    service.run("client", "disable", made["clientId"], "--org", "contoso")
    for content in ("<request><x:RequestName>Nothing</x:RequestName></request>", "<request><x:RequestName>WhoAmI</x:RequestName></request>"):
        response = send(
            service, f'<s:Envelope xmlns:s="http://schemas.xmlsoap.org/soap/envelope/"><s:Body>{operation("Execute", content)}</s:Body></s:Envelope>', token=token)
        assert response.status_code == 401
