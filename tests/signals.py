"""A polite signal in the middle of a run, for tests of what it leaves."""

import signal

from runtime.metrics import MetricsWriter


def signal_after_first_metrics(monkeypatch) -> None:
    """Sends SIGTERM to the tests' own process when a run in it has written its first line of metrics."""
    write = MetricsWriter.write

    def write_and_signal(self, *arguments):
        monkeypatch.setattr(MetricsWriter, "write", write)  # a second signal would end the tests
        write(self, *arguments)
        signal.raise_signal(signal.SIGTERM)

    monkeypatch.setattr(MetricsWriter, "write", write_and_signal)
