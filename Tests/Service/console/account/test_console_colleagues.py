"""Colleagues who leave and never had a sign-in: an administrator hands their records over, and no caller can act as them afterwards."""

import csv
import io
import re

from html_forms import answer_of, forms
from test_console_access import Visitor, fields_of_question, password, person, text


def colleague(console, name):
    """Makes a user without a sign-in, who owns a queue and two e-mails. Returns the ids of the user and the queue."""
    user = console.create("systemusers", {"fullname": name, "domainname": f"CONTOSO\\{name}", "internalemailaddress": f"{name.split()[0].lower()}@contoso.example"})
    queue = console.create("queues", {"name": f"Queue of {name}", "ownerid@odata.bind": f"/systemusers({user})"})
    for number in range(2):
        email = console.create("emails", {"subject": f"of {name} {number}"})
        assert console.request("PATCH", f"emails({email})", {"ownerid@odata.bind": f"/systemusers({user})"}).status_code == 204
    return user, queue


def owner(console, queue):
    return console.sql("SELECT ownerid::text FROM org_contoso.queue WHERE queueid = %s", [queue])[0][0]


def handed_over(admin, user, to):
    """Hands over the records of a user without a sign-in. Returns the text of the question, and the page after its confirmation."""
    asked = admin.send("access/user-without-sign-in", user=user, to=to, **{"do": "hand-over"})
    return text(asked), admin.send("access/user-without-sign-in", user=user, to=to, **{"do": "hand-over", "confirmed": answer_of(asked.text)})


def test_a_user_without_a_sign_in_is_disabled_after_a_question(console):
    user, queue = colleague(console, "Anna Leaves")
    admin, path = Visitor(console), f"records/usersettingscollection/{user}"
    page = admin.get(path)
    assert "Anna Leaves has no sign-in here" in text(page) and "1 queue." in text(page) and "2 e-mails are theirs. They stay" in text(page)
    asked = admin.send("access/user-without-sign-in", user=user, **{"do": "disable"})
    assert "Disable Anna Leaves?" in text(asked) and "1 queue." in text(asked) and "you can enable the user again" in text(asked)
    assert console.sql("SELECT isdisabled FROM org_contoso.systemuser WHERE systemuserid = %s", [user])[0][0] is not True
    done = admin.send("access/user-without-sign-in", user=user, **{"do": "disable", "confirmed": answer_of(asked.text)})
    assert "The user is disabled." in text(done) and "the user is disabled" in text(done)
    assert console.get(f"systemusers({user})?$select=isdisabled").json()["isdisabled"] is True
    assert console.sql("SELECT count(*) FROM org_contoso.security_event WHERE kind = 'systemuser disabled' AND details LIKE %s", [f"%{user}%"]) == [(1,)]
    assert "Anna Leaves" not in admin.get("access/people/new").text
    assert "The user is enabled." in text(admin.send("access/user-without-sign-in", user=user, **{"do": "enable"}))
    assert console.get(f"systemusers({user})?$select=isdisabled").json()["isdisabled"] is False
    # An Email Administrator can't disable the user. For a user with a sign-in, this form does not exist.
    person(console, "colleague-mail", "Email Administrator")
    other = Visitor(console, "colleague-mail", password("colleague-mail"))
    assert other.send("access/user-without-sign-in", user=user, **{"do": "disable"}).status_code == 403 and "/access/user-without-sign-in" not in other.get(path).text
    own = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'colleague-mail'")[0][0]
    assert "/access/user-without-sign-in" not in admin.get(f"records/usersettingscollection/{own}").text
    assert admin.send("access/user-without-sign-in", user=own, **{"do": "disable"}).status_code == 404
    assert owner(console, queue) == user


def test_records_are_handed_over_to_people_to_other_users_and_to_teams(console):
    user, queue = colleague(console, "Ben Leaves")
    heir, _ = colleague(console, "Cleo Stays")
    team = console.create("teams", {"name": "Back office"})
    id = person(console, "colleague-dora")
    dora = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'colleague-dora'")[0][0]
    admin = Visitor(console)
    page = admin.get(f"records/usersettingscollection/{user}").text
    offered = dict(re.findall(r'<option value="([^"]*)">([^<]*)', re.search(r'(?s)<select name="to".*?</select>', page)[0]))
    assert offered[id] == "colleague-dora" and offered[f"team:{team}"] == "Team: Back office" and f"user:{user}" not in offered
    assert offered[f"user:{heir}"] == "Cleo Stays · cleo@contoso.example (no sign-in)"
    holder = user
    for to, name, new in ((f"user:{heir}", "Cleo Stays", heir), (f"team:{team}", "Back office", team)):
        said, done = handed_over(admin, holder, to)
        assert f"to {name}?" in said and "2 e-mails are theirs" in said and "was handed over" in text(done) and owner(console, queue) == new, (said, text(done))
        assert console.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/systemusers({user})"}).status_code == 204
    # Handing records over leaves a user's e-mails with the user.
    assert "2 e-mails are theirs" in text(admin.get(f"records/usersettingscollection/{user}"))
    assert admin.send("access/user-without-sign-in", user=user, to="user:" + dora, **{"do": "hand-over"}).status_code in (404, 409)
    # If the user has a sign-in, the page of that person offers the hand-over.
    assert console.request("PATCH", f"queues({queue})", {"ownerid@odata.bind": f"/systemusers({dora})"}).status_code == 204
    asked = admin.send("access/hand-over-user", id=id, to=f"team:{team}")
    assert "1 record was handed over." in text(admin.send("access/hand-over-user", **fields_of_question(asked))) and owner(console, queue) == team


def test_a_hand_over_is_an_entry_on_the_page_of_the_person(console):
    id, heir = person(console, "handed-eve"), person(console, "heir-finn")
    eve = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'handed-eve'")[0][0]
    for number in range(2):
        console.create("queues", {"name": f"of eve {number}", "ownerid@odata.bind": f"/systemusers({eve})"})
    email = console.create("emails", {"subject": "of eve"})
    assert console.request("PATCH", f"emails({email})", {"ownerid@odata.bind": f"/systemusers({eve})"}).status_code == 204
    admin = Visitor(console)
    assert "1 e-mail is theirs. It stays when records are handed over." in text(admin.get(f"access/people/{id}"))
    asked = admin.send("access/hand-over-user", id=id, to=heir)
    done = text(admin.send("access/hand-over-user", **fields_of_question(asked)))
    assert "2 records were handed over." in done and "1 e-mail is theirs." in done
    assert "handed-eve: 2 records handed over to heir-finn" in done
    german = Visitor(console)
    german.session.headers["Accept-Language"] = "de"
    assert "handed-eve: 2 Datensätze an heir-finn übergeben" in text(german.get(f"access/people/{id}"))
    assert console.sql("SELECT details, actor FROM org_contoso.security_event WHERE details LIKE 'handed-eve: %%'") == [("handed-eve: 2 records handed over to heir-finn", "user:admin")]


def test_a_disabled_user_is_not_offered_and_gets_nothing(console):
    user, queue = colleague(console, "Doro Disabled")
    other, admin = console.create("queues", {"name": "Not of Doro"}), Visitor(console)
    assert admin.get("lookup/systemuser?q=Doro").json()["names"] == ["Doro Disabled"] and "Doro Disabled" in admin.get(f"records/queues/{other}").text
    assert console.request("PATCH", f"systemusers({user})", {"isdisabled": True}).status_code == 204
    assert admin.get("lookup/systemuser?q=Doro&also=team").json()["names"] == [] and "Doro Disabled" not in admin.get(f"records/queues/{other}").text

    def saved(id, **typed):
        fields = next(form for form in forms(admin.get(f"records/queues/{id}").text) if form.action.endswith(f"/queues/{id}")).fields
        return admin.send(f"records/queues/{id}", **fields | typed)
    refused = saved(other, ownerid="Doro Disabled")
    assert refused.status_code == 403 and "The user Doro Disabled is disabled, so no records can be assigned to it." in text(refused) and owner(console, other) != user
    admin.session.headers["Accept-Language"] = "de"
    german = saved(other, ownerid="Doro Disabled")
    admin.session.headers["Accept-Language"] = "en"
    assert "Doro Disabled ist deaktiviert und bekommt keine Datensätze." in text(german)
    # Saving a form keeps the present owner, even if that owner is disabled.
    assert "Saved." in text(saved(queue, description="kept")) and owner(console, queue) == user
    # If two users have the same name, the name in the form means the enabled user.
    second, _ = colleague(console, "Doro Disabled 2")
    assert console.request("PATCH", f"systemusers({second})", {"fullname": "Doro Disabled"}).status_code == 204
    assert "Saved." in text(saved(other, ownerid="Doro Disabled")) and owner(console, other) == second


def test_a_team_for_a_queue_of_a_disabled_user_has_no_member(console):
    user, queue = colleague(console, "Emil Disabled")
    assert console.request("PATCH", f"systemusers({user})", {"isdisabled": True}).status_code == 204
    admin = Visitor(console)
    made = admin.send("access/team", **{"set": "queues", "record": queue, "do": "make", "name": "Team of Emil"})
    assert "The team was created" in text(made) and "The team has no members." in text(made) and owner(console, queue) != user
    added = admin.send("access/team", **{"set": "queues", "record": queue, "do": "add", "member": "Emil Disabled"})
    assert added.status_code == 403 and "The user Emil Disabled is disabled and can't become a member of a team." in text(added)


def test_events_name_the_users_they_are_about(console):
    user, _ = colleague(console, "Trailed Tom")
    team = console.create("teams", {"name": "Trailed team"})
    members = {"Members": [{"@odata.type": "Microsoft.Dynamics.CRM.systemuser", "systemuserid": user}]}
    assert console.request("POST", f"teams({team})/Microsoft.Dynamics.CRM.AddMembersTeam", members).status_code == 204
    [(role,)] = console.sql("SELECT roleid::text FROM org_contoso.role WHERE name = 'Basic User'")
    assert console.request("POST", f"systemusers({user})/systemuserroles_association/$ref", {"@odata.id": f"{console.api}/roles({role})"}).status_code == 204
    for value in (True, False):
        assert console.request("PATCH", f"systemusers({user})", {"isdisabled": value}).status_code == 204
    admin = Visitor(console)
    found = admin.get("events?record=Trailed+Tom")
    for said in ("CRM user disabled User Trailed Tom", "CRM user enabled User Trailed Tom", "Role given User Trailed Tom Basic User", "Team member added Team Trailed team User Trailed Tom"):
        assert said in text(found), (said, text(found))
    assert f'href="/contoso/records/usersettingscollection/{user}"' in found.text and "Team member added" in text(admin.get("events?record=Trailed+team"))
    rows = {row["kind"]: row for row in csv.DictReader(io.StringIO(admin.get("events.csv?record=Trailed+Tom").content.decode("utf-8-sig")))}
    assert (rows["systemuser disabled"]["recordid"], rows["systemuser disabled"]["recordname"]) == (user, "Trailed Tom")
    assert (rows["team member added"]["recordname"], rows["team member added"]["detailsname"]) == ("Trailed team", "Trailed Tom")
    assert (rows["role given"]["recordname"], rows["role given"]["detailsname"]) == ("Trailed Tom", "Basic User")


def test_access_says_where_colleagues_without_a_sign_in_are(console):
    user, _ = colleague(console, "Uwe Unsigned")
    admin = Visitor(console)
    assert "Colleagues without a sign-in" in text(admin.get("access?q=Uwe")) and "Colleagues without a sign-in" not in text(admin.get("access?q=admin"))
    assert 'href="/contoso/records/usersettingscollection"' in admin.get("access?q=Uwe").text.split("<main")[1]
    # The list of users can be searched by name, and marks disabled users.
    assert re.search(r"Uwe Unsigned</a>(?! <span)", admin.get("records/usersettingscollection?q=uwe").text)
    assert console.request("PATCH", f"systemusers({user})", {"isdisabled": True}).status_code == 204
    assert re.search(r'Uwe Unsigned</a> <span class="badge">disabled</span>', admin.get("records/usersettingscollection?q=uwe").text)
