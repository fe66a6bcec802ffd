"""What recording adds to sampling, and what a recording weighs.

    python benchmarks/recording.py [--preset quick] [--levels analysis,full] [--blocks 2] [--repeats 2] [--share 0.5]

Records blocks of stimuli from a model with random weights, in turns with plain sampling of the same chains over the
same steps.  Prints a JSON line per level: `project_ms` and `peer_ms` per step of a block with and without recording
(medians), `ratio` = project / peer, `overhead_percent`, the same in time of all cores together, `bytes_per_stimulus`
on disk, and what five experiments of the preset hold at this level as a `share_of_full`.  Periods are cut to `--share`
of the preset's; chunks and blocks are the preset's.  The statistics of a block are made beside the sampling of the
next; those of the last are waited for, so that few blocks make the overhead look larger than it is in a long recording.
"""

import argparse
import json
import math
import os
import pathlib
import statistics
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np
from ml_collections import FrozenConfigDict

from nrf import experiments
from nrf.from_config import make_trainer
from nrf.image_space import make_image_space
from nrf.protocols import make_protocol
from nrf.recorder import Blocks, Job, make_recorder, run_block, sample_block
from nrf.trained import Trained
from recordings.names import LINE, PATCHES, PRIMARY, REPEATED, TUNING
from recordings.reading import recording_folder
from recordings.writing import Writer
from runtime import devices
from runtime.config import load_config
from runtime.images import ImageSet

CONFIG = pathlib.Path(__file__).resolve().parents[1] / "configs" / "nrflv.py"
EXPERIMENT = PRIMARY
FIVE = (PRIMARY, TUNING, REPEATED, PATCHES, LINE)


def untrained(config) -> Trained:
    """The model of a config with random weights."""
    trainer = make_trainer(config, num_train=50000)
    weights = jax.jit(lambda key: trainer.model.prepare(trainer.model.init(key)))(jax.random.key(0))
    guide = trainer.initializer.init(jax.random.key(1)) if trainer.initializer else {}
    space = make_image_space(config, trainer.model.bounds[0], noise_set(config).train)
    return Trained(trainer.model, weights, trainer.initializer, guide, 0, space, trainer.thermal_sd)


def noise_set(config) -> ImageSet:
    """Images of the config's size; what they show does not change the cost."""
    shape = (64, config.data.size, config.data.size, config.data.channels)
    images = np.random.default_rng(0).uniform(0.3, 0.7, shape).astype(np.float32)
    return ImageSet(images, images, "noise")


def cut(config, level: str, blocks: int, share: float) -> FrozenConfigDict:
    """The config with shorter periods and as many stimuli as the blocks hold."""
    changed = config.to_dict()
    record = changed["record"]
    record |= {name: int(record[name] * share) for name in ("burn_in", "blank", "stimulus", "blank_after")}
    record |= {"level": level, "sets": {EXPERIMENT: {"contrasts": 4, "angles": -(-record["block"] * blocks // 4)}}}
    return FrozenConfigDict(changed)


def schema_bytes(config, trained: Trained, level: str) -> int:
    """Bytes of the five experiments of the preset before compression, from their schemas.

    Movies count for the stimuli that are filmed; the zeros of the others weigh nothing once compressed.
    """
    changed = config.to_dict()
    changed["record"]["level"] = level
    config, images, size = FrozenConfigDict(changed), noise_set(config), 0
    for name in FIVE:
        schema = experiments.make_schema(config, make_protocol(name, config, images, trained.space), trained)
        for array_name, array in schema.arrays.items():
            share = len(schema.about["filmed"]) / schema.stimuli if array_name.startswith("movie/") else 1
            size += int(share * math.prod(array.shape) * np.dtype(array.dtype).itemsize)
    return size


def record_blocks(job: Job) -> tuple[float, float, int]:
    """Seconds by the clock and of all cores that a whole recording takes, and its bytes on disk."""
    with tempfile.TemporaryDirectory() as folder:
        with Writer(recording_folder(folder, job.name), job.schema) as writer:
            begun = time.perf_counter(), time.process_time()
            with Blocks(job, writer) as blocks:
                for block in writer.missing():
                    for first, traces in run_block(job, block):
                        blocks.take(block, first, traces)
                    blocks.complete(block)
            writer.close()
            seconds = time.perf_counter() - begun[0], time.process_time() - begun[1]
        return *seconds, writer.bytes_on_disk()


def sample_blocks(job: Job) -> tuple[float, float]:
    """Seconds by the clock and of all cores that the same steps take without recording anything."""
    begun = time.perf_counter(), time.process_time()
    for block in range(job.schema.num_blocks):
        for _, state, _ in sample_block(job, block):
            jax.block_until_ready(state.position)
    return time.perf_counter() - begun[0], time.process_time() - begun[1]


def measure(preset: str, level: str, options: argparse.Namespace, overrides: list[str]) -> dict:
    preset_config = load_config(f"{CONFIG}:{preset}", overrides)
    devices.set_matmul_precision(preset_config.precision)
    trained = untrained(preset_config)
    config = cut(preset_config, level, options.blocks, options.share)
    protocol = make_protocol(EXPERIMENT, config, noise_set(config), trained.space)
    silent = FrozenConfigDict({**config.to_dict(), "record": {**config.record.to_dict(), "layers": ()}})
    jobs = [
        Job(
            EXPERIMENT, pathlib.Path(), each, trained, protocol, experiments.make_schema(each, protocol, trained),
            make_recorder(each, trained, protocol.clamped),
        )
        for each in (config, silent)
    ]  # fmt: skip
    for job in jobs:  # compiles
        jax.block_until_ready(next(iter(sample_block(job, 0)))[1].position)
    steps = jobs[0].chunks * config.record.chunk * jobs[0].schema.num_blocks
    ours, theirs, size = [], [], 0
    for repeat in range(options.repeats):
        # Each goes first every other time, so that a drift of the machine's speed cancels.
        if repeat % 2:
            theirs.append(sample_blocks(jobs[1]))
        *seconds, size = record_blocks(jobs[0])
        ours.append(seconds)
        if repeat % 2 == 0:
            theirs.append(sample_blocks(jobs[1]))
    (project, project_cpu), (peer, peer_cpu) = (
        [statistics.median(times) / steps * 1e3 for times in zip(*each, strict=True)] for each in (ours, theirs)
    )
    return {
        "case": f"{preset} recording, level {level}",
        "batch": min(config.record.block, len(protocol.images)),
        "steps": steps,
        "project_ms": round(project, 3),
        "peer_ms": round(peer, 3),
        "ratio": round(project / peer, 3),
        "overhead_percent": round((project / peer - 1) * 100, 1),
        "project_core_ms": round(project_cpu, 3),
        "peer_core_ms": round(peer_cpu, 3),
        "core_overhead_percent": round((project_cpu / peer_cpu - 1) * 100, 1),
        "bytes_per_stimulus": size // len(protocol.images),
        "five_experiments_mb": round(schema_bytes(preset_config, trained, level) / 1e6, 1),
        "share_of_full": round(
            schema_bytes(preset_config, trained, level) / schema_bytes(preset_config, trained, "full"), 5
        ),
        "device": devices.describe(),
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", default="quick")
    parser.add_argument("--levels", default="analysis,full")
    parser.add_argument("--blocks", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=2)
    parser.add_argument("--share", type=float, default=0.5, help="of the preset's lengths of the periods")
    options, overrides = parser.parse_known_args()
    for level in options.levels.split(","):
        print(json.dumps(measure(options.preset, level, options, overrides)), flush=True)


if __name__ == "__main__":
    main()
