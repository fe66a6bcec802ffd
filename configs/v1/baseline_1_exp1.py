"""Regions 1 and 2 pooled: 9 or 16 differences of Gaussians.

    python launch.py --config=configs/v1/baseline_1_exp1.py --config.data.dir=./Data

Not in the thesis (baseline_1_exp1, logs bs1_exp11 and bs1_exp12).  Baseline 1, 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), of the pooled regions
together.
Published: no numbers.
Time, estimated and not measured: a quarter of an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Regions 1 and 2 pooled; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 1)
    config.data.regions = (1, 2)
    published(config, "", "baseline_1_exp1", "")
    config.sweep.runs = tuple(
        (
            f"{number}_k={units}",
            (("model.layer0.features", units), ("origin.run", number), ("origin.log_name", f"bs1_exp{number}")),
        )
        for number, units in ((11, 9), (12, 16))
    )
