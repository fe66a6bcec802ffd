"""Experiment 1.2.1: scaling of inputs and responses.

    python launch.py --config=configs/v1/exp_1_2_1.py --config.data.dir=./Data

Baseline 4, 10 seeds, 5000 epochs; inputs × 10⁶, to mean 0 and deviation 1, to deviation 1, or each pixel by itself,
crossed with responses as they are, to deviation 1 over all, or for each neuron.
Published: that both were scaled, not how; the list of scalings is chosen here, and no percentiles are known to us.
Time, estimated from 5.7 ms an epoch and seed: about an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import best_baseline, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.2.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    config.sweep.grid = (
        ("data.inputs", ("million", "standard", "unit_deviation", "pixel_standard")),
        ("data.responses", ("none", "unit_deviation", "neuron_deviation")),
    )
