"""Giving a sign-in to an existing user, links that are still shown after a reload, and the events on the page of a person."""

import html
import re

import pytest
import test_console_pages
from console_browser import chromium, press, sign_in
from html_forms import form as form_of
from html_forms import subject
from selenium.webdriver.common.by import By
from test_console_access import Visitor, details, password, person, text

console = test_console_pages.console
TYPED = "a password that nobody guesses"


@pytest.fixture
def user(console):
    """A function that makes a user without a sign-in, and returns the user's id."""
    def make(name, **values):
        return console.create("systemusers", {"fullname": name, "domainname": f"CONTOSO\\{name}", **values})
    return make


def rows(console, name):
    return console.sql("SELECT user_id::text, systemuser_id::text, role FROM config.console_user WHERE name = %s", [name])


def choices(page):
    return [html.unescape(choice) for choice in re.findall(r"<option[^>]*>([^<]*)</option>", re.search(r'(?s)<select name="existing".*?</select>', page)[0])]


def add(visitor, **typed):
    return visitor.send("access/add-user", **{"role": "Basic User", "how": "password", "password": TYPED, **typed})


def test_a_user_who_is_here_gets_a_sign_in(console, user):
    id, admin = user("Given Carol", internalemailaddress="given-carol@contoso.test"), Visitor(console)
    page = admin.get(f"records/usersettingscollection/{id}").text
    link = re.search(r'href="/contoso/(access/people/new\?user=[^"]+)">Give a sign-in', page)[1]
    assert link.endswith(id)
    offered = admin.get(link).text
    assert 'value="Given Carol"' in offered and "Given Carol · given-carol@contoso.test" in choices(offered) and f'value="{id}" selected' in offered
    answer = admin.send("access/add-user", name="carol", role="Basic User", how="invite", existing=id)
    [(given, systemuser, role)] = rows(console, "carol")
    assert (systemuser, role) == (id, "Basic User") and "/invitation?token=" in answer.text
    assert details(console, "user added")[0] == "carol, Basic User: existing user"
    assert "carol, Basic User, for a user who was here already" in text(admin.get(f"access/people/{given}"))
    # No second user was made. The page of the user and the page of the person link to each other, and the person can be disabled.
    assert console.sql("SELECT count(*) FROM org_contoso.systemuser WHERE fullname IN ('carol', 'Given Carol')") == [(1,)]
    assert f'href="/contoso/access/people/{given}">Sign-in' in admin.get(f"records/usersettingscollection/{id}").text
    assert f"/contoso/records/usersettingscollection/{id}" in admin.get(f"access/people/{given}").text
    assert "Given Carol · given-carol@contoso.test" not in choices(admin.get("access/people/new").text)
    assert "was disabled" in text(admin.send("access/disable-user", id=given))


def test_the_name_of_a_user_is_asked_about(console, user):
    id, admin = user("Asked Bob"), Visitor(console)
    asked = add(admin, name="asked bob")
    assert asked.status_code == 409 and "There is a user named asked bob already" in text(asked) and "type it again" in text(asked)
    assert rows(console, "asked bob") == [] and f'value="{id}" selected' in asked.text
    assert "Another user who is also named asked bob" in choices(asked.text)
    assert add(admin, name="asked bob", existing="another:asked bob").status_code == 200
    assert rows(console, "asked bob")[0][1] != id
    # If the form has no name, the person gets the user's name.
    assert add(admin, name="", existing=id).status_code == 412, "there is a person of that name now"
    other = user("Unnamed Eve")
    assert add(admin, name="", existing=other).status_code == 200 and rows(console, "Unnamed Eve")[0][1] == other


def test_a_user_who_can_not_be_given_is_refused(console, user):
    admin, gone = Visitor(console), user("Disabled Ed")
    assert console.request("PATCH", f"systemusers({gone})", {"isdisabled": True}).status_code == 204
    person(console, "taken")
    taken = rows(console, "taken")[0][1]
    client = console.sql("SELECT systemuser_id::text FROM config.api_client LIMIT 1")[0][0]
    for existing in (gone, taken, client):
        answer = add(admin, name="thief", existing=existing)
        assert answer.status_code == 400 and "This user can't be given a sign-in" in text(answer), existing
    assert add(admin, name="thief", existing="00000000-0000-0000-0000-000000000001").status_code == 404
    assert rows(console, "thief") == []
    Visitor(console, "taken", password("taken")).send("access/add-user", name="thief", role="Basic User", how="invite", existing=user("Free Fay"))
    assert rows(console, "thief") == []


def test_the_command_line_gives_a_sign_in_too(console, user):
    id = user("Command Kim")
    console.run("user", "add", "kim", "--role", "Basic User", "--existing", id, stdin=f"{TYPED}\n")
    assert rows(console, "kim")[0][1] == id


def test_a_typed_password_is_never_dropped(console):
    admin = Visitor(console)
    answer = add(admin, name="both-ways", how="invite")
    assert answer.status_code == 400 and "You typed a password, but chose the link." in text(answer) and rows(console, "both-ways") == []
    driver = chromium()
    try:
        sign_in(driver, console, then="access/people/new")
        way = lambda: driver.find_element(By.CSS_SELECTOR, "[name=how]:checked").get_attribute("value")  # noqa: E731
        field = driver.find_element(By.ID, "first-password")
        field.send_keys("short")
        assert way() == "password"
        driver.find_element(By.CSS_SELECTOR, "[name=how][value=invite]").click()
        assert way() == "invite" and field.get_attribute("value") == ""
        driver.find_element(By.NAME, "name").send_keys("by-link")
        press(driver, By.CSS_SELECTOR, "form[action$=add-user] button.primary")
        assert "/invitation?token=" in driver.find_element(By.CSS_SELECTOR, ".secret").text and rows(console, "by-link")
        # Returning from another app can make a phone reload the page. The link must still be shown.
        link = driver.find_element(By.CSS_SELECTOR, ".secret").text
        driver.refresh()
        assert driver.find_element(By.CSS_SELECTOR, ".secret").text == link and "There is a person named" not in driver.page_source
    finally:
        driver.quit()


def test_a_link_is_shown_in_its_session_until_it_is_used(console):
    admin = Visitor(console)
    answer = admin.send("access/add-user", name="linked", role="Basic User", how="invite")
    address, link = answer.url.split("/contoso/")[1], re.search(r"/invitation\?token=([\w-]+)", answer.text)[1]
    assert link not in address and link in admin.get(address).text
    assert link not in Visitor(console).get(address).text, "another session"
    id = rows(console, "linked")[0][0]
    assert link not in admin.get(f"access/people/{id}").text
    form = form_of(admin.get(f"invitation?token={link}").text, "/contoso/invitation")
    assert admin.session.post(f"{admin.pages}/invitation", {**form.fields, "password": TYPED, "again": TYPED}).status_code == 200
    assert link not in admin.get(address).text
    made = admin.send("access/add-client", name="reloaded client", role="Basic User")
    secret = re.search(r'class="secret">([^<]+)<', made.text)[1]
    again = admin.get(made.url.split("/contoso/")[1])
    assert again.status_code == 200 and secret in again.text and secret not in made.url
    assert len(console.sql("SELECT 1 FROM config.api_client WHERE name = 'reloaded client'")) == 1


def test_people_who_never_signed_in_are_invited(console):
    admin = Visitor(console)
    admin.send("access/add-user", name="waiting-wil", role="Basic User", how="invite")
    id = rows(console, "waiting-wil")[0][0]
    said = lambda page: re.search(r"(?s)<tr><td[^>]*><a [^>]*>waiting-wil<.*?</tr>", page.text)[0]  # noqa: E731
    row = said(admin.get("access"))
    assert ">invited<" in row and "Valid until" in row and ">active<" not in row
    assert ">invited<" in admin.get(f"access/people/{id}").text
    person(console, "active-al")
    page = f"access/people/{rows(console, 'active-al')[0][0]}"
    assert ">not signed in yet<" in admin.get(page).text
    Visitor(console, "active-al", password("active-al"))
    assert ">active<" in admin.get(page).text


def test_the_page_of_a_person_has_what_was_done_to_them(console):
    id, admin = person(console, "done-to"), Visitor(console)
    person(console, "done-to-other")
    admin.send("access/invite-user", id=id), admin.send("access/disable-user", id=id), admin.send("access/enable-user", id=id)
    admin.send("access/role-user", id=id, role="Email Administrator", confirmed=subject("role-user", id, "Basic User", "Email Administrator"))
    said = text(admin.get(f"access/people/{id}"))
    for event in ("Person added", "Person disabled", "invited to choose a password", "enabled", "Basic User → Email Administrator"):
        assert event in said, (event, said)
    assert "admin" in said and "done-to-other" not in said


def test_a_search_for_access_without_a_hit_says_so(console):
    page = text(Visitor(console).get("access?q=nobody-of-that-name"))
    assert page.count("Nothing matches these filters.") == 2 and "Two-step sign-in" not in page.split("People")[-1]


def test_clients_have_one_name_in_lookups(console):
    admin = Visitor(console)
    names = admin.get("lookup/systemuser?q=dev-").json()["names"]
    assert "dev-router (client)" in names and not [name for name in names if name.startswith("#")]
    queue = console.create("queues", {"name": "owned by a client"})
    fields = form_of(admin.get(f"records/queues/{queue}").text, f"/contoso/records/queues/{queue}").fields
    admin.send(f"records/queues/{queue}", **{**fields, "ownerid": "dev-router (client)"})
    assert console.sql("SELECT u.fullname FROM org_contoso.queue AS q JOIN org_contoso.systemuser AS u ON u.systemuserid = q.ownerid WHERE queueid = %s", [queue]) == [("# dev-router",)]
