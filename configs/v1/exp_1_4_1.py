"""Experiment 1.4.1: a learned scale before the differences of Gaussians.

    python launch.py --config=configs/v1/exp_1_4_1.py --config.data.dir=./Data

Thesis: fig:5.1.4.1 (bs3_exp10).  Baseline 3 with and without one multiplier (from 1) and offset (from 0) for all
pixels × inputs of mean 0 and deviation 1, × 10⁶, and as recorded; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds), standard, × 10⁶, raw: with the scale .505 .516 .488, .465
.505 .421, .328 .404 .000; without, the last two: .410 .429 .295, .240 .377 .204.
Time, estimated from 2.7 ms an epoch and seed: a quarter of an hour on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import baseline, loop, numbered, published
from configs.v1.suite import add_alternative, choose, hsm_layers, layer


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 1.4.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    baseline(config, 3)
    published(config, "1.4.1", "bs3_exp10", "")
    add_alternative(config, "scaled", layer("LinearScale"), *hsm_layers())
    numbered(
        config,
        "bs3_exp10",
        (("scaled", (("model.use", "scaled"),)), ("plain", ())),
        loop("inputs", ("standard", "million", "none"), "data.inputs"),
        published={
            0: (0.505, 0.516, 0.488),
            1: (0.465, 0.505, 0.421),
            2: (0.328, 0.404, 0.000),
            4: (0.410, 0.429, 0.295),
            5: (0.240, 0.377, 0.204),
        },
    )
