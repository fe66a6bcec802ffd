"""Convolutions that stay fast inside compiled loops.

A sampler calls the same frozen convolutions hundreds of times inside one `lax.scan`.  Two facts decide how they are
written here:

* XLA on CPU only rewrites convolutions into its fast form in the entry computation.  Inside a loop, the input and
  weight gradients that automatic differentiation produces take a path 12 to 28 times slower.  `direct` therefore
  defines its own gradients, each again an ordinary NHWC/HWIO convolution.
* Weights do not change while sampling, so a kernel's discrete Fourier transform is computed once per phase and the
  convolution becomes a product per frequency.  The transforms of maps of at most a few dozen pixels are cheapest as
  matrix products, which also need no special gradient rule and may be evaluated only at the pixels that a nearest-
  neighbour resize keeps.

A convolution is a static plan (`Convolution`) plus arrays: `prepare` turns a kernel into what the plan needs, `apply`
uses it.  Maps are laid out (H, W, B, C) here, so that transforms over pixels are plain matrix products.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax

from nrf.spectral import (
    PreparedKernel,
    Spectrum,
    forward_transform,
    inverse_transform,
    kernel_spectrum,
    spectral_product,
)

METHODS = ("auto", "direct", "spectral")


def nearest_index(source: int, target: int) -> np.ndarray:
    """Indices that nearest-neighbour resizing reads: floor(d * source / target) in float32, as torch computes them."""
    scale = np.float32(source) / np.float32(target)
    index = np.floor(np.arange(target, dtype=np.float32) * scale).astype(int)
    return np.minimum(index, source - 1)


@dataclasses.dataclass(frozen=True)
class Convolution:
    """Plan of a stride-1 correlation, y[o] = sum_t x[o + t - pads] w[t], then a nearest-neighbour resize to `target`.

    size: (H, W) of the input; kernel, pads: pixels; target: (H, W) of the result, None to keep the convolution's own.
    `method` is 'pointwise' (1 x 1 kernels), 'direct' or 'spectral'.  `period` is that of the circular convolution which
    equals the zero-padded one; n + pads along each axis is the least that does.
    """

    size: tuple[int, int]
    kernel: int
    pads: int
    target: tuple[int, int] | None = None
    method: str = "direct"
    period: tuple[int, int] | None = None

    @property
    def map_size(self) -> tuple[int, int]:
        """Size of the convolution's own output, before resizing."""
        return tuple(n + 2 * self.pads - self.kernel + 1 for n in self.size)

    @property
    def kept(self) -> tuple[np.ndarray, np.ndarray]:
        """Output rows and columns that are computed: all of them, or those that a shrinking resize reads."""
        target = self.target or self.map_size
        return tuple(
            np.arange(m) if t >= m else nearest_index(m, t) for m, t in zip(self.map_size, target, strict=True)
        )


def plan(
    size: tuple[int, int],
    kernel: int,
    pads: int,
    channels: tuple[int, int],
    target: tuple[int, int] | None = None,
    method: str = "auto",
    backend: str | None = None,
) -> Convolution:
    """Choose how to convolve maps of `size` from channels[0] to channels[1] channels.

    'auto' takes plain convolutions on accelerators; on a CPU it takes whichever needs fewer multiplications, counting
    the transforms.  1 x 1 kernels are matrix products in any case.  Raises ValueError for an unknown method.
    """
    if method not in METHODS:
        raise ValueError(f"convolution method {method!r} is unknown; use one of {', '.join(METHODS)}")
    period = tuple(n + pads for n in size)
    candidate = Convolution(tuple(size), kernel, pads, target and tuple(target), "direct", period)
    if kernel == 1 and pads == 0:
        return dataclasses.replace(candidate, method="pointwise")
    if method == "auto":
        on_cpu = (backend or jax.default_backend()) == "cpu"
        cheaper = _spectral_products(candidate, *channels) < _direct_products(candidate, *channels)
        method = "spectral" if on_cpu and cheaper else "direct"
    return dataclasses.replace(candidate, method=method)


def share_period(convolutions: Sequence[Convolution]) -> list[Convolution]:
    """The same plans with one common period, so that all of them can use one transform of the map they read."""
    period = tuple(max(c.period[axis] for c in convolutions) for axis in (0, 1))
    return [dataclasses.replace(c, period=period) for c in convolutions]


def _direct_products(conv: Convolution, inputs: int, outputs: int) -> float:
    rows, cols = conv.kept
    products = rows.size * cols.size * conv.kernel**2 * inputs * outputs
    # Skipping pixels directly means moving blocks of them into channels, which costs more than the products.
    return products if (rows.size, cols.size) == conv.map_size else 4 * products


def _spectral_products(conv: Convolution, inputs: int, outputs: int) -> float:
    (height, width), (rows, cols) = conv.size, (k.size for k in conv.kept)
    half, full = conv.period[0] // 2 + 1, conv.period[1]
    forward = 2 * half * width * (height + 2 * full)
    backward = 2 * half * cols * (rows + 2 * full)
    return 4 * half * full * inputs * outputs + forward * inputs + backward * outputs


# --- arrays --------------------------------------------------------------------------------------------------------


def prepare(conv: Convolution, kernel: jax.Array) -> jax.Array | PreparedKernel:
    """Bring a kernel (k, k, C_in, C_out) into the form that `apply` multiplies by; differentiable, once per phase."""
    return kernel_spectrum(kernel, conv.pads, conv.period) if conv.method == "spectral" else kernel


def apply(conv: Convolution, x: jax.Array | Spectrum, prepared, bias: jax.Array | None = None) -> jax.Array:
    """Convolve a map (H, W, B, C_in), or its `forward_transform`, into the rows and columns that the plan keeps.

    Returns (rows, cols, B, C_out); `expand` then repeats pixels if the plan's target is larger.
    """
    if conv.method == "spectral":
        spectrum = x if isinstance(x, Spectrum) else forward_transform(x, conv.period)
        product = Spectrum(spectral_product(spectrum.parts, prepared))
        y = inverse_transform(product, conv.period, *conv.kept)
    elif conv.method == "pointwise":
        rows, cols = conv.kept
        y = jnp.einsum("hwbc,co->hwbo", select(select(x, rows, 0), cols, 1), prepared[0, 0])
    else:
        y = jnp.transpose(_direct(conv, jnp.transpose(x, (2, 0, 1, 3)), prepared), (1, 2, 0, 3))
    return y if bias is None else y + bias


def expand(conv: Convolution, y: jax.Array) -> jax.Array:
    """Finish the resize of a plan whose target is larger than its map: repeat rows and columns of (H, W, B, C)."""
    if conv.target is None:
        return y
    for axis in (0, 1):
        if conv.target[axis] > conv.map_size[axis]:
            y = select(y, nearest_index(conv.map_size[axis], conv.target[axis]), axis)
    return y


def resize(x: jax.Array, target: tuple[int, int]) -> jax.Array:
    """Nearest-neighbour resize of (H, W, B, C) to target (H, W) with torch's indices."""
    for axis in (0, 1):
        x = select(x, nearest_index(x.shape[axis], target[axis]), axis)
    return x


def select(x: jax.Array, index: np.ndarray, axis: int) -> jax.Array:
    """x taken at fixed `index` along `axis` (0 or 1), with a gradient that needs no scatter.

    Whole-number enlargements are broadcasts; everything else is a product with a 0/1 matrix, exact in any precision
    that keeps float32 factors of 0 and 1 (hence the explicit `highest`).
    """
    size = x.shape[axis]
    if np.array_equal(index, np.arange(size)):
        return x
    if index.size % size == 0 and np.array_equal(index, np.arange(index.size) // (index.size // size)):
        repeats = index.size // size
        shape = (*x.shape[:axis + 1], repeats, *x.shape[axis + 1:])
        repeated = jnp.broadcast_to(jnp.expand_dims(x, axis + 1), shape)
        return repeated.reshape((*x.shape[:axis], index.size, *x.shape[axis + 1:]))
    chosen = jnp.asarray(np.eye(size, dtype=np.float32)[index], x.dtype)
    equation = "sh,hwbc->swbc" if axis == 0 else "sw,hwbc->hsbc"
    return jnp.einsum(equation, chosen, x, precision=lax.Precision.HIGHEST)


# --- direct form ---------------------------------------------------------------------------------------------------


def _direct(conv: Convolution, x: jax.Array, kernel: jax.Array) -> jax.Array:
    """Direct convolution of (B, H, W, C), strided where the plan keeps every r-th pixel."""
    stride = _stride(conv)
    if stride > 1:
        return _strided(conv, x, kernel, stride)
    y = jnp.transpose(canonical_convolution(x, kernel, conv.pads), (1, 2, 0, 3))
    rows, cols = conv.kept
    return jnp.transpose(select(select(y, rows, 0), cols, 1), (2, 0, 1, 3))


def _stride(conv: Convolution) -> int:
    """r if the kept rows and columns are 0, r, 2r ..., else 1 (then pixels are selected after a full convolution)."""
    strides = {int(k[1] - k[0]) if k.size > 1 else 0 for k in conv.kept} - {0}
    if len(strides) != 1:
        return 1
    stride = strides.pop()
    regular = all(np.array_equal(k, stride * np.arange(k.size)) for k in conv.kept)
    return stride if regular else 1


def _strided(conv: Convolution, x: jax.Array, kernel: jax.Array, stride: int) -> jax.Array:
    """Strided convolution as a stride-1 one over blocks of stride x stride pixels moved into channels.

    Written so because the input gradient of a strided convolution is a dilated one, which is slow inside loops.
    """
    rows, cols = (k.size for k in conv.kept)
    blocks = -(-conv.kernel // stride)
    batch, height, width, channels = x.shape
    need = [(n + blocks - 1) * stride for n in (rows, cols)]
    ends = [n - size - conv.pads for n, size in zip(need, (height, width), strict=True)]
    # A negative end crops pixels that no kept output reads.
    x = lax.pad(x, jnp.zeros((), x.dtype), ((0, 0, 0), (conv.pads, ends[0], 0), (conv.pads, ends[1], 0), (0, 0, 0)))
    x = x.reshape(batch, need[0] // stride, stride, need[1] // stride, stride, channels)
    x = jnp.transpose(x, (0, 1, 3, 2, 4, 5)).reshape(batch, need[0] // stride, need[1] // stride, -1)
    extra = blocks * stride - conv.kernel
    kernel = jnp.pad(kernel, ((0, extra), (0, extra), (0, 0), (0, 0)))
    kernel = kernel.reshape(blocks, stride, blocks, stride, channels, -1)
    kernel = jnp.transpose(kernel, (0, 2, 1, 3, 4, 5)).reshape(blocks, blocks, stride * stride * channels, -1)
    return canonical_convolution(x, kernel, 0)


@functools.partial(jax.custom_vjp, nondiff_argnums=(2,))
def canonical_convolution(x: jax.Array, kernel: jax.Array, pads: int) -> jax.Array:
    """Stride-1 correlation of x (B, H, W, C_in) with kernel (k, k, C_in, C_out), zero padding `pads` on every side.

    Both gradients are convolutions of the same NHWC/HWIO form: dx correlates dy with the flipped kernel, its channels
    exchanged; dw correlates x with dy, the batch playing the part of the input channels.
    """
    return _canonical(x, kernel, pads)


def _canonical(x, kernel, pads):
    padding = (pads, pads) if isinstance(pads, int) else pads
    return lax.conv_general_dilated(
        x, kernel, (1, 1), (padding, padding), dimension_numbers=("NHWC", "HWIO", "NHWC")
    )


def _canonical_forward(x, kernel, pads):
    return _canonical(x, kernel, pads), (x, kernel)


def _canonical_backward(pads, residuals, dy):
    x, kernel = residuals
    flipped = jnp.transpose(jnp.flip(kernel, (0, 1)), (0, 1, 3, 2))
    dx = _canonical(dy, flipped, kernel.shape[0] - 1 - pads)
    dw = _canonical(jnp.transpose(x, (3, 1, 2, 0)), jnp.transpose(dy, (1, 2, 0, 3)), pads)
    return dx, jnp.transpose(dw, (1, 2, 0, 3))


canonical_convolution.defvjp(_canonical_forward, _canonical_backward)
