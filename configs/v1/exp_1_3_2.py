"""Experiment 1.3.2: kinds and strengths of penalties.

    python launch.py --config=configs/v1/exp_1_3_2.py --config.data.dir=./Data

Thesis: ex:1.3.2 (bs3_exp5, runs 0 to 19; its second runner, bs3_exp52, is runs 20 to 27 here).  Baseline 3 with hidden
units .2, .4 of the neurons × l1, l2 on hidden and output layer × .1, 1e-3, 1e-5, 1e-7, 1e-9, then 10, 1; 10 seeds,
5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): l2 .1, h = .2 and .4: .505 .516 .491, .493 .501 .469; l2
1: .448 .467 .436, .451 .469 .446; l1 .1, h = .2: .323 .355 .290.
Time, estimated from 2.7 ms an epoch and seed: an hour and a quarter on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, OUTPUT, baseline, loop, numbered, penalties, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "1.3.2", "bs3_exp5", "")
    sizes = loop("h", (0.2, 0.4), f"{HIDDEN}.fraction")
    numbered(
        config,
        "bs3_exp5",
        sizes,
        penalties(("l1", "l2"), (0.1, 1e-3, 1e-5, 1e-7, 1e-9), HIDDEN, OUTPUT),
        published={0: (0.323, 0.355, 0.290), 5: (0.505, 0.516, 0.491), 15: (0.493, 0.501, 0.469)},
    )
    numbered(
        config,
        "bs3_exp52",
        sizes,
        penalties(("l1", "l2"), (10.0, 1.0), HIDDEN, OUTPUT),
        first=20,
        logged_first=0,
        published={23: (0.448, 0.467, 0.436), 27: (0.451, 0.469, 0.446)},
    )
