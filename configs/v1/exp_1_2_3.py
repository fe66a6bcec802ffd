"""Experiment 1.2.3: initial values of the biases.

    python launch.py --config=configs/v1/exp_1_2_3.py --config.data.dir=./Data

Baseline 4 with biases that start at 0, or from a normal law of deviation 0.1; 10 seeds, 5000 epochs.
Published: no percentiles that are known to us.
Time, estimated from 5.7 ms an epoch and seed: about ten minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.runs = tuple(
        (name, tuple((f"model.layer{index}.bias_initializer", name) for index in range(3)))
        for name in ("zeros", "normal")
    )
