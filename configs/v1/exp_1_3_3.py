"""Experiment 1.3.3: l2 penalties of both dense layers.

    python launch.py --config=configs/v1/exp_1_3_3.py --config.data.dir=./Data

Hidden units 0.2 and 0.3 of the neurons × l2 of the hidden layer 0, .05, .1, .5 × l2 of the output layer 0, .05, .1, .5;
10 seeds, 35,000 epochs.
Published: all these values, no percentiles that are known to us.
Time, estimated from 5.7 ms an epoch and seed: about 18 hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.fit.epochs = 35000
    config.sweep.grid = (
        ("model.layer1.fraction", (0.2, 0.3), "hidden"),
        ("model.layer1.penalties.l2", (0.0, 0.05, 0.1, 0.5), "hidden_l2"),
        ("model.layer2.penalties.l2", (0.0, 0.05, 0.1, 0.5), "output_l2"),
    )
