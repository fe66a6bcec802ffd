"""Every published experiment against a table of its runs, written down from the page that describes the scripts.

The table has the scripts' own terms: k differences of Gaussians, h hidden units a neuron, N neurons, F filters of width
w and stride t. It shares nothing with the configs but the numbers.
"""

import itertools
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from runtime.config import load_config
from runtime.describe import KEYS, as_json, as_table
from runtime.errors import ConfigError
from v1models.describe import describe

REPOSITORY = Path(__file__).resolve().parents[2]
N = {(1,): 103, (2,): 55, (3,): 102, (1, 2): 158, (2, 3): 157, (1, 2, 3): 260}
PLAIN, SEPARABLE = "normal", "sep"


def dog(k=9, act="linear"):
    return ("diff_of_gaussians", k, act, None, None, {})


def units(size, kind=PLAIN, **penalties):
    return (kind, size, "softplus", None, None, penalties)


def conv(filters, width, stride=None, act="softplus", kind="conv", **penalties):
    return (kind, filters, act, width, (width + 1) // 2 if stride is None else stride, penalties)


def hsm(k=9, h=0.2, neurons=103, act="linear", hidden=None, output=None):
    return [dog(k, act), units(int(h * neurons), **(hidden or {})), units(neurons, **(output or {}))]


BASE = {
    "rate": 1e-3, "batch": 16, "epochs": 5000, "log": 100, "seeds": list(range(10)), "noise": "poisson",
    "regions": (1,), "inputs": "standard", "bias": "normal",
}  # fmt: skip
ZEROS = {"rate": 1e-4, "bias": "zeros"}
LONG = {"epochs": 35000}


def one(layers, **other):
    return {0: (layers, other)}


def count(rows, first=0):
    return {first + index: row for index, row in enumerate(rows)}


def published():
    """{config: {run: (layers, what differs from BASE)}}."""
    b4 = {"output": {"l2": 0.1}}
    product = itertools.product
    runs = {
        "bl1": one(hsm(), **ZEROS, **LONG, inputs="x1e6", seeds=list(range(50))),
        "bl2": one(hsm(), **ZEROS, **LONG, seeds=list(range(25))),
        "bl3": one(hsm(), **LONG, seeds=list(range(25))),
        "bl4": one(hsm(**b4), **LONG, log=700, seeds=list(range(25))),
        "bs1": one(hsm(), **ZEROS, inputs="x1e6", seeds=list(range(25))),
        "bs2": one(hsm(), **ZEROS, seeds=list(range(25))),
        "bs4": one(hsm(**b4), seeds=list(range(25))),
        "exp_1_2_1": {21: (hsm(), ZEROS), 22: (hsm(), ZEROS)},
        "exp_1_2_2": one(hsm(), **ZEROS, noise="gaussian"),
        "exp_1_2_3": one(hsm(), rate=1e-4),
        "exp_1_2_4": count([(hsm(), {**ZEROS, "rate": rate}) for rate in (1e-5, 1e-4, 5e-4, 1e-3, 5e-3)]),
        "exp_1_2_6": count(
            (hsm(), {"batch": batch, "epochs": epochs})
            for batch, epochs in zip(
                (2, 8, 16, 32, 64, 128, 512, 1024, 1800),
                (5000, 5000, 5000, 10000, 20000, 40000, 160000, 320000, 562500),
                strict=True,
            )
        ),
        "exp_1_3_1": count((hsm(h=h), {"drop": d}) for h in (0.2, 0.3, 0.4) for d in (0, 0.05, 0.1, 0.2, 0.4, 0.5)),
        "bs3_exp11_runner": count(
            (hsm(h=h), {"drop": 1 - keep}) for h in (0.2, 0.3, 0.4) for keep in (0, 0.05, 0.1, 0.2, 0.4, 0.5)
        ),
        "exp_1_3_2": count(
            (hsm(h=h, hidden={kind: s}, output={kind: s}), {})
            for strengths in ((0.1, 1e-3, 1e-5, 1e-7, 1e-9), (10, 1))
            for h, kind, s in product((0.2, 0.4), ("l1", "l2"), strengths)
        ),
        "exp_1_3_3": count(
            (hsm(h=h, hidden={"l2": a}, output={"l2": b}), {**LONG, "log": 700})
            for h, a, b in product((0.2, 0.3), (0, 0.05, 0.1, 0.5), (0, 0.05, 0.1, 0.5))
        ),
        "exp_1_3_4": one(hsm(act="softplus", **b4)),
        "exp_1_4_1": count(
            ([("lin_scale", 961, "linear", None, None, {})] * scaled + hsm(), {"inputs": inputs})
            for scaled, inputs in product((1, 0), ("standard", "x1e6", "raw"))
        ),
        "exp_2_1_1": count(
            ([units(int(h * 103), d2x=a), units(103, l2=b)], {})
            for h, a, b in product((0.1, 0.2), (0, 0.1, 0.5, 1, 10), (0.1, 0.5))
        ),
        "exp_2_1_2": count(
            ([units(103, d2x=a)], {}) for a in (0, 0.001, 0.01, 0.1, 0.5, 1, 5, 10, 100, 1e3, 1e4, 1e5)
        ),
        "exp_gaussians_hidden": count(
            (hsm(k, h), {}) for h, k in product((0.05, 0.1, 0.2, 0.3, 0.4), (4, 9, 15, 20, 30))
        ),
        "baseline_1_exp1": count(
            ((hsm(k, neurons=158), {**ZEROS, "inputs": "x1e6", "regions": (1, 2)}) for k in (9, 16)), 11
        ),
        "baseline_1_exp3": {
            31: (hsm(act="softplus"), {**ZEROS, "inputs": "x1e6", "seeds": list(range(20))}),
            32: ([dog(16), units(31), units(31), units(158)], {**ZEROS, "inputs": "x1e6", "regions": (1, 2)}),
        },
        "baseline_2_exp3": one(hsm(act="softplus"), **ZEROS, seeds=list(range(20))),
        "bs3_exp6": count(
            ([conv(f, w, act="linear"), units(int(h * 103)), units(103)], {})
            for h, f, w in product((0.1, 0.2, 0.4), (9, 20), (3, 5, 7, 15, 30))
        ),
        "bs3_exp7": count(
            ([conv(9, w, act="linear"), conv(9, w), units(int(h * 103)), units(103)], {})
            for h, w in product((0.1, 0.2, 0.4), (3, 5, 7, 15))
        ),
        "bs3_exp8": count([(hsm(), {})] * 16),
    }  # fmt: skip
    for name, first in (("baseline_exp_rep1", 11), ("baseline_exp_rep2", 21)):
        runs[name] = count([(hsm(), {**ZEROS, "inputs": "x1e6", "seeds": [3, 3, 23, 23]})] * 2, first)
    alone = [(hsm(neurons=N[r]), {"regions": r}) for r in ((1,), (2,))]
    pooled = [(hsm(k, h, N[r]), {"regions": r})
              for h, k, r in product((0.2, 0.4), (9, 15, 25), ((1, 2), (1, 2, 3)))]  # fmt: skip
    last = [(hsm(k, h, 157), {"regions": (2, 3)}) for h, k in product((0.2, 0.4), (9, 15, 25))]
    runs["bs3_exp4"] = count([*alone, *pooled, (hsm(neurons=102), {"regions": (3,)}), *last])
    runs["exp_3_1_1"] = count(
        [(hsm(neurons=N[r], hidden={"l2": s}, output={"l2": s}), {"regions": r})
         for r, s in product(((1,), (2,), (3,)), (0, 0.1, 1))]
        + [(hsm(k, h, N[r], hidden={"l2": s}, output={"l2": s}), {"regions": r})
           for h, k, r, s in product((0.2, 0.3), (9, 15, 25), ((1, 2), (1, 2, 3)), (0, 0.1, 1))]
    )  # fmt: skip
    return runs | convolutional(product)


def convolutional(product):
    """The experiments with convolutions."""
    def cd(filters, width, act="softplus"):
        return conv(filters, width, act=act, kind="conv_diff_of_gaussians")

    def with_hidden(first, kind, penalty):
        return ([first, units(20, kind, **penalty), units(103, l2=0.1)], {})

    grid = list(product((3, 7, 15), (9, 30)))
    strengths = (0.01, 0.1, 1)
    runs = {
        name: count(
            (with_hidden(conv(f, w, d2x=a), kind, {penalty: s})
             for w, f, a, penalty, s in product((3, 7, 15), (9, 30), (0.01, 0.1), kinds, strengths)), first
        )
        for name, kind, kinds, first in (("exp_2_2_2", SEPARABLE, ("l1", "l2"), 0),
                                         ("exp_2_2_1", PLAIN, ("max", "l2"), 172))
    }  # fmt: skip
    runs["exp_2_2_3"] = (
        count((with_hidden(cd(f, w), SEPARABLE, {"l1": s}) for (w, f), s in product(grid, strengths)), 0)
        | count((with_hidden(cd(f, w), PLAIN, {p: s}) for (w, f), p, s in product(grid, ("max", "l1"), strengths)), 118)
        | count((with_hidden(cd(4, w), SEPARABLE, {"l1": s}) for w, s in product((7, 15), (0.01, 0.1))), 200)
        | count((with_hidden(cd(4, w), PLAIN, {p: s}) for w, p, s in product((7, 15), ("max", "l1"), strengths)), 304)
    )
    runs["exp_2_2_4"] = {
        first + index: with_hidden(cd(9, w, "linear"), kind, {"l1": s})
        for kind, first in ((SEPARABLE, 200), (PLAIN, 304))
        for index, (w, s) in enumerate(product((7, 15), (0.01, 0.1)))
    }

    def what_where(filters, a, kind, strength, readout, k=3, strides=(2, 2, 2)):
        wide = [13, k, k]
        shared = [{} if kind == "max_filt" and index == 0 else {kind: strength} for index in range(3)]
        layers = [conv(filters, w, t, d2x=a, **p) for w, t, p in zip(wide, strides, shared, strict=True)]
        return ([*layers, units(103, SEPARABLE, **readout)], {})

    readouts = [{"l1": s} for s in (0.005, 0.01, 0.05)] + [{"l2": s} for s in (0.01, 0.05, 0.1)]
    sides = [(k, (6, k // 2, k // 2) if t == 0 else (t, t, t)) for k, t in product((3, 8), (1, 2, 0))]
    runs["exp_2_2_5"] = count(
        what_where(48, a, "max_filt", s, r) for a, s, r in product((0.1, 0.5, 1), (1, 10), readouts)
    ) | count(
        (what_where(48, 0.1, kind, s, {"l1": 0.01}, k, strides)
         for kind, s, (k, strides) in product(("max_filt", "l2", "max"), strengths, sides)), 100
    )  # fmt: skip
    runs["bs4_exp6"] = count(
        what_where(f, a, "max_filt", 0, {"l1": 0.1}) for f, a, _ in product((12, 24, 48), (0.01, 0.1, 1), range(3))
    )
    runs["bs4_exp7"] = count(
        what_where(48, a, "max_filt", s, {"l1": r}) for a, s, r in product((0.01, 0.1), (0, 0.1, 1), strengths)
    )

    def models(n):
        hidden = int(0.2 * n)
        return (
            hsm(neurons=n), hsm(neurons=n, output={"l2": 0.1}),
            [conv(30, 15, 8, d2x=0.01), units(hidden, SEPARABLE, l1=0.1), units(n, l2=0.1)],
            [cd(9, 7, "linear"), units(hidden, l1=0.1), units(n, l2=0.1)],
            [units(hidden, d2x=0.1), units(n, l2=0.1)],
        )  # fmt: skip

    runs["exp_3_2_1"] = count(
        (models(N[(r,)])[m], {**LONG, "log": 700, "regions": (r,), "bias": "normal" if m else "zeros"})
        for m, r in product(range(5), (1, 2, 3))
    )
    return runs


PUBLISHED = published()


def test_the_table_counts_what_the_page_counts():
    sizes = {name: len(runs) for name, runs in PUBLISHED.items()}
    expected = {
        "exp_1_2_4": 5, "exp_1_2_6": 9, "exp_1_3_1": 18, "exp_1_3_2": 28, "exp_1_3_3": 32, "exp_1_4_1": 6,
        "exp_2_1_1": 20, "exp_2_1_2": 12, "exp_2_2_1": 72, "exp_2_2_2": 72, "exp_2_2_3": 70, "exp_2_2_4": 8,
        "exp_2_2_5": 90, "exp_3_1_1": 45, "exp_3_2_1": 15, "bs3_exp4": 21, "bs3_exp6": 30, "bs3_exp7": 12,
        "bs3_exp8": 16, "bs4_exp6": 27, "bs4_exp7": 18, "exp_gaussians_hidden": 25, "bs3_exp11_runner": 18,
    }  # fmt: skip
    assert expected.items() <= sizes.items() and (len(sizes), sum(sizes.values())) == (39, 690)
    # Runs that are named elsewhere by what they are.
    assert PUBLISHED["exp_2_2_2"][61][0] == [conv(30, 15, d2x=0.01), units(20, SEPARABLE, l1=0.1), units(103, l2=0.1)]
    assert PUBLISHED["exp_2_1_1"][12][0] == [units(20, d2x=0.1), units(103, l2=0.1)]
    assert PUBLISHED["exp_2_2_4"][305][0][0][:5] == ("conv_diff_of_gaussians", 9, "linear", 7, 4)
    assert PUBLISHED["exp_3_1_1"][25] == (hsm(25, 0.2, 260, hidden={"l2": 0.1}, output={"l2": 0.1}),
                                          {"regions": (1, 2, 3)})  # fmt: skip


@pytest.mark.parametrize("name", PUBLISHED)
def test_an_experiment_is_the_published_one(name):
    rows = [json.loads(line) for line in as_json(describe(config_of(name))).splitlines()]
    assert [row["run"] for row in rows] == list(PUBLISHED[name])
    for row in rows:
        layers, differs = PUBLISHED[name][row["run"]]
        expected, differs = {**BASE, **differs}, dict(differs)
        found = [
            (one["kind"], one["size"], one["activation"], one["width"], one["stride"], one["penalties"])
            for one in row["layers"]
        ]
        on = [(*layer[:5], {p: s for p, s in layer[5].items() if s}) for layer in layers]
        assert found == on, row["run"]
        assert [one["filters"] for one in row["layers"]] == [layer[1] if layer[3] else None for layer in layers]
        dropped = {index: one["dropout"] for index, one in enumerate(row["layers"]) if "dropout" in one}
        assert dropped == ({1: pytest.approx(differs["drop"])} if differs.get("drop") else {})
        names = {"learning_rate": "rate", "batch": "batch", "epochs": "epochs", "log_every": "log", "seeds": "seeds",
                 "noise": "noise", "inputs": "inputs", "bias": "bias"}  # fmt: skip
        assert {key: row[key] for key in names} == {key: expected[short] for key, short in names.items()}
        assert tuple(row["regions"]) == expected["regions"]


def test_hidden_l2_that_never_acted_is_off_where_everything_is_as_published():
    for name in ("exp_2_2_1", "exp_2_2_2"):
        for as_now, as_then in zip(describe(config_of(name)), describe(config_of(name, ":ndn3")), strict=True):
            now, then = as_now["layers"][1], as_then["layers"][1]
            idle = {penalty: strength for penalty, strength in now["penalties"].items() if penalty == "l2"}
            assert then.get("without_effect", {}) == idle
            assert then["penalties"] == {p: s for p, s in now["penalties"].items() if p != "l2"}
            assert as_then["layers"][2]["penalties"] == {"l2": 0.1}


def test_what_a_teacher_does_is_swept_in_the_published_order():
    from runtime.sweeps import expand

    runs = [run.config for run in expand(config_of("bs3_exp8"))]
    found = [(config.data.teacher.noise, config.data.teacher.scored, config.origin.log_name) for config in runs]
    grid = [(c, scored) for c in (0.25, 0.5, 1, 1.3, 2, 0.3, 0.35, 0.4) for scored in ("noisy", "clean")]
    names = [f"bs3_exp8x{index}" for index in range(10)] + [f"bs3_exp8_2x{index}" for index in range(6)]
    assert found == [(*entry, name) for entry, name in zip(grid, names, strict=True)]


def test_published_percentiles_stand_beside_the_runs_they_belong_to():
    from runtime.sweeps import expand

    def beside(name, preset=""):
        return {run.config.origin.run: run.config.published for run in expand(config_of(name, preset))}

    assert beside("exp_2_2_5")[125] == (0.479, 0.494, 0.455) and beside("exp_2_2_5")[124] == ()
    assert beside("exp_2_2_3")[152] == (0.482, 0.496, 0.466) and beside("exp_2_2_4")[305] == (0.498, 0.516, 0.448)
    # Where the model is another one without the peculiarities, nothing stands beside it.
    assert beside("exp_2_2_2")[64] == () and beside("exp_2_2_2", ":ndn3")[64] == (0.393, 0.425, 0.369)
    assert beside("exp_1_3_1")[1] == () and beside("exp_1_3_1", ":ndn3")[1] == (0.482, 0.510, 0.464)


def test_from_the_command_line_lines_for_programs_and_a_table_for_people():
    command = [sys.executable, "launch.py", "--config=configs/v1/exp_1_2_4.py", "--describe=json"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(rows) == 5 and all(tuple(row) == KEYS for row in rows)
    table = as_table(describe(config_of("exp_1_2_4"))).splitlines()
    assert table[0] == "5 runs" and any("9 diff_of_gaussians → 20 normal softplus" in line for line in table)
    assert [line.split()[:2] for line in table[-5:]] == [
        [str(index), rate] for index, rate in enumerate(("1e-05", "0.0001", "0.0005", "0.001", "0.005"))
    ]


def test_sizes_are_those_of_the_recording_that_is_named(tmp_path):
    for region, neurons in ((1, 40), (2, 7)):
        (tmp_path / f"region{region}").mkdir()
        np.save(tmp_path / f"region{region}" / "training_set.npy", np.zeros((3, neurons)))
    config = load_config(f"{REPOSITORY}/configs/v1/bl4.py", [f"data.dir={tmp_path}", "data.regions=1,2"])
    assert [layer["size"] for layer in describe(config)[0]["layers"]] == [9, 9, 47]
    with pytest.raises(ConfigError, match="region3/training_set.npy is missing"):
        describe(load_config(f"{REPOSITORY}/configs/v1/bl4.py", [f"data.dir={tmp_path}", "data.regions=3"]))


def test_a_field_is_described_too():
    from nrf.describe import describe as of_a_field

    record = json.loads(as_json(of_a_field(load_config(str(REPOSITORY / "configs/nrflv.py:thesis")))))
    assert tuple(record) == KEYS and record["batch"] == 128 and record["epochs"] == 47500
    assert record["layers"][0]["size"] == 3 * 32 * 32 and record["layers"][0]["kind"] == "image"
    swept = load_config(str(REPOSITORY / "configs/nrflv.py"), ["sweep.grid=(('train.lr',(1e-3,2e-3)),('seed',(0,1)))"])
    found = [(record["run"], record["learning_rate"], record["seeds"]) for record in of_a_field(swept)]
    assert found[:2] == [("lr=0.001_seed=0", 1e-3, [0]), ("lr=0.001_seed=1", 1e-3, [1])] and len(found) == 4


def config_of(name, preset=""):
    return load_config(f"{REPOSITORY / 'configs' / 'v1' / name}.py{preset}")
