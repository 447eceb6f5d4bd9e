"""Random conditions, orders, pages and groups. Each is sent in OData, FetchXML and SQL, and compared with a model in Python."""

import collections
import os
import urllib.parse
import uuid
import xml.sax.saxutils
from random import Random

import pytest
from sample import SEED, length

CASES = int(os.environ.get("FIELDSEAL_QUERIES", length(60, 400)))
TAG = "exchangeonlinetenantid"
# The attributes of a mailbox and their kinds. Attributes of the mailbox's profile have the prefix "p.".
OWN = {"name": "text", "emailaddress": "text", "username": "text", "incomingemaildeliverymethod": "number", "processemailreceivedafter": "date", "processanddeleteemails": "flag"}
TEXTS = ["a", "A", "ab", "AB", "b%", "b_", "it's", "50%", "c\\d", "[x]", "x]", "a&b<c>", "#+?", "%", "_", "''", "zz top"]
DATES = ["2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z", "2024-02-29T23:59:59Z", "1999-12-31T00:00:00Z"]
KINDS = {
    "name": "text", "description": "text", "incomingusername": "text", "incomingportnumber": "number", "servertype": "number", "lasttestexecutionstatus": "number",
    "lasttesttotalexecutiontime": "number", "processemailsreceivedafter": "date", "lastteststarttime": "date", "incomingusessl": "flag", "outgoingusessl": "flag",
}
LINKED = OWN | {f"p.{a}": KINDS[a] for a in ("name", "description", "incomingportnumber", "processemailsreceivedafter", "incomingusessl")}
ALL = KINDS | LINKED
# Values of the attributes that do not take the values of their kind.
VALUES = {"incomingemaildeliverymethod": [0, 1, 2, 3], "servertype": [0, 1, 2, 3], "lasttestexecutionstatus": [0, 1, 2], "incomingportnumber": [25, 143, 993], "lasttesttotalexecutiontime": [-9_007_199_254_740_993, 0, 7]}
NULLABLE = ["description", "incomingusername", "incomingportnumber", "lasttestexecutionstatus", "lasttesttotalexecutiontime", "processemailsreceivedafter", "lastteststarttime"]


def values(attribute):
    return VALUES.get(attribute.removeprefix("p.")) or {"text": TEXTS, "date": DATES, "flag": [True, False]}[kind(attribute)]


def kind(attribute):
    return ALL[attribute]


@pytest.fixture(scope="module")
def profiles(service):
    """The profiles of this test: (tag, records as the service returns them)"""
    random, tag = Random(SEED), uuid.uuid4().hex[:12]
    targets = []
    for n in range(60):
        record = {a: random.choice(values(a)) for a in KINDS}
        record |= {a: None for a in NULLABLE if random.random() < 0.3}
        targets.append(record | {TAG: tag, "@odata.type": "Microsoft.Dynamics.CRM.emailserverprofile"})
    response = service.request("POST", "emailserverprofiles/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert response.status_code == 200, response.text
    records = service.get(f"emailserverprofiles?$filter={TAG} eq '{tag}'").json()["value"]
    assert len(records) == 60
    return tag, records


# MARK: Conditions, as tuples: ("and" or "or", parts), ("not", part), ("some" or "every", condition on the profile's mailboxes), (operator, attribute, value)

def condition(random, depth=3, names=KINDS):
    if depth and random.random() < 0.6:
        if random.random() < 0.2:
            return ("not", condition(random, depth - 1, names))
        return (random.choice(["and", "or"]), [condition(random, depth - 1, names) for _ in range(random.randint(1, 4))])
    attribute = random.choice(list(names))
    operators = ["eq", "ne", "null", "in"] + (["lt", "le", "gt", "ge", "between"] if kind(attribute) != "flag" else [])
    operators += ["contains", "startswith", "endswith"] if kind(attribute) == "text" else []
    operator = random.choice(operators)
    if operator == "null":
        return (operator, attribute, None)
    if operator == "between":
        return (operator, attribute, [random.choice(values(attribute)) for _ in range(2)])
    if operator == "in":
        return (operator, attribute, [random.choice(values(attribute)) for _ in range(random.randint(1, 3))])
    value = random.choice(values(attribute))
    if operator in ("contains", "startswith", "endswith"):
        value = value[: random.randint(1, len(value))]
    return (operator, attribute, value)


def folded(value):
    return value.lower() if isinstance(value, str) else value


def truth(tree, record):
    """Whether a condition is true for a record in SQL: True, False, or None for unknown."""
    if tree[0] == "not":
        inner = truth(tree[1], record)
        return None if inner is None else not inner
    if tree[0] in ("and", "or"):
        parts = [truth(part, record) for part in tree[1]]
        decided = tree[0] == "or"
        return decided if decided in parts else None if None in parts else not decided
    operator, attribute, value = tree
    own = record[attribute]
    if operator == "null":
        return own is None
    if own is None:
        return None
    own, value = folded(own), [folded(v) for v in value] if isinstance(value, list) else folded(value)
    return {
        "eq": lambda: own == value, "ne": lambda: own != value, "lt": lambda: own < value, "le": lambda: own <= value, "gt": lambda: own > value,
        "ge": lambda: own >= value, "in": lambda: own in value, "between": lambda: value[0] <= own <= value[1], "contains": lambda: value in own,
        "startswith": lambda: own.startswith(value), "endswith": lambda: own.endswith(value),
    }[operator]()


def certain(tree, record):
    """Whether a condition is true for a record in OData and FetchXML, where null differs from each value and no comparison is unknown."""
    if tree[0] == "not":
        return not certain(tree[1], record)
    if tree[0] in ("and", "or"):
        return (all if tree[0] == "and" else any)([certain(part, record) for part in tree[1]])
    if tree[0] in ("some", "every"):
        return (any if tree[0] == "some" else all)([certain(tree[1], linked) for linked in record["mailboxes"]])
    if tree[0] == "ne" and record[tree[1]] is None:
        return True
    return truth(tree, record) is True


def odata(tree, variable=""):
    if tree[0] == "not":
        return f"not ({odata(tree[1], variable)})"
    if tree[0] in ("and", "or"):
        return "(" + f" {tree[0]} ".join(odata(part, variable) for part in tree[1]) + ")"
    if tree[0] in ("some", "every"):
        return f"emailserverprofile_mailbox/{'any' if tree[0] == 'some' else 'all'}(x:{odata(tree[1], 'x/')})"
    operator, attribute, value = tree
    name = variable + attribute.replace("p.", "emailserverprofile/")

    def literal(value):
        if kind(attribute) == "text":
            return "'" + value.replace("'", "''") + "'"
        return str(value).lower() if isinstance(value, bool) else str(value)

    if operator == "null":
        return f"{name} eq null"
    if operator == "between":
        return f"({name} ge {literal(value[0])} and {name} le {literal(value[1])})"
    if operator == "in":
        return f"{name} in ({','.join(literal(v) for v in value)})"
    if operator in ("contains", "startswith", "endswith"):
        return f"{operator}({name},{literal(escaped(value))})"
    return f"{name} {operator} {literal(value)}"


def escaped(value):
    """A text with its wildcards escaped, as all three languages accept it."""
    return "".join(f"[{c}]" if c in "%_[" else c for c in value)


def pattern(operator, value):
    value = escaped(value)
    return {"contains": f"%{value}%", "startswith": f"{value}%", "endswith": f"%{value}"}[operator]


def sql(tree, table=""):
    if tree[0] == "not":
        return f"NOT ({sql(tree[1], table)})"
    if tree[0] in ("and", "or"):
        return "(" + f" {tree[0].upper()} ".join(sql(part, table) for part in tree[1]) + ")"
    operator, attribute, value = tree
    name = attribute if attribute.startswith("p.") else table + attribute

    def literal(value):
        if kind(attribute) in ("text", "date"):
            return "'" + value.replace("'", "''") + "'"
        return str(int(value))

    if operator == "null":
        return f"{name} IS NULL"
    if operator == "between":
        return f"{name} BETWEEN {literal(value[0])} AND {literal(value[1])}"
    if operator == "in":
        return f"{name} IN ({', '.join(literal(v) for v in value)})"
    if operator in ("contains", "startswith", "endswith"):
        return f"{name} LIKE {literal(pattern(operator, value))}"
    return f"{name} { {'eq': '=', 'ne': '<>', 'lt': '<', 'le': '<=', 'gt': '>', 'ge': '>='}[operator]} {literal(value)}"


def fetch(tree, isNegated=False):
    """The condition in FetchXML, which has no "not". So negations are moved down to the comparisons."""
    if tree[0] == "not":
        return fetch(tree[1], not isNegated)
    if tree[0] in ("and", "or"):
        kind = tree[0] if not isNegated else {"and": "or", "or": "and"}[tree[0]]
        return f"<filter type='{kind}'>{''.join(fetch(part, isNegated) for part in tree[1])}</filter>"
    if tree[0] in ("some", "every"):
        # "every" becomes "no record without it". FetchXML's own "all" would also require that there is a record.
        isSome = tree[0] == "some"
        link = "any" if isSome != isNegated else "not any"
        return f"<link-entity name='mailbox' from='emailserverprofile' to='emailserverprofileid' link-type='{link}'><filter>{fetch(tree[1], not isSome)}</filter></link-entity>"
    operator, attribute, value = tree
    name = f"attribute='{attribute.removeprefix('p.')}'" + (" entityname='p'" if attribute.startswith("p.") else "")
    value = [str(int(v) if isinstance(v, bool) else v) for v in (value if isinstance(value, list) else [value])]
    if operator in ("contains", "startswith", "endswith"):
        operator, value = "like", [pattern(operator, value[0])]
    if isNegated and operator in ("lt", "le", "gt", "ge", "between"):
        # The negation of "less" is: greater, equal or null.
        if operator == "between":
            opposite = [("lt", value[0]), ("gt", value[1])]
        else:
            opposite = [({"lt": "ge", "le": "gt", "gt": "le", "ge": "lt"}[operator], value[0])]
        conditions = "".join(f"<condition {name} operator='{o}' value={xml.sax.saxutils.quoteattr(v)}/>" for o, v in opposite)
        return f"<filter type='or'>{conditions}<condition {name} operator='null'/></filter>"
    if isNegated:
        operator = {"eq": "ne", "ne": "eq", "null": "not-null", "in": "not-in", "like": "not-like"}[operator]
    if operator in ("null", "not-null"):
        return f"<condition {name} operator='{operator}'/>"
    if operator in ("in", "not-in", "between"):
        return f"<condition {name} operator='{operator}'>{''.join(f'<value>{xml.sax.saxutils.escape(v)}</value>' for v in value)}</condition>"
    return f"<condition {name} operator='{operator}' value={xml.sax.saxutils.quoteattr(value[0])}/>"


# MARK: Queries in each language

class Asker:
    def __init__(self, service, tag, entity_set="emailserverprofiles"):
        self.service, self.tag, self.entity_set = service, tag, entity_set

    def get(self, query, **headers):
        response = self.service.get(query if query.startswith("https:") else f"{self.entity_set}?{query}", **headers)
        assert response.status_code == 200, (query, response.text)
        return response.json()

    def odata(self, tree, order, size):
        text = "$select=emailserverprofileid&$count=true&$filter=" + urllib.parse.quote(f"{TAG} eq '{self.tag}' and ({odata(tree)})")
        if order:
            text += "&$orderby=" + urllib.parse.quote(",".join(f"{a} desc" if d else a for a, d in order))
        ids, counts = [], set()
        while text:
            page = self.get(text, Prefer=f"odata.maxpagesize={size}")
            assert len(page["value"]) <= size
            ids += [r["emailserverprofileid"] for r in page["value"]]
            counts.add(page.get("@odata.count"))
            text = page.get("@odata.nextLink")
        assert len(ids) in counts
        return ids

    def fetch(self, tree, order, size):
        orders = "".join(f"<order attribute='{a}' descending='{str(d).lower()}'/>" for a, d in order)
        ids, page, cookie = [], 1, ""
        while page:
            text = (f"<fetch count='{size}' page='{page}'{cookie}><entity name='emailserverprofile'><attribute name='emailserverprofileid'/>{orders}"
                    f"<filter><condition attribute='{TAG}' operator='eq' value='{self.tag}'/>{fetch(tree)}</filter></entity></fetch>")
            answer = self.get("fetchXml=" + urllib.parse.quote(text), Prefer='odata.include-annotations="*"')
            ids += [r["emailserverprofileid"] for r in answer["value"]]
            more = answer.get("@Microsoft.Dynamics.CRM.morerecords")
            page = page + 1 if more else None
            if more:
                raw = answer["@Microsoft.Dynamics.CRM.fetchxmlpagingcookie"].split('pagingcookie="')[1].split('"')[0]
                cookie = " paging-cookie=" + xml.sax.saxutils.quoteattr(urllib.parse.unquote(urllib.parse.unquote(raw)))
        return ids

    def sql(self, tree, order, size):
        text = f"SELECT emailserverprofileid FROM emailserverprofile WHERE {TAG} = '{self.tag}' AND ({sql(tree)})"
        if order:
            text += " ORDER BY " + ", ".join(f"{a} DESC" if d else a for a, d in order)
        return [r["emailserverprofileid"] for r in self.get("sql=" + urllib.parse.quote(text))["value"]]


def keys(order, record):
    """The sort keys of a record for an order. Null sorts before all values."""
    return [(record[a] is not None, folded(record[a])) if record[a] is not None else (False,) for a, _ in order]


def test_conditions_orders_and_pages(service, profiles):
    tag, records = profiles
    asker, byID = Asker(service, tag), {r["emailserverprofileid"]: r for r in records}
    found = collections.Counter()
    for case in range(CASES):
        random = Random(SEED * 1_000_003 + case)
        tree = condition(random)
        order = [(a, random.random() < 0.5) for a in random.sample(list(KINDS), random.randint(0, 3))]
        size = random.randint(2, 40)
        expected = {r["emailserverprofileid"] for r in records if certain(tree, r)}
        expectedBySQL = {r["emailserverprofileid"] for r in records if truth(tree, r)}
        for language, ids, wanted in (("odata", asker.odata(tree, order, size), expected), ("fetch", asker.fetch(tree, order, size), expected),
                                      ("sql", asker.sql(tree, order, size), expectedBySQL)):
            assert len(ids) == len(set(ids)) and set(ids) == wanted, (language, case, tree)
            sorted_ids = ids
            for position in reversed(range(len(order))):
                sorted_ids = sorted(sorted_ids, key=lambda i: keys(order, byID[i])[position], reverse=order[position][1])
            assert [keys(order, byID[i]) for i in ids] == [keys(order, byID[i]) for i in sorted_ids], (language, case, order)
        found[0 < len(expected) < len(records)] += 1
    # Conditions that are true for all records or for none show little, so they must be the minority.
    assert found[True] > CASES / 2, found


def test_groups(service, profiles):
    tag, records = profiles
    asker = Asker(service, tag)
    for case in range(CASES // 5):
        random = Random(SEED * 1_000_003 - case)
        tree = condition(random, depth=1)
        groups = random.sample([a for a in KINDS if KINDS[a] != "number" or a in VALUES], random.randint(1, 2))
        number = random.choice([a for a in ("incomingportnumber", "lasttesttotalexecutiontime") if a not in groups] or ["maxconcurrentconnections"])

        def table(wanted):
            result = {}
            for key in {tuple(folded(r[g]) for g in groups) for r in wanted}:
                members = [r for r in wanted if tuple(folded(r[g]) for g in groups) == key]
                numbers = [r[number] for r in members if r[number] is not None]
                result[key] = (len(members), sum(numbers) if numbers else None, min(numbers, default=None), max(numbers, default=None))
            return result

        def answer(rows):
            assert len({tuple(folded(r[g]) for g in groups) for r in rows}) == len(rows), rows
            return {tuple(folded(r[g]) for g in groups): (r["n"], r["s"], r["low"], r["high"]) for r in rows}

        aggregates = f"aggregate($count as n,{number} with sum as s,{number} with min as low,{number} with max as high)"
        text = f"filter({TAG} eq '{tag}' and ({odata(tree)}))/groupby(({','.join(groups)}),{aggregates})"
        assert answer(asker.get("$apply=" + urllib.parse.quote(text))["value"]) == table([r for r in records if certain(tree, r)]), (case, tree)
        columns = "".join(f"<attribute name='{g}' groupby='true' alias='{g}'/>" for g in groups)
        columns += "<attribute name='emailserverprofileid' aggregate='count' alias='n'/>" + "".join(
            f"<attribute name='{number}' aggregate='{how}' alias='{alias}'/>" for how, alias in (("sum", "s"), ("min", "low"), ("max", "high")))
        text = f"<fetch aggregate='true'><entity name='emailserverprofile'>{columns}<filter><condition attribute='{TAG}' operator='eq' value='{tag}'/>{fetch(tree)}</filter></entity></fetch>"
        assert answer(asker.get("fetchXml=" + urllib.parse.quote(text))["value"]) == table([r for r in records if certain(tree, r)]), (case, tree)
        text = (f"SELECT {', '.join(groups)}, COUNT(*) AS n, SUM({number}) AS s, MIN({number}) AS low, MAX({number}) AS high FROM emailserverprofile "
                f"WHERE {TAG} = '{tag}' AND ({sql(tree)}) GROUP BY {', '.join(groups)}")
        assert answer(asker.get("sql=" + urllib.parse.quote(text))["value"]) == table([r for r in records if truth(tree, r)]), (case, tree)


@pytest.fixture(scope="module")
def linked(service, profiles):
    """Mailboxes, of which most have a profile: (tag, mailboxes, profiles)"""
    random, tag = Random(SEED + 1), f"tagged {uuid.uuid4().hex[:12]}"
    targets = []
    for n in range(60):
        box = {a: random.choice(values(a)) for a in OWN} | {a: None for a in ("emailaddress", "username", "processemailreceivedafter") if random.random() < 0.3}
        box |= {"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "ewsurl": tag}
        if random.random() < 0.75:
            # The profiles are drawn from few, so that some have several mailboxes. Others have none.
            box["emailserverprofile@odata.bind"] = f"/emailserverprofiles({random.choice(profiles[1][:25])['emailserverprofileid']})"
        targets.append(box)
    response = service.request("POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert response.status_code == 200, response.text
    boxes = service.get(f"mailboxes?$filter=ewsurl eq '{tag}'").json()["value"]
    assert len(boxes) == 60
    byID = {p["emailserverprofileid"]: {**p, "mailboxes": []} for p in profiles[1]}
    for box in boxes:
        profile = byID.get(box["_emailserverprofile_value"])
        box |= {a: profile[a[2:]] if profile else None for a in LINKED if a.startswith("p.")}
        if profile:
            profile["mailboxes"].append(box)
    return tag, boxes, list(byID.values())


def test_conditions_over_a_reference(service, linked):
    tag, boxes, _ = linked
    asker = Asker(service, tag, "mailboxes")

    def asked(query):
        return sorted(r["mailboxid"] for r in asker.get(query)["value"])

    for case in range(CASES // 2):
        tree = condition(Random(SEED * 1_000_003 + case), names=LINKED)
        expected = sorted(b["mailboxid"] for b in boxes if certain(tree, b))
        assert asked("$select=mailboxid&$filter=" + urllib.parse.quote(f"ewsurl eq '{tag}' and ({odata(tree)})")) == expected, (case, tree)
        link = "<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' link-type='outer' alias='p'/>"
        text = (f"<fetch><entity name='mailbox'><attribute name='mailboxid'/>{link}<filter><condition attribute='ewsurl' operator='eq' value='{tag}'/>"
                f"{fetch(tree)}</filter></entity></fetch>")
        assert asked("fetchXml=" + urllib.parse.quote(text)) == expected, (case, tree)
        for join, wanted in (("LEFT JOIN", boxes), ("JOIN", [b for b in boxes if b["_emailserverprofile_value"]])):
            text = (f"SELECT m.mailboxid FROM mailbox AS m {join} emailserverprofile AS p ON m.emailserverprofile = p.emailserverprofileid "
                    f"WHERE m.ewsurl = '{tag}' AND ({sql(tree, 'm.')})")
            assert asked("sql=" + urllib.parse.quote(text)) == sorted(b["mailboxid"] for b in wanted if truth(tree, b)), (case, join, tree)


def test_conditions_over_a_collection(service, linked, profiles):
    asker = Asker(service, profiles[0])
    for case in range(CASES // 2):
        random = Random(SEED * 1_000_003 + case)
        quantified = [(random.choice(["some", "every"]), condition(random, 2, OWN)) for _ in range(random.randint(1, 2))]
        tree = (random.choice(["and", "or"]), [*quantified, condition(random, 1)])
        if random.random() < 0.3:
            tree = ("not", tree)
        expected = {p["emailserverprofileid"] for p in linked[2] if certain(tree, p)}
        assert set(asker.odata(tree, [], 100)) == expected, (case, tree)
        assert set(asker.fetch(tree, [], 100)) == expected, (case, tree)
