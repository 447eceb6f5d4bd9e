"""Random conditions on records that users and teams own, in OData, FetchXML, SQL and SOAP. They are sent as an administrator and in the name of users
with fewer rights, and compared with a model in Python."""

import urllib.parse
import uuid
from random import Random

import pytest
import soap
import test_languages as languages
from sample import SEED
from test_associations import ROLES, TEAM_ROLES, link
from test_associations import TEAMS as MEMBERS
from test_languages import CASES, TEXTS, certain, condition, fetch, odata, sql, truth

EMAILS = {"subject": "text", "description": "text", "prioritycode": "number", "readreceiptrequested": "flag", "scheduledstart": "date", "actualdurationminutes": "number"}
PEOPLE = {"fullname": "text", "domainname": "text"}
languages.ALL |= EMAILS | PEOPLE
languages.VALUES |= {"prioritycode": [0, 1, 2], "actualdurationminutes": [0, 7, 90]}


@pytest.fixture(scope="module")
def owned(service):
    """(tag, users with their teams, teams with their members, e-mails). The first users have a role themselves, later ones through a team, and the
    last two have none."""
    random, tag = Random(SEED + 3), f"seen {uuid.uuid4().hex[:10]}"
    basic = next(r["roleid"] for r in service.get("roles?$select=name").json()["value"] if r["name"] == "Basic User")
    users = [{"systemuserid": service.create("systemusers", user), **user} for user in (
        {"fullname": random.choice(TEXTS), "domainname": f"{tag} {n} {random.choice(TEXTS)}"} for n in range(6))]
    teams = [{"teamid": service.create("teams", {"name": f"{tag} {n}"}), "others": []} for n in range(4)]
    for user in users:
        user["teams"] = []
    for user, numbers in zip(users, ((0,), (0, 1), (1, 2), (), (2,), ())):
        for number in numbers:
            assert link(service, f"teams({teams[number]['teamid']})/{MEMBERS}", f"systemusers({user['systemuserid']})").status_code == 204
            teams[number]["others"].append(user)
            user["teams"].append(teams[number])
    assert link(service, f"teams({teams[1]['teamid']})/{TEAM_ROLES}", f"roles({basic})").status_code == 204
    for user in (users[0], users[3]):
        assert link(service, f"systemusers({user['systemuserid']})/{ROLES}", f"roles({basic})").status_code == 204
    targets = []
    for _ in range(60):
        record = {a: random.choice(languages.values(a)) for a in EMAILS}
        record |= {a: None for a in EMAILS if a not in ("prioritycode", "readreceiptrequested") and random.random() < 0.3}
        owner = random.choice([f"/systemusers({u['systemuserid']})" for u in users] + [f"/teams({t['teamid']})" for t in teams] * 2)
        targets.append(record | {"category": tag, "ownerid@odata.bind": owner, "@odata.type": "Microsoft.Dynamics.CRM.email"})
    response = service.request("POST", "emails/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": targets})
    assert response.status_code == 200, response.text
    emails = service.get(f"emails?$filter=category eq '{tag}'").json()["value"]
    assert len(emails) == 60
    byID = {t["teamid"]: t for t in teams}
    for email in emails:
        email["others"] = byID.get(email["_owningteam_value"], {"others": []})["others"]
    return tag, users, teams, emails


def mine(user, emails):
    owners = {user["systemuserid"], *(team["teamid"] for team in user["teams"])}
    return [e for e in emails if e["_ownerid_value"] in owners]


class Asker:
    def __init__(self, service, tag, user=None):
        self.service, self.tag, self.user = service, tag, user
        self.headers = {"MSCRMCallerID": user["systemuserid"]} if user else {}

    def get(self, query, **headers):
        response = self.service.get(query if query.startswith("https:") else f"emails?{query}", **self.headers, **headers)
        assert response.status_code == 200, (query, response.text)
        return response.json()

    def odata(self, text, size):
        """Reads all pages, and checks that the count is that of the records which the reader may see. Returns the ids."""
        query, ids, counts = "$select=activityid&$count=true&$filter=" + urllib.parse.quote(f"category eq '{self.tag}' and ({text})"), [], set()
        while query:
            page = self.get(query, Prefer=f"odata.maxpagesize={size}")
            ids += [r["activityid"] for r in page["value"]]
            counts.add(page["@odata.count"])
            query = page.get("@odata.nextLink")
        assert counts == {len(ids)}
        return sorted(ids)

    def fetch_text(self, filters, columns="<attribute name='activityid'/>", attributes=""):
        return (f"<fetch{attributes}><entity name='email'>{columns}<filter><condition attribute='category' operator='eq' value='{self.tag}'/>{filters}</filter></entity></fetch>")

    def fetch(self, filters):
        return sorted(r["activityid"] for r in self.get("fetchXml=" + urllib.parse.quote(self.fetch_text(filters)))["value"])

    def sql(self, where, joins=""):
        text = f"SELECT e.activityid FROM email AS e{joins} WHERE e.category = '{self.tag}' AND ({where})"
        return sorted(r["activityid"] for r in self.get("sql=" + urllib.parse.quote(text))["value"])

    def soap(self, filters):
        text = self.fetch_text(filters).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        query = f'<query i:type="x:FetchExpression"><x:Query>{text}</x:Query></query>'
        header = f'<h:CallerId xmlns:h="{soap.NAMESPACES["x"]}">{self.user["systemuserid"]}</h:CallerId>' if self.user else ""
        result = soap.call(self.service, soap.operation("RetrieveMultiple", query), header=header)
        assert result.tag.endswith("RetrieveMultipleResponse"), soap.fault(result)
        return sorted(e.findtext("x:Id", namespaces=soap.XPATH) for e in result.iter(f"{{{soap.NAMESPACES['x']}}}Entity"))


def test_each_reader_finds_what_is_its_own(service, owned):
    tag, users, _, emails = owned
    for case in range(CASES // 3):
        random = Random(SEED * 1_000_003 + case)
        tree = condition(random, names=EMAILS)
        for user in (None, *random.sample(users[:4], 2)):
            asker, seen = Asker(service, tag, user), mine(user, emails) if user else emails
            expected = sorted(e["activityid"] for e in seen if certain(tree, e))
            assert asker.odata(odata(tree), random.randint(3, 40)) == expected, (case, user, tree)
            assert asker.fetch(fetch(tree)) == expected, (case, user, tree)
            assert asker.soap(fetch(tree)) == expected, (case, user, tree)
            assert asker.sql(sql(tree, "e.")) == sorted(e["activityid"] for e in seen if truth(tree, e)), (case, user, tree)
            # Counts and groups include only records that the reader may see.
            counted = asker.get("$apply=" + urllib.parse.quote(f"filter(category eq '{tag}' and ({odata(tree)}))/aggregate($count as n)"))["value"][0]["n"]
            columns = "<attribute name='activityid' aggregate='count' alias='n'/>"
            fetched = asker.get("fetchXml=" + urllib.parse.quote(asker.fetch_text(fetch(tree), columns, " aggregate='true'")))["value"][0]["n"]
            alone = service.get("emails/$count?$filter=" + urllib.parse.quote(f"category eq '{tag}' and ({odata(tree)})"), **asker.headers)
            assert (counted, fetched, int(alone.content.decode("utf-8-sig"))) == (len(expected),) * 3, (case, user, tree)


def test_a_reader_without_a_role_finds_nothing(service, owned):
    tag, users, _, _ = owned
    for user in users[4:]:
        for query in ("$select=subject", "fetchXml=" + urllib.parse.quote("<fetch><entity name='email'/></fetch>"), "sql=SELECT subject FROM email", "$apply=aggregate($count as n)"):
            response = service.get(f"emails?{query}", MSCRMCallerID=user["systemuserid"])
            assert response.status_code == 403, response.text


def test_conditions_on_the_members_of_the_owning_team(service, owned):
    """The condition goes over a lookup to the owning team, and from there over a many-to-many relationship to its members."""
    tag, users, _, emails = owned
    for case in range(CASES // 3):
        random = Random(SEED * 1_000_003 + case)
        tree, user = condition(random, 2, PEOPLE), random.choice([None, *users[:4]])
        asker, seen = Asker(service, tag, user), mine(user, emails) if user else emails
        expected = sorted(e["activityid"] for e in seen if any(certain(tree, other) for other in e["others"]))
        assert asker.odata(f"owningteam/{MEMBERS}/any(x:{odata(tree, 'x/')})", 100) == expected, (case, user, tree)
        links = (f"<link-entity name='team' from='teamid' to='owningteam' link-type='any'><link-entity name='teammembership' from='teamid' to='teamid'>"
                 f"<link-entity name='systemuser' from='systemuserid' to='systemuserid'><filter>{fetch(tree)}</filter></link-entity></link-entity></link-entity>")
        assert asker.fetch(links) == expected, (case, user, tree)
        joins = " JOIN team AS t ON e.owningteam = t.teamid JOIN teammembership AS m ON m.teamid = t.teamid JOIN systemuser AS u ON u.systemuserid = m.systemuserid"
        pairs = sorted(e["activityid"] for e in seen for other in e["others"] if truth(tree, other))
        assert asker.sql(sql(tree, "u."), joins) == pairs, (case, user, tree)
        text = "$select=subject&$expand=" + urllib.parse.quote(f"owningteam($select=name;$expand={MEMBERS}($select=fullname;$filter={odata(tree)}))", safe="$=;(),/")
        rows = asker.get(f"{text}&$filter=" + urllib.parse.quote(f"category eq '{tag}'"))["value"]
        found = [r["activityid"] for r in rows if r["owningteam"] and r["owningteam"][MEMBERS]]
        assert sorted(found) == expected and len(rows) == len(seen), (case, user, tree)
