"""Recording a trained model as one records cortex: stimuli are shown, states, momenta, energies and forces are kept.

`record(config, workdir)` runs the experiments of config.record (see `protocols`) in blocks of stimuli and leaves one
recording each under `workdir/recordings/` (see `runtime.recordings`), at one of two levels:

    full       everything asked for: arrays VARIABLE/LAYER (time, stimulus, height, width, channel)
    analysis   what the analyses read: per neuron and period the statistics of the state (statistics/LAYER/..., see
               `period_statistics`), the state at the sites of the protocol (state/LAYER/sites), the other variables at
               the middle (VARIABLE/LAYER/centre), and every so manieth frame of a few stimuli (movie/LAYER)

Both hold the images shown and the places of the sites.  State and momentum are those after each step, energy and
gradient those at the state before it.  Memory is bounded by the block: at level `analysis` the states of a block stay
in memory until its statistics are made, beside the sampling of the next block.  A block's chains depend on the seed,
the experiment and the block alone, so a recording that is killed and resumed equals an undisturbed one.
"""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf.period_statistics import LEAST_STEPS, STATISTICS, count_batches, summarise
from nrf.phases import make_gradient_fn, uniform_states
from nrf.protocols import Protocol, in_layer, make_protocol
from nrf.trained import Trained, read_trained, start_states
from nrf.update import read_sampler
from runtime import devices
from runtime.config import ConfigError, did_you_mean
from runtime.images import load_images
from runtime.interrupt import stop_on_signal
from runtime.metrics import Progress
from runtime.recordings import Array, Schema, Writer, recording_folder

LEVELS = ("analysis", "full")
VARIABLES = ("state", "momentum", "energy", "gradient")
TRACE_TYPES = ("float16", "float32")
MAPS = ("stimulus", "height", "width", "channel")


class Recorder(NamedTuple):
    """Pure functions that record a block of B chains."""

    start: Callable[..., Any]  # (key, weights, screens) -> sampler state; screens: three images (B, H, W, C)
    chunk: Callable[..., tuple]  # (key, weights, state, screens, boundaries, first step) -> (state, {name: traces})


def record(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Make the recordings of config.record, or what is missing of them; returns the folder of each experiment.

    Raises ConfigError for fields that cannot be used, RecordingError for a recording of other settings in the way or
    chains that diverge.
    """
    check_settings(config)
    devices.set_matmul_precision(config.precision)
    trained = read_trained(config, workdir)
    data = config.data
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    )  # fmt: skip
    protocols = [make_protocol(name, config, images, trained.model) for name in config.record.experiments]
    schemas = [make_schema(config, protocol, trained) for protocol in protocols]
    recorders = {c: make_recorder(config, trained, c) for c in {protocol.clamped for protocol in protocols}}
    folders = {protocol.name: recording_folder(workdir, protocol.name) for protocol in protocols}
    with stop_on_signal() as stop, ExitStack() as open_writers:
        each = zip(protocols, schemas, strict=True)
        writers = [open_writers.enter_context(Writer(folders[p.name], schema)) for p, schema in each]
        missing = [writer.missing() for writer in writers]
        chunks = [-(-protocol.periods.total // config.record.chunk) for protocol in protocols]
        total = sum(number * schema.num_blocks for number, schema in zip(chunks, schemas, strict=True))
        done = total - sum(number * len(blocks) for number, blocks in zip(chunks, missing, strict=True))
        progress = open_writers.enter_context(Progress(total, done, "recording"))
        for protocol, writer, todo in zip(protocols, writers, missing, strict=True):
            with _Blocks(config, protocol, writer) as blocks:
                for block in todo:
                    if stop.requested:
                        break
                    size = sum(each.bytes_on_disk() for each in writers)
                    for first, traces in run_block(config, trained, recorders[protocol.clamped], protocol, block):
                        blocks.take(block, first, traces)
                        done += 1
                        progress.update(done, f"{protocol.name}, {size / 1e6:.1f} MB on disk")
                    blocks.complete(block)
    if stop.requested:
        print("stopped after a whole block; the same command goes on from there")
    return folders


def check_settings(config: ConfigDict) -> None:
    """Raise ConfigError for fields of config.record that cannot be used, naming the field."""
    record = config.record
    for field, known in (("level", LEVELS), ("dtype", TRACE_TYPES)):
        if record[field] not in known:
            raise ConfigError(f"config.record.{field} is '{record[field]}'; use one of {', '.join(known)}")
    for variable in record.variables:
        if variable not in VARIABLES:
            raise ConfigError(f"config.record.variables names '{variable}'{did_you_mean(variable, VARIABLES)}")
    least = {"block": 1, "chunk": 1, "movie_every": 1, "num_images": 1, "burn_in": 0, "blank": 0, "blank_after": 0}
    least |= {"stimulus": LEAST_STEPS, "observe_steps": LEAST_STEPS, "batch_steps": 1, "patch": 0, "movie": 0}
    for field, bound in least.items():
        if record[field] < bound:
            raise ConfigError(f"config.record.{field} is {record[field]}; it must be at least {bound}")
    if 0 < record.blank + record.blank_after < LEAST_STEPS:
        raise ConfigError(f"config.record.blank and blank_after together must be 0 or at least {LEAST_STEPS} steps")


def make_schema(config: ConfigDict, protocol: Protocol, trained: Trained) -> Schema:
    """What the recording of a protocol holds, without computing anything; `Schema.num_bytes` is its size."""
    record, layers = config.record, trained.model.architecture.layers
    first_layer = 1 if protocol.clamped else 0
    time, count, num_sites = protocol.periods.total, *protocol.sites.shape[:2]
    segments = protocol.periods.segments()
    arrays = {"images": Array(MAPS, protocol.images.shape, "float32")}
    for layer in record.layers:
        if not first_layer <= layer < len(layers):
            raise ConfigError(
                f"config.record.layers names layer {layer}; in the experiment '{protocol.name}' the layers that move "
                f"are {first_layer} to {len(layers) - 1}"
            )
        shape = (count, *layers[layer].size, layers[layer].channels)
        arrays[f"sites/{layer}"] = Array(("stimulus", "site", "coordinate"), (count, num_sites, 2), "int16")
        if record.level == "full":
            for variable in record.variables:
                traces = Array(("time", *MAPS), (time, *shape), record.dtype, record.chunk)
                arrays[f"{variable}/{layer}"] = traces
            continue
        for statistic in STATISTICS:
            name = f"statistics/{layer}/{statistic}"
            arrays[name] = Array(("period", *MAPS), (len(segments), *shape), "float32")
        dims = ("time", "stimulus", "site", "channel")
        arrays[f"state/{layer}/sites"] = Array(dims, (time, count, num_sites, shape[-1]), record.dtype)
        for variable in record.variables:
            if variable != "state":
                centre = Array(("time", "stimulus", "channel"), (time, count, shape[-1]), record.dtype)
                arrays[f"{variable}/{layer}/centre"] = centre
        if record.movie:
            frames = -(-time // record.movie_every)
            arrays[f"movie/{layer}"] = Array(("frame", *MAPS), (frames, *shape), record.dtype)
    about = {
        "experiment": protocol.name,
        "level": record.level,
        "periods": list(protocol.periods),
        "table": {name: np.asarray(column).tolist() for name, column in protocol.table.items()},
        "layers": list(record.layers),
        "variables": list(record.variables),
        "statistics": {
            name: {
                "steps": sum(part.stop - part.start for part in parts),
                "batches": count_batches(parts, record.batch_steps),
            }
            for name, parts in segments.items()
        },
        "filmed": filmed(record.movie, count),
        "movie_every": record.movie_every,
        "seed": config.seed,
        "updates": trained.updates,
        "sampler": {"name": config.sampler.name, **_plain(config.sampler[config.sampler.name])},
        "architecture": trained.model.architecture.name,
    }
    return Schema(arrays, count, min(record.block, count), about)


def filmed(movie: int, stimuli: int) -> list[int]:
    """Stimuli of which a movie is kept, evenly spread."""
    return sorted({int(k * stimuli // movie) for k in range(movie)}) if movie else []


def make_recorder(config: ConfigDict, trained: Trained, clamped: bool) -> Recorder:
    """Build the functions that record a block; the traces are the full arrays of the config's layers.

    At level `analysis` all of the state, but of the other variables the middle alone.
    """
    record, model = config.record, trained.model
    sampler, clip = read_sampler(config, model, clamped), config.sampler.gradient_clip or None
    offset = 1 if clamped else 0
    # The statistics are those of the state, whether or not its traces were asked for.
    variables = record.variables if record.level == "full" else tuple(dict.fromkeys(("state", *record.variables)))

    def gradient_of(weights, image):
        return make_gradient_fn(model, weights, image if clamped else None, clip)

    def start(key: jax.Array, weights, screens: tuple[jax.Array, ...]):
        states = start_states(trained, key, screens[0], config.positive.start)
        if not clamped:
            states = uniform_states(key, model, screens[0].shape[0])
        return sampler.init(states[offset:], gradient_of(weights, screens[0]))

    def values(variable: str, layer: int, weights, image, before, state, info) -> jax.Array:
        if variable == "energy":
            states = (image, *before) if clamped else before
            return model.unit_energies(weights, states)[layer]
        source = {"state": state.position, "momentum": state.momentum, "gradient": info.gradient}[variable]
        return source[layer - offset]

    def chunk(key: jax.Array, weights, state, screens, boundaries: jax.Array, first: jax.Array):
        shown = jnp.stack([*screens, screens[1]])  # burn-in, blank, stimulus, blank

        def advance(state, time):
            image = shown[jnp.sum(time >= boundaries)]
            gradient_fn = gradient_of(weights, image)
            if "energy" in state._fields:  # remembered from the image before
                state = sampler.init(state.position, gradient_fn)
            before = tuple(state.position)
            state, info = sampler.step(jax.random.fold_in(key, time), state, gradient_fn)
            traces = {}
            for layer in record.layers:
                for variable in variables:
                    found = values(variable, layer, weights, image, before, state, info)
                    if record.level == "analysis" and variable != "state":
                        found = found[:, found.shape[1] // 2, found.shape[2] // 2]
                    traces[f"{variable}/{layer}"] = found
            return state, traces

        return jax.lax.scan(advance, state, first + jnp.arange(record.chunk))

    return Recorder(jax.jit(start), jax.jit(chunk))


def run_block(
    config: ConfigDict, trained: Trained, recorder: Recorder, protocol: Protocol, block: int
) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Record a block of stimuli: yields (first step, {name: (steps, B, ...)}) while the next chunk is computed."""
    size, count = min(config.record.block, len(protocol.images)), len(protocol.images)
    rows = np.arange(block * size, (block + 1) * size)
    kept = int((rows < count).sum())
    rows = np.minimum(rows, count - 1)  # a last block of fewer stimuli runs the same program
    screens = (protocol.burn_in_images[rows], np.repeat(protocol.blank[None], size, axis=0), protocol.images[rows])
    mesh = devices.make_mesh()
    screens = devices.shard_batch(screens, mesh) if mesh.size > 1 else tuple(map(jnp.asarray, screens))
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(protocol.name.encode()))
    start_key, key = jax.random.split(jax.random.fold_in(key, block))
    state = recorder.start(start_key, trained.weights, screens)
    boundaries, total = jnp.asarray(protocol.periods.boundaries), protocol.periods.total
    waiting = None
    for first in range(0, total, config.record.chunk):
        state, traces = recorder.chunk(key, trained.weights, state, screens, boundaries, jnp.int32(first))
        if waiting is not None:
            yield _on_host(*waiting, kept, total)
        waiting = (first, traces)
    yield _on_host(*waiting, kept, total)


def _on_host(first: int, traces: dict, kept: int, total: int) -> tuple[int, dict[str, np.ndarray]]:
    return first, {name: np.asarray(values)[: total - first, :kept] for name, values in traces.items()}


class _Blocks:
    """Turns traces into the arrays of a recording; reduces one block in a thread while the next is sampled."""

    def __init__(self, config: ConfigDict, protocol: Protocol, writer: Writer):
        self._record, self._protocol, self._writer = config.record, protocol, writer
        self._pool, self._job = ThreadPoolExecutor(1), None
        self._traces: dict[str, np.ndarray] = {}

    def take(self, block: int, first: int, traces: dict[str, np.ndarray]) -> None:
        """Write a chunk (level `full`) or keep it until the block is complete."""
        self._write_reduced(wait=False)
        for name, values in traces.items():
            if self._record.level == "full":
                self._writer.write(block, name, values, first)
                continue
            if first == 0:
                self._traces[name] = np.empty((self._protocol.periods.total, *values.shape[1:]), np.float32)
            self._traces[name][first : first + len(values)] = values

    def complete(self, block: int) -> None:
        """The block's last chunk was taken."""
        rows = self._writer.schema.stimuli_of(block)
        fixed = {"images": self._protocol.images[rows]}
        for layer in self._record.layers:
            fixed[f"sites/{layer}"] = self._sites(layer)[rows]
        if self._record.level == "full":
            self._finish(block, fixed)
            return
        self._write_reduced(wait=True)
        job = self._pool.submit(self._reduce, rows, self._traces, fixed)
        self._job, self._traces = (block, job), {}

    def __enter__(self) -> _Blocks:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._write_reduced(wait=True)
        self._pool.shutdown(cancel_futures=True)

    def _reduce(self, rows: slice, traces: dict[str, np.ndarray], arrays: dict) -> dict[str, np.ndarray]:
        record, arrays = self._record, dict(arrays)
        segments = self._protocol.periods.segments()
        for layer in record.layers:
            state = traces[f"state/{layer}"]
            periods = [summarise(state, parts, record.batch_steps) for parts in segments.values()]
            for statistic in STATISTICS:
                arrays[f"statistics/{layer}/{statistic}"] = np.stack([p[statistic] for p in periods])
            sites = self._sites(layer)[rows].astype(int)
            chains = np.arange(len(sites))[:, None]
            arrays[f"state/{layer}/sites"] = state[:, chains, sites[..., 0], sites[..., 1]]
            for variable in record.variables:
                if variable != "state":
                    arrays[f"{variable}/{layer}/centre"] = traces[f"{variable}/{layer}"]
            if record.movie:
                movie = np.zeros_like(state[:: record.movie_every])
                for stimulus in filmed(record.movie, len(self._protocol.images)):
                    if rows.start <= stimulus < rows.stop:
                        movie[:, stimulus - rows.start] = state[:: record.movie_every, stimulus - rows.start]
                arrays[f"movie/{layer}"] = movie
        return arrays

    def _sites(self, layer: int) -> np.ndarray:
        shape = self._writer.schema.arrays[self._example(layer)].shape[-3:-1]
        return in_layer(self._protocol.sites, self._protocol.images.shape[1:3], shape)

    def _example(self, layer: int) -> str:
        return f"{self._record.variables[0]}/{layer}" if self._record.level == "full" else f"statistics/{layer}/mean"

    def _write_reduced(self, wait: bool) -> None:
        if self._job is None:
            return
        block, job = self._job
        if wait or job.done():
            self._job = None
            self._finish(block, job.result())

    def _finish(self, block: int, arrays: dict[str, np.ndarray]) -> None:
        for name, values in arrays.items():
            self._writer.write(block, name, values)
        self._writer.finish(block)


def _plain(options: ConfigDict) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
