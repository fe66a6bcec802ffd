"""The deposit's MATLAB files, written here in their layout, give what an .npz file of the same content gives."""

import sys

import numpy as np
import pytest
import scipy.io

from runtime.errors import ConfigError
from v1models import deposit, repeats

ZOOMS, MOVIES, FRAMES, SIDE = 2, 4, 4, 8
SHAPE = (ZOOMS, 3, MOVIES, FRAMES)
CONTRAST = (2, 4)  # movies, numbered from 1, of which there are contrast sequences at the first zoom
UNITS = {"ay1_u001": 3, "ay1_u002": 2}
REPEATS = {"ay1_u001": 5, "ay1_u002": 4}


def name(zoom, category, movie, frame):
    """The path of the image at these places, all from 0; '' where there is none. Synthetic ends are natural."""
    kind = deposit.CATEGORIES[category]
    if kind == "contrast" and (zoom or movie + 1 not in CONTRAST):
        return ""
    if (kind == "synthetic" and frame in (0, FRAMES - 1)) or (kind == "contrast" and frame == FRAMES - 1):
        kind, frame = "natural", 0 if kind == "contrast" else frame
    return f"/stimulus/stimSelected-zoom{zoom + 1}x/movie{movie + 1:02}-a1b/{kind}{frame + 1:02}.png"


@pytest.fixture(scope="module")
def content():
    """Images by what they show, counts by session and place, and the stimulus file's two arrays."""
    rng = np.random.default_rng(0)
    gray = {}
    paths = np.empty(SHAPE, object)
    matrix = np.zeros((*SHAPE[:3], SIDE, SIDE, FRAMES))
    for place in np.ndindex(SHAPE):
        paths[place] = name(*place)
        if paths[place]:
            # Averages over 2×2 pixels lie a quarter above a whole gray level: no rounding hangs on the last digit.
            image = np.kron(rng.integers(0, 253, (4, 4)), np.ones((2, 2))) + np.tile([[0, 1], [1, 3]], (4, 4))
            image = gray.setdefault(paths[place], image)
            matrix[(*place[:3], slice(None), slice(None), place[3])] = image / 255
    counts = {}
    for session, units in UNITS.items():
        each = rng.poisson(3, (*SHAPE, units, REPEATS[session])).astype(float)
        each[rng.random(each.shape) < 0.1] = np.nan
        unseen = [place for place in np.ndindex(SHAPE) if deposit.CATEGORIES[place[1]] not in paths[place]]
        each[tuple(np.transpose(unseen))] = np.nan
        each[1, 0, 3] = np.nan  # a movie that neither session was shown at the second zoom
        counts[session] = each
    return gray, matrix, paths, counts


def write(folder, content, order=(0, 1, 2), save=scipy.io.savemat, **changes):
    """Writes the files; `order` is of the stimulus file's categories."""
    _, matrix, paths, counts = content
    (folder / "stimulus").mkdir()
    (folder / "V1_responses").mkdir()
    stimuli = {"stim_matrix": matrix[:, order], "image_paths": paths[:, order], **changes.pop("stimuli", {})}
    save(folder / "stimulus" / "stim_matrix.mat", stimuli)
    for session, each in counts.items():
        struct = {"sortedResponses": each, "num_units": each.shape[4], "cortical_area": "V1", **changes}
        save(folder / "V1_responses" / f"{session}_image_sequences.mat", {"naturalStruct": struct})
    return folder


def expected(content, path):
    """Writes the same content as an .npz file, image after image, with nothing of what is tested."""
    gray, _, _, counts = content
    images, meta, trials = [], [], {session: [] for session in counts}
    for zoom in range(ZOOMS):
        for movie in range(MOVIES):
            for category in range(3):
                for frame in range(FRAMES):
                    here = name(zoom, category, movie, frame)
                    if deposit.CATEGORIES[category] not in here or (zoom, category, movie) == (1, 0, 3):
                        continue
                    images.append(np.round(gray[here].reshape(4, 2, 4, 2).mean((1, 3))))
                    meta.append((zoom + 1, movie + 1, category, frame + 1))
                    for session, each in counts.items():
                        trials[session].append(np.nan_to_num(each[zoom, category, movie, frame].T, nan=-1))
    np.savez(
        path, images128=np.array(images, np.uint8), meta=np.array(meta, np.int16), sessions=np.array(list(counts)),
        meta_columns=["zoom(1|2)", "movie(1..10)", "category", "frame"],
        **{f"counts_{session}": np.array(each, np.int8) for session, each in trials.items()},
    )  # fmt: skip
    return path


def write_hdf5(path, variables):
    """A file of MATLAB's version 7.3: axes reversed, texts as numbers, cells as references, structs as groups."""
    h5py = pytest.importorskip("h5py")

    def put(group, label, value):
        if isinstance(value, dict):
            inner = group.create_group(label)
            for key, each in value.items():
                put(inner, key, each)
        elif isinstance(value, np.ndarray) and value.dtype == object:
            cells = np.empty(value.shape[::-1], h5py.ref_dtype)
            for number, place in enumerate(np.ndindex(value.shape)):
                put(group.file.require_group("#refs#"), f"{label}{number}", value[place])
                cells[place[::-1]] = group.file["#refs#"][f"{label}{number}"].ref
            group[label] = cells
        elif isinstance(value, str):
            group[label] = np.array([[ord(letter)] for letter in value], np.uint16) if value else np.zeros(2, np.uint64)
            if not value:
                group[label].attrs["MATLAB_empty"] = 1
        else:
            group[label] = np.atleast_2d(value).T

    with h5py.File(path, "w", userblock_size=512) as file:
        for label, value in variables.items():
            put(file, label, value)
    with open(path, "r+b") as file:  # what MATLAB puts before the HDF5
        file.write(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0)])
@pytest.mark.parametrize("save", [scipy.io.savemat, write_hdf5])
def test_a_folder_gives_what_an_npz_of_the_same_content_gives(content, tmp_path, order, save):
    arrays = deposit.read_deposit(write(tmp_path, content, order, save), side=4)
    with np.load(expected(content, tmp_path / "same.npz")) as same:
        assert len(arrays["meta"]) == ZOOMS * MOVIES * (FRAMES + FRAMES - 2) + len(CONTRAST) * (FRAMES - 1) - FRAMES
        assert {*arrays} == {*same.files}
        for label in {*arrays} - {"meta_columns"}:
            np.testing.assert_array_equal(arrays[label], same[label], err_msg=label)
        found, wanted = repeats.henaff(arrays), repeats.henaff(same)
    for one, other in zip(found, wanted, strict=True):
        np.testing.assert_array_equal(one, other)


def test_a_folder_is_read_where_a_file_is_expected_and_recordings_are_chosen(content, tmp_path):
    gray, matrix, paths, counts = content
    large = matrix.repeat(16, axis=3).repeat(16, axis=4)
    folder = write(tmp_path, (gray, large, paths, counts))
    found = repeats.load_repeats(folder)
    assert found.images.shape[1:] == (128, 128, 1)
    assert found.recordings.tolist() == ["ay1_u001"] * 3 + ["ay1_u002"] * 2
    assert np.unique(found.groups).tolist() == [1, 2, 3, 4]
    one = repeats.load_repeats(folder, ("ay1_u002",))
    np.testing.assert_array_equal(one.trials, found.trials[:, :, 3:])
    with pytest.raises(ConfigError, match="holds no recording 'ay1_u003' .did you mean"):
        repeats.load_repeats(folder, ("ay1_u003",))


def test_contrast_sequences_that_are_numbered_are_matched_in_order(content, tmp_path):
    gray, matrix, paths, counts = content
    moved = {}
    for session, each in counts.items():
        moved[session] = each.copy()
        moved[session][:, 2] = np.nan
        for number, movie in enumerate(CONTRAST):
            moved[session][:, 2, number] = each[:, 2, movie - 1]
    (tmp_path / "moved").mkdir()
    (tmp_path / "placed").mkdir()
    found = deposit.read_deposit(write(tmp_path / "moved", (gray, matrix, paths, moved)), 4)
    wanted = deposit.read_deposit(write(tmp_path / "placed", content), 4)
    for label in wanted:
        np.testing.assert_array_equal(found[label], wanted[label], err_msg=label)
    for each in moved.values():
        each[0, 2, 2] = 1.0  # three sequences for images of two movies
    (tmp_path / "more").mkdir()
    with pytest.raises(ConfigError, match="which belong together cannot be told"):
        deposit.read_deposit(write(tmp_path / "more", (gray, matrix, paths, moved)), 4)


def test_units_without_any_trial_are_left_out(content, tmp_path):
    gray, matrix, paths, counts = content
    silent = {session: each.copy() for session, each in counts.items()}
    silent["ay1_u001"][..., 1, :] = np.nan
    silent["ay1_u002"][:] = np.nan
    found = deposit.read_deposit(write(tmp_path, (gray, matrix, paths, silent)), 4)
    assert found["sessions"].tolist() == ["ay1_u001"] and found["counts_ay1_u001"].shape[2] == 2


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stimuli": {"stim_matrix": np.zeros((2, 3, 4, 8, 8))}}, "stim_matrix has shape"),
        ({"stimuli": {"image_paths": np.full(SHAPE, "a.png", object)}}, "no entry of image_paths names an image"),
        ({"stimuli": {"stim_matrix": np.zeros((*SHAPE[:3], 6, 6, FRAMES))}}, "cannot be averaged to 4x4"),
        ({"stimuli": {"stim_matrix": np.full((*SHAPE[:3], 8, 8, FRAMES), np.nan)}}, "pixels that are not finite"),
        ({"sortedResponses": np.ones(SHAPE)}, "sortedResponses has shape"),
        ({"sortedResponses": np.ones((*SHAPE, 4, 3))}, "but num_units is"),
        ({"sortedResponses": np.ones((2, 3, 3, 4, 1, 2)), "num_units": 1}, "images up to zoom 2, movie 4 and frame 4"),
        ({"sortedResponses": np.full((*SHAPE, 1, 2), 0.5), "num_units": 1}, "not spike counts"),
        ({"sortedResponses": np.full((*SHAPE, 1, 2), np.nan), "num_units": 1}, "no image of stim_matrix.mat has"),
        ({"sortedResponses": "no"}, "sortedResponses has shape"),
    ],
)
def test_files_of_another_layout_are_refused(content, tmp_path, changes, message):
    with pytest.raises(ConfigError, match=message) as caught:
        deposit.read_deposit(write(tmp_path, content, **changes), 4)
    assert "\n" not in str(caught.value)


def test_missing_and_unreadable_files_are_named(content, tmp_path, monkeypatch):
    with pytest.raises(ConfigError, match="holds no stim_matrix.mat; give the folder of the deposit"):
        deposit.read_deposit(tmp_path, 4)
    folder = write(tmp_path, content)
    responses = folder / "V1_responses" / "ay1_u001_image_sequences.mat"
    for other in (b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM" + bytes(400), b"no", bytes(300)):
        responses.write_bytes(other)
        with pytest.raises(ConfigError, match="is not a readable MATLAB file .*; download it again"):
            deposit.read_deposit(folder, 4)
    (folder / "copy").mkdir()
    scipy.io.savemat(folder / "copy" / responses.name, {"naturalStruct": {"sortedResponses": content[3]["ay1_u001"]}})
    scipy.io.savemat(responses, {"naturalStruct": {"sortedResponses": content[3]["ay1_u001"]}})
    with pytest.raises(ConfigError, match="holds files of one session twice"):
        deposit.read_deposit(folder, 4)
    scipy.io.savemat(folder / "copy" / "ay1_u003_image_sequences.mat", {"other": 1})
    (folder / "copy" / responses.name).unlink()
    with pytest.raises(ConfigError, match="holds no array naturalStruct.sortedResponses"):
        deposit.read_deposit(folder, 4)
    responses.write_bytes(b"MATLAB 7.3 MAT-file".ljust(124) + b"\x00\x02IM")
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(ConfigError, match="version 7.3, which is HDF5; install h5py"):
        deposit.read_deposit(folder, 4)
    for path in folder.rglob("*_image_sequences.mat"):
        path.unlink()
    with pytest.raises(ConfigError, match="holds no SESSION_image_sequences.mat"):
        deposit.read_deposit(folder, 4)
