"""Which PostgreSQL runs lists for a server: only a standby of the same cluster, database and timeline, also after a failover."""

import signal
import time

import psycopg
import pytest
import several_databases
import standby as standbys
from cluster import Cluster
from server import Server
from several_databases import Caller
from standby import Standby, hosts_settings
from standby_lists import Lists, standby_setting, with_standby
from waiting import until

NOT_ONE = "the standby is not one of this database"

cluster, standby, deployment = standbys.cluster, standbys.standby, several_databases.deployment


def runs_none(lists, seconds=3):
    """Checks for some seconds that the primary runs each list, and the standby none."""
    there = lists.names()
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert lists.names() == there
    assert not lists.is_up() and lists.counts()["standby"] == 0


def write_ahead(server, of):
    """Makes one server write WAL until it is 64 MB ahead of the other server."""
    def position(one):
        return one.sql("SELECT pg_current_wal_lsn() - '0/0'")[0][0]

    goal = position(of) + (64 << 20)
    while position(server) < goal:
        server.sql("SELECT pg_logical_emit_message(true, 'test', 'ahead')")
        server.sql("SELECT pg_switch_wal()")


def another_cluster(cluster, ends):
    other = Cluster(is_copy=False)
    ends.append(other.remove)
    return other


def another_timeline(cluster, ends):
    other = Standby(cluster, "promoted")
    ends.append(lambda: other.stop(signal.SIGQUIT))
    other.promote()
    until(lambda: other.sql("SELECT pg_is_in_recovery()") == [(False,)])
    return other


def a_copy(cluster, ends):
    """A copy of the cluster that accepts writes itself, and is still on the timeline of the cluster."""
    other = Standby(cluster, "copy")
    ends.append(lambda: other.stop(signal.SIGQUIT))
    other.stop()
    (other.home / "data/standby.signal").unlink()
    other.start()
    return other


@pytest.mark.parametrize("make", [another_cluster, another_timeline, a_copy])
def test_a_standby_of_something_else_that_is_ahead_runs_no_list(cluster, make):
    ends = []
    try:
        other = make(cluster, ends)
        write_ahead(other, of=cluster)
        wrong = Standby(other, "wrong")
        ends.append(lambda: wrong.stop(signal.SIGQUIT))
        settings = with_standby(cluster, "direct", wrong)
        if make is not a_copy:
            # The independent copy can be recognized only after a server has written a row that the copy lacks.
            assert NOT_ONE in cluster.run("config", "check", check=False).stdout
        server = Server(cluster, settings)
        ends.append(server.stop)
        lists = Lists(server)
        lists.create("1")
        runs_none(lists)
        assert NOT_ONE in cluster.run("config", "check", check=False).stdout
    finally:
        for end in reversed(ends):
            end()


def test_a_standby_of_something_else_that_is_behind_runs_no_list(cluster):
    stranger = Cluster(is_copy=False)
    wrong = Standby(stranger)
    try:
        write_ahead(cluster, of=stranger)
        server = Server(cluster, with_standby(cluster, "direct", wrong))
        try:
            lists = Lists(server)
            lists.create("1")
            runs_none(lists)
            assert NOT_ONE in cluster.run("config", "check", check=False).stdout
        finally:
            server.stop()
    finally:
        wrong.stop(signal.SIGQUIT)
        stranger.remove()


def test_a_standby_with_another_database_runs_no_list(cluster, standby):
    with psycopg.connect(f"host={cluster.home} user=postgres dbname=postgres", autocommit=True) as connection:
        connection.execute("CREATE DATABASE elsewhere TEMPLATE fieldseal")
    file = cluster.home / "direct.yaml"
    file.write_text(file.read_text() + standby_setting(standby).replace("dbname=fieldseal", "dbname=elsewhere"))
    server = Server(cluster)
    try:
        lists = Lists(server)
        lists.create("1")
        runs_none(lists)
        assert NOT_ONE in cluster.run("config", "check", check=False).stdout
    finally:
        server.stop()


@pytest.fixture
def second(cluster, standby):
    """A second standby, and `Lists` of a server that runs lists on it. The settings' `database` names the primary and the first standby."""
    second = Standby(cluster, "second")
    hosts_settings(cluster, "both", [cluster.home, standby.home])
    server = Server(cluster, with_standby(cluster, "both", second))
    try:
        lists = Lists(server)
        lists.create("1")
        until(lambda: lists.served_by() == "standby")
        yield second, lists
    finally:
        server.stop()
        second.stop(signal.SIGQUIT)


def test_a_standby_of_a_former_primary_runs_no_list(cluster, standby, second):
    reader, lists = second
    standby.promote()
    until(lambda: standby.sql("SELECT pg_is_in_recovery()") == [(False,)])
    # The former primary still runs, and its standby receives what is written there. Lists must not show that.
    cluster.sql("UPDATE org_contoso.queue SET name = name || ' of a former primary'")
    until(lambda: reader.sql("SELECT count(*) FROM org_contoso.queue WHERE name LIKE '%former primary'")[0][0] > 0)
    until(lambda: "former" not in "".join(lists.names()))
    end = time.monotonic() + 5
    while time.monotonic() < end:
        assert lists.names() == ["1"]


def test_a_standby_that_follows_a_new_primary_runs_lists_again(cluster, standby, second):
    reader, lists = second
    # A clean stop: PostgreSQL sends all WAL to its standbys before it ends.
    cluster.stop()
    standby.promote()
    until(lambda: lists.server.request("POST", "queues", {"name": f"{lists.prefix}2"}, attempts=True) is not None)
    # The second standby does not follow the new primary yet, so it lacks this record, and the primary runs the list.
    assert lists.names() == ["1", "2"] and lists.served_by() == "primary"
    reader.follow(standby)
    until(lambda: reader.sql("SELECT count(*) FROM org_contoso.queue WHERE name LIKE '%2'") == [(1,)])
    for each in (standby, reader):
        # A standby stores its new timeline in its control file only at the next restartpoint.
        each.sql("CHECKPOINT")
    until(lambda: lists.served_by() == "standby")
    lists.create("3")
    assert lists.names() == ["1", "2", "3"]


# Several databases


def standby_databases(**homes):
    return {name: f"host={home} dbname={database} user=fieldseal_service target_session_attrs=standby" for name, (home, database) in homes.items()}


@pytest.fixture(scope="module")
def both(deployment):
    """A standby of the PostgreSQL server with the databases `main` and `east`."""
    standby = Standby(deployment.main)
    yield standby
    standby.stop(signal.SIGQUIT)


class Reader(Caller):
    """A client whose lists are counted for the database of its organization."""

    def __init__(self, server, organization, database):
        super().__init__(server, organization)
        self.lists, self.database = Lists(server), database
        until(lambda: self.sign_in().status_code == 200)

    def served_by(self):
        before = self.lists.counts(self.database)
        assert self.request(path="queues?$select=name").status_code == 200
        return [name for name, count in self.lists.counts(self.database).items() if count > before[name]]

    def sees_what_it_writes(self):
        assert self.request("POST", "queues", json={"name": f"of {self.organization}"}).status_code == 204
        names = [row["name"] for row in self.request(path="queues?$select=name").json()["value"]]
        return names and set(names) == {f"of {self.organization}"}


def test_a_standby_for_each_of_two_databases(deployment, both):
    settings = deployment.settings("two", standbyDatabases=standby_databases(main=(both.home, "fieldseal"), east=(both.home, "east")))
    server = Server(deployment.main, settings)
    try:
        readers = [Reader(server, "contoso", "main"), Reader(server, "fabrikam", "east")]
        for reader in readers:
            until(lambda: reader.served_by() == ["standby"])
            assert reader.sees_what_it_writes()
        # The database `west` has no standby, so no lists are counted there.
        assert Reader(server, "tailspin", "west").sees_what_it_writes()
        assert readers[0].lists.counts("west") == {}
        both.sql("SELECT pg_wal_replay_pause()")
        for reader in readers:
            assert reader.sees_what_it_writes() and reader.served_by() == ["primary"]
        both.sql("SELECT pg_wal_replay_resume()")
        for reader in readers:
            until(lambda: reader.served_by() == ["standby"])
    finally:
        server.stop()


def test_standbys_of_two_databases_that_were_exchanged_run_no_list(deployment, both):
    settings = deployment.settings("crossed", standbyDatabases=standby_databases(main=(both.home, "east"), east=(both.home, "fieldseal")))
    server = Server(deployment.main, settings)
    try:
        for reader in [Reader(server, "contoso", "main"), Reader(server, "fabrikam", "east")]:
            end = time.monotonic() + 3
            while time.monotonic() < end:
                assert reader.sees_what_it_writes() and reader.served_by() == ["primary"]
            assert not reader.lists.is_up(reader.database)
        checked = deployment.main.run("config", "check", settings=settings, check=False).stdout
        assert f"main: {NOT_ONE}" in checked and f"east: {NOT_ONE}" in checked
    finally:
        server.stop()


def test_a_standby_of_one_database_ends_without_the_other(deployment, both):
    own = Standby(deployment.west)
    databases = standby_databases(main=(both.home, "fieldseal"), west=(own.home, "other"))
    server = Server(deployment.main, deployment.settings("mixed", standbyDatabases=databases))
    try:
        main, west = Reader(server, "contoso", "main"), Reader(server, "tailspin", "west")
        for reader in (main, west):
            until(lambda: reader.served_by() == ["standby"])
        own.stop(signal.SIGQUIT)
        assert west.sees_what_it_writes() and west.served_by() == ["primary"]
        until(lambda: not west.lists.is_up("west"))
        assert main.served_by() == ["standby"] and main.lists.is_up("main")
    finally:
        server.stop()
        own.stop(signal.SIGQUIT)
