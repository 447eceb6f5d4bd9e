"""The relationship names that Microsoft documents, in the metadata, in queries, in writes and over SOAP. Former names still work."""

import uuid
import xml.etree.ElementTree as ET

import pytest
from service import refused
from soap import call, operation, reference

EDM = "{http://docs.oasis-open.org/odata/ns/edm}"
#: From Microsoft's reference: entity, lookup, referenced entity, schema name, navigation property. The schema name is also the name of the
#: collection at the other end.
DOCUMENTED = [row.split() for row in """
emailserverprofile createdby systemuser lk_emailserverprofile_createdby createdby
emailserverprofile createdonbehalfby systemuser lk_emailserverprofile_createdonbehalfby createdonbehalfby
emailserverprofile modifiedby systemuser lk_emailserverprofile_modifiedby modifiedby
emailserverprofile modifiedonbehalfby systemuser lk_emailserverprofile_modifiedonbehalfby modifiedonbehalfby
emailserverprofile organizationid organization organization_emailserverprofile organizationid
emailserverprofile owningbusinessunit businessunit business_unit_emailserverprofile owningbusinessunit
emailserverprofile owningteam team team_emailserverprofile owningteam
mailbox createdby systemuser lk_mailbox_createdby createdby
mailbox createdonbehalfby systemuser lk_mailbox_createdonbehalfby createdonbehalfby
mailbox modifiedby systemuser lk_mailbox_modifiedby modifiedby
mailbox modifiedonbehalfby systemuser lk_mailbox_modifiedonbehalfby modifiedonbehalfby
mailbox organizationid organization organization_mailbox organizationid
mailbox owningbusinessunit businessunit business_unit_mailbox owningbusinessunit
mailbox owningteam team team_mailbox owningteam
mailbox owninguser systemuser user_mailbox owninguser
mailbox emailserverprofile emailserverprofile emailserverprofile_mailbox emailserverprofile
mailbox regardingobjectid queue mailbox_regarding_queue regardingobjectid_queue
mailbox regardingobjectid systemuser mailbox_regarding_systemuser regardingobjectid
queue businessunitid businessunit business_unit_queues businessunitid
queue createdby systemuser lk_queuebase_createdby createdby
queue createdonbehalfby systemuser lk_queue_createdonbehalfby createdonbehalfby
queue defaultmailbox mailbox queue_defaultmailbox_mailbox defaultmailbox
queue modifiedby systemuser lk_queuebase_modifiedby modifiedby
queue modifiedonbehalfby systemuser lk_queue_modifiedonbehalfby modifiedonbehalfby
queue organizationid organization organization_queues organizationid
queue owningbusinessunit businessunit business_unit_queues2 owningbusinessunit
queue primaryuserid systemuser queue_primary_user primaryuserid
queue transactioncurrencyid transactioncurrency TransactionCurrency_Queue transactioncurrencyid
email createdby systemuser lk_email_createdby createdby_email
email createdonbehalfby systemuser lk_email_createdonbehalfby createdonbehalfby_email
email emailsender queue Queue_Email_EmailSender emailsender_queue
email emailsender systemuser SystemUser_Email_EmailSender emailsender_systemuser
email modifiedby systemuser lk_email_modifiedby modifiedby_email
email modifiedonbehalfby systemuser lk_email_modifiedonbehalfby modifiedonbehalfby_email
email owningbusinessunit businessunit business_unit_email_activities owningbusinessunit_email
email owningteam team team_email owningteam_email
email owninguser systemuser user_email owninguser_email
email parentactivityid email email_email_parentactivityid parentactivityid
email receivingmailboxid mailbox mailbox_email_ReceivingMailboxId ReceivingMailboxId_Email
email sendermailboxid mailbox email_sendermailboxid_mailbox sendermailboxid_email
email transactioncurrencyid transactioncurrency TransactionCurrency_Email transactioncurrencyid_email
activityparty activityid email email_activity_parties activityid_email
activityparty partyid queue queue_activity_parties partyid_queue
activityparty partyid systemuser system_user_activity_parties partyid_systemuser
activitymimeattachment objectid email email_activity_mime_attachment objectid_email
tracelog createdby systemuser lk_tracelog_createdby createdby
tracelog createdonbehalfby systemuser lk_tracelog_createdonbehalfby createdonbehalfby
tracelog modifiedby systemuser lk_tracelog_modifiedby modifiedby
tracelog modifiedonbehalfby systemuser lk_tracelog_modifiedonbehalfby modifiedonbehalfby
tracelog organizationid organization organization_tracelog organizationid
tracelog parenttracelogid tracelog tracelog_parent_tracelog parenttracelogid
tracelog regardingobjectid emailserverprofile tracelog_EmailServerProfile regardingobjectid_emailserverprofile
tracelog regardingobjectid mailbox tracelog_Mailbox regardingobjectid_mailbox
usersettings createdby systemuser lk_usersettingsbase_createdby createdby
usersettings createdonbehalfby systemuser lk_usersettings_createdonbehalfby createdonbehalfby
usersettings modifiedby systemuser lk_usersettingsbase_modifiedby modifiedby
usersettings modifiedonbehalfby systemuser lk_usersettings_modifiedonbehalfby modifiedonbehalfby
usersettings transactioncurrencyid transactioncurrency transactioncurrency_usersettings transactioncurrencyid
systemuser businessunitid businessunit business_unit_system_users businessunitid
team administratorid systemuser lk_teambase_administratorid administratorid
team businessunitid businessunit business_unit_teams businessunitid
businessunit parentbusinessunitid businessunit business_unit_parent_business_unit parentbusinessunitid
role businessunitid businessunit business_unit_roles businessunitid
role parentrootroleid role role_parent_root_role parentrootroleid
audit callinguserid systemuser lk_audit_callinguserid callinguserid
audit userid systemuser lk_audit_userid userid
sdkmessagefilter sdkmessageid sdkmessage sdkmessageid_sdkmessagefilter sdkmessageid
""".strip().splitlines()]
#: For each entity: the navigation property of its owner, and the collection at the user or team.
OWNERS = [("emailserverprofile", "ownerid", "owner_emailserverprofile"), ("mailbox", "ownerid", "owner_mailbox"), ("queue", "ownerid", "owner_queues"), ("email", "ownerid_email", "owner_emails")]
#: Other names that requests may use: entity, navigation property, entity of the collection, collection.
FORMER = [
    ("email", "createdby", "systemuser", "lk_email_createdby"), ("email", "owninguser", "systemuser", "owner_email_systemuser"), ("email", "ownerid", "team", "owner_email_team"),
    ("mailbox", "regardingobjectid_systemuser", "systemuser", "systemuser_mailbox_regardingobjectid"), ("mailbox", "regardingobjectid_queue", "queue", "queue_mailbox_regardingobjectid"),
    ("queue", "defaultmailbox", "mailbox", "mailbox_queue_defaultmailbox"), ("queue", "primaryuserid", "systemuser", "systemuser_queue_primaryuserid"),
    ("queue", "createdby", "systemuser", "lk_queue_createdby"), ("tracelog", "regardingobjectid_mailbox", "mailbox", "mailbox_tracelog_regardingobjectid"),
    ("email", "receivingmailboxid", "mailbox", "mailbox_email_sendermailboxid"), ("activityparty", "partyid_queue", "queue", "queue_activityparty_partyid"),
    ("activitymimeattachment", "objectid", "email", "email_activity_mime_attachment"), ("activitymimeattachment", "objectid_activitypointer", "email", "email_activity_parties"),
]


@pytest.fixture(scope="module")
def entities(service):
    found = service.get("EntityDefinitions?$select=LogicalName,EntitySetName,PrimaryIdAttribute&$expand=ManyToOneRelationships,OneToManyRelationships").json()["value"]
    return {e["LogicalName"]: e for e in found}


def test_the_metadata_have_the_documented_names(service, entities):
    every = {(e, r["ReferencingAttribute"], r["ReferencedEntity"], r["SchemaName"], r["ReferencingEntityNavigationPropertyName"])
             for e, found in entities.items() for r in found["ManyToOneRelationships"]}
    assert {tuple(row) for row in DOCUMENTED} <= every
    # Microsoft's reference does not name the other relationships, or derives their names from the owner.
    assert {(e, a) for e, a, *_ in every - {tuple(row) for row in DOCUMENTED}} == {
        (e, "ownerid") for e, _, _ in OWNERS} | {("queue", "owningteam"), ("queue", "owninguser"), ("emailserverprofile", "owninguser")}
    names = [r["SchemaName"] for found in entities.values() for r in found["OneToManyRelationships"]]
    assert len(names) == len(set(names)) == len(every)
    for _, _, entity, name, _ in DOCUMENTED:
        assert name in {r["ReferencedEntityNavigationPropertyName"] for r in entities[entity]["OneToManyRelationships"]}
        assert service.get(f"RelationshipDefinitions(SchemaName='{name}')").json()["SchemaName"] == name
    for entity, property, collection in OWNERS:
        assert {r["ReferencingEntityNavigationPropertyName"] for r in entities[entity]["ManyToOneRelationships"] if r["ReferencingAttribute"] == "ownerid"} == {property}
        for end in ("systemuser", "team"):
            assert collection in {r["ReferencedEntityNavigationPropertyName"] for r in entities[end]["OneToManyRelationships"]}


def test_the_document_has_the_documented_names(service):
    types = {t.get("Name"): t for t in ET.fromstring(service.get("$metadata").content).iter(f"{EDM}EntityType")}

    def names(entity):
        return {n.get("Name"): n for n in types[entity].findall(f"{EDM}NavigationProperty")}
    for entity, _, target, schema, property in DOCUMENTED:
        assert (names(entity)[property].get("Partner"), names(target)[schema].get("Partner")) == (schema, property)
    for entity, property, collection in OWNERS:
        assert names(entity)[property].get("Type") == "mscrm.principal" and names("principal")[collection].get("Partner") == property


@pytest.mark.parametrize("entity, property, target, collection", [(e, p, t, s) for e, _, t, s, p in DOCUMENTED] + [(e, p, "team", c) for e, p, c in OWNERS] + FORMER)
def test_each_name_is_expanded_followed_and_filtered(service, entities, entity, property, target, collection):
    own, other = entities[entity]["EntitySetName"], entities[target]["EntitySetName"]
    id, key = entities[entity]["PrimaryIdAttribute"], entities[target]["PrimaryIdAttribute"]
    (record,) = service.get(f"{own}?$select={id}&$expand={property}($select={key})&$top=1").json()["value"] or [{property: None}]
    assert property in record
    if not property.startswith("ownerid"):
        assert service.get(f"{own}?$select={id}&$filter={property}/{key} ne null&$top=1").status_code == 200
    for row in service.get(f"{other}?$select={key}&$expand={collection}($select=versionnumber;$top=1)&$top=1").json()["value"]:
        assert isinstance(row[collection], list)
        assert service.get(f"{other}({row[key]})/{collection}/$count").status_code == 200
        assert service.get(f"{other}?$filter={collection}/any()&$select={key}&$top=1").status_code == 200


def test_writes_take_the_documented_names(service):
    me = service.get("WhoAmI").json()["UserId"]
    team = service.create("teams", {"name": f"names {uuid.uuid4()}"})
    first = service.create("emails", {"subject": "first", "ownerid_email@odata.bind": f"/teams({team})"})
    second = service.create("emails", {"subject": "second", "ownerid@odata.bind": f"/systemusers({me})", "parentactivityid@odata.bind": f"/emails({first})"})
    assert service.get(f"emails({first})?$select=_ownerid_value").json()["_ownerid_value"] == team
    annotated = service.get(f"emails({second})?$select=_ownerid_value,_createdby_value", Prefer='odata.include-annotations="*"').json()
    assert annotated["_createdby_value@Microsoft.Dynamics.CRM.associatednavigationproperty"] == "createdby_email"
    assert annotated["_ownerid_value@Microsoft.Dynamics.CRM.associatednavigationproperty"] == "ownerid_email"
    assert service.request("PUT", f"emails({second})/ownerid_email/$ref", {"@odata.id": f"teams({team})"}).status_code == 204
    assert {e["subject"] for e in service.get(f"teams({team})/owner_emails?$select=subject").json()["value"]} == {"first", "second"}
    assert service.get(f"emails({second})?$select=subject&$expand=ownerid_email($select=teamid)").json()["ownerid_email"]["teamid"] == team
    refused(service.request("PATCH", f"emails({second})", {"ownerid@odata.bind": f"/teams({team})", "ownerid_email@odata.bind": f"/teams({team})"}), 400, "0x80048D19")


def test_a_property_leads_to_records_of_its_entity_alone(service):
    """The owner of a mailbox is a user or a queue, and each has a separate navigation property."""
    address = f"{uuid.uuid4().hex}@names.test"
    queue = service.create("queues", {"name": address, "emailaddress": address})
    box = service.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    assert service.get(f"mailboxes({box})/regardingobjectid_queue?$select=name").json()["queueid"] == queue
    assert service.get(f"mailboxes({box})/regardingobjectid_queue/$ref").json()["@odata.id"].endswith(f"queues({queue})")
    for property in ("regardingobjectid", "regardingobjectid_systemuser"):
        for part in ("", "/$ref"):
            answer = service.get(f"mailboxes({box})/{property}{part}")
            assert (answer.status_code, answer.content) == (204, b"")
        assert service.get(f"mailboxes({box})?$select=name&$expand={property}($select=fullname)").json()[property] is None
    email = service.create("emails", {"email_activity_parties": [{"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue})"}]})
    assert service.get(f"emails({email})/emailsender_systemuser").status_code == 204
    assert service.get(f"emails({email})/emailsender_queue?$select=name").json()["queueid"] == queue


@pytest.mark.parametrize("name", ["queue_primary_user", "systemuser_queue_primaryuserid"])
def test_associating_takes_the_documented_names(service, name):
    queue = service.create("queues", {"name": f"names {uuid.uuid4()}"})
    me = service.get("WhoAmI").json()["UserId"]

    def primary():
        return service.get(f"queues({queue})?$select=_primaryuserid_value").json()["_primaryuserid_value"]
    assert service.request("DELETE", f"queues({queue})/primaryuserid/$ref").status_code == 204 and primary() is None
    related = f'<relatedEntities><x:EntityReference>{reference("systemuser", me)}</x:EntityReference></relatedEntities>'
    relationship = f'<relationship><x:PrimaryEntityRole i:nil="true"/><x:SchemaName>{name}</x:SchemaName></relationship>'
    answer = call(service, operation("Associate", f"<entityName>queue</entityName><entityId>{queue}</entityId>{relationship}{related}"))
    assert answer.tag.endswith("AssociateResponse") and primary() == me


def test_the_description_has_the_documented_names(service):
    schemas = service.get("$openapi").json()["components"]["schemas"]
    assert "ownerid_email@odata.bind" in schemas["email_create"]["properties"] and "ownerid@odata.bind" not in schemas["email_create"]["properties"]
    assert {"regardingobjectid_mailbox@odata.bind", "regardingobjectid_emailserverprofile@odata.bind"} <= set(schemas["tracelog_create"]["properties"])
