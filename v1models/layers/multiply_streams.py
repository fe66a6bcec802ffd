"""One input stream gates another."""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.constraints import clamp_non_negative
from v1models.layers.add_streams import AddStreams
from v1models.layers.layer import Shape, require
from v1models.layers.weighted import WeightedModule


@dataclass(frozen=True)
class MultiplyStreams(AddStreams):
    """yₙ = act(bₙ + xₙ · max(1 + wₙ gₙ, 0)), the input being x, then g; w starts at 1."""

    weight_initializer: str = dataclasses.field(default="ones", kw_only=True)

    def check(self, input_shape: Shape, where: str) -> None:
        super().check(input_shape, where)
        require(
            self.streams(input_shape) == 2,
            f"{where}: needs an input of two streams, 2 × {self.features} numbers, not {self.streams(input_shape)}.",
        )
        require(self.normalization == "none", f"{where}: gains are not normalized; set normalization to none.")

    def receptive_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, 1)


class MultiplyStreamsModule(WeightedModule):
    """Computes a `MultiplyStreams` layer."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        driven, gate = jnp.moveaxis(activity.reshape(activity.shape[0], 2, self.layer.features), 1, 0)
        drive = driven * clamp_non_negative(1 + self.constrained()[0] * gate)
        return self.finish(drive[:, None, None], train, drop)
