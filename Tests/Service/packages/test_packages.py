"""Builds the Debian packages, checks them with lintian, and installs, upgrades and removes them in a separate root, where the service starts."""

import gzip
import json
import os
import re
import shutil
import signal
import socket
import stat
import subprocess
import time

import pytest
import requests
import scratch
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from package_root import NAMES, SOURCE, SWIFT, WITHOUT_SWIFT, Root, build, configure, notices_until, start
from service import PATIENCE, PROGRAM

@pytest.fixture(scope="module")
def packages():
    folder = scratch.new_folder()
    try:
        yield build(folder)
    finally:
        shutil.rmtree(folder)


@pytest.fixture
def root():
    root = Root()
    try:
        yield root
    finally:
        root.remove()


def test_lintian_has_nothing_to_say(packages):
    said = subprocess.run(
        ["lintian", "--allow-root", "--tag-display-limit", "0", "--fail-on", "none", *packages.values()], capture_output=True, text=True, timeout=PATIENCE, check=True)
    # A debug build names the folder of Swift's libraries, which lintian reports. A release build contains them. The packages of tests are not
    # compressed.
    dynamic = "libswiftCore" in subprocess.run(["readelf", "-d", PROGRAM], capture_output=True, text=True, check=True).stdout
    meant = {"uses-no-compression-for-control-tarball", "uses-no-compression-for-data-tarball"} | ({"custom-library-search-path"} if dynamic else set())
    lines = [line for line in said.stdout.splitlines() if not meant & set(line.split())]
    assert lines == [] and sorted(packages) == NAMES


def test_the_bill_of_materials_names_all_that_is_shipped(packages, tmp_path):
    subprocess.run(["dpkg-deb", "--extract", packages["fieldseal"], tmp_path], check=True)
    documents = tmp_path / "usr/share/doc/fieldseal"
    text = gzip.decompress((documents / "sbom.cdx.json.gz").read_bytes()).decode()
    assert JsonStrictValidator(SchemaVersion.V1_5).validate_str(text) is None
    listed = {c["name"]: c for c in json.loads(text)["components"]}
    pins = json.loads((SOURCE / "Package.resolved").read_text())["pins"]
    assert {p["identity"] for p in pins} | {"swift", "icu", "libpq5", "libssl3", "libcurl4", "libicu72"} <= set(listed)
    # The list also has the libraries inside of the program: those that lintian finds, and others.
    found = re.findall(r"embedded-library (\S+)", (SOURCE / "dist/debian/fieldseal.lintian-overrides").read_text())
    inside = {"libyaml", "boringssl", "llhttp", "zlib", "xkcp"}
    assert found and {*found, *inside} <= set(listed)
    assert all(c.get("licenses") for c in listed.values() if not c["purl"].startswith("pkg:deb"))
    licenses = gzip.decompress((documents / "third-party-licenses.txt.gz").read_bytes()).decode()
    assert all(re.search(rf"^{re.escape(name)} \S", licenses, re.MULTILINE) for name in [p["identity"] for p in pins] + ["swift", "icu", *found, *inside])
    for words in ("UNICODE LICENSE V3", "Unicode, Inc.", "Kirill Simonov", "Runtime Library Exception", "Fedor Indutny", "Jean-loup Gailly", "The BoringSSL Authors"):
        assert words in licenses, words
    # The debugging symbols are in a separate package, under the program's build id.
    subprocess.run(["dpkg-deb", "--extract", packages["fieldseal-dbgsym"], tmp_path], check=True)
    identifier = re.search(r"Build ID: (\w+)", subprocess.run(["readelf", "-n", tmp_path / "usr/bin/fieldseal"], check=True, capture_output=True, text=True).stdout).group(1)
    sections = [subprocess.run(["readelf", "-S", "--wide", file], check=True, capture_output=True, text=True).stdout
                for file in (tmp_path / "usr/bin/fieldseal", tmp_path / f"usr/lib/debug/.build-id/{identifier[:2]}/{identifier[2:]}.debug")]
    assert ".symtab" not in sections[0] and ".debug_info" not in sections[0] and ".debug_info" in sections[1]


def test_code_of_another_author_in_a_package_is_not_overlooked(tmp_path):
    scripts = SOURCE / "scripts"
    trial = (f"import sys, pathlib; sys.path.insert(0, {str(scripts)!r}); import embedded; "
             f"print([file.name for file in embedded.foreign(pathlib.Path({str(tmp_path)!r}), ['package'])])")
    sources = tmp_path / "package/Sources/CPart"
    sources.mkdir(parents=True)
    (sources / "own.c").write_text("// This source file is part of the Part open source project\n// Copyright (c) 2026\nint a;\n")
    (sources / "none.h").write_text("#ifndef NONE\n/* A comment. */\n#endif\n")
    (sources / "other.h").write_text("#ifndef OTHER\n\n/* Copyright (c) 1998 Another Author.\n * All rights reserved. */\n#endif\n")
    assert subprocess.run(["python3", "-c", trial], check=True, capture_output=True, text=True).stdout.strip() == "['other.h']"


def test_the_documentation_has_what_a_recovery_needs(packages, tmp_path):
    """For a machine without the service, docs/recovery.md says where the package has the file."""
    subprocess.run(["dpkg-deb", "--extract", packages["fieldseal-doc"], tmp_path], check=True)
    [named] = re.findall(r"`(/usr/share/doc/fieldseal-doc/\S+\.sql)`", (tmp_path / "usr/share/doc/fieldseal-doc/recovery.md").read_text())
    assert (tmp_path / named[1:]).read_bytes() == (SOURCE / "migrations/recovery.sql").read_bytes()


def test_the_documentation_has_the_rules_and_the_board_that_it_names(packages, tmp_path):
    subprocess.run(["dpkg-deb", "--extract", packages["fieldseal-doc"], tmp_path], check=True)
    folder = tmp_path / "usr/share/doc/fieldseal-doc"
    for name in ("prometheus/fieldseal.rules.yml", "grafana/fieldseal.json"):
        assert (folder / "examples" / name.split("/")[1]).read_bytes() == (SOURCE / "dist" / name).read_bytes()
    # The package has every file that its pages refer to.
    named = {link for page in folder.glob("*.md") for link in re.findall(r"\]\(([^)#:]*(?:dist|examples)/[^)#]+)\)", page.read_text()) if page.name != "README.md"}
    assert named >= {"examples/fieldseal.rules.yml", "examples/fieldseal.json"} and all((folder / link).exists() for link in named if "prometheus" in link or "grafana" in link or link.startswith("examples")), named


def exposure(root, unit):
    said = root.run("systemd-analyze", "security", "--offline=yes", "--no-pager", unit).stdout
    return float(re.search(r"exposure level for \S+: ([\d.]+)", said).group(1))


def record_systemd(root):
    """Makes the root look as if systemd ran it. Returns a function that lists the units that were to restart."""
    root.path("/run/systemd/system").mkdir(parents=True, exist_ok=True)
    for name, script in (("systemctl", "exit 0"), ("deb-systemd-invoke", 'echo "$@" >> /tmp/restarts')):
        file = root.path(f"/usr/local/bin/{name}")
        file.write_text(f"#!/bin/sh\n{script}\n")
        file.chmod(0o755)

    def restarts():
        file = root.path("/tmp/restarts")
        text = file.read_text() if file.exists() else ""
        file.unlink(missing_ok=True)
        return [unit for line in text.splitlines() if line.startswith("try-restart") for unit in line.split()[1:]]
    return restarts


def is_confined(root, pid):
    """Checks that the process uses the unit's folders, and can write nowhere else."""
    assert stat.S_ISSOCK(root.path("/run/fieldseal/api.sock").stat().st_mode)
    events = root.path("/var/log/fieldseal/events.jsonl")
    deadline = time.monotonic() + PATIENCE
    while not (events.exists() and events.read_text()):
        assert time.monotonic() < deadline, "no event is sent"
        time.sleep(0.05)
    for folder, ends in (("/run/fieldseal", 0), ("/var/log/fieldseal", 0), ("/var/lib", 1), ("/etc/fieldseal", 1), ("/usr", 1)):
        made = subprocess.run(["nsenter", f"--target={pid}", "--mount", "--root", "touch", f"{folder}/made"], capture_output=True, text=True, check=False)
        assert made.returncode == ends and (not ends or "Read-only" in made.stderr), (folder, made.stderr)


def has_manual_pages_and_completions(root):
    """Checks that each command has a manual page, and that each shell has completions."""
    commands = re.findall(r"^  (\w+) +\S", root.run("fieldseal", "--help").stdout.split("SUBCOMMANDS:")[1].split("\n\n")[0], re.MULTILINE)
    for page in ["fieldseal.1", "fieldseal.yaml.5"] + [f"fieldseal-{command}.1" for command in commands]:
        shown = root.run("man", "--warnings", "-E", "UTF-8", "-l", f"/usr/share/man/man{page[-1]}/{page}.gz", env={**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "100"})
        assert shown.stderr == "" and len(shown.stdout) > 200, page
    assert "limits.statementSeconds" in gzip.decompress(root.path("/usr/share/man/man5/fieldseal.yaml.5.gz").read_bytes()).decode()
    assert "_fieldseal" in root.run("bash", "-c", "source /usr/share/bash-completion/completions/fieldseal; complete -p fieldseal").stdout
    # zsh and fish load completions from the folders of the package.
    loaded = root.run("zsh", "-c", "autoload -U compinit; compinit -u -D; autoload +X _fieldseal; print -r -- ${_comps[fieldseal]}").stdout
    assert loaded.strip() == "_fieldseal"
    assert root.run("fish", "-c", "complete -C 'fieldseal kek r'").stdout.split("\n")[0].startswith("retire\t")


def is_removed_and_keeps_the_key(root, key):
    """Checks that a purge removes everything except the file of the KEK, which must still contain `key`."""
    root.run("dpkg", "--remove", *NAMES)
    assert not root.path("/usr/bin/fieldseal").exists() and not root.path("/usr/lib/systemd/system/fieldseal.service").exists()
    # `systemctl enable` makes these links.
    links = [f"/etc/systemd/system/{wants}.wants/{unit}" for wants, unit in (
        ("multi-user.target", "fieldseal.service"), ("sockets.target", "fieldseal.socket"), ("timers.target", "fieldseal-doctor.timer"),
        ("multi-user.target", "fieldseal-router@contoso.service"))]
    for link in links:
        root.path(link).parent.mkdir(parents=True, exist_ok=True)
        root.path(link).symlink_to(f"/usr/lib/systemd/system/{link.rsplit('/', 1)[1]}")
    purged = root.run("dpkg", "--purge", *NAMES)
    assert not any(root.path(link).is_symlink() for link in links)
    # Without this file, no password in the database could be opened.
    assert root.path("/etc/fieldseal/kek").read_bytes() == key and "is kept" in purged.stderr
    left = root.run("find", "/usr", "/var/lib/dpkg/info", "-iname", "*fieldseal*").stdout.split()
    assert left == []


def test_installed_started_upgraded_and_removed(packages, root, cluster, tmp_path):
    assert "fieldseal" not in root.run("getent", "passwd").stdout
    root.install(*(packages[name] for name in NAMES))
    # A release build contains Swift's libraries, so it needs no Swift on the machine.
    assert WITHOUT_SWIFT == "true" or not root.path(f"{SWIFT}/usr").exists()
    assert root.run("fieldseal", "--version").stdout.strip() and root.run("getent", "passwd", "fieldseal-router").returncode == 0
    owner = root.path("/etc/fieldseal").stat()
    assert owner.st_mode & 0o7777 == 0o750 and owner.st_uid == 0
    units = [f"fieldseal{end}" for end in (".service", "-doctor.service", "-retention.service", "-router@.service", "-doctor.timer", "-retention.timer", ".socket")]
    for unit in units:
        checked = root.run("systemd-analyze", "verify", "--man=no", f"/usr/lib/systemd/system/{unit}", check=False)
        assert [line for line in checked.stderr.splitlines() if "fieldseal" in line] == []
        assert unit.endswith(("timer", "socket")) or exposure(root, f"/usr/lib/systemd/system/{unit}") <= 2.0
    has_manual_pages_and_completions(root)

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    configure(root, cluster, port)
    # The socket has an abstract name, because the root does not show the socket's folder.
    name = f"fieldseal-test-{port}"
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notices:
        notices.bind(f"\0{name}")
        process = start(root, "fieldseal.service", f"@{name}")
        try:
            notices_until(process, notices, lambda seen: "READY=1" in seen and seen.count("WATCHDOG=1") > 2)
            answer = requests.get(f"https://localhost:{port}/readyz", verify=cluster.home / "package.pem", timeout=PATIENCE)
            assert answer.status_code == 200
            is_confined(root, process.pid)
        finally:
            os.kill(process.pid, signal.SIGTERM)
            errors = process.communicate(timeout=PATIENCE)[1]
        assert process.returncode == 0, errors
        assert notices_until(process, notices, lambda seen: "STOPPING=1" in seen)

    newer = build(tmp_path, "--version", "0.9.9", "--only", "fieldseal")["fieldseal"]
    before = root.path("/etc/fieldseal/kek").read_bytes()
    restarts = record_systemd(root)
    # While a migration is pending, the upgrade does not restart the service: the new program would refuse every organization.
    [(applied,)] = cluster.sql(
        "DELETE FROM config.migration WHERE scope = 'config' AND name = (SELECT max(name) FROM config.migration WHERE scope = 'config') RETURNING to_jsonb(migration)::text")
    waiting = root.install(newer)
    assert not {"fieldseal.service", "fieldseal-router@*.service"} & set(restarts())
    assert "fieldseal migrate up && systemctl restart fieldseal && systemctl try-restart 'fieldseal-router@*.service'" in waiting.stderr
    cluster.sql("INSERT INTO config.migration SELECT (jsonb_populate_record(NULL::config.migration, %s::jsonb)).*", [applied])
    assert "migrate up" not in root.install(newer).stderr
    # The package marks the file as configuration, so an upgrade keeps an operator's changes to it.
    assert "/etc/logrotate.d/fieldseal" in root.run("dpkg-query", "-W", "-f=${Conffiles}", "fieldseal").stdout
    # The routers run the program of this package, so the upgrade restarts them after the service.
    restarted = restarts()
    assert restarted.index("fieldseal.service") < restarted.index("fieldseal-router@*.service")
    assert "0.9.9" in root.run("dpkg-query", "-W", "fieldseal").stdout and root.path("/etc/fieldseal/kek").read_bytes() == before
    is_removed_and_keeps_the_key(root, before)


def test_an_update_finds_each_kind_of_credential(tmp_path):
    """A unit may also contain the text of a credential, on several lines, as `systemd-creds encrypt --pretty` prints it."""
    unit = (
        "[Service]\nLoadCredential=a:/etc/a\nLoadCredentialEncrypted=b:/etc/b\nSetCredential=c:text\n"
        "SetCredentialEncrypted=d: \\\n        Whxqht+dQJax1aZeCGLxmiAA \\\n        AAAB8x==\nUser=fieldseal\n")
    (tmp_path / "unit").write_text(unit)
    tool = tmp_path / "systemctl"
    tool.write_text(f'#!/bin/sh\ncat "{tmp_path}/unit"\n')
    tool.chmod(0o755)
    script = (SOURCE / "dist/debian/fieldseal.postinst").read_text()
    function = re.search(r"^credentials\(\) \{\n.*?^\}\n", script, re.MULTILINE | re.DOTALL)[0]
    said = subprocess.run(
        ["sh", "-ec", f"{function}credentials"], capture_output=True, text=True, check=True, env={"PATH": f"{tmp_path}:{os.environ['PATH']}"}).stdout
    assert said.splitlines() == [
        "LoadCredential=a:/etc/a", "LoadCredentialEncrypted=b:/etc/b", "SetCredential=c:text", "SetCredentialEncrypted=d:Whxqht+dQJax1aZeCGLxmiAAAAAB8x=="]


def test_a_program_that_is_missing_is_named(tmp_path):
    said = subprocess.run([SOURCE / "scripts/packages", "--binary", tmp_path / "none"], capture_output=True, text=True, timeout=PATIENCE, check=False)
    assert said.returncode == 1 and "make packages" in said.stderr
