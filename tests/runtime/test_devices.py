"""The same program gives the same numbers on one device, on four, and in two processes."""

import json
import os
import socket
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from runtime import devices
from runtime.errors import ConfigError
from tests.conftest import REPOSITORY

PROGRAM = """
import json, os, sys
import jax, jax.numpy as jnp, numpy as np
from runtime import devices
from runtime.checkpoint import Checkpoints, read_tree

devices.initialize()
mesh = devices.make_mesh()
rng = np.random.default_rng(0)
whole = jax.sharding.NamedSharding(mesh, jax.sharding.PartitionSpec())
params = {"w": devices.place(rng.standard_normal((6, 3)).astype(np.float32), whole)}
batch = devices.shard_batch({"x": rng.standard_normal((8, 6)), "key": jax.random.split(jax.random.key(0), 8)}, mesh)

@jax.jit
def gradient(params, batch):
    def loss(params):
        noise = jax.vmap(lambda key: jax.random.normal(key, (3,)))(batch["key"])
        return ((batch["x"] @ params["w"] + noise) ** 2).sum()
    return jax.grad(loss)(params)

w = gradient(params, batch)["w"]
checkpoints = Checkpoints(sys.argv[1])
checkpoints.save(1, {"w": params["w"], "x": batch["x"], "key": batch["key"], "n": 3})
step, restored = checkpoints.restore({"w": params["w"], "x": batch["x"], "key": batch["key"], "n": 0})
assert restored["x"].sharding == batch["x"].sharding
for mine, saved in zip(restored["x"].addressable_shards, batch["x"].addressable_shards):
    np.testing.assert_array_equal(mine.data, saved.data)
again = gradient({"w": restored["w"]}, restored)["w"]
checkpoints.close()
print(json.dumps({
    "gradient": np.asarray(w).tolist(), "again": np.asarray(again).tolist(), "devices": mesh.size,
    "processes": jax.process_count(), "shard": batch["x"].addressable_shards[0].data.shape,
    "x": read_tree(sys.argv[1])["x"].tolist(), "described": devices.describe(), "dtype": str(batch["x"].dtype),
}))
"""


def start(folder, device_count, **environment):
    environment |= {"XLA_FLAGS": f"--xla_force_host_platform_device_count={device_count}"}
    command = [sys.executable, "-c", PROGRAM, str(folder)]
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen(command, cwd=REPOSITORY, env=os.environ | environment, **streams)


def result(process):
    output, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    return json.loads(output.splitlines()[-1])


@pytest.fixture(scope="module")
def one_device(tmp_path_factory):
    return result(start(tmp_path_factory.mktemp("one"), 1))


def assert_same_numbers(many, one):
    np.testing.assert_allclose(many["gradient"], one["gradient"], rtol=1e-5, atol=1e-5)
    assert many["again"] == many["gradient"]
    assert many["x"] == one["x"]


def test_four_devices_compute_what_one_does(tmp_path, one_device):
    four = result(start(tmp_path, 4))
    assert (one_device["devices"], four["devices"]) == (1, 4)
    assert four["shard"] == [2, 6]
    assert four["dtype"] == "float32"
    assert "4 × cpu" in four["described"]
    assert_same_numbers(four, one_device)


def test_two_processes_compute_what_one_does(tmp_path, one_device):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{free.getsockname()[1]}"
    job = {"JAX_COORDINATOR_ADDRESS": address, "JAX_NUM_PROCESSES": "2"}
    processes = [start(tmp_path, 1, JAX_PROCESS_ID=str(number), **job) for number in range(2)]
    try:
        results = [result(process) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for both in results:
        assert (both["devices"], both["processes"], both["shard"]) == (2, 2, [4, 6])
        assert "in 2 processes" in both["described"]
        assert_same_numbers(both, one_device)


class FourDevices:
    size = 4


@pytest.mark.parametrize(("batch_size", "possible"), [(10, "8 or 12"), (3, "use 4$"), (127, "124 or 128")])
def test_batch_that_does_not_divide_names_sizes_that_do(batch_size, possible):
    with pytest.raises(ConfigError, match=possible):
        devices.check_divides(batch_size, FourDevices())
    devices.check_divides(128, FourDevices())


def test_sharding_scalars_is_refused_by_name():
    with pytest.raises(ValueError, match="a/0 has no batch axis"):
        devices.shard_batch({"a": [jnp.float32(1.0)]}, devices.make_mesh())


def test_alone_unless_the_environment_says_otherwise(monkeypatch):
    monkeypatch.setenv("SLURM_NTASKS", "8")
    devices.initialize()
    assert jax.process_count() == 1
    monkeypatch.setenv("JAX_NUM_PROCESSES", "2")
    with pytest.raises(ConfigError, match="JAX_COORDINATOR_ADDRESS and JAX_PROCESS_ID"):
        devices.initialize()


def test_settings_are_checked_and_described(monkeypatch):
    before = jax.config.jax_default_matmul_precision, jax.config.jax_compilation_cache_dir
    try:
        devices.set_matmul_precision("highest")
        assert devices.describe() == "cpu: 1 × cpu, matrix precision highest"
        with pytest.raises(ConfigError, match="did you mean 'highest'"):
            devices.set_matmul_precision("higest")
        jax.config.update("jax_compilation_cache_dir", None)
        devices.enable_compilation_cache("first")
        devices.enable_compilation_cache("second")
        assert jax.config.jax_compilation_cache_dir.endswith("/first")
    finally:
        jax.config.update("jax_default_matmul_precision", before[0])
        jax.config.update("jax_compilation_cache_dir", before[1])
