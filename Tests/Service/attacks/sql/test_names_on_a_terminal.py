"""Commands escape names that SQL wrote, so that control characters in them can't hide, erase or reverse text on a terminal."""

import unicodedata

import pytest


NAMES = {"conceal": "\x1b[8m", "newline": "x\n\x1b[1A\x1b[2Kok", "c1": "x\x9b8m", "bidi": "x\u202e gnihton", "separator": "x\u2028y", "return": "x\rNothing is wrong."}


@pytest.mark.parametrize("text", NAMES.values(), ids=NAMES)
def test_a_name_hides_no_finding(place, text):
    place.sql_as(
        "fieldseal_service", "INSERT INTO config.console_user (user_id, organization_id, name, systemuser_id, role, salt, verifier, tag, created_by) "
        "SELECT gen_random_uuid(), organization_id, %s, gen_random_uuid(), 'Basic User', substring(sha256('a') FOR 16), sha256('b'), sha256('c'), 'x' FROM config.organization", [text])
    try:
        shown = [place.run("doctor", check=False).stdout, place.run("org", "attach", "contoso", check=False, stdin="no\n").stderr, place.run("user", "list", "--org", "contoso").stdout]
    finally:
        place.sql("DELETE FROM config.console_user WHERE name = %s", [text])
    for output in shown:
        unseen = [c for c in output if unicodedata.category(c) in ("Cc", "Cf", "Zl", "Zp") and c != "\n"]
        assert not unseen and text not in output and "<U+" in output, output
    assert "was made or changed by SQL" in shown[0]
