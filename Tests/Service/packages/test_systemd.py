"""Runs the units of the packages under a separate systemd, with their whole sandbox (booted_root.py)."""

import json
import pathlib
import re
import shutil

import pytest
import scratch
from booted_root import BootedRoot
from cluster import Cluster
from database_passwords import SETTING, asked_for_passwords, connections, password_file
from package_root import SOURCE, build, configure, write_settings

PORT = 8443
DATABASE = "/run/database"
KEK_PAGE = SOURCE / "docs/key-encryption-key.md"
#: The restrictions of a unit, by their names in `systemctl show`.
SANDBOX = {
    "NoNewPrivileges": "yes", "ProtectSystem": "strict", "ProtectHome": "yes", "PrivateTmp": "yes", "PrivateDevices": "yes", "PrivateUsers": "yes",
    "PrivateIPC": "yes", "ProtectClock": "yes", "ProtectControlGroups": "yes", "ProtectHostname": "yes", "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes", "ProtectKernelTunables": "yes", "ProtectProc": "invisible", "ProcSubset": "pid", "CapabilityBoundingSet": "",
    "AmbientCapabilities": "", "KeyringMode": "private", "LockPersonality": "yes", "MemoryDenyWriteExecute": "yes", "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_UNIX", "RestrictNamespaces": "yes", "RestrictRealtime": "yes", "RestrictSUIDSGID": "yes",
    "SystemCallArchitectures": "native", "UMask": "0077", "LimitCORE": "0"}
UNITS = ["fieldseal.service", "fieldseal-doctor.service", "fieldseal-retention.service", "fieldseal-router@contoso.service"]
SERVICE = UNITS[0]


class Machine(BootedRoot):
    """A root with systemd, the packages and their configuration, and a PostgreSQL server."""

    def __init__(self, cluster, packages):
        super().__init__({DATABASE: cluster.home})
        try:
            self.cluster = cluster
            self.install(*packages.values())
            configure(self, cluster, PORT, DATABASE, retention={"emailDays": 400, "folder": "/var/lib/fieldseal/archive"})
            self.path("/tmp/of-this-machine").touch()
        except BaseException:
            self.remove()
            raise

    def settle(self, **changes):
        """Writes the settings for the next start."""
        write_settings(self, self.cluster, PORT, DATABASE, **changes)

    def start(self, unit=SERVICE):
        done = self.run("systemctl", "start", unit, check=False)
        assert done.returncode == 0, (done.stderr, self.journal(unit))

    def stop(self, unit=SERVICE):
        self.run("systemctl", "stop", unit)

    def get(self, path, *options):
        """The status and the body of the service's response, requested inside of the root."""
        answer = self.run("curl", "--silent", "--show-error", "--cacert", "/etc/fieldseal/server.pem", "--write-out", "\n%{http_code}", *options, f"https://localhost:{PORT}{path}")
        body, _, status = answer.stdout.rpartition("\n")
        return int(status), body

    def process(self, unit=SERVICE):
        return self.show(unit, "MainPID")


@pytest.fixture(scope="module")
def cluster():
    # With fsync on, the doctor has no finding about PostgreSQL.
    cluster = Cluster("fsync=on")
    try:
        # Showing the key counts as a copy, so the doctor has no finding about it.
        cluster.run("key", "show")
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def machine(cluster):
    folder = scratch.new_folder()
    machine = None
    try:
        packages = build(folder)
        machine = Machine(cluster, {name: packages[name] for name in ("fieldseal", "fieldseal-router")})
        yield machine
    finally:
        if machine:
            machine.remove()
        shutil.rmtree(folder)


@pytest.fixture(autouse=True)
def as_installed(machine):
    """After each test, stops the units, and restores the units and settings as installed."""
    yield
    for unit in ("fieldseal.socket", SERVICE, UNITS[3]):
        machine.stop(unit)
    for unit in UNITS:
        machine.edit(unit)
    machine.run("systemctl", "reset-failed")
    machine.settle()


def test_the_service_starts_answers_and_stops(machine):
    machine.start()
    state = machine.show(SERVICE, "ActiveState", "SubState", "Type", "StatusErrno", "NRestarts", "WatchdogUSec")
    assert state == {"ActiveState": "active", "SubState": "running", "Type": "notify", "StatusErrno": "0", "NRestarts": "0", "WatchdogUSec": "1min"}
    assert machine.get("/readyz")[0] == 200
    # The unit's sandbox allows the paths of socket.path and events.file. A proxy would connect to this socket.
    machine.run("curl", "--silent", "--fail", "--unix-socket", "/run/fieldseal/api.sock", "http://localhost/readyz")
    events = machine.path("/var/log/fieldseal/events.jsonl")
    machine.wait(lambda: events.exists() and events.read_text())
    assert events.stat().st_mode & 0o777 == 0o600
    # After a reload, the service has the same process.
    process = machine.process()
    machine.run("systemctl", "reload", SERVICE)
    assert machine.get("/readyz")[0] == 200 and machine.process() == process
    machine.stop()
    # systemd forgets a stopped unit, so the journal must show how it ended.
    assert machine.show(SERVICE, "ActiveState") == "inactive"
    journal = machine.journal(SERVICE)
    own = machine.run("journalctl", "--no-pager", "--output=cat", f"--unit={SERVICE}", "_COMM=fieldseal").stdout.splitlines()
    assert own and all(line.startswith("{") for line in own), own
    assert '"message":"stopped"' in journal and f"{SERVICE}: Deactivated successfully." in journal and "Failed with result" not in journal, journal


def test_a_service_that_hangs_is_started_again(machine):
    machine.edit(SERVICE, "WatchdogSec=2", "WatchdogSignal=KILL")
    machine.start()
    fed = machine.show(SERVICE, "WatchdogTimestampMonotonic")
    machine.wait(lambda: int(machine.show(SERVICE, "WatchdogTimestampMonotonic")) > int(fed) + 4_000_000)
    process = machine.process()
    assert machine.show(SERVICE, "NRestarts") == "0"
    machine.run("kill", "-STOP", process)
    machine.wait(lambda: machine.show(SERVICE, "NRestarts") == "1" and machine.show(SERVICE, "ActiveState") == "active")
    assert machine.process() != process and machine.get("/readyz")[0] == 200
    assert "Watchdog timeout" in machine.journal(SERVICE)


@pytest.mark.parametrize("unit", UNITS)
def test_the_sandbox_of_a_unit_is_set(machine, unit):
    assert machine.show(unit, *SANDBOX) == SANDBOX
    assert "ptrace" not in machine.show(unit, "SystemCallFilter").split() and "mount" not in machine.show(unit, "SystemCallFilter").split()
    report = json.loads(machine.run("systemd-analyze", "security", "--json=short", "--no-pager", unit).stdout)
    assert sum(line["exposure"] and float(line["exposure"]) or 0 for line in report) <= 2.0


@pytest.mark.parametrize("unit", UNITS)
def test_a_unit_has_limits_of_what_it_may_take(machine, unit):
    limits = {name: int(value) for name, value in machine.show(unit, "MemoryMax", "TasksMax", "LimitNOFILE").items()}
    assert 1 << 30 <= limits["MemoryMax"] <= 4 << 30 and 512 <= limits["TasksMax"] <= 4096 and 8192 <= limits["LimitNOFILE"] <= 65536, limits
    # The page gives these limits, and says how an operator changes them.
    row = next(line for line in (SOURCE / "docs/operations.md").read_text().splitlines() if line.startswith(f"| `{unit.replace('@contoso', '@')}` |") and "MemoryMax" not in line and " G" in line)
    assert f"{limits['MemoryMax'] >> 30} GiB" in row and f"{limits['TasksMax']:,}" in row and f"{limits['LimitNOFILE']:,}" in row


def test_a_service_is_started_again_until_its_database_is_back(machine):
    """systemd also counts starts by a person. A unit that reaches systemd's limit would stay failed, so these units have no limit."""
    machine.start()
    machine.cluster.stop()
    try:
        for _ in range(8):
            machine.run("systemctl", "restart", SERVICE, check=False)
        machine.wait(lambda: int(machine.show(SERVICE, "NRestarts")) > 2)
    finally:
        machine.cluster.start()
    machine.wait(lambda: machine.show(SERVICE, "ActiveState") == "active" and machine.get("/readyz")[0] == 200)
    assert "start-limit-hit" not in machine.journal(SERVICE) and "repeated too quickly" not in machine.journal(SERVICE)
    for unit in (SERVICE, UNITS[3]):
        assert machine.show(unit, "StartLimitIntervalUSec") == "0"


def test_what_has_to_be_corrected_is_not_tried_again(machine):
    """With the KEK of another deployment, or with an unknown setting, another start would fail too. So systemd does not try."""
    machine.run("runuser", "-u", "fieldseal", "--", "fieldseal", "kek", "create", "/tmp/other-kek")
    for changes, words in (({"kekFile": "/tmp/other-kek"}, "key-encryption key"), ({"kekfile": "x"}, "unknown key kekfile")):
        machine.settle(**changes)
        assert machine.run("systemctl", "start", SERVICE, check=False).returncode
        assert machine.show(SERVICE, "Result", "ExecMainStatus", "NRestarts", "SubState") == {
            "Result": "exit-code", "ExecMainStatus": "78", "NRestarts": "0", "SubState": "failed"}, machine.journal(SERVICE)
        assert words in machine.journal(SERVICE)
        machine.run("systemctl", "reset-failed")


def probe(machine, *command):
    said = machine.run(*command, "/usr/bin/python3", "/etc/fieldseal/probe.py").stdout
    return json.loads(said[said.index("{"):said.rindex("}") + 1])


def test_the_sandbox_of_the_service_is_in_force(machine):
    shutil.copyfile(pathlib.Path(__file__).with_name("sandbox_probe.py"), machine.path("/etc/fieldseal/probe.py"))
    allowed = ["write its folder", "a TCP socket"]
    # Without the sandbox, the same user can do everything that the probe tries.
    free = probe(machine, "systemd-run", "--wait", "--pipe", "--quiet", "--property=User=fieldseal", "--property=RuntimeDirectory=fieldseal", "--property=RuntimeDirectoryPreserve=yes")
    assert free["not done"] == [] and set(allowed) < set(free["done"])
    machine.edit(SERVICE, "ExecStartPre=/usr/bin/python3 /etc/fieldseal/probe.py")
    machine.start()
    [line] = [line for line in machine.journal(SERVICE).splitlines() if '{"done"' in line]
    assert json.loads(line[line.index("{"):])["done"] == allowed
    # The service's process has no capabilities and gets no new privileges, and its system calls are filtered.
    status = dict(line.split(":\t", 1) for line in machine.path(f"/proc/{machine.process()}/status").read_text().splitlines() if ":\t" in line)
    assert [status[name].strip() for name in ("CapBnd", "CapEff", "NoNewPrivs", "Seccomp")] == ["0" * 16, "0" * 16, "1", "2"]
    uid = machine.run("id", "--user", "fieldseal").stdout.strip()
    assert status["Uid"].split() == [uid] * 4


def encrypted(machine):
    """Encrypts the KEK as docs/key-encryption-key.md says, with the machine's key in /var/lib/systemd."""
    machine.run("systemd-creds", "encrypt", "--with-key=host", "--name=kek", "/etc/fieldseal/kek", "/etc/fieldseal/kek.cred")
    return {"credential": "kek"}, ["LoadCredentialEncrypted=kek:/etc/fieldseal/kek.cred"]


def by_command(machine):
    machine.run("age-keygen", "-o", "/etc/fieldseal/identity")
    machine.run("chown", "fieldseal:fieldseal", "/etc/fieldseal/identity")
    machine.run("bash", "-ec", 'age --encrypt --recipient "$(age-keygen -y /etc/fieldseal/identity)" --output /etc/fieldseal/kek.age /etc/fieldseal/kek')
    return {"command": ["/usr/bin/age", "--decrypt", "-i", "/etc/fieldseal/identity", "/etc/fieldseal/kek.age"]}, []


@pytest.mark.parametrize("source", [encrypted, by_command])
def test_the_key_comes_from_elsewhere_than_a_file(machine, source):
    setting, lines = source(machine)
    for unit in UNITS[:3]:
        machine.edit(unit, *lines)
    machine.settle(kekFile=None, kek=setting)
    machine.start()
    assert machine.get("/readyz")[0] == 200
    for unit in UNITS[1:3]:
        machine.start(unit)
    if lines:
        # A command gets the credential as the page shows.
        [command] = re.findall(r"^systemd-run .*$", KEK_PAGE.read_text(), re.MULTILINE)
        assert "fingerprint" in machine.run("bash", "-ec", command).stdout
        # Without the drop-in, the service has no credential and does not start.
        machine.stop()
        machine.edit(SERVICE)
        assert machine.run("systemctl", "start", SERVICE, check=False).returncode
        assert "systemd passed no credentials" in machine.journal(SERVICE)


def test_the_passwords_of_the_database_are_an_encrypted_credential(machine):
    with asked_for_passwords(machine.cluster):
        passwords = machine.path("/etc/fieldseal/pgpass")
        passwords.write_text(password_file())
        machine.run("systemd-creds", "encrypt", "--with-key=host", "--name=pgpass", "/etc/fieldseal/pgpass", "/etc/fieldseal/pgpass.cred")
        passwords.unlink()
        for unit in UNITS[:3]:
            machine.edit(unit, "LoadCredentialEncrypted=pgpass:/etc/fieldseal/pgpass.cred")
        machine.settle(**connections(DATABASE), **{SETTING: {"credential": "pgpass"}})
        machine.start()
        assert machine.get("/readyz")[0] == 200
        for unit in UNITS[1:3]:
            machine.start(unit)
        machine.stop()


def test_an_upgrade_takes_effect_with_the_credentials_of_the_service(machine, tmp_path):
    """The upgrade's check for pending migrations needs the database's passwords. So does the command that the upgrade prints."""
    newer = build(tmp_path, "--version", "0.9.9", "--only", "fieldseal")["fieldseal"]
    with asked_for_passwords(machine.cluster):
        passwords = machine.path("/etc/fieldseal/pgpass")
        passwords.write_text(password_file())
        for name, source in (("pgpass", "/etc/fieldseal/pgpass"), ("kek", "/etc/fieldseal/kek")):
            machine.run("systemd-creds", "encrypt", "--with-key=host", f"--name={name}", source, f"/etc/fieldseal/{name}.cred")
        passwords.unlink()
        machine.edit(SERVICE, "LoadCredentialEncrypted=pgpass:/etc/fieldseal/pgpass.cred", "LoadCredentialEncrypted=kek:/etc/fieldseal/kek.cred")
        machine.settle(**connections(DATABASE), **{SETTING: {"credential": "pgpass"}, "kekFile": None, "kek": {"credential": "kek"}})
        machine.start()
        before = machine.process()
        said = machine.install(newer).stderr
        assert "migrate up" not in said, said
        machine.wait(lambda: machine.process() not in (before, "0") and machine.show(SERVICE, "ActiveState") == "active")
        # A migration is pending, so the upgrade does not restart the service. The command that it prints migrates and restarts.
        before = machine.process()
        [(down,)] = machine.cluster.sql(
            "DELETE FROM config.migration WHERE scope = 'config' AND name = (SELECT max(name) FROM config.migration WHERE scope = 'config') RETURNING to_jsonb(migration)::text")
        try:
            waiting = machine.install(newer).stderr
            assert f"still run the former program: config: pending {json.loads(down)['name']}" in waiting and machine.process() == before, waiting
            [command] = [line.removeprefix("Next, as root:  ") for line in waiting.splitlines() if line.startswith("Next, as root:  ")]
        finally:
            machine.cluster.sql("INSERT INTO config.migration SELECT (jsonb_populate_record(NULL::config.migration, %s::jsonb)).*", [down])
        assert command.count("LoadCredentialEncrypted") == 2
        machine.run("bash", "-ec", command)
        machine.wait(lambda: machine.process() not in (before, "0") and machine.get("/readyz")[0] == 200)
        machine.stop()


@pytest.mark.parametrize("unit", UNITS[1:3])
def test_what_runs_at_night_ends_well(machine, unit):
    machine.start(unit)
    assert machine.show(unit, "Result", "ExecMainStatus") == {"Result": "success", "ExecMainStatus": "0"}
    assert "thread priority" not in machine.journal(unit)
    timer = unit.replace(".service", ".timer")
    machine.run("systemctl", "start", timer)
    assert machine.show(timer, "ActiveState", "Unit") == {"ActiveState": "active", "Unit": unit}
    machine.stop(timer)


def test_a_client_that_connects_while_the_service_is_restarted_waits(machine):
    machine.run("systemctl", "start", "fieldseal.socket")
    assert machine.get("/readyz")[0] == 200 and machine.show(SERVICE, "ActiveState") == "active"
    before = machine.process()
    machine.run("systemctl", "restart", "--no-block", SERVICE)
    answers = []
    machine.wait(lambda: answers.append(machine.get("/healthz")[0]) or machine.process() not in (before, "0") and machine.show(SERVICE, "ActiveState") == "active")
    assert set(answers) == {200}


#: The command blocks of docs/router.md: for a client, for a router, and for another secret.
ROUTER = re.findall(r"^```sh\n(.*?)^```$", (SOURCE / "docs/router.md").read_text(), re.MULTILINE | re.DOTALL)


def follow(machine, block):
    """Runs a block of the page. As a person would, writes the printed id and secret of a client into the two files."""
    options, secret = machine.path("/etc/fieldseal/router-contoso.env"), machine.path("/root/router.secret")
    said = ""
    for line in block.splitlines():
        if line.startswith("editor "):
            text = options.read_text().replace("crm.example.com:8443", f"localhost:{PORT}")
            options.write_text(text.replace("00000000-0000-0000-0000-000000000000", f"{machine.router_id} --ca-file /etc/ssl/mail-ca.pem"))
            continue
        said = machine.run("bash", "-ec", f"cd /root\n{line}").stdout
        if found := re.search(r"client secret +(\S+)", said):
            secret.write_text(f"{found[1]}\n")
            machine.router_id = re.search(r"client id +(\S+)", said)[1]
    return said


def test_a_router_is_set_up_and_gets_another_secret_as_the_page_says(machine):
    router = UNITS[3]
    shutil.copyfile(machine.path("/etc/fieldseal/server.pem"), machine.path("/etc/ssl/mail-ca.pem"))
    machine.edit(router, "WatchdogSec=2")
    machine.start()
    client, start, rotate = ROUTER
    follow(machine, client)
    follow(machine, start)
    fed = machine.show(router, "WatchdogTimestampMonotonic")
    machine.wait(lambda: int(machine.show(router, "WatchdogTimestampMonotonic")) > int(fed) + 4_000_000)
    assert machine.show(router, "ActiveState", "NRestarts") == {"ActiveState": "active", "NRestarts": "0"}
    # Waits until the router has signed in and asked for work.
    machine.wait(lambda: machine.cluster.sql("SELECT count(*) FROM mail_router") != [(0,)])
    before = machine.path("/etc/fieldseal/router-contoso.secret").read_text()
    follow(machine, rotate)
    assert machine.path("/etc/fieldseal/router-contoso.secret").read_text() != before and not machine.path("/root/router.secret").exists()
    machine.wait(lambda: machine.show(router, "ActiveState") == "active")
    machine.stop(router)
    assert f"{router}: Deactivated successfully." in machine.journal(router) and "not accepted" not in machine.journal(router)
