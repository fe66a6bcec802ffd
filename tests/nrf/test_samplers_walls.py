"""Integrators, walls and coupled masses: reversibility, energy, volume, and the distribution inside a box."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad
from scipy.stats import truncnorm

from nrf.samplers import gradient_from_energy, integrators, make_sampler, mass
from nrf.samplers.boundaries import UNBOUNDED, clamp, reflect
from tests.conftest import OPTIMIZED

INFINITY = float("inf")
folded_back = jax.jit(reflect, static_argnums=1)


def test_reflection_folds_back_many_times_and_reverses_on_odd_bounces():
    position = np.array([0.5, 1.0, -1.0, 1.5, 3.5, -2.0, 5.25, 9.0], np.float32)
    folded, reversed_ = folded_back(position, (-1.0, 1.0))
    np.testing.assert_allclose(folded, [0.5, 1.0, -1.0, 0.5, -0.5, 0.0, 0.75, 1.0], atol=1e-6)
    np.testing.assert_array_equal(reversed_, [False, False, False, True, False, True, True, False])


def test_reflection_agrees_with_a_bouncing_trajectory():
    end, velocity = 0.3, 1.0
    position = 0.3
    steps, travelled = 200_000, 37.7
    for _ in range(steps):
        end += velocity * travelled / steps
        if end > 2.0 or end < -0.5:
            velocity = -velocity
            end = 4.0 - end if end > 2.0 else -1.0 - end
    folded, reversed_ = folded_back(np.array([position + travelled], np.float32), (-0.5, 2.0))
    np.testing.assert_allclose(folded[0], end, atol=1e-4)
    assert bool(reversed_[0]) == (velocity < 0)


@pytest.mark.parametrize("bounds", [(0.0, INFINITY), (-INFINITY, 0.0), (-INFINITY, INFINITY), (-1.0, 1.0)])
def test_one_sided_walls_and_none(bounds):
    position = np.linspace(-0.9, 0.9, 7, dtype=np.float32)
    folded, reversed_ = folded_back(position, bounds)
    inside = (position >= bounds[0]) & (position <= bounds[1])
    np.testing.assert_array_equal(reversed_, ~inside)
    np.testing.assert_array_equal(folded, np.where(inside, position, -position))
    np.testing.assert_array_equal(clamp(position, bounds), np.clip(position, *bounds))


def test_positions_inside_come_back_bit_for_bit():
    position = np.random.default_rng(0).uniform(-1, 1, 1000).astype(np.float32)
    np.testing.assert_array_equal(folded_back(position, (-1.0, 1.0))[0], position)


COUPLED = mass.inverse_mass("circulant", 6, 0.7)
GEOMETRIES = [
    {"bounds": (-INFINITY, INFINITY)},
    {"bounds": (-1.0, 1.0)},
    {"bounds": (-1.0, INFINITY), "inverse_mass": COUPLED},
    {"bounds": (-1.0, 1.0), "inverse_mass": COUPLED},
    {"bounds": (-INFINITY, INFINITY), "inverse_mass": COUPLED},
]


def anharmonic(position):
    return sum(jnp.sum(0.5 * s**2 + 0.1 * s**4 + 0.3 * jnp.sin(s + jnp.roll(s, 1, -1)), -1) for s in position)


def start(chains=16, spread=0.5, channels=6):
    draw = np.random.default_rng(1)
    position = np.clip(spread * draw.normal(size=(chains, channels)), -0.99, 0.99)
    return (position,), (draw.normal(size=(chains, channels)),)


def leapfrog(
    gradient_fn,
    position,
    momentum,
    step_size: float,
    num_steps: int,
    *,
    inverse_mass=None,
    bounds=UNBOUNDED,
    boundary="reflect",
):
    """Symmetric trajectory of num_steps steps A½ B A½ (position Verlet), the same mass and walls in every layer.

    Energy error O(h²), exactly reversible: negate the returned momentum, run again, and the start comes back.
    position, momentum: pytrees of (..., C); step_size: scalar.  Returns (position, momentum).
    """
    options = {"inverse_mass": inverse_mass, "bounds": bounds, "boundary": boundary}

    def halfway(layers, momenta, reverse):
        pairs = [
            integrators.drift(s, p, 0.5 * step_size, reverse=reverse, **options)
            for s, p in zip(layers, momenta, strict=True)
        ]
        return [s for s, _ in pairs], [p for _, p in pairs]

    layers, structure = jax.tree.flatten(position)

    def one_step(_, carry):
        layers, momenta = halfway(*carry, reverse=False)
        _, gradient = gradient_fn(jax.tree.unflatten(structure, layers))
        momenta = [integrators.kick(p, g, step_size) for p, g in zip(momenta, jax.tree.leaves(gradient), strict=True)]
        return halfway(layers, momenta, reverse=True)

    layers, momenta = jax.lax.fori_loop(0, num_steps, one_step, (layers, jax.tree.leaves(momentum)))
    return jax.tree.unflatten(structure, layers), jax.tree.unflatten(structure, momenta)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_integrator_is_reversible(geometry):
    with jax.enable_x64(True):
        position, momentum = start()
        gradient_fn = gradient_from_energy(anharmonic)
        run = jax.jit(lambda position, momentum: leapfrog(gradient_fn, position, momentum, 0.2, 25, **geometry))
        there = jax.device_get(run(position, momentum))
        back = jax.device_get(run(there[0], jax.tree.map(np.negative, there[1])))
        assert np.abs(there[0][0] - position[0]).max() > 0.1
        np.testing.assert_allclose(back[0][0], position[0], atol=1e-9)
        np.testing.assert_allclose(back[1][0], -momentum[0], atol=1e-9)


@pytest.mark.parametrize("geometry", GEOMETRIES)
def test_the_integrator_preserves_volume(geometry):
    with jax.enable_x64(True):
        gradient_fn = gradient_from_energy(anharmonic)
        position, momentum = jax.tree.map(lambda x: x[:1], start())

        def flow(phase_point):
            s, p = phase_point.reshape(2, 1, 6)
            (s,), (p,) = leapfrog(gradient_fn, (s,), (p,), 0.3, 10, **geometry)
            return jnp.concatenate([s, p]).reshape(-1)

        jacobian = jax.jit(jax.jacfwd(flow))(np.concatenate([position[0], momentum[0]]).reshape(-1))
        np.testing.assert_allclose(abs(np.linalg.det(jacobian)), 1.0, rtol=1e-9)


@pytest.mark.parametrize("inverse_mass", [None, COUPLED])
def test_energy_error_is_second_order(inverse_mass):
    with jax.enable_x64(True):
        position, momentum = start()

        def total(position, momentum):
            return anharmonic(position) + 0.5 * jnp.sum(momentum[0] * mass.couple(inverse_mass, momentum[0]), -1)

        @jax.jit
        def error(step, steps):
            gradient_fn = gradient_from_energy(anharmonic)
            end = leapfrog(gradient_fn, position, momentum, step, steps, inverse_mass=inverse_mass)
            return jnp.sqrt(jnp.mean((total(*end) - total(position, momentum)) ** 2))

        coarse, fine, finest = error(0.1, 20), error(0.05, 40), error(0.025, 80)
        assert 3.5 < coarse / fine < 4.5
        assert 3.8 < fine / finest < 4.2


@pytest.mark.parametrize("inverse_mass", [None, COUPLED, mass.inverse_mass("circulant", 16)])
def test_bounces_conserve_the_kinetic_energy_and_stay_inside(inverse_mass):
    channels = 6 if inverse_mass is None else len(inverse_mass)
    (position,), (momentum,) = (tuple(x.astype(np.float32) for x in each) for each in start(200, channels=channels))
    options = {"inverse_mass": inverse_mass, "bounds": (-1.0, 1.0)}
    moved, turned = jax.device_get(jax.jit(functools.partial(integrators.drift, **options))(position, momentum, 3.0))
    assert np.abs(moved).max() <= 1.0
    assert (turned != momentum).any()

    @jax.jit
    def kinetic(p):
        return jnp.sum(p * mass.couple(inverse_mass, p), -1)

    np.testing.assert_allclose(kinetic(turned), kinetic(momentum), rtol=1e-5)


def test_far_from_walls_the_channel_sweep_is_the_plain_drift():
    (position,), (momentum,) = (tuple(x.astype(np.float32) for x in each) for each in start())
    matrix = mass.inverse_mass("circulant", 6, 0.7)
    swept, plain = (
        jax.jit(functools.partial(integrators.drift, inverse_mass=matrix, **options))(position, momentum, 0.1)
        for options in ({"bounds": (-50.0, 50.0)}, {"boundary": "none"})
    )
    np.testing.assert_allclose(swept[0], plain[0], rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(swept[1], plain[1])


def test_groups_of_a_sweep_are_uncoupled():
    for channels, width in [(8, None), (16, None), (32, None), (12, 0.4), (7, 0.5), (2, 0.6)]:
        matrix = mass.inverse_mass("circulant", channels, width)
        stride = integrators.sweep_stride(matrix)
        block = matrix[::stride, ::stride]
        assert not np.any(block - np.diag(np.diag(block)))


def test_clamping_sets_positions_onto_the_wall_and_leaves_the_momentum():
    position, momentum = np.array([[0.9, -0.9]], np.float32), np.array([[1.0, 0.5]], np.float32)
    moved, kept = integrators.drift(position, momentum, 1.0, bounds=(-1.0, 1.0), boundary="clamp")
    np.testing.assert_allclose(moved, [[1.0, -0.4]], atol=1e-6)
    np.testing.assert_array_equal(kept, momentum)


def box_moments(name, gradient_fn, shape, *, burn_in=150, keep=600, chains=8000, **options):
    """Mean, second moments and extremes of one layer over chains and steps."""
    sampler = make_sampler(name, **options)

    @functools.partial(jax.jit, compiler_options=OPTIMIZED)
    def run(key):
        state = sampler.init((jnp.full((chains, *shape), 0.1),), gradient_fn)
        keys = jax.random.split(key, burn_in)
        state, _ = jax.lax.scan(lambda s, k: (sampler.step(k, s, gradient_fn)[0], None), state, keys)

        def one_step(state, key):
            state, _ = sampler.step(key, state, gradient_fn)
            s = state.position[0]
            return state, (jnp.mean(s, 0), s.T @ s / len(s), jnp.min(s), jnp.max(s), jnp.mean(jnp.abs(s) == 1.0))

        _, (mean, second, low, high, on_wall) = jax.lax.scan(
            one_step, state, jax.random.split(jax.random.fold_in(key, 1), keep)
        )
        return mean.mean(0), second.mean(0), low.min(), high.max(), on_wall.mean()

    mean, second, low, high, on_wall = (np.asarray(x, np.float64) for x in run(jax.random.key(2)))
    return mean, second - np.outer(mean, mean), low, high, on_wall


CENTRES = np.array([0.0, 0.3, -0.6, 1.0])
STIFFNESS = 2.0


def truncated(position):
    return 0.5 * STIFFNESS * jnp.sum((position[0] - CENTRES) ** 2, -1), (STIFFNESS * (position[0] - CENTRES),)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("underdamped", {"friction": 0.3}),
        ("sghmc", {"friction": 0.3}),
        ("langevin", {"step_size": 0.01}),
        ("mala", {"step_size": 0.2}),
        ("hmc", {"step_size": 0.3, "num_integration_steps": 3, "keep": 250}),
    ],
)
def test_reflection_samples_the_target_restricted_to_the_box(name, options):
    mean, covariance, low, high, on_wall = box_moments(name, truncated, (4,), bounds=(-1.0, 1.0), **options)
    spread = STIFFNESS**-0.5
    exact = truncnorm((-1 - CENTRES) / spread, (1 - CENTRES) / spread, CENTRES, spread)
    np.testing.assert_allclose(mean, exact.mean(), atol=0.005)
    np.testing.assert_allclose(np.diag(covariance), exact.var(), rtol=0.01)
    assert -1.0 <= low < -0.999
    assert 0.999 < high <= 1.0
    assert on_wall < 1e-3


def test_clamping_piles_mass_on_the_walls():
    *_, on_wall = box_moments("underdamped", truncated, (4,), bounds=(-1.0, 1.0), boundary="clamp", keep=100)
    assert on_wall > 0.02


@pytest.mark.parametrize("name", ["underdamped", "sghmc", "langevin"])
def test_one_sided_wall_gives_the_exponential_distribution(name):
    slope, temperature = np.array([1.0, 0.7], np.float32), 0.2
    options = {"step_size": 0.005} if name == "langevin" else {"friction": 0.3, "step_size": 0.06}

    def gradient_fn(position):
        return jnp.sum(slope * position[0], -1), (slope + 0 * position[0],)

    mean, covariance, low, _, _ = box_moments(
        name,
        gradient_fn,
        (2,),
        bounds=(0.0, INFINITY),
        temperature=temperature,
        chains=4000,
        burn_in=800,
        keep=2000,
        **options,
    )
    np.testing.assert_allclose(mean, temperature / slope, rtol=0.02)
    np.testing.assert_allclose(np.sqrt(np.diag(covariance)), temperature / slope, rtol=0.02)
    assert low >= 0


PAIR = np.array([[1.6, -1.1], [-1.1, 1.3]])
PAIR_CENTRE = np.array([0.4, -0.2])


def correlated_pair(position):
    gradient = (position[0] - PAIR_CENTRE) @ jnp.asarray(PAIR, jnp.float32)
    return 0.5 * jnp.sum((position[0] - PAIR_CENTRE) * gradient, -1), (gradient,)


def exact_pair_moments():
    def weighted(f):
        def integrand(y, x):
            d = np.array([x, y]) - PAIR_CENTRE
            return f(x, y) * np.exp(-0.5 * d @ PAIR @ d)

        return dblquad(integrand, -1, 1, -1, 1, epsabs=1e-7)[0]

    norm = weighted(lambda x, y: 1.0)
    mean = np.array([weighted(lambda x, y: x), weighted(lambda x, y: y)]) / norm
    second = np.array([weighted(f) for f in (lambda x, y: x * x, lambda x, y: x * y, lambda x, y: y * y)]) / norm
    return mean, second[[0, 1, 1, 2]].reshape(2, 2) - np.outer(mean, mean)


@pytest.mark.parametrize("name", ["underdamped", "sghmc"])
def test_coupled_mass_and_walls_sample_the_restricted_target(name):
    mean, covariance, *_ = box_moments(
        name, correlated_pair, (2,), bounds=(-1.0, 1.0), friction=0.3, mass="circulant", coupling_sd=0.7, keep=1000
    )
    exact_mean, exact_covariance = exact_pair_moments()
    np.testing.assert_allclose(mean, exact_mean, atol=0.004)
    np.testing.assert_allclose(covariance, exact_covariance, atol=0.003)


def test_naive_velocity_reversal_would_not_sample_it(monkeypatch):
    # The check above has the power to see the wrong bounce.
    def naive(position, momentum, step, inverse_mass, bounds, reverse):
        velocity = mass.couple(inverse_mass, momentum)
        moved, turned = reflect(position + step * velocity, bounds)
        inverse = np.linalg.inv(inverse_mass)
        return moved, mass.couple(inverse, jnp.where(turned, -velocity, velocity))

    monkeypatch.setattr(integrators, "_sweep", naive)
    _, covariance, *_ = box_moments(
        "underdamped", correlated_pair, (2,), bounds=(-1.0, 1.0), friction=0.3, mass="circulant", coupling_sd=0.7
    )
    _, exact_covariance = exact_pair_moments()
    assert np.abs(covariance - exact_covariance).max() > 0.006


def test_circulant_mass_has_the_published_entries():
    published = [(32, 0.55, 0.7254, 0.1389), (16, 0.3, 1.3298, 0.00514), (8, 0.1, 3.9894, 0.0)]
    for channels, width, diagonal, beside in published:
        weights = mass.circulant_weights(channels)
        np.testing.assert_allclose(weights[:2], [diagonal, beside], atol=1e-4)
        np.testing.assert_allclose(weights, mass.circulant_weights(channels, width))
        assert weights[channels // 2] == 0
        np.testing.assert_array_equal(weights[1:], weights[1:][::-1])
    assert mass.inverse_mass("circulant", 5) is None
    assert mass.inverse_mass("diagonal", 32) is None
    assert mass.inverse_mass("circulant", 5, 0.4).shape == (5, 5)


def test_matrix_functions_of_the_mass():
    matrix = mass.inverse_mass("circulant", 7, 0.6)
    root = mass.matrix_function(matrix, np.sqrt)
    np.testing.assert_allclose(root @ root, matrix, atol=1e-12)
    np.testing.assert_allclose(np.sort(mass.eigenvalues(matrix)), np.linalg.eigvalsh(matrix), atol=1e-9)
    values = np.random.default_rng(0).normal(size=(3, 2, 2, 7)).astype(np.float32)
    np.testing.assert_allclose(mass.couple(matrix, values), np.einsum("kl,...l->...k", matrix, values), atol=1e-5)
