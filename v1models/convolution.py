"""Convolution and pooling that are fast where fits run: inside compiled loops, for many networks at once.

Two things make a library's convolution slow there. On a CPU, XLA rewrites convolutions into their fast form only
outside loops, and a training epoch is a loop. And `vmap` over networks turns one convolution into a grouped one, which
has no fast form on a CPU at all. A product of matrices has neither problem, so on a CPU a convolution becomes products:

    wide kernels     y[b, i] = Σᵤ x[b, i s + u d − p] · T[u], the copies of the input that are shifted along rows side
                     by side, and the kernel's row u as a banded (Toeplitz) matrix T[u] that convolves along columns
    narrow kernels   Σ over kernel places of (the input shifted there) · (the kernel's matrix at that place)

Most of a band is zeros where a kernel is narrow, but one large product runs so much faster than copies shifted both
ways that it wins for few channels always, and for many as long as the input has at most `BAND` times the kernel's
columns: 2 to 100 times for the first convolutions of models of V1.  Accelerators use XLA's convolution.  All compute
the same sums in another order.
"""

from functools import reduce

import jax
import jax.numpy as jnp
import numpy as np

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
FEW_CHANNELS = 8
BAND = 4


def convolve(
    activity: jax.Array,
    kernel: jax.Array,
    strides: tuple[int, int],
    dilation: int,
    padding: str,
    as_products: bool | None = None,
) -> jax.Array:
    """Cross-correlation y[b, i, j, n] = Σ x[b, i s + u d − p, j s + v d − q, c] w[u, v, c, n].

    Args:
        activity: (B, H, W, C).
        kernel: (h, w, C, N).
        strides: of rows and columns.
        dilation: pixels between two of a kernel's places.
        padding: 'SAME' (as TensorFlow: what is over goes after) or 'VALID'.
        as_products: whether to write it as products of matrices, None: on a CPU.

    Returns:
        (B, rows, columns, N).
    """
    if not (jax.default_backend() == "cpu" if as_products is None else as_products):
        return jax.lax.conv_general_dilated(
            activity, kernel, strides, padding, rhs_dilation=(dilation, dilation), dimension_numbers=DIMENSIONS
        )
    batch, _, across, channels = activity.shape
    height, width, _, features = kernel.shape
    reach = ((height - 1) * dilation + 1, (width - 1) * dilation + 1)
    pads = jax.lax.padtype_to_pads(activity.shape[1:3], reach, strides, padding)
    rows, columns = (
        (size + sum(pad) - cover) // stride + 1
        for size, pad, cover, stride in zip(activity.shape[1:3], pads, reach, strides, strict=True)
    )
    # Of a kernel that is wider than its input most places meet the padding alone and add nothing.
    tall, wide = (
        _meeting(count, size, before, stride, dilation, length)
        for count, size, (before, _), stride, length in zip(
            kernel.shape[:2], activity.shape[1:3], pads, strides, (rows, columns), strict=True
        )
    )
    padded = jnp.pad(activity, ((0, 0), pads[0], (0, 0), (0, 0)))

    def down(u):
        return padded[:, u * dilation : u * dilation + (rows - 1) * strides[0] + 1 : strides[0]]

    if channels < FEW_CHANNELS or across <= BAND * width:
        # Column x of the input meets place v of the kernel at column j of the output: padding needs no columns.
        starts = np.arange(columns)[:, None] * strides[1] - pads[1][0]
        meets = np.arange(across)[:, None, None] == starts + np.arange(width) * dilation
        used = kernel if len(tall) == height else kernel[np.array(tall)]
        band = jnp.einsum("xjv,uvcn->uxcjn", meets.astype(kernel.dtype), used)
        shifted = jnp.stack([down(u) for u in tall], axis=2).reshape(batch * rows, -1)
        return (shifted @ band.reshape(-1, columns * features)).reshape(batch, rows, columns, features)
    padded = jnp.pad(padded, ((0, 0), (0, 0), pads[1], (0, 0)))

    def right(array, v):
        return array[..., v * dilation : v * dilation + (columns - 1) * strides[1] + 1 : strides[1], :]

    return sum(right(down(u), v) @ kernel[u, v] for u in tall for v in wide)


def _meeting(count, size, before, stride, dilation, length):
    """Places 0 ≤ u < count of a kernel with 0 ≤ i stride + u dilation − before < size for an output i < length."""
    return [
        u for u in range(count) if any(0 <= i * stride + u * dilation - before < size for i in range(length))
    ]


def max_pool(activity: jax.Array, side: int) -> jax.Array:
    """Largest value in windows of side×side pixels that do not overlap; short windows at the end ('SAME').

    Args:
        activity: (B, H, W, C).
        side: of a window, pixels.

    Returns:
        (B, ⌈H/side⌉, ⌈W/side⌉, C). Of equal largest values the first has the derivative.
    """
    batch, height, width, channels = activity.shape
    before = [(-size % side) // 2 for size in (height, width)]
    pads = [(first, -size % side - first) for first, size in zip(before, (height, width), strict=True)]
    padded = jnp.pad(activity, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    windows = padded.reshape(batch, padded.shape[1] // side, side, padded.shape[2] // side, side, channels)

    # Not windows.max: its derivative asks which value *equals* the largest, and XLA may compute an activation anew for
    # that question, with other rounding, and find none: 0/0.  A choice between two hands its derivative to one of them.
    def larger(best, one):
        return jnp.where((one > best) | jnp.isnan(one), one, best)

    return reduce(larger, (windows[:, :, row, :, column] for row in range(side) for column in range(side)))
