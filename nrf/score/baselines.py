"""Simple models of images, fitted to the same dequantized patches: what a field has to beat.

    gaussian          one Gaussian with the data's mean and covariance
    scale_mixture     x = m + sqrt(z) u, u ~ N(0, C), z one of a few values: one covariance, several contrasts
                      (Wainwright & Simoncelli 1999), by expectation maximisation
    mixture           many Gaussians, each with its own covariance (Zoran & Weiss, ICCV 2011; van den Oord & Schrauwen,
                      JMLR 2014), by expectation maximisation
    ica               independent components x = m + W⁻¹ y, each y_i a scale mixture of one dimension
                      (Bell & Sejnowski 1995; Hyvärinen & Oja 2000), by maximum likelihood

The first three are Gaussian mixtures, for which density and posterior means are closed forms.  Arrays are float64, one
patch a row, (N, D).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
from scipy.linalg import cho_factor, cho_solve, solve_triangular
from scipy.special import logsumexp

FLOOR = 1e-8  # of a variance, grey levels² with white at 1: a hundredth of what dequantisation alone adds
SCALES = 8  # of the Gaussian scale mixture
SCALE_UPDATES = 25
SHRINKAGE = (10.0, 30.0, 100.0, 300.0, 1000.0)  # patches that the common covariance counts for; chosen on held-out ones
VALIDATION = 0.1  # share of the patches that choose it
LEAST_SHARE = 1e-3  # of a patch in a Gaussian
LEAST_MEMBERS = 5.0  # patches; a Gaussian with fewer starts anew at a random patch
ICA_SCALES = 5
ICA_BATCH = 512
ICA_RATE = 3e-3


class GaussianMixture(NamedTuple):
    """Σ_k π_k N(m_k, C_k)."""

    weights: np.ndarray  # π (K,)
    means: np.ndarray  # (K, D)
    covariances: np.ndarray  # (K, D, D)


class Ica(NamedTuple):
    """y = W (x - m), each y_i distributed as Σ_j π_ij N(0, v_ij)."""

    mean: np.ndarray  # (D,)
    unmixing: np.ndarray  # W (D, D)
    weights: np.ndarray  # π (D, J)
    variances: np.ndarray  # (D, J)


Progress = Callable[[int, str], None]


def log_densities(mixture: GaussianMixture, patches: np.ndarray, noise: float = 0.0) -> np.ndarray:
    """log π_k + log N(x; m_k, C_k + noise² I) of every patch and Gaussian, (N, K), nats."""
    size = patches.shape[1]
    found = np.empty((len(patches), len(mixture.weights)))
    for k, (weight, mean, covariance) in enumerate(zip(*mixture, strict=True)):
        root = np.linalg.cholesky(covariance + noise**2 * np.eye(size))
        # Half of the precision is plenty for distances, and twice as fast.
        inverse = solve_triangular(root, np.eye(size), lower=True).astype(np.float32)
        away = (patches - mean).astype(np.float32) @ inverse.T
        distance = np.einsum("nd,nd->n", away, away, dtype=np.float64)
        found[:, k] = np.log(weight) - 0.5 * (distance + size * np.log(2 * np.pi)) - np.log(np.diag(root)).sum()
    return found


def log_density(mixture: GaussianMixture, patches: np.ndarray) -> np.ndarray:
    """log p(x) of every patch, (N,), nats."""
    return logsumexp(log_densities(mixture, patches), axis=1)


def posterior_mean(mixture: GaussianMixture, seen: np.ndarray, observed: np.ndarray, noise: float) -> np.ndarray:
    """E[x | y] for y = x + noise at the observed pixels: (N, D).

        Σ_k r_k(y) ( m_k + C_k Mᵀ (M C_k Mᵀ + σ² I)⁻¹ (y - M m_k) ),   M picks the observed pixels

    Args:
        mixture: the distribution of x; one Gaussian gives the Wiener filter.
        seen: y, (N, D); values at pixels that are not observed do not matter.
        observed: (D,) bool.
        noise: σ > 0, in units of the patches.
    """
    log_weights, means = [], []
    y = seen[:, observed]
    for weight, mean, covariance in zip(*mixture, strict=True):
        inner = covariance[np.ix_(observed, observed)] + noise**2 * np.eye(observed.sum())
        factor = cho_factor(inner, lower=True)
        away = y - mean[observed]
        solved = cho_solve(factor, away.T).T
        distance = np.sum(away * solved, axis=1)
        log_weights.append(np.log(weight) - 0.5 * distance - np.log(np.diag(factor[0])).sum())
        means.append(mean + solved @ covariance[observed])
    share = np.exp(np.array(log_weights) - logsumexp(log_weights, axis=0))
    return np.einsum("kn,knd->nd", share, np.array(means))


def fit_gaussian(patches: np.ndarray) -> GaussianMixture:
    """The Gaussian of largest likelihood."""
    return GaussianMixture(np.ones(1), patches.mean(axis=0)[None], _covariance(patches)[None])


def fit_scale_mixture(patches: np.ndarray, scales: int = SCALES, updates: int = SCALE_UPDATES) -> GaussianMixture:
    """Gaussian scale mixture with the data's mean, by expectation maximisation; C has the size of the data's."""
    mean, size = patches.mean(axis=0), patches.shape[1]
    away, covariance = patches - mean, _covariance(patches)
    values, weights = np.geomspace(0.05, 4.0, scales), np.full(scales, 1 / scales)
    for _ in range(updates):
        root = np.linalg.cholesky(covariance)
        inverse = solve_triangular(root, np.eye(size), lower=True)
        distance = np.sum((away @ inverse.T) ** 2, axis=1)
        log_share = np.log(weights) - 0.5 * distance[:, None] / values - 0.5 * size * np.log(values)
        share = np.exp(log_share - logsumexp(log_share, axis=1, keepdims=True))
        total = share.sum(axis=0)
        weights = np.maximum(total, 1e-9) / len(patches)
        values = np.maximum(share.T @ distance / np.maximum(size * total, 1e-9), 1e-4)
        covariance = (away * (share @ (1 / values))[:, None]).T @ away / len(patches)
        covariance = covariance + FLOOR * np.eye(size)
        # Only the products z C are determined.
        level = np.trace(covariance) / size
        covariance, values = covariance / level, values * level
    order = np.argsort(values)
    weights, values = weights[order] / weights.sum(), values[order]
    return GaussianMixture(weights, np.tile(mean, (scales, 1)), values[:, None, None] * covariance)


def fit_mixture(
    patches: np.ndarray, components: int, updates: int, seed: int, progress: Progress = lambda done, note: None
) -> GaussianMixture:
    """Mixture of Gaussians with full covariances, shrunk towards the common one.

        C_k = (n_k S_k + α C) / (n_k + α)

    n_k and S_k are sums over patches, each with its share in the Gaussian (shares below LEAST_SHARE are left out); α is
    the value of SHRINKAGE under which patches that took no part are most probable.

    Args:
        patches: (N, D).
        components: number of Gaussians.
        updates: of the expectation maximisation.
        seed: of the patches at which the Gaussians start.
        progress: called with the updates done.
    """
    draw = np.random.default_rng(seed)
    order = draw.permutation(len(patches))
    count = max(int(VALIDATION * len(patches)), 1)
    held_out, patches = patches[order[:count]], patches[order[count:]]
    common, components = _covariance(patches), min(components, len(patches))
    shrinkage = SHRINKAGE[len(SHRINKAGE) // 2]
    share = np.eye(components, dtype=np.float32)[_first_owners(patches, common, components, draw)]
    for update in range(updates):
        mixture = _maximise(patches, share, common, shrinkage, draw)
        each = log_densities(mixture, patches)
        total = logsumexp(each, axis=1, keepdims=True)
        share = np.exp(each - total)
        progress(update + 1, f"{total.mean() / patches.shape[1]:.3f} nats a pixel")
    found = [_maximise(patches, share, common, each, draw) for each in SHRINKAGE]
    return max(found, key=lambda one: log_density(one, held_out).mean())


def _first_owners(patches, common, components, draw) -> np.ndarray:
    """Patches sorted by contrast, then by which of some random patches of their contrast they are most alike, (N,)."""
    away = patches - patches.mean(axis=0)
    strength = np.sum(away * np.linalg.solve(common, away.T).T, axis=1)
    level = np.argsort(np.argsort(strength)) * min(SCALES, components) // len(patches)
    owner, first = np.empty(len(patches), int), 0
    for scale in range(level.max() + 1):
        members = np.flatnonzero(level == scale)
        count = components // (level.max() + 1) + (scale < components % (level.max() + 1))
        seeds = draw.choice(members, min(count, len(members)), replace=False)
        unit = away[members] / np.linalg.norm(away[members], axis=1, keepdims=True)
        seeded = away[seeds] / np.linalg.norm(away[seeds], axis=1, keepdims=True)
        owner[members] = first + ((unit @ seeded.T) ** 2).argmax(axis=1)
        first += count
    return owner


def _maximise(patches, share, common, shrinkage, draw) -> GaussianMixture:
    weights, means, covariances = [], [], []
    for each in share.T:
        members = np.flatnonzero(each > LEAST_SHARE)
        if each[members].sum() < LEAST_MEMBERS:
            members, each = draw.integers(len(patches), size=1), np.ones(len(patches))
        count, own = each[members].sum(), patches[members]
        mean = each[members] @ own / count
        spread = (own - mean).T @ (each[members, None] * (own - mean))
        weights.append(count)
        means.append(mean)
        covariances.append((spread + shrinkage * common) / (count + shrinkage))
    return GaussianMixture(np.array(weights) / np.sum(weights), np.array(means), np.array(covariances))


def fit_ica(
    patches: np.ndarray, updates: int, seed: int, progress: Progress = lambda done, note: None
) -> Ica:
    """Complete independent component analysis by maximum likelihood, sources of scale mixtures included.

    Starts from whitened patches; Adam on batches, the rate falling to zero as a cosine.
    """
    mean, covariance = patches.mean(axis=0), _covariance(patches)
    values, vectors = np.linalg.eigh(covariance)
    whitening = (vectors / np.sqrt(values)).T
    white = jax.device_put(((patches - mean) @ whitening.T).astype(np.float32))
    size = white.shape[1]
    rotation, _ = np.linalg.qr(np.random.default_rng(seed).normal(size=(size, size)))
    spread = np.tile(np.linspace(-2.5, 2.0, ICA_SCALES), (size, 1))  # log variances
    start = tuple(x.astype(np.float32) for x in (rotation, np.zeros((size, ICA_SCALES)), spread))
    optimizer = optax.adam(optax.cosine_decay_schedule(ICA_RATE, max(updates, 1)))

    def loss(parameters, batch):
        unmixing, logits, log_variances = parameters
        source = batch @ unmixing.T
        each = jax.nn.log_softmax(logits, axis=1) - 0.5 * log_variances - 0.5 * np.log(2 * np.pi)
        log_source = jax.nn.logsumexp(each - 0.5 * source[:, :, None] ** 2 * jnp.exp(-log_variances), axis=2)
        return -(jnp.mean(jnp.sum(log_source, axis=1)) + jnp.linalg.slogdet(unmixing)[1]) / size

    @jax.jit
    def one(carry, key):
        parameters, state = carry
        batch = white[jax.random.randint(key, (ICA_BATCH,), 0, len(white))]
        value, gradient = jax.value_and_grad(loss)(parameters, batch)
        change, state = optimizer.update(gradient, state, parameters)
        return (optax.apply_updates(parameters, change), state), value

    carry, key = (start, optimizer.init(start)), jax.random.key(seed)
    for update in range(updates):
        carry, value = one(carry, jax.random.fold_in(key, update))
        if update % 50 == 0 or update + 1 == updates:
            progress(update + 1, f"{-float(value):.3f} nats a white pixel")
    unmixing, logits, log_variances = (np.asarray(x, np.float64) for x in carry[0])
    weights = np.exp(logits - logsumexp(logits, axis=1, keepdims=True))
    return Ica(mean, unmixing @ whitening, weights, np.exp(log_variances))


def log_density_of_ica(ica: Ica, patches: np.ndarray) -> np.ndarray:
    """log |det W| + Σ_i log p_i(w_i · (x - m)) of every patch, (N,), nats."""
    source = (patches - ica.mean) @ ica.unmixing.T
    each = np.log(ica.weights) - 0.5 * np.log(2 * np.pi * ica.variances)
    total = np.full(len(patches), np.linalg.slogdet(ica.unmixing)[1])
    for first in range(0, len(patches), ICA_BATCH):
        part = source[first : first + ICA_BATCH, :, None]
        total[first : first + ICA_BATCH] += logsumexp(each - 0.5 * part**2 / ica.variances, axis=2).sum(axis=1)
    return total


def _covariance(patches: np.ndarray) -> np.ndarray:
    away = patches - patches.mean(axis=0)
    return away.T @ away / len(patches) + FLOOR * np.eye(patches.shape[1])
