"""Penalties beyond NDN3's and losses, against plain loops."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from v1models import losses, penalties

W = np.random.default_rng(0).standard_normal((4, 5, 3, 2))
penalize = jax.jit(penalties.penalize, static_argnums=0)


def test_group_sparsity_switches_whole_kernels():
    expected = sum(np.sqrt((W[:, :, c, n] ** 2).sum()) for c, n in itertools.product(range(3), range(2)))
    np.testing.assert_allclose(penalize("group_sparsity", W), expected, rtol=1e-5)
    gradient = jax.jit(jax.grad(lambda w: penalize("group_sparsity", w)))(np.zeros((2, 2, 1, 1), np.float32))
    assert (gradient == 0).all()


def test_normalized_smoothness_ignores_scale():
    kernel = np.array([[0.25, 0.5, 0.25], [0.5, -3, 0.5], [0.25, 0.5, 0.25]])
    padded, expected = np.pad(W, ((1, 1), (1, 1), (0, 0), (0, 0))), 0.0
    for c, n in itertools.product(range(3), range(2)):
        filtered = [[(padded[i : i + 3, j : j + 3, c, n] * kernel).sum() for j in range(5)] for i in range(4)]
        expected += (np.array(filtered) ** 2).sum() / (W[:, :, c, n] ** 2).sum()
    np.testing.assert_allclose(penalize("smoothness", W), expected, rtol=1e-5)
    np.testing.assert_allclose(penalize("smoothness", 7 * W), expected, rtol=1e-5)


def test_product_l1_of_a_factorized_readout():
    features, mask = W[0, :3, 0], W[:, :, 1]
    expected = sum(np.abs(features[:, n]).sum() * np.abs(mask[:, :, n]).sum() for n in range(2))
    np.testing.assert_allclose(
        penalties.penalize_factorized("product_l1", features, mask), expected, rtol=1e-5
    )


@pytest.mark.parametrize("noise", losses.LOSSES)
def test_masked_neurons_do_not_influence_the_others(noise):
    random = np.random.default_rng(1)
    p, r = random.random((6, 3)) + 0.1, random.integers(0, 2, (6, 3)) * 1.0
    mask, third = np.array([[1.0, 1.0, 0.0]] * 6), np.array([0.0, 0.0, 1.0])
    loss = jax.jit(losses.make_loss(noise))
    base = loss(p, r, mask)
    np.testing.assert_allclose(loss(p + 5 * third, r + third, mask), base, rtol=1e-6)
    np.testing.assert_allclose(base, loss(p[:, :2], r[:, :2]), rtol=1e-5)


def test_poisson_loss_is_lowest_at_the_response_and_scales_with_rates():
    r = np.array([[2.0, 0.5], [1.0, 3.0]], np.float32)
    gradient = jax.jit(jax.grad(losses.make_loss("poisson")))(r, r)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)
    rates = losses.mean_rates(r)
    scaled = jax.jit(losses.make_loss("poisson"))(r, r, None, rates)
    terms = np.asarray(jax.jit(losses.poisson_terms)(r, r))
    np.testing.assert_allclose(scaled, (terms / (2 * np.asarray(rates))).sum(), rtol=1e-6)


def test_gamma_loss_is_the_log_density_up_to_what_the_prediction_does_not_change():
    response, shape = 2.3, 3.0
    for p, q in ((0.5, 2.0), (4.0, 1.0)):
        density = [stats.gamma.logpdf(response, shape, scale=mean / shape) for mean in (p, q)]
        terms = losses.gamma_terms(jnp.asarray([p, q]), response)
        np.testing.assert_allclose(shape * (terms[1] - terms[0]), density[0] - density[1], rtol=1e-4)


def test_tweedie_loss_is_the_log_density_of_a_poisson_number_of_exponentials():
    spread, numbers = 0.7, np.arange(1, 80)

    def log_density(response, mean):
        rate, scale = 2 * np.sqrt(mean) / spread, spread * np.sqrt(mean) / 2
        if response == 0:
            return stats.poisson.logpmf(0, rate)
        jumps = stats.gamma.pdf(response, numbers, scale=scale)
        return np.log(np.sum(stats.poisson.pmf(numbers, rate) * jumps))

    for response in (0.0, 0.4, 3.0):
        terms = losses.tweedie_terms(jnp.asarray([0.6, 2.5]), response)
        expected = log_density(response, 0.6) - log_density(response, 2.5)
        np.testing.assert_allclose((terms[1] - terms[0]) / spread, expected, rtol=1e-4)


@pytest.mark.parametrize("noise", ["gamma", "tweedie"])
def test_losses_of_positive_responses_are_lowest_at_the_response(noise):
    r = jnp.asarray([[2.0, 0.5], [1.0, 3.0]])
    np.testing.assert_allclose(jax.grad(losses.make_loss(noise))(r, r), 0, atol=1e-4)


def test_mean_rates_count_measured_rows_unless_told_otherwise():
    r, mask = np.array([[4.0], [2.0], [9.0]], np.float32), np.array([[1.0], [1.0], [0.0]], np.float32)
    assert float(losses.mean_rates(r, mask)[0]) == 3
    assert float(losses.mean_rates(r, mask, over_measured=False)[0]) == 2
    assert float(losses.mean_rates(jnp.zeros((3, 1)))[0]) == np.float32(1e-8)


@pytest.mark.parametrize(("noise", "options"), [("gaussian", {"mean_rates": jnp.ones(3)}), ("cauchy", {})])
def test_losses_refuse_what_means_nothing(noise, options):
    with pytest.raises(ValueError, match="poisson|Poisson"):
        losses.make_loss(noise)(jnp.ones((2, 3)), jnp.ones((2, 3)), **options)
