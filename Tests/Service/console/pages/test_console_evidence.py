"""Lists of changes and events, page by page: no row is missing, and the order is right, even if many rows have the same time."""

import datetime
import html
import re

import pytest
from test_console_access import Visitor

STEADY, AT_ONCE = 5_300, 5_400


def lines(page, pattern):
    return re.findall(pattern, page)


def older(console, page):
    found = re.search(r'<a href="([^"]+)" rel="next">', page)
    return found and f"{console.base}{html.unescape(found[1])}"


@pytest.fixture(scope="module")
def place(console):
    """Changes in the audit: STEADY changes, one second apart, and AT_ONCE older changes with the same time, as an import makes them."""
    for count, moment, name in ((STEADY, "s * interval '1 second'", "steady"), (AT_ONCE, f"interval '{STEADY + 100} seconds'", "at once")):
        console.sql(f"""
            SET session_replication_role = replica;
            INSERT INTO org_contoso.audit (createdon, action, operation, objectid, objecttypecode, useridname, changedata)
            SELECT now() - interval '1 day' - {moment}, 2, 2, gen_random_uuid(), 'mailbox', 'paged',
                   '{{"changedAttributes":[{{"logicalName":"name","oldValue":"x","newValue":"{name} ' || s || '."}}]}}' FROM generate_series(1, {count}) AS s""")
    return console


def test_changes_are_paged_past_the_counted_pages_and_past_one_moment(place):
    admin = Visitor(place)
    until = datetime.date.today().isoformat()
    seen, address, pages = [], f"{place.pages}/audit?until={until}", 0
    while address:
        page = admin.session.get(address).text
        found = lines(page, r"(steady|at once) (\d+)\.")
        seen += list(dict.fromkeys(found))
        address, pages = older(place, page), pages + 1
        assert pages < 400, "the pages come to an end"
    steady = [int(number) for name, number in seen if name == "steady"]
    # After the first 100 pages, a page begins at a time, so it repeats the changes of one second.
    assert sorted(set(steady)) == list(range(1, STEADY + 1)) and len(steady) - STEADY <= 60
    assert [number for number in dict.fromkeys(steady)] == list(range(1, STEADY + 1)), "the newest first"
    assert len({number for name, number in seen if name == "at once"}) == AT_ONCE


def test_events_are_paged_by_their_numbers(place):
    place.sql("""
        INSERT INTO org_contoso.security_event (security_event_id, occurred_on, kind, outcome, actor, details, previous_hash, hash) OVERRIDING SYSTEM VALUE
        SELECT m.n - s, now() - interval '400 days' - s * interval '1 second', 'user changed', 'succeeded', 'client:paged', 'paged ' || s || '.', sha256('a'), sha256('b')
          FROM generate_series(1, 350) AS s, (SELECT min(security_event_id) AS n FROM org_contoso.security_event) AS m""")
    admin = Visitor(place)
    seen, address, pages = [], f"{place.pages}/events?kind=user+changed&record=paged", 0
    while address:
        page = admin.session.get(address).text
        seen += list(dict.fromkeys(lines(page, r"paged (\d+)\.")))
        address, pages = older(place, page), pages + 1
    assert seen == [str(number) for number in range(1, 351)] and pages >= 4
