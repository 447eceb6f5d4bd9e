"""A Basic User can add, change and delete files of their own e-mails, as long as the e-mail can be changed."""

import uuid

import pytest
import soap
from service import refused

FILE = {"filename": "a.txt", "mimetype": "text/plain", "body": "aGk=", "objecttypecode": "email"}


def alone(service, email, **options):
    return service.request("POST", "activitymimeattachments", {**FILE, "objectid_activitypointer@odata.bind": f"/activitypointers({email})"}, **options)


def by_name(service, email, **options):
    return service.request("POST", "activitymimeattachments", {**FILE, "objectid_email@odata.bind": f"/emails({email})"}, **options)


def behind(service, email, **options):
    return service.request("POST", f"emails({email})/email_activity_mime_attachment", FILE, **options)


def by_upsert(service, email, **options):
    return service.request("PATCH", f"activitymimeattachments({uuid.uuid4()})", {**FILE, "objectid_email@odata.bind": f"/emails({email})"}, **options)


WAYS = [alone, by_name, behind, by_upsert]


def files(service, email):
    return service.get(f"activitymimeattachments?$filter=_objectid_value eq {email}&$select=filename").json()["value"]


@pytest.fixture(scope="module")
def user(service):
    return service.get("WhoAmI", client="user").json()["UserId"]


@pytest.mark.parametrize("add", WAYS)
def test_a_user_adds_files_to_an_own_draft(service, user, add):
    email = service.create("emails", {"subject": "own"}, client="user")
    for options in ({"client": "user"}, {"MSCRMCallerID": user}):
        answer = add(service, email, **options)
        assert answer.status_code in (201, 204), answer.text
    assert len(files(service, email)) == service.get(f"emails({email})?$select=attachmentcount").json()["attachmentcount"] == 2
    soap.execute(service, "Create", soap.parameter("Target", "x:Entity", soap.entity("activitymimeattachment", soap.parameter("filename", "string", "b.txt")
                 + soap.parameter("objectid", "x:EntityReference", soap.reference("email", email)))), client="user")
    assert len(files(service, email)) == 3


@pytest.mark.parametrize("add", WAYS)
def test_the_e_mail_decides(service, user, add):
    other = service.create("emails", {"subject": "of another"})
    refused(add(service, other, client="user"), 404, "0x80040217")
    share = {"Target": {"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": other},
             "PrincipalAccess": {"AccessMask": "ReadAccess", "Principal": {"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": user}}}
    assert service.request("POST", "GrantAccess", share).status_code == 204
    refused(add(service, other, client="user"), 403, "0x80040220")
    share["PrincipalAccess"]["AccessMask"] = "ReadAccess, WriteAccess"
    assert service.request("POST", "ModifyAccess", share).status_code == 204
    assert add(service, other, client="user").status_code in (201, 204)
    waiting = service.create("emails", {"subject": "waits"}, client="user")
    service.sql("UPDATE org_contoso.email SET statuscode = 6 WHERE activityid = %s", [waiting])
    refused(add(service, waiting, client="user"), 400, "0x8004022E")
    assert len(files(service, other)) == 1 and files(service, waiting) == []


def test_what_metadata_say_of_it(service, user):
    for entity in ("activitymimeattachment", "activityparty", "usersettings", "email"):
        said = service.get(f"EntityDefinitions(LogicalName='{entity}')?$select=Privileges").json()["Privileges"]
        for privilege in said:
            answer = service.get(f"systemusers({user})/Microsoft.Dynamics.CRM.RetrieveUserPrivilegeByPrivilegeName(PrivilegeName='{privilege['Name']}')", client="user")
            depths = {one["Depth"] for one in answer.json()["RolePrivileges"]}
            assert "Basic" not in depths or privilege["CanBeBasic"], privilege["Name"]
