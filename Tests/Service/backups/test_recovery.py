"""docs/recovery.md, line by line: restores a dump where Fieldseal is not installed, and opens cells there with pgcrypto alone."""

import os
import pathlib
import re
import shlex
import shutil
import subprocess

import psycopg
import pytest
import scratch
import template
from cluster import SUPPORT
from service import PATIENCE, PROGRAM

ROOT = pathlib.Path(__file__).parents[3]
PAGE = (ROOT / "docs/recovery.md").read_text()


@pytest.fixture
def bare():
    """A PostgreSQL without anything of Fieldseal. Yields the folder of its socket."""
    folder = scratch.new_folder("fieldseal-bare-")
    folder.chmod(0o755)
    subprocess.run(
        ["bash", "-c", f"source {SUPPORT}; start_postgres {folder}"], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL)
    yield folder
    template.end_postgres(folder / "data")
    shutil.rmtree(folder, ignore_errors=True)


def commands(section):
    """The indented lines of a section of the page."""
    text = PAGE.split(f"\n## {section}")[1].split("\n## ")[0]
    return "\n".join(line[4:] for line in text.splitlines() if line.startswith("    "))


def test_the_page_is_followed_on_a_machine_without_the_service(service, bare, tmp_path):
    service.create("mailboxes", {"name": "to be recovered", "password": "pässword of the day"})
    service.set_key("Changed-before-the-disaster-1!")
    key = service.key()
    environment = {**os.environ, "PGHOST": str(bare), "PGUSER": "postgres"}

    def shell(command, database=None, text=None):
        result = subprocess.run(
            ["bash", "-ec", command], cwd=ROOT, env={**environment, **({"PGDATABASE": database} if database else {})}, input=text,
            capture_output=True, text=True)
        assert result.returncode == 0, (command, result.stderr)
        return result.stdout

    dump = re.search(r"pg_dump -Fc .* fieldseal", commands("1. Restore")).group()
    dumped = subprocess.run([*dump.split()[:-1], service.dev["postgres"]], capture_output=True, check=True)
    (tmp_path / "organization.dump").write_bytes(dumped.stdout)
    create, restore = [line.split("  #")[0] for line in commands("1. Restore").splitlines()[:2]]
    shell(create)
    shell(restore.replace("organization.dump", str(tmp_path / "organization.dump")))
    shell(commands("2. Install"))
    asked = commands("3. Ask").replace("\\prompt 'Organization key: ' key", f"\\set key '{key}'")
    opened = commands("4. Open")
    output = shell("psql -X -A -t -v ON_ERROR_STOP=1 -f -", "restored", f"{asked}\n{opened}\n")
    assert "|t\n" in output and "to be recovered||pässword of the day" in output
    wrong = shell("psql -X -A -t -v ON_ERROR_STOP=1 -f -", "restored", asked.replace(key, "Another-key-1!"))
    assert "|f\n" in wrong
    # `fieldseal migrate recovery` makes the same functions, and needs neither settings nor a key.
    shell(create.replace("restored", "again"))
    shell(restore.replace("organization.dump", str(tmp_path / "organization.dump")).replace("restored", "again"))
    nowhere = {**environment, "HOME": str(tmp_path)} | {name: "" for name in environment if name.startswith("FIELDSEAL_")}
    [command] = re.findall(r'`fieldseal (migrate recovery [^`]*)`', PAGE)
    made = subprocess.run([PROGRAM, *shlex.split(command.replace("restored", "again"))], cwd=tmp_path, env=nowhere, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert made.returncode == 0 and "cell.open" in made.stdout, made
    assert shell("psql -X -A -t -v ON_ERROR_STOP=1 -f -", "again", f"{asked}\n{opened}\n") == output
    refused = subprocess.run(
        [PROGRAM, "migrate", "recovery", "--superuser", "dbname=restored password=x"], cwd=tmp_path, env=nowhere, capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert refused.returncode == 64 and "Use passfile=FILE" in refused.stderr


def test_the_functions_open_every_cell_and_nothing_that_was_touched(service):
    id = service.create("queues", {"name": "sql", "emailpassword": "x" * 200})
    key = service.key()
    with psycopg.connect(service.dev["postgres"], autocommit=True) as connection:
        organization, salt, iterations, check = connection.execute(
            "SELECT organization_id, salt, iterations, key_check FROM org_contoso.encryption").fetchone()
        (data_key,) = connection.execute("SELECT cell.derive_key(%s, %s, %s)", [key, salt, iterations]).fetchone()
        cell = connection.execute("SELECT emailpassword FROM org_contoso.queue_cell WHERE queueid = %s", [id]).fetchone()[0]

        def opened(cell, data_key=data_key, record=id, attribute="queue.emailpassword"):
            return connection.execute("SELECT cell.open(%s, %s, %s, %s, %s)", [cell, data_key, organization, record, attribute]).fetchone()[0]

        assert opened(cell) == "x" * 200
        flipped = [bytes(b ^ (1 << n % 8) if i == n else b for i, b in enumerate(cell)) for n in range(0, len(cell), 7)]
        for bad in [*({"cell": f} for f in flipped), {"cell": cell[:-1]}, {"cell": cell + b"\0"}, {"cell": b""}, {"cell": cell, "record": organization},
                    {"cell": cell, "attribute": "mailbox.password"}, {"cell": cell, "data_key": data_key[::-1]}]:
            with pytest.raises(psycopg.Error) as refusal:
                opened(**bad)
            assert refusal.value.sqlstate == "FS011", bad
        assert connection.execute("SELECT cell.key_is_right(%s, %s, %s, %s, %s)", [key, salt, iterations, check, organization]).fetchone() == (True,)
        with pytest.raises(psycopg.Error):
            connection.execute("SET ROLE fieldseal_service; SELECT cell.derive_key('a', 'b', 1)")
