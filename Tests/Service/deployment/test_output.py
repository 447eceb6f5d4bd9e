"""A command fails if its output can't be written: on a full disk, if the reader ends, or without a standard output."""

import contextlib
import datetime
import json
import os
import subprocess

import cluster as clusters
import pytest
from service import PATIENCE
from test_command_line import HELP

FULL, PLAIN = "No space left on device", "can't be written"
# Commands that are not tried here: they print nothing at their end, or need a second server, a provider or a person. They print through
# CommandOutput like all commands.
APART = {
    ("dev",), ("serve",), ("router", "run"), ("org", "move"), ("org", "attach"), ("org", "upgrade"), ("issuer", "add"), ("issuer", "link"),
    ("issuer", "remove"), ("approval", "approve"), ("approval", "refuse"), ("client", "add-certificate"), ("client", "remove-key"),
    ("kek", "seal"), ("key", "activate"), ("kek", "rotate"), ("migrate", "down"),
}


@pytest.fixture(scope="module")
def cluster():
    made = clusters.Cluster()
    yield made
    made.remove()


def printed_to(cluster, output, *arguments, settings="direct", stdin=""):
    """Runs a command with this standard output. None closes the standard output."""
    close = (lambda: os.close(1)) if output is None else None
    options = ["--settings", str(cluster.home / f"{settings}.yaml")] if settings else []
    return subprocess.run(
        [cluster.program, *arguments, *options], stdout=output, stderr=subprocess.PIPE, input=stdin, text=True, timeout=PATIENCE, check=False,
        preexec_fn=close)


def lines(cluster, folder):
    """A command line for each command that prints, in an order in which all of them succeed."""
    org, key, export = ("--org", "contoso"), folder / "contoso.key", folder / "contoso.export"
    dump, archive, clone = folder / "dump", folder / "events.archive", ("--org", "clone")
    public = folder / "public.pem"
    subprocess.run(["openssl", "genpkey", "-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256", "-out", folder / "private.pem"], check=True, capture_output=True)
    subprocess.run(["openssl", "pkey", "-in", folder / "private.pem", "-pubout", "-out", public], check=True, capture_output=True)
    subprocess.run(["pg_dump", "-Fc", "-f", dump, cluster.superuser], check=True)
    cluster.run("key", "show", *org, "--file", str(key))
    cluster.run("client", "add", "first", *org, "--role", "Basic User")
    word = "A-long-password-of-a-person-7\n"
    yield from [
        ("config reference",), ("config check",), ("doctor",), ("setup",), ("migrate bootstrap",), ("migrate recovery",), ("migrate up",),
        ("migrate status",), ("migrate verify",), ("org list",), ("org show", "contoso"), ("org suspend", "contoso"), ("org resume", "contoso"),
        ("org export", "contoso", export), ("org inspect", export), ("org create", "second"), ("org rename", "second", "third"),
        ("org remove", "third", "--without-export", "third\n"), ("org import", export, "--name", "clone", "--as-new", "--key-file", key),
        ("key status", *org), ("key show", *org), ("key rehearse", *org), ("key change", *clone), ("key history", *org), ("key cancel", *org),
    ]
    retired = json.loads(cluster.run("key", "history", *clone, "--json").stdout)[1]["keyVersion"]
    yield from [
        ("key purge", str(retired), "--yes", *clone), ("key control", *org), ("kek status",), ("kek create", folder / "kek"), ("kek retire",),
        ("client add", "second", *org, "--role", "Basic User"), ("client rotate", "first", *org), ("client add-key", "first", public, *org),
        ("client list", *org), ("client role", "first", "Email Administrator", *org), ("client disable", "first", *org),
        ("client enable", "first", *org), ("client remove", "first", *org), ("user add", "ada", *org, "--role", "Basic User", word),
        ("user list", *org), ("user role", "ada", "Email Administrator", *org), ("user reset", "ada", *org, word), ("user disable", "ada", *org),
        ("user enable", "ada", *org), ("user end-sessions", "ada", *org), ("user remove", "ada", *org), ("user require-second-factor", *org),
        ("issuer list", *org), ("approval list", *org), ("verify", *org), ("events seal", *org), ("events export", *org), ("events verify", *org),
        ("events archive", *org, "--before", (datetime.datetime.now(datetime.UTC)).strftime("%Y-%m-%dT%H:%M:%SZ"), "--to", archive), ("retention",), ("backup check", dump),
        ("router status", *org),
    ]


def test_a_full_disk_makes_every_command_that_prints_fail(cluster, tmp_path):
    seen, passed = set(), []
    with open("/dev/full", "w", encoding="utf-8") as full:
        for name, *words in lines(cluster, tmp_path):
            path = tuple(name.split())
            seen.add(path)
            stdin = words.pop() if words and str(words[-1]).endswith("\n") else ""
            settings = None if path in {("config", "reference"), ("kek", "create"), ("org", "inspect"), ("backup", "check")} else "direct"
            ended = printed_to(cluster, full, *path, *map(str, words), settings=settings, stdin=stdin)
            if not ended.returncode or PLAIN not in ended.stderr:
                passed.append((path, ended.returncode, ended.stderr))
    assert not passed
    assert seen | APART == {path for path, command in HELP.items() if not command.get("subcommands")}


@pytest.mark.parametrize("words", [("--help",), ("--version",), ("key", "show", "--help"), ("--generate-completion-script", "bash")])
def test_help_that_can_not_be_written_is_an_error(cluster, words):
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = printed_to(cluster, full, *words, settings=None)
    assert ended.returncode == 1 and FULL in ended.stderr, ended


@contextlib.contextmanager
def gone_reader():
    reading, writing = os.pipe()
    os.close(reading)
    try:
        yield writing
    finally:
        os.close(writing)


def test_a_reader_that_is_gone_and_no_output_at_all_are_errors(cluster):
    with gone_reader() as pipe:
        ended = printed_to(cluster, pipe, "events", "export", "--org", "contoso")
    assert ended.returncode == 1 and "Broken pipe" in ended.stderr, ended
    # Without a standard output, descriptor 1 is free. A database connection must not get it.
    for command in (("org", "list"), ("events", "export", "--org", "contoso")):
        ended = printed_to(cluster, None, *command)
        assert ended.returncode == 1 and "Bad file descriptor" in ended.stderr, ended


def test_a_key_counts_as_copied_only_when_it_was_written(cluster, tmp_path):
    cluster.run("org", "create", "uncopied")

    def copied():
        return json.loads(cluster.run("key", "status", "--org", "uncopied", "--json").stdout)["copiedOn"]

    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = printed_to(cluster, full, "key", "show", "--org", "uncopied")
    assert ended.returncode == 1 and FULL in ended.stderr and copied() is None, ended
    ended = printed_to(cluster, None, "key", "show", "--org", "uncopied")
    assert ended.returncode == 1 and copied() is None, ended
    with open(tmp_path / "key", "w", encoding="utf-8") as file:
        assert printed_to(cluster, file, "key", "show", "--org", "uncopied").returncode == 0
    assert copied() and (tmp_path / "key").read_text(encoding="utf-8").strip()


def test_a_secret_that_can_not_be_written_changes_no_client(cluster):
    def clients():
        return cluster.sql(
            """
            SELECT c.name, s.secret_id, s.expires_on FROM config.api_client c JOIN config.api_client_secret s USING (client_id)
             WHERE c.name LIKE 'lost%' ORDER BY 1, 2
            """)

    cluster.run("client", "add", "lost", "--org", "contoso", "--role", "Basic User")
    before = clients()
    for output in ("/dev/full", None):
        with open(output, "w", encoding="utf-8") if output else contextlib.nullcontext() as file:
            added = printed_to(cluster, file, "client", "add", "lost-too", "--org", "contoso", "--role", "Basic User")
            rotated = printed_to(cluster, file, "client", "rotate", "lost", "--org", "contoso")
        assert added.returncode == 1 and "The secret can't be written" in added.stderr and "No client was added" in added.stderr, added
        assert rotated.returncode == 1 and "keeps the secrets that it has" in rotated.stderr, rotated
        assert clients() == before


def test_set_up_says_how_another_secret_is_made(cluster):
    with open("/dev/full", "w", encoding="utf-8") as full:
        ended = printed_to(cluster, full, "setup", "--org", "contoso", "--client", "set-up")
    assert ended.returncode == 1 and "fieldseal client rotate set-up --overlap 0 --org contoso" in ended.stderr, ended
