"""A random walk through all ways to link records, and to make users and teams their owners. After each step, the response, the links, and what users
may read and write are compared with a model."""

import os
import urllib.parse
import uuid
from collections import Counter
from random import Random
from types import SimpleNamespace

import soap
from sample import SEED, length

STEPS = int(os.environ.get("FIELDSEAL_STEPS", length(80, 800)))
ROLES, MEMBERS, TEAM_ROLES = "systemuserroles_association", "teammembership_association", "teamroles_association"
#: For each relationship, its two ends as (entity set, entity), and the entity set and the entity of its links.
RELATIONSHIPS = {
    ROLES: (("systemusers", "systemuser"), ("roles", "role"), "systemuserrolescollection", "systemuserroles"),
    MEMBERS: (("teams", "team"), ("systemusers", "systemuser"), "teammemberships", "teammembership"),
    TEAM_ROLES: (("teams", "team"), ("roles", "role"), "teamrolescollection", "teamroles"),
}
NO_SUCH_RECORD = "0x80040217"


class Model:
    """Teams, links as (relationship, first id, second id), and the owners of e-mails. Each change returns (status, the model afterwards)."""

    def __init__(self, users, teams=frozenset(), links=frozenset(), owners=None):
        self.users, self.teams, self.links, self.owners = users, teams, links, owners or {}

    def but(self, **changes):
        return Model(**{**vars(self), **changes})

    def has(self, relationship, first, second):
        """Whether both records exist. Roles always exist."""
        users = {ROLES: first, MEMBERS: second}.get(relationship)
        teams = {MEMBERS: first, TEAM_ROLES: first}.get(relationship)
        return (users is None or users in self.users) and (teams is None or teams in self.teams)

    def link(self, link, isLinked):
        if not self.has(*link):
            return 404, self
        if isLinked:
            return 204, self.but(links=self.links | {link})
        return (204, self.but(links=self.links - {link})) if link in self.links else (404, self)

    def all(self, changes):
        """Models several changes of links as one. Returns the status of the first change that fails, or 204, and the model afterwards."""
        model = self
        for link, isLinked in changes:
            status, model = model.link(link, isLinked)
            if status >= 400:
                return status, self
        return 204, model

    def delete_team(self, team):
        if team not in self.teams:
            return 404, self
        if team in self.owners.values():
            return 400, self
        return 204, self.but(teams=self.teams - {team}, links=frozenset(link for link in self.links if team not in link))

    def own(self, email, owner):
        if owner not in self.users and owner not in self.teams:
            return 404, self
        return 204, self.but(owners=self.owners | {email: owner})

    def teams_of(self, user):
        return {first for relationship, first, second in self.links if relationship == MEMBERS and second == user}

    def roles_of(self, user):
        teams = self.teams_of(user)
        return {second for relationship, first, second in self.links if (relationship == ROLES and first == user) or (relationship == TEAM_ROLES and first in teams)}

    def visible(self, user):
        mine = {user} | self.teams_of(user)
        return {email for email, owner in self.owners.items() if owner in mine}


class Walk:
    def __init__(self, service, random):
        self.service, self.random = service, random
        self.roles = {r["name"]: r["roleid"] for r in service.get("roles?$select=name").json()["value"]}
        self.basic = self.roles["Basic User"]
        users = [service.create("systemusers", {"systemuserid": self.new(), "fullname": f"Walker {n}", "domainname": f"walker {n}"}) for n in range(4)]
        teams = [service.create("teams", {"teamid": self.new(), "name": "walked"}) for _ in range(3)]
        self.model, self.gone, self.answers = Model(frozenset(users), frozenset(teams)), [], Counter()

    # MARK: Random parts

    def new(self):
        return str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def any_of(self, ids):
        """Chooses one of the ids. They are sorted before, so that the choice depends only on the seed."""
        return self.random.choice(sorted(ids))

    def user(self):
        return self.any_of(self.model.users) if self.random.random() < 0.95 else self.new()

    def team(self):
        """The id of a team, of a deleted team, or an id that no team ever had."""
        if self.model.teams and self.random.random() < 0.9:
            return self.any_of(self.model.teams)
        return self.random.choice(self.gone) if self.gone else self.new()

    def owner(self):
        return self.user() if self.random.random() < 0.4 else self.team()

    def email(self):
        return self.any_of(self.model.owners) if self.model.owners else self.new()

    def ends(self, relationship):
        role = self.random.choice([self.basic, self.basic, self.roles["Email Administrator"]])
        return {ROLES: lambda: (self.user(), role), MEMBERS: lambda: (self.team(), self.user()), TEAM_ROLES: lambda: (self.team(), role)}[relationship]()

    def change(self, relationship=None):
        """A random change: (link, True to create it or False to remove it)."""
        relationship = relationship or self.random.choice([ROLES, MEMBERS, MEMBERS, TEAM_ROLES])
        existing = sorted(link for link in self.model.links if link[0] == relationship)
        if existing and self.random.random() < 0.45:
            return self.random.choice(existing), False
        return (relationship, *self.ends(relationship)), self.random.random() < 0.85

    def request(self, change):
        """The request for a change, from a random end of the relationship."""
        (relationship, *ids), isLinked = change
        (own, id), (other, otherID) = self.random.sample([*zip(RELATIONSHIPS[relationship][:2], ids)], 2)
        path = f"{own[0]}({id})/{relationship}"
        if isLinked:
            address = self.random.choice(["", "/", f"{self.service.api}/"]) + f"{other[0]}({otherID})"
            return {"method": "POST", "url": f"{path}/$ref", "body": {"@odata.id": address}}
        address = self.random.choice([f"{path}({otherID})/$ref", f"{path}/$ref?$id={urllib.parse.quote(f'{other[0]}({otherID})')}"])
        return {"method": "DELETE", "url": address}

    def batch(self, requests, **headers):
        return self.service.request("POST", "$batch", {"requests": requests}, Content_Type="application/json", **headers)

    # MARK: Steps. Each one sends requests, and returns (response, expected status, the model afterwards).

    def step_reference(self):
        change = self.change()
        request = self.request(change)
        return self.service.request(request["method"], request["url"], request.get("body")), *self.model.link(*change)

    def step_change_set(self):
        changes = [self.change() for _ in range(self.random.randint(1, 4))]
        status, model = self.model.all(changes)
        requests = [{"id": str(n), "atomicityGroup": "g", **self.request(change)} for n, change in enumerate(changes)]
        return self.batch(requests), 200 if status == 204 else status, model

    def step_batch(self):
        """A batch without change sets. It ends at the first failure, or continues after it."""
        isGoingOn = self.random.random() < 0.5
        changes, model, statuses = [self.change() for _ in range(self.random.randint(1, 4))], self.model, []
        for change in changes:
            status, model = model.link(*change)
            statuses.append(status)
            if status >= 400 and not isGoingOn:
                break
        response = self.batch([{"id": str(n), **self.request(c)} for n, c in enumerate(changes)], **({"Prefer": "odata.continue-on-error"} if isGoingOn else {}))
        assert [r["status"] for r in response.json()["responses"]][: len(statuses)] == statuses, (response.text, changes)
        return response, 200 if isGoingOn or max(statuses) < 400 else max(statuses), model

    def step_members(self):
        """Sends AddMembersTeam or RemoveMembersTeam. The second is refused if one of the users is not a member."""
        team, users, isAdded = self.team(), {self.user() for _ in range(self.random.randint(1, 3))}, self.random.random() < 0.6
        members = [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": u} for u in sorted(users)]
        response = self.service.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.{'Add' if isAdded else 'Remove'}MembersTeam", {"Members": members})
        links = {(MEMBERS, team, user) for user in users}
        if not all(self.model.has(*link) for link in links) or not isAdded and not links <= self.model.links:
            return response, 404, self.model
        return response, 204, self.model.but(links=self.model.links | links if isAdded else self.model.links - links)

    def step_create_team(self):
        """Creates a team with members and roles, which are bound in the create or linked in the same change set."""
        team = self.new()
        links = {(relationship, team, self.ends(relationship)[1]) for relationship in self.random.choices([MEMBERS, TEAM_ROLES], k=self.random.randint(0, 3))}
        bound = {relationship: [link[2] for link in sorted(links) if link[0] == relationship] for relationship in (MEMBERS, TEAM_ROLES)}
        status, model = self.model.but(teams=self.model.teams | {team}).all((link, True) for link in sorted(links))
        model = self.model if status >= 400 else model
        body, sets = {"teamid": team, "name": "walked"}, {relationship: RELATIONSHIPS[relationship][1][0] for relationship in bound}
        if self.random.random() < 0.5:
            body |= {f"{r}@odata.bind": [f"/{sets[r]}({id})" for id in ids] for r, ids in bound.items() if ids}
            return self.service.request("POST", "teams", body), status, model
        requests = [{"id": "t", "atomicityGroup": "g", "method": "POST", "url": "teams", "body": body}]
        for relationship, ids in bound.items():
            requests += [{"id": f"{relationship}{n}", "atomicityGroup": "g", "method": "POST", "url": f"$t/{relationship}/$ref", "body": {"@odata.id": f"{sets[relationship]}({id})"}}
                         for n, id in enumerate(ids)]
        return self.batch(requests), 200 if status == 204 else status, model

    def step_delete_team(self):
        if self.random.random() < 0.5:
            return self.step_reference()
        team = self.team()
        return self.service.request("DELETE", f"teams({team})"), *self.model.delete_team(team)

    def step_own(self):
        """Sets the owner of an e-mail, in a random one of the ways to set a lookup."""
        email, owner = self.email(), self.owner()
        isTeam = owner not in self.model.users
        address = f"{'teams' if isTeam else 'systemusers'}({owner})"
        status, model = self.model.own(email, owner)
        isNew = email not in self.model.owners
        how = self.random.choice(["create", "set"]) if isNew else self.random.choice(["patch", "reference", "set", "many", "soap"])
        body = {"ownerid@odata.bind": f"/{address}"}
        if how == "create":
            return self.service.request("POST", "emails", body | {"activityid": email, "subject": "walked"}), status, model
        if how == "patch":
            return self.service.request("PATCH", f"emails({email})", body, If_Match="*"), status, model
        if how == "reference":
            return self.service.request("PUT", f"emails({email})/ownerid/$ref", {"@odata.id": address}), status, model
        if how == "set":
            subject = {"method": "PATCH", "url": f"emails({email})", "body": {"subject": "walked", **body}}
            cleared = {"method": "DELETE", "url": f"emails({email})/description"}
            response = self.batch([{"id": str(n), "atomicityGroup": "g", **request} for n, request in enumerate((subject, cleared))])
            return response, 200 if status == 204 else status, model
        if how == "many":
            target = {"@odata.type": "Microsoft.Dynamics.CRM.email", "activityid": email, **body}
            return self.service.request("POST", "emails/Microsoft.Dynamics.CRM.UpdateMultiple", {"Targets": [target]}), status, model
        assignee = soap.parameter("Assignee", "x:EntityReference", soap.reference("team" if isTeam else "systemuser", owner))
        return self.soap("Assign", soap.parameter("Target", "x:EntityReference", soap.reference("email", email)) + assignee), status, model

    def step_new_email(self):
        email, owner = self.new(), self.owner()
        status, model = self.model.own(email, owner)
        address = f"/{'systemusers' if owner in self.model.users else 'teams'}({owner})"
        return self.service.request("POST", "emails", {"activityid": email, "subject": "walked", "ownerid@odata.bind": address}), status, model

    def step_delete_email(self):
        if self.random.random() < 0.5:
            return self.step_new_email()
        email = self.email()
        model = self.model.but(owners={e: o for e, o in self.model.owners.items() if e != email})
        return self.service.request("DELETE", f"emails({email})"), 204 if email in self.model.owners else 404, model

    def step_soap(self):
        """Sends Associate or Disassociate with one or two records."""
        (relationship, first, second), isLinked = self.change()
        links = {(relationship, first, second)} | ({(relationship, first, self.ends(relationship)[1])} if self.random.random() < 0.5 else set())
        status, model = self.model.all((link, isLinked) for link in sorted(links))
        others = "".join(f"<x:EntityReference>{soap.reference(RELATIONSHIPS[relationship][1][1], link[2])}</x:EntityReference>" for link in sorted(links))
        content = soap.parameter("Target", "x:EntityReference", soap.reference(RELATIONSHIPS[relationship][0][1], first))
        content += soap.parameter("Relationship", "x:Relationship", f'<x:PrimaryEntityRole i:nil="true"/><x:SchemaName>{relationship}</x:SchemaName>')
        content += soap.parameter("RelatedEntities", "x:EntityReferenceCollection", others)
        return self.soap("Associate" if isLinked else "Disassociate", content), status, model

    def soap(self, name, content):
        """Sends an operation over SOAP. Returns a response with the status that the Web API would have."""
        element = soap.call(self.service, soap.operation("Execute", f"<request><x:Parameters>{content}</x:Parameters><x:RequestName>{name}</x:RequestName></request>"))
        if not element.tag.endswith("Fault"):
            return SimpleNamespace(status_code=204, text="", request=SimpleNamespace(body=content))
        _, number, message = soap.fault(element)
        return SimpleNamespace(status_code={NO_SUCH_RECORD: 404}.get(number, 400), text=f"{number} {message}", request=SimpleNamespace(body=content))

    def step_write_as_a_user(self):
        """A write in the name of a user succeeds only for e-mails of the user and the user's teams. For the user, other e-mails do not exist."""
        user, email = self.any_of(self.model.users), self.email()
        response = self.service.request("PATCH", f"emails({email})", {"category": "written"}, If_Match="*", MSCRMCallerID=user)
        if self.basic not in self.model.roles_of(user):
            return response, 403, self.model
        return response, 204 if email in self.model.visible(user) else 404, self.model

    def step_create_as_a_user(self):
        """A user may create e-mails that the user or a team of the user owns, and no others."""
        user, owner, email = self.any_of(self.model.users), self.owner(), self.new()
        address = f"/{'systemusers' if owner in self.model.users else 'teams'}({owner})"
        response = self.service.request("POST", "emails", {"activityid": email, "subject": "walked", "ownerid@odata.bind": address}, MSCRMCallerID=user)
        status, model = self.model.own(email, owner)
        if self.basic not in self.model.roles_of(user):
            return response, 403, self.model
        if status == 204 and owner not in {user} | self.model.teams_of(user):
            return response, 403, self.model
        return response, status, model

    # MARK: Checks after each step

    def check(self, model, step):
        links = set()
        for relationship, (first, second, entity_set, _) in RELATIONSHIPS.items():
            rows = self.service.get(f"{entity_set}?$select={first[1]}id,{second[1]}id").json()["value"]
            links |= {(relationship, r[f"{first[1]}id"], r[f"{second[1]}id"]) for r in rows}
        known = model.users | model.teams | set(self.gone)
        assert {link for link in links if known & set(link)} == model.links, step
        emails = self.service.get("emails?$select=_ownerid_value,_owningteam_value,_owninguser_value&$filter=subject eq 'walked'").json()["value"]
        assert {e["activityid"]: e["_ownerid_value"] for e in emails} == model.owners, step
        for email in emails:
            user, team = email["_owninguser_value"], email["_owningteam_value"]
            assert (user, team).count(None) == 1 and (user or team) == email["_ownerid_value"] and (user in model.users) == bool(user), (step, email)
        self.gone += sorted(self.model.teams - model.teams)
        self.model = model

    def read(self, path, **headers):
        response = self.service.get(path, **headers)
        assert response.status_code == 200, (path, response.text)
        return response.json()["value"]

    def check_readers(self):
        """Checks in each query language which e-mails each user can read."""
        fetch = "<fetch><entity name='email'><attribute name='activityid'/><filter><condition attribute='subject' operator='eq' value='walked'/></filter></entity></fetch>"
        queries = ["$select=activityid&$filter=subject eq 'walked'", "fetchXml=" + urllib.parse.quote(fetch), "sql=" + urllib.parse.quote("SELECT activityid FROM email WHERE subject = 'walked'")]
        for user in self.model.users:
            for query in queries:
                if self.basic not in self.model.roles_of(user):
                    assert self.service.get(f"emails?{query}", MSCRMCallerID=user).status_code == 403, (user, query)
                    continue
                found = [r["activityid"] for r in self.read(f"emails?{query}", MSCRMCallerID=user)]
                assert sorted(found) == sorted(self.model.visible(user)), (user, query)

    def check_languages(self):
        """Checks in each query language which links exist, from both ends."""
        for relationship, (*both, _, intersect) in RELATIONSHIPS.items():
            links = {link[1:] for link in self.model.links if link[0] == relationship}
            known = self.model.users | self.model.teams
            for turn, ((own, one), (_, two)) in enumerate((both, both[::-1])):
                expected = sorted(link if not turn else link[::-1] for link in links)
                rows = self.read(f"{own}?$select={one}id&$expand={relationship}($select={two}id)")
                text = (f"<fetch><entity name='{one}'><attribute name='{one}id'/><link-entity name='{intersect}' from='{one}id' to='{one}id' intersect='true'>"
                        f"<link-entity name='{two}' from='{two}id' to='{two}id' alias='b'><attribute name='{two}id' alias='other'/></link-entity></link-entity></entity></fetch>")
                sql = f"SELECT a.{one}id, b.{two}id AS other FROM {one} AS a JOIN {intersect} AS m ON m.{one}id = a.{one}id JOIN {two} AS b ON b.{two}id = m.{two}id"
                found = {
                    "odata": [(r[f"{one}id"], o[f"{two}id"]) for r in rows for o in r[relationship]],
                    "fetch": [(r[f"{one}id"], r["other"]) for r in self.read(f"{own}?fetchXml=" + urllib.parse.quote(text))],
                    "sql": [(r[f"{one}id"], r["other"]) for r in self.read(f"{own}?sql=" + urllib.parse.quote(sql))],
                }
                for language, pairs in found.items():
                    assert sorted(p for p in pairs if known & set(p)) == expected, (language, relationship, own)

    def go(self, steps):
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("step_")]
        for number in range(steps):
            step = self.random.choice(kinds)
            response, status, model = step()
            assert response.status_code == status, (number, step.__name__, status, response.text, response.request.body)
            self.answers[step.__name__, status] += 1
            self.check(model, (number, step.__name__, response.text, response.request.body))
            if number % 10 == 9:
                self.check_readers()
            if number % 25 == 24:
                self.check_languages()


def test_every_way_to_link_records(own_service):
    walk = Walk(own_service, Random(SEED))
    walk.go(STEPS)
    refused = sum(count for (_, status), count in walk.answers.items() if status >= 400)
    assert STEPS // 20 < refused < STEPS * 3 // 4, walk.answers
    report = own_service.json("doctor", "--deep", check=False)
    # The key of a development deployment was never copied out. The doctor finds nothing else.
    assert [finding["code"] for finding in report["findings"]] == ["key-never-copied"], report
