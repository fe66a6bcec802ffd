"""Every file of reference arrays is recognised and reproduced."""

import numpy as np
import pytest

from tests.parity import analysis as parity_analysis

NAMES = [
    "tables", "primary_recording", "active_neurons", "orientation_prefs", "assign_ori", "oscillating_neurons",
    "contrast_spectra_transients", "state_traces_acorr", "ei_lag_state_momentum", "activity_maps",
    "exp1_xcorr", "exp2_xcorr", "exp3_xcorr", "exp1_analysis", "exp2_analysis", "exp3_analysis",
    "exp1_fits", "exp2_fits", "exp3_fits",
]  # fmt: skip


# Three files of fits check the same formula.
REPEATED = ("exp2_fits", "exp3_fits")


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow) if name in REPEATED else name for name in NAMES]
)
def test_reference_arrays_are_reproduced(shared, name):
    results = parity_analysis.check(shared / "reference" / "analysis" / f"{name}.npz")
    assert results
    assert {output: row for output, row in results.items() if not row[0] <= row[2]} == {}


def test_every_file_of_the_folder_is_recognised(shared):
    paths = sorted((shared / "reference" / "analysis").glob("*.npz"))
    assert {path.stem for path in paths} == set(NAMES)
    for path in paths:
        with np.load(path) as file:
            assert parity_analysis.recognise(file)


def test_other_files_are_not_recognised(tmp_path):
    np.savez(tmp_path / "other.npz", x=np.zeros(3))
    with np.load(tmp_path / "other.npz") as file:
        assert not parity_analysis.recognise(file)
    with pytest.raises(ValueError, match="not a file of reference arrays"):
        parity_analysis.check(tmp_path / "other.npz")


def test_a_wrong_array_is_noticed(shared, tmp_path):
    source = shared / "reference" / "analysis"
    for name in ("primary_recording", "active_neurons"):
        with np.load(source / f"{name}.npz") as file:
            arrays = {key: file[key] for key in file}
        if name == "active_neurons":
            arrays["mean_during"] = arrays["mean_during"] + 1e-6
        np.savez(tmp_path / f"{name}.npz", **arrays)
    worst, _, tolerance = parity_analysis.check(tmp_path / "active_neurons.npz")["mean_during"]
    assert worst > tolerance
