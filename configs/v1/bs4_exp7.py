"""What and where: smoothness, sparse features and sparse read-outs.

    python launch.py --config=configs/v1/bs4_exp7.py --config.data.dir=./Data

Not in the thesis (bs4_exp7).  Experiment 2.2.5 with k 3, t 2 and 48 filters; d2x of the convolutions .01, .1 × their
max_filt 0, .1, 1 (none on the first) × l1 of the read-out .01, .1, 1; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated and not measured: days on 2 cores; meant for a GPU.
"""

from ml_collections import ConfigDict

from configs.v1.exp_2_2_5 import READOUT, shared_penalties, smoothness, what_and_where
from configs.v1.experiments import numbered, penalties, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    what_and_where(config)
    published(config, "", "bs4_exp7", "")
    numbered(
        config,
        "bs4_exp7",
        smoothness((0.01, 0.1)),
        shared_penalties(("max_filt",), (0.0, 0.1, 1.0)),
        penalties(("l1",), (0.01, 0.1, 1.0), READOUT),
    )
