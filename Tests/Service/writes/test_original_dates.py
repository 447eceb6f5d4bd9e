"""Records that are moved from another system keep their date of creation, with `overriddencreatedon` in the create."""

import datetime
import uuid

import pytest
import soap
from service import refused

THERE = "2020-01-02T03:04:05Z"


def now():
    return datetime.datetime.now(datetime.timezone.utc)


def moment(text):
    return datetime.datetime.fromisoformat(text)


def brought(service, entity_set, id):
    """Checks that createdon is the given date, and that overriddencreatedon is the present time."""
    record = service.get(f"{entity_set}({id})?$select=createdon,overriddencreatedon,modifiedon").json()
    assert record["createdon"] == THERE
    assert abs((moment(record["overriddencreatedon"]) - now()).total_seconds()) < 60
    assert abs((moment(record["modifiedon"]) - now()).total_seconds()) < 60
    return record


NEW = {"queues": ("queueid", "name"), "emails": ("activityid", "subject")}


@pytest.mark.parametrize("entity_set", NEW)
def test_a_create_has_the_original_date(service, entity_set):
    key, name = NEW[entity_set]
    body = {name: f"brought {uuid.uuid4()}", "overriddencreatedon": THERE}
    id = service.create(entity_set, body)
    brought(service, entity_set, id)
    id = str(uuid.uuid4())
    assert service.request("PATCH", f"{entity_set}({id})", {**body, name: f"upserted {id}"}).status_code == 204
    brought(service, entity_set, id)
    type = {"queues": "queue", "emails": "email"}[entity_set]
    targets = {"Targets": [{"@odata.type": f"Microsoft.Dynamics.CRM.{type}", **body, name: f"many {uuid.uuid4()}"}]}
    [id] = service.request("POST", f"{entity_set}/Microsoft.Dynamics.CRM.CreateMultiple", targets).json()["Ids"]
    brought(service, entity_set, id)
    # Conditions and orders use the given date.
    oldest = service.get(f"{entity_set}?$filter=createdon lt 2021-01-01T00:00:00Z and {key} eq {id}&$orderby=createdon&$select={key}").json()["value"]
    assert [row[key] for row in oldest] == [id]
    attribute = soap.parameter("overriddencreatedon", "dateTime", THERE) + soap.parameter(name, "string", f"soap {id}")
    made = soap.execute(service, "Create", soap.parameter("Target", "x:Entity", soap.entity(type, attribute)))
    brought(service, entity_set, made["id"].text)


def test_without_it_both_dates_are_as_they_were(service):
    for value in ({}, {"overriddencreatedon": None}):
        id = service.create("queues", {"name": f"own {uuid.uuid4()}", **value})
        record = service.get(f"queues({id})?$select=createdon,overriddencreatedon").json()
        assert abs((moment(record["createdon"]) - now()).total_seconds()) < 60 and record["overriddencreatedon"] is None


def test_others_than_system_administrators_are_refused_by_name(service):
    mailadmin = service.json("client", "add", f"dates {uuid.uuid4()}", "--role", "Email Administrator")
    service.dev["clients"]["dates"] = mailadmin
    body = {"name": f"x {uuid.uuid4()}", "overriddencreatedon": THERE}
    assert "overriddencreatedon" in refused(service.request("POST", "queues", body, client="dates"), 403, "0x80040220")
    assert "overriddencreatedon" in refused(service.request("PATCH", f"queues({uuid.uuid4()})", body, client="dates"), 403, "0x80040220")
    assert "overriddencreatedon" in refused(service.request("POST", "emails", {"subject": "x", "overriddencreatedon": THERE}, client="user"), 403, "0x80040220")
    user = service.get("WhoAmI", client="user").json()["UserId"]
    assert "overriddencreatedon" in refused(service.request("POST", "emails", {"subject": "x", "overriddencreatedon": THERE}, MSCRMCallerID=user), 403, "0x80040220")
    id = service.create("queues", body)
    refused(service.request("PATCH", f"queues({id})", {"overriddencreatedon": THERE}), 400, "0x80060413")


def test_people_see_its_date_alone(service):
    id = service.create("queues", {"name": f"x {uuid.uuid4()}", "overriddencreatedon": THERE})
    record = service.get(f"queues({id})?$select=overriddencreatedon,createdon", Prefer='odata.include-annotations="*"').json()
    shown = record["overriddencreatedon@OData.Community.Display.V1.FormattedValue"]
    day = moment(record["overriddencreatedon"])
    assert shown == f"{day.month}/{day.day}/{day.year}"
    assert record["createdon@OData.Community.Display.V1.FormattedValue"] == "1/2/2020 3:04 AM"
    path = "EntityDefinitions(LogicalName='queue')/Attributes(LogicalName='{}')/Microsoft.Dynamics.CRM.DateTimeAttributeMetadata?$select=Format"
    assert [service.get(path.format(name)).json()["Format"] for name in ("overriddencreatedon", "createdon")] == ["DateOnly", "DateAndTime"]
