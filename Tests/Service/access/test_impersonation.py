"""Requests in the name of another user, with MSCRMCallerID or CallerObjectId, alone and in batches."""

import json
import uuid

import pytest
import soap
from service import refused
from test_batches import batch, change_set, multipart, part, statuses

WHO = (f'<Execute xmlns="{soap.SERVICES}" xmlns:x="{soap.NAMESPACES["x"]}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance"><request><x:Parameters/>'
       '<x:RequestId i:nil="true"/><x:RequestName>WhoAmI</x:RequestName></request></Execute>')


def user_of(service, client):
    return service.get("WhoAmI", client=client).json()["UserId"]


def as_user(service, client="user"):
    return {"MSCRMCallerID": user_of(service, client)}


def test_the_request_is_the_other_users(service):
    admin, user = user_of(service, "admin"), user_of(service, "user")
    assert service.get("WhoAmI", MSCRMCallerID=user).json()["UserId"] == user != admin
    objectID = str(uuid.uuid4())
    assert service.request("PATCH", f"systemusers({user})", {"azureactivedirectoryobjectid": objectID}).status_code == 204
    assert service.get("WhoAmI", CallerObjectId=objectID).json()["UserId"] == user
    assert service.get("WhoAmI").json()["UserId"] == admin


def test_discovery_is_for_the_other_user_too(service):
    user, nobody = user_of(service, "user"), str(uuid.uuid4())
    space = soap.NAMESPACES["v"]

    def discover(inner, **headers):
        request = f'<Execute xmlns="{space}" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">{inner}</Execute>'
        envelope = f'<s:Envelope xmlns:s="{soap.NAMESPACES["s"]}"><s:Body>{request}</s:Body></s:Envelope>'
        return soap.opened(soap.send(service, envelope, url=f"{service.base}/XRMServices/2011/Discovery.svc", **headers))

    every = '<request i:type="RetrieveOrganizationsRequest"/>'
    assert discover(every, MSCRMCallerID=user).tag.endswith("ExecuteResponse")
    soap.refused_by(discover(every, MSCRMCallerID=nobody), "0x80072560")
    for root in (service.base, f"{service.base}/contoso"):
        path = f"{root}/api/discovery/v2.0/Instances"
        assert [i["IsUserSysAdmin"] for i in service.get(path, MSCRMCallerID=user).json()["value"]] == [False]
        refused(service.get(path, MSCRMCallerID=nobody), 403, "0x80072560")
        refused(service.get(path, client="user", MSCRMCallerID=user), 403, "0x80040220")
        refused(service.get(path, MSCRMCallerID="x"), 400, "0x8005F100")
    for inner in ("<AccessType>Nope</AccessType>", "<Release>Nope</Release>", "<IsInternalCrossGeoServerRequest>x</IsInternalCrossGeoServerRequest>"):
        soap.refused_by(discover(f'<request i:type="RetrieveOrganizationsRequest">{inner}</request>'), "0x80048D19")
    assert "UniqueName" in soap.refused_by(discover('<request i:type="RetrieveOrganizationRequest"/>'), "0x80048D19")


def test_records_name_both_users(service):
    admin, user = user_of(service, "admin"), user_of(service, "user")
    email = service.create("emails", {"subject": "for the user"}, MSCRMCallerID=user)
    fields = "_createdby_value,_createdonbehalfby_value,_modifiedby_value,_modifiedonbehalfby_value,_ownerid_value,createdonbehalfbyname"
    record = service.get(f"emails({email})?$select={fields}").json()
    assert (record["_createdby_value"], record["_createdonbehalfby_value"], record["_ownerid_value"]) == (user, admin, user)
    assert (record["_modifiedby_value"], record["_modifiedonbehalfby_value"]) == (user, admin)
    assert record["createdonbehalfbyname"] == "# dev-admin"
    # A change in the client's own name clears modifiedonbehalfby.
    assert service.request("PATCH", f"emails({email})", {"subject": "own"}).status_code == 204
    record = service.get(f"emails({email})?$select={fields}").json()
    assert (record["_modifiedby_value"], record["_modifiedonbehalfby_value"], record["_createdonbehalfby_value"]) == (admin, None, admin)
    assert service.request("PATCH", f"emails({email})", {"subject": "again"}, MSCRMCallerID=user).status_code == 204
    assert service.get(f"emails({email})?$select={fields}").json()["_modifiedonbehalfby_value"] == admin


def test_the_rights_are_those_of_both(service):
    own = service.create("emails", {"subject": "the user's"}, client="user")
    others = service.create("emails", {"subject": "the administrator's"})
    as_basic = as_user(service)
    assert service.get(f"emails({own})", **as_basic).status_code == 200
    refused(service.get(f"emails({others})", **as_basic), 404, "0x80040217")
    assert service.get(f"emails({others})").status_code == 200
    refused(service.get("queues", **as_basic), 403, "0x80040220")
    refused(service.request("POST", "mailboxes", {"name": "x"}, **as_basic), 403, "0x80040220")
    found = service.get("emails?$select=activityid", **as_basic).json()["value"]
    assert own in [e["activityid"] for e in found] and others not in [e["activityid"] for e in found]
    # A System Administrator can't send a router's requests, not even in the name of a router.
    body = {"HostId": "test", "MailboxId": str(uuid.uuid4()), "Direction": "Incoming", "Limit": 5}
    for name in ("ReleaseCredential", "LeaseMailbox", "TakePendingEmails"):
        refused(service.request("POST", f"fieldseal.{name}", body, **as_user(service, "router")), 403, "0x80040220")


@pytest.mark.parametrize("client", ["user", "router"])
def test_without_the_privilege_it_is_refused(service, client):
    for other in ("admin", "user"):
        refused(service.get("WhoAmI", client=client, MSCRMCallerID=user_of(service, other)), 403, "0x80040220")
    refused(service.get("WhoAmI", client=client, CallerObjectId=str(uuid.uuid4())), 403, "0x80040220")


def test_key_messages_are_refused(service):
    admin = {"MSCRMCallerID": user_of(service, "admin")}
    key, events = service.key(), "SELECT count(*) FROM org_contoso.security_event WHERE kind LIKE 'key%' AND outcome = 'succeeded'"
    before = service.sql(events)
    for headers in (admin, as_user(service)):
        refused(service.get("RetrieveDataEncryptionKey", **headers), 403, "0x80040220")
        refused(service.get("IsDataEncryptionActive", **headers), 403, "0x80040220")
        refused(service.set_key("Another-key-of-nobody-1", **headers), 403, "0x80040220")
    assert service.sql(events) == before and service.key() == key
    # The security event of each refusal names both the client and the user.
    actors = service.sql("SELECT actor FROM org_contoso.security_event WHERE kind = 'key message refused' AND actor LIKE %s", [f"client:dev-admin as systemuser:{admin['MSCRMCallerID']}"])
    assert len(actors) >= 2


def test_events_and_the_audit_name_both(service):
    admin, user = user_of(service, "admin"), user_of(service, "user")
    mailbox = service.create("mailboxes", {"name": "impersonated", "ownerid@odata.bind": f"/systemusers({user})"})
    assert service.request("PATCH", f"mailboxes({mailbox})", {"password": "in the name of the user"}, MSCRMCallerID=user).status_code == 204
    service.run("events", "verify", "--org", "contoso")
    (actor,) = service.sql(
        "SELECT actor FROM org_contoso.security_event WHERE kind = 'password set' AND details = %s", [f"mailbox({mailbox}).password"])
    assert actor[0] == f"client:dev-admin as systemuser:{user}"
    audits = service.get(f"audits?$filter=objectid eq {mailbox}&$orderby=createdon&$select=_userid_value,_callinguserid_value,operation").json()["value"]
    assert [(a["_userid_value"], a["_callinguserid_value"]) for a in audits] == [(admin, None), (user, admin)]
    assert service.request("DELETE", f"mailboxes({mailbox})", MSCRMCallerID=admin).status_code == 204
    (last,) = service.get(f"audits?$filter=objectid eq {mailbox} and operation eq 3&$select=_userid_value,_callinguserid_value").json()["value"]
    assert (last["_userid_value"], last["_callinguserid_value"]) == (admin, admin)


def test_users_that_no_request_can_be_for(service):
    refused(service.get("WhoAmI", MSCRMCallerID="nobody"), 400, "0x8005F100")
    refused(service.get("WhoAmI", MSCRMCallerID=str(uuid.uuid4()), CallerObjectId=str(uuid.uuid4())), 400, "0x8005F100")
    refused(service.get("WhoAmI", MSCRMCallerID=str(uuid.uuid4())), 403, "0x80072560")
    refused(service.get("WhoAmI", CallerObjectId=str(uuid.uuid4())), 403, "0x80072560")
    # A systemuser without a client and without a sign-in has no role.
    roleless = service.create("systemusers", {"fullname": "Roleless", "domainname": f"CONTOSO\\{uuid.uuid4()}"})
    refused(service.get("WhoAmI", MSCRMCallerID=roleless), 403, "0x80040220")
    client = service.json("client", "add", f"acting {uuid.uuid4().hex[:8]}", "--role", "Basic User", "--org", "contoso")
    user = service.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [client["clientId"]])[0][0]
    assert service.get("WhoAmI", MSCRMCallerID=str(user)).json()["UserId"] == str(user)
    assert service.request("PATCH", f"systemusers({user})", {"isdisabled": True}).status_code == 204
    refused(service.get("WhoAmI", MSCRMCallerID=str(user)), 403, "0x80072560")


def test_an_administrator_does_not_disable_itself(service):
    own = service.get("WhoAmI").json()["UserId"]
    made = service.json("client", "add", f"second {uuid.uuid4().hex[:8]}", "--role", "System Administrator", "--org", "contoso")
    other = str(service.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [made["clientId"]])[0][0])
    # The request is refused in the client's own name, and in the name of another administrator.
    for headers in ({}, {"MSCRMCallerID": other}):
        assert "itself" in refused(service.request("PATCH", f"systemusers({own})", {"isdisabled": True}, **headers), 400, "0x80040203")
    refused(service.request("PATCH", f"systemusers({other})", {"isdisabled": True}, MSCRMCallerID=other), 400, "0x80040203")
    refused(service.request("PUT", f"systemusers({own})/isdisabled", {"value": True}), 400, "0x80040203")
    assert service.get("WhoAmI").status_code == 200
    assert service.request("PATCH", f"systemusers({other})", {"isdisabled": True}).status_code == 204


def test_a_role_that_sql_gave_is_not_honoured(service):
    client = service.json("client", "add", f"promoted {uuid.uuid4().hex[:8]}", "--role", "Basic User", "--org", "contoso")
    user = service.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [client["clientId"]])[0][0]
    service.sql("UPDATE config.api_client SET role = 'System Administrator' WHERE client_id = %s", [client["clientId"]])
    refused(service.get("queues", MSCRMCallerID=str(user)), 403, "0x80040220")
    service.sql("UPDATE config.api_client SET role = 'Basic User' WHERE client_id = %s", [client["clientId"]])
    assert service.get("WhoAmI", MSCRMCallerID=str(user)).status_code == 200


def test_a_role_that_sql_gave_to_a_person_is_not_honoured(service):
    name = f"promoted {uuid.uuid4().hex[:8]}"
    service.run("user", "add", name, "--role", "Basic User", "--org", "contoso", stdin="long words of a person\n")
    (user,) = service.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [name])[0]
    assert service.get("WhoAmI", MSCRMCallerID=user).json()["UserId"] == user
    refused(service.get("queues", MSCRMCallerID=user), 403, "0x80040220")
    service.sql("UPDATE config.console_user SET role = 'System Administrator' WHERE name = %s", [name])
    refused(service.get("queues", MSCRMCallerID=user), 403, "0x80040220")
    service.sql("UPDATE config.console_user SET role = 'Basic User' WHERE name = %s", [name])
    assert service.get("WhoAmI", MSCRMCallerID=user).status_code == 200


def test_a_user_is_disabled_by_sql_too_but_not_enabled(service):
    client = service.json("client", "add", f"acting {uuid.uuid4().hex[:8]}", "--role", "Basic User", "--org", "contoso")
    (user,) = service.sql("SELECT systemuser_id::text FROM config.api_client WHERE client_id = %s", [client["clientId"]])[0]

    def by_sql(value):
        service.sql("UPDATE org_contoso.systemuser SET isdisabled = %s WHERE systemuserid = %s", [value, user])

    def by_the_service(value):
        assert service.request("PATCH", f"systemusers({user})", {"isdisabled": value}).status_code == 204

    by_sql(True)
    refused(service.get("WhoAmI", MSCRMCallerID=user), 403, "0x80072560")
    by_sql(False)
    assert service.get("WhoAmI", MSCRMCallerID=user).status_code == 200
    by_the_service(True)
    by_sql(False)
    refused(service.get("WhoAmI", MSCRMCallerID=user), 403, "0x80072560")
    by_the_service(False)
    assert service.get("WhoAmI", MSCRMCallerID=user).status_code == 200


def users(response):
    """The user in whose name each part of a batch was executed."""
    return [json.loads(line)["UserId"] for line in response.text.split("\r\n") if line.startswith('{"@odata.context"')]


def test_batches_and_their_parts(service):
    admin, user = user_of(service, "admin"), user_of(service, "user")
    who, as_admin = part("GET", "WhoAmI"), part("GET", "WhoAmI", headers=f"MSCRMCallerID: {admin}\r\n")
    assert users(multipart(service, who, part("GET", "WhoAmI", headers=f"MSCRMCallerID: {user}\r\n"))) == [admin, user]
    # A header of the batch applies to all parts, but a part's own header has priority.
    assert users(multipart(service, who, as_admin, MSCRMCallerID=user)) == [user, admin]
    assert statuses(multipart(service, as_admin, client="user")) == [403]
    answers = batch(service, [{"id": "1", "method": "GET", "url": "WhoAmI", "headers": {"MSCRMCallerID": user}}]).json()["responses"]
    assert answers[0]["body"]["UserId"] == user


def test_the_object_id_names_the_user_of_batches_and_their_parts(service):
    admin, user, unknown = user_of(service, "admin"), user_of(service, "user"), str(uuid.uuid4())
    object, own = str(uuid.uuid4()), str(uuid.uuid4())
    for id, value in ((user, object), (admin, own)):
        assert service.request("PATCH", f"systemusers({id})", {"azureactivedirectoryobjectid": value}).status_code == 204
    who = part("GET", "WhoAmI")

    def as_object(value):
        return part("GET", "WhoAmI", headers=f"CallerObjectId: {value}\r\n")

    assert users(multipart(service, who, as_object(object), as_object(object.upper()))) == [admin, user, user]
    # A part's own header has priority over the batch's, even if one uses MSCRMCallerID and the other CallerObjectId.
    assert users(multipart(service, who, as_object(own), part("GET", "WhoAmI", headers=f"MSCRMCallerID: {admin}\r\n"), CallerObjectId=object)) == [user, admin, admin]
    assert users(multipart(service, who, as_object(own), MSCRMCallerID=user)) == [user, admin]
    request = {"id": "1", "method": "GET", "url": "WhoAmI"}
    for headers, more, expected in (({"CallerObjectId": object}, {}, user), ({}, {"CallerObjectId": object}, user), ({"CallerObjectId": own}, {"CallerObjectId": object}, admin)):
        (answer,) = batch(service, [{**request, "headers": headers}], **more).json()["responses"]
        assert answer["body"]["UserId"] == expected, (headers, more)
    # A record that a change set creates names the user as its author.
    subject = f"set of an object {uuid.uuid4()}"
    assert statuses(multipart(service, change_set(part("POST", "emails", {"subject": subject}, id=1, headers=f"CallerObjectId: {object}\r\n")))) == [204]
    (email,) = service.get(f"emails?$filter=subject eq '{subject}'&$select=_createdby_value,_createdonbehalfby_value").json()["value"]
    assert (email["_createdby_value"], email["_createdonbehalfby_value"]) == (user, admin)
    assert statuses(multipart(service, as_object(unknown))) == [403]
    assert statuses(multipart(service, as_object("nobody"))) == [400]
    assert statuses(multipart(service, as_object(own), client="user")) == [403]


def test_a_change_set_of_several_users_is_one_transaction(service):
    admin, user = user_of(service, "admin"), user_of(service, "user")
    tag = f"set of two {uuid.uuid4()}"
    header = f"MSCRMCallerID: {user}\r\n"
    own, users = part("POST", "emails", {"subject": tag}, id=1), part("POST", "emails", {"subject": tag}, id=2, headers=header)
    refused_part = part("POST", "queues", {"name": tag}, id=3, headers=header)
    assert statuses(multipart(service, change_set(own, users, refused_part))) == [403]
    assert service.get(f"emails?$filter=subject eq '{tag}'").json()["value"] == []
    assert statuses(multipart(service, change_set(own, users))) == [204, 204]
    found = service.get(f"emails?$filter=subject eq '{tag}'&$select=_createdby_value,_createdonbehalfby_value").json()["value"]
    assert {(e["_createdby_value"], e["_createdonbehalfby_value"]) for e in found} == {(admin, None), (user, admin)}


def test_the_header_of_soap_is_the_same(service):
    user = user_of(service, "user")
    header = f'<h:CallerId xmlns:h="{soap.NAMESPACES["x"]}">{user}</h:CallerId>'
    assert soap.execute(service, "WhoAmI", header=header)["UserId"].text == user
    assert soap.execute(service, "WhoAmI")["UserId"].text != user
    key = soap.call(service, WHO.replace("WhoAmI", "RetrieveDataEncryptionKey"), header=header)
    assert key.tag.endswith("}Fault")
    assert soap.call(service, WHO, header=header, client="user").tag.endswith("}Fault")
