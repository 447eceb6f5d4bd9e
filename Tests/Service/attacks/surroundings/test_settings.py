"""Wrong settings, and the messages that name the error."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess

import pytest
from server import Server
from service import PROGRAM


@pytest.fixture(scope="module")
def good(cluster):
    """The text of correct settings."""
    home = cluster.home
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", home / "good.key", "-out", home / "good.pem"], check=True, capture_output=True)
    return (home / "direct.yaml").read_text() + f'https:\n  certificateFile: "{home}/good.pem"\n  privateKeyFile: "{home}/good.key"\n'


def check(cluster, text, *options, **environment):
    path = cluster.home / "checked.yaml"
    path.write_text(text)
    environment = {**{k: v for k, v in os.environ.items() if not k.startswith("FIELDSEAL_")}, **environment}
    return subprocess.run(
        [PROGRAM, "config", "check", "--settings", str(path), *options], capture_output=True, text=True, timeout=60, env=environment)


BAD = [
    ("connections: many", "connections takes 2 to 1000, not many"),
    ("connections: 16.5", "connections takes 2 to 1000, not 16.5"),
    ("connections: 1", "connections takes 2 to 1000, not 1"),
    ("connections: 0x10", "connections takes 2 to 1000"),
    ("connections: '1_6'", "connections takes 2 to 1000"),
    ("connections: true", "connections takes 2 to 1000"),
    ("connections: [16]", "connections takes 2 to 1000"),
    ("connections: {a: 1}", "connections takes 2 to 1000"),
    ("connections:", "connections takes 2 to 1000, not nothing"),
    ("connections: 99999999999999999999", "connections takes 2 to 1000"),
    ("keys: {iterations: lots}", "keys.iterations takes 210000"),
    ("limits: {connections: x}", "limits.connections takes 1"),
    ("limits: {clientRequests: none}", "limits.clientRequests takes 1"),
    ("mail: {attempts: ten}", "mail.attempts takes 1 to 100"),
    ("mail: {allowsPlaintext: maybe}", "mail.allowsPlaintext takes true or false, not maybe"),
    ("mail: {allowsPlaintext: 1}", "mail.allowsPlaintext takes true or false"),
    ("mail: {allowsPlaintext: yes}", "mail.allowsPlaintext takes true or false"),
    ("kekCopyFile: [1, 2]", "kekCopyFile takes the path of a file, not a list"),
    ("kekCopyFile: 5", "kekCopyFile takes the path of a file"),
    ("baseURL: nonsense", "baseURL takes an address such as https://"),
    ("baseURL: http://x", "baseURL takes an address such as https://"),
    ("baseURL: https://x/path", "baseURL takes an address such as https://"),
    ("baseURL: https://user@x", "baseURL takes an address such as https://"),
    ("baseURL: https://x:99999", "baseURL takes an address such as https://"),
    ("baseURL: 'https://x?y'", "baseURL takes an address such as https://"),
    ("log: {level: loud}", "log.level takes one of trace"),
    ("log: {level: 1}", "log.level takes one of trace"),
    ("log: loud", "has log without settings below it"),
    ("http: {port: abc}", "http.port takes 0 to 65535, not abc"),
    ("http: {port: 65536}", "http.port takes 0 to 65535"),
    ("http: {host: 'https://x'}", "http.host takes a text"),
    ('http: {host: "a\\0b"}', "U+0000"),
    ("conections: 5", "unknown key conections; the nearest is connections"),
    ("limits: {requestz: 5}", "unknown key limits.requestz; the nearest is limits.requests"),
    ("http.port: 80", "https.port is written as port below https"),
    ("connections: 5\nconnections: 6", "has connections twice"),
    ("http: {port: 1, port: 2}", "has port twice"),
    ("- a", "neither YAML nor JSON"),
    ("{", "neither YAML nor JSON"),
    ("a: b: c", "neither YAML nor JSON"),
    ("\tx: 1", "neither YAML nor JSON"),
]


@pytest.mark.parametrize("text, message", BAD, ids=[text for text, _ in BAD])
def test_a_setting_that_does_not_fit_is_refused_by_name_and_line(cluster, good, text, message):
    result = check(cluster, good + text + "\n")
    assert result.returncode == 1 and message in result.stderr, result.stderr
    assert re.search(r"checked\.yaml line \d+|at line \d+", result.stderr), result.stderr
    # The message quotes only the wrong part of the file.
    assert "fieldseal_service" not in result.stderr and "Usage" not in result.stderr


def test_a_connection_string_that_does_not_fit_is_not_quoted(cluster, good):
    for text in ("database: 5", "database: 'password=s3cret nonsense'", "database: [s3cret]", "database:"):
        result = check(cluster, re.sub(r"^database:.*$", text, good, flags=re.M))
        assert result.returncode == 1 and "database" in result.stderr and "s3cret" not in result.stderr, result.stderr
    result = check(cluster, 'database: "host=x password=s3cret"\n\t: [')
    assert result.returncode == 1 and "line 2" in result.stderr and "s3cret" not in result.stderr
    result = check(cluster, json.dumps({"database": 5}))
    assert "database takes a libpq connection string" in result.stderr
    result = check(cluster, "kekFile: x\n")
    assert "the settings lack database" in result.stderr


ENVIRONMENT = [
    ("FIELDSEAL_HTTPS_PORT", "abc", "https.port takes 0 to 65535, not abc (FIELDSEAL_HTTPS_PORT)"),
    ("FIELDSEAL_CONNECTIONS", "many", "connections takes 2 to 1000, not many (FIELDSEAL_CONNECTIONS)"),
    ("FIELDSEAL_MAIL_ALLOWS_PLAINTEXT", "TRUE", "mail.allowsPlaintext takes true or false"),
    ("FIELDSEAL_BASE_URL", "http://x", "baseURL takes"),
    ("FIELDSEAL_HTTP_PORTS", "1", "unknown variable FIELDSEAL_HTTP_PORTS; the nearest is FIELDSEAL_HTTP_PORT"),
    ("FIELDSEAL_KEKFILE", "/x", "unknown variable FIELDSEAL_KEKFILE; the nearest is FIELDSEAL_KEK_FILE"),
]


@pytest.mark.parametrize("name, value, message", ENVIRONMENT, ids=[name for name, _, _ in ENVIRONMENT])
def test_a_variable_that_does_not_fit_is_refused_by_name(cluster, good, name, value, message):
    result = check(cluster, good, **{name: value})
    assert result.returncode == 1 and message in result.stderr, result.stderr


def test_values_that_fit_are_taken_and_shown_with_their_types(cluster, good):
    """A number or Bool in quotes is accepted, because Helm, Ansible and Compose write it so. Environment variables that other programs set are ignored."""
    text = good + 'connections: "20"\nlimits: {clientRequests: 5, requests: "7"}\nmail: {allowsPlaintext: "true"}\nkekCopyFile: ""\nlog:\n'
    result = check(
        cluster, text, "--json", FIELDSEAL_HTTPS_PORT="9443", FIELDSEAL_HTTP_PORT="", FIELDSEAL_TEST_POSTGRES="x",
        FIELDSEAL_HOME="/nowhere", FIELDSEAL_SERVICE_HOST="10.0.0.1", FIELDSEAL_PORT="tcp://10.0.0.1:8443",
        FIELDSEAL_PORT_8443_TCP_ADDR="10.0.0.1")
    assert result.returncode == 0, result.stderr
    shown = json.loads(result.stdout)["settings"]
    assert shown["connections"] == 20 and shown["limits.requests"] == 7 and shown["limits.clientRequests"] == 5
    assert shown["mail.allowsPlaintext"] is True and shown["kekCopyFile"] is None and shown["http.port"] is None
    assert shown["https.port"] == 9443 and shown["baseURL"] == "https://localhost:9443" and shown["log.level"] == "info"


def test_the_page_has_every_setting_with_its_default_and_no_other(cluster, good):
    page = (pathlib.Path(__file__).parents[4] / "docs/operations.md").read_text()
    table = page[page.index("## Settings"):page.index("## Roles in PostgreSQL")]
    documented = {key for line in table.splitlines() if line.startswith("| `") for key in re.findall(r"`([a-zA-Z0-9.]+)`", line.split("|")[1])}
    shown = json.loads(check(cluster, good, "--json").stdout)["settings"]
    assert documented == set(shown)
    for line in table.splitlines():
        if line.startswith("| `"):
            keys, default = line.split("|")[1:3]
            for key, text in zip(re.findall(r"`([a-zA-Z0-9.]+)`", keys), default.split(",")):
                if re.fullmatch(r"[1-9]\d*|0", text.strip()):
                    assert shown[key] == int(text.strip()), key


def certificate(cluster, name, days="90"):
    path = cluster.home / name
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", days, "-subj", "/CN=localhost",
         "-keyout", f"{path}.key", "-out", f"{path}.pem"], check=True, capture_output=True)
    return path


def test_certificates_that_can_not_be_used_are_named(cluster, good):
    home = cluster.home
    other = certificate(cluster, "other")
    soon = certificate(cluster, "soon", "5")
    (home / "garbage.pem").write_text("no certificate\n")
    cases = [
        ({"good.pem": "missing.pem"}, f"{home}/missing.pem can't be read: there is no such file"),
        ({"good.pem": "garbage.pem"}, f"{home}/garbage.pem holds no certificate"),
        ({"good.key": "missing.key"}, f"{home}/missing.key can't be read"),
        ({"good.key": "garbage.pem"}, f"{home}/garbage.pem holds no private key"),
        ({"good.key": other.name + ".key"}, "does not belong to the certificate"),
    ]
    for replaced, message in cases:
        text = good
        for old, new in replaced.items():
            text = text.replace(old, new)
        result = check(cluster, text)
        assert result.returncode == 1 and message in result.stdout, result.stdout
        # `serve` ends with the same messages and prints nothing else.
        served = subprocess.run(
            [PROGRAM, "serve", "--settings", str(home / "checked.yaml")], capture_output=True, text=True, timeout=60)
        assert served.returncode == 78 and message in served.stderr and "errno" not in served.stderr, served.stderr
    result = check(cluster, good.replace("good.", f"{soon.name}."))
    assert result.returncode == 0 and "expires in 4 days" in result.stdout, result.stdout
    # The settings of the tests migrate as a superuser. That is the only note.
    notes = [line for line in check(cluster, good).stdout.splitlines() if line.startswith("note")]
    assert len(notes) == 1 and "a superuser" in notes[0], notes


def test_a_port_that_is_taken_is_named(cluster, good):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        (cluster.home / "taken.yaml").write_text(good.replace("https:\n", f"https:\n  host: 127.0.0.1\n  port: {port}\n"))
        result = cluster.run("serve", settings="taken", check=False)
    assert result.returncode == 1 and f"port {port} is taken" in result.stderr and "https.port" in result.stderr
    assert "errno" not in result.stderr and "CancellationError" not in result.stderr


def test_messages_of_commands(cluster):
    cluster.run("org", "create", "fabrikam")
    result = cluster.run("key", "status", "--org", "nosuch", check=False)
    assert result.returncode == 1 and "no organization nosuch" in result.stderr and "contoso, fabrikam" in result.stderr
    result = cluster.run("user", "add", "x", "--role", "Basic User", "--org", "contoso", check=False)
    assert result.returncode == 1 and "The password is empty" in result.stderr and "Usage" not in result.stderr
    result = cluster.run("user", "add", "x", "--role", "Basic User", "--org", "contoso", stdin="a\0password-of-x\n", check=False)
    assert result.returncode == 1 and "U+0000" in result.stderr
    assert cluster.run("user", "list", "--org", "contoso", "--json").stdout.strip() == "[]"
    result = cluster.run("key", "purge", "1", "--org", "contoso", check=False)
    assert result.returncode == 1 and "Usage" not in result.stderr
    listed = cluster.run("user", "add", "--help", settings=None).stdout
    assert "Email Router" not in listed
    result = cluster.run("user", "add", "x", "--role", "Email Router", "--org", "contoso", check=False)
    assert result.returncode == 64 and "Email Router" in result.stderr and "Basic User" in result.stderr


# The process


def status(pid):
    return dict(line.split(":", 1) for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines())


def test_a_server_outlives_signals_and_its_memory_is_not_for_others(cluster):
    server = Server(cluster)
    try:
        pid = server.process.pid
        for number in (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
            server.process.send_signal(number)
            assert server.request("GET", "WhoAmI").status_code == 200
        assert server.process.poll() is None
        limits = pathlib.Path(f"/proc/{pid}/limits").read_text()
        assert re.search(r"Max core file size +0 +0 ", limits)
        assert server.request("POST", "mailboxes", {"name": "x", "password": "s3cret"}).status_code == 204
        assert int(status(pid)["VmLck"].split()[0]) > 0
        flags = re.findall(r"^VmFlags: (.*)$", pathlib.Path(f"/proc/{pid}/smaps").read_text(), re.M)
        secret = [f for f in flags if "lo" in f.split()]
        assert secret and all("dd" in f.split() and "wf" in f.split() for f in secret), secret
    finally:
        server.stop()
    assert server.process.returncode == 0


def test_a_process_of_an_ordinary_user_can_not_be_read_by_that_user():
    """A process that may not be dumped: the kernel makes root the owner of its files in /proc."""
    arguments = ["router", "--service", "https://localhost:9", "--org", "x", "--client-id", "00000000-0000-0000-0000-000000000001"]
    process = subprocess.Popen(
        ["setpriv", "--reuid=postgres", "--regid=postgres", "--init-groups", PROGRAM, *arguments], stdin=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True, cwd="/")
    try:
        process.stdin.write("secret\n")
        process.stdin.close()
        assert "router started" in process.stderr.readline()
        assert status(process.pid)["Uid"].split()[0] != "0"
        assert os.stat(f"/proc/{process.pid}/mem").st_uid == 0
        process.send_signal(signal.SIGHUP)
        process.send_signal(signal.SIGUSR1)
        assert "level" in process.stderr.readline() and process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)
