"""Experiment 1.3.2: kinds and strengths of penalties.

    python launch.py --config=configs/v1/exp_1_3_2.py --config.data.dir=./Data

Baseline 3 with l1, l2 or max of 0.01, 0.1 or 1 on the hidden and the output layer; hidden units 0.2, 0.3 and 0.4 of the
neurons; 10 seeds, 5000 epochs.
Published: which penalties; their strengths and the sizes are chosen here, and no percentiles are known to us.
Time, estimated from 5.7 ms an epoch and seed: about two hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, hsm_layers, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.3.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, *hsm_layers())
    config.sweep.runs = tuple(
        (f"{name}_{strength:g}", tuple((f"model.layer{index}.penalties.{name}", strength) for index in (1, 2)))
        for name in ("l1", "l2", "max")
        for strength in (0.01, 0.1, 1.0)
    )
    config.sweep.grid = (("model.layer1.fraction", (0.2, 0.3, 0.4), "hidden"),)
