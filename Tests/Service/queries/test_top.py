"""$top and its equivalents in each query language: a response has all the rows, or a link to the next page."""

import urllib.parse
import uuid

import pytest
import soap
from service import refused
from test_batches import batch

ANNOTATED = 'odata.include-annotations="*"'


@pytest.fixture(scope="module")
def prefix(service):
    """Creates twelve queues. Returns the beginning of their names."""
    prefix = f"top {uuid.uuid4().hex[:8]}"
    for number in range(12):
        service.create("queues", {"name": f"{prefix} {number:02}"})
    return prefix


def address(prefix, attributes, inner="<attribute name='name'/>"):
    text = (f"<fetch {attributes}><entity name='queue'>{inner}"
            f"<filter><condition attribute='name' operator='begins-with' value='{prefix}'/></filter></entity></fetch>")
    return f"queues?fetchXml={urllib.parse.quote(text)}"


def followed(service, path, **headers):
    """The rows of all pages, and the number of pages."""
    rows, pages = [], 0
    while path:
        answer = service.get(path, **headers)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        rows += page["value"]
        pages += 1
        path = page.get("@odata.nextLink", "").removeprefix(f"{service.api}/") or None
    return rows, pages


@pytest.mark.parametrize("attributes, inner", [
    ("top='10'", "<attribute name='name'/>"), ("top='10' distinct='true'", "<attribute name='name'/>"),
    ("top='10' aggregate='true'", "<attribute name='name' alias='name' groupby='true'/><attribute name='queueid' alias='n' aggregate='count'/>")])
def test_top_is_one_page_whatever_size_is_preferred(service, prefix, attributes, inner):
    path = address(prefix, attributes, inner)
    for preference in ("odata.maxpagesize=5", f"odata.maxpagesize=5,{ANNOTATED}", "odata.maxpagesize=1"):
        answer = service.get(path, Prefer=preference)
        assert answer.status_code == 200 and len(answer.json()["value"]) == 10, (preference, answer.text)
        assert "maxpagesize" not in answer.headers.get("Preference-Applied", "")
        assert "@Microsoft.Dynamics.CRM.fetchxmlpagingcookie" not in answer.json()
    (part,) = batch(service, [{"id": "1", "method": "GET", "url": path, "headers": {"Prefer": "odata.maxpagesize=5"}}]).json()["responses"]
    assert len(part["body"]["value"]) == 10


def test_a_count_keeps_its_size_and_other_queries_take_the_preferred_one(service, prefix):
    answer = service.get(address(prefix, "count='10'"), Prefer=f"odata.maxpagesize=5,{ANNOTATED}")
    assert len(answer.json()["value"]) == 10 and answer.json()["@Microsoft.Dynamics.CRM.morerecords"]
    assert "maxpagesize" not in answer.headers["Preference-Applied"]
    answer = service.get(address(prefix, ""), Prefer=f"odata.maxpagesize=5,{ANNOTATED}")
    assert len(answer.json()["value"]) == 5 and answer.json()["@Microsoft.Dynamics.CRM.morerecords"]
    assert "maxpagesize=5" in answer.headers["Preference-Applied"]


@pytest.mark.parametrize("more", ["", " aggregate='true'", " distinct='true'"])
def test_a_greater_top_than_a_page_has_is_refused(service, prefix, more):
    inner = "<attribute name='queueid' alias='n' aggregate='count'/>" if "aggregate" in more else "<attribute name='name'/>"
    for top in (5001, 6000, 1_000_000):
        assert "5000" in refused(service.get(address(prefix, f"top='{top}'{more}", inner)), 400, "0x80060888")
    assert service.get(address(prefix, f"top='5000'{more}", inner)).status_code == 200


def test_top_of_the_others_goes_on(service, prefix):
    filtered = f"$filter=startswith(name,'{prefix}')&$select=name&$orderby=name"
    assert [len(x) if isinstance(x, list) else x for x in followed(service, f"queues?{filtered}&$top=10", Prefer="odata.maxpagesize=5")] == [10, 2]
    sql = urllib.parse.quote(f"SELECT TOP 10 name FROM queue WHERE name LIKE '{prefix}%' ORDER BY name")
    assert [len(x) if isinstance(x, list) else x for x in followed(service, f"queues?sql={sql}", Prefer="odata.maxpagesize=5")] == [10, 2]
    # A $top that is larger than a page does not prevent a link to the next page.
    assert len(followed(service, f"queues?{filtered}&$top=6000", Prefer="odata.maxpagesize=7")[0]) == 12


def test_a_query_of_soap_has_one_size(service):
    query = ('<query i:type="b:QueryExpression" xmlns:b="http://schemas.microsoft.com/xrm/2011/Contracts" xmlns:i="http://www.w3.org/2001/XMLSchema-instance">'
             '<b:ColumnSet><b:AllColumns>false</b:AllColumns></b:ColumnSet><b:EntityName>queue</b:EntityName>{}</query>')
    paged = '<b:PageInfo><b:Count>5</b:Count><b:PageNumber>1</b:PageNumber></b:PageInfo><b:TopCount>10</b:TopCount>'
    for inner in (paged, "<b:TopCount>5001</b:TopCount>"):
        soap.refused_by(soap.call(service, f'<RetrieveMultiple xmlns="{soap.SERVICES}">{query.format(inner)}</RetrieveMultiple>'), "0x80060888")


def test_the_annotations_of_a_count(service, prefix):
    total, exceeded = "Microsoft.Dynamics.CRM.totalrecordcount", "Microsoft.Dynamics.CRM.totalrecordcountlimitexceeded"
    path = f"queues?$filter=startswith(name,'{prefix}')&$select=name&$top=1&$count=true"
    page = service.get(path, Prefer=f'odata.include-annotations="{total},{exceeded}"').json()
    assert (page["@odata.count"], page[f"@{total}"], page[f"@{exceeded}"]) == (12, 12, False)
    page = service.get(path, Prefer=f'odata.include-annotations="{exceeded}"').json()
    assert f"@{total}" not in page and page[f"@{exceeded}"] is False
    assert not [name for name in service.get(path).json() if "totalrecordcount" in name]
    assert not [name for name in service.get(path.removesuffix("&$count=true"), Prefer=ANNOTATED).json() if "totalrecordcount" in name]
    page = service.get(address(prefix, "count='2' returntotalrecordcount='true'"), Prefer=ANNOTATED).json()
    assert (page[f"@{total}"], page[f"@{exceeded}"]) == (12, False)
