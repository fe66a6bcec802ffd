"""Weighted sum of input streams."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.layers.layer import Shape, require
from v1models.layers.weighted import Weighted, WeightedModule


@dataclass(frozen=True)
class AddStreams(Weighted):
    """yₙ = act(bₙ + Σ_s w[s, n] x[s, n]); the input is stream after stream of `features` numbers."""

    def streams(self, input_shape: Shape) -> int:
        """Number of streams in an input of that shape."""
        return input_shape[0] * input_shape[1] * input_shape[2] // self.features

    def check(self, input_shape: Shape, where: str) -> None:
        size = input_shape[0] * input_shape[1] * input_shape[2]
        require(
            size % self.features == 0,
            f"{where}: {size} inputs cannot be split into streams of {self.features} outputs.",
        )
        super().check(input_shape, where)

    def receptive_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, self.streams(input_shape))


class AddStreamsModule(WeightedModule):
    """Computes an `AddStreams` layer."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        streams = activity.reshape(activity.shape[0], -1, self.layer.features)
        drive = jnp.sum(streams * self.constrained()[0], axis=1)
        return self.finish(drive[:, None, None], train, drop)
