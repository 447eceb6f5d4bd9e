"""Replacing the key-encryption key while a person with the service's login changes rows that grant access."""

import contextlib
import json
import re
import threading
import time

import psycopg
import pytest
from place import Place
from service import PATIENCE

#: What is changed while the rotation waits, and the doctor's finding for it.
CHANGES = [
    ("UPDATE config.api_client SET role = 'System Administrator' WHERE name = 'small'", "client-not-made-here"),
    ("UPDATE config.api_client_secret SET verifier = sha256(salt || 'attackers-secret'::bytea), expires_on = NULL "
     "WHERE client_id = (SELECT client_id FROM config.api_client WHERE name = 'stolen')", "secret-not-made-here"),
    ("UPDATE config.console_user SET role = 'System Administrator' WHERE name = 'bob'", "user-not-made-here"),
    ("UPDATE config.oidc_link SET client_id = (SELECT client_id FROM config.api_client WHERE name = 'strong') WHERE subject = 'robot'", "link-not-made-here"),
]


@pytest.fixture(scope="module", params=["config.console_user", "config.api_client"])
def attacked(request):
    """A deployment whose rotation waits for a lock that the service's login holds, and rows that it changes meanwhile."""
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
    """Clients that are disabled: one as it was, one whose role SQL raised, and one whose former row SQL put back, of a time when it was
    disabled too."""
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
    """Rotates, and makes every change while the rotation waits for rows of a table."""
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
        # A row that the rotation has locked can't be changed until it ends.
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
    # The control: what was left alone works under the new key alone.
    configure(place, kekFile=str(place.home / "kek.new"))
    place.server.stop()
    place.server.start()
    strong = place.token(place.strong)
    assert strong.status_code == 200 and place.get("RetrieveDataEncryptionKey", strong.json()["access_token"]).status_code == 200
    assert place.visit("carol").is_in
    # And what was disabled is enabled as it was, or not at all.
    for name, client in (("raised", place.raised), ("former", place.former)):
        answer = place.run("client", "enable", name, "--org", "contoso", check=False)
        assert answer.returncode == 1 and "changed by SQL" in answer.stderr, (name, answer)
        assert place.token(client).status_code == 401
    place.run("client", "enable", "rested", "--org", "contoso")
    assert place.token(place.rested).status_code == 200
