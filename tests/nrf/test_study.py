"""The configs of configs/study: every member is a whole config, architectures are alike in size, imports are swept."""

import types

import jax
import numpy as np
import pytest

from nrf import stages, together
from nrf.from_config import check_config, make_trainer, read_architecture, read_model
from nrf.protocols import EXPERIMENTS
from runtime.config import load_config
from runtime.errors import ConfigError
from runtime.sweeps import expand, finished_runs

SCENES, DYNAMICS, PUBLISHED = (f"configs/study/{name}.py" for name in ("scenes", "dynamics", "published"))


def test_the_seeds_of_the_study_come_one_after_another():
    runs = expand(load_config(SCENES))
    assert len(runs) == 60 and len(expand(load_config(f"{SCENES}:2"))) == 24
    assert [run.config.seed for run in runs] == [seed for seed in range(5) for _ in range(12)]
    cells = {
        (run.config.data.name, run.config.data.contrast, run.config.model.architecture.mixing) for run in runs[:12]
    }
    assert len(cells) == 12
    with pytest.raises(ConfigError, match="has 5 seeds; 'six' is no number"):
        load_config(f"{SCENES}:six")


@pytest.mark.parametrize("name", [SCENES, DYNAMICS])
def test_members_are_whole_configs(name):
    for run in expand(load_config(name)):
        check_config(run.config)
        read_architecture(run.config)
        assert set(run.config.record.experiments) <= set(EXPERIMENTS)


def test_the_published_sampler_moves_the_shipped_field():
    config = load_config(PUBLISHED)
    trainer = make_trainer(config, 100)
    assert trainer.thermal_sd is None and config.train.start_from == "pretrained/patches"
    options = config.sampler.sghmc_thesis
    assert (options.min_sq_sigma, options.max_sq_sigma, options.mass) == (9e-5, 1e-4, "circulant")


def test_architectures_of_the_study_have_the_same_number_of_weights():
    sizes = []
    for run in expand(load_config(f"{SCENES}:1"))[:2]:
        model = read_model(run.config, read_architecture(run.config))
        shapes = jax.tree.leaves(jax.eval_shape(model.init, jax.random.key(0))["params"])
        sizes.append(sum(int(np.prod(each.shape)) for each in shapes))
    assert len(set(sizes)) == 2 and max(sizes) < 1.05 * min(sizes)


def test_the_runs_of_a_sweep_are_imported(tmp_path, monkeypatch):
    made = []
    monkeypatch.setattr(together, "import_weights", lambda config, folder: made.append((config, folder)))
    config = load_config(DYNAMICS)
    flags = types.SimpleNamespace(executor="local", executor_options="")
    assert stages.import_(config, tmp_path, flags) is True
    assert len({(c.sampler.underdamped.temperature, c.sampler.underdamped.friction) for c, _ in made}) == 9
    assert {str(folder) for _, folder in finished_runs(config, tmp_path)} == {folder for _, folder in made}
    assert all(c.train.start_from == "pretrained/patches" for c, _ in made)
