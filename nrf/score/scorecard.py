"""Stage `score`: one table and one figure of how good a model of images the field is.

`score(config, workdir)` judges the trained field and the models of `baselines` on the same held-out patches, rounded to
8 bits and dequantized alike, and leaves in `workdir/score/`

    scorecard.csv, .json, .md     a row a model: log likelihood, restoration, detection
    scorecard.png                 the same as a picture, with restored patches
    parts/                        what each part found; a stage that was stopped goes on with the part that is missing

Columns: log likelihood in nats per pixel and channel of grey levels 0 to 256, the field's between two bounds
(`nats_lower`, `nats_upper`), and its paired difference from the Gaussian's; PSNR of posterior means (dB); area under
the ROC curve of the log density between held-out patches and outliers (1: every patch is likelier than every outlier).
"""

from __future__ import annotations

import functools
import hashlib
import json
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from ml_collections import ConfigDict

from nrf.diagnostics import auroc
from nrf.score import baselines
from nrf.score.field import (
    GREY_LEVELS,
    bound_log_partition,
    dequantize,
    make_image_bounds,
    read_grey_levels,
    read_temperature,
)
from nrf.score.outliers import outlier_sets
from nrf.score.picture import draw_scorecard
from nrf.score.restoration import Task, make_restorer, make_tasks, psnr
from nrf.trained import Trained, read_trained
from runtime import devices
from runtime.config import flatten
from runtime.errors import ConfigError
from runtime.files import write_json, write_text
from runtime.images import load_images
from runtime.interrupt import stop_on_signal
from runtime.metrics import Progress

FOLDER = "score"
FIELD = "field"
# What it is compared with; those of `states` are fitted in the coordinates of the field's image layer.
SIMPLE = (
    "gaussian", "ica", "scale_mixture", "mixture", "gaussian_states", "scale_mixture_states", "mixture_states"
)  # fmt: skip
EXAMPLES = 8  # restored patches kept for the figure


class Problem(NamedTuple):
    """What every model is judged on; patches (N, D), grey levels in [0, 1]."""

    train: np.ndarray
    test: np.ndarray
    tasks: list[Task]
    outliers: dict[str, np.ndarray]  # (N, D)
    shape: tuple[int, int, int]


def score(config: ConfigDict, workdir: str | pathlib.Path) -> pd.DataFrame:
    """Score the trained field in `workdir`; returns the table that it writes.

    Raises:
        ConfigError: fields that cannot be used, or a field that has no density.
    """
    check_settings(config)
    devices.set_matmul_precision(config.precision)
    trained = read_trained(config, workdir)
    problem, folder = make_problem(config), pathlib.Path(workdir) / FOLDER
    # What a part found holds for these weights and settings only.
    settings = {name: repr(value) for name, value in flatten(config.to_dict()).items() if _matters(name)}
    about = hashlib.sha256(json.dumps([settings, trained.updates], sort_keys=True).encode()).hexdigest()[:16]
    found: dict[str, Any] = {}
    with stop_on_signal() as stop:
        for name, make in parts(config, trained, problem).items():
            path = folder / "parts" / f"{name}.json"
            kept = json.loads(path.read_text()) if path.exists() else {}
            if kept.get("about") != about:
                if stop.requested:
                    print("stopped after a whole part; the same command goes on from there", flush=True)
                    return pd.DataFrame()
                kept = {"about": about, "found": make()}
                write_json(path, kept)
            found[name] = kept["found"]
    table = make_table(config, problem, found)
    write_text(folder / "scorecard.csv", table.to_csv())
    write_text(folder / "scorecard.md", to_markdown(table))
    record = {
        "models": json.loads(table.to_json(orient="index")),
        "log_partition": found["log_partition"],
        "patches": len(problem.test),
        "updates": trained.updates,
        "device": devices.describe(),
    }
    write_json(folder / "scorecard.json", record, indent=2, allow_nan=False)
    draw_scorecard(table, problem, found, folder / "scorecard.png")
    return table


def check_settings(config: ConfigDict) -> None:
    """Raise ConfigError for fields of config.score that cannot be used, and for dynamics that follow no energy."""
    settings = config.score
    if not settings.noise_levels or min(settings.noise_levels) <= 0:
        raise ConfigError(f"config.score.noise_levels is {settings.noise_levels}; give standard deviations above 0")
    if settings.hole >= config.data.size:
        raise ConfigError(f"config.score.hole is {settings.hole}; it must be below the image's {config.data.size}")
    if config.model.ff_dynamics:
        raise ConfigError("with config.model.ff_dynamics the states follow no energy, so images have no density")
    read_temperature(config)


def make_problem(config: ConfigDict) -> Problem:
    """The patches that all models see: 8 bits and dequantized, and what is to be restored and told apart."""
    data, settings, seed = config.data, config.score, config.seed
    images = load_images(
        data.name, data_dir=data.dir, size=data.size, channels=data.channels, num_train=data.num_train,
        contrast=data.contrast, seed=seed,
    )  # fmt: skip
    draw = np.random.default_rng([seed, 3])
    chosen = draw.choice(len(images.test), min(settings.images, len(images.test)), replace=False)
    test, train = images.test[chosen], images.train[: settings.patches]
    outliers = outlier_sets(config, test)
    flat = [
        dequantize(part, seed + place).reshape(len(part), -1)
        for place, part in enumerate((train, test, *outliers.values()))
    ]
    shape = test.shape[1:]
    tasks = make_tasks(flat[1], shape, settings.noise_levels, settings.hole, seed)
    return Problem(flat[0], flat[1], tasks, dict(zip(outliers, flat[2:], strict=True)), shape)


def parts(config: ConfigDict, trained: Trained, problem: Problem) -> dict[str, Callable[[], Any]]:
    """The parts of the score in their order: functions that return JSON."""
    settings, seed = config.score, config.seed
    fits = mixture_fits(config)

    def judge_mixture(name: str) -> dict[str, Any]:
        mixture = fits[name](problem.train)
        restored = {
            task.name: baselines.posterior_mean(mixture, task.seen, task.observed, task.noise) for task in problem.tasks
        }
        return judge(problem, lambda x: baselines.log_density(mixture, x), restored)

    def judge_ica() -> dict[str, Any]:
        with Progress(settings.ica_updates, 0, "fitting ica") as progress:
            ica = baselines.fit_ica(problem.train, settings.ica_updates, seed, progress.update)
        return judge(problem, lambda x: baselines.log_density_of_ica(ica, x), {})

    found: dict[str, Callable[[], Any]] = {name: (lambda name=name: judge_mixture(name)) for name in fits}
    return found | {"ica": judge_ica} | field_parts(config, trained, problem)


def mixture_fits(config: ConfigDict) -> dict[str, Callable[[np.ndarray], baselines.GaussianMixture]]:
    """The simple models that are Gaussian mixtures: functions that fit one to patches (N, D)."""
    settings = config.score

    def mixture(patches: np.ndarray) -> baselines.GaussianMixture:
        with Progress(settings.mixture_updates, 0, "fitting mixture") as progress:
            return baselines.fit_mixture(
                patches, settings.mixture, settings.mixture_updates, config.seed, progress.update
            )

    return {"gaussian": baselines.fit_gaussian, "scale_mixture": baselines.fit_scale_mixture, "mixture": mixture}


def field_parts(config: ConfigDict, trained: Trained, problem: Problem) -> dict[str, Callable[[], Any]]:
    """The parts that judge the field."""
    settings, grey = config.score, read_grey_levels(trained)

    def states(patches: np.ndarray) -> np.ndarray:
        images = patches.reshape(-1, *problem.shape)
        return trained.space.to_states(images)

    def judge_coordinates(fit: Callable) -> dict[str, Any]:
        # A simple model of the image layer's coordinates, which know no image: what a field has to beat in them.
        fitted = fit(states(problem.train).reshape(len(problem.train), -1).astype(np.float64))

        def log_density(patches: np.ndarray) -> np.ndarray:
            shown = states(patches)
            found = grey.density(baselines.log_density(fitted, shown.reshape(len(shown), -1)), shown)
            return (found + np.log(GREY_LEVELS)) * patches.shape[1]

        return judge(problem, log_density, {})

    def log_partition() -> dict[str, Any]:
        total = settings.equilibrate + 2 * settings.anneal
        with Progress(total, 0, "annealing log Z") as progress:
            return bound_log_partition(config, trained, states(problem.train), progress.update)

    @functools.cache
    def programs():
        # Made when a part first needs them, and shared by all that do: compiling is slow.
        return make_image_bounds(config, trained), make_restorer(config, trained, grey)

    def densities(name: str, patches: np.ndarray) -> dict[str, Any]:
        with Progress(len(patches), 0, f"annealing {name}") as progress:
            bounds = programs()[0](states(patches), progress.update, reverse=name == "held out")
        # Without log Z: it is the same for all images.
        return {bound: grey.density(values, states(patches)).tolist() for bound, values in bounds.items()}

    def restored(task: Task) -> dict[str, Any]:
        with Progress(100, 0, task.name) as progress:
            images = programs()[1](task, progress.update)
        return {"psnr": psnr(images, problem.test, task.judged), "examples": images[:EXAMPLES].tolist()}

    named = {"held out": problem.test, **problem.outliers}
    fits = mixture_fits(config)
    coordinates = {f"{name}_states": functools.partial(judge_coordinates, fit) for name, fit in fits.items()}
    return (
        coordinates
        | {"log_partition": log_partition}
        | {f"log_f {name}": (lambda name=name: densities(name, named[name])) for name in named}
        | {f"field {task.name}": (lambda task=task: restored(task)) for task in problem.tasks}
    )


def judge(problem: Problem, log_density: Callable[[np.ndarray], np.ndarray], restored: dict) -> dict[str, Any]:
    """What a model with a density in closed form is worth: densities (nats per pixel, grey levels 0 to 256), PSNR."""
    size = problem.test.shape[1]

    def each(patches: np.ndarray) -> list[float]:
        return (log_density(patches) / size - np.log(GREY_LEVELS)).tolist()

    return {
        "held out": each(problem.test),
        "outliers": {name: each(patches) for name, patches in problem.outliers.items()},
        "psnr": {task.name: psnr(restored[task.name], problem.test, task.judged) for task in problem.tasks if restored},
        "examples": {name: images[:EXAMPLES].tolist() for name, images in restored.items()},
    }


def make_table(config: ConfigDict, problem: Problem, found: dict[str, Any]) -> pd.DataFrame:
    """The scorecard, a row a model."""
    size = problem.test.shape[1]
    gaussian = np.array(found["gaussian"]["held out"])
    rows = {}

    def add(name, lower, upper, outlier_scores, restored):
        difference = 0.5 * (lower + upper) - gaussian
        row = {
            "nats_lower": lower.mean(),
            "nats_upper": upper.mean(),
            "nats_error": 0.5 * (lower + upper).std(ddof=1) / np.sqrt(len(lower)),
            "minus_gaussian": difference.mean(),
            "minus_gaussian_error": difference.std(ddof=1) / np.sqrt(len(lower)),
            "bits": -0.5 * (lower.mean() + upper.mean()) / np.log(2),
        }
        for task in problem.tasks:
            row[f"psnr {task.name}"] = restored.get(task.name, np.nan)
        for outlier, values in outlier_scores.items():
            row[f"auroc {outlier}"] = auroc(-lower, -np.array(values))
        rows[name] = row

    z, own = found["log_partition"], found["log_f held out"]
    # The outliers have forward bounds alone: they are compared with the patches' own.
    scores = {name: np.array(found[f"log_f {name}"]["lower"]) - z["upper"] / size for name in problem.outliers}
    lower, upper = np.array(own["lower"]) - z["upper"] / size, np.array(own["upper"]) - z["lower"] / size
    add(FIELD, lower, upper, scores, {task.name: found[f"field {task.name}"]["psnr"] for task in problem.tasks})
    for name in SIMPLE:
        own = np.array(found[name]["held out"])
        add(name, own, own, found[name]["outliers"], found[name]["psnr"])
    table = pd.DataFrame.from_dict(rows, orient="index")
    table.index.name = "model"
    return table


def to_markdown(table: pd.DataFrame) -> str:
    """The table as Markdown, models as rows; a dash where a model has no such number."""
    head = "| model | " + " | ".join(table.columns) + " |"
    lines = [head, "|---" * (len(table.columns) + 1) + "|"]
    for name, row in table.iterrows():
        cells = ["–" if not np.isfinite(value) else f"{value:.3f}" for value in row]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def _matters(field: str) -> bool:
    return field == "seed" or field.split(".")[0] in ("data", "model", "sampler", "positive", "score")
