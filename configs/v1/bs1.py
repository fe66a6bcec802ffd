"""Baseline 1 for 5000 epochs.

    python launch.py --config=configs/v1/bs1.py --config.data.dir=./Data

Not in the thesis as an experiment of its own (baseline_1_short, log bs1).  25 seeds.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .395 .449 .299.
Time, estimated from 2.7 ms an epoch and seed: six minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 1, short; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 1)
    config.seeds = tuple(range(25))
    published(config, "", "baseline_1_short", "bs1", (0.395, 0.449, 0.299))
