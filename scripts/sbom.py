"""Lists the components of the released program: Swift packages and libraries that are linked into it, and libraries that it loads.

The file embedded.py lists the libraries inside Swift and inside the packages.

    scripts/sbom.py BINARY    prints the license texts of everything that is linked into a program, for a container image
"""

import datetime
import json
import pathlib
import re
import subprocess
import sys
import uuid

import embedded

#: The known licenses: words that a license text contains, and the license's SPDX identifier.
LICENSES = [("Apache License", "Apache-2.0"), ("MIT License", "MIT"), ("Permission is hereby granted", "MIT"), ("Redistribution and use", "BSD-3-Clause")]
ROOT = pathlib.Path(__file__).resolve().parent.parent


def components(root, binary):
    """The Swift packages in Package.resolved with the code inside of them, Swift itself with ICU, and Debian's libraries."""
    pins = json.loads((root / "Package.resolved").read_text())["pins"]
    checkouts = binary.parent.parent / "checkouts"
    found = [package(checkouts, pin) for pin in sorted(pins, key=lambda pin: pin["identity"])]
    found += embedded.components(checkouts, {folder(entry["url"]): entry["version"] for entry in found})
    return found + embedded.swift(*compiler()) + list(debian(binary))


def compiler():
    """The folder of Swift's libraries, and its version."""
    said = json.loads(subprocess.run(["swift", "-print-target-info"], check=True, capture_output=True, text=True).stdout)
    version = re.search(r"Swift version (\S+)", said["compilerVersion"]).group(1)
    return pathlib.Path(said["paths"]["runtimeResourcePath"]), version


def folder(location):
    """The name of the folder into which Swift checks out a package."""
    return pathlib.PurePosixPath(location).name.removesuffix(".git")


def package(checkouts, pin):
    home = checkouts / folder(pin["location"])
    texts = [p.read_text() for p in sorted(home.iterdir()) if re.match(r"(LICENSE|LICENCE|NOTICE|COPYING)", p.name, re.IGNORECASE) and p.is_file()]
    if not texts:
        raise SystemExit(f"{home} has no license text. Resolve the packages first: swift package resolve.")
    version = pin["state"].get("version") or pin["state"]["revision"]
    path = re.sub(r"^https://|\.git$", "", pin["location"])
    known = next((name for words, name in LICENSES if words in texts[0]), None)
    if not known:
        raise SystemExit(f"The license of {pin['identity']} is not known. Add it to LICENSES in scripts/sbom.py.")
    return {"name": pin["identity"], "version": version, "purl": f"pkg:swift/{path}@{version}", "license": known, "url": pin["location"],
            "text": "\n\n".join(texts), "linked": True, "revision": pin["state"]["revision"]}


def debian(binary):
    """The installed Debian packages of the shared libraries that the program names."""
    needed = re.findall(r"NEEDED\)\s+Shared library: \[(.+?)\]", subprocess.run(["readelf", "-d", binary], check=True, capture_output=True, text=True).stdout)
    paths = dict(re.findall(r"^\s*(\S+) => (/\S+)", subprocess.run(["ldd", binary], check=True, capture_output=True, text=True).stdout, re.MULTILINE))
    names = set()
    for library in needed:
        # dpkg may know a file of /lib by its path below /usr/lib. Swift's own libraries belong to no Debian package.
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
            # CycloneDX has several licenses, or a license with an exception, as an expression.
            component["licenses"] = [{"expression": entry["license"]} if " " in entry["license"] else {"license": {"id": entry["license"]}}]
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
    """The license texts of everything that is linked into the program."""
    parts = [f"{'=' * 78}\n{e['name']} {e['version']}\n{e['url']}\n{'=' * 78}\n\n{e['text'].strip()}\n" for e in found if e["linked"]]
    return "What is linked into fieldseal, with the license of each part.\n\n" + "\n".join(parts)


def copyright_file(root):
    """The text of debian/copyright for the packages."""
    return (root / "dist/debian/copyright").read_text()


if __name__ == "__main__":
    print(licenses(components(ROOT, pathlib.Path(sys.argv[1]))), end="")
