"""Random conditions over a many-to-many relationship, from both of its ends, in OData, FetchXML and SQL. The results are compared with a model in Python."""

import urllib.parse
import uuid
from random import Random

import pytest
import test_languages as languages
from sample import SEED
from test_languages import CASES, TEXTS, certain, condition, fetch, odata, sql

ASSOCIATION = "teammembership_association"
# (Entity set, entity, its attributes, the attribute that contains the tag)
USERS = ("systemusers", "systemuser", ["fullname", "domainname"], "domainname")
TEAMS = ("teams", "team", ["name", "description"], "name")
languages.ALL |= {"fullname": "text", "domainname": "text"}


@pytest.fixture(scope="module")
def members(service):
    """(tag, users, teams). Each record has the related records at the other end under "others"."""
    random, tag = Random(SEED + 2), f"nn{uuid.uuid4().hex[:10]}"
    for n in range(12):
        service.create("systemusers", {"fullname": random.choice(TEXTS), "domainname": f"{tag} {n} {random.choice(TEXTS)}"})
        team = {"name": f"{tag} {n} {random.choice(TEXTS)}"}
        service.create("teams", team | ({"description": random.choice(TEXTS)} if random.random() < 0.7 else {}))
    both = [service.get(f"{s}?$select={e}id,{','.join(a)}&$filter=startswith({mark},'{tag}')").json()["value"] for s, e, a, mark in (USERS, TEAMS)]
    assert [len(records) for records in both] == [12, 12]
    for record in [*both[0], *both[1]]:
        record["others"] = []
    # Some teams and users have several related records, and some have none.
    for team in both[1][:9]:
        for user in random.sample(both[0][:9], random.randint(1, 5)):
            response = service.request("POST", f"teams({team['teamid']})/{ASSOCIATION}/$ref", {"@odata.id": f"systemusers({user['systemuserid']})"})
            assert response.status_code == 204, response.text
            team["others"].append(user)
            user["others"].append(team)
    return tag, *both


# MARK: Conditions, as tuples: ("and" or "or", parts), ("not", part), ("some" or "every", condition on the related records)

def quantified(random, attributes):
    parts = [(random.choice(["some", "every"]), condition(random, 2, attributes)) for _ in range(random.randint(1, 3))]
    tree = (random.choice(["and", "or"]), parts)
    return ("not", tree) if random.random() < 0.3 else tree


def holds(tree, record):
    if tree[0] == "not":
        return not holds(tree[1], record)
    if tree[0] in ("and", "or"):
        return (all if tree[0] == "and" else any)([holds(part, record) for part in tree[1]])
    return (any if tree[0] == "some" else all)([certain(tree[1], other) for other in record["others"]])


def as_odata(tree):
    if tree[0] == "not":
        return f"not ({as_odata(tree[1])})"
    if tree[0] in ("and", "or"):
        return "(" + f" {tree[0]} ".join(map(as_odata, tree[1])) + ")"
    return f"{ASSOCIATION}/{'any' if tree[0] == 'some' else 'all'}(x:{odata(tree[1], 'x/')})"


def as_fetch(tree, own, other, isNegated=False):
    """The condition in FetchXML: a link to the relationship's own entity, and in it a link to the other end."""
    if tree[0] == "not":
        return as_fetch(tree[1], own, other, not isNegated)
    if tree[0] in ("and", "or"):
        kind = tree[0] if not isNegated else {"and": "or", "or": "and"}[tree[0]]
        return f"<filter type='{kind}'>{''.join(as_fetch(part, own, other, isNegated) for part in tree[1])}</filter>"
    isSome = tree[0] == "some"
    link = "any" if isSome != isNegated else "not any"
    return (f"<link-entity name='teammembership' from='{own}id' to='{own}id' link-type='{link}'><link-entity name='{other}' from='{other}id' to='{other}id'>"
            f"<filter>{fetch(tree[1], not isSome)}</filter></link-entity></link-entity>")


def get(service, path):
    response = service.get(path)
    assert response.status_code == 200, (path, response.text)
    return response.json()["value"]


@pytest.mark.parametrize(("own", "other"), [(USERS, TEAMS), (TEAMS, USERS)], ids=["users", "teams"])
def test_conditions_over_an_association(service, members, own, other):
    tag, records = members[0], members[1] if own is USERS else members[2]
    entity_set, entity, _, mark = own
    for case in range(CASES // 2):
        tree = quantified(Random(SEED * 1_000_003 + case), other[2])
        expected = sorted(r[f"{entity}id"] for r in records if holds(tree, r))
        mine = f"startswith({mark},'{tag}')"
        found = get(service, f"{entity_set}?$select={entity}id&$filter=" + urllib.parse.quote(f"{mine} and {as_odata(tree)}"))
        assert sorted(r[f"{entity}id"] for r in found) == expected, (case, tree)
        text = (f"<fetch><entity name='{entity}'><attribute name='{entity}id'/><filter><condition attribute='{mark}' operator='begins-with' value='{tag}'/>"
                f"{as_fetch(tree, entity, other[1])}</filter></entity></fetch>")
        found = get(service, f"{entity_set}?fetchXml=" + urllib.parse.quote(text))
        assert sorted(r[f"{entity}id"] for r in found) == expected, (case, tree)


@pytest.mark.parametrize(("own", "other"), [(USERS, TEAMS), (TEAMS, USERS)], ids=["users", "teams"])
def test_joins_and_expansions_of_an_association(service, members, own, other):
    tag, records = members[0], members[1] if own is USERS else members[2]
    entity_set, entity, _, mark = own
    for case in range(CASES // 4):
        tree = condition(Random(SEED * 1_000_003 + case), 2, other[2])
        pairs = [(r[f"{entity}id"], o[f"{other[1]}id"]) for r in records for o in r["others"]]
        match = {o[f"{other[1]}id"]: o for r in records for o in r["others"]}
        text = (f"SELECT a.{entity}id, b.{other[1]}id AS other FROM {entity} AS a JOIN teammembership AS m ON a.{entity}id = m.{entity}id "
                f"JOIN {other[1]} AS b ON m.{other[1]}id = b.{other[1]}id WHERE a.{mark} LIKE '{tag}%' AND ({sql(tree, 'b.')})")
        found = sorted((r[f"{entity}id"], r["other"]) for r in get(service, f"{entity_set}?sql=" + urllib.parse.quote(text)))
        assert found == sorted(p for p in pairs if languages.truth(tree, match[p[1]])), (case, tree)
        text = (f"<fetch><entity name='{entity}'><attribute name='{entity}id'/><filter><condition attribute='{mark}' operator='begins-with' value='{tag}'/></filter>"
                f"<link-entity name='teammembership' from='{entity}id' to='{entity}id' intersect='true'><link-entity name='{other[1]}' from='{other[1]}id' to='{other[1]}id' alias='b'>"
                f"<attribute name='{other[1]}id' alias='other'/><filter>{fetch(tree)}</filter></link-entity></link-entity></entity></fetch>")
        found = sorted((r[f"{entity}id"], r["other"]) for r in get(service, f"{entity_set}?fetchXml=" + urllib.parse.quote(text)))
        expected = sorted(p for p in pairs if certain(tree, match[p[1]]))
        assert found == expected, (case, tree)
        inner = urllib.parse.quote(f"$select={other[1]}id;$filter={odata(tree)}", safe="$=;")
        expanded = get(service, f"{entity_set}?$select={entity}id&$filter=" + urllib.parse.quote(f"startswith({mark},'{tag}')") + f"&$expand={ASSOCIATION}({inner})")
        assert sorted((r[f"{entity}id"], o[f"{other[1]}id"]) for r in expanded for o in r[ASSOCIATION]) == expected, (case, tree)
        assert len(expanded) == len(records)
