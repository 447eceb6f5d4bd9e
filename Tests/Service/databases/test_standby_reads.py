"""Lists from a standby contain each write that was acknowledged before the request, and respect each right that was taken away before it."""

import json
import signal
import uuid

import requests
import standby as standbys
import standby_lists
from sample import chooser
from service import PATIENCE
from standby import send_to_all
from standby_lists import standby_setting
from waiting import until

ROLES = "systemuserroles_association"

cluster, standby, lists = standbys.cluster, standbys.standby, standby_lists.lists


def scans(standby):
    """How many scans of the table `queue` the standby has counted."""
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
    """A second client, and the id of its systemuser."""

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
        """(Whether the client may list profiles, whether the standby ran the list)"""
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
            until(lambda: not lists.is_up())
            assert lists.served_by() == "primary"
            standby.start()
            until(lambda: lists.served_by() == "standby")
            send_to_all(standby.home / "data", signal.SIGSTOP)
            lists.create(f"{number} paused")
            until(lambda: not lists.is_up())
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
    # The promoted server is no standby any more.
    standby.promote()
    until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])
    assert "the standby could not be queried" in cluster.run("config", "check", check=False).stdout
