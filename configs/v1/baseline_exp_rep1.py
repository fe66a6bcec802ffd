"""Repeatability, part 1: the same seeds twice in one process, twice over.

    python launch.py --config=configs/v1/baseline_exp_rep1.py --config.data.dir=./Data

Not in the thesis (baseline_exp_rep1, logs bs1_exp11 and bs1_exp12).  Baseline 1, 5000 epochs, seeds 3, 3, 23, 23:
equal seeds of a run show repeatability within a process; its two runs, and those of baseline_exp_rep2, repeatability
across processes. Both runs are one program here (config.sweep.together=1: two).
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated from 2.7 ms an epoch and seed: two minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, published
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Repeatability, part 1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    repeat(config, "baseline_exp_rep1", (11, 12))


def repeat(config: ConfigDict, script: str, numbers: tuple[int, int]) -> None:
    """Baseline 1 with two seeds twice, run under both numbers of a published script."""
    baseline(config, 1)
    config.seeds = (3, 3, 23, 23)
    published(config, "", script, "")
    config.sweep.runs = tuple(
        (f"{number}", (("origin.run", number), ("origin.log_name", f"bs1_exp{number}"))) for number in numbers
    )
