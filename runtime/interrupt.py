"""Stopping politely: Ctrl-C and a scheduler's SIGTERM end a run after the step in work, not in the middle of it."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


class Stop:
    """Whether the run was asked to end."""

    requested: bool = False


@contextmanager
def stop_on_signal() -> Iterator[Stop]:
    """Yields a `Stop` whose `requested` turns true at SIGINT or SIGTERM; a second signal ends the program at once.

    The former handlers are put back at the end.  Outside the main thread, where Python lets nobody handle signals, the
    request never comes.
    """
    stop = Stop()

    def handle(number, frame):
        stop.requested = True
        signal.signal(number, signal.SIG_DFL if number != signal.SIGINT else signal.default_int_handler)

    former = {}
    try:
        for number in (signal.SIGINT, signal.SIGTERM):
            former[number] = signal.signal(number, handle)
    except ValueError:
        pass
    try:
        yield stop
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)
