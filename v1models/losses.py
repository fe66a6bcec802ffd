"""Losses between predicted and measured responses.

B rows, N neurons, p predictions, r responses, m an optional 0/1 mask (B, N) of measured entries, which multiplies both:

    Poisson    −Σ[r ln(p + ε) − p] / max(B r̄ₙ, 1e-8)        r̄ₙ: mean response of neuron n, or 1 when none is given
    Gaussian    Σ(r − p)² / B
    gamma       Σ[r/(p + ε) + ln(p + ε)] / B               responses whose deviation is in proportion to their mean
    Tweedie     Σ[2 r/√(p + ε) + 2 √(p + ε)] / B           zero-inflated gamma: silent with probability e^(−2√p/φ)
    Bernoulli   mean sigmoid cross-entropy of the logits p

Gamma and Tweedie are log densities of exponential families with the mean p, up to the factor 1/φ and what does not
depend on p; the latter is the sum of a Poisson number of gamma (here exponential) variables, variance φ p^1.5.

Sums run over rows and neurons; nothing is divided by the number of neurons. A masked entry adds 0 to all but the last,
but its row is counted in B. For Bernoulli a masked entry is left out of the mean; NDN3 counts it as logit 0 against
label 0, which is the switch `count_masked`.

Sources: McCullagh & Nelder (1989), Generalized Linear Models (gamma); Jørgensen (1987), J. R. Stat. Soc. B 49:127
(Tweedie's families).
"""

import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np

from runtime.errors import ConfigError

POISSON_OFFSET = 1e-6
NORMALIZER_FLOOR = 1e-8


def poisson_terms(predictions: jax.Array, responses: jax.Array, offset: float = POISSON_OFFSET) -> jax.Array:
    """−[r ln(p + ε) − p] of every entry, (B, N)."""
    return -(responses * jnp.log(predictions + offset) - predictions)


def gaussian_terms(predictions: jax.Array, responses: jax.Array) -> jax.Array:
    """(r − p)² of every entry, (B, N)."""
    return jnp.square(responses - predictions)


def bernoulli_terms(logits: jax.Array, labels: jax.Array) -> jax.Array:
    """Sigmoid cross-entropy ln(1 + eˣ) − x z of every entry, (B, N)."""
    return jax.nn.softplus(logits) - logits * labels


def gamma_terms(predictions: jax.Array, responses: jax.Array, offset: float = POISSON_OFFSET) -> jax.Array:
    """r/(p + ε) + ln(p + ε) of every entry, (B, N)."""
    return responses / (predictions + offset) + jnp.log(predictions + offset)


def tweedie_terms(predictions: jax.Array, responses: jax.Array, offset: float = POISSON_OFFSET) -> jax.Array:
    """2 r/√(p + ε) + 2 √(p + ε) of every entry, (B, N)."""
    root = jnp.sqrt(predictions + offset)
    return 2 * responses / root + 2 * root


TERMS = {
    "poisson": poisson_terms,
    "gaussian": lambda predictions, responses, offset: gaussian_terms(predictions, responses),
    "gamma": gamma_terms,
    "tweedie": tweedie_terms,
    "bernoulli": lambda logits, labels, offset: bernoulli_terms(logits, labels),
}
LOSSES = tuple(TERMS)


def terms(
    noise: str,
    predictions: jax.Array,
    responses: jax.Array,
    mask: jax.Array | None = None,
    offset: float = POISSON_OFFSET,
) -> jax.Array:
    """Loss of every entry (B, N) for a noise of LOSSES; masked entries as p = r = 0, or 0 where that is no loss."""
    if noise not in TERMS:
        raise ConfigError(f"noise is {noise!r}; choose one of {', '.join(LOSSES)}.")
    if mask is not None:
        predictions, responses = predictions * mask, responses * mask
    entries = TERMS[noise](predictions, responses, offset)
    return entries * mask if mask is not None and noise in ("gamma", "tweedie") else entries


def make_loss(noise: str, count_masked: bool = False, offset: float = POISSON_OFFSET) -> Callable[..., jax.Array]:
    """Build loss(predictions, responses, mask=None, mean_rates=None) -> scalar.

    Args:
        noise: one of LOSSES.
        count_masked: whether masked entries count in the Bernoulli mean.
        offset: ε of the Poisson logarithm.

    Returns:
        A function of predictions and responses (B, N), mask (B, N) or None, and mean_rates (N,) or None (Poisson only).

    Raises:
        ConfigError: an unknown noise, or mean rates where they mean nothing.
    """
    if noise not in LOSSES:
        raise ConfigError(f"noise is {noise!r}; choose one of {', '.join(LOSSES)}.")

    def loss(predictions, responses, mask=None, mean_rates=None):
        if mean_rates is not None and noise != "poisson":
            raise ConfigError(f"mean_rates scale the Poisson loss only, but the noise is {noise!r}; leave them out.")
        entries = terms(noise, predictions, responses, mask, offset)
        rows = predictions.shape[0]
        if noise == "poisson" and mean_rates is not None:
            return jnp.sum(entries / jnp.maximum(rows * mean_rates, NORMALIZER_FLOOR))
        if noise != "bernoulli":
            return jnp.sum(entries) / rows
        if mask is None or count_masked:
            return jnp.mean(entries)
        return jnp.sum(entries * mask) / jnp.maximum(jnp.sum(mask), 1)

    return loss


def neuron_sums(noise: str, predictions: jax.Array, responses: jax.Array, mask: jax.Array | None = None) -> jax.Array:
    """Loss of each neuron summed over rows, (N,), without any normalizer."""
    return jnp.sum(terms(noise, predictions, responses, mask), axis=0)


def neuron_costs(noise: str, predictions: jax.Array, responses: jax.Array, mask: jax.Array | None = None) -> np.ndarray:
    """Loss of each neuron, (N,): Σ / max(Σ response, 1) for Poisson and Bernoulli, Σ / measured rows for others.

    Args:
        noise: one of LOSSES.
        predictions, responses: (n, N).
        mask: (n, N), 1 where measured, or None.
    """
    weight = np.ones(np.shape(responses)) if mask is None else np.asarray(mask)
    total = np.asarray(responses) * weight if noise in ("poisson", "bernoulli") else weight
    sums = np.asarray(jax.jit(neuron_sums, static_argnums=0)(noise, predictions, responses, mask))
    return sums / np.maximum(np.sum(total, axis=0), 1)


@functools.partial(jax.jit, static_argnames="over_measured")
def mean_rates(responses: jax.Array, mask: jax.Array | None = None, over_measured: bool = True) -> jax.Array:
    """Mean response of each neuron, floored at 1e-8.

    Args:
        responses: (n, N).
        mask: (n, N) or None.
        over_measured: divide by the measured rows of a neuron (True) or by all rows (False: NDN3, which makes the
            normalizer of a pooled neuron too small).
    """
    if mask is None:
        return jnp.maximum(jnp.mean(responses, 0), NORMALIZER_FLOOR)
    count = jnp.maximum(jnp.sum(mask, 0), 1) if over_measured else responses.shape[0]
    return jnp.maximum(jnp.sum(responses * mask, 0) / count, NORMALIZER_FLOOR)
