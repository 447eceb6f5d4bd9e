"""A disabled user keeps records and team memberships, and gets no new ones."""

import uuid

import pytest
import soap
from service import refused

CODE = "0x80040225"


@pytest.fixture
def user(service):
    """A function that makes a user who owns a queue. Returns (name, user, queue)."""
    def make():
        name = f"Gone {uuid.uuid4().hex[:8]}"
        id = service.create("systemusers", {"fullname": name, "domainname": f"CONTOSO\\{name}"})
        return name, id, service.create("queues", {"name": f"of {name}", **owned(id)})
    return make


def owned(user):
    return {"ownerid@odata.bind": f"/systemusers({user})"}


def disable(service, user, value=True):
    assert service.request("PATCH", f"systemusers({user})", {"isdisabled": value}).status_code == 204


def owner(service, queue):
    return service.get(f"queues({queue})?$select=_ownerid_value").json()["_ownerid_value"]


def test_a_disabled_user_becomes_no_owner(service, user):
    name, gone, own = user()
    other = service.create("queues", {"name": f"other of {name}"})
    before = owner(service, other)
    disable(service, gone)
    target = {"@odata.type": "Microsoft.Dynamics.CRM.queue", "queueid": other, **owned(gone)}
    assign = soap.operation("Execute", f"<request><x:Parameters>{soap.parameter('Target', 'x:EntityReference', soap.reference('queue', other))}"
                            f"{soap.parameter('Assignee', 'x:EntityReference', soap.reference('systemuser', gone))}</x:Parameters><x:RequestName>Assign</x:RequestName></request>")
    for answer in (
            service.request("POST", "queues", {"name": "new", **owned(gone)}),
            service.request("POST", "emails", {"subject": "new", **owned(gone)}),
            service.request("PATCH", f"queues({other})", owned(gone)),
            service.request("PATCH", f"queues({uuid.uuid4()})", {"name": "upserted", **owned(gone)}),
            service.request("PATCH", f"queues({other})", {"description": "changed", **owned(gone)}),
            service.request("PUT", f"queues({other})/ownerid/$ref", {"@odata.id": f"systemusers({gone})"}),
            service.request("POST", "queues/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [target]}),
            service.request("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [{k: v for k, v in target.items() if k != "queueid"} | {"name": "of many"}]}),
    ):
        assert f"{name} is disabled" in refused(answer, 403, CODE)
    assert f"{name} is disabled" in soap.refused_by(soap.call(service, assign), CODE)
    assert owner(service, other) == before and service.get(f"queues?$filter=ownerid/ownerid eq {gone}&$select=name").json()["value"][0]["name"] == f"of {name}"
    # A client may write back that a disabled user owns the record.
    assert service.request("PATCH", f"queues({own})", {"description": "kept", **owned(gone)}).status_code == 204
    assert service.request("PATCH", f"queues({own})", owned(gone)).status_code == 204 and owner(service, own) == gone
    disable(service, gone, False)
    assert service.request("PATCH", f"queues({other})", owned(gone)).status_code == 204 and owner(service, other) == gone


def test_who_may_not_read_a_record_learns_nothing_of_its_owner(service, user):
    _, gone, own = user()
    other = service.create("emails", {"subject": "of another"})
    theirs = service.create("emails", {"subject": "of the disabled", **owned(gone)})
    disable(service, gone)
    answers = [service.request("PATCH", f"emails({id})", owned(gone), client="user") for id in (other, theirs)]
    assert [refused(answer, 404, "0x80040217").replace(id, "") for answer, id in zip(answers, (other, theirs))][0]
    assert {answer.status_code for answer in answers} == {404}
    assert owner(service, own) == gone


def test_a_disabled_user_becomes_no_member_of_a_team(service, user):
    name, gone, _ = user()
    team, later = (service.create("teams", {"name": f"{number} team of {name}"}) for number in ("first", "second"))
    add = "Microsoft.Dynamics.CRM.AddMembersTeam"
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": gone}]}
    assert service.request("POST", f"teams({team})/{add}", members).status_code == 204
    disable(service, gone)
    assert f"{name} is disabled" in refused(service.request("POST", f"teams({later})/{add}", members), 403, CODE)
    link = {"@odata.id": f"{service.api}/systemusers({gone})"}
    refused(service.request("POST", f"teams({later})/teammembership_association/$ref", link), 403, CODE)
    refused(service.request("POST", f"systemusers({gone})/teammembership_association/$ref", {"@odata.id": f"{service.api}/teams({later})"}), 403, CODE)
    # A disabled user who is a member of a team stays a member, and can be removed.
    assert service.request("POST", f"teams({team})/{add}", members).status_code == 204
    assert service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.RemoveMembersTeam", members).status_code == 204
