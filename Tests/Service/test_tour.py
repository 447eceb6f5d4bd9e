"""The README's tour: every line is run as it is printed, and prints what it says."""

import os
import pathlib
import re
import subprocess
import tempfile

from service import PROGRAM

README = pathlib.Path(__file__).parents[2] / "README.md"


def steps():
    """The tour's commands, each with the output that is printed below it, or None."""
    tour = README.read_text().split("## Five minutes")[1].split("\n## ")[0]
    blocks = re.findall(r"```(sh|text)\n(.*?)```", tour, re.S)
    found = []
    for kind, text in blocks:
        if kind == "sh":
            found.append([text, ""])
        else:
            found[-1][1] = text
    return found


def test_the_tour_works_as_printed(own_service):
    service = own_service
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (here / ".fieldseal").symlink_to(service.home)
        (here / ".build/release").mkdir(parents=True)
        (here / ".build/release/fieldseal").symlink_to(PROGRAM)
        commands = [command for command, _ in steps()]
        assert len(commands) >= 7
        script = "\n".join(f"{command}\necho '--- end of step ---'" for command in commands)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSEAL_")}
        result = subprocess.run(
            ["bash", "-eu", "-c", script], cwd=here, env=environment, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    for (command, expected), output in zip(steps(), result.stdout.split("--- end of step ---\n"), strict=False):
        pattern = re.escape(expected.strip()).replace("…", ".*")
        assert re.fullmatch(pattern, output.strip(), re.S), f"{command}\nprinted\n{output}\nand not\n{expected}"
