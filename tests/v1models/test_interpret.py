"""Looking inside models whose receptive fields are known."""

import jax
import jax.numpy as jnp
import numpy as np

from v1models import interpret

FILTERS = np.random.default_rng(0).standard_normal((2, 5, 5, 1))
FILTERS -= FILTERS.mean((1, 2, 3), keepdims=True)


def _linear(images):
    return jnp.einsum("nhwc,khwc->nk", images, jnp.asarray(FILTERS, jnp.float32)) + 3


def _alike(a, b):
    return np.sum(a * b) / np.sqrt(np.sum(a * a) * np.sum(b * b))


def test_spike_triggered_average_of_a_linear_neuron_is_its_filter():
    images = np.random.default_rng(1).standard_normal((40_000, 5, 5, 1))
    responses = np.maximum(np.einsum("nhwc,khwc->nk", images, FILTERS), 0)
    average = interpret.spike_triggered_average(images, responses)
    assert _alike(average[0], FILTERS[0]) > 0.99
    silent = interpret.spike_triggered_average(images[:10], np.zeros((10, 1)))
    assert (silent == 0).all()


def test_gradient_receptive_field_of_a_linear_model_is_its_filter():
    images = np.random.default_rng(2).standard_normal((3, 5, 5, 1)).astype(np.float32)
    np.testing.assert_allclose(interpret.gradient_receptive_fields(_linear, images), FILTERS, rtol=1e-5, atol=1e-6)


def test_sensitivity_says_where_a_model_looks_that_does_not_care_for_sign():
    images = np.random.default_rng(3).standard_normal((2, 5, 5, 1)).astype(np.float32)
    images = np.concatenate([images, -images])

    def squared(x):
        return jnp.square(_linear(x) - 3)

    np.testing.assert_allclose(interpret.gradient_receptive_fields(squared, images), 0, atol=1e-5)
    drive = np.einsum("nhwc,khwc->kn", images, FILTERS)
    expected = 2 * np.sqrt(np.mean(drive**2, 1))[:, None, None, None] * np.abs(FILTERS)
    np.testing.assert_allclose(interpret.gradient_sensitivity(squared, images), expected, rtol=1e-4, atol=1e-5)


def test_most_exciting_image_of_a_linear_model_points_along_its_filter():
    images, values = interpret.most_exciting_images(
        lambda x: jax.nn.softplus(_linear(x)), (5, 5, 1), [1, 0], 4.0, jax.random.key(0), steps=150
    )
    for image, index in zip(images, (1, 0), strict=True):
        assert _alike(image, FILTERS[index]) > 0.995
        np.testing.assert_allclose(np.linalg.norm(image), 4.0, rtol=1e-5)
    best = 4 * np.sqrt((FILTERS**2).sum((1, 2, 3)))[[1, 0]] + 3
    np.testing.assert_allclose(values, np.logaddexp(0, best), rtol=0.01)
