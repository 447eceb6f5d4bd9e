"""A router may change only the mailboxes that it has leased, and only the e-mails that it took from these mailboxes."""

import uuid

import pytest
from mailroom import Mailroom, refusal


@pytest.fixture(scope="module")
def room():
    with Mailroom.made() as room:
        yield room


@pytest.fixture
def boxes(room):
    """Two queues with their mailboxes: [(queue, mailbox)]."""
    profile = room.profile()
    return [room.queue_box(profile) for _ in range(2)]


def waiting(room, queue):
    """Sends an e-mail of the queue, which then waits for a router. Returns its id."""
    id = room.drafted(queue, client="admin")
    assert room.send(id, client="admin").status_code == 200
    return id


def messages(box, email):
    """The messages of a router about a mailbox, as (name, parameters without the host id)."""
    return [
        ("ReleaseCredential", {"MailboxId": box, "Direction": "Incoming"}), ("ReleaseCredential", {"MailboxId": box, "Direction": "Outgoing"}),
        ("TakePendingEmails", {"MailboxId": box, "Limit": 10}), ("DeliverIncomingEmails", {"MailboxId": box, "Emails": []}),
        ("ReportEmails", {"MailboxId": box, "Reports": [{"EmailId": email, "Outcome": "Sent"}]}),
        ("KnownMessages", {"MailboxId": box, "Ids": ["1"]}), ("NoteMessages", {"MailboxId": box, "Seen": ["1"]}),
        ("ReportMailbox", {"MailboxId": box, "Interval": 60}),
    ]


def test_no_message_without_the_lease(room, boxes):
    (queue, box), (_, other) = boxes
    email = waiting(room, queue)
    host = room.lease(box)
    assert [m["EmailId"] for m in room.take(box, host)] == [email]
    known = room.sql("SELECT count(*) FROM org_contoso.mailbox_message")
    # A message is refused if another host has leased the mailbox, or if the host's lease is of the other mailbox.
    for name, body in [*messages(box, email), *messages(other, email)]:
        foreign = f"another {uuid.uuid4()}" if body["MailboxId"] == box else host
        error = refusal(room.call(name, HostId=foreign, **body), 412)
        assert error["code"] == "0x80060882", (name, error)
    assert room.status(email) == 7 and room.sql("SELECT count(*) FROM org_contoso.mailbox_message") == known
    # The control: the host of the lease sends each message with success. The last message ends the lease.
    for name, body in messages(box, email):
        answer = room.call(name, HostId=host, **body)
        assert answer.status_code in (200, 204), (name, answer.text)
    assert room.status(email) == 3
    for name, body in messages(box, email):
        assert refusal(room.call(name, HostId=host, **body), 412)["code"] == "0x80060882", name


def test_a_router_takes_and_settles_the_e_mails_of_its_mailbox_alone(room, boxes):
    (own_queue, own), (other_queue, other) = boxes
    mine, theirs, draft = waiting(room, own_queue), waiting(room, other_queue), room.drafted(own_queue, client="admin")
    other_host = room.lease(other)
    assert [m["EmailId"] for m in room.take(other, other_host)] == [theirs]
    [(host,)] = room.sql(
        "UPDATE org_contoso.mailbox SET hostid = %s, processingstatecode = 1, processinglastattemptedon = now() WHERE mailboxid = %s RETURNING hostid",
        [f"test {uuid.uuid4()}", own])
    assert [m["EmailId"] for m in room.take(own, host)] == [mine]

    def report(id, outcome, box=own, by=host):
        return room.call("ReportEmails", MailboxId=box, HostId=by, Reports=[{"EmailId": id, "Outcome": outcome, "Reason": "why", "Code": 20}])

    for outcome in ("HandingOver", "Sent", "Temporary", "Permanent", "Unknown"):
        # A report is refused for an e-mail of another mailbox, a draft, and an id that no e-mail has.
        for id in (theirs, draft, str(uuid.uuid4())):
            refusal(report(id, outcome), 412)
    assert [room.status(id) for id in (mine, theirs, draft)] == [7, 7, 1]
    assert room.sql("SELECT is_handed_over, failure FROM org_contoso.email WHERE activityid = %s", [theirs]) == [(False, None)]
    assert report(mine, "Sent").status_code == 204 and report(theirs, "Sent", other, other_host).status_code == 204
    assert [room.status(id) for id in (mine, theirs, draft)] == [3, 3, 1]
