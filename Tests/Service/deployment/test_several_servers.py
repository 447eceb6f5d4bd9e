"""Three servers behind HAProxy: what one server learns is valid for all, and restarting them in turn fails no request."""

import contextlib
import json
import re
import threading

import pytest
import requests
from balancer import Balancer
from cluster import Cluster
from connections import Connections
from mail_flow import MailFlow
from server import Server
from service import PATIENCE, PROGRAM
from waiting import until
from html_forms import subject


class Client:
    """A client of the balancer, with one connection for each thread."""

    def __init__(self, cluster, balancer, credentials):
        self.cluster, self.balancer = cluster, balancer
        self.base, self.certificate, self.credentials = balancer.base, str(balancer.home / "server.pem"), credentials
        self.connections = Connections(self.certificate, lambda: {"Authorization": f"Bearer {self.token}"})
        self.token = until(lambda: self.sign_in(credentials["clientSecret"]), holds=lambda r: r.status_code == 200).json()["access_token"]

    def sign_in(self, secret, base=None):
        return requests.post(
            f"{base or self.base}/contoso/oauth2/v2.0/token", verify=self.certificate, timeout=PATIENCE,
            data={"grant_type": "client_credentials", "client_id": self.credentials["clientId"], "client_secret": secret})

    def request(self, method, path, body=None, base=None):
        return self.connections.session.request(method, f"{base or self.base}/contoso/api/data/v9.2/{path}", json=body, timeout=PATIENCE)

    def get(self, path):
        return self.request("GET", path)

    def create(self, entity_set, body):
        response = self.request("POST", entity_set, body)
        assert response.status_code == 204, response.text
        return re.search(r"\(([0-9a-f-]{36})\)$", response.headers["OData-EntityId"])[1]


@contextlib.contextmanager
def behind_a_balancer(count, program=PROGRAM):
    """Servers of one database behind HAProxy: (cluster, servers, client)."""
    cluster = Cluster(program=program, trustedProxies=["127.0.0.1"])
    balancer, servers = Balancer(cluster), []
    try:
        for _ in range(count):
            servers.append(Server(cluster, program=program, base_url=balancer.base, https={"drainSeconds": 3}))
        balancer.start(servers)
        credentials = json.loads(cluster.run(
            "client", "add", "behind-the-balancer", "--org", "contoso", "--role", "System Administrator", "--json").stdout)
        yield cluster, servers, Client(cluster, balancer, credentials)
    finally:
        balancer.stop()
        for server in servers:
            server.stop()
        cluster.remove()


@pytest.fixture(scope="module")
def place():
    with behind_a_balancer(3) as made:
        yield made


def test_servers_are_restarted_in_turn_without_a_failed_request(place):
    cluster, servers, client = place
    stopped, statuses = threading.Event(), []

    def work(number):
        count = 0
        while not stopped.is_set():
            name = f"rolling-{number}-{count}"
            count += 1
            statuses.append(client.request("POST", "mailboxes", {"name": name, "password": name}).status_code)
            statuses.append(client.request("GET", "mailboxes?$top=3&$select=name").status_code)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(6)]
    for thread in threads:
        thread.start()
    try:
        for server in servers:
            mark = len(statuses)
            until(lambda: len(statuses) > mark + 50)
            server.stop()
            assert server.process.returncode == 0
            server.start()
            # The balancer must use the restarted server before the next server stops.
            until(lambda: client.balancer.count() == len(servers))
    finally:
        stopped.set()
        for thread in threads:
            thread.join(PATIENCE)
    assert set(statuses) == {200, 204}
    assert cluster.sql("SELECT count(*) FROM mailbox WHERE name LIKE 'rolling-%%'", []) == [(statuses.count(204),)]


def test_a_key_change_at_one_server_is_seen_by_all(place):
    cluster, servers, client = place
    for number, changing in enumerate(servers):
        change = {"EncryptionKey": f"Correct-horse-battery-{number}", "ChangeEncryptionKey": True}
        assert client.request("POST", "SetDataEncryptionKey", change, base=changing.base).status_code == 204
        for server in servers:
            assert client.request("POST", "mailboxes", {"name": "after", "password": "s3cret"}, base=server.base).status_code == 204
    assert cluster.sql("SELECT DISTINCT key_version FROM mailbox_cell") == [(cluster.key_version(),)]


def test_a_client_that_is_disabled_is_refused_by_all_at_its_next_request(place):
    cluster, servers, client = place
    other = json.loads(cluster.run("client", "add", "short-lived", "--org", "contoso", "--role", "Basic User", "--json").stdout)
    short = requests.post(
        f"{client.base}/contoso/oauth2/v2.0/token", verify=client.certificate, timeout=PATIENCE,
        data={"grant_type": "client_credentials", "client_id": other["clientId"], "client_secret": other["clientSecret"]}).json()["access_token"]

    def status(server):
        return requests.get(
            f"{server.base}/contoso/api/data/v9.2/mailboxes?$top=1", verify=client.certificate, timeout=PATIENCE,
            headers={"Authorization": f"Bearer {short}"}).status_code

    assert [status(server) for server in servers] == [200] * 3
    cluster.run("client", "disable", other["clientId"], "--org", "contoso")
    assert all(status(server) in (401, 403) for server in servers)


def test_failed_sign_ins_are_counted_by_all_servers_together(place):
    cluster, servers, client = place
    try:
        answers = [client.sign_in("wrong", base=servers[number % 3].base).status_code for number in range(10)]
        assert set(answers) == {401}, answers
        for server in servers:
            assert client.sign_in("wrong", base=server.base).status_code == 429
            assert client.sign_in(client.credentials["clientSecret"], base=server.base).status_code == 429
    finally:
        cluster.sql("DELETE FROM config.failed_sign_in")


def test_two_routers_share_the_mailboxes_and_one_may_be_killed(place):
    cluster, _, client = place
    flow = MailFlow(client, routers=2)
    try:
        until(lambda: len(flow.received) > 20)
        # Each of the three mailboxes is watched by one router, and each router watches at least one of them.
        watching = "SELECT count(*), count(DISTINCT mailboxid), count(DISTINCT router) FROM mailbox_watch"
        until(lambda: cluster.sql(watching), holds=lambda row: row == [(3, 3, 2)])
        flow.kill_router()
        mark = len(flow.received)
        # The killed router still holds its lease. Makes the lease older, so that it ends.
        cluster.sql("UPDATE mailbox SET processinglastattemptedon = processinglastattemptedon - interval '3 minutes'")
        until(lambda: len(flow.received) > mark + 20)
        flow.stop()
        flow.check(cluster)
    finally:
        flow.stopped.set()
        flow.end()


class Person:
    """A person with one session, who sends each request to the server that the test names."""

    def __init__(self, client, name, password):
        self.client, self.session = client, requests.Session()
        self.session.trust_env, self.session.verify = False, client.certificate
        # The headers that the balancer would pass on.
        self.session.headers.update({"Origin": client.base, "Host": client.base.removeprefix("https://"), "Accept": "text/html"})
        self.name, self.password = name, password

    def sign_in(self, server):
        return self.session.post(
            f"{server.base}/contoso/sign-in", {"name": self.name, "password": self.password}, timeout=PATIENCE, allow_redirects=False)

    def status(self, server):
        return self.session.get(f"{server.base}/contoso/overview", timeout=PATIENCE, allow_redirects=False).status_code

    def send(self, server, path, **form):
        csrf = re.search(r'name="csrf" value="(\w+)"', self.session.get(f"{server.base}/contoso/account", timeout=PATIENCE).text)[1]
        return self.session.post(f"{server.base}/contoso/{path}", {"csrf": csrf, **form}, timeout=PATIENCE, allow_redirects=False)


def test_a_session_of_the_console_begins_at_one_server_and_is_ended_at_another(place):
    cluster, servers, client = place
    cluster.run("user", "add", "traveler", "--org", "contoso", "--role", "Basic User", stdin="a password that travels\n")
    one, other = (Person(client, "traveler", "a password that travels") for _ in range(2))
    for person in (one, other):
        assert person.sign_in(servers[0]).status_code == 303
        assert [person.status(server) for server in servers] == [200] * 3
    assert one.send(servers[1], "sign-out").status_code == 303
    assert [one.status(server) for server in servers] == [303] * 3
    # The other session of the same person is still valid.
    assert [other.status(server) for server in servers] == [200] * 3
    assert one.sign_in(servers[2]).status_code == 303
    assert one.send(servers[0], "sign-out", everywhere="1", confirmed=subject("sign-out", "traveler")).status_code == 303
    assert [person.status(server) for person in (one, other) for server in servers] == [303] * 6
