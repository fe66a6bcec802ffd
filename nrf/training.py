"""The training run: one folder, one loop, nothing lost.

`train(config, workdir)` leaves in the run folder

    config.json             the config, package versions and git revision
    metrics.jsonl           one line of numbers every `log.every` updates; the same in `tensorboard/`
    checkpoints/            the latest states and the one whose samples were most like the data
    images/                 sheets of long chains, their statistics against length, and the training curves
    whitening.npz           coordinates of the image layer, where they are whitened

and goes on from the last whole checkpoint when it is called again with the same folder.
"""

from __future__ import annotations

import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding, PartitionSpec
from ml_collections import ConfigDict

from nrf import figures, monitor, starts
from nrf.from_config import make_trainer, read_sampler
from nrf.image_space import make_image_space, read_image_space, write_image_space
from nrf.image_statistics import make_reference
from nrf.update import Samples, Trainer, TrainState, trained_variables
from runtime import devices
from runtime.checkpoint import Checkpoints
from runtime.config import check_same, save_config
from runtime.errors import ConfigError
from runtime.images import ImageSet, batch_indices, load_images
from runtime.interrupt import stop_on_signal
from runtime.metrics import MetricsWriter, NonFiniteError, Progress, check_finite, read_metrics

# What may differ when a run goes on: how long it is, how much of it is written down, and what is done afterwards.
MAY_CHANGE = (
    "train.updates", "train.start_from", "model.checkpoint", "sweep.together", "sweep.record", "log", "monitor",
    "data.dir", "visualise", "record", "diagnose", "score", "analyse", "respond",
)  # fmt: skip
# Fields that runs of earlier versions lack, with the values at which they did what they do.
ADDED = {
    **{f"sampler.{name}.coupling_sd": None for name in ("underdamped", "sghmc", "sghmc_thesis")},
    **{f"sampler.{name}.boundary": "reflect" for name in ("underdamped", "langevin", "sghmc", "hmc", "mala", "nuts")},
    **{f"sampler.{name}.boundary": "clamp" for name in ("sghmc_thesis", "adam", "nesterov", "momentum", "sgd")},
    **{f"sampler.{name}.inverse_mass": 1.0 for name in ("hmc", "nuts")},
    "data.gain_control": 1.0,
    "data.noise": 0.0,
    "data.whitened_sd": None,
    "model.architecture.mixing": "separate",
    "model.checkpoint": None,
    "model.gain": 1.0,
    "negative.start": "buffer",
    "negative.chains": 1,
    "negative.renewed": 0.0,
    "negative.from_data": 0.0,
    "train.lr_schedule": "epochs",
    "train.lr_final": 0.0,
    "train.latent_lr": 1.0,
    "train.average": 0.0,
    "train.energy_unit": 1.0,
    "sweep.grid": (),
    "sweep.runs": (),
    "sweep.record": False,
    "train.start_from": None,
    "sampler.sghmc_thesis.momentum_clip": None,
    "sampler.langevin.scheme": "leimkuhler-matthews",
    "sampler.adam.b1": 0.9,
    "sampler.adam.b2": 0.999,
}
CLAMPED = 4  # held-out images at which the curvature of the clamped energy is watched
# A small program, run once: compiling it without optimization is faster overall.
UNOPTIMIZED = {"xla_backend_optimization_level": 0}


class Run(NamedTuple):
    """What the loop works with."""

    config: ConfigDict
    folder: pathlib.Path
    images: ImageSet  # states of the image layer, float32
    trainer: Trainer
    chains: monitor.Chains  # what the monitor runs, ...
    program: Callable  # ... compiled
    curvature: Callable  # `monitor.make_curvature_monitor`
    mesh: Mesh


class Outcome(NamedTuple):
    """What an update left; state and samples are asked for only where they are written down."""

    step: int  # updates done
    metrics: dict[str, Any]
    state: Callable[[], TrainState]
    samples: Callable[[], Samples]


def train(config: ConfigDict, workdir: str | pathlib.Path) -> dict[str, Any]:
    """Train the model of `config` in `workdir`, from its last checkpoint if there is one.

    Returns the last metrics.  Raises ConfigError for configs that cannot work, NonFiniteError when numbers stop being
    finite or an energy exceeds train.max_energy, naming the update, the layer and the last good checkpoint.
    """
    run = prepare_run(config, pathlib.Path(workdir))
    checkpoints = open_checkpoints(config, run.folder)
    state, start = restore_or_create(run, checkpoints)
    check_length(run, checkpoints, start)
    update = compile_update(run, state)
    evaluate = jax.jit(run.trainer.evaluate)
    metrics: dict[str, Any] = {}
    updates = config.train.updates
    writer = MetricsWriter(run.folder, resume_step=start)
    with checkpoints, writer, stop_on_signal() as stop, Progress(updates, start, "training") as progress:
        for step in range(start + 1, updates + 1):
            state, found, samples = update(state, next_batch(run, step - 1))
            check_health(config, step, found, checkpoints)
            ends = step == updates or stop.requested
            outcome = Outcome(step, found, lambda s=state: s, lambda s=samples: s)
            metrics = write_progress(run, outcome, metrics, writer, checkpoints, evaluate, ends)
            progress.update(step, f"gap {float(found['energy/gap']):+.4f}")
            if ends:
                break
    if stop.requested and step < updates:
        print(f"stopped after update {step}; the same command goes on from there")
    return metrics


def write_progress(
    run: Run, outcome: Outcome, metrics: dict[str, Any], writer: MetricsWriter, checkpoints: Checkpoints,
    evaluate: Callable, ends: bool,
) -> dict[str, Any]:
    """Write what is due after an update: numbers, pictures of long chains, a checkpoint.

    Args:
        run: of the update.
        outcome: what it left.
        metrics: the numbers written last.
        writer, checkpoints: of the run's folder.
        evaluate: (state, held-out images) -> metrics.
        ends: whether the run ends here, when everything is due.

    Returns:
        The numbers written last, now.
    """
    config, log, step = run.config, run.config.log, outcome.step
    looks = step % config.monitor.every == 0 or ends
    if step % log.every == 0 or looks or step == 1:
        metrics = {name: float(value) for name, value in outcome.metrics.items()}
        if looks:
            metrics |= run_monitor(run, step, outcome.state(), evaluate)
        writer.write(step, metrics)
        if log.histograms_every and step % log.histograms_every == 0:
            writer.write(step, histograms(outcome.samples()))
    if step % log.checkpoint_every == 0 or ends:
        checkpoints.save(step, outcome.state(), metrics)
    if looks and jax.process_index() == 0:
        curves = run.folder / "images" / "curves.png"
        figures.training_curves(read_metrics(run.folder), curves, config.data.name)
    return metrics


def summary(folder: pathlib.Path, metrics: dict[str, Any]) -> str:
    """What a person wants to know when a run has ended; metrics: what `train` returned, {} if it had nothing to do."""
    lines = [f"\nthe run is in {folder}"]
    if metrics:
        lines.append("  energy gap  {energy/gap:+.4f} per pixel, negative minus positive phase".format(**metrics))
    if "samples/spectrum_distance" in metrics:  # of several processes the first alone looks at long chains
        lines.append(
            "  long chains {samples/spectrum_distance:.2f} from the data in amplitude spectrum, a Gaussian of the "
            "data's covariance {samples/gaussian_distance:.2f}".format(**metrics)
        )
    lines += [
        f"  look at     {folder / 'images' / 'samples.png'}; chains.png and curves.png beside it",
        f"  numbers     {folder / 'metrics.jsonl'}; curves: tensorboard --logdir {folder}",
        f"  weights     {folder / 'checkpoints'}",
        "  try next    the same command with --stages=diagnose says whether long chains stay;",
        "              with --stages=visualise it draws what each channel likes",
    ]
    return "\n".join(lines)


def prepare_run(config: ConfigDict, folder: pathlib.Path) -> Run:
    """Check the config, load the images, build the functions and open the run folder."""
    devices.set_matmul_precision(config.precision)
    mesh = devices.make_mesh()
    devices.check_divides(config.train.batch, mesh)
    stored = "chains" if config.negative.start == "persistent" else "buffer_size"
    devices.check_divides(config.negative[stored], mesh)
    data = config.data
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=config.seed,
    )  # fmt: skip
    trainer = make_trainer(config, len(images.train))
    bounds = trainer.model.bounds[0]
    if (folder / "config.json").exists():
        check_same(config, folder, MAY_CHANGE, ADDED)
        space = read_image_space(config, bounds, folder)
    else:
        space = make_image_space(config, bounds, images.train)
    (folder / "images").mkdir(parents=True, exist_ok=True)
    if jax.process_index() == 0:
        write_image_space(space, folder)
        save_config(config, folder)
    chains = monitor.Chains(
        trainer.model, read_sampler(config, trainer.model, False), space, make_reference(images.test), images.test,
        trainer.thermal_sd, config.sampler.gradient_clip or None,
    )  # fmt: skip
    program = jax.jit(monitor.make_program(chains, monitor.stride_of(config.monitor.steps)))
    curvature = monitor.make_curvature_monitor(chains, read_sampler(config, trainer.model, True))
    scaled = [space.to_states(part) for part in (images.train, images.test)]
    return Run(config, folder, ImageSet(*scaled, images.name), trainer, chains, program, curvature, mesh)


def open_checkpoints(config: ConfigDict, folder: pathlib.Path) -> Checkpoints:
    """The checkpoints of a training run; the best is the one whose samples were most like the data."""
    return Checkpoints(folder / "checkpoints", keep_last=config.log.keep, best_metric="samples/spectrum_distance")


def restore_or_create(run: Run, checkpoints: Checkpoints) -> tuple[TrainState, int]:
    """The state to start from, on its devices, and the number of updates it has behind it."""
    create = run.trainer.create_state
    key = jax.random.key(run.config.seed)
    shapes = jax.eval_shape(create, key)
    placed = jax.tree.map(
        lambda leaf, place: jax.ShapeDtypeStruct(leaf.shape, leaf.dtype, sharding=place),
        shapes,
        shardings(shapes, run.mesh),
    )
    if checkpoints.steps():
        starts.check_source(run.config, run.folder)
        step, state = checkpoints.restore(placed)
        print(f"going on after update {step} of {run.config.train.updates}")
        return state, step
    # A hundred small random draws, run once: compiling them without optimization is three times faster overall.
    state = jax.jit(create, out_shardings=shardings(shapes, run.mesh), compiler_options=UNOPTIMIZED)(key)
    if starts.source(run.config) is None:
        return state, 0
    state = starts.begin(run.config, run.folder, run.trainer, state)
    return jax.device_put(state, shardings(shapes, run.mesh)), int(state.step)


def check_length(run: Run, checkpoints: Checkpoints, start: int) -> None:
    """Raise ConfigError where a run that begins with a trained model has no update left to take."""
    updates = run.config.train.updates
    if start >= updates and not checkpoints.steps():
        raise ConfigError(
            f"{starts.source(run.config)} has {start} updates behind it and config.train.updates is {updates}; set it "
            "to more, or leave the stage 'train' out and give 'import'"
        )


def import_weights(config: ConfigDict, workdir: str | pathlib.Path) -> pathlib.Path:
    """Make the run folder of a model that was trained elsewhere, ready for every other stage; returns the folder.

    Raises:
        ConfigError: the config names no model, or one that does not fit it.
    """
    if starts.source(config) is None:
        raise ConfigError(
            "the stage 'import' needs a model: --config.model.checkpoint=MODEL.pt, or --config.train.start_from=RUN"
        )
    run = prepare_run(config, pathlib.Path(workdir))
    with open_checkpoints(config, run.folder) as checkpoints:
        state, step = restore_or_create(run, checkpoints)
        if not checkpoints.steps():
            checkpoints.save(step, state)
    return run.folder


def compile_update(run: Run, state: TrainState) -> Callable:
    """The update as a program: the state is overwritten in place and stays where it lives, metrics go everywhere."""
    whole = NamedSharding(run.mesh, PartitionSpec())
    places = (shardings(state, run.mesh), whole, None)
    return jax.jit(run.trainer.update, donate_argnums=0, out_shardings=places)


def shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """Where each part of the state lives: states of chains cut along their first axis, all else on every device."""
    whole, cut = NamedSharding(mesh, PartitionSpec()), NamedSharding(mesh, PartitionSpec(devices.BATCH_AXIS))
    places = jax.tree.map(lambda _: whole, state)
    buffer, chains = places.buffer, jax.tree.map(lambda _: cut, state.chains)
    if buffer:
        buffer = buffer._replace(states=tuple(cut for _ in state.buffer.states))
    return places._replace(buffer=buffer, chains=chains, latents=tuple(cut for _ in state.latents))


def next_batch(run: Run, step: int) -> jax.Array:
    """Training images of the update after `step`, shared out over the devices; a function of seed and step alone."""
    return devices.shard_batch(draw_batch(run, step), run.mesh)


def draw_batch(run: Run, step: int) -> np.ndarray:
    """Training images of the update after `step`, (B, H, W, C), states of the image layer."""
    seed, noise = run.config.seed, run.config.data.noise
    images = run.images.train[batch_indices(seed, step, run.config.train.batch, len(run.images.train))]
    if noise:
        drawn = np.random.default_rng([seed, step, 1]).standard_normal(images.shape, np.float32)
        images = images + np.float32(noise) * drawn
    return images


def check_health(config: ConfigDict, step: int, metrics: dict, checkpoints: Checkpoints) -> None:
    """Stop with a clear message when a number is not finite or an energy runs away."""
    saved = checkpoints.steps()
    good = f"the last good checkpoint is that of update {saved[-1]}" if saved else "no checkpoint was written yet"
    advice = f"{good}; go on from it with a smaller train.lr or sampler step size in a new folder"
    try:
        check_finite(step, metrics)
    except NonFiniteError as error:
        raise NonFiniteError(f"the training diverged at {error}; {advice}") from None
    for phase in ("positive", "negative"):
        energy = float(metrics[f"energy/{phase}"])
        if abs(energy) > config.train.max_energy:
            raise NonFiniteError(
                f"the training diverged at update {step}: the energy of the {phase} phase is {energy:.3g} per pixel, "
                f"beyond train.max_energy = {config.train.max_energy:g}; {advice}"
            )


def run_monitor(run: Run, step: int, state: TrainState, evaluate) -> dict[str, float]:
    """Run long chains at the averaged weights, draw them beside the data, and return all that was measured."""
    config, test = run.config, run.images.test
    rng = np.random.default_rng([config.seed, step])
    held_out = test[rng.choice(len(test), config.train.batch, replace=len(test) < config.train.batch)]
    measures = {name: float(v) for name, v in evaluate(state, devices.shard_batch(held_out, run.mesh)).items()}
    variables = jax.tree.map(devices.fetch, trained_variables(state))
    if jax.process_index() > 0:
        return measures
    key = jax.random.fold_in(jax.random.key(config.seed), step)
    weights = jax.jit(run.trainer.model.prepare, compiler_options=UNOPTIMIZED)(variables)
    settings = config.monitor
    watch = monitor.run_chains(run.chains, weights, key, settings.chains, settings.steps, run.program)
    title = f"{config.data.name}, update {step}"
    for name in (f"samples_{step:07d}.png", "samples.png"):
        figures.chain_sheet(watch, run.chains.held_out, run.folder / "images" / name, title)
    figures.chain_figure(watch, run.folder / "images" / "chains.png", title)
    clamped = run.curvature(key, weights, jax.device_put(held_out[:CLAMPED]))
    distances = [rows[-1]["spectrum_distance"] for rows in watch.measures.values()]
    return measures | clamped | monitor.as_metrics(watch) | {
        "samples/spectrum_distance": float(np.mean(distances)),
        "samples/gaussian_distance": watch.gaussian["spectrum_distance"],
    }


def histograms(samples: Samples) -> dict[str, np.ndarray]:
    """States of every layer at the end of both phases, for TensorBoard."""
    return {
        f"histogram/{phase}/layer_{layer}": devices.fetch(state)
        for phase, states in samples._asdict().items()
        for layer, state in enumerate(states)
    }
