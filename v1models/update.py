"""One update, one epoch, and many networks at once.

    update(member, hyper, data, rows)        one update from a batch of rows
    epochs(member, hyper, data, orders)      a scan of whole epochs: orders (E, n) are the rows of each, in order
    vmap of that over members                all seeds of an instance, and all instances that differ only in numbers

A *member* is one network in training; members share the data and the program and have their own parameters, optimizer
state, key, learning rate, penalty strengths and dropout probabilities. Nothing couples them, so a member's result does
not depend on its company.

The short last batch of an epoch is an update of its own after the scan over full batches: the same mathematics as any
other, with no padding and no masks.
"""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax

from runtime.errors import ConfigError
from v1models import losses
from v1models.network import Network, default_dropout, default_strengths, initialize
from v1models.specification import NetworkSpec

OPTIMIZERS = ("adam", "lbfgs")
Params = Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Optimization:
    """How networks are trained; the numbers that may differ between members are in `Hyper`.

    Attributes:
        noise: one of `losses.LOSSES`.
        optimizer: 'adam' or 'lbfgs'.
        batch_size: rows, or None for all (L-BFGS needs None).
        keep_last_batch: use the short last batch of an epoch.
        beta1, beta2, epsilon: Adam's; epsilon_before_correction puts ε beside √v before the bias correction
            (TensorFlow 1).
        schedule: 'constant', 'cosine' (to 0 over `schedule_steps`) or 'exponential' (×0.1 every `schedule_steps`).
        count_masked: whether masked entries count in the Bernoulli mean.
        poisson_offset: ε of the logarithm.
    """

    noise: str = "poisson"
    optimizer: str = "adam"
    batch_size: int | None = 16
    keep_last_batch: bool = True
    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    epsilon_before_correction: bool = False
    schedule: str = "constant"
    schedule_steps: int | None = None
    count_masked: bool = False
    poisson_offset: float = losses.POISSON_OFFSET

    def __post_init__(self):
        if self.optimizer not in OPTIMIZERS:
            raise ConfigError(f"optimizer is {self.optimizer!r}; choose one of {', '.join(OPTIMIZERS)}.")
        if self.optimizer == "lbfgs" and self.batch_size is not None:
            raise ConfigError(
                f"optimizer lbfgs needs all rows at once, but batch_size is {self.batch_size}; set it to None."
            )
        if self.batch_size is not None and self.batch_size < 1:
            raise ConfigError(f"batch_size is {self.batch_size}; it must be at least 1.")
        if self.schedule not in ("constant", "cosine", "exponential"):
            raise ConfigError(f"schedule is {self.schedule!r}; choose constant, cosine or exponential.")
        if (self.schedule == "constant") != (self.schedule_steps is None):
            raise ConfigError(
                "schedule_steps belongs to the schedules cosine and exponential; "
                f"the schedule is {self.schedule!r} and schedule_steps is {self.schedule_steps}."
            )
        if self.optimizer == "lbfgs" and self.schedule != "constant":
            raise ConfigError("optimizer lbfgs finds its own step length; leave the schedule constant.")


class Data(NamedTuple):
    """Rows to train on or to evaluate."""

    images: Any  # (n, rows, columns, channels)
    responses: Any  # (n, N), rates or counts
    mask: Any = None  # (n, N), 1 where measured, or None when everything was
    mean_rates: Any = None  # (N,), scales of the Poisson loss, or None


class Hyper(NamedTuple):
    """Numbers of one member; with a leading axis, of many."""

    learning_rate: Any  # scalar
    strengths: Any  # {layer: {penalty: scalar}}
    dropout: Any  # {layer: scalar}, drop probabilities


class Member(NamedTuple):
    """What training carries for one network."""

    params: Any
    batch_stats: Any  # running means and variances of batch normalization, {} without
    optimizer: Any
    key: Any  # dropout keys are fold_in(key, step)
    step: Any  # updates done, int32
    rate_scale: Any  # factor on the learning rate, lowered by early stopping's phases


class UpdateInfo(NamedTuple):
    """Diagnostics of one update, on its batch and before it."""

    loss: Any  # unpenalized
    penalty: Any


class _AdamState(NamedTuple):
    count: Any
    mean: Any
    square: Any


def adam_epsilon_before_correction(beta1: float, beta2: float, epsilon: float) -> optax.GradientTransformation:
    """Adam with the ε of TensorFlow 1: update m √(1−β₂ᵗ)/(1−β₁ᵗ) / (√v + ε); ε is not bias-corrected.

    An optax transformation without learning rate.
    """

    def init(params):
        zeros = jax.tree.map(jnp.zeros_like, params)
        return _AdamState(jnp.zeros((), jnp.int32), zeros, zeros)

    def update(gradients, state, params=None):
        count = state.count + 1
        mean = jax.tree.map(lambda m, g: beta1 * m + (1 - beta1) * g, state.mean, gradients)
        square = jax.tree.map(lambda v, g: beta2 * v + (1 - beta2) * g * g, state.square, gradients)
        correction = jnp.sqrt(1 - beta2**count) / (1 - beta1**count)
        updates = jax.tree.map(lambda m, v: (correction * m / (jnp.sqrt(v) + epsilon)).astype(m.dtype), mean, square)
        return updates, _AdamState(count, mean, square)

    return optax.GradientTransformation(init, update)


def _transformation(options):
    if options.optimizer == "lbfgs":
        return optax.lbfgs()
    if options.epsilon_before_correction:
        return optax.with_extra_args_support(
            adam_epsilon_before_correction(options.beta1, options.beta2, options.epsilon)
        )
    return optax.with_extra_args_support(optax.scale_by_adam(options.beta1, options.beta2, options.epsilon))


def _schedule(options):
    if options.schedule == "cosine":
        return optax.cosine_decay_schedule(1.0, options.schedule_steps)
    if options.schedule == "exponential":
        return optax.exponential_decay(1.0, options.schedule_steps, 0.1)
    return lambda step: 1.0


class Trainer(NamedTuple):
    """Closures that train one member; `vmap` them over members."""

    init: Callable  # (key, mean_rates=None) -> Member
    start: Callable  # (params, key, batch_stats={}) -> Member, from given parameters
    update: Callable  # (member, hyper, data, rows (b,)) -> (Member, UpdateInfo)
    epochs: Callable  # (member, hyper, data, orders (E, n)) -> (Member, UpdateInfo averaged over each epoch, (E,))
    predict: Callable  # (member, images) -> (n, N)
    sample: Callable  # (member, hyper, images) -> (n, N), under the dropout masks of the member's present step
    loss: Callable  # (member, data) -> scalar, unpenalized, over all rows
    loss_of: Callable  # (predictions (n, N), data) -> scalar, likewise


def default_hyper(spec: NetworkSpec, learning_rate: float) -> Hyper:
    """The numbers of one member as its specification has them."""
    return Hyper(jnp.asarray(float(learning_rate)), default_strengths(spec), default_dropout(spec))


def make_trainer(network: Network, options: Optimization) -> Trainer:
    """The pure functions that train a network; a member's key is split once, for initial values and for dropout."""
    loss_function = losses.make_loss(options.noise, options.count_masked, options.poisson_offset)
    transformation, schedule = _transformation(options), _schedule(options)

    def start(params: Params, key: jax.Array, batch_stats: Params | None = None) -> Member:
        params = jax.tree.map(jnp.asarray, params)
        return Member(
            params, batch_stats or {}, transformation.init(params), key, jnp.zeros((), jnp.int32), jnp.ones(())
        )

    def init(key: jax.Array, mean_rates: jax.Array | None = None) -> Member:
        parameter_key, dropout_key = jax.random.split(key)
        variables = initialize(network, parameter_key, mean_rates)
        return start(variables["params"], dropout_key, variables.get("batch_stats"))

    def update(member: Member, hyper: Hyper, data: Data, rows: jax.Array) -> tuple[Member, UpdateInfo]:
        images, responses = data.images[rows], data.responses[rows]
        mask = None if data.mask is None else data.mask[rows]
        rngs = {"dropout": jax.random.fold_in(member.key, member.step)}

        def objective(params):
            variables = {"params": params, **({"batch_stats": member.batch_stats} if member.batch_stats else {})}
            predictions, changed = network.apply(
                variables, images, train=True, dropout=hyper.dropout, rngs=rngs, mutable=["batch_stats"]
            )
            loss = loss_function(predictions, responses, mask, data.mean_rates)
            penalty = network.apply(variables, hyper.strengths, method="penalty")
            return loss + penalty, (UpdateInfo(loss, penalty), changed.get("batch_stats", {}))

        (value, (info, batch_stats)), gradients = jax.value_and_grad(objective, has_aux=True)(member.params)
        extra = {}
        if options.optimizer == "lbfgs":
            extra = {"value": value, "grad": gradients, "value_fn": lambda params: objective(params)[0]}
        updates, optimizer = transformation.update(gradients, member.optimizer, member.params, **extra)
        if options.optimizer == "adam":
            rate = hyper.learning_rate * member.rate_scale * schedule(member.step)
            updates = jax.tree.map(lambda update: -rate.astype(update.dtype) * update, updates)
        params = optax.apply_updates(member.params, updates)
        return Member(params, batch_stats, optimizer, member.key, member.step + 1, member.rate_scale), info

    def epoch(member, hyper, data, order):
        size = order.shape[0] if options.batch_size is None else min(options.batch_size, order.shape[0])
        full = order.shape[0] // size
        batches = order[: full * size].reshape(full, size)
        member, info = jax.lax.scan(lambda carry, rows: update(carry, hyper, data, rows), member, batches)
        if options.keep_last_batch and full * size < order.shape[0]:
            member, last = update(member, hyper, data, order[full * size :])
            info = jax.tree.map(lambda many, one: jnp.append(many, one), info, last)
        return member, jax.tree.map(jnp.mean, info)

    def epochs(member: Member, hyper: Hyper, data: Data, orders: jax.Array) -> tuple[Member, UpdateInfo]:
        return jax.lax.scan(lambda carry, order: epoch(carry, hyper, data, order), member, orders)

    def predict(member: Member, images: jax.Array) -> jax.Array:
        variables = {"params": member.params, **({"batch_stats": member.batch_stats} if member.batch_stats else {})}
        return network.apply(variables, images)

    def sample(member: Member, hyper: Hyper, images: jax.Array) -> jax.Array:
        variables = {"params": member.params, **({"batch_stats": member.batch_stats} if member.batch_stats else {})}
        # A stream of its own: masks of a score say nothing about those of the next update.
        key = jax.random.fold_in(jax.random.fold_in(member.key, member.step), 1)
        options = {"train": True, "dropout": hyper.dropout, "rngs": {"dropout": key}, "mutable": ["batch_stats"]}
        return network.apply(variables, images, **options)[0]

    def loss_of(predictions: jax.Array, data: Data) -> jax.Array:
        return loss_function(predictions, data.responses, data.mask, data.mean_rates)

    def loss(member: Member, data: Data) -> jax.Array:
        return loss_of(predict(member, data.images), data)

    return Trainer(init, start, update, epochs, predict, sample, loss, loss_of)


def random_orders(keys: jax.Array, first_epoch: int, epochs: int, rows: int) -> jax.Array:
    """A fresh permutation of rows for every member and epoch, reproducible from the member's key and the epoch alone.

    Args:
        keys: of the members, (M,).
        first_epoch: number of the first epoch.
        epochs, rows: how many.

    Returns:
        Rows in order, (M, epochs, rows), int32.
    """

    def order(key, epoch):
        return jax.random.permutation(jax.random.fold_in(key, epoch), rows).astype(jnp.int32)

    numbers = first_epoch + jnp.arange(epochs)
    return jax.vmap(lambda key: jax.vmap(lambda epoch: order(key, epoch))(numbers))(keys)
