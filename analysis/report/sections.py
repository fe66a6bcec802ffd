"""What the report shows: for each step of the analysis its figures, what they say, and numbers beside them.

A section is a function from the results and the arrays of its step to pictures; `SECTIONS` names them in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from matplotlib.figure import Figure

from analysis.formulas import Wording
from analysis.measures import lag
from analysis.pages import short
from analysis.report import (
    figures,
    figures_dynamics,
    figures_maps,
    figures_responses,
    figures_synchrony,
)
from analysis.report.captions import CAPTIONS
from analysis.results import ResultsError, read_arrays
from recordings.names import TRIALS, split
from recordings.periods import Periods, TimeScale

Arrays = Mapping[str, Any]


class Missing(Exception):
    """A step has left nothing to show; the message says why."""


class Results(NamedTuple):
    """What an analysis left behind."""

    run: Path  # run folder
    folder: Path  # of the layer's results
    about: Mapping[str, Any]
    diagnostics: Mapping[str, Any] | None

    @property
    def scale(self) -> TimeScale:
        """Time scale of the analysis."""
        default = TimeScale()
        return TimeScale(self.about.get("ms_per_step", default.ms_per_step), self.about.get("origin", default.origin))

    @property
    def periods(self) -> Periods:
        """Periods of the recordings."""
        return Periods(*self.about.get("periods", Periods()))

    @property
    def wording(self) -> Wording:
        """What the formulas that were used say of their numbers."""
        return Wording(**self.about.get("wording", self.about.get("said")))  # as earlier versions called it

    def arrays(self, step: str) -> Arrays:
        """Arrays of a step; raises Missing with the reason where there are none."""
        path = self.folder / f"{step}.npz"
        if not path.exists():
            reason = self.about.get("skipped", {}).get(step)
            raise Missing(reason or "the step was not run; the stage 'analyse' makes it")
        try:
            return read_arrays(path)
        except ResultsError as error:
            raise Missing(str(error)) from None


class Picture(NamedTuple):
    """A figure with what is said about it."""

    name: str  # of its files
    figure: Figure | None  # None where there is nothing to draw
    caption: str  # what it shows and how it was computed, or why it is not there
    cortex: str  # what physiology would look like
    numbers: tuple[str, ...]


class Section(NamedTuple):
    """A heading of the report and the step that it shows."""

    title: str
    step: str
    draw: Callable[[Results, Arrays, str], Iterator[Picture]]


def picture(name: str, figure: Figure, /, *numbers: str, text: str = "", **words: Any) -> Picture:
    """Return a figure with its caption of `captions`, `words` filled in; `text` names the caption if not `name`."""
    caption, cortex = CAPTIONS[text or name]
    return Picture(name, figure, caption.format(**words), cortex, numbers)


def absent(name: str, reason: str) -> Picture:
    """Return what stands for a figure that would be empty."""
    return Picture(name, None, reason, "", ())


def sections(results: Results) -> list[Section]:
    """The sections of a report in their order; one of activity for every experiment that was analysed or skipped."""
    experiments = [name for name in results.about.get("experiments", {}) if not split(name)[1] and name != TRIALS]
    activity = [Section(f"Activity: {name}", f"activity_{name}", show_activity) for name in experiments]
    return [*activity, *SECTIONS]


def show_activity(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Stimuli, maps of activity, and all channels for one stimulus."""
    name = step.removeprefix("activity_")
    table = {key.removeprefix("table_"): values for key, values in arrays.items() if key.startswith("table_")}
    active = np.asarray(arrays["active"])
    count = len(active)
    labels = figures.stimulus_labels(table) or [f"image {row}" for row in range(count)]
    rows = figures_maps.distinct_stimuli(table, count, figures.MOST_PANELS)
    sheet = figures_maps.stimuli_sheet(arrays["images"][rows], [labels[row] for row in rows])
    yield picture(f"stimuli_{name}", sheet, text="stimuli", name=name, shown=len(rows), count=count)
    difference = np.asarray(arrays["mean_during"]) - np.asarray(arrays["mean_outside"])
    rows = figures_maps.map_stimuli(table, count)
    numbers = [f"{100 * active.mean():.1f} % of neurons × stimuli are active"]
    contrast = np.asarray(table.get("contrast", np.ones(count)))
    if np.unique(contrast).size > 1:
        shares = [f"{level:.2g}: {100 * active[contrast == level].mean():.1f} %" for level in np.unique(contrast)]
        numbers.append("by contrast " + ", ".join(shares))
    effect = np.abs(arrays["effect_size"])
    numbers.append(f"median |effect size| {short(np.nanmedian(effect), 2)}, largest {short(np.nanmax(effect), 2)}")
    level = results.about.get("level", 0.05)
    test = results.wording.activity_test.format(level=level)
    chosen = [labels[row] for row in rows]
    maps = figures_maps.activity_maps(difference[rows], active[rows], np.asarray(arrays["limits"])[rows], chosen)
    yield picture(f"maps_{name}", maps, *numbers, text="maps", test=test)
    row = rows[int(np.abs(difference[rows]).mean(axis=(1, 2, 3)).argmax())]
    places = figures_maps.retinotopy(difference[row], arrays["images"][row], labels[row])
    yield picture(f"retinotopy_{name}", places, text="retinotopy")


def show_preferences(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Tuning curves, polar plots, and the circle of preferences."""
    preferred, kind = np.asarray(arrays["preferred_angle"], float), np.asarray(arrays["is_orientation"], bool)
    tuned = np.isfinite(preferred)
    common = arrays["angles"], arrays["curves"], arrays["fitted"], preferred
    yield picture(
        "tuning",
        figures_responses.tuning_grid(*common, kind, arrays["explained"]),
        f"{tuned.sum()} of {tuned.size} channels are tuned, {np.sum(kind & tuned)} of them to orientation",
        f"median share of variance explained by the cosine {short(np.median(arrays['explained']), 2)}",
    )
    yield picture("tuning_polar", figures_responses.tuning_polar(*common))
    if tuned.any():
        circle = figures_responses.preference_circle(preferred, np.asarray(arrays["amplitude"], float), kind)
        yield picture("preferences", circle)
    else:
        yield absent("preferences", "no channel is tuned to an angle")


def show_spectra(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Spectrograms, power spectra and peak frequency by contrast."""
    scale, contrasts, neurons = results.scale, arrays["contrasts"], arrays["neurons"]
    if np.any(neurons):
        windows = (arrays[f"spectrogram{part}"] for part in ("_frequency", "_step", ""))
        over_time = figures_responses.spectrograms(contrasts, *windows, neurons, results.periods, scale)
        yield picture("spectrograms", over_time)
        powers = arrays["frequency"], arrays["power"], arrays["blank_power"]
        yield picture("power_spectra", figures_responses.power_spectra(contrasts, *powers, neurons, scale))
    else:
        yield absent("spectrograms and power spectra", "no channel prefers an angle that was shown")
    contrast, peaks = np.asarray(arrays["stimulus_contrast"]), np.asarray(arrays["peak_frequency"])
    label, hertz = scale.label("peak frequency", "Hz"), peaks * scale.sampling_rate
    if np.isfinite(peaks).any():
        drawn = figures_responses.against_contrast(contrast, hertz, label, "no peak above the blanks")
        found = (
            f"{np.isfinite(peaks).sum()} of {peaks.size} stimuli have a peak, median {short(np.nanmedian(hertz))} Hz"
        )
        yield picture("peak_frequency", drawn, found)
    else:
        yield absent("peak_frequency", f"none of {peaks.size} stimuli raises the power above that of the blanks")


def show_oscillations(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Frequency × power by contrast and the frequencies of single neurons."""
    keys = ("contrasts", "frequency_power", "count", "frequency_during", "frequency_outside")
    drawn = figures_responses.frequency_power(*(arrays[key] for key in keys), results.scale)
    numbers = f"{np.size(arrays['frequency_during'])} pairs of a neuron and a stimulus that it prefers and answers to"
    yield picture("frequency_power", drawn, numbers)


def show_transients(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """On and off transients and their strength against contrast."""
    parts = (arrays[key] for key in ("contrasts", "on_step", "on", "off_step", "off"))
    yield picture("transients", figures_dynamics.transients(*parts, results.scale))
    strength = figures_responses.against_contrast(arrays["stimulus_contrast"], arrays["strength"], "overshoot (state)")
    yield picture("transient_strength", strength)


def show_traces(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Mean traces by contrast and autocorrelograms."""
    if np.isfinite(arrays["traces"]).any():
        parts = (arrays[key] for key in ("steps", "contrasts", "traces", "angle"))
        yield picture("state_traces", figures_dynamics.state_traces(*parts, results.periods, results.scale))
    else:
        yield absent("state_traces", "no channel prefers an angle that was shown")
    if np.isfinite(arrays["autocorrelogram_during"]).any():
        parts = (arrays[key] for key in ("lags", "autocorrelogram_during", "autocorrelogram_before"))
        yield picture("autocorrelograms", figures_dynamics.autocorrelograms(*parts, results.scale))
    else:
        yield absent("autocorrelograms", "no neuron is both active and tuned to a stimulus that was shown")


def show_lag(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """State and momentum, their correlogram, and the lag."""
    scale, words = results.scale, {"name": str(arrays["experiment"]), "stimulus": int(arrays["stimulus"])}
    yield picture("state_momentum", figures_dynamics.state_momentum(arrays, scale), **words)
    drawn = figures_dynamics.lag_correlograms(arrays["correlogram_lags"], arrays["correlogram"], scale)
    yield picture("lag_correlograms", drawn)
    steps = np.asarray(arrays["lag_steps"], float) * results.wording.lag_sign
    number = f"mean lag {short(scale.to_ms(steps.mean()))} ms"
    if steps.shape[1] > 1:
        interval = lag.lag_interval(scale.to_ms(steps.T), 0.95)
        number += f" (95 % interval over channels {short(interval.low)} to {short(interval.high)}; {scale.origin})"
    yield picture("lag_histogram", figures_dynamics.lag_histogram(steps, scale), number)


def show_overlapping(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Synchrony of channels with overlapping receptive fields."""
    names = ("both channels prefer the stimulus", "other pairs")
    view = {**arrays, "x": np.degrees(arrays["x"]), "bin_x": np.degrees(arrays["bin_x"])}
    for kind in (0, 1):
        slope, intercept = np.asarray(arrays[f"slope_{kind}"], float)
        view[f"slope_{kind}"] = np.array([np.radians(slope), intercept])
    label = "angle between the preferences (degrees)"
    yield _show_amplitude(results, view, "overlapping_angle", view["aligned"], names, label)
    if np.size(arrays.get("neighbour_mean", ())):
        parts = (arrays[f"neighbour_{key}"] for key in ("distance", "lags", "mean", "low", "high"))
        drawn = figures_synchrony.neighbour_correlograms(*parts, results.scale, results.wording.correlogram_unit)
        yield picture("overlapping_neighbours", drawn)
    yield from _show_pairs(results, arrays, "overlapping", ("channel", "channel"))


def show_patches(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Synchrony of two patches."""
    names, label = ("collinear patches", "orthogonal patches"), "distance of the patches (pixels)"
    yield _show_amplitude(results, arrays, "patches_distance", arrays["collinear"], names, label)
    yield from _show_pairs(results, arrays, "patches", ("channel at the static patch", "channel at the mobile patch"))


def show_line(results: Results, arrays: Arrays, step: str) -> Iterator[Picture]:
    """Synchrony along a long stimulus."""
    names, label = ("during the stimulus", "before the stimulus"), "distance from the centre (pixels)"
    yield _show_amplitude(results, arrays, "line_distance", arrays["during"], names, label)
    yield from _show_pairs(results, arrays, "line", ("channel", "channel"))


def _show_pairs(results: Results, arrays: Arrays, stem: str, labels: tuple[str, str]) -> Iterator[Picture]:
    if np.size(arrays.get("excess", ())):
        p_value, kind = float(arrays["overall_p"]), str(arrays["surrogate_kind"])
        drawn = figures_synchrony.surrogate_histogram(arrays["excess"], arrays["null_excess"], p_value, kind)
        number = f"mean excess {short(np.mean(arrays['excess']))}, p = {short(p_value)}"
        yield picture(f"{stem}_surrogates", drawn, number, text="surrogates")
        level = results.about.get("level", 0.05)
        drawn = figures_synchrony.pair_matrix(arrays["pair_amplitude"], arrays["pair_q"], labels, level)
        yield picture(f"{stem}_matrix", drawn, text="matrix", level=f"{100 * level:g} %")
    if len(arrays["example_curve"]):
        parts = (arrays[key] for key in ("lags", *(f"example_{part}" for part in ("curve", "fit", "a", "b", "during"))))
        yield picture(
            f"{stem}_examples",
            figures_synchrony.example_fits(*parts, results.scale, results.wording.correlogram_unit),
            text="examples",
        )


def _show_amplitude(results: Results, arrays: Arrays, name: str, kinds, names: tuple[str, str], label: str) -> Picture:
    if not np.isfinite(arrays["y"]).any():
        return absent(name, "no channel of a pair prefers a stimulus that was shown")
    drawn = figures_synchrony.amplitude_against(arrays, kinds, names, label, results.wording.correlogram_unit)
    slopes = (np.asarray(arrays[f"slope_{kind}"], float)[0] for kind in (0, 1))
    unit = "degree" if "degrees" in label else "pixel"
    lines = (f"{kind}: slope {short(slope)} per {unit}" for kind, slope in zip(names, slopes, strict=True))
    return picture(name, drawn, *lines)


SECTIONS = (
    Section("Orientation tuning", "preferences", show_preferences),
    Section("Spectra by contrast", "spectra", show_spectra),
    Section("Oscillations of single neurons", "oscillations", show_oscillations),
    Section("Transients at onset and offset", "transients", show_transients),
    Section("Traces and autocorrelograms", "traces", show_traces),
    Section("Lag of inhibition behind excitation", "lag", show_lag),
    Section("Synchrony: overlapping receptive fields", "synchrony_overlapping", show_overlapping),
    Section("Synchrony: two patches", "synchrony_patches", show_patches),
    Section("Synchrony: along a long stimulus", "synchrony_line", show_line),
)
