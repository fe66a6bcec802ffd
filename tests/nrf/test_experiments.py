"""Recording: both levels say the same, protocols are kept to, a kill changes nothing, memory and size are bounded."""

import signal
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from nrf import experiments, protocols
from nrf.image_space import ImageSpace
from nrf.trained import read_trained
from recordings import period_statistics, sites
from recordings.format import RecordingError
from recordings.names import LEVELS, VARIABLES
from recordings.reading import open_recording
from runtime.errors import ConfigError
from runtime.images import load_images
from tests.conftest import REPOSITORY
from tests.nrf.trained_run import make_run, tiny_config

NAME = "contrast_and_angle"


def config_with(**record):
    return tiny_config(record=record)


@pytest.fixture(scope="module")
def run_folder(tmp_path_factory):
    return make_run(tmp_path_factory.mktemp("recorded") / "run", tiny_config())


@pytest.fixture(scope="module")
def recorded(run_folder, tmp_path_factory):
    """The same experiment at both levels, of the same model: {level: recording}."""
    folders = {}
    for level in LEVELS:
        variables = VARIABLES if level == "full" else ("state", "momentum")
        config = config_with(level=level, variables=variables, movie=2)
        folders[level] = make_run(tmp_path_factory.mktemp(level) / "run", config)
        experiments.record(config, folders[level])
    return {level: open_recording(folder, NAME) for level, folder in folders.items()}


def test_levels_hold_the_same_numbers(recorded):
    full, short = recorded["full"], recorded["analysis"]
    for layer in (1, 2):
        state, momentum = full.read(f"state/{layer}"), full.read(f"momentum/{layer}")
        assert state.shape == (64, 3, *((8, 8, 4) if layer == 1 else (2, 2, 2))) and state.std() > 0.01
        places = short.read(f"sites/{layer}").astype(int)
        kept = state[:, np.arange(3)[:, None], places[..., 0], places[..., 1]]
        np.testing.assert_array_equal(short.read(f"state/{layer}/sites"), kept)
        middle = momentum[:, :, momentum.shape[2] // 2, momentum.shape[3] // 2]
        np.testing.assert_array_equal(short.read(f"momentum/{layer}/centre"), middle)
        movie = short.read(f"movie/{layer}")
        np.testing.assert_array_equal(movie[:, [0, 1]], state[::4, [0, 1]])
        assert short.about["filmed"] == [0, 1] and not movie[:, 2].any()


def test_statistics_of_both_levels_agree(recorded):
    full, short = recorded["full"], recorded["analysis"]
    assert list(short.about["statistics"]) == ["during", "outside"]
    for period in ("during", "outside"):
        found, expected = (period_statistics.read(each, 1, period) for each in (short, full))
        assert (found.count, found.batch_count) == (expected.count, expected.batch_count)
        for name in period_statistics.STATISTICS:
            scale = np.abs(getattr(expected, name)).max()
            np.testing.assert_allclose(getattr(found, name), getattr(expected, name), rtol=1e-5, atol=1e-6 * scale)


def test_energy_and_gradient_are_those_before_the_step(recorded, run_folder):
    full = recorded["full"]
    trained = read_trained(config_with(), run_folder)
    step, onset = 30, 26  # in the stimulus period
    assert full.about["periods"][:2] == [6, 20] and step > onset
    # Both latent layers were recorded, so that the state before the step is known whole.
    before = tuple(full.read(f"state/{layer}", time=step - 1) for layer in (1, 2))
    states = (full.read("images"), *before)
    _, gradient = jax.jit(trained.model.energy_and_gradient)(trained.weights, states)
    units = jax.jit(trained.model.unit_energies)(trained.weights, states)
    for layer in (1, 2):
        np.testing.assert_allclose(full.read(f"gradient/{layer}", time=step), gradient[layer], atol=1e-5)
        np.testing.assert_allclose(full.read(f"energy/{layer}", time=step), units[layer], atol=1e-5)
        assert np.abs(full.read(f"gradient/{layer}")).max() > 0


def test_every_period_shows_its_image(recorded, run_folder):
    """The gradient at the first step of a period is that of the period's image, at the state the last one left."""
    full = recorded["full"]
    config = config_with()
    trained = read_trained(config, run_folder)
    images = load_images("natural", size=8, channels=1, num_train=64, seed=config.seed, contrast=config.data.contrast)
    protocol = protocols.make_protocol(NAME, config, images, trained.space)
    gradient_fn = jax.jit(trained.model.energy_and_gradient)
    blank = np.repeat(protocol.blank[None], 3, axis=0)
    shown = {5: protocol.burn_in_images, 6: blank, 26: protocol.images, 49: protocol.images, 50: blank, 63: blank}
    for step, image in shown.items():
        before = tuple(full.read(f"state/{layer}", time=step - 1) for layer in (1, 2))
        _, gradient = gradient_fn(trained.weights, (image, *before))
        np.testing.assert_allclose(full.read("gradient/1", time=step), gradient[1], atol=1e-5, err_msg=str(step))


def test_other_protocols_have_their_sites(run_folder):
    names = ("double_fewlocs_and_fewerangles", "long_just_fewangles", "observe", "free", "just_angle")
    config = tiny_config(record={"experiments": names, "layers": (1,)})
    trained = read_trained(config, run_folder)
    images = load_images("natural", size=8, channels=1, num_train=64, seed=0)
    made = {name: protocols.make_protocol(name, config, images, trained.space) for name in names}
    double = made["double_fewlocs_and_fewerangles"]
    offsets = np.stack([double.table["row_offset"], double.table["column_offset"]], axis=1)
    np.testing.assert_array_equal(double.sites[:, 1] - double.sites[:, 0], offsets)
    long = made["long_just_fewangles"]
    for places, angle in zip(long.sites, long.table["angle"], strict=True):
        np.testing.assert_array_equal(places, sites.along(angle, 8))
    assert made["just_angle"].sites.shape == (128, 1, 2) and (made["just_angle"].sites == 4).all()
    assert made["observe"].periods == (0, 0, 20, 0) and made["observe"].clamped and not made["free"].clamped


def test_thesis_line_is_that_of_the_reference(shared):
    with np.load(shared / "reference" / "analysis" / "tables.npz") as npz:
        for angle, places in zip(npz["rclocs_angles"], npz["rclocs_yx"], strict=True):
            assert {tuple(p) for p in sites.along(float(angle), 32)} == {tuple(p) for p in places}


def test_observing_and_dreaming_are_recorded(tmp_path):
    config = tiny_config(record={"experiments": ("observe", "free"), "layers": (1,), "movie": 0, "block": 4})
    folder = make_run(tmp_path / "run", config)
    experiments.record(config, folder)
    for name in ("observe", "free"):
        recording = open_recording(folder, name)
        assert recording.read("state/1/sites").shape == (20, 3, 9, 4)
        assert recording.read("statistics/1/variance").shape == (1, 3, 8, 8, 4)
        assert list(recording.about["statistics"]) == ["during"]


@pytest.mark.parametrize(("name", "variables"), [("sghmc_thesis", ("state", "momentum")), ("mala", ("state",))])
def test_other_samplers_are_recorded(tmp_path, name, variables):
    record = {"layers": (1,), "level": "full", "variables": variables, "chunk": 40}
    config = tiny_config(record=record, sampler={"name": name}, negative={"fresh": "uniform"})
    folder = make_run(tmp_path / "run", config)
    experiments.record(config, folder)
    recording = open_recording(folder, NAME)
    moved = np.diff(recording.read("state/1"), axis=0)
    assert recording.about["sampler"]["name"] == name
    # In every period, and across the moments at which the image changes, some units move.
    assert (np.abs(moved).reshape(len(moved), -1).max(axis=1) > 0).mean() > 0.9
    assert ("momentum/1" in recording.names()) == ("momentum" in variables)
    assert name == "mala" or recording.read("momentum/1").any()


def test_a_second_call_does_nothing_and_other_settings_are_refused(recorded, monkeypatch):
    folder = recorded["analysis"].folder.parents[1]
    marks = {path: path.stat().st_mtime_ns for path in recorded["analysis"].folder.rglob("*") if path.is_file()}
    monkeypatch.setattr(experiments, "run_block", None)
    experiments.record(config_with(), folder)
    assert marks == {path: path.stat().st_mtime_ns for path in marks}
    with pytest.raises(RecordingError, match=r"its about was .*periods.* and is .*go on with the settings"):
        experiments.record(config_with(blank=22), folder)


@pytest.mark.parametrize(
    ("record", "message"),
    [
        ({"experiments": ("contrast",)}, "experiments names 'contrast'.*contrast_trials"),
        ({"layers": (0,)}, "names layer 0; in the experiment 'contrast_and_angle' the layers that move are 1 to 2"),
        ({"sets": {NAME: {"contrast": 3}}}, f"config.record.sets.{NAME}: .*contrast"),
    ],
)
def test_what_cannot_be_recorded_is_refused(run_folder, record, message):
    with pytest.raises(ConfigError, match=message):
        experiments.record(tiny_config(record=record), run_folder)


def test_analysis_level_is_below_a_hundredth_at_thesis_size():
    """Computed from the schemas: 5 experiments of 128 stimuli, 32 channels of 32x32, 2700 steps."""
    sizes = {level: thesis_bytes(level) for level in LEVELS}
    assert sizes["full"] > 200e9
    assert sizes["analysis"] < 0.01 * sizes["full"]


def thesis_bytes(level: str) -> int:
    from configs.nrflv import get_config
    from nrf.from_config import read_architecture
    from nrf.trained import Trained
    from runtime.images import ImageSet

    config = get_config("thesis")
    config.unlock()
    sets = ("contrast_and_angle", "just_angle", "just_angle_few_angles", "long_just_fewangles")
    config.record = {
        **tiny_config().record.to_dict(), "experiments": (*sets, "double_fewlocs_and_fewerangles"), "level": level,
        "layers": (1,), "dtype": "float16", "burn_in": 100, "blank": 1000, "stimulus": 1000, "blank_after": 600,
        "batch_steps": 100, "movie": 0, "sets": {},
    }  # fmt: skip

    class Model:
        architecture = read_architecture(config)
        bounds = ((-1.0, 1.0),) * 4

    images = ImageSet(np.full((2, 32, 32, 3), 0.5, np.float32), np.full((2, 32, 32, 3), 0.5, np.float32), "grey")
    trained = Trained(Model(), None, None, None, 0, ImageSpace((-1.0, 1.0), True, None), None)
    made = [protocols.make_protocol(name, config, images, trained.space) for name in config.record.experiments]
    return sum(experiments.make_schema(config, protocol, trained).num_bytes() for protocol in made)


KILLED = """
import sys
from nrf.experiments import record
from tests.nrf.trained_run import tiny_config
record(tiny_config(record={"block": 1}), sys.argv[1])
"""


def test_killed_it_goes_on_to_the_same_recording(tmp_path):
    config = config_with(block=1)
    folders = [make_run(tmp_path / name / "run", config) for name in ("killed", "whole")]
    marks = folders[0] / "recordings" / NAME / "blocks"
    run = subprocess.Popen([sys.executable, "-c", KILLED, str(folders[0])], cwd=REPOSITORY)
    while run.poll() is None and not list(marks.glob("*.json")):
        time.sleep(0.002)
    run.send_signal(signal.SIGKILL)
    run.wait()
    assert run.returncode == -signal.SIGKILL and list(marks.glob("*.json"))
    for folder in folders:
        experiments.record(config, folder)
    killed, whole = (open_recording(folder, NAME) for folder in folders)
    for name in whole.names():
        np.testing.assert_array_equal(killed.read(name), whole.read(name), err_msg=name)
