"""A name under which no client could reach an organization is refused. Commands name the organization that they can't find."""

import json

import pytest
from cluster import Cluster

#: First segments of paths that the service uses itself.
NAMES = ["api", "assets", "healthz", "readyz", "xrmservices"]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        cluster.file = cluster.home / "contoso.export"
        cluster.run("key", "show", "--file", str(cluster.home / "key"))
        cluster.run("org", "export", "contoso", str(cluster.file))
        yield cluster
    finally:
        cluster.remove()


@pytest.mark.parametrize("name", NAMES)
def test_a_name_of_the_service_is_refused(cluster, name):
    for command in (["create", name], ["rename", "contoso", name], ["attach", name], ["import", str(cluster.file), "--name", name]):
        refused = cluster.run("org", *command, check=False)
        assert refused.returncode == 1 and f"The service uses '{name}' for addresses of its own" in refused.stderr, (command, refused.stderr)
    assert [o["organization"] for o in json.loads(cluster.run("org", "list", "--json").stdout)] == ["contoso"]


def test_the_name_of_the_deployment_in_commands_is_refused(cluster):
    for command in (["create", "config"], ["rename", "contoso", "config"], ["import", str(cluster.file), "--name", "config"]):
        refused = cluster.run("org", *command, check=False)
        assert refused.returncode == 1 and "`fieldseal migrate down config` means the deployment" in refused.stderr, (command, refused.stderr)


def test_a_name_that_only_looks_like_one_is_taken(cluster):
    """The control: names that the service uses nowhere as a first segment are accepted."""
    for name in ("oauth2", "api-2", "console"):
        cluster.run("org", "create", name)
        cluster.run("org", "rename", name, f"{name}-x")
        cluster.run("org", "remove", f"{name}-x", "--without-export", stdin=f"{name}-x\n")


def test_the_doctor_names_one_that_has_such_a_name(cluster):
    def findings():
        found = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
        return [(f["code"], f["subject"]) for f in found if f["code"] == "name-of-service"]

    cluster.run("org", "create", "old")
    assert findings() == []
    cluster.sql("UPDATE config.organization SET name = 'api', schema_name = 'org_api' WHERE name = 'old'")
    cluster.sql("ALTER SCHEMA org_old RENAME TO org_api")
    cluster.sql("UPDATE pg_proc SET proconfig = replace(proconfig::text, 'org_old', 'org_api')::text[] WHERE pronamespace = 'org_api'::regnamespace")
    assert findings() == [("name-of-service", "api")]
    # Follows the doctor's advice.
    cluster.run("org", "rename", "api", "old")
    assert findings() == []
    cluster.run("org", "remove", "old", "--without-export", stdin="old\n")


@pytest.mark.parametrize("command", [
    ["org", "rename", "nope", "x"], ["org", "suspend", "nope"], ["org", "resume", "nope"], ["org", "export", "nope", "/tmp/none.export"],
    ["org", "remove", "nope", "--without-export"], ["doctor", "--org", "nope"], ["key", "status", "--org", "nope"],
])
def test_a_command_names_the_organization_that_it_does_not_find(cluster, command):
    refused = cluster.run(*command, check=False, stdin="nope\n")
    assert refused.returncode == 1 and "There is no organization" in refused.stderr and "nope" in refused.stderr, refused.stderr
    assert "at this address" not in refused.stderr
