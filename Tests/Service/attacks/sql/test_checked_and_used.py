"""The service uses exactly the rows that it has checked: SQL can't exchange rows after the service looked up a name, or while it waits for a lock."""

import re
import threading
import time

import psycopg
import pytest
from one_time import one_time_password
from place import PASSWORD, name
from service import PATIENCE
from test_two_organizations import put_events_back


def swap(place, table, one, other):
    """Exchanges the names of two rows by SQL, with the service's login."""
    place.sql_as("fieldseal_service", f"UPDATE config.{table} SET name = 'between' WHERE name = %s", [one])
    place.sql_as("fieldseal_service", f"UPDATE config.{table} SET name = %s WHERE name = %s", [one, other])
    place.sql_as("fieldseal_service", f"UPDATE config.{table} SET name = %s WHERE name = 'between'", [other])


def test_no_command_takes_a_client_by_a_name_that_sql_gave_it(place, tmp_path):
    from cryptography.hazmat.primitives import serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    small, strong = name("small"), name("strong")
    place.add_client(small, "Basic User")
    made = place.add_client(strong)
    key = tmp_path / "key.pem"
    key.write_bytes(ec.generate_private_key(ec.SECP256R1()).public_key().public_bytes(
        serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo))
    place.run("issuer", "add", small, "--issuer", f"https://{small}.example", "--client-id", "x", "--org", "contoso", stdin="secret\n")
    commands = [
        ("client", "add-key", small, str(key)), ("client", "rotate", small), ("client", "role", small, "Email Administrator"), ("client", "enable", small),
        ("issuer", "link", small, "robot", "--client", small),
    ]
    swap(place, "api_client", small, strong)
    for command in commands:
        answer = place.run(*command, "--org", "contoso", check=False)
        assert answer.returncode == 1 and "was changed by SQL" in answer.stderr, (command, answer)
    swap(place, "api_client", small, strong)
    assert place.sql("SELECT count(*) FROM config.api_client_key WHERE client_id = %s", [made["clientId"]]) == [(0,)]
    assert place.token(made).status_code == 200
    # The control: without the exchange, each command succeeds.
    for command in commands:
        place.run(*command, "--org", "contoso")


def test_no_command_takes_a_person_by_a_name_that_sql_gave_them(place):
    small, strong = name("small"), name("strong")
    place.add_user(small, "Basic User")
    place.add_user(strong)
    place.run("issuer", "add", small, "--issuer", f"https://{small}.example", "--client-id", "x", "--org", "contoso", stdin="secret\n")
    commands = [("user", "role", small, "Email Administrator"), ("issuer", "link", small, "me", "--user", small), ("user", "end-sessions", small)]
    swap(place, "console_user", small, strong)
    for command in commands:
        answer = place.run(*command, "--org", "contoso", check=False)
        assert answer.returncode == 1 and "was changed by SQL" in answer.stderr, (command, answer)
    swap(place, "console_user", small, strong)
    for command in commands:
        place.run(*command, "--org", "contoso")


def until_waiting(place, count):
    deadline = time.monotonic() + PATIENCE
    while place.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'fieldseal'")[0][0] < count:
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.parametrize("command", [("user", "disable"), ("user", "role")], ids=" ".join)
def test_a_password_that_is_changed_behind_a_lock_brings_no_former_row_back(place, command):
    """The service has read the person's row, and then waits to store a new password. Before that, an administrator disables the person or changes
    their role."""
    person, answers, commands = name("late"), [], []
    # Another System Administrator, because the last one can't be disabled.
    place.add_user(name("root"))
    place.add_user(person)
    visitor = place.visit(person)
    csrf = visitor.csrf()
    arguments = [*command, person, *(["Basic User"] if command[1] == "role" else []), "--org", "contoso"]
    changed = {"old": PASSWORD, "new": "another long password", "again": "another long password"}
    with psycopg.connect(f"host={place.home} user=fieldseal_service dbname=fieldseal") as holder:
        holder.execute("SELECT FROM config.attested_state FOR UPDATE")
        first = threading.Thread(target=lambda: commands.append(place.run(*arguments)))
        first.start()
        until_waiting(place, 1)
        second = threading.Thread(target=lambda: answers.append(visitor.page("account/password", csrf=csrf, **changed)))
        second.start()
        until_waiting(place, 2)
    for thread in (first, second):
        thread.join(PATIENCE)
    assert commands and answers[0].status_code != 303, answers[0].text
    place.sql_as("fieldseal_service", "UPDATE config.console_user SET disabled_on = NULL, role = 'System Administrator' WHERE name = %s", [person])
    for password in (PASSWORD, "another long password"):
        assert not place.visit(person, password).is_in
    assert person in str(place.doctor())
    # The control: without an administrator's change, the new password is stored.
    other = name("early")
    place.add_user(other)
    visitor = place.visit(other)
    assert visitor.page("account/password", csrf=visitor.csrf(), **changed).status_code == 303 and place.visit(other, "another long password").is_in


@pytest.mark.parametrize("change", [
    pytest.param("DELETE FROM org_contoso.security_event WHERE security_event_id = %s", id="cut"),
    pytest.param("UPDATE org_contoso.security_event SET hash = sha256('x') WHERE security_event_id = %s", id="replaced"),
    pytest.param("UPDATE org_contoso.security_event SET security_event_id = security_event_id + 5 WHERE security_event_id = %s", id="renumbered"),
])
def test_a_chain_that_is_changed_behind_a_lock_is_not_signed(place, change):
    """A request has read the attested state, and waits to append its event. Before that, a superuser changes the newest event."""
    def read_key():
        return place.get("RetrieveDataEncryptionKey()", place.server.token)

    attested, answers = "SELECT revision, events, newest_event, head, tag FROM config.attested_state", []
    assert read_key().status_code == 200
    before, [(newest,)] = place.sql(attested), place.sql("SELECT max(security_event_id) FROM org_contoso.security_event")
    held = place.sql("SELECT * FROM org_contoso.security_event WHERE security_event_id = %s", [newest])
    with psycopg.connect(place.superuser) as holder:
        holder.execute("SELECT FROM config.attested_state FOR UPDATE")
        thread = threading.Thread(target=lambda: answers.append(read_key()))
        thread.start()
        until_waiting(place, 1)
        holder.execute("SET LOCAL session_replication_role = replica")
        holder.execute(change, [newest])
    thread.join(PATIENCE)
    assert answers[0].status_code == 403 and "contoso is refused" in answers[0].text and "EncryptionKey" not in answers[0].json(), answers[0].text
    assert place.sql(attested) == before
    # The control: after the true event is restored, the request succeeds, and the chain verifies.
    place.sql("SET session_replication_role = replica; DELETE FROM org_contoso.security_event WHERE security_event_id >= %s" % newest)
    put_events_back(place, held)
    assert read_key().status_code == 200 and place.run("events", "verify").returncode == 0


def meanwhile(place, request, statement, values):
    """Sends a request, and changes a row with SQL while the request waits for the attested state. Returns the response."""
    answers = []
    with psycopg.connect(place.superuser) as holder:
        holder.execute("SELECT FROM config.attested_state FOR UPDATE")
        thread = threading.Thread(target=lambda: answers.append(request()))
        thread.start()
        until_waiting(place, 1)
        holder.execute(statement, values)
    thread.join(PATIENCE)
    return answers[0]


def test_a_session_whose_row_is_deleted_while_it_ends_does_not_begin_again(place):
    person = name("leaver")
    place.add_user(person)
    visitor = place.visit(person)
    csrf = visitor.csrf()
    of_person = f"user_id = (SELECT user_id FROM config.console_user WHERE name = '{person}')"
    with place.put_back("console_session", of_person) as restore:
        assert meanwhile(place, lambda: visitor.page("sign-out", csrf=csrf), f"DELETE FROM config.console_session WHERE {of_person}", []).status_code in (200, 303)
        restore()
        place.everywhere(lambda server: visitor.page(server=server).status_code == 303 or pytest.fail("the session goes on"))
    assert place.visit(person).page().status_code == 200


def test_a_second_factor_is_stored_over_no_row_that_sql_changed(place):
    for change, is_stored in (("role = 'System Administrator'", False), ("name = name", True)):
        person = name("factor")
        place.add_user(person, "Basic User")
        visitor = place.visit(person)
        csrf = visitor.csrf()
        offered = visitor.page("account/offer", csrf=csrf).text
        secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
        answer = meanwhile(
            place, lambda: visitor.page("account/confirm", csrf=csrf, sealed=sealed, code=one_time_password(secret, -1)),
            f"UPDATE config.console_user SET {change} WHERE name = %s", [person])
        assert (answer.status_code == 200) == is_stored, answer.text
        assert place.sql("SELECT totp IS NOT NULL FROM config.console_user WHERE name = %s", [person]) == [(is_stored,)]
        assert place.visit(person, code=one_time_password(secret)).is_in == is_stored


def test_one_time_passwords_end_with_a_code_for_the_row_that_has_them(place):
    """SQL removes the one-time passwords from the person's row while the service checks a wrong code, and restores them before the service stores the
    change."""
    person, answers, login = name("factor"), [], f"host={place.home} user=fieldseal_service dbname=fieldseal"
    place.add_user(person)
    visitor = place.visit(person)
    csrf = visitor.csrf()
    offered = visitor.page("account/offer", csrf=csrf).text
    secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
    codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", visitor.page("account/confirm", csrf=csrf, sealed=sealed, code=one_time_password(secret, -1)).text)
    visitor = place.visit(person, code=codes[0])
    csrf = visitor.csrf()
    wrong = {"csrf": csrf, "code": "AAAA-BBBB-CCCC-DDDD"}
    assert visitor.page("account/end", **wrong).status_code == 400
    [(totp,)] = place.sql("SELECT totp FROM config.console_user WHERE name = %s", [person])
    lock = "SELECT FROM config.failed_sign_in WHERE account LIKE 'code:%' FOR UPDATE"
    with psycopg.connect(login) as first, psycopg.connect(login) as second:
        first.execute(lock)
        ending = threading.Thread(target=lambda: answers.append(visitor.page("account/end", **wrong)))
        ending.start()
        until_waiting(place, 1)
        locking = threading.Thread(target=lambda: second.execute(lock))
        locking.start()
        until_waiting(place, 2)
        place.sql_as("fieldseal_service", "UPDATE config.console_user SET totp = NULL WHERE name = %s", [person])
        first.rollback()
        locking.join(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while ending.is_alive() and place.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'fieldseal'") == [(0,)]:
            assert time.monotonic() < deadline
            time.sleep(0.02)
        place.sql_as("fieldseal_service", "UPDATE config.console_user SET totp = %s WHERE name = %s", [totp, person])
        second.rollback()
    ending.join(PATIENCE)
    assert answers and place.sql("SELECT totp FROM config.console_user WHERE name = %s", [person]) == [(totp,)]
    assert not place.visit(person).is_in and place.visit(person, code=codes[1]).is_in
    # The control: with a right code, the person turns one-time passwords off.
    visitor = place.visit(person, code=codes[2])
    visitor.page("account/end", csrf=visitor.csrf(), code=codes[3])
    assert place.visit(person).is_in
