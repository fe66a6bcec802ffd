"""Where the weights of a new run come from, if not from a random draw: another run, or a checkpoint of the original.

    --config.train.start_from=RUN             weights of another run, trained on under other settings; where the shapes
                                              agree its chains too
    --config.model.checkpoint=MODEL.pt        weights of a model of the original PyTorch program

The state of the optimizer begins anew, and so does the count of updates; a checkpoint of the original that says how
many updates are behind it (`batch_num`) goes on counting from there, in the run's numbers and in the schedule of its
learning rate.  `started_from.json` in the run folder says what was taken, and how the settings differ from those that
the weights were trained with.  The stage `import` stops there: it leaves a run folder like any other.
"""

from __future__ import annotations

import hashlib
import json
import pathlib
from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from ml_collections import ConfigDict

from nrf.original_flags import differences
from nrf.torch_import import check_matches, energy_variables, initializer_variables, read_checkpoint
from nrf.update import Trainer, TrainState
from runtime.checkpoint import read_tree
from runtime.config import flatten, read_config
from runtime.errors import ConfigError
from runtime.files import write_json

FILE = "started_from.json"
CHAINS = ("buffer", "chains", "latents")  # parts of the state that go on where they were, if they have the same shapes


def source(config: ConfigDict) -> str | None:
    """The file or folder that a config starts from, None for random weights.

    Raises:
        ConfigError: it names two.
    """
    file, run = config.model.checkpoint, config.train.start_from
    if file is not None and run is not None:
        raise ConfigError("config.model.checkpoint and config.train.start_from are both set; a run starts from one")
    return file if file is not None else run


def check_source(config: ConfigDict, folder: pathlib.Path) -> None:
    """Raise ConfigError if the run in a folder, which goes on, did not start from what the config names."""
    wanted = source(config)
    if wanted is None:
        return
    path = folder / FILE
    began = json.loads(path.read_text())["source"] if path.exists() else None
    if began != str(wanted):
        raise ConfigError(
            f"the run in {folder} started from {began or 'random weights'}, not from {wanted}; go on without naming a "
            "start, or begin a new run in another folder"
        )


def begin(config: ConfigDict, folder: pathlib.Path, trainer: Trainer, state: TrainState) -> TrainState:
    """The state at update 0 with weights from where the config says, and a record of them in the run folder.

    Args:
        config: of the run that begins.
        folder: its folder.
        trainer: what it works with.
        state: a state at update 0 with random weights.

    Raises:
        ConfigError: what the config names cannot be read, or is of another architecture.
        CheckpointError: the other run has no whole checkpoint.
    """
    wanted = source(config)
    if wanted is None:
        return state
    take = _from_original if config.model.checkpoint is not None else _from_run
    state, about = take(config, pathlib.Path(wanted), trainer, state)
    if jax.process_index() == 0:
        write_json(folder / FILE, {"source": str(wanted), **about}, indent=2)
        print(f"starting from {wanted}: {', '.join(about['taken'])}", *about["differences"], sep="\n  ")
    return state


def _from_original(config, path, trainer, state) -> tuple[TrainState, dict]:
    tables, flags, updates = read_checkpoint(path)
    where, key = str(path), jax.random.key(0)
    if "model" not in tables:
        raise ConfigError(f"{path} holds no model ('quadratic_nets...')")
    found = energy_variables(trainer.model.architecture, tables["model"])
    new = {"variables": check_matches(found, jax.eval_shape(trainer.model.init, key), where)}
    notes = []
    if trainer.initializer is not None and "initializer" in tables:
        guide = initializer_variables(tables["initializer"])
        new["initializer"] = check_matches(guide, jax.eval_shape(trainer.initializer.init, key), where)
    elif trainer.initializer is not None:
        notes.append(f"{path} holds no initializer network ('enc.cctb_blocks...'): it begins with random weights")
    lines, unknown = differences(flags, config)
    if updates:
        notes.append(f"{path} has {updates} updates behind it, from which this run goes on counting")
    about = {
        "updates": updates,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "taken": sorted(new),
        "differences": notes + lines,
        "flags": {name: value if isinstance(value, _PLAIN) else str(value) for name, value in flags.items()},
        "flags_without_a_field": unknown,
    }
    state = state._replace(step=jnp.int32(updates), optimizer=_at_update(state.optimizer, updates))
    return _replaced(state, new), about


def _at_update(optimizer: Any, updates: int) -> Any:
    """The state of an optimizer whose learning rate is that after so many updates."""

    def counts(part):
        return isinstance(part, optax.ScaleByScheduleState)

    return jax.tree.map(
        lambda part: part._replace(count=jnp.full_like(part.count, updates)) if counts(part) else part,
        optimizer, is_leaf=counts,
    )  # fmt: skip


def _from_run(config, path, trainer, state) -> tuple[TrainState, dict]:
    before = flatten(read_config(path))
    tree = read_tree(path / "checkpoints")
    where, key = f"the checkpoint in {path}", jax.random.key(0)
    new = {"variables": check_matches(tree["variables"], jax.eval_shape(trainer.model.init, key), where)}
    for part in ("average", "initializer", *CHAINS):
        found = _like(getattr(state, part, ()), tree.get(part))
        if found is not None:
            new[part] = found
    now = flatten(config)
    changed = [
        f"config.{field} is {now[field]!r}, was {before[field]!r}"
        for field in now
        if field in before and repr(before[field]) != repr(now[field]) and not field.startswith(_LATER)
    ]
    about = {"updates": int(tree["step"]), "taken": sorted(new), "differences": changed}
    return _replaced(state, new), about


_PLAIN = (bool, int, float, str, list, type(None))
_LATER = ("train.start_from", "model.checkpoint", "log.", "visualise.", "record.", "analyse.", "diagnose.")


def _replaced(state: TrainState, new: Mapping[str, Any]) -> TrainState:
    """The state with some parts from elsewhere; an average of the weights begins with the weights."""
    new = jax.device_put(dict(new))
    if getattr(state, "average", ()) and "average" not in new:
        new["average"] = jax.jit(lambda variables: jax.tree.map(jnp.copy, variables))(new["variables"])
    return state._replace(**new)


def _like(template: Any, stored: Any) -> Any:
    """The stored nested dictionaries in the structure of a template; None where they do not fit or hold nothing."""
    paths, structure = jax.tree_util.tree_flatten_with_path(template)
    leaves = []
    for path, leaf in paths:
        found = stored
        for key in path:
            name = str(getattr(key, "name", getattr(key, "key", getattr(key, "idx", None))))
            found = found.get(name) if isinstance(found, Mapping) else None
        if found is None or jnp.shape(found) != leaf.shape:
            return None
        leaves.append(np.asarray(found, leaf.dtype))
    return jax.tree.unflatten(structure, leaves) if leaves else None
