"""SQL as the service writes the largest numbers and infinite times. No process ends because of them, and no caller is refused for good."""

import json

import psycopg
import pytest
import soap
from mailroom import Mailroom
from service import Deployment
from waiting import until


@pytest.fixture(scope="module")
def service():
    with Deployment.made() as deployment:
        deployment.key()
        yield deployment


def as_service(service, statement, parameters=None):
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET ROLE fieldseal_service")
        return connection.execute(statement, parameters)


def findings(service, code):
    return [f["message"] for f in json.loads(service.run("doctor", "--json", check=False).stdout)["findings"] if f["code"] == code]


def organization(service):
    [(id,)] = service.sql("SELECT organization_id FROM config.organization WHERE name = 'contoso'")
    return id


def versions(service):
    return [version for (version,) in service.sql("SELECT key_version FROM config.organization_key WHERE organization_id = %s ORDER BY 1", [organization(service)])]


@pytest.mark.parametrize("version", [2**31 - 1, None])
def test_a_row_of_another_key_uses_up_no_version(service, version):
    before = service.get("RetrieveDataEncryptionKey()").json()["EncryptionKey"]
    current = service.json("key", "status", "--org", "contoso")["keyVersion"]
    made = version or current + 1
    as_service(service, """
        INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint, rotation_id, origin, created_by, retired_on)
        SELECT organization_id, %s, wrapped_text, wrapped_data, kek_id, '0123456789abcdef', gen_random_uuid(), origin, created_by, now()
          FROM config.organization_key WHERE organization_id = %s AND key_version = %s""", [made, organization(service), current])
    assert findings(service, "key-row-changed")
    assert service.set_key(f"A-key-beside-{made}-1!").status_code == 204
    service.run("key", "change", "--org", "contoso")
    now = service.json("key", "status", "--org", "contoso")["keyVersion"]
    # The next key change skips the version that SQL used.
    assert now == (current + 2 if version else current + 3) and made in versions(service)
    assert service.get("RetrieveDataEncryptionKey()").json()["EncryptionKey"] != before
    service.sql("SET session_replication_role = replica; DELETE FROM config.organization_key WHERE fingerprint = '0123456789abcdef'")


@pytest.mark.parametrize("version", ["next", 2**31 - 1])
def test_tables_of_a_version_that_sql_made_hold_up_no_key_change(service, version):
    service.create("mailboxes", {"name": "kept", "password": "x"})
    current = service.json("key", "status", "--org", "contoso")["keyVersion"]
    made = current + 1 if version == "next" else version
    assert not findings(service, "later-generation")
    as_service(service, f"SELECT org_contoso.create_generation({made}), org_contoso.finish_generation({made})")
    (_, found, *_) = findings(service, "later-generation")
    assert f"_cell_k{made}" in found
    service.run("key", "rehearse", "--org", "contoso")
    service.run("key", "change", "--org", "contoso")
    now = service.json("key", "status", "--org", "contoso")["keyVersion"]
    assert now == (current + 2 if version == "next" else current + 1)
    tables = [f"org_contoso.{name}" for name, in service.sql(f"SELECT relname FROM pg_class WHERE relnamespace = 'org_contoso'::regnamespace AND relkind = 'r' AND relname ~ '_cell_k{made}$'")]
    if version == "next":
        # The next sweep drops the tables that SQL created for a version.
        service.sql("UPDATE config.sweep SET swept_on = '-infinity'")
        until(lambda: not findings(service, "old-generation") and not findings(service, "later-generation"))
    else:
        assert tables
        # No key can get the highest version, because no later version could follow.
        [(organization,)] = service.sql("SELECT organization_id FROM org_contoso.encryption")
        with pytest.raises(psycopg.Error, match="too far") as refused:
            as_service(
                service, f"SELECT org_contoso.switch_generation({made}, %s, 1, %s, %s, gen_random_uuid(), %s)",
                [bytes(32), b"\x01" + made.to_bytes(4, "big") + bytes(64), "f" * 16, organization])
        assert refused.value.sqlstate == "FS001"
        service.sql(f"SET fieldseal.maintenance = 'on'; DROP TABLE {', '.join(tables)}")
    service.run("verify", "--org", "contoso")


def test_a_snapshot_that_keeps_the_old_key_s_tables_is_named(service):
    service.create("mailboxes", {"name": "kept", "password": "x"})
    assert not findings(service, "snapshot-held")
    with psycopg.connect(service.dev["postgres"] + " application_name=reader") as other:
        other.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
        other.execute("SELECT FROM org_contoso.queue")
        service.run("key", "change", "--org", "contoso")
        until(lambda: findings(service, "snapshot-held"))
        [found] = findings(service, "snapshot-held")
        assert f"process {other.info.backend_pid} (postgres, reader, idle in transaction) has had a snapshot since" in found, found
        assert findings(service, "old-generation")
    # The next sweep drops the tables once the transaction has ended.
    service.sql("UPDATE config.sweep SET swept_on = '-infinity'")
    until(lambda: not findings(service, "old-generation") and not findings(service, "snapshot-held"))


def test_an_open_transaction_holds_up_no_key_change_without_end(service):
    current = service.json("key", "status", "--org", "contoso")["keyVersion"]
    with psycopg.connect(service.dev["postgres"]) as other:
        other.execute("SET ROLE fieldseal_service")
        other.execute("SELECT org_contoso.create_generation(%s)", [current + 1])
        ended = service.run("key", "change", "--org", "contoso", check=False)
        assert ended.returncode == 1 and f"for 10 seconds, process {other.info.backend_pid} " in ended.stderr, ended
        assert "End that transaction, and try again." in ended.stderr
        other.rollback()
    service.run("key", "change", "--org", "contoso")
    assert service.json("key", "status", "--org", "contoso")["keyVersion"] == current + 1


@pytest.mark.parametrize(("cells", "total", "phase"), [
    (2**63 - 1, 1, "copying"), (2**63 - 1, -(2**63 - 1), "switching"), (-(2**63), 2**63 - 1, "copying"), (0, 0, "announcing"),
])
@pytest.mark.parametrize("started", ["now()", "'infinity'", "'-infinity'", "'294276-12-31'"])
def test_the_progress_of_a_change_that_sql_made_up(service, cells, total, phase, started):
    with psycopg.connect(service.dev["postgres"], autocommit=True) as living:
        as_service(service, f"""
            INSERT INTO config.key_change (organization_id, rotation_id, backend, phase, cells, total, started_by, started_on)
            VALUES (%s, gen_random_uuid(), %s, %s, %s, %s, 'client:x', {started})""",
            [organization(service), living.info.backend_pid, phase, cells, total])
        try:
            answer = service.get("RetrieveDataEncryptionKeyChange()")
            assert answer.status_code == 200, answer.text
            assert service.get("WhoAmI").status_code == 200
            # The view for database administrators shows the row without an error.
            [(percent, alive)] = service.sql("SELECT percent, is_alive FROM config.key_change_progress")
            assert alive and (percent is None or 0 <= percent <= 100)
        finally:
            service.sql("DELETE FROM config.key_change")


def refuse(constant):
    raise AssertionError(f"{constant} is no JSON")


def test_a_decimal_that_is_no_number_is_null(service):
    rates = ["1", "NaN", "NaN"]
    ids = [service.create("queues", {"name": f"rated {number}"}) for number in range(len(rates))]
    for id, rate in zip(ids, rates):
        as_service(service, "UPDATE org_contoso.queue SET exchangerate = %s WHERE queueid = %s", [rate, id])

    def answer(path, **options):
        found = service.get(path, **options)
        assert found.status_code == 200, found.text
        return json.loads(found.text, parse_constant=refuse)

    assert answer(f"queues({ids[1]})?$select=name,exchangerate", Prefer='odata.include-annotations="*"')["exchangerate"] is None
    assert service.get(f"queues({ids[1]})/exchangerate").status_code == 204
    assert service.get(f"queues({ids[1]})/exchangerate/$value").status_code == 204
    assert answer("queues?$apply=aggregate(exchangerate with sum as total)")["value"][0]["total"] is None
    seen, path = [], "queues?$select=exchangerate&$filter=startswith(name,'rated')&$orderby=exchangerate"
    while path:
        page = answer(path, Prefer="odata.maxpagesize=1")
        seen += [(row["queueid"], row["exchangerate"]) for row in page["value"]]
        path = page.get("@odata.nextLink")
    assert dict(seen) == {ids[0]: 1, ids[1]: None, ids[2]: None} and len(seen) == len(ids)
    target = soap.parameter("Target", "x:EntityReference", soap.reference("queue", ids[1]))
    found = soap.execute(service, "Retrieve", target + soap.parameter("ColumnSet", "x:ColumnSet", soap.columns("name", "exchangerate")))
    shown = soap.values(found["Entity"])
    assert shown["name"][1] == "rated 1" and "exchangerate" not in shown


@pytest.mark.parametrize(("failures", "last_on"), [
    (99_999, "'2999-01-01'"), (99_999, "'infinity'"), (2**31 - 1, "now()"), (-(2**31), "now()"), (2**31 - 1, "'infinity'"), (5, "'-infinity'"),
])
@pytest.mark.parametrize("row", ["network", "account", "account from everywhere"])
def test_counts_of_failed_sign_ins_that_sql_made_up(service, row, failures, last_on):
    client = service.dev["clients"]["admin"]
    account, address = {
        "network": ("*", "127.0.0.1"), "account": (f"client:{client['clientId'].upper()}", "127.0.0.1"),
        "account from everywhere": (f"client:{client['clientId'].upper()}", "*")}[row]
    service.sql("DELETE FROM config.failed_sign_in")
    as_service(service, f"INSERT INTO config.failed_sign_in (account, address, failures, first_on, last_on) VALUES (%s, %s, %s, now(), {last_on})", [account, address, failures])
    try:
        answer = service.token_response(client["clientId"], client["clientSecret"])
        # Counts that SQL wrote lock the account as true failures do. The lock ends as usual.
        is_lock = failures > 0 and last_on == "now()" and row != "account from everywhere"
        assert answer.status_code == (429 if is_lock else 200), answer.text
        if is_lock:
            service.sql("UPDATE config.failed_sign_in SET last_on = now() - interval '1 day'")
            assert service.token_response(client["clientId"], client["clientSecret"]).status_code == 200
    finally:
        service.sql("DELETE FROM config.failed_sign_in")


@pytest.mark.parametrize("time", ["'infinity'", "'-infinity'", "'294276-12-31'", "'1999-12-31'"])
def test_an_event_of_no_time_keeps_no_other_out_of_the_chain(service, time):
    with pytest.raises(psycopg.errors.CheckViolation):
        as_service(service, f"""
            INSERT INTO org_contoso.unchained_event (occurred_on, kind, outcome, actor, details, tag)
            VALUES ({time}, 'password set', 'succeeded', 'x', 'y', sha256(''))""")
    id = service.create("mailboxes", {"name": "has an event", "password": "x"})
    until(lambda: service.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'password set' AND details LIKE %s", [f"%{id}%"]) == [(1,)])


@pytest.mark.parametrize("time", ["'infinity'", "'-infinity'", "'294276-12-31'", "'10000-01-01'", "'4000-01-01 BC'"])
def test_no_event_has_a_time_without_a_date(service, time):
    with pytest.raises(psycopg.Error) as refused:
        as_service(service, f"INSERT INTO org_contoso.security_event (occurred_on, kind, outcome, actor, details) VALUES ({time}, 'client disabled', 'refused', 'x', 'y')")
    # The hash of an event needs its time in microseconds. An infinite time has none, so the database rejects the event.
    assert refused.value.sqlstate in ("23514", "0A000", "22003"), refused.value


@pytest.mark.parametrize("time", ["'infinity'", "now() + interval '10 years'"])
def test_an_organization_is_swept_whatever_time_sql_wrote(service, time):
    service.create("mailboxes", {"name": "swept", "password": "x"})
    as_service(service, f"UPDATE config.sweep SET swept_on = {time}")
    until(lambda: service.sql("SELECT bool_and(swept_on <= now()) FROM config.sweep") in ([(True,)], [(None,)]))


def test_a_wrapped_key_that_sql_destroyed_is_missed(service):
    service.run("key", "change", "--org", "contoso")
    retired = versions(service)[-2]
    [(fingerprint,)] = service.sql("SELECT fingerprint FROM config.organization_key WHERE organization_id = %s AND key_version = %s", [organization(service), retired])
    assert not findings(service, "key-row-missing")
    as_service(service, "UPDATE config.organization_key SET purged_on = now(), wrapped_text = NULL, wrapped_data = NULL WHERE organization_id = %s AND key_version = %s", [organization(service), retired])
    (found,) = findings(service, "key-row-missing")
    assert fingerprint in found and f"version {retired}" in found
    assert not findings(service, "attested-rows-missing")
    # The control: a key that was purged by command is not reported as missing.
    service.run("key", "change", "--org", "contoso")
    purged = versions(service)[-2]
    service.run("key", "purge", str(purged), "--yes", "--org", "contoso")
    assert [f"version {retired}" in each for each in findings(service, "key-row-missing")] == [True]


@pytest.fixture(scope="module")
def mailroom():
    with Mailroom.made() as room:
        room.queue, room.leased = room.queue_box(room.profile(timeoutmailboxconnection=True, timeoutmailboxconnectionafteramount=5_000, minpollingintervalinminutes=1))
        yield room


#: The tables whose numbers the requests of routers read, and the collections of their records.
COUNTED = {"mailbox": "mailboxes", "emailserverprofile": "emailserverprofiles", "email": "emails", "queue": "queues", "usersettings": "usersettingscollection", "organization": "organizations"}
#: Columns that decide whether a mailbox or e-mail is processed at all. The test leaves them out.
STATES = ["statecode", "statuscode", "emailrouteraccessapproval", "incomingemaildeliverymethod", "outgoingemaildeliverymethod", "maxconcurrentconnections"]


def submitted(room):
    """Sends an e-mail of the queue, which then waits for a router. Returns its id."""
    email = room.drafted(room.queue, client="admin")
    assert room.send(email, client="admin").status_code == 200
    return email


@pytest.mark.parametrize("number", [2**31 - 1, -(2**31), -1])
@pytest.mark.parametrize("table", COUNTED)
def test_a_number_that_sql_wrote_stops_no_mail(mailroom, table, number):
    room, box = mailroom, mailroom.leased
    columns = [name for name, in room.sql(
        "SELECT column_name::text FROM information_schema.columns WHERE table_schema = 'org_contoso' AND table_name = %s AND data_type = 'integer' "
        "AND is_generated = 'NEVER' ORDER BY 1", [table]) if name not in STATES]
    assert columns
    for column in columns:
        email = submitted(room)
        [(before,)] = room.sql(f"SELECT jsonb_agg(to_jsonb(t) -> '{column}') FROM org_contoso.{table} AS t")
        try:
            room.sql_as("fieldseal_service", f"UPDATE {table} SET {column} = {number}")
        except psycopg.errors.CheckViolation:
            continue
        # The mailbox was leased an hour ago, and the router did not report.
        room.sql("UPDATE org_contoso.mailbox SET processingstatecode = 1, processinglastattemptedon = now() - interval '1 hour', postponemailboxprocessinguntil = NULL WHERE mailboxid = %s", [box])
        said = (table, column, number)
        leased = room.call("LeaseMailbox", HostId="numbers", MailboxId=box)
        assert leased.status_code == 200 and leased.json()["MailboxId"] == box and leased.json()["Timeout"] > 0, (said, leased.text)
        taken = room.call("TakePendingEmails", MailboxId=box, HostId="numbers", Limit=50)
        assert taken.status_code == 200, (said, taken.text)
        if table != "email":
            assert email in [m["EmailId"] for m in taken.json()["value"]], (said, taken.text)
        for taken_email in taken.json()["value"]:
            reported = room.call("ReportEmails", MailboxId=box, HostId="numbers", Reports=[{"EmailId": taken_email["EmailId"], "Outcome": "Temporary", "Reason": "x", "Code": 20}])
            assert reported.status_code == 204, (said, reported.text)
        problem = {"Code": 12, "Text": "refused", "Details": "", "IsPermanent": False}
        for error in (problem, None):
            room.sql("UPDATE org_contoso.mailbox SET hostid = 'numbers', processingstatecode = 1, processinglastattemptedon = now() WHERE mailboxid = %s", [box])
            reported = room.call("ReportMailbox", MailboxId=box, HostId="numbers", Processed=0, IncomingIsWell=error is None, **({"Error": error} if error else {}))
            assert reported.status_code in (200, 204), (said, reported.text)
            if error:
                # After an error, the mailbox is postponed.
                [(seconds,)] = room.sql("SELECT extract(epoch FROM postponemailboxprocessinguntil - now())::double precision FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
                assert seconds > 20, (said, seconds)
        waited = room.call("WaitForWork", HostId="numbers", Seconds=0, WantsWork=True, Watching=[], IsLeaving=False)
        assert waited.status_code == 200, (said, waited.text)
        listed = room.get(f"{COUNTED[table]}?$top=5")
        assert listed.status_code == 200, (said, listed.text)
        if all(value is None for value in before or [None]):
            room.sql(f"UPDATE org_contoso.{table} SET {column} = NULL")
        else:
            room.sql(f"UPDATE org_contoso.{table} SET {column} = %s", [next(value for value in before if value is not None)])
        room.sql("DELETE FROM org_contoso.email")


@pytest.mark.parametrize("count", [-2_000_000_000, -1, None, 0])
def test_refused_passwords_are_counted_from_nought(mailroom, count):
    room, box = mailroom, mailroom.leased
    room.sql_as("fieldseal_service", "UPDATE mailbox SET transientfailurecount = %s, enabledforincomingemail = true WHERE mailboxid = %s", [count, box])
    for attempt in range(10):
        [(enabled,)] = room.sql("SELECT enabledforincomingemail FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
        assert enabled, attempt
        room.sql("UPDATE org_contoso.mailbox SET hostid = 'numbers', processingstatecode = 1, processinglastattemptedon = now() WHERE mailboxid = %s", [box])
        reported = room.call("ReportMailbox", MailboxId=box, HostId="numbers", IncomingIsWell=False, Error={"Code": 10, "Text": "refused", "Details": "", "IsPermanent": False})
        assert reported.status_code in (200, 204), reported.text
    assert room.sql("SELECT enabledforincomingemail FROM org_contoso.mailbox WHERE mailboxid = %s", [box]) == [(False,)]
    room.enable(box)
