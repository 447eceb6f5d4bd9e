"""Runs the commands that `make cluster` prints. Stops each part in turn while clients write, and checks that nothing is left at the end."""

import contextlib
import os
import pathlib
import re
import signal
import subprocess
import sys
import threading

import pytest
import requests
import scratch
from service import PATIENCE
from waiting import until

SCRIPT = pathlib.Path(__file__).parents[2] / "highly_available.py"
#: A line of the output about a part: its name, and the command that stops it.
PART = re.compile(r"^    (\S[^:]*):  (\S.*)$")


class Running:
    """The running script, and its output."""

    def __init__(self):
        self.home = scratch.new_folder()
        # The user of PostgreSQL must be able to enter the folder.
        self.home.chmod(0o755)
        # In its own folder, the cluster's processes and files can be told from those of other tests.
        environment = {**os.environ, scratch.VARIABLE: str(self.home)}
        self.process = subprocess.Popen(
            [sys.executable, SCRIPT], env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True, start_new_session=True)
        self.lines = []
        self.thread = threading.Thread(target=lambda: self.lines.extend(self.process.stdout))
        self.thread.start()
        try:
            until(lambda: "Ctrl-C stops everything.\n" in self.lines or self.process.poll() is not None)
            assert self.process.poll() is None
        except BaseException:
            self.end()
            raise

    def parts(self):
        return [(found[1], found[2]) for line in self.lines if (found := PART.match(line))]

    def client(self):
        """The shell command from the output with which a client writes."""
        start = next(number for number, line in enumerate(self.lines) if line.startswith("    token="))
        end = next(number for number, line in enumerate(self.lines) if number > start and line == "\n")
        return "".join(self.lines[start:end])

    def again(self):
        return sum("was started again" in line for line in self.lines)

    def processes(self):
        return [pid for pid in scratch.living() if scratch.names(pid, os.fsencode(self.home.name)) and pid != os.getpid()]

    def end(self):
        with contextlib.suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGINT)
        self.process.wait(PATIENCE)
        self.thread.join(PATIENCE)


def shell(command):
    result = subprocess.run(["bash", "-c", command], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
    assert result.returncode == 0, (command, result.stdout, result.stderr)
    return result.stdout


def is_whole(patroni):
    """Whether Patroni has a primary and two standbys without lag."""
    members = requests.get(f"{patroni}/cluster", timeout=PATIENCE).json()["members"]
    roles = sorted(member["role"] for member in members if member["state"] in ("running", "streaming") and member.get("lag", 0) == 0)
    return roles == ["leader", "replica", "sync_standby"]


@contextlib.contextmanager
def take_away(running, what, command, patroni):
    """Stops a part of the cluster for the block. Waits afterwards until the part runs again and the cluster is complete."""
    mark = running.again()
    shell(command)
    yield
    if "-STOP" in command:
        shell(command.replace("-STOP", "-CONT"))
    elif what.startswith(("server", "router")):
        until(lambda: running.again() > mark)
    until(lambda: is_whole(patroni))


@pytest.mark.alone
def test_everything_goes_on_when_a_part_is_taken_away(tmp_path):
    running = Running()
    client, statuses = None, tmp_path / "statuses"
    try:
        with open(statuses, "w") as output:
            client = subprocess.Popen(["bash", "-c", running.client()], stdin=subprocess.DEVNULL, stdout=output, start_new_session=True)

        def saved():
            return statuses.read_text().split().count("204")

        def goes_on():
            mark = saved()
            until(lambda: saved() > mark + 10)

        goes_on()
        parts = running.parts()
        kinds = sorted(what.split()[0].strip(",") for what, _ in parts)
        assert kinds == ["a", "move", "primary", "router", "server", "server", "standby", "standby"]
        patroni = re.search(r"http://[\d.:]+(?=/cluster)", dict(parts)["a switchover"])[0]
        for what, command in parts:
            with take_away(running, what, command, patroni):
                goes_on()
            goes_on()
        assert client.poll() is None
        assert set(statuses.read_text().split()) <= {"204", "500", "503", "000"}
    finally:
        if client:
            os.killpg(client.pid, signal.SIGKILL)
            client.wait(PATIENCE)
        running.end()
    assert running.process.returncode == 0
    assert running.processes() == [] and list(running.home.iterdir()) == []
