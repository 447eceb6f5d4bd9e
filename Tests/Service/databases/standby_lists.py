"""Requests for lists to a server that can run them on a standby, and counts of the lists that each PostgreSQL ran."""

import contextlib
import json
import threading
import time
import uuid

import pytest
import requests
import soap
from prometheus_client.parser import text_string_to_metric_families
from server import Server
from service import PATIENCE
from waiting import until


def standby_setting(standby):
    return f"standbyDatabase: 'host={standby.home} user=fieldseal_service dbname=fieldseal target_session_attrs=standby'\n"


def with_standby(cluster, name, standby):
    file = cluster.home / f"{name}.yaml"
    file.write_text(file.read_text() + standby_setting(standby))
    return name


class Lists:
    """Requests lists from a server that has a standby for them, and reads from its metrics which PostgreSQL ran them."""

    def __init__(self, server):
        self.server = server
        self.prefix = uuid.uuid4().hex[:8]
        self.soap = soap.deployment_of(server)

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

    def counts(self, database=None):
        """How many lists each PostgreSQL ran: {"primary" or "standby": number}. `database` is one of several databases of the deployment."""
        return {
            sample.labels["server"]: sample.value for sample in self.metrics()["fieldseal_lists"]
            if sample.name == "fieldseal_lists_total" and sample.labels.get("database") == database}

    def is_up(self, database=None):
        return [sample.value for sample in self.metrics()["fieldseal_standby_up"] if sample.labels.get("database") == database] == [1]

    def served_by(self):
        """Requests a list. Returns whether the primary or the standby ran it. If others request lists at the same time: "standby" if it ran any of them."""
        before = self.counts()
        self.names()
        after = self.counts()
        assert after != before
        return "standby" if after["standby"] > before["standby"] else "primary"

    @contextlib.contextmanager
    def reading(self):
        """Requests lists in a thread until the block ends. Each request must succeed, and each list must be at least as long as the one before."""
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
def lists(cluster, standby):
    server = Server(cluster, with_standby(cluster, "direct", standby))
    try:
        lists = Lists(server)
        until(lambda: lists.served_by() == "standby")
        yield lists
    finally:
        server.stop()
