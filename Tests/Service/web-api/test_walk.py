"""A random walk through all ways to write a record. After each step, the response, the readable values and the contents of cells are compared with a model."""

import os
import secrets
import uuid
from random import Random
from types import SimpleNamespace
from xml.sax.saxutils import escape

import soap

from sample import SEED, length

STEPS = int(os.environ.get("FIELDSEAL_STEPS", length(160, 1_000)))
SECRETS = ["incomingpassword", "outgoingpassword"]
TEXTS = ["", "p", "  spaces kept  ", "päss 🔑 word", "x" * 250, "null", None]


class Walk:
    def __init__(self, service, random):
        self.service, self.random = service, random
        self.model, self.etags, self.gone = {}, {}, []

    # MARK: Random parts

    def id(self):
        """The id of a record, of a deleted record, or an id that no record ever had."""
        known = list(self.model) if self.random.random() < 0.7 else self.gone
        return self.random.choice(known) if known else str(uuid.UUID(int=self.random.getrandbits(128), version=4))

    def fields(self):
        body = {a: self.random.choice(TEXTS) for a in SECRETS if self.random.random() < 0.5}
        body |= {a: f"{a} {self.random.randint(0, 9)}" for a in ("name", "description") if self.random.random() < 0.5}
        if self.random.random() < 0.1:
            # A value that makes the service refuse the record, or the whole request.
            body |= self.random.choice([{"outgoingpassword": "y" * 251}, {"incomingpassword": 1}, {"nosuch": 1}, {"outgoingportnumber": "x"}])
        return body

    @staticmethod
    def is_valid(body):
        return "nosuch" not in body and "outgoingportnumber" not in body and body.get("incomingpassword") != 1 and len(body.get("outgoingpassword") or "") <= 250

    # MARK: The model

    @staticmethod
    def written(record, body):
        # The service stores an empty text as null.
        values = {a: v or None for a, v in body.items()}
        return {"name": None, "description": None, **{a: None for a in SECRETS}, **(record or {}), **values}

    def create(self, model, id, body):
        """Models a create. Returns (status, the model afterwards)."""
        if not self.is_valid(body):
            return 400, model
        return (412, model) if id in model else (204, model | {id: self.written(None, body)})

    def patch(self, model, id, body, isUpdateOnly=False, isCreateOnly=False):
        if not self.is_valid(body):
            return 400, model
        if id not in model and isUpdateOnly:
            return 404, model
        if id in model and isCreateOnly:
            return 412, model
        return 204, model | {id: self.written(model.get(id), body)}

    def delete(self, model, id):
        return (404, model) if id not in model else (204, {i: r for i, r in model.items() if i != id})

    def changes(self):
        """Several single writes: [(request, status)], and the model after all of them."""
        model, result = self.model, []
        for _ in range(self.random.randint(1, 4)):
            id, body = self.id(), self.fields()
            kind = self.random.choice(["POST", "PATCH", "PATCH", "DELETE"])
            if kind == "POST":
                status, model = self.create(model, id, body)
                request = {"method": "POST", "url": "emailserverprofiles", "body": body | {"emailserverprofileid": id}}
            elif kind == "PATCH":
                isUpdateOnly = self.random.random() < 0.5
                status, model = self.patch(model, id, body, isUpdateOnly)
                request = {"method": "PATCH", "url": f"emailserverprofiles({id})", "body": body, "headers": {"If-Match": "*"} if isUpdateOnly else {}}
            else:
                status, model = self.delete(model, id)
                request = {"method": "DELETE", "url": f"emailserverprofiles({id})"}
            result.append((request, status))
        return result, model

    # MARK: Steps. Each one sends requests, and returns (response, expected status, the model afterwards).

    def step_create(self):
        id, body = self.id(), self.fields()
        status, model = self.create(self.model, id, body)
        return self.service.request("POST", "emailserverprofiles", body | {"emailserverprofileid": id}), status, model

    def step_patch(self):
        id, body, mode = self.id(), self.fields(), self.random.choice(["", "only update", "only create", "this version", "an old version"])
        headers = {"only update": {"If_Match": "*"}, "only create": {"If_None_Match": "*"}, "this version": {"If_Match": self.etags.get(id, 'W/"1"')},
                   "an old version": {"If_Match": 'W/"1"'}}.get(mode, {})
        status, model = self.patch(self.model, id, body, isUpdateOnly="version" in mode or mode == "only update", isCreateOnly=mode == "only create")
        if mode == "an old version" and id in self.model and self.is_valid(body):
            status, model = 412, self.model
        return self.service.request("PATCH", f"emailserverprofiles({id})", body, **headers), status, model

    def step_property(self):
        id, attribute = self.id(), self.random.choice(["description", *SECRETS])
        value = self.random.choice(TEXTS) if self.random.random() < 0.7 else None
        body = {attribute: value}
        status, model = self.patch(self.model, id, body, isUpdateOnly=True)
        path = f"emailserverprofiles({id})/{attribute}"
        if value is None:
            return self.service.request("DELETE", path), status, model
        return self.service.request("PUT", path, {"value": value}), status, model

    def step_delete(self):
        id = self.id()
        headers = self.random.choice([{}, {"If_Match": "*"}, {"If_Match": 'W/"1"'}])
        status, model = self.delete(self.model, id)
        if status == 204 and "1" in str(headers):
            status, model = 412, self.model
        return self.service.request("DELETE", f"emailserverprofiles({id})", **headers), status, model

    def step_change_set(self):
        changes, model = self.changes()
        failed = next((status for _, status in changes if status >= 400), None)
        requests = [r | {"id": str(n), "atomicityGroup": "g"} for n, (r, _) in enumerate(changes)]
        response = self.service.request("POST", "$batch", {"requests": requests}, Content_Type="application/json")
        answered = [r["status"] for r in response.json()["responses"]]
        if failed:
            # The service parses all bodies before it writes anything, so a malformed body decides the status.
            assert answered == [400 if any(status == 400 for _, status in changes) else failed], (answered, changes)
        else:
            assert answered == [204] * len(changes), (response.text, changes)
        # A change set that fails has the status of the part that failed.
        return response, answered[0] if failed else 200, self.model if failed else model

    def step_batch(self):
        """A batch without change sets. It ends at the first failure, or continues after it."""
        isGoingOn = self.random.random() < 0.5
        changes, _ = self.changes()
        model, statuses = self.model, []
        for request, _ in changes:
            body, id = request.get("body", {}), (request.get("body") or {}).get("emailserverprofileid") or request["url"].split("(")[-1].rstrip(")")
            body = {a: v for a, v in body.items() if a != "emailserverprofileid"}
            isUpdateOnly = bool(request.get("headers"))
            status, model = {"POST": lambda: self.create(model, id, body), "PATCH": lambda: self.patch(model, id, body, isUpdateOnly), "DELETE": lambda: self.delete(model, id)}[request["method"]]()
            statuses.append(status)
            if status >= 400 and not isGoingOn:
                break
        requests = [r | {"id": str(n)} for n, (r, _) in enumerate(changes)]
        headers = {"Prefer": "odata.continue-on-error"} if isGoingOn else {}
        response = self.service.request("POST", "$batch", {"requests": requests}, Content_Type="application/json", **headers)
        assert [r["status"] for r in response.json()["responses"]][: len(statuses)] == statuses, (response.text, changes)
        ended = next((status for status in statuses if status >= 400), 200)
        return response, 200 if isGoingOn else ended, model

    def step_create_with_mailboxes(self):
        """Creates a record with mailboxes that refer to it: nested in one request, in a change set, or bound as existing records."""
        id, body, mailbox = self.id(), self.fields(), str(uuid.UUID(int=self.random.getrandbits(128), version=4))
        status, model = self.create(self.model, id, body)
        own, child = body | {"emailserverprofileid": id}, {"mailboxid": mailbox, "name": "of a walk", "password": self.random.choice([t for t in TEXTS if len(t or "") <= 200])}
        isChildBad = self.random.random() < 0.2
        if isChildBad:
            child |= {"nosuch": 1}
            status, model = 400, self.model
        how = self.random.choice(["nested", "set", "bound"])
        if how == "nested":
            response = self.service.request("POST", "emailserverprofiles", own | {"emailserverprofile_mailbox": [child]})
        elif how == "set":
            requests = [{"id": "1", "atomicityGroup": "g", "method": "POST", "url": "emailserverprofiles", "body": own},
                        {"id": "2", "atomicityGroup": "g", "method": "POST", "url": "$1/emailserverprofile_mailbox", "body": child}]
            response = self.service.request("POST", "$batch", {"requests": requests}, Content_Type="application/json")
            status = 200 if status == 204 else status
        else:
            made = self.service.request("POST", "mailboxes", child).status_code
            assert made == (400 if isChildBad else 204)
            # The mailbox to bind does not exist, so the record is not created either.
            if isChildBad:
                status = 404 if self.is_valid(body) and id not in self.model else 400 if not self.is_valid(body) else 412
            response = self.service.request("POST", "emailserverprofiles", own | {"emailserverprofile_mailbox@odata.bind": [f"/mailboxes({mailbox})"]})
        read = self.service.get(f"mailboxes({mailbox})?$select=_emailserverprofile_value,ispasswordset")
        if response.status_code < 300:
            assert (read.json()["_emailserverprofile_value"], read.json()["ispasswordset"]) == (id, bool(child["password"]))
        elif how == "bound" and not isChildBad:
            assert read.json()["_emailserverprofile_value"] is None
        else:
            assert read.status_code == 404
        self.service.request("DELETE", f"mailboxes({mailbox})")
        return response, status, model

    def step_multiple(self):
        name = self.random.choice(["CreateMultiple", "UpdateMultiple", "UpsertMultiple"])
        how = {"CreateMultiple": self.create, "UpdateMultiple": lambda m, i, b: self.patch(m, i, b, isUpdateOnly=True), "UpsertMultiple": self.patch}[name]
        model, targets, failed = self.model, [], None
        for id in {self.id() for _ in range(self.random.randint(1, 5))}:
            body = self.fields()
            status, model = how(model, id, body)
            failed = failed or (status if status >= 400 else None)
            targets.append(body | {"emailserverprofileid": id, "@odata.type": "Microsoft.Dynamics.CRM.emailserverprofile"})
        response = self.service.request("POST", f"emailserverprofiles/Microsoft.Dynamics.CRM.{name}", {"Targets": targets})
        if not failed:
            return response, {"CreateMultiple": 200, "UpdateMultiple": 204, "UpsertMultiple": 200}[name], model
        # If several records can't be written, the service may name any of them.
        assert response.status_code >= 400 and response.json()["error"]["message"], response.text
        return response, response.status_code, self.model

    # Writes over SOAP

    @staticmethod
    def target(id, body):
        values = "".join(
            soap.parameter(name, "int" if isinstance(value, int) else "string", value if value is None else escape(str(value)))
            for name, value in body.items())
        return soap.parameter("Target", "x:Entity", soap.entity("emailserverprofile", values, id=id))

    @staticmethod
    def answer(element):
        """A response with the status that the Web API would have, made from a SOAP response."""
        if not element.tag.endswith("Fault"):
            return SimpleNamespace(status_code=204, text="", request=SimpleNamespace(body=None))
        code, number, message = soap.fault(element)
        return SimpleNamespace(status_code={"0x80040217": 404, "0x80040237": 412, "0x80060882": 412}.get(number, 400), text=f"{number} {message}", request=SimpleNamespace(body=None))

    def soap_request(self, request):
        """The body of the SOAP request that has the same effect as a request of a change set."""
        id = (request.get("body") or {}).get("emailserverprofileid") or request["url"].split("(")[-1].rstrip(")")
        body = {name: value for name, value in (request.get("body") or {}).items() if name != "emailserverprofileid"}
        name = {"POST": "Create", "PATCH": "Update" if request.get("headers") else "Upsert", "DELETE": "Delete"}[request["method"]]
        target = soap.parameter("Target", "x:EntityReference", soap.reference("emailserverprofile", id)) if name == "Delete" else self.target(id, body)
        return f"<x:Parameters>{target}</x:Parameters><x:RequestName>{name}</x:RequestName>"

    def step_soap(self):
        changes, model = self.changes()
        request, status = changes[0]
        element = soap.call(self.service, soap.operation("Execute", f"<request>{self.soap_request(request)}</request>"))
        body = {name: value for name, value in (request.get("body") or {}).items() if name != "emailserverprofileid"}
        id = (request.get("body") or {}).get("emailserverprofileid") or request["url"].split("(")[-1].rstrip(")")
        _, model = {
            "POST": lambda: self.create(self.model, id, body), "PATCH": lambda: self.patch(self.model, id, body, bool(request.get("headers"))),
            "DELETE": lambda: self.delete(self.model, id)}[request["method"]]()
        return self.answer(element), status, model

    def step_soap_transaction(self):
        changes, model = self.changes()
        failed = next((status for _, status in changes if status >= 400), None)
        inner = "".join(f"<m:OrganizationRequest>{self.soap_request(request)}</m:OrganizationRequest>" for request, _ in changes)
        content = soap.parameter("Requests", "m:OrganizationRequestCollection", inner)
        element = soap.call(self.service, soap.operation("Execute", f"<request><x:Parameters>{content}</x:Parameters><x:RequestName>ExecuteTransaction</x:RequestName></request>"))
        expected = 400 if any(status == 400 for _, status in changes) else failed or 204
        return self.answer(element), expected, self.model if failed else model

    def step_key(self):
        return self.service.set_key("Key-1!" + secrets.token_urlsafe(40)), 204, self.model

    # MARK: Checks after each step

    def check(self, model, step):
        read = {}
        for record in self.service.get("emailserverprofiles?$select=name,description,incomingpassword,outgoingpassword,isincomingpasswordset,isoutgoingpasswordset").json()["value"]:
            read[record["emailserverprofileid"]] = record
        assert set(read) == set(model), step
        etags = {}
        for id, record in model.items():
            own = read[id]
            assert (own["name"], own["description"], own["incomingpassword"], own["outgoingpassword"]) == (record["name"], record["description"], None, None), step
            assert all(own[f"is{a}set"] == (record[a] is not None) for a in SECRETS), (step, own, record)
            etags[id] = own["@odata.etag"]
            # A record's version changes exactly if the record changes.
            if id in self.etags and self.model.get(id) == record and not self.touched:
                assert etags[id] == self.etags[id], step
            if id in self.etags and self.model.get(id) != record:
                assert etags[id] != self.etags[id], step
        self.gone += [id for id in self.model if id not in model]
        self.model, self.etags = model, etags

    def cells(self):
        opened = {address: value for address, (_, value) in self.service.opened_cells().items() if address.startswith("emailserverprofile(")}
        expected = {f"emailserverprofile({id}).{a}": record[a] for id, record in self.model.items() for a in SECRETS if record[a] is not None}
        assert opened == expected

    def go(self, steps):
        kinds = [getattr(self, name) for name in dir(self) if name.startswith("step_") and name != "step_key"]
        for number in range(steps):
            step = self.step_key if number % 100 == 50 else self.random.choice(kinds)
            before = self.model
            response, status, model = step()
            assert response.status_code == status, (number, step.__name__, response.text, response.request.body)
            # A batch can fail after some of its requests have written.
            self.touched = step.__name__ != "step_key" and model is not before
            self.check(model, (number, step.__name__, response.text, response.request.body))
            if number % 20 == 19 or step == self.step_key:
                self.cells()
        self.cells()


def test_every_way_to_write_a_record(own_service):
    existing = own_service.get("emailserverprofiles?$select=name").json()["value"]
    for record in existing:
        assert own_service.request("DELETE", f"emailserverprofiles({record['emailserverprofileid']})").status_code == 204
    walk = Walk(own_service, Random(SEED))
    walk.go(STEPS)
    assert walk.model and len(walk.gone) > STEPS // 20
    assert not own_service.run("doctor", "--deep", "--json", check=False).returncode
