"""Dense layer: every output reads the whole input."""

from dataclasses import dataclass

import jax

from v1models.layers.weighted import Weighted, WeightedModule


@dataclass(frozen=True)
class Dense(Weighted):
    """y = act(xW + b)."""


class DenseModule(WeightedModule):
    """Computes a `Dense` layer."""

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        drive = activity.reshape(activity.shape[0], -1) @ self.constrained()[0]
        return self.finish(drive[:, None, None], train, drop)
