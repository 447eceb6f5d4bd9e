"""A client requests pages by number, with a paging cookie of Dataverse, in which this service finds no token."""

import urllib.parse
import uuid

import pytest
from service import refused


@pytest.fixture(scope="module")
def tag(service):
    tag = f"numbered {uuid.uuid4()}"
    targets = [{"@odata.type": "Microsoft.Dynamics.CRM.queue", "name": f"{tag} {n}", "description": "ab"[n % 2]} for n in range(7)]
    assert service.request("POST", "queues/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets}).status_code == 200
    return tag


def cookie(page, more=' istracking="False"'):
    return urllib.parse.quote(f'<cookie pagenumber="{page}"{more} />')


def numbers(response, name="name"):
    assert response.status_code == 200, response.text
    return [int(row[name].rpartition(" ")[2]) for row in response.json()["value"]]


@pytest.mark.parametrize("page, found", [(1, [0, 1, 2]), (2, [3, 4, 5]), (3, [6]), (4, []), (2**31 - 1, [])])
def test_a_page_by_its_number(service, tag, page, found):
    for query in (f"$filter=startswith(name,'{tag}')&$orderby=name&$select=name&$count=true", f"sql={urllib.parse.quote(f'''SELECT name FROM queue WHERE name LIKE '{tag}%' ORDER BY name''')}",
                  f"$apply=filter(startswith(name,'{tag}'))/groupby((name))"):
        for more in (' istracking="False"', ""):
            response = service.get(f"queues?{query}&$skiptoken={cookie(page, more)}", Prefer="odata.maxpagesize=3")
            assert numbers(response) == found
            assert ("@odata.nextLink" in response.json()) == (page < 3)
            assert "$count" not in query or response.json()["@odata.count"] == 7
        if page == 1:
            assert numbers(service.get(response.json()["@odata.nextLink"], Prefer="odata.maxpagesize=3")) == [3, 4, 5]


def test_a_page_of_the_first_ones(service, tag):
    query = f"queues?$filter=startswith(name,'{tag}')&$orderby=name&$select=name"
    pages = [numbers(service.get(f"{query}&$top=5&$skiptoken={cookie(page)}", Prefer="odata.maxpagesize=2")) for page in (1, 2, 3, 4)]
    assert pages == [[0, 1], [2, 3], [4], []]
    assert numbers(service.get(f"{query}&$skip=1&$skiptoken={cookie(2)}", Prefer="odata.maxpagesize=2")) == [3, 4]
    team = service.create("teams", {"name": tag})
    assert numbers(service.get(f"teams({team})/owner_queues?$select=name&$skiptoken={cookie(1)}")) == []


@pytest.mark.parametrize("token", [
    '<cookie pagenumber="0" />', '<cookie pagenumber="-1" />', '<cookie pagenumber="x" />', '<cookie pagenumber="2147483648" />', '<cookie />', '<other pagenumber="1" />', '<cookie pagenumber="1"',
    '<cookie pagenumber="2" pagingcookie="%253ccookie" istracking="False" />', '<cookie pagenumber="1" more="1" />', '<cookie pagenumber="1"><a/></cookie>',
])
def test_another_cookie_is_refused(service, token):
    refused(service.get(f"queues?$select=name&$skiptoken={urllib.parse.quote(token)}"), 400, "0x80060888")
