"""Adaptive SGHMC against the original program: same gradients, same draws, same steps."""

import json

import jax.numpy as jnp
import numpy as np
import pytest

from nrf.samplers import adaptation, mass, sghmc_published
from tests.parity import sghmc as parity_sghmc


def test_every_reference_file_is_reproduced(shared):
    files = sorted((shared / "reference" / "nrf").glob("sghmc_*.npz"))
    assert len(files) >= 15
    for file in files:
        for output, (absolute, relative, tolerance) in parity_sghmc.check(file).items():
            assert absolute <= tolerance, f"{file.name} {output}: {absolute:.2g}, relative {relative:.2g}"


def test_the_inverse_mass_is_the_reference_matrix(shared):
    found = 0
    for file in sorted((shared / "reference" / "nrf").glob("sghmc_*.npz")):
        with np.load(file) as npz:
            if "inv_mass_matrix" in npz:
                matrix = npz["inv_mass_matrix"]
                np.testing.assert_allclose(mass.inverse_mass("circulant", len(matrix)), matrix, rtol=1e-6, atol=1e-15)
                found += 1
    assert found >= 5


def test_phases_are_reproduced_with_per_layer_options_and_clamping(shared):
    # The first step of a phase is the sampler's alone, as its gradient is on file; later ones need the network too.
    file = shared / "reference" / "nrf" / "phases_tinyB_bigstep.npz"
    with np.load(file) as npz:
        config = json.loads(str(npz["config_json"]))
        layers = range(len(config["sigma"]))

        def read(name, step=None):
            arrays = (npz[f"neg/{name}_{i}"] if step is None else npz[f"neg/{name}_{i}"][step] for i in layers)
            return tuple(jnp.asarray(np.moveaxis(a, -3, -1)) for a in arrays)

        options = sghmc_published.Options(
            step_size=tuple(config["sampling_step_size"]),
            friction=tuple(config["momentum_param"]),
            sigma=tuple(config["sigma"]),
            max_sq_sigma=tuple(config["max_sq_sigma"]),
            min_sq_sigma=config["min_sq_sigma"],
            num_burn_in=int(config["num_burn_in_steps"]),
            mass="circulant",
            bounds=(-1.0, 1.0),
        )
        new = sghmc_published.build_update(options)(adaptation.init(read("state0")), read("grad_first"), read("z", 0))
        for ours, theirs in zip(new.state.position, read("state", 0), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-6)
        for ours, theirs in zip(new.state.momentum, read("mom", 0), strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-6)


def test_a_wrong_update_fails_the_comparison(shared, monkeypatch):
    path = shared / "reference" / "nrf" / "sghmc_diagonal.npz"
    monkeypatch.setattr(adaptation, "adapt", lambda tau, mean, square, gradient: (tau + 1.0, mean, square))
    results = parity_sghmc.check(path)
    assert any(absolute > tolerance for absolute, _, tolerance in results.values())


def test_a_file_of_another_kind_is_refused(tmp_path):
    np.savez(tmp_path / "other.npz", param_0=np.zeros(3))
    with pytest.raises(ValueError, match="does not hold sampler steps"):
        parity_sghmc.check(tmp_path / "other.npz")
