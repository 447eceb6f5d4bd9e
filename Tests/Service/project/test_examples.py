"""Runs the programs in examples/ as their page says."""

import os
import pathlib
import re
import subprocess
import sys

FOLDER = pathlib.Path(__file__).parents[3] / "examples"


#: `swift build` also builds this example.
OPEN_CELLS = FOLDER.parent / ".build/debug/OpenCells"


def run(service, *command, stdin=""):
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSEAL_")}
    result = subprocess.run(
        command, cwd=FOLDER.parent, env={**environment, "FIELDSEAL_HOME": str(service.home)}, input=stdin,
        capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout


def mailboxes(service):
    return service.get("mailboxes?$filter=name eq 'Example'").json()["value"]


def test_the_page_lists_every_example():
    page = (FOLDER / "README.md").read_text()
    programs = [path.name for path in FOLDER.iterdir() if path.name != "README.md"]
    assert len(programs) == 4
    assert [name for name in programs if f"[{name}](" not in page] == []


def test_the_example_with_curl(service):
    first, second, third = run(service, FOLDER / "mailbox.sh").splitlines()
    assert first == '{"name":"Example","password":null,"ispasswordset":true}'
    assert second == '{"ispasswordset":false}'
    assert "password is encrypted" in third
    assert mailboxes(service) == []


def test_the_example_with_the_dataverse_client(service):
    assert run(service, sys.executable, FOLDER / "mailbox.py").split() == ["Example", "None", "True", "False"]
    assert mailboxes(service) == []


def test_the_example_in_sql(service):
    service.create("mailboxes", {"name": "seen in SQL", "password": "not seen in SQL"})
    output = run(service, "psql", "-X", "-At", "-v", "ON_ERROR_STOP=1", "-f", FOLDER / "inspect.sql", service.dev["postgres"])
    assert "contoso|active|" in output
    assert re.search(r"^seen in SQL\|\d+\|t\|\d+$", output, re.MULTILINE)
    assert "not seen in SQL" not in output


def test_the_example_in_swift(service):
    service.create("mailboxes", {"name": "opened in Swift", "password": "pässword\t1"})
    key = service.key()
    output = run(service, OPEN_CELLS, service.dev["postgres"], "org_contoso", stdin=f"{key}\n")
    assert "opened in Swift\tpässword\t1" in output.splitlines()
    refused = subprocess.run([OPEN_CELLS, service.dev["postgres"], "org_contoso"], input="Another-key-1234\n", capture_output=True, text=True)
    assert refused.returncode == 1 and "not the key" in refused.stderr and refused.stdout == ""
