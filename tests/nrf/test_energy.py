"""Laws of the energy: sums over units and images, gradients, bounds, and which convolutions a sampling loop holds."""

import dataclasses
import functools
import re

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf.architecture import Architecture, Input, Kind, Mixing, StateLayer
from nrf.energy import make_energy, restrict
from nrf.optimizers import contrastive_loss
from runtime.errors import ConfigError

# Every kind of connection: strides, an odd shrink, enlargements, growing and shrinking kernels, blocks, dense parts.
MIXED = Architecture.from_lists(
    "mixed",
    state_sizes=[(2, 6, 6), (4, 6, 6), (3, 3, 3), (2, 2, 2)],
    connect=[(0, 1, 2), (0, 1, 2), (1, 3, 0), (2, 1)],
    kind=[(1, 2, 1), (1, 0, 2), (1, 3, 2), (3, 1)],
    base_kernel_padding=[((3, 1), (5, 3), (3, 1)), ((7, 3), (3, 1), (3, 0)), ((3, 1), (), (5, 0)), ((), (3, 1))],
    main_kernel=[3, 3, 3, 1],
    num_layers=[0, 1, 0, 1],
    num_ch_base=4,
    growth_rate=2,
    num_ch_initter=4,
)
SPECTRAL_NORM = Architecture.from_lists(
    "normed",
    state_sizes=[(2, 4, 4), (3, 2, 2)],
    connect=[(0, 1), (0,)],
    kind=[(0, 2), (1,)],
    base_kernel_padding=[((3, 1), (3, 1)), ((3, 1),)],
    main_kernel=[3, 1],
    num_layers=[1, 0],
    num_ch_base=4,
    growth_rate=2,
    num_ch_initter=4,
    spec_norm_reg=True,
)
# XLA exchanges the factors of a convolution whose kernel is larger than its map, which `auto` leaves to the spectral
# form; here no kernel is.
GUARDED = Architecture.from_lists(
    "guarded",
    state_sizes=[(2, 8, 8), (4, 8, 8), (4, 4, 4)],
    connect=[(0, 1, 2), (0, 1, 2), (1, 2)],
    kind=[(1, 2, 1), (1, 0, 2), (1, 3)],
    base_kernel_padding=[((3, 1), (5, 2), (3, 1)), ((7, 3), (3, 1), (3, 1)), ((3, 1), ())],
    main_kernel=[3, 3, 3],
    num_layers=[0, 1, 0],
    num_ch_base=4,
    growth_rate=2,
    num_ch_initter=4,
)
# Double precision convolutions compile slowly.
SMALL = Architecture.from_lists(
    "small",
    state_sizes=[(1, 4, 4), (2, 4, 4), (2, 2, 2)],
    connect=[(0, 1), (0, 2), (1, 0)],
    kind=[(1, 2), (0, 2), (1, 3)],
    base_kernel_padding=[((3, 1), (3, 1)), ((3, 1), (3, 1)), ((3, 1), ())],
    main_kernel=[3, 3, 1],
    num_layers=[0, 1, 1],
    num_ch_base=2,
    growth_rate=2,
    num_ch_initter=4,
)
# A latent layer that reads the image and itself by convolution alone.
MIXES = (StateLayer(2, 4, 4, (Input(0, Kind.CONV, 3, 1), Input(1, Kind.CONV, 3, 1)), 0, 3),)
METHODS = ("direct", "spectral")


def numbers_for(model):
    """Random variables of the model's shapes; running `init` would need its own program."""
    numbers = np.random.default_rng(0)
    template = jax.eval_shape(model.init, jax.random.key(0))
    return jax.tree.map(lambda p: (0.3 * numbers.normal(size=p.shape)).astype(np.float32), template)


@functools.cache
def model_and_variables(method, ff_dynamics=False, architecture=MIXED, **options):
    model = make_energy(architecture, convolution=method, ff_dynamics=ff_dynamics, **options)
    return model, numbers_for(model)


def draw(batch=3, seed=2, scale=1.4, architecture=MIXED):
    numbers = np.random.default_rng(seed)
    return tuple(numbers.uniform(-scale, scale, shape).astype(np.float32) for shape in architecture.state_shapes(batch))


def in_double(tree):
    """The same numbers in double precision."""
    return jax.tree.map(lambda leaf: np.asarray(leaf, np.float64), tree)


@functools.cache
def evaluated(method):
    """Everything about one batch: (energy, gradient, unit energies, outputs)."""
    model, variables = model_and_variables(method)

    @jax.jit
    def evaluate(variables, states):
        weights = model.prepare(variables)
        return (
            *model.energy_and_gradient(weights, states),
            model.unit_energies(weights, states),
            model.outputs(weights, states),
            model.energy(weights, states),
        )

    return evaluate, jax.device_get(evaluate(variables, draw()))


@pytest.mark.parametrize("method", METHODS)
def test_energies_of_units_sum_to_the_energy_of_an_image(method):
    _, (energy, _, units, _, same) = evaluated(method)
    assert energy.shape == (3,)
    np.testing.assert_allclose(sum(e.sum((1, 2, 3)) for e in units), energy, rtol=1e-5)
    np.testing.assert_allclose(same, energy, rtol=1e-6)


@pytest.mark.parametrize("method", METHODS)
def test_energy_is_its_formula(method):
    _, variables = model_and_variables(method)
    _, (energy, _, _, outputs, _) = evaluated(method)
    states = draw()
    expected = 0.0
    for i, (s, f) in enumerate(zip(states, outputs, strict=True)):
        b = variables["params"][f"bias_{i}"]
        expected += 0.5 * np.sum(s * s, (1, 2, 3)) - np.sum(b * s, (1, 2, 3)) - 0.5 * np.sum(s * f, (1, 2, 3))
    np.testing.assert_allclose(energy, expected, rtol=1e-5)


@pytest.mark.parametrize("method", METHODS)
def test_images_do_not_influence_each_other(method):
    _, variables = model_and_variables(method)
    evaluate, (energy, gradient, *_) = evaluated(method)
    states = draw()
    others = tuple(np.concatenate([s[2:], np.full_like(s[1:], 0.3)]) for s in states)
    again, slopes, *_ = jax.device_get(evaluate(variables, others))
    np.testing.assert_allclose(again[0], energy[2], rtol=1e-6)
    for a, b in zip(slopes, gradient, strict=True):
        np.testing.assert_allclose(a[0], b[2], atol=1e-6)


def test_both_ways_of_convolving_agree():
    (_, direct), (_, spectral) = evaluated("direct"), evaluated("spectral")
    for a, b in zip(jax.tree.leaves(direct), jax.tree.leaves(spectral), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("state_activation", ["hardtanh", "hardsig", "relu"])
def test_gradient_against_finite_differences_in_double_precision(method, state_activation):
    model, variables = model_and_variables(method, architecture=SMALL, state_activation=state_activation)
    with jax.enable_x64(True):
        variables = in_double(variables)
        states = in_double(draw(2, architecture=SMALL))
        weights = jax.jit(model.prepare)(variables)
        energy, gradient = jax.jit(model.energy_and_gradient)(weights, states)
        assert energy.dtype == jnp.float64
        numbers, step, evaluate = np.random.default_rng(3), 1e-6, jax.jit(model.energy)
        directions = [numbers.normal(size=s.shape) for s in states]
        # Directions that touch one layer at a time, then all together.
        for chosen in [{0}, {1}, {2}, {0, 1, 2}]:
            moved = [d * (i in chosen) for i, d in enumerate(directions)]
            ends = [
                evaluate(weights, tuple(np.asarray(s) + sign * step * d for s, d in zip(states, moved, strict=True)))
                for sign in (1, -1)
            ]
            slope = sum(np.sum(np.asarray(g) * d, (1, 2, 3)) for g, d in zip(gradient, moved, strict=True))
            np.testing.assert_allclose(np.subtract(*ends) / (2 * step), slope, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("method", METHODS)
def test_parameter_gradient_against_finite_differences_in_double_precision(method):
    model, variables = model_and_variables(method, architecture=SMALL)
    with jax.enable_x64(True):
        params = in_double(variables["params"])
        phases = [draw(2, seed, architecture=SMALL) for seed in (4, 5)]
        states = [in_double(phase) for phase in phases]

        def value(params):
            return contrastive_loss(model, {"params": params}, *states, l2=0.1, scale=10.0)[0]

        loss, gradient = jax.jit(value), jax.jit(jax.grad(value))(params)
        numbers, step = np.random.default_rng(6), 1e-6
        direction = jax.tree.map(lambda p: numbers.normal(size=p.shape), params)
        ends = [
            loss(jax.tree.map(lambda p, d, s=sign: np.asarray(p) + s * step * d, params, direction))
            for sign in (1, -1)
        ]
        parts = jax.tree.map(lambda g, d: np.sum(np.asarray(g) * d), gradient, direction)
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), sum(jax.tree.leaves(parts)), rtol=1e-6)


@pytest.mark.parametrize("mixing", ["separate", "joint", "gated"])
def test_an_image_changes_curvature_only_where_inputs_mix(mixing):
    """The Hessian over a latent layer that the image reaches directly, at two images, in double precision."""
    architecture = dataclasses.replace(SMALL, mixing=Mixing(mixing), layers=(SMALL.layers[0], *MIXES, SMALL.layers[2]))
    model, variables = model_and_variables("direct", architecture=architecture, activation="tanh")
    with jax.enable_x64(True):
        variables = in_double(variables)
        states = tuple(0.5 * s for s in in_double(draw(1, architecture=architecture)))

        def energy(latent, image):
            full = (image, latent, states[2])
            # The image's own network also reads the latent; taking its part away leaves what latents feel.
            return model.energy(model.prepare(variables), full)[0] - jnp.sum(
                model.unit_energies(model.prepare(variables), full)[0]
            )

        hessian = jax.jit(jax.hessian(energy))
        first, second = (np.asarray(hessian(states[1], c * states[0])) for c in (1.0, 0.2))
    change = np.abs(first - second).max()
    assert (change < 1e-9) if mixing == "separate" else (change > 1e-3)


@pytest.mark.parametrize("mixing", ["joint", "gated"])
def test_gradients_of_mixing_networks_against_finite_differences(mixing):
    architecture = dataclasses.replace(SMALL, mixing=Mixing(mixing))
    model, variables = model_and_variables("spectral", architecture=architecture, activation="tanh", gain=2.0)
    with jax.enable_x64(True):
        variables = in_double(variables)
        states = in_double(draw(2, architecture=architecture))
        weights = jax.jit(model.prepare)(variables)
        _, gradient = jax.jit(model.energy_and_gradient)(weights, states)
        numbers, step, evaluate = np.random.default_rng(3), 1e-6, jax.jit(model.energy)
        directions = [numbers.normal(size=s.shape) for s in states]
        ends = [
            evaluate(weights, tuple(np.asarray(s) + sign * step * d for s, d in zip(states, directions, strict=True)))
            for sign in (1, -1)
        ]
        slope = sum(np.sum(np.asarray(g) * d, (1, 2, 3)) for g, d in zip(gradient, directions, strict=True))
        np.testing.assert_allclose(np.subtract(*ends) / (2 * step), slope, rtol=1e-6, atol=1e-7)


def test_gradient_of_some_layers_is_that_part_of_the_whole():
    model, variables = model_and_variables("direct")
    _, (energy, gradient, *_) = evaluated("direct")
    chosen = jax.jit(lambda v, s: model.energy_and_gradient(model.prepare(v), s, (1, 3)))
    part_energy, part = chosen(variables, draw())
    np.testing.assert_allclose(part_energy, energy, rtol=1e-6)
    for a, b in zip(part, (gradient[1], gradient[3]), strict=True):
        np.testing.assert_allclose(a, b, atol=1e-6)


def test_feed_forward_dynamics_follow_half_of_the_networks():
    model, variables = model_and_variables("direct", True)
    _, (energy, _, _, outputs, _) = evaluated("direct")
    found_energy, descent = jax.jit(lambda v, s: model.energy_and_gradient(model.prepare(v), s))(variables, draw())
    np.testing.assert_allclose(found_energy, energy, rtol=1e-5)
    for i, (s, f) in enumerate(zip(draw(), outputs, strict=True)):
        np.testing.assert_allclose(descent[i], s - 0.5 * f - variables["params"][f"bias_{i}"], atol=1e-6)


@pytest.mark.parametrize("bounds", [(-1.0, 1.0), (0.0, 1.0), (0.0, float("inf"))])
def test_restriction_is_flat_at_and_beyond_its_bounds(bounds):
    low, high = bounds
    states = np.array([low - 0.5, low, low + 0.25, min(high, 9.0), min(high, 9.0) + 0.5], np.float32)
    restricted = jax.jit(lambda s: restrict(s, bounds))(states)
    np.testing.assert_array_equal(restricted, np.clip(states, low, high))
    slopes = jax.jit(jax.vmap(jax.grad(lambda s: restrict(s, bounds))))(states)
    np.testing.assert_array_equal(slopes, [0, 0, 1, 0, 0] if high < 9 else [0, 0, 1, 1, 1])


@pytest.mark.parametrize(("state_activation", "flat"), [("hardtanh", True), ("hardsig", True), ("relu", False)])
def test_networks_see_bright_pixels_as_the_activation_says(state_activation, flat):
    """relu has no upper bound on any layer, although sampling keeps the image within [0, 1]."""
    model, variables = model_and_variables("direct", state_activation=state_activation)
    weights, states = jax.jit(model.prepare)(variables), draw()
    outputs_of = jax.jit(model.outputs)
    outputs = [outputs_of(weights, (np.full_like(states[0], v), *states[1:])) for v in (1.0, 2.0)]
    assert np.array_equal(outputs[0][1], outputs[1][1]) == flat
    assert model.bounds[0] == ((-1.0, 1.0) if state_activation == "hardtanh" else (0.0, 1.0))


def test_fresh_parameters_have_no_bias_and_the_same_energy_with_and_without_weight_norm():
    normed, plain = make_energy(SMALL), make_energy(SMALL, weight_norm=False)
    params = jax.jit(normed.init)(jax.random.key(0))["params"]
    assert all(not np.any(params[f"bias_{i}"]) for i in range(3))

    def keep(ours, theirs):
        return {k: keep(ours[k], v) if isinstance(v, dict) else ours[k] for k, v in theirs.items()}

    without = keep(params, jax.eval_shape(plain.init, jax.random.key(0))["params"])
    assert len(jax.tree.leaves(without)) < len(jax.tree.leaves(params))
    states = draw(architecture=SMALL)
    energies = [
        jax.jit(lambda v, m=m: m.energy(m.prepare(v), states))({"params": p})
        for m, p in ((normed, params), (plain, without))
    ]
    np.testing.assert_allclose(*energies, rtol=1e-5)


def test_spectral_norm_advances_only_when_asked():
    model = make_energy(SPECTRAL_NORM, weight_norm=False)
    variables = numbers_for(model)
    shapes = SPECTRAL_NORM.state_shapes(2)
    states = tuple(np.random.default_rng(1).uniform(size=s).astype(np.float32) for s in shapes)
    evaluate, advance = jax.jit(lambda v: model.energy(model.prepare(v), states)), jax.jit(model.power_iteration)
    first = evaluate(variables)
    np.testing.assert_array_equal(first, evaluate(variables))
    after = advance(variables)
    assert np.abs(np.asarray(evaluate(after)) - first).max() > 1e-4
    for _ in range(150):
        after = advance(after)
    np.testing.assert_allclose(evaluate(advance(after)), evaluate(after), rtol=1e-4)
    same = model_and_variables("direct")
    assert same[0].power_iteration(same[1]) is same[1]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"state_activation": "hardtan"}, "state_activation 'hardtan'.*hardtanh"),
        ({"activation": "swich"}, "activation 'swich'.*swish"),
        ({"convolution": "fourier"}, "convolution 'fourier'"),
    ],
)
def test_unknown_names_are_refused(options, words):
    with pytest.raises(ConfigError, match=words):
        make_energy(MIXED, **options)


def test_two_norms_at_once_are_refused():
    with pytest.raises(ConfigError, match="'normed'.*weight_norm to False"):
        make_energy(SPECTRAL_NORM)


def test_states_of_the_wrong_form_are_refused():
    model, _ = model_and_variables("direct")
    states = draw()
    with pytest.raises(ValueError, match="4 state layers, not 3"):
        model.energy({}, states[:3])
    with pytest.raises(ValueError, match=r"layer 1 .*batch, 6, 6, 4"):
        model.energy({}, (states[0], states[1].transpose(0, 3, 1, 2), *states[2:]))


# --- the speed guard -----------------------------------------------------------------------------------------------


def convolution_layouts(function, *arguments):
    """Layouts ('dim_labels') of all convolutions in the optimized program."""
    # Machine code is of no interest here; the program before it is what any other compilation gets.
    text = jax.jit(function).lower(*arguments).compile({"xla_backend_optimization_level": 0}).as_text()
    assert "while(" in text  # the loop was not unrolled away
    assert "conv" not in {m[1] for m in re.finditer(r'custom_call_target="[^"]*(conv)[^"]*"', text)}
    return set(re.findall(r"dim_labels=([\w>-]+)", text))


@pytest.mark.parametrize(("method", "ff_dynamics"), [("direct", False), ("spectral", False), ("direct", True)])
def test_a_sampling_loop_holds_only_canonical_convolutions(method, ff_dynamics):
    model, variables = model_and_variables(method, ff_dynamics, GUARDED)

    def sample(variables, states):
        weights = model.prepare(variables)

        def step(states, _):
            energy, gradient = model.energy_and_gradient(weights, states)
            return tuple(s - 0.1 * g for s, g in zip(states, gradient, strict=True)), energy

        return jax.lax.scan(step, states, None, 3)

    found = convolution_layouts(sample, variables, draw(architecture=GUARDED))
    assert found == ({"b01f_01io->b01f"} if method == "direct" else set())


@pytest.mark.parametrize("method", METHODS)
def test_a_training_loop_holds_only_canonical_convolutions(method):
    model, variables = model_and_variables(method, architecture=GUARDED)

    def train(params, positive, negative):
        def step(params, _):
            gradient = jax.grad(lambda p: contrastive_loss(model, {"params": p}, positive, negative, 0.1)[0])(params)
            return jax.tree.map(lambda p, g: p - 0.01 * g, params, gradient), None

        return jax.lax.scan(step, params, None, 3)[0]

    phases = (draw(architecture=GUARDED), draw(seed=7, architecture=GUARDED))
    found = convolution_layouts(train, variables["params"], *phases)
    assert found == ({"b01f_01io->b01f"} if method == "direct" else set())
