"""The names of the records to which lookups refer, in groups over a path and as sort keys."""

import urllib.parse
import uuid

import pytest
from test_lookups_and_counts import ANNOTATED, FORMATTED
from test_queries import fetch

ENTITY = "@Microsoft.Dynamics.CRM.lookuplogicalname"


@pytest.fixture(scope="module")
def owned(service):
    """A queue that a team owns and a queue that a user owns, each with its mailbox: (prefix, team, user, mailboxes)."""
    prefix = f"n{uuid.uuid4().hex[:10]}"
    team = service.create("teams", {"name": f"{prefix} team"})
    user = service.get("WhoAmI").json()["UserId"]
    boxes = {}
    for of, owner in (("team", f"/teams({team})"), ("user", f"/systemusers({user})")):
        queue = service.create("queues", {"name": f"{prefix} {of}", "emailaddress": f"{prefix}-{of}@names.test", "ownerid@odata.bind": owner})
        boxes[of] = service.get(f"queues({queue})?$select=_defaultmailbox_value").json()["_defaultmailbox_value"]
    return prefix, team, user, boxes


def groups(service, prefix, path):
    apply = f"filter(startswith(regardingobjectid_queue/name,'{prefix}'))/groupby(({path}))"
    response = service.get("mailboxes?$apply=" + urllib.parse.quote(apply), **ANNOTATED)
    assert response.status_code == 200, response.text
    return response.json()["value"]


@pytest.mark.parametrize("path", ["regardingobjectid_queue/_ownerid_value", "regardingobjectid_queue/ownerid"])
def test_an_owner_grouped_over_a_path_has_its_name_and_entity(service, owned, path):
    prefix, team, user, _ = owned
    name = f"queue_{path.rpartition('/')[2]}"
    rows = {row[name]: row for row in groups(service, prefix, path)}
    assert {id: row[name + ENTITY] for id, row in rows.items()} == {team: "team", user: "systemuser"}
    assert rows[team][name + FORMATTED] == f"{prefix} team" and rows[user][name + FORMATTED]


def test_other_lookups_grouped_over_a_path_have_theirs(service, owned):
    prefix, _, user, _ = owned
    (row,) = groups(service, prefix, "regardingobjectid_queue/_createdby_value")
    fullname = service.get(f"systemusers({user})?$select=fullname").json()["fullname"]
    assert (row["queue__createdby_value"], row["queue__createdby_value" + FORMATTED], row["queue__createdby_value" + ENTITY]) == (user, fullname, "systemuser")
    # Groups by a lookup over another lookup, and by the id of an owner, which can be a user or a team.
    rows = groups(service, prefix, "regardingobjectid_queue/_businessunitid_value,regardingobjectid_queue/ownerid/ownerid")
    assert len(rows) == 2 and all(row["queue__businessunitid_value" + FORMATTED] and row["queue__businessunitid_value" + ENTITY] == "businessunit" for row in rows)
    assert {row["principal_ownerid" + ENTITY] for row in rows} == {"team", "systemuser"}
    assert f"{prefix} team" in {row["principal_ownerid" + FORMATTED] for row in rows}


@pytest.fixture(scope="module")
def parties(service):
    """The tag of three e-mails. Their senders are a user and two addresses, of which one sorts before the user's name and one after it."""
    user, tag = service.get("WhoAmI").json()["UserId"], f"p{uuid.uuid4().hex[:10]}"
    for address in ("!first", "zz-last"):
        service.create("emails", {"subject": f"{tag} {address}", "email_activity_parties": [
            {"participationtypemask": 1, "addressused": f"{address}@{tag}.test"}, {"participationtypemask": 2, "partyid_systemuser@odata.bind": f"/systemusers({user})"},
            {"participationtypemask": 3, "addressused": f"{address}@{tag}.test"}]})
    service.create("emails", {"subject": f"{tag} user", "email_activity_parties": [{"participationtypemask": 1, "partyid_systemuser@odata.bind": f"/systemusers({user})"}]})
    return tag


@pytest.mark.parametrize("set, lookup, filter", [
    ("activityparties", "partyid", "startswith(activityid_email/subject,'{tag}')"), ("emails", "emailsender", "startswith(subject,'{tag}')")])
def test_a_lookup_of_none_sorts_lowest_whatever_its_name(service, parties, set, lookup, filter):
    property, condition = f"_{lookup}_value", urllib.parse.quote(filter.format(tag=parties))
    for descending in (False, True):
        rows, url = [], f"{set}?$select={property}&$filter={condition}&$orderby={property}{' desc' * descending}"
        while url:
            answer = service.get(url, Prefer="odata.maxpagesize=2").json()
            rows += [row[property] is None for row in answer["value"]]
            url = answer.get("@odata.nextLink", "").partition("/api/data/v9.2/")[2]
        assert rows == sorted(rows, reverse=not descending) and len(set_of(rows)) == 2 and len(rows) > 2
    entity = "activityparty" if set == "activityparties" else "email"
    link = f"<link-entity name='email' from='activityid' to='activityid'><filter><condition attribute='subject' operator='like' value='{parties}%'/></filter></link-entity>"
    inner = link if entity == "activityparty" else f"<filter><condition attribute='subject' operator='like' value='{parties}%'/></filter>"
    found = fetch(service, set, f"<fetch><entity name='{entity}'><attribute name='{lookup}'/><order attribute='{lookup}' descending='true'/>{inner}</entity></fetch>").json()["value"]
    nulls = [row.get(property) is None for row in found]
    assert nulls == sorted(nulls) and len(set_of(nulls)) == 2


def set_of(rows):
    return {*rows}


def test_the_id_of_an_owner_sorts_by_the_id(service, owned):
    prefix, team, user, _ = owned
    condition = urllib.parse.quote(f"startswith(name,'{prefix}')")
    for descending in (False, True):
        rows = service.get(f"queues?$select=_ownerid_value&$filter={condition}&$orderby=ownerid/ownerid{' desc' * descending}").json()["value"]
        assert [row["_ownerid_value"] for row in rows] == sorted((team, user), reverse=descending)
    # Sorting by the lookup's value sorts by the owner's name.
    rows = service.get(f"queues?$select=_ownerid_value&$filter={condition}&$orderby=_ownerid_value", **ANNOTATED).json()["value"]
    names = [row["_ownerid_value" + FORMATTED].lower() for row in rows]
    assert names == sorted(names)
