"""What strangers learn from the counts of failed sign-ins, what an attacker with a password can guess, and whom many sign-ins at once keep out."""

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
    """A deployment behind a trusted proxy, with a database connection for each sign-in that may be under way."""
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
    """The counts of people and of these tests' networks, without their accounts. Meanwhile the router signs in, too."""
    return deployment.sql(
        "SELECT CASE account WHEN '*' THEN '*' ELSE '' END, address, failures FROM config.failed_sign_in "
        f"WHERE account NOT LIKE 'client:%%' AND (address = '*' OR address LIKE '198.18.%%') AND {condition} ORDER BY 1, 2, 3", [])


# Names


def test_names_that_are_there_and_names_that_are_not_are_counted_alike(signed):
    """Also from all networks. If only names that exist had this count, only these would be answered later after failures from several networks."""
    found = []
    for name in (signed.dev["console"]["username"], "no-such-name"):
        signed.sql("DELETE FROM config.failed_sign_in")
        for network in range(3):
            assert [sign_in(signed, f"198.18.{network}.1", name) for _ in range(2)] == [403] * 2
        found.append(counts(signed))
        # The database is told no name, because a name that does not exist may be a password in the wrong field.
        assert signed.sql("SELECT count(*) FROM config.failed_sign_in WHERE position(%s IN account) > 0", [name]) == [(0,)]
    assert found[0] == found[1] == [
        ("", "*", 6), *(("", f"198.18.{n}.1", 2) for n in range(3)), *(("*", f"198.18.{n}.1", 2) for n in range(3))]


def test_failures_of_a_name_lock_no_other_name(signed):
    """If names that don't exist shared counts, a network with a locked one would refuse others of these names, and no names that exist."""
    signed.sql("DELETE FROM config.failed_sign_in")
    address, names = "198.18.9.1", [signed.dev["console"]["username"], *(uuid.uuid4().hex for _ in range(19))]
    assert {sign_in(signed, address, name) for name in names} == {403}
    accounts = [account for account, in signed.sql("SELECT account FROM config.failed_sign_in WHERE address = %s AND account <> '*'", [address])]
    assert len(accounts) == 20
    signed.sql("UPDATE config.failed_sign_in SET failures = 10 WHERE account = %s AND address = %s", [accounts[7], address])
    assert sorted(sign_in(signed, address, name) for name in names) == [403] * 19 + [429]


# One-time passwords


def enrolled(deployment, name):
    """A signed-in person with one-time passwords: their browser, the secret, and the recovery codes."""
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
    # Without the password, no one-time password is checked or counted. So strangers can't lock those of a person.
    assert {sign_in(signed, f"198.18.30.{n}", "guarded", code="000000") for n in range(12)} == {403}
    assert counts(signed, "account LIKE 'code:%%'") == []
    signed.sql("DELETE FROM config.failed_sign_in")
    # With the password, each wrong one is a failure of the account and of its network, and one of all wrong ones of the person.
    assert [sign_in(signed, f"198.18.{40 + n % 5}.1", "guarded", PASSWORD, code="000000") for n in range(10)] == [403] * 10
    assert counts(signed, "address = '*'") == [("", "*", 10)] * 2 and counts(signed, "account LIKE 'user:%%' AND address <> '*'") == [
        ("", f"198.18.{40 + n}.1", 2) for n in range(5)]
    # Then not even the right one is accepted, from any network. The answer is the same, so it does not tell that the password is right.
    assert sign_in(signed, "198.18.50.1", "guarded", PASSWORD, code=one_time_password(secret)) == 403
    refused = visitor.post("account/end", csrf=visitor.csrf(), code=one_time_password(secret))
    assert refused.status_code == 400 and "Type a recovery code" in refused.text, refused.text
    # A recovery code can't be guessed, so it is accepted.
    assert sign_in(signed, "198.18.50.2", "guarded", PASSWORD, code=codes.pop()) == 303
    # The controls: other people, and the time after the lock.
    assert sign_in(signed, "198.18.50.1", signed.dev["console"]["username"], signed.dev["console"]["password"]) == 303
    signed.sql("UPDATE config.failed_sign_in SET last_on = now() - interval '16 minutes'")
    assert sign_in(signed, "198.18.50.1", "guarded", PASSWORD, code=one_time_password(secret)) == 303


# Many at once


@contextlib.contextmanager
def held(deployment, networks):
    """While this lasts, sign-ins from these networks remain under way, because each waits for its network's count."""
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
            # Each of the others is under way or was refused.
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
            # The control: for one more network there is no place.
            assert sign_in(signed, "198.19.99.3", person["username"], person["password"]) == 429
            # A refused confirmation leads back to the form for the password.
            assert visitor.post("fresh", csrf=csrf, password=person["password"]).headers["Location"] == "/contoso/overview"
        codes = [future.result() for future in asked]
    assert set(codes) <= {403, 429}, codes
