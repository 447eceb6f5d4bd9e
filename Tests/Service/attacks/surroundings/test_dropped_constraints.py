"""A superuser drops constraints of `config` and inserts rows that they prevent. No command and no server crashes because of such rows."""

import requests
import several_databases
from service import PATIENCE
from waiting import until

deployment, server = several_databases.deployment, several_databases.server


def serves(server, organization):
    page = requests.get(f"{server.base}/{organization}/sign-in", verify=str(server.cluster.home / "server.pem"), timeout=PATIENCE)
    return page.status_code == 200


def test_two_rows_of_one_organization(deployment, server):
    for name in ["name", "schema_name"]:
        deployment.sql("main", f"ALTER TABLE config.organization DROP CONSTRAINT organization_{name}_key")
    deployment.sql(
        "main", "INSERT INTO config.organization (organization_id, name, schema_name, created_by) VALUES (gen_random_uuid(), 'contoso', 'org_contoso', 'x')")
    # The doctor names the missing constraint.
    assert "organization_name_key of config is missing" in deployment.run("doctor", "--json", check=False).stdout
    assert deployment.run("client", "list", "--org", "fabrikam").returncode == 0
    # A command that crashed would have a negative exit status.
    assert deployment.run("client", "list", "--org", "contoso", check=False).returncode >= 0
    # A new organization makes the server read this database's list of organizations again.
    deployment.run("org", "create", "adatum", "--database", "main")
    until(lambda: serves(server, "adatum"))
    assert server.process.poll() is None and serves(server, "fabrikam")


def test_a_key_of_a_negative_version(place):
    place.sql("ALTER TABLE config.organization_key DROP CONSTRAINT organization_key_key_version_check")
    place.sql("""
        INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint, rotation_id, origin, created_by, retired_on)
        SELECT organization_id, -1, wrapped_text, wrapped_data, kek_id, fingerprint, gen_random_uuid(), origin, created_by, now() FROM config.organization_key""")
    assert "version -1" in place.doctor()["key-row-changed"]
    place.sql("DELETE FROM config.attested_state")
    place.run("org", "attach", "contoso", "--yes", "--trust-tags")
    # Attaching did not accept the row of that version.
    assert "version -1" in place.doctor()["key-row-changed"]
    assert place.run("key", "show", "--version", "-1", "--org", "contoso", check=False).returncode >= 0
