"""Confirming a key change is valid for one key version. Sending the confirmation again has no effect."""

import html
import re

import pytest
from attested import Attestor
from html_forms import form
from test_console_access import Visitor, text

PAGE = "settings/data-encryption"


def version(console):
    return console.sql("SELECT key_version FROM org_contoso.encryption")[0][0]


def confirming(admin, **typed):
    """The fields of the form that confirms a key change."""
    first = form(admin.get(f"{PAGE}/change").text, f"{PAGE}/change").fields
    return form(admin.send(f"{PAGE}/change", **first | typed | {"again": typed.get("key", "")}, do="review").text, f"{PAGE}/change").fields


@pytest.mark.parametrize("typed", [{}, {"key": "A-key-that-was-typed-12345"}])
def test_a_confirmation_that_is_sent_twice_changes_the_key_once(console, typed):
    admin, before = Visitor(console), version(console)
    one, two = confirming(admin, **typed), confirming(admin)
    assert one["version"] == two["version"] == str(before)
    assert "The key was changed." in text(admin.send(f"{PAGE}/change", **one, do="change")) and version(console) == before + 1
    # Sends the same form again, the form of another tab, a form without a version, and test runs with a confirmed key.
    for again in (one, two, {**two, "version": ""}, {"typed": ""}):
        for do in ("change", "rehearse") if "confirms" in again else ("change",):
            answer = admin.send(f"{PAGE}/change", **again, do=do)
            said = text(answer)
            assert answer.status_code == 409 and f"version {before + 1} is already in force, set by admin" in said and "begin here again" in said, said
    assert version(console) == before + 1
    # A form that was opened after the change can change the key.
    assert "The key was changed." in text(admin.send(f"{PAGE}/change", **confirming(admin), do="change")) and version(console) == before + 2


def test_a_confirmed_password_that_is_sent_again_says_what_may_be_done(console):
    """The page with the key is the response to a form with the password. Reloading the page sends that form again."""
    admin = Visitor(console)
    csrf = re.search(r'name="csrf" value="(\w+)"', admin.get("account").text)[1]
    Attestor(console).age_sessions(fresh="10 minutes")
    asked = admin.session.post(f"{admin.pages}/{PAGE}/key", {"csrf": csrf})
    sent = {"csrf": csrf, "kept": re.search(r'name="kept" value="([\w-]+)"', asked.text)[1], "password": console.dev["console"]["password"]}
    assert 'class="secret"' in admin.session.post(f"{admin.pages}/fresh", sent).text
    reloaded = admin.session.post(f"{admin.pages}/fresh", sent)
    said = text(reloaded)
    assert "signed in" not in said and "Your password is confirmed already" in said and "nothing was saved" not in said.lower(), said
    [back] = re.findall(r'<a class="button" href="([^"]+)">Go back without sending', reloaded.text)
    assert admin.session.get(f"{console.dev['baseURL']}{html.unescape(back)}").url.split("?")[0].endswith(PAGE)


def test_a_typed_key_is_typed_twice_and_the_rule_is_said_before(console):
    admin, before, key = Visitor(console), version(console), "A-key-that-was-typed-12345"
    page = admin.get(f"{PAGE}/change")
    assert "with a letter, a digit and a symbol, and without spaces." in text(page) and "Your own key once more" in text(page)
    fields = form(page.text, f"{PAGE}/change").fields
    for again in ("", key.lower(), f"{key} "):
        refused = admin.send(f"{PAGE}/change", **fields | {"key": key, "again": again}, do="review")
        assert refused.status_code == 400 and "The two keys are different." in text(refused) and key not in refused.text, text(refused)
        assert re.search(r'<input id="newkey-again"[^>]* required', refused.text)
    assert "The new key is the one that you typed." in text(admin.send(f"{PAGE}/change", **fields | {"key": key, "again": key}, do="review"))
    # The page says which rule the key breaks. It calls a key weak only if that is the reason.
    for key, said in (("A key with blanks 1!", "This key can't be used: it has white space"), ("A-key-of-101-" + "x" * 90, "This key can't be used"), ("weak", "This key is too weak")):
        refused = text(admin.send(f"{PAGE}/change", **fields | {"key": key, "again": key}, do="review"))
        assert said in refused and (said.endswith("weak") or "too weak" not in refused), refused
    assert version(console) == before


def test_a_test_run_judges_the_typed_key_as_the_change_does(console):
    admin, before = Visitor(console), version(console)
    fields = form(admin.get(f"{PAGE}/change").text, f"{PAGE}/change").fields
    for do in ("rehearse", "review"):
        refused = admin.send(f"{PAGE}/change", **fields | {"key": "weak", "again": "weak"}, do=do)
        said = text(refused)
        assert refused.status_code == 400 and "This key is too weak" in said and "A change would succeed" not in said, (do, said)
        assert "The key that you typed was not kept" in said
    for key, said in (("A-key-that-was-typed-12345", "This key meets the rules."), ("Password-2026", "it looks guessable")):
        tried = text(admin.send(f"{PAGE}/change", **fields | {"key": key}, do="rehearse"))
        assert said in tried and "A change would succeed" in tried and "The key that you typed was not kept" in tried, tried
    # After the confirmation, the form keeps the typed key during a test run. So the page does not say that the key was lost.
    kept = admin.send(f"{PAGE}/change", **confirming(admin, key="A-key-that-was-typed-12345"), do="rehearse")
    assert "A change would succeed" in text(kept) and "was not kept" not in text(kept) and "key!kept" in kept.text
    assert version(console) == before
