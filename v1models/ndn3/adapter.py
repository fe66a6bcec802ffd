"""NDN3 compatibility: its parameter dictionaries, its weights, and every one of its peculiarities by name.

NDN3 (Butts lab; the fork used by the V1 experiment suite) describes a network by a dictionary of lists, one entry a
layer. `network_from_parameters` turns one into a `NetworkSpec`; `import_weights` and `export_weights` carry weights
over as plain arrays. Its peculiarities change results, so each is a switch of `Quirks`: all on in `NDN3`, all off in
`Quirks()`, nothing implied.

NDN3 keeps activity flat: feature f at column x and row y of a W×H grid with F features has index f + F (x + W y), which
is the row-major order of (rows, columns, channels); its `input_dims` are [channels, columns, rows].
"""

import dataclasses
from dataclasses import dataclass

import numpy as np

from runtime.config import ConfigError
from v1models import layers
from v1models.gaussians import GaussianBounds
from v1models.specification import NetworkSpec

AMPLITUDE_RANGE = (float(np.finfo(np.float64).eps), 10.0)


@dataclass(frozen=True)
class Quirks:
    """NDN3's peculiarities; a switch that is off gives what the rest of this package does.

    The suite that was published used a revision one day younger than the one most reference arrays come from:
    `NDN3` is the older one, `NDN3_SUITE` the younger.
    """

    # Training: the short last batch of an epoch is dropped, not used.
    drop_last_batch: bool = False
    # Training: rows are ordered by numpy's RandomState(seed), restarted at every call; off, by the run's JAX key.
    numpy_batch_order: bool = False
    # Training: Adam adds ε to √v before the bias correction, as TensorFlow 1 does; off, after it (Kingma & Ba).
    epsilon_before_correction: bool = False
    # Loss: the mean rates that scale the Poisson loss are taken over training AND validation rows, and a masked
    # entry counts as a row of response 0; off, over measured training rows.
    rates_over_all_rows: bool = False
    # Loss: masked entries count in the Bernoulli mean, each adding ln 2.
    masked_entries_counted: bool = False
    # Initial values: drawn from numpy's RandomState(seed) in NDN3's order, then clamped and normalized in place.
    numpy_initial_values: bool = False
    # Initial values: 'trunc_normal' weights are |N(0, 0.1²)| and biases N(0, 0.1²); off, both are truncated at ±0.2.
    trunc_normal_not_truncated: bool = False
    # Initial values: 2 is added to the y center of every difference of Gaussians, so that some start out of bounds.
    shifted_initial_y: bool = False
    # Bounds: variances of full-image Gaussians lie in (1, 25) whatever the image's size; off, (1, 0.82 · larger side).
    fixed_variance_bounds: bool = False
    # Bounds: they collapse to (1, 0), which freezes both variances (1 and 2): the younger revision's bug.
    collapsed_variance_bounds: bool = False
    # Constraints: pos_constraint False or 0 constrains (dense, conv: all; sep: 0 the features, 1 the mask, 2 both);
    # off, False is no constraint and True constrains all.
    false_constraint_constrains: bool = False
    # Constraints: the derivative of sep's clamp at 0 is 0; off, 1 as everywhere else.
    factorized_clamp_stops_at_zero: bool = False
    # Normalization: the default 0 gives sep layers feature vectors of unit norm; off, 0 means none.
    factorized_normalized_by_default: bool = False
    # Normalization: mode 2 means unit columns in conv layers; off, the Frobenius norm as in dense ones.
    convolution_mode_two_is_unit: bool = False
    # Convolution: a kernel wider than its input keeps its width, with weights that meet the padding alone.
    kernels_wider_than_input: bool = False
    # Convolution: the dilation in the dictionary is not used.
    convolution_dilation_ignored: bool = False
    # Normalization: penalties of mode 2 see the matrix before it is scaled by the number of outputs.
    frobenius_penalty_unscaled: bool = False
    # Penalties: those known to NDN3 that do nothing on a kind of layer are accepted; off, they are refused.
    idle_penalties_accepted: bool = False
    # Dropout: the value is the probability to KEEP; off, to drop.
    dropout_value_keeps: bool = False
    # Dropout: one mask a unit, shared by the whole batch; off, one for every entry.
    dropout_shared_by_batch: bool = False


_ALL_ON = {field.name: True for field in dataclasses.fields(Quirks)}
NDN3 = Quirks(**{**_ALL_ON, "collapsed_variance_bounds": False})
NDN3_SUITE = Quirks(
    **{**_ALL_ON, "drop_last_batch": False, "fixed_variance_bounds": False, "convolution_dilation_ignored": False}
)

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


def parameters(
    input_dims,
    layer_sizes,
    layer_types,
    act_funcs="relu",
    reg_list=None,
    ei_layers=None,
    normalization=0,
    weights_initializers="normal",
    biases_initializers="zeros",
    shift_spacing=1,
    conv_filter_widths=None,
    dilation=1,
    pos_constraints=None,
    bounds=None,
    xy_out=None,
):
    """The parameter dictionary that NDN3's `ffnetwork_params` makes of these arguments.

    Each argument is a value for all layers or a list with one a layer. reg_list: {penalty: value or list, None for
    none}; ei_layers: number of inhibitory outputs a layer, None for no sign constraint: the layer after one with a
    number becomes non-negative. Raises ConfigError when a list has the wrong length.
    """
    count = len(layer_sizes)

    def per_layer(value, name):
        if not isinstance(value, (list, tuple)):
            return [value] * count
        if len(value) != count:
            raise ConfigError(f"{name} has {len(value)} entries for {count} layers; give one a layer.")
        return list(value)

    penalties = [{} for _ in range(count)]
    for name, strengths in (reg_list or {}).items():
        for layer, strength in zip(penalties, per_layer(strengths, f"reg_list[{name!r}]"), strict=True):
            if strength is not None:
                layer[name] = strength
    inhibitory, positive = [0] * count, per_layer(pos_constraints, "pos_constraints")
    for index, number in enumerate(per_layer(ei_layers, "ei_layers")):
        if number is not None and number >= 0:
            inhibitory[index] = number
            if index + 1 < count:
                positive[index + 1] = True
    return {
        "network_type": "normal",
        "xstim_n": [0],
        "ffnet_n": None,
        "input_dims": list(input_dims),
        "layer_sizes": list(layer_sizes),
        "layer_types": per_layer(layer_types, "layer_types"),
        "activation_funcs": per_layer(act_funcs, "act_funcs"),
        "reg_initializers": penalties,
        "normalize_weights": per_layer(normalization, "normalization"),
        "time_expand": [0] * count,
        "weights_initializers": per_layer(weights_initializers, "weights_initializers"),
        "biases_initializers": per_layer(biases_initializers, "biases_initializers"),
        "num_inh": inhibitory,
        "pos_constraints": positive,
        "log_activations": False,
        "conv_filter_widths": per_layer(conv_filter_widths, "conv_filter_widths"),
        "shift_spacing": per_layer(shift_spacing, "shift_spacing"),
        "dilation": per_layer(dilation, "dilation"),
        "bounds": [None] * count if bounds is None else list(bounds),
        "xy_out": [None] * count if xy_out is None else list(xy_out),
    }


def layer_entries(params):
    """A parameter dictionary as one dict a layer, defaults filled in. Raises ConfigError for what is not known."""
    known = {"input_dims", "layer_sizes", "layer_types", *LAYER_LISTS, *NETWORK_ENTRIES}
    unknown = sorted(set(params) - known)
    if unknown:
        raise ConfigError(
            f"parameter dictionary: unknown entry {', '.join(unknown)}; known are {', '.join(sorted(known))}."
        )
    for name, value in NETWORK_ENTRIES.items():
        if name != "log_activations" and params.get(name, value) != value:
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


def _penalties(entry, quirks, where):
    kept = {}
    kind = entry["type"]
    idle = (
        PENALTY_NAMES
        if kind in (FULL_GAUSSIANS, CONVOLVED_GAUSSIANS, "lin_scale")
        else (IDLE_PENALTIES["sep" if kind in ("sep", "convsep") else "normal"])
    )
    for name, strength in (entry["reg_initializers"] or {}).items():
        if name == "dropout" or strength is None:
            continue
        if name not in PENALTY_NAMES:
            raise ConfigError(f"{where}: unknown penalty {name!r}; NDN3 has {', '.join(sorted(PENALTY_NAMES))}.")
        if not (quirks.idle_penalties_accepted and name in idle):
            kept[name] = strength
    return kept


def _initializer(name, of_weights, quirks):
    if name == "trunc_normal":
        if quirks.trunc_normal_not_truncated:
            return "half_normal" if of_weights else "normal"
        return "truncated_normal"
    return name


KINDS = {name: kind.layer for kind in layers.KINDS.values() for name in kind.ndn3}


def _layer(entry, index, input_shape, quirks):
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
        "dropout": 0.0 if dropped is None else (1 - dropped if quirks.dropout_value_keeps else dropped),
        "dropout_mask": "unit" if quirks.dropout_shared_by_batch else "entry",
        "penalties": _penalties(entry, quirks, where),
    }
    if kind == "lin_scale":
        return layers.LinearScale(**options)
    size = entry["size"] if isinstance(entry["size"], int) else int(np.prod(entry["size"]))
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
    full = entry["type"] == FULL_GAUSSIANS
    height, width = input_shape[:2] if full else (min(entry["conv_filter_widths"], side) for side in input_shape[:2])
    upper = 25.0 if full and quirks.fixed_variance_bounds else float(int(0.82 * max(height, width)))
    if full and quirks.collapsed_variance_bounds:
        upper = 0.0
    bounds = entry["bounds"] or GaussianBounds(AMPLITUDE_RANGE, (1.0, upper), (2.0, width - 2.0), (2.0, height - 2.0))
    options |= {"bounds": GaussianBounds(*bounds), "initial_y_offset": 2.0 if quirks.shifted_initial_y else 0.0}
    if full:
        return layers.DifferenceOfGaussians(size, **options)
    return layers.ConvolutionalDifferenceOfGaussians(
        size,
        width=entry["conv_filter_widths"],
        stride=entry["shift_spacing"] or 1,
        dilation=entry["dilation"] or 1,
        **options,
    )


def network_from_parameters(params, quirks=NDN3):
    """The network that an NDN3 parameter dictionary describes.

    Arguments: params, a dictionary of the form of `parameters`; quirks, which of NDN3's peculiarities to keep.
    Returns a NetworkSpec. Raises ConfigError naming the layer and entry that cannot be followed.
    """
    channels, columns, rows = ([*params["input_dims"], 1, 1])[:3]
    shape, built = (rows, columns, channels), []
    for index, entry in enumerate(layer_entries(params)):
        built.append(_layer(entry, index, shape, quirks))
        shape = built[-1].output_shape(shape)
    return NetworkSpec((rows, columns, channels), tuple(built))
