"""What is installed is what was chosen: hand-kept inputs, and locks that say no more and no less.

``*.in`` name what we use and why; ``make lock`` writes the ``*.txt`` beside them, from which
everything is installed. No test here asks a network.
"""

from __future__ import annotations

import ast
import hashlib
import os
import re
import subprocess
import sys
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest
from django.conf import settings
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
INPUTS = sorted([ROOT / "requirements.in", *(ROOT / "requirements").glob("*.in")])
LOCKS = [path.with_suffix(".txt") for path in INPUTS]
RUNTIME, DEV = ROOT / "requirements.in", ROOT / "requirements" / "dev.in"
ORACLES = [path for path in INPUTS if path.stem.startswith("oracles")]

PRODUCT = ("manage.py", "brokers", "pooling", "streaming", "openalgo_site")
OURS = {"manage", "brokers", "pooling", "streaming", "openalgo_site", "tests", "benchmarks"}
# Run by the interpreters of the other environments, whose packages this one cannot look up.
FOREIGN = ("tests/oracles/", "tests/soak/sdk_clients.py", "benchmarks/codec_oracle.py")
FOREIGN_MODULES = {
    "SmartApi": "smartapi-python",
    "google": "protobuf",
    "upstox_client": "upstox-python-sdk",
    "websocket": "websocket-client",
}
# A neighbour that Python finds in its own folder.
FOREIGN_OURS = {"tally"}

HASH = re.compile(r"--hash=sha256:[0-9a-f]{64}")
PINNED = re.compile(r"==[0-9][0-9A-Za-z.]*")


@dataclass
class Locked:
    """One package of a lock: what is asked for, its hashes, and who brings it along."""

    requirement: Requirement
    hashes: list[str] = field(default_factory=list)
    brought_by: list[str] = field(default_factory=list)

    @property
    def name(self) -> NormalizedName:
        return canonicalize_name(self.requirement.name)

    @property
    def is_for_here(self) -> bool:
        return self.requirement.marker is None or self.requirement.marker.evaluate()


def asked(path: Path) -> list[Requirement]:
    """Return what an input names itself, with what it takes in by ``-r``."""
    found = []
    for line in path.read_text().splitlines():
        text = line.partition("#")[0].strip()
        if text.startswith("-r "):
            found += asked((path.parent / text[3:]).resolve())
        elif text:
            found.append(Requirement(text))
    return found


def names(paths: Iterable[Path]) -> set[NormalizedName]:
    return {canonicalize_name(one.name) for path in paths for one in asked(path)}


def locked(text: str) -> list[Locked]:
    """Read a lock. ValueError: a line that is none of package, hash and comment."""
    found: list[Locked] = []
    for line in text.splitlines():
        words = line.strip().removesuffix("\\").strip()
        if HASH.fullmatch(words):
            found[-1].hashes.append(words)
        elif not line.startswith((" ", "#", "-")):
            found.append(Locked(Requirement(words)))
        elif line.startswith("    #"):
            if who := words.lstrip("# ").removeprefix("via").strip():
                found[-1].brought_by.append(who)
        elif not line.startswith("# "):
            raise ValueError(line)
    return found


def by_file(paths: list[Path]) -> pytest.MarkDecorator:
    return pytest.mark.parametrize(
        "path", paths, ids=[path.relative_to(ROOT).as_posix() for path in paths]
    )


# Inputs


@by_file(INPUTS)
def test_each_line_of_an_input_pins_one_version_and_says_why(path: Path) -> None:
    for line in path.read_text().splitlines():
        if line.startswith(("#", "-r ")):
            continue
        text, _, why = line.partition("#")
        assert PINNED.fullmatch(str(Requirement(text.strip()).specifier)), line
        assert why.strip(), f"{line}: does not say why it is there"


# Locks


@by_file(LOCKS)
def test_each_package_of_a_lock_has_one_version_and_hashes(path: Path) -> None:
    packages = locked(path.read_text())
    assert packages
    for one in packages:
        assert PINNED.fullmatch(str(one.requirement.specifier)), one
        assert one.requirement.url is None
        assert one.hashes, f"{one.name} has no hash"


@by_file(LOCKS)
def test_a_lock_names_no_place_to_fetch_from(path: Path) -> None:
    """Whoever installs chooses it; a place named here would be asked by everybody."""
    text = path.read_text()
    assert "://" not in text
    assert [line for line in text.splitlines() if line.startswith("-")] == []


@by_file(INPUTS)
def test_a_lock_says_what_its_input_says(path: Path) -> None:
    packages = locked(path.with_suffix(".txt").read_text())
    for wanted in asked(path):
        found = [one for one in packages if one.name == canonicalize_name(wanted.name)]
        assert found, f"{wanted} is not locked: run make lock"
        for one in found:
            assert one.requirement.specifier == wanted.specifier, "run make lock"
            assert (one.requirement.marker is None) == (wanted.marker is None), "run make lock"
    direct = {one.name for one in packages if any(who.startswith("-r ") for who in one.brought_by)}
    assert direct == names([path]), "run make lock"


@by_file(LOCKS)
def test_nothing_is_locked_that_nobody_brings_along(path: Path) -> None:
    packages = locked(path.read_text())
    known = {one.name for one in packages}
    for one in packages:
        assert one.brought_by, one
        bringers = {canonicalize_name(who) for who in one.brought_by if who[0] != "-"}
        assert bringers <= known, one


def test_the_tests_run_with_what_the_product_runs_with() -> None:
    here = {str(one.requirement): one.hashes for one in locked(DEV.with_suffix(".txt").read_text())}
    for one in locked(RUNTIME.with_suffix(".txt").read_text()):
        assert here.get(str(one.requirement)) == one.hashes


@by_file([RUNTIME, DEV])
def test_a_lock_is_whole(path: Path) -> None:
    """What the installed packages ask for, here, is locked: pip has nothing to choose."""
    packages = {
        one.name: one.requirement
        for one in locked(path.with_suffix(".txt").read_text())
        if one.is_for_here
    }
    wanted = [one for one in asked(path) if one.marker is None or one.marker.evaluate()]
    reached: set[tuple[str, str]] = set()
    while wanted:
        one = wanted.pop()
        name = canonicalize_name(one.name)
        assert name in packages, f"{one} is not locked: run make lock"
        (version,) = (only.version for only in packages[name].specifier)
        assert one.specifier.contains(version, prereleases=True), one
        assert metadata.version(name) == version, f"{name} is not as locked: run make test"
        for extra in ("", *sorted(one.extras)):
            if (name, extra) not in reached:
                reached.add((name, extra))
                wanted += brought_along(name, extra)
    assert {name for name, _ in reached} == set(packages)


def brought_along(name: str, extra: str) -> Iterator[Requirement]:
    for text in metadata.requires(name) or ():
        one = Requirement(text)
        if one.marker is None or one.marker.evaluate({"extra": extra}):
            yield one


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("--index-url somewhere\n", "--index-url"),
        ("one==1 \\\n    --hash=md5:0\n", "--hash=md5"),
        ("one==1 \\\n    --hash=sha256:0\n", "--hash=sha256:0"),
    ],
)
def test_a_line_of_another_kind_is_no_lock(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=re.escape(message)):
        locked(text)


# Imports


def imported(source: str) -> Iterator[str]:
    """Yield the first name of each module that ``source`` imports, wherever it does."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            yield node.module.partition(".")[0]


def modules(*places: str) -> Iterator[tuple[str, str]]:
    for place in places:
        path = ROOT / place
        for module in sorted(path.rglob("*.py")) if path.is_dir() else [path]:
            yield module.relative_to(ROOT).as_posix(), module.read_text()


@cache
def homes_of_modules() -> Mapping[str, list[str]]:
    return metadata.packages_distributions()


def unpinned(used: Iterable[str], pinned: set[NormalizedName]) -> set[str]:
    """Return which modules come neither from Python, nor from us, nor from what is pinned.

    Several packages may put files into one module: all of them count, since Daphne's plugin in
    ``twisted`` does not make Twisted ours.
    """
    homes = homes_of_modules()
    return {
        module
        for module in used
        if module not in sys.stdlib_module_names | OURS
        and not (homes.get(module) and {canonicalize_name(h) for h in homes[module]} <= pinned)
    }


def test_the_product_imports_only_what_is_pinned() -> None:
    pinned = names([RUNTIME])
    found = {path: unpinned(imported(text), pinned) for path, text in modules(*PRODUCT)}
    assert {path: names for path, names in found.items() if names} == {}


def test_the_settings_name_only_what_is_pinned() -> None:
    named = [
        *settings.INSTALLED_APPS,
        *settings.MIDDLEWARE,
        *settings.AUTHENTICATION_BACKENDS,
        *(engine["BACKEND"] for engine in settings.TEMPLATES),
        *(layer["BACKEND"] for layer in settings.CHANNEL_LAYERS.values()),
        *(database["ENGINE"] for database in settings.DATABASES.values()),
    ]
    assert unpinned({name.partition(".")[0] for name in named}, names([RUNTIME])) == set()


def test_tests_and_benchmarks_import_only_what_is_pinned() -> None:
    pinned = names([DEV])
    found = {
        path: unpinned(imported(text), pinned)
        for path, text in modules("tests", "benchmarks")
        if not path.startswith(FOREIGN)
    }
    assert {path: names for path, names in found.items() if names} == {}


def test_scripts_of_other_environments_import_only_what_is_pinned_there() -> None:
    pinned = names(ORACLES)
    for path, text in modules("tests", "benchmarks"):
        if path.startswith(FOREIGN):
            for module in set(imported(text)) - sys.stdlib_module_names - FOREIGN_OURS - OURS:
                home = FOREIGN_MODULES.get(module, module)
                assert canonicalize_name(home) in pinned, f"{path} imports {module}"


@pytest.mark.parametrize(
    "source", ["import twisted", "from twisted.web import http", "def f():\n    import yaml\n"]
)
def test_an_import_of_what_only_comes_along_is_seen(source: str) -> None:
    """Daphne brings Twisted along: it may go as it came."""
    assert unpinned(imported(source), names([RUNTIME])) != set()


# Installing


def test_nothing_is_installed_without_its_hash() -> None:
    places = [ROOT / "Makefile", ROOT / ".ci" / "run", *(ROOT / "scripts").iterdir()]
    calls = [
        line
        for place in places
        for line in place.read_text().replace("\\\n", " ").splitlines()
        if re.search(r"-m pip\b.* install\b", line)
    ]
    assert len(calls) == 3
    assert [line for line in calls if "--require-hashes" not in line] == []


@pytest.mark.parametrize(
    ("hashed", "word"),
    [("", "hash"), (f" --hash=sha256:{'0' * 64}", "DO NOT MATCH")],
    ids=["no hash", "another hash"],
)
def test_a_package_that_is_not_the_locked_one_is_refused(
    tmp_path: Path, hashed: str, word: str
) -> None:
    stamp, ended = make_venv(tmp_path, hashed)
    assert ended.returncode == 1
    assert word in ended.stderr
    assert not stamp.exists()
    assert not (tmp_path / "installed").exists()


def test_the_locked_package_is_installed(tmp_path: Path) -> None:
    digest = hashlib.sha256(wheel(tmp_path).read_bytes()).hexdigest()
    stamp, ended = make_venv(tmp_path, f" --hash=sha256:{digest}")
    assert ended.returncode == 0, ended.stderr
    assert stamp.exists()
    assert (tmp_path / "installed" / "chosen.py").exists()


def wheel(folder: Path) -> Path:
    """A package ``chosen`` 1.0, the same bytes each time."""
    path = folder / "chosen-1.0-py3-none-any.whl"
    about = "chosen-1.0.dist-info"
    files = {
        "chosen.py": "",
        f"{about}/METADATA": "Metadata-Version: 2.1\nName: chosen\nVersion: 1.0\n",
        f"{about}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
        f"{about}/RECORD": "",
    }
    with zipfile.ZipFile(path, "w") as archive:
        for name, text in files.items():
            archive.writestr(zipfile.ZipInfo(name), text)
    return path


def make_venv(folder: Path, hashed: str) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """Run the script with our own pip, which installs into a folder, from a folder."""
    wheel(folder)
    python = folder / "venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    python.chmod(0o755)
    requirements, stamp = folder / "requirements.txt", folder / "venv" / "stamp"
    requirements.write_text(f"chosen==1.0{hashed}\n")
    ended = subprocess.run(
        [ROOT / "scripts" / "make-venv", folder / "venv", requirements, stamp],
        env={
            "PATH": os.environ["PATH"],
            "PYTHON": sys.executable,
            "PIP_CONFIG_FILE": os.devnull,
            "PIP_NO_INDEX": "1",
            "PIP_FIND_LINKS": str(folder),
            "PIP_TARGET": str(folder / "installed"),
        },
        capture_output=True,
        text=True,
        check=False,
    )
    return stamp, ended


# Asking for known vulnerabilities


@pytest.mark.parametrize(
    ("said", "code", "word"),
    [
        ("No known vulnerabilities found", 0, "No known vulnerabilities found"),
        ("Found 2 known vulnerabilities in 1 package", 1, "make lock UPGRADE"),
        ("ERROR: one: Dependency not found and could not be audited", 1, "Nothing was audited"),
        ("Traceback\nConnectionError: no name could be resolved", 1, "Nothing was audited"),
    ],
)
def test_an_audit_that_nobody_answered_is_no_good_news(
    tmp_path: Path, said: str, code: int, word: str
) -> None:
    """Without ``--strict`` it would be: packages that nobody knows count as sound."""
    audit = tmp_path / "pip-audit"
    audit.write_text(
        f'#!/bin/sh\n[ "$1" = --strict ] || exit 0\nprintf "{said}\\n" >&2\nexit {code}\n'
    )
    audit.chmod(0o755)
    ended = subprocess.run(
        [ROOT / "scripts" / "audit", audit, "requirements.txt"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == code
    assert word in ended.stdout + ended.stderr
    assert ("Nothing was audited" in ended.stderr) == (word == "Nothing was audited")
