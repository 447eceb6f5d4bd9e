"""A person who gets more rights: their sessions and their link end, and so does a password that it is not on record that they chose."""

import re
import uuid

import pytest
from test_people_and_secrets import Person, run, server
from html_forms import form

__all__ = ["run", "server"]
GIVEN, OWN = "words of an administrator", "words of the person's own"


@pytest.fixture
def name(run):
    """A person in the role Basic User, whose password an administrator typed."""
    name = f"p{uuid.uuid4().hex[:8]}"
    run("user", "add", name, "--role", "Basic User", stdin=f"{GIVEN}\n")
    yield name
    run("user", "remove", name)


@pytest.fixture(scope="module", autouse=True)
def admin(server):
    server.cluster.run("user", "add", "chief", "--role", "System Administrator", stdin=f"{OWN}\n")
    return Person(server, "chief", OWN)


def ids(server, name):
    return server.cluster.sql("SELECT user_id::text, systemuser_id::text FROM config.console_user WHERE name = %s", [name])[0]


def is_inside(person):
    return person.get("overview").url.endswith("/overview")


def details(server, name):
    return [d for (d,) in server.cluster.sql("SELECT details FROM security_event WHERE kind = 'user changed' AND details LIKE %s ORDER BY security_event_id", [f"{name}:%"])]


@pytest.mark.parametrize("role", ["System Administrator", "Email Administrator"])
def test_a_password_that_an_administrator_set_gives_no_new_rights(server, run, name, role):
    stranger = Person(server, name, GIVEN)
    assert is_inside(stranger)
    raised = run("user", "role", name, role)
    assert f"{name} is {role} now" in raised.stdout and "The password ended" in raised.stdout and GIVEN not in raised.stdout
    assert not is_inside(stranger) and not Person(server, name, GIVEN).is_signed_in
    assert details(server, name)[-1] == f"{name}: sessions and password ended"
    # A person with an initial password has to choose another one. No page opens before that.
    run("user", "reset", name, stdin=f"{GIVEN} again\n")
    person = Person(server, name, f"{GIVEN} again")
    assert not is_inside(person)
    person.change_password(f"{GIVEN} again", OWN)
    assert is_inside(Person(server, name, OWN))


def test_a_password_that_the_person_chose_stays(server, run, name):
    person = Person(server, name, GIVEN)
    person.change_password(GIVEN, OWN)
    assert is_inside(person)
    raised = run("user", "role", name, "Email Administrator", "--json").stdout
    assert '"passwordEnded":false' in raised.replace(" ", "") and not is_inside(person)
    assert details(server, name)[-1] == f"{name}: sessions ended"
    person = Person(server, name, OWN)
    assert is_inside(person)
    # It stays on record when the key-encryption key is replaced and when the organization is attested again.
    run("org", "attach", "contoso", "--yes")
    assert '"passwordEnded":false' in run("user", "role", name, "System Administrator", "--json").stdout.replace(" ", "")
    assert is_inside(Person(server, name, OWN))
    assert "attested-rows-missing" not in run("doctor", "--json", check=False).stdout


def test_fewer_rights_end_nothing(server, run, name):
    Person(server, name, GIVEN).change_password(GIVEN, OWN)
    run("user", "role", name, "System Administrator")
    person = Person(server, name, OWN)
    before = details(server, name)
    run("user", "role", name, "Email Administrator")
    assert is_inside(person) and len(details(server, name)) == len(before) + 1


def test_a_password_that_was_reset_is_no_longer_the_person_s(server, run, name):
    Person(server, name, GIVEN).change_password(GIVEN, OWN)
    run("user", "reset", name, stdin=f"{GIVEN} again\n")
    assert "The password ended" in run("user", "role", name, "Email Administrator").stdout
    assert not Person(server, name, f"{GIVEN} again").is_signed_in


@pytest.mark.parametrize("way", ["user", "team", "member"])
def test_roles_of_records_end_them_too(server, run, name, way):
    roles = {r["name"]: r["roleid"] for r in server.request("GET", "roles?$select=name").json()["value"]}
    role, (_, user) = f"roles({roles['System Administrator']})", ids(server, name)
    person = Person(server, name, GIVEN)

    def link(record, relationship, other):
        assert server.request("POST", f"{record}/{relationship}/$ref", {"@odata.id": other}).status_code == 204

    team = server.request("POST", "teams", {"name": f"t{uuid.uuid4().hex[:8]}"}).headers["OData-EntityId"].split("/")[-1]
    if way == "user":
        link(f"systemusers({user})", "systemuserroles_association", role)
    elif way == "team":
        link(team, "teammembership_association", f"systemusers({user})")
        assert is_inside(person), "the team has no role yet"
        link(team, "teamroles_association", role)
    else:
        link(team, "teamroles_association", role)
        assert is_inside(person)
        link(team, "teammembership_association", f"systemusers({user})")
    assert not is_inside(person) and not Person(server, name, GIVEN).is_signed_in
    assert details(server, name)[-1] == f"{name}: sessions and password ended"
    # Roles that the person has already end nothing.
    run("user", "reset", name, stdin=f"{GIVEN} again\n")
    person = Person(server, name, f"{GIVEN} again")
    person.change_password(f"{GIVEN} again", OWN)
    link(f"systemusers({user})", "systemuserroles_association", f"roles({roles['Basic User']})")
    assert is_inside(person)
    if way == "user":
        assert server.request("DELETE", f"systemusers({user})/systemuserroles_association({roles['System Administrator']})/$ref").status_code == 204
    assert server.request("DELETE", team).status_code == 204


def test_the_console_says_what_ends_and_then_makes_the_link(server, run, name, admin):
    id, _ = ids(server, name)
    person = Person(server, name, GIVEN)
    asked = admin.post("access/role-user", id=id, role="Email Administrator")
    assert f"All open sessions of {name} end." in asked.text and "it is not on record that" in asked.text and is_inside(person)
    done = admin.post("access/role-user", **form(asked.text, "/access/role-user").fields)
    assert f"All sessions and the password of {name} ended." in done.text and not is_inside(person)
    token = re.search(r"invitation\?token=([\w-]+)", admin.post("access/invite-user", id=id).text)[1]
    page = person.get(f"invitation?token={token}").text
    person.session.post(f"{person.pages}/invitation", {**form(page, "/invitation").fields, "token": token, "password": OWN, "again": OWN})
    assert is_inside(Person(server, name, OWN))
    # Now it is on record that the person chose the password.
    asked = admin.post("access/role-user", id=id, role="System Administrator")
    assert f"The password stays, because {name} chose it." in asked.text
    asked = admin.post("access/role-user", id=id, role="Basic User")
    assert "All open sessions of" in asked.text
