"""A trained field as a notebook sees it: images in and out in [0, 1], equal seeds equal numbers, clear refusals."""

import subprocess
import sys

import jax
import numpy as np
import pytest

import nrf
from nrf.trained import read_trained
from runtime.errors import ConfigError
from tests.conftest import REPOSITORY
from tests.nrf.trained_run import make_run, tiny_config


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    return nrf.load(make_run(tmp_path_factory.mktemp("field") / "run", tiny_config()))


def test_importing_the_package_loads_nothing_heavy():
    code = "import sys, nrf; print([m for m in ('jax', 'numpy', 'flax', 'ml_collections') if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


def test_data_are_the_images_that_it_was_trained_on(model):
    held_out = model.data("test", 5)
    assert held_out.shape == (5, *model.image_shape) == (5, 8, 8, 1)
    assert held_out.min() >= 0 and held_out.max() <= 1
    np.testing.assert_array_equal(held_out, model.data()[:5])
    assert len(model.data("train")) == model.config.data.num_train


def test_samples_are_images_and_depend_on_seed_start_and_steps(model):
    images = model.sample(seed=0, count=4, steps=5)
    assert images.shape == (4, 8, 8, 1) and images.min() >= 0 and images.max() <= 1
    np.testing.assert_array_equal(model.sample(seed=0, count=4, steps=5), images)
    assert not np.allclose(model.sample(seed=1, count=4, steps=5), images)
    assert not np.allclose(model.sample(seed=0, count=4, steps=6), images)
    # One step from images leaves them nearly where they are; from noise it does not find them.
    held_out = model.data("test", 4)
    near = model.sample(seed=0, steps=1, start=held_out)
    assert np.abs(near - held_out).mean() < 0.25 * np.abs(images - held_out).mean()
    from_data = model.sample(seed=0, count=4, steps=1, start="data")
    assert np.abs(from_data[:, None] - model.data()[None]).mean((2, 3, 4)).min(axis=1).max() < 0.1


def test_responses_are_mean_states_of_the_clamped_field(model):
    images = model.data("test", 3)
    latents = model.respond(images, seed=0, steps=6)
    assert [latent.shape for latent in latents] == [(3, *shape) for shape in model.latent_shapes]
    assert all(np.abs(latent).max() <= 1 for latent in latents)
    again = model.respond(images, seed=0, steps=6)
    jax.tree.map(np.testing.assert_array_equal, again, latents)
    assert not np.allclose(model.respond(images, seed=1, steps=6)[0], latents[0])
    assert not np.allclose(model.respond(images[::-1], seed=0, steps=6)[0][::-1], latents[0])


def test_energies_are_those_of_the_model(model):
    images = model.data("test", 3)
    latents = model.respond(images, seed=0, steps=4)
    energy = model.energy(images, latents)
    trained = read_trained(model.config, model.folder)
    states = (trained.space.to_states(images), *latents)
    np.testing.assert_allclose(energy, jax.jit(trained.model.energy)(trained.weights, states), rtol=1e-5)
    # The field prefers where its own dynamics lead: latents that settled lie lower than random ones.
    draw = np.random.default_rng(0)
    assert energy.mean() < model.energy(images, [draw.uniform(-1, 1, latent.shape) for latent in latents]).mean()


def test_what_cannot_be_done_is_refused_in_one_sentence(model, tmp_path):
    images = model.data("test", 2)
    latents = [np.zeros((2, *shape)) for shape in model.latent_shapes]
    for call, words in (
        (lambda: nrf.load(tmp_path / "nowhere"), "nowhere is no run folder"),
        (lambda: model.sample(seed=0, start="nose"), r"no start 'nose' \(did you mean 'noise'\?\)"),
        (lambda: model.sample(seed=0, steps=0), "steps is 0; give a whole number of at least 1"),
        (lambda: model.sample(seed=0, count=2.5), "count is 2.5"),
        (lambda: model.sample(seed=-1), "seed is -1"),
        (lambda: model.sample(seed=0, start=images[0]), r"start has shape \(8, 8, 1\); .* shape \(N, 8, 8, 1\)"),
        (lambda: model.respond(2 * images - 1, seed=0), r"images has values from -.*; give grey levels in \[0, 1\]"),
        (lambda: model.respond(images * np.nan, seed=0), "images has values from nan"),
        (lambda: model.data("tset"), "no part 'tset' of the data .did you mean 'test'"),
        (lambda: model.data("train", 10_000), "count is 10000, but the part 'train' of the data holds 64 images"),
        (lambda: model.energy(images, latents[:1]), "latents has 1 arrays, but the model has 2 layers"),
        (lambda: model.energy(images, [latents[0][:1], latents[1]]), r"layer 1 have shape \(1, 8, 8, 4\)"),
    ):
        with pytest.raises(ConfigError, match=words) as error:
            call()
        assert "\n" not in str(error.value)
