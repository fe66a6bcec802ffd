"""Baseline 1: the HSM as first rebuilt, on pixels of 0 to 255.

    python launch.py --config=configs/v1/bl1.py --config.data.dir=./Data

Thesis: baseline 1 (bl1, log b1).  50 seeds, 35,000 epochs, inputs × 10⁶, Adam 1e-4, biases from 0, batches of 16.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .42 .48 .30.  The original HSM: .4789 .5012 .4428.
Time, estimated from 2.7 ms an epoch and seed: an hour and a half on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 1)
    config.seeds = tuple(range(50))
    config.fit.epochs = 35000
    published(config, "baseline 1", "bl1", "b1", (0.42, 0.48, 0.30))
