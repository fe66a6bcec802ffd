"""Checkpoints: everything a run carries from step to step, restored bit for bit or not at all.

Orbax's `CheckpointManager` writes one folder a step; a manifest of checksums (`runtime.manifest`) is written last:

    checkpoints/step_00000200/tree/…            Orbax's files; `orbax.checkpoint` reads them alone as well
    checkpoints/step_00000200/manifest.json     checksums, metrics, and type and shape of every leaf

What the manager does not promise is added here. It gives a step its name before anything says that every byte of it is
there: here a step counts once its manifest does, and older steps are removed after that. A run that is killed at any
moment therefore leaves whole steps, and remains that the next run removes. A step whose files were altered or cut short
since is recognised, and the one before it is used instead. A step that is saved again (after it was found damaged, say)
replaces the former only when it is whole. Of a removed step nothing stays that could be taken for one.

A tree may hold JAX and NumPy arrays, typed random keys, Python numbers and any registered container (dicts, tuples,
NamedTuples, optimizer states); `runtime.tree_storage` says how each is kept.
"""

import logging
import math
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import jax
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils

from runtime.errors import RunError
from runtime.files import failure, sync
from runtime.manifest import MANIFEST, DamagedError, read_manifest, verify, write_manifest
from runtime.tree_storage import Leaf, MismatchError, describe, load_nested, restore_tree, storable

STEP, REPLACED, REMOVED = "step_", ".replaced_", ".removed_"
UNFINISHED = (".incoming_*", f"{REMOVED}*", f"{STEP}*.orbax-checkpoint-tmp*")  # what a killed run leaves
TREE, DIGITS = "tree", 8

logger = logging.getLogger(__name__)


class CheckpointError(RunError):
    """A checkpoint cannot be written or read; the message names the step and what to do."""


class Checkpoints:
    """The checkpoints of one run.

    Args:
        directory: folder that holds them; made if it is missing.
        keep_last: number of latest steps to keep.
        keep_best: keep the step with the best metric as well.
        best_metric: name, among the metrics given to `save`, of the one that counts.
        best_mode: whether a large or a small value is good.
    """

    def __init__(
        self,
        directory: str | os.PathLike,
        keep_last: int = 2,
        keep_best: bool = True,
        best_metric: str = "loss",
        best_mode: Literal["min", "max"] = "min",
    ):
        if keep_last < 1 or best_mode not in ("min", "max"):
            raise ValueError(f"keep_last is {keep_last} and must be >= 1; best_mode is {best_mode!r}: 'min' or 'max'")
        self.directory = Path(directory).absolute()
        self.keep_last, self.keep_best = keep_last, keep_best
        self.best = {"metric": best_metric, "mode": best_mode}
        self._damaged: set[int] = set()
        if jax.process_index() == 0:
            self.directory.mkdir(parents=True, exist_ok=True)
            _tidy(self.directory)
        _barrier("checkpoints open")
        # The manager keeps all steps: which ones go is decided below, by manifests. A call of `save` returns when the
        # step is on disk.
        options = ocp.CheckpointManagerOptions(
            step_prefix=STEP.rstrip("_"), step_format_fixed_length=DIGITS, save_root_metadata=False,
            enable_async_checkpointing=False,
        )  # fmt: skip
        self._manager = ocp.CheckpointManager(self.directory, options=options)

    def save(self, step: int, tree: Any, metrics: Mapping[str, float] | None = None) -> None:
        """Writes a tree as the checkpoint of a step, replacing one of the same step; returns when it is on disk.

        Args:
            step: number of completed steps.
            tree: pytree of arrays, typed keys and Python numbers.
            metrics: scalars to keep with it, one of which may decide whether it is the best.

        Raises:
            CheckpointError: it could not be written; the earlier checkpoints are as they were.
        """
        content = {
            "step": step,
            "metrics": {name: float(value) for name, value in (metrics or {}).items()},
            "best": self.best,
            "leaves": [leaf._asdict() for leaf in describe(tree)],
        }
        try:
            if jax.process_index() == 0:
                _set_aside(self.directory / _step_name(step))
            _barrier(f"checkpoint {step} begun")
            self._manager.reload()
            stored = storable(tree)
            items = {TREE: ocp.args.PyTreeSave(stored)} if stored else {}
            self._manager.save(step, args=ocp.args.Composite(**items), force=True)
            if jax.process_index() == 0:
                _forget_place(self.directory / _step_name(step))
                write_manifest(self.directory / _step_name(step), content)
                sync(self.directory)
        except BaseException as error:
            if jax.process_index() == 0:
                _withdraw(self.directory / _step_name(step))
                _tidy(self.directory)
            if isinstance(error, Exception):
                raise self._save_error(step, tree, error) from error
            raise
        self._damaged.discard(step)
        if jax.process_index() == 0:
            self._prune()
        _barrier(f"checkpoint {step} complete")

    def restore(self, template: Any, step: int | None = None) -> tuple[int, Any]:
        """Returns the step and the tree of the latest undamaged checkpoint, or of a given step.

        Args:
            template: a tree like the saved one; gives containers, and each array's sharding. Arrays may stand as
                `jax.ShapeDtypeStruct`.
            step: the step to restore; None: the latest one that is whole, with a warning for each that is not.

        Raises:
            CheckpointError: no checkpoint, none (or not the given one) is whole, or it holds another tree: names the
                first leaf that differs.
        """
        candidates = _step_folders(self.directory)[::-1] if step is None else [step]
        found, content = _first_whole(self.directory, candidates, self._damaged)
        try:
            folder = self.directory / _step_name(found) / TREE
            return found, restore_tree(folder, _saved_leaves(content), template)
        except MismatchError as error:
            where = f"the checkpoint of step {found} in {self.directory}"
            raise CheckpointError(f"{where} is of another model or config: {error}") from error

    def steps(self) -> list[int]:
        """Returns the steps with a finished checkpoint that was not found damaged, in rising order."""
        return sorted(set(_contents(self.directory)) - self._damaged)

    def best_step(self) -> int | None:
        """Returns the step with the best metric, or None while no checkpoint has it."""
        contents = _contents(self.directory)
        return _best_step({step: contents[step] for step in contents if step not in self._damaged})

    def close(self) -> None:
        """Waits for all processes, so that none leaves while another still writes."""
        self._manager.close()
        _barrier("checkpoints close")

    def __enter__(self) -> "Checkpoints":
        return self

    def __exit__(self, *exception) -> None:
        self.close()

    def _prune(self) -> None:
        for aside in self.directory.glob(f"{REPLACED}*"):
            shutil.rmtree(aside, ignore_errors=True)
        steps = self.steps()
        kept = {*steps[-self.keep_last :], *self._damaged}
        if self.keep_best:
            kept.add(self.best_step())
        for step in set(steps) - kept:
            _remove(self.directory / _step_name(step))

    def _save_error(self, step: int, tree: Any, error: Exception) -> CheckpointError:
        needed = sum(getattr(leaf, "nbytes", 0) for leaf in jax.tree.leaves(tree)) / 2**20
        return CheckpointError(
            f"could not write the checkpoint of step {step} in {self.directory}, which takes up to {needed:.0f} MiB: "
            f"{failure(error, self.directory)}; "
            f"the earlier checkpoints are untouched (steps: {_listed(self.steps())})"
        )


def _forget_place(folder: Path) -> None:
    """Rewrites Orbax's markers, whose text is the absolute path: a checkpoint says nothing of where it was written."""
    for marker in folder.rglob("commit_success.txt"):
        marker.write_text("Checkpoint commit was successful\n")


def read_tree(directory: str | os.PathLike, step: int | Literal["best", "latest"] | None = None) -> dict[str, Any]:
    """Returns a checkpoint as nested dicts of NumPy arrays and Python numbers, without a template.

    Containers of every kind become dicts: items of a tuple are named '0', '1', …; random keys become their key data.

    Args:
        directory: the folder of a run's checkpoints.
        step: number of the step, 'best', or 'latest' (the default).

    Raises:
        CheckpointError: there is no such step, or it is damaged.
    """
    directory = Path(directory).absolute()
    if step in (None, "latest"):
        candidates = _step_folders(directory)[::-1]
    else:
        chosen = _best_step(_contents(directory)) if step == "best" else step
        candidates = [] if chosen is None else [chosen]
    found, content = _first_whole(directory, candidates, set())
    return load_nested(directory / _step_name(found) / TREE, _saved_leaves(content))


def _first_whole(directory: Path, candidates: list[int], damaged: set[int]) -> tuple[int, dict[str, Any]]:
    """Returns the first of some steps that is whole, with its manifest's content; adds those before it to `damaged`."""
    reasons = []
    for step in candidates:
        folder = directory / _step_name(step)
        if not folder.is_dir():
            continue
        try:
            content = read_manifest(folder)
            verify(folder)
        except DamagedError as error:
            reasons.append(f"the checkpoint of step {step} in {directory} is damaged ({error})")
            damaged.add(step)
            continue
        for reason in reasons:
            logger.warning("%s: step %d is used instead", reason, step)
        return step, content
    missing = f"there is no such checkpoint in {directory}"
    others = sorted(set(_contents(directory)) - damaged)
    raise CheckpointError(f"{'; '.join(reasons) or missing}; other finished steps: {_listed(others)}")


def _listed(steps: list[int]) -> str:
    return ", ".join(map(str, steps)) or "none"


def _saved_leaves(content: dict[str, Any]) -> list[Leaf]:
    return [Leaf(tuple(leaf["path"]), leaf["kind"], leaf["dtype"], tuple(leaf["shape"])) for leaf in content["leaves"]]


def _step_name(step: int) -> str:
    return f"{STEP}{step:0{DIGITS}d}"


def _step_folders(directory: Path) -> list[int]:
    names = (path.name.removeprefix(STEP) for path in directory.glob(f"{STEP}*"))
    return sorted(int(name) for name in names if name.isdigit())


def _contents(directory: Path) -> dict[int, dict[str, Any]]:
    """Returns the manifests of the finished steps, without verifying the files they list."""
    contents = {}
    for step in _step_folders(directory):
        try:
            contents[step] = read_manifest(directory / _step_name(step))
        except DamagedError:
            continue
    return contents


def _best_step(contents: dict[int, dict[str, Any]]) -> int | None:
    scores = {}
    for step, content in contents.items():
        score = content["metrics"].get(content["best"]["metric"], math.nan)
        if not math.isnan(score):
            scores[step] = score if content["best"]["mode"] == "max" else -score
    return max(scores, key=scores.get, default=None)


def _set_aside(folder: Path) -> None:
    # A folder cannot replace another in one move: the old one steps aside, and `_tidy` brings it back if the new one
    # does not arrive.
    if folder.exists():
        aside = folder.with_name(REPLACED + folder.name)
        shutil.rmtree(aside, ignore_errors=True)
        folder.rename(aside)


def _withdraw(folder: Path) -> None:
    """Removes a step that Orbax finished and whose manifest did not follow."""
    if not (folder / MANIFEST).exists():
        shutil.rmtree(folder, ignore_errors=True)


def _tidy(directory: Path) -> None:
    """Removes what an interrupted save or removal left, and brings back a step whose replacement did not arrive."""
    for aside in directory.glob(f"{REPLACED}*"):
        target = directory / aside.name.removeprefix(REPLACED)
        _withdraw(target)
        if not target.exists():
            aside.rename(target)
        shutil.rmtree(aside, ignore_errors=True)
    for pattern in UNFINISHED:
        for folder in directory.glob(pattern):
            shutil.rmtree(folder, ignore_errors=True)


def _remove(folder: Path) -> None:
    # Renamed first, so that a half-removed step is not found as a damaged one.
    removed = folder.with_name(REMOVED + folder.name)
    folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def _barrier(name: str) -> None:
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(name)
