"""Times that PostgreSQL can store, but JSON can't express: infinity, and times outside of the years 1 to 9999."""

import pytest

LAST, FIRST = "9999-12-31T23:59:59Z", "0001-01-01T00:00:00Z"


@pytest.mark.parametrize("moment, shown", [
    ("infinity", LAST), ("-infinity", FIRST), ("12345-01-01 00:00:00+00", LAST), ("4712-01-01 00:00:00+00 BC", FIRST), ("2026-11-26 10:00:00+00", "2026-11-26T10:00:00Z"),
])
def test_one_such_moment_does_not_end_an_answer(service, moment, shown):
    ids = [service.create("queues", {"name": f"moment {n}"}) for n in range(3)]
    try:
        service.sql("UPDATE org_contoso.queue SET createdon = %s::timestamptz WHERE queueid = %s", [moment, ids[1]])
        wanted = " or ".join(f"queueid eq {id}" for id in ids)
        listed = service.get(f"queues?$select=createdon&$filter={wanted}").json()["value"]
        assert {row["queueid"]: row["createdon"] for row in listed}[ids[1]] == shown and len(listed) == 3
        assert service.get(f"queues({ids[1]})?$select=createdon").json()["createdon"] == shown
        fetch = (f"<fetch aggregate='true'><entity name='queue'><attribute name='createdon' alias='m' aggregate='max'/>"
                 f"<filter><condition attribute='queueid' operator='eq' value='{ids[1]}'/></filter></entity></fetch>")
        assert service.get(f"queues?fetchXml={fetch}").json()["value"][0]["m"] == shown
        # A client that reads page by page, sorted by such a time, reaches the end.
        seen, address = [], f"queues?$select=createdon&$filter={wanted}&$orderby=createdon,queueid"
        for _ in range(5):
            page = service.get(address, Prefer="odata.maxpagesize=1").json()
            seen += [row["queueid"] for row in page["value"]]
            if "@odata.nextLink" not in page:
                break
            address = page["@odata.nextLink"].split("/v9.2/")[1]
        assert sorted(seen) == sorted(ids), seen
    finally:
        for id in ids:
            service.request("DELETE", f"queues({id})")
