"""Tries the settings and commands that the units in dist/ advise."""

import json
import os
import re
import shlex
import shutil

import pytest
import requests
from cluster import Cluster
from package_root import SOURCE, writable
from server import Server, serve_settings
from service import PATIENCE

#: The units that need the KEK.
UNITS = ["fieldseal", "fieldseal-doctor", "fieldseal-retention"]


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster("fsync=on")
    try:
        # Showing the key counts as a copy, so the doctor has no finding about it.
        cluster.run("key", "show")
        yield cluster
    finally:
        cluster.remove()


def text_of(unit):
    return (SOURCE / f"dist/{unit}.service").read_text()


def advice(unit):
    """The credential's name, and the key and value of the setting, read from a comment in the unit."""
    text = text_of(unit)
    assert text.count("LoadCredentialEncrypted=") == 1
    name = re.search(r"^#   LoadCredentialEncrypted=(\w+):/etc/fieldseal/\S+$", text, re.MULTILINE)[1]
    key, value = re.search(r"^# with the setting ([\w.]+): (\S+)$", text, re.MULTILINE).groups()
    return name, key, value


@pytest.fixture
def advised(cluster, request, tmp_path):
    """Writes settings as the unit advises, and the credential as systemd passes it. Returns the unit's command and its environment."""
    name, key, value = advice(request.param)
    folder = tmp_path / "credentials"
    folder.mkdir()
    shutil.copyfile(cluster.home / "kek", folder / name)
    # systemd grants access with an access control list. The list's mask shows as the permissions of the group.
    (folder / name).chmod(0o440)
    outer, inner = key.split(".")
    lines = [line for line in (cluster.home / "direct.yaml").read_text().splitlines() if not line.startswith("kekFile")]
    (cluster.home / "advised.yaml").write_text("\n".join([*lines, f"{outer}: {json.dumps({inner: value})}"]) + "\n")
    program, *command = shlex.split(re.search("^ExecStart=(.+)$", text_of(request.param), re.MULTILINE)[1])
    assert program == "/usr/bin/fieldseal" and command[-2:] == ["--settings", "/etc/fieldseal/fieldseal.yaml"]
    return command[:-2], {"CREDENTIALS_DIRECTORY": str(folder)}


@pytest.mark.parametrize("advised", UNITS, indirect=True)
def test_a_unit_gets_the_key_as_it_advises(cluster, advised, monkeypatch):
    command, environment = advised
    monkeypatch.delenv("CREDENTIALS_DIRECTORY", raising=False)
    # `serve` also needs a listener in its settings.
    refused = cluster.run(*command, settings=serve_settings(cluster, "advised").stem, check=False)
    assert refused.returncode and "systemd passed no credentials" in refused.stdout + refused.stderr
    if command != ["serve"]:
        done = cluster.run(*command, settings="advised", check=False, env={**os.environ, **environment})
        assert done.returncode == 0, done.stdout + done.stderr
        assert "key-encryption key" not in done.stdout + done.stderr
        return
    monkeypatch.setenv("CREDENTIALS_DIRECTORY", environment["CREDENTIALS_DIRECTORY"])
    server = Server(cluster, settings="advised")
    try:
        assert server.request("GET", "WhoAmI").status_code == 200
        assert requests.get(f"{server.base}/readyz", verify=cluster.home / "server.pem", timeout=PATIENCE).status_code == 200
    finally:
        server.stop()


def test_each_folder_that_the_documentation_names_is_one_that_its_unit_may_write_to():
    page = (SOURCE / "docs/operations.md").read_text()
    rows = re.findall(r"^\| `(/\S+)` \| `(\S+)\.service` \| `([\w.]+): (\S+)` \|$", page, re.MULTILINE)
    assert {setting for _, _, setting, _ in rows} == {"socket.path", "events.file", "retention.folder"}
    for folder, unit, setting, path in rows:
        assert folder in writable(text_of(unit)) and (path == folder or path.startswith(f"{folder}/")), setting
        # The package makes this folder too, because `config check` may run before the unit was started.
        assert re.search(rf"install -d .* {folder}(\s|$)", (SOURCE / "dist/debian/fieldseal.postinst").read_text(), re.MULTILINE), folder
    sample = (SOURCE / "dist/debian/fieldseal.yaml").read_text()
    assert re.search(r"folder: (/\S+?)\}", sample)[1] in writable(text_of("fieldseal-retention"))


def test_the_page_advises_what_the_units_advise():
    page = (SOURCE / "docs/key-encryption-key.md").read_text()
    part = page[page.index("### A credential of systemd"):page.index("### A PKCS#11 token")]
    [edited] = re.findall(r"^systemctl edit (.+)$", part, re.MULTILINE)
    assert edited.split() == [f"{unit}.service" for unit in UNITS]
    for unit in UNITS:
        name, key, value = advice(unit)
        outer, inner = key.split(".")
        assert f"LoadCredentialEncrypted={name}:" in part and f"{outer}: {{{inner}: {value}}}" in part
