"""Languages of the console: adding a language takes one file, and every text of a page comes from that file."""

import html
import json
import pathlib
import re
import shutil
import subprocess

import pytest
import test_console_pages
from test_console_tasks import Person

ROOT = pathlib.Path(__file__).parents[4]
MESSAGES = test_console_pages.MESSAGES
console = test_console_pages.console
LIST = """
#include <stdio.h>
#include <string.h>
#include "CConsole.h"
int main(void) {
    size_t count;
    const struct console_language *languages = console_languages(&count);
    for (size_t i = 0; i < count; i++) printf("%s %zu\\n", languages[i].name, strlen(languages[i].text));
}
"""


def built(folder):
    """Compiles the folder into a program. Returns the names of the languages in the program, with the length of each file."""
    (folder / "list.c").write_text(LIST)
    compiler = pathlib.Path(shutil.which("swift")).resolve().with_name("clang")
    subprocess.run([compiler, "-std=c23", "-Wall", "-Werror", f"-I{folder}/include", folder / "list.c", folder / "languages.c", "-o", folder / "list"], check=True)
    return dict(line.rsplit(" ", 1) for line in subprocess.run([folder / "list"], check=True, capture_output=True, text=True).stdout.splitlines())


def test_a_file_alone_adds_a_language(tmp_path):
    folder = tmp_path / "CConsole"
    shutil.copytree(ROOT / "Sources/CConsole", folder)
    files = {f"Messages/{path.name}": str(path.stat().st_size) for path in (folder / "Messages").glob("*.json")}
    assert built(folder) == files and len(files) > 2
    (folder / "Messages/it.json").write_text(json.dumps({"overview": "Panoramica"}))
    assert built(folder) == {**files, "Messages/it.json": "26"}
    (folder / "Messages/fr.json").unlink()
    assert "Messages/fr.json" not in built(folder)


def test_every_language_that_is_named_may_have_a_file():
    named = re.findall(r'#define FILE "Messages/(\w+)\.json"', (ROOT / "Sources/CConsole/languages.c").read_text())
    assert named == sorted(set(named)) and len(named) > 40 and all(len(name) == 2 for name in named)
    # The 24 official languages of the European Union.
    assert set("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv".split()) < set(named)


# Texts that come from no message file


#: Patterns of Swift strings with several words that no page shows, and the reason.
UNSEEN = {
    r"^There is no such |can't hold the character|^The role .* may not do this|^The form of the key has no step": "is an error, which has words in each language",
    r"^ records handed over to $": "is in the details of events, which have words in each language",
    r"^fieldseal key control$": "is a command",
    r"^a statement failed in the database$": "is for the log",
    r"^it is short$": "is compared with the beginning of a verdict, which has words in each language",
    r"^(change|manage|read|require|see) ": "is in a refusal, which has words in each language",
    r"^(SELECT|INSERT|UPDATE|DELETE|SET) ": "is SQL",
    r"^Choose (a role|one of the values)": "is an error, which has words in each language",
    r"(charset=|; filename|max-age|default-src|no-store)": "is a header",
    r"^\{\{% CONTENT_TYPE": "is for the templates",
}


def swift_strings():
    """The string literals in the console's sources, without interpolations and comments."""
    for path in sorted((ROOT / "Sources/Console").rglob("*.swift")):
        source = re.sub(r"(?m)^\s*//.*$", "", path.read_text())
        for literal in re.findall(r'"((?:[^"\\\n]|\\.)*)"', source):
            yield path.name, literal


def test_the_sources_of_pages_have_no_words_of_their_own():
    errors = {key.removeprefix("error:") for key in MESSAGES["en"] if key.startswith("error:")}
    found = []
    for name, literal in swift_strings():
        plain = re.sub(r"\\\(.*\)", " ", literal)
        words = re.findall(r"\b[A-Za-z][a-z]{2,}\b", plain)
        # Skips strings without three words in a row: keys, addresses and HTML.
        if not re.search(r"[A-Za-z][a-z]+ [a-z]+ [a-z]+", re.sub(r"<[^>]*>|[\w-]+=\S*", " ", plain)) or len(words) < 3:
            continue
        if literal in errors or any(re.search(pattern, literal) for pattern in UNSEEN):
            continue
        found.append((name, literal))
    assert found == []


def patterns(language):
    """A pattern for each English message with values. Leaves out messages that are the same in the given language."""
    for key, english in MESSAGES["en"].items():
        text = MESSAGES[language][key]
        plain = re.sub(r"\{\w+\}", "", english)
        if "{" not in english or text == english or len(re.findall(r"[A-Za-z]{2,}", plain)) < 3 or key.startswith("format:"):
            continue
        parts = [re.escape(part) for part in re.split(r"\{\w+\}", english)]
        yield key, re.compile(".{1,200}".join(parts))


@pytest.mark.parametrize("language", sorted(set(MESSAGES) - {"en"}))
def test_no_page_shows_an_english_message_with_values(console, language):
    """Checks every page of the list, and pages that are responses to forms."""
    known = list(patterns(language))
    assert len(known) > 100
    admin = Person(console, language)
    answers = {name: admin.session.get(f"{console.pages}/{path}").text for name, path in console.wanted.items()}
    for name, (path, fields) in {
            "another role": ("access/role-user", {"id": console.wanted["person"].rsplit("/", 1)[1], "role": "System Administrator"}),
            "an invitation": ("access/invite-user", {"id": console.wanted["person"].rsplit("/", 1)[1]}),
            "a secret": ("access/rotate-client", {"id": console.wanted["client"].rsplit("/", 1)[1], "overlap": "24"}),
            "a secret at once": ("access/rotate-client", {"id": console.wanted["client"].rsplit("/", 1)[1], "overlap": "0"}),
            "disabling many": ("records/mailboxes/bulk", {"do": "disable", f"id.{console.ids['mailbox']}": "x", f"id.{console.ids['failing']}": "y"}),
            "a profile for many": ("records/mailboxes/bulk", {"do": "profile", "profile": "Own servers", f"id.{console.ids['mailbox']}": "x"}),
            "testing": ("records/mailboxes/bulk", {"do": "test", f"id.{console.ids['long']}": "x"}),
            "a wrong value": (f"records/queues/{console.ids['queue']}", {"emailaddress": "no value", "name": ""}),
            "a second factor": ("account/offer", {}),
            "a test run": ("settings/data-encryption/change", {"do": "rehearse"}),
            "a weak key": ("settings/data-encryption/change", {"do": "review", "key": "weak", "again": "weak"}),
            "signing out": ("sign-out", {"everywhere": "1"})}.items():
        answers[name] = admin.send(path, **fields).text
    found = []
    for name, page in answers.items():
        assert f'<html lang="{language}">' in page, name
        page = re.sub(r'(?s)<(\w+)[^>]*lang="en"[^>]*>.*?</\1>', "", page)
        shown = {re.sub(r"\s+", " ", html.unescape(line)).strip() for line in re.split(r"<[^>]*>", page)}
        shown |= {html.unescape(value) for value in re.findall(r'(?:aria-label|title|placeholder)="([^"]*)"', page)}
        for line in shown:
            found += [(name, key, line) for key, pattern in known if len(line) > 8 and pattern.fullmatch(line)]
    assert found == []
