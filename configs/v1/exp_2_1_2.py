"""Experiment 2.1.2: LN, one smooth filter a neuron.

    python launch.py --config=configs/v1/exp_2_1_2.py --config.data.dir=./Data

Smoothness d2x 0, .1, 1, 10, 100, 1e3, 1e4, 1e5; 10 seeds, 5000 epochs.
Published: the range, 0 to 1e5; the values between are chosen here, and no percentiles are known to us.
Time, estimated from 19 ms an epoch and seed: about two hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.1.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, dense(fraction=1.0))
    config.sweep.grid = (("model.layer0.penalties.d2x", (0.0, 0.1, 1.0, 10.0, 100.0, 1e3, 1e4, 1e5)),)
