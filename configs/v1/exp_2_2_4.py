"""Experiment 2.2.4: convolved differences of Gaussians without rectification.

    python launch.py --config=configs/v1/exp_2_2_4.py --config.data.dir=./Data

Thesis: ex:2.2.4 (bs4_exp10).  9 linear filters of width 7, 15 with stride (width + 1) // 2 × hidden layer (.2 of the
neurons) with l1 of .01, .1: factorized (runs 200 to 203) or dense (304 to 307); neurons with l2 .1; 10 seeds, 5000
epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): run 305 .498 .516 .448; 202 .495 .509 .462.
Time, estimated from 55 ms an epoch and seed: up to six hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.exp_2_2_3 import DENSE, SEPARABLE, models
from configs.v1.experiments import filters, numbered, penalties, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.4; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    models(config, "linear")
    published(config, "2.2.4", "bs4_exp10", "")
    for place, first in ((SEPARABLE, 200), (DENSE, 304)):
        numbered(
            config,
            "bs4_exp10",
            *filters(f"{place}.layer0", (7, 15), (9,)),
            penalties(("l1",), (0.01, 0.1), f"{place}.layer1"),
            first=first,
            also=(("model.use", place.split(".")[1]),),
            published={202: (0.495, 0.509, 0.462), 305: (0.498, 0.516, 0.448)},
        )
