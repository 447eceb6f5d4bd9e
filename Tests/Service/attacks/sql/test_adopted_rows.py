"""If an administrator changes a person or a client, the service writes a new tag, but not for a row that SQL wrote or restored."""

import json

import pytest
from place import PASSWORD, name

NEW = "another long password"
POWERFUL, WEAK = "System Administrator", "Basic User"


@pytest.fixture(scope="module")
def place(place):
    place.run("key", "show")
    # Another administrator, because the last one can't be disabled or get another role.
    place.add_user("keeper")
    return place


def run(place, kind, *arguments, check=True):
    command, who, *more = arguments
    return place.run(kind, command, who, *more, "--org", "contoso", check=check, stdin=f"{NEW}\n" if command == "reset" else "")


def administers(place, person):
    """Whether a person can sign in and has the rights of an administrator."""
    for password in (PASSWORD, NEW):
        visitor = place.visit(person, password)
        if visitor.is_in:
            if "/account" in visitor.page().headers.get("Location", ""):
                return place.sql("SELECT role FROM config.console_user WHERE name = %s", [person]) == [(POWERFUL,)]
            return visitor.page("access").status_code == 200
    return False


ACTS = [("reset",), ("role", "Email Administrator"), ("enable",)]


@pytest.mark.parametrize("what", ACTS, ids=lambda what: what[0])
def test_a_person_s_former_row_that_sql_put_back_is_not_signed(place, role, what):
    person = name("former")
    place.add_user(person, POWERFUL)
    with place.put_back("console_user", f"name = '{person}'") as restore:
        run(place, "user", "role", person, WEAK)
        restore(role)
        answer = run(place, "user", what[0], person, *what[1:], check=False)
        assert answer.returncode == 1 and "changed by SQL" in answer.stderr
        assert not administers(place, person)
        # After an administrator disables the row that the doctor names, SQL can restore it, but it grants nothing.
        assert person in place.doctor()["row-put-back"]
        run(place, "user", "disable", place.person_id(person))
        restore(role)
        for again in ACTS:
            run(place, "user", again[0], person, *again[1:], check=False)
            assert not administers(place, person)
    run(place, "user", "remove", place.person_id(person))


@pytest.mark.parametrize("what", ACTS, ids=lambda what: what[0])
@pytest.mark.parametrize("was_disabled", [True, False])
def test_a_disabled_person_s_former_row_that_sql_put_back_is_not_signed(place, role, was_disabled, what):
    """A Basic User was disabled. SQL restores their former row, in which they are an administrator, enabled or disabled."""
    person = name("former")
    place.add_user(person, POWERFUL)
    if was_disabled:
        run(place, "user", "disable", person)
    with place.put_back("console_user", f"name = '{person}'") as restore:
        if was_disabled:
            run(place, "user", "enable", person)
        run(place, "user", "role", person, WEAK)
        run(place, "user", "disable", person)
        with place.put_back("console_user", f"name = '{person}'") as mend:
            restore(role)
            answer = run(place, "user", what[0], person, *what[1:], check=False)
            assert answer.returncode == 1 and "changed by SQL" in answer.stderr
            assert not administers(place, person)
            # The control: when the present row is restored, the person can be enabled, and keeps the lesser role.
            mend(role)
            run(place, "user", "enable", person)
            assert place.visit(person).is_in and not administers(place, person)
    run(place, "user", "remove", person)


def client_administers(place, id, *secrets):
    for secret in secrets:
        answer = place.token({"clientId": id, "clientSecret": secret})
        if answer.status_code == 200 and place.get("IsDataEncryptionActive", answer.json()["access_token"]).status_code == 200:
            return True
    return False


@pytest.mark.parametrize("what", [("enable",), ("role", "Email Administrator"), ("rotate", "--json")], ids=lambda what: what[0])
@pytest.mark.parametrize("was_disabled", [True, False])
def test_a_disabled_client_s_former_row_that_sql_put_back_is_not_signed(place, role, was_disabled, what):
    client = place.add_client(name("former"), POWERFUL)
    id, secret = client["clientId"], client["clientSecret"]
    if was_disabled:
        run(place, "client", "disable", id)
    with place.put_back("api_client", f"client_id = '{id}'") as restore:
        if was_disabled:
            run(place, "client", "enable", id)
        run(place, "client", "role", id, WEAK)
        run(place, "client", "disable", id)
        with place.put_back("api_client", f"client_id = '{id}'") as mend:
            restore(role)
            answer = run(place, "client", what[0], id, *what[1:], check=False)
            assert answer.returncode == 1 and "changed by SQL" in answer.stderr
            assert not client_administers(place, id, secret)
            mend(role)
            # A disabled client gets neither a role nor a new secret.
            for disabled in (("role", WEAK), ("rotate",)):
                refused = run(place, "client", disabled[0], id, *disabled[1:], check=False)
                assert refused.returncode == 1 and "is disabled" in refused.stderr
            # The control: the client can be enabled, with its present role.
            run(place, "client", "enable", id)
            assert place.token(client).status_code == 200 and not client_administers(place, id, secret)
    run(place, "client", "remove", id)


@pytest.mark.parametrize("held, is_disabled, change", [
    pytest.param(POWERFUL, True, "disabled_on = NULL", id="disabling undone"), pytest.param(POWERFUL, False, "disabled_on = now()", id="disabled by SQL"),
    pytest.param(WEAK, True, f"role = '{POWERFUL}'", id="role raised while disabled"),
])
@pytest.mark.parametrize("kind, table, key", [("user", "console_user", "name"), ("client", "api_client", "client_id")])
def test_the_last_row_with_a_change_by_sql_is_not_signed(place, kind, table, key, held, is_disabled, change):
    """SQL changes a row, but keeps the tag that the attested list has for it."""
    if kind == "user":
        who, acts = name("changed"), ACTS
        place.add_user(who, held)
    else:
        client = place.add_client(name("changed"), held)
        who, acts = client["clientId"], [("role", "Email Administrator"), ("rotate",), ("enable",)]

    def is_powerful():
        return administers(place, who) if kind == "user" else client_administers(place, who, client["clientSecret"])

    if is_disabled:
        run(place, kind, "disable", who)
    with place.put_back(table, f"{key} = '{who}'") as mend:
        place.sql(f"UPDATE config.{table} SET {change} WHERE {key} = %s", [who])
        for what in acts:
            answer = run(place, kind, what[0], who, *what[1:], check=False)
            assert answer.returncode == 1 and "changed by SQL" in answer.stderr, (what, answer)
            assert not is_powerful(), what
        # The control: when the change is undone, the row can be enabled and given a role.
        mend()
        if is_disabled:
            run(place, kind, "enable", who)
        assert is_powerful() == (held == POWERFUL)
        run(place, kind, "role", who, "Email Administrator")
    run(place, kind, "remove", who)


@pytest.mark.parametrize("kind, table, key", [("user", "console_user", "name"), ("client", "api_client", "client_id")])
@pytest.mark.parametrize("way", ["disabled", "attached"])
def test_a_former_row_is_not_signed_after_it_was_disabled_once_more(place, kind, table, key, way):
    """SQL restores a former, disabled row. An administrator disables it again or attaches the organization. Later, the row can't be enabled."""
    if kind == "user":
        who, acts = name("again"), ACTS
        place.add_user(who, POWERFUL)
    else:
        client = place.add_client(name("again"), POWERFUL)
        who, acts = client["clientId"], [("enable",), ("role", WEAK), ("rotate",)]

    def is_powerful():
        return administers(place, who) if kind == "user" else client_administers(place, who, client["clientSecret"])

    run(place, kind, "disable", who)
    with place.put_back(table, f"{key} = '{who}'") as restore:
        for step in (("enable",), ("role", WEAK), ("disable",)):
            run(place, kind, step[0], who, *step[1:])
        with place.put_back(table, f"{key} = '{who}'") as mend:
            restore()
            if way == "disabled":
                run(place, kind, "disable", place.person_id(who) if kind == "user" else who)
            else:
                place.run("org", "attach", "contoso", "--yes")
            for what in acts:
                answer = run(place, kind, what[0], who, *what[1:], check=False)
                assert answer.returncode == 1 and "changed by SQL" in answer.stderr, (what, answer)
                assert not is_powerful(), what
            # The control: the present row can be enabled if an administrator disabled it, but not after the organization was attached with the former row.
            mend()
            assert (run(place, kind, "enable", who, check=False).returncode == 0) == (way == "disabled")
            assert not is_powerful()
            assert (place.visit(who).is_in if kind == "user" else place.token(client).status_code == 200) == (way == "disabled")
    run(place, kind, "remove", place.person_id(who) if kind == "user" else who)


def test_a_secret_that_sql_wrote_is_not_signed_by_a_rotation(place, role):
    client, attacker = place.add_client(name("rotated"), WEAK), place.add_client(name("other"), WEAK)
    place.sql_as(
        role, "INSERT INTO config.api_client_secret (secret_id, client_id, salt, verifier, tag, created_on) SELECT gen_random_uuid(), %s, salt, verifier, tag, now() + interval '1 minute' "
        "FROM config.api_client_secret WHERE client_id = %s", [client["clientId"], attacker["clientId"]])
    stolen = {"clientId": client["clientId"], "clientSecret": attacker["clientSecret"]}
    assert place.token(stolen).status_code == 401
    new = json.loads(run(place, "client", "rotate", client["clientId"], "--json").stdout)["clientSecret"]
    assert place.token(stolen).status_code == 401
    assert place.token({**client, "clientSecret": new}).status_code == 200
    for made in (client, attacker):
        run(place, "client", "remove", made["clientId"])


def test_a_former_secret_that_sql_put_back_is_not_signed_by_a_rotation(place, role):
    client = place.add_client(name("rotated"), WEAK)
    id = client["clientId"]
    with place.put_back("api_client_secret", f"client_id = '{id}'") as restore:
        [(former,)] = place.sql("SELECT secret_id FROM config.api_client_secret WHERE client_id = %s", [id])
        run(place, "client", "rotate", id, "--overlap", "0")
        restore(role)
        # A rotation keeps the newest secret valid for another day, so SQL makes the former secret the newest.
        place.sql_as(role, "UPDATE config.api_client_secret SET created_on = now() + interval '1 minute' WHERE secret_id = %s", [former])
        assert place.token(client).status_code == 401
        new = json.loads(run(place, "client", "rotate", id, "--json").stdout)["clientSecret"]
        assert place.token(client).status_code == 401
        assert place.token({**client, "clientSecret": new}).status_code == 200
    run(place, "client", "remove", id)
