"""A network: its layers in order, the loss-side penalties, and the numbers that a sweep may vary.

    network = Network(NetworkSpec(...))
    variables = network.init(key, images)
    rates = network.apply(variables, images)                                     # (B, N)
    activities = network.apply(variables, images, method='activities')           # one (B, rows, columns, channels) a
    layer cost = network.apply(variables, strengths, method='penalty')

Penalty strengths and dropout probabilities are arguments (`default_strengths`, `default_dropout`), so that networks
which differ only in such numbers share one compiled program and can be trained side by side.
"""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
from flax import linen as nn

from runtime.errors import ConfigError
from v1models.layers import KINDS
from v1models.layers.layer import Shape
from v1models.specification import NetworkSpec

Strengths = Mapping[str, Mapping[str, jax.Array]]  # {layer index: {penalty: λ}}


def as_images(array: Any, input_shape: Shape) -> Any:
    """Rows of pixels as images (n, rows, columns, channels).

    Args:
        array: (n, rows·columns·channels) in the order row, column, channel (channel fastest), or (n, rows, columns), or
            the result's own shape.
        input_shape: (rows, columns, channels).

    Raises:
        ConfigError: the sizes disagree.
    """
    rows, columns, channels = input_shape
    accepted = [(rows * columns * channels,), (rows, columns, channels)] + ([(rows, columns)] if channels == 1 else [])
    if tuple(array.shape[1:]) not in accepted:
        raise ConfigError(
            f"images of shape {tuple(array.shape)} do not fit a network for {rows}×{columns} pixels and "
            f"{channels} channel(s); give (n, {rows * columns * channels}) or "
            f"(n, {rows}, {columns}, {channels})."
        )
    return array.reshape(array.shape[0], rows, columns, channels)


class Network(nn.Module):
    """The model of a population; field `spec`, a NetworkSpec."""

    spec: NetworkSpec

    def setup(self) -> None:
        self.layers = [
            KINDS[type(layer).__name__].module(layer, shape, name=f"layer{index}")
            for index, (layer, shape) in enumerate(zip(self.spec.layers, self.spec.shapes, strict=False))
        ]

    def activities(
        self, images: jax.Array, train: bool = False, dropout: Mapping[str, jax.Array] | None = None
    ) -> tuple[jax.Array, ...]:
        """Output of every layer, a tuple of (B, rows, columns, channels).

        Args:
            images: see `as_images`.
            train: draw dropout masks (rng 'dropout') and use the batch's own statistics.
            dropout: {layer index: drop probability} as `default_dropout` gives.
        """
        activity, activities = as_images(images, self.spec.input_shape), []
        dropout = {} if dropout is None else dropout
        for index, layer in enumerate(self.layers):
            activity = layer(activity, train=train, drop=dropout.get(str(index)))
            activities.append(activity)
        return tuple(activities)

    def __call__(
        self, images: jax.Array, train: bool = False, dropout: Mapping[str, jax.Array] | None = None
    ) -> jax.Array:
        """Predicted responses (B, N)."""
        return self.activities(images, train, dropout)[-1].reshape(images.shape[0], -1)

    def penalty(self, strengths: Strengths) -> jax.Array:
        """Sum of all penalties for strengths as `default_strengths` gives."""
        return sum((self.layers[int(index)].penalty(named) for index, named in strengths.items()), jnp.zeros(()))

    def weights(self) -> tuple[dict[str, jax.Array], ...]:
        """Constrained weights of every layer, a tuple of dicts (kernels are (rows, columns, channels, outputs))."""
        return tuple(layer.weights() for layer in self.layers)


def default_strengths(spec: NetworkSpec) -> dict[str, dict[str, jax.Array]]:
    """{layer index: {penalty: λ}} of a specification, as float arrays."""
    return {
        str(index): {name: jnp.asarray(float(strength)) for name, strength in layer.penalties.items()}
        for index, layer in enumerate(spec.layers)
        if layer.penalties
    }


def default_dropout(spec: NetworkSpec) -> dict[str, jax.Array]:
    """{layer index: drop probability} of a specification, only of layers that drop."""
    return {str(index): jnp.asarray(float(layer.dropout)) for index, layer in enumerate(spec.layers) if layer.dropout}


def initialize(network: Network, key: jax.Array, mean_rates: jax.Array | None = None) -> dict[str, Any]:
    """Initial variables of a network.

    Args:
        network: the network.
        key: of the draw.
        mean_rates: (N,) or None: when given, the last layer's bias becomes ln(e^r̄ − 1), so that a softplus readout
            without drive predicts the mean response (Klindt et al. 2017).

    Raises:
        ConfigError: mean rates are given to a last layer without bias or with another activation.
    """
    variables = jax.jit(network.init)(key, jnp.zeros((1, *network.spec.input_shape)))
    if mean_rates is None:
        return variables
    last = network.spec.layers[-1]
    if not last.bias or last.activation != "softplus":
        raise ConfigError(
            "mean rates set the bias of a softplus output layer, but the last layer has "
            f"{'activation ' + last.activation if last.bias else 'no bias'}."
        )
    rates = jnp.maximum(jnp.asarray(mean_rates), 1e-4)
    name = f"layer{len(network.spec.layers) - 1}"
    params = {**variables["params"], name: {**variables["params"][name], "bias": jnp.log(jnp.expm1(rates))}}
    return {**variables, "params": params}
