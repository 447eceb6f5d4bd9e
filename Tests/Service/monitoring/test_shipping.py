"""The service sends security events to a receiver outside of the database: to syslog over TLS, or to a file."""

import json
import os
import pathlib
import re
import signal
import socket
import subprocess
import threading

import scratch
from cluster import Cluster
from server import Server
from test_watching import figure, scraped
from waiting import until


def openssl(*arguments):
    subprocess.run(["openssl", *map(str, arguments)], check=True, capture_output=True)


class Syslog:
    """Debian's rsyslog, which receives messages over TLS. It writes each message as one line, with tabs between its parts."""

    def __init__(self):
        self.home = scratch.new_folder()
        openssl("req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "2", "-subj", "/CN=localhost",
                "-addext", "subjectAltName=DNS:localhost", "-keyout", self.home / "key.pem", "-out", self.home / "cert.pem")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        (self.home / "conf").write_text(f"""
global(maxMessageSize="64k" workDirectory="{self.home}" DefaultNetstreamDriver="ossl" DefaultNetstreamDriverCAFile="{self.home}/cert.pem"
    DefaultNetstreamDriverCertFile="{self.home}/cert.pem" DefaultNetstreamDriverKeyFile="{self.home}/key.pem")
module(load="imtcp" StreamDriver.Name="ossl" StreamDriver.Mode="1" StreamDriver.AuthMode="anon")
template(name="line" type="string" string="%syslogfacility%\t%syslogseverity%\t%app-name%\t%msgid%\t%structured-data%\t%msg%\n")
input(type="imtcp" port="{self.port}" address="127.0.0.1")
action(type="omfile" file="{self.home}/received" template="line")
""")
        self.process = None

    def start(self):
        # A killed rsyslog leaves this file, and would not start again.
        (self.home / "pid").unlink(missing_ok=True)
        self.process = subprocess.Popen(
            ["rsyslogd", "-n", "-f", self.home / "conf", "-i", self.home / "pid"], stdout=subprocess.DEVNULL, stderr=(self.home / "errors").open("ab"),
            env={**os.environ, "PATH": f"{os.environ['PATH']}:/usr/sbin"})
        until(self.is_up, "rsyslog")
        return self

    def is_up(self):
        assert self.process.poll() is None, (self.home / "errors").read_text()
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self.port)) == 0

    def stop(self, how=signal.SIGTERM):
        if self.process:
            self.process.send_signal(how)
            self.process.wait(60)
            self.process = None

    def received(self):
        """The received messages: (facility, severity, program, id, structured data, event)."""
        file = self.home / "received"
        # Leaves out the last line, which can be incomplete.
        lines = [line.split("\t", 5) for line in file.read_text().split("\n")[:-1]] if file.exists() else []
        return [(*parts[:5], json.loads(parts[5])) for parts in lines]


def started(**events):
    cluster = Cluster(events=events, metrics={"port": 0})
    try:
        return Server(cluster)
    except BaseException:
        cluster.remove()
        raise


def numbers(events):
    """The numbers of the events without repetitions, in the order in which they first arrived."""
    return list(dict.fromkeys(event["id"] for event in events if event["organization"] == "contoso"))


def recorded(server):
    return [id for (id,) in server.cluster.sql("SELECT security_event_id FROM security_event ORDER BY 1")]


def unsent(server):
    """The number of unsent events in the metrics. The service reads it from the database at most once in ten seconds."""
    return figure(scraped(server)[0], "fieldseal_events_unsent")


def test_syslog_over_tls():
    syslog = Syslog().start()
    server = started(syslog=f"localhost:{syslog.port}", syslogAuthorityFile=str(syslog.home / "cert.pem"))
    try:
        received = lambda: numbers(m[5] for m in syslog.received())  # noqa: E731
        until(lambda: received() == recorded(server), "all events")
        assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
        until(lambda: received() == recorded(server), "the new event")
        last = [m for m in syslog.received() if m[5]["kind"] == "key read"][-1]
        event = last[5]
        exported = [json.loads(line) for line in server.cluster.run("events", "export", "--org", "contoso").stdout.splitlines()]
        assert {k: v for k, v in event.items() if k != "attested"} == next(e for e in exported if e.get("id") == event["id"])
        # Each event comes with an attested end of the chain that is at least as new as the event.
        assert event["attested"]["newest"] >= event["id"] and len(event["attested"]["head"]) == 64
        assert last[:4] == ("13", "6", "fieldseal", "key-read")
        assert last[4] == f'[event@32473 organization="contoso" number="{event["id"]}" outcome="succeeded"]'

        # The receiver is killed. The service continues, and sends the events when the receiver runs again.
        syslog.stop(signal.SIGKILL)
        for _ in range(3):
            assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
        log = pathlib.Path(server.log.name)
        until(lambda: "security events can't be sent" in log.read_text(), "the word of the log")
        assert server.request("GET", "WhoAmI").status_code == 200
        [(position,)] = server.cluster.sql("SELECT last_event FROM config.event_shipment")
        missing = sum(id > position for id in recorded(server))
        until(lambda: unsent(server) == missing, "the figure of what is unsent")
        assert missing >= 3
        syslog.start()
        until(lambda: received() == recorded(server), "what happened meanwhile")
        until(lambda: unsent(server) == 0, "the figure of nothing unsent")
        assert "security events are sent again" in until(lambda: "sent again" in log.read_text() and log.read_text())

        # The server is killed. The next server continues after the last event that was sent.
        server.process.kill()
        server.process.wait(60)
        server.cluster.run("user", "add", "ada", "--role", "Basic User", stdin="long words of a person\n")
        before = len(syslog.received())
        server.start()
        until(lambda: received() == recorded(server), "what a command recorded")
        again = [m[5]["id"] for m in syslog.received()[before:]]
        assert min(again) > recorded(server)[0]
        until(lambda: server.cluster.sql("SELECT last_event FROM config.event_shipment") == [(recorded(server)[-1],)], "the position")
    finally:
        server.stop()
        server.cluster.remove()
        syslog.stop()


def test_a_receiver_that_can_not_prove_itself_gets_nothing():
    syslog = Syslog().start()
    server = started(syslog=f"localhost:{syslog.port}")
    try:
        log = pathlib.Path(server.log.name)
        until(lambda: "security events can't be sent" in log.read_text(), "the word of the log")
        assert syslog.received() == [] and server.request("GET", "WhoAmI").status_code == 200
    finally:
        server.stop()
        server.cluster.remove()
        syslog.stop()


def test_a_receiver_that_takes_nothing_holds_nothing_up():
    """The receiver accepts connections and never reads. The events stay unsent, and the service works."""
    listener = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=lambda: [listener.accept() for _ in range(100)], daemon=True).start()
    server = started(syslog=f"127.0.0.1:{listener.getsockname()[1]}")
    try:
        for _ in range(20):
            assert server.request("GET", "WhoAmI").status_code == 200
        log = pathlib.Path(server.log.name)
        until(lambda: "security events can't be sent" in log.read_text(), "the word of the log")
        assert server.cluster.sql("SELECT count(*) FROM config.event_shipment") == [(0,)]
    finally:
        server.stop()
        server.cluster.remove()
        listener.close()


def test_a_file_that_is_moved_away():
    folder = scratch.new_folder()
    file = folder / "events.jsonl"
    server = started(file=str(file))
    try:
        def lines(path):
            return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []

        until(lambda: numbers(lines(file)) == recorded(server), "all events")
        assert file.stat().st_mode & 0o077 == 0
        file.rename(folder / "moved.jsonl")
        server.cluster.run("org", "create", "fabrikam")
        assert server.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
        until(lambda: {e["organization"] for e in lines(file)} >= {"contoso", "fabrikam"}, "both organizations")
        until(lambda: numbers(lines(folder / "moved.jsonl") + lines(file)) == recorded(server), "all of them in both files")
        # Of two servers, only one sends the events.
        second = Server(server.cluster)
        try:
            for _ in range(5):
                assert second.request("GET", "RetrieveDataEncryptionKey()").status_code == 200
            until(lambda: numbers(lines(folder / "moved.jsonl") + lines(file)) == recorded(server), "what both did")
            ids = [e["id"] for e in lines(folder / "moved.jsonl") + lines(file) if e["organization"] == "contoso"]
            assert ids == sorted(set(ids))
        finally:
            second.stop()
    finally:
        server.stop()
        server.cluster.remove()


def test_settings_that_name_no_receiver(tmp_path):
    cluster = Cluster()
    try:
        text = (cluster.home / "direct.yaml").read_text()
        for events, words in (
            ({"syslog": "logs.example.com"}, "events.syslog takes HOST:PORT"), ({"syslog": "logs.example.com:70000"}, "events.syslog takes HOST:PORT"),
            ({"syslog": "l:1", "file": "/x"}, "events.file and events.syslog"), ({"syslogAuthorityFile": "/x"}, "events.syslog"),
            ({"syslog": "l:1", "syslogCertificateFile": "/x"}, "events.syslogPrivateKeyFile"), ({"kafka": "x"}, "events.kafka"),
        ):
            file = tmp_path / "wrong.yaml"
            file.write_text(text + f"events: {json.dumps(events)}\n")
            refused = cluster.run("config", "check", "--settings", str(file), settings=None, check=False)
            assert refused.returncode == 1 and re.search(re.escape(words), refused.stderr), refused.stderr
    finally:
        cluster.remove()
