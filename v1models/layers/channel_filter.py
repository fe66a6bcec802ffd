"""A filter over channels at each place."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.layers.layer import Shape, require
from v1models.layers.weighted import Weighted, WeightedModule


@dataclass(frozen=True)
class ChannelFilter(Weighted):
    """y[p] = act(Σ_c w[c, p] x[p, c] + b[p]); keeps the grid, one channel out."""

    features: int = 1

    def __post_init__(self):
        super().__post_init__()
        require(self.features == 1, "ChannelFilter: it has one output channel; leave features at 1.")

    def output_shape(self, input_shape: Shape) -> Shape:
        return (*input_shape[:2], 1)

    def receptive_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, input_shape[2])

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"kernel": (input_shape[2], input_shape[0] * input_shape[1])}

    def bias_shape(self, input_shape: Shape) -> tuple[int, ...]:
        return (*input_shape[:2], 1)


class ChannelFilterModule(WeightedModule):
    """Computes a `ChannelFilter`."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        places = activity.reshape(activity.shape[0], -1, activity.shape[-1])
        drive = jnp.einsum("bpc,cp->bp", places, self.constrained()[0])
        return self.finish(drive.reshape(-1, *self.input_shape[:2], 1), train, drop)
