"""One multiplier and one offset for all of the input."""

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.layers.layer import Layer, LayerModule, Shape, float_dtype


@dataclass(frozen=True)
class LinearScale(Layer):
    """y = act(w x + b) with numbers w, which starts at 1, and b."""

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"scale": (1,)}

    def bias_shape(self, input_shape: Shape) -> tuple[int, ...]:
        return (1,)


class LinearScaleModule(LayerModule):
    """Computes a `LinearScale`."""

    def build(self) -> None:
        self.scale = self.param("scale", lambda key: jnp.ones((1,), float_dtype()))

    def weights(self) -> dict[str, jax.Array]:
        return {"scale": self.scale}

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        return self.finish(activity * self.scale, train, drop)
