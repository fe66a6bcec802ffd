"""NDN3's weights as plain arrays, into our parameters and back.

NDN3 keeps one matrix a layer, its last axis the outputs. Ours are the same numbers under names: a matrix is the rows of
our arrays one after another (`Layer.parameter_shapes`), so a what/where matrix is [k_t; k_s] and Gaussians are 8 rows.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from runtime.errors import ConfigError
from v1models.specification import NetworkSpec

Arrays = Sequence[tuple[Any, Any]]  # (weights, biases) of each layer, in NDN3's shapes


def import_weights(network: NetworkSpec, arrays: Arrays) -> dict[str, dict[str, np.ndarray]]:
    """Parameters of our network from NDN3's weights.

    Args:
        network: the specification of the network.
        arrays: one (weights, biases) a layer with NDN3's shapes: dense and conv (inputs, outputs), Gaussians (8, F),
            sep (channels + pixels, outputs), biases (1, outputs).

    Returns:
        {'layer0': {…}, …}.

    Raises:
        ConfigError: a shape does not fit.
    """
    if len(arrays) != len(network.layers):
        raise ConfigError(f"weights of {len(arrays)} layers for a network of {len(network.layers)}.")
    params = {}
    for index, (layer, shape, (weights, biases)) in enumerate(
        zip(network.layers, network.shapes, arrays, strict=False)
    ):
        weights, shapes = np.asarray(weights), layer.parameter_shapes(shape)
        rows = {name: int(np.prod(size[:-1])) for name, size in shapes.items()}
        outputs = next(iter(shapes.values()))[-1]
        if weights.size != sum(rows.values()) * outputs or weights.shape[-1:] != (outputs,):
            raise ConfigError(
                f"layer {index} ({type(layer).__name__}): weights of shape {weights.shape}, but it takes "
                f"{(sum(rows.values()), outputs)}."
            )
        parts = np.split(weights.reshape(-1, outputs), np.cumsum(list(rows.values()))[:-1])
        named = {name: part.reshape(shapes[name]) for name, part in zip(shapes, parts, strict=True)}
        if layer.bias:
            size = layer.bias_shape(shape)
            if np.size(biases) != np.prod(size):
                raise ConfigError(
                    f"layer {index} ({type(layer).__name__}): biases of shape {np.shape(biases)}, but it takes "
                    f"{(1, int(np.prod(size)))}."
                )
            named["bias"] = np.asarray(biases).reshape(size)
        params[f"layer{index}"] = named
    return params


def export_weights(network: NetworkSpec, params: Mapping[str, Mapping[str, Any]]) -> list[tuple[Any, Any]]:
    """Inverse of `import_weights`: one (weights, biases) a layer in NDN3's shapes, biases None where there are none."""
    arrays = []
    for index, (layer, shape) in enumerate(zip(network.layers, network.shapes, strict=False)):
        named = {name: np.asarray(value) for name, value in params[f"layer{index}"].items()}
        parts = [named[name].reshape(-1, size[-1]) for name, size in layer.parameter_shapes(shape).items()]
        arrays.append((np.concatenate(parts), named["bias"].reshape(1, -1) if layer.bias else None))
    return arrays
