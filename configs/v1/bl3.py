"""Baseline 3: baseline 2 with random biases and a learning rate of 1e-3.

    python launch.py --config=configs/v1/bl3.py --config.data.dir=./Data

Thesis: baseline 3.  25 seeds, 35,000 epochs, Adam 1e-3, batches of 16.
Published, region 1 (50th, 90th, 10th percentile over seeds): .50 .521 .492.
Time, estimated from 5.7 ms an epoch and seed: about an hour and a half on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, hsm_layers, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, *hsm_layers())
    config.seeds = tuple(range(25))
    config.fit.epochs = 35000
    config.published = (0.50, 0.521, 0.492)
