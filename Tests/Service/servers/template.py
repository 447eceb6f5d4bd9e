"""New PostgreSQL clusters. initdb runs once for each kind in a test run, and each deployment gets a copy."""

import contextlib
import fcntl
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import time

import scratch

SUPPORT = pathlib.Path(__file__).parents[2] / "Support" / "postgres.sh"
#: Options of initdb: those of `fieldseal dev` (DevelopmentPostgres.swift), and those of postgres.sh.
OPTIONS = {
    "development": ["--auth=scram-sha-256", "--pwfile=PASSWORD", "--data-checksums"],
    "trusting": ["--auth=trust"],
}


def copy_cluster(name, data):
    """Copies the cluster of this kind to the folder `data`. The first call in a test run creates the cluster. Returns the superuser's password."""
    run = pathlib.Path(os.environ[scratch.VARIABLE])
    with once(run / f"template-{name}") as folder:
        if folder:
            initialize(folder, OPTIONS[name])
    subprocess.run(["cp", "-a", "--reflink=auto", run / f"template-{name}" / "data", data], check=True)
    return (run / f"template-{name}" / "password").read_text()


@contextlib.contextmanager
def once(folder):
    """Yields a temporary folder to the first caller, who fills it. Later callers wait until it is filled, and get None."""
    with open(f"{folder}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if folder.exists():
            yield None
            return
        unfinished = folder.with_name(f"{folder.name}.new")
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        yield unfinished
        unfinished.rename(folder)


def initialize(folder, options):
    (folder / "password").write_text(secrets.token_urlsafe(24))
    (folder / "password").chmod(0o600)
    give_to_postgres(folder / "password")
    options = [option.replace("PASSWORD", f"{folder}/password") for option in options]
    script = f'source "{SUPPORT}"; initialize_postgres "$@"'
    subprocess.run(["bash", "-ec", script, "bash", folder, *options], check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)


def postmaster(data):
    """The process id of the PostgreSQL that runs in the folder `data`, or None. After a crash, the number in postmaster.pid may belong to another process."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n")[0])
        return pid if os.fsencode(data) in pathlib.Path(f"/proc/{pid}/cmdline").read_bytes() else None
    except FileNotFoundError:
        return None


def end_postgres(data, how=signal.SIGINT):
    """Sends a signal to the PostgreSQL in the folder `data`, and waits until it has ended."""
    pid = postmaster(data)
    if pid:
        os.kill(pid, how)
    deadline = time.monotonic() + scratch.PATIENCE
    while postmaster(data):
        assert time.monotonic() < deadline, "PostgreSQL does not stop"
        time.sleep(0.02)


def give_to_postgres(path):
    """Makes the user postgres the owner of a path, if the tests run as root."""
    if os.getuid() == 0:
        shutil.chown(path, "postgres")
