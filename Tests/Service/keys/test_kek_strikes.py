"""`kek rotate` and `kek retire` are interrupted at each of their statements. Afterwards, the same command completes the work."""

import json
import subprocess

import psycopg
import pytest
from proxy import ACTIONS
from sample import FULL, chooser
from service import PATIENCE
from test_kek import WRONG, Rotated, identify

#: For each kind of interruption, at how many statements it is tried. A full run tries the first kind at every statement.
SAMPLE = 12 if FULL else 2


class Saved:
    """A cluster with all that a key-encryption key wraps and tags, and copies of its database from several moments of a rotation. No server runs."""

    def __init__(self):
        self.rotated = Rotated()
        self.cluster, self.home = self.rotated.cluster, self.rotated.home
        self.rotated.server.stop()
        self.cluster.run("kek", "create", str(self.home / "kek.new"), settings=None)
        self.old, self.new = (identify(self.home / name)[1] for name in ("kek", "kek.new"))
        self.events = self.replacements()
        self.both()
        self.save("before")
        self.recorded = {"rotate": self.record("rotate")}
        self.alone()
        self.save("rotated")
        self.recorded["retire"] = self.record("retire")

    def both(self):
        self.rotated.configure(kekFile=str(self.home / "kek"), newKek={"file": str(self.home / "kek.new")})

    def alone(self):
        self.rotated.configure(kekFile=str(self.home / "kek.new"))

    # The database

    def administer(self, *statements):
        with psycopg.connect(f"host={self.home} user=postgres dbname=postgres", autocommit=True) as connection:
            for statement in statements:
                connection.execute(statement)

    def save(self, name):
        self.administer(f"CREATE DATABASE saved_{name} TEMPLATE fieldseal")

    def restore(self, name):
        self.administer("DROP DATABASE fieldseal WITH (FORCE)", f"CREATE DATABASE fieldseal TEMPLATE saved_{name}")

    def replacements(self):
        """For each organization, how many security events record that the key-encryption key was replaced."""
        said = "SELECT count(*) FROM org_{}.security_event WHERE kind = 'key-encryption key replaced'"
        return [self.cluster.sql(said.format(name))[0][0] for name in ("contoso", "fabrikam")]

    # The commands

    def struck(self, command, strike):
        """Runs the command. `strike(number, sql)` is called for each of its statements and may return an interruption."""
        proxy, started = self.cluster.proxy, []
        proxy.reset(strike, process=lambda: started[0])
        started.append(self.cluster.popen("kek", command, "--json", settings="proxied"))
        output, errors = started[0].communicate("", timeout=PATIENCE)
        return subprocess.CompletedProcess(command, started[0].returncode, output, errors)

    def record(self, command):
        """Runs the command without an interruption. Returns its statements."""
        done = self.struck(command, None)
        assert done.returncode == 0, done.stderr
        return list(self.cluster.proxy.statements)

    def targets(self, command, action):
        numbers = range(len(self.recorded[command]))
        return list(numbers) if FULL and action == ACTIONS[0] else drawn_few(numbers, command, action)


def drawn_few(numbers, *purpose):
    """About `SAMPLE` of the numbers, at equal distances. The seed of the run chooses the first."""
    stride = max(1, len(numbers) // SAMPLE)
    return list(numbers[chooser(*purpose).randrange(stride)::stride])


@pytest.fixture(scope="module")
def saved():
    saved = Saved()
    try:
        yield saved
    finally:
        saved.rotated.remove()


def findings(saved):
    return {f["code"] for f in json.loads(saved.cluster.run("doctor", "--json", check=False).stdout)["findings"]}


def test_what_is_recorded_has_every_part(saved):
    for part in ["console_user", "oidc_issuer", "api_client ", "organization_key", "attested_state", "mail_destination", "LOCK TABLE config.signing_key", "replaced_kek", "COMMIT"]:
        assert any(part in sql for sql in saved.recorded["rotate"]), part
    assert any("SET retired_on" in sql for sql in saved.recorded["retire"])


@pytest.mark.parametrize("action", ACTIONS)
def test_struck_at_each_statement_a_rotation_goes_on(saved, action):
    hit, targets = 0, saved.targets("rotate", action)
    for target in targets:
        saved.restore("before")
        saved.both()
        done = saved.struck("rotate", lambda number, _, target=target: action if number == target else None)
        hit += bool(saved.cluster.proxy.struck)
        where = (action, target, saved.recorded["rotate"][target], done.stderr)
        assert not saved.cluster.proxy.struck or not action.startswith("kill") or done.returncode == -9, where
        # Each organization is completely under the former or the new key, and the status shows under which.
        status = saved.rotated.status()
        assert {use["kekId"] for use in status["uses"]} <= {saved.old, saved.new} and status["next"], where
        assert saved.cluster.run("verify").returncode == 0 and not findings(saved) & WRONG, where
        again = json.loads(saved.cluster.run("kek", "rotate", "--json").stdout)
        assert again["done"] and {use["kekId"] for use in saved.rotated.status()["uses"]} == {saved.new}, where
        assert saved.replacements() == [count + 1 for count in saved.events], where
        # The events have no gap in their numbers, so rolled-back transactions used no number.
        assert saved.cluster.sql("SELECT max(security_event_id) - min(security_event_id) + 1 = count(*) FROM security_event") == [(True,)], where
        saved.alone()
        assert json.loads(saved.cluster.run("kek", "retire", "--json").stdout) == {"retired": [saved.old]}, where
        assert saved.rotated.status()["next"] == "There is nothing to do." and not findings(saved) & WRONG, where
    assert hit >= len(targets) - max(1, len(targets) // 10)
    # After the last interruption, a server works: tokens, sign-ins, keys and evidence.
    saved.rotated.server.start()
    try:
        saved.rotated.is_whole()
        assert "of the mailbox" in json.dumps(saved.rotated.released())
    finally:
        saved.rotated.server.stop()


@pytest.mark.parametrize("action", ACTIONS)
def test_struck_at_each_statement_a_key_is_retired_or_not(saved, action):
    saved.alone()
    hit, targets = 0, saved.targets("retire", action)
    for target in targets:
        saved.restore("rotated")
        done = saved.struck("retire", lambda number, _, target=target: action if number == target else None)
        hit += bool(saved.cluster.proxy.struck)
        where = (action, target, saved.recorded["retire"][target], done.stderr)
        [(retired,)] = saved.cluster.sql("SELECT retired_on IS NOT NULL FROM config.replaced_kek WHERE kek_id = %s", [saved.old])
        assert done.returncode or json.loads(done.stdout) == {"retired": [saved.old]} and retired, where
        # The status says whether the key still has to be retired. Running the command again retires it.
        assert ("fieldseal kek retire" in saved.rotated.status()["next"]) != retired, where
        again = json.loads(saved.cluster.run("kek", "retire", "--json").stdout)
        assert again == {"retired": [] if retired else [saved.old]}, where
        assert saved.rotated.status()["next"] == "There is nothing to do." and saved.cluster.run("verify").returncode == 0, where
    assert hit >= len(targets) - max(1, len(targets) // 10)
