"""Another user of the machine creates folders and links at paths where `fieldseal dev` would create its own."""

import hashlib
import json
import os
import pathlib
import pwd
import re
import shutil
import signal

import pytest
import scratch
from service import Deployment

NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
def victim():
    """A folder that belongs to root. The other user's links point to it."""
    folder = scratch.new_folder()
    folder.chmod(0o700)
    yield folder
    shutil.rmtree(folder)


def is_untouched(victim):
    status = victim.stat()
    return (status.st_uid, status.st_mode & 0o7777, list(victim.iterdir())) == (0, 0o700, [])


def plant(path, victim):
    """Creates a link to the folder `victim`. The link belongs to another user."""
    path.symlink_to(victim)
    os.lchown(path, NOBODY, -1)


@pytest.fixture
def deep():
    """A deployment in a folder whose path is too long for a socket, so that the socket is in another folder."""
    deployment = Deployment(bare=True)
    outer, deployment.home = deployment.home, deployment.home / ("deep" * 25)
    deployment.home.mkdir(0o711)
    deployment.environment["FIELDSEAL_HOME"] = str(deployment.home)
    try:
        yield deployment
    finally:
        deployment.remove()
        shutil.rmtree(outer, ignore_errors=True)


def socket_folder(deployment):
    return pathlib.Path(re.search(r"host=(\S+)", deployment.dev["postgres"])[1])


def test_the_socket_of_a_deep_folder_is_where_no_other_user_could_put_one(deep, victim):
    # A name that an attacker can compute from the path. The socket's folder must have a random name instead.
    computed = pathlib.Path("/tmp") / f"fieldseal-{hashlib.sha256(str(deep.home).encode()).hexdigest()[:12]}"
    plant(computed, victim)
    try:
        deep.start()
        assert is_untouched(victim)
        folder = socket_folder(deep)
        status = folder.lstat()
        owner = deep.home.joinpath("pg").stat().st_uid
        assert folder != computed and not folder.is_symlink() and (status.st_uid, status.st_mode & 0o7777) == (owner, 0o755)
        assert owner != 0 and deep.get("WhoAmI").status_code == 200
        # After a kill, the deployment uses the folder again. A normal end removes it.
        deep.stop(signal.SIGKILL)
        deep.start()
        assert socket_folder(deep) == folder
        deep.stop()
        assert not folder.exists()
        # If another user has created something under this name, the deployment uses another folder.
        plant(folder, victim)
        try:
            deep.start()
            assert socket_folder(deep) != folder and is_untouched(victim) and deep.get("WhoAmI").status_code == 200
        finally:
            folder.unlink()
    finally:
        computed.unlink()


@pytest.mark.parametrize("what, words", [("link", "it is a link"), ("owner", f"it belongs to the user with the id {NOBODY}"), ("mode", "others may write to it (mode 777)")])
def test_a_folder_that_another_user_could_change_is_refused(victim, what, words):
    outer = scratch.new_folder()
    outer.chmod(0o755)
    home = outer / "home"
    deployment = Deployment(bare=True)
    try:
        if what == "link":
            plant(home, victim)
        else:
            home.mkdir()
            home.chmod(0o777 if what == "mode" else 0o755)
            os.chown(home, NOBODY if what == "owner" else 0, -1)
        refused = deployment.run("dev", check=False, FIELDSEAL_HOME=str(home))
        assert refused.returncode == 1 and f"{home} can't be used" in refused.stderr and words in refused.stderr, refused.stderr
        assert is_untouched(victim) and list(home.iterdir()) == []
    finally:
        deployment.remove()
        shutil.rmtree(outer)


def test_a_link_of_the_users_own_is_followed(service, tmp_path):
    link = tmp_path / "home"
    link.symlink_to(service.home)
    # The command accepts the link, and fails only because a deployment is running in the folder.
    refused = service.run("dev", check=False, FIELDSEAL_HOME=str(link))
    assert refused.returncode == 1 and f"another `fieldseal dev` is running in {service.home}" in refused.stderr


@pytest.mark.parametrize("what, words", [
    (None, None), ("owner of the folder", f"another user could change .fieldseal: it belongs to the user with the id {NOBODY}"),
    ("owner of the file", f"another user could change .fieldseal/fieldseal.yaml: it belongs to the user with the id {NOBODY}"),
    ("mode of the folder", "another user could change .fieldseal: others may write to it (mode 777)"),
    ("mode of the file", "another user could change .fieldseal/fieldseal.yaml: others may write to it (mode 666)"),
    ("link", f"another user could change .fieldseal: it belongs to the user with the id {NOBODY}"),
])
def test_settings_in_the_working_folder_are_not_another_users(cluster, tmp_path, what, words):
    """Settings can name a program that the command runs (`kek.command`). Another user's settings must not make root run one."""
    folder, mark = tmp_path / ".fieldseal", tmp_path / "ran"
    folder.mkdir(0o755)
    settings = folder / "fieldseal.yaml"
    lines = [line for line in (cluster.home / "direct.yaml").read_text().splitlines() if not line.startswith("kekFile")]
    command = ["/bin/sh", "-c", f"touch {mark}; cat {cluster.home}/kek"]
    settings.write_text("\n".join([*lines, f"kek: {json.dumps({'command': command})}"]) + "\n")
    settings.chmod(0o644)
    match what and what.split():
        case ["owner", *_, "folder"]:
            os.chown(folder, NOBODY, -1)
        case ["owner", *_, "file"]:
            os.chown(settings, NOBODY, -1)
        case ["mode", *_, "folder"]:
            folder.chmod(0o777)
        case ["mode", *_, "file"]:
            settings.chmod(0o666)
        case ["link"]:
            folder.rename(tmp_path / "elsewhere")
            plant(folder, tmp_path / "elsewhere")
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FIELDSEAL_")}
    done = cluster.run("org", "list", settings=None, check=False, cwd=tmp_path, env=environment)
    assert mark.exists() == (what is None)
    if what is None:
        assert done.returncode == 0 and "contoso" in done.stdout
    else:
        assert done.returncode == 1 and words in done.stderr, done.stderr
    # The control: with --settings, the command uses the file in any case.
    assert cluster.run("org", "list", "--settings", str(settings), settings=None, cwd=tmp_path, env=environment).returncode == 0
