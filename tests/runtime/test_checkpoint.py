"""Checkpoints come back bit for bit, and whatever is not whole is never used."""

import logging
import os
import signal
import subprocess
import sys
import time
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest

from runtime import checkpoint
from runtime.checkpoint import CheckpointError, Checkpoints, read_tree
from runtime.manifest import write_manifest
from tests.conftest import REPOSITORY


class Carried(NamedTuple):
    params: dict
    optimizer: optax.OptState
    chains: tuple
    key: jax.Array
    step: int
    temperature: float
    converged: bool


def carried(seed: int = 0) -> Carried:
    key = jax.random.key(seed)
    params = {"conv": {"kernel": jax.random.normal(key, (3, 3, 2, 4)), "bias": jnp.zeros(4)}, "a.b/c": jnp.arange(3)}
    params["half"] = jnp.full((2, 2), 1 / 3, jnp.bfloat16)
    floats = {"w": jax.random.normal(key, (5,))}
    optimizer = optax.chain(optax.clip_by_global_norm(1.0), optax.adam(1e-3)).init(floats)
    chains = (np.random.default_rng(seed).random((4, 2)), jnp.zeros((0, 3)), [jnp.array([True, False]), None])
    return Carried(params, optimizer, chains, jax.random.split(key, 3), 7 + seed, 0.1 + seed, True)


def assert_same_bits(restored, expected):
    assert jax.tree.structure(restored) == jax.tree.structure(expected)
    for one, other in zip(jax.tree.leaves(restored), jax.tree.leaves(expected), strict=True):
        assert type(one) is type(other)
        if isinstance(one, int | float):
            assert one == other
            continue
        assert one.dtype == other.dtype
        if jnp.issubdtype(one.dtype, jax.dtypes.prng_key):
            one, other = jax.random.key_data(one), jax.random.key_data(other)
        assert np.asarray(one).tobytes() == np.asarray(other).tobytes()
        assert np.shape(one) == np.shape(other)


def data_file(directory, step):
    """The largest file of a checkpoint: one that holds array data."""
    files = (path for path in (directory / f"step_{step:08d}" / "tree").rglob("*") if path.is_file())
    return max(files, key=lambda path: path.stat().st_size)


def test_every_kind_of_leaf_comes_back_bit_for_bit(tmp_path):
    with Checkpoints(tmp_path) as checkpoints:
        checkpoints.save(7, carried())
        step, restored = checkpoints.restore(carried(seed=1))
    assert step == 7
    assert_same_bits(restored, carried())


def test_special_floats_keep_their_bits(tmp_path):
    bits = np.array([0x7FC00001, 0x80000000, 0x00000001, 0x7F800000, 0xFFC12345], np.uint32)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": jnp.asarray(bits.view(np.float32))})
    _, restored = checkpoints.restore({"x": jnp.zeros(5)})
    np.testing.assert_array_equal(np.asarray(restored["x"]).view(np.uint32), bits)


def test_restores_into_abstract_template(tmp_path):
    tree = {"w": jnp.arange(6.0).reshape(2, 3), "key": jax.random.key(3, impl="rbg"), "empty": jnp.zeros((0, 2))}
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, tree)
    _, restored = checkpoints.restore(jax.eval_shape(lambda: tree))
    assert_same_bits(restored, tree)


def test_restored_arrays_are_placed_like_the_template(tmp_path):
    sharding = jax.sharding.SingleDeviceSharding(jax.devices()[0])
    free, fixed = jnp.ones(2), jax.device_put(jnp.ones(2), sharding)
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"free": free, "fixed": fixed})
    _, restored = checkpoints.restore({"free": free, "fixed": fixed})
    assert not restored["free"].committed
    assert restored["fixed"].committed
    assert restored["fixed"].sharding == sharding


def test_read_tree_needs_no_template(tmp_path):
    Checkpoints(tmp_path).save(7, carried())
    tree = read_tree(tmp_path)
    np.testing.assert_array_equal(tree["params"]["conv"]["kernel"], carried().params["conv"]["kernel"])
    np.testing.assert_array_equal(tree["chains"]["0"], carried().chains[0])
    np.testing.assert_array_equal(tree["key"], jax.random.key_data(carried().key))
    assert (tree["step"], tree["temperature"], tree["converged"]) == (7, 0.1, True)
    assert tree["chains"]["1"].shape == (0, 3)


def test_a_checkpoint_says_nothing_of_where_it_was_written(tmp_path):
    Checkpoints(tmp_path).save(7, carried())
    assert not [p for p in tmp_path.rglob("*") if p.is_file() and str(tmp_path).encode() in p.read_bytes()]


def test_orbax_alone_reads_the_arrays(tmp_path):
    Checkpoints(tmp_path).save(7, {"layer": {"w": np.arange(3.0)}})
    tree = ocp.PyTreeCheckpointer().restore(tmp_path / "step_00000007" / "tree")
    np.testing.assert_array_equal(tree["layer"]["w"], np.arange(3.0))


def test_latest_and_best_steps_are_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=2, best_metric="gap", best_mode="max")
    for step, gap in [(10, 1.0), (20, 5.0), (30, float("nan")), (40, 2.0), (50, 3.0)]:
        checkpoints.save(step, {"x": jnp.full(3, float(step))}, {"gap": gap})
    assert checkpoints.steps() == [20, 40, 50]
    assert checkpoints.best_step() == 20
    assert read_tree(tmp_path, "best")["x"][0] == 20
    assert read_tree(tmp_path, "latest")["x"][0] == 50
    assert read_tree(tmp_path, 40)["x"][0] == 40
    assert Checkpoints(tmp_path / "none").best_step() is None


def test_saving_a_step_again_replaces_it(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(10, {"x": jnp.zeros(2)})
    checkpoints.save(10, {"x": jnp.ones(2)})
    assert checkpoints.restore({"x": jnp.zeros(2)})[1]["x"][0] == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == ["step_00000010"]


def truncate(path):
    path.write_bytes(path.read_bytes()[:-8])


def alter(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = [(truncate, "bytes instead of"), (alter, "other content"), (os.unlink, "missing")]


@pytest.mark.parametrize(("damage", "said"), DAMAGES)
@pytest.mark.parametrize("where", ["data", "manifest"])
def test_damaged_checkpoint_is_named_and_the_one_before_used(tmp_path, caplog, damage, said, where):
    checkpoints = Checkpoints(tmp_path)
    for step in (100, 200):
        checkpoints.save(step, {"x": jnp.full(1000, float(step))})
    file = data_file(tmp_path, 200) if where == "data" else tmp_path / "step_00000200" / "manifest.json"
    damage(file)
    with caplog.at_level(logging.WARNING):
        step, tree = Checkpoints(tmp_path).restore({"x": jnp.zeros(1000)})
    assert (step, tree["x"][0]) == (100, 100)
    (message,) = caplog.messages
    assert "step 200" in message
    assert "step 100 is used instead" in message
    assert file.name in message
    assert where == "manifest" or said in message
    assert read_tree(tmp_path)["x"][0] == 100
    with pytest.raises(CheckpointError, match="step 200"):
        checkpoints.restore({"x": jnp.zeros(1000)}, step=200)
    with pytest.raises(CheckpointError, match="200"):
        read_tree(tmp_path, 200)


def test_damaged_checkpoint_is_not_counted_among_the_kept(tmp_path):
    checkpoints = Checkpoints(tmp_path, keep_last=2)
    for step in (10, 20, 30):
        checkpoints.save(step, {"x": jnp.ones(3)})
    alter(data_file(tmp_path, 30))
    assert checkpoints.restore({"x": jnp.zeros(3)})[0] == 20
    checkpoints.save(25, {"x": jnp.ones(3)})
    assert checkpoints.steps() == [20, 25]


def test_nothing_whole_is_one_clear_error(tmp_path):
    checkpoints = Checkpoints(tmp_path)
    with pytest.raises(CheckpointError, match="no such checkpoint in"):
        checkpoints.restore({})
    checkpoints.save(1, {"x": jnp.zeros(2)})
    alter(data_file(tmp_path, 1))
    with pytest.raises(CheckpointError, match=r"step 1 .* damaged .*other content.*; other finished steps: none"):
        checkpoints.restore({"x": jnp.zeros(2)})


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"a": {"w": jnp.zeros((2, 4))}, "n": 1}, r"a/w is float32\[2,3\] in the .* and float32\[2,4\] in this run"),
        ({"a": {"w": jnp.zeros((2, 3), int)}, "n": 1}, r"a/w is float32\[2,3\] .* int32\[2,3\]"),
        ({"a": {"w": jnp.zeros((2, 3)), "b": 1.0}, "n": 1}, "a/b is missing in the checkpoint"),
        ({"a": {"w": jnp.zeros((2, 3))}}, "n is int.* in the checkpoint and missing in this run"),
    ],
)
def test_another_tree_is_refused_by_the_first_leaf_that_differs(tmp_path, template, message):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"a": {"w": jnp.zeros((2, 3))}, "n": 1})
    with pytest.raises(CheckpointError, match=message):
        checkpoints.restore(template)


def test_leaf_that_is_no_array_is_refused(tmp_path):
    with pytest.raises(ValueError, match="a/name is a str"):
        Checkpoints(tmp_path).save(1, {"a": {"name": "x"}})


def fail_in_tensorstore(manager, step, **arguments):
    (tmp_path := manager.directory / f"step_{step:08d}.orbax-checkpoint-tmp").mkdir()
    (tmp_path / "tree").mkdir()
    raise ValueError("RESOURCE_EXHAUSTED: No space left on device [28]")


def fail_at_the_manifest(folder, content):
    assert (folder / "tree").exists()
    raise OSError(28, "No space left on device")


FULL_DISK = [(ocp.CheckpointManager, "save", fail_in_tensorstore), (checkpoint, "write_manifest", fail_at_the_manifest)]


@pytest.mark.parametrize(("owner", "name", "fail"), FULL_DISK, ids=["tensorstore", "manifest"])
def test_full_disk_leaves_the_earlier_checkpoints(tmp_path, monkeypatch, owner, name, fail):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"x": jnp.zeros(2)})
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        with pytest.raises(CheckpointError, match=r"step 2 .* disk is full .* untouched \(steps: 1\)"):
            checkpoints.save(2, {"x": jnp.ones(2), "key": jax.random.key(0), "n": 3})
        with pytest.raises(CheckpointError, match="untouched"):
            checkpoints.save(1, {"x": jnp.ones(2)})
    assert [path.name for path in tmp_path.iterdir()] == ["step_00000001"]
    assert checkpoints.restore({"x": jnp.ones(2)})[1]["x"][0] == 0
    checkpoints.save(2, {"x": jnp.ones(2)})
    assert checkpoints.steps() == [1, 2]


WRITER = """
import sys, jax.numpy as jnp
from runtime.checkpoint import Checkpoints
checkpoints = Checkpoints(sys.argv[1], keep_last=2)
print("ready", flush=True)
for step in range(1, 10_000):
    checkpoints.save(step, {"x": jnp.full((64, 1024), float(step)), "step": step})
    print(step, flush=True)
"""


def test_killed_at_any_moment_the_last_finished_step_is_there(tmp_path):
    delays = np.random.default_rng(0).uniform(0.0, 0.15, 4)
    for number, delay in enumerate(delays):
        command = [sys.executable, "-c", WRITER, str(tmp_path / str(number))]
        writer = subprocess.Popen(command, cwd=REPOSITORY, stdout=subprocess.PIPE, text=True)
        for _ in range(3):
            finished = int(writer.stdout.readline().replace("ready", "0"))
        time.sleep(delay)
        writer.send_signal(signal.SIGKILL)
        said = writer.stdout.read().split()
        writer.wait()
        finished = int(said[-1]) if said else finished
        checkpoints = Checkpoints(tmp_path / str(number))
        step, tree = checkpoints.restore({"x": jnp.zeros((64, 1024)), "step": 0})
        assert step in (finished, finished + 1)
        assert tree["step"] == step
        assert (np.asarray(tree["x"]) == step).all()
        assert not list((tmp_path / str(number)).glob(".*"))


def test_a_step_of_earlier_versions_is_restored(tmp_path):
    # They wrote the tree with Orbax's checkpointer under a name of their own, without Orbax's metadata of a step.
    tree = {"x": jnp.arange(3.0), "n": np.asarray(4)}
    folder = tmp_path / "step_00000007"
    with ocp.PyTreeCheckpointer() as checkpointer:
        checkpointer.save(folder / "tree", tree)
    leaves = [(("n",), "int", "int", ()), (("x",), "array", "float32", (3,))]
    leaves = [dict(zip(("path", "kind", "dtype", "shape"), leaf, strict=True)) for leaf in leaves]
    write_manifest(folder, {"step": 7, "metrics": {}, "best": {"metric": "loss", "mode": "min"}, "leaves": leaves})
    with Checkpoints(tmp_path) as checkpoints:
        step, restored = checkpoints.restore({"x": jnp.zeros(3), "n": 0})
        assert (step, restored["n"]) == (7, 4)
        np.testing.assert_array_equal(restored["x"], [0, 1, 2])
        checkpoints.save(9, {"x": jnp.zeros(3), "n": 5})
        assert checkpoints.steps() == [7, 9]


def test_kill_before_the_manifest_leaves_the_step_before(tmp_path):
    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        checkpoints.save(1, {"x": jnp.zeros(2)})
        with pytest.MonkeyPatch.context() as patch:
            # A killed program cannot clean up.
            patch.setattr(checkpoint, "write_manifest", lambda *arguments: sys.exit())
            patch.setattr(checkpoint, "_withdraw", lambda folder: None)
            patch.setattr(checkpoint, "_tidy", lambda directory: None)
            with pytest.raises(SystemExit):
                checkpoints.save(2, {"x": jnp.ones(2)})
    assert (tmp_path / "step_00000002" / "tree").exists()
    with Checkpoints(tmp_path, keep_last=1) as checkpoints:
        assert checkpoints.restore({"x": jnp.ones(2)})[0] == 1
        checkpoints.save(2, {"x": jnp.ones(2)})
        assert checkpoints.steps() == [2]


@pytest.mark.parametrize("arrived", [True, False])
def test_kill_between_the_two_moves_of_a_replacement(tmp_path, arrived):
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(5, {"x": jnp.zeros(2)})
    folder, aside = tmp_path / "step_00000005", tmp_path / ".replaced_step_00000005"
    folder.rename(aside)
    if arrived:
        checkpoints.save(5, {"x": jnp.ones(2)})
    assert Checkpoints(tmp_path).restore({"x": jnp.zeros(2)})[1]["x"][0] == float(arrived)
    assert not aside.exists()
