"""Runs every command of the README's tour as it is printed. Each must print the output that the README shows."""

import os
import pathlib
import pwd
import re
import shutil
import subprocess
import tempfile

import pytest
import scratch
from mail import MailServers
from service import PATIENCE, PROGRAM, Deployment
from waiting import until

README = pathlib.Path(__file__).parents[3] / "README.md"
ROUTER = README.parent / "docs/router.md"
END_OF_STEP = "--- end of step ---\n"


def steps():
    """The commands of the tour, each with the output that the README prints below it."""
    tour = README.read_text().split("\n## Five minutes\n")[1].split("\n## ")[0]
    found = []
    for kind, text in re.findall(r"```(sh|text)\n(.*?)```", tour, re.S):
        if kind == "sh":
            found.append([text, ""])
        else:
            found[-1][1] = text
    return found


@pytest.fixture
def deployment():
    """A deployment and mail servers, as `make run` and `make mail` start them. The mail servers' users must be able to enter the folder."""
    deployment = Deployment(bare=True)
    deployment.home.chmod(0o755)
    servers = MailServers(deployment.home)
    try:
        deployment.start()
        servers.start()
        yield deployment
    finally:
        servers.stop()
        deployment.remove()


def test_the_tour_works_as_printed(deployment):
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (here / ".fieldseal").symlink_to(deployment.home)
        (here / ".build/release").mkdir(parents=True)
        (here / ".build/release/fieldseal").symlink_to(PROGRAM)
        script = "\n".join(f"{command}\nprintf -- '{END_OF_STEP[:-1]}\\n'" for command, _ in steps())
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSEAL_")}
        result = subprocess.run(
            ["bash", "-eu", "-c", script], cwd=here, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)
    assert result.returncode == 0, result.stdout + result.stderr
    *outputs, rest = result.stdout.split(END_OF_STEP)
    assert rest == ""
    assert len(outputs) == len(steps()) >= 12
    for (command, expected), output in zip(steps(), outputs, strict=True):
        pattern = re.escape(expected.strip()).replace("…", ".*")
        assert re.fullmatch(pattern, output.strip().replace("\r", ""), re.S), f"{command}\nprinted\n{output}\nand not\n{expected}"


def test_the_description_of_the_mail_servers_belongs_to_the_owner_of_the_folder():
    """`sudo make mail` writes the file as root. The user that ran `make run` must be able to read it."""
    home = scratch.new_folder()
    home.chmod(0o755)
    owner = pwd.getpwnam("nobody")
    os.chown(home, owner.pw_uid, owner.pw_gid)
    servers = MailServers(home)
    try:
        servers.start()
        description = (home / "mail.json").stat()
        assert (description.st_uid, description.st_gid) == (owner.pw_uid, owner.pw_gid)
        assert description.st_mode & 0o777 == 0o600
    finally:
        servers.stop()
        shutil.rmtree(home, ignore_errors=True)


def test_the_routers_page_works_as_printed(deployment):
    """The commands in docs/router.md need only definitions of that page and of the README's tour. Their mailbox is tested and enabled."""
    section = ROUTER.read_text().split("\n## To try it\n")[1].split("\n## ")[0]
    lines = [line[4:] for line in section.splitlines() if line.startswith("    ") and not line.startswith("    make mail ")]
    assert len(lines) > 10
    lines = [command for command, _ in steps() if "call() {" in command] + lines
    with tempfile.TemporaryDirectory() as folder:
        here = pathlib.Path(folder)
        (here / ".fieldseal").symlink_to(deployment.home)
        (here / "fieldseal").symlink_to(PROGRAM)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSEAL_")}
        result = subprocess.run(
            ["bash", "-eu", "-c", "\n".join(lines)], cwd=here, env={**environment, "PATH": f"{here}:{environment['PATH']}"}, stdin=subprocess.DEVNULL,
            capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0 and "error" not in result.stdout, result.stdout + result.stderr
    until(lambda: deployment.sql("SELECT incomingemailstatus, outgoingemailstatus FROM org_contoso.mailbox WHERE name = 'Alice''s'") == [(1, 1)],
          what=lambda: result.stdout + deployment.log().decode()[-3000:])


def test_the_script_of_the_mail_servers_takes_a_folder_alone(tmp_path):
    script = README.parent / "scripts/mail"

    def run(*arguments):
        return subprocess.run([script, *arguments], cwd=tmp_path, capture_output=True, text=True)

    asked, wrong = run("--help"), run("--verbose")
    assert asked.returncode == 0 and "usage: mail [-h] [folder]" in asked.stdout
    assert wrong.returncode == 2 and "unrecognized arguments: --verbose" in wrong.stderr
    assert list(tmp_path.iterdir()) == []
