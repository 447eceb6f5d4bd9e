"""Creates a mailbox with a password, replaces the password, and deletes the mailbox, with Microsoft's Dataverse client."""

import json
import os
import pathlib
import types

import requests
from PowerPlatform.Dataverse.client import DataverseClient

deployment = json.loads((pathlib.Path(os.environ.get("FIELDSEAL_HOME", ".fieldseal")) / "dev.json").read_text())
organization = f"{deployment['baseURL']}/{deployment['organization']}"
# Microsoft's client uses the library `requests`, which trusts the development certificate authority because of this variable.
os.environ["REQUESTS_CA_BUNDLE"] = deployment["caFile"]


class ClientSecret:
    """A credential with the method that Microsoft's client calls. It gets a token from the service's own token endpoint."""

    def get_token(self, *scopes, **_):
        known = deployment["clients"]["admin"]
        response = requests.post(f"{organization}/oauth2/v2.0/token", timeout=30, data={
            "grant_type": "client_credentials", "client_id": known["clientId"], "client_secret": known["clientSecret"], "scope": scopes[0]})
        response.raise_for_status()
        answer = response.json()
        return types.SimpleNamespace(token=answer["access_token"], expires_on=0)


with DataverseClient(organization, ClientSecret()) as client:
    id = client.records.create("mailbox", {"name": "Example", "password": "the first one"})
    record = client.records.retrieve("mailbox", id, select=["name", "password", "ispasswordset"])
    print(record["name"], record["password"], record["ispasswordset"])

    client.records.update("mailbox", id, {"password": "the second one"})
    client.records.update("mailbox", id, {"password": None})
    print(client.records.retrieve("mailbox", id, select=["ispasswordset"])["ispasswordset"])

    client.records.delete("mailbox", id)
