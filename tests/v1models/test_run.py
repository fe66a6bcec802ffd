"""Fits as people start them: from the command line, killed and resumed, as sweeps in place and on workers."""

import json
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pandas as pd
import pytest

import v1models
from runtime.checkpoint import read_tree
from runtime.config import ReadRecorder, load_config
from runtime.errors import ConfigError, RunError
from runtime.executors import make_executor
from runtime.metrics import read_metrics
from runtime.sweeps import expand, group_runs, run_sweep
from tests.signals import signal_after_first_metrics
from v1models import saved
from v1models.experiment import read_experiment, shared_program
from v1models.idle import idle_fields
from v1models.run import train, train_together

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
TINY = "tests/v1models/tiny.py"
LAUNCH = [sys.executable, "launch.py"]
TABLES = ("results.csv", "neurons.csv", "history.csv", "percentiles.csv")


def tiny(*overrides, preset="one"):
    return load_config(f"{REPOSITORY / TINY}:{preset}", overrides)


def launch(*arguments):
    return subprocess.run([*LAUNCH, *arguments], cwd=REPOSITORY, capture_output=True, text=True)


def same_numbers(one, other):
    for name in TABLES:
        first, second = (pd.read_csv(folder / name).drop(columns="instance") for folder in (one, other))
        pd.testing.assert_frame_equal(first, second, check_exact=True)


def same_weights(one, other):
    trees = [read_tree(folder / "weights") for folder in (one, other)]
    jax.tree.map(np.testing.assert_array_equal, *trees)


def processes_with_open_files(folder):
    """Numbers of the processes that hold a file of this folder open."""
    found = set()
    for descriptor in pathlib.Path("/proc").glob("[0-9]*/fd/*"):
        try:
            if str(folder) in os.readlink(descriptor):
                found.add(int(descriptor.parts[2]))
        except OSError:
            continue
    return found


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A fit of 12 epochs that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    assert train(tiny(), folder)["finished"]
    return folder


def test_a_fit_leaves_everything_in_its_folder(finished):
    table = read_metrics(finished)
    assert list(table.index) == [2, 4, 6, 8, 10, 12]
    assert (table["correlation/p10"] <= table["correlation/p90"]).all() and np.isfinite(table["train_loss"]).all()
    summary = pd.read_csv(finished / "percentiles.csv").iloc[0]
    results = pd.read_csv(finished / "results.csv")
    np.testing.assert_allclose(summary["p50"], results["validation_correlation"].median(), rtol=1e-6)
    np.testing.assert_allclose(table.loc[12, "correlation/p50"], summary["p50"], atol=1e-5)
    neurons = pd.read_csv(finished / "neurons.csv")
    np.testing.assert_allclose(
        neurons.groupby("seed")["correlation"].mean(), results["validation_correlation"], rtol=1e-5
    )
    assert 0 < summary["ceiling"] <= 1 and 0 < summary["true_rates"] <= 1
    with np.load(finished / "filters.npz") as arrays:
        assert arrays["layer0_kernel"].shape == (12, 12, 1, 8)
    with np.load(finished / "receptive_fields.npz") as arrays:
        assert arrays["most_exciting_images"].shape == (2, 12, 12, 1)
    model = saved.load(finished)
    assert model.predict(np.zeros((3, 144))).shape == (2, 3, 8)
    assert json.loads((finished / "config.json").read_text())["config"]["fit"]["epochs"] == 12


def test_images_set_aside_are_scored_at_the_end_by_all_seeds(finished, tmp_path):
    whole = read_experiment([tiny()])
    experiment = read_experiment([tiny("data.test=0.4")])
    assert len(experiment.test.images) == 4
    parts = np.concatenate([experiment.validation.images, experiment.test.images]).reshape(10, -1)
    np.testing.assert_array_equal(np.sort(parts, 0), np.sort(whole.validation.images.reshape(10, -1), 0))
    assert train(tiny("data.test=0.4"), tmp_path)["finished"]
    predicted = saved.load(tmp_path).predict(
        np.asarray(experiment.test.images, np.float64) * experiment.scale + experiment.offset
    )
    table = pd.read_csv(tmp_path / "test.csv")
    for neuron in (0, 5):
        expected = np.corrcoef(predicted.mean(0)[:, neuron], experiment.test.responses[:, neuron])[0, 1]
        np.testing.assert_allclose(table["ensemble_correlation"][neuron], expected, atol=1e-4)
    summary = pd.read_csv(tmp_path / "percentiles.csv").iloc[0]
    np.testing.assert_allclose(summary["test_ensemble"], table["ensemble_correlation"].mean(), atol=1e-5)
    with pytest.raises(ConfigError, match=r"config.data.test: fraction is 0.01"):
        read_experiment([tiny("data.test=0.01")])


def test_ceilings_choose_no_seed(finished):
    experiment, table = read_experiment([tiny()]), pd.read_csv(finished / "ceilings.csv")
    recorded = np.asarray(experiment.validation.images, np.float64) * experiment.scale + experiment.offset
    expected = saved.ceiling_table(saved.load(finished).predict(recorded), experiment.trials)
    for name in ("normalized_correlation", "ensemble_normalized_correlation", "explainable_variance_explained"):
        np.testing.assert_allclose(table[name], expected[name], atol=1e-3)


def test_a_loaded_model_scores_what_the_table_says(finished):
    experiment = read_experiment([tiny()])
    recorded = np.asarray(experiment.validation.images, np.float64) * experiment.scale + experiment.offset
    predicted = saved.load(finished).predict(recorded)
    r = [np.corrcoef(predicted[0, :, n], experiment.validation.responses[:, n])[0, 1] for n in range(8)]
    neurons = pd.read_csv(finished / "neurons.csv")
    np.testing.assert_allclose(neurons[neurons.seed == 0]["correlation"], r, atol=1e-4)


def test_a_finished_fit_is_not_fitted_again(finished):
    before = (finished / "metrics.jsonl").stat().st_mtime_ns
    assert train(tiny(), finished)["p50"] == json.loads((finished / "finished.json").read_text())["p50"]
    assert (finished / "metrics.jsonl").stat().st_mtime_ns == before


def test_killed_it_resumes_bit_for_bit(finished, tmp_path):
    folder = tmp_path / "run"
    command = [*LAUNCH, f"--config={TINY}", f"--workdir={folder}", "--stages=train"]
    run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while run.poll() is None and not list((folder / "checkpoints").glob("step_*")):
        time.sleep(0.005)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert run.returncode == -signal.SIGKILL and not (folder / "finished.json").exists()
    assert train(tiny(), folder)["finished"]
    same_numbers(finished, folder)
    same_weights(finished, folder)
    pd.testing.assert_frame_equal(
        read_metrics(finished).drop(columns="time"), read_metrics(folder).drop(columns="time")
    )


def test_a_polite_signal_ends_the_fit_at_the_next_score(tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    signal_after_first_metrics(monkeypatch)
    assert train(tiny("fit.checkpoint_every=1000"), folder) == {"finished": False}
    assert "the same command goes on from there" in capsys.readouterr().out
    assert len(read_metrics(folder)) == len(list((folder / "checkpoints").glob("step_*"))) == 1
    assert not (folder / "finished.json").exists()


def test_a_folder_with_the_field_names_of_earlier_versions_is_read_and_not_trained_on(finished, tmp_path):
    old = tmp_path / "old"
    shutil.copytree(finished, old)
    record = json.loads((old / "config.json").read_text())
    record["config"]["optimisation"] = record["config"].pop("optimization")
    (old / "config.json").write_text(json.dumps(record))
    model = json.loads((old / "model.json").read_text())
    for layer in model["network"]["layers"]:
        layer["bias_initialiser"] = layer.pop("bias_initializer", "zeros")
    (old / "model.json").write_text(json.dumps(model))
    images = np.ones((3, 144))
    np.testing.assert_array_equal(v1models.load(old).predict(images), v1models.load(finished).predict(images))
    assert train(tiny(), old) == train(tiny(), finished)
    (old / "finished.json").unlink()
    with pytest.raises(ConfigError, match="'optimization'; its results are read as before"):
        train(tiny(), old)


def test_a_fit_goes_on_only_with_the_config_it_began_with(finished):
    with pytest.raises(ConfigError, match=r"optimization.learning_rate was 0.001 and is 0.01"):
        train(tiny("optimization.learning_rate=0.01"), finished)


@pytest.fixture(scope="module")
def swept(tmp_path_factory):
    """The tiny sweep, run in place."""
    folder = tmp_path_factory.mktemp("sweep") / "local"
    with make_executor("local") as execute:
        states = run_sweep(tiny(preset="sweep"), folder, train_together, shared_program, execute)
    assert [state["state"] for state in states] == ["finished"] * 3
    return folder


def test_runs_that_differ_in_numbers_share_a_program_and_compute_what_they_do_alone(swept, tmp_path):
    sweep = expand(tiny(preset="sweep"))
    assert [[run.name for run in group] for group in group_runs(sweep, shared_program, 16)] == [
        ["slow", "fast"],
        ["small"],
    ]
    train(sweep[1].config, tmp_path / "fast")
    together, alone = (pd.read_csv(folder / "fast" / "neurons.csv") for folder in (swept, tmp_path))
    np.testing.assert_allclose(together["correlation"], alone["correlation"], atol=1e-5)
    slow = pd.read_csv(swept / "slow" / "results.csv")
    assert not np.allclose(
        slow["validation_correlation"], pd.read_csv(swept / "fast" / "results.csv")["validation_correlation"]
    )


@pytest.mark.slow
@pytest.mark.skipif(not pathlib.Path("/proc/self/fd").exists(), reason="finds the worker to kill through /proc")
def test_workers_compute_the_same_numbers_though_one_is_killed(swept, tmp_path):
    folder = tmp_path / "dask"
    command = [
        *LAUNCH, f"--config={TINY}:sweep", f"--workdir={folder}", "--executor=dask", "--executor-options=workers=2",
    ]  # fmt: skip
    run = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    killed = False
    while run.poll() is None and not killed:
        if list((folder / "slow" / "checkpoints").glob("step_*")):
            # The worker in whose hands the fit is has its metrics open.
            for pid in processes_with_open_files(folder / "slow"):
                os.kill(pid, signal.SIGKILL)
                killed = True
        time.sleep(0.002)
    output, _ = run.communicate(timeout=200)
    assert run.returncode == 0, output
    assert killed, output
    for name in ("slow", "fast", "small"):
        same_numbers(swept / name, folder / name)
        same_weights(swept / name, folder / name)
    assert (folder / "index.html").exists() and (folder / "table.csv").exists()
    assert "3 finished runs" in output


def test_a_sweep_skips_what_is_finished_and_names_what_fails(swept, tmp_path, capsys):
    config = tiny(
        "sweep.runs=(('good', ()), ('wide', (('model.layer0.features', 9),)), "
        "('hot', (('optimization.learning_rate', -1.0),)))",
        preset="sweep",
    )
    for _ in range(2):
        with make_executor("local") as execute:
            states = run_sweep(config, tmp_path / "sweep", train_together, shared_program, execute)
    found = {state["name"]: state for state in states}
    assert found["good"]["state"] == "finished"
    assert "needs one of features (now 9) and fraction" in found["wide"]["reason"]
    assert found["hot"]["reason"] == "config.optimization.learning_rate is -1.0; it must be positive"
    assert "failed: hot" in capsys.readouterr().out
    assert len((tmp_path / "sweep" / "good" / "metrics.jsonl").read_text().splitlines()) == 6


def test_early_stopping_restores_and_masks_pool(tmp_path):
    config = tiny(
        "data.regions=1,2", "stopping.enabled=true", "stopping.patience=1", "fit.epochs=40", "log.neurons_shown=0"
    )
    done = train(config, tmp_path)
    assert done["finished"] and len(pd.read_csv(tmp_path / "neurons.csv")) == 2 * 16
    assert (pd.read_csv(tmp_path / "results.csv")["best_epoch"] <= 40).all()


def test_a_diverging_fit_says_so(tmp_path):
    with pytest.raises(RunError, match=r"no member's validation loss is finite; lower the learning rate"):
        train(tiny("optimization.learning_rate=1e30", "model.layer0.activation=exponential"), tmp_path)


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("optimization.lr=1", r"no field 'lr'"),
        ("model.layer0.penalties.l3=1", r"no field 'l3' \(did you mean 'l"),
        ("model.layer0.penalties.l2=-1", r"strength of penalty 'l2' is -1"),
        ("model.layer0.fraction=0.5", r"the last layer gives 4 numbers for 8 neurons"),
        ("model.layer0.activation=softmax", r"config.model.layer0: .*activation is 'softmax'"),
        ("model.layer0.kind=Conv", r"config.model.layer0.kind is 'Conv' \(did you mean 'Convolution'\?\)"),
        ("model.use=conv", r"config.model.use is 'conv'"),
        ("data.inputs=standart", r"config.data.inputs is 'standart' \(did you mean 'standard'\?\)"),
        ("data.source=recorded", r"config.data.source is 'recorded'"),
        ("data.source=regions", r"config.data.dir is not set.*10.1371/journal.pcbi.1004927"),
        ("data.dir=nowhere", r"nowhere/region1 lacks training_inputs.npy.*supplement"),
        ("data.simulated.kind=simple", r"config.data.simulated: .*kind 'simple'"),
        ("optimization.noise=laplace", r"noise is 'laplace'"),
        ("optimization.learning_rate=0", r"config.optimization.learning_rate is 0.0; it must be positive"),
        ("fit.epochs=0", r"config.fit: .*epochs"),
        ("stopping.fraction=2", r"fraction is 2.0"),
        ("seeds=()", r"config.seeds is empty"),
        ("precision=exact", r"unknown matrix precision"),
    ],
)
def test_bad_values_give_one_clear_sentence(override, sentence, tmp_path):
    with pytest.raises(ConfigError, match=sentence) as error:
        train(tiny("stopping.enabled=true", override), tmp_path / "run")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "run").exists()


def test_every_field_that_a_fit_does_not_read_is_refused(tmp_path):
    config = tiny("stopping.enabled=true", "fit.epochs=2", "fit.log_every=2")
    recorder = ReadRecorder(config)
    train(recorder, tmp_path / "run")
    # The group of the sweep is read when it is expanded, the package by launch.py, what was published by the report.
    idle, others = idle_fields(config, ["train"]), ("sweep", "package", "published", "origin")
    unread = [name for name in recorder.unread() if not idle.why(name)]
    assert [name for name in unread if name.split(".")[0] not in others] == []


def test_the_command_line_answers_without_a_traceback(tmp_path):
    done = launch(f"--config={TINY}", f"--workdir={tmp_path / 'run'}", "--config.data.dir=nowhere")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "lacks training_inputs.npy" in done.stderr
    assert "Traceback" not in done.stderr
