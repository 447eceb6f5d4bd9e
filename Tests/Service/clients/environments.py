"""Separate Python environments, for packages that need other versions of Python or of packages than the tests."""

import fcntl
import functools
import os
import pathlib
import re
import shutil
import subprocess
import sys

ROOT = pathlib.Path(__file__).parents[3]
#: The folder with one program for each package.
PROGRAMS = pathlib.Path(__file__).parent / "programs"
#: For each package: the versions to install, and the minor versions of Python 3 on which it runs.
PACKAGES = {
    "airbyte": ("airbyte-source-microsoft-dataverse==1.0.2 truststore==0.10.5", range(9, 12)),
    "datapyrse": ("datapyrse==0.8.0 truststore==0.10.5", range(12, 20)),
    # The package claims to need Python 3.10, but uses the syntax of 3.12.
    "dataversepython": ("DataversePython==1.1.0", range(12, 20)),
}


def minor_version(program):
    """The minor version of this Python interpreter. None if the program is no Python 3 interpreter with venv."""
    try:
        said = subprocess.run(
            [program, "-c", "import ensurepip, sys, venv; print(*sys.version_info[:2])"], capture_output=True, text=True, timeout=60, check=False)
    except OSError:
        return None
    found = re.fullmatch(r"3 (\d+)\n", said.stdout)
    return int(found[1]) if said.returncode == 0 and found else None


def interpreter(versions):
    """An interpreter with one of these minor versions of Python 3. None if this machine has none."""
    pyenv = pathlib.Path(os.environ.get("PYENV_ROOT", pathlib.Path.home() / ".pyenv")) / "versions"
    named = [shutil.which(f"python3.{minor}") for minor in versions]
    candidates = [sys.executable, shutil.which("python3"), "/usr/bin/python3", *named, *sorted(pyenv.glob("3.*/bin/python"))]
    return next((program for program in candidates if program and minor_version(program) in versions), None)


def environment(name):
    """The interpreter of the environment with this package. Makes the environment if it is missing."""
    packages, versions = PACKAGES[name]
    folder = ROOT / ".venv/clients" / name
    folder.mkdir(parents=True, exist_ok=True)
    with open(folder / "lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        stamp = folder / "packages"
        if not stamp.exists() or stamp.read_text() != packages:
            program = interpreter(versions)
            assert program, f"{name} needs Python 3.{versions.start} to 3.{versions.stop - 1}, and none is on this machine"
            subprocess.run([program, "-m", "venv", "--clear", folder / "venv"], check=True, timeout=600)
            subprocess.run([folder / "venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", *packages.split()], check=True, timeout=600)
            stamp.write_text(packages)
    return folder / "venv/bin/python"


@functools.cache
def is_possible(name):
    """Whether this machine has a Python on which the package runs."""
    return interpreter(PACKAGES[name][1]) is not None
