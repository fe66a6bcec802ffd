"""Baseline 3: baseline 2 with random biases and a learning rate of 1e-3.

    python launch.py --config=configs/v1/bl3.py --config.data.dir=./Data

Thesis: baseline 3 (bl3).  25 seeds, 35,000 epochs, Adam 1e-3, biases N(0, 0.1²), batches of 16.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .50 .521 .492.
Time, estimated from 2.7 ms an epoch and seed: 40 minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    config.seeds = tuple(range(25))
    config.fit.epochs = 35000
    published(config, "baseline 3", "bl3", "bl3", (0.50, 0.521, 0.492))
