"""What layers with a free weight matrix share: signs, norms, initial values and penalties of it."""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

import jax
import jax.numpy as jnp

from v1models.constraints import NORMALIZATIONS, clamp_non_negative, normalize
from v1models.initializers import INITIALIZERS
from v1models.layers.layer import Layer, LayerModule, Shape, choose, float_dtype, require
from v1models.penalties import penalize


@dataclass(frozen=True)
class Weighted(Layer):
    """Options of layers with weights.

    Attributes:
        features: number of outputs, or of output channels.
        positive: W ≥ 0 in the forward pass.
        normalization: see `constraints.normalize`.
        weight_initializer, weight_scale: initial values.
    """

    features: int
    positive: bool = dataclasses.field(default=False, kw_only=True)
    normalization: str = dataclasses.field(default="none", kw_only=True)
    weight_initializer: str = dataclasses.field(default="normal", kw_only=True)
    weight_scale: float = dataclasses.field(default=0.1, kw_only=True)

    penalty_family = "weights"
    normalizations = NORMALIZATIONS
    signs = (False, True)

    def __post_init__(self):
        super().__post_init__()
        where = type(self).__name__
        require(self.features >= 1, f"{where}: features is {self.features}; at least 1.")
        choose(self.weight_initializer, INITIALIZERS, "weight_initializer", where)
        choose(self.normalization, self.normalizations, "normalization", where)
        choose(self.positive, self.signs, "positive", where)

    @property
    def constrained_positive(self) -> bool:
        return self.positive not in (False, "none")

    def output_shape(self, input_shape: Shape) -> Shape:
        return (1, 1, self.features)

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        rows, columns, channels = self.receptive_shape(input_shape)
        return {"kernel": (rows * columns * channels, self.features)}


class FreeModule(LayerModule):
    """Weights drawn by the specification's initializer, one array for each of its parameter shapes."""

    def build(self) -> None:
        shapes = self.layer.parameter_shapes(self.input_shape)
        self.free = {name: self.weight(name, shape) for name, shape in shapes.items()}

    def weight(self, name: str, shape: tuple[int, ...]) -> jax.Array:
        """A free array with the specification's initial values."""
        draw, scale = INITIALIZERS[self.layer.weight_initializer], self.layer.weight_scale
        return self.param(name, lambda key: draw(key, shape, scale, float_dtype()))


class WeightedModule(FreeModule):
    """Layers with one weight matrix (inputs, outputs) that can be clamped and normalized."""

    def constrained(self) -> tuple[jax.Array, jax.Array]:
        """Weights that the forward pass uses and weights that penalties see, both (inputs, outputs)."""
        kernel = self.free["kernel"]
        kernel = clamp_non_negative(kernel) if self.layer.positive else kernel
        return normalize(kernel, self.layer.normalization)

    def weights(self) -> dict[str, jax.Array]:
        used = self.constrained()[0]
        return {"kernel": used.reshape(*self.layer.receptive_shape(self.input_shape), used.shape[-1])}

    def penalty(self, strengths: Mapping[str, jax.Array]) -> jax.Array:
        seen = self.constrained()[1]
        seen = seen.reshape(*self.layer.receptive_shape(self.input_shape), seen.shape[-1])
        return sum((strength * penalize(name, seen) for name, strength in strengths.items()), jnp.zeros(()))
