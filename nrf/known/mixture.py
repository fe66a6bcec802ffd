"""The Gaussian scale mixture: an image model whose posterior, and so whose dynamics, can be worked out on paper.

    x = z A y + N(0, σ² I),    y ~ N(0, C),    z ~ Gamma(shape 2, scale 0.25)

A holds 32 even Gabors (wavelength 6 pixels, envelope of standard deviation 3 pixels) at orientations θ_i = iπ/32 on
16 × 16 pixels, each mean-free and of unit norm; C_ij = 0.1494 exp((cos 2(θ_i - θ_j) - 1) / 0.25) + 0.0103 δ_ij, of
which the uniform mode has variance 1; σ² = 3.943.  A stimulus of contrast c is c A y0, y0 = 1.6 exp((cos 2(θ - π/2) -
1) / 0.25); contrast 0 is a blank.

For a given scale z the posterior of y is a Gaussian of curvature H(z) = C⁻¹ + z² AᵀA / σ²: contrast raises z and with
it the curvature, so frequency rises with √λ, the variance T/λ falls, and a step in the image makes the mean overshoot
by exp(-πγ / 2ω_d).  Where z is held fixed the curvature is the same at every contrast: no rise and no quenching.

Energies, by what is done with the scale (|x - zAy|² is kept as |x|² - 2z (Aᵀx)·y + z² yᵀAᵀA y, so that no image is
needed once Aᵀx and |x|² are known):

    mode      E(y) = ½ yᵀC⁻¹y + |x - ẑAy|² / 2σ², ẑ the mode of p(z | x)
    fixed     the same with ẑ at the value of one contrast, whatever is shown
    marginal  E(y) = ½ yᵀC⁻¹y - log ∫ p(x | y, z) p(z) dz
    joint     E(y, log z) = ½ yᵀC⁻¹y + |x - zAy|² / 2σ² - log p(z) - log z

Aitchison & Lengyel, PLoS Comput. Biol. 2016; Orbán, Berkes, Fiser & Lengyel, Neuron 2016 (the model; the numbers are
this project's).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from nrf.samplers.base import GradientFn, gradient_from_energy

SIZE, UNITS = 16, 32
WAVELENGTH, ENVELOPE = 6.0, 3.0  # pixels
NOISE = 3.943  # variance of a pixel
SHAPE, SCALE = 2.0, 0.25  # of the Gamma distribution of z
SCALES = ("mode", "fixed", "marginal", "joint")
GRID = np.linspace(0.005, 4.0, 800)  # of z, where a density of it is looked at or summed


class Mixture(NamedTuple):
    """The matrices of the model, float64."""

    features: np.ndarray  # A (256, 32), pixels by units
    prior: np.ndarray  # C (32, 32)
    precision: np.ndarray  # C⁻¹
    overlap: np.ndarray  # AᵀA
    drive: np.ndarray  # y0 (32,)
    angles: np.ndarray  # θ (32,), radian


def make_mixture() -> Mixture:
    """Build the model."""
    angles = np.arange(UNITS) * np.pi / UNITS
    place = np.arange(SIZE) - (SIZE - 1) / 2
    x, y = (grid.ravel()[:, None] for grid in np.meshgrid(place, place, indexing="ij"))
    envelope = np.exp(-(x**2 + y**2) / (2 * ENVELOPE**2))
    features = envelope * np.cos(2 * np.pi / WAVELENGTH * (x * np.cos(angles) + y * np.sin(angles)))
    features -= features.mean(axis=0)
    features /= np.linalg.norm(features, axis=0)
    prior = 0.1494 * _bump(angles[:, None] - angles) + 0.0103 * np.eye(UNITS)
    drive = 1.6 * _bump(angles - np.pi / 2)
    return Mixture(features, prior, np.linalg.inv(prior), features.T @ features, drive, angles)


def _bump(difference: np.ndarray) -> np.ndarray:
    return np.exp((np.cos(2 * difference) - 1) / 0.25)


def image(mixture: Mixture, contrast: float) -> np.ndarray:
    """The stimulus of a contrast, (256,)."""
    return contrast * mixture.features @ mixture.drive


def scale_mode(mixture: Mixture, x: np.ndarray) -> float:
    """The most probable scale given an image: argmax of p(x | z) p(z), with y summed over.

    x: (256,).  p(x | z) = N(x; 0, z² A C Aᵀ + σ² I), whose eigenvectors do not depend on z.
    """
    # Of A C Aᵀ only the eigenvalues above 0 move with z: those of Lᵀ AᵀA L with C = L Lᵀ, 32 in place of 256.
    values, vectors = np.linalg.eigh((root := np.linalg.cholesky(mixture.prior)).T @ mixture.overlap @ root)
    kept = values > 1e-9 * values[-1]
    inside = (mixture.features @ root @ vectors[:, kept]) / np.sqrt(values[kept])
    weights = (inside.T @ x) ** 2

    def negative_log(z):
        spread = values[kept] * z[:, None] ** 2 + NOISE
        return 0.5 * np.sum(np.log(spread) + weights / spread, axis=1) + z / SCALE - (SHAPE - 1) * np.log(z)

    best = GRID[negative_log(GRID).argmin()]
    width = GRID[1] - GRID[0]
    fine = np.linspace(max(best - width, 1e-6), best + width, 201)
    return float(fine[negative_log(fine).argmin()])


def curvature(mixture: Mixture, scale: float) -> np.ndarray:
    """The Hessian of the energy at a given scale, C⁻¹ + z² AᵀA / σ², (32, 32); it is the same at every y."""
    return mixture.precision + scale**2 * mixture.overlap / NOISE


def largest_curvature(mixture: Mixture, scale: float = 0.0) -> float:
    """λ_max of the curvature at a scale."""
    return float(np.linalg.eigvalsh(curvature(mixture, scale))[-1])


def make_energy(mixture: Mixture, scale: str):
    """Return energy((y,) or (y, log z), screen) -> (B,) for one of SCALES.

    y: (B, 32); log z: (B, 1), only for 'joint'.  screen: (Aᵀx (B, 32), |x|² (B,), ẑ (B,)), see `make_screen`.
    """
    precision, overlap = mixture.precision.astype(np.float32), mixture.overlap.astype(np.float32)
    nodes = GRID[::4].astype(np.float32)
    log_prior = (SHAPE - 1) * np.log(nodes) - nodes / SCALE

    def energy(position, screen):
        y, (projected, power, mode) = position[0], screen
        prior = 0.5 * jnp.einsum("bi,ij,bj->b", y, precision, y)
        match, square = jnp.sum(projected * y, axis=-1), jnp.einsum("bi,ij,bj->b", y, overlap, y)

        def misfit(z):
            return (power - 2 * z * match + z**2 * square) / (2 * NOISE)

        if scale == "joint":
            log_z = position[1][:, 0]
            z = jnp.exp(log_z)
            return prior + misfit(z) + z / SCALE - (SHAPE - 1) * log_z - log_z
        if scale == "marginal":
            return prior - jax.nn.logsumexp(log_prior - jax.vmap(misfit, out_axes=-1)(nodes), axis=-1)
        return prior + misfit(mode)

    return energy


def make_screen(mixture: Mixture, contrasts: np.ndarray, fixed_at: float | None = None) -> tuple[np.ndarray, ...]:
    """What the energy needs of the images of some contrasts: Aᵀx (B, 32), |x|² (B,), ẑ (B,), float32.

    fixed_at: the contrast whose ẑ is used for all; None for each contrast's own.
    """
    shown = {c: image(mixture, c) for c in np.unique(contrasts).tolist()}
    modes = {c: scale_mode(mixture, x) for c, x in shown.items()}
    if fixed_at is not None:
        fixed = scale_mode(mixture, image(mixture, fixed_at))
        modes = dict.fromkeys(modes, fixed)
    columns = (
        [mixture.features.T @ shown[c] for c in contrasts.tolist()],
        [shown[c] @ shown[c] for c in contrasts.tolist()],
        [modes[c] for c in contrasts.tolist()],
    )
    return tuple(np.asarray(column, np.float32) for column in columns)


def make_gradient_fn(energy, screen) -> GradientFn:
    """gradient_fn of the sampler for a screen."""
    return gradient_from_energy(lambda position: energy(position, screen))


def start_positions(key: jax.Array, mixture: Mixture, count: int, scale: str) -> tuple[jax.Array, ...]:
    """Draws from the prior: y (B, 32), for 'joint' also log z (B, 1)."""
    keys = jax.random.split(key)
    root = np.linalg.cholesky(mixture.prior).astype(np.float32)
    y = jax.random.normal(keys[0], (count, UNITS)) @ root.T
    if scale != "joint":
        return (y,)
    return y, jnp.log(SCALE * jax.random.gamma(keys[1], SHAPE, (count, 1)))
