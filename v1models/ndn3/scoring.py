"""What NDN3 prints and logs while it trains: costs of batches in order, and scores of the last batch and the test rows.

Both come from the graph that trains, so where layers drop they are taken under a random mask.
"""

import functools
from collections.abc import Callable

import jax
import numpy as np

from v1models import metrics
from v1models.ndn3 import regime
from v1models.ndn3.quirks import Quirks
from v1models.network import Network
from v1models.specification import NetworkSpec
from v1models.update import Data, Hyper, Member, Trainer


class Scorer:
    """Costs and scores of a network in training.

    Args:
        spec: the network.
        trainer: its training functions.
        noise: of the loss.
        correlation: 'zero-NaNs' or 'filter-NaNs', see `mean_correlation`; None for no correlations.
        batch_size: rows of a batch.
        quirks: NDN3's peculiarities in force.
    """

    def __init__(
        self, spec: NetworkSpec, trainer: Trainer, noise: str, correlation: str | None, batch_size: int, quirks: Quirks
    ):
        self.noise, self.correlation = noise, correlation
        self.size, self.keep = batch_size, not quirks.drop_last_batch
        self.program = _program(spec, trainer)

    def last_batch(self, order: np.ndarray) -> np.ndarray:
        """The rows of the last update of an epoch that had this order."""
        end = len(order) if self.keep else len(order) // self.size * self.size
        return order[(end - 1) // self.size * self.size : end]

    def cost(self, member: Member, hyper: Hyper, data: Data, rows: np.ndarray) -> float:
        """Mean cost of batches of these rows, without penalties."""
        part, predictions, *_ = self.program(member, hyper, data, rows)
        # Fewer rows than a batch are one batch.
        size = min(self.size, len(rows))
        cost = regime.cost(self.noise, predictions, part.responses, part.mask, part.mean_rates, size, self.keep)
        return float(cost)

    def values(self, member: Member, hyper: Hyper, data: Data, rows: np.ndarray) -> dict[str, float]:
        """{tag: number} of these rows, under NDN3's tags."""
        part, predictions, cost, penalty = jax.device_get(self.program(member, hyper, data, rows))
        values = {
            "loss/cost": float(cost),
            "loss/cost_penalized": float(cost + penalty),
            "loss/reg_pen": float(penalty),
        }
        if self.correlation is not None:
            measured = (part.responses, part.mask)
            values["loss/correlation/correlation"] = mean_correlation(predictions, *measured, self.correlation)
        return values


def mean_correlation(predictions: np.ndarray, responses: np.ndarray, mask: np.ndarray | None, how: str) -> float:
    """Mean over neurons of Pearson's r over measured rows.

    Args:
        predictions, responses: (B, N).
        mask: 1 where measured, (B, N), or None.
        how: neurons whose r is undefined count as 0 ('zero-NaNs') or not at all ('filter-NaNs').
    """
    r = metrics.pearson(predictions, responses, mask)
    if how == "filter-NaNs":
        weight = np.ones_like(responses) if mask is None else mask
        defined = np.minimum(_spread(np.asarray(predictions), weight), _spread(responses, weight)) > 0
        return float(r[defined].mean()) if defined.any() else 0.0
    return float(np.mean(r))


def _spread(values, weight):
    mean = (weight * values).sum(0) / np.maximum(weight.sum(0), 1)
    return (weight * np.square(values - mean)).sum(0)


@functools.lru_cache(maxsize=4)
def _program(spec: NetworkSpec, trainer: Trainer) -> Callable:
    @jax.jit
    def program(member: Member, hyper: Hyper, data: Data, rows: jax.Array):
        mask, images = None if data.mask is None else data.mask[rows], data.images[rows]
        part = Data(None, data.responses[rows], mask, data.mean_rates)
        predictions = trainer.sample(member, hyper, images) if hyper.dropout else trainer.predict(member, images)
        penalty = Network(spec).apply({"params": member.params}, hyper.strengths, method="penalty")
        return part, predictions, trainer.loss_of(predictions, part), penalty

    return program
