"""What the curvature of the energy predicts of a recording, before anything is recorded.

Around the mean state that an image holds the latents at, the energy is a quadratic form, and the sampler a linear
system whose answers are known (`linear_response`).  In coordinates y = K^{-1/2} s / h, in which every layer takes steps
of size 1 with unit mass, the form is

    A = K^{1/2} h H h K^{1/2},     H the Hessian of the clamped energy,

and a signal b·s, such as the summed state of a layer, answers with the *spectral measure* of b: the curvatures a_k at
which A has its modes, each with the share w_k that the mode has in the signal.  Its power spectrum is Σ w_k S(ω; a_k),
its variance T bᵀH⁻¹b = T Σ w_k / a_k, and its mean after an onset, when the rest moves from s₀ to s₁, is
b·s₁ + b·R_t(A)(s₁ - s₀) with R_t the step response of a mode.  Lanczos iteration finds these measures from products
H v alone; the products are reverse over reverse, as the spectral convolutions define reverse gradients only.

Functions take `gradient_fn(position) -> (energy (B,), gradient)`, position a tuple of layers (B, ...), so that any
energy of latents serves, and treat a batch of B independent chains at once.

Golub & Meurant, Matrices, Moments and Quadrature (2010); Lanczos, J. Res. Natl. Bur. Stand. 1950.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from scipy.linalg import eigh_tridiagonal

from nrf.linear_response import LONGEST_RESPONSE, Dynamics, phase_lag, predict_modes, spectrum, step_responses
from nrf.samplers.base import GradientFn, Position
from nrf.samplers.mass import couple, inverse_mass, matrix_function
from nrf.samplers.options import per_layer

# A step of Lanczos that adds less than this share of the largest coefficient has found an invariant subspace.
BREAKDOWN = 1e-5
UNIT_STEP = 1.0  # of the coordinates y


class Geometry(NamedTuple):
    """The coordinates y = K^{-1/2} s / h of the layers that move, and the dynamics of a mode in them."""

    step_sizes: tuple[float, ...]  # h of each layer
    roots: tuple[Any, ...]  # K^{1/2} over channels (C, C) of each layer, None for the identity
    inverse_roots: tuple[Any, ...]  # K^{-1/2}
    dynamics: Dynamics  # of step 1 and mass 1


class Measure(NamedTuple):
    """Spectral measure of one signal: Σ_k w_k δ(a - a_k); the last axis runs over the nodes, padded by weight 0."""

    nodes: np.ndarray  # (B, nodes) curvatures in units of the step, h²Kλ
    weights: np.ndarray  # (B, nodes)


class Krylov(NamedTuple):
    """Lanczos vectors V of B starts and the tridiagonal matrices Vᵀ A V."""

    diagonal: jax.Array  # (B, steps)
    beside: jax.Array  # (B, steps - 1)
    basis: jax.Array  # (B, steps, N)
    norm: jax.Array  # (B,), length of the starts


def make_geometry(
    channels: tuple[int, ...],
    step_size: Any,
    friction: Any,
    temperature: Any,
    mass: Any = "diagonal",
    coupling_sd: Any = None,
) -> Geometry:
    """Coordinates and dynamics of underdamped Langevin dynamics (options as in `samplers.underdamped`).

    Args:
        channels: C of each layer that moves.
        step_size, friction, temperature, mass, coupling_sd: one value, or one per layer that moves.

    Raises:
        ValueError: layers of different friction or temperature, whose modes are no modes of the dynamics.
    """
    count = len(channels)
    for name, value in {"friction": friction, "temperature": temperature}.items():
        if len(set(per_layer(name, value, count))) > 1:
            raise ValueError(f"sampler option {name!r} differs between layers ({value}): their modes do not separate.")
    kinds, widths = per_layer("mass", mass, count), per_layer("coupling_sd", coupling_sd, count)
    masses = [inverse_mass(kind, c, width) for kind, c, width in zip(kinds, channels, widths, strict=True)]
    roots, inverse_roots = (
        tuple(None if k is None else matrix_function(k, lambda values, p=power: values**p) for k in masses)
        for power in (0.5, -0.5)
    )
    shared = (float(per_layer(name, v, count)[0]) for name, v in (("friction", friction), ("temperature", temperature)))
    return Geometry(
        tuple(map(float, per_layer("step_size", step_size, count))), roots, inverse_roots, Dynamics(UNIT_STEP, *shared)
    )


def hessian_product(gradient_fn: GradientFn, position: Position, vector: Position) -> Position:
    """H v of every chain, reverse over reverse.

    Args:
        gradient_fn: position -> (energy (B,), gradient).
        position, vector: layers (B, ...).
    """

    def along(position: Position) -> jax.Array:
        _, gradient = gradient_fn(position)
        return sum(jnp.vdot(g, v) for g, v in zip(gradient, vector, strict=True))

    return jax.grad(along)(position)


def step_operator(gradient_fn: GradientFn, position: Position, geometry: Geometry) -> Callable[[jax.Array], jax.Array]:
    """The product A v in flat coordinates y: (B, N) -> (B, N)."""

    def scaled(vector: Position) -> Position:
        return tuple(
            h * couple(root, v) for v, h, root in zip(vector, geometry.step_sizes, geometry.roots, strict=True)
        )

    def apply(flat: jax.Array) -> jax.Array:
        vector = scaled(unflatten(flat, position))
        return flatten(scaled(hessian_product(gradient_fn, position, vector)))

    return apply


def to_steps(position: Position, geometry: Geometry) -> jax.Array:
    """A displacement of states in the coordinates y, flat: K^{-1/2} s / h, (B, N)."""
    layers = zip(position, geometry.step_sizes, geometry.inverse_roots, strict=True)
    return flatten(tuple(couple(root, s) / h for s, h, root in layers))


def signal_to_steps(signal: Position, geometry: Geometry) -> jax.Array:
    """A signal b (so that b·s is observed) in the coordinates y, flat: K^{1/2} h b, (B, N)."""
    layers = zip(signal, geometry.step_sizes, geometry.roots, strict=True)
    return flatten(tuple(couple(root, b) * h for b, h, root in layers))


def flatten(position: Position) -> jax.Array:
    """Layers (B, ...) side by side, (B, N)."""
    return jnp.concatenate([s.reshape(len(s), -1) for s in position], axis=1)


def unflatten(flat: jax.Array, like: Position) -> Position:
    """The inverse of `flatten` for layers shaped like `like`."""
    edges = np.cumsum([int(np.prod(s.shape[1:])) for s in like])[:-1]
    return tuple(part.reshape(s.shape) for part, s in zip(jnp.split(flat, edges, axis=1), like, strict=True))


def lanczos(operator: Callable[[jax.Array], jax.Array], start: jax.Array, steps: int) -> Krylov:
    """Lanczos iteration with full reorthogonalisation, for B symmetric operators at once.

        A V = V T + (rest),   T tridiagonal,   V's first column the start

    Args:
        operator: (B, N) -> (B, N), each row its own symmetric matrix.
        start: (B, N).
        steps: iterations, at most N.
    """
    batch, size = start.shape
    steps = min(steps, size)
    norm = jnp.linalg.norm(start, axis=1)
    tiny = jnp.finfo(start.dtype).tiny
    basis = jnp.zeros((steps + 1, batch, size), start.dtype).at[0].set(start / jnp.maximum(norm, tiny)[:, None])

    def one(basis, step):
        image = operator(basis[step])
        diagonal = jnp.sum(basis[step] * image, axis=1)
        # Twice is enough: what the first pass leaves by rounding, the second takes away.
        for _ in range(2):
            image = image - jnp.einsum("kb,kbn->bn", jnp.einsum("kbn,bn->kb", basis, image), basis)
        beside = jnp.linalg.norm(image, axis=1)
        return basis.at[step + 1].set(image / jnp.maximum(beside, tiny)[:, None]), (diagonal, beside)

    basis, (diagonal, beside) = jax.lax.scan(one, basis, jnp.arange(steps))
    return Krylov(diagonal.T, beside.T[:, :-1], jnp.moveaxis(basis[:steps], 0, 1), norm)


def ritz(krylov: Krylov) -> tuple[np.ndarray, np.ndarray]:
    """Ritz values (B, steps), rising, and vectors (B, steps, steps) of the tridiagonal matrices.

    Where the iteration came to an invariant subspace the values beyond it are NaN and the vectors zero.
    """
    diagonal, beside = (np.asarray(each, np.float64) for each in (krylov.diagonal, krylov.beside))
    values = np.full(diagonal.shape, np.nan)
    vectors = np.zeros((*diagonal.shape, diagonal.shape[1]))
    for row, (main, off) in enumerate(zip(diagonal, beside, strict=True)):
        largest = max(np.abs(main).max(), np.abs(off).max(initial=0.0), np.finfo(float).tiny)
        ended = np.flatnonzero(off < BREAKDOWN * largest)
        size = int(ended[0]) + 1 if ended.size else len(main)
        values[row, :size], vectors[row, :size, :size] = eigh_tridiagonal(main[:size], off[: size - 1])
    return values, vectors


def spectral_measure(krylov: Krylov) -> Measure:
    """Gauss quadrature of the start's measure: bᵀ f(A) b = Σ w_k f(a_k), exact for polynomials of 2 steps - 1."""
    values, vectors = ritz(krylov)
    weights = vectors[:, 0, :] ** 2 * np.asarray(krylov.norm, np.float64)[:, None] ** 2
    return Measure(np.where(np.isnan(values), 1.0, values), np.where(np.isnan(values), 0.0, weights))


def quantiles(measure: Measure, shares: tuple[float, ...]) -> np.ndarray:
    """Curvatures below which the given shares of a measure lie, interpolated between nodes: (B, shares)."""
    found = []
    for nodes, weights in zip(*measure, strict=True):
        kept = weights > 0
        a, w = nodes[kept], weights[kept] / weights[kept].sum()
        found.append(np.interp(shares, np.cumsum(w) - 0.5 * w, a))
    return np.array(found)


# --- signals -------------------------------------------------------------------------------------------------------


def extremes(krylov: Krylov) -> np.ndarray:
    """Lowest, median and highest curvature of each of B starts, (B, 3).

    The median is that of the measure that the start sees: of all directions, for a random one.
    """
    values, _ = ritz(krylov)
    middle = quantiles(spectral_measure(krylov), (0.5,))[:, 0]
    return np.stack([np.nanmin(values, axis=1), middle, np.nanmax(values, axis=1)], axis=1)


def signal_spectrum(measure: Measure, frequency: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Power spectral density Σ w_k S(f; a_k) of a signal, (B, F); its integral over (-½, ½) is the variance.

    Args:
        measure: of the signal.
        frequency: cycles per step.
        geometry: for its dynamics.  Directions without a well (a ≤ 0, or a ≥ 4) are left out.
    """
    weights = np.where(_stable(measure.nodes), measure.weights, 0.0)
    density = spectrum(np.where(_stable(measure.nodes), measure.nodes, 1.0), frequency, geometry.dynamics)
    return np.einsum("bk,bkf->bf", weights, density)


def signal_variance(measure: Measure, geometry: Geometry) -> np.ndarray:
    """Variance T bᵀH⁻¹b of a signal, (B,), units of state²; NaN where a direction has no well."""
    inverse = np.sum(np.where(measure.weights > 0, measure.weights / measure.nodes, 0.0), axis=1)
    has_well = ((measure.nodes > 0) | (measure.weights <= 0)).all(axis=1)
    return np.where(has_well, geometry.dynamics.temperature * inverse, np.nan)


def signal_phase(
    measure: Measure, frequency: np.ndarray, geometry: Geometry, step_size: float, inverse_mass: float = 1.0
) -> np.ndarray:
    """Radian by which the signal of s - p̃ lags that of s at one frequency per chain, (B,).

    Args:
        measure: of the signal b, all in one layer.
        frequency: cycles per step, (B,).
        geometry: for its dynamics.
        step_size, inverse_mass: h and K of the layer.
    """
    stable = np.where(_stable(measure.nodes), measure.nodes, 1.0)
    power = _power_at(measure, frequency, geometry)
    # The cross-spectrum of p̃ and s is i tan(ω/2)(1 - a/4) / (hK) times the spectrum of each mode.
    mean = np.sum(power * stable, axis=1) / np.maximum(power.sum(axis=1), np.finfo(float).tiny)
    layer = Dynamics(step_size, geometry.dynamics.friction, geometry.dynamics.temperature, inverse_mass)
    return phase_lag(mean / (step_size**2 * inverse_mass), frequency, layer)


def signal_quality(measure: Measure, frequency: np.ndarray, geometry: Geometry) -> np.ndarray:
    """Quality ω₀/γ of a signal, (B,): the mean over its modes, each by its power at one frequency per chain (B,)."""
    stable = np.where(_stable(measure.nodes), measure.nodes, 1.0)
    power = _power_at(measure, frequency, geometry)
    quality = predict_modes(stable, geometry.dynamics).quality
    return np.sum(power * quality, axis=1) / np.maximum(power.sum(axis=1), np.finfo(float).tiny)


def _power_at(measure: Measure, frequency: np.ndarray, geometry: Geometry) -> np.ndarray:
    stable = np.where(_stable(measure.nodes), measure.nodes, 1.0)
    power = [spectrum(a, np.array([f]), geometry.dynamics)[:, 0] for a, f in zip(stable, frequency, strict=True)]
    return np.stack(power) * np.where(_stable(measure.nodes), measure.weights, 0.0)


def onset_response(krylov: Krylov, signal: jax.Array, geometry: Geometry, steps: int) -> np.ndarray:
    """Mean of a signal after the rest has moved by d, relative to the new rest: -b·R_t(A) d, (B, steps).

    Args:
        krylov: Lanczos iteration from d, the displacement of the rest, in coordinates y.
        signal: b in coordinates y, (B, N).
        geometry: for its dynamics.
        steps: length of the response.
    """
    values, vectors = ritz(krylov)
    seen = np.einsum("bkn,bn->bk", np.asarray(krylov.basis, np.float64), np.asarray(signal, np.float64))
    share = np.einsum("bk,bkj->bj", seen, vectors) * vectors[:, 0] * np.asarray(krylov.norm, np.float64)[:, None]
    usable = _stable(values)
    response = step_responses(np.where(usable, values, 1.0), min(steps, LONGEST_RESPONSE), geometry.dynamics)
    return np.einsum("bj,tbj->bt", np.where(usable, share, 0.0), response)


def _stable(nodes: np.ndarray) -> np.ndarray:
    return np.isfinite(nodes) & (nodes > 0) & (nodes < 4)
