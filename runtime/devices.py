"""Where a run computes: one laptop core, several GPUs, or several processes of a cluster job.

There is one mesh axis, `batch`, over all devices of all processes. Chains, replay buffer and recordings are sharded
along it; parameters are replicated; XLA inserts the sums over devices that the gradients need. A program written for
arrays placed this way is the same on one device and on many.
"""

import os
from functools import partial
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.experimental import multihost_utils
from jax.sharding import Mesh, NamedSharding, PartitionSpec, Sharding

from runtime.errors import ConfigError, did_you_mean

BATCH_AXIS = "batch"
MATMUL_PRECISIONS = ("default", "high", "highest")
# What job managers tell each process about how many there are: only `srun` sets Slurm's, so that a program started
# directly in an allocation of many tasks stays alone.
PROCESS_COUNTS = ("SLURM_STEP_NUM_TASKS", "OMPI_COMM_WORLD_SIZE", "JAX_NUM_PROCESSES")


def initialize() -> None:
    """Joins the processes of a job into one computation; does nothing where there is only one.

    Slurm and Open MPI are recognised by the variables they set. Elsewhere JAX_COORDINATOR_ADDRESS (host:port of process
    0), JAX_NUM_PROCESSES and JAX_PROCESS_ID (from 0) say the same. Call it before anything else of JAX.

    Raises:
        ConfigError: the processes cannot be joined.
    """
    num_processes = next((int(os.environ[name]) for name in PROCESS_COUNTS if name in os.environ), 1)
    if num_processes == 1 or jax.distributed.is_initialized():
        return
    arguments = {}
    if "JAX_NUM_PROCESSES" in os.environ:
        missing = [name for name in ("JAX_COORDINATOR_ADDRESS", "JAX_PROCESS_ID") if name not in os.environ]
        if missing:
            raise ConfigError(f"JAX_NUM_PROCESSES is {num_processes}, but {' and '.join(missing)} is not set")
        arguments = {"num_processes": num_processes, "process_id": int(os.environ["JAX_PROCESS_ID"])}
    try:
        jax.distributed.initialize(**arguments)
    except (RuntimeError, ValueError) as error:
        raise ConfigError(f"the {num_processes} processes of this job could not be joined: {error}") from error


def make_mesh() -> Mesh:
    """Returns the mesh: one axis, `batch`, over all devices of all processes."""
    return Mesh(np.asarray(jax.devices()), (BATCH_AXIS,))


def shard_batch(tree: Any, mesh: Mesh) -> Any:
    """Returns a tree whose arrays are cut along their leading axis, one equal part on each device.

    Args:
        tree: pytree of arrays (B, …) or typed keys (B,); on several processes, each passes the whole batch.
        mesh: the devices.

    Raises:
        ConfigError: B does not divide by the number of devices.
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        if np.ndim(leaf) == 0:
            name = jax.tree_util.keystr(path, simple=True, separator="/")
            raise ValueError(f"{name} has no batch axis: a scalar is replicated, not sharded")
        check_divides(np.shape(leaf)[0], mesh)
    return jax.tree.map(lambda leaf: place(leaf, NamedSharding(mesh, PartitionSpec(BATCH_AXIS))), tree)


def check_divides(batch_size: int, mesh: Mesh) -> None:
    """Raises a `ConfigError` that names the nearest possible sizes if a batch cannot be shared out evenly."""
    if batch_size % mesh.size:
        below, above = (batch_size // mesh.size * mesh.size, -(-batch_size // mesh.size) * mesh.size)
        possible = f"{below} or {above}" if below else above
        raise ConfigError(f"a batch of {batch_size} cannot be shared out over {mesh.size} devices: use {possible}")


def place(leaf: Any, sharding: Sharding) -> jax.Array:
    """Returns an array, or an array of typed keys, laid out over devices, those of other processes among them.

    Args:
        leaf: array of any kind; one that is not sharded already must be the same in every process.
        sharding: the layout.
    """
    if sharding.is_fully_addressable:
        return jax.device_put(leaf, sharding)
    if isinstance(leaf, jax.Array) and not leaf.is_fully_addressable:
        return jax.jit(lambda array: array, out_shardings=sharding)(leaf)
    if isinstance(leaf, jax.Array) and jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
        wrap = partial(jax.random.wrap_key_data, impl=jax.random.key_impl(leaf))
        return jax.jit(wrap, out_shardings=sharding)(place(jax.random.key_data(leaf), sharding))
    array = np.asarray(leaf)
    array = array.astype(jax.dtypes.canonicalize_dtype(array.dtype))
    return jax.make_array_from_callback(array.shape, sharding, lambda index: array[index])


def fetch(array: jax.Array) -> np.ndarray:
    """Returns an array whole, wherever its parts live; of several processes, all must call it together."""
    if array.is_fully_addressable or array.is_fully_replicated:
        return np.asarray(array)
    return np.asarray(multihost_utils.process_allgather(array, tiled=True))


def enable_compilation_cache(folder: str | os.PathLike) -> None:
    """Keeps compiled programs in a folder, so that a program compiled once starts at once the next time.

    A folder that the environment names (JAX_COMPILATION_CACHE_DIR) wins.
    """
    if jax.config.jax_compilation_cache_dir is None:
        jax.config.update("jax_compilation_cache_dir", str(Path(folder).expanduser().absolute()))


def set_matmul_precision(name: str) -> None:
    """Sets the precision of matrix products and convolutions: 'default' is the fastest a GPU has, 'highest' float32."""
    if name not in MATMUL_PRECISIONS:
        raise ConfigError(f"unknown matrix precision {name!r}{did_you_mean(name, MATMUL_PRECISIONS)}")
    jax.config.update("jax_default_matmul_precision", name)


def describe() -> str:
    """Returns what the run computes on, in one line."""
    kinds = sorted({device.device_kind for device in jax.devices()})
    processes = f" in {jax.process_count()} processes" if jax.process_count() > 1 else ""
    precision = jax.config.jax_default_matmul_precision or "default"
    backend, number = jax.default_backend(), jax.device_count()
    return f"{backend}: {number} × {', '.join(kinds)}{processes}, matrix precision {precision}"
