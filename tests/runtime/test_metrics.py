"""Metrics are read as they were written, through kills and resumes, and bad numbers are named."""

import io
import json
import math
from typing import NamedTuple

import numpy as np
import pytest

from runtime import metrics
from runtime.errors import ConfigError
from runtime.metrics import MetricsWriter, NonFiniteError, Progress, check_finite, read_metrics


def write(workdir, steps, resume_step=None, **values):
    with MetricsWriter(workdir, resume_step) as writer:
        for step in steps:
            writer.write(step, {"loss": float(step), **values})


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


class Energies(NamedTuple):
    positive: float
    negative: float


def test_what_is_written_is_read(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(10, {"energy": Energies(-1.5, np.float32(2.5)), "rate": {"layer": (0.1, 0.2)}, "on": True})
        writer.write(10, {"test": {"error": np.array([3.0])}})
        writer.write(20, {"energy": Energies(math.nan, -math.inf), "gradient": np.arange(4.0), "none": np.zeros(0)})
    table = read_metrics(tmp_path)
    assert list(table.index) == [10, 20]
    assert table.loc[10, "energy/positive"] == -1.5
    assert table.loc[10, "rate/layer/1"] == 0.2
    assert table.loc[10, "test/error"] == 3.0
    assert math.isnan(table.loc[20, "energy/positive"])
    assert table.loc[20, "energy/negative"] == -math.inf
    assert (table.loc[20, "gradient/mean"], table.loc[20, "gradient/std"]) == (1.5, np.arange(4.0).std())
    strict = (tmp_path / "metrics.jsonl").read_text()
    assert "NaN" not in strict
    assert "Infinity" not in strict


def test_resumed_run_supersedes_later_steps_and_loses_none(tmp_path):
    write(tmp_path, range(1, 8), run=1)
    write(tmp_path, range(5, 7), resume_step=4, run=2)
    table = read_metrics(tmp_path)
    assert list(table.index) == [1, 2, 3, 4, 5, 6]
    assert list(table["run"]) == [1, 1, 1, 1, 2, 2]
    superseded = lines(tmp_path / "metrics.superseded.jsonl")
    assert [(line["step"], line["run"]) for line in superseded] == [(5, 1), (6, 1), (7, 1)]
    write(tmp_path, [1], run=3)
    assert list(read_metrics(tmp_path)["run"]) == [3]
    assert len(lines(tmp_path / "metrics.superseded.jsonl")) == 9


@pytest.mark.parametrize("torn", ['{"step": 4, "lo', '{"step": 4, "loss": 1.0}', "\0\0\0"])
def test_line_cut_short_by_a_kill_is_dropped(tmp_path, torn):
    write(tmp_path, [1, 2, 3])
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write(torn)
    assert list(read_metrics(tmp_path).index) == [1, 2, 3]
    write(tmp_path, [4], resume_step=3)
    assert [line["step"] for line in lines(tmp_path / "metrics.jsonl")] == [1, 2, 3, 4]


def test_damage_elsewhere_is_reported(tmp_path):
    with pytest.raises(ConfigError, match=r"holds no metrics\.jsonl"):
        read_metrics(tmp_path)
    write(tmp_path, [1, 2])
    text = (tmp_path / "metrics.jsonl").read_text()
    (tmp_path / "metrics.jsonl").write_text(text.replace("{", "", 1))
    with pytest.raises(ConfigError, match="damaged"):
        read_metrics(tmp_path)


def test_tensorboard_gets_the_same_values(tmp_path, monkeypatch):
    calls = []

    class Recorder:
        def __init__(self, folder, purge_step):
            calls.append(("purge", purge_step))

        def add_scalar(self, name, value, step):
            calls.append((name, value, step))

        def add_histogram(self, name, array, step):
            calls.append((name, array.shape, step))

        def close(self):
            calls.append("closed")

    monkeypatch.setattr(metrics, "SummaryWriter", Recorder)
    with MetricsWriter(tmp_path, resume_step=6) as writer:
        writer.write(7, {"loss": 0.5, "states": np.ones((2, 3)), "broken": np.array([1.0, math.nan])})
    assert calls == [
        ("purge", 7),
        ("loss", 0.5, 7),
        ("states", (2, 3), 7),
        "closed",
    ]


def test_tensorboard_files_are_made(tmp_path):
    with MetricsWriter(tmp_path) as writer:
        writer.write(1, {"loss": 0.5, "states": np.ones((2, 3))})
    (events,) = (tmp_path / "tensorboard").iterdir()
    assert events.stat().st_size > 200


def test_first_quantity_that_is_not_finite_is_named():
    check_finite(3, {"a": 1.0, "b": {"c": np.ones(3)}, "n": 4})
    with pytest.raises(NonFiniteError, match=r"^step 3: b/c\[1\] is inf$"):
        check_finite(3, {"a": 1.0, "b": {"c": np.array([1.0, np.inf, np.nan])}, "d": math.nan})
    with pytest.raises(NonFiniteError, match=r"^step 9: energy/negative is nan$"):
        check_finite(9, {"energy": Energies(0.0, math.nan)})


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_in_a_terminal_is_a_bar():
    stream = Terminal()
    with Progress(10, initial=2, description="training", stream=stream) as progress:
        progress.update(10, "loss 0.5")
    assert "training" in stream.getvalue()
    assert "10/10" in stream.getvalue()


def test_progress_in_a_file_is_a_line_now_and_then(monkeypatch):
    now = [0.0]
    monkeypatch.setattr(metrics.time, "monotonic", lambda: now[0])
    stream = io.StringIO()
    with Progress(1000, description="training", stream=stream) as progress:
        for step in range(1, 1001):
            now[0] += 0.125
            progress.update(step, f"loss {step}")
    said = stream.getvalue().splitlines()
    assert len(said) == 13
    assert said[0] == "training: 80/1000 (00:10 gone, 01:55 left, 8 steps/s, loss 80)"
    assert said[-1].startswith("training: 1000/1000 (02:05 gone, 00:00 left")
    stream = io.StringIO()
    slow = Progress(1_000_000, stream=stream)
    for step in range(1, 301):
        now[0] += 2.0
        slow.update(step)
    assert len(stream.getvalue().splitlines()) == 2
