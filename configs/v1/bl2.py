"""Baseline 2: inputs of mean 0 and standard deviation 1.

    python launch.py --config=configs/v1/bl2.py --config.data.dir=./Data

Thesis: baseline 2.  25 seeds, 35,000 epochs, Adam 1e-4, batches of 16.
Published, region 1 (50th, 90th, 10th percentile over seeds): .508 .521 .49; medians of regions 1, 2 and 3 in
experiment 3.2.1: .496, .415, .454.
Time, estimated from 5.7 ms an epoch and seed: about an hour and a half on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, hsm_layers, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, *hsm_layers(bias="zeros"))
    config.seeds = tuple(range(25))
    config.optimization.learning_rate = 1e-4
    config.fit.epochs = 35000
    config.published = (0.508, 0.521, 0.49)
