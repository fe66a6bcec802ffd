"""The examples run: on a model cut down to seconds, and, slowly, as a user would run them."""

import ast
import importlib.util
import math
import os
import subprocess
import sys
import time
from types import SimpleNamespace

import numpy as np
import pytest

from tests.conftest import REPOSITORY
from tests.nrf.trained_run import make_run, tiny_config

FIELD = REPOSITORY / "examples" / "look_into_a_field.py"


def load_example(name):
    spec = importlib.util.spec_from_file_location(name, REPOSITORY / "examples" / f"{name}.py")
    example = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(example)
    return example


def test_look_into_a_field(tmp_path, monkeypatch, capsys):
    example = load_example(FIELD.stem)
    monkeypatch.chdir(tmp_path)
    example.main(make_run(tmp_path / "run", tiny_config()), steps=4)
    assert (tmp_path / "look.png").stat().st_size > 5000
    assert "energies per pixel: {'photographs': " in capsys.readouterr().out


def test_compare_fits(tmp_path, monkeypatch, capsys):
    """Models are compared on the same draws of images; a joined ensemble has all seeds of its parts."""
    example = load_example("compare_fits")
    rng = np.random.default_rng(0)
    responses = rng.normal(size=(60, 3))
    np.save(tmp_path / "validation_inputs.npy", np.zeros((60, 16)))
    np.save(tmp_path / "validation_set.npy", responses)
    seeds = {name: responses + noise * rng.normal(size=(2, 60, 3)) for name, noise in (("near", 0.5), ("far", 2.0))}
    monkeypatch.setattr(example, "load", lambda run: SimpleNamespace(predict=lambda images: seeds[run]))
    found = example.compare(tmp_path, ["far", "far+near", "near"], 100)
    assert [one["seeds"] for one in found.values()] == [2, 4, 2]
    assert (found["near"]["ensemble"] - found["far"]["ensemble"] > 0).all()
    # By hand: images as often as they were drawn, none the first time.
    often = np.random.default_rng(0).multinomial(60, np.full(60, 1 / 60), size=100)[0]
    for draw, rows in enumerate((np.arange(60), np.repeat(np.arange(60), often))):
        each = [
            [np.corrcoef(prediction[rows, n], responses[rows, n])[0, 1] for n in range(3)]
            for prediction in (seeds["far"].mean(0), *seeds["far"])
        ]
        np.testing.assert_allclose(found["far"]["ensemble"][draw], np.mean(each[0]), rtol=1e-9)
        np.testing.assert_allclose(found["far"]["single"][draw], np.median(np.mean(each[1:], axis=1)), rtol=1e-9)
    assert "near less far: mean prediction" in capsys.readouterr().out


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
