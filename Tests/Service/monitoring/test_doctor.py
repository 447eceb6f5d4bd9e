"""`fieldseal doctor` reports no problem in a sound deployment, and for each problem a finding with the next step."""

import json
import shutil

import pytest
import scratch


def doctor(service, *arguments):
    result = service.run("doctor", "--json", *arguments, check=False)
    findings = json.loads(result.stdout)["findings"]
    assert all(set(f) == {"severity", "code", "subject", "message", "advice"} and all(f.values()) for f in findings)
    worst = max((["notice", "warning", "error"].index(f["severity"]) for f in findings), default=0)
    assert result.returncode == worst, result.stderr
    return {f["code"]: f for f in findings}


def test_a_deployment_that_is_well(own_service):
    # The only finding is that no person has copied the key.
    assert set(doctor(own_service)) == {"key-never-copied"}
    own_service.key()
    assert doctor(own_service, "--deep") == {}
    assert own_service.run("doctor").stdout.splitlines()[0] == "Nothing is wrong."


@pytest.mark.parametrize(
    "statement, code, repair",
    [
        ("ALTER TABLE org_contoso.mailbox DISABLE TRIGGER takes_cells_along", "fence-disabled", "ALTER TABLE org_contoso.mailbox ENABLE TRIGGER takes_cells_along"),
        ("DROP TRIGGER keeps_id ON org_contoso.queue", "fence-missing", None),
        ("ALTER EVENT TRIGGER fieldseal_refuse_index DISABLE", "no-event-trigger", "ALTER EVENT TRIGGER fieldseal_refuse_index ENABLE"),
        ("INSERT INTO org_contoso.quarantined_cell (rotation_id, entity, record_id, attribute, key_version, content) VALUES (gen_random_uuid(), 'mailbox', gen_random_uuid(), 'password', 1, 'x')",
         "quarantined-cells", "DELETE FROM org_contoso.quarantined_cell"),
        ("INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint, rotation_id, origin, created_by, retired_on) "
         "SELECT organization_id, 99, wrapped_text, wrapped_data, 'aaaaaaaaaaaaaaaa', 'bbbbbbbbbbbbbbbb', gen_random_uuid(), 'generated', 'x', now() FROM config.organization_key",
         "wrapped-under-another-kek", "DELETE FROM config.organization_key WHERE key_version = 99"),
        ("DROP EVENT TRIGGER fieldseal_refuse_drop", "no-event-trigger", None),
        ("ALTER TABLE org_contoso.mailbox_cell_k1 SET UNLOGGED", "unlogged-cells", "ALTER TABLE org_contoso.mailbox_cell_k1 SET LOGGED"),
        ("GRANT fieldseal_owner TO fieldseal_service", "service-is-owner", "REVOKE fieldseal_owner FROM fieldseal_service"),
        ("INSERT INTO config.api_client SELECT gen_random_uuid(), organization_id, 'intruder', gen_random_uuid(), 'System Administrator', '\\x00', now(), 'x' FROM config.organization",
         "client-not-made-here", "DELETE FROM config.api_client WHERE name = 'intruder'"),
        ("UPDATE org_contoso.encryption SET changed_on = now() - interval '2 years'", "key-overdue", "UPDATE org_contoso.encryption SET changed_on = now()"),
        ("ALTER TABLE org_contoso.security_event DISABLE TRIGGER keep; UPDATE org_contoso.security_event SET actor = 'somebody else' WHERE security_event_id = (SELECT min(security_event_id) FROM org_contoso.security_event); "
         "ALTER TABLE org_contoso.security_event ENABLE TRIGGER keep", "event-chain-broken", None),
        ("DELETE FROM config.migration WHERE name = '0004_sessions'", "migrations-pending", None),
    ],
)
def test_what_is_wrong_is_found(broken_service, statement, code, repair):
    broken_service.sql(f"SET fieldseal.maintenance = 'on'; {statement}")
    found = doctor(broken_service)
    assert code in found and found[code]["advice"], found
    if repair:
        broken_service.sql(f"SET fieldseal.maintenance = 'on'; {repair}")
        assert code not in doctor(broken_service)


@pytest.fixture(scope="module")
def broken_service():
    from service import Deployment

    with Deployment.made() as deployment:
        deployment.key()
        yield deployment


def test_a_folder_that_others_may_write_to(own_service):
    own_service.key()
    own_service.home.chmod(0o777)
    assert set(doctor(own_service)) == {"kek-folder-writable"}
    own_service.home.chmod(0o755)
    assert doctor(own_service) == {}


def test_the_copy_of_the_key_encryption_key(own_service):
    own_service.key()
    original = own_service.home / "kek"
    elsewhere = scratch.elsewhere()
    try:
        copy = elsewhere / "kek"

        def found(path):
            findings = json.loads(own_service.run("doctor", "--json", check=False, FIELDSEAL_KEK_COPY_FILE=str(path)).stdout)["findings"]
            return [f["code"] for f in findings]

        assert found(copy) == ["kek-copy-unusable"]
        copy.write_bytes(original.read_bytes())
        copy.chmod(0o644)
        assert found(copy) == ["kek-copy-unusable"]
        copy.chmod(0o400)
        assert found(copy) == []
        assert found(original) == ["kek-copy-nearby"]
        copy.unlink()
        own_service.run("kek", "create", str(copy))
        assert found(copy) == ["kek-copy-differs"]
    finally:
        shutil.rmtree(elsewhere)


def test_a_lost_key_and_a_cell_that_does_not_open(own_service):
    own_service.key()
    first, second = (own_service.create("mailboxes", {"name": n, "password": n}) for n in ("a", "b"))
    own_service.sql(
        "UPDATE org_contoso.mailbox_cell AS c SET password = d.password FROM org_contoso.mailbox_cell AS d WHERE c.mailboxid = %s AND d.mailboxid = %s",
        [first, second])
    found = doctor(own_service, "--deep")
    assert f"mailbox({first}).password: this is the cell of mailbox({second}).password" in found["cell-does-not-open"]["message"]
    assert doctor(own_service) == {}
    verified = own_service.run("verify", "--json", check=False)
    assert verified.returncode == 1 and json.loads(verified.stdout)["bad"][0]["origin"] == f"mailbox({second}).password"
    own_service.sql("ALTER TABLE config.organization_key DISABLE TRIGGER ALL")
    own_service.sql("DELETE FROM config.organization_key")
    fingerprint = own_service.sql("SELECT fingerprint FROM org_contoso.encryption")[0][0]
    assert fingerprint in doctor(own_service)["key-required"]["message"]


def test_a_chain_of_events_shows_what_was_changed_taken_out_and_moved(own_service):
    for _ in range(4):
        own_service.key()

    def broken():
        return [i for i, _ in own_service.sql("SELECT * FROM org_contoso.verify_security_events()")]

    def tamper(statement):
        own_service.sql(f"SET fieldseal.maintenance = 'on'; ALTER TABLE org_contoso.security_event DISABLE TRIGGER USER; {statement}; ALTER TABLE org_contoso.security_event ENABLE TRIGGER USER")

    ids = [i for (i,) in own_service.sql("SELECT security_event_id FROM org_contoso.security_event ORDER BY 1")]
    assert len(ids) >= 5 and broken() == []
    tamper(f"UPDATE org_contoso.security_event SET address = '192.0.2.1' WHERE security_event_id = {ids[1]}")
    assert ids[1] in broken()
    tamper(f"DELETE FROM org_contoso.security_event WHERE security_event_id = {ids[3]}")
    assert set(broken()) >= {ids[1], ids[4]}
    own_service.key()
    assert set(broken()) == {ids[1], ids[4]}
    # Without the last events, each link of the chain is valid. The doctor notices because config has the length of the chain.
    assert "1 of " in doctor(own_service)["event-chain-cut"]["message"]
    ids = [i for (i,) in own_service.sql("SELECT security_event_id FROM org_contoso.security_event ORDER BY 1")]
    before = broken()
    tamper(f"DELETE FROM org_contoso.security_event WHERE security_event_id = {ids[-1]}")
    assert broken() == before
    assert "2 of " in doctor(own_service)["event-chain-cut"]["message"]
    own_service.sql("UPDATE config.attested_state SET events = events - 2")
    assert "not written by this service" in doctor(own_service)["state-not-attested"]["message"]


def test_a_dba_sees_what_stands_in_every_encrypted_attribute(own_service):
    own_service.set_key("Another-key-for-the-dba-1!")
    id = own_service.create("mailboxes", {"name": "seen", "password": "x" * 33})
    rows = {a: rest for a, *rest in own_service.sql("SELECT attribute, records, cells, cells_by_key_version, bytes, malformed FROM config.encrypted_attribute_status WHERE organization = 'contoso'")}
    assert set(rows) == {"emailserverprofile.incomingpassword", "emailserverprofile.outgoingpassword", "mailbox.password", "queue.emailpassword", "usersettings.emailpassword"}
    records, cells, versions, size, malformed = rows["mailbox.password"]
    assert records == own_service.sql("SELECT count(*) FROM org_contoso.mailbox")[0][0] and id
    assert versions == {"2": cells} and malformed == 0 and size >= 69 * cells > 0
    own_service.sql("SET ROLE fieldseal_inspector; SELECT count(*) FROM config.encrypted_attribute_status")


def test_a_token_signing_key_that_sql_wrote_stops_nothing(own_service):
    own_service.key()
    copy = ("INSERT INTO config.signing_key (signing_key_id, public_key, private_key, kek_id, retired_on) SELECT gen_random_uuid(), public_key, private_key, {}, now() "
            "FROM config.signing_key WHERE retired_on IS NULL")
    own_service.sql(copy.format("'ffffffffffffffff'"))
    own_service.sql(copy.format("kek_id"))
    found = doctor(own_service)
    assert set(found) == {"signing-key-unreadable"} and found["signing-key-unreadable"]["severity"] == "warning"
    # A server that starts reads every key, and ignores the two that it can't open.
    own_service.stop()
    own_service.start()
    assert own_service.get("queues?$top=1", token=own_service.token()).status_code == 200
    # If the key in force can't be opened, the doctor reports an error. After the operator retires the key, a server makes a new one.
    own_service.sql("DELETE FROM config.signing_key WHERE retired_on IS NOT NULL; UPDATE config.signing_key SET private_key = set_byte(private_key, 40, get_byte(private_key, 40) # 1)")
    [(id,)] = own_service.sql("SELECT signing_key_id::text FROM config.signing_key")
    found = doctor(own_service)["signing-key-unreadable"]
    assert found["severity"] == "error" and id in found["message"] and id in found["advice"]
    own_service.sql("UPDATE config.signing_key SET retired_on = now()")
    own_service.stop()
    own_service.start()
    assert own_service.get("queues?$top=1", token=own_service.token()).status_code == 200


@pytest.mark.parametrize("date", ["now() + interval '40 years'", "'infinity'"])
def test_a_token_signing_key_of_the_future_is_replaced(own_service, date):
    """Otherwise it would never be old enough."""
    [(id,)] = own_service.sql(f"UPDATE config.signing_key SET created_on = {date} WHERE retired_on IS NULL RETURNING signing_key_id")
    own_service.stop()
    own_service.start()
    assert own_service.get("queues?$top=1", token=own_service.token()).status_code == 200
    [(new, is_present)] = own_service.sql("SELECT signing_key_id, created_on <= now() FROM config.signing_key WHERE retired_on IS NULL")
    assert new != id and is_present
    # A retired key is not accepted for longer either, by a date of its retirement that lies in the future.
    own_service.sql(f"UPDATE config.signing_key SET retired_on = {date} WHERE signing_key_id = %s", [id])
    keys = own_service.connections.session.get(f"{own_service.base}/contoso/discovery/v2.0/keys").json()["keys"]
    own_service.stop()
    own_service.start()
    again = own_service.connections.session.get(f"{own_service.base}/contoso/discovery/v2.0/keys").json()["keys"]
    assert str(id) in {key["kid"] for key in keys} and {key["kid"] for key in again} == {str(new)}
