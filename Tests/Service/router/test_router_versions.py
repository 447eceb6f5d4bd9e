"""What a router changes in a mailbox, and the mailbox's version number after that."""

import pytest
from mailroom import Mailroom


@pytest.fixture(scope="module")
def room():
    with Mailroom.made() as room:
        yield room


def report(room, box, **what):
    answer = room.call("ReportMailbox", HostId=room.lease(box), MailboxId=box, Interval=86_400, **what)
    assert answer.status_code == 200 or answer.status_code == 204, answer.text


def test_what_changes_without_a_version_is_sent_anew(room):
    _, box = room.queue_box(room.profile())
    report(room, box, IncomingIsWell=True, OutgoingIsWell=True, Tests=True, Processed=1)
    before = room.get(f"mailboxes({box})")
    report(room, box, IncomingIsWell=False, Processed=2, Failed=1, Error={"Text": "The server is away.", "Code": 1})
    after = room.get(f"mailboxes({box})", If_None_Match=before.headers["ETag"])
    assert after.status_code == 200 and after.headers["ETag"] == before.headers["ETag"]
    changed = [name for name, value in after.json().items() if value != before.json()[name] and not name.startswith("@")]
    assert {"incomingemailstatus", "mailboxstatus", "lastsyncerror", "itemsprocessedforlastsync", "processedtimes"} <= set(changed)
    for name in changed:
        assert room.get(f"mailboxes({box})?$select={name}", If_None_Match=before.headers["ETag"]).status_code == 200, name
    assert room.get(f"mailboxes({box})?$select=name,emailaddress", If_None_Match=before.headers["ETag"]).status_code == 304


def test_the_number_of_files_is_read_anew(room):
    email = room.create("emails", {"subject": "files"})
    path = f"emails({email})?$select=attachmentcount"
    before = room.get(path)
    room.create("activitymimeattachments", {"filename": "a.txt", "body": "QUJD", "objectid@odata.bind": f"/emails({email})"})
    after = room.get(path, If_None_Match=before.headers["ETag"])
    assert (before.json()["attachmentcount"], after.json()["attachmentcount"]) == (0, 1)
    assert room.get(f"emails({email})?$select=subject", If_None_Match=before.headers["ETag"]).status_code == 304


def test_an_alert_that_is_renewed_has_a_new_version(room):
    _, box = room.queue_box(room.profile())

    def newest():
        [alert] = room.get(f"tracelogs?$filter=_regardingobjectid_value eq {box}&$select=modifiedon").json()["value"]
        return alert

    away = {"IncomingIsWell": False, "Error": {"Text": "The server is away.", "Code": 1}}
    report(room, box, **away)
    first = newest()
    report(room, box, **away)
    again = newest()
    assert again["tracelogid"] == first["tracelogid"] and again["@odata.etag"] != first["@odata.etag"]


def test_a_failure_of_a_profile_without_a_type_says_so(room):
    _, bare = room.queue_box(room.profile(servertype=None))
    _, typed = room.queue_box(room.profile())
    for box, side, isSaid in ((bare, "IncomingIsWell", True), (bare, "OutgoingIsWell", False), (typed, "IncomingIsWell", False)):
        report(room, box, Error={"Text": "The server is away.", "Code": 1}, **{side: False})
        error = room.get(f"mailboxes({box})?$select=lastsyncerror").json()["lastsyncerror"]
        assert error == "The server is away." + " The server profile names no server type, so POP3 is used." * isSaid, (side, error)
