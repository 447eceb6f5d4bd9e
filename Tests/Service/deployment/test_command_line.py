"""The help of commands, and their exit codes: a wrong command line has another exit code than work that failed."""

import datetime
import json
import os
import pwd
import shlex
import subprocess
import tempfile

from service import PATIENCE, PROGRAM

WRONG_LINE, NOT_DONE, TO_CORRECT = 64, 1, 78


def commands(command, path=()):
    """Each command with its path, read from the program's help."""
    yield path, command
    for inner in command.get("subcommands", []):
        if inner["commandName"] != "help":
            yield from commands(inner, (*path, inner["commandName"]))


HELP = dict(commands(json.loads(subprocess.run([PROGRAM, "--experimental-dump-help"], check=True, capture_output=True).stdout)["command"]))


def help_of(path, name):
    return next(a["abstract"] for a in HELP[path]["arguments"] if a["valueName"] == name or any(n["name"] == name for n in a.get("names", [])))


def test_every_command_and_argument_has_a_text():
    for path, command in HELP.items():
        assert command["abstract"], path
        for argument in command.get("arguments", []):
            assert argument.get("abstract") or not argument.get("shouldDisplay", True), (path, argument)


def declared(path, words):
    """Checks the words after a command's name against the arguments that the command declares."""
    named, places = {}, []
    for argument in HELP[path]["arguments"]:
        if argument["kind"] == "positional":
            places.append(argument)
        named |= {("--" if name["kind"] == "long" else "-") + name["name"]: argument for name in argument.get("names", [])}
    given, free = set(), 0
    while words:
        word = words.pop(0)
        if not word.startswith("-"):
            free += 1
            continue
        assert word in named, (path, word)
        given.add(named[word]["valueName"])
        if named[word]["kind"] == "option":
            assert words and not words[0].startswith("-"), (path, word)
            words.pop(0)
    assert sum(not a.get("isOptional", False) for a in places) <= free <= len(places), (path, free)
    assert all(a.get("isOptional", False) or a["valueName"] in given for a in named.values()), path


def test_every_command_has_one_example_that_it_would_take():
    for path, command in HELP.items():
        if command.get("subcommands"):
            continue
        shown = subprocess.run([PROGRAM, *path, "--help"], check=True, capture_output=True, text=True).stdout
        example = command.get("discussion", "").split("EXAMPLE:\n")
        assert len(example) == 2 and "EXAMPLE:" in shown, path
        name, *words = shlex.split(example[1])
        assert name == "fieldseal" and tuple(words[:len(path)]) == path, (path, words)
        declared(path, words[len(path):])


def test_the_organization_of_a_command_is_explained_as_it_is():
    for path in (("verify",), ("events", "verify")):
        assert help_of(path, "org") == "Only this organization. Without --org: all organizations."
    assert "if there is only one" in help_of(("key", "show"), "org")


def test_an_answer_that_declines_is_no_wrong_command_line(cluster):
    for arguments in (("org", "attach", "contoso"), ("migrate", "down", "contoso"), ("org", "remove", "contoso", "--without-export")):
        refused = cluster.run(*arguments, stdin="no\n", check=False)
        assert refused.returncode == NOT_DONE and "othing was changed" in refused.stderr and "Usage" not in refused.stderr, refused


def test_a_file_that_exists_is_no_wrong_command_line(cluster, tmp_path):
    there = tmp_path / "there"
    there.write_text("kept")
    for arguments in (("org", "export", "contoso", str(there)), ("key", "show", "--file", str(there))):
        refused = cluster.run(*arguments, check=False)
        assert refused.returncode == NOT_DONE and "exists" in refused.stderr and "Usage" not in refused.stderr, refused
    assert there.read_text() == "kept"


def test_an_address_without_tls_is_named(cluster):
    refused = cluster.run("router", "--service", "http://crm.example", "--client-id", "x", settings=None, check=False)
    assert refused.returncode == TO_CORRECT and "http://crm.example" in refused.stderr and "Usage" not in refused.stderr, refused


def test_a_wrong_command_line_shows_the_usage_of_its_command(cluster, tmp_path):
    future = (datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=2)).strftime("%Y-%m-%d")
    for date in ("yesterday", "2026-02-30", future):
        refused = cluster.run("events", "archive", "--before", date, "--to", str(tmp_path / "archive"), check=False)
        assert refused.returncode == WRONG_LINE and date in refused.stderr and "Usage: fieldseal events archive" in refused.stderr, refused
    assert not (tmp_path / "archive").exists()
    refused = cluster.run("client", "remove-key", "app", "nope", check=False)
    assert refused.returncode == WRONG_LINE and "Usage: fieldseal client remove-key" in refused.stderr
    cluster.run("org", "create", "second")
    refused = cluster.run("key", "status", check=False)
    assert refused.returncode == WRONG_LINE and "contoso, second" in refused.stderr and "Usage" not in refused.stderr
    cluster.run("org", "remove", "second", "--without-export", stdin="second\n")


def test_messages_name_the_next_command(cluster, tmp_path):
    active = cluster.run("key", "activate", stdin="some key that is long enough\n", check=False)
    assert active.returncode == NOT_DONE and "fieldseal key change --own --org contoso" in active.stderr and "ChangeEncryptionKey" not in active.stderr
    assert cluster.run("retention").stdout.startswith("None of retention.eventDays, retention.auditDays and retention.emailDays is set")
    text = tmp_path / "text"
    text.write_text("this is no dump\n" * 100)
    refused = cluster.run("backup", "check", str(text), settings=None, check=False)
    assert refused.returncode == NOT_DONE and str(text) in refused.stderr and "Name a dump that pg_dump wrote" in refused.stderr


def test_a_refusal_names_the_file_and_its_reason(cluster, tmp_path):
    missing = str(tmp_path / "none" / "x")
    shown = cluster.run("key", "show", "--file", missing, check=False)
    assert shown.returncode == NOT_DONE and f"{missing} can't be written: No such file" in shown.stderr, shown.stderr
    made = cluster.run("kek", "create", missing, settings=None, check=False)
    assert made.returncode == NOT_DONE and f"{missing} can't be written" in made.stderr, made.stderr
    purged = cluster.run("key", "purge", str(cluster.key_version()), check=False)
    assert purged.returncode == NOT_DONE and "is in force, and can't be purged" in purged.stderr, purged.stderr
    approved = cluster.run("approval", "approve", "x", check=False)
    assert approved.returncode == WRONG_LINE and "fieldseal approval approve" in approved.stderr, approved.stderr
    export, wrong = tmp_path / "contoso.fieldseal", tmp_path / "key"
    cluster.run("org", "export", "contoso", str(export))
    wrong.write_text("Another-key-than-its-own-1!\n")
    wrong.chmod(0o600)
    inspected = cluster.run("org", "inspect", str(export), "--key-file", str(wrong), settings=None, check=False)
    assert inspected.returncode == NOT_DONE and "this key does not open it" in inspected.stdout and "no key was given" not in inspected.stdout


def test_a_key_that_does_not_fit_on_the_disk_leaves_no_file(cluster, tmp_path):
    """The key does not fit: the file system has one page, which another file uses."""
    script = (
        'mount -t tmpfs -o size=4k none "$1"; head -c 4096 /dev/zero > "$1/other"; shift; file=$1; shift; "$@"; code=$?; '
        '[ ! -e "$file" ] || echo "the file is there" >&2; exit $code')
    file = tmp_path / "contoso.key"
    command = [PROGRAM, "key", "show", "--org", "contoso", "--settings", cluster.home / "direct.yaml", "--file", file]
    ended = subprocess.run(
        ["unshare", "--mount", "--propagation", "private", "bash", "-c", script, "full", tmp_path, file, *command], capture_output=True, text=True,
        timeout=PATIENCE, check=False)
    assert ended.returncode == NOT_DONE and f"{file} can't be written: No space left on device" in ended.stderr and "is there" not in ended.stderr, ended


def test_a_key_is_read_from_the_file_that_it_was_written_to(cluster, tmp_path):
    """`key show` writes the key to --file. `key activate` reads it with --file or --key-file."""
    file = tmp_path / "contoso.key"
    cluster.run("key", "show", "--org", "contoso", "--file", str(file))
    for option in ("--file", "--key-file"):
        activated = cluster.run("key", "activate", "--org", "contoso", option, str(file), check=False)
        assert activated.returncode != WRONG_LINE and "Unknown option" not in activated.stderr, activated


def test_programs_of_postgresql_do_not_complain_of_the_folder(tmp_path):
    """The program runs as a user who can't enter the working folder."""
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    with tempfile.NamedTemporaryFile(dir="/dev/shm") as file:
        os.chmod(file.name, 0o644)
        file.write(b"no dump")
        file.flush()
        ended = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "backup", "check", file.name], cwd=closed, capture_output=True,
            text=True, timeout=PATIENCE, check=False, env={"PATH": os.environ["PATH"]})
    assert ended.returncode == NOT_DONE and "change directory" not in ended.stderr + ended.stdout and "archive" in ended.stderr + ended.stdout, ended


def test_settings_without_a_key_name_each_way_to_give_one(cluster, tmp_path):
    file = tmp_path / "fieldseal.yaml"
    file.write_text("".join(line for line in (cluster.home / "direct.yaml").read_text().splitlines(keepends=True) if not line.startswith("kekFile")))
    refused = cluster.run("key", "status", "--settings", str(file), settings=None, check=False)
    assert refused.returncode == NOT_DONE and all(name in refused.stderr for name in ("kekFile", "kek.credential", "kek.command", "kek.pkcs11")), refused


def test_a_file_that_this_user_may_not_read_is_said_to_be_so(cluster, tmp_path):
    """Also if the file is in a folder that the user can't enter."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as name:
        os.chmod(name, 0o755)
        closed = os.path.join(name, "closed")
        os.mkdir(closed, 0o700)
        for place in (name, closed):
            file = os.path.join(place, "fieldseal.yaml")
            with open(file, "w", encoding="utf-8") as opened:
                opened.write("database: x\n")
            os.chmod(file, 0o600)
            ended = subprocess.run(
                ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "config", "check", "--settings", file], cwd="/", capture_output=True,
                text=True, timeout=PATIENCE, check=False, env={"PATH": os.environ["PATH"]})
            assert ended.returncode == NOT_DONE and f"{file} can't be read: Permission denied" in ended.stderr, ended
        # The working folder is closed to this user, so the command ignores settings in it.
        ended = subprocess.run(
            ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", PROGRAM, "config", "check"], cwd=closed, capture_output=True, text=True,
            timeout=PATIENCE, check=False, env={"PATH": os.environ["PATH"]})
        assert ".fieldseal/fieldseal.yaml can't be read" not in ended.stderr, ended
    compared = cluster.run("events", "verify", "--org", "contoso", "--against", str(tmp_path), check=False)
    assert f"{tmp_path} can't be read: Is a directory" in compared.stderr, compared


def test_a_setting_that_is_given_twice_is_shown_with_both_lines(tmp_path):
    file = tmp_path / "fieldseal.yaml"
    for text, lines in (("a: 1\nkekFile: x\n\nhttps:\n  kekFile: z\nkekFile: y\n", "at line 2 and at line 6"), ("https:\n  port: 1\n  host: x\n  port: 2\n", "at line 2 and at line 4")):
        file.write_text(text)
        refused = subprocess.run([PROGRAM, "config", "check", "--settings", file], capture_output=True, text=True, timeout=PATIENCE, check=False)
        assert refused.returncode == NOT_DONE and f"twice, {lines}" in refused.stderr, refused.stderr


def test_a_person_who_is_added_is_told_where_to_sign_in(cluster):
    added = cluster.run("user", "add", "eve", "--org", "contoso", "--role", "Basic User", stdin="A-long-password-of-eves-1\n")
    assert "https://localhost:8443/contoso/" in added.stdout, added.stdout


def test_events_of_commands_have_the_person_at_the_machine(cluster):
    """The name comes from the kernel's audit (loginuid), or from sudo."""
    with open("/proc/self/loginuid", encoding="ascii") as file:
        login = int(file.read())
    cluster.run("client", "add", "of-ada", "--org", "contoso", "--role", "Basic User", env={**os.environ, "SUDO_USER": "ada"})
    without = {name: value for name, value in os.environ.items() if name != "SUDO_USER"}
    cluster.run("client", "add", "of-none", "--org", "contoso", "--role", "Basic User", env=without)
    events = [json.loads(line) for line in cluster.run("events", "export", "--org", "contoso").stdout.splitlines()]
    by_details = {event["details"].split(",")[0]: event for event in events if event.get("kind") == "client added"}
    known = pwd.getpwuid(login).pw_name if login != 0xFFFFFFFF else None
    own = pwd.getpwuid(os.geteuid()).pw_name
    assert by_details["of-ada"]["operator"] == (known or "ada") or known == own
    assert by_details["of-none"]["operator"] == (known if known != own else None)
    assert by_details["of-ada"]["actor"] == f"cli:{own}", "the actor, from which rights follow, is the operating system's user"
    assert "problems" in cluster.run("events", "verify", "--org", "contoso", "--json").stdout


def test_the_doctor_says_how_a_ledger_with_a_missing_row_is_restored(cluster):
    [(name,)] = cluster.sql("DELETE FROM org_contoso.migration WHERE name = (SELECT max(name) FROM org_contoso.migration) RETURNING name")
    findings = json.loads(cluster.run("doctor", "--json", check=False).stdout)["findings"]
    [advice] = [finding["advice"] for finding in findings if finding["code"] == "migration-problem"]
    cluster.sql(advice.split("as the owner: ")[1].split(". Else")[0])
    assert cluster.sql("SELECT max(name) FROM org_contoso.migration") == [(name,)]
    cluster.run("migrate", "verify")
