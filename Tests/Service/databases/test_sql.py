"""Runs the pgTAP tests of the database in Tests/SQL."""

import pathlib
import re
import subprocess

import pytest
from cluster import Cluster

FILES = sorted((pathlib.Path(__file__).parents[2] / "SQL").glob("*.sql"))


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        cluster.fill(10)
        cluster.sql("CREATE EXTENSION pgtap SCHEMA public")
        yield cluster
    finally:
        cluster.remove()


@pytest.mark.parametrize("file", FILES, ids=[f.stem for f in FILES])
def test_sql(cluster, file):
    result = subprocess.run(
        ["psql", "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-f", str(file), cluster.superuser], capture_output=True, text=True)
    failed = re.findall(r"^not ok.*(?:\n#.*)*", result.stdout, re.M)
    assert result.returncode == 0 and not failed, "\n".join(failed) or result.stderr or result.stdout
    assert len(re.findall(r"^ok ", result.stdout, re.M)) >= 10, result.stdout
