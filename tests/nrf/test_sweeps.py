"""Sweeps of fields: what is reported over runs and seeds, and real ones from the command line."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest

from nrf import sweeps
from runtime.config import load_config, save_config
from runtime.metrics import MetricsWriter
from runtime.sweeps import FAILED, FINISHED, _write, expand, with_values
from tests.conftest import REPOSITORY
from tests.nrf.test_training import leaves, rows

GRID = "sweep.grid=(('train.lr',(1e-3,2e-3)),('seed',(0,1)))"


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """A folder as a sweep leaves it, one of its four runs failed; gaps are 100 lr + seed at the last update."""
    folder = tmp_path_factory.mktemp("sweep")
    states = {}
    for run in expand(load_config(str(REPOSITORY / "tests/nrf/tiny.py"), [GRID])):
        failed = run.name == "lr=0.002_seed=1"
        states[run.name] = {"name": run.name, "state": FAILED if failed else FINISHED, "reason": ""}
        save_config(run.config, folder / run.name)
        with MetricsWriter(folder / run.name) as writer:
            for step in (1, 2):
                gap = 100 * run.config.train.lr + run.config.seed
                writer.write(step, {"energy/gap": gap if step == 2 else 0.0, "loss": -gap})
    _write(folder, states, ())
    return folder


def test_runs_and_seeds_side_by_side(swept):
    paths = sweeps.report(swept)
    assert [path.name for path in paths] == ["sweep.csv", "sweep_settings.csv", "sweep.png"]
    table = pd.read_csv(paths[0])
    assert list(table.columns) == ["run", "seed", "train.lr", "state", "update", "energy/gap", "loss"]
    np.testing.assert_allclose(table["energy/gap"], 100 * table["train.lr"] + table["seed"])
    assert list(table["update"]) == [2] * 4 and list(table["state"]).count("failed") == 1
    settings = pd.read_csv(paths[1])
    assert list(settings["train.lr"]) == [1e-3, 2e-3] and list(settings["runs"]) == [2, 1]
    # A failed run counts for nothing, and one seed has no spread.
    np.testing.assert_allclose(settings["energy/gap mean"], [0.1 + 0.5, 0.2])
    np.testing.assert_allclose(settings["energy/gap sd"], [np.sqrt(0.5), np.nan])
    assert paths[2].stat().st_size > 5000


def test_runs_are_recorded_once_they_are_trained_and_once_alone(tmp_path, monkeypatch):
    runs = expand(load_config(str(REPOSITORY / "tests/nrf/tiny.py"), [GRID]))[:3]
    configs, folders = [run.config for run in runs], [tmp_path / run.name for run in runs]
    for folder in folders:
        folder.mkdir()
    recorded, missing = [], {folders[2]: [5]}  # the first is finished, the second is not, the third is broken off
    results = [{"finished": True}, {"finished": False}, {"finished": True}]
    monkeypatch.setattr(sweeps, "train_together", lambda configs, folders: [dict(each) for each in results])
    for name in ("predict_recording", "_measure_data"):
        monkeypatch.setattr(sweeps, name, lambda config, folder: None)
    monkeypatch.setattr(sweeps, "record", lambda config, folder: recorded.append(folder) or {"trials": folder})
    opened = type("Opened", (), {"missing": lambda self: missing.get(self.folder, [])})
    monkeypatch.setattr(
        sweeps, "open_recording", lambda folder, name, verify: setattr(it := opened(), "folder", folder) or it
    )
    assert [each["finished"] for each in sweeps.train_and_record(configs, folders)] == [True, False, False]
    assert recorded == [folders[0], folders[2]]
    missing.clear()
    assert [each["finished"] for each in sweeps.train_and_record(configs, folders)] == [True, False, True]
    assert recorded[2:] == [folders[2]]  # the first is whole; with other settings it is looked at again
    longer = with_values(configs[0], {"record.stimulus": 500})
    sweeps.train_and_record([longer, *configs[1:]], folders)
    assert recorded[3:] == [folders[0]]


def test_images_are_measured_beside_gaussian_ones_in_the_coordinates_of_the_field(tmp_path):
    """Both are pictures of one variance; gain control, undone, leaves a Gaussian a little above a kurtosis of 3."""
    shutil.copy(REPOSITORY / "pretrained/patches/whitening.npz", tmp_path)
    sweeps._measure_data(with_values(load_config("pretrained/patches"), {"data.num_train": 100}), tmp_path)
    found = json.loads((tmp_path / "data_statistics.json").read_text())
    images, gaussian = found["held_out"], found["gaussian"]
    assert images["pixel_sd_ratio"] == pytest.approx(1) and images["spectrum_distance"] == 0
    assert gaussian["spectrum_distance"] < 0.25 and 0.8 < gaussian["pixel_sd_ratio"] < 1.25
    assert 3.05 < gaussian["gabor_kurtosis"] < 4.5 < 6 < images["gabor_kurtosis"]


@pytest.mark.slow
@pytest.mark.parametrize("executor", ["local", "dask"])
def test_a_sweep_from_the_command_line(executor, tmp_path):
    command = [sys.executable, "launch.py", "--config=tests/nrf/tiny.py", f"--workdir={tmp_path}", f"--config.{GRID}"]
    short = ["--config.train.updates=2", f"--executor={executor}"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run([*command, *short], cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(run["state"] == FINISHED for run in json.loads((tmp_path / "sweep.json").read_text())["runs"])
    table = pd.read_csv(tmp_path / "sweep.csv").set_index("run")
    assert list(table["update"]) == [2] * 4 and table["energy/gap"].nunique() == 4
    # The whole is not done twice, and later stages take its runs one by one.
    again = subprocess.run([*command, *short, "--stages=train,visualise"], cwd=REPOSITORY, env=environment,
                           capture_output=True, text=True)  # fmt: skip
    assert again.returncode == 0, again.stderr
    pictures = {path.parent.parent.name for path in tmp_path.rglob("visualise_standard.png")}
    assert pictures == set(table.index)


@pytest.mark.slow
def test_a_sweep_in_one_program_that_was_killed_goes_on_bit_for_bit(tmp_path):
    """Both runs, cut off with kill -9 once each has a checkpoint, end where an undisturbed sweep ends."""
    command = [sys.executable, "launch.py", "--config=tests/nrf/tiny.py:small", "--config.train.updates=12",
               "--config.log.checkpoint_every=1", "--config.sweep.grid=(('seed',(0,1)),)"]  # fmt: skip
    for name, kills in (("whole", 0), ("cut", 1)):
        folder = tmp_path / name
        while True:
            run = subprocess.Popen([*command, f"--workdir={folder}"], cwd=REPOSITORY, env=os.environ)
            while run.poll() is None:
                begun = [list((folder / f"seed={seed}" / "checkpoints").glob("step_*")) for seed in (0, 1)]
                if kills and all(begun):
                    run.kill()
                    kills -= 1
                time.sleep(0.01)
            if run.returncode == 0:
                break
            assert run.returncode == -signal.SIGKILL
    for seed in (0, 1):
        expected, found = (leaves(tmp_path / name / f"seed={seed}", 12) for name in ("whole", "cut"))
        for leaf, array in expected.items():
            np.testing.assert_array_equal(found[leaf], array, err_msg=leaf)
        assert rows(tmp_path / "cut" / f"seed={seed}") == rows(tmp_path / "whole" / f"seed={seed}")
