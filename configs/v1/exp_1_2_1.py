"""Experiment 1.2.1: scaling of inputs and responses.

    python launch.py --config=configs/v1/exp_1_2_1.py --config.data.dir=./Data

Thesis: ex:1.2.1 (baseline_1_exp2, logs bs1_exp21 and bs1_exp22).  Baseline 1 on inputs of mean 0 and deviation 1 (21),
and with responses divided by their deviation as well (22); 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): 21 .482 .500 .447, 22 .480 .497 .443.
Time, estimated from 2.7 ms an epoch and seed: five minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 1)
    config.data.inputs = "standard"
    published(config, "1.2.1", "baseline_1_exp2", "")
    config.sweep.runs = tuple(
        (
            f"{number}_responses={responses}",
            (
                ("data.responses", responses),
                ("published", percentiles),
                ("origin.run", number),
                ("origin.log_name", f"bs1_exp{number}"),
            ),
        )
        for number, responses, percentiles in (
            (21, "none", (0.482, 0.500, 0.447)),
            (22, "unit_deviation", (0.480, 0.497, 0.443)),
        )
    )
