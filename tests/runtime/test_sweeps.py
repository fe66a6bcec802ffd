"""Sweeps: names and values of runs, groups that train together, and what happens when one fails."""

import json
from pathlib import Path

import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from runtime.errors import ConfigError, RunError
from runtime.executors import make_executor
from runtime.sweeps import FINISHED, SWEEP_FILE, expand, group_runs, is_sweep, read_sweep, run_sweep, with_values


def config(grid=(), runs=(), **sweep):
    fields = {
        "rate": 0.1,
        "size": 4,
        "name": "a",
        "layer": {"width": 3, "on": True},
        "published": (),
        "sweep": {"grid": grid, "runs": runs, "published_best": (), "together": 8, **sweep},
    }
    return FrozenConfigDict(ConfigDict(fields).lock())


def test_a_grid_crosses_its_values_under_every_listed_run():
    grid = (("rate", (0.1, 1e-5)), ("layer.width", (3, 7), "w"))
    runs = expand(config(grid, (("x", ()), ("y", (("size", 9),)))))
    names = [run.name for run in runs]
    assert names[:4] == ["x_rate=0.1_w=3", "x_rate=0.1_w=7", "x_rate=1e-05_w=3", "x_rate=1e-05_w=7"]
    assert len(runs) == 8 and len(set(names)) == 8
    last = runs[-1].config
    assert (last.rate, last.layer.width, last.size) == (1e-5, 7, 9)
    assert not is_sweep(last) and is_sweep(config(grid)) and not is_sweep(config())
    assert expand(config(grid))[0].name == "rate=0.1_w=3"


def test_names_are_fit_for_folders():
    runs = expand(config((("name", ("a/b", "..", "c d")),)))
    assert [run.name for run in runs] == ["name=a-b", "name=..", "name=c-d"]


@pytest.mark.parametrize(
    ("grid", "runs", "sentence"),
    [
        ((("raet", (1.0,)),), (), r"sets 'raet', but there is no field 'raet' \(did you mean 'rate'\?\)"),
        ((("layre.width", (1,)),), (), r"no group 'layre' \(did you mean 'layer'\?\)"),
        ((("layer", (1,)),), (), r"there is no field 'layer'"),
        ((("size", ("big",)),), (), r"sets 'size' to 'big', but the field holds 4"),
        ((("size", (1.5,)),), (), r"sets 'size' to 1.5"),
        ((("layer.on", (1,)),), (), r"sets 'layer.on' to 1"),
        ((("rate", 1.0),), (), r"is not \(field, \(value, …\)\)"),
        ((("rate", (1.0, 1.0)),), (), r"two runs of the sweep are called 'rate=1'"),
        ((), (("x", "size"),), r"'x' must list its changes"),
        ((), ("x",), r"is not \(name, "),
    ],
)
def test_a_bad_sweep_is_explained(grid, runs, sentence):
    with pytest.raises(ConfigError, match=sentence):
        expand(config(grid, runs))


def test_whole_numbers_stand_in_for_real_ones():
    changed = with_values(config(), {"rate": 2})
    assert changed.rate == 2.0 and isinstance(changed.rate, float)


def program(one):
    return str(one["size"])


def test_runs_that_share_a_program_are_grouped_in_order():
    runs = expand(config((("rate", (0.1, 0.2, 0.3)), ("size", (1, 2)))))
    names = [[run.name for run in group] for group in group_runs(runs, program, 2)]
    assert names == [
        ["rate=0.1_size=1", "rate=0.2_size=1"], ["rate=0.1_size=2", "rate=0.2_size=2"],
        ["rate=0.3_size=1"], ["rate=0.3_size=2"],
    ]  # fmt: skip
    # One by one they come as they were listed.
    assert [group[0].name for group in group_runs(runs, program, 1)] == [run.name for run in runs]


def fake(configs, folders):
    """Trains nothing: leaves a line in a file for every call; some sizes and rates cannot be trained."""
    if any(one.rate < 0 for one in configs):
        raise ConfigError("config.rate must be positive")
    if configs[0].size == 13:
        raise RunError("every seed diverged")
    if configs[0].size == 14:
        raise ZeroDivisionError("a defect")
    for folder in map(Path, folders):
        folder.mkdir(exist_ok=True, parents=True)
        with (folder / "calls").open("a") as file:
            file.write(f"{len(configs)}\n")
    return [{"finished": configs[0].size != 15} for _ in configs]


def sweep(folder, **arguments):
    with make_executor("local") as execute:
        return run_sweep(config(**arguments), folder, fake, program, execute)


def test_a_failing_run_stops_no_other_and_is_named(tmp_path, capsys):
    states = sweep(tmp_path, grid=(("rate", (0.1, -1.0)), ("size", (1, 13, 14))))
    found = {state["name"]: (state["state"], state["reason"]) for state in states}
    assert found["rate=0.1_size=1"] == ("finished", "")
    assert found["rate=-1_size=1"] == ("failed", "config.rate must be positive")
    assert found["rate=0.1_size=13"] == ("failed", "every seed diverged")
    assert found["rate=0.1_size=14"] == ("failed", "ZeroDivisionError: a defect (see error.txt)")
    assert "a defect" in (tmp_path / "rate=0.1_size=14" / "error.txt").read_text()
    assert "failed: rate=-1_size=1: config.rate must be positive" in capsys.readouterr().out
    # Refused together with the bad one, the good one was trained alone.
    assert (tmp_path / "rate=0.1_size=1" / "calls").read_text() == "1\n"
    assert [run["state"] for run in read_sweep(tmp_path)["runs"]] == [state["state"] for state in states]


def test_a_stopped_run_ends_the_sweep_and_leaves_the_rest_waiting(tmp_path):
    states = sweep(tmp_path, grid=(("size", (1, 15, 2)),))
    assert [state["state"] for state in states] == ["finished", "stopped", "waiting"]


def test_another_sweep_does_not_take_over_a_folder(tmp_path):
    sweep(tmp_path, grid=(("size", (1, 2)),))
    with pytest.raises(ConfigError, match=r"holds another sweep, with runs such as 'size=1'"):
        sweep(tmp_path, grid=(("rate", (1.0, 2.0)),))
    states = sweep(tmp_path, grid=(("size", (1, 2, 3)),))
    assert [state["state"] for state in states] == [FINISHED] * 3


def test_published_numbers_are_kept_for_the_table(tmp_path):
    runs = (("x", (("published", (0.5, 0.6, 0.4)),)), ("y", (("size", 5),)))
    sweep(tmp_path, runs=runs, published_best=(0.7,))
    kept = json.loads((tmp_path / SWEEP_FILE).read_text())
    assert kept["runs"][0]["published"] == [0.5, 0.6, 0.4] and kept["runs"][1]["published"] == []
    assert kept["published_best"] == [0.7]


def test_a_folder_without_a_sweep_is_named(tmp_path):
    with pytest.raises(ConfigError, match="is no folder of a sweep"):
        read_sweep(tmp_path)
