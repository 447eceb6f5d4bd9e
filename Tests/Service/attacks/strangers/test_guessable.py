"""Passwords that attackers try first, and names that look like another person's."""

import uuid

import pytest


def add(service, name, password):
    return service.run("user", "add", name, "--org", "contoso", "--role", "Basic User", stdin=f"{password}\n", check=False)


@pytest.mark.parametrize("password", [
    "password123456", "Password1234567", "password1234!!", "qwertyuiopasdf", "asdfghjklzxc", "mnbvcxzlkjhg", "12345678901234567890", "09876543210987654321",
    "letmeinletmein1", "letmeinletmein", "qwertzuiop1", "azertyuiopqs", "Passwort123", "Sommer2026", "Frühling2026!", "!!Weihnachten24", "motdepasse!1",
    "Février2026", "P@ssw0rt2026", "Willkommen1", "2026-Dezember", "Summer 2026",
])
def test_a_password_that_is_tried_early_is_refused(service, password):
    refused = add(service, f"p{uuid.uuid4()}", password)
    assert refused.returncode == 1 and "Choose another one." in refused.stderr, refused.stderr


@pytest.mark.parametrize("password", ["long words of a person", "correct horse battery", "v7Kq-29xL-0pTz", "the year was 1234567", "12 drummers drumming", "Sommerregen im Mai 7"])
def test_a_long_password_is_taken(service, password):
    """The control: passwords that are long and not in a list of common ones are accepted."""
    name = f"p{uuid.uuid4()}"
    assert add(service, name, password).returncode == 0
    service.run("user", "remove", name, "--org", "contoso", check=False, stdin=f"{name}\n")


@pytest.mark.parametrize("name", [" ", "admin ", " admin", "x\ny", "x\x1b[31m", "x\t", "a\u200bdmin", "admin\u202e", "\u3164", "ad\u00admin", "a\ufe0f", "\ue000"])
def test_a_name_that_looks_like_another_is_refused(service, name):
    refused = add(service, name, "long words of a person")
    assert refused.returncode == 1 and "no control characters" in refused.stderr, refused.stderr


@pytest.mark.parametrize("name, other", [("{}á", "{}a\u0301"), ("{}é", "{}É"), ("{}ﬁ", "{}fi"), ("{} x", "{}\u00a0x"), ("{}ß", "{}SS")])
@pytest.mark.parametrize("kind", ["user", "client"])
def test_a_name_in_two_forms_is_one_name(service, kind, name, other):
    stem = f"n{uuid.uuid4()}"

    def add_named(text):
        return service.run(kind, "add", text.format(stem), "--org", "contoso", "--role", "Basic User", stdin="long words of a person\n", check=False)

    assert add_named(name).returncode == 0
    try:
        refused = add_named(other)
        assert refused.returncode == 1 and "already" in refused.stderr, refused.stderr
        assert add_named(name + "2").returncode == 0
    finally:
        for text in (name, name + "2"):
            service.run(kind, "remove", text.format(stem), "--org", "contoso", stdin=f"{text.format(stem)}\n", check=False)


@pytest.mark.parametrize("name", ["x\x1b[31m", "a\u200bdmin", "admin\u202e"])
def test_a_client_has_no_invisible_name(service, name):
    refused = service.run("client", "add", name, "--org", "contoso", "--role", "Basic User", check=False)
    assert refused.returncode == 1 and "invisible" in refused.stderr, refused.stderr
