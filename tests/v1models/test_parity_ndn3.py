"""The project's own code on every file of NDN3 reference arrays."""

import pytest

from tests import parity_ndn3
from tests.conftest import SHARED

FILES = sorted(path.name for path in (SHARED / "reference" / "ndn3").glob("*.npz")) or ["forward_hsm.npz"]
# One of each kind of layer, normalisation, loss and regime runs always; the other files of these two kinds when asked.
FAST_TRAINING = {"train_hsm_partial_batch", "train_conv_sep", "train_normal_norm_ei", "train_hsm_two_train_calls"}
FAST_PENALTIES = {
    "reg_conv_3ch",
    "reg_dog",
    "reg_normal_1d_input",
    "reg_normal_lags",
    "reg_normal_norm2",
    "reg_sep_norm1",
    "reg_sep_direct",
}


def _cases():
    for name in FILES:
        stem = name.removesuffix(".npz")
        slow = (stem.startswith("train_") and stem not in FAST_TRAINING) or (
            stem.startswith("reg_") and stem not in FAST_PENALTIES
        )
        yield pytest.param(name, marks=pytest.mark.slow) if slow else name


@pytest.mark.parametrize("name", list(_cases()))
def test_file(shared, name):
    compared = parity_ndn3.check(shared / "reference" / "ndn3" / name)
    assert compared
    wrong = {output: values for output, values in compared.items() if not values[0] <= values[2]}
    assert not wrong, wrong


def test_other_files_are_not_recognised():
    assert not parity_ndn3.recognise({"weights": 1, "L0_weights": 2})
