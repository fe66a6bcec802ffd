"""Baseline 1: the HSM as first rebuilt, on pixels of 0 to 255.

    python launch.py --config=configs/v1/bl1.py --config.data.dir=./Data

Thesis: baseline 1.  50 seeds, 35,000 epochs, inputs × 10⁶, Adam 1e-4, batches of 16.
Published, region 1 (50th, 90th, 10th percentile over seeds): .42 .48 .30.  The original HSM: .479 .501 .442.
Time, estimated from 5.7 ms an epoch and seed: about three hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, hsm_layers, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, *hsm_layers(bias="zeros"))
    config.seeds = tuple(range(50))
    config.data.inputs = "million"
    config.optimization.learning_rate = 1e-4
    config.fit.epochs = 35000
    config.published = (0.42, 0.48, 0.30)
