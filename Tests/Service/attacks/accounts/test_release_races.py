"""A password is released while the organization's key changes. The router receives the right password, or an error that tells it to try again."""

import json
import time

import pytest
import requests
from server import Server
from service import PATIENCE

SECRET = "hunter2-of-the-races"
#: Parts of the SQL of a release, in the order of its statements: read the lease, read the key, read the cells with their key version, write the event.
PLACES = {"lease": "m.hostid = $2 AND m.processingstatecode = 1", "key": "config.organization_key", "cells": "AS dm ON dm.entity = 'mailbox'", "event": "WHERE a.organization_id = $1 FOR NO KEY UPDATE"}
#: How many times a release reads a key and cells that do not match before it fails.
ATTEMPTS = 4


@pytest.fixture(scope="module")
def router(cluster):
    """A router that has leased a mailbox with a password, as a function: call(name, body) sends one of its messages."""
    server = Server(cluster, "proxied")
    try:
        profile = record(server, "emailserverprofiles", {
            "name": "profile", "servertype": 4, "incomingserverlocation": "imap.contoso.example", "incomingportnumber": 993, "incomingusessl": True,
            "incomingcredentialretrieval": 0})
        queue = record(server, "queues", {"name": "support", "emailaddress": "support@contoso.test"})
        box = server.request("GET", f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
        changed = server.request("PATCH", f"mailboxes({box})", {
            "username": "support", "password": SECRET, "allowemailconnectortousecredentials": True, "incomingemaildeliverymethod": 2,
            "emailrouteraccessapproval": 1, "enabledforincomingemail": True, "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
        assert changed.status_code == 204, changed.text
        client = json.loads(cluster.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        session = requests.Session()
        session.trust_env, session.verify = False, str(cluster.home / "server.pem")
        token = session.post(f"{server.base}/contoso/oauth2/v2.0/token", timeout=PATIENCE, data={
            "grant_type": "client_credentials", "client_id": client["clientId"], "client_secret": client["clientSecret"]}).json()["access_token"]
        session.headers["Authorization"] = f"Bearer {token}"

        def call(name, **body):
            return session.post(f"{server.base}/contoso/api/data/v9.2/fieldseal.{name}", json={"HostId": "host", **body}, timeout=PATIENCE)

        leased = call("LeaseMailbox")
        assert leased.status_code == 200 and leased.json()["MailboxId"] == box, leased.text
        call.box = box
        yield call
    finally:
        server.stop()


def record(server, entity_set, values):
    response = server.request("POST", entity_set, values)
    assert response.status_code == 204, response.text
    return response.headers["OData-EntityId"][-37:-1]


def racing(cluster, router, place, times):
    """Releases the password, and changes the key before each of the first `times` statements of a kind. Returns the response and the number of key changes."""
    changed = []

    def change(_, sql):
        if PLACES[place] in sql and len(changed) < times:
            changed.append(change_the_key(cluster))

    cluster.proxy.reset(change, within=PLACES["lease"] if place == "event" else "")
    try:
        return router("ReleaseCredential", MailboxId=router.box, Direction="Incoming"), len(changed)
    finally:
        cluster.proxy.reset()


def change_the_key(cluster):
    """Changes the key. Tries again while a server that sweeps after the previous change holds the lock."""
    for _ in range(10):
        answer = cluster.run("key", "change", check=False)
        if "being set already" not in answer.stderr:
            assert answer.returncode == 0, answer.stderr
            return
        time.sleep(0.2)
    raise AssertionError(answer.stderr)


@pytest.mark.parametrize("times", [1, 2])
@pytest.mark.parametrize("place", PLACES)
def test_a_key_change_in_the_middle_of_a_release(cluster, router, place, times):
    before = cluster.key_version()
    answer, changed = racing(cluster, router, place, times)
    assert changed > 0 and cluster.key_version() == before + changed
    if answer.status_code == 200:
        assert answer.json()["Password"] == SECRET
    else:
        assert answer.status_code == 503 and int(answer.headers["Retry-After"]) > 0 and SECRET not in answer.text, answer.text
    # The control: the next request, without a key change, receives the password.
    again = router("ReleaseCredential", MailboxId=router.box, Direction="Incoming")
    assert again.status_code == 200 and again.json()["Password"] == SECRET, again.text
    # Each release is recorded with the key version that opened the password.
    versions = cluster.sql("SELECT key_version FROM security_event WHERE kind = 'credential released' AND outcome = 'succeeded' ORDER BY security_event_id DESC LIMIT 1")
    assert versions == [(before + changed,)]


def test_a_key_that_changes_all_the_time_is_an_answer_and_no_endless_loop(cluster, router):
    answer, changed = racing(cluster, router, "cells", 2 * ATTEMPTS)
    # The release makes one more attempt if it read the list of authorized settings again.
    assert changed in (ATTEMPTS, ATTEMPTS + 1)
    assert answer.status_code in (500, 503) and int(answer.headers["Retry-After"]) > 0 and SECRET not in answer.text, answer.text
    assert router("ReleaseCredential", MailboxId=router.box, Direction="Incoming").json()["Password"] == SECRET
