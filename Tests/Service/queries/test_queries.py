"""Lists with the options of OData, FetchXML and SQL, which the service turns into one kind of query. No query can read a secret."""

import datetime
import json
import urllib.parse
import uuid
from random import Random

import psycopg
import pytest
import requests
from service import refused

ENCRYPTED = [
    ("emailserverprofiles", "emailserverprofile", "incomingpassword"), ("emailserverprofiles", "emailserverprofile", "outgoingpassword"),
    ("mailboxes", "mailbox", "password"), ("queues", "queue", "emailpassword"), ("usersettingscollection", "usersettings", "emailpassword"),
]


@pytest.fixture(scope="module")
def records(service):
    """A profile with six mailboxes: {"prefix": of their names, "profile": id, "ids": of the mailboxes}. Mailboxes with even numbers have addresses."""
    prefix = f"q{uuid.uuid4().hex[:10]}"
    profile = service.create("emailserverprofiles", {"name": f"{prefix} Profile", "incomingpassword": "nightingale"})
    ids = [
        service.create("mailboxes", {
            "name": f"{prefix} Box {n}", "emailaddress": None if n % 2 else f"{n}@{prefix}.test", "password": "nightingale",
            "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
        for n in range(6)]
    return {"prefix": prefix, "profile": profile, "ids": ids}


def numbers(service, records, option):
    response = service.get(f"mailboxes?$select=name&{option}")
    assert response.status_code == 200, response.text
    return "".join(record["name"][-1] for record in response.json()["value"] if record["name"].startswith(records["prefix"]))


@pytest.mark.parametrize(
    "expression, expected",
    [
        ("startswith(name,'{p}')", "012345"), ("contains(name,'BOX 3')", "3"), ("endswith(name,' 5') and startswith(name,'{p}')", "5"),
        ("name eq '{p} box 1'", "1"), ("name ne '{p} box 1' and startswith(name,'{p}')", "02345"),
        ("startswith(name,'{p}') and emailaddress eq null", "135"), ("startswith(name,'{p}') and emailaddress ne null", "024"),
        ("startswith(name,'{p}') and emailaddress ne '0@{p}.test'", "12345"), ("startswith(name,'{p}') and not (emailaddress eq '0@{p}.test')", "12345"),
        ("name in ('{p} box 1','{p} box 2')", "12"), ("(name eq '{p} box 1' or name eq '{p} box 2') and not endswith(name,'2')", "1"),
        ("_emailserverprofile_value eq {profile}", "012345"), ("emailserverprofile eq {profile}", "012345"),
        ("emailserverprofile/name eq '{p} profile'", "012345"), ("emailserverprofile/emailserverprofileid eq {profile} and statecode eq 0", "012345"),
        ("startswith(name,'{p}') and createdon gt 2020-01-01", "012345"), ("startswith(name,'{p}') and createdon lt 2020-01-01T00:00:00Z", ""),
        ("startswith(name,'{p}') and Microsoft.Dynamics.CRM.Today(PropertyName='createdon')", "012345"),
        ("startswith(name,'{p}') and Microsoft.Dynamics.CRM.LastXDays(PropertyName='createdon',PropertyValue=1)", "012345"),
        ("startswith(name,'{p}') and Microsoft.Dynamics.CRM.OlderThanXDays(PropertyName='createdon',PropertyValue=1)", ""),
        ("Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=[\"{p} box 1\",\"{p} box 4\"])", "14"),
        ("startswith(name,'{p}') and Microsoft.Dynamics.CRM.EqualUserId(PropertyName='ownerid')", "012345"),
        ("startswith(name,'{p}') and isemailaddressapprovedbyo365admin eq false", "012345"), ("startswith(name,'{p}') and not ispasswordset", ""),
        ("startswith(name,'{p}') and ispasswordset", "012345"), ("startswith(tolower(name),'{p}') and 0 eq statecode", "012345"),
        ("emailserverprofile/emailserverprofile_mailbox/any(m:m/name eq '{p} box 0')", "012345"),
        ("emailserverprofile/emailserverprofile_mailbox/all(m:startswith(m/name,'{p}'))", "012345"),
        ("emailserverprofile/emailserverprofile_mailbox/all(m:m/emailaddress ne null)", ""),
        ("startswith(name,@p) and statecode eq @s&@p='{p}'&@s=0", "012345"),
    ],
)
def test_filter(service, records, expression, expected):
    text = expression.replace("{p}", records["prefix"]).replace("{profile}", records["profile"])
    assert numbers(service, records, f"$orderby=name&$filter={text}") == expected


def test_dates_are_compared_as_they_are_read(service):
    """Dates are compared in whole seconds, although the table has fractions. The date of a record, as it was read, finds the record."""
    prefix = f"dates{uuid.uuid4().hex[:8]}"
    for n in range(3):
        service.create("queues", {"name": f"{prefix} {n}"})
    service.sql("UPDATE org_contoso.queue SET createdon = timestamptz '2026-03-01T12:00:00Z' + right(name, 1)::int * interval '0.6 s' WHERE name LIKE %s", [f"{prefix}%"])
    mine = f"startswith(name,'{prefix}')"
    read = [q["createdon"] for q in service.get(f"queues?$filter={mine}&$orderby=createdon&$select=createdon").json()["value"]]
    first, second = "2026-03-01T12:00:00Z", "2026-03-01T12:00:01Z"
    assert read == [first, first, second]

    def found(condition):
        response = service.get(f"queues?$filter={mine} and {condition}&$orderby=name&$select=name")
        assert response.status_code == 200, response.text
        return "".join(q["name"][-1] for q in response.json()["value"])

    expected = {f"eq {first}": "01", f"eq {second}": "2", f"ne {first}": "2", f"gt {first}": "2", f"ge {first}": "012", f"le {first}": "01", f"lt {second}": "01",
                f"in ({first},{second})": "012", f"in ({second})": "2", "eq 2026-03-01T12:00:00.6Z": "", "ne 2026-03-01T12:00:00.6Z": "012", "in (2026-03-01T12:00:00.6Z)": "",
                "gt 2026-03-01T12:00:00.3Z": "2", "ge 2026-03-01T12:00:00.3Z": "2", "lt 2026-03-01T12:00:00.3Z": "01", "le 2026-03-01T12:00:00.3Z": "01"}
    assert {condition: found(f"createdon {condition}") for condition in expected} == expected
    assert found(f"not (createdon eq {first})") == "2" and found("modifiedon gt createdon") == "012"
    where = f"WHERE name LIKE '{prefix}%' AND createdon"
    assert [len(sql(service, f"SELECT name FROM queue {where} {c}", "queues").json()["value"]) for c in (f"= '{first}'", f"<> '{first}'", f"BETWEEN '{first}' AND '{first}'")] == [2, 1, 2]
    assert sql(service, f"SELECT DISTINCT createdon FROM queue WHERE name LIKE '{prefix}%' ORDER BY createdon", "queues").json()["value"] == [{"createdon": first}, {"createdon": second}]
    groups = service.get(f"queues?$apply=filter({mine})/groupby((createdon),aggregate($count as n))&$orderby=createdon").json()["value"]
    assert [(g["createdon"], g["n"]) for g in groups] == [(first, 2), (second, 1)]
    counted = fetch(service, "queues", f"<fetch aggregate='true'><entity name='queue'><attribute name='createdon' aggregate='countcolumn' distinct='true' alias='n'/>"
                    f"<filter><condition attribute='name' operator='like' value='{prefix}%'/></filter></entity></fetch>").json()["value"]
    assert counted == [{"n": 2}]


def test_sorting_puts_null_lowest(service, records):
    option = f"$filter=startswith(name,'{records['prefix']}')"
    assert numbers(service, records, f"{option}&$orderby=emailaddress,name desc") == "531024"
    assert numbers(service, records, f"{option}&$orderby=emailaddress desc,name") == "420135"
    assert numbers(service, records, f"{option}&$orderby=emailserverprofile/name,name desc") == "543210"


@pytest.mark.parametrize("order, before_all", {
    "name": {"name": ""}, "name desc": {"name": " 9"}, "emailaddress": {}, "emailaddress desc,name": {"emailaddress": "9@x.test"}, "createdon desc": {},
    "statecode,emailaddress": {},
}.items())
def test_pages_survive_inserts_and_deletes(service, order, before_all):
    """After the first page, a record that sorts before all others is inserted and a record of the first page is deleted. The other pages have each
    other record once."""
    prefix = f"page{uuid.uuid4().hex[:8]}"
    for n in range(7):
        service.create("queues", {"name": f"{prefix} {n}", "emailaddress": f"{n % 3}@x.test" if n % 2 else None})
    mine = f"queues?$select=name&$filter=startswith(name,'{prefix}')&$orderby={order}"
    expected = [r["name"] for r in service.get(mine).json()["value"]]
    url, seen = mine, []
    while url:
        page = service.get(url, Prefer="odata.maxpagesize=2").json()
        seen += [r["name"] for r in page["value"]]
        url = page.get("@odata.nextLink")
        if len(seen) == 2:
            # Records with equal values are ordered by their ids, so the low id puts the new record first among them.
            first = {"name": " 3", **before_all}
            service.create("queues", {**first, "name": f"{prefix}{first['name']}", "queueid": f"00000000{str(uuid.uuid4())[8:]}"})
            assert [r["name"] for r in service.get(mine).json()["value"]] == [f"{prefix}{first['name']}", *expected]
            gone = service.get(f"queues?$filter=name eq '{seen[0]}'&$orderby=createdon").json()["value"][0]["queueid"]
            assert service.request("DELETE", f"queues({gone})").status_code == 204
    assert seen == expected


def test_top_counts_over_all_pages_and_count_over_all_records(service, records):
    url = f"mailboxes?$select=name&$filter=startswith(name,'{records['prefix']}')&$orderby=name&$top=5&$count=true"
    page = service.get(url, Prefer="odata.maxpagesize=3").json()
    assert (page["@odata.count"], len(page["value"])) == (6, 3)
    rest = service.get(page["@odata.nextLink"], Prefer="odata.maxpagesize=3").json()
    assert len(rest["value"]) == 2 and "@odata.nextLink" not in rest
    assert service.get(f"mailboxes/$count?$filter=startswith(name,'{records['prefix']}')").text == "6"


def test_expand(service, records):
    profile = service.get(
        f"emailserverprofiles({records['profile']})?$select=name&$expand=owninguser($select=fullname),"
        "emailserverprofile_mailbox($select=name,password;$filter=emailaddress ne null;$orderby=name desc;$top=2;$expand=emailserverprofile($select=name))"
    ).json()
    assert [m["name"][-1] for m in profile["emailserverprofile_mailbox"]] == ["4", "2"]
    assert all(m["password"] is None and m["emailserverprofile"]["name"] == profile["name"] for m in profile["emailserverprofile_mailbox"])
    assert profile["owninguser"]["fullname"]
    mailbox = service.get(f"mailboxes({records['ids'][0]})?$expand=regardingobjectid_queue,emailserverprofile").json()
    assert mailbox["regardingobjectid_queue"] is None and mailbox["emailserverprofile"]["incomingpassword"] is None
    nested = "emailserverprofile"
    for _ in range(10):
        nested = f"emailserverprofile($expand=emailserverprofile_mailbox($expand={nested}))"
    refused(service.get(f"mailboxes?$expand={nested}"), 400, "0x80060888")


def test_apply(service, records):
    condition = f"filter(startswith(name,'{records['prefix']}'))"
    rows = service.get(f"mailboxes?$apply={condition}/groupby((statecode),aggregate($count as n,createdon with max as last))").json()["value"]
    assert [(row["statecode"], row["n"]) for row in rows] == [(0, 6)] and rows[0]["last"].endswith("Z")
    rows = service.get(f"mailboxes?$apply={condition}/groupby((emailserverprofile/name))").json()["value"]
    assert rows == [{"emailserverprofile_name": f"{records['prefix']} Profile"}]
    rows = service.get(f"mailboxes?$apply={condition}/aggregate(emailaddress with countdistinct as n,statuscode with sum as s)").json()["value"]
    assert rows == [{"n": 3, "s": 6}]


def test_single_properties(service, records):
    path = f"mailboxes({records['ids'][0]})"
    assert service.get(f"{path}/name").json()["value"] == f"{records['prefix']} Box 0"
    assert service.get(f"{path}/name/$value").text == f"{records['prefix']} Box 0"
    assert service.get(f"{path}/password").status_code == 204 and service.get(f"{path}/password/$value").status_code == 204
    assert service.request("PUT", f"{path}/emailaddress", {"value": f"0@{records['prefix']}.test"}).status_code == 204
    assert service.request("PUT", f"{path}/password", {"value": "one at a time"}).status_code == 204
    assert service.opened_cells()[f"mailbox({records['ids'][0]}).password"][1] == "one at a time"
    assert service.request("DELETE", f"{path}/password").status_code == 204
    assert service.get(f"{path}/ispasswordset").json()["value"] is False
    assert service.request("PUT", f"{path}/password", {"value": "nightingale"}).status_code == 204
    refused(service.get(f"{path}/nosuch"), 404, "0x8006088A")


def test_navigation_and_links(service, records):
    profile, other = records["profile"], service.create("emailserverprofiles", {"name": f"{records['prefix']} other"})
    id = service.create("mailboxes", {"name": f"linked {records['prefix']}"})
    path = f"mailboxes({id})/emailserverprofile"
    assert service.get(path).status_code == 204
    assert service.request("PUT", f"{path}/$ref", {"@odata.id": f"{service.api}/emailserverprofiles({other})"}).status_code == 204
    assert service.get(path).json()["emailserverprofileid"] == other
    assert service.get(f"{path}/$ref").json()["@odata.id"] == f"{service.api}/emailserverprofiles({other})"
    members = f"emailserverprofiles({other})/emailserverprofile_mailbox"
    assert [m["mailboxid"] for m in service.get(members).json()["value"]] == [id] and service.get(f"{members}/$count").text == "1"
    assert service.request("DELETE", f"{path}/$ref").status_code == 204 and service.get(f"{members}/$ref").json()["value"] == []
    assert service.request("POST", f"{members}/$ref", {"@odata.id": f"mailboxes({id})"}).status_code == 204
    assert service.get(f"{members}/$ref").json()["value"] == [{"@odata.id": f"{service.api}/mailboxes({id})"}]
    refused(service.request("DELETE", f"emailserverprofiles({profile})/emailserverprofile_mailbox({id})/$ref"), 404, "0x80040217")
    assert service.request("DELETE", f"{members}({id})/$ref").status_code == 204
    refused(service.request("POST", f"{members}/$ref", {"@odata.id": f"queues({id})"}), 400, "0x80048D19")
    refused(service.get(f"emailserverprofiles({uuid.uuid4()})/emailserverprofile_mailbox"), 404, "0x80040217")


def test_alternate_keys(service, records):
    name = f"{records['prefix']} it's"
    key = "queues(name='" + name.replace("'", "''") + "')"
    assert service.request("PATCH", key, {"description": "created"}).status_code == 204
    assert service.get(f"{key}?$select=description").json()["description"] == "created"
    assert service.request("PATCH", key, {"description": "updated"}, If_Match="*").status_code == 204
    service.create("queues", {"name": name.upper()})
    refused(service.get(key), 412, "0x80060892")
    refused(service.get(f"queues(name='{uuid.uuid4()}')"), 404, "0x80060891")
    refused(service.get("queues(emailaddress='x')"), 400, "0x80060888")


def fetch(service, entity_set, xml, **headers):
    return service.get(f"{entity_set}?fetchXml={urllib.parse.quote(xml)}", **headers)


@pytest.mark.parametrize(
    "inside, expected",
    [
        ("<filter><condition attribute='name' operator='like' value='{p} box%'/></filter>", "012345"),
        ("<filter><condition attribute='name' operator='begins-with' value='{p}'/><condition attribute='emailaddress' operator='null'/></filter>", "135"),
        ("<filter><condition attribute='name' operator='in'><value>{p} box 1</value><value>{p} box 2</value></condition></filter>", "12"),
        ("<filter type='or'><condition attribute='name' operator='eq' value='{p} box 1'/><filter><condition attribute='name' operator='eq' value='{p} box 2'/></filter></filter>", "12"),
        ("<filter><condition attribute='name' operator='not-like' value='%box%'/><condition attribute='name' operator='like' value='{p}%'/></filter>", ""),
        ("<filter><condition attribute='createdon' operator='last-x-days' value='1'/><condition attribute='name' operator='like' value='{p}%'/></filter>", "012345"),
        ("<filter><condition attribute='createdon' operator='on' value='2001-01-01'/></filter>", ""),
        ("<filter><condition attribute='ownerid' operator='eq-userid'/><condition attribute='name' operator='like' value='{p}%'/></filter>", "012345"),
        ("<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile'><filter><condition attribute='name' operator='eq' value='{p} profile'/></filter></link-entity>", "012345"),
        ("<filter><link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' link-type='any'><filter><condition attribute='name' operator='eq' value='{p} profile'/></filter></link-entity></filter>", "012345"),
        ("<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' link-type='exists'><filter><condition attribute='name' operator='eq' value='{p} profile'/></filter></link-entity>", "012345"),
        ("<filter><condition attribute='name' operator='like' value='{p}%'/></filter><link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' link-type='outer' alias='p'/><filter><condition entityname='p' attribute='emailserverprofileid' operator='null'/></filter>", ""),
    ],
)
def test_fetchxml(service, records, inside, expected):
    xml = f"<fetch><entity name='mailbox'><attribute name='name'/><order attribute='name'/>{inside.replace('{p}', records['prefix'])}</entity></fetch>"
    response = fetch(service, "mailboxes", xml)
    assert response.status_code == 200, response.text
    assert "".join(r["name"][-1] for r in response.json()["value"] if r["name"].startswith(records["prefix"])) == expected


def test_fetchxml_gives_linked_attributes_aggregates_and_distinct_values(service, records):
    condition = f"<filter><condition attribute='name' operator='like' value='{records['prefix']}%'/></filter>"
    link = "<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' alias='p'><attribute name='name'/><attribute name='incomingpassword'/></link-entity>"
    row = fetch(service, "mailboxes", f"<fetch top='1'><entity name='mailbox'><attribute name='password'/>{condition}{link}</entity></fetch>").json()["value"][0]
    assert row["password"] is None and row["p.incomingpassword"] is None and row["p.name"].startswith(records["prefix"])
    rows = fetch(service, "mailboxes", f"<fetch aggregate='true'><entity name='mailbox'><attribute name='mailboxid' aggregate='count' alias='n'/><attribute name='emailaddress' aggregate='countcolumn' alias='a'/><attribute name='statecode' groupby='true' alias='s'/><attribute name='createdon' groupby='true' dategrouping='year' alias='y'/><order alias='n'/>{condition}</entity></fetch>").json()["value"]
    assert [(r["n"], r["a"], r["s"]) for r in rows] == [(6, 3, 0)] and rows[0]["y"] >= 2026
    both = fetch(service, "mailboxes", f"<fetch top='1'><entity name='mailbox'><all-attributes/>{condition}{link}</entity></fetch>").json()["value"][0]
    assert both["name"].startswith(records["prefix"]) and both["p.name"] == row["p.name"] and both["password"] is None and "statecode" in both
    every = "<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' alias='p'><all-attributes/></link-entity>"
    linked = fetch(service, "mailboxes", f"<fetch top='1'><entity name='mailbox'><attribute name='name'/>{condition}{every}</entity></fetch>").json()["value"][0]
    assert linked["p.name"] == row["p.name"] and linked["p.incomingpassword"] is None and "statecode" not in linked
    rows = fetch(service, "mailboxes", f"<fetch distinct='true'><entity name='mailbox'><attribute name='statecode'/>{condition}</entity></fetch>").json()["value"]
    assert rows == [{"statecode": 0}]


@pytest.mark.parametrize(
    "xml",
    [
        "", "x", "<fetch>", "<fetch/>", "<fetch><entity/></fetch>", "<fetch><entity name='queue'/></fetch>", "<fetch top='x'><entity name='mailbox'/></fetch>",
        "<!DOCTYPE fetch [<!ENTITY a 'b'>]><fetch><entity name='mailbox'/></fetch>", "<fetch><entity name='mailbox'><attribute name='nosuch'/></entity></fetch>",
        "<fetch><entity name='mailbox'><filter><condition attribute='name' operator='nosuch' value='1'/></filter></entity></fetch>",
        "<fetch><entity name='mailbox'>" + "<filter>" * 200 + "</filter>" * 200 + "</entity></fetch>", "<fetch><entity name='mailbox'><nosuch/></entity></fetch>",
    ],
)
def test_bad_fetchxml_is_refused(service, xml):
    response = fetch(service, "mailboxes", xml)
    assert response.status_code == 400 and response.json()["error"]["code"] in ("0x80060888", "0x80041103")


def sql(service, text, entity_set="mailboxes"):
    return service.get(f"{entity_set}?sql={urllib.parse.quote(text)}")


@pytest.mark.parametrize(
    "where, expected",
    [
        ("name LIKE '{p}%'", "012345"), ("name LIKE '{p} box [1]'", "1"), ("name = '{p} BOX 1' OR name = '{p} box 2'", "12"),
        ("name LIKE '{p}%' AND emailaddress IS NULL", "135"), ("name LIKE '{p}%' AND emailaddress <> '0@{p}.test'", "24"),
        ("name LIKE '{p}%' AND NOT (emailaddress = '0@{p}.test')", "24"), ("name IN ('{p} box 1')", "1"), ("name LIKE '{p}%' AND name NOT IN ('{p} box 1')", "02345"),
        ("statecode BETWEEN 0 AND 1 AND name LIKE '{p}%'", "012345"), ("name LIKE '{p}%' AND name >= '{p} box 4'", "45"), ("mailbox.[name] = '{p} box 3'", "3"),
    ],
)
def test_sql_conditions(service, records, where, expected):
    response = sql(service, f"SELECT name FROM mailbox WHERE {where.replace('{p}', records['prefix'])} ORDER BY name")
    assert "".join(r["name"][-1] for r in response.json()["value"]) == expected


@pytest.mark.parametrize(
    "text",
    [
        "", "SELECT", "SELECT * FROM mailbox", "DELETE FROM mailbox", "SELECT name FROM nosuch", "SELECT nosuch FROM mailbox", "SELECT name FROM queue",
        "SELECT name FROM mailbox; DROP TABLE mailbox", "SELECT name FROM mailbox WHERE name = (SELECT name FROM queue)", "SELECT name FROM mailbox UNION SELECT name FROM queue",
        "SELECT name FROM mailbox WHERE name = 'x' -- y", "SELECT pg_sleep(10) FROM mailbox", "SELECT name FROM mailbox GROUP BY statecode", "SELECT name FROM mailbox WHERE " + "(" * 500 + "name = 'x'" + ")" * 500,
        "SELECT name FROM mailbox_cell", "SELECT name FROM mailbox ORDER BY 1", "SELECT name FROM pg_catalog.pg_class",
    ],
)
def test_bad_sql_is_refused(service, text):
    response = sql(service, text)
    assert response.status_code == 400 and response.json()["error"]["code"] in ("0x80060888", "0x80041103"), response.text


@pytest.mark.parametrize("entity_set, entity, attribute", ENCRYPTED)
def test_no_query_reads_searches_or_sorts_by_an_encrypted_attribute(service, records, entity_set, entity, attribute):
    """Each way to name an encrypted attribute in a query. Its value is null, or the query is refused. The error is equal for records with and without
    a secret."""
    id = {"usersettings": "systemuserid"}.get(entity, f"{entity}id")
    refusals = [
        f"$filter={attribute} eq 'nightingale'", f"$filter=contains({attribute},'c')", f"$filter={attribute} ne null", f"$filter=null eq {attribute}",
        f"$filter={attribute} in ('nightingale')", f"$filter=tolower({attribute}) eq 'nightingale'", f"$filter=Microsoft.Dynamics.CRM.In(PropertyName='{attribute}',PropertyValues=[\"nightingale\"])",
        f"$filter={attribute} eq {id}", f"$filter={attribute}", f"$filter=not {attribute}", f"$orderby={attribute}", f"$orderby={attribute} desc,{id}",
        f"$apply=groupby(({attribute}))", f"$apply=aggregate({attribute} with countdistinct as n)", f"$apply=aggregate({attribute} with max as n)",
        f"$apply=filter({attribute} ne null)/aggregate($count as n)",
    ]
    xml = [
        f"<filter><condition attribute='{attribute}' operator='{operator}'/></filter>" for operator in ("null", "not-null")] + [
        f"<filter><condition attribute='{attribute}' operator='like' value='c%'/></filter>", f"<filter><condition attribute='{id}' operator='eq' valueof='{attribute}'/></filter>",
        f"<order attribute='{attribute}'/>", f"<link-entity name='{entity}' from='{attribute}' to='{id}'/>", f"<link-entity name='{entity}' from='{id}' to='{attribute}'/>",
        f"<filter><link-entity name='{entity}' from='{id}' to='{id}' link-type='any'><filter><condition attribute='{attribute}' operator='not-null'/></filter></link-entity></filter>"]
    refusals += ["fetchXml=" + urllib.parse.quote(f"<fetch><entity name='{entity}'><attribute name='{id}'/>{x}</entity></fetch>") for x in xml]
    for aggregate in ("count", "countcolumn", "max"):
        refusals.append("fetchXml=" + urllib.parse.quote(f"<fetch aggregate='true'><entity name='{entity}'><attribute name='{attribute}' aggregate='{aggregate}' alias='n'/></entity></fetch>"))
    refusals.append("fetchXml=" + urllib.parse.quote(f"<fetch aggregate='true'><entity name='{entity}'><attribute name='{attribute}' groupby='true' alias='n'/></entity></fetch>"))
    refusals.append("fetchXml=" + urllib.parse.quote(f"<fetch distinct='true'><entity name='{entity}'><attribute name='{attribute}'/></entity></fetch>"))
    for text in [
        f"SELECT {id} FROM {entity} WHERE {attribute} = 'nightingale'", f"SELECT {id} FROM {entity} WHERE {attribute} IS NOT NULL", f"SELECT {id} FROM {entity} ORDER BY {attribute}",
        f"SELECT COUNT({attribute}) AS n FROM {entity}", f"SELECT MAX({attribute}) AS n FROM {entity}", f"SELECT DISTINCT {attribute} FROM {entity}", f"SELECT {attribute} FROM {entity} GROUP BY {attribute}",
        f"SELECT a.{id} FROM {entity} a JOIN {entity} b ON a.{attribute} = b.{attribute}", f"SELECT {attribute} AS x FROM {entity} ORDER BY x", f"SELECT {id} FROM {entity} WHERE {id} = {attribute}",
    ]:
        refusals.append("sql=" + urllib.parse.quote(text))
    for refusal in refusals:
        message = refused(service.get(f"{entity_set}?{refusal}"), 400, "0x80060888")
        assert attribute in message and "encrypted" in message, (refusal, message)
    refused(service.get(f"{entity_set}({attribute}='nightingale')"), 400, "0x80060888")
    if entity != "usersettings":
        other = {"emailserverprofile": "emailserverprofile_mailbox", "mailbox": "owninguser", "queue": "owninguser"}[entity]
        expand = f"$expand={other}($filter={'password' if entity == 'emailserverprofile' else 'fullname'} eq 'x')"
        assert service.get(f"{entity_set}?{expand}").status_code == (400 if entity == "emailserverprofile" else 200)
    for reading in [
        f"{entity_set}?$select={attribute}", f"{entity_set}", f"{entity_set}?sql=" + urllib.parse.quote(f"SELECT {attribute} AS x FROM {entity}"),
        f"{entity_set}?fetchXml=" + urllib.parse.quote(f"<fetch><entity name='{entity}'><attribute name='{attribute}' alias='x'/></entity></fetch>"),
        f"{entity_set}?fetchXml=" + urllib.parse.quote(f"<fetch><entity name='{entity}'><all-attributes/></entity></fetch>"),
    ]:
        response = service.get(reading, Prefer='odata.include-annotations="*"')
        assert response.status_code == 200, (reading, response.text)
        rows = response.json()["value"]
        assert rows and all(row.get(attribute, row.get("x")) is None for row in rows) and "nightingale" not in response.text
        assert f"{attribute}@OData" not in response.text


def test_reads_touch_no_cell(service, records):
    """Reads succeed while another transaction locks all tables of cells. So neither the response nor its time depends on a cell."""
    tables = [f"org_contoso.{name}_cell" for name in ("emailserverprofile", "mailbox", "queue", "usersettings")]
    with psycopg.connect(service.dev["postgres"]) as holder:
        holder.execute(f"LOCK TABLE {', '.join(tables)} IN ACCESS EXCLUSIVE MODE")
        for entity_set, entity, attribute in ENCRYPTED:
            id = {"usersettings": "systemuserid"}.get(entity, f"{entity}id")
            record = service.get(f"{entity_set}?$top=1", timeout=20).json()["value"][0][id]
            for path in [
                f"{entity_set}({record})", f"{entity_set}({record})?$select={attribute}", f"{entity_set}({record})/{attribute}", f"{entity_set}?$count=true",
                f"{entity_set}?$apply=aggregate($count as n)", f"{entity_set}?sql=" + urllib.parse.quote(f"SELECT {attribute} FROM {entity}"),
                f"{entity_set}?fetchXml=" + urllib.parse.quote(f"<fetch><entity name='{entity}'><all-attributes/></entity></fetch>"),
            ]:
                assert service.get(path, timeout=20).status_code in (200, 204), path
            refused(service.get(f"{entity_set}?$filter={attribute} ne null", timeout=20), 400, "0x80060888")
        assert service.get("emailserverprofiles?$expand=emailserverprofile_mailbox", timeout=20).status_code == 200


def test_encrypted_attributes_of_others_are_not_reached_over_a_path(service):
    for expression in [
        "emailserverprofile/incomingpassword eq 'x'", "emailserverprofile/emailserverprofile_mailbox/any(m:m/password ne null)",
        "emailserverprofile/emailserverprofile_mailbox/all(m:m/password eq null)",
    ]:
        refused(service.get(f"mailboxes?$filter={expression}"), 400, "0x80060888")
    refused(service.get("mailboxes?$orderby=emailserverprofile/incomingpassword"), 400, "0x80060888")
    refused(service.get("mailboxes?$apply=groupby((emailserverprofile/incomingpassword))"), 400, "0x80060888")
    refused(service.get("emailserverprofiles?$expand=emailserverprofile_mailbox($orderby=password)"), 400, "0x80060888")


def test_metadata_says_what_encrypted_attributes_are_not(service):
    for _, entity, attribute in ENCRYPTED:
        told = service.get(f"EntityDefinitions(LogicalName='{entity}')/Attributes(LogicalName='{attribute}')").json()
        assert told["IsAuditEnabled"]["Value"] is False and told["IsAuditEnabled"]["CanBeChanged"] is False
        assert told["IsCustomizable"]["Value"] is False and told["IsValidForAdvancedFind"]["Value"] is False and told["IsSearchable"] is False
        change = service.request("PUT", f"EntityDefinitions(LogicalName='{entity}')/Attributes(LogicalName='{attribute}')", {"IsAuditEnabled": {"Value": True}})
        assert change.status_code == 405


LITERALS = ["'", "''", "\\", "%", "_", ";", "--", "/*", "$1", "\0", "\x01", "\u2028", "😀", "' OR '1'='1", "'; DROP TABLE mailbox; --", "\\'; SELECT 1", "{x}", "[x]", "]]>", "<x>"]


def test_injections_find_nothing_and_break_nothing(service, records):
    """At least 500 requests with payloads in ids, names, filters and headers. None causes a server error, finds a record or changes one."""
    count = 0
    before = service.sql("SELECT count(*) FROM org_contoso.mailbox")
    for literal in LITERALS:
        quoted = urllib.parse.quote(literal.replace("'", "''"), safe="")
        raw = urllib.parse.quote(literal, safe="")
        xml = urllib.parse.quote(f"<fetch><entity name='mailbox'><attribute name='name'/><filter><condition attribute='name' operator='eq' value={json.dumps(literal)}/></filter></entity></fetch>")
        paths = [
            f"mailboxes?$filter=name eq '{quoted}{uuid.uuid4()}'", f"mailboxes?$filter=contains(name,'{quoted}x{uuid.uuid4()}')", f"mailboxes?$filter=name eq {raw}", f"mailboxes?$filter={raw} eq 'x'",
            f"mailboxes?$filter=name in ('{quoted}')", f"mailboxes?$select={raw}", f"mailboxes?$orderby={raw}", f"mailboxes?$orderby=name {raw}", f"mailboxes?$top={raw}", f"mailboxes?$skiptoken={raw}",
            f"mailboxes?$apply=groupby(({raw}))", f"mailboxes?$apply=aggregate($count as {raw})", f"mailboxes?$expand={raw}", f"mailboxes?$expand=owninguser($select={raw})", f"mailboxes({raw})", f"mailboxes(name='{quoted}')",
            f"queues(name='{quoted}{uuid.uuid4()}')", f"mailboxes/{raw}", f"{raw}", f"mailboxes?fetchXml={xml}", f"mailboxes?fetchXml={raw}", f"mailboxes?sql={raw}", f"mailboxes?sql=SELECT%20name%20FROM%20mailbox%20WHERE%20name='{quoted}{uuid.uuid4()}'",
            f"mailboxes?sql=SELECT%20{raw}%20FROM%20mailbox", f"EntityDefinitions(LogicalName='{quoted}')",
        ]
        for path in paths:
            response = service.get(path)
            count += 1
            assert response.status_code < 500 or response.json()["error"]["code"] == "0x80040219", (path, response.text)
            if "$filter=name eq '" in path or "WHERE" in path:
                assert response.status_code == 400 or response.json()["value"] == [], path
        for header in ("Prefer", "If-None-Match"):
            if literal.isprintable() and literal.isascii():
                assert service.get(f"mailboxes({records['ids'][0]})", **{header: literal}).status_code in (200, 400)
                count += 1
    assert count >= 500 and service.sql("SELECT count(*) FROM org_contoso.mailbox") == before


@pytest.mark.parametrize(
    "path, status",
    [
        ("mailboxes?$filter=" + "(" * 2_000 + "1 eq 1" + ")" * 2_000, 400), ("mailboxes?$filter=" + "not " * 2_000 + "true", 400), ("mailboxes?$filter=" + "tolower(" * 3_000 + "name" + ")" * 3_000 + " eq 'x'", 400),
        ("mailboxes?$filter=" + "contains(name,'x') and not (" * 200 + "true" + ")" * 200, 400),
        ("mailboxes?$filter=" + " or ".join(["statecode eq 0"] * 600), 400), ("mailboxes?$filter=" + "a" * 33_000, 414), ("mailboxes?$orderby=" + ",".join(["name"] * 50), 400),
        ("mailboxes?$filter=" + "emailserverprofile/" * 50 + "name eq 'x'", 400), ("mailboxes?$top=99999999999999999999", 400), ("mailboxes?$filter=statecode eq 99999999999999999999", 400),
        ("mailboxes?$filter=statecode eq 9223372036854775807", 200), ("mailboxes?$filter=createdon gt 9999-12-31T23:59:59Z", 200), ("mailboxes?$select=name&$select=name", 400),
    ],
)
def test_limits(service, path, status):
    assert service.get(path).status_code == status


def test_other_organizations_and_missing_ones_are_not_told_apart(own_service):
    service = own_service
    service.run("org", "create", "another-one")
    nobody, other = service.base + "/nobody/api/data/v9.2/", service.base + "/another-one/api/data/v9.2/"
    answers = {(r.status_code, r.text) for r in (service.get(root + "mailboxes") for root in (nobody, other))}
    assert len(answers) == 1, answers


def test_an_answer_to_a_list_is_json_that_every_reader_takes(service):
    text = "quote \" backslash \\ control \x01 tab \t line \n separators \u2028\u2029 astral 😀"
    id = service.create("queues", {"name": "json", "description": text})
    assert service.get(f"queues?$filter=queueid eq {id}&$select=description").json()["value"][0]["description"] == text
    assert requests.compat.json.loads(service.get(f"queues({id})").text)["description"] == text


def test_an_inner_error_comes_where_it_is_preferred(service):
    plain = service.get("mailboxes?$top=x").json()["error"]
    assert set(plain) == {"code", "message"}
    inner = service.get("mailboxes?$top=x", Prefer='odata.include-annotations="*"').json()["error"]
    assert inner["innererror"]["message"] == inner["message"] == plain["message"] and inner["code"] == plain["code"]


# MARK: Further operators of Dataverse's query languages

def fetched(service, entity_set, inside, head="", **headers):
    entity = {"mailboxes": "mailbox", "emailserverprofiles": "emailserverprofile", "queues": "queue", "businessunits": "businessunit", "emails": "email"}[entity_set]
    return fetch(service, entity_set, f"<fetch {head}><entity name='{entity}'>{inside}</entity></fetch>", **headers)


def test_a_filter_stands_in_one_place(service, records):
    tagged = f"startswith(name,'{records['prefix']}')"
    for url in (f"mailboxes?$apply=filter({tagged})/aggregate($count as n)&$filter=name eq 'x'", f"mailboxes?$filter=name eq 'x'&$apply=filter({tagged})/aggregate($count as n)"):
        refused(service.get(url), 400, "0x80060888")
    assert service.get(f"mailboxes?$apply=filter({tagged})/aggregate($count as n)").json()["value"] == [{"n": 6}]


def test_lists_come_in_aliases_too(service, records):
    box = f"{records['prefix']} box"
    for name, expected in (("In", "14"), ("NotIn", "0235")):
        function = f"Microsoft.Dynamics.CRM.{name}(PropertyName=@p,PropertyValues=@v)&@p='name'&@v=['{box} 1','{box} 4']"
        assert numbers(service, records, f"$orderby=name&$filter=startswith(name,'{records['prefix']}') and {function}") == expected
    between = f"Microsoft.Dynamics.CRM.Between(PropertyName='name',PropertyValues=@v)&@v=[\"{box} 1\",\"{box} 3\"]"
    assert numbers(service, records, f"$orderby=name&$filter={between}") == "123"
    for value in ("", "x", "['a'", "['a'] or 1", "[@w]"):
        refused(service.get(f"mailboxes?$filter=Microsoft.Dynamics.CRM.In(PropertyName='name',PropertyValues=@v)&@v={value}"), 400, "0x80060888")


def test_a_link_is_named_by_its_entity(service, records):
    link = "<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile'{}/>"
    condition = f"<attribute name='name'/><order attribute='name' entityname='emailserverprofile'/><filter><condition entityname='emailserverprofile' attribute='name' operator='eq' value='{records['prefix']} profile'/></filter>"
    assert len(fetched(service, "mailboxes", condition + link.format("")).json()["value"]) == 6
    # A link with an alias has only that name. A name of two links is ambiguous.
    refused(fetched(service, "mailboxes", condition + link.format(" alias='p'")), 400, "0x80060888")
    refused(fetched(service, "mailboxes", condition + link.format("") * 2), 400, "0x80060888")


def test_the_first_linked_record_is_joined(service, records):
    link = ("<attribute name='name'/><filter><condition attribute='emailserverprofileid' operator='eq' value='{profile}'/></filter>"
            "<link-entity name='mailbox' from='emailserverprofile' to='emailserverprofileid' link-type='{kind}' alias='m'><attribute name='name'/>{more}</link-entity>")
    assert len(fetched(service, "emailserverprofiles", link.format(kind="inner", more="", **records)).json()["value"]) == 6
    (first,) = fetched(service, "emailserverprofiles", link.format(kind="matchfirstrowusingcrossapply", more="", **records)).json()["value"]
    assert first["m.name"].startswith(records["prefix"])
    fourth = f"<filter><condition attribute='name' operator='eq' value='{records['prefix']} box 4'/></filter>"
    (found,) = fetched(service, "emailserverprofiles", link.format(kind="matchfirstrowusingcrossapply", more=fourth, **records)).json()["value"]
    assert found["m.name"].endswith("4")
    nobody = "<filter><condition attribute='name' operator='eq' value='nobody'/></filter>"
    assert fetched(service, "emailserverprofiles", link.format(kind="matchfirstrowusingcrossapply", more=nobody, **records)).json()["value"] == []


@pytest.mark.parametrize("pattern, expected", [
    ("a_c", "a-c a[c abc a_c axc"), ("a[_]c", "a_c"), ("a[x-z]c", "axc"), ("a[^x-z]c", "a-c a[c abc a_c"), ("a%c", "a-c a[c abc abbc axc a_c"), ("a[[]c", "a[c"), ("a[c", "a[c"), ("A[B]C", "abc"),
    ("a[bx]c", "abc axc"), ("a[-]c", "a-c"), ("a.c", ""), ("a[b", ""), ("abb?c", ""), ("a[^b]%c", "a-c a[c axc a_c"), ("a(b)c", ""),
])
def test_wildcards_of_texts(service, pattern, expected):
    tag = "wildcards of texts"
    if not service.get(f"queues?$filter=description eq '{tag}'").json()["value"]:
        for name in ("abc", "a_c", "axc", "abbc", "a[c", "a-c"):
            service.create("queues", {"name": name, "description": tag})
    wanted = sorted(expected.split())
    text = urllib.parse.quote(pattern)

    def names(response):
        assert response.status_code == 200, response.text
        return sorted(r["name"] for r in response.json()["value"])

    assert names(service.get(f"queues?$select=name&$filter=description eq '{tag}' and startswith(name,'{text}') and endswith(name,'{text}')")) == wanted or "%" in pattern
    inside = f"<attribute name='name'/><filter><condition attribute='description' operator='eq' value='{tag}'/><condition attribute='name' operator='{{}}' value='{pattern}'/></filter>"
    assert names(fetched(service, "queues", inside.format("like"))) == wanted
    left = sorted(set("abc a_c axc abbc a[c a-c".split()) - set(wanted))
    assert names(fetched(service, "queues", inside.format("not-like"))) == left
    assert names(sql(service, f"SELECT name FROM queue WHERE description = '{tag}' AND name LIKE '{pattern}'", "queues")) == wanted
    assert set(names(service.get(f"queues?$select=name&$filter=description eq '{tag}' and contains(name,'{text}')"))) >= set(wanted)


def test_a_range_of_characters_that_ends_before_it_begins_is_refused(service):
    refused(service.get("queues?$filter=contains(name,'a[z-a]')"), 400, "0x80060888")
    refused(sql(service, "SELECT name FROM queue WHERE name LIKE 'a[^z-a]'", "queues"), 400, "0x80060888")


def test_records_of_the_callers_teams(service):
    tag, user = f"teams{uuid.uuid4().hex[:8]}", service.get("WhoAmI").json()["UserId"]
    unit = service.get("WhoAmI").json()["BusinessUnitId"]
    mine, other = (service.create("teams", {"name": f"{tag} {n}", "businessunitid@odata.bind": f"/businessunits({unit})"}) for n in range(2))
    assert service.request("POST", f"teams({mine})/Microsoft.Dynamics.CRM.AddMembersTeam", {"Members": [{"systemuserid": user, "@odata.type": "Microsoft.Dynamics.CRM.systemuser"}]}).status_code == 204
    for name, owner in (("own", f"systemusers({user})"), ("team", f"teams({mine})"), ("other", f"teams({other})")):
        service.create("queues", {"name": f"{tag} {name}", "ownerid@odata.bind": f"/{owner}"})
    for function, operator, expected in (("EqualUserTeams", "eq-userteams", ["team"]), ("EqualUserOrUserTeams", "eq-useroruserteams", ["own", "team"]), ("EqualUserId", "eq-userid", ["own"])):
        rows = service.get(f"queues?$orderby=name&$filter=startswith(name,'{tag}') and Microsoft.Dynamics.CRM.{function}(PropertyName='ownerid')").json()["value"]
        assert [r["name"].split()[1] for r in rows] == expected, function
        rows = fetched(service, "queues", f"<attribute name='name'/><order attribute='name'/><filter><condition attribute='name' operator='like' value='{tag}%'/><condition attribute='ownerid' operator='{operator}'/></filter>").json()["value"]
        assert [r["name"].split()[1] for r in rows] == expected, operator


def test_business_units_above_and_under(service):
    units = [str(uuid.uuid4()) for _ in range(3)]
    top = service.get("WhoAmI").json()["BusinessUnitId"]
    for unit, parent, name in zip(units, [top, units[0], units[1]], "abc"):
        service.sql("INSERT INTO org_contoso.businessunit (businessunitid, name, parentbusinessunitid) VALUES (%s, %s, %s)", [unit, name, parent])
    try:
        for function, operator, of, expected in (
            ("Above", "above", units[1], [top, units[0]]), ("AboveOrEqual", "eq-or-above", units[1], [top, *units[:2]]), ("Under", "under", units[0], units[1:]),
            ("UnderOrEqual", "eq-or-under", units[0], units), ("Under", "under", units[2], []), ("Above", "above", top, []), ("Above", "above", str(uuid.uuid4()), []),
        ):
            rows = service.get(f"businessunits?$select=name&$filter=Microsoft.Dynamics.CRM.{function}(PropertyName='businessunitid',PropertyValue='{of}')").json()["value"]
            assert {r["businessunitid"] for r in rows} == set(expected), (function, of)
            rows = fetched(service, "businessunits", f"<attribute name='businessunitid'/><filter><condition attribute='businessunitid' operator='{operator}' value='{of}'/></filter>").json()["value"]
            assert {r["businessunitid"] for r in rows} == set(expected), (operator, of)
        rows = service.get(f"businessunits?$filter=Microsoft.Dynamics.CRM.NotUnder(PropertyName='businessunitid',PropertyValue='{units[0]}')").json()["value"]
        assert {r["businessunitid"] for r in rows} >= {top, units[0]} and not {r["businessunitid"] for r in rows} & set(units[1:])
        # A cycle of parents does not keep a query from ending.
        service.sql("UPDATE org_contoso.businessunit SET parentbusinessunitid = %s WHERE businessunitid = %s", [units[2], units[0]])
        rows = service.get(f"businessunits?$filter=Microsoft.Dynamics.CRM.Under(PropertyName='businessunitid',PropertyValue='{units[0]}')").json()["value"]
        assert {r["businessunitid"] for r in rows} == set(units[1:])
    finally:
        service.sql("UPDATE org_contoso.businessunit SET parentbusinessunitid = NULL WHERE businessunitid = ANY(%s::uuid[])", [units])
        service.sql("DELETE FROM org_contoso.businessunit WHERE businessunitid = ANY(%s::uuid[])", [units])


class Fiscal:
    """A model of fiscal years, from the day on which a year begins and the length of its periods."""

    MONTHS = {2000: 12, 2001: 6, 2002: 3, 2003: 1}

    def __init__(self, month, day, kind):
        self.month, self.day, self.kind = month, day, kind

    def year_start(self, year):
        return datetime.datetime(year, self.month, self.day, tzinfo=datetime.timezone.utc)

    def periods(self):
        """The fiscal periods of some years, in order: [(year, period, beginning, end)]."""
        for year in range(2018, 2035):
            first, last = self.year_start(year), self.year_start(year + 1)
            starts = []
            if self.kind == 2004:
                starts = [first + datetime.timedelta(days=28 * n) for n in range(13)]
            else:
                for months in range(0, 12, self.MONTHS[self.kind]):
                    index = self.month - 1 + months
                    starts.append(first.replace(year=year + index // 12, month=index % 12 + 1))
            for number, start in enumerate(starts, 1):
                yield year, number, start, starts[number] if number < len(starts) else last

    def matches(self, name, numbers, date, now):
        periods = list(self.periods())
        def place(moment):
            return next(n for n, p in enumerate(periods) if p[2] <= moment < p[3])
        own, current = place(date), place(now)
        year, this_year = periods[own][0], periods[current][0]
        first = {y: min(p[2] for p in periods if p[0] == y) for y in {p[0] for p in periods}}
        if name in ("this-fiscal-year", "last-fiscal-year", "next-fiscal-year"):
            return year == this_year + {"t": 0, "l": -1, "n": 1}[name[0]]
        if name in ("this-fiscal-period", "last-fiscal-period", "next-fiscal-period"):
            return own == current + {"t": 0, "l": -1, "n": 1}[name[0]]
        if name == "in-fiscal-year":
            return year == numbers[0]
        if name == "in-fiscal-period":
            return periods[own][1] == numbers[0]
        if name == "in-fiscal-period-and-year":
            return (periods[own][1], year) == tuple(numbers)
        if name in ("in-or-before-fiscal-period-and-year", "in-or-after-fiscal-period-and-year"):
            # A number that is too high for the year comes after the year's last period and before the next year.
            if "before" in name:
                return date < [p for p in periods if (p[0], p[1]) <= (numbers[1], numbers[0])][-1][3]
            return date >= [p for p in periods if (p[0], p[1]) >= (numbers[1], numbers[0])][0][2]
        count = numbers[0]
        if name == "last-x-fiscal-years":
            return first[this_year - count] <= date < now
        if name == "next-x-fiscal-years":
            return now <= date < first[this_year + count + 1]
        if name == "last-x-fiscal-periods":
            return periods[current - count][2] <= date < now
        return now <= date < periods[current + count][3]


def test_fiscal_years_and_periods(service):
    tag, random = f"fiscal{uuid.uuid4().hex[:8]}", Random(18)
    organization = service.get("WhoAmI").json()["OrganizationId"]
    for n in range(60):
        service.create("queues", {"name": f"{tag} {n}"})
    now = datetime.datetime.now(datetime.timezone.utc)
    start = now - datetime.timedelta(days=1_100)
    service.sql("UPDATE org_contoso.queue SET createdon = %s::timestamptz + random() * interval '2200 days' WHERE name LIKE %s", [start, f"{tag}%"])
    dates = {r["name"]: datetime.datetime.fromisoformat(r["createdon"]) for r in service.get(f"queues?$filter=startswith(name,'{tag}')&$select=name,createdon").json()["value"]}
    names = ["this-fiscal-year", "last-fiscal-year", "next-fiscal-year", "this-fiscal-period", "last-fiscal-period", "next-fiscal-period", "in-fiscal-year", "in-fiscal-period", "in-fiscal-period-and-year",
             "in-or-before-fiscal-period-and-year", "in-or-after-fiscal-period-and-year", "last-x-fiscal-years", "next-x-fiscal-years", "last-x-fiscal-periods", "next-x-fiscal-periods"]
    divided = 0
    try:
        for month, day, kind in ((1, 1, 2002), (4, 6, 2002), (7, 1, 2000), (10, 1, 2001), (2, 28, 2003), (9, 15, 2004)):
            settings = {"fiscalcalendarstart": f"2001-{month:02}-{day:02}T00:00:00Z", "fiscalperiodtype": kind}
            assert service.request("PATCH", f"organizations({organization})", settings).status_code == 204
            model = Fiscal(month, day, kind)
            for name in names:
                numbers = {"in-fiscal-year": [now.year], "in-fiscal-period": [random.randint(1, 4)]}.get(name) or (
                    [random.randint(1, 5), now.year + random.randint(-1, 1)] if name.endswith("and-year") else [random.randint(1, 3)] if "-x-" in name else [])
                values = "".join(f"<value>{n}</value>" for n in numbers)
                rows = fetched(service, "queues", f"<attribute name='name'/><filter><condition attribute='name' operator='like' value='{tag}%'/><condition attribute='createdon' operator='{name}'>{values}</condition></filter>")
                assert rows.status_code == 200, rows.text
                expected = {n for n, date in dates.items() if model.matches(name, numbers, date, now)}
                assert {r["name"] for r in rows.json()["value"]} == expected, (name, numbers, settings)
                divided += 0 < len(expected) < 60
        assert divided > 60, divided
    finally:
        assert service.request("PATCH", f"organizations({organization})", {"fiscalcalendarstart": "2000-01-01T00:00:00Z", "fiscalperiodtype": 2002}).status_code == 204
    for name, values in (("in-fiscal-period", ["14"]), ("in-fiscal-year", ["x"]), ("last-x-fiscal-years", ["0"]), ("in-fiscal-period-and-year", ["1"]), ("this-fiscal-year", ["1"])):
        inner = "".join(f"<value>{v}</value>" for v in values)
        refused(fetched(service, "queues", f"<filter><condition attribute='createdon' operator='{name}'>{inner}</condition></filter>"), 400, "0x80060888")
    refused(fetched(service, "queues", "<filter><condition attribute='name' operator='this-fiscal-year'/></filter>"), 400, "0x80060888")


def test_a_column_is_given_once(service, records):
    once = {"name": f"{records['prefix']} Box 1"}
    condition = f"<filter><condition attribute='name' operator='eq' value='{records['prefix']} box 1'/></filter>"
    rows = fetched(service, "mailboxes", f"<attribute name='name'/><attribute name='name'/>{condition}")
    assert rows.text.count('"name"') == 1
    assert sql(service, f"SELECT name, name FROM mailbox WHERE name = '{once['name']}'").text.count('"name"') == 1
    for url in ("SELECT name AS a, username AS a FROM mailbox", "SELECT name, COUNT(*) AS name FROM mailbox GROUP BY name"):
        refused(sql(service, url), 400, "0x80060888")
    refused(service.get("mailboxes?$apply=groupby((name),aggregate($count as name))"), 400, "0x80060888")
    refused(fetched(service, "mailboxes", "<attribute name='name' alias='a'/><attribute name='username' alias='a'/>"), 400, "0x80060888")


def test_addresses_are_expanded_alone(service, records):
    box = service.get(f"mailboxes({records['ids'][0]})?$select=name&$expand=emailserverprofile/$ref,regardingobjectid_queue/$ref").json()
    assert box["emailserverprofile"] == {"@odata.id": f"{service.api}/emailserverprofiles({records['profile']})"} and box["regardingobjectid_queue"] is None
    profile = service.get(f"emailserverprofiles({records['profile']})?$select=name&$expand=emailserverprofile_mailbox/$ref").json()
    assert {frozenset(m) for m in profile["emailserverprofile_mailbox"]} == {frozenset(["@odata.id"])}
    assert {m["@odata.id"] for m in profile["emailserverprofile_mailbox"]} == {f"{service.api}/mailboxes({id})" for id in records["ids"]}


def test_formatted_values_of_links(service, records):
    formatted = "OData.Community.Display.V1.FormattedValue"
    inside = (f"<attribute name='name'/><attribute name='ownerid'/><attribute name='createdon'/>"
              f"<attribute name='ispasswordset'/><attribute name='processanddeleteemails'/><filter><condition attribute='name' operator='eq' value='{records['prefix']} box 1'/></filter>"
              "<link-entity name='emailserverprofile' from='emailserverprofileid' to='emailserverprofile' alias='p'><attribute name='ownerid'/><attribute name='statecode'/>"
              "<attribute name='isincomingpasswordset'/><attribute name='isoutgoingpasswordset'/></link-entity>")
    (row,) = fetched(service, "mailboxes", inside, Prefer='odata.include-annotations="*"').json()["value"]
    assert row[f"_ownerid_value@{formatted}"] == "# dev-admin" == row[f"p.ownerid@{formatted}"] and row[f"p.statecode@{formatted}"] == "Active"
    flags = {"ispasswordset": True, "processanddeleteemails": False, "p.isincomingpasswordset": True, "p.isoutgoingpasswordset": False}
    one = service.get(f"mailboxes({records['ids'][1]})?$select=ispasswordset,processanddeleteemails", Prefer='odata.include-annotations="*"').json()
    for name, flag in flags.items():
        assert (row[name], row[f"{name}@{formatted}"]) == (flag, "Yes" if flag else "No"), name
        assert "." in name or one[f"{name}@{formatted}"] == row[f"{name}@{formatted}"], name
    date = datetime.datetime.fromisoformat(row["createdon"])
    assert row[f"createdon@{formatted}"] == f"{date.month}/{date.day}/{date.year} {date.hour % 12 or 12}:{date.minute:02} {'AM' if date.hour < 12 else 'PM'}"
    excluded = fetched(service, "mailboxes", inside, Prefer=f'odata.include-annotations="*,-{formatted}"').text
    assert formatted not in excluded and "Microsoft.Dynamics.CRM.lookuplogicalname" in excluded


def test_a_page_is_as_long_as_is_said(service):
    assert service.get("queues?$top=1", Prefer="odata.maxpagesize=9000").headers["Preference-Applied"] == "odata.maxpagesize=5000"
    assert service.request("POST", "queues", {"name": "x"}, Prefer="return=representation; x=y").status_code == 201


def test_a_team_is_an_owner_too(service):
    unit = service.get("WhoAmI").json()["BusinessUnitId"]
    name = f"owner {uuid.uuid4()}"
    team = service.create("teams", {"name": name, "businessunitid@odata.bind": f"/businessunits({unit})"})
    queues = [service.create("queues", {"name": f"{name} {n}", **({"ownerid@odata.bind": f"/teams({team})"} if n else {})}) for n in range(2)]
    rows = service.get(f"queues?$filter=startswith(name,'{name}')&$orderby=name&$select=name&$expand=ownerid").json()["value"]
    assert (rows[0]["ownerid"]["fullname"], rows[1]["ownerid"]["name"]) == ("# dev-admin", name)
    assert service.get(f"queues({queues[1]})/ownerid?$select=name").json()["name"] == name
    assert service.get(f"queues({queues[1]})/ownerid/$ref").json()["@odata.id"].endswith(f"teams({team})")
    assert service.get(f"queues({queues[0]})/ownerid").json()["fullname"] == "# dev-admin"
    selected = service.get(f"queues({queues[1]})?$expand=ownerid($select=fullname)").json()["ownerid"]
    assert selected["teamid"] == team


def test_the_context_lists_what_was_asked_for(service, records):
    root = f"{service.api}/$metadata#"
    one = f"mailboxes({records['ids'][0]})"
    for path, context in (
        (f"{one}?$select=name,_ownerid_value", "mailboxes(name,_ownerid_value)/$entity"), (one, "mailboxes/$entity"), ("mailboxes?$select=name", "mailboxes(name)"), ("mailboxes?$top=1", "mailboxes"),
        (f"{one}?$select=name&$expand=emailserverprofile($select=name;$expand=owninguser($select=fullname))", "mailboxes(name,emailserverprofile(name,owninguser(fullname)))/$entity"),
        (f"{one}?$expand=emailserverprofile", "mailboxes(emailserverprofile())/$entity"),
    ):
        assert service.get(path).json()["@odata.context"] == root + context


@pytest.mark.parametrize("more", ["<x/>", "garbage", "</fetch>", "<", "&amp;", '<fetch><entity name="queue"/></fetch>', "<!-- a", "<![CDATA[a]]>"])
def test_a_query_ends_with_its_root(service, more):
    refused(fetch(service, 'queues', '<fetch><entity name="queue"/></fetch>' + more), 400, "0x80060888")


@pytest.mark.parametrize("attributes", ['page="0"', 'count="-1"', 'page="x"'])
def test_pages_are_counted_from_one(service, attributes):
    refused(fetch(service, "queues", f'<fetch {attributes}><entity name="queue"/></fetch>'), 400, "0x80060888")


@pytest.mark.parametrize("alias", ["", "a b", "1a", "a.b", "ä", "a-b"])
def test_an_alias_is_a_name(service, alias):
    refused(fetch(service, "queues", f'<fetch><entity name="queue"><attribute name="name" alias="{alias}"/></entity></fetch>'), 400, "0x80060888")
    link = f'<link-entity name="systemuser" from="systemuserid" to="ownerid" alias="{alias}"/>'
    refused(fetch(service, "queues", f'<fetch><entity name="queue">{link}</entity></fetch>'), 400, "0x80060888")


def test_filters_without_conditions_change_nothing(service):
    name = f"empty {uuid.uuid4()}"
    for suffix in "ab":
        service.create("queues", {"name": f"{name} {suffix}"})
    wanted = f'<condition attribute="name" operator="eq" value="{name} a"/>'
    for filters in (
        f'<filter type="or"/><filter>{wanted}</filter>', f'<filter type="or"><filter/>{wanted}</filter>',
        f'<filter>{wanted}<filter type="or"/></filter>', f'<filter type="and"><filter type="or"><filter type="or"/></filter>{wanted}</filter>',
    ):
        found = fetch(service, "queues", f'<fetch><entity name="queue"><attribute name="name"/>{filters}</entity></fetch>').json()["value"]
        assert [row["name"] for row in found] == [f"{name} a"], filters


def test_links_of_all_kinds_mean_what_dataverse_documents(service):
    name = f"links {uuid.uuid4()}"
    for suffix, boxes in (("none", []), ("both", ["good", "bad"]), ("good", ["good"]), ("bad", ["bad"])):
        profile = service.create("emailserverprofiles", {"name": f"{name} {suffix}"})
        for box in boxes:
            service.create("mailboxes", {"name": f"{name} {suffix} {box}", "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})

    def found(kind, condition='<filter><condition attribute="name" operator="like" value="%good"/></filter>'):
        link = f'<link-entity name="mailbox" from="emailserverprofile" to="emailserverprofileid" link-type="{kind}">{condition}</link-entity>'
        own = f'<condition attribute="name" operator="like" value="{name}%"/>'
        rows = fetch(service, "emailserverprofiles", f'<fetch><entity name="emailserverprofile"><attribute name="name"/><filter>{own}{link}</filter></entity></fetch>')
        return sorted(row["name"].split()[-1] for row in rows.json()["value"])
    assert found("any") == found("not all") == ["both", "good"]
    assert found("not any") == ["bad", "none"]
    assert found("all") == ["bad"]
    link = '<link-entity name="mailbox" from="emailserverprofile" to="emailserverprofileid" link-type="all"/>'
    refused(fetch(service, "emailserverprofiles", f'<fetch><entity name="emailserverprofile"><filter>{link}</filter></entity></fetch>'), 400, "0x80060888")


def test_declarations_of_namespaces_that_name_nothing_are_accepted(service):
    assert fetch(service, "queues", '<fetch xmlns:generator="SQL editor"><entity name="queue"/></fetch>').status_code == 200
    refused(fetch(service, "queues", '<fetch xmlns="urn:x"><entity name="queue"/></fetch>'), 400, "0x80060888")
    refused(fetch(service, "queues", '<fetch xmlns:a="urn:x" a:top="1"><entity name="queue"/></fetch>'), 400, "0x80060888")
