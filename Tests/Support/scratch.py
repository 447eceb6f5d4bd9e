#!/usr/bin/env python3
"""The folder of one run of the tests. It has the files that the tests write. Each process that they start has the folder in its environment.

    scratch.py make            makes a folder, and prints it
    scratch.py remove FOLDER   ends the processes of the run, and removes the folder
"""

import contextlib
import ctypes
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import time

#: The seconds that a test waits for an expected state. A busy machine is slow, and a wait that succeeds ends early.
PATIENCE = 300
VARIABLE = "FIELDSEAL_TEST_FOLDER"
PREFIX = "fieldseal-test."
#: The variable with the parent of the run's folder, for a run that a test starts.
PARENT = "FIELDSEAL_TEST_PARENT"
#: The two places for a run's folder. In memory, PostgreSQL need not wait for the disk.
MEMORY, DISK = pathlib.Path("/dev/shm"), pathlib.Path("/tmp")
#: The bytes that a run needs at most.
NEEDED = 4 << 30
#: The option of prctl(2) with which this process gets the children of processes that end.
PR_SET_CHILD_SUBREAPER = 36


def make():
    """Makes the folder of a run: in memory if it has enough space and allows programs, and otherwise on the disk."""
    parent = os.environ.get(PARENT, MEMORY if is_usable(MEMORY) else DISK)
    folder = pathlib.Path(tempfile.mkdtemp(prefix=PREFIX, dir=parent))
    # The users of PostgreSQL and of the mail servers must be able to enter the folder.
    folder.chmod(0o755)
    return folder


def is_usable(memory):
    if not memory.is_dir() or not os.access(memory, os.W_OK | os.X_OK):
        return False
    state = os.statvfs(memory)
    return state.f_bavail * state.f_frsize >= NEEDED and not state.f_flag & os.ST_NOEXEC


def new_folder(prefix="fieldseal-"):
    """A new folder for a deployment, in the run's folder. Outside of a run, as in benchmarks, the folder is in /tmp."""
    return pathlib.Path(tempfile.mkdtemp(prefix=prefix, dir=os.environ.get(VARIABLE, DISK)))


def elsewhere():
    """A new folder on another file system than the run's folder. It is removed with the run."""
    run = pathlib.Path(os.environ[VARIABLE])
    other = next(place for place in (MEMORY, DISK) if place.stat().st_dev != run.stat().st_dev)
    return pathlib.Path(tempfile.mkdtemp(prefix=f"{run.name}.", dir=other))


def processes(folder):
    """The processes of a run: those with the run's name in their command line, folder or environment, and the descendants of this process."""
    parents = living()
    ancestors = {os.getpid(), *above(os.getpid(), parents)}
    name = os.fsencode(pathlib.Path(folder).name)
    return [pid for pid in parents if pid not in ancestors and (os.getpid() in above(pid, parents) or names(pid, name))]


def living():
    """Each running process with its parent."""
    parents = {}
    for entry in pathlib.Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                state, parent = (entry / "stat").read_text().rsplit(")", 1)[1].split()[:2]
                if state != "Z":
                    parents[int(entry.name)] = int(parent)
    return parents


def above(pid, parents):
    while pid := parents.get(pid):
        yield pid


def names(pid, name):
    """Whether the name is in the command line, the working folder or the environment of the process, as far as this user may read them."""
    return any(name in trace for trace in traces(pid))


def traces(pid):
    for read in (lambda: pathlib.Path(f"/proc/{pid}/cmdline").read_bytes(), lambda: os.fsencode(os.readlink(f"/proc/{pid}/cwd")),
                 lambda: pathlib.Path(f"/proc/{pid}/environ").read_bytes()):
        with contextlib.suppress(OSError):
            yield read()


def adopt():
    """Gives this process the children of processes that end. So `end` also finds processes whose environment it may not read."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def end(folder, seconds=20):
    """Ends the processes of a run. PostgreSQL gets SIGQUIT and some time, because it then removes its shared memory."""
    deadline, asked = time.monotonic() + seconds, set()
    while found := processes(folder):
        for pid in found:
            with contextlib.suppress(OSError):
                is_postgres = os.path.basename(os.readlink(f"/proc/{pid}/exe")) == "postgres"
                if not is_postgres or time.monotonic() > deadline:
                    os.kill(pid, signal.SIGKILL)
                elif pid not in asked:
                    os.kill(pid, signal.SIGQUIT)
                    asked.add(pid)
        time.sleep(0.05)


def remove(folder):
    """Ends the processes of a run, and removes its files."""
    folder = pathlib.Path(folder)
    assert folder.name.startswith(PREFIX), folder
    end(folder)
    for place in (folder.parent, MEMORY, DISK):
        for path in place.glob(f"{folder.name}*"):
            shutil.rmtree(path, ignore_errors=True)


if __name__ == "__main__":
    if sys.argv[1:] == ["make"]:
        print(make())
    elif len(sys.argv) == 3 and sys.argv[1] == "remove":
        remove(sys.argv[2])
    else:
        sys.exit(__doc__)
