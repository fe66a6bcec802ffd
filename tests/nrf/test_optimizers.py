"""The contrastive loss, the clips and the optimizers of the weights, against their recursions written out."""

import functools
from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf.architecture import Architecture
from nrf.energy import make_energy
from nrf.optimizers import clip_by_second_moment, contrastive_loss, epoch_decay, make_weight_optimizer
from runtime.errors import ConfigError

ARCHITECTURE = Architecture.from_lists(
    "dense",
    state_sizes=[(1, 2, 2), (2, 1, 1)],
    connect=[(1,), (0,)],
    kind=[(3,), (3,)],
    base_kernel_padding=[((),), ((),)],
    main_kernel=[0, 0],
    num_layers=[0, 0],
    num_ch_base=2,
    growth_rate=2,
    num_ch_initter=2,
)
MODEL = make_energy(ARCHITECTURE)


loss = functools.partial(contrastive_loss, MODEL)


@pytest.fixture(scope="module")
def variables():
    leaves, structure = jax.tree.flatten(jax.eval_shape(MODEL.init, jax.random.key(0)))
    numbers = np.random.default_rng(0)
    return jax.tree.unflatten(structure, [(0.3 * numbers.normal(size=p.shape)).astype("f4") for p in leaves])


def states(seed, batch=3):
    numbers = np.random.default_rng(seed)
    return tuple(numbers.uniform(size=s).astype(np.float32) for s in ARCHITECTURE.state_shapes(batch))


@jax.jit
def energies(variables, positive, negative):
    weights = MODEL.prepare(variables)
    return MODEL.energy(weights, positive).sum(), MODEL.energy(weights, negative).sum()


def test_loss_is_its_formula(variables):
    positive, negative = states(1), states(2, batch=5)
    up, down = (e / 7.0 for e in energies(variables, positive, negative))
    value, found = jax.jit(loss)(variables, positive, negative, 0.3, 7.0)
    np.testing.assert_allclose(found, (up, down), rtol=1e-6)
    np.testing.assert_allclose(value, up - down + 0.3 * (up**2 + down**2), rtol=1e-5)


def test_gradient_vanishes_when_model_and_data_agree(variables):
    same = states(1)

    gradient = jax.jit(jax.grad(lambda v, l2: loss(v, same, same, l2)[0]))
    largest = [max(float(np.abs(g).max()) for g in jax.tree.leaves(gradient(variables, l2))) for l2 in (0.0, 1.0)]
    assert largest[0] < 1e-5
    assert largest[1] > 1e-2


def test_states_of_the_phases_are_constants(variables):
    slopes = jax.jit(jax.grad(lambda s: loss(variables, s, states(2), 0.1)[0]))(states(1))
    assert all(not np.any(s) for s in slopes)


def gradients(steps, seed=0):
    """Gradients whose scale suddenly grows at the third step, so that the clip bites."""
    scales = np.where(np.arange(steps) < 2, 0.1, 20.0)
    return np.random.default_rng(seed).normal(size=(steps, 50)).astype(np.float32) * scales[:, None].astype(np.float32)


def test_elementwise_clip_follows_its_recursion():
    clip = clip_by_second_moment(beta=0.9)
    state, v, update = clip.init(np.zeros(50, np.float32)), np.zeros(50), jax.jit(clip.update)
    bitten = []
    for k, g in enumerate(gradients(5)):
        clipped, state = update(g, state)
        bound = np.inf if k == 0 else 3 * np.sqrt(v / (1 - 0.9**k)) + 0.1
        expected = np.clip(g, -bound, bound)
        bitten.append(int((expected != g).sum()))
        np.testing.assert_allclose(clipped, expected, rtol=1e-5)
        v = 0.9 * v + 0.1 * expected**2
    assert bitten[0] == 0
    assert bitten[2] > 10


def test_clip_sees_the_second_moment_of_the_adam_behind_it():
    optimizer = make_weight_optimizer("adam", 1e-3)
    params = np.zeros(50, np.float32)
    state, update = optimizer.init(params), jax.jit(optimizer.update)
    for g in gradients(4):
        _, state = update(g, state, params)
    (adam,) = [s for s in jax.tree.leaves(state, is_leaf=lambda s: hasattr(s, "nu")) if hasattr(s, "nu")]
    np.testing.assert_allclose(state[0].moment, adam.nu, rtol=1e-5)
    assert int(state[0].count) == int(adam.count) == 4


def test_first_update_of_adam_is_the_sign_of_the_gradient():
    optimizer = make_weight_optimizer("adam", 1e-3)
    g = np.array([3.0, -1e-3, 0.0, 500.0], np.float32)
    change, _ = jax.jit(lambda g: optimizer.update(g, optimizer.init(g), g))(g)
    np.testing.assert_allclose(change, -1e-3 * np.sign(g), rtol=1e-4)


def test_descent_clips_each_array_to_the_root_of_its_size():
    optimizer = make_weight_optimizer("sgd", 0.5)
    params = {"long": np.zeros(16, np.float32), "short": np.zeros(4, np.float32)}
    g = {"long": np.full(16, 10.0, np.float32), "short": np.full(4, 0.5, np.float32)}
    state, update = jax.jit(optimizer.init)(params), jax.jit(optimizer.update)
    expected = {"long": 1.0, "short": 0.5}  # 16 tens have a norm of 40, the root of the size is 4
    for factor in (1.0, 1.4):  # momentum 0.4
        change, state = update(g, state, params)
        for name, value in expected.items():
            np.testing.assert_allclose(change[name], -0.5 * factor * value, rtol=1e-5)


@pytest.mark.parametrize("name", ["adam", "sgd"])
def test_own_clip_can_be_left_out(name):
    with_clip, without = make_weight_optimizer(name, 1.0), make_weight_optimizer(name, 1.0, own_clip=False)
    params = jnp.zeros(50)
    states_of = [o.init(params) for o in (with_clip, without)]
    for g in gradients(3):
        changes = []
        for i, optimizer in enumerate((with_clip, without)):
            change, states_of[i] = optimizer.update(jnp.asarray(g), states_of[i], params)
            changes.append(change)
    assert float(jnp.abs(changes[0] - changes[1]).max()) > 0.01


def test_global_norm_comes_first():
    optimizer = make_weight_optimizer("sgd", 1.0, own_clip=False, global_norm=2.0)
    g = {"a": jnp.full(2, 6.0), "b": jnp.full(2, 8.0)}
    change, _ = optimizer.update(g, optimizer.init(g), g)
    np.testing.assert_allclose(jnp.sqrt(jnp.sum(change["a"] ** 2) + jnp.sum(change["b"] ** 2)), 2.0, rtol=1e-6)
    np.testing.assert_allclose(change["a"] / change["b"], 0.75, rtol=1e-6)


def test_rate_falls_once_an_epoch():
    rate = epoch_decay(0.1, 0.5, 10)
    np.testing.assert_allclose([rate(k) for k in (0, 9, 10, 19, 20)], [0.1, 0.1, 0.05, 0.05, 0.025], rtol=1e-6)
    optimizer = make_weight_optimizer("sgd", epoch_decay(1.0, 0.5, 1), own_clip=False)
    g = jnp.ones(1)
    state, changes = optimizer.init(g), []
    for _ in range(2):
        change, state = optimizer.update(g, state, g)
        changes.append(float(change[0]))
    np.testing.assert_allclose(changes, [-1.0, -0.5 * 1.4], rtol=1e-6)


def test_bad_options_are_refused():
    with pytest.raises(ConfigError, match="'adamw'.*adam"):
        make_weight_optimizer("adamw", 1e-3)
    with pytest.raises(ConfigError, match="global norm.*-1"):
        make_weight_optimizer("adam", 1e-3, global_norm=-1)


def test_latents_may_learn_more_slowly():
    params = {name: {"kernel": jnp.ones(3)} for name in ("net_0", "net_1", "bias_1")}
    optimizer = make_weight_optimizer("sgd", 1.0, own_clip=False, latent_rate=0.1)
    change, _ = optimizer.update(params, optimizer.init(params), params)
    assert [float(change[name]["kernel"][0]) for name in params] == pytest.approx([-1.0, -0.1, -0.1])


def test_more_chains_than_images_count_alike():
    model = SimpleNamespace(prepare=lambda v: v, energy=lambda w, states: w * states[0][:, 0])
    positive, negative = (jnp.array([[1.0], [3.0]]),), (jnp.array([[1.0], [1.0], [2.0], [4.0]]),)
    _, energies = contrastive_loss(model, 2.0, positive, negative, l2=0.0, scale=2.0, negative_weight=0.5)
    assert [float(e) for e in energies] == pytest.approx([4.0, 4.0])
