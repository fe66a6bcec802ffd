"""Recordings: complete block by block, resumed after a kill, refused when torn."""

import json
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from recordings.format import Array, RecordingError, Schema, mark_files
from recordings.reading import Recording, list_recordings, open_recording
from recordings.writing import Writer
from tests.conftest import REPOSITORY

STIMULI, STEPS = 5, 25


def schema(**about) -> Schema:
    arrays = {
        "state/1": Array(("time", "stimulus", "height", "channel"), (STEPS, STIMULI, 3, 2), "float32", steps=10),
        "short": Array(("time", "stimulus", "channel"), (STEPS, STIMULI, 4), "float16"),
        "mean": Array(("stimulus", "channel"), (STIMULI, 4), "float32"),
    }
    return Schema(arrays, STIMULI, 2, about)


def contents(seed: int = 0) -> dict[str, np.ndarray]:
    draw = np.random.default_rng(seed)
    values = {name: draw.normal(size=a.shape).astype(a.dtype) for name, a in schema().arrays.items()}
    # A chunk of zeros must have a file as well.
    values["state/1"][:10, 2:4] = 0.0
    return values


def write_block(writer: Writer, block: int, values: dict[str, np.ndarray], parts: int = 10) -> None:
    here = writer.schema.stimuli_of(block)
    for start in range(0, STEPS, parts):
        for name in ("state/1", "short"):
            writer.write(block, name, values[name][start : start + parts, here], start)
    writer.write(block, "mean", values["mean"][here])
    writer.finish(block)


@pytest.fixture
def whole(tmp_path):
    with Writer(tmp_path / "recordings" / "angles", schema(seed=1), max_pending=64) as writer:
        assert writer.missing() == [0, 1, 2]
        for block in writer.missing():
            write_block(writer, block, contents())
    return tmp_path


def test_what_was_written_is_read(whole):
    recording = open_recording(whole, "angles")
    assert recording.about == {"seed": 1} and recording.missing() == [] and set(recording.names()) == set(contents())
    for name, values in contents().items():
        read = recording.read(name)
        assert read.dtype == values.dtype
        np.testing.assert_array_equal(read, values)
    state = contents()["state/1"]
    np.testing.assert_array_equal(recording.read("state/1", time=slice(5, 12), stimulus=3), state[5:12, 3])
    some = recording.read("state/1", stimulus=[4, 0], height=np.array([2, 0]), channel=-1)
    np.testing.assert_array_equal(some, state[:, [4, 0]][:, :, [2, 0], -1])


def test_a_block_without_mark_is_refused_and_written_again(tmp_path):
    values, folder = contents(), tmp_path / "angles"
    with Writer(folder, schema()) as writer:
        write_block(writer, 0, values)
        writer.write(1, "mean", values["mean"][2:4] + 1)  # the rest of block 1 never comes
    recording = Recording(folder)
    np.testing.assert_array_equal(recording.read("mean", stimulus=slice(0, 2)), values["mean"][:2])
    with pytest.raises(RecordingError, match=r"block 1 \(stimuli 2 to 3\) .* was never finished"):
        recording.read("mean", stimulus=[0, 3])
    with Writer(folder, schema()) as writer:
        assert writer.missing() == [1, 2]
        for block in writer.missing():
            write_block(writer, block, values, parts=7)
    np.testing.assert_array_equal(Recording(folder).read("mean"), values["mean"])
    np.testing.assert_array_equal(Recording(folder).read("short"), values["short"])


@pytest.mark.parametrize("harm", ["lost", "cut", "altered"])
def test_a_torn_block_is_named(whole, harm):
    path = whole / "recordings" / "angles" / "arrays" / "state/1" / "1.1.0.0"
    content = path.read_bytes()
    if harm == "lost":
        path.unlink()
    elif harm == "cut":
        path.write_bytes(content[:-1])
    else:
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    recording = open_recording(whole, "angles")
    word = {"lost": "is missing", "cut": "bytes instead of", "altered": "other content"}[harm]
    with pytest.raises(RecordingError, match=f"block 1 .* is damaged: file arrays/state/1/1.1.0.0 .*{word}"):
        recording.read("mean", stimulus=2)
    recording.read("state/1", stimulus=[0, 1, 4])
    with Writer(recording.folder, schema(seed=1)) as writer:
        assert writer.missing() == [1]
        write_block(writer, 1, contents())
    np.testing.assert_array_equal(open_recording(whole, "angles").read("state/1"), contents()["state/1"])


def test_another_version_or_schema_or_name_is_refused(whole):
    folder = whole / "recordings" / "angles"
    with pytest.raises(RecordingError, match=r"its about was \{\"seed\": 1\} and is \{\"seed\": 2\}"):
        Writer(folder, schema(seed=2))
    with pytest.raises(RecordingError, match="no recording 'angle'.*did you mean 'angles'"):
        open_recording(whole, "angle")
    with pytest.raises(RecordingError, match="no array 'state/2'.*did you mean 'state/1'"):
        Recording(folder).read("state/2")
    with pytest.raises(RecordingError, match="no dimension 'times'"):
        Recording(folder).read("mean", times=3)
    assert list_recordings(whole) == ["angles"] and list_recordings(whole / "nowhere") == []
    description = folder / "recording.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"version": 99}))
    with pytest.raises(RecordingError, match="version 99, and this program reads version 1 and 2"):
        Recording(folder)
    description.write_text("{")
    with pytest.raises(RecordingError, match="is damaged"):
        Recording(folder)


def as_version_1(folder):
    """Turn a recording into what the first version wrote."""
    description = folder / "recording.json"
    description.write_text(json.dumps(json.loads(description.read_text()) | {"version": 1}))
    for path in mark_files(folder):
        files = json.loads(path.read_text())["body"]["files"]
        old = {name: [file["size"], file["sha256"]] for name, file in files.items()}
        path.write_text(json.dumps({"block": int(path.stem), "files": old}))


def test_recordings_of_version_1_are_read_and_gone_on_with(whole):
    folder = whole / "recordings" / "angles"
    as_version_1(folder)
    for name, values in contents().items():
        np.testing.assert_array_equal(Recording(folder).read(name), values)
    mark_files(folder)[1].unlink()
    with Writer(folder, schema(seed=1, measured=[0.5])) as writer:  # the first version measured nothing
        assert writer.missing() == [1]
        write_block(writer, 1, contents())
    assert Recording(folder).missing() == [] and Recording(folder).about == {"seed": 1}
    with pytest.raises(RecordingError, match="its about was"):
        Writer(folder, schema(seed=2, measured=[0.5]))
    mark_files(folder)[0].write_text("{")
    with pytest.raises(RecordingError, match="block 0 .* has a damaged mark"):
        Recording(folder).read("mean")


def test_size_is_counted_from_the_marks(whole):
    folder = whole / "recordings" / "angles"
    size = sum(path.stat().st_size for path in (folder / "arrays").rglob("*.*") if not path.name.startswith(".z"))
    (folder / "arrays" / "mean" / "0.0.__lock").write_bytes(b"vanishes at any moment")
    with Writer(folder, schema(seed=1)) as writer:
        assert writer.bytes_on_disk() == 0 and writer.missing() == [] and writer.bytes_on_disk() == size
        write_block(writer, 2, contents(1))
        writer.close()
        assert writer.bytes_on_disk() > 0.5 * size


def test_what_cannot_be_stored_is_refused(tmp_path):
    with Writer(tmp_path / "angles", schema()) as writer:
        with pytest.raises(RecordingError, match="1e\\+05, too large for float16"):
            writer.write(0, "short", np.full((5, 2, 4), 1e5, np.float32))
        with pytest.raises(RecordingError, match="not finite: the chains diverged"):
            writer.write(0, "mean", np.full((2, 4), np.nan))
        with pytest.raises(ValueError, match="block 2: values have shape"):
            writer.write(2, "mean", np.zeros((2, 4)))
        writer.write(0, "mean", np.zeros((2, 4)))
        with pytest.raises(RecordingError, match="0 of 25 steps were written"):
            writer.finish(0)
    with pytest.raises(ValueError, match="not that of 3 stimuli"):
        Schema({"a": Array(("stimulus",), (4,), "float32")}, 3, 1, {})


KILLED = """
import sys, time, numpy as np
from recordings.writing import Writer
from tests.recordings.test_recordings import contents, schema, write_block
with Writer(sys.argv[1], schema()) as writer:
    for block in writer.missing():
        write_block(writer, block, contents())
        print(block, flush=True)
        time.sleep(float(sys.argv[2]))
"""


def test_kill_loses_only_blocks_in_work(tmp_path):
    command = [sys.executable, "-c", KILLED, str(tmp_path / "angles")]
    run = subprocess.Popen([*command, "30"], cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
    assert run.stdout.readline() == "0\n"
    deadline = time.monotonic() + 20
    while Recording(tmp_path / "angles").missing() != [1, 2] and time.monotonic() < deadline:
        time.sleep(0.05)
    run.send_signal(signal.SIGKILL)
    run.wait()
    again = subprocess.run([*command, "0"], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    assert again.stdout.split() == ["1", "2"]
    for name, values in contents().items():
        np.testing.assert_array_equal(Recording(tmp_path / "angles").read(name), values)
