"""Penalties on weights: sums of λ · (a function of the constrained weights), added to the loss.

Every function takes weights laid out as receptive fields, w of shape (H, W, C, N): rows and columns of the input grid,
its channels, and the outputs; it returns one number, summed over outputs. Finite differences treat everything outside
the grid as zero.

Which penalty makes sense depends on the layer, and `check_penalties` refuses the rest when a network is built, because
a penalty that silently does nothing is an experiment reported wrongly.

Sources: NDN3 (the first fifteen); group sparsity and the normalized smoothness, Klindt et al. (2017), NIPS 30,
"Neural system identification for large populations separating 'what' and 'where'".
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp
import numpy as np

from runtime.errors import ConfigError


@jax.custom_jvp
def _magnitude(weights):
    return jnp.abs(weights)


@_magnitude.defjvp
def _magnitude_derivative(primals, tangents):
    # The subgradient 0 at w = 0 leaves a weight that the clamp has set to zero where it is.
    (weights,), (tangent,) = primals, tangents
    return jnp.abs(weights), jnp.sign(weights) * tangent


def l1(w: jax.Array) -> jax.Array:
    """Σ|w|, with derivative 0 at w = 0."""
    return jnp.sum(_magnitude(w))


def l2(w: jax.Array) -> jax.Array:
    """½ Σw²."""
    return 0.5 * jnp.sum(jnp.square(w))


def norm2(w: jax.Array) -> jax.Array:
    """(Σw² − N)², N the number of outputs."""
    return jnp.square(jnp.sum(jnp.square(w)) - w.shape[-1])


def orthogonality(w: jax.Array) -> jax.Array:
    """‖WᵀW − I‖²_F over the flattened receptive fields W (inputs, outputs)."""
    flat = w.reshape(-1, w.shape[-1])
    return jnp.sum(jnp.square(flat.T @ flat - jnp.eye(flat.shape[1], dtype=w.dtype)))


def _neighbor_sum(w, axis):
    padding = [(0, 0)] * w.ndim
    padding[axis] = (1, 1)
    padded = jnp.pad(w, padding)
    size = w.shape[axis]
    return jax.lax.slice_in_dim(padded, 0, size, axis=axis) + jax.lax.slice_in_dim(padded, 2, size + 2, axis=axis)


def _laplacian(w):
    # An axis of length one has no neighbors and is left out, also of the center's weight.
    return sum((_neighbor_sum(w, axis) - 2 * w for axis in (0, 1) if w.shape[axis] > 1), jnp.zeros_like(w))


def smoothness_channels(w: jax.Array) -> jax.Array:
    """Σ(D w)², D the second difference [1, −2, 1] along channels (d2t)."""
    return jnp.sum(jnp.square(_neighbor_sum(w, 2) - 2 * w))


def smoothness_space(w: jax.Array) -> jax.Array:
    """Σ(Δw)², Δ the five-point Laplacian with center −4 (three-point on one row or column), per channel (d2x)."""
    return jnp.sum(jnp.square(_laplacian(w)))


def smoothness_both(w: jax.Array) -> jax.Array:
    """Σ((Δ + D) w)²: space and channels in one seven-point stencil with center −6 (d2xt)."""
    return jnp.sum(jnp.square(_laplacian(w) + _neighbor_sum(w, 2) - 2 * w))


def _pairs(w, axes):
    squared = jnp.square(w)
    return jnp.sum(jnp.square(jnp.sum(squared, axis=axes))) - jnp.sum(jnp.square(squared))


def competition(w: jax.Array) -> jax.Array:
    """Σₙ[(Σᵢ wᵢₙ²)² − Σᵢ wᵢₙ⁴]: all inputs of an output compete (max)."""
    return _pairs(w, (0, 1, 2))


def competition_channels(w: jax.Array) -> jax.Array:
    """The same over the channels of each pixel (max_filt)."""
    return _pairs(w, 2)


def competition_space(w: jax.Array) -> jax.Array:
    """The same over the pixels of each channel (max_space)."""
    return _pairs(w, (0, 1))


def _grid(w):
    rows = jnp.arange(w.shape[0], dtype=w.dtype)[:, None]
    columns = jnp.arange(w.shape[1], dtype=w.dtype)[None, :]
    return rows, columns


def centrality(w: jax.Array) -> jax.Array:
    """0.01 · Σ[(x − (W−1)/2)² + (y − (H−1)/2)²] w²: weights far from the middle cost more (center)."""
    rows, columns = _grid(w)
    distance = jnp.square(rows - (w.shape[0] - 1) / 2) + jnp.square(columns - (w.shape[1] - 1) / 2)
    return 0.01 * jnp.sum(distance[..., None, None] * jnp.square(w))


def _spread(mass):
    # Σ_pp' q_p q_p' |r_p − r_p'|² = 2 (Σq)(Σq|r|²) − 2 |Σ q r|², which needs no P×P matrix.
    rows, columns = (coordinate[..., None] for coordinate in _grid(mass))
    total = jnp.sum(mass, (0, 1))
    second = jnp.sum((jnp.square(rows) + jnp.square(columns)) * mass, (0, 1))
    first = jnp.square(jnp.sum(rows * mass, (0, 1))) + jnp.square(jnp.sum(columns * mass, (0, 1)))
    scale = (mass.shape[0] / 2) ** 2 + (mass.shape[1] / 2) ** 2
    return jnp.sum(2 * total * second - 2 * first) / scale


def locality(w: jax.Array) -> jax.Array:
    """Σ qᵀAq with q = w², A the squared distance of two pixels / ((W/2)² + (H/2)²), within a channel (local)."""
    squared = jnp.square(w)
    return _spread(squared.reshape(*w.shape[:2], -1))


def locality_across_channels(w: jax.Array) -> jax.Array:
    """The same over all pairs of channels (glocal)."""
    return _spread(jnp.sum(jnp.square(w), axis=2))


def group_sparsity(w: jax.Array) -> jax.Array:
    """Σ_{c,n} √(Σ_xy w²): whole kernels are switched off together."""
    squared = jnp.sum(jnp.square(w), (0, 1))
    positive = squared > 0
    return jnp.sum(jnp.where(positive, jnp.sqrt(jnp.where(positive, squared, 1.0)), 0.0))


SMOOTHNESS_KERNEL = np.array([[0.25, 0.5, 0.25], [0.5, -3.0, 0.5], [0.25, 0.5, 0.25]])


def smoothness_normalized(w: jax.Array) -> jax.Array:
    """Σ_{c,n} [Σ(K∗w)² / Σw²], K = [[¼, ½, ¼], [½, −3, ½], [¼, ½, ¼]]: smooth whatever the kernel's size is."""
    rows, columns = w.shape[:2]
    padded = jnp.pad(w, ((1, 1), (1, 1), (0, 0), (0, 0)))
    filtered = sum(
        float(SMOOTHNESS_KERNEL[i, j]) * padded[i : i + rows, j : j + columns] for i in range(3) for j in range(3)
    )
    energy = jnp.sum(jnp.square(w), (0, 1))
    return jnp.sum(jnp.sum(jnp.square(filtered), (0, 1)) / jnp.where(energy > 1e-12, energy, 1e-12))


# Names as in NDN3, so that its parameter dictionaries and the papers' tables read the same here.
PENALTIES = {
    "l1": l1,
    "l2": l2,
    "norm2": norm2,
    "orth": orthogonality,
    "d2t": smoothness_channels,
    "d2x": smoothness_space,
    "d2xt": smoothness_both,
    "max": competition,
    "max_filt": competition_channels,
    "max_space": competition_space,
    "center": centrality,
    "local": locality,
    "glocal": locality_across_channels,
    "group_sparsity": group_sparsity,
    "smoothness": smoothness_normalized,
}
# A factorized layer y = Σ k_s k_t x is penalized on its vector over channels k_t, on its mask k_s, or on both joined.
FACTORIZED_JOINT = {"l1": l1, "l2": l2, "norm2": norm2}
FACTORIZED_FEATURES = {"d2t": smoothness_channels, "max_filt": competition_channels, "norm2_filt": norm2}
FACTORIZED_MASK = {
    "d2x": smoothness_space,
    "center": centrality,
    "max_space": competition_space,
    "local": locality,
    "norm2_space": norm2,
}
# The penalties that each family of layers takes: a free matrix, two factors, or neither.
FAMILIES: dict[str, tuple[str, ...]] = {
    "weights": tuple(PENALTIES),
    "factorized": ("product_l1", *FACTORIZED_JOINT, *FACTORIZED_FEATURES, *FACTORIZED_MASK),
    "none": (),
}
NEEDS_SPACE = ("d2x", "d2xt")
NEEDS_CHANNELS = ("d2t",)


def penalize(name: str, w: jax.Array) -> jax.Array:
    """The penalty `name` (λ = 1) of receptive fields w (H, W, C, N)."""
    return PENALTIES[name](w)


def penalize_factorized(name: str, features: jax.Array, mask: jax.Array) -> jax.Array:
    """The penalty `name` (λ = 1) of a factorized layer.

    'product_l1' is Σₙ ‖k_s‖₁ ‖k_t‖₁ (Klindt et al. 2017).

    Args:
        name: of the penalty.
        features: k_t (C, N).
        mask: k_s (H, W, N).
    """
    if name == "product_l1":
        return jnp.sum(jnp.sum(_magnitude(features), 0) * jnp.sum(_magnitude(mask), (0, 1)))
    if name in FACTORIZED_FEATURES:
        return FACTORIZED_FEATURES[name](features[None, None])
    if name in FACTORIZED_MASK:
        return FACTORIZED_MASK[name](mask[:, :, None])
    joined = jnp.concatenate([features, mask.reshape(-1, mask.shape[-1])])
    return FACTORIZED_JOINT[name](joined[None, None])


def check_penalties(penalties: Mapping[str, float], family: str, shape: tuple[int, int, int], where: str) -> None:
    """Refuse penalties that are unknown, inapplicable, negative, or undefined on this shape.

    Args:
        penalties: {name: strength}.
        family: 'weights' (dense, convolution), 'factorized' (what/where) or 'none' (layers without a free matrix).
        shape: (H, W, C) of one receptive field.
        where: the layer, for the message.

    Raises:
        ConfigError: names the layer and the penalty.
    """
    known = FAMILIES[family]
    height, width, channels = shape
    for name, strength in penalties.items():
        if name not in known:
            raise ConfigError(
                f"{where}: the penalty {name!r} does not apply to this kind of layer; "
                f"choose from {', '.join(sorted(known)) or 'none (it takes no penalty)'}."
            )
        if not np.isfinite(strength) or strength < 0:
            raise ConfigError(f"{where}: the strength of penalty {name!r} is {strength}; it must be finite and ≥ 0.")
        if family == "weights" and name in NEEDS_SPACE and height * width == 1:
            raise ConfigError(
                f"{where}: the penalty {name!r} needs an input with rows or columns, but this layer reads "
                f"{channels} channels without spatial extent; use l1, l2 or max."
            )
        if family == "weights" and name in NEEDS_CHANNELS and channels == 1:
            raise ConfigError(f"{where}: the penalty {name!r} works along channels, but there is only one; use d2x.")
