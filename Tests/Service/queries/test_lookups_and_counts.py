"""Lists that are sorted by lookups, conditions on collections inside of collections, and counts of groups. The results are compared with the records
that the test created."""

import urllib.parse
import uuid

import pytest
from service import refused
from test_queries import fetch

FORMATTED = "@OData.Community.Display.V1.FormattedValue"
ANNOTATED = {"Prefer": 'odata.include-annotations="*"'}


@pytest.fixture(scope="module")
def made(service):
    """Three profiles, created in another order than that of their names, and nine mailboxes: two with each profile and three without. Returns
    (prefix, profiles, mailboxes)."""
    prefix = f"l{uuid.uuid4().hex[:10]}"
    profiles = {n: service.create("emailserverprofiles", {"name": f"{prefix} {n}"}) for n in ("charlie", "alpha", "Bravo")}
    boxes = []
    for number, profile in enumerate(("charlie", "Bravo", None, "alpha") * 2 + (None,)):
        box = {"name": f"{prefix} box {number}", "lastsyncerrorcount": None if profile is None else number * 1000, "username": None if number < 4 else "u"}
        if profile:
            box["emailserverprofile@odata.bind"] = f"/emailserverprofiles({profiles[profile]})"
        boxes.append((number, profile, service.create("mailboxes", box)))
    return prefix, profiles, boxes


def listed(service, options, **headers):
    """The rows of all pages of a list of mailboxes."""
    rows, url = [], f"mailboxes?{options}"
    while url:
        response = service.get(url, **headers)
        assert response.status_code == 200, response.text
        answer = response.json()
        rows += answer["value"]
        url = answer.get("@odata.nextLink", "").partition("/api/data/v9.2/")[2]
    return rows


def by_name(boxes, descending):
    """The numbers of the mailboxes, sorted by the name of the profile, null first. Mailboxes with equal profiles are sorted by descending number."""
    order = sorted(boxes, key=lambda b: -b[0])
    return [number for number, _, _ in sorted(order, key=lambda b: (b[1] is not None, (b[1] or "").lower()), reverse=descending)]


@pytest.mark.parametrize("size", [2, 50])
@pytest.mark.parametrize("descending", [False, True])
@pytest.mark.parametrize("name", ["_emailserverprofile_value", "emailserverprofile"])
def test_a_lookup_is_sorted_by_the_name_that_it_shows(service, made, name, descending, size):
    prefix, _, boxes = made
    direction = " desc" if descending else ""
    # A reversed sort in Python keeps the order of equal elements, as the second sort key requires.
    wanted = by_name(boxes, descending)
    rows = listed(service, f"$select=name&$filter=startswith(name,'{prefix}')&$orderby={name}{direction},name desc", Prefer=f"odata.maxpagesize={size}")
    assert [int(row["name"][-1]) for row in rows] == wanted


def test_fetchxml_sorts_lookups_by_name_and_sql_by_id(service, made):
    prefix, profiles, boxes = made
    condition = f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter>"
    rows = fetch(service, "mailboxes", f"<fetch><entity name='mailbox'><attribute name='name'/><order attribute='emailserverprofile'/>"
                 f"<order attribute='name' descending='true'/>{condition}</entity></fetch>").json()["value"]
    assert [int(row["name"][-1]) for row in rows] == by_name(boxes, False)
    rows = fetch(service, "mailboxes", f"<fetch aggregate='true'><entity name='mailbox'><attribute name='emailserverprofile' groupby='true' alias='p'/>"
                 f"<attribute name='mailboxid' aggregate='count' alias='n'/><order alias='p' descending='true'/>{condition}</entity></fetch>").json()["value"]
    assert [(row.get("p"), row["n"]) for row in rows] == [(profiles["charlie"], 2), (profiles["Bravo"], 2), (profiles["alpha"], 2), (None, 3)]
    text = f"SELECT emailserverprofile FROM mailbox WHERE name LIKE '{prefix}%' ORDER BY emailserverprofile"
    rows = service.get("mailboxes?sql=" + urllib.parse.quote(text)).json()["value"]
    ids = [row["emailserverprofile"] for row in rows if row["emailserverprofile"]]
    assert len(ids) == 6 and ids == sorted(ids)


def test_orders_of_a_link_come_after_those_of_the_entity(service, made):
    prefix, _, boxes = made
    link = ("<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' alias='p'>"
            "<attribute name='name'/><order attribute='name' descending='true'/></link-entity>")
    entity = "<order attribute='username'/>"
    condition = f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter>"
    wanted = sorted((b for b in boxes if b[1]), key=lambda b: b[1].lower(), reverse=True)
    wanted = [b[0] for b in sorted(wanted, key=lambda b: b[0] >= 4)]
    for parts in (link + entity, entity + link):
        rows = fetch(service, "mailboxes", f"<fetch><entity name='mailbox'><attribute name='name'/>{parts}{condition}</entity></fetch>").json()["value"]
        assert [int(row["name"][-1]) for row in rows] == wanted, parts
    # An order with `entityname` sorts by an attribute of the link before the other orders.
    first = "<order entityname='p' attribute='name' descending='true'/><order attribute='username'/>"
    bare = link.replace("<order attribute='name' descending='true'/>", "")
    rows = fetch(service, "mailboxes", f"<fetch><entity name='mailbox'><attribute name='name'/>{bare}{first}{condition}</entity></fetch>").json()["value"]
    assert [int(row["name"][-1]) for row in rows] == [b[0] for b in sorted((b for b in boxes if b[1]), key=lambda b: (-ord(b[1].lower()[0]), b[0] >= 4))]


def test_count_counts_rows_and_countcolumn_values(service, made):
    prefix, _, boxes = made
    condition = f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter>"

    def attribute(how, alias):
        return f"<attribute name='lastsyncerrorcount' aggregate='{how}' alias='{alias}'/>"

    columns = attribute("count", "c") + attribute("countcolumn", "v") + attribute("sum", "s") + attribute("avg", "a") + attribute("min", "low")
    row = fetch(service, "mailboxes", f"<fetch aggregate='true'><entity name='mailbox'>{columns}{condition}</entity></fetch>", **ANNOTATED).json()["value"][0]
    numbers = [n * 1000 for n, profile, _ in boxes if profile]
    assert (row["c"], row["v"], row["s"], row["a"], row["low"]) == (9, 6, sum(numbers), sum(numbers) // 6, 0)
    # The average of integers is truncated to an integer.
    assert sum(numbers) % 6 and isinstance(row["a"], int)
    assert (row["c" + FORMATTED], row["s" + FORMATTED], row["a" + FORMATTED]) == ("9", f"{sum(numbers):,}", f"{sum(numbers) // 6:,}")
    grouped = f"<attribute name='username' groupby='true' alias='u'/><attribute name='username' aggregate='count' alias='c'/>{condition}"
    rows = fetch(service, "mailboxes", f"<fetch aggregate='true'><entity name='mailbox'>{grouped}</entity></fetch>").json()["value"]
    assert [(r.get("u"), r["c"]) for r in rows] == [(None, 4), ("u", 5)]


def test_groups_over_a_path_are_named_after_the_entity(service, made):
    prefix, _, _ = made
    apply = f"filter(startswith(name,'{prefix}'))/groupby((createdby/fullname,emailserverprofile/name),aggregate($count as n,lastsyncerrorcount with average as a))"
    rows = service.get("mailboxes?$apply=" + urllib.parse.quote(apply), **ANNOTATED).json()["value"]
    assert len({row["systemuser_fullname"] for row in rows}) == 1
    assert {row["emailserverprofile_name"]: (row["n"], row["a"]) for row in rows} == {
        None: (3, None), f"{prefix} charlie": (2, 2000), f"{prefix} Bravo": (2, 3000), f"{prefix} alpha": (2, 5000)}
    assert {row["n" + FORMATTED] for row in rows} == {"2", "3"} and "5,000" in {row.get("a" + FORMATTED) for row in rows}
    # Two paths end in the attribute fullname of the same entity, so two columns would have one name.
    refused(service.get("mailboxes?$apply=groupby((createdby/fullname,modifiedby/fullname))"), 400, "0x80060888")


def test_fiscal_groups_are_refused_by_name(service):
    for part in ("fiscal-period", "fiscal-year"):
        answer = fetch(service, "mailboxes", f"<fetch aggregate='true'><entity name='mailbox'><attribute name='createdon' groupby='true' dategrouping='{part}' alias='d'/></entity></fetch>")
        assert "Fiscal" in refused(answer, 400, "0x80060888")


@pytest.fixture(scope="module")
def teams(service):
    """Teams whose members own mailboxes: (prefix, {name of the team: names of its members})."""
    prefix = f"t{uuid.uuid4().hex[:10]}"
    unit = service.get("businessunits?$select=businessunitid").json()["value"][0]["businessunitid"]
    users, members = {}, {}
    for name, boxes in (("ann", ("red", "blue")), ("ben", ("blue",)), ("cat", ())):
        users[name] = service.create("systemusers", {"fullname": f"{prefix} {name}", "domainname": f"{prefix}-{name}"})
        for box in boxes:
            service.create("mailboxes", {"name": f"{prefix} {box}", "ownerid@odata.bind": f"/systemusers({users[name]})"})
    for name, people in (("one", ("ann", "ben")), ("two", ("ben", "cat")), ("three", ("cat",)), ("none", ())):
        team = service.create("teams", {"name": f"{prefix} {name}", "businessunitid@odata.bind": f"/businessunits({unit})"})
        members[name] = people
        for person in people:
            body = {"@odata.id": f"{service.api}/systemusers({users[person]})"}
            assert service.request("POST", f"teams({team})/teammembership_association/$ref", body).status_code == 204
    return prefix, members


@pytest.mark.parametrize(
    "condition, expected",
    [
        ("any(u:u/user_mailbox/any(m:endswith(m/name,'red')))", {"one"}),
        ("any(u:u/user_mailbox/any(m:endswith(m/name,'blue') and startswith(u/fullname,'{p} b')))", {"one", "two"}),
        # `all` is also true for a record that has no related records.
        ("all(u:u/user_mailbox/any(m:endswith(m/name,'blue')))", {"one", "none"}),
        ("all(u:u/user_mailbox/all(m:endswith(m/name,'blue')))", {"two", "three", "none"}),
        ("any(u:u/user_mailbox/any())", {"one", "two"}), ("any(u:not u/user_mailbox/any())", {"two", "three"}),
        # The inner condition follows a lookup, and refers to a variable of the outer condition.
        ("any(u:u/user_mailbox/any(m:m/owninguser/teammembership_association/any(t:endswith(t/name,'two') and u/fullname eq '{p} ben')))", {"one", "two"}),
        ("any(u:u/user_mailbox/any(m:m/owninguser/fullname eq u/fullname))", {"one", "two"}),
    ],
)
def test_any_and_all_inside_of_any_and_all(service, teams, condition, expected):
    prefix, _ = teams
    text = f"startswith(name,'{prefix}') and teammembership_association/{condition.format(p=prefix)}"
    response = service.get("teams?$select=name&$filter=" + urllib.parse.quote(text))
    assert response.status_code == 200, response.text
    assert {team["name"].rpartition(" ")[2] for team in response.json()["value"]} == expected


@pytest.mark.parametrize(
    "condition",
    [
        # The variable is missing or declared twice, or the attribute can't be used.
        "any(u:user_mailbox/any(m:m/name eq 'x'))", "any(u:u/user_mailbox/any(u:u/name eq 'x'))", "any(u:u/user_mailbox/any(m:name eq 'x'))",
        "any(u:u/nosuch/any(m:m/name eq 'x'))", "any(u:u/user_mailbox/any(m:m/password ne null))", "any(u:v/user_mailbox/any(m:m/name eq 'x'))",
    ],
)
def test_inner_collections_that_are_refused(service, condition):
    refused(service.get("teams?$filter=" + urllib.parse.quote(f"teammembership_association/{condition}")), 400, "0x80060888")


def test_a_hundred_collections_inside_of_each_other_are_refused(service):
    text = "".join(f"a{n}/teammembership_association/any(b{n}:b{n}/teammembership_association/any(a{n + 1}:" for n in range(60)).removeprefix("a0/")
    refused(service.get("teams?$filter=" + urllib.parse.quote(text + "a60/name eq 'x'" + "))" * 60)), 400, "0x80060888")
