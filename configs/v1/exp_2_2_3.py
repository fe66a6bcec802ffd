"""Experiment 2.2.3: convolved differences of Gaussians.

    python launch.py --config=configs/v1/exp_2_2_3.py --config.data.dir=./Data

Filters of width 3, 7, 15 with stride (width + 1) // 2, 9 or 30 of them → hidden units, dense or factorized, with l2 .1
→ neurons with l2 .1; 10 seeds, 5000 epochs.
Published, region 1, the best (50th, 90th, 10th percentile): .482 .496 .466 (dense), .483 .502 .465 (factorized).  The
hidden layer's size, .2 of the neurons, and its l2 are chosen here.
Time, estimated from 55 ms an epoch and seed of the largest run: up to nine hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import add_alternative, choose, dense, layer


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.3; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    convolved = layer(
        "ConvolutionalDifferenceOfGaussians",
        features=9,
        width=7,
        stride=4,
        activation="softplus",
        bias_initializer="normal",
    )
    neurons = dense(fraction=1.0, penalties={"l2": 0.1})
    hidden = {"fraction": 0.2, "penalties": {"l2": 0.1}}
    add_alternative(config, "dense", convolved, dense(**hidden), neurons)
    add_alternative(config, "sep", convolved, dense("Factorized", normalization="features", **hidden), neurons)
    config.sweep.runs = tuple(
        (
            f"{name}_width{width}_filters{features}",
            (
                ("model.use", name),
                (f"alternatives.{name}.layer0.width", width),
                (f"alternatives.{name}.layer0.stride", (width + 1) // 2),
                (f"alternatives.{name}.layer0.features", features),
            ),
        )
        for name in ("dense", "sep")
        for width in (3, 7, 15)
        for features in (9, 30)
    )
    config.fit.members_at_once = 40
