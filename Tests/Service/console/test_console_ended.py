"""A form that is sent after its session has ended: nothing that was typed is lost, and no other person gets it."""

import re

import pytest
from test_console_access import Visitor, password, person, text


def hidden(answer, name):
    found = re.search(rf'name="{name}" value="([\w-]*)"', answer.text)
    return found and found[1]


def unseen(page):
    """What a form says besides what is typed, such as the version of its record."""
    return {k: v for k, v in re.findall(r'<input type="hidden" name="([^"]+)" value="([^"]*)"', page.text) if k != "csrf"}


class Late:
    """A visitor whose sessions end between the page and the form."""

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
    assert answer.url.endswith("/overview") and "not for others" not in answer.text and late.kept not in answer.text
    stolen = Visitor(console, "late-mallory", password("late-mallory"))
    stolen.send(f"records/queues/{queue}", kept=late.kept)
    assert description(console, queue) != "not for others"


def test_a_form_of_another_page_is_not_kept(console, queue):
    late = Late(console, Visitor(console), console.dev["console"]["username"])
    for csrf in ("", "x", late.csrf[:-1], late.csrf[:32] + "0" * (len(late.csrf) - 32), "0" * 32 + late.csrf[32:]):
        answer = late.send(f"records/queues/{queue}", csrf=csrf or "none", description="forged")
        assert late.kept is None and "/sign-in" in answer.url
    assert late.send("sign-out").url.endswith("then=") and late.kept is None


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
    """After a sign-in elsewhere, the page with the form offers it: to its person alone."""
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
    # Another site can't send it, and what it brings would be offered, not done.
    forged = visitor.session.post(f"{console.pages}/sign-in/kept", {"kept": late.kept}, headers={"Origin": "https://evil.test"})
    assert forged.status_code == 403 and late.kept not in forged.text
    sent = visitor.session.post(f"{console.pages}/records/queues/{queue}", {"csrf": csrf, "kept": late.kept})
    assert sent.status_code == 200 and description(console, queue) == "typed before the other tab"
