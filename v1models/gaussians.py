"""Difference-of-Gaussians filters: the model of a center–surround receptive field.

    G(x, y; α, s) = α / (2π s) · exp(−((x − μₓ)² + (y − μ_y)²) / 2s)            s is a VARIANCE (pixels²)
    filter        = G(α₁, s₁) − G(α₂, s₂)

By default the two Gaussians share the first one's center (concentric) and the surround's variance is s₁ + s₂, so that
it is always the wider one. Parameters are clipped to their bounds in the forward pass.

An isotropic Gaussian is the outer product of two one-dimensional ones, so a filter on an H×W grid costs 2(H + W)
exponentials instead of 2HW. Where filters are rebuilt at every training step that is most of the running time.

Source: Antolík, Hofer, Bednar & Mrsic-Flogel (2016), PLoS Comput. Biol. 12(6): e1004927 (the HSM model).
"""

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from v1models.constraints import clip_with_open_border

# The rows of a parameter array (2 Gaussians, 4 parameters, F filters).
AMPLITUDE, VARIANCE, CENTER_X, CENTER_Y = range(4)


class GaussianBounds(NamedTuple):
    """Range of each parameter: (lowest, highest). The amplitude's upper end bounds only the initial draw."""

    amplitude: tuple  # response per pixel value
    variance: tuple  # pixels²
    center_x: tuple  # pixels from the left column
    center_y: tuple  # pixels from the top row


def default_bounds(height: int, width: int) -> GaussianBounds:
    """Bounds that reproduce HSM on its 31-pixel images: variance (1, int(0.82 · larger side)), center (2, side − 2)."""
    return GaussianBounds(
        amplitude=(float(np.finfo(np.float64).eps), 10.0),
        variance=(1.0, float(int(0.82 * max(height, width)))),
        center_x=(2.0, width - 2.0),
        center_y=(2.0, height - 2.0),
    )


def clip_parameters(parameters: jax.Array, bounds: GaussianBounds) -> jax.Array:
    """Parameters in their bounds, as the forward pass uses them; derivative 1 at a bound and 0 outside.

    Args:
        parameters: (2, 4, F).
        bounds: a GaussianBounds.
    """
    lower = np.array([low for low, _ in bounds], parameters.dtype)[:, None]
    upper = np.array([np.inf, *(high for _, high in bounds[1:])], parameters.dtype)[:, None]
    return clip_with_open_border(parameters, lower, upper)


def _profiles(variance, place, size):
    """exp(−(i − place)² / 2s) at pixels i, and the distances i − place; arguments (K, F), results (F, K, size)."""
    distance = jnp.arange(size, dtype=variance.dtype) - place.T[..., None]
    return jnp.exp(jnp.square(distance) / (-2 * variance.T[..., None])), distance


@functools.partial(jax.custom_vjp, nondiff_argnums=(4, 5))
def sum_of_gaussians(
    amplitude: jax.Array, variance: jax.Array, x: jax.Array, y: jax.Array, height: int, width: int
) -> jax.Array:
    """Σ_k G(α_k, s_k) around (x_k, y_k) on a pixel grid, (F, H, W).

    Args:
        amplitude, variance, x, y: of K Gaussians in each of F filters, (K, F); variances in pixels², places in pixels.
        height, width: of the grid, pixels.
    """
    return _sum_of_gaussians(amplitude, variance, x, y, height, width)[0]


def _sum_of_gaussians(amplitude, variance, x, y, height, width):
    tall, wide = _profiles(variance, y, height), _profiles(variance, x, width)
    scale = 1 / (2 * jnp.pi * variance)
    filters = jnp.einsum("fkh,fkw->fhw", (amplitude * scale).T[..., None] * tall[0], wide[0])
    return filters, (amplitude, variance, scale, tall, wide)


def _sum_of_gaussians_transposed(height, width, saved, cotangent):
    """Gradients from the moments of cotangent × Gaussian along each axis.

    With u, v the distances from the center, ∂G/∂x = G u/s, ∂G/∂y = G v/s and ∂G/∂s = G ((u² + v²)/2s − 1)/s. Automatic
    differentiation would contract the cotangent over both axes; here one product over rows leaves only small sums.
    """
    amplitude, variance, scale, (tall, v), (wide, u) = saved
    moments = jnp.einsum("fmh,fhw->fmw", jnp.concatenate([tall, tall * v, tall * v * v], 1), cotangent)
    zeroth, first, second = jnp.split(moments, 3, axis=1)
    mass = jnp.sum(zeroth * wide, -1).T * scale
    along_x, along_y = jnp.sum(zeroth * wide * u, -1).T * scale, jnp.sum(first * wide, -1).T * scale
    spread = jnp.sum((zeroth * u * u + second) * wide, -1).T * scale
    relative = amplitude / variance
    return mass, relative * (spread / (2 * variance) - mass), relative * along_x, relative * along_y


sum_of_gaussians.defvjp(
    lambda amplitude, variance, x, y, height, width: _sum_of_gaussians(amplitude, variance, x, y, height, width),
    _sum_of_gaussians_transposed,
)


def difference_of_gaussians(
    parameters: jax.Array,
    height: int,
    width: int,
    bounds: GaussianBounds,
    concentric: bool = True,
    summed_variance: bool = True,
) -> jax.Array:
    """The filters G(α₁, s₁) − G(α₂, s₂) on a pixel grid.

    Args:
        parameters: (2, 4, F), center and surround; amplitude, variance (pixels²), x, y (pixels); unclipped.
        height, width: grid, pixels; pixel coordinates run from 0.
        bounds: GaussianBounds used for clipping.
        concentric: the surround takes the center's position (its own x, y are then unused).
        summed_variance: the surround's variance is s₁ + s₂ instead of s₂.

    Returns:
        (F, H, W): one filter after another, which makes the gradient of a batch of filters a fast product.
    """
    amplitude, variance, x, y = jnp.moveaxis(clip_parameters(parameters, bounds), 1, 0)
    # Written without joining arrays, which would keep the exponentials from being computed in vectors.
    surround = np.array([[0], [1]], parameters.dtype)
    if summed_variance:
        variance = variance + surround * variance[0]
    if concentric:
        x, y = (jnp.broadcast_to(place[0], place.shape) for place in (x, y))
    return sum_of_gaussians((1 - 2 * surround) * amplitude, variance, x, y, height, width)
