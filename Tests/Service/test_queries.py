"""What lists answer: $filter and its like, FetchXML and SQL, which are one query to the service; and that none of them reads a secret."""

import json
import urllib.parse
import uuid

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
    """A profile with six mailboxes, named by their numbers; every second one has an address."""
    prefix = f"q{uuid.uuid4().hex[:10]}"
    profile = service.create("emailserverprofiles", {"name": f"{prefix} Profile", "incomingpassword": "canary"})
    ids = [
        service.create("mailboxes", {
            "name": f"{prefix} Box {n}", "emailaddress": None if n % 2 else f"{n}@{prefix}.test", "password": "canary",
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
    """To the second, whatever stands behind it in the table: what was read is found, and found once."""
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


@pytest.mark.parametrize("order", ["name", "name desc", "emailaddress", "emailaddress desc,name", "createdon desc", "statecode,emailaddress"])
def test_pages_survive_inserts_and_deletes(service, order):
    prefix = f"page{uuid.uuid4().hex[:8]}"
    for n in range(7):
        service.create("queues", {"name": f"{prefix} {n}", "emailaddress": f"{n % 3}@x.test" if n % 2 else None})
    url, seen = f"queues?$select=name&$filter=startswith(name,'{prefix}')&$orderby={order}", []
    expected = [r["name"] for r in service.get(url).json()["value"]]
    while url:
        page = service.get(url, Prefer="odata.maxpagesize=2").json()
        seen += [r["name"] for r in page["value"]]
        url = page.get("@odata.nextLink")
        if len(seen) == 2:
            # One that was given goes, and one comes that belongs before all others.
            gone = service.get(f"queues?$filter=name eq '{seen[0]}'").json()["value"][0]["queueid"]
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
    assert service.request("PUT", f"{path}/password", {"value": "canary"}).status_code == 204
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
    """Every way of naming one: read as null, or refused in the same words whether there are values or not."""
    id = {"usersettings": "systemuserid"}.get(entity, f"{entity}id")
    refusals = [
        f"$filter={attribute} eq 'canary'", f"$filter=contains({attribute},'c')", f"$filter={attribute} ne null", f"$filter=null eq {attribute}",
        f"$filter={attribute} in ('canary')", f"$filter=tolower({attribute}) eq 'canary'", f"$filter=Microsoft.Dynamics.CRM.In(PropertyName='{attribute}',PropertyValues=[\"canary\"])",
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
        f"SELECT {id} FROM {entity} WHERE {attribute} = 'canary'", f"SELECT {id} FROM {entity} WHERE {attribute} IS NOT NULL", f"SELECT {id} FROM {entity} ORDER BY {attribute}",
        f"SELECT COUNT({attribute}) AS n FROM {entity}", f"SELECT MAX({attribute}) AS n FROM {entity}", f"SELECT DISTINCT {attribute} FROM {entity}", f"SELECT {attribute} FROM {entity} GROUP BY {attribute}",
        f"SELECT a.{id} FROM {entity} a JOIN {entity} b ON a.{attribute} = b.{attribute}", f"SELECT {attribute} AS x FROM {entity} ORDER BY x", f"SELECT {id} FROM {entity} WHERE {id} = {attribute}",
    ]:
        refusals.append("sql=" + urllib.parse.quote(text))
    for refusal in refusals:
        message = refused(service.get(f"{entity_set}?{refusal}"), 400, "0x80060888")
        assert attribute in message and "encrypted" in message, (refusal, message)
    refused(service.get(f"{entity_set}({attribute}='canary')"), 400, "0x80060888")
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
        assert rows and all(row.get(attribute, row.get("x")) is None for row in rows) and "canary" not in response.text
        assert f"{attribute}@OData" not in response.text


def test_reads_touch_no_cell(service, records):
    """No answer, and no time that it takes, can tell a cell from another: reads are answered while nobody can read a cell."""
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
    """500 payloads in ids, names, filters and headers: never a server error, never a row that a literal did not name."""
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
    name = "quote \" backslash \\ control \x01 tab \t line \n separators \u2028\u2029 astral 😀"
    id = service.create("queues", {"name": name})
    assert service.get(f"queues?$filter=queueid eq {id}&$select=name").json()["value"][0]["name"] == name
    assert requests.compat.json.loads(service.get(f"queues({id})").text)["name"] == name


def test_an_inner_error_comes_where_it_is_preferred(service):
    plain = service.get("mailboxes?$top=x").json()["error"]
    assert set(plain) == {"code", "message"}
    inner = service.get("mailboxes?$top=x", Prefer='odata.include-annotations="*"').json()["error"]
    assert inner["innererror"]["message"] == inner["message"] == plain["message"] and inner["code"] == plain["code"]
