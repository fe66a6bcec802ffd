"""Auto- and cross-correlograms of many traces at once, by FFT.

c_ab[lag] = Σ_n a[n + lag] b[n]: a peak at a positive lag means that a follows b. Time is axis 0 of traces, lags are the
last axis of correlograms.
"""

from __future__ import annotations

import numpy as np
from scipy import fft, signal


def lag_axis(low: int, high: int) -> np.ndarray:
    """Return the lags low … high - 1, in steps."""
    return np.arange(low, high)


def spectra_of_traces(traces) -> tuple[np.ndarray, int]:
    """Return the spectra of demeaned traces, padded so that no lag wraps around, with the padded length.

    Args:
        traces: (time, ...).

    Returns:
        (..., bins) complex and the padded number of steps.
    """
    traces = np.moveaxis(np.asarray(traces), 0, -1)
    if traces.dtype not in (np.float32, np.float64):
        traces = traces.astype(np.float64)
    traces = traces - traces.mean(axis=-1, keepdims=True)
    size = fft.next_fast_len(2 * traces.shape[-1] - 1, real=True)
    return fft.rfft(traces, size, axis=-1), size


def correlogram(spectrum_a, spectrum_b, size: int, lags: tuple[int, int]) -> np.ndarray:
    """Return the correlogram of spectra from `spectra_of_traces`; their leading axes broadcast.

    Args:
        spectrum_a, spectrum_b: (..., bins).
        size: padded number of steps.
        lags: first lag and one past the last.

    Returns:
        (..., lags).
    """
    full = fft.irfft(spectrum_a * np.conj(spectrum_b), size, axis=-1)
    return full[..., np.arange(*lags) % size]


def cross_correlogram(traces_a, traces_b, lags: tuple[int, int], normalise: bool = False) -> np.ndarray:
    """Return the correlogram of traces that broadcast against each other.

    Args:
        traces_a, traces_b: (time, ...).
        lags: first lag and one past the last.
        normalise: divide by the norms of the demeaned traces, which makes lag 0 a correlation coefficient.

    Returns:
        (..., lags); 0 where normalised and a trace is constant.
    """
    a, size = spectra_of_traces(traces_a)
    b, _ = spectra_of_traces(traces_b)
    result = correlogram(a, b, size, lags)
    if not normalise:
        return result
    norm = np.std(traces_a, axis=0) * np.std(traces_b, axis=0) * len(traces_a)
    return np.divide(result, norm[..., None], out=np.zeros_like(result), where=norm[..., None] > 0)


def pair_correlograms(traces, lags: tuple[int, int], normalise: bool = False) -> np.ndarray:
    """Return the correlograms of all ordered pairs of channels.

    Args:
        traces: (time, stimuli, channels).
        lags: first lag and one past the last.
        normalise: see `cross_correlogram`.

    Returns:
        (stimuli, channels A, channels B, lags).
    """
    spectrum, size = spectra_of_traces(traces)
    count = spectrum.shape[0]
    channels = np.arange(np.shape(traces)[2])
    result = np.empty((count, channels.size, channels.size, lags[1] - lags[0]), np.asarray(spectrum.real).dtype)
    # One stimulus at a time: the spectra of all its pairs fit in the cache, those of all stimuli do not fit in memory.
    for stimulus in range(count):
        result[stimulus] = correlogram(spectrum[stimulus, :, None], spectrum[stimulus, None, :], size, lags)
    if normalise:
        norm = np.std(traces, axis=0)
        norm = len(traces) * norm[:, :, None, None] * norm[:, None, :, None]
        result = np.divide(result, norm, out=np.zeros_like(result), where=norm > 0)
    return result


def autocorrelogram(series, lags: int) -> np.ndarray:
    """Return the autocorrelogram at lags -lags … lags, 1 at lag 0, after a linear trend is removed.

    Args:
        series: (time, ...).
        lags: largest lag, steps.

    Returns:
        (..., 2 lags + 1); NaN for a series without anything but a trend.
    """
    series = np.moveaxis(signal.detrend(np.asarray(series, np.float64), axis=0), 0, -1)
    size = fft.next_fast_len(2 * series.shape[-1] - 1, real=True)
    full = fft.irfft(np.abs(fft.rfft(series, size, axis=-1)) ** 2, size, axis=-1)
    power = full[..., :1]
    full = np.divide(full, power, out=np.full_like(full, np.nan), where=power > 1e-12)
    return full[..., np.arange(-lags, lags + 1) % size]
