"""Repeatability, part 2: the same seeds twice in one process, twice over.

    python launch.py --config=configs/v1/baseline_exp_rep2.py --config.data.dir=./Data

Not in the thesis (baseline_exp_rep2, logs bs1_exp21 and bs1_exp22).  Baseline 1, 5000 epochs, seeds 3, 3, 23, 23:
equal seeds of a run show repeatability within a process; its two runs, and those of baseline_exp_rep1, repeatability
across processes. Both runs are one program here (config.sweep.together=1: two).
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated from 2.7 ms an epoch and seed: two minutes on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.baseline_exp_rep1 import repeat
from configs.v1.suite import choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Repeatability, part 2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    repeat(config, "baseline_exp_rep2", (21, 22))
