"""NDN3's regime around the network: initial values, order of rows, and the costs it reports.

Everything here consumes numpy's `RandomState(seed)` in NDN3's order, so that a run started from the same seed starts
from the same weights and sees the same batches. NumPy keeps that generator's stream fixed across versions.
"""

import numpy as np

from runtime.config import ConfigError
from v1models import losses
from v1models.ndn3 import CONVOLVED_GAUSSIANS, FULL_GAUSSIANS, NDN3, layer_entries, network_from_parameters

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


def row_orders(train_rows, seed, epochs, first=0):
    """The rows of each epoch in the order NDN3 visits them: RandomState(seed).permutation(train_rows), over and over.

    Arguments: train_rows (n,) indices; seed; epochs, how many; first, epochs of the stream to skip. Returns (epochs,
    n).
    """
    random = np.random.RandomState(seed)
    for _ in range(first):
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
