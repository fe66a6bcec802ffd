"""Experiment 2.2.5: what and where, as far as the toolbox of the time allowed.

    python launch.py --config=configs/v1/exp_2_2_5.py --config.data.dir=./Data

Thesis: fig:5.2.2.5 (bs4_exp8).  Three convolutions of 48 (widths 13, k, k; stride t) → factorized neurons with feature
vectors of norm 1.  Runs 0 to 35: k 3, t 2 × d2x of all convolutions .1, .5, 1 × their max_filt 1, 10 × the read-out's
l1 .005, .01, .05 or l2 .01, .05, .1.  Runs 100 to 153: d2x .1, l1 .01 × max_filt, l2 or max of the convolutions .01,
.1, 1 × k 3, 8 × strides 1, 2 or 6, k // 2, k // 2.  10 seeds, 5000 epochs.  The recipe as Klindt et al. wrote it:
klindt.py.
max_filt means nothing where there is one channel: it is 0 on the first convolution.
Without `:ndn3` all arrays share the training statistics and draws are JAX's own (suite.py), and kernels of width 8 are
cropped to the grids of 6×6 and 2×2 that they read.
Published, region 1 (50th, 90th, 10th percentile over seeds): run 125 .479 .494 .455.
Time, estimated and not measured: days on 2 cores; meant for a GPU.
"""

from ml_collections import ConfigDict

from configs.v1.experiments import loop, numbered, penalties, published
from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """Experiment 2.2.5; presets thesis, quick and ndn3."""
    return choose(preset, define)


CONVOLUTIONS = tuple(f"model.layer{index}" for index in range(3))
READOUT = "model.layer3"


def define(config: ConfigDict) -> None:
    what_and_where(config)
    published(config, "2.2.5", "bs4_exp8", "")
    numbered(
        config,
        "bs4_exp8",
        smoothness((0.1, 0.5, 1.0)),
        shared_penalties(("max_filt",), (1.0, 10.0)),
        (
            *penalties(("l1",), (0.005, 0.01, 0.05), READOUT),
            *penalties(("l2",), (0.01, 0.05, 0.1), READOUT),
        ),
    )
    numbered(
        config,
        "bs4_exp8",
        smoothness((0.1,)),
        shared_penalties(("max_filt", "l2", "max"), (0.01, 0.1, 1.0)),
        penalties(("l1",), (0.01,), READOUT),
        tuple(geometry(width, stride) for width in (3, 8) for stride in (1, 2, 0)),
        first=100,
        published={125: (0.479, 0.494, 0.455)},
    )


def what_and_where(config: ConfigDict) -> None:
    """Three convolutions of 48, widths 13, 3, 3 and stride 2, and factorized neurons."""
    convolution = {"kind": "Convolution", "features": 48, "stride": 2}
    set_layers(
        config,
        dense(width=13, **convolution),
        dense(width=3, **convolution),
        dense(width=3, **convolution),
        dense("Factorized", fraction=1.0, normalization="features"),
    )
    config.fit.members_at_once = 10


def smoothness(strengths: tuple) -> tuple:
    """A loop over the d2x of all convolutions."""
    return loop("d2x", strengths, *(f"{place}.penalties.d2x" for place in CONVOLUTIONS))


def shared_penalties(kinds: tuple, strengths: tuple) -> tuple:
    """Loops over kinds and strengths of a penalty on all convolutions; max_filt leaves the first one out."""
    return tuple(
        entry
        for kind in kinds
        for entry in penalties((kind,), strengths, *CONVOLUTIONS[1 if kind == "max_filt" else 0 :])
    )


def geometry(width: int, stride: int) -> tuple:
    """Width of the second and third convolution and the stride of all; 0: 6, width // 2, width // 2."""
    strides = (stride,) * 3 if stride else (6, width // 2, width // 2)
    return f"k={width}_t={stride}", (
        *((f"{place}.width", width) for place in CONVOLUTIONS[1:]),
        *((f"{place}.stride", each) for place, each in zip(CONVOLUTIONS, strides, strict=True)),
    )
