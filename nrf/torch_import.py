"""Read models of the original PyTorch program: its `.pt` checkpoints, or plain arrays under torch's parameter names.

Layouts differ: torch keeps convolutions as (out, in, k, k), transposed ones as (in, out, k, k) and dense ones as
(out, in); here they are (k, k, in, out) and (in, out).  Weight normalisation (`weight_g`, `weight_v`) and spectral
normalisation (`weight_orig`, `weight_u`) keep their factors.  State biases (1, C*H*W) become (H, W, C).
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Mapping
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict

from nrf.architecture import Architecture
from nrf.torch_files import Flags, read_torch
from runtime.errors import ConfigError

_ALIAS = re.compile(r"(cctb_blocks\.\d+|sides\.\d+\.[02])\.block\.")


class Checkpoint(NamedTuple):
    """What a file of the original program holds."""

    tables: dict[str, dict[str, np.ndarray]]  # 'model' and 'initializer', without those that the file lacks
    flags: dict[str, Any]  # that the program was called with, {} where the file holds none
    updates: int  # behind the weights (its `batch_num`), 0 where the file does not say


def read_checkpoint(path: str | pathlib.Path) -> Checkpoint:
    """Parameter tables, flags and count of updates of a checkpoint of the original program; nothing in it is run.

    Finds every table of tensors in the file, whatever it was called, by the names of its entries.

    Args:
        path: a file written by `torch.save`.

    Raises:
        ConfigError: the file cannot be read, holds more than parameters, or neither table.
    """
    content = read_torch(path)
    tables, flags, updates = {}, {}, 0
    for found in _dictionaries(content):
        if isinstance(found, Flags):
            flags |= found
            continue
        count = found.get("batch_num")
        updates = count if isinstance(count, int) and count > 0 else updates
        table = {k.removeprefix("module."): v for k, v in found.items() if isinstance(v, np.ndarray)}
        if any(name.startswith("quadratic_nets.") for name in table):
            tables["model"] = table
        elif any(name.startswith("enc.cctb_blocks.") for name in table):
            tables["initializer"] = table
    if not tables:
        raise ConfigError(f"{path} holds no model ('quadratic_nets...') and no initializer ('enc.cctb_blocks...')")
    return Checkpoint(tables, flags, updates)


def _dictionaries(content: Any) -> list[Mapping]:
    """The dictionaries in a file, however deep, with the entries of theirs that have a text as name."""
    if isinstance(content, Flags):
        return [content]
    if not isinstance(content, Mapping):
        return []
    named = {k: v for k, v in content.items() if isinstance(k, str)}
    return [named] + [each for value in content.values() for each in _dictionaries(value)]


def energy_variables(architecture: Architecture, arrays: Mapping[str, np.ndarray]) -> dict:
    """Variables of `make_energy(architecture)` from arrays under torch's names.

    Raises ConfigError naming the first array that is missing, unknown or of the wrong shape for this architecture.
    """
    entries = {}
    for name, array in arrays.items():
        # Beside `weight_orig`, spectral normalisation stores a vector under the name that a normalised kernel has.
        if _ALIAS.search(name) or name.removesuffix("_v") + "_orig" in arrays:
            continue
        path, value, collection = _energy_entry(architecture, name, np.asarray(array))
        entries[(collection, *path)] = np.asarray(value, np.float32)
    return jax.device_put({"params": {}, **unflatten_dict(entries)})


def initializer_variables(arrays: Mapping[str, np.ndarray]) -> dict:
    """Variables of the initializer network from arrays under torch's names."""
    entries = {}
    for name, array in arrays.items():
        if _ALIAS.search(name):
            continue
        path, value = _initializer_entry(name, np.asarray(array))
        entries[path] = np.asarray(value, np.float32)
    return jax.device_put({"params": unflatten_dict(entries)})


def check_matches(variables: dict, template: dict, source: str) -> dict:
    """Return `variables` in the structure of `template`; ConfigError naming the first difference between the two."""
    ours, theirs = flatten_dict(variables), flatten_dict(template)
    for path in theirs:
        if path not in ours:
            raise ConfigError(f"{source} lacks '{'/'.join(path)}', which this architecture needs")
        if tuple(ours[path].shape) != tuple(theirs[path].shape):
            raise ConfigError(
                f"{source}: '{'/'.join(path)}' has shape {tuple(ours[path].shape)} but this architecture needs "
                f"{tuple(theirs[path].shape)}"
            )
    for path in ours:
        if path not in theirs:
            raise ConfigError(f"{source} holds '{'/'.join(path)}', which this architecture does not have")
    return variables


def _energy_entry(architecture: Architecture, name: str, array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray, str]:
    if match := re.fullmatch(r"biases\.(\d+)\.weight", name):
        layer = architecture.layers[int(match[1])] if int(match[1]) < len(architecture.layers) else None
        if layer is None or array.size != layer.units:
            raise ConfigError(f"'{name}' of {array.size} values does not fit architecture '{architecture.name}'")
        value = array.reshape(layer.channels, *layer.size).transpose(1, 2, 0)
        return (f"bias_{match[1]}",), value, "params"
    match = re.fullmatch(r"quadratic_nets\.(\d+)\.(densecctblock|fc_net)\.(.+)", name)
    if not match or int(match[1]) >= len(architecture.layers):
        raise ConfigError(f"'{name}' is not a parameter of architecture '{architecture.name}'")
    net, rest = f"net_{match[1]}", match[3]
    if match[2] == "fc_net":
        if dense := re.fullmatch(r"net\.(\d+)\.(\w+)", rest):
            return (net, "dense", *_dense_path(int(dense[1]) // 2, dense[2])), _dense_value(dense[2], array), "params"
    elif part := re.fullmatch(r"base_cctls\.(\d+)\.0\.(conv|conv_T)\.(\w+)", rest):
        return _cct(part[2], part[3], array, net, f"base_{part[1]}")
    elif part := re.fullmatch(r"top_net\.0\.cctb_blocks\.(\d+)\.cct_layer\.(conv|conv_T)\.(\w+)", rest):
        return _cct(part[2], part[3], array, net, f"block_{part[1]}", "cct")
    elif part := re.fullmatch(r"top_net\.0\.cctb_blocks\.(\d+)\.one_by_one_conv\.(\w+)", rest):
        return (net, f"block_{part[1]}", "squeeze", *_pointwise_path(part[2])), _pointwise_value(array), "params"
    elif part := re.fullmatch(r"top_net\.1\.conv\.(\w+)", rest):
        return _cct("conv", part[1], array, net, "main")
    elif part := re.fullmatch(r"top_net\.([01])\.(weight|bias)", rest):
        where = "merge" if part[1] == "0" else "out"
        return (net, where, *_pointwise_path(part[2])), _pointwise_value(array), "params"
    raise ConfigError(f"'{name}' is not a parameter that this importer knows")


def _initializer_entry(name: str, array: np.ndarray) -> tuple[tuple[str, ...], np.ndarray]:
    if part := re.fullmatch(r"enc\.cctb_blocks\.(\d+)\.(.+)", name):
        where, rest = (f"encoder_{part[1]}",), part[2]
    elif part := re.fullmatch(r"sides\.(\d+)\.([02])\.(.+)", name):
        where, rest = (f"side_{part[1]}_{'first' if part[2] == '0' else 'second'}",), part[3]
    elif part := re.fullmatch(r"sides\.(\d+)\.3\.(\w+)", name):
        return (f"side_{part[1]}_out", *_pointwise_path(part[2])), _pointwise_value(array)
    else:
        raise ConfigError(f"'{name}' is not a parameter of the initializer network")
    if squeeze := re.fullmatch(r"one_by_one_conv\.(\w+)", rest):
        return (*where, "squeeze", *_pointwise_path(squeeze[1])), _pointwise_value(array)
    if cct := re.fullmatch(r"cct_layer\.(conv|conv_T)\.(\w+)", rest):
        path, value, _ = _cct(cct[1], cct[2], array, *where, "cct")
        return path, value
    raise ConfigError(f"'{name}' is not a parameter of the initializer network")


def _cct(half: str, leaf: str, array: np.ndarray, *where: str) -> tuple[tuple[str, ...], np.ndarray, str]:
    ours = "conv" if half == "conv" else "transposed"
    if leaf == "bias":
        return (*where, f"{ours}_bias"), array, "params"
    if leaf == "weight_g":
        return (*where, ours, "scale"), array.reshape(-1), "params"
    if leaf == "weight_u":
        return (*where, ours, "u"), array, "spectral"
    if leaf in ("weight", "weight_v", "weight_orig"):
        # Either way the result is (k, k, in, out).
        order = (2, 3, 1, 0) if half == "conv" else (2, 3, 0, 1)
        return (*where, ours, "kernel"), array.transpose(order), "params"
    raise ConfigError(f"'{leaf}' of a convolution is not a name that this importer knows")


def _pointwise_path(leaf: str) -> tuple[str]:
    return ("kernel",) if leaf == "weight" else ("bias",)


def _pointwise_value(array: np.ndarray) -> np.ndarray:
    return array[:, :, 0, 0].T if array.ndim == 4 else array


def _dense_path(index: int, leaf: str) -> tuple[str, ...]:
    if leaf == "bias":
        return (f"bias_{index}",)
    return (f"layer_{index}", "scale" if leaf == "weight_g" else "kernel")


def _dense_value(leaf: str, array: np.ndarray) -> np.ndarray:
    if leaf == "weight_g":
        return array.reshape(-1)
    return array.T if array.ndim == 2 else array
