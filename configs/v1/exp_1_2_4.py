"""Experiment 1.2.4: learning rates 1e-5, 1e-4, 5e-4, 1e-3 and 5e-3.

    python launch.py --config=configs/v1/exp_1_2_4.py --config.data.dir=./Data

Baseline 4, 10 seeds, 5000 epochs; the five runs train in one program.
Published: the five rates, no percentiles that are known to us.
Time, estimated from 5.7 ms an epoch and seed: about half an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.4; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.grid = (("optimization.learning_rate", (1e-5, 1e-4, 5e-4, 1e-3, 5e-3)),)
