"""Paths with several segments, collections of references, and errors that name the cause."""

import urllib.parse
import uuid

import pytest
from service import refused
from test_batches import batch


@pytest.fixture(scope="module")
def queues(service):
    prefix = f"steps {uuid.uuid4().hex[:8]}"
    return prefix, [service.create("queues", {"name": f"{prefix} {number}"}) for number in range(5)]


@pytest.mark.parametrize("step", ["fullname", "businessunitid", "businessunitid/name", "businessunitid/$ref"])
def test_a_step_too_many_is_named(service, queues, step):
    message = refused(service.get(f"queues({queues[1][0]})/createdby/{step}"), 404, "0x8006088A")
    assert f"'{step.split('/')[0]}'" in message and "one step" in message and "$expand=createdby" in message and "systemusers(ID)" in message
    message = refused(service.get(f"queues({queues[1][0]})/createdby/nosuch"), 404, "0x8006088A")
    assert message == "There is no resource for the segment 'nosuch'."


def test_the_addresses_of_a_set(service, queues):
    prefix, ids = queues
    path, seen, pages = f"queues/$ref?$filter=startswith(name,'{prefix}')&$orderby=name", [], 0
    while path:
        page = service.get(path, Prefer="odata.maxpagesize=2").json()
        assert page["@odata.context"].endswith("#Collection($ref)")
        seen += [row["@odata.id"] for row in page["value"]]
        assert all(set(row) == {"@odata.id"} for row in page["value"])
        pages += 1
        path = page.get("@odata.nextLink", "").removeprefix(f"{service.api}/") or None
    assert (seen, pages) == ([f"{service.api}/queues({id})" for id in ids], 3)
    assert service.get(f"queues/$ref?$filter=startswith(name,'{prefix}')&$top=2&$skip=1&$orderby=name").json()["value"] == [{"@odata.id": address} for address in seen[1:3]]
    counted = service.get(f"queues/$ref?$filter=startswith(name,'{prefix}')&$top=1&$count=true").json()
    assert (counted["@odata.count"], len(counted["value"])) == (len(ids), 1) and list(counted)[1] == "@odata.count"
    user = service.get("WhoAmI").json()["UserId"]
    for path in (f"systemusers({user})/lk_queuebase_createdby", f"systemusers({user})/teammembership_association"):
        counted = service.get(f"{path}/$ref?$count=true").json()
        assert counted["@odata.count"] == int(service.get(f"{path}/$count").text.strip("\ufeff"))
    assert service.get("queues/$ref", Prefer="odata.maxpagesize=2").headers["Preference-Applied"] == "odata.maxpagesize=2"
    assert service.request("POST", "queues/$ref", {}).status_code == 405
    assert "GET" in service.request("OPTIONS", "queues/$ref").headers["Allow"]
    assert service.get("queues/$ref?$select=name").status_code == 400
    # The list contains only records that the caller may read.
    assert service.get(f"queues/$ref?$filter=startswith(name,'{prefix}')", client="user").json().get("value", []) == []


def test_the_id_of_a_request_in_a_batch_is_a_text(service):
    answer = batch(service, [{"id": 1, "method": "get", "url": "WhoAmI"}])
    assert "text" in refused(answer, 400, "0x80048D19")
    assert batch(service, [{"id": "1", "method": "get", "url": "WhoAmI"}]).json()["responses"][0]["status"] == 200


def test_distinct_rows_are_sorted_by_what_they_give(service):
    text = urllib.parse.quote("<fetch distinct='true'><entity name='queue'><attribute name='name'/><order attribute='description'/></entity></fetch>")
    message = refused(service.get(f"queues?fetchXml={text}"), 400, "0x80060888")
    assert "Distinct" in message and "description" in message and "group" not in message.lower()
    text = urllib.parse.quote("<fetch aggregate='true'><entity name='queue'><attribute name='name' alias='n' groupby='true'/><order alias='other'/></entity></fetch>")
    assert "grouped" in refused(service.get(f"queues?fetchXml={text}"), 400, "0x80060888").lower()


def test_queues_count_nothing(service, queues):
    record = service.get(f"queues({queues[1][0]})?$select=numberofitems,numberofmembers").json()
    assert (record["numberofitems"], record["numberofmembers"]) == (0, 0)
    assert service.get("queues/$count?$filter=numberofitems eq null or numberofmembers eq null").text.strip("\ufeff") == "0"


@pytest.mark.parametrize("name", ["LeaseMailbox", "WaitForWork", "ReportMailbox", "ReleaseCredential", "TakePendingEmails", "ReportEmails", "KnownMessages", "NoteMessages", "DeliverIncomingEmails"])
def test_rights_are_judged_before_parameters(service, name):
    for body in ({}, {"HostId": "h"}, {"HostId": "h", "MailboxId": "x"}, {"HostId": 1, "Direction": "Incoming", "MailboxId": str(uuid.uuid4())}):
        # A System Administrator may use DeliverIncomingEmails, as they may use Dataverse's DeliverIncomingEmail.
        for client in ("user",) if name == "DeliverIncomingEmails" else ("user", "admin"):
            assert service.request("POST", f"fieldseal.{name}", body, client=client).status_code == 403, (body, client)
