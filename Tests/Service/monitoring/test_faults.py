"""Failures around the service, and what works in spite of them."""

import os
import pathlib
import signal
import subprocess
import threading
import time

import pytest
import requests

from cluster import MIGRATIONS
from ports import free_port
from service import PATIENCE, PROGRAM, Deployment, refused
from waiting import until


def test_connections_are_cut_and_refused_for_a_while_as_in_a_failover(own_service):
    service = own_service
    service.token()
    statuses, stop = [], threading.Event()

    def read():
        while not stop.is_set():
            response = service.get("mailboxes?$top=1", timeout=PATIENCE)
            statuses.append(response.status_code)
            if response.status_code == 503:
                assert int(response.headers["Retry-After"]) > 0
                assert response.json()["error"]["code"] == "0x80040216"
            time.sleep(0.01)

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    # Ends connections during requests. Then the role can't connect for a while, as during a failover.
    backend = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'fieldseal_service'"
    for _ in range(20):
        service.sql(backend)
        time.sleep(0.05)
    service.sql("ALTER ROLE fieldseal_service NOLOGIN")
    service.sql(backend)
    deadline = time.monotonic() + PATIENCE
    while 503 not in statuses:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    ready = requests.get(f"{service.base}/readyz", verify=service.dev["caFile"], timeout=PATIENCE)
    assert ready.status_code == 503 and int(ready.headers["Retry-After"]) > 0
    service.sql("ALTER ROLE fieldseal_service LOGIN")
    mark = len(statuses)
    while statuses[mark:].count(200) < 20:
        assert time.monotonic() < deadline + 20
        time.sleep(0.05)
    stop.set()
    for thread in threads:
        thread.join()
    assert set(statuses) <= {200, 503}
    assert service.get("mailboxes?$top=1").status_code == 200


def test_serve_survives_a_stop_and_a_start_of_postgres(own_service, tmp_path):
    """`fieldseal serve` uses a PostgreSQL that it did not start. The test stops that PostgreSQL at once, and starts it again."""
    service = own_service
    pid = service.postgres_pid()
    arguments = pathlib.Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[:-1]
    user = os.stat(f"/proc/{pid}").st_uid
    binary = os.readlink(f"/proc/{pid}/exe")
    settings = service.home / "serve.yaml"
    text = (service.home / "fieldseal.yaml").read_text()
    port = free_port()
    text = text.replace(service.base, f"https://localhost:{port}")
    text = "\n".join(line for line in text.split("\n") if "port:" not in line and line not in ("https:", "http:"))
    files = [line.strip() for line in text.split("\n") if "File" in line and "kek" not in line]
    text = "\n".join(line for line in text.split("\n") if line.strip() not in files)
    settings.write_text(text + "\nhttps:\n  port: %d\n  %s\n" % (port, "\n  ".join(files)))
    environment = {k: v for k, v in service.environment.items() if not k.startswith("FIELDSEAL_")}
    process = subprocess.Popen([PROGRAM, "serve", "--settings", str(settings)], env=environment, stderr=subprocess.DEVNULL)
    child = None
    try:
        base = f"https://localhost:{port}"

        def ready():
            try:
                return requests.get(f"{base}/readyz", verify=service.dev["caFile"], timeout=PATIENCE).status_code
            except requests.exceptions.ConnectionError:
                return None

        until(lambda: ready() == 200)
        service.stop_postgres(signal.SIGQUIT)
        until(lambda: ready() == 503)
        assert process.poll() is None
        environment = {"PATH": os.environ["PATH"]}
        child = subprocess.Popen([binary, *arguments[1:]], user=user, group=user_group(user), extra_groups=[], cwd="/", env=environment,
                                 stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        until(lambda: ready() == 200)
        assert process.poll() is None
    finally:
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        if child:
            child.send_signal(signal.SIGINT)
            child.wait(60)


def user_group(user):
    import pwd

    return pwd.getpwuid(user).pw_gid


def test_dev_takes_up_where_it_left_off_however_it_died(own_service):
    service = own_service
    clients, key = service.dev["clients"], service.key()
    id = service.create("mailboxes", {"name": "kept", "password": "s3cret"})
    for how in (signal.SIGINT, signal.SIGTERM, signal.SIGKILL):
        service.stop(how)
        service.start()
        assert service.dev["clients"] == clients and service.key() == key
        assert service.opened_cells()[f"mailbox({id}).password"][1] == "s3cret"
        assert len(service.get("emailserverprofiles").json()["value"]) == 1
    service.stop(signal.SIGKILL)
    service.stop_postgres(signal.SIGKILL)
    (service.home / "pg" / "postmaster.pid").write_text("1\n/nowhere\n")
    service.start()
    assert service.opened_cells()[f"mailbox({id}).password"][1] == "s3cret"


@pytest.mark.parametrize("what", ["missing", "another"])
def test_dev_keeps_its_clients_when_it_could_not_start(own_service, what):
    service = own_service
    before = {name: service.dev[name] for name in ("clients", "console")}
    service.stop()
    kek = service.home / "kek"
    kept = kek.rename(service.home / "kek.kept")
    if what == "another":
        service.run("kek", "create", str(kek))
    assert service.run("dev", check=False).returncode != 0
    kept.replace(kek)
    service.start()
    assert {name: service.dev[name] for name in ("clients", "console")} == before
    assert service.get("mailboxes?$top=1").status_code == 200


def test_nothing_is_left_running_after_a_stop(own_service):
    service = own_service
    pid = service.postgres_pid()
    assert os.getpgid(pid) == os.getpgid(service.process.pid) and os.getsid(pid) == os.getsid(service.process.pid)
    process = service.process
    service.stop(signal.SIGTERM)
    assert process.returncode == 0
    assert not pathlib.Path(f"/proc/{pid}").exists()


def test_a_second_dev_in_the_same_folder_is_refused(service):
    result = service.run("dev", check=False)
    assert result.returncode == 1 and "another `fieldseal dev` is running" in result.stderr


def test_a_port_that_is_taken_is_named(service):
    deployment = Deployment(FIELDSEAL_HTTPS_PORT=service.base.rsplit(":", 1)[1])
    try:
        result = deployment.run("dev", check=False)
        assert result.returncode == 1 and "FIELDSEAL_HTTPS_PORT" in result.stderr
    finally:
        deployment.remove()


@pytest.mark.parametrize("what", ["missing", "readable", "malformed", "wrong"])
def test_the_key_encryption_key_missing_wrong_or_readable_by_others(own_service, what):
    service = own_service
    service.stop()
    kek = service.home / "kek"
    original = kek.read_text()
    kek.chmod(0o600)
    expected = {"missing": "there is no key-encryption key", "readable": "chmod 0400", "malformed": "64 bytes in base64", "wrong": "restore"}
    if what == "missing":
        kek.unlink()
    elif what == "readable":
        kek.chmod(0o644)
    elif what == "malformed":
        kek.write_text("bm90IGEga2V5Cg==\n")
    else:
        kek.unlink()
        service.run("kek", "create", str(kek))
    result = service.run("config", "check", check=False)
    if what == "wrong":
        # The service is stopped, and its PostgreSQL with it. So the check can't compare the key with the database.
        assert result.returncode == 3
    else:
        assert result.returncode == 1 and expected[what] in result.stdout
    result = service.run("dev", check=False)
    assert result.returncode == 1 and expected[what] in result.stderr, result.stderr
    kek.unlink(missing_ok=True)
    kek.write_text(original)
    kek.chmod(0o400)
    service.start()
    assert service.is_active()


def test_settings_that_do_not_fit_are_refused_by_name(service, tmp_path):
    good = (service.home / "fieldseal.yaml").read_text()
    cases = {
        "kekfile: x\n": "unknown key kekfile", "limits:\n  requestz: 5\n": "unknown key limits.requestz", "connections: 0\n": "connections takes",
        "log:\n  level: loud\n": "log.level", "- a\n": "neither YAML nor JSON", "{": "neither YAML nor JSON",
    }
    for text, message in cases.items():
        path = tmp_path / "settings.yaml"
        path.write_text((good if ":" in text else "") + text)
        result = service.run("config", "check", "--settings", str(path), check=False)
        assert result.returncode == 1 and message in result.stderr, (text, result.stderr)
    result = service.run("config", "check", "--settings", "/nonexistent.yaml", check=False)
    assert result.returncode == 1 and "fieldseal dev" in result.stderr


def test_config_check_hides_passwords(service):
    password = (service.home / "postgres-password").read_text()
    output = service.run("config", "check").stdout
    assert password not in output and "password=****" in output


def test_config_check_prints_every_setting(service, tmp_path):
    (tmp_path / "unknown.yaml").write_text("nosuch: 1\n")
    refusal = service.run("config", "check", "--settings", str(tmp_path / "unknown.yaml"), check=False).stderr
    known = refusal.split("known are ")[1].strip().split(", ")
    shown = service.json("config", "check", FIELDSEAL_LIMITS_CLIENT_REQUESTS="77")["settings"]
    assert sorted(shown) == known and len(known) == 88 and shown["limits.clientRequests"] == 77
    page = (pathlib.Path(__file__).parents[3] / "docs/operations.md").read_text()
    assert [key for key in known if f"`{key}`" not in page] == []
    reference = (pathlib.Path(__file__).parents[3] / "docs/settings.md").read_text()
    assert service.run("config", "reference").stdout == reference and all(f"| `{key}` |" in reference for key in known)


def test_the_server_refuses_to_run_as_a_superuser(service):
    text = (service.home / "fieldseal.yaml").read_text()
    path = service.home / "superuser.yaml"
    path.write_text(text.replace(text.split('"')[1], service.dev["postgres"], 1))
    result = service.run("serve", "--settings", str(path), check=False)
    assert result.returncode == 78 and "superuser" in result.stderr


def test_an_organization_is_created_once_and_its_name_is_checked(own_service):
    service = own_service
    service.run("org", "create", "wingtip-toys")
    assert service.json("org", "show", "wingtip-toys")["state"] == "active"
    for name, message in [
        ("wingtip-toys", "exists"), ("Wingtip", "lower-case"), ("1st", "lower-case"), ("a_b", "lower-case"), ("x" * 40, "1 to 39"), ("", "lower-case"),
    ]:
        result = service.run("org", "create", name, check=False)
        assert result.returncode == 1 and message in result.stderr, result.stderr
    result = service.run("key", "status", check=False)
    assert result.returncode == 64 and "--org" in result.stderr
    assert service.run("migrate", "verify").returncode == 0
    assert f"wingtip-toys: {len(MIGRATIONS)} applied, none pending" in service.run("migrate", "status").stdout


def test_a_key_is_changed_on_the_command_line_from_standard_input_and_from_a_file(own_service, tmp_path):
    service = own_service
    result = service.run("key", "change", "--own", stdin="Password-of-mine-1\n")
    assert "looks guessable" in result.stderr and "Password-of-mine" not in result.stdout + result.stderr
    assert service.run("key", "show").stdout.strip() == "Password-of-mine-1"
    path = tmp_path / "key"
    path.write_text("Key-from-a-file-12345\n")
    path.chmod(0o644)
    result = service.run("key", "change", "--key-file", str(path), check=False)
    assert result.returncode == 1 and "chmod 0400" in result.stderr and "Usage" not in result.stderr
    path.chmod(0o400)
    service.run("key", "change", "--key-file", str(path))
    assert service.key() == "Key-from-a-file-12345"
    result = service.run("key", "change", "--own", stdin="weak\n", check=False)
    assert result.returncode == 1 and "0x80048528" in result.stderr and "weak\n" not in result.stderr
    assert service.json("key", "change")["keyVersion"] == 4
    actors = service.sql("SELECT DISTINCT created_by FROM config.organization_key")
    assert all(actor.startswith("cli:") for (actor,) in actors)
    refused(service.set_key("Key-from-a-file-12345", change=False), 400, "0x80048525")
