"""The examples run: on a model cut down to seconds, and, slowly, as a user would run them."""

import ast
import importlib.util
import math
import os
import subprocess
import sys
import time

import pytest

from tests.conftest import REPOSITORY
from tests.nrf.trained_run import make_run, tiny_config

FIELD = REPOSITORY / "examples" / "look_into_a_field.py"


def test_look_into_a_field(tmp_path, monkeypatch, capsys):
    spec = importlib.util.spec_from_file_location(FIELD.stem, FIELD)
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    monkeypatch.chdir(tmp_path)
    example.main(make_run(tmp_path / "run", tiny_config()), steps=4)
    assert (tmp_path / "look.png").stat().st_size > 5000
    assert "energies per pixel: {'photographs': " in capsys.readouterr().out


@pytest.mark.slow
def test_look_into_a_field_from_the_command_line(tmp_path):
    began = time.monotonic()
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY)}
    done = subprocess.run([sys.executable, FIELD], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "look.png").exists()
    numbers = ast.literal_eval(done.stdout.split("energies per pixel: ")[1].splitlines()[0])
    assert set(numbers) == {"photographs", "noise"} and all(map(math.isfinite, numbers.values()))
    assert time.monotonic() - began < 300  # half a minute on a quiet machine
