"""If a run of the tests is interrupted, it leaves no process and no file."""

import contextlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import pytest
import scratch
from service import PATIENCE

HERE = pathlib.Path(__file__).parents[1]


def children(pid):
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        yield from map(int, task.read_text().split())


def folder_of(run):
    """The folder of a run, once a PostgreSQL runs in it. Until then None. The workers have the folder in their environment."""
    for worker in children(run.pid):
        with contextlib.suppress(OSError):
            variables = dict(line.split(b"=", 1) for line in pathlib.Path(f"/proc/{worker}/environ").read_bytes().split(b"\0") if b"=" in line)
            folder = pathlib.Path(os.fsdecode(variables.get(scratch.VARIABLE.encode(), b"/nowhere")))
            if list(folder.glob("fieldseal-*/data/postmaster.pid")):
                return folder
    return None


def left(folder):
    return [pid for pid in scratch.living() if scratch.names(pid, os.fsencode(folder.name))]


@pytest.mark.parametrize("number, to_all", [(signal.SIGTERM, True), (signal.SIGTERM, False), (signal.SIGINT, True)])
def test_an_interrupted_run_leaves_nothing(number, to_all):
    # Makes the run's folder inside of the folder of the present run, which removes it in any case.
    environment = {name: value for name, value in os.environ.items() if name != scratch.VARIABLE and not name.startswith("PYTEST_")}
    environment[scratch.PARENT] = os.environ[scratch.VARIABLE]
    run = subprocess.Popen(
        [sys.executable, "-m", "pytest", HERE / "databases/test_sql.py", "-q", "-p", "no:cacheprovider", "-n", "1"], env=environment, cwd=HERE,
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        deadline = time.monotonic() + PATIENCE
        while not (folder := folder_of(run)):
            assert run.poll() is None and time.monotonic() < deadline, "no PostgreSQL is started"
            time.sleep(0.02)
        assert left(folder)
        (os.killpg if to_all else os.kill)(run.pid, number)
        # The exit code of pytest for an interrupted run.
        assert run.wait(PATIENCE) == 2
        assert left(folder) == []
        assert not folder.exists() and not list(scratch.DISK.glob(f"{folder.name}*"))
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(run.pid, signal.SIGKILL)
        run.wait()
