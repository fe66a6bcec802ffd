"""Baseline 2 with rectified Gaussian units.

    python launch.py --config=configs/v1/baseline_2_exp3.py --config.data.dir=./Data

Not in the thesis (baseline_2_exp3, log bs2_exp33).  Softplus after the differences of Gaussians; 20 seeds, 5000
epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated from 2.7 ms an epoch and seed: five minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 2, rectified; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 2, activation="softplus")
    config.seeds = tuple(range(20))
    published(config, "", "baseline_2_exp3", "bs2_exp33")
