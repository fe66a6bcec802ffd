"""Whitened coordinates: invertible, decorrelated, and a Gaussian in them has the data's spectrum."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf.image_statistics import make_reference, spectrum_distance
from nrf.whitening import Gain, cosine_transform, fit_whitening, unwhiten, whiten
from runtime.images import load_images


def smooth(count: int, channels: int, seed: int = 0) -> np.ndarray:
    """Random images (count, 8, 6, channels) with strong low frequencies and correlated channels."""
    draw = np.random.default_rng(seed)
    rows, columns = np.mgrid[:8, :6]
    coefficients = draw.normal(size=(count, 8, 6, channels)) / (1 + rows + columns)[..., None]
    mixed = coefficients @ (np.eye(channels) + 0.5)
    return 0.3 + 0.1 * cosine_transform(mixed, inverse=True)


def test_the_cosine_transform_is_orthonormal():
    images = smooth(3, 2)
    coefficients = cosine_transform(images)
    np.testing.assert_allclose(cosine_transform(coefficients, inverse=True), images, atol=1e-12)
    np.testing.assert_allclose(np.sum(coefficients**2), np.sum(images**2))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_come_back(channels):
    images = smooth(500, channels)
    whitening = fit_whitening(images, 0.1)
    states = whiten(whitening, images)
    assert states.dtype == np.float32 and states.shape == images.shape
    np.testing.assert_allclose(unwhiten(whitening, states), images, atol=1e-5)
    one = whiten(whitening, images[0])
    np.testing.assert_allclose(one, states[0], atol=1e-6)


@pytest.mark.parametrize("channels", [1, 3])
def test_states_are_uncorrelated_at_each_frequency_and_vary_as_asked(channels):
    images = smooth(4000, channels)
    states = whiten(fit_whitening(images, 0.1), images)
    assert states.std() == pytest.approx(0.1, rel=1e-3)
    coefficients = cosine_transform(states)
    covariance = np.einsum("nklc,nkld->klcd", coefficients, coefficients) / len(images)
    np.testing.assert_allclose(covariance, np.broadcast_to(0.01 * np.eye(channels), covariance.shape), atol=1e-5)


def test_a_gaussian_in_whitened_coordinates_has_the_spectrum_of_photographs():
    images = load_images("natural", size=16, channels=1, num_train=2000, num_test=50).train
    whitening = fit_whitening(images, 0.1)
    normals = 0.1 * np.random.default_rng(0).standard_normal(images.shape)
    drawn = unwhiten(whitening, normals.astype(np.float32))
    assert spectrum_distance(drawn, images) < 0.08
    assert spectrum_distance(normals * images.std() / 0.1, images) > 0.6
    variances = make_reference(images).variances
    assert variances[0] / variances[-1] > 1e3 and make_reference(whiten(whitening, images)).variances[0] < 0.1


def test_gain_control_halves_the_range_of_contrast_and_is_undone():
    images = smooth(40, 2) * np.logspace(-2, 0, 40)[:, None, None, None]
    gain = Gain(0.1, 0.5)
    states = gain.apply(images)
    before, after = (np.sqrt((x**2).mean(axis=(1, 2, 3))) for x in (images, states))
    np.testing.assert_allclose(after, 0.1 * (before / 0.1) ** 0.5, rtol=1e-6)
    np.testing.assert_allclose(gain.inverse.apply(states), images, rtol=1e-6)
    np.testing.assert_array_equal(gain.apply(np.zeros((2, 8, 6, 1))), 0)
    slope = jax.grad(lambda x: gain.inverse.apply(x).sum())(jnp.zeros((2, 8, 6, 1)))
    np.testing.assert_allclose(slope, 0, atol=1e-5)


def test_the_determinant_of_gain_control_is_that_of_its_jacobian():
    gain, image = Gain(0.1, 0.4), 0.2 * np.random.default_rng(0).normal(size=(3, 2, 2))
    jacobian = jax.jacobian(lambda x: gain.apply(x.reshape(image.shape)).ravel())(jnp.asarray(image.ravel()))
    expected = np.linalg.slogdet(np.asarray(jacobian))[1]
    np.testing.assert_allclose(gain.log_determinant(image), expected, rtol=1e-4)
    np.testing.assert_allclose(gain.inverse.log_determinant(gain.apply(image)), -expected, rtol=1e-4)


def test_pixels_that_never_change_stay_at_rest():
    images = smooth(50, 1)
    images[:] = images.mean(axis=2, keepdims=True)  # no variation along rows
    states = whiten(fit_whitening(images, 0.1), images)
    assert np.isfinite(states).all() and np.abs(states - states[:, :, :1]).max() < 1e-4


def test_impossible_sets_are_refused():
    with pytest.raises(ValueError, match="at least two images, not 1"):
        fit_whitening(smooth(1, 1), 0.1)
    with pytest.raises(ValueError, match="all equal"):
        fit_whitening(np.ones((5, 4, 4, 1)), 0.1)
