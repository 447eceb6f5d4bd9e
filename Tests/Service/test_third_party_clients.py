"""Clients that others wrote: python-odata, which reads $metadata; one that is generated from the OpenAPI description; schemathesis."""

import importlib
import json
import os
import pathlib
import subprocess
import sys
import uuid

import requests
from odata import ODataService
from odata.flags import ODataServerFlags

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
