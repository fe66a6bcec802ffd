"""What a report says of its checks: three sentences, a table, and what the physiology beside it rests on.

Rows of `checks.json`, one a check:

    check, name, expected             identifier, and in words what is looked for and what cortex shows
    verdict                           present, absent, undecided or not tested
    found, low, high, unit, reason    what decided, its 95 % interval, and why
    controls                          {control: {verdict, found, low, high, unit, reason, and maybe difference}}, where
                                      difference = {found, low, high, unit, corrected}: the field minus the control on
                                      the same resamples, with its p-value corrected by Holm's rule over the checks
    known                             the same row of the system with known answers, if it was recorded
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from analysis.pages import interval, plain

Row = Mapping[str, Any]
WORDS = ("present", "absent", "undecided", "not tested")
LEVEL = 0.05  # of corrected differences that are called so


class Reference(NamedTuple):
    """A finding that verdicts are compared with."""

    source: str
    finding: str
    confirmed: bool  # in the source's abstract


REFERENCES = (
    Reference("Ray & Maunsell 2010", "gamma frequency rises monotonically with contrast, macaque V1", True),
    Reference("Roberts et al. 2013", "about +25 Hz over the range of contrasts, fluctuating by 15 Hz, macaque", True),
    Reference("Okun & Lampl 2008", "inhibition lags excitation by a few milliseconds, rat somatosensory cortex", True),
    Reference("Müller et al. 2001", "the response decays within 100 ms of onset", True),
    Reference("Albrecht et al. 2002", "the shape of the response is contrast-invariant to 95 %", True),
    Reference("Churchland et al. 2010", "variability falls at stimulus onset in 14 of 14 data sets", True),
    Reference("Gray et al. 1989", "collinear stimuli synchronise cells more than others", False),
    Reference("Aitchison & Lengyel 2016", "Hamiltonian sampling about ten times faster than Langevin", False),
    Reference("–", "a lag of inhibition between 1 and 6 ms, and ratios of peak to sustained responses", False),
)
COMPETITOR = (
    "The nearest other model is Echeveste et al. 2020 (Nature Neuroscience): recurrent networks trained to sample a "
    "Gaussian scale mixture, which show quenching, transients and gamma oscillations."
)


def sentences(subject: str, rows: Sequence[Row]) -> list[str]:
    """Return three sentences: what the field shows, how it differs from its controls, what the judge is worth.

    Args:
        subject: what was recorded, such as 'Layer 1 of a field'.
        rows: rows of `checks.json`.
    """
    if not rows:
        return [f"{subject} was analysed, but the analysis left no verdicts; run the stage 'analyse' again."]
    parts = []
    for word in WORDS:
        named = [row["name"] for row in rows if row["verdict"] == word]
        parts += [f"{word} {len(named)} ({', '.join(named)})"] if named else []
    count = f"{len(rows)} effect{'' if len(rows) == 1 else 's'}"
    return [
        f"{subject} was looked at for {count} known from cortex: {'; '.join(parts)}.",
        _against_controls(rows),
        _known(rows),
    ]


def _against_controls(rows: Sequence[Row]) -> str:
    controls = list(dict.fromkeys(name for row in rows for name in row.get("controls") or {}))
    if not controls:
        return "No control was recorded, so that nothing found can be put down to the field's dynamics."
    compared, apart = 0, []
    for row in rows:
        for name, entry in (row.get("controls") or {}).items():
            difference = entry.get("difference") or {}
            corrected = difference.get("corrected")
            compared += corrected is not None
            if corrected is not None and corrected < LEVEL:
                apart.append(f"{row['name']} ({plain(name)}: {interval(difference)})")
    listed = ", ".join(map(plain, controls))
    if not compared:
        return f"Controls were recorded ({listed}), but no statistic could be compared with theirs."
    if not apart:
        return f"It differs from its controls ({listed}) in nothing that {compared} paired differences could show."
    return f"It differs from its controls in {'; '.join(apart)}."


def _known(rows: Sequence[Row]) -> str:
    judged = [row for row in rows if row.get("known")]
    if not judged:
        return "No system with known answers was recorded beside it (configs/known.py is one)."
    found = [row["name"] for row in judged if row["known"]["verdict"] == "present"]
    return (
        f"In the system with known answers the same checks find {len(found)} of {len(judged)} effects"
        f"{': ' + ', '.join(found) if found else ''}."
    )


def control_names(rows: Sequence[Row]) -> list[str]:
    """Return the names of all controls, in their order."""
    return list(dict.fromkeys(name for row in rows for name in row.get("controls") or {}))


def untested(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Return (what, why not) of all checks and controls that were not tested."""
    found = [(row["name"], row.get("reason") or "") for row in rows if row["verdict"] == "not tested"]
    return found + [
        (f"{row['name']}, control {plain(name)}", entry.get("reason") or "")
        for row in rows
        if row["verdict"] != "not tested"
        for name, entry in (row.get("controls") or {}).items()
        if entry["verdict"] == "not tested"
    ]
