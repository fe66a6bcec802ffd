"""A linear convolution in place of the differences of Gaussians.

    python launch.py --config=configs/v1/bs3_exp6.py --config.data.dir=./Data

Not in the thesis (bs3_exp6, log bs3_exp61).  Hidden units .1, .2, .4 of the neurons × 9, 20 linear filters × widths 3,
5, 7, 15, 30 with stride (width + 1) // 2; no penalties; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published: no numbers.
Time, estimated and not measured: a day on 2 cores; meant for a GPU or a cluster.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, filters, loop, numbered, published
from configs.v1.suite import choose, dense, layer, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """This sweep; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(
        config,
        layer("Convolution", features=9, width=7, stride=4, bias_initializer="normal"),
        dense(fraction=0.2),
        dense(fraction=1.0),
    )
    config.fit.members_at_once = 40
    published(config, "", "bs3_exp6", "")
    numbered(
        config,
        "bs3_exp61",
        loop("h", (0.1, 0.2, 0.4), f"{HIDDEN}.fraction"),
        loop("F", (9, 20), "model.layer0.features"),
        *filters("model.layer0", (3, 5, 7, 15, 30)),
    )
