"""Experiment 3.2.1: five architectures on each region.

    python launch.py --config=configs/v1/exp_3_2_1.py --config.data.dir=./Data

Thesis: tab:5.3.2.1 (experiments_multeval).  Baseline 2 at a rate of 1e-3; baseline 4; bs4_exp5: 30 filters of width
15, stride 8, d2x .01 → factorized, .2 of the neurons, l1 .1; bs4_exp10: 9 linear convolved differences of Gaussians of
width 7, stride 4 → dense, .2 of the neurons, l1 .1; bs4_exp1: dense, .2 of the neurons, d2x .1; the last three with an
l2 of .1 on the neurons.  Regions 1, 2, 3; 10 seeds, 35,000 epochs, logged every 700.  The mean training correlation is
in the column `training` of the table.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published (50th, 90th, 10th percentile over seeds), regions 1; 2; 3:
bl2 .496 .523 .469; .415 .429 .398; .454 .460 .449.      bl4 .513 .533 .506; .414 .434 .407; .449 .455 .439.
bs4_exp5 .476 .498 .446; .358 .391 .306; .416 .445 .403.  bs4_exp10 .486 .499 .450; .318 .363 .288; .396 .432 .384.
bs4_exp1 .481 .491 .471; .340 .362 .327; .404 .417 .396.
Time, estimated and not measured: two days on 2 cores, most of it for bs4_exp5; meant for a GPU or a cluster.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import convolved, published
from configs.v1.suite import add_alternative, choose, dense, hsm_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 3.2.1; presets thesis, quick and ndn3."""
    return choose(preset, define)


# Models in order, with the percentiles of regions 1, 2 and 3.
PUBLISHED = {
    "bl2": ((0.496, 0.523, 0.469), (0.415, 0.429, 0.398), (0.454, 0.460, 0.449)),
    "bl4": ((0.513, 0.533, 0.506), (0.414, 0.434, 0.407), (0.449, 0.455, 0.439)),
    "bs4_exp5": ((0.476, 0.498, 0.446), (0.358, 0.391, 0.306), (0.416, 0.445, 0.403)),
    "bs4_exp10": ((0.486, 0.499, 0.450), (0.318, 0.363, 0.288), (0.396, 0.432, 0.384)),
    "bs4_exp1": ((0.481, 0.491, 0.471), (0.340, 0.362, 0.327), (0.404, 0.417, 0.396)),
}


def define(config: ConfigDict) -> None:
    config.fit.update({"epochs": 35000, "log_every": 700, "score_training": True, "members_at_once": 40})
    published(config, "3.2.1", "experiments_multeval", "")
    penalized = {"fraction": 0.2, "penalties": {"l1": 0.1}}
    filtered, factorized, neurons = convolved("Factorized", features=30, width=15, penalties={"d2x": 0.01})
    gaussians = convolved("Dense", "ConvolutionalDifferenceOfGaussians", activation="linear")[0]
    factorized.penalties.l1 = 0.1
    add_alternative(config, "bl2", *hsm_layers(bias="zeros"))
    add_alternative(config, "bl4", *hsm_layers(l2=0.1))
    add_alternative(config, "bs4_exp5", filtered, factorized, neurons)
    add_alternative(config, "bs4_exp10", gaussians, dense(**penalized), neurons)
    add_alternative(config, "bs4_exp1", dense(fraction=0.2, penalties={"d2x": 0.1}), neurons)
    config.model.use = "bl2"
    config.sweep.runs = tuple(
        (
            f"{name}_region{region}",
            (
                ("model.use", name),
                ("data.regions", (region,)),
                ("published", PUBLISHED[name][region - 1]),
                ("origin.run", 3 * index + region - 1),
                ("origin.log_name", name),
            ),
        )
        for index, name in enumerate(PUBLISHED)
        for region in (1, 2, 3)
    )
