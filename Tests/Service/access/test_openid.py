"""Signing in through an OpenID provider, and its tokens at the Web API, with Canaille over TLS and a real Chromium."""

import base64
import hmac
import json
import pathlib
import re
import socket
import subprocess
import sys
import time

import pytest
import requests
from joserfc import jwt
from joserfc.jwk import RSAKey
from selenium.webdriver.common.by import By
from attested import Attestor
from console_browser import chromium, main, press, says, sign_in, wait
from service import PATIENCE, Deployment

SUPPORT = pathlib.Path(__file__).parents[2] / "Support"


class Provider:
    """Canaille in a separate process. The tests know its signing key, so they can sign tokens with it."""

    def __init__(self, folder):
        self.folder = folder
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder / "tls.key", "-out",
             folder / "tls.crt", "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"],
            check=True, capture_output=True)
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        self.issuer = f"https://localhost:{self.port}"
        self.process = None

    def start(self, redirect_uri, kid):
        self.stop()
        self.key = RSAKey.generate_key(2048, parameters={"kid": kid, "use": "sig", "alg": "RS256"})
        (self.folder / "signing.json").write_text(json.dumps(self.key.as_dict(private=True)))
        with open(self.folder / "provider.log", "ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, SUPPORT / "openid_provider.py", str(self.port), self.folder / "tls.crt", self.folder / "tls.key",
                 self.folder / "signing.json", redirect_uri], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=log, cwd=self.folder)
        assert self.process.stdout.readline().decode().strip() == self.issuer, (self.folder / "provider.log").read_text()
        return self

    def stop(self):
        if self.process:
            self.process.terminate()
            self.process.wait(30)

    def token(self, key=None, kid=None, **claims):
        now = int(time.time())
        payload = {"iss": self.issuer, "sub": "machine", "iat": now, "exp": now + 300, **claims}
        return jwt.encode({"alg": "RS256", "kid": kid or self.key.kid}, payload, key or self.key)


@pytest.fixture(scope="module")
def provider(tmp_path_factory):
    provider = Provider(tmp_path_factory.mktemp("provider"))
    yield provider
    provider.stop()


@pytest.fixture(scope="module")
def trusting(provider):
    with Deployment.made(FIELDSEAL_ISSUERS_AUTHORITY_FILE=str(provider.folder / "tls.crt")) as deployment:
        deployment.pages = f"{deployment.base}/contoso"
        provider.start(f"{deployment.pages}/sign-in/back", "first")
        added = deployment.json("issuer", "add", "Canaille", "--issuer", provider.issuer, "--client-id", "fieldseal", stdin="the secret/of fieldseal+there\n")
        assert added["redirectURI"] == f"{deployment.pages}/sign-in/back"
        yield deployment


@pytest.fixture
def browser():
    driver = chromium()
    yield driver
    driver.quit()


def prove_there(driver, begin):
    """Signs ada in at the provider. `begin` leads the browser there."""
    def fill(name, text):
        def is_typed(driver):
            field = driver.find_element(By.NAME, name)
            field.clear()
            field.send_keys(text)
            return field.get_attribute("value") == text

        wait(driver, is_typed)
        press(driver, By.CSS_SELECTOR, "form button[type=submit], form input[type=submit]")

    # Under load, Canaille can lose its session: a late response restores an older cookie. Then it refuses every password until the sign-in begins
    # again.
    for _ in range(5):
        begin()
        wait(driver, lambda d: d.find_element(By.CSS_SELECTOR, "input[name=login], input[name=password]"))
        if driver.find_elements(By.NAME, "login"):
            fill("login", "ada")
        fill("password", "ada's password there")
        if "Login failed" not in driver.page_source:
            return
    raise AssertionError("the provider refuses the password")


def test_a_person_signs_in_and_proves_herself_again_before_the_key_is_shown(trusting, browser):
    def sign_in_there():
        browser.get(f"{trusting.pages}/settings/data-encryption")
        press(browser, By.LINK_TEXT, "Sign in with Canaille")

    def ask_for_the_key():
        browser.get(f"{trusting.pages}/settings/data-encryption")
        press(browser, By.CSS_SELECTOR, "button.show-key")
        press(browser, By.LINK_TEXT, "Sign in with Canaille")

    prove_there(browser, sign_in_there)
    says(browser, "Canaille knows you as 'ada', and no person here is linked to that name.")
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "admin")
    sign_in_there()
    wait(browser, lambda d: d.current_url == f"{trusting.pages}/settings/data-encryption")
    assert "through Canaille" in json.dumps(trusting.sql("SELECT details FROM org_contoso.security_event WHERE kind = 'signed in' AND outcome = 'succeeded'"))
    # If the sign-in is an hour old, the person must sign in at the provider again before the key is shown.
    Attestor(trusting).age_sessions(fresh="1 hour")
    prove_there(browser, ask_for_the_key)
    # After the sign-in, the page offers to continue with the button that was pressed.
    says(browser, "Go on where you were")
    press(browser, By.CSS_SELECTOR, "main button.primary")
    assert browser.find_element(By.CSS_SELECTOR, "output.secret").text == trusting.key()


@pytest.mark.parametrize("has_script", [True, False])
def test_what_was_typed_is_kept_while_a_person_signs_in_there(trusting, has_script):
    """The session ends before the form is sent. The form waits in the same tab, or without JavaScript in another tab."""
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "admin")
    queue = trusting.create("queues", {"name": "kept", "description": "before"})

    def stored():
        return trusting.sql("SELECT description, isemailpasswordset FROM org_contoso.queue WHERE queueid = %s", [queue])

    def begin_again():
        driver.get(f"{trusting.pages}/sign-in")
        press(driver, By.LINK_TEXT, "Sign in with Canaille")

    driver = chromium(script=has_script)
    try:
        sign_in(driver, trusting, f"records/queues/{queue}")
        trusting.run("user", "end-sessions", "admin")
        for field, text in (("description", f"typed, script {has_script}"), ("emailpassword", "typed secret")):
            driver.find_element(By.ID, field).clear()
            driver.find_element(By.ID, field).send_keys(text)
        press(driver, By.CSS_SELECTOR, "form.fields button.primary")
        says(driver, "Your session had ended")
        first = driver.current_window_handle
        if has_script:
            assert not driver.find_element(By.CSS_SELECTOR, "[data-other-tab]").is_displayed()
            press(driver, By.LINK_TEXT, "Sign in with Canaille")
        else:
            driver.find_element(By.LINK_TEXT, "Sign in with Canaille").click()
            wait(driver, lambda d: len(d.window_handles) == 2)
            driver.switch_to.window(next(handle for handle in driver.window_handles if handle != first))
        # In the second run, the provider may still have its session, and then asks for nothing.
        if driver.find_elements(By.CSS_SELECTOR, "input[name=login], input[name=password]"):
            prove_there(driver, lambda: driver.find_elements(By.NAME, "login") or begin_again())
        if not has_script:
            wait(driver, lambda d: d.find_element(By.ID, "nav"))
            driver.switch_to.window(first)
            press(driver, By.CSS_SELECTOR, "[data-other-tab] button")
        says(driver, "What you typed is still here")
        assert stored() == [("before", False)]
        press(driver, By.CSS_SELECTOR, "main button.primary")
        says(driver, "Saved.")
        assert stored() == [(f"typed, script {has_script}", True)]
        # After the form was sent, no page offers it.
        driver.get(f"{trusting.pages}/records/queues")
        says(driver, "kept")
        assert driver.current_url == f"{trusting.pages}/records/queues" and "still here" not in main(driver)
    finally:
        driver.quit()


def begin(deployment, session):
    """Begins a sign-in at the provider. Returns the provider's address, and its parameters."""
    # Removes the session's cookie, because the sign-in page redirects a signed-in person.
    for cookie in [cookie for cookie in session.cookies if cookie.name == "__Host-fieldseal"]:
        session.cookies.clear(cookie.domain, cookie.path, cookie.name)
    page = session.get(f"{deployment.pages}/sign-in").text
    link = re.search(r'href="(/contoso/sign-in/with/[^"]+)"', page)[1].replace("&amp;", "&")
    answer = session.get(f"{deployment.base}{link}", allow_redirects=False)
    assert answer.status_code == 303
    return answer.headers["Location"], dict(re.findall(r"[?&]([^=]+)=([^&]*)", answer.headers["Location"]))


def visitor(deployment):
    session = requests.Session()
    session.verify, session.trust_env = False, False
    session.headers.update({"Accept-Language": "en"})
    return session


def code_for(provider, session, location):
    """Signs ada in at the provider. Returns the address to which the provider sends the browser back."""
    answer = session.get(location)
    assert "login" in answer.text
    for fields in ({"login": "ada"}, {"password": "ada's password there"}):
        hidden = dict(re.findall(r'name="(csrf_token)"[^>]*value="([^"]+)"', answer.text))
        answer = session.post(answer.url, {**hidden, **fields}, headers={"Referer": answer.url}, allow_redirects=False)
        while "Location" in answer.headers and not answer.headers["Location"].split("?")[0].endswith("/sign-in/back"):
            answer = session.get(requests.compat.urljoin(answer.url, answer.headers["Location"]), allow_redirects=False)
    return answer.headers["Location"]


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_what_was_not_asked_for_is_refused(trusting, provider):
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "admin")
    ada, eve = visitor(trusting), visitor(trusting)
    location, parameters = begin(trusting, ada)
    assert parameters["code_challenge_method"] == "S256" and len(parameters["state"]) == 43 and "nonce" in parameters
    back = code_for(provider, ada, location)
    # Login CSRF: a code in another browser, the state of another attempt, no state, another issuer, and a refusal by the provider.
    _, other = begin(trusting, eve)
    for session, url in [
        (eve, back), (visitor(trusting), back), (ada, back.replace(f"state={parameters['state']}", f"state={other['state']}")),
        (ada, re.sub(r"state=[^&]+", "state=", back)), (ada, back + "&iss=https%3A%2F%2Fevil.test" if "iss=" not in back else re.sub(r"iss=[^&]+", "iss=https%3A%2F%2Fevil.test", back)),
        (ada, re.sub(r"iss=[^&]+", "iss=", back)),
        (ada, f"{trusting.pages}/sign-in/back?state={parameters['state']}&error=access_denied"),
    ]:
        answer = session.get(url, allow_redirects=False)
        assert answer.status_code == 403 and "__Host-fieldseal=" not in answer.headers.get("Set-Cookie", ""), url
    taken = ada.get(back, allow_redirects=False)
    assert taken.status_code == 200 and "__Host-fieldseal=" in taken.headers["Set-Cookie"]
    assert ada.get(back, allow_redirects=False).status_code == 403, "a code is taken once"
    assert ada.get(re.sub(r"code=[^&]+", "code=made-up", back), allow_redirects=False).status_code == 403
    # The cookie of an attempt is valid only for the page for which it was made.
    begin(trusting, eve)
    cookie = eve.cookies.get("__Host-fieldseal-attempt")
    eve.cookies.set("__Host-fieldseal-attempt", cookie.rsplit(".", 1)[0] + ".access", domain="localhost.local", path="/", secure=True)
    assert eve.get(f"{trusting.pages}/sign-in/back?code=x&state={begin(trusting, visitor(trusting))[1]['state']}").status_code == 403
    assert visitor(trusting).get(f"{trusting.pages}/sign-in/with/00000000-0000-0000-0000-000000000000").status_code == 404


@pytest.mark.filterwarnings("ignore::urllib3.exceptions.InsecureRequestWarning")
def test_rows_that_a_dba_wrote_are_not_honoured(trusting, provider):
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "admin")
    ada = visitor(trusting)
    trusting.sql("UPDATE config.oidc_link SET subject = 'somebody' WHERE subject = 'ada'")
    trusting.sql("UPDATE config.oidc_link SET subject = 'ada' WHERE subject = 'somebody'")
    [(tag,)] = trusting.sql("SELECT tag FROM config.oidc_link WHERE subject = 'ada'")
    trusting.sql("UPDATE config.oidc_link SET tag = sha256('forged') WHERE subject = 'ada'")
    location, _ = begin(trusting, ada)
    assert ada.get(code_for(provider, ada, location)).status_code == 403
    trusting.sql("UPDATE config.oidc_link SET tag = %s WHERE subject = 'ada'", [tag])
    trusting.sql("UPDATE config.oidc_issuer SET client_id = client_id || 'x'")
    try:
        assert "Canaille" not in ada.get(f"{trusting.pages}/sign-in").text
        assert trusting.json("issuer", "list")[0]["honoured"] is False
    finally:
        trusting.sql("UPDATE config.oidc_issuer SET client_id = 'fieldseal'")
    # A person who is disabled in Fieldseal can't sign in through the provider.
    trusting.run("user", "add", "grace", "--role", "Basic User", stdin="grace's own password\n")
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "grace")
    location, _ = begin(trusting, ada)
    back = ada.get(location, allow_redirects=False).headers["Location"]
    assert ada.get(back).status_code == 200
    # SQL restores a link that was replaced. The link is not accepted.
    [row] = trusting.sql("SELECT user_id, client_id, tag FROM config.oidc_link WHERE subject = 'ada'")
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "admin")
    [mend] = trusting.sql("SELECT user_id, client_id, tag FROM config.oidc_link WHERE subject = 'ada'")
    for link, status in ((row, 403), (mend, 200)):
        trusting.sql("UPDATE config.oidc_link SET (user_id, client_id, tag) = (%s, %s, %s) WHERE subject = 'ada'", link)
        location, _ = begin(trusting, ada)
        assert ada.get(ada.get(location, allow_redirects=False).headers["Location"]).status_code == status
    trusting.run("issuer", "link", "Canaille", "ada", "--user", "grace")
    trusting.run("user", "disable", "grace")
    location, _ = begin(trusting, ada)
    assert ada.get(ada.get(location, allow_redirects=False).headers["Location"]).status_code == 403


def encoded(data):
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def test_tokens_of_the_provider_are_taken_by_the_web_api(trusting, provider):
    audience = trusting.pages
    client = trusting.json("client", "add", "machine", "--role", "Email Administrator")

    def status(token):
        return trusting.get("WhoAmI", token=token).status_code

    good = provider.token(aud=audience)
    assert status(good) == 401, "no person here is linked to that name"
    trusting.run("issuer", "link", "Canaille", "machine", "--client", client["clientId"])
    assert status(good) == 200
    assert status(provider.token(aud=[audience, "another"])) == 200
    public = provider.key.as_pem(private=False)
    another = RSAKey.generate_key(2048, parameters={"kid": "first"})
    unsigned = provider.token(aud=audience).split(".")
    none, confused = (encoded(f'{{"alg":"{alg}","kid":"first"}}'.encode()) + f".{unsigned[1]}" for alg in ("none", "HS256"))
    for why, token in {
        "another audience": provider.token(aud="https://evil.test"),
        "an empty audience": provider.token(aud=""),
        "no audience": provider.token(aud=[]),
        "an audience that is no text": provider.token(aud=[1]),
        "the console's client": provider.token(aud="fieldseal"),
        "expired": provider.token(aud=audience, exp=int(time.time()) - 120),
        "not yet": provider.token(aud=audience, nbf=int(time.time()) + 600),
        "somebody else": provider.token(aud=audience, sub="stranger"),
        "another issuer": provider.token(aud=audience, iss="https://evil.test"),
        "not signed": f"{none}.",
        "its signature cut": good.rsplit(".", 1)[0] + ".",
        "signed by somebody else": provider.token(key=another, aud=audience),
        "the public key as a secret of HMAC": f"{confused}.{encoded(hmac.digest(public, confused.encode(), 'sha256'))}",
        "an unknown key": provider.token(key=another, kid="unknown", aud=audience),
    }.items():
        assert status(token) == 401, why
    trusting.run("client", "disable", client["clientId"])
    assert status(good) == 401
    # The provider changes its signing key. The service fetches the new key when a token names it.
    trusting.run("issuer", "link", "Canaille", "machine", "--client", trusting.json("client", "add", "machine 2", "--role", "Basic User")["clientId"])
    provider.start(f"{trusting.pages}/sign-in/back", "second")
    token = provider.token(aud=audience)
    deadline = time.monotonic() + PATIENCE
    while status(token) != 200:
        assert time.monotonic() < deadline
        time.sleep(1)
    trusting.run("issuer", "remove", "Canaille")
    assert status(token) == 401


def test_an_issuer_is_well_formed_and_reachable(trusting):
    for url in ("http://localhost/x", "https://", "https://a.test/?x=1", "ftp://a.test"):
        assert trusting.run("issuer", "add", "bad", "--issuer", url, "--client-id", "x", "--is-public", check=False).returncode == 1
    trusting.run("issuer", "add", "Nobody", "--issuer", "https://localhost:1", "--client-id", "x", "--is-public")
    session = requests.Session()
    session.verify, session.trust_env = trusting.dev["caFile"], False
    page = session.get(f"{trusting.pages}/sign-in").text
    link = re.search(r'href="(/contoso/sign-in/with/[^"]+)">[^<]*Nobody', page)[1].replace("&amp;", "&")
    answer = session.get(f"{trusting.base}{link}", headers={"Accept": "text/html"})
    assert answer.status_code == 503 and "can&#39;t be reached" in answer.text.replace("&#x27;", "&#39;").replace("'", "&#39;")
