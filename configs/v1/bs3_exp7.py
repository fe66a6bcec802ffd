"""Two convolutions, the first linear, in place of the differences of Gaussians.

    python launch.py --config=configs/v1/bs3_exp7.py --config.data.dir=./Data

Not in the thesis (bs3_exp7, log bs3_exp71).  Hidden units .1, .2, .4 of the neurons × 9 filters in both × widths 3, 5,
7, 15 of both, with stride (width + 1) // 2; no penalties; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), and kernels of width 15
are cropped to the 4×4 grid that the second layer reads.
Published: no numbers.
Time, estimated and not measured: hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import loop, numbered, published
from configs.v1.suite import choose, dense, layer, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    convolution = {"features": 9, "width": 7, "stride": 4, "bias_initializer": "normal"}
    set_layers(
        config,
        layer("Convolution", **convolution),
        layer("Convolution", activation="softplus", **convolution),
        dense(fraction=0.2),
        dense(fraction=1.0),
    )
    config.fit.members_at_once = 40
    published(config, "", "bs3_exp7", "")
    widths = tuple(
        (
            f"w={width}",
            tuple(
                (f"model.layer{index}.{field}", value)
                for index in (0, 1)
                for field, value in (("width", width), ("stride", (width + 1) // 2))
            ),
        )
        for width in (3, 5, 7, 15)
    )
    numbered(config, "bs3_exp71", loop("h", (0.1, 0.2, 0.4), "model.layer2.fraction"), widths)
