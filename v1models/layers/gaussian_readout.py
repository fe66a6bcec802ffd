"""Gaussian read-out: every output reads the channels at one place, which is learned by drawing around it.

Source: Lurz et al. (2021), ICLR, "Generalization in data-driven models of primary visual cortex".
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.constraints import clip_with_open_border
from v1models.layers.layer import Shape, float_dtype, require
from v1models.layers.weighted import Weighted, WeightedModule


@dataclass(frozen=True)
class GaussianReadout(Weighted):
    """yₙ = act(bₙ + Σ_c w[c, n] x(μₙ + Aₙ ε, c)), x interpolated bilinearly between places of the grid.

    In training ε ~ N(0, 1)² is drawn for every image and output, so that the gradient sees the surroundings of μₙ; a
    prediction reads at μₙ. Places are (row, column) from −1, the first, to 1, the last. Only the weights w are
    penalized.

    Attributes:
        initial_range: initial μ are uniform within ± this.
        initial_spread: initial A is this times the identity.
    """

    initial_range: float = dataclasses.field(default=0.3, kw_only=True)
    initial_spread: float = dataclasses.field(default=0.3, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        require(
            0 <= self.initial_range <= 1 and self.initial_spread >= 0,
            f"GaussianReadout: initial_range is {self.initial_range}, from 0 to 1, and initial_spread "
            f"{self.initial_spread}, at least 0.",
        )

    def receptive_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, input_shape[2])

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"kernel": (input_shape[2], self.features), "place": (2, self.features), "spread": (2, 2, self.features)}


class GaussianReadoutModule(WeightedModule):
    """Computes a `GaussianReadout`."""

    def build(self) -> None:
        layer, shapes = self.layer, self.layer.parameter_shapes(self.input_shape)
        self.free = {"kernel": self.weight("kernel", shapes["kernel"])}
        self.place = self.param(
            "place",
            lambda key: jax.random.uniform(
                key, shapes["place"], float_dtype(), -layer.initial_range, layer.initial_range
            ),
        )
        self.spread = self.param(
            "spread",
            lambda key: layer.initial_spread * jnp.eye(2, dtype=float_dtype())[..., None].repeat(layer.features, 2),
        )

    def weights(self) -> dict[str, jax.Array]:
        return {**super().weights(), "place": clip_with_open_border(self.place, -1.0, 1.0)}

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        places = self.place[None]
        if train:
            noise = jax.random.normal(self.make_rng("dropout"), (activity.shape[0], *self.place.shape), places.dtype)
            places = places + jnp.einsum("ijn,bjn->bin", self.spread, noise)
        values = interpolate(activity, clip_with_open_border(places, -1.0, 1.0))
        drive = jnp.einsum("bnc,cn->bn", values, self.constrained()[0])
        return self.finish(drive[:, None, None], train, drop)


def interpolate(activity: jax.Array, places: jax.Array) -> jax.Array:
    """Channels at places between those of the grid, bilinearly.

    Args:
        activity: (B, rows, columns, C).
        places: (B, 2, N) or (1, 2, N), row and column of each from −1, the first, to 1, the last.

    Returns:
        (B, N, C).
    """
    size = jnp.asarray(activity.shape[1:3], places.dtype)[:, None]
    position = (places + 1) / 2 * (size - 1)
    # The last place lies at the end of the last interval.
    first = jnp.clip(jnp.floor(jax.lax.stop_gradient(position)), 0, jnp.maximum(size - 2, 0))
    fraction = position - first
    batch = jnp.arange(activity.shape[0])[:, None]
    total = jnp.zeros((activity.shape[0], places.shape[2], activity.shape[3]), activity.dtype)
    for row in (0, 1):
        for column in (0, 1):
            corner = jnp.minimum(first + jnp.asarray([row, column], first.dtype)[:, None], size - 1).astype(jnp.int32)
            weight = jnp.where(row, fraction[:, 0], 1 - fraction[:, 0]) * jnp.where(
                column, fraction[:, 1], 1 - fraction[:, 1]
            )
            total = total + weight[..., None] * activity[batch, corner[:, 0], corner[:, 1]]
    return total
