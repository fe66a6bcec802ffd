"""Fitted models side by side: what a sweep found, as tables, curves, filters and one page to look at.

    write_report("runs/exp_1_2_4")     tables (CSV, Markdown), figures (PNG) and index.html of a run or a sweep

Reads run folders only.  A run is reported as the field reports it: the 50th, 90th and 10th percentile over seeds of the
mean validation correlation, at every logged epoch and at the end.  Runs of a sweep share their seeds, so differences
between them are tested on pairs: the same initial draw under two treatments.
"""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from scipy import stats

from analysis.fits import recovery, run_figures
from analysis.fits.neuron_scores import neuron_columns
from analysis.measures.statistics import holm
from analysis.pages import render
from runtime.errors import ConfigError
from runtime.files import write_text
from runtime.metrics import read_metrics
from runtime.sweeps import FINISHED, SWEEP_FILE, read_sweep

PERCENTILES = ("p50", "p90", "p10")
MOST_CURVES = 12  # on one figure
# What every table of fits says of itself.
READING = (
    "Unit of replication: the seed; p50, p90 and p10 are percentiles over seeds of the mean correlation over neurons. "
    "Split: the validation images, which are looked at all along (training images set aside where "
    "config.data.inner_split says so); columns that begin with test are of images that config.data.test set aside and "
    "that were scored once, at the end. Columns that begin with ensemble are of the mean prediction of all seeds."
)
PAIRED = "Unit of replication: the seed, paired between runs; split as above."


def run_folders(workdir) -> dict[str, Path]:
    """Return the finished runs of a sweep by name, in its order, or the one run whose folder it is.

    Raises:
        ConfigError: the folder is neither, or holds no finished run.
    """
    folder = Path(workdir)
    if (folder / SWEEP_FILE).exists():
        # What is on disk counts: a run that was finished before its sweep was started again is there as well.
        found = {run["name"]: folder / run["name"] for run in read_sweep(folder)["runs"]}
    else:
        found = {folder.name: folder}
    finished = {name: path for name, path in found.items() if (path / "percentiles.csv").is_file()}
    if not finished:
        raise ConfigError(f"{folder} holds no finished run: percentiles.csv is written when a fit comes to its end")
    return finished


def read_published(workdir) -> tuple[dict[str, tuple], tuple]:
    """Published percentiles: ({run: (50th, 90th, 10th)}, those of the best run where only they are known).

    They belong to the published recording: beside a fit to simulated responses they would say nothing and are left out.
    """
    folder = Path(workdir)
    if not (folder / SWEEP_FILE).exists():
        return {folder.name: published_of(folder)}, ()
    sweep = read_sweep(folder)
    runs = {run["name"]: run["published"] for run in sweep["runs"]}
    found = {name: tuple(numbers) if to_recorded(folder / name) else () for name, numbers in runs.items()}
    return found, tuple(sweep["published_best"]) if any(map(to_recorded, map(folder.joinpath, runs))) else ()


def published_of(folder: Path) -> tuple:
    """Published percentiles of one run, () where there are none or it was fitted to simulated responses."""
    config = json.loads((Path(folder) / "config.json").read_text())["config"]
    return tuple(config.get("published", ())) if to_recorded(folder) else ()


def to_recorded(folder: Path) -> bool:
    """Whether a run was fitted to recorded responses; a folder without a config counts as such."""
    path = Path(folder) / "config.json"
    if not path.is_file():
        return True
    data = json.loads(path.read_text())["config"].get("data", {})
    return data.get("dir", "") is not None


def summary_table(workdir) -> pd.DataFrame:
    """One row a run: seeds, percentiles over seeds, the ensemble over seeds, noise ceilings, published percentiles.

    Of several runs also how far each median lies below the best; of few neurons also each one's score.
    """
    published, best = read_published(workdir)
    rows = []
    for name, folder in run_folders(workdir).items():
        row = pd.read_csv(folder / "percentiles.csv", dtype={"instance": str}).iloc[0].to_dict()
        row = {"run": name, **{key: value for key, value in row.items() if key != "instance"}}
        numbers = published.get(name, ())
        rows.append(row | {f"published_{key}": value for key, value in zip(PERCENTILES, numbers, strict=False)})
        rows[-1] |= neuron_columns(folder)
    table = pd.DataFrame(rows)
    if len(table) > 1:
        table.insert(table.columns.get_loc("p10") + 1, "below_best", table["p50"].max() - table["p50"])
    if best:
        top = table["p50"].idxmax()
        for key, value in zip(PERCENTILES, best, strict=False):
            column = f"published_{key}"
            table[column] = table.get(column, pd.Series(np.nan, index=table.index))
            table.loc[top, column] = value
    return table


def seed_scores(workdir) -> pd.DataFrame:
    """Mean validation correlation of every seed (rows) of every finished run (columns)."""
    columns = {}
    for name, folder in run_folders(workdir).items():
        results = pd.read_csv(folder / "results.csv", dtype={"instance": str})
        # A seed that was given twice is two rows: repeatability is then what is looked at.
        again = results.groupby("seed").cumcount()
        if again.any():
            results["seed"] = results["seed"].astype(str) + again.map(lambda time: f" ({time + 1})")
        columns[name] = results.set_index("seed")["validation_correlation"]
    return pd.DataFrame(columns)


def paired_differences(scores: pd.DataFrame, reference: str | None = None) -> pd.DataFrame:
    """Each run against a reference over the seeds both have: differences, a 95 % interval, and two tests.

    d_s = r_s(run) − r_s(reference); the interval and p_t are Student's for paired samples, p_wilcoxon the signed-rank
    test's, p_holm the t test's corrected for the number of runs (Holm 1979, Scand. J. Stat. 6:65).

    Args:
        scores: seeds in rows, runs in columns.
        reference: a column; by default the one with the highest median.
    """
    reference = scores.median().idxmax() if reference is None else reference
    if reference not in scores:
        raise ConfigError(f"the reference '{reference}' is no finished run; there are {', '.join(scores.columns)}")
    rows = []
    for name in scores.columns.drop(reference):
        difference = (scores[name] - scores[reference]).dropna().to_numpy()
        count = len(difference)
        row = {"run": name, "reference": reference, "seeds": count, "mean_difference": np.nan}
        row |= dict.fromkeys(("low_95", "high_95", "p_t", "p_wilcoxon"), np.nan)
        if count:
            row["mean_difference"] = difference.mean()
        if count > 1:
            error = difference.std(ddof=1) / np.sqrt(count)
            margin = stats.t.ppf(0.975, count - 1) * error
            row |= {"low_95": difference.mean() - margin, "high_95": difference.mean() + margin}
            # Without spread a t statistic means nothing: equal runs do not differ, unequal ones always do.
            row["p_t"] = stats.ttest_1samp(difference, 0.0).pvalue if error > 0 else float(difference[0] == 0)
            row["p_wilcoxon"] = stats.wilcoxon(difference).pvalue if np.any(difference) else 1.0
        rows.append(row)
    columns = ["run", "reference", "seeds", "mean_difference", "low_95", "high_95", "p_t", "p_wilcoxon"]
    table = pd.DataFrame(rows, columns=columns)
    return table.assign(p_holm=holm(table["p_t"].to_numpy(float)))


def percentile_curves(workdir) -> dict[str, pd.DataFrame]:
    """Percentiles over seeds (columns p50, p90, p10) at every logged epoch (index) of each run."""
    curves = {}
    for name, folder in run_folders(workdir).items():
        metrics = read_metrics(folder)
        curves[name] = metrics[[f"correlation/{key}" for key in PERCENTILES]].set_axis(PERCENTILES, axis=1)
    return curves


def markdown(table: pd.DataFrame, digits: int = 3) -> str:
    """A data frame as a Markdown table, numbers rounded, absent ones left empty."""
    head = [" | ".join(map(str, table.columns)), " | ".join("---" for _ in table.columns)]
    cells = ([cell(value, digits).replace("|", "\\|") for value in row] for row in table.itertuples(index=False))
    rows = [" | ".join(row) for row in cells]
    return "\n".join(f"| {line} |" for line in head + rows) + "\n"


def write_report(workdir) -> str:
    """Write tables, figures and `index.html` of a run or sweep into `workdir`; returns a few lines to print.

    Files: table.csv and table.md, differences.csv (of several runs), curves.png, scores.png, filters.png of every run
    in its own folder, receptive_fields.png likewise, centres.png of those that were fitted to simulated data.
    """
    folder = Path(workdir)
    folders, table = run_folders(folder), summary_table(folder)
    table.to_csv(folder / "table.csv", index=False)
    write_text(folder / "table.md", f"{READING}\n\n{markdown(table)}")
    published, _ = read_published(folder)
    shown = list(table.sort_values("p50", ascending=False)["run"][:MOST_CURVES])
    curves = {name: curve for name, curve in percentile_curves(folder).items() if name in shown}
    run_figures.curves(curves, folder / "curves.png", {name: published.get(name, ()) for name in shown}, folder.name)
    values = {"title": folder.name, "summary": table, "cell": cell, "differences": None, "unfinished": None}
    values |= {"reading": READING, "paired": PAIRED}
    if len(folders) > 1:
        scores = seed_scores(folder)
        values["differences"] = paired_differences(scores)
        values["differences"].to_csv(folder / "differences.csv", index=False)
        run_figures.scores(scores, folder / "scores.png", folder.name)
    if (folder / SWEEP_FILE).exists():
        states = pd.DataFrame(read_sweep(folder)["runs"])
        values |= {"runs": len(states), "unfinished": states[states["state"] != FINISHED][["name", "state", "reason"]]}
    values["shown"] = [_pictures(name, path, "" if path == folder else f"{name}/") for name, path in folders.items()]
    write_text(folder / "index.html", render("runs.html", **values))
    return _summary(folder, table)


def _pictures(name: str, path: Path, inside: str) -> dict[str, Any]:
    """Draw what there is to be seen of a run."""
    drawings = {
        "centres.png": recovery.centers,
        "filters.png": run_figures.filters,
        "receptive_fields.png": run_figures.fields,
    }
    found = [inside + file for file, draw in drawings.items() if draw(path, path / file, name)]
    return {"name": name, "sentence": recovery.sentence(path), "pictures": found}


def _summary(folder, table):
    best = table.loc[table["p50"].idxmax()]
    lines = [f"\n{len(table)} finished run{'s' if len(table) > 1 else ''} in {folder}"]
    spread = f"90th {best['p90']:.3f}, 10th {best['p10']:.3f}"
    lines.append(f"  best         {best['run']}: r = {best['p50']:.3f} ({spread})")
    lines.append(f"  look at      {folder / 'index.html'}")
    lines.append(f"  numbers in   {folder / 'table.md'}, table.csv")
    return "\n".join(lines)


def cell(value: Any, digits: int = 3) -> str:
    """Return a number for a table, rounded; nothing for what is not finite."""
    if isinstance(value, float | np.floating):
        if not np.isfinite(value):
            return ""
        if value == round(value) and abs(value) < 1e9:
            return f"{value:.0f}"
        return f"{value:.{digits}f}" if abs(value) >= 10**-digits else f"{value:.1e}"
    return str(value)
