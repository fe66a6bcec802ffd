"""Experiment 2.1.1: LNLN, dense filters in place of differences of Gaussians.

    python launch.py --config=configs/v1/exp_2_1_1.py --config.data.dir=./Data

Thesis: ex:2.1.1 (bs4_exp1).  Hidden units .1, .2 of the neurons × smoothness d2x of their filters 0, .1, .5, 1, 10 ×
l2 of the neurons .1, .5; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): run 12 .474 .484 .450; 18 .409 .421 .397; 10 .184 .209
.150.
Time, estimated from 16 ms an epoch and seed: four to five hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import loop, numbered, published
from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.1.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, dense(fraction=0.2), dense(fraction=1.0))
    published(config, "2.1.1", "bs4_exp1", "")
    numbered(
        config,
        "bs4_exp1",
        loop("h", (0.1, 0.2), "model.layer0.fraction"),
        loop("d2x", (0.0, 0.1, 0.5, 1.0, 10.0), "model.layer0.penalties.d2x"),
        loop("l2", (0.1, 0.5), "model.layer1.penalties.l2"),
        published={12: (0.474, 0.484, 0.450), 18: (0.409, 0.421, 0.397), 10: (0.184, 0.209, 0.150)},
    )
