"""Fitting: all members of a fit in one compiled program, scored at logged epochs, stoppable and resumable.

    members = start_members(trainer, hypers, seeds)
    result = fit(trainer, members, data, validation, Plan(epochs=5000, log_every=50))

Between two logged epochs the whole stretch is one program: a scan over epochs of a scan over batches, mapped over
members. At a logged epoch every member predicts the whole validation set. Early stopping, learning-rate phases and
best weights are kept for each member apart; one that has stopped stands still while the others go on. A member whose
parameters stop being finite is scored 0 from then on and named in the result; the others do not feel it.

The order of rows is a function of the member's key (or NDN3 seed) and the epoch alone, and everything carried is in the
checkpoint, so a resumed fit continues bit for bit.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from runtime.checkpoint import Checkpoints
from runtime.errors import ConfigError, RunError
from v1models.metrics import pearson_on_device
from v1models.update import Data, Hyper, Member, Trainer, random_orders

MONITORS = ("loss", "correlation")

# For so many rows, a function (members' keys (M,), first epoch, epochs) -> rows in order, (M, epochs, rows); asked for
# epochs in rising order.
Orders = Callable[[int], Callable[[jax.Array, int, int], jax.Array]]


def orders_from_keys(rows: int) -> Callable[[jax.Array, int, int], jax.Array]:
    """Orders that depend on a member's key and the epoch alone, see `random_orders`."""
    program = jax.jit(random_orders, static_argnums=(2, 3))
    return lambda keys, first, epochs: program(keys, first, epochs, rows)


@dataclasses.dataclass(frozen=True)
class Stopping:
    """Early stopping with best weights restored.

    monitor: 'loss' (lower is better) or 'correlation' of the stopping rows; patience: logged epochs without a better
    value before a phase ends; phases: how many, each from the best weights so far with the learning rate multiplied by
    rate_factor (3 phases of factor 1/3: Klindt et al. 2017).
    """

    monitor: str = "loss"
    patience: int = 10
    phases: int = 1
    rate_factor: float = 1 / 3

    def __post_init__(self):
        if self.monitor not in MONITORS:
            raise ConfigError(f"stopping monitor is {self.monitor!r}; choose one of {', '.join(MONITORS)}.")
        if self.patience < 1 or self.phases < 1:
            raise ConfigError(f"stopping needs patience and phases of at least 1, not {self.patience}, {self.phases}.")


@dataclasses.dataclass(frozen=True)
class Plan:
    """How long to fit and what to do on the way.

    Attributes:
        epochs: passes over the rows; log_every: epochs between two scores.
        stopping: a `Stopping` or None.
        orders: how rows are ordered, see `Orders`.
        members_at_once: most members in one program (see `side_by_side`).
        checkpoint_every: logged epochs between two checkpoints.
        log_first: whether members are scored after the first epoch too.
        score_with_dropout: whether scores are taken under a random mask.
    """

    epochs: int
    log_every: int = 50
    stopping: Stopping | None = None
    orders: Orders = orders_from_keys
    members_at_once: int | None = None
    checkpoint_every: int = 1
    log_first: bool = False
    score_with_dropout: bool = False

    def __post_init__(self):
        if min(self.epochs, self.log_every, self.checkpoint_every) < 1:
            raise ConfigError(
                f"epochs, log_every and checkpoint_every are {self.epochs}, {self.log_every}, "
                f"{self.checkpoint_every}; each must be at least 1."
            )
        if self.members_at_once is not None and self.members_at_once < 1:
            raise ConfigError(f"members_at_once is {self.members_at_once}; at least 1, or None for all.")

    @property
    def log_epochs(self) -> list[int]:
        """Epochs after which members are scored; the last one always."""
        epochs = [min(epoch + self.log_every, self.epochs) for epoch in range(0, self.epochs, self.log_every)]
        return [1, *epochs] if self.log_first and epochs[0] > 1 else epochs


class StoppedError(Exception):
    """A fit ended on request after its last checkpoint; the same call goes on from there."""


class Best(NamedTuple):
    """Early stopping's memory, one entry a member."""

    params: Any
    batch_stats: Any
    score: Any  # (M,), higher is better
    epoch: Any  # (M,), int32
    waited: Any  # (M,), logged epochs since, int32
    phase: Any  # (M,), int32
    active: Any  # (M,), bool


class History(NamedTuple):
    """Scores at logged epochs, NaN where the fit has not come; L logged epochs, M members."""

    train_loss: Any  # (L, M), mean over the last epoch's batches
    penalty: Any  # (L, M), likewise
    validation_loss: Any  # (L, M)
    validation_correlation: Any  # (L, M), mean over neurons


class FitState(NamedTuple):
    """Everything a fit carries from one logged epoch to the next."""

    members: Member
    best: Any  # Best, or () without early stopping
    history: History
    logged: Any  # logged epochs done


class FitResult(NamedTuple):
    """What a fit gives; M members, N neurons."""

    epochs: Any  # (L,), logged epochs
    history: History
    members: Member  # last, or best ones with early stopping
    correlations: Any  # (M, N), validation correlation of `members`
    best_epoch: Any  # (M,), the epoch `members` are from
    diverged: Any  # (M,), bool: parameters are not finite


def stack_hypers(hypers: Sequence[Hyper], repeats: int = 1) -> Hyper:
    """One `Hyper` with a leading axis from a list of them, each repeated `repeats` times (its seeds) in a row.

    Raises ConfigError when they differ in more than numbers: such networks need programs of their own.
    """
    structure = jax.tree.structure(hypers[0])
    for index, hyper in enumerate(hypers):
        if jax.tree.structure(hyper) != structure:
            raise ConfigError(
                f"instance {index} has other penalties or dropout layers than instance 0; instances in one "
                "fit may differ in numbers only: give the penalty to all of them, 0 where it is off."
            )
    return jax.tree.map(lambda *leaves: np.repeat(np.stack(leaves), repeats, axis=0), *hypers)


def start_members(
    trainer: Trainer, seeds: Sequence[int], instances: int = 1, mean_rates: jax.Array | None = None
) -> Member:
    """Fresh members, instance after instance, each with every seed; a seed means the same start in all instances."""

    def start(keys):
        members = jax.vmap(lambda key: trainer.init(key, mean_rates))(jnp.stack(keys))
        return jax.tree.map(lambda leaf: jnp.concatenate([leaf] * instances), members)

    return jax.jit(start)([jax.random.key(seed) for seed in seeds])


# Where every core has members of its own, XLA must not split single operations between cores as well: handing a part to
# another thread takes several times longer than the operation.
ONE_CORE = {"xla_disable_hlo_passes": "cpu-parallel-task-assigner", "xla_cpu_multi_thread_eigen": False}


def side_by_side(function: Callable, axes: Sequence[int | None], size: int | None = None) -> Callable:
    """`function` of one member as a function of many: compiled, mapped over members, on all cores of a CPU.

    XLA gives the small operations of such networks to one core, so on a CPU every core has a share of the members, in a
    thread of its own. All shares have the same size, and hence the same program: where members do not divide evenly the
    last share begins with some of the share before, which costs no time. Accelerators take one share after another.

    Args:
        function: of one member.
        axes: 0 for each of its arguments that has a leading axis of members, else None.
        size: most members in one program, or None for all that there are (on a CPU, for an equal share for each core).
    """
    program = jax.jit(jax.vmap(function, in_axes=axes))
    workers = _cores() if jax.default_backend() == "cpu" else 1

    def of_share(start, share, *arguments):
        chosen = (
            jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, share), argument)
            if axis == 0 else argument
            for argument, axis in zip(arguments, axes, strict=True)
        )  # fmt: skip
        return jax.vmap(function, in_axes=axes)(*chosen)

    together, alone = (jax.jit(of_share, static_argnums=1, compiler_options=chosen) for chosen in (None, ONE_CORE))

    @partial(jax.jit, static_argnums=1)
    def joined(parts, repeated):
        return jax.tree.map(lambda *leaves: jnp.concatenate([*leaves[:-1], leaves[-1][repeated:]]), *parts)

    def mapped(*arguments):
        count = jax.tree.leaves(arguments[axes.index(0)])[0].shape[0]
        share = min(-(-count // workers), size or count)
        starts = [min(first, count - share) for first in range(0, count, share)]
        if len(starts) == 1:
            return program(*arguments)
        run = alone if 1 < workers <= len(starts) else together
        with ThreadPoolExecutor(workers) as pool:
            parts = list(pool.map(lambda start: jax.block_until_ready(run(np.int32(start), share, *arguments)), starts))
        return joined(parts, len(starts) * share - count)

    return mapped


def _cores():
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()


def select(condition: jax.Array, new: Any, old: Any) -> Any:
    """Members of `new` where condition (M,) holds, else of `old`; trees of arrays and random keys (M, ...)."""

    def choose(a, b):
        if jnp.issubdtype(a.dtype, jax.dtypes.prng_key):
            return a
        return jnp.where(condition.reshape(-1, *[1] * (a.ndim - 1)), a, b)

    return jax.tree.map(choose, new, old)


def initial_state(members: Member, plan: Plan) -> FitState:
    """The state of a fit that has not begun."""
    count, logs = members.step.shape[0], len(plan.log_epochs)
    empty = np.full((logs, count), np.nan, np.float32)
    best = ()
    if plan.stopping:
        zeros, worst = np.zeros(count, np.int32), np.full(count, -np.inf, members.rate_scale.dtype)
        best = Best(members.params, members.batch_stats, worst, zeros, zeros, zeros, np.ones(count, bool))
    return FitState(members, best, History(*[empty.copy() for _ in History._fields]), 0)


def _update_best(trainer, best, members, score, epoch, stopping):
    """One look of early stopping: keeps better weights, counts waiting, ends phases. Returns (best, members)."""
    better = best.active & (score > best.score)
    waited = jnp.where(better, 0, best.waited + best.active)
    params, stats = select(better, members.params, best.params), select(better, members.batch_stats, best.batch_stats)
    ended = best.active & (waited >= stopping.patience)
    phase = best.phase + ended
    active = best.active & (phase < stopping.phases)
    restart = ended & active
    # A new phase starts from the best weights with a fresh optimizer and a smaller rate.
    optimizer = jax.vmap(trainer.start)(params, members.key, stats).optimizer
    fresh = members._replace(
        params=params, batch_stats=stats, optimizer=optimizer, rate_scale=members.rate_scale * stopping.rate_factor
    )
    members = select(restart, fresh, members)
    return Best(
        params,
        stats,
        jnp.where(better, score, best.score),
        jnp.where(better, epoch, best.epoch),
        jnp.where(restart, 0, waited),
        phase,
        active,
    ), members


def fit(
    trainer: Trainer,
    members: Member,
    hyper: Hyper,
    data: Data,
    validation: Data,
    plan: Plan,
    stopping_data: Data | None = None,
    checkpoints: Checkpoints | None = None,
    report: Callable[[int, dict[str, np.ndarray]], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> FitResult:
    """Fit members side by side.

    Args:
        trainer: closures of `make_trainer`.
        members: (M, …) as `start_members` gives.
        hyper: a `Hyper` with a leading axis M.
        data: `Data` to train on.
        validation: `Data` to score on at logged epochs.
        plan: a `Plan`.
        stopping_data: `Data` that early stopping looks at, needed with early stopping alone; it should not be the
            validation rows.
        checkpoints: a `runtime.checkpoint.Checkpoints` or None; the latest one there is continued.
        report: function (epoch, {'train_loss', 'penalty', 'validation_loss', 'validation_correlation': (M,)}) or None,
            called at every logged epoch.
        stop: function () -> bool or None, asked at every logged epoch whether to end there.

    Returns:
        A `FitResult`.

    Raises:
        StoppedError: `stop` said so.
        ConfigError: a plan that does not fit the data.
        RunError: all members diverge.
    """
    rows = data.images.shape[0]
    if (plan.stopping is None) != (stopping_data is None):
        raise ConfigError(
            "early stopping needs rows of its own: give both a stopping plan and stopping_data, or neither."
        )
    run = side_by_side(trainer.epochs, (0, 0, None, 0), plan.members_at_once)

    masked = plan.score_with_dropout and bool(hyper.dropout)

    def score(member, numbers, part):
        predictions = trainer.sample(member, numbers, part.images) if masked else trainer.predict(member, part.images)
        return trainer.loss_of(predictions, part), pearson_on_device(predictions, part.responses, part.mask)

    scored = side_by_side(score, (0, 0, None), plan.members_at_once)

    def evaluate(members, part):
        return tuple(map(np.asarray, scored(members, hyper, part)))

    @jax.jit
    def stand_still(best, before, members):
        return select(best.active, members, before)

    @jax.jit
    def look(best, members, score, epoch):
        return _update_best(trainer, best, members, score, epoch, plan.stopping)

    draw_orders = plan.orders(rows)
    state = initial_state(members, plan)
    if checkpoints is not None and checkpoints.steps():
        state = checkpoints.restore(state)[1]

    epochs = plan.log_epochs
    for log in range(int(state.logged), len(epochs)):
        if _all_stopped(state):
            break
        first = epochs[log - 1] if log else 0
        count = epochs[log] - first
        orders = draw_orders(state.members.key, first, count)
        trained, info = run(state.members, hyper, data, orders)
        best = state.best
        if plan.stopping:
            trained = stand_still(best, state.members, trained)
            loss, correlation = evaluate(trained, stopping_data)
            watched = -loss if plan.stopping.monitor == "loss" else correlation.mean(-1)
            best, trained = look(best, trained, np.where(np.isfinite(watched), watched, -np.inf), epochs[log])
        loss, correlation = evaluate(trained, validation)
        if not np.isfinite(loss).any():
            raise RunError(
                f"after epoch {epochs[log]} no member's validation loss is finite; lower the learning rate "
                "or look for values that are not finite in the data."
            )
        scores = {
            "train_loss": np.asarray(info.loss)[:, -1],
            "penalty": np.asarray(info.penalty)[:, -1],
            "validation_loss": loss,
            "validation_correlation": correlation.mean(-1),
        }
        for name, value in scores.items():
            getattr(state.history, name)[log] = value
        state = FitState(trained, best, state.history, log + 1)
        if report is not None:
            report(epochs[log], scores)
        done = log + 1 == len(epochs) or _all_stopped(state)
        stopped = stop is not None and stop() and not done
        if checkpoints is not None and (done or stopped or (log + 1) % plan.checkpoint_every == 0):
            checkpoints.save(
                epochs[log], state, {"validation_correlation": float(scores["validation_correlation"].mean())}
            )
        if stopped:
            raise StoppedError(f"stopped after epoch {epochs[log]}")
    return _result(state, plan, evaluate, validation)


def _all_stopped(state):
    return isinstance(state.best, Best) and not np.any(state.best.active)


def _result(state, plan, evaluate, validation):
    members, best_epoch = state.members, np.full(state.members.step.shape[0], plan.log_epochs[int(state.logged) - 1])
    if plan.stopping:
        members = members._replace(params=state.best.params, batch_stats=state.best.batch_stats)
        best_epoch = np.asarray(state.best.epoch)
    correlations = evaluate(members, validation)[1]
    finite = np.all(
        [np.isfinite(np.asarray(leaf)).reshape(leaf.shape[0], -1).all(1) for leaf in jax.tree.leaves(members.params)],
        axis=0,
    )
    return FitResult(np.array(plan.log_epochs), state.history, members, correlations, best_epoch, ~finite)
