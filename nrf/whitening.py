"""Whitened coordinates of the image layer: what retina and LGN do to images, undone for display.

Natural images have power that falls steeply with spatial frequency; a sampler in pixels therefore needs steps for the
finest detail and patience for the coarsest (condition number 10³ to 10⁴).  Here every image is decorrelated before the
model sees it, and remains an image, so that convolutions still make sense:

    s = a D⁻¹ [ C_k^{-1/2} D (x - m) ]_k

D is the orthonormal two-dimensional cosine transform (DCT-II) of each channel, m the mean image of the training set,
C_k (C, C) the covariance over channels of the coefficients at frequency k, and a the standard deviation that states are
to have.  With a² the sampler's temperature, an untrained energy ½‖s‖² is already the Gaussian with the data's spectrum
(nearly its covariance), and learning has to add only what Gaussians lack.

What retina and LGN also do is to control gain by contrast (`Gain`): natural patches differ a hundredfold in contrast,
and an energy whose stiffness has to change as much holds faint and strong images in separate wells.  Here a power of an
image's contrast is kept,

    s = w (r / a)^(α - 1),     r the root mean square of the image w in whitened coordinates,

so that s has the root mean square a (r / a)^α: with α = ½ a hundredfold of contrast becomes tenfold.  Both maps are
undone for display, and log likelihoods carry their determinants.

Atick & Redlich, Neural Comput. 1992; Dan, Atick & Reid, J. Neurosci. 1996 (the LGN whitens natural scenes); Shapley &
Victor, J. Physiol. 1978 (contrast gain control); Lyu & Simoncelli, Neural Comput. 2009 (radial Gaussianisation).
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import numpy as np

LEAST = 1e-3  # smallest standard deviation that is still divided by, as a share of the largest
TINY = 1e-12  # share of a² added to mean squares
BATCH = 4096  # images transformed at a time


class Whitening(NamedTuple):
    """An invertible linear map of images (..., H, W, C); plain arrays, so it can be stored."""

    mean: np.ndarray  # (H, W, C), float32, units of the images
    forward: np.ndarray  # (H, W, C, C), a C_k^{-1/2}, symmetric
    backward: np.ndarray  # (H, W, C, C), its inverse


class Gain(NamedTuple):
    """Compression of contrast, a radial map of images (..., H, W, C) whose inverse is the one of exponent 1/α."""

    sd: float  # a, the root mean square that is left as it is
    exponent: float  # α, above 0; 1 leaves contrast alone

    @property
    def inverse(self) -> Gain:
        """The map back."""
        return Gain(self.sd, 1 / self.exponent)

    def apply(self, images: jax.Array) -> jax.Array:
        """Images (..., H, W, C), NumPy's or JAX's, with the root mean square r of each made a (r/a)^α."""
        square = (images * images).mean(axis=(-3, -2, -1), keepdims=True)
        # A blank image stays blank: r² is kept off 0, where a power has no slope.
        return images * (square / self.sd**2 + TINY) ** (0.5 * (self.exponent - 1))

    def log_determinant(self, images: np.ndarray) -> np.ndarray:
        """log |det ∂ apply(w) / ∂w| at images (..., H, W, C): n (α - 1) log(r/a) + log α, n = HWC; nats."""
        square = np.mean(np.square(images, dtype=np.float64), axis=(-3, -2, -1))
        size = np.prod(images.shape[-3:])
        return 0.5 * size * (self.exponent - 1) * np.log(square / self.sd**2 + TINY) + np.log(self.exponent)


def cosine_matrix(size: int) -> np.ndarray:
    """Orthonormal DCT-II as a matrix (frequency, pixel): sqrt(2/n) cos(π (x + ½) k / n), the first row 1/sqrt(n)."""
    pixels, frequencies = np.arange(size) + 0.5, np.arange(size)[:, None]
    matrix = np.sqrt(2 / size) * np.cos(np.pi * pixels * frequencies / size)
    matrix[0] = size**-0.5
    return matrix


def cosine_transform(images: np.ndarray, inverse: bool = False) -> np.ndarray:
    """Orthonormal DCT-II over height and width of (..., H, W, C), or its inverse; float64 inside."""
    rows, columns = (cosine_matrix(n) for n in images.shape[-3:-1])
    rows, columns = (rows.T, columns.T) if inverse else (rows, columns)
    return np.einsum("ky,...yxc,lx->...klc", rows, images, columns, optimize=True)


def fit_whitening(images: np.ndarray, state_sd: float) -> Whitening:
    """The whitening of images (N, H, W, C) to a standard deviation of `state_sd`.

    Directions that vary by less than LEAST of the strongest are divided by that least value, so that pixels that never
    change (the corners of digits) stay at rest.  Raises ValueError for fewer than two images or images that are equal.
    """
    images = np.asarray(images)
    if len(images) < 2:
        raise ValueError(f"whitening needs at least two images, not {len(images)}")
    mean = images.mean(axis=0, dtype=np.float64)
    covariance = np.zeros((*images.shape[1:], images.shape[-1]))
    for first in range(0, len(images), BATCH):
        coefficients = cosine_transform(images[first : first + BATCH] - mean)
        covariance += np.einsum("nklc,nkld->klcd", coefficients, coefficients)
    values, vectors = np.linalg.eigh(covariance / len(images))
    largest = np.sqrt(values.max())
    if not largest > 0:
        raise ValueError("the images are all equal, so they cannot be whitened")
    deviations = np.maximum(np.sqrt(np.maximum(values, 0)), LEAST * largest)

    def build(scales: np.ndarray) -> np.ndarray:
        return np.einsum("klce,kle,klde->klcd", vectors, scales, vectors).astype(np.float32)

    return Whitening(mean.astype(np.float32), build(state_sd / deviations), build(deviations / state_sd))


def whiten(whitening: Whitening, images: np.ndarray) -> np.ndarray:
    """Images (..., H, W, C) in whitened coordinates, float32."""
    return _apply(whitening.forward, np.asarray(images) - whitening.mean)


def unwhiten(whitening: Whitening, states: np.ndarray) -> np.ndarray:
    """Whitened states (..., H, W, C) as images again, float32; the inverse of `whiten`."""
    return _apply(whitening.backward, np.asarray(states)) + whitening.mean


def _apply(matrices: np.ndarray, images: np.ndarray) -> np.ndarray:
    mixed = np.einsum("klcd,...kld->...klc", matrices, cosine_transform(images))
    return cosine_transform(mixed, inverse=True).astype(np.float32)
