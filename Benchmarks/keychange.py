"""keychange/…: the cost of a key change, compared with the time in which PostgreSQL copies the same bytes."""

import pathlib
import re
import statistics
import subprocess
import tempfile
import threading
import time
import uuid

import cell_reader
import psycopg
from bench import paired, record
from cluster import seal
from service import Deployment

FIGURES = [
    "keychange/inline-update", "keychange/copy-floor", "keychange/pgp", "keychange/pgcrypto-cbc", "keychange/linear",
    "keychange/memory", "keychange/writers", "keychange/stall", "keychange/readers",
]
CELLS = 500_000
PGP_ROWS = 5_000
VALUE = "an ordinary mailbox password 32b"
SECONDS = 6
CLIENTS = 8


def load(service, cells):
    """Replaces all records of the organization. The new ones have this number of valid cells, an equal number for each encrypted attribute."""
    each = cells // 5
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET search_path = org_contoso; SET synchronous_commit = off")
        organization, version, salt, iterations = connection.execute(
            "SELECT organization_id, key_version, salt, iterations FROM encryption").fetchone()
        key = cell_reader.derive_data_key(service.key(), bytes(salt), iterations)
        (unit,) = connection.execute("SELECT businessunitid FROM businessunit LIMIT 1").fetchone()
        for entity, id_column, attributes in cell_reader.CELL_TABLES:
            connection.execute(f"DELETE FROM {entity}")
            ids = [uuid.uuid4() for _ in range(each)]
            name = ", name" if entity != "usersettings" else ", businessunitid"
            with connection.cursor().copy(f"COPY {entity} ({id_column}{name}) FROM STDIN") as copy:
                for id in ids:
                    copy.write_row((id, "bench" if entity != "usersettings" else unit))
            with connection.cursor().copy(f"COPY {entity}_cell FROM STDIN (FORMAT binary)") as copy:
                copy.set_types(["int4", "uuid"] + ["bytea"] * len(attributes))
                for id in ids:
                    copy.write_row((version, id, *(seal(key, version, organization, id, f"{entity}.{name}", VALUE) for name in attributes)))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def change(service):
    """The seconds of a key change, including the start of the command and the derivation of the new key."""
    start = time.monotonic()
    service.run("key", "change")
    return time.monotonic() - start


def copy_floor(service):
    """The seconds for copying every cell table out and into a new table in one transaction, in binary form, and for making its primary key."""
    conninfo = service.dev["postgres"]
    version = service.sql("SELECT key_version FROM org_contoso.encryption")[0][0]
    start = time.monotonic()
    with psycopg.connect(conninfo) as target, psycopg.connect(conninfo) as source:
        target.execute("CREATE SCHEMA floor")
        for entity, id_column, _ in cell_reader.CELL_TABLES:
            target.execute(f"CREATE TABLE floor.{entity} (LIKE org_contoso.{entity}_cell)")
            with (
                source.cursor().copy(f"COPY org_contoso.{entity}_cell_k{version} TO STDOUT (FORMAT binary)") as out,
                target.cursor().copy(f"COPY floor.{entity} FROM STDIN (FORMAT binary)") as into,
            ):
                for data in out:
                    into.write(data)
            target.execute(f"ALTER TABLE floor.{entity} ADD PRIMARY KEY (key_version, {id_column})")
    seconds = time.monotonic() - start
    service.sql("SET client_min_messages = warning; DROP SCHEMA floor CASCADE")
    return seconds


# The reference: without cell tables, a password would be a column of its record's table, and a key change would update it.

WIDE = "CREATE TABLE wide (id uuid PRIMARY KEY, {}, password bytea); CREATE INDEX ON wide (a1); CREATE INDEX ON wide (a2)".format(
    ", ".join(f"a{n} text" for n in range(1, 18)))
KEY = "decode('000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f', 'hex')"
IV = "decode('000102030405060708090a0b0c0d0e0f', 'hex')"


def update(service, rows, value, expression):
    """The seconds for updating all `rows` rows of a newly filled table, which has 19 columns and two secondary indexes."""
    columns = ", ".join(f"'attribute {n} of ' || i" for n in range(1, 18))
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET client_min_messages = warning; DROP TABLE IF EXISTS wide")
        connection.execute(WIDE)
        connection.execute("ALTER TABLE wide ALTER password SET STORAGE EXTERNAL")
        connection.execute(f"INSERT INTO wide SELECT gen_random_uuid(), {columns}, {value} FROM generate_series(1, {rows}) AS i")
        connection.execute("VACUUM ANALYZE wide")
        connection.execute("CHECKPOINT")
        start = time.monotonic()
        connection.execute(f"UPDATE wide SET password = {expression}")
        seconds = time.monotonic() - start
        connection.execute("DROP TABLE wide")
    return seconds


def plain_update(service):
    return update(service, CELLS, f"{IV} || {KEY} || {KEY} || '\\x0102030405'::bytea", "set_byte(password, 4, 2)")


def cbc_update(service):
    return update(
        service, CELLS, f"encrypt_iv('an ordinary mailbox password 32b', {KEY}, {IV}, 'aes-cbc')",
        f"encrypt_iv(decrypt_iv(password, {KEY}, {IV}, 'aes-cbc'), {KEY}, gen_random_bytes(16), 'aes-cbc')")


def pgp_update(service):
    return update(
        service, PGP_ROWS, "pgp_sym_encrypt('an ordinary mailbox password 32b', 'the old key')",
        "pgp_sym_encrypt(pgp_sym_decrypt(password, 'the old key'), 'the new key')")


# Requests during key changes


def h2load(service, paths, body=None):
    """Requests per second and the longest request in milliseconds, with `CLIENTS` connections, for `SECONDS` seconds."""
    command = ["h2load", "--h1", "-c", str(CLIENTS), "-t", "1", "-D", str(SECONDS), "-H", f"Authorization: Bearer {service.token()}"]
    with tempfile.NamedTemporaryFile("w") as list_, tempfile.NamedTemporaryFile("wb") as data:
        list_.writelines(f"{service.api}/{path}\n" for path in paths)
        list_.flush()
        if body:
            data.write(body)
            data.flush()
            command += ["-d", data.name, "-H", ":method: PATCH", "-H", "If-Match: *", "-H", "Content-Type: application/json"]
        output = subprocess.run([*command, "-i", list_.name], capture_output=True, text=True, check=True).stdout
    good, *bad = map(int, re.search(r"(\d+) 2xx, (\d+) 3xx, (\d+) 4xx, (\d+) 5xx", output).groups())
    assert good > 0 and not any(bad), output
    longest = re.search(r"time for request:\s+\S+\s+([\d.]+)(us|ms|s)\b", output)
    return good / SECONDS, float(longest.group(1)) * {"us": 0.001, "ms": 1, "s": 1000}[longest.group(2)]


def beside_changes(service, measure):
    """Runs `measure` while one key change follows another. Returns its result."""
    ending, changes = threading.Event(), []

    def loop():
        while not ending.is_set():
            changes.append(change(service))

    thread = threading.Thread(target=loop)
    thread.start()
    try:
        return measure()
    finally:
        ending.set()
        thread.join()
        assert changes


def memory(service):
    """The additional memory that the service uses during a key change, at the maximum, in MiB."""
    pid = service.process.pid
    status = pathlib.Path(f"/proc/{pid}/status")

    def field(name):
        return int(re.search(rf"{name}:\s+(\d+) kB", status.read_text()).group(1)) / 1024

    pathlib.Path(f"/proc/{pid}/clear_refs").write_text("5")
    idle = field("VmRSS")
    assert service.set_key(f"Benchmark-key-{uuid.uuid4()}").status_code == 204
    return field("VmHWM") - idle


def run(names):
    service = Deployment()
    try:
        service.start()
        service.sql("ALTER SYSTEM SET shared_buffers = '512MB'")
        service.sql("ALTER SYSTEM SET max_wal_size = '4GB'")
        service.stop()
        service.start()
        load(service, CELLS)
        references = [
            ("keychange/copy-floor", copy_floor, "<= 2.0", 1), ("keychange/inline-update", plain_update, "<= 0.25", 1),
            ("keychange/pgcrypto-cbc", cbc_update, "<= 0.33", 1), ("keychange/pgp", pgp_update, "<= 0.01", CELLS / PGP_ROWS),
        ]
        for name, reference, goal, scale in references:
            if name in names:
                ours, other = paired(lambda: change(service), lambda: reference(service))
                record(name, ours / (other * scale), goal, cells=CELLS, seconds=round(ours, 2), reference=round(other, 2),
                       cellsPerSecond=round(CELLS / ours))
        if {"keychange/writers", "keychange/stall"} & set(names):
            ids = [row[0] for row in service.sql("SELECT mailboxid FROM org_contoso.mailbox LIMIT 64")]
            paths, body = [f"mailboxes({id})" for id in ids], b'{"password":"an ordinary mailbox password 32b"}'
            longest = []

            def during():
                rate, slowest = beside_changes(service, lambda: h2load(service, paths, body))
                longest.append(slowest)
                return rate

            rate, before = paired(during, lambda: h2load(service, paths, body)[0])
            record("keychange/writers", rate / before, ">= 0.5", writesPerSecond=round(rate), before=round(before))
            stall = statistics.median(longest[1:])
            record("keychange/stall", stall / 100, "<= 1.0", longestMilliseconds=round(stall, 1), runs=[round(x, 1) for x in longest])
        if "keychange/readers" in names:
            ids = [row[0] for row in service.sql("SELECT mailboxid FROM org_contoso.mailbox LIMIT 64")]
            paths = [f"mailboxes({id})?$select=name,password" for id in ids]
            rate, before = paired(
                lambda: beside_changes(service, lambda: h2load(service, paths))[0], lambda: h2load(service, paths)[0])
            record("keychange/readers", rate / before, ">= 0.6", readsPerSecond=round(rate), before=round(before))
        if {"keychange/linear", "keychange/memory"} & set(names):
            load(service, 100_000)
            few = statistics.median(change(service) for _ in range(5)) / 100_000
            load(service, 1_000_000)
            many = statistics.median(change(service) for _ in range(3)) / 1_000_000
            record("keychange/linear", many / few, "<= 1.15", nanosecondsPerCell=round(many * 1e9), ofFew=round(few * 1e9))
            peak = statistics.median(memory(service) for _ in range(3))
            record("keychange/memory", peak / 64, "<= 1.0", mebibytes=round(peak, 1))
    finally:
        service.remove()
