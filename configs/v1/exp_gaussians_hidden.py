"""Number of difference-of-Gaussians units and of hidden units.

    python launch.py --config=configs/v1/exp_gaussians_hidden.py --config.data.dir=./Data

Not in the thesis as an experiment of its own (bs3_exp3).  Baseline 3 with hidden units .05, .1, .2, .3, .4 of the
neurons × 4, 9, 15, 20, 30 differences of Gaussians; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated from 2.7 ms an epoch and seed of 9 units: an hour to two on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "", "bs3_exp3", "")
    numbered(
        config,
        "bs3_exp3",
        loop("h", (0.05, 0.1, 0.2, 0.3, 0.4), f"{HIDDEN}.fraction"),
        loop("k", (4, 9, 15, 20, 30), "model.layer0.features"),
    )
