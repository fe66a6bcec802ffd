"""What all layers share: a frozen specification, and the Flax module that computes with it.

A layer is two classes in one file. The *specification*, a frozen dataclass, has the options that mean something for its
kind, walks shapes and refuses what does not fit. The *module* holds the weights and computes. `v1models.layers` lists
all kinds. Shapes are (rows, columns, channels) of one activity, without the batch axis.
"""

import dataclasses
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn
from flax.core import FrozenDict

from runtime.errors import ConfigError
from v1models.constraints import inhibitory_signs
from v1models.convolution import max_pool
from v1models.initializers import INITIALIZERS
from v1models.layers.activations import ACTIVATIONS
from v1models.penalties import check_penalties

DROPOUT_MASKS = ("entry", "unit")
BATCH_NORM_MOMENTUM = 0.9

Shape = tuple[int, int, int]


def require(condition: Any, message: str) -> None:
    """Raises a `ConfigError` with this message unless the condition holds."""
    if not condition:
        raise ConfigError(message)


def choose(value: Any, choices: Collection, field: str, where: str) -> None:
    """Raises a `ConfigError` that lists the choices unless `value` is one of them."""
    require(value in choices, f"{where}: {field} is {value!r}; choose one of {', '.join(map(str, choices))}.")


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Options that every layer has.

    Attributes:
        activation: one of ACTIVATIONS, after the bias.
        bias: whether there is one per output; bias_initializer, bias_scale: its initial values.
        inhibitory: the last so many outputs are multiplied by −1 after the activation.
        dropout: DROP probability of outputs in training, survivors divided by the keep probability.
        dropout_mask: 'entry' draws every number by itself, 'unit' draws once per unit for the whole batch.
        batch_norm: normalize over the batch before the activation (decay 0.9, learned offset, no learned scale).
        penalties: {name: strength}.
    """

    activation: str = "linear"
    bias: bool = True
    bias_initializer: str = "zeros"
    bias_scale: float = 0.1
    inhibitory: int = 0
    dropout: float = 0.0
    dropout_mask: str = "entry"
    batch_norm: bool = False
    penalties: Mapping[str, float] = dataclasses.field(default_factory=FrozenDict)

    penalty_family = "none"

    def __post_init__(self):
        where = type(self).__name__
        object.__setattr__(self, "penalties", FrozenDict(self.penalties))
        choose(self.activation, ACTIVATIONS, "activation", where)
        choose(self.bias_initializer, INITIALIZERS, "bias_initializer", where)
        choose(self.dropout_mask, DROPOUT_MASKS, "dropout_mask", where)
        require(
            0 <= self.dropout < 1,
            f"{where}: dropout is {self.dropout}, the probability to DROP an output; "
            "it must be at least 0 and below 1.",
        )
        require(
            self.bias_initializer not in ("lecun_normal", "he_normal"),
            f"{where}: bias_initializer {self.bias_initializer!r} scales with a fan-in, which a bias has not.",
        )
        require(not (self.batch_norm and self.bias), f"{where}: batch_norm has its own offset; set bias=False.")

    @property
    def constrained_positive(self) -> bool:
        """Whether the weights that read the previous layer are non-negative."""
        return False

    def output_shape(self, input_shape: Shape) -> Shape:
        """Shape of the outputs for inputs of that shape."""
        return input_shape

    def receptive_shape(self, input_shape: Shape) -> Shape:
        """Rows, columns and channels that one output's weights cover."""
        return input_shape

    def parameter_shapes(self, input_shape: Shape) -> dict[str, tuple[int, ...]]:
        """Shapes of the free weights by name, the bias apart."""
        return {}

    def bias_shape(self, input_shape: Shape) -> tuple[int, ...]:
        """Shape of the bias: one number a channel."""
        return (self.output_shape(input_shape)[-1],)

    def check(self, input_shape: Shape, where: str) -> None:
        """Raises a `ConfigError` that names `where` if an option does not fit the input."""
        check_penalties(self.penalties, self.penalty_family, self.receptive_shape(input_shape), where)
        require(
            0 <= self.inhibitory <= self.output_shape(input_shape)[-1],
            f"{where}: inhibitory is {self.inhibitory}, more than its outputs or negative.",
        )


class LayerModule(nn.Module):
    """The steps around every layer's linear part: batch normalization, bias, activation, signs, pooling, dropout.

    Attributes:
        layer: its specification.
        input_shape: (rows, columns, channels) of its input.
    """

    layer: Layer
    input_shape: Shape

    def setup(self) -> None:
        layer = self.layer
        if layer.bias:
            draw = INITIALIZERS[layer.bias_initializer]
            shape = layer.bias_shape(self.input_shape)
            self.bias = self.param("bias", lambda key: draw(key, shape, layer.bias_scale, float_dtype()))
        if layer.batch_norm:
            self.norm = nn.BatchNorm(momentum=BATCH_NORM_MOMENTUM, use_scale=False, use_bias=True)
        self.build()

    def build(self) -> None:
        """Makes the weights."""

    def finish(self, drive: jax.Array, train: bool, drop: jax.Array | None) -> jax.Array:
        """Activity (B, rows, columns, channels) from the linear part's output of that shape.

        Args:
            drive: output of the linear part.
            train: whether to use the batch's own statistics and to draw dropout masks.
            drop: drop probability, or None for none.
        """
        layer = self.layer
        if layer.batch_norm:
            drive = self.norm(drive, use_running_average=not train)
        if layer.bias:
            drive = drive + self.bias
        activity = ACTIVATIONS[layer.activation](drive)
        if layer.inhibitory:
            activity = activity * inhibitory_signs(activity.shape[-1], layer.inhibitory, activity.dtype)
        if getattr(layer, "pool", 1) > 1:
            activity = max_pool(activity, layer.pool)
        if train and drop is not None:
            shape = (1, *activity.shape[1:]) if layer.dropout_mask == "unit" else activity.shape
            kept = jax.random.bernoulli(self.make_rng("dropout"), 1 - drop, shape)
            activity = jnp.where(kept, activity / (1 - drop), 0)
        return activity

    def weights(self) -> dict[str, jax.Array]:
        """Constrained weights as the forward pass uses them, by name."""
        return {}

    def penalty(self, strengths: Mapping[str, jax.Array]) -> jax.Array:
        """Σ λ · penalty over {name: λ}."""
        return jnp.zeros(())


def float_dtype() -> jnp.dtype:
    """JAX's default float type."""
    return jnp.zeros(()).dtype
