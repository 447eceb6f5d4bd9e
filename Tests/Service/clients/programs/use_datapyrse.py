# ruff: noqa: E402
"""Writes, reads, queries, links and deletes with datapyrse. Prints the results as JSON."""

import json
import sys
from uuid import UUID

import truststore

# The package trusts only the CA certificates of certifi. This makes it trust those of the system.
truststore.inject_into_ssl()

import msal
from datapyrse import Entity, EntityReference, ServiceClient
from datapyrse._entity_reference_collection import EntityReferenceCollection
from datapyrse.query._option_set import OptionSet
from datapyrse.query import ColumnSet, ConditionExpression, ConditionOperator, FilterExpression, OrderExpression, QueryExpression

root, client_id, secret, marker, user = sys.argv[1:]


class Client(ServiceClient):
    """The package can sign in only people in a browser. This class overrides that method, so that a program can sign in."""

    def _acquire_token(self):
        application = msal.ConfidentialClientApplication(client_id, secret, authority=f"{root}/adfs")
        self._access_token = application.acquire_token_for_client([f"{root}/.default"])["access_token"]


def named(client, *columns, **options):
    condition = ConditionExpression("name", ConditionOperator.LIKE, f"{marker}%")
    query = QueryExpression(
        "queue", ColumnSet(list(columns)), criteria=FilterExpression(conditions=[condition]), orders=[OrderExpression("name")], **options)
    return client.retrieve_multiple(query).entities.entities


client = Client(tenant_id="adfs", resource_url=root, pre_fetch_relationship_metadata=True)
found = {"entities": sorted(entity.logical_name for entity in client.metadata.entities)}
owner = EntityReference("systemuser", UUID(user))
attributes = {"emailaddress": None, "incomingemaildeliverymethod": OptionSet("None", 0)}
made = [client.create(Entity("queue", attributes={"name": f"{marker} {n}", **attributes}), tag="t").entity for n in range(3)]
one = client.retrieve("queue", made[0].entity_id, ColumnSet(["name", "ownerid", "statecode"])).entity
found["read"] = [one["name"], str(one["ownerid"].entity_id), one["ownerid"].entity_logical_name, one["statecode"].label]
changed = Entity("queue", entity_id=made[0].entity_id, attributes={"description": "changed", "emailpassword": "s3cret"})
found["changed"] = client.update(changed, suppress_duplicate_detection=True).response.status_code
found["queried"] = [[row["name"], row["description"], row["emailpassword"]] for row in named(client, "name", "description", "emailpassword")]
found["top"] = len(named(client, "name", top_count=2))

team = client.create(Entity("team", attributes={"name": marker})).entity
(target, users) = (EntityReference("team", team.entity_id), EntityReferenceCollection("systemuser", [owner]))
found["members"] = []
for change in (client.associate, client.disassociate):
    change(target, users, "teammembership_association")
    links = QueryExpression("teammembership", ColumnSet(["systemuserid"]), criteria=FilterExpression(conditions=[
        ConditionExpression("teamid", ConditionOperator.EQUAL, team.entity_id)]))
    found["members"].append(len(client.retrieve_multiple(links).entities.entities))
found["deleted"] = [client.delete("team", team.entity_id).was_deleted(), *(client.delete("queue", queue.entity_id).was_deleted() for queue in made)]
found["left"] = len(named(client, "name"))
print(json.dumps(found))
