"""Fields that are shipped: small, loadable without training data, usable as a config in every stage."""

import json
import pathlib
import re

import jax
import numpy as np
import pytest

import nrf
from nrf import monitor
from nrf.from_config import read_sampler
from nrf.image_statistics import make_reference
from nrf.shipping import ship
from nrf.trained import adopt, read_trained
from recordings.names import TRIALS
from runtime.checkpoint import read_tree
from runtime.config import flatten, load_config
from runtime.errors import ConfigError
from runtime.images import load_images
from tests.conftest import REPOSITORY
from tests.nrf.trained_run import make_run, tiny_config

SHIPPED = sorted(path.parent for path in (REPOSITORY / "pretrained").glob("*/config.json"))


@pytest.fixture(scope="module")
def shipped(tmp_path_factory):
    changes = {"data": {"dir": "/somewhere"}, "train": {"start_from": "/some/run"}}
    run = make_run(tmp_path_factory.mktemp("run") / "run", tiny_config(**changes))
    return run, ship(run, tmp_path_factory.mktemp("shipped") / "tiny")


def test_a_shipped_field_holds_the_averaged_weights_and_nothing_of_the_training(shipped):
    run, folder = shipped
    before, after = read_tree(run / "checkpoints"), read_tree(folder / "checkpoints")
    assert set(after) == {"step", "variables", "initializer"}
    jax.tree.map(np.testing.assert_array_equal, after["variables"], before["average"])
    written = json.loads((folder / "config.json").read_text())["config"]
    assert written["data"]["dir"] is None and written["train"]["start_from"] is None
    # How it is recorded and judged is for the program at hand to say, with what it has learned since.
    assert not {"record", "analyse", "diagnose"} & set(written)
    images = nrf.load(run).data("test", 2)
    np.testing.assert_array_equal(
        nrf.load(folder).respond(images, seed=0, steps=2)[0], nrf.load(run).respond(images, seed=0, steps=2)[0]
    )
    with pytest.raises(ConfigError, match="holds a field already"):
        ship(run, folder)


def test_the_initializer_can_be_left_out(tmp_path):
    guided = {"positive": {"start": "initializer"}, "negative": {"start": "buffer", "fresh": "initializer"}}
    run = make_run(tmp_path / "run", tiny_config(**guided))
    folder = ship(run, tmp_path / "field", initializer=False)
    assert set(read_tree(folder / "checkpoints")) == {"step", "variables"}
    written = json.loads((folder / "config.json").read_text())["config"]
    assert (written["positive"]["start"], written["negative"]["fresh"]) == ("random", "uniform")
    field = nrf.load(folder)
    assert np.isfinite(field.respond(field.sample(seed=0, count=2, steps=2), seed=0, steps=2)[0]).all()


def test_what_is_too_large_is_refused_and_leaves_no_field(shipped, tmp_path, monkeypatch):
    run, _ = shipped
    monkeypatch.setattr("nrf.shipping.LARGEST", 1000)
    for _ in range(2):
        with pytest.raises(ConfigError, match=r"would take .* MB, more than 0: log less.*--without-initializer"):
            ship(run, tmp_path / "field")


def test_a_folder_is_a_config(shipped, tmp_path):
    _, folder = shipped
    config = load_config(str(folder), ["--config.record.block=3", "--config.data.dir=/elsewhere"])
    flat = flatten(config)
    assert flat["record.block"] == 3 and flat["data.dir"] == "/elsewhere" and flat["data.size"] == 8
    assert flat["record.sets.contrast_trials.repeats"] == 64
    assert flat["model.architecture.state_sizes"] == ((1, 8, 8), (4, 8, 8), (2, 2, 2))
    with pytest.raises(ConfigError, match="config.positive.steps=0: it must be at least 1"):
        load_config(str(folder), ["--config.positive.steps=0"])
    adopt(folder, tmp_path / "run")
    assert read_trained(config, tmp_path / "run").updates == 0
    (tmp_path / "run" / "whitening.npz").unlink()
    adopt(folder, tmp_path / "run")  # what is there is left alone
    assert not (tmp_path / "run" / "whitening.npz").exists()
    with pytest.raises(ConfigError, match="is no run folder"):
        adopt(tmp_path, tmp_path / "other")


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_what_is_shipped_is_recorded_for_verdicts(folder: pathlib.Path):
    config = load_config(str(folder))
    assert TRIALS in config.record.experiments and TRIALS in config.record.controlled
    assert config.record.sets[TRIALS].repeats >= 64


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_what_is_shipped_loads(folder: pathlib.Path):
    field = nrf.load(folder)
    assert field.sample(seed=0, count=2, steps=2).shape == (2, *field.image_shape)
    assert sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()) < 5 * 2**20


# Rows of a model card, and the measure that each shows at the end of chains from noise and from data.
PCS = ("variance_pc_1-4", "variance_pc_5-16", "variance_pc_17-64", "variance_pc_rest")
ROWS = {
    "distance of amplitude spectra": ("spectrum_distance",), "variance over the data's": PCS,
    "standard deviation of pixels": ("pixel_sd_ratio",),
}  # fmt: skip


def numbers(cell: str) -> list[tuple[float, float]]:
    """The numbers in a cell of a table, each with half a unit of its last digit."""
    found = re.findall(r"\d*\.\d+", cell)
    return [(float(text), 0.501 * 10 ** -len(text.split(".")[1])) for text in found]


@pytest.mark.parametrize("folder", SHIPPED, ids=lambda folder: folder.name)
def test_the_card_says_what_was_measured(folder: pathlib.Path):
    measured = json.loads((folder / "diagnostics.json").read_text())["long_chains"]
    last = max((name.split("/")[2] for name in measured if name.startswith("chains/noise/")), key=int)
    rows = [line.split("|")[1:-1] for line in (folder / "MODEL_CARD.md").read_text().splitlines() if line[:1] == "|"]
    checked = 0
    for title, *cells in rows:
        for start, cell in zip(monitor.STARTS, cells, strict=False):
            for name in next((names for row, names in ROWS.items() if row in title), ()):
                (said, unit), *_ = numbers(cell)
                cell = cell[re.search(r"\d*\.\d+", cell).end() :]
                assert abs(said - measured[f"chains/{start}/{last}/{name}"]) <= unit, (title, start, name)
                checked += 1
        if "split R-hat" in title:
            (said, unit), *_ = numbers(cells[0])
            assert abs(said - measured["chains/r_hat/energy"]) <= unit
            checked += 1
    assert checked == 13


@pytest.mark.slow
def test_chains_of_the_shipped_patches_are_like_their_data():
    folder = REPOSITORY / "pretrained" / "patches"
    config = load_config(str(folder))
    trained = read_trained(config, folder)
    held_out = load_images("natural", size=16, channels=1, num_train=10).test
    chains = monitor.Chains(
        trained.model, read_sampler(config, trained.model, False), trained.space, make_reference(held_out), held_out,
        trained.thermal_sd,
    )  # fmt: skip
    watch = monitor.run_chains(chains, trained.weights, jax.random.key(1), 32, 1000)
    # At this length chains need not agree on the energy yet, and few strong ones carry most of the variance of so few:
    # the standard deviation of pixels scatters by a tenth.  All else must hold.
    faults = [fault for fault in monitor.judge(watch) if "R-hat" not in fault and "pixels vary" not in fault]
    assert not faults, "\n".join(faults)
    for start in monitor.STARTS:
        assert 0.8 < watch.measures[start][-1]["pixel_sd_ratio"] < 1.3


def test_images_of_other_data_sets_are_not_passed_on(tmp_path, monkeypatch):
    run = make_run(tmp_path / "run", tiny_config())
    (run / "images").mkdir(exist_ok=True)
    for name in ("samples.png", "curves.png"):
        (run / "images" / name).write_bytes(b"a picture")
    record = json.loads((run / "config.json").read_text())
    record["config"]["data"]["name"] = "tfds:mnist"
    (run / "config.json").write_text(json.dumps(record))
    monkeypatch.setattr("nrf.shipping.OWN_STEPS", 3)
    folder = ship(run, tmp_path / "shipped")
    assert sorted(path.name for path in (folder / "images").iterdir()) == ["curves.png", "own_samples.png"]
    assert (folder / "images" / "own_samples.png").stat().st_size > 5000
