"""Experiment 2.2.4: convolved differences of Gaussians without rectification.

    python launch.py --config=configs/v1/exp_2_2_4.py --config.data.dir=./Data

Filters of width 3, 7, 15 with stride (width + 1) // 2, 9 or 30 of them → hidden units, dense or factorized, with l2 .1
→ neurons with l2 .1; 10 seeds, 5000 epochs.
Published, region 1, the best two (50th, 90th, 10th percentile): .498 .516 .448 and .495 .509 .462.  The hidden layer's
size, .2 of the neurons, and its l2 are chosen here.
Time, estimated from 55 ms an epoch and seed of experiment 2.2.3: up to nine hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.exp_2_2_3 import define as define_rectified
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.4; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    define_rectified(config)
    for name in ("dense", "sep"):
        config.alternatives[name].layer0.activation = "linear"
