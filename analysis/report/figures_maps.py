"""Figures with the shape of the map: stimuli, maps of activity, retinotopy, and the movie.

Many small maps are drawn as one picture with borders, which takes a fraction of the time of as many axes.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from PIL import Image, ImageDraw, ImageFont

from analysis.report.figures import (
    INK,
    MOST_PANELS,
    SMALL,
    TEXT,
    WIDTH,
    columns_for,
    mosaic,
    new_figure,
    outlines,
    shown_channels,
)
from recordings.periods import Periods, TimeScale
from runtime.files import atomic_write

MAPS_A_ROW = 16
MOVIE_BYTES = 4_000_000
MOVIE_WIDTH = 400  # pixels, about


def as_pictures(images: np.ndarray) -> np.ndarray:
    """Return images (N, H, W, C) with one common grey scale from their lowest to highest value, in [0, 1].

    Three channels stay colours (N, H, W, 3); any other number is averaged (N, H, W).
    """
    images = np.asarray(images, np.float64)
    if images.shape[-1] != 3:
        images = images.mean(axis=-1)
    low, high = images.min(initial=np.inf), images.max(initial=-np.inf)
    return (images - low) / (high - low) if high > low else np.full_like(images, 0.5)


def distinct_stimuli(table: dict[str, np.ndarray], count: int, most: int) -> np.ndarray:
    """Return the rows of at most `most` stimuli that differ (first repeats only), spread over the set.

    Of a large set with angles and contrasts, all contrasts (up to eight) of a few angles.
    """
    rows = np.flatnonzero(np.asarray(table["repeat"]) == 0) if "repeat" in table else np.arange(count)
    rows = rows if rows.size else np.arange(count)
    if rows.size > most and "angle" in table and np.unique(table["contrast"]).size > 1:
        levels, angles = _spread(np.unique(table["contrast"]), 8), np.unique(table["angle"])
        # Angles from one half of the circle: the other half looks the same but for the phase.
        angles = _spread(angles[angles < np.pi], max(1, most // levels.size))
        rows = rows[np.isin(table["contrast"][rows], levels) & np.isin(table["angle"][rows], angles)]
    return _spread(rows, most)


def _spread(values: np.ndarray, most: int) -> np.ndarray:
    return values[np.unique(np.linspace(0, len(values) - 1, min(most, len(values))).round().astype(int))]


def map_stimuli(table: dict[str, np.ndarray], count: int, most: int = 6) -> np.ndarray:
    """Return the rows of the stimuli whose maps are worth a look.

    With several contrasts: up to four of them at the first angle and two further angles at the highest contrast.
    Otherwise stimuli spread over the set.
    """
    if "contrast" not in table or "angle" not in table or np.unique(table["contrast"]).size < 2:
        return distinct_stimuli(table, count, min(most, 4))
    contrast, angle = np.asarray(table["contrast"]), np.asarray(table["angle"])
    levels, angles = np.unique(contrast), np.unique(angle)
    chosen = [(level, angles[0]) for level in _spread(levels, 4)]
    chosen += [(levels[-1], each) for each in angles[[angles.size // 4, angles.size // 2]]]
    rows = [np.flatnonzero((contrast == level) & (angle == each)) for level, each in dict.fromkeys(chosen)]
    return np.array([found[0] for found in rows if found.size][:most])


def stimuli_sheet(images: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draw stimuli with their labels on one common grey scale.

    Args:
        images: (stimuli, H, W, C) as shown; at most `MOST_PANELS` are drawn.
        labels: one a stimulus.
    """
    pictures = as_pictures(images[:MOST_PANELS])
    columns = columns_for(len(pictures))
    rows = -(-len(pictures) // columns)
    side = min(WIDTH / columns, 1.6)
    figure = new_figure(max(columns * side, 2.4), rows * (side + 0.2) + 0.1, constrained=False)
    axes = figure.subplots(rows, columns, squeeze=False).ravel()
    figure.subplots_adjust(0.01, 0.01, 0.99, 1 - 0.25 / figure.get_figheight(), 0.06, 0.25)
    for axis in axes:
        axis.set_axis_off()
    for axis, picture, label in zip(axes, pictures, labels, strict=False):
        axis.imshow(picture, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_title(label, fontsize=SMALL, pad=2)
    return figure


def activity_maps(difference: np.ndarray, active: np.ndarray, limits: np.ndarray, labels: Sequence[str]) -> Figure:
    """Draw maps of the mean state with minus without the stimulus: a row a stimulus, a column a channel.

    Each channel has its own scale, symmetric around 0 and common to its stimuli; active neurons are outlined.

    Args:
        difference: (stimuli, H, W, channels) state.
        active: (stimuli, H, W, channels) bool.
        limits: (stimuli, channels, 2) limits of the scale.
        labels: one a stimulus.
    """
    channels = shown_channels(difference.shape[-1])
    reach = np.abs(limits).max(axis=(0, 2))
    unit = np.nan_to_num(difference / np.where(reach > 0, reach, 1))
    blocks = [channels[first : first + MAPS_A_ROW] for first in range(0, channels.size, MAPS_A_ROW)]
    stimuli, height, width = difference.shape[:3]
    across = min(channels.size, MAPS_A_ROW)
    left, right, top, gap = max(0.75, 0.3 + 0.062 * max(map(len, labels))), 0.75, 0.42, 0.42
    side = min((WIDTH - left - right) / across, 1.25)
    tall = side * stimuli * (height + 1) / (width + 1)
    wide = max(left + right + side * across, 4.2)
    total = top + len(blocks) * (tall + gap) - gap + 0.1
    figure = new_figure(wide, total, constrained=False)
    for number, block in enumerate(blocks):
        y = total - top - number * (tall + gap) - tall
        axis = figure.add_axes((left / wide, y / total, side * len(block) / wide, tall / total))
        tiles = np.moveaxis(unit[..., block], -1, 1)
        image = axis.imshow(mosaic(tiles), cmap="RdBu_r", vmin=-1, vmax=1, interpolation="nearest", aspect="auto")
        marked = np.nan_to_num(mosaic(np.moveaxis(active[..., block], -1, 1))) > 0
        axis.add_collection(outlines(marked, colors=INK, linewidths=0.5, rasterized=True))
        ticks = [f"{c}\n±{reach[c]:.2g}" for c in block]
        axis.set_xticks((width + 1) * np.arange(len(block)) + width / 2 - 0.5, ticks, fontsize=SMALL)
        axis.set_yticks((height + 1) * np.arange(stimuli) + height / 2 - 0.5, labels, fontsize=SMALL)
        axis.tick_params(length=0, labeltop=True, labelbottom=False, pad=2)
        axis.spines[:].set_visible(False)
    x = (left + side * across + 0.12) / wide
    bar = figure.add_axes((x, (total - top - tall) / total, 0.12 / wide, tall / total))
    figure.colorbar(image, cax=bar, ticks=[-1, 0, 1])
    bar.tick_params(labelsize=SMALL, length=2)
    bar.set_ylabel("share of the channel's limit", fontsize=SMALL)
    figure.text(0.08 / wide, 1 - 0.06 / total, "channel\nlimit", fontsize=SMALL, va="top", color=INK)
    return figure


def _channel_tiles(maps: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the shown channels of maps (H, W, channels), and these as a grid (rows, columns, H, W), NaN-filled."""
    channels = shown_channels(maps.shape[-1])
    columns = columns_for(channels.size)
    rows = -(-channels.size // columns)
    tiles = np.full((rows * columns, *maps.shape[:2]), np.nan, np.float32)
    tiles[: channels.size] = np.moveaxis(maps[..., channels], -1, 0)
    return channels, tiles.reshape(rows, columns, *maps.shape[:2])


def retinotopy(difference: np.ndarray, image: np.ndarray, label: str) -> Figure:
    """Draw the maps of all channels for one stimulus on one common scale, the stimulus beside them.

    Args:
        difference: (H, W, channels) mean state with minus without the stimulus.
        image: (H', W', C) the stimulus.
        label: of the stimulus.
    """
    channels, tiles = _channel_tiles(difference)
    rows, columns, height, width = tiles.shape
    reach = float(np.nanmax(np.abs(difference), initial=0)) or 1.0
    side = min(7.0 / columns, 1.5)
    tall, first = side * rows * (height + 1) / (width + 1), 2.0
    tall = max(tall, 1.6)
    wide, total = first + 0.5 + side * columns + 0.95, tall + 0.5
    figure = new_figure(wide, total, constrained=False)
    axis = figure.add_axes((0.1 / wide, 0.1 / total, first / wide, tall / total))
    axis.imshow(as_pictures(image[None])[0], cmap="gray", vmin=0, vmax=1, interpolation="nearest")
    axis.set_title(f"stimulus: {label}", fontsize=TEXT)
    axis.set_axis_off()
    axis = figure.add_axes(((first + 0.5) / wide, 0.1 / total, side * columns / wide, tall / total))
    picture = mosaic(tiles)
    drawn = axis.imshow(picture, cmap="RdBu_r", vmin=-reach, vmax=reach, interpolation="nearest")
    for place, channel in enumerate(channels):
        row, column = divmod(place, columns)
        axis.text(
            column * (width + 1), row * (height + 1), str(channel), fontsize=SMALL, va="top", color=INK,
            bbox={"facecolor": "white", "alpha": 0.75, "lw": 0, "pad": 0.8},
        )  # fmt: skip
    axis.set_title("channels, mean state with − without the stimulus", fontsize=TEXT)
    axis.set_axis_off()
    bar = figure.add_axes(((first + 0.62 + side * columns) / wide, 0.1 / total, 0.12 / wide, tall / total))
    figure.colorbar(drawn, cax=bar)
    bar.tick_params(labelsize=SMALL, length=2)
    bar.set_ylabel("state", fontsize=SMALL)
    return figure


def movie_picture(frame: np.ndarray, step: int, periods: Periods, scale: TimeScale, zoom: int, levels: int):
    """Return one frame (H, W, channels) uint8 as a palette picture: a tile a channel, below it a bar with the period.

    Args:
        frame: one frame.
        step: of the recording.
        periods, scale: of the recording.
        zoom: screen pixels a neuron.
        levels: grey levels kept.
    """
    grey = mosaic(_channel_tiles(frame)[1])
    # The last two entries of the palette are the space between tiles and the mark of the stimulus.
    picture = np.where(np.isfinite(grey), np.rint(np.nan_to_num(grey) / 255 * (levels - 1)), levels).astype(np.uint8)
    picture = picture.repeat(zoom, axis=0).repeat(zoom, axis=1)
    strip = np.full((24, picture.shape[1]), levels, np.uint8)
    done = int(picture.shape[1] * step / max(periods.total - 1, 1))
    first, last = (int(picture.shape[1] * change / periods.total) for change in (periods.onset, periods.offset))
    strip[18:21, : max(done, 1)] = 0
    strip[21:, first:last] = levels + 1
    image = Image.fromarray(np.concatenate([picture, strip]), "P")
    image.putpalette(_palette(levels))
    on = periods.onset <= step < periods.offset
    name = "STIMULUS" if on else "burn-in" if step < periods.burn_in else "blank"
    text = f"{name}  {float(scale.to_ms(step - periods.onset)):+.0f} ms"
    draw = ImageDraw.Draw(image)
    draw.fontmode = "1"  # intermediate shades of smooth letters are not in the palette
    place, font = (3, picture.shape[0] + 1), ImageFont.load_default(13)
    draw.text(place, text, fill=levels + 1 if on else 0, font=font)
    return image


def write_movie(
    frames: np.ndarray,
    steps: np.ndarray,
    periods: Periods,
    scale: TimeScale,
    path: Path,
    limit: int = MOVIE_BYTES,
    seconds: float = 14.0,
) -> Path:
    """Write frames as an endless GIF below `limit` bytes; frames are left out and greys merged until it fits.

    Args:
        frames: (frames, H, W, channels) uint8, scaled per channel.
        steps: (frames,) of the recording.
        periods, scale: of the recording.
        path: file to write, ending in .gif.
        limit: bytes.
        seconds: the movie takes.
    """
    path = Path(path)
    channels = min(frames.shape[-1], MOST_PANELS)
    zoom = int(np.clip(MOVIE_WIDTH // (columns_for(channels) * (frames.shape[2] + 1)), 1, 12))
    # Greys first: half the frames cost more to the eye than half the shades.
    for levels, most in ((32, 240), (16, 240), (16, 150), (8, 150), (8, 80), (8, 40), (4, 20), (4, 10), (2, 5), (2, 2)):
        chosen = np.unique(np.linspace(0, len(frames) - 1, min(len(frames), most)).round().astype(int))
        pictures = [movie_picture(frames[n], int(steps[n]), periods, scale, zoom, levels) for n in chosen]
        pause = max(20, round(1000 * seconds / len(pictures)))
        movie = io.BytesIO()
        pictures[0].save(
            movie, format="GIF", save_all=True, append_images=pictures[1:], duration=pause, loop=0, optimize=False
        )
        if movie.tell() < limit:
            break
    with atomic_write(path) as incomplete:
        incomplete.write_bytes(movie.getvalue())
    return path


def _palette(levels: int) -> list[int]:
    greys = np.linspace(0, 255, levels).round().astype(int)
    return [*np.repeat(greys, 3).tolist(), 255, 255, 255, 213, 94, 0]
