"""The first requests of Dataverse's clients, when they connect and when they open a table. Also, the columns of other tables that they read."""

import json
import uuid

import pytest

from service import refused


def value(service, path, **options):
    response = service.get(path, **options)
    assert response.status_code == 200, response.text
    return response.json()


def test_version_and_languages(service):
    assert value(service, "RetrieveVersion()")["Version"].startswith("9.2.")
    assert value(service, "RetrieveVersion")["@odata.context"].endswith("$metadata#Microsoft.Dynamics.CRM.RetrieveVersionResponse")
    assert value(service, "RetrieveAvailableLanguages()")["LocaleIds"] == [1033]
    assert value(service, "RetrieveProvisionedLanguages")["RetrieveProvisionedLanguages"] == [1033]
    assert value(service, "RetrieveDeprovisionedLanguages()")["RetrieveDeprovisionedLanguages"] == []
    for name in ("RetrieveVersion", "RetrieveAvailableLanguages", "RetrieveTotalRecordCount", "RetrieveCurrentOrganization"):
        assert service.request("POST", f"{name}()", {}).status_code == 405
    refused(service.get("RetrieveVersion(x=1)"), 400, "0x8005F100")


@pytest.mark.parametrize("form", [
    "(AccessType='Default')", "(AccessType=Microsoft.Dynamics.CRM.EndpointAccessType'Default')", "(AccessType=@p1)?@p1='Internet'",
    "(AccessType=@p1)?@p1=Microsoft.Dynamics.CRM.EndpointAccessType'Intranet'",
])
def test_the_current_organization(service, form):
    detail = value(service, f"RetrieveCurrentOrganization{form}")["Detail"]
    assert detail["OrganizationId"] == value(service, "WhoAmI")["OrganizationId"] and detail["UniqueName"] == "contoso"
    ends = dict(zip(detail["Endpoints"]["Keys"], detail["Endpoints"]["Values"]))
    assert detail["Endpoints"]["Count"] == len(ends) and ends["WebApplication"] == f"{service.base}/contoso/"


@pytest.mark.parametrize("form", ["", "()", "(AccessType='Sideways')", "(AccessType=1)", "(AccessType=@p1)", "(Accesstype='Default')",
                                  "(AccessType='Default',AccessType='Default')", "(AccessType='Default',Other=1)", "(AccessType=x'Default')"])
def test_an_organization_that_is_asked_for_wrongly(service, form):
    refused(service.get(f"RetrieveCurrentOrganization{form}"), 400, "0x8005F100")


def test_total_record_counts(service):
    queue = service.create("queues", {"name": f"counted {uuid.uuid4()}"})
    for form in ("(EntityNames=['queue','systemuser'])", '(EntityNames=["queue","systemuser"])', '(EntityNames=@p1)?@p1=["queue","systemuser"]',
                 "(EntityNames=@p1)?@p1=['queue','systemuser']"):
        found = value(service, f"RetrieveTotalRecordCount{form}")["EntityRecordCountCollection"]
        assert found["Keys"] == ["queue", "systemuser"] and found["Count"] == 2
        assert found["Values"][0] == int(service.get("queues/$count").text.lstrip("\ufeff")) > 0
    service.request("DELETE", f"queues({queue})")
    refused(service.get("RetrieveTotalRecordCount(EntityNames=['nothing'])"), 400, "0x80060888")
    for form in ("(EntityNames=[])", "(EntityNames='queue')", "(EntityNames=[1])", "(EntityNames=['queue','queue'])", "(EntityNames=[)", ""):
        refused(service.get(f"RetrieveTotalRecordCount{form}"), 400, "0x8005F100")
    # A caller can count only records that they may read.
    refused(service.get("RetrieveTotalRecordCount(EntityNames=['queue'])", client="user"), 403, "0x80040220")


def test_privileges_of_users(service):
    me = value(service, "WhoAmI")["UserId"]
    other = value(service, "WhoAmI", client="user")["UserId"]
    bound = "Microsoft.Dynamics.CRM.RetrieveUserPrivileges"

    def privileges(path, **options):
        return {p["PrivilegeName"]: p["Depth"] for p in value(service, path, **options)["RolePrivileges"]}

    mine = privileges(f"systemusers({me})/{bound}()")
    assert mine["prvCreateMailbox"] == "Global" and mine["prvChangeSqlEncryptionKey"] == "Global" and "prvWriteUser" in mine
    theirs = privileges(f"systemusers({other})/{bound}", client="user")
    assert theirs["prvReadMailbox"] == "Basic" and "prvCreateMailbox" not in theirs and "prvChangeSqlEncryptionKey" not in theirs
    assert privileges(f"systemusers({other})/{bound}()") == theirs
    # The service refuses what the list of privileges does not have.
    refused(service.request("POST", "mailboxes", {"name": "x"}, client="user"), 403, "0x80040220")
    refused(service.get(f"systemusers({me})/{bound}()", client="user"), 403, "0x80040220")
    refused(service.get(f"systemusers({uuid.uuid4()})/{bound}()"), 404, "0x80040217")
    one = f"systemusers({me})/Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName(PrivilegeName='prvReadQueue')"
    assert privileges(one) == {"prvReadQueue": "Global"}
    id = value(service, one)["RolePrivileges"][0]["PrivilegeId"]
    assert privileges(f"systemusers({me})/Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeId(PrivilegeId={id})") == {"prvReadQueue": "Global"}
    several = "RetrieveUserSetOfPrivilegesByNames(PrivilegeNames=@p)?@p=[\"prvReadQueue\",\"prvNothing\"]"
    assert privileges(f"systemusers({me})/Microsoft.Dynamics.CRM.{several}") == {"prvReadQueue": "Global"}
    assert service.request("POST", f"systemusers({me})/{bound}", {}).status_code == 405
    # A disabled user has none of the privileges either: of a disabled client, or if the user's record is disabled.
    made = service.json("client", "add", f"startup-{uuid.uuid4()}", "--org", "contoso", "--role", "Email Administrator")
    token = service.token_response(made["clientId"], made["clientSecret"]).json()["access_token"]
    user = value(service, "WhoAmI", token=token)["UserId"]
    all_of_them = privileges(f"systemusers({user})/{bound}()")
    assert all_of_them["prvCreateMailbox"] == "Global"
    service.run("client", "disable", made["clientId"], "--org", "contoso")
    assert privileges(f"systemusers({user})/{bound}()") == {}
    service.run("client", "enable", made["clientId"], "--org", "contoso")
    assert privileges(f"systemusers({user})/{bound}()") == all_of_them
    for disabled in (True, False):
        assert service.request("PATCH", f"systemusers({user})", {"isdisabled": disabled}).status_code == 204
        assert privileges(f"systemusers({user})/{bound}()") == ({} if disabled else all_of_them)
    # A user without a client and without a sign-in has no privileges.
    unit = value(service, "WhoAmI")["BusinessUnitId"]
    alone = service.create("systemusers", {
        "fullname": "Alone", "domainname": f"x\\{uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})"})
    assert privileges(f"systemusers({alone})/{bound}()") == {}


def test_principal_access_in_each_form(service):
    me = value(service, "WhoAmI")["UserId"]
    queue = service.create("queues", {"name": f"access {uuid.uuid4()}"})
    target = json.dumps({"@odata.id": f"queues({queue})"})
    typed = json.dumps({"@odata.type": "Microsoft.Dynamics.CRM.queue", "queueid": queue})
    absolute = json.dumps({"@odata.id": f"{service.api}/queues({queue})"})
    name = f"systemusers({me})/Microsoft.Dynamics.CRM.RetrievePrincipalAccess"
    for form in (f"(Target=@t)?@t={target}", f"(Target=@tid)?@tid={typed}", f"(Target={typed})", f"(Target=@t)?@t={absolute}",
                 f"(Target=@t)?@t={target.replace(chr(34), chr(39))}"):
        assert "WriteAccess" in value(service, name + form)["AccessRights"], form
    for form in ("()", "(Target=@t)", "(Target=@t)?@t={", "(Target=1)", f"(Target=@t,Other=1)?@t={target}"):
        assert service.get(name + form).status_code == 400, form


def test_what_messages_an_entity_knows(service):
    path = ("sdkmessagefilters?$select=sdkmessagefilterid&$expand=sdkmessageid($select=name)&$filter="
            "(sdkmessageid/name eq 'CreateMultiple' or sdkmessageid/name eq 'UpdateMultiple') and primaryobjecttypecode eq '{}'")

    def known(entity):
        return {row["sdkmessageid"]["name"] for row in value(service, path.format(entity))["value"]}

    assert known("queue") == {"CreateMultiple", "UpdateMultiple"} and known("role") == set() and known("usersettings") == {"UpdateMultiple"}
    names = {row["name"] for row in value(service, "sdkmessages?$select=name")["value"]}
    assert {"WhoAmI", "SetDataEncryptionKey", "Create", "RetrieveVersion"} <= names
    # The service refuses messages that the list does not have for an entity.
    assert service.request("POST", "roles/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": []}).status_code in (400, 405, 501)
    for method, body in (("POST", {"name": "x"}), ("PATCH", {"name": "x"}), ("DELETE", None)):
        id = "" if method == "POST" else f"({value(service, 'sdkmessages?$top=1')['value'][0]['sdkmessageid']})"
        assert service.request(method, f"sdkmessages{id}", body).status_code in (403, 405, 501)


def test_columns_of_reference_tables(service):
    client = service.dev["clients"]["router"]["clientId"]
    columns = "firstname,lastname,fullname,accessmode,applicationid,isintegrationuser,azureactivedirectoryobjectid,title,isdisabled"
    (user,) = value(service, f"systemusers?$select={columns}&$filter=applicationid eq {client}")["value"]
    assert user["fullname"] == "# dev-router" and (user["firstname"], user["lastname"]) == ("#", "dev-router")
    assert user["accessmode"] == 4 and user["isintegrationuser"] is True
    unit = value(service, "WhoAmI")["BusinessUnitId"]

    def made(fullname):
        id = service.create("systemusers", {
            "fullname": fullname, "domainname": f"x\\{uuid.uuid4()}", "businessunitid@odata.bind": f"/businessunits({unit})", "title": "Dr."})
        return value(service, f"systemusers({id})?$select={columns}")

    for fullname, first, last in (("Ada King Lovelace", "Ada King", "Lovelace"), ("Ada", None, "Ada"), (" Ada  King ", " Ada", "King")):
        user = made(fullname)
        assert (user["firstname"], user["lastname"], user["title"]) == (first, last, "Dr.")
        assert user["accessmode"] == 0 and user["applicationid"] is None and user["isintegrationuser"] is False
    # Computed columns follow the columns that they depend on. No caller can write them.
    id = user["systemuserid"]
    assert service.request("PATCH", f"systemusers({id})", {"fullname": "Grace Hopper"}).status_code == 204
    assert value(service, f"systemusers({id})?$select=lastname")["lastname"] == "Hopper"
    for attribute in ("lastname", "accessmode", "applicationid"):
        assert service.request("PATCH", f"systemusers({id})", {attribute: None}).status_code == 400
    team = service.create("teams", {"name": "t", "businessunitid@odata.bind": f"/businessunits({unit})", "description": "d",
                                    "administratorid@odata.bind": f"/systemusers({id})"})
    found = value(service, f"teams({team})?$select=teamtype,isdefault,description,_administratorid_value")
    assert (found["teamtype"], found["isdefault"], found["description"], found["_administratorid_value"]) == (0, False, "d", id)
    refused(service.request("POST", "teams", {"name": "t", "teamtype": 1}), 400, "0x80040203")
    roles = {r["name"]: r for r in value(service, "roles?$select=name,ismanaged,_roletemplateid_value,_parentrootroleid_value")["value"]}
    assert roles["System Administrator"]["_roletemplateid_value"] == "627090ff-40a3-4053-8790-584edc5be201"
    assert all(r["ismanaged"] and r["_parentrootroleid_value"] == r["roleid"] for r in roles.values())
    assert [n for n, r in roles.items() if r["_roletemplateid_value"]] == ["System Administrator"]
    assert value(service, "organizations?$select=languagecode,localeid")["value"][0]["languagecode"] == 1033
    assert value(service, "transactioncurrencies?$select=currencyprecision,statecode")["value"][0]["currencyprecision"] == 2
    assert value(service, "businessunits?$select=isdisabled")["value"][0]["isdisabled"] is False
