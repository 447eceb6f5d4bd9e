"""Each login of the database can send notifications on the channels to which a server listens. A server does not keep texts that it does not need."""

import psycopg
from waiting import until

#: The texts that the test sends on each channel have 78 MB in total.
COUNT, LENGTH = 10_000, 7_800


def memory(server):
    """The resident memory of a server, in bytes."""
    [line] = [line for line in open(f"/proc/{server.process.pid}/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


def test_a_server_keeps_no_texts_of_notifications(place):
    assert place.get("mailboxes", place.server.token).ok
    before = memory(place.server)
    with psycopg.connect(f"host={place.home} user=fieldseal_service dbname=fieldseal", autocommit=True) as connection:
        for channel in ["fieldseal_mail_work", "fieldseal_organizations"]:
            connection.execute(
                "SELECT count(pg_notify(%s, number || repeat('x', %s))) FROM generate_series(1, %s) AS number", [channel, LENGTH, COUNT])
            # PostgreSQL keeps a notification until all listening sessions have received it.
            until(lambda: connection.execute("SELECT pg_notification_queue_usage()").fetchone() == (0,))
    # The server may still be reading the last notifications. It responds to a request all the same.
    assert place.get("mailboxes", place.server.token).ok
    assert memory(place.server) - before < COUNT * LENGTH / 2
