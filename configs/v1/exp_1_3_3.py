"""Experiment 1.3.3: l2 penalties of both dense layers.

    python launch.py --config=configs/v1/exp_1_3_3.py --config.data.dir=./Data

Thesis: ex:1.3.3 (bl3_exp12).  Baseline 3 with hidden units .2, .3 of the neurons × l2 of the hidden layer 0, .05, .1,
.5 × l2 of the output layer 0, .05, .1, .5; 10 seeds, 35,000 epochs, logged every 700.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): run 2 .513 .533 .506; 6 .503 .515 .480; 22 .502 .515
.488.
Time, estimated from 2.7 ms an epoch and seed: nine hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, OUTPUT, baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    config.fit.update({"epochs": 35000, "log_every": 700})
    published(config, "1.3.3", "bl3_exp12", "")
    numbered(
        config,
        "bl3_exp12",
        loop("h", (0.2, 0.3), f"{HIDDEN}.fraction"),
        loop("hidden", (0.0, 0.05, 0.1, 0.5), f"{HIDDEN}.penalties.l2"),
        loop("output", (0.0, 0.05, 0.1, 0.5), f"{OUTPUT}.penalties.l2"),
        published={2: (0.513, 0.533, 0.506), 6: (0.503, 0.515, 0.480), 22: (0.502, 0.515, 0.488)},
    )
