"""Experiment 1.3.1: dropout of hidden units.

    python launch.py --config=configs/v1/exp_1_3_1.py --config.data.dir=./Data

Baseline 4, 10 seeds, 5000 epochs; hidden units 0.2, 0.3 and 0.4 of the neurons × probability to drop one 0, 0.1, 0.25
and 0.5.
Published: the sizes; the probabilities are chosen here, and no percentiles are known to us.
Time, estimated from 5.7 ms an epoch and seed: about an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.grid = (
        ("model.layer1.fraction", (0.2, 0.3, 0.4), "hidden"),
        ("model.layer1.dropout", (0.0, 0.1, 0.25, 0.5)),
    )
