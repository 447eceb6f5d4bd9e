"""Forms of records: whom a mailbox belongs to, the fields that a person sets, their help, owners, and mail providers."""

import html
import json
import os
import pathlib
import re
import signal

import pytest
from html_forms import form
from test_console_access import Visitor, password, person, text

ROOT = pathlib.Path(__file__).parents[4]
MESSAGES = {path.stem: json.loads(path.read_text()) for path in (ROOT / "Sources/CConsole/Messages").glob("*.json")}
#: Attributes that decide which server gets a password.
SERVERS = {
    "useautodiscover", "usedefaulttenantid", "incomingusessl", "incominguseimpersonation", "outgoingusessl", "outgoinguseimpersonation",
    "outgoingautograntdelegateaccess", "usesamesettingsforoutgoingconnections"}


@pytest.fixture(scope="module", autouse=True)
def no_router(console):
    """Stops the router, because the servers of these providers are real and on the Internet."""
    router = console.router_pid()
    os.kill(router, signal.SIGSTOP)
    yield
    os.kill(router, signal.SIGCONT)


# Whom a mailbox belongs to


def belongs(page):
    return re.search(r"<dt>Belongs to</dt><dd>(.*?)</dd>", page)[1]


def test_a_mailbox_says_whom_it_belongs_to_and_leads_there(console):
    admin = Visitor(console)
    queue = console.create("queues", {"name": "Belonging <desk>", "emailaddress": "desk@contoso.example"})
    box = console.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    page = admin.get(f"records/mailboxes/{box}").text
    assert belongs(page) == f'<a href="/contoso/records/queues/{queue}">Queue: Belonging &lt;desk&gt;</a>'
    assert "This is a forward mailbox" not in page
    [(user,)] = console.sql("SELECT systemuserid::text FROM org_contoso.systemuser WHERE fullname = 'admin'")
    console.sql("UPDATE org_contoso.mailbox SET regardingobjectid = %s, regardingobjecttypecode = 'systemuser' WHERE mailboxid = %s", [user, box])
    page = admin.get(f"records/mailboxes/{box}").text
    link = re.search(r'href="/contoso/(records/usersettingscollection/[-0-9a-f]+)"', belongs(page))[1]
    assert admin.get(link).status_code == 200 and "admin" in belongs(page)
    # If a mailbox belongs to no queue and no user, its page says so, and says what to do.
    box = console.create("mailboxes", {"name": "belongs to none", "emailaddress": "none@contoso.example"})
    page = admin.get(f"records/mailboxes/{box}").text
    assert belongs(page) == "no queue and no user"
    assert "To send from its address, connect the address" in page and '<a href="/contoso/connect">Connect a mailbox</a>' in page
    # A person who may not connect mailboxes gets no link to the form.
    id = person(console, "belonging-bea")
    [(bea,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE user_id = %s", [id])
    assert console.request("PATCH", f"mailboxes({box})", {"ownerid@odata.bind": f"/systemusers({bea})"}).status_code == 204
    own = Visitor(console, "belonging-bea", "the password of them, aeb-gnignoleb").get(f"records/mailboxes/{box}").text
    assert "This is a forward mailbox" in own and 'href="/contoso/connect"' not in own


def test_a_new_mailbox_belongs_to_a_queue_that_is_made_with_it(console):
    admin = Visitor(console)
    filled = {"name": "Made together", "emailaddress": "together@contoso.example", "password": "of both", "username": "together"}

    def another(**more):
        return {**form(admin.get("records/mailboxes/new").text, "records/mailboxes/new").fields, **filled, **more}

    fields = another()
    assert fields["belongs"] == "queue"
    saved = admin.send("records/mailboxes/new", **fields)
    assert "Saved." in saved.text and "Queue: Made together" in belongs(saved.text)
    box = saved.url.rsplit("/", 1)[1].split("?")[0]
    queue = console.get(f"mailboxes({box})?$select=_regardingobjectid_value,username").json()
    assert queue["username"] == "together"
    queue = console.get(f"queues({queue['_regardingobjectid_value']})?$select=name,emailaddress,_defaultmailbox_value").json()
    assert (queue["name"], queue["emailaddress"], queue["_defaultmailbox_value"]) == ("Made together", "together@contoso.example", box)
    assert console.opened_cells()[f"mailbox({box}).password"][1] == "of both"
    # If the same form is sent again, it makes no second mailbox, and leads to the first. A new form with the same address asks first.
    again = admin.send("records/mailboxes/new", **fields)
    assert f"records/mailboxes/{box}" in again.url
    asked = admin.send("records/mailboxes/new", **another())
    assert box not in asked.url and "confirmed" in asked.text
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name = 'Made together'") == [(1,)]
    # If a value is refused, no queue is made, and the form keeps the choice whom the mailbox belongs to.
    refused = admin.send("records/mailboxes/new", **another(name="Made in vain", emailaddress="vain@contoso.example", password="x" * 5_000))
    assert refused.status_code == 400 and form(refused.text, "records/mailboxes/new").fields["belongs"] == "queue"
    refused = admin.send("records/mailboxes/new", **another(name="Made in vain", emailaddress="vain@contoso.example", belongs="none", password="x" * 5_000))
    assert form(refused.text, "records/mailboxes/new").fields["belongs"] == "none"
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name = 'Made in vain'") == [(0,)]
    # No queue is made if the person chooses that, or if the mailbox has no address.
    for more in ({"belongs": "none", "emailaddress": "alone@contoso.example"}, {"emailaddress": ""}):
        saved = admin.send("records/mailboxes/new", **another(name=f"Alone {more}", **more))
        assert "Saved." in saved.text and belongs(saved.text) == "no queue and no user"
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE name LIKE 'Alone%%'") == [(0,)]


# Fields and their help


#: The attributes of each form that a person sets, read from `RecordLayout`.
LAYOUT = (ROOT / "Sources/Console/Records/RecordLayout.swift").read_text()
FORMS = {"mailbox": "mailboxes", "emailserverprofile": "emailserverprofiles", "queue": "queues", "usersettings": "usersettingscollection"}


def sections(entity):
    """The fields of each section of the form, by the key of the section's title."""
    name = {"emailserverprofile": "profile", "usersettings": "userSettings"}.get(entity, entity)
    part = re.search(rf"(?s)static let {name} = RecordLayout\(\s*sections: \[(.*?)\n        \],", LAYOUT)[1]
    return {title: re.findall(r'"(\w+)"', fields) for title, fields in re.findall(r'(?s)title: "([\w:]+)",\s*fields: \[(.*?)\]', part)}


@pytest.fixture(scope="module")
def records(console):
    """The id of a record for each form."""
    [(user,)] = console.sql("SELECT systemuserid::text FROM org_contoso.systemuser WHERE fullname = 'admin'")
    return {"usersettings": user} | {entity: console.create(FORMS[entity], {"name": f"formed {entity}"}) for entity in ("mailbox", "emailserverprofile", "queue")}


def names_of_fields(part):
    """The names of the fields in a part of a page, each once and in order."""
    found = re.findall(r'<(?:input(?! type="(?:hidden|checkbox)" name="\w+!)|select|textarea)[^>]*\bname="(\w+)"', part)
    return list(dict.fromkeys(found))


@pytest.mark.parametrize("entity", FORMS)
def test_a_form_has_its_sections_and_the_rest_below(console, records, entity):
    page = Visitor(console).get(f"records/{FORMS[entity]}/{records[entity]}").text
    wanted = sections(entity)
    assert len(wanted) >= 2
    above, _, below = page.partition(f"<summary>{MESSAGES['en']['allAttributes']}</summary>")
    cards = re.findall(r'(?s)<section class="card"><h2>([^<]*)</h2>(.*?)</section>', above)
    assert [html.unescape(title) for title, _ in cards] == [MESSAGES["en"][title] for title in wanted]
    for (_, content), fields in zip(cards, wanted.values(), strict=True):
        assert names_of_fields(content) == fields, entity
    raw = names_of_fields(below.partition("</details>")[0])
    assert raw and not set(raw) & {field for fields in wanted.values() for field in fields}


@pytest.mark.parametrize("entity", FORMS)
def test_help_is_at_its_field_and_is_read_with_it(console, records, entity):
    for language, messages in MESSAGES.items():
        visitor = Visitor(console)
        visitor.session.headers["Accept-Language"] = language
        page = visitor.get(f"records/{FORMS[entity]}/{records[entity]}").text
        helped = 0
        for fields in sections(entity).values():
            for field in fields:
                help = messages.get(f"help:{entity}.{field}") or messages.get(f"help:{field}")
                if not help:
                    continue
                helped += 1
                assert f'<p class="hint" id="{field}-help">{help}</p>' in page.replace("&#39;", "'").replace("&quot;", '"'), (language, field)
                [tag] = re.findall(rf'<(?:input|select|textarea) [^>]*id="{field}"[^>]*>', page)
                assert f'aria-describedby="{field}-help"' in tag, tag
        assert helped >= 4, (entity, helped)


def test_no_help_is_for_a_field_that_no_form_has():
    fields = {(entity, field) for entity in FORMS for names in sections(entity).values() for field in names}
    for key in MESSAGES["en"]:
        if key.startswith("help:"):
            entity, _, name = key.removeprefix("help:").rpartition(".")
            assert any(name == field and entity in ("", of) for of, field in fields) or entity in FORMS and any(title == f"section:{name}" for title in sections(entity)), key


# Owners


def test_an_owner_is_a_person_or_a_team_by_name(console, records):
    admin = Visitor(console)
    person(console, "owner-olga", "Email Administrator")
    [(unit,)] = console.sql("SELECT businessunitid::text FROM org_contoso.businessunit LIMIT 1")
    team = console.create("teams", {"name": "Owning team", "businessunitid@odata.bind": f"/businessunits({unit})"})
    [(olga,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'owner-olga'")
    page = admin.get(f"records/queues/{records['queue']}").text
    [field] = re.findall(r'<input id="ownerid"[^>]*>', page)
    offers = re.findall(r'<option value="([^"]*)">', re.search(r'(?s)<datalist id="ownerid-offers">(.*?)</datalist>', page)[1])
    assert {"owner-olga", "Owning team"} <= set(offers)
    lookup = html.unescape(re.search(r'data-lookup="/contoso/([^"]*)"', field)[1])
    for typed, name in (("owner-ol", "owner-olga"), ("wning te", "Owning team")):
        assert name in admin.get(lookup + typed).json()["names"], lookup
    assert admin.get("lookup/systemuser?q=wning").json()["names"] == [] and admin.get("lookup/systemuser?also=role&q=x").status_code == 400
    for name, id in (("Owning team", team), ("owner-olga", olga)):
        fields = form(admin.get(f"records/queues/{records['queue']}").text, f"records/queues/{records['queue']}").fields
        saved = admin.send(f"records/queues/{records['queue']}", **fields | {"ownerid": name})
        assert "Saved." in saved.text and f'value="{name}"' in re.search(r'<input id="ownerid"[^>]*>', saved.text)[0]
        assert console.get(f"queues({records['queue']})?$select=_ownerid_value").json()["_ownerid_value"] == id
    refused = admin.send(f"records/queues/{records['queue']}", **fields | {"ownerid": "no such owner"})
    assert refused.status_code == 400 and "There is nothing named “no such owner”." in html.unescape(refused.text)


# Providers


PROVIDERS = json.loads((ROOT / "Sources/CConsole/providers.json").read_text())


@pytest.mark.parametrize("provider", PROVIDERS, ids=[provider["id"] for provider in PROVIDERS])
def test_a_provider_brings_its_servers(console, provider):
    admin = Visitor(console)
    page = admin.get(f"connect?provider={provider['id']}").text
    fields = form(page, "/connect").fields
    assert fields["provider"] == provider["id"]
    assert f'aria-current="true">{html.escape(provider.get("name") or MESSAGES["en"]["provider:" + provider["id"]])}<' in page
    if provider["id"] == "existing":
        assert "profile" in fields and "incomingserver" not in fields
        return
    wanted = {"incomingserver": "incoming", "incomingport": "incomingPort", "outgoingserver": "outgoing", "outgoingport": "outgoingPort"}
    assert {field: fields[field] for field in wanted} == {field: str(provider.get(key, "")) for field, key in wanted.items()}
    assert re.search(r'<option value="(\w+)" selected', page.partition('id="protocol"')[2].partition("</select>")[0]) is None and provider["protocol"] == "imap"
    # A provider with OAuth needs a refresh token instead of a password, and the page says so.
    assert fields["oauth"] == ("true" if provider.get("oauth") else "")
    assert (MESSAGES["en"]["refreshToken"] in page) == bool(provider.get("oauth"))
    assert ("providerNote:" + provider["id"] in MESSAGES["en"]) == (MESSAGES["en"].get("providerNote:" + provider["id"], "no note at all") in html.unescape(page))
    if "incoming" not in provider:
        return
    address = f"{provider['id']}@providers.example"
    saved = admin.send("connect", **fields | {"name": f"at {provider['id']}", "emailaddress": address, "password": "x"})
    assert "/records/mailboxes/" in saved.url, text(saved)
    columns = "incomingserverlocation, incomingportnumber, outgoingserverlocation, outgoingportnumber, servertype, incomingauthenticationprotocol"
    [stored] = console.sql(f"SELECT {columns} FROM org_contoso.emailserverprofile WHERE name = %s", [f"{provider['name']}, {address}"])
    assert stored == (provider["incoming"], provider["incomingPort"], provider["outgoing"], provider["outgoingPort"], 4, 4 if provider.get("oauth") else 0)
    # The router continues after these tests, and must not connect to the provider's servers.
    assert console.request("DELETE", f"mailboxes({saved.url.rsplit('/', 1)[1].split('?')[0]})").status_code == 204


# Attributes that saving a form changes


@pytest.mark.parametrize(("entity_set", "table", "key"), [
    ("mailboxes", "mailbox", "name"), ("emailserverprofiles", "emailserverprofile", "name"), ("queues", "queue", "name"),
    ("usersettingscollection", "usersettings", "uilanguageid")])
@pytest.mark.parametrize("changes", [True, False], ids=["one field is changed", "no field is changed"])
def test_a_form_writes_only_what_was_changed_in_it(console, entity_set, table, key, changes):
    """While the form is open, the router changes other attributes of the record, without a new version number. Saving the form must keep them."""
    admin = Visitor(console)
    if table == "usersettings":
        [(id,)] = console.sql("SELECT systemuserid::text FROM org_contoso.usersettings LIMIT 1")
    else:
        id = console.create(entity_set, {"name": "open in a form"})
        [(id,)] = console.sql(f"SELECT {table}id::text FROM org_contoso.{table} WHERE {table}id = %s", [id])
    primary = "systemuserid" if table == "usersettings" else f"{table}id"

    def row():
        return console.sql(f"SELECT to_jsonb(r) FROM org_contoso.{table} AS r WHERE {primary} = %s", [id])[0][0]

    fields = form(admin.get(f"records/{entity_set}/{id}").text, f"/{entity_set}/{id}").fields
    loaded = json.loads(fields["loaded"])
    # The attributes that the router is to change: Booleans, and for a mailbox also the values that a router reports.
    others = {name: f"NOT coalesce({name}, false)" for name in loaded if isinstance(row().get(name), bool)}
    if table == "mailbox":
        others |= {"incomingemailstatus": "1", "outgoingemailstatus": "2", "mailboxstatus": "1", "lastsyncerror": "'of the router'", "processedtimes": "77"}
    # Leaves out the servers: if SQL changed them, saving confirms what the form shows. Other tests cover that.
    others = {name: value for name, value in others.items() if name in loaded and name not in SERVERS}
    assert len(others) >= (1 if table == "emailserverprofile" else 2)
    console.sql(
        "SET LOCAL session_replication_role = replica; UPDATE org_contoso." + table + " SET "
        + ", ".join(f"{name} = {value}" for name, value in others.items()) + f" WHERE {primary} = '{id}'")
    written = row()
    typed = {key: "1031" if key == "uilanguageid" else "another name"} if changes else {}
    saved = admin.send(f"records/{entity_set}/{id}", **fields | typed)
    assert saved.status_code == 200 and saved.url.endswith("?done=saved" if changes else "?done=nothingChanged"), text(saved)
    differing = {name for name, value in row().items() if value != written[name]}
    assert differing <= ({"versionnumber", "modifiedon", "modifiedby", "modifiedbyname", *typed} if changes else set()) and set(typed) <= differing


def test_a_saved_password_is_tried_before_the_mailbox_is_said_to_work(console):
    admin = Visitor(console)
    profile = console.create("emailserverprofiles", {"name": "tried servers"})
    box = console.create("mailboxes", {
        "name": "tried", "emailaddress": "tried@contoso.example", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    works = "incomingemailstatus = 1, enabledforincomingemail = true, emailrouteraccessapproval = 1"

    def seen(after):
        """Makes the database say when a router was last seen. No router works, so this decides whether the service believes that one runs."""
        console.sql(
            f"""INSERT INTO org_contoso.mail_router (router, seen_on) VALUES ('of a test', now() + interval '{after}')
                ON CONFLICT (router) DO UPDATE SET seen_on = excluded.seen_on""")

    seen("60 seconds")
    console.sql(f"UPDATE org_contoso.mailbox SET {works} WHERE mailboxid = %s", [box])
    path = f"records/mailboxes/{box}"
    fields = form(admin.get(path).text, f"/mailboxes/{box}").fields

    def status(page):
        return re.search(r'(?s)id="status".*?</section>', page.text)[0]

    assert "This mailbox works" in status(admin.get(path))
    saved = admin.send(path, **fields | {"password": "another password"})
    assert saved.url.endswith("?done=passwordSaved#status-title"), text(saved)
    for page in (saved, admin.get(f"{path}?done=passwordSaved")):
        assert "Saved. The new password is being tried." in text(page) and "The new password is being tried" in status(page)
        assert "data-live" in status(page) and "This mailbox works" not in status(page)
    # Without "?done=passwordSaved", the page shows the last known state.
    assert "This mailbox works" in status(admin.get(path)) and "data-live" not in status(admin.get(path))
    # If the router can't work on the mailbox, the page does not say that the password is being tried.
    for lacking, brought in (
        ("emailrouteraccessapproval = 0", "emailrouteraccessapproval = 1"),
        ("emailserverprofile = NULL", f"emailserverprofile = '{profile}'"),
        ("emailserverprofile = gen_random_uuid()", f"emailserverprofile = '{profile}'"),
    ):
        console.sql(f"UPDATE org_contoso.mailbox SET {lacking} WHERE mailboxid = %s", [box])
        page = admin.get(f"{path}?done=passwordSaved")
        assert "Saved." in text(page) and "being tried" not in text(page) and "Testing" not in status(page), lacking
        console.sql(f"UPDATE org_contoso.mailbox SET {brought} WHERE mailboxid = %s", [box])
    console.sql("DELETE FROM org_contoso.mail_router")
    seen("-1 hour")
    assert "being tried" not in text(admin.get(f"{path}?done=passwordSaved"))
    seen("60 seconds")
    console.sql("UPDATE org_contoso.mailbox SET lastsyncstartedon = now() WHERE mailboxid = %s", [box])
    assert "data-live" in status(admin.get(f"{path}?done=passwordSaved"))
    console.sql(
        "UPDATE org_contoso.mailbox SET incomingemailstatus = 2, lastsyncerroroccurredon = now(), lastsyncerror = 'refused' WHERE mailboxid = %s", [box])
    page = admin.get(f"{path}?done=passwordSaved")
    assert "This mailbox does not work" in status(page) and "data-live" not in status(page) and "being tried" not in text(page)
    # If another field was changed, the page does not wait for a test.
    fields = form(admin.get(path).text, f"/mailboxes/{box}").fields
    assert admin.send(path, **{**fields, "name": "tried again"}).url.endswith("?done=saved")


def test_a_password_of_a_mailbox_that_was_stopped_is_tested(console):
    """After a refused sign-in, the router receives no more, but still sends. It would never try the new password without a test."""
    admin = Visitor(console)
    person(console, "stopped")
    [(user,)] = console.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = 'stopped'")
    profile = console.create("emailserverprofiles", {"name": "stopping servers"})
    box = console.create("mailboxes", {
        "name": "stopped", "emailaddress": "stopped@contoso.example", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})",
        "ownerid@odata.bind": f"/systemusers({user})"})
    error = "mail.contoso.example refuses the user name or the password of stopped. Set the password again."
    path = f"records/mailboxes/{box}"

    def stop():
        console.sql(
            """UPDATE org_contoso.mailbox SET incomingemailstatus = 2, outgoingemailstatus = 1, enabledforincomingemail = false, enabledforoutgoingemail = true,
                      emailrouteraccessapproval = 1, testemailconfigurationscheduled = false, postponemailboxprocessinguntil = now() + interval '1 hour',
                      lastsyncerror = %s, lastsyncerroroccurredon = now() WHERE mailboxid = %s""", [error, box])

    def saved(visitor):
        fields = form(visitor.get(path).text, f"/mailboxes/{box}").fields
        answer = visitor.send(path, **fields | {"password": "another password"})
        [(isTested,)] = console.sql("SELECT testemailconfigurationscheduled FROM org_contoso.mailbox WHERE mailboxid = %s", [box])
        return answer, isTested

    stop()
    console.sql(
        """INSERT INTO org_contoso.tracelog (tracelogid, level, tracecode, text, regardingobjectid, regardingobjecttypecode, createdon, modifiedon)
           VALUES (gen_random_uuid(), 3, 10, %s, %s, 'mailbox', now(), now())""", [f"{error} The mailbox is disabled until it is tested and enabled again.", box])
    shown = text(admin.get(path))
    assert "Set the password again" in shown and "disabled until it is tested" in shown and "Next attempt" not in shown
    answer, isTested = saved(admin)
    assert isTested and "Saved. The new password is being tested." in text(answer) and "The connection is being tested" in text(answer)
    for said in ("Set the password again", "disabled until it is tested", "Next attempt"):
        assert said not in text(answer), said
    # A person who may not test mailboxes is told who may.
    stop()
    answer, isTested = saved(Visitor(console, "stopped", password("stopped")))
    assert not isTested and "an administrator must press “Test & enable” first" in text(answer)
    # If receiving is still enabled, the next turn tries the new password, so no test is needed.
    stop()
    console.sql("UPDATE org_contoso.mailbox SET enabledforincomingemail = true WHERE mailboxid = %s", [box])
    assert not saved(admin)[1]


def test_a_new_form_shows_the_choices_that_are_stored(console):
    """If the server fills in a default value, the form of a new record shows that value and has no empty choice."""
    admin = Visitor(console)
    for entity_set in ("queues", "mailboxes", "emailserverprofiles"):
        page = admin.get(f"records/{entity_set}/new").text
        shown = form(page, f"/{entity_set}/new").fields
        shown.pop("belongs", None)
        made = admin.send(f"records/{entity_set}/new", **{**shown, "name": "made with what is shown"})
        assert "Saved." in made.text, text(made)
        stored = console.get(f"{entity_set}({made.url.split('/')[-1].split('?')[0]})").json()
        selects = re.findall(r'<select id="([^"]+)"', page)
        assert len(selects) >= 3
        for name in selects:
            value = stored.get(name)
            assert shown[name] == ("" if value is None else str(value).lower()), (entity_set, name)


def test_an_error_that_names_its_field_names_it_once(console):
    profile, admin = console.create("emailserverprofiles", {"name": "named once"}), Visitor(console)
    path = f"records/emailserverprofiles/{profile}"
    told = admin.send(path, **{**form(admin.get(path).text, f"/{profile}").fields, "incomingserverlocation": "imap://in.contoso.example"})
    assert told.status_code == 400
    [line] = re.findall(r'(?s)<section class="problem".*?<li>(.*?)</li>', told.text)
    assert re.fullmatch(r'<a href="#incomingserverlocation">Server for incoming mail</a> takes the name or the address of a host.*', html.unescape(line)), line


# Server profiles


def test_a_new_server_profile_has_its_usual_options_and_needs_a_type(console):
    admin, path = Visitor(console), "records/emailserverprofiles/new"
    page = admin.get(path).text
    new = form(page, path)
    usual = {"servertype": "4"} | {f"{side}{name}": "0" for side in ("incoming", "outgoing") for name in ("authenticationprotocol", "credentialretrieval")}
    assert usual.items() <= new.fields.items(), new.fields
    assert '<option value=""' not in re.search(r'(?s)<select id="servertype".*?</select>', page)[0]
    refused = admin.send(path, **new.fields | {"name": "without a type", "servertype": ""})
    assert refused.status_code == 400 and re.search(r"Server type ?: Fill in this field\.", text(refused)), text(refused)
    assert console.sql("SELECT 1 FROM org_contoso.emailserverprofile WHERE name = 'without a type'") == []
    assert admin.send(path, **new.fields | {"name": "with a type"}).status_code == 200
    assert console.sql("SELECT servertype, incomingcredentialretrieval FROM org_contoso.emailserverprofile WHERE name = 'with a type'") == [(4, 0)]
    [(typed,)] = console.sql("SELECT emailserverprofileid::text FROM org_contoso.emailserverprofile WHERE name = 'with a type'")
    emptied = form(admin.get(f"records/emailserverprofiles/{typed}").text, f"/{typed}").fields | {"servertype": ""}
    assert admin.send(f"records/emailserverprofiles/{typed}", **emptied).status_code == 400
    # The Web API accepts a profile without a type. Its page can be saved unchanged, and marks the type as needed.
    bare = console.create("emailserverprofiles", {"name": "bare", "incomingserverlocation": "imap.bare.test"})
    page = admin.get(f"records/emailserverprofiles/{bare}")
    assert '<label for="servertype" class="needed">' in page.text
    assert admin.send(f"records/emailserverprofiles/{bare}", **form(page.text, f"/{bare}").fields | {"description": "as it was"}).status_code == 200
    assert console.sql("SELECT servertype, description FROM org_contoso.emailserverprofile WHERE name = 'bare'") == [(None, "as it was")]


def test_a_failure_with_a_profile_without_a_type_says_so_in_each_language(console):
    error = "imap.bare.test:995 can't be reached for the mailbox bare@contoso.example, or does not answer. The router tries again."
    box = console.create("mailboxes", {"name": "typeless"})
    [(alert,)] = console.sql(
        """INSERT INTO org_contoso.tracelog (tracelogid, level, tracecode, text, regardingobjectid, regardingobjecttypecode, createdon, modifiedon)
           VALUES (gen_random_uuid(), 2, 12, %s, %s, 'mailbox', now(), now()) RETURNING tracelogid::text""",
        [f"{error} The server profile names no server type, so POP3 is used. The mailbox is disabled until it is tested and enabled again.", box])
    for language, said in (("en", "so POP3 is used"), ("de", "darum wird POP3 verwendet. Das Postfach bleibt deaktiviert"), ("fr", "POP3 est donc utilisé. La boîte reste")):
        visitor = Visitor(console)
        visitor.session.headers["Accept-Language"] = language
        page = text(visitor.get(f"records/tracelogs/{alert}"))
        assert said in page and (language == "en" or "can't be reached" not in page), page
