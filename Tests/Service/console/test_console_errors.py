"""Errors without a page of their own: a browser gets a page of the console, in the reader's language. Other programs get JSON."""

import concurrent.futures
import html
import os
import re
import signal

import psycopg
import pytest
import requests
from service import PATIENCE, Deployment
from waiting import until

#: The number of requests that are processed at the same time: of one network, and of all networks.
SHARE, LIMIT = 3, 4


@pytest.fixture(scope="module")
def console():
    with Deployment.made(FIELDSEAL_LIMITS_CLIENT_CONCURRENCY=str(SHARE), FIELDSEAL_LIMITS_REQUESTS=str(LIMIT)) as deployment:
        deployment.pages = f"{deployment.dev['baseURL']}/contoso"
        # Stops the router, because its requests would count.
        router = deployment.router_pid()
        os.kill(router, signal.SIGSTOP)
        yield deployment
        os.kill(router, signal.SIGCONT)


class Browser:
    def __init__(self, console, language="en", signs_in=True):
        self.console, self.session = console, requests.Session()
        self.session.verify, self.session.trust_env = console.dev["caFile"], False
        self.session.headers.update({"Origin": console.base, "Accept": "text/html,*/*;q=0.8", "Accept-Language": language})
        if signs_in:
            known = console.dev["console"]
            answer = self.send("sign-in", {"name": known["username"], "password": known["password"]})
            self.csrf = re.search(r'name="csrf" value="(\w+)"', answer.text)[1]

    def get(self, path, **options):
        return self.session.get(f"{self.console.pages}/{path}", timeout=PATIENCE, **options)

    def send(self, path, form):
        return self.session.post(f"{self.console.pages}/{path}", form, timeout=PATIENCE)


def is_page(answer, status, *texts):
    """Checks that the response is a complete page of the console, and not a JSON error."""
    assert answer.status_code == status and answer.headers["Content-Type"] == "text/html; charset=utf-8", (answer.status_code, answer.text[:300])
    assert "default-src 'none'" in answer.headers["Content-Security-Policy"] and answer.headers["Cache-Control"] == "no-store"
    page = html.unescape(answer.text)
    assert "<h1>" in page and '"error"' not in page and all(text in page for text in texts), (texts, page)
    return page


def test_a_missing_page(console):
    browser, stranger = Browser(console), Browser(console, signs_in=False)
    for path in ("nothing", "nothing/here/at/all", "records/nothing", "records/mailboxes/00000000-0000-0000-0000-000000000000"):
        is_page(browser.get(path), 404, "Page not found")
    for path in ("nothing", "nothing/here/at/all"):
        assert browser.get(path, headers={"Accept": "application/json"}).headers["Content-Type"].startswith("application/json")
    for path in ("nothing", "access/nothing"):
        is_page(browser.send(path, {"csrf": browser.csrf}), 404, "Page not found")
    is_page(stranger.session.get(f"{console.base}/nosuchorganization/"), 404, "Page not found")
    is_page(Browser(console, "de").get("nothing"), 404, "Seite nicht gefunden", '<html lang="de">')
    # At addresses of the API, a browser also gets a JSON error.
    for path in ("api/data/v9.2/nothing", "oauth2/nothing"):
        assert '"error"' in browser.get(path).text, path


def test_an_organization_may_be_called_like_a_path_of_programs(console):
    console.run("org", "create", "oauth2")
    try:
        stranger = Browser(console, signs_in=False).session
        is_page(stranger.get(f"{console.base}/oauth2/nothing/here", timeout=PATIENCE), 404, "Page not found")
        assert '"error"' in stranger.get(f"{console.base}/oauth2/api/data/v9.2/nothing", timeout=PATIENCE).text
    finally:
        console.run("org", "remove", "oauth2", "--without-export", stdin="oauth2\n")


def test_a_form_for_a_page_that_has_none(console):
    browser = Browser(console)
    for path in ("overview", "events", "audit", "access", "shortcuts", "records/mailboxes", "account"):
        answer = browser.send(path, {"csrf": browser.csrf, "name": "x"})
        is_page(answer, 405, "This page accepts no form. Nothing was saved.")
        assert answer.headers["Allow"] == "GET, HEAD"
        assert browser.get(path).status_code == 200, "the control"
    is_page(Browser(console, "fr").send("overview", {}), 405, "n’accepte aucun formulaire")


def test_a_form_that_is_too_large(console):
    browser = Browser(console)
    for size in (300_000, 2_000_000):
        is_page(browser.send("records/queues/new", {"csrf": browser.csrf, "description": "x" * size}), 413, "Something went wrong", "256 kB", "Nothing was saved")
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE description LIKE 'xxx%%'") == [(0,)]


#: Values that the service refuses with a message that also names another field.
REFUSED = [
    ("mailboxes", "username", "x" * 300), ("emailserverprofiles", "incomingserverlocation", "https://imap.example.com"),
    ("emailserverprofiles", "outgoingusername", "x" * 300), ("queues", "emailusername", "x" * 300)]


@pytest.mark.parametrize("entity, attribute, text", REFUSED)
def test_a_refused_value_is_shown_at_its_field(console, entity, attribute, text):
    browser = Browser(console)
    form = {"csrf": browser.csrf, "name": f"Shown at {attribute}", "loaded": "{}"}
    answer = browser.send(f"records/{entity}/new", {**form, attribute: text})
    assert answer.status_code == 400
    assert re.findall(r'<li><a href="#(\w+)">', answer.text) == [attribute]
    saved = browser.send(f"records/{entity}/new", {**form, attribute: "imap.example.com"})
    assert saved.status_code == 200 and "done=saved" in saved.url, "the control"


def test_too_many_sign_ins(console):
    browser = Browser(console, signs_in=False)
    refused = [browser.send("sign-in", {"name": "mallory", "password": f"guess {n}"}) for n in range(12)]
    statuses = [answer.status_code for answer in refused]
    assert statuses[0] == 403 and 429 in statuses, statuses
    is_page(refused[statuses.index(429)], 429, 'name="password"')


def waiting(console):
    return console.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service'")[0][0]


def test_more_requests_than_the_server_takes(console):
    """A lock holds requests. Further requests reach the limit of their network, and then the limit of the server."""
    one, other = Browser(console), Browser(console, "de")
    token = console.token()
    with psycopg.connect(console.dev["postgres"]) as holder, concurrent.futures.ThreadPoolExecutor(LIMIT) as pool:
        holder.execute("LOCK TABLE org_contoso.queue IN ACCESS EXCLUSIVE MODE")
        held = [pool.submit(Browser.get, one, "records/queues") for _ in range(SHARE)]
        try:
            until(lambda: waiting(console) >= SHARE)
            answer = one.get("shortcuts")
            page = is_page(answer, 429, "Try again in a moment", f"Your network has {SHARE} requests in progress")
            assert answer.headers["Retry-After"] == "1" and 'href="/contoso/shortcuts"' in page
            is_page(other.get("shortcuts"), 429, "Bitte gleich noch einmal versuchen", f"Ihr Netz hat {SHARE} laufende Anfragen")
            held.append(pool.submit(console.get, "queues", token=token))
            until(lambda: waiting(console) >= LIMIT)
            answer = one.get("shortcuts?done=1")
            page = is_page(answer, 503, "Try again in a moment", "The server is busy.")
            assert answer.headers["Retry-After"] == "1" and "href=\"/contoso/shortcuts?done=1\"" in page
            assert 'class="button primary"' not in one.send("sign-out", {"csrf": one.csrf}).text, "a form is not sent again by a link"
            assert console.get("queues", token=token).json()["error"]["message"] == "The server is busy. Try again."
        finally:
            holder.rollback()
        assert [answer.result(PATIENCE).status_code for answer in held] == [200] * LIMIT
    assert one.get("shortcuts").status_code == 200


def test_a_database_that_is_away(console):
    browser = Browser(console)
    console.stop_postgres()
    for path in ("overview", "records/mailboxes", "sign-in"):
        is_page(browser.get(path), 503, "The database can't be reached at the moment.")
    is_page(Browser(console, "fr", signs_in=False).get("overview"), 503, "base de données")
