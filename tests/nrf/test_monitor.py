"""Long chains: measured against length, judged in words, on fields whose distribution is known."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf import figures, monitor
from nrf.image_space import ImageSpace, make_image_space, read_image_space, write_image_space
from nrf.image_statistics import make_reference
from nrf.samplers import make_sampler
from runtime.errors import ConfigError
from runtime.images import load_images
from runtime.metrics import NonFiniteError
from tests.nrf.trained_run import tiny_config

SD = 0.1


class Gaussian:
    """A field of an image layer alone whose distribution is N(0, stiffness⁻¹ T) in whitened coordinates."""

    class architecture:
        @staticmethod
        def state_shapes(batch):
            return ((batch, 8, 8, 1),)

        class _Layer:
            height = width = 8
            channels = 1

        layers = (_Layer,)

    bounds = ((-1.0, 1.0),)

    @staticmethod
    def energy_and_gradient(weights, states, layers=None):
        (state,) = states
        return 0.5 * weights * jnp.sum(state**2, axis=(1, 2, 3)), (weights * state,)


@pytest.fixture(scope="module")
def chains():
    images = load_images("natural", size=8, channels=1, num_train=2000, num_test=500)
    space = make_image_space(tiny_config(data={"gain_control": 1.0, "whitened_sd": SD}), (-1.0, 1.0), images.train)
    sampler = make_sampler("underdamped", step_size=0.6, friction=0.6, temperature=SD**2, bounds=Gaussian.bounds)
    return monitor.Chains(Gaussian, sampler, space, make_reference(images.test), images.test, (SD,))


@pytest.fixture(scope="module")
def program(chains):
    return jax.jit(monitor.make_program(chains, monitor.stride_of(300)))


@pytest.fixture(scope="module")
def good(chains, program):
    return monitor.run_chains(chains, jnp.float32(1.0), jax.random.key(0), 32, 300, program)


def test_chains_from_noise_and_from_data_forget_where_they_began(good):
    assert good.lengths[0] == 3 and good.lengths[-1] == 300
    assert good.energy[0, :32].mean() > 10 * good.energy[0, 32:].mean()
    assert all(good.measures[start][-1]["spectrum_distance"] < 0.3 for start in monitor.STARTS)
    assert good.r_hat["energy"] < 1.1 and good.r_hat["contrast"] < 1.1 and good.effective_samples["energy"] > 100
    np.testing.assert_allclose(good.temperature, 1.0, atol=0.03)
    assert good.energy[-100:].mean() == pytest.approx(0.5, rel=0.05)  # equipartition: T/2 a pixel
    assert good.images["noise"].shape == (32, 8, 8, 1)


def test_a_gaussian_is_told_apart_by_its_kurtosis_alone(good):
    faults = monitor.judge(good)
    assert len(faults) == 1 and "kurtosis of Gabor responses 3" in faults[0] and "half way" in faults[0]
    assert monitor.verdict(good, 7).startswith("not what was wanted, by chains of 300 steps")


def test_wells_and_hot_layers_are_named(chains, program):
    stiff = monitor.run_chains(chains, jnp.float32(9.0), jax.random.key(0), 32, 300, program)
    faults = " ".join(monitor.judge(stiff))
    assert "chains have collapsed along components 1-4" in faults and "pixels vary 0.3" in faults
    # h² times the curvature is 3.2, close to where the integrator breaks down: the momentum is no longer at T.
    assert "layer 0 is at" in faults and "take smaller steps" in faults


def test_a_diverging_field_says_after_how_many_steps(chains, program):
    with pytest.raises(NonFiniteError, match="not finite after 3 steps"):
        monitor.run_chains(chains, jnp.float32(np.nan), jax.random.key(0), 32, 300, program)


def test_everything_is_logged_and_drawn(good, chains, tmp_path):
    found = monitor.as_metrics(good)
    assert found["chains/data/300/gabor_kurtosis"] == good.measures["data"][-1]["gabor_kurtosis"]
    assert {"chains/r_hat/pc_1", "chains/temperature/layer_0", "chains/pooled/pixel_sd"} <= set(found)
    assert all(isinstance(value, float) for value in found.values())
    figures.chain_sheet(good, chains.held_out, tmp_path / "sheet.png", "a title")
    figures.chain_figure(good, tmp_path / "figure.png", "a title")
    assert all((tmp_path / name).stat().st_size > 20_000 for name in ("sheet.png", "figure.png"))


class Stiffened:
    """Latents y over an image x of energy ½ Σ_c k_c |y_c|² (1 + x²/2), x² the mean square of its pixels."""

    stiffness = jnp.array([1.0, 4.0])

    class architecture:
        class _Latents:
            height, width, channels = 4, 4, 2

        layers = (Gaussian.architecture._Layer, _Latents)

    @classmethod
    def energy_and_gradient(cls, weights, states, layers):
        image, latents = states
        factor = 1 + 0.5 * jnp.mean(image**2, axis=(1, 2, 3))
        gradient = cls.stiffness * latents * factor[:, None, None, None]
        return 0.5 * jnp.sum(gradient * latents, axis=(1, 2, 3)), (gradient,)


def test_the_curvature_of_latents_is_watched_on_images_and_on_a_blank(chains):
    watch = monitor.make_curvature_monitor(chains._replace(model=Stiffened), chains.sampler)
    found = watch(jax.random.key(0), {}, jnp.full((3, 8, 8, 1), 2.0))
    for shown, factor in (("images", 3.0), ("blank", 1.0)):
        assert found[f"curvature/{shown}/lowest"] == pytest.approx(factor, rel=1e-3)
        assert found[f"curvature/{shown}/highest"] == pytest.approx(4 * factor, rel=1e-3)
        assert factor <= found[f"curvature/{shown}/median"] <= 4 * factor


def test_an_image_space_is_kept_with_the_run(chains, tmp_path):
    write_image_space(chains.space, tmp_path)
    read = read_image_space(tiny_config(data={"gain_control": 1.0, "whitened_sd": SD}), (-1.0, 1.0), tmp_path)
    images = chains.held_out[:5]
    np.testing.assert_array_equal(read.to_states(images), chains.space.to_states(images))
    np.testing.assert_allclose(read.to_images(read.to_states(images)), images, atol=1e-5)
    (tmp_path / "whitening.npz").write_bytes(b"half a file")
    with pytest.raises(ConfigError, match="whitening.npz is damaged"):
        read_image_space(tiny_config(data={"gain_control": 1.0, "whitened_sd": SD}), (-1.0, 1.0), tmp_path)
    (tmp_path / "whitening.npz").unlink()
    with pytest.raises(ConfigError, match="whitening.npz is missing"):
        read_image_space(tiny_config(data={"gain_control": 1.0, "whitened_sd": SD}), (-1.0, 1.0), tmp_path)


@functools.cache
def grey():
    return np.random.default_rng(0).uniform(size=(3, 4, 4, 1)).astype(np.float32)


@pytest.mark.parametrize(("bounds", "rescale", "low"), [((-1.0, 1.0), True, -1), ((-1.0, 1.0), False, 0)])
def test_grey_levels_are_stretched_or_left(bounds, rescale, low):
    space = ImageSpace(bounds, rescale, None)
    states = space.to_states(grey())
    assert states.min() == pytest.approx(low, abs=0.2)
    np.testing.assert_allclose(space.to_images(states), grey(), atol=1e-6)
