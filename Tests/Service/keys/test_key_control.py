"""What an organization can require before its key is shown or set: an approval by a second System Administrator, and a recent sign-in."""

import concurrent.futures
import json
import subprocess
import time
import uuid

import jwt
import pytest
import requests
import soap
from attested import Attestor
from cluster import Cluster
from server import running
from service import PATIENCE
from test_people_and_secrets import Person
from waiting import until
from html_forms import subject

WORDS = "long words of a person"
AWAITED, OLD = "0x8004852F", "0x80048530"


@pytest.fixture(scope="module")
def server():
    with running() as server:
        server.cluster.run("user", "add", "ada", "--role", "System Administrator", stdin=f"{WORDS}\n")
        server.cluster.run("user", "add", "bob", "--role", "System Administrator", stdin=f"{WORDS}\n")
        yield server


@pytest.fixture
def second(server):
    """Another System Administrator, as a function that sends a request to the Web API."""
    made = json.loads(server.cluster.run("client", "add", f"second-{uuid.uuid4().hex[:8]}", "--role", "System Administrator", "--json").stdout)
    yield caller(server, made)
    server.cluster.run("client", "remove", made["clientId"])


def token(server, client):
    return requests.post(
        f"{server.base}/contoso/oauth2/v2.0/token", verify=server.cluster.home / "server.pem", timeout=PATIENCE,
        data={"grant_type": "client_credentials", "client_id": client["clientId"], "client_secret": client["clientSecret"]}).json()["access_token"]


def caller(server, client):
    bearer = token(server, client)

    def send(method, path, body=None, **headers):
        return requests.request(
            method, f"{server.base}/contoso/api/data/v9.2/{path}", json=body, verify=server.cluster.home / "server.pem", timeout=PATIENCE,
            headers={"Authorization": f"Bearer {bearer}", **headers})

    return send


@pytest.fixture
def controlled(server, second):
    """A server whose organization requires approvals while the test runs."""
    server.cluster.run("key", "control", "--approval", "600")
    yield server
    off = server.cluster.run("key", "control", "--approval", "off", "--sign-in", "off", check=False)
    if off.returncode:
        for request in listed(server):
            if request["requestedBy"].startswith("cli:"):
                assert second("POST", "fieldseal.ApproveRequest", {"ApprovalId": request["approvalId"]}).status_code == 204
        server.cluster.run("key", "control", "--approval", "off", "--sign-in", "off")
    for request in listed(server):
        server.cluster.run("approval", "refuse", request["approvalId"])


def listed(server):
    return json.loads(server.cluster.run("approval", "list", "--json").stdout)


def awaited(response):
    """Checks that the response asks for an approval. Returns the id of the request for approval."""
    assert response.status_code == 403, response.text
    error = response.json()["error"]
    assert error["code"] == AWAITED and error["@fieldseal.approvalid"] in error["message"]
    return error["@fieldseal.approvalid"]


def events(server, kind):
    return server.cluster.sql("SELECT outcome, actor, details FROM security_event WHERE kind = %s ORDER BY security_event_id", [kind])


def approve(send, id):
    return send("POST", "fieldseal.ApproveRequest", {"ApprovalId": id})


def test_nothing_is_asked_for_by_default(server, second):
    assert server.request("GET", "fieldseal.RetrieveKeyControl()").json() == {"ApprovalSeconds": None, "SignInSeconds": None}
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
    assert server.request("GET", "fieldseal.RetrieveApprovals()").json() == {"value": []}


def test_the_key_is_shown_once_for_an_approval(controlled, second):
    server = controlled
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    # If the requester repeats the request, no second request for approval is created. The requester can't approve it.
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) == id
    own = approve(server.request, id)
    assert own.status_code == 403 and own.json()["error"]["code"] == "0x80040220"
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) == id
    [shown] = second("GET", "fieldseal.RetrieveApprovals()").json()["value"]
    assert shown["ApprovalId"] == id and "show the key" in shown["Subject"] and shown["RequestedBy"].startswith("client:test-") and shown["MayApprove"]
    assert server.request("GET", "fieldseal.RetrieveApprovals()").json()["value"][0]["MayApprove"] is False
    assert shown["Address"] == "127.0.0.1" and shown["OpenUntil"] > shown["RequestedOn"] and shown["ApprovedBy"] is None
    assert approve(second, id).status_code == 204
    again = approve(second, id)
    assert again.status_code == 400 and "already" in again.text
    # The other administrator can't use this approval, so their request needs another one.
    other = awaited(second("GET", "RetrieveDataEncryptionKey()"))
    assert other != id
    key = server.request("GET", "RetrieveDataEncryptionKey()")
    assert key.status_code == 200 and key.json()["EncryptionKey"] not in server.cluster.run("approval", "list").stdout
    # The approval can be used only once.
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) not in (id, other)
    assert [(o, id in d) for o, _, d in events(server, "approval given")][-2:] == [("refused", True), ("succeeded", True)]
    assert events(server, "approval used")[-1][2].startswith(f"{id}: show the key")
    server.cluster.run("events", "verify", "--org", "contoso")


def test_an_approval_is_for_the_key_that_was_given(controlled, second):
    server = controlled
    change = {"EncryptionKey": "Approved-key-text-1", "ChangeEncryptionKey": True}
    id = awaited(server.request("POST", "SetDataEncryptionKey", change))
    assert approve(second, id).status_code == 204
    # The approval is valid for neither another key nor another operation.
    assert awaited(server.request("POST", "SetDataEncryptionKey", {**change, "EncryptionKey": "Another-key-text-22"})) != id
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) != id
    before = server.cluster.key_version()
    assert server.request("POST", "SetDataEncryptionKey", change).status_code == 204
    assert server.cluster.key_version() == before + 1
    awaited(server.request("POST", "SetDataEncryptionKey", change))
    stored = " ".join(str(row) for row in server.cluster.sql("SELECT * FROM config.approval") + server.cluster.sql("SELECT details FROM security_event"))
    assert "Approved-key-text-1" not in stored and "Another-key-text-22" not in stored
    # A key that is too weak is refused without a request for approval.
    weak = server.request("POST", "SetDataEncryptionKey", {"EncryptionKey": "weak", "ChangeEncryptionKey": True})
    assert weak.status_code == 400


def test_sql_makes_and_replays_no_approval(controlled, second):
    server, sql = controlled, controlled.cluster.sql
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    sql("UPDATE config.approval SET approver = 'client:forged', approver_id = gen_random_uuid() WHERE approval_id = %s", [id])
    new = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert new != id
    assert "approval-not-made-here" in {f["code"] for f in json.loads(server.cluster.run("doctor", "--json", check=False).stdout)["findings"]}
    sql("DELETE FROM config.approval WHERE approval_id = %s", [id])
    assert approve(second, new).status_code == 204
    [row] = sql("SELECT * FROM config.approval WHERE approval_id = %s", [new])
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
    # SQL restores the row of the used approval.
    sql(f"INSERT INTO config.approval VALUES ({', '.join(['%s'] * len(row))})", row)
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) != new
    sql("DELETE FROM config.approval WHERE approval_id = %s", [new])
    # SQL removes the rule. The service applies one that is at least as strict.
    for statement in ("UPDATE config.key_control SET approval_seconds = NULL", "DELETE FROM config.key_control"):
        kept = sql("SELECT * FROM config.key_control")
        sql(statement)
        awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
        assert "key-control-changed" in {f["code"] for f in json.loads(server.cluster.run("doctor", "--json", check=False).stdout)["findings"]}
        sql("DELETE FROM config.key_control")
        sql(f"INSERT INTO config.key_control VALUES ({', '.join(['%s'] * len(kept[0]))})", kept[0])
    # SQL deleted rows. The service gives no access until an administrator attaches the organization.
    server.cluster.run("org", "attach", "contoso", "--yes")


def test_an_approval_is_used_by_one_of_two_at_the_same_moment(controlled, second):
    server = controlled
    assert approve(second, awaited(server.request("GET", "RetrieveDataEncryptionKey()"))).status_code == 204
    with concurrent.futures.ThreadPoolExecutor(4) as threads:
        codes = sorted(threads.map(lambda _: server.request("GET", "RetrieveDataEncryptionKey()").status_code, range(4)))
    assert codes == [200, 403, 403, 403]


def test_a_request_expires_and_can_be_refused(controlled, second):
    server = controlled
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert second("POST", "fieldseal.RefuseRequest", {"ApprovalId": id}).status_code == 204
    gone = approve(second, id)
    assert gone.status_code == 404 and events(server, "approval refused")[-1][0] == "succeeded"
    assert awaited(server.request("GET", "RetrieveDataEncryptionKey()")) != id
    server.cluster.run("key", "control", "--approval", "60")
    [open] = [r for r in listed(server) if r["requestedBy"].startswith("client:")]
    server.cluster.run("approval", "refuse", open["approvalId"])
    awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    [short] = listed(server)
    seconds = time.mktime(time.strptime(short["openUntil"][:19], "%Y-%m-%dT%H:%M:%S")) - time.mktime(time.strptime(short["requestedOn"][:19], "%Y-%m-%dT%H:%M:%S"))
    assert seconds == 60
    for wrong in ({}, {"ApprovalId": "x"}, {"ApprovalId": str(uuid.uuid4()), "More": 1}):
        assert second("POST", "fieldseal.ApproveRequest", wrong).status_code == 400
    assert approve(second, str(uuid.uuid4())).status_code == 404
    assert second("GET", "fieldseal.ApproveRequest").status_code == 405


def test_a_request_and_an_approval_end_with_their_time(controlled, second):
    server, attestor = controlled, Attestor(controlled.cluster)
    # Nobody approves the first request in time.
    late = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    attestor.age_approvals("599 seconds")
    assert late in [r["approvalId"] for r in listed(server)], "a second is left"
    attestor.age_approvals("1 second")
    assert approve(second, late).status_code == 404
    # The second request is approved in time, but not used in time.
    unused = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert unused != late and approve(second, unused).status_code == 204
    attestor.age_approvals("10 minutes")
    again = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert again not in (late, unused) and [r["approvalId"] for r in listed(server)] == [again]
    # The control: an approval that has time left can be used.
    assert approve(second, again).status_code == 204
    attestor.age_approvals("9 minutes")
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
    server.cluster.run("events", "verify", "--org", "contoso")
    assert "approval-not-made-here" not in server.cluster.run("doctor", "--json", check=False).stdout


def test_no_one_approves_their_own_request_with_another_account(controlled, second):
    """An action with which an administrator could get control of another administrator's account needs an approval."""
    server = controlled
    roles = {r["name"]: r["roleid"] for r in server.request("GET", "roles?$select=name").json()["value"]}
    basic = json.loads(server.cluster.run("client", "add", f"basic-{uuid.uuid4().hex[:8]}", "--role", "Basic User", "--json").stdout)
    [(user,)] = server.cluster.sql("SELECT systemuser_id FROM config.api_client WHERE client_id = %s", [basic["clientId"]])
    link = server.request("POST", f"systemusers({user})/systemuserroles_association/$ref", {"@odata.id": f"roles({roles['System Administrator']})"})
    assert link.status_code == 403 and "give the role System Administrator" in link.text
    team = server.request("POST", "teams", {"name": "t"}).headers["OData-EntityId"].split("(")[-1].rstrip(")")
    assert server.request("POST", f"teams({team})/teamroles_association/$ref", {"@odata.id": f"roles({roles['System Administrator']})"}).status_code == 403
    assert server.request("POST", f"teams({team})/teamroles_association/$ref", {"@odata.id": f"roles({roles['Email Administrator']})"}).status_code == 204
    assert server.request("POST", f"teams({team})/teammembership_association/$ref", {"@odata.id": f"systemusers({user})"}).status_code == 204
    ada = Person(server, "ada", WORDS)
    for page, form in [
        ("access/add-user", {"name": "mallory", "role": "System Administrator", "password": WORDS}),
        ("access/add-client", {"name": "mallory", "role": "System Administrator"}),
        ("access/role-client", {"id": basic["clientId"], "role": "System Administrator", "confirmed": subject("role-client", basic["clientId"], "Basic User", "System Administrator")}),
        ("access/rotate-client", {"id": server.client["clientId"]}),
        ("access/reset-user", {"id": person_id(server, "bob"), "name": "bob", "password": WORDS}),
        ("access/invite-user", {"id": person_id(server, "bob"), "name": "bob"}),
    ]:
        answer = ada.post(page, **form)
        assert "A second System Administrator has to approve this first" in answer.text, (page, answer.status_code, answer.text[-2000:])
    assert server.cluster.sql("SELECT count(*) FROM config.console_user WHERE name = 'mallory'") == [(0,)]
    # Giving a role other than System Administrator needs no approval.
    ada.post("access/role-client", id=basic["clientId"], role="Email Administrator", confirmed=subject("role-client", basic["clientId"], "Basic User", "Email Administrator"))
    assert server.cluster.sql("SELECT role FROM config.api_client WHERE client_id = %s", [basic["clientId"]]) == [("Email Administrator",)]
    bob = Person(server, "bob", WORDS)
    page = bob.get("settings/approvals").text
    assert page.count("add the person mallory as System Administrator") == 1 and "ada" in page
    server.cluster.run("client", "remove", basic["clientId"])


def person_id(server, name):
    return str(server.cluster.sql("SELECT user_id FROM config.console_user WHERE name = %s", [name])[0][0])


def test_the_console(controlled):
    server = controlled
    ada, bob = Person(server, "ada", WORDS), Person(server, "bob", WORDS)
    refused = ada.post("settings/data-encryption/key")
    assert refused.status_code == 403 and "A second System Administrator has to approve this first" in refused.text
    [request] = listed(server)
    own = ada.get("settings/approvals").text
    assert request["subject"] in own and "settings/approvals/approve" not in own and "settings/approvals/refuse" in own
    assert ada.post("settings/approvals/approve", id=request["approvalId"]).status_code == 403
    page = bob.post("settings/approvals/approve", id=request["approvalId"])
    assert page.status_code == 200 and "was approved" in page.text and "Approved by bob" in page.text
    key = ada.post("settings/data-encryption/key")
    assert key.status_code == 200 and server.cluster.run("approval", "list").stdout.strip() == "No request is open."
    assert ada.post("settings/data-encryption/key").status_code == 403
    assert bob.post("settings/approvals/refuse", id=listed(server)[0]["approvalId"]).status_code == 200
    assert "No request is open" in bob.get("settings/approvals").text


def test_the_command_line(controlled, second):
    server, run = controlled, controlled.cluster.run
    refused = run("key", "show", check=False)
    assert refused.returncode == 1 and "A second System Administrator" in refused.stderr
    [request] = listed(server)
    # All people at the command line count as one caller, so they can't approve requests from the command line.
    own = run("approval", "approve", request["approvalId"], check=False)
    assert own.returncode == 1 and "own" in own.stderr
    assert approve(second, request["approvalId"]).status_code == 204
    assert run("key", "show").stdout.strip() and run("key", "show", check=False).returncode == 1
    # A client's request can be approved with the command.
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    run("approval", "approve", id)
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
    changed = run("key", "change", check=False)
    assert changed.returncode == 1 and "generated" in changed.stderr
    assert approve(second, next(r["approvalId"] for r in listed(server) if "generated" in r["subject"])).status_code == 204
    before = server.cluster.key_version()
    run("key", "change")
    assert server.cluster.key_version() == before + 1
    assert run("approval", "approve", "x", check=False).returncode == 64


def test_two_are_needed_to_ask_for_less(controlled, second):
    server, run = controlled, controlled.cluster.run
    refused = run("key", "control", "--approval", "off", check=False)
    assert refused.returncode == 1 and "ask for less" in refused.stderr
    longer = server.request("POST", "fieldseal.SetKeyControl", {"ApprovalSeconds": 3600, "SignInSeconds": None})
    id = awaited(longer)
    # A stricter rule takes effect without an approval.
    assert server.request("POST", "fieldseal.SetKeyControl", {"ApprovalSeconds": 300, "SignInSeconds": 3600}).status_code == 204
    assert approve(second, id).status_code == 204
    assert server.request("POST", "fieldseal.SetKeyControl", {"ApprovalSeconds": 3600, "SignInSeconds": None}).status_code == 204
    assert server.request("GET", "fieldseal.RetrieveKeyControl()").json() == {"ApprovalSeconds": 3600, "SignInSeconds": None}
    for wrong in ({"ApprovalSeconds": 1, "SignInSeconds": None}, {"ApprovalSeconds": 60}, {"ApprovalSeconds": "60", "SignInSeconds": None}, {"ApprovalSeconds": 60, "SignInSeconds": None, "Other": 1}):
        assert server.request("POST", "fieldseal.SetKeyControl", wrong).status_code == 400
    assert [o for o, _, _ in events(server, "key control set")][-2:] == ["succeeded", "succeeded"]


def test_the_rule_a_request_and_a_certificate_survive_a_new_key_encryption_key(tmp_path):
    cluster = Cluster()
    try:
        certificate, private = tmp_path / "c.pem", tmp_path / "c.key"
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=c", "-keyout", private, "-out", certificate],
            check=True, capture_output=True)
        for name in ("ada", "bob"):
            cluster.run("user", "add", name, "--role", "System Administrator", stdin=f"{WORDS}\n")
        cluster.run("client", "add", "shown", "--role", "Basic User", "--certificate", str(certificate), "--bind-tokens")
        cluster.run("key", "control", "--approval", "600", "--sign-in", "300")
        assert cluster.run("key", "show", check=False).returncode == 1
        [request] = listed_in(cluster)
        cluster.run("kek", "create", str(cluster.home / "kek2"), settings=None)
        (cluster.home / "direct.yaml").open("a").write(f"newKek: {json.dumps({'file': str(cluster.home / 'kek2')})}\n")
        cluster.run("kek", "rotate")
        assert json.loads(cluster.run("key", "control", "--json").stdout) == {"approvalSeconds": 600, "signInSeconds": 300}
        assert listed_in(cluster) == [request]
        assert [k["honoured"] and k["bindsTokens"] for c in json.loads(cluster.run("client", "list", "--json").stdout) for k in c["keys"]] == [True]
        codes = {f["code"] for f in json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]}
        assert not codes & {"key-control-changed", "approval-not-made-here", "attested-rows-missing", "client-key-not-made-here"}
        assert cluster.run("key", "show", check=False).returncode == 1
    finally:
        cluster.remove()


def listed_in(cluster):
    return json.loads(cluster.run("approval", "list", "--json").stdout)


def test_the_rule_survives_an_attachment(controlled, second):
    server, run = controlled, controlled.cluster.run
    id = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    run("org", "attach", "contoso", "--yes")
    assert listed(server) == []
    new = awaited(server.request("GET", "RetrieveDataEncryptionKey()"))
    assert new != id
    assert json.loads(run("key", "control", "--json").stdout)["approvalSeconds"] == 600
    codes = {f["code"] for f in json.loads(run("doctor", "--json", check=False).stdout)["findings"]}
    assert not codes & {"key-control-changed", "approval-not-made-here", "attested-rows-missing"}


def test_over_soap_too(controlled):
    service = soap.deployment_of(controlled)
    operation = soap.operation("Execute", '<request><x:Parameters/><x:RequestId i:nil="true"/><x:RequestName>RetrieveDataEncryptionKey</x:RequestName></request>')
    assert soap.fault(soap.call(service, operation))[1] == AWAITED


def test_key_messages_need_a_recent_sign_in(server, second):
    server.cluster.run("key", "control", "--sign-in", "10s")
    try:
        assert caller(server, server.client)("GET", "RetrieveDataEncryptionKey()").status_code == 200
        issued = jwt.decode(server.token, options={"verify_signature": False})["iat"]
        until(lambda: time.time() - issued > 11)
        old = server.request("GET", "RetrieveDataEncryptionKey()")
        assert old.status_code == 401 and old.json()["error"]["code"] == OLD
        assert 'error="insufficient_user_authentication"' in old.headers["WWW-Authenticate"] and 'max_age="10"' in old.headers["WWW-Authenticate"]
        assert server.request("POST", "SetDataEncryptionKey", {"EncryptionKey": "Some-key-text-123", "ChangeEncryptionKey": True}).status_code == 401
        assert server.request("GET", "WhoAmI").status_code == 200
        fresh = caller(server, server.client)
        assert fresh("GET", "RetrieveDataEncryptionKey()").status_code == 200
        assert ("refused", f"client:test-{server.port}", "show the key: signInTooOld") in events(server, "key message refused")
    finally:
        server.cluster.run("key", "control", "--sign-in", "off")
    assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200


def test_approvals_need_a_second_administrator():
    cluster = Cluster()
    try:
        alone = cluster.run("key", "control", "--approval", "600", check=False)
        assert alone.returncode == 1 and "no second System Administrator" in alone.stderr
        cluster.run("key", "control", "--sign-in", "300")
        assert json.loads(cluster.run("key", "control", "--json").stdout) == {"approvalSeconds": None, "signInSeconds": 300}
    finally:
        cluster.remove()
