"""Experiment 3.1.1: regions pooled, with masks.

    python launch.py --config=configs/v1/exp_3_1_1.py --config.data.dir=./Data

Thesis: ch:5.3.1 (bs3_exp9, log bs3_exp91).  Baseline 3 with one l2, 0, .1, 1, on hidden and output layer.  Runs 0 to
8: regions 1, 2, 3 alone × l2.  Runs 9 to 44: hidden units .2, .3 of the neurons × 9, 15, 25 differences of Gaussians ×
regions 1 and 2, all three × l2.  Every neuron is scored on its own images; 10 seeds, 5000 epochs.  The ensemble of
regions fitted apart, runs 0, 3 and 6 weighted by their neurons, is drawn by figures.py.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), of the pooled regions
together.
Published (50th, 90th, 10th percentile over seeds): all three, run 25 .439 .459 .426, fitted apart .474 .486 .46;
regions 1 and 2, run 22 .484 .495 .471, fitted apart .475 .483 .475.
Time, estimated and not measured: three hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, OUTPUT, baseline, loop, numbered, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 3.1.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "3.1.1", "bs3_exp9", "")
    strengths = loop("l2", (0.0, 0.1, 1.0), f"{HIDDEN}.penalties.l2", f"{OUTPUT}.penalties.l2")
    numbered(config, "bs3_exp91", loop("regions", ((1,), (2,), (3,)), "data.regions"), strengths)
    numbered(
        config,
        "bs3_exp91",
        loop("h", (0.2, 0.3), f"{HIDDEN}.fraction"),
        loop("k", (9, 15, 25), "model.layer0.features"),
        loop("regions", ((1, 2), (1, 2, 3)), "data.regions"),
        strengths,
        first=9,
        published={22: (0.484, 0.495, 0.471), 25: (0.439, 0.459, 0.426)},
    )
