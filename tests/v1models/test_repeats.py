"""Recordings with repeats: what is read, what is refused, and what is never split."""

import numpy as np
import pytest

from runtime.errors import ConfigError
from v1models import cores, repeats, ridge


def arrays(images=12, units=3, trials=4, size=8):
    rng = np.random.default_rng(0)
    return {
        "images": rng.integers(0, 255, (images, size, size), np.uint8),
        "trials": rng.poisson(3, (trials, images, units)).astype(np.int16),
        "groups": np.repeat(np.arange(images // 2), 2),
    }


def write(folder, **changes):
    path = folder / "recording.npz"
    np.savez(path, **{name: value for name, value in {**arrays(), **changes}.items() if value is not None})
    return path


def test_a_file_is_read_with_missing_trials(tmp_path):
    trials = arrays()["trials"]
    trials[1:, 0, 0] = -1
    trials[:, 1, 1] = -1
    found = repeats.load_repeats(write(tmp_path, trials=trials))
    assert found.images.shape == (12, 8, 8, 1)
    assert found.average[0, 0] == trials[0, 0, 0]
    assert np.isnan(found.average[1, 1])
    assert not found.shown[1, 1]
    np.testing.assert_allclose(found.average[2], trials[:, 2].mean(0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"groups": None}, "lacks groups"),
        ({"groups": np.zeros(5, int)}, "groups have shape"),
        ({"trials": np.zeros((4, 5, 3))}, "trials have shape"),
        ({"images": np.zeros((12, 8))}, "images have shape"),
        ({"trials": np.full((4, 12, 3), np.inf)}, "not finite"),
        ({"trials": np.full((4, 12, 3), -1)}, "unit 0 has no trial"),
        ({"categories": np.zeros(3)}, "categories have shape"),
    ],
)
def test_what_does_not_fit_is_named(tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message):
        repeats.load_repeats(write(tmp_path, **changes))


def test_files_that_are_none_are_refused(tmp_path):
    with pytest.raises(ConfigError, match="does not exist"):
        repeats.load_repeats(tmp_path / "nothing.npz")
    (tmp_path / "text.npz").write_text("no")
    with pytest.raises(ConfigError, match="not a readable"):
        repeats.load_repeats(tmp_path / "text.npz")


def test_folds_keep_groups_whole_and_test_every_image_once():
    groups = np.repeat(np.arange(10), 4)[np.random.default_rng(0).permutation(40)]
    made = repeats.folds(groups, 5)
    assert sorted(np.concatenate([fold.test for fold in made])) == list(range(40))
    for fold in made:
        parts = [set(groups[rows]) for rows in fold]
        assert not parts[0] & parts[1] | parts[0] & parts[2] | parts[1] & parts[2]
        assert sum(map(len, fold)) == 40
    with pytest.raises(ConfigError, match="11 folds"):
        repeats.folds(groups, 11)


def test_movies_are_read_clip_by_clip(tmp_path):
    rng = np.random.default_rng(0)
    clips = np.stack(
        [rng.normal(0, 20, (4, 8, 8)), 127.0 * rng.integers(0, 2, (4, 8, 8)), rng.normal(128, 40, (4, 8, 8))]
    )
    early, late = rng.integers(0, 5, (8, 2)), rng.integers(0, 5, (12, 3))
    file = {"clips": clips.astype(np.int16), "clip_slot": ["est1", "est0", "pred2"], "neurons": ["a_1_Ch4"]}
    np.savez(
        tmp_path / "cat.npz", **file, a_1_Ch4_est=early.astype(np.int8), a_1_Ch4_pred=late.astype(np.int8)
    )
    found = repeats.load_repeats(tmp_path / "cat.npz")
    assert found.groups.tolist() == [0] * 4 + [2] * 4  # the middle clip is saturated
    np.testing.assert_array_equal(found.trials[:2, :4, 0], early[4:].T)
    np.testing.assert_array_equal(found.trials[:, 4:, 0], late[8:].T)
    assert np.isnan(found.trials[2, :4]).all() and found.recordings.tolist() == ["a_1"]
    np.testing.assert_allclose(found.images.reshape(2, -1).std(1), 1, rtol=1e-5)


def test_frames_before_stay_in_their_group():
    rows = repeats.frames_before(np.array([5, 5, 5, 2, 2]), 3)
    assert rows.tolist() == [[0, 0, 0], [1, 0, 0], [2, 1, 0], [3, 3, 3], [4, 3, 3]]
    with pytest.raises(ConfigError, match="do not follow each other"):
        repeats.frames_before(np.array([1, 2, 1]), 2)


def test_ridge_regression_is_the_same_by_images_and_by_features():
    """With more images than features and with fewer: the normal equations, solved directly."""
    rng = np.random.default_rng(0)
    for count, size in ((40, 6), (12, 30)):
        features, responses = rng.normal(size=(count, size)), rng.normal(size=(count, 2))
        train, test = np.arange(count - 4), np.arange(count - 4, count)
        found = ridge.predict(features, responses, train, test, (0.3,))[0]
        x = (features - features[train].mean(0)) / features[train].std(0)
        level = responses[train].mean(0)
        matrix = x[train].T @ x[train] / size + 0.3 * np.eye(size)
        expected = x[test] @ np.linalg.solve(matrix, x[train].T @ (responses[train] - level) / size) + level
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_shrinking_averages_blocks():
    image = np.arange(16.0).reshape(1, 4, 4, 1)
    np.testing.assert_allclose(repeats.shrink(image, 2)[0, 0, 0, 0], image[0, :2, :2].mean())
    with pytest.raises(ConfigError, match="cannot be averaged"):
        repeats.shrink(image, 3)


@pytest.mark.parametrize("bank", [cores.steerable_filters, cores.gabor_filters])
def test_filters_prefer_gratings_of_their_orientation_and_ignore_phase_and_constants(bank):
    size, orientations = 32, 4
    filters = bank(size, scales=2, orientations=orientations)
    x, y = np.meshgrid(np.arange(size), np.arange(size))
    best = []
    for index in range(orientations):
        angle = np.pi * index / orientations
        phases = [0.25 * 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) + shift for shift in (0, 1.3)]
        energy = cores.energy_maps(np.cos(phases), filters, 1, "power")[:, 0, 0]
        np.testing.assert_allclose(energy[0].max(), energy[1].max(), rtol=0.1)
        best.append(int(energy[0].argmax()) % orientations)
    assert best == list(range(orientations))
    assert cores.energy_maps(np.ones((1, size, size)), filters, 1, "power").max() < 1e-9


def test_features_of_a_file_belong_to_the_images(tmp_path):
    np.savez(tmp_path / "features.npz", features=np.ones((5, 3)))
    assert cores.read_features(tmp_path / "features.npz", 5).shape == (5, 1, 1, 3)
    with pytest.raises(ConfigError, match="5 images, and the recording has 6"):
        cores.read_features(tmp_path / "features.npz", 6)


def test_ridge_equals_its_normal_equations_and_leaves_out_what_was_not_shown():
    rng = np.random.default_rng(0)
    features, responses = rng.normal(size=(30, 5)), rng.normal(size=(30, 2))
    responses[3, 1] = np.nan
    train, test = np.arange(20), np.arange(20, 30)
    found = ridge.predict(features, responses, train, test, (0.3,))[0]
    scaled = (features - features[train].mean(0)) / features[train].std(0)
    for unit in range(2):
        rows = train[np.isfinite(responses[train, unit])]
        # The intercept is the mean response; weights solve (XᵀX/d + λ) w = Xᵀ(y − ȳ)/d.
        x, y = scaled[rows], responses[rows, unit] - responses[rows, unit].mean()
        weights = np.linalg.solve(x.T @ x / 5 + 0.3 * np.eye(5), x.T @ y / 5)
        expected = scaled[test] @ weights + responses[rows, unit].mean()
        np.testing.assert_allclose(found[:, unit], expected, rtol=1e-8)


def test_strengths_are_chosen_without_the_test_rows():
    rng = np.random.default_rng(1)
    features = rng.normal(size=(60, 8))
    responses = features @ rng.normal(size=(8, 3)) + 0.1 * rng.normal(size=(60, 3))
    groups = np.repeat(np.arange(10), 6)
    fold = repeats.folds(groups, 5)[0]
    found, chosen = ridge.fit_predict(features, responses, fold, groups)
    responses[fold.test] = rng.normal(size=responses[fold.test].shape)
    again, same = ridge.fit_predict(features, responses, fold, groups)
    np.testing.assert_array_equal(found, again)
    np.testing.assert_array_equal(chosen, same)
