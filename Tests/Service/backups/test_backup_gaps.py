"""`fieldseal backup check` reports what is missing in a dump: tables, rows, keys, guards or rights."""

import json
import subprocess

import pytest
from cluster import Cluster
from service import PATIENCE


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        cluster.fill(10)
        cluster.run("key", "change")
        cluster.run("org", "create", "fabrikam")
        # A dump must also have the tables that a DBA added.
        cluster.sql("CREATE TABLE org_contoso.own_table (x integer)")
        yield cluster
    finally:
        cluster.remove()


def check(cluster, tmp_path, *arguments):
    """Makes a dump with these arguments of pg_dump. Returns the exit code of the check, and the problems that it found."""
    file = tmp_path / "dump"
    subprocess.run(["pg_dump", "-Fc", "-h", str(cluster.home), "-U", "postgres", "-f", str(file), *arguments, "fieldseal"], check=True, timeout=PATIENCE)
    result = cluster.run("backup", "check", str(file), "--kek-file", str(cluster.home / "kek"), "--json", settings=None, check=False)
    return result.returncode, json.loads(result.stdout)["problems"]


def test_a_whole_dump_lacks_nothing(cluster, tmp_path):
    assert check(cluster, tmp_path) == (0, [])
    # A dump may lack the rows of an unlogged table, because a crash loses them too.
    assert check(cluster, tmp_path, "--no-unlogged-table-data", "--no-comments") == (0, [])


@pytest.mark.parametrize("option, words", [
    ("-T=org_contoso.mailbox_cell*", "contoso: the dump lacks the tables org_contoso.mailbox_cell, org_contoso.mailbox_cell_k2."),
    ("--exclude-table-data=org_contoso.*_cell_k*", "the rows of the tables org_contoso.emailserverprofile_cell_k2, org_contoso.mailbox_cell_k2, org_contoso.queue_cell_k2"),
    ("--exclude-table-data=org_fabrikam.mailbox_cell_k1", "fabrikam: the dump lacks the rows of the table org_fabrikam.mailbox_cell_k1."),
    ("--exclude-table-data=org_contoso.mailbox", "contoso: the dump lacks the rows of the table org_contoso.mailbox."),
    ("-T=org_contoso.mailbox", "contoso: the dump lacks the table org_contoso.mailbox."),
    ("-T=org_contoso.email", "the table org_contoso.email."),
    ("--exclude-table-data=org_contoso.security_event", "the rows of the table org_contoso.security_event."),
    ("--exclude-table-data=org_contoso.mail_destination", "the rows of the table org_contoso.mail_destination."),
    ("--exclude-table-data=org_contoso.migration", "the rows of the table org_contoso.migration."),
    ("--exclude-table-data=org_contoso.own_table", "the rows of the table org_contoso.own_table."),
    ("--exclude-table-data=org_contoso.version_number", "the value of the sequence org_contoso.version_number."),
    ("-T=org_contoso.version_number", "contoso: the dump lacks the sequence org_contoso.version_number."),
    ("-T=config.encryption_status", "config: the dump lacks the view config.encryption_status."),
    ("-T=config.attested_state", "config: the dump lacks the table config.attested_state."),
    ("--exclude-table-data=config.attested_state", "contoso: config.attested_state has no row of it"),
    ("--exclude-table-data=config.api_client", "config: the dump lacks the rows of the table config.api_client."),
    ("--exclude-table-data=config.console_user", "the rows of the table config.console_user."),
    ("--exclude-table-data=config.migration", "the rows of the table config.migration."),
    ("--exclude-table-data=org_contoso.encryption", "the dump lacks the row of org_contoso.encryption"),
    ("--no-privileges", "contoso: the dump lacks all rights of the schema org_contoso. Take the dump again, without --no-privileges"),
    ("--schema-only", "the rows of the tables config."),
    ("--data-only", "the dump holds no organization"),
])
def test_what_a_dump_lacks_is_named(cluster, tmp_path, option, words):
    code, problems = check(cluster, tmp_path, *option.split("=", 1)) if option.startswith("-T") else check(cluster, tmp_path, option)
    assert code == 1 and any(words in problem for problem in problems), problems


def test_a_dump_without_keys_and_guards_is_named(cluster, tmp_path):
    code, problems = check(cluster, tmp_path, "--section=pre-data", "--section=data")
    assert code == 1
    for kind in ("keys and constraints", "indexes", "triggers, which guard its tables"):
        assert any(f"contoso: the dump lacks all {kind} of the schema org_contoso" in problem for problem in problems), problems


def test_the_row_of_one_organization(cluster, tmp_path):
    """One organization has no attested state, and the check names only that organization."""
    with_row = cluster.sql("SELECT * FROM config.attested_state WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = 'fabrikam')")
    cluster.sql("CREATE TABLE config.kept AS SELECT s.* FROM config.attested_state AS s JOIN config.organization USING (organization_id) WHERE name = 'fabrikam'")
    assert len(with_row) == 1
    cluster.sql("DELETE FROM config.attested_state WHERE organization_id IN (SELECT organization_id FROM config.kept)")
    try:
        code, problems = check(cluster, tmp_path)
        assert code == 1 and [p.split(":")[0] for p in problems] == ["fabrikam"], problems
    finally:
        cluster.sql("INSERT INTO config.attested_state SELECT * FROM config.kept")
        cluster.sql("DROP TABLE config.kept")


def test_a_dump_of_an_older_version_is_measured_by_that_version(cluster, tmp_path):
    cluster.run("org", "create", "older")
    cluster.step_back("older", "0018_application_ids")
    assert cluster.sql("SELECT to_regclass('org_older.systemuserroles') IS NULL") == [(True,)]
    assert check(cluster, tmp_path) == (0, [])
