"""Secrets of clients, and passwords, second factors, roles and sessions of people, as operators and people see them."""

import json
import re

import pytest
import requests
from cluster import Cluster
from one_time import one_time_password
from server import Server
from service import PATIENCE, Deployment


@pytest.fixture(scope="module")
def server():
    cluster = Cluster()
    try:
        server = Server(cluster)
        try:
            yield server
        finally:
            server.stop()
    finally:
        cluster.remove()


@pytest.fixture
def run(server):
    return server.cluster.run


class Person:
    """A person in the console. If the sign-in succeeds, the object has a session."""

    def __init__(self, server, name, password, code=""):
        self.pages = f"{server.base}/contoso"
        self.session = requests.Session()
        self.session.verify, self.session.trust_env = str(server.cluster.home / "server.pem"), False
        self.session.headers.update({"Origin": server.base, "Accept-Language": "en"})
        self.answer = self.session.post(f"{self.pages}/sign-in", {"name": name, "password": password, "code": code}, timeout=PATIENCE)
        found = re.search(r'name="csrf" value="(\w+)"', self.answer.text)
        self.csrf = found and found[1]

    @property
    def is_signed_in(self):
        return self.answer.status_code == 200

    def get(self, page):
        return self.session.get(f"{self.pages}/{page}", timeout=PATIENCE)

    def post(self, page, **form):
        return self.session.post(f"{self.pages}/{page}", {"csrf": self.csrf, **form}, timeout=PATIENCE)

    def change_password(self, old, new):
        answer = self.post("account/password", old=old, new=new, again=new)
        found = re.search(r'name="csrf" value="(\w+)"', answer.text)
        self.csrf = found[1] if found else self.csrf
        return answer


def token(server, id, secret):
    return requests.post(
        f"{server.base}/contoso/oauth2/v2.0/token", verify=server.cluster.home / "server.pem", timeout=PATIENCE,
        data={"grant_type": "client_credentials", "client_id": id, "client_secret": secret}).status_code


def findings(run):
    return {f["code"] for f in json.loads(run("doctor", "--json", check=False).stdout)["findings"]}


def add_client(run, name, *arguments):
    client = json.loads(run("client", "add", name, "--role", "Basic User", "--json", *arguments).stdout)
    return client["clientId"], client["clientSecret"]


def secrets(run, id):
    listed = json.loads(run("client", "list", "--json").stdout)
    return next(c for c in listed if c["clientId"] == id)["secrets"]


def test_two_secrets_are_valid_and_a_third_ends_the_first(server, run):
    id, first = add_client(run, "rotated")
    second = json.loads(run("client", "rotate", "rotated", "--json").stdout)["clientSecret"]
    assert [token(server, id, s) for s in (first, second)] == [200, 200]
    third = json.loads(run("client", "rotate", id, "--json", "--overlap", "48").stdout)["clientSecret"]
    assert [token(server, id, s) for s in (first, second, third)] == [401, 200, 200]
    listed = secrets(run, id)
    assert [s["expiresOn"] is None for s in listed] == [True, False] and all(s["honoured"] for s in listed)
    # With no overlap, both former secrets are refused at once.
    former = server.cluster.sql("SELECT * FROM config.api_client_secret WHERE client_id = %s", [id])
    fourth = json.loads(run("client", "rotate", "rotated", "--json", "--overlap", "0").stdout)["clientSecret"]
    assert [token(server, id, s) for s in (second, third, fourth)] == [401, 401, 200]
    # Rows of former secrets that SQL restores are not accepted.
    for row in former:
        server.cluster.sql(f"INSERT INTO config.api_client_secret VALUES ({', '.join(['%s'] * len(row))}) ON CONFLICT DO NOTHING", row)
    assert len(secrets(run, id)) == 3 and [s["honoured"] for s in secrets(run, id)].count(True) == 1
    assert [token(server, id, s) for s in (second, third, fourth)] == [401, 401, 200] and "row-put-back" in findings(run)
    run("client", "rotate", "rotated", "--overlap", "0")
    assert [token(server, id, s) for s in (second, third, fourth)] == [401, 401, 401]
    assert run("client", "rotate", "nosuch", check=False).returncode == 1
    for wrong in (("--overlap", "-1"), ("--overlap", "721"), ("--expires", "0")):
        assert run("client", "rotate", "rotated", *wrong, check=False).returncode == 64
    assert not any(word in run("client", "list").stdout for word in (first, second, third, fourth))


def test_a_secret_expires_and_sql_does_not_prolong_it(server, run):
    id, secret = add_client(run, "expiring", "--expires", "30")
    [listed] = secrets(run, id)
    assert listed["expiresOn"] > listed["createdOn"] and token(server, id, secret) == 200
    assert "client-secret-expires" not in findings(run)
    soon, kept = json.loads(run("client", "rotate", "expiring", "--json", "--expires", "5", "--overlap", "0").stdout)["clientSecret"], None
    assert "client-secret-expires" in findings(run)
    [(kept,)] = server.cluster.sql("SELECT expires_on FROM config.api_client_secret WHERE client_id = %s", [id])
    server.cluster.sql("UPDATE config.api_client_secret SET expires_on = NULL WHERE client_id = %s", [id])
    assert token(server, id, soon) == 401 and "secret-not-made-here" in findings(run)
    server.cluster.sql("UPDATE config.api_client_secret SET expires_on = %s WHERE client_id = %s", [kept, id])
    assert token(server, id, soon) == 200
    run("client", "rotate", "expiring", "--overlap", "0")
    assert "client-secret-expires" not in findings(run)


def test_a_client_gets_another_role_is_disabled_enabled_and_removed(server, run):
    id, secret = add_client(run, "changing")
    run("client", "role", "changing", "Email Router")
    assert server.cluster.sql("SELECT role FROM config.api_client WHERE client_id = %s", [id]) == [("Email Router",)]
    run("client", "disable", "changing")
    assert token(server, id, secret) == 401
    run("client", "enable", "changing")
    assert token(server, id, secret) == 200
    rows = server.cluster.sql("SELECT * FROM config.api_client WHERE client_id = %s", [id])
    secret_rows = server.cluster.sql("SELECT * FROM config.api_client_secret WHERE client_id = %s", [id])
    run("client", "remove", "changing")
    assert token(server, id, secret) == 401 and run("client", "remove", "changing", check=False).returncode == 1
    assert "attested-rows-missing" not in findings(run)
    assert server.cluster.sql("SELECT isdisabled FROM systemuser WHERE domainname = 'client\\changing'") == [(True,)]
    # Rows that SQL restores grant nothing.
    for table, [row] in (("api_client", rows), ("api_client_secret", secret_rows)):
        server.cluster.sql(f"INSERT INTO config.{table} VALUES ({', '.join(['%s'] * len(row))})", row)
    assert token(server, id, secret) == 401 and "row-put-back" in findings(run)
    run("client", "remove", id)
    # The name of the removed client can be used again.
    assert token(server, *add_client(run, "changing")) == 200


@pytest.mark.parametrize("password, words", [
    ("short", "at least 10 characters"), ("Qwertyuiop", "attackers try first"), ("1234567890", "attackers try first"), ("aaaaaaaaaaaa", "repeats or counts"),
    ("bcdefghijklm", "repeats or counts"), ("xyzxyzxyzxyz", "repeats or counts"), ("Contoso2024!", "names that anyone knows"), ("beatrice-1", "names that anyone knows"),
    ("Fieldseal99", "names that anyone knows")])
def test_passwords_that_are_guessed_first_are_refused(run, password, words):
    refused = run("user", "add", "beatrice", "--role", "Basic User", stdin=f"{password}\n", check=False)
    assert refused.returncode == 1 and words in refused.stderr and password not in refused.stderr
    assert "beatrice" not in run("user", "list").stdout


def test_no_kind_of_character_is_asked_for(run):
    run("user", "add", "unruly", "--role", "Basic User", stdin="nothing but small letters\n")
    run("user", "remove", "unruly")


def test_a_password_that_was_reset_is_changed_first(server, run):
    run("user", "add", "clara", "--role", "Basic User", stdin="clara's first words\n")
    before = Person(server, "clara", "clara's first words")
    assert before.get("overview").url.endswith("/overview")
    assert run("user", "reset", "clara", stdin="Contoso2024!\n", check=False).returncode == 1
    run("user", "reset", "clara", stdin="words for one day\n")
    assert "/sign-in" in before.get("overview").url and "has to change" in run("user", "list").stdout
    person = Person(server, "clara", "words for one day")
    assert person.answer.url.endswith("/account") and "An administrator set your password" in person.answer.text
    for page in ("overview", "records/mailboxes", "events", "records/mailboxes/new"):
        assert person.get(page).url.endswith("/account")
    offered = person.post("account/offer")
    assert offered.status_code == 403 and "An administrator set your password" in offered.text and "class=\"secret\"" not in offered.text
    # If SQL clears the requirement to change the password, the person can't sign in.
    server.cluster.sql("UPDATE config.console_user SET must_change_password = false WHERE name = 'clara'")
    assert "/sign-in" in person.get("overview").url and not Person(server, "clara", "words for one day").is_signed_in
    server.cluster.sql("UPDATE config.console_user SET must_change_password = true WHERE name = 'clara'")
    same = person.change_password("words for one day", "words for one day")
    assert same.status_code == 400 and "the one that you have" in same.text
    assert person.change_password("words for one day", "Contoso2024!").status_code == 400
    assert person.change_password("another one", "words of her own").status_code == 403
    assert person.change_password("words for one day", "words of her own").status_code == 200
    assert person.get("overview").url.endswith("/overview")
    assert Person(server, "clara", "words of her own").get("overview").url.endswith("/overview")
    assert not Person(server, "clara", "words for one day").is_signed_in and "has to change" not in run("user", "list").stdout


def test_a_second_factor_is_required_by_role(server, run):
    run("user", "add", "dora", "--role", "Email Administrator", stdin="dora's long words\n")
    run("user", "add", "edith", "--role", "Basic User", stdin="edith's first words\n")
    Person(server, "edith", "edith's first words").change_password("edith's first words", "edith's long words")
    person = Person(server, "dora", "dora's long words")
    assert person.get("overview").url.endswith("/overview")
    run("user", "require-second-factor", "--role", "Email Administrator", "--role", "System Administrator")
    # In a session that began before, the person must also turn two-step sign-in on.
    assert person.get("overview").url.endswith("/account") and "needs two-step sign-in" in person.get("overview").text
    assert Person(server, "edith", "edith's long words").get("overview").url.endswith("/overview")
    offered = person.post("account/offer").text
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    assert person.post("account/confirm", sealed=sealed, code=one_time_password(secret, -1)).status_code == 200
    assert person.get("overview").url.endswith("/overview")
    assert not Person(server, "dora", "dora's long words").is_signed_in
    assert Person(server, "dora", "dora's long words", one_time_password(secret)).get("overview").url.endswith("/overview")
    refused = person.post("account/end", code=one_time_password(secret, 1))
    assert refused.status_code == 400 and "needs one-time passwords" in refused.text
    # After the organization is attached again, two-step sign-in is still required.
    run("org", "attach", "contoso", "--yes")
    run("user", "role", "edith", "Email Administrator")
    assert Person(server, "edith", "edith's long words").get("overview").url.endswith("/account")
    run("user", "require-second-factor")
    assert Person(server, "edith", "edith's long words").get("overview").url.endswith("/overview")
    # `--all` requires two-step sign-in for every role.
    run("user", "add", "ernst", "--role", "Basic User", stdin="ernst's long words\n")
    assert Person(server, "ernst", "ernst's long words").get("overview").url.endswith("/overview")
    run("user", "require-second-factor", "--all")
    for name in ("edith", "ernst"):
        assert Person(server, name, f"{name}'s long words").get("overview").url.endswith("/account")
    run("user", "require-second-factor")
    assert Person(server, "ernst", "ernst's long words").get("overview").url.endswith("/overview")
    kinds = server.cluster.sql("SELECT details FROM security_event WHERE kind = 'one-time passwords required' ORDER BY security_event_id")
    assert kinds[:2] == [("System Administrator, Email Administrator",), ("no role",)] and "Basic User" in kinds[2][0] and kinds[3:] == [("no role",)]


def test_the_last_administrator_is_kept_from_accidents(server, run):
    run("user", "add", "fanny", "--role", "System Administrator", stdin="fanny's long words\n")
    for command in (("disable", "fanny"), ("remove", "fanny"), ("role", "fanny", "Basic User")):
        refused = run("user", *command, check=False)
        assert refused.returncode == 1 and "last System Administrator" in refused.stderr
    run("user", "add", "gerda", "--role", "System Administrator", stdin="gerda's long words\n")
    # A person whom SQL enabled again does not count as an administrator.
    run("user", "disable", "gerda")
    [(disabled,)] = server.cluster.sql("SELECT disabled_on FROM config.console_user WHERE name = 'gerda'")
    server.cluster.sql("UPDATE config.console_user SET disabled_on = NULL WHERE name = 'gerda'")
    assert "last System Administrator" in run("user", "remove", "fanny", check=False).stderr
    server.cluster.sql("UPDATE config.console_user SET disabled_on = %s WHERE name = 'gerda'", [disabled])
    run("user", "reset", "gerda", stdin="gerda's other words\n")
    run("user", "disable", "fanny")
    run("user", "enable", "fanny")
    assert Person(server, "fanny", "fanny's long words").is_signed_in
    run("user", "remove", "gerda")
    run("user", "remove", "fanny", "--even-if-last")
    assert not Person(server, "fanny", "fanny's long words").is_signed_in


def test_sessions_are_counted_and_ended_and_a_person_is_removed(server, run):
    run("user", "add", "hilda", "--role", "Basic User", stdin="hilda's long words\n")
    first, second = (Person(server, "hilda", "hilda's long words") for _ in range(2))
    assert next(u for u in json.loads(run("user", "list", "--json").stdout) if u["name"] == "hilda")["sessions"] == 2
    run("user", "end-sessions", "hilda")
    assert all("/sign-in" in person.get("overview").url for person in (first, second))
    third = Person(server, "hilda", "hilda's long words")
    [row] = server.cluster.sql("SELECT * FROM config.console_user WHERE name = 'hilda'")
    run("user", "remove", "hilda")
    assert "/sign-in" in third.get("overview").url and run("user", "remove", "hilda", check=False).returncode == 1
    assert not findings(run) & {"attested-rows-missing", "user-not-made-here"}
    # A row that SQL restores signs nobody in. `test_attested_state.py` restores rows of people who were changed and not removed.
    server.cluster.sql(f"INSERT INTO config.console_user VALUES ({', '.join(['%s'] * len(row))})", row)
    assert not Person(server, "hilda", "hilda's long words").is_signed_in and "row-put-back" in findings(run)
    run("user", "remove", str(row[0]))
    run("user", "add", "hilda", "--role", "Basic User", stdin="hilda's new words\n")
    assert Person(server, "hilda", "hilda's new words").is_signed_in


def test_a_development_deployment_says_no_password_that_does_not_hold():
    deployment = Deployment()
    try:
        person = deployment.start().dev["console"]
        deployment.stop()
        assert f"as admin, password {person['password']}." in deployment.log().decode()
        # `fieldseal dev` prints the password at each start, until someone changes it.
        assert deployment.start().dev["console"] == person
        deployment.run("user", "reset", "admin", stdin="words of their own\n")
        deployment.stop()
        mark = len(deployment.log())
        for _ in range(2):
            assert deployment.start().dev["console"] == {"username": "admin"}
            deployment.stop()
        said = deployment.log()[mark:].decode()
        assert "as admin, with the password that was set since." in said and person["password"] not in said
    finally:
        deployment.remove()
