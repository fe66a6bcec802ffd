"""Experiment 2.2.1: a convolution in place of the differences of Gaussians.

    python launch.py --config=configs/v1/exp_2_2_1.py --config.data.dir=./Data

Thesis: ex:2.2.1 (bs4_exp5, runs 172 to 243).  Widths 3, 7, 15 with stride (width + 1) // 2 × 9, 30 filters × their d2x
.01, .1 × max, l2 of the hidden layer (.2 of the neurons) × .01, .1, 1; neurons with l2 .1; 10 seeds, 5000 epochs.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), and the hidden l2 acts:
the script's never did (its key stood twice), so that `:ndn3` leaves it out.
Published, region 1 (50th, 90th, 10th percentile over seeds): run 180 .470 .484 .462; 228 .431 .457 .423; medians of
174 .458; 210 .453; 216 .442.
Time, estimated and not measured: days on 2 cores; meant for a GPU or a cluster.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import HIDDEN, convolved, filters, loop, numbered, penalties, published, without_effect
from configs.v1.suite import choose, ndn3, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.1; presets thesis, quick and ndn3."""
    return choose(preset, define, ndn3=as_published)


def define(config: ConfigDict) -> None:
    set_layers(config, *convolved("Dense"))
    config.fit.members_at_once = 40
    published(config, "2.2.1", "bs4_exp5", "")
    numbered(
        config,
        "bs4_exp5",
        *filters("model.layer0", (3, 7, 15), (9, 30)),
        loop("d2x", (0.01, 0.1), "model.layer0.penalties.d2x"),
        penalties(("max", "l2"), (0.01, 0.1, 1.0), HIDDEN),
        first=172,
        published={
            174: (0.458,),
            180: (0.470, 0.484, 0.462),
            210: (0.453,),
            216: (0.442,),
            228: (0.431, 0.457, 0.423),
        },
    )


def as_published(config: ConfigDict) -> None:
    """The peculiarities, with a hidden l2 that does nothing: its three strengths are one model."""
    ndn3(config)
    without_effect(config, f"{HIDDEN}.penalties.l2")
