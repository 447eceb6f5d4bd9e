"""What is in the shipped program: the Swift packages that are linked into it, and the libraries that it loads."""

import datetime
import json
import pathlib
import re
import subprocess
import uuid

#: By the first words of each license that occurs.
LICENSES = [("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("Permission is hereby granted", "MIT"), ("Redistribution and use", "BSD-3-Clause")]
#: Runtime of Swift, which the release build links in.
SWIFT = "https://www.swift.org/LICENSE.txt"


def components(root, binary):
    """Swift packages from Package.resolved with their license texts, Swift itself, and Debian's libraries."""
    pins = json.loads((root / "Package.resolved").read_text())["pins"]
    found = [package(binary.parent.parent / "checkouts", pin) for pin in sorted(pins, key=lambda pin: pin["identity"])]
    version = re.search(r"Swift version (\S+)", subprocess.run(["swift", "--version"], check=True, capture_output=True, text=True).stdout)
    found.append({"name": "swift", "version": version.group(1), "purl": f"pkg:generic/swift@{version.group(1)}", "license": "Apache-2.0",
                  "url": SWIFT, "text": f"Apache License 2.0 with Runtime Library Exception: {SWIFT}", "linked": True})
    return found + list(debian(binary))


def package(checkouts, pin):
    folder = checkouts / pathlib.PurePosixPath(pin["location"]).name.removesuffix(".git")
    texts = [p.read_text() for p in sorted(folder.iterdir()) if re.match(r"(LICENSE|LICENCE|NOTICE|COPYING)", p.name, re.IGNORECASE) and p.is_file()]
    if not texts:
        raise SystemExit(f"{folder} has no license text. Resolve the packages first: swift package resolve.")
    version = pin["state"].get("version") or pin["state"]["revision"]
    path = re.sub(r"^https://|\.git$", "", pin["location"])
    known = next((name for words, name in LICENSES if words in texts[0]), None)
    if not known:
        raise SystemExit(f"The license of {pin['identity']} is not known. Add it to LICENSES in scripts/sbom.py.")
    return {"name": pin["identity"], "version": version, "purl": f"pkg:swift/{path}@{version}", "license": known, "url": pin["location"],
            "text": "\n\n".join(texts), "linked": True, "revision": pin["state"]["revision"]}


def debian(binary):
    """The installed packages that have the libraries which the program itself names."""
    needed = re.findall(r"NEEDED\)\s+Shared library: \[(.+?)\]", subprocess.run(["readelf", "-d", binary], check=True, capture_output=True, text=True).stdout)
    paths = dict(re.findall(r"^\s*(\S+) => (/\S+)", subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout, re.MULTILINE))
    names = set()
    for library in needed:
        # Files of /lib are registered under one of two names; Swift's own libraries under none.
        for path in filter(None, (paths.get(library), paths.get(library, "").replace("/lib/", "/usr/lib/", 1))):
            result = subprocess.run(["dpkg", "-S", path], capture_output=True, text=True)
            if result.returncode == 0:
                names.add(result.stdout.split(":")[0])
    for name in sorted(names):
        version = subprocess.run(["dpkg-query", "-W", "-f=${Version}", name], check=True, capture_output=True, text=True).stdout
        yield {"name": name, "version": version, "purl": f"pkg:deb/debian/{name}@{version.replace('+', '%2B').replace(':', '%3A')}", "license": None,
               "url": f"https://tracker.debian.org/pkg/{name}", "text": None, "linked": False}


def cyclonedx(version, found):
    """The bill of materials, CycloneDX 1.5 in JSON."""
    listed = []
    for entry in found:
        component = {"type": "library", "bom-ref": entry["purl"], "name": entry["name"], "version": entry["version"], "purl": entry["purl"],
                     "scope": "required", "externalReferences": [{"type": "distribution", "url": entry["url"]}]}
        if entry["license"]:
            component["licenses"] = [{"license": {"id": entry["license"]}}]
        if "revision" in entry:
            component["properties"] = [{"name": "vcs:revision", "value": entry["revision"]}]
        listed.append(component)
    main = {"type": "application", "bom-ref": "fieldseal", "name": "fieldseal", "version": version, "licenses": [{"license": {"id": "Apache-2.0"}}]}
    document = {
        "bomFormat": "CycloneDX", "specVersion": "1.5", "version": 1, "serialNumber": f"urn:uuid:{uuid.uuid4()}",
        "metadata": {"timestamp": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"), "component": main},
        "components": listed,
        "dependencies": [{"ref": "fieldseal", "dependsOn": [entry["purl"] for entry in found]}],
    }
    return json.dumps(document, indent=1) + "\n"


def licenses(found):
    """The license texts of what is linked into the program."""
    parts = [f"{'=' * 78}\n{e['name']} {e['version']}\n{e['url']}\n{'=' * 78}\n\n{e['text'].strip()}\n" for e in found if e["linked"]]
    return "What is linked into fieldseal, with the license of each part.\n\n" + "\n".join(parts)


def copyright_file(root):
    """debian/copyright of the packages."""
    return (root / "dist/debian/copyright").read_text()
