"""PostgreSQL servers under Patroni, with etcd. Without a test's network, all parts run on free ports of this machine."""

import contextlib
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import threading

import psycopg
import requests
import scratch
from service import PATIENCE, PROGRAM
from waiting import until

#: The configuration of HAProxy in front of PostgreSQL, as in Patroni's documentation. HAProxy ends a session when the role of its server changes.
BALANCER = """global
  maxconn 1000
defaults
  mode tcp
  timeout connect 3s
  timeout client 30m
  timeout server 30m
  timeout check 2s
listen postgres
  bind {host}:{port}
  option httpchk OPTIONS /primary
  http-check expect status 200
  default-server inter 1s fall 2 rise 1 on-marked-down shutdown-sessions
"""
BINARIES = sorted(pathlib.Path("/usr/lib/postgresql").glob("*/bin"))[-1]
AS_POSTGRES = {"user": "postgres", "group": "postgres", "extra_groups": []} if os.getuid() == 0 else {}


def free_ports(count):
    probes = [socket.socket() for _ in range(count)]
    try:
        for probe in probes:
            probe.bind(("127.0.0.1", 0))
        return [probe.getsockname()[1] for probe in probes]
    finally:
        for probe in probes:
            probe.close()


def children(pid):
    """The child processes of a process. Its threads may end during the call."""
    found = []
    for task in pathlib.Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += map(int, task.read_text().split())
    return found


def is_reachable(conninfo):
    try:
        psycopg.connect(conninfo).close()
        return True
    except psycopg.OperationalError:
        return False


class Machine:
    """Where a part of the cluster runs. Here: on this machine, at free ports."""

    host = "127.0.0.1"

    def ports(self, *usual):
        return free_ports(len(usual))

    def start(self, arguments, as_postgres=False, **options):
        user = AS_POSTGRES if as_postgres else {}
        return subprocess.Popen(arguments, cwd="/", stdin=subprocess.DEVNULL, **user, **options)


class Reaper:
    """Reaps ended PostgreSQL processes that this process inherits from Patroni. Patroni would take an ended process that is not reaped for a running one."""

    def __init__(self):
        scratch.adopt()
        self.stopped = threading.Event()
        self.thread = threading.Thread(target=self.run, daemon=True)
        self.thread.start()

    def run(self):
        while not self.stopped.wait(0.1):
            for pid in children("self"):
                with contextlib.suppress(OSError):
                    name, state = pathlib.Path(f"/proc/{pid}/stat").read_text().split("(", 1)[1].rsplit(")", 1)
                    if name == "postgres" and state.split()[0] == "Z":
                        os.waitpid(pid, os.WNOHANG)

    def stop(self):
        self.stopped.set()
        self.thread.join(PATIENCE)


class Member:
    """One PostgreSQL server, and the Patroni process that runs it."""

    def __init__(self, patroni, name, machine):
        self.patroni, self.name, self.machine, self.host = patroni, name, machine, machine.host
        self.port, self.rest = machine.ports(5432, 8008)
        self.home = patroni.home / name
        self.home.mkdir()
        self.process = None
        self.conninfo = f"host={self.host} port={self.port} user=postgres dbname=fieldseal"
        (self.home / "patroni.yml").write_text(json.dumps({
            "scope": "fieldseal", "name": name, "restapi": {"listen": f"{self.host}:{self.rest}", "connect_address": f"{self.host}:{self.rest}"},
            # With version 2 of etcd's interface, a Patroni that was paused does not take its lock back. With version 3, Patroni 3.0.2 does, although
            # another server has become the primary. Writes that the other server acknowledged are then lost.
            "etcd": {"hosts": f"{patroni.etcd_host}:{patroni.etcd_port}"},
            "bootstrap": {
                # Patroni allows no shorter times.
                "dcs": {"ttl": 20, "loop_wait": 1, "retry_timeout": 3, "synchronous_mode": patroni.synchronous, "postgresql": {"use_pg_rewind": True}},
                "initdb": [{"encoding": "UTF8"}, {"locale": "C.UTF-8"}, "data-checksums"]},
            "postgresql": {
                "listen": f"{self.host}:{self.port}", "connect_address": f"{self.host}:{self.port}", "data_dir": str(self.home / "data"),
                "bin_dir": str(BINARIES), "pgpass": str(self.home / "pgpass"), "use_unix_socket": False,
                "pg_hba": ["host all all samenet trust", "host replication all samenet trust"],
                "parameters": {
                    "fsync": "off", "wal_keep_size": "1GB", "max_connections": 200, "wal_log_hints": "on", "unix_socket_directories": str(self.home),
                    # A standby that is cut off from the primary delays commits for this time.
                    "wal_sender_timeout": "5s", "wal_receiver_timeout": "5s"},
                "authentication": {
                    name: {"username": "postgres", "password": "unused"} for name in ("superuser", "replication", "rewind")}}}))
        if AS_POSTGRES:
            for path in (self.home, self.home / "patroni.yml"):
                shutil.chown(path, "postgres")

    def start(self):
        self.log = open(self.home / "patroni.log", "ab")
        self.process = self.machine.start(["patroni", str(self.home / "patroni.yml")], as_postgres=True, stdout=self.log, stderr=self.log)

    def role(self):
        try:
            return requests.get(f"http://{self.host}:{self.rest}/patroni", timeout=5).json()
        except requests.exceptions.RequestException:
            return {}

    def is_leader(self):
        # The name of the role is master or primary, depending on the version of Patroni.
        return self.role().get("role") in ("master", "primary") and self.role().get("state") == "running"

    def is_synchronous(self):
        return self.role().get("sync_standby", False) and self.role().get("state") == "running"

    def is_following(self):
        return self.role().get("role") == "replica" and self.role().get("state") == "running"

    def processes(self):
        """The ids of Patroni, PostgreSQL and their child processes: all that would stop with the machine."""
        found = [self.process.pid]
        for pid in found:
            found += [child for child in children(pid) if child not in found]
        try:
            postmaster = int((self.home / "data/postmaster.pid").read_text().split("\n")[0])
            if str(self.home).encode() in pathlib.Path(f"/proc/{postmaster}/cmdline").read_bytes():
                found += [pid for pid in [postmaster, *children(postmaster)] if pid not in found]
        except FileNotFoundError:
            pass
        return found

    def signal(self, how):
        for pid in self.processes():
            try:
                os.kill(pid, how)
            except ProcessLookupError:
                pass
        if how == signal.SIGKILL:
            self.process.wait(PATIENCE)

    def stop(self):
        if self.process and self.process.poll() is None:
            self.signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(PATIENCE)

    def sql(self, statement, parameters=None):
        with psycopg.connect(self.conninfo, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None


class Patroni:
    """An etcd, two PostgreSQL servers of which one is the synchronous standby, and a migrated deployment with one organization."""

    def __init__(self, count=2, synchronous=True, machine=lambda name: Machine()):
        """`machine(name)` returns the `Machine` for the part with this name."""
        self.home = scratch.new_folder()
        self.home.chmod(0o755)
        self.synchronous, self.place = synchronous, machine("etcd")
        self.etcd_host = self.place.host
        self.etcd_port, self.etcd_peer = self.place.ports(2379, 2380)
        self.members, self.etcd, self.balancer, self.reaper = [], None, None, Reaper()
        try:
            self.start_etcd()
            self.members = [Member(self, f"member-{number}", machine(f"member-{number}")) for number in range(count)]
            for member in self.members:
                member.start()
            self.wait_until_whole()
            self.migrate()
        except BaseException:
            self.remove()
            raise

    def start_etcd(self):
        client, peer = (f"http://{self.etcd_host}:{port}" for port in (self.etcd_port, self.etcd_peer))
        log = open(self.home / "etcd.log", "ab")
        self.etcd = self.place.start(
            ["etcd", "--data-dir", str(self.home / "etcd"), "--listen-client-urls", client, "--advertise-client-urls", client,
             "--listen-peer-urls", peer, "--initial-advertise-peer-urls", peer, "--initial-cluster", f"default={peer}", "--unsafe-no-fsync", "--enable-v2"],
            stdout=log, stderr=log)

    def migrate(self):
        with psycopg.connect(self.leader().conninfo.replace("dbname=fieldseal", "dbname=postgres"), autocommit=True) as connection:
            connection.execute("CREATE DATABASE fieldseal")
        ports = ",".join(str(member.port) for member in self.members)
        hosts = ",".join(member.host for member in self.members)
        self.write_settings("direct", f"host={hosts} port={ports}")
        self.run("kek", "create", str(self.home / "kek"), settings=None)
        for command in (["migrate", "bootstrap"], ["migrate", "up"], ["org", "create", "contoso"]):
            self.run(*command)

    def write_settings(self, name, hosts):
        """Writes settings named `name` whose database has these hosts and ports."""
        where = f"{hosts} dbname=fieldseal target_session_attrs=read-write sslmode=disable gssencmode=disable"
        lines = {
            "database": f"{where} user=fieldseal_service", "migrationDatabase": f"{where} user=postgres", "kekFile": f"{self.home}/kek"}
        (self.home / f"{name}.yaml").write_text("".join(f"{k}: {json.dumps(v)}\n" for k, v in lines.items()))

    def balance(self, machine=Machine()):
        """Starts HAProxy, which asks Patroni for the primary, before the members are started. Returns the name of settings that name only HAProxy."""
        [port] = machine.ports(6432)
        lines = [f"  server {m.name} {m.host}:{m.port} check port {m.rest}\n" for m in self.members]
        (self.home / "postgres.cfg").write_text(BALANCER.format(host=machine.host, port=port) + "".join(lines))
        self.balancer = machine.start(["haproxy", "-db", "-f", str(self.home / "postgres.cfg")], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        self.write_settings("balanced", f"host={machine.host} port={port}")
        # Before its first health checks, HAProxy takes every server for the primary, and connects to each in turn.
        conninfo = f"host={machine.host} port={port} user=postgres dbname=fieldseal target_session_attrs=read-write"
        until(lambda: all(is_reachable(conninfo) for _ in range(2 * len(self.members))))
        return "balanced"

    def run(self, *arguments, settings="direct", check=True):
        extra = ["--settings", str(self.home / f"{settings}.yaml")] if settings else []
        result = subprocess.run([PROGRAM, *arguments, *extra], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=PATIENCE)
        assert not check or result.returncode == 0, (arguments, result.stderr or result.stdout)
        return result

    def leader(self):
        return next((member for member in self.members if member.is_leader()), None)

    def standby(self):
        return next((member for member in self.members if member.is_synchronous() or not self.synchronous and member.is_following()), None)

    def wait_until_whole(self):
        """Waits until there is a primary with a synchronous standby."""
        try:
            until(lambda: self.leader() and self.standby())
        except AssertionError:
            logs = ["\n".join((member.home / "patroni.log").read_text().splitlines()[-30:]) for member in self.members]
            raise AssertionError("\n\n".join(["there is no primary with a standby", *logs])) from None

    def switch_over(self):
        leader, standby = self.leader(), self.standby()
        answer = requests.post(
            f"http://{leader.host}:{leader.rest}/switchover", json={"leader": leader.name, "candidate": standby.name}, timeout=PATIENCE)
        assert answer.status_code == 200, answer.text

    def remove(self):
        for member in self.members:
            member.stop()
        for process in filter(None, [self.balancer, self.etcd]):
            process.terminate()
            process.wait(PATIENCE)
        self.reaper.stop()
        shutil.rmtree(self.home, ignore_errors=True)
