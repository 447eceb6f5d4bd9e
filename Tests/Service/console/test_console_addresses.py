"""Addresses of the console's pages: the page accepts each parameter and value, or refuses it by its name. These tests need no browser."""

import html
import pathlib
import re

import pytest
import requests
from test_console_pages import composing_routes

ROOT = pathlib.Path(__file__).parents[3]
NOBODY = "00000000-0000-4000-8000-00000000dead"
# Pages for visitors who are not signed in.
OPEN = ["", "/contoso/sign-in", "/contoso/invitation", f"/contoso/sign-in/with/{NOBODY}"]


@pytest.fixture(scope="module")
def visitor(service):
    """A function that requests a page of contoso as a signed-in person."""
    session = requests.Session()
    session.verify, session.trust_env = service.dev["caFile"], False
    base = service.dev["baseURL"]
    session.headers.update({"Origin": base, "Accept": "text/html", "Accept-Language": "en"})
    person = service.dev["console"]
    assert session.post(f"{base}/contoso/sign-in", {"name": person["username"], "password": person["password"]}).url.endswith("/overview")
    return lambda path: session.get(f"{base}/contoso/{path}")


def routes():
    """The addresses of pages for signed-in people, read from the sources."""
    source = (ROOT / "Sources/Console/Console+Routes.swift").read_text()
    found = re.findall(r'^        get\(\s*router, (?:"([^"]*)"|path|Self\.approvalsPath)', source, re.MULTILINE)
    assert len(found) > 25
    for path in [*found, *composing_routes()]:
        path = path.replace("\\(path)", "settings/data-encryption") or "settings/data-encryption"
        yield re.sub(r":\w+", NOBODY, path.replace(":set", "mailboxes").replace(":entity", "mailbox"))


@pytest.mark.parametrize("path", sorted(set(routes())))
def test_every_page_refuses_a_parameter_that_it_does_not_have(visitor, path):
    answer = visitor(f"{path}?utm_source=x")
    assert answer.status_code == 400 and "utm_source" in answer.text, answer.text


def test_pages_for_strangers_do_too(service):
    for path in OPEN:
        answer = requests.get(f"{service.dev['baseURL']}{path}?utm_source=x", verify=service.dev["caFile"], headers={"Accept": "text/html"})
        assert answer.status_code == 400 and "utm_source" in answer.text, path
    # An OpenID provider may add parameters, and the page ignores them (RFC 6749, section 4.1.2).
    back = requests.get(f"{service.dev['baseURL']}/contoso/sign-in/back?session_state=x", verify=service.dev["caFile"])
    assert "session_state" not in back.text


@pytest.mark.parametrize("path, name", [
    *((f"records/mailboxes{end}?{query}", query.split("=")[0]) for end in ("", "/export.csv") for query in (
        "status=nope", "status=3", "sort=nope", "sort=-nope", "size=26", "view=nope", "of=nope", "f.nope=", "f.nope=1", "f.statecode=nope", "q=" + "x" * 101)),
    *((f"records/queues{end}?{query}", query.split("=")[0]) for end in ("", "/export.csv") for query in ("status=nope", f"of={NOBODY}")),
    ("records/emails?status=99", "status"), ("records/mailboxes?page=abc", "page"), ("records/mailboxes?page=-1", "page"),
    ("records/mailboxes?page=10001", "page"), ("records/mailboxes?done=nope", "done"), ("records/mailboxes?n=2", "n"), ("records/queues?result=abc", "result"), ("records/mailboxes?result=" + "x" * 12_001, "result"),
    *((f"audit{end}?{query}", query.split("=")[0]) for end in ("", ".csv") for query in (
        "table=nope", "operation=9", "operation=x", "from=2026-13-45", "until=yesterday", "id=nope", "before=1", "kind=key+changed")),
    ("audit?page=20001", "page"), ("audit.csv?page=1", "page"),
    *((f"events?{query}", query.split("=")[0]) for query in (
        "kind=nope", "outcome=nope", "from=2026-13-45", "until=2026-02-30", "before=x", "before=1.5", "table=mailbox", "record=" + "x" * 101)),
    ("events.jsonl?kind=nope", "kind"), ("events.csv?before=1", "before"), ("overview?kind=key+changed", "kind"), ("overview?before=5", "before"), ("account?done=nope", "done"), ("connect?provider=nope", "provider"),
    ("compose?from=nope", "from"), ("access?q=" + "x" * 101, "q"), ("settings/data-encryption/change?typed=2", "typed"),
])
def test_a_value_that_a_page_does_not_understand_is_refused_by_its_name(visitor, path, name):
    answer = visitor(path)
    assert answer.status_code == 400, (path, answer.status_code)
    # The refusal is an HTML page without any row of the list or the export.
    assert answer.headers["Content-Type"].startswith("text/html") and name in html.unescape(answer.text) and "<table" not in answer.text


def test_a_parameter_that_comes_twice_or_is_not_in_utf_8_is_refused(visitor):
    for query, word in (("q=a&q=b", "q"), ("q=a&q=", "q"), ("f.ispasswordset=true&f.ispasswordset=false", "f.ispasswordset"), ("q=%ff", "q=%ff"), ("q=a%00", "q=a%00"),
                        ("&".join(f"a{n}=" for n in range(201)), "200")):
        answer = visitor(f"records/mailboxes?{query}")
        assert answer.status_code == 400 and word.lower() in html.unescape(answer.text).lower(), query


def test_what_pages_link_to_and_forms_send_is_understood(visitor):
    for path in (
        "records/mailboxes?of=&sort=&q=&status=&size=25&f.ispasswordset=&f.emailserverprofile=", "records/mailboxes?status=failing&sort=-name&page=2&size=100",
        "records/mailboxes/export.csv?q=x&f.ispasswordset=false", "records/emails?status=3&sort=", f"records/emails?of={NOBODY}",
        "records/mailboxes?done=saved&result=abc", f"audit?id={NOBODY}&table=&operation=&person=&from=&until=",
        "audit?table=mailbox&operation=2&person=%23+dev-admin&from=2026-01-31&until=2026-02-01T12:00:00Z&page=1", "audit.csv?operation=3",
        "events?kind=&outcome=refused&actor=user%3A" + "x" * 150 + "&from=&until=&record=word&before=99",
        "access?q=ada", "account?done=codesOff", "lookup/mailbox?q=x", "settings/data-encryption?done=changedDone", "connect?provider=",
    ):
        answer = visitor(path)
        assert answer.status_code == 200, (path, answer.text[-600:])
