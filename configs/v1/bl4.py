"""Baseline 4: baseline 3 with an l2 penalty of 0.1 on the output layer, the best of the thesis.

    python launch.py --config=configs/v1/bl4.py --config.data.dir=./Data

Thesis: baseline 4.  25 seeds, 35,000 epochs, Adam 1e-3, batches of 16.  About an hour and a half on 2 cores.
Published, region 1 (50th, 90th, 10th percentile over seeds): .513 .533 .506; medians of regions 2 and 3: .414, .449.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Baseline 4; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.seeds = tuple(range(25))
    config.fit.epochs = 35000
    config.published = (0.513, 0.533, 0.506)
