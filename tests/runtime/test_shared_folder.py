"""Tests that need the shared folder skip without it, but not silently where it is there."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

SKIPPING = """
import pytest
from pathlib import Path

def test_uses_the_folder(shared):
    assert isinstance(shared, Path)
    assert shared.is_dir()

def test_does_not_find_it():
    pytest.skip("no folder of reference data beside the repository (../shared)")
"""


@pytest.mark.parametrize(("ci", "there", "status"), [(True, True, 1), (True, False, 0), (False, True, 0)])
@pytest.mark.parametrize("workers", ["0", "2"])
def test_skip_for_want_of_a_folder_that_is_there_fails_ci(tmp_path, ci, there, status, workers):
    tests = tmp_path / "repository" / "tests"
    tests.mkdir(parents=True)
    shutil.copy(REPOSITORY / "tests" / "conftest.py", tests)
    (tests / "test_it.py").write_text(SKIPPING)
    if there:
        (tmp_path / "shared").mkdir()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PYTEST")}
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n", workers, "--rootdir", ".", "tests"]
    ran = subprocess.run(
        command, cwd=tests.parent, env=environment | {"CI": str(ci).lower()}, capture_output=True, text=True
    )
    assert ran.returncode == status, ran.stdout + ran.stderr
    assert ("which is there: tests/test_it.py::test_does_not_find_it" in ran.stdout) == (status == 1)
    assert f"{1 if there else 0} passed" in ran.stdout or not there
