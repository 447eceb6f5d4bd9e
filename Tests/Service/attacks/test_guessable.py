"""Passwords that attackers try early, and names that look like another person's."""

import uuid

import pytest


def add(service, name, password):
    return service.run("user", "add", name, "--org", "contoso", "--role", "Basic User", stdin=f"{password}\n", check=False)


@pytest.mark.parametrize("password", [
    "password123456", "Password1234567", "password1234!!", "qwertyuiopasdf", "asdfghjklzxc", "mnbvcxzlkjhg", "12345678901234567890", "09876543210987654321",
    "letmeinletmein1", "letmeinletmein", "qwertzuiop1", "azertyuiopqs",
])
def test_a_password_that_is_tried_early_is_refused(service, password):
    refused = add(service, f"p{uuid.uuid4()}", password)
    assert refused.returncode == 1 and "Choose another one." in refused.stderr, refused.stderr


@pytest.mark.parametrize("password", ["long words of a person", "correct horse battery", "v7Kq-29xL-0pTz", "the year was 1234567", "12 drummers drumming"])
def test_a_long_password_is_taken(service, password):
    """The control."""
    name = f"p{uuid.uuid4()}"
    assert add(service, name, password).returncode == 0
    service.run("user", "remove", name, "--org", "contoso", check=False, stdin=f"{name}\n")


@pytest.mark.parametrize("name", [" ", "admin ", " admin", "x\ny", "x\x1b[31m", "x\t"])
def test_a_name_that_looks_like_another_is_refused(service, name):
    refused = add(service, name, "long words of a person")
    assert refused.returncode == 1 and "no control characters" in refused.stderr, refused.stderr
