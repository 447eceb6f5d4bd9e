#!/usr/bin/env python3
"""`make cluster`: three PostgreSQL under Patroni with etcd, two databases, two servers behind HAProxy and a router, until Ctrl-C. It says
how to take each part away. A server or a router that ends is started again, as systemd does."""

import json
import pathlib
import signal
import subprocess
import sys
import threading

import psycopg
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).parent / "Service/servers"))

from service import PROGRAM  # noqa: E402  It makes the other modules findable.
from balancer import Balancer  # noqa: E402
from patroni import Patroni  # noqa: E402
from server import Server  # noqa: E402

SECONDS_TO_DRAIN = 3


def add_database(place):
    """Makes the database `east` with an organization. It is on the same PostgreSQL, so it has the same primary."""
    with psycopg.connect(f"host=127.0.0.1 port={place.leader().port} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE east")
    alone = yaml.safe_load((place.home / "direct.yaml").read_text())
    settings = {"kekFile": alone["kekFile"]}
    for key, several in [("database", "databases"), ("migrationDatabase", "migrationDatabases")]:
        settings[several] = {"main": alone[key], "east": alone[key].replace("dbname=fieldseal", "dbname=east")}
    (place.home / "several.yaml").write_text("".join(f"{key}: {json.dumps(value)}\n" for key, value in settings.items()))
    for command in (["migrate", "bootstrap"], ["migrate", "up"], ["org", "create", "fabrikam"]):
        place.run(*command, "--database", "east", settings="several")


class Router:
    """`fieldseal router` as a client of the balancer."""

    def __init__(self, place, base):
        client = json.loads(place.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        secret = place.home / "router-secret"
        secret.touch(0o600)
        secret.write_text(client["clientSecret"] + "\n")
        self.command = [
            PROGRAM, "router", "--service", base, "--org", "contoso", "--client-id", client["clientId"], "--secret-file", str(secret),
            "--ca-file", str(place.home / "server.pem")]
        self.log = open(place.home / "router.log", "ab")
        self.start()

    def start(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stderr=self.log)

    def stop(self):
        self.process.terminate()
        self.process.wait(60)


def tell(place, servers, balancer, router, client):
    """Says where everything is, and how to take it away."""
    print(f"""
The organization contoso is at {balancer.base}/contoso, in the database main; fabrikam is in the database east. The certificate is in
{place.home}/server.pem.

    token=$(curl -s --cacert {place.home}/server.pem {balancer.base}/contoso/oauth2/v2.0/token -d grant_type=client_credentials \\
        -d client_id={client['clientId']} --data-urlencode "client_secret=$(cat {place.home}/client-secret)" | jq -r .access_token)
    while sleep 0.2; do curl -s -o /dev/null -w '%{{http_code}} ' --cacert {place.home}/server.pem -H "Authorization: Bearer $token" \\
        -H 'Content-Type: application/json' {balancer.base}/contoso/api/data/v9.2/mailboxes -d '{{"name": "still here"}}'; done

Take parts away while that runs. Everything goes on, after a failover within some 25 seconds, most of which are Patroni's own.
""")
    for member in place.members:
        what = "primary" if member is place.leader() else "standby"
        print(f"    {what} {member.name}, port {member.port}:  {pause(member)}")
    patroni = f"http://127.0.0.1:{place.leader().rest}"
    leader = f"""$(curl -s {patroni}/cluster | jq '.members[] | select(.role == "leader").name')"""
    print(f"    a switchover:  curl -s {patroni}/switchover -d '{{\"leader\": '\"{leader}\"'}}'")
    for part in [*servers, router]:
        print(f"    {name(part)}:  kill {part.process.pid}")
    print(f"    move contoso to the other database:  {PROGRAM} org move contoso --to east --settings {place.home}/several.yaml")
    print(f"""
The same line with -CONT in place of -STOP brings a PostgreSQL back. A server serves on for {SECONDS_TO_DRAIN} seconds when it is told to end. Servers and
the router are started again, with new ids that are told here.

etcd and HAProxy are one each, so that nothing goes on without HAProxy, and PostgreSQL becomes read-only without etcd. In production,
have three of the one and two of the other.

Ctrl-C stops everything.""", flush=True)


def pause(member):
    """The command that stops a PostgreSQL with all of its processes, and its Patroni."""
    postmaster = f"$(head -1 {member.home}/data/postmaster.pid)"
    return f"kill -STOP {member.process.pid} {postmaster} $(pgrep -P {postmaster})"


def name(part):
    return f"server, port {part.port}" if isinstance(part, Server) else "router"


def start_again(parts):
    for part in parts:
        if part.process.poll() is not None:
            part.start()
            print(f"    {name(part)} was started again:  kill {part.process.pid}", flush=True)


def main():
    stopped = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stopped.set())
    place = Patroni(count=3)
    parts = []
    try:
        add_database(place)
        balancer = Balancer(place)
        servers = [Server(place, settings="several", base_url=balancer.base, https={"drainSeconds": SECONDS_TO_DRAIN}) for _ in range(2)]
        parts += servers
        balancer.start(servers)
        parts.append(balancer)
        router = Router(place, balancer.base)
        parts.append(router)
        client = json.loads(place.run("client", "add", "demo", "--org", "contoso", "--role", "System Administrator", "--json").stdout)
        (place.home / "client-secret").touch(0o600)
        (place.home / "client-secret").write_text(client["clientSecret"])
        tell(place, servers, balancer, router, client)
        while not stopped.wait(1):
            start_again([*servers, router])
    finally:
        for part in reversed(parts):
            part.stop()
        place.remove()


if __name__ == "__main__":
    main()
