"""What a received e-mail says of its sender (`activityadditionalparams`) is written by the service and by System Administrators only."""

import json
import uuid

import pytest
from service import refused
from test_associations import client_of
from test_incoming_members import deliver

FORGED = json.dumps({"ReplyTo": ["evil@evil.test"], "FromName": "The CEO"})
COLLECTION = "emails/Microsoft.Dynamics.CRM"


@pytest.fixture(scope="module")
def reader(service):
    """A Basic User who owns a queue: (token, mailbox of the queue, its address)."""
    token, user = client_of(service, "Basic User")
    address = f"{uuid.uuid4().hex[:8]}@received.test"
    queue = service.create("queues", {
        "name": address, "emailaddress": address, "incomingemailfilteringmethod": 0, "ownerid@odata.bind": f"/systemusers({user})"})
    return token, service.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"], address


@pytest.fixture(params=["with Reply-To", "plain"])
def received(request, service, reader):
    """An e-mail that the queue of the user received: (token of the user, id of the e-mail, its activityadditionalparams)."""
    token, box, address = reader
    answer = deliver(service, box, To=address, **({"ReplyTo": ["desk@elsewhere.test"]} if request.param == "with Reply-To" else {}))
    assert answer.status_code == 200 and answer.json()["ShouldDeliver"], answer.text
    id = answer.json()["EmailId"]
    value = kept(service, id)
    assert (value is None) == (request.param == "plain")
    return token, id, value


def kept(service, id):
    return service.sql("SELECT activityadditionalparams FROM org_contoso.email WHERE activityid = %s", [id])[0][0]


def target(id, value):
    return {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": id, "activityadditionalparams": value}]}


WAYS = {
    "PATCH": lambda id, value: ("PATCH", f"emails({id})", {"activityadditionalparams": value}),
    "PATCH with another attribute": lambda id, value: ("PATCH", f"emails({id})", {"category": "mine", "activityadditionalparams": value}),
    "PUT": lambda id, value: ("PUT", f"emails({id})/activityadditionalparams", {"value": value}),
    "UpdateMultiple": lambda id, value: ("POST", f"{COLLECTION}.UpdateMultiple", target(id, value)),
    "UpsertMultiple": lambda id, value: ("POST", f"{COLLECTION}.UpsertMultiple", target(id, value)),
}


@pytest.mark.parametrize("way", WAYS)
def test_who_may_write_the_e_mail_does_not_write_its_shown_sender(service, received, way):
    token, id, value = received
    refused(service.request(*WAYS[way](id, FORGED), token=token), 403, "0x80040220")
    assert kept(service, id) == value
    # Beside another attribute, the present value is no change.
    assert service.request("PATCH", f"emails({id})", {"category": "kept", "activityadditionalparams": value}, token=token).status_code == 204
    assert kept(service, id) == value
    # A System Administrator may write it.
    response = service.request(*WAYS[way](id, FORGED))
    assert response.ok, response.text
    assert kept(service, id) == FORGED


def test_it_is_not_cleared(service, reader):
    token, box, address = reader
    id = deliver(service, box, To=address, ReplyTo=["desk@elsewhere.test"]).json()["EmailId"]
    before = kept(service, id)
    for method, path, body in (("PATCH", f"emails({id})", {"activityadditionalparams": None}), ("DELETE", f"emails({id})/activityadditionalparams", None)):
        refused(service.request(method, path, body, token=token), 403, "0x80040220")
    assert before and kept(service, id) == before


WHOLE = {
    "PATCH": lambda id, record: ("PATCH", f"emails({id})", record),
    "UpdateMultiple": lambda id, record: ("POST", f"{COLLECTION}.UpdateMultiple", {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.email", **record}]}),
}


@pytest.mark.parametrize("way", WHOLE)
def test_a_whole_e_mail_is_sent_back(service, received, way):
    """The control: a program that reads an e-mail, changes one attribute and sends all of them back."""
    token, id, value = received
    for change in ({}, {"category": "read"}):
        record = {name: each for name, each in service.get(f"emails({id})", token=token).json().items() if not name.startswith("_")}
        assert record["activityadditionalparams"] == value
        response = service.request(*WHOLE[way](id, {**record, **change}), token=token)
        assert response.ok, response.text
    assert service.get(f"emails({id})?$select=category", token=token).json()["category"] == "read" and kept(service, id) == value


def test_an_e_mail_is_not_created_with_it(service, reader):
    token = reader[0]
    refused(service.request("POST", "emails", {"subject": "planted", "activityadditionalparams": FORGED}, token=token), 403, "0x80040220")
    refused(service.request("PATCH", f"emails({uuid.uuid4()})", {"subject": "planted", "activityadditionalparams": FORGED}, token=token), 403, "0x80040220")
    assert service.sql("SELECT count(*) FROM org_contoso.email WHERE subject = 'planted'") == [(0,)]
    # The controls: a user creates an e-mail without it, and a System Administrator creates one with it.
    assert service.request("POST", "emails", {"subject": "of a user"}, token=token).status_code == 204
    id = service.create("emails", {"subject": "of an administrator", "activityadditionalparams": FORGED})
    assert kept(service, id) == FORGED
