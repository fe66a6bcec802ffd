"""A fit as a run folder: from a config to tables, and on from where it stopped.

`train(config, workdir)` leaves in the run folder

    config.json             the config, package versions and git revision
    metrics.jsonl           at every logged epoch the percentiles over seeds; the same in `tensorboard/`
    checkpoints/            everything the fit carries; a run that is called again goes on bit for bit
    model.json, weights/    the fitted members (`v1models.saved.load`)
    results.csv             one row a seed; neurons.csv: one a seed and neuron; history.csv: one a seed and logged epoch
    percentiles.csv         the 50th, 90th and 10th percentile over seeds, and of the mean over seeds' predictions
    ensemble.csv            that mean prediction's score, one row a neuron
    teacher.csv             correlation with noisy, clean and recorded responses, where a teacher gave the responses
    ceilings.csv            what could be reached: noise ceilings of every neuron, where there are repeats, and scores
                            of all seeds and of their mean prediction beside them
    test.csv                the same of the images that `config.data.test` sets aside and nothing looked at before
    filters.npz             weights of the seed that does best on the validation images, for figures
    centres.npz             true and fitted centers of difference-of-Gaussians units, simulated data only
    receptive_fields.npz    what neurons want to see: spike-triggered averages, gradients, most exciting images

`train_together(configs, folders)` does the same for several configs that differ in numbers only, in one program. Each
gets a folder of its own, and the carried state lies in the first one's.
"""

from __future__ import annotations

import json
import os
import pathlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from runtime import devices
from runtime.checkpoint import Checkpoints
from runtime.config import check_same, read_config, save_config
from runtime.errors import ConfigError, RunError
from runtime.files import write_arrays, write_json
from runtime.interrupt import stop_on_signal
from runtime.metrics import MetricsWriter, Progress
from v1models import interpret, losses, metrics, recovery, saved
from v1models.experiment import Experiment, first_members, read_experiment, shared_program
from v1models.network import Network
from v1models.specification import NetworkSpec
from v1models.training import FitResult, StoppedError, fit, stack_hypers
from v1models.update import Data, Member

MAY_CHANGE = ("log", "data.dir", "published", "origin")
ADDED = {"data.test": 0.0}  # fields that runs of earlier versions lack, with the values at which they did what they do
CHUNK = 50  # images predicted at once where there are many
PERCENTILES = ("p50", "p90", "p10")
FINISHED = "finished.json"


def train(config: ConfigDict, workdir: str | os.PathLike) -> dict[str, Any]:
    """Fit all seeds of a config in `workdir`, from its last checkpoint if there is one.

    Returns {'finished': whether the fit came to its end, and the percentiles}. Raises ConfigError for configs that
    cannot work, RunError when every seed diverges.
    """
    return train_together([config], [workdir])[0]


def train_together(configs: Sequence[ConfigDict], folders: Sequence[pathlib.Path]) -> list[dict[str, Any]]:
    """Fit configs that differ in numbers only, in one program; returns what `train` does, for each."""
    folders = [pathlib.Path(folder) for folder in folders]
    if len({shared_program(config) for config in configs}) != 1:
        raise ConfigError("these configs need programs of their own: they differ in more than penalties and rates")
    finished = [read_finished(folder) for folder in folders]
    for config, folder, done in zip(configs, folders, finished, strict=True):
        if (folder / "config.json").exists():
            check_folder(config, folder, done is not None)
    if all(finished):
        return finished
    devices.set_matmul_precision(configs[0].precision)
    experiment = read_experiment(configs)
    for config, folder in zip(configs, folders, strict=True):
        save_config(config, folder)
    log = configs[0].log
    with Checkpoints(folders[0] / "checkpoints", log.keep, keep_best=False) as checkpoints, stop_on_signal() as stop:
        try:
            result = run_fit(configs[0], experiment, folders, checkpoints, lambda: stop.requested)
        except StoppedError as error:
            print(f"{folders[0].name}: {error}; the same command goes on from there")
            return [{"finished": False} for _ in folders]
    return [
        write_results(config, experiment, index, slice_result(result, index, len(experiment.seeds)), folder)
        for index, (config, folder) in enumerate(zip(configs, folders, strict=True))
    ]


def check_folder(config: ConfigDict, folder: pathlib.Path, finished: bool) -> None:
    """Raises a `ConfigError` where a folder was begun under another config, or by a version with other field names."""
    if "optimisation" not in read_config(folder):
        check_same(config, folder, MAY_CHANGE, ADDED)
    elif not finished:
        raise ConfigError(
            f"the run in {folder} was begun by a version whose config says 'optimisation' where this one says "
            "'optimization'; its results are read as before, but train on in a new folder"
        )


def run_fit(
    config: ConfigDict,
    experiment: Experiment,
    folders: Sequence[pathlib.Path],
    checkpoints: Checkpoints,
    stop: Callable[[], bool],
) -> FitResult:
    """Fit all instances and seeds, writing their percentiles at logged epochs."""
    count, plan = len(experiment.seeds), experiment.plan
    members = first_members(config, experiment, len(folders))
    hyper = stack_hypers(list(experiment.hypers), count)
    saved = checkpoints.steps()
    if saved:
        check_instances(checkpoints.directory, len(folders))
        print(f"{folders[0].name}: going on after epoch {saved[-1]} of {plan.epochs}")
    (checkpoints.directory / "instances.json").write_text(json.dumps(len(folders)) + "\n")
    start = saved[-1] if saved else 0
    writers = [MetricsWriter(folder, resume_step=start) for folder in folders]
    label = folders[0].name + (f" and {len(folders) - 1} more" if len(folders) > 1 else "")
    with Progress(plan.epochs, start, label) as progress:

        def report(epoch, scores):
            for index, writer in enumerate(writers):
                part = {name: value[index * count : (index + 1) * count] for name, value in scores.items()}
                writer.write(epoch, summarize(part))
            progress.update(epoch, f"r {np.median(scores['validation_correlation']):.3f}")

        try:
            return fit(
                experiment.trainer, members, hyper, experiment.train, experiment.validation, plan,
                stopping_data=experiment.stopping, checkpoints=checkpoints, report=report, stop=stop,
            )  # fmt: skip
        finally:
            for writer in writers:
                writer.close()


def check_instances(folder: pathlib.Path, count: int) -> None:
    """Raise RunError when the carried state was written by a fit of another number of instances."""
    path = folder / "instances.json"
    before = json.loads(path.read_text()) if path.exists() else count
    if before != count:
        raise RunError(
            f"{folder} was written by a fit of {before} instances and this one has {count}; remove that folder "
            "to begin these instances anew"
        )


def summarize(scores: Mapping[str, np.ndarray]) -> dict[str, Any]:
    """Percentiles over seeds of the correlation and medians of the losses, for one line of metrics."""
    percentiles = metrics.percentiles_over_seeds(scores["validation_correlation"])
    losses = {name: float(np.median(value)) for name, value in scores.items() if name != "validation_correlation"}
    return {"correlation": dict(zip(PERCENTILES, map(float, percentiles), strict=True)), **losses}


def select_member(members: Member, index: int) -> Member:
    """One of several members."""
    return jax.tree.map(lambda leaf: leaf[index], members)


def slice_result(result: FitResult, index: int, count: int) -> FitResult:
    """One instance's part of a fit."""
    if len(result.correlations) == count:
        return result
    part = slice(index * count, (index + 1) * count)
    return result._replace(
        history=type(result.history)(*(np.asarray(scores)[:, part] for scores in result.history)),
        members=jax.tree.map(lambda leaf: leaf[part], result.members),
        correlations=result.correlations[part],
        best_epoch=result.best_epoch[part],
        diverged=result.diverged[part],
    )


def write_results(
    config: ConfigDict, experiment: Experiment, index: int, result: FitResult, folder: pathlib.Path
) -> dict[str, Any]:
    """Write one instance's model, tables and arrays; returns the summary that `train` returns."""
    spec = experiment.specs[index]
    labels = [{"instance": folder.name, "seed": seed} for seed in experiment.seeds]
    saved.save(folder, spec, result, labels, experiment.offset, experiment.scale)
    predict = jax.jit(jax.vmap(experiment.trainer.predict, in_axes=(0, None)))
    validation, sound = experiment.validation, ~np.asarray(result.diverged)
    predictions = np.asarray(predict(result.members, validation.images))
    add_neuron_columns(config.optimization.noise, predictions, validation, folder)
    ensemble = metrics.pearson(predictions[sound].mean(0), validation.responses, validation.mask)
    pd.DataFrame({"neuron": np.arange(len(ensemble)), "correlation": ensemble}).to_csv(
        folder / "ensemble.csv", index=False
    )
    training = training_scores(config, experiment, result, predictions, folder)
    summary = saved.percentile_table(pd.read_csv(folder / "results.csv", dtype={"instance": str}))
    summary["ensemble"] = ensemble.mean()
    if training is not None:
        summary["training"] = np.median(training)
        print(f"{folder.name}: mean training correlation {np.median(training):.3f}, median over seeds")
    if experiment.truth_correlation is not None:
        summary["true_rates"] = experiment.truth_correlation.mean()
    best = int(np.argmax(np.where(result.diverged, -np.inf, result.correlations.mean(1))))
    if experiment.trials is not None and len(experiment.trials) > 1:
        ceilings = write_ceilings(predictions[sound], experiment.trials, folder / "ceilings.csv")
        summary["ceiling"] = ceilings["ceiling"].mean()
        summary["oracle"] = ceilings["oracle_correlation"].mean()
        summary["ensemble_normalized"] = ceilings["ensemble_normalized_correlation"].mean()
    if experiment.test is not None:
        tested = np.asarray(predict(result.members, experiment.test.images))[sound]
        summary = summary.assign(**write_test(tested, experiment, folder))
    summary.to_csv(folder / "percentiles.csv", index=False)
    found = recovery.centers(spec, result.members, experiment.truth, np.asarray(experiment.train.images)[:500])
    if found is not None:
        write_arrays(folder / recovery.CENTERS, found, compress=True)
    save_member(config, experiment, spec, jax.jit(select_member)(result.members, best), folder)
    row = {name: value for name, value in summary.iloc[0].items() if name != "instance"}
    diverged = int(result.diverged.sum())
    done = {"finished": True, **{name: float(value) for name, value in row.items()}}
    if diverged:
        done["note"] = f"{diverged} of {len(experiment.seeds)} seeds diverged"
    # Written last: a folder that has it is whole.
    write_json(folder / FINISHED, done, indent=2)
    return done


def write_ceilings(predictions: np.ndarray, trials: np.ndarray, path: pathlib.Path) -> pd.DataFrame:
    """Write `saved.ceiling_table` of predictions (S, m, N), with the neurons' numbers; returns it."""
    table = saved.ceiling_table(predictions, trials)
    table.insert(0, "neuron", np.arange(len(table)))
    table.to_csv(path, index=False)
    return table


def write_test(predictions: np.ndarray, experiment: Experiment, folder: pathlib.Path) -> dict[str, float]:
    """Write test.csv; returns what goes into the summary: means over neurons, `test` the median over seeds.

    Args:
        predictions: of the test images, (S, m', N).
        experiment: with `test`.
        folder: of the run.
    """
    test = experiment.test
    each = metrics.pearson(predictions, test.responses, test.mask)
    together = metrics.pearson(predictions.mean(0), test.responses, test.mask)
    found = {"test": float(np.median(each.mean(1))), "test_ensemble": float(together.mean())}
    if experiment.test_trials is None or len(experiment.test_trials) < 2:
        table = pd.DataFrame({"correlation": each.mean(0), "ensemble_correlation": together})
        table.insert(0, "neuron", np.arange(len(table)))
        table.to_csv(folder / "test.csv", index=False)
        return found
    table = write_ceilings(predictions, experiment.test_trials, folder / "test.csv")
    return found | {"test_ensemble_normalized": float(table["ensemble_normalized_correlation"].mean())}


def add_neuron_columns(noise: str, predictions: np.ndarray, validation: Data, folder: pathlib.Path) -> None:
    """Add to neurons.csv what else is said of a neuron, over its own validation images.

    cost: its loss as NDN3's eval_models reports it, not null-adjusted; prediction_sd, response_sd: over images.

    Args:
        noise: of the loss.
        predictions: of the seeds, (S, m, N).
        validation: the responses, (m, N), and their mask.
        folder: of the run.
    """
    mask = np.ones(validation.responses.shape) if validation.mask is None else np.asarray(validation.mask)
    measured = mask > 0
    responses = np.where(measured, np.asarray(validation.responses, np.float64), np.nan)
    columns = {
        "cost": [losses.neuron_costs(noise, one, validation.responses, mask) for one in predictions],
        "prediction_sd": [np.nanstd(np.where(measured, one, np.nan), axis=0) for one in predictions],
        "response_sd": [np.nanstd(responses, axis=0)] * len(predictions),
    }
    neurons = pd.read_csv(folder / "neurons.csv", dtype={"instance": str})
    added = {name: np.concatenate(values) for name, values in columns.items()}
    neurons.assign(**added).to_csv(folder / "neurons.csv", index=False)


def training_scores(
    config: ConfigDict, experiment: Experiment, result: FitResult, predictions: np.ndarray, folder: pathlib.Path
) -> np.ndarray | None:
    """Write how members do on the training images too, where the config asks for it.

    Adds the column training_correlation to results.csv; with a teacher, writes teacher.csv: seed, images (training or
    validation), responses (noisy, clean or recorded), correlation, each a mean over neurons.

    Args:
        config, experiment, result: of the instance.
        predictions: of the validation images, (S, m, N).
        folder: of the run.

    Returns:
        The training correlations (S,), or None.
    """
    if not config.fit.score_training:
        return None
    train, seen = experiment.train, predict_in_chunks(experiment, result.members)
    scores = metrics.pearson(seen, train.responses, train.mask).mean(-1)
    results = pd.read_csv(folder / "results.csv", dtype={"instance": str})
    results.assign(training_correlation=scores).to_csv(folder / "results.csv", index=False)
    rows = []
    for name, targets in experiment.compared.items():
        parts = zip(
            ("training", "validation"),
            (seen, predictions),
            targets,
            (train.mask, experiment.validation.mask),
            strict=True,
        )
        for images, predicted, target, mask in parts:
            correlations = metrics.pearson(predicted, target, mask).mean(-1)
            rows += [
                {"seed": seed, "images": images, "responses": name, "correlation": correlation}
                for seed, correlation in zip(experiment.seeds, correlations, strict=True)
            ]
    if rows:
        pd.DataFrame(rows).to_csv(folder / "teacher.csv", index=False)
    return scores


def predict_in_chunks(experiment: Experiment, members: Member) -> np.ndarray:
    """Predictions of the training images, (S, n, N), a few images at a time: convolutions of many take much memory."""
    images = np.asarray(experiment.train.images)
    count = len(images)
    padded = np.concatenate([images, np.zeros((-count % CHUNK, *images.shape[1:]), images.dtype)])

    def predict(member, chunks):
        return jax.lax.map(lambda chunk: experiment.trainer.predict(member, chunk), chunks)

    chunks = padded.reshape(-1, CHUNK, *images.shape[1:])
    found = np.asarray(jax.jit(jax.vmap(predict, in_axes=(0, None)))(members, chunks))
    return found.reshape(len(found), -1, found.shape[-1])[:, :count]


def save_member(
    config: ConfigDict, experiment: Experiment, spec: NetworkSpec, member: Member, folder: pathlib.Path
) -> None:
    """Write the weights of one member and what some neurons want to see, as arrays for figures."""
    variables = {"params": member.params, **({"batch_stats": member.batch_stats} if member.batch_stats else {})}
    weights = jax.jit(lambda variables: Network(spec).apply(variables, method="weights"))(variables)
    arrays = {
        f"layer{index}_{name}": np.asarray(value)
        for index, layer in enumerate(weights)
        for name, value in layer.items()
    }
    write_arrays(folder / "filters.npz", arrays, compress=True)
    shown = min(config.log.neurons_shown, experiment.validation.responses.shape[1])
    if not shown:
        return
    train, neurons = experiment.train, np.arange(shown)

    def predict(images):
        return experiment.trainer.predict(member, images)[:, :shown]

    # Responses may be slightly negative (calcium signals); their floor counts as silence.
    responses = np.asarray(train.responses)[:, :shown]
    averages = interpret.spike_triggered_average(
        train.images, responses - responses.min(0), None if train.mask is None else np.asarray(train.mask)[:, :shown]
    )
    flat = np.asarray(train.images).reshape(len(train.images), -1)
    norm = float(np.linalg.norm(flat - flat.mean(1, keepdims=True), axis=1).mean())
    exciting, responses = interpret.most_exciting_images(
        predict, spec.input_shape, neurons, norm, jax.random.key(0), steps=60
    )
    fields = {
        "neurons": neurons, "spike_triggered_averages": averages,
        "gradients": interpret.gradient_receptive_fields(predict, np.asarray(experiment.validation.images)[:50]),
        "most_exciting_images": exciting, "responses": responses,
    }  # fmt: skip
    write_arrays(folder / "receptive_fields.npz", fields, compress=True)


def read_finished(folder: pathlib.Path) -> dict[str, Any] | None:
    """What `train` returned for a folder when it came to its end, or None."""
    path = pathlib.Path(folder) / FINISHED
    return json.loads(path.read_text()) if path.exists() else None
