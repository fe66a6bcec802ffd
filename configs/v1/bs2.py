"""Baseline 2 for 5000 epochs.

    python launch.py --config=configs/v1/bs2.py --config.data.dir=./Data

Not in the thesis as an experiment of its own (bs2).  25 seeds.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .472 .499 .444.
Time, estimated from 2.7 ms an epoch and seed: six minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 2, short; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 2)
    config.seeds = tuple(range(25))
    published(config, "", "bs2", "bs2", (0.472, 0.499, 0.444))
