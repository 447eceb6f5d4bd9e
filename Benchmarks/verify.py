"""verify/… and guard/…: the time for opening every cell, and the time that guards add to inserts."""

import time

import psycopg
from bench import paired, record
from keychange import CELLS, load
from service import Deployment

FIGURES = ["verify/copy-floor", "guard/insert"]
INSERTS = 100_000


def verify(service):
    """The seconds in which the command opens every cell, including the start of the program."""
    start = time.monotonic()
    service.run("verify", "--org", "contoso")
    return time.monotonic() - start


def copy_out(service):
    """The seconds in which PostgreSQL copies every cell out, in binary form."""
    start = time.monotonic()
    with psycopg.connect(service.dev["postgres"]) as connection:
        for entity in ("emailserverprofile", "mailbox", "queue", "usersettings"):
            with connection.cursor().copy(
                    f"COPY (SELECT * FROM org_contoso.{entity}_cell WHERE key_version = (SELECT key_version FROM org_contoso.encryption)) "
                    "TO STDOUT (FORMAT binary)") as copy:
                for _ in copy:
                    pass
    return time.monotonic() - start


def insert(service, table):
    """The seconds for inserting one cell for each record into the table."""
    service.sql(f"DELETE FROM {table}")
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        start = time.monotonic()
        connection.execute(
            f"INSERT INTO {table} (key_version, mailboxid, password) "
            "SELECT s.key_version, m.mailboxid, s.password FROM bench_record AS m, bench_cell AS s")
        return time.monotonic() - start


def prepare_inserts(service):
    """Makes records, a cell to copy, and a table for cells that has a foreign key and no guards."""
    service.sql(
        "CREATE TABLE bench_cell AS SELECT key_version, password FROM org_contoso.mailbox_cell WHERE password IS NOT NULL LIMIT 1")
    service.sql("CREATE TABLE bench_record AS SELECT mailboxid FROM org_contoso.mailbox LIMIT %s", [INSERTS])
    service.sql(
        "CREATE TABLE bench_plain (key_version integer, mailboxid uuid REFERENCES org_contoso.mailbox ON DELETE CASCADE, "
        "password bytea, PRIMARY KEY (key_version, mailboxid)); ALTER TABLE bench_plain ALTER password SET STORAGE EXTERNAL")
    assert service.sql("SELECT count(*) FROM bench_record") == [(INSERTS,)]


def run(names):
    service = Deployment()
    try:
        service.start()
        load(service, CELLS)
        if "verify/copy-floor" in names:
            ours, reference = paired(lambda: verify(service), lambda: copy_out(service))
            record("verify/copy-floor", ours / reference, "<= 4", seconds=round(ours, 2), copy=round(reference, 2), cells=CELLS)
        if "guard/insert" in names:
            prepare_inserts(service)
            ours, reference = paired(
                lambda: insert(service, "org_contoso.mailbox_cell"), lambda: insert(service, "bench_plain"))
            record("guard/insert", ours / reference, "<= 1.5", seconds=round(ours, 2), plain=round(reference, 2), cells=INSERTS)
    finally:
        service.remove()
