"""Responses of a field to images of a file: what is in them, what they depend on, what is refused."""

import numpy as np
import pytest

from nrf.respond import cut, respond
from runtime.errors import ConfigError
from tests.nrf.trained_run import make_run, tiny_config

FIELDS = {
    "images": None, "array": "images", "size": 12, "stride": 4, "settle": 4, "samples": 3, "every": 2, "batch": 8,
    "weights": "trained", "name": "latents",
}  # fmt: skip


@pytest.fixture(scope="module")
def shown(tmp_path_factory):
    """A run of an untrained field, a file of images, and the config of the stage."""
    folder = tmp_path_factory.mktemp("respond")
    images = np.random.default_rng(0).integers(0, 255, (3, 24, 24), np.uint8)
    np.savez(folder / "shown.npz", images=images, bright=images + 0.5, flat=images[0])

    def config(**changes):
        return tiny_config(respond={**FIELDS, "images": str(folder / "shown.npz"), **changes})

    return make_run(folder / "run", config()), config


def test_features_are_means_over_samples_and_belong_to_patches(shown):
    folder, config = shown
    with np.load(respond(config(), folder)) as file:
        features, samples, blank, channels = (file[name] for name in ("features", "samples", "blank", "channels"))
    assert samples.shape[0] == 3
    assert features.shape[0] == 3
    assert features.shape[-1] == len(channels)
    np.testing.assert_allclose(features, samples.astype(np.float32).mean(0), atol=2e-3)
    squares = features[..., [str(name).split("/")[1] == "square" for name in channels]]
    means = features[..., [str(name).split("/")[1] == "mean" for name in channels]]
    assert (squares > np.square(means) - 1e-6).all()
    assert samples.std(0).max() > 0
    assert blank.shape == samples[:, 0].shape
    assert np.isfinite(blank).all()


def test_patches_are_cut_in_rows_and_columns():
    images = np.arange(2 * 6 * 6).reshape(2, 6, 6, 1)
    patches, grid = cut(images, 4, 2)
    assert grid == (2, 2)
    np.testing.assert_array_equal(patches.reshape(2, 2, 2, 4, 4)[1, 1, 0], images[1, 2:, :4, 0])


def test_shuffled_weights_respond_otherwise(shown):
    folder, config = shown
    with np.load(respond(config(), folder)) as file:
        before = file["features"]
    with np.load(respond(config(weights="shuffled", name="shuffled"), folder)) as file:
        assert np.abs(file["features"] - before).max() > 1e-4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"images": None}, "config.respond.images is not set"),
        ({"images": "nothing.npz"}, "nothing.npz does not exist"),
        ({"array": "pictures"}, "has no array 'pictures'"),
        ({"array": "flat"}, "give square images"),
        ({"array": "bright"}, "give levels in"),
        ({"size": 7}, "must divide"),
        ({"size": 2}, "less than the"),
    ],
)
def test_what_cannot_be_shown_is_named(shown, changes, message):
    folder, config = shown
    with pytest.raises(ConfigError, match=message):
        respond(config(**changes), folder)
