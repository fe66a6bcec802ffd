"""Time and memory of the whole analysis at the size of the thesis, beside what the original program took.

    python benchmarks/analysis.py                  # 5 experiments, 128 stimuli, 32 channels of 32×32, 2700 steps
    python benchmarks/analysis.py --stimuli 16     # smaller; the times of the original are scaled along
    python benchmarks/analysis.py --report         # figures and report as well

Prints JSON lines with `case`, `project_ms`, `peer_ms` and `ratio` (peer over project): one for every step, one for the
whole analysis with its peak memory, and one for Gabor fits beside SciPy's least squares, with the ratio of the costs.
The experiments are generated in memory as float16 (see benchmarks/generated.py), as a recording of level `analysis` has
them; making them is not counted.  The original's hours were measured on two cores too: what it computes at this size,
without 0.5 to 14 hours of reading files.
"""

import argparse
import json
import os
import pathlib
import resource
import sys
import tempfile
import time

import numpy as np
from scipy import optimize

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from analysis import pipeline
from analysis.formulas import choose
from analysis.measures import gabor_fits
from analysis.measures.correlograms import lag_axis, pair_correlograms
from analysis.results import Store
from analysis.steps.run import Options
from benchmarks.generated import generate_experiment
from nrf.protocols import sites_of_set
from nrf.stimuli import make_stimuli
from recordings.names import LINE, PATCHES, PRIMARY, REPEATED, TUNING
from recordings.periods import Periods

SIDE, CHANNELS, STIMULI = 32, 32, 128
NAMES = (PRIMARY, TUNING, REPEATED, PATCHES, LINE)
# Hours of the original for the same thing; steps it does not name are part of others.
ORIGINAL_HOURS = {
    "activity": 2.7 + 0.3, "preferences": 0.002 + 0.004, "oscillations": 5.8, "movie": 0.3, "lag": 0.16,
    "synchrony_overlapping": 0.37 + 1.74 + 0.02, "synchrony_patches": 0.43 + 1.80 + 0.09,
    "synchrony_line": 0.32 + 1.15 + 0.05, "activity maps": 0.3,
}  # fmt: skip
ORIGINAL_WHOLE_HOURS = 15.5


def main() -> None:
    """Time and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stimuli", type=int, default=STIMULI, help="stimuli an experiment")
    parser.add_argument("--compat", action="store_true", help="the original's formulas")
    parser.add_argument("--report", action="store_true", help="draw figures and report as well")
    flags = parser.parse_args()
    print_fits()
    with tempfile.TemporaryDirectory() as folder:
        print_analysis(pathlib.Path(folder), flags.stimuli, flags.compat, flags.report)


def make_experiments(stimuli: int) -> dict:
    """Five generated experiments of the thesis's shape."""
    base = np.full((SIDE, SIDE, 3), 0.5, np.float32)
    experiments = {}
    for number, name in enumerate(NAMES):
        table = make_stimuli(name, base).table
        rows = np.arange(len(table["repeat"])) < stimuli
        table = {column: np.asarray(values)[rows] for column, values in table.items()}
        sites = sites_of_set(name, table, SIDE, 1)
        sites = np.broadcast_to(sites, (rows.sum(), *sites.shape[-2:]))
        experiments[name] = generate_experiment(name, table, sites, (SIDE, SIDE), CHANNELS, Periods(), number)
    return experiments


def print_analysis(folder: pathlib.Path, stimuli: int, compat: bool, report: bool) -> None:
    """Run all steps over generated experiments and print the time of each."""
    experiments = make_experiments(stimuli)
    generated = peak_megabytes()
    options = Options(compat=compat)
    about = pipeline.describe(experiments, 1, options)
    store, took = TimedStore(folder / "analysis" / "layer1", about), time.perf_counter()
    pipeline.run_steps(experiments, store, options, about)
    took = time.perf_counter() - took
    grouped: dict[str, float] = {}
    for step, seconds in store.seconds.items():
        name = "activity" if step.startswith("activity_") else step
        grouped[name] = grouped.get(name, 0.0) + seconds
    share = stimuli / STIMULI
    for step, seconds in grouped.items():
        hours = ORIGINAL_HOURS.get(step)
        print_line(f"analysis_{step}", seconds, hours and hours * 3600 * share)
    memory = {"peak_mb": peak_megabytes(), "generated_mb": generated}
    case = "analysis_whole_compat" if compat else "analysis_whole"
    print_line(case, took, ORIGINAL_WHOLE_HOURS * 3600 * share, minutes=round(took / 60, 2), **memory)
    if report:
        from analysis.report.build import write_report

        (folder / "config.json").write_text("{}")
        took = time.perf_counter()
        write_report(folder, 1)
        print_line("report", time.perf_counter() - took, None, peak_mb=peak_megabytes())


class TimedStore(Store):
    """Notes how long it took from one finished step to the next."""

    def __init__(self, *arguments):
        super().__init__(*arguments)
        self.seconds, self._last = {}, time.perf_counter()

    def write(self, step, *arguments) -> None:
        """See `Store.write`."""
        super().write(step, *arguments)
        self._note(step)

    def write_json(self, name, body) -> None:
        """See `Store.write_json`."""
        super().write_json(name, body)
        if name == "checks.json":
            self._note("checks")

    def _note(self, step: str) -> None:
        now = time.perf_counter()
        self.seconds[step], self._last = now - self._last, now


def print_fits(count: int = 64, many: int = 8192) -> None:
    """Time fits of noisy damped oscillations, and compare costs with SciPy's on some of them."""
    experiment_periods = Periods(0, 0, 1000, 0)
    angles = np.tile(np.linspace(0, np.pi, 4, endpoint=False), 2)
    sites = np.full((8, 1, 2), SIDE // 2)
    traces = generate_experiment(
        "fits", {"angle": angles, "repeat": angles}, sites, (SIDE, SIDE), CHANNELS, experiment_periods
    ).site_traces()[:, :, 0]
    lags = lag_axis(-50, 50)
    curves = pair_correlograms(traces, (-50, 50), normalise=True).reshape(-1, lags.size)[:many]
    for compat in (True, False):
        fit = choose(compat).fit_gabors
        fit(curves[:512], lags)
        took = time.perf_counter()
        fits = fit(curves, lags)
        took = (time.perf_counter() - took) / len(curves)
        rows = np.random.default_rng(0).permutation(len(curves))[:count]
        start = time.perf_counter()
        peer = np.array([scipy_cost(curves[row], lags) for row in rows])
        peer_took = (time.perf_counter() - start) / count
        ratio = fits.cost[rows] / peer
        more = {"fits_per_second": round(1 / took), "median_cost_ratio": float(np.median(ratio))}
        more |= {"share_of_costs_above_peer": float((ratio > 1 + 1e-4).mean()), "worst_cost_ratio": float(ratio.max())}
        print_line("gabor_fits_compat" if compat else "gabor_fits", took, peer_took, **more)


def scipy_cost(curve: np.ndarray, lags: np.ndarray) -> float:
    """Cost of the original's fit: five starts of a cosine, then three of a bell, by SciPy's least squares."""
    peaks = int(gabor_fits.count_peaks(curve[None])[0])
    height, first = gabor_fits.AMPLITUDE_SHARE * curve.max(), 7 * peaks / lags.size

    def wave(p):
        return height * np.cos(p[2] * lags + p[0]) + p[1]

    starts = [(0, 0, first * 1.15**k) for k in gabor_fits.FREQUENCY_STEPS]
    sine = min((optimize.least_squares(lambda p: wave(p) - curve, s) for s in starts), key=lambda r: r.cost)
    carrier = wave(sine.x)

    def bell(p):
        return carrier * p[1] / (np.sqrt(2 * np.pi) * p[0]) * np.exp(-0.5 * (lags / p[0]) ** 2)

    return min(
        optimize.least_squares(lambda p: bell(p) - curve, (gabor_fits.SIGMA_START, g)).cost for g in (400, 500, 600)
    )


def peak_megabytes() -> int:
    """Largest memory that this process has used."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


def print_line(case: str, seconds: float, peer_seconds: float | None, **more) -> None:
    """Print one result."""
    line = {"case": case, "project_ms": round(1e3 * seconds, 4), "peer_ms": None, "ratio": None}
    if peer_seconds:
        line |= {"peer_ms": round(1e3 * peer_seconds, 4), "ratio": round(peer_seconds / seconds, 1)}
    print(json.dumps({**line, **more, "cores": os.cpu_count(), "load": round(os.getloadavg()[0], 1)}), flush=True)


if __name__ == "__main__":
    main()
