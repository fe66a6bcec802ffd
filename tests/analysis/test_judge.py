"""The judge reads plain arrays from anywhere, answers line by line, and refuses in one sentence what it cannot use."""

import json
import re

import numpy as np
import pytest

from analysis import judge
from analysis.checks.mechanisms import make_trials

LINE = {"check", "verdict", "found", "low", "high", "unit", "reason"}


@pytest.fixture(scope="module")
def arrays():
    rng = np.random.default_rng(0)
    trials = make_trials(
        rng, 10, 3, lambda c: 2 * np.pi * (0.03 + 0.02 * c), 2.0, drive=lambda c: 4 * c, spread=lambda c: 1 - 0.4 * c
    )
    return {
        "signals": trials.signals.astype(np.float32), "onset": trials.onset, "offset": trials.offset, "sample_ms": 1.0,
        "contrast": trials.contrast,
    }  # fmt: skip


def run(tmp_path, capsys, arrays, *flags):
    np.savez(tmp_path / "file.npz", **arrays)
    judge.main([str(tmp_path / "file.npz"), *map(str, flags)])
    return {row["check"]: row for row in map(json.loads, capsys.readouterr().out.splitlines())}


def test_one_line_a_check_and_a_page(tmp_path, capsys, arrays):
    arrays = arrays | {"energy": (arrays["signals"] ** 2).sum(axis=2) + 1e5}
    np.savez(tmp_path / "other.npz", **arrays)
    more = {"momentum": 0 * arrays["signals"], "angle": np.ones(3), "place": np.ones((50, 2))}
    flags = ("--reference", tmp_path / "other.npz", "--html", tmp_path / "out.html")
    found = run(tmp_path, capsys, arrays | more, *flags)
    assert list(found) == [
        "resonance_rises", "overshoot_grows", "variability_quenched", "synchrony", "faster_than_reference",
    ]  # fmt: skip
    assert all(set(row) == LINE for row in found.values())
    assert found["variability_quenched"]["verdict"] == "present"
    assert found["faster_than_reference"]["verdict"] == "absent" and found["faster_than_reference"]["found"] == 1
    assert "the energy 1 [" in found["faster_than_reference"]["reason"]
    page = (tmp_path / "out.html").read_text()
    assert page.count("data:image/png;base64,") == 1 and "50 trials of 750 samples and 3 channels" in page
    assert not re.search(r"\b(pass|fail)(ed|s)?\b", page.split("</style>")[1].split("data:image")[0])


def test_order_units_and_types_of_trials_do_not_matter(tmp_path, capsys, arrays):
    plain = run(tmp_path, capsys, arrays)
    order = np.argsort(arrays["contrast"], kind="stable")[::-1]
    changed = arrays | {
        "signals": (arrays["signals"] * 1e-4 + 7.0)[order].astype(np.float64),
        "contrast": 100 * arrays["contrast"][order],
        "sample_ms": np.array([2]),
        "onset": float(arrays["onset"]),
    }
    other = run(tmp_path, capsys, changed)
    assert {name: row["verdict"] for name, row in plain.items()} == {
        name: row["verdict"] for name, row in other.items()
    }
    assert other["resonance_rises"]["found"] == pytest.approx(plain["resonance_rises"]["found"] / 2, rel=0.15)


def test_one_channel_and_two_contrasts_leave_some_checks_untested(tmp_path, capsys, arrays):
    rows = np.isin(arrays["contrast"], (0.5, 1.0))
    found = run(
        tmp_path, capsys, arrays | {"signals": arrays["signals"][rows, :, 0], "contrast": arrays["contrast"][rows]}
    )
    untested = {name for name, row in found.items() if row["verdict"] == "not tested"}
    assert untested == {"resonance_rises", "synchrony", "faster_than_reference"}
    assert all(found[name]["found"] is None and found[name]["reason"] for name in untested)


def test_units_of_signals_and_contrasts_change_nothing(tmp_path, capsys, arrays):
    plain = run(tmp_path, capsys, arrays)
    other = run(
        tmp_path, capsys, arrays | {"signals": 1e-9 * arrays["signals"] + 1e-6, "contrast": 1e-7 * arrays["contrast"]}
    )
    assert {name: row["verdict"] for name, row in plain.items()} == {
        name: row["verdict"] for name, row in other.items()
    }
    # Spikes that are there or not, and a stimulus that holds a neuron still, are recordings too.
    silent = np.where(np.arange(750)[:, None] < 300, arrays["signals"] > 1, False)
    found = run(tmp_path, capsys, arrays | {"signals": silent})
    assert found["resonance_rises"]["verdict"] != "present"


NOISE = np.random.default_rng(3).standard_normal((1, 750, 2))
WRONG = {
    "signals has shape (5,)": {"signals": np.zeros(5)},
    "contrast has shape (3,); signals holds 50 trials": {"contrast": np.ones(3)},
    "signals holds 1 values that are NaN or infinite": {"signals": "nan"},
    "contrast holds -1": {"contrast": -np.ones(50)},
    "only contrast 1 above 0 was shown": {"contrast": np.ones(50)},
    "no contrast above 0 was shown": {"contrast": np.zeros(50)},
    "contrast 2 has 1 trials; at least 8": {"contrast": np.r_[np.ones(49), 2]},
    "onset 300 and offset 200 do not fit 750 samples": {"offset": 200},
    "onset 300 and offset 751 do not fit": {"offset": 751},
    "onset is 300.5; it counts samples": {"onset": 300.5},
    "there are 3 samples before the onset": {"onset": 3},
    "the stimulus lasts 10 samples": {"offset": 310},
    "sample_ms is 0; it must be above 0": {"sample_ms": 0.0},
    "sample_ms has shape (2,)": {"sample_ms": np.ones(2)},
    "signals is constant in every channel": {"signals": np.ones((50, 750, 2))},
    "signals holds complex128; it must hold real numbers": {"signals": np.ones((50, 750, 2), complex)},
    "momentum has shape (50, 750, 2); it must be that of signals": {"momentum": np.ones((50, 750, 2))},
    "energy has shape (50,); it must be (trials, time), (50, 750)": {"energy": np.ones(50)},
    "angle has shape (7,); its first dimension must be the 50 trials": {"angle": np.ones(7)},
    "the array 'onset' is missing": {"onset": None},
    "signals are as large as 1e+200; give them in a unit": {"signals": np.r_[np.full((49, 750, 2), 1e200), NOISE]},
    "signals are as large as 1e-90; give them": {"signals": 1e-90 * np.sign(np.repeat(NOISE, 50, axis=0))},
    "all trials of a contrast are equal": {"signals": np.repeat(NOISE, 50, axis=0)},
    "sample_ms is nan; it must be a number": {"sample_ms": np.nan},
}


@pytest.mark.parametrize("message", WRONG)
def test_what_cannot_be_used_is_refused_in_one_sentence(tmp_path, capsys, arrays, message):
    changed = dict(arrays) | WRONG[message]
    if isinstance(changed["signals"], str):
        changed["signals"] = arrays["signals"].copy()
        changed["signals"][3, 5, 0] = np.nan
    with pytest.raises(SystemExit) as stopped:
        run(tmp_path, capsys, {name: value for name, value in changed.items() if value is not None})
    lines = capsys.readouterr().err.strip().splitlines()
    assert stopped.value.code == 2 and len(lines) == 1 and message in lines[0] and "file.npz" in lines[0]


def test_what_is_no_file_of_arrays_is_refused(tmp_path, capsys, arrays):
    (tmp_path / "text.npz").write_text("not arrays")
    np.save(tmp_path / "single.npy", np.ones(3))
    np.savez(tmp_path / "objects.npz", **arrays | {"signals": np.array([{}, {}], object)})
    for name in ("missing.npz", "text.npz", "single.npy", "objects.npz", "."):
        with pytest.raises(SystemExit) as stopped:
            judge.main([str(tmp_path / name)])
        lines = capsys.readouterr().err.strip().splitlines()
        assert stopped.value.code == 2 and len(lines) == 1 and lines[0].startswith("error: "), lines
