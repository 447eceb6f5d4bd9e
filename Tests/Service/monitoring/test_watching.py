"""What an operator monitors: metrics, the log, and certificates that are renewed while the service runs."""

import concurrent.futures
import contextlib
import ctypes
import datetime
import json
import os
import pathlib
import re
import signal
import socket
import ssl
import subprocess
import time

import psycopg
import pytest
import requests
import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as prometheus
from server import running
from service import PATIENCE
from waiting import until

ROOT = pathlib.Path(__file__).parents[3]
#: From <sys/inotify.h>.
IN_OPEN = 0x20


@pytest.fixture(scope="module")
def watched():
    with running(metrics={"port": 0}) as server:
        yield server


def log(server):
    return [json.loads(line) for line in (server.cluster.home / f"serve-{server.port}.log").read_text().splitlines() if line.startswith("{")]


def scraped(server, accept="application/openmetrics-text; version=1.0.0"):
    """The metrics of a server: {family: (type, {labels: value})}."""
    port = until(lambda: [line["port"] for line in log(server) if line["message"] == "listening for metrics"], "the port of metrics")[-1]
    answer = requests.get(f"http://127.0.0.1:{port}/metrics", headers={"Accept": accept}, timeout=PATIENCE)
    assert answer.status_code == 200 and answer.headers["Content-Type"].split(";")[0] == accept.split(";")[0]
    assert requests.get(f"http://127.0.0.1:{port}/contoso/api/data/v9.2/mailboxes", timeout=PATIENCE).status_code == 404
    parse = openmetrics if "openmetrics" in accept else prometheus
    return {family.name: (family.type, {(s.name, *sorted(s.labels.items())): s.value for s in family.samples}) for family in parse(answer.text)}, answer.text


def value(metrics, family, name, **labels):
    return metrics[family][1].get((name, *sorted(labels.items())), 0)


def test_metrics_count_what_the_service_does(watched):
    def requests_of(metrics, route, status):
        return value(metrics, "fieldseal_http_requests", "fieldseal_http_requests_total", route=route, status=str(status))

    before, _ = scraped(watched)
    secret = "a-password-that-no-metric-has"
    for _ in range(3):
        assert watched.request("POST", "mailboxes", {"name": "watched", "password": secret}).status_code == 204
    assert watched.request("GET", "nothings").status_code == 404
    wrong = requests.post(
        f"{watched.base}/contoso/sign-in", {"name": "nobody", "password": secret}, verify=watched.cluster.home / "server.pem", timeout=PATIENCE,
        headers={"Origin": watched.base})
    assert wrong.status_code == 403
    watched.cluster.run("user", "add", "ada", "--role", "Basic User", stdin="ada's own password\n")
    wrong = requests.post(
        f"{watched.base}/contoso/sign-in", {"name": "ada", "password": secret}, verify=watched.cluster.home / "server.pem", timeout=PATIENCE,
        headers={"Origin": watched.base})
    assert wrong.status_code == 403
    after, text = scraped(watched)
    assert requests_of(after, "records", 204) - requests_of(before, "records", 204) == 3
    assert requests_of(after, "records", 404) - requests_of(before, "records", 404) == 1
    assert requests_of(after, "console", 403) - requests_of(before, "console", 403) == 2
    kind, samples = after["fieldseal_http_request_seconds"]
    assert kind == "histogram"
    total = samples[("fieldseal_http_request_seconds_count", ("route", "records"))]
    assert samples[("fieldseal_http_request_seconds_bucket", ("le", "+Inf"), ("route", "records"))] == total >= 4
    assert 0 < samples[("fieldseal_http_request_seconds_sum", ("route", "records"))] < total * PATIENCE
    assert value(after, "fieldseal_security_events", "fieldseal_security_events_total", kind="signed in", outcome="refused") >= 1
    # The service links the events into the chain within seconds.
    until(lambda: value(scraped(watched)[0], "fieldseal_security_events", "fieldseal_security_events_total", kind="password set", outcome="succeeded") == 3)
    assert value(after, "fieldseal_database_reachable", "fieldseal_database_reachable") == 1
    assert value(after, "fieldseal_organization_key_version", "fieldseal_organization_key_version", organization="contoso") == 1
    assert value(after, "fieldseal_organization_key_present", "fieldseal_organization_key_present", organization="contoso") == 1
    due = value(after, "fieldseal_organization_key_due_timestamp_seconds", "fieldseal_organization_key_due_timestamp_seconds", organization="contoso")
    assert 364 * 86_400 < due - time.time() < 366 * 86_400
    expiry = x509.load_pem_x509_certificate((watched.cluster.home / "server.pem").read_bytes()).not_valid_after_utc.timestamp()
    assert list(after["fieldseal_certificate_expiry_timestamp_seconds"][1].values()) == [expiry]
    assert after["fieldseal_build"][0] == "info" and value(after, "fieldseal_servers", "fieldseal_servers") >= 1
    assert value(after, "process_resident_memory_bytes", "process_resident_memory_bytes") > 1 << 20
    assert secret not in text and "watched" not in text
    # In Prometheus' own format, some families have other names.
    plain, _ = scraped(watched, "text/plain")
    assert {re.sub("_(total|info)$", "", name) for name in plain} == set(after)
    assert plain["fieldseal_http_requests"][0] == "counter"


def figure(metrics, name, **labels):
    """The value of a gauge."""
    return value(metrics, name, name, **labels)


def recorded(metrics, kind):
    return value(metrics, "fieldseal_security_events", "fieldseal_security_events_total", kind=kind, outcome="succeeded")


def give_out_a_password(server):
    """Makes a mailbox with passwords. A router leases it and gets the password for incoming mail."""
    profile = server.create("emailserverprofiles", {
        "name": "figures", "servertype": 4, "incomingserverlocation": "localhost", "incomingportnumber": 993, "incomingusessl": True, "incomingcredentialretrieval": 0,
        "outgoingserverlocation": "localhost", "outgoingportnumber": 465, "outgoingusessl": True, "outgoingcredentialretrieval": 2,
        "incomingpassword": "of incoming", "outgoingpassword": "of outgoing"})
    box = server.create("mailboxes", {
        "name": "figures", "emailaddress": "figures@contoso.test", "username": "figures", "password": "of the mailbox", "allowemailconnectortousecredentials": True,
        "incomingemaildeliverymethod": 2, "outgoingemaildeliverymethod": 0, "emailrouteraccessapproval": 1, "testemailconfigurationscheduled": True,
        "emailserverprofile@odata.bind": f"/emailserverprofiles({profile})"})
    router = json.loads(server.cluster.run("client", "add", "router", "--role", "Email Router", "--json").stdout)
    session = requests.Session()
    session.verify, session.trust_env = str(server.cluster.home / "server.pem"), False
    token = session.post(f"{server.base}/contoso/oauth2/v2.0/token", timeout=PATIENCE, data={
        "grant_type": "client_credentials", "client_id": router["clientId"], "client_secret": router["clientSecret"]}).json()["access_token"]
    session.headers["Authorization"] = f"Bearer {token}"
    for action, more in (("LeaseMailbox", {}), ("ReleaseCredential", {"Direction": "Incoming"})):
        answer = session.post(f"{server.base}/contoso/api/data/v9.2/fieldseal.{action}", json={"MailboxId": box, "HostId": "x", **more}, timeout=PATIENCE)
        assert answer.status_code in (200, 204), answer.text


def test_figures_are_those_of_the_database(watched):
    """The figures of keys, passwords, events and e-mails must equal the database's. The service reads them at most once in ten seconds."""
    sql, before = watched.cluster.sql, scraped(watched)[0]
    give_out_a_password(watched)
    answer = watched.request("POST", "SetDataEncryptionKey", {"EncryptionKey": "Correct-horse-battery-1", "ChangeEncryptionKey": True})
    assert answer.status_code == 204, answer.text
    queue = watched.create("queues", {"name": "figures", "emailaddress": "queue@contoso.test"})
    email = watched.create("emails", {"subject": "it waits", "email_activity_parties": [
        {"participationtypemask": 1, "partyid_queue@odata.bind": f"/queues({queue})"}, {"participationtypemask": 2, "addressused": "customer@elsewhere.test"}]})
    sent = watched.request("POST", f"emails({email})/Microsoft.Dynamics.CRM.SendEmail", {"IssueSend": True})
    assert sent.status_code == 200, sent.text
    version = watched.cluster.key_version()
    for entity in ("mailbox", "emailserverprofile", "queue", "usersettings"):
        sql(f"ANALYZE {entity}_cell_k{version}")
    cells = len(watched.cluster.opened_cells())
    assert cells > sql("SELECT (SELECT count(*) FROM mailbox_cell) + (SELECT count(*) FROM emailserverprofile_cell)")[0][0]

    after = until(lambda: m if figure((m := scraped(watched)[0]), "fieldseal_organization_key_version", organization="contoso") == version == 2 else None)
    assert recorded(after, "key changed") - recorded(before, "key changed") == 1
    assert recorded(after, "credential released") - recorded(before, "credential released") == 1
    [(changed,)] = sql("SELECT extract(epoch FROM changed_on)::float8 FROM encryption")
    assert abs(figure(after, "fieldseal_organization_key_changed_timestamp_seconds", organization="contoso") - changed) < 1

    def linked():
        """The metrics, once every event is in the chain and the metrics say so. Until then None."""
        metrics = scraped(watched)[0]
        [(pending, events)] = sql("SELECT (SELECT count(*) FROM unchained_event), (SELECT count(*) FROM security_event)")
        shown = [figure(metrics, f"fieldseal_organization_{name}", organization="contoso") for name in ("events_pending", "events")]
        return metrics if pending == 0 and shown == [0, events] else None
    after = until(linked)
    assert figure(after, "fieldseal_events_pending") == 0
    for name, expected in (("emails_waiting", 1), ("cells", cells)):
        assert figure(after, f"fieldseal_organization_{name}", organization="contoso") == figure(after, f"fieldseal_{name}") == expected, name


def test_the_pool_s_figures_are_those_of_postgresql(watched):
    """Twelve lists of one client wait for a table. The client may use eight connections of the pool, and each of the other lists waits for one."""
    def pool():
        metrics = scraped(watched)[0]
        return {state: figure(metrics, "fieldseal_database_connections", state=state) for state in ("idle", "in use")}, figure(metrics, "fieldseal_database_waiting")

    def blocked():
        return watched.cluster.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service' AND wait_event_type = 'Lock' AND query LIKE '%queue%'")[0][0]

    with concurrent.futures.ThreadPoolExecutor(12) as threads:
        with psycopg.connect(watched.cluster.superuser) as holder:
            holder.execute("LOCK TABLE org_contoso.queue IN ACCESS EXCLUSIVE MODE")
            asked = [threads.submit(watched.get, "queues?$top=1&$count=true") for _ in range(12)]
            until(lambda: blocked() == 8)
            # The service itself may use a connection too, for a moment.
            connections, _ = until(lambda: found if (found := pool())[0]["in use"] == 8 and found[1] == 4 else None)
            [(open,)] = watched.cluster.sql("SELECT count(*) FROM pg_stat_activity WHERE usename = 'fieldseal_service'")
            assert 8 <= sum(connections.values()) <= 16 and sum(connections.values()) <= open
            holder.rollback()
        assert [future.result().status_code for future in asked] == [200] * 12
    # Afterwards no list waits, and the pool keeps the connections for the next requests.
    until(lambda: (found := pool())[0]["in use"] == 0 and found[0]["idle"] >= 8 and found[1] == 0)



def test_the_database_goes_away_and_comes_back(watched):
    # The service reads the figures over one connection of its pool, so one statement that fails is enough.
    watched.cluster.sql("ALTER TABLE config.server RENAME TO renamed")
    try:
        until(lambda: value(scraped(watched)[0], "fieldseal_database_reachable", "fieldseal_database_reachable") == 0)
        assert "fieldseal_organization_key_version" not in scraped(watched)[0] and value(scraped(watched)[0], "fieldseal_http_connections", "fieldseal_http_connections") >= 0
    finally:
        watched.cluster.sql("ALTER TABLE config.renamed RENAME TO server")
    until(lambda: value(scraped(watched)[0], "fieldseal_database_reachable", "fieldseal_database_reachable") == 1)


def test_the_rules_and_the_metrics_pass_promtool(watched):
    """Checks the alert rules and the metrics with Prometheus' tool promtool."""
    checked = subprocess.run(["promtool", "check", "rules", ROOT / "dist/prometheus/fieldseal.rules.yml"], capture_output=True, text=True)
    assert checked.returncode == 0 and "SUCCESS" in checked.stdout, checked.stderr
    _, text = scraped(watched, "text/plain")
    checked = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True)
    assert checked.returncode == 0, checked.stdout + checked.stderr
    # The control: promtool refuses a malformed text.
    broken = subprocess.run(["promtool", "check", "metrics"], input=text.replace("# TYPE ", "# TYP ", 1) + "}", capture_output=True, text=True)
    assert broken.returncode != 0


def test_the_rules_fire_for_the_first_event():
    checked = subprocess.run(["promtool", "test", "rules", pathlib.Path(__file__).with_name("rules.test.yml")], capture_output=True, text=True)
    assert checked.returncode == 0 and "SUCCESS" in checked.stdout, checked.stdout + checked.stderr


def test_what_a_command_did_is_in_the_figures(watched):
    """The command `key show` printed a key. The figure comes from the database, because no server counted that."""
    watched.cluster.run("key", "show", "--org", "contoso")
    [(shown_on,)] = watched.cluster.sql("SELECT extract(epoch FROM max(occurred_on))::float8 FROM security_event WHERE kind = 'key read'")
    until(lambda: abs(figure(scraped(watched)[0], "fieldseal_organization_key_shown_timestamp_seconds", organization="contoso") - shown_on) < 1, "the figure")


def test_a_key_file_that_vanishes_is_told_while_the_service_works(watched):
    key, away = watched.cluster.home / "kek", watched.cluster.home / "kek-away"
    assert figure(scraped(watched)[0], "fieldseal_kek_readable") == 1
    key.rename(away)
    try:
        assert scraped(watched)[0]["fieldseal_kek_readable"][1] == {("fieldseal_kek_readable",): 0}
        until(lambda: [line for line in log(watched) if "would not start again" in line["message"] and str(key) in line["error"]], "the log's error")
        assert watched.request("GET", "mailboxes?$top=1").status_code == 200
    finally:
        away.rename(key)
    until(lambda: [line for line in log(watched) if "can be read again" in line["message"]], "the log's notice")
    assert figure(scraped(watched)[0], "fieldseal_kek_readable") == 1


def names(expression):
    return set(re.findall(r"\b(?:fieldseal|process)_[a-z_]+", expression))


def test_documentation_rules_and_board_use_metrics_that_there_are(watched):
    metrics, text = scraped(watched)
    there = {name for family in metrics.values() for (name, *_) in family[1]} | set(metrics)
    router = (ROOT / "Sources/MailRouter/RouterMetrics.swift").read_text()
    for name in re.findall(r'counters?\(\s*"([a-z_]+)"', router):
        there.add(f"fieldseal_router_{name}_total")
    rules = yaml.safe_load((ROOT / "dist/prometheus/fieldseal.rules.yml").read_text())["groups"][0]["rules"]
    board = json.loads((ROOT / "dist/grafana/fieldseal.json").read_text())
    expressions = [rule["expr"] for rule in rules] + [target["expr"] for panel in board["panels"] for target in panel["targets"]]
    assert len(expressions) > 20
    assert {name for expression in expressions for name in names(expression)} - there == set()
    for rule in rules:
        assert rule["labels"]["severity"] in ("critical", "warning", "info") and rule["annotations"]["summary"] and rule["annotations"]["action"]
    alerts = "".join(rule["expr"] for rule in rules)
    for what in ("fieldseal_events_unsent", "fieldseal_organizations_refused", "mailboxes_failing", "fieldseal-(doctor|retention)"):
        assert what in alerts, f"no rule tells of {what}"
    page = (ROOT / "docs/monitoring.md").read_text()
    # A row of the page names the first metric in full, and the others by the ends of their names.
    missing = [name for name in metrics if name not in page and f"…{name.removeprefix('fieldseal_organization')}" not in page]
    assert missing == []


def test_the_log_has_numbers_and_who_asked(watched):
    assert watched.request("GET", "queues?$top=1").status_code == 200
    entry = until(lambda: [line for line in log(watched) if line.get("path", "").endswith("/queues")], "the request's line")[-1]
    assert entry["status"] == 200 and isinstance(entry["milliseconds"], (int, float)) and entry["bytes"] > 0
    assert (entry["organization"], entry["protocol"], entry["address"]) == ("contoso", "HTTP/1.1", "127.0.0.1") and entry["actor"].startswith("client:test-")
    first = log(watched)[0]
    assert first["message"] == "starting" and first["version"] and first["pid"] == watched.process.pid and first["settings"] == str(watched.settings)
    assert re.fullmatch("[0-9a-f]{16}", first["kek_id"])


@pytest.mark.parametrize("place", ["(password='{}')", "(password=%27{}%27)", "(password={})", "(password%3D{})", "(password%3d{})", "('{}')", "(%22{}%22)"])
def test_the_log_has_no_value_of_a_path(watched, place):
    mark = len(log(watched))
    secret = f"hunter-{mark}"
    assert watched.request("GET", f"mailboxes{place.format(secret)}").status_code in (400, 404)
    until(lambda: [line for line in log(watched)[mark:] if "/mailboxes(" in line.get("path", "")], "the request's line")
    assert secret not in "".join(map(str, log(watched)))


# Certificates


def issue(folder, days=2):
    """Makes a certificate for localhost and its key, as new.pem and new.key beside the files in use."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", str(days), "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost", "-keyout", folder / "new.key", "-out", folder / "new.pem"], check=True, capture_output=True)
    return x509.load_pem_x509_certificate((folder / "new.pem").read_bytes()).serial_number


def shown(server):
    """The serial number of the certificate that the server shows in a handshake."""
    return x509.load_pem_x509_certificate(ssl.get_server_certificate(("localhost", server.port)).encode()).serial_number


def test_the_paths_of_the_service_are_no_organizations_in_the_log(watched):
    mark = len(log(watched))
    for path in ("readyz", "healthz", "assets/none.css"):
        requests.get(f"{watched.base}/{path}", verify=watched.cluster.home / "server.pem", timeout=PATIENCE)
    until(lambda: len([line for line in log(watched)[mark:] if line["message"] == "request"]) >= 3)
    assert {line["path"]: line["organization"] for line in log(watched)[mark:] if line["message"] == "request"} == {
        "/readyz": "", "/healthz": "", "/assets/none.css": ""}


def test_a_renewed_certificate_is_shown_and_no_connection_is_dropped(watched):
    home = watched.cluster.home
    context = ssl._create_unverified_context()
    open_connection = context.wrap_socket(socket.create_connection(("127.0.0.1", watched.port), timeout=PATIENCE), server_hostname="localhost")

    def ask():
        open_connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        answer = b""
        while b'"ok"' not in answer:
            part = open_connection.recv(4_096)
            assert part, "the connection was closed"
            answer += part
        return answer

    assert ask().startswith(b"HTTP/1.1 200")
    former = shown(watched)
    # The new certificate does not match the old key. The service keeps both old ones, and logs why.
    serial = issue(home)
    (home / "new.pem").replace(home / "server.pem")
    watched.process.send_signal(signal.SIGHUP)
    until(lambda: [line for line in log(watched) if "can't be read" in line["message"] and "does not belong" in line["error"]], "the log's complaint")
    assert shown(watched) == former and ask().startswith(b"HTTP/1.1 200")
    # When the matching key is there, the service uses both without a signal.
    (home / "new.key").replace(home / "server.key")
    until(lambda: shown(watched) == serial, "the new certificate")
    assert ask().startswith(b"HTTP/1.1 200"), "the connection from before goes on"
    another = issue(home)
    (home / "new.key").replace(home / "server.key")
    (home / "new.pem").replace(home / "server.pem")
    watched.process.send_signal(signal.SIGHUP)
    until(lambda: shown(watched) == another, "the new certificate")
    (home / "server.pem").write_text("no certificate")
    watched.process.send_signal(signal.SIGHUP)
    until(lambda: [line for line in log(watched) if "holds no certificate" in line.get("error", "")], "the log's complaint")
    assert shown(watched) == another and watched.process.poll() is None
    issue(home)
    (home / "new.key").replace(home / "server.key")
    (home / "new.pem").replace(home / "server.pem")
    watched.process.send_signal(signal.SIGHUP)
    until(lambda: shown(watched) != another)
    open_connection.close()


@contextlib.contextmanager
def opened(file):
    """Watches a file with inotify. Yields a function that returns how often any program has opened the file since."""
    libc = ctypes.CDLL(None, use_errno=True)
    with os.fdopen(libc.inotify_init1(os.O_NONBLOCK), "rb", buffering=0) as watch:
        assert libc.inotify_add_watch(watch.fileno(), bytes(file), IN_OPEN) > 0, os.strerror(ctypes.get_errno())
        events = bytearray()

        def times():
            events.extend(watch.read(65_536) or b"")
            # An event of a watched file has no name, so each is as long as its head.
            return len(events) // 16

        yield times


def in_place(file, content):
    """Overwrites a file, and keeps its size and its time of modification."""
    times = file.stat()
    assert times.st_size == len(content)
    with file.open("r+b") as opened:
        opened.write(content)
    os.utime(file, ns=(times.st_atime_ns, times.st_mtime_ns))


def test_a_certificate_that_could_not_be_read_is_tried_again(watched):
    """The key becomes right without a new size or time of the file, and the service still notices it."""
    home = watched.cluster.home
    former, serial = shown(watched), issue(home)
    good = (home / "new.key").read_bytes()
    (home / "new.key").write_bytes(b"x" * len(good))
    (home / "new.key").replace(home / "server.key")
    (home / "new.pem").replace(home / "server.pem")
    mark = len(log(watched))

    def complaints():
        return [line for line in log(watched)[mark:] if "can't be read" in line["message"]]

    until(complaints, "the log's complaint")
    known = len(complaints())
    # The service reads the files three more times. The log has the unchanged problem only once.
    with opened(home / "server.key") as times:
        until(lambda: times() >= 3)
    assert len(complaints()) == known
    started = watched.process.pid
    reads = len([line for line in log(watched)[mark:] if line["message"] == "certificate read"])
    assert shown(watched) == former and not reads
    in_place(home / "server.key", good)
    until(lambda: shown(watched) == serial, "the new certificate")
    assert len(complaints()) <= known + 1 and watched.process.pid == started


def test_the_doctor_names_certificates_that_expire(watched):
    def findings():
        output = watched.cluster.run("doctor", "--json", settings=watched.settings.stem, check=False).stdout
        return {f["code"]: f for f in json.loads(output)["findings"]}

    found = findings()["certificate-expires"]
    assert found["severity"] == "error" and "expires in 1 days" in found["message"]
    pem = watched.cluster.home / "server.pem"
    good = pem.read_text()
    try:
        pem.write_text("x")
        assert "holds no certificate" in findings()["certificate-unusable"]["message"]
    finally:
        pem.write_text(good)


def valid_until(home, days):
    """Replaces the certificate for localhost by one that expires after this number of days. A negative number means that it has expired."""
    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.datetime.now(datetime.UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    certificate = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=40)).not_valid_after(now + datetime.timedelta(days=days, hours=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False).sign(key, hashes.SHA256()))
    (home / "server.key").write_bytes(key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    (home / "server.pem").write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    return certificate


@pytest.mark.filterwarnings("ignore:Unverified HTTPS request")
@pytest.mark.parametrize("days, code, severity, words", [
    (31, None, None, None), (29, "certificate-expires", "warning", "expires in 29 days"), (8, "certificate-expires", "warning", "expires in 8 days"),
    (6, "certificate-expires", "error", "expires in 6 days"), (-2, "certificate-expired", "error", "expired on"),
])
def test_an_expiry_is_told_by_the_doctor_the_check_the_console_and_the_metrics(watched, days, code, severity, words):
    home, run = watched.cluster.home, watched.cluster.run
    person = f"reader-{abs(days)}"
    run("user", "add", person, "--role", "System Administrator", stdin="a reader's own password\n")
    session = requests.Session()
    # A person who accepts an expired certificate can use the console.
    session.verify, session.trust_env = False, False
    former = [(home / name).read_bytes() for name in ("server.key", "server.pem")]
    try:
        certificate = valid_until(home, days)
        watched.process.send_signal(signal.SIGHUP)
        until(lambda: shown(watched) == certificate.serial_number, "the new certificate")
        found = {f["code"]: f for f in json.loads(run("doctor", "--json", settings=watched.settings.stem, check=False).stdout)["findings"]}
        assert {c: f["severity"] for c, f in found.items() if c.startswith("certificate-")} == ({code: severity} if code else {})
        assert code is None or words in found[code]["message"]
        checked = json.loads(run("config", "check", "--json", settings=watched.settings.stem, check=False).stdout)
        told = [text for text in checked["problems" if days < 0 else "notes"] if "server.pem" in text]
        assert len(told) == bool(code) and (code is None or words in told[0])
        expiry = scraped(watched)[0]["fieldseal_certificate_expiry_timestamp_seconds"][1]
        assert list(expiry.values()) == [certificate.not_valid_after_utc.timestamp()]
        page = session.post(
            f"{watched.base}/contoso/sign-in", {"name": person, "password": "a reader's own password"}, headers={"Origin": watched.base}, timeout=PATIENCE)
        assert page.url.endswith("/overview") and ("server.pem" in page.text) == bool(code) and (code is None or words in page.text)
    finally:
        for name, content in zip(("server.key", "server.pem"), former):
            (home / name).write_bytes(content)
        watched.process.send_signal(signal.SIGHUP)
        serial = x509.load_pem_x509_certificate(former[1]).serial_number
        until(lambda: shown(watched) == serial, "the certificate from before")


@pytest.mark.parametrize("name, words", [("ocsp: true", "OCSP"), ("ocspStapling: true", "unknown key"), ("crl: /x", "fieldseal client remove-key"), ("crl: {file: /x}", "fieldseal client remove-key")])
def test_what_is_not_supported_is_refused_by_name(watched, tmp_path, name, words):
    settings = tmp_path / "settings.yaml"
    settings.write_text(f"https:\n  {name}\n")
    refused = watched.cluster.run("config", "check", "--settings", str(settings), settings=None, check=False)
    assert refused.returncode == 1 and f"https.{name.split(':')[0]}" in refused.stderr and words in refused.stderr


def test_a_libcrypto_without_the_algorithms_ends_the_start(watched, tmp_path):
    """libcrypto's configuration requires the FIPS provider, which is not installed. So libcrypto has no algorithms."""
    (tmp_path / "openssl.cnf").write_text(
        "openssl_conf = all\n[all]\nproviders = providers\nalg_section = algorithms\n[providers]\ndefault = one\n[one]\nactivate = 1\n"
        "[algorithms]\ndefault_properties = fips=yes\n")
    ended = watched.cluster.run(
        "serve", settings=watched.settings.stem, check=False, env={**os.environ, "OPENSSL_CONF": str(tmp_path / "openssl.cnf")})
    assert ended.returncode == 1 and "libcrypto" in ended.stderr, ended


def test_the_doctor_says_where_algorithms_come_from(watched):
    found = json.loads(watched.cluster.run("doctor", "--json", check=False).stdout)["cryptography"]
    version = subprocess.run(["openssl", "version"], check=True, capture_output=True, text=True).stdout.split()[1]
    assert found["library"].startswith(f"OpenSSL {version}") and found["fips"] is False
    assert {"AES-256-CBC", "HMAC", "SHA-256", "SHA-512", "PBKDF2", "scrypt"} == set(found["algorithms"]) and set(found["algorithms"].values()) == {"default"}
    assert "the FIPS provider is not active" in watched.cluster.run("doctor", check=False).stdout.splitlines()[-1]
