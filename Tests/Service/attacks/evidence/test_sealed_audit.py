"""Entries of the audit that were sealed in a block can't be changed, deleted, added or moved unnoticed."""

import contextlib
import hashlib
import json
import re
import uuid

import psycopg
import pytest
from cluster import MIGRATIONS, Cluster
from proxy import ACTIONS
from server import Server
from waiting import until

COLUMNS = ["auditid", "createdon", "action", "operation", "objectid", "objecttypecode", "userid", "useridname", "attributemask", "changedata",
           "transactionid", "databaserole", "versionnumber", "callinguserid"]
KEPT = ["org_contoso.audit", "org_contoso.audit_block", "org_contoso.security_event", "config.attested_state", "config.event_checkpoint"]


@pytest.fixture(scope="module")
def cluster():
    """A deployment with two organizations. The audit of each has entries in three blocks."""
    cluster = Cluster()
    try:
        cluster.run("key", "show")
        cluster.run("org", "create", "fabrikam")
        for n in range(3):
            write(cluster, f"team {n}", 5)
            write(cluster, f"theirs {n}", 5, "org_fabrikam")
            cluster.run("events", "seal")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def own_cluster():
    cluster = Cluster()
    try:
        write(cluster, "first", 2)
        yield cluster
    finally:
        cluster.remove()


def write(cluster, name, count=1, schema="org_contoso"):
    """Inserts teams by SQL. The audit gets an entry for each."""
    cluster.sql(
        f"INSERT INTO {schema}.team (teamid, name, businessunitid) SELECT gen_random_uuid(), '{name} ' || n, "
        f"(SELECT businessunitid FROM {schema}.businessunit LIMIT 1) FROM generate_series(1, {count}) AS n")


def seal(cluster, organization="contoso"):
    return json.loads(cluster.run("events", "seal", "--org", organization, "--json").stdout)["sealed"]


def verified(cluster, *arguments, organization="contoso"):
    result = cluster.run("events", "verify", "--org", organization, "--json", *arguments, check=False)
    found = json.loads(result.stdout)
    assert result.returncode == (1 if found["problems"] else 0), result.stderr
    return found


def problems(cluster, *arguments, organization="contoso"):
    return verified(cluster, *arguments, organization=organization)["problems"]


def codes(cluster, *arguments):
    return {f["code"] for f in json.loads(cluster.run("doctor", "--json", *arguments, check=False).stdout)["findings"]}


def events(cluster, kind="audit sealed"):
    lines = [json.loads(line) for line in cluster.run("events", "export", "--org", "contoso").stdout.splitlines()]
    return [e["details"] for e in lines[:-1] if e["kind"] == kind]


def blocks(cluster):
    return cluster.sql("SELECT number, entries FROM audit_block ORDER BY number")


@contextlib.contextmanager
def tampered(cluster, *statements, role=None):
    """Attacks the audit with SQL, without triggers, and restores the former rows at the end."""
    cluster.sql("; ".join(f"DROP TABLE IF EXISTS public.kept_{n}; CREATE TABLE public.kept_{n} AS TABLE {t}" for n, t in enumerate(KEPT)))
    with psycopg.connect(cluster.superuser, autocommit=True) as connection:
        connection.execute("SET search_path = org_contoso, public; SET fieldseal.maintenance = 'on'")
        if role:
            connection.execute(f"SET ROLE {role}")
        if role == "fieldseal_owner":
            for table in ("audit", "audit_block", "security_event"):
                connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER USER")
        if not role:
            connection.execute("SET session_replication_role = replica")
        for statement in statements:
            connection.execute(statement)
        if role == "fieldseal_owner":
            for table in ("audit", "audit_block", "security_event"):
                connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER USER")
    try:
        yield
    finally:
        cluster.sql("SET session_replication_role = replica; " + "; ".join(
            f"DELETE FROM {t}; INSERT INTO {t} SELECT * FROM public.kept_{n}" for n, t in enumerate(KEPT)))
        # The events that were recorded in the meantime are gone. The next event must follow the newest restored one without a gap.
        cluster.sql("SELECT setval(pg_get_serial_sequence('security_event', 'security_event_id'), max(security_event_id)) FROM security_event")


# Sealing --------------------------------------------------------------------------------------------------------------------


def digest_of(cluster, number, previous):
    """A block's digest, computed in Python only with what docs/evidence.md says."""
    values = ", ".join(f"(extract(epoch FROM {c}) * 1000000)::bigint" if c == "createdon" else c for c in COLUMNS)
    rows = cluster.sql(f"SELECT auditid, jsonb_build_array({values})::text FROM audit WHERE block = {number}")
    members = b"".join(sorted(id.bytes + hashlib.sha256(text.encode()).digest() for id, text in rows))
    [(head,)] = cluster.sql(
        f"SELECT jsonb_build_array(number, (extract(epoch FROM sealed_on) * 1000000)::bigint, snapshot)::text FROM audit_block WHERE number = {number}")
    return hashlib.sha256(previous + head.encode() + members).digest()


def test_each_sealing_is_an_event_whose_digests_anyone_can_compute(own_cluster):
    own_cluster.sql("UPDATE team SET name = E'quote \" back \\\\ slash \\u0001 \u00fc \U0001f511'")
    assert blocks(own_cluster) == [] and seal(own_cluster) > 0
    assert seal(own_cluster) == 0 and len(events(own_cluster)) == 1
    for n in range(2):
        write(own_cluster, f"more {n}", 3)
        assert seal(own_cluster) == 3
    previous = b""
    said = events(own_cluster)
    for number, entries in blocks(own_cluster):
        assert digest_of(own_cluster, number, previous) == own_cluster.sql(f"SELECT digest FROM audit_block WHERE number = {number}")[0][0]
        previous = digest_of(own_cluster, number, previous)
        assert f"block {number} with {entries} entries; sealed up to block {number} (SHA-256 {previous.hex()}), kept from block 1" in said
    found = verified(own_cluster)
    assert found["problems"] == [] and found["unsealedEntries"] == 0
    assert found["sealedEntries"] == own_cluster.sql("SELECT count(*) FROM audit")[0][0] and found["sealedBlocks"] == len(said) == 3
    assert own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)]
    assert {"audit-changed", "audit-doubted", "audit-not-sealed"}.isdisjoint(codes(own_cluster))


def test_what_was_there_before_is_sealed_in_blocks_of_bounded_size_and_of_one_day(own_cluster):
    write(own_cluster, "old", 4_500)
    own_cluster.sql(
        "SET session_replication_role = replica; UPDATE audit SET createdon = createdon - (1 + get_byte(uuid_send(auditid), 0) % 3) * interval '1 day'")
    count = own_cluster.sql("SELECT count(*) FROM audit")[0][0]
    assert seal(own_cluster) == count > 4_500
    found = verified(own_cluster)
    assert found["problems"] == [] and found["sealedEntries"] == count
    assert max(entries for _, entries in blocks(own_cluster)) <= 2_000
    days = own_cluster.sql("SELECT count(DISTINCT (createdon AT TIME ZONE 'UTC')::date) FROM audit GROUP BY block")
    assert set(days) == {(1,)} and len(events(own_cluster)) == 3
    assert events(own_cluster, "audit entries doubted") == []


# Attacks ------------------------------------------------------------------------------------------------------------------------

ONE = "(SELECT auditid FROM audit WHERE block = 2 ORDER BY auditid LIMIT 1)"
LAST = "(SELECT max(number) FROM audit_block)"
SEALED_EVENT = "(SELECT max(security_event_id) FROM security_event WHERE kind = 'audit sealed')"
ATTACKS = {
    "changed": ([f"UPDATE audit SET useridname = 'innocent' WHERE auditid = {ONE}"], "block 2: the entry", "was changed"),
    "backdated": ([f"UPDATE audit SET createdon = createdon - interval '1 day' WHERE auditid = {ONE}"], "block 2: the entry", "was changed"),
    "another caller": ([f"UPDATE audit SET callinguserid = gen_random_uuid() WHERE auditid = {ONE}"], "block 2: the entry", "was changed"),
    "deleted": ([f"DELETE FROM audit WHERE auditid = {ONE}"], "block 2: the entry", "was removed"),
    "deleted with its member": (
        [f"DELETE FROM audit WHERE auditid = {ONE}",
         "UPDATE audit_block SET entries = entries - 1, members = substr(members, 49), digest = sha256('x') WHERE number = 2"],
        "block 2: it was changed"),
    "a member less": (["UPDATE audit_block SET entries = entries - 1, members = substr(members, 49) WHERE number = 2"], "block 2: it was changed"),
    "inserted": (
        ["INSERT INTO audit (action, operation, objectid, objecttypecode, block) VALUES (3, 3, gen_random_uuid(), 'mailbox', 2)"],
        "block 2: the entry", "was added to it"),
    "taken out of its block": ([f"UPDATE audit SET block = NULL WHERE auditid = {ONE}"], "block 2: the entry", "was removed"),
    "exchanged": (
        ["CREATE TEMP TABLE pair AS SELECT array_agg(auditid) AS ids FROM (SELECT auditid FROM audit WHERE block = 2 ORDER BY auditid LIMIT 2) AS two",
         "UPDATE audit SET auditid = '00000000-0000-0000-0000-000000000000' WHERE auditid = (SELECT ids[1] FROM pair)",
         "UPDATE audit SET auditid = (SELECT ids[1] FROM pair) WHERE auditid = (SELECT ids[2] FROM pair)",
         "UPDATE audit SET auditid = (SELECT ids[2] FROM pair) WHERE auditid = '00000000-0000-0000-0000-000000000000'"],
        "block 2: the entry", "was changed"),
    "moved to another block": ([f"UPDATE audit SET block = 3 WHERE auditid = {ONE}"], "block 3: the entry", "was added to it"),
    "blocks exchanged": (
        ["UPDATE audit SET block = 5 - block WHERE block IN (2, 3)", "UPDATE audit_block SET number = -1 * number + 105 WHERE number IN (2, 3)",
         "UPDATE audit_block SET number = number - 100 WHERE number > 100"], "block 2: it was changed"),
    "renumbered": (
        ["UPDATE audit SET block = block + 1 WHERE block > 1", "UPDATE audit_block SET number = number + 100 WHERE number > 1",
         "UPDATE audit_block SET number = number - 99 WHERE number > 100"], "block 2: it is missing"),
    "the last block deleted": ([f"DELETE FROM audit WHERE block = {LAST}", f"DELETE FROM audit_block WHERE number = {LAST}"], "block 3: it is missing"),
    "the last block emptied": ([f"UPDATE audit SET block = NULL WHERE block = {LAST}", f"DELETE FROM audit_block WHERE number = {LAST}"], "block 3: it is missing"),
    "the first block deleted": (["DELETE FROM audit WHERE block = 1", "DELETE FROM audit_block WHERE number = 1"], "block 1: it is missing"),
    "everything deleted": (["DELETE FROM audit", "DELETE FROM audit_block"], "block 1: it is missing, and so are the blocks up to 3"),
    "all as if it were new": (["UPDATE audit SET block = NULL", "DELETE FROM audit_block"], "block 1: it is missing, and so are the blocks up to 3"),
    "a block more": (
        ["INSERT INTO audit (action, operation, objectid, objecttypecode, block) VALUES (3, 3, gen_random_uuid(), 'mailbox', 4)",
         "INSERT INTO audit_block SELECT 4, now(), 1, uuid_send(auditid) || sha256('x'), NULL, sha256('x') FROM audit WHERE block = 4"],
        "block 4: SQL wrote it"),
    "an entry of no block": (
        ["INSERT INTO audit (action, operation, objectid, objecttypecode, block) VALUES (3, 3, gen_random_uuid(), 'mailbox', 99)"], "block 99: it does not exist"),
    "the event deleted": ([f"DELETE FROM security_event WHERE security_event_id >= {SEALED_EVENT}"], "security events are missing"),
    "the event changed": (
        ["UPDATE security_event SET details = replace(details, '5 entries', '4 entries') WHERE security_event_id = " + SEALED_EVENT], "this event was changed"),
    "another organization's block": (
        ["DELETE FROM audit WHERE block = 2", "DELETE FROM audit_block WHERE number = 2",
         "INSERT INTO audit SELECT * FROM org_fabrikam.audit WHERE block = 2", "INSERT INTO audit_block SELECT * FROM org_fabrikam.audit_block WHERE number = 2"],
        "block 2: it was changed, or another block was put in its place"),
}


@pytest.mark.parametrize("attack, role", [
    *((attack, None) for attack in ATTACKS),
    *((attack, "fieldseal_owner") for attack in ("changed", "deleted", "inserted", "the last block deleted", "all as if it were new")),
])
def test_what_sql_does_to_the_sealed_audit_is_named(cluster, attack, role):
    statements, *words = ATTACKS[attack]
    assert problems(cluster) == []
    with tampered(cluster, *statements, role=role):
        found = problems(cluster)
        assert any(all(word in problem for word in words) for problem in found), found
        doctor = cluster.run("doctor", "--json", check=False)
        assert {f["code"] for f in json.loads(doctor.stdout)["findings"]} & {"audit-changed", "event-chain-cut", "event-chain-broken"}
        assert doctor.returncode == 2
        # Sealing again does not repair the audit.
        cluster.run("events", "seal", check=False)
        assert problems(cluster) != []
    assert problems(cluster) == []


NEWEST = "WHERE security_event_id = " + SEALED_EVENT
MOVED = (f"UPDATE security_event SET details = regexp_replace(details, 'kept from block 1', 'kept from block 3 (SHA-256 ' || "
         f"(SELECT encode(digest, 'hex') FROM audit_block WHERE number = 2) || ' before it)') {NEWEST}")
HASHED = "UPDATE security_event AS e SET hash = security_event_hash(e) "
CONTINUED = {
    "its beginning is moved": ([MOVED], "the newest about the audit, was changed"),
    "its beginning is moved, and its hash fits": ([MOVED, HASHED + NEWEST], "or the previous event about the audit, was changed"),
    "it is hidden": (["UPDATE security_event SET kind = 'key read' " + NEWEST, "DELETE FROM audit_block WHERE number = 3"], "was changed or removed"),
    "all are hidden": (["UPDATE security_event SET kind = 'key read' WHERE kind = 'audit sealed'", "DELETE FROM audit_block"], "was changed or removed"),
    "an arrival is feigned": (
        ["UPDATE security_event SET kind = 'organization attached' WHERE security_event_id = 1 + " + SEALED_EVENT], "was changed or removed"),
    "its block is changed": (["UPDATE audit_block SET snapshot = NULL WHERE number = 3"], "block 3: it was changed"),
    "its block is deleted": (["DELETE FROM audit_block WHERE number = 3"], "block 3: it is missing"),
    "another block follows": (
        ["INSERT INTO audit_block SELECT 4, now(), entries, members, snapshot, digest FROM audit_block WHERE number = 3"], "SQL wrote it, and the last one is 3"),
    "numbers end": (
        ["INSERT INTO audit_block SELECT 1000000000000000, now(), entries, members, snapshot, digest FROM audit_block WHERE number = 3"],
        "SQL wrote it, and the last one is 3"),
}


@pytest.mark.parametrize("attack", CONTINUED)
def test_what_is_not_as_it_was_sealed_is_not_continued(cluster, attack):
    statements, words = CONTINUED[attack]
    cluster.run("key", "show", "--org", "contoso")
    write(cluster, "unsealed")
    with tampered(cluster, *statements):
        refused = cluster.run("events", "seal", "--org", "contoso", check=False)
        assert refused.returncode == 1 and "can't be sealed" in refused.stdout and words in refused.stdout, refused
        assert cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(1,)]
        assert codes(cluster) & {"audit-changed", "event-chain-cut"} and problems(cluster) != []
    assert problems(cluster) == []
    cluster.sql("SET session_replication_role = replica; DELETE FROM org_contoso.audit WHERE block IS NULL")


def test_a_beginning_that_no_archive_moved_is_named(cluster):
    second = "(SELECT security_event_id FROM security_event WHERE kind = 'audit sealed' ORDER BY 1 OFFSET 1 LIMIT 1)"
    with tampered(cluster, MOVED.replace(SEALED_EVENT, second)):
        assert any("moves the first block to 3, and no archive did" in p for p in problems(cluster))


def test_how_many_problems_are_not_listed_is_said(own_cluster):
    write(own_cluster, "many", 150)
    seal(own_cluster)
    own_cluster.sql("SET session_replication_role = replica; UPDATE audit SET useridname = 'x'")
    changed = own_cluster.sql("SELECT count(*) FROM audit")[0][0]
    found = verified(own_cluster)
    assert len(found["problems"]) == 100 and found["problemsNotListed"] == changed - 100
    text = own_cluster.run("events", "verify", "--org", "contoso", check=False).stdout
    assert f"contoso: and {changed - 100} more" in text.splitlines()


@pytest.mark.parametrize("statement, state", [
    ("DELETE FROM audit", "42501"), ("UPDATE audit SET useridname = 'x'", "42501"), ("TRUNCATE audit_block", "42501"),
    ("DELETE FROM audit_block", "42501"), ("UPDATE audit_block SET digest = sha256('x')", "42501"),
    ("UPDATE audit SET block = 1", "FS013"), ("UPDATE audit SET block = NULL", "FS013"),
    ("INSERT INTO audit (action, operation, objectid, objecttypecode) VALUES (1, 1, gen_random_uuid(), 'mailbox')", "42501"),
])
def test_the_service_s_role_changes_nothing_that_is_sealed(cluster, statement, state):
    with psycopg.connect(cluster.superuser) as connection:
        connection.execute("SET search_path = org_contoso, public; SET ROLE fieldseal_service; SET fieldseal.evidence = 'move'")
        with pytest.raises(psycopg.Error) as error:
            connection.execute(statement)
    assert error.value.sqlstate == state


def test_what_the_service_s_role_can_write_is_named(cluster):
    write(cluster, "unsealed")
    unsealed = "UPDATE audit SET block = {} WHERE block IS NULL"
    forged = "INSERT INTO audit_block SELECT {}, now(), 1, decode(repeat('00', 48), 'hex'), NULL, sha256('x')"
    for statement, words in [
        (unsealed.format(2), "was added to it"), (unsealed.format(99), "block 99: it does not exist"), (forged.format(4), "SQL wrote it"),
        (forged.format(9), "SQL wrote it"), (forged.format(2**63 - 1), "SQL wrote it"),
        (unsealed.format(2**63 - 1), f"block {2**63 - 1}: it does not exist"), (unsealed.format(-2**63), "does not exist"),
    ]:
        with tampered(cluster, statement, role="fieldseal_service"):
            assert any(words in p for p in problems(cluster)), (statement, problems(cluster))
            result = cluster.run("events", "seal", "--org", "contoso", check=False)
            assert result.returncode in (0, 1) and ("can't be sealed" in result.stdout) == (result.returncode == 1), result
    assert problems(cluster) == []


def test_an_earlier_program_s_archive_and_the_owner_s_accident_are_refused(cluster):
    for setting in ("", "move"):
        with psycopg.connect(cluster.superuser) as connection:
            connection.execute("SET search_path = org_contoso, public; SET ROLE fieldseal_owner")
            connection.execute("SELECT set_config('fieldseal.evidence', %s, false)", [setting])
            with pytest.raises(psycopg.Error) as error:
                connection.execute("DELETE FROM audit WHERE createdon < now()")
        assert error.value.sqlstate == "FS013"


def test_a_step_back_gives_the_blocks_up_on_record(own_cluster):
    write(own_cluster, "before", 3)
    seal(own_cluster)
    count = own_cluster.sql("SELECT count(*) FROM audit")
    own_cluster.step_back("contoso", MIGRATIONS[MIGRATIONS.index("0025_sealed_audit") - 1])
    own_cluster.sql("UPDATE team SET description = 'by the earlier program'")
    own_cluster.run("migrate", "up")
    assert "because the migration 0025_sealed_audit is undone; sealed up to block 1" in events(own_cluster)[-1]
    assert problems(own_cluster) == [] and seal(own_cluster) > count[0][0] and [n for n, _ in blocks(own_cluster)] == [2]
    assert problems(own_cluster) == [] and events(own_cluster, "audit entries doubted") == []
    # If only SQL removes the blocks, as undoing the migration does, that is reported.
    with tampered(own_cluster, "UPDATE audit SET block = NULL", "DELETE FROM audit_block"):
        assert any("block 2: it is missing" in p for p in problems(own_cluster))


# Entries that no trigger wrote --------------------------------------------------------------------------------------------------

FORGED = "INSERT INTO audit (action, operation, objectid, objecttypecode, {}) VALUES (3, 3, gen_random_uuid(), 'mailbox', {})"


@pytest.mark.parametrize("columns, values, words", [
    ("createdon", "now() - interval '1 year'", "its time is before its transaction began"),
    ("createdon", "now() + interval '1 hour'", "its time is in the future"),
    ("createdon", "'infinity'", "its time is in the future"),
    ("createdon", "'-infinity'", "its time is before its transaction began"),
    ("createdon, transactionid", "now() - interval '1 year', (SELECT min(transactionid::bigint)::text FROM audit)", "its transaction had ended"),
    ("transactionid", "'innocent'", "its transaction is no number"),
])
def test_an_entry_that_is_forged_into_the_past_is_doubted(own_cluster, columns, values, words):
    seal(own_cluster)
    own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format(columns, values)}")
    write(own_cluster, "legitimate")
    [(forged,)] = own_cluster.sql("SELECT auditid::text FROM audit WHERE block IS NULL AND objecttypecode = 'mailbox'")
    seal(own_cluster)
    [doubted] = events(own_cluster, "audit entries doubted")
    assert doubted.startswith("1 up to block ") and f"{forged}: {words}" in doubted
    assert "audit-doubted" in codes(own_cluster) and problems(own_cluster) == []
    # SQL forges an entry with an old time. The doctor reports it, because an entry of that age should have been sealed.
    own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format('createdon', 'now() - interval $$1 hour$$')}")
    assert "audit-not-sealed" in codes(own_cluster)


def test_many_changes_in_one_sealing_hide_no_forged_entry(own_cluster):
    seal(own_cluster)
    [(ended,)] = own_cluster.sql("SELECT max(transactionid::bigint) FROM audit")
    for count in (2_000, 4_500):
        write(own_cluster, f"many {count}", count)
        own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format('createdon, transactionid', f'now() - interval $$1 hour$$, {ended}')}")
        own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format('createdon', 'now() - interval $$1 hour$$')}")
        assert seal(own_cluster) == count + 2
    doubted = events(own_cluster, "audit entries doubted")
    assert len(doubted) == 2 and all(d.startswith("2 up to block ") and "had ended" in d and "before its transaction began" in d for d in doubted)
    # The next block is checked in the same way, with the transactions that had ended before it.
    own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format('createdon', 'now() - interval $$1 hour$$')}")
    assert seal(own_cluster) == 1 and len(events(own_cluster, "audit entries doubted")) == 3 and problems(own_cluster) == []


def test_a_transaction_that_was_left_open_writes_no_entry_of_before_it(own_cluster):
    seal(own_cluster)
    with psycopg.connect(own_cluster.superuser) as long:
        long.execute("SET search_path = org_contoso, public")
        long.execute("UPDATE team SET name = 'left open'")
        for n in range(3):
            write(own_cluster, f"meanwhile {n}")
            assert seal(own_cluster) == 1
        long.execute("SET LOCAL session_replication_role = replica")
        long.execute(FORGED.format("createdon", "now() - interval '1 hour'"))
    seal(own_cluster)
    [doubted] = events(own_cluster, "audit entries doubted")
    assert doubted.startswith("1 up to block ") and "its time is before its transaction began" in doubted and problems(own_cluster) == []


def test_long_transactions_and_savepoints_are_not_doubted(own_cluster):
    seal(own_cluster)
    with psycopg.connect(own_cluster.superuser) as long:
        long.execute("SET search_path = org_contoso, public")
        long.execute("UPDATE team SET name = 'in a long transaction'")
        write(own_cluster, "meanwhile")
        assert seal(own_cluster) == 1
        with long.transaction():
            long.execute("UPDATE team SET description = 'in a savepoint'")
        write(own_cluster, "later")
        assert seal(own_cluster) == 1
    assert seal(own_cluster) >= 2 and events(own_cluster, "audit entries doubted") == [] and problems(own_cluster) == []


# Archives, exports, and accepting a changed state ------------------------------------------------------------------------------


def archive(cluster, file, *arguments, before=None):
    if before is None:
        until(lambda: cluster.sql("SELECT max(createdon) < date_trunc('second', now()) FROM audit") != [(False,)])
        [(before,)] = cluster.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    return cluster.run("events", "archive", "--org", "contoso", "--before", before, "--to", str(file), *arguments, check=False)


def test_archives_of_whole_blocks_leave_the_others_verifiable(own_cluster, tmp_path):
    seal(own_cluster)
    write(own_cluster, "old", 3)
    own_cluster.sql("SET session_replication_role = replica; UPDATE audit SET createdon = createdon - interval '50 days' WHERE block IS NULL")
    write(own_cluster, "new", 2)
    own_cluster.sql("SET session_replication_role = replica; UPDATE audit SET createdon = createdon - interval '50 days' WHERE block = 1")
    # No entry is older than the date, so nothing is archived.
    refused = archive(own_cluster, tmp_path / "x", "--audit", before="2026-01-01")
    assert refused.returncode and "no entries before" in refused.stderr
    own_cluster.sql("SET session_replication_role = replica; UPDATE audit SET createdon = createdon + interval '50 days' WHERE block = 1")
    old = own_cluster.sql("SELECT count(*) FROM audit WHERE block = 1")[0][0]
    assert archive(own_cluster, tmp_path / "first", "--audit").returncode == 0
    assert own_cluster.sql("SELECT count(*) FROM audit") == [(0,)] and blocks(own_cluster) == [] and problems(own_cluster) == []
    lines = [json.loads(line) for line in (tmp_path / "first").read_text().splitlines()]
    assert (lines[0]["first"], lines[0]["previousHash"]) == (1, None) and lines[0]["count"] == len(lines) - 2 > old
    write(own_cluster, "after", 2)
    seal(own_cluster)
    last = lines[0]["last"]
    assert blocks(own_cluster) == [(last + 1, 2)] and problems(own_cluster) == []
    # SQL restores an archived block. After the events about blocks are archived too, the service still knows which blocks were archived.
    with tampered(own_cluster, f"INSERT INTO audit_block VALUES ({last}, now(), 1, decode(repeat('00', 48), 'hex'), NULL, sha256('x'))"):
        assert any("was put back" in p for p in problems(own_cluster))
    own_cluster.run("key", "show")
    assert archive(own_cluster, tmp_path / "events").returncode == 0
    assert events(own_cluster) == [] and problems(own_cluster) == []
    for attack in ("DELETE FROM audit", f"UPDATE audit SET useridname = 'x' WHERE block = {last + 1}", "DELETE FROM audit; DELETE FROM audit_block"):
        with tampered(own_cluster, attack):
            assert any("audit block" in p for p in problems(own_cluster)), attack
    write(own_cluster, "later", 1)
    seal(own_cluster)
    assert problems(own_cluster) == [] and [n for n, _ in blocks(own_cluster)] == [last + 1, last + 2]


def test_what_is_changed_while_an_archive_is_written_stays(own_cluster, tmp_path):
    write(own_cluster, "before", 3)
    seal(own_cluster)
    until(lambda: own_cluster.sql("SELECT max(createdon) < date_trunc('second', now()) FROM audit") != [(False,)])
    [(before,)] = own_cluster.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    count = own_cluster.sql("SELECT count(*) FROM audit")
    with psycopg.connect(own_cluster.superuser) as owner:
        owner.execute("SET session_replication_role = replica; UPDATE org_contoso.audit SET useridname = 'x' WHERE block = 1")
        archiving = own_cluster.popen("events", "archive", "--audit", "--org", "contoso", "--before", before, "--to", str(tmp_path / "file"))
        until(lambda: own_cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%DELETE FROM%'") == [(1,)])
    _, told = archiving.communicate("")
    assert archiving.returncode and "changed while the file was written" in told, told
    assert own_cluster.sql("SELECT count(*) FROM audit") == count and any("was changed" in p for p in problems(own_cluster))
    assert "'x'" not in (tmp_path / "file").read_text() and '"useridname":"x"' not in (tmp_path / "file").read_text()


def test_an_entry_that_is_forged_after_everything_was_archived_is_doubted(own_cluster, tmp_path):
    seal(own_cluster)
    assert archive(own_cluster, tmp_path / "audit", "--audit").returncode == 0 and blocks(own_cluster) == []
    own_cluster.run("key", "show")
    assert archive(own_cluster, tmp_path / "events").returncode == 0
    own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format('createdon', 'now() - interval $$1 year$$')}")
    seal(own_cluster)
    [doubted] = events(own_cluster, "audit entries doubted")
    assert "its time is before its transaction began" in doubted and problems(own_cluster) == []


@pytest.mark.parametrize("change", ["useridname = 'innocent'", "createdon = createdon - interval '50 days'", "block = 2"])
def test_blocks_that_were_changed_are_not_archived(own_cluster, tmp_path, change):
    """All entries are older than the date, and SQL has changed one of them. The same archive succeeds before the change."""
    for _ in range(2):
        seal(own_cluster)
        write(own_cluster, "more", 2)
    seal(own_cluster)
    until(lambda: own_cluster.sql("SELECT max(createdon) < date_trunc('second', now()) FROM audit") != [(False,)])
    count = own_cluster.sql("SELECT count(*) FROM audit")
    with tampered(own_cluster, f"UPDATE audit SET {change} WHERE auditid = (SELECT auditid FROM audit WHERE block = 1 ORDER BY auditid LIMIT 1)"):
        refused = archive(own_cluster, tmp_path / "x", "--audit")
        assert refused.returncode == 1 and re.search(r"The audit is not as it was sealed \(audit block [12]: .*\), so nothing was archived", refused.stderr), refused
        assert not (tmp_path / "x").exists() and own_cluster.sql("SELECT count(*) FROM audit") == count
    assert archive(own_cluster, tmp_path / "x", "--audit").returncode == 0 and own_cluster.sql("SELECT count(*) FROM audit") == [(0,)]


def test_exports_keep_the_blocks_and_a_clone_goes_on(own_cluster, tmp_path):
    write(own_cluster, "before", 3)
    seal(own_cluster)
    write(own_cluster, "not sealed yet", 2)
    file = tmp_path / "contoso.export"
    own_cluster.run("org", "export", "contoso", str(file))
    key = own_cluster.run("key", "show", "--org", "contoso").stdout
    own_cluster.run("org", "import", str(file), "--as-new", "--name", "copy", stdin=key)
    there = Cluster(is_copy=False)
    try:
        there.run("org", "remove", "contoso", "--without-export", stdin="contoso\n")
        there.run("org", "import", str(file), "--key", stdin=key)
        for place, organization in [(own_cluster, "copy"), (there, "contoso"), (own_cluster, "contoso")]:
            count = verified(place, organization=organization)
            assert count["problems"] == [] and count["unsealedEntries"] >= 2 and count["sealedEntries"] > 3
            schema = f"org_{organization}"
            write(place, "after", 1, schema)
            assert seal(place, organization) >= 3 and problems(place, organization=organization) == []
            assert place.sql(f"SELECT count(*) FROM {schema}.security_event WHERE kind = 'audit entries doubted'") == [(0,)]
            place.sql(f"SET session_replication_role = replica; UPDATE {schema}.audit SET useridname = 'x' WHERE block = 1")
            assert any("block 1" in p for p in problems(place, organization=organization))
    finally:
        there.remove()


def test_what_an_operator_accepts_is_sealed_anew_on_record(own_cluster):
    write(own_cluster, "before", 3)
    seal(own_cluster)
    own_cluster.sql("SET session_replication_role = replica; DELETE FROM audit WHERE auditid = (SELECT auditid FROM audit LIMIT 1)")
    assert any("was removed" in p for p in problems(own_cluster))
    shown = own_cluster.run("org", "attach", "contoso", "--yes").stdout
    assert "was removed" in shown and problems(own_cluster) == []
    assert "to be sealed anew, because audit block 1: the entry" in events(own_cluster)[-1]
    assert seal(own_cluster) > 0 and problems(own_cluster) == [] and [n for n, _ in blocks(own_cluster)] == [2]
    own_cluster.sql("SET session_replication_role = replica; DELETE FROM audit WHERE auditid = (SELECT auditid FROM audit LIMIT 1)")
    assert any("block 2" in p for p in problems(own_cluster))


def test_an_attach_that_accepts_nothing_takes_no_entry_of_any_time(own_cluster):
    seal(own_cluster)
    own_cluster.run("org", "attach", "contoso", "--yes")
    own_cluster.sql(f"SET session_replication_role = replica; {FORGED.format('createdon', 'now() - interval $$1 year$$')}")
    seal(own_cluster)
    [doubted] = events(own_cluster, "audit entries doubted")
    assert "its time is before its transaction began" in doubted and problems(own_cluster) == []


def test_a_sealing_tells_of_an_acceptance_that_came_in_between(own_cluster):
    write(own_cluster, "before", 3)
    seal(own_cluster)
    write(own_cluster, "waits")
    own_cluster.sql("SET session_replication_role = replica; DELETE FROM audit WHERE auditid = (SELECT auditid FROM audit WHERE block = 1 LIMIT 1)")
    accepted = []

    def accept(_, sql):
        if "SET block = $1" in sql and not accepted:
            accepted.append(own_cluster.run("org", "attach", "contoso", "--yes").stdout)

    own_cluster.proxy.reset(accept)
    refused = own_cluster.run("events", "seal", "--org", "contoso", settings="proxied", check=False)
    own_cluster.proxy.reset()
    assert "was removed" in accepted[0]
    assert refused.returncode == 1 and "accepted its differences. Run the command again." in refused.stdout, refused
    assert seal(own_cluster) > 0 and problems(own_cluster) == []


def test_an_archive_says_what_is_wrong_with_events_that_came_in_between(own_cluster, tmp_path):
    seal(own_cluster)
    until(lambda: own_cluster.sql("SELECT max(createdon) < date_trunc('second', now()) FROM audit") != [(False,)])
    [(before,)] = own_cluster.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
    count = own_cluster.sql("SELECT count(*) FROM audit")
    with psycopg.connect(own_cluster.superuser) as owner:
        owner.execute("SELECT FROM config.attested_state FOR UPDATE")
        archiving = own_cluster.popen("events", "archive", "--audit", "--org", "contoso", "--before", before, "--to", str(tmp_path / "file"))
        until(lambda: own_cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '%attested_state%'") == [(1,)])
        owner.execute("SET session_replication_role = replica")
        owner.execute("CREATE TEMP TABLE forged AS SELECT * FROM org_contoso.security_event ORDER BY security_event_id DESC LIMIT 1")
        owner.execute("UPDATE forged SET security_event_id = security_event_id + 1")
        owner.execute("INSERT INTO org_contoso.security_event OVERRIDING SYSTEM VALUE SELECT * FROM forged")
    _, told = archiving.communicate("")
    assert archiving.returncode and "The security events are not as they were recorded (" in told and "so nothing was removed" in told, told
    assert own_cluster.sql("SELECT count(*) FROM audit") == count


# Crashes, several servers, and organizations without requests -----------------------------------------------------------------


@pytest.mark.parametrize("action", ACTIONS)
def test_struck_at_each_of_its_statements_a_sealing_is_whole_or_not_there(own_cluster, action):
    write(own_cluster, "before", 3)
    own_cluster.proxy.reset()
    own_cluster.run("events", "seal", "--org", "contoso", settings="proxied")
    statements = [s for s in own_cluster.proxy.statements if "audit" in s or s in ("COMMIT",)]
    assert len(statements) > 5
    for number, sql in enumerate(dict.fromkeys(statements)):
        write(own_cluster, f"{action} {number}", 2)
        started = []
        own_cluster.proxy.reset(lambda _, passing, sql=sql: action if passing == sql else None, process=lambda: started[0])
        started.append(own_cluster.popen("events", "seal", "--org", "contoso", settings="proxied"))
        started[0].communicate("")
        own_cluster.proxy.reset()
        until(lambda: own_cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service'") == [(0,)])
        found = verified(own_cluster)
        assert found["problems"] == [] and found["unsealedEntries"] in (0, 2), (sql, found)
        sealed = own_cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'audit sealed'")[0][0]
        assert len(blocks(own_cluster)) == sealed
        seal(own_cluster)
        assert verified(own_cluster)["unsealedEntries"] == 0


def test_two_servers_seal_what_all_write_and_hold_nobody_up(own_cluster):
    own_cluster.run("events", "seal")
    servers = [Server(own_cluster, sealing="1") for _ in range(2)]
    try:
        for n in range(20):
            answer = servers[n % 2].request("POST", "teams", {"name": f"team {n}"})
            assert answer.status_code == 204, answer.text
            write(own_cluster, f"by SQL {n}")
        until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
        sealings = len(events(own_cluster))
        assert problems(own_cluster) == [] and sealings == len(blocks(own_cluster))
        assert events(own_cluster, "audit entries doubted") == []
        # During a key change, and while another transaction has written and stays open, the entries of further transactions are sealed.
        with psycopg.connect(own_cluster.superuser) as open_transaction:
            open_transaction.execute("UPDATE org_contoso.team SET description = 'open'")
            own_cluster.run("key", "change", "--org", "contoso", stdin="")
            write(own_cluster, "meanwhile")
            until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
            assert servers[0].request("POST", "teams", {"name": "meanwhile"}).status_code == 204
        until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
        assert problems(own_cluster) == []
    finally:
        for server in servers:
            server.stop()


def test_who_can_connect_does_not_keep_the_audit_from_being_sealed(own_cluster):
    own_cluster.sql("CREATE ROLE anybody LOGIN")
    with psycopg.connect(own_cluster.superuser, autocommit=True) as anybody:
        anybody.execute("SET ROLE anybody")
        anybody.execute("SELECT pg_advisory_lock(hashtextextended('seal ' || %s, 0))", [own_cluster.sql("SELECT organization_id::text FROM encryption")[0][0]])
        [(table,)] = own_cluster.sql("SELECT 'org_contoso.security_event'::regclass::oid::bigint")
        anybody.execute("SELECT pg_advisory_lock((1179862358::bigint << 32) + %s)", [table])
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            anybody.execute("SELECT FROM config.audit_sealing FOR UPDATE")
        assert seal(own_cluster) > 0 and problems(own_cluster) == []


def test_a_lock_on_the_audit_is_told_of_after_a_while(own_cluster):
    seal(own_cluster)
    write(own_cluster, "waits")
    server = None
    with psycopg.connect(own_cluster.superuser) as owner:
        owner.execute("SET ROLE fieldseal_owner")
        owner.execute("SELECT FROM config.audit_sealing FOR UPDATE")
        refused = own_cluster.run("events", "seal", "--org", "contoso", check=False)
        assert refused.returncode == 1 and "another session has a lock on it" in refused.stdout, refused
        assert "audit-not-sealed" not in codes(own_cluster)
        server = Server(own_cluster, sealing="1")
        try:
            # The entry is recent. The server reports it because it has tried to seal it for longer than the limit.
            until(lambda: own_cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'audit not sealed'") == [(1,)])
            assert "audit-not-sealed" in codes(own_cluster)
            owner.rollback()
            until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
            write(own_cluster, "later")
            until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
            assert "audit-not-sealed" not in codes(own_cluster) and problems(own_cluster) == []
        finally:
            server.stop()


def test_locks_on_some_organizations_keep_no_other_from_being_sealed(own_cluster):
    own_cluster.run("org", "create", "fabrikam")
    own_cluster.run("events", "seal")
    [(id,)] = own_cluster.sql("SELECT organization_id FROM org_fabrikam.encryption")
    # Old notes that an organization may have unsealed entries: of an organization without new entries, and of organizations that do not exist.
    own_cluster.sql("INSERT INTO config.unsealed_audit (organization_id) SELECT gen_random_uuid() FROM generate_series(1, 20)")
    own_cluster.sql("UPDATE config.unsealed_audit SET noted_on = noted_on - interval '1 hour'")
    with psycopg.connect(own_cluster.superuser) as service, psycopg.connect(own_cluster.superuser) as owner:
        service.execute("SET ROLE fieldseal_service")
        service.execute("SELECT FROM config.unsealed_audit WHERE organization_id <> %s FOR UPDATE", [id])
        server = Server(own_cluster, sealing="1")
        try:
            quiet = f"SELECT quiet_after IS NOT NULL FROM config.unsealed_audit WHERE organization_id = '{id}'"
            until(lambda: own_cluster.sql(quiet) in ([], [(True,)]))
            write(own_cluster, "waits")
            until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
            # The table of the entries is locked, so the server can't even read which entries to seal.
            write(own_cluster, "waits longer")
            owner.execute("SET ROLE fieldseal_owner")
            owner.execute("LOCK TABLE org_contoso.audit")
            write(own_cluster, "theirs", schema="org_fabrikam")
            until(lambda: own_cluster.sql("SELECT count(*) FROM org_fabrikam.audit WHERE block IS NULL") == [(0,)])
            until(lambda: own_cluster.sql("SELECT count(*) FROM security_event WHERE kind = 'audit not sealed'") == [(1,)])
            assert "another session has a lock on it" in events(own_cluster, "audit not sealed")[0]
            owner.rollback()
            until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
            assert problems(own_cluster) == []
        finally:
            server.stop()


def test_a_server_visits_organizations_that_are_noted_and_a_few_others(own_cluster):
    own_cluster.run("org", "create", "asleep")
    own_cluster.run("events", "seal")
    own_cluster.sql("DELETE FROM config.unsealed_audit")
    # The organization has an unsealed entry, but SQL deleted the note about it.
    own_cluster.sql("SET session_replication_role = replica; " + FORGED.format("databaserole", "'x'").replace("INTO audit", "INTO org_asleep.audit"))
    server = Server(own_cluster, sealing="1")
    try:
        write(own_cluster, "awake")
        until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
        until(lambda: own_cluster.sql("SELECT count(*) FROM org_asleep.audit WHERE block IS NULL") == [(0,)])
        [(id,)] = own_cluster.sql("SELECT organization_id FROM encryption")
        assert own_cluster.sql("SELECT organization_id FROM config.unsealed_audit") == [(id,)]
        for n in range(3):
            write(own_cluster, f"more {n}")
        assert own_cluster.sql("SELECT count(*) FROM config.unsealed_audit") == [(1,)]
        # The note is removed after half an hour. Before, each transaction must have ended that may have relied on it.
        with psycopg.connect(own_cluster.superuser) as relying:
            relying.execute("UPDATE org_contoso.team SET description = 'relies'")
            own_cluster.sql("UPDATE config.unsealed_audit SET noted_on = noted_on - interval '31 minutes'")
            until(lambda: own_cluster.sql("SELECT count(*) FROM config.unsealed_audit WHERE quiet_after IS NOT NULL") == [(1,)])
            write(own_cluster, "anew")
            assert own_cluster.sql("SELECT count(*) FROM config.unsealed_audit") == [(2,)]
            until(lambda: own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)])
            assert own_cluster.sql("SELECT count(*) FROM config.unsealed_audit") == [(2,)]
        until(lambda: own_cluster.sql("SELECT count(*) FROM config.unsealed_audit") == [(1,)])
        assert own_cluster.sql("SELECT count(*) FROM audit WHERE block IS NULL") == [(0,)]
        write(own_cluster, "in asleep", schema="org_asleep")
        until(lambda: own_cluster.sql("SELECT count(*) FROM org_asleep.audit WHERE block IS NULL") == [(0,)])
    finally:
        server.stop()


def test_ids_of_entries_are_named(cluster):
    [(entry,)] = cluster.sql(f"SELECT {ONE}")
    assert isinstance(entry, uuid.UUID)
    with tampered(cluster, f"UPDATE audit SET changedata = '{{}}' WHERE auditid = '{entry}'"):
        assert problems(cluster) == [f"audit block 2: the entry {entry} was changed"]
        assert problems(cluster, "--from-checkpoint") == [f"audit block 2: the entry {entry} was changed"]
