"""Records that a caller may not read: no query takes longer because one of their texts or parties matches.

The attacker's own settings have a long text, and patterns that take PostgreSQL longer than a statement may take. A query compares a text of
others, and has these patterns in a subquery. If PostgreSQL ran the subquery for a row that the attacker may not read, the query would fail.
"""

import concurrent.futures
import re
import urllib.parse

import psycopg
import pytest
from service import Deployment, refused
from test_long_texts import COSTLY
from waiting import until

ADDRESS = "lawyer@secret.test"


@pytest.fixture(scope="module")
def office():
    """A deployment with an e-mail, its recipient, and a mailbox that the Basic User may not read, and others that are the Basic User's own."""
    with Deployment.made(FIELDSEAL_LIMITS_STATEMENT_SECONDS="3") as deployment:
        for client, kind in (("admin", "hidden"), ("user", "own")):
            parties = [{"participationtypemask": 2, "addressused": f"{kind}-{ADDRESS}"}]
            deployment.create("emails", {"subject": f"{kind} merger", "email_activity_parties": parties}, client=client)
        [(user,)] = deployment.sql("SELECT systemuser_id::text FROM config.api_client WHERE name = 'dev-user'")
        for client, kind in (("admin", 4), ("user", 3)):
            parties = [{"participationtypemask": kind, "partyid_systemuser@odata.bind": f"/systemusers({user})"}]
            deployment.create("emails", {"subject": "copied", "email_activity_parties": parties}, client=client)
        for kind, owner in (("hidden", None), ("own", user)):
            box = deployment.create("mailboxes", {"name": kind, "username": f"{kind} name"})
            if owner:
                deployment.request("PATCH", f"mailboxes({box})", {"ownerid@odata.bind": f"/systemusers({owner})"})
        text = "12.5 million " + "for the deal. " * 20_000
        settings = {"personalizationsettings": text, "emailusername": "hidden merger", "paginglimit": 2}
        assert deployment.request("PATCH", f"usersettingscollection({user})", settings, client="user").status_code == 204
        for table in ("email", "activityparty", "mailbox", "usersettings", "principal_access"):
            deployment.sql(f"ANALYZE org_contoso.{table}")
        deployment.attacker = user
        yield deployment


def condition(attribute, operator, value, *values):
    inner = "".join(f"<value>{v}</value>" for v in (value, *values)) if values else ""
    return f'<condition attribute="{attribute}" operator="{operator}"' + (f">{inner}</condition>" if values else f' value="{value}"/>')


def slow(id, to, by, kind="any"):
    """A condition that is never true, but takes long if PostgreSQL evaluates it: a subquery over the attacker's own settings, or an id."""
    patterns = "".join(condition("personalizationsettings", "like", f"%12.5 million%{pattern}%") for pattern in COSTLY)
    link = f'<link-entity name="usersettings" from="{by}" to="{to}" link-type="{kind}"><filter type="or">{patterns}</filter></link-entity>'
    return f'<filter type="or">{link}{condition(id, "eq", "00000000-0000-4000-8000-00000000ffff")}</filter>'


def fetch(entity, set, attribute, inner):
    return f"{set}?fetchXml=" + urllib.parse.quote(f'<fetch><entity name="{entity}"><attribute name="{attribute}"/>{inner}</entity></fetch>')


def emails(*conditions):
    return fetch("email", "emails", "subject", f"<filter>{''.join(conditions)}{slow('activityid', 'owningbusinessunit', 'businessunitid')}</filter>")


#: Queries that compare a text of a record whose texts begin with "hidden" or "own".
QUERIES = {
    "equal": lambda kind: emails(condition("subject", "eq", f"{kind} merger")),
    "in": lambda kind: emails(condition("subject", "in", f"{kind} merger", "nothing")),
    "a range": lambda kind: emails(condition("subject", "ge", f"{kind} m"), condition("subject", "lt", f"{kind} n")),
    "a pattern": lambda kind: emails(condition("subject", "like", f"{kind} mer%")),
    "or": lambda kind: emails(f'<filter type="or">{condition("subject", "eq", f"{kind} merger")}{condition("subject", "eq", "nothing")}</filter>'),
    "a recipient": lambda kind: fetch(
        "activityparty", "activityparties", "addressused",
        f"<filter>{condition('addressused', 'eq', f'{kind}-{ADDRESS}')}{slow('activitypartyid', 'participationtypemask', 'paginglimit')}</filter>"),
    "a name": lambda kind: fetch(
        "mailbox", "mailboxes", "name",
        f"<filter>{condition('username', 'eq', f'{kind} name')}{slow('mailboxid', 'owningbusinessunit', 'businessunitid')}</filter>"),
}


def copied(office, kind):
    """The parties of a kind of the attacker, joined with the attacker's own settings, in which PostgreSQL looks for expensive patterns."""
    patterns = "".join(condition("personalizationsettings", "like", f"%12.5 million%{pattern}%") for pattern in COSTLY)
    once = condition("partyid", "eq", office.attacker) + condition("partyid", "ge", office.attacker) + condition("partyid", "le", office.attacker)
    return fetch(
        "activityparty", "activityparties", "participationtypemask",
        f'<filter>{condition("participationtypemask", "eq", kind)}{once}</filter>'
        '<link-entity name="systemuser" from="systemuserid" to="partyid"><link-entity name="usersettings" from="businessunitid" to="businessunitid">'
        f'<filter type="or">{patterns}</filter></link-entity></link-entity>')


def test_no_match_of_a_hidden_party_runs_a_join(office):
    """The hidden e-mail has the attacker as a Bcc recipient. The control is an own e-mail with the attacker as a Cc recipient."""
    hidden = office.get(copied(office, 4), client="user")
    assert hidden.status_code == 200 and hidden.json()["value"] == [], hidden.text
    refused(office.get(copied(office, 3), client="user"), 400, "0x80044151")


@pytest.mark.parametrize("kind", QUERIES)
def test_no_match_of_a_hidden_text_runs_a_subquery(office, kind):
    response = office.get(QUERIES[kind]("hidden"), client="user")
    assert response.status_code == 200 and response.json()["value"] == [], response.text


@pytest.mark.parametrize("kind", QUERIES)
def test_a_match_of_an_own_text_runs_it(office, kind):
    """The control: PostgreSQL evaluates the patterns for the caller's own records, so the query takes too long."""
    refused(office.get(QUERIES[kind]("own"), client="user"), 400, "0x80044151")


def guarded(office, path, table):
    """The statement that PostgreSQL receives for a query, which waits for a lock of the test."""
    waiting = ("SELECT query FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service' AND query LIKE 'SELECT t0.%'")
    with psycopg.connect(office.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(1) as pool:
        holder.execute(f"LOCK TABLE org_contoso.{table} IN ACCESS EXCLUSIVE MODE")
        asked = pool.submit(office.get, path, client="user")
        until(lambda: asked.done() or office.sql(waiting))
        [(query,)] = office.sql(waiting) or pytest.fail(asked.result().text)
        holder.rollback()
        assert asked.result().status_code == 200, asked.result().text
    return query


JOINS = {
    "a link": '<link-entity name="email" from="subject" to="emailusername" alias="l"/>',
    "an outer link": '<link-entity name="email" from="subject" to="emailusername" alias="l" link-type="outer"/>',
    "a link of one row": '<link-entity name="email" from="subject" to="emailusername" alias="l" link-type="matchfirstrowusingcrossapply"/>',
    "any": '<filter><link-entity name="email" from="subject" to="emailusername" link-type="any"/></filter>',
    "not any": '<filter><link-entity name="email" from="subject" to="emailusername" link-type="not any"/></filter>',
}


@pytest.mark.parametrize("kind", JOINS)
def test_no_join_finds_a_hidden_text(office, kind):
    found = office.get(fetch("usersettings", "usersettingscollection", "systemuserid", JOINS[kind]), client="user").json()["value"]
    assert len(found) == (1 if kind in ("an outer link", "not any") else 0)


# PostgreSQL shows only the beginning of a statement, and that of a subquery is too long.
@pytest.mark.parametrize("kind", [kind for kind in JOINS if "link" in kind])
def test_no_join_compares_a_hidden_text(office, kind):
    """In the statement, each text of an e-mail is in a CASE whose condition is the right to read the e-mail."""
    query = guarded(office, fetch("usersettings", "usersettingscollection", "systemuserid", JOINS[kind]), "email")
    texts = [query[:match.start()] for match in re.finditer(r'\bt1\."?subject"? |lower\(t1\."?subject"?\)', query)]
    assert texts and all(before.rstrip().endswith("THEN") for before in texts), query


def test_joins_by_own_texts_work(office):
    """The control: the same joins find the caller's own e-mail."""
    assert office.request("PATCH", f"usersettingscollection({office.attacker})", {"emailusername": "own merger"}, client="user").status_code == 204
    for kind, join in JOINS.items():
        found = office.get(fetch("usersettings", "usersettingscollection", "systemuserid", join), client="user").json()["value"]
        assert len(found) == (0 if kind == "not any" else 1), kind


def test_later_pages_compare_no_hidden_text(office):
    """A paging token has a text of the client, and the statement compares the text only with rows that the caller may read."""
    for _ in range(2):
        office.create("emails", {"subject": "paged"}, client="user")
    first = office.get("emails?$select=subject&$orderby=subject,createdon", client="user", prefer="odata.maxpagesize=1").json()
    query = guarded(office, first["@odata.nextLink"].split("/v9.2/")[1], "email")
    before = re.split(r'lower\(t0\."?subject"?\) >', query)[0]
    assert before != query and "CASE WHEN" in before and " END" not in before, query
