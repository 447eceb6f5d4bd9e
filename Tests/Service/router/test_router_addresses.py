"""What a router says when its options are wrong: the organization, the secret, or the address of the service."""

import json
import re
import subprocess
import threading
import uuid

import pytest
from cluster import Cluster
from server import Server
from service import PATIENCE, PROGRAM


@pytest.fixture(scope="module")
def server():
    cluster = Cluster()
    server = None
    try:
        server = Server(cluster)
        server.router = json.loads(cluster.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        yield server
    finally:
        if server:
            server.stop()
        cluster.remove()


@pytest.mark.parametrize("organization, secret, path, words", [
    ("nosuch", None, "", "there is no organization nosuch at SERVICE; check --org and --service"),
    ("contoso", "not-the-secret", "", "the router's client id or secret is not accepted"),
    ("contoso", None, "/elsewhere", "there is no organization contoso at SERVICE/elsewhere; check --org and --service"),
])
def test_a_router_names_the_option_that_is_wrong(server, tmp_path, organization, secret, path, words):
    file = tmp_path / f"secret-{uuid.uuid4().hex}"
    file.write_text(secret or server.router["clientSecret"])
    file.chmod(0o600)
    router = subprocess.Popen(
        [PROGRAM, "router", "run", "--org", organization, "--service", server.base + path, "--client-id", server.router["clientId"], "--secret-file", str(file),
         "--ca-file", str(server.cluster.home / "server.pem")], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    late = threading.Timer(PATIENCE, router.kill)
    late.start()
    try:
        said = []
        for line in router.stderr:
            said.append(line)
            # An object a line, and the slash may be escaped in it.
            if words.replace("SERVICE", server.base) in line.replace("\\/", "/"):
                break
        else:
            raise AssertionError(f"the router says something else: {said}")
        assert not re.search(re.escape(server.router["clientSecret"]), "".join(said))
    finally:
        late.cancel()
        router.terminate()
        router.communicate(timeout=PATIENCE)
