"""The project can be installed, and then works from any folder."""

import os
import shutil
import subprocess
import sys

import pytest

from tests.conftest import REPOSITORY

PROGRAM = """
import pathlib, sys
import analysis.pipeline, configs.nrflv, nrf.architecture, nrf.training, recordings, runtime.config, v1models.network
target = pathlib.Path(sys.argv[1])
for module in (analysis, nrf, recordings, runtime, v1models, configs.nrflv):
    assert target in pathlib.Path(module.__file__).parents, module.__file__
assert nrf.architecture.architecture_names()
assert configs.nrflv.get_config("quick").data.size == 16
"""


@pytest.mark.slow
def test_an_installed_copy_is_whole_and_imports_from_any_folder(tmp_path):
    source, target = tmp_path / "source", tmp_path / "target"
    left_out = shutil.ignore_patterns(".*", "runs", "build", "__pycache__", "*.egg-info", "tests")
    shutil.copytree(REPOSITORY, source, ignore=left_out)
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-build-isolation"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    # Everything but Python's own caches: data files are found beside the modules that read them.
    for package in ("analysis", "configs", "nrf", "recordings", "runtime", "v1models"):
        expected = {path.relative_to(source) for path in (source / package).rglob("*") if path.is_file()}
        assert expected <= {path.relative_to(target) for path in target.rglob("*")}
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    environment = os.environ | {"PYTHONPATH": str(target)}
    subprocess.run([sys.executable, "-c", PROGRAM, str(target)], cwd=elsewhere, env=environment, check=True)
