"""What a config for models of V1 would train, read from its fields alone: no data, no network, no device.

Kinds of layers have the names of NDN3. `size` is the number of units of a layer, of a convolution the number of its
filters (as in NDN3's layer_sizes), of a scale the number of pixels; `inputs` is raw, x1e6, standard or another
normalization of the config. A layer may further have 'dropout' (probability to drop a unit) and 'without_effect'
({penalty: strength} that the published script gave and that did nothing).
"""

from pathlib import Path
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from runtime.errors import ConfigError, did_you_mean
from runtime.sweeps import Run, expand, is_sweep
from v1models.data import REGION_FOLDERS, of_region
from v1models.layers import KINDS

INPUTS = {"none": "raw", "million": "x1e6"}


def describe(config: ConfigDict) -> dict[str, Any]:
    """One record a run, in order, with the keys of `runtime.describe.KEYS` and some for people.

    Raises ConfigError for a sweep that cannot be expanded or a folder of data without responses.
    """
    runs = expand(config) if is_sweep(config) else [Run("", config)]
    return [_record(index, run.config) for index, run in enumerate(runs)]


def _record(index, config):
    optimization, layers = config.optimization, layer_groups(config)
    return {
        "run": index if config.origin.run is None else config.origin.run,
        "layers": [_layer(name, group, config) for name, group in layers],
        "learning_rate": optimization.learning_rate,
        "batch": optimization.batch_size,
        "epochs": config.fit.epochs,
        "log_every": config.fit.log_every,
        "seeds": list(config.seeds),
        "noise": optimization.noise,
        "regions": list(config.data.regions),
        "inputs": INPUTS.get(config.data.inputs, config.data.inputs),
        "bias": _bias([group for _, group in layers]),
        "responses": config.data.responses,
        "experiment": config.origin.experiment,
        "script": config.origin.script,
        "published as": config.origin.log_name,
        "percentiles": config.published,
    }


def layer_groups(config: ConfigDict) -> list[tuple[str, ConfigDict]]:
    """[(name, group)] of the layers of a config, those of the alternative that is in use; ConfigError for a gap."""
    model = config.model
    if model.use:
        if model.use not in config.alternatives:
            raise ConfigError(f"config.model.use is '{model.use}'{did_you_mean(model.use, config.alternatives)}")
        model = config.alternatives[model.use]
    names = [f"layer{index}" for index in range(len([name for name in model if name.startswith("layer")]))]
    missing = [name for name in names if name not in model]
    if missing or not names:
        raise ConfigError(
            f"config.model numbers its layers layer0, layer1, … without a gap; {missing or 'none'} is missing"
        )
    return [(name, model[name]) for name in names]


def neurons(config: ConfigDict) -> int:
    """Number of neurons that a config's model predicts: of the recording's header, or as simulated."""
    data, total = config.data, 0
    for region in data.regions:
        if data.dir is None:
            total += of_region(data.simulated.neurons, region, "config.data.simulated.neurons")
            continue
        path = Path(data.dir) / REGION_FOLDERS.get(region, "") / "training_set.npy"
        if not path.is_file():
            raise ConfigError(f"config.data.dir: {path} is missing; its columns are the neurons of region {region}")
        total += np.load(path, mmap_mode="r").shape[1]
    return total


def layer_size(group: ConfigDict, count: int) -> int:
    """Units of a layer of a population of `count` neurons: its features, or its fraction of them, at least 1."""
    if group.get("fraction") is not None:
        return max(int(group.fraction * count), 1)
    return group.get("features")


def _layer(name, group, config):
    if group.kind not in KINDS:
        raise ConfigError(f"config.model.{name}.kind is '{group.kind}'{did_you_mean(group.kind, KINDS)}")
    convolved = "width" in group
    size = config.data.simulated.size**2 if group.kind == "LinearScale" else layer_size(group, neurons(config))
    width = group.width if convolved else None
    layer = {
        "kind": (KINDS[group.kind].ndn3 or (group.kind,))[0],
        "size": size,
        "activation": group.activation,
        "width": list(width) if isinstance(width, tuple) else width,
        "stride": group.stride if convolved else None,
        "filters": size if convolved else None,
        "penalties": {penalty: strength for penalty, strength in group.penalties.items() if strength},
    }
    if group.dropout:
        layer["dropout"] = group.dropout
    idle = {penalty: value for place, penalty, value in config.origin.without_effect if place == name}
    return layer | ({"without_effect": idle} if idle else {})


def _bias(groups):
    starts = {group.bias_initializer if group.bias else "none" for group in groups if group.kind != "LinearScale"}
    return ", ".join(sorted(starts))
