"""Experiment 1.2.2: Gaussian in place of Poisson noise.

    python launch.py --config=configs/v1/exp_1_2_2.py --config.data.dir=./Data

Thesis: ex:1.2.2 (baseline_2_exp5, log bs2_exp51).  Baseline 2 with the squared error; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .457 .466 .421.
Time, estimated from 2.7 ms an epoch and seed: three minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 2)
    config.optimization.noise = "gaussian"
    published(config, "1.2.2", "baseline_2_exp5", "bs2_exp51", (0.457, 0.466, 0.421))
