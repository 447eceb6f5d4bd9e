"""Lists from a standby: they show every write that was acknowledged before, and give no right that was taken away."""

import contextlib
import json
import signal
import threading
import time
import types
import uuid

import psycopg
import pytest
import requests
import soap
from cluster import Cluster
from prometheus_client.parser import text_string_to_metric_families
from sample import chooser
from server import Server
from service import PATIENCE
from standby import Standby, hosts_settings, send_to_all
from waiting import until

ROLES = "systemuserroles_association"


def standby_setting(standby):
    return f"standbyDatabase: 'host={standby.home} user=fieldseal_service dbname=fieldseal target_session_attrs=standby'\n"


def with_standby(cluster, name, standby):
    file = cluster.home / f"{name}.yaml"
    file.write_text(file.read_text() + standby_setting(standby))
    return name


class Lists:
    """A server whose lists a standby runs, and how many it ran."""

    def __init__(self, server):
        self.server = server
        self.prefix = uuid.uuid4().hex[:8]
        self.soap = types.SimpleNamespace(
            base=server.base, dev={"organization": "contoso", "caFile": str(server.cluster.home / "server.pem")}, token=lambda client: server.token)

    def values(self, query):
        response = self.server.get(query)
        assert response.status_code == 200, response.text
        return response.json()["value"]

    def names(self):
        return self.stripped(self.values(f"queues?$select=name&$filter=startswith(name,'{self.prefix}')&$orderby=name"))

    def stripped(self, queues):
        return [queue["name"][len(self.prefix):] for queue in queues]

    def names_by_fetch(self):
        return self.stripped(self.values(f"queues?fetchXml={self.fetch()}"))

    def fetch(self):
        return (
            f"<fetch><entity name='queue'><attribute name='name'/><order attribute='name'/><filter><condition attribute='name' "
            f"operator='begins-with' value='{self.prefix}'/></filter></entity></fetch>")

    def names_by_sql(self):
        return self.stripped(self.values(f"queues?sql=SELECT name FROM queue WHERE name LIKE '{self.prefix}%25' ORDER BY name"))

    def names_by_soap(self):
        query = self.fetch().replace("<", "&lt;")
        found = soap.call(self.soap, soap.operation(
            "RetrieveMultiple", f'<query i:type="x:FetchExpression"><x:Query>{query}</x:Query></query>'))
        records = found.findall(".//x:Entities/x:Entity", soap.XPATH)
        return [soap.values(record)["name"][1][len(self.prefix):] for record in records]

    def create(self, name):
        return self.server.create("queues", {"name": f"{self.prefix}{name}"})

    def metrics(self):
        lines = [json.loads(line) for line in (self.server.cluster.home / f"serve-{self.server.port}.log").read_text().splitlines() if line.startswith("{")]
        port = [line["port"] for line in lines if line["message"] == "listening for metrics"][-1]
        text = requests.get(f"http://127.0.0.1:{port}/metrics", timeout=PATIENCE).text
        return {family.name: family.samples for family in text_string_to_metric_families(text)}

    def counts(self):
        return {sample.labels["server"]: sample.value for sample in self.metrics()["fieldseal_lists"] if sample.name == "fieldseal_lists_total"}

    def served_by(self):
        """The server of one list, or of others at the same time: the standby if it ran one of them."""
        before = self.counts()
        self.names()
        after = self.counts()
        assert after != before
        return "standby" if after["standby"] > before["standby"] else "primary"

    @contextlib.contextmanager
    def reading(self):
        """Lists meanwhile. Each list has to succeed, and to be as long as the one before at least."""
        seen, slowest, failures, end = [0], [0.0], [], threading.Event()

        def read():
            while not end.is_set():
                began = time.monotonic()
                try:
                    names = self.names()
                    assert len(names) >= seen[-1]
                    seen.append(len(names))
                except BaseException as error:
                    failures.append(error)
                    return
                slowest[0] = max(slowest[0], time.monotonic() - began)

        thread = threading.Thread(target=read)
        thread.start()
        try:
            yield slowest
        finally:
            end.set()
            thread.join()
        assert not failures, failures


@pytest.fixture
def cluster():
    cluster = Cluster(metrics={"port": 0})
    try:
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture
def standby(cluster):
    standby = Standby(cluster)
    try:
        yield standby
    finally:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            standby.stop(signal.SIGQUIT)


@pytest.fixture
def lists(cluster, standby):
    server = Server(cluster, with_standby(cluster, "direct", standby))
    try:
        lists = Lists(server)
        until(lambda: lists.served_by() == "standby")
        yield lists
    finally:
        server.stop()


def scans(standby):
    """How often the standby itself looked into queues."""
    return standby.sql("SELECT sum(seq_scan + coalesce(idx_scan, 0)) FROM pg_stat_user_tables WHERE relname = 'queue' AND schemaname = 'org_contoso'")[0][0]


def test_each_list_shows_what_was_written_before(lists, standby):
    steps, there = chooser("standby"), {}
    ways = [lists.names, lists.names_by_fetch, lists.names_by_sql, lists.names_by_soap]
    before = scans(standby)
    for number in range(200):
        step = steps.random()
        if not there or step < 0.6:
            there[lists.create(f"{number:03}")] = f"{number:03}"
        elif step < 0.8:
            id = steps.choice(list(there))
            there[id] = f"{number:03}"
            assert lists.server.request("PATCH", f"queues({id})", {"name": f"{lists.prefix}{number:03}"}).status_code == 204
        else:
            id = steps.choice(list(there))
            assert lists.server.request("DELETE", f"queues({id})").status_code == 204
            del there[id]
        way = steps.choice(ways)
        assert way() == sorted(there.values()), way.__name__
        assert lists.server.get(f"queues/$count?$filter=startswith(name,'{lists.prefix}')").text.lstrip("\ufeff") == str(len(there))
    counts = lists.counts()
    assert counts["standby"] > 3 * counts["primary"], counts
    until(lambda: scans(standby) > before)


def test_single_records_and_changes_are_read_from_the_primary(lists, standby):
    id = lists.create("1")
    before = lists.counts()
    assert lists.server.get(f"queues({id})?$select=name&$expand=businessunitid($select=name)").status_code == 200
    assert lists.server.get("WhoAmI").status_code == 200
    query = {"EntityName": "queue", "Criteria": {"Conditions": [{"AttributeName": "name", "Operator": "Equal", "Values": [f"{lists.prefix}1"]}]}}
    deleted = lists.server.request("POST", "BulkDelete", {
        "QuerySet": [query], "JobName": "all", "SendEmailNotification": False, "ToRecipients": [], "CCRecipients": [], "RecurrencePattern": "",
        "StartDateTime": "2020-01-01T00:00:00Z"})
    assert deleted.status_code == 200, deleted.text
    assert lists.counts() == before
    assert lists.names() == [] and lists.counts() != before


def test_a_standby_that_is_behind_runs_no_list(lists, standby):
    lists.create("1")
    standby.sql("SELECT pg_wal_replay_pause()")
    for number in range(2, 6):
        lists.create(str(number))
        assert lists.names() == [str(each) for each in range(1, number + 1)]
        assert lists.served_by() == "primary"
    standby.sql("SELECT pg_wal_replay_resume()")
    until(lambda: lists.served_by() == "standby")
    assert lists.names() == ["1", "2", "3", "4", "5"]


class Other:
    """Another client, with its systemuser."""

    def __init__(self, lists, role):
        self.lists, server = lists, lists.server
        self.name = f"other-{uuid.uuid4().hex[:8]}"
        self.client = json.loads(server.cluster.run("client", "add", self.name, "--org", "contoso", "--role", role, "--json").stdout)
        self.ask = requests.Session()
        self.ask.trust_env, self.ask.verify = False, str(server.cluster.home / "server.pem")
        token = self.ask.post(f"{server.base}/contoso/oauth2/v2.0/token", data={
            "grant_type": "client_credentials", "client_id": self.client["clientId"], "client_secret": self.client["clientSecret"]}).json()
        self.ask.headers["Authorization"] = f"Bearer {token['access_token']}"
        self.user = self.get("WhoAmI").json()["UserId"]

    def get(self, path):
        return self.ask.get(f"{self.lists.server.base}/contoso/api/data/v9.2/{path}", timeout=PATIENCE)

    def administers(self):
        """Whether it may list profiles, and whether the standby ran the list."""
        before = self.lists.counts()["standby"]
        response = self.get("emailserverprofiles?$select=name")
        assert response.status_code in (200, 401, 403), response.text
        return response.status_code == 200, self.lists.counts()["standby"] > before


def test_a_role_that_was_taken_away_is_gone_at_the_next_list(lists, standby, cluster):
    [(role,)] = cluster.sql("SELECT roleid::text FROM role WHERE name = 'Email Administrator'")
    other = Other(lists, "Basic User")
    path = f"systemusers({other.user})/{ROLES}"
    for paused in (False, True, False):
        for take in (
            lambda: lists.server.request("DELETE", f"{path}({role})/$ref"),
            lambda: cluster.sql("UPDATE systemuser SET isdisabled = true WHERE systemuserid = %s", [other.user]),
        ):
            cluster.sql("UPDATE systemuser SET isdisabled = false WHERE systemuserid = %s", [other.user])
            lists.server.request("DELETE", f"{path}({role})/$ref")
            assert lists.server.request("POST", f"{path}/$ref", {"@odata.id": f"roles({role})"}).status_code == 204
            until(lambda: other.administers() == (True, True))
            if paused:
                standby.sql("SELECT pg_wal_replay_pause()")
            take()
            assert not other.administers()[0]
            if paused:
                standby.sql("SELECT pg_wal_replay_resume()")


def test_a_client_that_was_disabled_gets_no_list(lists, standby, cluster):
    for disable in (
        lambda other: cluster.run("client", "disable", other.name, "--org", "contoso"),
        lambda other: cluster.sql("UPDATE config.api_client SET disabled_on = now() WHERE client_id = %s", [other.client["clientId"]]),
    ):
        other = Other(lists, "System Administrator")
        until(lambda: other.administers() == (True, True))
        standby.sql("SELECT pg_wal_replay_pause()")
        disable(other)
        assert other.get("queues?$top=1").status_code in (401, 403)
        standby.sql("SELECT pg_wal_replay_resume()")
        assert other.get("queues?$top=1").status_code in (401, 403)


def test_a_share_that_was_taken_away_is_gone_at_the_next_list(lists):
    other = Other(lists, "Basic User")
    record = lists.server.create("mailboxes", {"name": lists.prefix})
    target = {"Target": {"@odata.id": f"mailboxes({record})"}}
    query = f"mailboxes?$select=name&$filter=name eq '{lists.prefix}'"
    assert other.get(query).json()["value"] == []
    for _ in range(5):
        granted = lists.server.request("POST", "GrantAccess", {
            **target, "PrincipalAccess": {"Principal": {"@odata.id": f"systemusers({other.user})"}, "AccessMask": "ReadAccess"}})
        assert granted.status_code == 204, granted.text
        assert len(other.get(query).json()["value"]) == 1
        revoked = lists.server.request("POST", "RevokeAccess", {**target, "Revokee": {"@odata.id": f"systemusers({other.user})"}})
        assert revoked.status_code == 204, revoked.text
        assert other.get(query).json()["value"] == []
    assert lists.served_by() == "standby"


def test_keys_that_change_meanwhile(lists, cluster):
    with lists.reading():
        for number in range(4):
            lists.create(str(number))
            cluster.run("key", "change", "--org", "contoso")
    assert lists.names() == ["0", "1", "2", "3"]
    until(lambda: lists.served_by() == "standby")


def test_a_standby_that_is_killed_paused_and_started_again(lists, standby):
    with lists.reading() as slowest:
        for number in range(2):
            send_to_all(standby.home / "data", signal.SIGKILL)
            lists.create(f"{number} killed")
            until(lambda: lists.metrics()["fieldseal_standby_up"][0].value == 0)
            assert lists.served_by() == "primary"
            standby.start()
            until(lambda: lists.served_by() == "standby")
            send_to_all(standby.home / "data", signal.SIGSTOP)
            lists.create(f"{number} paused")
            until(lambda: lists.metrics()["fieldseal_standby_up"][0].value == 0)
            assert lists.served_by() == "primary"
            send_to_all(standby.home / "data", signal.SIGCONT)
            until(lambda: lists.served_by() == "standby")
    assert slowest[0] < 8


def test_a_standby_that_was_promoted_runs_no_list(lists, standby):
    lists.create("1")
    until(lambda: lists.served_by() == "standby")
    with lists.reading():
        standby.promote()
        until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])
        standby.sql("UPDATE org_contoso.queue SET name = name || ' of another primary'")
        for _ in range(10):
            assert lists.names() == ["1"] and lists.served_by() == "primary"
    standby.stop(signal.SIGQUIT)
    lists.create("2")
    assert lists.names() == ["1", "2"] and lists.served_by() == "primary"


def test_a_standby_of_another_cluster_or_database_runs_no_list(cluster, standby):
    stranger = Cluster()
    wrong = Standby(stranger)
    with psycopg.connect(f"host={cluster.home} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere")
    direct = (cluster.home / "direct.yaml").read_text()
    try:
        for setting in (standby_setting(wrong), standby_setting(standby).replace("dbname=fieldseal", "dbname=elsewhere")):
            (cluster.home / "direct.yaml").write_text(direct + setting)
            server = Server(cluster)
            try:
                lists = Lists(server)
                lists.create("1")
                end = time.monotonic() + 3
                while time.monotonic() < end:
                    assert lists.names() == ["1"]
                assert lists.metrics()["fieldseal_standby_up"][0].value == 0
                assert lists.counts()["standby"] == 0
                checked = cluster.run("config", "check", check=False)
                assert any(text in checked.stdout for text in (
                    "the standby is not one of this database", "the standby is more than 3 seconds behind", "the standby can't be asked"))
            finally:
                server.stop()
    finally:
        wrong.stop(signal.SIGQUIT)
        stranger.remove()


def test_a_standby_of_a_former_primary_runs_no_list(cluster, standby):
    second = Standby(cluster, "second")
    hosts_settings(cluster, "both", [cluster.home, standby.home])
    server = Server(cluster, with_standby(cluster, "both", second))
    try:
        lists = Lists(server)
        lists.create("1")
        until(lambda: lists.served_by() == "standby")
        standby.promote()
        until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])
        # The former primary goes on, and what is written there reaches its standby alone.
        cluster.sql("UPDATE org_contoso.queue SET name = name || ' of a former primary'")
        until(lambda: second.sql("SELECT count(*) FROM org_contoso.queue WHERE name LIKE '%former primary'")[0][0] > 0)
        until(lambda: "former" not in "".join(lists.names()))
        end = time.monotonic() + 5
        while time.monotonic() < end:
            assert lists.names() == ["1"]
    finally:
        server.stop()
        second.stop(signal.SIGQUIT)


def test_settings_that_are_not_for_a_standby(cluster, standby):
    file = cluster.home / "direct.yaml"
    text = file.read_text()
    file.write_text(f"{text}standbyDatabase: 'host={standby.home} user=fieldseal_service dbname=fieldseal'\n")
    refused = cluster.run("config", "check", check=False)
    assert refused.returncode == 1 and "target_session_attrs=standby" in refused.stdout + refused.stderr
    file.write_text(f"{text}standbyDatabases: {{east: 'host={standby.home} target_session_attrs=standby'}}\n")
    assert "databases" in cluster.run("config", "check", check=False).stderr
    file.write_text(f"{text}{standby_setting(standby)}")
    assert "the standby" not in cluster.run("config", "check", check=False).stdout
    # A copy that is no standby: it was promoted.
    standby.promote()
    until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])
    assert "the standby can't be asked" in cluster.run("config", "check", check=False).stdout
