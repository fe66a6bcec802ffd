"""Experiment 1.3.1 as it first ran: the probability to drop a unit was given as that to keep it.

    python launch.py --config=configs/v1/bs3_exp11_runner.py --config.data.dir=./Data

Not in the thesis (bs3_exp11, first runner).  Baseline 3 with hidden units .2, .3, .4 of the neurons × probability to
KEEP one 0, .05, .1, .2, .4, .5; 10 seeds, 5000 epochs.  Keeping none is refused, as it was then: three runs fail.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), masks are drawn for every
image and scores are those of the whole network.
Published: no numbers.
Time, estimated from 2.7 ms an epoch and seed: three quarters of an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.1 as it first ran; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "", "bs3_exp11", "")
    numbered(
        config,
        "bs3_exp11",
        loop("h", (0.2, 0.3, 0.4), f"{HIDDEN}.fraction"),
        tuple((f"keep={keep:g}", ((f"{HIDDEN}.dropout", 1 - keep),)) for keep in (0.0, 0.05, 0.1, 0.2, 0.4, 0.5)),
    )
