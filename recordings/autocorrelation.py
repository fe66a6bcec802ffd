"""How long a trace remembers: autocovariance and integrated autocorrelation time of many traces at once."""

from __future__ import annotations

import numpy as np
from scipy import fft


def autocovariance(traces) -> np.ndarray:
    """Return the autocovariance at lags 0 … T-1 by FFT, divided by the number of steps.

    Args:
        traces: (time, ...); the mean of each is removed.

    Returns:
        (lags, ...) float64.
    """
    traces = np.asarray(traces, np.float64)
    size = fft.next_fast_len(2 * len(traces), real=True)
    power = np.abs(fft.rfft(traces - traces.mean(axis=0), size, axis=0)) ** 2
    return fft.irfft(power, size, axis=0)[: len(traces)] / len(traces)


def autocorrelation_time(traces) -> np.ndarray:
    """Return the integrated autocorrelation time: how many steps are worth one independent sample.

    τ = 1 + 2 Σ ρ_k, summed up to the first pair of neighbouring lags whose sum is negative (initial positive sequence,
    Geyer 1992, which holds for reversible chains). Oscillating traces have τ < 1 in principle; it is kept at least 1.

    Args:
        traces: (time, ...).

    Returns:
        Steps, of the trailing shape; 1 for constant traces.
    """
    covariance = autocovariance(traces)
    pairs = covariance[: len(covariance) // 2 * 2].reshape(-1, 2, *covariance.shape[1:]).sum(axis=1)
    kept = (pairs * np.cumprod(pairs > 0, axis=0)).sum(axis=0)
    return np.maximum(2 * kept / np.where(covariance[0] > 0, covariance[0], 1.0) - 1, 1.0)
