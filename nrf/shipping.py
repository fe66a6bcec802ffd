"""Make a folder that can be shipped of a run: what loads and shows its field, and nothing that only training needs.

    python -m nrf.shipping runs/patches pretrained/patches
    python -m nrf.shipping runs/thesis pretrained/thesis --without-initializer

The folder has the run's config of data, model and training, its averaged weights as the one checkpoint (float32,
without optimizer and chains), its whitening, metrics, pictures and diagnostics.  Sheets that show images of a data set
are left out unless these come with the program; then the field's own chains are drawn alone (`images/own_samples.png`).
A model card (`MODEL_CARD.md`) is for people to write.
"""

from __future__ import annotations

import argparse
import json
import pathlib
import shutil

from nrf import diagnostics, figures, image_space
from nrf.field import load as load_field
from runtime.checkpoint import Checkpoints, read_tree
from runtime.config import CONFIG_FILE, read_record
from runtime.errors import ConfigError, clear_errors
from runtime.files import write_json

# Groups of stages after training: a shipped field is recorded and judged as the program at hand does it.
LATER = ("visualise", "record", "diagnose", "score", "analyse", "respond")
FIGURES, SHEETS = ("chains.png", "curves.png", "long_chains.png"), ("samples.png", "long_samples.png")
OWN = ("natural", "natural_scrambled", "natural_white")  # data sets whose images may be shown and passed on
OWN_CHAINS, OWN_STEPS = 36, 1000  # of the sheet without data
LARGEST = 5 * 2**20  # bytes, but for the sheet of the field's own chains
SMALLER = "log less, or leave an initializer out (--without-initializer)"
# Where the initializer is not shipped: what begins in its place.
UNGUIDED = (("positive", "start", "random"), ("negative", "fresh", "uniform"))


def ship(run: str | pathlib.Path, target: str | pathlib.Path, initializer: bool = True) -> pathlib.Path:
    """Copy what a reader of a field needs from a run folder into a folder of its own; returns the folder.

    Args:
        run: run folder.
        target: folder to make; it must not hold a field yet.
        initializer: keep the network that chains of the run began from, where it has one.  It is about as large as the
            field and no part of its distribution; without it chains begin uniformly over the range of their layers.

    Raises:
        ConfigError: no run, a target that is taken, or more than 5 MB.
        CheckpointError: no such checkpoint.
    """
    run, target = pathlib.Path(run), pathlib.Path(target)
    record, tree = read_record(run), read_tree(run / "checkpoints")
    if (target / CONFIG_FILE).exists():
        raise ConfigError(f"{target} holds a field already; remove it, or give another folder")
    # Where data, or a run that came before, lie on the machine that trained is no part of the field.
    record["config"]["data"]["dir"] = record["config"]["train"]["start_from"] = None
    record["config"] = {name: group for name, group in record["config"].items() if name not in LATER}
    kept = {"step": int(tree["step"]), "variables": tree.get("average") or tree["variables"]}
    if tree.get("initializer") and initializer:
        kept["initializer"] = tree["initializer"]
    for group, name, instead in () if initializer else UNGUIDED:
        if record["config"][group][name] == "initializer":
            record["config"][group][name] = instead
    with Checkpoints(target / "checkpoints") as checkpoints:
        checkpoints.save(kept["step"], kept)
    (target / "images").mkdir(exist_ok=True)
    ours = record["config"]["data"]["name"] in OWN
    pictures = (*FIGURES, *(SHEETS if ours else ()))
    for name in (image_space.FILE, "metrics.jsonl", diagnostics.FILE, *(f"images/{each}" for each in pictures)):
        if (run / name).exists():
            shutil.copy2(run / name, target / name)
    size = sum(path.stat().st_size for path in target.rglob("*") if path.is_file())
    if size > LARGEST:
        shutil.rmtree(target / "checkpoints")
        raise ConfigError(f"{target} would take {size / 2**20:.1f} MB, more than {LARGEST // 2**20}: {SMALLER}")
    write_json(target / CONFIG_FILE, record, indent=2)
    if not ours:
        drawn = load_field(target).sample(seed=0, count=OWN_CHAINS, steps=OWN_STEPS, start="noise")
        title = f"{record['config']['data']['name']}, update {kept['step']}"
        panel = {f"chains from noise, {OWN_STEPS} steps": drawn}
        figures.sample_sheet(panel, target / "images" / "own_samples.png", title, (0.0, 1.0))
    return target


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        prog="python -m nrf.shipping", description="Make a folder that can be shipped of a run."
    )
    parser.add_argument("run", help="run folder")
    parser.add_argument("target", help="folder to make, pretrained/NAME")
    parser.add_argument(
        "--without-initializer", action="store_true", help="leave out the network that chains began from"
    )
    given = parser.parse_args()
    with clear_errors():
        folder = ship(given.run, given.target, initializer=not given.without_initializer)
        print(json.dumps({"shipped": str(folder)}))
