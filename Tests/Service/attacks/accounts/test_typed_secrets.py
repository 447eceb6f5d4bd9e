"""What the console does with a secret that was typed into a form that can't be saved. Passwords with special characters, and texts with U+0000."""

import html
import json
import re
import urllib.parse
from xml.sax.saxutils import escape

import pytest
import requests
import soap
from one_time import one_time_password

NUL = "\0"


class Browser:
    """A person's browser without JavaScript."""

    def __init__(self, service, person=None):
        self.service = service
        self.session = requests.Session()
        self.session.trust_env, self.session.verify = False, service.dev["caFile"]
        self.session.headers.update({"Origin": service.base, "Accept": "text/html"})
        self.root = f"{service.base}/{service.dev['organization']}"
        person = person or service.dev["console"]
        self.post("sign-in", {"name": person["username"], "password": person["password"]})

    def get(self, path):
        return self.session.get(f"{self.root}/{path}", timeout=60)

    def post(self, path, fields, csrf=None):
        body = urllib.parse.urlencode({**fields, **({"csrf": csrf} if csrf else {})})
        return self.session.post(
            f"{self.root}/{path}", body, headers={"Content-Type": "application/x-www-form-urlencoded"}, timeout=120)

    def form(self, page, marker):
        """The fields of the form whose action ends with `marker`, as a browser would send them."""
        for form in re.findall(r"<form.*?</form>", page.text, re.S):
            if f'{marker}"' in form.split(">")[0]:
                fields = {}
                for tag in re.findall(r"<input[^>]*>", form):
                    names = re.search(r'name="([^"]*)"', tag)
                    if not names or 'type="checkbox"' in tag and " checked" not in tag:
                        continue
                    value = re.search(r'value="([^"]*)"', tag)
                    fields[html.unescape(names.group(1))] = html.unescape(value.group(1)) if value else ""
                for name, options in re.findall(r'<select[^>]*name="([^"]*)"[^>]*>(.*?)</select>', form, re.S):
                    chosen = re.search(r'value="([^"]*)" selected', options) or re.search(r'value="([^"]*)"', options)
                    fields[name] = html.unescape(chosen.group(1)) if chosen else ""
                for name, text in re.findall(r'<textarea[^>]*name="([^"]*)"[^>]*>(.*?)</textarea>', form, re.S):
                    fields[name] = html.unescape(text)
                return fields
        raise AssertionError(f"no form {marker}: {page.text[:2000]}")


@pytest.fixture
def browser(service):
    return Browser(service)


def password(service, name):
    [(id,)] = service.sql("SELECT mailboxid::text FROM org_contoso.mailbox WHERE name = %s", [name])
    cell = service.opened_cells().get(f"mailbox({id}).password")
    return cell and cell[1]


def test_a_password_survives_a_wrong_value_elsewhere(service, browser):
    fields = browser.form(browser.get("records/mailboxes/new"), "records/mailboxes/new")
    fields.update(name="newcomer", password="s3cret-of-newcomer", itemsfailedforlastsync="abc")
    refused = browser.post("records/mailboxes/new", fields)
    assert refused.status_code == 400 and "s3cret-of-newcomer" not in refused.text and "is kept until you save" in refused.text
    again = browser.form(refused, "records/mailboxes/new")
    assert again["password"] == "" and again["password!kept"]
    # After a second refusal, the secret is still kept.
    refused = browser.post("records/mailboxes/new", {**again, "itemsfailedforlastsync": "-1"})
    assert refused.status_code == 400
    saved = browser.post("records/mailboxes/new", {**browser.form(refused, "records/mailboxes/new"), "itemsfailedforlastsync": "1"})
    assert "Saved." in saved.text and password(service, "newcomer") == "s3cret-of-newcomer"


def test_a_password_survives_a_conflict_and_what_is_typed_later_counts(service, browser):
    id = service.create("mailboxes", {"name": "contested", "password": "old"})
    path = f"records/mailboxes/{id}"
    fields = browser.form(browser.get(path), path)
    assert service.request("PATCH", f"mailboxes({id})", {"emailaddress": "a@contoso.test"}).status_code == 204
    conflict = browser.post(path, {**fields, "password": "typed-in-conflict"})
    assert conflict.status_code == 409 and "typed-in-conflict" not in conflict.text
    kept = browser.form(conflict, path)
    assert "Saved." in browser.post(path, kept).text and password(service, "contested") == "typed-in-conflict"
    # The form is sent again with another password, and that password is stored.
    assert service.request("PATCH", f"mailboxes({id})", {"emailaddress": "b@contoso.test"}).status_code == 204
    conflict = browser.post(path, {**kept, "password": ""})
    assert conflict.status_code == 409
    saved = browser.post(path, {**browser.form(conflict, path), "password": "typed-last"})
    assert "Saved." in saved.text and password(service, "contested") == "typed-last"


def test_a_kept_password_is_of_one_session_record_and_attribute(service, browser):
    one, other = (service.create("mailboxes", {"name": f"kept secret {n}"}) for n in range(2))
    path = f"records/mailboxes/{one}"
    refused = browser.post(path, {**browser.form(browser.get(path), path), "password": "of-one", "itemsfailedforlastsync": "x"})
    kept = browser.form(refused, path)["password!kept"]
    elsewhere = f"records/mailboxes/{other}"
    stranger = Browser(service)
    for visitor, where in ((browser, elsewhere), (stranger, path), (browser, "records/mailboxes/new")):
        fields = visitor.form(visitor.get(where), where)
        fields["name"] = fields["name"] or "new one"
        answer = visitor.post(where, {**fields, "password!kept": kept})
        assert answer.status_code == 400 and "Type it again" in answer.text and "Saved." not in answer.text
    for broken in ("x", kept[:-2] + "AA", kept[4:]):
        answer = browser.post(path, {**browser.form(browser.get(path), path), "password!kept": broken})
        assert answer.status_code == 400 and "Type it again" in answer.text
    assert password(service, "kept secret 0") is None and password(service, "kept secret 1") is None
    # The kept value is accepted in the form to which it belongs.
    assert "Saved." in browser.post(path, {**browser.form(browser.get(path), path), "password!kept": kept}).text
    assert password(service, "kept secret 0") == "of-one"


def test_clear_is_kept_after_an_error_and_refused_with_a_new_password(service, browser):
    id = service.create("mailboxes", {"name": "cleared", "password": "old"})
    path = f"records/mailboxes/{id}"
    fields = browser.form(browser.get(path), path)
    both = browser.post(path, {**fields, "password": "new", "password!clear": "1"})
    assert both.status_code == 400 and "not both" in both.text and password(service, "cleared") == "old"
    refused = browser.post(path, {**fields, "password!clear": "1", "itemsfailedforlastsync": "x"})
    again = browser.form(refused, path)
    assert again["password!clear"] == "1"
    asked = browser.post(path, {**again, "itemsfailedforlastsync": "0"})
    assert "Delete what is stored" in asked.text and password(service, "cleared") == "old", "the question alone deletes nothing"
    assert "Saved." in browser.post(path, {**browser.form(asked, path), "confirmed": "clear: password"}).text
    assert password(service, "cleared") is None


def test_a_password_that_is_refused_itself_is_asked_for_again(service, browser):
    fields = browser.form(browser.get("records/mailboxes/new"), "records/mailboxes/new")
    refused = browser.post("records/mailboxes/new", {**fields, "name": "too long", "password": "x" * 5_000})
    assert refused.status_code == 400 and "password" in refused.text
    assert service.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'too long'") == [(0,)]


def test_a_form_that_can_not_be_read_whole_is_not_saved(service, browser):
    fields = browser.form(browser.get("records/mailboxes/new"), "records/mailboxes/new")
    whole = urllib.parse.urlencode({**fields, "name": "cut"})
    for body in (whole + "&password=%ff", whole + "&password=%zz", whole + "".join(f"&x{n}=1" for n in range(600)) + "&password=lost"):
        answer = browser.session.post(
            f"{browser.root}/records/mailboxes/new", body, headers={"Content-Type": "application/x-www-form-urlencoded"}, timeout=60)
        assert answer.status_code == 400 and "Nothing was saved" in html.unescape(answer.text), answer.text
    answer = browser.post("records/mailboxes/new", {**fields, "name": "cut", "password": f"a{NUL}b"})
    assert answer.status_code == 400 and "Password can't hold the character U+0000" in html.unescape(answer.text)
    assert service.sql("SELECT count(*) FROM org_contoso.mailbox WHERE name = 'cut'") == [(0,)]


def test_a_key_that_was_typed_is_never_replaced_by_a_generated_one(service, browser):
    path = "settings/data-encryption"
    before = service.key()
    fields = browser.form(browser.get(f"{path}/change"), f"{path}/change")
    assert "typed" not in fields
    for first in ({"key": "weak", "do": "change"}, {"key": "Typed-key-12345-67890", "do": "rehearse"}):
        page = browser.post(f"{path}/change", {**fields, **first})
        assert "Typed-key" not in page.text and "Type it again" in page.text
        again = browser.form(page, f"{path}/change")
        assert again["typed"] == "1" and again["key"] == ""
        refused = browser.post(f"{path}/change", {**again, "do": "change"})
        assert refused.status_code == 400 and "Type it again" in refused.text and service.key() == before
    changed = browser.post(f"{path}/change", {**again, "key": "Typed-key-12345-67890", "do": "change"})
    assert "The key was changed" in changed.text and service.key() == "Typed-key-12345-67890"
    generated = browser.post(f"{path}/change", {**browser.form(browser.get(f"{path}/change"), f"{path}/change"), "do": "change"})
    assert "The key was changed" in generated.text and service.key() != "Typed-key-12345-67890"


def test_an_empty_activation_counts_as_no_attempt(service, browser):
    path = "settings/data-encryption"
    csrf = browser.form(browser.get(f"{path}/change"), f"{path}/change")["csrf"]
    before = service.sql("SELECT count(*) FROM config.failed_sign_in")
    assert browser.post(f"{path}/activate", {"key": ""}, csrf).status_code == 400
    assert service.sql("SELECT count(*) FROM config.failed_sign_in") == before


def test_a_password_of_a_person_is_asked_for_again(service, browser):
    csrf = browser.form(browser.get("access/people/new"), "access/add-user")["csrf"]
    answer = browser.post("access/add-user", {"name": "ada", "password": "short", "role": "Basic User"}, csrf)
    assert answer.status_code == 400 and "type it again" in answer.text and "short" not in re.sub(r"too short|shorter|shortcuts", "", answer.text)
    assert service.sql("SELECT count(*) FROM config.console_user WHERE name = 'ada'") == [(0,)]


def test_one_time_passwords_are_turned_off_with_a_code_only(service):
    service.run("user", "add", "grace", "--role", "Basic User", stdin="Password-of-grace-1\n")
    browser = Browser(service, {"username": "grace", "password": "Password-of-grace-1"})
    csrf = browser.form(browser.get("account"), "account/offer")["csrf"]
    offered = browser.post("account/offer", {}, csrf).text
    secret, sealed = (re.search(p, offered).group(1) for p in (r"secret=([A-Z2-7]+)", r'name="sealed" value="([^"]+)"'))
    on = browser.post("account/confirm", {"sealed": sealed, "code": one_time_password(secret, -1)}, csrf).text
    code = re.search(r"<li><code>([A-Z2-7-]{19})</code>", on).group(1)

    def is_on():
        return service.sql("SELECT totp IS NOT NULL FROM config.console_user WHERE name = 'grace'") == [(True,)]

    assert is_on()
    for wrong in ({}, {"code": ""}, {"code": "000000"}, {"code": "AAAA-AAAA-AAAA-AAAA"}, {"code": f"0{NUL}"}):
        answer = browser.post("account/end", wrong, csrf)
        assert answer.status_code == 400 and is_on(), (wrong, answer.text)
    assert browser.post("account/end", {"code": code}, csrf).status_code == 200 and not is_on()


# Passwords with characters that a language or a form treats specially


#: Each has characters that JSON, SQL, OData, XML, HTML or URLs treat specially.
SPECIAL = [
    "it's", "''two''quotes'", 'say "this" and ""that""', "back\\slash \\\\ \\n \\u0041 \\'", "100% %41 %27 %zz a+b", "&amp;lt; &lt;b&gt; &#65; <b>&</b> ]]>",
    "'; DROP TABLE mailbox; --", "$1 ${x} {{x}} %s {0}", " spaces around ", "\u00fc \U0001f511 \u0301",
]


def in_change_set(service, id, secret):
    body = (
        "--b\r\nContent-Type: multipart/mixed;boundary=c\r\n\r\n--c\r\nContent-Type: application/http\r\nContent-Transfer-Encoding: binary\r\nContent-ID: 1\r\n\r\n"
        f"PATCH {service.api}/mailboxes({id}) HTTP/1.1\r\nContent-Type: application/json\r\n\r\n{json.dumps({'password': secret})}\r\n--c--\r\n--b--\r\n")
    answer = service.request("POST", "$batch", body.encode(), Content_Type="multipart/mixed;boundary=b")
    assert answer.status_code == 200 and " 204 " in answer.text, answer.text


def in_console(service, id, secret):
    browser = Browser(service)
    path = f"records/mailboxes/{id}"
    saved = browser.post(path, {**browser.form(browser.get(path), path), "password": secret})
    assert "Saved." in saved.text, saved.text


def in_new_form(service, name, secret):
    browser, path = Browser(service), "records/mailboxes/new"
    saved = browser.post(path, {**browser.form(browser.get(path), path), "name": name, "password": secret})
    assert "Saved." in saved.text, saved.text
    return service.get(f"mailboxes?$filter=name eq '{name}'").json()["value"][0]["mailboxid"]


def succeeds(response):
    assert response.status_code in (200, 201, 204), response.text


def updated_by_soap(service, id, text):
    content = soap.entity("mailbox", soap.parameter("password", "string", text), id=id)
    assert soap.call(service, soap.operation("Update", f"<entity>{content}</entity>")).tag.endswith("UpdateResponse")


def created_by_soap(service, name, text):
    fields = soap.parameter("name", "string", name) + soap.parameter("password", "string", text)
    return soap.call(service, soap.operation("Create", f"<entity>{soap.entity('mailbox', fields)}</entity>"))[0].text


#: Each creates a mailbox with this name and password, and returns its id.
CREATIONS = {
    "POST": lambda service, name, secret: service.create("mailboxes", {"name": name, "password": secret}),
    "CreateMultiple": lambda service, name, secret: service.request(
        "POST", "mailboxes/Microsoft.Dynamics.CRM.CreateMultiple",
        {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "name": name, "password": secret}]}).json()["Ids"][0],
    "SOAP": lambda service, name, secret: created_by_soap(service, name, escape(secret)),
    "console": in_new_form,
}
#: Each sets the password of a mailbox.
UPDATES = {
    "PATCH": lambda service, id, secret: succeeds(service.request("PATCH", f"mailboxes({id})", {"password": secret})),
    "PUT": lambda service, id, secret: succeeds(service.request("PUT", f"mailboxes({id})/password", {"value": secret})),
    "UpdateMultiple": lambda service, id, secret: succeeds(service.request(
        "POST", "mailboxes/Microsoft.Dynamics.CRM.UpdateMultiple",
        {"Targets": [{"@odata.type": "Microsoft.Dynamics.CRM.mailbox", "mailboxid": id, "password": secret}]})),
    "change set": in_change_set,
    "SOAP": lambda service, id, secret: updated_by_soap(service, id, escape(secret)),
    "SOAP, as CDATA": lambda service, id, secret: updated_by_soap(service, id, f"<![CDATA[{secret.replace(']]>', ']]]]><![CDATA[>')}]]>"),
    "console": in_console,
}


def test_a_password_is_stored_exactly_as_it_was_set(service):
    expected = {}
    for number, secret in enumerate(SPECIAL):
        for way, create in CREATIONS.items():
            expected[f"mailbox({create(service, f'exact {number} {way}', secret)}).password"] = (way, secret)
        for way, update in UPDATES.items():
            id = service.create("mailboxes", {"name": "exact", "password": "before"})
            update(service, id, secret)
            expected[f"mailbox({id}).password"] = (way, secret)
        # The key in the address has each quote twice. The password in the body is not affected.
        key = urllib.parse.quote(f"exact {number} {secret}".replace("'", "''"), safe="")
        succeeds(service.request("PATCH", f"emailserverprofiles(name='{key}')", {"incomingpassword": secret}))
        [profile] = [p for p in service.get("emailserverprofiles?$select=name&$filter=startswith(name,'exact ')").json()["value"] if p["name"] == f"exact {number} {secret}"]
        expected[f"emailserverprofile({profile['emailserverprofileid']}).incomingpassword"] = ("PATCH by key", secret)
    cells = service.opened_cells()
    assert {address: (way, cells[address][1]) for address, (way, _) in expected.items()} == expected


# U+0000 in other texts


ENCRYPTED = [
    ("mailboxes", "password", {"name": "nul"}), ("emailserverprofiles", "incomingpassword", {"name": "nul"}),
    ("emailserverprofiles", "outgoingpassword", {"name": "nul"}), ("mailboxes", "name", {}), ("mailboxes", "emailaddress", {"name": "nul"}),
]


@pytest.mark.parametrize("entity_set, attribute, rest", ENCRYPTED, ids=[f"{s}.{a}" for s, a, _ in ENCRYPTED])
def test_no_attribute_takes_the_character(service, entity_set, attribute, rest):
    for text in (NUL, f"a{NUL}", f"{NUL}b", f"a{NUL}b"):
        response = service.request("POST", entity_set, {**rest, attribute: text})
        assert response.status_code == 400 and response.json()["error"]["code"] == "0x80040203", response.text
        assert attribute in response.json()["error"]["message"] and "U+0000" in response.text
    id = service.create(entity_set, {**rest, "name": "fine", attribute: "fine"})
    for method, path, body in (
        ("PATCH", f"{entity_set}({id})", {attribute: f"a{NUL}b"}),
        ("PUT", f"{entity_set}({id})/{attribute}", {"value": f"a{NUL}b"}),
        ("POST", f"{entity_set}/Microsoft.Dynamics.CRM.CreateMultiple", {"Targets": [{**rest, attribute: f"a{NUL}b"}]}),
    ):
        response = service.request(method, path, body)
        assert response.status_code == 400 and "U+0000" in response.text and attribute in response.text, response.text


def test_no_query_and_no_key_takes_the_character(service):
    service.create("mailboxes", {"name": "a'b"})
    fetch = '<fetch><entity name="mailbox"><filter><condition attribute="name" operator="{}" value="a&#0;b"/></filter></entity></fetch>'
    for url in (
        "mailboxes?$filter=name eq 'a%00b'", "mailboxes?$filter=contains(name,'a%00b')", "mailboxes?$filter=startswith(name,'%00')",
        "mailboxes?sql=SELECT name FROM mailbox WHERE name = 'a%00b'", "mailboxes?sql=SELECT name FROM mailbox WHERE name LIKE 'a%00%25'",
        "mailboxes?fetchXml=" + urllib.parse.quote(fetch.format("eq")), "mailboxes?fetchXml=" + urllib.parse.quote(fetch.format("like")),
    ):
        response = service.get(url)
        assert response.status_code == 400, (url, response.text)
    # A record's key and an organization key with U+0000 are refused too.
    assert service.get("mailboxes(name='a%00b')").status_code in (400, 404)
    response = service.set_key(f"Typed-key{NUL}12345-67890")
    assert response.status_code == 400 and "control character" in response.text, response.text


def test_a_text_with_the_character_that_reaches_the_database_is_a_refusal(service):
    """Names and parameters that belong to no attribute are refused if they contain U+0000."""
    browser = Browser(service)
    csrf = browser.form(browser.get("access/clients/new"), "access/add-client")["csrf"]
    answer = browser.post("access/add-client", {"name": f"a{NUL}b", "role": "Basic User"}, csrf)
    assert answer.status_code == 400 and "U+0000" in answer.text
    response = service.token_response(f"a{NUL}b", "x")
    assert response.status_code in (400, 401), response.text
