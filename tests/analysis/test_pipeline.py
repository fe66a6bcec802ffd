"""The whole analysis: it finds what was planted, both levels agree, a kill loses nothing, and gaps get a sentence."""

import json
import random
import shutil
import subprocess
import sys
import time

import numpy as np
import pytest

from analysis import load, pipeline
from analysis.checks.mechanisms import make_trials
from analysis.results import Store, read_arrays
from analysis.steps import dynamics
from analysis.steps.run import Options
from benchmarks.generated import generate_experiment
from nrf.protocols import sites_of_set
from nrf.stimuli import make_stimuli
from recordings.format import RecordingError
from recordings.periods import Periods
from recordings.reading import recording_folder
from runtime.errors import ConfigError
from runtime.files import WriteError
from tests.analysis.recorded_run import make_recorded_run
from tests.conftest import REPOSITORY
from tests.nrf.trained_run import tiny_config

SIZE, CHANNELS, PERIODS = 16, 4, Periods(10, 300, 300, 160)
SETS = {
    "contrast_and_angle": {"contrasts": 4, "angles": 8},
    "just_angle": {"angles": 16},
    "just_angle_few_angles": {"angles": 2, "repeats": 5},
    "double_fewlocs_and_fewerangles": {"distances": (3,), "repeats": 2},
    "long_just_fewangles": {"angles": 2, "repeats": 2},
}
OPTIONS = Options(surrogates=19, resamples=200)


def generated(channels=CHANNELS, sets=None):
    """Small generated experiments {name: experiment}."""
    base = np.full((SIZE, SIZE, 1), 0.5, np.float32)
    made = {}
    for number, (name, options) in enumerate((SETS | (sets or {})).items()):
        table = make_stimuli(name, base, **options).table
        sites = sites_of_set(name, table, SIZE, 1)
        sites = np.broadcast_to(sites, (len(table["repeat"]), *sites.shape[-2:]))
        made[name] = generate_experiment(name, table, sites, (SIZE, SIZE), channels, PERIODS, number)
    return made


def run(folder, experiments, options=OPTIONS):
    """Run all steps; returns the folder of the results."""
    about = pipeline.describe(experiments, 1, options)
    pipeline.run_steps(experiments, Store(folder / "layer1", about), options, about)
    return folder / "layer1"


def read_all(folder):
    """{step: arrays} of all finished steps."""
    return {path.stem: read_arrays(path) for path in folder.glob("*.npz")}


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    return run(tmp_path_factory.mktemp("results"), generated())


def test_planted_preferences_and_responses_are_found(results):
    found = read_all(results)
    preferred = np.degrees(found["preferences"]["preferred_angle"])
    apart = np.abs((preferred - 180 * np.arange(CHANNELS) / CHANNELS + 90) % 180 - 90)
    assert found["preferences"]["is_orientation"].all() and apart.max() < 10
    tested = found["activity_contrast_and_angle"]
    strong = tested["table_contrast"] == tested["table_contrast"].max()
    middle = tested["active"][:, SIZE // 2, SIZE // 2]
    assert middle[strong].mean() > 0.2 and not middle[tested["table_contrast"] == 0].any()


def test_planted_oscillation_and_transient_are_found(results):
    found = read_all(results)["spectra"]
    hertz = found["frequency"] * 1000 * 17 / 70
    for group, expected in ((3, 55.0), (2, 30 + 25 * found["contrasts"][2] / found["contrasts"][3])):
        gained = (found["power"] - found["blank_power"])[0, group] * found["frequency"]
        assert abs(hertz[gained.argmax()] - expected) < 6
    checks = {row["name"]: row for row in json.loads((results / "checks.json").read_text())}
    assert {row["verdict"] for row in checks.values()} <= {"present", "absent", "undecided", "not tested"}
    assert "'contrast_trials' was not recorded" in checks["resonance rises with contrast"]["reason"]


def test_every_step_leaves_arrays_or_a_reason(results):
    skipped = json.loads((results / "about.json").read_text())["skipped"]
    steps = {f"activity_{name}" for name in SETS} | set(pipeline.STEPS)
    assert skipped == {} and {path.stem for path in results.glob("*.npz")} == steps
    assert not list(results.glob("parts/*")) and not list(results.glob("*.incomplete"))


def test_interrupted_analysis_goes_on_and_ends_the_same(results, tmp_path, monkeypatch):
    written = []

    def write(path, arrays, original=pipeline.Store.write.__globals__["write_arrays"]):
        written.append(path)
        if len(written) == stop:
            raise KeyboardInterrupt
        original(path, arrays)

    monkeypatch.setattr("analysis.results.write_arrays", write)
    for stop in (2, 6, 5, 0):
        before = set(tmp_path.glob("**/*.npz"))
        written.clear()
        if stop:
            with pytest.raises(KeyboardInterrupt):
                run(tmp_path, generated())
        else:
            run(tmp_path, generated())
        assert not before & set(written)  # nothing that was finished is made again
    assert_same(read_all(results), read_all(tmp_path / "layer1"), exact=True)


def assert_same(one, other, exact=False):
    assert one.keys() == other.keys()
    for step, arrays in one.items():
        assert arrays.keys() == other[step].keys()
        for name, values in arrays.items():
            where, there = f"{step}/{name}", other[step][name]
            if values.dtype == bool:
                assert (values != there).sum() <= (0 if exact else 0.01 * values.size), where
            elif exact or values.dtype.kind in "iuU":
                np.testing.assert_array_equal(values, there, where)
            else:
                scale = np.nanmax(np.abs(values), initial=1e-9)
                np.testing.assert_allclose(there / scale, values / scale, atol=3e-3, err_msg=where)


def test_other_settings_or_recordings_throw_old_results_away(results, tmp_path):
    shutil.copytree(results, tmp_path / "layer1")
    about = json.loads((tmp_path / "layer1" / "about.json").read_text())
    Store(tmp_path / "layer1", {key: about[key] for key in ("layer", "experiments")})
    assert (tmp_path / "layer1" / "lag.npz").exists()
    Store(tmp_path / "layer1", {"layer": 1, "level": 0.01})
    assert not (tmp_path / "layer1" / "lag.npz").exists()


def test_one_channel_and_one_contrast_are_reported(tmp_path):
    folder = run(tmp_path, generated(1, {"contrast_and_angle": {"contrasts": 1, "angles": 8}}))
    skipped = json.loads((folder / "about.json").read_text())["skipped"]
    assert "one channel" in skipped["synchrony_overlapping"]
    checks = {row["name"]: row for row in json.loads((folder / "checks.json").read_text())}
    untested = {name: row["reason"] for name, row in checks.items() if row["verdict"] == "not tested"}
    assert set(untested) == set(checks) and all(untested.values())


def test_missing_experiments_are_reported(tmp_path):
    experiments = generated()
    kept = {name: experiments[name] for name in ("contrast_and_angle",)}
    folder = run(tmp_path, kept)
    skipped = json.loads((folder / "about.json").read_text())["skipped"]
    assert "'just_angle' was not recorded" in skipped["preferences"]
    assert "needs the step 'preferences'" in skipped["spectra"]
    assert (folder / "transients.npz").exists() and (folder / "lag.npz").exists()


def test_the_originals_formulas_are_chosen_at_one_door(tmp_path):
    made = generated(2, {"just_angle_few_angles": {"angles": 2, "repeats": 2}})
    names = ("contrast_and_angle", "just_angle", "just_angle_few_angles")
    folder = run(tmp_path, {name: made[name] for name in names}, OPTIONS._replace(compat=True))
    found, wording = read_all(folder), json.loads((folder / "about.json").read_text())["wording"]
    assert wording["correlogram_unit"] == "raw sum" and "defects included" in wording["note"]
    tested = found["activity_just_angle"]
    np.testing.assert_array_equal(tested["q_value"], tested["p_value"])
    assert np.abs(found["synchrony_overlapping"]["example_curve"]).max() > 1  # not correlation coefficients
    assert (found["lag"]["lag_steps"] % 1 == 0).all()
    angles = found["preferences"]["preferred_angle"]
    assert np.isin(angles[np.isfinite(angles)], found["preferences"]["angles"]).all()


def test_the_time_scale_is_calibrated_where_asked(tmp_path, monkeypatch):
    experiments = {"contrast_and_angle": generated()["contrast_and_angle"]}
    options = OPTIONS._replace(calibrate_at=9.0, calibrate_hertz=40.0)  # the highest contrast is the nearest
    rising = make_trials(np.random.default_rng(0), 24, 4, lambda c: 2 * np.pi * (0.03 + 0.02 * c), 3.0)
    monkeypatch.setattr(dynamics, "trials_of", lambda experiment, scale: rising)
    about = json.loads((run(tmp_path, experiments, options) / "about.json").read_text())
    # 0.05 cycles a step undamped at contrast 1, the peak at sqrt(1 - 1 / 2Q²) of it.
    assert about["ms_per_step"] == pytest.approx(1000 * 0.05 * np.sqrt(1 - 1 / 18) / 40, rel=0.03)
    assert "resonance at contrast 1" in about["origin"] and "40 Hz" in about["origin"]
    damped = make_trials(np.random.default_rng(0), 24, 4)
    monkeypatch.setattr(dynamics, "trials_of", lambda experiment, scale: damped)
    with pytest.raises(load.NotTestable, match="at contrast 1 has no peak .* choose another config.analyse.calibrate"):
        run(tmp_path / "other", experiments, options)


@pytest.mark.parametrize(
    ("field", "value"), [("level", 0.0), ("surrogates", 5), ("resamples", 3), ("calibrate_hertz", -1.0)]
)
def test_options_out_of_range_are_named(field, value):
    with pytest.raises(ConfigError, match=f"config.analyse.{field} is {value}; it must"):
        pipeline.read_options(tiny_config(analyse={field: value}))


def test_a_full_disk_is_named(tmp_path):
    store = Store(tmp_path / "layer1", {})
    (store.folder / "lag.npz.incomplete").symlink_to("/dev/full")
    with pytest.raises(WriteError, match=r"lag\.npz cannot be written: the disk is full"):
        store.write("lag", {"x": np.zeros(9)})
    assert not store.done("lag")


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """Config and folder of a run recorded at the level 'analysis'."""
    folder = tmp_path_factory.mktemp("analysis") / "run"
    return make_recorded_run(folder, level="analysis"), folder


@pytest.fixture(scope="module")
def recorded_in_full(tmp_path_factory):
    """Config and folder of the same run recorded at the level 'full'."""
    folder = tmp_path_factory.mktemp("full") / "run"
    return make_recorded_run(folder, level="full"), folder


@pytest.mark.slow
def test_both_levels_give_the_same_tables_and_arrays(recorded, recorded_in_full, monkeypatch):
    monkeypatch.setattr(pipeline, "write_report", lambda folder, layer: folder)
    found = {}
    for level, (config, folder) in {"analysis": recorded, "full": recorded_in_full}.items():
        pipeline.analyse(config, folder)
        found[level] = folder / "analysis" / "layer1"
    assert_same(read_all(found["analysis"]), read_all(found["full"]))
    for table in found["analysis"].glob("*.csv"):
        assert len(table.read_text().splitlines()) == len((found["full"] / table.name).read_text().splitlines())
    one, other = (json.loads((folder / "checks.json").read_text()) for folder in found.values())
    assert [row["verdict"] for row in one] == [row["verdict"] for row in other]


def test_unusable_recordings_are_answered_with_one_sentence(recorded, tmp_path):
    config, source = recorded
    with pytest.raises(ConfigError, match="holds no recordings; run the stage 'record'"):
        pipeline.analyse(config, tmp_path / "empty")
    folder = tmp_path / "run"
    shutil.copytree(source, folder)
    with pytest.raises(load.NotTestable, match="layer 2 is not in the recording .*, which holds layers 1"):
        pipeline.analyse(tiny_config(analyse={"layer": 2}), folder)
    with pytest.raises(ConfigError, match="config.analyse.level is 2"):
        pipeline.analyse(tiny_config(analyse={"level": 2.0}), folder)
    torn = next((recording_folder(folder, "just_angle") / "arrays" / "state").rglob("*.0.0.0"))
    torn.write_bytes(torn.read_bytes()[:-3])
    with pytest.raises(RecordingError, match="block 0 .*just_angle is damaged"):
        pipeline.analyse(config, folder)
    description = recording_folder(folder, "just_angle") / "recording.json"
    description.write_text(description.read_text().replace('"version": 2', '"version": 7'))
    with pytest.raises(RecordingError, match="version 7"):
        pipeline.analyse(config, folder)


@pytest.mark.slow
def test_kill_at_random_moments_loses_nothing(recorded, tmp_path):
    _, source = recorded
    program = (
        "import pathlib, sys\nfrom analysis import pipeline\nfrom tests.nrf.trained_run import tiny_config\n"
        "pipeline.analyse(tiny_config(), pathlib.Path(sys.argv[1]))\n"
    )
    folders = [tmp_path / name for name in ("undisturbed", "killed")]
    for folder in folders:
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns("analysis"))
    command = [sys.executable, "-c", program]
    start = time.perf_counter()
    subprocess.run([*command, folders[0]], cwd=REPOSITORY, check=True, capture_output=True)
    whole, moments = time.perf_counter() - start, random.Random(1)
    for _ in range(4):
        process = subprocess.Popen([*command, folders[1]], cwd=REPOSITORY, stderr=subprocess.DEVNULL)
        time.sleep(moments.uniform(0.2, 0.9) * whole)
        process.kill()
        process.wait()
    subprocess.run([*command, folders[1]], cwd=REPOSITORY, check=True, capture_output=True)
    assert_same(*(read_all(folder / "analysis" / "layer1") for folder in folders), exact=True)
    assert (folders[1] / "report.html").stat().st_size > 10_000
