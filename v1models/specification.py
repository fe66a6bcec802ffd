"""A network as a list of layer descriptions: frozen, checked when it is built, written to and read from plain dicts.

Each kind of layer is its own dataclass with only the options that mean something for it, so an option in the wrong
place is an error and never ignored. `NetworkSpec` walks the shapes through the layers and checks what depends on them.

    NetworkSpec(input_shape=(31, 31, 1), layers=(
        DifferenceOfGaussians(9),
        Dense(20, activation='softplus', bias_initializer='normal'),
        Dense(103, activation='softplus', bias_initializer='normal', penalties={'l2': 0.1})))

Activities have the shape (batch, rows, columns, channels) everywhere; a layer without spatial extent has one row and
one column.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from v1models.layers import KINDS, Layer
from v1models.layers.layer import Shape, require

# Names that descriptions written by earlier versions use, beside ours.
EARLIER_NAMES = {
    "Factorised": "Factorized",
    "FactorisedConvolution": "FactorizedConvolution",
    "bias_initialiser": "bias_initializer",
    "weight_initialiser": "weight_initializer",
    "normalisation": "normalization",
}


@dataclass(frozen=True)
class NetworkSpec:
    """A network, checked on construction.

    Attributes:
        input_shape: rows, columns and channels of its input.
        layers: the layers in order.
    """

    input_shape: Shape
    layers: tuple[Layer, ...]

    def __post_init__(self):
        object.__setattr__(self, "input_shape", tuple(int(size) for size in self.input_shape))
        object.__setattr__(self, "layers", tuple(self.layers))
        require(
            len(self.input_shape) == 3 and min(self.input_shape) >= 1,
            f"input_shape is {self.input_shape}; give (rows, columns, channels).",
        )
        require(self.layers, "a network needs at least one layer.")
        shape, previous = self.input_shape, None
        for index, layer in enumerate(self.layers):
            where = f"layer {index} ({type(layer).__name__})"
            layer.check(shape, where)
            require(
                not (previous and previous.inhibitory) or layer.constrained_positive,
                f"{where}: reads a layer with {previous.inhibitory if previous else 0} inhibitory outputs, so its "
                "weights must be non-negative; set positive.",
            )
            shape, previous = layer.output_shape(shape), layer

    @property
    def shapes(self) -> tuple[Shape, ...]:
        """Shape of the input and of every layer's output."""
        shapes = [self.input_shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return tuple(shapes)

    def to_dict(self) -> dict[str, Any]:
        """Plain nested dict (JSON), defaults left out."""
        return {"input_shape": list(self.input_shape), "layers": [_layer_to_dict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> "NetworkSpec":
        """Inverse of `to_dict`; raises a `ConfigError` naming the layer and field that is wrong."""
        unknown = set(description) - {"input_shape", "layers"}
        require(not unknown, f"a network has input_shape and layers, not {', '.join(sorted(unknown))}.")
        layers = [layer_from_dict(entry, f"layer {index}") for index, entry in enumerate(description["layers"])]
        return cls(tuple(description["input_shape"]), tuple(layers))


def _layer_to_dict(layer):
    entry = {"kind": type(layer).__name__}
    for field in dataclasses.fields(layer):
        value = getattr(layer, field.name)
        if value == field.default or (field.name == "penalties" and not value):
            continue
        entry[field.name] = dict(value) if isinstance(value, Mapping) else value
    return entry


def layer_from_dict(entry: Mapping[str, Any], where: str = "layer") -> Layer:
    """A layer from {'kind': name, option: value, …}; raises a `ConfigError` with the known kinds or options."""
    options = {EARLIER_NAMES.get(name, name): value for name, value in entry.items()}
    kind = options.pop("kind", None)
    kind = EARLIER_NAMES.get(kind, kind)
    require(kind in KINDS, f"{where}: kind is {kind!r}; choose one of {', '.join(KINDS)}.")
    fields = dataclasses.fields(KINDS[kind].layer)
    known = {field.name for field in fields}
    required = {
        field.name
        for field in fields
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    unknown, missing = sorted(set(options) - known), sorted(required - set(options))
    require(not unknown, f"{where} ({kind}): unknown option {', '.join(unknown)}; it knows {', '.join(sorted(known))}.")
    require(not missing, f"{where} ({kind}): {', '.join(missing)} is missing.")
    return KINDS[kind].layer(**options)
