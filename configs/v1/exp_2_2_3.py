"""Experiment 2.2.3: convolved differences of Gaussians.

    python launch.py --config=configs/v1/exp_2_2_3.py --config.data.dir=./Data

Thesis: fig:5.2.2.3 (bs4_exp9).  Rectified filters of width 3, 7, 15 with stride (width + 1) // 2 × 9, 30 of them ×
hidden layer (.2 of the neurons): factorized with l1 (runs 0 to 17) or dense with max, l1 (118 to 153), of .01, .1, 1;
neurons with l2 .1.  A second runner has 4 filters of width 7, 15: 200 to 203 and 304 to 315.  10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py).
Published, region 1 (50th, 90th, 10th percentile over seeds): run 152 .482 .496 .466; 15 .483 .502 .465; 202 .446 .471
.415; the median of 3 .376.
Time, estimated from 55 ms an epoch and seed of the largest run: up to two days on 2 cores.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import convolved, filters, numbered, penalties, published
from configs.v1.suite import add_alternative, choose


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.3; presets thesis, quick and ndn3."""
    return choose(preset, define)


SEPARABLE, DENSE = "alternatives.sep", "alternatives.dense"


def define(config: ConfigDict) -> None:
    models(config, "softplus")
    published(config, "2.2.3", "bs4_exp9", "")
    few, many = (7, 15), (3, 7, 15)
    strengths = (0.01, 0.1, 1.0)
    for place, widths, features, hidden, first in (
        (SEPARABLE, many, (9, 30), penalties(("l1",), strengths, f"{SEPARABLE}.layer1"), 0),
        (DENSE, many, (9, 30), penalties(("max", "l1"), strengths, f"{DENSE}.layer1"), 118),
        (SEPARABLE, few, (4,), penalties(("l1",), (0.01, 0.1), f"{SEPARABLE}.layer1"), 200),
        (DENSE, few, (4,), penalties(("max", "l1"), strengths, f"{DENSE}.layer1"), 304),
    ):
        numbered(
            config,
            "bs4_exp9",
            *filters(f"{place}.layer0", widths, features),
            hidden,
            first=first,
            also=(("model.use", place.split(".")[1]),),
            published={
                3: (0.376,),
                15: (0.483, 0.502, 0.465),
                152: (0.482, 0.496, 0.466),
                202: (0.446, 0.471, 0.415),
            },
        )


def models(config: ConfigDict, activation: str) -> None:
    """The two models, with a factorized (sep) and a dense hidden layer, on filters of this activation."""
    for name, hidden in (("sep", "Factorized"), ("dense", "Dense")):
        filtered = convolved(hidden, "ConvolutionalDifferenceOfGaussians", activation=activation)
        add_alternative(config, name, *filtered)
    config.model.use = "sep"
    config.fit.members_at_once = 40
