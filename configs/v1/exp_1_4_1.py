"""Experiment 1.4.1: a learned scale before the differences of Gaussians.

    python launch.py --config=configs/v1/exp_1_4_1.py --config.data.dir=./Data

Baseline 4 with and without one multiplier and offset for all pixels, on inputs of mean 0 and deviation 1, × 10⁶, and as
recorded; 10 seeds, 5000 epochs.
Published: no percentiles that are known to us.
Time, estimated from 5.7 ms an epoch and seed: about half an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import add_alternative, best_baseline, choose, hsm_layers, layer


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.4.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    add_alternative(config, "scaled", layer("LinearScale"), *hsm_layers(l2=0.1))
    config.sweep.runs = (("plain", ()), ("scaled", (("model.use", "scaled"),)))
    config.sweep.grid = (("data.inputs", ("standard", "million", "none")),)
