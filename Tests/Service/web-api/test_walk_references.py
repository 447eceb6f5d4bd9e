"""A random walk through alternate keys and lookups, compared with a model. A key may belong to no record, one or several. Lookups are set and cleared
from both ends, alone, in change sets, and for many records at once."""

import os
import re
import urllib.parse
import uuid
from random import Random

from sample import SEED, length

STEPS = int(os.environ.get("FIELDSEAL_STEPS", length(120, 1_000)))
COLLECTION = "emailserverprofile_mailbox"
NAMES = ["a", "A", "b", "it's", "c/d (e)", "50%", "x"]


class Model:
    """Profiles by id, as (name, description), and mailboxes with the id of their profile or None."""

    def __init__(self, profiles=None, boxes=None):
        self.profiles, self.boxes = profiles or {}, boxes or {}

    def named(self, key):
        """Finds a profile by its id or its name. Returns (status, id or None)."""
        if isinstance(key, uuid.UUID):
            return (200, key) if key in self.profiles else (404, None)
        found = [id for id, (name, _) in self.profiles.items() if name.lower() == key.lower()]
        return (200, found[0]) if len(found) == 1 else (412, None) if found else (404, None)

    def describe(self, key, text):
        status, id = self.named(key)
        if status != 200:
            return status, self
        return 204, Model(self.profiles | {id: (self.profiles[id][0], text)}, self.boxes)

    def refer(self, box, key):
        """Models that the lookup of a mailbox is set, or cleared if the key is None. Returns (status, the model afterwards)."""
        if box not in self.boxes:
            # The service looks up both records. A key that several records have is reported before a missing mailbox.
            return (412 if key is not None and self.named(key)[0] == 412 else 404), self
        status, id = (200, None) if key is None else self.named(key)
        return (status, self) if status != 200 else (204, Model(self.profiles, self.boxes | {box: id}))

    def take_off(self, key, box):
        """Models that the lookup of a mailbox is cleared if it refers to this profile. A deleted profile may be named by its id."""
        status, id = (200, key) if isinstance(key, uuid.UUID) else self.named(key)
        if status != 200:
            return status, self
        return self.refer(box, None) if id is not None and self.boxes.get(box) == id else (404, self)


class Walk:
    def __init__(self, service, random):
        self.service, self.random, self.tag = service, random, f"ref {uuid.uuid4().hex[:10]}"
        self.model, self.gone, self.seen = Model(), [], set()

    # MARK: Random parts

    def new(self):
        return uuid.UUID(int=self.random.getrandbits(128), version=4)

    def name(self):
        return f"{self.tag} {self.random.choice(NAMES)}"

    def profile(self):
        known = list(self.model.profiles) if self.random.random() < 0.85 else self.gone
        return self.random.choice(known) if known else self.new()

    def key(self):
        return self.name() if self.random.random() < 0.5 else self.profile()

    def box(self):
        return self.random.choice(list(self.model.boxes)) if self.model.boxes and self.random.random() < 0.9 else self.new()

    def text(self):
        return self.random.choice(["one", "two", None])

    @staticmethod
    def predicate(key):
        return f"({key})" if isinstance(key, uuid.UUID) else "(" + urllib.parse.quote("name='{}'".format(key.replace("'", "''")), safe="") + ")"

    def path(self, key):
        return f"emailserverprofiles{self.predicate(key)}"

    def address(self, key):
        return self.random.choice(["", "/", f"{self.service.api}/"]) + self.path(key)

    def change(self, model):
        """A random write for a change set: (request, status, the model afterwards)."""
        key, box = self.key(), self.box()
        kind = self.random.choice(["describe", "property", "bind", "refer", "collect", "take off"])
        if kind in ("describe", "property"):
            text = self.text()
            request = {"method": "PATCH", "url": self.path(key), "body": {"description": text}, "headers": {"If-Match": "*"}}
            if kind == "property":
                request = {"method": "PUT", "url": f"{self.path(key)}/description", "body": {"value": text}}
                if text is None:
                    request = {"method": "DELETE", "url": f"{self.path(key)}/description"}
            return request, *model.describe(key, text)
        if kind == "bind":
            value = self.address(key) if self.random.random() < 0.7 else None
            request = {"method": "PATCH", "url": f"mailboxes({box})", "body": {"emailserverprofile@odata.bind": value}, "headers": {"If-Match": "*"}}
            return request, *model.refer(box, key if value else None)
        if kind == "refer":
            if self.random.random() < 0.3:
                return {"method": "DELETE", "url": f"mailboxes({box})/emailserverprofile/$ref"}, *model.refer(box, None)
            return {"method": "PUT", "url": f"mailboxes({box})/emailserverprofile/$ref", "body": {"@odata.id": self.address(key)}}, *model.refer(box, key)
        if kind == "collect":
            return {"method": "POST", "url": f"{self.path(key)}/{COLLECTION}/$ref", "body": {"@odata.id": f"mailboxes({box})"}}, *model.refer(box, key)
        linked = [(b, p) for b, p in model.boxes.items() if p is not None]
        if linked and self.random.random() < 0.7:
            box, key = self.random.choice(linked)
        address = self.random.choice([f"{self.path(key)}/{COLLECTION}({box})/$ref", f"{self.path(key)}/{COLLECTION}/$ref?$id=mailboxes({box})"])
        return {"method": "DELETE", "url": address}, *model.take_off(key, box)

    # MARK: Steps

    def step_change(self):
        request, status, model = self.change(self.model)
        headers = {name.replace("-", "_"): value for name, value in request.get("headers", {}).items()}
        return self.service.request(request["method"], request["url"], request.get("body"), **headers), status, model

    def step_change_set(self):
        requests, model, failed = [], self.model, None
        for number in range(self.random.randint(1, 4)):
            request, status, model = self.change(model)
            requests.append({"id": str(number), "atomicityGroup": "g", **request})
            failed = failed or (status if status >= 400 else None)
        response = self.service.request("POST", "$batch", {"requests": requests}, Content_Type="application/json")
        if failed:
            # If several parts would fail, the service may report any of them.
            assert response.status_code in (404, 412), response.text
            return response, response.status_code, self.model
        return response, 200, model

    def step_create(self):
        """Creates a profile with new mailboxes and with bound existing mailboxes."""
        id, name, text = self.new(), self.name(), self.text()
        nested, bound = [self.new() for _ in range(self.random.randint(0, 2))], [self.box() for _ in range(self.random.randint(0, 2))]
        body = {"emailserverprofileid": str(id), "name": name, "description": text}
        if nested:
            body[COLLECTION] = [{"mailboxid": str(box), "name": self.tag} for box in nested]
        if bound:
            body[f"{COLLECTION}@odata.bind"] = [f"/mailboxes({box})" for box in bound]
        response = self.service.request("POST", "emailserverprofiles", body)
        if any(box not in self.model.boxes for box in bound):
            return response, 404, self.model
        return response, 204, Model(self.model.profiles | {id: (name, text)}, self.model.boxes | dict.fromkeys([*nested, *bound], id))

    def step_box_with_profile(self):
        """Creates a mailbox and its profile in one request."""
        box, id, name = self.new(), self.new(), self.name()
        body = {"mailboxid": str(box), "name": self.tag, "emailserverprofile": {"emailserverprofileid": str(id), "name": name}}
        return self.service.request("POST", "mailboxes", body), 204, Model(self.model.profiles | {id: (name, None)}, self.model.boxes | {box: id})

    def step_upsert(self):
        key, text, mode = self.name(), self.text(), self.random.choice(["", "If-Match", "If-None-Match"])
        response = self.service.request("PATCH", self.path(key), {"description": text}, **({mode.replace("-", "_"): "*"} if mode else {}))
        status, _ = self.model.named(key)
        if status == 404 and mode != "If-Match":
            return response, 204, self.created(response.headers.get("OData-EntityId", ""), key, text)
        return response, *((412, self.model) if status == 200 and mode == "If-None-Match" else self.model.describe(key, text))

    def created(self, address, name, text):
        id = uuid.UUID(re.search(r"\(([0-9a-f-]{36})\)$", address).group(1))
        return Model(self.model.profiles | {id: (name, text)}, self.model.boxes)

    def step_many(self):
        """Sends UpsertMultiple or UpdateMultiple with records that are named by keys. All records are written, or none."""
        isUpdate = self.random.random() < 0.5
        names = {name.lower(): name for name in (self.name() for _ in range(3))}.values()
        texts, start = {name: self.text() for name in names}, self.model
        targets = [{"@odata.type": "Microsoft.Dynamics.CRM.emailserverprofile", "@odata.id": self.path(n), "description": t} for n, t in texts.items()]
        response = self.service.request("POST", f"emailserverprofiles/Microsoft.Dynamics.CRM.Up{'date' if isUpdate else 'sert'}Multiple", {"Targets": targets})
        states = [start.named(name)[0] for name in texts]
        if 412 in states or (isUpdate and 404 in states):
            assert response.status_code in (404, 412), response.text
            return response, response.status_code, start
        profiles = dict(start.profiles)
        for number, (name, text) in enumerate(texts.items()):
            status, id = start.named(name)
            if status == 404 and response.status_code == 200:
                id = uuid.UUID(response.json()["Results"][number]["Target"]["emailserverprofileid"])
            profiles[id] = (profiles[id][0] if status == 200 else name, text)
        return response, 204 if isUpdate else 200, Model(profiles, start.boxes)

    def step_rename(self):
        id, name = self.profile(), self.name()
        response = self.service.request("PATCH", self.path(id), {"name": name}, If_Match="*")
        if id not in self.model.profiles:
            return response, 404, self.model
        return response, 204, Model(self.model.profiles | {id: (name, self.model.profiles[id][1])}, self.model.boxes)

    def step_delete(self):
        key = self.key()
        status, id = self.model.named(key)
        response = self.service.request("DELETE", self.path(key))
        if status != 200:
            return response, status, self.model
        self.gone.append(id)
        # Deleting a profile clears the lookups of its mailboxes.
        boxes = {box: None if profile == id else profile for box, profile in self.model.boxes.items()}
        return response, 204, Model({i: p for i, p in self.model.profiles.items() if i != id}, boxes)

    # MARK: Checks after each step

    def check(self, model, step):
        profiles = self.service.get(f"emailserverprofiles?$select=name,description&$filter=startswith(name,'{self.tag}')").json()["value"]
        assert {uuid.UUID(p["emailserverprofileid"]): (p["name"], p["description"]) for p in profiles} == model.profiles, step
        boxes = self.service.get(f"mailboxes?$select=_emailserverprofile_value&$filter=name eq '{self.tag}'").json()["value"]
        assert {uuid.UUID(b["mailboxid"]): b["_emailserverprofile_value"] and uuid.UUID(b["_emailserverprofile_value"]) for b in boxes} == model.boxes, step
        self.model = model

    def go(self, steps):
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("step_")]
        for number in range(steps):
            step = self.random.choice([*kinds, self.step_change, self.step_change_set])
            response, status, model = step()
            assert response.status_code == status, (number, step.__name__, status, response.text, response.request.url, response.request.body)
            self.seen.add(status)
            self.check(model, (number, step.__name__, response.text, response.request.body))


def test_every_way_to_refer_to_a_record(service):
    walk = Walk(service, Random(SEED))
    walk.go(STEPS)
    assert walk.seen >= {200, 204, 404, 412} and walk.model.boxes and walk.gone
