"""Updates per hour, and the share of time that is not sampler steps.

    python benchmarks/training.py [--preset thesis] [--updates 7] [--plot docs/scaling.png]

An update costs T(n) = a + b n for n sampler steps in its two phases.  Updates of few and of many steps, taking turns,
give a and b; the preset's own length gives the rest.  Prints a JSON line for each batch of the presets quick (20 + 20
steps) and thesis (500 + 500 steps): `project_ms` per update, `peer_ms` null (the original needs its own program),
`updates_per_hour`, `step_ms` (b), `outside_sampler`, the fraction a / T(n) spent on anything else than sampler steps,
and peak memory.  a is the gradient of the weights at the end of both phases, worth about four steps whatever their
number.  `--plot` draws time per step and peak memory of the first preset against the batch.
"""

import argparse
import json
import os
import pathlib
import statistics
import subprocess
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from nrf.from_config import make_trainer
from runtime import devices
from runtime.config import load_config

FEW, MANY = 2, 20  # steps of each phase
BATCHES = {"quick": (8, 16, 32), "thesis": (16, 32)}
CONFIG = pathlib.Path(__file__).resolve().parents[1] / "configs" / "nrflv.py"


def compiled_update(preset: str, overrides: list[str], steps: int):
    """run() -> milliseconds of one update with `steps` steps in each phase, and the seconds its compilation took."""
    lengths = [f"--config.{phase}.steps={steps}" for phase in ("positive", "negative")]
    config = load_config(f"{CONFIG}:{preset}", [*overrides, *lengths])
    devices.set_matmul_precision(config.precision)
    trainer = make_trainer(config, num_train=50000)
    state = jax.jit(trainer.create_state)(jax.random.key(0))
    shape = trainer.model.architecture.state_shapes(config.train.batch)[0]
    images = jnp.asarray(np.random.default_rng(0).uniform(-1, 1, shape), jnp.float32)
    begun = time.perf_counter()
    update = jax.jit(trainer.update, donate_argnums=0).lower(state, images).compile()
    seconds = time.perf_counter() - begun
    holder = [state]

    def run() -> float:
        started = time.perf_counter()
        holder[0], metrics, _ = update(holder[0], images)
        jax.block_until_ready((holder[0].variables, metrics))
        return (time.perf_counter() - started) * 1e3

    return run, seconds


def measure(preset: str, updates: int, overrides: list[str]) -> dict:
    config = load_config(f"{CONFIG}:{preset}", overrides)
    few, _ = compiled_update(preset, overrides, FEW)
    many, seconds = compiled_update(preset, overrides, MANY)
    few(), many()
    pairs = [(few(), many()) for _ in range(updates)]
    short, long = (statistics.median(times) for times in zip(*pairs, strict=True))
    step = (long - short) / (2 * (MANY - FEW))
    outside = max(0.0, short - 2 * FEW * step)
    total = outside + step * (config.positive.steps + config.negative.steps)
    return {
        "case": f"{preset} update",
        "batch": config.train.batch,
        "project_ms": round(total, 1),
        "peer_ms": None,
        "ratio": None,
        "step_ms": round(step, 2),
        "outside_ms": round(outside, 1),
        "outside_sampler": round(outside / total, 4),
        "updates_per_hour": round(3.6e6 / total, 1),
        "compile_s": round(seconds, 1),
        "device": devices.describe(),
        "cores": len(os.sched_getaffinity(0)),
    }


def alone(preset: str, updates: int, overrides: list[str]) -> dict:
    """The same case in a process of its own, so that its peak memory is its own."""
    command = [sys.executable, __file__, "--preset", preset, "--updates", str(updates), "--alone", *overrides]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    output = child.stdout.read()
    _, _, usage = os.wait4(child.pid, 0)
    return {**json.loads(output), "peak_memory_mb": usage.ru_maxrss // 1024}


def draw(cases: list[dict], path: str) -> None:
    """Time per sampler step and peak memory against the batch, each with the straight line through its ends."""
    figure = Figure(figsize=(8, 3), layout="constrained")
    FigureCanvasAgg(figure)
    batches = [case["batch"] for case in cases]
    for axis, name, label in zip(
        figure.subplots(1, 2), ("step_ms", "peak_memory_mb"), ("ms per sampler step", "peak memory, MB"), strict=True
    ):
        values = [case[name] for case in cases]
        axis.plot([batches[0], batches[-1]], [values[0], values[-1]], "--", color="0.7", lw=1, label="straight line")
        axis.plot(batches, values, "o", color="tab:blue", label=cases[0]["case"])
        axis.set(xlabel="batch, images", ylabel=label, xlim=(0, None), ylim=(0, None))
        axis.legend(frameon=False)
    figure.savefig(path, dpi=110)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--preset", help="this one alone, with a quarter, a half and the whole of its batch")
    parser.add_argument("--updates", type=int, default=7)
    parser.add_argument("--alone", action="store_true", help="one case in this process, without peak memory")
    parser.add_argument("--plot", help="PNG to draw")
    options, overrides = parser.parse_known_args()
    if options.alone:
        print(json.dumps(measure(options.preset, options.updates, overrides)))
        return
    batches = BATCHES
    if options.preset:
        full = load_config(f"{CONFIG}:{options.preset}", overrides).train.batch
        batches = {options.preset: (full // 4, full // 2, full)}
    cases = []
    for preset, batch in [(name, size) for name, sizes in batches.items() for size in sizes]:
        cases.append((preset, alone(preset, options.updates, [*overrides, f"--config.train.batch={batch}"])))
        print(json.dumps(cases[-1][1]), flush=True)
    if options.plot:
        draw([case for preset, case in cases if preset == cases[0][0]], options.plot)


if __name__ == "__main__":
    main()
