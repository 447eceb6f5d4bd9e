"""With the wrong key-encryption key, each command reports that and nothing else. It changes nothing and shows nothing."""

import json
import re
import subprocess

import pytest
from cluster import Cluster
from server import Server
from service import PROGRAM

UUID = "01234567-89ab-7def-8123-456789abcdef"
#: Commands that need no key-encryption key, each with the reason. The tests run all other commands.
OUTSIDE = {
    "dev": "makes a deployment of its own", "setup": "makes a deployment", "kek create": "makes a key", "config reference": "reads nothing",
    "kek seal": "writes a file with a token, without the database", "org inspect": "reads a file alone", "backup check": "reads a file alone",
    "router run": "has neither a key nor a database",
    # Migrations can be applied without a key-encryption key.
    **dict.fromkeys(["migrate bootstrap", "migrate recovery", "migrate up", "migrate down", "migrate status", "migrate verify"], "opens nothing"),
}
#: Commands that report the wrong key in a different form, or that need different settings. They have a separate test.
REPORTING = {"serve", "config check", "doctor", "org move"}
#: The value of each positional argument or required option, by its name in the help output.
VALUES = {
    "name": "contoso", "new": "elsewhere", "target": "contoso", "file": "/tmp/nowhere.fieldseal", "key-version": "1", "client": "x", "key": "x", "role": "Basic User",
    "subject": "x", "database": "other", "url": "https://idp.example", "date": "2026-01-01", "id": "x",
}
#: Values for arguments of certain commands: (command, name) and the value
OWN_VALUES = {("org import", "file"): "{home}/contoso.fieldseal", ("client add-key", "file"): "{home}/good.pem", ("client add-certificate", "file"): "{home}/good.pem"}
OWN_VALUES |= {("client remove-key", "key"): UUID, ("approval approve", "id"): UUID, ("approval refuse", "id"): UUID}

#: Further arguments that a command needs
BESIDES = {
    "org create": ["fabrikam"], "org import": ["--as-new"], "org upgrade": ["--from-plaintext"], "org remove": ["--without-export"], "issuer add": ["--is-public"],
    "key control": ["--approval", "10m"],
}


def leaves(command, path=()):
    """All commands without subcommands, as (name, description), from the program's help output."""
    inner = [c for c in command.get("subcommands", []) if c["commandName"] != "help"]
    if not inner:
        yield " ".join(path), command
    for other in inner:
        yield from leaves(other, (*path, other["commandName"]))


HELP = dict(leaves(json.loads(subprocess.run([PROGRAM, "--experimental-dump-help"], check=True, capture_output=True).stdout)["command"]))
TRIED = sorted(HELP.keys() - OUTSIDE.keys() - REPORTING)


def line(name, home):
    """A command line that is right in all but the key-encryption key."""
    words = name.split()
    if name == "org create":
        return [*words, *BESIDES[name]]
    for argument in HELP[name].get("arguments", []):
        if argument["isOptional"]:
            continue
        if argument["kind"] == "option":
            words.append(f"--{next(n['name'] for n in argument['names'] if n['kind'] == 'long')}")
        kind = argument["valueName"]
        words.append(OWN_VALUES.get((name, kind), VALUES[kind]).format(home=home))
    return words + BESIDES.get(name, [])


@pytest.fixture(scope="module")
def cluster():
    cluster = Cluster()
    try:
        # The deployment has signing keys only after a server has run.
        Server(cluster).stop()
        cluster.run("kek", "create", str(cluster.home / "other-kek"), settings=None)
        cluster.run("org", "export", "contoso", f"{cluster.home}/contoso.fieldseal")
        home = cluster.home
        subprocess.run(
            ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "90", "-subj", "/CN=localhost",
             "-addext", "subjectAltName=DNS:localhost", "-keyout", home / "good.key", "-out", home / "good.pem"], check=True, capture_output=True)
        text = (home / "direct.yaml").read_text().replace(f"{home}/kek", f"{home}/other-kek")
        (home / "other.yaml").write_text(f'{text}https:\n  certificateFile: "{home}/good.pem"\n  privateKeyFile: "{home}/good.key"\n')
        yield cluster
    finally:
        cluster.remove()


@pytest.fixture(scope="module")
def keys(cluster):
    """The ids of the wrong key-encryption key and of the deployment's: (wrong, right)."""
    result = cluster.run("key", "status", settings="other", check=False)
    given, wanted = re.findall(r"\b[0-9a-f]{16}\b", result.stderr)
    assert [(wanted,)] == cluster.sql("SELECT DISTINCT kek_id FROM config.organization_key") and given != wanted
    return given, wanted


def contents(cluster):
    """For each table, the number of its rows and a digest of them."""
    tables = [t for (t,) in cluster.sql(
        "SELECT format('%I.%I', schemaname, tablename) FROM pg_tables WHERE schemaname = 'config' OR schemaname LIKE 'org\\_%' ORDER BY 1")]
    return {t: cluster.sql(f"SELECT count(*), md5(string_agg(r::text, '' ORDER BY r::text)) FROM {t} AS r")[0] for t in tables}


def test_each_command_is_known():
    """Each name in the lists above is a command of the program. A new command is tested without an entry in a list."""
    assert OUTSIDE.keys() | REPORTING | BESIDES.keys() <= HELP.keys() and len(TRIED) > 50


@pytest.mark.parametrize("name", TRIED)
def test_each_command_says_that_and_does_nothing(cluster, keys, name):
    before = contents(cluster)
    result = cluster.run(*line(name, cluster.home), settings="other", stdin="Some-password-1\n", check=False)
    assert result.returncode == 78 and not result.stdout, (result.returncode, result.stdout, result.stderr)
    assert len(result.stderr.strip().splitlines()) == 1 and all(key in result.stderr for key in keys), result.stderr
    assert contents(cluster) == before


def test_what_reports_problems_reports_that_one(cluster, keys):
    before = contents(cluster)
    for options in ([], ["--deep"], ["--org", "contoso"]):
        result = cluster.run("doctor", "--json", *options, settings="other", check=False)
        assert result.returncode == 2 and not result.stderr, result
        [finding] = json.loads(result.stdout)["findings"]
        assert finding["code"] == "wrong-key-encryption-key" and all(key in finding["message"] for key in keys), finding
    checked = cluster.run("config", "check", settings="other", check=False)
    assert checked.returncode == 1 and all(key in checked.stdout for key in keys), checked
    served = cluster.run("serve", settings="other", check=False)
    assert served.returncode == 78 and all(key in served.stderr for key in keys), served
    (cluster.home / "two.yaml").write_text(re.sub(
        r"(?m)^(database|migrationDatabase): (.*)$", r"\1s: {main: \2, other: \2}", (cluster.home / "other.yaml").read_text()))
    served = cluster.run("serve", settings="two", check=False)
    assert served.returncode == 78 and all(key in served.stderr for key in keys), served
    moved = cluster.run("org", "move", "contoso", "--to", "other", settings="two", check=False)
    assert moved.returncode == 78 and not moved.stdout and all(key in moved.stderr for key in keys), moved
    assert contents(cluster) == before


def test_with_its_own_key_the_deployment_goes_on(cluster, keys):
    """The control: with the right key-encryption key, commands succeed."""
    assert cluster.run("key", "status").returncode == 0
    assert "wrong-key-encryption-key" not in cluster.run("doctor", "--json", check=False).stdout
