"""Trained cores for the leaderboard: one convolutional core for all units of all recordings, a read-out for each.

    core       convolutions of the image, shared by every unit; `rotated` ones share their kernels over orientations
    read-out   Gaussian (each unit reads the channels at one learned place) or factorized into places and channels
    shifter    none: the recordings read here are of anaesthetised animals and have no eye positions

Every fold of every seed is a member of one compiled program: members share images and responses, and differ in the rows
that their epochs go through.  A member's weights are those of the epoch with the highest correlation on its validation
groups; its test groups are predicted once, by these.  A family's prediction is the mean over its seeds, the ensemble,
and no seed is ever chosen.  A unit that was not shown an image has no part in that image's loss.

Sources: Lurz et al. (2021), ICLR (Gaussian read-out, shared core); Klindt et al. (2017), NeurIPS 30:3509 (factorized
read-out); Ecker et al. (2019), ICLR (rotation-equivariant core).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict

from runtime.errors import ConfigError, did_you_mean
from v1models import metrics, repeats
from v1models.layers import Convolution, Factorized, GaussianReadout, RotatedConvolution
from v1models.network import Network
from v1models.specification import NetworkSpec
from v1models.training import select, side_by_side, stack_hypers
from v1models.update import Data, Optimization, Trainer, default_hyper, make_trainer

_keep_better = jax.jit(select)  # compiled once for all folds and families of a shape
READOUTS = {
    "gaussian": lambda units, options: GaussianReadout(units, **options, initial_range=0.5),
    "factorized": lambda units, options: Factorized(units, **options, normalization="features"),
}
CONVOLUTIONS = {"plain": Convolution, "rotated": RotatedConvolution}


class Fitted(NamedTuple):
    """What a trained family leaves; M members: all folds of the first seed, then those of the next."""

    singles: np.ndarray  # (S, n, N), by each seed, every image by a member that never saw its group; NaN if it diverged
    params: Any  # of all members, (M, …)
    batch_stats: Any
    epochs: np.ndarray  # (M,), that the weights are from


def network(family: ConfigDict, units: int) -> NetworkSpec:
    """Returns the network of a family with core `trained`.

    Raises:
        ConfigError: an unknown kind of convolution or read-out, or layers that do not fit the image.
    """
    for field, known in (("readout", READOUTS), ("convolutions", CONVOLUTIONS)):
        if family[field] not in known:
            raise ConfigError(f"{field} is '{family[field]}'{did_you_mean(family[field], known)}")
    kind = CONVOLUTIONS[family.convolutions]
    shared = {"activation": "relu", "bias": False, "batch_norm": True, "weight_initializer": "he_normal"}
    image = {"oriented": False} if kind is RotatedConvolution else {}
    first = kind(family.features, width=family.widths[0], padding="VALID", pool=2, **shared, **image)
    others = [kind(family.features, width=width, **shared) for width in family.widths[1:]]
    last = {"activation": "softplus", "weight_initializer": "lecun_normal", "penalties": {"l1": family.l1}}
    return NetworkSpec((family.grid, family.grid, 1), (first, *others, READOUTS[family.readout](units, last)))


def trainer_of(family: ConfigDict, units: int) -> tuple[Trainer, NetworkSpec]:
    """Returns the closures that train a family's network, and its specification."""
    spec = network(family, units)
    return make_trainer(Network(spec), Optimization(noise=family.noise, batch_size=family.batch_size)), spec


def fit_predict(
    family: ConfigDict,
    images: np.ndarray,
    responses: np.ndarray,
    made: Sequence[repeats.Fold],
    report: Callable[[float], None] = lambda part: None,
    seeds: Sequence[int] | None = None,
    stretch: float = 1.0,
) -> Fitted:
    """Fits every fold and seed of a family side by side.

    Args:
        family: with core `trained`.
        images: (n, size, size), standardized; averaged here to family.grid pixels.
        responses: (n, N), NaN where a unit was not shown an image.
        made: folds.
        report: called with the part of the epochs that is done.
        seeds: None for the family's own.
        stretch: factor on its epochs, and on those between two looks, where folds have fewer rows than usual.

    Raises:
        ConfigError: fields that do not fit.
    """
    seeds = tuple(family.seeds if seeds is None else seeds)
    if not seeds:
        raise ConfigError("seeds is empty; give at least one")
    length, apart = (max(1, round(stretch * number)) for number in (family.epochs, family.look_every))
    trainer, spec = trainer_of(family, responses.shape[1])
    data = prepare(family, images, responses)
    mask = np.asarray(data.mask)
    folds = [fold for _ in seeds for fold in made]
    keys = jax.vmap(jax.random.key)(np.repeat(seeds, len(made)))
    numbers = [seed * len(made) + index for seed in seeds for index in range(len(made))]  # of the orders of rows
    # Every unit starts at its mean response to the images that no fold tests it on, which differ by fold.
    rates = [_rates(responses[np.concatenate([fold.train, fold.validation])]) for fold in folds]
    members = jax.jit(jax.vmap(trainer.init))(keys, np.stack(rates))
    hypers = stack_hypers([default_hyper(spec, family.learning_rate)], len(folds))
    run = side_by_side(trainer.epochs, (0, 0, None, 0))
    predict = side_by_side(trainer.predict, (0, None))
    rows = min(len(fold.train) for fold in folds)  # an epoch has as many in every fold, drawn anew each time
    best = np.full(len(folds), -np.inf)
    kept, found, epochs = members, np.zeros((len(folds), *responses.shape), np.float32), np.zeros(len(folds), int)
    for epoch in range(0, length, apart):
        count = min(apart, length - epoch)
        orders = np.stack([
            _orders(fold.train, rows, (number, epoch), count) for number, fold in zip(numbers, folds, strict=True)
        ])  # fmt: skip
        members, _ = run(members, hypers, data, orders.astype(np.int32))
        predictions = np.asarray(predict(members, data.images))
        scores = np.array([
            metrics.pearson(each[fold.validation], np.asarray(data.responses)[fold.validation], mask[fold.validation])
            .mean() if np.isfinite(each).all() else -np.inf
            for each, fold in zip(predictions, folds, strict=True)
        ])  # fmt: skip
        better = scores > best
        best = np.where(better, scores, best)
        epochs[better], found[better] = epoch + count, predictions[better]
        kept = _keep_better(better, members, kept)
        report((epoch + count) / length)
    if not np.isfinite(best).any():
        raise ConfigError("no fold's predictions are finite; lower its learning_rate")
    return Fitted(_assemble(found, folds, made, np.isfinite(best)), kept.params, kept.batch_stats, epochs)


def ensemble(singles: np.ndarray) -> np.ndarray:
    """Returns the mean over seeds of predictions (S, n, N), over those that did not diverge; NaN where all did."""
    there = np.isfinite(singles)
    total = np.where(there, singles, 0).sum(0, dtype=np.float64)
    return np.where(there.any(0), total / np.maximum(there.sum(0), 1), np.nan)


def prepare(family: ConfigDict, images: np.ndarray, responses: np.ndarray) -> Data:
    """Returns images averaged to family.grid pixels, and responses with a mask of those there are."""
    small = repeats.shrink(images[..., None], family.grid)
    there = np.isfinite(responses)
    arrays = (small / small.std(), np.where(there, responses, 0), there)
    return Data(*jax.device_put(tuple(np.asarray(array, np.float32) for array in arrays)))


def to_arrays(fitted: Fitted) -> dict[str, np.ndarray]:
    """Returns plain arrays of a fitted family, by name, for an .npz file."""
    trees = {"params": fitted.params, "batch_stats": fitted.batch_stats}
    weights = {name: np.asarray(leaf) for name, leaf in flatten_dict(trees, sep="/").items()}
    return {"singles": fitted.singles, "epochs": fitted.epochs, **weights}


def from_arrays(arrays: dict[str, np.ndarray]) -> Fitted:
    """Inverse of `to_arrays`."""
    trees = unflatten_dict({name: array for name, array in arrays.items() if "/" in name}, sep="/")
    return Fitted(arrays["singles"], trees["params"], trees.get("batch_stats", {}), arrays["epochs"])


def predictor(family: ConfigDict, fitted: Fitted, units: np.ndarray, scale: float) -> Callable[[jax.Array], jax.Array]:
    """Returns the mean over members as a function from images (n, size, size, 1) to (n, len(units)).

    Args:
        family: of the members.
        fitted: the members.
        units: which outputs.
        scale: standard deviation of the averaged images that the members were fitted to.
    """
    trainer, _ = trainer_of(family, fitted.singles.shape[2])
    members = jax.vmap(lambda params, stats: trainer.start(params, jax.random.key(0), stats))(
        fitted.params, fitted.batch_stats
    )

    def predict(images):
        size, cell = family.grid, images.shape[1] // family.grid
        small = images.reshape(len(images), size, cell, size, cell, 1).mean((2, 4)) / scale
        return jax.vmap(trainer.predict, in_axes=(0, None))(members, small).mean(0)[:, units]

    return predict


def _rates(responses):
    return np.nan_to_num(np.nanmean(responses, axis=0)).astype(np.float32)


def _orders(train, rows, seed, epochs):
    random = np.random.default_rng(seed)
    return np.stack([random.permutation(train)[:rows] for _ in range(epochs)])


def _assemble(found, folds, made, sound):
    """Predictions (S, n, N) of test rows by each seed; NaN where the member of a row's fold diverged."""
    singles = np.full((len(folds) // len(made), *found.shape[1:]), np.nan, np.float32)
    for number, fold in enumerate(folds):
        if sound[number]:
            singles[number // len(made), fold.test] = found[number][fold.test]
    return singles
