"""While the key-encryption key is replaced, an attacker with the service's login changes rows that grant access."""

import contextlib
import json
import re
import threading
import time

import psycopg
import pytest
from place import Place
from service import PATIENCE

#: The attacker's changes while the rotation waits, each with the doctor's code for the changed row.
CHANGES = [
    ("UPDATE config.api_client SET role = 'System Administrator' WHERE name = 'small'", "client-not-made-here"),
    ("UPDATE config.api_client_secret SET verifier = sha256(salt || 'attackers-secret'::bytea), expires_on = NULL "
     "WHERE client_id = (SELECT client_id FROM config.api_client WHERE name = 'stolen')", "secret-not-made-here"),
    ("UPDATE config.console_user SET role = 'System Administrator' WHERE name = 'bob'", "user-not-made-here"),
    ("UPDATE config.oidc_link SET client_id = (SELECT client_id FROM config.api_client WHERE name = 'strong') WHERE subject = 'robot'", "link-not-made-here"),
]


@pytest.fixture(scope="module", params=["config.console_user", "config.api_client"])
def attacked(request):
    """A deployment whose rotation waits for a lock of the service's login. While it waits, the attacker changes rows."""
    place = Place()
    try:
        place.rotation = prepare(place)
        place.rotate = lambda: rotate_under_lock(place, request.param)
        yield place
    finally:
        place.remove()


def prepare(place):
    place.small, place.stolen, place.strong = (
        place.add_client(name, role) for name, role in (("small", "Basic User"), ("stolen", "System Administrator"), ("strong", "System Administrator")))
    for name in ("bob", "carol"):
        place.add_user(name, "Basic User")
    disabled(place)
    place.run("issuer", "add", "Elsewhere", "--issuer", "https://issuer.example", "--client-id", "fieldseal", "--org", "contoso", stdin="secret\n")
    place.run("issuer", "link", "Elsewhere", "robot", "--client", "small", "--org", "contoso")
    place.run("kek", "create", str(place.home / "kek.new"), settings=None)
    configure(place, kekFile=str(place.home / "kek"), newKek={"file": str(place.home / "kek.new")})
    place.server.stop()
    place.server.start()


def disabled(place):
    """Three disabled clients: an unchanged one, one whose role SQL raised, and one for which SQL restored a former row, which was also disabled."""
    def run(*arguments):
        place.run("client", *arguments, "--org", "contoso")

    place.rested, place.raised = place.add_client("rested", "Basic User"), place.add_client("raised", "Basic User")
    place.former = place.add_client("former", "System Administrator")
    for name in ("rested", "raised", "former"):
        run("disable", name)
    with place.put_back("api_client", "name = 'former'") as restore:
        run("enable", "former")
        run("role", "former", "Basic User")
        run("disable", "former")
        restore("fieldseal_service")
    place.sql_as("fieldseal_service", "UPDATE config.api_client SET role = 'System Administrator' WHERE name = 'raised'")


def configure(place, **kek):
    for path in (place.home / "direct.yaml", place.server.settings):
        lines = [line for line in path.read_text().splitlines() if not re.match("kekFile|newKek|kek:", line)]
        path.write_text("\n".join(lines + [f"{name}: {json.dumps(value)}" for name, value in kek.items()]) + "\n")


def rotate_under_lock(place, table):
    """Starts the rotation, which waits for a lock on the rows of a table. Makes each of the changes before the rotation continues."""
    answers = []
    with psycopg.connect(f"host={place.home} user=fieldseal_service dbname=fieldseal") as holder:
        holder.execute(f"SELECT FROM {table} FOR UPDATE")
        rotation = threading.Thread(target=lambda: answers.append(place.run("kek", "rotate", "--json")))
        rotation.start()
        deadline = time.monotonic() + PATIENCE
        while place.sql("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = 'fieldseal'") == [(0,)]:
            assert time.monotonic() < deadline and rotation.is_alive()
            time.sleep(0.02)
        for change, _ in CHANGES:
            with contextlib.suppress(psycopg.errors.QueryCanceled):
                holder.execute("SAVEPOINT one; SET LOCAL statement_timeout = '5s'")
                holder.execute(change)
    rotation.join(PATIENCE)
    return json.loads(answers[0].stdout)


def test_a_rotation_makes_nothing_good_that_is_changed_meanwhile(attacked):
    place = attacked
    assert place.token(place.stolen).status_code == 200
    assert place.rotate()["done"]
    findings = place.doctor()
    changed = 0
    for change, code in CHANGES:
        # Rows that the rotation has locked already can't be changed before it ends, so some changes come too late.
        if place.sql("SELECT " + {
            "client-not-made-here": "EXISTS (SELECT FROM config.api_client WHERE name = 'small' AND role = 'System Administrator')",
            "secret-not-made-here": "EXISTS (SELECT FROM config.api_client_secret WHERE verifier = sha256(salt || 'attackers-secret'::bytea))",
            "user-not-made-here": "EXISTS (SELECT FROM config.console_user WHERE name = 'bob' AND role = 'System Administrator')",
            "link-not-made-here": "EXISTS (SELECT FROM config.oidc_link JOIN config.api_client USING (client_id) WHERE subject = 'robot' AND name = 'strong')",
        }[code]) == [(True,)]:
            changed += 1
            assert code in findings and (code != "client-not-made-here" or "small" in findings[code]), (change, findings)
    assert changed >= 2
    small = place.token(place.small)
    if small.status_code == 200:
        assert place.get("RetrieveDataEncryptionKey", small.json()["access_token"]).status_code == 403
    assert place.token({**place.stolen, "clientSecret": "attackers-secret"}).status_code == 401
    if place.visit("bob").is_in:
        assert place.visit("bob").key(csrf="x").status_code != 200
    # The control: unchanged rows are valid when the deployment has only the new key.
    configure(place, kekFile=str(place.home / "kek.new"))
    place.server.stop()
    place.server.start()
    strong = place.token(place.strong)
    assert strong.status_code == 200 and place.get("RetrieveDataEncryptionKey", strong.json()["access_token"]).status_code == 200
    assert place.visit("carol").is_in
    # A disabled client can be enabled only if SQL did not change its row.
    for name, client in (("raised", place.raised), ("former", place.former)):
        answer = place.run("client", "enable", name, "--org", "contoso", check=False)
        assert answer.returncode == 1 and "changed by SQL" in answer.stderr, (name, answer)
        assert place.token(client).status_code == 401
    place.run("client", "enable", "rested", "--org", "contoso")
    assert place.token(place.rested).status_code == 200


JUNK = r"'\x01'::bytea || '\x00000001'::bytea || decode(repeat('ab', 64), 'hex')"


def test_rows_that_do_not_open_hold_up_no_sign_in_and_no_rotation(own_place):
    place, service = own_place, "fieldseal_service"
    for name in ("ada", "bob", "carol"):
        place.add_user(name, "Basic User")
    client = place.add_client("lasting", "Basic User")
    place.sql_as(service, f"INSERT INTO config.verifier_layer SELECT user_id, {JUNK} FROM config.console_user WHERE name IN ('ada', 'bob')")
    assert place.visit("ada").is_in
    assert not place.visit("ada", "another password").is_in
    named = place.doctor()["verifier-layers-unreadable"]
    assert "ada" in named and "bob" in named and "carol" not in named
    # SQL also damages the token-signing key, and writes the id of another key-encryption key to rows.
    place.sql_as(service, "UPDATE config.signing_key SET private_key = set_byte(private_key, 40, get_byte(private_key, 40) # 1)")
    assert "signing-key-unreadable" in place.doctor()
    place.run("kek", "create", str(place.home / "kek.new"), settings=None)
    configure(place, kekFile=str(place.home / "kek"), newKek={"file": str(place.home / "kek.new")})
    place.server.stop()
    place.server.start()
    assert place.token(client).status_code == 200
    place.sql_as(service, "UPDATE config.signing_key SET private_key = set_byte(private_key, 40, get_byte(private_key, 40) # 1)")
    [(old,)] = place.sql("SELECT DISTINCT kek_id FROM config.attested_state")
    assert json.loads(place.run("kek", "rotate", "--json").stdout)["done"]
    place.sql_as(service, "SELECT config.rewrap_organization_key(organization_id, key_version, fingerprint, wrapped_text, wrapped_data, %s) FROM config.organization_key", [old])
    place.sql_as(service, """
        INSERT INTO config.organization_key (organization_id, key_version, wrapped_text, wrapped_data, kek_id, fingerprint, rotation_id, origin, created_by, retired_on)
        SELECT organization_id, 9, wrapped_text, wrapped_data, %s, '0123456789abcdef', gen_random_uuid(), origin, created_by, now() FROM config.organization_key""", [old])
    configure(place, kekFile=str(place.home / "kek.new"))
    place.server.stop()
    place.server.start()
    place.sql_as(service, "UPDATE config.signing_key SET kek_id = %s", [old])
    assert json.loads(place.run("kek", "retire", "--json").stdout)["retired"] == [old]
    # The other two people sign in for the first time since the rotation.
    assert all(place.visit(name).is_in for name in ("ada", "bob", "carol"))
    assert place.token(client).status_code == 200
    assert not {"verifier-layers-unreadable", "wrapped-under-another-kek", "kek-id-changed"} & place.doctor().keys()
    place.run("key", "show")


def test_a_layer_of_a_person_who_needs_it_costs_that_password_alone(own_place):
    place = own_place
    for name in ("ada", "carol"):
        place.add_user(name, "Basic User")
    place.run("kek", "create", str(place.home / "kek.new"), settings=None)
    for keks in ({"kekFile": str(place.home / "kek"), "newKek": {"file": str(place.home / "kek.new")}}, {"kekFile": str(place.home / "kek.new")}):
        configure(place, **keks)
        if "newKek" in keks:
            place.server.stop()
            place.server.start()
            assert json.loads(place.run("kek", "rotate", "--json").stdout)["done"]
    place.sql_as("fieldseal_service", f"UPDATE config.verifier_layer SET layers = {JUNK} WHERE user_id = (SELECT user_id FROM config.console_user WHERE name = 'ada')")
    answer = place.visit("ada").answer
    assert answer.status_code == 403, (answer.status_code, answer.text)
    assert place.visit("carol").is_in
    assert "ada" in place.doctor()["verifier-layers-unreadable"]
    # The administrator follows the doctor's advice.
    place.run("user", "reset", "ada", "--org", "contoso", stdin="another long password\n")
    assert place.visit("ada", "another long password").answer.status_code == 303
    assert "verifier-layers-unreadable" not in place.doctor()


def test_an_id_that_sql_wrote_has_no_other_key_encryption_key_looked_for(own_place):
    place, service, foreign = own_place, "fieldseal_service", "0123456789abcdef"
    client = place.add_client("lasting", "Basic User")
    place.add_user("bob", "Basic User")
    [(kek,)] = place.sql("SELECT DISTINCT kek_id FROM config.attested_state")

    def works(number):
        ready = place.connections.session.get(f"{place.server.base}/readyz", timeout=60)
        assert ready.status_code == 200, ready.text
        place.run("user", "enable" if number % 2 else "disable", "bob", "--org", "contoso")
        place.run("client", "enable" if number % 2 else "disable", "lasting", "--org", "contoso")
        with place.fresh_server() as server:
            assert place.token(client, server).status_code == (200 if number % 2 else 401)
        return place.doctor()

    place.sql_as(service, "UPDATE config.signing_key SET kek_id = %s WHERE retired_on IS NULL", [foreign])
    found = works(0)
    assert foreign in found["kek-id-changed"] and "wrong-key-encryption-key" not in found
    # SQL writes the foreign id to an organization's key, for which the service's role has to call a function.
    place.sql_as(service, "SELECT config.rewrap_organization_key(organization_id, key_version, fingerprint, wrapped_text, wrapped_data, %s) FROM config.organization_key", [foreign])
    found = works(1)
    assert "1 versions" in found["kek-id-changed"] and not {"wrong-key-encryption-key", "wrapped-under-another-kek"} & found.keys()
    # The token-signing key does not open. A server creates another one.
    place.sql_as(service, "UPDATE config.signing_key SET private_key = set_byte(private_key, 40, get_byte(private_key, 40) # 1)")
    place.run("user", "disable", "bob", "--org", "contoso")
    place.run("org", "attach", "contoso", "--yes")
    assert "signing-key-unreadable" in place.doctor()
    place.run("user", "enable", "bob", "--org", "contoso")
    works(2)
    # SQL writes the foreign id to the attested state. The doctor does not ask for that key.
    place.sql_as(service, "UPDATE config.attested_state SET kek_id = %s", [foreign])
    assert foreign not in place.doctor()["state-not-attested"]
    place.sql_as(service, "UPDATE config.attested_state SET kek_id = %s", [kek])
    # The control: a program that has the wrong key-encryption key reports it.
    place.run("kek", "create", str(place.home / "other"), settings=None)
    (place.home / "other.yaml").write_text((place.home / "direct.yaml").read_text().replace(f"{place.home}/kek", f"{place.home}/other"))
    refused = place.run("user", "list", "--org", "contoso", check=False, settings="other")
    assert refused.returncode == 78 and kek in refused.stderr and "from its backup" in refused.stderr
    assert list(json.loads(place.run("doctor", "--json", check=False, settings="other").stdout)["findings"][0].values()).count("wrong-key-encryption-key") == 1
