"""Libraries of other authors whose code is inside Swift or inside a Swift package: their versions and license texts."""

import dataclasses
import pathlib
import re

#: License texts for code whose folder has no license file.
TEXTS = pathlib.Path(__file__).resolve().parent.parent / "dist/licenses"
#: Words in the copyright notice of a file that the package's own authors wrote.
OWN = re.compile(r"This source file is part of|^Yams\.h\s")
NOTICE = re.compile(r"copyright|licen[cs]e|public domain", re.IGNORECASE)
SOURCES = {".c", ".cc", ".cpp", ".h", ".S"}


@dataclasses.dataclass(frozen=True)
class Part:
    """A library: the folder of its code, relative to the folder of packages, and where to find its version and license text."""
    name: str
    folder: str
    license: str
    url: str
    #: A file in the library's folder, and a pattern whose groups are the version. None if the library has the package's version.
    version: tuple[str, str] | None = None
    #: A pattern for the files whose first comment is a copyright notice.
    notices: str = "**/*"
    text: str | None = None


PARTS = [
    Part("boringssl", "swift-crypto/Sources/CCryptoBoringSSL", "Apache-2.0", "https://boringssl.googlesource.com/boringssl", ("hash.txt", r"revision (\w+)")),
    Part("boringssl", "swift-nio-ssl/Sources/CNIOBoringSSL", "Apache-2.0", "https://boringssl.googlesource.com/boringssl", ("hash.txt", r"revision (\w+)")),
    Part("xkcp", "swift-crypto/Sources/CXKCP", "CC0-1.0 AND BSD-3-Clause", "https://github.com/XKCP/XKCP"),
    Part("llhttp", "swift-nio/Sources/CNIOLLHTTP", "MIT", "https://github.com/nodejs/llhttp",
         ("include/c_nio_llhttp.h", r"VERSION_MAJOR (\d+)\s.*VERSION_MINOR (\d+)\s.*VERSION_PATCH (\d+)"), notices="LICENSE"),
    Part("kame-sha1", "swift-nio/Sources/CNIOSHA1", "BSD-3-Clause", "https://github.com/freebsd/freebsd-src", ("c_nio_sha1.c", r"sha1\.c,v ([\d.]+)")),
    Part("cpp-magic", "swift-nio/Sources/CNIOAtomics/src/cpp_magic.h", "MIT", "https://github.com/18sg/uSHET", ("", r"uSHET/blob/(\w+)")),
    Part("zlib", "swift-nio-extras/Sources/CNIOExtrasZlib", "Zlib", "https://zlib.net", ("include/nioextras-zlib.h", r"zlib\.h -- .*?version ([\d.]+)"),
         notices="include/nioextras-zlib.h"),
    Part("libyaml", "Yams/Sources/CYaml", "MIT", "https://github.com/yaml/libyaml", ("../../CHANGELOG.md", r"yaml/libyaml/compare/\w+\.\.\.(\w+)"), text="libyaml.txt"),
]


def components(checkouts, versions):
    """The libraries inside of the packages. `versions` has the versions of the packages, by the names of their folders."""
    covered = [checkouts / part.folder for part in PARTS]
    for file in foreign(checkouts, versions):
        if not any(folder in (file, *file.parents) for folder in covered):
            raise SystemExit(f"{file} has the notice of another author. Add what it belongs to to PARTS in scripts/embedded.py.")
    return [component(part, checkouts, versions) for part in PARTS]


def foreign(checkouts, packages):
    """The C files whose notice is not that of the package's authors."""
    for package in packages:
        for file in sorted((checkouts / package / "Sources").rglob("*")):
            if file.suffix in SOURCES and file.is_file() and (text := notice(file)) and not OWN.search(text):
                yield file


def component(part, checkouts, versions):
    folder = checkouts / part.folder
    package = part.folder.split("/")[0]
    version = f"{package}-{versions[package]}"
    if part.version:
        file, pattern = part.version
        found = re.search(pattern, (folder / file if file else folder).read_text(), re.DOTALL)
        version = ".".join(found.groups()) if found else None
    text = (TEXTS / part.text).read_text() if part.text else notices(folder, part.notices)
    if not version or not text:
        raise SystemExit(f"The version or the license of {part.name} was not found in {folder}. See PARTS in scripts/embedded.py.")
    return {"name": part.name, "version": version, "purl": f"pkg:generic/{part.name}@{version}", "license": part.license, "url": part.url, "text": text, "linked": True}


def notices(folder, pattern):
    """The distinct notices of the files; for a license file, its text."""
    files = [folder] if folder.is_file() else sorted(file for file in folder.glob(pattern) if file.is_file())
    texts = [notice(file) if file.suffix else file.read_text().strip() for file in files if file.suffix in SOURCES or file.name == "LICENSE"]
    return "\n\n".join(dict.fromkeys(text for text in texts if text and not OWN.search(text)))


def notice(file):
    """The first comment of a C file without the comment marks, if it is about copyright."""
    text = file.read_text(errors="replace")[:12_000]
    found = re.match(r"(?:#[^\n]*\n|\s)*((?:\s*/\*.*?\*/|\s*//[^\n]*\n)+)", text, re.DOTALL)
    lines = [re.sub(r"^\s*(?:/\*+|//+|\*+(?!/))? ?|\s*\*+/\s*$", "", line).rstrip() for line in found.group(1).splitlines()] if found else []
    joined = re.sub(r"\n{3,}", "\n\n", "\n".join(lines)).strip()
    return joined if NOTICE.search(joined) else ""


def swift(libraries, version):
    """Swift's own libraries, which are in the folder `libraries`, and ICU, which is compiled into Foundation."""
    library = (libraries / "linux/lib_FoundationICU.so").read_bytes()
    major = re.search(rb"icudt(\d+)", library).group(1)
    icu = re.search(rb"\0(" + major + rb"\.[\d.]+)\0", library).group(1).decode()
    return [
        {"name": "swift", "version": version, "purl": f"pkg:generic/swift@{version}", "license": "Apache-2.0 WITH Swift-exception", "url": "https://www.swift.org",
         "text": (libraries.parent.parent / "share/swift/LICENSE.txt").read_text(), "linked": True},
        {"name": "icu", "version": icu, "purl": f"pkg:generic/icu@{icu}", "license": "Unicode-3.0", "url": "https://icu.unicode.org",
         "text": (TEXTS / "icu.txt").read_text(), "linked": True},
    ]
