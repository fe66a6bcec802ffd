"""Is the truth of a simulated population found: what a run keeps of it, and that bl4 does find it."""

import pathlib

import jax
import numpy as np
import pytest

from analysis.fits.recovery import recovery
from runtime.config import load_config
from v1models.layers import Dense, DifferenceOfGaussians
from v1models.network import Network
from v1models.recovery import centers
from v1models.run import train
from v1models.simulation import simulate
from v1models.specification import NetworkSpec
from v1models.training import start_members
from v1models.update import Optimization, make_trainer

BL4 = pathlib.Path(__file__).resolve().parents[2] / "configs" / "v1" / "bl4.py"


def network(first):
    return NetworkSpec((14, 12, 1), (first, Dense(3, activation="softplus")))


def test_centers_are_those_of_the_filters_and_units_that_do_nothing_have_no_weight():
    spec = network(DifferenceOfGaussians(4))
    members = start_members(make_trainer(Network(spec), Optimization()), range(2))
    params = dict(members.params)
    gaussians = np.array(params["layer0"]["gaussians"])
    gaussians[:, 0, 2:] = [[3, 5, 9.5, 40], [4, 8, 11.25, 6]]  # x and y of four units, one outside its bounds
    gaussians[:, 0, 0], gaussians[:, 0, 1], gaussians[:, 1, 0] = 5, 2, 1e-3
    kernel = np.array(params["layer1"]["kernel"])
    kernel[:, 1] = 0
    params["layer0"] = {**params["layer0"], "gaussians": gaussians}
    params["layer1"] = {**params["layer1"], "kernel": kernel}
    truth = simulate(neurons=3, size=12, train_images=4, validation_images=2, repeats=1, kind="center_surround").truth
    images = np.asarray(jax.random.normal(jax.random.key(0), (50, 14, 12, 1)))
    found = centers(spec, members._replace(params=params), truth, images)
    np.testing.assert_allclose(found["fitted"][1], [[3, 4], [5, 8], [9.5, 11.25], [10, 6]])
    assert np.all(found["weight"][:, 1] == 0) and np.all(found["weight"].max(1) == 1)
    filters = Network(spec).apply({"params": jax.tree.map(lambda leaf: leaf[0], params)}, method="weights")[0]["kernel"]
    row, column = np.unravel_index(np.argmax(filters[..., 0, 1]), (14, 12))
    assert (column, row) == (5, 8)
    np.testing.assert_array_equal(found["true"], truth.gaussians[0, 2:].T)


def test_there_is_nothing_to_compare_without_a_truth_or_without_such_units():
    spec = network(DifferenceOfGaussians(4))
    assert centers(spec, None, None, None) is None
    energy = simulate(neurons=3, size=12, train_images=4, validation_images=2, repeats=1, kind="energy").truth
    assert centers(spec, None, energy, None) is None
    assert centers(network(Dense(4)), None, energy._replace(gaussians=np.ones((2, 4, 1))), None) is None


def test_a_fit_keeps_the_truth_beside_what_it_found(tmp_path):
    config = load_config(
        f"{BL4}:recovery",
        (
            "seeds=0,1", "fit.epochs=2", "fit.log_every=2", "data.simulated.size=12", "data.simulated.neurons=8",
            "data.simulated.train_images=40", "data.simulated.validation_images=5", "log.neurons_shown=0",
        ),
    )  # fmt: skip
    train(config, tmp_path / "dog")
    with np.load(tmp_path / "dog" / "centres.npz") as arrays:
        assert arrays["true"].shape == (6, 2) and arrays["fitted"].shape == (2, 9, 2)
        assert np.all(arrays["fitted"] >= 2) and np.all(arrays["fitted"] <= 10)
    assert np.isfinite(recovery(tmp_path / "dog")["gap"])


@pytest.mark.slow
def test_bl4_finds_the_units_of_a_simulation_and_comes_near_its_noise_ceiling(tmp_path):
    epochs, images = 120, 4000
    config = load_config(
        f"{BL4}:recovery",
        (
            "seeds=0,1,2,3", f"fit.epochs={epochs}", "fit.log_every=60", f"data.simulated.train_images={images}",
            "data.simulated.neurons=60", f"optimization.schedule_steps={epochs * images // 16}", "log.neurons_shown=0",
        ),
    )  # fmt: skip
    train(config, tmp_path)
    found = recovery(tmp_path)
    assert found["gap"] < 0.03 and found["center_error"] < 1 < found["center_chance"]
    assert found["found"] > 0.8
