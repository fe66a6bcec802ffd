"""Speed of a trained core shared over recordings: all folds in one program, beside a PyTorch loop of one fold.

    python benchmarks/trained_core.py                # 5 folds, the family `cnn` of configs/v1/henaff.py
    python benchmarks/trained_core.py --epochs 1 --folds 2

Prints one JSON line: `project_ms` and `peer_ms` are milliseconds for one epoch of one fold, `project_cpu_ms` and
`peer_cpu_ms` the processor time of all cores together, which other programs on the machine lengthen less; `ratio` is
peer over project, in elapsed time.  The network is the same in both: convolutions of 9×9 and 5×5 pixels with batch
normalization, max pooling after the first, a Gaussian read-out of 242 units with places drawn anew for every image,
softplus, Poisson loss, an l1 penalty on the read-out, Adam; 300 images of 32×32 pixels an epoch in batches of 16.  The
images are noise: speed does not depend on them.  Without PyTorch the peer is left out, and the line says so.
"""

import json
import os
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import ConfigDict

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from v1models import trained
from v1models.training import side_by_side, stack_hypers
from v1models.update import Data, default_hyper

ROWS, UNITS = 300, 242
# The family `cnn` of configs/v1/henaff.py.
OPTIONS = {
    "core": "trained", "convolutions": "plain", "readout": "gaussian", "grid": 32, "features": 8, "widths": (9, 5),
    "noise": "poisson", "l1": 0.1, "batch_size": 16, "learning_rate": 5e-3,
}  # fmt: skip

FLAGS = flags.FLAGS


def define_flags():
    """Command-line options."""
    flags.DEFINE_integer("folds", 5, "folds trained side by side")
    flags.DEFINE_integer("epochs", 2, "epochs in each timed stretch")
    flags.DEFINE_integer("repeats", 3, "timed stretches; the fastest counts")


def fastest(run, repeats, epochs):
    """Milliseconds of an epoch, (elapsed, of processors), of the fastest of several runs after one not counted."""
    run()
    times = []
    for _ in range(repeats):
        start, spent = time.perf_counter(), time.process_time()
        run()
        times.append((time.perf_counter() - start, time.process_time() - spent))
    return [1e3 * min(column) / epochs for column in zip(*times, strict=True)]


def recordings(options):
    """Noise images (n, side, side, 1) and Poisson responses (n, units)."""
    random = np.random.default_rng(0)
    images = random.standard_normal((ROWS, options.grid, options.grid, 1)).astype(np.float32)
    return images, random.poisson(1.5, (ROWS, UNITS)).astype(np.float32)


def project(options, folds, epochs, repeats):
    """Milliseconds (elapsed, of processors) of one epoch of one fold when all train in one program."""
    images, responses = map(jnp.asarray, recordings(options))
    data = Data(images, responses, jnp.ones_like(responses))
    trainer, spec = trained.trainer_of(options, UNITS)
    members = jax.jit(jax.vmap(trainer.init))(jax.random.split(jax.random.key(0), folds))
    hypers = stack_hypers([default_hyper(spec, options.learning_rate)], folds)
    random = np.random.default_rng(0)
    orders = jnp.asarray([[random.permutation(ROWS) for _ in range(epochs)] for _ in range(folds)], jnp.int32)
    program = side_by_side(trainer.epochs, (0, 0, None, 0))
    return [
        one / folds
        for one in fastest(lambda: jax.block_until_ready(program(members, hypers, data, orders)), repeats, epochs)
    ]


def peer(options, epochs, repeats):
    """Milliseconds (elapsed, of processors) of one epoch of one fold in a plain PyTorch loop; None without PyTorch."""
    try:
        import torch
    except ImportError:
        return None
    torch.manual_seed(0)
    nn = torch.nn
    images, responses = (torch.tensor(array) for array in recordings(options))
    images = images.permute(0, 3, 1, 2)
    first, second = options.widths
    channels = options.features
    core = nn.Sequential(
        nn.Conv2d(1, channels, first, bias=False), nn.BatchNorm2d(channels), nn.ReLU(), nn.MaxPool2d(2),
        nn.Conv2d(channels, channels, second, padding=second // 2, bias=False), nn.BatchNorm2d(channels), nn.ReLU(),
    )  # fmt: skip
    place = nn.Parameter(torch.rand(UNITS, 2) - 0.5)
    spread = nn.Parameter(0.3 * torch.eye(2).repeat(UNITS, 1, 1))
    weight = nn.Parameter(torch.randn(channels, UNITS) / channels**0.5)
    bias = nn.Parameter(torch.zeros(UNITS))
    optimizer = torch.optim.Adam([*core.parameters(), place, spread, weight, bias], lr=options.learning_rate)

    def run():
        for _ in range(epochs):
            order = torch.randperm(ROWS)
            for start in range(0, ROWS, options.batch_size):
                rows = order[start : start + options.batch_size]
                noise = torch.randn(len(rows), UNITS, 2)
                places = (place + torch.einsum("nij,bnj->bni", spread, noise)).clamp(-1, 1)
                read = nn.functional.grid_sample(core(images[rows]), places[:, :, None], align_corners=True)[..., 0]
                predicted = nn.functional.softplus(torch.einsum("bcn,cn->bn", read, weight) + bias)
                loss = (predicted - responses[rows] * torch.log(predicted + 1e-6)).sum() / len(rows)
                loss = loss + options.l1 * weight.abs().sum()
                optimizer.zero_grad(set_to_none=True)
                loss.backward()
                optimizer.step()

    return fastest(run, repeats, epochs)


def main(argv):
    """Time and print."""
    del argv
    options = ConfigDict(OPTIONS)
    elapsed, processor = project(options, FLAGS.folds, FLAGS.epochs, FLAGS.repeats)
    load = round(os.getloadavg()[0], 1)
    about = {"device": jax.devices()[0].device_kind, "cores": os.cpu_count(), "load_before": load}
    line = {"case": f"trained_core_{FLAGS.folds}_folds_vs_pytorch_one", "project_ms": round(elapsed, 2)}
    line["project_cpu_ms"] = round(processor, 2)
    found = peer(options, FLAGS.epochs, FLAGS.repeats)
    if found is None:
        print(json.dumps({**line, "peer_ms": None, "ratio": None, "note": "PyTorch is not installed", **about}))
        return
    line |= {"peer_ms": round(found[0], 2), "peer_cpu_ms": round(found[1], 2), "ratio": round(found[0] / elapsed, 2)}
    print(json.dumps({**line, **about}))


if __name__ == "__main__":
    define_flags()
    app.run(main)
