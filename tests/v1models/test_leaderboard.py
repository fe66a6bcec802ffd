"""A leaderboard from file to page: the family that made the data wins, nothing is done twice, bad fields are named."""

import numpy as np
import pandas as pd
import pytest
from ml_collections import ConfigDict

from analysis.fits.leaderboard import write_page
from configs.v1.henaff import family
from runtime.config import ReadRecorder, flatten, load_config
from runtime.errors import ConfigError
from v1models import cores
from v1models.idle import idle_leaderboard
from v1models.leaderboard import compare
from v1models.learning import few_groups
from v1models.repeats import folds

SIZE = 16


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A recording of units that weigh Gabor energy, and a config that compares families on it.

    The family `own` has features from a file, named on the command line: random numbers beside the images' rates.
    """
    folder = tmp_path_factory.mktemp("leaderboard")
    rng = np.random.default_rng(0)
    images = rng.normal(size=(80, SIZE, SIZE)).cumsum(1).cumsum(2)
    images -= images.mean((1, 2), keepdims=True)
    images /= images.std()
    images[:, 0] = 0  # outside the aperture
    energy = np.asarray(cores.energy_maps(images, cores.gabor_filters(SIZE, 2, 4), 2, "amplitude")).reshape(80, -1)
    energy = (energy - energy.mean(0)) / energy.std(0)
    rates = 6 + energy[:, :32] @ rng.normal(size=(32, 8)) / 4
    trials = rates + 2 * rng.normal(size=(8, 80, 8))
    trials[5:, ::2] = np.nan
    owners = np.repeat(["a", "b"], 4)
    np.savez(folder / "mine.npz", images=images, trials=trials, groups=np.arange(80) // 8, recordings=owners)
    np.savez(folder / "features.npz", features=np.hstack([rates, rng.normal(size=(80, 4))]))
    overrides = [f"data.path={folder / 'mine.npz'}", f"families.own.path={folder / 'features.npz'}"]
    config = ConfigDict(load_config("configs/v1/henaff.py:own", overrides)).unlock()
    config.data.size = SIZE
    for name in ("steerable_power", "steerable", "cnn_rotated"):
        del config.families[name]
    config.families.cnn = family("trained", grid=8, widths=(3,), features=2, epochs=2, look_every=1, seeds=(0, 1))
    config.families.pixels.grid = 8
    config.families.gabor_energy.update({"grid": 2, "scales": 2, "orientations": 4})
    config.learning.update({"families": ("gabor_energy", "cnn"), "groups": (2, 8)})
    config.scores.resamples = 50
    config.exciting.update({"units": 1, "steps": 3})
    return config, folder / "run"


def test_the_family_behind_the_data_wins_and_the_page_shows_it(small):
    config, folder = small
    recorder = ReadRecorder(config)
    board = compare(recorder, folder)
    # What is not read is refused, and what is read is not.
    idle = idle_leaderboard(config, ["train"])
    assert {field for field in flatten(config) if idle.why(field)} == {*recorder.unread()} - {"package"}
    whole = board[board["recording"] == "all"].set_index("family")
    assert whole.loc["gabor_energy", "cc_norm"] > 0.6 > whole.loc["pixels", "cc_norm"]
    assert whole.loc["gabor_energy", "cc_norm_low"] < whole.loc["gabor_energy", "cc_norm"]
    assert whole.loc["own", "cc_norm"] > 0.9  # the features are the answer
    assert whole["seeds"].to_dict() == {"pixels": 1, "gabor_energy": 1, "own": 1, "cnn": 2}
    assert (whole["cc_norm_single"] == whole["cc_norm"]).to_dict() == {
        "pixels": True,
        "gabor_energy": True,
        "own": True,
        "cnn": False,
    }
    learning = pd.read_csv(folder / "learning.csv").set_index(["family", "groups"])["value"]
    assert learning["gabor_energy", 8] > learning["gabor_energy", 2] and np.isfinite(learning["cnn"]).all()
    singles = np.load(folder / "families" / "cnn.npz")["singles"]
    assert singles.shape == (2, 80, 8) and [path.name for path in (folder / "learning").iterdir()] == ["cnn_2.npz"]
    assert set(whole.index) == {"pixels", "gabor_energy", "own", "cnn"}
    assert np.isfinite(whole["cc_norm"]).all()
    assert (board["recording"] != "all").sum() == 8
    tables = [pd.read_csv(folder / f"{name}.csv") for name in ("leaderboard", "units", "comparisons", "learning")]
    assert all({"split", "replication"} <= set(table) for table in tables)
    seen = {"pixels", "gabor_energy", "cnn"}  # features from a file have no gradient
    assert {path.stem for path in (folder / "exciting").iterdir()} == seen
    units = np.load(folder / "exciting" / "gabor_energy.npz")["units"]
    for path in (folder / "exciting").iterdir():
        with np.load(path) as found:
            assert found["units"].tolist() == units.tolist() and found["family"] == path.stem
            for name in ("images", "gradients", "sensitivities"):
                assert found[name].shape == (2, SIZE, SIZE)
                assert np.abs(found[name][:, 0]).max() < 1e-6 and np.abs(found[name][:, 1:]).max(axis=(1, 2)).min() > 0
    with np.load(folder / "exciting" / "pixels.npz") as found:  # of a linear model the mean gradient is the gradient
        np.testing.assert_allclose(np.abs(found["gradients"]), found["sensitivities"], rtol=1e-3, atol=1e-6)
    page = write_page(folder).read_text()
    assert "one of them" in page and f"{whole.loc['cnn', 'cc_norm_single']:.3f}" in page
    for picture in ("scores.png", "units.png", "learning.png", *(f"exciting_{name}.png" for name in seen)):
        assert picture in page
        assert (folder / picture).stat().st_size > 3000
    assert page.index("gabor_energy") < page.index("pixels")


def test_families_that_are_there_are_not_fitted_again(small, monkeypatch):
    config, folder = small
    monkeypatch.setattr("v1models.leaderboard.trained.fit_predict", None)
    compare(config, folder)
    monkeypatch.setattr("v1models.leaderboard.ridge.fit_predict", None)
    again = config.copy_and_resolve_references()
    again.learning.groups = ()
    again.scores.against = "pixels"
    compare(again, folder)
    table = pd.read_csv(folder / "comparisons.csv")
    assert set(table["family"]) == {"pixels"} and "gabor_energy" in set(table["other"])
    rows = table[table["other"] == "gabor_energy"]
    assert len(rows) == 2 == rows["replication"].nunique() and (rows["high"] < 0.1).all()


def test_few_groups_are_parts_of_the_fold_and_as_many_as_asked_for():
    groups = np.repeat(np.arange(10), 3)
    for validation in (1, 2, 4):
        for fold in folds(groups, 5, validation):
            for count in range(2, 8):
                few = few_groups(fold, groups, count)
                seen = [np.unique(groups[rows]) for rows in few]
                assert len(seen[0]) + len(seen[1]) == count and len(seen[1]) >= 1 and len(seen[0]) >= 1
                assert set(few.train) <= set(fold.train) and set(few.validation) <= set(fold.validation)
                assert few.test is fold.test
            assert few_groups(fold, groups, 8) is fold


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.path", None, "config.data.path is not set"),
        ("data.size", 7, "cannot be averaged"),
        ("data.recordings", ("c",), "holds no recording 'c'"),
        ("scores.against", "pixel", "did you mean 'pixels'"),
        ("families.pixels.core", "gabors", "config.families.pixels.core is 'gabors'"),
        ("families.own.path", None, "config.families.own.path is not set"),
        ("families.gabor_energy.compression", "cube", "compression is 'cube'"),
        ("families.gabor_energy.grid", 5, "does not divide"),
        ("scores.reliable", 2.0, "config.scores.reliable"),
        ("learning.families", ("dnn",), "config.learning.families names 'dnn'"),
        ("learning.groups", (1, 4), "is trained and needs a group to fit on and one to stop by"),
        ("families.cnn.seeds", (), "config.families.cnn: seeds is empty"),
        ("families.cnn.readout", "gauss", "config.families.cnn: readout is 'gauss'"),
        ("folds.count", 40, "40 folds"),
        ("data.lags", 0, "config.data.lags is 0"),
        ("data.lags", 2, "config.families.cnn is trained on single frames"),
    ],
)
def test_bad_fields_are_named(small, tmp_path, field, value, message):
    config = small[0].copy_and_resolve_references()
    with config.ignore_type():
        config.update_from_flattened_dict({field: value})
    with pytest.raises(ConfigError, match=message):
        compare(config, tmp_path)


# Other values of every field; what is not here takes twice its number.
OTHERS = {
    "data.recordings": ("b",), "folds.seed": 1, "folds.count": 4, "folds.validation": 1,
    "families.cnn.convolutions": "rotated", "families.cnn.readout": "factorized", "families.cnn.widths": (5,),
    "families.cnn.noise": "gaussian", "families.cnn.seeds": (1,), "families.gabor_energy.compression": "log",
    "families.gabor_energy.highest": 0.2,
    "scores.against": "pixels", "learning.families": ("pixels",), "learning.groups": (4,), "families.pixels.grid": 4,
    "scores.reliable": 0.9, "families.gabor_energy.core": "steerable", "families.cnn.grid": 4, "exciting.units": 2,
    "families.pixels.compression": "power", "families.cnn.compression": "power", "families.pixels.noise": "gaussian",
}  # fmt: skip
ABOUT = ("package", "data.path", "data.size", "families.pixels.core", "families.cnn.core", "families.own.core")


@pytest.mark.slow
def test_every_field_changes_what_is_written_or_is_refused(small, tmp_path):
    config, _ = small

    def written(changed, name):
        compare(changed, tmp_path / name)
        files = sorted(path for path in (tmp_path / name).rglob("*.*") if path.suffix in (".csv", ".npz"))
        return [path.read_bytes() if path.suffix == ".csv" else [np.load(path)[key].tobytes() for key in np.load(path)]
                for path in files]  # fmt: skip

    before, ignored, tried = written(config, "before"), [], 0
    for number, (field, value) in enumerate(flatten(config).items()):
        other = OTHERS.get(field, None if value is None or isinstance(value, str) else 2 * value)
        if field in ABOUT or other is None:
            continue
        changed, tried = config.copy_and_resolve_references().unlock(), tried + 1
        with changed.ignore_type():
            changed.update_from_flattened_dict({field: other})
        if idle_leaderboard(changed, ["train"]).why(field):
            continue
        try:
            acts = written(changed, str(number)) != before
        except ConfigError as error:
            acts = f"config.{field}" in str(error)
        if not acts:
            ignored.append(field)
    assert tried > 40 and ignored == []
