"""The scorecard: bounds of a field small enough to integrate, exact restoration, and a stage that can be stopped."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
from scipy.ndimage import gaussian_filter
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

from nrf.architecture import Architecture
from nrf.energy import make_energy
from nrf.image_space import ImageSpace
from nrf.score import field, outliers, restoration, scorecard
from nrf.score.baselines import GaussianMixture, posterior_mean
from nrf.trained import Trained
from nrf.whitening import Gain, fit_whitening
from runtime.errors import ConfigError
from tests.nrf.trained_run import make_run, tiny_config

TEMPERATURE = 0.3
GRID = np.linspace(-1, 1, 81)


def quietly(done, note):
    pass


@pytest.fixture(scope="module")
def small():
    """A field of one pixel and two latents with strong weights: (config, trained, energies on a grid / T)."""
    config = tiny_config(
        score={
            "chains": 400, "equilibrate": 600, "anneal": 150, "image_chains": 200, "image_anneal": 40, "block": 5,
            "leapfrog": 3, "restore": 1500,
        },
        sampler={"underdamped": {"step_size": 0.2, "friction": 0.3, "temperature": TEMPERATURE, "mass": "diagonal"}},
        positive={"start": "random", "steps": 20},
    )  # fmt: skip
    architecture = Architecture.from_lists(
        "small", state_sizes=((1, 1, 1), (2, 1, 1)), connect=((1,), (0, 1)), kind=(("conv",), ("conv", "conv")),
        base_kernel_padding=(((1, 0),), ((1, 0), (1, 0))), main_kernel=(1, 1), num_layers=(0, 0), num_ch_base=4,
        growth_rate=4, num_ch_initter=4,
    )  # fmt: skip
    model = make_energy(architecture, weight_norm=False)
    weights = jax.jit(lambda key: model.prepare(jax.tree.map(lambda w: 2.2 * w, model.init(key))))(jax.random.key(4))
    image, first, second = np.meshgrid(GRID, GRID, GRID, indexing="ij")
    states = (image.reshape(-1, 1, 1, 1), np.stack([first, second], -1).reshape(-1, 1, 1, 2))
    energy = jax.jit(model.energy)(weights, tuple(s.astype(np.float32) for s in states))
    on_grid = np.asarray(energy, np.float64).reshape((len(GRID),) * 3) / TEMPERATURE
    return config, Trained(model, weights, None, {}, 0, ImageSpace((-1.0, 1.0), True, None), None), on_grid


def log_integral(log_values: np.ndarray, axes: int = 2) -> np.ndarray:
    """log of the trapezoid sum over the last axes."""
    ends = np.ones(len(GRID))
    ends[[0, -1]] = 0.5
    for _ in range(axes):
        log_values = logsumexp(log_values + np.log(ends * (GRID[1] - GRID[0])), axis=-1)
    return log_values


def test_bounds_enclose_the_integral_over_a_grid(small):
    config, trained, on_grid = small
    log_f = log_integral(-on_grid)
    log_z = float(log_integral(log_f, axes=1))
    images = np.random.default_rng(0).uniform(-1, 1, (400, 1, 1, 1))
    z = field.bound_log_partition(config, trained, images, quietly)
    # The field is none of the bases: otherwise nothing would have been annealed.
    spread = min(z["log_weight_sd"])
    assert spread > 0.05
    assert z["lower"] == pytest.approx(log_z, abs=0.03) and z["upper"] == pytest.approx(log_z, abs=0.06)
    assert z["lower_interval"][0] - 0.01 < log_z < z["lower_interval"][1] + 0.01

    at = np.arange(4, len(GRID) - 4, 18)
    found = field.make_image_bounds(config, trained)(GRID[at].reshape(-1, 1, 1, 1), quietly)
    np.testing.assert_allclose(found["lower"], log_f[at], atol=0.05)
    np.testing.assert_allclose(found["upper"], log_f[at], atol=0.08)


def test_restoration_is_the_mean_over_the_grid(small):
    config, trained, on_grid = small
    log_f = log_integral(-on_grid)
    grey = field.GreyLevels(np.array([[2.0]]), np.array([-1.0]), np.log(2.0))
    noise, seen = 0.2, np.repeat([[0.1], [0.5], [0.9]], 60, axis=0)
    task = restoration.Task("denoised", seen, np.ones(1, bool), np.ones(1, bool), noise)
    found = restoration.make_restorer(config, trained, grey)(task, quietly).reshape(3, 60).mean(axis=1)
    pixel = (GRID + 1) / 2
    log_posterior = log_f - 0.5 * ((pixel - np.array([[0.1], [0.5], [0.9]])) / noise) ** 2
    expected = np.exp(log_posterior - logsumexp(log_posterior, axis=1, keepdims=True)) @ pixel
    np.testing.assert_allclose(found, expected, atol=0.01)


def flat_field(small):
    """A config and a field of two by two pixels whose energy is quadratic, at a temperature of 0.01."""
    _, other, _ = small
    architecture = Architecture.from_lists(
        "flat", state_sizes=((1, 2, 2), (1, 2, 2)), connect=((1,), (0, 1)), kind=(("conv",), ("conv", "conv")),
        base_kernel_padding=(((1, 0),), ((1, 0), (1, 0))), main_kernel=(1, 1), num_layers=(0, 0), num_ch_base=2,
        growth_rate=2, num_ch_initter=2,
    )  # fmt: skip
    model = make_energy(architecture, weight_norm=False)
    flat = jax.jit(lambda key: model.prepare(jax.tree.map(jnp.zeros_like, model.init(key))))
    weights = flat(jax.random.key(0))
    # Far from the walls at ±1: states have standard deviation 0.1.
    cold = tiny_config(
        score={"restore": 400, "leapfrog": 3, "temperature": 0.01}, positive={"start": "random", "steps": 4}
    )
    return cold, other._replace(model=model, weights=weights)


def test_restoration_in_mixed_coordinates_is_the_wiener_filter_of_a_quadratic_energy(small):
    cold, trained = flat_field(small)
    draw = np.random.default_rng(0)
    grey = field.GreyLevels(np.eye(4) + 0.3 * draw.normal(size=(4, 4)), 0.1 * draw.normal(size=4), 0.0)
    observed, noise = np.array([True, True, False, True]), 0.05
    seen = np.repeat(0.1 * draw.normal(size=(2, 4)), 40, axis=0)
    task = restoration.Task("hole", seen, observed, ~observed, noise)
    found = restoration.make_restorer(cold, trained, grey)(task, quietly).reshape(2, 40, 4).mean(axis=1)
    inverse = np.linalg.inv(grey.matrix)
    posterior = GaussianMixture(np.ones(1), (-inverse @ grey.offset)[None], (0.01 * inverse @ inverse.T)[None])
    np.testing.assert_allclose(found, posterior_mean(posterior, seen[::40], observed, noise), atol=0.006)


def test_restoration_undoes_gain_control(small):
    """Against importance sampling of a quadratic energy, whose states are Gaussian and whose images are not."""
    config, trained = flat_field(small)
    draw = np.random.default_rng(1)
    grey = field.GreyLevels(np.eye(4) + 0.3 * draw.normal(size=(4, 4)), 0.1 * draw.normal(size=4), 0.0, Gain(0.1, 0.6))
    observed, noise = np.ones(4, bool), 0.05
    seen = np.repeat(0.1 * draw.normal(size=(2, 4)), 40, axis=0)
    task = restoration.Task("denoised", seen, observed, observed, noise)
    found = restoration.make_restorer(config, trained, grey)(task, quietly).reshape(2, 40, 4).mean(axis=1)
    states = 0.1 * draw.normal(size=(300_000, 2, 2, 1))
    images = (grey.gain.inverse.apply(states).reshape(-1, 4) - grey.offset) @ np.linalg.inv(grey.matrix).T
    log_weights = -0.5 * ((images[:, None] - seen[::40]) ** 2).sum(axis=-1) / noise**2
    weights = np.exp(log_weights - log_weights.max(axis=0))
    np.testing.assert_allclose(found, (weights.T @ images) / weights.sum(axis=0)[:, None], atol=0.008)


def test_grey_levels_carry_the_density_along():
    architecture = Architecture.from_lists("tiny", **dict(tiny_config().model.architecture.items()))
    model = make_energy(architecture)

    def levels(space):
        return field.read_grey_levels(Trained(model, {}, None, {}, 0, space, None))

    grey = levels(ImageSpace((-1.0, 1.0), True, None))
    np.testing.assert_allclose(grey.matrix, 2 * np.eye(64), atol=1e-6)
    # States uniform over their box are grey levels uniform over 256 of them.
    uniform_states = -64 * np.log(2.0)
    assert grey.density(uniform_states, np.zeros((1, 8, 8, 1))) == pytest.approx(-np.log(256))

    # A Gaussian of whitened states is one of images: the density is the same in either coordinates.
    draw = np.random.default_rng(0)
    images = 0.5 + 0.1 * gaussian_filter(draw.normal(size=(300, 8, 8, 1)), (0, 1, 1, 0))
    whitened = ImageSpace((-1.0, 1.0), True, fit_whitening(images, 0.1))
    grey = levels(whitened)
    states = whitened.to_states(images[:5]).reshape(5, -1).astype(float)
    np.testing.assert_allclose(states, images[:5].reshape(5, -1) @ grey.matrix.T + grey.offset, atol=1e-4)
    inverse = np.linalg.inv(grey.matrix)
    mean, covariance = -inverse @ grey.offset, 0.01 * inverse @ inverse.T
    of_states = -0.5 * (states**2).sum(axis=1) / 0.01 - 32 * np.log(2 * np.pi * 0.01)
    of_images = multivariate_normal(mean, covariance).logpdf(images[:5].reshape(5, -1))
    np.testing.assert_allclose(grey.density(of_states, states), of_images / 64 - np.log(256), atol=1e-3)

    # Where contrast is compressed, so does the same change of variables with one factor more.
    squeezed = whitened._replace(gain=Gain(0.1, 0.5))
    compressed = squeezed.to_states(images[:5])
    factor = Gain(0.1, 0.5).log_determinant(whitened.to_states(images[:5]))
    found = levels(squeezed).density(of_states - factor, compressed)
    np.testing.assert_allclose(found, of_images / 64 - np.log(256), atol=1e-3)
    patches = field.dequantize(np.array([0.0, 0.5, 1.0]), 0)
    assert (np.floor(patches * 256) == [0, 128, 255]).all()


def test_outliers_keep_what_they_should():
    draw = np.random.default_rng(0)
    images = np.clip(0.5 + 0.05 * np.cumsum(draw.normal(size=(30, 8, 8, 1)), axis=1), 0, 1)
    scrambled, noise = outliers.phase_scrambled(images, 0), outliers.white_noise(images, 0)
    np.testing.assert_allclose(scrambled.mean(axis=(1, 2)), images.mean(axis=(1, 2)), atol=0.01)
    own, other = (np.abs(np.fft.fft2(x[..., 0]))[:, 0, 1:].mean(axis=0) for x in (images, scrambled))
    np.testing.assert_allclose(own, other, rtol=0.05)
    assert abs(np.corrcoef(images.ravel(), scrambled.ravel())[0, 1]) < 0.5
    assert noise.std() == pytest.approx(images.std(), rel=0.1)


def test_tasks_hide_the_hole_alone():
    patches = np.full((4, 36), 0.3)
    *denoised, hole = restoration.make_tasks(patches, (6, 6, 1), (10.0, 40.0), 2, 0)
    assert [task.name for task in denoised] == ["denoised 10", "denoised 40"]
    assert (~hole.observed).sum() == 4 and (hole.judged == ~hole.observed).all()
    assert (hole.seen[:, hole.judged] == 0.5).all()
    assert denoised[1].seen.std() == pytest.approx(40 / 255, rel=0.2)
    flat = GaussianMixture(np.ones(1), np.full((1, 36), 0.3), 1e-6 * np.eye(36)[None])
    restored = posterior_mean(flat, hole.seen, hole.observed, hole.noise) + 1e-4
    assert restoration.psnr(restored, patches, hole.judged) > 50


@pytest.mark.slow
def test_stage_goes_on_where_it_stopped(tmp_path, monkeypatch):
    architecture = {
        "state_sizes": ((1, 4, 4), (2, 4, 4)), "connect": ((1,), (0, 1)), "kind": (("conv",), ("conv", "conv")),
        "base_kernel_padding": (((3, 1),), ((3, 1), (3, 1))), "main_kernel": (3, 3), "num_layers": (0, 0),
    }  # fmt: skip
    start = {"start": "zeros", "steps": 4, "poisson": False}
    config = tiny_config(data={"size": 4}, model={"architecture": architecture}, positive=start)
    folder = make_run(tmp_path / "run", config)
    calls = []
    original = scorecard.bound_log_partition

    def failing(*arguments):
        calls.append("log Z")
        if len(calls) == 1:
            raise KeyboardInterrupt
        return original(*arguments)

    monkeypatch.setattr(scorecard, "bound_log_partition", failing)
    with pytest.raises(KeyboardInterrupt):
        scorecard.score(config, folder)
    fitted = folder / "score" / "parts" / "mixture.json"
    written = fitted.stat().st_mtime_ns
    table = scorecard.score(config, folder)
    assert fitted.stat().st_mtime_ns == written and calls == ["log Z"] * 2
    scorecard.score(config, folder)
    assert len(calls) == 2
    assert list(table.index) == ["field", *scorecard.SIMPLE]
    numbers = table.drop(columns=[c for c in table if c.startswith("psnr")])
    assert np.isfinite(numbers.to_numpy()).all()
    # An untrained field is nearly its base: the bounds meet, up to the noise of a few chains.
    assert table.loc["field", "nats_upper"] == pytest.approx(table.loc["field", "nats_lower"], abs=0.5)
    assert table.loc["gaussian", "minus_gaussian"] == 0
    assert table.loc["mixture", "psnr denoised 20"] > table.loc["mixture", "psnr denoised 60"]
    pd.testing.assert_frame_equal(pd.read_csv(folder / "score" / "scorecard.csv", index_col=0), table)
    record = json.loads((folder / "score" / "scorecard.json").read_text())
    assert record["models"]["field"]["nats_lower"] == pytest.approx(table.loc["field", "nats_lower"])
    assert (folder / "score" / "scorecard.png").stat().st_size > 10_000
    assert "| field |" in (folder / "score" / "scorecard.md").read_text()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"score": {"hole": 8}}, "score.hole is 8; it must be below the image's 8"),
        ({"score": {"noise_levels": ()}}, "score.noise_levels"),
        ({"sampler": {"name": "sghmc_thesis"}}, "has no temperature"),
        ({"sampler": {"underdamped": {"temperature": (0.1, 0.2, 0.2)}}}, "differs between layers"),
        ({"model": {"ff_dynamics": True}}, "ff_dynamics"),
    ],
)
def test_what_has_no_density_is_refused(changes, message):
    with pytest.raises(ConfigError, match=message):
        scorecard.check_settings(tiny_config(**changes))
