"""What SQL without the key-encryption key can't do: act as another caller, undo a revocation, bring a retired key back into force, or change events
unnoticed.
Most attacks are tried on a running and on a fresh server."""

import base64
import hashlib
import json
import os
import re
import time
import uuid

import psycopg
import pytest
from attested import Attestor
from cluster import seal
from one_time import one_time_password
from place import PASSWORD, SQL_ROLES, name
from service import PATIENCE
from waiting import until
from html_forms import subject


@pytest.fixture(scope="module")
def place(place):
    place.run("key", "show")
    return place


# Sessions of the console


def test_a_session_that_sql_inserts_is_none(place, role):
    victim = name("admin")
    place.add_user(victim)
    real = place.visit(victim)
    assert real.page().status_code == 200 and real.key().status_code == 200
    token = f"{'forged':x<43}"
    csrf = hashlib.sha256(f"form {token}".encode()).hexdigest()
    # The session has a forged tag, or the tag of another session of the same person.
    for tag in ("sha256('tag')", "(SELECT max(s.tag::text)::bytea FROM config.console_session AS s JOIN config.console_user USING (user_id) WHERE name = %(name)s)"):
        place.sql_as(role, f"""
            INSERT INTO config.console_session (token_hash, user_id, fresh_on, tag)
            SELECT sha256(%(token)s::bytea), user_id, now(), {tag} FROM config.console_user WHERE name = %(name)s""", {"token": token, "name": victim})

        def refused(server):
            assert real.page(server=server, token=token).status_code == 303
            answer = real.page("settings/data-encryption/key", server, token, csrf=csrf)
            assert answer.status_code == 303 and "/sign-in" in answer.headers["Location"]

        place.everywhere(refused)
        assert victim in place.doctor()["session-not-made-here"]
        place.sql_as(role, "DELETE FROM config.console_session WHERE token_hash = sha256(%s::bytea)", [token])
    # The session that the service created remains valid.
    assert real.page().status_code == 200
    assert "session-not-made-here" not in place.doctor()


def test_a_session_that_ended_does_not_begin_again(place, role):
    person = name("leaver")
    place.add_user(person)
    for everywhere in ({}, {"everywhere": "1", "confirmed": subject("sign-out", person)}):
        visitor, other = place.visit(person), place.visit(person)
        assert visitor.page().status_code == other.page().status_code == 200
        with place.put_back("console_session") as restore:
            with place.put_back("attested_state") as restore_state:
                visitor.page("sign-out", csrf=visitor.csrf(), **everywhere)
                assert other.page().status_code == (303 if everywhere else 200)
                restore(role)
                place.everywhere(lambda server: check(visitor.page(server=server).status_code == 303))
                assert "row-put-back" in place.doctor()
                # If SQL also restores the attested state of that time, the server refuses the organization, because it has later events.
                with place.put_back("attested_state") as mend:
                    restore_state(role)
                    place.everywhere(lambda server: check(place.is_refused(server, place.server.token)))
                    mend()
        place.sql("DELETE FROM config.console_session WHERE token_hash = sha256(%s::bytea)", [visitor.secret])
        if everywhere:
            place.sql("DELETE FROM config.console_session WHERE token_hash = sha256(%s::bytea)", [other.secret])


def test_a_session_is_not_made_fresh_young_or_another_person_s(place, role):
    basic, admin = name("basic"), name("admin")
    place.add_user(basic, "Basic User")
    place.add_user(admin)
    visitor = place.visit(admin)
    csrf = visitor.csrf()
    Attestor(place).age_sessions(fresh="10 minutes")
    stale = visitor.key(csrf=csrf)
    assert stale.status_code == 403 and 'action="/contoso/fresh"' in stale.text
    with place.put_back("console_session") as mend:
        place.sql_as(role, "UPDATE config.console_session SET fresh_on = now()")
        place.everywhere(lambda server: check('action="/contoso/sign-in"' in visitor.key(server, csrf).text))
        mend()
    # The control: in the restored session, the person has to enter the password again, and can then read the key.
    assert visitor.key(csrf=csrf).status_code == 403
    fresh = visitor.page("fresh", csrf=csrf, password=PASSWORD)
    visitor.secret = re.match(r"__Host-fieldseal=([\w-]{43});", fresh.headers["Set-Cookie"])[1]
    assert visitor.key().status_code == 200
    # The session was created 13 hours ago, which is longer than a session may last. SQL sets its times to now.
    Attestor(place).age_sessions(created="13 hours")
    place.sql_as(role, "UPDATE config.console_session SET created_on = now(), used_on = now()")
    place.everywhere(lambda server: check(visitor.page(server=server).status_code == 303))
    low = place.visit(basic)
    place.sql_as(role, "UPDATE config.console_session SET user_id = (SELECT user_id FROM config.console_user WHERE name = %s) WHERE token_hash = sha256(%s::bytea)",
                 [admin, low.secret])
    place.everywhere(lambda server: check(low.page(server=server).status_code == 303))
    place.sql("DELETE FROM config.console_session")
    place.run("org", "attach", "contoso", "--yes")


def test_another_password_ends_sessions_that_sql_has_hidden(place):
    person = name("hidden")
    place.add_user(person)
    visitor = place.visit(person)
    with place.put_back("console_session") as restore:
        place.sql("DELETE FROM config.console_session")
        place.run("user", "reset", person, "--org", "contoso", stdin="another long password\n")
        restore()
        # The session has ended: the browser is sent to the sign-in page, and not to the page on which a person changes their first password.
        place.everywhere(lambda server: check("/contoso/sign-in" in visitor.page(server=server).headers["Location"]))
    # After the sign-in, the person has to change the password before any other page opens.
    page = place.visit(person, "another long password").page()
    assert page.status_code == 303 and page.headers["Location"].endswith("/account")
    place.sql("DELETE FROM config.console_session")


def test_a_session_that_sql_hid_while_it_ended_does_not_begin_again(place, role):
    person = name("hidden")
    place.add_user(person)
    visitor, other = place.visit(person), place.visit(person)
    hidden = "token_hash = sha256(%s::bytea)"
    with place.put_back("console_session") as restore:
        place.sql_as(role, f"DELETE FROM config.console_session WHERE {hidden} OR {hidden}", [visitor.secret, other.secret])
        # The person signs in again, and the browser still sends the cookie of the hidden session. That ends the hidden session.
        again = place.visit(person, cookie=visitor.secret)
        assert again.is_in and again.page().status_code == 200
        restore(role)
        place.everywhere(lambda server: check(visitor.page(server=server).status_code == 303))
        # The other session, which SQL also hid, was not ended, so it is valid.
        assert other.page().status_code == 200
        assert "row-put-back" in place.doctor()
    [(actor, details)] = place.sql("SELECT actor, details FROM security_event WHERE kind = 'signed out' ORDER BY security_event_id DESC LIMIT 1")
    assert actor == "user:unknown" and "deleted or changed by SQL" in details
    place.sql("DELETE FROM config.console_session")
    place.run("org", "attach", "contoso", "--yes")


# Clients


def test_a_client_that_sql_hid_while_it_was_disabled_stays_disabled(place, role):
    client, kept = place.add_client(name("ex")), place.add_client(name("kept"))
    token = place.token(client).json()["access_token"]
    ids = [client["clientId"], kept["clientId"]]
    condition = "client_id IN ('{}', '{}')".format(*ids)
    with place.put_back("api_client", condition) as clients, place.put_back("api_client_secret", condition) as secrets:
        place.sql_as(role, "DELETE FROM config.api_client WHERE client_id = ANY (%s::uuid[])", [ids])
        # SQL gives another client the id as its name. The command must not disable that client.
        decoy = place.add_client(name("decoy"))
        place.sql_as(role, "UPDATE config.api_client SET name = %s WHERE client_id = %s", [ids[0], decoy["clientId"]])
        unknown = place.run("client", "disable", str(uuid.uuid4()), "--org", "contoso", check=False)
        assert unknown.returncode == 1 and "has no client" in unknown.stderr
        place.run("client", "disable", client["clientId"], "--org", "contoso")
        assert place.sql("SELECT disabled_on FROM config.api_client WHERE client_id = %s", [decoy["clientId"]]) == [(None,)]
        place.sql("DELETE FROM config.api_client WHERE client_id = %s", [decoy["clientId"]])
        clients(role)
        secrets(role)

        def refused(server):
            assert place.token(client, server).status_code == 401
            assert place.get("mailboxes", token, server).status_code == 401

        place.everywhere(refused)
        # The client that SQL also hid was not disabled, so its row is valid.
        assert place.token(kept).status_code == 200
        assert "revocation-undone" in place.doctor()
    place.run("client", "disable", client["clientId"], "--org", "contoso")


def test_a_client_that_was_disabled_stays_disabled(place, role):
    client = place.add_client(name("ex"))
    token = place.token(client).json()["access_token"]
    assert place.get("RetrieveDataEncryptionKey", token).status_code == 200
    assert place.get("mailboxes", token).status_code == 200
    with place.put_back("api_client", f"client_id = '{client['clientId']}'") as restore, place.put_back("attested_state") as restore_state:
        place.run("client", "disable", client["clientId"], "--org", "contoso")
        assert place.get("mailboxes", token).status_code == 401

        def refused(server):
            assert place.token(client, server).status_code == 401
            for path in ("mailboxes", "RetrieveDataEncryptionKey", "WhoAmI"):
                assert place.get(path, token, server).status_code == 401

        place.sql_as(role, "UPDATE config.api_client SET disabled_on = NULL WHERE client_id = %s", [client["clientId"]])
        place.everywhere(refused)
        assert "revocation-undone" in place.doctor()
        # SQL restores the whole former row with its tag. Later it changes the time of the disabling.
        restore(role)
        place.everywhere(refused)
        place.sql_as(role, "UPDATE config.api_client SET disabled_on = '-infinity' WHERE client_id = %s", [client["clientId"]])
        place.everywhere(refused)
        # If SQL also restores the attested state of that time, the server refuses every caller.
        restore(role)
        with place.put_back("attested_state") as mend:
            restore_state(role)

            def all_refused(server):
                assert place.is_refused(server, token) and place.is_refused(server, place.server.token)
                assert place.token(client, server).status_code == 403

            place.everywhere(all_refused)
            assert place.run("client", "list", "--org", "contoso", check=False).returncode == 1
            mend()
    place.sql("UPDATE config.api_client SET disabled_on = now() WHERE client_id = %s", [client["clientId"]])
    assert place.get("mailboxes", place.server.token).status_code == 200
    assert "revocation-undone" not in place.doctor()


def test_a_revocation_reaches_sessions_whose_check_sql_switched_off(place):
    [(definition,)] = place.sql("SELECT pg_get_functiondef('config.refuse_session()'::regprocedure)")
    for role in ("fieldseal_owner", "postgres"):
        client = place.add_client(name("cached"))
        token = place.token(client).json()["access_token"]
        for _ in range(3):
            assert place.get("mailboxes", token).status_code == 200
        try:
            place.sql_as(role, "CREATE OR REPLACE FUNCTION config.refuse_session() RETURNS boolean LANGUAGE sql AS 'SELECT NULL::boolean'")
            place.run("client", "disable", client["clientId"], "--org", "contoso")
            # The server learns of the revocation when it next reads the attested state, here for another caller's request. Its sweep also reads the
            # state, every 15 seconds.
            assert place.get("WhoAmI", place.server.token).status_code == 200
            assert place.get("mailboxes", token).status_code == 401
        finally:
            place.sql(definition)


def test_a_client_s_role_secret_and_user_are_what_the_service_wrote(place, role):
    client, other = place.add_client(name("low"), "Basic User"), place.add_client(name("high"))
    token = place.token(client).json()["access_token"]
    assert place.get("mailboxes", token).status_code == 200
    changes = [
        "UPDATE config.api_client SET role = 'System Administrator' WHERE client_id = %(client)s",
        "UPDATE config.api_client SET systemuser_id = (SELECT systemuser_id FROM config.api_client WHERE client_id = %(other)s) WHERE client_id = %(client)s",
        "UPDATE config.api_client AS c SET (role, systemuser_id, tag) = (SELECT role, systemuser_id, tag FROM config.api_client WHERE client_id = %(other)s) WHERE client_id = %(client)s",
    ]
    for change in changes:
        with place.put_back("api_client", f"client_id = '{client['clientId']}'") as mend:
            place.sql_as(role, change, {"client": client["clientId"], "other": other["clientId"]})

            def refused(server):
                for path in ("RetrieveDataEncryptionKey", "WhoAmI"):
                    assert place.get(path, token, server).status_code == 401
                assert place.token(client, server).status_code == 401

            place.everywhere(refused)
            assert "client-not-made-here" in place.doctor()
            mend()
    # SQL gives the secret of one client to the other client.
    with place.put_back("api_client_secret") as mend:
        place.sql_as(role, "UPDATE config.api_client_secret SET client_id = %s WHERE client_id = %s", [other["clientId"], client["clientId"]])
        stolen = {"clientId": other["clientId"], "clientSecret": client["clientSecret"]}
        place.everywhere(lambda server: check(place.token(stolen, server).status_code == 401))
        assert "secret-not-made-here" in place.doctor()
        mend()
    assert place.token(client).status_code == place.token(other).status_code == 200


def test_a_secret_that_expired_stays_expired(place):
    client = place.add_client(name("expiring"))
    attestor = Attestor(place)
    [(secret, salt, verifier)] = place.sql("SELECT secret_id, salt, verifier FROM config.api_client_secret WHERE client_id = %s", [client["clientId"]])

    def expire(microseconds):
        """Sets the expiry of the secret, with the tags that the service would write."""
        field = b"\1" + microseconds.to_bytes(8, "big", signed=True)
        tag = attestor.tag("attested api_client_secret", [secret.bytes, uuid.UUID(client["clientId"]).bytes, bytes(salt), bytes(verifier), field])
        place.sql("UPDATE config.api_client_secret SET expires_on = timestamptz '2000-01-01 00:00:00+00' + %s * interval '1 microsecond', tag = %s WHERE secret_id = %s",
                  [microseconds, tag, secret])
        grants = attestor.grants()
        grants[attestor.name("api_client_secret", [secret.bytes])] = tag[:16]
        attestor.sign(grants)

    expire(2_000_000_000_000_000)
    assert place.token(client).status_code == 200
    expire(1_000_000)
    place.everywhere(lambda server: check(place.token(client, server).status_code == 401))
    for end in ("NULL", "'infinity'", "now() + interval '1 year'"):
        place.sql(f"UPDATE config.api_client_secret SET expires_on = {end} WHERE secret_id = %s", [secret])
        place.everywhere(lambda server: check(place.token(client, server).status_code == 401))
    expire(2_000_000_000_000_000)
    assert place.token(client).status_code == 200


# People


def test_a_person_s_old_password_role_and_being_enabled_do_not_come_back(place, role):
    person = name("person")
    place.add_user(person, "Basic User")
    assert place.visit(person).is_in
    with place.put_back("console_user", f"name = '{person}'") as restore:
        place.run("user", "reset", person, "--org", "contoso", stdin="another long password\n")
        restore(role)
        place.everywhere(lambda server: check(not place.visit(person, server=server).is_in))
        assert person in place.doctor()["row-put-back"]
    place.run("user", "disable", place.person_id(person), "--org", "contoso")
    # SQL restored a former row of this person, so an administrator can't reset its password.
    assert place.run("user", "reset", person, "--org", "contoso", check=False, stdin="a third long password\n").returncode == 1
    second = name("second")
    place.add_user(second, "Basic User")
    with place.put_back("console_user", f"name = '{second}'") as mend:
        place.sql_as(role, "UPDATE config.console_user SET role = 'System Administrator' WHERE name = %s", [second])
        place.everywhere(lambda server: check(not place.visit(second, server=server).is_in))
        assert second in place.doctor()["user-not-made-here"]
        # The reset is refused, so it does not confirm the role that SQL wrote.
        assert place.run("user", "reset", second, "--org", "contoso", check=False, stdin="a third long password\n").returncode == 1
        mend()
    assert place.visit(second).is_in
    with place.put_back("console_user", f"name = '{second}'") as restore:
        place.run("user", "disable", second, "--org", "contoso")
        assert not place.visit(second).is_in
        place.sql_as(role, "UPDATE config.console_user SET disabled_on = NULL WHERE name = %s", [second])
        place.everywhere(lambda server: check(not place.visit(second, server=server).is_in))
        restore(role)
        place.everywhere(lambda server: check(not place.visit(second, server=server).is_in))
        assert second in place.doctor()["revocation-undone"]
        assert place.run("user", "reset", second, "--org", "contoso", check=False, stdin="a third long password\n").returncode == 1
    place.run("user", "remove", place.person_id(second), "--org", "contoso")
    # The control: an administrator can reset the password of a disabled person whose row SQL did not change.
    place.add_user(second, "Basic User")
    place.run("user", "disable", second, "--org", "contoso")
    place.run("user", "reset", second, "--org", "contoso", stdin="a third long password\n")
    assert place.visit(second, "a third long password").is_in
    place.sql("DELETE FROM config.console_user WHERE name = %s", [person])


def test_a_person_and_an_issuer_that_sql_hid_are_gone_once_that_is_accepted(place, role):
    person, issuer = name("hidden"), name("Hidden")
    place.add_user(person)
    place.run("issuer", "add", issuer, "--issuer", f"https://{issuer.lower()}.example", "--client-id", "fieldseal", "--org", "contoso", stdin="secret\n")
    visitor = place.visit(person)
    with place.put_back("console_user", f"name = '{person}'") as people, place.put_back("oidc_issuer", f"name = '{issuer}'") as issuers:
        place.sql_as(role, "DELETE FROM config.console_user WHERE name = %s", [person])
        place.sql_as(role, "DELETE FROM config.oidc_issuer WHERE name = %s", [issuer])
        assert "attested-rows-missing" in place.doctor()
        for command in (("user", "disable", person), ("issuer", "remove", issuer)):
            answer = place.run(*command, "--org", "contoso", check=False)
            assert answer.returncode == 1 and "fieldseal org attach" in answer.stderr
        place.run("org", "attach", "contoso", "--yes")
        people(role)
        issuers(role)

        def gone(server):
            again = place.visit(person, server=server)
            assert not again.is_in and issuer not in again.answer.text
            assert visitor.page(server=server).status_code == 303

        place.everywhere(gone)
    # The control: a new person's row is written by the service, so the person can sign in.
    place.sql("DELETE FROM config.console_user WHERE name = %s", [person])
    place.sql("DELETE FROM config.oidc_issuer WHERE name = %s", [issuer])
    other = name("seen")
    place.add_user(other)
    assert place.visit(other).is_in


def test_a_second_factor_is_not_turned_off_and_a_recovery_code_is_used_once(place, role):
    person = name("factor")
    place.add_user(person)
    visitor = place.visit(person)
    csrf = visitor.csrf()
    with place.put_back("console_user", f"name = '{person}'") as without:
        offered = visitor.page("account/offer", csrf=csrf).text
        secret, sealed = re.search(r'class="secret">([A-Z2-7 ]{39})<', offered)[1], re.search(r'name="sealed" value="([\w-]+)"', offered)[1]
        confirmed = visitor.page("account/confirm", csrf=csrf, sealed=sealed, code=one_time_password(secret, -1)).text
        codes = re.findall(r"<li><code>([A-Z2-7-]{19})</code>", confirmed)
        assert len(codes) == 10 and not place.visit(person).is_in and place.visit(person, code=codes[0]).is_in
        with place.put_back("console_user", f"name = '{person}'") as mend:
            place.sql_as(role, "UPDATE config.console_user SET totp = NULL WHERE name = %s", [person])
            place.everywhere(lambda server: check(not place.visit(person, server=server).is_in))
            without(role)
            place.everywhere(lambda server: check(not place.visit(person, server=server).is_in))
            mend()
    with place.put_back("console_recovery_code") as restore, place.put_back("attested_state") as restore_state:
        assert place.visit(person, code=codes[1]).is_in and not place.visit(person, code=codes[1]).is_in
        restore(role)
        place.everywhere(lambda server: check(not place.visit(person, code=codes[1], server=server).is_in))
        # SQL inserts a recovery code. It is not accepted.
        place.sql_as(role, "INSERT INTO config.console_recovery_code SELECT user_id, sha256('AAAABBBBCCCCDDDD'), sha256('tag') FROM config.console_user WHERE name = %s", [person])
        assert "recovery-code-not-made-here" in place.doctor()
        assert not place.visit(person, code="AAAA-BBBB-CCCC-DDDD").is_in
        with place.put_back("attested_state") as mend:
            restore(role)
            restore_state(role)
            place.everywhere(lambda server: check(place.is_refused(server, place.server.token)))
            mend()
    assert place.visit(person, code=codes[2]).is_in
    place.sql("DELETE FROM config.console_recovery_code; DELETE FROM config.console_session")
    place.run("org", "attach", "contoso", "--yes")


def test_issuers_and_links_are_what_the_service_wrote(place, role):
    person, issuer = name("linked"), name("Issuer")
    place.add_user(person)
    place.run("issuer", "add", issuer, "--issuer", f"https://{issuer.lower()}.example", "--client-id", "fieldseal", "--org", "contoso", stdin="secret\n")
    place.run("issuer", "link", issuer, "ada", "--user", person, "--org", "contoso")

    def is_offered(server):
        return issuer in place.visit("nobody", server=server).answer.text

    assert is_offered(place.server)
    for change in ("client_id = client_id || 'x'", "issuer = 'https://evil.example'", "client_secret = NULL"):
        with place.put_back("oidc_issuer", f"name = '{issuer}'") as mend:
            place.sql_as(role, f"UPDATE config.oidc_issuer SET {change} WHERE name = %s", [issuer])
            place.everywhere(lambda server: check(not is_offered(server)))
            assert issuer in place.doctor()["issuer-not-made-here"]
            mend()
    assert is_offered(place.server)
    with place.put_back("oidc_issuer", f"name = '{issuer}'") as issuers, place.put_back("oidc_link") as links:
        place.run("issuer", "remove", issuer, "--org", "contoso")
        issuers(role)
        links(role)
        place.everywhere(lambda server: check(not is_offered(server)))
        found = place.doctor()["row-put-back"]
        assert issuer in found
    place.sql("DELETE FROM config.oidc_issuer")


# Systemusers


def test_a_disabled_systemuser_ends_what_acts_as_it(place):
    client, person = place.add_client(name("acting"), "Basic User"), name("acting")
    place.add_user(person)
    # Another administrator, because the last one can't be disabled.
    place.add_user(name("other"))
    token, visitor = place.token(client).json()["access_token"], place.visit(person)
    admin = place.server.token
    users = [place.sql("SELECT systemuser_id::text FROM config.api_client WHERE client_id = %s", [client["clientId"]])[0][0],
             place.sql("SELECT systemuser_id::text FROM config.console_user WHERE name = %s", [person])[0][0]]
    assert place.get("mailboxes", token).status_code == 200 and visitor.page().status_code == 200

    def refused(server):
        assert place.get("mailboxes", token, server).status_code == 401
        assert place.token(client, server).status_code == 401
        assert visitor.page(server=server).status_code == 303
        assert not place.visit(person, server=server).is_in

    for user in users:
        assert place.get(f"systemusers({user})", admin, method="PATCH", json={"isdisabled": True}).status_code == 204
    place.everywhere(refused)
    for role in SQL_ROLES:
        place.sql_as(role, "UPDATE org_contoso.systemuser SET isdisabled = false")
        place.everywhere(refused)
    assert "revocation-undone" in place.doctor()
    kinds = [kind for (kind,) in place.sql("SELECT kind FROM security_event")]
    assert kinds.count("systemuser disabled") == 2
    # An administrator enables the users again. SQL can disable users, and can undo its own disabling.
    for user in users:
        assert place.get(f"systemusers({user})", admin, method="PATCH", json={"isdisabled": False}).status_code == 204
    assert place.get("mailboxes", token).status_code == 200 and place.visit(person).is_in
    place.sql("UPDATE org_contoso.systemuser SET isdisabled = true WHERE systemuserid = ANY (%s::uuid[])", [users])
    place.everywhere(refused)
    place.sql("UPDATE org_contoso.systemuser SET isdisabled = false WHERE systemuserid = ANY (%s::uuid[])", [users])
    assert place.get("mailboxes", token).status_code == 200
    # An administrator created this user as disabled. SQL can't enable the user.
    made = place.get("systemusers", admin, method="POST", json={"fullname": "made", "domainname": name("made"), "isdisabled": True})
    assert made.status_code == 204, made.text
    place.sql("UPDATE org_contoso.systemuser SET isdisabled = false WHERE fullname = 'made'")
    assert "made" in place.doctor()["revocation-undone"]
    place.sql("UPDATE org_contoso.systemuser SET isdisabled = true WHERE fullname = 'made'")


# The key


def stored_encryption(place):
    return place.sql("SELECT key_version, salt, iterations, key_check, fingerprint, rotation_id, organization_id FROM org_contoso.encryption")[0]


def test_a_retired_key_does_not_come_back_into_force(own_place):
    place = own_place
    place.fill(4)
    leaked = stored_encryption(place)
    place.run("key", "change")
    current = stored_encryption(place)
    admin = place.server.token
    mailbox = place.sql("SELECT mailboxid::text FROM mailbox LIMIT 1")[0][0]
    assert place.get(f"mailboxes({mailbox})", admin, method="PATCH", json={"password": "after the change"}).status_code == 204
    count = place.sql("SELECT count(*) FROM mailbox_cell_k2")

    # With the service's login: the functions of a key change refuse a version that is not newer.
    for version in (1, 2):
        with pytest.raises(psycopg.Error) as refusal, psycopg.connect(f"host={place.home} user=fieldseal_service dbname=fieldseal") as connection:
            if version == 1:
                connection.execute("SELECT org_contoso.create_generation(1), org_contoso.finish_generation(1)")
            connection.execute("SELECT org_contoso.switch_generation(%s, %s, %s, %s, %s, %s, %s)", [version, *(leaked if version == 1 else current)[1:]])
        assert refusal.value.sqlstate == "FS001"
    for version in (2, 3):
        with pytest.raises(psycopg.Error) as refusal:
            place.sql_as("fieldseal_service", "SELECT org_contoso.drop_generation(%s)", [version])
        assert refusal.value.sqlstate == "FS001"
    # With each role: guards prevent that the row is changed by accident.
    for statement in ("UPDATE org_contoso.encryption SET key_version = 1", "DELETE FROM org_contoso.encryption", "TRUNCATE org_contoso.encryption"):
        for role in SQL_ROLES:
            with pytest.raises(psycopg.Error) as refusal:
                place.sql_as(role, statement)
            assert refusal.value.sqlstate == ("42501" if role == "fieldseal_service" else "FS012")
    # A superuser switches the guards off. The schema then names version 1 again, with all of its values.
    columns = "(key_version, salt, iterations, key_check, fingerprint, rotation_id)"
    with psycopg.connect(place.superuser, autocommit=True) as connection:
        connection.execute("SET fieldseal.maintenance = 'on'")
        connection.execute(f"UPDATE org_contoso.encryption SET {columns} = (%s, %s, %s, %s, %s, %s)", leaked[:6])

    def key_required(server):
        refused = place.get(f"mailboxes({mailbox})", admin, server, "PATCH", json={"password": "under the leaked key"})
        assert refused.status_code == 409 and "org attach" in refused.text, refused.text
        assert place.get("RetrieveDataEncryptionKey", admin, server).status_code == 409
        assert place.get("IsDataEncryptionActive", admin, server).json()["IsActive"] is False
        # The key is required only for encrypted attributes. The others can be read and written.
        assert place.get(f"mailboxes({mailbox})", admin, server, "PATCH", json={"name": "plain"}).status_code == 204

    place.everywhere(key_required)
    assert "version 2" in place.doctor()["retired-key-in-force"]
    activated = place.run("key", "activate", check=False, stdin="whatever the leaked text is 1!\n")
    assert activated.returncode == 1 and "org attach" in activated.stderr
    # The service deleted no cells of the newer version.
    assert place.sql("SELECT count(*) FROM mailbox_cell_k2") == count
    with psycopg.connect(place.superuser, autocommit=True) as connection:
        connection.execute("SET fieldseal.maintenance = 'on'")
        connection.execute(f"UPDATE org_contoso.encryption SET {columns} = (%s, %s, %s, %s, %s, %s)", current[:6])
    assert place.get(f"mailboxes({mailbox})", admin, method="PATCH", json={"password": "and on"}).status_code == 204
    assert "retired-key-in-force" not in place.doctor()
    # The next key change uses the next free version.
    place.run("key", "change")
    assert place.key_version() == 3 and place.opened_cells()[f"mailbox({mailbox}).password"] == "and on"


def test_a_newer_generation_under_a_key_of_the_attacker_is_not_used(own_place):
    place = own_place
    values = place.fill(4)
    former = stored_encryption(place)
    key = bytes(64)
    organization = former[6]
    check = seal(key, 9, organization, organization, "organization.keycheck", "fieldseal key check")
    with psycopg.connect(f"host={place.home} user=fieldseal_service dbname=fieldseal") as connection:
        connection.execute("SELECT org_contoso.create_generation(9), org_contoso.finish_generation(9)")
        connection.execute("SELECT org_contoso.switch_generation(9, %s, 1, %s, %s, gen_random_uuid(), %s)", [bytes(32), check, "f" * 16, organization])
    mailbox = place.sql("SELECT mailboxid::text FROM mailbox LIMIT 1")[0][0]

    def key_required(server):
        answer = place.get(f"mailboxes({mailbox})", place.server.token, server, "PATCH", json={"password": "under the attacker's key"})
        assert answer.status_code == 409, answer.text

    place.everywhere(key_required)
    found = json.loads(place.run("doctor", "--json", check=False).stdout)["findings"]
    [finding] = [f for f in found if f["code"] == "key-not-attested"]
    assert "version 9" in finding["message"] and "tables of version 1" in finding["advice"] and "org attach" not in finding["advice"]
    # The command accepts the attacker's key only if its version is given, and does not propose that.
    for arguments in ([], ["--key-version", "8"], ["--trust-tags"]):
        refused = place.run("org", "attach", "contoso", "--yes", *arguments, check=False)
        assert refused.returncode == 1 and "are still under version 1, unless its tables were dropped" in refused.stderr, refused
    place.run("org", "attach", "contoso", "--yes", "--key-version", "9")
    # The state is now attested with the attacker's key. Sweeping still drops no tables with passwords of the former key.
    place.sql("INSERT INTO config.sweep (organization_id) SELECT organization_id FROM config.organization ON CONFLICT DO NOTHING")
    place.sql("UPDATE config.sweep SET swept_on = '-infinity'")
    with place.fresh_server():
        until(lambda: place.sql("SELECT count(*) FROM config.sweep WHERE swept_on = '-infinity'") == [(0,)])
    assert place.sql("SELECT count(*) FROM mailbox_cell_k1") == [(4,)]
    # An administrator follows the doctor's advice, which restores the passwords. The next key version is higher than the attacker's.
    columns = "(key_version, salt, iterations, key_check, fingerprint, rotation_id)"
    with psycopg.connect(place.superuser, autocommit=True) as connection:
        connection.execute("SET fieldseal.maintenance = 'on'")
        connection.execute(f"UPDATE org_contoso.encryption SET {columns} = (%s, %s, %s, %s, %s, %s)", former[:6])
        for table, in connection.execute("SELECT relname FROM pg_class WHERE relnamespace = 'org_contoso'::regnamespace AND relname ~ '_cell_k1$'").fetchall():
            connection.execute(f"DROP TRIGGER a_retired ON org_contoso.{table}")
    place.run("org", "attach", "contoso", "--yes")
    assert {address: place.opened_cells()[address] for address in values} == values
    assert place.get(f"mailboxes({mailbox})", place.server.token, method="PATCH", json={"password": "and on"}).status_code == 204
    place.run("key", "change")
    assert place.opened_cells()[f"mailbox({mailbox}).password"] == "and on"


def test_a_key_s_text_that_is_not_the_key_s_is_not_shown(own_place):
    place = own_place
    first = place.run("key", "show").stdout
    place.run("key", "change")
    second = place.run("key", "show").stdout
    assert place.run("key", "show", "--version", "1").stdout == first != second
    assert place.run("key", "show", "--version", "2").stdout == second
    assert [v for (v,) in place.sql("SELECT key_version FROM security_event WHERE kind = 'key read' ORDER BY security_event_id")][-2:] == [1, 2]
    missing = place.run("key", "show", "--version", "7", check=False)
    assert missing.returncode == 1 and "key history" in missing.stderr
    kek = Attestor(place).kek
    organization, *_ = place.sql("SELECT organization_id FROM encryption")[0]
    for version in (1, 2):
        [(fingerprint, text, data, kek_id)] = place.sql(
            "SELECT fingerprint, wrapped_text, wrapped_data, kek_id FROM config.organization_key WHERE key_version = %s", [version])
        # SQL stores another key text under this version, sealed as the service would seal it.
        other = seal(kek, version, organization, organization, "organizationkey.text", "Another-text-12345")
        rewrap = "SELECT config.rewrap_organization_key(%s, %s, %s, %s, %s, %s)"
        place.sql_as("fieldseal_service", rewrap, [organization, version, fingerprint, other, data, kek_id])
        shown = place.run("key", "show", "--version", str(version), check=False)
        assert shown.returncode == 1 and "Another-text" not in shown.stdout + shown.stderr and "is not shown" in shown.stderr
        if version == 2:
            place.everywhere(lambda server: check(place.get("RetrieveDataEncryptionKey", place.server.token, server).status_code == 500))
        assert f"version {version}" in place.doctor()["key-row-changed"]
        place.sql_as("fieldseal_service", rewrap, [organization, version, fingerprint, text, data, kek_id])
    assert place.run("key", "show").stdout == second
    # SQL restores the row of a purged key. The key is not shown.
    with place.put_back("organization_key", "key_version = 1") as restore:
        place.run("key", "purge", "1", "--yes")
        place.sql("SET fieldseal.rewrap = 'on'; ALTER TABLE config.organization_key DISABLE TRIGGER keep")
        restore()
        place.sql("ALTER TABLE config.organization_key ENABLE TRIGGER keep")
        shown = place.run("key", "show", "--version", "1", check=False)
        assert shown.returncode == 1 and first.strip() not in shown.stdout


def test_a_key_of_the_same_version_that_is_not_the_key_is_not_used(own_place):
    """A foreign key is wrapped correctly for this organization and version. SQL stores it, and also its key check."""
    place = own_place
    place.fill(2)
    kek, other = Attestor(place).kek, os.urandom(64)
    [(organization, version, check_of_key)] = place.sql("SELECT organization_id, key_version, key_check FROM encryption")
    [(fingerprint, text, data, kek_id)] = place.sql("SELECT fingerprint, wrapped_text, wrapped_data, kek_id FROM config.organization_key")
    mailbox = place.sql("SELECT mailboxid::text FROM mailbox LIMIT 1")[0][0]
    data_of_other = seal(kek, version, organization, organization, "organizationkey.data", other)
    check_of_other = seal(other, version, organization, organization, "organization.keycheck", "fieldseal key check")

    def set_password(wrapped, key_check):
        """Stores the key and the key check with SQL, and sets a password on a fresh server, which has no key in memory. Returns the status."""
        place.sql_as("fieldseal_service", "SELECT config.rewrap_organization_key(%s, %s, %s, %s, %s, %s)", [organization, version, fingerprint, text, wrapped, kek_id])
        place.sql("SET fieldseal.maintenance = 'on'; UPDATE org_contoso.encryption SET key_check = decode('%s', 'hex')" % bytes(key_check).hex())
        with place.fresh_server() as server:
            return place.get(f"mailboxes({mailbox})", place.server.token, server, "PATCH", json={"password": "under which key"}).status_code

    assert set_password(data_of_other, check_of_key) == 409
    assert set_password(data_of_other, check_of_other) == 409
    assert set_password(data, check_of_other) == 409
    assert set_password(data, check_of_key) == 204 and place.run("verify").returncode == 0


def test_flags_and_cells_that_disagree_are_named(own_place):
    place = own_place
    place.fill(3)
    assert "mismatches" in place.run("verify", "--json").stdout
    (emptied, dropped, unflagged) = [id for (id,) in place.sql("SELECT mailboxid::text FROM mailbox ORDER BY 1")]
    place.sql("UPDATE mailbox_cell SET password = NULL WHERE mailboxid = %s", [emptied])
    place.sql("DELETE FROM mailbox_cell WHERE mailboxid = %s", [dropped])
    place.sql("UPDATE mailbox SET ispasswordset = false WHERE mailboxid = %s", [unflagged])
    verified = place.run("verify", check=False)
    assert verified.returncode == 1
    for id in (emptied, dropped, unflagged):
        assert f"mailbox({id}).password" in verified.stdout
    found = [(f["code"], f["message"].split(":")[0]) for f in json.loads(place.run("doctor", "--json", check=False).stdout)["findings"]]
    expected = {("flag-without-cell", emptied), ("flag-without-cell", dropped), ("cell-without-flag", unflagged)}
    assert {(code, f"mailbox({id}).password") for code, id in expected} <= set(found)
    # After the passwords are set or cleared, the records verify.
    for id in (emptied, dropped):
        assert place.get(f"mailboxes({id})", place.server.token, method="PATCH", json={"password": "again"}).status_code == 204
    assert place.get(f"mailboxes({unflagged})", place.server.token, method="PATCH", json={"password": None}).status_code == 204
    assert place.run("verify").returncode == 0


# Events


def cut(place, condition):
    place.sql(f"SET fieldseal.maintenance = 'on'; ALTER TABLE security_event DISABLE TRIGGER USER; DELETE FROM security_event WHERE {condition}; "
              "ALTER TABLE security_event ENABLE TRIGGER USER")


def test_a_chain_that_was_cut_is_not_signed(own_place):
    place = own_place
    client = place.add_client("witness")
    for _ in range(3):
        place.run("key", "show")
    [(newest,)] = place.sql("SELECT max(security_event_id) FROM security_event")
    assert place.sql("SELECT count(*) FROM security_event") == [(newest,)], "numbers have no gaps"
    first = place.sql("SELECT min(security_event_id) FROM security_event WHERE kind = 'key read'")[0][0]
    # The next request of this session verifies the attested state in its own transaction.
    assert place.get("mailboxes", place.server.token).status_code == 200
    cut(place, f"security_event_id >= {first}")

    def no_next_event(server):
        assert place.is_refused(server, place.server.token)
        assert place.token(client, server).status_code == 403

    with place.put_back("attested_state") as mend:
        # The attested state counts more events than exist, so the organization is refused. Changing or deleting the state, or restoring an older one,
        # does not help.
        place.everywhere(no_next_event)
        assert "are missing" in place.doctor()["event-chain-cut"]
        verified = place.run("events", "verify", check=False)
        assert verified.returncode == 1 and "are missing" in verified.stdout
        refused = place.run("client", "add", "next", "--role", "Basic User", check=False)
        assert refused.returncode == 1 and "org attach contoso" in refused.stderr
        for role in SQL_ROLES:
            place.sql_as(role, "UPDATE config.attested_state SET (events, newest_event, head) = (SELECT count(*), max(security_event_id), "
                         "(SELECT hash FROM org_contoso.security_event ORDER BY security_event_id DESC LIMIT 1) FROM org_contoso.security_event)")
            place.everywhere(no_next_event)
            assert "not written by this service" in place.doctor()["state-not-attested"]
            mend()
    for role in ("fieldseal_owner", "postgres"):
        with psycopg.connect(place.superuser, autocommit=True) as connection:
            connection.execute(f"SET ROLE {role}; CREATE TABLE config.kept AS SELECT * FROM config.attested_state; DELETE FROM config.attested_state")
            place.everywhere(no_next_event)
            assert "was deleted" in place.doctor()["state-not-attested"]
            connection.execute("INSERT INTO config.attested_state SELECT * FROM config.kept; DROP TABLE config.kept")
    with pytest.raises(psycopg.Error):
        place.sql_as("fieldseal_service", "DELETE FROM config.attested_state")
    # Only an administrator with the command can accept the missing events. A security event records it.
    asked = place.run("org", "attach", "contoso", check=False, stdin="no\n")
    assert asked.returncode != 0 and "security events are missing" in asked.stderr
    place.everywhere(no_next_event)
    accepted = place.run("org", "attach", "contoso", stdin="contoso\n")
    assert "security events are missing" in accepted.stdout
    place.everywhere(lambda server: check(place.get("mailboxes", place.server.token, server).status_code == 200))
    kind, details = place.sql("SELECT kind, details FROM security_event WHERE kind = 'organization attached' ORDER BY security_event_id DESC LIMIT 1")[0]
    assert "security events are missing" in details
    assert place.run("events", "verify").returncode == 0


def test_an_event_that_sql_inserts_is_not_signed(place, role):
    client = place.add_client(name("witness"))
    assert place.token(client).status_code == 200 and place.get("mailboxes", place.server.token).status_code == 200
    place.sql_as(role, "INSERT INTO org_contoso.security_event (kind, outcome, actor, details) VALUES ('key read', 'succeeded', 'client:scapegoat', '')")

    def no_next_event(server):
        assert place.is_refused(server, place.server.token)
        assert place.token(client, server).status_code == 403

    place.everywhere(no_next_event)
    assert "written by SQL" in place.doctor()["event-chain-cut"]
    # The attacker also increases the number of events in the attested state.
    place.sql_as(role, "UPDATE config.attested_state SET events = events + 1, newest_event = newest_event + 1")
    place.everywhere(no_next_event)
    assert "not written by this service" in place.doctor()["state-not-attested"]
    place.run("org", "attach", "contoso", "--yes", "--trust-tags")
    place.everywhere(lambda server: check(place.token(client, server).status_code == 200))
    assert "event-chain-cut" not in place.doctor()
    # Attaching without a list that verifies makes one-time passwords required for all roles. Other tests need them optional.
    place.run("user", "require-second-factor", "--org", "contoso")


# The attested row itself


def test_a_part_of_the_attested_row_that_is_changed_refuses_the_organization(place):
    """SQL restores single columns of the row from before a revocation, or writes malformed lists of rows."""
    client = place.add_client(name("ex"))
    columns = ["revision", "grants_digest", "events", "newest_event", "head", "grants"]
    before = place.sql(f"SELECT {', '.join(columns)} FROM config.attested_state")[0]
    with place.put_back("api_client", f"client_id = '{client['clientId']}'") as restore:
        place.run("client", "disable", client["clientId"], "--org", "contoso")
        restore("fieldseal_service")
        changes = [{column: value} for column, value in zip(columns, before)]
        changes += [{"grants": before[-1], "grants_digest": before[1]}, {"key_version": 2}, {"fingerprint": "0" * 16}, {"kek_id": "0" * 16}]
        [(listed,)] = place.sql("SELECT grants FROM config.attested_state")
        # The owner of the table can drop the constraint on the length of the list.
        place.sql_as("fieldseal_owner", "ALTER TABLE config.attested_state DROP CONSTRAINT attested_state_grants_check")
        changes += [{"grants": listed[:-16]}, {"grants": listed + b"\0"}, {"grants": listed + listed[:32]}, {"grants": b""}]

        def refused(server):
            answer = place.get("mailboxes", place.server.token, server)
            assert answer.status_code in (403, 409) and "contoso is refused" in answer.text, answer.text
            assert place.token(client, server).status_code == answer.status_code

        with place.put_back("attested_state") as mend:
            for change in changes:
                assignments = ", ".join(f"{column} = %({column})s" for column in change)
                place.sql_as("fieldseal_service", f"UPDATE config.attested_state SET {assignments}", change)
                # A server that has this list in memory by its digest does not read the list again. A command always reads it.
                if set(change) != {"grants"}:
                    refused(place.server)
                for command in (["client", "list"], ["client", "add", name("new"), "--role", "Basic User"]):
                    answer = place.run(*command, "--org", "contoso", check=False)
                    assert answer.returncode == 1 and "contoso is refused" in answer.stderr, (change, answer)
                mend()
            place.sql_as("fieldseal_service", "UPDATE config.attested_state SET grants = %s", [before[-1]])
            with place.fresh_server() as server:
                refused(server)
            assert "state-not-attested" in place.doctor()
            mend()
        assert place.token(client).status_code == 401 and place.get("mailboxes", place.server.token).status_code == 200
    place.sql("ALTER TABLE config.attested_state ADD CONSTRAINT attested_state_grants_check CHECK (octet_length(grants) % 32 = 0)")
    place.sql("UPDATE config.api_client SET disabled_on = now() WHERE client_id = %s", [client["clientId"]])


def test_a_link_with_which_a_person_chooses_a_password_ends_after_a_week(own_place):
    place = own_place
    admin, person, chosen = name("admin"), name("invited"), "a password that they chose"
    place.add_user(admin)
    place.add_user(person, "Basic User")
    [(id,)] = place.sql("SELECT user_id::text FROM config.console_user WHERE name = %s", [person])
    visitor = place.visit(admin)
    token = re.search(r"token=([\w-]+)", visitor.shown_after("access/invite-user", csrf=visitor.csrf(), id=id).text)[1]

    def status():
        return visitor.page(f"invitation?token={token}").status_code

    assert status() == 200
    Attestor(place).age_invitations("6 days")
    assert status() == 200
    Attestor(place).age_invitations("1 day")
    assert status() == 404
    visitor.page("invitation", token=token, password=chosen, again=chosen)
    assert not place.visit(person, chosen).is_in and place.visit(person).is_in


def test_a_row_that_does_not_verify_is_not_what_servers_remember(place):
    """SQL writes a higher revision and restores the row. Servers must not remember the higher one, or they would refuse the restored row as older."""
    client = place.add_client(name("steady"))
    with place.put_back("attested_state") as mend:
        place.sql_as("fieldseal_service", "UPDATE config.attested_state SET revision = revision + 1000000")
        assert place.token(client).status_code in (403, 409)
        # In this time, servers read the state several times.
        time.sleep(4)
        mend("fieldseal_service")
    assert place.token(client).status_code == 200 and "state-not-attested" not in place.doctor()
    place.run("client", "disable", client["clientId"], "--org", "contoso")
    assert place.token(client).status_code == 401


def test_a_token_that_was_verified_ends_with_its_signing_key(place):
    client = place.add_client(name("signed"))
    bearer = place.token(client).json()["access_token"]
    header, claims, signature = bearer.split(".")
    # A token that names an unknown key makes a server read the signing keys again.
    foreign = base64.urlsafe_b64encode(json.dumps({"alg": "ES256", "typ": "at+jwt", "kid": str(uuid.uuid4())}).encode()).decode().rstrip("=")

    def until(status):
        deadline = time.monotonic() + PATIENCE
        while place.get("WhoAmI", bearer).status_code != status:
            assert time.monotonic() < deadline
            assert place.get("WhoAmI", f"{foreign}.{claims}.{signature}").status_code == 401
            time.sleep(0.5)

    until(200)
    with place.put_back("signing_key") as restore:
        place.sql("DELETE FROM config.signing_key")
        until(401)
        place.sql("DELETE FROM config.signing_key")
        restore()
        until(200)


# Other organizations, and accepting a changed state


def test_one_organization_is_refused_and_the_others_go_on(own_place):
    place = own_place
    place.run("org", "create", "elsewhere")
    place.run("key", "show", "--org", "elsewhere")
    place.sql("UPDATE config.attested_state SET revision = revision + 1 WHERE organization_id = (SELECT organization_id FROM config.organization WHERE name = 'elsewhere')")
    assert place.get("mailboxes", place.server.token).status_code == 200
    assert place.run("key", "status", "--org", "elsewhere", check=False).returncode == 1
    assert place.run("key", "status", "--org", "contoso").returncode == 0
    findings = place.run("doctor", check=False).stdout
    assert "elsewhere" in findings and "contoso: " not in findings.replace("org attach contoso", "")


def test_attaching_again_adopts_no_row_that_sql_wrote(own_place):
    place = own_place
    good, gone = place.add_client("good"), place.add_client("gone")
    place.run("client", "disable", "gone", "--org", "contoso")
    place.sql("UPDATE config.api_client SET disabled_on = NULL WHERE name = 'gone'")
    place.sql("INSERT INTO config.api_client SELECT gen_random_uuid(), organization_id, 'intruder', gen_random_uuid(), 'System Administrator', sha256('x'), now(), 'x' FROM config.organization")
    for is_missing in (False, True):
        if is_missing:
            place.sql("DELETE FROM config.attested_state")
        accepted = place.run("org", "attach", "contoso", "--yes", *(["--trust-tags"] if is_missing else [])).stdout
        assert "client intruder" in accepted.split("grant nothing:")[1].split("Rows that grant access")[0]
        power = accepted.split("Rows that grant access: ")[1]
        assert "client good" in power and ", client gone" not in f", {power}"
        assert place.token(good).status_code == 200, place.token(good).text
        assert place.token(gone).status_code == 401
    names = place.doctor()
    assert "revocation-undone" in names or "client-not-made-here" in names


def step_back(place):
    """Converts a deployment to the version before attested states, with the tags that this version wrote."""
    attestor = Attestor(place)
    for id, organization, user, client_role in place.sql("SELECT client_id, organization_id, systemuser_id, role FROM config.api_client"):
        tag = attestor.tag("api_client", [id.bytes, organization.bytes, user.bytes, client_role.encode()])
        place.sql("UPDATE config.api_client SET tag = %s WHERE client_id = %s", [tag, id])
    for id, client, salt, verifier in place.sql("SELECT secret_id, client_id, salt, verifier FROM config.api_client_secret"):
        tag = attestor.tag("api_client_secret", [id.bytes, client.bytes, bytes(salt), bytes(verifier)])
        place.sql("UPDATE config.api_client_secret SET tag = %s WHERE secret_id = %s", [tag, id])
    columns = "user_id, organization_id, name, systemuser_id, role, salt, verifier, coalesce(totp, '')"
    for id, organization, person, user, person_role, salt, verifier, totp in place.sql(f"SELECT {columns} FROM config.console_user"):
        fields = [id.bytes, organization.bytes, person.encode(), user.bytes, person_role.encode(), bytes(salt), bytes(verifier), bytes(totp)]
        place.sql("UPDATE config.console_user SET tag = %s WHERE user_id = %s", [attestor.tag("console_user", fields), id])
    place.sql(
        "DROP TABLE config.attested_state; ALTER TABLE config.console_session DROP COLUMN tag; ALTER TABLE config.console_recovery_code DROP COLUMN tag; "
        "CREATE TABLE config.event_chain (organization_id uuid PRIMARY KEY REFERENCES config.organization ON DELETE CASCADE, length bigint NOT NULL, "
        "head bytea NOT NULL, tag bytea NOT NULL); ALTER TABLE config.event_chain OWNER TO fieldseal_owner; "
        "DELETE FROM config.migration WHERE scope = 'config' AND name = '0009_attested_state'")
    for (id, schema) in place.sql("SELECT organization_id, schema_name FROM config.organization"):
        [(count,)] = place.sql(f"SELECT count(*) FROM {schema}.security_event")
        [(head,)] = place.sql(f"SELECT hash FROM {schema}.security_event ORDER BY security_event_id DESC LIMIT 1")
        tag = attestor.tag("event_chain", [id.bytes, str(count).encode(), bytes(head)])
        place.sql("INSERT INTO config.event_chain VALUES (%s, %s, %s, %s)", [id, count, head, tag])


def test_an_older_deployment_is_attested_by_its_migration_alone(own_place):
    place = own_place
    good, gone = place.add_client("good"), place.add_client("gone")
    place.add_user("ada", "Basic User")
    place.run("client", "disable", "gone", "--org", "contoso")
    place.run("org", "create", "cut-off")
    place.run("key", "show", "--org", "cut-off")
    place.server.stop()
    step_back(place)
    place.sql("INSERT INTO config.api_client SELECT gen_random_uuid(), organization_id, 'intruder', gen_random_uuid(), 'System Administrator', sha256('x'), now(), 'x' "
              "FROM config.organization WHERE name = 'contoso'")
    place.sql("SET fieldseal.maintenance = 'on'; ALTER TABLE org_cut_off.security_event DISABLE TRIGGER USER; DELETE FROM org_cut_off.security_event WHERE kind = 'key read'; "
              "ALTER TABLE org_cut_off.security_event ENABLE TRIGGER USER")
    # Without the key-encryption key, `migrate up` attests and migrates nothing.
    kek = place.home / "kek"
    kek.rename(place.home / "away")
    refused = place.run("migrate", "up", check=False)
    assert refused.returncode == 1 and "key-encryption key" in refused.stderr
    place.run("kek", "create", str(kek), settings=None)
    assert "restore the key" in place.run("migrate", "up", check=False).stderr
    kek.unlink()
    (place.home / "away").rename(kek)
    migrated = place.run("migrate", "up", check=False)
    assert migrated.returncode == 1 and "client intruder" in migrated.stdout and "cut-off: 1 of its 2 security events are missing" in migrated.stdout
    place.server.start()
    assert place.token(good).status_code == 200 and place.token(gone).status_code == 401 and place.visit("ada").is_in
    assert place.run("key", "status", "--org", "cut-off", check=False).returncode == 1
    # Once the migration has been applied, `migrate up` attests no state that is missing.
    place.sql("DELETE FROM config.attested_state")
    place.run("migrate", "up")
    assert place.token(good).status_code == 403
    place.run("org", "attach", "contoso", "--yes", "--trust-tags")
    place.run("org", "attach", "cut-off", "--yes")
    assert place.token(good).status_code == 200 and place.run("key", "status", "--org", "cut-off").returncode == 0


def check(condition):
    assert condition
