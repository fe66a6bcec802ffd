"""Periods of a recording and what a step of the sampler is worth in milliseconds.

A recording runs through four periods: burn-in on data images, a blank, the stimulus, and a blank again. Sampler steps
have no time of their own. The usual scale puts 17 steps at 70 ms; the alternative calibrates one measured oscillation
frequency to a physiological one. Neither is a measurement, so every axis in milliseconds or hertz names its scale.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from recordings.names import DURING, OUTSIDE

LEAST_STEPS = 12  # of a period whose statistics are taken, for which the weights of the normality test hold


class Periods(NamedTuple):
    """Lengths of the periods of a recording, in steps, in their order of time."""

    burn_in: int = 100
    blank: int = 1000
    stimulus: int = 1000
    blank_after: int = 600

    @property
    def boundaries(self) -> tuple[int, int, int]:
        """First steps of the blank, of the stimulus and of the last blank."""
        return self.burn_in, self.onset, self.offset

    @property
    def onset(self) -> int:
        """First step with the stimulus."""
        return self.burn_in + self.blank

    @property
    def offset(self) -> int:
        """First step after the stimulus."""
        return self.onset + self.stimulus

    @property
    def total(self) -> int:
        """Steps of the whole recording."""
        return self.offset + self.blank_after

    @property
    def during(self) -> slice:
        """Steps with the stimulus."""
        return slice(self.onset, self.offset)

    @property
    def before(self) -> slice:
        """Steps of the blank before the stimulus, without the burn-in."""
        return slice(self.burn_in, self.onset)

    @property
    def after(self) -> slice:
        """Steps of the blank after the stimulus."""
        return slice(self.offset, self.total)

    def segments(self) -> dict[str, tuple[slice, ...]]:
        """Stretches of time during the stimulus and outside it (the burn-in is neither); empty ones are left out."""
        parts = {DURING: (self.during,), OUTSIDE: (self.before, self.after)}
        kept = {name: tuple(part for part in each if part.stop > part.start) for name, each in parts.items()}
        return {name: each for name, each in kept.items() if each}

    def check(self, steps: int) -> None:
        """Raise ValueError unless a recording of `steps` steps fills these periods exactly."""
        if steps != self.total:
            raise ValueError(
                f"The recording has {steps} steps but its periods {tuple(self)} add up to {self.total}; "
                "give the periods it was recorded with."
            )


class TimeScale(NamedTuple):
    """Milliseconds a step, with the sentence that says where the number comes from."""

    ms_per_step: float = 70 / 17
    origin: str = "17 steps = 70 ms"

    def to_ms(self, steps):
        """Steps to milliseconds."""
        return np.asarray(steps) * self.ms_per_step

    def to_steps(self, ms):
        """Milliseconds to steps, not rounded."""
        return np.asarray(ms) / self.ms_per_step

    @property
    def sampling_rate(self) -> float:
        """Steps a second, in hertz: turns cycles per step into hertz."""
        return 1000 / self.ms_per_step

    def label(self, quantity: str, unit: str) -> str:
        """Axis label that names the scale, such as "time (ms; 17 steps = 70 ms)"."""
        return f"{quantity} ({unit}; {self.origin})"


def calibrated_time_scale(cycles_per_step: float, hertz: float = 40.0, measured_at: str = "one contrast") -> TimeScale:
    """Return the time scale on which a measured frequency is `hertz`.

    ms_per_step = 1000 cycles_per_step / hertz.

    Args:
        cycles_per_step: measured peak frequency, in (0, 0.5].
        hertz: what it shall be worth.
        measured_at: where it was measured, for the axis labels.

    Raises:
        ValueError: a frequency outside (0, 0.5], which no sampled recording can show.
    """
    if not 0 < cycles_per_step <= 0.5:
        raise ValueError(
            f"The frequency to calibrate by is {cycles_per_step} cycles per step; it must lie in (0, 0.5]."
        )
    return TimeScale(1000 * cycles_per_step / hertz, f"{measured_at} = {hertz:g} Hz")
