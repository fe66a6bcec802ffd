"""A trained model, read back from its run folder for everything that comes after training."""

from __future__ import annotations

import pathlib
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict, FrozenConfigDict

from nrf.energy import EnergyModel, States, Weights
from nrf.from_config import make_trainer
from nrf.phases import uniform_states
from nrf.torch_import import check_matches
from nrf.training import ADDED, MAY_CHANGE
from runtime.checkpoint import read_tree
from runtime.config import CONFIG_FILE, ConfigError, check_same, read_config

# A few small programs, each run once: compiling them without optimization is faster overall.
UNOPTIMIZED = {"xla_backend_optimization_level": 0}


class Trained(NamedTuple):
    """A model with the weights of a checkpoint."""

    model: EnergyModel
    weights: Weights  # effective weights, as `model.prepare` returns them
    initializer: Any  # `nrf.initializer.Initializer`, None where training did not use one
    initializer_variables: dict
    updates: int  # updates behind the checkpoint


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
    variables = check_matches(tree["variables"], jax.eval_shape(trainer.model.init, key), where)
    guide = {}
    if trainer.initializer is not None:
        guide = check_matches(tree["initializer"], jax.eval_shape(trainer.initializer.init, key), where)
    weights = jax.jit(trainer.model.prepare, compiler_options=UNOPTIMIZED)(jax.tree.map(jnp.asarray, variables))
    return Trained(trainer.model, weights, trainer.initializer, jax.tree.map(jnp.asarray, guide), int(tree["step"]))


def start_states(trained: Trained, key: jax.Array, images: jax.Array, start: str) -> States:
    """Images with latents from where the positive phase of training started: 'initializer', 'zeros', or at random.

    images: (B, H, W, C).  There is no previous batch here, so 'previous' draws at random as well.
    """
    if start == "initializer":
        latents = trained.initializer.apply(trained.initializer_variables, images)
        return (images, *latents)
    drawn = uniform_states(key, trained.model, images.shape[0])[1:]
    return (images, *(tuple(jnp.zeros_like(s) for s in drawn) if start == "zeros" else drawn))
