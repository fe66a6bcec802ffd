"""Mass matrices that couple channels: the circulant inverse mass M⁻¹ = K of the thesis.

The units of one place (h, w) share their inverse mass over channels, laid on a ring.  Row k of K is a normal density
centred on channel k and read at the circular distance d of the other channels,

    K[k, l] = N(d(k, l); 0, sd),   sd = 0.55, 0.3, 0.1 for 32, 16, 8 channels,

not normalised, values below 1e-15 set to 0.  Published as such: 32 channels 0.725 on the diagonal and 0.139 beside it,
16 channels 1.33 and 0.005, 8 channels 3.99 and 0.  So neighbours are hardly coupled, and with 8 channels K only makes
time run faster.  Layers of fewer than 6 channels use the identity.  `coupling_sd` sets another width, for any number of
channels.

K is symmetric and circulant: the discrete Fourier transform diagonalises it, so that functions of it (square root,
exponential) are cheap, exact, and worked out in float64 before anything is compiled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from nrf.samplers.options import check_choice, check_number, per_layer

MASSES = ("diagonal", "circulant")
PUBLISHED_SD = {32: 0.55, 16: 0.3, 8: 0.1}
FEWEST_COUPLED_CHANNELS = 6
# Below this ratio of smallest to largest eigenvalue, K^(-1/2) costs float32 more than half of its digits.
SMALLEST_EIGENVALUE_RATIO = 1e-6


def circulant_weights(channels: int, coupling_sd: float | None = None) -> np.ndarray:
    """First row w of the circulant inverse mass: w[d] = N(d; 0, sd) at circular distance d, (C,) float64.

    coupling_sd: width in channels; None for the published one.
    Raises ValueError for a number of channels without a published width.
    """
    if coupling_sd is None:
        if channels not in PUBLISHED_SD:
            raise ValueError(
                f"mass 'circulant' is published for 8, 16 and 32 channels, but a layer has {channels}; "
                f"set the sampler option 'coupling_sd' (a width in channels, such as 0.5) or mass 'diagonal'."
            )
        coupling_sd = PUBLISHED_SD[channels]
    offsets = np.arange(channels)
    distance = np.minimum(offsets, channels - offsets)
    weights = np.exp(-0.5 * (distance / coupling_sd) ** 2) / (coupling_sd * np.sqrt(2 * np.pi))
    return np.where(weights < 1e-15, 0.0, weights)


def inverse_mass(kind: str, channels: int, coupling_sd: float | None = None) -> np.ndarray | None:
    """Inverse mass matrix K over channels, (C, C) float64, or None for the identity.

    kind: 'diagonal' (identity) or 'circulant'; layers of fewer than 6 channels use the identity unless coupling_sd is
    given.  Raises ValueError when K is not safely positive definite, or has no published width.
    """
    if kind == "diagonal" or (channels < FEWEST_COUPLED_CHANNELS and coupling_sd is None):
        return None
    matrix = circulant(circulant_weights(channels, coupling_sd))
    values = eigenvalues(matrix)
    if values.min() < SMALLEST_EIGENVALUE_RATIO * values.max():
        raise ValueError(
            f"sampler option 'coupling_sd' = {coupling_sd:g} makes the inverse mass of {channels} channels singular "
            f"(eigenvalues {values.min():.2g} to {values.max():.2g}); take a smaller width."
        )
    return matrix


def circulant(row: np.ndarray) -> np.ndarray:
    """Circulant matrix C[k, l] = row[(l - k) mod C]."""
    offsets = np.arange(len(row))
    return row[(offsets[None, :] - offsets[:, None]) % len(row)]


def eigenvalues(matrix: np.ndarray) -> np.ndarray:
    """Eigenvalues of a symmetric circulant matrix: the Fourier transform of its first row, (C,)."""
    return np.fft.fft(matrix[0]).real


def matrix_function(matrix: np.ndarray, function: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """f(K) for a symmetric circulant K: f applied to the eigenvalues, (C, C)."""
    return circulant(np.fft.ifft(function(eigenvalues(matrix))).real)


def largest_eigenvalue(matrix: np.ndarray | None) -> float:
    """Largest eigenvalue of K, 1 for the identity (None)."""
    return 1.0 if matrix is None else float(eigenvalues(matrix).max())


def couple(matrix: Any, values: jax.Array) -> jax.Array:
    """K applied over the channel (last) axis; None is the identity.

    Full float32 precision on every device: a rounded friction operator would no longer match its noise.
    """
    if matrix is None:
        return values
    return jnp.matmul(values, jnp.asarray(matrix.T, values.dtype), precision=jax.lax.Precision.HIGHEST)


def check_mass(mass: Any, coupling_sd: Any) -> None:
    """Check the options `mass` and `coupling_sd`, each a value or one per layer; ValueError naming the option."""
    check_choice("mass", mass, MASSES)
    if coupling_sd is not None:
        check_number("coupling_sd", coupling_sd, above=0)


def kinetic_temperature(mass: Any, coupling_sd: Any, momentum: Any) -> jax.Array:
    """Mean of p K p over images and units, (layers,), in units of the momentum squared times K.

    Args:
        mass, coupling_sd: as in the options of a sampler.
        momentum: layers (B, ..., C).
    """
    layers = jax.tree.leaves(momentum)
    kinds, widths = per_layer("mass", mass, len(layers)), per_layer("coupling_sd", coupling_sd, len(layers))
    return jnp.stack(
        [
            jnp.mean(p * couple(inverse_mass(kind, p.shape[-1], width), p))
            for p, kind, width in zip(layers, kinds, widths, strict=True)
        ]
    )
