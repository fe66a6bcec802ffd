"""Check files of reference arrays from the command line: `python -m tests.parity FILE.npz ...`

Each file is recognised by its content, whatever its name; the project's own code runs on its inputs; and one line of
JSON says how far the results are from those stored in it:

    {"file": ..., "kind": ..., "pass": true, "outputs": {name: {"abs": ..., "rel": ..., "tolerance": ...}},
     "worst_abs": ..., "worst_rel": ...}

abs is the largest absolute error of an output, rel the same over the largest reference value, tolerance the bound of
abs; an infinite error (another shape, or a value that is not finite) is written as null.  A file that cannot be read or
that nothing recognises has "error" instead of outputs.  The exit status is 1 if any file did not pass.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import zipfile
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType

import jax
import numpy as np

# --- registry: each module has recognise(npz) -> bool and check(path) -> {output: (abs, rel, tolerance)} ------------


def _nrf() -> ModuleType:
    from tests.parity import nrf as parity_nrf

    return parity_nrf


def _sghmc() -> ModuleType:
    from tests.parity import sghmc as parity_sghmc

    return parity_sghmc


def _viz() -> ModuleType:
    from tests.parity import viz as parity_viz

    return parity_viz


def _stimuli() -> ModuleType:
    from tests.parity import stimuli as parity_stimuli

    return parity_stimuli


def _ndn3() -> ModuleType:
    from tests.parity import ndn3 as parity_ndn3

    return parity_ndn3


def _analysis() -> ModuleType:
    from tests.parity import analysis as parity_analysis

    return parity_analysis


CHECKERS: dict[str, Callable[[], ModuleType]] = {
    "nrf": _nrf,
    "sghmc": _sghmc,
    "viz": _viz,
    "stimuli": _stimuli,
    "ndn3": _ndn3,
    "analysis": _analysis,
}


def find_checker(path: str) -> tuple[str, ModuleType]:
    """Return (kind, module) for a file; ValueError if nothing recognises it."""
    if Path(path).is_file() and not zipfile.is_zipfile(path):
        raise ValueError("this is not an .npz file of arrays")
    with np.load(path, allow_pickle=False) as npz:
        for name, load in CHECKERS.items():
            module = load()
            if module.recognise(npz):
                return module.kind(npz) if hasattr(module, "kind") else name, module
        names = ", ".join(npz.files[:5])
    raise ValueError(f"no check recognises its arrays ({names} ...); known are {', '.join(CHECKERS)}")


def check_file(path: str) -> dict:
    """Return the report on one file, ready for JSON."""
    report: dict = {"file": str(path)}
    try:
        report["kind"], module = find_checker(path)
        found = module.check(path)
        if not found:
            raise ValueError("the file holds no output to compare")
    except Exception as error:  # whatever is wrong with one file, the others are still checked
        lacks = isinstance(error, KeyError)
        message = f"the file lacks {error}" if lacks else str(error) or type(error).__name__
        return report | {"pass": False, "error": message}
    return report | {
        "pass": all(worst <= tolerance for worst, _, tolerance in found.values()),
        "outputs": {
            name: {"abs": _finite(worst), "rel": _finite(relative), "tolerance": _finite(tolerance)}
            for name, (worst, relative, tolerance) in found.items()
        },
        "worst_abs": _finite(max(worst for worst, _, _ in found.values())),
        "worst_rel": _finite(max(relative for _, relative, _ in found.values())),
    }


def _finite(value: float) -> float | None:
    return float(value) if math.isfinite(value) else None


def main(arguments: Sequence[str] | None = None) -> int:
    """Check the files named on the command line, print a line each, return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.parity", description="Check files of reference arrays.")
    parser.add_argument("files", nargs="+", metavar="FILE.npz")
    passed = True
    # Accelerators otherwise round the factors of products to fewer bits than the tolerances allow.
    with jax.default_matmul_precision("highest"):
        for path in parser.parse_args(arguments).files:
            report = check_file(path)
            passed &= report["pass"]
            print(json.dumps(report, allow_nan=False), flush=True)
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
