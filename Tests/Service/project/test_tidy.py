"""`scripts/tidy`: each rule finds what it forbids, and the project as it is has no problem."""

import ast
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).parents[3]

#: For each rule: the file or files, the text to append (or a pattern and its replacement), and the expected message.
CASES = {
    "try!": ("Sources/Records/A1.swift", "let a = try! f()\n", "A1.swift:1: banned: try! (throw,"),
    "as!": ("Sources/Records/A2.swift", "let a = b as! C\n", "A2.swift:1: banned: as!"),
    "fatalError": ("Sources/Records/A3.swift", "fatalError()\n", "A3.swift:1: banned: fatalError("),
    "TODO": ("Sources/Records/A4.swift", "// TODO: later\n", "A4.swift:1: banned: TODO (file an issue)"),
    "print": ("Sources/Records/A5.swift", "print(1)\n", "A5.swift:1: banned: print("),
    "print of the program": ("Sources/Program/H2.swift", "print(1)\n", "H2.swift:1: banned: print( (CommandOutput"),
    "sleep": ("Tests/RecordsTests/A6.swift", "try await Task.sleep(for: .seconds(1))\n", "A6.swift:1: banned: Task.sleep"),
    "disabled": ("Tests/RecordsTests/A7.swift", "@Test(.disabled())\n", "A7.swift:1: banned: .disabled("),
    "skipped": ("Tests/Service/records/test_c8.py", "pytest.skip('later')\n", "test_c8.py:1: banned: pytest.skip (make it pass, or delete it)"),
    "TODO in Python": ("Benchmarks/c9.py", "# FIXME: later\n", "c9.py:1: banned: FIXME"),
    "names": ("Sources/Records/A8.swift", "private struct Helper {\n", "A8.swift:1: banned: Helper"),
    "uuidString": ("Sources/Records/A9.swift", "UUID(uuidString: a)\n", "A9.swift:1: banned: uuidString:"),
    "objects of a schema": (
        "Sources/Records/D7.swift", 'let a = "c.relnamespace = $1::text::regnamespace AND c.relkind = 2"\n',
        "D7.swift:1: banned: relnamespace = $1::text::regnamespace (SchemaMembers"),
    "JSONSerialization": ("Sources/Records/B1.swift", "JSONSerialization.data()\n", "B1.swift:1: banned: JSONSerialization"),
    "two Bools": ("Sources/Records/F2.swift", "func a(_ b: Bool, _ c: Bool) {}\n", "F2.swift:1: banned: _ b: Bool, _ c: Bool (labels,"),
    "two labelled Bools": ("Sources/Records/F3.swift", "func a(b: Bool = false, c: Bool) {}\n", "F3.swift:1: two flags, b: Bool = false, c: Bool: an enum"),
    "two Bools, one labelled twice": ("Sources/Records/F4.swift", "func a(b: Bool, of c: Bool) {}\n", "F4.swift:1: two flags, b: Bool, of c: Bool: an enum"),
    "two Bools on two lines": ("Sources/Records/G2.swift", "func a(\n    b: Bool,\n    c: Bool?\n) {}\n", "G2.swift:2: two flags, b: Bool, c: Bool: an enum"),
    "option in SQL": ("Sources/Email/F5.swift", 'let a = "m.statecode = 0"\n', "F5.swift:1: banned: statecode = 0 (the option's name"),
    "options in SQL": ("Sources/Email/F6.swift", 'let a = "statuscode IN (6, 7)"\n', "F6.swift:1: banned: statuscode IN (6 (the option's name"),
    "default option in SQL": ("Sources/Email/F7.swift", 'let a = "coalesce(m.incomingemaildeliverymethod, 2) IN (2, 3)"\n', "F7.swift:1: banned: incomingemaildeliverymethod, 2) IN (2 ("),
    "option of a value": ("Sources/Console/F8.swift", 'a(of: "statuscode") == .int(3)\n', "F8.swift:1: banned: \"statuscode\") == .int(3 ("),
    "code of the service": ("Sources/MailRouter/F9.swift", 'let a = "0x80040220"\n', "F9.swift:1: banned: \"0x80040220\" (ServiceCode)"),
    "number of a column": ("Sources/Email/H5.swift", "row.decodeIfPresent(3)\n", "H5.swift:1: banned: decodeIfPresent(3 (the column's name"),
    "SQLSTATE": ("Sources/Records/F1.swift", 'if error.sqlState == "23505" {}\n', 'F1.swift:1: banned: sqlState == "'),
    "libpq": ("Sources/Records/B2.swift", "import CLibPQ\n", "B2.swift:1: banned: import CLibPQ"),
    "OpenSSL": ("Sources/Records/B3.swift", "import COpenSSL\n", "B3.swift:1: banned: import COpenSSL"),
    "libcurl": ("Sources/MailRouter/E3.swift", "import CCurl\n", "E3.swift:1: banned: import CCurl (CurlClient)"),
    "Sendable": ("Sources/Records/B4.swift", "private final class A: @unchecked Sendable {}\n", "B4.swift:1: @unchecked Sendable without"),
    "unsafe": ("Sources/Records/B5.swift", "nonisolated(unsafe) var a = 1\n", "B5.swift:1: nonisolated(unsafe) without"),
    "imports": ("Sources/PostgresClient/B6.swift", "import Records\n", "B6.swift:1: PostgresClient must not import Records"),
    "comments": ("Sources/Records/B7.swift", "package struct B7 {}\n", "B7.swift:1: no doc comment: package struct B7 {}"),
    "comments of a library": ("Sources/CellCrypto/E4.swift", "public struct E4 {}\n", "E4.swift:1: no doc comment: public struct E4 {}"),
    "second type": ("Sources/Records/E5.swift", "struct E5 {}\n\nfinal class Other {}\n", "E5.swift:3: a second type, Other: give it a file"),
    "name of a file": ("Sources/Records/E6.swift", "enum Other {}\n", "E6.swift:1: a file with the type Other has its name"),
    "public": ("Sources/Records/E7.swift", "/// A.\npublic struct E7 {}\n", "E7.swift:2: public in a module that no library has: package"),
    "folders": ("Sources/Records/E8.swift", "// a\n", "Sources/Records:1: "),
    "folders of Swift tests": ([f"Tests/CrowdTests/F{n}.swift" for n in range(17)], "// a\n", "Tests/CrowdTests:1: 17 files of code, more than 16"),
    "folders of service tests": ([f"Tests/Service/crowd/test_f{n}.py" for n in range(17)], "# a\n", "Tests/Service/crowd:1: 17 files of code, more than 16"),
    "folder of a Swift test": ("Tests/RecordsTests/RecordQueryTests.swift", "// a\n", "RecordQueryTests.swift:1: what this tests is in Records/Queries: move it"),
    "folder of Swift tests": ("Tests/RecordsTests/Nowhere/H1.swift", "// a\n", "H1.swift:1: Records has no folder Nowhere: tests have the folders"),
    "length": ("Sources/Records/B8.swift", "// a\n" * 451, "B8.swift:451: longer than 450 lines"),
    "function length": ("Sources/Records/E1.swift", "func a() {\n" + "    b()\n" * 59 + "}\n", "E1.swift:1: a function of 61 lines, more than 60"),
    "length of a Swift test": ("Tests/RecordsTests/H3.swift", "func a() {\n" + "    b()\n" * 59 + "}\n", "H3.swift:1: a function of 61 lines, more than 60"),
    "second type of a Swift test": ("Tests/RecordsTests/H4.swift", "struct H4 {}\n\nstruct Other {}\n", "H4.swift:3: a second type, Other: give it a file"),
    "length of a Python function": ("Tests/Service/records/e1.py", "# a\ndef a():\n" + "    b()\n" * 60, "e1.py:2: a function of 61 lines, more than 60"),
    "length of a function in a script": ("scripts/e1", "#!/usr/bin/env python3\ndef a():\n" + "    b()\n" * 60, "scripts/e1:2: a function of 61 lines, more than 60"),
    "SQL in a call": (
        "Sources/Records/G1.swift", 'let a = b.query(\n    """\n    SELECT a\n' + "    , a\n" * 15 + '    """)\n',
        "G1.swift:2: SQL of 16 lines, more than 15, in a call: give it a name"),
    "role checks": (
        "Sources/Records/H5.swift", 'struct H5 {\n    init() throws { try a.requireSystemAdministrator(to: "b") }\n    func c() throws { try a.requireSystemAdministrator(to: "b") }\n}\n',
        "H5.swift:3: requireSystemAdministrator outside of an initializer: make it a method"),
    "retries": (
        "Sources/Records/E9.swift", "struct E9 {\n    func a() {\n        while true {\n            do { return try b() } catch { c() }\n        }\n    }\n}\n",
        "E9.swift:3: a loop that goes on after an error without a bound"),
    "nesting": (
        "Sources/Records/E2.swift",
        "struct E2 {\n    func a() {\n" + "".join(f"{' ' * 4 * n}if a {{\n" for n in range(2, 6)) + f"{' ' * 24}b.map {{ [a] c in\n"
        + "".join(f"{' ' * 4 * n}}}\n" for n in range(6, -1, -1)),
        "E2.swift:7: a block in 4 others, more than 3"),
    "links": ("docs/b9.md", "# B9\n[x](nowhere.md)\n", "b9.md:2: the link to nowhere.md leads nowhere"),
    "titles": ("docs/c1.md", "no title\n", "c1.md:1: a page begins with its title"),
    "orphans": ("docs/c2.md", "# C2\n", "c2.md:1: nothing refers to this file"),
    "scripts": ("scripts/c3", "#!/bin/sh\n", "scripts/c3:1: nothing refers to this file"),
    "shell": ("Benchmarks/d1", "#!/usr/bin/env bash\n", "Benchmarks/d1:1: SHELL_SCRIPTS in the Makefile lacks this file"),
    "modules": ("Sources/Another/C4.swift", "\n", "scripts/tidy:1: ARROWS lacks the module Another"),
    "dependency unused": ("Package.swift", (r'name: "CurlClient", dependencies: \[', r'\g<0>"JSON", '), "Package.swift:1: CurlClient depends on JSON, and imports it nowhere"),
    "dependency missing": ("Package.swift", (r'"CMigrations", "PostgresClient"', '"CMigrations"'), "Package.swift:1: Migrations imports PostgresClient, which its dependencies lack"),
    "arrow up": ("scripts/tidy", (r'"CurlClient": set\(\)', '"CurlClient": {"Program"}'), "scripts/tidy:1: ARROWS has an arrow up, from CurlClient to Program"),
    "arrow that the page lacks": ("docs/architecture.md", (r"^\| `Migrations` \| `PostgresClient` \|", "| `Migrations` | none of the others |"),
        "architecture.md:1: the table of imports does not say that Migrations imports PostgresClient"),
    "embedded": ("Sources/CConsole/Templates/c5.mustache", "x", "embedded.c:1: Templates/c5.mustache is not embedded"),
    "unknown message": ("Sources/CConsole/Templates/c6.mustache", "{{t.nowhere}}", "en.json:1: the message nowhere is missing"),
    "unused message": ("Sources/CConsole/Messages/en.json", ("^{", '{"unusedMessage": "x",'), "en.json:1: the message unusedMessage is used nowhere"),
    "error of no source": ("Sources/CConsole/Messages/en.json", ("^{", '{"error:Nothing says this.": "x",'), "en.json:1: no source has the error Nothing says this."),
    "finding of no source": ("Sources/CConsole/Messages/en.json", ("^{", '{"finding:nothing finds {1}": "x",'), "en.json:1: no source has the finding nothing finds {1}"),
    "finding with a changed part": ("Sources/CConsole/Messages/en.json", ("^{", '{"finding:the trigger {1} is missing somewhere": "x",'), "no source has the finding the trigger {1} is missing somewhere"),
    "finding of parts from two files": (
        "Sources/CConsole/Messages/en.json", ("^{", '{"finding:{1} is unlogged: a crash empties it {2} no credential is released under them": "x",'),
        "no source has the finding {1} is unlogged: a crash empties it {2} no credential is released under them"),
    "fact of no source": ("Sources/CConsole/Messages/en.json", ("^{", '{"fact:audit sealed/{1} blocks were forgotten": "x",'), "no source has the fact {1} blocks were forgotten"),
    "report of no source": ("Sources/CConsole/Messages/en.json", ("^{", '{"report:Nothing reports this.": "x",'), "no source has the report Nothing reports this."),
    "languages": ("Sources/CConsole/Messages/de.json", ("^{", '{"onlyHere": "x",'), "de.json:1: the message onlyHere is missing here or in English"),
    "findings": ("Sources/Diagnostics/C7.swift", 'let a = "made-up-finding"\n', "en.json:1: there is no message for the finding made-up-finding"),
    "errors": ("docs/web-api.md", (r"^\| 0x80040217 \|", "| 0x80040000 |"), "web-api.md:1: 0x80040000 is in the table of errors, and no code of the API"),
    "error missing": ("docs/web-api.md", None, "web-api.md:1: 0x80040217 ("),
    "guarantees": ("README.md", ("`test_router_credentials`", "`test_nothing_at_all`"), ": no test and no command is called test_nothing_at_all"),
    "promises": ("docs/threat-model.md", ("`test_a_client_that_was_disabled_stays_disabled`", "`test_no_client_stays`"), ": no test of this promise is called test_no_client_stays"),
    "a promise's file": ("docs/threat-model.md", ("`test_two_organizations.py`", "`test_nothing.py`"), ": no test of this promise is called test_nothing.py"),
    "a promise's folder": ("docs/threat-model.md", (r"`test_hosts\.py` in `Tests/Service/organizations`", "`test_hosts.py`"), ": no test of this promise is called test_hosts.py"),
    "a promise without a test": ("docs/threat-model.md", (r"\| `test_guessing\.py` \|", "| none |"), ": this promise names no test"),
    "nobody": ("Sources/Records/D2.swift", "// Nobody knows.\n", "D2.swift:1: the word Nobody (write: no person"),
    "somebody": ("Sources/Records/D3.swift", 'let a = "is somebody\'s"\n', "D3.swift:1: the word somebody's (write: a person"),
    "anybody": ("docs/router.md", (r"\Z", "Before anybody asks.\n"), "the word anybody (write: any person"),
    "everybody": ("Sources/CConsole/Messages/en.json", ('"name": "', r'\g<0>Everybody '), "the word Everybody (write: each person"),
    "whoever": ("Sources/Program/D4.swift", "// For whoever asks.\n", "D4.swift:1: the word whoever (write: a caller that"),
    "whatever": ("docs/console.md", (r"^Lists show", "Whatever lists show"), "the word Whatever (write: any, every"),
    "one's own": ("dist/debian/copyright", (r"\Z", "A connection of one's own.\n"), "the word of one's own (write: its own"),
    "to nothing": ("CHANGELOG.md", (r"\Z", "It came to nothing.\n"), "the word came to nothing (write: fails"),
    "at hand": ("README.md", (r"\Z", "The key at hand.\n"), "the word at hand (write: present"),
    "sentences": ("docs/console.md", (r"\Z", "\n- " + "word " * 30 + "end.\n"), ": a sentence of 31 words (write at most 30): word word"),
    "sentences over lines": ("README.md", (r"\Z", "\n" + "word\n" * 16 + "`a b` [c d](LICENSE) " * 5 + ".\n"), ": a sentence of 31 words (write at most 30): word word"),
    "ratios": ("README.md", (r"\| [^|]* \| higher \|", "| 99 | higher |"), "README.md:1: the ratio of "),
    "exit codes in the page": ("docs/operations.md", (r"^\| 78 \|", "| 79 |"), "operations.md:1: exit codes that are only here or only in the sources: 78, 79"),
    "exit codes in the help": ("Sources/Program/Program.swift", (r"; 64 the command line", "; 65 the command line"), "Program.swift:1: exit codes that are only here or only in the sources: 64, 65"),
    "connections": ("docs/scaling.md", ("and seven more", "and nine more"), "more for each server” is nine, and 7 in Sources/Program/Server/ServedDatabase.swift"),
    "connections of a key change": (
        "Sources/KeyManagement/Change/KeyChange.swift", (r"try await connect\(\), try await connect\(\), ", "try await connect(), "),
        "” is three, and 2 in Sources/KeyManagement/Change/KeyChange.swift"),
    "limits": ("docs/operations.md", (r"48 MiB of a client", "64 MiB of a client"), "of a client” is 64 MiB, and 50331648 in"),
    "limits in the source": ("Sources/Records/Queries/StatementBuilder.swift", ("tableLimit = 16", "tableLimit = 32"), "tables, the tables of subqueries included” is 16, and 32 in"),
    "a step back": ("docs/operations.md", ("0006 and 0009 of", "0006 and 0010 of"), "operations.md:1: the migration 0009 of migrations/config can't be undone and is not named in"),
    "a step back that is possible": ("docs/operations.md", None, "operations.md:1: the migration 0010 of migrations/config is named and can be undone in"),
    "files of a page": ("docs/architecture.md", ("`HTTPService.swift`", "`Service.swift`"), ": no file is called Service.swift"),
    "number missing": ("docs/web-api.md", ("At most 5,000 a page", "At most many a page"), "a page” is not here, and 5000 in"),
    "encrypted in a page": ("docs/recovery.md", (r"`queue\.emailpassword`", "`queue.otherpassword`"), "recovery.md:1: the encrypted attributes are others than here: queue.emailpassword, queue.otherpassword"),
    "encrypted in a test": ("Tests/Reader/cell_reader.py", (r'\["password"\]', '["word"]'), "cell_reader.py:1: the encrypted attributes are others than here: mailbox.password, mailbox.word"),
    "new organizations": ("migrations/organization.sql", (r"^-- Of the migrations \w+", "-- Of the migrations 0"), "organization.sql:1: it is not of these migrations: run scripts/organization-schema"),
    "figures": ("docs/performance.md", (r"\| lower \| ≤ (\d)", r"| lower | ≤ 9\1"), "performance.md:1: the figure "),
}


def run(tree):
    result = subprocess.run([tree / "scripts/tidy"], capture_output=True, text=True)
    return result.returncode, result.stdout.splitlines()


@pytest.fixture(scope="module")
def tree(tmp_path_factory):
    """A copy of the files that Git has or would add."""
    tree = tmp_path_factory.mktemp("tree") / "project"
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    for name in listed.splitlines():
        if (ROOT / name).is_file():
            (tree / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / name, tree / name)
    subprocess.run(["git", "init", "-q", tree], check=True)
    return tree


def changes():
    """Each file to change, with its change."""
    for names, change, _ in CASES.values():
        for name in [names] if isinstance(names, str) else names:
            yield name, change


@pytest.fixture(scope="module")
def told(tree):
    """The output of the script for a tree that breaks every rule."""
    assert run(tree) == (0, [f"tidy: 0 problems in {len(list(files(tree)))} files"])
    for name, change in changes():
        path = tree / name
        if isinstance(change, tuple):
            text, count = re.subn(*change, path.read_text(), count=1, flags=re.M)
            assert count, name
            path.write_text(text)
        elif change:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(change)
    code, lines = run(tree)
    assert code == 1
    return lines


def files(tree):
    return (path for path in tree.rglob("*") if path.is_file() and ".git" not in path.relative_to(tree).parts)


@pytest.mark.parametrize("rule", CASES)
def test_a_rule_that_is_broken_is_told_with_its_place(told, rule):
    assert any(CASES[rule][2] in line for line in told), told


def test_each_rule_has_a_case(told):
    """The output for the broken tree has every message of the script, and every replacement of a ban."""
    source = ast.parse((ROOT / "scripts/tidy").read_text())
    texts = [node.args[2] for node in ast.walk(source) if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "say"]
    rules = [".*".join(re.escape(part.value) if isinstance(part, ast.Constant) else "" for part in getattr(text, "values", [text])) for text in texts]
    lists = {node.targets[0].id: node.value.elts for node in source.body if isinstance(node, ast.Assign) and isinstance(node.value, ast.List)}
    rules += [re.escape(ban.elts[-1].value) for name in ("BANS", "WORDS", "PROOFS") for ban in lists[name]]
    assert len(rules) > 70
    assert [rule for rule in rules if not any(re.search(rule, line) for line in told)] == []


def test_nothing_is_told_beside_what_was_broken(told):
    # These changes also break a second rule.
    added = [re.search('"(.*?)"', change[1]).group(1) for _, change, said in CASES.values() if "no source has the" in said]
    along = ["c3:1: SHELL_SCRIPTS in the Makefile lacks this file", "nothing refers to this file", "is not embedded", "the message unusedMessage is missing here or in English",
             *(f"the message {key} is missing here or in English" for key in added), "the table of imports does not say that CurlClient imports Program"]
    expected = [said for _, _, said in CASES.values()] + along
    assert [line for line in told[:-1] if not any(said in line for said in expected)] == []
