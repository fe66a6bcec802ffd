"""Recording a trained model as one records cortex: stimuli are shown, states, momenta, energies and forces are kept.

`record(config, workdir)` runs the experiments of config.record (see `protocols`) in blocks of stimuli and leaves one
recording each under `workdir/recordings/` (see `recordings.files`), at one of two levels:

    full       everything asked for: arrays VARIABLE/LAYER (time, stimulus, height, width, channel)
    analysis   what the analyses read: per neuron and period the statistics of the state (statistics/LAYER/..., see
               `period_statistics`), the state at the sites of the protocol (state/LAYER/sites), the other variables at
               the middle (VARIABLE/LAYER/centre), and every so manieth frame of a few stimuli (movie/LAYER)

Both hold the images shown and the places of the sites.  State and momentum are those after each step, energy and
gradient those at the state before it.  Memory is bounded by the block: at level `analysis` the states of a block stay
in memory until its statistics are made, beside the sampling of the next block.  A block's chains depend on the seed,
the experiment and the block alone, so a recording that is killed and resumed equals an undisturbed one.

The experiments of config.record.controlled are recorded once more under each control (see `controls`), in recordings
named EXPERIMENT@CONTROL.
"""

from __future__ import annotations

import pathlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from nrf.blocks import Blocks, filmed
from nrf.controls import CHAINS, Control, check_controls, controlled_experiments, make_controls
from nrf.phases import make_gradient_fn, uniform_states
from nrf.protocols import Protocol, make_protocol
from nrf.trained import Trained, read_trained, start_states
from nrf.update import read_sampler, to_states
from recordings.files import (
    CONTROL_MARK,
    Array,
    Schema,
    Writer,
    recording_folder,
)
from recordings.period_statistics import LEAST_STEPS, STATISTICS, count_batches
from runtime import devices
from runtime.config import ConfigError, did_you_mean
from runtime.images import load_images
from runtime.interrupt import stop_on_signal
from runtime.metrics import Progress

LEVELS = ("analysis", "full")
VARIABLES = ("state", "momentum", "energy", "gradient")
TRACE_TYPES = ("float16", "float32")
MAPS = ("stimulus", "height", "width", "channel")


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


def record(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Make the recordings of config.record, or what is missing of them; returns the folder of each by name.

    Raises ConfigError for fields that cannot be used, RecordingError for a recording of other settings in the way or
    chains that diverge.
    """
    check_settings(config)
    devices.set_matmul_precision(config.precision)
    jobs = make_jobs(config, workdir)
    with stop_on_signal() as stop, ExitStack() as open_writers:
        writers = [open_writers.enter_context(Writer(job.folder, job.schema)) for job in jobs]
        missing = [writer.missing() for writer in writers]
        total = sum(job.chunks * job.schema.num_blocks for job in jobs)
        done = total - sum(job.chunks * len(blocks) for job, blocks in zip(jobs, missing, strict=True))
        progress = open_writers.enter_context(Progress(total, done, "recording"))
        for job, writer, todo in zip(jobs, writers, missing, strict=True):
            with Blocks(job.config.record, job.protocol, writer) as blocks:
                for block in todo:
                    if stop.requested:
                        break
                    size = sum(each.bytes_on_disk() for each in writers)
                    for first, traces in run_block(job, block):
                        blocks.take(block, first, traces)
                        done += 1
                        progress.update(done, f"{job.name}, {size / 1e6:.1f} MB on disk")
                    blocks.complete(block)
    if stop.requested:
        print("stopped after a whole block; the same command goes on from there")
    return {job.name: job.folder for job in jobs}


def make_jobs(config: ConfigDict, workdir: str | pathlib.Path) -> list[Job]:
    """The recordings that config.record asks for, controls last; nothing is recorded yet."""
    trained = read_trained(config, workdir)
    data, names = config.data, config.record.experiments
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    )  # fmt: skip
    protocols = {name: make_protocol(name, config, images, trained.model) for name in names}
    recorders: dict[tuple, Recorder] = {}

    def make_job(protocol: Protocol, config: ConfigDict, trained: Trained, control: Control | None = None) -> Job:
        name = f"{protocol.name}{CONTROL_MARK}{control.name}" if control else protocol.name
        schema = make_schema(config, protocol, trained, control.about if control else None)
        kind = control and control.name, protocol.clamped
        if kind not in recorders:
            recorders[kind] = make_recorder(config, trained, protocol.clamped)
        return Job(name, recording_folder(workdir, name), config, trained, protocol, schema, recorders[kind])

    # Before any control is computed, what cannot be recorded is refused.
    jobs = [make_job(protocol, config, trained) for protocol in protocols.values()]
    tuned_on = np.asarray(to_states(images.train[:CHAINS], trained.model, data.rescale), np.float32)
    for control in make_controls(config, workdir, trained, tuned_on):
        controlled = [protocols[name] for name in controlled_experiments(config)]
        jobs += [make_job(protocol, control.config, control.trained, control) for protocol in controlled]
    return jobs


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
    check_controls(config)


def make_schema(
    config: ConfigDict, protocol: Protocol, trained: Trained, control: Mapping[str, Any] | None = None
) -> Schema:
    """What the recording of a protocol holds, without computing anything; `Schema.num_bytes` is its size.

    control: what the recording says of the control that it is.
    """
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
        "batch_steps": record.batch_steps,
        "filmed": filmed(record.movie, count),
        "movie_every": record.movie_every,
        "seed": config.seed,
        "updates": trained.updates,
        "sampler": {"name": config.sampler.name, **_plain(config.sampler[config.sampler.name])},
        "architecture": trained.model.architecture.name,
        **({} if control is None else {"control": dict(control)}),
    }
    return Schema(arrays, count, min(record.block, count), about)


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
                    # Rounding where the numbers are made halves what has to be moved.
                    traces[f"{variable}/{layer}"] = found.astype(record.dtype) if record.level == "full" else found
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
    screens = devices.shard_batch(screens, mesh) if mesh.size > 1 else tuple(map(jnp.asarray, screens))
    key = jax.random.fold_in(jax.random.key(config.seed), zlib.crc32(protocol.name.encode()))
    start_key, key = jax.random.split(jax.random.fold_in(key, block))
    weights, boundaries = job.trained.weights, jnp.asarray(protocol.periods.boundaries)
    state = recorder.start(start_key, weights, screens)
    for first in range(0, protocol.periods.total, config.record.chunk):
        state, traces = recorder.chunk(key, weights, state, screens, boundaries, jnp.int32(first))
        yield first, state, traces


def _on_host(first: int, traces: dict, kept: int, total: int) -> tuple[int, dict[str, np.ndarray]]:
    return first, {name: np.asarray(values)[: total - first, :kept] for name, values in traces.items()}


def _plain(options: ConfigDict) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
