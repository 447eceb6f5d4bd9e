"""Several pages: the names of deleted records, roles in one language, passwords, lists that are sorted by name, and recovery codes."""

import re

from html_forms import form, forms
from one_time import one_time_password
from test_console_access import Visitor, password, person, text


def test_a_deleted_record_has_the_name_that_it_had(console):
    admin = Visitor(console)
    id = console.create("mailboxes", {"name": "shown once", "password": "a secret of theirs"})
    assert console.request("DELETE", f"mailboxes({id})").status_code == 204
    said = text(admin.get(f"events?record={id}"))
    assert "Mailbox shown once (deleted)" in said and f"Mailbox {id}" not in said
    # If the audit of a record was deleted, the page has no name for it, but still says that the record is deleted.
    lost = console.create("mailboxes", {"name": "shown never", "password": "a secret of theirs"})
    assert console.request("DELETE", f"mailboxes({lost})").status_code == 204
    console.sql(f"SET session_replication_role = replica; DELETE FROM org_contoso.audit WHERE objectid = '{lost}'")
    assert f"Mailbox (deleted) {lost[:8]}…" in text(admin.get(f"events?record={lost}"))
    assert "shown once" in text(admin.get(f"events?record={id}"))


def test_roles_of_a_sign_in_rule_are_in_one_language(console):
    try:
        console.run("user", "require-second-factor", "--role", "Email Administrator", "--role", "Basic User", "--org", "contoso")
        admin = Visitor(console)
        admin.session.headers["Accept-Language"] = "de"
        page = admin.get("events?kind=one-time+passwords+required")
        summary = re.search(r'(?s)<summary class="line">.*?</summary>', page.text)[0]
        assert "<br>E-Mail-Administrator, Einfacher Benutzer</span>" in summary.replace("\u00ad", ""), summary
    finally:
        console.run("user", "require-second-factor", "--org", "contoso")


def test_passwords_are_first_in_the_line_of_a_change(console):
    admin = Visitor(console)
    id = console.create("mailboxes", {"name": "first things"})
    changes = {"name": "first things first", "username": "u", "emailaddress": "first@contoso.example", "undeliverablefolder": "f",
               "processanddeleteemails": True, "outgoingemaildeliverymethod": 2, "password": "a secret of theirs"}
    assert console.request("PATCH", f"mailboxes({id})", changes).status_code == 204
    summary = re.search(r'(?s)<span class="what">[^<]*</span><br>(.*?)</span>', admin.get(f"audit?id={id}").text)[1]
    assert summary.startswith("Password: ") and summary.endswith("…"), summary


def test_lists_are_sorted_by_the_names_that_they_show(console):
    admin = Visitor(console)
    for name in ("zz sorted", "Aa sorted", "mm sorted"):
        person(console, name)
    for path, header, wanted in (("records/usersettingscollection?q=sorted", "systemuserid", 0),):
        for sign in ("", "-"):
            page = admin.get(f"{path}&sort={sign}{header}")
            names = re.findall(r'<td class="first[^"]*"[^>]*><a [^>]*>(.*?)</a>', page.text)
            names = [re.sub(r"<[^>]*>", "", name) for name in names]
            assert names == sorted(names, key=str.lower, reverse=bool(sign)) and len(names) == 3, names
    # A column with a lookup is sorted by the name of the record that it refers to.
    profiles = [console.create("emailserverprofiles", {"name": f"{letter} sorted"}) for letter in "cab"]
    for number, profile in enumerate(profiles):
        console.create("mailboxes", {"name": f"sorted box {number}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    for sign, wanted in (("", ["1", "2", "0"]), ("-", ["0", "2", "1"])):
        page = admin.get(f"records/mailboxes?q=sorted+box&sort={sign}emailserverprofile")
        assert re.findall(r'value="sorted box (\d)"', page.text) == wanted
        assert "aria-sort" in page.text
    export = admin.get("records/usersettingscollection/export.csv?q=sorted&sort=systemuserid")
    assert export.status_code == 200 and export.text.index("Aa sorted") < export.text.index("mm sorted") < export.text.index("zz sorted")


def test_a_refused_password_marks_its_field(console):
    admin = Visitor(console)
    page = admin.get("access/people/new")
    fields = {**form(page.text, "/access/add-user").fields, "name": "marked", "how": "password", "role": "Basic User", "password": "short"}
    refused = admin.send("access/add-user", **fields)
    assert refused.status_code == 400
    [field] = re.findall(r'<input id="first-password"[^>]*>', refused.text)
    assert 'aria-invalid="true"' in field and 'aria-describedby="password-error password-hint"' in field
    [error] = re.findall(r'<p class="error" id="password-error">(.*?)</p>', refused.text)
    assert "at least 10 characters" in error and "type it again" in error and '<a href="#first-password">' in refused.text
    # If the mistake is in another field, the field of the password is not marked.
    admin.send("access/add-user", **{**fields, "how": "invite", "password": ""})
    again = admin.send("access/add-user", **{**fields, "existing": "another:marked", "password": "long enough for them"})
    assert again.status_code != 200 and "aria-invalid" not in re.findall(r'<input id="first-password"[^>]*>', again.text)[0]


def test_a_link_comes_with_the_name_to_sign_in_with(console):
    admin = Visitor(console)
    page = admin.get("access/people/new")
    fields = {**form(page.text, "/access/add-user").fields, "name": "told name", "how": "invite", "role": "Basic User"}
    shown = text(admin.send("access/add-user", **fields))
    assert "The person signs in with this user name, so tell it to them too: told name" in shown


def test_cancel_keeps_the_chosen_heir(console):
    id, heir = person(console, "leaving-now"), person(console, "heir-now")
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE user_id = %s", [id])
    console.create("queues", {"name": "left behind", "ownerid@odata.bind": f"/systemusers({user})"})
    admin = Visitor(console)
    asked = admin.send("access/hand-over-user", id=id, to=heir)
    [back] = re.findall(r'<a class="button" href="(/contoso/access/people/[^"]+)"', asked.text)
    page = admin.session.get(f"{console.base}{back}")
    assert page.status_code == 200 and f'<option value="{heir}" selected>heir-now' in page.text and 'id="hand-over"' in page.text


def test_only_the_codes_are_printed(console):
    person(console, "printing")
    visitor = Visitor(console, "printing", password("printing"))
    page = visitor.get("account")
    csrf = re.search(r'name="csrf" value="(\w+)"', page.text)[1]
    offered = visitor.session.post(f"{console.pages}/account/offer", {"csrf": csrf})
    secret = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered.text)[1]
    [confirm] = [found for found in forms(offered.text) if found.action.endswith("/account/confirm")]
    page = visitor.session.post(f"{console.pages}/account/confirm", {**confirm.fields, "csrf": csrf, "code": one_time_password(secret)})
    main = page.text.split("<main", 1)[1]
    [paper] = re.findall(r'(?s)<div class="paper">.*?</div>', main)
    assert "contoso" in paper and "printing" in paper and "<time " in paper and "Recovery codes" in paper
    sections = re.findall(r'<section class="([^"]*)"', main)
    assert len([kinds for kinds in sections if "noprint" not in kinds.split()]) == 1, "only the section with the codes"
    style = visitor.session.get(f"{console.base}/assets/console.css").text
    assert re.search(r"\.paper \{ display: none; \}", style) and ".paper { display: block; }" in style.split("@media print", 1)[1]
