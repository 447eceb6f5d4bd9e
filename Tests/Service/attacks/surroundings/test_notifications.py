"""Any login of the database can notify the channels to which a server listens. A server keeps nothing of texts that nobody waits for."""

import psycopg
from waiting import until

#: The texts of one channel hold 78 MB.
COUNT, LENGTH = 10_000, 7_800


def memory(server):
    """A server's memory in bytes."""
    [line] = [line for line in open(f"/proc/{server.process.pid}/status") if line.startswith("VmRSS")]
    return int(line.split()[1]) << 10


def test_a_server_keeps_no_texts_of_notifications(place):
    assert place.get("mailboxes", place.server.token).ok
    before = memory(place.server)
    with psycopg.connect(f"host={place.home} user=fieldseal_service dbname=fieldseal", autocommit=True) as connection:
        for channel in ["fieldseal_mail_work", "fieldseal_organizations"]:
            connection.execute(
                "SELECT count(pg_notify(%s, number || repeat('x', %s))) FROM generate_series(1, %s) AS number", [channel, LENGTH, COUNT])
            # PostgreSQL keeps a notification until all listeners have received it.
            until(lambda: connection.execute("SELECT pg_notification_queue_usage()").fetchone() == (0,))
    # The last ones may still be on their way. A request is answered meanwhile.
    assert place.get("mailboxes", place.server.token).ok
    assert memory(place.server) - before < COUNT * LENGTH / 2
