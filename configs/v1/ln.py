"""Reference models: LN, a filter and a softplus for each neuron, and rLN, the same with penalties.

    python launch.py --config=configs/v1/ln.py --config.data.dir=./Data

10 seeds, 5000 epochs at most, stopped by a fifth of the training images; no penalty (LN), and smoothness d2x of 1 to
1e4 with l1 of 0 or .01 (rLN).  All of this is chosen here; nothing was published.
What every other model must beat; differences between seeds are small, for the problem is convex but for the softplus.
Time, estimated from 19 ms an epoch and seed: at most three hours on 2 cores, less for what stops early.
"""

from ml_collections import ConfigDict

from configs.v1.suite import choose, dense, set_layers


def get_config(preset: str = "thesis") -> ConfigDict:
    """The linear references; presets thesis, quick and ndn3."""
    return choose(preset, define)


def define(config: ConfigDict) -> None:
    set_layers(config, dense(fraction=1.0))
    config.stopping.enabled = True
    config.fit.log_every = 10
    config.sweep.runs = (
        ("ln", ()),
        *(
            (
                f"rln_d2x_{smooth:g}_l1_{sparse:g}",
                (("model.layer0.penalties.d2x", smooth), ("model.layer0.penalties.l1", sparse)),
            )
            for smooth in (1.0, 10.0, 100.0, 1e3, 1e4)
            for sparse in (0.0, 0.01)
        ),
    )
