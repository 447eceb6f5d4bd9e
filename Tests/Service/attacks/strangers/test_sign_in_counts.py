"""Counts of failed sign-ins: they reveal no names to strangers, limit guesses of one-time passwords, and keep no other people out."""

import concurrent.futures
import contextlib
import re
import uuid

import psycopg
import pytest
from one_time import one_time_password
from service import PATIENCE, Deployment
from test_client_addresses import PROXY, session
from waiting import until

PASSWORD = "a long password of a person"


@pytest.fixture(scope="module")
def signed():
    """A deployment behind a trusted proxy, with 80 database connections for sign-ins that wait at the same time."""
    with Deployment.made(FIELDSEAL_CONNECTIONS="80", FIELDSEAL_TRUSTED_PROXIES=PROXY) as deployment:
        yield deployment


class Visitor:
    def __init__(self, deployment, address):
        self.deployment, self.session = deployment, session(deployment, PROXY)
        self.session.headers.update({"Origin": deployment.base, "X-Forwarded-For": address})

    def post(self, path, **form):
        return self.session.post(f"{self.deployment.base}/contoso/{path}", form, timeout=PATIENCE, allow_redirects=False)

    def sign_in(self, name, password="wrong", **form):
        return self.post("sign-in", name=name, password=password, **form).status_code

    def csrf(self):
        return re.search(r'name="csrf" value="([^"]+)"', self.session.get(f"{self.deployment.base}/contoso/account", timeout=PATIENCE).text)[1]


def sign_in(deployment, address, name, password="wrong", **form):
    return Visitor(deployment, address).sign_in(name, password, **form)


def counts(deployment, condition="true"):
    """The counts of people and of the networks 198.18.0.0/16, without the accounts. Rows of clients are left out, because the router signs in during
    the tests."""
    return deployment.sql(
        "SELECT CASE account WHEN '*' THEN '*' ELSE '' END, address, failures FROM config.failed_sign_in "
        f"WHERE account NOT LIKE 'client:%%' AND (address = '*' OR address LIKE '198.18.%%') AND {condition} ORDER BY 1, 2, 3", [])


# Names


def test_names_that_are_there_and_names_that_are_not_are_counted_alike(signed):
    """A name that does not exist also has a count of failures from all networks. If only existing names had it, slower responses would reveal them."""
    found = []
    for name in (signed.dev["console"]["username"], "no-such-name"):
        signed.sql("DELETE FROM config.failed_sign_in")
        for network in range(3):
            assert [sign_in(signed, f"198.18.{network}.1", name) for _ in range(2)] == [403] * 2
        found.append(counts(signed))
        # The name itself is not stored, because a name that does not exist may be a password that was typed into the wrong field.
        assert signed.sql("SELECT count(*) FROM config.failed_sign_in WHERE position(%s IN account) > 0", [name]) == [(0,)]
    assert found[0] == found[1] == [
        ("", "*", 6), *(("", f"198.18.{n}.1", 2) for n in range(3)), *(("*", f"198.18.{n}.1", 2) for n in range(3))]


def test_failures_of_a_name_lock_no_other_name(signed):
    """Names that don't exist have separate counts. If they shared one, a locked name would reveal that the others do not exist either."""
    signed.sql("DELETE FROM config.failed_sign_in")
    address, names = "198.18.9.1", [signed.dev["console"]["username"], *(uuid.uuid4().hex for _ in range(19))]
    assert {sign_in(signed, address, name) for name in names} == {403}
    accounts = [account for account, in signed.sql("SELECT account FROM config.failed_sign_in WHERE address = %s AND account <> '*'", [address])]
    assert len(accounts) == 20
    signed.sql("UPDATE config.failed_sign_in SET failures = 10 WHERE account = %s AND address = %s", [accounts[7], address])
    assert sorted(sign_in(signed, address, name) for name in names) == [403] * 19 + [429]


@pytest.mark.parametrize("name, spellings", [
    # PostgreSQL lowers each letter by itself. By the rules of Unicode, \u0130 becomes two characters, and \u03a3 at the end of a word \u03c2.
    ("mini{}", ["mini{}", "MINI{}", "m\u0130ni{}", "MIN\u0130{}", "m\u0130n\u0130{}"]),
    ("{}\u039d\u0399\u039a\u039f\u03a3", ["{}\u039d\u0399\u039a\u039f\u03a3", "{}\u03bd\u03b9\u03ba\u03bf\u03c3", "{}\u039d\u03b9\u03ba\u03bf\u03a3"]),
    ("{}kate", ["{}kate", "{}KATE", "{}\u212aate"]),
])
def test_all_spellings_of_a_name_are_counted_together(signed, name, spellings):
    """After ten failures, a network is locked for the person, no matter how the name is written."""
    unique = uuid.uuid4().hex[:8]
    name, spellings = name.format(unique), [each.format(unique) for each in spellings]
    signed.run("user", "add", name, "--role", "Basic User", stdin=f"{PASSWORD}\n")

    # The control: each spelling is one that PostgreSQL takes for the person.
    for spelling in spellings:
        signed.sql("DELETE FROM config.failed_sign_in")
        assert sign_in(signed, "198.18.60.1", spelling, PASSWORD) == 303, spelling
    signed.sql("DELETE FROM config.failed_sign_in")
    assert [sign_in(signed, "198.18.60.1", spellings[n % len(spellings)]) for n in range(10)] == [403] * 10
    assert counts(signed, "account LIKE 'user:%%'") == [("", "*", 10), ("", "198.18.60.1", 10)]
    assert {each: sign_in(signed, "198.18.60.1", each, PASSWORD) for each in spellings} == dict.fromkeys(spellings, 429)
    # The controls: the person signs in from another network, and another person from this one.
    assert sign_in(signed, "198.18.61.1", spellings[-1], PASSWORD) == 303
    assert sign_in(signed, "198.18.60.1", signed.dev["console"]["username"], signed.dev["console"]["password"]) == 303


# One-time passwords


def enrolled(deployment, name):
    """Adds a person with one-time passwords. Returns their signed-in browser, the secret and the recovery codes."""
    deployment.run("user", "add", name, "--role", "Basic User", stdin=f"{PASSWORD}\n")
    visitor = Visitor(deployment, "198.18.20.1")
    assert visitor.sign_in(name, PASSWORD) == 303
    csrf = visitor.csrf()
    offered = visitor.post("account/offer", csrf=csrf).text
    secret, sealed = (re.search(pattern, offered)[1] for pattern in (r"secret=([A-Z2-7]+)", r'name="sealed" value="([^"]+)"'))
    on = visitor.post("account/confirm", csrf=csrf, sealed=sealed, code=one_time_password(secret, -1)).text
    codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", on)
    again = Visitor(deployment, "198.18.20.1")
    assert again.sign_in(name, PASSWORD, code=codes.pop()) == 303
    return again, secret, codes


def test_wrong_one_time_passwords_from_everywhere_are_few(signed):
    signed.sql("DELETE FROM config.failed_sign_in")
    visitor, secret, codes = enrolled(signed, "guarded")
    signed.sql("DELETE FROM config.failed_sign_in")
    # Without the right password, a one-time password is neither checked nor counted. So strangers can't lock a person's one-time passwords.
    assert {sign_in(signed, f"198.18.30.{n}", "guarded", code="000000") for n in range(12)} == {403}
    assert counts(signed, "account LIKE 'code:%%'") == []
    signed.sql("DELETE FROM config.failed_sign_in")
    # With the password, each wrong one-time password counts for the account in its network, and for the person from all networks.
    assert [sign_in(signed, f"198.18.{40 + n % 5}.1", "guarded", PASSWORD, code="000000") for n in range(10)] == [403] * 10
    assert counts(signed, "address = '*'") == [("", "*", 10)] * 2 and counts(signed, "account LIKE 'user:%%' AND address <> '*'") == [
        ("", f"198.18.{40 + n}.1", 2) for n in range(5)]
    # After ten wrong ones, the right one is refused from each network. The response is the same, so it does not reveal that the password is right.
    assert sign_in(signed, "198.18.50.1", "guarded", PASSWORD, code=one_time_password(secret)) == 403
    refused = visitor.post("account/end", csrf=visitor.csrf(), code=one_time_password(secret))
    assert refused.status_code == 400 and "Type a recovery code" in refused.text, refused.text
    # Recovery codes are too long to be guessed, so they are accepted.
    assert sign_in(signed, "198.18.50.2", "guarded", PASSWORD, code=codes.pop()) == 303
    # The controls: another person can sign in, and after the lock this person can sign in too.
    assert sign_in(signed, "198.18.50.1", signed.dev["console"]["username"], signed.dev["console"]["password"]) == 303
    signed.sql("UPDATE config.failed_sign_in SET last_on = now() - interval '16 minutes'")
    assert sign_in(signed, "198.18.50.1", "guarded", PASSWORD, code=one_time_password(secret)) == 303


# Many sign-ins at the same time


@contextlib.contextmanager
def held(deployment, networks):
    """Locks the counts of these networks, so that sign-ins from them wait until the block ends."""
    deployment.sql("DELETE FROM config.failed_sign_in")
    deployment.sql("INSERT INTO config.failed_sign_in SELECT '*', n, 1, now(), now() FROM unnest(%s::text[]) AS n", [networks])
    with psycopg.connect(deployment.dev["postgres"]) as connection:
        connection.execute("SELECT FROM config.failed_sign_in WHERE address = ANY (%s) FOR UPDATE", [networks])
        yield


def under_way(deployment):
    return deployment.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND usename = 'fieldseal_service'")[0][0]


def test_few_networks_keep_no_other_network_out(signed):
    person, networks = signed.dev["console"], [f"198.19.{n}.1" for n in range(9)]
    with concurrent.futures.ThreadPoolExecutor(72) as pool:
        with held(signed, networks):
            asked = [pool.submit(sign_in, signed, network, uuid.uuid4().hex) for network in networks for _ in range(8)]
            # Each of the 72 sign-ins waits in the database or was refused.
            until(lambda: under_way(signed) + sum(future.done() for future in asked) == 72)
            assert sign_in(signed, "198.19.99.1", person["username"], person["password"]) == 303
        codes = [future.result() for future in asked]
    assert set(codes) == {403, 429}, codes


def test_people_who_are_signed_in_have_places_of_their_own(signed):
    person, networks = signed.dev["console"], [f"198.19.{n}.2" for n in range(64)]
    visitor = Visitor(signed, "198.19.99.2")
    assert visitor.sign_in(person["username"], person["password"]) == 303
    csrf = visitor.csrf()
    with concurrent.futures.ThreadPoolExecutor(64) as pool:
        with held(signed, networks):
            asked = [pool.submit(sign_in, signed, network, uuid.uuid4().hex) for network in networks]
            until(lambda: under_way(signed) == 64)
            # The control: a sign-in from one more network is refused.
            assert sign_in(signed, "198.19.99.3", person["username"], person["password"]) == 429
            # The person who is signed in can confirm their password. A refused confirmation would lead back to the form.
            assert visitor.post("fresh", csrf=csrf, password=person["password"]).headers["Location"] == "/contoso/overview"
        codes = [future.result() for future in asked]
    assert set(codes) <= {403, 429}, codes
