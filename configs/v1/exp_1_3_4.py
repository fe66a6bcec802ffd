"""Experiment 1.3.4: softplus after the differences of Gaussians.

    python launch.py --config=configs/v1/exp_1_3_4.py --config.data.dir=./Data

Thesis: ex:1.3.4 (bs4_exp3).  Baseline 4 with rectified Gaussian units; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .494 .512 .467.
Time, estimated from 2.7 ms an epoch and seed: three minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.4; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 4, activation="softplus")
    published(config, "1.3.4", "bs4_exp3", "bs4_exp3", (0.494, 0.512, 0.467))
