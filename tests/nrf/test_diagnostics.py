"""Diagnostics: right on chains whose answer is known, and complete on a run folder."""

import json

import numpy as np
import pytest

from nrf import diagnostics
from tests.nrf.trained_run import make_run, tiny_config


def autoregressive(coefficient: float, draws: int, chains: int, seed: int = 0) -> np.ndarray:
    """Chains x_t = a x_{t-1} + z_t started in their stationary distribution; autocorrelation time (1 + a) / (1 - a)."""
    draw = np.random.default_rng(seed).normal(size=(draws, chains))
    draw[0] /= np.sqrt(1 - coefficient**2)
    for t in range(1, draws):
        draw[t] += coefficient * draw[t - 1]
    return draw


@pytest.mark.parametrize("coefficient", [0.0, 0.5, 0.9])
def test_mixing_of_an_autoregression_is_the_known_one(coefficient):
    found = diagnostics.mixing(autoregressive(coefficient, 4000, 4)[..., None])
    expected = (1 + coefficient) / (1 - coefficient)
    np.testing.assert_allclose(found.autocorrelation_time, expected, rtol=0.15)
    np.testing.assert_allclose(found.effective_samples, 16000 / found.autocorrelation_time)
    assert found.r_hat.shape == (1,) and found.r_hat[0] < 1.01


def test_thinning_leaves_the_time_in_steps():
    draws = autoregressive(0.95, 12000, 4)
    every, third = diagnostics.mixing(draws), diagnostics.mixing(draws[::3], thin=3)
    np.testing.assert_allclose(third.autocorrelation_time, every.autocorrelation_time, rtol=0.15)


def test_chains_that_disagree_or_stand_still_are_seen():
    draws = autoregressive(0.3, 400, 4)
    apart = draws + np.array([0.0, 0.0, 0.0, 2.0])
    both = np.stack([draws, apart, np.ones_like(draws)], axis=-1)
    r_hat = diagnostics.mixing(both).r_hat
    assert r_hat[0] < 1.02 and r_hat[1] > 1.1 and np.isnan(r_hat[2])
    with pytest.raises(ValueError, match="at least 4 draws of 2 chains, not 400 of 1"):
        diagnostics.mixing(draws[:, :1])


def test_auroc_counts_pairs():
    inside, outside = np.array([0.0, 1.0, 2.0]), np.array([1.0, 3.0])
    pairs = [(o > i) + 0.5 * (o == i) for i in inside for o in outside]
    assert diagnostics.auroc(inside, outside) == np.mean(pairs)
    assert diagnostics.auroc(inside, inside + 10) == 1.0 and diagnostics.auroc(inside, inside) == 0.5


def test_stage_writes_a_report(tmp_path):
    config = tiny_config()
    folder = make_run(tmp_path / "run", config)
    report = diagnostics.diagnose(config, folder)
    assert json.loads((folder / "diagnostics.json").read_text()) == report
    assert set(report["mixing"]) == {"energy", "layer_0", "layer_1", "layer_2"}
    settings, temperature = config.diagnose, config.sampler.underdamped.temperature
    assert report["cost"]["gradients"] == settings.steps * settings.chains
    for numbers in report["mixing"].values():
        ratio = numbers["effective_samples"] / numbers["effective_samples_per_gradient"]
        assert ratio == pytest.approx(settings.steps * settings.chains) and numbers["r_hat"] > 0.9
    np.testing.assert_allclose(report["temperature"]["of_noise"], temperature, rtol=1e-5)
    # Hundreds of momenta over hundreds of steps: what a thermostat does that holds its temperature.
    np.testing.assert_allclose(report["temperature"]["of_momentum"], temperature, rtol=0.15)
    assert set(report["energy_gap"]) == {"noise", "shuffled pixels"}
    assert report["verdict"].startswith("not what was wanted") and report["faults"]
    assert report["long_chains"]["chains/noise/20/spectrum_distance"] > 0
    assert {path.name for path in (folder / "images").iterdir()} == {"long_chains.png", "long_samples.png"}
    assert all(0 <= numbers["auroc"] <= 1 for numbers in report["energy_gap"].values())
    assert len(report["stability"]["energy_per_pixel"]) == 10
