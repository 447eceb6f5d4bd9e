"""Clients of other authors: python-odata and odatapy, which use $metadata, a client that is generated from the OpenAPI description, and
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


def python_odata(service, **options):
    session = requests.Session()
    session.trust_env, session.verify = False, service.dev["caFile"]
    session.headers["Authorization"] = f"Bearer {service.token()}"
    return ODataService(f"{service.api}/", session=session, quiet_progress=True, server_flags=ODataServerFlags(skip_null_properties=True), **options)


def test_python_odata_reflects_reads_and_writes(service):
    odata = python_odata(service, reflect_entities=True)
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


def test_a_client_generated_from_the_metadata_reads_and_writes(service, tmp_path, monkeypatch):
    """python-odata writes the source of a client, and this client needs no $metadata."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))
    reflected = python_odata(service, reflect_entities=True, reflect_output_package="generated_from_metadata")
    generated = importlib.import_module("generated_from_metadata")
    sets = {row["name"] for row in service.get("").json()["value"]}
    assert sets == {name for name in sets if getattr(generated, name).__odata_collection__ == name}
    odata = python_odata(service, base=generated.ReflectionBase, reflect_entities=False)
    odata.default_context.connection.session.headers["Prefer"] = "return=representation"
    profile, box = generated.emailserverprofiles(), generated.mailboxes()
    profile.name = profile.incomingpassword = f"generated {uuid.uuid4()}"
    odata.save(profile)
    assert uuid.UUID(profile.emailserverprofileid) and profile.incomingpassword is None and profile.isincomingpasswordset is True
    box.name, box.emailserverprofile = "a mailbox", profile
    odata.save(box)
    # Expands the navigation property at one end, and follows the one at the other end.
    (found,) = odata.query(generated.mailboxes).filter(generated.mailboxes.mailboxid == box.mailboxid).expand(generated.mailboxes.emailserverprofile).all()
    assert found.emailserverprofile.name == profile.name and isinstance(found.createdon, datetime.datetime)
    assert [one.mailboxid for one in odata.query(generated.emailserverprofiles).get(profile.emailserverprofileid).emailserverprofile_mailbox] == [box.mailboxid]
    found.emailaddress = "changed@contoso.example"
    odata.save(found)
    assert odata.query(generated.mailboxes).get(box.mailboxid).emailaddress == "changed@contoso.example"
    # Calls an unbound function and an unbound action. The package can't call bound ones.
    answers = []
    reflected.default_context.connection.session.hooks["response"].append(lambda answer, **options: answers.append(answer))
    reflected.functions["WhoAmI"]()
    user = answers[-1].json()["UserId"]
    team = service.create("teams", {"name": profile.name})
    reflected.actions["GrantAccess"](
        Target={"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "mailboxid": box.mailboxid},
        PrincipalAccess={"Principal": {"@odata.type": "Microsoft.Dynamics.CRM.team", "teamid": team}, "AccessMask": "ReadAccess"})
    shared = service.get(f"RetrieveSharedPrincipalsAndAccess(Target=@t)?@t={{'@odata.id':'mailboxes({box.mailboxid})'}}".replace("'", '"'))
    assert [one["AccessMask"] for one in shared.json()["PrincipalAccesses"]] == ["ReadAccess"] and user == service.get("WhoAmI").json()["UserId"]
    odata.delete(found)
    odata.delete(profile)
    assert odata.query(generated.mailboxes).filter(generated.mailboxes.mailboxid == box.mailboxid).count() == 0


def test_odatapy_types_what_it_reads_by_the_metadata(service):
    """A client modeled on Olingo. It reads $metadata, and gives each value the type that $metadata names."""
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
        assert client.get_entity(uri.copy().append_navigation_segment("businessunitid")).get_value("businessunitid") == team.get_value("_businessunitid_value")
        who = client.invoke_function(client.uri().append_function_call_segment("WhoAmI"))
        assert str(user) in who.content.decode()
        # Calls a bound function and bound actions, by their names in $metadata.
        bound = client.entity_uri("systemusers", user).append_function_call_segment("Microsoft.Dynamics.CRM.RetrieveUserPrivileges")
        assert b"prvReadQueue" in client.invoke_function(bound).content
        for name, count in (("RemoveMembersTeam", 0), ("AddMembersTeam", 1)):
            action = uri.copy().append_action_call_segment(f"Microsoft.Dynamics.CRM.{name}")
            client.invoke_action(action, {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": str(user)}]})
            assert len(client.get_entity_set(members.copy()).entities) == count
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
