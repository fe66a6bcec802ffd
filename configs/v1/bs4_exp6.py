"""What and where with a penalty that does nothing, for several numbers of filters.

    python launch.py --config=configs/v1/bs4_exp6.py --config.data.dir=./Data

Not in the thesis (bs4_exp6).  Experiment 2.2.5 with k 3, t 2 and an l1 of .1 on the read-out; 12, 24, 48 filters × d2x
.01, .1, 1 × norm2_filt 0, .1, 1 of the convolutions, which the toolbox took and which has no effect on them: the three
are one model, kept so that run numbers are the published ones.  10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated and not measured: days on 2 cores; meant for a GPU.
"""

from ml_collections import ConfigDict

from configs.v1.exp_2_2_5 import CONVOLUTIONS, smoothness, what_and_where
from configs.v1.experiments import loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    what_and_where(config)
    config.model.layer3.penalties.l1 = 0.1
    published(config, "", "bs4_exp6", "")
    idle = tuple(
        (
            f"norm2_filt={strength:g}",
            (("origin.without_effect", tuple((f"layer{index}", "norm2_filt", strength) for index in range(3))),),
        )
        for strength in (0.0, 0.1, 1.0)
    )
    numbered(
        config,
        "bs4_exp6",
        loop("F", (12, 24, 48), *(f"{place}.features" for place in CONVOLUTIONS)),
        smoothness((0.01, 0.1, 1.0)),
        idle,
    )
