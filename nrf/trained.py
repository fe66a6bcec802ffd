"""A trained model, read back from its run folder for everything that comes after training."""

from __future__ import annotations

import pathlib
import shutil
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from nrf import image_space
from nrf.energy import EnergyModel, States, Weights
from nrf.from_config import make_trainer
from nrf.image_space import ImageSpace, read_image_space
from nrf.phases import thermal_states, uniform_states
from nrf.torch_import import check_matches
from nrf.training import ADDED, MAY_CHANGE
from runtime.checkpoint import read_tree
from runtime.config import CONFIG_FILE, check_same, read_config
from runtime.errors import ConfigError

# A few small programs, each run once: compiling them without optimization is faster overall.
UNOPTIMIZED = {"xla_backend_optimization_level": 0}


class Trained(NamedTuple):
    """A model with the weights of a checkpoint."""

    model: EnergyModel
    weights: Weights  # effective weights, as `model.prepare` returns them
    initializer: Any  # `nrf.initializer.Initializer`, None where training did not use one
    initializer_variables: dict
    updates: int  # updates behind the checkpoint
    space: ImageSpace  # coordinates of the image layer
    thermal_sd: tuple[float, ...] | None  # per layer sqrt(T); None for samplers without temperature


def read_run_config(workdir: str | pathlib.Path) -> FrozenConfigDict:
    """The config of the run in a folder, with the fields that its version of the program did not know.

    Raises:
        ConfigError: it is no run folder, or one of models of V1.
    """
    fields = read_config(workdir).to_dict()
    if "sampler" not in fields:
        raise ConfigError(f"the run in {workdir} is not one of this kind of model: its config has no group 'sampler'")
    for field, value in ADDED.items():
        *groups, name = field.split(".")
        group = fields
        for part in groups:
            group = group.setdefault(part, {})
        group.setdefault(name, value)
    return FrozenConfigDict(fields)


def read_trained(config: ConfigDict, workdir: str | pathlib.Path, step: int | str = "latest") -> Trained:
    """Read the model that `train(config, workdir)` left.

    step: number of updates of the checkpoint, 'latest' or 'best'.  Raises ConfigError if the folder holds no run, or
    one of another model; CheckpointError if the checkpoint is missing or damaged.
    """
    folder = pathlib.Path(workdir)
    if not (folder / CONFIG_FILE).exists():
        raise ConfigError(f"{folder} holds no trained model; run the stage 'train' there first")
    check_same(config, folder, MAY_CHANGE, ADDED)
    trainer = make_trainer(config, config.data.num_train or config.train.batch)
    tree = read_tree(folder / "checkpoints", step)
    key = jax.random.key(0)
    where = f"the checkpoint in {folder}"
    # The running average of the weights is the trained model, where training kept one.
    variables = check_matches(tree.get("average") or tree["variables"], jax.eval_shape(trainer.model.init, key), where)
    guide = {}
    if trainer.initializer is not None:
        guide = check_matches(tree["initializer"], jax.eval_shape(trainer.initializer.init, key), where)
    weights = jax.jit(trainer.model.prepare, compiler_options=UNOPTIMIZED)(variables)
    guide, space = jax.device_put(guide), read_image_space(config, trainer.model.bounds[0], folder)
    return Trained(trainer.model, weights, trainer.initializer, guide, int(tree["step"]), space, trainer.thermal_sd)


def adopt(source: str | pathlib.Path, workdir: str | pathlib.Path) -> None:
    """Give a field that lies in one folder, such as one of `pretrained/`, a run folder of its own to work in.

    What is there already is left as it is.  Raises ConfigError if the source holds no run.
    """
    source, workdir = pathlib.Path(source), pathlib.Path(workdir)
    read_config(source)
    if (workdir / CONFIG_FILE).exists() or source.resolve() == workdir.resolve():
        return
    # The config last: with it the folder is a run.
    for name in ("checkpoints", image_space.FILE, CONFIG_FILE):
        if (source / name).is_dir():
            shutil.copytree(source / name, workdir / name, dirs_exist_ok=True)
        elif (source / name).exists():
            workdir.mkdir(parents=True, exist_ok=True)
            shutil.copy2(source / name, workdir / name)


def start_states(trained: Trained, key: jax.Array, images: jax.Array, start: str) -> States:
    """Images with latents from where the positive phase of training started, see config.positive.start.

    images: (B, H, W, C).  There is no previous batch here, so 'previous' draws from N(0, T), or uniformly where the
    sampler has no temperature.
    """
    if start == "initializer":
        latents = trained.initializer.apply(trained.initializer_variables, images)
        return (images, *latents)
    if start in ("thermal", "previous") and trained.thermal_sd is not None:
        return (images, *thermal_states(key, trained.model, images.shape[0], trained.thermal_sd)[1:])
    drawn = uniform_states(key, trained.model, images.shape[0])[1:]
    return (images, *(tuple(jnp.zeros_like(s) for s in drawn) if start == "zeros" else drawn))
