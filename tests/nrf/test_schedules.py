"""Phase lengths: the growth rule, its cool-down, and Poisson draws."""

import jax
import jax.numpy as jnp
import numpy as np

from nrf import schedules

RULE = {"factor": 1.25, "margin": 0.1, "cooldown": 5, "first_epoch": 5, "longest": 1000}


def filled(positive: float, negative: float, window: int = 4) -> schedules.LengthSchedule:
    schedule = schedules.create(100, window)
    for _ in range(window):
        schedule = schedules.record(schedule, jnp.float32(positive), jnp.float32(negative))
    return schedule


def test_the_length_grows_when_negative_energies_stay_above_positive_ones():
    grown = schedules.grow(filled(0.0, 1.0), 6, **RULE)
    assert float(grown.length) == 125
    assert int(grown.count) == 0 and int(grown.cooldown) == 5


def test_it_does_not_grow_otherwise():
    assert float(schedules.grow(filled(0.0, 0.05), 6, **RULE).length) == 100  # within the margin
    assert float(schedules.grow(filled(0.0, 1.0), 5, **RULE).length) == 100  # too early
    assert float(schedules.grow(filled(0.0, 1.0)._replace(count=jnp.int32(3)), 6, **RULE).length) == 100  # not full
    assert float(schedules.grow(filled(0.0, 1.0)._replace(cooldown=jnp.int32(2)), 6, **RULE).length) == 100
    assert float(schedules.grow(filled(0.0, 1.0), 6, **{**RULE, "longest": 110}).length) == 110


def test_after_growing_it_rests_for_the_cooldown():
    schedule, lengths = filled(0.0, 1.0), []
    for epoch in range(6, 20):
        schedule = schedules.grow(schedule, epoch, **RULE)
        lengths.append(float(schedule.length))
        for _ in range(4):
            schedule = schedules.record(schedule, jnp.float32(0), jnp.float32(1))
    assert lengths[:7] == [125.0] * 6 + [156.25]


def test_histories_hold_the_last_batches_only():
    schedule = schedules.create(10, 3)
    for value in range(5):
        schedule = schedules.record(schedule, jnp.float32(value), jnp.float32(-value))
    assert sorted(np.asarray(schedule.positive).tolist()) == [2, 3, 4]


def test_poisson_lengths_have_the_right_distribution_and_stay_in_range():
    draw = jax.vmap(lambda key: schedules.phase_length(key, 20.0, True, 1000))
    lengths = np.asarray(draw(jax.random.split(jax.random.key(0), 4000)))
    # Mean and variance of a Poisson distribution are equal; standard errors are 0.07 and 0.45.
    assert abs(lengths.mean() - 20) < 0.35
    assert abs(lengths.var() - 20) < 2.3
    assert int(schedules.phase_length(jax.random.key(0), 20.0, False, 12)) == 12
    assert int(schedules.phase_length(jax.random.key(0), 0.2, False, 12)) == 1
