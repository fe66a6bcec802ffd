"""Experiment 2.1.2: LN, one smooth filter a neuron.

    python launch.py --config=configs/v1/exp_2_1_2.py --config.data.dir=./Data

Thesis: fig:5.2.1.2 (bs4_exp2).  Smoothness d2x 0, .001, .01, .1, .5, 1, 5, 10, 100, 1e3, 1e4, 1e5; 10 seeds, 5000
epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1: d2x 1 .282 .296 .265 (50th, 90th, 10th percentile over seeds); medians of 0 and 1e5 .096 and .165.
Time, estimated from 19 ms an epoch and seed: three hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import loop, numbered, published
from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.1.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, dense(fraction=1.0))
    published(config, "2.1.2", "bs4_exp2", "")
    numbered(
        config,
        "bs4_exp2",
        loop(
            "d2x",
            (0.0, 0.001, 0.01, 0.1, 0.5, 1.0, 5.0, 10.0, 100.0, 1e3, 1e4, 1e5),
            "model.layer0.penalties.d2x",
        ),
        published={0: (0.096,), 5: (0.282, 0.296, 0.265), 11: (0.165,)},
    )
