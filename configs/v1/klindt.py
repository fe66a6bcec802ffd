"""The what/where model as Klindt et al. (2017) describe it, which the thesis could not build in its toolbox.

    python launch.py --config=configs/v1/klindt.py --config.data.dir=./Data

Pixels z-scored one by one; three convolutions of 48 (13 VALID, 3, 3) with batch normalization and softplus, the last
linear; readout softplus(Σ|W_s||W_f|h + b) with product-L1, b from mean rates; Poisson summed over neurons; Adam with
batches of 256, stopped by a fifth of the training images in three phases of 1e-3, /3, /9.  Strengths for region 1 and
the grid of three strengths are theirs.  Region 3 takes widths 13, 8, 8: --config.model.layer1.width=8
--config.model.layer2.width=8.
Published by Klindt et al., regions 1, 2, 3: .55, .45, .49 (a grid's fit of lowest validation loss, not a median).
Chosen here: 10 seeds, at most 3000 epochs, and a look every 9 epochs of 6 updates where they looked every 50 updates.

    python launch.py --config=configs/v1/klindt.py:gaussian --config.data.dir=./Data

The preset gaussian has a Gaussian read-out (Lurz et al. 2021) behind the same core: each neuron reads the 48 channels
at one learned place, its weights with l1; one run, nothing published.
Time, estimated and not measured: days on 2 cores; meant for a GPU.
"""

from ml_collections import ConfigDict

from configs.v1 import suite
from configs.v1.suite import choose, layer, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """The strict what/where recipe; presets thesis, quick, ndn3 and gaussian."""
    return choose(preset, define, gaussian=gaussian, quick=quick)


def define(config: ConfigDict) -> None:
    config.data.inputs = "pixel_standard"
    convolution = {"kind": "Convolution", "features": 48, "bias": False, "batch_norm": True}
    weights = {"weight_initializer": "truncated_normal", "weight_scale": 0.01}
    set_layers(
        config,
        layer(
            width=13, padding="VALID", activation="softplus", penalties={"smoothness": 0.03}, **convolution, **weights
        ),
        layer(width=3, activation="softplus", penalties={"group_sparsity": 0.05}, **convolution, **weights),
        layer(width=3, penalties={"group_sparsity": 0.05}, **convolution, **weights),
        layer(
            "Factorized",
            fraction=1.0,
            activation="softplus",
            positive="both",
            positivity="absolute",
            penalties={"product_l1": 0.02},
            **weights,
        ),
    )
    config.model.mean_rate_bias = True
    config.optimization.update({"batch_size": 256, "poisson_offset": 1e-5, "divide_by_rates": False})
    config.fit.update({"epochs": 3000, "log_every": 9, "members_at_once": 10})
    config.stopping.update({"enabled": True, "fraction": 0.2, "patience": 10, "phases": 3, "rate_factor": 1 / 3})
    config.sweep.runs = (
        ("standalone", ()),
        *(
            (
                f"smooth{smooth:g}_sparse{sparse:g}_readout{readout:g}",
                (
                    ("model.layer0.penalties.smoothness", smooth),
                    ("model.layer1.penalties.group_sparsity", sparse),
                    ("model.layer2.penalties.group_sparsity", sparse),
                    ("model.layer3.penalties.product_l1", readout),
                ),
            )
            for smooth in (0.001, 0.003, 0.01)
            for sparse in (0.0, 0.025, 0.05)
            for readout in (0.03, 0.04, 0.05)
        ),
    )
    config.sweep.published_best = (0.55,)


def gaussian(config: ConfigDict) -> None:
    """A Gaussian read-out in place of the factorized one."""
    config.model.layer3 = layer(
        "GaussianReadout",
        fraction=1.0,
        activation="softplus",
        penalties={"l1": 0.02},
        weight_initializer="truncated_normal",
        weight_scale=0.01,
    )
    config.sweep.runs = ()
    config.sweep.published_best = ()


def quick(config: ConfigDict) -> None:
    """A core of 12 channels, 2 seeds, 40 epochs: 48 channels take some 30 million products an image and direction."""
    suite.quick(config)
    for name in ("layer0", "layer1", "layer2"):
        config.model[name].features = 12
    config.seeds = (0, 1)
    # Grouped convolutions of several networks side by side are slow on a CPU.
    config.fit.update({"epochs": 40, "log_every": 4, "members_at_once": 1})
