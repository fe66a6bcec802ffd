"""The folders depend on one another in one direction, and every file keeps the rules of the house.

The imports are read from the source, those inside functions included, so that a module need not be importable to be
held to them.
"""

import ast
import re
import sys
from importlib.metadata import packages_distributions
from pathlib import Path

import pytest

from tests.conftest import REPOSITORY

# What each folder may import of the project's own.
ALLOWED = {
    "runtime": {"runtime"},
    "recordings": {"recordings", "runtime"},
    "nrf": {"nrf", "recordings", "runtime"},
    "v1models": {"v1models", "recordings", "runtime"},
    "analysis": {"analysis", "recordings", "runtime"},
    "configs": {"configs", "recordings", "runtime", "nrf", "v1models"},
    "examples": {"runtime", "nrf", "v1models"},
    "benchmarks": {"benchmarks", "runtime", "recordings", "nrf", "v1models", "analysis"},
    "tests": {"tests", "runtime", "recordings", "nrf", "v1models", "analysis", "configs", "benchmarks"},
}
OWN = {*ALLOWED, "launch"}
# Imported where they are installed: torch for importing and checking files of the PyTorch original, h5py for MATLAB's
# files of version 7.3. Nothing else needs them.
OPTIONAL = {"h5py", "torch"}
LONGEST = 400
VAGUE = {"utils", "util", "helpers", "helper", "common", "misc", "tools", "stuff"}

NOT_OURS = ("runs", "build", "__pycache__")

FILES = sorted(
    path.relative_to(REPOSITORY)
    for path in REPOSITORY.rglob("*.py")
    if not any(part.startswith(".") or part in NOT_OURS for part in path.relative_to(REPOSITORY).parts)
)


def imported_packages(source: str) -> set[str]:
    """Returns the first name of every module that a source imports; '.' stands for a relative import."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found.add("." if node.level else node.module.split(".")[0])
    return found


def test_imports_are_found_wherever_they_stand():
    source = "import a.b, c\ndef f():\n    from d.e import g\nif True:\n    from .h import i\n"
    assert imported_packages(source) == {"a", "c", "d", "."}


def test_all_folders_are_held_to_the_rules():
    assert {path.parts[0] for path in FILES if len(path.parts) > 1} <= set(ALLOWED)
    assert Path("runtime/config.py") in FILES


@pytest.mark.parametrize("path", FILES, ids=str)
def test_file_keeps_the_rules(path):
    source = (REPOSITORY / path).read_text()
    own = imported_packages(source) & {*OWN, "."}
    if len(path.parts) > 1:
        forbidden = own - ALLOWED[path.parts[0]]
        assert not forbidden, f"{path} may not import {sorted(forbidden)}"
    else:
        assert "launch" not in own
    assert ast.get_docstring(ast.parse(source)), f"{path} has no docstring"
    assert source.count("\n") <= LONGEST, f"{path} has {source.count(chr(10))} lines: split it by idea"
    assert path.stem not in VAGUE, f"{path} has a name that says nothing"


def required(*files: str) -> set[str]:
    """Returns the names of the distributions that requirement files ask for, in the normal form."""
    lines = [line for file in files for line in (REPOSITORY / file).read_text().splitlines()]
    names = [re.match(r"[A-Za-z0-9._-]+", line) for line in lines]
    return {re.sub(r"[-_.]+", "-", name.group()).lower() for name in names if name}


@pytest.fixture(scope="module")
def distributions() -> dict[str, list[str]]:
    """Returns, for every package that can be imported, the names of the distributions that brought it."""
    return packages_distributions()


@pytest.mark.parametrize("path", FILES, ids=str)
def test_imported_packages_are_required(path, distributions):
    allowed = required("requirements.txt", *(["requirements-dev.txt"] if path.parts[0] == "tests" else []))
    foreign = imported_packages((REPOSITORY / path).read_text()) - OWN - OPTIONAL - {"."} - sys.stdlib_module_names
    for package in sorted(foreign):
        names = {re.sub(r"[-_.]+", "-", name).lower() for name in distributions.get(package, [package])}
        assert names & allowed, f"{path} imports {package}, which no requirement names"


def test_requirements_are_bounded_on_both_sides():
    for file in ("requirements.txt", "requirements-dev.txt"):
        for line in (REPOSITORY / file).read_text().splitlines():
            assert line.startswith("#") or re.fullmatch(r"[A-Za-z0-9-]+>=[0-9.]+,<[0-9.]+", line), line
