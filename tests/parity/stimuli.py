"""Compare `nrf.stimuli` with a file of reference stimuli (`stimuli.npz`)."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np

from nrf import stimuli

KINDS = {
    "single__contrast_and_angle": "contrast_and_angle",
    "single__just_angle": "just_angle",
    "single__just_angle_few_angles": "just_angle_few_angles",
    "single__long_just_fewangles": "long_just_fewangles",
    "double__fewlocs_and_fewerangles": "double_fewlocs_and_fewerangles",
}


def recognise(npz) -> bool:
    """Whether the file holds a base image and at least one known stimulus set."""
    return "base_image" in npz and any(f"{kind}/unique_images" in npz for kind in KINDS)


def _difference(ours, theirs) -> tuple[float, float]:
    ours, theirs = np.asarray(ours, np.float64), np.asarray(theirs, np.float64)
    if ours.shape != theirs.shape:
        return float("inf"), float("inf")
    worst = np.abs(ours - theirs).max() if ours.size else 0.0
    return float(worst), float(worst / max(np.abs(theirs).max(), 1e-30)) if theirs.size else 0.0


def check(path) -> dict[str, tuple[float, float, float]]:
    """Return {output: (worst absolute error, worst relative error, tolerance of the absolute error)}."""
    found = {}
    with np.load(Path(path)) as file:
        base = np.moveaxis(file["base_image"], 0, -1)
        for kind, name in KINDS.items():
            if f"{kind}/unique_images" not in file:
                continue
            ours = stimuli.make_stimuli(name, base)
            index = file[f"{kind}/image_index"][file[f"{kind}/sorted_order"]]
            theirs = np.moveaxis(file[f"{kind}/unique_images"], 1, -1)[index]
            found[f"{name} images"] = (*_difference(ours.images, theirs), 2e-6)
            arguments = json.loads(str(file[f"{kind}/kwargs_json"]))
            order = file[f"{kind}/sorted_order"]
            if name == "double_fewlocs_and_fewerangles":
                for offset, column in enumerate(("static_angle", "mobile_angle")):
                    angles = np.array([a["theta"] for a in arguments[offset::2]])[order]
                    found[f"{name} {column}"] = (*_difference(ours.table[column], angles), 1e-12)
            else:
                for column, key in (("angle", "theta"), ("contrast", "contrast")):
                    values = np.array([a[key] for a in arguments])[order]
                    found[f"{name} {column}"] = (*_difference(ours.table[column], values), 1e-12)
            if f"{kind}/unique_png_uint8" in file:
                stored = np.moveaxis(file[f"{kind}/unique_png_uint8"], 1, -1)[index]
                levels = np.rint(stimuli.as_presented(ours.images) * 255)
                found[f"{name} 8-bit pixels"] = (*_difference(levels, stored), 1.0)
                # Values that sit on a rounding boundary may fall either way.
                share = float(np.mean(levels != stored))
                found[f"{name} share of 8-bit pixels that differ"] = (share, share, 1e-3)
            number = 0
            while f"{kind}/gabor_{number:02d}" in file:
                keys = json.loads(str(file[f"{kind}/gabor_{number:02d}_kwargs_json"]))
                patch = stimuli.gabor(
                    keys["theta"], keys["contrast"], keys["sigma"], keys["gamma"], keys["Lambda"], keys["psi"]
                )
                error = _difference(patch, file[f"{kind}/gabor_{number:02d}"])
                found[f"{name} patch {number:02d}"] = (*error, 1e-6)
                number += 1
    return found
