"""Fits to simulated data beside the truth: are units found where they are, and is the noise ceiling reached?"""

from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from runtime.files import write_figure

CENTERS = "centres.npz"
COUNTED = 0.1  # a fitted unit of less weight, as a share of its network's largest, does not count as found
SHOWN = 0.02


def center_errors(true: np.ndarray, fitted: np.ndarray, weight: np.ndarray) -> np.ndarray:
    """Distance of every true center from the nearest fitted one, min_f |c_g − ĉ_f| over units of weight ≥ COUNTED.

    Args:
        true: (G, 2), x and y in pixels.
        fitted: (seeds, F, 2), likewise.
        weight: (seeds, F), weight of a fitted unit as a share of its network's largest.

    Returns:
        (seeds, G), pixels.
    """
    distance = np.linalg.norm(true[None, :, None] - fitted[:, None], axis=-1)
    return np.where(weight[:, None] >= COUNTED, distance, np.inf).min(-1)


def chance_errors(true: np.ndarray, units: int, size: np.ndarray, draws: int = 2000) -> np.ndarray:
    """The same distances, (draws, G), for centers drawn evenly over the image of `size` (rows, columns)."""
    fitted = np.random.default_rng(0).uniform(0, np.asarray(size)[::-1] - 1, (draws, units, 2))
    return center_errors(true, fitted, np.ones((draws, units)))


def recovery(folder: Path) -> dict[str, float]:
    """How well a run found the truth of a simulation; empty for runs without one.

    Returns:
        'center_error', 'center_chance': medians over seeds and true units, pixels; 'found': share of true units within
        one pixel of a fitted one; 'correlation', its 'ceiling' (the true rates' own) and the 'gap' between them,
            medians
        over seeds of means over neurons.
    """
    if not (Path(folder) / CENTERS).is_file():
        return {}
    with np.load(Path(folder) / CENTERS) as arrays:
        errors = center_errors(arrays["true"], arrays["fitted"], arrays["weight"])
        chance = chance_errors(arrays["true"], arrays["fitted"].shape[1], arrays["size"])
    row = pd.read_csv(Path(folder) / "percentiles.csv").iloc[0]
    ceiling = float(row.get("true_rates", np.nan))
    return {
        "center_error": float(np.median(errors)),
        "center_chance": float(np.median(chance)),
        "found": float(np.mean(errors < 1)),
        "correlation": float(row["p50"]),
        "ceiling": ceiling,
        "gap": ceiling - float(row["p50"]),
    }


def sentence(folder: Path) -> str:
    """What `recovery` found, in words; empty for runs without a truth."""
    found = recovery(folder)
    if not found:
        return ""
    return (
        f"The simulation's units are found with a median error of {found['center_error']:.2f} pixels (centers drawn "
        f"at random: {found['center_chance']:.1f}), {found['found']:.0%} of them within one pixel. "
        f"Held-out correlation is {found['correlation']:.3f}, that of the true rates {found['ceiling']:.3f}: "
        f"a gap of {found['gap']:.3f}."
    )


def centers(folder: Path, path: Path, title: str) -> bool:
    """True and fitted centers on the image, and how far each true one is from the nearest fitted one.

    Returns whether there was something to draw.
    """
    source = Path(folder) / CENTERS
    if not source.is_file():
        return False
    with np.load(source) as arrays:
        true, fitted, weight, size = (arrays[name] for name in ("true", "fitted", "weight", "size"))
    errors, chance = center_errors(true, fitted, weight), chance_errors(true, fitted.shape[1], size)
    figure = Figure(figsize=(10, 4.8), layout="constrained")
    FigureCanvasAgg(figure)
    places, distances = figure.subplots(1, 2, width_ratios=(1, 1.15))
    shown = weight >= SHOWN
    places.scatter(
        *fitted[shown].T, s=8 + 40 * weight[shown], color="#D55E00", alpha=0.45, lw=0,
        label=f"fitted, {len(fitted)} seeds (area: weight)",
    )  # fmt: skip
    places.scatter(*true.T, s=130, facecolor="none", edgecolor="0.1", lw=1.4, label="true")
    places.scatter(*true.T, s=16, marker="+", color="0.1", lw=0.9)
    places.set(
        xlim=(-0.5, size[1] - 0.5), ylim=(size[0] - 0.5, -0.5), aspect="equal", xlabel="x (pixels)",
        ylabel="y (pixels)", title="centers of the units",
    )  # fmt: skip
    places.legend(fontsize=8, loc="upper center", bbox_to_anchor=(0.5, -0.13), ncols=2, frameon=False)
    for values, color, label in (
        (errors, "#D55E00", f"fitted: median {np.median(errors):.2f}"),
        (chance, "0.55", f"drawn at random: median {np.median(chance):.1f}"),
    ):
        ordered = np.sort(values[np.isfinite(values)])
        distances.step(
            np.r_[0, ordered], np.r_[0, np.arange(1, len(ordered) + 1) / values.size],
            where="post", color=color, lw=1.8, label=label,
        )  # fmt: skip
    distances.axvline(1, color="0.8", lw=0.8, zorder=0)
    limit = max(4.0, float(np.quantile(chance, 0.9)))
    distances.set(
        xlim=(0, limit), ylim=(0, 1.01), xlabel="distance from the nearest fitted center (pixels)",
        ylabel="share of true units, all seeds", title="how far off",
    )  # fmt: skip
    distances.legend(fontsize=8, frameon=False, loc="lower right")
    distances.spines[["top", "right"]].set_visible(False)
    figure.suptitle(f"{title}: a simulated population's units and those fitted to its responses", fontsize=10)
    write_figure(path, figure)
    return True
