"""A file is whole or not there, whatever happens while it is written, and a full disk is said in one sentence.

`/dev/full` refuses every byte as a full disk does: a link of that name beside the file makes the write fail for real.
"""

import json

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from runtime.errors import clear_errors
from runtime.files import WriteError, atomic_write, write_arrays, write_figure, write_json, write_text


def test_content_arrives_and_nothing_else_stays(tmp_path):
    folder = tmp_path / "new" / "folder"
    write_text(folder / "a.txt", "früh\n")
    write_json(folder / "b.json", {"x": [1, 2.5, None]}, indent=2)
    for name, compress in (("c.npz", False), ("d.npz", True)):
        write_arrays(folder / name, {"x": np.arange(3), "layer/y": np.ones((2, 0))}, compress)
    assert (folder / "a.txt").read_text(encoding="utf-8") == "früh\n"
    assert json.loads((folder / "b.json").read_text()) == {"x": [1, 2.5, None]}
    for name in ("c.npz", "d.npz"):
        with np.load(folder / name) as arrays:
            np.testing.assert_array_equal(arrays["x"], [0, 1, 2])
            assert arrays["layer/y"].shape == (2, 0)
    assert sorted(path.name for path in folder.iterdir()) == ["a.txt", "b.json", "c.npz", "d.npz"]


def test_figures_are_written_in_the_format_of_their_name(tmp_path):
    figure = Figure(figsize=(1, 1))
    write_figure(tmp_path / "figure.png", figure)
    write_figure(tmp_path / "figure.svg", figure)
    assert matplotlib.image.imread(tmp_path / "figure.png").shape == (110, 110, 4)
    assert "<svg" in (tmp_path / "figure.svg").read_text()


def test_a_failing_block_leaves_what_was_there(tmp_path):
    path = tmp_path / "table.csv"
    path.write_text("before")

    def fail():
        with atomic_write(path) as incomplete:
            incomplete.write_text("half")
            assert path.read_text() == "before"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fail()
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("table.csv", "before")]
    with pytest.raises(ValueError, match="not JSON compliant"):
        write_json(path, float("nan"), allow_nan=False)
    assert path.read_text() == "before"


@pytest.mark.parametrize("write", [
    lambda path: write_text(path, "x" * 100_000),
    lambda path: write_json(path, list(range(10_000))),
    lambda path: write_arrays(path, {"x": np.zeros(10_000)}),
    lambda path: write_figure(path, Figure(figsize=(1, 1))),
], ids=["text", "json", "arrays", "figure"])  # fmt: skip
def test_full_disk_is_one_sentence_and_the_former_file_stays(tmp_path, write):
    path = tmp_path / "file.png"
    path.write_text("before")
    (tmp_path / "file.png.incomplete").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"file\.png cannot be written: the disk is full \(\d+ MiB are free\); mend"):
        write(path)
    assert [(each.name, each.read_text()) for each in tmp_path.iterdir()] == [("file.png", "before")]


def test_folder_that_cannot_be_made_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(WriteError, match=r"file/a\.txt cannot be written: (Not a directory|File exists)"):
        write_text(tmp_path / "file" / "a.txt", "x")


def test_full_disk_anywhere_ends_a_program_with_one_sentence(capsys):
    with pytest.raises(SystemExit) as ended, clear_errors(), open("/dev/full", "w") as stream:
        stream.write("x" * 100_000)
    assert ended.value.code == 1
    said = capsys.readouterr().err
    assert said.startswith("error: the disk is full") and said.count("\n") == 1
