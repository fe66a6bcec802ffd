"""The thesis preset from training to report, on a field cut down to seconds: sampler and stages as published."""

import os
import subprocess
import sys

import pytest

from recordings.reading import list_recordings
from runtime.checkpoint import read_tree
from runtime.metrics import read_metrics
from tests.conftest import REPOSITORY

SMALL = {
    "data.size": 8, "data.num_train": 200,
    "model.named": "none",
    "model.architecture.state_sizes": "((3,8,8),(8,8,8),(4,4,4))",
    "model.architecture.connect": "((1,2),(0,1,2),(1,2))",
    "model.architecture.kind": "(('conv','conv'),('conv','conv','conv'),('conv','conv'))",
    "model.architecture.base_kernel_padding": "(((3,1),(3,1)),((3,1),(3,1),(3,1)),((3,1),(3,1)))",
    "model.architecture.main_kernel": "(3,3,3)", "model.architecture.num_ch_base": 4,
    "model.architecture.num_ch_initter": 4,
    "positive.steps": 3, "negative.steps": 3, "negative.longest": 5, "negative.buffer_size": 8,
    "train.updates": 4, "train.batch": 4,
    "visualise.steps": 6, "visualise.frames": 3, "visualise.samples": 2,
    "record.experiments": "contrast_and_angle", "record.controlled": "contrast_and_angle", "record.block": 64,
    "record.burn_in": 6, "record.blank": 180, "record.stimulus": 200, "record.blank_after": 160, "record.chunk": 110,
    "record.batch_steps": 40, "record.prediction.angles": 0,
    "analyse.surrogates": 19, "analyse.resamples": 200,
}  # fmt: skip


@pytest.mark.slow
def test_all_stages_run_under_the_thesis_preset(shared, tmp_path):
    folder = tmp_path / "thesis"
    command = [sys.executable, "launch.py", "--config=configs/nrflv.py:thesis", f"--workdir={folder}"]
    command += [f"--config.{field}={value}" for field, value in SMALL.items()]
    command += [f"--config.data.dir={shared / 'data' / 'tfds'}", "--stages=train,visualise,record,analyse"]
    environment = {**os.environ, "XLA_FLAGS": "--xla_backend_optimization_level=0"}
    done = subprocess.run(command, cwd=REPOSITORY, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr

    table = read_metrics(folder)
    assert list(table.index) == [1, 2, 3, 4]  # a line for every update
    # The published noise is far colder than the energy: its temperature is 0.05/m, and m is 1 in the first steps.
    assert 0 < table["negative/layer_1/temperature"].max() < 0.5
    assert {"negative/layer_1/momentum_rms", "initializer/loss_1"} <= set(table)
    events = list((folder / "tensorboard").glob("events*"))
    assert b"histogram/negative/layer_2" in b"".join(path.read_bytes() for path in events)
    assert {"variables", "initializer", "buffer"} <= set(read_tree(folder / "checkpoints"))
    pictures = {path.name for path in (folder / "images").glob("visualise_*.gif")}
    assert pictures == {
        f"visualise_{name}.gif"
        for name in ("standard", *(f"channels_{mode}_layer{n}" for mode in ("energy", "state") for n in (1, 2)))
    }  # fmt: skip
    name = "contrast_and_angle"
    assert set(list_recordings(folder)) == {
        name, *(f"{name}@{control}" for control in ("langevin", "shuffled_weights", "diagonal_mass"))
    }  # fmt: skip
    assert (folder / "report.html").exists() or list(folder.rglob("report*.html"))
