"""NDN3's regime around the network: initial values, order of rows, and the costs it reports.

Everything here consumes numpy's `RandomState(seed)` in NDN3's order, so that a run started from the same seed starts
from the same weights and sees the same batches. NumPy keeps that generator's stream fixed across versions.
"""

import functools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from runtime.errors import ConfigError
from v1models import losses
from v1models.layers import KINDS, DifferenceOfGaussians, LinearScale
from v1models.ndn3.adapter import layer_entries, network_from_parameters
from v1models.ndn3.quirks import NDN3, Quirks
from v1models.ndn3.weights import Arrays, import_weights
from v1models.specification import NetworkSpec
from v1models.training import Orders
from v1models.update import Member, Optimization, Trainer

STANDARD_DEVIATION = 0.1
# Our names of initial values and norms, as NDN3 calls them.
WEIGHT_NAMES = {"half_normal": "trunc_normal"}
NORM_MODES = {"none": 0, "unit": 1, "frobenius": 2, "frobenius_unscaled_penalty": 2, "cap": -1}


class Draw(NamedTuple):
    """How one layer's initial values are drawn and what NDN3 does to them at once."""

    weights: str  # NDN3's name
    biases: str  # NDN3's name
    clamped: bool = False
    mode: int = 0  # normalize_weights
    weight_scale: float = STANDARD_DEVIATION
    bias_scale: float = STANDARD_DEVIATION


def draws_of_parameters(params: Mapping[str, Any]) -> list[Draw]:
    """What an NDN3 parameter dictionary says about initial values, one `Draw` a layer."""
    return [
        Draw(
            entry["weights_initializers"],
            entry["biases_initializers"] or "zeros",
            entry["pos_constraints"] is not None,
            entry["normalize_weights"] or 0,
        )
        for entry in layer_entries(params)
    ]


def draws_of_network(network: NetworkSpec) -> list[Draw]:
    """What NDN3 would do for the layers of one of our networks, one `Draw` a layer."""
    draws = []
    for index, layer in enumerate(network.layers):
        if not KINDS[type(layer).__name__].ndn3:
            raise ConfigError(f"layer {index}: NDN3 has no {type(layer).__name__}, and hence no initial values for it.")
        weights = getattr(layer, "weight_initializer", "random")
        mode = NORM_MODES.get(getattr(layer, "normalization", "none"), 0)
        clamped = layer.constrained_positive
        scales = getattr(layer, "weight_scale", STANDARD_DEVIATION), layer.bias_scale
        draws.append(Draw(WEIGHT_NAMES.get(weights, weights), layer.bias_initializer, clamped, mode, *scales))
    return draws


def _draw(random, draw, shape, of_weights, where):
    name, scale = (draw.weights, draw.weight_scale) if of_weights else (draw.biases, draw.bias_scale)
    if name == "zeros":
        return np.zeros(shape)
    if name == "ones" and of_weights:
        return np.ones(shape)
    if name in ("normal", "trunc_normal"):
        values = random.normal(size=shape, scale=scale)
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


def project(weights: np.ndarray, clamped: bool, mode: int) -> np.ndarray:
    """Weights (inputs, outputs) clamped and normalized in place, as NDN3 stores them; mode: its normalize_weights."""
    if clamped:
        weights = np.maximum(weights, 0)
    norms = np.sqrt(np.sum(np.square(weights), axis=0, keepdims=True))
    if mode == 1:
        return weights / np.where(norms > 0, norms, 1)
    if mode == 2:
        return weights / np.sqrt(np.sum(np.square(weights))) * weights.shape[1]
    if mode == -1:
        return weights / np.maximum(norms, 1)
    return weights


def initial_values(
    network: NetworkSpec, seed: int, draws: Sequence[Draw] | None = None
) -> list[tuple[np.ndarray, np.ndarray]]:
    """NDN3's initial weights of a network for a seed.

    Layers are drawn in order, weights then biases; Gaussians draw their biases first, then one scalar at a time.

    Args:
        network: the specification.
        seed: of numpy's `RandomState`.
        draws: one a layer, `draws_of_parameters` for a parameter dictionary; by default what the layers themselves say.

    Returns:
        One (weights, biases) a layer, float32, in NDN3's shapes (see `weights.import_weights`).
    """
    random, arrays = np.random.RandomState(seed), []
    draws = draws_of_network(network) if draws is None else draws
    for index, (draw, layer, shape) in enumerate(zip(draws, network.layers, network.shapes, strict=False)):
        where, biases_shape = f"layer {index}", (1, int(np.prod(layer.bias_shape(shape))))
        shapes = list(layer.parameter_shapes(shape).values())
        if isinstance(layer, LinearScale):
            weights, biases = np.ones(1), _draw(random, draw, biases_shape, False, where)
        elif isinstance(layer, DifferenceOfGaussians):
            biases = _draw(random, draw, biases_shape, False, where)
            weights = _draw_gaussians(random, layer, shape, draw.weights)
        else:
            size = (sum(int(np.prod(part[:-1])) for part in shapes), shapes[0][-1])
            weights = project(_draw(random, draw, size, True, where), draw.clamped, draw.mode)
            biases = _draw(random, draw, biases_shape, False, where)
        arrays.append((weights.astype(np.float32), biases.astype(np.float32)))
    return arrays


def stored_values(params: Mapping[str, Any], arrays: Arrays, quirks: Quirks = NDN3) -> list[tuple[Any, Any]]:
    """What NDN3 writes back after a call of train: the constrained weights, from which a second call then starts.

    Dense and convolutional weights are clamped and, for any normalize_weights above 0, given unit columns; of a sep
    layer each constrained or normalized factor is.

    Args:
        params: the parameter dictionary.
        arrays: one (weights, biases) a layer as trained.
        quirks: which of NDN3's peculiarities are kept.

    Returns:
        The same form as `arrays`.
    """
    network, stored = network_from_parameters(params, quirks), []
    for entry, layer, shape, (weights, biases) in zip(
        layer_entries(params), network.layers, network.shapes, arrays, strict=False
    ):
        if layer.penalty_family == "factorized":
            channels = layer.receptive_shape(shape)[2]
            factors = [
                project(part, layer.positive in (name, "both"), int(layer.normalization in (name, "both")))
                for name, part in (("features", weights[:channels]), ("mask", weights[channels:]))
            ]
            weights = np.concatenate(factors)
        elif layer.penalty_family == "weights":
            weights = project(weights, layer.positive, min(entry["normalize_weights"] or 0, 1))
        stored.append((weights, biases))
    return stored


def optimization(noise: str, batch_size: int, quirks: Quirks = NDN3, **adam: float) -> Optimization:
    """The `Optimization` of NDN3's training, as far as the quirks ask; adam: beta1, beta2, epsilon."""
    return Optimization(
        noise=noise,
        batch_size=batch_size,
        keep_last_batch=not quirks.drop_last_batch,
        epsilon_before_correction=quirks.epsilon_before_correction,
        count_masked=quirks.masked_entries_counted,
        **adam,
    )


def start_members(trainer: Trainer, network: NetworkSpec, seeds: Sequence[int], instances: int = 1) -> Member:
    """Members with a leading axis, instance after instance, each with every seed, from NDN3's initial values."""
    values = [import_weights(network, initial_values(network, seed)) for seed in seeds] * instances
    keys = [jax.random.key(seed) for seed in seeds] * instances
    return jax.jit(jax.vmap(trainer.start))(jax.tree.map(lambda *leaves: np.stack(leaves), *values), jnp.stack(keys))


def numpy_orders(seeds: Sequence[int]) -> Orders:
    """The `Orders` of numpy's generator: every epoch `RandomState(seed).permutation`, one seed a member."""

    def source(rows: int):
        streams, position = {seed: np.random.RandomState(seed) for seed in seeds}, [0]

        def orders(keys, first, epochs):
            if len(seeds) != keys.shape[0]:
                raise ConfigError(f"{len(seeds)} numpy seeds for {keys.shape[0]} members; give one each.")
            drawn = {
                seed: row_orders(np.arange(rows), stream, epochs, first - position[0])
                for seed, stream in streams.items()
            }
            position[0] = first + epochs
            return np.stack([drawn[seed] for seed in seeds]).astype(np.int32)

        return orders

    return source


def row_orders(train_rows: np.ndarray, seed: int | np.random.RandomState, epochs: int, skip: int = 0) -> np.ndarray:
    """The rows of each epoch in the order NDN3 visits them: RandomState(seed).permutation(train_rows), over and over.

    Args:
        train_rows: indices, (n,).
        seed: a number, or a `RandomState` whose stream goes on.
        epochs: how many.
        skip: epochs of the stream to pass over first.

    Returns:
        Indices, (epochs, n).
    """
    random = seed if isinstance(seed, np.random.RandomState) else np.random.RandomState(seed)
    for _ in range(skip):
        random.permutation(train_rows)
    return np.stack([random.permutation(train_rows) for _ in range(epochs)])


def cost(
    noise: str,
    predictions: jax.Array,
    responses: jax.Array,
    mask: jax.Array | None = None,
    rates: jax.Array | None = None,
    batch_size: int | None = None,
    keep_last: bool = False,
) -> jax.Array:
    """NDN3's `get_LL`: the unpenalized loss of all rows at once, or its mean over batches in order.

    Args:
        noise: of the loss.
        predictions, responses, mask: (B, N); rates: (N,), or None.
        batch_size: rows of a batch, None for all.
        keep_last: whether a short last batch counts as one more, or its rows are left out.
    """
    rows = len(predictions)
    size = rows if batch_size is None else batch_size
    if rows < size and not keep_last:
        raise ConfigError(f"{rows} rows are fewer than one batch of {size}; give a smaller batch_size.")
    return _mean_of_batches(noise, predictions, responses, mask, rates, min(size, rows), keep_last)


@functools.partial(jax.jit, static_argnames=("noise", "size", "keep_last"))
def _mean_of_batches(noise, predictions, responses, mask, rates, size, keep_last):
    loss, whole = losses.make_loss(noise, count_masked=True), len(predictions) // size * size
    arrays = (predictions, responses) if mask is None else (predictions, responses, mask)

    def of_batch(predictions, responses, mask=None):
        return loss(predictions, responses, mask, rates)

    costs = jax.vmap(of_batch)(*(array[:whole].reshape(-1, size, array.shape[-1]) for array in arrays))
    if keep_last and whole < len(predictions):
        costs = jnp.append(costs, of_batch(*(array[whole:] for array in arrays)))
    return jnp.mean(costs)


def neuron_costs(
    noise: str,
    predictions: jax.Array,
    responses: jax.Array,
    mask: jax.Array | None = None,
    null_adjusted: bool = False,
) -> np.ndarray:
    """NDN3's `eval_models`: loss of each neuron over all rows, (N,).

    The divisor is max(Σ masked response, 1) for Poisson and Bernoulli, the number of measured rows for Gaussian. Null
    adjustment gives −cost − null with null = ln(r̄ + 1e-6) − 1 (Poisson); the Gaussian null sums squared deviations
    over ALL neurons and divides by each one's rows, a slip kept because published numbers contain it.
    """
    predictions, responses = np.asarray(predictions), np.asarray(responses)
    weight = np.ones_like(responses) if mask is None else np.asarray(mask)
    rows = np.sum(weight, axis=0)
    total = np.sum(responses * weight, axis=0)
    costs = losses.neuron_costs(noise, predictions, responses, mask)
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
