"""Number of difference-of-Gaussians units and of hidden units.

    python launch.py --config=configs/v1/exp_gaussians_hidden.py --config.data.dir=./Data

Thesis: beside experiment 1.4.1.  Baseline 4 with 4, 9, 15, 20 or 30 units × hidden units .05, .1, .2, .3 or .4 of the
neurons; 10 seeds, 5000 epochs.
Published: all these values, no percentiles that are known to us.
Time, estimated from 5.7 ms an epoch and seed of 9 units: two to three hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.grid = (
        ("model.layer0.features", (4, 9, 15, 20, 30), "gaussians"),
        ("model.layer1.fraction", (0.05, 0.1, 0.2, 0.3, 0.4), "hidden"),
    )
