"""Regions alone and pooled, for several sizes of the model.

    python launch.py --config=configs/v1/bs3_exp4.py --config.data.dir=./Data

Not in the thesis (bs3_exp4, runs 0 to 13; its second runner, bs3_exp42, is runs 14 to 20 here).  Baseline 3, 10 seeds,
5000 epochs.  Regions 1, then 2, alone; hidden units .2, .4 of the neurons × 9, 15, 25 differences of Gaussians ×
regions 1 and 2, all three; then region 3 alone, and the same sizes on regions 2 and 3.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), of the pooled regions
together.
Published: no numbers.
Time, estimated and not measured: one to two hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "", "bs3_exp4", "")
    hidden = loop("h", (0.2, 0.4), f"{HIDDEN}.fraction")
    units = loop("k", (9, 15, 25), "model.layer0.features")
    for log_name, alone, pooled, first in (
        ("bs3_exp4", ((1,), (2,)), ((1, 2), (1, 2, 3)), 0),
        ("bs3_exp42", ((3,),), ((2, 3),), 14),
    ):
        numbered(config, log_name, loop("regions", alone, "data.regions"), first=first, logged_first=0)
        numbered(
            config,
            log_name,
            hidden,
            units,
            loop("regions", pooled, "data.regions"),
            first=first + len(alone),
            logged_first=len(alone),
        )
