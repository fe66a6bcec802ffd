"""From files to a page: a field that has the neurons' variability is told from controls of the same means."""

import numpy as np
import pandas as pd
import pytest

from analysis.fits.variability import write_page
from configs.v1.variability import get_config
from runtime.config import flatten
from runtime.errors import ConfigError
from v1models import variability
from v1models.idle import idle_variability

GROUPS, FRAMES, LATENTS, UNITS, REPEATS, SAMPLES = 8, 10, 10, 16, 30, 20


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """Latents whose variance differs between images and falls with contrast, and neurons that read samples of them."""
    folder = tmp_path_factory.mktemp("variability")
    rng = np.random.default_rng(0)
    count = GROUPS * FRAMES
    groups, frame = np.divmod(np.arange(count), FRAMES)
    shown = groups < 4
    contrast = np.where(shown, 0.02 * 1.4**frame, 0.4)
    images = 100 * (1 + contrast[:, None, None] * np.sign(rng.normal(size=(count, 8, 8))))
    mean = rng.normal(size=(count, LATENTS))
    deviation = rng.gamma(2, 0.5, (count, LATENTS)) * np.where(shown, (contrast / 0.1) ** -0.5, 1)[:, None]
    weights = rng.normal(size=(LATENTS, UNITS)) * (rng.random((LATENTS, UNITS)) < 0.4)

    def drawn(size):
        return mean + deviation * rng.normal(size=(size, count, LATENTS))

    rates = np.maximum(12 + 2 * (drawn(REPEATS) @ weights), 0.1)
    categories = np.where(shown, "contrast", "natural")
    owners = np.repeat(["a", "b"], UNITS // 2)
    np.savez(folder / "mine.npz", images=images, trials=rng.poisson(rates).astype(float), groups=groups,
             categories=categories, recordings=owners)  # fmt: skip
    samples = drawn(SAMPLES)
    order = rng.permutation(count)
    np.savez(folder / "field.npz", features=mean, samples=samples, blank=rng.normal(size=(SAMPLES, LATENTS)))
    np.savez(folder / "other.npz", features=mean, samples=mean + (samples - mean)[:, order])
    np.savez(folder / "bare.npz", features=mean)
    config = get_config("quick").unlock()
    config.data.path = str(folder / "mine.npz")
    config.fields.update({"latents": str(folder / "field.npz"), "shuffled_weights": str(folder / "other.npz")})
    config.folds.count, config.scores.resamples = 4, 40
    return config, folder


def test_the_field_whose_samples_the_neurons_read_is_told_from_controls(made):
    config, folder = made
    table = variability.assess(config, folder / "run")
    found = table.set_index(["quantity", "model"])["value"]
    gained = found[variability.GAINED]
    assert gained["latents"] > 0.01 > gained["shuffled_weights"]
    assert gained["latents"] > gained["latents, other images"] + 0.01
    assert gained["Poisson"] < gained["modulated Poisson"] <= gained["function of the mean"] + 0.01
    assert found[variability.LEFT]["latents"] > 0.2 > abs(found[variability.LEFT]["shuffled_weights"]) + 0.05
    pairs = found[variability.OVER_PAIRS]
    assert pairs["latents"] > 0.7
    assert pairs["latents"] > found[variability.BEYOND]["latents"] - 0.3 > 0
    slopes = found[variability.SLOPE]
    assert slopes["measured"] < -0.2
    assert slopes["Poisson"] == pytest.approx(0, abs=1e-9)
    assert abs(found[variability.DIFFERENCE]["latents"]) < abs(found[variability.DIFFERENCE]["modulated Poisson"])
    curves = pd.read_csv(folder / "run" / "contrast.csv")
    latent = curves[(curves["quantity"] == "variance of latents") & (curves["model"] == "latents")]
    assert len(latent) == FRAMES + 1
    assert latent["value"].iloc[1] > latent["value"].iloc[-1]
    low, high = table["low"], table["high"]
    assert ((low <= table["value"] + 1e-9) & (table["value"] <= high + 1e-9))[table["question"] == "variance"].all()
    page = write_page(folder / "run").read_text()
    assert "Unit of replication" in page and (folder / "run" / "variability.png").stat().st_size > 10_000


def test_samples_read_out_once_are_not_read_out_again(made, monkeypatch):
    config, folder = made
    variability.assess(config, folder / "run")
    monkeypatch.setattr("v1models.variability.dispersion.read_out_samples", None)
    variability.assess(config, folder / "run")


def test_independent_latents_keep_their_variances_and_lose_their_covariances():
    samples = np.random.default_rng(0).normal(size=(400, 2, 1)) * np.ones(3)
    found = variability.independent(samples)
    np.testing.assert_allclose(found.var(0), samples.var(0))
    assert abs(np.corrcoef(found[:, 0].T)[0, 1]) < 0.15


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("data.path", None, "config.data.path is not set"),
        ("fields.latents", "bare.npz", "has no 'samples'"),
        ("fields.latents", "nothing.npz", "does not exist"),
    ],
)
def test_bad_fields_are_named(made, tmp_path, field, value, message):
    config, folder = made
    config = config.copy_and_resolve_references()
    with config.ignore_type():
        config.update_from_flattened_dict({field: value and str(folder / value)})
    with pytest.raises(ConfigError, match=message):
        variability.assess(config, tmp_path)
    empty = config.copy_and_resolve_references()
    empty.data.path = str(folder / "mine.npz")
    with empty.ignore_type():
        empty.fields.update({"latents": None, "shuffled_weights": None})
    with pytest.raises(ConfigError, match="config.fields names no file"):
        variability.assess(empty, tmp_path)


@pytest.mark.slow
def test_every_field_changes_what_is_written_or_is_refused(made, tmp_path):
    config, folder = made
    before, others = variability.assess(config, tmp_path / "before"), {
        "folds.count": 3, "folds.seed": 1, "scores.reliable": 0.97, "scores.resamples": 41, "fields.white": "other.npz",
        "fields.scrambled": "other.npz", "fields.latents": "other.npz", "fields.shuffled_weights": "field.npz",
        "data.recordings": ("b",),
    }  # fmt: skip
    assert {*others} == {*flatten(config)} - {"package", "data.path"}
    for field, value in others.items():
        changed = config.copy_and_resolve_references()
        changed.update_from_flattened_dict({field: str(folder / value) if isinstance(value, str) else value})
        assert not variability.assess(changed, tmp_path / field).equals(before), field
    assert "'train'" in idle_variability(config, ["report"]).why("scores.resamples")
