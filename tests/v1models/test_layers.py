"""Layers and networks: formulas, constraints, and errors at construction."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.ndimage import gaussian_filter, map_coordinates

from v1models.constraints import clamp_non_negative, clip_with_open_border, normalize
from v1models.gaussians import GaussianBounds, difference_of_gaussians
from v1models.layers import (
    AddStreams,
    ChannelFilter,
    Convolution,
    ConvolutionalDifferenceOfGaussians,
    Dense,
    DifferenceOfGaussians,
    DivisiveNormalization,
    Factorized,
    FactorizedConvolution,
    LinearScale,
    MultiplyStreams,
    PointReadout,
)
from v1models.layers.activations import softplus
from v1models.layers.gaussian_readout import GaussianReadout, interpolate
from v1models.layers.rotated_convolution import RotatedConvolution
from v1models.network import Network, as_images, default_dropout, default_strengths, initialize
from v1models.specification import NetworkSpec
from v1models.update import Data, Optimization, default_hyper, make_trainer

KEY = jax.random.key(0)


def _apply(spec, images, **options):
    network = Network(spec)
    variables = initialize(network, KEY)
    return network, variables, run(network, variables, images, **options)


def run(network, variables, *arguments, **options):
    """network.apply as one program."""
    return jax.jit(functools.partial(network.apply, **options))(variables, *arguments)


def test_separable_gaussians_equal_the_two_dimensional_formula():
    random = np.random.default_rng(0)
    parameters = np.stack(
        [
            [random.uniform(1, 5, 4), random.uniform(1, 9, 4), random.uniform(3, 8, 4), random.uniform(3, 6, 4)]
            for _ in range(2)
        ]
    )
    bounds = GaussianBounds((0, np.inf), (1, 25), (2, 9), (2, 7))
    for concentric, summed in ((True, True), (False, False), (True, False)):
        options = (9, 11, bounds, concentric, summed)
        ours = np.asarray(jax.jit(lambda numbers, o=options: difference_of_gaussians(numbers, *o))(parameters))
        y, x = np.mgrid[:9, :11]
        for f in range(4):
            (a1, s1, x1, y1), (a2, s2, x2, y2) = parameters[0, :, f], parameters[1, :, f]
            s2 = s1 + s2 if summed else s2
            x2, y2 = (x1, y1) if concentric else (x2, y2)
            expected = a1 * np.exp(-((x - x1) ** 2 + (y - y1) ** 2) / 2 / s1) / (2 * np.pi * s1) - a2 * np.exp(
                -((x - x2) ** 2 + (y - y2) ** 2) / 2 / s2
            ) / (2 * np.pi * s2)
            np.testing.assert_allclose(ours[f], expected, rtol=2e-5, atol=1e-6)


def test_gradients_at_kinks_are_the_chosen_ones():
    zero = jnp.zeros(())
    assert jax.grad(clamp_non_negative)(zero) == 1
    assert jax.grad(lambda w: clamp_non_negative(w, 0.0))(zero) == 0
    clip = jax.jit(jax.grad(lambda v: clip_with_open_border(v, 1.0, 2.0)))
    assert [float(clip(jnp.float32(v))) for v in (0.5, 1.0, 1.5, 2.0, 2.5)] == [0, 1, 1, 1, 0]
    assert float(clip_with_open_border(jnp.float32(1.5), 2.0, 1.0)) == 2


def test_softplus_is_accurate_to_rounding_and_its_derivative_is_the_sigmoid():
    x = np.concatenate([np.linspace(-60, 60, 4001), np.linspace(-1, 1, 401)]).astype(np.float32)
    expected = np.logaddexp(0, x.astype(np.float64))
    assert np.max(np.abs(np.asarray(jax.jit(softplus)(x), np.float64) / expected - 1)) < 4e-7
    np.testing.assert_allclose(jax.jit(jax.vmap(jax.grad(softplus)))(x), jax.nn.sigmoid(x), rtol=1e-6)


@pytest.mark.parametrize("how", ["unit", "cap", "frobenius"])
def test_normalizations(how):
    weights = (np.random.default_rng(1).standard_normal((5, 3)) * [0.1, 1, 5]).astype(np.float32)
    used, norms = jax.jit(normalize, static_argnums=1)(weights, how)[0], np.linalg.norm(weights, axis=0)
    if how == "frobenius":
        np.testing.assert_allclose(np.linalg.norm(used), 3, rtol=1e-6)
    else:
        np.testing.assert_allclose(
            np.linalg.norm(used, axis=0), 1 if how == "unit" else np.minimum(norms, 1), rtol=1e-6
        )


@pytest.mark.parametrize(
    ("padding", "stride", "expected"), [("SAME", 1, 11), ("SAME", 4, 3), ("VALID", 1, 5), ("VALID", 3, 2)]
)
def test_convolution_shapes(padding, stride, expected):
    spec = NetworkSpec((11, 11, 1), (Convolution(2, width=7, stride=stride, padding=padding),))
    network, variables, _ = _apply(spec, np.ones((1, 11, 11, 1)))
    assert run(network, variables, np.ones((1, 11, 11, 1)), method="activities")[0].shape == (
        1,
        expected,
        expected,
        2,
    )
    assert spec.shapes[1] == (expected, expected, 2)
    # The command line gives floats.
    assert Convolution(2, width=7.0, stride=stride, padding=padding) == spec.layers[0]


def test_a_kernel_may_be_wider_than_its_input():
    images = np.random.default_rng(2).standard_normal((2, 3, 3, 2)).astype(np.float32)
    for cropped, side in ((True, 3), (False, 8)):
        spec = NetworkSpec((3, 3, 2), (Convolution(4, width=8, stride=4, cropped=cropped),))
        _, variables, y = _apply(spec, images)
        kernel = variables["params"]["layer0"]["kernel"].reshape(side, side, 2, 4)
        assert spec.shapes[1] == (1, 1, 4)
        layout = ("NHWC", "HWIO", "NHWC")
        expected = jax.lax.conv_general_dilated(images, np.asarray(kernel), (4, 4), "SAME", dimension_numbers=layout)
        np.testing.assert_allclose(y.reshape(expected.shape), expected, atol=1e-5)


def test_readouts_against_their_formulas():
    images = np.random.default_rng(2).standard_normal((3, 4, 5, 2)).astype(np.float32)
    x = np.asarray(images)

    _, variables, output = _apply(NetworkSpec((4, 5, 2), (Factorized(6, normalization="features"),)), images)
    params = variables["params"]["layer0"]
    features = params["features"] / np.linalg.norm(params["features"], axis=0)
    expected = np.einsum("bpc,cn,pn->bn", x.reshape(3, 20, 2), features, params["mask"])
    np.testing.assert_allclose(output, expected, rtol=1e-4, atol=1e-5)

    places = ((0, 1), (3, 4), (2, 2))
    _, variables, output = _apply(NetworkSpec((4, 5, 2), (PointReadout(3, positions=places),)), images)
    kernel = variables["params"]["layer0"]["kernel"]
    expected = np.stack([x[:, row, column] @ kernel[:, n] for n, (row, column) in enumerate(places)], 1)
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)

    _, variables, output = _apply(NetworkSpec((4, 5, 2), (ChannelFilter(),)), images)
    expected = np.einsum("bpc,cp->bp", x.reshape(3, 20, 2), variables["params"]["layer0"]["kernel"])
    np.testing.assert_allclose(output, expected, rtol=1e-5, atol=1e-6)

    _, variables, output = _apply(NetworkSpec((4, 5, 2), (FactorizedConvolution(2, width=3),)), images)
    params = variables["params"]["layer0"]
    kernel = np.asarray(params["mask"]).reshape(3, 3, 1, 2) * np.asarray(params["features"])
    plain = Network(NetworkSpec((4, 5, 2), (Convolution(2, width=3),)))
    same = run(plain, {"params": {"layer0": {"kernel": kernel.reshape(18, 2), "bias": params["bias"]}}}, images)
    np.testing.assert_allclose(output, same, rtol=1e-4, atol=1e-5)


def test_turning_an_image_turns_the_maps_of_rotated_kernels_and_moves_their_orientations_on():
    spec = NetworkSpec((12, 12, 1), (
        RotatedConvolution(3, width=5, padding="VALID", pool=2, oriented=False, activation="softplus"),
        RotatedConvolution(2, width=3, batch_norm=True, bias=False),
    ))  # fmt: skip
    assert spec.shapes == ((12, 12, 1), (4, 4, 12), (4, 4, 8))
    images = jnp.asarray(np.random.default_rng(6).standard_normal((5, 12, 12, 1)), jnp.float32)
    network, variables, _ = _apply(spec, images)
    assert variables["params"]["layer1"]["kernel"].shape == (9 * 12, 2)

    def maps(shown):
        kept = {"rngs": {"dropout": KEY}, "mutable": ["batch_stats"], "method": "activities"}
        return network.apply(variables, shown, train=True, **kept)[0][-1]

    expected = jnp.rot90(maps(images), axes=(1, 2)).reshape(5, 4, 4, 4, 2)
    turned = maps(jnp.rot90(images, axes=(1, 2))).reshape(5, 4, 4, 4, 2)
    np.testing.assert_allclose(turned, jnp.roll(expected, 1, axis=3), rtol=1e-4, atol=1e-5)
    assert np.abs(turned - expected).max() > 0.1


def test_a_gaussian_readout_reads_between_the_places_of_the_grid():
    images = np.random.default_rng(4).standard_normal((3, 5, 7, 2)).astype(np.float32)
    spec = NetworkSpec((5, 7, 2), (GaussianReadout(6, initial_range=0.9),))
    network, variables, output = _apply(spec, images)
    params = variables["params"]["layer0"]
    rows, columns = ((np.asarray(params["place"]) + 1) / 2) * np.array([[4], [6]])
    for image, found in zip(np.asarray(images), output, strict=True):
        channels = [map_coordinates(image[..., c], [rows, columns], order=1) for c in range(2)]
        np.testing.assert_allclose(found, np.einsum("cn,cn->n", channels, params["kernel"]), rtol=1e-4, atol=1e-5)
    # The middle and both ends of the grid.
    places = np.array([[-1.0, 0.0, 1.0], [-1.0, 0.0, 1.0]], np.float32)[None]
    np.testing.assert_allclose(jax.jit(interpolate)(images, places), images[:, [0, 2, 4], [0, 3, 6]], rtol=1e-5)
    # Draws differ between images and outputs and scatter by the spread.
    variables["params"]["layer0"]["spread"] = 0.1 * np.eye(2)[..., None].repeat(6, 2)
    ramp = np.broadcast_to(np.linspace(-1, 1, 5)[:, None, None], (4000, 5, 7, 1)) * np.ones((1, 1, 1, 2))
    drawn = run(network, variables, ramp, train=True, rngs={"dropout": KEY}) / np.asarray(params["kernel"]).sum(0)
    inner = np.abs(params["place"][0]) < 0.5
    np.testing.assert_allclose(np.std(drawn, 0)[inner], 0.1, rtol=0.1)
    np.testing.assert_allclose(np.mean(drawn, 0)[inner], params["place"][0][inner], atol=0.01)


def test_a_gaussian_readout_finds_its_place():
    """Weights and place are fitted to responses that were made at a place it did not start from."""
    images = np.random.default_rng(0).normal(size=(400, 6, 6, 1)).astype(np.float32)
    smooth = gaussian_filter(images, (0, 1.5, 1.5, 0))
    responses = 3 * np.asarray(jax.jit(interpolate)(smooth, np.array([[[0.5], [-0.6]]], np.float32)))[..., 0]
    readout = GaussianReadout(1, initial_range=0.0, initial_spread=0.2, weight_initializer="ones")
    spec = NetworkSpec((6, 6, 1), (readout,))
    trainer = make_trainer(Network(spec), Optimization(noise="gaussian", batch_size=50))
    orders = np.stack([np.random.default_rng(epoch).permutation(400) for epoch in range(60)])
    start, train = jax.jit(trainer.init), jax.jit(trainer.epochs)
    member, _ = train(start(KEY), default_hyper(spec, 1e-2), Data(smooth, responses), orders)
    np.testing.assert_allclose(member.params["layer0"]["place"][:, 0], [0.5, -0.6], atol=0.1)


def test_divisive_normalization_is_its_formula_and_saturates():
    images = np.random.default_rng(5).standard_normal((3, 4, 5, 2)).astype(np.float32)
    spec = NetworkSpec((4, 5, 2), (DivisiveNormalization(initial_weight=0.5, initial_constant=2.0),))
    network, variables, _ = _apply(spec, images)
    output = run(network, variables, images, method="activities")[0]
    squares = np.square(np.maximum(images, 0))
    np.testing.assert_allclose(output, squares / (4 + 0.5 * squares.sum(-1, keepdims=True)), rtol=1e-4, atol=1e-6)
    strong = run(network, variables, 1e4 * np.ones((1, 4, 5, 2)), method="activities")[0]
    np.testing.assert_allclose(strong, 1.0, rtol=1e-4)
    gradient = jax.jit(jax.grad(lambda x: network.apply(variables, x).sum()))(np.zeros((1, 4, 5, 2), np.float32))
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize(("positivity", "change"), [("clamp", lambda w: np.maximum(w, 0)), ("absolute", np.abs)])
def test_factors_are_made_non_negative_as_asked(positivity, change):
    spec = NetworkSpec((4, 5, 2), (Factorized(6, positive="both", positivity=positivity),))
    network, variables, _ = _apply(spec, np.ones((1, 4, 5, 2)))
    weights, params = run(network, variables, method="weights")[0], variables["params"]["layer0"]
    np.testing.assert_allclose(weights["features"], change(np.asarray(params["features"])))
    np.testing.assert_allclose(weights["mask"].reshape(20, 6), change(np.asarray(params["mask"])))


def test_streams_add_and_gate():
    images = np.random.default_rng(3).standard_normal((3, 1, 1, 6)).astype(np.float32)
    flat = np.asarray(images).reshape(3, 6)
    _, variables, output = _apply(NetworkSpec((1, 1, 6), (AddStreams(2),)), images)
    np.testing.assert_allclose(
        output, (flat.reshape(3, 3, 2) * variables["params"]["layer0"]["kernel"]).sum(1), rtol=1e-5, atol=1e-6
    )
    _, _, output = _apply(NetworkSpec((1, 1, 6), (MultiplyStreams(3),)), images)
    np.testing.assert_allclose(output, flat[:, :3] * np.maximum(1 + flat[:, 3:], 0), rtol=1e-5, atol=1e-6)


def test_inhibitory_outputs_are_the_last_and_negative():
    spec = NetworkSpec((1, 1, 4), (Dense(5, activation="softplus", inhibitory=2), Dense(1, positive=True)))
    network, variables, _ = _apply(spec, np.ones((2, 1, 1, 4)))
    first = run(network, variables, np.ones((2, 1, 1, 4)), method="activities")[0]
    assert (first[..., :3] > 0).all()
    assert (first[..., 3:] < 0).all()
    assert (run(network, variables, method="weights")[1]["kernel"] >= 0).all()


@pytest.mark.parametrize(("mask", "distinct"), [("unit", False), ("entry", True)])
def test_dropout_keeps_the_mean_and_shares_masks_as_asked(mask, distinct):
    spec = NetworkSpec(
        (1, 1, 1), (LinearScale(), Dense(400, weight_initializer="ones", dropout=0.3, dropout_mask=mask))
    )
    network = Network(spec)
    variables, images = initialize(network, KEY), np.ones((50, 1, 1, 1))
    output = np.asarray(
        run(network, variables, images, train=True, dropout=default_dropout(spec), rngs={"dropout": KEY})
    )
    np.testing.assert_allclose(np.unique(output), [0, 1 / 0.7], rtol=1e-6)
    assert abs(output.mean() - 1) < 0.12
    assert (np.ptp(output, axis=0).max() > 0) == distinct
    assert (np.asarray(run(network, variables, images)) == 1).all()


def test_batch_norm_uses_the_batch_in_training_and_running_statistics_after():
    spec = NetworkSpec((1, 1, 3), (Dense(4, bias=False, batch_norm=True),))
    network, images = Network(spec), np.random.default_rng(0).normal(1, 3, (64, 1, 1, 3)).astype(np.float32)
    variables = initialize(network, KEY)
    output, changed = run(network, variables, images, train=True, mutable=["batch_stats"])
    np.testing.assert_allclose(np.mean(output, 0), 0, atol=1e-5)
    np.testing.assert_allclose(np.std(output, 0), 1, atol=1e-2)
    mean = changed["batch_stats"]["layer0"]["norm"]["mean"]
    drive = images.reshape(64, 3) @ np.asarray(variables["params"]["layer0"]["kernel"])
    np.testing.assert_allclose(mean, 0.1 * drive.mean(0), rtol=1e-4, atol=1e-6)


def test_initial_output_predicts_mean_rates():
    spec = NetworkSpec((3, 3, 1), (Dense(2, activation="softplus", weight_initializer="zeros"),))
    variables = initialize(Network(spec), KEY, mean_rates=jnp.array([0.5, 3.0]))
    np.testing.assert_allclose(run(Network(spec), variables, np.ones((1, 3, 3, 1)))[0], [0.5, 3.0], rtol=1e-5)


def test_specification_survives_json_and_counts_parameters():
    spec = NetworkSpec(
        (31, 31, 1),
        (
            DifferenceOfGaussians(9, bias_initializer="normal"),
            Dense(20, activation="softplus"),
            Dense(103, activation="softplus", penalties={"l2": 0.1}),
        ),
    )
    again = NetworkSpec.from_dict(json.loads(json.dumps(spec.to_dict())))
    assert again == spec
    # 8 numbers a Gaussian unit (two of them unused when concentric) and one bias, then two dense layers.
    variables = jax.eval_shape(lambda key: initialize(Network(spec), key), KEY)
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == 9 * 9 + 10 * 20 + 21 * 103
    other = NetworkSpec(
        (8, 8, 1),
        (
            ConvolutionalDifferenceOfGaussians(4, width=5, stride=2),
            PointReadout(1, positions=((1, 2),)),
        ),
    )
    assert NetworkSpec.from_dict(json.loads(json.dumps(other.to_dict()))) == other


def _dense(**options):
    return lambda: NetworkSpec((5, 5, 1), (Dense(3, **options),))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (_dense(penalties={"smooth": 1}), "does not apply"),
        (_dense(penalties={"d2t": 1}), "only one"),
        (_dense(penalties={"l2": -1}), "≥ 0"),
        (_dense(activation="swish"), "activation"),
        (_dense(dropout=1.0), "DROP"),
        (_dense(batch_norm=True), "bias=False"),
        (_dense(inhibitory=4), "inhibitory"),
        (_dense(normalization="mask"), "normalization"),
        (lambda: NetworkSpec((5, 5, 1), (DifferenceOfGaussians(2, penalties={"l2": 1}),)), "takes no penalty"),
        (lambda: NetworkSpec((5, 5, 1), (Dense(3, inhibitory=1), Dense(2))), "non-negative"),
        (lambda: NetworkSpec((5, 5, 1), (Dense(3), Dense(2, penalties={"d2x": 1}))), "without spatial extent"),
        (lambda: NetworkSpec((5, 5, 1), (Factorized(3, penalties={"max": 1}),)), "does not apply"),
        (lambda: NetworkSpec((5, 5, 1), (Convolution(3, width=3, pool=0),)), "at least 1"),
        (lambda: NetworkSpec((5, 5, 1), (RotatedConvolution(3, width=3),)), "set oriented=False"),
        (lambda: NetworkSpec((5, 5, 4), (RotatedConvolution(3, width=(3, 5)),)), "only square ones"),
        (lambda: NetworkSpec((5, 5, 1), (PointReadout(1, positions=((5, 0),)),)), "outside"),
        (lambda: Factorized(2, positivity="absolute"), "no factor"),
        (lambda: Convolution(2, width=2.5), "whole pixels"),
        (lambda: ConvolutionalDifferenceOfGaussians(2, width=2.5), "whole numbers"),
        (lambda: NetworkSpec((1, 1, 5), (AddStreams(2),)), "streams"),
        (lambda: NetworkSpec((5, 5), (Dense(2),)), "input_shape"),
        (
            lambda: NetworkSpec.from_dict({"input_shape": (5, 5, 1), "layers": [{"kind": "Dense", "width": 3}]}),
            "unknown option",
        ),
        (lambda: NetworkSpec.from_dict({"input_shape": (5, 5, 1), "layers": [{"kind": "Dens"}]}), "choose one of"),
        (lambda: NetworkSpec.from_dict({"input_shape": (5, 5, 1), "layers": [{"kind": "Dense"}]}), "missing"),
        (lambda: as_images(np.zeros((2, 24)), (5, 5, 1)), "do not fit"),
    ],
)
def test_what_does_not_fit_is_refused_with_a_reason(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_penalty_strengths_are_arguments():
    spec = NetworkSpec((3, 3, 1), (Dense(2, penalties={"l2": 0.5, "d2x": 0.0}),))
    network, variables, _ = _apply(spec, np.ones((1, 3, 3, 1)))
    strengths = default_strengths(spec)
    kernel = np.asarray(variables["params"]["layer0"]["kernel"])
    np.testing.assert_allclose(
        run(network, variables, strengths, method="penalty"), 0.25 * (kernel**2).sum(), rtol=1e-5
    )
    doubled = jax.tree.map(lambda value: 2 * value, strengths)
    np.testing.assert_allclose(run(network, variables, doubled, method="penalty"), 0.5 * (kernel**2).sum(), rtol=1e-5)
