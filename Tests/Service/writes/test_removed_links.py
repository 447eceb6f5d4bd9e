"""If a record is deleted and the relationship says so, lookups to the record become null in the same transaction, with their names."""

import json
import uuid

import pytest
import soap
from service import Deployment, refused


@pytest.fixture(scope="module")
def service():
    with Deployment.made() as deployment:
        deployment.dev["clients"]["mailadmin"] = deployment.json("client", "add", "mailadmin", "--org", "contoso", "--role", "Email Administrator")
        yield deployment


def by_request(service, entity, id):
    assert service.request("DELETE", f"{entity}es({id})" if entity == "mailbox" else f"{entity}s({id})").status_code == 204


def by_change_set(service, entity, id):
    path = f"{entity}es({id})" if entity == "mailbox" else f"{entity}s({id})"
    answer = service.request("POST", "$batch", {"requests": [
        {"id": "1", "atomicityGroup": "g", "method": "DELETE", "url": path},
        {"id": "2", "atomicityGroup": "g", "method": "POST", "url": "queues", "body": {"name": f"beside {id}"}, "headers": {"content-type": "application/json"}}]}, Content_Type="application/json")
    assert [one["status"] for one in answer.json()["responses"]] == [204, 204], answer.text


def by_bulk_delete(service, entity, id):
    query = {"EntityName": entity, "Criteria": {"Conditions": [{"AttributeName": f"{entity}id", "Operator": "Equal", "Values": [{"Value": id, "Type": "System.Guid"}]}]}}
    answer = service.request("POST", "BulkDelete", {"QuerySet": [query]})
    assert answer.status_code == 200, answer.text


def by_soap(service, entity, id):
    soap.call(service, soap.operation("Delete", f"<entityName>{entity}</entityName><id>{id}</id>"))


WAYS = [by_request, by_change_set, by_bulk_delete, by_soap]


def changes(service, id):
    """The attributes that changed, from the newest audit entry of the record."""
    said = service.get(f"audits?$filter=objectid eq {id} and operation eq 2&$orderby=createdon desc&$select=changedata,_userid_value").json()["value"]
    return {change["logicalName"] for change in json.loads(said[0]["changedata"])["changedAttributes"]} if said else set()


@pytest.mark.parametrize("delete", WAYS)
def test_a_mailbox_loses_its_deleted_profile(service, delete):
    profile = service.create("emailserverprofiles", {"name": f"p {uuid.uuid4()}"})
    box, other = (service.create("mailboxes", {"name": "m", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}, client="mailadmin") for _ in range(2))
    before = service.get(f"mailboxes({box})").json()
    assert before["emailserverprofilename"]
    delete(service, "emailserverprofile", profile)
    for id in (box, other):
        after = service.get(f"mailboxes({id})?$expand=emailserverprofile($select=name)").json()
        assert (after["_emailserverprofile_value"], after["emailserverprofilename"], after["emailserverprofile"]) == (None, None, None)
    after = service.get(f"mailboxes({box})").json()
    assert int(after["versionnumber"]) > int(before["versionnumber"])
    me = service.get("WhoAmI").json()["UserId"]
    assert before["_modifiedby_value"] != me and after["_modifiedby_value"] == me
    assert "emailserverprofile" in changes(service, box)
    found = [row["mailboxid"] for row in service.get("mailboxes?$filter=emailserverprofile eq null&$select=mailboxid").json()["value"]]
    assert box in found and other in found
    assert service.get(f"mailboxes({box})/emailserverprofile/$ref").status_code == 204


@pytest.mark.parametrize("client", ["admin", "mailadmin"])
def test_a_change_set_gives_a_profile_and_deletes_it(service, client):
    """The second change set also creates the profile and the mailbox."""
    json_type = {"Content-Type": "application/json"}

    def step(n, method, url, body=None):
        return {"id": str(n), "atomicityGroup": "g", "method": method, "url": url, **({"body": body, "headers": json_type} if body else {})}

    def sent(*steps):
        answer = service.request("POST", "$batch", {"requests": [step(n, *one) for n, one in enumerate(steps)]}, client=client, Content_Type="application/json")
        assert [one["status"] for one in answer.json()["responses"]] == [204] * len(steps), answer.text

    profile, made, box, new = (str(uuid.uuid4()) for _ in range(4))
    service.create("emailserverprofiles", {"name": "p", "emailserverprofileid": profile})
    service.create("mailboxes", {"name": "m", "mailboxid": box})
    sent(("PATCH", f"mailboxes({box})", {"emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}), ("DELETE", f"emailserverprofiles({profile})"))
    sent(("POST", "emailserverprofiles", {"name": "p", "emailserverprofileid": made}),
         ("POST", "mailboxes", {"name": "n", "mailboxid": new, "emailserverprofile@odata.bind": f"/emailserverprofiles({made})"}),
         ("DELETE", f"emailserverprofiles({made})"))
    for id in (box, new):
        assert service.get(f"mailboxes({id})?$select=_emailserverprofile_value").json()["_emailserverprofile_value"] is None
    assert service.sql("SELECT count(*) FROM org_contoso.emailserverprofile WHERE emailserverprofileid = ANY (%s::uuid[])", [[profile, made]]) == [(0,)]


@pytest.mark.parametrize("delete", WAYS)
def test_a_queue_and_its_e_mails_lose_their_deleted_mailbox(service, delete):
    address = f"{uuid.uuid4().hex}@contoso.test"
    queue = service.create("queues", {"name": address, "emailaddress": address})
    box = service.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    email, sent = (service.create("emails", {"subject": "x"}) for _ in range(2))
    service.sql("UPDATE org_contoso.email SET receivingmailboxid = %s, receivingmailboxidname = 'm' WHERE activityid = %s", [box, email])
    service.sql("UPDATE org_contoso.email SET sendermailboxid = %s WHERE activityid = %s", [box, sent])
    delete(service, "mailbox", box)
    after = service.get(f"queues({queue})").json()
    assert (after["_defaultmailbox_value"], after["defaultmailboxname"]) == (None, None)
    after = service.get(f"emails({email})").json()
    assert (after["_receivingmailboxid_value"], after["receivingmailboxidname"]) == (None, None)
    # For this relationship, a deleted mailbox leaves the lookup as it is.
    assert service.get(f"emails({sent})").json()["_sendermailboxid_value"] == box


def test_a_refused_delete_changes_nothing(service):
    profile = service.create("emailserverprofiles", {"name": f"p {uuid.uuid4()}"})
    box = service.create("mailboxes", {"name": "m", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    assert service.request("DELETE", f"emailserverprofiles({profile})", client="user").status_code in (403, 404)
    refused(service.request("DELETE", f"emailserverprofiles({profile})", If_Match='W/"1"'), 412, "0x80060882")
    answer = service.request("POST", "$batch", {"requests": [
        {"id": "1", "atomicityGroup": "g", "method": "DELETE", "url": f"emailserverprofiles({profile})"},
        {"id": "2", "atomicityGroup": "g", "method": "DELETE", "url": f"queues({uuid.uuid4()})"}]}, Content_Type="application/json")
    assert answer.json()["responses"][-1]["status"] == 404
    assert service.get(f"mailboxes({box})?$select=_emailserverprofile_value").json()["_emailserverprofile_value"] == profile


def server(name):
    return {
        "name": f"{name} {uuid.uuid4()}", "servertype": 4, "incomingserverlocation": f"imap.{name}.example", "incomingportnumber": 993, "incomingusessl": True,
        "outgoingserverlocation": f"smtp.{name}.example", "outgoingportnumber": 465, "outgoingusessl": True, "incomingcredentialretrieval": 0, "outgoingcredentialretrieval": 0}


@pytest.mark.parametrize("account", [None, "someone"])
def test_no_credential_goes_elsewhere_after_that(service, account):
    """An Email Administrator deletes the profile of a mailbox with a password. After that, they can't give the mailbox another server."""
    first, second = service.create("emailserverprofiles", server("first")), service.create("emailserverprofiles", server("second"))
    body = {"name": "m", "emailserverprofile@odata.bind": f"/emailserverprofiles({first})", "password": "a secret of the mailbox"}
    box = service.create("mailboxes", body | ({"username": account} if account else {}))
    assert service.request("DELETE", f"emailserverprofiles({first})", client="mailadmin").status_code == 204
    bind = {"emailserverprofile@odata.bind": f"/emailserverprofiles({second})"}
    refused(service.request("PATCH", f"mailboxes({box})", bind, client="mailadmin"), 403, "0x80040220")
    # The service removed the link, so the doctor does not report a change by SQL.
    said = service.run("doctor", check=False)
    assert box not in said.stdout + said.stderr
    assert service.request("PATCH", f"mailboxes({box})", {"name": "renamed"}, client="mailadmin").status_code == 204
    assert service.request("PATCH", f"mailboxes({box})", {"username": "another"}).status_code == 204
    assert service.request("PATCH", f"mailboxes({box})", bind).status_code == 204


def test_settings_that_sql_wrote_are_not_authorized_by_it(service):
    first = service.create("emailserverprofiles", server("first"))
    body = {"name": "m", "emailserverprofile@odata.bind": f"/emailserverprofiles({first})", "username": "someone", "password": "a secret of the mailbox"}
    box = service.create("mailboxes", body)
    service.sql("UPDATE org_contoso.mailbox SET username = 'of SQL' WHERE mailboxid = %s", [box])
    assert service.request("DELETE", f"emailserverprofiles({first})").status_code == 204
    said = service.run("doctor", check=False)
    assert box in said.stdout + said.stderr
    refused(service.request("PATCH", f"mailboxes({box})", {"ewsurl": "https://x.example"}), 403, "0x80040220")
    assert service.request("PATCH", f"mailboxes({box})", {"username": "of the service"}).status_code == 204
