"""The project's own code on every file of NDN3 reference arrays."""

import pytest

from tests.conftest import SHARED
from tests.parity import ndn3 as parity_ndn3

FILES = sorted(path.name for path in (SHARED / "reference" / "ndn3").glob("*.npz")) or ["forward_hsm.npz"]
# One of each kind of layer, normalization, loss and regime runs always; the other files when asked.
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


SLOW_FORWARD = (
    "conv_w13_s1",
    "conv_w13_s2",
    "conv_w15",
    "conv_w3_s1",
    "conv_w7_s1",
    "conv_even_w6",
    "conv_norm1",
    "conv_ei_norm2",
    "conv_sep_norm-1",
    "conv_sep_ei_norm2",
    "conv_sep_ei_norm-1",
    "normal_ei_norm2",
)


def _is_slow(stem):
    if stem.startswith("train_"):
        return stem not in FAST_TRAINING
    if stem.startswith("reg_"):
        return stem not in FAST_PENALTIES
    return stem.removeprefix("forward_").startswith(SLOW_FORWARD)


CASES = [pytest.param(name, marks=pytest.mark.slow) if _is_slow(name.removesuffix(".npz")) else name for name in FILES]


@pytest.mark.parametrize("name", CASES)
def test_file(shared, name):
    compared = parity_ndn3.check(shared / "reference" / "ndn3" / name)
    assert compared
    wrong = {output: values for output, values in compared.items() if not values[0] <= values[2]}
    assert not wrong, wrong


def test_other_files_are_not_recognized():
    assert not parity_ndn3.recognise({"weights": 1, "L0_weights": 2})
