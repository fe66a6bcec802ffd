"""Annealed importance sampling: normalizers that are known, and those of a field small enough to integrate."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_ndtr, logsumexp

from nrf.score import annealing as ais

INF = float("inf")


def gaussian_target(arguments, position):
    mean, precision, _ = arguments
    away = position[0] - mean
    pull = away @ precision
    return 0.5 * jnp.sum(away * pull, axis=1), (pull,)


def test_normalizer_of_a_correlated_gaussian_is_within_one_per_cent():
    size, chains = 6, 256
    draw = np.random.default_rng(0)
    root = draw.normal(size=(size, size)) / np.sqrt(size)
    covariance = root @ root.T + 0.2 * np.eye(size)
    mean = draw.normal(size=size)
    arguments = tuple(np.asarray(x, np.float32) for x in (mean, np.linalg.inv(covariance), 0.0))
    truth = 0.5 * size * np.log(2 * np.pi) + 0.5 * np.linalg.slogdet(covariance)[1]
    bounds = ((-INF, INF),)
    base = ais.Base((np.zeros((1, size), np.float32),), (np.ones((1, size), np.float32),))
    offset = float(ais.base_log_normalizer(base, bounds)[0])
    assert offset == pytest.approx(0.5 * size * np.log(2 * np.pi), rel=1e-5)
    annealer = ais.Annealer(gaussian_target, bounds, leapfrog=4)
    scale = (np.full((1, size), 0.6, np.float32),)
    schedule = annealer.plan(jax.random.key(1), arguments, base, scale, 200, np.ones((1, chains), int))
    forward, _ = annealer.run(
        jax.random.key(2), arguments, base, scale, schedule, annealer.draw(jax.random.key(3), base, chains)
    )
    exact = (draw.multivariate_normal(mean, covariance, chains).astype(np.float32),)
    backward, _ = annealer.run(jax.random.key(4), arguments, base, scale, schedule, exact, reverse=True)
    found = offset + float(ais.log_mean_exp(forward)), offset - float(ais.log_mean_exp(backward))
    # One per cent of Z is 0.01 nats.
    np.testing.assert_allclose(found, truth, atol=0.03)
    assert np.mean(found) == pytest.approx(truth, abs=0.01 + np.std(forward) / np.sqrt(chains))
    low, high = ais.interval_of_log_mean(forward)
    assert low + offset < truth + 0.02 and truth - 0.02 < high + offset and high - low < 0.1


def test_few_levels_leave_a_gap_that_brackets_the_truth():
    size, chains = 6, 256
    arguments = (np.full(size, 2.0, np.float32), 4.0 * np.eye(size, dtype=np.float32), np.float32(0.0))
    truth = 0.5 * size * np.log(2 * np.pi / 4)
    bounds = ((-INF, INF),)
    base = ais.Base((np.zeros((1, size), np.float32),), (np.ones((1, size), np.float32),))
    annealer, scale = ais.Annealer(gaussian_target, bounds, leapfrog=2), (np.full((1, size), 0.5, np.float32),)
    gaps = []
    for count in (4, 60):
        schedule = annealer.plan(jax.random.key(1), arguments, base, scale, count, np.ones((1, chains), int))
        start = annealer.draw(jax.random.key(3), base, chains)
        exact = (np.random.default_rng(5).normal(2.0, 0.5, (chains, size)).astype(np.float32),)
        forward, _ = annealer.run(jax.random.key(2), arguments, base, scale, schedule, start)
        backward, _ = annealer.run(jax.random.key(4), arguments, base, scale, schedule, exact, reverse=True)
        offset = float(ais.base_log_normalizer(base, bounds)[0])
        # The means of the log weights are bounds by Jensen's inequality, whatever the chains' number.
        lower, upper = offset + forward.mean(), offset - backward.mean()
        assert lower < truth < upper
        gaps.append(upper - lower)
    assert gaps[1] < 0.3 * gaps[0]


def test_moves_keep_a_distribution_at_the_walls():
    """Half of a Gaussian cut at 0 and pushed against the wall: mean and variance of the truncated distribution."""
    arguments = (jnp.array([-0.5]), jnp.array([[1.0]]), 0.0)
    bounds, base = ((0.0, INF),), ais.Base((jnp.zeros((1, 1)),), (jnp.ones((1, 1)),))
    start = jax.jit(lambda position: ais.start_chains(gaussian_target, arguments, position))
    chains = start((np.ones((2000, 1), np.float32),))

    @jax.jit
    def run(chains):
        def one(chains, number):
            chains, acceptance = ais.move(
                jax.random.fold_in(jax.random.key(0), number), chains, gaussian_target, arguments, base,
                (jnp.ones((1, 1)),), jnp.float32(1.0), jnp.float32(0.6), bounds, 3,
            )  # fmt: skip
            return chains, (jnp.mean(chains.position[0]), jnp.mean(chains.position[0] ** 2), jnp.mean(acceptance))

        return jax.lax.scan(one, chains, jnp.arange(60))

    final, (mean, square, acceptance) = run(chains)
    grid = np.linspace(0, 8, 20001)
    density = np.exp(-0.5 * (grid + 0.5) ** 2)
    density /= density.sum()
    assert np.asarray(final.position[0]).min() >= 0 and 0.5 < float(acceptance.mean()) < 1.0
    mean, square, acceptance = map(np.asarray, (mean, square, acceptance))
    assert float(mean[20:].mean()) == pytest.approx(density @ grid, rel=0.02)
    assert float(square[20:].mean()) == pytest.approx(density @ grid**2, rel=0.03)


def test_base_is_normalised_and_drawn_within_its_walls():
    bounds = ((-1.0, 1.0), (0.0, INF))
    base = ais.Base(
        (np.array([[0.3, -0.9]], np.float32), np.array([[-1.0]], np.float32)),
        (np.array([[0.4, 0.2]], np.float32), np.array([[0.8]], np.float32)),
    )
    expected = 0.0
    units = zip((*(bounds[0],) * 2, bounds[1]), (0.3, -0.9, -1.0), (0.4, 0.2, 0.8), strict=True)
    for (low, high), mean, scale in units:
        a, b = (low - mean) / scale, (high - mean) / scale
        mass = log_ndtr(b) + np.log1p(-np.exp(log_ndtr(a) - log_ndtr(b)))
        expected += np.log(scale * np.sqrt(2 * np.pi)) + mass
    assert float(ais.base_log_normalizer(base, bounds)[0]) == pytest.approx(expected, abs=1e-4)
    drawn = jax.device_get(jax.jit(lambda key: ais.sample_base(key, base, bounds, 4000))(jax.random.key(0)))
    assert drawn[0].min() >= -1 and drawn[0].max() <= 1 and drawn[1].min() >= 0
    grid = np.linspace(-1, 1, 20001)
    density = np.exp(-0.5 * ((grid + 0.9) / 0.2) ** 2)
    assert float(drawn[0][:, 1].mean()) == pytest.approx(density @ grid / density.sum(), abs=0.01)


def test_levels_are_dense_where_the_work_is():
    grid = np.linspace(0, 1, 50)
    spread = np.where(grid > 0.8, 10.0, 1.0)
    schedule = ais.space_levels(grid, spread, np.full(50, 0.4), 100)
    assert schedule.levels[0] == 0 and schedule.levels[-1] == 1 and (np.diff(schedule.levels) > 0).all()
    np.testing.assert_allclose(schedule.step_sizes, 0.4)
    assert (schedule.levels > 0.8).mean() > 0.6
    assert ais.log_mean_exp(np.array([0.0, 1.0])) == pytest.approx(logsumexp([0, 1]) - np.log(2))
