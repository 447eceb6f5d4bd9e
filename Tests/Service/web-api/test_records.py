"""Records over the Web API are created, read, updated, upserted, deleted and listed. Also, the errors for wrong input."""

import re
import uuid

import pytest

from service import refused

ENCRYPTED = [
    ("emailserverprofiles", "emailserverprofile", "incomingpassword", "isincomingpasswordset", 250),
    ("emailserverprofiles", "emailserverprofile", "outgoingpassword", "isoutgoingpasswordset", 250),
    ("mailboxes", "mailbox", "password", "ispasswordset", 200),
    ("queues", "queue", "emailpassword", None, 200),
]


def test_a_mailbox_is_created_read_changed_and_deleted(service):
    id = service.create("mailboxes", {"name": "Tour", "emailaddress": "tour@contoso.test", "password": "s3cret"})
    response = service.get(f"mailboxes({id})")
    assert response.status_code == 200
    record = response.json()
    assert response.headers["ETag"] == record["@odata.etag"]
    assert record["mailboxid"] == id and record["name"] == "Tour"
    assert record["password"] is None and record["ispasswordset"] is True
    assert record["statecode"] == 0 and record["statuscode"] == 1
    assert record["_ownerid_value"] == record["_owninguser_value"] == service.get("WhoAmI").json()["UserId"]
    assert record["@odata.context"].endswith("/contoso/api/data/v9.2/$metadata#mailboxes/$entity")

    assert service.request("PATCH", f"mailboxes({id})", {"name": "Changed"}, If_Match="*").status_code == 204
    changed = service.get(f"mailboxes({id})?$select=name,versionnumber").json()
    assert set(changed) == {"@odata.context", "@odata.etag", "name", "versionnumber", "mailboxid"}
    assert changed["name"] == "Changed" and changed["versionnumber"] > record["versionnumber"]

    assert service.request("DELETE", f"mailboxes({id})").status_code == 204
    refused(service.get(f"mailboxes({id})"), 404, "0x80040217")
    assert service.sql("SELECT count(*) FROM org_contoso.mailbox_cell WHERE mailboxid = %s", [id]) == [(0,)]


@pytest.mark.parametrize("entity_set, entity, attribute, flag, limit", ENCRYPTED)
def test_an_encrypted_attribute_is_set_changed_and_cleared_and_read_as_null(service, entity_set, entity, attribute, flag, limit):
    def value(id):
        record = service.get(f"{entity_set}({id})").json()
        assert record[attribute] is None
        if flag:
            assert record[flag] is (cell(id) is not None)
        return record

    def cell(id):
        return service.opened_cells().get(f"{entity}({id}).{attribute}", (None, None))[1]

    id = service.create(entity_set, {"name": "e", attribute: "first Ünïcode "})
    assert cell(id) == "first Ünïcode "
    before = value(id)
    headers = {"Prefer": "return=representation"}
    response = service.request("PATCH", f"{entity_set}({id})", {attribute: "second"}, **headers)
    assert response.status_code == 200 and response.json()[attribute] is None
    after = value(id)
    assert cell(id) == "second"
    assert after["versionnumber"] > before["versionnumber"] and after["@odata.etag"] != before["@odata.etag"]
    for nothing in (None, ""):
        assert service.request("PATCH", f"{entity_set}({id})", {attribute: "again"}).status_code == 204
        assert cell(id) == "again"
        assert service.request("PATCH", f"{entity_set}({id})", {attribute: nothing}).status_code == 204
        value(id)
        assert cell(id) is None
    created = service.request("POST", entity_set, {"name": "e", attribute: "x"}, **headers)
    assert created.status_code == 201 and created.json()[attribute] is None
    assert service.get(f"{entity_set}({id})?$select={attribute}").json()[attribute] is None
    service.create(entity_set, {"name": "longest", attribute: "é" * limit})
    message = refused(service.request("POST", entity_set, {attribute: "canary" + "é" * limit}), 400, "0x80044331")
    assert attribute in message and "canary" not in message


def test_the_two_passwords_of_a_profile_are_independent(service):
    id = service.create("emailserverprofiles", {"name": "p", "incomingpassword": "in", "outgoingpassword": "out"})
    assert service.request("PATCH", f"emailserverprofiles({id})", {"incomingpassword": None}).status_code == 204
    record = service.get(f"emailserverprofiles({id})").json()
    assert record["isincomingpasswordset"] is False and record["isoutgoingpasswordset"] is True
    cells = service.opened_cells()
    assert f"emailserverprofile({id}).incomingpassword" not in cells
    assert cells[f"emailserverprofile({id}).outgoingpassword"][1] == "out"
    body = {"incomingpassword": "new", "outgoingpassword": None}
    assert service.request("PATCH", f"emailserverprofiles({id})", body).status_code == 204
    cells = service.opened_cells()
    assert cells[f"emailserverprofile({id}).incomingpassword"][1] == "new"
    assert f"emailserverprofile({id}).outgoingpassword" not in cells


def test_a_user_has_settings_from_the_start_and_a_password_in_them(service):
    id = service.create("systemusers", {"fullname": "Dora", "domainname": "CONTOSO\\dora"})
    settings = service.get(f"usersettingscollection({id})").json()
    assert settings["emailpassword"] is None and settings["systemuserid"] == id
    assert service.request("PATCH", f"usersettingscollection({id})", {"emailpassword": "s3cret"}).status_code == 204
    assert service.opened_cells()[f"usersettings({id}).emailpassword"][1] == "s3cret"
    assert service.sql("SELECT isemailpasswordset FROM org_contoso.usersettings WHERE systemuserid = %s", [id]) == [(True,)]
    refused(service.request("POST", "usersettingscollection", {}), 405, "0x80040219")


def test_every_attribute_that_may_be_read_is_in_a_record(service):
    for entity_set, count in {"emailserverprofiles": 84, "mailboxes": 106, "queues": 60, "usersettingscollection": 107}.items():
        record = service.get(f"{entity_set}?$top=1").json()["value"][0]
        names = [name for name in record if not name.startswith("@")]
        assert len(names) == count, entity_set


def test_upsert_creates_under_the_id_and_conditions_are_kept(service):
    id = str(uuid.uuid4())
    refused(service.request("PATCH", f"mailboxes({id})", {"name": "x"}, If_Match="*"), 404, "0x80040217")
    assert service.request("PATCH", f"mailboxes({id})", {"name": "x", "password": "p"}).status_code == 204
    refused(service.request("PATCH", f"mailboxes({id})", {"name": "y"}, If_None_Match="*"), 412, "0x80040237")
    etag = service.get(f"mailboxes({id})").headers["ETag"]
    assert service.request("PATCH", f"mailboxes({id})", {"name": "y", "password": "q"}, If_Match=etag).status_code == 204
    refused(service.request("PATCH", f"mailboxes({id})", {"name": "z", "password": "r"}, If_Match=etag), 412, "0x80060882")
    assert service.opened_cells()[f"mailbox({id}).password"][1] == "q"
    refused(service.request("DELETE", f"mailboxes({id})", If_Match=etag), 412, "0x80060882")
    refused(service.request("PATCH", f"mailboxes({id})", {"name": "z"}, If_Match="nonsense"), 400, "0x8005F100")
    current = service.get(f"mailboxes({id})").headers["ETag"]
    assert service.request("GET", f"mailboxes({id})?$select=name", If_None_Match=current).status_code == 304
    refused(service.request("POST", "mailboxes", {"mailboxid": id, "name": "again"}), 412, "0x80040237")
    assert service.request("DELETE", f"mailboxes({id})", If_Match=current).status_code == 204


def test_lookups_are_bound_and_read(service):
    profile = service.create("emailserverprofiles", {"name": "Lookup target"})
    id = service.create("mailboxes", {"name": "m", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    record = service.get(f"mailboxes({id})?$select=_emailserverprofile_value,emailserverprofilename").json()
    assert record["_emailserverprofile_value"] == profile and record["emailserverprofilename"] == "Lookup target"
    assert service.request("PATCH", f"mailboxes({id})", {"emailserverprofile@odata.bind": None}).status_code == 204
    assert service.get(f"mailboxes({id})").json()["_emailserverprofile_value"] is None
    for address, status, code in [
        (f"/emailserverprofiles({uuid.uuid4()})", 404, "0x80040217"), (f"/mailboxes({id})", 400, "0x80048D19"),
        ("nonsense", 400, "0x80048D19"), (5, 400, "0x80048D19"),
    ]:
        refused(service.request("PATCH", f"mailboxes({id})", {"emailserverprofile@odata.bind": address}), status, code)


def test_lists_are_paged_over_inserts_and_keep_their_total(service):
    ids = {service.create("queues", {"name": f"page {n}"}) for n in range(7)}
    seen, url, pages = [], "queues?$select=name", 0
    while url:
        page = service.get(url, Prefer="odata.maxpagesize=3").json()
        assert len(page["value"]) <= 3
        seen += [row["queueid"] for row in page["value"]]
        url, pages = page.get("@odata.nextLink"), pages + 1
        assert url is None or url.startswith(service.api)
        service.create("queues", {"name": "in between"}) if pages == 1 else None
    assert ids <= set(seen) and len(seen) == len(set(seen)) and pages >= 3
    first = service.get("queues?$top=5", Prefer="odata.maxpagesize=2").json()
    second = service.get(first["@odata.nextLink"], Prefer="odata.maxpagesize=2").json()
    third = service.get(second["@odata.nextLink"], Prefer="odata.maxpagesize=2").json()
    assert [len(p["value"]) for p in (first, second, third)] == [2, 2, 1] and "@odata.nextLink" not in third
    assert service.get("queues?$top=0").json()["value"] == []


@pytest.mark.parametrize("option", ["$filter", "$orderby", "$apply"])
@pytest.mark.parametrize("entity_set, entity, attribute, flag, limit", ENCRYPTED)
def test_encrypted_attributes_cannot_be_searched_or_sorted(service, option, entity_set, entity, attribute, flag, limit):
    for expression in [f"{attribute} eq 'x'", f"contains({attribute.upper()},'x')", f"name eq 'a''b' and {attribute} ne null"]:
        message = refused(service.get(f"{entity_set}?{option}={expression}"), 400, "0x80060888")
        assert attribute in message.lower()


def test_a_literal_that_names_an_encrypted_attribute_is_no_search_of_it(service):
    assert service.get("mailboxes?$filter=name eq 'password'").json()["value"] == []


BAD_BODIES = [
    (b"", 400, "0x80048D19"), (b"{", 400, "0x80048D19"), (b"[]", 400, "0x80048D19"), (b'"x"', 400, "0x80048D19"),
    (b'{"name":"a","name":"b"}', 400, "0x80048D19"), (b'{"name":"\xff"}', 400, "0x80048D19"), (b"[" * 5000, 400, "0x80048D19"),
    (b'{"name":1}', 400, "0x80048D19"), (b'{"name":{"a":1}}', 400, "0x80048D19"), (b'{"nosuch":1}', 400, "0x80048D19"),
    (b'{"password":5}', 400, "0x80048D19"), (b'{"password":["canary"]}', 400, "0x80048D19"),
    (b'{"password@odata.bind":"/mailboxes(1)"}', 400, "0x80048D19"), (b'{"incomingemaildeliverymethod":"Queue"}', 400, "0x80048D19"),
    (b'{"incomingemaildeliverymethod":99}', 400, "0x80040203"), (b'{"postponesendinguntil":"tomorrow"}', 400, "0x80048D19"),
    (b'{"postponesendinguntil":"1752-12-31T23:59:59Z"}', 400, "0x80040203"),
    (b'{"postponesendinguntil":"2026-02-30T00:00:00Z"}', 400, "0x80048D19"),
    (b'{"allowemailconnectortousecredentials":"yes"}', 400, "0x80048D19"), (b'{"name":null}', 400, "0x80040203"),
    (b'{"name":"a\\u0000b"}', 400, "0x80040203"), (b'{"mailboxid":"nonsense"}', 400, "0x80048D19"),
    (b'{"ispasswordset":true}', 400, "0x80048D19"), (b'{"ownerid":"00000000-0000-0000-0000-000000000000"}', 400, "0x80048D19"),
    (b'{"emailaddress":"' + b"x" * 101 + b'"}', 400, "0x80044331"), (b'{"testemailconfigurationretrycount":99999999999}', 400, "0x80040203"),
]


@pytest.mark.parametrize("body, status, code", BAD_BODIES, ids=[repr(body[:40]) for body, _, _ in BAD_BODIES])
def test_a_bad_body_is_refused_and_nothing_is_stored(service, body, status, code):
    def count():
        return service.sql("SELECT count(*) FROM org_contoso.mailbox")

    before = count()
    message = refused(service.request("POST", "mailboxes", body), status, code)
    assert "canary" not in message
    assert count() == before


def test_a_value_that_is_too_long_is_refused_by_utf16_units(service):
    message = refused(service.request("POST", "mailboxes", {"emailaddress": "\U0001f511" * 51}), 400, "0x80044331")
    assert "100" in message and "102" in message
    service.create("mailboxes", {"name": "long", "emailaddress": "\U0001f511" * 50})


@pytest.mark.parametrize(
    "path, status, code",
    [
        ("nosuch", 404, "0x8006088A"), ("nosuch(1)", 404, "0x8006088A"), ("mailboxes(nonsense)", 400, "0x8005F100"),
        ("mailboxes(", 400, "0x8005F100"), ("mailboxes(1", 400, "0x8005F100"), ("mailboxes(%zz)", 400, "0x8005F100"),
        (f"mailboxes({uuid.UUID(int=0)})", 404, "0x80040217"), (f"mailboxes(name={uuid.UUID(int=0)})", 400, "0x80060888"),
        ("mailboxes?$select=nosuch", 400, "0x80060888"), ("mailboxes?$top=x", 400, "0x80060888"), ("mailboxes?$top=-1", 400, "0x80060888"),
        ("mailboxes?$skiptoken=x", 400, "0x80060888"), ("mailboxes?$nosuch=1", 400, "0x80060888"),
        (f"mailboxes({uuid.UUID(int=0)})/name", 404, "0x80040217"), ("mailboxes?$filter=name is 'x'", 400, "0x80060888"),
        ("mailboxes(1';DROP TABLE mailbox;--)", 400, "0x8005F100"),
        ("mailboxes(-123abcd-89ef-4567-8a9b-fedcba987654)", 400, "0x8005F100"), ("mailboxes(%20123abcd-89ef-4567-8a9b-fedcba987654)", 400, "0x8005F100"),
    ],
)
def test_a_bad_address_is_refused(service, path, status, code):
    refused(service.get(path), status, code)


def test_ids_may_be_written_as_clients_write_them(service):
    id = service.create("mailboxes", {"name": "m"})
    for key in (id, id.upper(), f"mailboxid={id}"):
        assert service.get(f"mailboxes({key})").json()["mailboxid"] == id
    for version in ("v9.0", "v9.1"):
        assert service.get(f"{service.base}/contoso/api/data/{version}/mailboxes({id})").status_code == 200
    refused(service.get(f"{service.base}/contoso/api/data/v8.0/mailboxes"), 404, "0x8006088A")


def test_what_may_not_be_updated_is_refused_by_name_and_stamps_are_ignored(service):
    id = service.create("mailboxes", {"name": "m", "createdon": "2001-01-01T00:00:00Z", "versionnumber": 1})
    record = service.get(f"mailboxes({id})").json()
    assert not record["createdon"].startswith("2001") and re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ", record["createdon"])
    message = refused(service.request("PATCH", f"mailboxes({id})", {"ispasswordset": True}), 400, "0x80060413")
    assert "ispasswordset" in message
    refused(service.request("PATCH", f"mailboxes({id})", {"mailboxid": str(uuid.uuid4())}), 400, "0x80060413")
    assert service.request("PATCH", f"mailboxes({id})", {"mailboxid": id, "name": "n"}).status_code == 204
    assert service.request("PATCH", f"mailboxes({id})", {"statecode": 1}).status_code == 204
    record = service.get(f"mailboxes({id})").json()
    assert record["statecode"] == 1 and record["statuscode"] == 2


def test_header_names_keep_their_case_on_http_1(service):
    response = service.request("POST", "mailboxes", {"name": "m"})
    assert {"OData-EntityId", "OData-Version", "ETag", "x-ms-service-request-id"} <= set(response.raw.headers.keys())
    assert response.headers["OData-Version"] == "4.0"


def test_injection_in_names_and_ids_does_nothing(service):
    payloads = ["'; DROP TABLE mailbox; --", '"; DROP TABLE mailbox; --', "$1", "\\'", "%27", "' OR '1'='1", "\u2019", "\u0000"[:0] + "x"]
    for payload in payloads:
        id = service.create("mailboxes", {"name": payload, "password": payload})
        assert service.get(f"mailboxes({id})").json()["name"] == payload
        assert service.opened_cells()[f"mailbox({id}).password"][1] == payload
        refused(service.request("POST", "mailboxes", {payload: "x"}), 400, "0x80048D19")
