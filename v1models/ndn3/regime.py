"""NDN3's regime around the network: initial values, order of rows, and the costs it reports.

Everything here consumes numpy's `RandomState(seed)` in NDN3's order, so that a run started from the same seed starts
from the same weights and sees the same batches. NumPy keeps that generator's stream fixed across versions.
"""

import jax
import jax.numpy as jnp
import numpy as np

from runtime.config import ConfigError
from v1models import losses
from v1models.ndn3.adapter import (
    CONVOLVED_GAUSSIANS,
    FULL_GAUSSIANS,
    NDN3,
    layer_entries,
    network_from_parameters,
)
from v1models.ndn3.weights import import_weights
from v1models.optimisation import Optimisation

STANDARD_DEVIATION = 0.1


def _draw(random, name, shape, of_weights, where):
    if name == "zeros":
        return np.zeros(shape)
    if name == "ones" and of_weights:
        return np.ones(shape)
    if name in ("normal", "trunc_normal"):
        values = random.normal(size=shape, scale=STANDARD_DEVIATION)
        return np.abs(values) if of_weights and name == "trunc_normal" else values
    raise ConfigError(f"{where}: {'weights' if of_weights else 'biases'} initializer {name!r} is not one of NDN3's.")


def _draw_gaussians(random, layer, input_shape, name):
    if name == "zeros":
        return np.zeros((8, layer.features))
    bounds = layer.bounds_for(input_shape)
    shifts = (0.0, 0.0, 0.0, layer.initial_y_offset)
    rows = [
        [lower + (upper - lower) * random.random_sample() + shift for _ in range(layer.features)]
        for _ in range(2)
        for (lower, upper), shift in zip(bounds, shifts, strict=True)
    ]
    return np.array(rows)


def project(weights, constrained, mode):
    """Initial weights clamped and normalised in place, as NDN3 stores them. mode: its normalize_weights."""
    if constrained:
        weights = np.maximum(weights, 0)
    norms = np.sqrt(np.sum(np.square(weights), axis=0, keepdims=True))
    if mode == 1:
        return weights / np.where(norms > 0, norms, 1)
    if mode == 2:
        return weights / np.sqrt(np.sum(np.square(weights))) * weights.shape[1]
    if mode == -1:
        return weights / np.maximum(norms, 1)
    return weights


def initial_values(params, seed, quirks=NDN3):
    """NDN3's initial weights for a parameter dictionary and seed.

    Layers are drawn in order, weights then biases; Gaussians draw their biases first, then one scalar at a time.
    Returns one (weights, biases) a layer, float32, in NDN3's shapes (see `ndn3_weights.import_weights`).
    """
    random = np.random.RandomState(seed)
    network = network_from_parameters(params, quirks)
    arrays = []
    for index, (entry, layer, shape, output) in enumerate(
        zip(layer_entries(params), network.layers, network.shapes, network.shapes[1:], strict=False)
    ):
        where, biases_name = f"layer {index}", entry["biases_initializers"] or "zeros"
        if entry["type"] == "lin_scale":
            arrays.append((np.ones(1, np.float32), _draw(random, biases_name, (1, 1), False, where).astype(np.float32)))
            continue
        if entry["type"] in (FULL_GAUSSIANS, CONVOLVED_GAUSSIANS):
            biases = _draw(random, biases_name, (1, layer.features), False, where)
            weights = _draw_gaussians(random, layer, shape, entry["weights_initializers"])
        else:
            rows, columns, channels = layer.receptive_shape(shape)
            inputs = channels + rows * columns if layer.penalty_family == "factorised" else rows * columns * channels
            weights = _draw(random, entry["weights_initializers"], (inputs, layer.features), True, where)
            biases = _draw(random, biases_name, (1, output[-1]), False, where)
            weights = project(weights, entry["pos_constraints"] is not None, entry["normalize_weights"])
        arrays.append((weights.astype(np.float32), biases.astype(np.float32)))
    return arrays


def stored_values(params, arrays, quirks=NDN3):
    """What NDN3 writes back after a call of train: the constrained weights, from which a second call then starts.

    Dense and convolutional weights are clamped and, for any normalize_weights above 0, given unit columns; of a sep
    layer each constrained or normalised factor is. Arguments: params, the parameter dictionary; arrays, one (weights,
    biases) a layer as trained. Returns the same form.
    """
    network, stored = network_from_parameters(params, quirks), []
    for entry, layer, shape, (weights, biases) in zip(
        layer_entries(params), network.layers, network.shapes, arrays, strict=False
    ):
        if layer.penalty_family == "factorised":
            channels = layer.receptive_shape(shape)[2]
            factors = [
                project(
                    part,
                    layer.positive in (name, "both"),
                    int(layer.normalisation in (name, "both")),
                )
                for name, part in (("features", weights[:channels]), ("mask", weights[channels:]))
            ]
            weights = np.concatenate(factors)
        elif layer.penalty_family == "weights":
            weights = project(weights, layer.positive, min(entry["normalize_weights"] or 0, 1))
        stored.append((weights, biases))
    return stored


def optimisation(noise, batch_size, quirks=NDN3, **adam):
    """The `Optimisation` of NDN3's training, as far as the quirks ask. adam: beta1, beta2, epsilon."""
    return Optimisation(
        noise=noise,
        batch_size=batch_size,
        keep_last_batch=not quirks.drop_last_batch,
        epsilon_before_correction=quirks.epsilon_before_correction,
        count_masked=quirks.masked_entries_counted,
        **adam,
    )


def poisson_rates(train_responses, validation_responses, train_mask=None, validation_mask=None, quirks=NDN3):
    """Mean rates that scale the Poisson loss, (N,): of training rows, or of all rows where the quirk asks for it."""
    if not quirks.rates_over_all_rows:
        return losses.mean_rates(train_responses, train_mask)
    responses = np.concatenate([train_responses, validation_responses])
    mask = None if train_mask is None else np.concatenate([train_mask, validation_mask])
    return losses.mean_rates(responses, mask, over_measured=False)


def start_members(training, params, seeds, quirks=NDN3):
    """Members with a leading axis, one a seed, from NDN3's initial values or, without the quirk, from JAX keys."""
    keys = [jax.random.key(seed) for seed in seeds]
    if not quirks.numpy_initial_values:
        return jax.jit(jax.vmap(training.init))(jnp.stack(keys))
    network = network_from_parameters(params, quirks)
    members = [
        training.start(import_weights(network, initial_values(params, seed, quirks)), key)
        for seed, key in zip(seeds, keys, strict=True)
    ]
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *members)


def order_seeds(seeds, quirks=NDN3):
    """`Plan.numpy_seeds` for these seeds: themselves, or None without the quirk."""
    return tuple(seeds) if quirks.numpy_batch_order else None


def row_orders(train_rows, seed, epochs, skip=0):
    """The rows of each epoch in the order NDN3 visits them: RandomState(seed).permutation(train_rows), over and over.

    Arguments: train_rows (n,) indices; seed, or a `RandomState` whose stream goes on; epochs, how many; skip, epochs
    of the stream to pass over first. Returns (epochs, n).
    """
    random = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    for _ in range(skip):
        random.permutation(train_rows)
    return np.stack([random.permutation(train_rows) for _ in range(epochs)])


def cost(noise, predictions, responses, mask=None, rates=None, batch_size=None):
    """NDN3's `get_LL`: the unpenalised loss of all rows at once, or averaged over full batches in order (the rest left
    out)."""
    loss = losses.make_loss(noise, count_masked=True)
    if batch_size is None:
        return loss(predictions, responses, mask, rates)
    starts = range(0, len(predictions) - batch_size + 1, batch_size)
    parts = [slice(start, start + batch_size) for start in starts]
    return sum(
        loss(predictions[part], responses[part], None if mask is None else mask[part], rates) for part in parts
    ) / len(parts)


def neuron_costs(noise, predictions, responses, mask=None, null_adjusted=False):
    """NDN3's `eval_models`: loss of each neuron over all rows, (N,).

    The divisor is max(Σ masked response, 1) for Poisson and Bernoulli, the number of measured rows for Gaussian. Null
    adjustment gives −cost − null with null = ln(r̄ + 1e-6) − 1 (Poisson); the Gaussian null sums squared deviations
    over ALL neurons and divides by each one's rows, a slip kept because published numbers contain it.
    """
    predictions, responses = np.asarray(predictions), np.asarray(responses)
    weight = np.ones_like(responses) if mask is None else np.asarray(mask)
    sums = np.asarray(losses.neuron_sums(noise, predictions, responses, mask))
    rows = np.sum(weight, axis=0)
    total = np.sum(responses * weight, axis=0)
    costs = sums / (np.maximum(rows, 1) if noise == "gaussian" else np.maximum(total, 1))
    if not null_adjusted:
        return costs
    rates = total / np.maximum(rows, 1)
    if noise == "poisson":
        null = np.log(rates + losses.POISSON_OFFSET) - 1
    elif noise == "gaussian":
        null = np.sum(np.square(responses * weight - rates)) / np.maximum(rows, 1)
    else:
        null = 0.0
    return -costs - null
