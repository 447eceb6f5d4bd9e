"""What a router reports if the name of the organization, the secret, or the address of the service is wrong."""

import json
import pathlib
import re
import subprocess
import threading
import uuid

import pytest
from server import running
from service import PATIENCE, PROGRAM


@pytest.fixture(scope="module")
def server():
    with running() as server:
        server.router = json.loads(server.cluster.run("client", "add", "router", "--org", "contoso", "--role", "Email Router", "--json").stdout)
        yield server


@pytest.mark.parametrize("organization, secret, path, words", [
    ("nosuch", None, "", "there is no organization nosuch at SERVICE; check --org and --service"),
    ("contoso", "not-the-secret", "", "the router's client id or secret is not accepted"),
    ("contoso", None, "/elsewhere", "there is no organization contoso at SERVICE/elsewhere; check --org and --service"),
])
def test_a_router_names_the_option_that_is_wrong(server, tmp_path, organization, secret, path, words):
    says(router(server, tmp_path, organization, secret, path), words.replace("SERVICE", server.base), server)


def router(server, tmp_path, organization="contoso", secret=None, path="", more=(), authority=None):
    file = tmp_path / f"secret-{uuid.uuid4().hex}"
    file.write_text(secret or server.router["clientSecret"])
    file.chmod(0o600)
    return subprocess.Popen(
        [PROGRAM, "router", "run", "--org", organization, "--service", server.base + path, "--client-id", server.router["clientId"], "--secret-file", str(file),
         "--ca-file", authority or str(server.cluster.home / "server.pem"), *more],
        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def says(router, words, server):
    """Waits until the router's log contains these words, and stops the router."""
    late = threading.Timer(PATIENCE, router.kill)
    late.start()
    try:
        said = []
        for line in router.stderr:
            said.append(line)
            # Each line of the log is a JSON object, in which a slash may be escaped.
            if words in line.replace("\\/", "/"):
                break
        else:
            raise AssertionError(f"the router says something else: {said}")
        assert not re.search(re.escape(server.router["clientSecret"]), "".join(said))
    finally:
        late.cancel()
        router.terminate()
        router.communicate(timeout=PATIENCE)


@pytest.mark.parametrize("option", ["--ca-file", "--mail-ca-file"])
@pytest.mark.parametrize("content, words", [(None, "can't be read: No such file"), ("words", "holds no certificate in PEM")])
def test_a_router_refuses_authorities_that_it_cannot_read(server, tmp_path, option, content, words):
    """If the router started without these authorities, it would report the certificates of the mail servers as wrong."""
    file = tmp_path / "authorities.pem"
    if content:
        file.write_text(content)
    given = {"authority": str(file)} if option == "--ca-file" else {"more": [option, str(file)]}
    ended = router(server, tmp_path, **given)
    said = ended.communicate(timeout=PATIENCE)[1]
    [line] = [json.loads(line) for line in said.splitlines()]
    assert ended.returncode == 78 and line["level"] == "critical" and f"{option}: {file} {words}" in line["error"], said
    unit = (pathlib.Path(__file__).parents[3] / "dist/fieldseal-router@.service").read_text()
    assert "\nRestartPreventExitStatus=78\n" in unit


def test_a_router_says_that_its_organization_is_suspended(server, tmp_path):
    """If the router did not say this, an operator would replace a secret that is right."""
    server.cluster.run("org", "suspend", "contoso")
    try:
        says(router(server, tmp_path), "The organization contoso is suspended", server)
    finally:
        server.cluster.run("org", "resume", "contoso")
