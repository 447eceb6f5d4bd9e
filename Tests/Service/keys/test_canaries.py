"""A search in the data files, the WAL and all logs finds no plaintext and no key."""

import pathlib
import subprocess

import psycopg

from service import Deployment

PASSWORDS = [f"canary-password-{n}-Zq7" for n in range(12)]
KEYS = ["Canary-key-one-9Xv", "Canary-key-two-8Wb", "Canary-key-wrong-7Yc"]


def test_canaries():
    deployment = Deployment(FIELDSEAL_LOG_LEVEL="trace")
    try:
        service = deployment.start()
        # With these settings, PostgreSQL logs as much as it can.
        for setting in [
            "log_statement = 'all'", "log_parameter_max_length = -1", "log_parameter_max_length_on_error = -1", "log_min_duration_statement = 0",
            "log_error_verbosity = 'verbose'", "log_min_messages = 'debug1'", "wal_level = 'logical'", "archive_mode = off",
        ]:
            service.sql(f"ALTER SYSTEM SET {setting}")
        service.stop()
        service.start()
        secret = service.dev["clients"]["admin"]["clientSecret"]
        exercise(service)
        generated = service.key()
        service.stop()
        service.start()
        service.sql("CHECKPOINT")
        canaries = [*PASSWORDS, *KEYS, generated, secret]
        kek = (service.home / "kek").read_text().strip()
        found = search(service, [*canaries, kek])
        assert found == []
        # The control: the search finds a text that is stored in a table.
        service.sql("CREATE TABLE public.leak AS SELECT 'canary-that-is-there'::text; CHECKPOINT")
        assert search(service, ["canary-that-is-there"]) != []
        with psycopg.connect(service.dev["postgres"]) as connection:
            activity = connection.execute("SELECT string_agg(query, ' ') FROM pg_stat_activity").fetchone()[0]
        assert not any(canary in activity for canary in canaries)
    finally:
        deployment.remove()


def exercise(service):
    p = iter(PASSWORDS)
    mailbox = service.create("mailboxes", {"name": "m", "password": next(p)})
    service.request("PATCH", f"mailboxes({mailbox})", {"password": next(p)})
    profile = service.create("emailserverprofiles", {"name": "p", "incomingpassword": next(p), "outgoingpassword": next(p)})
    service.request("PATCH", f"emailserverprofiles({profile})", {"incomingpassword": next(p)})
    service.create("queues", {"name": "q", "emailpassword": next(p)})
    user = service.get("WhoAmI").json()["UserId"]
    service.request("PATCH", f"usersettingscollection({user})", {"emailpassword": next(p)})
    # Writes that fail: while the body is parsed, by the attribute's maximum length, by If-Match, by a duplicate id, and by an unknown name.
    service.request("POST", "mailboxes", b'{"password":"' + next(p).encode() + b'"')
    service.request("POST", "mailboxes", {"password": next(p) * 30})
    service.request("PATCH", f"mailboxes({mailbox})", {"password": next(p)}, If_Match='W/"1"')
    service.request("POST", "mailboxes", {"mailboxid": mailbox, "password": next(p)})
    service.request("PATCH", f"mailboxes({mailbox})", {"nosuch": 1, "password": next(p)})
    assert service.set_key(KEYS[0]).status_code == 204
    assert service.set_key(KEYS[2], change=False).status_code == 400
    service.run("key", "change", "--own", stdin=KEYS[1] + "\n")
    assert service.key() == KEYS[1]
    service.run("key", "change")
    service.run("verify")


def search(service, words):
    """Returns the files that contain one of the words: in PostgreSQL's data directory, in its log, and in the service's log."""
    [(data,)] = service.sql("SELECT current_setting('data_directory')")
    assert any(pathlib.Path(data, "pg_wal").iterdir())
    places = [data, str(service.home / "postgres.log"), str(service.home / "service.log")]
    patterns = "\n".join(words)
    result = subprocess.run(
        ["grep", "-rlaF", "-f", "-", *places], input=patterns, capture_output=True, text=True, timeout=120)
    assert result.returncode in (0, 1), result.stderr
    log = (service.home / "postgres.log").read_text(errors="replace")
    assert "mailbox_cell" in log and "parameters:" in log
    return result.stdout.split()
