"""Unmodified packages for Dataverse from PyPI, each in its own environment, because it needs other versions of Python or of packages."""

import json
import os
import subprocess
import uuid

import jsonschema
import pytest
from environments import PROGRAMS, environment
from redirecting_proxy import RedirectingProxy
from service import Deployment

LOGIN = "login.microsoftonline.com"


@pytest.fixture(scope="module")
def redirected():
    """A deployment whose organization is at the root of 127.0.0.1 and of Microsoft's sign-in host. A network could redirect that host in this way."""
    deployment = Deployment(FIELDSEAL_HOSTS=f"127.0.0.1=contoso,{LOGIN}=contoso")
    certificate, key = deployment.home / "login.pem", deployment.home / "login.key"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", f"/CN={LOGIN}",
         "-addext", f"subjectAltName=DNS:{LOGIN}", "-keyout", key, "-out", certificate], check=True, capture_output=True)
    deployment.environment.update(
        FIELDSEAL_HTTPS_HOST_CERTIFICATE_FILES=f"{LOGIN}={certificate}", FIELDSEAL_HTTPS_HOST_PRIVATE_KEY_FILES=f"{LOGIN}={key}")
    proxy = None
    try:
        deployment.start()
        deployment.root = deployment.base.replace("localhost", "127.0.0.1")
        deployment.proxy = proxy = RedirectingProxy(int(deployment.base.rsplit(":", 1)[1]))
        deployment.authorities = deployment.home / "authorities.pem"
        with open(deployment.dev["caFile"]) as own:
            deployment.authorities.write_text(f"{own.read()}\n{certificate.read_text()}")
        deployment.user = deployment.get("WhoAmI").json()["UserId"]
        yield deployment
    finally:
        if proxy:
            proxy.stop()
        deployment.remove()


def run(deployment, name, folder, *arguments):
    """Runs the program for a package in the package's environment. Returns the JSON in the last line of its output."""
    result = subprocess.run(
        [environment(name), PROGRAMS / f"use_{name}.py", *map(str, arguments)], capture_output=True, text=True, cwd=folder, timeout=300, check=False,
        env={**os.environ, "REQUESTS_CA_BUNDLE": str(deployment.authorities), "SSL_CERT_FILE": str(deployment.authorities),
             "HTTPS_PROXY": deployment.proxy.address, "NO_PROXY": "127.0.0.1"})
    assert result.returncode == 0, result.stdout[-3000:] + result.stderr[-3000:]
    return json.loads(result.stdout.rstrip().rsplit("\n", 1)[-1])


@pytest.mark.package("dataversepython")
def test_dataverse_python(redirected, tmp_path):
    known, marker = redirected.dev["clients"]["admin"], f"DataversePython {uuid.uuid4()}"
    configuration = tmp_path / "configuration.json"
    configuration.write_text(json.dumps({
        "environmentURI": f"{redirected.root}/", "scopeSuffix": ".default", "clientID": known["clientId"], "clientSecret": known["clientSecret"],
        "authorityBase": f"{redirected.root}/", "tenantID": "adfs"}))
    assert run(redirected, "dataversepython", tmp_path, configuration, marker, redirected.user) == {
        "inserted": sorted(f"{marker} {n}" for n in range(12)), "passwords": [], "top": 2, "paged": 12, "annotated": ["Active"], "changed": 12,
        "members": [redirected.user], "left": 0}


@pytest.mark.package("datapyrse")
def test_datapyrse(redirected, tmp_path):
    known, marker = redirected.dev["clients"]["admin"], f"datapyrse {uuid.uuid4()}"
    found = run(redirected, "datapyrse", tmp_path, redirected.root, known["clientId"], known["clientSecret"], marker, redirected.user)
    entities = {row["LogicalName"] for row in redirected.get("EntityDefinitions?$select=LogicalName").json()["value"]}
    assert set(found.pop("entities")) == entities
    assert found == {
        "read": [f"{marker} 0", redirected.user, "systemuser", "Active"], "changed": 204,
        "queried": [[f"{marker} 0", "changed", None], [f"{marker} 1", None, None], [f"{marker} 2", None, None]], "top": 2, "members": [1, 0],
        "deleted": [True] * 4, "left": 0}


@pytest.mark.package("airbyte")
def test_airbyte_source(redirected, tmp_path):
    known, marker = redirected.dev["clients"]["admin"], f"Airbyte {uuid.uuid4()}"
    for n in range(7):
        redirected.create("queues", {"name": f"{marker} {n}", "emailpassword": "s3cret"})
    configuration = tmp_path / "configuration.json"
    # The package signs in at a fixed address.
    configuration.write_text(json.dumps({
        "url": redirected.root, "tenant_id": "contoso", "client_id": known["clientId"], "client_secret_value": known["clientSecret"],
        "odata_maxpagesize": 3}))
    names = ("queue", "emailserverprofile", "systemuser")
    found = run(redirected, "airbyte", tmp_path, configuration, *names)
    assert found["connected"] is True and f"{LOGIN}:443" in redirected.proxy.hosts
    definitions = redirected.get("EntityDefinitions?$select=LogicalName,PrimaryIdAttribute").json()["value"]
    # The tables have no change tracking, so every stream is read completely.
    assert found["streams"] == {row["LogicalName"]: [["full_refresh"], [[row["PrimaryIdAttribute"]]]] for row in definitions}
    for name in names:
        key = next(row["PrimaryIdAttribute"] for row in definitions if row["LogicalName"] == name)
        collection = redirected.get(f"EntityDefinitions(LogicalName='{name}')?$select=EntitySetName").json()["EntitySetName"]
        expected = [row[key] for row in redirected.get(f"{collection}?$select={key}").json()["value"]]
        assert sorted(row[key] for row in found["records"][name]) == sorted(expected) != []
        for row in found["records"][name]:
            values = {member: value for member, value in row.items() if "@" not in member}
            jsonschema.validate(values, {"properties": found["schemas"][name]})
    mine = [row for row in found["records"]["queue"] if (row["name"] or "").startswith(marker)]
    assert sorted(row["name"] for row in mine) == [f"{marker} {n}" for n in range(7)] and {row["emailpassword"] for row in mine} == {None}
