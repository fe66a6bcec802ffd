"""Convolutions as products per frequency, for compiled loops on a CPU.

Transforms of maps of at most a few dozen pixels are cheapest as matrix products.  Every product here multiplies a
matrix from the left onto the leading axes of maps laid out (H, W, B, C), so that nothing is ever transposed, and the
gradient rules keep that form: automatic differentiation would contract trailing axes, at three times the cost.
"""

from __future__ import annotations

import functools
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax


class Spectrum(NamedTuple):
    """Discrete Fourier transform of real maps."""

    parts: jax.Array  # (frequencies, 2, B, C), real and imaginary part


class PreparedKernel(NamedTuple):
    """Transform of a kernel, ready to multiply a spectrum, and its conjugate transpose for the way back."""

    forward: jax.Array  # (frequencies, C_in, 2 C_out), [Re | Im]
    adjoint: jax.Array  # (frequencies, C_out, 2 C_in)


@functools.cache
def _forward_matrices(size: tuple[int, int], period: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Real matrices of the two-dimensional discrete Fourier transform of a real map, one axis after the other.

    Rows: (k p, h), frequencies k up to half the period (the rest are conjugates), p real or imaginary part.
    Columns: (n q, p w), all frequencies n, from part p to part q.
    """
    k, n = np.arange(period[0] // 2 + 1), np.arange(period[1])
    down = np.exp(-2j * np.pi * np.outer(k, np.arange(size[0])) / period[0])
    across = np.exp(-2j * np.pi * np.outer(n, np.arange(size[1])) / period[1])
    rows = np.stack([down.real, down.imag], 1).reshape(-1, size[0])
    return rows.astype(np.float32), _complex_blocks(across).transpose(1, 0, 2, 3).reshape(2 * n.size, -1)


@functools.cache
def _inverse_matrices(
    period: tuple[int, int], rows: tuple[int, ...], cols: tuple[int, ...]
) -> tuple[np.ndarray, np.ndarray]:
    """Real matrices of the inverse transform at given rows and columns: columns (q w, n p), then rows (h, k q)."""
    k, n = np.arange(period[0] // 2 + 1), np.arange(period[1])
    # Every frequency but 0 and (for even periods) the last stands for itself and its conjugate.
    weight = np.where((k == 0) | (2 * k == period[0]), 1.0, 2.0) / (period[0] * period[1])
    across = np.exp(2j * np.pi * np.outer(cols, n) / period[1])
    down = np.exp(2j * np.pi * np.outer(rows, k) / period[0]) * weight
    columns = _complex_blocks(across).transpose(0, 1, 3, 2).reshape(2 * len(cols), -1)
    return columns, np.stack([down.real, -down.imag], 2).reshape(len(rows), -1).astype(np.float32)


def _complex_blocks(matrix: np.ndarray) -> np.ndarray:
    """A complex matrix (m, n) acting on real and imaginary parts: (q, m, p, n)."""
    blocks = np.array([[matrix.real, -matrix.imag], [matrix.imag, matrix.real]], np.float32)
    return blocks.transpose(0, 2, 1, 3)


def _multiply(matrix: np.ndarray, x: jax.Array) -> jax.Array:
    """matrix (m, n) times x (n, rest) or (batch, n, rest): the constant is repeated over the batch."""
    if x.ndim == 2:
        return jnp.asarray(matrix) @ x
    repeated = jnp.broadcast_to(jnp.asarray(matrix), (x.shape[0], *matrix.shape))
    return lax.dot_general(repeated, x, (((2,), (1,)), ((0,), (0,))))


def _forward(x: jax.Array, rows: np.ndarray, cols: np.ndarray) -> jax.Array:
    """Transform (H, W, B, C) by rows, then columns: (k, n, q, B, C) flattened to (k n, 2, B, C)."""
    height, width, batch, channels = x.shape
    y = _multiply(rows, x.reshape(height, -1)).reshape(rows.shape[0] // 2, 2 * width, batch * channels)
    return _multiply(cols, y).reshape(-1, 2, batch, channels)


def _inverse(parts: jax.Array, columns: np.ndarray, rows: np.ndarray) -> jax.Array:
    """Transform (frequencies, 2, B, C) by columns, then rows: (rows, columns, B, C)."""
    _, _, batch, channels = parts.shape
    half, width = rows.shape[1] // 2, columns.shape[0] // 2
    y = _multiply(columns, parts.reshape(half, -1, batch * channels))
    return _multiply(rows, y.reshape(2 * half, -1)).reshape(rows.shape[0], width, batch, channels)


@functools.partial(jax.custom_vjp, nondiff_argnums=(1,))
def forward_transform(x: jax.Array, period: tuple[int, int]) -> Spectrum:
    """Discrete Fourier transform of real maps (H, W, B, C) with the given period along each axis."""
    return Spectrum(_forward(x, *_forward_matrices(x.shape[:2], period)))


def _forward_transform_backward(period, size, gradient):
    rows, cols = _forward_matrices(size, period)
    return (_inverse(gradient.parts, cols.T, rows.T),)


forward_transform.defvjp(lambda x, period: (forward_transform(x, period), x.shape[:2]), _forward_transform_backward)


def inverse_transform(spectrum: Spectrum, period: tuple[int, int], rows: np.ndarray, cols: np.ndarray) -> jax.Array:
    """Inverse of `forward_transform` at `rows` and `cols` only: (rows, cols, B, C)."""
    return _inverse_at(spectrum.parts, tuple(period), tuple(int(r) for r in rows), tuple(int(c) for c in cols))


@functools.partial(jax.custom_vjp, nondiff_argnums=(1, 2, 3))
def _inverse_at(parts, period, rows, cols):
    return _inverse(parts, *_inverse_matrices(period, rows, cols))


def _inverse_at_backward(period, rows, cols, _, gradient):
    columns, down = _inverse_matrices(period, rows, cols)
    return (_forward(gradient, down.T, columns.T),)


_inverse_at.defvjp(lambda parts, *at: (_inverse_at(parts, *at), None), _inverse_at_backward)


@jax.custom_vjp
def spectral_product(parts: jax.Array, kernel: PreparedKernel) -> jax.Array:
    """Complex product per frequency: (frequencies, 2, B, C_in) with a kernel -> (frequencies, 2, B, C_out)."""
    return _complex_product(parts, kernel.forward)


def _complex_product(parts: jax.Array, factors: jax.Array) -> jax.Array:
    count, _, batch, inputs = parts.shape
    # One real product gives Re Re, Re Im, Im Re and Im Im side by side.
    products = lax.dot_general(parts.reshape(count, 2 * batch, inputs), factors, (((2,), (1,)), ((0,), (0,))))
    products = products.reshape(count, 2, batch, 2, -1)
    real = products[:, 0, :, 0] - products[:, 1, :, 1]
    imaginary = products[:, 0, :, 1] + products[:, 1, :, 0]
    return jnp.stack([real, imaginary], 1)


def _spectral_product_backward(residuals, gradient):
    parts, kernel = residuals
    real, imaginary = parts[:, 0], parts[:, 1]
    up, down = gradient[:, 0], gradient[:, 1]
    over_batch = functools.partial(jnp.einsum, "fbi,fbo->fio")
    factors = [
        over_batch(real, up) + over_batch(imaginary, down),
        over_batch(real, down) - over_batch(imaginary, up),
    ]
    # The adjoint is a copy of the same numbers: their gradient is counted once.
    change = PreparedKernel(jnp.concatenate(factors, -1), jnp.zeros_like(kernel.adjoint))
    return _complex_product(gradient, kernel.adjoint), change


spectral_product.defvjp(lambda *both: (spectral_product(*both), both), _spectral_product_backward)


def kernel_spectrum(kernel: jax.Array, pads: int, period: tuple[int, int]) -> PreparedKernel:
    """Transform of a kernel (k, k, C_in, C_out): S(f) = sum_t w[t] exp(2 pi i f (t - pads) / N), N the period."""
    size, _, inputs, outputs = kernel.shape
    offsets = np.arange(size) - pads
    half = np.exp(2j * np.pi * np.outer(np.arange(period[0] // 2 + 1), offsets) / period[0])
    full = np.exp(2j * np.pi * np.outer(np.arange(period[1]), offsets) / period[1])
    both = np.einsum("ks,nt->knst", half, full).reshape(-1, size * size)
    flat = kernel.reshape(size * size, inputs * outputs)
    real, imaginary = (
        jnp.matmul(part.astype(np.float32), flat, precision=lax.Precision.HIGHEST).reshape(-1, inputs, outputs)
        for part in (both.real, both.imag)
    )
    adjoint = [jnp.swapaxes(real, 1, 2), -jnp.swapaxes(imaginary, 1, 2)]
    return PreparedKernel(
        jnp.concatenate([real, imaginary], -1), lax.stop_gradient(jnp.concatenate(adjoint, -1))
    )
