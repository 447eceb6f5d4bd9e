"""keychange/…: what changing the key costs, against what PostgreSQL needs for moving the same bytes."""

import concurrent.futures
import os
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
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from service import Deployment

FIGURES = ["keychange/copy-floor"]
CELLS = 500_000


def load(service, cells):
    """Replaces the organization's records by ones with so many cells over the five columns, all of them valid."""
    each = cells // 5
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        connection.execute("SET search_path = org_contoso; SET synchronous_commit = off")
        organization, version, salt, iterations = connection.execute(
            "SELECT organization_id, key_version, salt, iterations FROM encryption").fetchone()
        key = cell_reader.derive_data_key(service.key(), bytes(salt), iterations)
        user, unit = connection.execute("SELECT systemuserid, businessunitid FROM systemuser LIMIT 1").fetchone()
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
                    copy.write_row((version, id, *(seal(key, version, organization, id, f"{entity}.{name}") for name in attributes)))
        connection.execute("VACUUM ANALYZE")
        connection.execute("CHECKPOINT")


def seal(key, version, organization, record, attribute):
    header, iv = bytes([1]) + version.to_bytes(4, "big"), os.urandom(16)
    padder = padding.PKCS7(128).padder()
    encryptor = Cipher(algorithms.AES(key[32:]), modes.CBC(iv)).encryptor()
    text = encryptor.update(padder.update(b"an ordinary mailbox password 32b") + padder.finalize()) + encryptor.finalize()
    return header + iv + text + cell_reader.tag(key, cell_reader.associated_data(header, organization, record, attribute), iv, text)


def change(service):
    """Seconds of one change, the client's start and the derivation of the new key included."""
    start = time.monotonic()
    service.run("key", "change")
    return time.monotonic() - start


def copy_floor(service):
    """Seconds of copying every cell table out and in, in binary, in one transaction with their primary keys."""
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


def run(names):
    service = Deployment()
    try:
        service.start()
        service.sql("ALTER SYSTEM SET shared_buffers = '512MB'")
        service.sql("ALTER SYSTEM SET max_wal_size = '4GB'")
        service.stop()
        service.start()
        load(service, CELLS)
        if "keychange/copy-floor" in names:
            ours, reference = paired(lambda: change(service), lambda: copy_floor(service))
            record("keychange/copy-floor", ours / reference, "<= 2.0", cells=CELLS, seconds=round(ours, 2),
                   reference=round(reference, 2), cellsPerSecond=round(CELLS / ours))
    finally:
        service.remove()
