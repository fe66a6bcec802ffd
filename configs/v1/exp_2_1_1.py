"""Experiment 2.1.1: LNLN, dense filters in place of differences of Gaussians.

    python launch.py --config=configs/v1/exp_2_1_1.py --config.data.dir=./Data

Hidden units .1 and .2 of the neurons × smoothness d2x of their filters 0, .1, .5, 1, 10 × l2 of the neurons .1, .5;
10 seeds, 5000 epochs.
Published, region 1, the best (50th, 90th, 10th percentile over seeds): .481 .491 .471.
Time, estimated from 16 ms an epoch and seed: four to five hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.1.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, dense(fraction=0.2), dense(fraction=1.0))
    config.sweep.grid = (
        ("model.layer0.fraction", (0.1, 0.2), "hidden"),
        ("model.layer0.penalties.d2x", (0.0, 0.1, 0.5, 1.0, 10.0)),
        ("model.layer1.penalties.l2", (0.1, 0.5)),
    )
    config.sweep.published_best = (0.481, 0.491, 0.471)
