"""Speed of fitting baseline 4: all seeds in one program, beside a one-seed PyTorch loop and NDN3's recorded time.

    python benchmarks/v1.py                 # 25 seeds, the size of the published baseline, about a minute
    python benchmarks/v1.py --seeds 5 --epochs 1

Prints JSON lines with `case`, `project_ms` and `peer_ms` (milliseconds for one epoch of one seed) and `ratio` (peer
over project). The model is the published one: 9 difference-of-Gaussians units, 20 hidden units, 103 neurons, 1800
images of 31×31 pixels in batches of 16, Adam. The images are noise: speed does not depend on them. The PyTorch loop is
timed in the same run, after the project and alone, with one thread and with all, the faster counting; its filters are
separable too. The project's seeds are shared out to all cores, as in every fit. NDN3 cannot be installed beside current
libraries: its 160 ms were measured on two cores. `project_cpu_ms` is processor time of all cores together, which
another program on the machine lengthens less than it does `project_ms`.
"""

import json
import os
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from v1models import losses
from v1models.layers import Dense, DifferenceOfGaussians
from v1models.network import Network
from v1models.specification import NetworkSpec
from v1models.training import side_by_side, stack_hypers, start_members
from v1models.update import Data, Optimization, default_hyper, make_trainer, random_orders

ROWS, SIDE, NEURONS, BATCH, BASELINE_EPOCHS, BASELINE_SEEDS = 1800, 31, 103, 16, 35_000, 25
NDN3_MS = 160.0

FLAGS = flags.FLAGS


def define_flags():
    """Command-line options."""
    flags.DEFINE_integer("seeds", BASELINE_SEEDS, "seeds trained side by side")
    flags.DEFINE_integer("epochs", 3, "epochs in each timed stretch")
    flags.DEFINE_integer("repeats", 3, "timed stretches; the fastest counts")


def recordings():
    """Noise images (n, side, side, 1) and Poisson responses (n, neurons)."""
    random = np.random.default_rng(0)
    return (
        random.standard_normal((ROWS, SIDE, SIDE, 1)).astype(np.float32),
        random.poisson(0.5, (ROWS, NEURONS)).astype(np.float32),
    )


def fastest(run, repeats, clock=time.perf_counter):
    """Seconds of the fastest of several runs, after one that is not counted."""
    run()
    times = []
    for _ in range(repeats):
        start = clock()
        run()
        times.append(clock() - start)
    return min(times)


def project_ms(seeds, epochs, repeats):
    """Milliseconds (elapsed, of processors) of one epoch of one seed when `seeds` train in one program."""
    spec = NetworkSpec(
        (SIDE, SIDE, 1),
        (
            DifferenceOfGaussians(9, bias_initializer="normal"),
            Dense(int(0.2 * NEURONS), activation="softplus", bias_initializer="normal"),
            Dense(NEURONS, activation="softplus", bias_initializer="normal", penalties={"l2": 0.1}),
        ),
    )
    images, responses = map(jnp.asarray, recordings())
    data = Data(images, responses, None, losses.mean_rates(responses))
    trainer = make_trainer(Network(spec), Optimization(batch_size=BATCH))
    members = start_members(trainer, range(seeds))
    hyper = stack_hypers([default_hyper(spec, 1e-3)], seeds)
    orders = random_orders(members.key, 0, epochs, ROWS)
    program = side_by_side(trainer.epochs, (0, 0, None, 0))

    def run():
        jax.block_until_ready(program(members, hyper, data, orders))

    return [1e3 * fastest(run, repeats, clock) / epochs / seeds for clock in (time.perf_counter, time.process_time)]


def torch_ms(epochs, repeats):
    """Milliseconds of one epoch of one seed in a plain PyTorch loop, or None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    images, responses = (torch.tensor(array) for array in recordings())
    images = images.reshape(ROWS, SIDE * SIDE)
    rates = responses.mean(0)
    gaussians = torch.nn.Parameter(
        torch.rand(2, 4, 9) * torch.tensor([10.0, 24.0, 27.0, 27.0])[None, :, None]
        + torch.tensor([0.0, 1.0, 2.0, 2.0])[None, :, None]
    )
    bias = torch.nn.Parameter(0.1 * torch.randn(9))
    hidden, output = torch.nn.Linear(9, int(0.2 * NEURONS)), torch.nn.Linear(int(0.2 * NEURONS), NEURONS)
    optimizer = torch.optim.Adam([gaussians, bias, *hidden.parameters(), *output.parameters()], lr=1e-3)
    grid = torch.arange(SIDE, dtype=torch.float32)

    def gaussian(amplitude, variance, x, y):
        tall = torch.exp(-((grid[:, None] - y) ** 2) / (2 * variance)) * amplitude / (2 * torch.pi * variance)
        wide = torch.exp(-((grid[:, None] - x) ** 2) / (2 * variance))
        return tall[:, None] * wide[None]

    def run():
        for _ in range(epochs):
            order = torch.randperm(ROWS)
            for start in range(0, ROWS, BATCH):
                rows = order[start : start + BATCH]
                amplitude = gaussians[:, 0].clamp(min=1e-16)
                variance = gaussians[:, 1].clamp(1, 25)
                x, y = gaussians[0, 2].clamp(2, SIDE - 2), gaussians[0, 3].clamp(2, SIDE - 2)
                filters = gaussian(amplitude[0], variance[0], x, y) - gaussian(amplitude[1], variance.sum(0), x, y)
                drive = images[rows] @ filters.reshape(SIDE * SIDE, 9) + bias
                softplus = torch.nn.functional.softplus
                predicted = softplus(output(softplus(hidden(drive))))
                target = responses[rows]
                loss = -((target * torch.log(predicted + 1e-6) - predicted) / (len(rows) * rates)).sum()
                loss = loss + 0.05 * (output.weight**2).sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    seconds = []
    for threads in {1, os.cpu_count()}:
        torch.set_num_threads(threads)
        seconds.append(fastest(run, repeats))
    return 1e3 * min(seconds) / epochs


def main(argv):
    """Time and print."""
    del argv
    device = jax.devices()[0]
    ours, processor = project_ms(FLAGS.seeds, FLAGS.epochs, FLAGS.repeats)
    load = os.getloadavg()[0]
    peers = {"pytorch_one_seed": torch_ms(FLAGS.epochs, FLAGS.repeats), "ndn3_recorded": NDN3_MS}
    about = {"device": device.device_kind, "cores": os.cpu_count(), "load_before": round(load, 1)}
    for peer, milliseconds in peers.items():
        line = {
            "case": f"bl4_{FLAGS.seeds}_seeds_vs_{peer}",
            "project_ms": round(ours, 3),
            "project_cpu_ms": round(processor, 3),
        }
        if milliseconds is None:
            print(json.dumps({**line, "peer_ms": None, "ratio": None, "note": "PyTorch is not installed", **about}))
            continue
        print(json.dumps({**line, "peer_ms": round(milliseconds, 3), "ratio": round(milliseconds / ours, 2), **about}))
    hours = [ms * BASELINE_EPOCHS * BASELINE_SEEDS / 3.6e6 for ms in (ours, NDN3_MS)]
    print(
        json.dumps(
            {
                "case": "bl4_whole_hours_projected",
                "project_ms": round(hours[0] * 3.6e6),
                "peer_ms": round(hours[1] * 3.6e6),
                "ratio": round(NDN3_MS / ours, 2),
                "project_hours": round(hours[0], 2),
                "peer_hours": round(hours[1], 1),
                **about,
            }
        )
    )


if __name__ == "__main__":
    define_flags()
    app.run(main)
