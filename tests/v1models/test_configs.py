"""Every config of the suite: it says what it is, expands into runs that can be built, and trains."""

import ast
import functools
import itertools
import pathlib

import jax
import numpy as np
import pandas as pd
import pytest
from ml_collections import ConfigDict, FrozenConfigDict

from runtime.config import load_config
from runtime.errors import ConfigError
from runtime.sweeps import Run, expand, is_sweep
from v1models.experiment import network_specifications
from v1models.network import Network, initialize
from v1models.run import train

REPOSITORY = pathlib.Path(__file__).resolve().parents[2]
# What the configs are put together from, and configs of other kinds.
OTHERS = {"suite", "experiments", "figures", "henaff", "baker", "variability"}
CONFIGS = sorted(path for path in (REPOSITORY / "configs" / "v1").glob("*.py") if path.stem not in OTHERS)
EXPERIMENTS = {
    "baseline_1_exp1", "baseline_1_exp3", "baseline_2_exp3", "baseline_exp_rep1", "baseline_exp_rep2",
    "bs1", "bs2", "bs4", "bs3_exp4", "bs3_exp6", "bs3_exp7", "bs3_exp8", "bs3_exp11_runner", "bs4_exp6", "bs4_exp7",
    "bl1", "bl2", "bl3", "bl4", "exp_1_2_1", "exp_1_2_2", "exp_1_2_3", "exp_1_2_4", "exp_1_2_6", "exp_1_3_1",
    "exp_1_3_2", "exp_1_3_3", "exp_1_3_4", "exp_1_4_1", "exp_gaussians_hidden", "exp_2_1_1", "exp_2_1_2", "exp_2_2_1",
    "exp_2_2_2", "exp_2_2_3", "exp_2_2_4", "exp_2_2_5", "exp_3_1_1", "exp_3_2_1", "klindt", "ln", "tang",
}  # fmt: skip
SMALL = (
    "seeds=0", "fit.epochs=2", "fit.log_every=1", "data.simulated.neurons=10", "data.simulated.train_images=40",
    "data.simulated.validation_images=5", "data.simulated.repeats=2", "log.neurons_shown=0",
)  # fmt: skip


@functools.cache
def runs_of(path, preset="", overrides=()):
    config = load_config(f"{path}{preset}", overrides)
    return expand(config) if is_sweep(config) else [Run(path.stem, config)]


def test_the_suite_is_whole():
    assert {path.stem for path in CONFIGS} == EXPERIMENTS


@pytest.mark.parametrize("path", CONFIGS, ids=lambda path: path.stem)
def test_a_config_says_how_to_run_it_and_all_its_runs_can_be_built(path):
    text = ast.get_docstring(ast.parse(path.read_text()))
    assert f"--config=configs/v1/{path.name}" in text
    presets = ("",) if path.stem == "tang" else ("", ":ndn3")
    beside = [run.config.published for preset in presets for run in runs_of(path, preset)]
    for number in itertools.chain(*beside, load_config(str(path)).sweep.published_best):
        assert f"{number:g}".lstrip("0").rstrip("0") in text
    more = {"tang": ":choose", "klindt": ":gaussian"}.get(path.stem, ":ndn3")
    for preset in ("", ":quick", more):
        for run in runs_of(path, preset):
            if run.config.model.get("layer1", {}).get("dropout") == 1:
                # To keep no unit was asked for once, by mistake.
                with pytest.raises(ConfigError, match="layer1: Dense: dropout is 1.0"):
                    network_specifications([run.config], (31, 31, 1), 103)
                continue
            # Strides of 6 and 4 leave a small image a single place, which cannot be smooth.
            for neurons, side in ((103, 31), (4, 20))[: 1 if path.stem == "exp_2_2_5" else 2]:
                spec = network_specifications([run.config], (side, side, 1), neurons)[0]
                assert spec.shapes[-1][-1] == neurons


@pytest.mark.parametrize(
    ("name", "numbers"),
    [
        # 9 units of 8 numbers and a bias; dense layers with theirs.
        ("bl4", 9 * 9 + 10 * 20 + 21 * 103),
        ("ln", 962 * 103),
        # Kernels without bias, an offset for each channel; masks, features and biases of the readout.
        ("klindt", 169 * 48 + 2 * 9 * 48 * 48 + 3 * 48 + 103 * (19 * 19 + 48 + 1)),
    ],
)
def test_numbers_of_parameters(name, numbers):
    run = runs_of(REPOSITORY / "configs" / "v1" / f"{name}.py")[0]
    spec = network_specifications([run.config], (31, 31, 1), 103)[0]
    variables = jax.eval_shape(lambda key: initialize(Network(spec), key), jax.random.key(0))
    assert sum(leaf.size for leaf in jax.tree.leaves(variables["params"])) == numbers


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("bl4", 0),
        ("exp_3_1_1", 0),
        *(
            pytest.param(path.stem, index, marks=pytest.mark.slow)
            for path in CONFIGS
            for index in (0, -1)
            if path.stem not in ("tang", "bs3_exp8", "bs3_exp11_runner")
        ),
    ],
)
def test_runs_train_two_epochs(name, index, tmp_path):
    config = ConfigDict(runs_of(REPOSITORY / "configs" / "v1" / f"{name}.py", "", SMALL)[index].config.to_dict())
    config.fit.epochs = 2  # some sweeps set it themselves
    done = train(FrozenConfigDict(config), tmp_path)
    assert done["finished"] and np.isfinite(done["p50"])
    history = pd.read_csv(tmp_path / "history.csv")
    assert np.isfinite(history[["train_loss", "validation_loss", "penalty"]].to_numpy()).all()


def test_the_published_regime_is_the_default():
    config = load_config(str(REPOSITORY / "configs/v1/bl4.py"))
    assert (len(config.seeds), config.fit.epochs, config.optimization.batch_size) == (25, 35000, 16)
    assert (config.optimization.learning_rate, config.data.inputs) == (1e-3, "standard")
    switched = load_config(str(REPOSITORY / "configs/v1/bl4.py:ndn3"))
    assert switched.model.layer0.initial_y_offset == 2.0 and switched.optimization.rates_over_all_rows
    assert switched.data.own_statistics and switched.fit.numpy_starts and switched.fit.score_with_dropout
    assert switched.model.layer0.bounds[1:] == ((1.0, 25.0), (2.0, 29.0), (2.0, 29.0))
    wide = load_config(str(REPOSITORY / "configs/v1/exp_2_2_5.py:ndn3"))
    assert not wide.model.layer1.cropped and wide.model.layer1.dropout_mask == "unit"
    short = expand(load_config(str(REPOSITORY / "configs/v1/exp_1_2_6.py:ndn3+quick")))
    assert {run.config.fit.epochs for run in short} == {200} and short[0].config.fit.numpy_starts


def test_rates_of_the_real_recording_fall_to_zero_with_the_last_update(shared):
    rows = len(np.load(shared / "data" / "v1" / "tang2018_patterns" / "region1" / "training_set.npy"))
    path = REPOSITORY / "configs" / "v1" / "tang.py"
    for preset, count in (("", rows), (":choose", rows - round(rows / 7))):
        runs = [run.config for run in runs_of(path, preset)]
        assert all(config.data.inner_split == (1 / 7 if preset else 0.0) for config in runs)
        for config in runs:
            batches = -(-count // config.optimization.batch_size)
            assert config.optimization.schedule_steps == config.fit.epochs * batches
    # What is scored on the validation set was scored on the inner split, but for seeds and updates an epoch.
    scored, chosen = ({run.name: run.config for run in runs_of(path, preset)} for preset in ("", ":choose"))
    for name, config in scored.items():
        assert config.alternatives[name] == chosen[name].alternatives[name]
        assert config.fit.epochs == chosen[name].fit.epochs


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ('layer("Factorised", fraction=1.0)', "did you mean 'Factorized'"),
        ('layer("Dense", fraction=1.0, bias_initialiser="zeros")', "did you mean 'bias_initializer'"),
    ],
)
def test_a_config_of_ones_own_with_earlier_names_is_told_the_new_ones(line, sentence, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from configs.v1.suite import base, layer, set_layers\n\n\ndef get_config():\n"
        f"    config = base()\n    set_layers(config, {line})\n    return config\n"
    )
    with pytest.raises(ConfigError, match=sentence):
        load_config(str(path))
    with pytest.raises(ConfigError, match="did you mean 'optimization'"):
        load_config(str(REPOSITORY / "configs/v1/bl4.py"), ["optimisation.learning_rate=0.1"])


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("config.optimisation.learning_rate = 0.1", r"line 6: the config has no field 'optimisation' there \(did"),
        ("config.optimisation = 3", r"no field 'optimisation' there \(did you mean 'optimization'"),
        ("config.data.noises = 3", r"line 6: the config has no field 'noises' there"),
        ("config.model.layer0.bias_initialiser = 'ones'", r"line 6: .*did you mean 'bias_initializer'"),
        ("config.fit.update({'epoch': 3})", r"line 6: the config has no field 'epoch' there \(did you mean 'epochs'"),
        ("config.fit.epochs = 'many'", r"line 6: the field 'epochs' holds 5000"),
    ],
)
def test_a_field_that_a_config_file_gets_wrong_is_named_with_its_line(line, sentence, tmp_path):
    path = tmp_path / "own.py"
    path.write_text(
        "from configs.v1.suite import base, dense, set_layers\n\n\ndef get_config():\n"
        f"    config = base(); set_layers(config, dense(fraction=1.0))\n    {line}\n    return config\n"
    )
    with pytest.raises(ConfigError, match=sentence) as error:
        load_config(str(path))
    assert "\n" not in str(error.value)
    path.write_text("def get_config():\n    return {}.nothing\n")
    with pytest.raises(AttributeError, match="nothing"):
        load_config(str(path))
