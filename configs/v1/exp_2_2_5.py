"""Experiment 2.2.5: what and where, as far as the toolbox of the time allowed.

    python launch.py --config=configs/v1/exp_2_2_5.py --config.data.dir=./Data

Three convolutions of 48 (widths 13, 3, 3) → factorized neurons; stride of the first 1, 2 or 3 × its d2x .01, .1
× l1 of the readout .01, .1; 10 seeds, 5000 epochs.  The recipe as Klindt et al. wrote it: klindt.py.
Published, region 1, the best (50th, 90th, 10th percentile over seeds): .479 .494 .455.  That strides and penalties were
swept is published; their values are chosen here.
Time, estimated and not measured: days on 2 cores; meant for a GPU.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.5; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    convolution = {"kind": "Convolution", "features": 48}
    set_layers(
        config,
        dense(width=13, **convolution),
        dense(width=3, **convolution),
        dense(width=3, **convolution),
        dense("Factorized", fraction=1.0, normalization="features"),
    )
    config.fit.members_at_once = 10
    config.sweep.grid = (
        ("model.layer0.stride", (1, 2, 3)),
        ("model.layer0.penalties.d2x", (0.01, 0.1)),
        ("model.layer3.penalties.l1", (0.01, 0.1), "readout_l1"),
    )
    config.sweep.published_best = (0.479, 0.494, 0.455)
