"""Baseline 1 with rectified Gaussian units, and with two hidden layers on two regions.

    python launch.py --config=configs/v1/baseline_1_exp3.py --config.data.dir=./Data

Not in the thesis (baseline_1_exp3).  5000 epochs.  bs1_exp31: softplus after the differences of Gaussians, seeds 0 to
9 and 10 to 19.  bs1_exp32: regions 1 and 2 pooled, 16 differences of Gaussians → two hidden layers → neurons, 10
seeds.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated and not measured: 20 minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import add_alternative, choose, dense, hsm_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Variants of baseline 1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 1, activation="softplus")
    published(config, "", "baseline_1_exp3", "")
    gaussians, hidden, neurons = hsm_layers(gaussians=16, bias="zeros")
    add_alternative(config, "deep", gaussians, hidden, dense(fraction=0.2, bias="zeros"), neurons)
    two = (("model.use", "deep"), ("data.regions", (1, 2)))
    config.sweep.runs = (
        ("31_softplus", (("seeds", tuple(range(20))), ("origin.run", 31), ("origin.log_name", "bs1_exp31"))),
        ("32_deep", (*two, ("origin.run", 32), ("origin.log_name", "bs1_exp32"))),
    )
