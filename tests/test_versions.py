"""The versions that pyproject.toml allows: each has a lower end, the tested ones lie within, the oldest can be had."""

import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).resolve().parent.parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
TEXTS = [*PROJECT["build-system"]["requires"], *PROJECT["project"]["dependencies"]]
TEXTS += [text for extra in PROJECT["project"]["optional-dependencies"].values() for text in extra]
REQUIREMENTS = {text: Requirement(text) for text in dict.fromkeys(TEXTS) if not text.startswith("slmlab[")}


def oldest(requirement: Requirement) -> Version:
    """The lower end of what is allowed."""
    (version,) = (Version(one.version) for one in requirement.specifier if one.operator == ">=")
    return version


def pins(text: str) -> dict[str, Version]:
    found = re.findall(r"^([\w.-]+)==([^\s;]+)", text, re.MULTILINE)
    return {canonicalize_name(name): Version(version) for name, version in found}


@pytest.mark.parametrize("requirement", REQUIREMENTS.values(), ids=REQUIREMENTS)
def test_a_requirement_says_its_oldest_version_and_allows_the_tested_one(requirement):
    tested = pins((ROOT / "binder" / "constraints.txt").read_text(encoding="utf-8"))

    assert oldest(requirement) <= tested[canonicalize_name(requirement.name)]
    assert requirement.specifier.contains(tested[canonicalize_name(requirement.name)])


def test_what_two_lists_ask_for_is_the_same():
    """A build's own list aside: pip fetches that for the build alone, and it may be newer than what a reader has."""
    ends = {}
    for requirement in [one for text, one in REQUIREMENTS.items() if text not in PROJECT["build-system"]["requires"]]:
        ends.setdefault(canonicalize_name(requirement.name), set()).add(str(oldest(requirement)))

    assert {name: found for name, found in ends.items() if len(found) > 1} == {}


@pytest.mark.skipif("SLMLAB_ONLINE" not in os.environ, reason="asks the package index: set SLMLAB_ONLINE=1")
def test_the_oldest_versions_are_not_fictions(tmp_path):
    """What others require may rule an old version out; the bound is then a promise that nobody can keep."""
    out = tmp_path / "oldest.txt"
    command = [
        "pip",
        "compile",
        "--quiet",
        "--resolution",
        "lowest-direct",
        "--extra",
        "test",
        "--output-file",
        str(out),
    ]
    command += ["--python-version", "3.11", str(ROOT / "pyproject.toml")]
    subprocess.run([sys.executable, "-m", "uv", *command], check=True)

    found = pins(out.read_text(encoding="utf-8"))
    wanted = {canonicalize_name(one.name): oldest(one) for one in REQUIREMENTS.values() if one.marker is None}
    # The lowest release of a bound 2.8 may be 2.8.1.
    assert {
        name: (str(end), str(found[name]))
        for name, end in wanted.items()
        if found[name].release[: len(end.release)] != end.release
    } == {}
