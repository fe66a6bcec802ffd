"""Fixtures and rules that hold for every test.

* `shared` is the folder of reference arrays and data sets beside the repository. It is no part of a clone, so tests
  that need it skip without it; under continuous integration (`CI=true`) such a skip fails the run whenever the folder
  is there after all.
* JAX runs on one CPU device. A test of several devices starts a subprocess with its own `XLA_FLAGS`.
* XLA compiles without optimisation: tests run many programs once, and compiling takes most of their time. Those that
  draw millions of numbers compile with OPTIMIZED.
* Compiled programs are kept in `.cache/jax`, small ones too, so that neither another file, nor a program that a test
  starts, nor a second run of the suite compiles them again. In memory they stay until they take too much of it.
"""

import contextlib
import ctypes
import gc
import os
import resource
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"
ENOUGH_BYTES = 900 << 20
LONG = (
    "test_samplers_distribution", "test_experiments", "test_controls", "test_run", "test_energy", "test_training",
    "test_score", "test_configs", "test_parity_ndn3", "test_pipeline", "test_samplers_walls", "test_report",
)  # fmt: skip
NO_SHARED = "no folder of reference data beside the repository (../shared)"

# JAX reads its environment once, when first imported: pytest loads this file before any test module.
os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = " ".join((
    "--xla_force_host_platform_device_count=1",
    "--xla_backend_optimization_level=0",
    "--xla_llvm_disable_expensive_passes=true",
    "--xla_cpu_use_fusion_emitters=false",
    "--xla_cpu_parallel_codegen_split_count=1",
))  # fmt: skip
OPTIMIZED = {
    "xla_backend_optimization_level": 3, "xla_llvm_disable_expensive_passes": False, "xla_cpu_use_fusion_emitters": True
}  # fmt: skip
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(REPOSITORY / ".cache" / "jax"))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0")
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "0")
os.environ.setdefault("MPLBACKEND", "agg")


class SharedFolderGuard:
    """Fails a continuous-integration run in which a test was skipped for want of a folder that is there."""

    def __init__(self, shared: Path, continuous_integration: bool):
        self.armed = continuous_integration and shared.is_dir()
        self.skipped: list[str] = []

    def pytest_runtest_logreport(self, report):
        if report.skipped and NO_SHARED in str(report.longrepr):
            self.skipped.append(report.nodeid)

    @pytest.hookimpl(trylast=True)
    def pytest_sessionfinish(self, session):
        if self.armed and self.skipped:
            session.exitstatus = pytest.ExitCode.TESTS_FAILED

    def pytest_terminal_summary(self, terminalreporter):
        if self.armed and self.skipped:
            tests = ", ".join(self.skipped)
            terminalreporter.write_line(f"skipped for want of ../shared, which is there: {tests}", red=True)


def pytest_collection_modifyitems(items):
    """Long files first, so that no process is left alone with one at the end."""
    items.sort(key=lambda item: item.path.stem not in LONG)


def pytest_configure(config):
    config.pluginmanager.register(SharedFolderGuard(SHARED, os.environ.get("CI") == "true"), "shared-folder-guard")


def resident_bytes() -> int:
    """Memory that this process holds now; where /proc does not say, the most it ever held."""
    with contextlib.suppress(OSError):
        return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


@pytest.fixture(scope="module", autouse=True)
def compiled_programs():
    """Frees compiled programs after the last test of a file: those of all files together take gigabytes."""
    yield
    if "jax" not in sys.modules or resident_bytes() < ENOUGH_BYTES:
        return
    sys.modules["jax"].clear_caches()
    gc.collect()
    # What was freed goes back to the system only when glibc is asked for it.
    if hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference arrays and data sets beside the repository; the test skips without it."""
    if not SHARED.is_dir():
        pytest.skip(NO_SHARED)
    return SHARED
