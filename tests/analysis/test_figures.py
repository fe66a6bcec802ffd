"""Figures: what is drawn where, and that any number of channels, contrasts and pairs can be drawn."""

import numpy as np
import pytest
from PIL import Image

from analysis.report import (
    figures,
    figures_dynamics,
    figures_maps,
    figures_responses,
    figures_synchrony,
)
from recordings.periods import Periods, TimeScale
from tests.analysis import fabricated

SCALE, PERIODS = TimeScale(), Periods(10, 100, 200, 100)
RNG = np.random.default_rng(0)


def labels_of(figure):
    return [axis.get_xlabel() for axis in figure.axes] + [text.get_text() for text in figure.texts]


def test_bounds_become_lengths_of_error_bars():
    figure = figures.new_figure()
    axis = figure.subplots()
    figures.with_interval(axis, [1.0, 2.0], [3.0, 5.0], [2.5, 4.0], [4.0, 5.5])
    segments = axis.containers[0].lines[2][0].get_segments()
    np.testing.assert_allclose([s[:, 1] for s in segments], [[2.5, 4.0], [4.0, 5.5]])


def test_outlines_run_around_active_neurons():
    mask = np.zeros((4, 5), bool)
    mask[1, 2:4] = True
    segments = figures.outlines(mask).get_segments()
    assert len(segments) == 6  # the outline of two neighbours is 6 sides long
    points = np.concatenate(segments)
    np.testing.assert_allclose([points.min(axis=0), points.max(axis=0)], [[1.5, 0.5], [3.5, 1.5]])
    assert not figures.outlines(np.zeros((3, 3), bool)).get_segments()


def test_mosaic_keeps_tiles_apart():
    tiles = np.arange(2 * 3 * 4 * 5, dtype=float).reshape(2, 3, 4, 5)
    picture = figures.mosaic(tiles)
    assert picture.shape == (2 * 5 - 1, 3 * 6 - 1)
    np.testing.assert_array_equal(picture[5:9, 6:11], tiles[1, 1])
    assert np.isnan(picture[4]).all() and np.isnan(picture[:, 5]).all()


@pytest.mark.parametrize("count", [1, 2, 5, 16, 32, 100])
def test_grids_hold_any_number_of_channels(count):
    shown = figures.shown_channels(count)
    assert len(shown) == len(set(shown)) == min(count, figures.MOST_PANELS)
    assert shown[0] == 0 and shown[-1] == count - 1
    figure, axes, lowest = figures.panels(len(shown))
    assert len(axes) == len(shown) and lowest[-1] and figure.get_figwidth() <= figures.WIDTH + 1e-9
    boxes = [axis.get_position() for axis in axes]
    assert all(0 <= box.x0 < box.x1 <= 1 and 0 < box.y0 < box.y1 <= 1 for box in boxes)
    below = [(box.x0, box.y0) for box, low in zip(boxes, lowest, strict=True) if low]
    assert all(not any(abs(x - b.x0) < 1e-9 and b.y0 < y for b in boxes) for x, y in below)


def test_maps_share_a_scale_around_zero_and_mark_the_active():
    difference = RNG.standard_normal((3, 6, 6, 20))
    limits = np.stack([-np.ones((3, 20)) * 4, np.ones((3, 20)) * 4], axis=-1)
    active = np.zeros(difference.shape, bool)
    active[1, 2, 3, 17] = True
    figure = figures_maps.activity_maps(difference, active, limits, ["a", "b", "c"])
    images = [image for axis in figure.axes for image in axis.images]
    assert [image.get_clim() for image in images] == [(-1, 1)] * 2
    second = images[1].get_array()  # channels 16 … 19
    np.testing.assert_allclose(second[7:13, 7:13], difference[1, ..., 17] / 4, rtol=1e-6)
    points = np.concatenate(figure.axes[1].collections[0].get_segments())
    np.testing.assert_allclose(points.mean(axis=0), [7 + 3, 7 + 2])


def test_retinotopy_has_one_scale_for_all_channels():
    difference = RNG.standard_normal((5, 5, 3))
    figure = figures_maps.retinotopy(difference, RNG.random((10, 10, 1)), "45°")
    low, high = figure.axes[1].images[0].get_clim()
    assert -low == high == pytest.approx(np.abs(difference).max())


def test_chosen_stimuli_are_distinct_and_span_the_contrasts():
    table = fabricated.stimulus_table("contrast_and_angle", 8, 16)
    rows = figures_maps.map_stimuli(table, 128)
    assert len(rows) == len(set(rows)) == 6
    assert {0.0, 2.8} <= set(np.round(table["contrast"][rows], 6)) and len(set(table["angle"][rows])) == 3
    rows = figures_maps.distinct_stimuli(table, 128, 32)
    assert len(rows) == 32 and len(set(table["contrast"][rows])) == 8 and len(set(table["angle"][rows])) == 4
    repeated = {"angle": np.repeat([0.0, 1.0], 5), "contrast": np.ones(10), "repeat": np.tile(np.arange(5), 2)}
    assert figures_maps.distinct_stimuli(repeated, 10, 32).tolist() == [0, 5]


def test_axes_name_the_time_scale_and_show_hertz():
    frequency = np.arange(1, 65) / 128
    power = np.zeros((2, 1, 64))
    power[:, 0, 25] = 1.0
    other = TimeScale(2.0, "peak at contrast 1 = 40 Hz")
    figure = figures_responses.power_spectra([1.0], frequency, power, 0 * power, np.ones((2, 1)), other)
    assert figure.axes[0].get_xlabel() == "frequency (Hz; peak at contrast 1 = 40 Hz)"
    drawn = figure.axes[0].lines[0].get_xydata()
    assert drawn[drawn[:, 1].argmax(), 0] == pytest.approx(500 * 26 / 128)
    lag_figure = figures_dynamics.lag_histogram(RNG.standard_normal((4, 3)), other)
    assert all(other.origin in axis.get_xlabel() for axis in lag_figure.axes)


def test_momentum_that_follows_has_its_mark_at_positive_lags():
    lags = np.arange(-30, 31)
    # Inhibition follows by 2 steps: Σ state[n + lag] inhibition[n] is largest at lag -2.
    values = np.cos(2 * np.pi * (lags + 2) / 10) * np.exp(-(((lags + 2) / 20.0) ** 2))
    figure = figures_dynamics.lag_correlograms(lags, np.stack([values, values]), SCALE)
    mean = figure.axes[1]
    assert mean.lines[-1].get_xdata()[0] == pytest.approx(2 * SCALE.ms_per_step)
    image = figure.axes[0].images[0]
    left, right, *_ = image.get_extent()
    row = np.asarray(image.get_array())[0]
    centre = left + (right - left) * (row.argmax() + 0.5) / row.size
    assert centre == pytest.approx(2 * SCALE.ms_per_step)


def test_trend_line_ignores_contrast_zero_and_missing_values():
    contrast = np.repeat([0.0, 1.0, 2.0, 3.0], 4)
    values = np.where(contrast > 0, 10 + 2 * contrast, 90) + np.tile([-0.1, 0.0, 0.1, 0.0], 4)
    values[5] = np.nan
    axis = figures_responses.against_contrast(contrast, values, "y", "no peak").axes[0]
    trend = next(line for line in axis.lines if str(line.get_label()).startswith("trend"))
    np.testing.assert_allclose(trend.get_xydata(), [[1, 12], [3, 16]], atol=0.1)
    assert axis.get_title() == "no peak: 1 of 16 stimuli"


def test_matrix_counts_each_pair_once_and_asymmetric_ones_all():
    q_value = np.full((3, 3), 0.01)
    np.fill_diagonal(q_value, np.nan)
    assert "3 of 3 pairs" in figures_synchrony.pair_matrix(np.ones((3, 3)), q_value).axes[0].get_title()
    q_value = np.full((3, 3), 0.5)
    q_value[0, 0] = 0.01
    assert "1 of 9 pairs" in figures_synchrony.pair_matrix(np.ones((3, 3)), q_value).axes[0].get_title()


def test_kinds_of_pairs_are_drawn_apart_with_their_own_bins():
    arrays = fabricated.synchrony_arrays(np.random.default_rng(1), "collinear", 3)
    figure = figures_synchrony.amplitude_against(arrays, arrays["collinear"], ("first", "second"), "x")
    for kind, axis in enumerate(figure.axes):
        wanted = arrays["collinear"] == (kind == 0)
        points = axis.lines[0].get_xydata()
        assert sorted(points[:, 1]) == pytest.approx(sorted(arrays["y"][wanted]))
        means = axis.containers[0].lines[0].get_ydata()
        np.testing.assert_allclose(means, arrays["bin_mean"][arrays["bin_kind"] == kind])


def test_verdicts_are_filled_where_the_effect_is_present():
    rows = fabricated.checks()
    figure = figures_synchrony.verdicts(rows)
    model, control = (container.lines[0] for container in figure.axes[0].containers[:2])
    assert model.get_markerfacecolor() != "white" and control.get_markerfacecolor() == "white"
    assert figures_synchrony.verdicts(rows[-1:]) is None


@pytest.mark.parametrize("channels", [1, 40])
def test_movie_fits_its_limit_and_shows_the_period(tmp_path, channels):
    frames = RNG.integers(0, 256, (60, 8, 8, channels), dtype=np.uint8)
    steps = np.linspace(0, PERIODS.total - 1, 60).astype(int)
    path = figures_maps.write_movie(frames, steps, PERIODS, SCALE, tmp_path / "movie.gif", limit=300_000)
    assert path.stat().st_size < 300_000
    with Image.open(path) as movie:
        assert movie.n_frames > 10 and movie.info["loop"] == 0
        orange = [_has_orange_words(movie, frame) for frame in range(movie.n_frames)]
    shown = np.unique(np.linspace(0, 59, len(orange)).round().astype(int))
    on = (steps[shown] >= PERIODS.onset) & (steps[shown] < PERIODS.offset)
    assert orange == on.tolist()


def _has_orange_words(movie, frame):
    movie.seek(frame)
    words = np.asarray(movie.convert("RGB"))[-22:-7].reshape(-1, 3)
    return bool((words == (213, 94, 0)).all(axis=1).any())


def test_constant_and_empty_input_is_drawn(tmp_path):
    nothing = np.full((2, 5), np.nan)
    drawn = [
        figures_maps.activity_maps(np.zeros((1, 4, 4, 1)), np.zeros((1, 4, 4, 1), bool), np.zeros((1, 1, 2)), ["0°"]),
        figures_responses.preference_circle(np.array([np.nan]), np.array([0.0]), np.array([False])),
        figures_responses.against_contrast([1.0, 1.0], [np.nan, np.nan], "y", "none"),
        figures_dynamics.state_traces(np.arange(5), [1.0], np.full((2, 5, 1), np.nan), np.zeros(2), PERIODS, SCALE),
        figures_dynamics.autocorrelograms(np.arange(5), nothing, nothing, SCALE),
        figures_dynamics.diagnostics({}),
        figures_synchrony.pair_matrix(np.zeros((1, 1)), np.full((1, 1), np.nan)),
    ]
    for number, figure in enumerate(drawn):
        png, svg = figures.save(figure, tmp_path, f"figure{number}")
        assert svg.read_text().rstrip().endswith("</svg>")
        with Image.open(png) as image:
            assert image.size[0] == pytest.approx(figures.DPI * figure.get_figwidth(), abs=1)
    assert not list(tmp_path.glob("*.incomplete"))
