"""What a config of a Neural Random Field would train, read from its fields alone.

A record has the keys of `runtime.describe.KEYS`. A layer is a map of units: `size` is their number, `filters` the
number of channels, `width` the side of the kernel of its last convolution in pixels, 'reads' the layers it listens to.
A field is trained by updates, which stand under `epochs`; `log_every` counts them too. It has no regions, and its noise
is the sampler's.
"""

from nrf.architecture import Architecture, get_architecture
from runtime.sweeps import expand, is_sweep


def describe(config):
    """A record for each run of a config, one or those of its sweep, with some entries for people.

    Raises:
        ConfigError: an architecture that cannot be, or a malformed sweep.
    """
    if is_sweep(config):
        return [_describe(run.name, run.config) for run in expand(config)]
    return [_describe(0, config)]


def _describe(name, config):
    architecture = (
        Architecture.from_lists("config.model.architecture", **dict(config.model.architecture.items()))
        if config.model.named is None
        else get_architecture(config.model.named)
    )
    return {
        "run": name,
        "layers": [_layer(index, layer, config) for index, layer in enumerate(architecture.layers)],
        "learning_rate": config.train.lr,
        "batch": config.train.batch,
        "epochs": config.train.updates,
        "log_every": config.log.every,
        "seeds": [config.seed],
        "noise": config.sampler.name,
        "regions": [],
        "inputs": config.data.name,
        "bias": "uniform",
        "counted in": "updates (epochs, log every)",
        "architecture": config.model.named,
    }


def _layer(index, layer, config):
    return {
        "kind": "latent" if index else "image",
        "size": layer.units,
        "activation": config.model.state_activation,
        "width": layer.main_kernel or None,
        "stride": 1,
        "filters": layer.channels,
        "penalties": {},
        "reads": [connection.source for connection in layer.inputs],
    }
