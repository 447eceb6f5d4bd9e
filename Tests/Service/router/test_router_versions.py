"""What a router does with a mailbox, and which version the mailbox has then."""

import pytest
from mailroom import Mailroom


@pytest.fixture(scope="module")
def room():
    with Mailroom.made() as room:
        yield room


def report(room, box, **what):
    answer = room.call("ReportMailbox", HostId=room.lease(box), MailboxId=box, Interval=86_400, **what)
    assert answer.status_code == 200 or answer.status_code == 204, answer.text


def refused(text="The password is wrong."):
    return {"IncomingIsWell": False, "Error": {"Text": text, "Code": 5, "IsPermanent": True}}


def test_a_mailbox_that_a_report_disables_or_enables_has_a_new_version(room):
    _, box = room.queue_box(room.profile())
    path = f"mailboxes({box})?$select=name,enabledforincomingemail,modifiedon"
    before = room.get(path)
    report(room, box, **refused())
    after = room.get(path, If_None_Match=before.headers["ETag"])
    assert after.status_code == 200 and after.headers["ETag"] != before.headers["ETag"]
    assert not after.json()["enabledforincomingemail"] and after.json()["modifiedon"] >= before.json()["modifiedon"]
    # Who did not see that does not enable it again by the way.
    body = {"enabledforincomingemail": True, "processanddeleteemails": False}
    assert room.request("PATCH", f"mailboxes({box})", body, If_Match=before.headers["ETag"]).status_code == 412
    assert room.sql("SELECT count(*) FROM org_contoso.mailbox WHERE mailboxid = %s AND enabledforincomingemail", [box]) == [(0,)]
    assert room.request("PATCH", f"mailboxes({box})", {"testemailconfigurationscheduled": True}).status_code == 204
    tested = room.get(path)
    report(room, box, IncomingIsWell=True, OutgoingIsWell=True, Tests=True)
    enabled = room.get(path, If_None_Match=tested.headers["ETag"])
    assert enabled.status_code == 200 and enabled.json()["enabledforincomingemail"]
    report(room, box, IncomingIsWell=True)
    assert room.get(path, If_None_Match=enabled.headers["ETag"]).status_code == 304


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
