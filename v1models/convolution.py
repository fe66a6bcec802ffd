"""Convolution and pooling that are fast where fits run: inside compiled loops, for many networks at once.

Two things make a library's convolution slow there. On a CPU, XLA rewrites convolutions into their fast form only
outside loops, and a training epoch is a loop. And `vmap` over networks turns one convolution into a grouped one, which
has no fast form on a CPU at all. A product of matrices has neither problem, so on a CPU a convolution becomes products:

    few input channels     all shifted copies of the input are laid side by side, then one product with the kernel
    many input channels    Σ over kernel places of (the input shifted there) · (the kernel's matrix at that place)

Accelerators use XLA's convolution. Both compute the same sums in another order.
"""

import jax
import jax.numpy as jnp
import numpy as np

DIMENSIONS = ("NHWC", "HWIO", "NHWC")
FEW_CHANNELS = 8


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
    height, width, channels = kernel.shape[:3]
    reach = ((height - 1) * dilation + 1, (width - 1) * dilation + 1)
    pads = jax.lax.padtype_to_pads(activity.shape[1:3], reach, strides, padding)
    padded = jnp.pad(activity, ((0, 0), *pads, (0, 0)))
    rows, columns = (
        (size - cover) // stride + 1 for size, cover, stride in zip(padded.shape[1:3], reach, strides, strict=True)
    )

    def down(u):
        return padded[:, u * dilation : u * dilation + (rows - 1) * strides[0] + 1 : strides[0]]

    def right(array, v):
        return array[..., v * dilation : v * dilation + (columns - 1) * strides[1] + 1 : strides[1], :]

    # Of a kernel that is wider than its input most places meet the padding alone and add nothing.
    tall, wide = (
        _meeting(count, size, before, stride, dilation, length)
        for count, size, (before, _), stride, length in zip(
            kernel.shape[:2], activity.shape[1:3], pads, strides, (rows, columns), strict=True
        )
    )
    if channels >= FEW_CHANNELS:
        return sum(right(down(u), v) @ kernel[u, v] for u in tall for v in wide)
    if (len(tall), len(wide)) != (height, width):
        kernel = kernel[np.array(tall)][:, np.array(wide)]
    # Rows first, then columns: h + w slices to compile in place of h · w.
    stacked = jnp.stack([down(u) for u in tall])
    places = jnp.stack([right(stacked, v) for v in wide])
    return jnp.einsum("vubijc,uvcn->bijn", places, kernel)


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
        (B, ⌈H/side⌉, ⌈W/side⌉, C). Equal largest values share the derivative.
    """
    batch, height, width, channels = activity.shape
    before = [(-size % side) // 2 for size in (height, width)]
    pads = [(first, -size % side - first) for first, size in zip(before, (height, width), strict=True)]
    padded = jnp.pad(activity, ((0, 0), *pads, (0, 0)), constant_values=-jnp.inf)
    windows = padded.reshape(batch, padded.shape[1] // side, side, padded.shape[2] // side, side, channels)
    return windows.max((2, 4))
