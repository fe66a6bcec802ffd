"""What the units of a leaderboard want to see: most exciting images and gradients of the best and the worst.

`write_exciting_images` takes every family whose prediction has a gradient with respect to pixels, all but features that
come from a file, and writes `exciting/NAME.npz`, for the same units in each:

    units (U,)               the best under the best of these families, then as many of the worst
    images (U, size, size)   most exciting images, of the recording's mean contrast at most
    gradients, sensitivities (U, size, size)
                             mean and root mean square, over images of the recording, of the derivative of the
                             prediction by the pixels, times each pixel's standard deviation over all images
    predictions, largest     at these images, and the largest response that was recorded, (U,)
    cc_norm                  (U,), held out

All are seen through the aperture that the recording's images were shown in: an image is multiplied by its pixels'
standard deviation over the recording, relative to the largest.  A model knows nothing of pixels that never varied, and
one that reads the logarithm of energy has its steepest slopes there.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable

import jax
import numpy as np
from ml_collections import ConfigDict

from runtime.files import write_arrays
from v1models import cores, interpret, repeats, ridge, scores, trained

AVERAGED = 24  # images that gradients are averaged over


def write_exciting_images(
    config: ConfigDict,
    recording: repeats.Repeats,
    images: np.ndarray,
    sums: dict[str, scores.Sums],
    reliability: np.ndarray,
    folder: pathlib.Path,
) -> None:
    """Writes every family's most exciting images and gradients of the best and worst reliable units.

    Arguments as in `leaderboard.leaderboard`; `images` as the cores see them, `folder` of the run.
    """
    able = [name for name, family in config.families.items() if family.core != "file"]
    reliable = np.flatnonzero(reliability > config.scores.reliable)
    if not able or not config.exciting.units or not len(reliable):
        return
    quality = {name: scores.normalized_correlation(sums[name])[reliable] for name in able}
    best = max(able, key=lambda name: np.nanmean(quality[name]))
    order = reliable[np.argsort(-np.nan_to_num(quality[best]))]
    count = min(config.exciting.units, len(order) // 2 or 1)
    chosen = np.concatenate([order[:count], order[len(order) - count :]])
    (folder / "exciting").mkdir(exist_ok=True)
    for name in able:
        with np.load(folder / "families" / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file.files}
        family = config.families[name]
        if family.core == "trained":
            scale = repeats.shrink(images[..., None], family.grid).std()
            predict = trained.predictor(family, trained.from_arrays(arrays), chosen, scale)
        else:
            predict = linear(family, images, recording.average, chosen, arrays["strengths"])
        shown = what_excites(predict, images, len(chosen), config.exciting.steps)
        shown |= {"units": chosen, "cc_norm": scores.normalized_correlation(sums[name])[chosen]}
        shown |= {"largest": np.nanmax(recording.average[:, chosen], axis=0), "family": np.array(name)}
        write_arrays(folder / "exciting" / f"{name}.npz", shown, compress=True)


def what_excites(
    predict: Callable[[jax.Array], jax.Array], images: np.ndarray, count: int, steps: int
) -> dict[str, np.ndarray]:
    """Returns most exciting images, their predictions, mean gradients and sensitivities of one family's prediction.

    Args:
        predict: a function from images (n, size, size, 1) to (n, count).
        images: (n, size, size), of the recording.
        count: of units.
        steps: of gradient ascent.
    """
    norm = float(np.linalg.norm(images.reshape(len(images), -1), axis=1).mean())
    spread = images.std(0)[..., None]
    aperture = spread / spread.max()
    found, drive = interpret.most_exciting_images(
        lambda pictures: predict(pictures * aperture),
        spread.shape,
        np.arange(count),
        norm,
        jax.random.key(0),
        steps,
    )
    some = images[np.linspace(0, len(images) - 1, min(AVERAGED, len(images))).astype(int)][..., None]
    return {
        "images": (found * aperture)[..., 0],
        "gradients": (interpret.gradient_receptive_fields(predict, some) * spread)[..., 0],
        "sensitivities": (interpret.gradient_sensitivity(predict, some) * spread)[..., 0],
        "predictions": drive,
    }


def linear(
    family: ConfigDict, images: np.ndarray, responses: np.ndarray, units: np.ndarray, strengths: np.ndarray
) -> Callable[[jax.Array], jax.Array]:
    """Returns ridge regression on features of images, fitted to all images, as a function of images.

    Args:
        family: with a bank of filters, or pixels, as core.
        images: (n, size, size).
        responses: (n, N), NaN where missing.
        units: which of the N.
        strengths: (folds, N), chosen in cross-validation; each unit's geometric median is taken.
    """
    features = cores.fixed_core(family, images.shape[1])
    maps = np.asarray(jax.jit(features)(images), np.float64)
    middle = np.exp(np.median(np.log(strengths), axis=0))
    fitted = [ridge.weights(maps, responses[:, unit], middle[unit]) for unit in units]
    weights = np.stack([weight for weight, _ in fitted], axis=1).astype(np.float32)
    offsets = np.array([offset for _, offset in fitted], np.float32)
    return lambda pictures: features(pictures[..., 0]).reshape(len(pictures), -1) @ weights + offsets
