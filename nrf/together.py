"""Several trainings in one program: runs whose configs differ in numbers only, side by side.

`train_together(configs, folders)` gives every run what `training.train` gives it: its own folder, numbers, pictures and
checkpoints, from which it goes on alone as well.  Runs do not feel each other: one that diverges stops with its
sentence, and one that is behind (a kill may fall between two checkpoints) is waited for.

`program(config)` is equal for configs that may train together.  They may differ in the fields of `NUMBERS` and of
`OUTSIDE`; any other field shapes the program itself.
"""

from __future__ import annotations

import contextlib
import functools
import json
import os
import pathlib
from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf import monitor, starts
from nrf.from_config import build_trainer, read_sampler
from nrf.training import (
    ADDED,
    MAY_CHANGE,
    Outcome,
    Run,
    check_health,
    check_length,
    draw_batch,
    import_weights,
    open_checkpoints,
    prepare_run,
    restore_or_create,
    train,
    write_progress,
)
from nrf.update import Trainer, TrainState
from runtime.checkpoint import Checkpoints
from runtime.config import CONFIG_FILE, check_same, flatten
from runtime.interrupt import stop_on_signal
from runtime.metrics import MetricsWriter, NonFiniteError, Progress

# Numbers that enter the compiled update as they are, with the value at which the program is another one, if any.
NUMBERS = {
    "initializer.lr": None,
    "negative.renewed": None,
    "train.lr": None,
    "train.lr_final": None,
    "train.latent_lr": 1.0,
    "train.average": 0.0,
    "train.l2": None,
    "train.energy_unit": None,
    "sampler.underdamped.step_size": None,
    "sampler.underdamped.friction": None,
    "sampler.underdamped.temperature": None,
    "sampler.langevin.step_size": None,
    "sampler.langevin.temperature": None,
    "sampler.sghmc.step_size": None,
    "sampler.sghmc.temperature": None,
}
# Numbers that are used before and after it.
OUTSIDE = ("seed", "data.noise", "train.max_energy")
MEMORY = 0.8  # of the device's, that a program may take


def import_together(configs: Sequence[ConfigDict], folders: Sequence[str | os.PathLike]) -> list[dict[str, Any]]:
    """Make run folders of a model that was trained elsewhere, one for each config; nothing is trained."""
    for config, folder in zip(configs, folders, strict=True):
        import_weights(config, folder)
    return [{"finished": True} for _ in folders]


class Member(NamedTuple):
    """One of the runs."""

    run: Run
    checkpoints: Checkpoints
    evaluate: Callable


def program(config: ConfigDict) -> str:
    """A text that is equal for configs whose runs one compiled program can train side by side."""
    fields = {
        name: "a number" if name in OUTSIDE or _is_number(name, value) else value
        for name, value in flatten(config).items()
    }
    return json.dumps(fields, sort_keys=True, default=str)


def train_together(configs: Sequence[ConfigDict], folders: Sequence[str | os.PathLike]) -> list[dict[str, Any]]:
    """Train runs whose `program` is the same; where there are several devices, one after another over all of them.

    Args:
        configs: of the runs.
        folders: theirs.

    Returns:
        For each {'finished': whether it came to its last update}, with 'failed' and the reason if it diverged.

    Raises:
        ConfigError: a config that cannot work, or another one than the run in its folder was begun with.
    """
    folders = [pathlib.Path(folder) for folder in folders]
    if len(configs) == 1 or jax.device_count() > 1:
        return _one_after_another(configs, folders)
    runs = _prepare(configs, folders)
    with contextlib.ExitStack() as stack:
        checkpoints = [stack.enter_context(open_checkpoints(run.config, run.folder)) for run in runs]
        begun = [bool(saved.steps()) for saved in checkpoints]
        states, done = zip(*map(restore_or_create, runs, checkpoints), strict=True)
        for run, saved, step in zip(runs, checkpoints, done, strict=True):
            check_length(run, saved, step)
        updates = configs[0].train.updates
        unfinished = [index for index, step in enumerate(done) if step < updates]
        if unfinished and not any(begun[index] for index in unfinished):
            # Those that are finished need not be computed beside new ones.  Where some were begun, the program stays
            # the one they were begun with, so that they go on bit for bit.
            chosen = unfinished
        else:
            chosen = list(range(len(runs)))
        found: list[dict[str, Any]] = [{"finished": True} for _ in runs]
        if unfinished:
            numbers = varied_numbers([configs[index] for index in chosen])
            evaluate = jax.jit(lambda own, state, images: trainer_with(runs[0], own).evaluate(state, images))
            members = [
                Member(runs[index], checkpoints[index], functools.partial(evaluate, _pick(numbers, i)))
                for i, index in enumerate(chosen)
            ]
            update = compile_update(members[0].run, [states[index] for index in chosen], numbers)
            if update is None:
                stack.close()
                return _halves(configs, folders)
            results = _loop(members, update, numbers, [states[i] for i in chosen], [done[i] for i in chosen])
            for index, result in zip(chosen, results, strict=True):
                found[index] = result
    return found


def varied_numbers(configs: Sequence[ConfigDict]) -> dict[str, jax.Array]:
    """The numbers of `NUMBERS` in which some configs differ: arrays (configs,) by field."""
    tables = [flatten(config) for config in configs]
    return {
        name: jnp.asarray([table[name] for table in tables], jnp.float32)
        for name in NUMBERS
        if name in tables[0] and len({table[name] for table in tables}) > 1
    }


def with_numbers(config: ConfigDict, numbers: dict[str, Any]) -> ConfigDict:
    """A config with other values, which may be arrays that a program is yet to be given, in some fields."""
    fields = config.to_dict()
    for name, value in numbers.items():
        *groups, field = name.split(".")
        functools.reduce(lambda group, part: group[part], groups, fields)[field] = value
    return ConfigDict(fields)


def trainer_with(run: Run, numbers: dict[str, Any]) -> Trainer:
    """The trainer of a run with other numbers."""
    return build_trainer(with_numbers(run.config, numbers), len(run.images.train)) if numbers else run.trainer


def in_turn(function: Callable) -> Callable:
    """`function` of one run as a function of many, like `jax.vmap`: in one program, one run after another."""
    return lambda *arguments: jax.lax.map(lambda one: function(*one), arguments)


def arrangement() -> Callable:
    """How runs share a program: side by side on an accelerator; on a CPU, whose cores one run keeps busy, in turn."""
    return in_turn if jax.default_backend() == "cpu" else jax.vmap


def make_update(run: Run, arrange: Callable) -> Callable:
    """Build update(numbers, states, images, active) -> (states, metrics, samples), all with one row a run.

    Args:
        run: of which the program is.
        arrange: `jax.vmap` or `in_turn`.

    Returns:
        A function of numbers, arrays (I,) by field as `varied_numbers` gives them; states, stacked; images
        (I, B, H, W, C); and active (I,), whether a run takes the update.  One that does not keeps its state; its
        metrics and samples are 0.
    """

    def one(numbers, state, images, active):
        def take(state):
            return trainer_with(run, numbers).update(state, images)

        def keep(state):
            nothing = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), jax.eval_shape(take, state)[1:])
            return state, *nothing

        return jax.lax.cond(active, take, keep, state)

    return arrange(one)


def compile_update(run: Run, states: Sequence[TrainState], numbers: dict[str, jax.Array]) -> Callable | None:
    """The update of several runs as a program; None where the device has not the memory for it."""
    shapes = jax.eval_shape(stack_states, states)
    images = jax.ShapeDtypeStruct((len(states), run.config.train.batch, *run.images.train.shape[1:]), jnp.float32)
    active = jax.ShapeDtypeStruct((len(states),), bool)
    update = jax.jit(make_update(run, arrangement()), donate_argnums=1)
    compiled = update.lower(numbers, shapes, images, active).compile()
    return None if len(states) > 1 and needed_bytes(compiled) > MEMORY * device_bytes() else compiled


def needed_bytes(compiled: Any) -> int:
    """Memory that a compiled program takes, its arguments and results among it."""
    use = compiled.memory_analysis()
    parts = (use.argument_size_in_bytes, use.output_size_in_bytes, use.temp_size_in_bytes)
    return sum(parts) - use.alias_size_in_bytes


def device_bytes() -> int:
    """Memory of the device: the accelerator's own, else the computer's."""
    own = jax.devices()[0].memory_stats() or {}
    return own.get("bytes_limit") or os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")


def stack_states(states: Sequence[Any]) -> Any:
    """Trees of the same structure as one, every leaf with one row a tree."""
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *states)


def _loop(members, update, numbers, states, done) -> list[dict[str, Any]]:
    """Take updates until every member is at its last one; the result of each, as `train_together` returns them."""
    runs, done, updates = [member.run for member in members], list(done), members[0].run.config.train.updates
    state, written, failed = jax.jit(stack_states)(states), [{} for _ in members], {}
    batches = [draw_batch(run, step) for run, step in zip(runs, done, strict=True)]
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(MetricsWriter(run.folder, step)) for run, step in zip(runs, done, strict=True)]
        stop = stack.enter_context(stop_on_signal())
        label = f"training {len(members)} runs"
        progress = stack.enter_context(Progress(updates, min(done), label))
        while going := [i for i, step in enumerate(done) if step < updates and i not in failed]:
            # Those that are behind go first, and all go together from there.
            before = min(done[i] for i in going)
            turn = [i for i in going if done[i] == before]
            for i in turn:
                batches[i] = draw_batch(runs[i], before)
            active = np.isin(np.arange(len(members)), turn)
            state, metrics, samples = update(numbers, state, jnp.asarray(np.stack(batches), jnp.float32), active)
            metrics, step, stopping = jax.device_get(metrics), before + 1, stop.requested
            ends = step == updates or stopping
            for i in turn:
                own = {name: values[i] for name, values in metrics.items()}
                try:
                    check_health(runs[i].config, step, own, members[i].checkpoints)
                except NonFiniteError as error:
                    failed[i] = str(error)
                    continue
                done[i] = step
                outcome = Outcome(step, own, functools.partial(_pick, state, i), functools.partial(_pick, samples, i))
                written[i] = write_progress(
                    runs[i], outcome, written[i], writers[i], members[i].checkpoints, members[i].evaluate, ends
                )
            gaps = [float(metrics["energy/gap"][i]) for i in turn]
            progress.update(step, f"gap {min(gaps):+.4f} to {max(gaps):+.4f}")
            if stopping:
                break
    if stop.requested and min(done) < updates:
        print(f"stopped after update {min(done)}; the same command goes on from there")
    return [
        {"finished": False, "failed": failed[i]} if i in failed else {"finished": step >= updates}
        for i, step in enumerate(done)
    ]


def _prepare(configs, folders):
    """The runs; images that are the same for several are held once, and one program runs the long chains of all."""
    runs, numbers = [], varied_numbers(configs)
    for config, folder in zip(configs, folders, strict=True):
        run = prepare_run(config, folder)
        for other in runs:
            if all(np.array_equal(*pair) for pair in zip(run.images[:2], other.images[:2], strict=True)):
                run = run._replace(images=other.images)
        runs.append(run)
    first = runs[0]

    def long_chains(numbers, *arguments):
        sampler = read_sampler(with_numbers(first.config, numbers), first.trainer.model, False)
        chains = first.chains._replace(sampler=sampler)
        return monitor.make_program(chains, monitor.stride_of(first.config.monitor.steps))(*arguments)

    shared = jax.jit(long_chains)
    alike = not any(name.startswith("sampler.") for name in numbers)
    return [
        run._replace(
            program=functools.partial(shared, _pick(numbers, i)), curvature=(first if alike else run).curvature
        )
        for i, run in enumerate(runs)
    ]


def _pick(tree: Any, index: int) -> Any:
    """One row of every leaf."""
    return jax.tree.map(lambda leaf: leaf[index], tree)


def _halves(configs, folders):
    """Train one half of the runs, then the other; where the first was asked to stop, the other waits."""
    middle = len(configs) // 2
    first = train_together(configs[:middle], folders[:middle])
    if any(map(_stopped, first)):
        return [*first, *({"finished": False} for _ in configs[middle:])]
    return [*first, *train_together(configs[middle:], folders[middle:])]


def _one_after_another(configs, folders):
    """Train each run by itself; one that diverges stops no other, one that was asked to stop all that follow."""
    results: list[dict[str, Any]] = []
    for config, folder in zip(configs, folders, strict=True):
        if any(map(_stopped, results)):
            results.append({"finished": False})
            continue
        if is_finished(config, folder):
            results.append({"finished": True})
            continue
        try:
            train(config, folder)
        except NonFiniteError as error:
            results.append({"finished": False, "failed": str(error)})
            continue
        with open_checkpoints(config, folder) as checkpoints:
            results.append({"finished": max(checkpoints.steps(), default=0) >= config.train.updates})
    return results


def is_finished(config: ConfigDict, folder: str | os.PathLike) -> bool:
    """Whether a folder holds the run of a config at its last update, so that nothing need be prepared for it.

    Raises:
        ConfigError: it holds the run of another config.
    """
    folder = pathlib.Path(folder)
    if not (folder / CONFIG_FILE).exists():
        return False
    check_same(config, folder, MAY_CHANGE, ADDED)
    starts.check_source(config, folder)
    with open_checkpoints(config, folder) as checkpoints:
        return max(checkpoints.steps(), default=0) >= config.train.updates


def _stopped(result):
    return not result["finished"] and "failed" not in result


def _is_number(name, value):
    # A tuple has a number for each layer: those stay part of the program.
    return (
        name in NUMBERS and isinstance(value, int | float) and not isinstance(value, bool) and value != NUMBERS[name]
    )
