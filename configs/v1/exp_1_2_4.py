"""Experiment 1.2.4: learning rates 1e-5, 1e-4, 5e-4, 1e-3 and 5e-3.

    python launch.py --config=configs/v1/exp_1_2_4.py --config.data.dir=./Data

Thesis: ex:1.2.4 (bs2_exp1).  Baseline 2, 10 seeds, 5000 epochs; the five runs train in one program.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): 1e-5 .356 .388 .334; 5e-4 .499 .511 .493; 1e-3 .503 .511
.487; 5e-3 .477 .494 .463.
Time, estimated from 2.7 ms an epoch and seed: a quarter of an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.4; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 2)
    published(config, "1.2.4", "bs2_exp1", "")
    numbered(
        config,
        "bs2_exp1",
        loop("rate", (1e-5, 1e-4, 5e-4, 1e-3, 5e-3), "optimization.learning_rate"),
        published={
            0: (0.356, 0.388, 0.334),
            2: (0.499, 0.511, 0.493),
            3: (0.503, 0.511, 0.487),
            4: (0.477, 0.494, 0.463),
        },
    )
