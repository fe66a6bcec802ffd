"""Fitted models on disk: written once by a fit, read by anyone with images to predict for.

    model = load("runs/bl4")
    model.predict(images)             # (members, n, N) from raw pixels, no data loader
    model.ensemble(images)            # (n, N), the mean over members

A run folder holds `model.json` (architecture, normalization, members), `weights/` (a checkpoint of the fitted members),
`results.csv` (one row a member), `neurons.csv` (one row a member and neuron) and `history.csv` (one row a member and
logged epoch).
"""

import json
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
import pandas as pd

from runtime.checkpoint import Checkpoints, read_tree
from runtime.errors import ConfigError
from v1models import metrics
from v1models.network import Network, as_images
from v1models.specification import NetworkSpec
from v1models.training import FitResult

MODEL, WEIGHTS = "model.json", "weights"
FORMAT = 1


class FittedModel(NamedTuple):
    """Members of a finished fit."""

    spec: NetworkSpec
    params: Any  # {layer: {name: (M, …)}}
    batch_stats: Any  # likewise, {} without batch normalization
    offset: Any  # an image x enters the network as (x − offset) / scale
    scale: Any
    members: Any  # list of {'instance', 'seed'}

    def predict(self, images: Any) -> np.ndarray:
        """Responses of every member, (M, n, N), to images as recorded: (n, pixels) or (n, rows, columns)."""
        images = as_images(np.asarray(images, np.float64), self.spec.input_shape)
        images = ((images - self.offset) / self.scale).astype(np.float32)
        network = Network(self.spec)

        def one(params, batch_stats, images):
            return network.apply({"params": params, **({"batch_stats": batch_stats} if batch_stats else {})}, images)

        # Images are an argument: as constants of the program they would be folded when it is compiled, for seconds.
        return np.asarray(jax.jit(jax.vmap(one, in_axes=(0, 0, None)))(self.params, self.batch_stats, images))

    def ensemble(self, images: Any) -> np.ndarray:
        """Mean response over members, (n, N)."""
        return self.predict(images).mean(0)

    def member(self, index: int) -> Callable[[jax.Array], jax.Array]:
        """A function from normalized images to (n, N) for one member, for `interpret`."""
        params, stats = jax.tree.map(lambda leaf: leaf[index], (self.params, self.batch_stats))
        variables = {"params": params, **({"batch_stats": stats} if stats else {})}
        return jax.jit(lambda images: Network(self.spec).apply(variables, images))


def save(
    workdir: str | os.PathLike,
    spec: NetworkSpec,
    result: FitResult,
    members: Sequence[Mapping[str, Any]],
    offset: Any = 0.0,
    scale: Any = 1.0,
) -> None:
    """Write a fit into a run folder.

    Args:
        workdir: the folder.
        spec: the NetworkSpec.
        result: a FitResult.
        members: {'instance': name, 'seed': int} of each.
        offset, scale: of the normalization in force.

    Raises:
        ConfigError: the number of members differs.
    """
    if len(members) != len(result.correlations):
        raise ConfigError(f"{len(members)} member labels for a fit of {len(result.correlations)} members.")
    folder = Path(workdir)
    folder.mkdir(parents=True, exist_ok=True)
    with Checkpoints(folder / WEIGHTS, keep_last=1, keep_best=False) as checkpoints:
        checkpoints.save(
            int(result.epochs[-1]),
            {
                "params": result.members.params,
                "batch_stats": result.members.batch_stats,
                "offset": np.asarray(offset, np.float64),
                "scale": np.asarray(scale, np.float64),
            },
        )
    for name, table in tables(result, members).items():
        table.to_csv(folder / f"{name}.csv", index=False)
    description = {"format": FORMAT, "network": spec.to_dict(), "members": members}
    (folder / MODEL).write_text(json.dumps(description, indent=2) + "\n")


def load(workdir: str | os.PathLike) -> FittedModel:
    """The fitted model of a run folder. Raises ConfigError when there is none or it is of another format."""
    path = Path(workdir) / MODEL
    if not path.is_file():
        raise ConfigError(f"{workdir} holds no fitted model: it has no {MODEL}; let its run finish first.")
    description = json.loads(path.read_text())
    if description["format"] != FORMAT:
        raise ConfigError(f"{path} has format {description['format']}, this version reads {FORMAT}.")
    tree = read_tree(Path(workdir) / WEIGHTS)
    return FittedModel(
        NetworkSpec.from_dict(description["network"]),
        tree["params"],
        tree.get("batch_stats") or {},
        tree["offset"],
        tree["scale"],
        description["members"],
    )


def tables(result: FitResult, members: Sequence[Mapping[str, Any]]) -> dict[str, pd.DataFrame]:
    """A fit's results as data frames: 'results', 'neurons' and 'history', labeled by instance and seed."""
    labels = pd.DataFrame(members)
    results = labels.assign(
        validation_correlation=result.correlations.mean(1), best_epoch=result.best_epoch, diverged=result.diverged
    )
    count, neurons = result.correlations.shape
    per_neuron = labels.loc[np.repeat(np.arange(count), neurons)].reset_index(drop=True)
    per_neuron = per_neuron.assign(neuron=np.tile(np.arange(neurons), count), correlation=result.correlations.ravel())
    logged = len(result.epochs)
    history = (
        labels.loc[np.repeat(np.arange(count), logged)]
        .reset_index(drop=True)
        .assign(
            epoch=np.tile(result.epochs, count),
            **{name: getattr(result.history, name).T.ravel() for name in result.history._fields},
        )
    )
    # Early stopping may end a fit before the last epoch of its plan.
    return {"results": results, "neurons": per_neuron, "history": history.dropna(subset="validation_loss")}


def percentile_table(results: pd.DataFrame) -> pd.DataFrame:
    """One row an instance: number of seeds and the 50th, 90th and 10th percentile of the validation correlation."""
    rows = [
        {
            "instance": name,
            "seeds": len(group),
            **dict(
                zip(("p50", "p90", "p10"), metrics.percentiles_over_seeds(group["validation_correlation"]), strict=True)
            ),
        }
        for name, group in results.groupby("instance", sort=False)
    ]
    return pd.DataFrame(rows)


def ceiling_table(predictions: np.ndarray, trials: np.ndarray) -> pd.DataFrame:
    """Scores of all seeds beside the noise ceilings, one row a neuron; no seed is chosen.

    Args:
        predictions: of the seeds, (S, m, N).
        trials: (T, m, N), NaN where missing.

    Returns:
        Columns: √reliability as `ceiling`, oracle correlation and FEV; then the correlation with the average, the
        normalized correlation and FEVE, each as the mean over seeds and, with `ensemble_` before it, of their mean
        prediction.
    """
    table = {
        "ceiling": metrics.correlation_ceiling(trials),
        "oracle_correlation": metrics.oracle_correlation(trials),
        "explainable_variance_fraction": metrics.explainable_variance_fraction(trials),
    }
    for name, score in (
        ("correlation", metrics.correlation_to_average),
        ("normalized_correlation", metrics.normalized_correlation),
        ("explainable_variance_explained", metrics.explainable_variance_explained),
    ):
        table[name] = np.mean([score(one, trials) for one in predictions], axis=0)
        table[f"ensemble_{name}"] = score(np.mean(predictions, axis=0), trials)
    return pd.DataFrame(table)
