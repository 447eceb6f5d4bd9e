"""Tries what the metadata says about each attribute of each entity, in reads, queries, creates and updates."""

import functools
import json
import uuid

import pytest
from service import Deployment, refused

PICTURE = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg=="
#: The largest body of a request that writes one record.
ONE_MEBIBYTE = 1 << 20
#: Functions that make a text of a given length, for attributes that need a certain form.
TEXTS = {
    "mimetype": lambda length: f"a/{'b' * ((length - 3) % 102 + 1)}" + "".join(f";{n}={'c' * 99}" for n in "de"[:(length - 3) // 102]),
    "body": lambda length: "eAeA" * (length // 4), "undeliverablefolder": "f".__mul__,
    "incomingserverlocation": "h".__mul__, "outgoingserverlocation": "h".__mul__,
}
#: Statuses that an e-mail gets only from messages and from the router (docs/web-api.md).
STATUSES_OF_MESSAGES = {6, 7, 8}


def attribute_of(name):
    """The attribute that a member of a body sets, such as `objectid` for `objectid_email@odata.bind`."""
    return name.split("@")[0].split("_")[0]


class Truth:
    """The metadata, and functions that write records with the value that a test tries."""

    def __init__(self, deployment):
        self.deployment = deployment
        found = deployment.get("EntityDefinitions?$expand=Attributes").json()["value"]
        self.entities = {e["LogicalName"]: e for e in found}
        self.attributes = {name: {a["LogicalName"]: a for a in e["Attributes"]} for name, e in self.entities.items()}
        self.messages = {name: set() for name in self.entities}
        rows = deployment.get("sdkmessagefilters?$select=primaryobjecttypecode&$expand=sdkmessageid($select=name)").json()["value"]
        for row in rows:
            self.messages[row["primaryobjecttypecode"]].add(row["sdkmessageid"]["name"])
        caller = deployment.get("WhoAmI").json()
        self.me, self.unit = caller["UserId"], str(uuid.uuid4())
        deployment.sql(
            "INSERT INTO org_contoso.businessunit (businessunitid, name, parentbusinessunitid) VALUES (%s, 'Another', %s)", [self.unit, caller["BusinessUnitId"]])

    def send(self, method, path, body):
        return self.deployment.request(method, path, body, Prefer="return=representation")

    @functools.cache
    def options(self, entity):
        """For each attribute of the entity that has options: the values of the options."""
        found = {}
        for kind in ("Picklist", "State", "Status"):
            path = f"EntityDefinitions(LogicalName='{entity}')/Attributes/Microsoft.Dynamics.CRM.{kind}AttributeMetadata?$expand=OptionSet"
            for row in self.deployment.get(path).json()["value"]:
                found[row["LogicalName"]] = [option["Value"] for option in row["OptionSet"]["Options"]]
        return found

    @functools.cache
    def record(self, entity):
        """A record for a lookup, which is not the caller and not the caller's business unit. None if there is none."""
        if entity == "businessunit":
            return self.unit
        key = self.entities[entity]["PrimaryIdAttribute"]
        if "Create" in self.messages[entity]:
            return self.send("POST", self.entities[entity]["EntitySetName"], self.least(entity)).json()[key]
        rows = self.deployment.get(f"{self.entities[entity]['EntitySetName']}?$select={key}").json()["value"]
        return next((row[key] for row in rows if row[key] != self.me), None)

    def least(self, entity):
        """The smallest body that creates a record."""
        name = f"{entity} {uuid.uuid4()}"
        return {
            "systemuser": lambda: {"fullname": name}, "email": dict, "tracelog": dict, "queue": dict, "emailserverprofile": dict,
            "activitymimeattachment": lambda: {"objectid_email@odata.bind": f"/emails({self.record('email')})"},
        }.get(entity, lambda: {"name": name})()

    def create(self, entity, values):
        given = {attribute_of(name) for name in values}
        body = {name: value for name, value in self.least(entity).items() if attribute_of(name) not in given}
        return self.send("POST", self.entities[entity]["EntitySetName"], {**body, **values})

    def update(self, entity, values):
        if entity == "usersettings":
            id = self.me
        elif "Create" in self.messages[entity]:
            id = self.create(entity, {}).json()[self.entities[entity]["PrimaryIdAttribute"]]
        else:
            id = self.record(entity)
        return self.send("PATCH", f"{self.entities[entity]['EntitySetName']}({id})", values)

    def writers(self, entity):
        """The writes that the entity supports, each with the member of the metadata that says whether an attribute can be written."""
        messages = self.messages[entity]
        return [(member, write) for message, member, write in (
            ("Create", "IsValidForCreate", self.create), ("Update", "IsValidForUpdate", self.update)) if message in messages]

    def writer(self, entity, attribute):
        return next((write for member, write in self.writers(entity) if attribute[member]), None)

    def text(self, attribute):
        return TEXTS.get(attribute["LogicalName"], "v".__mul__)(min(12, attribute["MaxLength"]))

    def samples(self, entity, attribute):
        """Values of an attribute that are not its default, each with the body that writes it."""
        name, kind = attribute["LogicalName"], attribute["@odata.type"].split(".")[-1].removesuffix("AttributeMetadata")
        if kind == "Lookup":
            several = len(attribute["Targets"]) > 1 and attribute["AttributeType"] != "Owner"
            known = [(target, self.record(target)) for target in attribute["Targets"] if target in self.entities]
            return [(id, {f"{name}_{target}@odata.bind" if several else f"{name}@odata.bind": f"/{self.entities[target]['EntitySetName']}({id})"})
                    for target, id in known if id]
        values = {
            "String": lambda: [self.text(attribute)], "Memo": lambda: [self.text(attribute)], "Boolean": lambda: [True, False],
            "Integer": lambda: [attribute["MinValue"], attribute["MaxValue"]], "BigInt": lambda: [7], "Decimal": lambda: [1.5],
            "DateTime": lambda: ["2001-01-31T12:00:00Z"], "UniqueIdentifier": lambda: [self.unit if (entity, name) == ("usersettings", "businessunitid") else str(uuid.uuid4())], "EntityName": lambda: [entity],
            "Image": lambda: [PICTURE],
        }.get(kind, lambda: self.options(entity)[name])()
        return [(value, {name: value}) for value in values]


def read_name(attribute):
    name = attribute["LogicalName"]
    return f"_{name}_value" if attribute["@odata.type"].endswith(".LookupAttributeMetadata") else name


@pytest.fixture(scope="module")
def truth():
    deployment = Deployment()
    try:
        yield Truth(deployment.start())
    finally:
        deployment.remove()


ENTITIES = (
    "emailserverprofile", "mailbox", "queue", "usersettings", "systemuser", "team", "businessunit", "organization", "transactioncurrency", "role",
    "audit", "email", "activityparty", "activitymimeattachment", "tracelog", "sdkmessage", "sdkmessagefilter", "systemuserroles", "teamroles",
    "teammembership")


def test_every_entity_is_tried(truth):
    assert set(ENTITIES) == set(truth.entities)


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_is_read_filtered_and_sorted(truth, entity):
    collection = truth.entities[entity]["EntitySetName"]
    for name, attribute in truth.attributes[entity].items():
        column = read_name(attribute)
        selected = truth.deployment.get(f"{collection}?$top=5&$select={column}")
        # A read returns null for an encrypted attribute.
        if attribute["IsEncrypted"]:
            assert not attribute["IsValidForRead"] and {row[column] for row in selected.json()["value"]} <= {None}, name
        else:
            assert (selected.status_code == 200) == attribute["IsValidForRead"] == attribute["IsRetrievable"] == attribute["IsValidForGrid"], name
        filtered = truth.deployment.get(f"{collection}?$top=1&$filter={column} ne null")
        assert (filtered.status_code == 200) == attribute["IsFilterable"] == attribute["IsValidForAdvancedFind"]["Value"], (name, filtered.text)
        ordered = truth.deployment.get(f"{collection}?$top=1&$orderby={column}")
        assert (ordered.status_code == 200) == attribute["IsSortableEnabled"]["Value"], (name, ordered.text)
        if attribute["IsSearchable"]:
            assert truth.deployment.get(f"{collection}?$top=1&$filter=contains({column},'x')").status_code == 200, name


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_is_written(truth, entity):
    for name, attribute in truth.attributes[entity].items():
        column = read_name(attribute)
        for member, write in truth.writers(entity):
            taken = []
            for value, body in truth.samples(entity, attribute):
                response = write(entity, body)
                assert response.status_code in (200, 201) or 400 <= response.status_code < 404, (name, member, value, response.text)
                row = response.json()
                # overriddencreatedon becomes the record's createdon.
                found = row.get("createdon") if name == "overriddencreatedon" else row.get(column)
                taken.append(response.ok and (found == value or attribute["IsEncrypted"] and found is None))
            own = truth.create(entity, {}).json()[column] if "Create" in truth.messages[entity] and attribute["IsValidForRead"] else None
            given = [value for value, _ in truth.samples(entity, attribute)]
            if not attribute[member] and own in given and own is not None:
                continue  # The service itself sets this value, so the test can't tell whether the body set it.
            assert any(taken) == attribute[member], (name, member, taken)


@pytest.mark.parametrize("entity", ENTITIES)
def test_limits_of_texts_and_numbers(truth, entity):
    untried = set()
    for name, attribute in truth.attributes[entity].items():
        write = truth.writer(entity, attribute)
        if not write or attribute["LogicalName"] == truth.entities[entity]["PrimaryIdAttribute"]:
            continue
        if (limit := attribute.get("MaxLength")) is not None:
            if limit >= ONE_MEBIBYTE - 1000:
                untried.add(name)
                continue
            text = TEXTS.get(name, "v".__mul__)
            assert write(entity, {name: text(limit)}).ok, name
            assert write(entity, {name: text(limit + 1)}).status_code == 400, name
        if "MinValue" in attribute:
            low, high = attribute["MinValue"], attribute["MaxValue"]
            assert all(write(entity, {name: value}).ok for value in (low, high)), name
            assert all(write(entity, {name: value}).status_code == 400 for value in (low - 1, high + 1)), name
    # A request with a text of this length would be too large, so these attributes are not tried.
    assert untried == {
        "mailbox": {"exchangesyncstatexml", "folderhierarchy"}, "usersettings": {"personalizationsettings"}, "email": {"description"},
        "activitymimeattachment": {"body"}, "tracelog": {"traceactionxml", "tracedetailxml", "traceparameterxml"}}.get(entity, set())


@pytest.mark.parametrize("entity", ENTITIES)
def test_options_and_defaults(truth, entity):
    made = truth.create(entity, {}).json() if "Create" in truth.messages[entity] else {}
    for name, attribute in truth.attributes[entity].items():
        write = truth.writer(entity, attribute)
        if not write:
            continue
        for option in truth.options(entity).get(name, []):
            if not (entity == "email" and name == "statuscode" and option in STATUSES_OF_MESSAGES):
                response = write(entity, {name: option})
                assert response.ok and response.json()[name] == option, (name, option, response.text)
        if name in truth.options(entity):
            refused(write(entity, {name: 77_777}), 400, "0x80040203")
        for member in ("DefaultFormValue", "DefaultValue"):
            if made and member in attribute and not attribute["@odata.type"].endswith(".EntityNameAttributeMetadata"):
                assert made[name] == attribute[member], (name, made[name], attribute[member])


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_is_required(truth, entity):
    if "Create" in truth.messages[entity]:
        # An attribute that the system requires must be given, or gets a value. An attribute that only forms require can be left out.
        made = truth.create(entity, {}).json()
        for name, attribute in truth.attributes[entity].items():
            if attribute["RequiredLevel"]["Value"] == "SystemRequired" and attribute["IsValidForCreate"] and attribute["IsValidForRead"]:
                assert made[read_name(attribute)] is not None, name
        for name in map(attribute_of, truth.least(entity)):
            body = {other: value for other, value in truth.least(entity).items() if attribute_of(other) != name}
            refused(truth.send("POST", truth.entities[entity]["EntitySetName"], body), 400, "0x80040203")
            assert truth.attributes[entity][name]["RequiredLevel"]["Value"] == "SystemRequired", name
    for name, attribute in truth.attributes[entity].items():
        write = truth.writer(entity, attribute)
        if not write or name == truth.entities[entity]["PrimaryIdAttribute"]:
            continue
        lookup = attribute["@odata.type"].endswith(".LookupAttributeMetadata")
        several = lookup and len(attribute["Targets"]) > 1 and attribute["AttributeType"] != "Owner"
        body = {f"{name}_{attribute['Targets'][0]}@odata.bind" if several else f"{name}@odata.bind" if lookup else name: None}
        # In a create, the server fills in a lookup. So only an update can show that null is accepted or refused.
        response = (truth.update if lookup and attribute["IsValidForUpdate"] and "Update" in truth.messages[entity] else write)(entity, body)
        required = attribute["RequiredLevel"]["Value"] == "SystemRequired"
        assert response.ok != required, (name, response.text)


@pytest.mark.parametrize("entity", ENTITIES)
def test_names_of_other_metadata(truth, entity):
    """Each name of an entity, an attribute or a record in the metadata leads to something that exists."""
    definition, get = truth.entities[entity], truth.deployment.get
    assert get(f"{definition['EntitySetName']}?$top=1").status_code == 200 and definition["LogicalCollectionName"] == definition["EntitySetName"]
    assert definition["PrimaryIdAttribute"] in truth.attributes[entity] and definition["PrimaryNameAttribute"] in (None, *truth.attributes[entity])
    assert definition["PrimaryImageAttribute"] in (None, *truth.attributes[entity])
    numbers = [a["ColumnNumber"] for a in truth.attributes[entity].values()]
    assert sorted(numbers) == list(range(1, len(numbers) + 1))
    for name, attribute in truth.attributes[entity].items():
        assert set(attribute.get("Targets", [])) <= set(truth.entities), name
        assert attribute["AttributeOf"] is None or attribute["IsLogical"] and attribute["AttributeOf"] in truth.attributes[entity], name
        assert attribute["IsPrimaryId"] == (name == definition["PrimaryIdAttribute"]) and attribute["IsPrimaryName"] == (name == definition["PrimaryNameAttribute"])
        assert attribute["SchemaName"].lower() == name and attribute["EntityLogicalName"] == entity, name
        # All metadata says that it can't be customized.
        assert not any(attribute[m]["Value"] or attribute[m]["CanBeChanged"] for m in ("IsCustomizable", "IsRenameable")), name
        assert not (attribute["IsSecured"] or attribute["IsCustomAttribute"]) and attribute["IsManaged"], name
    # A System Administrator has every privilege that the metadata names.
    own = get(f"systemusers({truth.me})/Microsoft.Dynamics.CRM.RetrieveUserPrivileges()").json()["RolePrivileges"]
    assert {(p["PrivilegeId"], p["Name"]) for p in definition["Privileges"]} <= {(p["PrivilegeId"], p["PrivilegeName"]) for p in own}
    kinds = {"Create": "Create", "Retrieve": "Read", "Update": "Write", "Delete": "Delete", "Assign": "Assign", "GrantAccess": "Share"}
    assert {p["PrivilegeType"] for p in definition["Privileges"]} == {kinds[message] for message in truth.messages[entity] & set(kinds)}
    assert definition["HasEmailAddresses"] == bool({"emailaddress", "internalemailaddress"} & set(truth.attributes[entity]))
    assert definition["IsActivity"] == (entity == "email") and (definition["ActivityTypeMask"] > 0) == definition["IsActivity"]
    party = truth.attributes["activityparty"]["partyid"]["Targets"]
    assert definition["IsActivityParty"] == (entity in party)
    assert definition["IsOptimisticConcurrencyEnabled"] == ("Update" in truth.messages[entity])
    assert (definition["OwnershipType"] == "UserOwned") == (truth.attributes[entity].get("ownerid", {}).get("AttributeType") == "Owner") == ("Assign" in truth.messages[entity])
    assert definition["IsStateModel"] == ("statecode" in truth.attributes[entity])
    assert definition["IsIntersect"] == (definition["OwnershipType"] == "None")


@pytest.mark.parametrize("entity", ENTITIES)
def test_what_is_audited(truth, entity):
    definition, attributes = truth.entities[entity], truth.attributes[entity]
    settings = dict(truth.deployment.sql("SELECT attribute, is_enabled FROM org_contoso.audit_setting WHERE entity = %s", [entity]))
    assert definition["IsAuditEnabled"] == {"Value": settings.get("", False), "CanBeChanged": False, "ManagedPropertyLogicalName": "canmodifyauditsettings"}
    audited = {name for name, attribute in attributes.items() if attribute["IsAuditEnabled"]["Value"]}
    assert not audited & {name for name, is_enabled in settings.items() if not is_enabled}
    if not settings:
        assert not audited
    for name, attribute in attributes.items():
        if not attribute["IsValidForUpdate"] or "Update" not in truth.messages[entity]:
            continue
        for value, body in truth.samples(entity, attribute):
            response = truth.update(entity, body)
            if not response.ok:
                continue
            row = response.json()
            said = truth.deployment.get(f"audits?$filter=objectid eq {row[definition['PrimaryIdAttribute']]} and operation eq 2&$select=changedata").json()["value"]
            changes = [change for one in said for change in json.loads(one["changedata"])["changedAttributes"] if change["logicalName"] == name]
            # A sample may be the present value, which makes no entry of the audit.
            assert not changes or name in audited or attribute["IsEncrypted"] and all(set(change) == {"logicalName", "operation"} for change in changes), name
            if changes and name in audited:
                break
        else:
            assert name not in audited, name


def test_encrypted_attributes_are_in_no_filter_order_or_form_of_change(truth):
    encrypted = {(entity, name) for entity, attributes in truth.attributes.items() for name, a in attributes.items() if a["IsEncrypted"]}
    assert encrypted == {
        ("emailserverprofile", "incomingpassword"), ("emailserverprofile", "outgoingpassword"), ("mailbox", "password"), ("queue", "emailpassword"),
        ("usersettings", "emailpassword")}
    for entity, name in encrypted:
        attribute = truth.attributes[entity][name]
        refused(truth.deployment.request("PUT", f"EntityDefinitions(LogicalName='{entity}')/Attributes(LogicalName='{name}')", attribute), 405, "0x8005F100")
        assert not (attribute["IsAuditEnabled"]["Value"] or attribute["IsCustomizable"]["Value"] or attribute["IsSearchable"]), name
