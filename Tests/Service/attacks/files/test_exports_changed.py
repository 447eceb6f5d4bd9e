"""An export of the security events that was changed or damaged is not accepted as complete."""

import hashlib
import json

import pytest
from cluster import Cluster
from waiting import until


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        for _ in range(6):
            cluster.run("key", "show")
        cluster.lines = cluster.run("events", "export").stdout.splitlines()
        yield cluster
    finally:
        cluster.remove()


def changed(lines, index, **members):
    """Returns the lines with changed members in one of them. In the last line, the members of `attested` are changed."""
    line = json.loads(lines[index])
    (line["attested"] if "attested" in line else line).update(members)
    return [*lines[:index], json.dumps(line, separators=(",", ":")), *lines[index + 1:]]


def verified(cluster, tmp_path, lines):
    file = tmp_path / "copy.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return cluster.run("events", "verify", "--against", str(file), check=False)


def test_what_was_written_is_whole(cluster, tmp_path):
    """The controls: an unchanged export, a later part, no event, a repeated line, two exports in one file, more events, and an end without `after`."""
    lines = cluster.lines
    cluster.run("key", "show")
    later = cluster.run("events", "export", "--since", "3").stdout.splitlines()
    none = cluster.run("events", "export", "--since", "4711").stdout.splitlines()
    older = json.dumps({name: value for name, value in json.loads(lines[-1]).items() if name != "after"})
    assert json.loads(later[0])["id"] == 4 and len(none) == 1 and json.loads(lines[-1])["after"] == 0
    for copy in (lines, later, none, [*lines[:3], lines[2], *lines[3:]], lines[:-1] + lines, lines + later, [*lines[3:-1], older]):
        result = verified(cluster, tmp_path, copy)
        assert result.returncode == 0 and "is whole" in result.stdout, result.stdout + result.stderr


@pytest.mark.parametrize("change, words", [
    (lambda lines: lines[:3] + lines[4:], "these events are missing in the export"),
    (lambda lines: lines[:3] + lines[-1:], "4 to {}: these events are missing in the export"),
    (lambda lines: lines[:-2] + lines[-1:], "{0} to {0}: these events are missing in the export"),
    (lambda lines: lines[3:], "1 to 3: these events are missing in the export"),
    (lambda lines: lines[-1:], "1 to {}: these events are missing in the export"),
    (lambda lines: changed(lines, 2, outcome="refused"), "3: this event differs between the export and the chain"),
    (lambda lines: changed(lines, 0, actor="cli:eve"), "1: this event differs between the export and"),
    (lambda lines: changed(lines, 2, occurredOn="2020-01-01T00:00:00Z"), "line 3 of the export is not an event as this service writes it"),
    (lambda lines: changed(lines, 2, hash="00" * 32), "3: this event differs between the export and"),
    (lambda lines: [*lines[:2], lines[2][:-5], *lines[3:]], "line 3 of the export is damaged"),
    (lambda lines: changed(lines, 2, id=2**63 - 1), "3 to 9223372036854775806: these events are missing in the export"),
    (lambda lines: [*lines[:2], lines[3], lines[2], *lines[4:]], "is not in its place"),
    (lambda lines: changed(lines[:-1], len(lines) - 2, id=4711) + lines[-1:], "4711: this event of the export is not in the chain"),
    (lambda lines: changed(lines, len(lines) - 1, revision=1), "its tag does not fit it"),
    (lambda lines: changed(lines, len(lines) - 1, events=1), "its tag does not fit it"),
    (lambda lines: changed(lines, len(lines) - 1, tag="00" * 32), "its tag does not fit it"),
    (lambda lines: changed(lines, len(lines) - 1, grantsDigest=None), "lacks something that its tag covers"),
    (lambda lines: changed(lines, len(lines) - 1, kekId="0123456789abcdef"), "its tag does not fit it"),
])
def test_what_was_changed_is_named(cluster, tmp_path, change, words):
    result = verified(cluster, tmp_path, change(cluster.lines))
    words = words.format(json.loads(cluster.lines[-1])["attested"]["newest"])
    assert result.returncode == 1 and words in result.stdout, result.stdout + result.stderr


def test_archives_of_the_audit_are_verified(cluster, tmp_path):
    cluster.sql("INSERT INTO team (teamid, name, businessunitid) SELECT gen_random_uuid(), 'audited', businessunitid FROM businessunit LIMIT 1")
    cluster.run("org", "create", "fabrikam")
    audit = tmp_path / "audit.jsonl"
    [(before,)] = cluster.sql("SELECT to_char(now() AT TIME ZONE 'UTC' + interval '1 second', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")

    def verify(organization="contoso"):
        return cluster.run("events", "verify", "--org", organization, "--archive", str(audit), check=False)

    def archived():
        result = cluster.run("events", "archive", "--audit", "--org", "contoso", "--before", before, "--to", str(audit), check=False)
        assert result.returncode == 0 or "future" in result.stderr, result.stderr
        return result.returncode == 0

    until(archived)
    assert verify().returncode == 0, verify().stdout + verify().stderr
    entries = len(audit.read_text().splitlines()) - 2
    assert f"and {entries} entries of the audit were verified" in verify().stdout
    counted = json.loads(cluster.run("events", "verify", "--org", "contoso", "--archive", str(audit), "--json").stdout)
    assert (counted["archived"], counted["auditEntries"]) == (0, entries)
    other = verify("fabrikam")
    assert other.returncode == 1 and "audit of the organization contoso" in other.stdout
    text = audit.read_text()
    audit.write_text(text.replace("audited", "Audited", 1))
    assert text != audit.read_text() and verify().returncode == 1 and "was changed" in verify().stdout
    # The file also gets a matching digest. Entries of the audit have no chain, so only the tag of the file shows the change.
    *lines, seal = audit.read_bytes().splitlines(keepends=True)
    audit.write_bytes(b"".join(lines) + json.dumps({**json.loads(seal), "sha256": hashlib.sha256(b"".join(lines)).hexdigest()}).encode() + b"\n")
    assert verify().returncode == 1 and "was not sealed by this service" in verify().stdout
    audit.write_text(text)
    assert verify().returncode == 0


def test_a_file_that_is_not_there_is_named(cluster, tmp_path):
    result = cluster.run("events", "verify", "--org", "contoso", "--against", str(tmp_path / "none"), check=False)
    assert result.returncode == 1 and "none can't be read" in result.stderr


def made(cluster, name):
    """Creates an organization with some events. Returns the lines of their export."""
    cluster.run("org", "create", name)
    for _ in range(3):
        cluster.run("key", "show", "--org", name)
    return cluster.run("events", "export", "--org", name).stdout.splitlines()


def compared(cluster, tmp_path, organization, lines, *more):
    file = tmp_path / "copy.jsonl"
    file.write_text("\n".join(lines) + "\n")
    return cluster.run("events", "verify", "--org", organization, "--against", str(file), *more, check=False)


def test_a_copy_from_before_a_renaming_is_compared(cluster, tmp_path):
    lines = made(cluster, "named")
    cluster.run("org", "rename", "named", "renamed")
    assert compared(cluster, tmp_path, "renamed", lines).returncode == 0
    result = compared(cluster, tmp_path, "renamed", changed(lines, 1, outcome="refused"))
    assert result.returncode == 1 and "2: this event differs between the export and" in result.stdout, result.stdout


def test_a_copy_from_before_archiving_is_compared_with_the_archive(cluster, tmp_path):
    lines = made(cluster, "archived")
    archive = tmp_path / "events.archive"

    def moved():
        [(now,)] = cluster.sql("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')")
        archive.unlink(missing_ok=True)
        return cluster.run("events", "archive", "--org", "archived", "--before", now, "--to", str(archive), check=False).returncode == 0

    until(moved)
    count = len(archive.read_text().splitlines()) - 2
    whole = compared(cluster, tmp_path, "archived", lines, "--archive", str(archive))
    assert whole.returncode == 0 and "were not compared" not in whole.stdout, whole.stdout + whole.stderr
    for change in ({"outcome": "refused"}, {"kind": "client added"}, {"hash": "00" * 32}):
        result = compared(cluster, tmp_path, "archived", changed(lines, 0, **change), "--archive", str(archive))
        assert result.returncode == 1 and "1: this event differs between the export and its archive" in result.stdout, result.stdout
    without = compared(cluster, tmp_path, "archived", lines, "--json")
    assert json.loads(without.stdout)["notCompared"] == count > 0, without.stdout


def received(cluster, organization):
    """What a receiver stores for an organization: each event, with the attested end of the chain."""
    *events, end = map(json.loads, cluster.run("events", "export", "--org", organization).stdout.splitlines())
    return [json.dumps({**event, "attested": end["attested"]}) for event in events]


def test_a_receivers_file_of_several_organizations_is_compared(cluster, tmp_path):
    made(cluster, "first")
    made(cluster, "last")
    first, last = received(cluster, "first"), received(cluster, "last")
    lines = [line for pair in zip(first, last) for line in pair]
    for name in ("first", "last"):
        result = compared(cluster, tmp_path, name, lines)
        assert result.returncode == 0 and "is whole" in result.stdout, result.stdout + result.stderr
    # A changed line of the organization `first` is reported for `first`, and not for `last`.
    forged = [line.replace('"succeeded"', '"refused"') if line == first[1] else line for line in lines]
    assert compared(cluster, tmp_path, "last", forged).returncode == 0
    result = compared(cluster, tmp_path, "first", forged)
    assert result.returncode == 1 and "2: this event differs between the export and" in result.stdout, result.stdout
    result = compared(cluster, tmp_path, "first", last)
    assert result.returncode == 1 and "has no attested state of first" in result.stderr, result.stderr
