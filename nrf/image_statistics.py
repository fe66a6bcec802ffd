"""What natural images are like, as numbers: measures of a set of images beside a reference set.

All measures take images (N, H, W, C) in display coordinates (grey levels, any linear scale) and compare with a
`Reference` made once from held-out data.  Second-order structure: distance of amplitude spectra, variance along the
reference's principal components in groups (a model whose chains sit in one well has none), standard deviation of
pixels.  Beyond it, what a Gaussian of the same covariance lacks: kurtosis of pixels and of Gabor responses, and the
dependence of the strength of one Gabor on that of another (Simoncelli & Olshausen, Annu. Rev. Neurosci. 2001), and the
distribution of contrast over images, wide in nature.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.stats import ks_2samp

GROUPS = ((1, 4), (5, 16), (17, 64), (65, None))  # principal components, counted from 1, both ends included
WAVELENGTHS = (4.0, 8.0)  # pixels
ORIENTATIONS = 4


class Reference(NamedTuple):
    """What is kept of the held-out images."""

    spectrum: np.ndarray  # (H, W // 2 + 1), amplitude at each spatial frequency
    components: np.ndarray  # (D, D), principal components as columns, strongest first
    variances: np.ndarray  # (D,), variance along each
    mean: np.ndarray  # (D,)
    sd: float  # of pixels
    filters: np.ndarray  # (D, F), Gabors
    contrasts: np.ndarray  # (N,), see `contrasts`


def make_reference(images: np.ndarray) -> Reference:
    """Measure held-out images (N, H, W, C), N > 1."""
    flat = _flat(images)
    centred = flat - flat.mean(axis=0)
    values, vectors = np.linalg.eigh(centred.T @ centred / len(flat))
    filters = gabor_bank(*images.shape[1:])
    return Reference(
        amplitude_spectrum(images), vectors[:, ::-1], np.maximum(values[::-1], 0), flat.mean(axis=0),
        float(images.std()), filters, contrasts(images),
    )  # fmt: skip


def measure(images: np.ndarray, reference: Reference) -> dict[str, float]:
    """All measures of images (N, H, W, C), by name."""
    flat = _flat(images)
    found = {"spectrum_distance": distance(amplitude_spectrum(images), reference.spectrum)}
    found |= {f"variance_pc_{name}": ratio for name, ratio in variance_ratios(flat, reference).items()}
    responses = flat @ reference.filters
    return found | {
        "pixel_sd": float(flat.std()),
        "pixel_sd_ratio": float(flat.std()) / reference.sd,
        "pixel_kurtosis": kurtosis(flat),
        "gabor_kurtosis": gabor_kurtosis(responses),
        "gabor_dependence": variance_dependence(responses),
        "contrast_distance": float(ks_2samp(contrasts(images), reference.contrasts).statistic),
        "nearest_neighbour": nearest_neighbour(flat),
    }


def amplitude_spectrum(images: np.ndarray) -> np.ndarray:
    """Root mean power at each spatial frequency of images (N, H, W, C), over images and channels: (H, W // 2 + 1)."""
    power = np.abs(np.fft.rfft2(np.asarray(images, np.float64), axes=(1, 2))) ** 2
    return np.sqrt(power.mean(axis=(0, 3)))


def distance(ours: np.ndarray, theirs: np.ndarray) -> float:
    """|a - b| / |b| of two amplitude spectra, the constant term left out: 0 for equal ones, 1 for blank images."""
    difference, norm = ours - theirs, theirs.copy()
    difference[0, 0] = norm[0, 0] = 0.0
    return float(np.linalg.norm(difference) / np.linalg.norm(norm))


def spectrum_distance(images: np.ndarray, reference: np.ndarray) -> float:
    """`distance` of the amplitude spectra of two sets of images (N, H, W, C)."""
    return distance(amplitude_spectrum(images), amplitude_spectrum(reference))


def contrasts(images: np.ndarray) -> np.ndarray:
    """Standard deviation of the pixels of each image (N, H, W, C), (N,).

    `measure` compares their distributions by the largest difference of the cumulative ones (Kolmogorov & Smirnov): 0
    for equal ones, 1 for ones that do not overlap.
    """
    return _flat(images).std(axis=1)


def variance_ratios(flat: np.ndarray, reference: Reference) -> dict[str, float]:
    """Variance across images (N, D) along groups of the reference's principal components over the reference's own.

    {'1-4': ..., '5-16': ..., '17-64': ..., 'rest': ...}; groups beyond D are left out.
    """
    variances = np.var(flat @ reference.components, axis=0)
    ratios = {}
    for first, last in GROUPS:
        group = slice(first - 1, last)
        if reference.variances[group].sum() > 0:
            name = "rest" if last is None else f"{first}-{last}"
            ratios[name] = float(variances[group].sum() / reference.variances[group].sum())
    return ratios


def kurtosis(values: np.ndarray) -> float:
    """Mean fourth power over squared mean square about the mean: 3 for a Gaussian."""
    centred = values - values.mean()
    return float(np.mean(centred**4) / np.mean(centred**2) ** 2)


def gabor_bank(height: int, width: int, channels: int) -> np.ndarray:
    """Gabors of two wavelengths, four orientations and two phases, of zero mean and unit norm, as columns (D, F).

    Envelopes have a standard deviation of 0.4 wavelengths; there is one in the middle and one a quarter of the image
    away from it along each axis.  Channels are weighted alike (luminance).
    """
    rows, columns = np.mgrid[:height, :width].astype(float)
    bank = []
    for wavelength in WAVELENGTHS:
        for place in ((height / 2, width / 2), (height / 4, width / 4), (height / 4, 3 * width / 4)):
            for angle in np.pi * np.arange(ORIENTATIONS) / ORIENTATIONS:
                y, x = rows + 0.5 - place[0], columns + 0.5 - place[1]
                phase = 2 * np.pi * (x * np.cos(angle) + y * np.sin(angle)) / wavelength
                envelope = np.exp(-(x**2 + y**2) / (2 * (0.4 * wavelength) ** 2))
                bank += [envelope * np.cos(phase), envelope * np.sin(phase)]
    bank = np.stack(bank, axis=-1)
    bank = np.broadcast_to(bank[:, :, None], (height, width, channels, bank.shape[-1])).reshape(-1, bank.shape[-1])
    bank = bank - bank.mean(axis=0)
    return bank / np.linalg.norm(bank, axis=0)


def gabor_kurtosis(responses: np.ndarray) -> float:
    """Mean over filters of the kurtosis of their responses (N, F)."""
    return float(np.mean([kurtosis(each) for each in responses.T]))


def variance_dependence(responses: np.ndarray) -> float:
    """Mean correlation of squared responses (N, F) over pairs of filters, less the squared correlation of responses.

    For Gaussian responses the correlation of squares is the squared correlation, so this is 0.  Responses are scaled to
    unit variance and squares are compressed, log(1 + r²), so that a few strong patches do not decide.  Filters whose
    squares are all alike, as those of two images are, have no such correlation; 0 where all are such.
    """
    scaled = responses - responses.mean(axis=0)
    scaled = scaled / np.maximum(scaled.std(axis=0), 1e-30)
    squares = np.log1p(scaled**2)
    vary = squares.std(axis=0) > 1e-6
    if vary.sum() < 2:
        return 0.0
    strength = np.corrcoef(squares[:, vary], rowvar=False)
    linear = np.corrcoef(scaled[:, vary], rowvar=False) ** 2
    pairs = np.triu_indices(len(strength), 1)
    return float(np.mean(strength[pairs] - linear[pairs]))


def nearest_neighbour(flat: np.ndarray) -> float:
    """Mean over images (N, D) of the root mean square distance to the nearest other one, per pixel."""
    squares = np.sum(flat**2, axis=1)
    distances = squares[:, None] + squares - 2 * flat @ flat.T
    np.fill_diagonal(distances, np.inf)
    return float(np.mean(np.sqrt(np.maximum(distances.min(axis=1), 0) / flat.shape[1])))


def gaussian_like(images: np.ndarray, number: int, seed: int) -> np.ndarray:
    """Draws (number, H, W, C) from the Gaussian with the mean and covariance of images (N, H, W, C)."""
    flat = _flat(images)
    mean = flat.mean(axis=0)
    values, vectors = np.linalg.eigh(np.cov(flat, rowvar=False))
    normals = np.random.default_rng(seed).standard_normal((number, len(values)))
    drawn = mean + (normals * np.sqrt(np.maximum(values, 0))) @ vectors.T
    return drawn.reshape(number, *images.shape[1:]).astype(np.float32)


def _flat(images: np.ndarray) -> np.ndarray:
    return np.asarray(images, np.float64).reshape(len(images), -1)
