"""Streaming standbys of a cluster, settings with several hosts, and signals that make a primary fail."""

import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess

import psycopg
import pytest
import template
from cluster import SUPPORT, Cluster


class Standby:
    def __init__(self, cluster, name="standby"):
        """Creates a standby that follows a cluster or another standby."""
        self.home = cluster.home / name
        subprocess.run(
            ["bash", "-c", f"""
             set -e; source {SUPPORT}; mkdir {self.home}; mkdir {self.home}/data; chmod 755 {self.home}; chmod 700 {self.home}/data
             chown -R postgres {self.home} 2>/dev/null || true
             as_database_user $postgres_binaries/pg_basebackup -d 'host={cluster.home} user=postgres' -D {self.home}/data -X stream -c fast -R
             resume_postgres {self.home} fsync=off"""],
            check=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")
        self.superuser = f"host={self.home} user=postgres dbname=fieldseal"

    def start(self):
        """Starts the standby again after it was killed."""
        for left in [self.home / "data/postmaster.pid", *self.home.glob(".s.PGSQL.*")]:
            left.unlink(missing_ok=True)
        subprocess.run(
            ["bash", "-c", f"source {SUPPORT}; resume_postgres {self.home} fsync=off"], check=True, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/")

    def promote(self):
        assert self.sql("SELECT pg_promote()") == [(True,)]

    def follow(self, primary):
        """Makes the standby follow another primary. Its PostgreSQL keeps running."""
        self.sql(f"ALTER SYSTEM SET primary_conninfo = 'host={primary.home} user=postgres'")
        self.sql("SELECT pg_reload_conf()")

    def sql(self, statement, parameters=None):
        with psycopg.connect(self.superuser, autocommit=True) as connection:
            cursor = connection.execute(statement, parameters)
            return cursor.fetchall() if cursor.description else None

    def stop(self, how=signal.SIGINT):
        template.end_postgres(self.home / "data", how)


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
        standby.stop(signal.SIGQUIT)


def hosts_settings(cluster, name, hosts, extra=""):
    """Writes settings named `name` whose database has these hosts. Returns the name."""
    database = json.dumps(f"host={','.join(str(host) for host in hosts)} user=fieldseal_service dbname=fieldseal{extra}")
    text = re.sub(r"^database: .*$", lambda _: f"database: {database}", (cluster.home / "direct.yaml").read_text(), flags=re.M)
    (cluster.home / f"{name}.yaml").write_text(text)
    return name


def send_to_all(data, how):
    """Sends a signal to a PostgreSQL server and its child processes at once, so that none of them sends anything afterwards."""
    pid = template.postmaster(data)
    children = pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    for process in [pid, *map(int, children)]:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process, how)
