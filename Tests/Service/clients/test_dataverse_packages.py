"""Unmodified packages for Dataverse from PyPI. Some use only the host of an address, so the organization is at the root of a host."""

import os
import subprocess
import sys
import textwrap
import uuid

import msal
import pytest
import requests
from dataverse_api import DataverseClient
from dynamics import DynamicsClient, ftr
from pydynamics.client import Client
from pydynamics.querybuilder import QueryBuilder

from service import Deployment


@pytest.fixture(scope="module")
def rooted():
    """A deployment whose organization is also at the root of 127.0.0.1. The certificate is valid for this address."""
    with Deployment.made(FIELDSEAL_HOSTS="127.0.0.1=contoso") as deployment:
        deployment.root = deployment.base.replace("localhost", "127.0.0.1")
        yield deployment


@pytest.fixture(autouse=True)
def authorities(rooted, monkeypatch):
    """Makes these packages trust the service's CA certificate, as their users would."""
    for name in ("REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "CURL_CA_BUNDLE"):
        monkeypatch.setenv(name, rooted.dev["caFile"])


def test_dataverse_api(rooted):
    session = requests.Session()
    session.headers["Authorization"] = f"Bearer {rooted.token()}"
    client = DataverseClient(session, rooted.root)
    assert client.get_language_codes() == [1033]
    entity = client.entity("queue")
    assert entity.entity_set_name == "queues" and entity.supports_create_multiple and entity.supports_update_multiple
    name = f"dataverse-api {uuid.uuid4()}"
    entity.create([{"name": f"{name} {n}"} for n in range(3)], mode="multiple")
    rows = entity.read(select=["name"], filter=f"startswith(name,'{name}')", order_by="name")
    assert [row["name"] for row in rows] == [f"{name} {n}" for n in range(3)]
    entity.delete(ids=[row["queueid"] for row in rows])
    assert list(entity.read(select=["name"], filter=f"startswith(name,'{name}')")) == []
    for logical_name in ("mailbox", "emailserverprofile", "systemuser", "team", "email"):
        assert client.entity(logical_name).logical_name == logical_name


def test_dynamics_client(rooted):
    known = rooted.dev["clients"]["admin"]
    client = DynamicsClient(
        api_url=f"{rooted.root}/api/data/v9.2/", token_url=f"{rooted.root}/oauth2/token", client_id=known["clientId"],
        client_secret=known["clientSecret"], resource=rooted.root)
    name = f"dynamics-client {uuid.uuid4()}"
    client.table = "queues"
    client.select = ["name"]
    made = client.post(data={"name": name})
    client.reset_query()
    client.table = "queues"
    client.select = ["name"]
    client.filter = [ftr.eq("name", name)]
    (found,) = client.get().data
    assert found["name"] == name and (made.data or {}).get("name", name) == name
    client.reset_query()
    client.table = "queues"
    client.row_id = found["queueid"]
    client.delete()


def test_pydynamics(rooted):
    client = Client(rooted.token(), f"{rooted.root}/api/data/v9.2/")
    name = f"pydynamics {uuid.uuid4()}"
    id = client.create(QueryBuilder("queues").data({"name": name}))
    (found,) = client.select(QueryBuilder("queues").select(["name"]).filter("name", "eq", name, "str"))
    assert found["queueid"] == id and found["name"] == name
    assert client.update(QueryBuilder("queues").guid(id).data({"description": "d"})) is True
    assert client.delete(QueryBuilder("queues").guid(id)) is True


def test_msal_asks_no_other_server_about_an_authority_that_is_called_adfs(rooted):
    known = rooted.dev["clients"]["admin"]
    app = msal.ConfidentialClientApplication(known["clientId"], known["clientSecret"], authority=f"{rooted.root}/adfs")
    token = app.acquire_token_for_client([f"{rooted.root}//.default"])["access_token"]
    assert rooted.get(f"{rooted.root}/api/data/v9.2/WhoAmI", token=token).status_code == 200


def test_crmadminbrasil_dataverse_sdk(rooted, tmp_path):
    # The package turns off the verification of certificates in its process, so it gets its own process.
    known = rooted.dev["clients"]["admin"]
    program = textwrap.dedent("""
        import asyncio, json, os, sys
        from dataverse_sdk import DataverseSDK

        root, client, secret, name, authorities = sys.argv[1:]
        # The package empties it.
        os.environ["REQUESTS_CA_BUNDLE"] = authorities

        async def main():
            sdk = DataverseSDK(dataverse_url=root, client_id=client, client_secret=secret, tenant_id="adfs", authority=f"{root}/adfs",
                               ssl_ca_bundle=authorities)
            async with sdk:
                id = await sdk.create("queues", {"name": name})
                found = await sdk.query("queues", {"select": ["name"], "filter": f"name eq '{name}'"})
                await sdk.update("queues", id if isinstance(id, str) else id["id"], {"description": "d"})
                await sdk.delete("queues", id if isinstance(id, str) else id["id"])
                print("FOUND", json.dumps([row["name"] for row in found.value]))

        asyncio.run(main())
    """)
    result = subprocess.run(
        [sys.executable, "-c", program, rooted.root, known["clientId"], known["clientSecret"], f"sdk {uuid.uuid4()}",
         rooted.dev["caFile"]],
        capture_output=True, text=True, cwd=tmp_path, timeout=120,
        # The package would use the file in SSL_CERT_FILE as the client's certificate.
        env={name: value for name, value in os.environ.items() if name != "SSL_CERT_FILE"})
    assert result.returncode == 0 and 'FOUND ["sdk ' in result.stdout, result.stdout[-3000:] + result.stderr[-3000:]
