"""Training: independence of members, exact resume, early stopping, sweeps, L-BFGS, and recovery of a known truth."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from runtime.checkpoint import Checkpoints
from v1models.layers import Dense
from v1models.ndn3.regime import numpy_orders
from v1models.network import Network
from v1models.specification import NetworkSpec
from v1models.training import Plan, Stopping, fit, side_by_side, stack_hypers, start_members
from v1models.update import Data, Optimization, default_hyper, make_trainer, random_orders

SPEC = NetworkSpec(
    (6, 6, 1),
    (
        Dense(4, activation="softplus", bias_initializer="normal", dropout=0.2, penalties={"d2x": 0.01}),
        Dense(3, activation="softplus", penalties={"l2": 0.1}),
    ),
)


def _data(rows=40, seed=0, neurons=3):
    random = np.random.default_rng(seed)
    images = random.standard_normal((rows, 6, 6, 1)).astype(np.float32)
    filters = np.random.default_rng(9).standard_normal((36, neurons))
    rates = np.logaddexp(0, 0.3 * np.asarray(images).reshape(rows, 36) @ filters)
    return Data(images, random.poisson(rates).astype(np.float32))


def _fit(seeds=(0, 1, 2), hypers=None, plan=None, options=None, spec=SPEC, **more):
    trainer = make_trainer(Network(spec), options or Optimization(batch_size=16))
    hypers = hypers or [default_hyper(spec, 1e-2)]
    members = start_members(trainer, seeds, len(hypers))
    return fit(trainer, members, stack_hypers(hypers, len(seeds)), _data(), _data(30, 1), plan or Plan(6, 2), **more)


def _same(a, b):
    jax.tree.map(np.testing.assert_array_equal, jax.tree.leaves(a), jax.tree.leaves(b))


def test_a_member_does_not_depend_on_its_company():
    together, alone = _fit(), _fit(seeds=(1,))
    for a, b in zip(jax.tree.leaves(together.members.params), jax.tree.leaves(alone.members.params), strict=True):
        np.testing.assert_allclose(a[1], b[0], rtol=2e-4, atol=1e-6)
    assert np.isfinite(together.history.validation_correlation).all()
    assert together.correlations.shape == (3, 3)


def test_members_in_chunks_give_the_same_as_all_at_once():
    chunked, whole = (_fit(plan=Plan(3, 3, members_at_once=size)).members.params for size in (2, None))
    for a, b in zip(jax.tree.leaves(chunked), jax.tree.leaves(whole), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


def test_instances_that_differ_in_numbers_train_as_if_alone():
    base = default_hyper(SPEC, 1e-2)
    strong = base._replace(learning_rate=np.float32(3e-3), strengths=jax.tree.map(lambda s: 10 * s, base.strengths))
    both, second = _fit(seeds=(5,), hypers=[base, strong]), _fit(seeds=(5,), hypers=[strong])
    np.testing.assert_allclose(
        both.members.params["layer0"]["kernel"][1], second.members.params["layer0"]["kernel"][0], rtol=2e-4, atol=1e-6
    )
    assert not np.allclose(*both.members.params["layer0"]["kernel"])
    with pytest.raises(ValueError, match="numbers only"):
        stack_hypers([base, base._replace(strengths={})])


def test_a_resumed_fit_continues_bit_for_bit(tmp_path):
    whole = _fit(plan=Plan(6, 2, stopping=Stopping(patience=2)), stopping_data=_data(20, 2))

    class Stop(Exception):
        pass

    def interrupt(epoch, scores):
        if epoch == 6:
            raise Stop

    plan = Plan(6, 2, stopping=Stopping(patience=2))
    with (
        Checkpoints(tmp_path, best_metric="validation_correlation", best_mode="max") as checkpoints,
        pytest.raises(Stop),
    ):
        _fit(plan=plan, stopping_data=_data(20, 2), checkpoints=checkpoints, report=interrupt)
    with Checkpoints(tmp_path, best_metric="validation_correlation", best_mode="max") as checkpoints:
        assert checkpoints.steps()[-1] == 4
        resumed = _fit(plan=plan, stopping_data=_data(20, 2), checkpoints=checkpoints)
    _same(resumed.members.params, whole.members.params)
    _same(resumed.history, whole.history)


def test_early_stopping_restores_each_members_best_and_lowers_the_rate():
    seen = {}
    plan = Plan(200, 2, stopping=Stopping("loss", patience=2, phases=2))
    held = _data(25, 3)
    trainer = make_trainer(Network(SPEC), Optimization(batch_size=16))
    members = start_members(trainer, (0, 1))
    result = fit(
        trainer,
        members,
        stack_hypers([default_hyper(SPEC, 3e-2)], 2),
        _data(),
        held,
        plan,
        stopping_data=held,
        report=lambda epoch, scores: seen.update({epoch: scores["validation_loss"]}),
    )
    assert len(seen) < 100
    np.testing.assert_allclose(result.members.rate_scale, 1 / 3)
    final = jax.vmap(trainer.loss, in_axes=(0, None))(result.members, held)
    for member in range(2):
        np.testing.assert_allclose(final[member], seen[int(result.best_epoch[member])][member], rtol=1e-5)
        assert final[member] <= min(scores[member] for scores in seen.values()) + 1e-5


def test_a_diverging_member_is_named_and_leaves_the_others_alone():
    base = default_hyper(SPEC, 1e-2)
    wild = base._replace(learning_rate=np.float32(np.nan))
    result = _fit(seeds=(0,), hypers=[base, wild])
    assert result.diverged.tolist() == [False, True]
    assert (result.correlations[1] == 0).all()
    np.testing.assert_allclose(
        result.members.params["layer1"]["kernel"][0],
        _fit(seeds=(0,)).members.params["layer1"]["kernel"][0],
        rtol=2e-4,
        atol=1e-6,
    )


@pytest.mark.parametrize(("keep", "steps"), [(True, 3), (False, 2)])
def test_the_short_last_batch_is_a_step_or_is_dropped(keep, steps):
    trainer = make_trainer(Network(SPEC), Optimization(batch_size=16, keep_last_batch=keep))
    member, train = jax.jit(trainer.init)(jax.random.key(0)), jax.jit(trainer.epochs)
    member, _ = train(member, default_hyper(SPEC, 1e-3), _data(), np.arange(40)[None])
    assert int(member.step) == steps


def test_adam_is_the_textbooks_unless_epsilon_is_moved():
    gradients, params = np.array([1e-8, 1.0], np.float32), np.zeros(2, np.float32)
    for moved in (False, True):
        from v1models.update import _transformation

        transformation = _transformation(Optimization(epsilon_before_correction=moved))
        state = transformation.init(params)
        updates, _ = jax.jit(transformation.update)(gradients, state, params)
        floor = 1e-8 / np.sqrt(1e-3) if moved else 1e-8
        np.testing.assert_allclose(updates, gradients / (gradients + floor), rtol=1e-4)
    assert isinstance(transformation, optax.GradientTransformationExtraArgs)


def test_orders_are_permutations_fixed_by_key_and_epoch():
    keys = jnp.stack([jax.random.key(0), jax.random.key(1)])
    draw = jax.jit(random_orders, static_argnums=(1, 2, 3))
    orders = np.asarray(draw(keys, 3, 2, 10))
    assert (np.sort(orders, -1) == np.arange(10)).all()
    np.testing.assert_array_equal(orders[:, 1], np.asarray(draw(keys, 4, 1, 10))[:, 0])
    assert not (orders[0, 0] == orders[1, 0]).all()


def test_numpy_orders_are_one_stream_across_logged_epochs():
    plans = [Plan(4, every, orders=numpy_orders((7, 8))) for every in (4, 1)]
    whole, stretches = (_fit(seeds=(0, 1), plan=plan) for plan in plans)
    for a, b in zip(jax.tree.leaves(whole.members.params), jax.tree.leaves(stretches.members.params), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=1e-6)


def test_a_fit_in_which_all_diverge_stops_with_a_reason():
    with pytest.raises(RuntimeError, match="learning rate"):
        _fit(seeds=(0,), hypers=[default_hyper(SPEC, float("nan"))])


def test_lbfgs_reaches_the_ridge_solution():
    spec = NetworkSpec((6, 6, 1), (Dense(3, bias=False, penalties={"l2": 0.2}),))
    result = _fit(
        seeds=(0,),
        spec=spec,
        options=Optimization("gaussian", "lbfgs", None),
        plan=Plan(60, 60),
        hypers=[default_hyper(spec, 1.0)],
    )
    data = _data()
    x, y = np.asarray(data.images).reshape(40, 36), np.asarray(data.responses)
    # d/dW of Σ(y − xW)²/B + 0.1 ΣW² vanishes here.
    exact = np.linalg.solve(x.T @ x / 40 + 0.1 * np.eye(36), x.T @ y / 40)
    np.testing.assert_allclose(result.members.params["layer0"]["kernel"][0], exact, atol=2e-3)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda: Optimization(optimizer="lbfgs"), "batch_size"),
        (lambda: Optimization(schedule="cosine"), "schedule_steps"),
        (lambda: Optimization(batch_size=0), "at least 1"),
        (lambda: Plan(0), "at least 1"),
        (lambda: Stopping("r2"), "monitor"),
        (lambda: _fit(plan=Plan(2, 2, stopping=Stopping())), "rows of its own"),
        (lambda: _fit(plan=Plan(2, 2, orders=numpy_orders((1,)))), "numpy seeds"),
    ],
)
def test_plans_that_make_no_sense_are_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_members_side_by_side_are_each_computed_once_and_in_order():
    def function(member, shared):
        return {"sum": jnp.sum(member["x"] * shared), "key": member["x"]}

    x, shared = np.arange(35.0).reshape(7, 5), np.arange(5.0)
    for size in (None, 1, 3, 7, 20):
        found = side_by_side(function, (0, None), size)({"x": x}, shared)
        np.testing.assert_array_equal(found["sum"], x @ shared)
        np.testing.assert_array_equal(found["key"], x)
