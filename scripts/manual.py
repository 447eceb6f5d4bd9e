"""Makes the manual pages and completions from the program's own help and from the table of settings in docs/operations.md."""

import json
import pathlib
import re
import subprocess

SHELLS = ("bash", "zsh", "fish")


def completions(binary):
    """The completion scripts, by shell."""
    scripts = {shell: output(binary, "--generate-completion-script", shell) for shell in SHELLS}
    # bash sources this file and does not execute it, so the file needs no line with an interpreter.
    return {**scripts, "bash": scripts["bash"].removeprefix("#!/bin/bash\n")}


def pages(binary, root, version):
    """The manual pages, by file name: one for the program, one for each of its commands, one for the settings."""
    program = json.loads(output(binary, "--experimental-dump-help"))["command"]
    commands = [c for c in program["subcommands"] if c["commandName"] != "help"]
    made = {"fieldseal.1": page(program, "fieldseal", commands, version), "fieldseal.yaml.5": settings(root, version)}
    for command in commands:
        name = f"fieldseal-{command['commandName']}"
        made[f"{name}.1"] = page(command, name, None, version)
    return made


def output(binary, *arguments):
    return subprocess.run([binary, *arguments], check=True, text=True, stdout=subprocess.PIPE).stdout


def roff(text):
    """Escapes a text: backslashes, hyphens, and characters that begin a request at the start of a line."""
    text = text.replace("\\", "\\e").replace("-", "\\-").replace("`", "")
    return re.sub(r"^([.'])", r"\\&\1", text, flags=re.MULTILINE)


def head(name, section, abstract, version):
    return [f'.TH {name.upper()} {section} "" "fieldseal {version}" "Fieldseal"', ".SH NAME", f"{roff(name)} \\- {roff(abstract.rstrip('.'))}"]


def page(command, name, commands, version):
    lines = head(name, 1, command["abstract"], version)
    lines += [".SH SYNOPSIS", f".B {roff(name.replace('-', ' ', 1))}", "[\\fIcommand\\fR] [\\fIoptions\\fR]" if command.get("subcommands") else "[\\fIoptions\\fR]"]
    if "discussion" in command:
        lines += [".SH DESCRIPTION", *paragraphs(command["discussion"])]
    if commands is None:
        lines += body(command, name.split("-", 1)[1])
    else:
        lines += [".SH COMMANDS"]
        for entry in commands:
            lines += [".TP", f".BR fieldseal\\-{roff(entry['commandName'])} (1)", roff(entry["abstract"])]
    lines += [".SH SEE ALSO", ".BR fieldseal (1)," if commands is None else "", ".BR fieldseal.yaml (5)"]
    return "\n".join(line for line in lines if line) + "\n"


def body(command, words):
    """The options of a command, and its subcommands with their options."""
    lines = [".SH OPTIONS", *options(command)] if options(command) else []
    for entry in command.get("subcommands", []):
        if entry["commandName"] == "help":
            continue
        lines += [f'.SH "{words.upper()} {entry["commandName"].upper()}"', roff(entry.get("abstract", ""))]
        lines += [".PP", *paragraphs(entry["discussion"])] if "discussion" in entry else []
        lines += options(entry)
    return lines


def options(command):
    lines = []
    for argument in command.get("arguments", []):
        names = argument.get("names", [])
        if not argument.get("shouldDisplay", True) or any(n["name"] in ("help", "version") for n in names):
            continue
        value = f"\\fI{roff(argument.get('valueName', 'value'))}\\fR"
        shown = ", ".join(f"\\fB{roff(('--' if n['kind'].startswith('long') and len(n['name']) > 1 else '-') + n['name'])}\\fR" for n in names)
        if argument["kind"] == "option":
            shown += f" {value}"
        lines += [".TP", shown or value, roff(argument.get("abstract", "")) or "\\&"]
    return lines


def paragraphs(text):
    parts = [roff(part.strip()) for part in text.split("\n\n")]
    return [line for part in parts for line in (part, ".PP")][:-1]


def settings(root, version):
    """fieldseal.yaml(5), from the table of settings."""
    text = (pathlib.Path(root) / "docs/operations.md").read_text()
    section = text[text.index("\n## Settings\n"):]
    section = section[:section.index("\n## ", 4)]
    rows = [[cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]] for line in section.splitlines() if line.startswith("| `")]
    lines = head("fieldseal.yaml", 5, "settings of Fieldseal", version)
    lines += [".SH DESCRIPTION", *paragraphs(plain(section.split("| key |")[0].split("\n", 2)[2])), ".SH SETTINGS"]
    for key, default, meaning in rows:
        lines += [".TP", f"\\fB{roff(plain(key))}\\fR", roff(plain(f"{meaning} (default: {default})"))]
    return "\n".join(lines + [".SH SEE ALSO", ".BR fieldseal (1),", ".BR fieldseal\\-config (1)"]) + "\n"


def plain(text):
    """A Markdown text without its markup."""
    return re.sub(r"\[([^]]*)\]\([^)]*\)", r"\1", text).replace("`", "").replace("**", "").strip()
