"""Visual stimuli for a trained model: Gabor patches multiplied onto a base image.

Every set is a `StimulusSet`: an image array beside a table with one row an image. The table, not a file name, says what
was shown (angle, contrast, place, repeat), so a recording carries its own meaning. Seven sets are known:

    contrast_and_angle              8 contrasts × 16 angles, one patch in the middle (contrast response, transients)
    contrast_trials                 6 contrasts × 64 repeats of one angle (what the checks judge)
    just_angle                      128 angles at one contrast (orientation tuning)
    just_angle_few_angles           8 angles × 16 repeats (synchrony of overlapping receptive fields)
    long_just_fewangles             8 angles × 16 repeats of a bar across the image (synchrony along a contour)
    double_fewlocs_and_fewerangles  a static and a mobile patch: 4 static angles × 4 distances × parallel or
                                    orthogonal × 4 repeats (synchrony against distance and collinearity)
    double_loc_and_angles           a static and a mobile patch: 9 × 9 places × 10 angles

The patch is a *multiplicative* modulation, `image = base × patch`: the mean training image keeps its own colour and
luminance, and contrast 0 shows the base image itself. Values may leave [0, 1]; `as_presented` clips and rounds them
to 8 bits as an image file would.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image, ImageDraw, ImageFont

SIGMA = 0.7
WAVELENGTH = 3.0
PHASE = 1.0
ASPECT = 0.5
STATIC_ASPECT = 0.4
LONG_ASPECT = 0.01
CONTRAST = 2.4
TRIAL_CONTRASTS = (0.0, 0.4, 0.8, 1.6, 2.4, 2.8)
DISTANCES = (3, 5, 7, 10)
CELL = 72  # screen pixels of an image on a contact sheet, about


class StimulusSet(NamedTuple):
    """Images with the table that says what each of them shows."""

    name: str
    images: np.ndarray  # (stimuli, height, width, channels) float32, not clipped to [0, 1]
    table: dict[str, np.ndarray]  # columns of length `stimuli`: angle (radian), contrast, repeat, place (pixels) ...


def gabor(
    angle: float,
    contrast: float,
    sigma: float = SIGMA,
    aspect: float = ASPECT,
    wavelength: float = WAVELENGTH,
    phase: float = PHASE,
) -> np.ndarray:
    """Return one Gabor modulation around 1.

    With x along rows, y along columns and x', y' the coordinates turned by `angle`,
    `patch = 1 + contrast exp(-x'² / 2σ² - y'² aspect² / 2σ²) cos(2π x' / wavelength + phase)`.

    Args:
        angle: direction of the carrier, radian, measured from the row axis.
        contrast: peak modulation; 0 gives ones.
        sigma: standard deviation of the envelope along the carrier, pixels.
        aspect: sigma along the carrier divided by sigma across it; small values give a long patch.
        wavelength: period of the carrier, pixels.
        phase: phase of the carrier at the middle, radian.

    Returns:
        float32 array of odd sides that holds three standard deviations of the envelope.

    Raises:
        ValueError: sigma, aspect or wavelength is not positive.
    """
    if min(sigma, aspect, wavelength) <= 0:
        raise ValueError(f"gabor: sigma={sigma}, aspect={aspect} and wavelength={wavelength} must all be above 0.")
    along, across = sigma, sigma / aspect
    cos, sin = np.cos(angle), np.sin(angle)
    half_rows = int(np.ceil(max(1.0, abs(3 * along * cos), abs(3 * across * sin))))
    half_columns = int(np.ceil(max(1.0, abs(3 * along * sin), abs(3 * across * cos))))
    x = np.arange(-half_rows, half_rows + 1)[:, None]
    y = np.arange(-half_columns, half_columns + 1)[None, :]
    turned_x, turned_y = x * cos + y * sin, -x * sin + y * cos
    envelope = np.exp(-0.5 * (turned_x**2 / along**2 + turned_y**2 / across**2))
    return (1 + contrast * envelope * np.cos(2 * np.pi / wavelength * turned_x + phase)).astype(np.float32)


def place_patch(patch: np.ndarray, shape: tuple[int, int], centre: tuple[int, int]) -> np.ndarray:
    """Return an image of ones of `shape` (height, width) with `patch` laid in, its middle at pixel `centre`.

    A side longer than the image is first trimmed symmetrically to an odd length below it; what then still
    lies outside the image is cut off.

    Raises:
        ValueError: the centre lies outside the image.
    """
    for axis, (place, side) in enumerate(zip(centre, shape, strict=True)):
        if not 0 <= place < side:
            raise ValueError(
                f"A stimulus centre at {centre} lies outside a {shape[0]}x{shape[1]} image; use smaller distances."
            )
        if patch.shape[axis] > side:
            cut = (patch.shape[axis] - side) // 2 + 1
            patch = np.take(patch, np.arange(cut, patch.shape[axis] - cut), axis=axis)
    image = np.ones(shape, np.float32)
    top, left = centre[0] - patch.shape[0] // 2, centre[1] - patch.shape[1] // 2
    rows = slice(max(top, 0), min(top + patch.shape[0], shape[0]))
    columns = slice(max(left, 0), min(left + patch.shape[1], shape[1]))
    image[rows, columns] = patch[rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    return image


def _single(base: np.ndarray, name: str, angles, contrasts, repeats, aspect: float = ASPECT) -> StimulusSet:
    middle = (base.shape[0] // 2, base.shape[1] // 2)
    drawn: dict[tuple[float, float], np.ndarray] = {}
    for key in dict.fromkeys(zip(angles.tolist(), contrasts.tolist(), strict=True)):
        modulation = place_patch(gabor(*key, aspect=aspect), base.shape[:2], middle)
        drawn[key] = base * modulation[..., None]
    images = np.stack([drawn[key] for key in zip(angles.tolist(), contrasts.tolist(), strict=True)])
    table = {"angle": angles, "contrast": contrasts, "repeat": repeats}
    return StimulusSet(name, images, table)


def contrast_and_angle(base: np.ndarray, contrasts: int = 8, angles: int = 16) -> StimulusSet:
    """Patches of `contrasts` levels 0, 0.4, 0.8 … × `angles` directions; contrast changes fastest."""
    levels, directions = 0.4 * np.arange(contrasts), np.arange(angles) * 2 * np.pi / angles
    return _single(
        base,
        "contrast_and_angle",
        np.repeat(directions, contrasts),
        np.tile(levels, angles),
        np.zeros(contrasts * angles, int),
    )


def contrast_trials(
    base: np.ndarray, contrasts: tuple[float, ...] = TRIAL_CONTRASTS, repeats: int = 64, angle: float = 0.0
) -> StimulusSet:
    """One direction at several contrasts, each shown `repeats` times; the repeats of a contrast stand together."""
    levels = np.repeat(np.asarray(contrasts, float), repeats)
    count = np.tile(np.arange(repeats), len(contrasts))
    return _single(base, "contrast_trials", np.full(levels.size, angle), levels, count)


def just_angle(base: np.ndarray, angles: int = 128) -> StimulusSet:
    """Patches of `angles` directions 2πk/angles at contrast 2.4."""
    directions = np.arange(angles) * 2 * np.pi / angles
    return _single(base, "just_angle", directions, np.full(angles, CONTRAST), np.zeros(angles, int))


def just_angle_few_angles(base: np.ndarray, angles: int = 8, repeats: int = 16) -> StimulusSet:
    """Patches of `angles` directions, each shown `repeats` times, at contrast 2.4."""
    directions = np.repeat(np.arange(angles) * 2 * np.pi / angles, repeats)
    return _single(
        base,
        "just_angle_few_angles",
        directions,
        np.full(directions.size, CONTRAST),
        np.tile(np.arange(repeats), angles),
    )


def long_just_fewangles(base: np.ndarray, angles: int = 8, repeats: int = 16) -> StimulusSet:
    """As `just_angle_few_angles` with a patch 100 times longer than wide, cut at the border of the image."""
    directions = np.repeat(np.arange(angles) * 2 * np.pi / angles, repeats)
    contrast, count = np.full(directions.size, CONTRAST), np.tile(np.arange(repeats), angles)
    return _single(base, "long_just_fewangles", directions, contrast, count, aspect=LONG_ASPECT)


def _double(base: np.ndarray, name: str, rows: list[tuple[float, float, int, int, int]]) -> StimulusSet:
    """Rows are (static angle, mobile angle, row offset, column offset, repeat)."""
    middle = (base.shape[0] // 2, base.shape[1] // 2)
    drawn: dict[tuple, np.ndarray] = {}
    for static, mobile, down, right, _ in rows:
        key = (static, mobile, down, right)
        if key not in drawn:
            patches = (
                (gabor(static, CONTRAST, aspect=STATIC_ASPECT), middle),
                (gabor(mobile, CONTRAST, aspect=ASPECT), (middle[0] + down, middle[1] + right)),
            )
            modulations = [place_patch(patch, base.shape[:2], centre) - 1 for patch, centre in patches]
            drawn[key] = base * (1 + 2 * modulations[0] + 2 * modulations[1])[..., None]
    columns = np.array(rows, dtype=np.float64)
    table = {
        "static_angle": columns[:, 0],
        "mobile_angle": columns[:, 1],
        "row_offset": columns[:, 2].astype(int),
        "column_offset": columns[:, 3].astype(int),
        "distance": np.hypot(columns[:, 2], columns[:, 3]),
        "parallel": np.isclose(columns[:, 0], columns[:, 1]),
        "contrast": np.full(len(rows), 2 * CONTRAST),
        "repeat": columns[:, 4].astype(int),
    }
    return StimulusSet(name, np.stack([drawn[row[:4]] for row in rows]), table)


def double_fewlocs_and_fewerangles(
    base: np.ndarray, distances: tuple[int, ...] = DISTANCES, repeats: int = 4
) -> StimulusSet:
    """A static patch in the middle and a mobile one further along its long axis, parallel or orthogonal to it.

    For static angle k π/2 the mobile patch lies `distances` pixels to the right, above, to the left, below. It has the
    static angle in the first `repeats` images of a place and the static angle + π/2 in the next `repeats`. The summed
    modulation is doubled, so the effective contrast is 4.8.

    Raises:
        ValueError: a distance puts the mobile patch outside the image.
    """
    rows = []
    for quarter, (down, right) in enumerate(((0, 1), (-1, 0), (0, -1), (1, 0))):
        static = quarter * np.pi / 2
        for distance in distances:
            for mobile in (static, static + np.pi / 2):
                rows += [(static, mobile, down * distance, right * distance, repeat) for repeat in range(repeats)]
    return _double(base, "double_fewlocs_and_fewerangles", rows)


def double_loc_and_angles(base: np.ndarray, places: int = 9, step: int = 2, angles: int = 10) -> StimulusSet:
    """A static patch in the middle and a mobile one on a grid of `places` × `places` offsets, `step` pixels apart.

    Both patches have the same angle, 2πk/angles. Offsets run symmetrically around 0, so the middle of the grid shows
    the two patches on top of each other.

    Raises:
        ValueError: a place of the grid lies outside the image.
    """
    offsets = step * (np.arange(places) - places // 2)
    rows = []
    for angle in np.arange(angles) * 2 * np.pi / angles:
        rows += [(float(angle), float(angle), int(down), int(right), 0) for down in offsets for right in offsets]
    return _double(base, "double_loc_and_angles", rows)


STIMULUS_SETS: dict[str, Callable[..., StimulusSet]] = {
    "contrast_and_angle": contrast_and_angle,
    "just_angle": just_angle,
    "just_angle_few_angles": just_angle_few_angles,
    "long_just_fewangles": long_just_fewangles,
    "double_fewlocs_and_fewerangles": double_fewlocs_and_fewerangles,
    "double_loc_and_angles": double_loc_and_angles,
    "contrast_trials": contrast_trials,
}


def make_stimuli(name: str, base: np.ndarray, **options) -> StimulusSet:
    """Return the stimulus set `name` on a base image (height, width, channels).

    Args:
        name: a key of `STIMULUS_SETS`.
        base: base image, usually the mean training image, float, any size, 1 or 3 channels.
        options: sizes of the set (`contrasts`, `angles`, `repeats`, `distances` …), for a smaller or larger one.

    Raises:
        ValueError: unknown set, or a base image that is not a finite (height, width, channels) array.
    """
    if name not in STIMULUS_SETS:
        raise ValueError(f"Unknown stimulus set '{name}'; choose one of {', '.join(STIMULUS_SETS)}.")
    base = np.asarray(base, np.float32)
    if base.ndim != 3:
        raise ValueError(f"The base image must have shape (height, width, channels), not {base.shape}.")
    if not np.isfinite(base).all():
        raise ValueError("The base image has non-finite pixels; give the mean of finite training images.")
    return STIMULUS_SETS[name](base, **options)


def as_presented(images: np.ndarray, low: float = 0.0, high: float = 1.0, levels: int = 256) -> np.ndarray:
    """Clip images to [low, high] and round them to `levels` equal steps, as storing them in an image file does."""
    steps = levels - 1
    unit = (np.clip(images, low, high) - low) / np.float32(high - low)
    return (np.floor(unit * steps + 0.5) / steps * (high - low) + low).astype(np.float32)


def michelson_contrast(images: np.ndarray, window: int | None = None) -> np.ndarray:
    """Return the Michelson contrast (max - min) / (max + min).

    Args:
        images: (stimuli, height, width, channels), luminance not negative (see `as_presented`).
        window: side in pixels of a central square to measure in; the whole image by default.

    Returns:
        (stimuli,) float64; 0 for a black image.

    Raises:
        ValueError: negative pixels, for which the measure means nothing.
    """
    if window is not None:
        top, left = (images.shape[1] - window) // 2, (images.shape[2] - window) // 2
        images = images[:, top : top + window, left : left + window]
    flat = images.reshape(len(images), -1).astype(np.float64)
    low, high = flat.min(axis=1), flat.max(axis=1)
    if (low < 0).any():
        raise ValueError("Michelson contrast needs luminance of at least 0; pass images through `as_presented` first.")
    return np.divide(high - low, high + low, out=np.zeros_like(high), where=high + low > 0)


def write_contact_sheet(stimuli: StimulusSet, path: str | Path, columns: int = 16, limit: int = 256) -> Path:
    """Write the distinct images of a set as one labelled PNG and return its path.

    Args:
        stimuli: the set; repeats are shown once, and at most `limit` images, evenly spread over the set.
        path: file to write, ending in .png.
        columns: images a row.
        limit: see above.
    """
    shown = np.flatnonzero(stimuli.table["repeat"] == 0)
    if len(shown) > limit:
        shown = shown[np.linspace(0, len(shown) - 1, limit).round().astype(int)]
    pixels = np.rint(255 * np.clip(stimuli.images[shown], 0, 1)).astype(np.uint8)
    pixels = (
        pixels if pixels.shape[-1] == 3 else pixels.mean(axis=-1, keepdims=True).astype(np.uint8).repeat(3, axis=-1)
    )
    zoom = max(1, round(CELL / pixels.shape[1]))
    height, width = (zoom * side for side in pixels.shape[1:3])
    columns = min(columns, len(shown))
    rows = -(-len(shown) // columns)
    sheet = Image.new("RGB", (columns * (width + 4), rows * (height + 14) + 18), "white")
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(10)
    draw.text((4, 3), f"{stimuli.name}: {len(stimuli.images)} images, {len(shown)} shown", fill="black", font=font)
    for place, (index, image) in enumerate(zip(shown, pixels, strict=True)):
        x, y = place % columns * (width + 4) + 2, place // columns * (height + 14) + 18
        draw.text((x, y), _label(stimuli.table, index), fill="black", font=font)
        sheet.paste(Image.fromarray(image).resize((width, height), Image.Resampling.NEAREST), (x, y + 12))
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    sheet.save(path)
    return path


def _label(table: dict[str, np.ndarray], index: int) -> str:
    if "angle" in table:
        return f"{np.degrees(table['angle'][index]):.0f}° c {table['contrast'][index]:.1f}"
    return (
        f"{np.degrees(table['static_angle'][index]):.0f}°/{np.degrees(table['mobile_angle'][index]):.0f}° "
        f"{table['row_offset'][index]},{table['column_offset'][index]}"
    )
