"""Microsoft's own Python client for Dataverse, unmodified: uses its whole public interface for the tables of this service."""

import asyncio
import datetime
import os
import types
import uuid

import pandas
import pytest
from PowerPlatform.Dataverse.client import DataverseClient
from PowerPlatform.Dataverse.core.errors import HttpError, MetadataError
from PowerPlatform.Dataverse.models.filters import col
from PowerPlatform.Dataverse.models.upsert import UpsertItem
from azure.core.credentials_async import AsyncTokenCredential


class Credential:
    """Stands in for a class of azure-identity: returns a token of this service for the requested scope."""

    def __init__(self, service):
        self.service = service

    def get_token(self, *scopes, **_):
        assert scopes == (f"{self.service.base}/{self.service.dev['organization']}/.default",)
        known = self.service.dev["clients"]["admin"]
        response = self.service.token_response(known["clientId"], known["clientSecret"], scope=scopes[0])
        return types.SimpleNamespace(token=response.json()["access_token"], expires_on=0)


@pytest.fixture(scope="module")
def client(service):
    before = os.environ.get("REQUESTS_CA_BUNDLE")
    os.environ["REQUESTS_CA_BUNDLE"] = service.dev["caFile"]
    with DataverseClient(f"{service.base}/{service.dev['organization']}", Credential(service)) as client:
        yield client
    if before is None:
        del os.environ["REQUESTS_CA_BUNDLE"]


@pytest.fixture
def prefix():
    """A text with which no other test's records begin."""
    return f"dv{uuid.uuid4().hex[:12]}"


def names(records):
    return sorted(record["name"] for record in records)


def test_create_retrieve_update_delete(client, service, prefix):
    profile = client.records.create("emailserverprofile", {"name": f"{prefix} profile", "incomingpassword": "s3cret"})
    id = client.records.create("mailbox", {
        "name": prefix, "password": "s3cret", "incomingemaildeliverymethod": "Server-Side Synchronization or Email Router",
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    record = client.records.retrieve(
        "mailbox", id, select=["name", "password", "ispasswordset", "incomingemaildeliverymethod", "_emailserverprofile_value"],
        expand=["emailserverprofile"], include_annotations="*")
    assert (record["name"], record["password"], record["ispasswordset"]) == (prefix, None, True)
    assert record["incomingemaildeliverymethod"] == 2 and record["_emailserverprofile_value"] == profile
    assert record["_emailserverprofile_value@OData.Community.Display.V1.FormattedValue"] == f"{prefix} profile"
    assert record["emailserverprofile"]["incomingpassword"] is None and record["emailserverprofile"]["isincomingpasswordset"]
    client.records.update("mailbox", id, {"name": f"{prefix} new", "password": "n3w"})
    assert client.records.retrieve("mailbox", id, select=["name"])["name"] == f"{prefix} new"
    assert service.opened_cells()[f"mailbox({id}).password"][1] == "n3w"
    with pytest.raises(HttpError) as refusal:
        client.records.update("mailbox", str(uuid.uuid4()), {"name": "nobody"})
    assert refusal.value.status_code == 404 and refusal.value.details["service_error_code"] == "0x80040217"
    client.records.delete("mailbox", id)
    assert client.records.retrieve("mailbox", id) is None


def test_many_records_at_once(client, prefix):
    ids = client.records.create("mailbox", [{"name": f"{prefix} {n}", "password": f"p{n}"} for n in range(7)])
    assert len(set(ids)) == 7
    client.records.update("mailbox", ids, {"emailaddress": f"{prefix}@contoso.test"})
    client.records.update("mailbox", ids[:2], [{"name": f"{prefix} a"}, {"name": f"{prefix} b"}])
    found = client.records.list("mailbox", filter=f"emailaddress eq '{prefix}@contoso.test'", select=["name"])
    assert names(found) == sorted([f"{prefix} a", f"{prefix} b"] + [f"{prefix} {n}" for n in range(2, 7)])
    with pytest.raises(HttpError):
        client.records.create("mailbox", [{"name": f"{prefix} x"}, {"nosuch": 1}])
    assert not client.records.list("mailbox", filter=f"name eq '{prefix} x'").records
    assert client.records.delete("mailbox", ids[:4])
    client.records.delete("mailbox", ids[4:], use_bulk_delete=False)
    assert not client.records.list("mailbox", filter=f"startswith(name, '{prefix}')").records


def test_upsert_by_id_and_by_alternate_key(client, prefix):
    id = uuid.uuid4()
    for name in ["first", "second"]:
        client.records.upsert("mailbox", [UpsertItem(alternate_key={"mailboxid": id}, record={"name": f"{prefix} {name}"})])
    assert client.records.retrieve("mailbox", str(id), select=["name"])["name"] == f"{prefix} second"
    for description in ["created", "updated"]:
        client.records.upsert("queue", [UpsertItem(alternate_key={"name": f"{prefix} it's"}, record={"description": description})])
    client.records.upsert("queue", [
        UpsertItem(alternate_key={"name": f"{prefix} it's"}, record={"description": "again"}),
        UpsertItem(alternate_key={"name": f"{prefix} other"}, record={"description": "new", "emailpassword": "pw"})])
    found = client.records.list("queue", filter=f"startswith(name, '{prefix}')", select=["name", "description"], orderby=["name"])
    assert [(r["name"], r["description"]) for r in found] == [(f"{prefix} it's", "again"), (f"{prefix} other", "new")]


def test_queries_page_and_filter(client, prefix):
    client.records.create("mailbox", [{"name": f"{prefix} {n}", "postponetestemailconfigurationuntil": f"2026-01-0{n + 1}"} for n in range(5)])
    pages = list(client.records.list_pages("mailbox", filter=f"startswith(name, '{prefix}')", orderby=["name desc"], page_size=2))
    assert [len(page.records) for page in pages] == [2, 2, 1]
    assert [r["name"][-1] for page in pages for r in page] == ["4", "3", "2", "1", "0"]

    def found(expression):
        query = client.query.builder("mailbox").select("name").where(col("name").startswith(prefix) & expression)
        return "".join(sorted(r["name"][-1] for r in query.execute()))

    assert found(col("statecode") == 0) == "01234"
    assert found(col("name").contains(" 3")) == "3"
    assert found(col("name").endswith("4") | (col("name") == f"{prefix} 1")) == "14"
    assert found(~(col("name") == f"{prefix} 1")) == "0234"
    assert found(col("name").in_([f"{prefix} 1", f"{prefix} 2"])) == "12"
    assert found(col("name").not_in([f"{prefix} 1"])) == "0234"
    assert found(col("statecode").in_([0, 1])) == "01234"
    assert found(col("postponetestemailconfigurationuntil").between(datetime.date(2026, 1, 2), datetime.date(2026, 1, 3))) == "12"
    assert found(col("postponetestemailconfigurationuntil").not_between(datetime.date(2026, 1, 2), datetime.date(2026, 1, 3))) == "034"
    assert found(col("emailaddress").is_null()) == "01234" and found(col("emailaddress").is_not_null()) == ""
    assert found(col("name").like(f"{prefix}%")) == "01234"
    top = client.query.builder("mailbox").select("name").where(col("name").startswith(prefix)).order_by("name").top(3).page_size(2).count()
    assert [r["name"][-1] for r in top.execute()] == ["0", "1", "2"]
    formatted = client.query.builder("mailbox").select("statecode").where(col("name").startswith(prefix)).include_formatted_values()
    assert formatted.execute().first()["statecode@OData.Community.Display.V1.FormattedValue"] == "Active"
    frame = client.query.builder("mailbox").select("name").where(col("name").startswith(prefix)).to_dataframe()
    assert len(frame) == 5


def test_fetchxml_pages_by_its_cookie(client, prefix):
    client.records.create("mailbox", [{"name": f"{prefix} {n}"} for n in range(5)])
    query = client.query.fetchxml(
        f"<fetch count='2'><entity name='mailbox'><attribute name='name'/><order attribute='name' descending='true'/>"
        f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter></entity></fetch>")
    assert [len(page.records) for page in query.execute_pages()] == [2, 2, 1]
    assert [r["name"][-1] for r in query.execute()] == ["4", "3", "2", "1", "0"]


def test_sql(client, prefix):
    profile = client.records.create("emailserverprofile", {"name": prefix})
    client.records.create("mailbox", [
        {"name": f"{prefix} {n}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"} for n in range(3)])
    rows = client.query.sql(
        "SELECT TOP 2 m.name, p.name AS profile FROM mailbox m INNER JOIN emailserverprofile p "
        f"ON m.emailserverprofile = p.emailserverprofileid WHERE p.name = '{prefix}' ORDER BY m.name DESC")
    assert [dict(row) for row in rows] == [{"name": f"{prefix} 2", "profile": prefix}, {"name": f"{prefix} 1", "profile": prefix}]
    rows = client.query.sql(f"SELECT statecode, COUNT(*) AS n FROM mailbox WHERE name LIKE '{prefix}%' GROUP BY statecode")
    assert [dict(row) for row in rows] == [{"statecode": 0, "n": 3}]
    frame = client.dataframe.sql(f"SELECT name FROM mailbox WHERE name LIKE '{prefix}%' ORDER BY name OFFSET 1 ROWS FETCH NEXT 1 ROWS ONLY")
    assert list(frame["name"]) == [f"{prefix} 1"]
    columns = {column["name"] for column in client.query.sql_columns("mailbox")}
    assert {"name", "password", "emailserverprofile"} <= columns
    assert client.query.odata_select("mailbox") and client.query.odata_expands("mailbox")
    assert client.query.odata_bind("mailbox", "emailserverprofile", profile) == {
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"}


def test_batches(client, service, prefix):
    batch = client.batch.new()
    batch.records.create("mailbox", {"name": f"{prefix} ünï\u2028code", "password": "p"})
    batch.records.create("mailbox", [{"name": f"{prefix} 1"}, {"name": f"{prefix} 2"}])
    batch.records.list("mailbox", filter=f"startswith(name,'{prefix}') and name ne 'a b'", select=["name"])
    batch.query.sql(f"SELECT name FROM mailbox WHERE name LIKE '{prefix}%'")
    batch.tables.get("mailbox")
    result = batch.execute()
    assert not result.has_errors, [(r.status_code, r.error_message) for r in result.failed]
    responses = result.responses
    assert len(responses) == 5 and len(responses[1].data["Ids"]) == 2
    assert names(responses[2].data["value"]) == sorted([f"{prefix} 1", f"{prefix} 2", f"{prefix} ünï\u2028code"])
    assert len(responses[3].data["value"]) == 3

    batch = client.batch.new()
    with batch.changeset() as changes:
        reference = changes.records.create("emailserverprofile", {"name": f"{prefix} set"})
        mailbox = changes.records.create("mailbox", {"name": f"{prefix} set", "emailserverprofile@odata.bind": reference})
        changes.records.update("mailbox", mailbox, {"password": "of the set"})
    result = batch.execute()
    assert not result.has_errors and len(result.entity_ids) >= 2
    found = client.records.list("mailbox", filter=f"emailserverprofile/name eq '{prefix} set'", select=["name", "ispasswordset"])
    assert [r["ispasswordset"] for r in found] == [True]

    batch = client.batch.new()
    with batch.changeset() as changes:
        changes.records.create("queue", {"name": f"{prefix} gone"})
        changes.records.update("queue", str(uuid.uuid4()), {"name": "nobody"})
    batch.records.create("queue", {"name": f"{prefix} kept"})
    result = batch.execute(continue_on_error=True)
    assert [r.status_code for r in result.responses] == [404, 204]
    assert names(client.records.list("queue", filter=f"startswith(name,'{prefix}')")) == [f"{prefix} kept"]


def test_tables(client):
    table = client.tables.get("mailbox")
    assert table["entity_set_name"] == "mailboxes" and client.tables.get("nosuch") is None
    with pytest.raises(MetadataError):
        client.records.create("nosuch", {"name": "x"})
    assert {"mailbox", "queue", "emailserverprofile", "usersettings"} <= {t["LogicalName"] for t in client.tables.list()}
    assert [t["LogicalName"] for t in client.tables.list(filter="LogicalName eq 'queue'", select=["LogicalName"])] == ["queue"]
    columns = client.tables.list_columns("mailbox", filter="AttributeType eq 'String'")
    assert "name" in {c["LogicalName"] for c in columns}
    password = client.tables.get_column("mailbox", "password")
    assert password is not None and client.tables.get_column("mailbox", "nosuch") is None
    assert client.tables.get_column("mailbox", "name", typed=True)
    assert [key.key_attributes for key in client.tables.get_alternate_keys("queue")] == [["name"]]
    relationship = client.tables.get_relationship("emailserverprofile_mailbox")
    assert relationship.referenced_entity == "emailserverprofile" and relationship.referencing_entity == "mailbox"
    assert client.tables.get_relationship("nosuch") is None
    assert client.tables.list_relationships() and client.tables.list_table_relationships("mailbox")
    with pytest.raises(Exception) as refusal:
        client.tables.create("new_Thing", {"new_Name": "string"})
    assert "fixed" in str(refusal.value)


def test_dataframes(client, prefix):
    frame = pandas.DataFrame([{"name": f"{prefix} {n}", "emailaddress": f"{n}@contoso.test"} for n in range(3)])
    frame["mailboxid"] = client.dataframe.create("mailbox", frame)
    frame["emailaddress"] = "changed@contoso.test"
    client.dataframe.update("mailbox", frame[["mailboxid", "emailaddress"]], id_column="mailboxid")
    found = client.records.list("mailbox", filter=f"startswith(name,'{prefix}') and emailaddress eq 'changed@contoso.test'")
    assert len(found.records) == 3
    client.dataframe.delete("mailbox", frame["mailboxid"])
    assert not client.records.list("mailbox", filter=f"startswith(name,'{prefix}')").records


def test_the_asynchronous_client_finds_the_headers_that_it_looks_for(service, prefix, monkeypatch):
    monkeypatch.setenv("SSL_CERT_FILE", service.dev["caFile"])
    from PowerPlatform.Dataverse.aio import AsyncDataverseClient

    class AsyncCredential(AsyncTokenCredential):
        async def get_token(self, *scopes, **options):
            return Credential(service).get_token(*scopes, **options)

        async def close(self):
            pass

        async def __aexit__(self, *_):
            pass

    async def work():
        url = f"{service.base}/{service.dev['organization']}"
        async with AsyncDataverseClient(url, AsyncCredential()) as client:
            id = await client.records.create("mailbox", {"name": prefix, "password": "x"})
            batch = client.batch.new()
            batch.records.retrieve("mailbox", id, select=["name"])
            result = await batch.execute()
            assert result.responses[0].data["name"] == prefix
            return (await client.records.retrieve("mailbox", id, select=["name"]))["name"]

    assert asyncio.run(work()) == prefix
