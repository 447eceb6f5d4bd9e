"""Two-step sign-in under Account: each offer can be confirmed once, and only a person with a code of the factor in force can replace it."""

import re

import html_forms
from one_time import one_time_password
from test_console_access import Visitor, password, person, text

ON = "Two-step sign-in is on already"


def offered(visitor):
    """Opens a new offer of two-step sign-in. Returns the secret, and the sealed offer that the form sends back."""
    page = visitor.send("account/offer").text
    secret = re.search(r'class="secret">([A-Z2-7 ]+)<', page)[1].replace(" ", "")
    return secret, re.search(r'name="sealed" value="([\w-]+)"', page)[1]


def codes_of(answer):
    return re.findall(r"<li><code>([A-Z2-7-]{19})</code>", answer.text)


def stored(console, name):
    """All values that the database stores of a person's second factor."""
    return console.sql(
        "SELECT totp, tag, totp_step, (SELECT array_agg(hash ORDER BY hash) FROM config.console_recovery_code AS c WHERE c.user_id = u.user_id)"
        " FROM config.console_user AS u WHERE name = %s", [name])


def signed_in(console, name):
    person(console, name)
    return Visitor(console, name, password(name))


def turned_on(visitor, step=-1):
    secret, sealed = offered(visitor)
    codes = codes_of(visitor.send("account/confirm", sealed=sealed, code=one_time_password(secret, step)))
    assert len(codes) == 10
    return secret, codes


def test_an_offer_that_is_confirmed_twice_changes_nothing_the_second_time(console):
    visitor = signed_in(console, "of one confirm")
    secret, sealed = offered(visitor)
    first = visitor.send("account/confirm", sealed=sealed, code=one_time_password(secret, -1))
    codes, before = codes_of(first), stored(console, "of one confirm")
    assert len(codes) == 10
    # The form is sent again with the same code, as a reload does, with a newer code, and with a wrong code.
    for code in (one_time_password(secret, -1), one_time_password(secret), "000000"):
        again = visitor.send("account/confirm", sealed=sealed, code=code)
        said = text(again)
        assert again.status_code == 400 and ON in said and "shown before are still valid" in said, said
        assert not codes_of(again) and 'class="secret"' not in again.text and stored(console, "of one confirm") == before
    assert len(console.sql("SELECT 1 FROM org_contoso.security_event WHERE kind = 'one-time passwords turned on' AND actor = 'user:of one confirm'")) == 1
    # A recovery code from the confirmation turns two-step sign-in off. After that, the offer is not valid any more.
    assert "is off" in text(visitor.send("account/end", code=codes[0]))
    ended = visitor.send("account/confirm", sealed=sealed, code=one_time_password(secret))
    assert ended.status_code == 400 and "This secret has ended" in text(ended) and 'class="secret"' not in ended.text, text(ended)
    assert stored(console, "of one confirm")[0][0] is None
    assert len(turned_on(visitor)[1]) == 10


def test_the_factor_in_force_is_not_replaced_without_a_code_of_it(console):
    visitor = signed_in(console, "of two tabs")
    old, new = offered(visitor), offered(visitor)
    wrong = visitor.send("account/confirm", sealed=old[1], code="000000")
    assert wrong.status_code == 400 and "does not match this secret" in text(wrong) and old[1] in wrong.text
    assert len(codes_of(visitor.send("account/confirm", sealed=new[1], code=one_time_password(new[0], -1)))) == 10
    before = stored(console, "of two tabs")
    for action, form in (("confirm", {"sealed": old[1], "code": one_time_password(old[0])}), ("offer", {})):
        refused = visitor.send(f"account/{action}", **form)
        assert refused.status_code == 400 and ON in text(refused) and "turn two-step sign-in off first" in text(refused), (action, text(refused))
        assert 'class="secret"' not in refused.text and not codes_of(refused) and stored(console, "of two tabs") == before
    # A new password, set with a link, leaves the second factor and its recovery codes in force.
    admin = Visitor(console)
    id = console.sql("SELECT user_id::text FROM config.console_user WHERE name = 'of two tabs'")[0][0]
    link = admin.send("access/invite-user", id=id)
    token = re.search(r"invitation\?token=([\w.-]+)", link.text)[1]
    assert visitor.session.post(f"{console.pages}/invitation", {"token": token, "password": "chosen with a link", "again": "chosen with a link"}).status_code == 200
    assert Visitor(console, "of two tabs", "chosen with a link").answer.status_code == 403
    assert [row[0] for row in stored(console, "of two tabs")] == [before[0][0]] and stored(console, "of two tabs")[0][3] == before[0][3]


def test_a_code_that_was_used_already_is_told_from_a_wrong_one(console):
    visitor = signed_in(console, "of a used code")
    # Uses the code of the next time step, which stays valid if the present step ends during the test.
    secret, sealed = offered(visitor)
    used = one_time_password(secret, 1)
    codes = codes_of(visitor.send("account/confirm", sealed=sealed, code=used))
    for action, code, said in (("end", used, "was used already, and nothing was changed"), ("end", "000000", "The code is wrong"),
                               ("codes", used, "was used already, and nothing was changed"),
                               ("codes", "AAAA-BBBB-CCCC-DDDD", "The code is wrong, and the recovery codes stay as they are.")):
        answer = visitor.send(f"account/{action}", code=code)
        assert answer.status_code == 400 and said in text(answer) and not codes_of(answer), (action, code, text(answer))
    # At sign-in, the response does not say that the code was used already.
    refused = Visitor(console, "of a used code", password("of a used code")).session.post(
        f"{console.pages}/sign-in", {"name": "of a used code", "password": password("of a used code"), "code": used})
    assert refused.status_code == 403 and "used already" not in text(refused)
    assert "is off" in text(visitor.send("account/end", code=codes[0]))


def test_recovery_codes_are_counted_and_replaced(console):
    visitor = signed_in(console, "of few codes")
    assert "Recovery codes" not in text(visitor.get("account")) and "so there are no recovery codes" in text(visitor.send("account/codes", code="000000"))
    secret, codes = turned_on(visitor)
    assert "10 recovery codes are left." in text(visitor.get("account"))
    assert Visitor(console, "of few codes", password("of few codes")).answer.status_code == 403
    for code in codes[:9]:
        answer = visitor.session.post(f"{console.pages}/sign-in", {"name": "of few codes", "password": password("of few codes"), "code": code})
        assert answer.status_code == 200, text(answer)
    page = visitor.get("account")
    assert "1 recovery code is left." in text(page) and "To turn it off: one-time password, or a recovery code" in text(page)
    replaced = visitor.send("account/codes", code=one_time_password(secret))
    new = codes_of(replaced)
    assert len(new) == 10 and not set(new) & set(codes) and "They are not shown again" in text(replaced) and "10 recovery codes are left." in text(replaced)
    # If the form is sent again, as by a reload, nothing changes. From the field "marks", the service knows that the codes were replaced after the
    # page was opened.
    marks = html_forms.form(page.text, "account/codes").fields["marks"]
    code = replaced.request.body.rsplit("code=", 1)[1]
    for sent in (code, codes[9]):
        again = visitor.send("account/codes", code=sent, marks=marks)
        assert again.status_code == 400 and not codes_of(again), text(again)
        assert "replaced since this page was opened, and the new ones are valid. Nothing was changed now" in text(again), text(again)
    # If the form has no marks, or was opened after the replacement, the response does not say that the codes were replaced.
    mistaken = visitor.send("account/codes", code="AAAA-BBBB-CCCC-DDDD", marks=html_forms.form(replaced.text, "account/codes").fields["marks"])
    assert mistaken.status_code == 400 and "the recovery codes stay as they are" in text(mistaken), text(mistaken)
    again = visitor.send("account/codes", code=code)
    assert again.status_code == 400 and "used already, and nothing was changed. The recovery codes that were shown last are valid." in text(again) and not codes_of(again)
    assert "Recovery codes replaced" in text(Visitor(console).get("events?kind=signIns"))
    assert console.sql("SELECT outcome FROM org_contoso.security_event WHERE kind = 'recovery codes replaced' AND actor = 'user:of few codes'") == [("succeeded",)]
    # The former codes are not valid any more, and the new ones are.
    assert "The code is wrong" in text(visitor.send("account/end", code=codes[9])) and "is off" in text(visitor.send("account/end", code=new[0]))


def test_an_offer_can_be_left_and_its_secret_is_read_in_groups(console):
    visitor = signed_in(console, "of an offer left")
    page = visitor.send("account/offer").text
    secret = re.search(r'class="secret">([^<]*)<', page)[1]
    assert re.fullmatch(r"(?:[A-Z2-7]{4} ){7}[A-Z2-7]{4}", secret) and f"secret={secret.replace(' ', '')}&" in page.replace("&amp;", "&")
    assert re.search(r'<a class="button plain" href="/contoso/account">Cancel</a>', page)
    assert stored(console, "of an offer left")[0][0] is None and "Turn on" in text(visitor.get("account"))
