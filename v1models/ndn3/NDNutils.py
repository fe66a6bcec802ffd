"""Stands in for NDN3's `NDNutils`: the parameter dictionary of a network, from NDN3's own keywords."""

from collections.abc import Mapping, Sequence
from typing import Any

from runtime.errors import ConfigError
from v1models.ndn3.adapter import ACTIVATIONS, KINDS, check_penalty


def ffnetwork_params(
    input_dims: Sequence[int] | int | None = None,
    layer_sizes: Sequence[Any] | None = None,
    layer_types: Sequence[str] | None = None,
    act_funcs: Sequence[str] | str = "relu",
    time_expand: Sequence[int] | int | None = None,
    ei_layers: Sequence[int | None] | None = None,
    reg_list: Mapping[str, Any] | None = None,
    xstim_n: int | Sequence[int] | None = 0,
    ffnet_n: int | Sequence[int] | None = None,
    normalization: Sequence[int] | None = None,
    network_type: str = "normal",
    verbose: bool = True,
    log_activations: bool = False,
    conv_filter_widths: Sequence[int | None] | int | None = None,
    shift_spacing: Sequence[int | None] | int | None = 1,
    dilation: Sequence[int | None] | int | None = 1,
) -> dict[str, Any]:
    """The dictionary that describes a network to `NDN.NDN`; every entry can be changed before it is given there.

    Lists that are shorter than the network are filled up: normalization with 0, widths, strides and dilation with None,
    penalties with none. The values of layers that take no such option (the stride of a dense layer) mean nothing.

    Args:
        input_dims: [channels, columns, rows]; what is missing at the end is 1.
        layer_sizes: outputs of each layer; filters of a convolution.
        layer_types: one of NDN3's names each, such as 'normal', 'conv', 'sep', 'diff_of_gaussians'.
        act_funcs: one name for all layers or a list.
        ei_layers: number of inhibitory outputs of each layer, the last ones; None for a layer without signs. The layer
            after one with a number has non-negative weights.
        reg_list: {penalty: list of strengths, None for none}; a number alone is the first layer's.
        normalization: 0, 1, 2 or -1 for each layer.
        conv_filter_widths: pixels a side of convolutional filters.
        shift_spacing: stride of convolutions, a number for all layers or a list.
        dilation: of convolutional difference-of-Gaussians filters, likewise.
        verbose: whether to print a line for each layer.
        time_expand, xstim_n, ffnet_n, network_type, log_activations: only the values of a single network on one static
            stimulus: 0, 0, None, 'normal', False.

    Returns:
        The dictionary; `weights_initializers` is 'normal' throughout, `biases_initializers` absent, which means zeros.

    Raises:
        ConfigError: an argument that is missing, not supported or unknown: says which.
    """
    for name, value in (("input_dims", input_dims), ("layer_sizes", layer_sizes), ("layer_types", layer_types)):
        if value is None:
            raise ConfigError(f"ffnetwork_params: {name} is missing.")
    single = {"xstim_n": 0, "ffnet_n": None, "network_type": "normal", "log_activations": False, "time_expand": None}
    given = {"xstim_n": xstim_n, "ffnet_n": ffnet_n, "network_type": network_type, "log_activations": log_activations,
             "time_expand": time_expand if any(_as_list(time_expand, 1)) else None}  # fmt: skip
    for name, value in given.items():
        if value not in (single[name], [single[name]]):
            raise ConfigError(
                f"ffnetwork_params: {name}={value!r} is not supported; only a single network on one static stimulus "
                f"is, {name}={single[name]!r}."
            )
    count = len(layer_sizes)
    if count < 1 or len(layer_types) != count:
        raise ConfigError(f"ffnetwork_params: {len(layer_types)} layer_types for {count} layers; give one each.")
    unknown = [kind for kind in layer_types if kind not in KINDS]
    if unknown:
        raise ConfigError(f"ffnetwork_params: unknown layer type {unknown[0]!r}; known are {', '.join(sorted(KINDS))}.")
    activations = _as_list(act_funcs, count)
    if len(activations) != count or any(name not in ACTIVATIONS for name in activations):
        raise ConfigError(
            f"ffnetwork_params: act_funcs is {act_funcs!r}; give one name or one for each of {count} layers, of "
            f"{', '.join(ACTIVATIONS)}."
        )
    inhibitory, positive = _signs(ei_layers, count)
    params = {
        "network_type": network_type,
        "xstim_n": [0],
        "ffnet_n": None,
        "input_dims": ([*_as_list(input_dims, 1), 1, 1])[:3],
        "layer_sizes": list(layer_sizes),
        "layer_types": list(layer_types),
        "activation_funcs": activations,
        "normalize_weights": _filled("normalization", normalization or [], count, 0),
        "time_expand": [0] * count,
        "reg_initializers": _penalties(reg_list or {}, count),
        "weights_initializers": ["normal"] * count,
        "num_inh": inhibitory,
        "pos_constraints": positive,
        "log_activations": log_activations,
        # A width alone is the first layer's; a stride or dilation alone is every layer's.
        "conv_filter_widths": _filled("conv_filter_widths", _as_list(conv_filter_widths, 1), count, None),
        "shift_spacing": _spacing("shift_spacing", shift_spacing, count),
        "dilation": _spacing("dilation", dilation, count),
    }
    if verbose:
        print(f"Input dimensions: {params['input_dims']}")
        for index, (kind, size) in enumerate(zip(layer_types, layer_sizes, strict=True)):
            print(f"{index}: {kind} ({activations[index]}), {size} outputs, {inhibitory[index]} of them inhibitory")
    return params


def _as_list(value, count):
    return list(value) if isinstance(value, (list, tuple)) else [value] * count


def _filled(name, values, count, filler):
    if len(values) > count:
        raise ConfigError(f"ffnetwork_params: {name} has {len(values)} entries for {count} layers.")
    return [*values, *[filler] * (count - len(values))]


def _spacing(name, value, count):
    return [1] * count if value is None else _filled(name, _as_list(value, count), count, None)


def _signs(ei_layers, count):
    """Numbers of inhibitory outputs, and constraints of the layers that read them."""
    inhibitory, positive = [0] * count, [None] * count
    for index, number in enumerate(_filled("ei_layers", ei_layers or [], count, None)):
        if number is not None and number >= 0:
            inhibitory[index] = number
            if index + 1 < count:
                positive[index + 1] = True
    return inhibitory, positive


def _penalties(reg_list, count):
    penalties = [{} for _ in range(count)]
    for name, strengths in reg_list.items():
        values = _filled(f"reg_list[{name!r}]", _as_list(strengths, 1), count, None)
        for index, strength in enumerate(values):
            check_penalty(name, 0.5 if strength is None else strength, f"ffnetwork_params: reg_list, layer {index}")
            if strength is not None:
                penalties[index][name] = strength
    return penalties
