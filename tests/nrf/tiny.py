"""A config that trains in seconds, for tests: the same code path as configs/nrflv.py on 8x8 patches."""

from ml_collections import ConfigDict

from configs.nrflv import base


def get_config(preset: str = "tiny") -> ConfigDict:
    """The quick preset cut down to four channels, short phases and few chains; 'small' has one latent layer."""
    config = base()
    config.data.update({"size": 8, "num_train": 64})
    config.model.architecture.update(
        {
            "state_sizes": ((1, 8, 8), (4, 8, 8), (2, 2, 2)),
            "base_kernel_padding": (((3, 1),) * 3, ((3, 1),) * 3, ((3, 1),) * 2),
            "main_kernel": (3, 3, 3),
            "num_ch_base": 4,
            "num_ch_initter": 4,
        }
    )
    if preset == "small":
        config.model.architecture.update(
            {
                "state_sizes": ((1, 8, 8), (4, 8, 8)),
                "connect": ((1,), (0, 1)),
                "kind": (("conv",), ("conv", "conv")),
                "base_kernel_padding": (((3, 1),), ((3, 1), (3, 1))),
                "main_kernel": (3, 3),
                "num_layers": (0, 0),
            }
        )
    config.positive.update({"steps": 4, "poisson": True, "start": "initializer"})
    config.negative.update({"steps": 4, "longest": 10, "poisson": True, "growth": 1.25})
    config.negative.update({"chains": 8, "renewed": 0.1})
    config.negative.update({"growth_window": 4, "growth_first_epoch": 0, "growth_cooldown": 1, "growth_margin": -10.0})
    config.train.update({"updates": 12, "batch": 8})
    config.log.update({"every": 2, "checkpoint_every": 2})
    config.monitor.update({"every": 6, "chains": 4, "steps": 20})
    return config
