"""Experiment 3.2.1: five architectures on each region.

    python launch.py --config=configs/v1/exp_3_2_1.py --config.data.dir=./Data

Baselines 4 and 2, LNLN, convolution, and convolved differences of Gaussians; regions 1, 2, 3; 10 seeds, 5000 epochs.
Published medians of regions 1, 2, 3: bl4 .513 .414 .449; bl2 .496 .415 .454; LNLN .481 .340 .404;
convolution .476 .358 .416; convolved differences of Gaussians .486 .318 .396.
Not published and chosen here: LNLN with hidden units .2 and d2x .5; 30 filters of width 7, stride 4, d2x .1; 9
convolved differences of Gaussians of width 15, stride 8; hidden units .2 with l2 .1 after both; l2 .1 on the neurons.
Time, estimated and not measured: hours on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.suite import add_alternative, best_baseline, choose, dense, hsm_layers, layer


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 3.2.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    best_baseline(config)
    neurons = dense(fraction=1.0, penalties={"l2": 0.1})
    hidden = dense(fraction=0.2, penalties={"l2": 0.1})
    gaussians = {"features": 9, "width": 15, "stride": 8, "bias_initializer": "normal"}
    add_alternative(config, "bl4", *hsm_layers(l2=0.1))
    add_alternative(config, "bl2", *hsm_layers(bias="zeros"))
    add_alternative(config, "lnln", dense(fraction=0.2, penalties={"d2x": 0.5}), neurons)
    add_alternative(
        config, "conv", dense("Convolution", features=30, width=7, stride=4, penalties={"d2x": 0.1}), hidden, neurons
    )
    add_alternative(config, "convdog", layer("ConvolutionalDifferenceOfGaussians", **gaussians), hidden, neurons)
    published = {
        "bl4": (0.513, 0.414, 0.449),
        "bl2": (0.496, 0.415, 0.454),
        "lnln": (0.481, 0.340, 0.404),
        "conv": (0.476, 0.358, 0.416),
        "convdog": (0.486, 0.318, 0.396),
    }
    config.sweep.runs = tuple(
        (
            f"{name}_region{region}",
            (
                ("model.use", name),
                ("data.regions", (region,)),
                ("published", (medians[region - 1],)),
                ("optimization.learning_rate", 1e-4 if name == "bl2" else 1e-3),
            ),
        )
        for name, medians in published.items()
        for region in (1, 2, 3)
    )
