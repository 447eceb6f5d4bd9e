"""Three servers behind HAProxy: what one learns counts for all, and they are restarted in turn without a failed request."""

import contextlib
import json
import threading

import pytest
import requests
from balancer import Balancer, wait_for
from cluster import Cluster
from server import Server
from service import PATIENCE, PROGRAM


class Client:
    """A client of the balancer, with one connection for each thread."""

    def __init__(self, balancer, credentials):
        self.balancer = balancer
        self.base, self.certificate, self.credentials = balancer.base, str(balancer.home / "server.pem"), credentials
        self.local = threading.local()
        self.token = wait_for(lambda: self.sign_in(credentials["clientSecret"]), lambda r: r.status_code == 200).json()["access_token"]

    def sign_in(self, secret, base=None):
        return requests.post(
            f"{base or self.base}/contoso/oauth2/v2.0/token", verify=self.certificate, timeout=PATIENCE,
            data={"grant_type": "client_credentials", "client_id": self.credentials["clientId"], "client_secret": secret})

    def request(self, method, path, body=None, base=None):
        session = getattr(self.local, "session", None)
        if session is None:
            session = self.local.session = requests.Session()
            session.trust_env, session.verify = False, self.certificate
            session.headers["Authorization"] = f"Bearer {self.token}"
        return session.request(method, f"{base or self.base}/contoso/api/data/v9.2/{path}", json=body, timeout=PATIENCE)


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
        yield cluster, servers, Client(balancer, credentials)
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
            wait_for(lambda: len(statuses) > mark + 50)
            server.stop()
            assert server.process.returncode == 0
            server.start()
            # The balancer takes it again before the next one is stopped.
            wait_for(lambda: client.balancer.count() == len(servers))
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
