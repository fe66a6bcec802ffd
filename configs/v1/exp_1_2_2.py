"""Experiment 1.2.2: Gaussian in place of Poisson noise.

    python launch.py --config=configs/v1/exp_1_2_2.py --config.data.dir=./Data

Baseline 4, 10 seeds, 5000 epochs, with either noise.
Published: no percentiles that are known to us.
Time, estimated from 5.7 ms an epoch and seed: about ten minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.grid = (("optimization.noise", ("poisson", "gaussian")),)
