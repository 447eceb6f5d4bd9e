"""A person uses another person's browser ten minutes after that person entered the password. They can do nothing that needs the password again."""

import re
import uuid

import pytest
from attested import Attestor
from place import PASSWORD

ENCRYPTION = "settings/data-encryption"


@pytest.fixture(scope="module")
def place(place):
    place.add_user("ada")
    return place


@pytest.fixture
def visitor(place):
    """An administrator who entered their password ten minutes ago."""
    visitor = place.visit("ada")
    assert visitor.is_in
    Attestor(place).age_sessions(fresh="10 minutes")
    return visitor


@pytest.fixture
def other(place):
    """The ids of another person and of a client."""
    name = f"p{uuid.uuid4().hex[:8]}"
    place.add_user(name, "Basic User")
    client = place.add_client(f"c{uuid.uuid4().hex[:8]}", "Basic User")
    return str(place.sql("SELECT user_id FROM config.console_user WHERE name = %s", [name])[0][0]), client["clientId"]


def state(place):
    """Reads the rows that the forms below would change."""
    return place.sql(
        "SELECT (SELECT count(*) FROM config.organization_key), (SELECT string_agg(concat_ws(' ', u.name, u.role, u.disabled_on, u.salt), ',' ORDER BY u.name) FROM config.console_user AS u), "
        "(SELECT string_agg(concat_ws(' ', c.name, c.role, c.disabled_on, (SELECT count(*) FROM config.api_client_secret AS s WHERE s.client_id = c.client_id)), ',' ORDER BY c.name) "
        "FROM config.api_client AS c), (SELECT count(*) FROM security_event WHERE kind NOT IN ('signed in', 'signed out'))")


def test_the_password_is_asked_for_again(place, visitor, other):
    person, client = other
    csrf, before = visitor.csrf(), state(place)
    forms = [
        (f"{ENCRYPTION}/key", {}), (f"{ENCRYPTION}/change", {"how": "generated", "do": "review"}), (f"{ENCRYPTION}/activate", {"key": "Some-key-text-123"}), ("access/rules", {"role": "Basic User"}),
        ("access/add-user", {"name": "mallory", "role": "System Administrator", "password": PASSWORD}), ("access/disable-user", {"id": person}),
        ("access/enable-user", {"id": person}), ("access/remove-user", {"id": person}), ("access/reset-user", {"id": person, "password": PASSWORD}),
        ("access/invite-user", {"id": person}), ("access/role-user", {"id": person, "role": "System Administrator"}), ("access/end-user-sessions", {"id": person}),
        ("access/add-client", {"name": "mallory", "role": "System Administrator"}), ("access/disable-client", {"id": client}), ("access/enable-client", {"id": client}),
        ("access/remove-client", {"id": client}), ("access/role-client", {"id": client, "role": "System Administrator"}), ("access/rotate-client", {"id": client}),
        ("account/offer", {}), (f"{ENCRYPTION}/gone", {"confirmed": "1", "keys": ""}), ("settings/approvals/approve", {"id": person}), ("settings/approvals/refuse", {"id": person}),
    ]
    for page, form in forms:
        answer = visitor.page(page, csrf=csrf, **form)
        assert answer.status_code == 403 and 'action="/contoso/fresh"' in answer.text, (page, answer.status_code, answer.text[-1500:])
    assert state(place) == before
    # With a wrong password, no form succeeds. With the right one, the forms succeed.
    wrong = visitor.page("fresh", csrf=csrf, password="another long password")
    assert wrong.status_code == 403 and "__Host-fieldseal" not in wrong.headers.get("Set-Cookie", "") and state(place)[0][:3] == before[0][:3]
    fresh = visitor.page("fresh", csrf=csrf, password=PASSWORD)
    visitor.secret = re.match(r"__Host-fieldseal=([\w-]{43});", fresh.headers["Set-Cookie"])[1]
    assert visitor.key().status_code == 200
