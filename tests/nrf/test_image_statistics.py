"""Measures of image sets: known values on Gaussians, and what tells photographs from them."""

import numpy as np
import pytest

from nrf import image_statistics as statistics
from runtime.images import load_images


@pytest.fixture(scope="module")
def photographs():
    images = load_images("natural", size=16, channels=1, num_train=3000, num_test=2000)
    return images.train, images.test


@pytest.fixture(scope="module")
def reference(photographs):
    return statistics.make_reference(photographs[0])


def test_the_reference_measured_on_itself_is_no_different(photographs, reference):
    found = statistics.measure(photographs[0], reference)
    assert found["spectrum_distance"] == 0 and found["pixel_sd_ratio"] == pytest.approx(1)
    for group in ("1-4", "5-16", "17-64", "rest"):
        assert found[f"variance_pc_{group}"] == pytest.approx(1)


def test_a_gaussian_has_the_second_order_structure_and_nothing_beyond(photographs, reference):
    data, gaussian = (
        statistics.measure(images, reference)
        for images in (photographs[0], statistics.gaussian_like(photographs[0], 3000, 0))
    )
    assert gaussian["spectrum_distance"] < 0.1 and gaussian["pixel_sd_ratio"] == pytest.approx(1, abs=0.05)
    assert gaussian["variance_pc_17-64"] == pytest.approx(1, abs=0.05)
    assert gaussian["gabor_kurtosis"] == pytest.approx(3, abs=0.1) and data["gabor_kurtosis"] > 6
    assert gaussian["gabor_dependence"] == pytest.approx(0, abs=0.01) and data["gabor_dependence"] > 0.1


def test_chains_in_one_well_are_seen(photographs, reference):
    stuck = photographs[0][:1] + 0.01 * np.random.default_rng(0).normal(size=(64, 16, 16, 1))
    found = statistics.measure(stuck, reference)
    assert found["variance_pc_1-4"] < 0.01
    assert found["nearest_neighbour"] < 0.1 * statistics.measure(photographs[0][:64], reference)["nearest_neighbour"]


def test_contrasts_are_compared_as_distributions(photographs, reference):
    others, gaussian = photographs[1], statistics.gaussian_like(photographs[0], 2000, 0)
    assert statistics.measure(others, reference)["contrast_distance"] < 0.15
    assert statistics.measure(gaussian, reference)["contrast_distance"] > 0.2  # nearly all of one contrast
    halved = 0.5 + 0.1 * (photographs[0] - 0.5)
    assert statistics.measure(halved, reference)["contrast_distance"] > 0.5
    np.testing.assert_allclose(statistics.contrasts(photographs[0][:3]), photographs[0][:3].std(axis=(1, 2, 3)), 1e-5)


def test_kurtosis_of_known_distributions():
    draw = np.random.default_rng(0)
    assert statistics.kurtosis(draw.normal(size=200_000)) == pytest.approx(3, abs=0.05)
    assert statistics.kurtosis(draw.uniform(size=200_000)) == pytest.approx(1.8, abs=0.02)
    assert statistics.kurtosis(np.array([-1.0, 1.0, 5.0, 7.0])) == statistics.kurtosis(np.array([0.0, 2.0, 6.0, 8.0]))


def test_dependence_of_strengths_is_that_of_a_common_factor():
    draw = np.random.default_rng(0)
    normals = draw.normal(size=(20_000, 4))
    assert statistics.variance_dependence(normals) == pytest.approx(0, abs=0.01)
    contrast = np.exp(draw.normal(size=(20_000, 1)))
    assert statistics.variance_dependence(normals * contrast) > 0.3
    # Two images, or a filter that does not answer, are no reason for a NaN.
    assert statistics.variance_dependence(normals[:2]) == 0
    silent = np.concatenate([normals, np.zeros((len(normals), 1))], axis=1)
    assert statistics.variance_dependence(silent) == statistics.variance_dependence(normals)


def test_gabors_have_unit_norm_and_ignore_luminance():
    bank = statistics.gabor_bank(16, 16, 3)
    assert bank.shape == (16 * 16 * 3, 2 * 3 * 4 * 2)
    np.testing.assert_allclose(np.linalg.norm(bank, axis=0), 1)
    np.testing.assert_allclose(bank.sum(axis=0), 0, atol=1e-10)


def test_small_images_have_the_groups_that_fit():
    images = np.random.default_rng(0).normal(size=(200, 6, 6, 1))
    found = statistics.measure(images, statistics.make_reference(images))
    assert "variance_pc_17-64" in found and "variance_pc_rest" not in found
