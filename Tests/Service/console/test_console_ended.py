"""A form is sent after its session has ended: no input is lost, and no other person gets it."""

import base64
import json
import os
import re

import cell_reader
import pytest
from attested import Attestor
from console_browser import press, says, wait
from cryptography.hazmat.primitives import padding
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from one_time import one_time_password
from selenium.webdriver.common.by import By
from test_console_access import Visitor, password, person, text
from html_forms import subject


def hidden(answer, name):
    found = re.search(rf'name="{name}" value="([\w-]*)"', answer.text)
    return found and found[1]


def unseen(page):
    """The hidden fields of a page, such as the version of the record. Leaves out the CSRF token, and the offer of another waiting form."""
    own = re.sub(r'(?s)<form method="post" action="[^"]*/sign-in/kept".*?</form>', "", page.text)
    return {k: v for k, v in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', own) if k != "csrf"}


class Late:
    """A visitor whose session ends after the form was opened, and before it is sent."""

    def __init__(self, console, visitor, name):
        self.console, self.visitor = console, visitor
        csrf = hidden(visitor.get("account"), "csrf")
        console.run("user", "end-sessions", name, "--org", "contoso")
        self.csrf = csrf

    def send(self, path, csrf=None, **form):
        answer = self.visitor.session.post(f"{self.visitor.pages}/{path}", {"csrf": csrf or self.csrf, **form})
        self.kept = hidden(answer, "kept")
        return answer

    def sign_in(self, name, password):
        return self.visitor.session.post(
            f"{self.visitor.pages}/sign-in", {"name": name, "password": password, "kept": self.kept or "", "then": "overview"})


@pytest.fixture
def queue(console):
    return console.sql("SELECT queueid::text FROM org_contoso.queue LIMIT 1")[0][0]


def description(console, queue):
    return console.sql("SELECT description FROM org_contoso.queue WHERE queueid = %s", [queue])[0][0]


def test_what_was_typed_is_sent_after_a_fresh_sign_in(console, queue):
    admin = console.dev["console"]
    visitor = Visitor(console)
    fields = unseen(visitor.get(f"records/queues/{queue}"))
    late = Late(console, visitor, admin["username"])
    answer = late.send(f"records/queues/{queue}", **fields, description="typed before the end", emailpassword="typed secret 1")
    assert answer.status_code == 403 and "nothing was saved yet" in text(answer)
    assert "typed before the end" not in answer.text and "typed secret 1" not in answer.text, "the form waits sealed"
    assert description(console, queue) != "typed before the end"
    wrong = late.sign_in(admin["username"], "wrong")
    assert wrong.status_code == 403 and hidden(wrong, "kept") == late.kept
    offered = late.sign_in(admin["username"], admin["password"])
    assert "What you typed is still here" in offered.text and description(console, queue) != "typed before the end"
    action = re.search(r'<form method="post" action="([^"]+)"', offered.text)[1]
    assert action == f"/contoso/records/queues/{queue}"
    done = visitor.session.post(f"{console.dev['baseURL']}{action}", {"csrf": hidden(offered, "csrf"), "kept": late.kept})
    assert done.status_code == 200 and description(console, queue) == "typed before the end"
    assert console.sql("SELECT isemailpasswordset FROM org_contoso.queue WHERE queueid = %s", [queue]) == [(True,)]


def test_another_person_gets_nothing_of_it(console, queue):
    person(console, "late-mallory", "System Administrator")
    late = Late(console, Visitor(console), console.dev["console"]["username"])
    late.send(f"records/queues/{queue}", description="not for others")
    assert late.kept
    answer = late.sign_in("late-mallory", password("late-mallory"))
    assert "Another person typed something here" in text(answer) and "not for others" not in answer.text
    assert late.visitor.get("overview").url.endswith("/overview"), "the other person is signed in"
    stolen = Visitor(console, "late-mallory", password("late-mallory"))
    stolen.send(f"records/queues/{queue}", kept=late.kept)
    assert description(console, queue) != "not for others"


def test_a_form_waits_while_another_person_signs_in(console, queue):
    """Without JavaScript, the page passes the waiting form on from one sign-in to the next."""
    admin = console.dev["console"]
    person(console, "late-between", "System Administrator")
    visitor = Visitor(console)
    fields = unseen(visitor.get(f"records/queues/{queue}"))
    late = Late(console, visitor, admin["username"])
    late.send(f"records/queues/{queue}", **fields, description="typed before another person")
    other = late.sign_in("late-between", password("late-between"))
    assert "/contoso/overview" in other.text and description(console, queue) != "typed before another person"
    asked = visitor.session.post(f"{console.pages}/sign-out", {"csrf": hidden(other, "csrf"), "waits": hidden(other, "waits")})
    assert hidden(asked, "kept") == late.kept
    offered = late.sign_in(admin["username"], admin["password"])
    assert "What you typed is still here" in offered.text
    visitor.session.post(f"{console.pages}/records/queues/{queue}", {"csrf": hidden(offered, "csrf"), "kept": late.kept})
    assert description(console, queue) == "typed before another person"


def test_a_browser_keeps_a_form_for_its_person_alone(console, queue, browser):
    """Another person signs in in the same tab, and does not get the form. When its person signs in, the tab offers it."""
    admin = console.dev["console"]
    person(console, "late-guest", "System Administrator")
    browser.get(f"{console.pages}/records/queues/{queue}")
    field = browser.find_element(By.NAME, "description")
    field.clear()
    field.send_keys("typed before a guest")
    console.run("user", "end-sessions", admin["username"], "--org", "contoso")
    press(browser, By.CSS_SELECTOR, "form.fields button.primary")

    def sign_in_here(name, secret):
        browser.find_element(By.NAME, "name").send_keys(name)
        browser.find_element(By.NAME, "password").send_keys(secret)
        press(browser, By.CSS_SELECTOR, "main button")

    sign_in_here("late-guest", password("late-guest"))
    says(browser, "Another person typed something here")
    press(browser, By.LINK_TEXT, "Continue")
    browser.get(f"{console.pages}/records/queues/{queue}")
    assert "late-guest" in browser.find_element(By.CSS_SELECTOR, ".who").text
    # The tab asks only once for each person, and stores that before it asks.
    wait(browser, lambda d: "late-guest" in d.execute_script("return sessionStorage.getItem('others')"))
    assert "typed before a guest" not in browser.page_source and description(console, queue) != "typed before a guest"
    press(browser, By.XPATH, "//nav//button")
    sign_in_here(admin["username"], admin["password"])
    says(browser, "What you typed is still here")
    press(browser, By.XPATH, "//main//button")
    says(browser, "Saved.")
    assert description(console, queue) == "typed before a guest"
    assert browser.execute_script("return sessionStorage.getItem('others')") == "[]"


def test_a_form_of_another_page_is_not_kept(console, queue):
    late = Late(console, Visitor(console), console.dev["console"]["username"])
    for csrf in ("", "x", late.csrf[:-1], late.csrf[:32] + "0" * (len(late.csrf) - 32), "0" * 32 + late.csrf[32:]):
        answer = late.send(f"records/queues/{queue}", csrf=csrf or "none", description="forged")
        assert late.kept is None and "/sign-in" in answer.url
    assert late.send("sign-out").url.endswith("then=") and late.kept is None
    # A form with the token of another person's session does not end the session of the signed-in person.
    person(console, "late-other")
    visitor, other = Visitor(console), Visitor(console, "late-other", password("late-other"))
    forged = visitor.session.post(f"{visitor.pages}/sign-out", {"csrf": hidden(other.get("account"), "csrf")})
    assert forged.status_code == 403 and hidden(forged, "kept") is None and visitor.get("account").url.endswith("/account")


def test_a_kept_form_goes_where_it_was_sent_alone(console, queue):
    admin = console.dev["console"]
    late = Late(console, Visitor(console), admin["username"])
    late.send(f"records/queues/{queue}", description="for the queue alone")
    offered = late.sign_in(admin["username"], admin["password"])
    csrf = hidden(offered, "csrf")
    other = console.sql("SELECT queueid::text FROM org_contoso.queue WHERE queueid <> %s LIMIT 1", [queue])
    path = f"records/queues/{other[0][0]}" if other else "records/queues/new"
    late.visitor.session.post(f"{console.pages}/{path}", {"csrf": csrf, "kept": late.kept})
    assert console.sql("SELECT count(*) FROM org_contoso.queue WHERE description = 'for the queue alone'") == [(0,)]


def test_a_form_waits_for_a_sign_in_in_another_tab(console, queue):
    """After a sign-in in another tab, the page in this tab offers the form to its person, and to no one else."""
    admin = console.dev["console"]
    person(console, "late-eve", "System Administrator")
    visitor = Visitor(console)
    fields = unseen(visitor.get(f"records/queues/{queue}"))
    late = Late(console, visitor, admin["username"])
    late.send(f"records/queues/{queue}", **fields, description="typed before the other tab")
    asked = late.visitor.session.post(f"{console.pages}/sign-in/kept", {"kept": late.kept})
    assert asked.status_code == 403 and hidden(asked, "kept") == late.kept, "there is no sign-in yet"
    for visitor in (Visitor(console, "late-eve", password("late-eve")), Visitor(console)):
        answer = visitor.session.post(f"{console.pages}/sign-in/kept", {"kept": late.kept})
        assert description(console, queue) != "typed before the other tab"
    assert "What you typed is still here" in answer.text
    csrf = hidden(answer, "csrf")
    stranger = Visitor(console, "late-eve", password("late-eve")).session.post(f"{console.pages}/sign-in/kept", {"kept": late.kept})
    assert stranger.url.endswith("/overview") and late.kept not in stranger.text
    for kept in ("", "x", late.kept[:-2] + "AA"):
        assert visitor.session.post(f"{console.pages}/sign-in/kept", {"kept": kept}).url.endswith("/overview")
    # The service refuses a waiting form that another site sends.
    forged = visitor.session.post(f"{console.pages}/sign-in/kept", {"kept": late.kept}, headers={"Origin": "https://evil.test"})
    assert forged.status_code == 403 and late.kept not in forged.text
    sent = visitor.session.post(f"{console.pages}/records/queues/{queue}", {"csrf": csrf, "kept": late.kept})
    assert sent.status_code == 200 and description(console, queue) == "typed before the other tab"


# Ways in which a session can end


def password_of(console, queue):
    """The queue's stored password, decrypted."""
    return console.opened_cells()[f"queue({queue}).emailpassword"][1]


def older(console, kept, seconds):
    """Seals a waiting form again, with an earlier time."""
    kek = Attestor(console).kek
    [(organization, user)] = console.sql(
        "SELECT organization_id, user_id FROM config.console_user JOIN config.organization AS o USING (organization_id) "
        "WHERE o.name = 'contoso' AND console_user.name = %s", [console.dev["console"]["username"]])
    cell = base64.urlsafe_b64decode(kept + "=" * (-len(kept) % 4))
    content = json.loads(cell_reader.open_cell(cell, kek, organization, user, "consoleform.ended"))
    content["time"] -= seconds
    padder, iv = padding.PKCS7(128).padder(), os.urandom(16)
    encryptor = Cipher(algorithms.AES(kek[32:]), modes.CBC(iv)).encryptor()
    sealed = encryptor.update(padder.update(json.dumps(content).encode()) + padder.finalize()) + encryptor.finalize()
    tag = cell_reader.tag(kek, cell_reader.associated_data(cell[:5], organization, user, "consoleform.ended"), iv, sealed)
    return base64.urlsafe_b64encode(cell[:5] + iv + sealed + tag).decode().rstrip("=")


class Tabs:
    """A person who opens the form of a queue in one tab, while other tabs of the same browser share the session."""

    def __init__(self, console, queue, name=None, secret=None):
        admin = console.dev["console"]
        self.console, self.queue = console, queue
        self.name, self.secret = name or admin["username"], secret or admin["password"]
        self.visitor = Visitor(console, self.name, self.secret)
        page = self.visitor.get(f"records/queues/{queue}")
        self.fields, self.csrf = unseen(page), hidden(page, "csrf")

    def send(self, typed, path=None, **form):
        """Sends the form of the first tab. Without fields, sends the queue's form with a description and a password."""
        form = form or {**self.fields, "description": typed, "emailpassword": f"secret of {typed}"}
        answer = self.visitor.session.post(f"{self.visitor.pages}/{path or f'records/queues/{self.queue}'}", {"csrf": self.csrf, **form})
        self.kept = hidden(answer, "kept")
        return answer

    def sign_in(self, name=None, secret=None, **fields):
        form = {"name": name or self.name, "password": secret or self.secret, **fields}
        return self.visitor.session.post(f"{self.visitor.pages}/sign-in", form)

    def go_on(self, offered):
        """On the page that offers the waiting form, presses the button that sends it."""
        assert "<nav" not in offered.text
        action = re.search(r'<form method="post" action="([^"]+)"', offered.text)[1]
        return self.visitor.session.post(f"{self.console.base}{action}", unseen(offered) | {"csrf": hidden(offered, "csrf")})

    def signed_out(self):
        self.visitor.send("sign-out")

    def signed_out_everywhere(self):
        Visitor(self.console, self.name, self.secret).send("sign-out", everywhere="1", confirmed=subject("sign-out", self.name))

    def ended_by_an_administrator(self):
        self.console.run("user", "end-sessions", self.name, "--org", "contoso")

    def idle(self):
        self.console.sql("UPDATE config.console_session SET used_on = now() - interval '31 minutes'")

    def too_old(self):
        Attestor(self.console).age_sessions(created="13 hours")

    def cookie_lost(self):
        self.visitor.session.cookies.clear()


@pytest.mark.parametrize("end", [Tabs.signed_out, Tabs.signed_out_everywhere, Tabs.ended_by_an_administrator, Tabs.idle, Tabs.too_old, Tabs.cookie_lost])
def test_a_form_is_kept_however_the_session_ends(console, queue, end):
    tabs, typed = Tabs(console, queue), f"typed before {end.__name__}"
    end(tabs)
    asked = tabs.send(typed)
    assert asked.status_code == 403 and tabs.kept and 'class="warning" role="alert"' in asked.text and "nothing was saved yet" in text(asked)
    assert typed not in asked.text
    offered = tabs.sign_in(kept=tabs.kept)
    assert "What you typed is still here" in text(offered) and "nothing was saved yet" in text(offered) and description(console, queue) != typed
    done = tabs.go_on(offered)
    assert done.status_code == 200 and description(console, queue) == typed
    assert password_of(console, queue) == f"secret of {typed}"


def test_a_form_of_an_earlier_session_is_offered_in_the_new_one(console, queue):
    """In another tab, the person signs out and in, or enters the password again. Both give the session a new id."""
    for again in ("signed out and in", "typed the password"):
        tabs = Tabs(console, queue)
        if again == "typed the password":
            Attestor(console).age_sessions(fresh="10 minutes")
            page = tabs.visitor.send("settings/data-encryption/key")
            tabs.visitor.session.post(f"{console.pages}/fresh", {"csrf": hidden(page, "csrf"), "kept": hidden(page, "kept"), "password": tabs.secret})
        else:
            tabs.signed_out()
            tabs.sign_in()
        offered = tabs.send(again)
        assert offered.status_code == 403 and "nothing was saved yet" in text(offered) and "You have signed in, or confirmed your password" in text(offered)
        assert description(console, queue) != again
        assert tabs.go_on(offered).status_code == 200 and description(console, queue) == again


def test_a_form_of_another_person_who_was_here_before(console, queue):
    person(console, "late-next", "System Administrator")
    tabs = Tabs(console, queue)
    tabs.signed_out()
    tabs.sign_in("late-next", password("late-next"))
    asked = tabs.send("of the one before")
    assert asked.status_code == 403 and "Another person filled in this form" in text(asked) and "of the one before" not in asked.text
    # The person who is signed in now can't send the form. The person who typed it can.
    csrf = hidden(tabs.visitor.get("account"), "csrf")
    assert tabs.visitor.session.post(f"{console.pages}/records/queues/{queue}", {"csrf": csrf, "kept": tabs.kept}).status_code == 403
    offered = tabs.sign_in(kept=tabs.kept)
    assert "What you typed is still here" in text(offered) and description(console, queue) != "of the one before"
    assert tabs.go_on(offered).status_code == 200 and description(console, queue) == "of the one before"


def test_a_form_waits_while_the_password_is_changed_first(console, queue):
    person(console, "late-first", "System Administrator")
    tabs = Tabs(console, queue, "late-first", password("late-first"))
    console.run("user", "reset", "late-first", "--org", "contoso", stdin="chosen by an administrator\n")
    tabs.send("typed before the reset")
    step = tabs.sign_in(secret="chosen by an administrator", kept=tabs.kept)
    assert "is kept for half an hour" in text(step)
    account = tabs.go_on(step)
    waits = hidden(account, "waits")
    assert waits == tabs.kept and "is kept for half an hour" in text(account)
    form = {"csrf": hidden(account, "csrf"), "waits": waits, "old": "chosen by an administrator", "new": "chosen by late-first", "again": "chosen by late-first"}
    wrong = tabs.visitor.session.post(f"{console.pages}/account/password", {**form, "old": "not it"})
    assert wrong.status_code == 403 and hidden(wrong, "waits") == waits
    offered = tabs.visitor.session.post(f"{console.pages}/account/password", form)
    assert "What you typed is still here" in text(offered)
    assert tabs.go_on(offered).status_code == 200 and description(console, queue) == "typed before the reset"


def test_a_form_waits_while_two_step_sign_in_is_turned_on(console, queue):
    person(console, "late-factor", "System Administrator")
    tabs = Tabs(console, queue, "late-factor", password("late-factor"))
    # The session continues. But before the service processes another form, the person must turn on two-step sign-in.
    try:
        console.run("user", "require-second-factor", "--role", "System Administrator", "--org", "contoso")
        # A form with another CSRF token is not kept.
        own = tabs.csrf
        for forged in ("", "x", own[:-1], hidden(Visitor(console).get("account"), "csrf")):
            tabs.csrf = forged
            led = tabs.send("forged before the rule")
            assert led.url.endswith("/account") and led.status_code == 200 and hidden(led, "waits") is None, forged
        tabs.csrf = own
        account = tabs.send("typed before the rule")
        waits = hidden(account, "waits")
        assert account.status_code == 403 and waits and "is kept for half an hour" in text(account)
        post = tabs.visitor.session.post
        offered = post(f"{console.pages}/account/offer", {"csrf": hidden(account, "csrf"), "waits": waits})
        secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered.text)[1], hidden(offered, "sealed")
        on = post(f"{console.pages}/account/confirm", {"csrf": tabs.csrf, "waits": hidden(offered, "waits"), "sealed": sealed, "code": one_time_password(secret)})
        assert "was not saved yet" in text(on) and len(re.findall(r"<li><code>", on.text)) == 10
        still = post(f"{console.pages}/sign-in/kept", {"kept": waits})
        assert "What you typed is still here" in text(still)
        assert tabs.go_on(still).status_code == 200 and description(console, queue) == "typed before the rule"
    finally:
        console.run("user", "require-second-factor", "--org", "contoso")


def test_a_form_that_waited_too_long_is_said_to_be_gone(console, queue):
    tabs = Tabs(console, queue)
    tabs.signed_out()
    tabs.send("waited too long")
    old = older(console, tabs.kept, seconds=1_900)
    answer = tabs.sign_in(kept=old)
    assert answer.status_code == 410 and "no longer kept" in text(answer) and "Nothing was saved" in text(answer)
    csrf = hidden(tabs.visitor.get("account"), "csrf")
    again = tabs.visitor.session.post(f"{console.pages}/records/queues/{queue}", {"csrf": csrf, "kept": old})
    assert again.status_code == 410 and description(console, queue) != "waited too long"


def test_a_form_from_before_without_a_token_says_that_nothing_was_saved(console, queue):
    tabs = Tabs(console, queue)
    tabs.signed_out()
    tabs.csrf = "made-up"
    answer = tabs.send("lost")
    assert "/sign-in?ended=1" in answer.url and 'class="warning" role="alert"' in answer.text and "was not saved" in text(answer)
    assert 'class="notice"' not in answer.text


def test_the_way_back_shows_no_sign_in_inside_the_menu(console):
    visitor = Visitor(console)
    assert visitor.get("sign-in?ended=1").url.endswith("/overview")
    assert visitor.get("sign-in?then=records/queues").url.endswith("/records/queues")
    assert visitor.get("sign-in?then=https://evil.test").url.endswith("/overview")
    wrong = visitor.session.post(f"{console.pages}/sign-in", {"name": "nobody", "password": "wrong"})
    assert wrong.status_code == 403 and "<nav" not in wrong.text
