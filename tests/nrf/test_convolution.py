"""Every form of a convolution equals the plain one, in value and in both gradients."""


import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

from nrf import convolution as conv
from nrf.spectral import forward_transform, inverse_transform

# size, kernel, pads, resize target: same size, cropping, growing, strides 2 and 4, odd shrinks, enlargements.
SHAPES = [
    ((8, 8), 7, 3, None),
    ((6, 9), 3, 1, None),
    ((6, 6), 5, 3, (6, 6)),
    ((8, 8), 7, 0, None),
    ((4, 5), 3, 2, None),
    ((8, 8), 3, 1, (4, 4)),
    ((8, 12), 7, 3, (2, 3)),
    ((9, 9), 4, 1, (4, 4)),
    ((8, 8), 3, 1, (5, 5)),
    ((10, 7), 5, 2, (3, 5)),
    ((4, 4), 3, 1, (8, 8)),
    ((3, 3), 3, 1, (5, 7)),
    ((6, 4), 3, 0, (3, 5)),
    ((1, 1), 3, 1, (2, 2)),
    ((8, 8), 1, 0, None),
    ((8, 8), 1, 0, (4, 4)),
]


def plain(x, kernel, pads, target):
    """The definition: an ordinary convolution, then the pixels at floor(d * size / target)."""
    y = lax.conv_general_dilated(
        x, kernel, (1, 1), [(pads, pads)] * 2, dimension_numbers=("HWNC", "HWIO", "HWNC"), precision="highest"
    )
    for axis, size in enumerate(target or ()):
        y = jnp.take(y, np.arange(size) * y.shape[axis] // size, axis)
    return y


def arrays(size, kernel):
    numbers = np.random.default_rng(0)
    shapes = ((*size, 2, 3), (kernel, kernel, 3, 4), (4,))
    return tuple((numbers.normal(size=s) / np.sqrt(s[0])).astype(np.float32) for s in shapes)


@pytest.mark.parametrize(("size", "kernel", "pads", "target"), SHAPES)
def test_forms_equal_the_plain_one(size, kernel, pads, target):
    plans = {method: conv.plan(size, kernel, pads, (3, 4), target, method) for method in ("direct", "spectral")}
    for method, plan in plans.items():
        assert plan.method == ("pointwise" if kernel == 1 else method)
    x, w, b = arrays(size, kernel)
    shape = jax.eval_shape(lambda x, w: plain(x, w, pads, target), x, w).shape
    weight = np.random.default_rng(1).normal(size=shape).astype(np.float32)

    def run(method, x, w, b):
        if method == "plain":
            y = plain(x, w, pads, target) + b
        else:
            plan = plans[method]
            y = conv.expand(plan, conv.apply(plan, x, conv.prepare(plan, w), b))
        return jnp.sum(weight * jnp.sin(y)), y

    @jax.jit
    def run_all(x, w, b):
        return {m: jax.grad(run, (1, 2, 3), has_aux=True)(m, x, w, b) for m in ("plain", *plans)}

    found = run_all(x, w, b)
    gradients, y = found.pop("plain")
    for method, (ours, value) in found.items():
        np.testing.assert_allclose(value, y, atol=1e-5, err_msg=method)
        for a, g in zip(ours, gradients, strict=True):
            np.testing.assert_allclose(a, g, atol=1e-5 * np.abs(g).max(), err_msg=method)


@pytest.mark.parametrize(("height", "kept", "stride"), [(8, 4, 2), (12, 3, 4), (9, 4, 2), (8, 5, 1), (10, 4, 1)])
def test_regular_shrinks_become_strides(height, kept, stride):
    plan = conv.plan((height, height), 3, 1, (3, 4), (kept, kept), "direct")
    assert conv._stride(plan) == stride


def test_plans_that_share_a_transform_give_the_same_maps():
    x, w, _ = arrays((8, 8), 7)
    plans = [conv.plan((8, 8), 7, 3, (3, 4), None, "spectral"), conv.plan((8, 8), 3, 1, (3, 4), (4, 4), "spectral")]
    shared = conv.share_period(plans)
    assert shared[0].period == shared[1].period == (11, 11)
    kernels = (w, w[:3, :3])

    @jax.jit
    def run(x, kernels):
        spectrum = forward_transform(x, shared[1].period)
        return [conv.apply(p, spectrum, conv.prepare(p, k)) for p, k in zip(shared, kernels, strict=True)]

    @jax.jit
    def expected(x, kernels):
        return [plain(x, k, p.pads, p.target) for p, k in zip(shared, kernels, strict=True)]

    for ours, theirs in zip(run(x, kernels), expected(x, kernels), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)


def test_transforms_are_inverse_and_preserve_energy():
    x, _, _ = arrays((6, 7), 3)
    spectrum = jax.jit(lambda x: forward_transform(x, (6, 7)))(x)
    back = jax.jit(lambda z: inverse_transform(z, (6, 7), range(6), range(7)))(spectrum)
    np.testing.assert_allclose(back, x, atol=1e-5)
    # Parseval: frequencies that stand for their conjugate as well count twice.
    twice = np.where(np.isin(np.arange(4), (0, 3)), 1.0, 2.0).repeat(7)
    power = np.sum(twice[:, None, None, None] * np.square(spectrum.parts)) / (6 * 7)
    np.testing.assert_allclose(power, np.sum(np.square(x)), rtol=1e-5)


@pytest.mark.parametrize("case", [(5, 5), (3, 7), (8, 3), (28, 16), (16, 5), (22, 14)])
def test_resize_reads_the_pixels_that_torch_reads(case):
    source, target = case
    torch = pytest.importorskip("torch")
    pixels = torch.arange(source, dtype=torch.float32)[None, None]
    expected = torch.nn.functional.interpolate(pixels, size=target, mode="nearest")[0, 0].numpy()
    np.testing.assert_array_equal(conv.nearest_index(source, target), expected)


def test_resize_and_its_gradient_by_hand():
    x = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)
    weight = np.array([1, 10, 100], np.float32).reshape(3, 1, 1, 1)

    @jax.jit
    def run(x):
        gradient = jax.grad(lambda x: jnp.sum(weight * conv.resize(x, (3, 1))))(x)
        return conv.resize(x, (3, 1)), conv.resize(x, (10, 2)), gradient

    small, large, gradient = (np.asarray(a) for a in run(x))
    np.testing.assert_array_equal(small.ravel(), [0, 1, 3])
    np.testing.assert_array_equal(large[:, 1].ravel(), np.repeat(np.arange(5), 2))
    np.testing.assert_array_equal(gradient.ravel(), [1, 10, 0, 100, 0])


def test_choice_of_method():
    large = {"size": (32, 32), "kernel": 11, "pads": 5, "channels": (32, 32)}
    assert conv.plan(**large, backend="cpu").method == "spectral"
    assert conv.plan(**large, backend="gpu").method == "direct"
    assert conv.plan((32, 32), 3, 1, (3, 8), backend="cpu").method == "direct"
    with pytest.raises(ValueError, match="fourier.*auto, direct, spectral"):
        conv.plan(**large, method="fourier")


@pytest.mark.parametrize("method", ["direct", "spectral"])
def test_double_precision_passes_through(method):
    with jax.enable_x64(True):
        x, w, b = (np.asarray(a, np.float64) for a in arrays((8, 8), 3))
        plan = conv.plan((8, 8), 3, 1, (3, 4), (5, 5), method)
        assert jax.jit(lambda x, w, b: conv.apply(plan, x, conv.prepare(plan, w), b))(x, w, b).dtype == jnp.float64
