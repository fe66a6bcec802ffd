"""Recording a trained model as one records cortex: stimuli are shown, states, momenta, energies and forces are kept.

`record(config, workdir)` runs the experiments of config.record (see `protocols`) in blocks of stimuli and leaves one
recording each under `workdir/recordings/` (see `recordings.format`), at one of two levels:

    full       everything asked for: arrays VARIABLE/LAYER (time, stimulus, height, width, channel)
    analysis   what the analyses read: per neuron and period the statistics of the state (statistics/LAYER/..., see
               `recordings.period_statistics`), the state at the sites of the protocol (state/LAYER/sites), the other
               variables at the middle (VARIABLE/LAYER/centre), and every n-th frame of a few stimuli (movie/LAYER)

Both hold the images shown, the energy of all layers together (energy/total) and the places of the sites; beside them
lies a contact sheet of the stimuli. State and momentum are those after each step, energy and gradient those at the
state before it. Memory is bounded by the block (see `nrf.recorder`). A block's chains depend on the seed, the
experiment and the block alone, so a recording that is killed and resumed equals an undisturbed one.

The experiments of config.record.controlled are recorded once more under each control (see `controls`), in recordings
named EXPERIMENT@CONTROL. With config.record.known the system with known answers (see `nrf.known`) is recorded as
well, in the run folder `known` inside this one: what the checks find there says what they are worth.
"""

from __future__ import annotations

import pathlib
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from typing import Any

import numpy as np
from ml_collections import ConfigDict

from nrf.controls import CHAINS, Control, check_controls, controlled_experiments, make_controls
from nrf.known import recording as known_system
from nrf.known.settings import settings
from nrf.protocols import Protocol, make_protocol
from nrf.recorder import Blocks, Job, Recorder, filmed, make_recorder, run_block
from nrf.stimuli import write_contact_sheet
from nrf.trained import Trained, read_trained
from recordings import names, period_statistics
from recordings.format import STIMULUS, TIME, Array, Schema
from recordings.names import FULL, STATE
from recordings.periods import LEAST_STEPS
from recordings.reading import recording_folder
from recordings.writing import Writer
from runtime import devices
from runtime.errors import ConfigError
from runtime.images import load_images
from runtime.interrupt import stop_on_signal
from runtime.metrics import Progress


def record(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, pathlib.Path]:
    """Make the recordings of config.record, or what is missing of them; returns the folder of each by name.

    Args:
        config: of the run.
        workdir: run folder with a trained model.

    Raises:
        ConfigError: fields that cannot be used.
        RecordingError: a recording of other settings is in the way, or chains diverge.
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
            sheet = job.folder / names.CONTACT_SHEET
            if job.protocol.stimuli is not None and not sheet.exists():
                write_contact_sheet(job.protocol.stimuli, sheet)
            with Blocks(job, writer) as blocks:
                for block in todo:
                    if stop.requested:
                        break
                    size = sum(each.bytes_on_disk() for each in writers)
                    for first, traces in run_block(job, block):
                        blocks.take(block, first, traces)
                        done += 1
                        progress.update(done, f"{job.name}, {size / 1e6:.1f} MB on disk")
                    blocks.complete(block)
    if config.record.known and not stop.requested:
        known_system.record(ConfigDict({"seed": config.seed, "known": settings()}), pathlib.Path(workdir) / names.KNOWN)
    if stop.requested:
        print("stopped after a whole block; the same command goes on from there")
    return {job.name: job.folder for job in jobs}


def make_jobs(config: ConfigDict, workdir: str | pathlib.Path) -> list[Job]:
    """Return the recordings that config.record asks for, controls last; nothing is recorded yet."""
    trained = read_trained(config, workdir)
    data = config.data
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    )  # fmt: skip
    protocols = {name: make_protocol(name, config, images, trained.space) for name in config.record.experiments}
    recorders: dict[tuple, Recorder] = {}

    def make_job(protocol: Protocol, config: ConfigDict, trained: Trained, control: Control | None = None) -> Job:
        name = names.of_control(protocol.name, control.name if control else "")
        schema = make_schema(config, protocol, trained, control.about if control else None)
        kind = control and control.name, protocol.clamped
        if kind not in recorders:
            recorders[kind] = make_recorder(config, trained, protocol.clamped)
        return Job(name, recording_folder(workdir, name), config, trained, protocol, schema, recorders[kind])

    # Before any control is computed, what cannot be recorded is refused.
    jobs = [make_job(protocol, config, trained) for protocol in protocols.values()]
    shown = [protocols[name] for name in controlled_experiments(config) if protocols[name].clamped]
    tuned_on = tuning_images(trained.space.to_states(images.train[: CHAINS // 2]), shown)
    for control in make_controls(config, workdir, trained, tuned_on):
        controlled = [protocols[name] for name in controlled_experiments(config)]
        jobs += [make_job(protocol, control.config, control.trained, control) for protocol in controlled]
    return jobs


def tuning_images(data: np.ndarray, protocols: Sequence[Protocol]) -> np.ndarray:
    """Images on which a control is tuned: (N, H, W, C) data, and as many of the strongest that protocols show."""
    shown = np.concatenate([data, *(protocol.images for protocol in protocols)])
    strength = np.square(shown - data.mean(axis=0)).mean(axis=(1, 2, 3))
    return np.concatenate([data, shown[np.argsort(strength)[-len(data) :]]])


def check_settings(config: ConfigDict) -> None:
    """Raise ConfigError for fields of config.record that cannot be used, naming the field."""
    record = config.record
    if 0 < record.blank + record.blank_after < LEAST_STEPS:
        raise ConfigError(f"config.record.blank and blank_after together must be 0 or at least {LEAST_STEPS} steps")
    check_controls(config)


def make_schema(
    config: ConfigDict, protocol: Protocol, trained: Trained, control: Mapping[str, Any] | None = None
) -> Schema:
    """Return what the recording of a protocol holds, without computing anything; its `num_bytes` is its size.

    Args:
        config: of the run.
        protocol: what is shown.
        trained: the model.
        control: what the recording says of the control that it is.

    Raises:
        ConfigError: a layer that does not move in this experiment.
    """
    record, layers = config.record, trained.model.architecture.layers
    first_layer = 1 if protocol.clamped else 0
    time, count, num_sites = protocol.periods.total, *protocol.sites.shape[:2]
    segments = protocol.periods.segments()
    maps = (STIMULUS, "height", "width", "channel")
    arrays = {
        names.IMAGES: Array(maps, protocol.images.shape, "float32"),
        names.TOTAL_ENERGY: Array((TIME, STIMULUS), (time, count), "float32"),
    }
    for layer in record.layers:
        if not first_layer <= layer < len(layers):
            raise ConfigError(
                f"config.record.layers names layer {layer}; in the experiment '{protocol.name}' the layers that move "
                f"are {first_layer} to {len(layers) - 1}"
            )
        shape, channels = (count, *layers[layer].size, layers[layer].channels), layers[layer].channels
        arrays[names.sites(layer)] = Array((STIMULUS, "site", "coordinate"), (count, num_sites, 2), "int16")
        if record.level == FULL:
            whole = Array((TIME, *maps), (time, *shape), record.dtype, record.chunk)
            arrays |= {names.traces(variable, layer): whole for variable in record.variables}
            continue
        arrays |= period_statistics.arrays(layer, dict(zip(maps, shape, strict=True)), segments)
        dims = (TIME, STIMULUS, "site", "channel")
        arrays[names.site_traces(layer)] = Array(dims, (time, count, num_sites, channels), record.dtype)
        centre = Array((TIME, STIMULUS, "channel"), (time, count, channels), record.dtype)
        arrays |= {names.centre(variable, layer): centre for variable in record.variables if variable != STATE}
        if record.movie:
            frames = -(-time // record.movie_every)
            arrays[names.movie(layer)] = Array(("frame", *maps), (frames, *shape), record.dtype)
    about = {
        "experiment": protocol.name,
        "level": record.level,
        "periods": list(protocol.periods),
        "table": {name: np.asarray(column).tolist() for name, column in protocol.table.items()},
        "layers": list(record.layers),
        "variables": list(record.variables),
        "statistics": period_statistics.describe(segments, record.batch_steps),
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


def _plain(options: ConfigDict) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in options.items()}
