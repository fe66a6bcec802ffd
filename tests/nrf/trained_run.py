"""A run folder as training leaves it, without the training: for tests of the stages that follow."""

import json
import pathlib

import jax
from ml_collections import FrozenConfigDict

from nrf.from_config import make_trainer
from nrf.image_space import make_image_space, write_image_space
from nrf.update import Trainer
from runtime.checkpoint import Checkpoints
from runtime.config import save_config
from runtime.images import load_images
from tests.nrf.tiny import get_config

STAGES = {
    "visualise": {
        "modes": ("standard", "channels_energy", "channels_state"), "layers": (2,), "steps": 6, "frames": 3,
        "samples": 4, "annealing": 1.0, "energy_scale": 0.5, "held_value": 0.8,
    },
    "record": {
        "experiments": ("contrast_and_angle",), "level": "analysis", "layers": (1, 2), "dtype": "float32",
        "controls": (), "controlled": ("contrast_and_angle",),
        "variables": ("state", "momentum"), "block": 2, "chunk": 16,
        "burn_in": 6, "blank": 20, "stimulus": 24, "blank_after": 14,
        "observe_steps": 20, "num_images": 3, "patch": 1, "batch_steps": 5, "known": False,
        "movie": 2, "movie_every": 4,
        "prediction": {"angles": 1, "chains": 2, "settle": 10, "steps": 20, "lanczos": 12},
        "sets": {
            "contrast_and_angle": {"contrasts": 1, "angles": 3},
            "double_fewlocs_and_fewerangles": {"distances": (3,), "repeats": 1},
            "long_just_fewangles": {"angles": 2, "repeats": 1},
        },
    },
    "analyse": {
        "layer": None, "compat": False, "level": 0.05, "surrogates": 19, "resamples": 200, "calibrate_at": None,
        "calibrate_hertz": 40.0,
    },
    "score": {
        "temperature": None, "images": 6, "patches": 60, "chains": 8, "equilibrate": 20, "anneal": 8, "image_chains": 2,
        "image_anneal": 6, "leapfrog": 2, "block": 4, "noise_levels": (20.0, 60.0), "hole": 3, "restore": 20,
        "digits": None, "mixture": 3, "mixture_updates": 2, "ica_updates": 5,
    },
    "diagnose": {
        "chains": 4, "warmup": 40, "steps": 160, "thin": 2, "chunk": 20, "units": 3, "images": 12, "others": (),
        "long_steps": 20, "long_chains": 2,
    },
}  # fmt: skip


def tiny_config(preset: str = "tiny", **changes) -> FrozenConfigDict:
    """The tiny config with small groups for the later stages; changes are group=dict of fields."""
    config = get_config(preset)
    config.unlock()
    for group, fields in STAGES.items():
        config[group] = dict(fields)
    for group, fields in changes.items():
        config[group].update(fields)
    return FrozenConfigDict(config)


DRAWN: dict[str, tuple] = {}  # compiling the draw takes seconds, and most tests ask for the same weights


def draw_weights(config: FrozenConfigDict, trainer: Trainer) -> tuple[dict, dict]:
    """Random weights of the energy and of the initializer, drawn once for all configs with the same networks."""
    name = json.dumps([config.model.to_dict(), config.initializer.to_dict(), trainer.initializer is not None])

    def draw(key):
        weights_key, guide_key = jax.random.split(key)
        return trainer.model.init(weights_key), trainer.initializer.init(guide_key) if trainer.initializer else {}

    if name not in DRAWN:
        DRAWN[name] = jax.device_get(jax.jit(draw)(jax.random.key(0)))
    return DRAWN[name]


def make_run(folder: pathlib.Path, config: FrozenConfigDict, whole: bool = False) -> pathlib.Path:
    """Write the config and a checkpoint of an untrained model: its weights, or (whole) all that training carries."""
    trainer = make_trainer(config, config.data.num_train)
    if whole:
        state = jax.jit(trainer.create_state)(jax.random.key(0))
    else:
        variables, guide = draw_weights(config, trainer)
        average = {"average": variables} if config.train.average else {}
        state = {"step": 0, "variables": variables, "initializer": guide, **average}
    save_config(config, folder)
    data = config.data
    images = load_images(data.name, size=data.size, channels=data.channels, num_train=data.num_train, num_test=1)
    write_image_space(make_image_space(config, trainer.model.bounds[0], images.train), folder)
    with Checkpoints(folder / "checkpoints") as checkpoints:
        checkpoints.save(0, state)
    return folder
