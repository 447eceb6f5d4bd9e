"""SQL wrote or deleted rows: the doctor reports it, and an import refuses rows that clients can't read."""

import json
import uuid

import pytest
from cluster import NEWEST, Cluster


@pytest.fixture(scope="module")
def cluster():
    made = Cluster()
    try:
        yield made
    finally:
        made.remove()


def findings(cluster, code, subject="contoso"):
    found = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
    return [f["message"] for f in found if f["code"] == code and f["subject"] == subject]


@pytest.mark.parametrize("moment", ["infinity", "10000-01-01 00:00+00", "0044-03-15 00:00+00 BC"])
def test_a_moment_that_no_client_can_read_is_named_and_not_imported(cluster, tmp_path, moment):
    id, file, name = uuid.uuid4(), tmp_path / "contoso.fieldseal", f"copy-{uuid.uuid4().hex[:8]}"
    key = cluster.run("key", "show", "--org", "contoso").stdout

    def carry():
        cluster.run("org", "export", "contoso", str(file), "--force")
        return cluster.run("org", "import", str(file), "--as-new", "--name", name, stdin=key, check=False)

    cluster.sql("INSERT INTO queue (queueid, name, createdon) VALUES (%s, 'odd', %s)", [id, moment])
    try:
        [message] = findings(cluster, "moment-unreadable")
        assert message.startswith(f"createdon of the row {id} of queue is infinite, or outside of the years 1 to 9999")
        refused = carry()
        assert refused.returncode == 1 and f"createdon of the row {id} of its table queue is infinite" in refused.stderr, refused.stderr
        assert cluster.sql("SELECT to_regnamespace(%s)", [f"org_{name.replace('-', '_')}"]) == [(None,)]
        # The control: the first and the last time that clients can read.
        for good in ("9999-12-31 23:59:59.999999+00", "0001-01-01 00:00+00"):
            cluster.sql("UPDATE queue SET createdon = %s WHERE queueid = %s", [good, id])
            assert findings(cluster, "moment-unreadable") == []
        assert carry().returncode == 0
        cluster.run("org", "remove", name, "--without-export", stdin=f"{name}\n")
    finally:
        cluster.sql("DELETE FROM queue WHERE queueid = %s", [id])


def test_the_time_of_the_key_is_looked_at_too(cluster, tmp_path):
    file = tmp_path / "contoso.fieldseal"
    [(before,)] = cluster.sql("SELECT changed_on FROM encryption")
    set_ = "SET fieldseal.maintenance = 'on'; UPDATE org_contoso.encryption SET changed_on = '{}'"
    cluster.sql(set_.format("infinity"))
    try:
        assert any("changed_on of the row" in m and "of encryption" in m for m in findings(cluster, "moment-unreadable"))
        cluster.run("org", "export", "contoso", str(file))
        refused = cluster.run(
            "org", "import", str(file), "--as-new", "--name", "copy", stdin=cluster.run("key", "show", "--org", "contoso").stdout, check=False)
        assert refused.returncode == 1 and "changed_on of the row" in refused.stderr and "its table encryption" in refused.stderr, refused.stderr
    finally:
        cluster.sql(set_.format(before.isoformat()))


def test_records_that_sql_deleted_are_missed(cluster):
    cluster.run("org", "create", "lost")
    cluster.run("client", "add", "worker", "--org", "lost", "--role", "Basic User")
    for code in ("organization-record-missing", "user-settings-missing"):
        assert findings(cluster, code, "lost") == [] == findings(cluster, code)
    cluster.sql("SET session_replication_role = replica; DELETE FROM org_lost.organization; DELETE FROM org_lost.usersettings")
    assert "has no record of this organization" in findings(cluster, "organization-record-missing", "lost")[0]
    assert "users have no row in usersettings" in findings(cluster, "user-settings-missing", "lost")[0]
    assert findings(cluster, "organization-record-missing") == [] == findings(cluster, "user-settings-missing")


def test_an_organization_under_a_retired_key_encryption_key_is_marked(cluster):
    def statuses():
        return {o["organization"]: o["status"] for o in json.loads(cluster.run("org", "list", "--json").stdout)}

    cluster.run("org", "create", "sealed")
    assert statuses()["sealed"] == "served"
    [(id, kek)] = cluster.sql("SELECT organization_id, kek_id FROM config.attested_state JOIN config.organization USING (organization_id) WHERE name = 'sealed'")
    cluster.sql("INSERT INTO config.replaced_kek (kek_id, successor_id, replaced_by, retired_on, retired_by, archive_key, sealed_under) "
        "SELECT '0123456789abcdef', kek_id, 'SQL', now(), 'SQL', wrapped_text, kek_id FROM config.organization_key WHERE kek_id = %s LIMIT 1", [kek])
    cluster.sql("UPDATE config.attested_state SET kek_id = '0123456789abcdef' WHERE organization_id = %s", [id])
    assert statuses()["sealed"] == "under a retired KEK" and statuses()["contoso"] == "served"
    assert len(findings(cluster, "under-retired-kek", "sealed")) == 1 and findings(cluster, "under-retired-kek") == []
    assert "under a retired KEK" in cluster.run("org", "list").stdout


@pytest.mark.parametrize("table", ["activitymimeattachment", "mailbox_message", "teammembership"])
def test_an_organization_without_a_table_is_not_exported(cluster, tmp_path, table):
    """An import would refuse the file. With `org remove --export`, the file would be all that is left of the organization."""
    name = f"broken-{uuid.uuid4().hex[:8]}"
    cluster.run("org", "create", name)
    cluster.run("key", "show", "--org", name)
    schema = f"org_{name.replace('-', '_')}"
    cluster.sql(f"ALTER TABLE {schema}.{table} RENAME TO gone")
    for command in (["export", name, str(tmp_path / "a")], ["remove", name, "--export", str(tmp_path / "b")]):
        refused = cluster.run("org", *command, stdin=f"{name}\n", check=False)
        assert refused.returncode == 1 and f"lacks the tables {table}" in refused.stderr, refused.stderr
    assert list(tmp_path.iterdir()) == [] and cluster.sql("SELECT to_regnamespace(%s) IS NOT NULL", [schema]) == [(True,)]
    cluster.sql(f"ALTER TABLE {schema}.gone RENAME TO {table}")
    cluster.run("org", "export", name, str(tmp_path / "a"))
    cluster.run("org", "remove", name, "--without-export", stdin=f"{name}\n")


def test_organizations_that_are_refused_are_not_listed_as_served(cluster):
    def statuses():
        return {o["organization"]: o["status"] for o in json.loads(cluster.run("org", "list", "--json").stdout)}

    cluster.run("org", "create", "changed")
    cluster.run("org", "create", "older")
    assert statuses()["changed"] == statuses()["older"] == "served"
    cluster.sql("UPDATE config.attested_state SET events = events + 5 WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = 'changed')")
    cluster.run("migrate", "down", "older", stdin=f"{NEWEST}\n")
    assert (statuses()["changed"], statuses()["older"], statuses()["contoso"]) == ("refused: not attested", "refused: schema of another version", "served")
    assert findings(cluster, "state-not-attested", "changed") and not findings(cluster, "key-required", "changed")
    cluster.run("org", "attach", "changed", "--yes")
    cluster.run("migrate", "up")
    assert statuses()["changed"] == statuses()["older"] == "served"


def test_what_is_lost_is_named_by_each_command(cluster):
    cluster.run("org", "create", "gone")
    cluster.sql("DROP SCHEMA org_gone CASCADE")
    for command in (["verify"], ["events", "verify"], ["key", "status"]):
        result = cluster.run(*command, "--org", "gone", check=False)
        assert result.returncode == 1 and "lacks the schema of the organization gone" in result.stdout + result.stderr, result
    for command in (["verify"], ["events", "verify"]):
        unknown = cluster.run(*command, "--org", "nope", check=False)
        assert unknown.returncode == 1 and "There is no organization nope" in unknown.stdout + unknown.stderr, unknown
    suspended = cluster.run("org", "suspend", "gone", check=False)
    assert suspended.returncode == 1 and "database lacks what the program's migrations make" in suspended.stderr and "org_gone" in suspended.stderr
    status = next(line for line in cluster.run("migrate", "status").stdout.splitlines() if line.startswith("gone: "))
    assert status.count("gone") == 1 and "its schema" in status, status
    assert all(not message.startswith("gone") for message in findings(cluster, "migration-problem", "gone"))
    cluster.sql("ALTER TABLE org_contoso.usersettings RENAME TO us2")
    result = cluster.run("verify", "--org", "contoso", check=False)
    cluster.sql("ALTER TABLE org_contoso.us2 RENAME TO usersettings")
    assert result.returncode == 1 and "database lacks" in result.stdout and "usersettings" in result.stdout, result
