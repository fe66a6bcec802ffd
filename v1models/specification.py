"""A network as a list of layer descriptions: frozen, checked when it is built, written to and read from plain dicts.

Each kind of layer is its own dataclass with only the options that mean something for it, so an option in the wrong
place is an error and never ignored. `NetworkSpec` walks the shapes through the layers and checks what depends on them.

    NetworkSpec(input_shape=(31, 31, 1), layers=(
        DifferenceOfGaussians(9),
        Dense(20, activation='softplus', bias_initialiser='normal'),
        Dense(103, activation='softplus', bias_initialiser='normal', penalties={'l2': 0.1})))

Activities have the shape (batch, rows, columns, channels) everywhere; a layer without spatial extent has one row and
one column.
"""

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass

from v1models.layer_specs import (
    AddStreams,
    ChannelFilter,
    Convolution,
    ConvolutionalDifferenceOfGaussians,
    Dense,
    DifferenceOfGaussians,
    Factorised,
    FactorisedConvolution,
    Layer,
    LinearScale,
    MultiplyStreams,
    PointReadout,
    require,
)

LAYER_KINDS = {
    kind.__name__: kind
    for kind in (
        Dense,
        Convolution,
        DifferenceOfGaussians,
        ConvolutionalDifferenceOfGaussians,
        Factorised,
        FactorisedConvolution,
        LinearScale,
        PointReadout,
        AddStreams,
        MultiplyStreams,
        ChannelFilter,
    )
}


@dataclass(frozen=True)
class NetworkSpec:
    """Input shape (rows, columns, channels) and the layers in order; checked on construction."""

    input_shape: tuple[int, int, int]
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
    def shapes(self):
        """Shape of the input and of every layer's output."""
        shapes = [self.input_shape]
        for layer in self.layers:
            shapes.append(layer.output_shape(shapes[-1]))
        return tuple(shapes)

    def to_dict(self):
        """Plain nested dict (JSON), defaults left out."""
        return {"input_shape": list(self.input_shape), "layers": [_layer_to_dict(layer) for layer in self.layers]}

    @classmethod
    def from_dict(cls, description):
        """Inverse of `to_dict`. Raises ConfigError naming the layer and field that is wrong."""
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


def layer_from_dict(entry, where="layer"):
    """A layer from {'kind': name, option: value, …}. Raises ConfigError with the known kinds or options."""
    options = dict(entry)
    kind = options.pop("kind", None)
    require(kind in LAYER_KINDS, f"{where}: kind is {kind!r}; choose one of {', '.join(LAYER_KINDS)}.")
    known = {field.name for field in dataclasses.fields(LAYER_KINDS[kind])}
    required = {
        field.name
        for field in dataclasses.fields(LAYER_KINDS[kind])
        if field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    }
    unknown, missing = sorted(set(options) - known), sorted(required - set(options))
    require(not unknown, f"{where} ({kind}): unknown option {', '.join(unknown)}; it knows {', '.join(sorted(known))}.")
    require(not missing, f"{where} ({kind}): {', '.join(missing)} is missing.")
    return LAYER_KINDS[kind](**options)
