"""Experiment 2.2.2: a convolution, then what and where apart.

    python launch.py --config=configs/v1/exp_2_2_2.py --config.data.dir=./Data

As 2.2.1 with a factorized hidden layer, of l1 or l2 .01, .1 or 1, its feature vectors of unit norm; 10 seeds,
5000 epochs.
Published, region 1, the best (50th, 90th, 10th percentile over seeds): .474 .499 .461.  The number of hidden units, .2
of the neurons, is chosen here.
Time, estimated and not measured: days on 2 cores; meant for a GPU or a cluster.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.2; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(
        config,
        dense("Convolution", features=9, width=7, stride=4),
        dense("Factorized", fraction=0.2, normalization="features"),
        dense(fraction=1.0, penalties={"l2": 0.1}),
    )
    config.sweep.runs = tuple(
        (
            f"width{width}_{name}_{strength:g}",
            (
                ("model.layer0.width", width),
                ("model.layer0.stride", (width + 1) // 2),
                (f"model.layer1.penalties.{name}", strength),
            ),
        )
        for width in (3, 7, 15)
        for name in ("l1", "l2")
        for strength in (0.01, 0.1, 1.0)
    )
    config.sweep.grid = (
        ("model.layer0.features", (9, 30), "filters"),
        ("model.layer0.penalties.d2x", (0.01, 0.1)),
    )
    config.fit.members_at_once = 40
    config.sweep.published_best = (0.474, 0.499, 0.461)
