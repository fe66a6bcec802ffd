"""Images are as asked for, test images are not among the training images, batches depend on the step alone."""

import sys

import numpy as np
import pytest
import skimage.io

from runtime import images
from runtime.errors import ConfigError
from runtime.images import batch_indices, load_images, normalize_contrast, steps_per_epoch


def assert_valid(image_set, size, channels):
    for part in (image_set.train, image_set.test):
        assert part.dtype == np.float32
        assert part.shape[1:] == (size, size, channels)
        assert part.min() >= 0
        assert part.max() <= 1


@pytest.mark.parametrize(("size", "channels"), [(8, 1), (16, 1), (32, 3), (64, 1)])
def test_natural_patches(size, channels):
    found = load_images("natural", size=size, channels=channels, num_train=300, num_test=50)
    assert_valid(found, size, channels)
    assert (len(found.train), len(found.test), found.name) == (300, 50, "natural")
    assert found.train.mean(-1).std((1, 2)).min() >= images.FLAT
    assert len(np.unique(found.train.reshape(300, -1), axis=0)) == 300


def test_natural_patches_depend_on_the_seed_alone():
    first, again, other = (load_images("natural", num_train=50, num_test=10, seed=seed) for seed in (1, 1, 2))
    np.testing.assert_array_equal(first.train, again.train)
    np.testing.assert_array_equal(first.test, again.test)
    assert not np.array_equal(first.train, other.train)
    assert load_images("natural").train.shape == (20_000, 16, 16, 1)


def test_natural_patches_have_the_spectrum_of_natural_images():
    # Field 1987: the amplitude of natural images falls about as 1/f, so the power's slope lies near -2.
    patches = load_images("natural", size=32, num_train=2000, num_test=1).train[..., 0]
    window = np.outer(np.hanning(32), np.hanning(32))
    power = (np.abs(np.fft.fft2((patches - patches.mean((1, 2), keepdims=True)) * window)) ** 2).mean(0)
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(32), np.fft.fftfreq(32)))
    band = (frequency > 0.08) & (frequency < 0.4)
    slope, _ = np.polyfit(np.log(frequency[band]), np.log(power[band]), 1)
    assert -3.0 < slope < -1.5


@pytest.fixture(scope="module")
def scenes():
    """The three data sets of the study of scene statistics, (N, 8, 8) float64 each."""
    names = ("natural", "natural_scrambled", "natural_white")
    found = {name: load_images(name, size=8, num_train=4000, num_test=50, seed=1) for name in names}
    for image_set in found.values():
        assert_valid(image_set, 8, 1)
    return {name: image_set.train[..., 0].astype(float) for name, image_set in found.items()}


def test_scrambled_patches_have_the_spectra_of_the_patches_and_other_phases(scenes):
    natural, scrambled = scenes["natural"], scenes["natural_scrambled"]
    whole = ((scrambled > 0) & (scrambled < 1)).all(axis=(1, 2))  # where nothing had to be cut off
    assert whole.mean() > 0.6
    before, after = np.fft.fft2(natural[whole]), np.fft.fft2(scrambled[whole])
    np.testing.assert_allclose(np.abs(after), np.abs(before), rtol=1e-3, atol=1e-4)
    np.testing.assert_allclose(scrambled[whole].std((1, 2)), natural[whole].std((1, 2)), rtol=1e-3)
    # Phases of neighbouring frequencies are aligned along an edge; in what is scrambled each is uniform and by itself.
    turns = np.exp(1j * np.angle(after[:, 1, 1]))
    assert abs(turns.mean()) < 4 / np.sqrt(len(turns))
    assert abs(np.mean(turns * np.exp(-1j * np.angle(before[:, 1, 1])))) < 4 / np.sqrt(len(turns))


def test_scrambled_patches_keep_their_colours():
    grey = np.repeat(load_images("natural", size=8, num_train=20, num_test=1).train, 3, axis=-1)
    found = images.scramble_phases(grey, 0)
    np.testing.assert_allclose(found, np.repeat(found[..., :1], 3, axis=-1), atol=1e-6)


def test_white_patches_have_variance_and_contrasts_of_the_patches_and_no_correlations(scenes):
    natural, white = scenes["natural"], scenes["natural_white"]
    assert white.std() == pytest.approx(natural.std(), rel=0.01)
    assert white.mean() == pytest.approx(natural.mean(), abs=0.01)
    correlation = np.corrcoef(white.reshape(len(white), -1), rowvar=False)
    others = correlation[~np.eye(len(correlation), dtype=bool)]
    assert np.abs(others).max() < 5 / np.sqrt(len(white))
    assert np.corrcoef(natural.reshape(len(natural), -1), rowvar=False).mean() > 0.4
    # The same contrast, patch by patch: noise of 64 pixels has its own spread of about a tenth.
    assert np.corrcoef(np.log(white.std((1, 2))), np.log(natural.std((1, 2))))[0, 1] > 0.9


@pytest.mark.parametrize("size", [16, 64])
def test_training_and_test_regions_of_a_photograph_do_not_overlap(size, monkeypatch):
    # A photograph in which every pixel tells its own column.
    columns = np.tile(np.linspace(0, 1, 600), (400, 1))[..., np.newaxis]
    monkeypatch.setattr(images, "_photograph", lambda name: columns)
    monkeypatch.setattr(images, "FLAT", 0.0)
    found = load_images("natural", size=size, num_train=500, num_test=100)
    assert found.train.max() < found.test.min()
    assert found.train.max() > 0.75


def test_natural_patches_are_not_larger_than_the_test_regions():
    with pytest.raises(ConfigError, match="up to 90 pixels wide, not 91"):
        load_images("natural", size=91)


def test_normalised_contrast():
    found = load_images("natural", num_train=200, num_test=20, contrast=0.1).train
    np.testing.assert_allclose(found.mean((1, 2, 3)), 0.5, atol=0.02)
    # Only clipped patches, those with a few extreme pixels, have less.
    clipped = (found == 0).any((1, 2, 3)) | (found == 1).any((1, 2, 3))
    np.testing.assert_allclose(found.std((1, 2, 3))[~clipped], 0.1, atol=1e-5)
    assert clipped.mean() < 0.1
    flat = normalize_contrast(np.full((1, 4, 4, 1), 0.3, np.float32), 0.2)
    np.testing.assert_allclose(flat, 0.5, atol=0.1)
    assert flat.dtype == np.float32


@pytest.mark.parametrize(("name", "size", "channels"), [("cifar10", 32, 3), ("mnist", 28, 1)])
def test_prepared_tfds_sets_are_read_without_tensorflow(shared, name, size, channels):
    data_dir = str(shared / "data" / "tfds")
    found = load_images(f"tfds:{name}", data_dir=data_dir, num_train=40, num_test=20)
    assert_valid(found, size, channels)
    assert (len(found.train), len(found.test)) == (40, 20)
    other = load_images(f"tfds:{name}", data_dir=data_dir, num_train=4, num_test=2, size=16, channels=4 - channels)
    assert_valid(other, 16, 4 - channels)
    assert "tensorflow" not in sys.modules
    with pytest.raises(ConfigError, match="not the 100000 asked for"):
        load_images(f"tfds:{name}", data_dir=data_dir, num_train=100_000)


def test_tfds_set_that_is_not_there_says_what_to_type(tmp_path):
    with pytest.raises(ConfigError) as caught:
        load_images("tfds:cifar10", data_dir=str(tmp_path))
    said = str(caught.value)
    assert f"tfds build cifar10 --file_format=array_record --data_dir={tmp_path}" in said
    assert "--config.data.dir=FOLDER" in said
    (tmp_path / "cifar10" / "3.0.2").mkdir(parents=True)
    (tmp_path / "cifar10" / "3.0.2" / "dataset_info.json").write_text("{}")
    with pytest.raises(ConfigError, match="prepared in another format than array_record"):
        load_images("tfds:cifar10", data_dir=str(tmp_path))


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(9):
        skimage.io.imsave(tmp_path / f"{number}.png", rng.integers(0, 256, (20, 24, 3), np.uint8), check_contrast=False)
    (tmp_path / "deep").mkdir()
    np.save(tmp_path / "deep" / "stack.npy", rng.random((11, 20, 24)).astype(np.float32))
    (tmp_path / "notes.txt").write_text("no image")
    return tmp_path


def test_folder_of_images(folder):
    found = load_images(f"folder:{folder}", size=12, channels=1)
    assert_valid(found, 12, 1)
    assert (len(found.train), len(found.test)) == (18, 2)
    whole = load_images(f"folder:{folder}", channels=1)
    np.testing.assert_array_equal(whole.test[-1], np.load(folder / "deep" / "stack.npy")[-1][..., np.newaxis])
    assert len(load_images(f"folder:{folder}", channels=3, num_train=5).train) == 5
    np.testing.assert_array_equal(whole.train, load_images(f"folder:{folder}", channels=1).train)


def test_two_images_are_enough_for_a_folder(tmp_path):
    np.save(tmp_path / "two.npy", np.stack([np.zeros((4, 4)), np.ones((4, 4))]))
    found = load_images(f"folder:{tmp_path}")
    assert (found.train.max(), found.test.min()) == (0, 1)


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((3, 4, 4), 2.0), r"bad\.npy\[0\]: holds floating-point values outside \[0, 1\]"),
        (np.zeros((2, 3, 4, 4, 1)), r"bad\.npy holds an array of shape \(2, 3, 4, 4, 1\)"),
        (np.zeros((5, 7)), r"bad\.npy has shape \(5, 7, 1\), the first has \(4, 4, 1\): .*--config\.data\.size"),
    ],
)
def test_files_that_do_not_fit_are_named(tmp_path, array, message):
    np.save(tmp_path / "a_good.npy", np.zeros((3, 4, 4)))
    np.save(tmp_path / "bad.npy", array)
    with pytest.raises(ConfigError, match=message):
        load_images(f"folder:{tmp_path}")


def test_unreadable_file_is_named(tmp_path):
    (tmp_path / "broken.png").write_bytes(b"no image")
    with pytest.raises(ConfigError, match=r"broken\.png cannot be read"):
        load_images(f"folder:{tmp_path}")


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("natrual", {}, "did you mean 'natural'"),
        ("cifar10", {}, "did you mean 'tfds:cifar10'"),
        ("folder:nowhere", {}, "there is no folder 'nowhere'"),
        ("folder", {}, "there is no folder"),
        ("tfds", {}, "need the name of a set"),
        ("natural:x", {}, "take nothing after a colon"),
        ("natural_white:x", {}, "take nothing after a colon"),
        ("natural_wite", {}, "did you mean 'natural_white'"),
        ("natural", {"channels": 2}, r"channels must be 1 \(grey\) or 3"),
        ("natural", {"size": 0}, "size must be at least 1"),
        ("natural", {"num_train": -5}, "num_train must be at least 1, not -5"),
    ],
)
def test_bad_requests_are_named(name, options, message):
    with pytest.raises(ConfigError, match=message):
        load_images(name, **options)


def test_folder_without_images_is_named(tmp_path):
    with pytest.raises(ConfigError, match="found 0 images, need at least 2"):
        load_images(f"folder:{tmp_path}")


def test_every_epoch_goes_through_the_images_once_in_another_order():
    steps = [batch_indices(3, step, 10, 57) for step in range(15)]
    epochs = [np.concatenate(steps[start : start + 5]) for start in (0, 5, 10)]
    for epoch in epochs:
        assert len(np.unique(epoch)) == 50
        assert epoch.min() >= 0
        assert epoch.max() < 57
    assert not np.array_equal(epochs[0], epochs[1])
    assert not np.array_equal(epochs[0], np.concatenate([batch_indices(4, step, 10, 57) for step in range(5)]))
    # Left-over images differ from epoch to epoch, so that none is never seen.
    assert set(epochs[0]) != set(epochs[1])


def test_batches_are_a_function_of_the_step():
    np.testing.assert_array_equal(batch_indices(3, 1234, 8, 100), batch_indices(3, 1234, 8, 100))
    assert steps_per_epoch(10, 57) == 5


@pytest.mark.parametrize("batch_size", [0, 58])
def test_batch_larger_than_the_set_is_refused(batch_size):
    with pytest.raises(ConfigError, match=f"between 1 and the 57 training images, not {batch_size}"):
        batch_indices(0, 0, batch_size, 57)
