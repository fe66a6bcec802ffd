"""Baselines of the scorecard: they find what their data were drawn from, and their closed forms are right."""

import numpy as np
import pytest
from scipy.stats import multivariate_normal

from nrf.score import baselines


def correlated(size: int, seed: int = 0) -> np.ndarray:
    root = np.random.default_rng(seed).normal(size=(size, size))
    return root @ root.T / size + 0.1 * np.eye(size)


def test_densities_are_those_of_scipy():
    draw = np.random.default_rng(1)
    covariances = np.stack([correlated(4, 1), 2 * correlated(4, 2)])
    mixture = baselines.GaussianMixture(np.array([0.3, 0.7]), draw.normal(size=(2, 4)), covariances)
    points = draw.normal(size=(20, 4))
    expected = sum(
        weight * multivariate_normal(mean, covariance).pdf(points)
        for weight, mean, covariance in zip(*mixture, strict=True)
    )
    np.testing.assert_allclose(baselines.log_density(mixture, points), np.log(expected), rtol=1e-4)


def test_posterior_mean_is_that_of_importance_sampling():
    mixture = baselines.GaussianMixture(
        np.array([0.5, 0.5]), np.array([[0.0, 0.0], [1.5, -1.0]]), np.stack([correlated(2, 3), 0.3 * correlated(2, 4)])
    )
    noise, seen = 0.4, np.array([[0.8, 123.0]])
    observed = np.array([True, False])
    draw = np.random.default_rng(5)
    which = draw.random(400_000) < 0.5
    samples = np.where(
        which[:, None],
        draw.multivariate_normal(mixture.means[0], mixture.covariances[0], len(which)),
        draw.multivariate_normal(mixture.means[1], mixture.covariances[1], len(which)),
    )
    weight = np.exp(-0.5 * ((samples[:, 0] - seen[0, 0]) / noise) ** 2)
    expected = weight @ samples / weight.sum()
    found = baselines.posterior_mean(mixture, seen, observed, noise)[0]
    np.testing.assert_allclose(found, expected, atol=0.01)


def test_wiener_filter_is_the_linear_one():
    covariance, draw = correlated(5), np.random.default_rng(2)
    patches = draw.multivariate_normal(np.zeros(5), covariance, 20_000)
    seen = patches[:3] + 0.5 * draw.normal(size=(3, 5))
    found = baselines.posterior_mean(baselines.fit_gaussian(patches), seen, np.ones(5, bool), 0.5)
    linear = seen @ np.linalg.solve(covariance + 0.25 * np.eye(5), covariance)
    np.testing.assert_allclose(found, linear, atol=0.05)


def test_scale_mixture_finds_scales_and_beats_the_gaussian():
    draw, covariance = np.random.default_rng(3), correlated(6)
    scale = np.where(draw.random(6000) < 0.6, 0.2, 3.0)
    patches = draw.multivariate_normal(np.ones(6), covariance, 6000) - 1
    patches = 1 + patches * np.sqrt(scale)[:, None]
    mixture = baselines.fit_scale_mixture(patches[:5000], updates=60)
    known = baselines.GaussianMixture(
        np.array([0.6, 0.4]), np.ones((2, 6)), np.stack([0.2 * covariance, 3.0 * covariance])
    )
    test = patches[5000:]
    own, gaussian = (baselines.log_density(m, test).mean() for m in (mixture, baselines.fit_gaussian(patches[:5000])))
    truth = baselines.log_density(known, test).mean()
    assert own > gaussian + 0.3 and abs(own - truth) < 0.05
    assert mixture.weights.sum() == pytest.approx(1)


def test_mixture_finds_clusters():
    draw = np.random.default_rng(4)
    centres, kinds = np.array([[3.0, 0, 0], [-3, 0, 0], [0, 4, 0]]), draw.integers(3, size=3000)
    shapes = [correlated(3, seed) for seed in range(3)]
    patches = np.stack([draw.multivariate_normal(centres[k], shapes[k]) for k in kinds])
    mixture = baselines.fit_mixture(patches[:2500], 3, updates=150, seed=0)
    truth = baselines.GaussianMixture(np.full(3, 1 / 3), centres, np.array(shapes))
    found, best = (baselines.log_density(m, patches[2500:]).mean() for m in (mixture, truth))
    assert found > best - 0.1
    assert found > baselines.log_density(baselines.fit_gaussian(patches[:2500]), patches[2500:]).mean() + 0.3


def test_ica_beats_the_gaussian_on_independent_sparse_sources():
    draw = np.random.default_rng(6)
    mixing = draw.normal(size=(6, 6))
    patches = draw.laplace(size=(6000, 6)) @ mixing.T + 2.0
    ica = baselines.fit_ica(patches[:5000], updates=600, seed=0)
    test = patches[5000:]
    own = baselines.log_density_of_ica(ica, test).mean()
    gaussian = baselines.log_density(baselines.fit_gaussian(patches[:5000]), test).mean()
    source = np.linalg.solve(mixing, (test - 2.0).T)
    truth = (-np.abs(source).sum(axis=0) - 6 * np.log(2)).mean() - np.linalg.slogdet(mixing)[1]
    assert own > gaussian + 0.2 and abs(own - truth) < 0.15
