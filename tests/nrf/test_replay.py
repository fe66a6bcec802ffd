"""The replay buffer keeps the newest states and draws them evenly."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from nrf import replay


def batch(start: int, count: int):
    """States whose every value is their number, so that they can be recognised."""
    numbers = jnp.arange(start, start + count, dtype=jnp.float32)[:, None, None, None]
    return (jnp.broadcast_to(numbers, (count, 2, 2, 1)), jnp.broadcast_to(-numbers, (count, 1, 1, 3)))


def stored(buffer):
    return sorted(np.asarray(buffer.states[0])[: int(buffer.size), 0, 0, 0].tolist())


def test_first_in_first_out():
    buffer = replay.create([(2, 2, 1), (1, 1, 3)], capacity=10)
    push = jax.jit(replay.push)
    for start in range(0, 16, 4):
        buffer = push(buffer, batch(start, 4))
        newest = list(range(max(0, start + 4 - 10), start + 4))
        assert stored(buffer) == newest
    # Layers of one state stay together.
    assert np.array_equal(buffer.states[0][:, 0, 0, 0], -buffer.states[1][:, 0, 0, 0])


def test_a_batch_larger_than_the_buffer_leaves_its_last_states():
    buffer = replay.push(replay.create([(2, 2, 1), (1, 1, 3)], 3), batch(0, 8))
    assert stored(buffer) == [5, 6, 7]
    assert stored(replay.push(buffer, batch(8, 1))) == [6, 7, 8]


def test_draws_are_uniform_over_what_is_stored():
    buffer = replay.push(replay.create([(2, 2, 1), (1, 1, 3)], 10), batch(0, 4))
    drawn = np.asarray(replay.draw(jax.random.key(0), buffer, 8000)[0])[:, 0, 0, 0]
    counts = np.bincount(drawn.astype(int), minlength=10)
    assert counts[4:].sum() == 0
    # Four cells of 2000 expected each: 5 standard deviations are about 194.
    assert np.all(np.abs(counts[:4] - 2000) < 200)


@pytest.mark.parametrize(("fraction", "expected"), [(0.0, 0), (0.5, 4), (0.95, 8), (1.0, 8)])
def test_mix_takes_the_asked_fraction(fraction, expected):
    fresh = tuple(jnp.full_like(s, 99.0) for s in batch(0, 8))
    empty = replay.create([(2, 2, 1), (1, 1, 3)], 10)
    untouched = replay.mix(jax.random.key(0), empty, fresh, fraction)
    assert all(np.array_equal(a, b) for a, b in zip(untouched, fresh, strict=True))
    mixed = replay.mix(jax.random.key(0), replay.push(empty, batch(0, 4)), fresh, fraction)
    assert int((np.asarray(mixed[0])[:, 0, 0, 0] < 99).sum()) == expected


def test_an_empty_capacity_is_refused():
    with pytest.raises(ValueError, match="at least one state"):
        replay.create([(2, 2, 1)], 0)
