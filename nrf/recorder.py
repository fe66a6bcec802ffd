"""From a step of the sampler to what a recording keeps of it, a block of stimuli at a time.

The sampler's steps are compiled in chunks (`make_recorder`), whose traces come to the host while the next chunk is
computed (`run_block`). At level `full` they are written as they come; at level `analysis` they wait in memory until
their block is complete, and are reduced (`recordings.period_statistics`) in a thread beside the sampling of the next
block (`Blocks`). Which arrays there are is said in `nrf.experiments`.
"""

from __future__ import annotations

import os
import pathlib
import sys
import threading
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf.from_config import read_sampler
from nrf.phases import make_gradient_fn, uniform_states
from nrf.protocols import Protocol
from nrf.trained import Trained, start_states
from recordings import names, period_statistics
from recordings.format import Schema
from recordings.names import ENERGY, FULL, GRADIENT, MOMENTUM, STATE
from recordings.sites import in_layer
from recordings.writing import Writer
from runtime import devices
from runtime.errors import ConfigError


class Recorder(NamedTuple):
    """Pure functions that record a block of B chains."""

    start: Callable[..., Any]  # (key, weights, screens) -> sampler state; screens: three images (B, H, W, C)
    chunk: Callable[..., tuple]  # (key, weights, state, screens, boundaries, first step) -> (state, {name: traces})


class Job(NamedTuple):
    """One recording to make."""

    name: str  # of the recording
    folder: pathlib.Path
    config: ConfigDict
    trained: Trained
    protocol: Protocol
    schema: Schema
    recorder: Recorder

    @property
    def chunks(self) -> int:
        """Calls of the compiled program per block."""
        return -(-self.protocol.periods.total // self.config.record.chunk)


def make_recorder(config: ConfigDict, trained: Trained, clamped: bool) -> Recorder:
    """Build the functions that record a block; the traces are the full arrays of the config's layers.

    At level `analysis` all of the state, but of the other variables the middle alone.
    """
    record, model = config.record, trained.model
    sampler, clip = read_sampler(config, model, clamped), config.sampler.gradient_clip or None
    if MOMENTUM in record.variables and not sampler.inertia:
        raise ConfigError(
            f"config.record.variables names '{MOMENTUM}', but the sampler '{sampler.name}' has none; leave it out"
        )
    offset = 1 if clamped else 0
    # The statistics are those of the state, whether or not its traces were asked for.
    kept = record.variables if record.level == FULL else dict.fromkeys((STATE, *record.variables))

    def gradient_of(weights, image):
        return make_gradient_fn(model, weights, image if clamped else None, clip)

    def start(key: jax.Array, weights, screens: tuple[jax.Array, ...]):
        states = start_states(trained, key, screens[0], config.positive.start)
        if not clamped:
            states = uniform_states(key, model, screens[0].shape[0])
        return sampler.init(states[offset:], gradient_of(weights, screens[0]))

    def values(variable: str, layer: int, weights, image, before, state, info) -> jax.Array:
        if variable == ENERGY:
            states = (image, *before) if clamped else before
            return model.unit_energies(weights, states)[layer]
        source = {STATE: state.position, MOMENTUM: state.momentum, GRADIENT: info.gradient}[variable]
        return source[layer - offset]

    def chunk(key: jax.Array, weights, state, screens, boundaries: jax.Array, first: jax.Array):
        shown = jnp.stack([*screens, screens[1]])  # burn-in, blank, stimulus, blank

        def advance(state, time):
            image = shown[jnp.sum(time >= boundaries)]
            gradient_fn = gradient_of(weights, image)
            # What it remembers of the energy is that under the image before.
            state = sampler.place(state, state.position, gradient_fn)
            before = tuple(state.position)
            state, info = sampler.step(jax.random.fold_in(key, time), state, gradient_fn)
            traces = {names.TOTAL_ENERGY: info.energy}
            for layer in record.layers:
                for variable in kept:
                    found = values(variable, layer, weights, image, before, state, info)
                    if record.level != FULL and variable != STATE:
                        found = found[:, found.shape[1] // 2, found.shape[2] // 2]
                    # Rounding where the numbers are made halves what has to be moved.
                    traces[names.traces(variable, layer)] = (
                        found.astype(record.dtype) if record.level == FULL else found
                    )
            return state, traces

        return jax.lax.scan(advance, state, first + jnp.arange(record.chunk))

    return Recorder(jax.jit(start), jax.jit(chunk))


def run_block(job: Job, block: int) -> Iterator[tuple[int, dict[str, np.ndarray]]]:
    """Record a block of stimuli: yields (first step, {name: (steps, B, ...)}) while the next chunk is computed."""
    here, total, waiting = job.schema.stimuli_of(block), job.protocol.periods.total, None
    kept = here.stop - here.start
    for first, _, traces in sample_block(job, block):
        if waiting is not None:
            yield _on_host(*waiting, kept, total)
        waiting = (first, traces)
    yield _on_host(*waiting, kept, total)


def sample_block(job: Job, block: int) -> Iterator[tuple[int, Any, dict[str, jax.Array]]]:
    """Start the chunks of a block one after another: yields (first step, sampler state, traces) not yet computed."""
    config, recorder, protocol = job.config, job.recorder, job.protocol
    size, count = min(config.record.block, len(protocol.images)), len(protocol.images)
    # A last block of fewer stimuli runs the same program.
    rows = np.minimum(np.arange(block * size, (block + 1) * size), count - 1)
    screens = (protocol.burn_in_images[rows], np.repeat(protocol.blank[None], size, axis=0), protocol.images[rows])
    mesh = devices.make_mesh()
    screens = devices.shard_batch(screens, mesh) if mesh.size > 1 else jax.device_put(screens)
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(protocol.name.encode()))
    start_key, key = jax.random.split(jax.random.fold_in(key, block))
    weights, boundaries = job.trained.weights, np.asarray(protocol.periods.boundaries)
    state = recorder.start(start_key, weights, screens)
    for first in range(0, protocol.periods.total, config.record.chunk):
        state, traces = recorder.chunk(key, weights, state, screens, boundaries, np.int32(first))
        yield first, state, traces


def _on_host(first: int, traces: dict, kept: int, total: int) -> tuple[int, dict[str, np.ndarray]]:
    return first, {name: np.asarray(values)[: total - first, :kept] for name, values in traces.items()}


class Blocks:
    """Takes the traces of one block after another and writes what the level of the recording keeps of them.

    Leaving the context without an error waits for the last block.

    Args:
        job: the recording.
        writer: of its schema.
    """

    def __init__(self, job: Job, writer: Writer):
        self._record, self._protocol, self._writer = job.config.record, job.protocol, writer
        layers = job.trained.model.architecture.layers
        self._sizes = {layer: layers[layer].size for layer in job.config.record.layers}
        self._pool, self._job = ThreadPoolExecutor(1, initializer=_let_others_first), None
        self._traces: dict[str, list[np.ndarray]] = {}

    def take(self, block: int, first: int, traces: dict[str, np.ndarray]) -> None:
        """Write a chunk (level `full`) or keep it until the block is complete."""
        self._write_reduced(wait=False)
        for name, values in traces.items():
            if self._record.level == names.FULL:
                self._writer.write(block, name, values, first)
            else:
                self._traces.setdefault(name, []).append(values)

    def complete(self, block: int) -> None:
        """The block's last chunk was taken."""
        rows = self._writer.schema.stimuli_of(block)
        fixed = {names.IMAGES: self._protocol.images[rows]}
        for layer in self._record.layers:
            fixed[names.sites(layer)] = self._sites(layer)[rows]
        if self._record.level == names.FULL:
            self._finish(block, fixed)
            return
        self._write_reduced(wait=True)
        job = self._pool.submit(self._reduce, rows, self._traces, fixed)
        self._job, self._traces = (block, job), {}

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._write_reduced(wait=True)
        self._pool.shutdown(cancel_futures=True)

    def _reduce(self, rows: slice, traces: dict[str, list[np.ndarray]], arrays: dict) -> dict[str, np.ndarray]:
        record, arrays = self._record, {**arrays, names.TOTAL_ENERGY: np.concatenate(traces[names.TOTAL_ENERGY])}
        for layer in record.layers:
            pieces = traces[names.traces(names.STATE, layer)]
            arrays |= period_statistics.reduce(pieces, self._protocol.periods, record.batch_steps, layer)
            sites = self._sites(layer)[rows].astype(int)
            chains = np.arange(len(sites))[:, None]
            kept = [piece[:, chains, sites[..., 0], sites[..., 1]] for piece in pieces]
            arrays[names.site_traces(layer)] = np.concatenate(kept)
            for variable in record.variables:
                if variable != names.STATE:
                    arrays[names.centre(variable, layer)] = np.concatenate(traces[names.traces(variable, layer)])
            if record.movie:
                here = [n for n in filmed(record.movie, len(self._protocol.images)) if rows.start <= n < rows.stop]
                arrays[names.movie(layer)] = _frames(pieces, [n - rows.start for n in here], record.movie_every)
        return arrays

    def _sites(self, layer: int) -> np.ndarray:
        return in_layer(self._protocol.sites, self._protocol.images.shape[1:3], self._sizes[layer])

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


def filmed(movie: int, stimuli: int) -> list[int]:
    """Stimuli of which a movie is kept, evenly spread."""
    return sorted({int(k * stimuli // movie) for k in range(movie)}) if movie else []


def _let_others_first() -> None:
    """Lower this thread's priority: statistics are made in the time that the sampler leaves idle."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(os.nice(0) + 10, 19))


def _frames(pieces: list[np.ndarray], filmed_chains: list[int], every: int) -> np.ndarray:
    """Every n-th frame of some chains, zeros for the others."""
    starts = np.cumsum([0, *map(len, pieces)])
    shown = [piece[-start % every :: every] for piece, start in zip(pieces, starts, strict=False)]
    shape = (sum(map(len, shown)), *pieces[0].shape[1:])
    if not filmed_chains:
        return np.broadcast_to(np.float32(0), shape)  # most blocks: costs no memory
    frames = np.zeros(shape, np.float32)
    frames[:, filmed_chains] = np.concatenate([each[:, filmed_chains] for each in shown])
    return frames
