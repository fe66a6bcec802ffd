"""A recorded run: a small untrained model that was shown small versions of all stimulus sets."""

import pathlib

from nrf import experiments
from tests.nrf.trained_run import make_run, tiny_config

RECORD = {
    "experiments": (
        "contrast_and_angle", "just_angle", "just_angle_few_angles", "double_fewlocs_and_fewerangles",
        "long_just_fewangles",
    ),
    "layers": (1,), "variables": ("state", "momentum"), "dtype": "float16", "block": 12, "chunk": 64,
    "burn_in": 6, "blank": 180, "stimulus": 200, "blank_after": 160, "batch_steps": 40, "movie": 1, "movie_every": 10,
    "sets": {
        "contrast_and_angle": {"contrasts": 4, "angles": 4},
        "just_angle": {"angles": 12},
        "just_angle_few_angles": {"angles": 2, "repeats": 5},
        "double_fewlocs_and_fewerangles": {"distances": (3,), "repeats": 2},
        "long_just_fewangles": {"angles": 2, "repeats": 3},
    },
}  # fmt: skip


def make_recorded_run(folder: pathlib.Path, **changes):
    """Write a run folder with recordings; `changes` are fields of config.record.  Returns the config."""
    config = tiny_config("small", record={**RECORD, **changes})
    make_run(folder, config)
    experiments.record(config, folder)
    return config
