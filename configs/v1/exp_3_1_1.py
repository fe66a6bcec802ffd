"""Experiment 3.1.1: regions pooled, with masks.

    python launch.py --config=configs/v1/exp_3_1_1.py --config.data.dir=./Data

Baseline 4 on regions 1 and 2 (one animal) and on all three, every neuron scored on its own images; 10 seeds, 5000
epochs.
Published medians: regions 1 and 2 .484 (fitted apart: .475), all three .439 (fitted apart: .474).
Time, estimated from 5.7 ms an epoch and seed of one region: half an hour to an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 3.1.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.runs = (
        ("regions12", (("data.regions", (1, 2)), ("published", (0.484,)))),
        ("regions123", (("data.regions", (1, 2, 3)), ("published", (0.439,)))),
    )
