"""Difference-of-Gaussians filters: the model of a centre–surround receptive field.

    G(x, y; α, s) = α / (2π s) · exp(−((x − μₓ)² + (y − μ_y)²) / 2s)            s is a VARIANCE (pixels²)
    filter        = G(α₁, s₁) − G(α₂, s₂)

By default the two Gaussians share the first one's centre (concentric) and the surround's variance is s₁ + s₂, so that
it is always the wider one. Parameters are clipped to their bounds in the forward pass.

An isotropic Gaussian is the outer product of two one-dimensional ones, so a filter on an H×W grid costs 2(H + W)
exponentials instead of 2HW. Where filters are rebuilt at every training step that is most of the running time.

Source: Antolík, Hofer, Bednar & Mrsic-Flogel (2016), PLoS Comput. Biol. 12(6): e1004927 (the HSM model).
"""

from typing import NamedTuple

import jax.numpy as jnp
import numpy as np

from v1models.constraints import clip_with_open_border

# The rows of a parameter array (2 Gaussians, 4 parameters, F filters).
AMPLITUDE, VARIANCE, CENTRE_X, CENTRE_Y = range(4)


class GaussianBounds(NamedTuple):
    """Range of each parameter: (lowest, highest). The amplitude's upper end bounds only the initial draw."""

    amplitude: tuple  # response per pixel value
    variance: tuple  # pixels²
    centre_x: tuple  # pixels from the left column
    centre_y: tuple  # pixels from the top row


def default_bounds(height, width):
    """Bounds that reproduce HSM on its 31-pixel images: variance (1, int(0.82 · larger side)), centre (2, side − 2)."""
    return GaussianBounds(
        amplitude=(float(np.finfo(np.float64).eps), 10.0),
        variance=(1.0, float(int(0.82 * max(height, width)))),
        centre_x=(2.0, width - 2.0),
        centre_y=(2.0, height - 2.0),
    )


def clip_parameters(parameters, bounds):
    """Parameters in their bounds, as the forward pass uses them; derivative 1 at a bound and 0 outside.

    Arguments: parameters (2, 4, F); bounds, a GaussianBounds.
    """
    amplitude = clip_with_open_border(parameters[:, AMPLITUDE], bounds.amplitude[0], jnp.inf)
    clipped = [
        clip_with_open_border(parameters[:, row], *bound)
        for row, bound in ((VARIANCE, bounds.variance), (CENTRE_X, bounds.centre_x), (CENTRE_Y, bounds.centre_y))
    ]
    return jnp.stack([amplitude, *clipped], axis=1)


def _factors(amplitude, variance, centre_x, centre_y, height, width):
    """One Gaussian as (amplitude/2πs · vertical profile (F, H), horizontal profile (F, W))."""
    rows = jnp.arange(height, dtype=variance.dtype)
    columns = jnp.arange(width, dtype=variance.dtype)
    vertical = jnp.exp(-jnp.square(rows - centre_y[:, None]) / (2 * variance[:, None]))
    horizontal = jnp.exp(-jnp.square(columns - centre_x[:, None]) / (2 * variance[:, None]))
    return (amplitude / (2 * jnp.pi * variance))[:, None] * vertical, horizontal


def difference_of_gaussians(parameters, height, width, bounds, concentric=True, summed_variance=True):
    """The filters G(α₁, s₁) − G(α₂, s₂) on a pixel grid.

    Arguments
        parameters (2, 4, F): centre and surround; amplitude, variance (pixels²), x, y (pixels); unclipped.
        height, width: grid, pixels; pixel coordinates run from 0.
        bounds: GaussianBounds used for clipping.
        concentric: the surround takes the centre's position (its own x, y are then unused).
        summed_variance: the surround's variance is s₁ + s₂ instead of s₂.
    Returns (F, H, W): one filter after another, which makes the gradient of a batch of filters a fast product.
    """
    clipped = clip_parameters(parameters, bounds)
    centre, surround = clipped[0], clipped[1]
    variance = surround[VARIANCE] + centre[VARIANCE] if summed_variance else surround[VARIANCE]
    position = centre if concentric else surround
    tall, wide = _factors(*centre, height, width)
    tall_surround, wide_surround = _factors(
        surround[AMPLITUDE], variance, position[CENTRE_X], position[CENTRE_Y], height, width
    )
    # As one contraction over (centre, surround): its gradient is two contractions, where products written out would
    # become four reductions over every pixel.
    return jnp.einsum("fhg,fgw->fhw", jnp.stack([tall, -tall_surround], 2), jnp.stack([wide, wide_surround], 1))
