"""Runs that train in one program: each is what it is alone, none feels the others, and all go on where they were."""

import contextlib
import json
import shutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf import together
from nrf.from_config import make_trainer
from nrf.training import train
from runtime.config import load_config
from runtime.errors import ConfigError
from runtime.metrics import NonFiniteError, read_metrics
from runtime.sweeps import FAILED, FINISHED, expand, group_runs, run_group, with_values
from tests.nrf.test_training import leaves, rows

SMALL = ("train.updates=4", "train.lr_schedule=epochs", "positive.start=previous", "monitor.every=4", "log.keep=3",
         "positive.poisson=True", "negative.poisson=True", "log.checkpoint_every=1", "negative.growth=1.0")  # fmt: skip
GRID = "sweep.runs=(('a',()),('b',(('seed',1),('train.lr',2e-3),('data.noise',0.0))),('hot',(('train.lr',1e30),)))"


def members(*overrides, grid=GRID):
    return expand(load_config("tests/nrf/tiny.py:small", [f"--config.{field}" for field in (*SMALL, *overrides, grid)]))


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Three runs trained in one program, of which the last diverges: their folder and what a sweep would say."""
    folder = tmp_path_factory.mktemp("together")
    runs = members()
    states = run_group(
        together.train_together, [run.config.to_dict() for run in runs], [str(folder / run.name) for run in runs]
    )
    return folder, states


def test_each_leaves_the_folder_of_a_run_of_its_own(finished, tmp_path):
    folder, _ = finished
    for run in members()[1:2]:
        train(run.config, tmp_path / run.name)
        expected, found = (leaves(place / run.name, 4) for place in (tmp_path, folder))
        assert {name: array.dtype for name, array in expected.items()} == {n: a.dtype for n, a in found.items()}
        for name, array in expected.items():
            if "key" not in name:
                np.testing.assert_allclose(found[name], array, rtol=2e-4, atol=2e-5, err_msg=name)
        alone, beside = read_metrics(tmp_path / run.name), read_metrics(folder / run.name)
        assert list(alone.columns) == list(beside.columns) and list(alone.index) == list(beside.index)
        np.testing.assert_allclose(beside["energy/gap"], alone["energy/gap"], rtol=1e-3, atol=1e-4)
        names = [{path.name for path in (place / run.name / "images").iterdir()} for place in (tmp_path, folder)]
        assert names[0] == names[1]
        assert json.loads((folder / run.name / "config.json").read_text())["config"]["seed"] == run.config.seed
    assert not np.allclose(*(leaves(folder / name, 4)["['variables']['params']['bias_1']"] for name in "ab"))


def test_what_is_finished_is_not_prepared_again(finished, tmp_path):
    folder, _ = finished
    first, _, hot = (run.config for run in members())
    assert together.is_finished(first, folder / "a") and not together.is_finished(first, tmp_path)
    assert not together.is_finished(hot, folder / "hot")
    longer = members("train.updates=5")[0].config
    assert not together.is_finished(longer, folder / "a")
    with pytest.raises(ConfigError, match="was started with another config: seed"):
        together.is_finished(with_values(first, {"seed": 7}), folder / "a")


def test_one_that_diverges_stops_and_the_others_go_on(finished):
    folder, states = finished
    assert [state["state"] for state in states] == [FINISHED, FINISHED, FAILED]
    assert "the training diverged at " in states[2]["reason"] and "smaller train.lr" in states[2]["reason"]
    assert "\n" not in states[2]["reason"]
    assert read_metrics(folder / "hot").index[-1] < 4 <= read_metrics(folder / "a").index[-1]


def test_killed_between_two_checkpoints_they_go_on_bit_for_bit(finished, tmp_path):
    folder, _ = finished
    shutil.copytree(folder, tmp_path / "cut")
    # As a kill leaves them: the first run has its checkpoint of update 3, the other only that of update 2.
    for name, lost in (("a", (4,)), ("b", (3, 4))):
        for step in lost:
            shutil.rmtree(tmp_path / "cut" / name / "checkpoints" / f"step_{step:08d}")
    runs = members()
    results = together.train_together([run.config for run in runs], [tmp_path / "cut" / run.name for run in runs])
    assert [result["finished"] for result in results] == [True, True, False] and "failed" in results[2]
    for name in "ab":
        expected, found = (leaves(place / name, 4) for place in (folder, tmp_path / "cut"))
        for leaf, array in expected.items():
            np.testing.assert_array_equal(found[leaf], array, err_msg=leaf)
        assert rows(tmp_path / "cut" / name) == rows(folder / name)


@pytest.mark.slow
def test_a_run_that_began_beside_others_goes_on_alone(finished, tmp_path):
    shutil.copytree(finished[0] / "a", tmp_path / "a")
    config = members("train.updates=5")[0].config
    assert np.isfinite(train(config, tmp_path / "a")["loss"])
    assert read_metrics(tmp_path / "a").index[-1] == 5


@pytest.mark.slow
def test_where_memory_is_short_they_train_in_smaller_groups(tmp_path, monkeypatch):
    runs = members(grid="sweep.runs=(('a',()),('b',(('seed',1),)),('c',(('seed',2),)))")
    asked = []
    compile_update = together.compile_update

    def counted(run, states, numbers):
        asked.append(len(states))
        # Memory for two: the real program of three is compiled, measured and refused.
        return compile_update(run, states, numbers)

    needed = {}

    def measured(compiled):
        needed[asked[-1]] = needed_bytes(compiled)
        return needed[asked[-1]]

    needed_bytes = together.needed_bytes
    monkeypatch.setattr(together, "compile_update", counted)
    monkeypatch.setattr(together, "needed_bytes", measured)
    # A device of no memory: every program but that of a single run is refused.
    monkeypatch.setattr(together, "device_bytes", lambda: 0)
    results = together.train_together([r.config for r in runs], [tmp_path / r.name for r in runs])
    assert asked == [3, 2] and 0 < needed[2] < needed[3]
    assert [result["finished"] for result in results] == [True] * 3


CHANGES = {
    "seed": 3, "data.noise": 0.5, "initializer.lr": 0.02, "negative.renewed": 0.6, "train.lr": 3e-3,
    "train.lr_final": 1e-4, "train.latent_lr": 0.5, "train.average": 0.9, "train.l2": 0.1, "train.energy_unit": 0.05,
    "train.max_energy": 1e3, "sampler.{}.step_size": 0.07, "sampler.{}.temperature": 0.05,
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize(
    ("sampler", "arrange"),
    [
        ("underdamped", jax.vmap),  # as on an accelerator; the other tests run as the CPU does
        *((name, way) for name in ("langevin", "sghmc") for way in (jax.vmap, together.in_turn)),
    ],
)
def test_numbers_act_in_a_shared_program_as_they_do_alone(sampler, arrange):
    changes = {field.format(sampler): value for field, value in CHANGES.items()}
    if sampler == "underdamped":
        changes["sampler.underdamped.friction"] = 0.6
    others = {name.split(".")[1] for name in together.NUMBERS if name.startswith("sampler.")} - {sampler}
    known = {*together.NUMBERS, *together.OUTSIDE}
    assert {name for name in known if not name.startswith(tuple(f"sampler.{other}." for other in others))} == {*changes}
    grid = f"sweep.runs=(('a',()),('b',{tuple(changes.items())}))"
    one, other = members(f"sampler.name={sampler}", "positive.start=initializer", "train.lr_schedule=cosine", grid=grid)
    assert together.program(one.config) == together.program(other.config)

    configs = [one.config, other.config]
    trainers = [make_trainer(config, 64) for config in configs]
    numbers = together.varied_numbers(configs)
    assert set(numbers) == {name for name in changes if name in together.NUMBERS}
    images = 0.1 * jax.random.normal(jax.random.key(5), (2, 8, 8, 8, 1))
    states = [jax.jit(t.create_state)(jax.random.key(i)) for i, t in enumerate(trainers)]

    class Run:
        config, trainer, images = configs[0], trainers[0], type("Images", (), {"train": np.zeros((64, 8, 8, 1))})

    update = jax.jit(together.make_update(Run, arrange))
    state = together.stack_states(states)
    for _ in range(2):
        state, metrics, _ = update(numbers, state, images, jnp.array([True, True]))
    # One that does not take part keeps its state, bit for bit.
    still, _, _ = update(numbers, state, images, jnp.array([False, True]))
    same = [np.array_equal(*(np.asarray(leaf[0]) for leaf in pair))
            for pair in zip(jax.tree.leaves(state.variables), jax.tree.leaves(still.variables), strict=True)]
    assert all(same) and not np.array_equal(state.step, still.step)
    for index, trainer in enumerate(trainers):
        alone, step = states[index], jax.jit(trainer.update)
        for _ in range(2):
            alone, expected, _ = step(alone, images[index])
        for name, value in expected.items():
            np.testing.assert_allclose(metrics[name][index], value, rtol=2e-3, atol=2e-5, err_msg=name)
        for found, leaf in zip(jax.tree.leaves(state.variables), jax.tree.leaves(alone.variables), strict=True):
            np.testing.assert_allclose(found[index], leaf, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize(
    "change",
    ["('train.average',0.0)", "('train.latent_lr',1.0)", "('train.lr_decay',0.5)", "('negative.steps',3)",
     "('sampler.underdamped.temperature',(0.02,0.01))", "('model.gain',2.0)", "('sampler.name','langevin')"],
)  # fmt: skip
def test_what_shapes_the_program_keeps_runs_apart(change):
    runs = members(grid=f"sweep.runs=(('a',()),('b',({change},)),('c',(('seed',4),('train.lr',0.1))))")
    assert [[run.name for run in group] for group in group_runs(runs, together.program, 16)] == [["a", "c"], ["b"]]


def test_over_several_devices_they_come_one_after_another(tmp_path, monkeypatch):
    runs = members(grid="sweep.grid=(('seed',(0,1,2,3)),)")
    steps, trained = {"seed=0": 4, "seed=1": None, "seed=2": 3, "seed=3": 4}, []

    def train(config, folder):
        trained.append(folder.name)
        if steps[folder.name] is None:
            raise NonFiniteError("the training diverged at step 2")

    class Folder:
        def __init__(self, folder):
            self.steps = lambda: [steps[folder.name]]

    monkeypatch.setattr(jax, "device_count", lambda: 2)
    monkeypatch.setattr(together, "train", train)
    monkeypatch.setattr(together, "open_checkpoints", lambda config, folder: contextlib.nullcontext(Folder(folder)))
    results = together.train_together([run.config for run in runs], [tmp_path / run.name for run in runs])
    # One that diverges stops no other; one that was asked to stop ends all.
    assert trained == ["seed=0", "seed=1", "seed=2"]
    assert [result["finished"] for result in results] == [True, False, False, False]
    assert results[1]["failed"] == "the training diverged at step 2"
