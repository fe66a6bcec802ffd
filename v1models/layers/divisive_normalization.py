"""Divisive normalization: channels divide each other at every place.

Source: Heeger (1992), Visual Neuroscience 9, 181–197; learned pools as in Burg et al. (2021), PLoS Comput. Biol. 17(6):
e1009028.
"""

import dataclasses
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.layers.layer import Layer, LayerModule, Shape, float_dtype, require


@dataclass(frozen=True)
class DivisiveNormalization(Layer):
    """y_c = act(x_c^p / (σ_c^p + Σ_d w[d, c] x_d^p) + b_c) with x = max(x, 0) and w, σ > 0 by their softplus.

    Attributes:
        exponent: p.
        initial_weight, initial_constant: w and σ at the start, the same for all channels.
    """

    exponent: float = 2.0
    initial_weight: float = 0.1
    initial_constant: float = 1.0
    bias: bool = dataclasses.field(default=False, kw_only=True)

    def __post_init__(self):
        super().__post_init__()
        require(
            min(self.exponent, self.initial_weight, self.initial_constant) > 0,
            "DivisiveNormalization: exponent, initial_weight and initial_constant are positive.",
        )

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        return {"pool": (input_shape[2], input_shape[2]), "constant": (input_shape[2],)}


class DivisiveNormalizationModule(LayerModule):
    """Computes a `DivisiveNormalization`."""

    def build(self) -> None:
        shapes = self.layer.parameter_shapes(self.input_shape)
        starts = {"pool": self.layer.initial_weight, "constant": self.layer.initial_constant}
        self.free = {name: self.start(name, shapes[name], value) for name, value in starts.items()}

    def start(self, name: str, shape: tuple[int, ...], value: float) -> jax.Array:
        """A free array of which softplus makes `value` everywhere."""
        return self.param(name, lambda key: jnp.full(shape, jnp.log(jnp.expm1(value)), float_dtype()))

    def weights(self) -> dict[str, jax.Array]:
        return {name: jax.nn.softplus(value) for name, value in self.free.items()}

    def __call__(self, activity: jax.Array, train: bool = False, drop: jax.Array | None = None) -> jax.Array:
        weights, power = self.weights(), self.layer.exponent
        positive = activity > 0
        # The power of a number that is not positive would have no derivative for small exponents.
        raised = jnp.where(positive, jnp.where(positive, activity, 1.0) ** power, 0.0)
        return self.finish(raised / (weights["constant"] ** power + raised @ weights["pool"]), train, drop)
