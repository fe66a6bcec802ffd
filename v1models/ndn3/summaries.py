"""NDN3's logs: which epochs have scores, what is printed, and TensorBoard files under NDN3's names."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter


class Summaries:
    """Scores of a training: kept, printed and written as its options ask.

    Args:
        output_dir: folder of the logs, or None for none.
        options: `opt_params`: epochs_summary and display.
        silent: whether nothing is printed.
    """

    def __init__(self, output_dir: str | os.PathLike | None, options: Mapping[str, Any], silent: bool):
        self.every, self.display, self.silent = options["epochs_summary"], options["display"], silent
        folder = None if output_dir is None or not self.every else Path(output_dir) / "summaries"
        names = ("train", "test") if folder is not None else ()
        self.writers = {name: SummaryWriter(str(folder / name)) for name in names}

    def __enter__(self) -> "Summaries":
        return self

    def __exit__(self, *exception: object) -> None:
        for writer in self.writers.values():
            writer.close()

    def printed(self, epoch: int) -> bool:
        """Whether an epoch, from 0, is printed: the first, and the last of every so many."""
        return _falls_on(epoch, self.display)

    def logged(self, epoch: int) -> bool:
        """Whether an epoch, from 0, is logged: the first, and the last of every so many."""
        return _falls_on(epoch, self.every)

    def print_costs(self, epoch: int, costs: Mapping[str, float]) -> dict[str, Any]:
        """Prints costs {'train', 'test'} of an epoch; returns them with its number."""
        if not self.silent:
            print(f"Epoch {epoch:05d}: " + ", ".join(f"{name} cost = {cost:.5f}" for name, cost in costs.items()))
        return {"epoch": epoch, "costs": dict(costs)}

    def log(self, epoch: int, values: Mapping[str, Mapping[str, float]]) -> dict[str, Any]:
        """Writes the scores {'train': {tag: number}, 'test': …} of an epoch; returns them with its number."""
        for name, writer in self.writers.items():
            for tag, value in values.get(name, {}).items():
                writer.add_scalar(tag, value, epoch)
        return {"epoch": epoch, **values}


def _falls_on(epoch, every):
    return bool(every) and (epoch == 0 or epoch % every == every - 1)
