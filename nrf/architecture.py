"""The graph of a Neural Random Field: state layers, the connections between them, and the named architectures.

A model is a list of state layers s_0 (the image), s_1 ... s_L.  Layer i listens to some of them, its *inputs*, through
a network f_i.  This file holds only that wiring, as frozen dataclasses that can be hashed, printed and validated; the
arithmetic lives in `layers.py` and `energy.py`.
"""

from __future__ import annotations

import dataclasses
import enum
import functools
import json
import pathlib
from collections.abc import Mapping, Sequence

from runtime.errors import ConfigError, did_you_mean


class Kind(enum.IntEnum):
    """How an input layer reaches its target (the integers are those of the published configuration lists)."""

    BOTH = 0  # a convolution and a transposed convolution side by side, half of the output channels each
    CONV = 1
    TRANSPOSED = 2
    DENSE = 3


class Mixing(enum.StrEnum):
    """How the base maps of a network's convolutional inputs meet the activation phi, h being what it hands on.

    Only where inputs meet before phi can one input (the image, say) change how the network answers to another.
    """

    SEPARATE = "separate"  # h = [phi(A_j s_j)], one beside the other, as published
    JOINT = "joint"  # h = phi(sum_j A_j s_j)
    GATED = "gated"  # h = phi(sum_j A_j s_j) sigmoid(sum_j B_j s_j): the first half of the channels times the second


# Kernels whose padding, when it is not 0, keeps the size of the map whatever number was written down.
SIZE_KEEPING_KERNELS = (1, 3, 7, 11)


def effective_padding(kernel: int, padding: int) -> int:
    """Padding that is really used: 0 stays 0, kernels 1, 3, 7 and 11 keep the size, other kernels use what is given."""
    if padding == 0:
        return 0
    return (kernel - 1) // 2 if kernel in SIZE_KEEPING_KERNELS else padding


@dataclasses.dataclass(frozen=True)
class Input:
    """One connection: the source layer, its kind, and (unless dense) its kernel and padding in pixels."""

    source: int
    kind: Kind
    kernel: int = 0
    padding: int = 0

    @property
    def pads(self) -> int:
        """Padding of the equivalent ordinary convolution: p, or k - 1 - p for a transposed one of stride 1."""
        padding = effective_padding(self.kernel, self.padding)
        return self.kernel - 1 - padding if self.kind == Kind.TRANSPOSED else padding


@dataclasses.dataclass(frozen=True)
class StateLayer:
    """A state layer of C x H x W units and the wiring of the network f_i that drives it."""

    channels: int
    height: int
    width: int
    inputs: tuple[Input, ...]
    num_blocks: int = 0  # dense blocks in the convolutional part, hidden layers in the dense part
    main_kernel: int = 0  # kernel of the last convolution (or of the dense blocks), in pixels

    @property
    def size(self) -> tuple[int, int]:
        return (self.height, self.width)

    @property
    def units(self) -> int:
        return self.channels * self.height * self.width

    @property
    def conv_inputs(self) -> tuple[Input, ...]:
        return tuple(c for c in self.inputs if c.kind != Kind.DENSE)

    @property
    def dense_inputs(self) -> tuple[Input, ...]:
        return tuple(c for c in self.inputs if c.kind == Kind.DENSE)

    @property
    def block_kind(self) -> Kind:
        """Kind of the dense blocks: that of the convolutional inputs when they agree, both halves when they differ."""
        kinds = {c.kind for c in self.conv_inputs}
        return kinds.pop() if len(kinds) == 1 else Kind.BOTH


@dataclasses.dataclass(frozen=True)
class Architecture:
    """A whole model: state layers plus the widths that all networks share.  Raises ConfigError when it cannot work."""

    name: str
    layers: tuple[StateLayer, ...]
    base_channels: int  # output channels of every base convolution
    growth_rate: int  # channels that each dense block adds
    initializer_channels: int  # growth of the initializer's encoder
    spectral_norm: bool = False  # the architecture asks for spectral normalisation
    mixing: Mixing = Mixing.SEPARATE

    def __post_init__(self):
        for index, layer in enumerate(self.layers):
            _check_layer(self, index, layer)
        if self.mixing == Mixing.GATED and self.base_channels % 2:
            raise ConfigError(
                f"architecture '{self.name}': mixing 'gated' needs an even 'num_ch_base', not {self.base_channels}"
            )

    def state_shapes(self, batch: int) -> tuple[tuple[int, int, int, int], ...]:
        """Shapes (B, H, W, C) of the state arrays for a batch of `batch` images."""
        return tuple((batch, s.height, s.width, s.channels) for s in self.layers)

    @classmethod
    def from_lists(
        cls,
        name: str,
        *,
        state_sizes: Sequence[Sequence[int]],
        connect: Sequence[Sequence[int]],
        kind: Sequence[Sequence[int | str]],
        base_kernel_padding: Sequence[Sequence[Sequence[int]]],
        main_kernel: Sequence[int],
        num_layers: Sequence[int],
        num_ch_base: int,
        growth_rate: int,
        num_ch_initter: int,
        spec_norm_reg: bool | None = False,
        mixing: str = "separate",
    ) -> Architecture:
        """Build an architecture from one list per field, each with one entry per state layer.

        state_sizes: (C, H, W) of each layer; connect: input layers; kind: 0-3 or their names, one per input;
        base_kernel_padding: (kernel, padding) per input, () for dense ones; main_kernel, num_layers: one per layer;
        mixing: see `Mixing`.
        Raises ConfigError naming the layer and the field when the lists do not fit each other.
        """
        count = len(state_sizes)
        per_layer = {
            "connect": connect,
            "kind": kind,
            "base_kernel_padding": base_kernel_padding,
            "main_kernel": main_kernel,
            "num_layers": num_layers,
        }
        for field, values in per_layer.items():
            if len(values) != count:
                raise ConfigError(
                    f"architecture '{name}': '{field}' has {len(values)} entries but 'state_sizes' names {count} "
                    "state layers; give one entry per layer"
                )
        layers = []
        for i in range(count):
            if len(state_sizes[i]) != 3:
                raise ConfigError(f"architecture '{name}', layer {i}: 'state_sizes' must be (channels, height, width)")
            for field in ("kind", "base_kernel_padding"):
                if len(per_layer[field][i]) != len(connect[i]):
                    raise ConfigError(
                        f"architecture '{name}', layer {i}: '{field}' has {len(per_layer[field][i])} entries but "
                        f"'connect' has {len(connect[i])}; give one per input layer (() for a dense one)"
                    )
            inputs = []
            for source, each, kernel_padding in zip(connect[i], kind[i], base_kernel_padding[i], strict=True):
                each = _kind(name, i, each)
                if each == Kind.DENSE:
                    inputs.append(Input(int(source), each))
                elif len(kernel_padding) != 2:
                    raise ConfigError(
                        f"architecture '{name}', layer {i}: 'base_kernel_padding' of the input from layer {source} is "
                        f"{tuple(kernel_padding)}; give (kernel, padding)"
                    )
                else:
                    inputs.append(Input(int(source), each, int(kernel_padding[0]), int(kernel_padding[1])))
            channels, height, width = (int(v) for v in state_sizes[i])
            layers.append(StateLayer(channels, height, width, tuple(inputs), int(num_layers[i]), int(main_kernel[i])))
        if mixing not in tuple(Mixing):
            raise ConfigError(f"architecture '{name}': 'mixing' is '{mixing}'; use one of {', '.join(Mixing)}")
        widths = int(num_ch_base), int(growth_rate), int(num_ch_initter)
        return cls(name, tuple(layers), *widths, bool(spec_norm_reg), Mixing(mixing))

    @classmethod
    def from_dict(cls, name: str, fields: Mapping) -> Architecture:
        """Build an architecture from the published dictionaries, keyed by layer number as text ("0", "1", ...).

        They carry entries that nothing ever read: lists for layers that do not exist, kernels of dense inputs, inputs
        without a kind.  Those are dropped here, so what remains is what the original program ran.
        """
        get = functools.partial(_first_of, fields)
        sizes = [size[-3:] for size in get("state_sizes")]
        layers = [str(i) for i in range(len(sizes))]
        connect, kind = get("connect", "mod_connect_dict"), get("kind", "mod_cct_status_dict")
        kernels = get("base_kernel_padding", "base_kern_pad_dict")
        used = {i: min(len(connect[i]), len(kind[i])) for i in layers}
        padded = {i: list(kernels[i]) + [()] * used[i] for i in layers}
        return cls.from_lists(
            name,
            state_sizes=sizes,
            connect=[connect[i][: used[i]] for i in layers],
            kind=[kind[i][: used[i]] for i in layers],
            base_kernel_padding=[padded[i][: used[i]] for i in layers],
            main_kernel=[get("main_kernel", "main_kern_dict")[i] for i in layers],
            num_layers=[get("num_layers", "mod_num_lyr_dict")[i] for i in layers],
            num_ch_base=get("num_ch_base"),
            growth_rate=get("growth_rate"),
            num_ch_initter=get("num_ch_initter"),
            spec_norm_reg=fields.get("spec_norm_reg", False),
        )


def _first_of(fields: Mapping, *names: str):
    for name in names:
        if name in fields:
            return fields[name]
    raise ConfigError(f"the architecture dictionary lacks the field '{names[0]}'")


def _kind(name: str, layer: int, value: int | str) -> Kind:
    try:
        return Kind[value.upper()] if isinstance(value, str) else Kind(value)
    except (KeyError, ValueError):
        raise ConfigError(
            f"architecture '{name}', layer {layer}: 'kind' is {value!r}; use 0 or 'both', 1 or 'conv', "
            "2 or 'transposed', 3 or 'dense'"
        ) from None


def _check_layer(architecture: Architecture, index: int, layer: StateLayer) -> None:
    where = f"architecture '{architecture.name}', layer {index}"
    if min(layer.channels, layer.height, layer.width) < 1:
        raise ConfigError(f"{where}: 'state_sizes' is {(layer.channels, *layer.size)}; every number must be at least 1")
    if not layer.inputs:
        raise ConfigError(f"{where}: 'connect' is empty; name at least one input layer")
    if layer.num_blocks < 0:
        raise ConfigError(f"{where}: 'num_layers' is {layer.num_blocks}; it must be 0 or more")
    for each in layer.inputs:
        if not 0 <= each.source < len(architecture.layers):
            raise ConfigError(
                f"{where}: 'connect' names layer {each.source}, but the layers are 0 to {len(architecture.layers) - 1}"
            )
        if each.kind != Kind.DENSE:
            _check_kernel(architecture, where, each)
    if layer.conv_inputs:
        if layer.main_kernel not in SIZE_KEEPING_KERNELS:
            raise ConfigError(f"{where}: 'main_kernel' is {layer.main_kernel}; use one of {SIZE_KEEPING_KERNELS}")
        if layer.num_blocks and layer.block_kind == Kind.BOTH and architecture.growth_rate % 2:
            raise ConfigError(
                f"{where}: 'growth_rate' is {architecture.growth_rate}; dense blocks of both kinds need an even number"
            )


def _check_kernel(architecture: Architecture, where: str, each: Input) -> None:
    source = architecture.layers[each.source]
    if each.kernel < 1 or each.padding < 0:
        raise ConfigError(
            f"{where}: 'base_kernel_padding' of the input from layer {each.source} is {(each.kernel, each.padding)}; "
            "the kernel must be at least 1 and the padding at least 0"
        )
    if each.pads < 0:
        raise ConfigError(
            f"{where}: padding {each.padding} of the transposed input from layer {each.source} exceeds its kernel "
            f"{each.kernel} minus 1"
        )
    if each.kind == Kind.BOTH:
        if 2 * effective_padding(each.kernel, each.padding) != each.kernel - 1:
            raise ConfigError(
                f"{where}: the input from layer {each.source} has kind 'both' and (kernel, padding) "
                f"{(each.kernel, each.padding)}, whose halves differ in size; use padding (kernel - 1) / 2"
            )
        if architecture.base_channels % 2:
            raise ConfigError(f"{where}: kind 'both' needs an even 'num_ch_base', not {architecture.base_channels}")
    if min(source.size) + 2 * each.pads - each.kernel + 1 < 1:
        raise ConfigError(
            f"{where}: kernel {each.kernel} with padding {each.padding} does not fit layer {each.source} of "
            f"{source.height} x {source.width}; use a smaller kernel or more padding"
        )


@functools.cache
def _published() -> dict:
    return json.loads(pathlib.Path(__file__).with_name("architectures.json").read_text())


def architecture_names() -> tuple[str, ...]:
    """Names that `get_architecture` knows."""
    return tuple(_published())


def get_architecture(name: str) -> Architecture:
    """Return the architecture of that name (`architectures.json`); ConfigError with the nearest names if unknown."""
    if name not in _published():
        raise ConfigError(f"no architecture is called '{name}'{did_you_mean(name, architecture_names())}")
    return Architecture.from_lists(name, **_published()[name])
