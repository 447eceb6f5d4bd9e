"""docs/backups.md: recovery to moments before, during and after a replacement of the KEK, and which KEK each moment needs."""

import concurrent.futures
import json
import os
import re
import shutil
import subprocess

import psycopg
import pytest
import scratch
import template
from cluster import Cluster
from server import Server
from service import PATIENCE
from test_backups import errors, recovered
from test_kek import identify
from waiting import until


class Rotated(Cluster):
    """Two organizations. Their KEK is replaced, with restore points before, during and after that."""

    def __init__(self):
        self.archive = scratch.new_folder()
        template.give_to_postgres(self.archive)
        super().__init__("archive_mode=on", f"archive_command=cp %p {self.archive}/%f", "wal_level=replica", "max_wal_senders=4")
        self.values = self.fill(20)
        self.run("org", "create", "fabrikam")
        # A server makes the key that signs tokens. The rotation seals that key last.
        Server(self).stop()
        self.old, self.new = self.home / "kek", self.home / "kek.new"
        self.run("kek", "create", str(self.new), settings=None)
        self.base = self.archive / "base"
        user = ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups"] if os.getuid() == 0 else []
        subprocess.run(
            [*user, "pg_basebackup", "-h", str(self.home), "-U", "postgres", "-D", self.base, "-X", "none", "-c", "fast"], check=True, capture_output=True,
            timeout=PATIENCE)

    def point(self, name):
        self.sql("SELECT pg_create_restore_point(%s)", [name])

    def settings_with(self, name, folder, *keks):
        """Writes settings for the database in that folder. The first KEK is the one in use, and the second replaces it."""
        text = (self.home / "direct.yaml").read_text().replace(f"host={self.home}", f"host={folder}")
        lines = [line for line in text.splitlines() if not line.startswith("kekFile")] + [f"kekFile: {keks[0]}"]
        lines += [f"newKek: {{file: {kek}}}" for kek in keks[1:]]
        (self.home / f"{name}.yaml").write_text("\n".join(lines) + "\n")

    def rotate(self):
        """Replaces the KEK. At the restore point "during", contoso is under the new KEK and fabrikam under the old one."""
        self.settings_with("both", self.home, self.old, self.new)
        self.point("before")
        # The rotation handles several organizations at a time. This lock makes fabrikam wait.
        with psycopg.connect(self.superuser) as held, concurrent.futures.ThreadPoolExecutor() as pool:
            held.execute("SELECT FROM config.attested_state JOIN config.organization USING (organization_id) WHERE name = 'fabrikam' FOR UPDATE OF attested_state")
            rotation = pool.submit(self.run, "kek", "rotate", "--json", settings="both")
            new = identify(self.new)[1]
            until(lambda: self.sql("SELECT name FROM config.attested_state JOIN config.organization USING (organization_id) WHERE kek_id = %s", [new]) == [("contoso",)])
            self.point("during")
            held.rollback()
            assert json.loads(rotation.result().stdout)["done"]
        self.point("after")
        self.settings_with("direct", self.home, self.new)
        self.run("kek", "retire")
        self.point("retired")
        self.sql("SELECT pg_switch_wal()")
        [(last,)] = self.sql("SELECT pg_walfile_name(pg_current_wal_lsn())")
        self.sql("CREATE TABLE public.filler (x integer); SELECT pg_switch_wal()")
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            while not (self.archive / last).exists():
                connection.execute("SELECT pg_sleep(0.05)")


@pytest.fixture(scope="module")
def rotated():
    cluster = Rotated()
    try:
        cluster.rotate()
        yield cluster
    finally:
        cluster.remove()
        shutil.rmtree(cluster.archive, ignore_errors=True)


@pytest.fixture
def at(rotated):
    """A function that recovers to a restore point. It returns a function that runs a command there, with the given KEKs."""
    folders = []

    def recover(point):
        folders.append(recovered(rotated, rotated.base, point))

        def run(*arguments, keks, **options):
            rotated.settings_with("moment", folders[-1], *keks)
            return rotated.run(*arguments, settings="moment", **options)

        return run

    yield recover
    for folder in folders:
        template.end_postgres(folder / "data")
        shutil.rmtree(folder, ignore_errors=True)


def is_whole(rotated, run, *keks):
    said = run("verify", keks=keks).stdout
    assert f"{len(rotated.values)} cells" in said and "fabrikam" in said, said
    run("events", "verify", "--org", "contoso", keks=keks)
    assert errors(run("doctor", "--json", keks=keks, check=False)) == []
    run("key", "show", "--org", "contoso", keks=keks)


def is_refused(rotated, run, kek, *words):
    for command in (["verify"], ["key", "show", "--org", "contoso"], ["config", "check"]):
        result = run(*command, keks=[kek], check=False)
        assert result.returncode in (1, 78) and all(word in result.stdout + result.stderr for word in words), result


def codes(result):
    return {finding["code"] for finding in json.loads(result.stdout)["findings"]}


def test_before_the_rotation_the_former_key_is_asked_for(rotated, at):
    run, (old, new) = at("before"), (identify(rotated.old)[1], identify(rotated.new)[1])
    is_refused(rotated, run, rotated.new, old, new, f"restore the key {old} from its backup")
    assert codes(run("doctor", "--json", keks=[rotated.new], check=False)) >= {"wrong-key-encryption-key"}
    is_whole(rotated, run, rotated.old)
    # After the recovery, the KEK can be replaced.
    assert json.loads(run("kek", "rotate", "--json", keks=[rotated.old, rotated.new]).stdout)["done"]
    is_whole(rotated, run, rotated.new)


def test_in_the_middle_both_keys_are_asked_for(rotated, at):
    run, (old, new) = at("during"), (identify(rotated.old)[1], identify(rotated.new)[1])
    is_refused(rotated, run, rotated.new, old, new)
    # With the former KEK alone, the doctor names contoso, and fabrikam works.
    half = run("verify", keks=[rotated.old], check=False)
    assert half.returncode == 1 and f"{len(rotated.values)} cells" not in half.stdout, half
    said = [f for f in json.loads(run("doctor", "--json", keks=[rotated.old], check=False).stdout)["findings"] if f["severity"] == "error"]
    assert any(f["subject"].endswith("contoso") and new in f["message"] + f["advice"] for f in said), said
    assert not any(f["subject"].endswith("fabrikam") for f in said), said
    status = json.loads(run("kek", "status", "--json", keks=[rotated.old, rotated.new]).stdout)
    assert {u["kekId"] for u in status["uses"]} == {old, new} and status["next"] == "Run fieldseal kek rotate."
    is_whole(rotated, run, rotated.old, rotated.new)
    # The rotation continues where the recovery ended it.
    assert json.loads(run("kek", "rotate", "--json", keks=[rotated.old, rotated.new]).stdout)["done"]
    run("kek", "retire", keks=[rotated.new])
    is_whole(rotated, run, rotated.new)


def test_after_it_the_new_key_is_asked_for(rotated, at):
    run, (old, new) = at("after"), (identify(rotated.old)[1], identify(rotated.new)[1])
    is_refused(rotated, run, rotated.old, old, new)
    is_whole(rotated, run, rotated.new)
    assert json.loads(run("kek", "retire", "--json", keks=[rotated.new]).stdout) == {"retired": [old]}


def test_once_it_is_retired_the_former_key_is_named_so(rotated, at):
    run, old = at("retired"), identify(rotated.old)[1]
    is_refused(rotated, run, rotated.old, f"{old} was replaced and retired")
    is_whole(rotated, run, rotated.new)


def test_a_dump_of_each_moment_says_which_key_opens_it(rotated, at, tmp_path):
    for point, opens in (("before", [True, False]), ("during", [False, False]), ("after", [False, True])):
        run = at(point)
        rotated.settings_with("moment", "", rotated.old)
        run("verify", keks=[rotated.old, rotated.new])
        home = re.search("host=(\\S+)", (rotated.home / "moment.yaml").read_text())[1]
        dump = tmp_path / f"{point}.dump"
        subprocess.run(["pg_dump", "-h", home, "-U", "postgres", "-Fc", "-f", dump, "fieldseal"], check=True, timeout=PATIENCE)
        found = []
        for kek in (rotated.old, rotated.new):
            result = rotated.run("backup", "check", str(dump), "--kek-file", str(kek), "--json", settings=None, check=False)
            said = json.loads(result.stdout)
            found.append(result.returncode == 0)
            assert all(bool(o["opened"]) == (o["kekId"] == identify(kek)[1]) for o in said["organizations"]) and len(said["organizations"]) == 2, said
            assert (result.returncode == 0) == (said["problems"] == [])
        assert found == opens, point
