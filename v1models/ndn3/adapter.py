"""NDN3's parameter dictionaries as networks of ours.

NDN3 (Butts lab; the fork used by the V1 experiment suite) describes a network by a dictionary of lists, one entry a
layer. `network_from_parameters` turns one into a `NetworkSpec`; `quirks.Quirks` says which of NDN3's peculiarities it
keeps; `weights` carries weights over as plain arrays.

NDN3 keeps activity flat: feature f at column x and row y of a W×H grid with F features has index f + F (x + W y), which
is the row-major order of (rows, columns, channels); its `input_dims` are [channels, columns, rows].
"""

from collections.abc import Mapping
from typing import Any

import numpy as np

from runtime.errors import ConfigError
from v1models import layers
from v1models.gaussians import GaussianBounds
from v1models.layers import Layer
from v1models.layers.layer import Shape
from v1models.ndn3.quirks import NDN3, Quirks
from v1models.specification import NetworkSpec

AMPLITUDE_RANGE = (float(np.finfo(np.float64).eps), 10.0)
ACTIVATIONS = {
    "lin": "linear",
    "relu": "relu",
    "leaky_relu": "leaky_relu",
    "softplus": "softplus",
    "exp": "exponential",
    "sigmoid": "sigmoid",
    "tanh": "tanh",
    "quad": "quadratic",
    "elu": "elu",
    "requ": "rectified_quadratic",
}
KINDS = {name: kind.layer for kind in layers.KINDS.values() for name in kind.ndn3}
FULL_GAUSSIANS, CONVOLVED_GAUSSIANS = "diff_of_gaussians", "conv_diff_of_gaussians"
IDLE_PENALTIES = {"normal": {"norm2_space", "norm2_filt", "max_level"}, "sep": {"orth", "max_level"}}
PENALTY_NAMES = {
    "l1",
    "l2",
    "norm2",
    "norm2_space",
    "norm2_filt",
    "orth",
    "d2t",
    "d2x",
    "d2xt",
    "max",
    "max_filt",
    "max_space",
    "max_level",
    "center",
    "local",
    "glocal",
}
# Entries of a parameter dictionary, one a layer, with the value NDN3 takes for an absent list.
LAYER_LISTS = {
    "activation_funcs": "relu",
    "normalize_weights": 0,
    "time_expand": 0,
    "reg_initializers": None,
    "weights_initializers": "normal",
    "biases_initializers": "zeros",
    "num_inh": 0,
    "pos_constraints": None,
    "conv_filter_widths": None,
    "shift_spacing": 1,
    "dilation": 1,
    "bounds": None,
    "xy_out": None,
}
NETWORK_ENTRIES = {"network_type": "normal", "xstim_n": [0], "ffnet_n": None, "log_activations": False}


def layer_entries(params: Mapping[str, Any]) -> list[dict[str, Any]]:
    """A parameter dictionary as one dict a layer, defaults filled in; raises a `ConfigError` for what is not known."""
    known = {"input_dims", "layer_sizes", "layer_types", *LAYER_LISTS, *NETWORK_ENTRIES}
    unknown, missing = sorted(set(params) - known), {"input_dims", "layer_sizes", "layer_types"} - set(params)
    if unknown or missing:
        raise ConfigError(
            f"parameter dictionary: {'unknown' if unknown else 'missing'} entry "
            f"{', '.join(unknown or sorted(missing))}; known are {', '.join(sorted(known))}."
        )
    for name, value in NETWORK_ENTRIES.items():
        if params.get(name, value) != value:
            raise ConfigError(
                f"parameter dictionary: {name} is {params[name]!r}; only a single network on one stimulus is "
                f"supported ({value!r})."
            )
    count = len(params["layer_sizes"])
    lists = {
        name: params[name] if params.get(name) is not None else [default] * count
        for name, default in LAYER_LISTS.items()
    }
    for name, entries in {"layer_types": params["layer_types"], **lists}.items():
        if len(entries) != count:
            raise ConfigError(f"parameter dictionary: {name} has {len(entries)} entries for {count} layers.")
    return [
        {
            "size": params["layer_sizes"][i],
            "type": params["layer_types"][i],
            **{name: entries[i] for name, entries in lists.items()},
        }
        for i in range(count)
    ]


def check_penalty(name: str, strength: float, where: str) -> None:
    """Raises a `ConfigError` for a penalty that NDN3 does not have or a strength that is no number ≥ 0."""
    if name != "dropout" and name not in PENALTY_NAMES:
        known = ", ".join(sorted({*PENALTY_NAMES, "dropout"}))
        raise ConfigError(f"{where}: unknown penalty {name!r}; NDN3 has {known}.")
    if not isinstance(strength, (int, float, np.number)) or not np.isfinite(strength) or strength < 0:
        raise ConfigError(f"{where}: the strength of penalty {name!r} is {strength!r}; it must be a number ≥ 0.")
    if name == "dropout" and not 0 < strength <= 1:
        raise ConfigError(f"{where}: dropout is {strength!r}, the probability to KEEP an output; it lies in (0, 1].")


def _penalties(entry, quirks, where):
    kept = {}
    kind = entry["type"]
    idle = (
        PENALTY_NAMES
        if kind in (FULL_GAUSSIANS, CONVOLVED_GAUSSIANS, "lin_scale")
        else (IDLE_PENALTIES["sep" if kind in ("sep", "convsep") else "normal"])
    )
    for name, strength in (entry["reg_initializers"] or {}).items():
        if strength is None:
            continue
        check_penalty(name, strength, where)
        if name != "dropout" and not (quirks.idle_penalties_accepted and name in idle):
            kept[name] = strength
    return kept


def _initializer(name, of_weights, quirks):
    if name == "trunc_normal":
        if quirks.trunc_normal_not_truncated:
            return "half_normal" if of_weights else "normal"
        return "truncated_normal"
    return name


def _layer(entry: dict[str, Any], index: int, input_shape: Shape, quirks: Quirks) -> Layer:
    kind, where = entry["type"], f"layer {index} ({entry['type']})"
    if kind not in KINDS:
        raise ConfigError(f"layer {index}: unknown layer type {kind!r}; known are {', '.join(sorted(KINDS))}.")
    if entry["time_expand"]:
        raise ConfigError(
            f"{where}: time_expand is {entry['time_expand']}; only static stimuli are supported, so it is 0."
        )
    if entry["activation_funcs"] not in ACTIVATIONS:
        raise ConfigError(f"{where}: activation {entry['activation_funcs']!r}; NDN3 has {', '.join(ACTIVATIONS)}.")
    dropped = (entry["reg_initializers"] or {}).get("dropout")
    options = {
        "activation": ACTIVATIONS[entry["activation_funcs"]],
        "inhibitory": entry["num_inh"] or 0,
        "bias_initializer": _initializer(entry["biases_initializers"] or "zeros", False, quirks),
        "penalties": _penalties(entry, quirks, where),
        "dropout": 0.0 if dropped is None else (1 - dropped if quirks.dropout_value_keeps else dropped),
        "dropout_mask": "unit" if quirks.dropout_shared_by_batch else "entry",
    }
    if kind == "lin_scale":
        return layers.LinearScale(**options)
    size = int(np.prod(entry["size"]))
    if kind in (FULL_GAUSSIANS, CONVOLVED_GAUSSIANS):
        return _gaussians(entry, size, input_shape, quirks, where, options)
    options |= {"weight_initializer": _initializer(entry["weights_initializers"], True, quirks)}
    options |= _constraints(entry, quirks, where)
    if kind in ("conv", "convsep"):
        width = entry["conv_filter_widths"]
        options |= {
            "width": max(input_shape[:2]) if width is None else width,
            "stride": 1 if entry["shift_spacing"] is None else entry["shift_spacing"],
            "dilation": 1 if quirks.convolution_dilation_ignored else entry["dilation"] or 1,
            "cropped": width is None or not quirks.kernels_wider_than_input,
        }
    if kind in ("readout", "conv_readout"):
        if entry["xy_out"] is None:
            raise ConfigError(f"{where}: needs xy_out, the (x, y) place that each output reads.")
        options |= {"positions": [(y, x) for x, y in entry["xy_out"]]}
    if kind == "filter":
        return layers.ChannelFilter(**{**options, "bias": False})
    if kind == "mult":
        options |= {"weight_initializer": "ones"}
    return KINDS[kind](size, **options)


def _constraints(entry, quirks, where):
    constraint, norm = entry["pos_constraints"], entry["normalize_weights"] or 0
    constrained = constraint is not None if quirks.false_constraint_constrains else bool(constraint)
    if entry["type"] in ("sep", "convsep"):
        coded = quirks.false_constraint_constrains
        factors = {0: "features", 1: "mask", 2: "both"} if coded else {1: "both", 2: "both"}
        modes = {1: "mask", 2: "both"} | ({0: "features"} if quirks.factorized_normalized_by_default else {})
        return {
            "positive": factors[int(constraint)] if constrained else "none",
            "normalization": modes.get(norm, "none"),
            "gradient_at_zero": 0.0 if quirks.factorized_clamp_stops_at_zero else 1.0,
        }
    two = "frobenius_unscaled_penalty" if quirks.frobenius_penalty_unscaled else "frobenius"
    if entry["type"] == "conv" and quirks.convolution_mode_two_is_unit:
        two = "unit"
    modes = {0: "none", 1: "unit", 2: two, -1: "cap"}
    if norm not in modes:
        raise ConfigError(f"{where}: normalize_weights is {norm}; NDN3 has 0, 1, 2 and -1.")
    return {"positive": constrained, "normalization": modes[norm]}


def _gaussians(entry, size, input_shape, quirks, where, options):
    if entry["weights_initializers"] not in ("random", "zeros"):
        raise ConfigError(
            f"{where}: weights_initializer is {entry['weights_initializers']!r}; this layer takes random or zeros."
        )
    kind, full = KINDS[entry["type"]], entry["type"] == FULL_GAUSSIANS
    if not full:
        if not entry["conv_filter_widths"]:
            raise ConfigError(f"{where}: conv_filter_widths is {entry['conv_filter_widths']!r}; give pixels.")
        options |= {
            "width": entry["conv_filter_widths"],
            "stride": entry["shift_spacing"] or 1,
            "dilation": entry["dilation"] or 1,
            "cropped": not quirks.kernels_wider_than_input,
        }
    height, width = kind(size, **options).filter_size(input_shape)
    upper = 25.0 if full and quirks.fixed_variance_bounds else float(int(0.82 * max(height, width)))
    if full and quirks.collapsed_variance_bounds:
        upper = 0.0
    bounds = entry["bounds"] or GaussianBounds(AMPLITUDE_RANGE, (1.0, upper), (2.0, width - 2.0), (2.0, height - 2.0))
    offset = 2.0 if quirks.shifted_initial_y else 0.0
    return kind(size, **options, bounds=GaussianBounds(*bounds), initial_y_offset=offset)


def network_from_parameters(params: Mapping[str, Any], quirks: Quirks = NDN3) -> NetworkSpec:
    """The network that an NDN3 parameter dictionary describes.

    Args:
        params: a dictionary as `NDNutils.ffnetwork_params` makes it.
        quirks: which of NDN3's peculiarities to keep.

    Raises:
        ConfigError: names the layer and entry that cannot be followed.
    """
    channels, columns, rows = ([*params["input_dims"], 1, 1])[:3]
    shape, built = (rows, columns, channels), []
    for index, entry in enumerate(layer_entries(params)):
        built.append(_layer(entry, index, shape, quirks))
        shape = built[-1].output_shape(shape)
    return NetworkSpec((rows, columns, channels), tuple(built))
