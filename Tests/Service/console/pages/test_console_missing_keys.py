"""SQL deleted rows of keys: the overview and the doctor report it, and a person accepts the loss on the key's page."""

import json

from html_forms import form
from test_console_access import Visitor, person, text

ACCESS = "Rows that grant access, or an older key, were deleted directly in the database."
KEYS = "The row of an older key was deleted directly in the database."
PAGE = "settings/data-encryption"


def found(console, *codes):
    """The messages of the doctor's findings with one of these codes."""
    answer = json.loads(console.run("doctor", "--org", "contoso", "--json", check=False).stdout)
    return [finding["message"] for finding in answer["findings"] if finding["code"] in codes]


def test_deleted_rows_of_keys_are_named_counted_and_settled(console):
    for number in (1, 2):
        assert console.set_key(f"A-key-of-missing-rows-{number}!").status_code in (200, 204)
    key, admin = console.key(), Visitor(console)
    old = console.sql("SELECT key_version, fingerprint FROM config.organization_key WHERE retired_on IS NOT NULL ORDER BY 1")
    assert len(old) >= 2
    console.sql(f"CREATE TABLE public.kept AS SELECT * FROM config.organization_key WHERE key_version = {old[0][0]}")
    console.sql("SET session_replication_role = replica; DELETE FROM config.organization_key")
    # The finding "key-row-missing" is only about retired keys. Another finding reports the key in force.
    assert len(found(console, "key-row-missing")) == len(old) and found(console, "attested-rows-missing") == []
    assert "encryption is active" in text(admin.send(f"{PAGE}/activate", key=key)).lower()
    for message, (version, fingerprint) in zip(found(console, "key-row-missing"), old, strict=True):
        assert f"version {version}, fingerprint {fingerprint}" in message
    page = text(admin.get("overview"))
    assert KEYS in page and ACCESS not in page and "No person or client lost access." in page
    listed = admin.get(PAGE)
    assert all(fingerprint in listed.text for _, fingerprint in old) and "Accept that they are gone" in listed.text
    # SQL deletes the row of a person too. That row grants access, so it has its own finding.
    other = person(console, "taken away")
    console.sql(f"SET session_replication_role = replica; DELETE FROM config.console_user WHERE user_id = '{other}'")
    [missing] = found(console, "attested-rows-missing")
    assert missing.startswith("SQL deleted a row that granted access")
    question = admin.send(f"{PAGE}/gone")
    asked = text(question)
    assert "Accept that keys are gone?" in asked and ", ".join(str(version) for version, _ in old) in asked and "can't be undone" in asked
    # The confirmation is valid only for the keys that the question named.
    assert "Accept that keys are gone?" in text(admin.send(f"{PAGE}/gone", confirmed="1", keys="1 another"))
    assert len(found(console, "key-row-missing")) == len(old)
    assert "You accepted that these keys are gone." in text(admin.send(f"{PAGE}/gone", **form(question.text, f"{PAGE}/gone").fields))
    assert found(console, "key-row-missing") == [] and len(found(console, "attested-rows-missing")) == 1
    page = text(admin.get("overview"))
    assert KEYS not in page and ACCESS in page and "Accept that they are gone" not in admin.get(PAGE).text
    purged = console.sql("SELECT key_version, fingerprint, actor FROM org_contoso.security_event WHERE kind = 'key purged' ORDER BY key_version")
    assert [row[:2] for row in purged] == old and all("admin" in row[2] for row in purged)
    assert "its row was deleted directly in the database" in admin.get("events?kind=key+purged").text
    # If SQL restores a row whose loss was accepted, the doctor reports a changed row.
    console.sql("SET session_replication_role = replica; INSERT INTO config.organization_key SELECT * FROM public.kept")
    assert found(console, "key-row-missing") == [] and len(found(console, "key-row-changed")) == 1


def test_only_system_administrators_settle_them(console):
    person(console, "no administrator of keys", "Email Administrator")
    other = Visitor(console, "no administrator of keys", f"the password of them, {'no administrator of keys'[::-1]}")
    assert other.send(f"{PAGE}/gone").status_code == 403
