"""SQL restores a former row of a person or client. An administrator's commands, such as reset, enable and `org attach`, do not bring it into force."""

import json
import uuid

import pytest
from place import PASSWORD, Place, name
from html_forms import subject

NEW = "another long password"


@pytest.fixture(scope="module")
def place(place):
    place.add_user("root")
    return place


def client_row(place, client):
    return {row["clientId"]: row for row in json.loads(place.run("client", "list", "--org", "contoso", "--json").stdout)}[client["clientId"]]


def user_row(place, person):
    return {row["name"]: row for row in json.loads(place.run("user", "list", "--org", "contoso", "--json").stdout)}[person]


def fails(place, *command, stdin=""):
    answer = place.run(*command, "--org", "contoso", check=False, stdin=stdin)
    return answer.returncode == 1 and "was changed by SQL" in answer.stderr


@pytest.mark.parametrize("was_disabled", [False, True])
def test_a_role_that_was_taken_does_not_come_back_with_a_reset(place, was_disabled):
    person = name("carl")
    place.add_user(person)
    if was_disabled:
        place.run("user", "disable", person, "--org", "contoso")
    with place.put_back("console_user", f"name = '{person}'") as restore:
        if was_disabled:
            place.run("user", "enable", person, "--org", "contoso")
        place.run("user", "role", person, "Basic User", "--org", "contoso")
        place.run("user", "disable", person, "--org", "contoso")
        restore("fieldseal_service")
        findings = place.doctor()
        assert person in findings["row-put-back" if was_disabled else "revocation-undone"]
        assert not user_row(place, person)["honoured"]
        assert fails(place, "user", "reset", person, stdin=f"{NEW}\n")
        # The restored row is not accepted either after an administrator disabled it again.
        place.run("user", "disable", place.person_id(person), "--org", "contoso")
        assert fails(place, "user", "reset", person, stdin=f"{NEW}\n") and fails(place, "user", "enable", person)
        assert not place.visit(person, NEW).is_in and not place.visit(person).is_in
    place.run("user", "remove", place.person_id(person), "--org", "contoso")
    # The control: an administrator resets the password of a person whose row SQL did not change. The person keeps their role.
    other = name("dora")
    place.add_user(other, "Basic User")
    place.run("user", "disable", other, "--org", "contoso")
    assert user_row(place, other)["honoured"]
    said = place.run("user", "reset", other, "--org", "contoso", stdin=f"{NEW}\n").stdout
    assert "Role: Basic User." in said and user_row(place, other)["honoured"] and place.visit(other, NEW).is_in
    assert place.sql("SELECT details FROM security_event WHERE kind = 'user reset' ORDER BY security_event_id DESC LIMIT 1") == [(f"{other}, Basic User",)]


def test_no_command_enables_a_client_whose_row_was_put_back(place):
    client = place.add_client(name("cl"))
    with place.put_back("api_client", f"client_id = '{client['clientId']}'") as restore:
        place.run("client", "disable", client["clientId"], "--org", "contoso")
        restore("fieldseal_service")
        for command in (("client", "enable", client["clientId"]), ("client", "role", client["clientId"], "Email Administrator"), ("client", "rotate", client["clientId"])):
            assert fails(place, *command), command
        assert place.token(client).status_code == 401 and not client_row(place, client)["honoured"]
    # The control: a client whose row SQL did not change can be enabled.
    other = place.add_client(name("cl"))
    place.run("client", "disable", other["clientId"], "--org", "contoso")
    assert client_row(place, other)["honoured"]
    place.run("client", "enable", other["clientId"], "--org", "contoso")
    assert place.token(other).status_code == 200


@pytest.fixture
def emptied():
    """A deployment in which SQL restored revoked rows and changed the tag of the attested state."""
    place = Place()
    try:
        place.leaky, place.gone = place.add_client("leaky"), place.add_client("gone")
        for person in ("bob", "root"):
            place.add_user(person)
        place.profile = str(uuid.uuid4())
        assert place.server.request("POST", "emailserverprofiles", {
            "emailserverprofileid": place.profile, "name": "p", "servertype": 4, "incomingserverlocation": "old.example", "incomingportnumber": 993,
            "incomingusessl": True, "outgoingserverlocation": "old.example", "outgoingportnumber": 465, "outgoingusessl": True}).status_code == 204
        with (place.put_back("api_client_secret") as secrets, place.put_back("console_user") as people, place.put_back("api_client") as clients):
            place.leaky_now = json.loads(place.run("client", "rotate", "leaky", "--overlap", "0", "--org", "contoso", "--json").stdout)
            place.run("client", "remove", "gone", "--org", "contoso")
            place.run("user", "reset", "bob", "--org", "contoso", stdin=f"{NEW}\n")
            place.run("user", "role", "bob", "Basic User", "--org", "contoso")
            place.run("user", "require-second-factor", "--role", "Basic User", "--org", "contoso")
            place.run("key", "control", "--sign-in", "5m", "--org", "contoso")
            for restore in (clients, secrets, people):
                restore("fieldseal_service")
        place.sql_as("fieldseal_service", "DELETE FROM config.key_control")
        place.sql_as("fieldseal_service", "UPDATE config.attested_state SET tag = set_byte(tag, 0, get_byte(tag, 0) # 1)")
        yield place
    finally:
        place.remove()


def test_attaching_without_a_list_honours_no_row(emptied):
    place = emptied
    asked = place.run("org", "attach", "contoso", check=False, stdin="no\n").stderr
    assert "former secrets, passwords, roles and servers can't be told" in asked and "could not be compared" in asked
    assert "client leaky (System Administrator)" in asked and "person bob (System Administrator)" in asked and "secret of client leaky (made on" in asked
    place.run("org", "attach", "contoso", "--yes")
    for client in (place.leaky, place.gone, {**place.leaky, "clientSecret": place.leaky_now["clientSecret"]}):
        assert place.token(client).status_code == 401
    assert not place.visit("bob").is_in and not place.visit("bob", NEW).is_in
    details = place.sql("SELECT details FROM security_event WHERE kind = 'organization attached' ORDER BY security_event_id DESC LIMIT 1")[0][0]
    assert "rows that grant access by their tags alone: none" in details
    # The strictest rules for the key apply until an administrator sets others.
    assert "key-control-changed" in place.doctor()
    assert any(place.profile in text for text in [place.doctor().get("mail-settings-not-authorized", "")])
    # After that, an administrator enables only the clients and people that they know.
    place.run("client", "enable", "leaky", "--org", "contoso")
    assert place.token(place.leaky).status_code == 401, "a former secret is none"
    again = json.loads(place.run("client", "rotate", "leaky", "--org", "contoso", "--json").stdout)
    assert place.token({**place.leaky, "clientSecret": again["clientSecret"]}).status_code == 200
    assert "Role: System Administrator." in place.run("user", "reset", "bob", "--org", "contoso", stdin=f"{PASSWORD} 2\n").stdout


def test_tags_are_trusted_on_request_and_all_is_listed(emptied):
    place = emptied
    said = place.run("org", "attach", "contoso", "--yes", "--trust-tags").stdout
    power = said.split("Rows that grant access: ")[1]
    for words in ("client leaky (System Administrator)", "person bob (System Administrator)", "secret of client leaky (made on"):
        assert words in power
    assert place.token(place.leaky).status_code == 200
    details = place.sql("SELECT details FROM security_event WHERE kind = 'organization attached' ORDER BY security_event_id DESC LIMIT 1")[0][0]
    assert "person bob (System Administrator)" in details
    assert "key-control-changed" in place.doctor()


@pytest.mark.parametrize("was_disabled", [False, True])
def test_the_console_signs_no_row_that_was_put_back(place, was_disabled):
    """Forms of the console name rows by id. So the commands' check of names, which finds such rows, does not happen here."""
    def attack(kind, restore=None):
        label, admin = name(kind), place.visit("root")
        if kind == "user":
            place.add_user(label)
            table, key, id = "console_user", "user_id", place.sql("SELECT user_id::text FROM config.console_user WHERE name = %s", [label])[0][0]
            forms = [("role-user", {"role": "Email Administrator"}), ("reset-user", {"name": label, "password": NEW}), ("enable-user", {})]
        else:
            id = place.add_client(label)["clientId"]
            table, key = "api_client", "client_id"
            forms = [("role-client", {"role": "Email Administrator"}), ("rotate-client", {}), ("enable-client", {})]
        columns = f"to_jsonb(t), (SELECT count(*) FROM config.api_client_secret AS s WHERE s.client_id = '{id}')"

        def row():
            return place.sql(f"SELECT {columns} FROM config.{table} AS t WHERE {key} = %s", [id])

        with place.put_back(table, f"{key} = '{id}'") as former:
            place.run(kind, "role", label, "Basic User", "--org", "contoso")
            if was_disabled:
                place.run(kind, "disable", label, "--org", "contoso")
            if restore:
                former(restore)
            before = row()
            for action, form in forms:
                # The control runs without a restored row. It enables a disabled row before each action.
                for page, more in ([("enable-" + kind, {})] if was_disabled and not restore else []) + [(action, form)]:
                    if page.startswith("role-"):
                        [(former_role,)] = place.sql(f"SELECT role FROM config.{table} WHERE {key} = %s", [id])
                        more = more | {"confirmed": subject(page, id, former_role, more["role"])}
                    answer = admin.page(f"access/{page}", csrf=admin.csrf(), id=id, **more)
                    if restore:
                        assert 400 <= answer.status_code < 500 and row() == before, (page, answer.status_code, answer.text[-1_000:])
            return before != row()

    for kind in ("user", "client"):
        assert not attack(kind, "fieldseal_service")
        assert attack(kind)
