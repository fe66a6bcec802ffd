"""`python -m tests.parity` reproduces the reference arrays, and fails when it should."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from tests.parity import __main__ as parity
from tests.parity import nrf as parity_nrf

SMALL = "initter_tinyC_hardsig_leaky_forward.npz"


@pytest.fixture(scope="module")
def reference(shared):
    return shared / "reference" / "nrf"


def run(capsys, *paths):
    status = parity.main([str(p) for p in paths])
    return status, [json.loads(line) for line in capsys.readouterr().out.splitlines()]


def changed(path, target, change):
    """A copy of a reference file with `change(arrays)` applied."""
    with np.load(path) as file:
        arrays = {name: file[name] for name in file.files}
    change(arrays)
    np.savez(target, **arrays)
    return target


def one_of_each_kind(paths):
    """The smallest file of each kind: its name up to the first underscore."""
    smallest = {}
    for path in sorted(paths, key=lambda path: path.stat().st_size):
        smallest.setdefault(path.stem.split("_")[0], path)
    return sorted(smallest.values())


@pytest.mark.parametrize("choose", [one_of_each_kind, pytest.param(sorted, marks=pytest.mark.slow)])
def test_reference_files_pass(reference, capsys, choose):
    paths = choose(reference.glob("*.npz"))
    status, reports = run(capsys, *paths)
    assert [r["file"] for r in reports] == [str(p) for p in paths]
    bad = {Path(r["file"]).name: r.get("error", r.get("worst_rel")) for r in reports if not r["pass"]}
    assert not bad
    assert status == 0
    kinds = set(parity_nrf.CHECKS) | {"sghmc", "stimuli", "viz"}
    assert choose is one_of_each_kind or {r["kind"] for r in reports} == kinds
    for report in reports:
        outputs = report["outputs"].values()
        assert report["worst_abs"] == max(o["abs"] for o in outputs)
        assert report["worst_rel"] == max(o["rel"] for o in outputs)
        assert all(o["abs"] <= o["tolerance"] for o in outputs)


def test_energy_files_are_checked_with_both_ways_of_convolving(reference, capsys):
    _, (report,) = run(capsys, reference / "energy_very_small_1SL_self.npz")
    assert {name.split("/")[0] for name in report["outputs"]} == {"direct", "spectral"}
    expected = {"direct/A/energy", "direct/A/grad_0", "spectral/B/outs_0", "direct/A/fullenergy_0"}
    assert expected <= set(report["outputs"])


def test_files_are_told_by_their_content(reference, tmp_path, capsys):
    path = tmp_path / "energy_of_something.npz"
    shutil.copy(reference / SMALL, path)
    status, (report,) = run(capsys, path)
    assert (status, report["kind"], report["pass"]) == (0, "initter", True)


def test_files_of_another_make_pass_too(reference, tmp_path, capsys):
    """Other state sets, in another number, under the same architecture's form."""

    def keep_one_set(arrays):
        for name in [n for n in arrays if n.startswith(("A/", "B/"))]:
            del arrays[name]
        for name in [n for n in arrays if n.startswith("C/")]:
            arrays[name.replace("C/", "other/")] = arrays.pop(name)

    path = changed(reference / "energy_very_small_1SL_self.npz", tmp_path / "a.npz", keep_one_set)
    status, (report,) = run(capsys, path)
    assert (status, report["kind"]) == (0, "energy")
    assert "spectral/other/energy" in report["outputs"]


@pytest.mark.parametrize(
    ("value", "relative"), [(1e-3, pytest.approx(1e-3, rel=0.5)), (float("nan"), None), (float("inf"), None)]
)
def test_wrong_numbers_fail(reference, tmp_path, capsys, value, relative):
    def spoil(arrays):
        arrays["u1/out_1"][0, 0, 0, 0] += value

    status, (report,) = run(capsys, changed(reference / SMALL, tmp_path / "a.npz", spoil))
    assert (status, report["pass"]) == (1, False)
    assert report["worst_rel"] == relative
    assert report["outputs"]["u1/out_1"]["tolerance"] < 2e-5
    assert report["outputs"]["u1/out_2"]["abs"] <= report["outputs"]["u1/out_2"]["tolerance"]


def test_wrong_inputs_fail(reference, tmp_path, capsys):
    def spoil(arrays):
        arrays["A/state_0"] += 1e-3

    path = changed(reference / "energy_very_small_1SL_self.npz", tmp_path / "a.npz", spoil)
    assert run(capsys, path)[0] == 1


def test_bad_files_are_reported_and_the_rest_still_checked(reference, tmp_path, capsys):
    (tmp_path / "text.npz").write_text("no arrays")
    np.savez(tmp_path / "foreign.npz", numbers=np.zeros(3))

    def cut(arrays):
        del arrays["u1/out_2"]

    paths = [
        tmp_path / "missing.npz",
        tmp_path / "text.npz",
        tmp_path / "foreign.npz",
        changed(reference / SMALL, tmp_path / "cut.npz", cut),
        tmp_path,
        reference / SMALL,
    ]
    status, reports = run(capsys, *paths)
    assert status == 1
    assert [r["pass"] for r in reports] == [False] * 5 + [True]
    errors = [r["error"] for r in reports[:-1]]
    for error, words in zip(errors, ["missing.npz", "not an .npz", "numbers", "u1/out_2", "directory"], strict=True):
        assert words in error, error


def test_command_line(reference):
    root = Path(__file__).resolve().parents[2]
    command = [sys.executable, "-m", "tests.parity"]
    done = subprocess.run([*command, reference / SMALL], cwd=root, capture_output=True, text=True, env=os.environ)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["pass"]
    assert subprocess.run(command, cwd=root, capture_output=True, env=os.environ).returncode == 2
