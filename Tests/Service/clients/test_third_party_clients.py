"""Clients that others wrote: python-odata and odatapy, which read $metadata; one that is generated from the OpenAPI description;
schemathesis."""

import datetime
import importlib
import json
import os
import pathlib
import ssl
import subprocess
import sys
import uuid

import httpx
import requests
from odata import ODataService
from odata.flags import ODataServerFlags
from odatapy.client import BearerAuth, EdmEnabledODataClient, FilterFactory
from odatapy.client.transport import HttpxTransport

BIN = pathlib.Path(sys.executable).parent


def test_python_odata_reflects_reads_and_writes(service):
    session = requests.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    session.headers["Authorization"] = f"Bearer {service.token()}"
    odata = ODataService(
        f"{service.api}/", session=session, reflect_entities=True, quiet_progress=True,
        server_flags=ODataServerFlags(skip_null_properties=True))
    Queue = odata.entities["queues"]
    queue = Queue()
    queue.name, queue.emailpassword = f"odata {uuid.uuid4()}", "s3cret"
    odata.save(queue)
    found = odata.query(Queue).filter(Queue.name == queue.name).all()
    assert [(q.name, q.emailpassword) for q in found] == [(queue.name, None)]
    found[0].description = "changed by python-odata"
    odata.save(found[0])
    assert odata.query(Queue).filter(Queue.description == "changed by python-odata").count() == 1
    odata.delete(found[0])
    assert not odata.query(Queue).filter(Queue.name == queue.name).all()


def test_odatapy_types_what_it_reads_by_the_metadata(service):
    """A client that is modelled on Olingo: it reads $metadata whole, and gives each value the type that it has there."""
    with httpx.Client(verify=ssl.create_default_context(cafile=service.dev["caFile"]), trust_env=False) as connection:
        client = EdmEnabledODataClient(service.api, HttpxTransport(client=connection, auth=BearerAuth(service.token())), odata_version="4.0")
        sets = {row["name"] for row in service.get("").json()["value"]}
        assert {name for name in sets if client.entity_set_type(name)} == sets
        name = f"odatapy {uuid.uuid4()}"
        team = client.create_entity("teams", {"name": name})
        id = team.get_value("teamid")
        uri = client.entity_uri("teams", id)
        user = uuid.UUID(service.get("WhoAmI").json()["UserId"])
        members = uri.copy().append_navigation_segment("teammembership_association")
        client.add_reference(members.copy(), f"{service.api}/systemusers({user})")
        found = client.get_entity_set(client.entity_set_uri("teams").filter(FilterFactory.field("name").eq(name)).expand("teammembership_association"))
        (one,) = found.entities
        assert one.get_value("teamid") == id and isinstance(one.get_value("createdon"), datetime.datetime) and isinstance(one.get_value("teamtype"), int)
        assert [u.get_value("systemuserid") for u in client.get_entity_set(members.copy()).entities] == [user]
        client.update_entity(uri.copy(), {"description": "changed by odatapy"})
        assert client.get_entity(uri.copy().select("description")).get_value("description") == "changed by odatapy"
        who = client.invoke_function(client.uri().append_function_call_segment("WhoAmI"))
        assert str(user) in who.content.decode()
        client.delete_entity(uri.copy())


def description(service, folder):
    response = service.get("$openapi")
    assert response.status_code == 200
    path = folder / "openapi.json"
    path.write_text(response.text)
    return path


def test_a_client_generated_from_the_openapi_description_reads_and_writes(service, tmp_path, monkeypatch):
    subprocess.run(
        [BIN / "openapi-python-client", "generate", "--path", description(service, tmp_path), "--output-path", tmp_path / "generated",
         "--meta", "none"], check=True, cwd=tmp_path, capture_output=True, env={**os.environ, "PATH": f"{BIN}:{os.environ['PATH']}"})
    monkeypatch.syspath_prepend(str(tmp_path))
    import ssl
    client = importlib.import_module("generated").AuthenticatedClient(
        base_url=service.api, token=service.token(), verify_ssl=ssl.create_default_context(cafile=service.dev["caFile"]))
    api, models = importlib.import_module("generated.api.default"), importlib.import_module("generated.models")
    name = f"generated {uuid.uuid4()}"
    create = importlib.import_module("generated.api.default.create_queue")
    answer = create.sync_detailed(client=client, body=models.QueueCreate(name=name, emailpassword="s3cret"))
    assert answer.status_code == 204 and api is not None
    listed = importlib.import_module("generated.api.default.list_queue").sync_detailed(client=client, filter_=f"name eq '{name}'")
    (queue,) = json.loads(listed.content)["value"]
    assert queue["emailpassword"] is None
    update = importlib.import_module("generated.api.default.update_queue")
    assert update.sync_detailed(queue["queueid"], client=client, body=models.QueueUpdate(description="d")).status_code == 204
    get = importlib.import_module("generated.api.default.get_queue").sync_detailed(queue["queueid"], client=client)
    assert json.loads(get.content)["description"] == "d"


def test_schemathesis_finds_nothing(own_service, tmp_path):
    service = own_service
    result = subprocess.run(
        [BIN / "schemathesis", "run", description(service, tmp_path), "--url", service.api, "--tls-verify", service.dev["caFile"],
         "--header", f"Authorization: Bearer {service.token()}", "--checks",
         "not_a_server_error,status_code_conformance,content_type_conformance,response_schema_conformance",
         "--max-examples", "20", "--phases", "examples,coverage,fuzzing", "--seed", "20261124", "--no-color"],
        capture_output=True, text=True, cwd=tmp_path, timeout=600)
    assert result.returncode == 0, result.stdout[-6000:] + result.stderr[-2000:]
