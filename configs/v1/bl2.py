"""Baseline 2: inputs of mean 0 and standard deviation 1.

    python launch.py --config=configs/v1/bl2.py --config.data.dir=./Data

Thesis: baseline 2 (bl2, log b2).  25 seeds, 35,000 epochs, Adam 1e-4, biases from 0, batches of 16.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .508 .521 .49.  At a rate of 1e-3: experiment 3.2.1.
Time, estimated from 2.7 ms an epoch and seed: 40 minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 2)
    config.seeds = tuple(range(25))
    config.fit.epochs = 35000
    published(config, "baseline 2", "bl2", "b2", (0.508, 0.521, 0.49))
