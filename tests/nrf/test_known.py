"""The known system: its numbers, its energies, its recordings."""

import json

import jax
import numpy as np
import pytest

from nrf.known import mixture as gsm
from nrf.known import recording
from recordings import names
from recordings.reading import open_recording
from runtime.config import load_config
from runtime.errors import ConfigError

TINY = ("known.trials=4", "known.contrasts=0.0,0.5,1.0", "known.burn_in=10", "known.blank=50", "known.stimulus=60")


@pytest.fixture(scope="module")
def model():
    return gsm.make_mixture()


def test_scale_and_curvature_are_those_of_the_model(model):
    found = [gsm.scale_mode(model, gsm.image(model, c)) for c in (0, 0.25, 0.5, 0.75, 1, 1.25)]
    np.testing.assert_allclose(found, [0.19, 0.21, 0.30, 0.60, 0.89, 1.15], atol=0.006)
    assert model.prior.sum() / gsm.UNITS == pytest.approx(1, abs=1e-3)  # variance of the uniform mode
    assert gsm.largest_curvature(model) == pytest.approx(97.1, abs=0.1)
    np.testing.assert_allclose(model.features.sum(axis=0), 0, atol=1e-12)
    np.testing.assert_allclose(np.diag(model.overlap), 1)


def test_mode_of_the_scale_is_that_of_the_whole_distribution(model):
    x = gsm.image(model, 0.75)
    covariance = model.features @ model.prior @ model.features.T
    grid = np.linspace(0.5, 0.7, 41)
    logs = []
    for z in grid:
        _, log_determinant = np.linalg.slogdet(spread := z**2 * covariance + gsm.NOISE * np.eye(len(x)))
        logs.append(-0.5 * log_determinant - 0.5 * x @ np.linalg.solve(spread, x) - z / gsm.SCALE + np.log(z))
    assert gsm.scale_mode(model, x) == pytest.approx(grid[np.argmax(logs)], abs=0.005)


@pytest.mark.parametrize("scale", gsm.SCALES)
def test_energy_is_the_density_written_out(model, scale):
    contrasts = np.array([0.5, 1.0])
    screen = gsm.make_screen(model, contrasts, 1.0 if scale == "fixed" else None)
    rng = np.random.default_rng(0)
    y, log_z = rng.normal(size=(2, gsm.UNITS)), rng.normal(size=(2, 1)) * 0.3
    position = (y, log_z) if scale == "joint" else (y,)
    found = np.asarray(jax.jit(gsm.make_energy(model, scale))(tuple(p.astype(np.float32) for p in position), screen))
    for row, contrast in enumerate(contrasts):
        x = gsm.image(model, contrast)
        prior = 0.5 * y[row] @ model.precision @ y[row]

        def misfit(z, x=x, row=row):
            return np.sum((x - z * model.features @ y[row]) ** 2) / (2 * gsm.NOISE)

        if scale == "joint":
            z = np.exp(log_z[row, 0])
            wanted = prior + misfit(z) + 4 * z - 2 * np.log(z)
        elif scale == "marginal":
            grid = gsm.GRID[::4]
            wanted = prior - np.log(np.sum([z * np.exp(-4 * z - misfit(z)) for z in grid]))
        else:
            wanted = prior + misfit(screen[2][row])
        assert float(found[row]) == pytest.approx(wanted, rel=2e-4)
    if scale == "fixed":
        assert screen[2][0] == screen[2][1] == pytest.approx(0.892, abs=0.005)


def test_curvature_is_the_hessian_of_the_energy(model):
    screen = gsm.make_screen(model, np.array([0.75]))
    energy = gsm.make_energy(model, "mode")
    found = jax.jit(jax.hessian(lambda y: energy((y[None],), screen)[0]))(np.ones(gsm.UNITS, np.float32))
    np.testing.assert_allclose(found, gsm.curvature(model, float(screen[2][0])), rtol=1e-3, atol=1e-3)


def test_recordings_are_those_of_any_field(tmp_path):
    config = load_config("configs/known.py", TINY)
    folders = recording.record(config, tmp_path)
    assert list(folders) == ["contrast_trials", "contrast_trials@langevin", "contrast_trials@fixed_scale"]
    found = open_recording(tmp_path, names.TRIALS)
    state = found.read(names.traces("state", 1))
    assert state.shape == (10 + 50 + 60 + 100, 12, 1, 1, gsm.UNITS) and np.isfinite(state).all()
    assert found.about["table"]["contrast"] == [0.0] * 4 + [0.5] * 4 + [1.0] * 4
    assert found.read(names.IMAGES)[4:8].std() > 0 == found.read(names.IMAGES)[:4].std()
    langevin = open_recording(tmp_path, "contrast_trials@langevin")
    assert langevin.about["control"]["step_size"] == pytest.approx(0.0185, abs=1e-4)
    assert langevin.about["variables"] == ["state"]
    predicted = json.loads((tmp_path / "predictions.json").read_text())["signals"]["layer_1/site"]
    assert 1000 * predicted["resonance"][-1] == pytest.approx(48, abs=0.5)

    before = {
        path: path.stat().st_mtime_ns for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".json"
    }
    recording.record(config, tmp_path)
    assert before == {path: path.stat().st_mtime_ns for path in before}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("known.scale=free", "it must be one of mode, fixed, marginal, joint, not 'free'"),
        ("known.trials=1", "it must be at least 4, not 1"),
        ("known.step_size=0.3", "config.known.step_size is 0.3; it must lie below 0.2"),
        ("known.controls=langvin", "not 'langvin'"),
        ("known.contrasts=0.5,0.5", "config.known.contrasts is"),
    ],
)
def test_settings_that_cannot_be_used_are_named(override, message):
    with pytest.raises(ConfigError, match=message):
        recording.check_settings(load_config("configs/known.py", [override]))
