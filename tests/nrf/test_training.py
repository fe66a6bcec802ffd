"""Training runs as people start them: from the command line, killed, resumed, diverging, on several devices."""

import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from analysis.pipeline import analyse
from nrf import from_config
from nrf.diagnostics import diagnose
from nrf.experiments import record
from nrf.idle import idle_fields
from nrf.predictions import predict_recording
from nrf.training import prepare_run, train
from nrf.visualisation import visualise
from runtime.checkpoint import read_tree
from runtime.config import ReadRecorder, flatten, load_config
from runtime.errors import ConfigError
from runtime.metrics import NonFiniteError, read_metrics
from tests.conftest import REPOSITORY
from tests.nrf.trained_run import make_run, tiny_config
from tests.signals import signal_after_first_metrics

TINY = "tests/nrf/tiny.py"
LAUNCH = [sys.executable, "launch.py", f"--config={TINY}:small"]


def environment(num_devices: int = 1) -> dict[str, str]:
    flag = "--xla_force_host_platform_device_count"
    return {**os.environ, "XLA_FLAGS": os.environ["XLA_FLAGS"].replace(f"{flag}=1", f"{flag}={num_devices}")}


def tiny(*overrides: str, preset: str = "tiny"):
    return load_config(f"{REPOSITORY / TINY}:{preset}", overrides)


def launch(*arguments: str, num_devices: int = 1) -> subprocess.CompletedProcess:
    return subprocess.run(
        [*LAUNCH, *arguments], cwd=REPOSITORY, env=environment(num_devices), capture_output=True, text=True
    )


def leaves(folder: pathlib.Path, step: int) -> dict[str, np.ndarray]:
    """Every array of a checkpoint, by name."""
    tree = read_tree(folder / "checkpoints", step)
    return {jax.tree_util.keystr(path): np.asarray(x) for path, x in jax.tree_util.tree_leaves_with_path(tree)}


def rows(folder: pathlib.Path) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(line).items() if k != "time"} for line in lines]


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """A run of 12 updates that nothing disturbed."""
    folder = tmp_path_factory.mktemp("undisturbed") / "run"
    train(tiny(preset="small"), folder)
    return folder


def test_a_run_leaves_everything_in_its_folder(finished):
    table = read_metrics(finished)
    assert table.index[-1] == 12 and np.isfinite(table.loc[12, "energy/gap"])
    assert {"energy/positive", "energy/negative", "negative/layer_1/momentum_rms", "positive/steps"} <= set(table)
    assert table["negative/steps"].nunique() > 1  # Poisson lengths
    assert 0 < table.loc[12, "samples/spectrum_distance"] < 2
    names = {path.name for path in (finished / "images").iterdir()}
    assert names == {"chains.png", "curves.png", "samples.png", "samples_0000006.png", "samples_0000012.png"}
    for start in ("noise", "data"):
        assert {f"chains/{start}/{n}/gabor_kurtosis" for n in (1, 20)} <= set(table)
    assert table.loc[12, "chains/temperature/layer_0"] > 0 and table.loc[12, "chains/r_hat/energy"] > 0.5
    assert all((finished / "images" / name).stat().st_size > 5000 for name in names)
    assert list((finished / "tensorboard").glob("events*"))
    assert json.loads((finished / "config.json").read_text())["config"]["train"]["updates"] == 12


@pytest.mark.parametrize("most", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_at_random_moments_it_resumes_bit_for_bit(finished, tmp_path, most):
    folder = tmp_path / "run"
    draw = random.Random(0)
    kills = 0
    for _ in range(40):
        run = subprocess.Popen(
            [*LAUNCH, f"--workdir={folder}"], cwd=REPOSITORY, env=environment(), stdout=subprocess.DEVNULL
        )
        waited, patience = 0.0, None
        while run.poll() is None:
            # The clock starts when the run has something to lose: its second line of metrics, then a random moment.
            metrics = folder / "metrics.jsonl"
            if patience is None and metrics.exists() and len(metrics.read_text().splitlines()) > 2 * kills:
                patience = draw.uniform(0.0, 0.15)
            if patience is not None and waited >= patience and kills < most:
                run.send_signal(signal.SIGKILL)
                run.wait()
                kills += 1
                break
            time.sleep(0.01)
            waited += 0.01 if patience is not None else 0.0
        if run.returncode == 0 or kills == most:
            break
        assert run.returncode == -signal.SIGKILL
    assert kills >= max(most - 1, 1)
    train(tiny(preset="small"), folder)
    expected, found = leaves(finished, 12), leaves(folder, 12)
    assert expected.keys() == found.keys()
    for name, array in expected.items():
        np.testing.assert_array_equal(found[name], array, err_msg=name)
    assert rows(folder) == rows(finished)


def test_a_polite_signal_ends_the_run_after_the_update_in_work(finished, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "run"
    signal_after_first_metrics(monkeypatch)
    train(tiny("--config.train.updates=100000", preset="small"), folder)
    # The signal came after the first update's line; the second was its last.
    assert "stopped after update 2; the same command goes on from there" in capsys.readouterr().out
    assert [path.name for path in (folder / "checkpoints").glob("step_*")] == ["step_00000002"]
    # A longer or shorter run is the same run: what was computed is the same.
    assert rows(folder)[0] == rows(finished)[0]


def test_a_diverging_run_says_where_and_keeps_its_checkpoints(tmp_path):
    with pytest.raises(NonFiniteError, match=r"diverged at .*checkpoint"):
        train(tiny("--config.train.lr=1e30", "--config.train.global_norm=0", preset="small"), tmp_path / "run")
    with pytest.raises(NonFiniteError, match=r"update 1: the energy of the \w+ phase is .* beyond train.max_energy"):
        train(tiny("--config.train.max_energy=1e-9", preset="small"), tmp_path / "other")
    assert not list((tmp_path / "other" / "checkpoints").glob("step_*"))


def test_a_run_goes_on_only_with_the_config_it_began_with(finished):
    with pytest.raises(ConfigError, match=r"train.batch was 8 and is 16"):
        train(tiny("--config.train.batch=16", preset="small"), finished)


FEW = ("--config.train.updates=3", "--config.log.every=1")


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """Three updates on one device in one process."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    done = launch(f"--workdir={folder}", *FEW)
    assert done.returncode == 0, done.stderr
    return leaves(folder, 3)


def assert_equal(found: dict[str, np.ndarray], expected: dict[str, np.ndarray]):
    for name, array in expected.items():
        np.testing.assert_allclose(found[name], array, rtol=1e-5, atol=1e-5, err_msg=name)


@pytest.mark.slow
def test_four_devices_compute_what_one_does(finished, tmp_path):
    done = launch(f"--workdir={tmp_path}", num_devices=4)
    assert done.returncode == 0, done.stderr
    assert "4 × cpu" in done.stdout
    # Later updates amplify the rounding of the sums over devices.
    for found, expected in zip(rows(tmp_path)[:2], rows(finished)[:2], strict=True):
        assert found.keys() == expected.keys() and found["step"] <= 2
        np.testing.assert_allclose(list(found.values()), list(expected.values()), rtol=1e-4, atol=1e-5)


@pytest.mark.slow
def test_two_processes_compute_what_one_does(alone, tmp_path):
    with socket.socket() as free:
        free.bind(("localhost", 0))
        address = f"localhost:{free.getsockname()[1]}"
    processes = []
    for number in range(2):
        job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2", "JAX_PROCESS_ID": str(number)}
        command = [*LAUNCH, f"--workdir={tmp_path}", *FEW]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
        processes.append(subprocess.Popen(command, cwd=REPOSITORY, env=environment() | job, **pipes))
    for process in processes:
        text, _ = process.communicate(timeout=300)
        assert process.returncode == 0, text
        assert "2 × cpu in 2 processes" in text
    assert_equal(leaves(tmp_path, 3), alone)


def test_a_batch_that_the_devices_cannot_share_is_refused(tmp_path):
    done = launch(f"--workdir={tmp_path}", "--config.train.batch=6", num_devices=4)
    assert done.returncode == 2 and "use 4 or 8" in done.stderr and "Traceback" not in done.stderr


@pytest.mark.slow
def test_every_field_that_training_does_not_read_is_refused(tmp_path):
    more = ["--config.log.histograms_every=1", "--config.positive.stop_threshold=1e-9"]
    config = tiny("--config.train.updates=1", *more, preset="small")
    recorder = ReadRecorder(config)
    train(recorder, tmp_path / "run")
    idle = idle_fields(config, ["train"])
    assert [f for f in recorder.unread() if not idle.why(f) and not f.startswith("sweep.")] == []
    trainer = from_config.make_trainer(recorder, 64)
    for name in config.sampler:
        if name not in ("name", "gradient_clip"):
            chosen = ReadRecorder(tiny(f"--config.sampler.name={name}", preset="small"), read=recorder._read)
            from_config.read_sampler(chosen, trainer.model, clamp_image=False)
    assert [field for field in recorder.unread() if field.startswith("sampler.")] == []


@pytest.mark.slow
def test_the_stages_after_training_read_their_groups(tmp_path):
    config = tiny_config()
    recorder = ReadRecorder(config)
    make_run(tmp_path, config)
    visualise(recorder, tmp_path)
    record(recorder, tmp_path)
    predict_recording(recorder, tmp_path)
    record(ReadRecorder(tiny_config(record={"experiments": ("observe",)}), read=recorder._read), tmp_path)
    analyse(recorder, tmp_path)
    diagnose(recorder, tmp_path)
    unused_sets = ("record.sets.double", "record.sets.long")
    unread = [f for f in recorder.unread() if f.startswith(("visualise.", "record.", "analyse.", "diagnose."))]
    assert [field for field in unread if not field.startswith(unused_sets)] == []


# To the default sampler, to adam, or to each other.
SIMILAR = ("langevin", "sghmc", "sghmc_thesis", "sgd", "hmc", "mala", "nuts")


@pytest.mark.parametrize(
    "name", ["adam", *(pytest.param(name, marks=pytest.mark.slow) for name in SIMILAR)]
)
def test_every_sampler_can_train(name, tmp_path):
    few = ["--config.train.updates=1", "--config.positive.steps=1", "--config.negative.steps=1"]
    few += ["--config.negative.fresh=uniform"]
    config = tiny(f"--config.sampler.name={name}", *few, preset="small")
    run = prepare_run(config, tmp_path)
    state = jax.jit(run.trainer.create_state)(jax.random.key(0))
    images = run.images.train[: config.train.batch]
    _, metrics, samples = jax.jit(run.trainer.update)(state, images)
    assert all(np.isfinite(value).all() for value in metrics.values())
    assert 0 <= metrics["negative/acceptance"] <= 1
    assert all(np.abs(s).max() <= 1 for s in samples.negative)


PRESETS = {
    "quick": [],
    "patches": [],
    "digits": ["--config.data.dir={data}"],
    "cifar": ["--config.data.dir={data}"],
    "thesis_architecture": ["--config.data.dir={data}"],
    "thesis": ["--config.data.dir={data}"],
}
SHORT = [
    "--config.train.updates=2", "--config.train.batch=2", "--config.positive.steps=2", "--config.negative.steps=2",
    "--config.negative.longest=2", "--config.negative.buffer_size=4", "--config.data.num_train=100",
    "--config.negative.chains=2", "--config.monitor.chains=2", "--config.monitor.steps=20",
]  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("preset", PRESETS)
def test_presets_run_two_updates(preset, request, tmp_path):
    overrides = list(SHORT)
    if PRESETS[preset]:
        overrides.append(f"--config.data.dir={request.getfixturevalue('shared') / 'data' / 'tfds'}")
    config = load_config(str(REPOSITORY / f"configs/nrflv.py:{preset}"), overrides)
    assert np.isfinite(train(config, tmp_path / "run")["loss"])
    assert list(read_metrics(tmp_path / "run").index) == [1, 2]


@pytest.mark.parametrize(
    ("override", "sentence"),
    [
        ("--config.trian.lr=1", r"no field 'trian' \(did you mean 'train'\?\)"),
        ("--config.train.lr=fast", r"--config.train.lr=fast: the field holds a number"),
        ("--config.train.lr=-1", r"--config.train.lr=-1: it must be above 0, not -1.0"),
        ("--config.positive.start=nowhere", r"one of previous, thermal, random, initializer, zeros, not 'nowhere'"),
        ("--config.negative.longest=2", r"config.negative.longest is 2, less than config.negative.steps"),
        ("--config.model.architecture.kind=((1,1,1),(1,1),(1,1))", r"layer 1: 'kind' has 2 entries but"),
        ("--config.model.architecture.main_kernel=(3,3)", r"'main_kernel' has 2 entries but 'state_sizes' names 3"),
        ("--config.model.activation=swosh", r"tanh, swish, leaky_relu, relu, not 'swosh' \(did you mean 'swish'\?\)"),
        ("--config.data.size=16", r"image layer .* is 8x8 .* asks for 16x16"),
        ("--config.data.name=tfds:mnist", r"tfds:mnist.*--config.data.dir=FOLDER"),
        ("--config.sampler.name=hcm", r"not 'hcm' \(did you mean 'hmc'\?\)"),
        ("--config.sampler.underdamped.step_size=0.1,0.2", r"step_size has 2 entries but the architecture has 3"),
        ("--config.sampler.underdamped.friction=-1", r"friction=-1: it must be above 0, not -1.0"),
        ("--config.data.gain_control=1.5", r"gain_control=1.5: it must be above 0 and at most 1, not 1.5"),
        ("--config.data.whitened_sd=none", r"gain_control is 0.5, but only whitened images have their contrast"),
        ("--config.negative.from_data=2", r"from_data=2: it must be at least 0 and at most 1, not 2.0"),
        ("--config.precision=exact", r"one of highest, high, default, not 'exact'"),
        ("--config.visualise.samples=0", r"samples=0: it must be at least 1, not 0"),
        ("--config.visualise.modes=dream", r"one of standard, channels_energy, channels_state, not 'dream'"),
        ("--config.record.stimulus=5", r"stimulus=5: it must be at least 12, not 5"),
        ("--config.record.variables=state,monentum", r"not 'monentum' \(did you mean 'momentum'\?\)"),
        ("--config.diagnose.chains=1", r"chains=1: it must be at least 2, not 1"),
        ("--config.negative.buffer_fraction=2", r"it must be at least 0 and at most 1, not 2.0"),
    ],
)
def test_bad_values_give_one_clear_sentence(override, sentence, tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    with pytest.raises(ConfigError, match=sentence) as error:
        train(tiny(override), tmp_path / "run")
    assert "\n" not in str(error.value)


def test_the_command_line_answers_without_a_traceback(tmp_path):
    done = launch("--config.train.lr=fast", f"--workdir={tmp_path}")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and "Traceback" not in done.stderr


def test_the_defaults_are_the_ones_the_docstring_describes():
    flat = flatten(load_config(str(REPOSITORY / "configs/nrflv.py:thesis")))
    assert flat["train.updates"] == 47500 and flat["train.batch"] == 128 and flat["positive.steps"] == 500
    assert flat["sampler.name"] == "sghmc_thesis" and flat["sampler.sghmc_thesis.min_sq_sigma"] == 9e-5
