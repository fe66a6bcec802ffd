"""Look into a field: what it samples, how it answers images, which images it finds likely.

    python examples/look_into_a_field.py runs/quick         a run folder, or a folder of pretrained/
    python examples/look_into_a_field.py                    trains a small field first: half a minute on 2 cores

Leaves `look.png` in the current folder.  Cells marked with # %% open as a notebook in most editors.
"""

from __future__ import annotations

import pathlib
import sys
import tempfile

import numpy as np
from matplotlib.figure import Figure

import nrf
from nrf.training import train
from runtime.config import load_config

REPOSITORY = pathlib.Path(__file__).resolve().parents[1]
SMALL = (
    "--config.train.updates=40",
    "--config.train.batch=16",
    "--config.data.num_train=2000",
    "--config.monitor.steps=20",
    "--config.monitor.chains=8",
    "--config.log.checkpoint_every=40",
)


def train_small(folder: str | pathlib.Path) -> None:
    """Train a field on 16x16 patches of photographs for a few updates."""
    train(load_config(str(REPOSITORY / "configs" / "nrflv.py"), SMALL), folder)


def look(folder: str | pathlib.Path, steps: int = 200) -> tuple[Figure, dict[str, float]]:
    """Draw samples, images and responses of the field in a folder; returns the figure and mean energies per pixel."""
    # %% Read the model: weights, sampler and data are those of its run.
    model = nrf.load(folder)
    print(model)

    # %% Held-out images, prepared as those of the training, and samples that start from noise.
    images = model.data("test", 8)
    samples = model.sample(seed=0, count=8, steps=steps, start="noise")

    # %% Show images: the latents settle, and their mean states are what the field makes of them.
    latents = model.respond(images, seed=0, steps=steps)
    strongest = int(np.abs(latents[0]).mean(axis=(0, 1, 2)).argmax())

    # %% Energies: the field should find photographs likelier than noise of the same mean and spread.
    noise = np.clip(np.random.default_rng(0).normal(images.mean(), images.std(), images.shape), 0, 1)
    pixels = images[0, :, :, 0].size
    energies = {
        "photographs": float(model.energy(images, latents).mean() / pixels),
        "noise": float(model.energy(noise, model.respond(noise, seed=0, steps=steps)).mean() / pixels),
    }

    # %% Draw.
    rows = {
        "photograph": images,
        f"layer 1,\nchannel {strongest}": latents[0][..., strongest : strongest + 1],
        f"sample,\n{steps} steps": samples,
    }
    figure = Figure(figsize=(10, 4), layout="constrained")
    axes = figure.subplots(len(rows), len(images))
    for row, (name, pictures) in zip(axes, rows.items(), strict=True):
        row[0].set_ylabel(name)
        for axis, picture in zip(row, pictures, strict=True):
            axis.imshow(picture.squeeze(), cmap="gray")
            axis.set(xticks=[], yticks=[])
    figure.suptitle(", ".join(f"energy of {name} {value:.3g} per pixel" for name, value in energies.items()))
    return figure, energies


def main(folder: str | pathlib.Path | None = None, steps: int = 200) -> None:
    """Look into the field in a folder, or into a small one trained for the purpose."""
    with tempfile.TemporaryDirectory() as temporary:
        if folder is None:
            train_small(temporary)
        figure, energies = look(folder or temporary, steps)
    figure.savefig("look.png", dpi=120)
    print("energies per pixel:", energies, "\nsee look.png")


if __name__ == "__main__":
    main(*sys.argv[1:2])
