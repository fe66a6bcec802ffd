"""NDN3's weights as plain arrays, into our parameters and back."""

import numpy as np

from runtime.config import ConfigError
from v1models import layer_specs as spec


def _kernel_name(layer):
    return "scale" if isinstance(layer, spec.LinearScale) else "kernel"


def import_weights(network_spec, arrays):
    """Parameters of our network from NDN3's weights.

    Arguments: network_spec; arrays, one (weights, biases) a layer with NDN3's shapes: dense and conv (inputs, outputs),
    Gaussians (8, F), sep (channels + pixels, outputs), biases (1, outputs). Returns {'layer0': {...}, …}.
    Raises ConfigError when a shape does not fit.
    """
    if len(arrays) != len(network_spec.layers):
        raise ConfigError(f"weights of {len(arrays)} layers for a network of {len(network_spec.layers)}.")
    params = {}
    for index, (layer, shape, (weights, biases)) in enumerate(
        zip(network_spec.layers, network_spec.shapes, arrays, strict=False)
    ):
        weights = np.asarray(weights)
        if isinstance(layer, spec.DifferenceOfGaussians):
            expected, named = (8, layer.features), {"gaussians": weights.reshape(2, 4, -1)}
        elif isinstance(layer, spec.LinearScale):
            expected, named = (1,), {"scale": weights}
        else:
            rows, columns, channels = layer.receptive_shape(shape)
            if layer.penalty_family == "factorised":
                expected = (channels + rows * columns, layer.features)
                named = {"features": weights[:channels], "mask": weights[channels:]}
            else:
                outputs = rows * columns if isinstance(layer, spec.ChannelFilter) else layer.features
                expected, named = (rows * columns * channels, outputs), {"kernel": weights}
        if weights.shape != expected:
            raise ConfigError(
                f"layer {index} ({type(layer).__name__}): weights of shape {weights.shape}, but it takes {expected}."
            )
        if layer.bias:
            named["bias"] = np.asarray(biases).reshape(-1)
        params[f"layer{index}"] = named
    return params


def export_weights(network_spec, params):
    """Inverse of `import_weights`: one (weights, biases) a layer in NDN3's shapes."""
    arrays = []
    for index, layer in enumerate(network_spec.layers):
        named = {name: np.asarray(value) for name, value in params[f"layer{index}"].items()}
        if isinstance(layer, spec.DifferenceOfGaussians):
            weights = named["gaussians"].reshape(8, -1)
        elif layer.penalty_family == "factorised":
            weights = np.concatenate([named["features"], named["mask"]])
        else:
            weights = named[_kernel_name(layer)]
        arrays.append((weights, named["bias"][None] if layer.bias else None))
    return arrays
