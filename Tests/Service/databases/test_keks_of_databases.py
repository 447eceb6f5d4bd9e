"""Each database has its own key-encryption key. A wrong key for one database does not affect the others."""

import json
import os
import re
import subprocess

import pytest
import requests
import several_databases
import yaml
from server import Server
from service import PATIENCE
from several_databases import Caller, Deployment, readiness
from waiting import until

# The fixture `server` of several_databases uses this module's fixture `deployment`.
server = several_databases.server
ORGANIZATIONS = {"main": "contoso", "east": "fabrikam", "west": "tailspin"}
PASSWORD = "a password of ada's own"


@pytest.fixture(scope="module")
def deployment():
    """A deployment in which `east` and `west` each have their own key-encryption key, and `main` has the deployment's key."""
    made = Deployment("east", "west")
    yield made
    made.remove()


@pytest.fixture(scope="module", autouse=True)
def ids(deployment):
    """The id of each database's key-encryption key, as its rows name it."""
    return {name: deployment.sql(name, "SELECT DISTINCT kek_id FROM config.organization_key")[0][0] for name in ORGANIZATIONS}


@pytest.fixture(scope="module")
def people(deployment):
    for name in ORGANIZATIONS.values():
        deployment.run("user", "add", "ada", "--org", name, "--role", "System Administrator", stdin=f"{PASSWORD}\n")


def keks(deployment, database):
    """The ids of the key-encryption keys that rows of a database name."""
    return {id for (id,) in deployment.sql(
        database, "SELECT kek_id FROM config.organization_key UNION SELECT kek_id FROM config.attested_state UNION SELECT kek_id FROM config.signing_key")}


def metrics(server):
    lines = (server.cluster.home / f"serve-{server.port}.log").read_text().splitlines()
    port = [entry["port"] for entry in map(json.loads, (line for line in lines if line.startswith("{"))) if entry["message"] == "listening for metrics"][-1]
    return requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text


def give_out_a_password(caller):
    """Creates a mailbox with a password, and releases the password to a router of the organization."""
    def create(entity_set, body):
        answer = caller.request("POST", entity_set, json=body)
        assert answer.status_code == 204, answer.text
        return answer.headers["OData-EntityId"][-37:-1]

    number = os.urandom(4).hex()
    profile = create("emailserverprofiles", {
        "name": number, "servertype": 4, "incomingserverlocation": "localhost", "incomingportnumber": 993, "incomingusessl": True, "incomingcredentialretrieval": 0})
    box = create("mailboxes", {
        "name": number, "emailaddress": f"{number}@contoso.test", "username": "box", "password": f"of {number}", "allowemailconnectortousecredentials": True,
        "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 0, "emailrouteraccessapproval": 1, "testemailconfigurationscheduled": True,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    router = Caller(caller.server, caller.organization, role="Email Router", settings=caller.settings)
    assert router.sign_in().status_code == 200
    assert router.request("POST", "fieldseal.LeaseMailbox", json={"MailboxId": box, "HostId": "x"}).status_code == 200
    released = router.request("POST", "fieldseal.ReleaseCredential", json={"MailboxId": box, "HostId": "x", "Direction": "Incoming"})
    assert released.status_code == 200 and released.json()["Password"] == f"of {number}", released.text


def sign_in(server, organization):
    session = requests.Session()
    session.trust_env, session.verify = False, str(server.cluster.home / "server.pem")
    session.headers.update({"Origin": server.base, "Accept-Language": "en"})
    session.landed = session.post(f"{server.base}/{organization}/sign-in", {"name": "ada", "password": PASSWORD}, timeout=PATIENCE)
    assert session.landed.url.endswith(f"/{organization}/overview"), session.landed.text
    return session


def findings(deployment, settings="several", *more):
    said = json.loads(deployment.main.run("doctor", "--json", *more, settings=settings, check=False).stdout)
    return [(finding.get("subject"), finding["code"]) for finding in said["findings"]]


def test_each_database_is_under_its_own_key(deployment, server, ids):
    assert len(set(ids.values())) == 3
    assert {name: keks(deployment, name) for name in ORGANIZATIONS} == {name: {id} for name, id in ids.items()}
    for name in ORGANIZATIONS.values():
        caller = Caller(server, name)
        assert caller.sign_in().status_code == 200
        give_out_a_password(caller)
    text = metrics(server)
    assert dict(re.findall(r'^fieldseal_kek_info\{database="(\w+)",kek_id="(\w+)"\} 1', text, re.MULTILINE)) == ids
    assert dict(re.findall(r'^fieldseal_kek_readable\{database="(\w+)"\} ([01])', text, re.MULTILINE)) == dict.fromkeys(ORGANIZATIONS, "1")
    started = json.loads((server.cluster.home / f"serve-{server.port}.log").read_text().splitlines()[0])
    assert set(started["kek_id"].split(", ")) == set(ids.values())


def test_a_key_file_that_vanishes_is_told_of_its_database(deployment, server):
    file = deployment.main.home / "kek-east"
    file.rename(f"{file}-away")
    try:
        assert dict(re.findall(r'^fieldseal_kek_readable\{database="(\w+)"\} ([01])', metrics(server), re.MULTILINE)) == {"main": "1", "east": "0", "west": "1"}
        log = server.cluster.home / f"serve-{server.port}.log"
        until(lambda: [line for line in log.read_text().splitlines() if "would not start again" in line and '"databases":"east"' in line.replace('": "', '":"')])
    finally:
        (file.parent / f"{file.name}-away").rename(file)


def test_keys_are_changed_and_people_sign_in_everywhere(deployment, server, people):
    for database, name in ORGANIZATIONS.items():
        assert deployment.run("key", "change", "--org", name).returncode == 0
        session = sign_in(server, name)
        # The form has an error. The console keeps its password, encrypted under the key-encryption key, until the person has corrected it.
        page = session.get(f"{server.base}/{name}/connect", timeout=PATIENCE)
        token = re.search(r'name="csrf" value="([^"]+)"', page.text)[1]
        again = session.post(f"{server.base}/{name}/connect", {"csrf": token, "name": "", "password": "kept"}, timeout=PATIENCE)
        assert again.status_code == 400 and 'name="password!kept" value="' in again.text, again.text
    assert {database: keks(deployment, database) for database in ORGANIZATIONS} == {
        database: {deployment.sql(database, "SELECT kek_id FROM config.attested_state LIMIT 1")[0][0]} for database in ORGANIZATIONS}


def test_commands_take_all_databases_each_with_its_key(deployment, ids):
    verified = deployment.run("verify").stdout
    assert all(f"{name}: " in verified for name in ORGANIZATIONS.values())
    assert deployment.run("events", "verify").returncode == 0 and deployment.run("migrate", "up").returncode == 0
    status = {entry["database"]: entry["inForce"] for entry in map(json.loads, deployment.run("kek", "status", "--json").stdout.splitlines())}
    assert status == ids
    assert not [code for _, code in findings(deployment) if "kek" in code or "key-encryption" in code]
    checked = json.loads(deployment.run("config", "check", "--json", check=False).stdout)
    assert set(checked["settings"]["kekFiles"]) == {"east", "west"} and not [text for text in checked["problems"] if "key-encryption" in text]


def test_a_backup_is_checked_with_the_key_of_its_database(deployment, ids):
    dump = deployment.main.home / "east.dump"
    subprocess.run(["pg_dump", "-Fc", "-f", dump, f"{deployment.names['east']} user=postgres"], check=True)
    assert f"under the key-encryption key {ids['east']}, which opens it" in deployment.run("backup", "check", str(dump), "--database", "east").stdout
    other = deployment.run("backup", "check", str(dump), "--database", "west", check=False)
    assert "which opens it" not in other.stdout
    unnamed = deployment.run("backup", "check", str(dump), check=False)
    assert unnamed.returncode and "Name one with --database: east, main, west" in unnamed.stderr
    alone = deployment.main.run("backup", "check", str(dump), "--database", "east", settings=None, check=False)
    assert alone.returncode and "--database needs --settings" in alone.stderr


def test_an_organization_is_not_moved_under_another_key(deployment, server, ids):
    """Neither the move nor its rehearsal changes anything in the two databases."""
    def state():
        return [deployment.sql(name, """
            SELECT (SELECT array_agg(nspname ORDER BY 1) FROM pg_namespace WHERE nspname !~ '^pg_'),
                   (SELECT json_agg(a ORDER BY a.organization_id)::text FROM config.attested_state AS a),
                   (SELECT json_agg(o ORDER BY o.organization_id)::text FROM config.organization AS o),
                   (SELECT count(*) FROM config.organization_move)""") for name in ("east", "main")]

    before = state()
    for more in (["--rehearse"], []):
        refused = deployment.run("org", "move", "contoso", "--to", "east", *more, check=False)
        assert refused.returncode == 1 and "Nothing was changed" in refused.stderr, refused.stderr
        assert f"contoso is under the key-encryption key {ids['main']}, and the database east has another one, {ids['east']}" in refused.stderr
    assert state() == before
    caller = Caller(server, "contoso")
    assert caller.sign_in().status_code == 200 and caller.request().status_code == 200


def test_a_move_is_refused_if_sql_named_a_key_encryption_key(deployment, ids):
    """SQL wrote the id of an unknown key, so the error must not ask for that key."""
    row = "UPDATE config.organization_key SET kek_id = '{}' WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = 'contoso')"
    deployment.sql("main", row.format("0123456789abcdef"))
    try:
        refused = deployment.run("org", "move", "contoso", "--to", "east", check=False)
        assert refused.returncode == 1 and "Nothing was changed" in refused.stderr, refused.stderr
        assert "A row of config in the database main names the key-encryption key 0123456789abcdef, which neither database has" in refused.stderr
        assert "kek rotate" not in refused.stderr and "has another one" not in refused.stderr
    finally:
        deployment.sql("main", row.format(ids["main"]))


def test_an_organization_is_taken_there_with_its_key(deployment, server, ids):
    """Follows the advice of the refused move: the organization is exported, and imported into the other database."""
    home = deployment.main.home
    deployment.run("org", "create", "wingtip", "--database", "main")
    caller = Caller(server, "wingtip")
    until(lambda: caller.sign_in().status_code == 200)
    assert caller.request("POST", "mailboxes", json={"name": "box", "password": "pa55"}).status_code == 204
    key = deployment.run("key", "show", "--org", "wingtip").stdout
    deployment.run("org", "export", "wingtip", str(home / "wingtip.export"))
    deployment.run("org", "remove", "wingtip", "--without-export", stdin="wingtip\n")
    deployment.run("org", "import", str(home / "wingtip.export"), "--key", "--database", "east", stdin=key)
    assert "wingtip" in deployment.organizations("east") and "all of them open" in deployment.run("verify", "--org", "wingtip").stdout
    assert deployment.sql("east", "SELECT DISTINCT kek_id FROM config.organization_key") == [(ids["east"],)]


def test_a_wrong_key_takes_its_database_out_and_no_other(deployment, ids):
    home = deployment.main.home
    wrong = deployment.settings("wrong", kekFiles={"east": f"{home}/kek-west", "west": f"{home}/kek-west"})
    unreadable = deployment.settings("unreadable", kekFiles={"east": f"{home}/kek-nowhere", "west": f"{home}/kek-west"})
    checked = json.loads(deployment.main.run("config", "check", "--json", settings=wrong, check=False).stdout)
    assert [text for text in checked["problems"] if text.startswith("east: ") and ids["east"] in text and ids["west"] in text], checked["problems"]
    assert not [text for text in checked["problems"] if text.startswith(("main: ", "west: "))]
    assert [subject for subject, code in findings(deployment, wrong) if code == "wrong-key-encryption-key"] == ["east"]
    checked = json.loads(deployment.main.run("config", "check", "--json", settings=unreadable, check=False).stdout)
    assert [text for text in checked["problems"] if text.startswith("east: ") and "kek-nowhere" in text], checked["problems"]
    assert [subject for subject, code in findings(deployment, unreadable) if code == "kek-unusable"] == ["east"]
    named = deployment.main.run("key", "status", "--org", "fabrikam", settings=wrong, check=False)
    assert named.returncode == 78 and named.stderr.startswith("Error: the database east: ") and ids["east"] in named.stderr
    # A command for all databases does its work in the databases whose key is right.
    failed = deployment.main.run("verify", "--json", settings=wrong, check=False)
    lines = [json.loads(line) for line in failed.stdout.splitlines()]
    assert failed.returncode == 78 and [line["database"] for line in lines if "error" in line] == ["east"], failed.stderr
    assert {line.get("organization") for line in lines} >= {"contoso", "tailspin"}

    for settings, words in [(wrong, ids["east"]), (unreadable, "can't be read")]:
        other = Server(deployment.main, settings=settings)
        try:
            for name in ("contoso", "tailspin"):
                caller = Caller(other, name)
                assert caller.sign_in().status_code == 200 and caller.request().status_code == 200
            away = Caller(other, "fabrikam").sign_in()
            assert away.status_code == 503 and away.headers["Retry-After"]
            state = readiness(other)
            databases = state.json()["databases"]
            assert state.status_code == 200 and words in databases["east"] and (databases["main"], databases["west"]) == ("ready", "ready")
            assert str(home) not in state.text
        finally:
            other.stop()
    # The doctor also reports a wrong key for `main`, which is the deployment's key.
    shared = deployment.settings("shared", kekFile=f"{home}/kek-west")
    assert [subject for subject, code in findings(deployment, shared) if code == "wrong-key-encryption-key"] == ["main"]


def test_a_database_is_served_once_its_key_is_corrected(deployment):
    home = deployment.main.home
    settings = deployment.settings("later", kekFiles={"east": f"{home}/kek-later", "west": f"{home}/kek-west"})
    other = Server(deployment.main, settings=settings)
    try:
        caller = Caller(other, "fabrikam")
        assert caller.sign_in().status_code == 503
        (home / "kek-later").write_bytes((home / "kek-east").read_bytes())
        (home / "kek-later").chmod(0o400)
        until(lambda: caller.sign_in().status_code == 200)
        assert caller.request().status_code == 200 and readiness(other).json()["databases"]["east"] == "ready"
    finally:
        other.stop()


def test_the_key_of_one_database_is_replaced(deployment, server, people):
    """`east` gets a new key while a server runs, and `main` gets its first own key. `west` keeps its key."""
    home = deployment.main.home
    for name in ("kek-east-new", "kek-main"):
        deployment.main.run("kek", "create", f"{home}/{name}", settings=None)
    keys = {"east": f"{home}/kek-east", "west": f"{home}/kek-west"}
    both = deployment.settings("both", kekFiles=keys, newKekFiles={"east": f"{home}/kek-east-new", "main": f"{home}/kek-main"})
    before = {name: keks(deployment, name) for name in ORGANIZATIONS}
    # The server that runs does not know the new key, so the rotation is refused.
    refused = deployment.main.run("kek", "rotate", "--database", "east", settings=both, check=False)
    assert refused.returncode == 1 and "does not know the key-encryption key" in refused.stderr
    server.stop()
    other = Server(deployment.main, settings=both, after=server)
    try:
        callers = {name: Caller(other, name, settings=both) for name in ORGANIZATIONS.values()}
        for caller in callers.values():
            assert caller.sign_in().status_code == 200
        said = deployment.main.run("kek", "rotate", "--database", "east", settings=both).stdout
        assert "Everything in this database is under" in said and "This holds for east." in said
        assert keks(deployment, "east").isdisjoint(before["east"])
        assert (keks(deployment, "main"), keks(deployment, "west")) == (before["main"], before["west"])
        said = deployment.main.run("kek", "rotate", settings=both).stdout
        assert "The settings name no new key-encryption key for this database" in said and "This holds for east, main." in said
        assert keks(deployment, "main").isdisjoint(before["main"]) and keks(deployment, "west") == before["west"]
        for caller in callers.values():
            assert caller.request().status_code == 200
            give_out_a_password(caller)
    finally:
        other.stop()
    # No database uses the deployment's key any more, so the settings can leave it out.
    after = deployment.settings("after", kekFile=None, kekFiles={"east": f"{home}/kek-east-new", "main": f"{home}/kek-main", "west": f"{home}/kek-west"})
    refused = deployment.main.run("kek", "status", settings="several", check=False)
    assert refused.returncode == 78
    deployment.main.run("kek", "retire", settings=after)
    assert [deployment.sql(name, "SELECT count(*) FROM config.replaced_kek WHERE retired_on IS NOT NULL")[0][0] for name in ("east", "main", "west")] == [1, 1, 0]
    # The settings name programs that print these keys. The server starts with them.
    commands = deployment.settings("commands", kekFile=None, kekFiles=None, kekCommands={
        "east": ["/bin/cat", f"{home}/kek-east-new"], "main": ["/bin/cat", f"{home}/kek-main"], "west": ["/bin/cat", f"{home}/kek-west"]})
    again = Server(deployment.main, settings=commands, after=other)
    try:
        for name in ORGANIZATIONS.values():
            caller = Caller(again, name, settings=commands)
            assert caller.sign_in().status_code == 200
            give_out_a_password(caller)
            sign_in(again, name)
        assert "fieldseal_kek_readable" not in metrics(again)
    finally:
        again.stop()
    assert not [code for _, code in findings(deployment, commands) if "kek" in code or "key-encryption" in code]


@pytest.fixture
def another():
    made = Deployment("east", "west")
    yield made
    made.remove()


def test_databases_with_one_key_pass_organizations_on(another):
    """`west` gets the key of `east`, an organization is moved there and back, and `west` gets another key."""
    deployment, home = another, another.main.home
    own = yaml.safe_load((home / "several.yaml").read_text())["kekFiles"]
    both = deployment.settings("west-too", newKekFiles={"west": own["east"]})
    refused = deployment.run("org", "move", "fabrikam", "--to", "west", check=False)
    assert refused.returncode == 1 and "has another one" in refused.stderr
    deployment.main.run("kek", "rotate", settings=both)
    same = deployment.settings("same", kekFiles={**own, "west": own["east"]})
    deployment.main.run("kek", "retire", settings=same)
    for place in ("west", "east"):
        deployment.main.run("org", "move", "fabrikam", "--to", place, settings=same)
        assert "fabrikam" in deployment.organizations(place)
        assert "all of them open" in deployment.main.run("verify", "--org", "fabrikam", settings=same).stdout
    # `west` gets another key than the common one. The common key is retired in `west`, and remains valid in `east`.
    deployment.main.run("kek", "create", f"{home}/kek-west-new", settings=None)
    leaving = deployment.settings("leaving", kekFiles={**own, "west": own["east"]}, newKekFiles={"west": f"{home}/kek-west-new"})
    [common] = keks(deployment, "east")
    deployment.main.run("kek", "rotate", "--database", "west", settings=leaving)
    left = deployment.settings("left", kekFiles={**own, "west": f"{home}/kek-west-new"})
    deployment.main.run("kek", "retire", settings=left)
    retired = "SELECT count(*) FROM config.replaced_kek WHERE kek_id = %s AND retired_on IS NOT NULL"
    assert [deployment.sql(name, retired, [common])[0][0] for name in ("east", "west")] == [0, 1]
    assert deployment.main.run("verify", settings=left).returncode == 0


def test_settings_say_what_is_wrong_or_not_supported(deployment):
    home = deployment.main.home

    def refusal(**changes):
        result = deployment.main.run("config", "check", settings=deployment.settings("refused", **changes), check=False)
        assert result.returncode
        return result.stderr + result.stdout

    assert "kekFiles has north, which is not among databases" in refusal(kekFiles={"north": "/x"})
    assert "newKekCommands has north" in refusal(newKekCommands={"north": ["/bin/cat", "/x"]})
    assert "kekFiles.east and kekCommands.east" in refusal(kekCommands={"east": ["/bin/cat", "/x"]})
    assert "no key-encryption key for the database main" in refusal(kekFile=None)
    assert "not an absolute path" in refusal(kekCommands={"main": ["cat", "/x"]})
    assert "kekCommands takes" in refusal(kekCommands={"main": "/bin/cat"})
    assert "kekFiles takes" in refusal(kekFiles={"east": ""})
    for name in ("keks", "kekTokens"):
        text = refusal(**{name: {"east": {"file": "/x"}}})
        assert f"{name}, which is not supported" in text and "kek.pkcs11" in text
    one = {"databases": None, "migrationDatabases": None, "database": f"host={home} dbname=fieldseal user=fieldseal_service"}
    assert "the settings lack databases" in refusal(**one)
    for key, text in [("FIELDSEAL_KEK_COMMANDS", "cat /x"), ("FIELDSEAL_KEK_FILES", "east=/x")]:
        result = deployment.run("config", "check", check=False, env={**os.environ, key: text})
        assert result.returncode and f"({key})" in result.stderr, result.stderr
    words = {"FIELDSEAL_KEK_FILES": json.dumps({"west": f"{home}/kek-west"}), "FIELDSEAL_KEK_COMMANDS": json.dumps({"east": ["/bin/cat", f"{home}/kek-east"]})}
    shown = json.loads(deployment.run("config", "check", "--json", check=False, env={**os.environ, **words}).stdout)["settings"]
    assert shown["kekCommands"] == {"east": ["/bin/cat", f"{home}/kek-east"]} and list(shown["kekFiles"]) == ["west"]
    copies = refusal(kekCopyFiles={"east": f"{home}/nowhere"}, https={"port": "x"})
    assert "https.port" in copies
