"""`fieldseal router status` says why no router works for a mailbox that is enabled."""

import json
import uuid



def mailbox(cluster, profile=None, method=None, **more):
    """An enabled mailbox that has been due for an hour."""
    id = uuid.uuid4()
    values = {"mailboxid": id, "name": f"{id}", "enabledforincomingemail": True, "emailserverprofile": profile, "incomingemaildeliverymethod": method, "statecode": 0, **more}
    cluster.sql(f"INSERT INTO mailbox ({', '.join(values)}, postponemailboxprocessinguntil) VALUES ({', '.join(['%s'] * len(values))}, now() - interval '1 hour')", list(values.values()))
    return f"{id}"


def profile(cluster, state=0):
    id = uuid.uuid4()
    cluster.sql("INSERT INTO emailserverprofile (emailserverprofileid, name, servertype, statecode) VALUES (%s, 'p', 4, %s)", [id, state])
    return id


def test_what_a_mailbox_lacks_is_named_and_makes_it_not_late(cluster):
    good, inactive = profile(cluster), profile(cluster, 1)
    none = mailbox(cluster)
    resting = mailbox(cluster, inactive, 2)
    undelivered = mailbox(cluster, good, 0)
    unset = mailbox(cluster, good)
    # The controls: a mailbox that is only late because no router runs, and a mailbox that waits for a test.
    late = mailbox(cluster, good, 2)
    tested = mailbox(cluster, good, 0, testemailconfigurationscheduled=True)
    # A mailbox whose last error was that the organization's key is missing.
    keyless = mailbox(cluster, good, 2, lastsyncerror="The organization's encryption key is required.", lastsyncerrorcode=16)
    lines = {line["mailboxId"]: line for line in map(json.loads, cluster.run("router", "status", "--json").stdout.splitlines())}
    assert {id: lines[id]["obstacle"] for id in (none, resting, undelivered, unset, late, tested)} == {
        none: "no profile", resting: "inactive profile", undelivered: "no delivery method", unset: "no delivery method", late: None, tested: None}
    assert [lines[id]["isLate"] or lines[id]["hasProblem"] for id in (none, resting, undelivered, unset)] == [False] * 4
    assert lines[late]["isLate"] and lines[late]["hasProblem"]
    assert not lines[keyless]["isLate"] and lines[keyless]["hasProblem"]

    short = cluster.run("router", "status").stdout
    assert "Start one: fieldseal router." in short and none not in short
    assert "Routers skip 4 of the enabled mailboxes: --all says what these lack." in short
    whole = cluster.run("router", "status", "--all").stdout
    assert "No router works for it: it has no e-mail server profile." in whole.split(none)[1].split("incoming")[1]
    assert "its e-mail server profile is inactive" in whole and "has a delivery method" in whole
