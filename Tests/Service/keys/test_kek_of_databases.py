"""The key-encryption key of several databases is replaced. It is not retired while a database uses it, and no organization is moved to a database
that would refuse its key."""

import json

import pytest
from several_databases import Deployment


@pytest.fixture(scope="module")
def deployment():
    made = Deployment()
    try:
        made.main.run("kek", "create", str(made.main.home / "kek.new"), settings=None)
        text = (made.main.home / "several.yaml").read_text()
        (made.main.home / "both.yaml").write_text(f"{text}\nnewKek: {json.dumps({'file': str(made.main.home / 'kek.new')})}\n")
        (made.main.home / "new.yaml").write_text(text.replace(f"{made.main.home}/kek", f"{made.main.home}/kek.new"))
        yield made
    finally:
        made.remove()


def replaced(deployment):
    """For each database, the key-encryption keys that were replaced: [(id, whether it was retired)]."""
    return {name: deployment.sql(name, "SELECT kek_id, retired_on IS NOT NULL FROM config.replaced_kek") for name in ("east", "main", "west")}


def move(deployment, *more):
    return deployment.main.run("org", "move", "contoso", "--to", "east", *more, settings="both", check=False)


def test_a_key_is_replaced_in_all_databases_or_retired_in_none(deployment):
    run = deployment.main.run
    [(old,)] = deployment.sql("main", "SELECT DISTINCT kek_id FROM config.attested_state")
    # The command for one database does not say that the other databases are done.
    said = run("kek", "rotate", "--database", "east", settings="both").stdout
    assert "Everything in this database is under" in said and "The other databases were not examined." in said and "kek retire" not in said
    assert replaced(deployment) == {"east": [(old, False)], "main": [], "west": []}

    for more in (["--rehearse"], []):
        refused = move(deployment, *more)
        assert refused.returncode == 1 and f"contoso is under the key-encryption key {old}, which was replaced in the database east" in refused.stderr
        assert "kek rotate --database main" in refused.stderr
    assert deployment.sql("east", "SELECT count(*) FROM pg_namespace WHERE nspname LIKE '%\\_contoso'") == [(0,)]
    assert "contoso" in run("org", "list", settings="both").stdout

    # The other databases still use the former key, so it can't be retired.
    refused = run("kek", "retire", settings="new", check=False)
    assert refused.returncode == 78 and "nothing was retired in any database" in refused.stderr, refused.stderr
    assert replaced(deployment)["east"] == [(old, False)]

    said = run("kek", "rotate", settings="both").stdout
    assert said.count("Everything in this database is under") == 3 and "This holds for all databases. Name the new key alone" in said
    # The control: after the rotation in all databases, the organization can be moved to east and back.
    assert move(deployment).returncode == 0
    run("org", "move", "contoso", "--to", "main", settings="both")

    # SQL writes the former key's id to a row of west, so the former key can't be retired.
    deployment.sql("west", "UPDATE config.signing_key SET kek_id = %s", [old])
    count = deployment.sql("west", "SELECT count(*) FROM config.signing_key")[0][0]
    if not count:
        deployment.sql("west", "UPDATE config.organization_key SET kek_id = %s WHERE retired_on IS NULL", [old])
    refused = run("kek", "retire", settings="new", check=False)
    assert refused.returncode in (1, 78) and "west" in refused.stderr and old in refused.stderr and "nothing was retired in any database" in refused.stderr, refused.stderr
    assert all(not retired for rows in replaced(deployment).values() for _, retired in rows)
    [(new,)] = deployment.sql("main", "SELECT DISTINCT kek_id FROM config.attested_state")
    deployment.sql("west", "UPDATE config.signing_key SET kek_id = %s", [new])
    deployment.sql("west", "UPDATE config.organization_key SET kek_id = %s WHERE retired_on IS NULL", [new])

    run("kek", "retire", settings="new")
    assert replaced(deployment) == {name: [(old, True)] for name in ("east", "main", "west")}
    # The doctor reports an organization that names the retired key.
    deployment.sql("main", "UPDATE config.attested_state SET kek_id = %s", [old])
    found = json.loads(run("doctor", "--json", "--database", "main", settings="new", check=False).stdout)["findings"]
    assert ("under-retired-kek", "error") in {(f["code"], f["severity"]) for f in found}, found
