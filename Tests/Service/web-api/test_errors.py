"""Error codes that occur only in a deployment with special settings or under load. Other tests cover the remaining codes."""

import concurrent.futures
import os
import signal
import time
import uuid

import psycopg
import pytest
from service import Deployment, refused


@pytest.fixture(scope="module")
def strict():
    """A deployment that allows one key change per hour, a wait of one second for writers, and eight requests at a time. Its router is stopped."""
    deployment = Deployment(FIELDSEAL_KEYS_CHANGE_QUOTA="1", FIELDSEAL_KEYS_PATIENCE_SECONDS="1", FIELDSEAL_LIMITS_REQUESTS="8")
    try:
        deployment.start()
        os.kill(deployment.router_pid(), signal.SIGSTOP)
        yield deployment
    finally:
        if deployment.process:
            os.kill(deployment.router_pid(), signal.SIGCONT)
        deployment.remove()


def test_a_change_that_is_held_up_names_who_holds_it(strict):
    id = strict.create("mailboxes", {"name": "held", "password": "before"})
    with psycopg.connect(strict.dev["postgres"], application_name="nightly report") as holder:
        holder.execute("UPDATE org_contoso.mailbox_cell SET password = password WHERE mailboxid = %s", [id])
        message = refused(strict.set_key("A-new-key-12345"), 500, "0x80048518")
        assert "nightly report" in message and "not changed" in message
        holder.rollback()
    assert strict.json("key", "status")["keyVersion"] == 1


def test_key_changes_beyond_the_quota(strict):
    """The key change of the test above failed, so it does not count."""
    assert strict.set_key("A-new-key-12345").status_code == 204
    response = strict.set_key("Another-key-12345")
    assert "1 times within 3600 seconds" in refused(response, 429, "0x80048529")
    assert 0 < int(response.headers["Retry-After"]) <= 3_600
    assert strict.key() == "A-new-key-12345"


def test_more_requests_at_a_time_than_the_server_takes(strict):
    strict.token()
    with concurrent.futures.ThreadPoolExecutor(24) as pool:
        with psycopg.connect(strict.dev["postgres"]) as holder:
            holder.execute("LOCK TABLE org_contoso.queue IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(strict.get, "queues?$top=1") for _ in range(24)]
            # Sixteen requests are refused at once. Eight wait for the table.
            for _, future in zip(range(16), concurrent.futures.as_completed(asked, timeout=60)):
                response = future.result()
                refused(response, 503, "0x80072326")
                assert int(response.headers["Retry-After"]) > 0
            assert sum(future.done() for future in asked) == 16
            holder.rollback()
        assert sorted(future.result().status_code for future in asked) == [200] * 8 + [503] * 16


def test_a_client_has_a_quota_of_requests():
    with Deployment.made(FIELDSEAL_LIMITS_CLIENT_REQUESTS="20", FIELDSEAL_LIMITS_CLIENT_SECONDS="8", FIELDSEAL_LIMITS_CLIENT_CONCURRENCY="2") as deployment:
        deployment.token(), deployment.token("user")
        with concurrent.futures.ThreadPoolExecutor(3) as pool, psycopg.connect(deployment.dev["postgres"]) as holder:
            holder.execute("LOCK TABLE org_contoso.queue IN ACCESS EXCLUSIVE MODE")
            asked = [pool.submit(deployment.get, "queues?$top=1") for _ in range(3)]
            refused(next(concurrent.futures.as_completed(asked, timeout=60)).result(), 429, "0x80072326")
            holder.rollback()
        assert sorted(future.result().status_code for future in asked) == [200, 200, 429]
        answers = [deployment.get("WhoAmI") for _ in range(60)]
        statuses = [answer.status_code for answer in answers]
        assert set(statuses) == {200, 429} and statuses.index(429) >= 18
        refusal = answers[statuses.index(429)]
        assert "20 requests within 8 seconds" in refused(refusal, 429, "0x80072322")
        # Another client's request succeeds. This client's request succeeds after the time that Retry-After names.
        assert deployment.get("WhoAmI", client="user").status_code == 200
        time.sleep(int(deployment.get("WhoAmI").headers.get("Retry-After", 0)))
        assert deployment.get("WhoAmI").status_code == 200


def test_a_write_that_names_no_version(strict):
    id = strict.create("mailboxes", {"name": "kept"})
    for tag in ("", 'W/""'):
        refused(strict.request("PATCH", f"mailboxes({id})", {"name": "lost"}, If_Match=tag), 428, "0x80060883")
        refused(strict.request("DELETE", f"mailboxes({id})", If_Match=tag), 428, "0x80060883")
    assert strict.get(f"mailboxes({id})").json()["name"] == "kept"


@pytest.mark.parametrize(
    "code, profile, mailbox",
    [
        ("0x8005E222", None, {}),
        ("0x8005E222", {}, {}),
        ("0x8005E222", {"incomingserverlocation": "mail.test"}, {"allowemailconnectortousecredentials": False}),
        ("0x8005E228", {"incomingserverlocation": "mail.test"}, {"emailrouteraccessapproval": 0}),
        ("0x8005E201", {"incomingserverlocation": "mail.test", "incomingusessl": False}, {}),
    ],
)
def test_credentials_that_are_not_released(strict, code, profile, mailbox):
    body = {"name": "asked for", "username": "support", "password": "canary", "allowemailconnectortousecredentials": True, "emailrouteraccessapproval": 1, **mailbox}
    if profile is not None:
        id = strict.create("emailserverprofiles", {"name": str(uuid.uuid4()), "incomingcredentialretrieval": 0, **profile})
        body["emailserverprofile@odata.bind"] = f"/emailserverprofiles({id})"
    box = strict.create("mailboxes", body)
    strict.sql("UPDATE org_contoso.mailbox SET hostid = 'here', processingstatecode = 1, processinglastattemptedon = now() WHERE mailboxid = %s", [box])
    answer = strict.request("POST", "fieldseal.ReleaseCredential", {"MailboxId": box, "Direction": "Incoming", "HostId": "here"}, client="router")
    assert "canary" not in refused(answer, 400, code)


def test_a_caller_whose_user_was_deleted(strict):
    client = strict.json("client", "add", "orphan", "--role", "Basic User", "--org", "contoso")
    token = strict.token_response(client["clientId"], client["clientSecret"]).json()["access_token"]
    user = strict.get("WhoAmI", token=token).json()["UserId"]
    strict.sql("DELETE FROM org_contoso.usersettings WHERE systemuserid = %s", [user])
    strict.sql("DELETE FROM org_contoso.systemuser WHERE systemuserid = %s", [user])
    refused(strict.get("WhoAmI", token=token), 403, "0x80072560")


def test_a_key_that_is_wrapped_under_another_key_encryption_key(strict):
    key = strict.key()
    id = strict.create("mailboxes", {"name": "kept", "password": "kept"})
    strict.sql("""
        SELECT config.rewrap_organization_key(organization_id, key_version, fingerprint, wrapped_text,
            set_byte(wrapped_data, 60, get_byte(wrapped_data, 60) # 1), '0123456789abcdef') FROM config.organization_key WHERE retired_on IS NULL""")
    strict.stop()
    strict.start()
    os.kill(strict.router_pid(), signal.SIGSTOP)
    assert strict.is_active() is False
    message = refused(strict.request("PATCH", f"mailboxes({id})", {"password": "x"}), 409, "0x8004852D")
    assert "0123456789abcdef" in message
    refused(strict.get("RetrieveDataEncryptionKey"), 409, "0x8004852D")
    verified = strict.run("verify", check=False)
    assert verified.returncode == 1 and "0123456789abcdef" in verified.stdout
    assert strict.get(f"mailboxes({id})").json()["ispasswordset"] is True
    assert strict.set_key(key, change=False).status_code == 204
    assert strict.request("PATCH", f"mailboxes({id})", {"password": "x"}).status_code == 204
    assert strict.run("verify").returncode == 0
