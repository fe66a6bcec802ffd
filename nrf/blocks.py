"""From the traces of a block of stimuli to the arrays of a recording.

At level `full` chunks are written as they come; at level `analysis` they wait in memory until the block is complete,
and are reduced in a thread while the next block is sampled.
"""

from __future__ import annotations

import os
import sys
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from ml_collections import ConfigDict

from nrf.protocols import Protocol, in_layer
from recordings.files import Writer
from recordings.period_statistics import STATISTICS, summarise


class Blocks:
    """Takes the traces of one block after another and writes what the level of the recording keeps of them.

    record: the group config.record; writer: of the recording's schema.  Leaving the context without an error waits for
    the last block.
    """

    def __init__(self, record: ConfigDict, protocol: Protocol, writer: Writer):
        self._record, self._protocol, self._writer = record, protocol, writer
        self._pool, self._job = ThreadPoolExecutor(1, initializer=_let_others_first), None
        self._traces: dict[str, list[np.ndarray]] = {}

    def take(self, block: int, first: int, traces: dict[str, np.ndarray]) -> None:
        """Write a chunk (level `full`) or keep it until the block is complete."""
        self._write_reduced(wait=False)
        for name, values in traces.items():
            if self._record.level == "full":
                self._writer.write(block, name, values, first)
            else:
                self._traces.setdefault(name, []).append(values)

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

    def __enter__(self) -> Blocks:
        return self

    def __exit__(self, kind, *_) -> None:
        if kind is None:
            self._write_reduced(wait=True)
        self._pool.shutdown(cancel_futures=True)

    def _reduce(self, rows: slice, traces: dict[str, list[np.ndarray]], arrays: dict) -> dict[str, np.ndarray]:
        record, arrays = self._record, dict(arrays)
        segments = self._protocol.periods.segments()
        for layer in record.layers:
            pieces = traces[f"state/{layer}"]
            periods = [summarise(pieces, parts, record.batch_steps) for parts in segments.values()]
            for statistic in STATISTICS:
                arrays[f"statistics/{layer}/{statistic}"] = np.stack([p[statistic] for p in periods])
            sites = self._sites(layer)[rows].astype(int)
            chains = np.arange(len(sites))[:, None]
            kept = [piece[:, chains, sites[..., 0], sites[..., 1]] for piece in pieces]
            arrays[f"state/{layer}/sites"] = np.concatenate(kept)
            for variable in record.variables:
                if variable != "state":
                    arrays[f"{variable}/{layer}/centre"] = np.concatenate(traces[f"{variable}/{layer}"])
            if record.movie:
                here = [n for n in filmed(record.movie, len(self._protocol.images)) if rows.start <= n < rows.stop]
                arrays[f"movie/{layer}"] = _frames(pieces, [n - rows.start for n in here], record.movie_every)
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


def filmed(movie: int, stimuli: int) -> list[int]:
    """Stimuli of which a movie is kept, evenly spread."""
    return sorted({int(k * stimuli // movie) for k in range(movie)}) if movie else []


def _let_others_first() -> None:
    """Lower this thread's priority: statistics are made in the time that the sampler leaves idle."""
    if sys.platform == "linux":  # elsewhere threads have no priority of their own
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), min(os.nice(0) + 10, 19))


def _frames(pieces: list[np.ndarray], filmed_chains: list[int], every: int) -> np.ndarray:
    """Every so manieth frame of some chains, zeros for the others."""
    starts = np.cumsum([0, *map(len, pieces)])
    shown = [piece[-start % every :: every] for piece, start in zip(pieces, starts, strict=False)]
    shape = (sum(map(len, shown)), *pieces[0].shape[1:])
    if not filmed_chains:
        return np.broadcast_to(np.float32(0), shape)  # most blocks: costs no memory
    frames = np.zeros(shape, np.float32)
    frames[:, filmed_chains] = np.concatenate([each[:, filmed_chains] for each in shown])
    return frames
