"""Several databases in one deployment. Each organization is in one of them. If one database can't be reached, organizations in other databases are served."""

import json
import re
import threading
import time

import pytest
import requests
import several_databases
import yaml
from server import Server
from service import PATIENCE
from several_databases import Caller, readiness
from waiting import until


deployment, server = several_databases.deployment, several_databases.server


@pytest.fixture(scope="module")
def callers(server):
    made = {name: Caller(server, name) for name in ["contoso", "fabrikam", "tailspin"]}
    for caller in made.values():
        assert caller.sign_in().status_code == 200
    return made


def test_each_organization_is_served_from_its_database(deployment, callers):
    for caller in callers.values():
        name = f"in {caller.organization}"
        assert caller.request("POST", "mailboxes", json={"name": name, "password": "pa55"}).status_code == 204
        assert [row["name"] for row in caller.request().json()["value"]].count(name) == 1
    assert deployment.sql("east", "SELECT name FROM org_fabrikam.mailbox") == [("in fabrikam",)]
    assert deployment.sql("west", "SELECT name FROM org_tailspin.mailbox") == [("in tailspin",)]


def test_a_token_is_good_for_its_organization_alone(callers):
    token = callers["fabrikam"].session.headers["Authorization"]
    other = callers["contoso"]
    assert other.request(headers={"Authorization": token}).status_code == 401
    assert callers["fabrikam"].request().status_code == 200


def test_discovery_and_the_console_find_the_database(server, callers):
    caller = callers["fabrikam"]
    found = caller.session.get(f"{server.base}/api/discovery/v2.0/Instances", timeout=PATIENCE)
    assert found.status_code == 200 and found.json()["value"][0]["UniqueName"] == "fabrikam"
    chosen = requests.get(
        f"{server.base}/?organization=tailspin", verify=caller.session.verify, timeout=PATIENCE, allow_redirects=False)
    assert chosen.status_code in (302, 303)
    page = requests.get(f"{server.base}/fabrikam/sign-in", verify=caller.session.verify, timeout=PATIENCE)
    assert page.status_code == 200


def test_an_organization_that_is_made_or_renamed_is_found(deployment, server):
    deployment.run("org", "create", "adatum", "--database", "east")
    caller = Caller(server, "adatum")
    until(lambda: caller.sign_in().status_code == 200)
    assert caller.request().status_code == 200
    deployment.run("org", "rename", "adatum", "adatum-two")
    until(lambda: caller.request().status_code == 404)
    assert deployment.organizations("east") == {"fabrikam", "adatum-two"}


def test_unknown_names_do_not_reach_a_database(deployment, server, callers):
    """Many requests for organizations that do not exist cause few statements, so strangers can't put load on the databases."""
    count = "SELECT sum(xact_commit + xact_rollback) FROM pg_stat_database WHERE datname IN ('fieldseal', 'east')"
    session = callers["contoso"].session
    before = deployment.sql("main", count)[0][0]
    start = time.monotonic()
    for number in range(300):
        answer = session.post(f"{server.base}/unknown-{number}/oauth2/v2.0/token", timeout=PATIENCE, data={
            "grant_type": "client_credentials", "client_id": "00000000-0000-4000-8000-000000000000", "client_secret": "x"})
        assert answer.status_code in (400, 404, 429), answer.text
    seconds = time.monotonic() - start
    # The limit allows for the server's background work, and for one search per second for an unknown name.
    assert deployment.sql("main", count)[0][0] - before < 100 + 30 * seconds


def test_names_are_unique_over_all_databases(deployment):
    refused = deployment.run("org", "create", "tailspin", "--database", "main", check=False)
    assert refused.returncode and "the database west has it" in refused.stderr
    refused = deployment.run("org", "rename", "fabrikam", "contoso", check=False)
    assert refused.returncode and "the database main has it" in refused.stderr
    assert "contoso" not in deployment.organizations("east") and "fabrikam" in deployment.organizations("east")


def test_of_creates_at_the_same_time_one_wins(deployment):
    results = []

    def create(database):
        results.append(deployment.run("org", "create", "race", "--database", database, check=False))

    threads = [threading.Thread(target=create, args=[name]) for name in ["main", "east", "main", "east"]]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [result.returncode for result in results].count(0) == 1
    assert [("race" in deployment.organizations(name)) for name in deployment.names].count(True) == 1


def test_a_new_organization_goes_where_there_is_room(deployment):
    sizes = {name: deployment.sql(name, "SELECT pg_database_size(current_database())")[0][0] for name in deployment.names}
    made = json.loads(deployment.run("org", "create", "roomy", "--json").stdout)
    assert made["database"] == min(sizes, key=sizes.get)
    assert "roomy" in deployment.organizations(made["database"])


def test_commands_take_all_databases_or_one(deployment):
    listed = [json.loads(line) for line in deployment.run("org", "list", "--json").stdout.splitlines()]
    assert [entry["database"] for entry in listed] == ["east", "main", "west"]
    assert "tailspin" in {row["organization"] for row in listed[2]["report"]}
    one = json.loads(deployment.run("org", "list", "--json", "--database", "main").stdout)
    assert "contoso" in {row["organization"] for row in one} and "tailspin" not in {row["organization"] for row in one}
    verified = deployment.run("verify").stdout
    assert all(f"{name}: " in verified for name in ["contoso", "fabrikam", "tailspin"])
    # The command finds the organization although no database is named.
    assert "Encryption: active" in deployment.run("key", "status", "--org", "tailspin").stdout
    unknown = deployment.run("key", "status", "--org", "nobody", check=False)
    assert unknown.returncode and "There is no organization nobody" in unknown.stderr and "tailspin" in unknown.stderr
    unnamed = deployment.run("key", "status", check=False)
    assert unnamed.returncode and "--org" in unnamed.stderr
    wrong = deployment.run("org", "list", "--database", "north", check=False)
    assert wrong.returncode and "no database north" in wrong.stderr and "east, main, west" in wrong.stderr


def test_the_doctor_looks_at_all_and_finds_duplicates(deployment):
    before = json.loads(deployment.run("doctor", "--json", check=False).stdout)
    assert "organization-in-two-databases" not in {finding["code"] for finding in before["findings"]}
    assert before["organizations"] >= 3
    # After a restore into the wrong database, an organization could be in two databases. SQL makes that state.
    deployment.sql("east", "UPDATE config.organization SET name = 'tailspin', schema_name = 'org_tailspin' WHERE name = 'fabrikam'")
    try:
        found = json.loads(deployment.run("doctor", "--json", check=False).stdout)["findings"]
        (duplicate,) = [finding for finding in found if finding["code"] == "organization-in-two-databases"]
        assert "east, west" in duplicate["message"] and "of east" in duplicate["message"]
        ambiguous = deployment.run("key", "status", "--org", "tailspin", check=False)
        assert ambiguous.returncode and "in the databases east, west" in ambiguous.stderr
        assert deployment.run("key", "status", "--org", "tailspin", "--database", "west").returncode == 0
    finally:
        deployment.sql("east", "UPDATE config.organization SET name = 'fabrikam', schema_name = 'org_fabrikam' WHERE name = 'tailspin'")


def test_settings_say_what_is_wrong(deployment):
    home = deployment.main.home
    good = yaml.safe_load((home / "several.yaml").read_text())

    def refusal(**changes):
        (home / "wrong.yaml").write_text(json.dumps({**good, **changes}))
        result = deployment.main.run("config", "check", settings="wrong", check=False)
        assert result.returncode
        return result.stderr + result.stdout

    assert "database and databases" in refusal(database="host=x")
    assert "north" in refusal(migrationDatabases={"north": "host=x"})
    assert "databases.east" in refusal(databases={"east": ""})
    secret = refusal(databases={"main": "host=/nowhere password=geheim", "Ost": "host=x password=geheim"})
    assert "lower-case" in secret and "geheim" not in secret
    assert "migrationDatabase beside databases" in refusal(migrationDatabase="host=x")
    shown = json.loads(deployment.run("config", "check", "--json", check=False).stdout)["settings"]
    assert set(shown["databases"]) == {"main", "east", "west"}


def reachable(server):
    """Whether each database can be reached according to the server's metrics: {name: 1 or 0}."""
    lines = (server.cluster.home / f"serve-{server.port}.log").read_text().splitlines()
    port = [entry["port"] for entry in map(json.loads, (line for line in lines if line.startswith("{"))) if entry["message"] == "listening for metrics"][-1]
    text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
    return {name: int(value) for name, value in re.findall(r'^fieldseal_database_reachable\{database="(\w+)"\} ([01])(?:\.0)?$', text, re.MULTILINE)}


def test_a_database_that_is_away_takes_no_other_along(deployment, server, callers):
    """The database `west` is stopped while a server runs, another server starts without it, and `west` is started again."""
    deployment.west.stop()
    is_away = True
    try:
        until(lambda: callers["tailspin"].request().status_code == 503)
        assert callers["tailspin"].request().headers["Retry-After"]
        assert callers["contoso"].request().status_code == 200 and callers["fabrikam"].request().status_code == 200
        until(lambda: readiness(server).json().get("databases", {}).get("west", "ready") != "ready")
        state = readiness(server)
        assert state.status_code == 200 and state.json()["databases"]["main"] == "ready"
        until(lambda: reachable(server) == {"main": 1, "east": 1, "west": 0})
        failed = deployment.run("verify", "--json", check=False)
        assert failed.returncode == 3
        lines = [json.loads(line) for line in failed.stdout.splitlines()]
        assert {line.get("organization") for line in lines if "error" not in line} >= {"contoso", "fabrikam"}
        assert [line["database"] for line in lines if "error" in line] == ["west"]
        doctor = deployment.run("doctor", "--json", check=False)
        assert doctor.returncode == 3
        assert [f["subject"] for f in json.loads(doctor.stdout)["findings"] if f["code"] == "database-unreachable"] == ["west"]
        refused = deployment.run("org", "create", "later", "--database", "main", check=False)
        assert refused.returncode and "west can't be reached" in refused.stderr and "later" not in deployment.organizations("main")
        other = Server(deployment.main, settings="several")
        try:
            second = Caller(other, "contoso")
            assert second.sign_in().status_code == 200 and second.request().status_code == 200
            unknown = other_request(other, "tailspin")
            # The server has not reached the database yet, so it can't know whether the organization is there.
            assert unknown.status_code == 503 and unknown.headers["Retry-After"]
            deployment.west.start()
            is_away = False
            until(lambda: other_request(other, "tailspin").status_code == 401)
            until(lambda: callers["tailspin"].request().status_code == 200)
            until(lambda: set(reachable(server).values()) == {1} and set(reachable(other).values()) == {1})
            assert other_request(other, "nowhere").status_code in (401, 404)
            until(lambda: set(readiness(other).json()["databases"].values()) == {"ready"})
        finally:
            other.stop()
    finally:
        if is_away:
            deployment.west.start()


def other_request(server, organization):
    return requests.get(
        f"{server.base}/{organization}/api/data/v9.2/WhoAmI", verify=str(server.cluster.home / "server.pem"), timeout=PATIENCE,
        headers={"Authorization": "Bearer a.b.c"})
