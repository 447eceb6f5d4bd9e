"""Languages of the console: a file is all that one takes, and no text of a page is from elsewhere."""

import json
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).parents[4]
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
    """The languages in a program that is built of this folder, with their lengths."""
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
    # Those of the European Union, written from left to right.
    assert set("bg cs da de el en es et fi fr ga hr hu it lt lv mt nl pl pt ro sk sl sv".split()) < set(named)
