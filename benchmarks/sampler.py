"""Milliseconds per sampler step on the thesis architecture, beside a plain PyTorch transcription in the same run.

    python benchmarks/sampler.py [--batches 16,128] [--steps 10] [--repeats 5]

Prints one JSON line per case: `project_ms` and `peer_ms` per step (median of the repeats, project and peer in turns),
`ratio` = peer / project, milliseconds per image, compile time, and whether the two gradients agree.  `peer_ms` is null
where torch is not installed.  Extra cases show the plain (direct) convolutions, and on an accelerator the precisions.
"""

import argparse
import json
import os
import pathlib
import resource
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1]))

import jax
import numpy as np

from nrf.architecture import get_architecture
from nrf.energy import make_energy
from nrf.phases import make_phase, uniform_states
from nrf.samplers import make_sampler
from runtime import devices

ARCHITECTURE = "NRFLV_CIFAR_4SL_small_densebackw_wideSL1base"


def project_case(batch: int, steps: int, convolution: str):
    """A compiled phase of the default sampler: (run, compile seconds, model, variables, states)."""
    model = make_energy(get_architecture(ARCHITECTURE), convolution=convolution)
    variables = model.init(jax.random.key(0))
    states = uniform_states(jax.random.key(1), model, batch)
    sampler = make_sampler("underdamped", step_size=0.1, friction=0.1, temperature=0.01, bounds=model.bounds)
    phase = make_phase(model, sampler, clamp_image=False, max_steps=steps)

    def whole(key, variables, states):
        return phase(key, model.prepare(variables), states, steps).states

    begun = time.perf_counter()
    compiled = jax.jit(whole).lower(jax.random.key(2), variables, states).compile()
    seconds = time.perf_counter() - begun

    def run() -> None:
        jax.block_until_ready(compiled(jax.random.key(2), variables, states))

    return run, seconds, model, variables, states


def peer_case(model, variables, states, steps: int):
    """The same energy in torch; returns (run, largest difference of the gradients)."""
    import torch

    from benchmarks.peers import torch_energy

    torch.set_num_threads(len(os.sched_getaffinity(0)))
    weights = torch_energy.effective_kernels(variables, model.architecture)
    tensors = [torch.tensor(np.asarray(s).transpose(0, 3, 1, 2).copy()) for s in states]
    probe = [s.clone().requires_grad_(True) for s in tensors]
    theirs = torch.autograd.grad(torch_energy.energy(weights, probe, model.architecture), probe)
    _, ours = jax.jit(model.energy_and_gradient)(model.prepare(variables), states)
    difference = max(
        float(np.abs(np.asarray(a).transpose(0, 3, 1, 2) - b.numpy()).max()) for a, b in zip(ours, theirs, strict=True)
    )
    return lambda: torch_energy.sampler_steps(weights, tensors, model.architecture, steps), difference


def timed(run) -> float:
    begun = time.perf_counter()
    run()
    return time.perf_counter() - begun


def measure(case: str, batch: int, steps: int, repeats: int, convolution: str, with_peer: bool) -> dict:
    run, seconds, model, variables, states = project_case(batch, steps, convolution)
    peer, difference = peer_case(model, variables, states, steps) if with_peer else (None, None)
    run()
    if peer:
        peer()
    ours, theirs = [], []
    for _ in range(repeats):
        ours.append(timed(run) / steps * 1e3)
        if peer:
            theirs.append(timed(peer) / steps * 1e3)
    project, other = statistics.median(ours), statistics.median(theirs) if theirs else None
    return {
        "case": case,
        "batch": batch,
        "project_ms": round(project, 3),
        "peer_ms": other and round(other, 3),
        "ratio": other and round(other / project, 2),
        "project_ms_per_image": round(project / batch, 3),
        "compile_s": round(seconds, 2),
        "gradient_difference": difference,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
        "device": devices.describe(),
        "cores": len(os.sched_getaffinity(0)),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batches", default="16,128")
    parser.add_argument("--steps", type=int, default=10)
    parser.add_argument("--repeats", type=int, default=5)
    options = parser.parse_args()
    try:
        import torch  # noqa: F401

        peer = True
    except ModuleNotFoundError:
        peer = False
    for batch in (int(b) for b in options.batches.split(",")):
        arguments = (batch, options.steps, options.repeats)
        if jax.default_backend() == "cpu":
            print(json.dumps(measure("sampler step", *arguments, "auto", peer)), flush=True)
            print(json.dumps(measure("sampler step, direct convolutions", *arguments, "direct", False)), flush=True)
        else:
            for precision in ("highest", "high", "default"):
                devices.set_matmul_precision(precision)
                print(json.dumps(measure(f"sampler step, {precision}", *arguments, "auto", False)), flush=True)


if __name__ == "__main__":
    main()
