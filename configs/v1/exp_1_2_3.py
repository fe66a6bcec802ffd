"""Experiment 1.2.3: random biases.

    python launch.py --config=configs/v1/exp_1_2_3.py --config.data.dir=./Data

Thesis: ex:1.2.3 (baseline_2_exp4, log bs2_exp41).  Baseline 2 with biases that start from N(0, 0.1²); 10 seeds, 5000
epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): .484 .494 .461.
Time, estimated from 2.7 ms an epoch and seed: three minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 2)
    for group in (config.model.layer0, config.model.layer1, config.model.layer2):
        group.bias_initializer = "normal"
    published(config, "1.2.3", "baseline_2_exp4", "bs2_exp41", (0.484, 0.494, 0.461))
