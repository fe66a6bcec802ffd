"""Stimulus sets: reference arrays, tables, any image size, what a Gabor patch must obey."""

import numpy as np
import pytest

from nrf import stimuli
from tests.parity import stimuli as parity_stimuli


def grey(height=32, width=32, channels=3, level=0.5):
    return np.full((height, width, channels), level, np.float32)


def test_all_sets_equal_the_reference(shared):
    for path in sorted((shared / "reference" / "nrf").glob("stimuli*.npz")):
        results = parity_stimuli.check(path)
        assert len(results) > 20
        bad = {name: row for name, row in results.items() if row[0] > row[2]}
        assert not bad


@pytest.mark.parametrize("name", sorted(stimuli.STIMULUS_SETS))
@pytest.mark.parametrize("shape", [(32, 32, 3), (33, 40, 1)])
def test_every_set_has_a_row_per_image(name, shape):
    made = stimuli.make_stimuli(name, grey(*shape))
    assert made.images.shape[1:] == shape
    assert made.images.dtype == np.float32
    assert all(len(column) == len(made.images) for column in made.table.values())
    assert np.isfinite(made.images).all()


def test_sizes_are_those_of_the_specification():
    sizes = {name: len(stimuli.make_stimuli(name, grey()).images) for name in stimuli.STIMULUS_SETS}
    assert sizes.pop("double_loc_and_angles") == 9 * 9 * 10
    assert sizes.pop("contrast_trials") == 6 * 64
    assert set(sizes.values()) == {128}


def test_options_change_the_size_of_a_set():
    made = stimuli.make_stimuli("contrast_and_angle", grey(16, 16, 1), contrasts=3, angles=4)
    assert len(made.images) == 12
    assert np.allclose(np.unique(made.table["contrast"]), [0, 0.4, 0.8])
    few = stimuli.make_stimuli("double_fewlocs_and_fewerangles", grey(16, 16, 1), distances=(3, 5), repeats=2)
    assert len(few.images) == 4 * 2 * 2 * 2
    assert few.table["parallel"].mean() == 0.5


def test_contrast_zero_shows_the_base_image_and_modulation_grows_with_contrast():
    base = np.random.default_rng(0).uniform(0.2, 0.8, (32, 32, 3)).astype(np.float32)
    made = stimuli.make_stimuli("contrast_and_angle", base)
    zero = made.table["contrast"] == 0
    assert np.array_equal(made.images[zero], np.broadcast_to(base, made.images[zero].shape))
    depth = np.abs(made.images / base - 1).max(axis=(1, 2, 3))
    slope = depth[made.table["angle"] == 0] / np.maximum(made.table["contrast"][made.table["angle"] == 0], 1e-9)
    assert np.allclose(slope[1:], slope[1], rtol=1e-4)


def test_a_quarter_turn_of_the_angle_turns_the_patch():
    # Turning rows into columns maps x' to itself: the patch at θ + π/2 is the patch at θ turned by a quarter.
    for angle in (0.0, 0.3, 1.1):
        turned = np.rot90(stimuli.gabor(angle, 1.0), -1)
        assert np.allclose(stimuli.gabor(angle + np.pi / 2, 1.0), np.rot90(turned, 2), atol=1e-5)


def test_the_carrier_of_angle_zero_varies_along_rows():
    patch = stimuli.gabor(0.0, 1.0, aspect=0.01)
    middle = patch.shape[1] // 2
    rows, columns = np.ptp(patch[:, middle]), np.ptp(patch[patch.shape[0] // 2, middle - 5 : middle + 6])
    assert rows > 50 * columns


def test_patches_are_cut_at_the_border():
    patch = np.full((5, 5), 2.0, np.float32)
    image = stimuli.place_patch(patch, (8, 8), (0, 7))
    assert (image == 2).sum() == 9
    assert (image[:3, 5:] == 2).all()


def test_places_outside_the_image_are_refused():
    with pytest.raises(ValueError, match="outside a 16x16 image"):
        stimuli.make_stimuli("double_fewlocs_and_fewerangles", grey(16, 16, 3))


def test_bad_names_and_base_images_are_refused():
    with pytest.raises(ValueError, match="Unknown stimulus set 'plaid'"):
        stimuli.make_stimuli("plaid", grey())
    with pytest.raises(ValueError, match="shape"):
        stimuli.make_stimuli("just_angle", np.zeros((32, 32)))
    with pytest.raises(ValueError, match="non-finite"):
        stimuli.make_stimuli("just_angle", grey(level=np.nan))
    with pytest.raises(ValueError, match="above 0"):
        stimuli.gabor(0.0, 1.0, sigma=0.0)


def test_michelson_contrast_of_known_images():
    images = np.stack([np.full((4, 4, 1), 0.5), np.zeros((4, 4, 1))]).astype(np.float32)
    images[0, 0, 0] = 0.1
    assert np.allclose(stimuli.michelson_contrast(images), [0.4 / 0.6, 0.0])
    assert np.allclose(stimuli.michelson_contrast(images, window=2), [0.0, 0.0])
    with pytest.raises(ValueError, match="as_presented"):
        stimuli.michelson_contrast(images - 1)


def test_michelson_contrast_grows_with_the_contrast_of_the_set():
    made = stimuli.make_stimuli("contrast_and_angle", grey())
    measured = stimuli.michelson_contrast(stimuli.as_presented(made.images))[:8]
    assert measured[0] == 0
    assert (np.diff(measured) >= 0).all()
    assert measured[-1] > 0.5


def test_as_presented_keeps_eight_bits():
    images = np.linspace(-0.5, 1.5, 64, dtype=np.float32).reshape(1, 8, 8, 1)
    shown = stimuli.as_presented(images)
    assert shown.min() == 0
    assert shown.max() == 1
    assert np.allclose(shown * 255, np.rint(shown * 255), atol=1e-4)
    assert np.abs(shown - np.clip(images, 0, 1)).max() <= 0.5 / 255 + 1e-6


def test_contact_sheet_is_a_png(tmp_path):
    made = stimuli.make_stimuli("just_angle_few_angles", grey(), angles=4, repeats=2)
    path = stimuli.write_contact_sheet(made, tmp_path / "sheets" / "few.png")
    assert path.read_bytes()[:4] == b"\x89PNG"
    assert path.stat().st_size > 1000
