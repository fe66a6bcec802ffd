"""A config that trains in seconds, for tests: one softplus layer on eight simulated neurons that see 12x12 patches."""

from ml_collections import ConfigDict

from configs.v1.suite import base, dense, set_layers


def get_config(preset: str = "one") -> ConfigDict:
    """Presets: one (a single run) and sweep (two learning rates, which share a program, and another batch size)."""
    config = base()
    config.seeds = (0, 1)
    config.data.simulated.update({"neurons": 8, "size": 12, "train_images": 40, "validation_images": 10, "repeats": 3})
    set_layers(config, dense(fraction=1.0, penalties={"l2": 0.01}))
    config.fit.update({"epochs": 12, "log_every": 2, "checkpoint_every": 1})
    config.log.neurons_shown = 2
    if preset == "sweep":
        config.sweep.runs = (
            ("slow", (("optimization.learning_rate", 1e-4), ("published", (0.5, 0.6, 0.4)))),
            ("fast", (("optimization.learning_rate", 1e-2),)),
            ("small", (("optimization.batch_size", 4),)),
        )
    return config
